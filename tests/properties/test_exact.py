"""Exact columns: whatever the decimals, they come back, and their floats are the nearest ones."""

import math
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from btx.storage.exact import Exact

decimals = st.builds(
    lambda units, scale: Decimal(units).scaleb(-scale),
    st.integers(-(10**19), 10**19) | st.integers(-(10**27), 10**27) | st.integers(-(2**54), 2**54),
    st.integers(0, 11) | st.just(25),
).map(lambda value: value or Decimal(0))
columns = st.lists(st.none() | decimals.filter(lambda value: value.adjusted() < 12), max_size=20)


@given(columns)
@example([Decimal(2**53 + 1), Decimal("0.1")])
@example([Decimal(10**18), None])
def test_a_column_through_arrow_is_the_same(values: list[Decimal | None]) -> None:
    column = Exact.of(values)

    back = Exact.of_arrow(column.arrow())

    assert column.decimals() == values
    assert back.decimals() == values
    assert back.scale == column.scale


@given(st.lists(decimals, max_size=20))
@example([Decimal(9007199254740993), Decimal("0.3"), Decimal("1E+21")])
@example([Decimal("123456.7E-20")])
def test_floats_are_bit_for_bit_those_of_the_text(values: list[Decimal]) -> None:
    floats = Exact.of(values).floats().tolist()

    assert [each.hex() for each in floats] == [float(str(value)).hex() for value in values]
    assert all(math.isfinite(each) for each in floats)


@given(columns, columns)
def test_joined_columns_have_both_in_turn_and_no_digit_too_many(
    first: list[Decimal | None], second: list[Decimal | None]
) -> None:
    column = Exact.of(first).joined(Exact.of(second))

    assert column.decimals() == first + second
    assert column.scale == Exact.of(first + second).scale
    assert column.units.dtype == Exact.of(first + second).units.dtype
