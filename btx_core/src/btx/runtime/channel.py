"""One feed of bars, as the bar desk keeps it."""

from collections.abc import Callable

import attrs

from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.market import Bar, OnGap
from btx.model.time import Interval
from btx.rules.bars import Forming, formed
from btx.rules.calendar import next_bar
from btx.runtime.mailbox import BarItem, Mailbox

__all__ = ("BarChannel",)


class BarChannel:
    """One feed of one data: what it has delivered, and what it waits for.

    The bar it waits for next is the one the instrument's ``calendar`` says.  A bar of a time at which it should
    be closed is taken all the same: the venue knows better when it trades.
    """

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
        calendar: Calendar = ALWAYS,
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.interval = interval
        self.mailbox = mailbox
        self.live = live
        self.end_ns = end_ns
        self.on_gap = on_gap
        self.calendar = calendar
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
        self.upto_ns = 0  # everything before it is delivered, or cannot be had
        self.missed_ns: int | None = None  # open time of the last bar that was found missing in the stream
        self._history = history
        self._forming = Forming()
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
            return self.move_to(self.interval.open_of(self._history(now_ns)))
        return self.next_open_ns

    def move_to(self, time_ns: int) -> int:
        """Take it that everything before ``time_ns`` is done with; return when the next bar opens."""
        self.upto_ns = time_ns
        self.next_open_ns = next_bar(self.calendar, self.interval, time_ns)
        return self.next_open_ns

    def is_next(self, bar: Bar) -> bool:
        """Say whether no bar is missing before this one, and it was not delivered."""
        return self.next_open_ns is not None and self.upto_ns <= bar.open_ns <= self.next_open_ns

    def is_past(self, bar: Bar) -> bool:
        """Say whether a bar was delivered, or passed over."""
        return self.next_open_ns is not None and bar.open_ns < self.upto_ns

    def drop_forming(self) -> None:
        """Forget the bar that was pushed as it grew: the rest of it was missed."""
        self._forming = attrs.evolve(self._forming, bar=None)

    def grow(self, bar: Bar | None, now_ns: int) -> tuple[Bar, ...]:
        """Return the bars that are closed by a push that does not say so, or by the time alone."""
        self._forming, closed = formed(self._forming, bar, now_ns=now_ns)
        return closed

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
        if not self.is_past(bar):
            self._held[bar.open_ns] = bar

    def first_held(self) -> Bar | None:
        """Return the oldest bar that is held and still wanted."""
        self._held = {open_ns: bar for open_ns, bar in self._held.items() if not self.is_past(bar)}
        return self._held[min(self._held)] if self._held else None

    @property
    def holds_next(self) -> bool:
        """The next bar was pushed."""
        return (bar := self.first_held()) is not None and self.is_next(bar)
