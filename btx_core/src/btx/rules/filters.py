"""From a strategy's number to the venue's grid, and the venue's rules in plain words.

Rounding never refuses: a quantity goes down, a price away from aggression.
Refused is only what no rounding cures, with the rule and the nearest order that
would pass in one sentence.  These are the rules an instrument states about
itself; what a venue measures on its own (prices far from the market, the number
of open orders) it answers itself.
"""

import decimal
from decimal import Decimal

import attrs

from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, Side

__all__ = ("Number", "Violation", "check", "check_quantity", "step_of", "to_grid_price", "to_grid_quantity")

Number = float | Decimal | str

# They execute without a price of their own, so the rules for market orders are theirs.
_MARKET_TYPES = frozenset(
    {OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET, OrderType.TRAILING_STOP}
)
_SNAP = Decimal("1e-6")  # of a step: what float arithmetic loses is far below, what a user means far above
# The caller's decimal context is nobody's business here; 60 digits hold any quantity over any step.
_EXACT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


@attrs.frozen(kw_only=True)
class Violation:
    """A rule that an order breaks; ``text`` names the rule and the nearest order that keeps it."""

    rule: str  # the field of Instrument
    text: str
    nearest: Decimal | None = None  # quantity or price that would keep this rule


def to_grid_quantity(instrument: Instrument, value: Number, *, order_type: OrderType = OrderType.LIMIT) -> Decimal:
    """Return ``value`` on the quantity grid, rounded down; zero when it is below one step.

    A float is read as the shortest decimal that means it, and within a
    millionth of a step of the grid it is on it: 0.1 + 0.2 is 0.3.

    Raises:
        ValueError: ``value`` is negative, infinite or no number.
    """
    quantity = _exact(value, "quantity")
    if quantity < 0:
        raise ValueError(f"quantity {value!r} is negative: the side of an order is told apart from its size")
    return _on_grid(quantity, step_of(instrument, order_type=order_type), decimal.ROUND_FLOOR)


def to_grid_price(instrument: Instrument, value: Number, *, side: Side) -> Decimal:
    """Return ``value`` on the price grid, away from aggression: a BUY goes down, a SELL up.

    Raises:
        ValueError: ``value`` is infinite or no number.
    """
    rounding = decimal.ROUND_FLOOR if side is Side.BUY else decimal.ROUND_CEILING
    return _on_grid(_exact(value, "price"), instrument.tick_size, rounding)


def step_of(instrument: Instrument, *, order_type: OrderType) -> Decimal:
    """Return the quantity grid in force: market orders may have a coarser one."""
    if order_type in _MARKET_TYPES and instrument.market_step_size is not None:
        return max(instrument.step_size, instrument.market_step_size)
    return instrument.step_size


def check(request: OrderRequest, *, reference_price: Decimal | None) -> Violation | None:
    """Return the first rule of its instrument that ``request`` breaks, None when it may be sent.

    ``reference_price`` (the last or average price) stands in for the price a
    market order does not have; with None its notional is left to the venue.
    """
    instrument = request.instrument
    if not instrument.is_trading:
        text = f"{instrument.symbol} is not trading at {instrument.venue} now: wait, or choose another symbol"
        return Violation(rule="is_trading", text=text)
    return (
        check_quantity(instrument, request.quantity, order_type=request.order_type)
        or _check_price(instrument, "price", request.price)
        or _check_price(instrument, "trigger_price", request.trigger_price)
        or _check_notional(request, reference_price)
    )


def check_quantity(instrument: Instrument, quantity: Decimal, *, order_type: OrderType) -> Violation | None:
    """Return the quantity rule that is broken, None when there is none; zero is below every minimum."""
    step = step_of(instrument, order_type=order_type)
    low, high = _quantity_limits(instrument, order_type)
    low = max(low, step)
    if quantity < low:
        low = _on_grid(low, step, decimal.ROUND_CEILING)
        text = f"{_plain(quantity)} is below the minimum quantity of {_plain(low)} {instrument.base}"
        return _violation(instrument, "min_quantity", f"{text}: order at least that", low)
    if high is not None and quantity > high:
        high = _on_grid(high, step, decimal.ROUND_FLOOR)
        text = f"{_plain(quantity)} is above the maximum quantity of {_plain(high)} {instrument.base}"
        return _violation(instrument, "max_quantity", f"{text}: split the order", high)
    nearest = _on_grid(quantity, step, decimal.ROUND_FLOOR)
    if quantity != nearest:
        text = f"{_plain(quantity)} is not a multiple of the quantity step {_plain(step)}"
        return _violation(instrument, "step_size", f"{text}: order {_plain(nearest)}", nearest)
    return None


def _quantity_limits(instrument: Instrument, order_type: OrderType) -> tuple[Decimal, Decimal | None]:
    low, high = instrument.min_quantity, instrument.max_quantity
    if order_type not in _MARKET_TYPES:
        return low, high
    highs = [limit for limit in (high, instrument.market_max_quantity) if limit is not None]
    return max(low, instrument.market_min_quantity or low), min(highs, default=None)


def _check_price(instrument: Instrument, name: str, price: Decimal | None) -> Violation | None:
    if price is None:
        return None
    label, tick = name.replace("_", " "), instrument.tick_size
    low, high = instrument.min_price, instrument.max_price
    if low is not None and price < low:
        text = f"{label} {_plain(price)} is below the minimum price of {_plain(low)}: order at that or above"
        return _violation(instrument, "min_price", text, low)
    if high is not None and price > high:
        text = f"{label} {_plain(price)} is above the maximum price of {_plain(high)}: order at that or below"
        return _violation(instrument, "max_price", text, high)
    nearest = _on_grid(price, tick, decimal.ROUND_HALF_EVEN)
    if price != nearest:
        text = f"{label} {_plain(price)} is not a multiple of the tick size {_plain(tick)}"
        return _violation(instrument, "tick_size", f"{text}: order at {_plain(nearest)}", nearest)
    return None


def _check_notional(request: OrderRequest, reference_price: Decimal | None) -> Violation | None:
    instrument, is_market = request.instrument, request.order_type in _MARKET_TYPES
    price = request.price or reference_price
    if price is None:
        return None
    unit = price * instrument.multiplier
    notional = request.quantity * unit
    step = step_of(instrument, order_type=request.order_type)
    worth = f"{_plain(request.quantity)} at {_plain(price)} is worth {_plain(notional)} {instrument.quote}"
    low, high = instrument.min_notional, instrument.max_notional
    if low is not None and notional < low and (instrument.min_notional_for_market or not is_market):
        nearest = _on_grid(_EXACT.divide(low, unit), step, decimal.ROUND_CEILING)
        text = f"{worth}, below the minimum of {_plain(low)}: order at least {_plain(nearest)}"
        return _violation(instrument, "min_notional", text, nearest)
    # The value of a market order is a guess, and venues that cap it say so in max_quantity.
    if high is not None and notional > high and not is_market:
        nearest = _on_grid(_EXACT.divide(high, unit), step, decimal.ROUND_FLOOR)
        text = f"{worth}, above the maximum of {_plain(high)}: order at most {_plain(nearest)}"
        return _violation(instrument, "max_notional", text, nearest)
    return None


def _violation(instrument: Instrument, rule: str, text: str, nearest: Decimal) -> Violation:
    return Violation(rule=rule, text=f"{instrument.symbol}: {text} ({rule})", nearest=nearest)


def _exact(value: Number, name: str) -> Decimal:
    # float() first: numpy's floats are floats whose repr is not a number.
    text = repr(float(value)) if isinstance(value, float) else str(value)
    try:
        exact = Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError(f"{name} {value!r} is no number") from None
    if not exact.is_finite():
        raise ValueError(f"{name} {value!r} is no number an order can have")
    return exact


def _on_grid(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    steps = _EXACT.divide(value, step)
    nearest = steps.to_integral_value(decimal.ROUND_HALF_EVEN, context=_EXACT)
    if abs(_EXACT.subtract(steps, nearest)) > _SNAP:
        nearest = steps.to_integral_value(rounding, context=_EXACT)
    return _EXACT.multiply(nearest, step)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
