"""A backtest whose orders the venue's own simulator fills: what a strategy and its user find there."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.errors import BtxError, ConfigError, PluginError, UnknownSymbolError
from tests.e2e.klines import flat, market, move

Step = Callable[[Any], object]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return market(tmp_path, flat(minutes=4), move(50_000, 49_900), flat(49_900, minutes=6)).data["BTC/USDT"]


def load(file: Path, venue: str = "binance", **words: Any) -> Any:
    scenario = btx.scenario(data={"BTC/USDT": str(file)})
    return btx.load(venue, env="backtest", fills="venue", scenario=scenario, **words)


def play(store: Any, steps: dict[int, Step], **words: Any) -> Any:
    class Acting(bt.Strategy):
        def __init__(self) -> None:
            self.orders: dict[int, Any] = {}
            self.told: list[tuple[int, str]] = []
            self.remarks: list[str] = []

        def notify_order(self, order: Any) -> None:
            self.told.append((len(self.data), order.getstatusname()))

        def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
            self.remarks.append(msg)

        def next(self) -> None:
            if len(self.data) in steps:
                self.orders[len(self.data)] = steps[len(self.data)](self)

    cerebro = bt.Cerebro(stdstats=False, **words)
    cerebro.setbroker(store.getbroker(on_stop="cancel"))
    cerebro.adddata(store.getdata("BTC/USDT"))
    cerebro.addstrategy(Acting)
    (strategy,) = cerebro.run()
    return strategy


def test_an_order_is_filled_at_the_time_of_its_signal_and_told_before_the_next_bar(file: Path) -> None:
    strategy = play(load(file), {2: lambda one: one.buy(size=0.5), 5: lambda one: one.close()})

    assert strategy.told == [
        *((2, status) for status in ("Submitted", "Accepted", "Completed")),
        *((5, status) for status in ("Submitted", "Accepted", "Completed")),
    ]
    assert strategy.position.size == 0.0


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_resting_orders_are_amended_and_cancelled_as_live(file: Path, venue: str) -> None:
    def amended(one: Any) -> bool:
        return bool(one.broker.amend(one.orders[2], size=0.2))

    steps = {
        2: lambda one: one.buy(size=0.5, exectype=bt.Order.Limit, price=40_000),
        3: amended,
        4: lambda one: one.broker.cancel_all(),
        5: lambda one: one.broker.open_orders(),
    }
    strategy = play(load(file, venue), steps)

    assert strategy.orders[3] is True
    assert strategy.orders[4] == 1
    assert strategy.orders[5] == []
    assert [status for bar, status in strategy.told if bar == 4] == ["Canceled"]
    assert strategy.orders[2].created.size == 0.2


def test_what_the_store_knows_is_the_venues(file: Path) -> None:
    store = load(file, balances={"USDT": "5000"})
    seen: dict[str, Any] = {}

    def look(one: Any) -> None:
        seen["free"] = store.balances()["USDT"].free
        seen["symbols"] = list(store.instruments())
        seen["small"] = store.would_accept(side="buy", data=one.data, size=0.00001, price=20_000)
        seen["fine"] = store.would_accept(side="buy", dataname="BTC/USDT", size=0.01, price=50_000)
        seen["order"] = one.buy(size=0.01, exectype=bt.Order.Limit, price=45_000)
        with pytest.raises(UnknownSymbolError, match="this backtest plays no 'BTC/USD': did you mean BTC/USDT"):
            store.instrument("BTC/USD")
        with pytest.raises(ConfigError, match="an order has a side and a size"):
            store.would_accept(dataname="BTC/USDT")

    def look_again(one: Any) -> None:
        seen["open"] = store.open_orders(one.data)
        seen["orders"] = store.orders()

    strategy = play(store, {2: look, 3: look_again})

    assert seen["free"] == 5000
    assert seen["symbols"] == ["BTC/USDT"]
    assert not seen["small"]
    assert seen["fine"]
    assert [order.ref for order in seen["open"]] == [seen["order"].ref]
    assert [order.quantity for order in seen["orders"]] == [seen["orders"][0].leg.quantity]
    assert strategy.broker.getcash() == 5000.0
    assert store.open_orders() == []


def test_an_order_beyond_the_cash_ends_as_margin(file: Path) -> None:
    strategy = play(load(file), {2: lambda one: one.buy(size=50)})

    assert strategy.told[-1] == (2, "Margin")


def test_an_order_that_is_never_sent_is_told_before_the_next_bar(file: Path) -> None:
    strategy = play(load(file), {2: lambda one: one.buy(size=0.000001)})

    assert strategy.told == [(2, "Rejected")]


def test_a_strategy_that_raises_leaves_nothing_open_and_the_store_can_run_again(file: Path) -> None:
    store = load(file)

    def broken(_one: Any) -> None:
        raise ZeroDivisionError("the strategy's own")

    with pytest.raises(ZeroDivisionError):
        play(store, {3: broken})

    assert not store.session.is_running
    again = play(load(file), {2: lambda one: one.buy(size=0.1)})
    assert again.position.size == pytest.approx(0.0999)


def test_it_runs_where_a_loop_is_running_already_as_in_a_notebook(file: Path) -> None:
    async def cell() -> Any:
        return play(load(file), {2: lambda one: one.buy(size=0.5)})

    assert asyncio.run(cell()).told[-1] == (2, "Completed")


def test_what_it_cannot_do_is_one_sentence(file: Path) -> None:
    cerebro, store = bt.Cerebro(stdstats=False), load(file)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata("BTC/USDT"))
    cerebro.addstrategy(bt.Strategy)
    with pytest.raises(ConfigError, match="goes bar by bar: leave runonce=True out"):
        cerebro.run(runonce=True)
    with pytest.raises(ConfigError, match="fills='ticks': write 'bars'"):
        btx.load("binance", env="backtest", fills="ticks")
    with pytest.raises(ConfigError, match='fills="venue" plays files'):
        btx.load("binance", env="backtest", fills="venue")
    with pytest.raises(BtxError, match="is not started"):
        load(file).balances()
    with pytest.raises(BtxError, match="orders are sent during"):
        load(file).session.cancel("nobody")


def test_positions_are_margined_as_the_user_says(file: Path) -> None:
    strategy = play(load(file, market="usdm", leverage=5), {2: lambda one: one.order_target_percent(target=0.1)})

    assert strategy.position.size * 50_000 == pytest.approx(0.1 * 5 * 100_000, rel=0.01)
    for words, sentence in (
        ({"leverage": 1000}, "does not set the leverage of BTC/USDT:USDT to 1000"),
        ({"leverage": {"XRP/USDT": 5}}, "leverage= names XRP/USDT, and what is played is BTC/USDT:USDT"),
        ({"position_mode": "hedge"}, "has no position_mode='hedge' yet"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            play(load(file, market="usdm", **words), {})


def test_a_liquidation_closes_the_position_and_is_told(tmp_path: Path) -> None:
    drop = market(tmp_path, flat(minutes=4), move(50_000, 48_000), flat(48_000, minutes=4)).data["BTC/USDT"]
    store = load(drop, market="usdm", leverage=50, margin_mode="isolated")

    strategy = play(store, {2: lambda one: one.buy(size=0.5)})

    assert strategy.position.size == 0.0
    assert strategy.told[-1][1] == "Completed"
    assert [each.partition(":")[0] for each in strategy.remarks] == [
        "LIQUIDATED",
        "LIQUIDATION_FEE of BTC/USDT",
    ]
    assert sum(strategy.broker.booked().values()) == strategy.broker.ledger()["USDT"] - 100_000


def test_an_adapter_without_such_a_venue_says_so() -> None:
    from btx.plugins import Venue, new_manager
    from tests.toy_venue import INFO

    with pytest.raises(PluginError, match=r"has no venue for backtests \(the hook btx_matcher\)"):
        Venue(new_manager(), INFO).matcher(btx.scenario())
