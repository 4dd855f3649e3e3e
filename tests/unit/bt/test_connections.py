"""What a strategy learns of its connections, and of bars that come late or cannot be had."""

import asyncio
import datetime
import time
from typing import Any

import attrs
import pytest

from btx.errors import ConfigError
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel, ConnectionState
from btx.runtime.bars import BarTimes
from tests.unit.bt.rig import DEADLINE_S, Rig, Script, Toy, minute_of, run

POLLED = BarTimes(late_pause_s=0.001, settle_s=0.0, grace_s=0.01, poll_s=0.01)


def timed(rig: Rig, times: BarTimes) -> None:
    rig.store.session._timing = attrs.evolve(rig.store.session._timing, bars=times)


def move(rig: Rig, minutes: int) -> None:
    """Let the market's time pass, for the venue and for us."""
    rig.store.session.clock.offset_ns += minutes * NS_PER_MINUTE
    rig.toy.now_ns += minutes * NS_PER_MINUTE


def cut_for_good(toy: Toy) -> None:
    toy.gates["dial"] = asyncio.Event()
    toy.cut(Channel.BAR)


def test_callbacks_hear_of_each_loss_and_each_return_once_on_the_strategys_thread() -> None:
    toy = Toy()
    rig = Rig(toy)
    rig.add()
    told: list[tuple[str, str, str]] = []
    fault = 'FAULT: a callback of the market connection raised ZeroDivisionError("the user\'s")'
    cuts = iter([Channel.BAR])  # one: the data may be live again before anybody is told of the loss

    def on_disconnect(name: str, connection: Any) -> None:
        told.append(("lost", name, connection.reason))
        raise ZeroDivisionError("the user's")

    def on_reconnect(name: str, connection: Any) -> None:
        told.append(("back", name, connection.state.value))

    class Listens(Script):
        def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
            super().notify_store(msg, *args, **kwargs)
            if len(told) == 3 and fault in self.store_texts:
                self.env.runstop()

    rig.store.on_disconnect(on_disconnect)
    rig.store.on_disconnect(lambda name, _: told.append(("lost too", name, "")))
    rig.store.on_reconnect(on_reconnect)

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            for channel in cuts:
                toy.soon(toy.cut, channel)

    rig.cerebro.adddatacb(on_status)
    assert rig.store.connections() == {}

    rig.cerebro.addstrategy(Listens)
    run(rig.cerebro)

    assert told == [
        ("lost", "market", "the connection ended"),
        ("lost too", "market", ""),
        ("back", "market", "CONNECTED"),
    ]
    assert rig.store.connections() == {}


def test_connections_say_how_they_stand_and_since_when() -> None:
    toy = Toy()
    rig = Rig(toy)
    rig.add()
    seen: dict[str, Any] = {}

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            seen.update(rig.store.connections())
            rig.cerebro.runstop()

    rig.cerebro.adddatacb(on_status)
    rig.play()

    assert {name: each.state for name, each in seen.items()} == {
        "account": ConnectionState.CONNECTED,
        "market": ConnectionState.CONNECTED,
    }
    assert seen["account"].since_ns <= seen["market"].since_ns


class Gaps(Script):
    """Keeps what it is told of gaps, and which bars are fillers."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[dict[str, Any]] = []
        self.fillers: list[int] = []

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        super().notify_data(data, status, *args, **kwargs)
        if status == data.GAP:
            self.gaps.append(kwargs)

    def next(self) -> None:
        if self.data.is_filler:
            self.fillers.append(minute_of(self.data))
        super().next()
        self.end()

    def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().notify_store(msg, *args, **kwargs)
        self.end()

    def end(self) -> None:
        """Stop when the bar behind the gap and the remark about it have come, whichever is first."""
        if self.bars["BTC/USDT"][-1:] == [102] and any(text.startswith("GAP") for text in self.store_texts):
            self.env.runstop()


@pytest.mark.parametrize("on_gap", ["halt", "mark", "continue"])
def test_live_bars_that_cannot_be_had_are_told_and_treated_as_asked_for(on_gap: str) -> None:
    toy = Toy()
    toy.write_history([98, 99])
    rig = Rig(toy)
    rig.add(backfill=2, on_gap=on_gap)
    halted: list[str | None] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE and not rig.toy.history["BTC/USDT", "1m"].get(102 * NS_PER_MINUTE):
            move(rig, 3)
            toy.close(102)

    def on_next(strategy: Script) -> None:
        if minute_of(strategy.data) == 102:
            halted.append(rig.store.session.halted())

    rig.cerebro.adddatacb(on_status)
    rig.cerebro.addstrategy(Gaps, on_next=on_next)
    strategy = run(rig.cerebro)

    between = [100, 101] if on_gap == "mark" else []
    assert strategy.bars["BTC/USDT"] == [98, 99, *between, 102]
    assert strategy.fillers == between
    assert strategy.gaps == [
        {
            "start": datetime.datetime.fromisoformat("1970-01-01T01:40"),
            "end": datetime.datetime.fromisoformat("1970-01-01T01:42"),
            "reason": "the venue has none",
            "filled": on_gap == "mark",
        }
    ]
    assert "GAP" in strategy.statuses["BTC/USDT"]
    assert any(text.startswith("GAP: BTC/USDT 1m: no bars") for text in strategy.store_texts)
    assert (halted[0] is not None) == (on_gap == "halt")


def test_a_word_that_is_no_policy_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match="on_gap='stop': choose one of 'halt', 'mark', 'continue'"):
        Rig().store.getdata(dataname="BTC/USDT", on_gap="stop")


def test_bars_that_come_late_are_delayed_and_do_not_wait_for_slower_datas() -> None:
    toy = Toy()
    rig = Rig(toy)
    timed(rig, POLLED)
    data = rig.add()
    rig.add(timeframe="5m", name="five")
    phases: list[tuple[int, bool, bool]] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE and data._name == "five":
            toy.soon(cut_for_good, toy)

    def on_delayed(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.DELAYED and data._name == "BTC/USDT" and minute == [100]:
            minute.append(101)
            move(rig, 1)
            toy.close(100)

    minute = [100]

    class Listens(Script):
        """Stops when the bar and the remark about it have come, whichever is first."""

        def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
            super().notify_store(msg, *args, **kwargs)
            self.end()

        def next(self) -> None:
            super().next()
            phases.append((minute_of(data), data.is_live, data.is_polled))
            self.end()

        def end(self) -> None:
            if phases and any(text.startswith("DEGRADED") for text in self.store_texts):
                self.env.runstop()

    rig.cerebro.adddatacb(on_status)
    rig.cerebro.adddatacb(on_delayed)
    rig.cerebro.addstrategy(Listens)
    strategy = run(rig.cerebro)

    assert phases == [(100, False, True)]
    assert strategy.statuses["BTC/USDT"] == ["CONNECTED", "LIVE", "CONNBROKEN", "DELAYED"]
    assert any(text.startswith("DEGRADED: BTC/USDT 1m") for text in strategy.store_texts)


def test_while_bars_are_asked_for_a_position_may_be_reduced_and_not_enlarged() -> None:
    toy = Toy()
    rig = Rig(toy)
    timed(rig, POLLED)
    data = rig.add()
    left: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            toy.close(100)
        elif status == data.DELAYED:
            move(rig, 2)
            toy.close(101)

    def on_next(strategy: Script) -> None:
        if not data.is_polled:
            strategy.buy(size=2)
        elif not left:
            left.extend((strategy.buy(size=1), strategy.sell(size=3), strategy.close()))

    def on_order(strategy: Script, order: Any) -> None:
        if order.status == order.Completed and order.isbuy():
            toy.soon(cut_for_good, toy)
        elif order.status == order.Completed:
            strategy.env.runstop()

    rig.cerebro.adddatacb(on_status)
    rig.play(on_next=on_next, on_order=on_order)

    assert [order.getstatusname() for order in left] == ["Rejected", "Rejected", "Completed"]
    assert [order.info.get("reason", "")[:7] for order in left] == ["history", "history", ""]


def test_a_data_says_how_many_bars_wait_for_the_strategy() -> None:
    toy = Toy()
    toy.write_history(range(90, 100))
    rig = Rig(toy)
    data = rig.add(backfill=10)
    waiting: list[int] = []
    assert data.backlog == 0

    def on_next(strategy: Script) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not waiting and data.backlog < 9 and time.monotonic() < deadline:
            time.sleep(0.001)  # a strategy that takes its time
        waiting.append(data.backlog)
        if minute_of(strategy.data) == 99:
            strategy.env.runstop()

    rig.play(on_next=on_next)

    assert waiting[0] >= 9  # the other bars, and perhaps the word that they were all
    assert waiting[-1] <= 1
    assert data.backlog == 0
