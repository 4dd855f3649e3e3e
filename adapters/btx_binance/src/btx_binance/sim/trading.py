"""Orders, the account, and its history: the calls a key signs."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from btx.model.order import Side, Status, TimeInForce
from btx.model.time import NS_PER_HOUR, from_ms
from btx.sim.exchange import NewOrder, Refused, SimOrder
from btx_binance.sim import wire
from btx_binance.sim.params import (
    Raw,
    boolean,
    choice,
    client_id,
    decimal,
    long,
    missing,
    symbol,
)
from btx_binance.sim.venue import Ask, Call, Security, Venue
from btx_binance.sim.wire import JSON, WireError

__all__ = ("CALLS",)

# --- placing ---------------------------------------------------------------------------------------------

# rest-api.md, "Additional mandatory parameters based on type".
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}
_POSSIBLE = ("timeInForce", "quantity", "quoteOrderQty", "price", "stopPrice")
_FURTHER: Mapping[str, tuple[str, ...]] = {"MARKET": ("quantity", "quoteOrderQty")}
# What exchangeInfo says every symbol does without.
_UNSUPPORTED = {"trailingDelta": "Trailing stop", "icebergQty": "Iceberg"}
_FULL_BY_DEFAULT = frozenset({"MARKET", "LIMIT"})
_RESPONSES = {"ACK": wire.order_ack, "RESULT": wire.order_result, "FULL": wire.order_full}
_SIDES = tuple(side.value for side in Side)
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
_STRATEGY_TYPE_MIN = 1_000_000

_ORDER = (
    symbol(),
    choice("side", _SIDES, error=(-1117, "Invalid side."), mandatory=True),
    choice("type", wire.ORDER_TYPES, error=(-1116, "Invalid orderType."), mandatory=True),
    choice("timeInForce", _TIMES_IN_FORCE, error=(-1115, "Invalid timeInForce.")),
    decimal("quantity"),
    decimal("quoteOrderQty"),
    decimal("price"),
    client_id("newClientOrderId"),
    long("strategyId"),
    long("strategyType"),
    decimal("stopPrice"),
    long("trailingDelta"),
    decimal("icebergQty"),
    choice("newOrderRespType", _RESPONSES),
    choice("selfTradePreventionMode", wire.SELF_TRADE_PREVENTION_MODES),
)


def _new_order(venue: Venue, ask: Ask) -> NewOrder:
    order_type: str = ask["type"]
    _check_fields(ask, order_type)
    meaning, post_only = wire.ORDER_TYPES[order_type]
    return NewOrder(
        venue_symbol=ask["symbol"],
        side=Side(ask["side"]),
        order_type=meaning,
        post_only=post_only,
        time_in_force=TimeInForce(ask.get("timeInForce", "GTC")),
        quantity=ask.get("quantity"),
        quote_quantity=ask.get("quoteOrderQty"),
        price=ask.get("price"),
        trigger_price=ask.get("stopPrice"),
        client_order_id=ask.get("newClientOrderId") or venue.made_id(),
    )


def _check_fields(ask: Ask, order_type: str) -> None:
    """Check which parameters the type needs and takes, before the engine sees anything.

    Raises:
        WireError: -1102, -1106, -1114, -1013, -1134 or -2010.
    """
    for name, kind in _UNSUPPORTED.items():
        if ask.get(name):
            raise WireError(-2010, f"{kind} orders are not supported for this symbol.")
    _check_presence(ask, order_type)
    for name, message in _POSITIVE.items():
        if ask.get(name, 1) <= 0:
            raise WireError(-1013, message)
    if ask.get("strategyType", _STRATEGY_TYPE_MIN) < _STRATEGY_TYPE_MIN:
        raise WireError(-1134, "strategyType was less than 1000000.")


def _check_presence(ask: Ask, order_type: str) -> None:
    for name in _NEEDED[order_type]:
        if name not in ask.values:
            raise missing(name)
    if order_type == "MARKET" and not {"quantity", "quoteOrderQty"} & ask.values.keys():
        raise WireError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
    taken = {*_NEEDED[order_type], *_FURTHER.get(order_type, ())}
    if "quantity" in ask.values:
        taken.discard("quoteOrderQty")
    for name in _POSSIBLE:
        if name in ask.values and name not in taken:
            raise _not_required(name)


_POSITIVE = {
    "quantity": "Invalid quantity.",
    "quoteOrderQty": "Invalid quantity.",
    "price": "Invalid price.",
    "stopPrice": "Invalid price.",
}


def _not_required(name: str) -> WireError:
    if name == "timeInForce":
        return WireError(-1114, "TimeInForce parameter sent when not required.")
    return WireError(-1106, f"Parameter '{name}' sent when not required.")


def _place(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    order = _new_order(venue, ask)
    venue.meters.order(ask.api_key, venue.world.wire_ns())
    try:
        placed = venue.exchange.place(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise wire.place_refused(refused) from refused
    default = "FULL" if ask["type"] in _FULL_BY_DEFAULT else "ACK"
    return _RESPONSES[ask.get("newOrderRespType", default)](placed)


def _test(venue: Venue, ask: Ask) -> JSON:
    listing = venue.listing(ask["symbol"])
    order = _new_order(venue, ask)
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


def _cancel(venue: Venue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    try:
        order = _find(venue, ask)
    except Refused as refused:
        raise wire.cancel_refused(refused) from refused
    wanted = ask.get("cancelRestrictions")
    if wanted is not None and order.status in _RESTRICTIONS.values() and order.status is not _RESTRICTIONS[wanted]:
        raise WireError(-2011, "Order was not canceled due to cancel restrictions.")
    return _cancel_one(venue, ask, order, ask.get("newClientOrderId") or venue.made_id())


def _cancel_one(venue: Venue, ask: Ask, order: SimOrder, cancel_id: str) -> JSON:
    # The stream reports a cancel under the id the cancel gave itself; the engine does not know that id.
    venue.cancel_ids[ask.api_key, order.order_id] = cancel_id
    try:
        gone = venue.exchange.cancel(
            api_key=ask.api_key,
            venue_symbol=order.venue_symbol,
            order_id=order.order_id,
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise wire.cancel_refused(refused) from refused
    finally:
        del venue.cancel_ids[ask.api_key, order.order_id]
    return wire.canceled(gone, cancel_id)


def _cancel_all(venue: Venue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    orders = venue.exchange.open_orders(api_key=ask.api_key, venue_symbol=ask["symbol"])
    if not orders:
        raise WireError(-2011, "Unknown order sent.")
    cancel_id = venue.made_id()
    return [_cancel_one(venue, ask, order, cancel_id) for order in orders]


# --- asking ----------------------------------------------------------------------------------------------


def _find(venue: Venue, ask: Ask) -> SimOrder:
    order_id, client_order_id = ask.get("orderId"), ask.get("origClientOrderId")
    if order_id is None and client_order_id is None:
        raise WireError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
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


# --- what there is not -----------------------------------------------------------------------------------


def _no_lists(_: Venue, __: Ask) -> JSON:
    raise WireError(-2010, "OCO orders are not supported for this symbol")


def _no_replace(_: Venue, __: Ask) -> JSON:
    raise WireError(-2010, "Order cancel-replace is not supported for this symbol.")


def _none(_: Venue, __: Ask) -> list[JSON]:
    return []


def _coins(venue: Venue, ask: Ask) -> list[JSON]:
    """The coins of the listings, without networks: nothing can be deposited or withdrawn here."""
    held = venue.exchange.balances(api_key=ask.api_key)
    coins = {
        coin
        for listing in venue.exchange.listings.values()
        for coin in (listing.instrument.base, listing.instrument.quote)
    }
    zero = wire.number(None)
    return [
        {
            "coin": coin,
            "depositAllEnable": False,
            "free": wire.number(held[coin].free) if coin in held else zero,
            "freeze": zero,
            "ipoable": zero,
            "ipoing": zero,
            "isLegalMoney": False,
            "locked": wire.number(held[coin].locked) if coin in held else zero,
            "name": coin,
            "networkList": [],
            "storage": zero,
            "trading": True,
            "withdrawAllEnable": False,
            "withdrawing": zero,
        }
        for coin in sorted(coins | set(held))
    ]


def _fee_table(venue: Venue, ask: Ask) -> list[JSON]:
    return [
        {
            "symbol": venue_symbol,
            "makerCommission": wire.number(listing.fees.maker),
            "takerCommission": wire.number(listing.fees.taker),
        }
        for venue_symbol, listing in venue.exchange.listings.items()
        if ask.get("symbol", venue_symbol) == venue_symbol
    ]


_LIMIT = long("limit", maximum=1000)
_ORDER_ID = (long("orderId"), client_id("origClientOrderId"))
_SPAN = (long("startTime"), long("endTime"))


def _open_weight(sent: Mapping[str, Raw]) -> int:
    return 6 if "symbol" in sent else 80


_LIST_PAGE = (long("fromId"), *_SPAN, _LIMIT)

CALLS: tuple[Call, ...] = (
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
            choice("cancelRestrictions", _RESTRICTIONS, error=(-1145, "Invalid cancelRestrictions")),
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
    # What clients ask for besides, answered as an account without it would be.
    Call(run=_none, rest=("GET", "/api/v3/openOrderList"), weight=6, security=Security.SIGNED),
    Call(run=_none, rest=("GET", "/api/v3/allOrderList"), params=_LIST_PAGE, weight=20, security=Security.SIGNED),
    Call(
        run=_coins,
        rest=("GET", "/sapi/v1/capital/config/getall"),
        weight=10,
        security=Security.SIGNED,
    ),
    Call(run=_none, rest=("GET", "/sapi/v1/margin/allPairs"), security=Security.KEY),
    Call(run=_none, rest=("GET", "/sapi/v1/margin/isolated/allPairs"), security=Security.SIGNED),
    Call(
        run=_fee_table,
        rest=("GET", "/sapi/v1/asset/tradeFee"),
        params=(symbol(mandatory=False),),
        security=Security.SIGNED,
    ),
    *(
        Call(run=_no_lists, rest=("POST", f"/api/v3/{path}"), params=None, security=Security.SIGNED)
        for path in ("order/oco", "orderList/oco", "orderList/oto", "orderList/otoco")
    ),
    Call(run=_no_replace, rest=("POST", "/api/v3/order/cancelReplace"), params=None, security=Security.SIGNED),
)
