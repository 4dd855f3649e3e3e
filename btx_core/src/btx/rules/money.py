"""The grids money is counted on, and a decimal context that is nobody else's business.

Two grids: what is booked has eight decimals, as at Binance and most venues; what a rule
keeps between bookings has twenty, so that only a division is ever rounded and sums stay
exact whatever their order.
"""

import decimal
from decimal import Decimal

__all__ = ("EXACT", "FINE_GRID", "MONEY_GRID", "ZERO", "booked", "fine")

EXACT = decimal.Context(prec=80, rounding=decimal.ROUND_HALF_EVEN)
"""In 80 digits every sum and product of money is exact. The caller's own context must not matter."""

FINE_GRID = Decimal("1e-20")
"""What a division gives is rounded to this: units of whatever asset it is."""

MONEY_GRID = Decimal("1e-8")
"""What a venue books is on this."""

ZERO = Decimal(0)
_SNAP = Decimal("1e-14")  # far above what divisions lose together, far below what a venue books


def fine(amount: Decimal) -> Decimal:
    """Return ``amount`` to twenty decimals, to the nearest."""
    return amount.quantize(FINE_GRID, context=EXACT)


def booked(amount: Decimal) -> Decimal:
    """Return ``amount`` as it is booked: eight decimals, what is beyond them is cut off, of losses as of gains.

    What is cut is the venue's: an account never gets, and never pays, a part of the last decimal. What divisions
    have lost does not count: thrice a sixth is a half.
    """
    nearest = amount.quantize(_SNAP, context=EXACT)
    return nearest.quantize(MONEY_GRID, rounding=decimal.ROUND_DOWN, context=EXACT)
