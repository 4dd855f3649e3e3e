"""The public side of a paper account: what an order meets, as far as the venue's own streams tell.

The best price comes from the quotes, what lies behind it from the last book that
was fetched, and what happens from the public trades.
"""

from collections import deque
from collections.abc import Iterator
from decimal import Decimal

import attrs

from btx.model.instrument import Instrument
from btx.model.market import BookLevel, BookSnapshot, Quote, Trade
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE

__all__ = ("PublicMarket",)

_ZERO = Decimal(0)
_AVERAGE_NS = 30 * NS_PER_MINUTE  # the longest average a venue's filters ask for is some minutes


@attrs.define(kw_only=True)
class _Sight:
    """What is known of one instrument."""

    instrument: Instrument
    last: Trade | None = None
    recent: deque[Trade] = attrs.field(factory=deque)
    quote: Quote | None = None
    book: BookSnapshot | None = None


class PublicMarket:
    """The :class:`btx.sim.liquidity.Liquidity` of a real market, which notices no paper order."""

    def __init__(self) -> None:
        self._sights: dict[str, _Sight] = {}  # by the venue's symbol

    def see(self, instrument: Instrument) -> None:
        """Begin to follow an instrument."""
        self._sights.setdefault(instrument.venue_symbol, _Sight(instrument=instrument))

    def on_trade(self, venue_symbol: str, trade: Trade) -> None:
        """Remember a public trade; it leaves the averages after half an hour."""
        sight = self._sights[venue_symbol]
        sight.last = trade
        sight.recent.append(trade)
        while sight.recent[0].time_ns < trade.time_ns - _AVERAGE_NS:
            sight.recent.popleft()

    def on_quote(self, venue_symbol: str, quote: Quote) -> None:
        """Remember the best bid and ask."""
        self._sights[venue_symbol].quote = quote

    def on_book(self, venue_symbol: str, book: BookSnapshot) -> None:
        """Remember a book; a quote that is older than it is forgotten."""
        sight = self._sights[venue_symbol]
        sight.book = book
        if sight.quote is not None and (sight.quote.sequence is None or sight.quote.sequence <= book.sequence):
            sight.quote = None

    # --- what the exchange asks -------------------------------------------------------------------------

    def is_trading(self, venue_symbol: str) -> bool:
        """Say whether the venue lists it as trading."""
        return self._sights[venue_symbol].instrument.is_trading

    def last_price(self, venue_symbol: str) -> Decimal:
        """Return the price of the last public trade; the middle of the book before one was heard."""
        sight = self._sights[venue_symbol]
        if sight.last is not None:
            return sight.last.price
        bid, ask = (next(self.levels(venue_symbol, side), None) for side in (Side.BUY, Side.SELL))
        if bid is None or ask is None:
            raise LookupError(f"nothing was heard of {sight.instrument.symbol} yet")
        return (bid[0] + ask[0]) / 2

    def average_price(self, venue_symbol: str, minutes: int) -> Decimal:
        """Return the volume-weighted price of the last minutes that were heard; for 0 the last price."""
        sight = self._sights[venue_symbol]
        if sight.last is None or not minutes:
            return self.last_price(venue_symbol)
        since_ns = sight.last.time_ns - minutes * NS_PER_MINUTE
        heard = [trade for trade in sight.recent if trade.time_ns >= since_ns]
        volume = sum((trade.quantity for trade in heard), _ZERO)
        return sum((trade.price * trade.quantity for trade in heard), _ZERO) / volume

    def levels(self, venue_symbol: str, side: Side) -> Iterator[BookLevel]:
        """Yield bids (BUY) or asks (SELL), best first: the quote, then what the book has behind it."""
        sight = self._sights[venue_symbol]
        best: BookLevel | None = None
        if (quote := sight.quote) is not None:
            is_bid = side is Side.BUY
            best = (quote.bid_price, quote.bid_quantity) if is_bid else (quote.ask_price, quote.ask_quantity)
            if best[1]:
                yield best
        if sight.book is None:
            return
        for price, quantity in sight.book.bids if side is Side.BUY else sight.book.asks:
            if best is None or side.sign * price < side.sign * best[0]:
                yield price, quantity

    def quantity_at(self, venue_symbol: str, side: Side, price: Decimal) -> Decimal:
        """Return what is offered at exactly this price; zero where nothing is, or nothing is known."""
        return next((quantity for level, quantity in self.levels(venue_symbol, side) if level == price), _ZERO)
