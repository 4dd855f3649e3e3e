import csv
import datetime
import gzip
import json
import zoneinfo
from pathlib import Path

import pytest

from btx.model.calendar import ALWAYS, Calendar, TradingHours
from btx.model.time import NS_PER_HOUR, NS_PER_S, Interval, iso
from btx.rules.calendar import (
    bars_back,
    day_bounds,
    is_open,
    next_bar,
    next_open,
    open_ns_between,
    sessions_of,
    trading_day,
)

HOUR = 3600
MINUTE = Interval.parse("1m")
HOURLY = Interval.parse("1h")


def at(text: str) -> int:
    """Return UTC ns for an ISO time with its offset."""
    return int(datetime.datetime.fromisoformat(text).timestamp()) * NS_PER_S


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


HONG_KONG = Calendar(
    name="HKEX",
    zone="Asia/Hong_Kong",
    hours=(
        TradingHours(open_s=9 * HOUR + 1800, close_s=12 * HOUR),
        TradingHours(open_s=13 * HOUR, close_s=16 * HOUR),
    ),
    holidays=frozenset({day("2024-02-12"), day("2024-02-13")}),
)
SHANGHAI = Calendar(
    name="SHFE rb",
    zone="Asia/Shanghai",
    hours=(
        TradingHours(open_s=-3 * HOUR, close_s=-HOUR),
        TradingHours(open_s=9 * HOUR, close_s=10 * HOUR + 900),
        TradingHours(open_s=10 * HOUR + 1800, close_s=11 * HOUR + 1800),
        TradingHours(open_s=13 * HOUR + 1800, close_s=15 * HOUR),
    ),
    holidays=frozenset(day("2023-09-29") + datetime.timedelta(days=step) for step in range(8)),
    skips_night_before_holiday=True,
)
NEW_YORK = Calendar(
    name="NYSE", zone="America/New_York", hours=(TradingHours(open_s=9 * HOUR + 1800, close_s=16 * HOUR),)
)


def test_without_hours_it_is_always_open_and_a_day_is_a_date_of_the_zone() -> None:
    noon = at("2025-03-08T12:00:00+00:00")

    assert is_open(ALWAYS, noon)
    assert next_open(ALWAYS, noon) == noon
    assert trading_day(ALWAYS, noon) == day("2025-03-08")
    assert day_bounds(ALWAYS, day("2025-03-08")) == (at("2025-03-08T00:00:00+00:00"), at("2025-03-09T00:00:00+00:00"))


def test_a_day_of_a_zone_is_as_long_as_its_clocks_make_it() -> None:
    local = Calendar(name="24x7 of New York", zone="America/New_York")

    spring = day_bounds(local, day("2025-03-09"))
    autumn = day_bounds(local, day("2025-11-02"))

    assert spring is not None
    assert autumn is not None
    assert [(last - first) // NS_PER_HOUR for first, last in (spring, autumn)] == [23, 25]
    assert trading_day(local, at("2025-03-09T03:00:00+00:00")) == day("2025-03-08")


def test_hours_follow_the_wall_clock_when_clocks_change() -> None:
    assert day_bounds(NEW_YORK, day("2025-03-07")) == (at("2025-03-07T14:30:00+00:00"), at("2025-03-07T21:00:00+00:00"))
    assert day_bounds(NEW_YORK, day("2025-03-10")) == (at("2025-03-10T13:30:00+00:00"), at("2025-03-10T20:00:00+00:00"))


@pytest.mark.parametrize(
    ("time", "opens", "next_time"),
    [
        ("2024-02-09T09:29:59", False, "2024-02-09T09:30:00"),
        ("2024-02-09T09:30:00", True, "2024-02-09T09:30:00"),
        ("2024-02-09T12:00:00", False, "2024-02-09T13:00:00"),
        ("2024-02-09T15:59:59", True, "2024-02-09T15:59:59"),
        ("2024-02-09T16:00:00", False, "2024-02-14T09:30:00"),  # a Friday, a weekend and two holidays
    ],
)
def test_lunch_weekend_and_holidays_are_closed(time: str, opens: bool, next_time: str) -> None:
    now, then = at(time + "+08:00"), at(next_time + "+08:00")

    assert is_open(HONG_KONG, now) is opens
    assert next_open(HONG_KONG, now) == then
    assert trading_day(HONG_KONG, now) == day(next_time[:10])


def test_what_never_opens_says_so() -> None:
    never = Calendar(name="closed", hours=HONG_KONG.hours, weekend=frozenset(range(7)))

    assert not is_open(never, 0)
    assert next_open(never, 0) is None
    assert trading_day(never, 0) is None
    assert day_bounds(never, day("2024-02-09")) is None
    assert sessions_of(never, day("2024-02-09")) == ()


def test_a_friday_night_belongs_to_monday() -> None:
    night = at("2023-09-22T21:30:00+08:00")

    assert is_open(SHANGHAI, night)
    assert trading_day(SHANGHAI, night) == day("2023-09-25")
    bounds = day_bounds(SHANGHAI, day("2023-09-25"))
    assert bounds == (at("2023-09-22T21:00:00+08:00"), at("2023-09-25T15:00:00+08:00"))
    assert next_open(SHANGHAI, at("2023-09-22T23:00:00+08:00")) == at("2023-09-25T09:00:00+08:00")


def test_a_night_session_may_end_after_midnight() -> None:
    gold = Calendar(
        name="SHFE au", zone="Asia/Shanghai", hours=(TradingHours(open_s=-3 * HOUR, close_s=2 * HOUR + 1800),)
    )

    assert day_bounds(gold, day("2023-09-25")) == (at("2023-09-22T21:00:00+08:00"), at("2023-09-23T02:30:00+08:00"))
    assert trading_day(gold, at("2023-09-23T02:00:00+08:00")) == day("2023-09-25")


def test_the_evening_before_a_holiday_has_no_night_session_where_the_venue_says_so() -> None:
    eve = at("2023-09-28T21:30:00+08:00")
    other = Calendar(name="other", zone=SHANGHAI.zone, hours=SHANGHAI.hours, holidays=SHANGHAI.holidays)

    assert not is_open(SHANGHAI, eve)
    assert next_open(SHANGHAI, eve) == at("2023-10-09T09:00:00+08:00")
    assert is_open(other, eve)
    assert trading_day(other, eve) == day("2023-10-09")


@pytest.mark.parametrize(
    ("name", "column", "offset"),
    [("SHFE_rb2401_1m_2023-09-25_10-10", "datetime", 60), ("SHFE_ru1901_1m_2018-06", "BeginTime", 0)],
)
def test_recorded_bars_of_a_night_product_lie_in_its_sessions(
    btx_data: Path, name: str, column: str, offset: int
) -> None:
    holidays = frozenset({day("2018-06-18")}) | SHANGHAI.holidays
    calendar = Calendar(
        name="SHFE",
        zone="Asia/Shanghai",
        hours=SHANGHAI.hours,
        holidays=holidays,
        skips_night_before_holiday=True,
    )
    with gzip.open(btx_data / f"cn_futures/{name}.csv.gz", "rt") as lines:
        rows = list(csv.DictReader(lines))
    # A bar of the opening auction is labelled with the opening minute itself, at its end.
    ends = [at(row[column].replace(" ", "T") + "+08:00") for row in rows]
    times = [end if not is_open(calendar, end - offset * NS_PER_S) else end - offset * NS_PER_S for end in ends]

    outside = [iso(time) for time in times if not is_open(calendar, time)]

    assert outside == []
    if "TradingDay" in rows[0]:
        for row, time in zip(rows, times, strict=True):
            assert row["TradingDay"] == f"{trading_day(calendar, time):%Y%m%d}"


@pytest.mark.parametrize(("name", "calendar"), [("Index-hkfe-[*]", HONG_KONG), ("Equity-usa-[*]", NEW_YORK)])
def test_hours_are_those_of_an_independent_table(btx_data: Path, name: str, calendar: Calendar) -> None:
    table = json.loads((btx_data / "reference/lean_market_hours_subset.json").read_text())
    entry = table[name]
    zone = zoneinfo.ZoneInfo(entry["exchangeTimeZone"])

    for date in (day("2024-02-05"), day("2024-07-08")):  # winter and summer time
        spans = [
            tuple(
                datetime.datetime.combine(date, datetime.time.fromisoformat(each[end]), zone).timestamp()
                for end in ("start", "end")
            )
            for each in entry["monday"]
            if each["state"] == "market"
        ]

        assert [(each.open_ns / NS_PER_S, each.close_ns / NS_PER_S) for each in sessions_of(calendar, date)] == spans


@pytest.mark.parametrize(
    ("interval", "moment", "expected"),
    [
        (MINUTE, "2024-02-14T09:59:00+08:00", "2024-02-14T09:59:00+08:00"),  # in a session
        (MINUTE, "2024-02-14T12:00:00+08:00", "2024-02-14T13:00:00+08:00"),  # lunch
        (MINUTE, "2024-02-14T16:00:00+08:00", "2024-02-15T09:30:00+08:00"),  # night
        (MINUTE, "2024-02-09T16:00:00+08:00", "2024-02-14T09:30:00+08:00"),  # weekend and holidays
        (HOURLY, "2024-02-14T16:00:00+08:00", "2024-02-15T09:00:00+08:00"),  # the hour that half of is traded in
        (HOURLY, "2024-02-14T12:00:00+08:00", "2024-02-14T13:00:00+08:00"),
        (Interval.parse("1d"), "2024-02-15T08:00:00+08:00", "2024-02-15T08:00:00+08:00"),
        (Interval.parse("10t"), "2024-02-14T12:30:00+08:00", "2024-02-14T12:30:00+08:00"),
    ],
)
def test_the_next_bar_is_the_next_one_in_whose_time_it_trades(interval: Interval, moment: str, expected: str) -> None:
    assert next_bar(HONG_KONG, interval, at(moment)) == at(expected)
    assert next_bar(ALWAYS, interval, at(moment)) == at(moment)


def test_what_is_closed_for_months_has_its_next_bar_where_one_asks() -> None:
    never = Calendar(name="closed", hours=HONG_KONG.hours, weekend=frozenset(range(7)))
    noon = at("2024-02-14T12:00:00+08:00")

    assert next_bar(never, MINUTE, noon) == noon
    assert bars_back(never, MINUTE, noon, 3) == noon
    assert open_ns_between(never, noon, noon + NS_PER_HOUR) == 0


def test_bars_are_counted_back_over_lunch_nights_and_holidays() -> None:
    open_ = at("2024-02-14T09:31:30+08:00")  # the first day after the new year

    assert bars_back(HONG_KONG, MINUTE, open_, 1) == at("2024-02-14T09:30:00+08:00")
    assert bars_back(HONG_KONG, MINUTE, open_, 3) == at("2024-02-09T15:58:00+08:00")
    assert bars_back(HONG_KONG, MINUTE, at("2024-02-14T13:00:00+08:00"), 2) == at("2024-02-14T11:58:00+08:00")
    assert bars_back(HONG_KONG, HOURLY, open_, 6) == at("2024-02-09T09:00:00+08:00")
    assert bars_back(ALWAYS, HOURLY, open_, 2) == at("2024-02-14T07:00:00+08:00")


def test_only_the_time_in_which_it_trades_counts() -> None:
    friday, monday = at("2024-02-02T15:59:00+08:00"), at("2024-02-05T09:31:00+08:00")

    assert open_ns_between(HONG_KONG, friday, monday) == 2 * 60 * NS_PER_S
    assert open_ns_between(HONG_KONG, monday, friday) == 0
    assert open_ns_between(ALWAYS, friday, monday) == monday - friday
    assert open_ns_between(ALWAYS, monday, friday) == 0
