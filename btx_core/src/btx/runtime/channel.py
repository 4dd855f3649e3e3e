"""One feed of bars, as the bar desk keeps it."""

from collections.abc import Callable

from btx.model.instrument import Instrument
from btx.model.market import Bar, OnGap
from btx.model.time import Interval
from btx.runtime.mailbox import BarItem, Mailbox

__all__ = ("BarChannel",)


class BarChannel:
    """One feed of one data: what it has delivered, and what it waits for."""

    def __init__(
        self,
        *,
        index: int,
        instrument: Instrument,
        interval: Interval,
        mailbox: Mailbox[BarItem],
        live: bool,
        history: Callable[[int], int],
        end_ns: int | None,
        on_gap: OnGap = OnGap.HALT,
        most: int = 10_000,
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.interval = interval
        self.mailbox = mailbox
        self.live = live
        self.end_ns = end_ns
        self.on_gap = on_gap
        self.most = most  # bars in the mailbox; what is above it is fetched when the strategy has caught up
        self.is_heard = False  # the stream of its bars stands
        self.is_synced = False  # what the stream pushes next is what the strategy needs next
        self.is_told_live = False
        self.was_live = False  # once at least
        self.is_full = False  # the strategy is so far behind that nothing is kept for it
        self.last: Bar | None = None  # that was delivered
        self.pushed_ns = -1  # open time of the newest closed bar the stream has pushed
        self.ask_at = 0.0  # loop time before which an overdue bar is not asked for again
        self.is_ended = False
        self.delivered = 0
        self.next_open_ns: int | None = None
        self.missed_ns: int | None = None  # open time of the last bar that was found missing in the stream
        self._history = history
        self._held: dict[int, Bar] = {}  # live bars by open time, until what lies before them is delivered

    def __str__(self) -> str:
        return f"{self.instrument.symbol} {self.interval}"

    @property
    def hears(self) -> bool:
        """It wants pushes."""
        return self.live and not self.is_ended

    def first_open_ns(self, now_ns: int) -> int:
        """Return where to begin: after the last delivered bar, or where the history that was asked for begins."""
        if self.next_open_ns is None:
            self.next_open_ns = self.interval.open_of(self._history(now_ns))
        return self.next_open_ns

    def is_due(self, now_ns: int) -> bool:
        """Say whether the next bar has closed by ``now_ns``."""
        return self.next_open_ns is not None and self.interval.close_of(self.next_open_ns) <= now_ns

    @property
    def is_complete(self) -> bool:
        """The next bar would close after the end that was asked for."""
        return self.end_ns is not None and self.next_open_ns is not None and not self.is_due(self.end_ns)

    @property
    def lacks_room(self) -> bool:
        """The strategy has as many bars to take as are kept for it."""
        return len(self.mailbox) >= self.most

    def be_full(self) -> None:
        """Keep nothing more until the strategy has caught up; it is fetched then."""
        self.is_full = True
        self._held.clear()

    def hold(self, bar: Bar) -> None:
        """Keep a live bar until what lies before it has been delivered; not for ever more of them."""
        if self.is_full or len(self._held) >= self.most:
            return
        if self.next_open_ns is None or bar.open_ns >= self.next_open_ns:
            self._held[bar.open_ns] = bar

    def first_held(self) -> Bar | None:
        """Return the oldest bar that is held and still wanted."""
        wanted_ns = self.next_open_ns or 0
        self._held = {open_ns: bar for open_ns, bar in self._held.items() if open_ns >= wanted_ns}
        return self._held[min(self._held)] if self._held else None

    @property
    def holds_next(self) -> bool:
        """The next bar was pushed."""
        return self.next_open_ns is not None and self.next_open_ns in self._held
