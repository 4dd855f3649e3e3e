"""The order book: a snapshot, and the deltas that carry it on without a hole.

Binance's rule for keeping a local book, in one condition.  A delta tells all that
changed in an unbroken range of sequence numbers, and its quantities are absolute.
So it may be applied when that range begins no later than right after what the
book holds, and it is old when it ends before that:

* spot numbers are dense: the range is ``first_sequence .. last_sequence``;
* futures numbers are shared by many symbols: the range is what follows
  ``previous_sequence`` (``pu``), up to ``last_sequence``.

Source: Binance, "How to manage a local order book correctly", in the WebSocket
pages of the spot and of the USDⓈ-M futures documentation, read 2026-11-21.

:class:`Book` is a value, for sequences that are looked at; the live path keeps
the same rules in :mod:`btx.runtime.ladder`, which changes in place.
"""

import enum
from bisect import bisect_left
from decimal import Decimal

import attrs

from btx.errors import GapError
from btx.model.market import BookDelta, BookLevel, BookSnapshot
from btx.model.time import NS_PER_S

__all__ = (
    "SNAPSHOT_PAUSE_NS",
    "Book",
    "Fit",
    "apply",
    "best_ask",
    "best_bid",
    "fit",
    "is_crossed",
    "snapshot_wait_ns",
    "start",
    "top",
)

SNAPSHOT_PAUSE_NS = 5 * NS_PER_S
"""At most one snapshot of an instrument in this time: what a snapshot does not cure, many do not cure either."""


class Fit(enum.Enum):
    """How a delta stands to a book."""

    OLD = "the book has it already"
    NEXT = "it carries the book on"
    GAP = "something is missing between the two"


def fit(sequence: int, delta: BookDelta) -> Fit:
    """Say how ``delta`` stands to a book that holds all up to ``sequence``."""
    if delta.last_sequence <= sequence:
        return Fit.OLD
    return Fit.GAP if _before(delta) > sequence else Fit.NEXT


def snapshot_wait_ns(asked_ns: int | None, *, now_ns: int) -> int:
    """Return how long a snapshot must wait that was last asked for at ``asked_ns``, 0 for not at all.

    A clock that was set back meanwhile does not make it longer than the pause.
    """
    if asked_ns is None:
        return 0
    return min(max(asked_ns + SNAPSHOT_PAUSE_NS - now_ns, 0), SNAPSHOT_PAUSE_NS)


@attrs.frozen(kw_only=True)
class Book:
    """A book at ``sequence``; both sides by rising price, so the best bid is the last of ``bids``.

    Sides are tuples: a delta copies the two of them (microseconds for a thousand
    levels) and finds its places by bisection.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    sequence: int


def start(snapshot: BookSnapshot) -> Book:
    """Return the book of a snapshot."""
    return Book(
        symbol=snapshot.symbol,
        bids=_changed((), snapshot.bids),
        asks=_changed((), snapshot.asks),
        sequence=snapshot.sequence,
    )


def apply(book: Book, delta: BookDelta) -> Book:
    """Return ``book`` after ``delta``; an old delta changes nothing.

    Raises:
        GapError: deltas are missing between the two; fetch a new snapshot.
        ValueError: the delta is of another symbol.
    """
    if delta.symbol != book.symbol:
        raise ValueError(f"book of {book.symbol}: delta of {delta.symbol}")
    match fit(book.sequence, delta):
        case Fit.OLD:
            return book
        case Fit.GAP:
            raise GapError(
                f"book of {book.symbol}: it holds all up to {book.sequence}, "
                f"the next delta begins after {_before(delta)}"
            )
    return attrs.evolve(
        book,
        bids=_changed(book.bids, delta.bids),
        asks=_changed(book.asks, delta.asks),
        sequence=delta.last_sequence,
    )


def best_bid(book: Book) -> BookLevel | None:
    """Return the highest price somebody buys at and its quantity, None when nobody does."""
    return book.bids[-1] if book.bids else None


def best_ask(book: Book) -> BookLevel | None:
    """Return the lowest price somebody sells at and its quantity, None when nobody does."""
    return book.asks[0] if book.asks else None


def top(book: Book, depth: int) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
    """Return the best ``depth`` bids and asks, best first."""
    return book.bids[: -depth - 1 : -1], book.asks[:depth]


def is_crossed(book: Book) -> bool:
    """Say whether somebody buys at or above what somebody sells at: never true of a sound book."""
    return bool(book.bids and book.asks) and book.bids[-1][0] >= book.asks[0][0]


def _before(delta: BookDelta) -> int:
    """Return the sequence right before the range that a delta covers."""
    return delta.first_sequence - 1 if delta.previous_sequence is None else delta.previous_sequence


def _changed(levels: tuple[BookLevel, ...], changes: tuple[BookLevel, ...]) -> tuple[BookLevel, ...]:
    if not changes:
        return levels
    side = list(levels)
    for price, quantity in changes:
        place = bisect_left(side, price, key=_price)
        end = place + 1 if place < len(side) and side[place][0] == price else place
        side[place:end] = [(price, quantity)] if quantity else []
    return tuple(side)


def _price(level: BookLevel) -> Decimal:
    return level[0]
