import itertools

from hypothesis import given
from hypothesis import strategies as st

from btx.model.time import NS_PER_DAY, NS_PER_HOUR, Interval
from btx.rules.spans import clipped, first_open, joined, months, without

spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6)


def points(pieces: list[tuple[int, int]] | tuple[tuple[int, int], ...]) -> set[int]:
    return {point for start, end in pieces for point in range(start, end)}


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
