"""The venue's public files: the months of klines that are over, zipped, each with its checksum.

https://github.com/binance/binance-public-data, 2026: ``/data/spot/monthly/klines/BTCUSDT/1m/
BTCUSDT-1m-2025-06.zip`` holds one ``.csv`` of the same name, twelve columns as of the REST interface,
no line of names for spot; times in microseconds from 2025-01-01 on; ``1mo`` stands for ``1M``.
The files are here as soon as a month is over, there from its first Monday after.
"""

import datetime
import hashlib
import io
import re
import zipfile
from typing import Any

from aiohttp import web

from btx.model.time import NS_PER_S, Interval, to_ms
from btx.sim.faults import Where
from btx.sim.skin.mishaps import answered, swallowed
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.market_data import INTERVALS, kline_row
from btx_binance.sim.venue import Venue

__all__ = ("add_routes", "month_file")

_FILE = re.compile(r"/data/spot/monthly/klines/([A-Z0-9]+)/(\w+)/\1-\2-([12]\d{3})-(0[1-9]|1[0-2])\.zip(\.CHECKSUM)?")
_MICROSECONDS_FROM_NS = int(datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC).timestamp()) * NS_PER_S
_NAMES = {text.replace("M", "mo"): text for text in INTERVALS}
_MONTH = Interval.parse("1M")
_A_LONG_MONTH = 31 * 24 * 60 + 1  # bars of the shortest interval


def add_routes(app: web.Application, venue: Venue, mishaps: Mishaps) -> None:
    """Serve the files below ``/data``."""
    made: dict[str, bytes] = {}  # the newest: its checksum and the file itself are asked for one after the other

    async def handle(request: web.Request) -> web.StreamResponse:
        action = mishaps.on_request(Where.MARKET, f"GET {request.path}")
        if action and (nothing := await swallowed(mishaps, action, request)) is not None:
            return nothing
        refusal = mishaps.refusal(action) if action else None
        data = _asked(venue, request.path, made)
        if refusal is not None:
            return web.Response(status=refusal.status)
        if data is None:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="text/xml")
        response = web.Response(body=data, content_type="application/octet-stream")
        return await answered(mishaps, action, request, response) if action else response

    app.router.add_route("GET", "/data/{path:.*}", handle)


def _asked(venue: Venue, path: str, made: dict[str, bytes]) -> bytes | None:
    match = _FILE.fullmatch(path)
    if match is None or match[2] not in _NAMES or match[1] not in venue.market.venue_symbols:
        return None
    name = path.removesuffix(".CHECKSUM")
    if name not in made:
        data = month_file(venue, match[1], match[2], int(match[3]), int(match[4]))
        if data is None:
            return None
        made.clear()
        made[name] = data
    if match[5] is None:
        return made[name]
    return f"{hashlib.sha256(made[name]).hexdigest()}  {name.rpartition('/')[2]}\n".encode()


def month_file(venue: Venue, venue_symbol: str, interval_name: str, year: int, month: int) -> bytes | None:
    """Return the zip of a month, None when it is not over or nothing was traded in it."""
    start_ns = int(datetime.datetime(year, month, 1, tzinfo=datetime.UTC).timestamp()) * NS_PER_S
    end_ns = _MONTH.close_of(start_ns)
    if venue.market_ns() < end_ns:
        return None
    bars = venue.market.klines(
        venue_symbol, Interval.parse(_NAMES[interval_name]), start_ns=start_ns, end_ns=end_ns, limit=_A_LONG_MONTH
    )
    if not bars:
        return None
    factor = 1000 if start_ns >= _MICROSECONDS_FROM_NS else 1
    lines = []
    for bar in bars:
        row: list[Any] = kline_row(bar, venue.market.flow(venue_symbol, bar.open_ns, bar.close_ns))
        row[0], row[6] = to_ms(bar.open_ns) * factor, to_ms(bar.close_ns) * factor - 1
        lines.append(",".join(map(str, row)) + "\n")
    name = f"{venue_symbol}-{interval_name}-{year:04d}-{month:02d}.csv"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), "".join(lines), zipfile.ZIP_DEFLATED)
    return packed.getvalue()
