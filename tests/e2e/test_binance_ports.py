"""All ports of the Binance adapter against Binance in a box, through the hooks and nothing else."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

import aiohttp
import attrs
import pytest

from btx.config import Secret, Settings
from btx.errors import (
    AuthenticationError,
    FilterError,
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    UnknownSymbolError,
)
from btx.model.account import AccountUpdate
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookDelta, Quote, Trade
from btx.model.order import Fill, Leg, OrderReport, OrderRequest, OrderType, Side, Status, TimeInForce
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE, Interval, from_ms
from btx.model.venue import Channel, Endpoints, Environment, Scenario, StreamState, StreamStatus, Subscription
from btx.ports import Broker, Context, Feed, Store, Stream, StreamEvent
from btx.rules import book as book_rules
from btx.rules.orders import apply, new_order
from btx.runtime.wishes import Wishes
from btx_binance import plugin
from btx_binance.limits import COSTS
from btx_binance.sim.market_data import CALLS

T = TypeVar("T")
_MINUTE = Interval.parse("1m")
_DEADLINE_S = 60.0


class Clock:
    """The wall for the wire, and the simulator's word for the market."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.market = endpoints.clock.market_origin_ns

    def wire_ns(self) -> int:
        return time.time_ns()

    def market_ns(self) -> int:
        return self.market


class Heard:
    """A sink that can be waited on."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._news.set()

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@attrs.define(kw_only=True)
class Bench:
    """One session's ports, its two streams' sinks, and the hand on the market's clock."""

    context: Context
    clock: Clock
    control: aiohttp.ClientWebSocketResponse
    store: Store
    broker: Broker
    feed: Feed
    stream: Stream
    symbol: str = "BTC/USDT"
    account: Heard = attrs.field(factory=Heard)
    market: Heard = attrs.field(factory=Heard)
    tasks: list["asyncio.Task[None]"] = attrs.field(factory=list)
    ids: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1))

    async def ask(self, operation: str) -> dict[str, Any]:
        request = {"id": next(self.ids), "op": operation, "api_key": self.context.settings.api_key.reveal()}
        await self.control.send_json(request)
        async with asyncio.timeout(_DEADLINE_S):
            answer: dict[str, Any] = await self.control.receive_json()
        assert "error" not in answer
        return answer

    async def advance(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.clock.market = (await self.ask("advance"))["market_ns"]

    async def listen(self, sink: Heard, *subscriptions: Subscription) -> None:
        run = self.stream.run(wanted=Wishes(subscriptions), sink=sink)
        self.tasks.append(asyncio.ensure_future(run))
        await sink.until(lambda: bool(sink.of(StreamStatus)))
        assert sink.of(StreamStatus)[0].state is StreamState.SUBSCRIBED

    async def listen_to_account(self) -> None:
        await self.listen(self.account, Subscription(channel=Channel.ACCOUNT))

    async def instrument(self, symbol: str | None = None) -> Instrument:
        symbol = symbol or self.symbol
        return (await self.store.instruments(symbols=[symbol]))[symbol]

    async def price(self) -> Decimal:
        last = await self.feed.last_price(symbol=self.symbol)
        assert last is not None
        return last.price

    async def leg(self, **changes: Any) -> Leg:
        instrument = await self.instrument()
        whole: dict[str, Any] = {
            "instrument": instrument,
            "side": Side.BUY,
            "order_type": OrderType.MARKET,
            "quantity": Decimal("0.01"),
            "signal_ns": self.clock.market,
            **changes,
        }
        number = next(self.ids)
        return Leg(client_order_id=f"e2e-{number}", request=OrderRequest(**whole), quantity=whole["quantity"])

    async def until_status(self, leg: Leg, status: Status) -> OrderReport:
        def reports() -> list[OrderReport]:
            mine = [each for each in self.account.of(OrderReport) if each.client_order_id == leg.client_order_id]
            return [each for each in mine if each.status is status]

        await self.account.until(lambda: bool(reports()))
        return reports()[-1]

    def fills(self, leg: Leg) -> list[Fill]:
        return [fill for fill in self.account.of(Fill) if fill.client_order_id == leg.client_order_id]


@asynccontextmanager
async def bench_of(
    endpoints: Endpoints,
    *,
    secret: str | None = None,
    market: str = "spot",
    symbol: str = "BTC/USDT",
    adapter: Any = plugin,
    **changes: Any,
) -> AsyncIterator[Bench]:
    account = endpoints.accounts[0]
    clock = Clock(endpoints)
    async with AsyncExitStack() as resources:
        web = await resources.enter_async_context(aiohttp.ClientSession())
        control = await resources.enter_async_context(web.ws_connect(endpoints.control))
        context = Context(
            settings=Settings(
                api_key=Secret(account.api_key),
                api_secret=Secret(secret or account.api_secret),
                options=changes.pop("options", {}),
            ),
            environment=Environment.SIM,
            market=market,
            endpoints=endpoints,
            clock=clock,
            resources=resources,
            **changes,
        )
        bench = Bench(
            context=context,
            clock=clock,
            control=control,
            store=adapter.btx_store(context),
            broker=adapter.btx_broker(context),
            feed=adapter.btx_feed(context),
            stream=adapter.btx_websocket(context),
            symbol=symbol,
        )
        try:
            yield bench
        finally:
            for task in bench.tasks:
                task.cancel()
            await asyncio.gather(*bench.tasks, return_exceptions=True)


def _run(use: Callable[[Bench], Awaitable[None]], **kwargs: Any) -> None:
    async def run() -> None:
        scenario = Scenario(seed=7, warmup_ns=4 * NS_PER_HOUR, until_ns=4 * NS_PER_HOUR)
        async with plugin.btx_simulator(scenario) as endpoints, bench_of(endpoints, **kwargs) as bench:
            await use(bench)

    asyncio.run(run())


def test_the_store_knows_instruments_account_and_time() -> None:
    async def use(bench: Bench) -> None:
        every = await bench.store.instruments()
        named = await bench.store.instruments(symbols=["ETH/USDT", "NO/SUCH"])
        account = await bench.store.account()

        assert {"BTC/USDT", "ETH/USDT"} <= set(every)
        assert named == {"ETH/USDT": every["ETH/USDT"]}
        assert account.balances["USDT"].free > 0
        assert account.can_trade
        assert abs(await bench.store.server_time_ns() - time.time_ns()) < from_ms(5_000)

    _run(use)


def test_a_wrong_secret_is_an_authentication_error() -> None:
    async def use(bench: Bench) -> None:
        with pytest.raises(AuthenticationError):
            await bench.store.account()
        with pytest.raises(AuthenticationError):
            await bench.stream.run(wanted=Wishes([Subscription(channel=Channel.ACCOUNT)]), sink=bench.account)

    _run(use, secret="wrong")


def test_a_market_order_is_filled_and_the_stream_the_query_and_the_account_agree() -> None:
    async def use(bench: Bench) -> None:
        def told_last() -> Any:
            updates = bench.account.of(AccountUpdate)
            return updates[-1].balances["BTC"] if updates else None

        await bench.listen_to_account()
        leg = await bench.leg(quantity=Decimal("0.05"))

        receipt = await bench.broker.place(leg=leg)
        report = await bench.until_status(leg, Status.FILLED)
        asked = await bench.broker.query(leg=leg)
        account = await bench.store.account()
        await bench.account.until(lambda: told_last() == account.balances["BTC"])

        assert receipt.venue_order_id == report.venue_order_id
        assert sum(fill.quantity for fill in bench.fills(leg)) == Decimal("0.05") == report.filled
        told = {(fill.fill_id, fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in bench.fills(leg)}
        known = [each for each in asked if isinstance(each, Fill)]
        assert {(fill.fill_id, fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in known} == told
        order = new_order(leg)
        for event in [*asked, *bench.account.of(OrderReport), *bench.fills(leg), *asked]:
            order = apply(order, event)
        assert order.status is Status.FILLED
        assert len(order.fills) == len(told)
        fees = sum(fill.fee or Decimal(0) for fill in known if fill.fee_asset == "BTC")
        assert account.balances["BTC"].total == Decimal("0.05") - fees

    _run(use)


def test_a_resting_order_is_listed_and_cancelled_and_then_no_more_found() -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        price = (await bench.price() * Decimal("0.9")).quantize(Decimal("0.01"))
        leg = await bench.leg(order_type=OrderType.LIMIT, price=price, post_only=True)

        await bench.broker.place(leg=leg)
        report = await bench.until_status(leg, Status.NEW)
        listed = await bench.broker.open_orders(instruments=[leg.request.instrument])
        await bench.broker.cancel(leg=leg, venue_order_id=None)
        await bench.until_status(leg, Status.CANCELED)
        with pytest.raises(OrderNotFoundError):
            await bench.broker.cancel(leg=leg, venue_order_id=report.venue_order_id)
        (asked,) = await bench.broker.query(leg=leg)

        assert [each.client_order_id for each in listed] == [leg.client_order_id]
        assert (listed[0].price, listed[0].quantity) == (price, leg.quantity)
        assert isinstance(asked, OrderReport)
        assert asked.status is Status.CANCELED
        assert await bench.broker.open_orders(instruments=[leg.request.instrument]) == ()

    _run(use)


def test_a_resting_order_is_filled_bit_by_bit_by_the_market() -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        funds = (await bench.store.account()).balances["USDT"].free
        price = (await bench.price()).quantize(Decimal("0.01"))
        quantity = (funds * Decimal("0.9") / price).quantize(Decimal("0.00001"))
        leg = await bench.leg(order_type=OrderType.LIMIT, price=price, quantity=quantity)
        await bench.broker.place(leg=leg)
        await bench.account.until(lambda: bool(bench.account.of(OrderReport)))

        for _ in range(120):
            await bench.advance()
            *_, report = await bench.broker.query(leg=leg)
            assert isinstance(report, OrderReport)
            if report.status.is_final:
                break

        await bench.until_status(leg, Status.FILLED)
        fills = bench.fills(leg)
        assert len(fills) > 1
        assert sum(fill.quantity for fill in fills) == quantity
        assert len({fill.fill_id for fill in fills}) == len(fills)
        assert all(fill.price <= price for fill in fills)
        partial = [each for each in bench.account.of(OrderReport) if each.status is Status.PARTIALLY_FILLED]
        assert len(partial) == len(fills) - 1

    _run(use)


def test_refusals_say_what_is_wrong() -> None:
    async def use(bench: Bench) -> None:
        price = await bench.price()
        limit = {"order_type": OrderType.LIMIT, "price": price.quantize(Decimal("0.01"))}

        with pytest.raises(InsufficientFundsError):
            await bench.broker.place(leg=await bench.leg(**{**limit, "quantity": Decimal(50)}))
        with pytest.raises(FilterError, match="LOT_SIZE"):
            await bench.broker.place(leg=await bench.leg(**{**limit, "quantity": Decimal("0.0000150")}))
        with pytest.raises(FilterError, match="NOTIONAL"):
            await bench.broker.place(leg=await bench.leg(**{**limit, "quantity": Decimal("0.00001")}))
        with pytest.raises(FilterError, match="PRICE_FILTER"):
            await bench.broker.place(leg=await bench.leg(**{**limit, "price": Decimal("100.001")}))
        crossing = {**limit, "price": (price * Decimal("1.01")).quantize(Decimal("0.01")), "post_only": True}
        with pytest.raises(OrderRejectedError, match="immediately match"):
            await bench.broker.place(leg=await bench.leg(**crossing))
        with pytest.raises(OrderNotFoundError):
            await bench.broker.query(leg=await bench.leg())
        with pytest.raises(UnknownSymbolError):
            await bench.feed.last_price(symbol="NO/SUCH")

    _run(use)


def test_a_fill_or_kill_that_cannot_be_filled_expires() -> None:
    async def use(bench: Bench) -> None:
        await bench.listen_to_account()
        price = (await bench.price() * Decimal("0.95")).quantize(Decimal("0.01"))
        leg = await bench.leg(order_type=OrderType.LIMIT, price=price, time_in_force=TimeInForce.FOK)

        await bench.broker.place(leg=leg)

        assert (await bench.until_status(leg, Status.EXPIRED)).filled == 0

    _run(use)


def test_history_is_closed_bars_without_a_hole_up_to_now() -> None:
    async def use(bench: Bench) -> None:
        instrument = await bench.instrument()
        start_ns = bench.clock.market - 3 * NS_PER_HOUR

        bars = await bench.feed.bars(
            instrument=instrument, interval=_MINUTE, start_ns=start_ns, end_ns=bench.clock.market + NS_PER_HOUR
        )
        hours = await bench.feed.bars(
            instrument=instrument, interval=Interval.parse("1h"), start_ns=start_ns, end_ns=bench.clock.market
        )
        trades = [*await bench.feed.trades(instrument=instrument, start_ns=start_ns + 2 * NS_PER_HOUR)]
        pages = 1
        while page := await bench.feed.trades(instrument=instrument, start_id=int(trades[-1].trade_id) + 1):
            trades += page
            pages += 1

        assert len(bars) == 180
        assert [bar.open_ns for bar in bars] == [start_ns + index * NS_PER_MINUTE for index in range(180)]
        assert all(bar.is_closed for bar in bars)
        assert len(hours) == 3
        assert sum(bar.volume for bar in hours) == sum(bar.volume for bar in bars)
        ids = [trade.trade_id for trade in trades]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert pages == -(-len(ids) // 1000)
        assert sum(trade.quantity for trade in trades) == hours[-1].volume

    _run(use)


def test_a_page_of_history_is_counted_as_the_venue_counts_it() -> None:
    weights = {call.method: call.weight for call in CALLS}

    assert COSTS["spot"]["trades"]["weight"] == weights["trades.aggregate"]
    assert COSTS["spot"]["bars"]["weight"] == weights["klines"]


def test_the_market_stream_carries_bars_trades_quotes_and_a_book_without_a_hole() -> None:
    async def use(bench: Bench) -> None:
        instrument = await bench.instrument()
        channels = (Channel.TRADE, Channel.QUOTE, Channel.BOOK)
        subscriptions = [Subscription(channel=channel, instrument=instrument) for channel in channels]
        bar = Subscription(channel=Channel.BAR, instrument=instrument, interval=_MINUTE)
        await bench.listen(bench.market, bar, *subscriptions)
        snapshot = await bench.feed.book(instrument=instrument, depth=1000)

        def closed() -> list[Bar]:
            return [each for each in bench.market.of(Bar) if each.is_closed]

        for number in range(1, 4):
            await bench.advance()
            await bench.market.until(lambda number=number: len(closed()) >= number)

        asked = await bench.feed.bars(
            instrument=instrument, interval=_MINUTE, start_ns=closed()[0].open_ns, end_ns=bench.clock.market
        )
        assert tuple(closed()) == tuple(asked)
        ids = [trade.trade_id for trade in bench.market.of(Trade)]
        assert ids == list(range(int(ids[0]), int(ids[0]) + len(ids)))
        assert all(quote.bid_price < quote.ask_price for quote in bench.market.of(Quote))
        book = book_rules.start(snapshot)
        for delta in bench.market.of(BookDelta):
            book = book_rules.apply(book, delta)  # raises at a hole
        assert not book_rules.is_crossed(book)
        assert len(bench.market.of(StreamStatus)) == 1  # SUBSCRIBED, and no fault

    _run(use)
