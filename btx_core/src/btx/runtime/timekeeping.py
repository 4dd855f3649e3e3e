"""When the venue's clock is read anew: from time to time, and at once when ours cannot be trusted."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

__all__ = ("Timekeeper",)

_NS_PER_S = 1_000_000_000
_LOOK_S = 2.0
_PAUSE_S = 1.0
_JUMP_NS = 50_000_000  # between two looks; a clock that is slewed gains or loses a hundredth of it


class Timekeeper:
    """Calls ``read`` every ``period_s``, soon after the wall clock was set, and when it is doubted.

    The wall clock was set when it moved otherwise than the monotonic one (a step
    of NTP, a hand, a machine that slept); that is looked at every ``look_s``.
    A doubt causes a reading at once, but no two doubts within ``pause_s``.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Awaitable[None]],
        period_s: float,
        look_s: float = _LOOK_S,
        pause_s: float = _PAUSE_S,
        on_read: Callable[[], None] = lambda: None,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._read = read
        self._on_read = on_read
        self._period_ns = int(period_s * _NS_PER_S)
        self._pause_s = pause_s
        self._pause_ns = int(pause_s * _NS_PER_S)
        self._look_s = min(look_s, period_s)
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._is_doubted = False
        self._doubt = asyncio.Event()
        self._apart_ns = wall_ns() - monotonic_ns()
        self._read_ns = monotonic_ns()
        self._doubted_ns: int | None = None  # when a doubt last caused a reading

    @property
    def is_doubted(self) -> bool:
        """Our clock is known to be wrong, and the venue's has not been read since."""
        return self._is_doubted

    def doubt(self) -> None:
        """Have the clock read at once: the venue found one of our time stamps wrong."""
        self._is_doubted = True
        self._doubt.set()

    async def run(self) -> None:
        """Keep time until cancelled; what ``read`` raises ends it."""
        while True:
            # Not wait_for: before Python 3.12 it may lose a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._look_s, self._pause_s) if self._is_doubted else self._look_s):
                    await self._doubt.wait()
            self._doubt.clear()
            if self._is_due():
                if self._is_doubted:
                    self._doubted_ns = self._monotonic_ns()
                await self._read()
                self._is_doubted = False
                self._read_ns = self._monotonic_ns()
                self._on_read()

    def _is_due(self) -> bool:
        now_ns = self._monotonic_ns()
        apart_ns = self._wall_ns() - now_ns
        if abs(apart_ns - self._apart_ns) > _JUMP_NS:
            self._is_doubted = True
        self._apart_ns = apart_ns
        if self._is_doubted:
            return self._doubted_ns is None or now_ns - self._doubted_ns >= self._pause_ns
        return now_ns - self._read_ns >= self._period_ns
