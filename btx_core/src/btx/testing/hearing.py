"""What a bench hears, and what time it is there."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from btx.model.venue import Endpoints, StreamState, StreamStatus
from btx.ports import StreamEvent
from btx.testing.card import CardFailedError

__all__ = ("Heard", "Time")

T = TypeVar("T")


class Time:
    """The wall for the wire, and what the simulator said last for the market."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.market = endpoints.clock.market_origin_ns
        self.offset_ns = 0

    def wire_ns(self) -> int:
        """Return the wall's time, and what was found to be between it and the venue's."""
        return time.time_ns() + self.offset_ns

    def market_ns(self) -> int:
        """Return the market's time as it was told last."""
        return self.market


class Heard:
    """A sink that can be waited on."""

    def __init__(self, deadline_s: float) -> None:
        self.events: list[StreamEvent] = []
        self._deadline_s = deadline_s
        self._news = asyncio.Event()

    def __call__(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._news.set()

    def wake(self) -> None:
        """Let those that wait look again: something else has happened."""
        self._news.set()

    def of(self, kind: type[T]) -> list[T]:
        """Return what came of one kind, in its order."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def fault(self) -> str:
        """What frame could not be read, for the end of a sentence; nothing where all could."""
        faults = [each.detail for each in self.of(StreamStatus) if each.state is StreamState.FAULT]
        return f"; the stream told of a fault: {faults[-1]}" if faults else ""

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so.

        Raises:
            CardFailedError: it was not in time; ``what`` says what was waited for.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise CardFailedError(
                f"expected {what}, and it did not come in {self._deadline_s:g} s{self.fault}"
            ) from None
