"""The world: what is played, in which order, by which clock, for whom."""

import asyncio
import itertools
from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.model.order import Side, Status
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from btx.model.venue import Scenario
from btx.sim.exchange import ExecutionEvent
from btx.sim.market import BarChange, BookChange, PublicTrade, QuoteChange
from btx.sim.world import Want, World, WorldEvent, default_account
from tests.unit.sim.toys import KEY, LISTINGS, START_NS, limit_order, market_order, world, write_klines
from tests.values import MINUTE

FIVE = Interval.parse("5m")
DEADLINE_S = 60.0


class Hands:
    """Clocks that stand still until the test moves them."""

    def __init__(self) -> None:
        self.now_ns = START_NS + 40_000 * NS_PER_HOUR + 21 * NS_PER_S

    def __call__(self) -> int:
        return self.now_ns


def heard(played: World) -> list[WorldEvent]:
    events: list[WorldEvent] = []
    played.listen(events.append)
    return events


def closed_bars(events: list[WorldEvent]) -> list[tuple[str, str, int]]:
    return [
        (event.venue_symbol, str(event.bar.interval), (event.bar.open_ns - START_NS) // NS_PER_MINUTE)
        for event in events
        if isinstance(event, BarChange) and event.bar.is_closed
    ]


# --- lockstep --------------------------------------------------------------------------------------------------


def test_an_alarm_goes_off_once_at_its_time_and_one_that_is_taken_back_never() -> None:
    played = world()
    rung: list[int] = []
    played.wake_at(START_NS + 90 * NS_PER_S, lambda: rung.append(played.market.now_ns))
    played.wake_at(START_NS + 30 * NS_PER_S, lambda: rung.append(played.market.now_ns))
    take_back = played.wake_at(START_NS + 40 * NS_PER_S, lambda: rung.append(0))
    take_back()
    take_back()

    played.advance(until_ns=START_NS + 29 * NS_PER_S)
    assert rung == []
    for _ in range(3):
        played.advance()

    assert rung == [START_NS + 30 * NS_PER_S, START_NS + 90 * NS_PER_S]


def test_an_alarm_may_end_an_order_before_a_later_trade_reaches_it() -> None:
    played = world()
    order = played.exchange.place(api_key=KEY, order=limit_order(Side.BUY, "1", "80"), now_ns=START_NS)
    played.wake_at(
        START_NS + NS_PER_S,
        lambda: played.exchange.cancel(
            api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=played.market.now_ns
        ),
    )

    played.advance()

    ended = played.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)
    assert (ended.status, ended.updated_ns) == (Status.CANCELED, START_NS + NS_PER_S)


def test_a_step_ends_with_the_next_close_of_a_wanted_bar() -> None:
    played = world()
    events = heard(played)
    assert played.advance().market_ns == START_NS + NS_PER_MINUTE
    assert events == []

    played.want("BTCUSDT", Want.BARS, FIVE)
    step = played.advance()
    assert step.market_ns == played.market_ns() == START_NS + 5 * NS_PER_MINUTE
    assert step.closed == (("BTCUSDT", FIVE, START_NS),)

    played.want("ETHUSDT", Want.BARS, MINUTE)
    assert played.advance().closed == (("ETHUSDT", MINUTE, START_NS + 5 * NS_PER_MINUTE),)
    assert closed_bars(events) == [("BTCUSDT", "5m", 0), ("ETHUSDT", "1m", 5)]

    played.unwant("ETHUSDT", Want.BARS, MINUTE)
    assert played.advance().closed == (("BTCUSDT", FIVE, START_NS + 5 * NS_PER_MINUTE),)


def test_a_step_may_end_sooner_at_a_time_or_with_the_next_trade_that_is_wanted() -> None:
    played = world()
    played.want("BTCUSDT", Want.TRADES)
    events = heard(played)
    second = NS_PER_S

    step = played.advance(until_ns=START_NS + 5 * second)
    assert step.market_ns == START_NS + 5 * second
    ids = [event.trade_id for event in events if isinstance(event, PublicTrade)]
    assert [trade_id for *_, trade_id in step.told] == ids[-1:]

    while len(ids) < 10:
        step = played.advance(until_ns=START_NS, by_trade=True)  # a time that has passed bounds nothing
        found = [event.trade_id for event in events if isinstance(event, PublicTrade)]
        assert len(found) - len(ids) <= 1
        before, ids = ids, found
        assert step.told == ((("BTCUSDT", Want.TRADES, ids[-1]),) if found != before else ())
    assert ids == list(range(ids[0], ids[0] + 10))


def test_a_step_tells_nothing_of_what_nobody_wants_any_more() -> None:
    played = world()
    played.want("BTCUSDT", Want.QUOTES)
    assert [kind for _, kind, _ in played.advance().told] == [Want.QUOTES]

    played.unwant("BTCUSDT", Want.QUOTES)

    assert played.advance().told == ()


def test_a_step_names_the_last_trade_also_when_the_socket_that_heard_it_was_just_cut() -> None:
    played = world()
    played.want("BTCUSDT", Want.TRADES)
    events = heard(played)
    second = NS_PER_S
    played.advance(until_ns=START_NS + 20 * second)
    pushed = len(events)
    played.unwant("BTCUSDT", Want.TRADES)  # the client may not know yet, and closes bars when the step has come

    step = played.advance(until_ns=START_NS + 40 * second)
    next_step = played.advance(by_trade=True)

    assert len(events) == pushed
    after, until = START_NS, START_NS + 40 * second
    happened = [trade.trade_id for trade in world().market.trades_between("BTCUSDT", after, until)]
    assert step.told == (("BTCUSDT", Want.TRADES, happened[-1]),)
    assert next_step.told == (("BTCUSDT", Want.TRADES, happened[-1] + 1),)


def test_every_bar_of_the_file_closes_once_in_order_and_then_the_world_ends(tmp_path: Path) -> None:
    path = write_klines(tmp_path / "btc.csv", minutes=[0, 1, 3, 4, 5])
    played = world(data={"BTC/USDT": path}, until_ns=None)
    played.want("BTCUSDT", Want.BARS, MINUTE)
    events, ends = heard(played), []
    played.on_ended(lambda: ends.append(played.market_ns()))

    while not played.ended:
        step = played.advance()

    assert closed_bars(events) == [("BTCUSDT", "1m", minute) for minute in (0, 1, 3, 4, 5)]
    assert step.is_ended
    assert ends == [START_NS + 6 * NS_PER_MINUTE]
    after = played.advance()
    assert (after.market_ns, after.is_ended, after.closed) == (step.market_ns, True, ())
    assert len(events) == 5
    assert len(ends) == 1


def test_a_wanted_bar_that_the_end_cuts_never_closes() -> None:
    played = world(until_ns=7 * NS_PER_MINUTE)
    played.want("BTCUSDT", Want.BARS, FIVE)
    events = heard(played)

    played.advance()
    step = played.advance()

    assert step.is_ended
    assert step.market_ns == START_NS + 7 * NS_PER_MINUTE
    assert closed_bars(events) == [("BTCUSDT", "5m", 0)]


def test_orders_fill_on_the_way_and_are_told_in_order_of_time() -> None:
    played = world()
    for kind in (Want.TRADES, Want.QUOTES, Want.BOOK):
        played.want("BTCUSDT", kind)
    played.want("BTCUSDT", Want.BARS, MINUTE)
    events = heard(played)
    bid = played.market.quote("BTCUSDT").bid_price
    order = played.exchange.place(api_key=KEY, order=limit_order(Side.BUY, "0.1", bid), now_ns=played.market_ns())

    while played.exchange.has_orders("BTCUSDT"):
        played.advance()

    times = [event.time_ns for event in events]
    assert times == sorted(times)
    kinds = {type(event) for event in events}
    assert kinds == {ExecutionEvent, PublicTrade, QuoteChange, BookChange, BarChange}
    found = played.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)
    assert found.status is Status.FILLED
    prints = {(e.time_ns, e.price) for e in events if isinstance(e, PublicTrade)}
    assert all(any(time == fill.time_ns and price <= bid for time, price in prints) for fill in found.fills)


def test_what_others_want_changes_nothing_for_the_account() -> None:
    def trade(*wants: Want) -> list[ExecutionEvent]:
        played = world()
        for kind in wants:
            played.want("BTCUSDT", kind)
        events = heard(played)
        quote = played.market.quote("BTCUSDT")
        for side, price in ((Side.BUY, quote.bid_price), (Side.SELL, quote.ask_price + 50)):
            order = limit_order(side, "0.2", price)
            played.exchange.place(api_key=KEY, order=order, now_ns=played.market_ns())
        for _ in range(20):
            played.advance()
        played.exchange.place(api_key=KEY, order=market_order(Side.SELL, "0.1"), now_ns=played.market_ns())
        return [event for event in events if isinstance(event, ExecutionEvent)]

    assert trade() == trade(Want.TRADES, Want.BOOK)


def test_client_orders_leave_no_trace_in_the_market() -> None:
    quiet, busy = world(), world()
    for _ in range(10):
        now_ns = busy.market_ns()
        busy.exchange.place(api_key=KEY, order=market_order(Side.BUY, "0.9"), now_ns=now_ns)
        bid = busy.market.quote("BTCUSDT").bid_price
        busy.exchange.place(api_key=KEY, order=limit_order(Side.BUY, "0.001", bid), now_ns=now_ns)
        for one in (quiet, busy):
            one.advance()

    assert quiet.market.klines("BTCUSDT", MINUTE) == busy.market.klines("BTCUSDT", MINUTE)
    assert quiet.market.trades("BTCUSDT") == busy.market.trades("BTCUSDT")
    assert quiet.market.book("BTCUSDT") == busy.market.book("BTCUSDT")


def test_the_changes_of_a_book_are_contiguous_and_lead_from_snapshot_to_snapshot() -> None:
    played = world()
    events = heard(played)
    played.want("ETHUSDT", Want.BOOK)
    played.want("ETHUSDT", Want.BOOK)
    played.unwant("ETHUSDT", Want.BOOK)
    played.advance()
    snapshot = played.market.book("ETHUSDT")
    seen = len(events)
    played.advance()

    changes = [event for event in events if isinstance(event, BookChange)]
    for before, after in itertools.pairwise(changes):
        assert after.first_id == before.last_id + 1
    assert changes[seen - 1].last_id <= snapshot.sequence
    assert changes[seen].first_id <= snapshot.sequence + 1 <= changes[seen].last_id
    bids = dict(snapshot.bids)
    for change in changes[seen:]:
        bids.update(change.bids)
    played.market.seek(changes[-1].time_ns)
    assert {price: quantity for price, quantity in bids.items() if quantity} == dict(played.market.book("ETHUSDT").bids)

    played.unwant("ETHUSDT", Want.BOOK)
    count = len(events)
    played.advance()
    assert len(events) == count


def test_a_forgotten_listener_hears_nothing() -> None:
    played = world()
    events: list[WorldEvent] = []
    played.listen(events.append)
    played.want("BTCUSDT", Want.BARS, MINUTE)

    played.forget(events.append)
    played.advance()

    assert events == []


def test_flush_awaits_every_hook() -> None:
    async def scenario() -> list[str]:
        played, flushed = world(), []

        async def hook() -> None:
            flushed.append("flushed")

        played.on_flush(hook)
        played.on_flush(hook)
        await played.flush()
        return flushed

    assert asyncio.run(scenario()) == ["flushed", "flushed"]


# --- clocks ----------------------------------------------------------------------------------------------------


def test_lockstep_has_wall_time_on_the_wire_and_its_own_on_the_market() -> None:
    hands = Hands()
    played = World(Scenario(), LISTINGS, wall_ns=hands)

    assert played.wire_ns() == hands.now_ns
    played.shift_wire(-NS_PER_S)
    assert played.wire_ns() == hands.now_ns - NS_PER_S
    assert played.market_ns() == START_NS
    assert (played.clock.market_origin_ns, played.clock.speed) == (START_NS, None)


def test_a_running_market_is_at_origin_plus_speed_times_elapsed() -> None:
    async def scenario() -> None:
        hands = Hands()
        played = World(Scenario(speed=60.0, until_ns=NS_PER_HOUR), LISTINGS, wall_ns=hands, monotonic_ns=hands)
        played.want("BTCUSDT", Want.BARS, MINUTE)
        events = heard(played)
        assert played.market_ns() == START_NS
        async with played:
            hands.now_ns += 3 * NS_PER_S
            assert played.market_ns() == START_NS + 3 * NS_PER_MINUTE
            hands.now_ns += 3600 * NS_PER_S
            assert played.market_ns() == START_NS + NS_PER_HOUR
        assert played.ended
        assert closed_bars(events) == [("BTCUSDT", "1m", minute) for minute in range(60)]
        with pytest.raises(ConfigError, match="runs by itself"):
            played.advance()

    asyncio.run(scenario())


def test_a_rebased_market_runs_on_wall_time() -> None:
    async def scenario() -> None:
        hands = Hands()
        played = World(Scenario(speed=1.0, rebase=True), LISTINGS, wall_ns=hands, monotonic_ns=hands)
        hands.now_ns += 5 * NS_PER_S
        async with played:
            assert played.market_ns() == played.wire_ns() == hands.now_ns
            hands.now_ns += 7 * NS_PER_S
            assert played.market_ns() == played.wire_ns()
        assert played.market.origin_ns == START_NS + 40_000 * NS_PER_HOUR

    asyncio.run(scenario())


def test_a_running_market_plays_by_itself_and_pushes_forming_bars() -> None:
    async def scenario() -> list[WorldEvent]:
        played = world(speed=300.0, until_ns=15 * NS_PER_MINUTE)  # three seconds: longer than it is held up at once
        events, ended = heard(played), asyncio.Event()
        played.on_ended(ended.set)
        async with played:
            played.want("BTCUSDT", Want.TRADES)
            played.want("BTCUSDT", Want.BARS, FIVE)
            await asyncio.wait_for(ended.wait(), DEADLINE_S)
        return events

    events = asyncio.run(scenario())

    bars = [event.bar for event in events if isinstance(event, BarChange)]
    assert [bar.open_ns for bar in bars if bar.is_closed] == [START_NS + n * NS_PER_MINUTE for n in (0, 5, 10)]
    assert any(not bar.is_closed for bar in bars)
    assert any(isinstance(event, PublicTrade) for event in events)
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)


def test_an_order_wakes_a_running_market_that_had_nothing_to_tell() -> None:
    async def scenario() -> None:
        played = world(speed=10.0)
        filled = asyncio.Event()

        def listen(event: WorldEvent) -> None:
            if isinstance(event, ExecutionEvent) and event.fill is not None:
                filled.set()

        played.listen(listen)
        async with played:
            trades = played.market.trades_between("BTCUSDT", START_NS, START_NS + NS_PER_MINUTE)
            lowest = min(trade.price for trade in trades)
            order = limit_order(Side.BUY, "0.001", lowest, post_only=True)
            placed = played.exchange.place(api_key=KEY, order=order, now_ns=played.market_ns())
            assert placed.status is Status.NEW
            await asyncio.wait_for(filled.wait(), DEADLINE_S)
            assert played.market_ns() < START_NS + NS_PER_MINUTE

    asyncio.run(scenario())


def test_leaving_a_market_ends_it_even_in_the_moment_something_happens() -> None:
    async def scenario() -> None:
        played = world(speed=1.0)
        async with played:
            await asyncio.sleep(0)
            played.want("BTCUSDT", Want.TRADES)  # wakes the task that is cancelled next

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_S))


def test_a_listener_that_fails_is_reported_at_once_and_again_at_the_end() -> None:
    async def scenario() -> None:
        reported: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.done() or reported.set_result(context["message"])
        )

        def fail(event: WorldEvent) -> None:
            raise LookupError("bad listener")

        played = world(speed=6000.0)
        played.listen(fail)
        played.want("BTCUSDT", Want.BARS, MINUTE)
        with pytest.raises(LookupError, match="bad listener"):
            async with played:
                assert await asyncio.wait_for(reported, DEADLINE_S) == "the simulated market has crashed"

    asyncio.run(scenario())


# --- scenarios -------------------------------------------------------------------------------------------------


def test_only_symbols_with_data_are_listed() -> None:
    assert set(world(symbols=("ETH/USDT",)).listings) == {"ETHUSDT"}


def test_a_speed_that_does_not_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="speed 0 does not run"):
        world(speed=0)


def test_without_accounts_the_seed_makes_one() -> None:
    first, second = default_account(1, LISTINGS), default_account(2, LISTINGS)

    assert World(Scenario(), LISTINGS).accounts == (first,)
    assert first.balances == {"USDT": 100_000, "BTC": 0, "ETH": 0}
    assert len({first.api_key, first.api_secret, second.api_key, second.api_secret}) == 4
    assert all(len(text) == 64 and text.isalnum() for text in (first.api_key, first.api_secret))


def test_the_book_of_a_running_market_moves_with_time_alone() -> None:
    played = world()
    before = played.market.book("BTCUSDT")

    played.market.seek(START_NS + 500 * NS_PER_MS)

    assert played.market.book("BTCUSDT").sequence == before.sequence + 500
