"""One seeded run with every kind of cut: each bar comes once, in order, as the venue has it, and every cut is survived.

``BTX_CUTS=1000 pytest tests/e2e/test_cuts.py -s`` is the long one; ``BTX_CUTS_SEED`` plays another,
``BTX_CUTS_KINDS="FIN,half open"`` only these kinds.
"""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt
import pytest

import btx
from btx.bt.store import LiveStore
from btx.config import Settings
from btx.defaults import open_venue
from btx.model.time import NS_PER_DAY, Interval, to_ms
from btx.model.venue import Channel, Endpoints, Environment, Scenario, Subscription
from btx.rules.backoff import Backoff
from btx.rules.staleness import Patience
from btx.runtime.bars import BarTimes
from btx.runtime.control import Control
from btx.runtime.facts import Timing
from btx.runtime.session import Session
from btx.sim.server import spawn
from btx.sim.texts import endpoints_from_json, scenario_to_json
from tests.e2e.cutter import Cutter, summary
from tests.e2e.venues import BINANCE_SPOT, Place, on_places
from tests.leftovers import children_of, threads_left

CUTS = int(os.environ.get("BTX_CUTS", "0"))  # 0: forty on Binance, and fifteen where the wire alone differs
SEED = int(os.environ.get("BTX_CUTS_SEED", "7"))
KINDS = tuple(kind for kind in os.environ.get("BTX_CUTS_KINDS", "").split(",") if kind)
STARTS = int(os.environ.get("BTX_STARTS", "8"))
SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT")
SPARE = "XRP/USDT"
INTERVALS = ("1m", "5m")
SPEED = 240.0  # a minute is a quarter of a second, five are 1.25 s
TIMING = Timing(
    redial=Backoff(base_s=0.05, cap_s=0.5),
    bars=BarTimes(late_pause_s=0.05, settle_s=0.0, overdue_s=1.0, grace_s=0.3, poll_s=0.1),
    patience=Patience(floor_s=1.0, ceiling_s=5.0),
)
# The venue takes five messages a second, pings among them.
OPTIONS = {"ping_interval_s": "0.7", "ping_timeout_s": "0.7"}
WORLD = Scenario(symbols=(*SYMBOLS, SPARE), speed=SPEED, rebase=True, warmup_ns=NS_PER_DAY)


@attrs.define(kw_only=True)
class Rig:
    """A store on a simulator whose control channel is known."""

    place: Place = BINANCE_SPOT
    endpoints: Endpoints | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def store(self) -> LiveStore:
        session = Session(
            venue=open_venue(self.place.venue),
            environment=Environment.SIM,
            market=self.place.market,
            settings=Settings(options=OPTIONS),
            endpoints=self._open,
            timing=TIMING,
        )
        return LiveStore(session)

    async def _open(self, resources: AsyncExitStack) -> Endpoints:
        self.endpoints = await resources.enter_async_context(spawn(self.place.venue, self.place.scenario(WORLD)))
        self.loop = asyncio.get_running_loop()
        return self.endpoints


class Watcher(bt.Strategy):
    """Writes down every bar, and lets the cutter strike."""

    params = (("rig", None), ("cutter", None))

    def __init__(self) -> None:
        self.bars: dict[str, list[tuple[Any, ...]]] = {data._name: [] for data in self.datas}
        self.statuses: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.cutter: Cutter | None = None
        self.truth: dict[str, list[tuple[Any, ...]]] = {}
        self.is_over = False

    def start(self) -> None:
        self.cutter = self.p.cutter(self)

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.statuses[data._getstatusname(status)] += 1

    def notify_store(self, message: str, *_: Any, **__: Any) -> None:
        self.notes[message.split(":", maxsplit=1)[0].rsplit("]", maxsplit=1)[-1].strip()[:40]] += 1

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for data in self.datas:
            seen = self.bars[data._name]
            if len(data) > len(seen):
                assert len(data) == len(seen) + 1, "a bar came without a next()"
                seen.append(
                    (int(data.ts_ms[0]), data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
                )
        if self.is_over:
            self.truth = self.p.rig.truth(self)
            self.env.runstop()


@attrs.define(kw_only=True)
class Run(Rig):
    """One run under the cutter."""

    cuts: int
    seed: int

    def play(self) -> Watcher:
        store = self.store()
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(store.getbroker())
        for symbol in SYMBOLS:
            for interval in INTERVALS:
                cerebro.adddata(store.getdata(symbol, timeframe=interval, backfill=3, name=f"{symbol} {interval}"))
        cerebro.addstrategy(Watcher, rig=self, cutter=self._cutter)
        watcher: Watcher
        (watcher,) = cerebro.run()
        assert watcher.cutter is not None
        watcher.cutter.join()
        return watcher

    def truth(self, watcher: Watcher) -> dict[str, list[tuple[Any, ...]]]:
        """Return the venue's own bars of each data, for what the strategy has seen; the venue must still be there."""
        assert self.endpoints is not None
        return asyncio.run(_truth(self.endpoints.control, watcher))

    def _cutter(self, watcher: Watcher) -> Cutter:
        assert self.endpoints is not None

        def end() -> None:
            watcher.is_over = True

        cutter = Cutter(
            self.endpoints.control,
            count=self.cuts,
            seed=self.seed,
            streams=wanted(self.place),
            bars=lambda: {name: len(seen) for name, seen in watcher.bars.items() if name.endswith("1m")},
            live=lambda: all(data.is_live for data in watcher.datas),
            resubscribe=lambda: self._resubscribe(watcher),
            done=end,
            kinds=KINDS,
            prints=self.cuts > 100,
        )
        cutter.start()
        return cutter

    def _resubscribe(self, watcher: Watcher) -> threading.Event:
        """Ask for one more stream, and let it go when the venue has accepted it."""
        link = watcher.data.store.session._link
        spare = Spare(link)
        assert self.loop is not None
        self.loop.call_soon_threadsafe(link.market_side.lines.add, spare)
        return spare.gone


class Spare:
    """Wants one more stream, until it has it."""

    def __init__(self, link: Any) -> None:
        instrument = link.facts.instruments[SYMBOLS[0]]
        self.subscription = Subscription(channel=Channel.QUOTE, instrument=instrument)
        self.gone = threading.Event()
        self._lines = link.market_side.lines

    def on_event(self, _event: Any) -> None:
        pass

    def on_up(self) -> None:
        asyncio.get_running_loop().call_soon(self._leave)

    def on_down(self, _reason: str) -> None:
        pass

    async def is_stale(self) -> str | None:
        return None

    def _leave(self) -> None:
        self._lines.remove(self)
        self.gone.set()


async def _truth(address: str, watcher: Watcher) -> dict[str, list[tuple[Any, ...]]]:
    control = await Control.connect(address)
    try:
        found = {}
        for name, seen in watcher.bars.items():
            symbol, interval = name.replace("/", "").split()
            end_ns = (seen[-1][0] + 1) * 1_000_000
            start_ns, rows = seen[0][0] * 1_000_000, []
            while start_ns < end_ns:
                asked = {"symbol": symbol, "interval": interval, "start_ns": start_ns, "end_ns": end_ns}
                page = (await control.ask("truth", **asked, limit=1000))["bars"]
                if not page:
                    break
                rows += [(to_ms(row[0]), *map(float, row[1:])) for row in page]
                start_ns = Interval.parse(interval).close_of(page[-1][0])
            found[name] = rows
        return found
    finally:
        await control.close()


@pytest.mark.slow
@on_places
def test_every_bar_comes_once_in_order_and_true_however_the_market_is_cut(place: Place) -> None:
    before = {"threads": set(threading.enumerate()), "sockets": sockets(), "children": children_of(os.getpid())}
    began_s = time.monotonic()

    cuts = CUTS or (40 if place is BINANCE_SPOT else 15)
    watcher = Run(place=place, cuts=cuts, seed=SEED).play()

    took_s = time.monotonic() - began_s
    cutter = watcher.cutter
    assert cutter is not None
    print()  # noqa: T201 - the figures are to be seen
    print(summary(cutter.recoveries))  # noqa: T201
    bars = sum(map(len, watcher.bars.values()))
    print(f"{place}, seed {SEED}: {len(cutter.recoveries)} cuts, {cutter.dials} dials, {bars} bars, {took_s:.0f} s")  # noqa: T201
    print(dict(watcher.statuses))  # noqa: T201
    for name, seen in watcher.bars.items():
        assert seen == watcher.truth[name], f"{name}: {first_difference(seen, watcher.truth[name])}"
    assert len(cutter.recoveries) == cuts
    assert threads_left(before["threads"]) == set()
    assert children_of(os.getpid()) <= before["children"]
    gc.collect()
    assert sockets() <= before["sockets"]


def wanted(place: Place) -> frozenset[str]:
    return frozenset(place.stream(symbol, interval) for symbol in SYMBOLS for interval in INTERVALS)


def first_difference(seen: list[Any], truth: list[Any]) -> str:
    for number, (ours, theirs) in enumerate(zip(seen, truth, strict=False)):
        if ours != theirs:
            return f"bar {number}: {ours} and not {theirs}"
    return f"{len(seen)} bars and not {len(truth)}"


def sockets() -> int:
    """Return how many sockets this process holds."""
    held = 0
    for entry in Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ():
        try:
            held += "socket:" in str(entry.readlink())
        except OSError:  # it was the one that listed
            continue
    return held


@pytest.mark.slow
def test_starting_and_stopping_again_and_again_leaves_nothing_behind() -> None:
    held: list[tuple[int, int]] = []
    before = set(threading.enumerate())

    with world_in_a_child() as address:
        for _ in range(STARTS + 2):
            store = btx.load(BINANCE_SPOT.venue, env="sim", scenario=btx.scenario(attach=address), timing=TIMING)
            cerebro = bt.Cerebro(stdstats=False)
            cerebro.setbroker(store.getbroker())
            for symbol in SYMBOLS:
                cerebro.adddata(store.getdata(symbol, timeframe="1m", backfill=3))
            cerebro.addstrategy(FirstLiveBar)
            cerebro.run()
            del store, cerebro
            gc.collect()
            assert threads_left(before) == set()
            held.append((sockets(), len(gc.get_objects())))

    print(f"{STARTS} starts and stops: sockets, objects {held[1]} -> {held[-1]}")  # noqa: T201
    assert held[-1][0] <= held[1][0]  # the first makes what is made once
    assert (held[-1][1] - held[1][1]) / STARTS < 200, "objects are left behind by each run"


class FirstLiveBar(bt.Strategy):
    """Ends with its first live bar."""

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        if any(data.is_live for data in self.datas):
            self.env.runstop()


@contextlib.contextmanager
def world_in_a_child() -> Iterator[str]:
    """Run a simulator beside the test; the value is its control address."""
    command = [sys.executable, "-m", "btx", "sim", "binance", "--json", "--scenario-json", scenario_to_json(WORLD)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield endpoints_from_json(child.stdout.readline()).control
        finally:
            child.terminate()
