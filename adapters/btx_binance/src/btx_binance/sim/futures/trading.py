"""Placing, changing and cancelling the plain orders of the futures markets (trade/rest-api, 2026-05-28)."""

from typing import Any

import attrs

from btx.model.order import Status
from btx.model.time import NS_PER_MS
from btx.sim.exchange import Listing, NewOrder, Refused, SimOrder
from btx.sim.skin.text import JSON
from btx_binance.sim.futures import wire
from btx_binance.sim.futures.errors import amend_refused, cancel_refused, place_refused, query_refused
from btx_binance.sim.futures.listings import contract_of
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.placing import ORDER, SIDES, client_id, new_order
from btx_binance.sim.futures.protocol import Change
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import Param, choice, decimal, long, missing, symbol
from btx_binance.sim.placing import neither
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("ALL_DONE", "MODIFICATION", "ORDER_ID", "ack", "calls", "cancel_one", "modify_one", "own_id", "place_one")

ALL_DONE = {"code": 200, "msg": "The operation of cancel all open order is done."}
_IMMEDIATE = frozenset({"IOC", "FOK"})


def ack(venue: FuturesVenue, order: SimOrder) -> JSON:
    """Return the response to whatever was done with an order."""
    listing = venue.listing(order.venue_symbol)
    has_averages = not venue.protocol.has(Change.ONE_ARCHITECTURE)
    return wire.order_ack(order, listing.instrument, has_averages=has_averages)


# --- placing ---------------------------------------------------------------------------------------------


def _place(venue: FuturesVenue, ask: Ask) -> JSON:
    listing, order = new_order(venue, ask.values)
    venue.meters.order(ask.api_key, venue.world.wire_ns())
    return _placed(venue, ask, listing, order, wants_result=_wants_result(ask.values))


def place_one(venue: FuturesVenue, ask: Ask, values: dict[str, Any]) -> JSON:
    """Place one order of a batch, which was counted already.

    Raises:
        WireError: it was not taken.
    """
    listing, order = new_order(venue, values)
    return _placed(venue, ask, listing, order, wants_result=_wants_result(values))


def _wants_result(values: Any) -> bool:
    """Tell whether the end of the order is told with it: of market orders, and limits that end at once."""
    is_immediate = values["type"] == "MARKET" or values.get("timeInForce") in _IMMEDIATE
    return is_immediate and values.get("newOrderRespType", "ACK") == "RESULT"


def _placed(venue: FuturesVenue, ask: Ask, listing: Listing, order: NewOrder, *, wants_result: bool) -> JSON:
    _check_bound(venue, listing, order)
    try:
        placed = venue.desk.place(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise place_refused(refused, listing, order, venue.mark_price(order.venue_symbol)) from refused
    return ack(venue, placed if wants_result else _as_taken(placed, ask.market_ns))


def _as_taken(order: SimOrder, now_ns: int) -> SimOrder:
    """Return an order as it was before it met the book: an acknowledgement says no more."""
    return attrs.evolve(
        order,
        status=Status.NEW,
        executed_quantity=0 * order.quantity,
        executed_quote=0 * order.quantity,
        executed_base=0 * order.quantity,
        fills=(),
        updated_ns=now_ns,
    )


def _check_bound(venue: FuturesVenue, listing: Listing, order: NewOrder) -> None:
    """Refuse a market order that would trade too far from the mark (exchangeInfo, marketTakeBound)."""
    if order.price is not None:
        return
    quote, mark = venue.market.quote(listing.venue_symbol), venue.mark_price(listing.venue_symbol)
    best = quote.ask_price if order.side.sign > 0 else quote.bid_price
    if abs(best - mark) > mark * contract_of(listing.instrument).take_bound:
        raise WireError(-4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit.")


def _test(venue: FuturesVenue, ask: Ask) -> JSON:
    listing, order = new_order(venue, ask.values)
    _check_bound(venue, listing, order)
    try:
        venue.desk.test(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise place_refused(refused, listing, order, venue.mark_price(order.venue_symbol)) from refused
    return {}


# --- cancelling and modifying ----------------------------------------------------------------------------


def own_id(ask_values: Any) -> dict[str, Any]:
    """Return which order is meant: ``orderId`` prevails where both ids are sent.

    Raises:
        WireError: -1102, neither was sent.
    """
    if "orderId" in ask_values:
        return {"order_id": ask_values["orderId"]}
    if "origClientOrderId" in ask_values:
        return {"client_order_id": ask_values["origClientOrderId"]}
    raise neither("origClientOrderId", "orderId")


def _cancel(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    return cancel_one(venue, ask, **own_id(ask.values))


def cancel_one(venue: FuturesVenue, ask: Ask, **target: Any) -> JSON:
    """Cancel one order of the request's symbol.

    Raises:
        WireError: -2011, it is not open.
    """
    try:
        gone = venue.desk.cancel(api_key=ask.api_key, venue_symbol=ask["symbol"], **target, now_ns=ask.market_ns)
    except Refused as refused:
        raise cancel_refused(refused) from refused
    return ack(venue, gone)


def _cancel_all(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    venue.desk.cancel_all(api_key=ask.api_key, venue_symbol=ask["symbol"], now_ns=ask.market_ns)
    return ALL_DONE


def _count_down(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    wait_ms = ask["countdownTime"]
    deadline_ns = ask.market_ns + wait_ms * NS_PER_MS if wait_ms else None
    venue.desk.set_countdown(api_key=ask.api_key, venue_symbol=ask["symbol"], deadline_ns=deadline_ns)
    return {"symbol": ask["symbol"], "countdownTime": str(wait_ms)}


def _modify(venue: FuturesVenue, ask: Ask) -> JSON:
    own_id(ask.values)
    _check_complete(venue, ask.values)
    venue.meters.order(ask.api_key, venue.world.wire_ns())
    return modify_one(venue, ask, ask.values)


def _check_complete(venue: FuturesVenue, values: Any) -> None:
    """Price and quantity are both needed; at COIN-M one of them was enough before 2026-06-30."""
    if venue.dialect.is_inverse and not venue.protocol.has(Change.ONE_ARCHITECTURE):
        if not {"quantity", "price"} & values.keys():
            raise neither("quantity", "price")
        return
    for name in ("quantity", "price"):
        if name not in values:
            raise missing(name)


def modify_one(venue: FuturesVenue, ask: Ask, values: Any) -> JSON:
    """Modify one order, alone or of a batch.

    Raises:
        WireError: nothing was done.
    """
    listing = venue.listing(values["symbol"])
    target = own_id(values)
    _check_complete(venue, values)
    try:
        before = venue.desk.order(api_key=ask.api_key, venue_symbol=listing.venue_symbol, **target)
    except Refused as refused:
        raise query_refused(refused) from refused
    if before.side.value != values["side"]:
        raise WireError(-2013, "Order does not exist.")
    if before.price is None:
        raise WireError(-5025, "Only limit order is supported.")
    price, quantity = values.get("price", before.price), values.get("quantity", before.quantity)
    wanted = NewOrder(
        venue_symbol=listing.venue_symbol,
        side=before.side,
        order_type=before.order_type,
        quantity=quantity,
        price=price,
    )
    try:
        order, _ = venue.desk.modify(
            api_key=ask.api_key,
            venue_symbol=listing.venue_symbol,
            order_id=before.order_id,
            price=price,
            quantity=quantity,
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise amend_refused(refused, listing, wanted, venue.mark_price(listing.venue_symbol)) from refused
    return ack(venue, order) | {"pair": wire.pair_of(listing.instrument)}


ORDER_ID = (long("orderId"), client_id("origClientOrderId"))
"""How an order that is there is named."""

MODIFICATION = (
    symbol(),
    *ORDER_ID,
    choice("side", SIDES, error=(-1117, "Invalid side."), mandatory=True),
    decimal("quantity"),
    decimal("price"),
    choice("priceMatch", ("NONE",), error=(-5037, "Invalid price match")),
)
"""What a modification may carry."""


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls that do something to orders of a market."""
    root = f"{dialect.prefix}/v1"

    def call(run: Any, verb: str, path: str, params: tuple[Param, ...], **terms: Any) -> Call[FuturesVenue]:
        terms.setdefault("weight", 1)
        return Call(run=run, rest=(verb, f"{root}/{path}"), params=params, security=Security.SIGNED, **terms)

    countdown = (symbol(), long("countdownTime", mandatory=True))
    return (
        call(_place, "POST", "order", ORDER, weight=0, counts_orders=True, method="order.place"),
        call(_test, "POST", "order/test", ORDER, weight=0),
        call(_modify, "PUT", "order", MODIFICATION, weight=0, counts_orders=True, method="order.modify"),
        call(_cancel, "DELETE", "order", (symbol(), *ORDER_ID), method="order.cancel"),
        call(_cancel_all, "DELETE", "allOpenOrders", (symbol(),)),
        call(_count_down, "POST", "countdownCancelAll", countdown, weight=10),
    )
