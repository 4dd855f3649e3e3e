"""Filters: the rules an order must keep before a venue looks at the account.

Written for the simulator alone.  ``btx.rules`` has the client's reading of the
same rules; the two must not share code, or an error would agree with itself.
"""

from collections.abc import Callable
from decimal import Decimal

import attrs

from btx.model.order import OrderType, Side

__all__ = (
    "FilterSet",
    "LotRange",
    "NotionalRange",
    "OrderShape",
    "PercentPrice",
    "PercentPriceBySide",
    "PriceRange",
    "TrailRange",
)

_TRIGGER_TYPES = frozenset(
    {
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.TAKE_PROFIT_MARKET,
        OrderType.TAKE_PROFIT_LIMIT,
    }
)
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_MARKET_TYPES = frozenset({OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET})


@attrs.frozen(kw_only=True)
class PriceRange:
    """Prices between ``min`` and ``max`` on a grid of ``tick``; zero switches a rule off."""

    min: Decimal = Decimal(0)
    max: Decimal = Decimal(0)
    tick: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class LotRange:
    """Quantities between ``min`` and ``max`` on a grid of ``step``; zero switches a rule off."""

    min: Decimal = Decimal(0)
    max: Decimal = Decimal(0)
    step: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class NotionalRange:
    """Price × quantity in quote units; zero switches a limit off."""

    min: Decimal = Decimal(0)
    max: Decimal = Decimal(0)
    apply_min_to_market: bool = True
    apply_max_to_market: bool = False


@attrs.frozen(kw_only=True)
class PercentPrice:
    """Limit prices within factors of the average price of the last ``avg_price_mins`` minutes (0: last price)."""

    up: Decimal
    down: Decimal
    avg_price_mins: int


@attrs.frozen(kw_only=True)
class TrailRange:
    """How far a trailing order may trail, in basis points.

    ``above`` is for orders that wait for a price above the market (stop buys,
    take-profit sells), ``below`` for the others.
    """

    min_above_bps: int
    max_above_bps: int
    min_below_bps: int
    max_below_bps: int


@attrs.frozen(kw_only=True)
class PercentPriceBySide:
    """Limit prices within factors of the average price of the last ``avg_price_mins`` minutes (0: last price)."""

    bid_up: Decimal
    bid_down: Decimal
    ask_up: Decimal
    ask_down: Decimal
    avg_price_mins: int


@attrs.frozen(kw_only=True)
class OrderShape:
    """What the filters look at. ``quantity`` is None where the order is sized in quote units."""

    side: Side
    order_type: OrderType
    quantity: Decimal | None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    display_quantity: Decimal | None = None
    trail_bps: int | None = None


@attrs.frozen(kw_only=True)
class FilterSet:
    """The filters of one listing; None where the venue has none.

    The field names are the names :meth:`check` answers with.
    """

    price: PriceRange | None = None
    lot: LotRange | None = None
    market_lot: LotRange | None = None
    notional: NotionalRange | None = None
    percent_price: PercentPrice | None = None
    percent_price_by_side: PercentPriceBySide | None = None
    trailing_delta: TrailRange | None = None
    max_position: Decimal | None = None
    max_num_orders: int | None = None
    max_num_algo_orders: int | None = None
    max_num_iceberg_orders: int | None = None
    max_num_order_lists: int | None = None
    max_num_order_amends: int | None = None
    iceberg_parts: int | None = None

    def check(
        self,
        order: OrderShape,
        *,
        average_price: Callable[[int], Decimal],
        open_orders: int,
        open_algo_orders: int,
        open_iceberg_orders: int = 0,
        position: Decimal = Decimal(0),
    ) -> str | None:
        """Return the name of the first broken filter, None when the order keeps them all.

        ``average_price`` answers for a number of minutes, and with the last
        price for 0.  ``open_orders`` counts what is open before this order, orders
        with a trigger included.  ``position`` is what the account owns of the base
        coin and what its open buys may still add.  Lists and amendments are
        counted by who places and amends.
        """
        rules: tuple[tuple[str, Callable[[], bool]], ...] = (
            ("price", lambda: self._price_ok(order)),
            ("percent_price", lambda: self._symmetric_percent_ok(order, average_price)),
            ("percent_price_by_side", lambda: self._percent_ok(order, average_price)),
            ("lot", lambda: self._lot_ok(order)),
            ("market_lot", lambda: self._market_lot_ok(order)),
            ("notional", lambda: self._notional_ok(order, average_price)),
            ("iceberg_parts", lambda: self._iceberg_ok(order)),
            ("trailing_delta", lambda: self._trail_ok(order)),
            ("max_position", lambda: self._position_ok(order, position)),
            ("max_num_orders", lambda: self.max_num_orders is None or open_orders < self.max_num_orders),
            ("max_num_algo_orders", lambda: self._algo_ok(order, open_algo_orders)),
            ("max_num_iceberg_orders", lambda: self._iceberg_count_ok(order, open_iceberg_orders)),
        )
        return next((name for name, is_kept in rules if not is_kept()), None)

    def _price_ok(self, order: OrderShape) -> bool:
        rule = self.price
        prices = [price for price in (order.price, order.trigger_price) if price is not None]
        return rule is None or all(_in_range(price, rule.min, rule.max, rule.tick) for price in prices)

    def _lot_ok(self, order: OrderShape) -> bool:
        rule = self.lot
        sizes = [size for size in (order.quantity, order.display_quantity) if size is not None]
        return rule is None or all(_in_range(size, rule.min, rule.max, rule.step) for size in sizes)

    def _market_lot_ok(self, order: OrderShape) -> bool:
        rule = self.market_lot
        if rule is None or order.quantity is None or order.order_type not in _MARKET_TYPES:
            return True
        return _in_range(order.quantity, rule.min, rule.max, rule.step)

    def _notional_ok(self, order: OrderShape, average_price: Callable[[int], Decimal]) -> bool:
        rule = self.notional
        if rule is None:
            return True
        is_market = order.order_type in _MARKET_TYPES
        notional = order.quote_quantity
        if notional is None:
            price = order.price
            if price is None:
                minutes = self.percent_price_by_side.avg_price_mins if self.percent_price_by_side else 0
                price = average_price(minutes)
            notional = price * (order.quantity or Decimal(0))
        if rule.min and notional < rule.min and (rule.apply_min_to_market or not is_market):
            return False
        return not (rule.max and notional > rule.max and (rule.apply_max_to_market or not is_market))

    def _symmetric_percent_ok(self, order: OrderShape, average_price: Callable[[int], Decimal]) -> bool:
        rule = self.percent_price
        if rule is None or order.price is None:
            return True
        reference = average_price(rule.avg_price_mins)
        return rule.down * reference <= order.price <= rule.up * reference

    def _percent_ok(self, order: OrderShape, average_price: Callable[[int], Decimal]) -> bool:
        rule = self.percent_price_by_side
        if rule is None or order.price is None:
            return True
        reference = average_price(rule.avg_price_mins)
        if order.side is Side.BUY:
            return rule.bid_down * reference <= order.price <= rule.bid_up * reference
        return rule.ask_down * reference <= order.price <= rule.ask_up * reference

    def _iceberg_ok(self, order: OrderShape) -> bool:
        if self.iceberg_parts is None or not order.display_quantity or order.quantity is None:
            return True
        return order.quantity <= self.iceberg_parts * order.display_quantity

    def _algo_ok(self, order: OrderShape, open_algo_orders: int) -> bool:
        if self.max_num_algo_orders is None or order.order_type not in _TRIGGER_TYPES:
            return True
        return open_algo_orders < self.max_num_algo_orders

    def _iceberg_count_ok(self, order: OrderShape, open_iceberg_orders: int) -> bool:
        if self.max_num_iceberg_orders is None or not order.display_quantity:
            return True
        return open_iceberg_orders < self.max_num_iceberg_orders

    def _position_ok(self, order: OrderShape, position: Decimal) -> bool:
        if self.max_position is None or order.side is Side.SELL:
            return True
        return position + (order.quantity or Decimal(0)) <= self.max_position

    def _trail_ok(self, order: OrderShape) -> bool:
        rule = self.trailing_delta
        if rule is None or order.trail_bps is None:
            return True
        if (order.order_type in _STOPS) == (order.side is Side.BUY):
            return rule.min_above_bps <= order.trail_bps <= rule.max_above_bps
        return rule.min_below_bps <= order.trail_bps <= rule.max_below_bps


def _in_range(value: Decimal, minimum: Decimal, maximum: Decimal, grid: Decimal) -> bool:
    if (minimum and value < minimum) or (maximum and value > maximum):
        return False
    return not (grid and value % grid)
