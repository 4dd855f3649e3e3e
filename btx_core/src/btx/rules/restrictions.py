"""Restrictions on what may be sold and at which price: T+1, price limits, and closing today's first.

T+1 as in Chinese A shares: what was bought today is sold on the next trading day at the earliest. SHFE and INE let an
order close either today's positions or earlier ones, at different fees, and their orders must say which (CTP's
CloseToday and CloseYesterday). A shares round their limits to the nearest tick, futures to the tick inside the band.
"""

import decimal
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.order import Offset
from btx.rules.money import EXACT, ZERO

__all__ = ("PriceLimits", "Split", "price_limits", "sellable", "split_close", "within_limits")


@attrs.frozen(kw_only=True)
class PriceLimits:
    """The lowest and highest price of a trading day, both allowed; None: there is none on that side."""

    low: Decimal | None = None
    high: Decimal | None = None


class Split(NamedTuple):
    """A part of a closing quantity, and the offset its order must carry."""

    offset: Offset
    quantity: Decimal


def price_limits(reference: Decimal, share: Decimal, *, tick_size: Decimal, to_nearest: bool = False) -> PriceLimits:
    """Return the limits at ``share`` of the ``reference``, the last day's close or settlement.

    They are on the tick inside, or with ``to_nearest`` on the nearest one.
    """
    width = EXACT.multiply(reference, share)
    up, down = (decimal.ROUND_HALF_UP,) * 2 if to_nearest else (decimal.ROUND_CEILING, decimal.ROUND_FLOOR)
    low = _on_tick(EXACT.subtract(reference, width), tick_size, up)
    return PriceLimits(low=low, high=_on_tick(EXACT.add(reference, width), tick_size, down))


def within_limits(price: Decimal, limits: PriceLimits) -> bool:
    """Say whether an order at ``price`` may be sent."""
    return (limits.low is None or price >= limits.low) and (limits.high is None or price <= limits.high)


def sellable(held: Decimal, bought_today: Decimal, *, locked: Decimal = ZERO) -> Decimal:
    """Return what may be sold under T+1: what is held less what was bought today and what open sells hold."""
    return max(EXACT.subtract(EXACT.subtract(held, bought_today), locked), ZERO)


def split_close(
    quantity: Decimal, *, today: Decimal, yesterday: Decimal, today_first: bool = True
) -> tuple[Split, ...]:
    """Return a closing quantity split by the day it was opened on; sizes are not negative.

    Raises:
        ValueError: it is more than is held.
    """
    if quantity > EXACT.add(today, yesterday):
        raise ValueError(f"{quantity} cannot be closed: {today} of today and {yesterday} of earlier days are held")
    parts = [(Offset.CLOSE_TODAY, today), (Offset.CLOSE_YESTERDAY, yesterday)]
    split, left = [], quantity
    for offset, held in parts if today_first else reversed(parts):
        if taken := min(left, held):
            split.append(Split(offset, taken))
            left = EXACT.subtract(left, taken)
    return tuple(split)


def _on_tick(price: Decimal, tick_size: Decimal, rounding: str) -> Decimal:
    ticks = EXACT.divide(price, tick_size).to_integral_value(rounding, context=EXACT)
    return EXACT.multiply(ticks, tick_size)
