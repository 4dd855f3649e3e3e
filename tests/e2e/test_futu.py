"""cerebro trades shares over futu-api on a simulated OpenD: sessions, lots, orders for the day, and cuts."""

import itertools
from collections import Counter
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, from_ms
from btx.rules.calendar import is_open
from btx_futu.hours import calendar_of

HONG_KONG = calendar_of("HK.00700")


class Trader(bt.Strategy):
    """Buys a lot, leaves a limit order for the day, and closes again."""

    params = (("last", None), ("strike", None))

    def __init__(self) -> None:
        self.live: list[int] = []  # open times of bars that came live, in milliseconds
        self.seen: list[int] = []
        self.told: list[tuple[str, str]] = []
        self.states: list[str] = []
        self.orders: dict[str, Any] = {}

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        self.states.append(data._getstatusname(status))

    def notify_order(self, order: Any) -> None:
        name = next((name for name, known in self.orders.items() if known.ref == order.ref), "?")
        self.told.append((name, order.getstatusname()))

    def next(self) -> None:
        self.seen.append(int(self.data.ts_ms[0]))
        if not self.data.is_live:
            return
        self.live.append(int(self.data.ts_ms[0]))
        match len(self.live):
            case 2:
                self.orders["in"] = self.buy(size=200)
            case 4:
                price = round(self.data.close[0] * 0.9)
                self.orders["rests"] = self.buy(size=100, price=price, exectype=bt.Order.Limit)
            case 6 if self.p.strike is not None:
                self.data.store.session._ask_simulator("faults", script={"faults": self.p.strike})
            case count if count >= 8 and "out" not in self.orders and ("in", "Completed") in self.told:
                self.orders["out"] = self.close()
        if self.p.last is not None and len(self.live) >= self.p.last and self.is_through():
            self.env.runstop()

    def is_through(self) -> bool:
        """Whether everything that was begun is over: a market that runs does not wait for it."""
        is_struck = self.p.strike is None or ("CONNBROKEN" in self.states and self.states[-1] == "LIVE")
        return is_struck and {("out", "Completed"), ("rests", "Accepted")} <= set(self.told)


def trade(world: Any, **params: Any) -> tuple[Trader, Any]:
    store = btx.load("futu", scenario=world)
    cerebro = bt.Cerebro()
    cerebro.setbroker(store.getbroker())
    data = store.getdata(dataname="HK.00700", timeframe=bt.TimeFrame.Minutes, backfill="68h", max_signal_age="1d")
    cerebro.adddata(data)
    cerebro.addstrategy(Trader, **params)
    (strategy,) = cerebro.run()
    return strategy, cerebro.broker


def test_ten_lines_trade_from_one_day_into_the_next_without_a_gap() -> None:
    strategy, broker = trade(btx.scenario(symbols=("HK.00700",), until="25h"))

    ends = dict(strategy.told)
    assert ends == {"in": "Completed", "rests": "Expired", "out": "Completed"}
    assert strategy.states.count("LIVE") == 1
    assert not {"CONNBROKEN", "GAP"} & set(strategy.states)
    opens = [from_ms(each) for each in strategy.live]
    steps = Counter((later - earlier) // NS_PER_MINUTE for earlier, later in itertools.pairwise(opens))
    assert steps == {1: len(opens) - 3, 61: 1, 17 * 60 + 31: 1}  # one lunch, one night
    assert all(is_open(HONG_KONG, each) for each in opens)
    bought, sold = strategy.orders["in"].executed, strategy.orders["out"].executed
    assert (bought.size, sold.size) == (200, -200)
    assert broker.getcash() == pytest.approx(1_000_000 + 200 * (sold.price - bought.price))
    assert broker.getposition(strategy.data).size == 0


def test_a_lost_answer_and_cut_streams_cost_no_bar_and_double_no_order() -> None:
    lost = [{"kind": "lose", "where": "place", "at": 1}]
    cuts = [{"kind": "truncate", "where": "market_stream"}, {"kind": "cut", "where": "account_stream"}]
    world = btx.scenario(symbols=("HK.00700",), pace=120, until="6h", faults=lost)

    strategy, _ = trade(world, last=20, strike=cuts)  # when it is live, however long it took to come so far

    told = Counter(strategy.told)
    assert [told[name, "Completed"] for name in ("in", "out")] == [1, 1]
    assert [told["rests", status] for status in ("Accepted", "Completed")] == [1, 0]
    assert [strategy.orders[name].executed.size for name in ("in", "out")] == [200, -200]
    opens = [from_ms(each) for each in strategy.seen]
    weekend = 65 * NS_PER_HOUR + 31 * NS_PER_MINUTE
    assert Counter(later - earlier for earlier, later in itertools.pairwise(opens)) == {
        NS_PER_MINUTE: len(opens) - 2,
        weekend: 1,
    }
    assert "CONNBROKEN" in strategy.states
