"""The gate of a margin exchange: what an order must be, and what margin it needs, before it is taken."""

from collections.abc import Callable, Mapping
from decimal import Decimal

import attrs

from btx.model.derivatives import PositionMode
from btx.model.order import OrderType, PositionSide, Side, TimeInForce
from btx.rules.contracts import notional
from btx.rules.margin import max_notional
from btx.sim.conditionals import CONDITIONAL_TYPES, SimConditional
from btx.sim.filters import OrderShape
from btx.sim.liquidity import Liquidity, Offers
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_account import MarginClient, Valuation, opens
from btx.sim.matching import crosses, is_triggered
from btx.sim.orders import Listing, NewOrder, PriceKind, Refusal, Refused, SimOrder

__all__ = ("MarginGate", "reducible")

_ZERO = Decimal(0)
_ASSUMED = Decimal("1.0005")  # a market buy is margined at the best offer times this
_LIMITS = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})
_PLAIN = frozenset({OrderType.LIMIT, OrderType.MARKET})
_STOP_TYPES = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_SHORTEST_NS = 600 * 1_000_000_000  # a GTD order lives at least ten minutes, at Binance


def reducible(account: MarginClient, listing: Listing, order: SimOrder | NewOrder | SimConditional) -> Decimal:
    """Return how much of a position an order of its side and position side may close."""
    held = account.position(listing, order.position_side).quantity
    return max(-order.side.sign * held, _ZERO)


class MarginGate:
    """Checks in the order a venue makes them; none of them changes anything."""

    def __init__(
        self,
        listings: Mapping[str, Listing],
        market: Liquidity,
        offers: Offers,
        valuation: Valuation,
        *,
        price_of: Callable[[str, PriceKind], Decimal],
        manners: Manners = BINANCE,
    ) -> None:
        self._listings = listings
        self._market = market
        self._offers = offers
        self._valuation = valuation
        self._price_of = price_of
        self._manners = manners

    def check(
        self, account: MarginClient, order: NewOrder, now_ns: int, *, parent: SimConditional | None = None
    ) -> Listing:
        """Check a MARKET or LIMIT order; ``parent`` is the conditional order it is made by.

        Raises:
            Refused: it is not taken.
        """
        listing = self._check_open(order.venue_symbol, now_ns)
        if order.time_in_force is TimeInForce.DAY and not listing.calendar.hours:
            raise Refused(Refusal.NOT_SUPPORTED, detail="time in force")  # its day would never end
        if parent is None:  # a conditional order was looked at when it came
            self._check_shape(order, now_ns, is_conditional=False)
            self._check_name(account, order)
        self._check_side(account, order)
        self.check_filters(account, listing, order)
        self.check_post_only(order, now_ns)
        if opens(order):
            self.check_margin(account, listing, order, now_ns)
        elif reducible(account, listing, order) <= _closed_before(account, order):
            raise Refused(Refusal.REDUCE_ONLY)
        return listing

    def check_conditional(self, account: MarginClient, order: NewOrder, now_ns: int) -> Listing:
        """Check an order that will wait for its price; of margin nothing is asked before that.

        Raises:
            Refused: it is not taken.
        """
        listing = self._check_open(order.venue_symbol, now_ns)
        self._check_shape(order, now_ns, is_conditional=True)
        self._check_side(account, order)
        if order.reduce_only and not reducible(account, listing, order):
            raise Refused(Refusal.REDUCE_ONLY)
        if (
            order.close_position
            and not order.is_exit
            and any(
                each.close_position
                and (each.side, each.position_side) == (order.side, order.position_side)
                and (each.order_type in _STOP_TYPES) == (order.order_type in _STOP_TYPES)
                for each in account.waiting(order.venue_symbol)
            )
        ):
            raise Refused(Refusal.CLOSE_EXISTS)
        self.check_filters(account, listing, order)
        self._check_name(account, order)
        self._check_trigger(order)
        return listing

    def check_waiting(self, account: MarginClient, listing: Listing, after: SimConditional) -> None:
        """Check the new terms of a conditional order that waits.

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
            trigger_by=after.trigger_by,
            position_side=after.position_side,
            reduce_only=after.reduce_only,
            close_position=after.close_position,
            is_exit=True,  # it is one of those that are counted
        )
        self.check_filters(account, listing, asked)
        self._check_trigger(asked)

    def check_margin(
        self,
        account: MarginClient,
        listing: Listing,
        order: NewOrder,
        now_ns: int,
        *,
        without: SimOrder | None = None,
    ) -> None:
        """Check that an order's initial margin is there, and that its leverage allows what it may lead to.

        ``without`` is an open order it takes the place of.

        Raises:
            Refused: INSUFFICIENT_MARGIN or TIER_EXCEEDED.
        """
        symbol = order.venue_symbol
        price = order.price if order.price is not None else self._assumed_price(order, now_ns)
        priced = attrs.evolve(order, price=price)
        leverage = account.leverage(symbol)
        most = max_notional(listing.tiers, leverage)
        held = account.position(listing, order.position_side).quantity
        open_quantity = sum(
            (
                each.remaining
                for each in account.open_orders(symbol)
                if opens(each)
                and (each.side, each.position_side) == (order.side, order.position_side)
                and (without is None or each.order_id != without.order_id)
            ),
            _ZERO,
        )
        after = order.side.sign * held + open_quantity + (order.quantity or _ZERO)
        if most is not None and notional(listing.instrument, after, self._valuation.mark(symbol)) > most:
            raise Refused(Refusal.TIER_EXCEEDED, detail=f"at leverage {leverage} the most is {most:f}")
        now = self._valuation.order_margin(account, symbol)
        then = self._valuation.order_margin(account, symbol, extra=(priced,), without=without)
        available = self._valuation.wallet(account, listing.instrument.settle).available
        if then - now > available:
            raise Refused(
                Refusal.INSUFFICIENT_MARGIN,
                detail=f"{then - now:f} {listing.instrument.settle} needed, {available:f} available",
            )

    def _check_open(self, venue_symbol: str, now_ns: int) -> Listing:
        listing = self._listings.get(venue_symbol)
        if listing is None:
            raise Refused(Refusal.UNKNOWN_SYMBOL, detail=venue_symbol)
        instrument = listing.instrument
        is_over = instrument.delivery_ns is not None and now_ns >= instrument.delivery_ns
        if is_over or not (instrument.is_trading and self._market.is_trading(venue_symbol)):
            raise Refused(Refusal.MARKET_HALTED, detail=venue_symbol)
        return listing

    def _check_shape(self, order: NewOrder, now_ns: int, *, is_conditional: bool) -> None:
        problem = _shape_problem(order, is_conditional=is_conditional)
        if problem:
            raise Refused(Refusal.NOT_SUPPORTED, detail=problem)
        if order.good_till_ns is not None and order.good_till_ns < now_ns + _SHORTEST_NS:
            raise Refused(Refusal.GOOD_TILL)

    def _check_side(self, account: MarginClient, order: NewOrder) -> None:
        is_net = order.position_side is PositionSide.NET
        if is_net is not (account.mode(order.venue_symbol) is PositionMode.ONE_WAY):
            raise Refused(Refusal.POSITION_SIDE)
        if order.reduce_only and not is_net and self._manners.reduces_in_hedge and opens(order):
            raise Refused(Refusal.REDUCE_ONLY)
        if order.reduce_only and not (order.close_position or is_net or self._manners.reduces_in_hedge):
            raise Refused(Refusal.REDUCE_ONLY_IN_HEDGE)

    def _check_name(self, account: MarginClient, order: NewOrder) -> None:
        used = {each.client_order_id for each in account.open_orders()}
        used |= {each.client_order_id for each in account.waiting()}
        if order.client_order_id is not None and order.client_order_id in used:
            raise Refused(Refusal.DUPLICATE_CLIENT_ID, detail=order.client_order_id)

    def check_filters(self, account: MarginClient, listing: Listing, order: NewOrder, *, open_before: int = 0) -> None:
        """Check the venue's filters; ``open_before`` of the open orders are not counted.

        Raises:
            Refused: FILTER.
        """
        symbol = order.venue_symbol
        filters = listing.filters
        if not opens(order) or order.close_position:
            filters = attrs.evolve(filters, notional=None)  # what only reduces may be as small as it is
        broken = filters.check(
            OrderShape(
                side=order.side,
                order_type=order.order_type,
                quantity=order.quantity,
                price=order.price,
                trigger_price=order.trigger_price,
            ),
            average_price=lambda _minutes: self._reference(order),
            open_orders=len(account.open_orders(symbol)) - open_before,
            open_algo_orders=sum(not each.is_exit for each in account.waiting(symbol)) if not order.is_exit else 0,
        )
        if broken is not None:
            raise Refused(Refusal.FILTER, detail=broken)

    def _reference(self, order: NewOrder) -> Decimal:
        """Return the price a limit is compared with: where the order will wake up, else the mark."""
        return order.trigger_price if order.trigger_price is not None else self._valuation.mark(order.venue_symbol)

    def check_post_only(self, order: NewOrder, now_ns: int) -> None:
        """Check that a post-only order would not take.

        Raises:
            Refused: WOULD_TAKE.
        """
        if order.post_only and order.price is not None and not self._manners.ends_post_only:
            best = next(self._offers.against(order.venue_symbol, order.side, now_ns), None)
            if best is not None and crosses(order.side, order.price, best[0]):
                raise Refused(Refusal.WOULD_TAKE)

    def _check_trigger(self, order: NewOrder) -> None:
        symbol = order.venue_symbol
        last = self._price_of(symbol, order.trigger_by)
        # A trailing order begins to follow where a take profit would wake up.
        is_trailing = order.order_type is OrderType.TRAILING_STOP
        order_type = OrderType.TAKE_PROFIT_MARKET if is_trailing else order.order_type
        if order.trigger_price is not None and is_triggered(
            order_type, order.side, trigger_price=order.trigger_price, last_price=last
        ):
            raise Refused(Refusal.STOP_WOULD_TRIGGER)

    def _assumed_price(self, order: NewOrder, now_ns: int) -> Decimal:
        """Return what a market order is margined at: the best price, for a buy a little more."""
        best = next(self._offers.against(order.venue_symbol, order.side, now_ns), None)
        price = best[0] if best is not None else self._market.last_price(order.venue_symbol)
        return price * _ASSUMED if order.side is Side.BUY else price


def _closed_before(account: MarginClient, order: NewOrder) -> Decimal:
    """Return what orders that only close, and rest where they fill before this one, will have closed by then.

    So the venue's support explains -2022 with a position open: https://github.com/ccxt/ccxt/issues/9001 (2021-04).
    """
    ahead = (
        each.remaining
        for each in account.open_orders(order.venue_symbol)
        if not opens(each)
        and (each.side, each.position_side) == (order.side, order.position_side)
        and each.price is not None
        and order.price is not None
        and order.side.sign * (each.price - order.price) >= 0
    )
    return sum(ahead, _ZERO)


def _shape_problem(order: NewOrder, *, is_conditional: bool) -> str:
    """Return what is missing, too much or not modelled; an empty text when the order can be read."""
    has_limit = order.order_type in _LIMITS
    is_trailing = order.order_type is OrderType.TRAILING_STOP
    is_gtd = order.time_in_force is TimeInForce.GTD
    trails = sum(trail is not None for trail in (order.trail_bps, order.trail_distance))
    is_closing_trail = is_trailing and not order.is_exit
    kinds = CONDITIONAL_TYPES if is_conditional else _PLAIN
    problems = (
        (order.order_type not in kinds, "order type"),
        (is_gtd is (order.good_till_ns is None), "GTD goes with the time it is good till, and only that"),
        (order.quote_quantity is not None or order.display_quantity is not None, "quote or display quantity"),
        (has_limit is (order.price is None), "a limit price is for limit orders, and they need one"),
        (is_trailing is not (trails == 1), "one trail is for trailing stops, and they need one"),
        (not is_conditional and order.trigger_price is not None, "a trigger price is for conditional orders"),
        (is_conditional and not is_trailing and order.trigger_price is None, "a conditional order needs its trigger"),
        (order.close_position is not (order.quantity is None), "a quantity, or what closes the position"),
        (order.close_position and (not is_conditional or has_limit or is_closing_trail), "what closes the position"),
        (order.close_position and order.reduce_only, "what closes the position only reduces it anyhow"),
        (order.post_only and not has_limit, "post-only is for limit orders"),
        (order.post_only and order.time_in_force in {TimeInForce.IOC, TimeInForce.FOK}, "post-only orders rest"),
    )
    return next((text for is_broken, text in problems if is_broken), "")
