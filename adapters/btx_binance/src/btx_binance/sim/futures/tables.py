"""What the futures markets list, with the venue's own trading rules: data, with source and date.

Contracts: ``GET /fapi/v1/exchangeInfo`` and ``GET /dapi/v1/exchangeInfo`` of
2025-08-07; SOL, DOGE and AVAX of USD-M: tick and step of 2026 (LEAN's symbol
properties, made from exchangeInfo), the rest of them as of comparable contracts.
Leverage tiers: of USD-M as the venue had them in October 2024 (the freqtrade
project's copy of ``leverageBracket``); of COIN-M those of about 2024, for which no
document with a date was at hand: their shape is the venue's, the values may be
another day's.  The maintenance amounts are what makes the tiers join.
"""

from decimal import Decimal

import attrs

from btx.model.derivatives import LeverageTier
from btx.sim.skin.tables import rows, tiers

__all__ = ("CONTRACTS", "PRICE_DIGITS", "Contract", "derived", "tiers_of")


@attrs.frozen(kw_only=True)
class Contract:
    """The rules of one contract; quantities are base units, of COIN-M contracts of ``size`` quote units."""

    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    max_quantity: Decimal
    market_max: Decimal
    min_notional: Decimal | None = None  # quote units
    size: Decimal = Decimal(1)
    band: Decimal  # how far a limit may lie from the mark, up and down
    protect: Decimal  # triggerProtect
    liquidation_fee: Decimal
    take_bound: Decimal  # marketTakeBound
    onboard_ms: int


#            tick     min price  max price  step  max quantity  market max  min notional  band  protect  liq fee  bound
_USDM = """
BTC/USDT   0.1       556.8     4529764  0.001      1000       120  100  0.05  0.05  0.0125  0.05
ETH/USDT   0.01      39.86      306177  0.001     10000      2000   20  0.05  0.05  0.0125  0.05
BCH/USDT   0.01      13.93      100000  0.001     10000       850   20  0.05  0.05  0.0125  0.05
XRP/USDT   0.0001    0.0143     100000    0.1  10000000   2000000    5  0.05  0.05  0.0125  0.05
LTC/USDT   0.01      3.61       100000  0.001     10000      5000   20  0.05  0.05  0.0125  0.05
TRX/USDT   0.00001   0.00132     20000      1  10000000   5000000    5  0.05  0.05  0.0125  0.05
ETC/USDT   0.001     1.051      100000   0.01    100000     10000   20   0.1   0.1  0.0125   0.1
LINK/USDT  0.001     0.464      100000   0.01    200000     20000   20   0.1   0.1  0.0125   0.1
XLM/USDT   0.00001   0.00648     20000      1  10000000   1000000    5  0.05  0.05  0.0125  0.05
ADA/USDT   0.0001    0.0174      20000      1   6000000   1300000    5  0.05  0.05  0.0125  0.05
XMR/USDT   0.01      4.36       100000  0.001     10000      1200    5  0.05  0.05  0.0125  0.05
DASH/USDT  0.01      3.82       100000  0.001     10000      3000    5   0.1   0.1   0.015   0.1
ZEC/USDT   0.01      2.85       100000  0.001      6000      2000    5   0.1   0.1   0.025   0.1
BNB/USDT   0.01      6.6        100000   0.01    100000      2000    5  0.05  0.05  0.0125  0.05
ATOM/USDT  0.001     0.251      100000   0.01    100000     20000    5   0.1   0.1   0.015   0.1
VET/USDT   0.000001  0.00208      2000      1  10000000   2500000    5  0.05  0.05   0.015  0.05
NEO/USDT   0.001     1.093      100000   0.01    100000     10000    5  0.05  0.05   0.015  0.05
ALGO/USDT  0.0001    0.0141       1000    0.1   5000000   1000000    5  0.05  0.05   0.015  0.05
SOL/USDT   0.01      0.42       100000   0.01   1000000     10000    5  0.05  0.05  0.0125  0.05
DOGE/USDT  0.00001   0.00244     20000      1  50000000  30000000    5  0.05  0.05  0.0125  0.05
AVAX/USDT  0.001     0.14       100000      1    100000     15000    5  0.05  0.05  0.0125  0.05
"""

#           tick   min price  max price  step  max quantity  market max  size  band  protect  liq fee  bound  onboarded
_COINM = """
BTC/USD   0.1      1000    4520958  1  1000000   60000  100  0.05  0.05   0.015  0.05  1597042800000
ETH/USD   0.01       50     306159  1  1000000  500000   10  0.05  0.05   0.015  0.05  1597734000000
LINK/USD  0.001     0.5       2650  1  1000000   25000   10  0.05  0.05    0.01  0.05  1597734000000
BNB/USD   0.01        7      40227  1  1000000   25000   10  0.05  0.05    0.01  0.05  1597993200000
DOT/USD   0.001     0.4       2386  1  1000000   50000   10  0.05  0.05    0.01  0.05  1598338800000
ADA/USD   0.0001  0.017        202  1  2000000   25000   10  0.05  0.05    0.01  0.05  1598425200000
LTC/USD   0.01      3.8      17047  1  1000000    8000   10  0.05  0.05    0.02  0.05  1599462000000
BCH/USD   0.01     14.4      63936  1  1000000   20000   10  0.05  0.05    0.01  0.05  1599462000000
XRP/USD   0.0001  0.015        111  1   200000   40000   10  0.05  0.05    0.01  0.05  1599634800000
ETC/USD   0.001     1.2       6392  1  1000000    5000   10   0.1  0.05    0.01   0.1  1599634800000
DOGE/USD  0.00001 0.002         30  1  1000000   30000   10  0.05  0.05  0.0175  0.05  1612162800000
SOL/USD   0.01      0.3      10000  1   100000    5000   10  0.05  0.05   0.025  0.05  1630479600000
AVAX/USD  0.01     0.01     100000  1    10000   10000   10  0.05  0.05    0.01  0.05  1637650800000
"""

_USDM_ONBOARD_MS = 1_569_398_400_000
_STEPS = Decimal(10**9)  # a contract that nobody knows: quantities up to so many steps,
_TICKS = Decimal(10**8)  # and prices up to so many ticks


def derived(*, tick: Decimal, step: Decimal, is_inverse: bool) -> Contract:
    """Return rules for a contract that is in no table, on a grid of its own."""
    return Contract(
        tick=tick,
        min_price=tick,
        max_price=tick * _TICKS,
        step=Decimal(1) if is_inverse else step,
        max_quantity=Decimal(1_000_000) if is_inverse else step * _STEPS,
        market_max=Decimal(50_000) if is_inverse else step * _STEPS,
        min_notional=None if is_inverse else Decimal(5),
        size=Decimal(10) if is_inverse else Decimal(1),
        band=Decimal("0.05"),
        protect=Decimal("0.05"),
        liquidation_fee=Decimal("0.015"),
        take_bound=Decimal("0.05"),
        onboard_ms=_USDM_ONBOARD_MS,
    )


def _contracts() -> dict[str, Contract]:
    known: dict[str, Contract] = {}
    for name, (tick, low, high, step, top, market, notional, band, protect, fee, bound) in rows(_USDM):
        known[name] = Contract(
            tick=tick,
            min_price=low,
            max_price=high,
            step=step,
            max_quantity=top,
            market_max=market,
            min_notional=notional,
            band=band,
            protect=protect,
            liquidation_fee=fee,
            take_bound=bound,
            onboard_ms=_USDM_ONBOARD_MS,
        )
    for name, (tick, low, high, step, top, market, size, band, protect, fee, bound, onboard) in rows(_COINM):
        known[name] = Contract(
            tick=tick,
            min_price=low,
            max_price=high,
            step=step,
            max_quantity=top,
            market_max=market,
            size=size,
            band=band,
            protect=protect,
            liquidation_fee=fee,
            take_bound=bound,
            onboard_ms=int(onboard),
        )
    return known


# pricePrecision where it is finer than the tick, exchangeInfo of 2025-08-07: "please do not use it as tickSize".
PRICE_DIGITS = {"BTC/USDT": 2, "BNB/USDT": 3, "ADA/USDT": 5, "BNB/USD": 3, "ADA/USD": 5, "DOGE/USD": 6, "SOL/USD": 3}

CONTRACTS = _contracts()
"""Contracts by BASE/QUOTE; the delivery contracts of a pair keep the perpetual's rules."""

# Each tier: its cap (of USD-M in the quote asset, of COIN-M in the base coin), its largest leverage, its rate.
_TIERS = {
    "BTC/USDT": """50000:125:0.004 600000:100:0.005 3000000:75:0.0065 12000000:50:0.01 70000000:25:0.02
                   100000000:20:0.025 230000000:10:0.05 480000000:5:0.1 600000000:4:0.125 800000000:3:0.15
                   1200000000:2:0.25 1800000000:1:0.5""",
    "ETH/USDT": """50000:125:0.004 600000:100:0.005 3000000:75:0.0065 12000000:50:0.01 50000000:25:0.02
                   65000000:20:0.025 150000000:10:0.05 320000000:5:0.1 400000000:4:0.125 530000000:3:0.15
                   800000000:2:0.25 1200000000:1:0.5""",
    "SOL/USDT": """20000:100:0.005 100000:75:0.0065 800000:50:0.01 4000000:25:0.02 8000000:20:0.025
                   40000000:10:0.05 80000000:5:0.1 100000000:4:0.125 200000000:2:0.25 400000000:1:0.5""",
    "XRP/USDT": """10000:75:0.005 20000:50:0.0065 160000:40:0.01 800000:25:0.02 1600000:20:0.025
                   8000000:10:0.05 16000000:5:0.1 20000000:4:0.125 40000000:2:0.25 80000000:1:0.5""",
    "BNB/USDT": """10000:75:0.005 50000:50:0.006 200000:40:0.01 1500000:25:0.02 3000000:20:0.025
                   15000000:10:0.05 30000000:5:0.1 37500000:4:0.125 75000000:2:0.25 150000000:1:0.5""",
    "DOGE/USDT": """10000:75:0.005 50000:50:0.007 750000:40:0.01 800000:25:0.02 1600000:20:0.025
                    8000000:10:0.05 16000000:5:0.1 20000000:4:0.125 40000000:2:0.25 80000000:1:0.5""",
    "BTC/USD": "5:125:0.004 10:100:0.005 20:50:0.01 50:20:0.025 100:10:0.05 200:5:0.1 400:4:0.125 1000:3:0.15 "
    "1500:2:0.25 2000:1:0.5",
    "ETH/USD": "15:100:0.005 30:75:0.0065 100:50:0.01 200:25:0.02 500:20:0.025 1000:10:0.05 2000:5:0.1 4000:4:0.125 "
    "10000:3:0.15 20000:2:0.25 30000:1:0.5",
}
_OTHER_LINEAR = """10000:75:0.005 50000:50:0.01 80000:40:0.015 400000:25:0.02 800000:20:0.025 4000000:10:0.05
                   8000000:5:0.1 20000000:4:0.125 30000000:2:0.25 50000000:1:0.5"""
_OTHER_INVERSE = "500:50:0.01 1000:20:0.025 5000:10:0.05 10000:5:0.1 50000:2:0.25 500000:1:0.5"


def tiers_of(pair: str, *, is_inverse: bool) -> tuple[LeverageTier, ...]:
    """Return the leverage tiers of BASE/QUOTE, lowest first; of what is in no table those of a small contract."""
    return tiers(_TIERS.get(pair) or (_OTHER_INVERSE if is_inverse else _OTHER_LINEAR))
