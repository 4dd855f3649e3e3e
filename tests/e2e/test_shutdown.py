"""However a run ends, it ends within five seconds and leaves nothing behind."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import backtrader as bt
import pytest

import btx
from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario

ENDLESS = Scenario(speed=60.0, rebase=True, warmup_ns=NS_PER_DAY)

SCRIPT = """
import backtrader as bt, btx
from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario

class Quiet(bt.Strategy):
    told = False
    def next(self):
        if not self.told:
            self.told = True
            print("running", flush=True)
    def stop(self):
        print("strategy stopped", flush=True)

store = btx.load("binance", env="sim", scenario=Scenario(speed=60.0, rebase=True, warmup_ns=NS_PER_DAY))
cerebro = bt.Cerebro(stdstats=False)
cerebro.setbroker(store.getbroker())
cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe="1m", backfill="5m"))
cerebro.addstrategy(Quiet)
cerebro.run()
import threading
for each in threading.enumerate():
    if each.name.startswith("asyncio-waitpid"):  # Python's own, which saw the simulator end and is about to
        each.join(5)
print("threads", [t.name for t in threading.enumerate()], flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "strategy.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        simulators = children_of(run.pid)

        asked_at = time.monotonic()
        run.send_signal(number)
        output, errors = run.communicate(timeout=10)
        took_s = time.monotonic() - asked_at

    assert run.returncode == 0, errors
    assert "strategy stopped" in output
    assert "threads ['MainThread']" in output
    assert took_s < 5.0
    assert simulators
    assert not any(is_alive(pid) for pid in simulators)


def test_runstop_from_another_thread_ends_the_run_and_leaves_no_thread() -> None:
    before, children = set(threading.enumerate()), children_of(os.getpid())
    store = btx.load("binance", env="sim", scenario=ENDLESS)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe="1m", backfill="5m"))
    cerebro.addstrategy(StopElsewhere)

    cerebro.run()

    assert set(threading.enumerate()) <= before
    assert set(children_of(os.getpid())) <= set(children)


class StopElsewhere(bt.Strategy):
    def next(self) -> None:
        if len(self) == 3:
            threading.Thread(target=self.env.runstop).start()


def test_an_exception_in_next_reaches_the_caller_and_leaves_nothing_running() -> None:
    before, children = set(threading.enumerate()), children_of(os.getpid())
    store = btx.load("binance", env="sim", scenario=ENDLESS)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe="1m", backfill="5m"))
    cerebro.addstrategy(Breaks)

    with pytest.raises(ZeroDivisionError):
        cerebro.run()

    assert set(threading.enumerate()) <= before
    assert set(children_of(os.getpid())) <= set(children)


class Breaks(bt.Strategy):
    def next(self) -> None:
        _ = 1 / 0


def children_of(pid: int) -> list[int]:
    """Return the living child processes of ``pid``, from /proc."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        pytest.skip("this test reads /proc")
    found: list[int] = []
    for task in tasks.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            found.extend(map(int, (task / "children").read_text().split()))
    return [child for child in found if is_alive(child)]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
