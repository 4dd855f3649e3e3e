"""Calendars: whether an instrument trades at a moment, when next, and which trading day a moment counts to.

A trading day is a date that is neither weekend nor holiday; its sessions are laid on its midnight in the
calendar's zone, by the wall clock. A session that begins before midnight (below zero) is a night session: it lies on
the evening of the trading day before, so Monday's is on Friday evening. Chinese futures have none on the evening
before a holiday that is no weekend (seen in SHFE's rb2401 of 2023-09-28 to 2023-10-09); other venues do.
Sessions are half-open, [open, close). Times are UTC nanoseconds; zones through the IANA database.
"""

import datetime
import functools
import zoneinfo
from typing import NamedTuple

from btx.model.calendar import Calendar
from btx.model.time import NS_PER_DAY, NS_PER_S, Interval

__all__ = (
    "Session",
    "bars_back",
    "day_bounds",
    "is_open",
    "next_bar",
    "next_open",
    "open_ns_between",
    "sessions_of",
    "trading_day",
)

_DAY = datetime.timedelta(days=1)
_EPOCH = datetime.date(1970, 1, 1)
_SEARCHED_DAYS = 60  # longer than any holiday


class Session(NamedTuple):
    """One stretch of trading, UTC ns: open at ``open_ns``, no longer at ``close_ns``."""

    open_ns: int
    close_ns: int
    day: datetime.date  # the trading day it counts to


def is_open(calendar: Calendar, time_ns: int) -> bool:
    """Say whether the instrument trades at ``time_ns``."""
    if not calendar.hours:
        return True
    session = _next(calendar, time_ns)
    return session is not None and session.open_ns <= time_ns


def next_open(calendar: Calendar, time_ns: int) -> int | None:
    """Return when it trades next: ``time_ns`` itself when it trades; None when it is closed for months."""
    if not calendar.hours:
        return time_ns
    session = _next(calendar, time_ns)
    return None if session is None else max(session.open_ns, time_ns)


def next_bar(calendar: Calendar, interval: Interval, time_ns: int) -> int:
    """Return when the first bar opens, at ``time_ns`` or later, in whose time the instrument trades.

    ``time_ns`` is an edge of the interval's bars; it is returned as it is for bars of trades, and where
    it is closed for months.
    """
    if not calendar.hours or not interval.is_timed:
        return time_ns
    session = _next(calendar, time_ns)
    return time_ns if session is None else max(interval.open_of(session.open_ns), time_ns)


def bars_back(calendar: Calendar, interval: Interval, time_ns: int, count: int) -> int:
    """Return when the oldest of ``count`` bars opens that lie before the one of ``time_ns``.

    Only bars in whose time the instrument trades count; where it was closed for months there are fewer.
    """
    edge_ns = interval.open_of(time_ns)
    if not calendar.hours:
        return edge_ns - count * interval.nominal_ns
    left, quiet, day = count, 0, _date(calendar, edge_ns) + _DAY
    while left and quiet < _SEARCHED_DAYS:
        quiet += 1
        for session in reversed(sessions_of(calendar, day)):
            open_ns = interval.open_of(min(session.close_ns, edge_ns) - 1)
            while left and open_ns < edge_ns and interval.close_of(open_ns) > session.open_ns:
                left, quiet, edge_ns = left - 1, 0, open_ns
                open_ns = interval.open_of(open_ns - 1)
        day -= _DAY
    return edge_ns


def open_ns_between(calendar: Calendar, start_ns: int, end_ns: int) -> int:
    """Return for how long it trades in ``[start_ns, end_ns)``, in nanoseconds; zero where the end is not later."""
    if not calendar.hours:
        return max(end_ns - start_ns, 0)
    total_ns = 0
    while start_ns < end_ns and (session := _next(calendar, start_ns)) is not None and session.open_ns < end_ns:
        total_ns += min(session.close_ns, end_ns) - max(session.open_ns, start_ns)
        start_ns = session.close_ns
    return total_ns


def trading_day(calendar: Calendar, time_ns: int) -> datetime.date | None:
    """Return the day ``time_ns`` counts to: of the session it is in, else of the next one; None as ``next_open``."""
    if not calendar.hours:
        return _date(calendar, time_ns)
    session = _next(calendar, time_ns)
    return None if session is None else session.day


def day_bounds(calendar: Calendar, day: datetime.date) -> tuple[int, int] | None:
    """Return the first open and the last close of a trading day, UTC ns; None when it is none.

    Without hours it is midnight to midnight of the zone, 23 or 25 hours long where clocks change.
    """
    if not calendar.hours:
        return _at(calendar, day, 0), _at(calendar, day + _DAY, 0)
    sessions = sessions_of(calendar, day)
    return (sessions[0].open_ns, sessions[-1].close_ns) if sessions else None


@functools.lru_cache(maxsize=4096)
def sessions_of(calendar: Calendar, day: datetime.date) -> tuple[Session, ...]:
    """Return the sessions that count to ``day``, in the order of time; none when it is no trading day."""
    if not _trades(calendar, day):
        return ()
    found = []
    for hours in calendar.hours:
        base = _night_before(calendar, day) if hours.open_s < 0 else day
        if base is not None:
            found.append(Session(_at(calendar, base, hours.open_s), _at(calendar, base, hours.close_s), day))
    return tuple(sorted(found))


def _night_before(calendar: Calendar, day: datetime.date) -> datetime.date | None:
    """Return the date after the evening on which the night session of ``day`` begins; None when it has none."""
    eve = day - _DAY
    while not _trades(calendar, eve):
        if calendar.skips_night_before_holiday and eve.weekday() not in calendar.weekend:
            return None
        eve -= _DAY
    return eve + _DAY


def _next(calendar: Calendar, time_ns: int) -> Session | None:
    """Return the session ``time_ns`` is in, or else the next one."""
    today = _date(calendar, time_ns)
    for step in range(-1, _SEARCHED_DAYS):
        for session in sessions_of(calendar, today + step * _DAY):
            if session.close_ns > time_ns:
                return session
    return None


def _trades(calendar: Calendar, day: datetime.date) -> bool:
    return day.weekday() not in calendar.weekend and day not in calendar.holidays


def _date(calendar: Calendar, time_ns: int) -> datetime.date:
    if calendar.zone == "UTC":
        return _EPOCH + datetime.timedelta(days=time_ns // NS_PER_DAY)
    moment = datetime.datetime.fromtimestamp(time_ns // NS_PER_S, _zone(calendar.zone))
    return moment.date()


def _at(calendar: Calendar, day: datetime.date, seconds: int) -> int:
    """Return the moment the wall clock of ``day`` shows so many seconds after midnight."""
    days, rest = divmod(seconds, 86_400)
    clock = datetime.time(rest // 3600, rest // 60 % 60, rest % 60)
    moment = datetime.datetime.combine(day + days * _DAY, clock, _zone(calendar.zone))
    return int(moment.timestamp()) * NS_PER_S


@functools.cache
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)
