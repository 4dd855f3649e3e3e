"""An unchanged strategy on the venue in the box: every order goes through ccxt, every bar through cryptofeed."""

from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.errors import BtxError, ConfigError, UnknownSymbolError
from tests.e2e.trading import account, books_agree, run, run_on, world

MINUTE_MS = 60_000


def test_history_comes_first_then_live_and_every_bar_once() -> None:
    strategy = run(world(minutes=20), {}, datas=[{"dataname": "BTC/USDT", "backfill": "15m"}])

    opens = [open_ms for _, open_ms in strategy.seen]
    assert opens == list(range(opens[0], opens[0] + 35 * MINUTE_MS, MINUTE_MS))
    assert strategy.statuses[:3] == [
        "BTC/USDT CONNECTED at 0",
        "BTC/USDT DELAYED at 0",
        "BTC/USDT LIVE at 15",
    ]


def test_bars_are_stamped_with_their_close_to_the_microsecond() -> None:
    stamps: list[Any] = []

    run(world(minutes=3), {n: lambda s: stamps.append((s.data.datetime[0], s.data.ts_ms[0])) for n in (1, 2, 3)})

    for stamp, open_ms in stamps:
        assert round((stamp - 719163.0) * 86_400_000) == open_ms + MINUTE_MS


def test_a_market_order_is_filled_in_pieces_and_close_sells_exactly_what_was_bought() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(minutes=12, accounts=(account(USDT="900000"),)),
        {
            2: lambda s: placed.update(entry=s.buy(size=3.3)),
            6: lambda s: placed.update(exit=s.close()),
        },
        at_end=books_agree,
    )

    entry, leave = placed["entry"], placed["exit"]
    assert strategy.told(entry)[:2] == ["Submitted", "Accepted"]
    assert strategy.told(entry)[-1] == "Completed"
    assert strategy.told(entry).count("Partial") >= 1
    assert strategy.told(leave)[-1] == "Completed"
    assert entry.executed.size == pytest.approx(3.3)
    assert leave.executed.size == pytest.approx(-3.2967)  # 3.3 less the fee of 0.1 % in BTC
    assert strategy.position.size == 0
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    assert strategy.analyzers.trades.get_analysis()["total"]["closed"] == 1


def test_what_is_less_than_a_step_is_dust_flat_is_zero_and_the_next_purchase_lifts_it() -> None:
    strategy = run(
        world(minutes=20),
        {
            2: lambda s: s.buy(size=0.01234),
            5: lambda s: s.close(),
            8: lambda s: setattr(s, "between", s.position.size),
            9: lambda s: s.buy(size=0.01234),
            12: lambda s: s.close(),
        },
        at_end=books_agree,
    )

    assert strategy.between == 0.0
    assert strategy.position.size == 0.0
    assert Decimal(0) < strategy.broker.ledger()["BTC"] < Decimal("0.00001")
    assert sum(trade.isclosed for trade in strategy.trades) == 2


def test_a_resting_limit_order_is_accepted_and_can_be_cancelled() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(),
        {
            2: lambda s: placed.update(
                order=s.buy(size=0.1, exectype=bt.Order.Limit, price=round(s.data.close[0] * 0.8, 2))
            ),
            4: lambda s: s.cancel(placed["order"]),
        },
        at_end=books_agree,
    )

    assert strategy.told(placed["order"]) == ["Submitted", "Accepted", "Canceled"]
    assert strategy.broker.orderstatus(placed["order"]) == bt.Order.Canceled
    assert strategy.position.size == 0


def test_a_limit_order_at_the_market_is_filled_by_the_trades_that_reach_it() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(minutes=60),
        {
            2: lambda s: placed.update(
                order=s.buy(size=0.5, exectype=bt.Order.Limit, price=round(s.data.close[0] * 0.9995, 2))
            )
        },
        at_end=books_agree,
    )

    assert strategy.told(placed["order"])[-1] == "Completed"
    assert placed["order"].executed.price <= placed["order"].created.price


def test_immediate_or_cancel_keeps_what_was_filled_and_ends() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(accounts=(account(USDT="90000000"),)),
        {
            2: lambda s: placed.update(
                order=s.buy(size=80, exectype=bt.Order.Limit, price=s.data.close[0], time_in_force="IOC")
            )
        },
        at_end=books_agree,
    )

    assert strategy.told(placed["order"])[-1] in ("Expired", "Canceled")
    assert 0 <= placed["order"].executed.size < 80
    assert strategy.position.size == pytest.approx(placed["order"].executed.size * 0.999)


def test_post_only_that_would_take_is_rejected_with_the_venues_reason() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(),
        {
            2: lambda s: placed.update(
                order=s.buy(size=0.1, exectype=bt.Order.Limit, price=round(s.data.close[0] * 1.01, 2), post_only=True)
            )
        },
    )

    assert strategy.told(placed["order"]) == ["Submitted", "Rejected"]
    assert "immediately match and take" in placed["order"].info.reason


def test_too_little_money_is_margin() -> None:
    placed: dict[str, Any] = {}
    unlimited = btx.limits(order=None, position=None)
    store = btx.load("binance", env="sim", scenario=world(seed=17), limits=unlimited)

    strategy = run_on(store, {2: lambda s: placed.update(order=s.buy(size=50))}, at_end=books_agree)

    assert strategy.told(placed["order"]) == ["Submitted", "Margin"]
    assert "insufficient balance" in placed["order"].info.reason


def test_too_little_money_is_margin_also_where_a_limit_says_so_before_the_venue() -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(),
        {
            2: lambda s: placed.update(order=s.buy(size=50)),
            3: lambda s: placed.update(
                bracket=s.buy_bracket(size=50, stopprice=s.data.close[0] * 0.9, limitprice=s.data.close[0] * 1.1)
            ),
        },
        at_end=lambda s: placed.update(sent=s.data.store.orders()),
    )

    assert strategy.told(placed["order"]) == ["Margin"]
    assert "of the equity" in placed["order"].info.reason
    assert "insufficient balance" in placed["order"].info.reason
    assert [strategy.told(order)[-1] for order in placed["bracket"]] == ["Margin", "Rejected", "Rejected"]
    assert placed["sent"] == ()


@pytest.mark.parametrize(
    ("size", "sentence"),
    [(0.000001, "min_quantity"), (0.00001, "min_notional"), (1e9, "max_quantity")],
)
def test_a_size_no_venue_takes_is_one_sentence_before_anything_is_sent(size: float, sentence: str) -> None:
    placed: dict[str, Any] = {}
    strategy = run(
        world(minutes=5),
        {2: lambda s: placed.update(order=s.buy(size=size))},
        at_end=lambda s: placed.update(sent=s.broker._stores[0].orders()),
    )

    assert strategy.told(placed["order"])[-1] == "Rejected"
    assert sentence.split("_")[1] in placed["order"].info.reason
    assert placed["sent"] == ()


def test_no_order_leaves_on_history() -> None:
    placed: dict[str, Any] = {}

    class Eager(bt.Strategy):
        def next(self) -> None:
            if len(self) == 3:
                placed["order"] = self.buy(size=0.1)

        def notify_store(self, message: str, *_: Any, **__: Any) -> None:
            placed.setdefault("notes", []).append(message)

        def stop(self) -> None:
            placed["sent"] = store.orders()

    store = btx.load("binance", env="sim", scenario=world(minutes=5))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", backfill=10))
    cerebro.addstrategy(Eager)
    cerebro.run()

    assert placed["order"].getstatusname() == "Rejected"
    assert placed["order"].info.reason.startswith("history")
    assert placed["sent"] == ()
    assert any("history" in note for note in placed["notes"])


def test_several_symbols_and_timeframes_share_one_account_and_one_position_each() -> None:
    strategy = run(
        world(minutes=45),
        {
            20: lambda s: s.buy(data=s.datas[0], size=0.2),
            25: lambda s: setattr(s, "shared", [s.getposition(data).size for data in s.datas]),
            30: lambda s: s.close(data=s.datas[1]),
        },
        datas=[
            {"dataname": "BTC/USDT", "name": "btc1"},
            {"dataname": "BTC/USDT", "timeframe": "15m", "name": "btc15", "backfill": 2},
            {
                "dataname": "ETH/USDT",
                "timeframe": bt.TimeFrame.Minutes,
                "compression": 5,
                "name": "eth5",
                "backfill": 2,
            },
        ],
        at_end=books_agree,
    )

    assert strategy.shared == [pytest.approx(0.1998), pytest.approx(0.1998), 0.0]
    assert strategy.getposition(strategy.datas[0]).size == 0.0
    assert [len(data) for data in strategy.datas] == [45, 2 + 3, 2 + 9]
    assert [trade.isclosed for trade in strategy.trades] == [False, True]
    quarter = {d._name: d for d in strategy.datas}["btc15"]
    minutes = strategy.datas[0]
    assert quarter.volume[0] == pytest.approx(sum(minutes.volume.get(size=15)))
    assert quarter.high[0] == max(minutes.high.get(size=15))


def test_what_the_account_holds_at_start_is_a_position_that_can_be_closed() -> None:
    sizes: list[float] = []
    strategy = run(
        world(accounts=(account(USDT="1000", BTC="0.5", ETH="2"),)),
        {1: lambda s: sizes.append(s.position.size), 2: lambda s: s.close()},
        at_end=books_agree,
    )

    assert sizes == [0.5]
    assert strategy.position.size == 0.0
    seeds = [order for order in strategy.orders if order.info.get("seed")]
    assert [order.getstatusname() for order in seeds] == ["Completed"]
    assert strategy.broker.startingcash == 1000


def test_two_accounts_in_one_cerebro_are_kept_apart() -> None:
    rich = btx.load("binance", env="sim", scenario=world(minutes=15, accounts=(account("r", USDT="500000"),)))
    poor = btx.load("binance", env="sim", scenario=world(minutes=15, accounts=(account("p", USDT="500"),)))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(btx.broker(rich, poor))
    cerebro.adddata(rich.getdata(dataname="BTC/USDT", name="rich"))
    cerebro.adddata(poor.getdata(dataname="BTC/USDT", name="poor"))
    result: dict[str, Any] = {}

    class Both(bt.Strategy):
        def next(self) -> None:
            if len(self) == 3 and "rich" not in result:
                result["rich"] = self.buy(data=self.datas[0], size=1)
                result["poor"] = self.buy(data=self.datas[1], size=1)

        def stop(self) -> None:
            result["cash"] = [self.broker.getcash(data=data) for data in self.datas]
            result["total"] = self.broker.getcash()

    cerebro.addstrategy(Both)
    cerebro.run()

    assert result["rich"].getstatusname() == "Completed"
    assert result["poor"].getstatusname() == "Margin"
    assert result["cash"][1] == 500
    assert result["total"] == pytest.approx(sum(result["cash"]))


def test_open_entries_are_withdrawn_at_the_end_and_exits_stay() -> None:
    oracle: dict[str, Any] = {}
    placed: dict[str, Any] = {}
    store = btx.load("binance", env="sim", scenario=world(minutes=10, accounts=(account(USDT="1000", BTC="1"),)))
    withdraw = store.getbroker().withdraw

    def watched(which: Any) -> None:
        withdraw(which)
        oracle.update(store.session.ledger()["balances"])

    store.getbroker().withdraw = watched
    run_on(
        store,
        {
            3: lambda s: placed.update(
                entry=s.buy(size=0.01, exectype=bt.Order.Limit, price=round(s.data.close[0] * 0.7, 2)),
                leave=s.sell(size=0.4, exectype=bt.Order.Limit, price=round(s.data.close[0] * 1.3, 2)),
            )
        },
    )

    assert Decimal(oracle["USDT"]["locked"]) == 0
    assert Decimal(oracle["BTC"]["locked"]) == Decimal("0.4")


def test_an_unknown_symbol_names_near_ones() -> None:
    with pytest.raises(UnknownSymbolError, match="did you mean BTC/USDT"):
        run(world(), {}, datas=[{"dataname": "BTC/USDTT"}])


def test_a_timeframe_that_is_none_is_refused_at_getdata() -> None:
    store = btx.load("binance", env="sim", scenario=world())

    with pytest.raises(ConfigError, match="write a number and one of s m h d w M"):
        store.getdata(dataname="BTC/USDT", timeframe="hourly")


def test_an_order_before_the_first_bar_says_so() -> None:
    class Early(bt.Strategy):
        def start(self) -> None:
            self.buy(size=1)

    store = btx.load("binance", env="sim", scenario=world(minutes=2))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT"))
    cerebro.addstrategy(Early)

    with pytest.raises(BtxError, match="no order before its first bar"):
        cerebro.run()


def test_a_resampled_live_data_loses_no_bar() -> None:
    store = btx.load("binance", env="sim", scenario=world(minutes=30))
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    base = store.getdata(dataname="BTC/USDT")
    cerebro.adddata(base)
    cerebro.adddata(store.getdata(dataname="ETH/USDT", timeframe="3m", backfill=1))
    cerebro.resampledata(base, timeframe=bt.TimeFrame.Minutes, compression=5)
    sums: list[tuple[float, float]] = []

    class Compare(bt.Strategy):
        def next(self) -> None:
            if len(self.datas[2]) > len(sums) and len(self.datas[0]) % 5 == 0:
                sums.append((self.datas[2].volume[0], sum(self.datas[0].volume.get(size=5))))

    cerebro.addstrategy(Compare)
    cerebro.run()

    assert len(sums) >= 4
    assert all(resampled == pytest.approx(minutes) for resampled, minutes in sums)
