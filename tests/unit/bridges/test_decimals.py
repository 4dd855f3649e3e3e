"""Numbers as venues write them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.bridges.decimals import count, exact, limit, plain


@given(st.decimals(min_value="0.00000001", max_value=10**9, places=8))
def test_a_quantity_leaves_without_an_exponent_and_to_the_last_digit(value: Decimal) -> None:
    text = plain(value.normalize())

    assert "E" not in text.upper()
    assert Decimal(text) == value


@pytest.mark.parametrize("row", [{}, {"x": ""}, {"x": "0"}, {"x": "0.000"}, {"x": 0}, {"x": None}])
def test_nothing_is_said_in_many_ways(row: dict[str, object]) -> None:
    assert limit(row, "x") is None


def test_a_count_may_be_left_out_too() -> None:
    assert [count(row, "x") for row in ({}, {"x": ""}, {"x": 0}, {"x": "0"}, {"x": "7"})] == [None] * 4 + [7]


def test_a_float_is_what_was_written() -> None:
    assert exact(0.1) == Decimal("0.1")
    assert limit({"x": 0.005}, "x") == Decimal("0.005")
