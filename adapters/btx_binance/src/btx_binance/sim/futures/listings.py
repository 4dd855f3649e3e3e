"""The listings of a futures market: which contracts a scenario plays, and what they are called.

A contract is written ``BTC/USDT:USDT`` (perpetual), ``BTC/USDT:USDT-261225`` (delivered on that day),
by the plain pair, which means the perpetual, or as the venue writes it: ``BTCUSDT``,
``BTCUSDT_261225``, ``BTCUSD_PERP``, ``BTCUSD_261225``.
"""

import datetime
import re
from decimal import Decimal
from pathlib import Path

import attrs

from btx.errors import ConfigError
from btx.model.fees import FeeLevel, FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import NS_PER_S
from btx.model.venue import Scenario
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PercentPriceBySide, PriceRange
from btx.sim.tape import grid_of
from btx_binance.sim.futures.market import Dialect
from btx_binance.sim.futures.tables import CONTRACTS, PRICE_DIGITS, Contract, derived, tiers_of

__all__ = ("contract_of", "listings", "named", "price_digits")

# change-log 2025-12-29: "The conditional order limits is 200 across all symbols"; COIN-M tells its own of a symbol.
_ALGO_ORDERS = 200
_COIN_ALGO_ORDERS = 20

_WRITTEN = re.compile(r"(?P<base>[A-Z0-9]+)/(?P<quote>[A-Z]+)(?::(?P<settle>[A-Z0-9]+))?(?:-(?P<day>\d{6}))?")
_LINEAR_QUOTES = ("USDT", "USDC", "BTC")
_DELIVERY_HOUR = 8  # quarterly contracts are settled at 08:00 UTC of their last Friday
_SYNTHETIC_GRID = (Decimal("0.0001"), Decimal("0.001"))

# Volume of 30 days in USD, maker and taker, as www.binance.com/en/fee/futureFee had them about 2025; no copy with
# a date was at hand.  The BNB that a tier asks for besides lies in another wallet, which is not modelled.
_LADDER = """
VIP 1     15000000  0.00016  0.0004
VIP 2     50000000  0.00014  0.00035
VIP 3    100000000  0.00012  0.00032
VIP 4    600000000  0.0001   0.0003
VIP 5   1000000000  0.00008  0.00027
VIP 6   2500000000  0.00006  0.00025
VIP 7   5000000000  0.00004  0.00022
VIP 8  12500000000  0.00002  0.0002
VIP 9  25000000000  0        0.00017
"""


@attrs.frozen(kw_only=True)
class _Name:
    """What a contract is, read off how it is written."""

    base: str
    quote: str
    day: str  # 261225, "" for a perpetual
    is_inverse: bool

    @property
    def pair(self) -> str:
        return f"{self.base}/{self.quote}"

    @property
    def settle(self) -> str:
        return self.base if self.is_inverse else self.quote

    @property
    def symbol(self) -> str:
        return f"{self.pair}:{self.settle}" + (f"-{self.day}" if self.day else "")

    @property
    def venue_symbol(self) -> str:
        ending = self.day or ("PERP" if self.is_inverse else "")
        return f"{self.base}{self.quote}" + (f"_{ending}" if ending else "")


def named(scenario: Scenario, dialect: Dialect) -> Scenario:
    """Return the scenario with every symbol written in full.

    Raises:
        ConfigError: a symbol is none of this market.
    """
    return attrs.evolve(
        scenario,
        symbols=tuple(_name(symbol, dialect).symbol for symbol in scenario.symbols),
        data={_name(symbol, dialect).symbol: path for symbol, path in scenario.data.items()},
        funding={_name(symbol, dialect).symbol: path for symbol, path in scenario.funding.items()},
    )


def listings(scenario: Scenario, dialect: Dialect) -> tuple[Listing, ...]:
    """Return a listing for each symbol the scenario plays.

    A contract that is in no table gets its grid from the decimals of its data
    file, or one that fits the synthetic market.

    Raises:
        ConfigError: a symbol is none of this market.
    """
    symbols = scenario.data or dict.fromkeys(scenario.symbols or dialect.usual)
    return tuple(_listing(_name(symbol, dialect), path) for symbol, path in symbols.items())


def contract_of(instrument: Instrument) -> Contract:
    """Return the rules an instrument was listed by, for what only exchangeInfo tells."""
    known = CONTRACTS.get(f"{instrument.base}/{instrument.quote}")
    is_inverse = instrument.kind is InstrumentKind.INVERSE
    return known or derived(tick=instrument.tick_size, step=instrument.step_size, is_inverse=is_inverse)


def price_digits(instrument: Instrument) -> int:
    """Return how many decimals a price may be written with; the tick may be coarser."""
    known = PRICE_DIGITS.get(f"{instrument.base}/{instrument.quote}", 0)
    return max(known, -int(instrument.tick_size.normalize().as_tuple().exponent), 0)


def _name(text: str, dialect: Dialect) -> _Name:
    written = _WRITTEN.fullmatch(text.upper())
    if written is not None:
        name = _Name(
            base=written["base"], quote=written["quote"], day=written["day"] or "", is_inverse=dialect.is_inverse
        )
        if written["settle"] in (None, name.settle) and dialect.is_inverse is (name.quote == "USD"):
            return name
    else:
        venues = _venue_name(text.upper(), dialect)
        if venues is not None:
            return venues
    example = dialect.usual[0]
    raise ConfigError(
        f"{text!r} is no contract of Binance's market {dialect.name!r}: write it like {example!r}, "
        f"or {example + '-261225'!r} for one that is delivered on a day"
    )


def _venue_name(text: str, dialect: Dialect) -> _Name | None:
    pair, _, ending = text.partition("_")
    quotes = ("USD",) if dialect.is_inverse else _LINEAR_QUOTES
    day = "" if ending in ("", "PERP") else ending
    is_complete = bool(ending) if dialect.is_inverse else ending != "PERP"
    for quote in quotes:
        if pair.endswith(quote) and pair != quote and is_complete and re.fullmatch(r"(\d{6})?", day):
            return _Name(base=pair.removesuffix(quote), quote=quote, day=day, is_inverse=dialect.is_inverse)
    return None


def _listing(name: _Name, path: Path | None) -> Listing:
    known = CONTRACTS.get(name.pair)
    tick, step = _SYNTHETIC_GRID if path is None else grid_of(path)
    contract = known or derived(tick=tick, step=step, is_inverse=name.is_inverse)
    if known is not None and path is not None:
        # Data of another year may lie on a finer grid than the table's.
        finer = known.step if name.is_inverse else min(step, known.step)  # contracts are whole, volumes may be coins
        contract = attrs.evolve(known, tick=min(tick, known.tick), step=finer)
    low = -(-contract.min_price // contract.tick) * contract.tick
    instrument = Instrument(
        venue="binance",
        symbol=name.symbol,
        venue_symbol=name.venue_symbol,
        kind=InstrumentKind.INVERSE if name.is_inverse else InstrumentKind.LINEAR,
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
        multiplier=contract.size,
        delivery_ns=_delivery_ns(name.day) if name.day else None,
        liquidation_fee=contract.liquidation_fee,
    )
    filters = FilterSet(
        price=PriceRange(min=low, max=contract.max_price, tick=contract.tick),
        lot=LotRange(min=contract.step, max=contract.max_quantity, step=contract.step),
        market_lot=LotRange(min=contract.step, max=contract.market_max, step=contract.step),
        notional=None if contract.min_notional is None else NotionalRange(min=contract.min_notional),
        # common-definition, PERCENT_PRICE: a buy is bound above and a sell below, by the mark price.
        percent_price_by_side=PercentPriceBySide(
            bid_up=1 + contract.band,
            bid_down=Decimal(0),
            ask_up=Decimal("Infinity"),
            ask_down=1 - contract.band,
            avg_price_mins=0,
        ),
        max_num_orders=200,
        max_num_order_amends=10_000,
        max_num_algo_orders=_COIN_ALGO_ORDERS if name.is_inverse else _ALGO_ORDERS,
    )
    return Listing(
        instrument=instrument,
        filters=filters,
        fees=_COIN_FEES if name.is_inverse else _FEES,
        tiers=tiers_of(name.pair, is_inverse=name.is_inverse),
    )


def _delivery_ns(day: str) -> int:
    try:
        date = datetime.datetime.strptime(day, "%y%m%d").replace(hour=_DELIVERY_HOUR, tzinfo=datetime.UTC)
    except ValueError as error:
        raise ConfigError(f"{day!r} is no day of delivery: write it as YYMMDD, like '261225'") from error
    return int(date.timestamp()) * NS_PER_S


def _levels() -> tuple[FeeLevel, ...]:
    levels = []
    for line in _LADDER.strip().splitlines():
        name, number, volume, maker, taker = line.split()
        levels.append(
            FeeLevel(
                tier=f"{name} {number}",
                volume=Decimal(volume),
                maker=Decimal(maker),
                taker=Decimal(taker),
            )
        )
    return tuple(levels)


_FEES = FeeSchedule(
    maker=Decimal("0.0002"),
    taker=Decimal("0.0005"),
    discount_asset="BNB",
    discount=Decimal("0.1"),
    levels=_levels(),
    source="www.binance.com/en/fee/futureFee, regular user, 2025",
)
_COIN_FEES = FeeSchedule(
    maker=Decimal("0.0002"),
    taker=Decimal("0.0005"),
    source="www.binance.com/en/fee/deliveryFee, regular user, 2025",
)
