"""The positions of an account, in every version the futures show them (trade/rest-api, 2026-05-28)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide
from btx.model.time import to_ms
from btx.sim.orders import SimPosition
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.terms import largest_notional
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.futures.wire import money, pair_of, plain, position_side_text
from btx_binance.sim.params import Param, pattern, symbol, text
from btx_binance.sim.venue import Ask, Call, Security

__all__ = ("account_position", "busy_positions", "calls", "every_position", "old_account_position")

_SIDES = {
    PositionMode.ONE_WAY: (PositionSide.NET,),
    PositionMode.HEDGE: (PositionSide.LONG, PositionSide.SHORT),
}


def every_position(venue: FuturesVenue, ask: Ask, venue_symbols: Iterable[str] | None = None) -> list[SimPosition]:
    mode = venue.desk.position_mode(api_key=ask.api_key)
    return [
        venue.desk.position(api_key=ask.api_key, venue_symbol=venue_symbol, position_side=side)
        for venue_symbol in (venue.desk.listings if venue_symbols is None else venue_symbols)
        for side in _SIDES[mode]
    ]


def busy_positions(venue: FuturesVenue, ask: Ask, venue_symbol: str | None = None) -> list[SimPosition]:
    """Return the positions of symbols with a position or an open order."""
    busy = {(each.venue_symbol, each.position_side) for each in venue.desk.positions(api_key=ask.api_key)}
    for order in venue.desk.open_orders(api_key=ask.api_key, venue_symbol=None):
        busy.add((order.venue_symbol, order.position_side))
    symbols = None if venue_symbol is None else [venue_symbol]
    return [each for each in every_position(venue, ask, symbols) if each.key in busy]


def _figures(venue: FuturesVenue, ask: Ask, position: SimPosition) -> dict[str, Decimal]:
    """Return what positions are told by, all in the settle asset."""
    desk = venue.desk
    first_side = _SIDES[desk.position_mode(api_key=ask.api_key)][0]
    ordered = Decimal(0)
    if position.position_side is first_side:  # a symbol's open orders are told once
        ordered = desk.order_margin(api_key=ask.api_key, venue_symbol=position.venue_symbol)
    initial, unrealised = desk.initial(position), desk.unrealised(position)
    sign = -1 if position.quantity < 0 else 1
    return {
        "unrealised": unrealised,
        "notional": sign * desk.notional(position),
        "initial": initial,
        "ordered": ordered,
        "maintenance": desk.maintenance(position),
        "isolated": position.isolated_wallet + unrealised if _is_isolated(position) else Decimal(0),
    }


def _is_isolated(position: SimPosition) -> bool:
    return position.margin_mode is MarginMode.ISOLATED


def account_position(venue: FuturesVenue, ask: Ask, position: SimPosition) -> JSON:
    figures = _figures(venue, ask, position)
    return {
        "symbol": position.venue_symbol,
        "positionSide": position_side_text(position.position_side),
        "positionAmt": plain(position.quantity),
        "unrealizedProfit": money(figures["unrealised"]),
        "isolatedMargin": money(figures["isolated"]),
        "notional": money(figures["notional"]),
        "isolatedWallet": money(position.isolated_wallet),
        "initialMargin": money(figures["initial"] + figures["ordered"]),
        "maintMargin": money(figures["maintenance"]),
        "updateTime": to_ms(position.updated_ns),
    }


def old_account_position(venue: FuturesVenue, ask: Ask, position: SimPosition) -> JSON:
    figures = _figures(venue, ask, position)
    listing = venue.listing(position.venue_symbol)
    row: JSON = {
        "symbol": position.venue_symbol,
        "initialMargin": money(figures["initial"] + figures["ordered"]),
        "maintMargin": money(figures["maintenance"]),
        "unrealizedProfit": money(figures["unrealised"]),
        "positionInitialMargin": money(figures["initial"]),
        "openOrderInitialMargin": money(figures["ordered"]),
        "leverage": str(position.leverage),
        "isolated": _is_isolated(position),
        "entryPrice": _entry(position),
        "breakEvenPrice": _entry(position),
        "positionSide": position_side_text(position.position_side),
        "positionAmt": plain(position.quantity),
        "updateTime": to_ms(position.updated_ns),
    }
    most = plain(largest_notional(listing, position.leverage))
    if venue.dialect.is_inverse:
        return row | {"maxQty": most, "notionalValue": money(figures["notional"])}
    return row | {
        "maxNotional": most,
        "bidNotional": "0",
        "askNotional": "0",
        "notional": money(figures["notional"]),
        "isolatedWallet": money(position.isolated_wallet),
    }


def _entry(position: SimPosition) -> str:
    return plain(position.entry_price.quantize(Decimal("1e-8"))) if position.quantity else "0.0"


def _risk_v3(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values:
        venue.listing(ask["symbol"])
    rows = []
    for position in busy_positions(venue, ask, ask.get("symbol")):
        figures = _figures(venue, ask, position)
        rows.append(
            {
                "symbol": position.venue_symbol,
                "positionSide": position_side_text(position.position_side),
                "positionAmt": plain(position.quantity),
                "entryPrice": _entry(position),
                "breakEvenPrice": _entry(position),
                "markPrice": money(venue.mark_price(position.venue_symbol)),
                "unRealizedProfit": money(figures["unrealised"]),
                "liquidationPrice": _liquidation(venue, ask, position),
                "isolatedMargin": money(figures["isolated"]),
                "notional": money(figures["notional"]),
                "marginAsset": venue.listing(position.venue_symbol).instrument.settle,
                "isolatedWallet": money(position.isolated_wallet),
                "initialMargin": money(figures["initial"] + figures["ordered"]),
                "maintMargin": money(figures["maintenance"]),
                "positionInitialMargin": money(figures["initial"]),
                "openOrderInitialMargin": money(figures["ordered"]),
                "adl": 0,
                "bidNotional": "0",
                "askNotional": "0",
                "updateTime": to_ms(position.updated_ns),
            }
        )
    return rows


def _risk_v2(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    if "symbol" in ask.values:
        venue.listing(ask["symbol"])
    symbols = [ask["symbol"]] if "symbol" in ask.values else None
    if venue.dialect.is_inverse:
        symbols = [
            listing.venue_symbol
            for listing in venue.desk.listings.values()
            if ask.get("pair", pair_of(listing.instrument)) == pair_of(listing.instrument)
            and ask.get("marginAsset", listing.instrument.settle) == listing.instrument.settle
        ]
    rows = []
    for position in every_position(venue, ask, symbols):
        figures = _figures(venue, ask, position)
        most = plain(largest_notional(venue.listing(position.venue_symbol), position.leverage))
        row: JSON = {
            "symbol": position.venue_symbol,
            "positionAmt": plain(position.quantity),
            "entryPrice": _entry(position),
            "breakEvenPrice": _entry(position),
            "markPrice": money(venue.mark_price(position.venue_symbol)),
            "unRealizedProfit": money(figures["unrealised"]),
            "liquidationPrice": _liquidation(venue, ask, position),
            "leverage": str(position.leverage),
            "marginType": "isolated" if _is_isolated(position) else "cross",
            "isolatedMargin": money(figures["isolated"]),
            "isAutoAddMargin": "false",
            "positionSide": position_side_text(position.position_side),
            "isolatedWallet": money(position.isolated_wallet),
            "updateTime": to_ms(position.updated_ns),
        }
        if venue.dialect.is_inverse:
            row |= {"maxQty": most, "notionalValue": money(figures["notional"])}
        else:
            row |= {"maxNotionalValue": most, "notional": money(figures["notional"])}
        rows.append(row)
    return rows


def _liquidation(venue: FuturesVenue, ask: Ask, position: SimPosition) -> str:
    price = venue.desk.liquidation_price(api_key=ask.api_key, position=position) if position.quantity else None
    return "0" if price is None else money(price)


def _adl(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    """Nobody else is in the queue: every position is at its end."""
    held = venue.desk.positions(api_key=ask.api_key, venue_symbol=ask.get("symbol"))
    is_hedge = venue.desk.position_mode(api_key=ask.api_key) is PositionMode.HEDGE
    quantile = {"LONG": 0, "SHORT": 0, "HEDGE": 0} if is_hedge else {"LONG": 0, "SHORT": 0, "BOTH": 0}
    return [
        {"symbol": venue_symbol, "adlQuantile": quantile}
        for venue_symbol in dict.fromkeys(each.venue_symbol for each in held)
    ]


_ANY_SYMBOL = symbol(mandatory=False)


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls about positions of a market."""
    prefix = dialect.prefix

    def call(run: Any, path: str, params: tuple[Param, ...], **terms: Any) -> Call[FuturesVenue]:
        terms.setdefault("weight", 5)
        return Call(run=run, rest=("GET", f"{prefix}/{path}"), params=params, security=Security.SIGNED, **terms)

    adl = call(_adl, "v1/adlQuantile", (_ANY_SYMBOL,))
    if dialect.is_inverse:
        pair = Param(name="pair", convert=pattern(r"^[A-Z0-9]{1,20}$"))
        return adl, call(_risk_v2, "v1/positionRisk", (text("marginAsset"), pair), weight=1, method="account.position")
    return (
        adl,
        call(_risk_v3, "v3/positionRisk", (_ANY_SYMBOL,), method="v2/account.position"),
        call(_risk_v2, "v2/positionRisk", (_ANY_SYMBOL,), method="account.position"),
    )
