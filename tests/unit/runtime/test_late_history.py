"""History that lags behind the stream: a copy without a bar's last trades, or without the bar."""

import asyncio
from decimal import Decimal
from typing import Any

from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx.model.venue import Channel
from btx.runtime.bars import BarTimes
from btx.runtime.mailbox import FeedLive, Mailbox, Wakeup
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import BarRig, items, run
from tests.unit.runtime.test_bars import POLLED, spelled, toy_with_history
from tests.values import bar

WARY = BarTimes(late_pause_s=0.001, settle_s=2.0)
FEW = Decimal(3)  # of a bar's seven: what a copy that lags knows of it


def volumes(mailbox: Mailbox[Any]) -> list[Decimal]:
    return [item.volume for item in items(mailbox) if isinstance(item, Bar)]


def know_little_of(toy: ToyVenue, minute: int) -> None:
    toy.history["BTC/USDT", "1m"][minute * NS_PER_MINUTE] = bar(minute, volume=FEW)


def test_the_newest_bar_of_history_is_not_believed_before_it_has_settled() -> None:
    async def scene() -> None:
        toy = toy_with_history(97, 98, 99)
        know_little_of(toy, 99)
        toy.now_ns += NS_PER_S // 2
        rig = BarRig(toy, times=WARY)
        mailbox = rig.open(bars=3)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 1)

        toy.write_history([99])
        toy.now_ns += 2 * NS_PER_S
        await rig.log.until(lambda: rig.desk.is_ready)

        assert volumes(mailbox) == [7, 7, 7]
        await rig.stop()

    run(scene())


def test_a_bar_that_a_newer_one_follows_in_history_is_believed_at_once() -> None:
    async def scene() -> None:
        toy = toy_with_history(97, 98, 99)
        toy.now_ns += NS_PER_S // 2
        rig = BarRig(toy, times=BarTimes(late_pause_s=0.001, settle_s=100.0))
        mailbox = rig.open(bars=3)
        rig.desk.connect()
        await rig.log.until(lambda: len(rig.closes) == 2)

        toy.close_bar(100)
        await rig.log.until(lambda: rig.desk.is_ready)

        assert spelled(items(mailbox)) == [97, 98, 99, 100, "live"]
        await rig.stop()

    run(scene())


def test_what_was_pushed_is_taken_rather_than_what_history_says_of_the_same_bar() -> None:
    async def scene() -> None:
        toy = toy_with_history(98, 99)
        toy.gates["bars"] = asyncio.Event()
        rig = BarRig(toy)
        mailbox = rig.open(bars=2)
        rig.desk.connect()
        await toy.until(lambda: toy.count("bars") == 1)

        toy.close_bar(100)
        know_little_of(toy, 100)
        await toy.until(toy.of(Channel.BAR)[0].frames.empty)
        toy.gates["bars"].set()
        await rig.log.until(lambda: rig.desk.is_ready)

        assert volumes(mailbox) == [7, 7, 7]
        await rig.stop()

    run(scene())


def test_bars_that_history_shows_later_than_the_stream_are_waited_for_and_no_gap() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        toy.now_ns += 3 * NS_PER_MINUTE
        asked = toy.count("bars")
        toy.push_bar(102)
        await toy.until(lambda: toy.count("bars") >= asked + 10)
        toy.write_history([100, 101, 102])
        await rig.log.until(lambda: len(rig.log.of(FeedLive)) == 2)

        assert spelled(items(mailbox)) == [99, "live", "lost", 100, 101, 102, "live"]
        assert not rig.holes
        await rig.stop()

    run(scene())


def test_a_bar_that_was_pushed_and_that_history_leaves_out_is_not_skipped_with_the_hole_before_it() -> None:
    async def scene() -> None:
        toy = toy_with_history(99)
        rig = BarRig(toy)
        mailbox = rig.open(bars=1)
        await rig.ready()

        toy.write_history([103])
        toy.now_ns += 4 * NS_PER_MINUTE
        toy.push_bar(102)
        await rig.log.until(lambda: len(rig.closes) == 3)

        assert [each for each in spelled(items(mailbox)) if each != "live"] == [99, "lost", "gap", 102, 103]
        await rig.stop()

    run(scene())


def test_a_cut_while_a_full_feed_waits_for_room_does_not_end_the_feed() -> None:
    async def scene() -> None:
        toy = toy_with_history(*range(100))
        toy.page = 10
        rig = BarRig(toy, times=POLLED)
        mailbox: Mailbox[Any] = Mailbox(Wakeup(), low=4, on_low=lambda: rig.desk.on_room(mailbox))
        rig.open(bars=100, mailbox=mailbox, most=10)
        rig.desk.connect()
        await rig.log.until(lambda: len(mailbox) == 10)
        toy.gates["dial"] = asyncio.Event()
        toy.cut(Channel.BAR)
        await rig.log.until(lambda: any(kind == "DEGRADED" for kind, _ in rig.notes))
        await asyncio.sleep(0)

        taken = []
        toy.gates["dial"].set()
        while not taken or not isinstance(taken[-1], FeedLive):
            await rig.log.until(lambda: len(mailbox) > 0)
            taken.append(mailbox.take())

        assert [each for each in spelled(taken) if isinstance(each, int)] == list(range(100))
        assert not [note for note in rig.notes if note[0] == "FATAL"]
        await rig.stop()

    run(scene())
