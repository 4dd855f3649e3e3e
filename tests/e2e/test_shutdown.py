"""However a run ends, it ends within five seconds and leaves nothing behind."""

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
from tests.leftovers import children_of, is_alive, threads_left

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
        each.join(60)
print("threads", [t.name for t in threading.enumerate()], flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "strategy.py"
    script.write_text(SCRIPT, encoding="utf-8")
    began_at = time.monotonic()
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        simulators = children_of(run.pid)

        asked_at = time.monotonic()
        run.send_signal(number)
        output, errors = run.communicate(timeout=60)
        took_s = time.monotonic() - asked_at

    assert run.returncode == 0, errors
    assert "strategy stopped" in output
    assert "threads ['MainThread']" in output
    assert took_s < 20.0 + (asked_at - began_at)  # a machine that is busy is slow at the start as well
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

    assert threads_left(before) == set()
    assert children_of(os.getpid()) <= children


class StopElsewhere(bt.Strategy):
    def next(self) -> None:
        if len(self) == 3:
            self.other = threading.Thread(target=self.env.runstop)
            self.other.start()

    def stop(self) -> None:
        self.other.join()


def test_an_exception_in_next_reaches_the_caller_and_leaves_nothing_running() -> None:
    before, children = set(threading.enumerate()), children_of(os.getpid())
    store = btx.load("binance", env="sim", scenario=ENDLESS)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe="1m", backfill="5m"))
    cerebro.addstrategy(Breaks)

    with pytest.raises(ZeroDivisionError):
        cerebro.run()

    assert threads_left(before) == set()
    assert children_of(os.getpid()) <= children


class Breaks(bt.Strategy):
    def next(self) -> None:
        _ = 1 / 0
