"""What the simulated OpenD lists: shares with their lots and price steps, hours and fees of paper trading.

Lots: HKEX's list of securities, 2025. Price steps: HKEX, "Spread Table" after phase 1 of 2025-08-04. Hours: HKEX
and NYSE. Holidays: HKEX's calendars of 2025 and 2026, NYSE's of 2025 to 2027; days that are cut short are whole ones.
"""

import datetime
from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from btx.errors import ConfigError
from btx.model.calendar import Calendar, TradingHours
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.venue import Scenario
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange

__all__ = ("MARKETS", "Exchange", "listings", "spread_at")

_HK_HOLIDAYS = (
    "2025-01-01 2025-01-29 2025-01-30 2025-01-31 2025-04-04 2025-04-18 2025-04-21 2025-05-01 2025-05-05 2025-07-01 "
    "2025-10-01 2025-10-07 2025-10-29 2025-12-25 2025-12-26 2026-01-01 2026-02-17 2026-02-18 2026-02-19 2026-04-03 "
    "2026-04-06 2026-04-07 2026-05-01 2026-05-25 2026-06-19 2026-07-01 2026-10-01 2026-10-19 2026-12-25"
)
_US_HOLIDAYS = (
    "2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27 "
    "2025-12-25 2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26 "
    "2026-12-25 2027-01-01 2027-01-18 2027-02-15 2027-03-26 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-11-25 "
    "2027-12-24"
)


@attrs.frozen(kw_only=True)
class Exchange:
    """One market: what OpenD calls it, and when it trades."""

    prefix: str
    currency: str
    zone: str
    quote_market: int  # Qot_Common.QotMarket
    trade_market: int  # Trd_Common.TrdMarket
    security_market: int  # Trd_Common.TrdSecMarket
    paper_cash: int  # what a new paper account has
    hours: tuple[tuple[int, int], ...]  # minutes after midnight
    holidays: str

    @property
    def calendar(self) -> Calendar:
        """When it trades."""
        return Calendar(
            name=f"{self.prefix} in the box",
            zone=self.zone,
            hours=tuple(TradingHours(open_s=open_ * 60, close_s=close * 60) for open_, close in self.hours),
            holidays=frozenset(datetime.date.fromisoformat(each) for each in self.holidays.split()),
        )


MARKETS: Mapping[str, Exchange] = {
    "hk": Exchange(
        prefix="HK",
        currency="HKD",
        zone="Asia/Hong_Kong",
        quote_market=1,
        trade_market=1,
        security_market=1,
        paper_cash=1_000_000,
        hours=((9 * 60 + 30, 12 * 60), (13 * 60, 16 * 60)),
        holidays=_HK_HOLIDAYS,
    ),
    "us": Exchange(
        prefix="US",
        currency="USD",
        zone="America/New_York",
        quote_market=11,
        trade_market=2,
        security_market=2,
        paper_cash=1_000_000,
        hours=((9 * 60 + 30, 16 * 60),),
        holidays=_US_HOLIDAYS,
    ),
}

# Lot, and the price step at the price it has about now.
_SHARES: Mapping[str, tuple[int, str]] = {
    "HK.00700": (100, "0.2"),
    "HK.00005": (400, "0.05"),
    "HK.09988": (100, "0.1"),
    "HK.01810": (200, "0.02"),
    "US.AAPL": (1, "0.01"),
    "US.MSFT": (1, "0.01"),
    "US.NVDA": (1, "0.01"),
}
_USUAL = {"hk": ("HK.00700", "HK.00005"), "us": ("US.AAPL", "US.MSFT")}
_SPREADS = (
    *(("0.25", "0.001"), ("0.5", "0.005"), ("20", "0.01"), ("50", "0.02"), ("100", "0.05"), ("200", "0.1")),
    *(("500", "0.2"), ("1000", "0.5"), ("2000", "1"), ("5000", "2"), ("9995", "5")),
)
_FREE = FeeSchedule(maker=Decimal(0), taker=Decimal(0), source="paper trading is free")


def spread_at(market: str, price: Decimal) -> Decimal:
    """Return the price step at a price."""
    if market == "us":
        return Decimal("0.01") if price >= 1 else Decimal("0.0001")
    return next((Decimal(step) for below, step in _SPREADS if price < Decimal(below)), Decimal(5))


def listings(scenario: Scenario) -> Sequence[Listing]:
    """Return what a scenario plays.

    Raises:
        ConfigError: the box does not have such a share.
    """
    market = scenario.market or "hk"
    exchange = MARKETS[market]
    wanted = scenario.symbols or tuple(scenario.data) or _USUAL[market]
    strange = [each for each in wanted if each not in _SHARES or not each.startswith(f"{exchange.prefix}.")]
    if strange:
        known = ", ".join(each for each in _SHARES if each.startswith(f"{exchange.prefix}."))
        raise ConfigError(f"the simulated OpenD does not list {strange[0]} in market {market!r}: write one of {known}")
    return [_listing(each, exchange) for each in wanted]


def _listing(code: str, exchange: Exchange) -> Listing:
    lot, tick = _SHARES[code]
    return Listing(
        instrument=Instrument(
            venue="futu",
            symbol=code,
            venue_symbol=code,
            kind=InstrumentKind.STOCK,
            base=code,
            quote=exchange.currency,
            settle=exchange.currency,
            tick_size=Decimal(tick),
            step_size=Decimal(lot),
            min_quantity=Decimal(lot),
        ),
        filters=FilterSet(lot=LotRange(min=Decimal(lot), step=Decimal(lot))),
        fees=_FREE,
        calendar=exchange.calendar,
    )
