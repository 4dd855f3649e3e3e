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
from collections.abc import Iterable, Mapping
from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.order import Status
from btx.sim.liquidity import Liquidity
from btx.sim.lists import NewOrderList
from btx.sim.orders import (
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
from btx.sim.spot_desk import SpotDesk

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


class Exchange(SpotDesk):
    """Accounts that trade listings against a :class:`Liquidity`."""

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
        self._listing(venue_symbol)
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

    def modify(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int,
        price: Decimal | None,
        quantity: Decimal,
        trigger_price: Decimal | None,
        now_ns: int,
    ) -> SimOrder:
        """Give an open order other terms, all of them; it keeps its ids, queues anew, and takes what it now can.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        before = self.order(api_key=api_key, venue_symbol=venue_symbol, order_id=order_id)
        if not before.is_open or before.list_id is not None or before.quote_quantity is not None:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it is not open, or hangs on others")
        if (price, quantity, trigger_price) == (before.price, before.quantity, before.trigger_price):
            raise Refused(Refusal.AMEND_NO_CHANGE)
        listing = self.listings[venue_symbol]
        after = attrs.evolve(
            before,
            price=price,
            quantity=quantity,
            trigger_price=trigger_price,
            amendments=before.amendments + 1,
            updated_ns=now_ns,
        )
        after = attrs.evolve(after, reserve_price=self._gate.reserve_price(after))
        self._gate.check_modified(account, listing, after, now_ns)
        self._working[venue_symbol].pop(order_id, None)
        changed = account.put(after, listing.instrument)
        self._tell(account, ExecutionKind.REPLACED, after, now_ns, changed=changed)
        if after.working_ns is None:
            self._working[venue_symbol][order_id] = (account, None)
            return after
        return self._execute(account, listing, after, now_ns)

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

    def balances(self, *, api_key: str) -> dict[str, Balance]:
        """Return what the account owns, every asset it ever touched."""
        account = self._accounts[api_key]
        return {asset: account.balance(asset) for asset in sorted({*account.free, *account.locked})}
