"""Backtests twice: as backtrader does them alone, and with btx's bulk data, broker and loop; all is compared."""

import datetime
import hashlib
import random
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import backtrader as bt
import numpy as np

from btx.bt.backbroker import BacktestBroker
from btx.bt.backtest import BacktestStore, Period, StartingAccount
from btx.errors import ConfigError
from btx.model.market import BarColumns
from btx.model.time import NS_PER_MINUTE, Interval

START_NS = 1_748_736_000_000_000_000  # 2025-06-01
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def columns(
    seed: int, count: int, *, minutes: int = 1, offset: int = 0, holes: float = 0.0, symbol: str = "BTC/USDT"
) -> BarColumns:
    """Return seeded bars; ``holes`` is the share of minutes that are missing."""
    dice = random.Random(f"{seed} {symbol} {minutes}")
    step_ns = minutes * NS_PER_MINUTE
    rows = []
    price = 100.0
    for number in range(count):
        open_ = price
        close = max(round(open_ + dice.gauss(0, 0.6), 2), 1.0)
        high = round(max(open_, close) + abs(dice.gauss(0, 0.3)), 2)
        low = max(round(min(open_, close) - abs(dice.gauss(0, 0.3)), 2), 0.5)
        price = close
        if number and dice.random() < holes:
            continue
        open_ns = START_NS + offset * NS_PER_MINUTE + number * step_ns
        rows.append((open_ns, open_ns + step_ns, open_, high, low, close, round(dice.random() * 50, 3)))
    names = ("open_ns", "close_ns", "open", "high", "low", "close", "volume")
    made: dict[str, Any] = {
        name: array("q" if name.endswith("ns") else "d", values)
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }
    return BarColumns(symbol=symbol, interval=Interval.parse(f"{minutes}m"), **made)


class Shelf:
    """Bars that are there already, by symbol and interval."""

    is_whole = True
    words = "bars of a test"

    def __init__(self, bars: Sequence[BarColumns]) -> None:
        self.bars = {(each.symbol, each.interval): each for each in bars}

    def begins_ns(self) -> int:
        return max(each.open_ns[0] for each in self.bars.values())

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:
        if (symbol, interval) not in self.bars:
            raise ConfigError(f"{symbol} {interval} is not here")
        bars = self.bars[symbol, interval]
        names = ("open_ns", "close_ns", "open", "high", "low", "close", "volume")
        copies: dict[str, Any] = {name: getattr(bars, name)[:] for name in names}
        return attrs.evolve(bars, **copies)


def store_of(bars: Sequence[BarColumns], *, period: Period | None = None, cash: str = "10000") -> BacktestStore:
    from decimal import Decimal

    return BacktestStore(
        name="toy/backtest/spot",
        title="Toy",
        source=Shelf(bars),
        intervals=tuple({each.interval for each in bars}),
        period=period or Period(),
        account=StartingAccount(cash=Decimal(cash), currency="USDT", commission=Decimal("0.001")),
    )


class RowFeed(bt.feed.DataBase):
    """backtrader's own path, bar by bar from Python rows, as PandasData and GenericCSVData go; with the extra line."""

    lines: Any = ("ts_ms",)
    params = (("sessionend", datetime.time(0, 0)), ("bars", None))

    def start(self) -> None:
        super().start()
        self.row = -1

    def _load(self) -> bool:
        self.row += 1
        bars: BarColumns = self.p.bars
        if self.row >= len(bars):
            return False
        moment = EPOCH + datetime.timedelta(microseconds=bars.close_ns[self.row] // 1000)
        self.lines.datetime[0] = bt.date2num(moment)
        for name in ("open", "high", "low", "close", "volume"):
            getattr(self.lines, name)[0] = getattr(bars, name)[self.row]
        self.lines.openinterest[0] = 0.0
        self.lines.ts_ms[0] = float(bars.open_ns[self.row] // 1_000_000)
        return True


def stock_feed(bars: BarColumns) -> Any:
    make: Any = RowFeed
    return make(
        dataname=bars.symbol,
        name=bars.symbol,
        bars=bars,
        timeframe=bt.TimeFrame.Minutes,
        compression=bars.interval.nominal_ns // NS_PER_MINUTE,
    )


class Told:
    """What a strategy and everything around it saw, in order."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def __call__(self, *what: Any) -> None:
        self.lines.append(what)


def both(
    bars: Sequence[BarColumns], build: Callable[[Any, list[Any], Told], None], **run: Any
) -> tuple[list[Any], list[Any]]:
    """Run ``build(cerebro, datas, told)`` on backtrader alone and on btx, and return what each told."""
    results = []
    for is_btx in (False, True):
        told = Told()
        bt.Order.refbasis = iter(range(1, 10**9))
        bt.Trade.refbasis = iter(range(1, 10**9))
        stdstats = run.get("stdstats", False)
        cerebro = bt.Cerebro(stdstats=stdstats)
        if is_btx:
            store = store_of(bars)
            broker: Any = store.getbroker()
            datas: list[Any] = [store.getdata(each.symbol, interval=str(each.interval)) for each in bars]
        else:
            broker = bt.brokers.BackBroker()
            broker.setcash(10000.0)
            broker.setcommission(commission=0.001)
            datas = [stock_feed(each) for each in bars]
        cerebro.setbroker(broker)
        build(cerebro, datas, told)
        strategies: list[Any] = []
        try:
            strategies = cerebro.run(**{name: value for name, value in run.items() if name != "stdstats"})
        except (ArithmeticError, LookupError, ValueError, AttributeError, TypeError) as error:
            told("raised", repr(error))  # some mixtures are beyond backtrader: then both must end the same way
        for strategy in strategies:
            _tell_ending(strategy, told)
        told("value", broker.getvalue(), broker.getcash(), broker.fundvalue, broker.fundshares, broker.get_leverage())
        told(
            "positions",
            [(p.size, p.price, p.adjbase, str(getattr(p, "datetime", None))) for p in broker.positions.values()],
        )
        results.append([repr(line) for line in told.lines])
        assert isinstance(broker, BacktestBroker) is is_btx
    return results[0], results[1]


def _tell_ending(strategy: Any, told: Told) -> None:
    """Tell every number that is left: indicators, observers, analyzers, datas."""
    told("strategy", len(strategy), _numbers(strategy.lines.datetime))
    for kind in (bt.LineIterator.IndType, bt.LineIterator.ObsType):
        for thing in strategy._lineiterators[kind]:
            name = type(thing).__name__.partition("_")[0]  # couplers are numbered through the process
            told(name, len(thing), [_numbers(line) for line in thing.lines])
    for each in strategy.analyzers:
        told(type(each).__name__, each.get_analysis())
    for data in strategy.datas:
        told("data", len(data), [_numbers(line) for line in data.lines])


def _numbers(line: Any) -> tuple[int, int, str]:
    values = np.asarray(list(line.array), "f8")
    return len(values), line.lencount, hashlib.sha256(values.tobytes()).hexdigest()[:12]
