"""The money of an exchange of what is owned: what orders lock, and what executions move; with their order lists."""

import itertools
from collections.abc import Callable, Iterable
from decimal import ROUND_DOWN, Decimal

import attrs

from btx.model.order import ListKind, Side, Status
from btx.model.venue import SimAccount
from btx.sim.accounts import Account
from btx.sim.engine import Engine, Waiting, with_fill
from btx.sim.gate import Gate
from btx.sim.liquidity import Liquidity
from btx.sim.manners import BINANCE, Manners
from btx.sim.matching import (
    Take,
    is_triggered,
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
    SimFill,
    SimOrder,
    SimOrderList,
)

__all__ = ("SpotDesk",)

_ZERO = Decimal(0)
_FEE_GRID = Decimal("0.00000001")


class SpotDesk(Engine[Account]):
    """Accounts that own what they trade, and the orders of lists that hang on each other.

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
        manners: Manners = BINANCE,
    ) -> None:
        super().__init__(
            listings=listings,
            accounts=[Account(api_key=account.api_key, free=dict(account.balances)) for account in accounts],
            market=market,
            listener=listener,
            manners=manners,
        )
        self._discount = discount
        self._list_ids = itertools.count(1)
        self._gate = Gate(self.listings, market, self._offers, manners)

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
        self._place_together(account, listing, waiting, now_ns)

    def _reject(self, account: Account, listing: Listing, order: SimOrder, refused: Refused, now_ns: int) -> None:
        rejected = attrs.evolve(order, status=Status.REJECTED, reject_reason=refused.reason, updated_ns=now_ns)
        changed = account.put(rejected, listing.instrument)
        self._tell(account, ExecutionKind.REJECTED, rejected, now_ns, changed=changed)

    def _place_together(self, account: Account, listing: Listing, waiting: list[SimOrder], now_ns: int) -> None:
        """Place orders that are pending, or reject them all."""
        try:
            self._gate.check_waiting(account, listing, waiting, now_ns)
        except Refused as refused:
            for order in waiting:
                self._reject(account, listing, order, refused, now_ns)
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

    def _place_exits(self, account: Account, listing: Listing, order: SimOrder, now_ns: int) -> None:
        """Place what is to sell again what an order has bought, less its fees, or contrarily; a pair ends as one."""
        paid = sum((fill.fee for fill in order.fills if fill.fee_asset == listing.instrument.base), _ZERO)
        left = order.executed_quantity - (paid if order.side is Side.BUY else _ZERO)
        quantity = left - left % listing.instrument.step_size
        side = Side.SELL if order.side is Side.BUY else Side.BUY
        ids = tuple(next(self._order_ids) for _ in order.exits)
        list_id = next(self._list_ids) if len(ids) > 1 else None
        waiting = []
        for each, order_id in zip(order.exits, ids, strict=True):
            asked = NewOrder(
                venue_symbol=order.venue_symbol,
                side=side,
                order_type=each.order_type,
                quantity=quantity,
                price=each.price,
                trigger_price=each.trigger_price,
                memo=each.memo,
            )
            made = self._made(asked, now_ns, order_id=order_id)
            waiting.append(attrs.evolve(made, status=Status.PENDING_NEW, list_id=list_id))
        if list_id is not None:
            account.lists.put(
                SimOrderList(
                    list_id=list_id,
                    client_list_id=f"btxsimlist{list_id}",
                    venue_symbol=order.venue_symbol,
                    kind=ListKind.OCO,
                    order_ids=ids,
                    client_order_ids=tuple(each.client_order_id for each in waiting),
                    is_done=False,
                    created_ns=now_ns,
                    updated_ns=now_ns,
                )
            )
        for made in waiting:
            account.put(made, listing.instrument)
        self._place_together(account, listing, waiting, now_ns)

    def _keep(self, account: Account, order: SimOrder) -> tuple[str, ...]:
        return account.put(order, self.listings[order.venue_symbol].instrument)

    def _made(self, order: NewOrder, now_ns: int, *, order_id: int) -> SimOrder:
        return attrs.evolve(
            super()._made(order, now_ns, order_id=order_id), reserve_price=self._gate.reserve_price(order)
        )

    def _allowed(self, account: Account, order: SimOrder, quantity: Decimal) -> Decimal:
        """Return all of it: what an order that rests may need lies locked."""
        assert account.orders[order.order_id] is order
        return quantity

    def _within_reach(
        self, account: Account, listing: Listing, order: SimOrder, takes: tuple[Take, ...]
    ) -> tuple[Take, ...]:
        """Cut a triggered buy without a limit down to what the account can pay: its money was locked at the trigger."""
        if order.order_type in TRIGGER_TYPES and order.price is None and order.side is Side.BUY:
            return _affordable(takes, account.free.get(listing.instrument.quote, _ZERO), listing)
        return takes

    def _wake(self, listing: Listing, waiting: Waiting[Account], price: Decimal, now_ns: int) -> None:
        working = self._working[listing.venue_symbol]
        for order_id, (account, resting) in waiting:
            if resting is None and order_id in working and account.orders[order_id].created_ns <= now_ns:
                self._try_trigger(account, listing, account.orders[order_id], price, now_ns)

    def _try_trigger(self, account: Account, listing: Listing, order: SimOrder, price: Decimal, now_ns: int) -> None:
        if order.trail_bps is not None:
            order = _following(order, price, now_ns)
            account.put(order, listing.instrument)
        if not _wakes(order, price):
            return
        self._expire_partners(account, order, now_ns)
        del self._working[order.venue_symbol][order.order_id]
        if order.locks_late:
            try:
                self._gate.check_woken(account, listing, order, now_ns)
            except Refused as refused:
                self._reject(account, listing, order, refused, now_ns)
                return
        order = attrs.evolve(order, working_ns=now_ns, updated_ns=now_ns)
        changed = account.put(order, listing.instrument)
        self._tell(account, ExecutionKind.TRIGGERED, order, now_ns, changed=changed)
        self._execute(account, listing, order, now_ns)

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
        order = with_fill(order, fill, is_last=is_last)
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
            if order.exits:
                self._place_exits(account, listing, order, now_ns)
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


def _affordable(takes: Iterable[Take], money: Decimal, listing: Listing) -> tuple[Take, ...]:
    """Cut executions down to what ``money`` in quote units pays for."""
    levels = ((take.price, take.quantity) for take in takes)
    return take_quote(levels, quote_quantity=money, step_size=listing.instrument.step_size)[0]
