"""Reading one order out of a request, be it the request's only order or a leg of a list."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from btx.model.order import Side, TimeInForce
from btx.sim.exchange import NewOrder, SimOrder, SimOrderList
from btx.sim.skin.text import JSON
from btx_binance.sim import wire
from btx_binance.sim.params import Param, choice, client_id, decimal, long, missing
from btx_binance.sim.venue import Ask, Venue
from btx_binance.sim.wire import WireError

__all__ = (
    "RESPONSES",
    "SELF_TRADE_PREVENTION",
    "SIDES",
    "canceled_list",
    "canceling",
    "leg",
    "neither",
    "new_order",
    "strategy",
    "time_in_force",
)

SIDES = tuple(side.value for side in Side)
RESPONSES = {"ACK": wire.order_ack, "RESULT": wire.order_result, "FULL": wire.order_full}
"""``newOrderRespType`` and what it makes of an order."""
SELF_TRADE_PREVENTION = choice("selfTradePreventionMode", wire.SELF_TRADE_PREVENTION_MODES)

# rest-api.md, "Additional mandatory parameters based on type"; the trigger is a rule of its own below.
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity",),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price"),
    "TAKE_PROFIT": ("quantity",),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price"),
}
_LIMITS = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
_TRIGGERED = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_POSSIBLE = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice", "trailingDelta", "icebergQty")
_POSITIVE = {
    "quantity": "Invalid quantity.",
    "quoteOrderQty": "Invalid quantity.",
    "price": "Invalid price.",
    "stopPrice": "Invalid price.",
}
_STRATEGY_TYPE_MIN = 1_000_000


def time_in_force(name: str) -> Param:
    """How long an order lives; of the venue's own ones only."""
    return choice(name, ("GTC", "IOC", "FOK"), error=(-1115, "Invalid timeInForce."))


def strategy(prefix: str = "") -> tuple[Param, Param]:
    """The two numbers a client may label an order with."""
    name = f"{prefix}Strategy" if prefix else "strategy"
    return long(f"{name}Id"), long(f"{name}Type")


def leg(prefix: str, *, types: Iterable[str], error: tuple[int, str], triggers: bool = True) -> tuple[Param, ...]:
    """The parameters of one leg of a list, all but its side and quantity."""
    trigger = (decimal(f"{prefix}StopPrice"), long(f"{prefix}TrailingDelta")) if triggers else ()
    return (
        choice(f"{prefix}Type", types, error=error, mandatory=True),
        client_id(f"{prefix}ClientOrderId"),
        decimal(f"{prefix}IcebergQty"),
        decimal(f"{prefix}Price"),
        *trigger,
        time_in_force(f"{prefix}TimeInForce"),
        *strategy(prefix),
    )


def new_order(
    venue: Venue, symbol: str, values: Mapping[str, Any], called: Callable[[str], str] = lambda name: name
) -> NewOrder:
    """Return the order that ``values`` ask for, under the names ``POST /api/v3/order`` has.

    ``called`` gives the name a parameter has in the request, for errors.

    Raises:
        WireError: -1102, -1106, -1114, -1013, -1134, -1160 or -2010; a parameter
            the type needs is missing, or one is sent that it does not take.
    """
    order_type: str = values["type"]
    _check_presence(values, order_type, called)
    for name, message in _POSITIVE.items():
        if values.get(name, 1) <= 0:
            raise WireError(-1013, message)
    if values.get("strategyType", _STRATEGY_TYPE_MIN) < _STRATEGY_TYPE_MIN:
        raise WireError(-1134, "strategyType was less than 1000000.")
    if values.get("icebergQty") and values.get("timeInForce", "GTC") != "GTC":
        raise _not_gtc(called)
    meaning, post_only = wire.ORDER_TYPES[order_type]
    return NewOrder(
        venue_symbol=symbol,
        side=Side(values["side"]),
        order_type=meaning,
        post_only=post_only,
        time_in_force=TimeInForce(values.get("timeInForce", "GTC")),
        quantity=values.get("quantity"),
        quote_quantity=values.get("quoteOrderQty"),
        price=values.get("price"),
        trigger_price=values.get("stopPrice"),
        trail_bps=values.get("trailingDelta"),
        display_quantity=values.get("icebergQty") or None,
        client_order_id=values.get("newClientOrderId") or venue.made_id(),
    )


def _check_presence(values: Mapping[str, Any], order_type: str, called: Callable[[str], str]) -> None:
    for name in _NEEDED[order_type]:
        if name not in values:
            raise missing(called(name))
    if order_type == "MARKET" and not {"quantity", "quoteOrderQty"} & values.keys():
        raise neither("quantity", "quoteOrderQty")
    if order_type in _TRIGGERED and not {"stopPrice", "trailingDelta"} & values.keys():
        raise neither(called("stopPrice"), called("trailingDelta"))
    taken = {*_NEEDED[order_type]}
    if order_type == "MARKET":
        taken |= {"quantity"} if "quantity" in values else {"quoteOrderQty"}
    if order_type in _TRIGGERED:
        taken |= {"stopPrice", "trailingDelta"}
    if order_type in _LIMITS:
        taken.add("icebergQty")
    for name in _POSSIBLE:
        if name in values and name not in taken:
            raise _not_required(name, called(name))


def neither(name: str, other: str) -> WireError:
    """Return the error for a request that sends none of two parameters."""
    return WireError(-1102, f"Param '{name}' or '{other}' must be sent, but both were empty/null!")


def _not_required(name: str, called: str) -> WireError:
    if name == "timeInForce":
        return WireError(-1114, "TimeInForce parameter sent when not required.")
    return WireError(-1106, f"Parameter '{called}' sent when not required.")


def _not_gtc(called: Callable[[str], str]) -> WireError:
    name, tif = called("icebergQty"), called("timeInForce")
    if name == "icebergQty":
        return WireError(-2010, "Unsupported order combination")
    return WireError(-1160, f"Parameter '{name}' is not supported if '{tif}' is not GTC.")


# --- cancelling --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def canceling(venue: Venue, ask: Ask, order_ids: Iterable[int], cancel_id: str) -> Iterator[None]:
    """Let the stream report the cancels of these orders under the id the cancel gave itself.

    The engine does not know that id.
    """
    keys = [(ask.api_key, order_id) for order_id in order_ids]
    venue.cancel_ids.update(dict.fromkeys(keys, cancel_id))
    try:
        yield
    finally:
        for key in keys:
            venue.cancel_ids.pop(key, None)


def canceled_list(venue: Venue, ask: Ask, order_list: SimOrderList, cancel_id: str) -> JSON:
    """Return the response to the cancel of a list: the list, and a report of each order that the cancel ended."""
    orders = [_order(venue, ask, order_list, order_id) for order_id in order_list.order_ids]
    reports = [wire.canceled(order, cancel_id) for order in orders if order.status.value == "CANCELED"]
    return wire.order_list(order_list) | {"orderReports": reports}


def _order(venue: Venue, ask: Ask, order_list: SimOrderList, order_id: int) -> SimOrder:
    return venue.exchange.order(api_key=ask.api_key, venue_symbol=order_list.venue_symbol, order_id=order_id)
