"""The engine: what every exchange does with orders, whatever they cost.

An order is taken, meets the book, rests behind those who were there before, is
reached by public trades and ends.  What an order may be, what it holds and what an
execution moves is the exchange's: :class:`btx.sim.exchange.Exchange` for what is
owned, :class:`btx.sim.margin_exchange.MarginExchange` for positions on margin.
"""

import abc
import itertools
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Generic, TypeVar

import attrs

from btx.model.account import Balance
from btx.model.order import Side, Status, TimeInForce
from btx.sim.accounts import Client
from btx.sim.liquidity import Liquidity, Offers
from btx.sim.manners import BINANCE, Manners
from btx.sim.matching import Resting, Take, crosses, match_trade, take_quantity
from btx.sim.orders import (
    TRIGGER_TYPES,
    Amendment,
    ExecutionKind,
    Listing,
    NewOrder,
    Refusal,
    Refused,
    SimFill,
    SimOrder,
)

__all__ = ("Engine", "Waiting", "with_fill")

_ZERO = Decimal(0)
_RESTING = frozenset({TimeInForce.GTC, TimeInForce.GTD, TimeInForce.DAY})
_END_STATUS = {ExecutionKind.CANCELED: Status.CANCELED, ExecutionKind.EXPIRED: Status.EXPIRED}

ClientT = TypeVar("ClientT", bound=Client)
Waiting = tuple[tuple[int, tuple[ClientT, Resting | None]], ...]
"""Who waits in a symbol, by order id, oldest first; what rests, or None for an order that waits for its trigger."""


@attrs.frozen(kw_only=True)
class _Entry(Generic[ClientT]):
    """A resting order that a public trade may reach."""

    account: ClientT
    order_id: int
    resting: Resting


class Engine(abc.ABC, Generic[ClientT]):
    """Accounts' orders in the books of some listings, matched against a market that ignores them."""

    def __init__(
        self,
        *,
        listings: Iterable[Listing],
        accounts: Iterable[ClientT],
        market: Liquidity,
        listener: Callable[[Any], None],
        manners: Manners = BINANCE,
    ) -> None:
        self.manners = manners
        self.listings: Mapping[str, Listing] = {listing.venue_symbol: listing for listing in listings}
        self._accounts = {account.api_key: account for account in accounts}
        self._market = market
        self._listener = listener
        self._order_ids = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self._sequences = itertools.count(1)
        self._working: dict[str, dict[int, tuple[ClientT, Resting | None]]] = {
            venue_symbol: {} for venue_symbol in self.listings
        }
        self._offers = Offers(market)

    # --- what an exchange says of its money -----------------------------------------------------------------

    @abc.abstractmethod
    def _keep(self, account: ClientT, order: SimOrder) -> tuple[str, ...]:
        """Remember an order as it is now; return the assets whose balance that changed."""

    @abc.abstractmethod
    def _fill(
        self,
        account: ClientT,
        listing: Listing,
        order: SimOrder,
        take: Take,
        *,
        is_last: bool,
        is_maker: bool,
        now_ns: int,
    ) -> SimOrder:
        """Move the money of one execution and tell it. ``is_last`` completes an order sized in quote units."""

    @abc.abstractmethod
    def _tell(
        self, account: ClientT, kind: ExecutionKind, order: SimOrder, now_ns: int, *, changed: Iterable[str]
    ) -> None:
        """Tell what happened to an order; ``changed`` are the assets whose balance it changed."""

    @abc.abstractmethod
    def _wake(self, listing: Listing, waiting: Waiting[ClientT], price: Decimal, now_ns: int) -> None:
        """Let a public trade wake up what waits for its price."""

    @abc.abstractmethod
    def _within_reach(
        self, account: ClientT, listing: Listing, order: SimOrder, takes: tuple[Take, ...]
    ) -> tuple[Take, ...]:
        """Cut executions down to what the account can pay, or may do."""

    @abc.abstractmethod
    def _allowed(self, account: ClientT, order: SimOrder, quantity: Decimal) -> Decimal:
        """Return how much of ``quantity`` an order may execute that a public trade has reached."""

    @abc.abstractmethod
    def _expire(self, account: ClientT, order: SimOrder, now_ns: int) -> SimOrder:
        """Close an order that may not rest, with what depends on it."""

    @abc.abstractmethod
    def balances(self, *, api_key: str) -> dict[str, Balance]:
        """Return what the account owns, every asset it ever touched."""

    # --- public trades ---------------------------------------------------------------------------------------

    def on_trade(self, *, venue_symbol: str, price: Decimal, quantity: Decimal, now_ns: int) -> None:
        """Let a public trade wake up triggers and meet resting orders; none that came to the book after it."""
        listing = self.listings[venue_symbol]
        # Who waits now: an order that this very trade wakes up came after it, and does not meet it.
        working = self._working[venue_symbol]
        waiting = tuple(working.items())
        self._wake(listing, waiting, price, now_ns)
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

    # --- queries --------------------------------------------------------------------------------------------

    def end_day(self, *, venue_symbol: str, now_ns: int) -> None:
        """End what was to rest for the trading day alone, which is over."""
        for order_id, (account, _) in tuple(self._working[venue_symbol].items()):
            order = account.orders[order_id]
            if order.is_open and order.time_in_force is TimeInForce.DAY:
                self._expire(account, order, now_ns)

    def _listing(self, venue_symbol: str) -> Listing:
        listing = self.listings.get(venue_symbol)
        if listing is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, detail=venue_symbol)
        return listing

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
        if venue_symbol is not None:
            self._listing(venue_symbol)
        return tuple(self._accounts[api_key].open_orders(venue_symbol))

    def all_orders(self, *, api_key: str, venue_symbol: str | None = None) -> tuple[SimOrder, ...]:
        """Return every order there ever was, oldest first; the caller pages.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        if venue_symbol is not None:
            self._listing(venue_symbol)
        orders = self._accounts[api_key].orders.values()
        return tuple(order for order in orders if venue_symbol in (None, order.venue_symbol))

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
            self._listing(venue_symbol)
        return tuple(
            fill
            for fill in self._accounts[api_key].fills
            if venue_symbol in (None, fill.venue_symbol) and order_id in (None, fill.order_id)
        )

    def sequence(self, *, api_key: str) -> int:
        """Return the sequence of the account's last event; 0 before the first."""
        return self._accounts[api_key].sequence

    def knows(self, api_key: str) -> bool:
        """Tell whether there is such an account; every other method expects that there is."""
        return api_key in self._accounts

    # --- the life of an order --------------------------------------------------------------------------------

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
            position_side=order.position_side,
            reduce_only=order.reduce_only,
            close_position=order.close_position,
            good_till_ns=order.good_till_ns,
            trail_bps=order.trail_bps,
            exits=order.exits,
            locks_late=order.locks_late,
            memo=order.memo,
        )

    def _execute(self, account: ClientT, listing: Listing, order: SimOrder, now_ns: int) -> SimOrder:
        """Take what the book offers, then rest, or end what may not rest."""
        if self.manners.ends_post_only and self._would_take(order, now_ns):
            return self._expire(account, attrs.evolve(order, reject_reason=Refusal.WOULD_TAKE), now_ns)
        takes, is_complete = self._plan(account, listing, order, now_ns)
        for number, take in enumerate(takes, start=1):
            self._offers.take(order.venue_symbol, order.side, take, now_ns)
            is_last = is_complete and number == len(takes)
            order = self._fill(account, listing, order, take, is_last=is_last, is_maker=False, now_ns=now_ns)
        if not order.is_open:
            return order
        if order.price is None or order.time_in_force not in _RESTING:
            return self._expire(account, order, now_ns)
        resting = self._resting(order)
        if takes and resting is not None:
            resting = attrs.evolve(resting, queue_ahead=_ZERO)
        self._working[order.venue_symbol][order.order_id] = (account, resting)
        return order

    def _would_take(self, order: SimOrder, now_ns: int) -> bool:
        if not order.post_only or order.price is None:
            return False
        best = next(self._offers.against(order.venue_symbol, order.side, now_ns), None)
        return best is not None and crosses(order.side, order.price, best[0])

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

    def _plan(self, account: ClientT, listing: Listing, order: SimOrder, now_ns: int) -> tuple[tuple[Take, ...], bool]:
        """Return what to take from the book, and whether a quote-sized order is complete with it."""
        if order.quote_quantity is not None:
            return self._offers.for_quote(listing, order.side, order.quote_quantity, now_ns)
        levels = self._offers.against(order.venue_symbol, order.side, now_ns)
        takes = take_quantity(levels, side=order.side, quantity=order.remaining, limit_price=order.price)
        if order.time_in_force is TimeInForce.FOK and order.price is not None:
            total = sum((take.quantity for take in takes), _ZERO)
            return (takes if total == order.remaining else ()), False
        takes = self._within_reach(account, listing, order, takes)
        return takes, False

    def _match(
        self, listing: Listing, entries: list[_Entry[ClientT]], price: Decimal, quantity: Decimal, now_ns: int
    ) -> None:
        """Share one trade among the orders of one side; they come oldest first."""
        entries.sort(key=lambda entry: -entry.resting.side.sign * entry.resting.price)
        results = match_trade([entry.resting for entry in entries], price=price, quantity=quantity)
        for entry, (resting, filled) in zip(entries, results, strict=True):
            account, order_id = entry.account, entry.order_id
            working = self._working[listing.venue_symbol]
            if order_id not in working:
                continue  # an execution before it has ended it
            if resting.hidden and not resting.remaining:
                del working[order_id]  # the next part is the youngest at its price
                working[order_id] = (account, self._next_part(account.orders[order_id], resting))
            else:
                working[order_id] = (account, resting)
            allowed = self._allowed(account, account.orders[order_id], filled)
            if allowed:
                take = Take(price=resting.price, quantity=allowed)
                order = account.orders[order_id]
                self._fill(account, listing, order, take, is_last=False, is_maker=True, now_ns=now_ns)

    def _next_part(self, order: SimOrder, resting: Resting) -> Resting:
        """Return an iceberg with the next part of what it hides, behind everybody at its price."""
        visible = _visible(order, resting.hidden)
        queue_ahead = self._market.quantity_at(order.venue_symbol, order.side, resting.price)
        return attrs.evolve(resting, remaining=visible, hidden=resting.hidden - visible, queue_ahead=queue_ahead)

    def _end(self, account: ClientT, order: SimOrder, kind: ExecutionKind, now_ns: int) -> SimOrder:
        """Close one order that is not filled up, and unlock what it holds."""
        order = attrs.evolve(order, status=_END_STATUS[kind], updated_ns=now_ns)
        changed = self._keep(account, order)
        self._working[order.venue_symbol].pop(order.order_id, None)
        self._tell(account, kind, order, now_ns, changed=changed)
        return order


def _visible(order: SimOrder, remaining: Decimal) -> Decimal:
    return remaining if order.display_quantity is None else min(order.display_quantity, remaining)


def with_fill(order: SimOrder, fill: SimFill, *, is_last: bool) -> SimOrder:
    """Return an order after one of its executions; ``is_last`` completes one that is sized in quote units."""
    executed = order.executed_quantity + fill.quantity
    quantity = order.quantity if order.quote_quantity is None else executed
    is_filled = executed == order.quantity if order.quote_quantity is None else is_last
    return attrs.evolve(
        order,
        quantity=quantity,
        status=Status.FILLED if is_filled else Status.PARTIALLY_FILLED,
        executed_quantity=executed,
        executed_quote=order.executed_quote + fill.quote_quantity,
        executed_base=order.executed_base + fill.base_quantity,
        fills=(*order.fills, fill),
        updated_ns=fill.time_ns,
    )
