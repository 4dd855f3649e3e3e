"""The gate: what an order must be, cost and keep before the exchange takes it."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from btx.model.order import ListKind, OrderType, Side, TimeInForce
from btx.sim.accounts import Account, held
from btx.sim.filters import OrderShape
from btx.sim.liquidity import Liquidity, Offers
from btx.sim.lists import NewOrderList, list_problem, pair_prices_fit
from btx.sim.manners import BINANCE, Manners
from btx.sim.matching import crosses, is_triggered, take_quantity
from btx.sim.orders import LIMIT_TYPES, TRIGGER_TYPES, Listing, NewOrder, Refusal, Refused, SimOrder

__all__ = ("Gate",)

_ZERO = Decimal(0)
_BPS = Decimal(10_000)
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY})


class Gate:
    """Checks in the order a venue makes them; none of them changes anything."""

    def __init__(
        self, listings: Mapping[str, Listing], market: Liquidity, offers: Offers, manners: Manners = BINANCE
    ) -> None:
        self._manners = manners
        self._listings = listings
        self._market = market
        self._offers = offers

    def listing(self, venue_symbol: str) -> Listing:
        """Return what is listed under a symbol.

        Raises:
            Refused: UNKNOWN_SYMBOL.
        """
        listing = self._listings.get(venue_symbol)
        if listing is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, detail=venue_symbol)
        return listing

    def check(self, account: Account, order: NewOrder, now_ns: int) -> Listing:
        """Check an order that stands alone.

        Raises:
            Refused: it is not taken.
        """
        listing = self.check_alone(account, order)
        self._check_names(account, (order,))
        self._check_prices(order, now_ns)
        self._check_money(account, listing, (order,), now_ns)
        return listing

    def check_alone(self, account: Account, order: NewOrder) -> Listing:
        """Check what can be said of an order without the account's money and the book.

        Raises:
            Refused: it is not taken.
        """
        listing = self._check_open(order.venue_symbol)
        _check_shape(order)
        if order.time_in_force is TimeInForce.DAY and not listing.calendar.hours:
            raise Refused(Refusal.NOT_SUPPORTED, detail="time in force")  # its day would never end
        self._check_filters(account, listing, order)
        return listing

    def check_list(self, account: Account, new: NewOrderList, now_ns: int) -> Listing:
        """Check a list whole: its shape, each order, and the money of what is placed first.

        Raises:
            Refused: it is not taken.
        """
        listing = self._check_open(new.venue_symbol)
        problem = list_problem(new)
        if problem:
            raise Refused(Refusal.NOT_SUPPORTED, detail=problem)
        for order in new.orders:
            _check_shape(order)
        for number, order in enumerate(new.orders):
            self._check_filters(account, listing, order, before=new.orders[:number])
        open_lists = account.lists.open(new.venue_symbol)
        most = listing.filters.max_num_order_lists
        if most is not None and len(open_lists) >= most:
            raise Refused(Refusal.FILTER, detail="max_num_order_lists")
        if new.client_list_id is not None and any(
            one.client_list_id == new.client_list_id for one in account.lists.open()
        ):
            raise Refused(Refusal.DUPLICATE_LIST_ID, detail=new.client_list_id)
        self._check_names(account, new.orders)
        if new.kind is ListKind.OCO:
            self._check_pair(new.orders)
        for order in new.placed_first:
            self._check_prices(order, now_ns)
        self._check_money(account, listing, new.placed_first, now_ns)
        return listing

    def _check_open(self, venue_symbol: str) -> Listing:
        listing = self.listing(venue_symbol)
        if not (listing.instrument.is_trading and self._market.is_trading(venue_symbol)):
            raise Refused(Refusal.MARKET_HALTED, detail=venue_symbol)
        return listing

    def _check_names(self, account: Account, orders: Sequence[NewOrder]) -> None:
        names = [order.client_order_id for order in orders if order.client_order_id is not None]
        used = {order.client_order_id for order in account.open_orders()}
        for number, name in enumerate(names):
            if name in used or name in names[:number]:
                raise Refused(Refusal.DUPLICATE_CLIENT_ID, detail=name)

    def _check_filters(
        self, account: Account, listing: Listing, order: NewOrder, *, before: Sequence[NewOrder] = ()
    ) -> None:
        """Check the filters; ``before`` are orders of the same list that count as open already."""
        symbol = order.venue_symbol
        here: list[NewOrder | SimOrder] = [*account.open_orders(symbol), *before]
        broken = listing.filters.check(
            OrderShape(
                side=order.side,
                order_type=order.order_type,
                quantity=order.quantity,
                quote_quantity=order.quote_quantity,
                price=order.price,
                trigger_price=order.trigger_price,
                display_quantity=order.display_quantity,
                trail_bps=order.trail_bps,
            ),
            average_price=lambda minutes: self._market.average_price(symbol, minutes),
            open_orders=len(here),
            open_algo_orders=sum(one.order_type in TRIGGER_TYPES for one in here),
            open_iceberg_orders=sum(one.display_quantity is not None for one in here),
            position=_position(account, listing, here),
        )
        if broken is not None:
            raise Refused(Refusal.FILTER, detail=broken)

    def _check_pair(self, pair: Sequence[NewOrder | SimOrder]) -> None:
        if not pair_prices_fit(pair, self._market.last_price(pair[0].venue_symbol)):
            raise Refused(Refusal.LIST_PRICES)

    def _check_prices(self, order: NewOrder | SimOrder, now_ns: int) -> None:
        if order.trigger_price is not None and is_triggered(
            order.order_type,
            order.side,
            trigger_price=order.trigger_price,
            last_price=self._market.last_price(order.venue_symbol),
        ):
            raise Refused(Refusal.STOP_WOULD_TRIGGER)
        if order.post_only and order.price is not None and not self._manners.ends_post_only:
            best = next(self._offers.against(order.venue_symbol, order.side, now_ns), None)
            if best is not None and crosses(order.side, order.price, best[0]):
                raise Refused(Refusal.WOULD_TAKE)

    def _check_money(
        self, account: Account, listing: Listing, orders: Sequence[NewOrder | SimOrder], now_ns: int
    ) -> None:
        """Check that the most any of these orders needs is free; of a pair only one will execute."""
        needs = [self._needed(listing, order, now_ns) for order in orders if not order.locks_late]
        asset, needed = max(needs, key=lambda need: need[1], default=("", _ZERO))
        if needed > account.free.get(asset, _ZERO):
            raise Refused(Refusal.INSUFFICIENT_BALANCE, detail=f"{needed} {asset} needed")

    def check_amend(self, account: Account, listing: Listing, order: SimOrder, quantity: Decimal, new_id: str) -> None:
        """Check a reduction of an order's quantity under a new client order id.

        Raises:
            Refused: it is not taken.
        """
        if not order.is_open or order.quote_quantity is not None:
            raise Refused(Refusal.UNKNOWN_ORDER, detail="it is not open any more")
        if quantity > order.quantity:
            raise Refused(Refusal.AMEND_INCREASE)
        if quantity == order.quantity or quantity <= order.executed_quantity:
            raise Refused(Refusal.AMEND_NO_CHANGE)
        most = listing.filters.max_num_order_amends
        if most is not None and order.amendments >= most:
            raise Refused(Refusal.FILTER, detail="max_num_order_amends")
        open_names = {one.client_order_id for one in account.open_orders() if one.order_id != order.order_id}
        if new_id in open_names:
            raise Refused(Refusal.DUPLICATE_CLIENT_ID, detail=new_id)
        broken = listing.filters.check(
            OrderShape(
                side=order.side,
                order_type=order.order_type,
                quantity=quantity,
                price=order.price,
                display_quantity=order.display_quantity and min(order.display_quantity, quantity),
            ),
            average_price=lambda minutes: self._market.average_price(order.venue_symbol, minutes),
            open_orders=0,
            open_algo_orders=0,
        )
        if broken is not None:
            raise Refused(Refusal.FILTER, detail=broken)

    def check_modified(self, account: Account, listing: Listing, after: SimOrder, now_ns: int) -> None:
        """Check an open order with other terms: its filters, its prices, and that what it needs more of is free.

        Raises:
            Refused: it is not changed.
        """
        asked = NewOrder(
            venue_symbol=after.venue_symbol,
            side=after.side,
            order_type=after.order_type,
            quantity=after.quantity,
            price=after.price,
            trigger_price=after.trigger_price,
            trail_bps=after.trail_bps,
            post_only=after.post_only,
        )
        filters = attrs.evolve(listing.filters, max_num_orders=None, max_num_algo_orders=None)
        self._check_filters(account, attrs.evolve(listing, filters=filters), asked)
        self._check_prices(asked if after.working_ns is None else attrs.evolve(asked, trigger_price=None), now_ns)
        asset, needed = held(after, listing.instrument)
        now = held(account.orders[after.order_id], listing.instrument)[1]
        if needed - now > account.free.get(asset, _ZERO):
            raise Refused(Refusal.INSUFFICIENT_BALANCE, detail=f"{needed - now} {asset} needed")

    def _needed(self, listing: Listing, order: NewOrder | SimOrder, now_ns: int) -> tuple[str, Decimal]:
        """Return the asset an order spends, and how much of it must be free."""
        instrument = listing.instrument
        if order.side is Side.SELL:
            quantity = order.quantity
            if quantity is None:
                takes, _ = self._offers.for_quote(listing, order.side, order.quote_quantity or _ZERO, now_ns)
                quantity = sum((take.quantity for take in takes), _ZERO)
            return instrument.base, quantity
        if order.quote_quantity is not None:
            return instrument.quote, order.quote_quantity
        quantity = order.quantity or _ZERO
        price = order.price if order.price is not None else self.reserve_price(order)
        if price is not None:
            return instrument.quote, quantity * price
        levels = self._offers.against(order.venue_symbol, order.side, now_ns)
        takes = take_quantity(levels, side=order.side, quantity=quantity, limit_price=None)
        return instrument.quote, sum((take.price * take.quantity for take in takes), _ZERO)

    def check_woken(self, account: Account, listing: Listing, order: SimOrder, now_ns: int) -> None:
        """Check that the money is there of an order that locked none before its trigger.

        Raises:
            Refused: INSUFFICIENT_BALANCE.
        """
        self._check_money(account, listing, (attrs.evolve(order, locks_late=False),), now_ns)

    def check_waiting(self, account: Account, listing: Listing, waiting: Sequence[SimOrder], now_ns: int) -> None:
        """Check orders whose working order is filled now: a pair, or one alone.

        Raises:
            Refused: none of them can be placed.
        """
        if len(waiting) > 1:
            self._check_pair(waiting)
        for order in waiting:
            self._check_prices(order, now_ns)
        self._check_money(account, listing, waiting, now_ns)

    def reserve_price(self, order: NewOrder | SimOrder) -> Decimal | None:
        """Return the price that money is locked at while an order waits for its trigger.

        A trailing order without a trigger price locks at where it would trigger now.
        """
        if order.trigger_price is not None or order.trail_bps is None:
            return order.trigger_price
        return self._market.last_price(order.venue_symbol) * (_BPS + order.trail_bps) / _BPS


def _check_shape(order: NewOrder) -> None:
    problem = _shape_problem(order)
    if problem:
        raise Refused(Refusal.NOT_SUPPORTED, detail=problem)
    if order.display_quantity is not None and order.display_quantity > (order.quantity or _ZERO):
        raise Refused(Refusal.DISPLAY_TOO_LARGE)


def _shape_problem(order: NewOrder) -> str:
    """Return what is missing, too much or not modelled; an empty text when the order can be read."""
    has_limit = order.order_type in LIMIT_TYPES
    waits = order.order_type in TRIGGER_TYPES
    is_triggered = order.trigger_price is not None or order.trail_bps is not None
    is_gtc = order.time_in_force is TimeInForce.GTC
    is_iceberg = order.display_quantity is not None
    may_size_in_quote = order.order_type is OrderType.MARKET
    problems = (
        (not has_limit and not waits and order.order_type is not OrderType.MARKET, "order type"),
        (order.time_in_force not in _TIMES_IN_FORCE, "time in force"),
        (is_iceberg and not (has_limit and is_gtc), "an iceberg is a limit order that rests: GTC only"),
        (has_limit is (order.price is None), "a limit price is for limit orders, and they need one"),
        (waits is not is_triggered, "a trigger price or trail is for stop orders, and they need one"),
        ((order.quantity is None) is (order.quote_quantity is None), "one of quantity and quote quantity"),
        (order.quote_quantity is not None and not may_size_in_quote, "quote quantity is for market orders"),
        (order.post_only and order.order_type is not OrderType.LIMIT, "post-only is for limit orders"),
        (order.post_only and not is_gtc, "post-only orders rest: GTC only"),
    )
    return next((text for is_broken, text in problems if is_broken), "")


def _position(account: Account, listing: Listing, here: Iterable[NewOrder | SimOrder]) -> Decimal:
    """Return what the account owns of the base coin, and what its open buys may add to it."""
    coming = (
        order.remaining if isinstance(order, SimOrder) else order.quantity or _ZERO
        for order in here
        if order.side is Side.BUY
    )
    return account.balance(listing.instrument.base).total + sum(coming, _ZERO)
