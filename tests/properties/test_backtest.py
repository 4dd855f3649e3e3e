"""A backtest with btx is backtrader's own to the last bit, whatever the strategy does."""

import datetime
import random
from typing import Any

import attrs
import backtrader as bt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backtests import Told, both, columns, stock_feed

EXECTYPES = (
    *(bt.Order.Market, bt.Order.Close, bt.Order.Limit, bt.Order.Stop),
    *(bt.Order.StopLimit, bt.Order.StopTrail, bt.Order.StopTrailLimit),
)


def newest(line: Any) -> Any:
    return line[0] if len(line) else None


class Gambler(bt.Strategy):
    """Does what dice say: every kind of order, brackets, OCO, cancels, cash added; and tells all it is told."""

    params: Any = (("seed", 0), ("told", None), ("busy", 0.3), ("hears_cash", False), ("couples", True))

    def __init__(self) -> None:
        self.dice = random.Random(self.p.seed)
        self.fast = [bt.ind.SMA(data.close, period=3) for data in self.datas]
        self.cross = bt.ind.CrossOver(self.data.close, bt.ind.EMA(self.data, period=7))
        self.spread = self.data.high - self.data.low
        self.rsi = bt.ind.RSI(self.datas[-1], period=5, safediv=True)
        if len(self.datas) > 1 and self.p.couples:
            self.other = bt.ind.SMA(self.datas[1](), period=2)  # coupled to the clock of the first data
        if self.p.hears_cash:
            self.notify_cashvalue = lambda cash, value: self.p.told("cash", cash, value)
        self.open: list[Any] = []

    def notify_order(self, order: Any) -> None:
        self.p.told(
            *(
                "order",
                self.p.seed,
                len(self),
                order.ref,
                order.getstatusname(),
                order.executed.dt,
                order.executed.size,
            ),
            *(
                order.executed.price,
                order.executed.comm,
                order.executed.pnl,
                order.created.price,
                order.created.pricelimit,
            ),
        )

    def notify_trade(self, trade: Any) -> None:
        self.p.told("trade", trade.ref, trade.size, trade.price, trade.pnl, trade.pnlcomm, trade.dtopen, trade.dtclose)

    def notify_timer(self, timer: Any, when: Any, *_args: Any, **_kwargs: Any) -> None:
        self.p.told("timer", str(when), len(self), [len(data) for data in self.datas], newest(self.cross))

    def prenext(self) -> None:
        self.look("prenext")

    def nextstart(self) -> None:
        self.look("nextstart")
        self.next()

    def next_open(self) -> None:
        self.look("open")
        if self.dice.random() < 0.1:
            self.buy(size=1)

    def look(self, where: str) -> None:
        data = self.datas[self.dice.randrange(len(self.datas))]
        self.p.told(
            *(where, len(self), self.data.datetime[0], [len(each) for each in self.datas], self.broker.getvalue()),
            *(
                self.broker.getcash(),
                self.broker.fundvalue,
                *map(newest, (self.fast[0], self.cross, self.spread, self.rsi)),
            ),
            *(getattr(data, "tick_close", None), getattr(data, "tick_open", None) if len(data) else None, len(data)),
            *(
                self.position.size,
                self.broker.getvalue(datas=[data]) if len(data) else None,
                str(getattr(self.position, "datetime", None)),
            ),
        )

    def next(self) -> None:
        dice = self.dice
        self.look("next")
        if dice.random() > self.p.busy:
            return
        data = self.datas[dice.randrange(len(self.datas))]
        price = data.close[0]
        deed = dice.random()
        if deed < 0.5:
            self.order(data, price)
        elif deed < 0.65:
            make = self.buy_bracket if dice.random() < 0.5 else self.sell_bracket
            sign = 1 if make == self.buy_bracket else -1
            self.open += make(
                data=data,
                size=dice.choice((1, 3, 0.5)),
                price=price,
                exectype=dice.choice((bt.Order.Market, bt.Order.Limit)),
                stopprice=price - sign * dice.random() * 2,
                limitprice=price + sign * dice.random() * 2,
            )
        elif deed < 0.75:
            self.close(data=data)
        elif deed < 0.8:
            self.order_target_percent(data=data, target=dice.choice((0.2, 0.0, -0.1)))
        elif deed < 0.9 and self.open:
            self.cancel(self.open.pop(dice.randrange(len(self.open))))
        elif deed < 0.94:
            self.broker.add_cash(dice.choice((100, -50, 0.1)))
        elif deed < 0.96:
            self.broker.set_cash(dice.choice((9000, 11000.5)))
        elif deed > 0.997:
            self.env.runstop()

    def order(self, data: Any, price: float) -> None:
        dice = self.dice
        exectype = dice.choice(EXECTYPES)
        away = dice.gauss(0, 1)
        words: dict[str, Any] = {"data": data, "size": dice.choice((1, 2, 0.3, 500)), "exectype": exectype}
        if exectype not in {bt.Order.Market, bt.Order.Close}:
            words["price"] = price + away
        if exectype in {bt.Order.StopLimit, bt.Order.StopTrailLimit}:
            words["plimit"] = price + away + dice.gauss(0, 0.5)
        if exectype in {bt.Order.StopTrail, bt.Order.StopTrailLimit}:
            words["trailamount" if dice.random() < 0.5 else "trailpercent"] = dice.choice((0.5, 0.02))
        if dice.random() < 0.3:
            words["valid"] = datetime.timedelta(minutes=dice.randrange(1, 9))
        if self.open and dice.random() < 0.2:
            words["oco"] = self.open[-1]
        made = (self.buy if dice.random() < 0.5 else self.sell)(**words)
        if made is not None:
            self.open.append(made)


@st.composite
def markets(draw: st.DrawFn) -> list[Any]:
    """One to three datas: unaligned stamps, holes, several timeframes."""
    seed = draw(st.integers(0, 10**6))
    first = columns(seed, draw(st.integers(30, 120)), holes=draw(st.sampled_from((0.0, 0.2))))
    others = [
        columns(
            seed + number,
            draw(st.integers(20, 60)),
            minutes=draw(st.sampled_from((1, 5, 15))),
            offset=draw(st.integers(0, 20)),
            holes=draw(st.sampled_from((0.0, 0.3))),
            symbol=("ETH/USDT", "SOL/USDT")[number],
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    return [first, *others]


BROKERS = (
    {},
    {"coc": True},
    {"checksubmit": False},
    {"shortcash": False},
    {"slip_perc": 0.001, "slip_open": True},
    {"fundmode": True},
    {"int2pnl": False},
)
COMMISSIONS: tuple[dict[str, Any], ...] = (
    {},
    {"commission": 0.001, "interest": 0.1},
    {"commission": 0.001, "interest": 0.1, "interest_long": True},
    {"commission": 2.0, "margin": 50.0, "mult": 3.0},
    {"commission": 0.001, "leverage": 3.0},
    {"commission": 0.5, "automargin": 0.2, "stocklike": False, "margin": 5.0},
)


@attrs.frozen(kw_only=True)
class Case:
    """A run: its bars, its dice, and everything one may switch on in a cerebro."""

    bars: list[Any]
    seed: int
    busy: float
    broker: dict[str, Any]
    commission: dict[str, Any]
    run: dict[str, Any]
    extras: set[str]

    def build(self, cerebro: Any, datas: list[Any], told: Told) -> None:
        for name, value in self.broker.items():
            setattr(cerebro.broker.p, name, value)
        if self.commission:
            cerebro.broker.setcommission(**self.commission)
        for data in datas:
            cerebro.adddata(data)
        self._add_datas(cerebro, datas[0])
        words = {
            "told": told,
            "busy": self.busy,
            "hears_cash": "cash" in self.extras,
            "couples": "writer" not in self.extras,  # backtrader cannot write a coupler down
        }
        for number in range(1 + ("second" in self.extras)):
            cerebro.addstrategy(Gambler, seed=self.seed + number, **words)
        self._add_listeners(cerebro, told)

    def _add_datas(self, cerebro: Any, data: Any) -> None:
        if "resample" in self.extras:
            cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=10)
        if "clone" in self.extras:
            cerebro.adddata(data.copyas("COPY"))

    def _add_listeners(self, cerebro: Any, told: Told) -> None:
        if "analyzers" in self.extras:
            for each in (
                "TradeAnalyzer",
                "DrawDown",
                "TimeReturn",
                "SharpeRatio",
                "Transactions",
                "PositionsValue",
                "SQN",
            ):
                cerebro.addanalyzer(getattr(bt.analyzers, each))
        if "timer" in self.extras:
            cerebro.add_timer(datetime.time(0, 7), repeat=datetime.timedelta(minutes=9), strats=True)
        if "cheat timer" in self.extras:
            cerebro.add_timer(datetime.time(0, 5), repeat=datetime.timedelta(minutes=11), strats=True, cheat=True)
        if "writer" in self.extras:
            cerebro.addwriter(Tape, told=told)


RUNS = st.fixed_dictionaries(
    {},
    optional={
        "stdstats": st.just(True),
        "runonce": st.just(False),
        "preload": st.just(False),
        "exactbars": st.sampled_from((1, -1, -2)),
        "cheat_on_open": st.just(True),
        "quicknotify": st.just(True),
        "oldsync": st.just(True),
        "lookahead": st.just(3),
        "tradehistory": st.just(True),
    },
)
EXTRAS = ("analyzers", "timer", "cheat timer", "second", "cash", "writer", "resample", "clone")
CASES = st.builds(
    Case,
    bars=markets(),
    seed=st.integers(0, 10**6),
    busy=st.sampled_from((0.05, 0.3, 0.9)),
    broker=st.sampled_from(BROKERS),
    commission=st.sampled_from(COMMISSIONS),
    run=st.one_of(st.just({}), RUNS),
    extras=st.one_of(st.just(set()), st.sets(st.sampled_from(EXTRAS))),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CASES)
def test_whatever_a_strategy_does_it_sees_and_gets_what_backtrader_alone_gives(case: Case) -> None:
    alone, ours = both(case.bars, case.build, **case.run)

    assert ours == alone


class Tape(bt.WriterBase):
    """A writer that tells every row it is given."""

    params: Any = (("told", None), ("csv", True))

    def start(self) -> None:
        """Nothing to open."""

    def stop(self) -> None:
        """Nothing to close."""

    def next(self) -> None:
        """A row ends."""

    def addheaders(self, headers: Any) -> None:
        self.p.told("headers", list(headers))

    def addvalues(self, values: Any) -> None:
        self.p.told("row", list(map(str, values)))

    def writedict(self, dct: Any, level: int = 0, recurse: bool = False) -> None:
        """Nothing: it names classes, and those differ."""


def replayed(cerebro: Any, datas: list[Any]) -> None:
    cerebro.replaydata(datas[0], timeframe=bt.TimeFrame.Minutes, compression=5)


def resampled_alone(cerebro: Any, datas: list[Any]) -> None:
    cerebro.resampledata(datas[0], timeframe=bt.TimeFrame.Minutes, compression=5)


def into_days(cerebro: Any, datas: list[Any]) -> None:
    cerebro.adddata(datas[0])
    cerebro.resampledata(datas[0], timeframe=bt.TimeFrame.Days)


def rolled_over(cerebro: Any, datas: list[Any]) -> None:
    cerebro.rolloverdata(*datas)


def beside_a_stranger(cerebro: Any, datas: list[Any]) -> None:
    for data in (*datas, stock_feed(columns(9, 50, symbol="XRP/USDT", holes=0.3))):
        cerebro.adddata(data)


@pytest.mark.parametrize("way", [replayed, resampled_alone, into_days, rolled_over, beside_a_stranger])
def test_however_datas_are_mixed_the_run_is_backtraders(way: Any) -> None:
    def build(cerebro: Any, datas: list[Any], told: Told) -> None:
        way(cerebro, datas)
        cerebro.addstrategy(Gambler, seed=3, told=told, couples=False)
        cerebro.addanalyzer(bt.analyzers.TimeReturn)

    alone, ours = both([columns(1, 150), columns(2, 150, symbol="ETH/USDT")], build)

    assert ours == alone
    assert len(alone) > 50


SWITCHES: tuple[dict[str, Any], ...] = (
    *({"run": {name: True}} for name in ("stdstats", "cheat_on_open", "quicknotify", "oldsync", "tradehistory")),
    *({"run": run} for run in ({"runonce": False}, {"preload": False}, {"exactbars": 1}, {"exactbars": -1})),
    *({"extras": (extra,)} for extra in EXTRAS),
    *({"commission": words} for words in COMMISSIONS),
    *({"broker": words} for words in BROKERS),
    {"run": {"stdstats": True, "cheat_on_open": True}, "extras": ("analyzers", "second", "cheat timer")},
)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_each_switch_alone_changes_nothing(switch: dict[str, Any], count: int) -> None:
    bars = [columns(7, 150), columns(8, 60, minutes=5, offset=7, holes=0.2, symbol="ETH/USDT")][:count]
    plain: dict[str, Any] = {"broker": {}, "commission": {}, "run": {}, "extras": set()}
    case = Case(bars=bars, seed=11, busy=0.2, **{**plain, **switch})

    alone, ours = both(case.bars, case.build, **case.run)

    assert ours == alone
