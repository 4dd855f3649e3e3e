"""The account written down as it stood: at start, every hour of market time, at each funding, and at the end."""

from collections.abc import Callable
from decimal import Decimal

from btx.model.account import Booking, BookingKind
from btx.model.journal import AccountState
from btx.model.time import NS_PER_HOUR
from btx.ports import Journal
from btx.runtime.facts import Facts
from btx.runtime.ledger import Ledger

__all__ = ("Statements",)

_ZERO = Decimal(0)


class Statements:
    """Writes what the account is by our own count; nothing without a journal. Lives on btx-io."""

    def __init__(self, *, journal: Journal | None, facts: Facts, ledger: Ledger, now_ns: Callable[[], int]) -> None:
        self._journal = journal
        self._facts = facts
        self._ledger = ledger
        self._now_ns = now_ns
        self._hour: int | None = None

    def on_time(self, time_ns: int) -> None:
        """Hear the market's time: a new hour is a new statement."""
        hour = time_ns // NS_PER_HOUR
        if self._hour is not None and hour > self._hour:
            self.write("HOUR")

    def on_booking(self, booking: Booking) -> None:
        """Hear of money that moved."""
        if booking.kind is BookingKind.FUNDING and self._hour is not None:
            self.write("FUNDING")

    def write(self, reason: str) -> None:
        """Write the account down as it is now."""
        now_ns = self._now_ns()
        self._hour = now_ns // NS_PER_HOUR
        if self._journal is not None and self._ledger.is_known:
            self._journal.post(
                AccountState(
                    reason=reason,
                    wallet={asset: total for asset, total in self._ledger.totals.items() if total},
                    equity=self._equity(),
                    positions=self._ledger.positions(time_ns=now_ns),
                    time_ns=now_ns,
                )
            )

    def _equity(self) -> dict[str, Decimal]:
        """Return what the account is worth, by asset; of spot in the one currency, if every price is known."""
        totals = {asset: total for asset, total in self._ledger.totals.items() if total}
        account = self._ledger.margin
        if account is not None:
            return {asset: account.equity(asset) for asset in totals}
        currency, rates = self._facts.settings.currency, self._facts.rates
        worth = [
            total if asset == currency else total * rates[asset, currency]
            for asset, total in totals.items()
            if asset == currency or (asset, currency) in rates
        ]
        return {currency: sum(worth, _ZERO)} if len(worth) == len(totals) else {}
