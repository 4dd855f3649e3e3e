"""What a bar does to an order: at its open, and between its open and its close.

A bar says where the market was, not when, so only what is certain fills at a good price.
Prices are backtrader's floats; times and quantities are the broker's.
"""

from typing import NamedTuple

import attrs

from btx.model.order import OrderType

__all__ = ("Match", "Prices", "Working", "at_open", "follow", "within")

_TAKE_PROFITS = frozenset({OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT})


class Prices(NamedTuple):
    """A bar."""

    open: float
    high: float
    low: float
    close: float


class Match(NamedTuple):
    """An execution: its price, and whether the order took what rested."""

    price: float
    takes: bool


@attrs.define(kw_only=True)
class Working:
    """The part of an order that matching looks at and moves."""

    order_type: OrderType
    is_buy: bool
    limit: float | None = None
    trigger: float | None = None
    trail_amount: float | None = None  # quote units
    trail_share: float | None = None  # of the price
    limit_offset: float = 0.0  # of a trailing stop that becomes a limit order: trigger less limit
    is_triggered: bool = False
    is_new: bool = True  # no bar has come since it was accepted
    is_spent: bool = False  # triggered within this bar, of whose rest no more is known

    @property
    def waits(self) -> bool:
        """It has a trigger that was not reached."""
        return self.trigger is not None and not self.is_triggered

    @property
    def is_stop(self) -> bool:
        """It waits for the price to go on against whom it protects; a take-profit waits on the other side."""
        return self.waits and self.order_type not in _TAKE_PROFITS


def at_open(order: Working, bar: Prices) -> Match | None:
    """Return the execution at the first price of a bar.

    What comes new and crosses takes at the open.  What rested before is taken at
    its own limit, however far the market jumped: the gain of a gap is the other's.
    """
    price, arrives = bar.open, order.is_new or order.waits
    order.is_new = order.is_spent = False
    if order.waits:
        if not _reached(order, price, price):
            return None
        order.is_triggered = True
    if order.limit is None:
        return Match(price, takes=True)
    if not _crosses(order, price):
        return None
    return Match(price, takes=True) if arrives else Match(order.limit, takes=False)


def within(order: Working, bar: Prices) -> Match | None:
    """Return the execution between a bar's open and its close, after :func:`at_open` gave none."""
    if order.waits:
        assert order.trigger is not None
        if not _reached(order, bar.low, bar.high):
            return None
        order.is_triggered = order.is_spent = True
        if order.limit is None or _crosses(order, order.trigger):
            return Match(order.trigger, takes=True)
        # After the trigger the price certainly went where the bar closed; where else, nobody knows.
        return Match(order.limit, takes=False) if _crosses(order, bar.close) else None
    if order.limit is None or order.is_spent:
        return None
    return Match(order.limit, takes=False) if _crosses(order, bar.low if order.is_buy else bar.high) else None


def follow(order: Working, price: float) -> None:
    """Let a trailing stop that waits follow the market, as backtrader does it: from one close to the next."""
    if order.trail_amount is None and order.trail_share is None:
        return
    if not order.waits:
        return
    assert order.trigger is not None
    distance = order.trail_amount if order.trail_amount is not None else price * (order.trail_share or 0.0)
    trigger = price + distance if order.is_buy else price - distance
    if (trigger < order.trigger) is order.is_buy and trigger != order.trigger:
        order.trigger = trigger
        if order.limit is not None:
            order.limit = trigger - order.limit_offset


def _crosses(order: Working, price: float) -> bool:
    assert order.limit is not None
    return price <= order.limit if order.is_buy else price >= order.limit


def _reached(order: Working, low: float, high: float) -> bool:
    assert order.trigger is not None
    rises = order.is_buy is (order.order_type not in _TAKE_PROFITS)
    return high >= order.trigger if rises else low <= order.trigger
