"""The money of a margin exchange: what executions, funding and conditional orders do to accounts.

Choices where the venue says nothing or does more:

- A reduce-only order keeps its quantity; it executes no more than there is to reduce, and expires when the
  position is gone (Binance cuts the quantity of resting ones without a word, so far as is known).  It is refused
  when those that fill before it leave nothing to it.  In two-sided accounts what closes a side behaves likewise.
- Fees are taken from the wallet, of isolated positions too; a closing execution releases its share of an
  isolated wallet.
- One conditional order may close a position on each side of the price: a stop and a take profit.
"""

import itertools
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import Balance, BookingKind
from btx.model.derivatives import MarginMode
from btx.model.fees import FeeSchedule
from btx.model.order import Liquidity as Rested
from btx.model.order import Origin
from btx.rules.contracts import is_inverse, notional, quote_value
from btx.rules.fees import Charge, at_level, fee_of
from btx.rules.margin import initial_margin
from btx.rules.money import EXACT, booked
from btx.rules.positions import Booked, apply_fill
from btx.sim.conditional_desk import ConditionalDesk
from btx.sim.conditionals import (
    ConditionalState,
)
from btx.sim.engine import with_fill
from btx.sim.house import House
from btx.sim.margin_account import MarginClient, opens
from btx.sim.margin_events import AccountEvent, SimBooking
from btx.sim.margin_gate import reducible
from btx.sim.matching import Take
from btx.sim.orders import (
    ExecutionEvent,
    ExecutionKind,
    Listing,
    NewOrder,
    SimFill,
    SimOrder,
    SimPosition,
)

__all__ = ("MarginDesk",)

_ZERO = Decimal(0)


class MarginDesk(ConditionalDesk):
    """Accounts with positions, and the house that is on the other side of all they pay and get."""

    def __init__(self, *, insurance: Mapping[str, Decimal], **parts: Any) -> None:
        super().__init__(**parts)
        self._house = House()
        self._booking_ids = itertools.count(1)
        self._funded_ns: dict[str, int] = {}  # up to when what is held has paid its funding, by symbol
        self._passed_ns = 0  # what was due by the time alone has happened up to here
        for asset, amount in insurance.items():
            self._house.insurance[asset] += amount
            self._house.outside[asset] -= amount
        for account in self._accounts.values():
            for asset, amount in account.wallet.items():
                self._house.outside[asset] -= amount

    def _book(
        self,
        account: MarginClient,
        kind: BookingKind,
        asset: str,
        amount: Decimal,
        now_ns: int,
        *,
        venue_symbol: str | None = None,
        trade_id: int | None = None,
        reason: str = "",
    ) -> tuple[SimBooking, ...]:
        """Move money between an account and the house; nothing is nothing."""
        if not amount:
            return ()
        booking = SimBooking(
            booking_id=next(self._booking_ids),
            kind=kind,
            asset=asset,
            amount=amount,
            venue_symbol=venue_symbol,
            trade_id=trade_id,
            time_ns=now_ns,
            reason=reason,
        )
        account.book(booking)
        self._house.give(kind, asset, amount)
        return (booking,)

    def _tell_account(
        self,
        account: MarginClient,
        reason: str,
        now_ns: int,
        *,
        assets: Iterable[str] = (),
        positions: Iterable[SimPosition] = (),
        bookings: tuple[SimBooking, ...] = (),
    ) -> None:
        account.sequence = next(self._sequences)
        changed = dict.fromkeys((*assets, *(booking.asset for booking in bookings)))
        self._listener(
            AccountEvent(
                api_key=account.api_key,
                sequence=account.sequence,
                reason=reason,
                wallets={asset: self._valuation.purse(account, asset) for asset in changed},
                positions=tuple(positions),
                bookings=bookings,
                time_ns=now_ns,
            )
        )

    def _schedule(self, account: MarginClient, listing: Listing, now_ns: int) -> FeeSchedule:
        """Return what the account pays for its next execution."""
        fees = listing.fees
        if account.follows_volume:
            return at_level(fees, account.volume.at(now_ns), account.wallet.get(fees.discount_asset or "", _ZERO))
        for level in fees.levels:
            if level.tier == account.tier:
                return attrs.evolve(fees, maker=level.maker, taker=level.taker, tier=level.tier)
        return fees

    def _charge(
        self, account: MarginClient, listing: Listing, order: SimOrder, take: Take, *, is_maker: bool, now_ns: int
    ) -> Charge:
        schedule = self._schedule(account, listing, now_ns)

        def charge(discount_price: Decimal | None) -> Charge:
            return fee_of(
                listing.instrument,
                schedule,
                side=order.side,
                price=take.price,
                quantity=take.quantity,
                liquidity=Rested.MAKER if is_maker else Rested.TAKER,
                discount_price=discount_price,
            )

        if account.pays_with_discount_asset:
            discounted = charge(self._discount_price(listing, schedule))
            if discounted.amount <= account.wallet.get(discounted.asset, _ZERO):
                return discounted
        return charge(None)

    def _discount_price(self, listing: Listing, schedule: FeeSchedule) -> Decimal | None:
        """Return what one unit of the discount asset costs in the settle asset; None when no listing prices it so."""
        for other in self.listings.values():
            pair = (other.instrument.base, other.instrument.quote)
            if pair == (schedule.discount_asset, listing.instrument.settle):
                return self._market.last_price(other.venue_symbol)
        return None

    def _keep(self, account: MarginClient, order: SimOrder) -> tuple[str, ...]:
        account.keep(order)
        return ()

    def _accept(
        self,
        account: MarginClient,
        order: NewOrder,
        now_ns: int,
        *,
        conditional_id: int | None = None,
        origin: Origin = Origin.CLIENT,
    ) -> SimOrder:
        made = self._made(order, now_ns, order_id=next(self._order_ids))
        made = attrs.evolve(made, conditional_id=conditional_id, origin=origin)
        self._keep(account, made)
        self._tell(account, ExecutionKind.NEW, made, now_ns, changed=())
        return made

    def _within_reach(
        self, account: MarginClient, listing: Listing, order: SimOrder, takes: tuple[Take, ...]
    ) -> tuple[Take, ...]:
        """Cut what only closes down to what there is to close."""
        if opens(order):
            return takes
        left = reducible(account, listing, order)
        within = []
        for take in takes:
            quantity = min(take.quantity, left)
            if quantity:
                within.append(Take(price=take.price, quantity=quantity))
                left -= quantity
        return tuple(within)

    def _allowed(self, account: MarginClient, order: SimOrder, quantity: Decimal) -> Decimal:
        if opens(order):
            return quantity
        return min(quantity, reducible(account, self.listings[order.venue_symbol], order))

    def _expire(self, account: MarginClient, order: SimOrder, now_ns: int) -> SimOrder:
        return self._end(account, order, ExecutionKind.EXPIRED, now_ns)

    def _fill(
        self,
        account: MarginClient,
        listing: Listing,
        order: SimOrder,
        take: Take,
        *,
        is_last: bool,
        is_maker: bool,
        now_ns: int,
    ) -> SimOrder:
        fee = self._charge(account, listing, order, take, is_maker=is_maker, now_ns=now_ns)
        return self._execute_at(account, listing, order, take, fee, is_maker=is_maker, is_last=is_last, now_ns=now_ns)

    def _execute_at(
        self,
        account: MarginClient,
        listing: Listing,
        order: SimOrder,
        take: Take,
        fee: Charge,
        *,
        is_maker: bool,
        is_last: bool = False,
        now_ns: int,
    ) -> SimOrder:
        """Let a position and the wallet follow one execution, and tell both; the fee is given."""
        instrument = listing.instrument
        before = account.position(listing, order.position_side)
        done = apply_fill(before.book, signed_quantity=order.side.sign * take.quantity, price=take.price)
        exact = EXACT.add(done.realised, before.residue)
        realised = booked(exact)
        fill = SimFill(
            trade_id=next(self._trade_ids),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            venue_symbol=order.venue_symbol,
            side=order.side,
            price=take.price,
            quantity=take.quantity,
            quote_quantity=quote_value(instrument, take.quantity, take.price),
            base_quantity=(
                notional(instrument, take.quantity, take.price)
                if is_inverse(instrument)
                else take.quantity * instrument.multiplier
            ),
            fee=fee.amount,
            fee_asset=fee.asset,
            is_maker=is_maker,
            time_ns=now_ns,
            position_side=order.position_side,
            realised=realised,
            closed=abs(done.closed),
            origin=order.origin,
        )
        order = with_fill(order, fill, is_last=is_last)
        self._keep(account, order)
        account.fills.append(fill)
        account.volume = account.volume.add(fill.quote_quantity, now_ns)
        if not order.is_open:
            self._working[order.venue_symbol].pop(order.order_id, None)
        after = attrs.evolve(
            before,
            book=done.position,
            realised=EXACT.add(before.realised, realised),
            residue=EXACT.subtract(exact, realised),
            updated_ns=now_ns,
            isolated_wallet=self._isolated(listing, before, done, take.price),
        )
        account.positions[after.key] = after
        if not before.quantity:
            # A funding of this very moment is still due, unless it was before.
            since_ns = max(now_ns - 1, self._passed_ns)
            self._funded_ns[order.venue_symbol] = max(self._funded_ns.get(order.venue_symbol, 0), since_ns)
        self.pulse += 1
        bookings = (
            *self._book(
                account,
                BookingKind.REALISED,
                instrument.settle,
                realised,
                now_ns,
                venue_symbol=order.venue_symbol,
                trade_id=fill.trade_id,
            ),
            *self._book(
                account,
                BookingKind.FEE,
                fee.asset,
                -fee.amount,
                now_ns,
                venue_symbol=order.venue_symbol,
                trade_id=fill.trade_id,
            ),
        )
        self._tell_account(account, "ORDER", now_ns, assets=(instrument.settle,), positions=(after,), bookings=bookings)
        self._tell(account, ExecutionKind.TRADE, order, now_ns, changed=(), fill=fill)
        if done.opened:
            self._set_exits(account, order, abs(done.opened), now_ns)
        self._end_what_closed(account, listing, after, now_ns)
        return account.orders[order.order_id]

    def _isolated(self, listing: Listing, before: SimPosition, done: Booked, price: Decimal) -> Decimal:
        """Return what an isolated position has set aside after an execution."""
        if before.margin_mode is MarginMode.CROSS:
            return _ZERO
        kept = before.isolated_wallet
        if done.closed:
            left = EXACT.add(before.quantity, done.closed)
            kept = booked(EXACT.divide(EXACT.multiply(kept, left), before.quantity))
        after = attrs.evolve(before, book=done.position)
        worth = notional(listing.instrument, done.opened, price)
        rate = self._valuation.closing_rate(after)
        return kept + booked(initial_margin(worth, before.leverage, fee_rate=rate))

    def _end_what_closed(self, account: MarginClient, listing: Listing, position: SimPosition, now_ns: int) -> None:
        """End the orders that only close, when there is nothing any more that they could close."""
        symbol = listing.venue_symbol
        for order in account.open_orders(symbol):
            is_meant = order.position_side is position.position_side and not opens(order)
            if is_meant and not reducible(account, listing, order):
                self._expire(account, order, now_ns)
        for conditional in account.waiting(symbol):
            is_meant = conditional.position_side is position.position_side and (
                conditional.close_position or conditional.is_exit
            )
            if is_meant and not reducible(account, listing, conditional):
                self._step(account, conditional, ConditionalState.EXPIRED, now_ns)

    def _tell(
        self,
        account: MarginClient,
        kind: ExecutionKind,
        order: SimOrder,
        now_ns: int,
        *,
        changed: Iterable[str],
        fill: SimFill | None = None,
        previous_id: str | None = None,
    ) -> None:
        account.sequence = next(self._sequences)
        self._listener(
            ExecutionEvent(
                api_key=account.api_key,
                sequence=account.sequence,
                kind=kind,
                order=order,
                fill=fill,
                balances={asset: Balance(free=account.wallet.get(asset, _ZERO), locked=_ZERO) for asset in changed},
                time_ns=now_ns,
                previous_client_order_id=previous_id,
                position=account.positions.get((order.venue_symbol, order.position_side)),
            )
        )
        parent = account.conditionals.get(order.conditional_id or 0)
        if parent is not None and not order.is_open:
            self._step(account, parent, ConditionalState.FINISHED, now_ns)
