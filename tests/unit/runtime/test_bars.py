"""The bar desk: history, then FeedLive, then live; each closed bar once and in order."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from btx.errors import AuthenticationError, RateLimitedError, TransportError, VenueError
from btx.model.market import Bar, FillerBar, OnGap
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval
from btx.model.venue import Channel, StreamState, StreamStatus
from btx.runtime.bars import BarTimes
from btx.runtime.clock import Doubt
from btx.runtime.mailbox import FeedDelayed, FeedEnd, FeedGap, FeedLive, FeedLost, Mailbox, Wakeup
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import BarRig, items, run
from tests.values import BTC, MINUTE, bar

FIVE = Interval.parse("5m")


def spelled(taken: Sequence[Any]) -> list[Any]:
    """Return bars by their minute, fillers by minus that, and the words between them by their names."""
    names = {FeedLive: "live", FeedLost: "lost", FeedDelayed: "delayed", FeedGap: "gap", FeedEnd: "end"}
    return [
        names.get(type(item)) or (-1 if isinstance(item, FillerBar) else 1) * (item.open_ns // NS_PER_MINUTE)
        for item in taken
    ]


def toy_with_history(*minutes: int, now_minute: int = 100) -> ToyVenue:
    toy = ToyVenue(now_minute=now_minute)
    toy.write_history(minutes)
    return toy


def test_history_comes_first_then_the_word_live_then_live_bars() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy)
        mailbox = rig.open(bars=3)

        await rig.ready()
        toy.close_bar(100)
        toy.close_bar(101)
        await rig.log.until(lambda: len(mailbox) == 6)

        assert spelled(items(mailbox)) == [97, 98, 99, "live", 100, 101]
        assert [bar.open_ns // NS_PER_MINUTE for bar in rig.closes] == [97, 98, 99, 100, 101]
        await rig.stop()

    run(scene())


def test_history_longer_than_a_page_is_fetched_page_by_page() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(100))
        toy.page = 7
        rig = BarRig(toy)
        mailbox = rig.open(bars=50)

        await rig.ready()

        assert spelled(items(mailbox)) == [*range(50, 100), "live"]
        await rig.stop()

    run(scene())


def test_bars_that_close_while_history_is_fetched_are_neither_lost_nor_doubled() -> None:
    async def scene() -> None:
        toy = toy_with_history(97, 98, 99)
        toy.gates["bars"] = asyncio.Event()
        rig = BarRig(toy)
        mailbox = rig.open(bars=3)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 1)

        toy.close_bar(100)  # in history and pushed
        toy.close_bar(101)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        toy.push_bar(101)  # a repeat of what is known
        toy.close_bar(102)
        await rig.log.until(lambda: len(rig.closes) == 6)

        assert spelled(items(mailbox)) == [97, 98, 99, 100, 101, "live", 102]
        await rig.stop()

    run(scene())


def test_a_bar_pushed_meanwhile_that_history_does_not_have_yet_is_used() -> None:
    async def scene() -> None:
        toy = toy_with_history(98, 99)
        toy.gates["bars"] = asyncio.Event()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 1)

        toy.now_ns += NS_PER_MINUTE
        toy.push_bar(100)
        toy.push_bar(100)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)

        assert spelled(items(mailbox)) == [98, 99, 100, "live"]
        assert not [note for note in rig.notes if note[0] == "GAP"]
        await rig.stop()

    run(scene())


def test_unclosed_bars_are_never_delivered_neither_from_the_stream_nor_from_history() -> None:
    async def scene() -> None:
        toy = toy_with_history(98, 99, 100)  # the venue's history has the forming bar, too
        rig = BarRig(toy)
        mailbox = rig.open(bars=2)
        await rig.ready()

        toy.push_bar(100, is_closed=False)
        toy.close_bar(100)
        await rig.log.until(lambda: len(rig.closes) == 3)

        assert spelled(items(mailbox)) == [98, 99, "live", 100]
        await rig.stop()

    run(scene())


def test_after_a_cut_the_missing_bars_are_fetched_and_none_comes_twice() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.gates["dial"] = asyncio.Event()

        toy.cut(Channel.BAR, TransportError("cut"))
        await rig.log.until(lambda: bool(rig.log.of(FeedLost)))
        toy.close_bar(100)
        toy.close_bar(101)
        toy.gates["dial"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        toy.push_bar(101)
        toy.close_bar(102)
        await rig.log.until(lambda: len(rig.closes) == 4)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, 101, "live", 102]
        assert [kind for kind, _ in rig.notes] == ["CONNECTED", "DISCONNECTED", "CONNECTED"]
        assert rig.log.of(FeedLost)[0].reason == "cut"
        await rig.stop()

    run(scene())


def test_a_cut_while_history_is_fetched_does_not_tell_live_before_the_stream_is_back() -> None:
    async def scene() -> None:
        toy = toy_with_history(98, 99)
        toy.gates["bars"] = asyncio.Event()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 1)
        toy.gates["dial"] = asyncio.Event()

        toy.cut(Channel.BAR)
        await rig.log.until(lambda: ("DISCONNECTED", "market stream: the connection ended") in rig.notes)
        toy.gates["bars"].set()
        await rig.log.until(lambda: len(rig.closes) == 2)
        before = spelled(items(mailbox))
        toy.gates["dial"].set()
        await rig.log.until(lambda: rig.desk.is_ready)

        assert before == [98, 99]
        assert spelled(items(mailbox)) == ["live"]
        await rig.stop()

    run(scene())


def test_a_bar_the_stream_skipped_is_fetched_before_the_next_is_told() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        toy.write_history([100])
        toy.close_bar(101)
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, 101, "live"]
        await rig.stop()

    run(scene())


def test_bars_pushed_out_of_order_are_told_in_order() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        for minute in (101, 103, 100, 102, 101):
            toy.write_history([minute])
            toy.now_ns = max(toy.now_ns, (minute + 1) * NS_PER_MINUTE)
            toy.push_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 5 and rig.desk.is_ready)

        told = [item for item in spelled(items(mailbox)) if isinstance(item, int)]
        assert told == [99, 100, 101, 102, 103]
        await rig.stop()

    run(scene())


def test_late_history_is_asked_for_again_before_a_hole_is_believed() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.faults["bars"].extend([None, None, lambda: toy.write_history([100])])

        toy.now_ns = 102 * NS_PER_MINUTE
        toy.push_bar(101)
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, 101, "live"]
        assert not [note for note in rig.notes if note[0] == "GAP"]
        await rig.stop()

    run(scene())


def test_the_newest_bar_late_in_history_after_a_cut_is_waited_for() -> None:
    async def scene() -> None:
        toy = toy_with_history(98)
        toy.faults["bars"].extend([None, lambda: toy.write_history([99])])
        rig = BarRig(toy)
        mailbox = rig.open(bars=2)

        await rig.ready()

        assert spelled(items(mailbox)) == [98, 99, "live"]
        await rig.stop()

    run(scene())


@pytest.mark.parametrize(
    ("on_gap", "told", "holes"),
    [
        (OnGap.HALT, [95, 96, "gap", 98, 99, "live", "lost", "gap", 102, "live"], 1),
        (OnGap.CONTINUE, [95, 96, "gap", 98, 99, "live", "lost", "gap", 102, "live"], 0),
        (OnGap.MARK, [95, 96, "gap", -97, 98, 99, "live", "lost", "gap", -100, -101, 102, "live"], 0),
    ],
)
def test_a_hole_of_the_venue_is_told_and_treated_as_the_user_wants(on_gap: OnGap, told: list[Any], holes: int) -> None:
    async def scene() -> None:
        toy = toy_with_history(95, 96, 98, 99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=5, on_gap=on_gap)
        await rig.ready()

        toy.close_bar(102)  # nothing ever traded in 100 and 101
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)

        taken = items(mailbox)
        assert spelled(taken) == told
        hole = "BTC/USDT 1m: no bars from 1970-01-01T01:40:00.000Z to 1970-01-01T01:42:00.000Z: the venue has none"
        assert [text for kind, text in rig.notes if kind == "GAP"][1:] == [hole]
        assert rig.holes == [hole] * holes  # the one in old history was nobody's loss
        assert [item for item in taken if isinstance(item, FeedGap)][1] == FeedGap(
            start_ns=100 * NS_PER_MINUTE,
            end_ns=102 * NS_PER_MINUTE,
            reason="the venue has none",
            is_filled=on_gap is OnGap.MARK,
        )
        fillers = [item for item in taken if isinstance(item, FillerBar)]
        assert all(
            (each.open, each.high, each.low, each.close, each.volume) == (105, 105, 105, 105, 0) for each in fillers
        )
        assert not any(isinstance(each, FillerBar) for each in rig.closes)  # no price anybody traded at
        await rig.stop()

    run(scene())


def test_history_that_begins_after_the_start_asked_for_is_no_hole() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=50)

        await rig.ready()

        assert spelled(items(mailbox)) == [99, "live"]
        assert not [note for note in rig.notes if note[0] == "GAP"]
        await rig.stop()

    run(scene())


def test_history_only_ends_after_the_last_closed_bar() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 101))
        rig = BarRig(toy)
        mailbox = rig.open(bars=3, live=False)

        await rig.ready()

        assert spelled(items(mailbox)) == [97, 98, 99, "end"]
        assert toy.connections == []
        await rig.stop()

    run(scene())


def test_history_only_ends_before_the_end_that_was_asked_for() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy)
        mailbox = rig.open(bars=5, live=False, end_ns=98 * NS_PER_MINUTE)

        await rig.ready()

        assert spelled(items(mailbox)) == [95, 96, 97, "end"]
        await rig.stop()

    run(scene())


def test_a_live_feed_ends_with_the_last_bar_before_its_end_and_not_a_bar_later() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1, end_ns=102 * NS_PER_MINUTE)
        await rig.ready()

        toy.close_bar(100)
        toy.close_bar(101)
        toy.close_bar(102)
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))
        await toy.until(lambda: not toy.connections)  # nobody listens any more

        assert spelled(items(mailbox)) == [99, "live", 100, 101, "end"]
        await rig.stop()

    run(scene())


def test_a_live_feed_whose_end_has_passed_ends_without_going_live() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy)
        mailbox = rig.open(bars=5, end_ns=97 * NS_PER_MINUTE)

        await rig.ready()

        assert spelled(items(mailbox)) == [95, 96, "end"]
        await rig.stop()

    run(scene())


def test_an_end_between_two_bars_ends_with_the_bar_before_it() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1, end_ns=101 * NS_PER_MINUTE + 1)
        await rig.ready()

        toy.close_bar(100)
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))

        assert spelled(items(mailbox)) == [99, "live", 100, "end"]
        await rig.stop()

    run(scene())


def test_several_channels_share_one_connection_and_one_subscription_per_kind() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        toy.write_history([95], interval=FIVE)
        rig = BarRig(toy)
        minute, five, again = rig.open(bars=1), rig.open(interval=FIVE, bars=5), rig.open(bars=1)
        await rig.ready()

        toy.close_bar(100)
        await rig.log.until(lambda: len(rig.closes) == 5)

        assert len(toy.connections) == 1
        assert len(toy.connections[0].subscriptions) == 2
        assert spelled(items(minute)) == spelled(items(again)) == [99, "live", 100]
        assert spelled(items(five)) == [95, "live"]
        assert rig.desk.has_closed("BTCUSDT", "1m", 100 * NS_PER_MINUTE)
        assert not rig.desk.has_closed("BTCUSDT", "5m", 100 * NS_PER_MINUTE)
        await rig.stop()

    run(scene())


def test_a_channel_opened_later_joins_without_a_loss_or_a_word_to_the_others() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        first = rig.open(bars=1)
        await rig.ready()

        second = rig.open(interval=FIVE)
        assert not rig.desk.is_ready
        toy.close_bar(100)
        rig.desk.connect()
        rig.desk.connect()  # a second idle moment while the first is being acted on
        await rig.log.until(lambda: rig.desk.is_ready)
        toy.close_bar(101)
        toy.close_bar(100, interval=FIVE)
        await rig.log.until(lambda: len(rig.closes) == 4)

        assert len(toy.connections) == 1
        assert spelled(items(first)) == [99, "live", 100, 101]
        assert spelled(items(second)) == ["live", 100]
        assert rig.desk.connect() is False
        await rig.stop()

    run(scene())


def test_channels_opened_while_the_stream_is_redialled_leave_one_connection() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        rig.open(bars=1)
        rig.desk.connect()
        rig.open(interval=FIVE)
        rig.desk.connect()
        rig.open(interval=Interval.parse("15m"))
        rig.desk.connect()

        await rig.log.until(lambda: rig.desk.is_ready)

        assert [len(each.subscriptions) for each in toy.connections] == [3]
        await rig.stop()

    run(scene())


def test_a_closed_channel_hears_nothing_more_even_in_the_middle_of_its_history() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        toy.gates["bars"] = asyncio.Event()
        rig = BarRig(toy)
        mailbox, other = rig.open(bars=1), rig.open(bars=1)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 2)

        rig.desk.close(mailbox)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        rig.desk.close(mailbox)

        assert items(mailbox) == []
        assert spelled(items(other)) == [99, "live"]
        await rig.stop()

    run(scene())


def test_a_live_feed_outlasts_a_venue_whose_history_is_not_reached() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        toy.faults["bars"].extend([TransportError("down")] * 4)
        toy.faults["bars"].append(RateLimitedError("slow down", retry_after_s=0.001))
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)

        await rig.ready()

        assert spelled(items(mailbox)) == [99, "live"]
        assert ("FAULT", "history of BTC/USDT 1m must wait: down") in rig.notes
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("error", [TransportError("down"), VenueError("no such symbol"), KeyError("field")])
def test_history_only_that_cannot_be_read_ends_with_the_error(error: Exception) -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        toy.faults["bars"].extend([error] * 3)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1, live=False)

        await rig.ready()

        assert items(mailbox) == [FeedEnd(error=error)]
        assert [kind for kind, _ in rig.notes] == ["FATAL"]
        await rig.stop()

    run(scene())


def test_a_bug_in_the_adapter_ends_a_live_feed_instead_of_hanging_it() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        bug = KeyError("field")
        toy.faults["bars"].append(bug)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)

        await rig.ready()
        toy.close_bar(100)  # nothing comes after the end
        await toy.until(lambda: not toy.connections)

        assert items(mailbox) == [FeedEnd(error=bug)]
        await rig.stop()

    run(scene())


def test_an_error_dialling_again_would_not_cure_ends_all_feeds() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        error = AuthenticationError("no")
        rig = BarRig(toy)
        one, two = rig.open(bars=1), rig.open(live=False, bars=1)
        await rig.ready()

        toy.cut(Channel.BAR, error)
        await rig.log.until(lambda: len(rig.log.of(FeedEnd)) == 2)

        assert items(one)[-1] == FeedEnd(error=error)
        assert items(two)[-1] == FeedEnd(error=None)
        assert rig.notes[-1] == ("FATAL", "market stream: no")
        await rig.stop()

    run(scene())


def test_a_remark_of_the_stream_is_told_and_other_pushes_are_not_bars() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        toy.connections[0].frames.put_nowait(StreamStatus(state=StreamState.FAULT, detail="a strange frame"))
        await rig.log.until(lambda: ("FAULT", "market stream: a strange frame") in rig.notes)

        assert spelled(items(mailbox)) == [99, "live"]
        await rig.stop()

    run(scene())


def test_bars_of_other_instruments_and_from_before_the_start_are_ignored() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(history=lambda now_ns: now_ns + 2 * MINUTE.nominal_ns)
        await rig.ready()

        for minute in (99, 100, 101, 102):
            toy.close_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 1)

        assert spelled(items(mailbox)) == ["live", 102]
        await rig.stop()

    run(scene())


def test_overdue_bars_are_fetched_without_a_word_of_loss() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()
        rig.desk.fetch_overdue()  # nothing is

        toy.write_history([100])
        toy.now_ns += NS_PER_MINUTE
        rig.desk.fetch_overdue()
        await rig.log.until(lambda: len(rig.closes) == 2 and rig.desk.is_ready)
        toy.push_bar(100)
        toy.close_bar(101)
        await rig.log.until(lambda: len(rig.closes) == 3)

        assert spelled(items(mailbox)) == [99, "live", 100, 101]
        await rig.stop()

    run(scene())


def test_end_tells_each_feed_once() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        rig.desk.end()
        rig.desk.end(TransportError("too late"))
        toy.close_bar(100)
        await toy.until(lambda: not toy.connections)

        assert spelled(items(mailbox)) == [99, "live", "end"]
        await rig.stop()

    run(scene())


def test_the_market_is_asked_by_its_own_symbol() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        rig.open(bars=1)

        await rig.ready()

        assert toy.calls[-1] == ("bars", ("BTC/USDT", "1m", 99 * NS_PER_MINUTE, 100 * NS_PER_MINUTE))
        assert toy.connections[0].subscriptions[0].instrument is BTC
        await rig.stop()

    run(scene())


def test_a_bar_that_overtook_others_waits_for_them_although_history_is_late() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.faults["bars"].append(lambda: toy.push_bar(100))

        toy.push_bar(101)  # the venue's clock has not even reached its end
        await rig.log.until(lambda: len(rig.closes) == 3 and rig.desk.is_ready)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, 101, "live"]
        assert not [note for note in rig.notes if note[0] == "GAP"]
        await rig.stop()

    run(scene())


def test_a_page_that_begins_before_what_was_asked_for_doubles_nothing() -> None:
    class Generous(ToyVenue):
        async def bars(self, **asked: Any) -> Sequence[Any]:
            return await super().bars(**(asked | {"start_ns": asked["start_ns"] - 5 * NS_PER_MINUTE}))

    async def scene() -> None:
        toy = Generous()
        toy.write_history(range(90, 101))
        toy.page = 7
        rig = BarRig(toy)
        mailbox = rig.open(bars=6)

        await rig.ready()

        assert spelled(items(mailbox)) == [94, 95, 96, 97, 98, 99, "live"]
        await rig.stop()

    run(scene())


def test_a_channel_nobody_can_subscribe_ends_alone() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1, instrument=None)
        live = rig.open(bars=1)

        await rig.ready()

        assert isinstance(items(mailbox)[-1].error, Exception)
        assert spelled(items(live)) == [99, "live"]
        assert [kind for kind, _ in rig.notes] == ["FATAL", "CONNECTED"]
        await rig.stop()

    run(scene())


def test_what_history_says_of_a_bar_within_the_doubt_around_its_close_is_not_believed() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        toy.history["BTC/USDT", "1m"][99 * NS_PER_MINUTE] = bar(99, close=Decimal(1))  # half of it, to our fast clock
        doubts: list[Doubt] = []

        def doubt() -> Doubt:
            doubts.append(Doubt(market_ns=NS_PER_S, wait_s=0.001))
            if len(doubts) == 4:  # the close is past, whoever's clock is right
                toy.write_history([99])
                toy.now_ns += 2 * NS_PER_S
            return doubts[-1]

        rig = BarRig(toy, doubt=doubt)
        mailbox = rig.open(bars=3)

        await rig.ready()

        taken = items(mailbox)
        assert spelled(taken) == [97, 98, 99, "live"]
        assert taken[2] == bar(99)
        await rig.stop()

    run(scene())


def test_a_close_that_is_pushed_within_the_doubt_is_not_waited_for() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 99))
        rig = BarRig(toy, doubt=lambda: Doubt(market_ns=NS_PER_S, wait_s=0.001))
        mailbox = rig.open(bars=2)
        rig.desk.connect()
        await toy.until(lambda: bool(toy.connections))
        toy.push_bar(99)

        await rig.log.until(lambda: rig.desk.is_ready)

        assert spelled(items(mailbox)) == [98, 99, "live"]
        await rig.stop()

    run(scene())


def test_a_bar_that_forms_tells_that_the_close_before_it_was_not_pushed() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        toy.write_history([100])
        toy.now_ns += NS_PER_MINUTE
        toy.push_bar(100, is_closed=False)  # says nothing new
        toy.push_bar(101, is_closed=False)
        await rig.log.until(lambda: len(mailbox) == 5)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, "live"]
        await rig.stop()

    run(scene())


def test_a_bar_the_venue_never_made_is_asked_for_once() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.now_ns += NS_PER_MINUTE
        toy.push_bar(101, is_closed=False)
        await rig.log.until(lambda: len(mailbox) == 4)
        asked = toy.count("bars")

        for _ in range(3):
            toy.push_bar(101, is_closed=False)
        toy.close_bar(101)
        await rig.log.until(lambda: len(mailbox) == 8)

        assert spelled(items(mailbox)) == [99, "live", "lost", "live", "lost", "gap", 101, "live"]
        assert toy.count("bars") == asked + 1
        await rig.stop()

    run(scene())


# --- overdue: a dead stream behind a living connection --------------------------------------------------------


OVERDUE = BarTimes(late_pause_s=0.001, settle_s=0.0, overdue_s=0.02)


def test_a_bar_that_was_traded_in_and_not_pushed_is_fetched_and_its_stream_renewed() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 101))
        rig = BarRig(toy, times=OVERDUE)
        mailbox = rig.open(bars=0)
        await rig.ready()

        toy.now_ns += NS_PER_MINUTE + NS_PER_S // 50
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)

        assert spelled(items(mailbox)) == ["live", 100, "lost", "live"]
        assert toy.count("subscribe") == 2  # away, and back
        assert toy.count("dial") == 1
        assert rig.notes[1] == (
            "STALE",
            "market stream: BTC/USDT bar 1m: the bar that opened at 1970-01-01T01:40:00.000Z was not pushed",
        )
        await rig.stop()

    run(scene())


def test_an_overdue_bar_that_is_pushed_while_it_is_asked_for_accuses_nobody() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy, times=OVERDUE)
        mailbox = rig.open(bars=0)
        await rig.ready()
        toy.gates["bars"] = asyncio.Event()

        toy.now_ns += NS_PER_MINUTE + NS_PER_S
        await toy.until(lambda: toy.count("bars") == 1)
        toy.write_history([100])
        toy.push_bar(100)
        await toy.until(toy.of(Channel.BAR)[0].frames.empty)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)

        assert spelled(items(mailbox)) == ["live", 100]
        assert [kind for kind, _ in rig.notes] == ["CONNECTED"]
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("is_made", [True, False])
def test_a_quiet_market_is_not_called_stale(is_made: bool) -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(90, 100))
        rig = BarRig(toy, times=OVERDUE)
        mailbox = rig.open(bars=0)
        await rig.ready()

        if is_made:  # some venues make bars of nothing, and push none
            quiet = bar(100, volume=Decimal(0))
            toy.history["BTC/USDT", "1m"][quiet.open_ns] = quiet
        toy.now_ns += NS_PER_MINUTE + NS_PER_S
        await toy.until(lambda: toy.count("bars") >= (1 if is_made else 4))
        await rig.log.until(lambda: rig.desk.is_ready)
        (channel,) = rig.desk._channels

        assert spelled(items(mailbox)) == (["live", 100] if is_made else ["live"])
        assert [kind for kind, _ in rig.notes] == ["CONNECTED"]
        if not is_made:  # and it is not asked again and again
            assert channel.ask_at > asyncio.get_running_loop().time() + 30
        await rig.stop()

    run(scene())


# --- without the stream: bars by request ----------------------------------------------------------------------


POLLED = BarTimes(late_pause_s=0.001, settle_s=0.0, grace_s=0.01, poll_s=0.005)


def test_while_the_stream_is_down_bars_come_late_and_then_live_without_a_double() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=POLLED, span_ns=lambda wall_s: int(wall_s * 600 * NS_PER_S))
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.gates["dial"] = asyncio.Event()

        toy.cut(Channel.BAR, TransportError("blocked"))
        await rig.log.until(lambda: bool(rig.log.of(FeedDelayed)))
        for minute in (100, 101):
            toy.close_bar(minute)
            await rig.log.until(lambda minute=minute: rig.closes[-1].open_ns == minute * NS_PER_MINUTE)  # type: ignore[misc]
        toy.gates["dial"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        toy.push_bar(101)
        toy.close_bar(102)
        await rig.log.until(lambda: len(rig.closes) == 4)

        assert spelled(items(mailbox)) == [99, "live", "lost", "delayed", 100, 101, "live", 102]
        assert [kind for kind, _ in rig.notes] == ["CONNECTED", "DISCONNECTED", "DEGRADED", "CONNECTED"]
        assert rig.desk._polls == {}
        await rig.stop()

    run(scene())


def test_a_stream_that_never_stands_lets_bars_come_late_from_the_start() -> None:
    async def scene() -> None:
        toy = toy_with_history(98, 99)
        toy.gates["dial"] = asyncio.Event()
        rig = BarRig(toy, times=POLLED)
        mailbox = rig.open(bars=2)

        rig.desk.connect()
        await rig.log.until(lambda: bool(rig.log.of(FeedDelayed)))

        assert spelled(items(mailbox)) == [98, 99, "delayed"]
        await rig.stop()

    run(scene())


def test_a_feed_that_ends_while_the_stream_is_down_ends_all_the_same() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=POLLED, span_ns=lambda wall_s: int(wall_s * 6000 * NS_PER_S))
        mailbox = rig.open(bars=1, end_ns=101 * NS_PER_MINUTE)
        await rig.ready()
        toy.gates["dial"] = asyncio.Event()

        toy.cut(Channel.BAR, TransportError("blocked"))
        toy.close_bar(100)
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))

        assert [each for each in spelled(items(mailbox)) if each != "delayed"] == [99, "live", "lost", 100, "end"]
        await rig.stop()

    run(scene())


def test_history_out_of_reach_for_too_long_is_a_gap_and_what_is_pushed_goes_on() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=BarTimes(late_pause_s=0.001, settle_s=0.0, give_up_s=0.02))
        mailbox = rig.open(bars=1)
        await rig.ready()
        toy.faults["bars"].extend([TransportError("down")] * 10_000)

        toy.close_bar(101)  # 100 was missed, and cannot be asked for
        toy.close_bar(102)
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)
        toy.close_bar(103)
        await rig.log.until(lambda: len(rig.closes) == 4)

        assert spelled(items(mailbox)) == [99, "live", "lost", "gap", 101, 102, "live", 103]
        (hole,) = rig.holes
        assert hole.startswith("BTC/USDT 1m: no bars from 1970-01-01T01:40:00.000Z to 1970-01-01T01:41:00.000Z: ")
        assert hole.endswith("history was out of reach for 0.02 s: down")
        await rig.stop()

    run(scene())


def test_history_out_of_reach_with_nothing_behind_it_is_no_gap_yet() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=BarTimes(late_pause_s=0.001, settle_s=0.0, give_up_s=0.001))
        toy.faults["bars"].extend([TransportError("down")] * 50)
        mailbox = rig.open(bars=1)

        await rig.ready()

        assert spelled(items(mailbox)) == [99, "live"]
        assert rig.holes == []
        await rig.stop()

    run(scene())


# --- a slow strategy ------------------------------------------------------------------------------------------


def bounded(rig: BarRig, most: int, **changes: Any) -> Mailbox[Any]:
    """Open a channel that keeps ``most`` bars."""
    mailbox: Mailbox[Any] = Mailbox(Wakeup(), low=most // 2, on_low=lambda: rig.desk.on_room(mailbox))
    rig.open(mailbox=mailbox, most=most, **changes)
    return mailbox


def test_bars_over_the_bound_leave_memory_and_are_fetched_when_the_strategy_has_caught_up() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = bounded(rig, 10, bars=1)
        await rig.ready()

        for minute in range(100, 150):
            toy.close_bar(minute)
        await rig.log.until(lambda: any(kind == "SLOW" for kind, _ in rig.notes))
        await toy.until(toy.of(Channel.BAR)[0].frames.empty)
        kept, asked = len(mailbox), toy.count("bars")
        taken = []
        while len([item for item in taken if isinstance(item, Bar)]) < 51:
            await rig.log.until(lambda: len(mailbox) > 0)
            taken.append(mailbox.take())
        await rig.log.until(lambda: rig.desk.is_ready)
        toy.close_bar(150)
        await rig.log.until(lambda: rig.closes[-1].open_ns == 150 * NS_PER_MINUTE)

        assert kept <= 12  # the bound, and the words
        assert rig.desk._channels[0].first_held() is None
        assert toy.count("bars") > asked
        told = spelled([*taken, *items(mailbox)])
        assert [each for each in told if isinstance(each, int)] == list(range(99, 151))
        assert told.count("lost") == 1
        assert told[-2:] == ["live", 150]
        assert rig.notes[1] == ("SLOW", "BTC/USDT 1m: 10 bars wait, what follows is fetched when they are taken")
        await rig.stop()

    run(scene())


def test_a_history_longer_than_the_bound_stays_at_the_venue_until_there_is_room() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(100))
        toy.page = 5
        rig = BarRig(toy)
        mailbox = bounded(rig, 10, bars=100)
        rig.desk.connect()
        taken: list[Any] = []

        while not taken or not isinstance(taken[-1], FeedLive):
            await rig.log.until(lambda: len(mailbox) > 0)
            assert len(mailbox) < 10 + 5
            taken.append(mailbox.take())

        assert spelled(taken) == [*range(100), "live"]
        await rig.stop()

    run(scene())


def test_a_channel_closed_while_it_waits_for_room_is_let_go() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(100))
        toy.page = 10
        rig = BarRig(toy)
        mailbox = bounded(rig, 10, bars=100)
        rig.desk.connect()
        await rig.log.until(lambda: len(mailbox) == 10)

        rig.desk.close(mailbox)
        rig.desk.on_room(mailbox)

        await rig.stop()

    run(scene())


def test_a_slow_strategy_is_told_how_far_behind_it_is_and_not_with_every_bar() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=BarTimes(late_pause_s=0.001, settle_s=0.0, slow_s=0.0, slow_pause_s=1000.0))
        rig.open(bars=0)
        await rig.ready()
        rig.desk._channels[0].mailbox.take()  # the word live; nothing is taken after it

        for minute in range(100, 110):
            toy.close_bar(minute)
            await rig.log.until(lambda minute=minute: len(rig.closes) == minute - 99)  # type: ignore[misc]

        assert [note for note in rig.notes if note[0] == "SLOW"] == [
            ("SLOW", "BTC/USDT 1m: the strategy is 2 bars and 60 s behind")
        ]
        await rig.stop()

    run(scene())


def test_no_strategy_is_called_slow_while_history_of_another_data_is_on_its_way_and_then_once_for_all() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy, times=BarTimes(late_pause_s=0.001, settle_s=0.0, slow_s=0.0, slow_pause_s=1000.0))
        rig.open(bars=0)
        await rig.ready()
        rig.desk._channels[0].mailbox.take()  # the word live; nothing is taken after it
        toy.gates["bars"] = asyncio.Event()
        rig.open(interval=FIVE, history=lambda _now_ns: 0)
        rig.desk.connect()
        for minute in range(100, 110):
            toy.close_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 10)
        waiting = [note for note in rig.notes if note[0] == "SLOW"]

        toy.write_history([90, 95], interval=FIVE)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        for minute in range(110, 115):
            toy.close_bar(minute)
        await rig.log.until(lambda: len(rig.closes) == 17)

        assert not waiting
        assert [note for note in rig.notes if note[0] == "SLOW"] == [
            ("SLOW", "BTC/USDT 1m: the strategy is 11 bars and 840 s behind; bars of 1 more datas wait")
        ]
        await rig.stop()

    run(scene())
