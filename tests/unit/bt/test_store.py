"""The store: what is asked is checked at once, what is learned is told, and nothing connects before the run."""

import datetime
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.bt.store import LiveStore, _shown
from btx.bt.timeframes import interval_of, to_backtrader
from btx.config import Secret
from btx.errors import AuthenticationError, BtxError, ConfigError
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, Interval
from btx.model.venue import Channel, Environment
from btx.runtime.mailbox import Note
from tests.toy_venue import INFO
from tests.unit.bt.rig import Rig, Script, Toy, run, store_on
from tests.values import bar


@pytest.fixture
def store() -> LiveStore:
    return store_on(Toy())


@pytest.mark.parametrize(
    ("asked", "interval", "timeframe", "compression"),
    [
        ({"timeframe": "1m"}, "1m", bt.TimeFrame.Minutes, 1),
        ({"timeframe": bt.TimeFrame.Minutes}, "1m", bt.TimeFrame.Minutes, 1),
        ({"timeframe": bt.TimeFrame.Seconds, "compression": 60}, "1m", bt.TimeFrame.Minutes, 1),
        ({"timeframe": bt.TimeFrame.Minutes, "compression": 5}, "5m", bt.TimeFrame.Minutes, 5),
        ({"timeframe": bt.TimeFrame.Minutes, "compression": 60}, "1h", bt.TimeFrame.Minutes, 60),
        ({"timeframe": "60m"}, "1h", bt.TimeFrame.Minutes, 60),
        ({"interval": "1h"}, "1h", bt.TimeFrame.Minutes, 60),
        ({"timeframe": bt.TimeFrame.Minutes, "compression": 1440}, "1d", bt.TimeFrame.Days, 1),
        ({"timeframe": "24h"}, "1d", bt.TimeFrame.Days, 1),
        ({"timeframe": bt.TimeFrame.Weeks}, "1w", bt.TimeFrame.Weeks, 1),
    ],
)
def test_every_spelling_of_a_timeframe_is_one_interval(
    store: LiveStore, asked: dict[str, Any], interval: str, timeframe: int, compression: int
) -> None:
    data = store.getdata(dataname="BTC/USDT", **asked)

    assert data.interval == Interval.parse(interval)
    assert (data._timeframe, data._compression) == (timeframe, compression)


@pytest.mark.parametrize(
    ("asked", "part", "made_of_trades"),
    [
        ({"timeframe": "5m"}, "5m", False),
        ({"timeframe": "3m"}, "1m", False),
        ({"timeframe": "10m"}, "5m", False),
        ({"timeframe": bt.TimeFrame.Months}, "1d", False),
        ({"timeframe": "2w"}, "1w", False),
        ({"timeframe": "3d"}, "1d", False),
        ({"timeframe": bt.TimeFrame.Seconds, "compression": 90}, "90s", True),
        ({"timeframe": bt.TimeFrame.Ticks, "compression": 100}, "100t", True),
        ({"timeframe": "5m", "from_trades": True}, "5m", True),
    ],
)
def test_what_the_venue_does_not_keep_is_made_of_its_longest_parts_or_of_its_trades(
    store: LiveStore, asked: dict[str, Any], part: str, made_of_trades: bool
) -> None:
    data = store.getdata("BTC/USDT", **asked)

    whole = interval_of(asked["timeframe"], asked.get("compression", 1))
    assert data.interval == data.spec.whole == whole
    assert str(data.spec.interval) == part
    assert (data.spec.making is not None) is made_of_trades
    assert (data._timeframe, data._compression) == to_backtrader(whole)


def test_a_venue_without_trades_makes_no_bars_of_them() -> None:
    can = attrs.evolve(INFO.capabilities["spot"], channels=frozenset({Channel.BAR}))
    rig = Rig(info=attrs.evolve(INFO, capabilities={"spot": can}))

    with pytest.raises(ConfigError, match="Toy has no 5s bars and no trades: choose one of 1m 5m"):
        rig.store.getdata("BTC/USDT", timeframe="5s")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"timeframe": bt.TimeFrame.Years}, "is no bar: use bt.TimeFrame.Ticks, Seconds, Minutes, Days"),
        ({"timeframe": "5s", "backfill": "2d"}, "5s bars are made of trades, whose history goes back 24 hours at most"),
        ({"timeframe": "3m", "fill": "previous"}, "fill= is for bars made of trades: the venue's own 1m bars"),
        ({"timeframe": "5s", "fill": "zero"}, "fill='zero': write fill=\"previous\", or leave it out"),
        ({"timeframe": "5t", "fill": "previous"}, "fill= is for bars of a time: 5t bars end with a trade"),
        ({"timeframe": bt.TimeFrame.Minutes, "compression": 0}, "is no bar"),
        ({"timeframe": "1m", "compression": 5}, "leave compression out"),
        ({"timeframe": "soon"}, "write a number and one of"),
        ({"dataname": "BTCUSDT"}, "write the symbol with a slash, like 'BTC/USDT'"),
        ({"backfill": "2 days"}, "backfill='2 days'"),
        ({"backfill": -1}, "is not negative"),
        ({"backfill": 2.5}, "backfill=2.5: write a duration like '2d', or a whole number of bars"),
        ({"compression": "5"}, "compression='5' is no bar"),
        ({"interval": 5}, "interval=5: write words like"),
        ({"fromdate": "2025-06-01"}, "fromdate='2025-06-01': give a datetime.date"),
        ({"todate": "2025-06-01"}, "todate='2025-06-01': give a datetime.date"),
        ({"backfil": "2d"}, r"^getdata has no option backfil=: did you mean backfill=\?$"),
        ({"sesionend": None}, r"^getdata has no option sesionend=: did you mean sessionend=\?$"),
        ({"btx": None}, r"^getdata has no option btx=: choose of dataname, timeframe, "),
        ({"dataname": 5}, "write the symbol with a slash"),
        ({"backfill": 1, "fromdate": datetime.datetime.fromisoformat("2025-06-01")}, "give one of them"),
        ({"max_signal_age": "now"}, "max_signal_age='now'"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_connects(
    store: LiveStore, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        store.getdata(**({"dataname": "BTC/USDT"} | asked))

    assert not store.session.is_running


def test_history_is_asked_for_in_time_in_bars_or_from_a_date(store: LiveStore) -> None:
    june = datetime.datetime(2025, 6, 1, tzinfo=datetime.UTC)
    june_ns = int(june.timestamp()) * NS_PER_S

    def spec(**asked: Any) -> Any:
        return store.getdata(dataname="BTC/USDT", **asked).spec

    assert spec(backfill="2d").history_ns == 2 * NS_PER_DAY
    assert spec(backfill=7).history_bars == 7
    assert not spec(backfill=0).has_history
    assert spec(fromdate=datetime.datetime.fromisoformat("2025-06-01")).start_ns == june_ns
    assert spec(fromdate=june.astimezone(datetime.timezone(datetime.timedelta(hours=8)))).start_ns == june_ns
    assert spec(fromdate=datetime.date(2025, 6, 1)).start_ns == june_ns
    assert spec(todate=datetime.date(2025, 6, 1)).end_ns == june_ns + NS_PER_DAY  # the day is in it
    assert spec(todate=datetime.datetime.fromisoformat("2025-06-01T01:00")).end_ns == june_ns + NS_PER_HOUR


def test_a_data_is_called_like_its_symbol_or_as_told(store: LiveStore) -> None:
    assert store.getdata(dataname="BTC/USDT")._name == "BTC/USDT"
    assert store.getdata(dataname="BTC/USDT", name="fast")._name == "fast"


def test_what_happens_to_the_connections_is_told_to_the_strategy() -> None:
    toy = Toy()
    rig = Rig(toy)
    rig.add()
    seen: list[bool] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            toy.soon(toy.cut, Channel.ACCOUNT)

    class Listens(Script):
        def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
            super().notify_store(msg, *args, **kwargs)
            seen.append(rig.store.is_connected())
            if self.store_texts.count("CONNECTED: account stream") == 2:
                self.env.runstop()

    rig.cerebro.adddatacb(on_status)
    rig.cerebro.addstrategy(Listens)
    strategy = run(rig.cerebro)

    account = [text for text in strategy.store_texts if "account stream" in text]
    assert account[0] == account[2] == "CONNECTED: account stream"
    assert account[1].startswith("DISCONNECTED: account stream")
    assert True in seen
    assert not rig.store.is_connected()


def test_without_our_broker_data_run_all_the_same_and_a_warning_says_where_orders_go() -> None:
    toy = Toy()
    toy.write_history(range(95, 100))
    store = store_on(toy)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(store.getdata(dataname="BTC/USDT", backfill=5))
    cerebro.addstrategy(Script, on_next=lambda strategy: strategy.env.runstop() if len(strategy) == 5 else None)

    strategy = run(cerebro)

    assert strategy.bars["BTC/USDT"] == [95, 96, 97, 98, 99]
    assert any("cerebro.setbroker(store.getbroker())" in text for text in strategy.store_texts)


def test_a_run_says_where_its_orders_go_and_shows_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    store = LiveStore(store_on(Toy()).session, world="a toy market")

    store.start()
    store.start()  # a store that runs says nothing again
    store.stop()

    told = capsys.readouterr().err
    assert told == "btx: toy/sim/spot, account ***, a toy market\n"


def test_a_paper_account_has_no_key_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    session = store_on(Toy()).session
    session.environment = Environment.PAPER
    store = LiveStore(session, world="the real market, orders on paper")

    store.start()
    store.stop()

    assert capsys.readouterr().err == "btx: toy/sim/spot, the real market, orders on paper\n"


@pytest.mark.parametrize(("kind", "level"), [("HALT", "WARNING"), ("NAKED", "WARNING"), ("FEES", "INFO")])
def test_what_a_trader_must_see_is_a_warning_and_the_rest_a_remark(
    kind: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="btx")
    store = store_on(Toy())
    store.session.events.put(Note(kind=kind, text="so it is"))

    assert list(store.events()) == []

    assert [(each.levelname, each.message) for each in caplog.records] == [(level, f"toy/sim/spot: {kind} so it is")]


def test_where_the_log_is_read_the_environment_stands_in_it_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", logger="btx")
    store = LiveStore(store_on(Toy()).session, world="a toy market")

    store.start()
    store.stop()

    assert "toy/sim/spot, account ***, a toy market" in caplog.messages
    assert capsys.readouterr().err == ""


def test_where_no_order_may_leave_the_start_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    store = store_on(Toy())
    store.session._refusal = "there is no journal"

    store.start()
    store.stop()

    assert capsys.readouterr().err.endswith(", orders are refused\n")


def test_of_a_key_only_the_beginning_is_shown() -> None:
    assert _shown(Secret("k" * 64)) == "kkkkkkkk…"
    assert _shown(Secret("short")) == _shown(Secret("")) == "***"


def test_a_store_is_at_one_cerebro_at_a_time() -> None:
    rig = Rig()
    rig.add()
    rig.toy.write_history([99])
    rig.add(backfill=1)

    def on_next(strategy: Script) -> None:
        with pytest.raises(BtxError, match="runs for another cerebro"):
            bt.Cerebro().setbroker(rig.broker)
        strategy.env.runstop()

    strategy = rig.play(on_next=on_next)

    assert strategy.bars["BTC/USDT"] == [99]


def test_one_store_serves_cerebros_one_after_the_other_and_the_first_again() -> None:
    rig, other = Rig(), bt.Cerebro(stdstats=False)
    data = rig.add(backfill=2)
    rig.toy.write_history(range(90, 100))
    rig.cerebro.addstrategy(Script, on_next=_stops_at_two)
    assert len(run(rig.cerebro).bars[data._name]) == 2

    other.adddata(rig.store.getdata("BTC/USDT", timeframe="1m", backfill=3))
    other.addstrategy(Script, on_next=_stops_at_two)
    assert any("backtrader's own simulator" in text for text in run(other).store_texts)
    assert rig.store.broker is None  # it takes nothing in a run that is not its own
    assert not rig.store.has_news

    assert len(run(rig.cerebro).bars[data._name]) == 2
    assert rig.store.broker is rig.broker


def _stops_at_two(strategy: Script) -> None:
    if len(strategy) == 2:
        strategy.env.runstop()


def test_stopping_twice_or_without_a_start_is_harmless(store: LiveStore) -> None:
    store.stop()
    store.stop()

    store.start()
    balances = store.balances()
    store.stop()
    store.stop()

    assert balances["USDT"].total == 10_000
    assert store.orders() == ()


def test_a_key_the_venue_does_not_accept_is_raised_by_run() -> None:
    toy = Toy()
    toy.faults["account"].append(AuthenticationError("no such key", code=-2015))
    rig = Rig(toy)
    rig.add()
    rig.cerebro.addstrategy(Script)

    with pytest.raises(AuthenticationError, match="no such key"):
        rig.cerebro.run()

    assert not rig.store.session.is_running


def test_a_live_data_and_one_from_a_list_run_side_by_side() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    rig.add(backfill=10)
    rig.cerebro.adddata(Listed(name="list"))

    strategy = rig.play(
        on_next=lambda strategy: strategy.env.runstop() if strategy.bars["BTC/USDT"][-1:] == [99] else None
    )

    assert strategy.bars["BTC/USDT"] == list(range(90, 100))
    assert strategy.bars["list"] == list(range(90, 100))
    assert strategy.getposition(strategy.datas[1]).size == 0


class Listed(bt.feed.DataBase):
    """A data that is not ours, with the same ten minutes."""

    lines = ("ts_ms",)
    params = (("timeframe", bt.TimeFrame.Minutes), ("sessionend", datetime.time(0, 0)))

    def start(self) -> None:
        super().start()
        self._minutes = iter(range(90, 100))

    def _load(self) -> bool:
        minute = next(self._minutes, None)
        if minute is None:
            return False
        one = bar(minute)
        self.lines.datetime[0] = 719163.0 + one.close_ns / NS_PER_DAY
        self.lines.ts_ms[0] = minute * 60_000
        for name in ("open", "high", "low", "close", "volume"):
            getattr(self.lines, name)[0] = float(getattr(one, name))
        return True
