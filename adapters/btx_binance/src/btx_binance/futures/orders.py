"""What an order of USD-M or COIN-M is on the wire, and what cannot be said.

Sources: "New Order" and "New Algo Order" of https://developers.binance.com/docs/derivatives,
2026-05-28.  Conditional orders are placed apart, at ``algoOrder``, since 2025-12-09 (COIN-M: 2026-06-30).
"""

from collections.abc import Mapping
from decimal import Decimal

from btx.bridges.decimals import plain
from btx.errors import NotSupportedError
from btx.model.order import Leg, OrderRequest, OrderType, PositionSide, Side, TimeInForce, TriggerBy
from btx.model.time import NS_PER_S, to_ms

__all__ = ("amend_params", "is_conditional", "order_params")

_TYPES: Mapping[OrderType, str] = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_LIMIT: "STOP",
    OrderType.STOP_MARKET: "STOP_MARKET",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT_MARKET",
    OrderType.TRAILING_STOP: "TRAILING_STOP_MARKET",
}
_WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_SHORTEST_LIFE_NS = 600 * NS_PER_S  # of a good-till-date order
_OPENING = frozenset({(PositionSide.LONG, Side.BUY), (PositionSide.SHORT, Side.SELL)})


def is_conditional(order_type: OrderType | None) -> bool:
    """Say whether orders of this type wait in the algo service, with ids of their own, until they trigger."""
    return order_type not in {OrderType.MARKET, OrderType.LIMIT}


def order_params(leg: Leg, *, now_ns: int) -> dict[str, str]:
    """Return the parameters of ``POST order``, or of ``POST algoOrder`` for a conditional one.

    What the user passed through (``workingType``, ``priceProtect``, ``closePosition``,
    ``activatePrice``, ...) goes with it; ``closePosition`` takes the place of the quantity.

    Raises:
        NotSupportedError: the market has no such order.
    """
    request = leg.request
    waits = is_conditional(request.order_type)
    words = {
        **{key: _text(value) for key, value in request.params.items()},
        "symbol": request.instrument.venue_symbol,
        "side": request.side.value,
        "type": _TYPES[request.order_type],
        "clientAlgoId" if waits else "newClientOrderId": leg.client_order_id,
        "newOrderRespType": "ACK",
        **_time_in_force(request, now_ns),
        **_prices(request),
        **_position(request),
    }
    if waits:
        words["algoType"] = "CONDITIONAL"
        if request.trigger_by is TriggerBy.MARK:
            words["workingType"] = "MARK_PRICE"
    if words.get("closePosition") == "true":
        words.pop("reduceOnly", None)  # it is one by itself
    else:
        words["quantity"] = plain(leg.quantity)
    return words


def amend_params(leg: Leg, venue_order_id: str | None, new: Leg) -> dict[str, str]:
    """Return the parameters of ``PUT order``: price and whole quantity are both needed, whichever changes.

    Raises:
        NotSupportedError: it is no limit order.
    """
    request = new.request
    if leg.request.order_type is not OrderType.LIMIT or request.price is None:
        raise NotSupportedError("Binance modifies limit orders only: cancel the order and send another")
    named = {"orderId": venue_order_id} if venue_order_id is not None else {"origClientOrderId": leg.client_order_id}
    return {
        "symbol": request.instrument.venue_symbol,
        **named,
        "side": request.side.value,
        "quantity": plain(new.quantity),
        "price": plain(request.price),
    }


def _text(value: object) -> str:
    """Return a parameter as the venue reads it: it knows ``true``, and no ``True``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _prices(request: OrderRequest) -> dict[str, str]:
    if request.display_quantity is not None:
        raise NotSupportedError("the futures of Binance have no icebergs: leave display_quantity out")
    if request.order_type is OrderType.TRAILING_STOP:
        return _trail(request)
    if (request.order_type in _WITH_LIMIT) is (request.price is None) and "priceMatch" not in request.params:
        raise NotSupportedError(f"a price is for limit orders, and they need one: not {request.order_type.value}")
    words = {}
    if request.price is not None:
        words["price"] = plain(request.price)
    if is_conditional(request.order_type):
        if request.trigger_price is None:
            raise NotSupportedError(f"an order of type {request.order_type.value} needs a trigger price")
        words["triggerPrice"] = plain(request.trigger_price)
    return words


def _trail(request: OrderRequest) -> dict[str, str]:
    """``callbackRate`` is in per cent. Without an ``activatePrice`` it follows from now on."""
    if request.trail_bps is None:
        raise NotSupportedError("Binance trails by per cent: a trail in money is kept by the core")
    if request.price is not None:
        raise NotSupportedError("a trailing stop of Binance futures becomes a market order: give it no price")
    return {"callbackRate": plain(Decimal(request.trail_bps) / 100)}


def _position(request: OrderRequest) -> dict[str, str]:
    """Return what says which position is meant: in hedge mode its side, which reduces by itself; else reduceOnly."""
    if request.position_side is PositionSide.NET:
        return {"reduceOnly": "true"} if request.reduce_only else {}
    if request.reduce_only and (request.position_side, request.side) in _OPENING:
        raise NotSupportedError(
            f"a {request.side.value} adds to a {request.position_side.value} position: it cannot be reduce-only"
        )
    return {"positionSide": request.position_side.value}


def _time_in_force(request: OrderRequest, now_ns: int) -> dict[str, str]:
    if request.order_type not in _WITH_LIMIT:
        if request.time_in_force is TimeInForce.GTD:
            raise NotSupportedError("only orders with a limit are good till a time at Binance futures")
        return {}
    if request.post_only:
        if request.time_in_force is not TimeInForce.GTC:
            raise NotSupportedError("a post-only order rests: its time in force is GTC")
        return {"timeInForce": "GTX"}
    if request.time_in_force is not TimeInForce.GTD:
        return {"timeInForce": request.time_in_force.value}
    if request.expires_ns is None or request.expires_ns <= now_ns + _SHORTEST_LIFE_NS:
        raise NotSupportedError("Binance takes good-till-date orders for more than 600 s: let it expire later")
    return {"timeInForce": "GTD", "goodTillDate": str(to_ms(request.expires_ns))}
