"""Positions: what is held, leverage, modes, margin, and what guards a position (docs/v5/position, 2025)."""

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Any

from btx.model.derivatives import PositionMode
from btx.model.order import OrderType, PositionSide, Side
from btx.model.time import NS_PER_DAY, to_ms
from btx.sim.conditional_desk import exit_order
from btx.sim.conditionals import SimConditional
from btx.sim.orders import Exit, Listing, NewOrder, Refused, SimFill, SimPosition
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import (
    NOT_MODIFIED,
    leverage_refused,
    margin_refused,
    place_refused,
    position_mode_refused,
)
from btx_bybit.sim.instruments import CONTRACTS
from btx_bybit.sim.listings import LINEAR
from btx_bybit.sim.paging import page_of, span_of
from btx_bybit.sim.params import Param, choice, decimal, integer, text
from btx_bybit.sim.placing import exits_of, listing_of
from btx_bybit.sim.rows import TRIGGERS, position_row, side_text
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import WireError, plain

__all__ = ("CALLS",)

_ZERO = Decimal(0)
_CENT = Decimal("0.00000001")
_ONE_WAY, _HEDGE = 0, 3
_EMPTY: JSON = {}
_OF_MARGIN = (
    *("symbol", "positionIdx", "riskId", "riskLimitValue", "size", "positionValue", "avgPrice", "liqPrice"),
    *("bustPrice", "markPrice", "leverage", "autoAddMargin", "positionStatus", "positionIM", "positionMM"),
    *("unrealisedPnl", "cumRealisedPnl", "stopLoss", "takeProfit", "trailingStop", "createdTime", "updatedTime"),
)


def _list(venue: Venue, ask: Ask) -> JSON:
    category = ask["category"]
    if category == LINEAR and not {"symbol", "settleCoin"} & set(ask.values):
        raise WireError(10001, "Missing some parameters that must be filled in, symbol or settleCoin")
    rows: list[SimPosition] = []
    if category == venue.category and not venue.is_spot:
        if "symbol" in ask.values:
            rows = _of_symbol(venue, ask.api_key, venue.listing(ask["symbol"]))
        else:
            rows = [
                each
                for each in venue.desk.positions(api_key=ask.api_key)
                if _is_asked_for(venue.desk.listings[each.venue_symbol], ask)
            ]
    page, cursor = page_of(rows, ask, usual=20)
    return {
        "list": [position_row(venue, ask.api_key, each) for each in page],
        "nextPageCursor": cursor,
        "category": category,
    }


def _is_asked_for(listing: Listing, ask: Ask) -> bool:
    instrument = listing.instrument
    asked = (ask.get("settleCoin", instrument.settle), ask.get("baseCoin", instrument.base))
    return asked == (instrument.settle, instrument.base)


def _of_symbol(venue: Venue, api_key: str, listing: Listing) -> list[SimPosition]:
    """Return a symbol's positions, flat ones too: one, or a long and a short."""
    symbol = listing.venue_symbol
    is_hedged = venue.desk.symbol_mode(api_key=api_key, venue_symbol=symbol) is PositionMode.HEDGE
    sides = (PositionSide.LONG, PositionSide.SHORT) if is_hedged else (PositionSide.NET,)
    return [venue.desk.position(api_key=api_key, venue_symbol=symbol, position_side=side) for side in sides]


# --- settings --------------------------------------------------------------------------------------------


def _set_leverage(venue: Venue, ask: Ask) -> JSON:
    listing = listing_of(venue, ask.values)
    buy, sell = ask["buyLeverage"], ask["sellLeverage"]
    if buy != sell or buy != buy.to_integral_value():
        raise WireError(10001, "buy leverage invalid")
    symbol = listing.venue_symbol
    if int(buy) == venue.desk.leverage(api_key=ask.api_key, venue_symbol=symbol):
        raise WireError(110043, "leverage not modified")
    try:
        venue.desk.set_leverage(api_key=ask.api_key, venue_symbol=symbol, leverage=int(buy), now_ns=ask.market_ns)
    except Refused as refused:
        raise leverage_refused(refused) from refused
    return _EMPTY


def _switch_isolated(_: Venue, __: Ask) -> JSON:
    """The unified account is switched as a whole, by ``/v5/account/set-margin-mode``."""
    raise WireError(100028, "unified account is forbidden")


def _switch_mode(venue: Venue, ask: Ask) -> JSON:
    if ask["mode"] not in {_ONE_WAY, _HEDGE}:
        raise WireError(10001, "params error: mode invalid")
    mode = PositionMode.HEDGE if ask["mode"] == _HEDGE else PositionMode.ONE_WAY
    if "symbol" in ask.values:
        listing = listing_of(venue, ask.values)
        _check_hedge(venue, listing, mode)
        _switch(venue, ask, listing, mode)
        return _EMPTY
    if "coin" not in ask.values:
        raise WireError(10001, "Missing some parameters that must be filled in, symbol or coin")
    here = [] if venue.is_spot else venue.desk.listings.values()
    for listing in [each for each in here if each.instrument.settle == ask["coin"]]:
        if mode is PositionMode.ONE_WAY or _may_hedge(venue, listing):
            try:
                _switch(venue, ask, listing, mode)
            except WireError:
                continue  # symbols with positions or orders stay as they are
    return _EMPTY


def _may_hedge(venue: Venue, listing: Listing) -> bool:
    """Say whether a contract knows two positions: perpetuals in USDT do, and inverse futures."""
    instrument = listing.instrument
    is_dated = instrument.delivery_ns is not None
    return instrument.settle == "USDT" and not is_dated if venue.category == LINEAR else is_dated


def _check_hedge(venue: Venue, listing: Listing, mode: PositionMode) -> None:
    if mode is PositionMode.HEDGE and not _may_hedge(venue, listing):
        raise WireError(110029, "Hedge mode is not available for this symbol")


def _switch(venue: Venue, ask: Ask, listing: Listing, mode: PositionMode) -> None:
    try:
        venue.desk.set_position_mode(
            api_key=ask.api_key, mode=mode, venue_symbol=listing.venue_symbol, now_ns=ask.market_ns
        )
    except Refused as refused:
        raise position_mode_refused(refused) from refused


def _set_risk_limit(venue: Venue, ask: Ask) -> JSON:
    """Tiers follow the size of a position by themselves; the request says which one there is."""
    listing = listing_of(venue, ask.values)
    number = ask["riskId"]
    if not 1 <= number <= len(listing.tiers):
        raise WireError(110031, "Risk limit info does not exist.")
    return {"category": ask["category"], "riskId": number, "riskLimitValue": plain(listing.tiers[number - 1].cap)}


def _add_margin(venue: Venue, ask: Ask) -> JSON:
    listing = listing_of(venue, ask.values)
    side = venue.position_side(ask.get("positionIdx", 0), ask.api_key, listing.venue_symbol)
    try:
        position = venue.desk.change_isolated_margin(
            api_key=ask.api_key,
            venue_symbol=listing.venue_symbol,
            position_side=side,
            amount=ask["margin"],
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise margin_refused(refused) from refused
    row = position_row(venue, ask.api_key, position)
    return {"category": ask["category"], **{name: row[name] for name in _OF_MARGIN}}


# --- what guards a position ------------------------------------------------------------------------------


def _trading_stop(venue: Venue, ask: Ask) -> JSON:
    listing = listing_of(venue, ask.values)
    for name in ("tpOrderType", "slOrderType"):
        if name in ask.values and "tpslMode" not in ask.values:
            # As a client met it in 2026: CryptoClients.Net, issue 21.
            raise WireError(10001, f"{name} can not have a value when tpSlMode is empty")
    symbol = listing.venue_symbol
    side = venue.position_side(ask.get("positionIdx", 0), ask.api_key, symbol)
    position = venue.desk.position(api_key=ask.api_key, venue_symbol=symbol, position_side=side)
    if not position.quantity:
        raise WireError(10001, "can not set tp/sl/ts for zero position")
    opened = Side.BUY if position.quantity > 0 else Side.SELL
    new = exits_of(venue, listing, ask.values, base=None, side=opened)
    size = _size(ask.values, new, position)
    changed, pair = 0, f"stop-{venue.desk.sequence(api_key=ask.api_key)}"
    for each in new:
        order = exit_order(each, symbol, opened, position_side=side, quantity=size, pair=pair)
        changed += _guard(venue, ask, position, each, order)
    for name, kind in (("takeProfit", "TakeProfit"), ("stopLoss", "StopLoss"), ("trailingStop", "TrailingStop")):
        if ask.get(name) == 0:
            changed += _take_off(venue, ask, position, kind)
    if ask.get("trailingStop"):
        _trail(venue, ask, listing, position)
        changed += 1
    if not changed:
        raise WireError(*NOT_MODIFIED)
    return _EMPTY


def _size(values: Mapping[str, Any], new: tuple[Exit, ...], position: SimPosition) -> Decimal:
    """Return how much of a position its new partial exits close."""
    given = {values[name] for name in ("tpSize", "slSize") if name in values}
    if len(given) > 1:
        raise WireError(10001, "tpSize and slSize must be equal")
    size = given.pop() if given else abs(position.quantity)
    if any(not each.is_whole for each in new) and not 0 < size <= abs(position.quantity):
        raise WireError(110058, "Insufficient number of remaining position size to set take profit and stop loss")
    return size


def _waiting(venue: Venue, api_key: str, position: SimPosition, kind: str) -> SimConditional | None:
    """Return what closes a whole position in this way."""
    for each in venue.desk.open_conditionals(api_key=api_key, venue_symbol=position.venue_symbol):
        is_meant = each.close_position and each.position_side is position.position_side
        if is_meant and each.memo.get("stopOrderType") == kind:
            return each
    return None


def _guard(venue: Venue, ask: Ask, position: SimPosition, exit_: Exit, order: NewOrder) -> int:
    """Set a take profit or a stop loss; return how many things that changed."""
    found = _waiting(venue, ask.api_key, position, exit_.memo["stopOrderType"]) if exit_.is_whole else None
    try:
        if found is None:
            venue.desk.place_conditional(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
        elif (found.trigger_price, found.trigger_by) == (exit_.trigger_price, exit_.trigger_by):
            return 0
        else:
            venue.desk.modify_conditional(
                api_key=ask.api_key,
                conditional_id=found.conditional_id,
                trigger_price=exit_.trigger_price,
                trigger_by=exit_.trigger_by,
                now_ns=ask.market_ns,
            )
    except Refused as refused:
        last = venue.desk.price_of(order.venue_symbol, exit_.trigger_by)
        raise place_refused(refused, venue.listing(order.venue_symbol), order, last=last) from refused
    return 1


def _take_off(venue: Venue, ask: Ask, position: SimPosition, kind: str) -> int:
    found = _waiting(venue, ask.api_key, position, kind)
    if found is None:
        return 0
    venue.cancel(ask.api_key, found, ask.market_ns)
    return 1


def _trail(venue: Venue, ask: Ask, listing: Listing, position: SimPosition) -> None:
    distance, start = ask["trailingStop"], ask.get("activePrice")
    if distance % listing.instrument.tick_size:
        raise WireError(10001, "params error: trailingStop invalid")
    order = NewOrder(
        venue_symbol=listing.venue_symbol,
        side=Side.SELL if position.quantity > 0 else Side.BUY,
        order_type=OrderType.TRAILING_STOP,
        trigger_price=start or None,
        trail_distance=distance,
        position_side=position.position_side,
        close_position=True,
        is_exit=True,
        memo={"stopOrderType": "TrailingStop", "createType": "CreateByTrailingStop"},
    )
    before = _waiting(venue, ask.api_key, position, "TrailingStop")
    try:
        venue.desk.place_conditional(api_key=ask.api_key, order=order, now_ns=ask.market_ns)
    except Refused as refused:
        raise place_refused(refused, listing, order, last=venue.last_price(listing.venue_symbol)) from refused
    if before is not None:
        venue.cancel(ask.api_key, before, ask.market_ns)


# --- what was earned -------------------------------------------------------------------------------------


def _closed(venue: Venue, ask: Ask) -> JSON:
    start_ns, end_ns = span_of(ask, most_ns=7 * NS_PER_DAY)
    by_order: dict[int, list[SimFill]] = {}
    if ask["category"] == venue.category and not venue.is_spot:
        for fill in venue.desk.fills(api_key=ask.api_key):
            if fill.closed and ask.get("symbol", fill.venue_symbol) == fill.venue_symbol:
                by_order.setdefault(fill.order_id, []).append(fill)
    found = [fills for fills in by_order.values() if start_ns <= fills[-1].time_ns <= end_ns]
    found.sort(key=lambda fills: fills[-1].time_ns, reverse=True)
    page, cursor = page_of(found, ask, usual=50)
    return {
        "nextPageCursor": cursor,
        "category": ask["category"],
        "list": [_closed_row(venue, ask.api_key, fills) for fills in page],
    }


def _closed_row(venue: Venue, api_key: str, fills: list[SimFill]) -> JSON:
    symbol = fills[0].venue_symbol
    order = venue.desk.order(api_key=api_key, venue_symbol=symbol, order_id=fills[0].order_id)
    is_inverse = venue.category == "inverse"
    closed = sum((each.closed for each in fills), _ZERO)
    worths = [each.closed / each.price if is_inverse else each.closed * each.price for each in fills]
    left = sum(worths, _ZERO)
    realised = sum((each.realised for each in fills), _ZERO)
    sign = fills[0].side.sign if is_inverse else -fills[0].side.sign
    entered = left - sign * realised
    fee = sum((each.fee * each.closed / each.quantity for each in fills), _ZERO)
    exit_price, entry_price = (closed / left, closed / entered) if is_inverse else (left / closed, entered / closed)
    leverage = venue.desk.leverage(api_key=api_key, venue_symbol=symbol)
    return {
        "symbol": symbol,
        "orderType": "Limit" if order.price is not None else "Market",
        "leverage": str(leverage),
        "updatedTime": str(to_ms(fills[-1].time_ns)),
        "side": side_text(order.side),
        "orderId": venue.order_id(order),
        "closedPnl": plain((realised - fee).quantize(_CENT)),
        "openFee": "0",
        "closeFee": plain(fee.quantize(_CENT, rounding=ROUND_UP)),
        "avgEntryPrice": plain(entry_price.quantize(_CENT)),
        "qty": plain(order.quantity),
        "cumEntryValue": plain(entered.quantize(_CENT)),
        "createdTime": str(to_ms(order.created_ns)),
        "orderPrice": plain(order.price or _ZERO),
        "closedSize": plain(closed),
        "avgExitPrice": plain(exit_price.quantize(_CENT)),
        "execType": "Trade",
        "fillCount": str(len(fills)),
        "cumExitValue": plain(left.quantize(_CENT)),
    }


# --- the calls -------------------------------------------------------------------------------------------


def _post(run: Any, path: str, params: tuple[Param, ...], *, limit: int = 10) -> Call:
    return Call(
        run=run,
        rest=("POST", f"/v5/position/{path}"),
        params=(CONTRACTS, *params),
        is_signed=True,
        limit=limit,
    )


def _get(run: Any, path: str, params: tuple[Param, ...]) -> Call:
    return Call(
        run=run,
        rest=("GET", f"/v5/position/{path}"),
        params=(CONTRACTS, *params, text("cursor")),
        is_signed=True,
        limit=50,
    )


_SYMBOL = text("symbol", mandatory=True)
_INDEX = integer("positionIdx")

CALLS: tuple[Call, ...] = (
    _get(_list, "list", (text("symbol"), text("baseCoin"), text("settleCoin"), integer("limit", least=1, most=200))),
    _get(
        _closed,
        "closed-pnl",
        (text("symbol"), integer("startTime"), integer("endTime"), integer("limit", least=1, most=100)),
    ),
    _post(
        _set_leverage,
        "set-leverage",
        (_SYMBOL, decimal("buyLeverage", mandatory=True), decimal("sellLeverage", mandatory=True)),
    ),
    _post(_switch_isolated, "switch-isolated", (_SYMBOL,)),
    _post(_switch_mode, "switch-mode", (text("symbol"), text("coin"), integer("mode", mandatory=True))),
    _post(_set_risk_limit, "set-risk-limit", (_SYMBOL, integer("riskId", mandatory=True), _INDEX)),
    _post(_add_margin, "add-margin", (_SYMBOL, decimal("margin", mandatory=True), _INDEX)),
    _post(
        _trading_stop,
        "trading-stop",
        (
            _SYMBOL,
            _INDEX,
            choice("tpslMode", ("Full", "Partial")),
            *(decimal(name) for name in ("takeProfit", "stopLoss", "trailingStop", "activePrice", "tpSize", "slSize")),
            choice("tpTriggerBy", TRIGGERS),
            choice("slTriggerBy", TRIGGERS),
            *(decimal(name) for name in ("tpLimitPrice", "slLimitPrice")),
            *(choice(name, ("Market", "Limit")) for name in ("tpOrderType", "slOrderType")),
        ),
    ),
)
"""Positions."""
