"""The exchange: accounts, orders and a ledger, matched against a market that ignores them.

All money is Decimal and moves only by executions.  Nothing here knows a clock
or a wire: time comes as an argument, and what happens leaves as an
:class:`ExecutionEvent` through the one listener.

Choices where venues differ or say nothing: fees are cut (not rounded) to eight
decimals; two clients' orders never meet; a buy at a price better than its limit
gets the difference back at once.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_DOWN, Decimal
from typing import Protocol

import attrs

from btx.model.account import Balance
from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.model.venue import SimAccount
from btx.sim.filters import OrderShape
from btx.sim.matching import Resting, Take, crosses, is_triggered, match_trade, take_quantity, take_quote
from btx.sim.orders import ExecutionEvent, ExecutionKind, Listing, NewOrder, Refusal, Refused, SimFill, SimOrder

__all__ = (
    "Exchange",
    "ExecutionEvent",
    "ExecutionKind",
    "Liquidity",
    "Listing",
    "NewOrder",
    "Refusal",
    "Refused",
    "SimFill",
    "SimOrder",
)

_ZERO = Decimal(0)
_FEE_GRID = Decimal("0.00000001")
_MEMORY_NS = 1_000_000_000  # how long the book misses what a client took from it
_LIMIT_TYPES = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_TRIGGER_TYPES = frozenset(
    {
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
        OrderType.TAKE_PROFIT_LIMIT,
    }
)
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})


class Liquidity(Protocol):
    """What the exchange asks of the market, all of it as of the market's own now."""

    def is_trading(self, venue_symbol: str) -> bool:
        """Tell whether the symbol can be traded now."""

    def last_price(self, venue_symbol: str) -> Decimal:
        """Return the price of the latest print."""

    def average_price(self, venue_symbol: str, minutes: int) -> Decimal:
        """Return the volume-weighted price of the last minutes; for 0 the last price."""

    def levels(self, venue_symbol: str, side: Side) -> Iterator[tuple[Decimal, Decimal]]:
        """Yield (price, quantity) of bids (BUY) or asks (SELL), best first."""

    def quantity_at(self, venue_symbol: str, side: Side, price: Decimal) -> Decimal:
        """Return what is offered at exactly this price on this side; zero where there is no level."""


_END_STATUS = {ExecutionKind.CANCELED: Status.CANCELED, ExecutionKind.EXPIRED: Status.EXPIRED}


@attrs.define(kw_only=True)
class _Account:
    """A client: what it owns, and its orders by id (all, and those that are open)."""

    api_key: str
    free: dict[str, Decimal]
    locked: dict[str, Decimal]
    pays_with_discount_asset: bool = False
    orders: dict[int, SimOrder] = attrs.field(factory=dict)
    open_ids: dict[int, None] = attrs.field(factory=dict)  # a set that keeps its order
    fills: list[SimFill] = attrs.field(factory=list)
    sequence: int = 0

    def balance(self, asset: str) -> Balance:
        return Balance(free=self.free.get(asset, _ZERO), locked=self.locked.get(asset, _ZERO))

    def add(self, asset: str, difference: Decimal) -> None:
        self.free[asset] = self.free.get(asset, _ZERO) + difference

    def lock(self, asset: str, difference: Decimal) -> None:
        self.add(asset, -difference)
        self.locked[asset] = self.locked.get(asset, _ZERO) + difference


@attrs.frozen(kw_only=True)
class _Entry:
    """A resting order that a public trade may reach."""

    account: _Account
    order_id: int
    resting: Resting


@attrs.define(kw_only=True)
class _Shadow:
    """What clients took from one side of a book during the last instant."""

    since_ns: int
    taken: dict[Decimal, Decimal] = attrs.field(factory=dict)


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
            account.api_key: _Account(api_key=account.api_key, free=dict(account.balances), locked={})
            for account in accounts
        }
        self._market = market
        self._listener = listener
        self._discount = discount
        self._order_ids = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self._sequences = itertools.count(1)
        # Open orders by symbol; the values are what rests, None for an order that waits for its trigger.
        self._working: dict[str, dict[int, tuple[_Account, Resting | None]]] = {
            venue_symbol: {} for venue_symbol in self.listings
        }
        self._shadows: dict[tuple[str, Side], _Shadow] = {}

    # --- commands -------------------------------------------------------------------------------------------

    def place(self, *, api_key: str, order: NewOrder, now_ns: int) -> SimOrder:
        """Take an order and execute what can be executed at once; return it afterwards.

        Raises:
            Refused: nothing was done.
        """
        account = self._accounts[api_key]
        listing = self._check(account, order, now_ns)
        placed = self._accept(account, listing, order, now_ns)
        if placed.order_type in _TRIGGER_TYPES:
            self._working[placed.venue_symbol][placed.order_id] = (account, None)
            return placed
        return self._execute(account, listing, placed, now_ns)

    def test(self, *, api_key: str, order: NewOrder, now_ns: int) -> None:
        """Check an order like :meth:`place`, and do nothing.

        Raises:
            Refused: it would not be taken.
        """
        self._check(self._accounts[api_key], order, now_ns)

    def cancel(
        self,
        *,
        api_key: str,
        venue_symbol: str,
        order_id: int | None = None,
        client_order_id: str | None = None,
        now_ns: int,
    ) -> SimOrder:
        """End an open order and unlock what it held; return it afterwards.

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

    def on_trade(self, *, venue_symbol: str, price: Decimal, quantity: Decimal, now_ns: int) -> None:
        """Let a public trade wake up triggers and meet resting orders."""
        listing = self.listings[venue_symbol]
        # Who waits now: an order that this very trade wakes up came after it, and does not meet it.
        waiting = tuple(self._working[venue_symbol].items())
        for order_id, (account, resting) in waiting:
            if resting is None:
                self._try_trigger(account, listing, account.orders[order_id], price, now_ns)
        for side in Side:
            entries = [
                _Entry(account=account, order_id=order_id, resting=resting)
                for order_id, (account, resting) in waiting
                if resting is not None and resting.side is side and crosses(side, resting.price, price)
            ]
            if entries:
                self._match(listing, entries, price, quantity, now_ns)

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
        self._listing(venue_symbol)
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
        account = self._accounts[api_key]
        if venue_symbol is not None:
            self._listing(venue_symbol)
        orders = (account.orders[order_id] for order_id in account.open_ids)
        return tuple(order for order in orders if venue_symbol in (None, order.venue_symbol))

    def all_orders(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimOrder, ...]:
        """Return every order there ever was, oldest first; the caller pages.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._listing(venue_symbol)
        orders = self._accounts[api_key].orders.values()
        return tuple(order for order in orders if venue_symbol in (None, order.venue_symbol))

    def fills(
        self, *, api_key: str, venue_symbol: str | None = None, order_id: int | None = None
    ) -> tuple[SimFill, ...]:
        """Return every execution, oldest first; the caller pages.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._listing(venue_symbol)
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

    # --- checks ---------------------------------------------------------------------------------------------

    def _listing(self, venue_symbol: str) -> Listing:
        listing = self.listings.get(venue_symbol)
        if listing is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, detail=venue_symbol)
        return listing

    def _check(self, account: _Account, order: NewOrder, now_ns: int) -> Listing:
        listing = self._listing(order.venue_symbol)
        if not (listing.instrument.is_trading and self._market.is_trading(order.venue_symbol)):
            raise Refused(Refusal.MARKET_HALTED, detail=order.venue_symbol)
        problem = _shape_problem(order)
        if problem:
            raise Refused(Refusal.NOT_SUPPORTED, detail=problem)
        self._check_filters(account, listing, order)
        if order.client_order_id is not None and any(
            account.orders[order_id].client_order_id == order.client_order_id for order_id in account.open_ids
        ):
            raise Refused(Refusal.DUPLICATE_CLIENT_ID, detail=order.client_order_id)
        self._check_prices(order, now_ns)
        asset, needed = self._needed(listing, order, now_ns)
        if needed > account.free.get(asset, _ZERO):
            raise Refused(Refusal.INSUFFICIENT_BALANCE, detail=f"{needed} {asset} needed")
        return listing

    def _check_filters(self, account: _Account, listing: Listing, order: NewOrder) -> None:
        symbol = order.venue_symbol
        here = [o for o in (account.orders[i] for i in account.open_ids) if o.venue_symbol == symbol]
        broken = listing.filters.check(
            OrderShape(
                side=order.side,
                order_type=order.order_type,
                quantity=order.quantity,
                quote_quantity=order.quote_quantity,
                price=order.price,
                trigger_price=order.trigger_price,
                display_quantity=order.display_quantity,
            ),
            average_price=lambda minutes: self._market.average_price(symbol, minutes),
            open_orders=len(here),
            open_algo_orders=sum(o.working_ns is None for o in here),
        )
        if broken is not None:
            raise Refused(Refusal.FILTER, detail=broken)

    def _check_prices(self, order: NewOrder, now_ns: int) -> None:
        if order.trigger_price is not None and is_triggered(
            order.order_type,
            order.side,
            trigger_price=order.trigger_price,
            last_price=self._market.last_price(order.venue_symbol),
        ):
            raise Refused(Refusal.STOP_WOULD_TRIGGER)
        if order.post_only and order.price is not None:
            best = next(self._opposite(order.venue_symbol, order.side, now_ns), None)
            if best is not None and crosses(order.side, order.price, best[0]):
                raise Refused(Refusal.WOULD_TAKE)

    def _needed(self, listing: Listing, order: NewOrder, now_ns: int) -> tuple[str, Decimal]:
        """Return the asset an order spends, and how much of it must be free."""
        instrument = listing.instrument
        if order.side is Side.SELL:
            quantity = order.quantity
            if quantity is None:
                takes, _ = self._takes_for_quote(listing, order.side, order.quote_quantity or _ZERO, now_ns)
                quantity = sum((take.quantity for take in takes), _ZERO)
            return instrument.base, quantity
        if order.quote_quantity is not None:
            return instrument.quote, order.quote_quantity
        quantity = order.quantity or _ZERO
        price = order.price if order.price is not None else order.trigger_price
        if price is not None:
            return instrument.quote, quantity * price
        levels = self._opposite(order.venue_symbol, order.side, now_ns)
        takes = take_quantity(levels, side=order.side, quantity=quantity, limit_price=None)
        return instrument.quote, sum((take.price * take.quantity for take in takes), _ZERO)

    # --- executions -----------------------------------------------------------------------------------------

    def _accept(self, account: _Account, listing: Listing, order: NewOrder, now_ns: int) -> SimOrder:
        order_id = next(self._order_ids)
        placed = SimOrder(
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
            working_ns=None if order.order_type in _TRIGGER_TYPES else now_ns,
        )
        asset, quantity = _held(listing, placed)
        account.lock(asset, quantity)
        account.open_ids[order_id] = None
        self._tell(account, ExecutionKind.NEW, placed, now_ns, changed=(asset,) if quantity else ())
        return placed

    def _execute(self, account: _Account, listing: Listing, order: SimOrder, now_ns: int) -> SimOrder:
        """Take what the book offers, then rest, or end what may not rest."""
        takes, is_complete = self._plan(account, listing, order, now_ns)
        for number, take in enumerate(takes, start=1):
            self._remember(order.venue_symbol, order.side, take, now_ns)
            is_last = is_complete and number == len(takes)
            order = self._fill(account, listing, order, take, is_last=is_last, is_maker=False, now_ns=now_ns)
        if not order.is_open:
            return order
        if order.price is None or order.time_in_force is not TimeInForce.GTC:
            return self._end(account, order, ExecutionKind.EXPIRED, now_ns)
        queue_ahead = _ZERO if takes else self._market.quantity_at(order.venue_symbol, order.side, order.price)
        resting = Resting(side=order.side, price=order.price, remaining=order.remaining, queue_ahead=queue_ahead)
        self._working[order.venue_symbol][order.order_id] = (account, resting)
        return order

    def _plan(self, account: _Account, listing: Listing, order: SimOrder, now_ns: int) -> tuple[tuple[Take, ...], bool]:
        """Return what to take from the book, and whether a quote-sized order is complete with it."""
        if order.quote_quantity is not None:
            return self._takes_for_quote(listing, order.side, order.quote_quantity, now_ns)
        levels = self._opposite(order.venue_symbol, order.side, now_ns)
        takes = take_quantity(levels, side=order.side, quantity=order.remaining, limit_price=order.price)
        if order.time_in_force is TimeInForce.FOK and order.price is not None:
            total = sum((take.quantity for take in takes), _ZERO)
            return (takes if total == order.remaining else ()), False
        if order.order_type in _TRIGGER_TYPES and order.price is None and order.side is Side.BUY:
            takes = _affordable(takes, account.free.get(listing.instrument.quote, _ZERO), listing)
        return takes, False

    def _takes_for_quote(
        self, listing: Listing, side: Side, quote_quantity: Decimal, now_ns: int
    ) -> tuple[tuple[Take, ...], bool]:
        return take_quote(
            self._opposite(listing.venue_symbol, side, now_ns),
            quote_quantity=quote_quantity,
            step_size=listing.instrument.step_size,
        )

    def _try_trigger(self, account: _Account, listing: Listing, order: SimOrder, price: Decimal, now_ns: int) -> None:
        assert order.trigger_price is not None
        if not is_triggered(order.order_type, order.side, trigger_price=order.trigger_price, last_price=price):
            return
        del self._working[order.venue_symbol][order.order_id]
        asset, held = _held(listing, order)
        order = attrs.evolve(order, working_ns=now_ns, updated_ns=now_ns)
        still_held = _held(listing, order)[1]
        account.lock(asset, still_held - held)
        changed = (asset,) if still_held != held else ()
        self._tell(account, ExecutionKind.TRIGGERED, order, now_ns, changed=changed)
        self._execute(account, listing, order, now_ns)

    def _match(self, listing: Listing, entries: list[_Entry], price: Decimal, quantity: Decimal, now_ns: int) -> None:
        """Share one trade among the orders of one side; they come oldest first."""
        entries.sort(key=lambda entry: -entry.resting.side.sign * entry.resting.price)
        results = match_trade([entry.resting for entry in entries], price=price, quantity=quantity)
        for entry, (resting, filled) in zip(entries, results, strict=True):
            account, order_id = entry.account, entry.order_id
            self._working[listing.venue_symbol][order_id] = (account, resting)
            if filled:
                take = Take(price=resting.price, quantity=filled)
                order = account.orders[order_id]
                self._fill(account, listing, order, take, is_last=False, is_maker=True, now_ns=now_ns)

    def _fill(
        self,
        account: _Account,
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
        held_before = _held(listing, order)[1]
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
        )
        order = _with_fill(order, fill, is_last=is_last)
        account.lock(spent[0], _held(listing, order)[1] - held_before)
        account.add(spent[0], -spent[1])
        account.add(received[0], received[1])
        account.add(fee_asset, -fee)
        account.fills.append(fill)
        if not order.is_open:
            self._forget(account, order)
        changed = tuple(dict.fromkeys((spent[0], received[0], fee_asset)))
        self._tell(account, ExecutionKind.TRADE, order, now_ns, changed=changed, fill=fill)
        return order

    def _fee(
        self,
        account: _Account,
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

    def _end(self, account: _Account, order: SimOrder, kind: ExecutionKind, now_ns: int) -> SimOrder:
        """Close an order that is not filled up, and unlock what it holds."""
        asset, held = _held(self.listings[order.venue_symbol], order)
        order = attrs.evolve(order, status=_END_STATUS[kind], updated_ns=now_ns)
        account.lock(asset, -held)
        self._forget(account, order)
        self._tell(account, kind, order, now_ns, changed=(asset,) if held else ())
        return order

    def _forget(self, account: _Account, order: SimOrder) -> None:
        account.orders[order.order_id] = order
        account.open_ids.pop(order.order_id, None)
        self._working[order.venue_symbol].pop(order.order_id, None)

    def _tell(
        self,
        account: _Account,
        kind: ExecutionKind,
        order: SimOrder,
        now_ns: int,
        *,
        changed: Iterable[str],
        fill: SimFill | None = None,
    ) -> None:
        account.orders[order.order_id] = order
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
            )
        )

    # --- the book, less what clients took a moment ago -------------------------------------------------------

    def _opposite(self, venue_symbol: str, side: Side, now_ns: int) -> Iterator[tuple[Decimal, Decimal]]:
        book_side = Side.SELL if side is Side.BUY else Side.BUY
        shadow = self._shadows.get((venue_symbol, book_side))
        is_fresh = shadow is not None and now_ns - shadow.since_ns < _MEMORY_NS
        taken = shadow.taken if shadow is not None and is_fresh else {}
        for price, quantity in self._market.levels(venue_symbol, book_side):
            left = quantity - taken.get(price, _ZERO)
            if left > _ZERO:
                yield price, left

    def _remember(self, venue_symbol: str, side: Side, take: Take, now_ns: int) -> None:
        key = (venue_symbol, Side.SELL if side is Side.BUY else Side.BUY)
        shadow = self._shadows.get(key)
        if shadow is None or now_ns - shadow.since_ns >= _MEMORY_NS:
            shadow = self._shadows[key] = _Shadow(since_ns=now_ns)
        shadow.taken[take.price] = shadow.taken.get(take.price, _ZERO) + take.quantity


def _shape_problem(order: NewOrder) -> str:
    """Return what is missing, too much or not modelled; an empty text when the order can be read."""
    has_limit = order.order_type in _LIMIT_TYPES
    has_trigger = order.order_type in _TRIGGER_TYPES
    may_size_in_quote = order.order_type is OrderType.MARKET
    problems = (
        (not has_limit and not has_trigger and order.order_type is not OrderType.MARKET, "order type"),
        (order.time_in_force not in _TIMES_IN_FORCE, "time in force"),
        (order.display_quantity is not None, "display quantity (iceberg)"),
        (has_limit is (order.price is None), "a limit price is for limit orders, and they need one"),
        (has_trigger is (order.trigger_price is None), "a trigger price is for stop orders, and they need one"),
        ((order.quantity is None) is (order.quote_quantity is None), "one of quantity and quote quantity"),
        (order.quote_quantity is not None and not may_size_in_quote, "quote quantity is for market orders"),
        (order.post_only and order.order_type is not OrderType.LIMIT, "post-only is for limit orders"),
        (order.post_only and order.time_in_force is not TimeInForce.GTC, "post-only orders rest: GTC only"),
    )
    return next((text for is_broken, text in problems if is_broken), "")


def _held(listing: Listing, order: SimOrder) -> tuple[str, Decimal]:
    """Return what an order keeps locked: the one definition all bookkeeping follows.

    An order that executes at once (MARKET, or a triggered stop without a limit) holds nothing.
    """
    instrument = listing.instrument
    asset = instrument.quote if order.side is Side.BUY else instrument.base
    price = order.price if order.price is not None or order.working_ns is not None else order.trigger_price
    if price is None or not order.is_open:
        return asset, _ZERO
    return asset, order.remaining * price if order.side is Side.BUY else order.remaining


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
