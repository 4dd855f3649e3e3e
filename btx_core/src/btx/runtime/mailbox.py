"""From btx-io to the strategy's thread: mailboxes, and the one wakeup they share."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from btx.model.account import AccountUpdate, Booking
from btx.model.market import Bar
from btx.model.order import Fill, Group, Order, OrderEvent, PositionSide, Status
from btx.model.venue import Connection
from btx.rules.positions import Position
from btx.rules.wallet import Key

__all__ = (
    "BarItem",
    "BookingTold",
    "FeedDelayed",
    "FeedEnd",
    "FeedGap",
    "FeedLive",
    "FeedLost",
    "GroupWritten",
    "Mailbox",
    "MemberEnded",
    "MemberUnchanged",
    "Note",
    "OrderUpdate",
    "Recovered",
    "SessionEvent",
    "SessionItem",
    "Wakeup",
)

T = TypeVar("T")

_NAP_S = 0.5


@attrs.frozen(kw_only=True)
class FeedLive:
    """All history is delivered; the next bars are as fresh as the venue sends them."""


@attrs.frozen(kw_only=True)
class FeedLost:
    """The stream is cut, or the strategy too slow; bars will be fetched and merged."""

    reason: str


@attrs.frozen(kw_only=True)
class FeedDelayed:
    """The stream is down, and all there is was fetched; each bar will be asked for as it closes, until FeedLive."""


@attrs.frozen(kw_only=True)
class FeedGap:
    """The bars that open in ``[start_ns, end_ns)`` could not be had; ``is_filled``: filler bars follow for them."""

    start_ns: int
    end_ns: int
    reason: str
    is_filled: bool


@attrs.frozen(kw_only=True)
class FeedEnd:
    """No bar will ever follow; with an error the feed ended because of it."""

    error: Exception | None = None


BarItem = Bar | FeedLive | FeedLost | FeedDelayed | FeedGap | FeedEnd


@attrs.frozen(kw_only=True)
class OrderUpdate:
    """What happened to an order, and the order after it. Nothing else of it crosses the thread.

    Without an event the order's intent is on disk: it is Submitted. ``recovered``
    are fills that an earlier process should have told of, and those that
    happened while none was there.
    """

    event: OrderEvent | None
    order: Order
    recovered: tuple[Fill, ...] = ()


@attrs.frozen(kw_only=True)
class GroupWritten:
    """A group is on disk as it stands: its members are Submitted, those that wait for a parent too.

    It comes again when the strategy has added or amended a member.
    """

    group: Group


@attrs.frozen(kw_only=True)
class MemberEnded:
    """An order of a group is over, whatever legs it had: all of its fills were told before."""

    group_id: str
    member_id: str
    status: Status  # final
    reason: str


@attrs.frozen(kw_only=True)
class MemberUnchanged:
    """An amendment of an order of a group came to nothing: it could not be written down. The order goes on."""

    group_id: str
    member_id: str
    reason: str


@attrs.frozen(kw_only=True)
class Note:
    """A remark for the user: a connection up or down, an account stream that missed something.

    The kinds: CONNECTED, DISCONNECTED, STALE of a connection, which is named; DEGRADED, GAP, LATE, SLOW of data;
    FAULT, FATAL; FOREIGN, DRIFT, HALT, NAKED, RECOVERED, RESUBMIT, RESUME of orders; FEES, MARGIN of the account;
    LIQUIDATED, DELEVERAGED, DELIVERED of orders the exchange made on it, ATTACHED of exits it made of orders of ours.
    """

    kind: str
    text: str
    connection: str = ""  # whose state has changed; empty: it is about something else
    status: Connection | None = None  # the state it has now


@attrs.frozen(kw_only=True)
class BookingTold:
    """Money moved otherwise than by a fill; ``recovered``: an earlier process should have told, or none was there."""

    booking: Booking
    recovered: bool = False


SessionEvent = OrderUpdate | GroupWritten | MemberEnded | MemberUnchanged | AccountUpdate | BookingTold
SessionItem = SessionEvent | Note


@attrs.frozen(kw_only=True)
class Recovered:
    """What earlier runs left, as it is after the start: what a strategy finds again."""

    orders: tuple[Order, ...] = ()  # not settled, or with fills the strategy was not told of; all legs of ``groups``
    groups: tuple[Group, ...] = ()  # that are not over
    undelivered: Mapping[str, tuple[Fill, ...]] = attrs.field(factory=dict)  # by client order id
    positions: Mapping[Key, Position] = attrs.field(factory=dict)  # what the delivered fills add up to
    crashed: bool = False  # the run before this one did not end of its own will

    @property
    def cost(self) -> Mapping[str, Position]:
        """The net positions by symbol: all there are, but in hedge mode."""
        return {key.symbol: each for key, each in self.positions.items() if key.position_side is PositionSide.NET}


class Wakeup:
    """One wakeup for all feeds and brokers of a cerebro, so that any arrival ends its wait at once.

    It also counts what was posted and what was taken: when both agree, the
    strategy has seen everything there is, which is what lockstep waits for.
    """

    def __init__(self) -> None:
        # Re-entrant: a signal handler runs on the strategy's thread, perhaps while that thread holds the lock.
        self._lock = threading.RLock()
        # Not a Condition: a handler that signals between its check and its wait would wake nobody.
        # SimpleQueue.put is re-entrant, and a token that was put stays until it is taken.
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._posted = 0
        self._taken = 0
        self._idle_listeners: list[Callable[[int], None]] = []
        self._patient_for: set[int] = set()

    @property
    def posted(self) -> int:
        """How many items were ever posted to the mailboxes of this wakeup."""
        with self._lock:
            return self._posted

    @property
    def patient(self) -> bool:
        """In lockstep only an arrival ends a wait, so that no timer can split a batch."""
        return bool(self._patient_for)

    def be_patient(self, owner: object) -> None:
        """Ignore the timeouts of ``wait`` from its next call on, for ``owner``. Any thread."""
        with self._lock:
            self._patient_for.add(id(owner))

    def forget_patience(self, owner: object) -> None:
        """Take the patience of ``owner`` back; a wait that has begun is ended. Any thread."""
        with self._lock:
            if id(owner) not in self._patient_for:
                return
            self._patient_for.remove(id(owner))
        self.signal()

    def on_idle(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(posted)`` on the strategy's thread whenever it has taken all and is about to wait."""
        self._idle_listeners.append(listener)

    def forget_idle(self, listener: Callable[[int], None]) -> None:
        """Stop calling ``listener``."""
        if listener in self._idle_listeners:
            self._idle_listeners.remove(listener)

    def post(self, batch: Iterable[tuple["Mailbox[Any]", Any]]) -> None:
        """Put each item into its mailbox and wake the strategy once, after the last. Any thread."""
        with self._lock:
            for mailbox, item in batch:
                if not mailbox.is_closed:
                    mailbox.append(item)
                    self._posted += 1
        self.signal()

    def count_taken(self, items: int = 1) -> None:
        """Tell that items were taken. Strategy's thread."""
        with self._lock:
            self._taken += items

    def close(self, mailbox: "Mailbox[Any]") -> None:
        """Let nothing more into a mailbox and count what is left in it as taken. Any thread."""
        with self._lock:
            self._taken += mailbox.shut()

    def signal(self) -> None:
        """Wake the strategy without an item: stop requests, store notifications. Any thread, signal handlers too."""
        # One token is enough: whoever takes it looks at everything that came before it was taken.
        if self._tokens.empty():
            self._tokens.put(None)

    def wait(self, timeout_s: float) -> None:
        """Sleep until something arrives, at most ``timeout_s``; return at once if something has since the last wait.

        Strategy's thread.  When everything posted was taken, the idle listeners
        are told first.
        """
        with self._lock:
            idle_at = self._posted if self._posted == self._taken else None
        if idle_at is not None:
            for listener in tuple(self._idle_listeners):
                listener(idle_at)
        with contextlib.suppress(queue.Empty):
            self._sleep(timeout_s)
            while True:  # two may have been put at the same moment
                self._tokens.get_nowait()

    def _sleep(self, timeout_s: float) -> None:
        if not self.patient:
            self._tokens.get(timeout=max(timeout_s, 0.0))
            return
        while True:
            # A signal that came just before the sleep, or to another thread, ends no sleep: Python calls its handler
            # afterwards. So Ctrl-C is looked for between naps.
            with contextlib.suppress(queue.Empty):
                self._tokens.get(timeout=_NAP_S)
                return


class Mailbox(Generic[T]):
    """A queue from btx-io to the strategy's thread. Putting never blocks, taking never waits.

    It has no bound of its own: who puts looks at its length.  ``on_low`` is
    called, on the strategy's thread, when taking leaves ``low`` items in it.
    """

    def __init__(self, wakeup: Wakeup, *, low: int = -1, on_low: Callable[[], None] = lambda: None) -> None:
        self._items: deque[T] = deque()
        self._wakeup = wakeup
        self._low = low
        self._on_low = on_low
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def append(self, item: T) -> None:
        """Append without waking or counting: only ``Wakeup.post`` calls it."""
        self._items.append(item)

    def shut(self) -> int:
        """Drop everything, now and later, without counting: only ``Wakeup.close`` calls it."""
        self.is_closed = True
        dropped = len(self._items)
        self._items.clear()
        return dropped

    def put(self, *items: T) -> None:
        """Append items and wake the strategy once. Any thread."""
        self._wakeup.post((self, item) for item in items)

    def peek(self) -> T | None:
        """Return the oldest item and leave it there, None when there is none. Any thread."""
        try:
            return self._items[0]
        except IndexError:  # not asked before: another thread may take it in between
            return None

    def take(self) -> T | None:
        """Return the oldest item, None when there is none. Strategy's thread."""
        if not self._items:
            return None
        item = self._items.popleft()
        self._wakeup.count_taken()
        if len(self._items) == self._low:
            self._on_low()
        return item

    def close(self) -> None:
        """Drop what is in it and whatever follows, so that nobody waits for it to be taken. Strategy's thread."""
        self._wakeup.close(self)
