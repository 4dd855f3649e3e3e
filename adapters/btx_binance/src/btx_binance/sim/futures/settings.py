"""Leverage, margin and modes of an account: what a key may change (trade/rest-api, 2026-05-28)."""

from typing import Any

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.time import NS_PER_MS, from_ms, to_ms
from btx.sim.exchange import Refused
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.errors import (
    leverage_refused,
    margin_refused,
    margin_type_refused,
    position_mode_refused,
)
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.terms import largest_notional
from btx_binance.sim.futures.venue import FuturesVenue, MarginChange
from btx_binance.sim.futures.wire import POSITION_SIDES, plain, position_side_text
from btx_binance.sim.params import Param, boolean, choice, decimal, long, symbol
from btx_binance.sim.venue import Ask, Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("calls",)

_SUCCESS = {"code": 200, "msg": "success"}
_MARGIN_TYPES = {"ISOLATED": MarginMode.ISOLATED, "CROSSED": MarginMode.CROSS}
_ADD, _REDUCE = "1", "2"
_MULTI_ASSETS_SAME = (-4171, "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.")


def _leverage(venue: FuturesVenue, ask: Ask) -> JSON:
    listing, leverage = venue.listing(ask["symbol"]), ask["leverage"]
    try:
        venue.desk.set_leverage(
            api_key=ask.api_key, venue_symbol=ask["symbol"], leverage=leverage, now_ns=ask.market_ns
        )
    except Refused as refused:
        raise leverage_refused(refused, leverage) from refused
    most = "maxQty" if venue.dialect.is_inverse else "maxNotionalValue"
    return {"symbol": ask["symbol"], "leverage": leverage, most: plain(largest_notional(listing, leverage))}


def _margin_type(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    try:
        venue.desk.set_margin_mode(
            api_key=ask.api_key,
            venue_symbol=ask["symbol"],
            mode=_MARGIN_TYPES[ask["marginType"]],
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise margin_type_refused(refused) from refused
    return _SUCCESS


def _is_dual(venue: FuturesVenue, ask: Ask) -> JSON:
    return {"dualSidePosition": venue.desk.position_mode(api_key=ask.api_key) is PositionMode.HEDGE}


def _dual(venue: FuturesVenue, ask: Ask) -> JSON:
    mode = PositionMode.HEDGE if ask["dualSidePosition"] else PositionMode.ONE_WAY
    try:
        venue.desk.set_position_mode(api_key=ask.api_key, mode=mode, now_ns=ask.market_ns)
    except Refused as refused:
        raise position_mode_refused(refused) from refused
    return _SUCCESS


def _move_margin(venue: FuturesVenue, ask: Ask) -> JSON:
    listing, amount = venue.listing(ask["symbol"]), ask["amount"]
    if amount <= 0:
        raise WireError(-4055, "Amount must be positive.")
    side = POSITION_SIDES[ask.get("positionSide", "BOTH")]
    adds = ask["type"] == _ADD
    signed = amount if adds else -amount
    try:
        venue.desk.change_isolated_margin(
            api_key=ask.api_key,
            venue_symbol=ask["symbol"],
            position_side=side,
            amount=signed,
            now_ns=ask.market_ns,
        )
    except Refused as refused:
        raise margin_refused(refused, adds=adds) from refused
    venue.margin_changes[ask.api_key].append(
        MarginChange(
            venue_symbol=ask["symbol"],
            position_side=side,
            amount=signed,
            asset=listing.instrument.settle,
            time_ns=ask.market_ns,
        )
    )
    return {
        "code": 200,
        "msg": "Successfully modify position margin.",
        "amount": float(amount),
        "type": int(ask["type"]),
    }


def _margin_history(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    venue.listing(ask["symbol"])
    start_ns = from_ms(ask.get("startTime", 0))
    end_ns = from_ms(ask["endTime"]) + NS_PER_MS - 1 if "endTime" in ask.values else ask.market_ns
    rows = [
        {
            "symbol": change.venue_symbol,
            "type": int(_ADD if change.amount > 0 else _REDUCE),
            "deltaType": "USER_ADJUST",
            "amount": plain(abs(change.amount)),
            "asset": change.asset,
            "time": to_ms(change.time_ns),
            "positionSide": position_side_text(change.position_side),
        }
        for change in venue.margin_changes[ask.api_key]
        if change.venue_symbol == ask["symbol"] and start_ns <= change.time_ns <= end_ns
    ]
    rows = [row for row in rows if ask.get("type", str(row["type"])) == str(row["type"])]
    return rows[-ask.get("limit", 500) :]


def _is_multi(_: FuturesVenue, __: Ask) -> JSON:
    return {"multiAssetsMargin": False}


def _multi(_: FuturesVenue, ask: Ask) -> JSON:
    if ask["multiAssetsMargin"]:
        raise WireError(-1020, "This operation is not supported.")
    raise WireError(*_MULTI_ASSETS_SAME)


def _is_burning(venue: FuturesVenue, ask: Ask) -> JSON:
    return {"feeBurn": venue.desk.pays_with_discount_asset(api_key=ask.api_key)}


def _burn(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.desk.set_discount(api_key=ask.api_key, is_on=ask["feeBurn"])
    return _SUCCESS


def _flag(name: str) -> Param:
    return Param(name=name, convert=boolean(name).convert, mandatory=True)


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls that set something for an account of a market."""
    root = f"{dialect.prefix}/v1"

    def call(run: Any, verb: str, path: str, params: tuple[Param, ...] = (), *, weight: int = 1) -> Call[FuturesVenue]:
        return Call(run=run, rest=(verb, f"{root}/{path}"), params=params, weight=weight, security=Security.SIGNED)

    margin_type = choice("marginType", _MARGIN_TYPES, error=(-4048, "Invalid margin type."), mandatory=True)
    shared = (
        call(_leverage, "POST", "leverage", (symbol(), long("leverage", mandatory=True))),
        call(_margin_type, "POST", "marginType", (symbol(), margin_type)),
        call(_is_dual, "GET", "positionSide/dual", weight=30),
        call(_dual, "POST", "positionSide/dual", (_flag("dualSidePosition"),)),
        call(
            _move_margin,
            "POST",
            "positionMargin",
            (
                symbol(),
                choice("positionSide", POSITION_SIDES, error=(-4060, "Invalid position side.")),
                decimal("amount", mandatory=True),
                choice("type", (_ADD, _REDUCE), mandatory=True),
            ),
        ),
        call(
            _margin_history,
            "GET",
            "positionMargin/history",
            (symbol(), choice("type", (_ADD, _REDUCE)), long("startTime"), long("endTime"), long("limit", maximum=500)),
        ),
    )
    if dialect.is_inverse:
        return shared
    return (
        *shared,
        call(_is_multi, "GET", "multiAssetsMargin", weight=30),
        call(_multi, "POST", "multiAssetsMargin", (_flag("multiAssetsMargin"),)),
        call(_is_burning, "GET", "feeBurn", weight=30),
        call(_burn, "POST", "feeBurn", (_flag("feeBurn"),)),
    )
