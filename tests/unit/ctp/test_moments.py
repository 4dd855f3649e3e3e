"""A time of day is the moment nearest to now at which the contract trades; no date is believed by itself."""

import datetime
from zoneinfo import ZoneInfo

import pytest

from btx.model.calendar import ALWAYS
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx_ctp.hours import calendar_of
from btx_ctp.moments import bar_open, moment_of, trading_date

SHANGHAI = ZoneInfo("Asia/Shanghai")
RB = calendar_of("rb")


def ns(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("day", "clock", "near", "meant"),
    [
        ("20251104", "21:00:01", "2025-11-03T21:00:02", "2025-11-03T21:00:01"),  # SHFE: the trading day, at night
        ("20251103", "21:00:01", "2025-11-03T21:00:02", "2025-11-03T21:00:01"),  # CZCE: the natural day
        ("20251110", "21:00:01", "2025-11-07T21:00:02", "2025-11-07T21:00:01"),  # of Friday night it is Monday's
        ("20251110", "00:30:00", "2025-11-08T00:30:01", "2025-11-08T00:30:00"),  # and on Saturday, past midnight
        ("20251104", "09:00:00", "2025-11-04T09:00:05", "2025-11-04T09:00:00"),
        ("20251104", "20:59:00", "2025-11-03T20:59:01", "2025-11-03T20:59:00"),  # the auction
        ("20251104", "15:00:00", "2025-11-04T15:00:01", "2025-11-04T15:00:00"),
        ("nothing", "15:00:00", "2025-11-04T15:00:01", "2025-11-04T15:00:00"),
        ("20251104", "17:00:00", "2025-11-04T17:00:01", "2025-11-04T17:00:00"),  # outside all sessions
    ],
)
def test_the_date_is_found(day: str, clock: str, near: str, meant: str) -> None:
    calendar = calendar_of("ag") if clock.startswith("00") else RB

    assert moment_of(calendar, day, clock, near_ns=ns(near)) == ns(meant)


def test_nothing_is_told_that_lies_before_what_was_told_last() -> None:
    friday, monday = ns("2025-11-07T22:59:59"), ns("2025-11-10T09:00:00")

    assert moment_of(RB, "20251110", "09:00:00", near_ns=friday, not_before_ns=friday) == monday


def test_where_nothing_is_known_of_the_hours_the_nearest_day_is_meant() -> None:
    near = ns("2025-11-08T00:00:10")

    assert moment_of(ALWAYS, "20251110", "23:59:59", millis=500, near_ns=near) == near - 10_500_000_000
    assert moment_of(ALWAYS, "20251110", "", near_ns=near) is None
    assert trading_date("") is None


def test_an_auction_is_of_the_first_minute_and_last_words_are_of_the_last() -> None:
    opened, closed = ns("2025-11-03T21:00:00"), ns("2025-11-03T23:00:00")

    assert bar_open(RB, opened - 30 * NS_PER_S) == opened
    assert bar_open(RB, opened + 61 * NS_PER_S) == opened + NS_PER_MINUTE
    assert bar_open(RB, closed) == closed - NS_PER_MINUTE
    assert bar_open(ALWAYS, opened + 61 * NS_PER_S) == opened + NS_PER_MINUTE


@pytest.mark.parametrize(("product", "sessions"), [("rb", 4), ("AP", 3), ("IF", 2), ("T", 2), ("unheard of", 0)])
def test_products_have_their_sessions(product: str, sessions: int) -> None:
    assert len(calendar_of(product).hours) == sessions
