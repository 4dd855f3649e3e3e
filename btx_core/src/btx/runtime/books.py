"""The market beside the bars: quotes, books, public trades and mark prices, as somebody asks for them and as long.

Lives on btx-io.  What it tells goes into slots (:mod:`btx.runtime.latest`) that
the strategy's thread reads when it likes: the newest wins, and nothing waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from btx.model.instrument import Instrument
from btx.model.venue import Channel
from btx.ports import Clock, Feed
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest, Prints
from btx.runtime.lines import MarketLines
from btx.runtime.listeners import MarketListener, Means, QuoteListener, TradeListener
from btx.runtime.marks import MarkListener, MarkSlot
from btx.runtime.resync import BookListener
from btx.runtime.tasks import Tasks

__all__ = ("MOST_LEVELS", "BookDesk")

MOST_LEVELS = 500
"""Levels of a book a strategy may ask for; with all of a snapshot's, the first change would ask for a new one."""

_TURNS = 2  # snapshots under way, or waiting at the guard: the bars' history waits in the same lane
_GRACE_S = 2.0

_LISTENERS: Mapping[Channel, Callable[[Instrument, Means], MarketListener]] = {
    Channel.QUOTE: QuoteListener,
    Channel.BOOK: BookListener,
    Channel.TRADE: TradeListener,
    Channel.MARK: MarkListener,
}


class BookDesk:
    """All quotes, books, trades and marks of a session; one subscription each, however many read it."""

    def __init__(
        self,
        *,
        feed: Feed,
        lines: MarketLines,
        clock: Clock,
        guard: Guard,
        dense: bool,
        kept: int | None = None,
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._lines = lines
        self._tasks = Tasks(lambda what, error: note("FAULT", f"{what}: {type(error).__name__}: {error}"))
        self._means = Means(
            feed=feed,
            clock=clock,
            guard=guard,
            tasks=self._tasks,
            note=note,
            progressed=progressed,
            sleep=sleep,
            dense=dense,
            kept=kept,
            grace_s=grace_s,
            turns=asyncio.Semaphore(_TURNS),
        )
        self._listeners: dict[tuple[Channel, str], MarketListener] = {}  # by channel and venue symbol
        self._is_connected = False

    def open(
        self, instrument: Instrument, channel: Channel, slot: Latest[Any] | Prints | MarkSlot, *, depth: int = 0
    ) -> None:
        """Fill a slot once it is connected; of a book with its best ``depth`` levels.

        What was asked for it before is replaced.
        """
        key = (channel, instrument.venue_symbol)
        listener = self._listeners.get(key)
        if listener is not None:
            listener.remove(slot)
            listener.add(slot, depth)
            return
        listener = self._listeners[key] = _LISTENERS[channel](instrument, self._means)
        listener.add(slot, depth)
        if self._is_connected:
            self._lines.add(listener)

    def connect(self) -> None:
        """Subscribe what was asked for before the strategy first waited; what is asked for later is at once.

        So a run's first connection carries everything, whichever thread was faster.
        """
        if not self._is_connected:
            self._is_connected = True
            for listener in self._listeners.values():
                self._lines.add(listener)

    def close(self, slot: Latest[Any] | Prints | MarkSlot) -> None:
        """Leave a slot alone; what nobody reads any more is not subscribed any more."""
        for key, listener in tuple(self._listeners.items()):
            if listener.remove(slot):
                del self._listeners[key]
                self._lines.remove(listener)
                listener.stop()
                self._tasks.start(listener.ended(), what="the end of a subscription")
        self._means.progressed()

    # --- what lockstep asks ------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whatever was asked for is there, and nothing is on its way that would change it while the market stands."""
        return all(listener.is_settled for listener in self._listeners.values())

    def has_heard(self, channel: str, venue_symbol: str, sequence: int) -> bool:
        """Say whether what the venue pushed up to this sequence, or trade, is shown."""
        listener = self._listeners.get((Channel(channel), venue_symbol))
        return listener is None or listener.has_heard(sequence)

    def catch_up(self) -> None:
        """Ask for what should have been pushed and was not."""
        for listener in self._listeners.values():
            listener.catch_up()

    def doubt_trades(self) -> None:
        """Ask for the trades that may not have been pushed."""
        for (channel, _), listener in self._listeners.items():
            if channel is Channel.TRADE:
                listener.catch_up()

    async def stop(self) -> None:
        """Ask for nothing more."""
        for listener in self._listeners.values():
            self._lines.remove(listener)
        await self._tasks.stop()
        await asyncio.gather(*(listener.ended() for listener in self._listeners.values()))
        self._listeners.clear()
