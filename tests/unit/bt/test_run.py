"""However a run ends, everything of it ends: brokers, datas, stores, threads, signal handlers."""

import contextlib
import math
import signal
import threading
from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

from btx.bt.run import loop_of
from tests.unit.bt.rig import Rig, Script, Toy, minute_of, run, store_on


def playing() -> Rig:
    """Return a rig whose first bar closes when its data is live."""
    rig = Rig()
    rig.add()
    rig.cerebro.adddatacb(lambda data, status, *_, **__: rig.toy.close(100) if status == data.LIVE else None)
    return rig


def in_main_thread(number: signal.Signals) -> None:
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, number)


def test_an_exception_in_next_stops_everything_and_reaches_the_caller() -> None:
    rig = playing()
    listed = Stopping()
    rig.cerebro.adddata(listed)
    before, handler = set(threading.enumerate()), signal.getsignal(signal.SIGINT)
    orders: list[Any] = []

    def on_next(strategy: Script) -> None:
        if len(strategy.data):
            orders.append(strategy.buy(size=1, price=90, exectype=bt.Order.Limit))

    def on_order(_strategy: Script, order: Any) -> None:
        if order.status == order.Accepted:
            raise ZeroDivisionError("of the strategy")

    rig.cerebro.addstrategy(Script, on_next=on_next, on_order=on_order)
    with pytest.raises(ZeroDivisionError, match="of the strategy"):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before
    assert signal.getsignal(signal.SIGINT) is handler
    assert not rig.store.session.is_running
    assert listed.stops == 1
    assert [order.status.value for order in rig.toy.orders.values()] == ["CANCELED"]


def test_a_part_that_cannot_stop_is_told_and_hides_neither_the_cause_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = playing()
    broken, listed = Stopping(name="broken", breaks=True), Stopping()
    rig.cerebro.adddata(broken)
    rig.cerebro.adddata(listed)
    rig.cerebro.addstrategy(Script, on_next=lambda s: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        rig.cerebro.run()

    assert listed.stops == 1
    assert "did not stop cleanly" in caplog.text
    assert not rig.store.session.is_running


def test_runstop_from_another_thread_ends_a_loop_that_waits() -> None:
    rig = playing()
    loop_of(rig.cerebro).wakeup.be_patient(rig)

    strategy = rig.play(on_next=lambda s: rig.toy.soon(rig.cerebro.runstop))

    assert strategy.has_stopped
    assert strategy.bars["BTC/USDT"] == [100]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_loop_that_waits_in_order(number: signal.Signals) -> None:
    rig = playing()
    loop_of(rig.cerebro).wakeup.be_patient(rig)
    handler = signal.getsignal(number)

    strategy = rig.play(on_next=lambda s: rig.toy.soon(in_main_thread, number))

    assert strategy.has_stopped
    assert signal.getsignal(number) is handler


def test_a_second_signal_interrupts_at_once_and_nothing_is_left() -> None:
    rig = playing()
    before = set(threading.enumerate())

    def on_next(_strategy: Script) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    rig.cerebro.addstrategy(Script, on_next=on_next)
    with pytest.raises(KeyboardInterrupt):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before
    assert not rig.store.session.is_running


def test_a_signal_before_the_loop_turns_interrupts_the_start() -> None:
    rig = playing()
    before = set(threading.enumerate())
    rig.cerebro.addstrategy(Script, on_start=lambda s: signal.raise_signal(signal.SIGTERM))

    with pytest.raises(KeyboardInterrupt):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before


def test_a_start_in_which_an_interrupt_is_swallowed_ends_with_it_all_the_same() -> None:
    def swallow(_strategy: Script) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as in a finalizer, which cannot raise
            signal.raise_signal(signal.SIGINT)

    rig = playing()
    before = set(threading.enumerate())
    rig.cerebro.addstrategy(Script, on_start=swallow)

    with pytest.raises(KeyboardInterrupt):
        rig.cerebro.run()

    assert set(threading.enumerate()) <= before


def test_a_handler_of_the_program_itself_is_left_alone() -> None:
    rig = playing()
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:

        def on_next(strategy: Script) -> None:
            signal.raise_signal(signal.SIGTERM)
            strategy.env.runstop()

        rig.play(on_next=on_next)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]


def test_a_cerebro_runs_in_a_thread_of_its_own_and_touches_no_signal() -> None:
    rig = playing()
    rig.cerebro.addstrategy(Script, on_next=lambda s: s.env.runstop())
    handler = signal.getsignal(signal.SIGINT)
    runs: list[Any] = []

    thread = threading.Thread(target=lambda: runs.append(rig.cerebro.run()))
    thread.start()
    thread.join(60)

    assert not thread.is_alive()
    assert len(runs) == 1
    assert signal.getsignal(signal.SIGINT) is handler


def test_two_stores_share_one_wakeup_and_only_one_waits() -> None:
    one, two = Toy(), Toy()
    stores = store_on(one), store_on(two)
    cerebro = bt.Cerebro(stdstats=False)
    for toy, store in zip((one, two), stores, strict=True):
        cerebro.adddata(store.getdata(dataname="BTC/USDT", name=f"data {id(toy)}"))
    loop = loop_of(cerebro)
    loop.wakeup.be_patient(cerebro)
    waits: list[int] = []
    wait = loop.wakeup.wait
    passes: list[int] = []
    loop.wakeup.wait = lambda timeout_s: (waits.append(len(passes)), wait(timeout_s))[1]
    live: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            live.append(data)
            if len(live) == 2:
                one.close(100)

    def on_next(strategy: Script) -> None:
        passes.append(1)
        if len(strategy.data0) and not len(strategy.data1):
            two.close(100)
        elif len(strategy.data1):
            strategy.env.runstop()

    cerebro.adddatacb(on_status)
    cerebro.addstrategy(Script, on_next=on_next)
    strategy = run(cerebro)

    assert [len(bars) for bars in strategy.bars.values()] == [1, 1]
    assert waits.count(1) <= 2  # between the two bars: for the second one, and perhaps for a remark


def test_an_unchanged_sample_strategy_trades() -> None:
    rig = Rig()
    rig.add()
    toy = rig.toy

    def wave(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            swing(100)

    def swing(minute: int) -> None:
        level = round(100 + 20 * math.sin(minute / 8), 2)
        close = Decimal(str(level))
        toy.soon(setattr, toy, "price", close)
        toy.close(minute, open=close, high=close + 1, low=close - 1, close=close)

    class Drives(bt.Analyzer):
        def prenext(self) -> None:
            self.next()

        def next(self) -> None:
            minute = minute_of(self.strategy.data)
            if minute == 300:
                self.strategy.env.runstop()
            else:
                swing(minute + 1)

    rig.cerebro.adddatacb(wave)
    rig.cerebro.addsizer(bt.sizers.PercentSizer, percents=50)
    rig.cerebro.addstrategy(bt.strategies.MA_CrossOver, fast=5, slow=15)
    rig.cerebro.addanalyzer(Drives)
    for analyzer in (bt.analyzers.TradeAnalyzer, bt.analyzers.DrawDown, bt.analyzers.TimeReturn, bt.analyzers.SQN):
        rig.cerebro.addanalyzer(analyzer)
    rig.cerebro.addobserver(bt.observers.Broker)
    rig.cerebro.addobserver(bt.observers.Trades)
    rig.cerebro.addobserver(bt.observers.BuySell)

    strategy = run(rig.cerebro)

    trades = strategy.analyzers.tradeanalyzer.get_analysis().total
    assert trades.closed >= 3
    assert len(rig.toy.orders) >= 2 * trades.closed
    assert rig.broker.ledger()["USDT"] == rig.toy.balances["USDT"]


class Stopping(bt.feed.DataBase):
    """A data that is not ours and counts its stops."""

    lines = ("ts_ms",)
    params = (("name", "listed"), ("breaks", False))

    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1
        if self.p.breaks:
            raise OSError("cannot stop")
