"""The margin exchange: what a client may ask of an exchange of perpetuals and delivery contracts.

Orders meet the book as at :class:`btx.sim.exchange.Exchange`; money moves as positions are closed, by fees,
funding and liquidation.  Not modelled: the multi-assets mode (each settle asset margins its own positions
only), portfolio margin, order lists, price match and self-trade prevention (two clients' orders never meet).
"""

import itertools
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import BookingKind
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide
from btx.rules.margin import max_notional
from btx.sim.conditionals import ConditionalState, SimConditional
from btx.sim.margin_account import MarginClient, Past, opens
from btx.sim.margin_events import ConfigEvent, SimBooking
from btx.sim.margin_views import MarginViews
from btx.sim.orders import (
    Amendment,
    ExecutionKind,
    Exit,
    NewOrder,
    PriceKind,
    Refusal,
    Refused,
    SimOrder,
    SimPosition,
)

__all__ = ("MarginExchange",)

_ZERO = Decimal(0)


class MarginExchange(MarginViews):
    """Accounts that trade on margin against a :class:`Liquidity`, at prices of a :class:`Marks`.

    ``insurance`` is what the insurance fund begins with, by asset.
    """

    def place(self, *, api_key: str, order: NewOrder, now_ns: int) -> SimOrder:
        """Take a MARKET or LIMIT order and execute what can be executed at once; return it afterwards.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        listing = self._gate.check(account, order, now_ns)
        return self._execute(account, listing, self._accept(account, order, now_ns), now_ns)

    def place_conditional(self, *, api_key: str, order: NewOrder, now_ns: int) -> SimConditional:
        """Take an order that waits for its price: a stop, a take profit or a trailing stop.

        It holds no margin before its price has come.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        self._gate.check_conditional(account, order, now_ns)
        return self._await(account, order, now_ns)

    def test(self, *, api_key: str, order: NewOrder, now_ns: int) -> None:
        """Check an order like :meth:`place`, and do nothing.

        Raises:
            Refused: it would not be taken.
        """
        self._gate.check(self._accounts[api_key], order, now_ns)

    def cancel(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int | None = None,
        client_order_id: str | None = None,
        now_ns: int,
    ) -> SimOrder:
        """End an open order; return it afterwards. Of a triggered conditional order this is its child.

        Raises:
            Refused: UNKNOWN_SYMBOL, or UNKNOWN_ORDER when it is not open.
        """
        account = self._accounts[api_key]
        order = self.order(
            api_key=api_key, venue_symbol=venue_symbol, order_id=order_id, client_order_id=client_order_id
        )
        if not order.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it is not open any more")
        return self._end(account, order, ExecutionKind.CANCELED, now_ns)

    def cancel_all(self, *, api_key: str, venue_symbol: str, now_ns: int) -> tuple[SimOrder, ...]:
        """End every open order of a symbol, not its conditional ones; return them afterwards.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        self._listing(venue_symbol)
        account = self._accounts[api_key]
        return tuple(
            self._end(account, order, ExecutionKind.CANCELED, now_ns) for order in account.open_orders(venue_symbol)
        )

    def cancel_conditional(
        self,
        *,
        api_key: str,
        conditional_id: int | None = None,
        client_order_id: str | None = None,
        now_ns: int,
    ) -> SimConditional:
        """End a conditional order that waits; return it afterwards.

        Raises:
            Refused: UNKNOWN_ORDER when it does not wait (any more).
        """
        account = self._accounts[api_key]
        found = self.conditional(api_key=api_key, conditional_id=conditional_id, client_order_id=client_order_id)
        if not found.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it does not wait any more")
        return self._step(account, found, ConditionalState.CANCELED, now_ns)

    def cancel_all_conditionals(self, *, api_key: str, venue_symbol: str, now_ns: int) -> tuple[SimConditional, ...]:
        """End every conditional order of a symbol that waits; return them afterwards.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        self._listing(venue_symbol)
        account = self._accounts[api_key]
        return tuple(
            self._step(account, each, ConditionalState.CANCELED, now_ns) for each in account.waiting(venue_symbol)
        )

    def modify(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int | None = None,
        client_order_id: str | None = None,
        price: Decimal,
        quantity: Decimal,
        exits: tuple[Exit, ...] | None = None,
        now_ns: int,
    ) -> tuple[SimOrder, Amendment | None]:
        """Give an open LIMIT order another price and quantity; it queues anew, and takes what it now can.

        ``exits`` are what shall close what it opens from now on, None: as before.

        With a quantity it has executed already, and as a post-only order that would now take, it is cancelled
        instead and there is no amendment.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        listing = self._listing(venue_symbol)
        before = self.order(
            api_key=api_key, venue_symbol=venue_symbol, order_id=order_id, client_order_id=client_order_id
        )
        if not before.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it is not open any more")
        is_same = (price, quantity) == (before.price, before.quantity)
        if is_same and exits in (None, before.exits):
            raise Refused(Refusal.AMEND_NO_CHANGE)
        if exits is not None:
            before = attrs.evolve(before, exits=exits)
        wanted = _as_new(before, price, quantity)
        most = listing.filters.max_num_order_amends
        if most is not None and before.amendments >= most:
            raise Refused(Refusal.FILTER, detail="max_num_order_amends")
        self._gate.check_filters(account, listing, wanted, open_before=1)
        if quantity <= before.executed_quantity:
            return self._end(account, before, ExecutionKind.CANCELED, now_ns), None
        try:
            self._gate.check_post_only(wanted, now_ns)
        except Refused:
            return self._end(account, before, ExecutionKind.CANCELED, now_ns), None
        if opens(wanted):
            rest = attrs.evolve(wanted, quantity=quantity - before.executed_quantity)
            self._gate.check_margin(account, listing, rest, now_ns, without=before)
        order = attrs.evolve(
            before, price=price, quantity=quantity, amendments=before.amendments + 1, updated_ns=now_ns
        )
        self._keep(account, order)
        self._working[venue_symbol].pop(order.order_id, None)
        self._tell(account, ExecutionKind.REPLACED, order, now_ns, changed=())
        amendment = Amendment(
            order_id=order.order_id,
            venue_symbol=venue_symbol,
            execution_id=account.sequence,
            old_client_order_id=order.client_order_id,
            new_client_order_id=order.client_order_id,
            old_quantity=before.quantity,
            new_quantity=quantity,
            old_price=before.price,
            new_price=price,
            time_ns=now_ns,
        )
        account.amendments.append(amendment)
        return self._execute(account, listing, order, now_ns), amendment

    def modify_conditional(
        self,
        *,
        api_key: str,
        conditional_id: int,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        trigger_by: PriceKind | None = None,
        exits: tuple[Exit, ...] | None = None,
        now_ns: int,
    ) -> SimConditional:
        """Give a conditional order that waits other terms, None: as before; return it afterwards.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        found = self.conditional(api_key=api_key, conditional_id=conditional_id)
        if not found.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it does not wait any more")
        asked: dict[str, Any] = {
            "quantity": quantity,
            "price": price,
            "trigger_price": trigger_price,
            "trigger_by": trigger_by,
            "exits": exits,
        }
        changes = {name: value for name, value in asked.items() if value not in (None, getattr(found, name))}
        if not changes:
            raise Refused(Refusal.AMEND_NO_CHANGE)
        after = attrs.evolve(found, **changes)
        self._gate.check_waiting(account, self.listings[found.venue_symbol], after)
        return self._step(account, after, ConditionalState.NEW, now_ns)

    def restore(self, *, api_key: str, past: Past) -> None:
        """Give an account its past back, before the first command; what rests queues behind the book as it is now.

        Its bookings since it was opened, with what it owned then, are its wallet.
        """
        account = self._accounts[api_key]
        account.wallet = dict(past.wallet)
        for key, position in past.positions.items():
            symbol = position.venue_symbol
            account.positions[key] = attrs.evolve(
                position,
                leverage=past.leverages.get(symbol, position.leverage),
                margin_mode=past.margin_modes.get(symbol, position.margin_mode),
            )
        account.orders, account.fills = dict(past.orders), list(past.fills)
        account.bookings, account.sequence = list(past.bookings), past.sequence
        account.leverages, account.margin_modes = dict(past.leverages), dict(past.margin_modes)
        account.position_mode = past.position_mode
        for booking in past.bookings:
            self._house.give(booking.kind, booking.asset, booking.amount)
        for fill in past.fills:
            account.volume = account.volume.add(fill.quote_quantity, fill.time_ns)
        for order in account.orders.values():
            if order.is_open:
                account.open_ids[order.order_id] = None
                self._working[order.venue_symbol][order.order_id] = (account, self._resting(order))
        for conditional in past.conditionals.values():
            account.keep_conditional(conditional)
            if conditional.is_open:
                self._conditionals[conditional.venue_symbol][conditional.conditional_id] = account
        for position in account.held():
            self._funded_ns[position.venue_symbol] = past.time_ns
        self._order_ids = itertools.count(max(account.orders, default=0) + 1)
        self._conditional_ids = itertools.count(max(account.conditionals, default=0) + 1)
        self._trade_ids = itertools.count(max((fill.trade_id for fill in account.fills), default=0) + 1)
        self._booking_ids = itertools.count(max((each.booking_id for each in account.bookings), default=0) + 1)
        self._sequences = itertools.count(past.sequence + 1)

    def set_leverage(self, *, api_key: str, venue_symbol: str, leverage: int, now_ns: int) -> Decimal | None:
        """Lever a symbol's positions, also those there are; return the notional that is allowed, None: any.

        Raises:
            Refused: UNKNOWN_SYMBOL; LEVERAGE, it is within no tier; LEVERAGE_REDUCTION, of an isolated position;
                TIER_EXCEEDED, of what is held; INSUFFICIENT_MARGIN.
        """
        account = self._accounts[api_key]
        listing = self._listing(venue_symbol)
        if not 1 <= leverage <= max(tier.max_leverage for tier in listing.tiers):
            raise Refused(Refusal.LEVERAGE, detail=str(leverage))
        before = account.leverage(venue_symbol)
        most = max_notional(listing.tiers, leverage)
        held = account.held(venue_symbol)
        if leverage < before and any(each.margin_mode is MarginMode.ISOLATED for each in held):
            raise Refused(Refusal.LEVERAGE_REDUCTION)
        if most is not None and any(self._valuation.notional(each) > most for each in held):
            raise Refused(Refusal.TIER_EXCEEDED, detail=f"at leverage {leverage} the most is {most:f}")
        needed = sum(
            (
                self._valuation.initial(attrs.evolve(each, leverage=leverage)) - self._valuation.initial(each)
                for each in held
            ),
            _ZERO,
        )
        if needed > self._valuation.wallet(account, listing.instrument.settle).available:
            raise Refused(Refusal.INSUFFICIENT_MARGIN)
        account.leverages[venue_symbol] = leverage
        self._evolve_positions(account, venue_symbol, leverage=leverage)
        if leverage != before:
            self._tell_config(account, now_ns, venue_symbol=venue_symbol, leverage=leverage)
        return most

    def set_margin_mode(self, *, api_key: str, venue_symbol: str, mode: MarginMode, now_ns: int) -> None:
        """Set how a symbol's positions are margined.

        Raises:
            Refused: UNKNOWN_SYMBOL, NO_CHANGE, HAS_ORDERS or HAS_POSITION.
        """
        account = self._accounts[api_key]
        self._listing(venue_symbol)
        if account.margin_mode(venue_symbol) is mode:
            raise Refused(Refusal.NO_CHANGE)
        if account.open_orders(venue_symbol) or account.waiting(venue_symbol):
            raise Refused(Refusal.HAS_ORDERS)
        if account.held(venue_symbol):
            raise Refused(Refusal.HAS_POSITION)
        account.margin_modes[venue_symbol] = mode
        self._evolve_positions(account, venue_symbol, margin_mode=mode)
        self._tell_config(account, now_ns, venue_symbol=venue_symbol, margin_mode=mode)

    def set_position_mode(
        self, *, api_key: str, mode: PositionMode, venue_symbol: str | None = None, now_ns: int
    ) -> None:
        """Set whether symbols have one position or two: of one symbol, or of the whole account for None.

        Raises:
            Refused: UNKNOWN_SYMBOL, NO_CHANGE, HAS_ORDERS or HAS_POSITION.
        """
        account = self._accounts[api_key]
        if venue_symbol is not None:
            self._listing(venue_symbol)
        now = account.position_mode if venue_symbol is None else account.mode(venue_symbol)
        if now is mode:
            raise Refused(Refusal.NO_CHANGE)
        if account.open_orders(venue_symbol) or account.waiting(venue_symbol):
            raise Refused(Refusal.HAS_ORDERS)
        if account.held(venue_symbol):
            raise Refused(Refusal.HAS_POSITION)
        if venue_symbol is None:
            account.position_mode = mode
        else:
            account.position_modes[venue_symbol] = mode
        self._tell_config(account, now_ns, position_mode=mode)

    def change_isolated_margin(
        self, *, api_key: str, venue_symbol: str, position_side: PositionSide, amount: Decimal, now_ns: int
    ) -> SimPosition:
        """Set more (or, negative, less) money aside for an isolated position, in the settle asset.

        Raises:
            Refused: UNKNOWN_SYMBOL, NO_POSITION, NOT_ISOLATED, or INSUFFICIENT_MARGIN: of what is free, or to
                keep the position's initial margin.
        """
        account = self._accounts[api_key]
        listing = self._listing(venue_symbol)
        position = account.position(listing, position_side)
        if not position.quantity:
            raise Refused(Refusal.NO_POSITION)
        if position.margin_mode is not MarginMode.ISOLATED:
            raise Refused(Refusal.NOT_ISOLATED)
        asset = listing.instrument.settle
        after = attrs.evolve(position, isolated_wallet=position.isolated_wallet + amount, updated_ns=now_ns)
        kept = after.isolated_wallet + min(self._valuation.unrealised(after), _ZERO)
        if amount > self._valuation.wallet(account, asset).available or (
            amount < 0 and kept < self._valuation.initial(after)
        ):
            raise Refused(Refusal.INSUFFICIENT_MARGIN)
        account.positions[after.key] = after
        self._tell_account(account, "MARGIN_TRANSFER", now_ns, assets=(asset,), positions=(after,))
        return after

    def transfer(self, *, api_key: str, asset: str, amount: Decimal, now_ns: int) -> SimBooking:
        """Pay money in, or out where it is negative.

        Raises:
            Refused: INSUFFICIENT_BALANCE; what is not available cannot be paid out.
        """
        account = self._accounts[api_key]
        if -amount > self._valuation.wallet(account, asset).available:
            raise Refused(Refusal.INSUFFICIENT_BALANCE)
        (booking,) = self._book(account, BookingKind.TRANSFER, asset, amount, now_ns)
        self._tell_account(account, "DEPOSIT" if amount > 0 else "WITHDRAW", now_ns, bookings=(booking,))
        return booking

    def set_tier(self, *, api_key: str, tier: str | None, follows_volume: bool = False) -> None:
        """Let an account pay the fees of a tier of the schedule's levels; None: the schedule's own.

        With ``follows_volume`` its tier moves with what it traded in the 30 days before each day.
        """
        account = self._accounts[api_key]
        account.tier, account.follows_volume = tier, follows_volume

    def set_discount(self, *, api_key: str, is_on: bool) -> None:
        """Let an account pay fees in the discount asset, as far as it owns enough of it."""
        self._accounts[api_key].pays_with_discount_asset = is_on

    def set_countdown(self, *, api_key: str, venue_symbol: str, deadline_ns: int | None) -> None:
        """Cancel a symbol's open orders at a market time, unless it is put off; None: do not.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        self._listing(venue_symbol)
        countdowns = self._accounts[api_key].countdowns
        if deadline_ns is None:
            countdowns.pop(venue_symbol, None)
        else:
            countdowns[venue_symbol] = deadline_ns

    def _evolve_positions(self, account: MarginClient, venue_symbol: str, **changes: Any) -> None:
        for key, position in account.positions.items():
            if position.venue_symbol == venue_symbol:
                account.positions[key] = attrs.evolve(position, **changes)

    def _tell_config(self, account: MarginClient, now_ns: int, **changes: Any) -> None:
        # Venues push nothing when the position mode changes: it is no event that anybody could wait for.
        if "position_mode" not in changes:
            account.sequence = next(self._sequences)
        self._listener(ConfigEvent(api_key=account.api_key, sequence=account.sequence, time_ns=now_ns, **changes))


def _as_new(order: SimOrder, price: Decimal, quantity: Decimal) -> NewOrder:
    """Return what an order asks for once it is modified."""
    return NewOrder(
        venue_symbol=order.venue_symbol,
        side=order.side,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
        quantity=quantity,
        price=price,
        client_order_id=order.client_order_id,
        position_side=order.position_side,
        reduce_only=order.reduce_only,
        close_position=order.close_position,
        good_till_ns=order.good_till_ns,
        exits=order.exits,
        memo=order.memo,
    )
