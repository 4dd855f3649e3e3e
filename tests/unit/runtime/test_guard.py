"""The guard: the venue's limits are kept, the urgent goes first, reads are tried again, and nothing else is."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest

from btx.errors import (
    ClockError,
    OutcomeUnknownError,
    PluginError,
    RateLimitedError,
    TransportError,
    VenueError,
)
from btx.model.venue import RateLimit, VenueInfo
from btx.rules.backoff import Backoff
from btx.runtime.guard import Guard
from tests.toy_venue import INFO
from tests.unit.runtime.rig import run


def having(limits: tuple[RateLimit, ...], costs: dict[str, dict[str, int]]) -> VenueInfo:
    return attrs.evolve(INFO, limits={"spot": limits}, costs={"spot": costs})


LIMITED = having(
    (
        RateLimit(name="orders", limit=2, window_s=10.0, scope="account"),
        RateLimit(name="weight", limit=5, window_s=60.0),
    ),
    {"place": {"orders": 1, "weight": 1}, "cancel": {"weight": 1}, "bars": {"weight": 2}},
)


class ManualClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sleeps: list[float] = []

    def now_ns(self) -> int:
        return round(self.now_s * 1_000_000_000)

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now_s += seconds


class Request:
    """A request that fails as it is told to, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.sent = 0

    async def __call__(self) -> str:
        self.sent += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def guarded(clock: ManualClock) -> Guard:
    return Guard(
        info=LIMITED, now_ns=clock.now_ns, sleep=clock.sleep, backoff=Backoff(base_s=1.0, cap_s=60.0, jitter=0.0)
    )


def test_requests_wait_for_the_limit_they_count_against() -> None:
    async def scene() -> None:
        clock = ManualClock()
        guard = guarded(clock)

        for _ in range(3):
            await guard.acquire("place")

        assert clock.sleeps == [11.0]  # and a tenth: one request may be under way longer than another

    run(scene())


def test_a_request_counts_where_it_leaves_and_not_where_its_first_limit_would_let_it() -> None:
    async def scene() -> None:
        clock = ManualClock()
        guard = guarded(clock)
        for _ in range(5):
            await guard.acquire("cancel")  # the weight is used up until t = 61

        left_at = []
        for _ in range(3):
            await guard.acquire("place")
            left_at.append(clock.now_s)

        assert left_at == [61.0, 61.0, 72.0]  # two per ten seconds, also when they leave late

    run(scene())


def test_trailing_stops_go_as_urgently_as_orders_and_their_cancels_as_cancels() -> None:
    async def scene() -> None:
        clock = ManualClock()
        costs = {name: {"weight": 1} for name in ("cancel", "cancel_trailing_stop", "place_trailing_stop", "bars")}
        guard = Guard(
            info=having((RateLimit(name="weight", limit=10, window_s=60.0, scope="account"),), costs),
            now_ns=clock.now_ns,
            sleep=clock.sleep,
        )
        for operation, most in (("bars", 8), ("place_trailing_stop", 1), ("cancel_trailing_stop", 1)):
            for _ in range(most):  # so much is left to each of those below
                await guard.acquire(operation)

        assert clock.sleeps == []

    run(scene())


def test_what_costs_nothing_never_waits() -> None:
    async def scene() -> None:
        clock = ManualClock()

        await guarded(clock).acquire("unheard-of")

        assert clock.sleeps == []

    run(scene())


@pytest.mark.parametrize("error", [TransportError("down"), OutcomeUnknownError("lost")])
def test_a_read_is_tried_three_times_with_growing_waits(error: Exception) -> None:
    async def scene() -> None:
        clock = ManualClock()
        lucky, unlucky = Request(error, error), Request(error, error, error)

        assert await guarded(clock).read("time", lucky) == "answer"
        with pytest.raises(type(error)):
            await guarded(clock).read("time", unlucky)

        assert (lucky.sent, unlucky.sent) == (3, 3)
        assert clock.sleeps == [1.0, 2.0, 1.0, 2.0]

    run(scene())


def test_a_read_waits_as_long_as_the_venue_asks() -> None:
    async def scene() -> None:
        clock = ManualClock()
        limited = [RateLimitedError("slow down", retry_after_s=7.0) for _ in range(3)]

        assert await guarded(clock).read("time", Request(*limited[:2])) == "answer"
        with pytest.raises(RateLimitedError):
            await guarded(clock).read("time", Request(*limited))

        assert clock.sleeps == [7.0, 7.0, 7.0, 7.0]

    run(scene())


def test_a_read_waits_too_when_it_was_refused_for_a_limit_it_is_not_said_to_count_against() -> None:
    async def scene() -> None:
        clock = ManualClock()
        limited = [RateLimitedError("too many visits", retry_after_s=2.0, scope="account") for _ in range(2)]

        assert await guarded(clock).read("time", Request(*limited)) == "answer"

        assert clock.sleeps == [2.0, 2.0]

    run(scene())


def test_a_long_ban_is_told_instead_of_slept_through() -> None:
    async def scene() -> None:
        clock = ManualClock()
        banned = Request(RateLimitedError("banned", retry_after_s=7200.0))

        with pytest.raises(RateLimitedError, match="banned"):
            await guarded(clock).read("time", banned)

        assert (banned.sent, clock.sleeps) == (1, [])

    run(scene())


def test_a_venue_that_answered_no_is_not_asked_again() -> None:
    async def scene() -> None:
        refused = Request(VenueError("no"))

        with pytest.raises(VenueError):
            await guarded(ManualClock()).read("time", refused)

        assert refused.sent == 1

    run(scene())


def test_every_try_counts_against_the_limits() -> None:
    async def scene() -> None:
        clock = ManualClock()
        guard = guarded(clock)

        await guard.read("bars", Request(TransportError("down")))
        await guard.acquire("bars")

        assert clock.sleeps == [1.0, 60.0]

    run(scene())


# --- who goes first ----------------------------------------------------------------------------------------

HUNDRED = having(
    (
        RateLimit(name="weight", limit=100, window_s=60.0),
        RateLimit(name="orders", limit=50, window_s=60.0, scope="account"),
        RateLimit(name="unused", limit=1, window_s=1.0),
    ),
    {
        "place": {"weight": 1, "orders": 1},
        "cancel": {"weight": 1},
        "query": {"weight": 1},
        "bars": {"weight": 1, "orders": 0},
    },
)


class SteppedClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return round(self.now_s * 1_000_000_000)

    async def sleep(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now_s + seconds, turn))
        await turn

    async def pass_s(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        await settle()
        while due := [at_s for at_s, turn in self._sleepers if at_s <= until_s and not turn.done()]:
            self.now_s = max(self.now_s, min(due))
            for at_s, turn in self._sleepers:
                if at_s <= self.now_s and not turn.done():
                    turn.set_result(None)
            await settle()
        self.now_s = until_s
        await settle()


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Crowd:
    """Requests that wait before one guard, and when they left."""

    def __init__(self, **settings: Any) -> None:
        self.clock = SteppedClock()
        self.guard = Guard(info=HUNDRED, now_ns=self.clock.now_ns, sleep=self.clock.sleep, **settings)
        self.left: list[tuple[str, float]] = []
        self.refused: list[tuple[str, BaseException]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, operation: str, times: int = 1) -> None:
        for _ in range(times):
            self._tasks.append(asyncio.create_task(self._acquire(operation)))
        await settle()

    async def spend(self, operation: str, times: int) -> None:
        for _ in range(times):
            await self.guard.acquire(operation)
            self.guard.heard(operation)

    async def _acquire(self, operation: str) -> None:
        try:
            await self.guard.acquire(operation)
        except (TransportError, RateLimitedError) as error:
            self.refused.append((operation, error))
            return
        self.left.append((operation, self.clock.now_s))
        self.guard.heard(operation)

    def names(self) -> list[str]:
        return [operation for operation, _ in self.left]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await settle()


def crowded(use: Callable[[Crowd], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def scene() -> None:
        crowd = Crowd(**settings)
        try:
            await use(crowd)
        finally:
            await crowd.end()

    run(scene())


def test_orders_and_cancels_leave_while_data_waits_for_its_share() -> None:
    async def use(crowd: Crowd) -> None:
        for _ in range(45):
            await crowd.ask("bars", 6)
            await crowd.clock.pass_s(1)
        data = crowd.names().count("bars")
        await crowd.ask("query", 6)
        await crowd.ask("place", 12)
        await crowd.ask("cancel", 12)

        assert data == 75
        assert [crowd.names().count(each) for each in ("query", "place", "cancel")] == [5, 10, 10]

    crowded(use)


def test_data_does_not_take_everything_at_once_where_others_may_need_some() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.ask("bars", 20)
        first = len(crowd.left)
        await crowd.clock.pass_s(4)

        assert (first, len(crowd.left)) == (6, 12)

    crowded(use)


def test_a_cancel_that_comes_last_goes_first() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.spend("cancel", 100)
        for operation in ("bars", "query", "place", "cancel"):
            await crowd.ask(operation)
        await crowd.clock.pass_s(61)

        assert crowd.left == [(each, 61.0) for each in ("cancel", "place", "query", "bars")]

    crowded(use)


def test_a_read_is_not_starved_by_orders_for_ever_nor_does_it_hold_back_a_cancel() -> None:
    async def use(crowd: Crowd) -> None:
        flood = having(HUNDRED.limits["spot"], {**HUNDRED.costs["spot"], "place": {"weight": 1}})
        crowd.guard = Guard(info=flood, now_ns=crowd.clock.now_ns, sleep=crowd.clock.sleep)
        await crowd.ask("place", 90)  # all there is for orders
        await crowd.clock.pass_s(1)
        await crowd.ask("bars", 2)
        await crowd.ask("place", 400)
        turns = []
        for _ in range(3):
            crowd.left.clear()
            await crowd.clock.pass_s(61)
            await crowd.ask("cancel")
            assert crowd.names()[-1] == "cancel"
            turns.append((crowd.names().count("bars"), crowd.names().count("place")))

        assert turns == [(0, 90), (1, 89), (1, 89)]  # one turn a minute

    crowded(use)


def test_who_gives_up_waiting_leaves_no_trace() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.spend("cancel", 100)
        waiting = asyncio.create_task(crowd.guard.acquire("cancel"))
        await settle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await crowd.ask("cancel", 100)
        await crowd.clock.pass_s(61)

        assert len(crowd.left) == 100

    crowded(use)


def test_who_gives_up_at_the_moment_of_his_turn_is_not_under_way() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.spend("cancel", 100)
        waiting = asyncio.create_task(crowd.guard.acquire("cancel"))
        await settle()
        crowd.clock.now_s = 61.0
        await crowd.spend("query", 1)  # the guard looks who may go, before this one
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        crowd.guard.observe("weight", 99)
        await crowd.ask("cancel")

        assert crowd.names() == ["cancel"]

    crowded(use)


def test_who_gives_up_just_before_the_guard_looks_is_passed_over_and_holds_nobody_up() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.spend("cancel", 100)
        waiting = asyncio.create_task(crowd.guard.acquire("cancel"))
        await settle()
        await crowd.ask("cancel", 2)
        crowd.clock.now_s = 61.0
        waiting.cancel()
        await crowd.spend("query", 1)  # the guard looks who may go, before the one that gave up hears of it
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await crowd.clock.pass_s(1)

        assert crowd.names() == ["cancel"] * 2
        crowd.guard.observe("weight", 99)
        await crowd.ask("cancel")
        assert crowd.names() == ["cancel"] * 3  # nothing is under way that did not leave

    crowded(use)


# --- the venue's own count ------------------------------------------------------------------------------------


def test_what_others_used_is_not_used_again() -> None:
    async def use(crowd: Crowd) -> None:
        crowd.guard.observe("weight", 98)
        crowd.guard.observe("unheard-of", 98)
        crowd.guard.observe("unused", 98)
        await crowd.ask("bars")
        await crowd.ask("cancel", 3)
        before = crowd.names()
        await crowd.clock.pass_s(60)

        assert before == ["cancel", "cancel"]
        assert sorted(crowd.names()) == ["bars", "cancel", "cancel", "cancel"]

    crowded(use)


def test_requests_under_way_are_counted_once() -> None:
    async def use(crowd: Crowd) -> None:
        for _ in range(40):
            await crowd.guard.acquire("cancel")
        crowd.guard.observe("weight", 20)  # of forty, twenty have arrived
        for _ in range(40):
            crowd.guard.heard("cancel")
        crowd.guard.observe("weight", 40)
        await crowd.ask("cancel", 60)

        assert len(crowd.left) == 60

    crowded(use)


def test_what_was_never_heard_of_is_not_under_way_for_ever() -> None:
    async def use(crowd: Crowd) -> None:
        for _ in range(40):
            await crowd.guard.acquire("cancel")
        await crowd.clock.pass_s(61)
        crowd.guard.observe("weight", 0)
        await crowd.ask("cancel", 100)

        assert len(crowd.left) == 100

    crowded(use)


def test_a_question_whose_answer_is_late_at_a_windows_end_holds_up_no_other() -> None:
    async def use(crowd: Crowd) -> None:
        told = asyncio.Event()

        async def late() -> None:
            await told.wait()
            crowd.guard.observe("weight", 96)  # which the venue counted before its window ended

        crowd.clock.now_s = 50.0
        crowd.guard.observe("weight", 90)
        asking = asyncio.create_task(crowd.guard.send("cancel", late))
        await settle()
        crowd.clock.now_s = 60.0
        crowd.guard.observe("weight", 2)  # a new one has begun
        crowd.clock.now_s = 64.0
        told.set()
        await asking
        await crowd.ask("query", 5)

        assert crowd.names() == ["query"] * 5

    crowded(use)


# --- after a refusal --------------------------------------------------------------------------------------------


def test_after_a_429_every_request_is_silent_until_it_is_over_and_then_there_are_fewer() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.ask("query")
        crowd.guard.heard("query", RateLimitedError("429", retry_after_s=20.0))
        await crowd.ask("cancel", 3)
        await crowd.ask("query", 60)
        await crowd.clock.pass_s(19)
        silent = len(crowd.left)
        await crowd.clock.pass_s(1)
        slowed = crowd.names().count("query")
        await crowd.clock.pass_s(30)

        assert silent == 1
        assert crowd.names()[1:4] == ["cancel"] * 3
        assert slowed == 40  # half of 80, one of them from before
        assert crowd.names().count("query") == 50  # and an eighth more

    crowded(use)


def test_requests_that_wait_for_a_guess_send_one_of_them_to_replace_it() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.ask("query")
        crowd.guard.observe("weight", 1)  # from now on others are guessed to use 50
        await crowd.ask("query", 60)
        at_once = len(crowd.left)
        await crowd.clock.pass_s(2)
        guessed = len(crowd.left)
        await crowd.clock.pass_s(1)
        asking = len(crowd.left)
        crowd.guard.observe("weight", asking)  # all of it ours
        await settle()

        assert at_once == guessed < 30
        assert asking == guessed + 1
        assert len(crowd.left) == 61

    crowded(use)


def test_a_penalty_cuts_what_others_leave_and_not_their_use_as_well() -> None:
    async def use(crowd: Crowd) -> None:
        crowd.guard.heard("query", RateLimitedError("429", retry_after_s=20.0))
        await crowd.clock.pass_s(20)
        crowd.guard.observe("weight", 50)  # none of it ours
        await crowd.ask("query", 60)

        # 80 % of 100, less the 50 of others and an eighth of them, halved; half of 80, less 56, were none at all.
        assert len(crowd.left) == 12

    crowded(use)


def test_a_refusal_of_the_accounts_orders_stops_orders_only() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.ask("place")
        crowd.guard.heard("place", RateLimitedError("-1015", retry_after_s=20.0, scope="account"))
        for operation in ("place", "query", "cancel", "bars"):
            await crowd.ask(operation)
        before = crowd.names()
        await crowd.clock.pass_s(20)

        assert before == ["place", "query", "cancel", "bars"]
        assert crowd.left[-1] == ("place", 20.0)

    crowded(use)


def test_during_a_long_ban_orders_and_reads_are_refused_and_a_cancel_waits() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.ask("query")
        crowd.guard.heard("query", RateLimitedError("418", retry_after_s=120.0))
        for operation in ("place", "query", "bars", "cancel"):
            await crowd.ask(operation)
        await crowd.clock.pass_s(120)

        assert [operation for operation, _ in crowd.refused] == ["place", "query", "bars"]
        assert "does not listen for another 120 s: nothing was sent" in str(crowd.refused[0][1])
        assert crowd.left[1:] == [("cancel", 120.0)]

    crowded(use)


# --- the circuit breaker -----------------------------------------------------------------------------------------


async def fail(crowd: Crowd, operation: str, times: int = 5) -> None:
    for _ in range(times):
        with pytest.raises(TransportError):
            await crowd.guard.send(operation, Request(OutcomeUnknownError("lost")))


def test_after_five_failures_nothing_leaves_but_cancels_and_why_is_said() -> None:
    async def use(crowd: Crowd) -> None:
        await fail(crowd, "place")
        for operation in ("place", "query", "cancel", "bars"):
            await crowd.ask(operation)

        assert [operation for operation, _ in crowd.refused] == ["place", "query"]
        expected = "was not reached several times in a row: nothing was sent, it is tried again in 60 s"
        assert all(expected in str(error) for _, error in crowd.refused)
        assert not any(isinstance(error, OutcomeUnknownError) for _, error in crowd.refused)
        assert crowd.names() == ["cancel", "bars"]  # data have a breaker of their own

    crowded(use)


def test_a_cancel_that_is_answered_proves_that_the_venue_is_there() -> None:
    async def use(crowd: Crowd) -> None:
        await fail(crowd, "place")
        await crowd.spend("cancel", 1)
        await crowd.spend("place", 2)
        await crowd.spend("place", 10)

        assert crowd.refused == []

    crowded(use)


def test_after_a_minute_three_may_try_and_close_it() -> None:
    async def use(crowd: Crowd) -> None:
        await fail(crowd, "query")
        await crowd.clock.pass_s(60)
        for _ in range(3):
            await crowd.guard.acquire("place")
        await crowd.ask("place")
        for _ in range(3):
            crowd.guard.heard("place", VenueError("no"))  # an answer is an answer
        await crowd.ask("place")

        assert len(crowd.refused) == 1
        assert crowd.names() == ["place"]

    crowded(use)


def test_who_waits_while_it_opens_is_told() -> None:
    async def use(crowd: Crowd) -> None:
        await crowd.spend("query", 80)
        await crowd.ask("query")
        await fail(crowd, "cancel")
        await settle()

        assert [operation for operation, _ in crowd.refused] == ["query"]

    crowded(use)


def test_a_venue_that_was_reached_on_another_way_is_tried_at_once() -> None:
    async def use(crowd: Crowd) -> None:
        await fail(crowd, "place")
        crowd.guard.reached()
        await crowd.ask("place")

        assert crowd.names() == ["place"]

    crowded(use)


def test_a_trial_that_was_cancelled_says_nothing() -> None:
    async def use(crowd: Crowd) -> None:
        await fail(crowd, "place")
        await crowd.clock.pass_s(60)
        for _ in range(6):
            with pytest.raises(asyncio.CancelledError):
                await crowd.guard.send("place", Request(asyncio.CancelledError()))
        await crowd.ask("place")

        assert crowd.names() == ["place"]

    crowded(use)


# --- what is repeated, and what is not -----------------------------------------------------------------------------


def test_an_order_is_never_sent_again() -> None:
    async def scene() -> None:
        clock = ManualClock()
        errors = [TransportError("down"), OutcomeUnknownError("lost"), RateLimitedError("429", retry_after_s=1.0)]
        for error in errors:
            request = Request(error)
            with pytest.raises(type(error)):
                await guarded(clock).send("place", request)
            assert request.sent == 1
        assert await guarded(clock).send("place", Request()) == "answer"

    run(scene())


def test_a_time_stamp_that_is_refused_is_doubted_at_once_and_the_read_is_tried_again() -> None:
    async def scene() -> None:
        clock = ManualClock()
        doubts: list[float] = []
        guard = Guard(
            info=LIMITED,
            now_ns=clock.now_ns,
            sleep=clock.sleep,
            on_clock_doubt=lambda: doubts.append(clock.now_s),
        )

        assert await guard.read("time", Request(ClockError("-1021"))) == "answer"
        with pytest.raises(ClockError):
            await guard.send("place", Request(ClockError("-1021")))

        assert len(doubts) == 2

    run(scene())


@pytest.mark.parametrize("costs", [{"place": {"wieght": 1}}, {"place": {"orders": 3}}, {"place": {"orders": -1}}])
def test_a_table_that_cannot_be_right_is_the_adapters_fault_and_told_at_once(costs: dict[str, dict[str, int]]) -> None:
    with pytest.raises(PluginError, match=r"the adapter 'toy' says 'place' costs"):
        Guard(info=having(LIMITED.limits["spot"], costs))


def test_each_market_has_tables_of_its_own_and_one_without_any_has_no_limits() -> None:
    async def scene() -> None:
        clock = ManualClock()
        for market, asked in (("spot", 2), ("elsewhere", 9)):
            guard = Guard(info=LIMITED, market=market, now_ns=clock.now_ns, sleep=clock.sleep)
            for _ in range(asked):
                await guard.acquire("place")
        assert clock.now_s == 0

    run(scene())
