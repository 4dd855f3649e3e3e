"""The guard: what one request pays for its share of the rate limits, when none has to wait.

btx        ``await guard.acquire("place")`` and ``guard.heard("place")`` with Binance's own
           tables: weight, orders in 10 s, orders in a day, in their lanes; the venue's
           counts and the circuit breaker with it.  With an empty day, and with 20,000
           orders of this day in the window.
baselines  ``await`` of a coroutine that does nothing; and one meter that adds up its window
           at each call, as the first version did, with the same 20,000 orders.

The clock is the script's own, so that a day fits into a second.  No socket, no simulator.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Awaitable, Callable

from rig import Sample, bound, facts

from btx.defaults import open_venue
from btx.model.time import NS_PER_DAY
from btx.runtime.guard import Guard

IN_THE_DAY = 20_000
CALLS = 5000
APART_NS = NS_PER_DAY // (IN_THE_DAY + CALLS)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = NS_PER_DAY

    def __call__(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError(f"nothing was to wait, and something did for {seconds} s")


class AddingUp:
    """A meter that adds up its whole window at each call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.spent: tuple[tuple[int, int], ...] = ()

    async def __call__(self) -> None:
        now_ns = self._clock()
        spent = self.spent[bisect_right(self.spent, now_ns - NS_PER_DAY, key=lambda entry: entry[0]) :]
        if sum(units for _, units in spent) + 1 <= 200_000:
            self.spent = (*spent, (now_ns, 1))


async def nothing() -> None:
    """Do nothing."""


async def measure(name: str, clock: Clock, call: Callable[[], Awaitable[None]], *, before: int) -> Sample:
    """Time each of ``CALLS`` calls, after ``before`` that are not."""
    latencies = []
    for number in range(before + CALLS):
        clock.now_ns += APART_NS
        started_ns = time.perf_counter_ns()
        await call()
        if number >= before:
            latencies.append((time.perf_counter_ns() - started_ns) / 1e6)
    return Sample(name=name, latencies_ms=latencies)


async def guarded(name: str, *, before: int) -> Sample:
    clock = Clock()
    guard = Guard(info=open_venue("binance").info, now_ns=clock, sleep=clock.sleep)

    for limit in ("weight", "orders_10s", "orders_day"):
        guard.observe(limit, 0)

    async def place() -> None:
        await guard.acquire("place")
        guard.heard("place")

    return await measure(name, clock, place, before=before)


async def adding_up() -> Sample:
    clock = Clock()
    meter = AddingUp(clock)
    meter.spent = tuple((clock.now_ns + APART_NS * number, 1) for number in range(IN_THE_DAY))
    clock.now_ns += APART_NS * IN_THE_DAY
    return await measure(f"one meter that adds up, {IN_THE_DAY} in the day", clock, meter, before=0)


async def main() -> None:
    facts("The guard: one order's share of the rate limits, nothing waits")
    bare = await measure("bare await of nothing", Clock(), nothing, before=1000)
    summed = await adding_up()
    empty = await guarded("btx, an empty day", before=100)
    full = await guarded(f"btx, {IN_THE_DAY} orders in the day", before=IN_THE_DAY)
    print(f"{'':44} {'n':>6} {'p50 us':>9} {'p99 us':>9}")
    for each in (bare, summed, empty, full):
        print(f"{each.name:44} {len(each.latencies_ms):6} {each.p50 * 1000:9.2f} {each.p99 * 1000:9.2f}")
    print(
        f"ratio: a full day to an empty one {full.p50 / empty.p50:.2f}x | "
        f"to one meter that adds up {full.p50 / summed.p50:.3f}x | to a bare await {full.p50 / bare.p50:.0f}x"
    )


if __name__ == "__main__":
    bound(90.0)
    asyncio.run(main())
