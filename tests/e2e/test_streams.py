"""Market streams that are blocked, die silently, or are replaced: every bar once, and it is known how fresh."""

from collections.abc import Callable
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, Interval
from btx.runtime.bars import BarTimes
from btx.runtime.mailbox import FeedLive, Mailbox
from tests.e2e.faulty_wire import TIMING, Wire
from tests.e2e.test_faults import MINUTE_MS, free_running, what_the_venue_says
from tests.e2e.venues import PLACES, Place, on_places, on_places_and_inverse, on_places_and_linear

POLLED = attrs.evolve(TIMING, bars=BarTimes(late_pause_s=0.05, settle_s=0.0, grace_s=0.1, poll_s=0.1))
SPEED = 240.0  # a minute is a quarter of a second


class Watcher(bt.Strategy):
    """Calls ``act(strategy)`` at each bar that is no history, and writes down what it sees."""

    params = (("act", None),)

    def __init__(self) -> None:
        self.opens: list[int] = []
        self.phases: list[str] = []
        self.notes: list[str] = []
        self.news = 0  # bars that are no history
        self.bars: list[tuple[float, ...]] = []
        self.others: list[int] = []  # open times of the second data's bars
        self.extra: Any = None

    def notify_store(self, message: str, *_: Any, **__: Any) -> None:
        self.notes.append(message.partition(":")[0])

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        if data is self.data:
            self.phases.append(data._getstatusname(status))

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        data = self.data
        for other in self.datas[1:]:
            if len(other) > len(self.others):
                self.others.append(int(other.ts_ms[0]))
        if len(data) == len(self.bars):
            return  # the bar is another data's
        self.bars.append((int(data.ts_ms[0]), data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0]))
        if data.is_live or data.is_polled:
            self.news += 1
            self.p.act(self)


def watch(wire: Wire, act: Callable[[Watcher], None], *others: str) -> Watcher:
    store = wire.store()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(wire.place.symbols[0], timeframe="1m", backfill=3))
    for other in others:
        cerebro.adddata(store.getdata(other, timeframe="1m", backfill=3))
    cerebro.addstrategy(Watcher, act=act)
    strategy: Watcher
    (strategy,) = cerebro.run()
    return strategy


def ends_well(strategy: Watcher) -> None:
    """Stop, and see that every bar came once, in order, as the venue has it."""
    history = what_the_venue_says(strategy.data)
    strategy.env.runstop()
    opens = [int(bar[0]) for bar in strategy.bars]
    assert opens == list(range(opens[0], opens[0] + len(opens) * MINUTE_MS, MINUTE_MS))
    assert [bar for bar in strategy.bars[:-2] if bar != history[int(bar[0])]] == []


@on_places_and_linear
def test_a_blocked_stream_lets_bars_come_late_and_unblocked_live_again_without_a_double(place: Place) -> None:
    wire = Wire(place=place, scenario=free_running(SPEED), timing=POLLED)
    late: list[bool] = []

    def act(strategy: Watcher) -> None:
        assert wire.market is not None
        if strategy.news == 3:
            wire.soon(wire.market.block)
        elif strategy.news > 3 and strategy.data.is_polled:
            late.append(strategy.data.is_live)
            if len(late) == 5:
                wire.soon(wire.market.unblock)
        elif len(late) >= 5 and strategy.data.is_live and strategy.news >= len(late) + 8:
            ends_well(strategy)

    strategy = watch(wire, act)

    assert len(late) >= 5
    assert not any(late)
    assert strategy.phases[:3] == ["CONNECTED", "DELAYED", "LIVE"]
    assert "CONNBROKEN" in strategy.phases  # once, where this process is never held up itself
    assert strategy.phases[-2:] == ["DELAYED", "LIVE"]
    assert "DEGRADED" in strategy.notes[strategy.notes.index("DISCONNECTED") :]
    assert "GAP" not in strategy.notes


@on_places_and_inverse
def test_a_connection_that_dies_without_a_word_is_noticed_by_its_missing_pongs(place: Place) -> None:
    wire = Wire(
        place=place,
        scenario=free_running(SPEED),
        timing=attrs.evolve(POLLED, bars=attrs.evolve(POLLED.bars, overdue_s=60.0)),
        options={"ping_interval_s": "0.3", "ping_timeout_s": "0.3"},
    )

    def act(strategy: Watcher) -> None:
        assert wire.market is not None
        if strategy.news == 3:
            wire.soon(wire.market.mute)
        elif strategy.news >= 10 and is_told(strategy) and strategy.data.is_live:
            ends_well(strategy)

    def is_told(strategy: Watcher) -> bool:  # the store and the data each say it, and bars may wait in between
        return "DISCONNECTED" in strategy.notes and "CONNBROKEN" in strategy.phases

    strategy = watch(wire, act)

    assert "DISCONNECTED" in strategy.notes  # once, where this process is never held up for so long itself
    assert "CONNBROKEN" in strategy.phases


@on_places
def test_a_stream_that_is_silent_although_it_answers_pings_is_found_by_its_overdue_bar(place: Place) -> None:
    wire = Wire(
        place=place,
        scenario=free_running(SPEED),
        timing=attrs.evolve(POLLED, bars=attrs.evolve(POLLED.bars, overdue_s=0.6)),
        options={"ping_interval_s": "60", "ping_timeout_s": "60"},
    )

    def act(strategy: Watcher) -> None:
        assert wire.market is not None
        if strategy.news == 3:
            wire.soon(wire.market.mute)
        elif strategy.news >= 20 and strategy.data.is_live and is_back(strategy.notes):
            ends_well(strategy)

    def is_back(notes: list[str]) -> bool:
        return "STALE" in notes and "CONNECTED" in notes[notes.index("STALE") :]

    strategy = watch(wire, act)

    assert "STALE" in strategy.notes


@on_places_and_inverse
def test_a_dead_stream_beside_a_living_one_on_the_same_connection_is_subscribed_anew(place: Place) -> None:
    wire = Wire(
        place=place,
        scenario=free_running(SPEED),
        timing=attrs.evolve(POLLED, bars=attrs.evolve(POLLED.bars, overdue_s=0.6)),
    )
    silence = {"fault": {"kind": "silence", "where": "market_stream", "for_s": 0}}

    def act(strategy: Watcher) -> None:
        if strategy.news == 3:
            session = strategy.data.store.session
            session._ask_simulator("strike", **silence, stream=place.stream(place.symbols[0], "1m"))
        is_live = strategy.data.is_live and strategy.datas[1].is_live
        if "STALE" in strategy.notes and strategy.news >= 20 and is_live:
            ends_well(strategy)

    strategy = watch(wire, act, place.symbols[1])

    assert strategy.notes.count("STALE") >= 1
    assert "GAP" not in strategy.notes
    others = strategy.others
    assert others == list(range(others[0], others[0] + len(others) * MINUTE_MS, MINUTE_MS))


@pytest.mark.parametrize("place", [each for each in PLACES if each.announces_end], ids=str)
def test_a_venue_that_announces_its_shutdown_is_left_before_it_goes_and_the_data_stays_live(place: Place) -> None:
    # Later than the test is over: that its connection is gone nevertheless is the client's doing.
    faults = '[{"kind": "shutdown", "where": "market_stream", "at": 12, "for_s": 300.0}]'
    wire = Wire(place=place, scenario=free_running(SPEED, faults=faults))
    accepted: list[int] = []

    def act(strategy: Watcher) -> None:
        assert wire.market is not None
        is_replaced = wire.market.accepted > 1 and wire.market.standing == 1
        if strategy.news >= 16 and is_replaced and not accepted:
            accepted.append(wire.market.accepted)
            ends_well(strategy)

    strategy = watch(wire, act)

    assert accepted == [2]
    assert strategy.phases == ["CONNECTED", "DELAYED", "LIVE"]
    assert "DISCONNECTED" not in strategy.notes


@on_places_and_linear
def test_connections_are_replaced_before_their_life_is_over_and_the_data_stays_live(place: Place) -> None:
    wire = Wire(place=place, scenario=free_running(SPEED), life_s=1.0)
    accepted: list[int] = []

    def act(strategy: Watcher) -> None:
        assert wire.market is not None
        if strategy.news >= 16 and wire.market.accepted >= 5 and not accepted:
            accepted.append(wire.market.accepted)
            ends_well(strategy)

    strategy = watch(wire, act)

    assert accepted[0] >= 5
    assert strategy.phases == ["CONNECTED", "DELAYED", "LIVE"]
    assert "DISCONNECTED" not in strategy.notes


@on_places_and_inverse
def test_datas_opened_and_closed_at_run_time_leave_the_others_alone(place: Place) -> None:
    wire = Wire(place=place, scenario=free_running(SPEED))
    heard: list[Any] = []
    closed_at: list[int] = []

    def act(strategy: Watcher) -> None:
        session = strategy.data.store.session
        assert wire.market is not None
        if strategy.news == 3:
            strategy.extra = session.open_bars(
                instrument=session.instrument(place.symbols[1]), interval=Interval.parse("3m"), history_bars=2
            )
        elif strategy.news > 3 and not closed_at:
            _take(strategy.extra, heard)
            if strategy.news >= 14 and len(heard) >= 6:  # it is live, and bars came since
                session.close_bars(strategy.extra)
                closed_at.append(strategy.news)
        elif closed_at and strategy.news == closed_at[0] + 4:
            assert wire.market.accepted == 1
            ends_well(strategy)

    strategy = watch(wire, act)

    bars = [item for item in heard if isinstance(item, Bar)]
    assert [type(item) for item in heard].count(FeedLive) == 1
    assert {bar.symbol for bar in bars} == {place.symbols[1]}
    opens = [bar.open_ns for bar in bars]
    assert len(opens) >= 4
    assert opens == list(range(opens[0], opens[0] + 3 * len(opens) * NS_PER_MINUTE, 3 * NS_PER_MINUTE))
    assert strategy.phases == ["CONNECTED", "DELAYED", "LIVE"]


def _take(mailbox: Mailbox[Any], heard: list[Any]) -> None:
    while (item := mailbox.take()) is not None:
        heard.append(item)
