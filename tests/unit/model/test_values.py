"""What the values of the model refuse, and the little they compute."""

from array import array
from decimal import Decimal

import attrs
import pytest

from btx.model.account import Balance
from btx.model.journal import GroupState, Intent
from btx.model.market import BarColumns
from btx.model.order import Group, GroupKind
from btx.model.venue import Environment, Scenario
from tests.values import BTC, MINUTE, leg, request


def test_a_balance_is_free_and_locked_together() -> None:
    assert Balance(free=Decimal("1.5"), locked=Decimal("0.5")).total == 2


@pytest.mark.parametrize("grid", ["tick_size", "step_size", "multiplier"])
def test_a_grid_of_zero_is_refused(grid: str) -> None:
    with pytest.raises(ValueError, match=grid):
        attrs.evolve(BTC, **{grid: Decimal(0)})


def test_a_negative_minimum_is_refused() -> None:
    with pytest.raises(ValueError, match="min_quantity"):
        attrs.evolve(BTC, min_quantity=Decimal(-1))


def test_an_intent_names_the_bar_it_stands_on() -> None:
    signal = attrs.evolve(leg(), request=request(signal_ns=7))

    assert Intent(leg=signal, environment=Environment.SIM, session="toy/sim/spot", run="a").signal_ns == 7


def test_a_record_says_whose_it_is() -> None:
    group = Group(group_id="g", kind=GroupKind.OCO, members=())

    assert Intent(leg=leg(), environment=Environment.SIM, session="", run="").client_order_id == leg().client_order_id
    assert GroupState(group=group, time_ns=0).client_order_id == "g"


def test_columns_are_as_long_as_they_have_bars() -> None:
    fields = ("open", "high", "low", "close", "volume")
    prices = {name: array("d", [1.0, 2.0]) for name in fields}
    columns = BarColumns(
        symbol="BTC/USDT", interval=MINUTE, open_ns=array("q", [0, 1]), close_ns=array("q", [1, 2]), **prices
    )

    assert len(columns) == 2


def test_what_a_venue_does_not_limit_is_none() -> None:
    bare = {field.name: getattr(BTC, field.name) for field in attrs.fields(type(BTC)) if field.default is attrs.NOTHING}

    assert type(BTC)(**bare).max_quantity is None


def test_a_plain_scenario_is_a_seeded_market_that_waits_for_its_client() -> None:
    assert Scenario() == Scenario(seed=1, speed=None, data={})
