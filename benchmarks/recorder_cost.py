"""What a recording costs the live path: frames through ``run_socket`` with and without one.

Baseline: the same frames, the same parser, nothing recorded.  Both read from a
server of their own process; one after the other, three times, the best counts.
"""

import asyncio
import contextlib
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from btx.bridges.sockets import run_socket
from btx.errors import TransportError
from btx.model.time import from_ms
from btx.storage.recording import Recorder

_FRAMES = 30_000
_ROUNDS = 3
_FRAME = json.dumps(
    {
        "stream": "btcusdt@kline_1m",
        "data": {
            "e": "kline",
            "E": 1748739000000,
            "s": "BTCUSDT",
            "k": {
                "t": 1748738940000,
                "T": 1748738999999,
                "s": "BTCUSDT",
                "i": "1m",
                "f": 100,
                "L": 200,
                "o": "104000.01",
                "c": "104010.02",
                "h": "104020.00",
                "l": "103990.50",
                "v": "12.34567000",
                "n": 101,
                "x": True,
                "q": "1284012.1234",
                "V": "6.1",
                "Q": "634000.1",
                "B": "0",
            },
        },
    },
    separators=(",", ":"),
)


class _Clock:
    def wire_ns(self) -> int:
        return time.time_ns()

    def market_ns(self) -> int:
        return time.time_ns()


class _Handler:
    """Decodes a frame and reads what a bar needs of it, as an adapter does."""

    def __init__(self) -> None:
        self.count = 0

    async def opened(self, send: Any) -> None:
        await send("go")

    async def frame(self, frame: str | bytes) -> None:
        kline = json.loads(frame)["data"]["k"]
        assert from_ms(int(kline["t"]))
        self.count += 1
        if self.count == _FRAMES:
            raise TransportError("enough")

    def fault(self, detail: str) -> None:
        raise AssertionError(detail)


def _serve(port: Any) -> None:
    async def push(connection: ServerConnection) -> None:
        await connection.recv()
        for _ in range(_FRAMES):
            await connection.send(_FRAME)
        await connection.wait_closed()

    async def run() -> None:
        async with serve(push, "127.0.0.1", 0, compression=None) as server:
            port.send(server.sockets[0].getsockname()[1])
            await server.wait_closed()

    asyncio.run(run())


def _read(url: str, recorder: Recorder | None) -> tuple[float, float]:
    """Return seconds and CPU seconds of this process for all frames."""
    handler, began, cpu = _Handler(), time.perf_counter(), time.process_time()
    with contextlib.suppress(TransportError):
        asyncio.run(run_socket(url=url, handler=handler, tap=recorder))
    assert handler.count == _FRAMES
    return time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """Print the figures."""
    theirs, ours = multiprocessing.get_context("spawn").Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_serve, args=(ours,), daemon=True)
    child.start()
    url = f"ws://127.0.0.1:{theirs.recv()}"
    bare: list[tuple[float, float]] = []
    taped: list[tuple[float, float]] = []
    size = dropped = 0
    for _ in range(_ROUNDS):
        bare.append(_read(url, None))
        with tempfile.TemporaryDirectory() as folder:
            recorder = Recorder(
                Path(folder), about={"session": "bench"}, clock=_Clock(), secrets=("k" * 64, "s" * 64), on_fault=print
            )
            taped.append(_read(url, recorder))
            recorder.close()
            size, dropped = recorder.path.stat().st_size, recorder.dropped
    child.terminate()
    (bare_s, bare_cpu), (taped_s, taped_cpu) = min(bare), min(taped)
    print(f"{'':<22}{'frames/s':>10}{'CPU per frame':>16}")
    for name, took_s, cpu in (("nothing recorded", bare_s, bare_cpu), ("recorded", taped_s, taped_cpu)):
        print(f"{name:<22}{_FRAMES / took_s:>10,.0f}{cpu / _FRAMES * 1e6:>13.1f} µs")
    print(f"{len(_FRAME)} bytes a frame, {size / _FRAMES:.1f} on disk; {dropped} dropped")
    print(f"ratio: {bare_s / taped_s:.2f} of the frames/s of the baseline (nothing recorded)")


if __name__ == "__main__":
    main()
