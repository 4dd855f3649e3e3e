"""Shutdown: nothing is left behind, however a session ends."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from btx.errors import BtxError
from btx.model.order import OrderType
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Channel
from btx.testing import needs
from btx.testing.bench import Bench
from btx.testing.card import CardFailedError, expect, run_card
from btx.testing.hall import Hall, World
from btx.testing.opening import bench_of
from btx.testing.steps import buy, limit

__all__ = ()

_BAR = needs.channel(Channel.BAR)
_LIMIT = needs.order_type(OrderType.LIMIT)
_PATIENCE_S = 5.0
_LOOK_S = 0.02


def _eventually(condition: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(_LOOK_S)
    return True


def _threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def _no_new(before: Iterable[threading.Thread]) -> None:
    """Expect every thread that began since to end."""
    known = set(before)

    def left() -> list[str]:
        return sorted(each.name for each in _threads() - known if each.is_alive())

    if not _eventually(lambda: not left()):
        raise CardFailedError(f"expected no thread to be left, and there is {', '.join(left())}")


def _no_socket(world: World) -> None:
    """Expect every socket at the simulator to be closed."""
    try:
        world.ask("sockets")
    except BtxError:
        return  # this simulator does not tell of its sockets

    def is_free() -> bool:
        return int(world.ask("sockets")["counts"]["open"]) == 0

    if not _eventually(is_free):
        count = world.ask("sockets")["counts"]["open"]
        raise CardFailedError(f"expected every socket to be closed, and {count} are open at the simulator")


async def _session(hall: Hall, world: World, use: Callable[[Bench], Any]) -> list[str]:
    """Open the ports, use and close them; return the names of the tasks that are left."""
    before = asyncio.all_tasks()
    opened = bench_of(
        hall.venue, hall.market, world.endpoints, deadline_s=hall.deadline_s, symbols=(world.symbol, world.other)
    )
    async with opened as bench:
        await use(bench)
    if left := asyncio.all_tasks() - before:
        _, left = await asyncio.wait(left, timeout=_PATIENCE_S)
    return sorted(str(each.get_coro()) for each in left)


async def _busy(bench: Bench) -> None:
    """Use what a session uses: an order where one rests, a stream where there is one, and the account."""
    if OrderType.LIMIT in bench.can.order_types:
        await bench.cancel(await bench.rested())
    if Channel.BAR in bench.can.channels:
        await bench.listen(bench.subscription(Channel.BAR))
    await bench.store.account()


@run_card(
    "END-01",
    "When its resources are closed the adapter leaves no task",
    hint="Context.resources: what is started is entered there",
)
def _tasks(hall: Hall) -> None:
    with hall.world() as world:
        left = asyncio.run(_session(hall, world, _busy))
    expect(not left, f"expected no task to be left, and there is {', '.join(left)}")


@run_card(
    "END-02", "When its resources are closed the adapter leaves no thread", hint="threads of an exchange's library"
)
def _no_threads(hall: Hall) -> None:
    with hall.world() as world:
        before = _threads()
        asyncio.run(_session(hall, world, _busy))
        _no_new(before)


@run_card("END-03", "When its resources are closed the adapter leaves no connection", hint="sockets that nobody closes")
def _sockets(hall: Hall) -> None:
    with hall.world() as world:
        asyncio.run(_session(hall, world, _busy))
        _no_socket(world)


@run_card(
    "END-04",
    "When a run has ended there is no thread and no connection left of it",
    hint="Context.resources",
    needs=(_BAR,),
)
def _after_run(hall: Hall) -> None:
    with hall.world(until_ns=5 * NS_PER_MINUTE) as world:
        before = _threads()
        hall.play(world.load(), {}, datas=[{"dataname": world.symbol}])
        _no_new(before)
        _no_socket(world)


@run_card(
    "END-05",
    "An entry that rests is withdrawn at the end of a run",
    hint="Broker.cancel at the end",
    needs=(_BAR, _LIMIT),
)
def _withdrawn(hall: Hall) -> None:
    with hall.world(until_ns=5 * NS_PER_MINUTE) as world:
        hall.play(world.load(), {2: limit("order", -300)}, datas=[{"dataname": world.symbol}])
        resting = [row for row in world.ledger()["orders"] if row["is_open"]]
        expect(not resting, f"expected the entry to be withdrawn at the end, and {len(resting)} orders rest")


class _StrategyBrokeError(Exception):
    """What a strategy raises in the middle of a run."""


@run_card(
    "END-06",
    "A strategy that raises ends its run, and nothing is left of it",
    hint="Context.resources",
    needs=(_BAR, _LIMIT),
)
def _raises(hall: Hall) -> None:
    def fail(_strategy: Any) -> None:
        raise _StrategyBrokeError

    with hall.world(until_ns=10 * NS_PER_MINUTE) as world:
        before = _threads()
        try:
            hall.play(world.load(), {2: limit("order", -300), 4: fail}, datas=[{"dataname": world.symbol}])
        except _StrategyBrokeError:
            _no_new(before)
            _no_socket(world)
            return
        raise CardFailedError("expected the strategy's error to come out of cerebro.run(), and it ended as if well")


@run_card(
    "END-07",
    "A start that fails leaves nothing",
    hint="what is opened before an error is closed by Context.resources",
    needs=(_BAR,),
)
def _failed_start(hall: Hall) -> None:
    with hall.world(until_ns=5 * NS_PER_MINUTE) as world:
        world.faults({"kind": "key_expiry", "where": "account", "count": 1000})
        before = _threads()
        with contextlib.suppress(BtxError):  # which one is another card's matter
            hall.play(world.load(), {}, datas=[{"dataname": world.symbol}])
        _no_new(before)
        _no_socket(world)


@run_card(
    "END-08",
    "A session ends while the venue does not answer",
    hint="no wait without an end, and no cleanup that needs the venue",
    needs=(_BAR,),
)
def _deaf(hall: Hall) -> None:
    with hall.world() as world:

        async def use(bench: Bench) -> None:
            await _busy(bench)
            await bench.faults({"kind": "outage", "where": "account", "for_s": 30.0})
            with contextlib.suppress(BtxError):
                await bench.store.account()

        before = _threads()
        began = time.monotonic()
        left = asyncio.run(_session(hall, world, use))
        took_s = time.monotonic() - began
        expect(not left, f"expected no task to be left, and there is {', '.join(left)}")
        expect(took_s < 30, f"expected an end though the venue is out, and it took {took_s:.0f} s")
        world.faults()
        _no_new(before)


@run_card(
    "END-09",
    "Two runs after each other in one process do not disturb each other",
    hint="state in modules: keep it in Context.shared",
    needs=(_BAR, needs.order_type(OrderType.MARKET)),
)
def _again(hall: Hall) -> None:
    for _ in range(2):
        with hall.world(until_ns=6 * NS_PER_MINUTE) as world:
            run = hall.play(world.load(), {2: buy("in")}, datas=[{"dataname": world.symbol}])
            told = run.strategy.statuses_of(run.strategy.kept["in"])
            expect(told[-1:] == ["Completed"], f"expected the order to be Completed in each run, and it was {told}")
