"""The house: whoever is on the other side of what clients pay and get, so that no money comes or goes."""

import functools
from collections import defaultdict
from decimal import Decimal

import attrs

from btx.model.account import BookingKind
from btx.rules.money import EXACT

__all__ = ("House",)

_ZERO = Decimal(0)


def _purse() -> defaultdict[str, Decimal]:
    return defaultdict(lambda: _ZERO)


@attrs.define(kw_only=True)
class House:
    """The exchange's own accounts, by asset; all begin with what they are given and may go below zero.

    ``market`` is everybody the clients trade with: it pays their profits, gets their losses and is the other
    side of their funding.  ``outside`` is where deposits come from.
    """

    fees: defaultdict[str, Decimal] = attrs.field(factory=_purse)
    insurance: defaultdict[str, Decimal] = attrs.field(factory=_purse)
    market: defaultdict[str, Decimal] = attrs.field(factory=_purse)
    outside: defaultdict[str, Decimal] = attrs.field(factory=_purse)

    def give(self, kind: BookingKind, asset: str, amount: Decimal) -> None:
        """Give a client an amount, or take it from him when it is negative."""
        purse = self._purse_of(kind)
        purse[asset] = EXACT.subtract(purse[asset], amount)

    def total(self, asset: str) -> Decimal:
        """Return what all of them have of an asset."""
        purses = (self.fees, self.insurance, self.market, self.outside)
        return functools.reduce(EXACT.add, (purse[asset] for purse in purses))

    def _purse_of(self, kind: BookingKind) -> defaultdict[str, Decimal]:
        match kind:
            case BookingKind.FEE | BookingKind.REBATE:
                return self.fees
            case BookingKind.LIQUIDATION_FEE:
                return self.insurance
            case BookingKind.TRANSFER:
                return self.outside
            case BookingKind.REALISED | BookingKind.FUNDING | BookingKind.OTHER:
                return self.market
