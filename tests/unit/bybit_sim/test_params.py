"""Reading parameters as the venue does."""

from decimal import Decimal
from typing import Any

import pytest

from btx_bybit.sim.params import Param, boolean, choice, decimal, integer, link_id, read, text
from btx_bybit.sim.wire import WireError


@pytest.mark.parametrize(
    ("param", "raw", "value"),
    [
        (text("a"), "5", "5"),
        (choice("a", ("Buy",)), "Buy", "Buy"),
        (integer("a"), "7", 7),
        (integer("a", most=50), 900, 50),
        (decimal("a"), "-0.50", Decimal("-0.50")),
        (decimal("a"), "3", Decimal(3)),
        (boolean("a"), True, True),
        (boolean("a"), "False", False),
        (link_id("a"), "my_own-1", "my_own-1"),
    ],
)
def test_texts_are_read_and_counts_may_be_texts(param: Param, raw: Any, value: Any) -> None:
    assert read((param,), {"a": raw, "unknown": 1}) == {"a": value}


@pytest.mark.parametrize("nothing", [{}, {"a": ""}, {"a": None}])
def test_nothing_is_nothing_and_what_must_be_there_is_missed(nothing: dict[str, Any]) -> None:
    assert read((text("a"),), nothing) == {}
    with pytest.raises(WireError, match="must be filled in, a"):
        read((text("a", mandatory=True),), nothing)


@pytest.mark.parametrize(
    ("param", "raw"),
    [
        (choice("a", ("Buy",)), "buy"),
        (integer("a"), "many"),
        (integer("a"), True),
        (integer("a", least=1), 0),
        (decimal("a"), "1e3"),
        (decimal("a"), True),
        (decimal("a"), "NaN"),
        (decimal("a"), 3),
        (decimal("a"), 0.5),
        (text("a"), 5),
        (link_id("a"), 5),
        (boolean("a"), "maybe"),
        (link_id("a"), "with a blank"),
        (link_id("a"), "x" * 37),
    ],
)
def test_what_cannot_be_read_is_invalid(param: Param, raw: Any) -> None:
    with pytest.raises(WireError) as refused:
        read((param,), {"a": raw})

    assert refused.value.code == 10001
