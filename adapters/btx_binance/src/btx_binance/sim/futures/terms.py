"""What an account trades on: tiers, rates, limits and settings of symbols (account/rest-api, 2026-05-28)."""

from decimal import Decimal
from typing import Any

from btx.model.derivatives import MarginMode
from btx.model.time import to_ms
from btx.sim.exchange import Listing
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.protocol import Change, Protocol
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.futures.wire import pair_of, plain
from btx_binance.sim.meters import status
from btx_binance.sim.params import Param, pattern, symbol
from btx_binance.sim.venue import Ask, Call, Security

__all__ = ("calls", "largest_notional")


def largest_notional(listing: Listing, leverage: int) -> Decimal:
    """Return what a position may grow to at a leverage, as the tiers say; of COIN-M in the base coin."""
    caps = [tier.cap for tier in listing.tiers if tier.max_leverage >= leverage and tier.cap is not None]
    return max(caps, default=Decimal(0))


def _symbol_config(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    wanted = [venue.listing(ask["symbol"])] if "symbol" in ask.values else venue.desk.listings.values()
    rows = []
    for listing in wanted:
        leverage = venue.desk.leverage(api_key=ask.api_key, venue_symbol=listing.venue_symbol)
        mode = venue.desk.margin_mode(api_key=ask.api_key, venue_symbol=listing.venue_symbol)
        rows.append(
            {
                "symbol": listing.venue_symbol,
                "marginType": "ISOLATED" if mode is MarginMode.ISOLATED else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": leverage,
                "maxNotionalValue": plain(largest_notional(listing, leverage)),
            }
        )
    return rows


def _brackets(venue: FuturesVenue, ask: Ask) -> Any:
    if "symbol" in ask.values:
        row = _bracket_row(venue, venue.listing(ask["symbol"]))
        return [row] if venue.dialect.is_inverse else row
    return [_bracket_row(venue, listing) for listing in venue.desk.listings.values()]


def _pair_brackets(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    rows = {
        pair_of(listing.instrument): {"pair": pair_of(listing.instrument)} | _bracket_row(venue, listing)
        for listing in venue.desk.listings.values()
    }
    for row in rows.values():
        del row["symbol"]
    return [row for pair, row in rows.items() if ask.get("pair", pair) == pair]


def _bracket_row(venue: FuturesVenue, listing: Listing) -> JSON:
    cap, floor = ("qtyCap", "qtylFloor") if venue.dialect.is_inverse else ("notionalCap", "notionalFloor")
    return {
        "symbol": listing.venue_symbol,
        "brackets": [
            {
                "bracket": number,
                "initialLeverage": tier.max_leverage,
                cap: _number(tier.cap or Decimal(0)),
                floor: _number(tier.floor),
                "maintMarginRatio": _number(tier.maintenance_rate),
                "cum": float(tier.maintenance_amount),
            }
            for number, tier in enumerate(listing.tiers, start=1)
        ],
    }


def _number(value: Decimal) -> int | float:
    """Return what the venue writes as a JSON number."""
    return int(value) if value == value.to_integral_value() else float(value)


def _commission(venue: FuturesVenue, ask: Ask) -> JSON:
    venue.listing(ask["symbol"])
    fees = venue.desk.fees(api_key=ask.api_key, venue_symbol=ask["symbol"], now_ns=ask.market_ns)
    row: JSON = {
        "symbol": ask["symbol"],
        "makerCommissionRate": f"{fees.maker:.6f}",
        "takerCommissionRate": f"{fees.taker:.6f}",
    }
    return row if venue.dialect.is_inverse else row | {"rpiCommissionRate": f"{fees.maker:.6f}"}


def _trading_status(_: FuturesVenue, ask: Ask) -> JSON:
    """The venue's rules about how one trades are not modelled: nobody ever breaks one."""
    return {"indicators": {}, "updateTime": to_ms(ask.market_ns)}


def _order_limits(venue: FuturesVenue, _: Ask) -> list[JSON]:
    return [status(limit) for limit in venue.meters.limits.orders]


_ANY_SYMBOL = symbol(mandatory=False)


def _bracket_weight(sent: Any) -> int:
    return 1 if "symbol" in sent else 2


def _status_weight(sent: Any) -> int:
    return 1 if "symbol" in sent else 10


def calls(dialect: Dialect, protocol: Protocol) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls about the terms of a market."""
    root = f"{dialect.prefix}/v1"

    def call(run: Any, path: str, params: tuple[Param, ...] = (), *, weight: Any = 5) -> Call[FuturesVenue]:
        return Call(run=run, rest=("GET", path), params=params, weight=weight, security=Security.SIGNED)

    commission = call(_commission, f"{root}/commissionRate", (symbol(),), weight=20)
    if dialect.is_inverse:
        pair = Param(name="pair", convert=pattern(r"^[A-Z0-9]{1,20}$"))
        weight = _bracket_weight if protocol.has(Change.ONE_ARCHITECTURE) else 1
        return (
            commission,
            call(_pair_brackets, f"{root}/leverageBracket", (pair,), weight=1),
            call(_brackets, f"{dialect.prefix}/v2/leverageBracket", (_ANY_SYMBOL,), weight=weight),
        )
    return (
        commission,
        call(_brackets, f"{root}/leverageBracket", (_ANY_SYMBOL,), weight=1),
        call(_symbol_config, f"{root}/symbolConfig", (_ANY_SYMBOL,)),
        call(_trading_status, f"{root}/apiTradingStatus", (_ANY_SYMBOL,), weight=_status_weight),
        call(_order_limits, f"{root}/rateLimit/order", weight=1),
    )
