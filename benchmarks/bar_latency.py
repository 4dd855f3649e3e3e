"""A closed bar: from the simulator's socket to ``Strategy.next``.

Clock starts   when the simulator hands the frame of a closed 1m kline to its socket.
Clock stops    btx: first statement of ``next()`` that sees the bar;
               baseline: a bare ``websockets`` client has the frame through ``json.loads``.

Both read the same simulator, one after the other, over loopback, in this process;
the simulator is another process. All symbols close at the same instant, so with N
symbols N frames arrive back to back: what one waits behind the others counts, for both.
Between closes the same socket carries the frames of the unfinished bars (at most two a
second and symbol), which both read and drop.

The market runs faster than life, so that there are enough closes: 1 symbol at 1800,
10 at 360, 50 at 60 times. The first closes of each client are not counted.

    python benchmarks/bar_latency.py --many     50 symbols x 5 intervals, 250 datas, at 60 times

There 250 frames of unfinished bars come twice a second, which is the load; each minute 50
bars close at once, each quarter of an hour 200. What is told is of all closes, and of those
of the quarters of an hour alone.
"""

import argparse
import asyncio
import itertools
import json
import time
from typing import Any

import attrs
import backtrader as bt
from rig import Sample, Simulator, bound, facts, latencies, ratio, store_on, tapped_simulator
from websockets.asyncio.client import connect

from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario

KNOWN = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "BNB/USDT", "XRP/USDT", "ADA/USDT", "DOGE/USDT", "LTC/USDT")
MINUTE_MS = 60_000
QUARTER = 15
WARM_UP_CLOSES = 3  # code that runs for the first time is not what is measured

Key = tuple[str, str, int]  # venue symbol, interval, open time in ms: names one bar


@attrs.frozen(kw_only=True)
class Case:
    symbols: int
    speed: float
    closes: int  # minutes of market to measure
    intervals: tuple[str, ...] = ("1m",)

    def bars(self, minutes: int) -> int:
        """Bars that close in so many minutes, at least."""
        return self.symbols * sum(minutes // int(interval[:-1]) for interval in self.intervals)


CASES = (
    Case(symbols=1, speed=1800.0, closes=330),
    Case(symbols=10, speed=360.0, closes=45),
    Case(symbols=50, speed=60.0, closes=9),
)


MANY = Case(symbols=50, speed=60.0, closes=30, intervals=("1m", "3m", "5m", "15m", "30m"))


def symbols(count: int) -> tuple[str, ...]:
    made_up = (f"{letter}{other}X/USDT" for letter, other in itertools.product("ABCDEFGH", repeat=2))
    return tuple(itertools.islice(itertools.chain(KNOWN, made_up), count))


async def bare(simulator: Simulator, names: tuple[str, ...], case: Case, enough: int) -> dict[Key, int]:
    streams = "/".join(
        f"{name.replace('/', '').lower()}@kline_{interval}" for name in names for interval in case.intervals
    )
    arrived: dict[Key, int] = {}
    async with connect(f"{simulator.endpoints.stream}/stream?streams={streams}", compression=None) as socket:
        async for frame in socket:
            kline = json.loads(frame)["data"]["k"]
            if kline["x"]:
                arrived[kline["s"], kline["i"], kline["t"]] = time.perf_counter_ns()
                if len(arrived) >= enough:
                    break
    return arrived


class Stopwatch(bt.Strategy):
    params = (("arrived", None), ("enough", 0))

    def __init__(self) -> None:
        self.lengths = [0] * len(self.datas)

    def prenext(self) -> None:
        self.next()  # with several datas backtrader waits for the last one's first bar; we do not

    def next(self) -> None:
        now_ns = time.perf_counter_ns()
        for index, data in enumerate(self.datas):
            if len(data) != self.lengths[index]:
                self.lengths[index] = len(data)
                self.p.arrived[data.instrument.venue_symbol, data._name, int(data.ts_ms[0])] = now_ns
        if len(self.p.arrived) >= self.p.enough:
            self.env.runstop()


def through_btx(simulator: Simulator, names: tuple[str, ...], case: Case, enough: int) -> dict[Key, int]:
    arrived: dict[Key, int] = {}
    store = store_on(simulator)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for name, interval in itertools.product(names, case.intervals):
        cerebro.adddata(store.getdata(dataname=name, timeframe=interval, name=interval))
    cerebro.addstrategy(Stopwatch, arrived=arrived, enough=enough)
    cerebro.run()
    return arrived


def sample(name: str, left: dict[Key, int], arrived: dict[Key, int], bars: int) -> Sample:
    warm = list(arrived.items())[-bars:]
    if fetched := [key for key, _ in warm if key not in left]:
        raise SystemExit(f"{name}: {len(fetched)} bars were fetched, not pushed: nothing to measure")
    return Sample(name=name, latencies_ms=[(at_ns - left[key]) / 1e6 for key, at_ns in warm])


def left_socket(simulator: Simulator) -> dict[Key, int]:
    frames, _ = simulator.notes()
    klines: list[tuple[int, Any]] = [(at_ns, json.loads(text)["data"]["k"]) for at_ns, text in frames]
    return {(kline["s"], kline["i"], kline["t"]): at_ns for at_ns, kline in klines}


def at_quarters(of: dict[Key, int]) -> dict[Key, int]:
    """Return the bars that end with a quarter of an hour: most of them close at once."""
    return {key: at_ns for key, at_ns in of.items() if (key[2] // MINUTE_MS + int(key[1][:-1])) % QUARTER == 0}


def compare(case: Case, title: str) -> tuple[list[Sample], list[str]]:
    names = symbols(case.symbols)
    bars, enough = case.bars(case.closes), case.bars(case.closes + WARM_UP_CLOSES)
    scenario = Scenario(symbols=names, speed=case.speed, until_ns=NS_PER_DAY)
    with tapped_simulator(scenario, leaving='"x":true') as simulator:
        at_bare = asyncio.run(bare(simulator, names, case, enough))
        left_bare = left_socket(simulator)
        at_next = through_btx(simulator, names, case, enough)
        left_next = left_socket(simulator)
    baseline = sample(f"{title}, bare websockets + json", left_bare, at_bare, bars)
    ours = sample(f"{title}, btx", left_next, at_next, bars)
    samples, ratios = [baseline, ours], [ratio(title, ours, baseline)]
    if case is MANY:
        crowded = at_quarters(at_bare), at_quarters(at_next)
        baseline = sample("  at quarters of an hour, bare", left_bare, crowded[0], len(crowded[0]))
        ours = sample("  at quarters of an hour, btx", left_next, crowded[1], len(crowded[1]))
        samples += [baseline, ours]
        ratios.append(ratio("at quarters", ours, baseline))
    return samples, ratios


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--many", action="store_true")
    bound(118.0)
    cases = (MANY,) if parser.parse_args().many else CASES
    facts("A closed kline: leaving the simulator's socket -> Strategy.next")
    samples, ratios = [], []
    for case in cases:
        title = f"{case.symbols} symbol{'s' if case.symbols > 1 else ''}"
        more = compare(case, title if len(case.intervals) == 1 else f"{title} x {len(case.intervals)}")
        samples += more[0]
        ratios += more[1]
    latencies(samples)
    print(f"ratio: {' | '.join(ratios)}")


if __name__ == "__main__":
    main()
