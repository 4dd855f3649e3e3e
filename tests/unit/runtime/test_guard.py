"""The guard: the venue's limits are kept, reads are tried again, and nothing else is."""

import attrs
import pytest

from btx.errors import OutcomeUnknownError, PluginError, RateLimitedError, TransportError, VenueError
from btx.model.venue import RateLimit
from btx.rules.backoff import Backoff
from btx.runtime.guard import Guard
from tests.toy_venue import INFO
from tests.unit.runtime.rig import run

LIMITED = attrs.evolve(
    INFO,
    limits=(
        RateLimit(name="orders", limit=2, window_s=10.0, scope="account"),
        RateLimit(name="weight", limit=5, window_s=60.0),
    ),
    costs={"place": {"orders": 1, "weight": 1}, "cancel": {"weight": 1}, "bars": {"weight": 2}},
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

    def __init__(self, *errors: Exception) -> None:
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

        assert clock.sleeps == [10.0]

    run(scene())


def test_a_request_counts_where_it_leaves_and_not_where_its_first_limit_would_let_it() -> None:
    async def scene() -> None:
        clock = ManualClock()
        guard = guarded(clock)
        for _ in range(5):
            await guard.acquire("cancel")  # the weight is used up until t = 60

        left_at = []
        for _ in range(3):
            await guard.acquire("place")
            left_at.append(clock.now_s)

        assert left_at == [60.0, 60.0, 70.0]  # two per ten seconds, also when they leave late

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

        assert clock.sleeps == [1.0, 59.0]

    run(scene())


@pytest.mark.parametrize("costs", [{"place": {"wieght": 1}}, {"place": {"orders": 3}}, {"place": {"orders": -1}}])
def test_a_table_that_cannot_be_right_is_the_adapters_fault_and_told_at_once(costs: dict[str, dict[str, int]]) -> None:
    with pytest.raises(PluginError, match=r"the adapter 'toy' says 'place' costs"):
        Guard(info=attrs.evolve(LIMITED, costs=costs))
