"""Market data: bars, public trades, quotes, books."""

import enum
from array import array
from decimal import Decimal

import attrs

from btx.model.order import Side
from btx.model.time import Interval

__all__ = (
    "Bar",
    "BarColumns",
    "BookDelta",
    "BookLevel",
    "BookSnapshot",
    "FillerBar",
    "OnGap",
    "Quote",
    "Trade",
)

BookLevel = tuple[Decimal, Decimal]  # price, quantity


@attrs.frozen(kw_only=True)
class Bar:
    """Open, high, low, close and volume of ``[open_ns, close_ns)``.

    Prices are quote units, ``volume`` base units (contracts for derivatives),
    ``quote_volume`` quote units; what a source does not tell is None.
    """

    symbol: str
    interval: Interval
    open_ns: int
    close_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    is_closed: bool
    quote_volume: Decimal | None = None
    trades: int | None = None


@attrs.frozen(kw_only=True)
class FillerBar(Bar):
    """What stands for a bar that could not be had: flat at the close before it, nothing traded. No venue's word."""


class OnGap(enum.Enum):
    """What is done about bars that could not be had; it is told in any case. The value is what the user writes."""

    HALT = "halt"  # nothing but reductions is sent until the user resumes
    MARK = "mark"  # filler bars stand for them
    CONTINUE = "continue"  # the bars after them follow


@attrs.frozen(kw_only=True, eq=False)
class BarColumns:
    """Many closed bars of one instrument, oldest first, for whoever wants floats: one array per field, all as long.

    Each float is the one nearest to the exact decimal, as ``float(str(value))`` gives it.
    ``open_ns`` and ``close_ns`` are of type ``q``, the others of type ``d``.
    """

    symbol: str
    interval: Interval
    open_ns: "array[int]"
    close_ns: "array[int]"
    open: "array[float]"
    high: "array[float]"
    low: "array[float]"
    close: "array[float]"
    volume: "array[float]"

    def __len__(self) -> int:
        return len(self.open_ns)


@attrs.frozen(kw_only=True)
class Trade:
    """One public print; ``side`` is the aggressor's.

    ``sequence`` is the venue's own where ids are no numbers: it never falls, and
    prints of one order may share it.
    """

    symbol: str
    trade_id: int | str
    price: Decimal
    quantity: Decimal
    side: Side
    time_ns: int
    sequence: int | None = None


@attrs.frozen(kw_only=True)
class Quote:
    """Best bid and ask; ``time_ns`` is None where the venue stamps no time."""

    symbol: str
    bid_price: Decimal
    bid_quantity: Decimal
    ask_price: Decimal
    ask_quantity: Decimal
    sequence: int | None = None
    time_ns: int | None = None


@attrs.frozen(kw_only=True)
class BookSnapshot:
    """All (or the best N) levels at ``sequence``; best first on both sides.

    ``time_ns`` is that of the last change it contains, None where nobody stamped it.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    sequence: int
    time_ns: int | None = None


@attrs.frozen(kw_only=True)
class BookDelta:
    """Levels that changed between two sequence numbers, both inclusive; quantity zero removes a level.

    ``previous_sequence`` is the last sequence of the delta before, where the venue says it.
    """

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    first_sequence: int
    last_sequence: int
    previous_sequence: int | None = None
    time_ns: int | None = None
