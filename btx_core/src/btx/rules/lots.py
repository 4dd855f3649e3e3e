"""What positions are made of where an order says which it closes: long and short, of today and of before. Pure."""

from collections.abc import Iterable
from decimal import Decimal

import attrs

from btx.model.account import Lots
from btx.model.order import Fill, Offset, Order, Side

__all__ = ("after_fill", "after_order", "free", "rolled")


def after_fill(lots: Lots, fill: Fill, offset: Offset) -> Lots:
    """Return the lots after a fill; what closes more than there is leaves nothing, as the venue knows better.

    CLOSE takes what is older first: all of it at venues where it means CLOSE_YESTERDAY, and where a venue makes no
    difference it is a guess that the next reading of the account puts right.
    """
    if offset is Offset.OPEN:
        name = "long_today" if fill.side is Side.BUY else "short_today"
        return attrs.evolve(lots, **{name: getattr(lots, name) + fill.quantity})
    return _without(lots, fill.side, fill.quantity, offset)


def after_order(lots: Lots, before: Order, after: Order) -> Lots:
    """Return the lots after a step of an order: the fills it had not before."""
    known = {fill.fill_id for fill in before.fills}
    for fill in after.fills:
        if fill.fill_id not in known:
            lots = after_fill(lots, fill, fill.offset or after.leg.offset)
    return lots


def rolled(lots: Lots) -> Lots:
    """Return the lots on another trading day: nothing of it was opened today."""
    return Lots(
        symbol=lots.symbol,
        long_yesterday=lots.long_yesterday + lots.long_today,
        short_yesterday=lots.short_yesterday + lots.short_today,
    )


def free(lots: Lots, orders: Iterable[Order]) -> Lots:
    """Return what no living order closes already; orders in other instruments say nothing."""
    for order in orders:
        leg = order.leg
        is_closing = leg.offset is not Offset.OPEN and leg.request.instrument.symbol == lots.symbol
        if is_closing and not order.status.is_final:
            lots = _without(lots, leg.request.side, order.remaining, leg.offset)
    return lots


def _without(lots: Lots, side: Side, quantity: Decimal, offset: Offset) -> Lots:
    """Return the lots less what an order of this side closes."""
    kind = "short" if side is Side.BUY else "long"
    names = {
        Offset.CLOSE_TODAY: (f"{kind}_today",),
        Offset.CLOSE_YESTERDAY: (f"{kind}_yesterday",),
    }.get(offset, (f"{kind}_yesterday", f"{kind}_today"))
    for name in names:
        taken = min(getattr(lots, name), quantity)
        lots, quantity = attrs.evolve(lots, **{name: getattr(lots, name) - taken}), quantity - taken
    return lots
