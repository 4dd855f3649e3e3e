"""Fees: what a fill costs, by how it rested and by tier."""

from decimal import Decimal

import attrs

__all__ = ("FeeSchedule",)


@attrs.frozen(kw_only=True)
class FeeSchedule:
    """Rates in force for one instrument and account; fractions of the notional, negative is a rebate."""

    maker: Decimal
    taker: Decimal
    tier: str = "regular"
    discount_asset: str | None = None  # fees may be paid in this coin, BNB at Binance
    source: str  # the document the rates come from, with its date
