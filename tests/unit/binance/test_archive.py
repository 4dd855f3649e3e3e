"""Binance's monthly files: their place, their two units of time, their checksums."""

import asyncio
import csv
import gzip
import hashlib
import io
import zipfile
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.errors import DataError, RateLimitedError, TransportError
from btx.model.instrument import InstrumentKind
from btx.model.time import NS_PER_MINUTE, Interval, iso
from btx.rules.history import examined
from btx_binance.archive import bars_of, file_path
from btx_binance.spot.feed import SpotFeed
from tests.unit.binance.loopback import Handler, connected, instrument, serve

MINUTE = Interval.parse("1m")
ROW = "65000.00000000,65010.50000000,64990.10000000,65001.00000000,12.34567000"
REST = "802469.12345678,321,6.1,396000.5,0"
OF_2024 = f"1733011200000,{ROW},1733011259999,{REST}\n1733011260000,{ROW},1733011319999,{REST}\n"
OF_2025 = f"1735689600000000,{ROW},1735689659999999,{REST}\n"
NAMES = (
    "open_time,open,high,low,close,volume,close_time,"
    "quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n"
)
PLACE = "/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip"


def zipped(text: str, *names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in names or ("table.csv",):
            file.writestr(name, text)
    return packed.getvalue()


def read(data: bytes) -> Any:
    return bars_of(data, "x.zip", symbol="BTC/USDT", interval=MINUTE)


@pytest.mark.parametrize(
    ("kind", "interval", "path"),
    [
        (InstrumentKind.SPOT, "1m", "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-06.zip"),
        (InstrumentKind.LINEAR, "4h", "data/futures/um/monthly/klines/BTCUSDT/4h/BTCUSDT-4h-2025-06.zip"),
        (InstrumentKind.INVERSE, "1M", "data/futures/cm/monthly/klines/BTCUSDT/1mo/BTCUSDT-1mo-2025-06.zip"),
    ],
)
def test_a_file_lies_where_binance_says(kind: InstrumentKind, interval: str, path: str) -> None:
    assert file_path(attrs.evolve(instrument(), kind=kind), Interval.parse(interval), 2025, 6) == path


def test_the_second_volume_of_an_inverse_contract_is_of_coins_and_left_out() -> None:
    row = "1751328000000,1,2,0.5,1.5,206,1751328059999,2.13,48,119,1.2,0\n"

    (linear,) = bars_of(zipped(row), "x.zip", symbol="a", interval=MINUTE, kind=InstrumentKind.LINEAR)
    (inverse,) = bars_of(zipped(row), "x.zip", symbol="a", interval=MINUTE, kind=InstrumentKind.INVERSE)

    assert (linear.volume, linear.quote_volume) == (Decimal(206), Decimal("2.13"))
    assert (inverse.volume, inverse.quote_volume) == (Decimal(206), None)


def test_times_are_milliseconds_before_2025_and_microseconds_since() -> None:
    old, new = read(zipped(OF_2024)), read(zipped(OF_2025))

    assert [iso(one.open_ns) for one in (*old, *new)] == [
        "2024-12-01T00:00:00.000Z",
        "2024-12-01T00:01:00.000Z",
        "2025-01-01T00:00:00.000Z",
    ]
    assert [one.close_ns - one.open_ns for one in (*old, *new)] == [NS_PER_MINUTE] * 3
    assert new[0].high == Decimal("65010.5")
    assert (new[0].quote_volume, new[0].trades) == (Decimal("802469.12345678"), 321)


def test_a_line_of_names_is_no_bar() -> None:
    assert read(zipped(NAMES + OF_2024)) == read(zipped(OF_2024))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"no zip", "x.zip is no zip file of one table"),
        (zipped(OF_2024, "a.csv", "b.csv"), "x.zip is no zip file of one table"),
        (zipped(OF_2024)[:-40], "x.zip is no zip file of one table"),
        (zipped(OF_2024 + "1,2\n"), "x.zip, line 3, cannot be read: IndexError"),
        (zipped(OF_2024 + NAMES), "x.zip, line 3, cannot be read: ValueError"),
        (zipped(OF_2024.replace("65000", "x")), "x.zip, line 1, cannot be read: InvalidOperation"),
    ],
)
def test_what_is_no_table_of_klines_is_named(data: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text):
        read(data)


def test_a_real_file_is_read_and_sound(btx_data: Path) -> None:
    path = btx_data / "klines/binance_usdm_LINKUSDT-1m-2023-02.official.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()

    bars = bars_of(zipped(text), path.name, symbol="LINK/USDT:USDT", interval=MINUTE)

    assert len(bars) == 40_320
    span = (bars[0].open_ns, bars[-1].close_ns)
    assert [iso(each) for each in span] == ["2023-02-01T00:00:00.000Z", "2023-03-01T00:00:00.000Z"]
    assert examined(bars, symbol="LINK/USDT:USDT", interval=MINUTE, span=span, settled_ns=2**62) == (bars, ())
    rows = [row for row in csv.reader(io.StringIO(text)) if row[0].isdigit()]
    assert [(one.close, one.quote_volume, one.trades) for one in bars] == [
        (Decimal(row[4]), Decimal(row[7]), int(row[8])) for row in rows
    ]


# --- over the wire ----------------------------------------------------------------------------------------------


def body(data: bytes, status: int = 200, **headers: str) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=data, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handle


@asynccontextmanager
async def archive_of(file: Handler | None, checksum: Handler | None) -> Any:
    """A feed whose archive has this file and this checksum; it is closed at the end."""
    handlers = {f"GET {PLACE}": file, f"GET {PLACE}.CHECKSUM": checksum}
    async with serve({route: handler for route, handler in handlers.items() if handler is not None}) as where:
        there = attrs.evolve(where, extra={"archive": where.rest})
        async with connected(there, key="", secret="") as context:
            feed = SpotFeed(context)

            async def fetch(month: int = 1) -> Any:
                return await feed.archive(instrument=instrument(), interval=MINUTE, year=2025, month=month)

            yield fetch


def run(*handlers: Handler | None, month: int = 1) -> Any:
    async def ask() -> Any:
        async with archive_of(*handlers) as fetch:
            return await fetch(month)

    return asyncio.run(ask())


DATA = zipped(OF_2025)
TOLD = f"{hashlib.sha256(DATA).hexdigest()}  BTCUSDT-1m-2025-01.zip\n".encode()


def test_a_month_is_fetched_with_its_checksum_and_no_key() -> None:
    (one,) = run(body(DATA), body(TOLD))

    assert (one.symbol, iso(one.open_ns)) == ("BTC/USDT", "2025-01-01T00:00:00.000Z")


@pytest.mark.parametrize("handlers", [(None, None), (None, body(TOLD)), (body(b"", 403), body(b"", 403))])
def test_a_month_that_is_not_there_is_none(handlers: tuple[Handler | None, Handler | None]) -> None:
    assert run(*handlers) is None


@pytest.mark.parametrize("told", [b"", b"0" * 64, TOLD[1:]], ids=["empty", "no name", "cut"])
def test_a_file_that_is_not_what_its_checksum_says_is_refused(told: bytes) -> None:
    with pytest.raises(DataError, match=f"{PLACE[1:]} is not what its checksum says"):
        run(body(DATA), body(told))


@pytest.mark.parametrize(("headers", "wait_s"), [({}, 30.0), ({"Retry_After": "7"}, 7.0)])
def test_an_archive_that_asks_for_patience_is_given_it(headers: dict[str, str], wait_s: float) -> None:
    with pytest.raises(RateLimitedError, match=r"asks for patience \(503\)") as caught:
        run(body(DATA), body(b"slow down", 503, **headers))
    assert caught.value.retry_after_s == wait_s


def test_an_archive_that_breaks_was_not_reached() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    with pytest.raises(TransportError, match="answers 500"):
        run(body(b"", 500), body(TOLD))
    with pytest.raises(TransportError, match="was not reached"):
        run(cut, body(TOLD))
