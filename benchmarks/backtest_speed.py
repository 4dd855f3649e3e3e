"""A backtest over a year of minutes: load, whole run, memory; beside backtrader alone, and beside backtesting.py.

One file of seeded 1m bars is played by one strategy (SMA 20/100 cross, one unit, 0.1 %)
on six engines, in a process each, in turns, and the best of the turns counts: what
others do on this machine makes a turn slower and never quicker.  Trades and the final
value of those that fill as backtrader does are compared to the last bit.

"btx" keeps the venue's rules, "btx, stock fills" is the same with backtrader's broker;
what the rules cost is one over the other.  A last run holds 50 perpetuals and says what
a bar, a funding and a new mark price of one position cost.

    python benchmarks/backtest_speed.py [--bars 500000] [--turns 2]

Columns: load is reading the file and filling the engine's bars; run is the rest up to
the last bar; CPU seconds of the process, all its threads, after a first run over a few
bars so that nobody pays for imports.  Peak is resident memory above that first run's.
"""

import argparse
import cProfile
import functools
import hashlib
import json
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rig.report import bound, facts

ENGINES = ("btx", "btx, stock fills", "btx, stock loop", "GenericCSVData", "PandasData", "backtesting.py")
START_MS = 1_704_067_200_000  # 2024-01-01
FAST, SLOW, CASH, RATE = 20, 100, 1e9, 0.001


def write_bars(path: Path, count: int) -> None:
    """A seeded market on a grid of cents; the second file is the same in GenericCSVData's columns."""
    dice = np.random.default_rng(1)
    close = np.round(60_000 * np.exp(np.cumsum(dice.normal(0, 0.0004, count))), 2)
    opening = np.concatenate(([60_000.0], close[:-1]))
    high = np.round(np.maximum(opening, close) + np.abs(dice.normal(0, 8, count)), 2)
    low = np.round(np.minimum(opening, close) - np.abs(dice.normal(0, 8, count)), 2)
    volume = np.round(dice.gamma(2, 3, count), 5)
    rows = list(zip(*(each.tolist() for each in (opening, high, low, close, volume)), strict=True))
    first = np.datetime64(START_MS, "ms")
    with path.open("w", encoding="utf-8") as file, path.with_suffix(".generic").open("w", encoding="utf-8") as generic:
        for number, row in enumerate(rows):
            cells = ",".join(map(repr, row))
            file.write(f"{START_MS + 60_000 * number},{cells}\n")
            stamp = str(first + np.timedelta64(number + 1, "m"))[:19].replace("T", " ")
            generic.write(f"{stamp},{cells},0\n")


# --- backtrader, alone and with btx ---------------------------------------------------------------------


def cross() -> Any:
    import backtrader as bt

    class Cross(bt.Strategy):
        """One unit long above, nothing below."""

        def __init__(self) -> None:
            close = self.data.close
            self.cross = bt.ind.CrossOver(bt.ind.SMA(close, period=FAST), bt.ind.SMA(close, period=SLOW))
            self.trades: list[Any] = []

        def notify_trade(self, trade: Any) -> None:
            if trade.isclosed:
                self.trades.append((trade.pnl, trade.pnlcomm, trade.dtopen, trade.dtclose))

        def next(self) -> None:
            if not self.position:
                if self.cross[0] > 0:
                    self.buy()
            elif self.cross[0] < 0:
                self.close()

    return Cross


def generic_csv(cerebro: Any, path: Path) -> None:
    import backtrader as bt

    words = {"dtformat": "%Y-%m-%d %H:%M:%S", "headers": False, "time": -1, "timeframe": bt.TimeFrame.Minutes}
    columns = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "openinterest": 6}
    cerebro.adddata(bt.feeds.GenericCSVData(dataname=str(path.with_suffix(".generic")), **words, **columns))
    cerebro.broker.setcommission(commission=RATE)


def pandas_data(cerebro: Any, path: Path) -> None:
    import backtrader as bt

    frame = frame_of(path)
    frame["openinterest"] = 0.0
    cerebro.adddata(bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes))
    cerebro.broker.setcommission(commission=RATE)


def with_btx(cerebro: Any, path: Path, *, fills: str = "bars") -> None:
    import backtrader as bt

    import btx

    store = btx.load("binance", env="backtest", fills=fills, scenario=btx.scenario(data={"BTC/USDT": path}))
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes))


def with_btx_alone(cerebro: Any, path: Path) -> None:
    """Our data and our broker, in backtrader's own loop."""
    with_btx(cerebro, path, fills="stock")
    del vars(cerebro)["_runonce"]


BACKTRADER: dict[str, Callable[[Any, Path], None]] = {
    "btx": with_btx,
    "btx, stock fills": functools.partial(with_btx, fills="stock"),
    "btx, stock loop": with_btx_alone,
    "GenericCSVData": generic_csv,
    "PandasData": pandas_data,
}


def run_backtrader(engine: str, path: Path, *, profile: bool) -> dict[str, Any]:
    import backtrader as bt

    loaded: list[float] = []
    strategy = cross()
    strategy.start = lambda _self: loaded.append(time.process_time())  # all datas are there, nothing has run
    cerebro = bt.Cerebro(stdstats=False)
    started = time.process_time()
    BACKTRADER[engine](cerebro, path)
    cerebro.broker.setcash(CASH)
    cerebro.addstrategy(strategy)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    (done,) = cerebro.run()
    profiler.disable()
    ended = time.process_time()
    return {
        "load": loaded[0] - started,
        "run": ended - loaded[0],
        "trades": len(done.trades),
        "mark": hashlib.sha256(repr((done.trades, cerebro.broker.getvalue())).encode()).hexdigest()[:12],
        "value": cerebro.broker.getvalue(),
        **({"shares": shares(profiler)} if profile else {}),
    }


def frame_of(path: Path) -> Any:
    import pandas

    names = ["time", "open", "high", "low", "close", "volume"]
    frame = pandas.read_csv(path, names=names)
    frame.index = pandas.to_datetime(frame.pop("time") + 60_000, unit="ms")
    return frame


# --- backtesting.py -------------------------------------------------------------------------------------


def run_backtesting(path: Path) -> dict[str, Any]:
    import warnings

    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover

    warnings.simplefilter("ignore")

    def average(values: Any, period: int) -> Any:
        import pandas

        return pandas.Series(values).rolling(period).mean()

    class Cross(Strategy):
        """The same rule in its words."""

        def init(self) -> None:
            self.fast = self.I(average, self.data.Close, FAST)
            self.slow = self.I(average, self.data.Close, SLOW)

        def next(self) -> None:
            if not self.position:
                if crossover(self.fast, self.slow):
                    self.buy(size=1)
            elif crossover(self.slow, self.fast):
                self.position.close()

    started = time.process_time()
    frame = frame_of(path).rename(columns=str.capitalize)
    loaded = time.process_time()
    found = Backtest(frame, Cross, cash=CASH, commission=RATE).run()
    ended = time.process_time()
    return {
        "load": loaded - started,
        "run": ended - loaded,
        "trades": int(found["# Trades"]),
        "mark": "",
        "value": None,
    }


# --- figures --------------------------------------------------------------------------------------------

PLACES = (
    ("indicators as arrays", ("btx/bt/vector", "indicators/", "functions.py")),
    (
        "moving lines, taking turns",
        ("btx/bt/fastrun", "linebuffer.py", "lineiterator.py", "cerebro.py", "btx/bt/history"),
    ),
    (
        "broker: values, matching",
        ("bbroker.py", "btx/bt/ba", "btx/bt/matching", "comminfo.py", "position.py", "broker.py"),
    ),
    ("rules and books", ("btx/rules/", "btx/bt/books", "btx/bt/orders", "btx/bt/margin", "btx/model/", "attr")),
    ("orders, trades, news", ("order.py", "trade.py", "strategy.py", "copy.py", "metabase.py", "autodict.py")),
    ("the strategy's own next()", ("backtest_speed.py", "lineseries.py")),
    ("reading the file", ("klines.py", "pyarrow", "bt/backtest")),
)


def shares(profiler: cProfile.Profile) -> dict[str, float]:
    """Return which part of the profiled time each part of the machinery took itself."""
    found = dict.fromkeys([name for name, _ in PLACES] + ["Python and the rest"], 0.0)
    stats: Any = pstats.Stats(profiler)
    for (file, _line, _name), (_calls, _all_calls, own, _with_callees, _callers) in stats.stats.items():
        name = next((name for name, parts in PLACES if any(part in file for part in parts)), "Python and the rest")
        found[name] += own
    whole = sum(found.values())
    return {name: own / whole for name, own in found.items()}


def one(engine: str, path: Path, *, profile: bool = False) -> dict[str, Any]:
    def run(file: Path) -> dict[str, Any]:
        return run_backtesting(file) if engine == "backtesting.py" else run_backtrader(engine, file, profile=profile)

    run(path.with_name("few.csv"))
    before = peak_bytes()
    done = run(path)
    return {**done, "peak": peak_bytes() - before}


def peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # what the process before exec() used is in ru_maxrss, and not in here
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_a_process(engine: str, path: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--engine", engine, "--file", str(path), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 -- ourselves
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def compare(bars: int, turns: int) -> None:
    facts(f"A backtest of {bars} bars of a minute, SMA {FAST}/{SLOW} cross, best of {turns}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.csv"
        write_bars(path, bars)
        write_bars(path.with_name("few.csv"), 1000)
        taken: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
        for _turn in range(turns):
            for engine in ENGINES:
                taken[engine].append(in_a_process(engine, path))
        profiled = in_a_process("btx", path, "--profile")
    best = {engine: min(each, key=lambda one: one["load"] + one["run"]) for engine, each in taken.items()}
    load = {engine: min(one["load"] for one in each) for engine, each in taken.items()}
    print(f"{'':18} {'load s':>8} {'run s':>8} {'whole s':>8} {'bars/s':>9} {'trades':>7} {'peak MB':>8} {'B/bar':>6}")
    for engine in ENGINES:
        each = best[engine]
        whole = each["load"] + each["run"]
        print(
            f"{engine:18} {load[engine]:8.3f} {each['run']:8.2f} {whole:8.2f} {bars / whole:9.0f} "
            f"{each['trades']:7} {each['peak'] / 2**20:8.1f} {each['peak'] / bars:6.0f}"
        )
    same = len({best[engine]["mark"] for engine in BACKTRADER if engine != "btx"}) == 1
    found = "the same to the bit" if same else "NOT THE SAME"
    print(f"\ntrades and final value of the four that fill as backtrader: {found}")
    print("\nwhere the time of btx goes (profiled, own time)")
    for name, share in sorted(profiled["shares"].items(), key=lambda item: -item[1]):
        print(f"  {name:28} {share:6.1%}")
    whole = {engine: each["load"] + each["run"] for engine, each in best.items()}
    print(
        f"\nratio: load {load['PandasData'] / load['btx']:.0f}x PandasData, "
        f"{load['GenericCSVData'] / load['btx']:.0f}x GenericCSVData | "
        f"whole {whole['PandasData'] / whole['btx']:.1f}x PandasData, {whole['GenericCSVData'] / whole['btx']:.1f}x "
        f"GenericCSVData | btx {whole['btx'] / whole['btx, stock fills']:.2f}x itself with stock fills, "
        f"{whole['btx'] / whole['GenericCSVData']:.2f}x stock backtrader | "
        f"backtesting.py {whole['PandasData'] / whole['backtesting.py']:.1f}x PandasData"
    )
    print(f"\n{on_margin()}")
    if not same:
        sys.exit(1)


# --- positions on margin --------------------------------------------------------------------------------

POSITIONS, MARGIN_BARS = 50, 500


def on_margin() -> str:
    """Hold 50 perpetuals of one account for 500 minutes, in three ways, and say what the differences cost."""
    from margined import Fifty

    calm, funded, marked = (
        min(Fifty(POSITIONS, MARGIN_BARS, **way).seconds() for _ in range(2))
        for way in ({}, {"is_funded": True}, {"is_marked": True})
    )
    times = POSITIONS * MARGIN_BARS
    return (
        f"{POSITIONS} perpetuals held, per position and bar: {calm / times * 1e6:.2f} us; "
        f"a funding {(funded - calm) / times * 1e6:.1f} us more; "
        f"value asked for (all marked anew) {(marked - calm) / times * 1e6:.1f} us more"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=500_000)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    if asked.engine is not None:
        print(json.dumps(one(asked.engine, asked.file, profile=asked.profile)))
        return
    bound(900)
    compare(asked.bars, asked.turns)


if __name__ == "__main__":
    main()
