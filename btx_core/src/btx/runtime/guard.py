"""Before a request leaves: its share of the rate limits, and retries for what may be repeated."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from btx.errors import PluginError, RateLimitedError, TransportError
from btx.model.venue import RateLimit, VenueInfo
from btx.rules.backoff import Backoff, delay_s
from btx.rules.throttle import Meter, reserve

__all__ = ("Guard",)

T = TypeVar("T")

_READ_TRIES = 3
_READ_BACKOFF = Backoff(base_s=1.0, cap_s=60.0)
_LONGEST_WAIT_S = 60.0  # a venue that asks for a longer silence is told to the caller instead
_NS_PER_S = 1_000_000_000


class Guard:
    """The limits of one account at one venue, from the adapter's own tables.

    ``now_ns`` is monotonic: windows are durations, and a wall clock that is set
    back would hold orders until it has caught up.

    Raises:
        PluginError: the tables name a limit there is none of, or a cost above its limit.
    """

    def __init__(
        self,
        *,
        info: VenueInfo,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff = _READ_BACKOFF,
    ) -> None:
        self._costs: Mapping[str, Mapping[str, int]] = info.costs
        self._now_ns = now_ns
        self._sleep = sleep
        self._backoff = backoff
        self._meters = {limit.name: _meter(limit) for limit in info.limits}
        for operation, costs in info.costs.items():
            for name, units in costs.items():
                if name not in self._meters or not 0 <= units <= self._meters[name].limit:
                    raise PluginError(
                        f"the adapter {info.name!r} says {operation!r} costs {units} of {name!r}: "
                        "it lists no limit of that name and size"
                    )

    async def acquire(self, operation: str) -> None:
        """Wait until ``operation`` may leave without passing any limit it counts against."""
        wait_s = self._reserve(self._costs.get(operation, {}))
        if wait_s > 0:
            await self._sleep(wait_s)

    async def read(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send an idempotent request; three tries where the venue was not reached or asked to wait a little.

        Raises:
            BtxError: what the last try raised.
        """
        attempt = 0
        while True:
            attempt += 1
            await self.acquire(operation)
            try:
                return await request()
            except RateLimitedError as error:
                if attempt == _READ_TRIES or error.retry_after_s > _LONGEST_WAIT_S:
                    raise
                wait_s = error.retry_after_s
            except TransportError:
                if attempt == _READ_TRIES:
                    raise
                wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
            await self._sleep(wait_s)

    def _reserve(self, costs: Mapping[str, int]) -> float:
        """Take the units of all limits at the first moment that suits every one; return the wait in seconds.

        One after the other would not do: what waits for the second limit would
        leave later than the first has it booked, in one burst with others.
        """
        now_ns = at_ns = self._now_ns()
        while True:
            taken = {name: reserve(self._meters[name], units=units, now_ns=at_ns) for name, units in costs.items()}
            wait_ns = max((round(wait_s * _NS_PER_S) for _, wait_s in taken.values()), default=0)
            if wait_ns <= 0:
                self._meters.update({name: meter for name, (meter, _) in taken.items()})
                return (at_ns - now_ns) / _NS_PER_S
            at_ns += wait_ns


def _meter(limit: RateLimit) -> Meter:
    return Meter(limit=limit.limit, window_ns=int(limit.window_s * _NS_PER_S))
