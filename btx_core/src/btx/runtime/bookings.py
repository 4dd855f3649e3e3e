"""Money that moved otherwise than by a fill: asked for, written down, counted and told, each once. Lives on btx-io."""

import asyncio
import functools
from collections.abc import Callable, Sequence

from btx.model.account import Booking, BookingKind
from btx.model.journal import Booked
from btx.ports import Clock, Journal, MarginStore
from btx.rules.holdings import counts
from btx.rules.recovery import History, undelivered_bookings
from btx.runtime.guard import Guard
from btx.runtime.mailbox import BookingTold
from btx.runtime.tasks import Tasks

__all__ = ("BookingDesk",)

_MARGIN_NS = 900_000_000_000  # a list of bookings may be minutes behind the account it is of
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # before what was announced is asked for again


class BookingDesk:
    """Everything the venue has booked on the account since it was first looked at, but fees and profits of fills.

    ``count`` gets each booking once; ``post`` too, and after a restart those again that the strategy was not
    told of.  ``pauses_s`` are between the questions for something that was announced and is not listed.
    """

    def __init__(
        self,
        *,
        store: MarginStore,
        guard: Guard,
        clock: Clock,
        journal: Journal | None,
        count: Callable[[Booking], None],
        post: Callable[[BookingTold], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        pauses_s: Sequence[float] = _PAUSES_S,
    ) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._journal = journal
        self._count = count
        self._post = post
        self._note = note
        self._progressed = progressed
        self._pauses_s = pauses_s
        self._known: set[tuple[BookingKind, str]] = set()
        self._untold: tuple[Booking, ...] = ()
        self._is_recovering = True
        self._began_ns: int | None = None  # what was booked before was there when we first looked
        self._newest_ns: int | None = None
        self._turn = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None
        self._tasks = Tasks(lambda what, error: note("FAULT", f"{what}: {type(error).__name__}: {error}"))

    @property
    def is_busy(self) -> bool:
        """Something was announced, and is being asked for."""
        return self._asking is not None

    def recover(self, history: History) -> None:
        """Begin with what a journal says."""
        self._known = set(history.bookings)
        self._untold = undelivered_bookings(history)
        self._began_ns = history.began_ns
        if history.snapshot is not None:
            times_ns = [booking.time_ns for booking in history.bookings.values()]
            self._newest_ns = max([history.snapshot.time_ns, *times_ns])

    def recovered(self) -> None:
        """End the recovery: tell what was booked while nobody could be told, then everything as it comes."""
        self._is_recovering = False
        untold, self._untold = self._untold, ()
        for booking in untold:
            self._post(BookingTold(booking=booking, recovered=True))

    def expect(self) -> None:
        """Something was booked: ask until it is listed."""
        if self._asking is None:
            self._asking = self._tasks.start(self._ask(), what="asking for what was booked")

    async def fetch(self) -> bool:
        """Ask for what was booked; return whether there was anything new.

        Raises:
            BtxError: the venue does not answer.
        """
        async with self._turn:
            if self._began_ns is None:
                self._began_ns = self._newest_ns = self._clock.market_ns()
            newest_ns = self._newest_ns if self._newest_ns is not None else self._began_ns
            start_ns = max(newest_ns - _MARGIN_NS, self._began_ns)
            request = functools.partial(self._store.bookings, start_ns=start_ns)
            is_new = False
            for booking in await self._guard.read("bookings", request):
                if booking.time_ns >= self._began_ns and counts(booking):
                    is_new = self._take(booking) or is_new
            return is_new

    async def stop(self) -> None:
        """Ask for nothing more."""
        await self._tasks.stop()

    async def _ask(self) -> None:
        try:
            for pause_s in (0.0, *self._pauses_s):
                await asyncio.sleep(pause_s)
                if await self.fetch():
                    return
        finally:
            self._asking = None
            self._progressed()

    def _take(self, booking: Booking) -> bool:
        key = booking.kind, booking.booking_id
        if key in self._known:
            return False
        self._known.add(key)
        self._newest_ns = max(self._newest_ns or 0, booking.time_ns)
        if self._journal is not None:
            self._journal.post(Booked(booking=booking))
        self._count(booking)
        if self._is_recovering:
            self._untold = (*self._untold, booking)
        else:
            self._post(BookingTold(booking=booking))
        return True
