"""Binance's public files of klines, a month each: where they are, and how they are read.

Source: https://github.com/binance/binance-public-data (README, read 2026): ``data/spot/monthly/klines/
BTCUSDT/1m/BTCUSDT-1m-2025-06.zip`` with a ``.CHECKSUM`` beside it (``sha256  name``), there from the
first Monday of the next month on; ``1mo`` is written for ``1M``; "the timestamp for SPOT Data from
January 1st 2025 onwards will be in microseconds".  Files of futures have had a line of column names
since 2022, those before and those of spot have none (its issues 246 of 2023-06 and 283 of 2023-10).
A file may lack bars that the REST interface has (issue 304, 2024-01-16).
"""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal

import aiohttp

from btx.bridges.ccxt import scrub
from btx.config import proxy_for, proxy_secrets
from btx.errors import DataError, RateLimitedError, TransportError
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar
from btx.model.time import NS_PER_MS, Interval, IntervalUnit
from btx.ports import Context
from btx_binance.config import endpoints

__all__ = ("Archive", "bars_of", "file_path")

_ADDRESS = "https://data.binance.vision"
_FOLDERS = {
    InstrumentKind.SPOT: "spot",
    InstrumentKind.LINEAR: "futures/um",
    InstrumentKind.INVERSE: "futures/cm",
}
_MICROSECONDS_FROM = 10**14  # as milliseconds that were the year 5138
_NS_PER_US = 1000
_TIMEOUT = aiohttp.ClientTimeout(total=300, connect=30, sock_read=60)
_RETRY_AFTER_S = 30.0  # where the host says "slow down" and not for how long


def file_path(instrument: Instrument, interval: Interval, year: int, month: int) -> str:
    """Return the path of a month's file, below the address of the archive.

    Raises:
        KeyError: Binance has no archive of such instruments.
    """
    text = f"{interval.count}mo" if interval.unit is IntervalUnit.MONTH else str(interval)
    name = instrument.venue_symbol
    folder = f"data/{_FOLDERS[instrument.kind]}/monthly/klines/{name}/{text}"
    return f"{folder}/{name}-{text}-{year:04d}-{month:02d}.zip"


class Archive:
    """The files, over a connection of its own; ``context.resources`` closes it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None

    async def bars(self, instrument: Instrument, interval: Interval, year: int, month: int) -> tuple[Bar, ...] | None:
        """Return a month of bars, None when there is no file of it; see :meth:`btx.ports.Feed.archive`."""
        path = file_path(instrument, interval, year, month)
        checksum = await self._get(f"{path}.CHECKSUM")
        if checksum is None:
            return None
        data = await self._get(path)
        if data is None:
            return None
        found, told = hashlib.sha256(data).hexdigest(), checksum.decode("ascii", "replace").split()[:1]
        if told != [found]:
            raise DataError(
                f"Binance's file {path} is not what its checksum says ({''.join(told)[:12]}..., it has "
                f"{found[:12]}...): it came damaged, or was changed just now; try again"
            )
        return bars_of(data, path, symbol=instrument.symbol, interval=interval, kind=instrument.kind)

    async def _get(self, path: str) -> bytes | None:
        """Return a file, None when there is none.

        Raises:
            TransportError: the archive was not reached, or is broken.
            RateLimitedError: it asks for patience.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
            self._context.resources.push_async_callback(self._session.close)
        simulator, proxy = endpoints(self._context), self._context.settings.proxy
        address = _ADDRESS if simulator is None else simulator.extra["archive"]
        try:
            url = f"{address}/{path}"
            async with self._session.get(url, proxy=proxy_for(url, proxy)) as answer:
                if answer.status in (403, 404):  # the store behind it says 403 of what it must not list
                    return None
                if answer.status in (418, 429, 503):
                    wait = answer.headers.get("Retry-After", "")
                    raise RateLimitedError(
                        f"Binance's archive asks for patience ({answer.status})",
                        retry_after_s=float(wait) if wait.isdigit() else _RETRY_AFTER_S,
                        code=answer.status,
                    )
                if answer.status != 200:
                    raise TransportError(f"Binance's archive answers {answer.status} for {path}")
                return await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            because = scrub(repr(error), proxy_secrets(proxy))  # not chained: the cause has the proxy's login
        raise TransportError(f"Binance's archive was not reached: {because} for {path}")


def bars_of(
    data: bytes, name: str, *, symbol: str, interval: Interval, kind: InstrumentKind = InstrumentKind.SPOT
) -> tuple[Bar, ...]:
    """Return the bars of a zipped file as it is downloaded, in its order.

    Raises:
        DataError: it is no zip of one table of klines; the message says where.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            (member,) = zipped.namelist()
            text = zipped.read(member).decode("ascii")
    except (zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{name} is no zip file of one table: {error}") from error
    return tuple(_bars(text, name, symbol, interval, kind))


def _bars(text: str, name: str, symbol: str, interval: Interval, kind: InstrumentKind) -> Iterator[Bar]:
    for number, row in enumerate(csv.reader(io.StringIO(text)), start=1):
        if number == 1 and row[:1] == ["open_time"]:
            continue
        try:
            stamp = int(row[0])
            open_ns = stamp * (_NS_PER_US if stamp >= _MICROSECONDS_FROM else NS_PER_MS)
            yield Bar(
                symbol=symbol,
                interval=interval,
                open_ns=open_ns,
                close_ns=interval.close_of(open_ns),
                open=Decimal(row[1]),
                high=Decimal(row[2]),
                low=Decimal(row[3]),
                close=Decimal(row[4]),
                volume=Decimal(row[5]),
                quote_volume=Decimal(row[7]) if kind is not InstrumentKind.INVERSE else None,  # of those it is coins
                trades=int(row[8]),
                is_closed=True,
            )
        except (ArithmeticError, LookupError, ValueError) as error:
            raise DataError(f"{name}, line {number}, cannot be read: {error!r} in {','.join(row)[:200]}") from error
