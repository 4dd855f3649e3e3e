import itertools

from hypothesis import given
from hypothesis import strategies as st

from btx.model.time import NS_PER_DAY, NS_PER_HOUR, Interval
from btx.rules.spans import clipped, first_open, joined, months, without

spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6)


def points(pieces: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> set[int]:
    return {point for start, end in pieces for point in range(start, end)}


def test_pieces_are_joined_where_they_touch_and_empty_ones_are_none() -> None:
    assert joined([(5, 7), (0, 2), (2, 3), (1, 2), (9, 9), (6, 6)]) == ((0, 3), (5, 7))


def test_what_is_taken_away_leaves_what_is_before_between_and_behind_it() -> None:
    assert without([(0, 10), (20, 30)], [(2, 4), (6, 6), (8, 25)]) == ((0, 2), (4, 8), (25, 30))


def test_what_is_outside_is_clipped() -> None:
    assert clipped([(0, 4), (6, 9), (12, 15)], 2, 8) == ((2, 4), (6, 8))


@given(spans)
def test_joined_covers_the_same_in_as_few_pieces_as_can_be(pieces: list[tuple[int, int]]) -> None:
    whole = joined(pieces)

    assert points(whole) == points(pieces)
    assert all(start < end for start, end in whole)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(whole))


@given(spans, spans)
def test_without_leaves_what_the_others_do_not_cover(
    pieces: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    assert points(without(pieces, others)) == points(pieces) - points(others)


@given(spans, st.integers(0, 20), st.integers(0, 20))
def test_clipped_stays_inside(pieces: list[tuple[int, int]], start: int, end: int) -> None:
    assert points(clipped(pieces, start, end)) == points(pieces) & set(range(start, end))


def test_the_first_open_is_at_or_after_the_time() -> None:
    hour = Interval.parse("1h")

    assert first_open(hour, NS_PER_HOUR) == NS_PER_HOUR
    assert first_open(hour, NS_PER_HOUR + 1) == 2 * NS_PER_HOUR


def test_months_are_those_of_the_calendar() -> None:
    assert list(months(NS_PER_DAY, 40 * NS_PER_DAY)) == [(0, 31 * NS_PER_DAY), (31 * NS_PER_DAY, 59 * NS_PER_DAY)]
    assert list(months(5, 5)) == []
