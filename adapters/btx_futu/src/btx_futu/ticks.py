"""Price steps, which grow with the price.

Hong Kong: HKEX, "Reduction of Minimum Spreads", phase 1, in force since 2025-08-04, for equities.  Phase 2 (0.005 from
0.50 to 10) was announced for 2026: a price of the coarser grid is on the finer one, too.  Exchange traded products have
spreads of their own, of which that holds as well up to 10 dollars alone.
New York: Regulation NMS, rule 612: 0.01, below one dollar 0.0001.
"""

from collections.abc import Mapping
from decimal import Decimal

from btx.model.instrument import TickStep
from btx_futu.symbols import market_of

__all__ = ("finest_tick", "tick_steps")


def _steps(text: str) -> tuple[TickStep, ...]:
    pairs = (pair.split(":") for pair in text.split())
    return tuple(TickStep(from_price=Decimal(start), tick_size=Decimal(tick)) for start, tick in pairs)


_STEPS: Mapping[str, tuple[TickStep, ...]] = {
    "hk": _steps("0:0.001 0.25:0.005 0.5:0.01 10:0.01 20:0.02 50:0.05 100:0.1 200:0.2 500:0.5 1000:1 2000:2 5000:5"),
    "us": _steps("0:0.0001 1:0.01"),
}


def tick_steps(symbol: str) -> tuple[TickStep, ...]:
    """Return from which price on which price step counts, in the market of a symbol."""
    return _STEPS[market_of(symbol)]


def finest_tick(symbol: str) -> Decimal:
    """Return the finest price step there is in the market of a symbol."""
    return tick_steps(symbol)[0].tick_size
