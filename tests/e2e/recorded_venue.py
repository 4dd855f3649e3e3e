"""A venue that plays a recorded session: its frames over a socket, and what can be asked for by REST at that moment.

The venue is where its cursor is.  ``play`` moves it, to whoever listens; in
``lose`` it moves while nobody hears.  Trades, book and quote behind REST are
kept from the same frames, by nothing of ours.  ``@trade`` is served as
``aggTrade``, each trade an aggregate of its own, so that its ids are dense.
"""

import asyncio
import bisect
import contextlib
import enum
import gzip
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import attrs
from aiohttp import web

_PAGE = 1000
_TURN = 20
_LOOK_S = 0.01  # how soon it is seen that the client of a half-open socket has gone
_AT_ONCE = struct.pack("ii", 1, 0)


@attrs.frozen
class Frame:
    """One line of a recording, as it is served."""

    recv_ns: int  # by the recorder's clock, which is 1.27 s behind the venue's
    stream: str  # "" for the answer of REST that was recorded in between
    data: dict[str, Any]


def frames(path: Path) -> list[Frame]:
    """Read a recording."""
    found = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            message = row["msg"]
            if "stream" not in message:
                found.append(Frame(row["recv_ns"], "", message))
                continue
            symbol, _, kind = message["stream"].partition("@")
            data = message["data"]
            if kind == "trade":
                kind, data = "aggTrade", _aggregate(data)
            elif kind.startswith("depth"):
                kind = "depth@100ms"  # what a client asks for; how fast it came is the recording's
            found.append(Frame(row["recv_ns"], f"{symbol}@{kind}", data))
    return found


def _aggregate(trade: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in trade.items() if name not in ("e", "t", "b", "a")}
    return {**rest, "e": "aggTrade", "a": trade["t"], "f": trade["t"], "l": trade["t"]}


class Cut(enum.Enum):
    """How the socket goes."""

    FIN = enum.auto()
    RESET = enum.auto()
    OK = aiohttp.WSCloseCode.OK
    AWAY = aiohttp.WSCloseCode.GOING_AWAY
    POLICY = aiohttp.WSCloseCode.POLICY_VIOLATION
    HALF_OPEN = enum.auto()
    REFUSED = enum.auto()  # reset, and the next two dials are answered 503


@attrs.define(eq=False)
class _Client:
    socket: web.WebSocketResponse
    transport: asyncio.Transport
    streams: set[str]
    is_mute: bool = False


class RecordedVenue:
    """One recording, being played."""

    def __init__(self, path: Path) -> None:
        self.frames = frames(path)
        self.at = 0  # the next frame
        self.address = ""
        self.dials = 0
        self.requests: list[str] = []
        self.last: dict[str, dict[str, Any]] = {}  # the newest event of each stream
        self._trades: list[dict[str, Any]] = []
        self._ids: list[int] = []
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._update_id = 0
        self._before: list[dict[str, Any]] = []  # changes before the snapshot
        self._has_book = asyncio.Event()
        self._clients: set[_Client] = set()
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._refusals = 0

    # --- serving -------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on loopback; the value is ``host:port``."""
        app = web.Application()
        for base in ("", "/public", "/market"):  # of USD-M's two each carries what was asked for there
            app.router.add_get(f"{base}/stream", self._stream)
        for api in ("/api/v3", "/fapi/v1", "/dapi/v1"):
            app.router.add_get(f"{api}/depth", self._depth)
            app.router.add_get(f"{api}/aggTrades", self._agg_trades)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            self.address = f"{host}:{port}"
            yield self.address
        finally:
            self._ended.set()
            self._end(Cut.RESET)
            await runner.cleanup()

    async def listened(self, streams: set[str]) -> None:
        """Wait until sockets that are heard carry exactly these streams."""
        while {name for client in self._clients if not client.is_mute for name in client.streams} != streams:
            self._changed.clear()
            await self._changed.wait()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.dials += 1
        if self._refusals:
            self._refusals -= 1
            return web.Response(status=503)
        answer = web.WebSocketResponse(autoping=False, autoclose=False, compress=False)
        await answer.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        names = {name for name in request.query.get("streams", "").split("/") if name}
        client = _Client(answer, request.transport, names)
        self._clients.add(client)
        self._changed.set()
        try:
            await self._read(client)
        finally:
            self._clients.discard(client)
            self._changed.set()
        return answer

    async def _read(self, client: _Client) -> None:
        async for message in client.socket:
            if client.is_mute:
                continue
            if message.type is aiohttp.WSMsgType.PING:
                await client.socket.pong(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                asked = json.loads(message.data)
                if asked["method"] == "SUBSCRIBE":
                    client.streams |= set(asked["params"])
                else:
                    client.streams -= set(asked["params"])
                await client.socket.send_json({"result": None, "id": asked["id"]})
                self._changed.set()
        while client.is_mute and not client.transport.is_closing():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _LOOK_S)

    # --- playing -------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        return self.at >= len(self.frames)

    async def play(self, count: int, tick: Callable[[int], None]) -> None:
        """Push the next frames as fast as they are taken; ``tick`` hears when each was received in its day."""
        for frame in self._next(count):
            tick(frame.recv_ns)
            if frame.stream:
                await self._push(frame)
            if not self.at % _TURN:
                await asyncio.sleep(0)  # who reads has its turn

    def lose(self, count: int, tick: Callable[[int], None]) -> None:
        """Let so many frames happen while nobody hears."""
        for frame in self._next(count):
            tick(frame.recv_ns)

    def cut(self, kind: Cut) -> None:
        """Break every socket."""
        if kind is Cut.REFUSED:
            self._refusals = 2
        self._end(kind)

    def _end(self, kind: Cut) -> None:
        for client in tuple(self._clients):
            if kind is Cut.HALF_OPEN:
                client.is_mute = True
                self._changed.set()
                continue
            self._clients.discard(client)
            self._changed.set()
            if isinstance(kind.value, aiohttp.WSCloseCode):
                task = asyncio.ensure_future(client.socket.close(code=kind.value))
                task.add_done_callback(lambda done: done.cancelled() or done.exception())
                continue
            if kind is not Cut.FIN:
                peer = client.transport.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                client.transport.abort()
            else:
                client.transport.close()

    def _next(self, count: int) -> Iterator[Frame]:
        for frame in self.frames[self.at : self.at + count]:
            self.at += 1
            self._know(frame)
            yield frame

    async def _push(self, frame: Frame) -> None:
        text = ""
        for client in tuple(self._clients):
            if frame.stream in client.streams and not client.is_mute:
                text = text or json.dumps({"stream": frame.stream, "data": frame.data})
                with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                    await client.socket.send_str(text)

    # --- what is asked for -----------------------------------------------------------------------------------

    def _know(self, frame: Frame) -> None:
        if not frame.stream:
            self._bids, self._asks = dict(frame.data["bids"]), dict(frame.data["asks"])
            self._update_id = frame.data["lastUpdateId"]
            for earlier in self._before:  # the answer was later than what it does not have
                self._change(earlier)
            self._has_book.set()
            return
        self.last[frame.stream] = frame.data
        if frame.data.get("e") == "aggTrade":
            self._trades.append(frame.data)
            self._ids.append(frame.data["a"])
        elif frame.data.get("e") == "depthUpdate":
            if self._update_id:
                self._change(frame.data)
            else:
                self._before.append(frame.data)

    def _change(self, delta: dict[str, Any]) -> None:
        if delta["u"] <= self._update_id:
            return
        for side, rows in ((self._bids, delta["b"]), (self._asks, delta["a"])):
            for price, quantity in rows:
                if Decimal(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self._update_id = delta["u"]

    async def _depth(self, request: web.Request) -> web.Response:
        self.requests.append("depth")
        await self._has_book.wait()  # what was before is in no recording: the answer comes late
        limit = int(request.query.get("limit", 100))
        return web.json_response(
            {
                "lastUpdateId": self._update_id,
                "bids": sorted(self._bids.items(), key=lambda row: Decimal(row[0]), reverse=True)[:limit],
                "asks": sorted(self._asks.items(), key=lambda row: Decimal(row[0]))[:limit],
            }
        )

    async def _agg_trades(self, request: web.Request) -> web.Response:
        self.requests.append("aggTrades")
        query = request.query
        limit = min(int(query.get("limit", 500)), _PAGE)
        if "fromId" in query:
            start = bisect.bisect_left(self._ids, int(query["fromId"]))
            rows = self._trades[start : start + limit]
        elif "startTime" in query or "endTime" in query:
            first, last = int(query.get("startTime", 0)), int(query.get("endTime", 10**15))
            rows = [row for row in self._trades if first <= row["T"] <= last][:limit]
        else:
            rows = self._trades[-limit:]
        names = ("a", "p", "q", "f", "l", "T", "m", "M")
        return web.json_response([{name: row[name] for name in names if name in row} for row in rows])
