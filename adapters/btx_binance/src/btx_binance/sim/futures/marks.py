"""Mark prices and funding as anybody may ask for them (market-data/rest-api, 2026-05-28)."""

from collections.abc import Mapping
from typing import Any

from btx.model.derivatives import FundingRate
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, from_ms, to_ms
from btx.sim.exchange import Listing
from btx.sim.skin.text import JSON
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.futures.wire import money, pair_of
from btx_binance.sim.params import Param, Raw, long, symbol
from btx_binance.sim.venue import Ask, Call

__all__ = ("calls",)

_INTEREST = "0.00010000"
_INTERVAL_HOURS = 8
_RECENT = 200  # what is told when neither end is asked for
_CAP = "0.02000000"
_KEPT_NS = 365 * NS_PER_DAY  # how far back made-up rates are told


def _premium(venue: FuturesVenue, ask: Ask) -> Any:
    listings = _asked(venue, ask)
    rows = [_premium_row(venue, listing) for listing in listings]
    return rows[0] if "symbol" in ask.values and not venue.dialect.is_inverse else rows


def _premium_row(venue: FuturesVenue, listing: Listing) -> JSON:
    mark = venue.desk.mark(listing.venue_symbol)
    row: JSON = {
        "symbol": listing.venue_symbol,
        "markPrice": money(mark.mark_price),
        "indexPrice": money(mark.index_price),
        "estimatedSettlePrice": money(mark.index_price),
        "lastFundingRate": "" if mark.funding_rate is None else money(mark.funding_rate),
        "interestRate": "" if mark.funding_rate is None else _INTEREST,
        "nextFundingTime": 0 if mark.next_funding_ns is None else to_ms(mark.next_funding_ns),
        "time": to_ms(mark.time_ns),
    }
    return row | {"pair": pair_of(listing.instrument)} if venue.dialect.is_inverse else row


def _rates(venue: FuturesVenue, ask: Ask) -> list[JSON]:
    limit = ask.get("limit", 100)
    until_ns = min(from_ms(ask["endTime"]) if "endTime" in ask.values else ask.market_ns, ask.market_ns)
    start_ns = from_ms(ask["startTime"]) if "startTime" in ask.values else None
    reach_ns = _RECENT * _INTERVAL_HOURS * NS_PER_HOUR
    after_ns = until_ns - reach_ns if start_ns is None else start_ns - 1
    settled: list[tuple[Listing, FundingRate]] = [
        (listing, rate)
        for listing in _asked(venue, ask)
        for rate in venue.desk.funding_rates(
            listing.venue_symbol, after_ns=max(after_ns, ask.market_ns - _KEPT_NS), until_ns=until_ns
        )
    ]
    settled.sort(key=lambda row: row[1].time_ns)
    kept = settled[-limit:] if start_ns is None else settled[:limit]
    return [
        {
            "symbol": listing.venue_symbol,
            "fundingTime": to_ms(rate.time_ns),
            "fundingRate": money(rate.rate),
            "markPrice": "" if rate.mark_price is None else money(rate.mark_price),
        }
        for listing, rate in kept
    ]


def _info(venue: FuturesVenue, _: Ask) -> list[JSON]:
    """The venue lists those whose interval or bounds were changed; here all of them have the usual ones."""
    return [
        {
            "symbol": listing.venue_symbol,
            "adjustedFundingRateCap": _CAP,
            "adjustedFundingRateFloor": f"-{_CAP}",
            "fundingIntervalHours": _INTERVAL_HOURS,
            "disclaimer": False,
        }
        for listing in venue.desk.listings.values()
        if listing.instrument.delivery_ns is None
    ]


def _asked(venue: FuturesVenue, ask: Ask) -> list[Listing]:
    if "symbol" in ask.values:
        return [venue.listing(ask["symbol"])]
    return [
        listing
        for listing in venue.desk.listings.values()
        if ask.get("pair", pair_of(listing.instrument)) == pair_of(listing.instrument)
    ]


def _premium_weight(sent: Mapping[str, Raw]) -> int:
    return 1 if "symbol" in sent else 10


def calls(dialect: Dialect) -> tuple[Call[FuturesVenue], ...]:
    """Return the calls about marks and funding of a market."""
    root = f"{dialect.prefix}/v1"
    which: tuple[Param, ...] = (symbol(mandatory=False),)
    if dialect.is_inverse:
        which = (*which, Param(name="pair", convert=symbol().convert))
    return (
        Call(
            run=_premium,
            rest=("GET", f"{root}/premiumIndex"),
            params=which,
            weight=10 if dialect.is_inverse else _premium_weight,
        ),
        Call(
            run=_rates,
            rest=("GET", f"{root}/fundingRate"),
            params=(
                symbol(mandatory=dialect.is_inverse),
                long("startTime"),
                long("endTime"),
                long("limit", maximum=1000),
            ),
        ),
        Call(run=_info, rest=("GET", f"{root}/fundingInfo"), weight=0),
    )
