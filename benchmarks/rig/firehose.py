"""A venue that pushes a session's frames as fast as they are taken: recorded ones where ``BTX_DATA`` is, else made up.

The frames are encoded before anybody connects, and written in large pieces: the sender costs as little as it can.
"""

import asyncio
import contextlib
import gzip
import json
import multiprocessing
import os
import random
import struct
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

__all__ = ("Session", "firehose", "session")

RECORDING = "binance_spot_btcusdt_2024-08-08T2354_0809T0005.jsonl.gz"
PIECE = 64 * 1024
AHEAD = 4 * PIECE  # bytes the sender lets wait in its own buffer
START_S = 30.0
MADE_UP = 60_000


@attrs.frozen(kw_only=True)
class Session:
    """The frames of a session, in their order, and the book they begin with."""

    source: str
    texts: list[str]
    snapshot: dict[str, Any]
    counts: dict[str, int]
    last_trade: int
    last_quote: int
    start_ms: int


def session() -> Session:
    """Return the recorded spot session, or a made-up one of the same mix."""
    folder = Path(os.environ.get("BTX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = folder / "wire" / RECORDING
    messages = recorded(file) if file.is_file() else made_up()
    snapshot: dict[str, Any] = {}
    texts, counts = [], {"trade": 0, "quote": 0, "depth": 0}
    last_trade = last_quote = start_ms = 0
    for message in messages:
        if "stream" not in message:
            snapshot = message
            continue
        data = message["data"]
        kind = data.get("e", "quote")
        if kind == "trade":
            rest = {name: value for name, value in data.items() if name not in ("e", "t", "b", "a")}
            data = {**rest, "e": "aggTrade", "a": data["t"], "f": data["t"], "l": data["t"]}
            message = {"stream": "btcusdt@aggTrade", "data": data}  # noqa: PLW2901
            last_trade, kind = data["a"], "trade"
        elif kind == "depthUpdate":
            kind = "depth"
            start_ms = start_ms or data["E"]
        else:
            last_quote = data["u"]
        counts[kind] += 1
        texts.append(json.dumps(message, separators=(",", ":")))
    source = "the recorded spot session" if file.is_file() else "made-up frames (no BTX_DATA)"
    return Session(
        source=source,
        texts=texts,
        snapshot=snapshot,
        counts=counts,
        last_trade=last_trade,
        last_quote=last_quote,
        start_ms=start_ms,
    )


def recorded(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt") as lines:
        for line in lines:
            yield json.loads(line)["msg"]


def made_up() -> Iterator[dict[str, Any]]:
    """Seven quotes in ten frames, two trades, and a little less than one change of the book."""
    dice = random.Random(1)
    time_ms, sequence, trade_id = 1_723_161_255_000, 1000, 1
    levels = [[f"{60000 - 0.01 * n:.8f}", "1.00000000"] for n in range(1000)]
    yield {
        "lastUpdateId": sequence,
        "bids": levels,
        "asks": [[f"{60000.01 + 0.01 * n:.8f}", "1.00000000"] for n in range(1000)],
    }
    for _ in range(MADE_UP):
        time_ms += 7
        quantity = f"{dice.random():.8f}"
        draw = dice.random()
        if draw < 0.735:
            data = {"u": sequence, "s": "BTCUSDT", "b": "60000.00000000", "B": quantity, "a": "60000.01000000"}
            yield {"stream": "btcusdt@bookTicker", "data": {**data, "A": quantity}}
        elif draw < 0.935:
            data = {"e": "trade", "E": time_ms, "s": "BTCUSDT", "t": trade_id, "p": "60000.01000000", "q": quantity}
            yield {"stream": "btcusdt@trade", "data": {**data, "T": time_ms, "m": dice.random() < 0.5, "M": True}}
            trade_id += 1
        else:
            first, sequence = sequence + 1, sequence + 20
            bids = [[f"{60000 - 0.01 * dice.randrange(1000):.8f}", quantity] for _ in range(15)]
            asks = [[f"{60000.01 + 0.01 * dice.randrange(1000):.8f}", quantity] for _ in range(15)]
            data = {"e": "depthUpdate", "E": time_ms, "s": "BTCUSDT", "U": first, "u": sequence, "b": bids, "a": asks}
            yield {"stream": "btcusdt@depth@100ms", "data": data}


@contextlib.contextmanager
def firehose() -> Iterator[str]:
    """Serve the session in a process of its own; the value is ``host:port``. Each connection gets all of it."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        if not pipe.poll(START_S):
            raise TimeoutError("the firehose did not start")
        yield pipe.recv()
    finally:
        pipe.close()
        process.join(5.0)
        if process.is_alive():
            process.kill()
            process.join()


def _run(pipe: Connection) -> None:
    asyncio.run(_serve(pipe, session()))


async def _serve(pipe: Connection, played: Session) -> None:
    pieces = list(_pieces(played.texts))

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        pushing = asyncio.create_task(_push(transport, pieces))
        async for message in socket:
            asked = json.loads(message.data)
            await socket.send_json({"result": None, "id": asked["id"]})
        pushing.cancel()
        return socket

    async def depth(_: web.Request) -> web.Response:
        return web.json_response(played.snapshot)

    async def trades(_: web.Request) -> web.Response:
        return web.json_response([])  # nothing happened before the first frame, and none is lost

    app = web.Application()
    app.router.add_get("/stream", stream)
    app.router.add_get("/api/v3/depth", depth)
    app.router.add_get("/api/v3/aggTrades", trades)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    pipe.send(f"{host}:{port}")
    with contextlib.suppress(EOFError):
        await asyncio.to_thread(pipe.recv)
    await runner.cleanup()


def _pieces(texts: list[str]) -> Iterator[bytes]:
    """Encode WebSocket text frames (RFC 6455, 5.2) and put many of them together."""
    piece = bytearray()
    for text in texts:
        payload = text.encode()
        size = len(payload)
        head = bytes((0x81, size)) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
        piece += (struct.pack("!BBQ", 0x81, 127, size) if size > 0xFFFF else head) + payload
        if len(piece) > PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


async def _push(transport: asyncio.Transport, pieces: list[bytes]) -> None:
    for piece in pieces:
        transport.write(piece)
        while transport.get_write_buffer_size() > AHEAD:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
