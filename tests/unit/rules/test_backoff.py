import pytest

from btx.rules.backoff import Backoff, delay_s

PLAIN = Backoff(base_s=1.0, cap_s=60.0)


@pytest.mark.parametrize(("attempt", "middle_s"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0)])
def test_waits_double(attempt: int, middle_s: float) -> None:
    assert delay_s(PLAIN, attempt=attempt, random=0.5) == middle_s


@pytest.mark.parametrize(("random", "wait_s"), [(0.0, 0.5), (0.25, 0.75), (0.75, 1.25)])
def test_waits_are_spread_by_half_to_either_side(random: float, wait_s: float) -> None:
    assert delay_s(PLAIN, attempt=1, random=random) == wait_s


@pytest.mark.parametrize("attempt", [7, 100, 10**9])
def test_no_wait_is_above_the_cap_and_long_waits_are_spread_too(attempt: int) -> None:
    assert delay_s(PLAIN, attempt=attempt, random=0.0) == pytest.approx(20.0)
    assert delay_s(PLAIN, attempt=attempt, random=0.999999) == pytest.approx(60.0, rel=1e-5)


@pytest.mark.parametrize("wrong", [{"base_s": 0.0}, {"cap_s": -1.0}, {"jitter": 1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Backoff(**wrong)
