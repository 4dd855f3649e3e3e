"""Bars of markets that close: nights are no gaps, and nobody says of a bar that it is closed."""

import attrs

from btx.model.calendar import Calendar, TradingHours
from btx.model.market import OnGap
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.rules.staleness import Patience
from btx.runtime.bars import BarTimes
from btx.runtime.mailbox import FeedLost
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import QUICK_BARS, BarRig, items, run
from tests.unit.runtime.test_bars import spelled

# Every day from 01:00 to 01:42 and from 02:00 to 03:00; the toy's time begins at minute 100.
HOURS = Calendar(
    name="two sessions",
    hours=(TradingHours(open_s=3600, close_s=6120), TradingHours(open_s=7200, close_s=10_800)),
    weekend=frozenset(),
)
AT_ONCE: BarTimes = attrs.evolve(QUICK_BARS, silent_s=0.0)


def toy_at_100() -> ToyVenue:
    toy = ToyVenue(now_minute=100)
    toy.write_history([98, 99])
    return toy


def gaps(rig: BarRig) -> list[str]:
    return [text for kind, text in rig.notes if kind == "GAP"]


def test_the_time_between_two_sessions_is_no_gap_and_the_stream_stays_live() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2, calendar=HOURS, on_gap=OnGap.MARK)
        await rig.ready()

        for minute in (100, 101, 120, 121):
            toy.close_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 6)

        assert spelled(items(mailbox)) == [98, 99, "live", 100, 101, 120, 121]
        assert not gaps(rig)
        await rig.stop()

    run(scene())


def test_a_hole_over_the_pause_is_filled_with_bars_of_trading_time() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2, calendar=HOURS, on_gap=OnGap.MARK)
        await rig.ready()

        toy.close_bar(100)
        toy.close_bar(121)
        await rig.log.until(lambda: len(rig.closes) == 4)

        assert spelled(items(mailbox)) == [98, 99, "live", 100, "lost", "gap", -101, -120, 121, "live"]
        await rig.stop()

    run(scene())


def test_a_bar_of_a_time_at_which_it_should_be_closed_is_taken_all_the_same() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2, calendar=HOURS)
        await rig.ready()

        for minute in (100, 101, 102, 120):
            toy.close_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 6)

        assert spelled(items(mailbox)) == [98, 99, "live", 100, 101, 102, 120]
        assert not gaps(rig)
        await rig.stop()

    run(scene())


def test_where_nobody_closes_bars_the_next_one_does_and_after_the_last_the_time() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy, closes_bars=False, times=AT_ONCE)
        mailbox = rig.open(bars=2, calendar=HOURS)
        await rig.ready()

        toy.push_bar(100, is_closed=False)
        toy.push_bar(101, is_closed=False)
        await rig.log.until(lambda: len(rig.closes) == 3)
        toy.now_ns = 102 * NS_PER_MINUTE
        rig.desk.close_due()

        assert spelled(items(mailbox)) == [98, 99, "live", 100, 101]
        await rig.stop()

    run(scene())


def test_a_bar_whose_pushes_were_cut_is_fetched_and_not_closed_with_what_was_heard_of_it() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy, closes_bars=False, times=AT_ONCE)
        rig.open(bars=2, calendar=HOURS)
        await rig.ready()
        toy.push_bar(100, is_closed=False, volume=1)
        toy.cut(Channel.BAR)
        await rig.log.until(lambda: bool(rig.log.of(FeedLost)) and rig.desk.is_ready)

        toy.write_history([100])
        toy.now_ns = 101 * NS_PER_MINUTE
        toy.push_bar(101, is_closed=False)
        rig.desk.fetch_overdue()
        await rig.log.until(lambda: len(rig.closes) == 3)

        assert rig.closes[-1].volume == 7
        await rig.stop()

    run(scene())


def test_where_a_minute_without_a_trade_has_no_bar_its_absence_is_nobodys_loss() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy, is_sparse=True)
        mailbox = rig.open(bars=2, calendar=HOURS, on_gap=OnGap.HALT)
        await rig.ready()

        toy.close_bar(101)
        toy.push_bar(103, is_closed=False)  # what forms says nothing of the one before
        await rig.log.until(lambda: len(rig.closes) == 3)

        assert spelled(items(mailbox)) == [98, 99, "live", 101]
        assert not rig.holes
        assert not gaps(rig)
        await rig.stop()

    run(scene())


def test_a_venue_without_history_is_not_asked_for_it() -> None:
    async def scene() -> None:
        toy = toy_at_100()
        rig = BarRig(toy, has_history=False, is_sparse=True)
        mailbox = rig.open(bars=2, calendar=HOURS)
        await rig.ready()

        toy.close_bar(100)
        toy.close_bar(120)
        await rig.log.until(lambda: len(rig.closes) == 2)

        assert spelled(items(mailbox)) == ["live", 100, 120]
        assert toy.count("bars") == 0
        await rig.stop()

    run(scene())


def test_silence_counts_only_while_it_trades() -> None:
    async def scene() -> None:
        asked: list[str] = []
        toy = toy_at_100()
        is_open = [False]

        def look(instrument: object) -> bool:
            asked.append(str(instrument))
            rig.log.touch()
            return is_open[0]

        patience = Patience(floor_s=0.004, ceiling_s=0.004)
        rig = BarRig(toy, lines={"patience": patience, "is_open": look})
        rig.open(bars=2, calendar=HOURS)
        await rig.ready()

        await rig.log.until(lambda: len(asked) > 8)  # long after the patience
        (topic,) = rig.lines._topics.values()
        assert topic.asking is None

        is_open[0] = True
        await rig.log.until(lambda: topic.asking is not None)
        await rig.stop()

    run(scene())
