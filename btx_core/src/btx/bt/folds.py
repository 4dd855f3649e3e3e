"""Longer bars on backtrader's lines: whole ones (resample), and ones that grow with each part (replay).

Both go by the open and close times of the parts alone, and by no clock: what a
strategy sees live is what it would see of the same bars from a file.

Where the stock ``Resampler`` and ``Replayer`` are right the sequence is theirs. They differ
in this, because the stock ones are wrong, or guess, on data that is not preloaded:

- a bar is closed by the wall clock before its last part has come (parts end up one bar late);
- a part with the stamp of the one before is "late": it is merged away, and trades often share a stamp;
- a trade at the very moment a bar closes belongs to the next bar, as in the klines of venues; the
  stock ones take it into the bar before;
- weeks and months are cut where their last day begins, or one bar after their end; days end with the
  last part at or before midnight only if ``sessionend`` says so;
- lengths that do not divide a day begin anew every midnight; ours are counted on, as venues do;
- extra lines are lost; ours carries the open time of the longer bar in ``ts_ms``.
"""

from decimal import Decimal
from typing import Any

import attrs

from btx.bt.timeframes import interval_of, to_backtrader
from btx.errors import ConfigError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.market import Bar, Trade
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, from_ms, to_ms
from btx.rules.bars import BarFold, Growth, TradeFold, fits, fold, fold_bar, grow

__all__ = ("close_ns_of", "has_own_bar", "replay", "resample", "restart", "write")

_EPOCH_DAYS = 719_163.0  # 1970-01-01 as backtrader counts days
_MS_PER_DAY = NS_PER_DAY // NS_PER_MS
_PRICES = ("open", "high", "low", "close", "volume")


def write(lines: Any, bar: Bar, *, stamp_ns: int | None = None) -> None:
    """Put a bar on a data's lines, stamped with its close or with ``stamp_ns``."""
    lines.datetime[0] = _EPOCH_DAYS + (bar.close_ns if stamp_ns is None else stamp_ns) / NS_PER_DAY
    for name in _PRICES:
        getattr(lines, name)[0] = float(getattr(bar, name))
    lines.openinterest[0] = 0.0
    lines.ts_ms[0] = float(to_ms(bar.open_ns))


def close_ns_of(lines: Any) -> int:
    """Return the stamp of the bar a data shows, to the millisecond."""
    stamp: float = lines.datetime[0]
    return round((stamp - _EPOCH_DAYS) * _MS_PER_DAY) * NS_PER_MS


def has_own_bar(data: Any) -> bool:
    """Say whether a bar waits inside backtrader: pushed back, or rewound because its time has not come."""
    return bool(data._barstack or data._barstash or data.lines[0].lencount < data.buflen())


def resample(data: Any, timeframe: Any, compression: int, options: dict[str, Any]) -> None:
    """Let ``data`` show whole longer bars only.

    Raises:
        ConfigError: its bars do not make such bars, or an option was given that live data have no use for.
    """
    interval = _longer("resampledata", data, timeframe, compression, options)
    make = _Folder if data.interval.is_timed else _TradeFolder
    _install(data, make(data, interval))
    data.interval = interval
    data._timeframe, data._compression = data.p.timeframe, data.p.compression = to_backtrader(interval)


def replay(data: Any, timeframe: Any, compression: int, options: dict[str, Any]) -> None:
    """Let ``data`` show longer bars that grow with each of its own.

    Raises:
        ConfigError: as for :func:`resample`.
    """
    interval = _longer("replaydata", data, timeframe, compression, options)
    _install(data, _Grower(data, interval))
    data.replaying = True
    data._timeframe, data._compression = data.p.timeframe, data.p.compression = to_backtrader(interval)


def restart(data: Any) -> None:
    """Let what makes longer bars forget the run before."""
    for each, _, _ in data._filters:
        if isinstance(each, _Filter):
            each.reset()


def _longer(call: str, data: Any, timeframe: Any, compression: int, options: dict[str, Any]) -> Interval:
    if options:
        raise ConfigError(
            f"{call} on live data takes timeframe and compression, not {', '.join(sorted(options))}: "
            "bars carry their exact close, edges and sessions need no option"
        )
    interval, part = interval_of(timeframe, compression), data.interval
    if data.replaying:
        raise ConfigError(f"{call} on a data that is replayed: its bars change; make both of the data below it")
    if interval == part or not fits(part, interval):
        what = "single trades (compression=1)" if not (part.is_timed and interval.is_timed) else f"a multiple of {part}"
        raise ConfigError(f"{interval} bars cannot be made of {part} bars: choose {what}")
    return interval


def _install(data: Any, made: "_Filter") -> None:
    data.addfilter(made)
    if hasattr(made, "last"):
        data._ffilters.append((made, [], {}))  # backtrader itself looks for it in classes only


class _Filter:
    """What backtrader calls with each bar it loads; True: the bar was taken out."""

    def __init__(self, data: Any, interval: Interval) -> None:
        self._source: Interval = data.interval
        self._interval = interval
        self._symbol = str(data._name)
        self._data = data
        self.reset()

    @property
    def _calendar(self) -> Calendar:
        """When the data trades; known once its store is started."""
        return getattr(self._data, "calendar", ALWAYS)

    def reset(self) -> None:
        """Begin anew."""

    def _part(self, data: Any) -> Bar:
        open_ns = from_ms(int(data.lines.ts_ms[0]))
        values: dict[str, Any] = {name: Decimal(repr(getattr(data.lines, name)[0])) for name in _PRICES}
        close_ns = self._source.close_of(open_ns) if self._source.is_timed else open_ns
        return Bar(
            symbol=self._symbol,
            interval=self._source,
            open_ns=open_ns,
            close_ns=close_ns,
            is_closed=True,
            **values,
        )


class _Folder(_Filter):
    """Makes longer bars of bars; what is not whole yet is taken out.

    A bar whose first part was not seen, or that misses one, is left out: ask the
    venue for it with ``getdata``.
    """

    def reset(self) -> None:
        self._fold = BarFold(interval=self._interval, calendar=self._calendar)

    def __call__(self, data: Any) -> bool:
        self._fold, closed = fold_bar(self._fold, self._part(data))
        if not closed:
            data.backwards()
            return True
        write(data.lines, closed[0])
        return False


class _TradeFolder(_Filter):
    """Makes bars of single trades; one of a time is closed by the first trade after it, or by the end of the data.

    So it comes late when nobody trades: the bars of ``getdata`` close on time.
    """

    def reset(self) -> None:
        self._fold = TradeFold(symbol=self._symbol, interval=self._interval)
        self._count = 0

    def __call__(self, data: Any) -> bool:
        part = self._part(data)
        self._count += 1
        trade = Trade(
            symbol=self._symbol,
            trade_id=self._count,
            price=part.close,
            quantity=part.volume,
            side=Side.BUY,  # which nothing here asks for
            time_ns=part.open_ns,
        )
        self._fold, closed = fold(self._fold, trade)
        if not closed:
            data.backwards()
            return True
        write(data.lines, closed[0])
        return False

    def last(self, data: Any) -> bool:
        """Deliver the last bar at the end of the data if its time is over; what is cut off is left out."""
        forming = self._fold.forming
        if forming is None or not self._interval.is_timed or forming.close_ns > data.end_of_data_ns:
            return False
        self._fold = attrs.evolve(self._fold, forming=None)
        data.forward()
        write(data.lines, forming)
        data._save2stack(erase=True, force=True)
        return True


class _Grower(_Filter):
    """Shows a longer bar from its first part on: same length and place, new values, stamped with the newest part."""

    def reset(self) -> None:
        self._state = Growth(interval=self._interval, calendar=self._calendar)

    def __call__(self, data: Any) -> bool:
        data._tick_fill(force=True)  # the newest part, for brokers that match inside the bar
        part = self._part(data)
        self._state, begins = grow(self._state, part)
        if not begins:
            data.backwards(force=True)
        assert self._state.forming is not None
        write(data.lines, self._state.forming, stamp_ns=part.close_ns)
        return False
