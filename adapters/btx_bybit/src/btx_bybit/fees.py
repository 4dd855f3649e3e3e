"""Bybit's fees by market: the ladder of its help centre, and what it says of an account.

Source: https://www.bybit.com/en/help-center/article/Trading-Fee-Structure, as read in 2025:
base rates, which differ by region.  A level is had by the balance or by the volume of
30 days, whichever gives more: volumes alone are in the ladder here, those of spot and of
derivatives each for its own market.  USDC contracts have the rates of the others.  A live
account's own rates are asked for, and each fill states its fee.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot
from btx.model.fees import FeeLevel, FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind

__all__ = ("account_rates", "schedule")

_SOURCE = "Bybit's help centre, Trading Fee Structure, as read in 2025"

# Level, 30 days of volume in USD, maker and taker in per cent.
_SPOT_LADDER = (
    ("VIP 0", "0", "0.1000", "0.1000"),
    ("VIP 1", "1000000", "0.0675", "0.0800"),
    ("VIP 2", "5000000", "0.0650", "0.0775"),
    ("VIP 3", "10000000", "0.0625", "0.0750"),
    ("VIP 4", "25000000", "0.0500", "0.0600"),
    ("VIP 5", "50000000", "0.0400", "0.0500"),
    ("Supreme VIP", "100000000", "0.0300", "0.0450"),
)

# The same of perpetuals and futures.
_CONTRACT_LADDER = (
    ("VIP 0", "0", "0.0200", "0.0550"),
    ("VIP 1", "10000000", "0.0180", "0.0400"),
    ("VIP 2", "25000000", "0.0160", "0.0375"),
    ("VIP 3", "50000000", "0.0140", "0.0350"),
    ("VIP 4", "100000000", "0.0120", "0.0320"),
    ("VIP 5", "250000000", "0.0100", "0.0320"),
    ("Supreme VIP", "500000000", "0.0000", "0.0300"),
)


def _schedule(ladder: tuple[tuple[str, str, str, str], ...]) -> FeeSchedule:
    levels = tuple(
        FeeLevel(tier=tier, maker=Decimal(maker) / 100, taker=Decimal(taker) / 100, volume=Decimal(volume))
        for tier, volume, maker, taker in ladder
    )
    first = levels[0]
    return FeeSchedule(maker=first.maker, taker=first.taker, tier=first.tier, levels=levels, source=_SOURCE)


_OF_SPOT, _OF_CONTRACTS = _schedule(_SPOT_LADDER), _schedule(_CONTRACT_LADDER)


def schedule(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return the rates of an instrument's market: of the account's tier where it names one of the ladder's."""
    found = _OF_SPOT if instrument.kind is InstrumentKind.SPOT else _OF_CONTRACTS
    tier = account.fee_tier if account is not None else None
    level = next((each for each in found.levels if each.tier == tier), None)
    return found if level is None else attrs.evolve(found, maker=level.maker, taker=level.taker, tier=level.tier)


def account_rates(row: Mapping[str, Any]) -> FeeSchedule:
    """Return a row of ``fee-rate``."""
    return FeeSchedule(
        maker=Decimal(row["makerFeeRate"]),
        taker=Decimal(row["takerFeeRate"]),
        tier="account",
        source="the account's own rates, GET /v5/account/fee-rate",
    )
