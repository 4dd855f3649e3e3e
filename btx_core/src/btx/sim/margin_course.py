"""What happens at a margin exchange by itself as time goes on: funding, marks, orders whose time is over, delivery.

At a moment that several are due: what is delivered is closed, funding is paid by whoever holds a position,
orders end whose time is over, and then the new mark price wakes conditional orders and is held against margins.
A trade of the same moment was before all that.

A contract is delivered at the index price, for the fee of a taker; its open orders end, and nothing is
taken any more.  (Binance averages the index over the last half hour or hour.)
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import BookingKind
from btx.model.derivatives import FundingRate, MarginMode
from btx.model.order import Origin, PositionSide
from btx.model.time import NS_PER_S
from btx.rules.contracts import notional
from btx.rules.fees import Charge
from btx.rules.funding import funding_payment
from btx.rules.margin import maintenance_margin, margin_ratio
from btx.rules.money import booked
from btx.sim.conditionals import ConditionalState
from btx.sim.liquidation import WARNED, Liquidations
from btx.sim.margin_account import MarginClient
from btx.sim.orders import ExecutionKind, Listing, PriceKind, SimPosition

__all__ = ("MarginCourse",)

_ZERO = Decimal(0)
Bounds = Callable[[str], tuple[Decimal, Decimal]]


class MarginCourse(Liquidations):
    """Plays what is due; whoever has the clock asks :meth:`next_due_ns`, and stops there for :meth:`on_time`."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._delivered = [each for each in self.listings.values() if each.instrument.delivery_ns is not None]

    def on_time(self, now_ns: int) -> None:
        """Let happen what is due until ``now_ns``, at the mark prices of now; what has happened is nothing."""
        self.pass_time(now_ns)
        self.on_marks(now_ns)

    def pass_time(self, now_ns: int) -> None:
        """Let happen what is due until ``now_ns`` by the time alone: delivery, funding, orders whose time is over."""
        for listing in tuple(self._delivered):
            assert listing.instrument.delivery_ns is not None
            if listing.instrument.delivery_ns <= now_ns:
                self._delivered.remove(listing)
                self._deliver(listing, now_ns)
        for symbol in {each.venue_symbol for account in self._accounts.values() for each in account.held()}:
            for rate in self.marks.rates(symbol, self._funded_ns.get(symbol, now_ns), now_ns):
                self._funded_ns[symbol] = rate.time_ns
                self._fund(self.listings[symbol], rate)
        self._passed_ns = max(self._passed_ns, now_ns)
        self._end_in_time(now_ns)

    def on_marks(self, now_ns: int) -> None:
        """Hold the mark prices of now against conditional orders and margins."""
        for symbol, waiting in self._conditionals.items():
            if waiting:
                mark = self.marks.mark(symbol)
                self._wake_conditionals(self.listings[symbol], PriceKind.MARK, mark.mark_price, now_ns)
                self._wake_conditionals(self.listings[symbol], PriceKind.INDEX, mark.index_price, now_ns)
        self._check_margins(now_ns)

    def next_due_ns(self, after_ns: int, *, with_marks: bool) -> int | None:
        """Return when something happens by itself that must not be passed by; marks are at whole seconds."""
        times = [at for symbol in self.listings if (at := self.marks.next_funding_ns(symbol, after_ns)) is not None]
        times += [at for each in self.listings.values() if (at := each.instrument.delivery_ns) is not None]
        for account in self._accounts.values():
            times += account.countdowns.values()
            times += [order.good_till_ns for order in account.open_orders() if order.good_till_ns is not None]
            times += [each.good_till_ns for each in account.waiting() if each.good_till_ns is not None]
        if with_marks:
            times.append(after_ns - after_ns % NS_PER_S + NS_PER_S)
        return min((at for at in times if at > after_ns), default=None)

    def is_calm(self, bounds: Bounds) -> bool:
        """Tell whether no mark price within ``bounds`` (by symbol: lowest, highest) could do anything to anybody."""
        return all(self._is_calm(account, bounds) for account in self._accounts.values())

    def _is_calm(self, account: MarginClient, bounds: Bounds) -> bool:
        if account.warned or any(each.trigger_by is not PriceKind.LAST for each in account.waiting()):
            return False
        for group, positions in account.groups(self._valuation.settle).items():
            balance, maintenance = account.money_of(group, self._valuation.settle), _ZERO
            for position in positions:
                listing = self.listings[position.venue_symbol]
                edges = bounds(position.venue_symbol)
                balance += min(position.book.profit(price) for price in edges)
                most = max(notional(listing.instrument, position.quantity, price) for price in edges)
                maintenance += maintenance_margin(self._valuation.tiers(position), most)
            if margin_ratio(maintenance, balance) >= WARNED:
                return False
        return True

    def settle(
        self, rate: FundingRate, *, api_key: str, venue_symbol: str, position_side: PositionSide, quantity: Decimal
    ) -> None:
        """Pay a funding for what was held at its stamp, wherever the position is now. The rate has its mark price."""
        account, listing = self._accounts[api_key], self.listings[venue_symbol]
        self._funded_ns[venue_symbol] = max(self._funded_ns.get(venue_symbol, 0), rate.time_ns)
        self._pay(account, listing, account.position(listing, position_side), quantity, rate)

    def _fund(self, listing: Listing, rate: FundingRate) -> None:
        for account in self._accounts.values():
            for position in account.held(listing.venue_symbol):
                self._pay(account, listing, position, position.quantity, rate)

    def _pay(
        self, account: MarginClient, listing: Listing, position: SimPosition, quantity: Decimal, rate: FundingRate
    ) -> None:
        symbol, asset = listing.venue_symbol, listing.instrument.settle
        mark = rate.mark_price or self._valuation.mark(symbol)
        amount = funding_payment(listing.instrument, quantity, mark, rate.rate)
        bookings = self._book(account, BookingKind.FUNDING, asset, amount, rate.time_ns, venue_symbol=symbol)
        told: tuple[SimPosition, ...] = ()
        if position.margin_mode is MarginMode.ISOLATED and position.quantity:
            after = attrs.evolve(position, isolated_wallet=position.isolated_wallet + amount)
            account.positions[after.key] = after
            told = (after,)
        if bookings:
            self._tell_account(account, "FUNDING_FEE", rate.time_ns, positions=told, bookings=bookings)

    def _end_in_time(self, now_ns: int) -> None:
        for account in self._accounts.values():
            for symbol, deadline_ns in tuple(account.countdowns.items()):
                if deadline_ns <= now_ns:
                    del account.countdowns[symbol]
                    for order in account.open_orders(symbol):
                        self._end(account, order, ExecutionKind.CANCELED, now_ns)
            for order in account.open_orders():
                if order.good_till_ns is not None and order.good_till_ns <= now_ns:
                    self._expire(account, order, now_ns)
            for conditional in account.waiting():
                if conditional.good_till_ns is not None and conditional.good_till_ns <= now_ns:
                    self._step(account, conditional, ConditionalState.EXPIRED, now_ns)

    def _deliver(self, listing: Listing, now_ns: int) -> None:
        symbol = listing.venue_symbol
        price = self.marks.mark(symbol).index_price
        for account in self._accounts.values():
            for order in account.open_orders(symbol):
                self._expire(account, order, now_ns)
            for conditional in account.waiting(symbol):
                self._step(account, conditional, ConditionalState.EXPIRED, now_ns)
            for position in account.held(symbol):
                schedule = self._schedule(account, listing, now_ns)
                worth = notional(listing.instrument, position.quantity, price)
                fee = Charge(booked(worth * schedule.taker), listing.instrument.settle)
                self._close(account, position, price, Origin.DELIVERY, now_ns, fee=fee)
