from decimal import localcontext

import pytest

from btx.rules.money import EXACT, booked, fine
from tests.values import d


@pytest.mark.parametrize(
    ("amount", "told"),
    [("1.234567899", "1.23456789"), ("-1.234567899", "-1.23456789"), ("0.000000009", "0"), ("7", "7")],
)
def test_what_is_beyond_eight_decimals_is_cut_of_losses_as_of_gains(amount: str, told: str) -> None:
    assert booked(d(amount)) == d(told)


def test_what_divisions_lost_is_not_cut() -> None:
    sixth = fine(EXACT.divide(d(1), d(6)))

    assert EXACT.multiply(sixth, d(3)) != d("0.5")
    assert booked(EXACT.multiply(sixth, d(3))) == d("0.5")
    assert booked(EXACT.multiply(sixth, d(-3))) == d("-0.5")


def test_the_digits_of_the_caller_do_not_matter() -> None:
    with localcontext() as context:
        context.prec = 2
        assert booked(d("123456789.123456789")) == d("123456789.12345678")
