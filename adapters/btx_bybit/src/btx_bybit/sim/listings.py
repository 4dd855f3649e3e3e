"""The listings of a market: what a scenario plays, and what it is called.

Pairs are written ``BTC/USDT`` or ``BTCUSDT``; contracts ``BTC/USDT:USDT`` and ``BTC/USD:BTC`` (perpetual),
``BTC/USDT:USDT-261225`` (delivered on that day), by the plain pair, which means the perpetual, or as the venue writes
them: ``BTCUSDT``, ``BTCPERP``, ``BTCUSDT-25DEC26``, ``BTC-25DEC26``, ``BTCUSDZ26``.
"""

import datetime
import re
from decimal import Decimal
from pathlib import Path

import attrs

from btx.errors import ConfigError
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx.model.venue import Scenario
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PercentPriceBySide, PriceRange
from btx.sim.orders import Listing
from btx.sim.tape import grid_of
from btx_bybit.sim.tables import (
    CONTRACTS,
    PAIRS,
    Contract,
    Pair,
    derived_contract,
    derived_pair,
    tiers_of,
)

__all__ = ("CATEGORIES", "INVERSE", "LINEAR", "SPOT", "category_of", "contract_of", "listings", "named", "pair_of")

SPOT, LINEAR, INVERSE = "spot", "linear", "inverse"
CATEGORIES = (SPOT, LINEAR, INVERSE)
"""The venue's categories that are modelled, which are the markets of a scenario."""

_KINDS = {SPOT: InstrumentKind.SPOT, LINEAR: InstrumentKind.LINEAR, INVERSE: InstrumentKind.INVERSE}
_USUAL = {
    SPOT: ("BTC/USDT", "ETH/USDT"),
    LINEAR: ("BTC/USDT:USDT", "ETH/USDT:USDT"),
    INVERSE: ("BTC/USD:BTC", "ETH/USD:ETH"),
}
_WRITTEN = re.compile(r"(?P<base>[A-Z0-9]+)/(?P<quote>[A-Z]+)(?::(?P<settle>[A-Z0-9]+))?(?:-(?P<day>\d{6}))?")
_VENUE_DAY = re.compile(r"(?P<pair>[A-Z0-9]+)-(?P<day>\d{1,2}[A-Z]{3}\d{2})")
_VENUE_QUARTER = re.compile(r"(?P<base>[A-Z0-9]+)USD(?P<letter>[HMUZ])(?P<year>\d{2})")
_QUARTERS = {"H": 3, "M": 6, "U": 9, "Z": 12}
_SPOT_QUOTES = ("USDT", "USDC", "USDE", "DAI", "EUR", "BRL", "BTC", "ETH")
_LINEAR_QUOTES = ("USDT", "USDC")
_DELIVERY_HOUR = 8  # futures are settled at 08:00 UTC
_SYNTHETIC_GRID = (Decimal("0.0001"), Decimal("0.01"))

# docs/v5/order/create-order.mdx, "Open orders up limit", 2025.
_ORDERS = 500
_CONDITIONALS = 10  # of a symbol
_SPOT_CONDITIONALS = 30

_LIQUIDATION_FEE = Decimal(0)  # of a position that is taken over the venue asks no fee beyond its margin

# www.bybit.com/en/help-center/article/Trading-Fee-Structure, VIP 0 outside special regions, 2025.
_SPOT_FEES = FeeSchedule(
    maker=Decimal("0.001"), taker=Decimal("0.001"), tier="No VIP", source="Bybit's trading fee structure, VIP 0, 2025"
)
_DERIVATIVE_FEES = FeeSchedule(
    maker=Decimal("0.0002"),
    taker=Decimal("0.00055"),
    tier="No VIP",
    source="Bybit's trading fee structure, VIP 0, 2025",
)


@attrs.frozen(kw_only=True)
class _Name:
    """What is traded, read off how it is written."""

    category: str
    base: str
    quote: str
    day: str = ""  # 261225, "" for what is not delivered

    @property
    def pair(self) -> str:
        return f"{self.base}/{self.quote}"

    @property
    def settle(self) -> str:
        return self.base if self.category == INVERSE else self.quote

    @property
    def symbol(self) -> str:
        if self.category == SPOT:
            return self.pair
        return f"{self.pair}:{self.settle}" + (f"-{self.day}" if self.day else "")

    @property
    def venue_symbol(self) -> str:
        if not self.day:
            is_usdc = self.category == LINEAR and self.quote == "USDC"
            return f"{self.base}PERP" if is_usdc else f"{self.base}{self.quote}"
        date = _date(self.day)
        if self.category == INVERSE:
            letters = {month: letter for letter, month in _QUARTERS.items()}
            if date.month not in letters:
                raise ConfigError(f"{self.day!r}: inverse futures are delivered in March, June, September or December")
            return f"{self.base}USD{letters[date.month]}{date:%y}"
        written = f"{date.day}{date:%b%y}".upper()
        return f"{self.base}-{written}" if self.quote == "USDC" else f"{self.base}{self.quote}-{written}"


def category_of(market: str) -> str:
    """Return the category of a scenario's market; ``""`` is the first.

    Raises:
        ConfigError: there is none.
    """
    if market in CATEGORIES:
        return market
    if market:
        raise ConfigError(
            f"Bybit has no market {market!r} in the simulator: write one of {', '.join(map(repr, CATEGORIES))}"
        )
    return SPOT


def named(scenario: Scenario) -> Scenario:
    """Return the scenario with every symbol written in full.

    Raises:
        ConfigError: a symbol is none of its market, or there is no such market.
    """
    category = category_of(scenario.market)
    return attrs.evolve(
        scenario,
        market=category,
        symbols=tuple(_name(symbol, category).symbol for symbol in scenario.symbols),
        data={_name(symbol, category).symbol: path for symbol, path in scenario.data.items()},
        funding={_name(symbol, category).symbol: path for symbol, path in scenario.funding.items()},
    )


def listings(scenario: Scenario) -> tuple[Listing, ...]:
    """Return a listing for each symbol the scenario plays.

    What is in no table gets its grid from the decimals of its data file, or one that fits the synthetic market.

    Raises:
        ConfigError: a symbol is none of its market, or there is no such market.
    """
    category = category_of(scenario.market)
    symbols = scenario.data or dict.fromkeys(scenario.symbols or _USUAL[category])
    return tuple(_listing(_name(symbol, category), path) for symbol, path in symbols.items())


def contract_of(instrument: Instrument) -> Contract:
    """Return the rules a contract was listed by, for what only instruments-info tells."""
    known = CONTRACTS.get(f"{instrument.base}/{instrument.quote}")
    is_inverse = instrument.kind is InstrumentKind.INVERSE
    return known or derived_contract(tick=instrument.tick_size, step=instrument.step_size, is_inverse=is_inverse)


def pair_of(instrument: Instrument) -> Pair:
    """Return the rules a spot pair was listed by, for what only instruments-info tells."""
    known = PAIRS.get(f"{instrument.base}/{instrument.quote}")
    return known or derived_pair(tick=instrument.tick_size, step=instrument.step_size)


# --- names -----------------------------------------------------------------------------------------------


def _name(text: str, category: str) -> _Name:
    text = text.upper()
    written = _WRITTEN.fullmatch(text)
    name = _of_ours(written, category) if written is not None else _of_the_venue(text, category)
    if name is not None:
        return name
    example = _USUAL[category][0]
    more = "" if category == SPOT else f", or {example + '-261225'!r} for one that is delivered on a day"
    raise ConfigError(f"{text!r} is nothing that Bybit's market {category!r} trades: write it like {example!r}{more}")


def _of_ours(written: re.Match[str], category: str) -> _Name | None:
    name = _Name(category=category, base=written["base"], quote=written["quote"], day=written["day"] or "")
    if category == SPOT:
        return name if written["settle"] is None and not name.day else None
    is_of_market = name.quote == "USD" if category == INVERSE else name.quote in _LINEAR_QUOTES
    return name if is_of_market and written["settle"] in (None, name.settle) else None


def _of_the_venue(text: str, category: str) -> _Name | None:
    if category == INVERSE and (quarter := _VENUE_QUARTER.fullmatch(text)) is not None:
        day = _last_friday(2000 + int(quarter["year"]), _QUARTERS[quarter["letter"]])
        return _Name(category=category, base=quarter["base"], quote="USD", day=day)
    dated = _VENUE_DAY.fullmatch(text) if category == LINEAR else None
    day = _day(dated["day"]) if dated is not None else ""
    pair = dated["pair"] if dated is not None else text
    if category == LINEAR and pair.endswith("PERP") and not day:
        return _Name(category=category, base=pair.removesuffix("PERP"), quote="USDC")
    quotes = {SPOT: _SPOT_QUOTES, LINEAR: ("USDT",), INVERSE: ("USD",)}[category]
    for quote in quotes:
        if pair.endswith(quote) and pair != quote:
            return _Name(category=category, base=pair.removesuffix(quote), quote=quote, day=day)
    return _Name(category=category, base=pair, quote="USDC", day=day) if day else None


def _date(day: str) -> datetime.datetime:
    try:
        return datetime.datetime.strptime(day, "%y%m%d").replace(hour=_DELIVERY_HOUR, tzinfo=datetime.UTC)
    except ValueError as error:
        raise ConfigError(f"{day!r} is no day of delivery: write it as YYMMDD, like '261225'") from error


def _day(written: str) -> str:
    try:
        return f"{datetime.datetime.strptime(written.title(), '%d%b%y').replace(tzinfo=datetime.UTC):%y%m%d}"
    except ValueError as error:
        raise ConfigError(f"{written!r} is no day of delivery: the venue writes it like '25DEC26'") from error


def _last_friday(year: int, month: int) -> str:
    """Return the day a quarterly contract is delivered."""
    last = datetime.date(year, month, {3: 31, 6: 30, 9: 30, 12: 31}[month])
    friday = last - datetime.timedelta(days=(last.weekday() - 4) % 7)
    return f"{friday:%y%m%d}"


# --- listings --------------------------------------------------------------------------------------------


def _listing(name: _Name, path: Path | None) -> Listing:
    return _spot_listing(name, path) if name.category == SPOT else _contract_listing(name, path)


def _spot_listing(name: _Name, path: Path | None) -> Listing:
    tick, step = _SYNTHETIC_GRID if path is None else grid_of(path)
    known = PAIRS.get(name.pair)
    pair = known or derived_pair(tick=tick, step=step)
    if known is not None and path is not None:
        # Data of another year may lie on a finer grid than the table's.
        pair = attrs.evolve(known, tick=min(tick, known.tick), step=min(step, known.step))
    instrument = Instrument(
        venue="bybit",
        symbol=name.symbol,
        venue_symbol=name.venue_symbol,
        kind=InstrumentKind.SPOT,
        base=name.base,
        quote=name.quote,
        settle=name.quote,
        tick_size=pair.tick,
        step_size=pair.step,
        min_quantity=pair.step,  # "no longer check minOrderQty, check minOrderAmt instead"
        max_quantity=pair.max_quantity,
        market_max_quantity=pair.market_max,
        min_notional=pair.min_amount,
    )
    filters = FilterSet(
        price=PriceRange(tick=pair.tick),
        lot=LotRange(min=pair.step, max=pair.max_quantity, step=pair.step),
        market_lot=LotRange(min=pair.step, max=pair.market_max, step=pair.step),
        notional=NotionalRange(min=pair.min_amount),
        percent_price_by_side=_band(pair.ratio_y),
        max_num_orders=_ORDERS,
        max_num_algo_orders=_SPOT_CONDITIONALS,
    )
    return Listing(instrument=instrument, filters=filters, fees=_SPOT_FEES)


def _contract_listing(name: _Name, path: Path | None) -> Listing:
    is_inverse = name.category == INVERSE
    tick, step = _SYNTHETIC_GRID if path is None else grid_of(path)
    known = CONTRACTS.get(name.pair)
    contract = known or derived_contract(tick=tick, step=step, is_inverse=is_inverse)
    if known is not None and path is not None:
        finer = known.step if is_inverse else min(step, known.step)  # contracts are whole, volumes may be coins
        contract = attrs.evolve(known, tick=min(tick, known.tick), step=finer)
    low = -(-contract.min_price // contract.tick) * contract.tick
    instrument = Instrument(
        venue="bybit",
        symbol=name.symbol,
        venue_symbol=name.venue_symbol,
        kind=_KINDS[name.category],
        base=name.base,
        quote=name.quote,
        settle=name.settle,
        tick_size=contract.tick,
        step_size=contract.step,
        min_quantity=contract.step,
        max_quantity=contract.max_quantity,
        market_max_quantity=contract.market_max,
        min_price=low,
        max_price=contract.max_price,
        min_notional=contract.min_notional,
        multiplier=Decimal(1),
        delivery_ns=int(_date(name.day).timestamp()) * NS_PER_S if name.day else None,
        liquidation_fee=_LIQUIDATION_FEE,
    )
    filters = FilterSet(
        price=PriceRange(min=low, max=contract.max_price, tick=contract.tick),
        lot=LotRange(min=contract.step, max=contract.max_quantity, step=contract.step),
        market_lot=LotRange(min=contract.step, max=contract.market_max, step=contract.step),
        notional=None if contract.min_notional is None else NotionalRange(min=contract.min_notional),
        percent_price_by_side=_band(contract.ratio_y),
        max_num_orders=_ORDERS,
        max_num_algo_orders=_CONDITIONALS,
    )
    return Listing(
        instrument=instrument,
        filters=filters,
        fees=_DERIVATIVE_FEES,
        tiers=tiers_of(name.pair, is_inverse=is_inverse, max_leverage=contract.max_leverage),
        funding_interval_ns=contract.funding_minutes * NS_PER_MINUTE,
    )


def _band(ratio: Decimal) -> PercentPriceBySide:
    """Return how far a limit may lie from the mark, of spot from the last price: a buy above, a sell below."""
    return PercentPriceBySide(
        bid_up=1 + ratio, bid_down=Decimal(0), ask_up=Decimal("Infinity"), ask_down=1 - ratio, avg_price_mins=0
    )
