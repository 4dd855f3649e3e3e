"""Binance's spot fees.

Only the regular tier is given: the VIP rates change with promotions, and no
document of the venue with a date was at hand for them.  A live account's own
rates come with each fill.
"""

from decimal import Decimal

from btx.model.fees import FeeSchedule

__all__ = ("BNB_DISCOUNT", "REGULAR")

BNB_DISCOUNT = Decimal("0.25")
"""Taken off a fee that is paid in BNB; https://www.binance.com/en/support/announcement/360007480472, 2018-07-19."""

REGULAR = FeeSchedule(
    maker=Decimal("0.001"),
    taker=Decimal("0.001"),
    tier="regular",
    discount_asset="BNB",
    source="Binance announcement 360007480472 of 2018-07-19, general tier 0.1 % / 0.1 %",
)
"""Rates of an account without a VIP level."""
