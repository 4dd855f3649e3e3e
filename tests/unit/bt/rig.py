"""A stock cerebro on the real session, with the toy venue behind it; the strategy is a script."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt

from btx.bt.broker import LiveBroker
from btx.bt.store import LiveStore
from btx.config import Settings
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import (
    Fill,
    Group,
    GroupKind,
    Leg,
    Liquidity,
    ListKind,
    Member,
    OrderRequest,
    OrderType,
    Side,
    Status,
    TimeInForce,
)
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import Endpoints, Environment, VenueInfo
from btx.plugins import Venue, new_manager
from btx.ports import Sink, Wanted
from btx.rules.backoff import Backoff
from btx.runtime.bars import BarTimes
from btx.runtime.facts import Timing
from btx.runtime.mailbox import GroupWritten, MemberEnded, MemberUnchanged, OrderUpdate, Recovered
from btx.runtime.session import Session
from tests.toy_venue import FEES, INFO, ToyPlugin, ToyVenue
from tests.values import BTC, MINUTE, bar

Step = Callable[["Script"], object]

DEADLINE_S = 60.0
RECEIVED = "received"  # a fee in the coin that is received: bought coin, or money
ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH", step_size=Decimal("0.0001"))
CROSS = attrs.evolve(BTC, symbol="ETH/BTC", venue_symbol="ETHBTC", base="ETH", quote="BTC", min_notional=None)
FIVE, HOUR = Interval.parse("5m"), Interval.parse("1h")

_AT_ONCE = Backoff(base_s=0.001, cap_s=0.002)
_QUICK = Timing(
    redial=_AT_ONCE, settle_pause_s=0.001, patience_s=0.05, grace_s=0.2, bars=BarTimes(late_pause_s=0.001, settle_s=0.0)
)
_CAPABLE = attrs.evolve(
    INFO.capabilities["spot"],
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC}),
    intervals=(MINUTE, FIVE, HOUR, Interval.parse("1d"), Interval.parse("1w")),
    post_only=True,
)
_INFO = attrs.evolve(INFO, capabilities={"spot": _CAPABLE})
RICH = attrs.evolve(
    INFO,
    capabilities={
        "spot": attrs.evolve(
            _CAPABLE,
            order_types=frozenset(OrderType) - {OrderType.TRAILING_STOP},
            iceberg=True,
            order_lists=frozenset({ListKind.OCO, ListKind.OTOCO}),
        )
    },
)


class ByHand(Session):
    """A session whose groups a test keeps by hand: it says when a leg is sent, and when a member is over."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.requests: list[OrderRequest] = []  # of single orders
        self.groups: list[Group] = []
        self.natives: list[bool] = []
        self.cancelled: list[str] = []
        self.amendments: list[tuple[str, OrderRequest]] = []
        self.ties: list[tuple[str, str | None, str | None]] = []  # of late comers: owner id, oco_with, parent
        self.told: list[tuple[str, str]] = []  # delivered
        self.states: dict[str, str] = {}
        self.left = Recovered()
        self.toy: Any = None
        self._numbers = itertools.count(1)

    def submit(
        self,
        request: OrderRequest,
        *,
        oco_with: str | None = None,
        parent: str | None = None,
        max_age_ns: int | None = None,
    ) -> str:
        if oco_with is None and parent is None:
            self.requests.append(request)
            return super().submit(request, max_age_ns=max_age_ns)
        owner_id = f"late{next(self._numbers)}"
        self.ties.append((owner_id, oco_with, parent))
        kind, head = (GroupKind.OCO, oco_with) if oco_with is not None else (GroupKind.BRACKET, parent)
        tied = Member(member_id=str(head), request=request)
        late = Member(member_id=owner_id, request=request)
        self.write(
            Group(group_id="g", kind=kind, members=(tied, late))
            if kind is GroupKind.OCO
            else Group(group_id="g", kind=kind, entry=tied, members=(late,))
        )
        return owner_id

    def submit_group(
        self,
        kind: GroupKind,
        *,
        entry: OrderRequest | None,
        members: Sequence[OrderRequest],
        native_entry: bool = False,
        max_age_ns: int | None = None,
    ) -> Group:
        number = next(self._numbers)
        group = Group(
            group_id=f"g{number}",
            kind=kind,
            entry=Member(member_id=f"entry{number}", request=entry) if entry is not None else None,
            members=tuple(Member(member_id=f"m{number}{n}", request=each) for n, each in enumerate(members)),
            native_entry=native_entry,
        )
        self.groups.append(group)
        self.natives.append(native_entry)
        if group.entry is not None:
            self.send(group, group.entry.member_id)
        return group

    def write(self, group: Group) -> None:
        """Say that a group is on disk."""
        self.events.put(GroupWritten(group=group))

    def send(self, group: Group, member_id: str, quantity: Any = None, leg_id: str | None = None) -> None:
        """Let a leg of a member leave, of all it asks for if not said otherwise."""
        member = group.member(member_id)
        assert member is not None
        self.send_leg(member_id, member.request, quantity=quantity, leg_id=leg_id, group_id=group.group_id)

    def send_leg(
        self,
        member_id: str,
        request: OrderRequest,
        *,
        quantity: Any = None,
        leg_id: str | None = None,
        group_id: str | None = None,
    ) -> None:
        leg = Leg(
            client_order_id=leg_id or member_id,
            request=request,
            quantity=Decimal(quantity) if quantity is not None else request.quantity,
            member_id=member_id,
            group_id=group_id,
        )

        def submit(desk: Any) -> None:
            desk.submit(leg)
            self.events.put(OrderUpdate(event=None, order=desk.orders[leg.client_order_id]))

        self._call_link(lambda link: submit(link.desk))

    def end(self, member_id: str, status: Status, reason: str = "", group_id: str = "g") -> None:
        """Say that a member is over."""
        self.events.put(MemberEnded(group_id=group_id, member_id=member_id, status=status, reason=reason))

    def keep(self, member_id: str, reason: str, group_id: str = "g") -> None:
        """Say that an amendment of a member came to nothing."""
        self.events.put(MemberUnchanged(group_id=group_id, member_id=member_id, reason=reason))

    def cancel(self, owner_id: str) -> None:
        self.cancelled.append(owner_id)
        super().cancel(owner_id)

    def cancel_all(self, owner_ids: Collection[str]) -> None:
        self.cancelled.extend(owner_ids)
        super().cancel_all(owner_ids)

    def amend(self, owner_id: str, request: OrderRequest) -> None:
        self.amendments.append((owner_id, request))

    def recovered(self) -> Recovered:
        return self.left

    def delivered(self, client_order_id: str, fill_id: str) -> None:
        self.told.append((client_order_id, fill_id))

    def save_state(self, name: str, text: str) -> None:
        if not name.startswith("btx."):  # the session's own
            self.states[name] = text

    def load_state(self, name: str) -> str | None:
        return self.states.get(name)


class Toy(ToyVenue):
    """The toy venue, called from any thread, with fees in the coin a test wants."""

    def __init__(self, *, instruments: Collection[Instrument] = (BTC, ETH), now_minute: int = 100) -> None:
        super().__init__(instruments=tuple(instruments), now_minute=now_minute)
        self.loop: Any = None
        self.fee_asset: str | None = "USDT"
        self.rests_market_orders = False
        self._trade_ids = itertools.count(1)

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        self.loop = asyncio.get_running_loop()
        await super().run(wanted=wanted, sink=sink)

    def soon(self, action: Callable[..., object], *arguments: Any) -> None:
        """Do something at the venue, in the order of the calls."""
        self.loop.call_soon_threadsafe(action, *arguments)

    def write(self, told: Bar) -> None:
        self.history.setdefault((told.symbol, str(told.interval)), {})[told.open_ns] = told

    def close(self, minute: int, *, symbol: str = "BTC/USDT", interval: Interval = MINUTE, **changes: Any) -> None:
        """Let a bar end, whoever asks: history has it, subscribers hear of it."""
        told = bar(minute, symbol=symbol, interval=interval, **changes)

        def happen() -> None:
            self.write(told)
            self.now_ns = max(self.now_ns, told.close_ns)
            for each in self.connections:
                if each.wants(told):
                    each.frames.put_nowait(told)

        self.soon(happen)

    def execute(self, client_order_id: str, quantity: Decimal | int | str, price: Decimal | None = None) -> None:
        order = self.orders[client_order_id]
        request = order.leg.request
        if request.order_type is OrderType.MARKET and self.rests_market_orders:
            return
        size, price = Decimal(quantity), price or request.price or self.price
        instrument = request.instrument
        rate, asset = FEES.taker, self.fee_asset
        if asset == RECEIVED:
            asset = instrument.base if request.side is Side.BUY else instrument.quote
        fee = {None: None, instrument.base: size * rate, instrument.quote: size * price * rate}.get(
            asset, Decimal("0.25")
        )
        fill = Fill(
            fill_id=str(next(self._trade_ids)),
            client_order_id=client_order_id,
            venue_order_id=order.order_id,
            symbol=instrument.symbol,
            side=request.side,
            price=price,
            quantity=size,
            fee=fee,
            fee_asset=asset,
            liquidity=Liquidity.TAKER,
            time_ns=self.now_ns,
            sequence=self._next(),
        )
        order.fills.append(fill)
        order.status = Status.FILLED if order.filled >= order.leg.quantity else Status.PARTIALLY_FILLED
        for name, change in (
            (instrument.base, request.side.sign * size),
            (instrument.quote, -request.side.sign * size * price),
            (asset or instrument.quote, -(fee if fee is not None else size * price * rate)),
        ):
            self.balances[name] = self.balances.get(name, Decimal(0)) + change
        self._tell(fill, self.report(order), self.balance_update())
        self.follow(order)


class Script(bt.Strategy):
    """Writes down everything it is told, and does at each bar or order what the test says."""

    params = (("on_next", None), ("on_order", None), ("on_start", None), ("on_prenext", None))

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.orders: list[Any] = []
        self.store_texts: list[str] = []
        self.trades: list[Any] = []
        self.bars: dict[str, list[int]] = {data._name: [] for data in self.datas}
        self.statuses: dict[str, list[str]] = {data._name: [] for data in self.datas}
        self.minutes: list[int] = []
        self.has_stopped = False

    def start(self) -> None:
        if self.p.on_start is not None:
            self.p.on_start(self)

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        seen = []
        for data in self.datas:
            if len(data) > len(self.bars[data._name]):
                self.bars[data._name].append(minute_of(data))
                seen.append(data._name)
        self.minutes.append(round((bt.date2num(self.datetime.datetime()) - 719163) * 1440))
        self.log.append(("next", tuple(seen)))
        if self.p.on_next is not None:
            self.p.on_next(self)

    def notify_order(self, order: Any) -> None:
        self.orders.append(order)
        self.log.append(("order", order.getstatusname()))
        if self.p.on_order is not None:
            self.p.on_order(self, order)

    def notify_trade(self, trade: Any) -> None:
        self.trades.append(trade)
        self.log.append(("trade", "closed" if trade.isclosed else "open"))

    def notify_data(self, data: Any, status: int, *args: Any, **kwargs: Any) -> None:
        name = data._getstatusname(status)
        self.statuses[data._name].append(name)
        self.log.append(("data", name))

    def notify_store(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.store_texts.append(msg)

    def stop(self) -> None:
        self.has_stopped = True

    @property
    def words(self) -> list[str]:
        """The statuses of all orders as they were told."""
        return [order.getstatusname() for order in self.orders]


class Rig:
    """One store on one toy venue, in one cerebro."""

    def __init__(
        self, toy: Toy | None = None, *extensions: object, store: LiveStore | None = None, **settings: Any
    ) -> None:
        self.toy = toy or Toy()
        of_store = ("currency", "session", "info")
        made = {k: v for k, v in settings.items() if k in of_store}
        self.store = store or store_on(self.toy, *extensions, **made)
        cerebro = {k: v for k, v in settings.items() if k not in of_store}
        self.cerebro = bt.Cerebro(stdstats=False, **cerebro)
        self.broker: LiveBroker = self.store.getbroker()
        self.cerebro.setbroker(self.broker)

    def add(self, symbol: str = "BTC/USDT", timeframe: Any = "1m", **settings: Any) -> Any:
        data = self.store.getdata(dataname=symbol, timeframe=timeframe, **settings)
        self.cerebro.adddata(data)
        return data

    def play(self, **script: Any) -> Script:
        """Run the script until it stops cerebro, and see that nothing is left of it."""
        self.cerebro.addstrategy(Script, **script)
        return run(self.cerebro)


def acts(rig: Rig, *steps: Step) -> dict[str, Any]:
    """Return a script: one step per live bar; the venue closes the next bar when all order news of a step is told.

    A step that returns an order waits until that order is over, or as far as its ``until`` says.
    """
    toy = rig.toy
    remaining: Iterator[Step] = iter(steps)
    waiting: list[Any] = []
    bars = 0

    def go_on(strategy: Script) -> None:
        toy.close(minute_of(strategy.data) + 1)

    def on_next(strategy: Script) -> None:
        nonlocal bars
        if not strategy.data.is_live or len(strategy.data) == bars:  # none yet, or a bar of another data
            return
        bars = len(strategy.data)
        step = next(remaining, None)
        if step is None:
            strategy.env.runstop()
            return
        order = step(strategy)
        if order is not None and order.alive():
            waiting.append(order.ref)
        else:
            go_on(strategy)

    def on_order(strategy: Script, order: Any) -> None:
        if waiting == [order.ref] and not order.alive():
            waiting.clear()
            go_on(strategy)

    open_market(rig)
    return {"on_next": on_next, "on_order": on_order}


def open_market(rig: Rig) -> None:
    """Let the first bar close as soon as the first data is live."""

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE and data is rig.cerebro.datas[0]:
            rig.toy.close(100)

    rig.cerebro.adddatacb(on_status)


def play(rig: Rig, *steps: Step) -> Script:
    return rig.play(**acts(rig, *steps))


def fresh(toy: Toy | None = None, **settings: Any) -> Rig:
    rig = Rig(toy, **settings)
    rig.add()
    return rig


def agree(rig: Rig, strategy: Script) -> None:
    """See that backtrader's cash, value and positions are those of the ledger, and the ledger the venue's."""
    ledger = rig.broker.ledger()
    assert {asset: total for asset, total in ledger.items() if total} == {
        asset: total for asset, total in rig.toy.balances.items() if total
    }
    assert abs(Decimal(rig.broker.getcash()) - ledger["USDT"]) < Decimal("1e-9")
    value = ledger["USDT"]
    for data in strategy.datas:
        held = ledger[data.instrument.base]
        value += held * Decimal(repr(data.close[0]))
        size = strategy.getposition(data).size
        assert abs(Decimal(size) + rig.broker.getdust(data) - held) < Decimal("1e-9")
    assert abs(Decimal(rig.broker.getvalue()) - value) < Decimal("1e-9")


def store_on(
    toy: Toy,
    *extensions: object,
    currency: str = "USDT",
    refusal: str | None = None,
    session: type[Session] = Session,
    info: VenueInfo = _INFO,
) -> LiveStore:
    manager = new_manager()
    for extension in extensions:
        manager.register(extension)
    manager.register(ToyPlugin(toy, info=info), name="venue toy")
    made = session(
        venue=Venue(manager, info),
        environment=Environment.SIM,
        market="spot",
        settings=Settings(currency=currency),
        endpoints=_no_simulator,
        refusal=refusal,
        timing=_QUICK,
    )
    if isinstance(made, ByHand):
        made.toy = toy
    return LiveStore(made)


def run(cerebro: Any) -> Any:
    """Run, at most until the deadline; no thread may be left."""
    before = set(threading.enumerate())
    late: list[str] = []

    def give_up() -> None:
        late.append("the script did not end")
        cerebro.runstop()

    timer = threading.Timer(DEADLINE_S, give_up)
    timer.start()
    try:
        (strategy,) = cerebro.run()
    finally:
        timer.cancel()
        timer.join()
    assert not late
    assert set(threading.enumerate()) <= before
    return strategy


def minute_of(data: Any) -> int:
    """Return the minute a data's present bar opens at."""
    return int(data.ts_ms[0]) * 1_000_000 // NS_PER_MINUTE


async def _no_simulator(_resources: AsyncExitStack) -> Endpoints | None:
    return None
