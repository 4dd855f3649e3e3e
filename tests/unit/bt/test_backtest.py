"""The store of a backtest: the words of a live one, a period of a source, and data that backtrader takes as its own."""

import datetime
from typing import Any

import backtrader as bt
import pytest

from btx.bt.backtest import BacktestStore, Period
from btx.errors import ConfigError, UnknownSymbolError
from btx.model.time import NS_PER_MINUTE, Interval
from tests.backtests import START_NS, Shelf, Told, both, columns, stock_feed, store_of


def minute(number: int) -> datetime.datetime:
    return datetime.datetime(2025, 6, 1, 0, number, tzinfo=datetime.UTC)


class Quiet(bt.Strategy):
    """Do nothing but remember the bars that were live."""

    def __init__(self) -> None:
        self.opens: list[int] = []
        self.live: list[bool] = []

    def next(self) -> None:
        self.opens.append((int(self.data.ts_ms[0]) * 1_000_000 - START_NS) // NS_PER_MINUTE)
        self.live.append(self.data.is_live)


def played(store: BacktestStore, *, strategy: Any = Quiet, run: Any = None, **asked: Any) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata("BTC/USDT", **{"timeframe": bt.TimeFrame.Minutes, **asked}))
    cerebro.addstrategy(strategy)
    return cerebro.run(**(run or {}))[0]


PERIOD = Period(warmup_ns=10 * NS_PER_MINUTE, until_ns=5 * NS_PER_MINUTE)


@pytest.mark.parametrize(
    ("asked", "first", "last", "live"),
    [
        ({}, 10, 14, 5),
        ({"backfill": "4m"}, 6, 14, 5),
        ({"backfill": "2d"}, 0, 14, 5),
        ({"backfill": 3}, 7, 14, 5),
        ({"backfill": 0}, 10, 14, 5),
        ({"fromdate": minute(2)}, 2, 14, 5),
        ({"fromdate": minute(12)}, 12, 14, 3),
        ({"todate": minute(13)}, 10, 12, 3),
        ({"backfill": "2m", "historical": True, "max_signal_age": "1m", "name": "mine"}, 8, 14, 5),
    ],
)
@pytest.mark.parametrize("run", [{}, {"runonce": False}, {"preload": False}, {"exactbars": 1}])
def test_history_comes_before_the_period_and_is_not_live(
    asked: dict[str, Any], first: int, last: int, live: int, run: dict[str, Any]
) -> None:
    strategy = played(store_of([columns(1, 60)], period=PERIOD), run=run, **asked)

    assert strategy.opens == list(range(first, last + 1))
    assert strategy.live == [False] * (len(strategy.opens) - live) + [True] * live


def test_a_whole_source_is_played_where_nothing_else_is_said_again_and_again() -> None:
    store = store_of([columns(1, 30)])
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    data = store.getdata("BTC/USDT")
    cerebro.adddata(data)
    cerebro.addstrategy(Quiet)

    assert [cerebro.run()[0].opens for _ in range(2)] == [list(range(30))] * 2
    assert len(data.lines.close.array) == 30
    assert data.tick_close is None  # as backtrader leaves it on the last bar


def test_a_source_that_goes_on_and_on_needs_a_period() -> None:
    class Endless(Shelf):
        is_whole = False

    store = store_of([columns(1, 30)])
    store._source = Endless([columns(1, 30)])

    with pytest.raises(ConfigError, match="plays a period: say which"):
        store.getdata("BTC/USDT")
    moment = minute(5)
    assert played(store, fromdate=moment).opens == list(range(5, 30))
    assert played(store, backfill="5m", todate=moment).opens == [0, 1, 2, 3, 4]
    assert played(store, backfill=2, todate=moment).opens == [3, 4]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"timeframe": "7m"}, "Toy has no 7m bars: choose one of 1m"),
        ({"timeframe": "5s"}, "Toy has no 5s bars, and those made of its trades come live only: choose one of 1m"),
        ({"timeframe": "10t"}, "come live only"),
        ({"interval": 5}, "interval=5: write words like"),
        ({"on_gap": "stop"}, "on_gap='stop': choose one of 'halt', 'mark', 'continue'"),
        ({"fill": "zero"}, "fill='zero': write fill="),
        ({"book": 501}, "a book of 501 levels: ask for 1 to 500"),
        ({"backfill": True}, "backfill=True: write a duration"),
        ({"max_signal_age": 5}, "max_signal_age=5: write a duration"),
        (
            {"fromdate": datetime.date(2025, 6, 2), "todate": datetime.date(2025, 6, 1)},
            "todate=2025-06-01 is not after fromdate=2025-06-02",
        ),
        ({"backfill": "2d", "fromdate": datetime.date(2025, 6, 1)}, "give one of them"),
        ({"backfill": 2.5}, "write a duration like '2d'"),
        ({"backfill": -1}, "is not negative"),
        ({"backfil": "2d"}, "did you mean backfill=?"),
        ({"max_signal_age": "old"}, "max_signal_age='old'"),
        ({"dataname": "BTCUSDT"}, "write the symbol with a slash"),
    ],
)
def test_what_cannot_be_is_told_at_once(asked: dict[str, Any], sentence: str) -> None:
    store = store_of([columns(1, 30)])

    with pytest.raises(ConfigError) as told:
        store.getdata(**{"dataname": "BTC/USDT", **asked})

    assert sentence in str(told.value)


def test_a_period_without_a_bar_is_told() -> None:
    store = store_of([columns(1, 30)])

    with pytest.raises(ConfigError, match="no 1m bar lies in the period asked for in bars of a test"):
        played(store, fromdate=datetime.date(2026, 1, 1))


def test_the_store_answers_what_a_live_one_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    store = store_of([columns(1, 30)])

    assert store.balances()["USDT"].total == 10_000
    assert store.instruments() == {}
    assert store.orders() == ()
    assert store.open_orders() == []
    assert not store.is_connected()
    assert store.would_accept(side="buy", dataname="BTC/USDT", size=1)
    assert repr(store) == "<btx store toy/backtest/spot>"
    with pytest.raises(UnknownSymbolError, match="knows no venue"):
        _ = store.getdata("BTC/USDT").instrument
    store.put_notification("hello")
    assert store.get_notifications() == [("hello", (), {})]
    with caplog.at_level("INFO", logger="btx"):
        played(store)
    assert "toy/backtest/spot, bars of a test" in caplog.text


def test_open_orders_are_those_of_the_broker() -> None:
    class Rests(bt.Strategy):
        def next(self) -> None:
            if len(self) == 1:
                self.buy(price=1, exectype=bt.Order.Limit)

    store = store_of([columns(1, 30)])
    strategy = played(store, strategy=Rests)

    assert [order.created.price for order in store.open_orders()] == [1]
    assert len(store.open_orders(strategy.data)) == 1
    assert store.open_orders(store.getdata("BTC/USDT")) == []


def test_cash_and_commission_are_the_accounts_until_one_says_otherwise() -> None:
    store = store_of([columns(1, 30)])
    broker: Any = store.getbroker(on_stop="cancel")
    assert broker is store.getbroker()
    assert broker.getcash() == 10_000
    assert broker.getcommissioninfo(store.getdata("BTC/USDT")).getcommission(2, 100) == pytest.approx(0.2)

    broker.setcash(5)
    broker.setcommission(commission=0)

    assert played(store).broker.getvalue() == 5
    assert broker.getcommissioninfo(store.getdata("BTC/USDT")).getcommission(2, 100) == 0


def test_filters_and_time_zones_of_the_input_go_backtraders_own_way() -> None:
    class EveryOther:
        def __init__(self, _data: Any) -> None:
            self.count = 0

        def __call__(self, data: Any) -> bool:
            self.count += 1
            if self.count % 2:
                data.backwards()
                return True
            return False

    assert played(store_of([columns(1, 10)]), filters=[EveryOther]).opens == [1, 3, 5, 7, 9]


class Optimised(bt.Strategy):
    params: Any = (("period", 3),)

    def __init__(self) -> None:
        self.average = bt.ind.SMA(period=self.p.period)

    def next(self) -> None:
        if not self.position and self.data.close[0] > self.average[0]:
            self.buy(size=1)
        elif self.position and self.data.close[0] < self.average[0]:
            self.close()


@pytest.mark.parametrize(
    "words", [{"maxcpus": 1}, {"maxcpus": 2}, {"maxcpus": 2, "optreturn": False}, {"maxcpus": 2, "optdatas": False}]
)
def test_optimisation_in_other_processes_gives_the_same_analyses(words: dict[str, Any]) -> None:
    store = store_of([columns(1, 200)])
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata("BTC/USDT"))
    cerebro.optstrategy(Optimised, period=(2, 5, 9))
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer)

    found = [run[0].analyzers[0].get_analysis()["pnl"]["net"]["total"] for run in cerebro.run(**words)]

    expected = []
    for period in (2, 5, 9):
        alone = bt.Cerebro(stdstats=False)
        alone.broker.setcommission(commission=0.001)
        alone.adddata(stock_feed(columns(1, 200)))
        alone.addstrategy(Optimised, period=period)
        alone.addanalyzer(bt.analyzers.TradeAnalyzer)
        expected.append(alone.run()[0].analyzers[0].get_analysis()["pnl"]["net"]["total"])
    assert found == expected


def test_a_cerebro_with_a_run_of_its_own_keeps_it() -> None:
    class Own(bt.Cerebro):
        turns = 0

        def _brokernotify(self) -> None:
            self.turns += 1
            super()._brokernotify()

    store = store_of([columns(1, 30)])
    cerebro = Own(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata("BTC/USDT"))
    cerebro.addstrategy(Quiet)
    cerebro.run()

    assert cerebro.turns == 30


def test_longer_bars_are_asked_as_such() -> None:
    store = store_of([columns(1, 10, minutes=15)])

    data = store.getdata("BTC/USDT", interval="15m")

    assert data.interval == Interval.parse("15m")
    assert (data.p.timeframe, data.p.compression) == (bt.TimeFrame.Minutes, 15)


def test_signals_and_orders_of_history_go_as_backtrader_goes() -> None:
    class Above(bt.Indicator):
        lines: Any = ("signal",)

        def __init__(self) -> None:
            self.lines.signal = self.data - bt.ind.SMA(period=5)

    def signals(cerebro: Any, datas: list[Any], _told: Told) -> None:
        cerebro.adddata(datas[0])
        cerebro.add_signal(bt.SIGNAL_LONGSHORT, Above)
        cerebro.addanalyzer(bt.analyzers.TradeAnalyzer)

    def history(cerebro: Any, datas: list[Any], _told: Told) -> None:
        cerebro.adddata(datas[0])
        cerebro.addstrategy(Optimised)
        cerebro.add_order_history([[minute(3).replace(tzinfo=None), 2, 100.0], ["2025-06-01T00:07:00", -2, 101.0]])
        cerebro.addanalyzer(bt.analyzers.Transactions)

    for build in (signals, history):
        alone, ours = both([columns(4, 80)], build)
        assert ours == alone
        assert "raised" not in alone[0]


def test_a_period_begins_where_all_symbols_have_bars_as_in_the_simulator() -> None:
    store = store_of([columns(1, 60), columns(2, 60, offset=7, symbol="ETH/USDT")], period=PERIOD)

    assert played(store).opens == [17, 18, 19, 20, 21]
