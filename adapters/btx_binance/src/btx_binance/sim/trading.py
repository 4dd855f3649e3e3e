"""Orders, the account, and its history: the calls a key signs."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from btx.model.order import Status
from btx.model.time import NS_PER_HOUR, from_ms
from btx.sim.exchange import Refused, SimOrder
from btx.sim.skin.text import JSON
from btx_binance.sim import order_lists, wire
from btx_binance.sim.params import Raw, boolean, choice, client_id, decimal, long, symbol
from btx_binance.sim.placing import (
    RESPONSES,
    SELF_TRADE_PREVENTION,
    SIDES,
    canceled_list,
    canceling,
    neither,
    new_order,
    strategy,
    time_in_force,
)
from btx_binance.sim.venue import Ask, Call, Security, Venue
from btx_binance.sim.wire import WireError

__all__ = ("CALLS",)

# --- placing ---------------------------------------------------------------------------------------------

_FULL_BY_DEFAULT = frozenset({"MARKET", "LIMIT"})

_ORDER = (
    symbol(),
    choice("side", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    choice("type", wire.ORDER_TYPES, error=(-1116, "Invalid orderType."), mandatory=True),
    time_in_force("timeInForce"),
    decimal("quantity"),
    decimal("quoteOrderQty"),
    decimal("price"),
    client_id("newClientOrderId"),
    *strategy(),
    decimal("stopPrice"),
    long("trailingDelta"),
    decimal("icebergQty"),
    choice("newOrderRespType", RESPONSES),
    SELF_TRADE_PREVENTION,
)


def _place(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    order = new_order(venue, ask["symbol"], ask.values)
    venue.meters.order(ask.api_key, venue.world.wire_ns())
    try:
        placed = venue.exchange.place(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise wire.place_refused(refused) from refused
    return _response(ask)(placed)


def _response(ask: Ask) -> Callable[[SimOrder], JSON]:
    default = "FULL" if ask["type"] in _FULL_BY_DEFAULT else "ACK"
    return RESPONSES[ask.get("newOrderRespType", default)]


def _test(venue: Venue, ask: Ask) -> JSON:
    listing = venue.listing(ask["symbol"])
    order = new_order(venue, ask["symbol"], ask.values)
    try:
        venue.exchange.test(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise wire.place_refused(refused) from refused
    if not ask.get("computeCommissionRates"):
        return {}
    rates = {"maker": wire.number(listing.fees.maker), "taker": wire.number(listing.fees.taker)}
    return {
        "standardCommissionForOrder": rates,
        "specialCommissionForOrder": _NO_RATES,
        "taxCommissionForOrder": _NO_RATES,
        "discount": _DISCOUNT,
    }


_NO_RATES = {"maker": wire.number(None), "taker": wire.number(None)}
_DISCOUNT = {
    "enabledForAccount": False,
    "enabledForSymbol": False,
    "discountAsset": wire.DISCOUNT_ASSET,
    "discount": wire.number(None),
}


def _test_weight(sent: Mapping[str, Raw]) -> int:
    return 20 if str(sent.get("computeCommissionRates", "")).lower() == "true" else 1


# --- cancelling ------------------------------------------------------------------------------------------

_RESTRICTIONS = {"ONLY_NEW": Status.NEW, "ONLY_PARTIALLY_FILLED": Status.PARTIALLY_FILLED}
_RESTRICTION = choice("cancelRestrictions", _RESTRICTIONS, error=(-1145, "Invalid cancelRestrictions"))


def _cancel(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    cancel_id = ask.get("newClientOrderId") or venue.made_id()
    try:
        order = _find(venue, ask)
        return _cancel_one(venue, ask, order, cancel_id, only=_only(ask))
    except Refused as refused:
        raise wire.cancel_refused(refused) from refused


def _only(ask: Ask) -> Status | None:
    wanted = ask.get("cancelRestrictions")
    return None if wanted is None else _RESTRICTIONS[wanted]


def _cancel_one(venue: Venue, ask: Ask, order: SimOrder, cancel_id: str, *, only: Status | None = None) -> JSON:
    """Cancel an order, with the list it is in.

    Raises:
        Refused: it is not open, or not as ``only`` says.
    """
    with canceling(venue, ask, _tied_ids(venue, ask, order), cancel_id):
        gone = venue.exchange.cancel(
            api_key=ask.api_key,
            venue_symbol=order.venue_symbol,
            order_id=order.order_id,
            only=only,
            now_ns=ask.market_ns,
        )
    return _canceled(venue, ask, gone, cancel_id)


def _tied_ids(venue: Venue, ask: Ask, order: SimOrder) -> tuple[int, ...]:
    if order.list_id is None:
        return (order.order_id,)
    return venue.exchange.order_list(api_key=ask.api_key, list_id=order.list_id).order_ids


def _canceled(venue: Venue, ask: Ask, order: SimOrder, cancel_id: str) -> JSON:
    """Return the response to a cancel (web-socket-api.md, "When an order list is canceled" for an order of a list)."""
    if order.list_id is None:
        return wire.canceled(order, cancel_id)
    order_list = venue.exchange.order_list(api_key=ask.api_key, list_id=order.list_id)
    return canceled_list(venue, ask, order_list, cancel_id)


def _cancel_all(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    orders = venue.exchange.open_orders(api_key=ask.api_key, venue_symbol=ask["symbol"])
    if not orders:
        raise WireError(-2011, "Unknown order sent.")
    cancel_id = venue.made_id()
    first_of = {order.list_id: order for order in reversed(orders) if order.list_id is not None}
    alone = [order for order in orders if order.list_id is None]
    return [_cancel_one(venue, ask, order, cancel_id) for order in (*alone, *reversed(first_of.values()))]


# --- replacing and amending ------------------------------------------------------------------------------

_MODES = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
_LIMIT_MODES = ("DO_NOTHING", "CANCEL_ONLY")
_PARTLY_FAILED = (-2021, "Order cancel-replace partially failed.")
_FAILED = (-2022, "Order cancel-replace failed.")
_CONFLICT = 409


def _replace(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    order = new_order(venue, ask["symbol"], ask.values)
    if not {"cancelOrderId", "cancelOrigClientOrderId"} & ask.values.keys():
        raise neither("cancelOrigClientOrderId", "cancelOrderId")
    cancel_id = ask.get("cancelNewClientOrderId") or venue.made_id()
    target = {"order_id": ask.get("cancelOrderId"), "client_order_id": ask.get("cancelOrigClientOrderId")}
    try:
        venue.meters.order(ask.api_key, venue.world.wire_ns())
    except WireError as too_many:
        if ask.get("orderRateLimitExceededMode") != "CANCEL_ONLY":
            raise
        return _cancel_only(venue, ask, target, cancel_id, too_many)
    try:
        with canceling(venue, ask, _target_ids(venue, ask, target), cancel_id):
            came = venue.exchange.replace(
                api_key=ask.api_key,
                order=order,
                **target,
                only=_only(ask),
                stop_on_failure=ask["cancelReplaceMode"] == "STOP_ON_FAILURE",
                now_ns=ask.market_ns,
            )
    except Refused as refused:
        raise wire.place_refused(refused) from refused
    canceled: JSON | WireError
    if came.canceled is not None:
        canceled = _canceled(venue, ask, came.canceled, cancel_id)
    else:
        assert came.cancel_refused is not None
        canceled = wire.cancel_refused(came.cancel_refused)
    placed: JSON | WireError | None = None
    if came.placed is not None:
        placed = _response(ask)(came.placed)
    elif came.place_refused is not None:
        placed = wire.place_refused(came.place_refused)
    return _replaced(canceled, placed)


def _target_ids(venue: Venue, ask: Ask, target: Mapping[str, Any]) -> tuple[int, ...]:
    try:
        order = venue.exchange.order(api_key=ask.api_key, venue_symbol=ask["symbol"], **target)
    except Refused:
        return ()  # the engine will say so
    return _tied_ids(venue, ask, order)


def _cancel_only(venue: Venue, ask: Ask, target: Mapping[str, Any], cancel_id: str, too_many: WireError) -> JSON:
    """Cancel although there are too many new orders to place another."""
    try:
        order = venue.exchange.order(api_key=ask.api_key, venue_symbol=ask["symbol"], **target)
        canceled = _cancel_one(venue, ask, order, cancel_id, only=_only(ask))
    except Refused as refused:
        attempted = too_many if ask["cancelReplaceMode"] == "ALLOW_FAILURE" else None
        return _replaced(wire.cancel_refused(refused), attempted)
    return _replaced(canceled, too_many)


def _replaced(canceled: JSON | WireError, placed: JSON | WireError | None) -> JSON:
    """Return the response to a cancel-replace; None is an order that was not attempted.

    Raises:
        WireError: -2021 one half failed, -2022 both did or the first prevented the second.
    """
    answer: JSON = {
        "cancelResult": _result(canceled),
        "newOrderResult": _result(placed),
        "cancelResponse": canceled.body() if isinstance(canceled, WireError) else canceled,
        "newOrderResponse": placed.body() if isinstance(placed, WireError) else placed,
    }
    failures = (canceled, placed)
    if not any(one is None or isinstance(one, WireError) for one in failures):
        return answer
    if all(one is None or isinstance(one, WireError) for one in failures):
        raise WireError(*_FAILED, data=answer)
    raise WireError(*_PARTLY_FAILED, status=_CONFLICT, data=answer)


def _result(half: JSON | WireError | None) -> str:
    if half is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(half, WireError) else "SUCCESS"


def _amend(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    if ask["newQty"] <= 0:
        raise WireError(-1013, "Invalid quantity.")
    try:
        order, change = venue.exchange.amend(
            api_key=ask.api_key,
            venue_symbol=ask["symbol"],
            order_id=_find(venue, ask).order_id,
            quantity=ask["newQty"],
            new_client_order_id=ask.get("newClientOrderId") or venue.made_id(),
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise wire.amend_refused(refused) from refused
    tied = None if order.list_id is None else venue.exchange.order_list(api_key=ask.api_key, list_id=order.list_id)
    return wire.amended(order, change, tied)


def _amendments(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    changes = [
        change
        for change in venue.exchange.amendments(api_key=ask.api_key, order_id=ask["orderId"])
        if change.venue_symbol == ask["symbol"] and change.execution_id >= ask.get("fromExecutionId", 0)
    ]
    return [wire.amendment_row(change) for change in changes[: ask.get("limit", 500)]]


# --- asking ----------------------------------------------------------------------------------------------


def _find(venue: Venue, ask: Ask) -> SimOrder:
    order_id, client_order_id = ask.get("orderId"), ask.get("origClientOrderId")
    if order_id is None and client_order_id is None:
        raise neither("origClientOrderId", "orderId")
    return venue.exchange.order(
        api_key=ask.api_key,
        venue_symbol=ask["symbol"],
        order_id=order_id,
        client_order_id=client_order_id,
    )


def _query(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    try:
        return wire.order_query(_find(venue, ask))
    except Refused as refused:
        raise wire.query_refused(refused) from refused


def _open_orders(venue: Venue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values:
        venue.listing(ask["symbol"])
    orders = venue.exchange.open_orders(api_key=ask.api_key, venue_symbol=ask.get("symbol"))
    return [wire.order_query(order) for order in orders]


def _all_orders(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    start_ns, end_ns = _span(ask)
    orders = [
        order
        for order in venue.exchange.all_orders(api_key=ask.api_key, venue_symbol=ask["symbol"])
        if start_ns <= order.created_ns <= end_ns and order.order_id >= ask.get("orderId", 0)
    ]
    from_front = "orderId" in ask.values or "startTime" in ask.values
    return [wire.order_query(order) for order in _page(orders, ask, from_front=from_front)]


# rest-api.md, "Account trade list": the combinations beside `symbol` that are supported.
_TRADE_KEYS = frozenset(
    frozenset(keys)
    for keys in (
        (),
        ("orderId",),
        ("startTime",),
        ("endTime",),
        ("fromId",),
        ("startTime", "endTime"),
        ("orderId", "fromId"),
    )
)


def _my_trades(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    keys = frozenset({"orderId", "startTime", "endTime", "fromId"} & ask.values.keys())
    if keys not in _TRADE_KEYS:
        raise WireError(-1128, "Combination of optional parameters invalid.")
    start_ns, end_ns = _span(ask)
    fills = [
        fill
        for fill in venue.exchange.fills(api_key=ask.api_key, venue_symbol=ask["symbol"], order_id=ask.get("orderId"))
        if start_ns <= fill.time_ns <= end_ns and fill.trade_id >= ask.get("fromId", 0)
    ]
    return [wire.fill_row(fill) for fill in _page(fills, ask, from_front=bool(keys & {"fromId", "startTime"}))]


def _trades_weight(sent: Mapping[str, Raw]) -> int:
    return 5 if "orderId" in sent else 20


_FOREVER_NS = 2**63 - 1


def _span(ask: Ask) -> tuple[int, int]:
    start_ns = from_ms(ask.get("startTime", 0))
    end_ns = from_ms(ask["endTime"]) + 999_999 if "endTime" in ask.values else _FOREVER_NS
    if {"startTime", "endTime"} <= ask.values.keys() and end_ns - start_ns > 24 * NS_PER_HOUR + 999_999:
        raise WireError(-1127, "More than 24 hours between startTime and endTime.")
    return start_ns, end_ns


def _page(rows: list[Any], ask: Ask, *, from_front: bool) -> list[Any]:
    limit: int = ask.get("limit", 500)
    return rows[:limit] if from_front else rows[-limit:] if limit else []


# --- the account -----------------------------------------------------------------------------------------


def _account(venue: Venue, ask: Ask) -> JSON:
    fees = next(iter(venue.exchange.listings.values())).fees
    none = wire.number(None)
    return {
        "makerCommission": _per_myriad(fees.maker),
        "takerCommission": _per_myriad(fees.taker),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": wire.number(fees.maker),
            "taker": wire.number(fees.taker),
            "buyer": none,
            "seller": none,
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": ask.market_ns // 1_000_000,
        "accountType": "SPOT",
        "balances": wire.balance_rows(
            venue.exchange.balances(api_key=ask.api_key), omit_zero=ask.get("omitZeroBalances", False)
        ),
        "permissions": ["SPOT"],
        "uid": 1 + list(venue.secrets).index(ask.api_key),
    }


def _per_myriad(rate: Decimal) -> int:
    return int(rate * 10_000)


def _commission(venue: Venue, ask: Ask) -> JSON:
    fees = venue.listing(ask["symbol"]).fees
    sides = {"buyer": wire.number(None), "seller": wire.number(None)}
    return {
        "symbol": ask["symbol"],
        "standardCommission": {
            "maker": wire.number(fees.maker),
            "taker": wire.number(fees.taker),
            **sides,
        },
        "specialCommission": _NO_RATES | sides,
        "taxCommission": _NO_RATES | sides,
        "discount": _DISCOUNT,
    }


def _order_counts(venue: Venue, ask: Ask) -> list[JSON]:
    return venue.meters.order_counts(ask.api_key, venue.world.wire_ns())


_LIMIT = long("limit", maximum=1000)
_ORDER_ID = (long("orderId"), client_id("origClientOrderId"))
_SPAN = (long("startTime"), long("endTime"))


def _open_weight(sent: Mapping[str, Raw]) -> int:
    return 6 if "symbol" in sent else 80


CALLS: tuple[Call[Venue], ...] = (
    Call(
        run=_place,
        rest=("POST", "/api/v3/order"),
        method="order.place",
        params=_ORDER,
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_test,
        rest=("POST", "/api/v3/order/test"),
        method="order.test",
        params=(*_ORDER, boolean("computeCommissionRates")),
        weight=_test_weight,
        security=Security.SIGNED,
    ),
    Call(
        run=_query,
        rest=("GET", "/api/v3/order"),
        method="order.status",
        params=(symbol(), *_ORDER_ID),
        weight=4,
        security=Security.SIGNED,
    ),
    Call(
        run=_cancel,
        rest=("DELETE", "/api/v3/order"),
        method="order.cancel",
        params=(
            symbol(),
            *_ORDER_ID,
            client_id("newClientOrderId"),
            _RESTRICTION,
        ),
        security=Security.SIGNED,
    ),
    Call(
        run=_cancel_all,
        rest=("DELETE", "/api/v3/openOrders"),
        method="openOrders.cancelAll",
        params=(symbol(),),
        security=Security.SIGNED,
    ),
    Call(
        run=_open_orders,
        rest=("GET", "/api/v3/openOrders"),
        method="openOrders.status",
        params=(symbol(mandatory=False),),
        weight=_open_weight,
        security=Security.SIGNED,
    ),
    Call(
        run=_all_orders,
        rest=("GET", "/api/v3/allOrders"),
        method="allOrders",
        params=(symbol(), long("orderId"), *_SPAN, _LIMIT),
        weight=20,
        security=Security.SIGNED,
    ),
    Call(
        run=_my_trades,
        rest=("GET", "/api/v3/myTrades"),
        method="myTrades",
        params=(symbol(), long("orderId"), *_SPAN, long("fromId"), _LIMIT),
        weight=_trades_weight,
        security=Security.SIGNED,
    ),
    Call(
        run=_account,
        rest=("GET", "/api/v3/account"),
        method="account.status",
        params=(boolean("omitZeroBalances"),),
        weight=20,
        security=Security.SIGNED,
    ),
    Call(
        run=_commission,
        rest=("GET", "/api/v3/account/commission"),
        method="account.commission",
        params=(symbol(),),
        weight=20,
        security=Security.SIGNED,
    ),
    Call(
        run=_order_counts,
        rest=("GET", "/api/v3/rateLimit/order"),
        method="account.rateLimits.orders",
        weight=40,
        security=Security.SIGNED,
    ),
    Call(
        run=_replace,
        rest=("POST", "/api/v3/order/cancelReplace"),
        method="order.cancelReplace",
        params=(
            *_ORDER,
            choice("cancelReplaceMode", _MODES, mandatory=True),
            client_id("cancelNewClientOrderId"),
            client_id("cancelOrigClientOrderId"),
            long("cancelOrderId"),
            _RESTRICTION,
            choice("orderRateLimitExceededMode", _LIMIT_MODES),
        ),
        security=Security.SIGNED,
        counts_orders=True,
    ),
    Call(
        run=_amend,
        rest=("PUT", "/api/v3/order/amend/keepPriority"),
        method="order.amend.keepPriority",
        params=(symbol(), *_ORDER_ID, client_id("newClientOrderId"), decimal("newQty", mandatory=True)),
        weight=4,
        security=Security.SIGNED,
    ),
    Call(
        run=_amendments,
        rest=("GET", "/api/v3/order/amendments"),
        method="order.amendments",
        params=(symbol(), long("orderId", mandatory=True), long("fromExecutionId"), _LIMIT),
        weight=4,
        security=Security.SIGNED,
    ),
    *order_lists.CALLS,
)
