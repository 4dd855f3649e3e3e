"""Conditional orders on margin: they wait in an id space of their own, hold nothing, and make an order when they wake.

NEW, then TRIGGERING and TRIGGERED when the price is there and its order enters the book, FINISHED when that
order has ended; or CANCELED, REJECTED (the order was refused: mostly for want of margin) or EXPIRED.
The order gets an id of its own and the same client order id.  TRIGGERED says nothing about executions.
"""

import enum
from decimal import Decimal

import attrs

from btx.model.order import OrderType, PositionSide, Side, TimeInForce
from btx.sim.matching import is_triggered, trail_is_triggered
from btx.sim.orders import Exit, Memo, NewOrder, PriceKind, Refusal

__all__ = (
    "CONDITIONAL_TYPES",
    "ConditionalEvent",
    "ConditionalState",
    "SimConditional",
    "child_of",
    "followed",
    "wakes",
)

CONDITIONAL_TYPES = frozenset(
    {
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
        OrderType.TAKE_PROFIT_LIMIT,
        OrderType.TRAILING_STOP,
    }
)
"""Order types that wait for a price, in an id space of their own."""


class ConditionalState(enum.Enum):
    """Where a conditional order is."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_waiting(self) -> bool:
        """Whether its price has not come yet."""
        return self is ConditionalState.NEW


@attrs.frozen(kw_only=True)
class SimConditional:
    """A conditional order as it was at ``updated_ns``.

    ``quantity`` is None with ``close_position``.  A trailing one follows the price since ``trail_ns``, from
    ``trigger_price`` on where it has one; ``trail_price`` is the best since then.  ``order_id`` is the order it made.
    """

    conditional_id: int
    client_order_id: str
    venue_symbol: str
    side: Side
    position_side: PositionSide
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    trigger_by: PriceKind
    trail_bps: int | None
    reduce_only: bool
    close_position: bool
    good_till_ns: int | None
    state: ConditionalState
    created_ns: int
    updated_ns: int
    triggered_ns: int | None = None
    trail_ns: int | None = None
    trail_price: Decimal | None = None
    order_id: int | None = None
    reject_reason: Refusal | None = None
    trail_distance: Decimal | None = None
    exits: tuple[Exit, ...] = ()
    is_exit: bool = False
    pair: str = ""
    memo: Memo = attrs.field(factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether it waits for its price."""
        return self.state.is_waiting

    @property
    def trails(self) -> bool:
        """Whether it follows the price."""
        return self.trail_bps is not None or self.trail_distance is not None


@attrs.frozen(kw_only=True)
class ConditionalEvent:
    """Something happened to a conditional order."""

    api_key: str
    sequence: int  # increases over all accounts of an exchange, with the other events' own
    conditional: SimConditional
    time_ns: int


def followed(conditional: SimConditional, price: Decimal, now_ns: int) -> SimConditional:
    """Return a trailing order after a price: perhaps it begins to follow, perhaps it has a better price."""
    if conditional.trail_price is not None:
        better = max if conditional.side is Side.SELL else min
        return attrs.evolve(conditional, trail_price=better(conditional.trail_price, price))
    start = conditional.trigger_price
    # A sell begins to follow above its activation price, a buy below: like a take profit.
    if start is not None and not is_triggered(
        OrderType.TAKE_PROFIT_MARKET, conditional.side, trigger_price=start, last_price=price
    ):
        return conditional
    return attrs.evolve(conditional, trail_price=price, trail_ns=now_ns)


def wakes(conditional: SimConditional, price: Decimal) -> bool:
    """Tell whether a conditional order wakes up at ``price``; equality wakes."""
    if conditional.trail_distance is not None:
        if conditional.trail_price is None:
            return False
        limit = conditional.trail_price + conditional.side.sign * conditional.trail_distance
        return price >= limit if conditional.side is Side.BUY else price <= limit
    if conditional.trail_bps is not None:
        return conditional.trail_price is not None and trail_is_triggered(
            conditional.side,
            best_price=conditional.trail_price,
            trail_bps=conditional.trail_bps,
            last_price=price,
        )
    assert conditional.trigger_price is not None
    return is_triggered(
        conditional.order_type, conditional.side, trigger_price=conditional.trigger_price, last_price=price
    )


def child_of(conditional: SimConditional, quantity: Decimal) -> NewOrder:
    """Return the order a conditional one makes when it wakes up."""
    is_limit = conditional.price is not None
    return NewOrder(
        venue_symbol=conditional.venue_symbol,
        side=conditional.side,
        order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
        time_in_force=conditional.time_in_force if is_limit else TimeInForce.GTC,
        post_only=conditional.post_only,
        quantity=quantity,
        price=conditional.price,
        client_order_id=conditional.client_order_id,
        position_side=conditional.position_side,
        reduce_only=conditional.reduce_only or conditional.close_position,
        close_position=conditional.close_position,
        good_till_ns=conditional.good_till_ns,
        exits=conditional.exits,
        memo=conditional.memo,
    )
