"""Margin: what a position is asked to hold, and the price at which that is no longer there.

With n the notional of a position at the mark price, in the settle asset:

- initial margin = n / leverage; maintenance margin = n x rate - amount of the tier n lies in ("cum").
- margin ratio = maintenance margin / margin balance, where the balance is the wallet and what positions would bring.
  Positions are liquidated when it reaches 1: an isolated one by its own wallet, cross ones all together.
- The liquidation price P is where that happens if nothing but this instrument's mark price moves::

      wallet + (profit of others) - (maintenance of others) + sum(profit at P) - sum(maintenance at P) = 0

  Solved for P with the tier that P itself puts the position in, this is Binance's formula (WB - TMM + UPNL + cum -
  side x position x EP) / (position x MMR - side x position), and of COIN-M the same in 1/P.

Source: https://www.binance.com/en/support/faq/b3c689c1f50a44cabb3a84e663b81d93 (USD-M, 2020-08-14, later revised),
https://www.binance.com/en/support/faq/ceccfcfb4e3a45e3b48b0b1bb1a8ae46 (COIN-M, 2021-02-05).
Orders: https://www.binance.com/en/support/faq/87fa7ee33b574f7084d42bd2ce2e463b (cost required to open a position,
2020-07-08, revised after 2024).

Bybit's unified account keeps the fees besides: a position's margins, initial and maintenance, hold that of a taker who
closes it at its bankruptcy price, and orders reserve it twice, to open and to close. With ``closing_rate``,
``with_fee`` and ``fee_rate`` these are the same rules. Source: its help centre, "The New Margin Calculation:
Adjustments and Implications" (2025-09-18): since 2025-09-02 cross margins go by the mark price, and an isolated
position's maintenance margin does, whose fee stays that of the entry price (here it is the mark's too, a hair's breadth
apart). Positions of live accounts, of 2024-06 and 2025-11, have these figures. That orders reserve it twice: copies of
"Order Cost (USDT Contract)", before 2024.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import attrs

from btx.model.derivatives import LeverageTier
from btx.model.instrument import Instrument
from btx.model.order import Side
from btx.rules.contracts import is_inverse, notional, profit
from btx.rules.money import EXACT, ZERO, fine
from btx.rules.positions import Position

__all__ = (
    "bankruptcy_price",
    "closing_rate",
    "initial_margin",
    "liquidation_price_cross",
    "liquidation_price_isolated",
    "maintenance_margin",
    "margin_ratio",
    "max_leverage",
    "max_notional",
    "max_open",
    "open_loss",
    "order_cost",
    "order_margin",
    "tier_of",
    "with_fee",
)

Tiers = Sequence[LeverageTier]
_ONE = Decimal(1)
_INFINITE = Decimal("Infinity")
_NOTHING_KEPT = (LeverageTier(floor=ZERO, max_leverage=1, maintenance_rate=ZERO),)
_SHORT_MARKUP = Decimal("1.0015")  # of the last price, in the cost of a short


def tier_of(tiers: Tiers, notional: Decimal) -> LeverageTier:
    """Return the tier of a notional in the settle asset; what is beyond the last is in the last.

    Raises:
        ValueError: there are no tiers.
    """
    for tier in tiers:
        if tier.cap is None or notional <= tier.cap:
            return tier
    if not tiers:
        raise ValueError("no leverage tiers are known: ask the venue for them first")
    return tiers[-1]


def max_leverage(tiers: Tiers, notional: Decimal) -> int:
    """Return the highest leverage a position of this notional may be set to."""
    return tier_of(tiers, notional).max_leverage


def max_notional(tiers: Tiers, leverage: int) -> Decimal | None:
    """Return the largest notional that may be opened at ``leverage``: zero when none, None when there is no limit."""
    allowed = [tier for tier in tiers if tier.max_leverage >= leverage]
    return max(allowed, key=lambda tier: tier.floor).cap if allowed else ZERO


def initial_margin(notional: Decimal, leverage: int, *, fee_rate: Decimal = ZERO) -> Decimal:
    """Return what a position of this notional is opened with; ``fee_rate`` of it is kept for fees besides."""
    return fine(EXACT.add(EXACT.divide(notional, Decimal(leverage)), EXACT.multiply(notional, fee_rate)))


def closing_rate(position: Position, leverage: int, *, taker: Decimal) -> Decimal:
    """Return what part of its notional a position keeps for the fee of being closed at its bankruptcy price.

    A LINEAR long, and an INVERSE short, is worth less there: 1 - 1/leverage of the notional; the others more.
    """
    is_less = (position.quantity > 0) is not position.inverse
    aside = EXACT.divide(_ONE, Decimal(leverage))
    return EXACT.multiply(taker, EXACT.subtract(_ONE, aside) if is_less else EXACT.add(_ONE, aside))


def with_fee(tiers: Tiers, rate: Decimal) -> tuple[LeverageTier, ...]:
    """Return tiers by which a position must keep ``rate`` of its notional besides; every rule here takes them."""
    return tuple(
        attrs.evolve(tier, maintenance_rate=EXACT.add(tier.maintenance_rate, rate)) if rate else tier for tier in tiers
    )


def maintenance_margin(tiers: Tiers, notional: Decimal) -> Decimal:
    """Return what a position of this notional must keep."""
    tier = tier_of(tiers, notional)
    return EXACT.subtract(EXACT.multiply(notional, tier.maintenance_rate), tier.maintenance_amount)


def margin_ratio(maintenance: Decimal, balance: Decimal) -> Decimal:
    """Return maintenance margin over margin balance: 1 and above is liquidated; infinite when nothing is left."""
    if not maintenance:
        return ZERO
    return EXACT.divide(maintenance, balance) if balance > 0 else _INFINITE


# --- the liquidation price ------------------------------------------------------------------------------


def liquidation_price_isolated(position: Position, *, wallet: Decimal, tiers: Tiers) -> Decimal | None:
    """Return the mark price that liquidates an isolated position with ``wallet`` of its own; None: there is none."""
    return next(iter(_roots([position], wallet, tiers)), None)


def liquidation_price_cross(
    positions: Sequence[Position], *, free: Decimal, tiers: Tiers, mark_price: Decimal
) -> Decimal | None:
    """Return the mark price at which one instrument's cross positions bring the liquidation; None: there is none.

    Args:
        positions: the instrument's own: one, or a long and a short.
        free: the cross wallet of the settle asset, with what all other positions would bring, less what
            they must keep. It may be negative.
        tiers: the instrument's.
        mark_price: the instrument's. A long and a short of nearly one size have a price above and one
            below; the nearer is returned.
    """
    return min(
        _roots(positions, free, tiers), key=lambda price: EXACT.subtract(price, mark_price).copy_abs(), default=None
    )


def bankruptcy_price(position: Position, *, wallet: Decimal) -> Decimal | None:
    """Return the price at which closing an isolated position leaves nothing of its ``wallet``; None: there is none."""
    return liquidation_price_isolated(position, wallet=wallet, tiers=_NOTHING_KEPT)


def _roots(positions: Sequence[Position], free: Decimal, tiers: Tiers) -> Iterator[Decimal]:
    """Yield each price at which nothing is left above the maintenance margin.

    Counted in u, the worth of one unit (the price, of an INVERSE its reciprocal), profit and
    maintenance are straight lines between the caps of the tiers, so each stretch has one root at most.
    """
    held = [each for each in positions if each.quantity]
    if not held:
        return
    inverse = held[0].inverse
    amounts = [EXACT.multiply(each.quantity, each.multiplier) for each in held]
    sizes = [amount.copy_abs() for amount in amounts]
    caps = {EXACT.divide(tier.cap, size) for size in sizes for tier in tiers if tier.cap is not None}
    edges = [ZERO, *sorted(caps), _INFINITE]
    cost, slope = _sum(each.cost for each in held), _sum(amounts)
    if inverse:  # a long earns when it is worth fewer coins
        cost, slope = cost.copy_negate(), slope.copy_negate()
    for low, high in itertools.pairwise(edges):
        inside = EXACT.add(low, _ONE) if high == _INFINITE else EXACT.divide(EXACT.add(low, high), Decimal(2))
        steps = [tier_of(tiers, EXACT.multiply(size, inside)) for size in sizes]
        kept = _sum(EXACT.multiply(size, tier.maintenance_rate) for size, tier in zip(sizes, steps, strict=True))
        above = EXACT.add(EXACT.subtract(free, cost), _sum(tier.maintenance_amount for tier in steps))
        fall = EXACT.subtract(kept, slope)
        if not fall:
            continue
        unit = EXACT.divide(above, fall)
        if low < unit <= high:
            yield EXACT.divide(_ONE, unit) if inverse else unit


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


# --- orders ----------------------------------------------------------------------------------------------


def open_loss(instrument: Instrument, side: Side, quantity: Decimal, *, price: Decimal, mark_price: Decimal) -> Decimal:
    """Return what an order loses at once when it fills at ``price``, valued at the mark price; never negative."""
    gain = profit(instrument, EXACT.multiply(side.sign, quantity), price, mark_price)
    return max(EXACT.minus(gain), ZERO)


def order_cost(
    instrument: Instrument,
    side: Side,
    quantity: Decimal,
    *,
    price: Decimal,
    mark_price: Decimal,
    last_price: Decimal,
    leverage: int,
) -> Decimal:
    """Return what must be available to place an order that opens: its initial margin and its open loss.

    The margin of a short is counted at the highest of its own price, the mark price and 0.15 % above the
    last price: so USD-M does. Of COIN-M that is not written down, there it is the order's own price.
    """
    assumed = price
    if side is Side.SELL and not is_inverse(instrument):
        assumed = max(price, mark_price, EXACT.multiply(last_price, _SHORT_MARKUP))
    margin = initial_margin(notional(instrument, quantity, assumed), leverage)
    return EXACT.add(margin, open_loss(instrument, side, quantity, price=price, mark_price=mark_price))


def order_margin(
    instrument: Instrument,
    *,
    leverage: int,
    held: Decimal,
    mark_price: Decimal,
    buys: Iterable[tuple[Decimal, Decimal]] = (),
    sells: Iterable[tuple[Decimal, Decimal]] = (),
    fee_rate: Decimal = ZERO,
) -> Decimal:
    """Return what open orders reserve beyond the initial margin of the position ``held`` (signed).

    ``buys`` and ``sells`` are (quantity, price) of what rests and may open; orders that only reduce are
    left out by the caller.  Only the larger side counts, with the position: buys of a long, or sells
    beyond twice of it.  In hedge mode ask for each position side by itself, with the orders that open it.
    ``fee_rate`` of what counts is reserved for fees besides.
    """
    here = notional(instrument, held, mark_price)
    worth = here if held >= 0 else EXACT.minus(here)
    most, loss = here, ZERO
    for side, orders in ((Side.BUY, buys), (Side.SELL, sells)):
        total = worth
        for quantity, price in orders:
            total = EXACT.add(total, EXACT.multiply(side.sign, notional(instrument, quantity, price)))
            loss = EXACT.add(loss, open_loss(instrument, side, quantity, price=price, mark_price=mark_price))
        most = max(most, total.copy_abs())
    return EXACT.add(initial_margin(EXACT.subtract(most, here), leverage, fee_rate=fee_rate), loss)


def max_open(
    instrument: Instrument,
    tiers: Tiers,
    *,
    side: Side,
    leverage: int,
    available: Decimal,
    price: Decimal,
    mark_price: Decimal,
    fee_rate: Decimal = ZERO,
    held: Decimal = ZERO,
) -> Decimal:
    """Return the largest quantity an opening order may have, on no grid: by the available balance and by the tiers.

    ``held`` (signed) counts against the tiers' limit where the order adds to it. Each unit costs its
    initial margin, its open loss and the fee at ``fee_rate``.
    """
    one = notional(instrument, _ONE, price)
    cost = EXACT.add(initial_margin(one, leverage), EXACT.multiply(one, fee_rate))
    cost = EXACT.add(cost, open_loss(instrument, side, _ONE, price=price, mark_price=mark_price))
    most = EXACT.divide(max(available, ZERO), cost)
    limit = max_notional(tiers, leverage)
    if limit is None:
        return most
    added = max(EXACT.multiply(side.sign, held), ZERO)
    room = EXACT.subtract(EXACT.divide(limit, notional(instrument, _ONE, mark_price)), added)
    return max(min(most, room), ZERO)
