"""The symbols the simulated venue lists, with the venue's own trading rules.

Values of :data:`_FULL`: ``GET /api/v3/exchangeInfo`` of 2025-08-07.  Values of
:data:`_GRIDS`: tick, step and minimum notional of the venue in 2026 (LEAN's
symbol properties, which are made from exchangeInfo); the maxima there are not
known and are derived.  The filters that are the same for all symbols are those
of 2025-08-07, and three that filters.md describes since (of 2026): the limits of
icebergs, of order lists and of amendments.  Fees: the regular tier of the venue's schedule of 2026, 0.1 %.
"""

from decimal import Decimal
from pathlib import Path

import attrs

from btx.errors import ConfigError
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.venue import Scenario
from btx.sim.exchange import Listing
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PercentPriceBySide, PriceRange, TrailRange
from btx.sim.skin.text import JSON
from btx.sim.tape import grid_of
from btx_binance.sim import wire
from btx_binance.sim.meters import RATE_LIMITS, status

__all__ = ("exchange_info", "is_tabled", "listings")

#                tick     max price  step  max quantity  max market quantity  min notional
_FULL = """
BTC/USDT        0.01  1000000  0.00001      9000      97.09521512       5
ETH/USDT        0.01  1000000   0.0001      9000    2357.34408702       5
ETH/BTC      0.00001   922327   0.0001    100000    1378.22417541  0.0001
BNB/BTC     0.000001   100000    0.001    100000    1507.76687866  0.0001
BNB/ETH       0.0001     1000    0.001   9000000     709.32798333   0.001
LTC/BTC     0.000001   100000    0.001    100000    1887.97569874  0.0001
NEO/BTC    0.0000001   100000     0.01    100000    2191.75154811  0.0001
QTUM/BTC  0.00000001     1000      0.1  90000000   24610.85541666  0.0001
QTUM/ETH    0.000001     1000      0.1  90000000   23719.63041666   0.001
GAS/BTC    0.0000001     1000      0.1  90000000    3457.87791666  0.0001
LRC/BTC   0.00000001     1000        1  90000000  218118.79079497  0.0001
LRC/ETH   0.00000001     1000        1  90000000   62817.77083333   0.001
"""

#                 tick     step  min notional
_GRIDS = """
BNB/USDT         0.01    0.001       5
SOL/USDT         0.01    0.001       5
XRP/USDT       0.0001      0.1       5
DOGE/USDT     0.00001        1       1
ADA/USDT       0.0001      0.1       5
AVAX/USDT       0.001     0.01       5
LINK/USDT       0.001     0.01       5
DOT/USDT        0.001     0.01       5
LTC/USDT         0.01    0.001       5
TRX/USDT       0.0001      0.1       5
NEAR/USDT       0.001      0.1       5
ATOM/USDT       0.001     0.01       5
UNI/USDT        0.001     0.01       5
ETC/USDT         0.01     0.01       5
XLM/USDT       0.0001        1       5
FIL/USDT       0.0001     0.01       5
AAVE/USDT        0.01    0.001       5
SUI/USDT       0.0001      0.1       5
PEPE/USDT  0.00000001        1       1
SHIB/USDT  0.00000001        1       1
BCH/USDT          0.1    0.001       5
TON/USDT        0.001     0.01       5
APT/USDT        0.001     0.01       5
ARB/USDT       0.0001      0.1       5
OP/USDT        0.0001     0.01       5
INJ/USDT        0.001     0.01       5
ACH/USDT      0.00001        1       5
PHA/USDT       0.0001        1       5
BTC/USDC         0.01  0.00001       5
ETH/USDC         0.01   0.0001       5
BNB/USDC         0.01    0.001       5
SOL/USDC         0.01    0.001       5
XRP/USDC       0.0001      0.1       5
BTC/FDUSD        0.01  0.00001       5
ETH/FDUSD        0.01   0.0001       5
SOL/BTC     0.0000001    0.001  0.0001
XRP/BTC    0.00000001      0.1  0.0001
DOGE/BTC   0.00000001        1  0.0001
ADA/BTC    0.00000001      0.1  0.0001
LINK/BTC    0.0000001     0.01  0.0001
BCH/BTC      0.000001    0.001  0.0001
TRX/BTC    0.00000001        1  0.0001
AVAX/BTC    0.0000001     0.01  0.0001
"""

_QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "EUR", "TRY", "BRL", "BTC", "ETH", "BNB")
_MIN_NOTIONALS = {"BTC": Decimal("0.0001"), "ETH": Decimal("0.001"), "BNB": Decimal("0.01")}
_MIN_NOTIONAL = Decimal(5)
_MAX_NOTIONAL = Decimal(9_000_000)
_FULL_TICKS = Decimal(10**8)  # derived listings: prices up to so many ticks,
_FULL_STEPS = Decimal(10**9)  # and quantities up to so many steps
_SYNTHETIC_GRID = (Decimal("0.0001"), Decimal("0.01"))  # tick and step of a symbol nobody knows

_FEES = FeeSchedule(
    maker=Decimal("0.001"),
    taker=Decimal("0.001"),
    source="www.binance.com/en/fee/schedule, regular user, 2026",
)
_PERCENT_PRICE = PercentPriceBySide(
    bid_up=Decimal(5), bid_down=Decimal("0.2"), ask_up=Decimal(5), ask_down=Decimal("0.2"), avg_price_mins=5
)

_TRAILING = TrailRange(min_above_bps=10, max_above_bps=2000, min_below_bps=10, max_below_bps=2000)


@attrs.frozen(kw_only=True)
class _Rules:
    base: str
    quote: str
    tick: Decimal
    max_price: Decimal
    step: Decimal
    max_quantity: Decimal
    market_max: Decimal
    min_notional: Decimal


_USUAL = ("BTC/USDT", "ETH/USDT")
"""What the synthetic market trades when nobody says."""


def listings(scenario: Scenario) -> tuple[Listing, ...]:
    """Return a listing for each symbol the scenario plays.

    A symbol that is not in the tables gets its grid from the decimals of its
    data file, or one that fits the synthetic market.

    Raises:
        ConfigError: a symbol's base and quote cannot be told apart.
    """
    symbols = scenario.data or dict.fromkeys(scenario.symbols or _USUAL)
    return tuple(_listing(_rules(symbol, path)) for symbol, path in symbols.items())


def is_tabled(symbol: str) -> bool:
    """Say whether the rules of a symbol, written ``BTC/USDT``, are the venue's own and not derived."""
    return symbol in _TABLE


def _listing(rules: _Rules) -> Listing:
    instrument = Instrument(
        venue="binance",
        symbol=f"{rules.base}/{rules.quote}",
        venue_symbol=rules.base + rules.quote,
        kind=InstrumentKind.SPOT,
        base=rules.base,
        quote=rules.quote,
        settle=rules.quote,
        tick_size=rules.tick,
        step_size=rules.step,
        min_quantity=rules.step,
        max_quantity=rules.max_quantity,
        market_max_quantity=rules.market_max,
        min_price=rules.tick,
        max_price=rules.max_price,
        min_notional=rules.min_notional,
        max_notional=_MAX_NOTIONAL,
    )
    filters = FilterSet(
        price=PriceRange(min=rules.tick, max=rules.max_price, tick=rules.tick),
        lot=LotRange(min=rules.step, max=rules.max_quantity, step=rules.step),
        market_lot=LotRange(max=rules.market_max),
        notional=NotionalRange(min=rules.min_notional, max=_MAX_NOTIONAL),
        percent_price_by_side=_PERCENT_PRICE,
        trailing_delta=_TRAILING,
        iceberg_parts=10,
        max_num_orders=200,
        max_num_algo_orders=5,
        max_num_iceberg_orders=10,
        max_num_order_lists=20,
        max_num_order_amends=10,
    )
    return Listing(instrument=instrument, filters=filters, fees=_FEES)


def _rules(symbol: str, path: Path | None) -> _Rules:
    base, quote = _split(symbol)
    known = _TABLE.get(f"{base}/{quote}")
    if path is None:
        return known or _derived(base, quote, *_SYNTHETIC_GRID)
    tick, step = grid_of(path)
    if known is None:
        return _derived(base, quote, tick, step)
    # Data of another year may lie on a finer grid than the table's.
    return attrs.evolve(known, tick=min(tick, known.tick), step=min(step, known.step))


def _split(symbol: str) -> tuple[str, str]:
    text = symbol.upper()
    base, slash, quote = text.partition("/")
    if ":" in quote:
        raise ConfigError(f"{symbol!r} is a contract, and this market is spot: write market='usdm' or 'coinm'")
    if slash:
        return base, quote
    for known in _QUOTES:
        if text.endswith(known) and text != known:
            return text.removesuffix(known), known
    raise ConfigError(f"{symbol!r}: cannot tell base and quote apart; write them as BASE/QUOTE, like 'BTC/USDT'")


def _derived(base: str, quote: str, tick: Decimal, step: Decimal, min_notional: Decimal | None = None) -> _Rules:
    return _Rules(
        base=base,
        quote=quote,
        tick=tick,
        max_price=tick * _FULL_TICKS,
        step=step,
        max_quantity=step * _FULL_STEPS,
        market_max=step * _FULL_STEPS,
        min_notional=_MIN_NOTIONALS.get(quote, _MIN_NOTIONAL) if min_notional is None else min_notional,
    )


def _read_tables() -> dict[str, _Rules]:
    table: dict[str, _Rules] = {}
    for line in _FULL.split("\n")[1:-1]:
        symbol, *columns = line.split()
        tick, max_price, step, max_quantity, market_max, min_notional = map(Decimal, columns)
        base, quote = symbol.split("/")
        table[symbol] = _Rules(
            base=base,
            quote=quote,
            tick=tick,
            max_price=max_price,
            step=step,
            max_quantity=max_quantity,
            market_max=market_max,
            min_notional=min_notional,
        )
    for line in _GRIDS.split("\n")[1:-1]:
        symbol, *columns = line.split()
        tick, step, min_notional = map(Decimal, columns)
        base, quote = symbol.split("/")
        table[symbol] = _derived(base, quote, tick, step, min_notional)
    return table


_TABLE = _read_tables()

# --- exchangeInfo ----------------------------------------------------------------------------------------


def exchange_info(shown: list[Listing], server_time_ms: int) -> JSON:
    """Return ``exchangeInfo`` of these listings (rest-api.md, "Exchange information")."""
    return {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [status(limit) for limit in RATE_LIMITS],
        "exchangeFilters": [],
        "symbols": [_symbol(listing) for listing in shown],
    }


def _symbol(listing: Listing) -> JSON:
    instrument = listing.instrument
    return {
        "symbol": instrument.venue_symbol,
        "status": "TRADING" if instrument.is_trading else "BREAK",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(wire.ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(listing.filters),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": wire.SELF_TRADE_PREVENTION,
        "allowedSelfTradePreventionModes": list(wire.SELF_TRADE_PREVENTION_MODES),
    }


def _filters(filters: FilterSet) -> list[JSON]:
    """Return the filters as filters.md writes them, in the order exchangeInfo has them."""
    number = wire.number
    rows: list[JSON] = []
    if (price := filters.price) is not None:
        rows.append(
            {
                "filterType": "PRICE_FILTER",
                "minPrice": number(price.min),
                "maxPrice": number(price.max),
                "tickSize": number(price.tick),
            }
        )
    for name, lot in (("LOT_SIZE", filters.lot), ("MARKET_LOT_SIZE", filters.market_lot)):
        if lot is not None:
            rows.append(
                {
                    "filterType": name,
                    "minQty": number(lot.min),
                    "maxQty": number(lot.max),
                    "stepSize": number(lot.step),
                }
            )
    if (around := filters.percent_price) is not None:
        rows.append(
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": str(around.up),
                "multiplierDown": str(around.down),
                "avgPriceMins": around.avg_price_mins,
            }
        )
    if filters.max_position is not None:
        rows.append({"filterType": "MAX_POSITION", "maxPosition": number(filters.max_position)})
    if (percent := filters.percent_price_by_side) is not None:
        rows.append(
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": str(percent.bid_up),
                "bidMultiplierDown": str(percent.bid_down),
                "askMultiplierUp": str(percent.ask_up),
                "askMultiplierDown": str(percent.ask_down),
                "avgPriceMins": percent.avg_price_mins,
            }
        )
    if (notional := filters.notional) is not None:
        rows.append(
            {
                "filterType": "NOTIONAL",
                "minNotional": number(notional.min),
                "applyMinToMarket": notional.apply_min_to_market,
                "maxNotional": number(notional.max),
                "applyMaxToMarket": notional.apply_max_to_market,
                "avgPriceMins": 5,
            }
        )
    if (trail := filters.trailing_delta) is not None:
        rows.append(
            {
                "filterType": "TRAILING_DELTA",
                "minTrailingAboveDelta": trail.min_above_bps,
                "maxTrailingAboveDelta": trail.max_above_bps,
                "minTrailingBelowDelta": trail.min_below_bps,
                "maxTrailingBelowDelta": trail.max_below_bps,
            }
        )
    counts = (
        ("ICEBERG_PARTS", "limit", filters.iceberg_parts),
        ("MAX_NUM_ORDERS", "maxNumOrders", filters.max_num_orders),
        ("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", filters.max_num_algo_orders),
        ("MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders", filters.max_num_iceberg_orders),
        ("MAX_NUM_ORDER_LISTS", "maxNumOrderLists", filters.max_num_order_lists),
        ("MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends", filters.max_num_order_amends),
    )
    rows += [{"filterType": name, field: limit} for name, field, limit in counts if limit is not None]
    return sorted(rows, key=lambda row: _FILTER_ORDER.index(row["filterType"]))


_FILTER_ORDER = (
    "PRICE_FILTER",
    "LOT_SIZE",
    "ICEBERG_PARTS",
    "MARKET_LOT_SIZE",
    "TRAILING_DELTA",
    "PERCENT_PRICE",
    "PERCENT_PRICE_BY_SIDE",
    "NOTIONAL",
    "MAX_POSITION",
    "MAX_NUM_ORDERS",
    "MAX_NUM_ORDER_LISTS",
    "MAX_NUM_ALGO_ORDERS",
    "MAX_NUM_ICEBERG_ORDERS",
    "MAX_NUM_ORDER_AMENDS",
)
