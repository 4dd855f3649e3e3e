"""What became of orders: queries and histories of the futures markets (trade/rest-api, 2026-05-28)."""

from collections.abc import Mapping
from typing import Any

from btx.model.order import Origin
from btx.model.time import NS_PER_DAY, NS_PER_MS, from_ms
from btx.sim.exchange import Refused, SimOrder
from btx.sim.skin.text import JSON
from btx_binance.sim.futures import wire
from btx_binance.sim.futures.errors import query_refused
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.protocol import Change, Protocol
from btx_binance.sim.futures.trading import ORDER_ID, own_id
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import Param, Raw, choice, long, pattern, symbol
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("calls", "paged", "span")

_SPAN_NS = 7 * NS_PER_DAY
_FORCED = {
    "LIQUIDATION": frozenset({Origin.LIQUIDATION}),
    "ADL": frozenset({Origin.DELEVERAGING}),
}


def _find(venue: FuturesVenue, ask: Ask) -> SimOrder:
    try:
        return venue.desk.order(api_key=ask.api_key, venue_symbol=ask["symbol"], **own_id(ask.values))
    except Refused as refused:
        raise query_refused(refused) from refused


def _query(venue: FuturesVenue, ask: Ask) -> JSON:
    listing = venue.listing(ask["symbol"])
    return wire.order_row(_find(venue, ask), listing.instrument)


def _open_order(venue: FuturesVenue, ask: Ask) -> JSON:
    listing = venue.listing(ask["symbol"])
    order = _find(venue, ask)
    if not order.is_open:
        raise WireError(-2013, "Order does not exist.")
    return wire.order_row(order, listing.instrument)


def _open_orders(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values and not _is_known(venue, ask["symbol"]):
        return []
    orders = venue.desk.open_orders(api_key=ask.api_key, venue_symbol=ask.get("symbol"))
    shown = [(order, venue.listing(order.venue_symbol).instrument) for order in orders]
    return [
        wire.order_row(order, instrument)
        for order, instrument in shown
        if ask.get("pair", wire.pair_of(instrument)) == wire.pair_of(instrument)
    ]


def _all_orders(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    listing = venue.listing(ask["symbol"])
    start_ns, end_ns = span(ask, is_bound="orderId" not in ask.values)
    orders = [
        order
        for order in venue.desk.all_orders(api_key=ask.api_key, venue_symbol=ask["symbol"])
        if start_ns <= order.created_ns <= end_ns and order.order_id >= ask.get("orderId", 0)
    ]
    return [wire.order_row(order, listing.instrument) for order in paged(orders, ask, "orderId")]


def _user_trades(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    listing = venue.listing(ask["symbol"])
    if "fromId" in ask.values and {"startTime", "endTime"} & ask.values.keys():
        raise WireError(-1128, "Combination of optional parameters invalid.")
    start_ns, end_ns = span(ask, is_bound="fromId" not in ask.values)
    fills = [
        fill
        for fill in venue.desk.fills(api_key=ask.api_key, venue_symbol=ask["symbol"], order_id=ask.get("orderId"))
        if start_ns <= fill.time_ns <= end_ns and fill.trade_id >= ask.get("fromId", 0)
    ]
    return [wire.fill_row(fill, listing.instrument) for fill in paged(fills, ask, "fromId")]


def _force_orders(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values:
        venue.listing(ask["symbol"])
    wanted = _FORCED.get(ask.get("autoCloseType", ""), frozenset().union(*_FORCED.values()))
    start_ns, end_ns = span(ask)
    symbols = [ask["symbol"]] if "symbol" in ask.values else list(venue.desk.listings)
    orders = [
        order
        for venue_symbol in symbols
        for order in venue.desk.all_orders(api_key=ask.api_key, venue_symbol=venue_symbol)
        if order.origin in wanted and start_ns <= order.created_ns <= end_ns
    ]
    rows = [wire.order_row(order, venue.listing(order.venue_symbol).instrument) for order in orders]
    return rows[-ask.get("limit", 50) :]


def span(ask: Ask, *, is_bound: bool = True) -> tuple[int, int]:
    """Return the first and the last moment asked for: the last seven days where nothing is said.

    Raises:
        WireError: -4165, they lie further apart.
    """
    end_ns = _end_ns(ask) if "endTime" in ask.values else ask.market_ns
    if "startTime" in ask.values:
        start_ns = from_ms(ask["startTime"])
        if "endTime" not in ask.values:
            end_ns = min(start_ns + _SPAN_NS, ask.market_ns)
    else:
        start_ns = end_ns - _SPAN_NS if is_bound else 0
    if is_bound and end_ns - start_ns > _SPAN_NS + NS_PER_MS:
        raise WireError(-4165, "Maximum time interval is 7 days.")
    return start_ns, end_ns


def _end_ns(ask: Ask) -> int:
    return from_ms(ask["endTime"]) + NS_PER_MS - 1 if "endTime" in ask.values else 2**63 - 1


def paged(rows: list[Any], ask: Ask, key: str) -> list[Any]:
    """Return the first rows from an id or a time on, else the newest."""
    limit = ask.get("limit", 500)
    from_front = bool({key, "startTime"} & ask.values.keys())
    return rows[:limit] if from_front else rows[-limit:] if limit else []


def _amendments(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    listing = venue.listing(ask["symbol"])
    order = _find(venue, ask)
    start_ns, end_ns = from_ms(ask.get("startTime", 0)), _end_ns(ask)
    changes = venue.desk.amendments(api_key=ask.api_key, order_id=order.order_id)
    rows = [
        wire.amendment_row(change, order, listing.instrument, number=number)
        for number, change in enumerate(changes, start=1)
        if start_ns <= change.time_ns <= end_ns
    ]
    return rows[::-1][: ask.get("limit", 50)]


def _is_known(venue: FuturesVenue, venue_symbol: str) -> bool:
    """Tell whether a symbol is listed; COIN-M passed over an unknown one until 2026-06-30.

    Raises:
        WireError: -1121, it is not.
    """
    if venue.dialect.is_inverse and not venue.protocol.has(Change.ONE_ARCHITECTURE):
        return venue_symbol in venue.desk.listings
    return bool(venue.listing(venue_symbol))


_LIMIT = long("limit", maximum=1000)
_SPAN = (long("startTime"), long("endTime"))


def _open_weight(sent: Mapping[str, Raw]) -> int:
    return 1 if "symbol" in sent else 40


def _force_weight(sent: Mapping[str, Raw]) -> int:
    return 20 if "symbol" in sent else 50


def calls(dialect: Dialect, protocol: Protocol) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls about orders of a market that change nothing."""
    root = f"{dialect.prefix}/v1"
    is_joined = protocol.has(Change.ONE_ARCHITECTURE) or not dialect.is_inverse
    weight = 5 if is_joined else 20
    any_symbol = symbol(mandatory=False)
    pair: tuple[Param, ...] = (Param(name="pair", convert=pattern(r"^[A-Z0-9]{1,20}$")),) if dialect.is_inverse else ()

    def call(run: Any, path: str, params: tuple[Param, ...], **terms: Any) -> Call[FuturesVenue]:
        terms.setdefault("weight", 1)
        return Call(run=run, rest=("GET", f"{root}/{path}"), params=params, security=Security.SIGNED, **terms)

    trades = (symbol(), long("orderId"), *_SPAN, long("fromId"), _LIMIT)
    forced = (any_symbol, choice("autoCloseType", _FORCED), *_SPAN, long("limit", maximum=100))
    return (
        call(_query, "order", (symbol(), *ORDER_ID), method="order.status"),
        call(_open_order, "openOrder", (symbol(), *ORDER_ID)),
        call(_open_orders, "openOrders", (any_symbol, *pair), weight=_open_weight),
        call(_all_orders, "allOrders", (symbol(), long("orderId"), *_SPAN, _LIMIT), weight=weight),
        call(_user_trades, "userTrades", trades, weight=weight),
        call(_amendments, "orderAmendment", (symbol(), *ORDER_ID, *_SPAN, long("limit", maximum=100))),
        call(_force_orders, "forceOrders", forced, weight=_force_weight if is_joined else 20),
    )
