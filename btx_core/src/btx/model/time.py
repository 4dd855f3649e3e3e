"""Time: integer UTC nanoseconds, and the intervals bars are cut at."""

import datetime
import enum
import re
from typing import Self

import attrs

__all__ = (
    "NS_PER_DAY",
    "NS_PER_HOUR",
    "NS_PER_MINUTE",
    "NS_PER_MS",
    "NS_PER_S",
    "Interval",
    "IntervalUnit",
    "from_ms",
    "iso",
    "parse_duration",
    "to_ms",
    "to_ms_up",
)

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def from_ms(time_ms: int) -> int:
    """Return nanoseconds for a venue's milliseconds."""
    return time_ms * NS_PER_MS


def to_ms(time_ns: int) -> int:
    """Return whole milliseconds, rounded down."""
    return time_ns // NS_PER_MS


def to_ms_up(time_ns: int) -> int:
    """Return whole milliseconds, rounded up: where a question begins, so that what was before does not slip in."""
    return -to_ms(-time_ns)


def iso(time_ns: int) -> str:
    """Return ``2025-06-01T00:00:00.000Z`` for humans; cut to milliseconds."""
    moment = _EPOCH + datetime.timedelta(milliseconds=to_ms(time_ns))
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class IntervalUnit(enum.Enum):
    """The unit an interval counts; the value is how venues and users write it."""

    SECOND = "s"
    MINUTE = "m"
    HOUR = "h"
    DAY = "d"
    WEEK = "w"
    MONTH = "M"
    TRADE = "t"  # no time at all: so many public trades


_UNIT_NS = {
    IntervalUnit.SECOND: NS_PER_S,
    IntervalUnit.MINUTE: NS_PER_MINUTE,
    IntervalUnit.HOUR: NS_PER_HOUR,
    IntervalUnit.DAY: NS_PER_DAY,
    IntervalUnit.WEEK: 7 * NS_PER_DAY,
    IntervalUnit.MONTH: 30 * NS_PER_DAY,
    IntervalUnit.TRADE: 0,
}
# Where counting begins. 1970-01-01 was a Thursday, so Monday lies four days after it (modulo a week).
# Several days together begin on 1970-01-02: so Binance cuts its 3d klines (seen in January to June 2025).
_ORIGIN_NS = {IntervalUnit.WEEK: 4 * NS_PER_DAY, IntervalUnit.DAY: NS_PER_DAY}
_TEXT = re.compile(r"([1-9][0-9]{0,4})([smhdwMt])")


@attrs.frozen(kw_only=True)
class Interval:
    """The length of a bar. Weeks start on Monday 00:00 UTC, months on the first.

    Bars of trades (``100t``) end with a trade, not with a time: to open and close
    them is for whoever counts the trades.
    """

    count: int = attrs.field(validator=attrs.validators.gt(0))
    unit: IntervalUnit

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the interval ``1m``, ``4h``, ``1d``, ``1w``, ``1M`` or ``100t`` spells.

        Raises:
            ValueError: the text is none of these forms.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            msg = f"{text!r} is no interval: write a number and one of s m h d w M t, like '1m' or '4h'"
            raise ValueError(msg)
        return cls(count=int(match[1]), unit=IntervalUnit(match[2]))

    def __str__(self) -> str:
        return f"{self.count}{self.unit.value}"

    @property
    def nominal_ns(self) -> int:
        """Length in nanoseconds; a month counts 30 days, so use it for pacing, never for cutting. 0: of trades."""
        return self.count * _UNIT_NS[self.unit]

    @property
    def is_timed(self) -> bool:
        """Its bars end at a time, and not with a trade."""
        return self.unit is not IntervalUnit.TRADE

    def open_of(self, time_ns: int) -> int:
        """Return the open time of the bar that contains ``time_ns``.

        Raises:
            ValueError: it is an interval of trades.
        """
        self._check_timed()
        if self.unit is IntervalUnit.MONTH:
            moment = _EPOCH + datetime.timedelta(microseconds=time_ns // 1000)
            months = (moment.year - 1970) * 12 + moment.month - 1
            return _month_ns(months - months % self.count)
        origin_ns = _ORIGIN_NS.get(self.unit, 0)
        return time_ns - (time_ns - origin_ns) % self.nominal_ns

    def close_of(self, open_ns: int) -> int:
        """Return the close time (exclusive) of the bar that opens at ``open_ns``.

        Raises:
            ValueError: it is an interval of trades.
        """
        self._check_timed()
        if self.unit is IntervalUnit.MONTH:
            moment = _EPOCH + datetime.timedelta(microseconds=open_ns // 1000)
            return _month_ns((moment.year - 1970) * 12 + moment.month - 1 + self.count)
        return open_ns + self.nominal_ns

    def _check_timed(self) -> None:
        if not self.is_timed:
            raise ValueError(f"bars of {self} end with a trade: no time opens or closes them")


def _month_ns(months: int) -> int:
    moment = datetime.datetime(1970 + months // 12, months % 12 + 1, 1, tzinfo=datetime.UTC)
    return int((moment - _EPOCH).total_seconds()) * NS_PER_S


def parse_duration(text: str) -> int:
    """Return the nanoseconds of ``90s``, ``15m``, ``12h``, ``2d`` or ``1w``.

    Raises:
        ValueError: the text is none of these forms, or counts months or trades.
    """
    interval = Interval.parse(text)
    if not interval.is_timed:
        msg = f"{text!r} counts trades, which take no certain time: write a duration like '15m'"
        raise ValueError(msg)
    if interval.unit is IntervalUnit.MONTH:
        msg = f"{text!r}: a month is no fixed duration; write days, like '30d'"
        raise ValueError(msg)
    return interval.nominal_ns
