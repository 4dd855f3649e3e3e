import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.model.time import (
    NS_PER_DAY,
    NS_PER_HOUR,
    NS_PER_S,
    Interval,
    IntervalUnit,
    from_ms,
    iso,
    parse_duration,
    to_ms,
    to_ms_up,
)

TEXTS = ["1s", "1m", "5m", "1h", "4h", "1d", "3d", "1w", "1M", "3M", "12M"]


def ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp()) * NS_PER_S


def test_milliseconds_become_nanoseconds_and_back() -> None:
    assert from_ms(1748736000123) == 1748736000123000000
    assert to_ms(1748736000123999999) == 1748736000123


def test_a_part_of_a_millisecond_is_cut_off_or_makes_the_next_one_begin() -> None:
    assert [to_ms_up(each) for each in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]


def test_times_are_shown_in_utc_to_the_millisecond() -> None:
    assert iso(1748736000123999999) == "2025-06-01T00:00:00.123Z"


@pytest.mark.parametrize("text", [*TEXTS, "1t", "100t"])
def test_an_interval_reads_as_it_is_written(text: str) -> None:
    assert str(Interval.parse(text)) == text


@pytest.mark.parametrize("text", ["", "h", "1", "0m", "01m", "1y", "1.5h", "4H", "-1m", "1h ", "100000m"])
def test_a_text_that_is_no_interval_is_an_error_that_shows_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="no interval: write a number and one of s m h d w M t"):
        Interval.parse(text)


def test_an_interval_counts_at_least_one() -> None:
    with pytest.raises(ValueError):
        Interval(count=0, unit=IntervalUnit.HOUR)


@pytest.mark.parametrize(
    ("text", "moment", "opens", "closes"),
    [
        ("1m", "2025-06-01T12:34:56", "2025-06-01T12:34:00", "2025-06-01T12:35:00"),
        ("4h", "2025-06-01T15:59:59", "2025-06-01T12:00:00", "2025-06-01T16:00:00"),
        ("1d", "2025-06-01T23:59:59", "2025-06-01T00:00:00", "2025-06-02T00:00:00"),
        ("1w", "2025-06-01T23:59:59", "2025-05-26T00:00:00", "2025-06-02T00:00:00"),
        ("1w", "2025-06-02T00:00:00", "2025-06-02T00:00:00", "2025-06-09T00:00:00"),
        ("1M", "2024-02-29T12:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
        ("1M", "2025-12-31T23:59:59", "2025-12-01T00:00:00", "2026-01-01T00:00:00"),
        ("3M", "2025-06-30T23:59:59", "2025-04-01T00:00:00", "2025-07-01T00:00:00"),
    ],
)
def test_bars_are_cut_on_the_calendar(text: str, moment: str, opens: str, closes: str) -> None:
    interval = Interval.parse(text)

    open_ns = interval.open_of(ns(moment))

    assert open_ns == ns(opens)
    assert interval.close_of(open_ns) == ns(closes)


@given(text=st.sampled_from(TEXTS), time_ns=st.integers(0, 4_000_000_000 * NS_PER_S))
def test_every_moment_is_in_the_bar_that_opens_at_or_before_it(text: str, time_ns: int) -> None:
    interval = Interval.parse(text)

    open_ns = interval.open_of(time_ns)
    close_ns = interval.close_of(open_ns)

    assert open_ns <= time_ns < close_ns
    assert interval.open_of(open_ns) == interval.open_of(close_ns - 1) == open_ns
    assert interval.open_of(close_ns) == close_ns


def test_a_month_is_nominally_thirty_days() -> None:
    assert Interval.parse("2M").nominal_ns == 60 * NS_PER_DAY
    assert Interval.parse("4h").nominal_ns == 4 * NS_PER_HOUR


def test_durations_are_written_like_intervals() -> None:
    assert parse_duration("90s") == 90 * NS_PER_S
    assert parse_duration("2d") == 2 * NS_PER_DAY


def test_a_month_is_no_duration() -> None:
    with pytest.raises(ValueError, match="write days, like '30d'"):
        parse_duration("1M")


def test_bars_of_trades_have_no_length_and_no_time_opens_or_closes_them() -> None:
    hundred = Interval.parse("100t")

    assert hundred.nominal_ns == 0
    assert not hundred.is_timed
    assert Interval.parse("1s").is_timed
    with pytest.raises(ValueError, match="bars of 100t end with a trade"):
        hundred.open_of(0)
    with pytest.raises(ValueError, match="bars of 100t end with a trade"):
        hundred.close_of(0)
    with pytest.raises(ValueError, match="'100t' counts trades"):
        parse_duration("100t")


def test_three_days_are_cut_as_binance_cuts_them() -> None:
    # 2025-06-03T00:00Z opens a 3d kline at the venue.
    opens_ns = 1748908800 * NS_PER_S

    assert Interval.parse("3d").open_of(opens_ns + 1) == opens_ns
    assert Interval.parse("3d").open_of(opens_ns - 1) == opens_ns - 3 * NS_PER_DAY
