"""Whatever the wire does, every bar comes once and whole, and every order is at the venue once."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

from btx.errors import TransportError
from btx.model.market import Bar
from btx.model.time import NS_PER_DAY, from_ms, to_ms
from btx.model.venue import Scenario
from tests.e2e.faulty_wire import Wire
from tests.e2e.trading import account, books_agree
from tests.e2e.venues import Place, on_places
from tests.leftovers import children_of, threads_left

MINUTE_MS = 60_000


class Doer(bt.Strategy):
    """Calls ``act(strategy)`` at each live bar, and writes down what it sees."""

    params = (("act", None),)

    def __init__(self) -> None:
        self.live_bars = 0
        self.bars: dict[str, list[tuple[float, ...]]] = {data._name: [] for data in self.datas}
        self.told: dict[int, list[str]] = {}
        self.placed: list[Any] = []
        self.notes: list[str] = []

    def notify_store(self, message: str, *_: Any, **__: Any) -> None:
        self.notes.append(message)

    def notify_order(self, order: Any) -> None:
        self.told.setdefault(order.ref, []).append(order.getstatusname())

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        for data in self.datas:
            seen = self.bars[data._name]
            if len(data) > len(seen):
                seen.append(
                    (int(data.ts_ms[0]), data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
                )
        if self.data.is_live:
            self.live_bars += 1
            self.p.act(self)


def run(wire: Wire, act: Callable[[Doer], None], *timeframes: str) -> Doer:
    store = wire.store()
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for timeframe in timeframes or ("1m",):
        # A minute passes in a quarter of a second: on a busy machine no signal would be fresh.
        data = store.getdata("BTC/USDT", timeframe=timeframe, backfill=3, name=timeframe, max_signal_age="1d")
        cerebro.adddata(data)
    cerebro.addstrategy(Doer, act=act)
    strategy: Doer
    (strategy,) = cerebro.run()
    return strategy


def free_running(speed: float, **settings: Any) -> Scenario:
    return Scenario(speed=speed, rebase=True, warmup_ns=NS_PER_DAY, **settings)


def test_bars_are_whole_once_and_in_order_however_often_the_market_stream_is_cut() -> None:
    dice = random.Random(7)
    wire = Wire(scenario=free_running(300.0))
    history: dict[str, dict[int, tuple[float, ...]]] = {}
    last_cut: list[int] = []

    def act(strategy: Doer) -> None:
        # Bars that come in a bunch cut one connection several times: cuts are counted where they are told.
        if strategy.live_bars <= 30 or sum("DISCONNECTED" in note for note in strategy.notes) < 10:
            last_cut[:] = [strategy.live_bars]
            delay_s = dice.uniform(0.0, 0.2)  # a minute is 0.2 s: anywhere in it, closes included
            assert wire.loop is not None
            assert wire.market is not None
            wire.loop.call_soon_threadsafe(wire.loop.call_later, delay_s, wire.market.cut)
        elif strategy.live_bars == last_cut[0] + 6:
            for data in strategy.datas:
                history[data._name] = what_the_venue_says(data)
            strategy.env.runstop()

    strategy = run(wire, act, "1m", "5m")

    for name, seen in strategy.bars.items():
        opens = [bar[0] for bar in seen]
        step_ms = MINUTE_MS * int(name[:-1])
        assert opens == list(range(int(opens[0]), int(opens[0]) + len(seen) * step_ms, step_ms))
        assert [bar for bar in seen if bar != history[name][int(bar[0])]] == []
    assert sum("DISCONNECTED" in note for note in strategy.notes) >= 10


def what_the_venue_says(data: Any) -> dict[int, tuple[float, ...]]:
    """Return the venue's own bars of a data by open time, from its first one on, when all of them are long closed."""
    session = data.store.session
    feed = session._link.market_side.bars._history._feed
    start_ns, now_ns = from_ms(int(data.ts_ms.array[0])), session.clock.market_ns()
    bars: list[Bar] = []
    while start_ns < now_ns:
        asked = {"instrument": data.instrument, "interval": data.interval, "start_ns": start_ns, "end_ns": now_ns}
        page = session._io.run(feed.bars(**asked), timeout_s=60.0)
        if not page:
            break
        bars += page
        start_ns = page[-1].close_ns
    return {
        to_ms(bar.open_ns): (
            to_ms(bar.open_ns),
            *(float(getattr(bar, name)) for name in ("open", "high", "low", "close", "volume")),
        )
        for bar in bars
    }


@on_places
def test_orders_are_sent_once_and_settled_when_answers_are_lost_and_the_account_stream_is_cut(place: Place) -> None:
    dice = random.Random(3)
    posts: Counter[str] = Counter()

    def swallows(request: bytes) -> bool:
        if request.startswith(place.orders[0]):
            posts[request.partition(place.client_id)[2][:12].decode()] += 1
        return request.startswith(place.orders) and dice.random() < 0.4

    wire = Wire(
        place=place,
        scenario=free_running(240.0, accounts=(account(USDT="9000000", BTC="50"),)),
        swallows=swallows,
    )

    def trade(strategy: Doer) -> None:
        side = strategy.buy if dice.random() < 0.5 else strategy.sell
        strategy.placed.append(side(size=2.5))  # walks the book
        price = round(strategy.data.close[0] * (1 - 0.0002), 2)
        strategy.placed.append(strategy.buy(size=1, exectype=bt.Order.Limit, price=price))
        wire.cut(wire.account)
        resting = [order for order in strategy.placed[-6:] if order.exectype == bt.Order.Limit]
        for order in resting:
            if dice.random() < 0.5:
                strategy.cancel(order)

    def act(strategy: Doer) -> None:
        if strategy.live_bars <= 10:
            trade(strategy)
            return
        for order in strategy.placed:
            strategy.cancel(order)
        if not any(order.alive() for order in strategy.placed):
            strategy.broker.next()
            books_agree(strategy)
            check_against_the_ledger(strategy)
            strategy.env.runstop()

    strategy = run(wire, act)

    assert strategy.live_bars > 10
    assert len(posts) == 20
    assert set(posts.values()) == {1}
    assert {ends(strategy, order) for order in strategy.placed} == {1}
    assert any("no answer yet" in note for note in strategy.notes)


def ends(strategy: Doer, order: Any) -> int:
    """Return how often ``notify_order`` told the end of an order."""
    finals = ("Completed", "Canceled", "Rejected", "Margin", "Expired")
    return sum(word in finals for word in strategy.told[order.ref])


def check_against_the_ledger(strategy: Doer) -> None:
    filled: Counter[str] = Counter()
    for fill in strategy.data.store.session.ledger()["fills"]:
        filled[fill["client_order_id"]] += Decimal(fill["quantity"])  # type: ignore[assignment]
    for order in strategy.placed:
        assert abs(Decimal(repr(abs(order.executed.size))) - filled[order.info.client_order_id]) < Decimal("1e-9")


def test_a_simulator_that_is_killed_is_one_clear_error_and_leaves_nothing() -> None:
    before, children = set(threading.enumerate()), children_of(os.getpid())  # other tests' children live on

    def act(strategy: Doer) -> None:
        if strategy.live_bars == 1:
            strategy.buy(size=0.01)
            for child in children_of(os.getpid()) - children:
                os.kill(child, signal.SIGKILL)

    with pytest.raises(TransportError, match="the simulator went away"):
        run(Wire(scenario=free_running(120.0)), act)

    assert threads_left(before) == set()
    assert children_of(os.getpid()) <= children
