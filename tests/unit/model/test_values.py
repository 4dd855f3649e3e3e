"""What the values of the model refuse, and the little they compute."""

from decimal import Decimal

import attrs
import pytest

from btx.model.account import Balance
from btx.model.journal import Intent
from btx.model.venue import Environment, Scenario
from tests.values import BTC, leg, request


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


def test_what_a_venue_does_not_limit_is_none() -> None:
    bare = {field.name: getattr(BTC, field.name) for field in attrs.fields(type(BTC)) if field.default is attrs.NOTHING}

    assert type(BTC)(**bare).max_quantity is None


def test_a_plain_scenario_is_a_seeded_market_that_waits_for_its_client() -> None:
    assert Scenario() == Scenario(seed=1, speed=None, data={})
