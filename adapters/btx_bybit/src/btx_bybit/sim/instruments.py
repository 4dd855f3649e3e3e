"""``/v5/market/instruments-info`` and ``/v5/market/risk-limit``: what is listed, and by which rules.

docs/v5/market/instrument.mdx and risk-limit.mdx (2025).  A world plays one category; of the others, of options and of
contracts before their launch there are none.
"""

from decimal import Decimal

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_MINUTE, to_ms
from btx.sim.orders import Listing
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import invalid_category
from btx_bybit.sim.listings import CATEGORIES, INVERSE, LINEAR, contract_of, pair_of
from btx_bybit.sim.paging import page_of
from btx_bybit.sim.params import choice, integer, text
from btx_bybit.sim.venue import Ask, Call, Venue
from btx_bybit.sim.wire import grid, plain

__all__ = ("CALLS", "CATEGORY", "CONTRACTS", "contract_row", "spot_row")

CATEGORY = choice("category", (*CATEGORIES, "option"), error=invalid_category(), mandatory=True)
"""The category every request names."""

CONTRACTS = choice("category", (LINEAR, INVERSE, "option"), error=invalid_category(), mandatory=True)
"""The category of what spot does not have: positions, risk limits, funding, open interest."""

_STATUSES = ("PreLaunch", "Trading", "Delivering", "Closed", "Settling")
_CENT = Decimal("0.00000001")


def _info(venue: Venue, ask: Ask) -> JSON:
    category, status = ask["category"], ask.get("status", "Trading")
    listed = venue.engine.listings.values() if category == venue.category else ()
    rows = [
        spot_row(listing) if category == "spot" else contract_row(listing)
        for listing in listed
        if ask.get("symbol", listing.venue_symbol) == listing.venue_symbol
        and (venue.is_spot or ask.get("baseCoin", listing.instrument.base) == listing.instrument.base)
        and status == _status(listing, ask.market_ns)
    ]
    if category == "spot":
        return {"category": category, "list": rows}
    page, cursor = page_of(rows, ask, usual=500)
    return {"category": category, "list": page, "nextPageCursor": cursor}


def _status(listing: Listing, now_ns: int) -> str:
    delivery_ns = listing.instrument.delivery_ns
    return "Closed" if delivery_ns is not None and now_ns >= delivery_ns else "Trading"


def spot_row(listing: Listing) -> JSON:
    """Return a spot pair with its rules."""
    instrument, pair = listing.instrument, pair_of(listing.instrument)
    return {
        "symbolId": _number(instrument),
        "symbol": instrument.venue_symbol,
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "none",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": plain(instrument.step_size),
            "quotePrecision": plain(instrument.tick_size * instrument.step_size),
            "minOrderQty": plain(pair.min_quantity),
            "maxOrderQty": plain(instrument.max_quantity),
            "minOrderAmt": plain(instrument.min_notional),
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": plain(instrument.max_quantity),
            "maxMarketOrderQty": plain(instrument.market_max_quantity),
            "postOnlyMaxLimitOrderSize": plain(instrument.max_quantity),
        },
        "priceFilter": {"tickSize": plain(instrument.tick_size)},
        "riskParameters": {"priceLimitRatioX": plain(pair.ratio_x), "priceLimitRatioY": plain(pair.ratio_y)},
        "symbolType": "",
    }


def contract_row(listing: Listing) -> JSON:
    """Return a contract with its rules."""
    instrument, contract = listing.instrument, contract_of(listing.instrument)
    tick, step = instrument.tick_size, instrument.step_size
    is_dated = instrument.delivery_ns is not None
    kind = "Inverse" if instrument.kind is InstrumentKind.INVERSE else "Linear"
    return {
        "symbol": instrument.venue_symbol,
        "symbolId": _number(instrument),
        "contractType": f"{kind}{'Futures' if is_dated else 'Perpetual'}",
        "status": "Trading",
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "launchTime": str(contract.launch_ms),
        "deliveryTime": "0" if instrument.delivery_ns is None else str(to_ms(instrument.delivery_ns)),
        "deliveryFeeRate": plain(listing.fees.taker) if is_dated else "",
        "priceScale": str(max(-int(tick.as_tuple().exponent), 0)),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": f"{max(tier.max_leverage for tier in listing.tiers)}.00",
            "leverageStep": "0.01",
        },
        "priceFilter": {
            "minPrice": grid(instrument.min_price, tick),
            "maxPrice": grid(instrument.max_price, tick),
            "tickSize": f"{tick:f}",
        },
        "lotSizeFilter": {
            "maxOrderQty": grid(instrument.max_quantity, step),
            "minOrderQty": grid(instrument.min_quantity, step),
            "qtyStep": f"{step:f}",
            "postOnlyMaxOrderQty": grid(instrument.max_quantity, step),
            "maxMktOrderQty": grid(instrument.market_max_quantity, step),
            "minNotionalValue": plain(instrument.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 0 if is_dated else listing.funding_interval_ns // NS_PER_MINUTE,
        "settleCoin": instrument.settle,
        "copyTrading": "none",
        "upperFundingRate": "" if is_dated else plain(contract.funding_cap),
        "lowerFundingRate": "" if is_dated else plain(-contract.funding_cap),
        "isPreListing": False,
        "preListingInfo": None,
        "riskParameters": {"priceLimitRatioX": plain(contract.ratio_x), "priceLimitRatioY": plain(contract.ratio_y)},
        "displayName": "",
        "symbolType": "",
        "forbidUplWithdrawal": False,
    }


def _number(instrument: Instrument) -> int:
    """Return a number of a symbol that is the same in every world."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(instrument.venue_symbol))


def _risk_limits(venue: Venue, ask: Ask) -> JSON:
    category = ask["category"]
    listed = venue.engine.listings.values() if category == venue.category and not venue.is_spot else ()
    rows = [
        row
        for listing in listed
        if ask.get("symbol", listing.venue_symbol) == listing.venue_symbol
        for row in _tiers(listing)
    ]
    return {"category": category, "list": rows, "nextPageCursor": ""}


def _tiers(listing: Listing) -> list[JSON]:
    return [
        {
            "id": number,
            "symbol": listing.venue_symbol,
            "riskLimitValue": plain(tier.cap),
            "maintenanceMargin": plain(tier.maintenance_rate),
            "initialMargin": plain((1 / Decimal(tier.max_leverage)).quantize(_CENT)),
            "isLowestRisk": 1 if number == 1 else 0,
            "maxLeverage": f"{tier.max_leverage}.00",
            "mmDeduction": plain(tier.maintenance_amount) if tier.maintenance_amount else "",
        }
        for number, tier in enumerate(listing.tiers, start=1)
    ]


CALLS: tuple[Call, ...] = (
    Call(
        run=_info,
        rest=("GET", "/v5/market/instruments-info"),
        params=(
            CATEGORY,
            text("symbol"),
            choice("status", _STATUSES),
            text("baseCoin"),
            integer("limit", least=1, most=1000),
            text("cursor"),
        ),
    ),
    Call(run=_risk_limits, rest=("GET", "/v5/market/risk-limit"), params=(CONTRACTS, text("symbol"), text("cursor"))),
)
"""What is listed."""
