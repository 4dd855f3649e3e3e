"""CPU of a process that waits, with 50 live feeds.

CPU is ``time.process_time`` of this process (all its threads; the simulator is another
process), in percent of one core, over a window that begins when everything is connected.

quiet     the market all but stands (0.001 times life), so no frame arrives: what waiting costs.
          Baseline: asyncio with one open ``websockets`` connection to the same 50 streams.
as live   the market runs as fast as life: each symbol's unfinished bar arrives about every
          2 s, as at the venue. Baseline: the same bare client, ``json.loads`` on each frame.

For comparison: stock backtrader with 50 feeds that poll a ``queue.Queue`` each, the way its
own live stores do, at ``qcheck=0.01``; nothing is connected and nothing arrives.
"""

import asyncio
import contextlib
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs
import backtrader as bt
from rig import Simulator, bound, facts, store_on, tapped_simulator
from websockets.asyncio.client import connect

from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario

FEEDS = 50
WINDOW_S = 12.0
SETTLE_S = 1.0  # after the last feed is live
QCHECK_S = 0.01
PACES = {"quiet": 0.001, "as live": 1.0}
SYMBOLS = tuple(f"{a}{b}X/USDT" for a, b in itertools.islice(itertools.product("ABCDEFGH", repeat=2), FEEDS))


@attrs.define
class Usage:
    """What a process used up in a window, and what it read."""

    cpu_percent: float = 0.0
    frames: int = 0

    def __str__(self) -> str:
        return f"{self.cpu_percent:8.3f} {self.frames / WINDOW_S:10.1f}"


class Meter:
    """Measures one window, then calls ``done``."""

    def __init__(self, done: Callable[[], None]) -> None:
        self.usage = Usage()
        self._done = done

    def start(self) -> None:
        threading.Thread(target=self._measure, daemon=True).start()

    def _measure(self) -> None:
        time.sleep(SETTLE_S)
        self.usage.frames = 0
        wall, cpu = time.perf_counter(), time.process_time()
        time.sleep(WINDOW_S)
        self.usage.cpu_percent = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
        self._done()


async def bare(simulator: Simulator) -> Usage:
    streams = "/".join(f"{name.replace('/', '').lower()}@kline_1m" for name in SYMBOLS)
    async with connect(f"{simulator.endpoints.stream}/stream?streams={streams}", compression=None) as socket:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        meter = Meter(lambda: loop.call_soon_threadsafe(done.set))

        async def read() -> None:
            async for frame in socket:
                json.loads(frame)
                meter.usage.frames += 1

        reading = asyncio.create_task(read())
        meter.start()
        await done.wait()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    return meter.usage


class Waiting(bt.Strategy):
    params = (("all_live", None),)

    def __init__(self) -> None:
        self.live: set[Any] = set()

    def notify_data(self, data: Any, status: int, *_args: Any, **_kwargs: Any) -> None:
        if status == data.LIVE and data not in self.live:
            self.live.add(data)
            if len(self.live) == FEEDS:
                self.p.all_live()


def through_btx(simulator: Simulator) -> Usage:
    store = store_on(simulator)
    cerebro = bt.Cerebro(stdstats=False)
    meter = Meter(cerebro.runstop)
    cerebro.setbroker(store.getbroker())
    for name in SYMBOLS:
        cerebro.adddata(store.getdata(dataname=name, timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(Waiting, all_live=meter.start)
    cerebro.run()
    return meter.usage


class PollingFeed(bt.feed.DataBase):
    """As the stores in backtrader do: each feed waits ``qcheck`` in its own queue."""

    params = (("qcheck", QCHECK_S),)

    def islive(self) -> bool:
        return True

    def start(self) -> None:
        super().start()
        self.arrivals: queue.Queue[Any] = queue.Queue()

    def haslivedata(self) -> bool:
        return not self.arrivals.empty()

    def _load(self) -> bool | None:
        try:
            self.arrivals.get(timeout=self._qcheck)
        except queue.Empty:
            return None
        return True


def polling() -> Usage:
    cerebro = bt.Cerebro(stdstats=False)
    for _ in range(FEEDS):
        cerebro.adddata(PollingFeed())
    cerebro.addstrategy(bt.Strategy)
    meter = Meter(cerebro.runstop)
    meter.start()
    cerebro.run()
    return meter.usage


def main() -> None:
    bound(90.0)
    facts(f"CPU of a process with {FEEDS} live feeds, in percent of one core, over {WINDOW_S:.0f} s")
    print(f"{'':44} {'CPU %':>8} {'frames/s':>10}")
    usage, ratios = {}, []
    for name, speed in PACES.items():
        with tapped_simulator(Scenario(symbols=SYMBOLS, speed=speed, until_ns=NS_PER_DAY)) as simulator:
            baseline = asyncio.run(bare(simulator))
            print(f"{f'{name}: bare websockets + json':44} {baseline}")
            ours = usage[name] = through_btx(simulator)
            print(f"{f'{name}: btx':44} {ours.cpu_percent:8.3f} {'the same':>10}")
        ratios.append(f"{name} {ours.cpu_percent / baseline.cpu_percent:.1f}x")
    classic = polling()
    print(f"{f'nothing connected: stock, qcheck={QCHECK_S}':44} {classic}")
    ratios.append(f"quiet to polling {usage['quiet'].cpu_percent / classic.cpu_percent:.2f}x")
    print(f"ratio: {' | '.join(ratios)}")


if __name__ == "__main__":
    main()
