"""From btx-io to the strategy's thread, where the newest value is what counts: slots, and a bounded run of prints.

Nothing here waits or wakes.  What crosses is one attribute that holds a frozen
value, or one append to a bounded deque; each counter is written by one side only.
"""

from collections import deque
from typing import Generic, TypeVar

import attrs

from btx.model.market import Trade

__all__ = ("Latest", "Prints", "Unknown")

T = TypeVar("T")


@attrs.frozen
class Unknown:
    """There is no value that would be true now, and why."""

    reason: str


class Latest(Generic[T]):
    """The newest value, and how many updates were overwritten before anybody read them."""

    def __init__(self) -> None:
        self._slot: tuple[int, T | Unknown] = (0, Unknown("nothing has come so far"))  # how many updates, the newest
        self._seen = 0  # strategy's thread only, as is the next
        self._skipped = 0

    def put(self, value: T | Unknown, *, updates: int = 1) -> None:
        """Overwrite the value with one that contains ``updates`` more. btx-io."""
        self._slot = (self._slot[0] + updates, value)

    def get(self) -> T | Unknown:
        """Return the newest value. Strategy's thread."""
        number, value = self._slot
        if number > self._seen:
            self._skipped += number - self._seen - 1
            self._seen = number
        return value

    @property
    def conflated(self) -> int:
        """How many updates nobody read, and nobody will. Strategy's thread."""
        return self._skipped + max(self._slot[0] - self._seen - 1, 0)


class Prints:
    """Public trades since they were last taken, the newest ``bound`` of them."""

    def __init__(self, *, bound: int) -> None:
        self._items: deque[tuple[int, Trade]] = deque(maxlen=bound)
        self._put = 0
        self._taken = 0  # number of the last one that was taken, or found dropped; strategy's thread only
        self._dropped = 0
        self.missed = 0  # trades that were neither pushed nor to be had by request; written on btx-io

    def put(self, trade: Trade) -> None:
        """Append a trade; over the bound the oldest is dropped. btx-io."""
        self._put += 1
        self._items.append((self._put, trade))

    def take(self) -> tuple[Trade, ...]:
        """Return what came since the last call, oldest first. Strategy's thread."""
        taken = [self._items.popleft() for _ in range(len(self._items))]
        for number, _ in taken:
            self._dropped += number - self._taken - 1
            self._taken = number
        return tuple(trade for _, trade in taken)

    @property
    def dropped(self) -> int:
        """How many were dropped because nobody took them in time. Strategy's thread."""
        oldest = self._items[0][0] if self._items else self._taken + 1
        return self._dropped + oldest - self._taken - 1
