"""When something happened: CTP stamps a time of day, and a date that means something else at each exchange.

ActionDay is the natural day at SHFE and INE, the trading day at DCE's night session; CZCE sends the natural day as
the TradingDay.  So no date is believed by itself: of the moments at which a contract's sessions have this time of
day, on the trading day that is named and those beside it, the one nearest to now is meant, and none that lies
before what was told last.
"""

import datetime
from collections.abc import Iterator

from btx.model.calendar import Calendar
from btx.model.time import NS_PER_DAY, NS_PER_MS, NS_PER_S
from btx.rules.calendar import sessions_of

__all__ = ("bar_open", "moment_of", "trading_date")

_SHANGHAI = datetime.timezone(datetime.timedelta(hours=8))
_SHIFT_NS = 8 * 3600 * NS_PER_S
_EDGE_NS = 60 * NS_PER_S  # auctions before a session, and last words after it
_BESIDE = range(-1, 5)  # trading days around the one that is named
_DAY = datetime.timedelta(days=1)


def trading_date(text: str) -> datetime.date | None:
    """Return the day of a text like 20251103, None where it is none."""
    try:
        return datetime.datetime.strptime(text, "%Y%m%d").replace(tzinfo=_SHANGHAI).date()
    except ValueError:
        return None


def moment_of(
    calendar: Calendar, day: str, clock: str, *, millis: int = 0, near_ns: int, not_before_ns: int = 0
) -> int | None:
    """Return the UTC time, in ns, of a clock in Shanghai (``21:00:01``); None where it shows none."""
    try:
        hours, minutes, seconds = (int(part) for part in clock.split(":"))
    except ValueError:
        return None
    of_day_ns = (hours * 3600 + minutes * 60 + seconds) * NS_PER_S + millis * NS_PER_MS
    named = trading_date(day)
    found = list(_in_sessions(calendar, named, of_day_ns)) if named is not None else []
    today_ns = (near_ns + _SHIFT_NS) // NS_PER_DAY * NS_PER_DAY - _SHIFT_NS
    plain = [today_ns + days * NS_PER_DAY + of_day_ns for days in (-1, 0, 1)]
    later = [each for each in found if each >= not_before_ns]
    return min(later or found or plain, key=lambda each: abs(each - near_ns))


def _in_sessions(calendar: Calendar, day: datetime.date, of_day_ns: int) -> Iterator[int]:
    for beside in _BESIDE:
        for session in sessions_of(calendar, day + beside * _DAY):
            midnight_ns = (session.open_ns + _SHIFT_NS) // NS_PER_DAY * NS_PER_DAY - _SHIFT_NS
            for moment_ns in (midnight_ns + of_day_ns, midnight_ns + NS_PER_DAY + of_day_ns):
                if session.open_ns - _EDGE_NS <= moment_ns <= session.close_ns + _EDGE_NS:
                    yield moment_ns


def bar_open(calendar: Calendar, time_ns: int) -> int:
    """Return the open of the minute that what happened at ``time_ns`` belongs to.

    An auction belongs to the first minute of its session, the last words after a session to its last minute.
    """
    minute_ns = 60 * NS_PER_S
    day = datetime.datetime.fromtimestamp(time_ns // NS_PER_S, _SHANGHAI).date()
    for beside in _BESIDE:
        for session in sessions_of(calendar, day + beside * _DAY) if calendar.hours else ():
            if session.open_ns - _EDGE_NS <= time_ns < session.open_ns:
                return session.open_ns
            if session.close_ns <= time_ns <= session.close_ns + _EDGE_NS:
                return session.close_ns - minute_ns
    return time_ns - time_ns % minute_ns
