"""The exchange: accounts, orders and a ledger, matched against a market that ignores them.

All money is Decimal and moves only by executions.  Nothing here knows a clock
or a wire: time comes as an argument, and what happens leaves as an
:class:`ExecutionEvent` through the one listener.

Choices where venues differ or say nothing: fees are cut (not rounded) to eight
decimals; two clients' orders never meet; a buy at a price better than its limit
gets the difference back at once.  Of a pair that cancels each other the other
order ends just before the first execution, or before the trigger, is told.
Orders that wait for a working order are checked again when it is filled, and
rejected together where one of them cannot be placed.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_DOWN, Decimal

import attrs

from btx.model.account import Balance
from btx.model.order import Side, Status, TimeInForce
from btx.model.venue import SimAccount
from btx.sim.accounts import Account
from btx.sim.gate import Gate
from btx.sim.liquidity import Liquidity, Offers
from btx.sim.lists import NewOrderList
from btx.sim.matching import (
    Resting,
    Take,
    crosses,
    is_triggered,
    match_trade,
    take_quantity,
    take_quote,
    trail_is_triggered,
)
from btx.sim.orders import (
    TRIGGER_TYPES,
    Amendment,
    ExecutionEvent,
    ExecutionKind,
    Listing,
    NewOrder,
    Refusal,
    Refused,
    Replacement,
    SimFill,
    SimOrder,
    SimOrderList,
)

__all__ = (
    "Amendment",
    "Exchange",
    "ExecutionEvent",
    "ExecutionKind",
    "Liquidity",
    "Listing",
    "NewOrder",
    "NewOrderList",
    "Refusal",
    "Refused",
    "Replacement",
    "SimFill",
    "SimOrder",
    "SimOrderList",
)

_ZERO = Decimal(0)
_FEE_GRID = Decimal("0.00000001")


_END_STATUS = {ExecutionKind.CANCELED: Status.CANCELED, ExecutionKind.EXPIRED: Status.EXPIRED}


@attrs.frozen(kw_only=True)
class _Entry:
    """A resting order that a public trade may reach."""

    account: Account
    order_id: int
    resting: Resting


class Exchange:
    """Accounts that trade listings against a :class:`Liquidity`.

    ``discount`` is the factor of the fee when it is paid in the schedule's
    discount asset; who pays so is set per account.
    """

    def __init__(
        self,
        *,
        listings: Iterable[Listing],
        accounts: Iterable[SimAccount],
        market: Liquidity,
        listener: Callable[[ExecutionEvent], None],
        discount: Decimal = Decimal("0.75"),
    ) -> None:
        self.listings = {listing.venue_symbol: listing for listing in listings}
        self._accounts = {
            account.api_key: Account(api_key=account.api_key, free=dict(account.balances)) for account in accounts
        }
        self._market = market
        self._listener = listener
        self._discount = discount
        self._order_ids = itertools.count(1)
        self._list_ids = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self._sequences = itertools.count(1)
        # Open orders by symbol; the values are what rests, None for an order that waits for its trigger.
        self._working: dict[str, dict[int, tuple[Account, Resting | None]]] = {
            venue_symbol: {} for venue_symbol in self.listings
        }
        self._offers = Offers(market)
        self._gate = Gate(self.listings, market, self._offers)

    # --- commands -------------------------------------------------------------------------------------------

    def place(self, *, api_key: str, order: NewOrder, now_ns: int) -> SimOrder:
        """Take an order and execute what can be executed at once; return it afterwards.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        listing = self._gate.check(account, order, now_ns)
        return self._start(account, listing, self._accept(account, listing, order, now_ns), now_ns)

    def place_list(
        self, *, api_key: str, order_list: NewOrderList, now_ns: int
    ) -> tuple[SimOrderList, tuple[SimOrder, ...]]:
        """Take a list of orders, all or none; return it and its orders afterwards.

        Where the working order is filled at once, what it places is returned as
        it was before: still waiting.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        listing = self._gate.check_list(account, order_list, now_ns)
        order_ids = tuple(next(self._order_ids) for _ in order_list.orders)
        asked = tuple(zip(order_list.orders, order_ids, strict=True))
        list_id = next(self._list_ids)
        account.lists.put(
            SimOrderList(
                list_id=list_id,
                client_list_id=order_list.client_list_id or f"btxsimlist{list_id}",
                venue_symbol=order_list.venue_symbol,
                kind=order_list.kind,
                order_ids=order_ids,
                client_order_ids=tuple(order.client_order_id or f"btxsim{order_id}" for order, order_id in asked),
                is_done=False,
                created_ns=now_ns,
                updated_ns=now_ns,
            )
        )
        accepted = [
            self._accept(account, listing, order, now_ns, order_id=order_id, list_id=list_id)
            for order, order_id in asked
        ]
        for order in accepted:
            if not order.is_pending:
                self._start(account, listing, order, now_ns)
        afterwards = [account.orders[order_id] for order_id in order_ids]
        if afterwards[0].status is Status.FILLED:
            afterwards[1:] = accepted[1:]
        return account.lists[list_id], tuple(afterwards)

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
        only: Status | None = None,
        now_ns: int,
    ) -> SimOrder:
        """End an open order, with the whole list it is in, and unlock what it held; return it afterwards.

        Raises:
            Refused: UNKNOWN_SYMBOL, UNKNOWN_ORDER when it is not open, or
                CANCEL_RESTRICTED when it has not the status ``only``.
        """
        account = self._accounts[api_key]
        order = self.order(
            api_key=api_key, venue_symbol=venue_symbol, order_id=order_id, client_order_id=client_order_id
        )
        if not order.is_open:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it is not open any more")
        if only is not None and order.status is not only:
            raise Refused(Refusal.CANCEL_RESTRICTED)
        if order.list_id is None:
            return self._end(account, order, ExecutionKind.CANCELED, now_ns)
        self._cancel_orders(account, account.lists[order.list_id].order_ids, now_ns)
        return account.orders[order.order_id]

    def cancel_list(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        list_id: int | None = None,
        client_list_id: str | None = None,
        now_ns: int,
    ) -> SimOrderList:
        """End every open order of a list; return it afterwards.

        Raises:
            Refused: UNKNOWN_SYMBOL, or UNKNOWN_LIST when it is not open.
        """
        self._gate.listing(venue_symbol)
        account = self._accounts[api_key]
        found = account.lists.find(list_id=list_id, client_list_id=client_list_id)
        if found.is_done or found.venue_symbol != venue_symbol:
            raise Refused(Refusal.UNKNOWN_LIST, detail="it is not open there")
        self._cancel_orders(account, found.order_ids, now_ns)
        return account.lists[found.list_id]

    def replace(
        self,
        *,
        api_key: str,
        order: NewOrder,
        order_id: int | None = None,
        client_order_id: str | None = None,
        only: Status | None = None,
        stop_on_failure: bool,
        now_ns: int,
    ) -> Replacement:
        """Cancel an order and place another; it is no transaction, each half may fail alone.

        Filters are looked at first, with the old order still open.  With
        ``stop_on_failure`` nothing is placed when nothing was cancelled.

        Raises:
            Refused: nothing was done; the new order cannot be read or breaks a filter.
        """
        account = self._accounts[api_key]
        self._gate.check_alone(account, order)
        canceled = placed = cancel_refused = place_refused = None
        try:
            canceled = self.cancel(
                api_key=api_key,
                venue_symbol=order.venue_symbol,
                order_id=order_id,
                client_order_id=client_order_id,
                only=only,
                now_ns=now_ns,
            )
        except Refused as refused:
            cancel_refused = refused
        if cancel_refused is None or not stop_on_failure:
            try:
                placed = self.place(api_key=api_key, order=order, now_ns=now_ns)
            except Refused as refused:
                place_refused = refused
                if canceled is not None:
                    self._tell_rejected(account, order, refused.reason, now_ns)
        return Replacement(canceled=canceled, cancel_refused=cancel_refused, placed=placed, place_refused=place_refused)

    def amend(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int | None = None,
        client_order_id: str | None = None,
        quantity: Decimal,
        new_client_order_id: str | None = None,
        now_ns: int,
    ) -> tuple[SimOrder, Amendment]:
        """Reduce an open order's quantity where it stands in the queue; a pair keeps one quantity.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        order = self.order(
            api_key=api_key, venue_symbol=venue_symbol, order_id=order_id, client_order_id=client_order_id
        )
        listing = self.listings[venue_symbol]
        new_id = new_client_order_id or f"btxsim{order.order_id}-{order.amendments + 1}"
        self._gate.check_amend(account, listing, order, quantity, new_id)
        for partner in account.partners(order):
            self._shrink(account, partner, quantity, partner.client_order_id, now_ns)
        order = self._shrink(account, order, quantity, new_id, now_ns)
        return order, account.amendments[-1]

    def on_trade(self, *, venue_symbol: str, price: Decimal, quantity: Decimal, now_ns: int) -> None:
        """Let a public trade wake up triggers and meet resting orders; none that came to the book after it."""
        listing = self.listings[venue_symbol]
        # Who waits now: an order that this very trade wakes up came after it, and does not meet it.
        working = self._working[venue_symbol]
        waiting = tuple(working.items())
        for order_id, (account, resting) in waiting:
            if resting is None and order_id in working and account.orders[order_id].created_ns <= now_ns:
                self._try_trigger(account, listing, account.orders[order_id], price, now_ns)
        for side in Side:
            entries = [
                _Entry(account=account, order_id=order_id, resting=resting)
                for order_id, (account, resting) in waiting
                if resting is not None
                and order_id in working
                and resting.side is side
                and crosses(side, resting.price, price)
                and (account.orders[order_id].working_ns or 0) <= now_ns
            ]
            if entries:
                self._match(listing, entries, price, quantity, now_ns)

    def restore(
        self,
        *,
        api_key: str,
        balances: Mapping[str, Balance],
        orders: Iterable[SimOrder],
        fills: Iterable[SimFill],
        lists: Iterable[SimOrderList],
        sequence: int,
    ) -> None:
        """Give an account its past back, before the first command; what rests queues behind the book as it is now."""
        account = self._accounts[api_key]
        account.free = {asset: balance.free for asset, balance in balances.items()}
        account.locked = {asset: balance.locked for asset, balance in balances.items()}
        account.orders = {order.order_id: order for order in orders}
        account.fills = list(fills)
        account.sequence = sequence
        for order_list in lists:
            account.lists.put(order_list)
        for order in account.orders.values():
            if order.is_open:
                account.open_ids[order.order_id] = None
                if not order.is_pending:
                    self._working[order.venue_symbol][order.order_id] = (account, self._resting(order))
        self._order_ids = itertools.count(max(account.orders, default=0) + 1)
        self._list_ids = itertools.count(max((one.list_id for one in account.lists), default=0) + 1)
        self._trade_ids = itertools.count(max((fill.trade_id for fill in account.fills), default=0) + 1)
        self._sequences = itertools.count(sequence + 1)

    def set_discount(self, *, api_key: str, is_on: bool) -> None:
        """Let an account pay fees in the discount asset, as far as it owns enough of it."""
        self._accounts[api_key].pays_with_discount_asset = is_on

    # --- queries --------------------------------------------------------------------------------------------

    def has_orders(self, venue_symbol: str) -> bool:
        """Tell whether any account has an open order there, so that single trades matter."""
        return bool(self._working[venue_symbol])

    def order(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int | None = None,
        client_order_id: str | None = None,
    ) -> SimOrder:
        """Return an order, open or not, by either id; of a reused client order id the latest.

        Raises:
            Refused: UNKNOWN_SYMBOL or UNKNOWN_ORDER.
        """
        self._gate.listing(venue_symbol)
        orders = self._accounts[api_key].orders
        found: SimOrder | None = None
        if order_id is not None:
            found = orders.get(order_id)
        elif client_order_id is not None:
            found = next(
                (order for order in reversed(orders.values()) if order.client_order_id == client_order_id), None
            )
        if found is None or found.venue_symbol != venue_symbol:
            raise Refused(Refusal.UNKNOWN_ORDER)
        if client_order_id is not None and found.client_order_id != client_order_id:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="the two ids name different orders")
        return found

    def open_orders(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimOrder, ...]:
        """Return open orders, oldest first; of all symbols when ``venue_symbol`` is None.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._gate.listing(venue_symbol)
        return tuple(self._accounts[api_key].open_orders(venue_symbol))

    def all_orders(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimOrder, ...]:
        """Return every order there ever was, oldest first; the caller pages.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._gate.listing(venue_symbol)
        orders = self._accounts[api_key].orders.values()
        return tuple(order for order in orders if venue_symbol in (None, order.venue_symbol))

    def order_list(
        self, *, api_key: str, list_id: int | None = None, client_list_id: str | None = None
    ) -> SimOrderList:
        """Return an order list, open or not; of a reused client list id the latest.

        Raises:
            Refused: UNKNOWN_LIST.
        """
        return self._accounts[api_key].lists.find(list_id=list_id, client_list_id=client_list_id)

    def order_lists(self, *, api_key: str, is_open: bool = False) -> tuple[SimOrderList, ...]:
        """Return every order list there ever was, or those that are open, oldest first."""
        lists = self._accounts[api_key].lists
        return lists.open() if is_open else tuple(lists)

    def amendments(self, *, api_key: str, order_id: int) -> tuple[Amendment, ...]:
        """Return what was amended of one order, oldest first."""
        return tuple(one for one in self._accounts[api_key].amendments if one.order_id == order_id)

    def fills(
        self, *, api_key: str, venue_symbol: str | None = None, order_id: int | None = None
    ) -> tuple[SimFill, ...]:
        """Return every execution, oldest first; the caller pages.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._gate.listing(venue_symbol)
        return tuple(
            fill
            for fill in self._accounts[api_key].fills
            if venue_symbol in (None, fill.venue_symbol) and order_id in (None, fill.order_id)
        )

    def balances(self, *, api_key: str) -> dict[str, Balance]:
        """Return what the account owns, every asset it ever touched."""
        account = self._accounts[api_key]
        return {asset: account.balance(asset) for asset in sorted({*account.free, *account.locked})}

    def sequence(self, *, api_key: str) -> int:
        """Return the sequence of the account's last event; 0 before the first."""
        return self._accounts[api_key].sequence

    def knows(self, api_key: str) -> bool:
        """Tell whether there is such an account; every other method expects that there is."""
        return api_key in self._accounts

    # --- executions -----------------------------------------------------------------------------------------

    def _accept(
        self,
        account: Account,
        listing: Listing,
        order: NewOrder,
        now_ns: int,
        *,
        order_id: int | None = None,
        list_id: int | None = None,
    ) -> SimOrder:
        accepted = self._made(order, now_ns, order_id=next(self._order_ids) if order_id is None else order_id)
        ends_list = False
        if list_id is not None:
            order_list = account.lists[list_id]
            waits = accepted.order_id in order_list.triggered_ids
            ends_list = accepted.order_id == order_list.order_ids[-1]
            accepted = attrs.evolve(
                accepted,
                list_id=list_id,
                status=Status.PENDING_NEW if waits else Status.NEW,
                working_ns=None if waits else accepted.working_ns,
            )
        changed = account.put(accepted, listing.instrument)
        self._tell(account, ExecutionKind.NEW, accepted, now_ns, changed=changed, tells_list=ends_list)
        return accepted

    def _made(self, order: NewOrder, now_ns: int, *, order_id: int) -> SimOrder:
        return SimOrder(
            order_id=order_id,
            client_order_id=order.client_order_id or f"btxsim{order_id}",
            venue_symbol=order.venue_symbol,
            side=order.side,
            order_type=order.order_type,
            post_only=order.post_only,
            time_in_force=order.time_in_force,
            quantity=order.quantity or _ZERO,
            quote_quantity=order.quote_quantity,
            price=order.price,
            trigger_price=order.trigger_price,
            status=Status.NEW,
            executed_quantity=_ZERO,
            executed_quote=_ZERO,
            fills=(),
            created_ns=now_ns,
            updated_ns=now_ns,
            working_ns=None if order.order_type in TRIGGER_TYPES else now_ns,
            display_quantity=order.display_quantity,
            reserve_price=self._gate.reserve_price(order),
            trail_bps=order.trail_bps,
        )

    def _start(self, account: Account, listing: Listing, order: SimOrder, now_ns: int) -> SimOrder:
        """Let an accepted order wait for its trigger, or meet the book."""
        if order.order_type in TRIGGER_TYPES:
            self._working[order.venue_symbol][order.order_id] = (account, None)
            return order
        return self._execute(account, listing, order, now_ns)

    def _place_waiting(self, account: Account, listing: Listing, working: SimOrder, now_ns: int) -> None:
        """Place what waited for a working order that is filled now, or reject it."""
        if working.list_id is None or account.lists[working.list_id].working_id != working.order_id:
            return
        waiting = [account.orders[order_id] for order_id in account.lists[working.list_id].triggered_ids]
        try:
            self._gate.check_waiting(account, listing, waiting, now_ns)
        except Refused as refused:
            for order in waiting:
                rejected = attrs.evolve(order, status=Status.REJECTED, reject_reason=refused.reason, updated_ns=now_ns)
                account.put(rejected, listing.instrument)
                self._tell(account, ExecutionKind.REJECTED, rejected, now_ns, changed=())
            return
        placed = [
            attrs.evolve(
                order,
                status=Status.NEW,
                working_ns=None if order.order_type in TRIGGER_TYPES else now_ns,
                updated_ns=now_ns,
                reserve_price=self._gate.reserve_price(order),
            )
            for order in waiting
        ]
        for order in placed:
            changed = account.put(order, listing.instrument)
            self._tell(account, ExecutionKind.NEW, order, now_ns, changed=changed, tells_list=order is placed[-1])
        for order in placed:
            self._start(account, listing, order, now_ns)

    def _execute(self, account: Account, listing: Listing, order: SimOrder, now_ns: int) -> SimOrder:
        """Take what the book offers, then rest, or end what may not rest."""
        takes, is_complete = self._plan(account, listing, order, now_ns)
        for number, take in enumerate(takes, start=1):
            self._offers.take(order.venue_symbol, order.side, take, now_ns)
            is_last = is_complete and number == len(takes)
            order = self._fill(account, listing, order, take, is_last=is_last, is_maker=False, now_ns=now_ns)
        if not order.is_open:
            return order
        if order.price is None or order.time_in_force is not TimeInForce.GTC:
            return self._expire(account, order, now_ns)
        resting = self._resting(order)
        if takes and resting is not None:
            resting = attrs.evolve(resting, queue_ahead=_ZERO)
        self._working[order.venue_symbol][order.order_id] = (account, resting)
        return order

    def _resting(self, order: SimOrder) -> Resting | None:
        """Return how an order rests behind everybody at its price; None for one that waits for its trigger."""
        if order.working_ns is None or order.price is None:
            return None
        visible = _visible(order, order.remaining)
        return Resting(
            side=order.side,
            price=order.price,
            remaining=visible,
            hidden=order.remaining - visible,
            queue_ahead=self._market.quantity_at(order.venue_symbol, order.side, order.price),
        )

    def _plan(self, account: Account, listing: Listing, order: SimOrder, now_ns: int) -> tuple[tuple[Take, ...], bool]:
        """Return what to take from the book, and whether a quote-sized order is complete with it."""
        if order.quote_quantity is not None:
            return self._offers.for_quote(listing, order.side, order.quote_quantity, now_ns)
        levels = self._offers.against(order.venue_symbol, order.side, now_ns)
        takes = take_quantity(levels, side=order.side, quantity=order.remaining, limit_price=order.price)
        if order.time_in_force is TimeInForce.FOK and order.price is not None:
            total = sum((take.quantity for take in takes), _ZERO)
            return (takes if total == order.remaining else ()), False
        if order.order_type in TRIGGER_TYPES and order.price is None and order.side is Side.BUY:
            takes = _affordable(takes, account.free.get(listing.instrument.quote, _ZERO), listing)
        return takes, False

    def _try_trigger(self, account: Account, listing: Listing, order: SimOrder, price: Decimal, now_ns: int) -> None:
        if order.trail_bps is not None:
            order = _following(order, price, now_ns)
            account.put(order, listing.instrument)
        if not _wakes(order, price):
            return
        self._expire_partners(account, order, now_ns)
        del self._working[order.venue_symbol][order.order_id]
        order = attrs.evolve(order, working_ns=now_ns, updated_ns=now_ns)
        changed = account.put(order, listing.instrument)
        self._tell(account, ExecutionKind.TRIGGERED, order, now_ns, changed=changed)
        self._execute(account, listing, order, now_ns)

    def _match(self, listing: Listing, entries: list[_Entry], price: Decimal, quantity: Decimal, now_ns: int) -> None:
        """Share one trade among the orders of one side; they come oldest first."""
        entries.sort(key=lambda entry: -entry.resting.side.sign * entry.resting.price)
        results = match_trade([entry.resting for entry in entries], price=price, quantity=quantity)
        for entry, (resting, filled) in zip(entries, results, strict=True):
            account, order_id = entry.account, entry.order_id
            working = self._working[listing.venue_symbol]
            if resting.hidden and not resting.remaining:
                del working[order_id]  # the next part is the youngest at its price
                working[order_id] = (account, self._next_part(account.orders[order_id], resting))
            else:
                working[order_id] = (account, resting)
            if filled:
                take = Take(price=resting.price, quantity=filled)
                order = account.orders[order_id]
                self._fill(account, listing, order, take, is_last=False, is_maker=True, now_ns=now_ns)

    def _next_part(self, order: SimOrder, resting: Resting) -> Resting:
        """Return an iceberg with the next part of what it hides, behind everybody at its price."""
        visible = _visible(order, resting.hidden)
        queue_ahead = self._market.quantity_at(order.venue_symbol, order.side, resting.price)
        return attrs.evolve(resting, remaining=visible, hidden=resting.hidden - visible, queue_ahead=queue_ahead)

    def _fill(
        self,
        account: Account,
        listing: Listing,
        order: SimOrder,
        take: Take,
        *,
        is_last: bool,
        is_maker: bool,
        now_ns: int,
    ) -> SimOrder:
        """Move the money of one execution and tell it. ``is_last`` completes an order sized in quote units."""
        instrument = listing.instrument
        notional = take.price * take.quantity
        spent, received = (
            ((instrument.quote, notional), (instrument.base, take.quantity))
            if order.side is Side.BUY
            else ((instrument.base, take.quantity), (instrument.quote, notional))
        )
        self._expire_partners(account, order, now_ns)
        held_before = account.held(order, instrument)
        leaving = (spent[0], _ZERO if held_before else spent[1])  # what is held lies apart already
        fee_asset, fee = self._fee(account, listing, received, leaving, is_maker=is_maker)
        fill = SimFill(
            trade_id=next(self._trade_ids),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            venue_symbol=order.venue_symbol,
            side=order.side,
            price=take.price,
            quantity=take.quantity,
            quote_quantity=notional,
            fee=fee,
            fee_asset=fee_asset,
            is_maker=is_maker,
            time_ns=now_ns,
            list_id=order.list_id,
        )
        order = _with_fill(order, fill, is_last=is_last)
        account.put(order, instrument)
        account.add(spent[0], -spent[1])
        account.add(received[0], received[1])
        account.add(fee_asset, -fee)
        account.fills.append(fill)
        if not order.is_open:
            self._working[order.venue_symbol].pop(order.order_id, None)
        changed = tuple(dict.fromkeys((spent[0], received[0], fee_asset)))
        self._tell(account, ExecutionKind.TRADE, order, now_ns, changed=changed, fill=fill)
        if order.status is Status.FILLED:
            self._place_waiting(account, listing, order, now_ns)
        return order

    def _fee(
        self,
        account: Account,
        listing: Listing,
        received: tuple[str, Decimal],
        leaving: tuple[str, Decimal],
        *,
        is_maker: bool,
    ) -> tuple[str, Decimal]:
        asset, quantity = received
        fee = quantity * (listing.fees.maker if is_maker else listing.fees.taker)
        if account.pays_with_discount_asset:
            price = self._discount_price(listing, asset)
            if price is not None and listing.fees.discount_asset is not None:
                discounted = (fee * price * self._discount).quantize(_FEE_GRID, rounding=ROUND_DOWN)
                owned = account.free.get(listing.fees.discount_asset, _ZERO)
                # What this very execution takes away cannot pay for it, too.
                if discounted <= owned - (leaving[1] if leaving[0] == listing.fees.discount_asset else _ZERO):
                    return listing.fees.discount_asset, discounted
        return asset, fee.quantize(_FEE_GRID, rounding=ROUND_DOWN)

    def _discount_price(self, listing: Listing, asset: str) -> Decimal | None:
        """Return how much of the discount asset one ``asset`` is worth; None when no listing prices both."""
        instrument = listing.instrument
        if asset == listing.fees.discount_asset:
            return Decimal(1)
        in_quote = Decimal(1) if asset == instrument.quote else self._market.last_price(listing.venue_symbol)
        for other in self.listings.values():
            pair = (other.instrument.base, other.instrument.quote)
            if pair == (listing.fees.discount_asset, instrument.quote):
                return in_quote / self._market.last_price(other.venue_symbol)
        return None

    def _end(self, account: Account, order: SimOrder, kind: ExecutionKind, now_ns: int) -> SimOrder:
        """Close one order that is not filled up, and unlock what it holds."""
        order = attrs.evolve(order, status=_END_STATUS[kind], updated_ns=now_ns)
        changed = account.put(order, self.listings[order.venue_symbol].instrument)
        self._working[order.venue_symbol].pop(order.order_id, None)
        self._tell(account, kind, order, now_ns, changed=changed)
        return order

    def _cancel_orders(self, account: Account, order_ids: Iterable[int], now_ns: int) -> None:
        for order_id in order_ids:
            if order_id in account.open_ids:
                self._end(account, account.orders[order_id], ExecutionKind.CANCELED, now_ns)

    def _expire(self, account: Account, order: SimOrder, now_ns: int) -> SimOrder:
        """Close an order that may not rest, and what waits for it."""
        order = self._end(account, order, ExecutionKind.EXPIRED, now_ns)
        if order.list_id is not None:
            for order_id in account.lists[order.list_id].triggered_ids:
                if order_id in account.open_ids:
                    self._end(account, account.orders[order_id], ExecutionKind.EXPIRED, now_ns)
        return order

    def _expire_partners(self, account: Account, order: SimOrder, now_ns: int) -> None:
        for partner in account.partners(order):
            self._end(account, partner, ExecutionKind.EXPIRED, now_ns)

    def _shrink(self, account: Account, order: SimOrder, quantity: Decimal, new_id: str, now_ns: int) -> SimOrder:
        """Reduce one order where it stands, under another client order id."""
        before = order
        order = attrs.evolve(
            order,
            quantity=quantity,
            client_order_id=new_id,
            display_quantity=None if order.display_quantity is None else min(order.display_quantity, quantity),
            amendments=order.amendments + 1,
            updated_ns=now_ns,
        )
        working = self._working[order.venue_symbol]
        resting = working[order.order_id][1] if order.order_id in working else None
        if resting is not None:
            visible = min(resting.remaining, order.remaining)
            resting = attrs.evolve(resting, remaining=visible, hidden=order.remaining - visible)
            working[order.order_id] = (account, resting)
        changed = account.put(order, self.listings[order.venue_symbol].instrument)
        is_renamed = new_id != before.client_order_id
        if order.list_id is not None and is_renamed:
            order_list = account.lists[order.list_id]
            names = zip(order_list.order_ids, order_list.client_order_ids, strict=True)
            renamed = tuple(new_id if order_id == order.order_id else name for order_id, name in names)
            account.lists.put(attrs.evolve(order_list, client_order_ids=renamed))
        self._tell(
            account,
            ExecutionKind.REPLACED,
            order,
            now_ns,
            changed=changed,
            previous_id=before.client_order_id,
            tells_list=is_renamed,
        )
        account.amendments.append(
            Amendment(
                order_id=order.order_id,
                venue_symbol=order.venue_symbol,
                execution_id=account.sequence,
                old_client_order_id=before.client_order_id,
                new_client_order_id=new_id,
                old_quantity=before.quantity,
                new_quantity=quantity,
                time_ns=now_ns,
            )
        )
        return order

    def _tell_rejected(self, account: Account, order: NewOrder, reason: Refusal, now_ns: int) -> None:
        """Tell of an order that was refused after another was cancelled for it; nothing else remembers it."""
        rejected = attrs.evolve(
            self._made(order, now_ns, order_id=next(self._order_ids)),
            status=Status.REJECTED,
            reject_reason=reason,
            working_ns=None,
        )
        self._tell(account, ExecutionKind.REJECTED, rejected, now_ns, changed=())

    def _tell(
        self,
        account: Account,
        kind: ExecutionKind,
        order: SimOrder,
        now_ns: int,
        *,
        changed: Iterable[str],
        fill: SimFill | None = None,
        previous_id: str | None = None,
        tells_list: bool = False,
    ) -> None:
        account.sequence = next(self._sequences)
        self._listener(
            ExecutionEvent(
                api_key=account.api_key,
                sequence=account.sequence,
                kind=kind,
                order=order,
                fill=fill,
                balances={asset: account.balance(asset) for asset in changed},
                time_ns=now_ns,
                order_list=_list_news(account, order, now_ns, is_renamed=previous_id is not None, is_told=tells_list),
                previous_client_order_id=previous_id,
            )
        )


def _visible(order: SimOrder, remaining: Decimal) -> Decimal:
    return remaining if order.display_quantity is None else min(order.display_quantity, remaining)


def _following(order: SimOrder, price: Decimal, now_ns: int) -> SimOrder:
    """Return a trailing order after a trade: perhaps it begins to follow the market, perhaps it has a better price."""
    if order.trail_price is not None:
        best = max(order.trail_price, price) if order.side is Side.SELL else min(order.trail_price, price)
        return attrs.evolve(order, trail_price=best)
    if order.trigger_price is not None and not is_triggered(
        order.order_type, order.side, trigger_price=order.trigger_price, last_price=price
    ):
        return order
    return attrs.evolve(order, trail_price=price, trail_ns=now_ns)


def _wakes(order: SimOrder, price: Decimal) -> bool:
    if order.trail_bps is not None:
        return order.trail_price is not None and trail_is_triggered(
            order.side, best_price=order.trail_price, trail_bps=order.trail_bps, last_price=price
        )
    assert order.trigger_price is not None
    return is_triggered(order.order_type, order.side, trigger_price=order.trigger_price, last_price=price)


def _list_news(
    account: Account, order: SimOrder, now_ns: int, *, is_renamed: bool, is_told: bool
) -> SimOrderList | None:
    """Return the order's list where an event is news of it: told on purpose, or none of its orders is open any more."""
    if order.list_id is None:
        return None
    order_list = account.lists[order.list_id]
    known = [account.orders[order_id] for order_id in order_list.order_ids if order_id in account.orders]
    if len(known) == len(order_list.order_ids) and not any(one.is_open for one in known):
        account.lists.put(attrs.evolve(order_list, is_done=True, updated_ns=now_ns))
    elif is_told:
        account.lists.put(attrs.evolve(order_list, updated_ns=now_ns))
    else:
        return None
    return attrs.evolve(account.lists[order.list_id], is_renamed=is_renamed)


def _with_fill(order: SimOrder, fill: SimFill, *, is_last: bool) -> SimOrder:
    executed = order.executed_quantity + fill.quantity
    quantity = order.quantity if order.quote_quantity is None else executed
    is_filled = executed == order.quantity if order.quote_quantity is None else is_last
    return attrs.evolve(
        order,
        quantity=quantity,
        status=Status.FILLED if is_filled else Status.PARTIALLY_FILLED,
        executed_quantity=executed,
        executed_quote=order.executed_quote + fill.quote_quantity,
        fills=(*order.fills, fill),
        updated_ns=fill.time_ns,
    )


def _affordable(takes: Iterable[Take], money: Decimal, listing: Listing) -> tuple[Take, ...]:
    """Cut executions down to what ``money`` in quote units pays for."""
    levels = ((take.price, take.quantity) for take in takes)
    return take_quote(levels, quote_quantity=money, step_size=listing.instrument.step_size)[0]
