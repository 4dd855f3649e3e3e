"""Accounts: what is owned, and what the venue says about it."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

__all__ = ("AccountSnapshot", "Balance", "BalanceUpdate")


@attrs.frozen(kw_only=True)
class Balance:
    """One asset of an account, in its own units; ``locked`` is reserved by open orders."""

    free: Decimal
    locked: Decimal

    @property
    def total(self) -> Decimal:
        """Free and locked together."""
        return self.free + self.locked


@attrs.frozen(kw_only=True)
class AccountSnapshot:
    """An account as the venue states it at ``time_ns``."""

    balances: Mapping[str, Balance]
    time_ns: int
    can_trade: bool = True


@attrs.frozen(kw_only=True)
class BalanceUpdate:
    """New totals of the assets that changed; absolute values, not differences."""

    balances: Mapping[str, Balance]
    time_ns: int
