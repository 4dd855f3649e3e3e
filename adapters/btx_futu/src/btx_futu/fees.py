"""Fees: none on paper, and of real accounts the parts that are a share of what is traded.

Per-order parts (commission of at least HK$3, platform fee, the rounding up of stamp duty) are no rates, and are not
in the table: OpenD tells them per order afterwards, of real accounts alone.
"""

from decimal import Decimal

from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx_futu.symbols import market_of

__all__ = ("PAPER", "schedule")

PAPER = "paper"
"""The fee tier of accounts that pay nothing."""

_SHARES = {
    # Commission 0.03, stamp duty 0.1, trading fee 0.00565, SFC levy 0.0027, FRC levy 0.00015, settlement 0.0042 %.
    "hk": (Decimal("0.0014270"), "Futu HK's fee pages and HKEX's tariff since 2025-06-30; per-order parts left out"),
    "us": (Decimal(0), "Futu's fees for US shares are per share and per order: none is a share of the notional"),
}


def schedule(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return what trading an instrument costs: nothing on paper."""
    if account is not None and account.fee_tier == PAPER:
        return FeeSchedule(maker=Decimal(0), taker=Decimal(0), tier=PAPER, source="paper accounts pay no fees")
    rate, source = _SHARES[market_of(instrument.symbol)]
    return FeeSchedule(maker=rate, taker=rate, source=source)
