"""Tapes: one-minute bars as a file gives them, checked line by line."""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import attrs

from btx.errors import ConfigError
from btx.model.instrument import Instrument
from btx.model.time import NS_PER_MINUTE, NS_PER_MS

__all__ = ("Row", "Tape", "grid_of", "load_tape", "read_rows")

_NAMES = ("open_time", "open", "high", "low", "close", "volume")
_FULL = 12  # columns of the venue's own files: those six, close time, quote volume, count, taker buys, ignored
_FIRST_MICROSECONDS = 10**14  # Binance's public files count microseconds since 2025-01-01
_FIRST_MILLISECONDS = 10**11
_SAMPLE_ROWS = 2_000  # of a file, to see its decimals
_SMALLEST = Decimal("0.00000001")  # what any venue writes


class Row(NamedTuple):
    """A one-minute bar; what comes after ``volume`` is None where the source does not tell."""

    open_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None = None
    trades: int | None = None
    taker_buy_volume: Decimal | None = None
    taker_buy_quote_volume: Decimal | None = None


@attrs.frozen(kw_only=True)
class Tape:
    """The bars of one instrument, oldest first, none twice; minutes may be missing."""

    instrument: Instrument
    rows: Sequence[Row] = attrs.field(validator=attrs.validators.min_len(1))
    synthesised: tuple[str, ...]

    @property
    def end_ns(self) -> int:
        return self.rows[-1].open_ns + NS_PER_MINUTE


def load_tape(path: Path, instrument: Instrument) -> Tape:
    """Read a kline file of six or twelve columns, plain or gzipped, with or without a header.

    Raises:
        ConfigError: the file cannot be read, or a line is no one-minute bar; the
            message names line and column.
    """
    rows: list[Row] = []
    for number, row in read_rows(path):
        if rows:
            _check_order(path, number, rows[-1], row)
        rows.append(row)
    if not rows:
        raise ConfigError(f"{path}: the file has no bars")
    _check_spacing(path, rows)
    lacks = ["trades and the path inside each minute", "quotes and the book"]
    if rows[0].quote_volume is None:
        lacks.insert(0, "quote volume, trade count and taker volume")
    return Tape(
        instrument=instrument,
        rows=rows,
        synthesised=tuple(f"{instrument.symbol}: {lack}" for lack in lacks),
    )


def read_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the bars of a kline file with their line numbers, each looked at alone.

    Raises:
        ConfigError: as :func:`load_tape`.
    """
    for number, cells in _lines(path):
        yield number, _row(path, number, cells)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise ConfigError(f"{path} is damaged or cut off, fetch it again: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text file: a kline file is CSV, plain or gzipped") from error
    reader = csv.reader(io.StringIO(text))
    try:
        for cells in reader:
            if not cells:
                continue
            if reader.line_num == 1 and not cells[0].strip().isdigit():
                _check_header(path, cells)
                continue
            yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{path} line {reader.line_num}: {error}; a kline file is CSV") from error


def _check_header(path: Path, cells: list[str]) -> None:
    for number, (name, cell) in enumerate(zip(_NAMES, cells, strict=False), start=1):
        if not cell.strip().lower().replace(" ", "_").startswith(name):
            raise ConfigError(f"{path} line 1, column {number}: {cell.strip()!r} should be {name!r}")


def _row(path: Path, number: int, cells: list[str]) -> Row:
    if len(cells) not in (len(_NAMES), _FULL):
        raise ConfigError(f"{path} line {number}: {len(cells)} columns; a kline file has 6 or 12")
    open_ns = _open_ns(path, number, cells[0])
    values = [_number(path, number, name, cells[i]) for i, name in enumerate(_NAMES[1:], start=1)]
    open_, high, low, close, volume = values
    checks = (
        ("low", low <= 0, "must be positive"),
        ("high", high < max(open_, close), f"{high} is below open or close"),
        ("low", low > min(open_, close), f"{low} is above open or close"),
        ("volume", volume < 0, "must not be negative"),
    )
    for column, is_broken, text in checks:
        if is_broken:
            raise ConfigError(f"{path} line {number}, column {column}: {text}")
    if len(cells) != _FULL:
        return Row(open_ns, open_, high, low, close, volume)
    return Row(
        open_ns,
        open_,
        high,
        low,
        close,
        volume,
        _number(path, number, "quote_volume", cells[7]),
        int(_number(path, number, "count", cells[8])),
        _number(path, number, "taker_buy_volume", cells[9]),
        _number(path, number, "taker_buy_quote_volume", cells[10]),
    )


def _open_ns(path: Path, number: int, cell: str) -> int:
    where = f"{path} line {number}, column open_time"
    if not cell.strip().isdigit():
        raise ConfigError(f"{where}: {cell.strip()!r} is no time in milliseconds")
    stamp = int(cell)
    if stamp < _FIRST_MILLISECONDS:
        raise ConfigError(f"{where}: {stamp} is no time in milliseconds since 1970")
    open_ns = stamp * 1000 if stamp >= _FIRST_MICROSECONDS else stamp * NS_PER_MS
    if open_ns % NS_PER_MINUTE:
        raise ConfigError(f"{where}: {stamp} is not the start of a minute")
    return open_ns


def _number(path: Path, number: int, column: str, cell: str) -> Decimal:
    try:
        value = Decimal(cell.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise ConfigError(f"{path} line {number}, column {column}: {cell.strip()!r} is no number")
    return value


def _check_order(path: Path, number: int, before: Row, row: Row) -> None:
    if row.open_ns <= before.open_ns:
        raise ConfigError(f"{path} line {number}, column open_time: the bar does not come after the one before it")


def _check_spacing(path: Path, rows: list[Row]) -> None:
    gaps = [after.open_ns - before.open_ns for before, after in itertools.pairwise(rows)]
    shortest = min(gaps, default=NS_PER_MINUTE)
    if shortest > NS_PER_MINUTE:
        minutes = shortest // NS_PER_MINUTE
        raise ConfigError(f"{path} line 2, column open_time: bars are {minutes} minutes apart; 1m bars are played")


def grid_of(path: Path) -> tuple[Decimal, Decimal]:
    """Return the smallest price and quantity units that the first rows of a kline file use: one at most.

    Raises:
        ConfigError: it is no kline file.
    """
    tick = step = Decimal(1)
    for _, row in itertools.islice(read_rows(path), _SAMPLE_ROWS):
        tick = min(tick, *map(_unit, (row.open, row.high, row.low, row.close)))
        step = min(step, _unit(row.volume))
    return max(tick, _SMALLEST), max(step, _SMALLEST)


def _unit(value: Decimal) -> Decimal:
    exponent = value.normalize().as_tuple().exponent
    return Decimal(1).scaleb(min(int(exponent), 0))
