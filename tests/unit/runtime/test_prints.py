"""Bars made of trades: history first, then live; each once and in order, closed on time, whole after a cut."""

import asyncio

import attrs
import pytest

from btx.errors import ConfigError, TransportError, VenueError
from btx.model.market import Bar, OnGap
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval
from btx.model.venue import Channel
from btx.runtime.clock import Doubt
from btx.runtime.mailbox import FeedDelayed, FeedEnd, FeedLost
from btx.runtime.prints import Making
from tests.toy_venue import ToyVenue
from tests.unit.runtime.prints_rig import PrintsRig, spelled
from tests.unit.runtime.rig import items, run
from tests.unit.runtime.tape_rig import numbered
from tests.values import MINUTE, bar


def at_second(second: int, **settings: object) -> PrintsRig:
    """Return a rig in which one trade has happened each second."""
    rig = PrintsRig(ToyVenue(now_minute=0), **settings)
    rig.happen(*range(1, second), push=False)
    rig.toy.now_ns = second * NS_PER_S
    return rig


def test_history_comes_first_then_the_word_live_then_live_bars() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open(seconds=10)

        await rig.ready()
        rig.happen(*range(23, 31))
        await rig.taken(30)

        assert spelled(mailbox) == [(10, 5), (15, 5), "live", (20, 5), (25, 5)]
        assert next(what for name, what in rig.toy.calls if name == "trades") == ("BTC/USDT", None, 10 * NS_PER_S)
        await rig.stop()

    run(scene())


def test_without_history_the_first_bar_is_the_one_that_forms_and_it_is_whole() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open()

        await rig.ready()
        rig.happen(23, 24, 25)
        await rig.taken(25)

        assert spelled(mailbox) == ["live", (20, 5)]
        await rig.stop()

    run(scene())


def test_all_bars_of_an_instrument_are_made_of_one_stream_and_one_history() -> None:
    async def scene() -> None:
        rig = at_second(23)
        fives, tens, trades, threes = rig.open(), rig.open("10s", seconds=20), rig.open("1t"), rig.open("3t", seconds=3)

        await rig.ready()
        rig.happen(*range(23, 31))
        await rig.taken(30)

        assert spelled(fives) == ["live", (20, 5), (25, 5)]
        assert spelled(tens) == [(0, 9), (10, 10), "live", (20, 10)]
        assert spelled(trades) == ["live", *((second, 1) for second in range(23, 31))]
        assert spelled(threes) == [(20, 3), "live", (23, 3), (26, 3)]
        (connection,) = rig.toy.of(Channel.TRADE)
        assert len(connection.subscriptions) == 1
        assert rig.toy.count("trades") == 2  # the history, and that nothing follows it
        await rig.stop()

    run(scene())


def test_trades_of_one_moment_are_bars_in_their_order() -> None:
    async def scene() -> None:
        rig = at_second(10)
        mailbox = rig.open("1t", history_trades=2)
        twins = [attrs.evolve(numbered(number), time_ns=12 * NS_PER_S) for number in (10, 11, 12)]

        await rig.ready()
        rig.toy.print(*twins)
        await rig.taken(12)

        told = [item for item in items(mailbox) if not spelled_word(item)]
        assert [one.close for one in told] == [numbered(number).price for number in (8, 9, 10, 11, 12)]
        assert [one.close_ns // NS_PER_S for one in told] == [8, 9, 12, 12, 12]
        await rig.stop()

    run(scene())


def spelled_word(item: object) -> bool:
    return not hasattr(item, "close")


def test_history_of_trades_is_counted_back_only_where_they_are_numbered() -> None:
    async def scene() -> None:
        rig = at_second(10, dense=False)
        mailbox = rig.open("1t", history_trades=2)
        rig.desk.connect()
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))

        (end,) = items(mailbox)
        assert isinstance(end.error, ConfigError)
        assert "write backfill='10m'" in str(end.error)
        await rig.stop()

    run(scene())


def test_a_market_where_nothing_traded_has_no_trades_to_count_back() -> None:
    async def scene() -> None:
        rig = PrintsRig(ToyVenue(now_minute=1))

        async def nothing(*, symbol: str) -> None:
            return None

        rig.toy.last_price = nothing  # type: ignore[method-assign]
        mailbox = rig.open("1t", history_trades=5)

        await rig.ready()
        rig.happen(61)
        await rig.taken(61)

        assert spelled(mailbox) == ["live", (61, 1)]
        await rig.stop()

    run(scene())


def test_a_quiet_market_closes_its_bars_on_time_and_a_trade_after_that_is_counted_and_told() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open()
        await rig.ready()
        rig.happen(23)
        await rig.taken(23)

        rig.toy.now_ns = 25 * NS_PER_S - 1
        rig.desk.close_due()
        early = spelled(mailbox)
        rig.toy.now_ns += 1
        rig.desk.close_due(grace_ns=1)
        in_grace = spelled(mailbox)
        rig.toy.now_ns += 1
        rig.desk.close_due(grace_ns=1)
        rig.happen(24)
        await rig.taken(24)

        assert (early, in_grace) == (["live"], [])
        assert spelled(mailbox) == [(20, 4)]
        assert ("LATE", "BTC/USDT 5s: 1 trades came after their bar had closed and are in none") in rig.notes
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("fills", [False, True])
def test_the_clock_closes_what_is_over_and_fills_what_is_empty_if_asked(fills: bool) -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open(making=Making(fills=fills))
        await rig.ready()
        rig.happen(23)
        await rig.taken(23)

        rig.toy.now_ns = 35 * NS_PER_S + 2_000_000
        keeping = asyncio.ensure_future(rig.desk.keep_time())
        await rig.log.until(lambda: len(mailbox) == (4 if fills else 2))
        keeping.cancel()

        flat = [(25, 0), (30, 0)] if fills else []
        assert spelled(mailbox) == ["live", (20, 4), *flat]
        await asyncio.wait({keeping})
        await rig.stop()

    run(scene())


def test_bars_that_closed_before_the_start_may_be_the_venues_own() -> None:
    async def scene() -> None:
        rig = PrintsRig(ToyVenue(now_minute=0))
        for minute in range(1, 7):
            rig.toy.history.setdefault(("BTC/USDT", "1m"), {})[minute * NS_PER_MINUTE] = bar(minute)
        rig.happen(*range(360, 425), push=False)
        rig.toy.now_ns = 7 * NS_PER_MINUTE + 5 * NS_PER_S
        ones = rig.open("1m", seconds=240, making=Making(part=MINUTE))
        twos = rig.open("2m", seconds=240, making=Making(part=MINUTE))

        await rig.ready()
        rig.happen(*range(425, 481))
        await rig.taken(480)

        assert spelled(ones) == [*((minute * 60, 3) for minute in range(3, 7)), "live", (420, 60)]
        assert spelled(twos) == [(120, 6), (240, 6), "live", (360, 120)]
        await rig.stop()

    run(scene())


def test_a_kline_that_has_only_just_closed_is_made_of_trades() -> None:
    async def scene() -> None:
        rig = PrintsRig(ToyVenue(now_minute=0))
        rig.toy.history["BTC/USDT", "1m"] = {minute * NS_PER_MINUTE: bar(minute) for minute in range(1, 3)}
        rig.happen(*range(60, 181), push=False)
        rig.toy.now_ns = 181 * NS_PER_S
        mailbox = rig.open("1m", seconds=120, making=Making(part=MINUTE))

        await rig.ready()

        assert spelled(mailbox) == [(60, 3), (120, 60), "live"]
        await rig.stop()

    run(scene())


def test_klines_the_venue_does_not_have_yet_are_made_of_trades() -> None:
    async def scene() -> None:
        rig = PrintsRig(ToyVenue(now_minute=0))
        rig.happen(*range(60, 125), push=False)
        rig.toy.now_ns = 125 * NS_PER_S
        mailbox = rig.open("1m", seconds=60, making=Making(part=MINUTE))

        await rig.ready()

        assert spelled(mailbox) == [(60, 60), "live"]
        await rig.stop()

    run(scene())


def test_after_a_cut_bars_come_by_request_and_then_by_push_with_every_trade_once() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open()
        await rig.ready()
        rig.toy.gates["dial"] = asyncio.Event()

        rig.toy.cut(Channel.TRADE, TransportError("cut"))
        await rig.log.until(lambda: bool(rig.log.of(FeedLost)))
        rig.happen(*range(23, 34), push=False)
        await rig.taken(33)
        by_request = spelled(mailbox)
        rig.toy.now_ns = 60 * NS_PER_S  # what is asked for is complete up to a moment ago: a quiet bar is over
        await rig.log.until(lambda: any(isinstance(item, Bar) for item in mailbox._items))
        rig.toy.gates["dial"].set()
        await rig.log.until(lambda: rig.desk.is_ready)
        rig.toy.print(*(attrs.evolve(numbered(number), time_ns=(number + 27) * NS_PER_S) for number in range(34, 39)))
        await rig.taken(38)

        assert [each for each in by_request if each != "delayed"] == ["live", "lost", (20, 5), (25, 5)]
        assert [each for each in spelled(mailbox) if each != "delayed"] == [
            (30, 4),
            "live",
            (60, 4),
        ]  # of 61 to 64; 65 closed it
        await rig.stop()

    run(scene())


@pytest.mark.parametrize(("on_gap", "halts"), [(OnGap.HALT, 1), (OnGap.MARK, 0), (OnGap.CONTINUE, 0)])
def test_trades_that_nobody_has_are_told_for_every_feed_and_halt_it_if_asked(on_gap: OnGap, halts: int) -> None:
    async def scene() -> None:
        rig = at_second(23)
        fives = rig.open(on_gap=on_gap)
        rig.open("1t", on_gap=OnGap.CONTINUE)
        await rig.ready()

        rig.happen(26)
        await rig.taken(26)

        between = "1970-01-01T00:00:22.000Z and 1970-01-01T00:00:26.000Z"
        text = f"trades are missing between {between}: the venue has no trades 23 to 25"
        gaps = [told for kind, told in rig.notes if kind == "GAP"]
        assert gaps == [f"BTC/USDT 5s: {text}", f"BTC/USDT 1t: {text}"]
        assert rig.holes == [f"BTC/USDT 5s: {text}"] * halts
        assert spelled(fives) == ["live", "lost", "gap", (20, 3), "live"]
        await rig.stop()

    run(scene())


def test_a_slow_strategy_is_told_and_gets_everything_when_it_has_caught_up() -> None:
    async def scene() -> None:
        rig = at_second(23)
        trades, minutes = rig.open("1t", most=3), rig.open("1m")
        await rig.ready()

        rig.happen(*range(23, 30))
        await rig.log.until(lambda: any(kind == "SLOW" for kind, _ in rig.notes))
        waiting = spelled(trades)
        rig.desk.on_room(trades)
        await rig.log.until(lambda: len(trades) >= 3)
        waiting += spelled(trades)
        rig.desk.on_room(trades)
        rig.desk.on_room(minutes)
        await rig.taken(29)

        assert waiting[0] == "live"
        assert [*waiting, *spelled(trades)][1:] == [(second, 1) for second in range(23, 30)]
        assert ("SLOW", "BTC/USDT 1t: 3 bars wait, what follows is fetched when they are taken") in rig.notes
        await rig.stop()

    run(scene())


def test_a_feed_that_waits_for_its_first_bar_keeps_the_full_ones_going() -> None:
    async def scene() -> None:
        rig = at_second(100)
        trades, minutes = rig.open("1t", seconds=90, most=3), rig.open("1m", seconds=90)
        rig.desk.connect()
        await rig.log.until(lambda: bool(len(minutes)))

        assert len(trades) > 3
        taken = spelled(trades)
        rig.desk.on_room(trades)
        await rig.log.until(lambda: rig.desk.is_ready)
        assert len(taken + spelled(trades)) == 91
        assert spelled(minutes) == [(0, 59), "live"]
        await rig.stop()

    run(scene())


def test_a_feed_of_history_alone_ends_with_its_last_bar() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open(seconds=20, live=False)
        bounded = rig.open(seconds=20, live=False, end_ns=12 * NS_PER_S)

        await rig.ready()

        assert spelled(mailbox) == [(0, 4), (5, 5), (10, 5), (15, 5), "end"]
        assert spelled(bounded) == [(0, 4), (5, 5), "end"]
        assert not rig.toy.of(Channel.TRADE)
        await rig.stop()

    run(scene())


@pytest.mark.parametrize("by_clock", [False, True])
def test_a_live_feed_ends_at_the_end_that_was_asked_for(by_clock: bool) -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open(end_ns=30 * NS_PER_S)
        await rig.ready()

        rig.happen(23, 24, 25, 26)
        await rig.taken(26)
        if by_clock:
            rig.toy.now_ns = 30 * NS_PER_S
            rig.desk.close_due()
        else:
            rig.happen(27, 28, 29, 30)
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))

        assert spelled(mailbox)[1:] == [(20, 5), (25, 2 if by_clock else 5), "end"]
        await rig.lines.stop()
        await rig.stop()

    run(scene())


def test_more_history_than_anybody_waits_for_ends_the_feed_with_a_word() -> None:
    async def scene() -> None:
        rig = at_second(23, longest_history_ns=10 * NS_PER_S)
        mailbox = rig.open(seconds=20)
        fine = rig.open(seconds=5)

        await rig.ready()

        (end,) = items(mailbox)
        assert "history made of trades goes back" in str(end.error)
        assert spelled(fine) == [(15, 5), "live"]
        await rig.stop()

    run(scene())


def test_history_that_breaks_ends_its_feeds_with_the_cause() -> None:
    async def scene() -> None:
        rig = at_second(23)
        rig.toy.faults["trades"].append(VenueError("no trades for you", code=-1))
        past = rig.open(seconds=20, live=False)
        live = rig.open(seconds=20)
        rig.desk.connect()
        await rig.log.until(lambda: bool(rig.log.of(FeedEnd)))
        rig.toy.faults["trades"].append(VenueError("nor for you", code=-1))
        await rig.log.until(lambda: len(rig.log.of(FeedEnd)) == 2)

        assert [str(item.error) for item in items(past)][-1] == "no trades for you"
        assert [str(item.error) for item in items(live)][-1] == "nor for you"
        await rig.stop()

    run(scene())


def test_a_feed_that_is_closed_takes_its_subscription_with_it_and_no_other() -> None:
    async def scene() -> None:
        rig = at_second(23)
        one, other = rig.open(), rig.open()
        await rig.ready()

        rig.desk.close(one)
        rig.happen(23, 24, 25)
        await rig.taken(25)
        assert spelled(one) == ["live"]
        assert spelled(other) == ["live", (20, 5)]

        rig.desk.close(other)
        await rig.toy.until(lambda: not rig.toy.of(Channel.TRADE))
        await rig.stop()

    run(scene())


def test_a_feed_closed_before_it_began_begins_nothing() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open()

        rig.desk.close(mailbox)

        assert rig.desk.is_ready
        assert not rig.desk.connect()
        await rig.stop()

    run(scene())


def test_a_feed_opened_later_does_not_disturb_the_others() -> None:
    async def scene() -> None:
        rig = at_second(23)
        first = rig.open()
        await rig.ready()
        rig.happen(23, 24, 25, 26)
        await rig.taken(26)

        second = rig.open("10s", seconds=10)
        await rig.ready()
        rig.happen(27, 28, 29, 30)
        await rig.taken(30)

        assert spelled(first) == ["live", (20, 5), (25, 5)]
        assert spelled(second) == [(10, 10), "live", (20, 10)]
        await rig.stop()

    run(scene())


def test_the_end_delivers_what_is_over_and_drops_what_is_cut_off() -> None:
    async def scene() -> None:
        rig = at_second(23)
        over, cut_off, trades = rig.open(), rig.open("1m"), rig.open("100t")
        await rig.ready()
        rig.toy.now_ns = 25 * NS_PER_S

        rig.desk.end()

        assert spelled(over) == ["live", (20, 3), "end"]
        assert spelled(cut_off) == spelled(trades) == ["live", "end"]
        await rig.stop()

    run(scene())


def test_a_step_of_lockstep_ends_with_the_next_bar_or_trade_of_a_live_feed() -> None:
    async def scene() -> None:
        rig = at_second(23)
        assert rig.desk.next_stop(23 * NS_PER_S) == (None, False)

        rig.open("10s")
        rig.open("7s", live=False)
        assert rig.desk.next_stop(23 * NS_PER_S) == (30 * NS_PER_S, False)
        rig.open("1t")
        assert rig.desk.next_stop(30 * NS_PER_S) == (40 * NS_PER_S, True)
        await rig.ready()
        await rig.stop()

    run(scene())


def test_what_was_not_pushed_is_fetched_when_it_is_missed() -> None:
    async def scene() -> None:
        rig = at_second(23)
        mailbox = rig.open()
        await rig.ready()

        rig.happen(23, 24, 25, push=False)
        assert not rig.desk.has_traded("BTCUSDT", 25)
        rig.desk.fetch_overdue()
        await rig.taken(25)

        assert spelled(mailbox) == ["live", (20, 5)]
        await rig.stop()

    run(scene())


def test_seven_seconds_are_counted_on_over_midnight() -> None:
    assert Interval.parse("7s").open_of(86_400 * NS_PER_S) == (86_400 - 86_400 % 7) * NS_PER_S


def test_a_clock_in_doubt_closes_no_bar_that_the_venue_may_still_be_trading_in() -> None:
    async def scene() -> None:
        rig = at_second(23, doubt=lambda: Doubt(market_ns=8 * NS_PER_S, wait_s=0.001))
        mailbox = rig.open()
        await rig.ready()
        rig.happen(23)
        await rig.taken(23)
        keeping = asyncio.ensure_future(rig.desk.keep_time())

        rig.toy.now_ns = 32 * NS_PER_S  # the venue may be at 24
        for _ in range(50):
            await asyncio.sleep(0.001)
        pushed = spelled(mailbox)
        rig.toy.gates["dial"] = asyncio.Event()
        rig.toy.cut(Channel.TRADE, TransportError("cut"))
        await rig.log.until(lambda: bool(rig.log.of(FeedDelayed)))
        asked = spelled(mailbox)
        rig.toy.now_ns = 34 * NS_PER_S
        await rig.log.until(lambda: any(isinstance(item, Bar) for item in mailbox._items))

        assert (pushed, asked) == (["live"], ["lost", "delayed"])
        assert spelled(mailbox) == [(20, 4)]
        keeping.cancel()
        await asyncio.wait({keeping})
        await rig.stop()

    run(scene())
