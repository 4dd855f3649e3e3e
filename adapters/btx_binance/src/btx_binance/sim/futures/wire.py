"""Orders, executions and conditional orders as the futures' REST interface writes them.

developers.binance.com/docs/derivatives (2026-05-28), Important-CM-UM-Integration-Notice
(2026-06-10) and, for how numbers are written, frames recorded at the venue in March 2026.
"""

from collections.abc import Mapping
from decimal import Decimal

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import OrderType, PositionSide, Side, TimeInForce
from btx.model.time import to_ms
from btx.sim.conditionals import SimConditional
from btx.sim.exchange import Amendment, SimFill, SimOrder
from btx.sim.orders import PriceKind
from btx.sim.skin.text import JSON

__all__ = (
    "ALGO_TYPES",
    "PLAIN_TYPES",
    "POSITION_SIDES",
    "SELF_TRADE_PREVENTION",
    "SELF_TRADE_PREVENTION_MODES",
    "TIMES_IN_FORCE",
    "WORKING_TYPES",
    "algo_ack",
    "algo_row",
    "algo_type_text",
    "amendment_row",
    "fill_row",
    "money",
    "order_ack",
    "order_row",
    "order_type_text",
    "pair_of",
    "plain",
    "position_side_text",
    "time_in_force_text",
)

SELF_TRADE_PREVENTION = "EXPIRE_MAKER"
SELF_TRADE_PREVENTION_MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")

PLAIN_TYPES: Mapping[str, OrderType] = {"LIMIT": OrderType.LIMIT, "MARKET": OrderType.MARKET}
"""What ``/order`` takes."""

ALGO_TYPES: Mapping[str, OrderType] = {
    "STOP": OrderType.STOP_LIMIT,
    "STOP_MARKET": OrderType.STOP_MARKET,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT_LIMIT,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
    "TRAILING_STOP_MARKET": OrderType.TRAILING_STOP,
}
"""What the algo endpoints take."""

POSITION_SIDES: Mapping[str, PositionSide] = {
    "BOTH": PositionSide.NET,
    "LONG": PositionSide.LONG,
    "SHORT": PositionSide.SHORT,
}
# (how long it lives, whether it may only make): GTX is "Good Till Crossing".
TIMES_IN_FORCE: Mapping[str, tuple[TimeInForce, bool]] = {
    "GTC": (TimeInForce.GTC, False),
    "IOC": (TimeInForce.IOC, False),
    "FOK": (TimeInForce.FOK, False),
    "GTX": (TimeInForce.GTC, True),
    "GTD": (TimeInForce.GTD, False),
}
WORKING_TYPES: Mapping[str, PriceKind] = {"CONTRACT_PRICE": PriceKind.LAST, "MARK_PRICE": PriceKind.MARK}

_TYPE_TEXTS = {meaning: text for text, meaning in (*PLAIN_TYPES.items(), *ALGO_TYPES.items())}
_POSITION_SIDE_TEXTS = {meaning: text for text, meaning in POSITION_SIDES.items()}
_WORKING_TEXTS = {meaning: text for text, meaning in WORKING_TYPES.items()}
_PERCENT_BPS = Decimal(100)


def plain(value: Decimal | None) -> str:
    """Return a number without an exponent and without zeros at its end; what is absent is 0 on this wire."""
    return f"{value.normalize():f}" if value else "0"


def money(value: Decimal | None) -> str:
    """Return an amount with eight decimals."""
    return f"{value or Decimal(0):.8f}"


def pair_of(instrument: Instrument) -> str:
    """Return the venue's text of a contract's pair."""
    return instrument.base + instrument.quote


def order_type_text(order_type: OrderType) -> str:
    """Return the venue's name of an order type."""
    return _TYPE_TEXTS[order_type]


def position_side_text(side: PositionSide) -> str:
    """Return the venue's name of a position's side."""
    return _POSITION_SIDE_TEXTS[side]


def time_in_force_text(order: SimOrder | SimConditional) -> str:
    """Return how long an order lives, in the venue's words."""
    return "GTX" if order.post_only else order.time_in_force.value


# --- orders ----------------------------------------------------------------------------------------------


def order_ack(order: SimOrder, instrument: Instrument, *, has_averages: bool) -> JSON:
    """Return the response to a placement, a modification or a cancel; averages left it on 2026-06-30."""
    row = _order(order, instrument) | {"cumQty": plain(order.executed_quantity)}
    return row | _averages(order, instrument) if has_averages else row


def order_row(order: SimOrder, instrument: Instrument) -> JSON:
    """Return an order as queries and lists show it."""
    return _order(order, instrument) | _averages(order, instrument) | {"time": to_ms(order.created_ns)}


def _order(order: SimOrder, instrument: Instrument) -> JSON:
    text = order_type_text(order.order_type)
    row: JSON = {
        "orderId": order.order_id,
        "symbol": order.venue_symbol,
        "status": order.status.value,
        "clientOrderId": order.client_order_id,
        "price": plain(order.price),
        "origQty": plain(order.quantity),
        "executedQty": plain(order.executed_quantity),
        "timeInForce": time_in_force_text(order),
        "type": text,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side.value,
        "positionSide": position_side_text(order.position_side),
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": text,
        "priceMatch": "NONE",
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
        "updateTime": to_ms(order.updated_ns),
    }
    if instrument.kind is InstrumentKind.INVERSE:
        return row | {"pair": pair_of(instrument)}
    return row | {"goodTillDate": 0 if order.good_till_ns is None else to_ms(order.good_till_ns)}


def _averages(order: SimOrder, instrument: Instrument) -> JSON:
    average = order.average_price
    shown = {"avgPrice": "0.00000" if average is None else f"{average:.5f}"}
    if instrument.kind is InstrumentKind.INVERSE:
        return shown | {"cumBase": money(order.executed_base)}
    return shown | {"cumQuote": plain(order.executed_quote)}


def fill_row(fill: SimFill, instrument: Instrument) -> JSON:
    """Return one row of ``userTrades``; it has no client order id."""
    is_buy = fill.side is Side.BUY
    row: JSON = {
        "symbol": fill.venue_symbol,
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "side": fill.side.value,
        "price": plain(fill.price),
        "qty": plain(fill.quantity),
        "realizedPnl": money(fill.realised),
        "commission": money(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": to_ms(fill.time_ns),
        "positionSide": position_side_text(fill.position_side),
        "maker": fill.is_maker,
        "buyer": is_buy,
    }
    if instrument.kind is InstrumentKind.INVERSE:
        return row | {
            "pair": pair_of(instrument),
            "marginAsset": instrument.settle,
            "baseQty": money(fill.base_quantity),
        }
    return row | {"quoteQty": plain(fill.quote_quantity)}


def amendment_row(change: Amendment, order: SimOrder, instrument: Instrument, *, number: int) -> JSON:
    """Return one row of ``orderAmendment``: the ``number``-th change of an order."""
    return {
        "amendmentId": change.execution_id,
        "symbol": change.venue_symbol,
        "pair": pair_of(instrument),
        "orderId": change.order_id,
        "clientOrderId": order.client_order_id,
        "time": to_ms(change.time_ns),
        "amendment": {
            "price": {"before": plain(change.old_price), "after": plain(change.new_price)},
            "origQty": {"before": plain(change.old_quantity), "after": plain(change.new_quantity)},
            "count": number,
        },
    }


# --- conditional orders ----------------------------------------------------------------------------------


def algo_ack(conditional: SimConditional) -> JSON:
    """Return the response to a placement at the algo service."""
    trails = conditional.order_type is OrderType.TRAILING_STOP
    return {
        "algoId": conditional.conditional_id,
        "clientAlgoId": conditional.client_order_id,
        "algoType": "CONDITIONAL",
        "orderType": algo_type_text(conditional),
        "symbol": conditional.venue_symbol,
        "side": conditional.side.value,
        "positionSide": position_side_text(conditional.position_side),
        "timeInForce": time_in_force_text(conditional),
        "quantity": plain(conditional.quantity),
        "algoStatus": conditional.state.value,
        "triggerPrice": plain(None if trails else conditional.trigger_price),
        "price": plain(conditional.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": SELF_TRADE_PREVENTION,
        "workingType": _WORKING_TEXTS[conditional.trigger_by],
        "priceMatch": "NONE",
        "closePosition": conditional.close_position,
        "priceProtect": False,
        "reduceOnly": conditional.reduce_only,
        "activatePrice": plain(conditional.trigger_price) if trails and conditional.trigger_price else "",
        "callbackRate": plain(conditional.trail_bps / _PERCENT_BPS) if conditional.trail_bps else "",
        "createTime": to_ms(conditional.created_ns),
        "updateTime": to_ms(conditional.updated_ns),
        "triggerTime": 0 if conditional.triggered_ns is None else to_ms(conditional.triggered_ns),
        "goodTillDate": 0 if conditional.good_till_ns is None else to_ms(conditional.good_till_ns),
    }


def algo_row(conditional: SimConditional, child: SimOrder | None) -> JSON:
    """Return a conditional order as queries and lists show it; ``child`` is the order it made."""
    row = algo_ack(conditional)
    row |= {
        "actualOrderId": "" if child is None else str(child.order_id),
        "actualPrice": "0.00000" if child is None or child.average_price is None else f"{child.average_price:.5f}",
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }
    if child is not None:
        row |= {"actualQty": plain(child.executed_quantity), "actualType": order_type_text(child.order_type)}
    return row


def algo_type_text(conditional: SimConditional) -> str:
    """Return the venue's name of a conditional order's type."""
    return _TYPE_TEXTS[conditional.order_type]
