"""Leverage brackets for who has no key: data, with source and date.

The venue tells its brackets (``leverageBracket``) to a key only, and paper trades without one.  USD-M: as the venue
had them in October 2024 (the freqtrade project's copy of its answers).  COIN-M: of about 2024, no document with a
date was at hand.  A contract in no table has those of a small one, which ask for more margin than most.  The
maintenance amounts are what makes the brackets join.
"""

from decimal import Decimal

from btx.model.derivatives import LeverageTier
from btx.model.instrument import Instrument, InstrumentKind

__all__ = ("brackets_of",)

# Each bracket: its cap (of USD-M in the quote asset, of COIN-M in the base coin), its largest leverage, its rate.
_BRACKETS = {
    "BTC/USDT": """50000:125:0.004 600000:100:0.005 3000000:75:0.0065 12000000:50:0.01 70000000:25:0.02
        100000000:20:0.025 230000000:10:0.05 480000000:5:0.1 600000000:4:0.125 800000000:3:0.15
        1200000000:2:0.25 1800000000:1:0.5""",
    "ETH/USDT": """50000:125:0.004 600000:100:0.005 3000000:75:0.0065 12000000:50:0.01 50000000:25:0.02
        65000000:20:0.025 150000000:10:0.05 320000000:5:0.1 400000000:4:0.125 530000000:3:0.15
        800000000:2:0.25 1200000000:1:0.5""",
    "SOL/USDT": """20000:100:0.005 100000:75:0.0065 800000:50:0.01 4000000:25:0.02 8000000:20:0.025
        40000000:10:0.05 80000000:5:0.1 100000000:4:0.125 200000000:2:0.25 400000000:1:0.5""",
    "XRP/USDT": """10000:75:0.005 20000:50:0.0065 160000:40:0.01 800000:25:0.02 1600000:20:0.025 8000000:10:0.05
        16000000:5:0.1 20000000:4:0.125 40000000:2:0.25 80000000:1:0.5""",
    "BNB/USDT": """10000:75:0.005 50000:50:0.006 200000:40:0.01 1500000:25:0.02 3000000:20:0.025 15000000:10:0.05
        30000000:5:0.1 37500000:4:0.125 75000000:2:0.25 150000000:1:0.5""",
    "DOGE/USDT": """10000:75:0.005 50000:50:0.007 750000:40:0.01 800000:25:0.02 1600000:20:0.025 8000000:10:0.05
        16000000:5:0.1 20000000:4:0.125 40000000:2:0.25 80000000:1:0.5""",
    "LINK/USDT": """10000:75:0.005 50000:50:0.01 80000:40:0.015 400000:25:0.02 800000:20:0.025 4000000:10:0.05
        8000000:5:0.1 20000000:4:0.125 30000000:2:0.25 50000000:1:0.5""",
    "1000PEPE/USDT": """20000:75:0.0065 200000:50:0.01 300000:40:0.015 1500000:25:0.02 3000000:20:0.025 15000000:10:0.05
        30000000:5:0.1 37500000:4:0.125 75000000:2:0.25 150000000:1:0.5""",
    "BTC/USDC": """50000:125:0.004 500000:100:0.005 10000000:50:0.01 80000000:20:0.025 150000000:10:0.05
        300000000:5:0.1 450000000:4:0.125 600000000:3:0.15 800000000:2:0.25 1000000000:1:0.5""",
    "ETH/USDC": """50000:125:0.004 500000:100:0.005 1000000:75:0.0065 5000000:50:0.01 50000000:20:0.02
        100000000:10:0.05 150000000:5:0.1 300000000:4:0.125 400000000:3:0.15 500000000:2:0.25
        800000000:1:0.5""",
    "BTC/USD": """5:125:0.004 10:100:0.005 20:50:0.01 50:20:0.025 100:10:0.05 200:5:0.1 400:4:0.125 1000:3:0.15
        1500:2:0.25 2000:1:0.5""",
    "ETH/USD": """15:100:0.005 30:75:0.0065 100:50:0.01 200:25:0.02 500:20:0.025 1000:10:0.05 2000:5:0.1 4000:4:0.125
        10000:3:0.15 20000:2:0.25 30000:1:0.5""",
}
_SMALL_LINEAR = """10000:75:0.005 50000:50:0.01 80000:40:0.015 400000:25:0.02 800000:20:0.025 4000000:10:0.05
    8000000:5:0.1 20000000:4:0.125 30000000:2:0.25 50000000:1:0.5"""
_SMALL_INVERSE = "500:50:0.01 1000:20:0.025 5000:10:0.05 10000:5:0.1 50000:2:0.25 500000:1:0.5"


def brackets_of(instrument: Instrument) -> tuple[LeverageTier, ...]:
    """Return the brackets of a contract, lowest first; a delivery contract has those of its pair's perpetual."""
    small = _SMALL_INVERSE if instrument.kind is InstrumentKind.INVERSE else _SMALL_LINEAR
    tiers: list[LeverageTier] = []
    floor = rate = amount = Decimal(0)
    for item in _BRACKETS.get(f"{instrument.base}/{instrument.quote}", small).split():
        cap, leverage, higher = map(Decimal, item.split(":"))
        amount += floor * (higher - rate) if tiers else Decimal(0)
        rate = higher
        tiers.append(
            LeverageTier(
                floor=floor, cap=cap, max_leverage=int(leverage), maintenance_rate=rate, maintenance_amount=amount
            )
        )
        floor = cap
    return tuple(tiers)
