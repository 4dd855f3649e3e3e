"""Orders of a backtest on bars: backtrader's beside ours, and which of them belong together."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import attrs

from btx.bt.books import Book
from btx.bt.matching import Working
from btx.model.order import Fill, OrderRequest, Side, TimeInForce
from btx.rules.positions import base_change, split_dust

__all__ = ("AT_ONCE", "Ticket", "locked", "needs", "remaining_of", "together", "working_of")

AT_ONCE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_ZERO = Decimal(0)
_BPS = 10_000


@attrs.define(kw_only=True, eq=False)
class Ticket:
    """backtrader's order, the request that was made of it, and what matching needs to know."""

    order: Any
    book: Book
    request: OrderRequest
    work: Working
    born: float  # backtrader's time; bars that had begun by then are not all its own
    parent: "Ticket | None" = None
    children: list["Ticket"] = attrs.field(factory=list)
    group: list["Ticket"] = attrs.field(factory=list)  # those that one fill, or end, ends together
    is_taken: bool = False  # by the venue, which knows nothing of exits before their entry has filled
    is_active: bool = True
    is_close: bool = False  # bt.Order.Close: at the end of the session
    annotated: float | None = None  # of such a one: the last close before
    fills: list[Fill] = attrs.field(factory=list)

    @property
    def filled(self) -> Decimal:
        """Sum of its fills."""
        return sum((fill.quantity for fill in self.fills), _ZERO)

    @property
    def remaining(self) -> Decimal:
        """What is left to fill, of an exit no more than its entry has brought."""
        return remaining_of(self)

    @property
    def rests(self) -> bool:
        """It is at the venue."""
        return self.is_taken and self.is_active


def remaining_of(ticket: Ticket) -> Decimal:
    """Return what is left to fill; exits share what their entry has brought, on the grid."""
    left = ticket.request.quantity - ticket.filled
    parent = ticket.parent
    if parent is None:
        return left
    instrument = ticket.book.instrument
    owned = not instrument.kind.is_margined
    brought = sum(
        (abs(base_change(fill, base=instrument.base)) if owned else fill.quantity for fill in parent.fills), _ZERO
    )
    done = sum((each.filled for each in parent.children if each is not ticket), _ZERO)
    tradable, _dust = split_dust(brought, step_size=instrument.step_size)
    return max(min(left, tradable - ticket.filled - done), _ZERO)


def working_of(request: OrderRequest) -> Working:
    """Return what matching looks at; a stop whose trigger has passed is a market or limit order already."""
    limit = float(request.price) if request.price is not None else None
    trigger = float(request.trigger_price) if request.trigger_price is not None else None
    return Working(
        order_type=request.order_type,
        is_buy=request.side is Side.BUY,
        limit=limit,
        trigger=trigger,
        trail_amount=float(request.trail_amount) if request.trail_amount is not None else None,
        trail_share=request.trail_bps / _BPS if request.trail_bps is not None else None,
        limit_offset=trigger - limit if trigger is not None and limit is not None else 0.0,
    )


def locked(tickets: Iterable[Ticket], asset: str, prices: Any) -> Decimal:
    """Return how much of an asset orders that rest have reserved; of those that exclude each other the largest."""
    groups: dict[int, Decimal] = {}
    for ticket in tickets:
        if not ticket.rests:
            continue
        key = id(ticket.parent.children) if ticket.parent is not None else id(ticket.group)
        groups[key] = max(groups.get(key, _ZERO), needs(ticket, asset, prices))
    return sum(groups.values(), _ZERO)


def needs(ticket: Ticket, asset: str, prices: Any) -> Decimal:
    """Return how much of an asset an order of owned coins takes out of the account."""
    request, instrument = ticket.request, ticket.book.instrument
    if request.side is Side.SELL:
        return ticket.remaining if asset == instrument.base else _ZERO
    if asset != instrument.quote:
        return _ZERO
    price = request.price or request.trigger_price or prices(ticket.book)
    return ticket.remaining * price


def together(ticket: Ticket) -> Iterator[Ticket]:
    """Yield the others that end when this one ends."""
    others = ticket.parent.children if ticket.parent is not None else ticket.group
    yield from [each for each in others if each is not ticket]
