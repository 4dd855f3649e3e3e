"""A venue small enough to be read in one go, and honest: orders rest, fill and are paid for.

It stands behind the ports like an adapter, and does on demand what venues do to
their clients: lose answers, refuse, cut connections, repeat and reorder pushes,
answer late.  Everything happens on the loop its stream runs on.
"""

import asyncio
import enum
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import (
    InsufficientFundsError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    TransportError,
)
from btx.hookspecs import API, hookimpl
from btx.model.account import AccountSnapshot, Balance, BalanceUpdate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import Fill, Leg, Liquidity, OrderReport, OrderType, Receipt, Side, Status
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import (
    Capabilities,
    Channel,
    ClientIdSpec,
    Endpoints,
    Environment,
    RateLimit,
    Scenario,
    StreamState,
    StreamStatus,
    Subscription,
    VenueInfo,
)
from btx.plugins import Venue, new_manager
from btx.ports import Context, Sink, StreamEvent
from btx.runtime.orders import one_leg
from tests.values import BTC, MINUTE, bar

INFO = VenueInfo(
    name="toy",
    title="Toy",
    api=API,
    markets=("spot",),
    environments=frozenset(Environment),
    capabilities={
        "spot": Capabilities(
            order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
            times_in_force=frozenset(),
            intervals=(MINUTE, Interval.parse("5m")),
            channels=frozenset({Channel.BAR, Channel.ACCOUNT}),
        )
    },
    client_id=ClientIdSpec(
        max_len=12, alphabet="0123456789abcdefghijklmnopqrstuvwxyz", scope="account", queryable=True
    ),
    limits=(RateLimit(name="weight", limit=1_000_000, window_s=60.0),),
    costs={"place": {"weight": 1}},
)
FEES = FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), discount_asset="TOY", source="made up")
DEADLINE_S = 5.0


class Fault(enum.Enum):
    """What happens to one request."""

    LOST_ANSWER = "done, but the answer does not come back"
    LOST_REQUEST = "not done, and the answer does not come back either"
    NOT_SENT = "certainly not done"
    REFUSED = "refused"
    POOR = "refused for want of funds"
    BROKEN = "the adapter has a bug"
    BROKEN_AFTER = "done, then the adapter has a bug"
    SILENT = "no answer, for ever"


_BEFORE: Mapping[Fault, Exception] = {
    Fault.LOST_REQUEST: OutcomeUnknownError("no answer"),
    Fault.NOT_SENT: TransportError("not reached"),
    Fault.REFUSED: OrderRejectedError("refused", code=-1),
    Fault.POOR: InsufficientFundsError("too expensive"),
    Fault.BROKEN: KeyError("field"),
}
_AFTER: Mapping[Fault, Exception] = {
    Fault.LOST_ANSWER: OutcomeUnknownError("no answer"),
    Fault.BROKEN_AFTER: KeyError("field"),
}


@attrs.define(kw_only=True)
class ToyOrder:
    leg: Leg
    order_id: str
    status: Status = Status.NEW
    fills: list[Fill] = attrs.field(factory=list)

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))


class Connection:
    """One run of the stream."""

    def __init__(self, subscriptions: Collection[Subscription]) -> None:
        self.subscriptions = tuple(subscriptions)
        self.frames: asyncio.Queue[StreamEvent | Exception | None] = asyncio.Queue()

    def has(self, channel: Channel) -> bool:
        return any(each.channel is channel for each in self.subscriptions)

    def wants(self, told: Bar) -> bool:
        return any(
            each.interval == told.interval and each.instrument is not None and each.instrument.symbol == told.symbol
            for each in self.subscriptions
        )


class ToyVenue:
    """The venue; it is its own Store, Broker, Feed and Stream."""

    def __init__(self, *, instruments: Sequence[Instrument] = (BTC,), now_minute: int = 100) -> None:
        self.listed = {each.symbol: each for each in instruments}
        self.now_ns = now_minute * NS_PER_MINUTE
        self.price = Decimal(100)
        self.orders: dict[str, ToyOrder] = {}
        self.balances = {"USDT": Decimal(10_000), "BTC": Decimal(0), "TOY": Decimal(5)}
        self.can_trade = True
        self.history: dict[tuple[str, str], dict[int, Bar]] = {}
        self.faults: dict[str, deque[Any]] = {
            name: deque() for name in ("place", "cancel", "query", "bars", "account", "dial", "instruments", "time")
        }
        self.calls: list[tuple[str, Any]] = []
        self.connections: list[Connection] = []
        self.page = 1000
        self.repeats = 1  # how often each account event is pushed
        self.is_muted = False  # account events happen and are not pushed
        self.sequence = 0
        self.gates: dict[str, asyncio.Event] = {}  # a request waits here before it is looked at
        self._fill_ids = itertools.count(1)
        self._order_ids = itertools.count(1)
        self._changed = asyncio.Event()

    # --- what a test does -------------------------------------------------------------------------------

    def count(self, name: str) -> int:
        return sum(1 for each, _ in self.calls if each == name)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that happens at the venue makes ``condition`` true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of(self, channel: Channel) -> list[Connection]:
        return [each for each in self.connections if each.has(channel)]

    def cut(self, channel: Channel, error: Exception | None = None) -> None:
        """Break the connections of a channel; without an error they just end."""
        for each in self.of(channel):
            each.frames.put_nowait(error)

    def write_history(self, minutes: Collection[int], *, interval: Interval = MINUTE, symbol: str = "BTC/USDT") -> None:
        for minute in minutes:
            one = bar(minute, interval=interval, symbol=symbol)
            self.history.setdefault((symbol, str(interval)), {})[one.open_ns] = one

    def push_bar(self, minute: int, *, interval: Interval = MINUTE, symbol: str = "BTC/USDT", **changes: Any) -> None:
        told = bar(minute, interval=interval, symbol=symbol, **changes)
        for each in self.connections:
            if each.wants(told):
                each.frames.put_nowait(told)

    def close_bar(self, minute: int, *, interval: Interval = MINUTE, symbol: str = "BTC/USDT") -> None:
        """Let a bar end: the time moves on, history has it, subscribers hear of it."""
        self.write_history([minute], interval=interval, symbol=symbol)
        self.now_ns = max(self.now_ns, bar(minute, interval=interval).close_ns)
        self.push_bar(minute, interval=interval, symbol=symbol)

    def execute(self, client_order_id: str, quantity: Decimal | int | str) -> None:
        """Fill a part of a resting order, and pay for it."""
        order = self.orders[client_order_id]
        request = order.leg.request
        size, price = Decimal(quantity), request.price or self.price
        fee = size * price * FEES.maker
        order.fills.append(
            Fill(
                fill_id=str(next(self._fill_ids)),
                client_order_id=client_order_id,
                venue_order_id=order.order_id,
                symbol=request.instrument.symbol,
                side=request.side,
                price=price,
                quantity=size,
                fee=fee,
                fee_asset="USDT",
                liquidity=Liquidity.MAKER,
                time_ns=self.now_ns,
                sequence=self._next(),
            )
        )
        order.status = Status.FILLED if order.filled >= order.leg.quantity else Status.PARTIALLY_FILLED
        self.balances["BTC"] += request.side.sign * size
        self.balances["USDT"] -= request.side.sign * size * price + fee
        self._tell(order.fills[-1], self.report(order), self.balance_update())

    def place_foreign(self, client_order_id: str, leg: Leg) -> None:
        """Let somebody else order on the same account."""
        self._accept(attrs.evolve(leg, client_order_id=client_order_id))

    def report(self, order: ToyOrder, *, sequence: int | None = None) -> OrderReport:
        return OrderReport(
            client_order_id=order.leg.client_order_id,
            venue_order_id=order.order_id,
            symbol=order.leg.request.instrument.symbol,
            status=order.status,
            filled=order.filled,
            sequence=self._next() if sequence is None else sequence,
            time_ns=self.now_ns,
        )

    def balance_update(self) -> BalanceUpdate:
        return BalanceUpdate(
            balances={asset: Balance(free=total, locked=Decimal(0)) for asset, total in self.balances.items()},
            time_ns=self.now_ns,
        )

    def tell(self, *events: StreamEvent) -> None:
        """Push on the account stream, as it is."""
        for each in self.of(Channel.ACCOUNT):
            for event in events:
                each.frames.put_nowait(event)

    # --- Store -------------------------------------------------------------------------------------------

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        await self._request("instruments", None)
        return {name: each for name, each in self.listed.items() if symbols is None or name in symbols}

    async def account(self) -> AccountSnapshot:
        await self._request("account", None)
        update = self.balance_update()
        return AccountSnapshot(balances=update.balances, time_ns=update.time_ns, can_trade=self.can_trade)

    async def server_time_ns(self) -> int:
        await self._request("time", None)
        return self.now_ns

    # --- Broker ------------------------------------------------------------------------------------------

    async def place(self, *, leg: Leg) -> Receipt:
        fault = await self._request("place", leg.client_order_id)
        if leg.client_order_id in self.orders:
            raise OrderRejectedError("this id was used before", code=-2010)
        order = self._accept(leg)
        if leg.request.order_type is OrderType.MARKET:
            self.execute(leg.client_order_id, leg.quantity)
        self._answer(fault)
        return Receipt(venue_order_id=order.order_id)

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        fault = await self._request("cancel", leg.client_order_id)
        order = self.orders.get(leg.client_order_id)
        if order is None or order.status.is_final:
            raise OrderNotFoundError("unknown order", code=-2011)
        order.status = Status.CANCELED
        self._tell(self.report(order))
        self._answer(fault)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        fault = await self._request("query", leg.client_order_id)
        order = self.orders.get(leg.client_order_id)
        if order is None:
            raise OrderNotFoundError("no such order", code=-2013)
        self._answer(fault)
        report = attrs.evolve(self.report(order, sequence=0), sequence=None)
        return (report, *(attrs.evolve(fill, sequence=None) for fill in order.fills))

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        return tuple(self.report(order, sequence=0) for order in self.orders.values() if not order.status.is_final)

    # --- Feed --------------------------------------------------------------------------------------------

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        await self._request("bars", (instrument.symbol, str(interval), start_ns, end_ns))
        known = self.history.get((instrument.symbol, str(interval)), {})
        return [known[open_ns] for open_ns in sorted(known) if start_ns <= open_ns < end_ns][: self.page]

    async def last_price(self, *, symbol: str) -> Trade | None:
        return Trade(
            symbol=symbol, trade_id=1, price=self.price, quantity=Decimal(1), side=Side.BUY, time_ns=self.now_ns
        )

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        return BookSnapshot(symbol=instrument.symbol, bids=(), asks=(), sequence=0)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> AsyncIterator[Trade]:
        nothing: tuple[Trade, ...] = ()
        for trade in nothing:
            yield trade

    # --- Stream ------------------------------------------------------------------------------------------

    async def run(self, *, subscriptions: Collection[Subscription], sink: Sink) -> None:
        connection = Connection(subscriptions)
        await self._request("dial", connection.subscriptions)
        self.connections.append(connection)
        try:
            sink(StreamStatus(state=StreamState.SUBSCRIBED))
            self._changed.set()
            while True:
                frame = await connection.frames.get()
                if frame is None:
                    return
                if isinstance(frame, Exception):
                    raise frame
                sink(frame)
                self._changed.set()
        finally:
            self.connections.remove(connection)
            self._changed.set()

    # --- inside ------------------------------------------------------------------------------------------

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _accept(self, leg: Leg) -> ToyOrder:
        order = ToyOrder(leg=leg, order_id=str(next(self._order_ids)))
        self.orders[leg.client_order_id] = order
        self._tell(self.report(order))
        return order

    def _tell(self, *events: StreamEvent) -> None:
        if not self.is_muted:
            for _ in range(self.repeats):
                self.tell(*events)

    async def _request(self, name: str, what: Any) -> Fault | None:
        self.calls.append((name, what))
        self._changed.set()
        if (gate := self.gates.get(name)) is not None:
            await gate.wait()
        fault = self.faults[name].popleft() if self.faults[name] else None
        if fault is Fault.SILENT:
            await asyncio.Event().wait()
        if isinstance(fault, Exception):
            raise fault
        if callable(fault):
            fault()
            return None
        assert fault is None or isinstance(fault, Fault)
        if fault is not None and fault in _BEFORE:
            raise _BEFORE[fault]
        return fault

    def _answer(self, fault: Fault | None) -> None:
        if fault is not None:
            raise _AFTER[fault]


class ToyPlugin:
    """The hooks of a toy venue."""

    def __init__(self, toy: ToyVenue, *, info: VenueInfo = INFO) -> None:
        self._toy = toy
        self._info = info

    @hookimpl
    def btx_venue(self) -> VenueInfo:
        return self._info

    @hookimpl
    def btx_store(self, context: Context) -> ToyVenue:
        return self._toy

    @hookimpl
    def btx_broker(self, context: Context) -> ToyVenue:
        return self._toy

    @hookimpl
    def btx_feed(self, context: Context) -> ToyVenue:
        return self._toy

    @hookimpl
    def btx_websocket(self, context: Context) -> ToyVenue:
        return self._toy

    @hookimpl
    def btx_plan(self, request: Any, client_order_id: str) -> tuple[Leg, ...]:
        return one_leg(request, client_order_id)

    @hookimpl
    def btx_commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
        return FEES

    @hookimpl
    def btx_simulator(self, scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
        raise NotImplementedError


def loaded(toy: ToyVenue, *extensions: object, plugin: object | None = None) -> Venue:
    """Return the venue as a session gets it, with extensions around it."""
    manager = new_manager()
    for extension in extensions:
        manager.register(extension)
    manager.register(plugin or ToyPlugin(toy), name="venue toy")
    return Venue(manager, INFO)
