from decimal import Decimal, localcontext

import attrs
import pytest

from btx.model.instrument import Instrument, InstrumentKind
from btx.rules.contracts import average_price, notional, profit, quantity_of, quote_value, value
from btx.rules.positions import Position, apply_fill
from tests.perpetuals import INVERSE, LINEAR
from tests.values import d


def test_a_linear_position_is_worth_quantity_times_price_in_quote() -> None:
    assert notional(LINEAR, d("-0.5"), d(60_000)) == quote_value(LINEAR, d("-0.5"), d(60_000)) == 30_000
    assert value(LINEAR, d("-0.5"), d(60_000)) == -30_000
    assert quantity_of(LINEAR, d(30_000), d(60_000)) == d("0.5")


def test_inverse_contracts_are_worth_coins_and_always_the_same_quote() -> None:
    assert notional(INVERSE, d(-300), d(60_000)) == d("0.5")
    assert quote_value(INVERSE, d(-300), d(60_000)) == quote_value(INVERSE, d(300), d(10)) == 30_000
    assert quantity_of(INVERSE, d(30_000), d(60_000)) == 300


def test_a_future_counts_with_its_multiplier() -> None:
    rebar = attrs.evolve(LINEAR, kind=InstrumentKind.FUTURE, multiplier=d(10))

    assert notional(rebar, d(3), d(3_778)) == 113_340
    assert profit(rebar, d(-3), d(3_778), d(3_770)) == 240


def test_a_long_of_an_inverse_contract_earns_coins_when_the_price_rises() -> None:
    gained = profit(INVERSE, d(1_000), d(10_000), d(11_000))

    assert round(gained, 8) == d("0.90909091")
    assert profit(INVERSE, d(-1_000), d(10_000), d(11_000)) == -gained


def test_the_average_of_inverse_entries_is_harmonic() -> None:
    position = Position.of(INVERSE)
    for price in (d(10_000), d(20_000)):
        position = apply_fill(position, signed_quantity=d(100), price=price).position

    assert round(position.price, 6) == d("13333.333333")
    assert position.cost == d("1.5")
    assert position.profit(d(20_000)) == d("0.5")
    assert position.worth(d(20_000)) == 1


def test_a_flat_position_has_no_average_price() -> None:
    assert average_price(d(0), d(0), d(1), inverse=True) == average_price(d(1), d(0), d(1), inverse=True) == 0


def test_closing_part_of_an_inverse_short_realises_its_share() -> None:
    short = apply_fill(Position.of(INVERSE), signed_quantity=d(-200), price=d(10_000)).position

    position, opened, closed, realised = apply_fill(short, signed_quantity=d(300), price=d(8_000))

    assert (opened, closed, realised) == (100, 200, d("0.5"))
    assert (position.quantity, position.price) == (100, 8_000)


@pytest.mark.parametrize("instrument", [LINEAR, INVERSE])
def test_the_digits_of_the_caller_do_not_matter(instrument: Instrument) -> None:
    with localcontext() as context:
        context.prec = 3
        rough = profit(instrument, d("7.123"), d("60123.4"), d("61234.5"))

    assert rough == profit(instrument, d("7.123"), d("60123.4"), d("61234.5"))
    assert isinstance(rough, Decimal)
