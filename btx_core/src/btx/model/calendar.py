"""Calendars: when an instrument trades, and which day that counts to."""

import datetime

import attrs

__all__ = ("ALWAYS", "Calendar", "TradingHours")


@attrs.frozen(kw_only=True)
class TradingHours:
    """One stretch of a trading day, in seconds after its date's midnight in the calendar's zone.

    A night session that belongs to the next trading day begins below zero: 21:00 of the evening before is
    ``-3 * 3600`` where that evening is the calendar day before. Of trading days after a weekend or holiday
    the night session lies on the last trading day's evening; see ``Calendar.skips_night_before_holiday``.
    """

    open_s: int
    close_s: int


@attrs.frozen(kw_only=True)
class Calendar:
    """When an instrument trades; without hours it is 24x7, and a day begins at midnight of the zone."""

    name: str
    zone: str = "UTC"  # IANA name
    hours: tuple[TradingHours, ...] = ()
    weekend: frozenset[int] = frozenset({5, 6})  # Monday is 0; without hours it says nothing
    holidays: frozenset[datetime.date] = frozenset()
    skips_night_before_holiday: bool = False  # no night session before a holiday, as in Chinese futures
    source: str = ""  # the document the hours come from, with its date


ALWAYS = Calendar(name="24x7")
"""Every minute of every day, days cut at 00:00 UTC."""
