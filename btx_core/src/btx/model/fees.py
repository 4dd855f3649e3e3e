"""Fees: what a fill costs, by how it rested and by tier."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from btx.model.order import Offset

__all__ = ("FeeLevel", "FeeSchedule", "OffsetRate")


@attrs.frozen(kw_only=True)
class FeeLevel:
    """One step of a venue's ladder: who traded, and holds, at least so much pays these rates."""

    tier: str  # the venue's name: "VIP 1"
    maker: Decimal
    taker: Decimal
    volume: Decimal = Decimal(0)  # of the last 30 days, in ``FeeSchedule.volume_currency``
    holding: Decimal = Decimal(0)  # units of ``FeeSchedule.discount_asset`` held, both at once


@attrs.frozen(kw_only=True)
class OffsetRate:
    """What a fill of one offset costs, both parts together, whoever made or took."""

    of_notional: Decimal = Decimal(0)
    per_contract: Decimal = Decimal(0)  # quote units

    def fee(self, *, notional: Decimal, contracts: Decimal) -> Decimal:
        """Return the fee of a fill, in quote units, not rounded."""
        return self.of_notional * notional + self.per_contract * contracts


@attrs.frozen(kw_only=True)
class FeeSchedule:
    """Rates in force for one instrument and account; fractions of the notional, negative is a rebate.

    Where ``by_offset`` has rates they count, and ``maker`` and ``taker`` are what of them is a share of the notional
    to open.  ``levels`` is the venue's whole ladder, lowest first, where it is known: with it a run that has no account
    at the venue moves from tier to tier.  ``volume_currency`` is what its volumes are counted in.
    """

    maker: Decimal
    taker: Decimal
    tier: str = "regular"
    discount_asset: str | None = None  # fees may be paid in this coin, BNB at Binance
    discount: Decimal = Decimal(0)  # taken off a fee that is paid in it: 0.25 is a quarter
    levels: tuple[FeeLevel, ...] = ()
    volume_currency: str = "USD"
    by_offset: Mapping[Offset, OffsetRate] = attrs.field(factory=dict)
    source: str  # the document the rates come from, with its date
