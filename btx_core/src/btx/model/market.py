"""Market data: bars, public trades, quotes, books."""

from decimal import Decimal

import attrs

from btx.model.order import Side
from btx.model.time import Interval

__all__ = ("Bar", "BookDelta", "BookLevel", "BookSnapshot", "Quote", "Trade")

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
class Trade:
    """One public print; ``side`` is the aggressor's."""

    symbol: str
    trade_id: int | str
    price: Decimal
    quantity: Decimal
    side: Side
    time_ns: int


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
    """All (or the best N) levels at ``sequence``; best first on both sides."""

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    sequence: int


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
