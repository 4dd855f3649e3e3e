from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.instrument import InstrumentKind, PriceBand, TickStep
from btx.model.order import OrderType, PositionSide, Side
from btx.rules.filters import (
    MarketView,
    broken_rules,
    check,
    check_quantity,
    nearest_order,
    step_of,
    to_grid_price,
    to_grid_quantity,
)
from tests.perpetuals import INVERSE
from tests.values import BTC, d, request

LOTS = attrs.evolve(
    BTC,
    market_step_size=d("0.001"),
    market_min_quantity=d("0.002"),
    market_max_quantity=d(100),
)


class NumpyFloat(float):
    """As numpy 2 writes its floats."""

    def __repr__(self) -> str:
        return f"np.float64({float(self)!r})"


@pytest.mark.parametrize(
    ("value", "quantity"),
    [
        (0.1 + 0.2, "0.3"),
        (0.3 - 0.1, "0.2"),
        (0.123456, "0.12345"),
        (0.12345999, "0.12345"),
        (NumpyFloat(0.1), "0.1"),
        (1, "1"),
        ("0.00001", "0.00001"),
        (d("2.000019"), "2.00001"),
        (0.000009, "0"),
        (0.0, "0"),
    ],
)
def test_a_quantity_goes_down_to_the_grid_unless_it_means_the_grid(value: Any, quantity: str) -> None:
    assert to_grid_quantity(BTC, value) == d(quantity)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", -1.0])
def test_what_is_no_quantity_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="quantity"):
        to_grid_quantity(BTC, value)


@pytest.mark.parametrize(
    ("value", "side", "price"),
    [
        (100.019, Side.BUY, "100.01"),
        (100.011, Side.SELL, "100.02"),
        (100.1 + 0.2, Side.BUY, "100.3"),
        (100.1 + 0.2, Side.SELL, "100.3"),
        ("100.01", Side.SELL, "100.01"),
    ],
)
def test_a_price_goes_away_from_aggression(value: Any, side: Side, price: str) -> None:
    assert to_grid_price(BTC, value, side=side) == d(price)


def test_market_orders_have_their_own_grid_where_the_venue_has_one() -> None:
    assert to_grid_quantity(LOTS, 0.12345, order_type=OrderType.MARKET) == d("0.123")
    assert to_grid_quantity(LOTS, 0.12345) == d("0.12345")
    assert step_of(BTC, order_type=OrderType.MARKET) == BTC.step_size


@pytest.mark.parametrize(
    ("changes", "rule", "nearest"),
    [
        ({"quantity": d("0.000001")}, "min_quantity", "0.00001"),
        ({"quantity": d(9001)}, "max_quantity", "9000"),
        ({"quantity": d("1.000001")}, "step_size", "1"),
        ({"price": d("0.001")}, "min_price", "0.01"),
        ({"price": d(1000001)}, "max_price", "1000000"),
        ({"price": d("100.018")}, "tick_size", "100.02"),
        ({"trigger_price": d("100.018")}, "tick_size", "100.02"),
        ({"quantity": d("0.03"), "price": d(100)}, "min_notional", "0.05"),
        ({"quantity": d(8999), "price": d(999999)}, "max_notional", "9.00000"),
        ({"quantity": d("0.03"), "price": None, "order_type": OrderType.MARKET}, "min_notional", "0.05"),
    ],
)
def test_a_broken_rule_is_named_with_the_nearest_order_that_keeps_it(
    changes: dict[str, Any], rule: str, nearest: str
) -> None:
    violation = check(request(**changes), reference_price=d(100))

    assert violation is not None
    assert (violation.rule, violation.nearest) == (rule, d(nearest))
    assert violation.text.startswith("BTC/USDT: ")
    assert violation.text.endswith(f"({rule})")


def test_the_text_is_one_sentence_that_says_what_to_do() -> None:
    violation = check(request(quantity=d("0.03")), reference_price=None)

    assert violation is not None
    assert violation.text == (
        "BTC/USDT: 0.03 at 100 is worth 3 USDT, below the minimum of 5: order at least 0.05 (min_notional)"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"quantity": d("0.05")},
        {"quantity": d(9000), "price": d(1000)},
        {"quantity": d("0.05"), "price": None, "order_type": OrderType.MARKET},
        {"quantity": d(9000), "price": None, "order_type": OrderType.MARKET},
    ],
)
def test_an_order_within_the_rules_passes(changes: dict[str, Any]) -> None:
    assert check(request(**changes), reference_price=d(100)) is None


def test_the_value_of_a_market_order_without_a_known_price_is_left_to_the_venue() -> None:
    order = request(quantity=d("0.00001"), price=None, order_type=OrderType.MARKET)

    assert check(order, reference_price=None) is None


def test_a_venue_may_set_no_minimum_for_market_orders() -> None:
    lenient = attrs.evolve(BTC, min_notional_for_market=False)
    order = request(instrument=lenient, quantity=d("0.01"), price=None, order_type=OrderType.MARKET)

    assert check(order, reference_price=d(100)) is None


def test_the_value_of_inverse_contracts_does_not_depend_on_the_price() -> None:
    limited = attrs.evolve(INVERSE, min_notional=d(500))

    for price in (d(10), d(100_000)):
        violation = check(request(instrument=limited, quantity=d(4), price=price), reference_price=price)

        assert violation is not None
        assert (violation.rule, violation.nearest) == ("min_notional", 5)


def test_a_venue_may_set_no_limits_at_all() -> None:
    free = attrs.evolve(BTC, max_quantity=None, min_price=None, max_price=None, min_notional=None, max_notional=None)

    assert check(request(instrument=free, quantity=d(10**6), price=d("0.01")), reference_price=None) is None


def test_a_halted_instrument_takes_no_orders() -> None:
    violation = check(request(instrument=attrs.evolve(BTC, is_trading=False)), reference_price=None)

    assert violation is not None
    assert violation.rule == "is_trading"
    assert "not trading" in violation.text


@pytest.mark.parametrize(
    ("quantity", "rule"),
    [("0.001", "min_quantity"), ("100.001", "max_quantity"), ("1.0001", "step_size"), ("0.002", None)],
)
def test_market_orders_have_their_own_limits_where_the_venue_has_them(quantity: str, rule: str | None) -> None:
    violation = check_quantity(LOTS, d(quantity), order_type=OrderType.MARKET)

    assert (violation.rule if violation else None) == rule
    assert check_quantity(LOTS, d("0.001"), order_type=OrderType.LIMIT) is None


def test_zero_is_below_the_minimum_even_where_there_is_none() -> None:
    free = attrs.evolve(BTC, min_quantity=Decimal(0))

    violation = check_quantity(free, Decimal(0), order_type=OrderType.LIMIT)

    assert violation is not None
    assert violation.nearest == BTC.step_size


BAND = PriceBand(bid_up=d("1.2"), bid_down=d("0.5"), ask_up=d(2), ask_down=d("0.8"), minutes=5)
STRICT = attrs.evolve(
    BTC,
    price_band=BAND,
    max_orders=3,
    max_conditional_orders=2,
    max_iceberg_orders=1,
    max_iceberg_parts=10,
    max_position=d(10),
)
VIEW = MarketView(
    reference_price=d(100),
    average_price=d(100),
    open_orders=0,
    open_conditional_orders=0,
    open_iceberg_orders=0,
    position=d(0),
    open_buys=d(0),
)
STOP = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": d(90)}


@pytest.mark.parametrize(
    ("changes", "known", "rule", "nearest"),
    [
        ({"price": d("120.01")}, {}, "price_band", {"price": d(120)}),
        ({"price": d("49.99")}, {}, "price_band", {"price": d(50)}),
        ({"price": d("200.01"), "side": Side.SELL}, {}, "price_band", {"price": d(200)}),
        ({"price": d("79.99"), "side": Side.SELL}, {}, "price_band", {"price": d(80)}),
        ({"price": d("120.01")}, {"average_price": d("100.0011")}, "price_band", {"price": d(120)}),
        ({"display_quantity": d("0.59")}, {}, "max_iceberg_parts", {"display_quantity": d("0.6")}),
        ({"display_quantity": d("0.600001")}, {}, "step_size", {"display_quantity": d("0.6")}),
        ({}, {"open_orders": 3}, "max_orders", None),
        (STOP, {"open_conditional_orders": 2}, "max_conditional_orders", None),
        ({"display_quantity": d(6)}, {"open_iceberg_orders": 1}, "max_iceberg_orders", None),
        ({}, {"position": d(3), "open_buys": d(2)}, "max_position", {"quantity": d(5)}),
        ({}, {"position": d(8), "open_buys": d(2)}, "max_position", None),
        ({"quantity": d("0.000001")}, {}, "min_quantity", {"quantity": d("0.05")}),  # two rules on the way
    ],
)
def test_a_rule_that_looks_at_the_market_or_the_account_is_named_with_the_nearest_order(
    changes: dict[str, Any], known: dict[str, Any], rule: str, nearest: dict[str, Any] | None
) -> None:
    asked, view = request(**{"instrument": STRICT} | changes), attrs.evolve(VIEW, **known)

    violation = check(asked, view=view)

    assert violation is not None
    assert violation.rule == rule
    assert violation.text.startswith("BTC/USDT: ")
    assert violation.text.endswith(f"({rule})")
    assert nearest_order(asked, view) == (attrs.evolve(asked, **nearest) if nearest is not None else None)


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"price": d(120)}, {}),
        ({"price": d(200), "side": Side.SELL}, {}),
        (STOP | {"trigger_price": d(1)}, {}),
        ({}, {"open_orders": 2}),
        ({}, {"open_conditional_orders": 2}),
        ({}, {"open_iceberg_orders": 1}),
        ({"side": Side.SELL}, {"position": d(20)}),
        ({"display_quantity": d("0.6")}, {}),
    ],
)
def test_an_order_just_within_a_rule_passes(changes: dict[str, Any], known: dict[str, Any]) -> None:
    asked, view = request(**{"instrument": STRICT} | changes), attrs.evolve(VIEW, **known)

    assert check(asked, view=view) is None
    assert nearest_order(asked, view) == asked


@pytest.mark.parametrize("unknown", ["average_price", "open_orders", "open_iceberg_orders", "position", "open_buys"])
def test_what_is_not_known_is_left_to_the_venue(unknown: str) -> None:
    broken = {"average_price": d(10), "open_orders": 9, "open_iceberg_orders": 9, "position": d(90), "open_buys": d(90)}
    view = attrs.evolve(VIEW, **(dict.fromkeys(broken) | {unknown: broken[unknown]}), reference_price=d(1))
    asked = request(instrument=STRICT, display_quantity=d(6))

    is_alone = unknown in {"position", "open_buys"}  # one of the two says nothing
    assert [each.rule for each in broken_rules(asked, attrs.evolve(view, **{unknown: None}))] == []
    assert len(list(broken_rules(asked, view))) == (0 if is_alone else 1)


def test_a_band_of_no_minutes_is_around_the_last_price() -> None:
    asked = request(instrument=attrs.evolve(BTC, price_band=attrs.evolve(BAND, minutes=0)))

    violation = check(asked, view=MarketView(reference_price=d(10), average_price=d(100)))

    assert violation is not None
    assert "too far from the last price, 10, for a BUY: order at 12 or below" in violation.text


def test_the_limit_of_a_conditional_order_on_margin_is_near_its_own_trigger() -> None:
    far = {"order_type": OrderType.STOP_LIMIT, "price": d(10), "trigger_price": d(10)}
    view = MarketView(reference_price=d(100), average_price=d(100))
    contract = attrs.evolve(BTC, kind=InstrumentKind.LINEAR, price_band=BAND)

    wide = check(request(instrument=contract, **far | {"trigger_price": d(5)}), view=view)

    assert check(request(instrument=contract, **far), view=view) is None
    assert wide is not None
    assert "too far from its trigger price, 5, for a BUY" in wide.text
    assert check(request(instrument=attrs.evolve(BTC, price_band=BAND), **far), view=view) is not None  # of spot


def test_every_broken_rule_is_told_once() -> None:
    asked = request(instrument=attrs.evolve(STRICT, is_trading=False), quantity=d("0.000001"), price=d("0.001"))

    rules = [each.rule for each in broken_rules(asked, attrs.evolve(VIEW, open_orders=3))]

    assert rules == ["is_trading", "min_quantity", "min_price", "price_band", "min_notional", "max_orders"]
    assert nearest_order(asked, VIEW) is None


def test_rules_that_contradict_each_other_have_no_nearest_order() -> None:
    asked = request(instrument=attrs.evolve(BTC, max_quantity=d("0.01")), quantity=d("0.01"))

    assert nearest_order(asked) is None


def test_contracts_are_called_contracts() -> None:
    broken = check_quantity(attrs.evolve(INVERSE, min_quantity=d(2)), d(1), order_type=OrderType.LIMIT)

    assert broken is not None
    assert "minimum quantity of 2 contracts" in broken.text


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({}, True),
        ({"reduce_only": True}, False),
        ({"position_side": PositionSide.SHORT}, False),
        ({"position_side": PositionSide.LONG}, True),
    ],
)
def test_what_only_makes_a_position_smaller_may_be_worth_little(changes: dict[str, Any], is_refused: bool) -> None:
    order = request(quantity=Decimal("0.04"), **changes)  # a purchase worth 4, below the minimum of 5

    assert (check(order, reference_price=Decimal(100)) is not None) is is_refused


STEPS = attrs.evolve(
    BTC,
    tick_size=d("0.001"),
    tick_steps=tuple(
        TickStep(from_price=d(start), tick_size=d(tick)) for start, tick in ((0, "0.001"), (10, "0.01"), (200, "0.2"))
    ),
)


@pytest.mark.parametrize(
    ("price", "side", "expected"),
    [
        ("9.9996", Side.BUY, "9.999"),
        ("10.005", Side.BUY, "10"),
        ("300.1", Side.SELL, "300.2"),
        ("199.99", Side.SELL, "199.99"),
    ],
)
def test_the_price_grid_may_grow_with_the_price(price: str, side: Side, expected: str) -> None:
    assert to_grid_price(STEPS, price, side=side) == d(expected)


def test_a_price_between_two_steps_of_its_own_grid_is_refused_with_the_nearest() -> None:
    violation = check(request(instrument=STEPS, price=d("300.1"), order_type=OrderType.LIMIT), view=MarketView())

    assert violation is not None
    assert violation.rule == "tick_size"
    assert check(request(instrument=STEPS, price=d("300.2"), order_type=OrderType.LIMIT), view=MarketView()) is None
    assert STEPS.tick_at(d("-1")) == d("0.001")
