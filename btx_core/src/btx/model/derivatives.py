"""Derivatives: how a position is margined, and what its price and funding are."""

import enum
from decimal import Decimal

import attrs

__all__ = ("FundingRate", "LeverageTier", "MarginMode", "MarkPrice", "PositionMode")


class MarginMode(enum.Enum):
    """Whether all positions of a settle asset share one margin, or each has its own."""

    CROSS = "CROSS"
    ISOLATED = "ISOLATED"


class PositionMode(enum.Enum):
    """Whether an instrument has one position of the account, or a long and a short one."""

    ONE_WAY = "ONE_WAY"
    HEDGE = "HEDGE"


_not_negative = attrs.validators.ge(Decimal(0))


@attrs.frozen(kw_only=True)
class LeverageTier:
    """What is asked of positions whose notional lies in ``(floor, cap]``, in the settle asset at the mark price."""

    floor: Decimal = attrs.field(validator=_not_negative)
    cap: Decimal | None = None  # None: the last tier
    max_leverage: int = attrs.field(validator=attrs.validators.ge(1))
    maintenance_rate: Decimal = attrs.field(validator=_not_negative)  # of the notional
    maintenance_amount: Decimal = Decimal(0)  # taken off, so that tiers join: the venue's "cum"


@attrs.frozen(kw_only=True)
class FundingRate:
    """A rate that was settled at ``time_ns``: a fraction of the notional; positive: longs pay, shorts receive."""

    symbol: str
    time_ns: int
    rate: Decimal
    mark_price: Decimal | None = None  # what the notional is counted at; older histories do not have it


@attrs.frozen(kw_only=True)
class MarkPrice:
    """The price positions are valued at, with what is known of the next funding."""

    symbol: str
    mark_price: Decimal
    index_price: Decimal | None = None
    funding_rate: Decimal | None = None  # as it stands now, settled at ``next_funding_ns``
    next_funding_ns: int | None = None  # market time
    time_ns: int
