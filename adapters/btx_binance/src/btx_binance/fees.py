"""Binance's fees by market: tables with their source and date, and what the venue says of an account.

Spot has its whole ladder, of the newest announcement with a date that was found; the
venue has changed single steps since, without a whole table.  USD-M's ladder is as pages
that quote the venue's fee schedule show it in 2025; no announcement of it with a date was
found, and BNB to hold is taken to be as on spot (the venue's FAQ 360033544231: "futures
fee tiers mirror the spot market tiers").  Of COIN-M only the regular tier is given, for
sources disagree on its maker: 0.01 % before 2023-09-26.  A live account's own rates are
asked for, and each fill states its fee.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot
from btx.model.fees import FeeLevel, FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind

__all__ = ("BNB", "account_rates", "schedule")

BNB = "BNB"
"""The coin whose holder pays less."""

_FUTURES_DISCOUNT = Decimal("0.10")

# Tier, 30 days of volume in BUSD, BNB held ("and"), maker and taker in per cent.
_SPOT_LADDER = (
    ("regular", "0", "0", "0.1000", "0.1000"),
    ("VIP 1", "1000000", "25", "0.0900", "0.1000"),
    ("VIP 2", "5000000", "100", "0.0800", "0.1000"),
    ("VIP 3", "20000000", "250", "0.0700", "0.1000"),
    ("VIP 4", "120000000", "500", "0.0200", "0.0400"),
    ("VIP 5", "200000000", "1000", "0.0200", "0.0400"),
    ("VIP 6", "500000000", "1750", "0.0200", "0.0400"),
    ("VIP 7", "1000000000", "3000", "0.0200", "0.0400"),
    ("VIP 8", "2500000000", "4500", "0.0200", "0.0400"),
    ("VIP 9", "5000000000", "5500", "0.0200", "0.0400"),
)

# The same of USD-M.
_USDM_LADDER = (
    ("regular", "0", "0", "0.0200", "0.0500"),
    ("VIP 1", "15000000", "25", "0.0160", "0.0400"),
    ("VIP 2", "50000000", "100", "0.0140", "0.0350"),
    ("VIP 3", "100000000", "250", "0.0120", "0.0320"),
    ("VIP 4", "600000000", "500", "0.0100", "0.0300"),
    ("VIP 5", "1000000000", "1000", "0.0080", "0.0270"),
    ("VIP 6", "2500000000", "1750", "0.0060", "0.0250"),
    ("VIP 7", "5000000000", "3000", "0.0040", "0.0220"),
    ("VIP 8", "12500000000", "4500", "0.0020", "0.0200"),
    ("VIP 9", "25000000000", "5500", "0.0000", "0.0170"),
)


def _level(tier: str, volume: str, holding: str, maker: str, taker: str) -> FeeLevel:
    return FeeLevel(
        tier=tier,
        maker=Decimal(maker) / 100,
        taker=Decimal(taker) / 100,
        volume=Decimal(volume),
        holding=Decimal(holding),
    )


_SCHEDULES: Mapping[InstrumentKind, FeeSchedule] = {
    InstrumentKind.SPOT: FeeSchedule(
        maker=Decimal("0.001"),
        taker=Decimal("0.001"),
        discount_asset=BNB,
        discount=Decimal("0.25"),
        levels=tuple(_level(*row) for row in _SPOT_LADDER),
        volume_currency="BUSD",
        source="Binance announcement 40669f3da342426c87b083b659673316 of 2022-05-31, in force from 2022-06-01",
    ),
    InstrumentKind.LINEAR: FeeSchedule(
        maker=Decimal("0.0002"),
        taker=Decimal("0.0005"),
        discount_asset=BNB,
        discount=_FUTURES_DISCOUNT,
        levels=tuple(_level(*row) for row in _USDM_LADDER),
        volume_currency="USD",
        source="Binance's fee schedule as quoted in 2025 (undated); discount: Binance FAQ 360033544231 of 2020-06-11",
    ),
    InstrumentKind.INVERSE: FeeSchedule(
        maker=Decimal("0.0002"),
        taker=Decimal("0.0005"),
        volume_currency="BUSD",
        source="taken to be USD-M's since the change of 2023-09-26 (Binance, 2023-09-18), of which no table was found",
    ),
}


def schedule(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return the rates of an instrument's market: of the account's tier where it names one of the ladder's."""
    found = _SCHEDULES[instrument.kind]
    tier = account.fee_tier if account is not None else None
    level = next((each for each in found.levels if each.tier == tier), None)
    return found if level is None else attrs.evolve(found, maker=level.maker, taker=level.taker, tier=level.tier)


def account_rates(row: Mapping[str, Any], *, is_burning: bool) -> FeeSchedule:
    """Return ``commissionRate``; ``is_burning`` says that the account pays in BNB, with the discount of that."""
    return FeeSchedule(
        maker=Decimal(row["makerCommissionRate"]),
        taker=Decimal(row["takerCommissionRate"]),
        tier="account",
        discount_asset=BNB if is_burning else None,
        discount=_FUTURES_DISCOUNT if is_burning else Decimal(0),
        source="the account's own rates, GET commissionRate",
    )
