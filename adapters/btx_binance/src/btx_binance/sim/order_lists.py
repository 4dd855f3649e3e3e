"""Order lists: OCO, OTO and OTOCO (rest-api.md and web-socket-api.md, "Order lists", 2026)."""

from collections.abc import Mapping
from typing import Any

from btx.model.order import ListKind
from btx.model.time import from_ms
from btx.sim.exchange import NewOrder, NewOrderList, Refused
from btx.sim.skin.text import JSON
from btx_binance.sim import wire
from btx_binance.sim.params import Param, choice, client_id, decimal, long, symbol
from btx_binance.sim.placing import (
    RESPONSES,
    SELF_TRADE_PREVENTION,
    SIDES,
    canceled_list,
    canceling,
    leg,
    neither,
    new_order,
    strategy,
    time_in_force,
)
from btx_binance.sim.venue import Ask, Call, Security, Venue
from btx_binance.sim.wire import WireError

__all__ = ("CALLS",)

_OCO_TYPES = ("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_NOT_IN_OCO = (-1158, "Order type not supported in OCO.")
_NO_TYPE = (-1116, "Invalid orderType.")
# errors.md: where a type must be, and what is said when it is elsewhere; by (side, first words of the type).
_PLACES: Mapping[tuple[str, str], tuple[str, int, str]] = {
    ("BUY", "LIMIT_MAKER"): ("below", -1165, "A limit order in a buy OCO must be below."),
    ("SELL", "LIMIT_MAKER"): ("above", -1166, "A limit order in a sell OCO must be above."),
    ("BUY", "STOP_LOSS"): ("above", -1196, "A stop loss order in a buy OCO must be above."),
    ("SELL", "STOP_LOSS"): ("below", -1197, "A stop loss order in a sell OCO must be below."),
    ("BUY", "TAKE_PROFIT"): ("below", -1198, "A take profit order in a buy OCO must be below."),
    ("SELL", "TAKE_PROFIT"): ("above", -1199, "A take profit order in a sell OCO must be above."),
}

# --- placing ---------------------------------------------------------------------------------------------

_LEG_NAMES = {
    "Type": "type",
    "ClientOrderId": "newClientOrderId",
    "IcebergQty": "icebergQty",
    "Price": "price",
    "StopPrice": "stopPrice",
    "TrailingDelta": "trailingDelta",
    "TimeInForce": "timeInForce",
    "StrategyId": "strategyId",
    "StrategyType": "strategyType",
}
_ENDINGS = {name: ending for ending, name in _LEG_NAMES.items()}


def _leg(venue: Venue, ask: Ask, prefix: str, *, side: str, quantity: str) -> NewOrder:
    """Read the leg whose parameters begin with ``prefix``; ``side`` and ``quantity`` are the names of shared ones."""
    values = {
        name: ask[f"{prefix}{ending}"] for ending, name in _LEG_NAMES.items() if f"{prefix}{ending}" in ask.values
    }
    values |= {"side": ask[side], "quantity": ask[quantity]}

    def called(name: str) -> str:
        return quantity if name == "quantity" else f"{prefix}{_ENDINGS[name]}"

    return new_order(venue, ask["symbol"], values, called)


def _pair(venue: Venue, ask: Ask, above: str, below: str, *, side: str, quantity: str) -> tuple[NewOrder, NewOrder]:
    """Read the two legs of an OCO, the stop first: so the venue numbers and lists them in all its examples."""
    types = {"above": ask[f"{above}Type"], "below": ask[f"{below}Type"]}
    if set(types.values()) == {"LIMIT_MAKER"}:
        raise WireError(-1168, "At least one OCO order must be contingent.")
    for place, order_type in types.items():
        wanted, code, message = _PLACES[ask[side], order_type.removesuffix("_LIMIT")]
        if place != wanted:
            raise WireError(code, message)
    legs = [_leg(venue, ask, prefix, side=side, quantity=quantity) for prefix in (above, below)]
    return (legs[1], legs[0]) if types["below"].startswith("STOP_LOSS") else (legs[0], legs[1])


def _place(venue: Venue, ask: Ask, kind: ListKind, orders: tuple[NewOrder, ...]) -> JSON:
    venue.meters.order(ask.api_key, venue.world.wire_ns(), units=len(orders))
    asked = NewOrderList(kind=kind, orders=orders, client_list_id=ask.get("listClientOrderId") or venue.made_id())
    try:
        placed, reports = venue.exchange.place_list(api_key=ask.api_key, order_list=asked, now_ns=ask.market_ns)
    except Refused as refused:
        raise wire.place_refused(refused) from refused
    shown = RESPONSES[ask.get("newOrderRespType", "RESULT")]
    return wire.order_list(placed) | {"orderReports": [shown(order) for order in reports]}


def _place_oco(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    return _place(venue, ask, ListKind.OCO, _pair(venue, ask, "above", "below", side="side", quantity="quantity"))


def _place_old_oco(venue: Venue, ask: Ask) -> JSON:
    """The deprecated form: a limit maker on the far side, a stop on the near one."""
    venue.listing(ask["symbol"])
    limit = {
        "side": ask["side"],
        "type": "LIMIT_MAKER",
        **_renamed(
            ask,
            quantity="quantity",
            price="price",
            limitClientOrderId="newClientOrderId",
            limitIcebergQty="icebergQty",
            limitStrategyType="strategyType",
        ),
    }
    stop = {
        "side": ask["side"],
        "type": "STOP_LOSS_LIMIT" if "stopLimitPrice" in ask.values else "STOP_LOSS",
        **_renamed(
            ask,
            quantity="quantity",
            stopLimitPrice="price",
            stopPrice="stopPrice",
            trailingDelta="trailingDelta",
            stopLimitTimeInForce="timeInForce",
            stopClientOrderId="newClientOrderId",
            stopIcebergQty="icebergQty",
            stopStrategyType="strategyType",
        ),
    }
    old_names = {"timeInForce": "stopLimitTimeInForce", "price": "stopLimitPrice", "icebergQty": "stopIcebergQty"}
    legs = (
        new_order(venue, ask["symbol"], stop, lambda name: old_names.get(name, name)),
        new_order(venue, ask["symbol"], limit),
    )
    return _place(venue, ask, ListKind.OCO, legs)


def _renamed(ask: Ask, **names: str) -> dict[str, Any]:
    return {name: ask[sent] for sent, name in names.items() if sent in ask.values}


def _place_oto(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    working = _leg(venue, ask, "working", side="workingSide", quantity="workingQuantity")
    pending = _leg(venue, ask, "pending", side="pendingSide", quantity="pendingQuantity")
    return _place(venue, ask, ListKind.OTO, (working, pending))


def _place_otoco(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    working = _leg(venue, ask, "working", side="workingSide", quantity="workingQuantity")
    pair = _pair(venue, ask, "pendingAbove", "pendingBelow", side="pendingSide", quantity="pendingQuantity")
    return _place(venue, ask, ListKind.OTOCO, (working, *pair))


# --- cancelling and asking -------------------------------------------------------------------------------


def _cancel(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    which = _which(ask, "listClientOrderId")
    cancel_id = ask.get("newClientOrderId") or venue.made_id()
    try:
        found = venue.exchange.order_list(api_key=ask.api_key, **which)
        with canceling(venue, ask, found.order_ids, cancel_id):
            gone = venue.exchange.cancel_list(
                api_key=ask.api_key, venue_symbol=ask["symbol"], **which, now_ns=ask.market_ns
            )
    except Refused as refused:
        raise wire.cancel_refused(refused) from refused
    return canceled_list(venue, ask, gone, cancel_id)


def _query(venue: Venue, ask: Ask) -> JSON:
    which = _which(ask, "origClientOrderId")
    try:
        return wire.order_list(venue.exchange.order_list(api_key=ask.api_key, **which))
    except Refused as refused:
        raise wire.query_refused(refused) from refused


def _which(ask: Ask, name: str) -> dict[str, Any]:
    if "orderListId" not in ask.values and name not in ask.values:
        raise neither("orderListId", name)
    return {"list_id": ask.get("orderListId"), "client_list_id": ask.get(name)}


def _open(venue: Venue, ask: Ask) -> list[JSON]:
    return [wire.order_list(one) for one in venue.exchange.order_lists(api_key=ask.api_key, is_open=True)]


_DAY_MS = 24 * 3600 * 1000
_FOREVER_MS = 2**62


def _all(venue: Venue, ask: Ask) -> list[JSON]:
    times = {"startTime", "endTime"} & ask.values.keys()
    if times and "fromId" in ask.values:
        raise WireError(-1128, "Combination of optional parameters invalid.")
    start_ms, end_ms = ask.get("startTime", 0), ask.get("endTime", _FOREVER_MS)
    if len(times) > 1 and end_ms - start_ms > _DAY_MS:
        raise WireError(-1127, "More than 24 hours between startTime and endTime.")
    shown = [
        wire.order_list(one)
        for one in venue.exchange.order_lists(api_key=ask.api_key)
        if one.list_id >= ask.get("fromId", 0) and from_ms(start_ms) <= one.created_ns < from_ms(end_ms + 1)
    ]
    limit = ask.get("limit", 500)
    return shown[:limit] if times or "fromId" in ask.values else shown[max(len(shown) - limit, 0) :]


# --- the calls -------------------------------------------------------------------------------------------

_LIST_ID = client_id("listClientOrderId")
_ANSWER = (choice("newOrderRespType", RESPONSES), SELF_TRADE_PREVENTION)
_WORKING = (
    *leg("working", types=("LIMIT", "LIMIT_MAKER"), error=_NO_TYPE, triggers=False),
    choice("workingSide", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    decimal("workingQuantity", mandatory=True),
)
_PENDING = (
    choice("pendingSide", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    decimal("pendingQuantity", mandatory=True),
)
_SIDE_AND_SIZE = (
    choice("side", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    decimal("quantity", mandatory=True),
)
_OLD_OCO: tuple[Param, ...] = (
    symbol(),
    _LIST_ID,
    *_SIDE_AND_SIZE,
    client_id("limitClientOrderId"),
    decimal("price", mandatory=True),
    *strategy("limit"),
    decimal("limitIcebergQty"),
    long("trailingDelta"),
    client_id("stopClientOrderId"),
    decimal("stopPrice", mandatory=True),
    *strategy("stop"),
    decimal("stopLimitPrice"),
    decimal("stopIcebergQty"),
    time_in_force("stopLimitTimeInForce"),
    *_ANSWER,
)

CALLS: tuple[Call[Venue], ...] = (
    Call(
        run=_place_oco,
        rest=("POST", "/api/v3/orderList/oco"),
        method="orderList.place.oco",
        params=(
            symbol(),
            _LIST_ID,
            *_SIDE_AND_SIZE,
            *leg("above", types=_OCO_TYPES, error=_NOT_IN_OCO),
            *leg("below", types=_OCO_TYPES, error=_NOT_IN_OCO),
            *_ANSWER,
        ),
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_place_old_oco,
        rest=("POST", "/api/v3/order/oco"),
        method="orderList.place",
        params=_OLD_OCO,
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_place_oto,
        rest=("POST", "/api/v3/orderList/oto"),
        method="orderList.place.oto",
        params=(
            symbol(),
            _LIST_ID,
            *_WORKING,
            *_PENDING,
            *leg("pending", types=wire.ORDER_TYPES, error=_NO_TYPE),
            *_ANSWER,
        ),
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_place_otoco,
        rest=("POST", "/api/v3/orderList/otoco"),
        method="orderList.place.otoco",
        params=(
            symbol(),
            _LIST_ID,
            *_WORKING,
            *_PENDING,
            *leg("pendingAbove", types=_OCO_TYPES, error=_NOT_IN_OCO),
            *leg("pendingBelow", types=_OCO_TYPES, error=_NOT_IN_OCO),
            *_ANSWER,
        ),
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_cancel,
        rest=("DELETE", "/api/v3/orderList"),
        method="orderList.cancel",
        params=(symbol(), long("orderListId"), _LIST_ID, client_id("newClientOrderId")),
        security=Security.SIGNED,
    ),
    Call(
        run=_query,
        rest=("GET", "/api/v3/orderList"),
        method="orderList.status",
        params=(long("orderListId"), client_id("origClientOrderId")),
        weight=4,
        security=Security.SIGNED,
    ),
    Call(
        run=_all,
        rest=("GET", "/api/v3/allOrderList"),
        method="allOrderLists",
        params=(long("fromId"), long("startTime"), long("endTime"), long("limit", maximum=1000)),
        weight=20,
        security=Security.SIGNED,
    ),
    Call(
        run=_open,
        rest=("GET", "/api/v3/openOrderList"),
        method="openOrderLists.status",
        weight=6,
        security=Security.SIGNED,
    ),
)
