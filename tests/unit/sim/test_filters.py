"""Filters: each has a name, and the first that is broken is told."""

from decimal import Decimal

import attrs
import pytest

from btx.model.order import OrderType, Side
from btx.sim.filters import FilterSet, LotRange, NotionalRange, OrderShape, PercentPrice, PercentPriceBySide, PriceRange

FILTERS = FilterSet(
    price=PriceRange(min=Decimal(10), max=Decimal(1000), tick=Decimal("0.5")),
    percent_price_by_side=PercentPriceBySide(
        bid_up=Decimal("1.5"), bid_down=Decimal("0.5"), ask_up=Decimal(2), ask_down=Decimal("0.8"), avg_price_mins=5
    ),
    lot=LotRange(min=Decimal("0.1"), max=Decimal(100), step=Decimal("0.1")),
    market_lot=LotRange(max=Decimal(50)),
    notional=NotionalRange(min=Decimal(20), max=Decimal(9000)),
    iceberg_parts=10,
    max_num_orders=3,
    max_num_algo_orders=1,
)
GOOD = OrderShape(side=Side.BUY, order_type=OrderType.LIMIT, quantity=Decimal(1), price=Decimal(100))
MARKET = attrs.evolve(GOOD, order_type=OrderType.MARKET, price=None)
STOP = attrs.evolve(GOOD, order_type=OrderType.STOP_LIMIT, trigger_price=Decimal(110))


def broken(order: OrderShape, *, filters: FilterSet = FILTERS, open_orders: int = 0, algos: int = 0) -> str | None:
    return filters.check(
        order, average_price=lambda minutes: Decimal(100), open_orders=open_orders, open_algo_orders=algos
    )


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("price", attrs.evolve(GOOD, price=Decimal("100.25"))),
        ("price", attrs.evolve(GOOD, price=Decimal(5))),
        ("price", attrs.evolve(GOOD, price=Decimal(1001))),
        ("price", attrs.evolve(STOP, trigger_price=Decimal("110.1"))),
        ("percent_price_by_side", attrs.evolve(GOOD, price=Decimal(151))),
        ("percent_price_by_side", attrs.evolve(GOOD, price=Decimal(49))),
        ("percent_price_by_side", attrs.evolve(GOOD, side=Side.SELL, price=Decimal(201))),
        ("percent_price_by_side", attrs.evolve(GOOD, side=Side.SELL, price=Decimal(79))),
        ("lot", attrs.evolve(GOOD, quantity=Decimal("0.05"))),
        ("lot", attrs.evolve(GOOD, quantity=Decimal("1.05"))),
        ("lot", attrs.evolve(GOOD, quantity=Decimal(101))),
        ("market_lot", attrs.evolve(MARKET, quantity=Decimal(51))),
        ("notional", attrs.evolve(GOOD, quantity=Decimal("0.1"))),
        ("notional", attrs.evolve(GOOD, quantity=Decimal(91))),
        ("notional", attrs.evolve(MARKET, quantity=Decimal("0.1"))),
        ("notional", attrs.evolve(MARKET, quantity=None, quote_quantity=Decimal(19))),
        ("iceberg_parts", attrs.evolve(GOOD, quantity=Decimal("10.1"), display_quantity=Decimal(1))),
    ],
)
def test_a_broken_filter_is_told_by_its_name(name: str, order: OrderShape) -> None:
    assert broken(order) == name
    assert hasattr(FILTERS, name)


@pytest.mark.parametrize(
    "order",
    [
        GOOD,
        STOP,
        MARKET,
        attrs.evolve(MARKET, quantity=None, quote_quantity=Decimal(20)),
        attrs.evolve(GOOD, quantity=Decimal(10), display_quantity=Decimal(1)),
        attrs.evolve(GOOD, side=Side.SELL, price=Decimal(200)),
    ],
)
def test_an_order_on_the_grids_and_within_the_limits_keeps_all_filters(order: OrderShape) -> None:
    assert broken(order) is None


def test_open_orders_and_orders_with_a_trigger_are_counted_apart() -> None:
    assert broken(GOOD, open_orders=2) is None
    assert broken(GOOD, open_orders=3) == "max_num_orders"
    assert broken(GOOD, open_orders=1, algos=1) is None
    assert broken(STOP, open_orders=1, algos=1) == "max_num_algo_orders"


def test_notional_limits_can_be_switched_off_for_market_orders() -> None:
    rule = NotionalRange(min=Decimal(20), max=Decimal(9000), apply_min_to_market=False)
    filters = FilterSet(notional=rule)

    assert broken(attrs.evolve(MARKET, quantity=Decimal("0.1")), filters=filters) is None
    assert broken(attrs.evolve(MARKET, quantity=Decimal(91)), filters=filters) is None
    applied = attrs.evolve(rule, apply_max_to_market=True)
    assert broken(attrs.evolve(MARKET, quantity=Decimal(91)), filters=FilterSet(notional=applied)) == "notional"


def test_what_the_venue_does_not_limit_is_not_limited() -> None:
    assert (
        broken(attrs.evolve(STOP, price=Decimal("0.00123"), display_quantity=Decimal(1)), filters=FilterSet()) is None
    )


def test_a_price_may_have_to_lie_around_the_average_whatever_the_side() -> None:
    filters = FilterSet(percent_price=PercentPrice(up=Decimal("1.3"), down=Decimal("0.7"), avg_price_mins=5))

    for side in Side:
        order = attrs.evolve(GOOD, side=side)
        assert broken(attrs.evolve(order, price=Decimal(130)), filters=filters) is None
        assert broken(attrs.evolve(order, price=Decimal(70)), filters=filters) is None
        assert broken(attrs.evolve(order, price=Decimal("130.01")), filters=filters) == "percent_price"
        assert broken(attrs.evolve(order, price=Decimal("69.99")), filters=filters) == "percent_price"
    assert broken(MARKET, filters=filters) is None
