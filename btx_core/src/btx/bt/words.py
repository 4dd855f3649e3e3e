"""What users write in ``getdata``, read and checked: the same words for every store."""

import datetime
import difflib
import re
from collections.abc import Mapping
from typing import Any

import attrs

from btx.bt.feed import LiveFeed
from btx.bt.timeframes import interval_of
from btx.errors import ConfigError
from btx.model.derivatives import PositionMode
from btx.model.market import OnGap
from btx.model.order import PositionSide
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, parse_duration

__all__ = (
    "Backfill",
    "bar_length",
    "check_fill",
    "check_params",
    "duration_ns",
    "gap_policy",
    "leg_of",
    "period_ns",
    "symbol_of",
)

_SYMBOL = re.compile(r".[/.].")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_GETDATA = (
    *("dataname", "timeframe", "compression", "interval", "backfill", "fromdate", "todate"),
    *(
        "historical",
        "max_signal_age",
        "on_gap",
        "from_trades",
        "fill",
        "quotes",
        "book",
        "trades",
        "position_side",
        "name",
    ),
)


@attrs.frozen
class Backfill:
    """How much history comes first: a time, or a number of bars, or neither."""

    span_ns: int | None = None
    bars: int | None = None

    @classmethod
    def read(cls, backfill: str | int | None, fromdate: datetime.date | None) -> "Backfill":
        """Return what ``backfill=`` says beside ``fromdate=``.

        Raises:
            ConfigError: it is neither a duration nor a number, or ``fromdate`` says it too.
        """
        if backfill is None:
            return cls()
        if fromdate is not None:
            raise ConfigError("backfill= and fromdate= both say where history begins: give one of them")
        if isinstance(backfill, bool) or not isinstance(backfill, str | int):
            raise ConfigError(f"backfill={backfill!r}: write a duration like '2d', or a whole number of bars")
        if isinstance(backfill, str):
            return cls(span_ns=duration_ns("backfill", backfill))
        if backfill < 0:
            raise ConfigError(f"backfill={backfill}: a number of bars is not negative")
        return cls(bars=backfill)


def bar_length(interval: Any, timeframe: Any, compression: Any) -> Interval:
    """Return the length of a bar: ``interval=`` in words, or else ``timeframe=`` and ``compression=``.

    Raises:
        ConfigError: they say none.
    """
    if interval is None:
        return interval_of(timeframe, compression)
    if not isinstance(interval, str):  # backtrader's constants are numbers: 5 would be a day
        raise ConfigError(f"interval={interval!r}: write words like '5s', '4h', '1d', or timeframe= and compression=")
    return interval_of(interval, compression)


def check_params(params: Mapping[str, Any]) -> None:
    """Refuse a word that no data takes: backtrader itself would name its metaclass, and not the word that was meant.

    Raises:
        ConfigError: one is unknown; the message names the nearest.
    """
    declared: Any = LiveFeed.params  # backtrader makes an object of it
    theirs = set(declared._getkeys()) - {"btx"}
    for name in params:
        if name not in theirs:
            near = difflib.get_close_matches(name, (*_GETDATA, *theirs), n=1)
            hint = f"did you mean {near[0]}=?" if near else f"choose of {', '.join(_GETDATA)}"
            raise ConfigError(f"getdata has no option {name}=: {hint}")


def check_fill(fill: str | None) -> None:
    """Refuse what ``fill=`` cannot be.

    Raises:
        ConfigError: it is neither ``"previous"`` nor left out.
    """
    if fill not in {None, "previous"}:
        raise ConfigError(f'fill={fill!r}: write fill="previous", or leave it out')


def symbol_of(dataname: Any) -> str:
    """Return the symbol.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(dataname, str) or not _SYMBOL.search(dataname):
        raise ConfigError(
            f"dataname={dataname!r}: write the symbol with a slash, like 'BTC/USDT', or as its venue writes shares and "
            "futures, with the exchange in front: 'HK.00700'"
        )
    return dataname


def leg_of(word: Any, mode: PositionMode | None, *, is_margined: bool) -> PositionSide:
    """Return which position ``position_side=`` means; of an account in hedge mode the long one where it is left out.

    Raises:
        ConfigError: it is no leg, or the account was loaded without legs.
    """
    if word is None:
        return PositionSide.LONG if mode is PositionMode.HEDGE else PositionSide.NET
    if word not in {"long", "short"}:
        raise ConfigError(f"position_side={word!r}: write 'long' or 'short'")
    if not is_margined or mode is PositionMode.ONE_WAY:
        raise ConfigError(
            f"position_side={word!r} is of hedge mode: write btx.load(..., position_mode='hedge'), or leave it out"
        )
    return PositionSide(word.upper())


def gap_policy(word: Any) -> OnGap:
    """Return what ``on_gap=`` says.

    Raises:
        ConfigError: it is unknown.
    """
    try:
        return OnGap(word)
    except ValueError:
        choice = ", ".join(repr(each.value) for each in OnGap)
        raise ConfigError(f"on_gap={word!r}: choose one of {choice}") from None


def duration_ns(name: str, text: str) -> int:
    """Return a duration like ``"2d"`` in nanoseconds; ``name`` is the word it was given with.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{name}={text!r}: write a duration like '30s', '15m', '12h' or '2d'")
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text!r}: {error}") from None


def period_ns(fromdate: datetime.date | None, todate: datetime.date | None) -> tuple[int | None, int | None]:
    """Return the moments a period begins and ends, in UTC nanoseconds; a last day without a time is a whole one.

    Raises:
        ConfigError: one is no date, or the end is not after the beginning.
    """
    start_ns, end_ns = _moment_ns("fromdate", fromdate), _moment_ns("todate", todate)
    if end_ns is not None and not isinstance(todate, datetime.datetime):
        end_ns += NS_PER_DAY
    if start_ns is not None and end_ns is not None and end_ns <= start_ns:
        raise ConfigError(f"todate={todate} is not after fromdate={fromdate}: give a later one")
    return start_ns, end_ns


def _moment_ns(name: str, moment: datetime.date | None) -> int | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime.date):
        raise ConfigError(f"{name}={moment!r}: give a datetime.date or datetime.datetime")
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time(0, 0))
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    return (aware - _EPOCH) // datetime.timedelta(milliseconds=1) * NS_PER_MS
