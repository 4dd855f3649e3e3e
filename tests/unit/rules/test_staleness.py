"""How long a stream may be silent before it is doubted."""

import functools

import pytest

from btx.rules.staleness import Gaps, Patience, observe, patience_s

BOUNDS = Patience(floor_s=5.0, ceiling_s=120.0)


def seen(*pauses_s: float) -> Gaps:
    return functools.reduce(lambda gaps, pause_s: observe(gaps, longest_s=pause_s), pauses_s, Gaps())


def test_a_stream_nobody_knows_yet_is_waited_for_as_long_as_any() -> None:
    assert patience_s(Gaps(), BOUNDS) == patience_s(seen(0.1, 0.1), BOUNDS) == 120.0


@pytest.mark.parametrize(("pause_s", "expected_s"), [(0.01, 5.0), (3.0, 12.0), (100.0, 120.0)])
def test_patience_is_some_of_the_longest_pauses_within_bounds(pause_s: float, expected_s: float) -> None:
    assert patience_s(seen(0.0, 0.0, pause_s), BOUNDS) == expected_s


def test_a_long_pause_is_forgotten_as_the_market_becomes_busy() -> None:
    once = seen(0.1, 0.1, 20.0)

    assert patience_s(functools.reduce(lambda g, _: observe(g, longest_s=0.1), range(200), once), BOUNDS) == 5.0


def test_bounds_are_positive() -> None:
    with pytest.raises(ValueError):
        Patience(floor_s=0.0)
