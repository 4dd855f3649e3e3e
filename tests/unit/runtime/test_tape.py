"""The tape: every trade once, in order, whatever the stream does; what nobody has any more is told."""

import asyncio

import attrs
import pytest

from btx.errors import AuthenticationError, TransportError
from btx.model.market import Trade
from btx.model.time import NS_PER_S
from btx.model.venue import Channel, StreamState, StreamStatus
from tests.toy_venue import ToyVenue
from tests.unit.runtime.rig import run
from tests.unit.runtime.tape_rig import TapeRig, numbered


def test_what_happened_before_comes_first_and_then_what_is_pushed() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0), start_ns=2 * NS_PER_S)
        rig.happen(1, 2, 3, push=False)

        await rig.up()
        rig.happen(4, 5)
        rig.tape.on_event(StreamStatus(state=StreamState.FAULT))  # no trade: none of its business

        assert rig.told == [2, 3, "synced", 4, 5]
        assert rig.tape.next_id == 6
        assert rig.tape.subscription.channel is Channel.TRADE
        await rig.stop()

    run(scene())


def test_pages_are_asked_for_until_there_is_nothing_new() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        toy.page = 3
        rig = TapeRig(toy)
        rig.happen(*range(1, 9), push=False)

        await rig.up()

        assert rig.ids == list(range(1, 9))
        assert [start for name, (_, start, _) in toy.calls if name == "trades"] == [None, 4, 7, 9]
        await rig.stop()

    run(scene())


def test_trades_pushed_while_the_past_is_fetched_join_it_without_a_double_or_a_hole() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        toy.page = 2
        rig = TapeRig(toy)
        rig.happen(1, 2, 3, push=False)
        toy.gates["trades"] = asyncio.Event()
        rig.tape.on_up()
        await toy.until(lambda: toy.count("trades") == 1)

        rig.happen(4, 5)
        rig.tape.on_event(numbered(5))
        toy.gates["trades"].set()
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.told == [1, 2, 3, 4, 5, "synced"]
        assert toy.count("trades") == 2  # the pushes say what the last page would
        await rig.stop()

    run(scene())


def test_a_hole_in_the_pushes_is_fetched_before_what_comes_after_it() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0))
        rig.happen(1, push=False)
        await rig.up()

        rig.happen(2, 3, push=False)
        rig.happen(4, 5)
        await rig.log.until(lambda: rig.tape.is_synced)
        rig.tape.on_event(numbered(3))

        assert rig.told == [1, "synced", "lost: a trade is missing in the stream", 2, 3, 4, 5, "synced"]
        await rig.stop()

    run(scene())


def test_the_first_push_after_a_quiet_start_shows_a_hole_too() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, start_ns=10 * NS_PER_S)
        rig.happen(7, 8, push=False)
        await rig.up()

        rig.happen(11, push=False)
        toy.prints["BTC/USDT"][-1] = attrs.evolve(numbered(11), trade_id=9)
        rig.tape.on_event(attrs.evolve(numbered(12), trade_id=10))
        toy.print(attrs.evolve(numbered(12), trade_id=10))
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.ids == [9, 10]
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("start_s", [0, 100])
def test_a_venue_where_nothing_ever_traded_is_joined_at_its_first_trade(start_s: int) -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0), start_ns=start_s * NS_PER_S)
        await rig.up()

        rig.happen(101, push=False)
        rig.happen(102, 103)
        await rig.log.until(lambda: rig.tape.is_synced)
        rig.happen(104)

        assert rig.told == ["synced", 101, 102, 103, "synced", 104]
        await rig.stop()

    run(scene())


def test_after_a_cut_it_goes_on_by_request_and_then_by_push_with_every_trade_once() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0))
        rig.happen(1, push=False)
        await rig.up()

        rig.tape.on_down("cut")
        rig.happen(2, 3, push=False)
        await rig.log.until(lambda: "polled" in rig.told and rig.ids == [1, 2, 3])
        rig.happen(4, push=False)
        await rig.up()
        rig.happen(5)

        assert rig.ids == [1, 2, 3, 4, 5]
        assert rig.told[:3] == [1, "synced", "lost: cut"]
        await rig.stop()

    run(scene())


def test_trades_the_venue_has_no_more_are_told_by_their_ids() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0))
        await rig.up()
        rig.happen(1)

        rig.happen(5, 9)
        await rig.log.until(lambda: rig.tape.is_synced)
        rig.tape.on_event(numbered(12))  # pushed, and never in the venue's history
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.ids == [1, 5, 9, 12]
        assert [text for text in map(str, rig.told) if text.startswith("gap")] == [
            "gap of 4 s: the venue has no trades 2 to 4",
            "gap of 4 s: the venue has no trades 6 to 8",
            "gap of 3 s: the venue has no trades 10 to 11",
        ]
        await rig.stop()

    run(scene())


def test_what_more_is_pushed_than_may_be_held_is_fetched_instead() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, most_held=3)
        toy.gates["trades"] = asyncio.Event()
        rig.tape.on_up()
        await toy.until(lambda: toy.count("trades") == 1)

        rig.happen(*range(1, 12))
        toy.gates["trades"].set()
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.ids == list(range(1, 12))
        await rig.stop()

    run(scene())


def test_a_reader_without_room_is_told_nothing_and_then_everything() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0), most_held=2)
        rig.happen(1, push=False)
        await rig.up()

        rig.reader.room = False
        rig.happen(2, 3, 4, 5)
        before = list(rig.told)
        rig.tape.on_room()  # a little, and not enough
        rig.reader.room = True
        rig.tape.on_room()
        await rig.log.until(lambda: rig.tape.is_synced)

        assert before == [1, "synced", "slow"]
        assert rig.ids == [1, 2, 3, 4, 5]
        await rig.stop()

    run(scene())


def test_where_ids_say_nothing_a_cut_is_healed_by_time_and_repeats_are_known() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0), dense=False)
        await rig.up()
        rig.happen(10, 17)

        rig.tape.on_down("cut")
        twin = attrs.evolve(numbered(17), trade_id=16)  # of the same moment as the last one that was told
        rig.toy.print(twin)
        rig.happen(23, push=False)
        await rig.up()
        rig.happen(31)
        rig.tape.on_event(numbered(31))

        assert rig.ids == [10, 17, 16, 23, 31]
        assert rig.tape.next_id is None
        await rig.stop()

    run(scene())


def test_where_ids_say_nothing_what_the_venue_no_longer_tells_of_is_a_gap() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, dense=False, kept=3)
        await rig.up()
        rig.happen(10)

        rig.tape.on_down("cut")
        rig.happen(12, push=False)
        await rig.up()  # a page that is not full is all there is
        rig.tape.on_down("cut")
        toy.prints.clear()
        rig.happen(25, 31, 37, push=False)
        await rig.up()

        assert [each for each in rig.told if "gap" in str(each)] == [
            "gap of 13 s: the venue tells of its newest 3 trades only"
        ]
        assert rig.ids == [10, 12, 25, 31, 37]
        await rig.stop()

    run(scene())


def test_where_ids_say_nothing_the_venues_own_sequence_says_how_far_it_is() -> None:
    async def scene() -> None:
        rig = TapeRig(ToyVenue(now_minute=0), dense=False)
        await rig.up()
        assert not rig.tape.has_reached(0)

        rig.tape.on_event(attrs.evolve(numbered(10), trade_id="a", sequence=700))

        assert (rig.tape.has_reached(700), rig.tape.has_reached(701)) == (True, False)
        await rig.stop()

    run(scene())


def test_only_so_many_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        monkeypatch.setattr("btx.runtime.tape._REMEMBERED", 2)
        rig = TapeRig(ToyVenue(now_minute=0), dense=False)
        await rig.up()

        rig.happen(1, 2, 3)

        assert list(rig.tape._seen) == [2, 3]
        await rig.stop()

    run(scene())


def test_a_venue_that_is_not_reached_is_asked_again_and_one_that_refuses_ends_it() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        toy.faults["trades"].extend(TransportError("not reached") for _ in range(4))
        rig = TapeRig(toy)
        rig.happen(1, push=False)
        await rig.up()

        toy.faults["trades"].append(AuthenticationError("no"))
        rig.tape.sync()
        await rig.log.until(lambda: "broken: no" in rig.told)

        assert rig.ids == [1]
        assert ("FAULT", "trades of BTC/USDT must wait: not reached") in rig.notes
        assert ("FATAL", "trades of BTC/USDT: no") in rig.notes
        await rig.stop()

    run(scene())


def test_a_stream_is_stale_when_the_venue_has_an_old_trade_that_it_did_not_push() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, poll_s=5.0)
        await rig.up()
        rig.happen(1)
        assert await rig.tape.is_stale() is None

        rig.happen(2, push=False)
        assert await rig.tape.is_stale() is None  # it may be under way
        toy.now_ns += 10 * NS_PER_S

        assert await rig.tape.is_stale() == "the venue has trades of BTC/USDT that it did not push"
        await rig.stop()

    run(scene())


def test_history_alone_may_be_read_up_to_a_time() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        toy.page = 4
        rig = TapeRig(toy, start_ns=2 * NS_PER_S)
        rig.happen(*range(1, 20), push=False)

        await rig.tape.fetch_all(end_ns=10 * NS_PER_S)

        assert rig.ids == list(range(2, 10))

    run(scene())


def test_trades_that_history_shows_later_than_the_stream_are_waited_for_and_no_gap() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy)
        rig.happen(1, 2, push=False)
        await rig.up()
        asked = toy.count("trades")

        rig.tape.on_event(numbered(5))
        await toy.until(lambda: toy.count("trades") >= asked + 8)
        rig.happen(3, 4, 5, push=False)
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.told == [1, 2, "synced", "lost: a trade is missing in the stream", 3, 4, 5, "synced"]
        await rig.stop()

    run(scene())


def test_what_was_dropped_while_a_reader_had_no_room_is_fetched_where_ids_say_nothing_too() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, dense=False, most_held=3)
        rig.happen(1, push=False)
        await rig.up()
        rig.reader.room = False

        rig.happen(2, 3)
        for _ in range(20):
            await asyncio.sleep(0)
        rig.happen(4, 5, 6, 7)
        rig.reader.room = True
        rig.tape.on_room()
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.ids == [1, 2, 3, 4, 5, 6, 7]
        await rig.stop()

    run(scene())


def test_what_is_dropped_while_held_trades_wait_for_room_is_fetched_where_ids_say_nothing_too() -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=0)
        rig = TapeRig(toy, dense=False, most_held=3)
        rig.happen(1, push=False)
        await rig.up()
        toy.gates["trades"] = asyncio.Event()
        rig.tape.on_down("cut")
        rig.tape.on_up()
        await toy.until(lambda: toy.count("trades") > 2)
        rig.happen(2, 3)
        toy.prints["BTC/USDT"].clear()  # history is behind what was pushed

        def take_one(told: Trade) -> None:
            rig.log.add(told.trade_id)
            rig.reader.room = False

        rig.reader.on_trade = take_one  # type: ignore[method-assign]
        toy.gates["trades"].set()
        await rig.log.until(lambda: 2 in rig.ids)

        toy.print(numbered(2), numbered(3))
        rig.happen(4, 5, 6, 7)
        del rig.reader.on_trade
        rig.reader.room = True
        rig.tape.on_room()
        await rig.log.until(lambda: rig.tape.is_synced)

        assert rig.ids == [1, 2, 3, 4, 5, 6, 7]
        await rig.stop()

    run(scene())
