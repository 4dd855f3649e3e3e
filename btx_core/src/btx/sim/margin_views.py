"""What a client of a margin exchange may ask to see; nothing here changes anything."""

from decimal import Decimal

from btx.model.account import Balance
from btx.model.derivatives import FundingRate, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.order import PositionSide
from btx.sim.conditionals import SimConditional
from btx.sim.house import House
from btx.sim.margin_course import MarginCourse
from btx.sim.margin_events import MarkChange, SimBooking, WalletView
from btx.sim.orders import Refusal, Refused, SimPosition

__all__ = ("MarginViews",)

_ZERO = Decimal(0)


class MarginViews(MarginCourse):
    """Conditional orders, positions, wallets, bookings and settings of the accounts, and the house."""

    def conditional(
        self, *, api_key: str, conditional_id: int | None = None, client_order_id: str | None = None
    ) -> SimConditional:
        """Return a conditional order, waiting or not, by either id; of a reused client order id the latest.

        Raises:
            Refused: UNKNOWN_ORDER.
        """
        every = self._accounts[api_key].conditionals
        found: SimConditional | None = None
        if conditional_id is not None:
            found = every.get(conditional_id)
        elif client_order_id is not None:
            found = next((each for each in reversed(every.values()) if each.client_order_id == client_order_id), None)
        if found is None or client_order_id not in {None, found.client_order_id}:
            raise Refused(Refusal.UNKNOWN_ORDER)
        return found

    def open_conditionals(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimConditional, ...]:
        """Return the conditional orders that wait, oldest first; of all symbols when ``venue_symbol`` is None.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._listing(venue_symbol)
        return tuple(self._accounts[api_key].waiting(venue_symbol))

    def all_conditionals(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimConditional, ...]:
        """Return every conditional order there ever was, oldest first; the caller pages."""
        every = self._accounts[api_key].conditionals.values()
        return tuple(each for each in every if venue_symbol in {None, each.venue_symbol})

    def positions(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimPosition, ...]:
        """Return the positions that are not flat, of all symbols when ``venue_symbol`` is None.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._listing(venue_symbol)
        return tuple(self._accounts[api_key].held(venue_symbol))

    def position(self, *, api_key: str, venue_symbol: str, position_side: PositionSide) -> SimPosition:
        """Return one position, flat or not.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        return self._accounts[api_key].position(self._listing(venue_symbol), position_side)

    def wallet(self, *, api_key: str, asset: str) -> WalletView:
        """Return one asset of the account at the mark prices of now."""
        return self._valuation.wallet(self._accounts[api_key], asset)

    def wallets(self, *, api_key: str) -> tuple[WalletView, ...]:
        """Return every asset the account ever had."""
        account = self._accounts[api_key]
        return tuple(self._valuation.wallet(account, asset) for asset in sorted(account.wallet))

    def balances(self, *, api_key: str) -> dict[str, Balance]:
        """Return the wallet, every asset it ever had; nothing is locked."""
        account = self._accounts[api_key]
        return {asset: Balance(free=account.wallet[asset], locked=_ZERO) for asset in sorted(account.wallet)}

    def bookings(self, *, api_key: str) -> tuple[SimBooking, ...]:
        """Return every movement of the account's money, oldest first; the caller pages."""
        return tuple(self._accounts[api_key].bookings)

    def unrealised(self, position: SimPosition) -> Decimal:
        """Return what closing a position at the mark price would bring, in the settle asset."""
        return self._valuation.unrealised(position)

    def notional(self, position: SimPosition) -> Decimal:
        """Return a position's size at the mark price, in the settle asset."""
        return self._valuation.notional(position)

    def maintenance(self, position: SimPosition) -> Decimal:
        """Return what a position must keep, in the settle asset."""
        return self._valuation.maintenance(position)

    def initial(self, position: SimPosition) -> Decimal:
        """Return a position's initial margin at the mark price, in the settle asset."""
        return self._valuation.initial(position)

    def order_margin(self, *, api_key: str, venue_symbol: str) -> Decimal:
        """Return what a symbol's open orders reserve beyond its positions' initial margin, in the settle asset."""
        return self._valuation.order_margin(self._accounts[api_key], venue_symbol)

    def leverage(self, *, api_key: str, venue_symbol: str) -> int:
        """Return a symbol's leverage."""
        return self._accounts[api_key].leverage(venue_symbol)

    def margin_mode(self, *, api_key: str, venue_symbol: str) -> MarginMode:
        """Return how a symbol's positions are margined."""
        return self._accounts[api_key].margin_mode(venue_symbol)

    def position_mode(self, *, api_key: str) -> PositionMode:
        """Return whether symbols have one position or two."""
        return self._accounts[api_key].position_mode

    def symbol_mode(self, *, api_key: str, venue_symbol: str) -> PositionMode:
        """Return whether a symbol has one position or two."""
        return self._accounts[api_key].mode(venue_symbol)

    def fees(self, *, api_key: str, venue_symbol: str, now_ns: int) -> FeeSchedule:
        """Return what the account pays for its next execution.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        return self._schedule(self._accounts[api_key], self._listing(venue_symbol), now_ns)

    def pays_with_discount_asset(self, *, api_key: str) -> bool:
        """Tell whether the account pays fees in the discount asset where it can."""
        return self._accounts[api_key].pays_with_discount_asset

    def mark(self, venue_symbol: str) -> MarkChange:
        """Return mark price, index price and the next funding as they stand."""
        return self.marks.mark(venue_symbol)

    def funding_rates(self, venue_symbol: str, *, after_ns: int, until_ns: int) -> tuple[FundingRate, ...]:
        """Return the rates settled later than ``after_ns`` and not later than ``until_ns``, oldest first."""
        return tuple(self.marks.rates(venue_symbol, after_ns, until_ns))

    def open_interest(self, venue_symbol: str) -> Decimal:
        """Return what all accounts hold of a contract on the long side; whoever else trades it is not known."""
        held = (position.quantity for account in self._accounts.values() for position in account.held(venue_symbol))
        return sum((quantity for quantity in held if quantity > 0), _ZERO)

    def house(self) -> House:
        """Return the exchange's own accounts; with all clients' wallets they sum up to nothing, always."""
        return self._house

    def liquidation_price(self, *, api_key: str, position: SimPosition) -> Decimal | None:
        """Return the mark price that would liquidate a position if nothing else moved; None: there is none."""
        return self._valuation.liquidation_price(self._accounts[api_key], position)
