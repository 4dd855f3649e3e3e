"""Filters: what the rules round and pass, a venue takes; the simulator's own reading is the judge."""

from decimal import Decimal
from fractions import Fraction

import attrs
from hypothesis import assume, given
from hypothesis import strategies as st

from btx.model.order import OrderType, Side
from btx.rules.filters import check, check_quantity, to_grid_price, to_grid_quantity
from btx.sim.filters import FilterSet, LotRange, NotionalRange, OrderShape, PriceRange
from tests.values import BTC, request

grids = st.sampled_from([Decimal(text) for text in ("1", "0.5", "0.1", "0.05", "0.001", "1e-8", "10")])
sizes = st.floats(0, 1e6, allow_nan=False)
prices = st.floats(1e-3, 1e6, allow_nan=False)
A_MILLIONTH = Fraction(1, 10**6)


@given(value=sizes, step=grids)
def test_a_quantity_is_on_the_grid_and_less_than_a_step_below(value: float, step: Decimal) -> None:
    quantity = to_grid_quantity(attrs.evolve(BTC, step_size=step), value)

    assert quantity % step == 0
    lost = Fraction(repr(value)) - Fraction(quantity)
    assert -A_MILLIONTH * Fraction(step) <= lost < Fraction(step)


@given(steps=st.integers(0, 10**8), step=grids)
def test_a_quantity_that_means_the_grid_stays(steps: int, step: Decimal) -> None:
    exact = steps * step

    assert to_grid_quantity(attrs.evolve(BTC, step_size=step), float(exact)) == exact


@given(value=prices, tick=grids, side=st.sampled_from(Side))
def test_a_price_never_becomes_more_aggressive(value: float, tick: Decimal, side: Side) -> None:
    price = to_grid_price(attrs.evolve(BTC, tick_size=tick), value, side=side)

    assert price % tick == 0
    conceded = side.sign * (Fraction(price) - Fraction(repr(value)))
    assert conceded <= A_MILLIONTH * Fraction(tick)


near_the_limits = st.one_of(
    st.decimals("0.000001", "0.1", places=6), st.decimals("8990", "9010", places=6), st.just(Decimal(6))
)
near_prices = st.one_of(st.decimals("0.001", "200", places=3), st.decimals("999990", "1000010", places=3))


@given(
    quantity=near_the_limits,
    price=near_prices,
    order_type=st.sampled_from([OrderType.LIMIT, OrderType.MARKET]),
    last=st.decimals("1", "1000", places=2),
)
def test_the_rules_agree_with_the_simulators_filters(
    quantity: Decimal, price: Decimal, order_type: OrderType, last: Decimal
) -> None:
    limit_price = price if order_type is OrderType.LIMIT else None
    market = attrs.evolve(
        BTC,
        market_step_size=Decimal("0.0001"),
        market_min_quantity=Decimal("0.0002"),
        market_max_quantity=Decimal(9000),
    )

    refused = check(
        request(instrument=market, quantity=quantity, price=limit_price, order_type=order_type),
        reference_price=last,
    )

    judged = _VENUE.check(
        OrderShape(side=Side.BUY, order_type=order_type, quantity=quantity, price=limit_price),
        average_price=lambda _minutes: last,
        open_orders=0,
        open_algo_orders=0,
    )
    assert (refused is None) == (judged is None), (refused, judged)


_VENUE = FilterSet(
    price=PriceRange(min=Decimal("0.01"), max=Decimal(1000000), tick=Decimal("0.01")),
    lot=LotRange(min=Decimal("0.00001"), max=Decimal(9000), step=Decimal("0.00001")),
    market_lot=LotRange(min=Decimal("0.0002"), max=Decimal(9000), step=Decimal("0.0001")),
    notional=NotionalRange(min=Decimal(5), max=Decimal(9000000)),
)


@given(quantity=near_the_limits, order_type=st.sampled_from([OrderType.LIMIT, OrderType.MARKET]))
def test_the_nearest_quantity_keeps_the_rule(quantity: Decimal, order_type: OrderType) -> None:
    violation = check_quantity(BTC, quantity, order_type=order_type)
    assume(violation is not None)
    assert violation is not None
    assert violation.nearest is not None

    assert check_quantity(BTC, violation.nearest, order_type=order_type) is None
