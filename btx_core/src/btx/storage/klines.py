"""Kline files, CSV and Parquet, read as whole columns and folded into longer bars exact to the last digit."""

import csv
import gzip
import io
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from btx.errors import ConfigError
from btx.model.market import BarColumns
from btx.model.time import (
    NS_PER_DAY,
    NS_PER_HOUR,
    NS_PER_MINUTE,
    NS_PER_MS,
    NS_PER_S,
    Interval,
    IntervalUnit,
)

__all__ = ("FileBars", "fold_columns", "read_klines")

_NAMES = ("open_time", "open", "high", "low", "close", "volume")
_FULL = 12  # columns of the venue's own files: those six, close time, quote volume, count, taker buys, ignored
_FIRST_MICROSECONDS = 10**14  # Binance's public files count microseconds since 2025-01-01
_FIRST_MILLISECONDS = 10**11
_EXACT = 2**51  # whole numbers up to here, over a power of ten, are told apart by their floats
_DECIMALS = 12
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_TIME_NAMES = ("open_time", "open_time_ms", "open_ns", "ts_ms", "timestamp", "time", "datetime", "date")


@attrs.frozen(kw_only=True)
class FileBars:
    """Bars from files, one per symbol."""

    files: dict[str, Path]

    @property
    def is_whole(self) -> bool:
        """A file begins and ends by itself."""
        return True

    @property
    def words(self) -> str:
        return ", ".join(path.name for path in self.files.values())

    def begins_ns(self) -> int:
        """Return when the last of the files begins.

        Raises:
            ConfigError: a file cannot be read.
        """
        return max(read_klines(path, symbol).open_ns[0] for symbol, path in self.files.items())

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:  # noqa: ARG002 -- the whole file, whatever part is asked for
        """Return the bars of a symbol's whole file.

        Raises:
            ConfigError: no file was named for the symbol, it cannot be read, or its bars are too long.
        """
        if symbol not in self.files:
            known = ", ".join(self.files)
            raise ConfigError(
                f"{symbol} has no file: name one, scenario=btx.scenario(data={{{symbol!r}: ...}}); here is {known}"
            )
        path = self.files[symbol]
        return fold_columns(read_klines(path, symbol), interval, where=str(path))


def read_klines(path: Path, symbol: str) -> BarColumns:
    """Read a kline file: CSV of six or twelve columns, plain or gzipped, with or without a header, or Parquet.

    Raises:
        ConfigError: the file cannot be read, or a line is no bar; the message names line and column.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    if data[:4] == _PARQUET:
        stamps, values = _from_parquet(path, data)
        is_text = False
    else:
        data = _plain(path, data)
        stamps, values = _from_csv(path, data)
        is_text = True
    if not len(stamps):
        raise ConfigError(f"{path}: the file has no bars")
    wrong = _first_wrong(stamps, values)
    if wrong is not None:
        row, column, text = wrong
        line = _line_of(data, row) if is_text else f"row {row + 1}"
        raise ConfigError(f"{path} {line}, column {column}: {text}")
    open_ns = np.where(stamps >= _FIRST_MICROSECONDS, stamps * 1000, stamps * NS_PER_MS) if is_text else stamps
    interval = _interval_of(path, open_ns)
    return BarColumns(
        symbol=symbol,
        interval=interval,
        open_ns=_array("q", open_ns),
        close_ns=_array("q", _close_of(interval, open_ns)),
        **{name: _array("d", values[name]) for name in _NAMES[1:]},
    )


# --- folding --------------------------------------------------------------------------------------------


def fold_columns(columns: BarColumns, interval: Interval, *, where: str = "") -> BarColumns:
    """Return longer bars, each of all its parts, as ``rules.bars.fold_bar`` makes them one by one.

    Volumes are added as decimals: the sum is the float nearest to the exact one.

    Raises:
        ConfigError: the bars do not fit into bars of ``interval``.
    """
    if interval == columns.interval or not len(columns):
        return columns
    part_ns = columns.interval.nominal_ns
    whole_ns = NS_PER_DAY if interval.unit is IntervalUnit.MONTH else interval.nominal_ns
    if columns.interval.unit is IntervalUnit.MONTH or interval.nominal_ns < part_ns or whole_ns % part_ns:
        prefix = f"{where}: " if where else ""
        raise ConfigError(f"{prefix}{interval} bars cannot be made of {columns.interval} bars")
    opens, closes = np.frombuffer(columns.open_ns, "i8"), np.frombuffer(columns.close_ns, "i8")
    groups = _open_of(interval, opens)
    first = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
    last = np.concatenate((first[1:], [len(opens)])) - 1
    open_ns = groups[first]
    close_ns = _close_of(interval, open_ns)
    is_whole = (
        (opens[first] == open_ns) & (closes[last] == close_ns) & ((last - first + 1) * part_ns == close_ns - open_ns)
    )
    column = {name: np.frombuffer(getattr(columns, name), "f8") for name in _NAMES[1:]}
    folded = {
        "open": column["open"][first],
        "high": np.maximum.reduceat(column["high"], first),
        "low": np.minimum.reduceat(column["low"], first),
        "close": column["close"][last],
        "volume": _exact_sums(column["volume"], first, last),
    }
    return BarColumns(
        symbol=columns.symbol,
        interval=interval,
        open_ns=_array("q", open_ns[is_whole]),
        close_ns=_array("q", close_ns[is_whole]),
        **{name: _array("d", values[is_whole]) for name, values in folded.items()},
    )


def _exact_sums(values: Any, first: Any, last: Any) -> Any:
    """Add up floats as the decimals they were read from, and return the nearest float of each sum.

    A decimal of so few digits is its float's only one, so the float tells it.
    """
    for decimals in range(_DECIMALS + 1):
        scale = 10.0**decimals
        whole = np.rint(values * scale)
        if np.all(np.abs(whole) < _EXACT) and np.array_equal(whole / scale, values):
            sums = np.add.reduceat(whole.astype("i8"), first)
            if np.all(np.abs(sums) < 2**53):
                return sums / scale
            return np.array([int(each) / 10**decimals for each in sums])
    return np.array([_decimal_sum(values[low : high + 1]) for low, high in zip(first, last, strict=True)])


def _decimal_sum(values: Any) -> float:
    from decimal import Decimal

    return float(sum((Decimal(repr(float(value))) for value in values), Decimal(0)))


def _open_of(interval: Interval, times: Any) -> Any:
    if interval.unit is IntervalUnit.MONTH:
        months = times.astype("M8[ns]").astype("M8[M]").astype("i8")
        return _month_ns(months - months % interval.count)
    origin = interval.open_of(NS_PER_DAY * 14) % interval.nominal_ns  # any opening tells where counting begins
    return times - (times - origin) % interval.nominal_ns


def _close_of(interval: Interval, opens: Any) -> Any:
    if interval.unit is IntervalUnit.MONTH:
        return _month_ns(opens.astype("M8[ns]").astype("M8[M]").astype("i8") + interval.count)
    return opens + interval.nominal_ns


def _month_ns(months: Any) -> Any:
    return months.astype("M8[M]").astype("M8[ns]").astype("i8")


# --- CSV ------------------------------------------------------------------------------------------------


def _plain(path: Path, data: bytes) -> bytes:
    if data[:2] != _GZIP:
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, OSError) as error:
        raise ConfigError(f"{path} is damaged or cut off, fetch it again: {error}") from error


def _from_csv(path: Path, data: bytes) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    head = data[: data.find(b"\n") + 1 or len(data)].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    cells = next(csv.reader([head]), [])
    if not cells:
        raise ConfigError(f"{path}: the file has no bars")
    has_header = not cells[0].strip().isdigit()
    if has_header:
        _check_header(path, cells)
    count = len(cells)
    if count not in (len(_NAMES), _FULL):
        raise ConfigError(f"{path} line 1: {count} columns; a kline file has 6 or 12")
    names = [f"f{number}" for number in range(count)]
    try:
        table = arrow.read_csv(
            pa.BufferReader(data),
            read_options=arrow.ReadOptions(column_names=names, skip_rows=int(has_header)),
            convert_options=arrow.ConvertOptions(
                include_columns=names[:6],
                column_types={name: pa.int64() if name == "f0" else pa.float64() for name in names[:6]},
                null_values=[],
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explained(path, data, count) or ConfigError(f"{path} is no kline file: {error}") from error
    arrays = [table.column(name).to_numpy() for name in names[:6]]
    return arrays[0], dict(zip(_NAMES[1:], arrays[1:], strict=True))


def _check_header(path: Path, cells: list[str]) -> None:
    for number, (name, cell) in enumerate(zip(_NAMES, cells, strict=False), start=1):
        if not cell.strip().lower().replace(" ", "_").startswith(name):
            raise ConfigError(f"{path} line 1, column {number}: {cell.strip()!r} should be {name!r}")


def _explained(path: Path, data: bytes, count: int) -> ConfigError | None:
    """Find the line that the reader stumbled over."""
    for number, cells in _lines(data):
        if len(cells) != count:
            return ConfigError(f"{path} line {number}: {len(cells)} columns where the first line has {count}")
        if not cells[0].strip().isdigit():
            return ConfigError(f"{path} line {number}, column open_time: {cells[0]!r} is no time in milliseconds")
        for name, cell in zip(_NAMES[1:], cells[1:6], strict=True):
            try:
                float(cell)
            except ValueError:
                return ConfigError(f"{path} line {number}, column {name}: {cell!r} is no number")
    return None


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig", "replace")))
    for cells in reader:
        if cells and (reader.line_num > 1 or cells[0].strip().isdigit()):
            yield reader.line_num, cells


def _line_of(data: bytes, row: int) -> str:
    number = next(number for index, (number, _cells) in enumerate(_lines(data)) if index == row)
    return f"line {number}"


# --- Parquet --------------------------------------------------------------------------------------------


def _from_parquet(path: Path, data: bytes) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise ConfigError(f"{path} cannot be read as Parquet: {error}") from error
    names = {name.lower(): name for name in table.column_names}
    stamp = next((names[name] for name in _TIME_NAMES if name in names), None)
    missing = [name for name in _NAMES[1:] if name not in names] + ([] if stamp else ["open_time"])
    if stamp is None or missing:
        raise ConfigError(f"{path} has no column {', '.join(missing)}: bars have {', '.join(_NAMES)}")
    times = table.column(stamp)
    if pa.types.is_timestamp(times.type):
        stamps = times.cast(pa.timestamp("ns", tz=times.type.tz)).to_numpy().astype("i8")
    elif pa.types.is_integer(times.type):
        raw = times.to_numpy().astype("i8")
        # Seconds, milliseconds, microseconds or nanoseconds: of times after 1973 each has digits of its own.
        stamps = raw * next(
            (f for top, f in ((10**11, NS_PER_S), (10**14, NS_PER_MS), (10**17, 1000)) if raw.max(initial=0) < top), 1
        )
    else:
        raise ConfigError(f"{path}, column {stamp}: {times.type} is no time: write timestamps, or whole milliseconds")
    try:
        values = {name: table.column(names[name]).cast(pa.float64()).to_numpy() for name in _NAMES[1:]}
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path}: {error}") from error
    return stamps, values


# --- what bars must be ----------------------------------------------------------------------------------


def _first_wrong(stamps: Any, values: dict[str, Any]) -> tuple[int, str, str] | None:
    """Return the first row that is no bar, its column, and what is wrong with it."""
    open_, high, low, close, volume = (values[name] for name in _NAMES[1:])
    found = []
    checks = (
        ("open_time", stamps < _FIRST_MILLISECONDS, "is no time in milliseconds since 1970"),
        *((name, ~np.isfinite(values[name]), "is no number") for name in _NAMES[1:]),
        ("low", low <= 0, "must be positive"),
        ("high", high < np.maximum(open_, close), "is below open or close"),
        ("low", low > np.minimum(open_, close), "is above open or close"),
        ("volume", volume < 0, "must not be negative"),
        (
            "open_time",
            np.concatenate(([False], stamps[1:] <= stamps[:-1])),
            "the bar does not come after the one before it",
        ),
    )
    for column, is_wrong, text in checks:
        if is_wrong.any():
            found.append((int(np.argmax(is_wrong)), column, text))
    return min(found, default=None)


def _interval_of(path: Path, open_ns: Any) -> Interval:
    """Return what lies between two bars of a file; a single bar is a minute."""
    shortest = int(np.diff(open_ns).min()) if len(open_ns) > 1 else NS_PER_MINUTE
    units = (
        (NS_PER_DAY, IntervalUnit.DAY),
        (NS_PER_HOUR, IntervalUnit.HOUR),
        (NS_PER_MINUTE, IntervalUnit.MINUTE),
        (NS_PER_S, IntervalUnit.SECOND),
    )
    for unit_ns, unit in units:
        if shortest % unit_ns == 0:
            count = shortest // unit_ns
            interval = Interval(count=count, unit=unit)
            if unit is IntervalUnit.DAY and count == 7:
                interval = Interval(count=1, unit=IntervalUnit.WEEK)
            elif unit is IntervalUnit.DAY and count >= 28:
                interval = Interval(count=1, unit=IntervalUnit.MONTH)
            off = np.flatnonzero(_open_of(interval, open_ns) != open_ns)
            if not len(off):
                return interval
            raise ConfigError(f"{path}: bar {int(off[0]) + 1} does not open where a {interval} bar begins")
    raise ConfigError(f"{path}: bars are {shortest} ns apart; a kline file has bars of whole seconds")


def _array(kind: str, values: Any) -> Any:
    column = array(kind)
    column.frombytes(np.ascontiguousarray(values, "i8" if kind == "q" else "f8").tobytes())
    return column
