"""The rig of the tests of backtests on bars: bars and a venue's rules by hand, and a strategy that does as told."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt

from btx.bt.backtest import BacktestStore, Period, StartingAccount
from btx.errors import UnknownSymbolError
from btx.model.account import AccountSnapshot
from btx.model.calendar import ALWAYS, Calendar
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import BarColumns
from btx.model.order import OrderRequest, OrderType, TimeInForce
from btx.model.restrictions import NO_RESTRICTIONS, Restrictions
from btx.model.time import NS_PER_MINUTE, Interval
from btx.model.venue import VenueInfo
from btx.rules.account import Terms
from tests.backtests import START_NS, Shelf
from tests.toy_venue import INFO
from tests.values import BTC

SPOT = attrs.evolve(
    BTC, tick_size=Decimal("0.01"), step_size=Decimal("0.001"), min_quantity=Decimal("0.001"), min_notional=Decimal(5)
)
PERP = attrs.evolve(
    SPOT, symbol="BTC/USDT:USDT", kind=InstrumentKind.LINEAR, liquidation_fee=Decimal("0.01"), min_notional=None
)
COIN = attrs.evolve(
    PERP,
    symbol="BTC/USD:BTC",
    kind=InstrumentKind.INVERSE,
    quote="USD",
    settle="BTC",
    multiplier=Decimal(100),
    step_size=Decimal(1),
    min_quantity=Decimal(1),
)
FEES = FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.002"), source="made up")
FREE = FeeSchedule(maker=Decimal(0), taker=Decimal(0), source="made up")
TIERS = (
    LeverageTier(floor=Decimal(0), cap=Decimal(100_000), max_leverage=50, maintenance_rate=Decimal("0.01")),
    LeverageTier(
        floor=Decimal(100_000),
        max_leverage=10,
        maintenance_rate=Decimal("0.05"),
        maintenance_amount=Decimal(4_000),
    ),
)


def info_of(market: str) -> VenueInfo:
    can = attrs.evolve(
        INFO.capabilities["spot"],
        times_in_force=frozenset(TimeInForce),
        order_types=frozenset(OrderType),
        post_only=True,
        attaching=frozenset({"takeProfit"}),
        margined=market != "spot",
        reduce_only=market != "spot",
        position_modes=frozenset(PositionMode),
        margin_modes=frozenset(MarginMode),
        currency="BTC" if market == "coinm" else "USDT",
    )
    return attrs.evolve(INFO, markets=(market,), capabilities={market: can})


@attrs.frozen(kw_only=True)
class ToyRules:
    """A venue's rules as a test says them."""

    info: VenueInfo
    traded: Mapping[str, Terms]
    fee: FeeSchedule = FEES
    funding: Sequence[FundingRate] | None = ()
    restricted: Restrictions = NO_RESTRICTIONS
    hours: Calendar = ALWAYS
    vetoed: str | None = None

    def terms(self, symbol: str) -> Terms:
        if symbol not in self.traded:
            raise UnknownSymbolError(f"no {symbol}")
        return self.traded[symbol]

    def fees(self, instrument: Instrument) -> FeeSchedule:
        return self.fee

    def calendar(self, instrument: Instrument) -> Calendar:
        return self.hours

    def restrictions(self, instrument: Instrument) -> Restrictions:
        return self.restricted

    def rates(self, instrument: Instrument) -> Sequence[FundingRate] | None:
        return None if self.funding is None else [each for each in self.funding if each.symbol == instrument.symbol]

    def veto(self, request: OrderRequest, account: AccountSnapshot) -> str | None:
        return self.vetoed


Row = Sequence[float]  # open, high, low, close, and volume where it matters


def bars_of(*rows: Row, symbol: str = "BTC/USDT", offset: int = 0, minutes: int = 1) -> BarColumns:
    """Return bars that follow each other."""
    step_ns = minutes * NS_PER_MINUTE
    word = f"{minutes}m" if minutes % 60 else f"{minutes // 60}h"
    opens = [START_NS + offset * NS_PER_MINUTE + number * step_ns for number in range(len(rows))]
    columns: dict[str, Any] = {
        "open_ns": array("q", opens),
        "close_ns": array("q", [each + step_ns for each in opens]),
        **{name: array("d", [row[at] for row in rows]) for at, name in enumerate(("open", "high", "low", "close"))},
        "volume": array("d", [row[4] if len(row) > 4 else 1000.0 for row in rows]),
    }
    return BarColumns(symbol=symbol, interval=Interval.parse(word), **columns)


def flat(*prices: float) -> list[Row]:
    """Return bars that stay at a price."""
    return [(price, price, price, price) for price in prices]


@attrs.define(kw_only=True)
class Run:
    """A run that is over: what the strategy was told, and the broker."""

    strategy: Any
    broker: Any
    told: list[tuple[Any, ...]]
    trades: list[Any]

    def orders(self, ref: int) -> list[str]:
        """The statuses an order went through."""
        return [told[2] for told in self.told if told[1] == ref]

    def fill(self, ref: int) -> tuple[int, float, float]:
        """Bar, size and price of an order's last fill."""
        bar, _, _, size, price, *_ = next(each for each in reversed(self.told) if each[1] == ref and each[3])
        return bar, size, price

    def reason(self, ref: int) -> str:
        return str(next(each for each in reversed(self.told) if each[1] == ref)[5])


def play(
    bars: BarColumns | Sequence[BarColumns],
    script: Mapping[int, Callable[[Any], Any]],
    *,
    terms: Terms | Sequence[Terms] = Terms(instrument=SPOT),  # noqa: B008 -- frozen
    cash: str = "10000",
    mode: PositionMode | None = None,
    legs: Sequence[str | None] = (None,),
    prepare: Callable[[Any], Any] | None = None,
    cerebro_words: Mapping[str, Any] | None = None,
    analyzers: Sequence[Any] = (),
    is_stock: bool = False,
    add: Callable[[Any, Any], Any] = bt.Cerebro.adddata,
    **rules: Any,
) -> Run:
    """Run a strategy that at bar N (from 1 on) does ``script[N](strategy)``; orders are numbered from 1 on.

    ``is_stock``: with backtrader's own broker and the taker's rate. ``add`` adds a data to cerebro.
    """
    shelf = [bars] if isinstance(bars, BarColumns) else list(bars)
    traded = {each.instrument.symbol: each for each in ([terms] if isinstance(terms, Terms) else terms)}
    instrument = next(iter(traded.values())).instrument
    market = {InstrumentKind.SPOT: "spot", InstrumentKind.LINEAR: "usdm"}.get(instrument.kind, "coinm")
    info = info_of(market)
    store = BacktestStore(
        name=f"toy/backtest/{market}",
        title="Toy",
        source=Shelf([attrs.evolve(each, symbol=each.symbol) for each in shelf]),
        intervals=tuple({each.interval for each in shelf}),
        period=Period(),
        account=StartingAccount(cash=Decimal(cash), currency=info.capabilities[market].currency, commission=FEES.taker),
        market=market,
        rules=None if is_stock else ToyRules(info=info, traded=traded, **rules),
        is_margined=market != "spot",
        position_mode=mode,
    )
    told: list[tuple[Any, ...]] = []
    trades: list[Any] = []

    class Scripted(bt.Strategy):
        def notify_order(self, order: Any) -> None:
            executed = order.executed
            told.append(
                (
                    *(len(self), order.ref, order.getstatusname(), executed.size, executed.price),
                    *(order.info.get("reason"), executed.comm, dict(order.info)),
                )
            )

        def notify_trade(self, trade: Any) -> None:
            if trade.isclosed:
                trades.append(trade)

        def next(self) -> None:
            if len(self) in script:
                script[len(self)](self)

    bt.Order.refbasis = iter(range(1, 10**9))
    cerebro = bt.Cerebro(stdstats=False, **(cerebro_words or {}))
    broker: Any = store.getbroker()
    if prepare is not None:
        prepare(broker)
    cerebro.setbroker(broker)
    for each in shelf:
        for leg in legs:
            add(cerebro, store.getdata(each.symbol, interval=str(each.interval), position_side=leg))
    cerebro.addstrategy(Scripted)
    for analyzer in analyzers:
        cerebro.addanalyzer(analyzer)
    (strategy,) = cerebro.run()
    return Run(strategy=strategy, broker=broker, told=told, trades=trades)
