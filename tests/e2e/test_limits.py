"""The guard between the real client library and Binance in a box: the venue never has to refuse.

Venue and guard share one clock of the test's own.  It moves while requests are
under way and, when none is, by what the guard sleeps: minutes of the venue's
windows pass as fast as the machine answers.
"""

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import attrs

from btx.config import Secret, Settings
from btx.model.instrument import Instrument
from btx.model.order import Leg, OrderRequest, OrderType, Side
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from btx.model.venue import Endpoints, Environment, Scenario
from btx.ports import Broker, Context, Feed, Store
from btx.runtime.guard import Guard
from btx.sim.world import World
from btx_binance import plugin
from btx_binance.api import api
from btx_binance.sim.app import serving
from btx_binance.sim.exchange_info import listings

WEIGHT, ORDERS_10S = 6000, 100
NOON_NS = 1_772_020_800 * NS_PER_S
LATENCY_NS = 30 * NS_PER_MS
TICK_S = 0.25
HEADERS = {
    "X-MBX-USED-WEIGHT-1M": "weight",
    "X-MBX-ORDER-COUNT-10S": "orders_10s",
    "X-MBX-ORDER-COUNT-1D": "orders_day",
}
MINUTE = Interval.parse("1m")


class Time:
    """One clock for all: it stands still while a request is under way that it has moved for already."""

    def __init__(self) -> None:
        self.now_ns = NOON_NS
        self.on_tick: Callable[[], Awaitable[None]] | None = None
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __call__(self) -> int:
        return self.now_ns

    wire_ns = __call__

    def market_ns(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        until_ns = self.now_ns + round(seconds * NS_PER_S)
        while self.now_ns < until_ns:
            await asyncio.sleep(0)  # whoever has an answer goes on first
            await self._idle.wait()
            self.now_ns = min(until_ns, self.now_ns + round(TICK_S * NS_PER_S))
            if self.on_tick is not None:
                await self.on_tick()

    async def during(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """Let a request take the time requests take."""
        answered_ns = self.now_ns + LATENCY_NS
        self._under_way += 1
        self._idle.clear()
        try:
            return await request()
        finally:
            self.now_ns = max(self.now_ns, answered_ns)
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()


@attrs.define
class Log:
    """What the venue answered: when, its status, and what it counts."""

    statuses: list[int] = attrs.field(factory=list)
    weights: dict[int, int] = attrs.field(factory=dict)  # by minute, the highest
    orders: dict[int, int] = attrs.field(factory=dict)  # by ten seconds

    def note(self, now_ns: int, status: int, headers: Any) -> None:
        self.statuses.append(status)
        self._top(self.weights, now_ns // NS_PER_MINUTE, headers.get("X-MBX-USED-WEIGHT-1M"))
        self._top(self.orders, now_ns // (10 * NS_PER_S), headers.get("X-MBX-ORDER-COUNT-10S"))

    @staticmethod
    def _top(counts: dict[int, int], window: int, count: str | None) -> None:
        if count is not None:
            counts[window] = max(counts.get(window, 0), int(count))


@attrs.define(kw_only=True)
class Bench:
    """A guard, the ports behind it, and everything to hammer them with."""

    time: Time
    guard: Guard
    log: Log
    endpoints: Endpoints
    web: aiohttp.ClientSession
    instrument: Instrument
    price: Decimal
    store: Store
    broker: Broker
    feed: Feed
    ids: Iterator[int] = attrs.field(factory=itertools.count)
    resting: deque[Leg] = attrs.field(factory=deque)

    async def read(self, operation: str, request: Callable[[], Awaitable[Any]]) -> None:
        await self.guard.read(operation, functools.partial(self.time.during, request))

    async def bars(self) -> None:
        now_ns = self.time.now_ns
        ask = functools.partial(self.feed.bars, instrument=self.instrument, interval=MINUTE)
        await self.read("bars", functools.partial(ask, start_ns=now_ns - 3 * NS_PER_MINUTE, end_ns=now_ns))

    async def last_price(self) -> None:
        await self.read("last_price", functools.partial(self.feed.last_price, symbol="BTC/USDT"))

    async def book(self) -> None:
        await self.read("book", functools.partial(self.feed.book, instrument=self.instrument, depth=1000))

    async def account(self) -> None:
        await self.read("account", self.store.account)

    async def place(self) -> None:
        request = OrderRequest(
            instrument=self.instrument,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            price=self.price,
            quantity=Decimal("0.0005"),
            signal_ns=self.time.now_ns,
        )
        leg = Leg(client_order_id=f"hammer-{next(self.ids)}", request=request, quantity=request.quantity)
        place = functools.partial(self.broker.place, leg=leg)
        await self.guard.send("place", functools.partial(self.time.during, place))
        self.resting.append(leg)

    async def cancel(self) -> None:
        if self.resting:
            cancel = functools.partial(self.broker.cancel, leg=self.resting.popleft(), venue_order_id=None)
            await self.guard.send("cancel", functools.partial(self.time.during, cancel))

    async def place_and_cancel(self) -> None:
        await self.place()
        await self.cancel()

    async def hammer(self, work: Mapping[str, int], *, at_once: int = 4) -> None:
        """Do everything as often as it says, as fast as the guard lets it: so many of each kind at once."""

        async def repeat(do: Callable[[], Awaitable[None]], left: Iterator[int]) -> None:
            for _ in left:
                await do()

        async with asyncio.TaskGroup() as group:
            for name, times in work.items():
                do, left = getattr(self, name), iter(range(times))
                for _ in range(at_once):
                    group.create_task(repeat(do, left))


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    time, log = Time(), Log()
    scenario = Scenario(seed=7, warmup_ns=NS_PER_HOUR, until_ns=NS_PER_HOUR)
    guard = Guard(info=plugin.btx_venue(), now_ns=time, sleep=time.sleep)
    async with AsyncExitStack() as resources:
        world = await resources.enter_async_context(World(scenario, listings(scenario), wall_ns=time))
        endpoints = await resources.enter_async_context(serving(world))
        account = endpoints.accounts[0]
        context = Context(
            settings=Settings(api_key=Secret(account.api_key), api_secret=Secret(account.api_secret)),
            environment=Environment.SIM,
            market="spot",
            endpoints=endpoints,
            clock=time,
            resources=resources,
            observe=guard.observe,
        )
        store, broker, feed = plugin.btx_store(context), plugin.btx_broker(context), plugin.btx_feed(context)
        _listen(api(context).client.exchange, time, guard, log)
        instrument = (await store.instruments(symbols=["BTC/USDT"]))["BTC/USDT"]
        last = await feed.last_price(symbol="BTC/USDT")
        assert last is not None
        yield Bench(
            time=time,
            guard=guard,
            log=log,
            endpoints=endpoints,
            web=await resources.enter_async_context(aiohttp.ClientSession()),
            instrument=instrument,
            price=(last.price * Decimal("0.9")).quantize(Decimal("0.01")),
            store=store,
            broker=broker,
            feed=feed,
        )


def _listen(exchange: Any, time: Time, guard: Guard, log: Log) -> None:
    """Note every answer where ccxt has it first, with the venue's own counts."""
    handle = exchange.handle_errors

    def handle_errors(status: int, reason: Any, url: Any, method: Any, headers: Any, *rest: Any) -> Any:
        log.note(time.now_ns, status, headers)
        for header, name in HEADERS.items():
            if header in headers:
                guard.observe(name, int(headers[header]))
        return handle(status, reason, url, method, headers, *rest)

    exchange.handle_errors = handle_errors


class Foreigner:
    """Another program on the same address: it knows nothing of us, and uses half of the weight, evenly."""

    def __init__(self, venue: Bench) -> None:
        self._venue = venue
        self._next_ns = venue.time.now_ns
        self.statuses: list[int] = []

    async def __call__(self) -> None:
        while self._next_ns <= self._venue.time.now_ns:
            self._next_ns += NS_PER_S
            address = f"{self._venue.endpoints.rest}/api/v3/depth?symbol=BTCUSDT&limit=1000"  # weight 50
            async with self._venue.web.get(address) as answer:
                self.statuses.append(answer.status)
                self._venue.log.note(self._venue.time.now_ns, answer.status, answer.headers)


WORK = {"place_and_cancel": 2500, "bars": 3000, "last_price": 1700, "account": 200, "book": 100}


def weight_of_whole_minutes(log: Log) -> float:
    """Return what part of the limit was used, without the first and the last minute, which are not whole."""
    used = list(log.weights.values())[1:-1]
    return sum(used) / len(used) / WEIGHT


def test_ten_thousand_calls_never_pass_a_limit_and_use_most_of_it() -> None:
    async def scene() -> None:
        async with bench() as venue:
            await venue.hammer(WORK)

            assert len(venue.log.statuses) >= 10_000
            assert set(venue.log.statuses) == {200}
            assert max(venue.log.weights.values()) <= WEIGHT
            assert max(venue.log.orders.values()) <= ORDERS_10S
            assert weight_of_whole_minutes(venue.log) >= 0.8

    asyncio.run(scene())


def test_somebody_else_on_the_address_is_left_his_half() -> None:
    async def scene() -> None:
        async with bench() as venue:
            venue.time.on_tick = foreigner = Foreigner(venue)

            await venue.hammer({name: times // 4 for name, times in WORK.items()})

            assert set(foreigner.statuses) == {200}
            assert set(venue.log.statuses) == {200}
            assert max(venue.log.weights.values()) <= WEIGHT
            assert weight_of_whole_minutes(venue.log) >= 0.7
            assert min(list(venue.log.orders.values())[:-1]) >= 90  # reads make room, orders do not

    asyncio.run(scene())


def test_after_a_429_nothing_is_sent_until_the_venue_listens_again() -> None:
    async def scene() -> None:
        async with bench() as venue:
            address = f"{venue.endpoints.rest}/api/v3/depth?symbol=BTCUSDT&limit=5000"  # weight 250
            for _ in range(WEIGHT // 250):
                async with venue.web.get(address) as answer:
                    await answer.read()
            refused_ns = venue.time.now_ns

            await venue.hammer({"bars": 100})

            assert 1 <= venue.log.statuses.count(429) <= 8  # what was under way when the first answer came
            assert 418 not in venue.log.statuses
            assert venue.log.statuses.count(200) >= 100
            assert venue.time.now_ns >= refused_ns + 60 * NS_PER_S

    asyncio.run(scene())
