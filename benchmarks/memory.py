"""Memory of a process with 0, 10, 50 and 200 live datas of one symbol each.

Each figure is the resident set of a process of its own, some seconds after the last data went live, without history:
that of 200 datas waits for its share of the venue's request weight. Baselines: a bare ``websockets`` client of the same
streams that keeps nothing, and stock backtrader with as many datas that hold 10 bars and stay live.

What a data costs is the slope of a straight line from 10 datas on: with none, nothing is connected, and of what the
first one loads most is ccxt and cryptofeed.
"""

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rig import bound, facts, resident_mib, simulator_addresses, store_at, tapped_simulator

from btx.model.time import NS_PER_HOUR
from btx.model.venue import Scenario

SIZES = (0, 10, 50, 200)
BARS = 10
SETTLE_S = 2.0
SYMBOLS = tuple(f"{a}{b}X/USDT" for a, b in itertools.islice(itertools.product("ABCDEFGHIJKLMNOP", repeat=2), 200))
SPEED = 10.0  # a bar of each symbol every six seconds


def main() -> None:
    bound(118.0)
    facts("Memory of a process with live datas, MiB resident")
    print(f"{'':44} " + " ".join(f"{size:>8}" for size in SIZES) + f" {'KiB each':>10}")
    each = {}
    with tapped_simulator(Scenario(symbols=SYMBOLS, speed=SPEED, until_ns=NS_PER_HOUR, warmup_ns=NS_PER_HOUR)) as venue:
        addresses = simulator_addresses(venue)
        for name in ("bare websockets + json", "stock backtrader", "btx"):
            sizes = [measure(name, size, addresses) for size in SIZES]
            each[name] = 1024 * statistics.linear_regression(SIZES[1:], sizes[1:]).slope
            print(f"{name:44} " + " ".join(f"{size:8.1f}" for size in sizes) + f" {each[name]:10.1f}", flush=True)
    print(f"ratio: a data of btx to one of stock backtrader {each['btx'] / each['stock backtrader']:.1f}x")


def measure(name: str, size: int, addresses: str) -> float:
    """Return what a fresh process says of itself."""
    command = [sys.executable, str(Path(__file__)), name, str(size), addresses]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603 - itself
    return float(said.splitlines()[-1])


# --- what runs in a process of its own ---------------------------------------------------------------------


def tell() -> None:
    print(resident_mib(), flush=True)


async def bare(size: int, stream: str) -> None:
    from websockets.asyncio.client import connect

    names = "/".join(f"{name.replace('/', '').lower()}@kline_1m" for name in SYMBOLS[:size])
    async with connect(f"{stream}/stream?streams={names}", compression=None) as socket:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * SETTLE_S):
                async for frame in socket:
                    json.loads(frame)
    tell()


def run_for_a_while(cerebro: Any) -> None:
    def end() -> None:
        tell()
        cerebro.runstop()

    timer = threading.Timer(SETTLE_S, end)
    timer.daemon = True
    timer.start()


def stock(size: int) -> None:
    import backtrader as bt

    class Standing(bt.feed.DataBase):
        """Ten bars, and then live for ever."""

        lines = ("ts_ms",)
        params = (("qcheck", 0.1),)

        def islive(self) -> bool:
            return True

        def start(self) -> None:
            super().start()
            self.count = 0

        def haslivedata(self) -> bool:
            return False

        def _load(self) -> bool | None:
            if self.count >= BARS:
                threading.Event().wait(self._qcheck / max(size, 1))
                return None
            self.count += 1
            self.lines.datetime[0] = 738000.0 + self.count / 1440
            for line in (self.lines.open, self.lines.high, self.lines.low, self.lines.close, self.lines.volume):
                line[0] = 1.0
            return True

    cerebro = bt.Cerebro(stdstats=False)
    for _ in range(size):
        cerebro.adddata(Standing())
    cerebro.addstrategy(bt.Strategy)
    if not size:
        tell()
        return
    run_for_a_while(cerebro)
    cerebro.run()


def through_btx(size: int, addresses: str) -> None:
    import backtrader as bt

    class Waiting(bt.Strategy):
        def __init__(self) -> None:
            self.live: set[Any] = set()

        def notify_data(self, data: Any, status: int, *_args: Any, **_kwargs: Any) -> None:
            if status == data.LIVE and data not in self.live:
                self.live.add(data)
                if len(self.live) == size:
                    run_for_a_while(self.env)

    store = store_at(addresses)
    cerebro = bt.Cerebro(stdstats=False)
    if not size:
        tell()
        return
    cerebro.setbroker(store.getbroker())
    for name in SYMBOLS[:size]:
        cerebro.adddata(store.getdata(dataname=name, timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(Waiting)
    cerebro.run()


def child(name: str, size: int, addresses: str) -> None:
    if name == "btx":
        through_btx(size, addresses)
    elif name.startswith("stock"):
        stock(size)
    else:
        asyncio.run(bare(size, json.loads(addresses)["stream"]))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        child(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        main()
