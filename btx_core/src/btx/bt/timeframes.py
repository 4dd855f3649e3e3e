"""backtrader's (timeframe, compression) and our intervals: one table each way."""

from typing import Any

import backtrader as bt

from btx.errors import ConfigError
from btx.model.time import Interval, IntervalUnit

__all__ = ("interval_of", "to_backtrader")

_UNITS = {
    bt.TimeFrame.Ticks: IntervalUnit.TRADE,
    bt.TimeFrame.Seconds: IntervalUnit.SECOND,
    bt.TimeFrame.Minutes: IntervalUnit.MINUTE,
    bt.TimeFrame.Days: IntervalUnit.DAY,
    bt.TimeFrame.Weeks: IntervalUnit.WEEK,
    bt.TimeFrame.Months: IntervalUnit.MONTH,
}
_TIMEFRAMES = {
    IntervalUnit.TRADE: (bt.TimeFrame.Ticks, 1),
    IntervalUnit.SECOND: (bt.TimeFrame.Seconds, 1),
    IntervalUnit.MINUTE: (bt.TimeFrame.Minutes, 1),
    IntervalUnit.HOUR: (bt.TimeFrame.Minutes, 60),
    IntervalUnit.DAY: (bt.TimeFrame.Days, 1),
    IntervalUnit.WEEK: (bt.TimeFrame.Weeks, 1),
    IntervalUnit.MONTH: (bt.TimeFrame.Months, 1),
}
# A day is 24 hours in UTC; seven days are no week, which starts on Monday.
_LARGER = {
    IntervalUnit.SECOND: (60, IntervalUnit.MINUTE),
    IntervalUnit.MINUTE: (60, IntervalUnit.HOUR),
    IntervalUnit.HOUR: (24, IntervalUnit.DAY),
}


def interval_of(timeframe: Any, compression: Any = 1) -> Interval:
    """Return the interval of ``(bt.TimeFrame.Minutes, 240)`` or of words like ``"4h"``, in its largest unit.

    Raises:
        ConfigError: it is neither, or a word comes with a compression.
    """
    if isinstance(timeframe, str):
        if compression != 1:
            raise ConfigError(f"timeframe={timeframe!r} says the length of a bar already: leave compression out")
        try:
            return _in_largest_unit(Interval.parse(timeframe))
        except ValueError as error:
            raise ConfigError(str(error)) from None
    unit = _UNITS.get(timeframe)
    if unit is None or not isinstance(compression, int) or compression < 1:
        raise ConfigError(
            f"timeframe={timeframe!r} with compression={compression!r} is no bar: "
            "use bt.TimeFrame.Ticks, Seconds, Minutes, Days, Weeks or Months, or words like '5s', '4h', '1d'"
        )
    return _in_largest_unit(Interval(count=compression, unit=unit))


def to_backtrader(interval: Interval) -> tuple[Any, int]:
    """Return backtrader's timeframe and compression of an interval."""
    timeframe, factor = _TIMEFRAMES[interval.unit]
    return timeframe, interval.count * factor


def _in_largest_unit(interval: Interval) -> Interval:
    while interval.unit in _LARGER:
        size, unit = _LARGER[interval.unit]
        if interval.count % size:
            break
        interval = Interval(count=interval.count // size, unit=unit)
    return interval
