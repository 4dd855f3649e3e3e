"""Conditional orders: the algo service of the futures markets.

USD-M since 2025-12-09 (change-log 2025-11-06; trade/rest-api/New-Algo-Order, 2026-05-28).
COIN-M since 2026-06-30: Important-CM-UM-Integration-Notice, C.5, names three of the
calls there; the others are served alike at both, as the venue's other clients use them.
"""

from typing import Any

from btx.sim.conditionals import SimConditional
from btx.sim.exchange import Refused
from btx.sim.skin.text import JSON
from btx_binance.sim.futures import wire
from btx_binance.sim.futures.errors import cancel_refused, place_refused, query_refused
from btx_binance.sim.futures.history import paged, span
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.placing import ALGO_ORDER, algo_order, client_id
from btx_binance.sim.futures.trading import ALL_DONE
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.params import Param, choice, long, symbol
from btx_binance.sim.placing import neither
from btx_binance.sim.venue import Ask, Call, Security

__all__ = ("calls",)


def _place(venue: FuturesVenue, ask: Ask) -> JSON:
    listing, order = algo_order(venue, ask.values)
    try:
        conditional = venue.desk.place_conditional(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise place_refused(refused, listing, order, venue.mark_price(order.venue_symbol)) from refused
    return wire.algo_ack(conditional)


def _own_id(ask: Ask) -> dict[str, Any]:
    if "algoId" in ask.values:
        return {"conditional_id": ask["algoId"]}
    if "clientAlgoId" in ask.values:
        return {"client_order_id": ask["clientAlgoId"]}
    raise neither("clientAlgoId", "algoId")


def _cancel(venue: FuturesVenue, ask: Ask) -> JSON:
    try:
        gone = venue.desk.cancel_conditional(api_key=ask.api_key, **_own_id(ask), now_ns=ask.market_ns)
    except Refused as refused:
        raise cancel_refused(refused) from refused
    return {"algoId": gone.conditional_id, "clientAlgoId": gone.client_order_id, "code": "200", "msg": "success"}


def _cancel_all(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    venue.desk.cancel_all_conditionals(api_key=ask.api_key, venue_symbol=ask["symbol"], now_ns=ask.market_ns)
    return ALL_DONE


def _query(venue: FuturesVenue, ask: Ask) -> JSON:
    try:
        found = venue.desk.conditional(api_key=ask.api_key, **_own_id(ask))
    except Refused as refused:
        raise query_refused(refused) from refused
    return _row(venue, ask, found)


def _open(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values:
        venue.listing(ask["symbol"])
    waiting = venue.desk.open_conditionals(api_key=ask.api_key, venue_symbol=ask.get("symbol"))
    return [_row(venue, ask, each) for each in waiting if ask.get("algoId", each.conditional_id) == each.conditional_id]


def _all(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    start_ns, end_ns = span(ask, is_bound="algoId" not in ask.values)
    found = [
        each
        for each in venue.desk.all_conditionals(api_key=ask.api_key, venue_symbol=ask["symbol"])
        if start_ns <= each.created_ns <= end_ns and each.conditional_id >= ask.get("algoId", 0)
    ]
    return [_row(venue, ask, each) for each in paged(found, ask, "algoId")]


def _row(venue: FuturesVenue, ask: Ask, conditional: SimConditional) -> JSON:
    child = None
    if conditional.order_id is not None:
        child = venue.desk.order(
            api_key=ask.api_key, venue_symbol=conditional.venue_symbol, order_id=conditional.order_id
        )
    return wire.algo_row(conditional, child)


_ID = (long("algoId"), client_id("clientAlgoId"))
_LIMIT = long("limit", maximum=1000)
_TYPE = choice("algoType", ("CONDITIONAL",))


def _open_weight(sent: Any) -> int:
    return 1 if "symbol" in sent else 40


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls of the algo service of a market."""
    root = f"{dialect.prefix}/v1"

    def call(run: Any, verb: str, path: str, params: tuple[Param, ...], **terms: Any) -> Call[FuturesVenue]:
        terms.setdefault("weight", 1)
        return Call(run=run, rest=(verb, f"{root}/{path}"), params=params, security=Security.SIGNED, **terms)

    def method(name: str) -> str | None:  # only USD-M's WebSocket API has them
        return None if dialect.is_inverse else name

    # Clients name the symbol when they cancel or query, though an id is enough; it is read.
    named = (symbol(mandatory=False), _TYPE, *_ID)
    return (
        call(_place, "POST", "algoOrder", ALGO_ORDER, weight=0, method=method("algoOrder.place")),
        call(_cancel, "DELETE", "algoOrder", named, method=method("algoOrder.cancel")),
        call(_query, "GET", "algoOrder", named),
        call(_cancel_all, "DELETE", "algoOpenOrders", (symbol(), _TYPE)),
        call(
            _open,
            "GET",
            "openAlgoOrders",
            (_TYPE, symbol(mandatory=False), long("algoId")),
            weight=_open_weight,
        ),
        call(
            _all,
            "GET",
            "allAlgoOrders",
            (symbol(), _TYPE, long("algoId"), long("startTime"), long("endTime"), long("page"), _LIMIT),
            weight=5,
        ),
    )
