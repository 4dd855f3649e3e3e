"""A paper account on margin in both languages: what the ports ask for and are told, and what the exchange has."""

from collections.abc import Mapping
from decimal import Decimal

from btx.model.account import AccountUpdate, Balance, Booking, PositionReport
from btx.model.derivatives import MarginMode
from btx.model.order import Leg, OrderReport, OrderType, Status
from btx.sim.conditionals import ConditionalState, SimConditional
from btx.sim.margin_events import AccountEvent, SimBooking
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import NewOrder, SimPosition

__all__ = ("booking_of", "conditional_report", "new_margin_order", "position_report", "update_of")

_STATUS: Mapping[ConditionalState, Status] = {
    ConditionalState.NEW: Status.NEW,
    ConditionalState.TRIGGERING: Status.NEW,
    ConditionalState.TRIGGERED: Status.NEW,
    ConditionalState.CANCELED: Status.CANCELED,
    ConditionalState.REJECTED: Status.REJECTED,
    ConditionalState.EXPIRED: Status.EXPIRED,
}


def new_margin_order(leg: Leg) -> NewOrder:
    """Return what the exchange is asked for."""
    request = leg.request
    is_trailing = request.order_type is OrderType.TRAILING_STOP
    return NewOrder(
        venue_symbol=request.instrument.venue_symbol,
        side=request.side,
        order_type=request.order_type,
        time_in_force=request.time_in_force,
        post_only=request.post_only,
        quantity=leg.quantity,
        price=request.price,
        trigger_price=None if is_trailing else request.trigger_price,
        trail_bps=request.trail_bps,
        display_quantity=request.display_quantity,
        client_order_id=leg.client_order_id,
        position_side=request.position_side,
        reduce_only=request.reduce_only,
        good_till_ns=request.expires_ns,
    )


def conditional_report(conditional: SimConditional, *, symbol: str, sequence: int | None = None) -> OrderReport | None:
    """Return what there is to say of a conditional order; None once it is its child that says how it stands."""
    status = _STATUS.get(conditional.state)
    if status is None or (conditional.order_id is not None and not status.is_final):
        return None
    return OrderReport(
        client_order_id=conditional.client_order_id,
        venue_order_id=f"algo:{conditional.conditional_id}",
        symbol=symbol,
        status=status,
        filled=Decimal(0),
        sequence=sequence,
        time_ns=conditional.updated_ns,
        reason=conditional.reject_reason.value if conditional.reject_reason is not None else "",
        side=conditional.side,
        order_type=conditional.order_type,
        quantity=conditional.quantity,
        price=conditional.price,
        trigger_price=conditional.trigger_price,
        position_side=conditional.position_side,
        reduce_only=conditional.reduce_only,
    )


def position_report(
    exchange: MarginExchange, position: SimPosition, *, api_key: str, symbol: str, time_ns: int
) -> PositionReport:
    """Return a position as a venue would state it."""
    is_isolated = position.margin_mode is MarginMode.ISOLATED
    return PositionReport(
        symbol=symbol,
        position_side=position.position_side,
        quantity=position.quantity,
        entry_price=position.entry_price,
        mark_price=exchange.mark(position.venue_symbol).mark_price,
        unrealised=exchange.unrealised(position),
        liquidation_price=exchange.liquidation_price(api_key=api_key, position=position),
        leverage=position.leverage,
        margin_mode=position.margin_mode,
        isolated_margin=position.isolated_wallet if is_isolated else None,
        time_ns=time_ns,
    )


def update_of(event: AccountEvent, positions: tuple[PositionReport, ...]) -> AccountUpdate:
    """Return the push of an account that changed."""
    return AccountUpdate(
        balances={asset: Balance(free=purse.wallet, locked=Decimal(0)) for asset, purse in event.wallets.items()},
        positions=positions,
        reason=event.reason,
        time_ns=event.time_ns,
    )


def booking_of(booking: SimBooking, *, symbol: str | None) -> Booking:
    """Return one movement of money."""
    return Booking(
        booking_id=str(booking.booking_id),
        kind=booking.kind,
        asset=booking.asset,
        amount=booking.amount,
        symbol=symbol,
        fill_id=None if booking.trade_id is None else str(booking.trade_id),
        time_ns=booking.time_ns,
    )
