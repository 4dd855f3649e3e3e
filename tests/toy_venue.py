"""A venue small enough to be read in one go, and honest: orders rest, trigger, fill and are paid for.

It stands behind the ports like an adapter, and does on demand what venues do to
their clients: lose answers, refuse, cut connections, repeat and reorder pushes,
answer late.  Everything happens on the loop its stream runs on.
"""

import asyncio
import enum
import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
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
from btx.model.account import AccountSnapshot, AccountUpdate, Balance, KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import (
    VENUE_MADE,
    Fill,
    Leg,
    Liquidity,
    ListKind,
    OrderList,
    OrderReport,
    OrderRequest,
    OrderType,
    Part,
    Receipt,
    Side,
    Status,
)
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
from btx.ports import Context, Sink, StreamEvent, Wanted
from tests.values import BTC, MINUTE, bar

INFO = VenueInfo(
    name="toy",
    title="Toy",
    api=API,
    markets=("spot",),
    environments=frozenset(Environment),
    capabilities={
        "spot": Capabilities(
            order_types=frozenset(OrderType),
            times_in_force=frozenset(),
            intervals=(MINUTE, Interval.parse("5m")),
            channels=frozenset({Channel.BAR, Channel.TRADE, Channel.ACCOUNT}),
            trailing_bps=(10, 2000),
            replace=True,
            cancel_all=True,
            order_lists=frozenset({ListKind.OCO}),  # the venue takes all kinds; a test that wants them says so
        )
    },
    client_id=ClientIdSpec(
        max_len=12, alphabet="0123456789abcdefghijklmnopqrstuvwxyz", scope="account", queryable=True
    ),
    limits={"spot": (RateLimit(name="weight", limit=1_000_000, window_s=60.0),)},
    costs={"spot": {"place": {"weight": 1}}},
)
FEES = FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), discount_asset="TOY", source="made up")
DEADLINE_S = 60.0
REQUESTS = (
    *("place", "place_list", "replace", "amend", "dead_man", "cancel", "cancel_all", "query", "open_orders", "fills"),
    *("bars", "trades", "account", "dial", "subscribe", "instruments", "time"),
)
_CONDITIONAL = frozenset(OrderType) - {OrderType.MARKET, OrderType.LIMIT}
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_BPS = Decimal(10_000)


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
    DROPPED = "of an amendment: answered as done, and not done"
    HALF_DONE = "of a replacement: the old order is cancelled, the new one refused"


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
    Fault.HALF_DONE: OrderRejectedError("the old order is cancelled, the new one was refused", code=-2021),
}


@attrs.define(kw_only=True)
class ToyOrder:
    leg: Leg
    order_id: str
    status: Status = Status.NEW
    fills: list[Fill] = attrs.field(factory=list)
    is_waiting: bool = False  # for its trigger
    is_pending: bool = False  # of an order list, until its working leg has filled
    peak: Decimal = Decimal(0)  # of a trailing stop: the best price since it rests

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        return self.leg.quantity - self.filled

    @property
    def trigger(self) -> Decimal | None:
        """Where it triggers as things stand."""
        request = self.leg.request
        if request.order_type is not OrderType.TRAILING_STOP:
            return request.trigger_price
        trail = request.trail_amount or self.peak * (request.trail_bps or 0) / _BPS
        return self.peak + request.side.sign * trail


class Connection:
    """One run of the stream."""

    def __init__(self, subscriptions: Collection[Subscription]) -> None:
        self.subscriptions = tuple(subscriptions)
        self.frames: asyncio.Queue[StreamEvent | Exception | None] = asyncio.Queue()

    def has(self, channel: Channel) -> bool:
        return any(each.channel is channel for each in self.subscriptions)

    def wants(self, told: Bar | Trade) -> bool:
        interval = told.interval if isinstance(told, Bar) else None
        channel = Channel.BAR if isinstance(told, Bar) else Channel.TRADE
        return any(
            each.channel is channel
            and each.interval == interval
            and each.instrument is not None
            and each.instrument.symbol == told.symbol
            for each in self.subscriptions
        )


class ToyVenue:
    """The venue; it is its own Store, Broker, Feed and Stream."""

    def __init__(self, *, instruments: Sequence[Instrument] = (BTC,), now_minute: int = 100) -> None:
        self.listed = {each.symbol: each for each in instruments}
        self.now_ns = now_minute * NS_PER_MINUTE
        self.price = Decimal(100)
        self.orders: dict[str, ToyOrder] = {}
        self.lists: dict[str, OrderList] = {}
        self.balances = {"USDT": Decimal(10_000), "BTC": Decimal(0), "TOY": Decimal(5)}
        self.can_trade = True
        self.own_fees: FeeSchedule | None = None  # of the account; None: the venue does not tell
        self.history: dict[tuple[str, str], dict[int, Bar]] = {}
        self.prints: dict[str, list[Trade]] = {}  # what traded, by symbol, oldest first
        self.faults: dict[str, deque[Any]] = {name: deque() for name in REQUESTS}
        self.calls: list[tuple[str, Any]] = []
        self.connections: list[Connection] = []
        self.page = 1000
        self.repeats = 1  # how often each account event is pushed
        self.described: dict[str, dict[str, Any]] = {}  # what else reports of an order say, by its id
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

    def print(self, *told: Trade, push: bool = True) -> None:
        """Let trades happen: the time moves on, history has them, subscribers hear of them."""
        for each in told:
            self.prints.setdefault(each.symbol, []).append(each)
            self.now_ns = max(self.now_ns, each.time_ns)
            if push:
                self.push_trade(each)

    def push_trade(self, told: Trade) -> None:
        for each in self.connections:
            if each.wants(told):
                each.frames.put_nowait(told)

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
        self.follow(order)

    def trade(self, symbol: str, price: Decimal | int | str) -> None:
        """Let the market trade at a price: what waits for it triggers, what rests there fills whole."""
        self.price = Decimal(price)
        for order in [each for each in self.orders.values() if each.leg.request.instrument.symbol == symbol]:
            if order.status.is_final or order.is_pending:
                continue
            if order.is_waiting:
                self._watch(order)
            if not order.is_waiting and _is_marketable(order.leg.request, self.price):
                self.execute(order.leg.client_order_id, order.remaining)

    def follow(self, order: ToyOrder) -> None:
        """Do to the rest of an order's list what its fill or trigger means: the other of a pair ends, others begin."""
        order_list = self.lists.get(order.leg.list_id or "")
        if order_list is None:
            return
        working, *others = (self.orders[leg.client_order_id] for leg in order_list.legs)
        if order_list.kind is not ListKind.OCO and order is working:
            if order.status is Status.FILLED:
                for each in others:
                    self._begin(each)
        elif order_list.kind is not ListKind.OTO:
            pair = (working, *others) if order_list.kind is ListKind.OCO else others
            self._end([each for each in pair if each is not order], Status.EXPIRED)

    def place_foreign(self, client_order_id: str, leg: Leg) -> None:
        """Let somebody else order on the same account."""
        self._accept(attrs.evolve(leg, client_order_id=client_order_id))

    def report(self, order: ToyOrder, *, sequence: int | None = None) -> OrderReport:
        told = OrderReport(
            client_order_id=order.leg.client_order_id,
            venue_order_id=order.order_id,
            symbol=order.leg.request.instrument.symbol,
            status=order.status,
            filled=order.filled,
            sequence=self._next() if sequence is None else sequence,
            time_ns=self.now_ns,
            side=order.leg.request.side,
            order_type=order.leg.request.order_type,
            quantity=order.leg.quantity,
            price=order.leg.request.price,
            trigger_price=order.trigger,
        )
        return attrs.evolve(told, **self.described.get(order.leg.client_order_id, {}))

    def balance_update(self) -> AccountUpdate:
        return AccountUpdate(
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

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        return {each.symbol: self.own_fees for each in instruments if self.own_fees is not None}

    async def key_rights(self) -> KeyRights:
        return KeyRights()

    # --- Broker ------------------------------------------------------------------------------------------

    async def place(self, *, leg: Leg) -> Receipt:
        fault = await self._request("place", leg.client_order_id)
        self._check(leg)
        order = self._accept(leg)
        self._start(order)
        self._answer(fault)
        return Receipt(venue_order_id=order.order_id)

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        fault = await self._request("place_list", order_list.list_id)
        if order_list.list_id in self.lists:
            raise OrderRejectedError("this id was used before", code=-2010)
        working = len(order_list.legs) if order_list.kind is ListKind.OCO else 1
        for index, leg in enumerate(order_list.legs):
            self._check(leg, is_pending=index >= working)
        self.lists[order_list.list_id] = order_list
        orders = [
            self._accept(attrs.evolve(leg, list_id=order_list.list_id), is_pending=index >= working)
            for index, leg in enumerate(order_list.legs)
        ]
        for order in orders[:working]:
            self._start(order)
        self._answer(fault)
        return Receipt(venue_order_id=f"L{orders[0].order_id}")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        fault = await self._request("replace", (leg.client_order_id, new.client_order_id))
        old = self.orders.get(leg.client_order_id)
        if old is None or old.status is not Status.NEW:
            raise OrderRejectedError("the order is not open and untouched: nothing was done", code=-2022)
        self._check(new)
        self._end(self._together(old), Status.CANCELED)
        if fault is Fault.HALF_DONE:
            self._answer(fault)
        order = self._accept(new)
        self._start(order)
        self._answer(fault)
        return Receipt(venue_order_id=order.order_id)

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        fault = await self._request("amend", leg.client_order_id)
        order = self.orders.get(leg.client_order_id)
        if order is None or order.status.is_final:
            raise OrderNotFoundError("unknown order", code=-2013)
        if new.quantity <= order.filled:
            self._end([order], Status.CANCELED)
            raise OrderRejectedError("so much has filled: cancelled", code=-5027)
        if fault is Fault.DROPPED:
            return Receipt(venue_order_id=order.order_id)
        order.leg = attrs.evolve(order.leg, request=new.request, quantity=new.quantity)
        self._tell(self.report(order))
        self._answer(fault)
        return Receipt(venue_order_id=order.order_id)

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        fault = await self._request("cancel", leg.client_order_id)
        order = self.orders.get(leg.client_order_id)
        if order is None or order.status.is_final:
            raise OrderNotFoundError("unknown order", code=-2011)
        self._end(self._together(order), Status.CANCELED)
        self._answer(fault)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        fault = await self._request("cancel_all", instrument.symbol)
        resting = self._open([instrument])
        if not resting:
            raise OrderNotFoundError("there is none", code=-2011)
        self._end(resting, Status.CANCELED)
        self._answer(fault)

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        fault = await self._request("dead_man", (instrument.symbol, after_s))
        self._answer(fault)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        fault = await self._request("query", leg.client_order_id)
        order = self.orders.get(leg.client_order_id) or self._at(leg.client_order_id)
        if order is None:
            raise OrderNotFoundError("no such order", code=-2013)
        self._answer(fault)
        report = attrs.evolve(self.report(order, sequence=0), sequence=None)
        return (report, *(attrs.evolve(fill, sequence=None) for fill in order.fills))

    def _at(self, name: str) -> ToyOrder | None:
        """Return the order that is asked for by its place."""
        number = name.rpartition("-")[2] if name.startswith(VENUE_MADE) else ""
        return next((each for each in self.orders.values() if each.order_id == number), None)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        fault = await self._request("open_orders", tuple(each.symbol for each in instruments))
        self._answer(fault)
        return tuple(self.report(order, sequence=0) for order in self._open(instruments))

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        fault = await self._request("fills", (instrument.symbol, start_ns))
        self._answer(fault)
        found = (
            attrs.evolve(fill, client_order_id="", sequence=None)
            for order in self.orders.values()
            for fill in order.fills
            if fill.symbol == instrument.symbol and fill.time_ns >= start_ns
        )
        return tuple(sorted(found, key=lambda fill: (fill.time_ns, int(fill.fill_id))))

    # --- Feed --------------------------------------------------------------------------------------------

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        await self._request("bars", (instrument.symbol, str(interval), start_ns, end_ns))
        known = self.history.get((instrument.symbol, str(interval)), {})
        return [known[open_ns] for open_ns in sorted(known) if start_ns <= open_ns < end_ns][: self.page]

    async def last_price(self, *, symbol: str) -> Trade | None:
        if self.prints.get(symbol):
            return self.prints[symbol][-1]
        return Trade(
            symbol=symbol, trade_id=1, price=self.price, quantity=Decimal(1), side=Side.BUY, time_ns=self.now_ns
        )

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        return BookSnapshot(symbol=instrument.symbol, bids=(), asks=(), sequence=0)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        await self._request("trades", (instrument.symbol, start_id, start_ns))
        known = self.prints.get(instrument.symbol, [])
        if start_id is not None:
            return [each for each in known if int(each.trade_id) >= start_id][: self.page]
        if start_ns is not None:
            return [each for each in known if each.time_ns >= start_ns][: self.page]
        return known[-self.page :]

    # --- Stream ------------------------------------------------------------------------------------------

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        connection = Connection(wanted.now)
        await self._request("dial", connection.subscriptions)
        self.connections.append(connection)
        following = asyncio.ensure_future(self._follow(connection, wanted))
        try:
            sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=frozenset(connection.subscriptions)))
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
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self.connections.remove(connection)
            self._changed.set()

    async def _follow(self, connection: Connection, wanted: Wanted) -> None:
        """Subscribe what is wanted anew, and say so in between the pushes."""
        try:
            known = frozenset(connection.subscriptions)
            while True:
                known = await wanted.changed(known)
                await self._request("subscribe", known)
                connection.subscriptions = tuple(known)
                connection.frames.put_nowait(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=known))
        except Exception as error:  # noqa: BLE001 -- refused, whatever a test meant by it
            connection.frames.put_nowait(error)

    # --- inside ------------------------------------------------------------------------------------------

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _check(self, leg: Leg, *, is_pending: bool = False) -> None:
        if leg.client_order_id in self.orders:
            raise OrderRejectedError("this id was used before", code=-2010)
        if is_pending or leg.request.order_type is OrderType.TRAILING_STOP:
            return  # a trailing stop stands where the price now puts it, whatever the request says
        if _triggers(leg.request, self.price):
            raise OrderRejectedError("it would trigger at once", code=-2010)

    def _accept(self, leg: Leg, *, is_pending: bool = False) -> ToyOrder:
        order = ToyOrder(
            leg=leg,
            order_id=str(next(self._order_ids)),
            is_waiting=leg.request.order_type in _CONDITIONAL,
            is_pending=is_pending,
            peak=self.price,
        )
        self.orders[leg.client_order_id] = order
        self._tell(self.report(order))
        return order

    def _start(self, order: ToyOrder) -> None:
        if order.leg.request.order_type is OrderType.MARKET:
            self.execute(order.leg.client_order_id, order.leg.quantity)

    def _begin(self, order: ToyOrder) -> None:
        """Let a pending order rest, now that its working order has filled."""
        order.is_pending = False
        order.peak = self.price
        self._tell(self.report(order))
        self._start(order)

    def _watch(self, order: ToyOrder) -> None:
        """Let a waiting order see the price."""
        request = order.leg.request
        if request.order_type is OrderType.TRAILING_STOP:
            order.peak = min(order.peak, self.price) if request.side is Side.BUY else max(order.peak, self.price)
        if _triggers(request, self.price, order.trigger):
            order.is_waiting = False
            self._tell(self.report(order))
            self.follow(order)

    def _together(self, order: ToyOrder) -> list[ToyOrder]:
        """Return the orders that a cancel of this one ends."""
        order_list = self.lists.get(order.leg.list_id or "")
        return [order] if order_list is None else [self.orders[leg.client_order_id] for leg in order_list.legs]

    def _end(self, orders: Collection[ToyOrder], status: Status) -> None:
        for order in orders:
            if not order.status.is_final:
                order.status = status
                self._tell(self.report(order))

    def _open(self, instruments: Collection[Instrument]) -> list[ToyOrder]:
        symbols = {each.symbol for each in instruments}
        return [
            order
            for order in self.orders.values()
            if not order.status.is_final and order.leg.request.instrument.symbol in symbols
        ]

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


def _triggers(request: OrderRequest, price: Decimal, trigger: Decimal | None = None) -> bool:
    """Say whether a trade at ``price`` is what a waiting order waits for."""
    at = trigger if trigger is not None else request.trigger_price
    if at is None or request.order_type not in _CONDITIONAL:
        return False
    rises = (request.side is Side.BUY) is (request.order_type in _STOPS | {OrderType.TRAILING_STOP})
    return price >= at if rises else price <= at


def _is_marketable(request: OrderRequest, price: Decimal) -> bool:
    if request.price is None:
        return request.order_type is not OrderType.MARKET  # one that rests at the venue is a test's to execute
    return price <= request.price if request.side is Side.BUY else price >= request.price


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
    def btx_plan(self, request: OrderRequest) -> tuple[Part, ...]:
        return (Part(quantity=request.quantity),)

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
