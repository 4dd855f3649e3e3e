from decimal import Decimal

import attrs
import pytest

from btx.model.time import Interval
from btx.testing.card import CardFailedError
from btx.testing.sizes import floored, on_grid, shortest_minutes, two_of, usual
from tests.values import BTC


def test_the_usual_quantity_passes_the_least_notional_with_room_and_is_on_every_grid() -> None:
    instrument = attrs.evolve(
        BTC, step_size=Decimal("0.001"), min_quantity=Decimal("0.001"), min_notional=Decimal(10), market_step_size=None
    )

    size = usual(instrument, Decimal(100), times=2)

    assert size == Decimal("0.26")
    assert usual(attrs.evolve(instrument, min_notional=None), Decimal(100)) == Decimal("0.001")
    assert usual(attrs.evolve(instrument, market_step_size=Decimal("0.5")), Decimal(100)) == Decimal("0.5")


def test_prices_are_on_the_grid_and_quantities_never_more_than_there_is() -> None:
    instrument = attrs.evolve(BTC, tick_size=Decimal("0.5"), step_size=Decimal("0.1"), market_step_size=None)

    assert on_grid(instrument, Decimal(100), bps=120) == Decimal("101.0")
    assert on_grid(instrument, Decimal(100), bps=-140) == Decimal("98.5")
    assert floored(Decimal("1.29"), instrument) == Decimal("1.2")


def test_seconds_are_no_bars_to_wait_for() -> None:
    assert shortest_minutes([Interval.parse("1s"), Interval.parse("5m"), Interval.parse("1m")]) == Interval.parse("1m")
    with pytest.raises(CardFailedError, match="expected an interval of a minute or more"):
        shortest_minutes([Interval.parse("1s")])


def test_two_symbols_are_taken_the_wished_ones_first_and_none_that_does_not_trade() -> None:
    other = attrs.evolve(BTC, symbol="ETH/USDT")
    halted = attrs.evolve(BTC, symbol="XRP/USDT", is_trading=False)
    listed = {each.symbol: each for each in (halted, BTC, other)}

    assert two_of(listed, ()) == ("BTC/USDT", "ETH/USDT")
    assert two_of(listed, ("ETH/USDT",)) == ("ETH/USDT", "BTC/USDT")
    assert two_of({"BTC/USDT": BTC}, ()) == ("BTC/USDT", "")
    with pytest.raises(CardFailedError, match="there is nothing"):
        two_of({"XRP/USDT": halted}, ())
