import pytest

from btx.model.time import NS_PER_S
from btx.rules.throttle import Meter, observe, reserve, used

TWO_A_MINUTE = Meter(limit=2, window_ns=60 * NS_PER_S)


def test_what_fits_goes_at_once() -> None:
    meter, first_s = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, second_s = reserve(meter, units=1, now_ns=0)

    assert (first_s, second_s) == (0.0, 0.0)
    assert used(meter, now_ns=0) == 2


def test_the_third_of_two_a_minute_waits_until_the_first_is_a_minute_old() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, _ = reserve(meter, units=1, now_ns=3 * NS_PER_S)

    meter, third_s = reserve(meter, units=1, now_ns=5 * NS_PER_S)
    _, fourth_s = reserve(meter, units=1, now_ns=5 * NS_PER_S)

    assert (third_s, fourth_s) == (55.0, 58.0)


def test_a_big_one_waits_for_all_that_is_in_its_way() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, _ = reserve(meter, units=1, now_ns=0)

    _, wait_s = reserve(meter, units=2, now_ns=0)

    assert wait_s == 60.0


def test_nobody_overtakes() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, big_s = reserve(meter, units=2, now_ns=0)

    _, free_s = reserve(meter, units=0, now_ns=0)

    assert big_s == free_s == 60.0


def test_what_is_a_window_old_is_forgotten() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=2, now_ns=0)

    after, wait_s = reserve(meter, units=1, now_ns=60 * NS_PER_S)

    assert wait_s == 0.0
    assert after.spent == ((60 * NS_PER_S, 1),)


@pytest.mark.parametrize("units", [3, -1])
def test_what_no_wait_can_cure_is_an_error(units: int) -> None:
    with pytest.raises(ValueError, match="the limit is 2"):
        reserve(TWO_A_MINUTE, units=units, now_ns=0)


def test_the_venues_higher_count_is_adopted() -> None:
    meter = observe(TWO_A_MINUTE, used_units=2, now_ns=NS_PER_S)

    _, wait_s = reserve(meter, units=1, now_ns=NS_PER_S)

    assert used(meter, now_ns=NS_PER_S) == 2
    assert wait_s == 60.0


@pytest.mark.parametrize("used_units", [0, 2])
def test_the_venues_lower_count_is_no_news(used_units: int) -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=2, now_ns=0)

    assert observe(meter, used_units=used_units, now_ns=0) is meter
