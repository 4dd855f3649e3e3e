"""Which lots an order closes: what there is and nothing else, oldest first, and the rest opens."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.errors import ConfigError
from btx.model.account import Lots
from btx.model.order import Offset, Side
from btx_ctp.plan import plan, says_day
from tests.unit.ctp.values import contract, request

counts = st.integers(0, 6).map(Decimal)
lots = st.builds(
    Lots,
    symbol=st.just("SHFE.rb2601"),
    long_today=counts,
    long_yesterday=counts,
    short_today=counts,
    short_yesterday=counts,
)
OF_DCE = contract(InstrumentID="m2601", ExchangeID="DCE", ProductID="m")
LONG = Lots(symbol="SHFE.rb2601", long_today=Decimal(2), long_yesterday=Decimal(1))


def parts(held: Lots | None = LONG, **changes: Any) -> list[tuple[Offset, int]]:
    return [(part.offset, int(part.quantity)) for part in plan(request(**changes), held)]


def test_at_shfe_closing_lots_of_two_days_and_opening_are_three_orders() -> None:
    assert parts() == [(Offset.CLOSE_YESTERDAY, 1), (Offset.CLOSE_TODAY, 2), (Offset.OPEN, 2)]


def test_elsewhere_closing_is_one_order_whatever_the_day() -> None:
    assert says_day("sc")
    assert not says_day("m")
    assert parts(instrument=OF_DCE) == [(Offset.CLOSE, 3), (Offset.OPEN, 2)]
    assert parts(Lots(symbol="DCE.m2601"), instrument=OF_DCE) == [(Offset.OPEN, 5)]


def test_an_order_the_same_way_opens() -> None:
    assert parts(side=Side.BUY) == [(Offset.OPEN, 5)]
    assert parts(None) == [(Offset.OPEN, 5)]


def test_what_only_reduces_never_opens() -> None:
    assert parts(quantity=Decimal(3), reduce_only=True) == [(Offset.CLOSE_YESTERDAY, 1), (Offset.CLOSE_TODAY, 2)]
    with pytest.raises(ConfigError, match="there is less to close of SHFE"):
        plan(request(reduce_only=True), LONG)


@pytest.mark.parametrize("offset", ["close_today", Offset.CLOSE_TODAY])
def test_an_offset_that_is_named_is_taken_at_its_word(offset: object) -> None:
    assert parts(params={"offset": offset}) == [(Offset.CLOSE_TODAY, 5)]


def test_an_offset_that_is_none_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="write one of OPEN, CLOSE, CLOSE_TODAY, CLOSE_YESTERDAY"):
        plan(request(params={"offset": "shut"}), LONG)


@given(lots, st.integers(1, 15).map(Decimal), st.sampled_from(list(Side)), st.sampled_from([contract(), OF_DCE]))
def test_a_plan_adds_up_and_closes_no_more_than_there_is(
    held: Lots, quantity: Decimal, side: Side, instrument: Any
) -> None:
    made = plan(request(quantity=quantity, side=side, instrument=instrument), held)
    kind = "short" if side is Side.BUY else "long"
    there = {"today": getattr(held, f"{kind}_today"), "yesterday": getattr(held, f"{kind}_yesterday")}
    by_offset = {part.offset: part.quantity for part in made}

    assert sum(by_offset.values()) == quantity
    assert len(by_offset) == len(made)
    assert by_offset.get(Offset.CLOSE_TODAY, 0) <= there["today"]
    assert by_offset.get(Offset.CLOSE_YESTERDAY, 0) <= there["yesterday"]
    assert by_offset.get(Offset.CLOSE, 0) <= sum(there.values())
    assert by_offset.get(Offset.OPEN, 0) == max(quantity - sum(there.values()), 0)
    assert (Offset.CLOSE in by_offset) <= (instrument is OF_DCE)
