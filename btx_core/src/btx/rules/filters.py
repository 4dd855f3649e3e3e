"""From a strategy's number to the venue's grid, and the venue's rules in plain words.

Rounding never refuses: a quantity goes down, a price away from aggression.
Refused is only what no rounding cures, with the rule and the nearest order that
would pass in one sentence.  What a rule looks at beside the order (the average
price, how many orders are open) comes in a :class:`MarketView`; what is not known
there, the venue answers itself.

The rules are those of Binance's ``filters.md`` (github.com/binance/binance-spot-api-docs,
commit 07550e74, read 2026-11): ``PRICE_FILTER`` holds for price and trigger price,
``PERCENT_PRICE_BY_SIDE`` for the price of an order that has one and for no trigger,
``LOT_SIZE`` for quantity and display quantity, ``MARKET_LOT_SIZE`` and the lower limit
of ``NOTIONAL`` for orders without a price as well, and the counts of open orders for one
symbol of one account.  Other venues fill in the fields of Instrument that they have.
"""

import decimal
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, PositionSide, Side
from btx.rules.contracts import quote_value

__all__ = (
    "MarketView",
    "Number",
    "Violation",
    "broken_rules",
    "check",
    "check_quantity",
    "nearest_order",
    "step_of",
    "to_grid_price",
    "to_grid_quantity",
)

Number = float | Decimal | str

# They execute without a price of their own, so the rules for market orders are theirs.
_CLOSING = frozenset({(PositionSide.LONG, Side.SELL), (PositionSide.SHORT, Side.BUY)})
_MARKET_TYPES = frozenset(
    {OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET, OrderType.TRAILING_STOP}
)
_CONDITIONAL_TYPES = frozenset(OrderType) - {OrderType.MARKET, OrderType.LIMIT}  # they wait for a trigger
_CORRECTIONS = 8  # more than there are fields, and rules for each: after these two rules contradict each other
_ONE = Decimal(1)
_SNAP = Decimal("1e-6")  # of a step: what float arithmetic loses is far below, what a user means far above
# The caller's decimal context is nobody's business here; 60 digits hold any quantity over any step.
_EXACT = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)


@attrs.frozen(kw_only=True)
class Violation:
    """A rule that an order breaks; ``text`` names the rule and the nearest order that keeps it."""

    rule: str  # the field of Instrument
    text: str
    field: str | None = None  # of OrderRequest that breaks it, None where no number of the order does
    nearest: Decimal | None = None  # value of that field that would keep this rule, None when there is none


@attrs.frozen(kw_only=True)
class MarketView:
    """What the rules look at beside the order; None is not known, and leaves its rule to the venue.

    Counts and quantities are of one instrument and one account, before the order.
    """

    reference_price: Decimal | None = None  # of the last trade
    average_price: Decimal | None = None  # volume-weighted, over the minutes of the instrument's price band
    open_orders: int | None = None  # those that wait for a trigger included
    open_conditional_orders: int | None = None
    open_iceberg_orders: int | None = None
    position: Decimal | None = None  # base units held, free and locked
    open_buys: Decimal | None = None  # base units that open BUY orders may still buy


_NOTHING_KNOWN = MarketView()


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
    price = _exact(value, "price")
    return _on_grid(price, instrument.tick_at(price), rounding)


def step_of(instrument: Instrument, *, order_type: OrderType) -> Decimal:
    """Return the quantity grid in force: market orders may have a coarser one."""
    if order_type in _MARKET_TYPES and instrument.market_step_size is not None:
        return max(instrument.step_size, instrument.market_step_size)
    return instrument.step_size


def check(
    request: OrderRequest, *, reference_price: Decimal | None = None, view: MarketView = _NOTHING_KNOWN
) -> Violation | None:
    """Return the first rule of its instrument that ``request`` breaks, None when it may be sent.

    ``reference_price`` is short for a view in which nothing else is known.
    """
    if reference_price is not None:
        view = attrs.evolve(view, reference_price=reference_price)
    return next(broken_rules(request, view), None)


def broken_rules(request: OrderRequest, view: MarketView = _NOTHING_KNOWN) -> Iterator[Violation]:
    """Yield every rule of its instrument that ``request`` breaks, at most one of each kind."""
    instrument = request.instrument
    if not instrument.is_trading:
        text = f"{instrument.symbol} is not trading at {instrument.venue} now: wait, or choose another symbol"
        yield Violation(rule="is_trading", text=text)
    found = (
        check_quantity(instrument, request.quantity, order_type=request.order_type),
        _check_price(instrument, "price", request.price),
        _check_price(instrument, "trigger_price", request.trigger_price),
        _check_band(request, view),
        _check_notional(request, view),
        *_check_display(request),
        *_check_counts(request, view),
        _check_position(request, view),
    )
    yield from (violation for violation in found if violation is not None)


def nearest_order(request: OrderRequest, view: MarketView = _NOTHING_KNOWN) -> OrderRequest | None:
    """Return ``request`` with the least changes that keep every rule, None where there is no such order."""
    for _ in range(_CORRECTIONS):
        violation = check(request, view=view)
        if violation is None:
            return request
        if violation.field is None or violation.nearest is None:
            return None
        change: Mapping[str, Any] = {violation.field: violation.nearest}
        request = attrs.evolve(request, **change)
    return None


def check_quantity(
    instrument: Instrument, quantity: Decimal, *, order_type: OrderType, field: str = "quantity"
) -> Violation | None:
    """Return the quantity rule that is broken, None when there is none; zero is below every minimum.

    ``field`` is what the quantity is of an order: its whole, or its ``display_quantity``.
    """
    step = step_of(instrument, order_type=order_type)
    low, high = _quantity_limits(instrument, order_type)
    low = max(low, step)
    label = field.replace("_", " ")
    if quantity < low:
        low = _limit(low, step, decimal.ROUND_CEILING)
        text = f"{_plain(quantity)} is below the minimum {label} of {_plain(low)} {instrument.unit}"
        return _violation(instrument, "min_quantity", f"{text}: order at least that", low, field=field)
    if high is not None and quantity > high:
        high = _limit(high, step, decimal.ROUND_FLOOR)
        text = f"{_plain(quantity)} is above the maximum {label} of {_plain(high)} {instrument.unit}"
        return _violation(instrument, "max_quantity", f"{text}: split the order", high, field=field)
    nearest = _on_grid(quantity, step, decimal.ROUND_FLOOR)
    if quantity != nearest:
        text = f"{_plain(quantity)} is not a multiple of the quantity step {_plain(step)}"
        return _violation(instrument, "step_size", f"{text}: order {_plain(nearest)}", nearest, field=field)
    return None


def _quantity_limits(instrument: Instrument, order_type: OrderType) -> tuple[Decimal, Decimal | None]:
    low, high = instrument.min_quantity, instrument.max_quantity
    if order_type not in _MARKET_TYPES:
        return low, high
    highs = [limit for limit in (high, instrument.market_max_quantity) if limit is not None]
    return max(low, instrument.market_min_quantity or low), min(highs, default=None)


def _check_price(instrument: Instrument, field: str, price: Decimal | None) -> Violation | None:
    if price is None:
        return None
    label, tick = field.replace("_", " "), instrument.tick_at(price)
    low, high = instrument.min_price, instrument.max_price
    if low is not None and price < low:
        low = _limit(low, tick, decimal.ROUND_CEILING)
        text = f"{label} {_plain(price)} is below the minimum price of {_plain(low)}: order at that or above"
        return _violation(instrument, "min_price", text, low, field=field)
    if high is not None and price > high:
        high = _limit(high, tick, decimal.ROUND_FLOOR)
        text = f"{label} {_plain(price)} is above the maximum price of {_plain(high)}: order at that or below"
        return _violation(instrument, "max_price", text, high, field=field)
    nearest = max(_on_grid(price, tick, decimal.ROUND_HALF_EVEN), tick)
    if price != nearest:
        text = f"{label} {_plain(price)} is not a multiple of the tick size {_plain(tick)}"
        return _violation(instrument, "tick_size", f"{text}: order at {_plain(nearest)}", nearest, field=field)
    return None


def _check_band(request: OrderRequest, view: MarketView) -> Violation | None:
    """A price may lie only so far from the market: a trigger may lie anywhere, and a market order has no price.

    A conditional order of a derivative is no order yet: its limit may lie only so far from its own trigger
    (Binance: errors -4183 and -4184, 2026-05-28).
    """
    instrument, band, price = request.instrument, request.instrument.price_band, request.price
    if band is None or price is None:
        return None
    average = view.average_price if band.minutes else view.reference_price
    what = f"the average of {band.minutes} min" if band.minutes else "the last price"
    if instrument.kind.is_margined and request.trigger_price is not None:
        average, what = request.trigger_price, "its trigger price"
    if average is None:
        return None
    is_buy = request.side is Side.BUY
    low = average * (band.bid_down if is_buy else band.ask_down)
    high = average * (band.bid_up if is_buy else band.ask_up)
    if low <= price <= high:
        return None
    if price < low:
        nearest, word = _limit(low, instrument.tick_size, decimal.ROUND_CEILING), "above"
    else:
        nearest, word = _limit(high, instrument.tick_size, decimal.ROUND_FLOOR), "below"
    text = (
        f"price {_plain(price)} is too far from {what}, {_plain(average)}, for a {request.side.value}: "
        f"order at {_plain(nearest)} or {word}"
    )
    return _violation(instrument, "price_band", text, nearest, field="price")


def _check_notional(request: OrderRequest, view: MarketView) -> Violation | None:
    instrument, is_market = request.instrument, request.order_type in _MARKET_TYPES
    price = request.price or view.average_price or view.reference_price
    if price is None:
        return None
    unit = quote_value(instrument, _ONE, price)
    notional = request.quantity * unit
    step = step_of(instrument, order_type=request.order_type)
    worth = f"{_plain(request.quantity)} at {_plain(price)} is worth {_plain(notional)} {instrument.quote}"
    low, high = instrument.min_notional, instrument.max_notional
    counts = (instrument.min_notional_for_market or not is_market) and not _only_reduces(request)
    if low is not None and notional < low and counts:
        nearest = _limit(_EXACT.divide(low, unit), step, decimal.ROUND_CEILING)
        text = f"{worth}, below the minimum of {_plain(low)}: order at least {_plain(nearest)}"
        return _violation(instrument, "min_notional", text, nearest, field="quantity")
    # The value of a market order is a guess, and venues that cap it say so in max_quantity.
    if high is not None and notional > high and not is_market:
        nearest = _limit(_EXACT.divide(high, unit), step, decimal.ROUND_FLOOR)
        text = f"{worth}, above the maximum of {_plain(high)}: order at most {_plain(nearest)}"
        return _violation(instrument, "max_notional", text, nearest, field="quantity")
    return None


def _only_reduces(request: OrderRequest) -> bool:
    """Say whether an order on margin can only make a position smaller: it may be worth as little as that is."""
    return request.reduce_only or (request.position_side, request.side) in _CLOSING


def _check_display(request: OrderRequest) -> Iterator[Violation | None]:
    """An iceberg shows a legal quantity, and does not come in too many parts."""
    instrument, shown, most = request.instrument, request.display_quantity, request.instrument.max_iceberg_parts
    if shown is None:
        return
    yield check_quantity(instrument, shown, order_type=OrderType.LIMIT, field="display_quantity")
    parts = _EXACT.divide(request.quantity, shown).to_integral_value(decimal.ROUND_CEILING, context=_EXACT)
    if most is not None and parts > most:
        least = _limit(_EXACT.divide(request.quantity, Decimal(most)), instrument.step_size, decimal.ROUND_CEILING)
        text = (
            f"{_plain(request.quantity)} shown by {_plain(shown)} comes in {parts} parts, and {most} are allowed: "
            f"show at least {_plain(least)}"
        )
        yield _violation(instrument, "max_iceberg_parts", text, least, field="display_quantity")


def _check_counts(request: OrderRequest, view: MarketView) -> Iterator[Violation]:
    instrument = request.instrument
    counts = (
        ("max_orders", "orders", instrument.max_orders, view.open_orders, True),
        (
            "max_conditional_orders",
            "orders that wait for a trigger",
            instrument.max_conditional_orders,
            view.open_conditional_orders,
            request.order_type in _CONDITIONAL_TYPES,
        ),
        (
            "max_iceberg_orders",
            "iceberg orders",
            instrument.max_iceberg_orders,
            view.open_iceberg_orders,
            request.display_quantity is not None,
        ),
    )
    for rule, what, most, count, is_one in counts:
        if is_one and most is not None and count is not None and count >= most:
            text = f"{instrument.symbol}: {count} {what} are open, and {most} are allowed: cancel one first ({rule})"
            yield Violation(rule=rule, text=text)


def _check_position(request: OrderRequest, view: MarketView) -> Violation | None:
    instrument, most = request.instrument, request.instrument.max_position
    if most is None or view.position is None or view.open_buys is None or request.side is not Side.BUY:
        return None
    room = most - view.position - view.open_buys
    if request.quantity <= room:
        return None
    nearest = _limit(room, step_of(instrument, order_type=request.order_type), decimal.ROUND_FLOOR)
    advice = f"buy at most {_plain(nearest)}" if nearest > 0 else "sell, or cancel an open buy, first"
    text = (
        f"{_plain(view.position)} {instrument.base} held and {_plain(view.open_buys)} being bought leave no room for "
        f"{_plain(request.quantity)} below the maximum position of {_plain(most)}: {advice}"
    )
    return _violation(instrument, "max_position", text, nearest, field="quantity")


def _violation(instrument: Instrument, rule: str, text: str, nearest: Decimal, *, field: str) -> Violation:
    return Violation(
        rule=rule,
        text=f"{instrument.symbol}: {text} ({rule})",
        field=field,
        nearest=nearest if nearest > 0 else None,
    )


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


def _limit(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Return a limit on the grid, on its own side of it to the last digit: nothing snaps."""
    return _EXACT.multiply(_EXACT.divide(value, step).to_integral_value(rounding, context=_EXACT), step)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
