"""Connections for prices that stand beside each other, and one after the other."""

import asyncio
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest

from btx.config import Secret, Settings
from btx.model.market import Bar
from btx.model.time import NS_PER_S
from btx.model.venue import Channel, Environment, StreamState, StreamStatus, Subscription
from btx.ports import Clock, Context, StreamEvent
from btx.runtime.wishes import Wishes
from btx_ctp.api import api
from btx_ctp.stream import CtpStream
from tests.unit.ctp.library import Library, answers, binding, tick
from tests.unit.ctp.values import contract
from tests.values import MINUTE

DEADLINE_S = 60.0
ONE_PAST_NINE_NS = 1_762_131_660 * NS_PER_S  # 2025-11-03T09:01 in Shanghai
FRONTS = {"broker_id": "1", "trading_front": "tcp://127.0.0.1:1", "market_front": "tcp://127.0.0.1:2"}
BARS = Subscription(channel=Channel.BAR, instrument=contract(), interval=MINUTE)
MARKS = Subscription(channel=Channel.MARK, instrument=contract())


class Ear:
    """Hears one connection."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.is_up, self.has_bar = asyncio.Event(), asyncio.Event()
        self.faults: list[str] = []

    def __call__(self, event: StreamEvent) -> None:
        if isinstance(event, Bar):
            self.bars.append(event)
            self.has_bar.set()
        elif isinstance(event, StreamStatus):
            if event.state is StreamState.SUBSCRIBED:
                self.is_up.set()
            else:
                self.faults.append(event.detail)


async def connect(stream: CtpStream, wanted: Subscription) -> tuple[Ear, "asyncio.Task[Any]"]:
    ear = Ear()
    task = asyncio.create_task(stream.run(wanted=Wishes((wanted,)), sink=ear))
    await asyncio.wait_for(ear.is_up.wait(), DEADLINE_S)
    return ear, task


async def hang_up(*tasks: "asyncio.Task[Any]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def made(monkeypatch: pytest.MonkeyPatch, *libraries: Library) -> CtpStream:
    package = binding(*libraries)
    monkeypatch.setattr("btx_ctp.stream.binding_for", lambda _context: package)
    context = Context(
        settings=Settings(api_key=Secret("me"), api_secret=Secret("x"), options=FRONTS),
        environment=Environment.LIVE,
        market="futures",
        endpoints=None,
        clock=cast("Clock", SimpleNamespace(market_ns=lambda: ONE_PAST_NINE_NS)),
        resources=AsyncExitStack(),
    )
    api(context).instruments = {"rb2601": contract()}
    return CtpStream(context)


def test_a_bar_goes_to_the_connection_that_wants_it_though_another_hears_the_same_ticks_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        for_bars, for_marks = Library(answers()), Library(answers())
        stream = made(monkeypatch, for_bars, for_marks)
        bars, first = await connect(stream, BARS)
        marks, second = await connect(stream, MARKS)
        for each in (tick("09:00:00", 10), tick("09:00:30", 15), tick("09:01:00", 15)):
            for_marks.spi.OnRtnDepthMarketData(each)
            for_bars.spi.OnRtnDepthMarketData(each)
        await asyncio.wait_for(bars.has_bar.wait(), DEADLINE_S)
        await hang_up(first, second)

        assert [bar.volume for bar in bars.bars] == [5]
        assert not marks.bars
        assert not bars.faults + marks.faults

    asyncio.run(scene())


def test_the_next_connection_for_bars_counts_on_from_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        before, after = Library(answers()), Library(answers())
        stream = made(monkeypatch, before, after)
        _, first = await connect(stream, BARS)
        before.spi.OnRtnDepthMarketData(tick("09:00:00", 10))
        before.spi.OnRtnDepthMarketData(tick("09:00:10", 12))
        before.spi.OnFrontDisconnected(0x1001)
        await asyncio.wait({first})
        ear, second = await connect(stream, BARS)
        for each in (tick("09:00:30", 15), tick("09:01:00", 15)):
            after.spi.OnRtnDepthMarketData(each)
        await asyncio.wait_for(ear.has_bar.wait(), DEADLINE_S)
        await hang_up(second)

        assert "hung up" in str(first.exception())
        assert [bar.volume for bar in ear.bars] == [5]

    asyncio.run(scene())
