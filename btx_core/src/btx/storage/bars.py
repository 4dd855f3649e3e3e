"""The history cache: closed bars in monthly Parquet files, for many readers and writers at once.

``folder/SYMBOL/INTERVAL/2025-06.parquet``, the folder as :func:`~btx.storage.places.history_folder`
says.  Writers of one file take turns; each reads it, joins its bars to it, and puts a whole new file
in its place, so that a reader finds the old one or the new one, whenever anybody dies.
Importing this loads numpy and pyarrow: do it where bars are wanted.
"""

import contextlib
import datetime
import logging
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import attrs
import numpy as np

from btx.errors import ConfigError, DataError
from btx.model.history import Damage, Span, Stock
from btx.model.market import Bar, BarColumns
from btx.model.time import Interval, IntervalUnit
from btx.rules.spans import clipped, first_open, joined, months, without
from btx.storage.lock import turn
from btx.storage.partition import Head, Partition, decode, encode, read_head

__all__ = ("BarStore",)

_log = logging.getLogger(__name__)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SUFFIX = ".parquet"


class BarStore:
    """The bars of one market of one world; see :class:`btx.ports.BarCache`. Any thread, any process.

    ``note`` is told what became of a file that could not be trusted.
    """

    def __init__(self, folder: Path, *, note: Callable[[str], None] = _log.warning) -> None:
        self.folder = folder
        self._note = note

    # --- reading ------------------------------------------------------------------------------------------------

    def missing(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> tuple[Span, ...]:
        """Return the pieces of ``[start_ns, end_ns)`` whose bars were not fetched so far, in order.

        A damaged file is set aside, and what it held is missing.

        Raises:
            ConfigError: a later version of btx wrote a file.
        """
        wanted = (first_open(interval, start_ns), first_open(interval, end_ns))
        covered: list[Span] = []
        for month in months(*wanted):
            path = self._path(symbol, interval, month[0])
            try:
                head = _head(path, symbol, interval)
            except DataError as error:
                self._set_aside(path, symbol, interval)
                self._note(f"{error}; it is fetched again")
            else:
                covered += head.covered if head is not None else ()
        return without([wanted], covered)

    def columns(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> BarColumns:
        """Return what is there of the bars that open in ``[start_ns, end_ns)``, as floats, in bulk.

        Raises:
            DataError: a file is damaged; it is set aside, so that it is fetched again.
            ConfigError: a later version of btx wrote a file.
        """
        parts = list(self._parts(symbol, interval, start_ns, end_ns, for_floats=True))
        return BarColumns(
            symbol=symbol,
            interval=interval,
            open_ns=_whole_numbers([part.open_ns for part in parts]),
            close_ns=_whole_numbers([part.close_ns for part in parts]),
            **{name: _floats([part.exact[name].floats() for part in parts]) for name in _FLOATS},
        )

    def bars(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> list[Bar]:
        """Return what is there of the bars that open in ``[start_ns, end_ns)``, exactly as the venue told them.

        Raises: as :meth:`columns`.
        """
        parts = self._parts(symbol, interval, start_ns, end_ns)
        return [bar for part in parts for bar in part.bars()]

    def ls(self) -> tuple[Stock, ...]:
        """Return every month that is kept, by symbol and interval, oldest first; damaged ones are left out."""
        found = []
        for path in self._files():
            with contextlib.suppress(DataError, ConfigError, FileNotFoundError):
                found.append(_stock(path))
        return tuple(sorted(found, key=lambda each: (each.symbol, each.interval.nominal_ns, each.start_ns)))

    def verify(self) -> tuple[Damage, ...]:
        """Read every file from the first byte to the last, and return what cannot be trusted; nothing is changed."""
        found = []
        for path in self._files():
            try:
                stock = _stock(path)
                partition = decode(path.read_bytes())
            except FileNotFoundError:
                continue  # removed meanwhile
            except (DataError, ConfigError) as error:
                found.append(Damage(place=str(path), reason=str(error)))
                continue
            if path != self._path(stock.symbol, stock.interval, stock.start_ns):
                found.append(Damage(place=str(path), reason=f"it holds {stock.symbol} {stock.interval}: it was moved"))
            elif not _is_in_order(partition, stock):
                found.append(Damage(place=str(path), reason="its bars are not in order, each once, all of its month"))
        return tuple(found)

    def _parts(
        self, symbol: str, interval: Interval, start_ns: int, end_ns: int, *, for_floats: bool = False
    ) -> Iterator[Partition]:
        for month in months(start_ns, end_ns):
            path = self._path(symbol, interval, month[0])
            try:
                partition = _read(path, symbol, interval, for_floats=for_floats)
            except DataError as error:
                self._set_aside(path, symbol, interval)
                raise DataError(
                    f"{error}. It is set aside as {_aside(path).name}: fetch it again, `btx history download` does"
                ) from error
            if partition is not None:
                yield partition.between(start_ns, end_ns)

    # --- writing ------------------------------------------------------------------------------------------------

    def put(
        self,
        symbol: str,
        interval: Interval,
        bars: Sequence[Bar],
        *,
        covered: Sequence[Span],
        source: str,
        remarks: Sequence[str] = (),
    ) -> None:
        """Add closed bars, and that nothing else is to be had in the ``covered`` pieces.

        A bar that is there already is replaced. Returns when all of it is on disk.

        Raises:
            DataError: a bar is none of this series, still forms, or has a number that cannot be kept.
            OSError: it cannot be written.
        """
        for bar in bars:
            if bar.symbol != symbol or bar.interval != interval or not bar.is_closed:
                raise DataError(f"this is no closed {interval} bar of {symbol}: {bar}")
        spans = [*covered, *((bar.open_ns, bar.open_ns + 1) for bar in bars)]
        if not spans:
            return
        by_month: dict[int, list[Bar]] = {}
        for bar in bars:
            by_month.setdefault(_month_of(bar.open_ns), []).append(bar)
        for start_ns, end_ns in months(min(start for start, _ in spans), max(end for _, end in spans)):
            part = clipped(covered, start_ns, end_ns)
            if part or start_ns in by_month:
                head = Head(symbol=symbol, interval=interval, covered=part, sources=(source,), remarks=tuple(remarks))
                self._add(self._path(symbol, interval, start_ns), Partition.of(head, by_month.get(start_ns, ())))

    def rm(self, symbol: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> int:
        """Remove the bars that open in ``[start_ns, end_ns)``, damaged files too; return how many bars went.

        Without a start or an end everything before or after goes.

        Raises:
            OSError: a file cannot be written or removed.
        """
        gone = 0
        folder = self._folder(symbol, interval)
        for path in sorted(folder.glob(f"[0-9]*{_SUFFIX}")):
            month = _month_span(path)
            first_ns = month[0] if start_ns is None else max(start_ns, month[0])
            last_ns = month[1] if end_ns is None else min(end_ns, month[1])
            if first_ns < last_ns:
                gone += self._remove(path, symbol, interval, (first_ns, last_ns))
        return gone

    def _add(self, path: Path, newer: Partition) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with turn(path):
            try:
                old = _read(path, newer.head.symbol, newer.head.interval)
            except DataError as error:
                path.replace(_aside(path))
                self._note(f"{error}; it is set aside as {_aside(path).name}")
                old = None
            self._write(path, old.merged(newer) if old is not None else newer)

    def _remove(self, path: Path, symbol: str, interval: Interval, span: Span) -> int:
        with turn(path):
            try:
                old = _read(path, symbol, interval)
            except DataError:
                path.unlink()
                return 0
            if old is None:
                return 0
            kept = old.taken((old.open_ns < span[0]) | (old.open_ns >= span[1]))
            covered = without(old.head.covered, [span])
            if len(kept.open_ns) or covered:
                self._write(path, attrs.evolve(kept, head=attrs.evolve(kept.head, covered=covered)))
            else:
                path.unlink()
            return len(old.open_ns) - len(kept.open_ns)

    @staticmethod
    def _write(path: Path, partition: Partition) -> None:
        """Put a whole file in the place of the old one; who calls has his turn at it."""
        data = encode(partition)
        for left in path.parent.glob(f".{path.name}.*.part"):  # of a writer that died in his turn
            left.unlink()
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(data)
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)  # the new name is on disk too
        finally:
            os.close(folder)

    def _set_aside(self, path: Path, symbol: str, interval: Interval) -> None:
        """Rename a damaged file, if it still is: somebody may have put a good one in its place."""
        with turn(path):
            try:
                _read(path, symbol, interval)
            except DataError:
                path.replace(_aside(path))

    # --- places ---------------------------------------------------------------------------------------------------

    def _folder(self, symbol: str, interval: Interval) -> Path:
        # "1mo", as in the venues' own archives: on some file systems 1M and 1m are one name.
        text = f"{interval.count}mo" if interval.unit is IntervalUnit.MONTH else str(interval)
        return self.folder / _file_name(symbol) / text

    def _path(self, symbol: str, interval: Interval, month_ns: int) -> Path:
        moment = _EPOCH + datetime.timedelta(microseconds=month_ns // 1000)
        return self._folder(symbol, interval) / f"{moment:%Y-%m}{_SUFFIX}"

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*/*/[0-9]*{_SUFFIX}"))


_FLOATS = ("open", "high", "low", "close", "volume")
_MONTH = Interval.parse("1M")


def _file_name(symbol: str) -> str:
    """Return ``BTC-USDT`` for ``BTC/USDT``, ``BTC-USDT_USDT`` for ``BTC/USDT:USDT``; no two symbols share a name."""
    plain = symbol.replace("%", "%25").replace("-", "%2D").replace("_", "%5F").replace("/", "-").replace(":", "_")
    return quote(plain, safe="%")


def _read(path: Path, symbol: str, interval: Interval, *, for_floats: bool = False) -> Partition | None:
    """Return a file's bars, None when there is no such file.

    Raises:
        DataError: it is damaged; the message names it.
        ConfigError: a later version of btx wrote it; likewise.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    with _named(path):
        partition = decode(data, for_floats=for_floats)
        _check_series(partition.head, symbol, interval)
    return partition


def _head(path: Path, symbol: str, interval: Interval) -> Head | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    with _named(path):
        head = read_head(data)
        _check_series(head, symbol, interval)
    return head


def _check_series(head: Head, symbol: str, interval: Interval) -> None:
    if (head.symbol, head.interval) != (symbol, interval):
        raise DataError(f"it holds {head.symbol} {head.interval}: it was moved")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _stock(path: Path) -> Stock:
    data = path.read_bytes()
    head = read_head(data)
    start_ns, end_ns = _month_span(path)
    return Stock(
        symbol=head.symbol,
        interval=head.interval,
        start_ns=start_ns,
        end_ns=end_ns,
        covered=joined(head.covered),
        bars=head.rows,
        size_bytes=len(data),
        sources=head.sources,
        remarks=head.remarks,
        place=str(path),
    )


def _is_in_order(partition: Partition, stock: Stock) -> bool:
    open_ns = partition.open_ns
    if len(open_ns) != stock.bars or bool((np.diff(open_ns) <= 0).any()):
        return False
    return not len(open_ns) or (stock.start_ns <= int(open_ns[0]) and int(open_ns[-1]) < stock.end_ns)


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.corrupt")


def _month_of(time_ns: int) -> int:
    return _MONTH.open_of(time_ns)


def _month_span(path: Path) -> Span:
    year, month = path.name.removesuffix(_SUFFIX).split("-")
    moment = datetime.datetime(int(year), int(month), 1, tzinfo=datetime.UTC)
    start_ns = int((moment - _EPOCH).total_seconds()) * 1_000_000_000
    return start_ns, _MONTH.close_of(start_ns)


def _whole_numbers(parts: Sequence[np.ndarray]) -> "array[int]":
    numbers = array("q")
    for part in parts:
        numbers.frombytes(part.astype(np.int64, copy=False).tobytes())
    return numbers


def _floats(parts: Sequence[np.ndarray]) -> "array[float]":
    numbers = array("d")
    for part in parts:
        numbers.frombytes(part.tobytes())
    return numbers
