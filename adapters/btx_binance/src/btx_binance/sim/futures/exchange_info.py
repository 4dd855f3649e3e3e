"""``exchangeInfo`` of the futures markets (market-data/rest-api/Exchange-Information, 2026-05-28)."""

import datetime
from decimal import Decimal

from btx.model.instrument import Instrument
from btx.model.time import NS_PER_DAY, NS_PER_S, to_ms
from btx.sim.exchange import Listing
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.listings import contract_of, price_digits
from btx_binance.sim.futures.market import LIMITS, Dialect
from btx_binance.sim.futures.protocol import Change, Protocol
from btx_binance.sim.futures.wire import ALGO_TYPES, PLAIN_TYPES, SELF_TRADE_PREVENTION_MODES, pair_of, plain
from btx_binance.sim.meters import status

__all__ = ("contract_type", "exchange_info")

_NEVER_MS = 4_133_404_800_000  # deliveryDate of a perpetual: 2100-12-25
_QUARTER_DAYS = 98  # the nearest quarterly contract lives that long at most, the next one begins before
_LISTED_DAYS = 190


def contract_type(instrument: Instrument, now_ns: int) -> str:
    """Return what kind of contract it is now: a quarter is current until the one before it has been delivered."""
    if instrument.delivery_ns is None:
        return "PERPETUAL"
    return "CURRENT_QUARTER" if instrument.delivery_ns - now_ns <= _QUARTER_DAYS * NS_PER_DAY else "NEXT_QUARTER"


def exchange_info(
    shown: list[Listing], dialect: Dialect, protocol: Protocol, *, market_ns: int, server_time_ms: int
) -> JSON:
    """Return ``exchangeInfo`` of these listings."""
    info: JSON = {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [status(limit) for limit in LIMITS.listed],
        "exchangeFilters": [],
    }
    if not dialect.is_inverse:
        settled = dict.fromkeys(listing.instrument.settle for listing in shown)
        info["futuresType"] = "U_MARGINED"
        info["assets"] = [{"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"} for asset in settled]
    return info | {"symbols": [_symbol(listing, dialect, protocol, market_ns) for listing in shown]}


def _symbol(listing: Listing, dialect: Dialect, protocol: Protocol, now_ns: int) -> JSON:
    instrument = listing.instrument
    contract = contract_of(instrument)
    is_over = instrument.delivery_ns is not None and now_ns >= instrument.delivery_ns
    state = "TRADING" if instrument.is_trading and not is_over else "DELIVERING" if is_over else "SETTLING"
    row: JSON = {
        "symbol": instrument.venue_symbol,
        "pair": pair_of(instrument),
        "contractType": contract_type(instrument, now_ns),
        "deliveryDate": _NEVER_MS if instrument.delivery_ns is None else to_ms(instrument.delivery_ns),
        "onboardDate": contract.onboard_ms if instrument.delivery_ns is None else _listed_ms(instrument.delivery_ns),
        "contractStatus" if dialect.is_inverse else "status": state,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.settle,
        "pricePrecision": price_digits(instrument),
        "quantityPrecision": _digits(instrument.step_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "triggerProtect": f"{contract.protect:.4f}",
        "liquidationFee": f"{contract.liquidation_fee:.6f}",
        "marketTakeBound": f"{contract.take_bound:.2f}",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(listing, protocol, dialect),
        "orderTypes": [*PLAIN_TYPES, *ALGO_TYPES],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"] if dialect.is_inverse else ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }
    if dialect.is_inverse:
        return row | {"contractSize": int(instrument.multiplier), "equalQtyPrecision": 4}
    return row | {"settlePlan": 0, "permissionSets": ["GRID", "COPY"], "allowedSTP": list(SELF_TRADE_PREVENTION_MODES)}


def _listed_ms(delivery_ns: int) -> int:
    day = datetime.datetime.fromtimestamp(delivery_ns / NS_PER_S, datetime.UTC) - datetime.timedelta(days=_LISTED_DAYS)
    return int(day.timestamp()) * 1000


def _digits(unit: Decimal) -> int:
    return len(plain(unit).partition(".")[2])


def _filters(listing: Listing, protocol: Protocol, dialect: Dialect) -> list[JSON]:
    filters = listing.filters
    rows: list[JSON] = []
    assert filters.price is not None
    assert filters.percent_price_by_side is not None
    rows.append(
        {
            "filterType": "PRICE_FILTER",
            "minPrice": plain(filters.price.min),
            "maxPrice": plain(filters.price.max),
            "tickSize": plain(filters.price.tick),
        }
    )
    for name, lot in (("LOT_SIZE", filters.lot), ("MARKET_LOT_SIZE", filters.market_lot)):
        assert lot is not None
        rows.append(
            {"filterType": name, "minQty": plain(lot.min), "maxQty": plain(lot.max), "stepSize": plain(lot.step)}
        )
    rows.append({"filterType": "MAX_NUM_ORDERS", "limit": filters.max_num_orders})
    if dialect.is_inverse or not protocol.has(Change.ALGO_LIMIT_GONE):
        rows.append(
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": filters.max_num_algo_orders if dialect.is_inverse else 10}
        )
    if filters.notional is not None:
        rows.append({"filterType": "MIN_NOTIONAL", "notional": plain(filters.notional.min)})
    band = filters.percent_price_by_side
    rows.append(
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": f"{band.bid_up:.4f}",
            "multiplierDown": f"{band.ask_down:.4f}",
            "multiplierDecimal": "4",
        }
    )
    return rows
