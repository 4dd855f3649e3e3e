"""What the simulated exchanges list: a few contracts, their grids, rates and hours.

Sources: multipliers, ticks and hours of the contracts as the exchanges' rule books had them in 2025 (SHFE, DCE,
CZCE, CFFEX, INE); margin and fees are round figures of their order of magnitude, as brokers' own differ and change
by the month. Holidays: the State Council's arrangements for 2025 and 2026, weekdays alone.
"""

import datetime
from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.errors import ConfigError
from btx.model.calendar import Calendar, TradingHours
from btx.model.derivatives import LeverageTier
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_S
from btx.model.venue import Scenario
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange, PriceRange

__all__ = ("CURRENCY", "LEVERAGE", "PRODUCTS", "Product", "listings", "product_of")

CURRENCY = "CNY"
LEVERAGE = 10
"""What the margin of a tenth of the notional is."""

USUAL = ("SHFE.rb2601", "SHFE.ag2512")
"""What the synthetic market trades when nobody says."""

_HOUR = 3600
_DAY_SESSIONS = ((9 * _HOUR, 10 * _HOUR + 900), (10 * _HOUR + 1800, 11 * _HOUR + 1800), (13.5 * _HOUR, 15 * _HOUR))
_INDEX_SESSIONS = ((9.5 * _HOUR, 11.5 * _HOUR), (13 * _HOUR, 15 * _HOUR))
_HOLIDAYS = (
    "2025-01-01 2025-01-28 2025-01-29 2025-01-30 2025-01-31 2025-02-03 2025-02-04 2025-04-04 2025-05-01 2025-05-02 "
    "2025-05-05 2025-06-02 2025-10-01 2025-10-02 2025-10-03 2025-10-06 2025-10-07 2025-10-08 2026-01-01 2026-01-02 "
    "2026-02-16 2026-02-17 2026-02-18 2026-02-19 2026-02-20 2026-02-23 2026-04-06 2026-05-01 2026-05-04 2026-05-05 "
    "2026-06-19 2026-09-25 2026-10-01 2026-10-02 2026-10-05 2026-10-06 2026-10-07"
)
_RATE = Decimal("0.0001")  # of the notional: to open, to close, and to close what was opened today
_CENTURY = 2000


@attrs.frozen(kw_only=True)
class Product:
    """A family of contracts: where it trades, what one is of, and until when it trades at night."""

    exchange: str
    name: str
    multiplier: int
    tick: Decimal
    night_s: int = 0  # seconds after 21:00; 0: no night session
    is_index: bool = False

    @property
    def has_days(self) -> bool:
        """Whether an order must say if it closes what was opened today, or before: at SHFE and INE."""
        return self.exchange in {"SHFE", "INE"}

    @property
    def calendar(self) -> Calendar:
        """When it trades."""
        sessions = _INDEX_SESSIONS if self.is_index else _DAY_SESSIONS
        hours = [TradingHours(open_s=int(begin), close_s=int(end)) for begin, end in sessions]
        if self.night_s:
            hours.insert(0, TradingHours(open_s=-3 * _HOUR, close_s=-3 * _HOUR + self.night_s))
        return Calendar(
            name=f"{self.exchange}.{self.name}",
            zone="Asia/Shanghai",
            hours=tuple(hours),
            holidays=frozenset(datetime.date.fromisoformat(day) for day in _HOLIDAYS.split()),
            skips_night_before_holiday=True,
            source="the exchanges' rule books, 2025; the State Council's holidays of 2025 and 2026",
        )


PRODUCTS: Mapping[str, Product] = {
    each.name: each
    for each in (
        Product(exchange="SHFE", name="rb", multiplier=10, tick=Decimal(1), night_s=2 * _HOUR),
        Product(exchange="SHFE", name="ag", multiplier=15, tick=Decimal(1), night_s=int(5.5 * _HOUR)),
        Product(exchange="INE", name="sc", multiplier=1000, tick=Decimal("0.1"), night_s=int(5.5 * _HOUR)),
        Product(exchange="DCE", name="m", multiplier=10, tick=Decimal(1), night_s=2 * _HOUR),
        Product(exchange="CZCE", name="SR", multiplier=10, tick=Decimal(1), night_s=2 * _HOUR),
        Product(exchange="CFFEX", name="IF", multiplier=300, tick=Decimal("0.2"), is_index=True),
    )
}


def product_of(symbol: str) -> Product:
    """Return the family of a contract, written as its exchange does.

    Raises:
        ConfigError: it is of none that is listed here.
    """
    name, month = symbol.rstrip("0123456789"), symbol.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    product = PRODUCTS.get(name)
    digits = 3 if product is not None and product.exchange == "CZCE" else 4
    if product is None or len(month) != digits or not 1 <= int(month[-2:]) <= 12:
        known = ", ".join(f"{each.name} ({each.exchange})" for each in PRODUCTS.values())
        raise ConfigError(
            f"{symbol!r} is no contract of CTP's simulator: write exchange, product and month, like 'SHFE.rb2601' or "
            f"'CZCE.SR601'; there are {known}"
        )
    return product


def listings(scenario: Scenario) -> tuple[Listing, ...]:
    """Return a listing for each symbol the scenario plays.

    Raises:
        ConfigError: a symbol is no contract, or of no product that is known here.
    """
    return tuple(_listing(symbol) for symbol in scenario.data or dict.fromkeys(scenario.symbols or USUAL))


def _listing(symbol: str) -> Listing:
    exchange, _, contract = symbol.rpartition(".")
    product = product_of(contract)
    if exchange not in {"", product.exchange}:
        raise ConfigError(f"{symbol!r}: {product.name} is traded at {product.exchange}")
    instrument = Instrument(
        venue="ctp",
        symbol=f"{product.exchange}.{contract}",
        venue_symbol=contract,
        kind=InstrumentKind.FUTURE,
        base=product.name,
        quote=CURRENCY,
        settle=CURRENCY,
        tick_size=product.tick,
        step_size=Decimal(1),
        min_quantity=Decimal(1),
        max_quantity=Decimal(500),
        multiplier=Decimal(product.multiplier),
        delivery_ns=_last_day_ns(contract),
    )
    return Listing(
        instrument=instrument,
        filters=FilterSet(
            price=PriceRange(min=product.tick, tick=product.tick),
            lot=LotRange(min=Decimal(1), max=Decimal(500), step=Decimal(1)),
        ),
        fees=FeeSchedule(maker=_RATE, taker=_RATE, source="a round figure"),
        tiers=(LeverageTier(floor=Decimal(0), max_leverage=LEVERAGE, maintenance_rate=Decimal("0.05")),),
        calendar=product.calendar,
    )


def _last_day_ns(symbol: str) -> int:
    """Return the end of the contract's life: 15:00 in Shanghai on the 15th of its month."""
    year, month = int(symbol[-4:-2]) if symbol[-4:].isdigit() else 20 + int(symbol[-3]), int(symbol[-2:])
    last = datetime.datetime(_CENTURY + year, month, 15, 7, tzinfo=datetime.UTC)
    return int(last.timestamp()) * NS_PER_S
