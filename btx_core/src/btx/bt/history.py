"""Historical data: whole arrays of bars put into backtrader's lines at once."""

import datetime
from array import array
from typing import TYPE_CHECKING, Any

import attrs
import backtrader as bt
import numpy as np

from btx.bt.folds import close_ns_of
from btx.bt.market import Asked, PastMarket
from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import BarColumns
from btx.model.order import PositionSide
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval

if TYPE_CHECKING:
    from btx.bt.backtest import BacktestStore

__all__ = ("HistoryFeed", "HistorySpec")

_EPOCH_DAYS = 719_163.0  # 1970-01-01 as backtrader counts days
_NAN = float("nan")


@attrs.frozen(kw_only=True)
class HistorySpec:
    """What a data was asked to be; where a time is None, the store's period says it."""

    store: "BacktestStore"
    symbol: str
    interval: Interval
    history_ns: int | None = None
    history_bars: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    max_signal_age_ns: int
    position_side: PositionSide = PositionSide.NET  # which position orders on it are for
    beside: Asked = Asked()  # noqa: RUF009 -- frozen


class _Tick:
    """What backtrader's brokers ask of a data under ``tick_*``: its bar, in stock's words and in stock's gaps.

    Stock writes these seven attributes with every bar.  A whole run of closed
    bars needs them nowhere but in the matching of orders, so here they are read.
    """

    def __init__(self, line: str) -> None:
        self._line = line

    def __get__(self, data: Any, _owner: Any = None) -> Any:
        if data is None:
            return self
        if not data.reads_ticks:
            return vars(data).get(f"_tick_{self._line}")
        length = data.lines[0].lencount
        # The vectorised run of stock leaves them empty on the last bar.
        if length == 0 or (data._env._dorunonce and length >= data.buflen()):
            return None
        return getattr(data.lines, self._line)[0]

    def __set__(self, data: Any, value: Any) -> None:
        vars(data)[f"_tick_{self._line}"] = value


class HistoryFeed(bt.feed.DataBase):
    """Closed bars of one instrument, known from the first to the last before the run begins.

    Made by ``store.getdata`` of ``env="backtest"``.  A bar is stamped with its
    close, the right edge; the venue's open time in milliseconds is in the extra
    line ``ts_ms``.  Where backtrader preloads, the arrays become its lines as they
    are; with filters, ``resampledata``, ``replaydata`` or ``exactbars=1`` the bars go
    one by one through backtrader's own machinery.
    """

    lines: Any = ("ts_ms",)  # backtrader makes an object of it
    # Crypto trades around the clock: with the default session end a bar that closes at midnight opens the next day.
    params = (("sessionend", datetime.time(0, 0)), ("btx", None))

    tick_open = _Tick("open")
    tick_high = _Tick("high")
    tick_low = _Tick("low")
    tick_close = _Tick("close")
    tick_volume = _Tick("volume")
    tick_openinterest = _Tick("openinterest")
    tick_ts_ms = _Tick("ts_ms")
    tick_last = _Tick("close")

    def __init__(self) -> None:
        self.interval = self.spec.interval
        self.is_bulk = False  # its lines are whole arrays
        self.reads_ticks = False  # and what brokers ask under tick_* is read from them
        self._rows: dict[str, array[float]] = {}
        self._next_row = 0
        self._live_from_ms = 0.0
        self.market = PastMarket(self.symbol, self.spec.beside, self._mark)

    # --- what users ask ------------------------------------------------------------------------------------

    @property
    def spec(self) -> HistorySpec:
        """What it was asked to be."""
        spec: HistorySpec = self.p.btx
        return spec

    @property
    def store(self) -> "BacktestStore":
        """The store this data came from."""
        return self.spec.store

    @property
    def symbol(self) -> str:
        """The instrument's symbol, like BTC/USDT."""
        return self.spec.symbol

    @property
    def instrument(self) -> Instrument:
        """The instrument, as far as it is known without asking the venue.

        Raises:
            UnknownSymbolError: it is not.
        """
        return self.store.instrument(self.symbol)

    @property
    def is_live(self) -> bool:
        """Say whether the period has begun: what ``backfill=`` asked for comes before it."""
        return bool(len(self)) and self.lines.ts_ms[0] >= self._live_from_ms

    def _mark(self) -> MarkPrice | None:  # a method, because optimisation pickles datas
        return self.store.mark(self)

    # --- what a broker asks that trades as live -----------------------------------------------------------

    is_over = False
    phase = 0

    @property
    def is_starting(self) -> bool:
        """Say whether its history is shown still."""
        return not self.is_live

    @property
    def last_close_ns(self) -> int:
        """Close time of the bar the strategy sees now."""
        return close_ns_of(self.lines)

    @property
    def max_signal_age_ns(self) -> int:
        """How old the last bar may be when an order leaves; as for live data."""
        return self.spec.max_signal_age_ns

    # --- what backtrader asks ------------------------------------------------------------------------------

    def setenvironment(self, env: Any) -> None:
        super().setenvironment(env)
        self.store.join(env)

    def start(self) -> None:
        super().start()
        self.store.start(data=self)
        columns, live_from_ns = self.store.open_bars(self)
        self._rows = _lines_of(columns)
        self._live_from_ms = live_from_ns / NS_PER_MS
        self._next_row = 0
        self.is_bulk = self.reads_ticks = False

    def preload(self) -> None:
        if self._filters or self._tzinput:
            super().preload()
            return
        count = len(self._rows["datetime"])
        for name in self.getlinealiases():
            line = getattr(self.lines, name)
            column = self._rows.pop(name)
            column.extend([_NAN] * line.extension)  # cerebro's lookahead
            line.array = column
            line.lencount, line.idx = count, count - 1
        self.is_bulk = True
        self.reads_ticks = not self._env.p.oldsync  # the old loop leaves more gaps in them than are worth knowing
        self._last()
        self.home()

    def _load(self) -> bool:
        if self.is_bulk or self._next_row >= len(self._rows["datetime"]):
            return False  # in bulk all is there: a second round would play it twice
        row = self._next_row
        self._next_row = row + 1
        for name, column in self._rows.items():
            getattr(self.lines, name)[0] = column[row]
        return True

    def stop(self) -> None:
        super().stop()
        self._rows = {}

    def _tick_nullify(self) -> None:
        if not self.reads_ticks:
            super()._tick_nullify()

    def _tick_fill(self, force: bool = False) -> None:
        if not self.reads_ticks:
            super()._tick_fill(force=force)

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        if not self.reads_ticks or datamaster is not None:
            super().advance(size, datamaster, ticks)
            return
        for line in self.lines.lines:
            line._idx += size
            line.lencount += size


def _lines_of(columns: BarColumns) -> "dict[str, array[float]]":
    """Return a column per line; stamps are equal to backtrader's own ``date2num`` on whole minutes."""
    close_ns = np.frombuffer(columns.close_ns, "i8") if len(columns) else np.zeros(0, "i8")
    open_ns = np.frombuffer(columns.open_ns, "i8") if len(columns) else np.zeros(0, "i8")
    return {
        "datetime": _array(_EPOCH_DAYS + close_ns / NS_PER_DAY),
        "open": columns.open,
        "high": columns.high,
        "low": columns.low,
        "close": columns.close,
        "volume": columns.volume,
        "openinterest": array("d", bytes(8 * len(columns))),
        "ts_ms": _array(open_ns // NS_PER_MS),
    }


def _array(values: Any) -> "array[float]":
    column = array("d")
    column.frombytes(np.ascontiguousarray(values, "f8").tobytes())
    return column
