"""Trailing stops where the venue has none: a resting stop that is moved as the market moves in its favour."""

from decimal import Decimal

import attrs

from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, Side
from btx.rules.filters import to_grid_price

__all__ = ("first_trigger", "is_emulated", "is_of_position", "moved", "next_trigger")

_BPS = Decimal(10_000)


def is_emulated(request: OrderRequest, *, trailing_bps: tuple[int, int] | None) -> bool:
    """Say whether a request trails and the venue cannot do it; ``trailing_bps`` is the range it can, None: nothing."""
    if request.order_type is not OrderType.TRAILING_STOP:
        return False
    if trailing_bps is None or request.trail_bps is None:
        return True
    low, high = trailing_bps
    return not low <= request.trail_bps <= high


def is_of_position(request: OrderRequest, *, position_trail: tuple[str, str] | None) -> bool:
    """Say whether the trailing stop is meant that a venue keeps with a position, and that closes all of it.

    ``position_trail`` is the param that asks for it, and its value; None: there is no such thing.
    """
    if request.order_type is not OrderType.TRAILING_STOP or position_trail is None:
        return False
    name, value = position_trail
    return bool(request.params.get(name) == value)


def first_trigger(request: OrderRequest, *, price: Decimal) -> Decimal:
    """Return where the stop stands when the market is at ``price``: on the grid, rounded away from the market."""
    trail = request.trail_amount if request.trail_amount is not None else price * Decimal(request.trail_bps or 0) / _BPS
    if request.side is Side.SELL:
        return _positive(to_grid_price(request.instrument, price - trail, side=Side.BUY), request.instrument)
    return to_grid_price(request.instrument, price + trail, side=Side.SELL)


def next_trigger(
    request: OrderRequest, current_trigger: Decimal | None, *, high: Decimal, low: Decimal, close: Decimal
) -> Decimal | None:
    """Return where the stop is to stand after the market was at ``high`` and ``low`` and is at ``close``.

    None: it stays. It moves by a tick at least, and never back. A stop that has
    no trigger yet begins at the last price, ``close``.
    """
    if current_trigger is None:
        return first_trigger(request, price=close)
    best = high if request.side is Side.SELL else low
    trigger = first_trigger(request, price=best)
    gained = trigger - current_trigger if request.side is Side.SELL else current_trigger - trigger
    return trigger if gained >= request.instrument.tick_size else None


def moved(request: OrderRequest, trigger: Decimal) -> OrderRequest:
    """Return the request with its stop at ``trigger``; a limit price keeps its distance to it."""
    price = request.price
    if price is not None and request.trigger_price is not None:
        price = _positive(price + trigger - request.trigger_price, request.instrument)
    return attrs.evolve(request, trigger_price=trigger, price=price)


def _positive(price: Decimal, instrument: Instrument) -> Decimal:
    return max(price, instrument.min_price or instrument.tick_size)
