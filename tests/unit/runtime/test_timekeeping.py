"""The venue's clock is read from time to time, and at once when ours was set."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from btx.model.time import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from btx.runtime.timekeeping import Timekeeper
from tests.toy_venue import DEADLINE_S
from tests.unit.runtime.rig import run


class Clocks:
    """A wall clock, a monotonic one, and how often they were looked at."""

    def __init__(self) -> None:
        self.wall_ns = 10**18
        self.monotonic_ns = 0
        self.readings = 0
        self._looked = asyncio.Event()
        self._read = asyncio.Event()

    def wall(self) -> int:
        self._looked.set()
        return self.wall_ns

    def pass_ns(self, ns: int) -> None:
        self.wall_ns += ns
        self.monotonic_ns += ns

    async def read(self) -> None:
        self.readings += 1
        self._read.set()

    async def until_read(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self._read.wait()
        self._read.clear()

    async def until_looked(self, times: int = 3) -> None:
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(times):
                self._looked.clear()
                await self._looked.wait()


def keeping(use: Callable[[Clocks, Timekeeper], Coroutine[Any, Any, None]], *, look_s: float = 0.001) -> None:
    async def scene() -> None:
        clocks = Clocks()
        keeper = Timekeeper(
            read=clocks.read,
            period_s=60.0,
            look_s=look_s,
            wall_ns=clocks.wall,
            monotonic_ns=lambda: clocks.monotonic_ns,
        )
        clocks.pass_ns(10 * NS_PER_S)
        task = asyncio.create_task(keeper.run())
        try:
            await use(clocks, keeper)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    run(scene())


def test_the_clock_is_read_once_in_a_period() -> None:
    async def use(clocks: Clocks, _: Timekeeper) -> None:
        await clocks.until_looked()
        before = clocks.readings
        clocks.pass_ns(NS_PER_MINUTE)
        await clocks.until_read()
        await clocks.until_looked()

        assert (before, clocks.readings) == (0, 1)

    keeping(use)


@pytest.mark.parametrize("step_ns", [5 * NS_PER_S, -5 * NS_PER_S, 60 * NS_PER_MS])
def test_a_wall_clock_that_was_set_is_noticed_at_the_next_look(step_ns: int) -> None:
    async def use(clocks: Clocks, _: Timekeeper) -> None:
        clocks.wall_ns += step_ns
        await clocks.until_read()
        await clocks.until_looked()

        assert clocks.readings == 1

    keeping(use)


def test_a_wall_clock_that_is_slewed_is_left_alone() -> None:
    async def use(clocks: Clocks, _: Timekeeper) -> None:
        for _step in range(5):
            clocks.wall_ns += NS_PER_MS
            await clocks.until_looked(1)

        assert clocks.readings == 0

    keeping(use)


def test_a_doubt_is_looked_into_at_once_and_many_of_them_once_in_a_while() -> None:
    async def use(clocks: Clocks, keeper: Timekeeper) -> None:
        keeper.doubt()
        await clocks.until_read()
        keeper.doubt()
        clocks.pass_ns(NS_PER_S // 2)
        keeper.doubt()
        await asyncio.sleep(0)
        before = clocks.readings
        assert keeper.is_doubted  # who sends now would be refused
        clocks.pass_ns(NS_PER_S)
        keeper.doubt()
        await clocks.until_read()

        assert (before, clocks.readings) == (1, 2)

    keeping(use, look_s=60.0)
