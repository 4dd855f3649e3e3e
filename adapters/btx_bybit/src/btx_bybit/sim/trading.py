"""Orders: placed, amended and cancelled, one by one and many at once (docs/v5/order, 2025).

Requests are acknowledged; what becomes of an order later is told on the private socket.
"""

from collections.abc import Callable, Mapping
from typing import Any

from btx.model.order import OrderType
from btx.sim.conditionals import SimConditional
from btx.sim.orders import TRIGGER_TYPES, NewOrder, PriceKind, Refused, SimOrder
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import TOO_FEW_LEFT, gone, place_refused
from btx_bybit.sim.listings import CATEGORIES, INVERSE, LINEAR, SPOT
from btx_bybit.sim.params import Param, Raw, choice, integer, invalid, read, text
from btx_bybit.sim.placing import AMENDMENT, ORDER, WHICH, amended_exits, listing_of, new_order
from btx_bybit.sim.rows import TRIGGERS
from btx_bybit.sim.rows import link_id as name_of
from btx_bybit.sim.venue import Answer, Ask, Call, Venue
from btx_bybit.sim.wire import WireError

__all__ = ("CALLS", "is_asked_for")

_MOST = {SPOT: 10, LINEAR: 20, INVERSE: 20}  # orders of a batch
_PLAIN = "Order"  # "If not passed, Order by default": orderFilter of cancel and cancel-all, of spot (2025)
_FILTERS = ("Order", "StopOrder", "tpslOrder", "OcoOrder", "BidirectionalTpslOrder")


def _names(venue: Venue, order: SimOrder | SimConditional) -> JSON:
    return {"orderId": venue.order_id(order), "orderLinkId": name_of(order)}


# --- one order -------------------------------------------------------------------------------------------


def _create(venue: Venue, ask: Ask) -> JSON:
    return _names(venue, _placed(venue, ask.api_key, ask.values, ask.market_ns))


def _placed(venue: Venue, api_key: str, values: Mapping[str, Any], now_ns: int) -> SimOrder | SimConditional:
    listing, order = new_order(venue, api_key, values)
    waits = not venue.is_spot and order.order_type not in {OrderType.LIMIT, OrderType.MARKET}
    placed: SimOrder | SimConditional
    try:
        if waits:
            placed = venue.desk.place_conditional(api_key=api_key, order=order, now_ns=now_ns)
            key = (True, placed.conditional_id)
        else:
            exchange = venue.exchange if venue.is_spot else venue.desk
            placed = exchange.place(api_key=api_key, order=order, now_ns=now_ns)
            key = (False, placed.order_id)
    except Refused as refused:
        raise place_refused(refused, listing, order, last=_compared_with(venue, order)) from refused
    if order.client_order_id is not None:
        venue.link_ids[api_key][order.client_order_id] = key
    return placed


def _compared_with(venue: Venue, order: NewOrder) -> Any:
    if venue.is_spot:
        return venue.last_price(order.venue_symbol)
    return venue.desk.price_of(order.venue_symbol, order.trigger_by)


def _amend(venue: Venue, ask: Ask) -> JSON:
    return _amended(venue, ask.api_key, ask.values, ask.market_ns)


def _amended(venue: Venue, api_key: str, values: Mapping[str, Any], now_ns: int) -> JSON:
    listing, order = listing_of(venue, values), _named(venue, api_key, values)
    if not order.is_open:
        raise gone(is_spot=venue.is_spot)
    if isinstance(order, SimOrder) and "qty" in values and values["qty"] <= order.executed_quantity:
        raise WireError(*TOO_FEW_LEFT)
    if venue.world.faults.on_amendment(what=values["symbol"]):
        # "This request is asynchronous so please use the websocket to confirm the order status", amend-order.mdx: how
        # the matching engine tells that it did not take it is written of cancels alone.
        return _names(venue, order)
    asked = _terms_after(order, values)
    try:
        if isinstance(order, SimConditional):
            _amend_conditional(venue, api_key, order, values, now_ns)
        elif venue.is_spot:
            venue.exchange.modify(
                api_key=api_key,
                venue_symbol=order.venue_symbol,
                order_id=order.order_id,
                price=asked.price,
                quantity=asked.quantity or order.quantity,
                trigger_price=asked.trigger_price,
                now_ns=now_ns,
            )
        else:
            _amend_order(venue, api_key, order, values, now_ns)
    except Refused as refused:
        raise place_refused(refused, listing, asked, last=_compared_with(venue, asked)) from refused
    return _names(venue, order)


def _terms_after(order: SimOrder | SimConditional, values: Mapping[str, Any]) -> NewOrder:
    """Return what an order asks for once it is amended; it is what a refusal speaks of."""
    price = values.get("price", order.price) if order.price is not None else None
    return NewOrder(
        venue_symbol=order.venue_symbol,
        side=order.side,
        order_type=order.order_type,
        quantity=values.get("qty", order.quantity),
        price=price,
        trigger_price=values.get("triggerPrice", order.trigger_price),
        trigger_by=order.trigger_by if isinstance(order, SimConditional) else PriceKind.LAST,
    )


def _amend_conditional(
    venue: Venue, api_key: str, order: SimConditional, values: Mapping[str, Any], now_ns: int
) -> None:
    listing = venue.listing(order.venue_symbol)
    base = values.get("price") or order.price or values.get("triggerPrice") or order.trigger_price
    assert base is not None, "it waits for a price"
    exits = amended_exits(venue, listing, order.exits, values, base=base, side=order.side)
    venue.desk.modify_conditional(
        api_key=api_key,
        conditional_id=order.conditional_id,
        quantity=values.get("qty") if order.quantity is not None else None,
        price=values.get("price") if order.price is not None else None,
        trigger_price=values.get("triggerPrice"),
        trigger_by=TRIGGERS[values["triggerBy"]] if "triggerBy" in values else None,
        exits=exits,
        now_ns=now_ns,
    )


def _amend_order(venue: Venue, api_key: str, order: SimOrder, values: Mapping[str, Any], now_ns: int) -> None:
    assert order.price is not None, "what rests has a price"
    price = values.get("price", order.price)
    listing = venue.listing(order.venue_symbol)
    venue.desk.modify(
        api_key=api_key,
        venue_symbol=order.venue_symbol,
        order_id=order.order_id,
        price=price,
        quantity=values.get("qty", order.quantity),
        exits=amended_exits(venue, listing, order.exits, values, base=price, side=order.side),
        now_ns=now_ns,
    )


def _named(venue: Venue, api_key: str, values: Mapping[str, Any]) -> SimOrder | SimConditional:
    """Return the order a request names.

    Raises:
        WireError: it names none, or one that is not there.
    """
    if not (values.get("orderId") or values.get("orderLinkId")):
        raise WireError(10001, "Missing some parameters that must be filled in, orderId or orderLinkId")
    return venue.find(api_key, values["symbol"], order_id=values.get("orderId"), link_id=values.get("orderLinkId"))


def _cancel(venue: Venue, ask: Ask) -> JSON:
    return _canceled(venue, ask.api_key, ask.values, ask.market_ns)


def _canceled(venue: Venue, api_key: str, values: Mapping[str, Any], now_ns: int) -> JSON:
    listing_of(venue, values)
    order = _named(venue, api_key, values)
    if not order.is_open or (venue.is_spot and values.get("orderFilter", _PLAIN) != _kind_of(order)):
        raise gone(is_spot=venue.is_spot)
    venue.cancel(api_key, order, now_ns)
    return _names(venue, order)


def is_asked_for(venue: Venue, order: SimOrder | SimConditional, ask: Ask) -> bool:
    """Say whether an order is among those of a request: by symbol, coins and ``orderFilter``."""
    instrument = venue.engine.listings[order.venue_symbol].instrument
    is_its = {
        "symbol": order.venue_symbol,
        "baseCoin": instrument.base,
        "settleCoin": instrument.settle,
        "orderFilter": _kind_of(order),
    }
    return all(ask.get(name, value) == value for name, value in is_its.items())


def _kind_of(order: SimOrder | SimConditional) -> str:
    """Return an order's ``orderFilter``; one that has been triggered and is open is an order like others."""
    if isinstance(order, SimOrder):
        has_triggered = order.is_open and order.working_ns is not None
        if order.order_type not in TRIGGER_TYPES or has_triggered:
            return _PLAIN
    kind = order.memo.get("stopOrderType", "")
    return kind if kind in {"tpslOrder", "BidirectionalTpslOrder"} else "StopOrder"


def _cancel_all(venue: Venue, ask: Ask) -> JSON:
    """Of spot only one kind of orders ends, if no other is named those that wait for nothing (cancel-all.mdx, 2025)."""
    if ask["category"] in {"linear", "inverse"} and not {"symbol", "baseCoin", "settleCoin"} & set(ask.values):
        raise WireError(10001, "Missing some parameters that must be filled in, symbol or baseCoin or settleCoin")
    done = []
    if ask["category"] == venue.category:
        if "symbol" in ask.values:
            venue.listing(ask["symbol"])
        orders = [each for each in venue.orders(ask.api_key) if each.is_open and is_asked_for(venue, each, ask)]
        if venue.is_spot:
            kind = ask.get("orderFilter", _PLAIN)
            orders = [each for each in orders if _kind_of(each) == kind]
        venue.cancel_each(ask.api_key, orders, ask.market_ns)
        done = [_names(venue, each) for each in orders]
    return {"list": done, "success": "1"}


# --- many orders -----------------------------------------------------------------------------------------

_One = Callable[[Venue, str, Mapping[str, Any], int], JSON]


def _created(venue: Venue, api_key: str, values: Mapping[str, Any], now_ns: int) -> JSON:
    order = _placed(venue, api_key, values, now_ns)
    return _names(venue, order) | {"createAt": str(now_ns // 1_000_000)}


def _batch(one: _One, params: tuple[Param, ...], nothing: JSON) -> Callable[[Venue, Ask], Answer]:
    """Return what does ``one`` for each order of a request, whatever becomes of the others."""

    def run(venue: Venue, ask: Ask) -> Answer:
        rows, codes = [], []
        if len(ask["request"]) > _MOST.get(ask["category"], _MOST[LINEAR]):
            raise invalid("request")
        for raw in ask["request"]:
            if not isinstance(raw, dict):
                raise invalid("request")
            sent: dict[str, Raw] = {**raw, "category": ask["category"]}
            row = {
                "category": ask["category"],
                "symbol": str(sent.get("symbol", "")),
                "orderId": "",
                "orderLinkId": str(sent.get("orderLinkId", "")),
                **nothing,
            }
            try:
                row |= one(venue, ask.api_key, read(params, sent), ask.market_ns)
                codes.append({"code": 0, "msg": "OK"})
            except WireError as error:
                codes.append({"code": error.code, "msg": error.message})
            rows.append(row)
        return Answer(result={"list": rows}, ext={"list": codes})

    return run


def _requests(name: str, raw: Raw) -> list[Any]:
    if not isinstance(raw, list) or not raw:
        raise invalid(name)
    return raw


_CATEGORY = choice("category", (*CATEGORIES, "option"), error=WireError(10001, "Illegal category"), mandatory=True)
_BATCH = (_CATEGORY, Param(name="request", convert=_requests, mandatory=True))


def _call(
    run: Callable[[Venue, Ask], Any], path: str, params: tuple[Param, ...], *, spot_limit: int = 20, **others: Any
) -> Call:
    rest = ("POST", f"/v5/order/{path}")
    return Call(run=run, rest=rest, params=params, is_signed=True, limit=10, spot_limit=spot_limit, **others)


def _batch_call(one: _One, path: str, params: tuple[Param, ...], **nothing: str) -> Call:
    return _call(_batch(one, params, nothing), path, _BATCH, units=lambda values: len(values["request"]))


def _dcp(venue: Venue, ask: Ask) -> Answer:
    if not 3 <= ask["timeWindow"] <= 300:
        raise invalid("timeWindow")
    product = "SPOT" if venue.is_spot else "DERIVATIVES"
    if ask.get("product", "OPTIONS") == product:
        venue.dcp_window_s[ask.api_key] = ask["timeWindow"]
    return Answer(result={}, message="success")


CALLS: tuple[Call, ...] = (
    _call(_create, "create", ORDER),
    _call(_amend, "amend", AMENDMENT, spot_limit=10),
    _call(_cancel, "cancel", (*WHICH, choice("orderFilter", _FILTERS))),
    _call(
        _cancel_all,
        "cancel-all",
        (_CATEGORY, text("symbol"), text("baseCoin"), text("settleCoin"), choice("orderFilter", _FILTERS)),
    ),
    _batch_call(_created, "create-batch", ORDER, createAt=""),
    _batch_call(_amended, "amend-batch", AMENDMENT),
    _batch_call(_canceled, "cancel-batch", WHICH),
    Call(
        run=_dcp,
        rest=("POST", "/v5/order/disconnected-cancel-all"),
        params=(choice("product", ("OPTIONS", "DERIVATIVES", "SPOT")), integer("timeWindow", mandatory=True)),
        is_signed=True,
        limit=5,
    ),
)
"""Orders."""
