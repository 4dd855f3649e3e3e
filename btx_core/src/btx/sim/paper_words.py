"""A paper order in both languages: what the ports ask for, and what the exchange makes of it."""

import attrs

from btx.errors import FilterError, InsufficientFundsError, OrderNotFoundError, OrderRejectedError, VenueError
from btx.model.order import Fill, Leg, Liquidity, ListKind, OrderList, OrderReport, OrderType
from btx.sim.lists import NewOrderList
from btx.sim.orders import NewOrder, Refusal, Refused, SimFill, SimOrder

__all__ = ("error_of", "fill_of", "new_list", "new_order", "report_of")

_NO_MONEY = frozenset({Refusal.INSUFFICIENT_BALANCE, Refusal.INSUFFICIENT_MARGIN})
_NOT_FOUND = frozenset({Refusal.UNKNOWN_ORDER, Refusal.UNKNOWN_LIST})


def new_order(leg: Leg) -> NewOrder:
    """Return what the exchange is asked for."""
    request = leg.request
    is_trailing = request.order_type is OrderType.TRAILING_STOP
    order_type = request.order_type
    if is_trailing:
        order_type = OrderType.STOP_MARKET if request.price is None else OrderType.STOP_LIMIT
    return NewOrder(
        venue_symbol=request.instrument.venue_symbol,
        side=request.side,
        order_type=order_type,
        time_in_force=request.time_in_force,
        post_only=request.post_only,
        quantity=leg.quantity,
        price=request.price,
        trigger_price=None if is_trailing else request.trigger_price,
        trail_bps=request.trail_bps,
        display_quantity=request.display_quantity,
        client_order_id=leg.client_order_id,
    )


def new_list(order_list: OrderList) -> NewOrderList:
    """Return what the exchange is asked for; the limit of a pair may only make, as at venues with such pairs."""
    first_of_pair = {ListKind.OCO: 0, ListKind.OTOCO: 1, ListKind.OTO: len(order_list.legs)}[order_list.kind]
    orders = []
    for number, leg in enumerate(order_list.legs):
        order = new_order(leg)
        if number >= first_of_pair and order.order_type is OrderType.LIMIT:
            order = attrs.evolve(order, post_only=True)
        orders.append(order)
    return NewOrderList(kind=order_list.kind, orders=tuple(orders), client_list_id=order_list.list_id)


def error_of(refused: Refused) -> VenueError:
    """Return the error that says what the caller may do about a refusal."""
    text = f"paper: {refused}"
    if refused.reason is Refusal.FILTER:
        return FilterError(text)
    if refused.reason in _NO_MONEY:
        return InsufficientFundsError(text)
    if refused.reason in _NOT_FOUND:
        return OrderNotFoundError(text)
    return OrderRejectedError(text)


def report_of(order: SimOrder, *, symbol: str, sequence: int | None = None) -> OrderReport:
    """Return what the exchange says of an order; pushes have a sequence, answers have none."""
    return OrderReport(
        client_order_id=order.client_order_id,
        venue_order_id=str(order.order_id),
        symbol=symbol,
        status=order.status,
        filled=order.executed_quantity,
        sequence=sequence,
        time_ns=order.updated_ns,
        reason=order.reject_reason.value if order.reject_reason is not None else "",
        side=order.side,
        order_type=OrderType.TRAILING_STOP if order.trail_bps is not None else order.order_type,
        quantity=order.quantity,
        price=order.price,
        trigger_price=order.trigger_price,
        position_side=order.position_side,
        reduce_only=order.reduce_only,
        origin=order.origin,
    )


def fill_of(fill: SimFill, *, symbol: str, sequence: int | None = None, is_margined: bool = False) -> Fill:
    """Return one execution; on margin with what it realised."""
    return Fill(
        fill_id=str(fill.trade_id),
        client_order_id=fill.client_order_id,
        venue_order_id=str(fill.order_id),
        symbol=symbol,
        side=fill.side,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_asset=fill.fee_asset,
        liquidity=Liquidity.MAKER if fill.is_maker else Liquidity.TAKER,
        time_ns=fill.time_ns,
        sequence=sequence,
        position_side=fill.position_side,
        realised=fill.realised if is_margined else None,
        origin=fill.origin,
    )
