"""When shares trade, market by market: the sessions in which bars are made.

Auctions before the open and after the close belong to the first and the last bar of a day, as in OpenD's bars; half
days (Hong Kong: 24 and 31 December and the eve of the lunar new year; New York: the day after Thanksgiving and
24 December) are taken for whole ones: their afternoon is quiet, and where no bar is that is no gap.

Sources: HKEX, "Trading Hours" and the calendars of 2025 and 2026; NYSE, "Holidays & Trading Hours" of 2025 to 2027.
"""

import datetime

from btx.model.calendar import Calendar, TradingHours
from btx_futu.symbols import PLACES, market_of

__all__ = ("calendar_of",)

_HOUR = 3600


def _days(text: str) -> frozenset[datetime.date]:
    return frozenset(datetime.date.fromisoformat(each) for each in text.split())


_HK_HOLIDAYS = _days(
    "2025-01-01 2025-01-29 2025-01-30 2025-01-31 2025-04-04 2025-04-18 2025-04-21 2025-05-01 2025-05-05 2025-07-01 "
    "2025-10-01 2025-10-07 2025-10-29 2025-12-25 2025-12-26 "
    "2026-01-01 2026-02-17 2026-02-18 2026-02-19 2026-04-03 2026-04-06 2026-04-07 2026-05-01 2026-05-25 2026-06-19 "
    "2026-07-01 2026-10-01 2026-10-19 2026-12-25"
)
_US_HOLIDAYS = _days(
    "2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27 "
    "2025-12-25 2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26 "
    "2026-12-25 2027-01-01 2027-01-18 2027-02-15 2027-03-26 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-11-25 "
    "2027-12-24"
)

_CALENDARS = {
    "hk": Calendar(
        name="HKEX securities",
        zone=PLACES["hk"].zone,
        hours=(
            TradingHours(open_s=9 * _HOUR + 1800, close_s=12 * _HOUR),
            TradingHours(open_s=13 * _HOUR, close_s=16 * _HOUR),
        ),
        holidays=_HK_HOLIDAYS,
        source="HKEX, Trading Hours, and the trading calendars of 2025 and 2026",
    ),
    "us": Calendar(
        name="US equities, regular session",
        zone=PLACES["us"].zone,
        hours=(TradingHours(open_s=9 * _HOUR + 1800, close_s=16 * _HOUR),),
        holidays=_US_HOLIDAYS,
        source="NYSE, Holidays & Trading Hours of 2025 to 2027",
    ),
}


def calendar_of(symbol: str) -> Calendar:
    """Return when a symbol trades.

    Raises:
        UnknownSymbolError: it is not written like one of Futu's.
    """
    return _CALENDARS[market_of(symbol)]
