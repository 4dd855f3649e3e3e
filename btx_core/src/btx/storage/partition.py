"""One month of bars as one Parquet file, with a digest over every byte of it.

Columns: ``open_ns``, ``close_ns`` (int64, UTC nanoseconds), ``open``, ``high``, ``low``,
``close``, ``volume``, ``quote_volume`` (decimal128, each with the smallest scale that is
exact), ``trades`` (int64).  What is known besides stands as JSON under ``btx`` in the
file's key-value metadata, the digest under ``btx.digest``: SHA-256 of the file with the
digest's own 64 characters as zeros, so that a flipped bit is found wherever it is.
Importing this loads numpy and pyarrow.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from btx.errors import ConfigError, DataError
from btx.model.history import Span
from btx.model.market import Bar
from btx.model.time import Interval
from btx.rules.spans import joined
from btx.storage.exact import Exact

__all__ = ("Head", "Partition", "decode", "encode", "read_head")

_FORMAT = 1
_KEY = b"btx.digest"
_NO_DIGEST = b"0" * 64
_MARK = re.compile(rb"btx\.digest.{1,4}([0-9a-f]{64})", re.DOTALL)
_PRICES = ("open", "high", "low", "close", "volume")
_EXACT = (*_PRICES, "quote_volume")


@attrs.frozen(kw_only=True)
class Head:
    """What a file says of itself."""

    symbol: str
    interval: Interval
    covered: tuple[Span, ...] = ()
    sources: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    rows: int = 0


@attrs.frozen(kw_only=True, eq=False)
class Partition:
    """Bars in columns, oldest first, each open time once."""

    head: Head
    open_ns: Any  # numpy array of int64
    close_ns: Any
    exact: dict[str, Exact]  # open, high, low, close, volume, quote_volume; when read for floats without the last
    trades: Exact | None = None

    @classmethod
    def of(cls, head: Head, bars: Sequence[Bar]) -> "Partition":
        """Return these bars; of two with one open time the later in the sequence is taken.

        Raises:
            DataError: a number cannot be kept.
        """
        rows = sorted({bar.open_ns: bar for bar in bars}.values(), key=lambda bar: bar.open_ns)
        trades = np.array([bar.trades or 0 for bar in rows], dtype=np.int64)
        known = np.array([bar.trades is not None for bar in rows], dtype=bool)
        return cls(
            head=attrs.evolve(head, rows=len(rows)),
            open_ns=np.array([bar.open_ns for bar in rows], dtype=np.int64),
            close_ns=np.array([bar.close_ns for bar in rows], dtype=np.int64),
            exact={name: Exact.of([getattr(bar, name) for bar in rows]) for name in _EXACT},
            trades=Exact(units=trades, scale=0, known=None if bool(known.all()) else known),
        )

    def bars(self) -> list[Bar]:
        """Return the rows as bars."""
        assert self.trades is not None, "read with all columns"
        columns = zip(
            self.open_ns.tolist(),
            self.close_ns.tolist(),
            *(self.exact[name].decimals() for name in _EXACT),
            self.trades.units.tolist(),
            [True] * len(self.open_ns) if self.trades.known is None else self.trades.known.tolist(),
            strict=True,
        )
        return [
            Bar(
                symbol=self.head.symbol,
                interval=self.head.interval,
                open_ns=open_ns,
                close_ns=close_ns,
                open=first,
                high=high,
                low=low,
                close=close,
                volume=volume,
                quote_volume=quote_volume,
                trades=trades if has_trades else None,
                is_closed=True,
            )
            for open_ns, close_ns, first, high, low, close, volume, quote_volume, trades, has_trades in columns
        ]

    def taken(self, rows: Any) -> "Partition":
        """Return only these rows: a mask, or indices in rising order."""
        open_ns = self.open_ns[rows]
        return attrs.evolve(
            self,
            head=attrs.evolve(self.head, rows=len(open_ns)),
            open_ns=open_ns,
            close_ns=self.close_ns[rows],
            exact={name: column.taken(rows) for name, column in self.exact.items()},
            trades=self.trades.taken(rows) if self.trades is not None else None,
        )

    def between(self, start_ns: int, end_ns: int) -> "Partition":
        """Return the rows that open in ``[start_ns, end_ns)``."""
        first, last = np.searchsorted(self.open_ns, (start_ns, end_ns))
        return self.taken(slice(int(first), int(last)))

    def merged(self, newer: "Partition") -> "Partition":
        """Return the rows of both; where both have one, the newer's."""
        kept = self.taken(~np.isin(self.open_ns, newer.open_ns, assume_unique=True))
        assert kept.trades is not None, "read with all columns"
        assert newer.trades is not None, "read with all columns"
        open_ns = np.concatenate([kept.open_ns, newer.open_ns])
        head = attrs.evolve(
            self.head,
            covered=joined([*self.head.covered, *newer.head.covered]),
            sources=tuple(sorted({*self.head.sources, *newer.head.sources})),
            remarks=tuple(dict.fromkeys([*self.head.remarks, *newer.head.remarks])),
        )
        both = Partition(
            head=head,
            open_ns=open_ns,
            close_ns=np.concatenate([kept.close_ns, newer.close_ns]),
            exact={name: kept.exact[name].joined(newer.exact[name]) for name in _EXACT},
            trades=kept.trades.joined(newer.trades),
        )
        return both.taken(np.argsort(open_ns, kind="stable"))


def encode(partition: Partition) -> bytes:
    """Return the file.

    Raises:
        DataError: a number needs more digits than a file can hold.
    """
    assert partition.trades is not None, "read with all columns"
    trades = partition.trades
    columns = {
        "open_ns": pa.array(partition.open_ns),
        "close_ns": pa.array(partition.close_ns),
        **{name: partition.exact[name].reduced().arrow() for name in _EXACT},
        "trades": pa.array(trades.units, type=pa.int64(), mask=None if trades.known is None else ~trades.known),
    }
    table = pa.table(columns)
    head = partition.head
    fields = {
        "format": _FORMAT,
        "writer": f"btx-core {metadata.version('btx-core')}",
        "symbol": head.symbol,
        "interval": str(head.interval),
        "covered": [list(span) for span in head.covered],
        "sources": list(head.sources),
        "remarks": list(head.remarks),
        "rows": table.num_rows,
    }
    sink = pa.BufferOutputStream()
    short = [name for name, column in columns.items() if not _is_wide(column.type)]
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=False,
        column_encoding=dict.fromkeys(short, "DELTA_BINARY_PACKED"),
        store_decimal_as_integer=True,
        store_schema=False,  # it would repeat in Arrow's words what the file says already
        write_page_checksum=True,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {"btx": json.dumps(fields, ensure_ascii=True), _KEY.decode(): _NO_DIGEST.decode()}
        )
    data = bytearray(sink.getvalue())
    found = _mark(data)
    assert found is not None, "it was just written"
    data[found[0] : found[1]] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def read_head(data: bytes) -> Head:
    """Return what a file says of itself, after looking at every byte.

    Raises:
        DataError: it is damaged, or no file of ours; the message says how.
        ConfigError: a later version wrote it.
    """
    return _head(_opened(data))


def decode(data: bytes, *, for_floats: bool = False) -> Partition:
    """Return the bars of a file, after looking at every byte; ``for_floats`` without quote volume and trades.

    Raises:
        DataError: it is damaged, or no file of ours; the message says how.
        ConfigError: a later version wrote it.
    """
    file = _opened(data)
    head = _head(file)
    names = ("open_ns", "close_ns", *_PRICES) if for_floats else ("open_ns", "close_ns", *_EXACT, "trades")
    try:
        table = file.read(columns=list(names), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"its columns cannot be read: {error}") from error
    trades = None
    if not for_floats:
        column = table["trades"].combine_chunks()
        known = column.is_valid().to_numpy(zero_copy_only=False) if column.null_count else None
        trades = Exact(units=column.fill_null(0).to_numpy(), scale=0, known=known)
    return Partition(
        head=head,
        open_ns=table["open_ns"].to_numpy(),
        close_ns=table["close_ns"].to_numpy(),
        exact={name: Exact.of_arrow(table[name]) for name in names if name in _EXACT},
        trades=trades,
    )


def _opened(data: bytes) -> Any:
    found = _mark(data)
    if found is None:
        raise DataError("it is cut off, or no file of the history cache")
    start, end = found
    digest = hashlib.sha256()
    for part in (data[:start], _NO_DIGEST, data[end:]):
        digest.update(part)
    if digest.hexdigest().encode() != data[start:end]:
        raise DataError("its bytes are not those that were written")
    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"it cannot be read: {error}") from error


def _head(file: Any) -> Head:
    fields = json.loads(file.metadata.metadata[b"btx"])
    if fields["format"] != _FORMAT:
        raise ConfigError(
            f"it has format {fields['format']} of {fields['writer']}, and this btx reads {_FORMAT}: upgrade btx-core"
        )
    return Head(
        symbol=fields["symbol"],
        interval=Interval.parse(fields["interval"]),
        covered=tuple((start_ns, end_ns) for start_ns, end_ns in fields["covered"]),
        sources=tuple(fields["sources"]),
        remarks=tuple(fields["remarks"]),
        rows=fields["rows"],
    )


def _mark(data: bytes | bytearray) -> tuple[int, int] | None:
    """Return where the digest stands."""
    key = data.rfind(_KEY)
    match = _MARK.match(data, key) if key >= 0 else None
    return match.span(1) if match is not None else None


def _is_wide(kind: Any) -> bool:
    return bool(pa.types.is_decimal(kind)) and kind.precision > 18
