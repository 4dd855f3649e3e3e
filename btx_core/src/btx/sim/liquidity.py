"""What an order can take: the market's book, less what clients took a moment ago."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Protocol

import attrs

from btx.model.order import Side
from btx.sim.matching import Take, take_quote
from btx.sim.orders import Listing

__all__ = ("Liquidity", "Offers")

_ZERO = Decimal(0)
_MEMORY_NS = 1_000_000_000  # how long the book misses what a client took from it


class Liquidity(Protocol):
    """What the exchange asks of the market, all of it as of the market's own now."""

    def is_trading(self, venue_symbol: str) -> bool:
        """Tell whether the symbol can be traded now."""

    def last_price(self, venue_symbol: str) -> Decimal:
        """Return the price of the latest print."""

    def average_price(self, venue_symbol: str, minutes: int) -> Decimal:
        """Return the volume-weighted price of the last minutes; for 0 the last price."""

    def levels(self, venue_symbol: str, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield (price, quantity) of bids (BUY) or asks (SELL), best first."""

    def quantity_at(self, venue_symbol: str, side: Side, price: Decimal) -> Decimal:
        """Return what is offered at exactly this price on this side; zero where there is no level."""


@attrs.define(kw_only=True)
class _Shadow:
    """What clients took from one side of a book during the last instant."""

    since_ns: int
    taken: dict[Decimal, Decimal] = attrs.field(factory=dict)


class Offers:
    """The books of a market as clients find them; the market itself does not notice clients."""

    def __init__(self, market: Liquidity) -> None:
        self._market = market
        self._shadows: dict[tuple[str, Side], _Shadow] = {}

    def against(self, venue_symbol: str, side: Side, now_ns: int) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield what an order of ``side`` can take, best price first."""
        book_side = Side.SELL if side is Side.BUY else Side.BUY
        shadow = self._shadows.get((venue_symbol, book_side))
        is_fresh = shadow is not None and now_ns - shadow.since_ns < _MEMORY_NS
        taken = shadow.taken if shadow is not None and is_fresh else {}
        for price, quantity in self._market.levels(venue_symbol, book_side):
            left = quantity - taken.get(price, _ZERO)
            if left > _ZERO:
                yield price, left

    def take(self, venue_symbol: str, side: Side, take: Take, now_ns: int) -> None:
        """Miss what an order of ``side`` has taken, for an instant."""
        key = (venue_symbol, Side.SELL if side is Side.BUY else Side.BUY)
        shadow = self._shadows.get(key)
        if shadow is None or now_ns - shadow.since_ns >= _MEMORY_NS:
            shadow = self._shadows[key] = _Shadow(since_ns=now_ns)
        shadow.taken[take.price] = shadow.taken.get(take.price, _ZERO) + take.quantity

    def for_quote(
        self, listing: Listing, side: Side, quote_quantity: Decimal, now_ns: int
    ) -> tuple[tuple[Take, ...], bool]:
        """Return what an amount of quote units takes, and whether that spends it; see :func:`take_quote`."""
        return take_quote(
            self.against(listing.venue_symbol, side, now_ns),
            quote_quantity=quote_quantity,
            step_size=listing.instrument.step_size,
        )
