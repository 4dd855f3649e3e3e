"""A bounded soak: a live strategy on the free-running simulator, with 20 symbols, cuts and orders, for 20 minutes.

Every ten seconds the process is looked at: resident memory, threads, asyncio tasks, open files. A line is printed
each minute; at the end the slope of the memory by least squares, with its standard error, but for a warm-up.
A live strategy grows a little by what it is for: backtrader keeps each bar it was given and the session each order
(a late fill may be of any). Baseline: what the bars alone take, eight doubles a bar.

Ends with 1 if threads, tasks or files became more: by one at least over the run, and by a slope of three standard
errors, because what a cut has in flight comes and goes.

    python benchmarks/soak.py --minutes 2
"""

import argparse
import asyncio
import faulthandler
import gc
import itertools
import random
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt
from rig import Simulator, facts, resident_mib, store_on, tapped_simulator

from btx.errors import TransportError
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE
from btx.model.venue import Scenario
from btx.runtime.control import Control

SYMBOLS = tuple(f"{a}{b}X/USDT" for a, b in itertools.islice(itertools.product("ABCDE", repeat=2), 20))
SPEED = 30.0  # a bar of each symbol every two seconds
LOOK_S = 10.0
CUT_S = (2.0, 8.0)  # between two cuts
ORDER_BARS = 40  # an order every so many bars of all symbols
DOUBLES_PER_BAR = 8
SIGNIFICANT = 3  # standard errors
WARM_UP_SHARE = 0.15  # connections for requests are made as many as one cut needs at once, and kept

STRIKES: tuple[dict[str, Any], ...] = (
    *({"kind": "cut", "where": "market_stream", "form": form} for form in range(5)),
    *({"kind": "cut", "where": "account_stream", "form": form} for form in range(5)),
    {"kind": "half_open", "where": "market_stream", "for_s": 30},
    {"kind": "half_open", "where": "account_stream", "for_s": 5},
    {"kind": "outage", "where": "any", "form": 0, "for_s": 1.0},
    {"kind": "outage", "where": "any", "form": 1, "for_s": 1.0},
    {"kind": "shutdown", "where": "market_stream", "for_s": 1.0},
    {"kind": "silence", "where": "market_stream"},
)


@attrs.frozen(kw_only=True)
class Look:
    """What a process holds at one moment."""

    minute: float
    rss_mib: float
    threads: int
    tasks: int
    files: int
    bars: int
    orders: int


class Trader(bt.Strategy):
    """Buys and sells a little, and leaves a limit order to be cancelled at the next turn."""

    params = (("soak", None),)

    def __init__(self) -> None:
        self.seen = [0] * len(self.datas)
        self.turns = 0
        self.dice = random.Random(3)
        self.resting: Any = None

    def start(self) -> None:
        self.p.soak.begin(self)

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        soak = self.p.soak
        for index, data in enumerate(self.datas):
            new = len(data) - self.seen[index]
            if new:
                soak.bars += new
                self.seen[index] = len(data)
                self.turns += new
        if self.turns >= ORDER_BARS:
            self.turns = 0
            self.trade(soak)
        if soak.is_over:
            self.env.runstop()

    def trade(self, soak: "Soak") -> None:
        data = self.dice.choice(self.datas)
        if not data.is_live:
            return
        if self.resting is not None:
            self.cancel(self.resting)
        size = max(20 / data.close[0], float(data.instrument.step_size))
        if self.getposition(data).size > 0:
            self.close(data=data)
        else:
            self.buy(data=data, size=size)
        self.resting = self.buy(data=data, size=size, exectype=bt.Order.Limit, price=data.close[0] * 0.9)
        soak.orders += 2

    def notify_order(self, order: Any) -> None:
        self.p.soak.told[order.getstatusname()] += 1

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.p.soak.told[data._getstatusname(status)] += 1


class Soak:
    """Looks at the process, and breaks its sockets, from a thread of its own."""

    def __init__(self, simulator: Simulator, minutes: float) -> None:
        self.looks: list[Look] = []
        self.bars = self.orders = self.cuts = 0
        self.told: Counter[str] = Counter()
        self.is_over = False
        self._simulator = simulator
        self._minutes = minutes
        self._session: Any = None
        self._thread = threading.Thread(target=self._run, name="soak", daemon=True)

    def begin(self, strategy: Any) -> None:
        self._session = strategy.data.store.session
        self._thread.start()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        finally:  # what went wrong is printed by the thread
            self.is_over = True

    async def _watch(self) -> None:
        dice = random.Random(11)
        control = await Control.connect(self._simulator.endpoints.control)
        await control.ask("terms", dials=10**9)
        began_s = time.monotonic()
        next_look_s, next_cut_s = began_s, began_s + CUT_S[1]
        while (now_s := time.monotonic()) < began_s + 60 * self._minutes:
            if now_s >= next_look_s:
                next_look_s += LOOK_S
                self._look((now_s - began_s) / 60)
            if now_s >= next_cut_s:
                next_cut_s = now_s + dice.uniform(*CUT_S)
                await self._cut(control, dice)
            await asyncio.sleep(0.2)
        await control.close()

    async def _cut(self, control: Control, dice: random.Random) -> None:
        fault = dict(dice.choice(STRIKES))
        more: dict[str, Any] = {}
        if fault["kind"] == "silence":
            streams = [
                stream
                for each in (await control.ask("sockets"))["sockets"]
                if each["where"] == "market_stream"
                for stream in each["subscriptions"]
            ]
            if not streams:
                return
            more["stream"] = dice.choice(streams)
        try:
            await control.ask("strike", fault=fault, **more)
            self.cuts += 1
        except TransportError as error:  # the socket has gone meanwhile
            print(f"  not struck: {error}", flush=True)

    def _look(self, minute: float) -> None:
        loop = self._session._io.loop
        tasks = sum(not task.done() for task in asyncio.all_tasks(loop))
        look = Look(
            minute=minute,
            rss_mib=resident_mib(),
            threads=threading.active_count(),
            tasks=tasks,
            files=len(list(Path("/proc/self/fd").iterdir())),
            bars=self.bars,
            orders=self.orders,
        )
        self.looks.append(look)
        if len(self.looks) % int(60 / LOOK_S) == 1:
            print(
                f"{minute:6.1f} {look.rss_mib:9.1f} {look.threads:8} {look.tasks:6} {look.files:6} "
                f"{look.bars:8} {look.orders:7} {self.cuts:6}",
                flush=True,
            )


def slope(looks: list[Look], what: str) -> tuple[float, float]:
    """Return how much more of it there is each minute by least squares, and the standard error."""
    xs, ys = [each.minute for each in looks], [float(getattr(each, what)) for each in looks]
    line = statistics.linear_regression(xs, ys)
    mean = statistics.fmean(xs)
    rest = sum((y - line.slope * x - line.intercept) ** 2 for x, y in zip(xs, ys, strict=True))
    return line.slope, (rest / max(len(xs) - 2, 1) / sum((x - mean) ** 2 for x in xs)) ** 0.5


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=20.0)
    minutes = parser.parse_args().minutes
    faulthandler.dump_traceback_later(60 * minutes + 120, exit=True)
    facts(f"Soak of {minutes:g} minutes: {len(SYMBOLS)} symbols at {SPEED:g} times life, cuts and orders")
    until_ns = int((minutes + 10) * SPEED * NS_PER_MINUTE)
    scenario = Scenario(symbols=SYMBOLS, speed=SPEED, until_ns=until_ns, warmup_ns=NS_PER_HOUR, rebase=True)
    print(
        f"{'minute':>6} {'RSS MiB':>9} {'threads':>8} {'tasks':>6} {'files':>6} {'bars':>8} {'orders':>7} {'cuts':>6}"
    )
    with tapped_simulator(scenario) as simulator:
        soak = Soak(simulator, minutes)
        store = store_on(simulator, options={"ping_interval_s": "1", "ping_timeout_s": "1"})
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.setbroker(store.getbroker())
        for name in SYMBOLS:
            cerebro.adddata(store.getdata(dataname=name, timeframe=bt.TimeFrame.Minutes, backfill=10))
        cerebro.addstrategy(Trader, soak=soak)
        cerebro.run()
    gc.collect()
    return verdict(soak)


def verdict(soak: Soak) -> int:
    looks = soak.looks
    steady = looks[int(len(looks) * WARM_UP_SHARE) :]
    span = steady[-1].minute - steady[0].minute
    grew = []
    for name in ("threads", "tasks", "files"):
        counts = [getattr(each, name) for each in steady]
        more, error = slope(steady, name)
        print(f"{name}: {min(counts)} to {max(counts)}, {more:+.3f} a minute, standard error {error:.3f}")
        if more > SIGNIFICANT * error and more * span >= 1:
            grew.append(name)
    rise, error = slope(steady, "rss_mib")
    bars = (steady[-1].bars - steady[0].bars) / max(span, 1e-9)
    expected = bars * DOUBLES_PER_BAR * 8 / 2**20
    print(f"told: {dict(soak.told)}")
    print(f"{soak.cuts} cuts, {soak.bars} bars, {soak.orders} orders")
    print(f"RSS: {rise:+.4f} MiB a minute, standard error {error:.4f}; the bars alone {expected:.4f}")
    print(f"ratio: RSS slope {rise / expected:.1f}x of the bars alone")
    if grew:
        print(f"grew: {', '.join(grew)}")
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
