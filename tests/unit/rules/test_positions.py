from decimal import Decimal, localcontext

import pytest

from btx.model.order import Side
from btx.rules.positions import (
    FloatMirror,
    Position,
    apply_fill,
    balance_changes,
    base_change,
    split_dust,
)
from tests.values import BTC, d, fill


def test_a_first_fill_opens() -> None:
    position, opened, closed, realised = apply_fill(Position(), signed_quantity=d(2), price=d(100))

    assert (position.quantity, position.price) == (2, 100)
    assert (opened, closed, realised) == (2, 0, 0)


def test_more_of_the_same_side_averages_the_price() -> None:
    short = Position(quantity=d(-1), cost=d(-100))

    position, opened, closed, _ = apply_fill(short, signed_quantity=d(-3), price=d(200))

    assert (position.quantity, position.price) == (-4, 175)
    assert (opened, closed) == (-3, 0)


def test_a_part_that_is_closed_realises_its_profit_and_leaves_the_price() -> None:
    position, opened, closed, realised = apply_fill(
        Position(quantity=d(4), cost=d(400)), signed_quantity=d(-1), price=d(130)
    )

    assert (position.quantity, position.price) == (3, 100)
    assert (opened, closed, realised) == (0, -1, 30)


def test_a_fill_through_zero_closes_all_and_opens_the_rest_at_its_price() -> None:
    position, opened, closed, realised = apply_fill(
        Position(quantity=d(2), cost=d(200)), signed_quantity=d(-5), price=d(90)
    )

    assert (position.quantity, position.price) == (-3, 90)
    assert (opened, closed, realised) == (-3, -2, -20)


def test_a_flat_position_has_no_price_and_no_cost() -> None:
    position = apply_fill(Position(quantity=d(-2), cost=d(-200)), signed_quantity=d(2), price=d(90)).position

    assert position == Position()
    assert position.price == 0


def test_the_cost_of_a_third_is_rounded_and_the_rest_keeps_what_was_rounded() -> None:
    thirds = Position(quantity=d(3), cost=d(100))

    booked = apply_fill(thirds, signed_quantity=d(-1), price=d(0))

    assert booked.realised == d("-33.33333333333333333333")
    assert booked.position.cost == d("66.66666666666666666667")


def test_a_position_that_is_flat_cost_nothing_however_fine_its_prices_were() -> None:
    fine = Position(quantity=d("1e-8"), cost=d("1e-22"))

    booked = apply_fill(fine, signed_quantity=d("-1e-8"), price=d("3e-14"))

    assert booked.position == Position()
    assert booked.realised == d("2e-22")


@pytest.mark.parametrize(
    ("side", "fee", "asset", "change"),
    [
        (Side.BUY, "0.002", "BTC", "1.998"),
        (Side.SELL, "0.002", "BTC", "-2.002"),
        (Side.BUY, "0.2", "USDT", "2"),
        (Side.BUY, None, None, "2"),
    ],
)
def test_a_spot_position_grows_by_the_fill_less_a_fee_in_the_coin(
    side: Side, fee: str | None, asset: str | None, change: str
) -> None:
    told = fill(side=side, fee=None if fee is None else d(fee), fee_asset=asset)

    assert base_change(told, base="BTC") == d(change)


@pytest.mark.parametrize(
    ("side", "asset", "changes"),
    [
        (Side.BUY, "BTC", {"BTC": "1.9", "USDT": "-200"}),
        (Side.BUY, "USDT", {"BTC": "2", "USDT": "-200.1"}),
        (Side.SELL, "BNB", {"BTC": "-2", "USDT": "200", "BNB": "-0.1"}),
        (Side.SELL, None, {"BTC": "-2", "USDT": "200"}),
    ],
)
def test_a_spot_fill_moves_both_assets_and_the_fee(side: Side, asset: str | None, changes: dict[str, str]) -> None:
    told = fill(side=side, fee=d("0.1") if asset else None, fee_asset=asset)

    assert balance_changes(told, instrument=BTC) == {name: d(text) for name, text in changes.items()}


@pytest.mark.parametrize("sign", [1, -1])
def test_dust_is_what_lies_below_a_step(sign: int) -> None:
    tradable, dust = split_dust(sign * d("0.09995"), step_size=d("0.001"))

    assert (tradable, dust) == (sign * d("0.099"), sign * d("0.00095"))


def test_a_tenth_and_two_tenths_less_three_are_exactly_nothing() -> None:
    mirror = FloatMirror(step_size=d("0.1"))
    total = 0.0

    for change in ("0.1", "0.2", "-0.3"):
        mirror, opened, closed = mirror.add(d(change))
        total += closed
        total += opened

    assert total == 0.0
    assert mirror.size == 0.0


def test_the_mirror_splits_a_reversal() -> None:
    mirror = FloatMirror(step_size=d("0.1")).add(d("0.3")).mirror

    reversed_ = mirror.add(d("-0.5"))

    assert (reversed_.closed, reversed_.opened) == (-0.3, -0.2)
    assert reversed_.mirror.size == reversed_.mirror.total == -0.2


def test_dust_closes_the_trade_and_stays_in_the_book() -> None:
    bought = FloatMirror(step_size=d("0.001")).add(d("0.0999")).mirror

    sold = bought.add(d("-0.099"))

    assert sold.closed == -0.0999
    assert sold.mirror.total == sold.mirror.size == 0.0
    assert sold.mirror.quantity == d("0.0009")


def test_one_step_is_no_dust() -> None:
    assert FloatMirror(step_size=d("0.001")).add(d("0.001")).mirror.size == 0.001


def test_dust_counts_again_when_a_fill_lifts_it() -> None:
    dusty = FloatMirror(step_size=d("0.001"), quantity=d("0.0009"))

    still = dusty.add(d("0.00001"))
    lifted = dusty.add(d("0.0999"))

    assert (still.opened, still.closed) == (0.0, 0.0)
    assert lifted.opened == lifted.mirror.size == 0.1008


def test_the_callers_decimal_context_changes_nothing() -> None:
    with localcontext(prec=3):
        position = apply_fill(Position(), signed_quantity=d("1.23456"), price=d("1.23456")).position
        mirror = FloatMirror(step_size=d("0.00001")).add(d("1.23456")).mirror

    assert position.cost == Decimal("1.5241383936")
    assert mirror.size == 1.23456
