"""The limits a professional asks for first: how large, how much, at what price, how often, and when to stop.

They guard against a slipped digit and a strategy gone wild, not against a bad
trade: with the defaults an unchanged strategy may hold everything it owns in
one instrument.  What only makes a position smaller always passes.
"""

import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from btx.model.order import OrderRequest, OrderType, Side
from btx.model.time import NS_PER_MINUTE
from btx.rules.contracts import notional, quote_value
from btx.rules.margin import max_notional, max_open, order_margin
from btx.rules.wallet import Key, MarginAccount

__all__ = (
    "DAY_START",
    "NO_LIMITS",
    "Exposure",
    "Limits",
    "RiskBreach",
    "check_daily_loss",
    "check_risk",
    "lacking_margin",
)

_ZERO, _ONE, _BPS = Decimal(0), Decimal(1), Decimal(10_000)
DAY_START = "btx.risk"
"""The name under which a journal keeps what the day's loss is measured from."""


@attrs.frozen(kw_only=True)
class Limits:
    """What an order must keep before it leaves; None switches one off.

    Shares are of the account's equity (1 is all of it), the others in units of
    the currency that cash is counted in.  Where a limit is given both ways, both hold.
    """

    order_share: Decimal | None = _ONE  # largest order, of equity
    order_notional: Decimal | None = None
    position_share: Decimal | None = _ONE  # largest position, of equity
    position_notional: Decimal | None = None
    collar_bps: int | None = 500  # worse than the last price
    daily_loss_share: Decimal | None = Decimal("0.05")  # of the day's start
    orders_per_minute: int | None = 60  # of market time

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(Limits):
            value = getattr(self, field.name)
            if value is not None and value <= 0:
                raise ValueError(f"{field.name}={value}: a limit is positive, or None for no limit")


NO_LIMITS = Limits(
    order_share=None, position_share=None, collar_bps=None, daily_loss_share=None, orders_per_minute=None
)
"""Every limit switched off."""


@attrs.frozen(kw_only=True)
class Exposure:
    """What stands beside an order: of one account, whoever orders on it; money in the currency cash is counted in.

    ``pending_buys`` and ``pending_sells`` are what open orders of the
    instrument may still buy and sell in base units (or contracts); of orders of
    which only one can fill, one counts.  ``worst_price`` is where a market order
    of this size would end in the book.
    """

    now_ns: int  # market time
    equity: Decimal
    day_start_equity: Decimal | None = None
    position: Decimal  # base units or contracts, negative when short; in hedge mode of the order's position side
    pending_buys: Decimal = _ZERO
    pending_sells: Decimal = _ZERO
    last_price: Decimal | None = None  # quote units
    worst_price: Decimal | None = None  # quote units
    quote_rate: Decimal = _ONE  # of one quote unit
    order_times_ns: tuple[int, ...] = ()  # when orders left lately, market time


@attrs.frozen(kw_only=True)
class RiskBreach:
    """A limit that an order does not keep; ``text`` has both numbers. ``is_halt``: nothing may be opened any more."""

    rule: str  # the field of Limits
    text: str
    is_halt: bool = False


def check_risk(limits: Limits, request: OrderRequest, exposure: Exposure) -> RiskBreach | None:
    """Return the first limit that ``request`` breaks, None when it may leave; what only reduces always may."""
    if _only_reduces(request, exposure):
        return None
    return (
        check_daily_loss(limits, equity=exposure.equity, day_start_equity=exposure.day_start_equity)
        or _check_pace(limits, exposure)
        or _check_collar(limits, request, exposure)
        or _check_size(limits, request, exposure)
    )


def check_daily_loss(limits: Limits, *, equity: Decimal, day_start_equity: Decimal | None) -> RiskBreach | None:
    """Return the breach of the day's loss; it halts, and there is none while the day's start is not known."""
    share = limits.daily_loss_share
    if share is None or day_start_equity is None or day_start_equity <= 0:
        return None
    loss = (day_start_equity - equity) / day_start_equity
    if loss < share:
        return None
    text = (
        f"equity fell by {_percent(loss)} today, from {_plain(day_start_equity)} to {_plain(equity)}: "
        f"the limit is {_percent(share)} (daily_loss)"
    )
    return RiskBreach(rule="daily_loss_share", text=text, is_halt=True)


def _only_reduces(request: OrderRequest, exposure: Exposure) -> bool:
    """Say whether the position becomes smaller and nothing else, when all that is open fills before."""
    if request.reduce_only:
        return True
    if request.side is Side.SELL:
        return request.quantity <= exposure.position - exposure.pending_sells
    return request.quantity <= -exposure.position - exposure.pending_buys


def _check_pace(limits: Limits, exposure: Exposure) -> RiskBreach | None:
    most = limits.orders_per_minute
    recent = sum(exposure.now_ns - NS_PER_MINUTE < left_ns <= exposure.now_ns for left_ns in exposure.order_times_ns)
    if most is None or recent < most:
        return None
    return RiskBreach(
        rule="orders_per_minute",
        text=f"{recent} orders left within the last minute: the limit is {most} (orders_per_minute)",
    )


def _check_collar(limits: Limits, request: OrderRequest, exposure: Exposure) -> RiskBreach | None:
    """A price may be worse than the market by so much: of an order with a trigger, worse than the trigger."""
    paid = request.price
    if paid is None and request.order_type is OrderType.MARKET:
        paid = exposure.worst_price
    base = request.trigger_price or exposure.last_price
    if limits.collar_bps is None or paid is None or base is None:
        return None
    worse_bps = request.side.sign * (paid - base) / base * _BPS
    if worse_bps <= limits.collar_bps:
        return None
    what = "trigger" if request.trigger_price is not None else "last price"
    return RiskBreach(
        rule="collar_bps",
        text=(
            f"{request.side.value} at {_plain(paid)} is {worse_bps:.0f} bps worse than the {what} {_plain(base)}: "
            f"the limit is {limits.collar_bps} (collar)"
        ),
    )


def _check_size(limits: Limits, request: OrderRequest, exposure: Exposure) -> RiskBreach | None:
    caps: Mapping[str, tuple[Decimal | None, Decimal | None]] = {
        "order": (limits.order_share, limits.order_notional),
        "position": (limits.position_share, limits.position_notional),
    }
    if all(cap is None for pair in caps.values() for cap in pair):
        return None
    price = request.price or request.trigger_price or exposure.worst_price or exposure.last_price
    if price is None:
        symbol = request.instrument.symbol
        return RiskBreach(
            rule="last_price", text=f"{symbol} has no price yet, so no limit can be checked: wait for one"
        )
    unit = quote_value(request.instrument, _ONE, price) * exposure.quote_rate
    amounts = {"order": request.quantity * unit, "position": _position_after(request, exposure) * unit}
    for what, amount in amounts.items():
        share, notional = caps[what]
        if notional is not None and amount > notional:
            text = f"the {what} would be worth {_plain(amount)}: the limit is {_plain(notional)} ({what})"
            return RiskBreach(rule=f"{what}_notional", text=text)
        if share is not None and amount > share * exposure.equity:
            text = (
                f"the {what} would be worth {_plain(amount)}: the limit is {_percent(share)} "
                f"of the equity, {_plain(exposure.equity)} ({what})"
            )
            return RiskBreach(rule=f"{what}_share", text=text)
    return None


def _position_after(request: OrderRequest, exposure: Exposure) -> Decimal:
    """Return how large the position becomes when this order and all open ones of its side fill."""
    if request.side is Side.BUY:
        return exposure.position + exposure.pending_buys + request.quantity
    return -exposure.position + exposure.pending_sells + request.quantity


def lacking_margin(
    account: MarginAccount,
    request: OrderRequest,
    *,
    leverage: int,
    price: Decimal,
    mark_price: Decimal,
    open_orders: Iterable[OrderRequest] = (),
    fee_rate: Decimal = _ZERO,
) -> str | None:
    """Return why the venue would not take an order that opens, for want of margin or by its tiers; None: it should.

    Args:
        account: as it is now; without the tiers of the instrument nothing can be said.
        request: what is asked for; what only reduces is not asked here.
        leverage: of the instrument.
        price: what it is likely to be filled at.
        mark_price: of the instrument.
        open_orders: those of the instrument that open and rest, with what is left of them.
        fee_rate: what the fill would cost.
    """
    instrument, side = request.instrument, request.side
    key = Key(instrument.symbol, request.position_side)
    position, terms = account.positions.get(key), account.terms.get(instrument.symbol)
    held, tiers = position.quantity if position is not None else _ZERO, terms.tiers if terms is not None else ()
    resting = [each for each in open_orders if each.position_side is request.position_side]
    sides = {
        each: [(order.quantity, order.price or order.trigger_price or price) for order in resting if order.side is each]
        for each in Side
    }
    kept = 2 * terms.closing_fee if terms is not None else _ZERO  # to open and to close, in what orders reserve
    fee_rate = max(fee_rate - kept, _ZERO)
    reserve = functools.partial(
        order_margin, instrument, leverage=leverage, held=held, mark_price=mark_price, fee_rate=kept
    )
    reserved = reserve(buys=sides[Side.BUY], sells=sides[Side.SELL])
    available = account.available(instrument.settle, reserved)
    opens = request.quantity - max(-side.sign * held, _ZERO)  # what closes asks for nothing
    if opens <= 0 or not tiers:
        return None
    added = max(side.sign * held, _ZERO) + opens
    limit = max_notional(tiers, leverage)
    if limit is not None and notional(instrument, added, mark_price) > limit:
        return (
            f"at a leverage of {leverage} the venue takes positions of {_plain(limit)} {instrument.settle} at most: "
            "lower the leverage, or order less"
        )
    sides[side].append((request.quantity, price))
    fee = notional(instrument, opens, price) * fee_rate
    # What turns a position over is margined by what the position frees.
    needed = reserve(buys=sides[Side.BUY], sells=sides[Side.SELL]) - reserved + fee
    if needed <= available:
        return None
    most = max_open(
        instrument,
        tiers,
        side=side,
        leverage=leverage,
        available=available,
        price=price,
        mark_price=mark_price,
        fee_rate=fee_rate + kept,
        held=held,
    )
    return (
        f"insufficient margin: {_plain(available)} {instrument.settle} are available, which opens "
        f"{_plain(most)} at a leverage of {leverage}; {_plain(needed)} are needed"
    )


def _percent(share: Decimal) -> str:
    return f"{_plain(share * 100)}%"


def _plain(value: Decimal) -> str:
    """Return a number with six digits or all of its whole part, without an exponent."""
    rounded = round(value, max(0, 5 - value.adjusted())) if value else value
    text = f"{rounded:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
