"""Orders and executions as they are asked for: open, closed, executed (docs/v5/order, 2025)."""

from btx.model.account import BookingKind
from btx.model.time import NS_PER_DAY
from btx.sim.conditionals import SimConditional
from btx.sim.margin_events import SimBooking
from btx.sim.orders import SimFill, SimOrder
from btx.sim.skin.text import JSON
from btx_bybit.sim.instruments import CATEGORY
from btx_bybit.sim.paging import page_of, span_of
from btx_bybit.sim.params import choice, integer, text
from btx_bybit.sim.rows import EXECUTION_TYPES, execution_row, funding_row, is_open, link_id, order_row, order_status
from btx_bybit.sim.trading import is_asked_for
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import WireError

__all__ = ("CALLS", "is_kept")

Order = SimOrder | SimConditional

_RECENT = 500
_KEPT_NS = NS_PER_DAY  # how long order/history tells of what ended without a fill (docs/v5/order/order-list, 2026)
_WEEK_NS = 7 * NS_PER_DAY
_FILTERS = ("Order", "StopOrder", "tpslOrder", "OcoOrder", "BidirectionalTpslOrder")
_EXECUTIONS = ("Trade", "AdlTrade", "Funding", "BustTrade", "Delivery", "Settle", "BlockTrade", "MovePosition")


def _asked(venue: Venue, ask: Ask) -> list[Order]:
    """Return the account's orders that a request names, the latest first."""
    if ask["category"] != venue.category:
        return []
    orders = venue.orders(ask.api_key)
    if "orderId" in ask.values:
        return [each for each in orders if venue.order_id(each) == ask["orderId"]]
    if "orderLinkId" in ask.values:
        return [each for each in orders if link_id(each) == ask["orderLinkId"]]
    return [each for each in orders if is_asked_for(venue, each, ask)]


def _answer(venue: Venue, ask: Ask, orders: list[Order], *, usual: int = 20) -> JSON:
    page, cursor = page_of(orders, ask, usual=usual)
    return {
        "list": [order_row(venue, ask.api_key, each) for each in page],
        "nextPageCursor": cursor,
        "category": ask["category"],
    }


def _realtime(venue: Venue, ask: Ask) -> JSON:
    named = {"symbol", "baseCoin", "settleCoin", "orderId", "orderLinkId"} & set(ask.values)
    if ask["category"] == "linear" and not named:
        raise WireError(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
    orders = _asked(venue, ask)
    if not {"orderId", "orderLinkId"} & set(ask.values):
        closed = [each for each in orders if not is_open(each)][:_RECENT]
        orders = closed if ask.get("openOnly", 0) else [each for each in orders if is_open(each)]
    return _answer(venue, ask, orders)


def _history(venue: Venue, ask: Ask) -> JSON:
    start_ns, end_ns = span_of(ask, most_ns=_WEEK_NS)
    orders = [
        each
        for each in _asked(venue, ask)
        if not is_open(each)
        and start_ns <= each.created_ns <= end_ns
        and is_kept(each, ask.market_ns)
        and ask.get("orderStatus") in {None, order_status(each, is_spot=venue.is_spot)}
    ]
    return _answer(venue, ask, orders)


def is_kept(order: Order, now_ns: int) -> bool:
    """Say whether the history has an order that is over: with a fill always, else for a day."""
    is_filled = isinstance(order, SimOrder) and bool(order.executed_quantity)
    return is_filled or order.updated_ns > now_ns - _KEPT_NS


def _executions(venue: Venue, ask: Ask) -> JSON:
    start_ns, end_ns = span_of(ask, most_ns=_WEEK_NS)
    found: list[SimFill | SimBooking] = []
    kind = ask.get("execType")
    if ask["category"] == venue.category:
        wanted = {each.order_id for each in _asked(venue, ask) if isinstance(each, SimOrder)}
        found += [
            fill
            for fill in venue.engine.fills(api_key=ask.api_key)
            if fill.order_id in wanted
            and start_ns <= fill.time_ns <= end_ns
            and kind in {None, EXECUTION_TYPES[fill.origin]}
        ]
        if kind in {None, "Funding"} and not {"orderId", "orderLinkId"} & set(ask.values):
            found += _fundings(venue, ask, start_ns, end_ns)
    found.sort(key=lambda each: each.time_ns)
    page, cursor = page_of(found[::-1], ask, usual=50)
    rows = [
        execution_row(venue, ask.api_key, each) if isinstance(each, SimFill) else funding_row(venue, each, None)
        for each in page
    ]
    return {"nextPageCursor": cursor, "category": ask["category"], "list": rows}


def _fundings(venue: Venue, ask: Ask, start_ns: int, end_ns: int) -> list[SimBooking]:
    if venue.is_spot:
        return []
    return [
        booking
        for booking in venue.desk.bookings(api_key=ask.api_key)
        if booking.kind is BookingKind.FUNDING
        and start_ns <= booking.time_ns <= end_ns
        and ask.get("symbol", booking.venue_symbol) == booking.venue_symbol
    ]


_WHICH = (
    CATEGORY,
    text("symbol"),
    text("baseCoin"),
    text("settleCoin"),
    text("orderId"),
    text("orderLinkId"),
    choice("orderFilter", _FILTERS),
    text("cursor"),
)
_SPAN = (integer("startTime"), integer("endTime"))

CALLS: tuple[Call, ...] = (
    Call(
        run=_realtime,
        rest=("GET", "/v5/order/realtime"),
        params=(*_WHICH, integer("openOnly"), integer("limit", least=1, most=50)),
        is_signed=True,
        limit=50,
    ),
    Call(
        run=_history,
        rest=("GET", "/v5/order/history"),
        params=(*_WHICH, *_SPAN, text("orderStatus"), integer("limit", least=1, most=50)),
        is_signed=True,
        limit=50,
    ),
    Call(
        run=_executions,
        rest=("GET", "/v5/execution/list"),
        params=(*_WHICH, *_SPAN, choice("execType", _EXECUTIONS), integer("limit", least=1, most=100)),
        is_signed=True,
        limit=50,
    ),
)
"""Orders and executions of an account."""
