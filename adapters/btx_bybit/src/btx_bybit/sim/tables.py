"""What Bybit lists, with the venue's own trading rules: data, with source and date.

Ticks, steps and smallest quantities: of the venue in 2026 (LEAN's symbol properties, which are made from
``GET /v5/market/instruments-info``).  The other limits of BTCUSDT: docs/v5/market/instrument.mdx of 2025, where the
venue's answer is shown; of the other contracts in USDT on ETH, XRP, DOGE, ADA, LTC and TRX, of BTCUSD and LTCUSD, and
of spot in USDT on those coins (but what a market order may be): the venue's answer of April 2025, which ccxt's tests
keep.  Those of the rest are of the same order and not copied from a dated answer.
Risk limits: the first tiers of BTCUSDT, ETHUSDT and BTCUSD are the venue's of about 2025 (docs/v5/market/risk-limit.mdx
and answers shown in public issues); the tiers above follow their rule, and so do those of the other symbols.  The
deductions ("mmDeduction") are what makes the tiers join.
"""

from decimal import Decimal

import attrs

from btx.model.derivatives import LeverageTier
from btx.sim.skin.tables import rows, tiers

__all__ = ("CONTRACTS", "PAIRS", "Contract", "Pair", "derived_contract", "derived_pair", "tiers_of")


@attrs.frozen(kw_only=True)
class Pair:
    """The rules of one spot pair; quantities are base units, amounts quote units."""

    tick: Decimal
    step: Decimal  # basePrecision
    quote_precision: Decimal
    min_quantity: Decimal
    min_amount: Decimal
    max_quantity: Decimal  # of a limit order
    market_max: Decimal
    ratio_x: Decimal  # how far a limit price may lie from the last one
    ratio_y: Decimal


@attrs.frozen(kw_only=True)
class Contract:
    """The rules of one contract; quantities are base units, of an inverse contract dollars."""

    tick: Decimal
    min_price: Decimal
    max_price: Decimal
    step: Decimal
    max_quantity: Decimal
    market_max: Decimal
    min_notional: Decimal | None  # quote units; an inverse contract has none
    max_leverage: int
    funding_minutes: int
    funding_cap: Decimal
    ratio_x: Decimal
    ratio_y: Decimal
    launch_ms: int


#              tick       step  smallest  amount    largest  by market  ratio x  ratio y
_SPOT = """
BTC/USDT        0.1   0.000001  0.000011  5             83       41.5     0.01     0.02
ETH/USDT       0.01    0.00001   0.00029  5   4616.1353715       1400     0.01     0.03
SOL/USDT       0.01      0.001     0.006  5          70000      35000     0.01     0.02
XRP/USDT     0.0001       0.01      0.44  5 2390343.014223    1195000     0.02     0.06
BNB/USDT        0.1     0.0001    0.0019  5           5000       2500     0.01     0.02
DOGE/USDT   0.00001        0.1         3  5 22340128.455739  11170000     0.03     0.06
ADA/USDT     0.0001       0.01      1.07  5 7591573.353578    3795000     0.05      0.1
LTC/USDT       0.01    0.00001   0.00923  5  22975.3015508      11487     0.05      0.1
LINK/USDT      0.01      0.001      0.04  5         300000     150000     0.01     0.02
DOT/USDT      0.001      0.001     0.133  5        1000000     500000     0.01     0.02
AVAX/USDT      0.01      0.001      0.06  5         200000     100000     0.01     0.02
TRX/USDT     0.0001       0.01      3.91  5 11125945.705385   5562000     0.03     0.06
BCH/USDT        0.1      0.001     0.003  5          10000       5000     0.01     0.02
SUI/USDT     0.0001       0.01      0.22  5        1500000     750000     0.01     0.02
USDC/USDT    0.0001       0.01         1  1        8000000    4000000    0.005     0.01
BTC/USDC        0.1   0.000001  0.000011  5             83       41.5    0.005     0.01
ETH/USDC       0.01    0.00001   0.00029  5           2800       1400    0.005     0.01
SOL/USDC       0.01      0.001     0.006  5          70000      35000     0.01     0.02
XRP/USDC     0.0001       0.01      0.44  5        5000000    2500000     0.01     0.02
ETH/BTC    0.000001    0.00001   0.00029  0.00001     1500        750     0.01     0.02
"""

#             tick     max price   step     largest   by market  lev.  min.      cap     x     y  launched
_LINEAR = """
BTC/USDT      0.10    1999999.80  0.001    1190.000     500.000   100   480  0.00375  0.01  0.02  1585526400000
ETH/USDT      0.01     199999.98   0.01     7240.00      724.00   100   480    0.005  0.02  0.04  1615766400000
SOL/USDT     0.010     19999.980    0.1     79770.0     19090.0   100   480    0.005  0.05   0.1  1634256000000
XRP/USDT    0.0001     1999.9998      1    10965300     2467800    75   480   0.0058  0.05   0.1  1620898440000
BNB/USDT      0.10     199999.80   0.01    16000.00     4000.00    75   480    0.005  0.05   0.1  1624838400000
DOGE/USDT  0.00001     199.99998      1    43678900     5991100    75   480   0.0058  0.05   0.1  1622630640000
ADA/USDT    0.0001     1999.9998      1     6315500     1109600    75   480   0.0058  0.05   0.1  1610668800000
LTC/USDT      0.01     199999.98    0.1     28740.0      6160.0    50   480     0.01  0.05   0.1  1514764800000
LINK/USDT    0.001      1999.998    0.1    300000.0     90000.0    75   480    0.005  0.05   0.1  1603065600000
DOT/USDT    0.0001     1999.9998    0.1    800000.0    300000.0    75   480    0.005  0.05   0.1  1615766400000
AVAX/USDT    0.001      1999.998    0.1    200000.0     60000.0    75   480    0.005  0.05   0.1  1631923200000
TRX/USDT   0.00001     199.99998      1     5417800     1356000    75   480   0.0058  0.05   0.1  1628726400000
BCH/USDT      0.10     199999.80   0.01    10000.00     3500.00    75   480    0.005  0.05   0.1  1615766400000
SUI/USDT   0.00010    1999.99980     10     3000000      900000    75   240     0.01  0.05   0.1  1683072000000
"""

#             tick     max price   step     largest   by market  lev.  min.      cap     x     y  launched
_INVERSE = """
BTC/USD       0.10    1999999.80      1    25000000     5000000   100   480  0.00375  0.05   0.1  1542211200000
ETH/USD       0.01     199999.98      1    10000000     3000000   100   480  0.00375  0.01  0.02  1548381600000
SOL/USD       0.01      19999.98      1     2000000      500000    50   480    0.005  0.05   0.1  1647302400000
XRP/USD     0.0001     1999.9998      1     3000000      600000    50   480    0.005  0.05   0.1  1548381600000
ADA/USD     0.0001     1999.9998      1     1000000      250000    50   480    0.005  0.05   0.1  1639353600000
AVAX/USD     0.001      1999.998      1     1000000      250000    50   480    0.005  0.05   0.1  1646870400000
BCH/USD       0.01      19999.98      1     1000000      250000    50   480    0.005  0.05   0.1  1646870400000
DOGE/USD   0.00001     199.99998      1     1000000      250000    50   480    0.005  0.05   0.1  1646870400000
DOT/USD      0.001      1999.998      1     1000000      250000    50   480    0.005  0.05   0.1  1627603200000
LINK/USD     0.001      1999.998      1     1000000      250000    50   480    0.005  0.05   0.1  1646870400000
LTC/USD       0.01     199999.98      1      400000       80000    50   480   0.0075  0.05   0.1  1648684800000
SUI/USD     0.0001     1999.9998      1     1000000      250000    50   480    0.005  0.05   0.1  1683072000000
"""

_MIN_NOTIONAL = Decimal(5)
_STEPS = Decimal(10**9)  # a symbol that nobody knows: quantities up to so many steps,
_TICKS = Decimal(10**8)  # and prices up to so many ticks
_LAUNCHED_MS = 1_609_459_200_000


def derived_pair(*, tick: Decimal, step: Decimal) -> Pair:
    """Return rules for a pair that is in no table, on a grid of its own."""
    return Pair(
        tick=tick,
        step=step,
        quote_precision=tick * step,
        min_quantity=step,
        min_amount=Decimal(1),
        max_quantity=step * _STEPS,
        market_max=step * _STEPS / 2,
        ratio_x=Decimal("0.05"),
        ratio_y=Decimal("0.1"),
    )


def derived_contract(*, tick: Decimal, step: Decimal, is_inverse: bool) -> Contract:
    """Return rules for a contract that is in no table, on a grid of its own."""
    unit = Decimal(1) if is_inverse else step
    return Contract(
        tick=tick,
        min_price=tick,
        max_price=tick * _TICKS,
        step=unit,
        max_quantity=Decimal(1_000_000) if is_inverse else unit * _STEPS,
        market_max=Decimal(250_000) if is_inverse else unit * _STEPS / 4,
        min_notional=None if is_inverse else _MIN_NOTIONAL,
        max_leverage=25,
        funding_minutes=240,
        funding_cap=Decimal("0.01"),
        ratio_x=Decimal("0.05"),
        ratio_y=Decimal("0.1"),
        launch_ms=_LAUNCHED_MS,
    )


def _pairs() -> dict[str, Pair]:
    return {
        name: Pair(
            tick=tick,
            step=step,
            quote_precision=tick * step,
            min_quantity=least,
            min_amount=amount,
            max_quantity=most,
            market_max=market,
            ratio_x=x,
            ratio_y=y,
        )
        for name, (tick, step, least, amount, most, market, x, y) in rows(_SPOT)
    }


def _contracts() -> dict[str, Contract]:
    known: dict[str, Contract] = {}
    for table, min_notional in ((_LINEAR, _MIN_NOTIONAL), (_INVERSE, None)):
        for name, (tick, top, step, most, market, leverage, minutes, cap, x, y, launched) in rows(table):
            known[name] = Contract(
                tick=tick,
                min_price=tick,
                max_price=top,
                step=step,
                max_quantity=most,
                market_max=market,
                min_notional=min_notional,
                max_leverage=int(leverage),
                funding_minutes=int(minutes),
                funding_cap=cap,
                ratio_x=x,
                ratio_y=y,
                launch_ms=int(launched),
            )
    return known


PAIRS = _pairs()
"""Spot pairs by BASE/QUOTE."""

CONTRACTS = _contracts()
"""Contracts by BASE/QUOTE; the delivery contracts of a pair keep the perpetual's rules."""

# Each tier: its limit (quote units, of an inverse contract the base coin), its largest leverage, its rate.
_TIERS = {
    "BTC/USDT": """2000000:100:0.005 2600000:90:0.0056 3200000:80:0.00625 3800000:70:0.0072 4400000:60:0.00834
                   5000000:50:0.01 10000000:40:0.0125 20000000:30:0.0167 40000000:20:0.025 80000000:15:0.0334
                   160000000:10:0.05 240000000:5:0.1 320000000:3:0.167 400000000:2:0.25 800000000:1:0.5""",
    "ETH/USDT": """1000000:100:0.005 1500000:75:0.0067 2000000:60:0.0084 4000000:50:0.01 8000000:40:0.0125
                   16000000:25:0.02 32000000:15:0.0334 64000000:10:0.05 128000000:5:0.1 200000000:2:0.25
                   400000000:1:0.5""",
    "BTC/USD": "150:100:0.005 300:50:0.01 450:35:0.015 600:27:0.02 750:22:0.025 1000:18:0.03 1500:10:0.05 2500:5:0.1 "
    "4000:2:0.25 8000:1:0.5",
    "ETH/USD": "3000:100:0.005 6000:50:0.01 9000:33:0.015 12000:25:0.02 18000:16:0.03 24000:12:0.04 30000:10:0.05 "
    "60000:5:0.1 120000:2:0.25 240000:1:0.5",
}
_OTHER_LINEAR = "200000:75:0.0067 500000:50:0.01 1000000:25:0.02 4000000:12:0.04 8000000:6:0.08 20000000:2:0.25"
_OTHER_INVERSE = "2000:50:0.01 5000:25:0.02 20000:12:0.04 100000:5:0.1 400000:2:0.25"


def tiers_of(pair: str, *, is_inverse: bool, max_leverage: int) -> tuple[LeverageTier, ...]:
    """Return the risk limits of BASE/QUOTE, lowest first; of what is in no table those of a small contract."""
    text = _TIERS.get(pair) or (_OTHER_INVERSE if is_inverse else _OTHER_LINEAR)
    return tuple(attrs.evolve(tier, max_leverage=min(tier.max_leverage, max_leverage)) for tier in tiers(text))
