"""Matching: one client order against book levels, or against a public trade. Pure.

Client orders meet the market only, never each other, and leave no trace in it.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import attrs

from btx.model.order import OrderType, Side

__all__ = (
    "Resting",
    "Take",
    "crosses",
    "floor_to",
    "is_triggered",
    "match_trade",
    "take_quantity",
    "take_quote",
    "trail_is_triggered",
)

_ZERO = Decimal(0)
_BPS = Decimal(10_000)
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})


@attrs.frozen(kw_only=True)
class Take:
    """One execution against a book level."""

    price: Decimal
    quantity: Decimal


@attrs.frozen(kw_only=True)
class Resting:
    """A limit order in the book; ``queue_ahead`` is what others queue before it at its price.

    Of an iceberg ``remaining`` is the visible part and ``hidden`` what lies behind it.
    """

    side: Side
    price: Decimal
    remaining: Decimal
    queue_ahead: Decimal = _ZERO
    hidden: Decimal = _ZERO


def crosses(side: Side, limit_price: Decimal, opposite_price: Decimal) -> bool:
    """Tell whether a limit order would take at ``opposite_price``."""
    return limit_price >= opposite_price if side is Side.BUY else limit_price <= opposite_price


def floor_to(value: Decimal, grid: Decimal) -> Decimal:
    """Return the largest multiple of ``grid`` that is not above ``value``."""
    return value // grid * grid


def take_quantity(
    levels: Iterable[tuple[Decimal, Decimal]], *, side: Side, quantity: Decimal, limit_price: Decimal | None
) -> tuple[Take, ...]:
    """Take up to ``quantity`` from the opposite side's ``levels``, best first, never beyond ``limit_price``."""
    takes: list[Take] = []
    for price, available in levels:
        if limit_price is not None and not crosses(side, limit_price, price):
            break
        part = min(available, quantity)
        if part > _ZERO:
            takes.append(Take(price=price, quantity=part))
            quantity -= part
        if not quantity:
            break
    return tuple(takes)


def take_quote(
    levels: Iterable[tuple[Decimal, Decimal]], *, quote_quantity: Decimal, step_size: Decimal
) -> tuple[tuple[Take, ...], bool]:
    """Take for at most ``quote_quantity`` quote units, on the quantity grid.

    Returns:
        The executions, and whether the money was spent: what is left buys no
        further step (False: the levels ran out first).
    """
    takes: list[Take] = []
    for price, available in levels:
        affordable = floor_to(quote_quantity / price, step_size)
        part = min(available, affordable)
        if part > _ZERO:
            takes.append(Take(price=price, quantity=part))
            quote_quantity -= part * price
        if part == affordable:
            return tuple(takes), True
    return tuple(takes), False


def match_trade(
    resting: Sequence[Resting], *, price: Decimal, quantity: Decimal
) -> tuple[tuple[Resting, Decimal], ...]:
    """Let a public trade meet ``resting`` (best price first, then oldest).

    A trade at an order's price feeds the queue before it first; a trade through
    the price ends that queue, and reaches what an iceberg hides.  Orders share
    the trade: what one got, the next does not.

    Returns:
        For each order, itself afterwards and the quantity it filled.  An iceberg
        with nothing ``remaining`` but something ``hidden`` has to show its next part.
    """
    results = []
    fed = _ZERO  # what of the trade went to the market's own queue at this price
    for order in resting:
        if price != order.price and not crosses(order.side, order.price, price):
            results.append((order, _ZERO))
            continue
        queue_ahead = _ZERO
        if price == order.price:
            used = min(max(order.queue_ahead - fed, _ZERO), quantity)
            fed += used
            quantity -= used
            queue_ahead = max(order.queue_ahead - fed, _ZERO)
        within_reach = order.remaining if price == order.price else order.remaining + order.hidden
        filled = min(quantity, within_reach)
        quantity -= filled
        shown = min(filled, order.remaining)
        after = attrs.evolve(
            order,
            remaining=order.remaining - shown,
            hidden=order.hidden - (filled - shown),
            queue_ahead=queue_ahead,
        )
        results.append((after, filled))
    return tuple(results)


def is_triggered(order_type: OrderType, side: Side, *, trigger_price: Decimal, last_price: Decimal) -> bool:
    """Tell whether a stop (or take profit) order wakes up at ``last_price``; equality triggers."""
    waits_for_rise = (order_type in _STOPS) == (side is Side.BUY)
    return last_price >= trigger_price if waits_for_rise else last_price <= trigger_price


def trail_is_triggered(side: Side, *, best_price: Decimal, trail_bps: int, last_price: Decimal) -> bool:
    """Tell whether ``last_price`` lies ``trail_bps`` behind the best price since tracking; equality triggers.

    The best price of a sell is the highest, of a buy the lowest.
    """
    behind = best_price * (_BPS + side.sign * trail_bps) / _BPS
    return last_price >= behind if side is Side.BUY else last_price <= behind
