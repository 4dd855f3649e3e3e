"""Order books of the venue: begun by a snapshot, carried on by deltas, begun anew when one is missing.

One listener per instrument, whoever reads its book.  A snapshot is what the venue
pushes, where it does; else it is asked for.  Meanwhile deltas are kept; those the
snapshot has are dropped, the others must join (:func:`btx.rules.book.fit`).  A gap
resets that one book.  Snapshots that are asked for are rare: one per instrument in
five seconds, two under way at most, and all of them behind the guard, after
everything that orders need.
"""

import asyncio
import random
from collections import deque

from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.market import BookDelta, BookSnapshot
from btx.model.time import NS_PER_S
from btx.model.venue import Channel, Subscription
from btx.ports import StreamEvent
from btx.rules.backoff import Backoff, delay_s
from btx.rules.book import Fit, snapshot_wait_ns
from btx.runtime.ladder import Ladder
from btx.runtime.latest import Latest, Unknown
from btx.runtime.listeners import Means

__all__ = ("SNAPSHOT_DEPTH", "BookListener")

SNAPSHOT_DEPTH = 1000
"""Levels of a snapshot: deltas tell nothing of what lies behind them and does not change."""

_HELD_DELTAS = 1000  # until a snapshot joins: more than a minute and a half of the fastest stream
_BACKOFF = Backoff(base_s=1.0, cap_s=60.0)


class BookListener:
    """The book of one instrument, for all who read it."""

    def __init__(self, instrument: Instrument, means: Means, *, depth: int = SNAPSHOT_DEPTH) -> None:
        self.subscription = Subscription(channel=Channel.BOOK, instrument=instrument)
        self._instrument = instrument
        self._means = means
        self._depth = depth
        self._slots: dict[Latest[BookSnapshot], int] = {}
        self._is_up = False
        self._is_refused = False  # no snapshot will come before the next connection
        self._was_lost = False  # and told so
        self._trouble = f"{self}: its first snapshot is fetched"
        self._ladder: Ladder | None = None
        self._held: deque[BookDelta] | None = None  # while a snapshot is asked for
        self._heard = 0  # the last update that was pushed, or in a snapshot, on this connection
        self._asked_ns: int | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._updates = 0  # since the last publication
        self._is_due = False
        self._news = asyncio.Event()

    def __str__(self) -> str:
        return f"book of {self._instrument.symbol}"

    # --- who reads ------------------------------------------------------------------------------------------

    def add(self, slot: Latest[BookSnapshot], depth: int) -> None:
        """Publish the best ``depth`` levels into a slot from now on."""
        self._slots[slot] = depth
        if self._ladder is None:
            slot.put(Unknown(self._trouble), updates=0)
        else:
            slot.put(self._ladder.top(depth))

    def remove(self, slot: Latest[BookSnapshot]) -> bool:
        """Leave a slot alone; say whether nobody is left."""
        self._slots.pop(slot, None)
        return not self._slots

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way that would change what is shown."""
        return (self._ladder is not None and not self._is_due) or self._is_refused

    def has_heard(self, sequence: int) -> bool:
        """Say whether what is shown contains ``sequence``."""
        if self._ladder is None:
            return self._is_refused
        return self._ladder.sequence >= sequence and not self._is_due

    def catch_up(self) -> None:
        """Something was not pushed that should have been: begin anew."""
        if self._is_up and self._ladder is not None:
            self._lose("an update was not pushed")
            self._sync()

    # --- what the line tells --------------------------------------------------------------------------------

    def on_up(self) -> None:
        """Pushes come from now on."""
        self._is_up, self._is_refused, self._heard = True, False, 0
        self._stop_syncing()
        if self._ladder is None:  # nor was one pushed before the venue said so
            self._sync()

    def on_down(self, reason: str) -> None:
        """Pushes were missed: the book is not true any more."""
        self._is_up = False
        self._stop_syncing()
        self._lose(reason)

    def on_event(self, event: StreamEvent) -> None:
        """Take one delta, or a snapshot, which takes the place of all that was known."""
        if isinstance(event, BookSnapshot):
            self._take(event)
        if not isinstance(event, BookDelta):
            return
        self._heard = max(self._heard, event.last_sequence)
        if self._held is not None:
            self._held.append(event)
        if self._ladder is None:
            return
        found = self._ladder.apply(event)
        if found is Fit.NEXT and not self._ladder.is_crossed:
            self._changed()
        elif found is not Fit.OLD:
            self._lose("updates are missing" if found is Fit.GAP else "its bids and asks cross")
            self._sync(event)

    async def is_stale(self) -> str | None:
        """Return why the stream lags behind the venue, None when nothing happens there; raises what REST does."""
        ladder = self._ladder
        if ladder is None:
            return None  # it is being asked for already
        there = await self._means.top(self._instrument)
        if await self._means.hears_in_time(self._news, lambda: self._reaches(there.sequence)):
            return None
        return f"{self}: the venue is at update {there.sequence}, its stream stands still"

    def stop(self) -> None:
        """Ask for nothing more."""
        self._is_up = False
        self._stop_syncing()

    async def ended(self) -> None:
        """Nothing: its requests are the desk's tasks."""

    # --- the way into step ----------------------------------------------------------------------------------

    def _reaches(self, sequence: int) -> bool:
        return self._ladder is None or self._ladder.sequence >= sequence

    def _lose(self, reason: str) -> None:
        self._trouble = f"{self}: {reason}"
        if self._ladder is not None:
            self._ladder = None
            self._was_lost = True
            self._means.note("GAP", f"{self}: {reason}; a snapshot is fetched")
        for slot in self._slots:
            slot.put(Unknown(self._trouble), updates=0)
        self._news.set()

    def _sync(self, *first: BookDelta) -> None:
        """Fetch a snapshot and join it; what is shown meanwhile, if anything, stays."""
        if self._syncing is None:
            self._held = deque(first, maxlen=_HELD_DELTAS)
            self._syncing = self._means.tasks.start(self._fetch(), what=f"{self}")

    def _stop_syncing(self) -> None:
        if self._syncing is not None:
            self._syncing.cancel()
        self._syncing = self._held = None

    async def _fetch(self) -> None:
        attempt, is_told = 0, False
        while True:
            wait_ns = snapshot_wait_ns(self._asked_ns, now_ns=self._means.clock.wire_ns())
            if wait_ns:
                await self._means.sleep(wait_ns / NS_PER_S)
            try:
                snapshot = await self._snapshot()
            except NotSupportedError as error:
                self._refuse(error)
                return
            except Exception as error:  # noqa: BLE001 -- told, and tried again: also what breaks in an adapter
                attempt += 1
                self._means.note("FAULT", f"{self} must wait: {type(error).__name__}: {error}")
                wait_s = delay_s(_BACKOFF, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
                await self._means.sleep(max(wait_s, getattr(error, "retry_after_s", 0.0)))
                continue
            if (why := self._join(snapshot)) is None:
                return
            if not is_told:
                self._means.note("FAULT", f"{self}: {why}, another is asked for")
                is_told = True

    async def _snapshot(self) -> BookSnapshot:
        async def request() -> BookSnapshot:  # the guard may have kept it waiting
            self._asked_ns = self._means.clock.wire_ns()
            return await self._means.feed.book(instrument=self._instrument, depth=self._depth)

        async with self._means.turns:
            return await self._means.guard.send("book", request)

    def _take(self, pushed: BookSnapshot) -> None:
        """Begin with what the venue pushes."""
        self._stop_syncing()
        ladder = Ladder(pushed, depth=self._depth)
        if ladder.is_crossed:
            self._lose("its bids and asks cross")
            self._sync()
            return
        self._begin(ladder)
        self._changed()

    def _refuse(self, error: Exception) -> None:
        self._syncing = self._held = None
        self._is_refused = True
        self._means.note("FAULT", f"{self}: {error}")
        self._lose(str(error))
        self._means.progressed()

    def _join(self, snapshot: BookSnapshot) -> str | None:
        """Go on from a snapshot; return why that cannot be, None when it is done."""
        ladder = Ladder(snapshot, depth=self._depth)
        fits = [ladder.apply(delta) for delta in self._held or ()]
        if Fit.GAP in fits:
            return "the snapshot is older than the stream"
        if ladder.sequence < self._heard:
            return "the snapshot is older than what was pushed"
        if ladder.is_crossed:
            return "the snapshot's bids and asks cross"
        self._syncing = self._held = None
        self._begin(ladder)
        self._updates += 1 + fits.count(Fit.NEXT)
        self._publish()
        return None

    def _begin(self, ladder: Ladder) -> None:
        self._ladder = ladder
        self._heard = ladder.sequence
        if self._was_lost:
            self._was_lost = False
            self._means.note("SYNCED", f"{self}")

    # --- what is shown --------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._updates += 1
        self._news.set()
        if not self._is_due:  # once for all that has been read already
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._publish)

    def _publish(self) -> None:
        self._is_due = False
        updates, self._updates = self._updates, 0
        ladder = self._ladder
        if ladder is not None:
            tops: dict[int, BookSnapshot] = {}
            for slot, depth in self._slots.items():
                if depth not in tops:
                    tops[depth] = ladder.top(depth)
                slot.put(tops[depth], updates=updates)
            if self._is_up and not ladder.is_known(max(self._slots.values(), default=1)):
                self._sync()
        self._means.progressed()
