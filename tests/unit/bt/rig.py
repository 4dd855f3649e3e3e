"""A stock cerebro on the real session, with the toy venue behind it; the strategy is a script."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Collection
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
from btx.model.order import Fill, Liquidity, OrderType, Side, Status, TimeInForce
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import Endpoints, Environment, Subscription
from btx.plugins import Venue, new_manager
from btx.ports import Sink
from btx.rules.backoff import Backoff
from btx.runtime.link import Timing
from btx.runtime.session import Session
from tests.toy_venue import FEES, INFO, ToyPlugin, ToyVenue
from tests.values import BTC, MINUTE, bar

DEADLINE_S = 20.0
RECEIVED = "received"  # a fee in the coin that is received: bought coin, or money
ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH", step_size=Decimal("0.0001"))
CROSS = attrs.evolve(BTC, symbol="ETH/BTC", venue_symbol="ETHBTC", base="ETH", quote="BTC", min_notional=None)
FIVE, HOUR = Interval.parse("5m"), Interval.parse("1h")

_AT_ONCE = Backoff(base_s=0.001, cap_s=0.002)
_QUICK = Timing(redial=_AT_ONCE, settle_pause_s=0.001, patience_s=0.05, grace_s=0.2, late_pause_s=0.001)
_CAPABLE = attrs.evolve(
    INFO.capabilities["spot"],
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC}),
    intervals=(MINUTE, FIVE, HOUR, Interval.parse("1d"), Interval.parse("1w")),
    post_only=True,
)
_INFO = attrs.evolve(INFO, capabilities={"spot": _CAPABLE})


class Toy(ToyVenue):
    """The toy venue, called from any thread, with fees in the coin a test wants."""

    def __init__(self, *, instruments: Collection[Instrument] = (BTC, ETH), now_minute: int = 100) -> None:
        super().__init__(instruments=tuple(instruments), now_minute=now_minute)
        self.loop: Any = None
        self.fee_asset: str | None = "USDT"
        self.rests_market_orders = False
        self._trade_ids = itertools.count(1)

    async def run(self, *, subscriptions: Collection[Subscription], sink: Sink) -> None:
        self.loop = asyncio.get_running_loop()
        await super().run(subscriptions=subscriptions, sink=sink)

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

    def __init__(self, toy: Toy | None = None, *extensions: object, currency: str = "USDT", **cerebro: Any) -> None:
        self.toy = toy or Toy()
        self.store = store_on(self.toy, *extensions, currency=currency)
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


def store_on(toy: Toy, *extensions: object, currency: str = "USDT", refusal: str | None = None) -> LiveStore:
    manager = new_manager()
    for extension in extensions:
        manager.register(extension)
    manager.register(ToyPlugin(toy, info=_INFO), name="venue toy")
    session = Session(
        venue=Venue(manager, _INFO),
        environment=Environment.SIM,
        market="spot",
        settings=Settings(currency=currency),
        endpoints=_no_simulator,
        refusal=refusal,
        timing=_QUICK,
    )
    return LiveStore(session)


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
