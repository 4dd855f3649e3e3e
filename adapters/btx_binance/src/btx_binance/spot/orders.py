"""What an order of Binance spot is on the wire: its parameters, those of a list, and what cannot be said."""

from collections.abc import Sequence
from decimal import Decimal

import attrs

from btx.bridges.decimals import plain
from btx.errors import NotSupportedError
from btx.model.order import Leg, ListKind, OrderList, OrderType, Side, TimeInForce

__all__ = ("extras", "list_params", "order_params")

_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP_MARKET: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.TAKE_PROFIT_MARKET: "TAKE_PROFIT",
    OrderType.TAKE_PROFIT_LIMIT: "TAKE_PROFIT_LIMIT",
}
_TRAILING = OrderType.TRAILING_STOP
_LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_TRIGGERED = frozenset(_TYPES) - {OrderType.MARKET, OrderType.LIMIT}
_WITH_TIME_IN_FORCE = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
_WITH_ICEBERG = _WITH_TIME_IN_FORCE | {"LIMIT_MAKER"}
_WORKING_TYPES = frozenset({"LIMIT", "LIMIT_MAKER"})  # of the leg that triggers a list's others
_OF_LISTS = frozenset({"selfTradePreventionMode"})  # extras of a whole list; any other is a leg's
_TIMES_IN_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
}


def extras(leg: Leg) -> dict[str, str]:
    """Return what the user passed through to the venue."""
    return {key: str(value) for key, value in leg.request.params.items()}


def order_params(leg: Leg) -> dict[str, str]:
    """Return the parameters of ``POST order`` but for the kind of answer: states come from the stream, each once."""
    return {
        "symbol": leg.request.instrument.venue_symbol,
        "side": leg.request.side.value,
        "quantity": plain(leg.quantity),
        "newClientOrderId": leg.client_order_id,
        **_terms(leg),
    }


def _terms(leg: Leg, prefix: str = "") -> dict[str, str]:
    """Return an order's type, prices and time in force; of a leg of a list with the prefix the venue gives it."""
    request, order_type = leg.request, _order_type(leg)
    words = {"type": order_type}
    if request.price is not None:
        words["price"] = plain(request.price)
    if request.order_type is _TRAILING:
        if request.trail_bps is None:
            raise NotSupportedError("Binance trails by basis points: a trail in money is kept by the core")
        # Without a stopPrice it follows from the next trade on; with one it would only begin to, there.
        words["trailingDelta"] = str(request.trail_bps)
    elif request.trigger_price is not None:
        words["stopPrice"] = plain(request.trigger_price)
    if request.display_quantity is not None:
        if order_type not in _WITH_ICEBERG or request.time_in_force is not TimeInForce.GTC:
            raise NotSupportedError("an iceberg is an order with a limit whose time in force is GTC")
        words["icebergQty"] = plain(request.display_quantity)
    if order_type in _WITH_TIME_IN_FORCE:
        words["timeInForce"] = _TIMES_IN_FORCE[request.time_in_force]
    return {_prefixed(prefix, name): value for name, value in words.items()}


def _prefixed(prefix: str, name: str) -> str:
    return f"{prefix}{name[0].upper()}{name[1:]}" if prefix else name


def _order_type(leg: Leg) -> str:
    request = leg.request
    if request.time_in_force not in _TIMES_IN_FORCE:
        raise NotSupportedError(f"Binance spot knows no time in force {request.time_in_force.value}")
    if (request.order_type in _LIMIT_TYPES) is (request.price is None) and request.order_type is not _TRAILING:
        raise NotSupportedError(f"a price is for limit orders, and they need one: not {request.order_type.value}")
    if request.order_type in _TRIGGERED and request.trigger_price is None:
        raise NotSupportedError(f"an order of type {request.order_type.value} needs a trigger price")
    if request.order_type is _TRAILING:
        return "STOP_LOSS" if request.price is None else "STOP_LOSS_LIMIT"
    if not request.post_only:
        return _TYPES[request.order_type]
    if request.order_type is not OrderType.LIMIT or request.time_in_force is not TimeInForce.GTC:
        raise NotSupportedError("a post-only order is a limit order that rests: its time in force is GTC")
    return "LIMIT_MAKER"


def list_params(order_list: OrderList) -> tuple[str, dict[str, str]]:
    """Return the endpoint of a list and its parameters: what names a leg has the leg's place before it."""
    first = order_list.legs[0]
    params = {
        "symbol": first.request.instrument.venue_symbol,
        "listClientOrderId": order_list.list_id,
        "newOrderRespType": "ACK",
        **{name: value for leg in order_list.legs for name, value in extras(leg).items() if name in _OF_LISTS},
    }
    if order_list.kind is ListKind.OCO:
        above, below = _above_below(order_list.legs)
        params |= {"side": first.request.side.value, "quantity": plain(first.quantity)}
        return "privatePostOrderListOco", params | _leg_of_pair(above, "above") | _leg_of_pair(below, "below")
    params |= _leg_of_list(first, "working")
    if params["workingType"] not in _WORKING_TYPES:
        raise NotSupportedError(f"a list of Binance begins with a limit order: not {first.request.order_type.value}")
    if order_list.kind is ListKind.OTO:
        return "privatePostOrderListOto", params | _leg_of_list(order_list.legs[1], "pending")
    above, below = _above_below(order_list.legs[1:])
    params |= {"pendingSide": above.request.side.value, "pendingQuantity": plain(above.quantity)}
    pair = _leg_of_pair(above, "pendingAbove") | _leg_of_pair(below, "pendingBelow")
    return "privatePostOrderListOtoco", params | pair


def _leg_of_list(leg: Leg, prefix: str) -> dict[str, str]:
    return {
        f"{prefix}Side": leg.request.side.value,
        f"{prefix}Quantity": plain(leg.quantity),
        **_leg_of_pair(leg, prefix),
    }


def _leg_of_pair(leg: Leg, prefix: str) -> dict[str, str]:
    request = leg.request
    if request.order_type is OrderType.LIMIT and prefix not in {"working", "pending"}:
        # The limit of a pair may only make; the venue has no other.
        leg = attrs.evolve(leg, request=attrs.evolve(request, post_only=True))
    passed = {_prefixed(prefix, name): value for name, value in extras(leg).items() if name not in _OF_LISTS}
    return {**passed, f"{prefix}ClientOrderId": leg.client_order_id, **_terms(leg, prefix)}


def _above_below(legs: Sequence[Leg]) -> tuple[Leg, Leg]:
    """Return a pair by where its orders lie: the one that needs a higher price first."""
    if len({(leg.request.side, leg.quantity) for leg in legs}) > 1:
        raise NotSupportedError("a pair of Binance has one side and one quantity")
    first, second = sorted(legs, key=_level, reverse=True)
    return first, second


def _level(leg: Leg) -> Decimal:
    """Return where an order of a pair acts: a trailing stop below the market sells, above it buys."""
    request = leg.request
    level = request.trigger_price or request.price
    if request.order_type is _TRAILING:
        return Decimal(0) if request.side is Side.SELL else Decimal("Infinity")
    if level is None:
        raise NotSupportedError("an order of a pair has a price or a trigger price")
    return level
