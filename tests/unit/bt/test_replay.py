"""Replay: the longer bar grows with each part, as in backtrader's own replay of preloaded data where that is right."""

import datetime
import math
import random
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
import pytest

from btx.errors import ConfigError
from btx.model.market import Bar, Trade
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, Interval
from tests.unit.bt.rig import Rig, Toy, minute_of, run
from tests.values import bar, trade

Row = tuple[int, float, float, float, float, float]


class Seen(bt.Strategy):
    """Writes down every look at the last data: its length and its values."""

    params = (("step", None),)

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.average = bt.ind.SMA(self.datas[-1], period=2)
        self.averages: list[float] = []

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        data = self.datas[-1]
        if len(data):
            self.rows.append(
                (len(data), *(getattr(data, name)[0] for name in ("open", "high", "low", "close", "volume")))
            )
            self.averages.append(self.average[0])
        if self.p.step is not None:
            self.p.step(self)


class Stock(bt.feed.DataBase):
    """Bars in backtrader's own way."""

    params = (("bars", ()), ("sessionend", None))

    def start(self) -> None:
        super().start()
        self._rest = iter(self.p.bars)

    def _load(self) -> bool:
        one: Bar | None = next(self._rest, None)
        if one is None:
            return False
        self.lines.datetime[0] = 719_163.0 + one.close_ns / NS_PER_DAY
        for name in ("open", "high", "low", "close", "volume"):
            getattr(self.lines, name)[0] = float(getattr(one, name))
        self.lines.openinterest[0] = 0.0
        return True


def walk(minutes: range, *, symbol: str = "BTC/USDT") -> list[Bar]:
    dice = random.Random(7)
    made = []
    for minute in minutes:
        prices = [Decimal(dice.randint(90, 110)) for _ in range(4)]
        made.append(
            bar(
                minute,
                symbol=symbol,
                open=prices[0],
                close=prices[1],
                high=max(prices),
                low=min(prices),
                volume=Decimal(dice.randint(1, 9)),
            )
        )
    return made


def stock_rows(
    bars: list[Bar], compression: int, *, timeframe: int = bt.TimeFrame.Minutes
) -> tuple[list[Row], list[float]]:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.replaydata(Stock(bars=bars, timeframe=timeframe), timeframe=bt.TimeFrame.Minutes, compression=compression)
    cerebro.addstrategy(Seen)
    (seen,) = cerebro.run()
    return seen.rows, [value for value in seen.averages if not math.isnan(value)]


@pytest.mark.parametrize("compression", [2, 5, 15, 60])
def test_replayed_minutes_grow_as_in_backtraders_own_replay(compression: int) -> None:
    bars = walk(range(120, 420))
    toy = Toy(now_minute=420)
    for each in bars:
        toy.write(each)
    rig = Rig(toy)
    data = rig.store.getdata(dataname="BTC/USDT", timeframe="1m", backfill=300, historical=True)
    rig.cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=compression)
    rig.cerebro.addstrategy(Seen)

    seen = run(rig.cerebro)

    rows, averages = stock_rows(bars, compression)
    assert seen.rows == rows
    assert [value for value in seen.averages if not math.isnan(value)] == averages
    assert len(seen.rows) == 300
    assert seen.rows[-1][0] == 300 // compression


def test_a_replayed_bar_grows_beside_its_parts_and_an_unaligned_symbol() -> None:
    toy = Toy()
    rig = Rig(toy)
    parts = rig.add()
    rig.add("ETH/USDT")
    rig.cerebro.replaydata(parts, name="five", timeframe=bt.TimeFrame.Minutes, compression=5)
    bars = walk(range(100, 120))
    ready: list[Any] = []

    def on_status(data: Any, status: int, *_: Any, **__: Any) -> None:
        if status == data.LIVE:
            ready.append(data)
            if len(ready) == 2:
                for each in bars:
                    minute = each.open_ns // 60_000_000_000
                    values = {name: getattr(each, name) for name in ("open", "high", "low", "close", "volume")}
                    toy.close(minute, **values)
                    if minute % 3:
                        toy.close(minute, symbol="ETH/USDT")

    stamps: list[tuple[int, int]] = []

    def step(strategy: Any) -> None:
        first, _, five = strategy.datas
        if len(first) and (not stamps or stamps[-1][0] != minute_of(first)):
            assert five.datetime[0] == first.datetime[0]
            stamps.append((minute_of(first), minute_of(five)))
        if len(first) == 20:
            strategy.env.runstop()

    rig.cerebro.adddatacb(on_status)
    rig.cerebro.addstrategy(Seen, step=step)

    seen = run(rig.cerebro)

    assert stamps == [(minute, minute - minute % 5) for minute in range(100, 120)]
    assert list(dict.fromkeys(seen.rows)) == list(dict.fromkeys(stock_rows(bars, 5)[0]))


def prints(count: int, *, step_ms: int = 1700) -> list[Trade]:
    dice = random.Random(3)
    start_ns = 100 * NS_PER_MINUTE
    return [
        attrs.evolve(
            trade(number, 0, dice.randint(90, 110), dice.randint(1, 9)),
            time_ns=start_ns + (number * step_ms + 1) * NS_PER_MS,
        )
        for number in range(count)
    ]


def ticks_of(trades: list[Trade], **settings: Any) -> tuple[Rig, Any]:
    toy = Toy(now_minute=105)
    toy.prints["BTC/USDT"] = trades
    rig = Rig(toy)
    data = rig.store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Ticks, backfill="6m", historical=True, **settings)
    return rig, data


def test_replayed_trades_grow_the_bar_as_in_backtraders_own_replay() -> None:
    trades = prints(100)
    rig, data = ticks_of(trades)
    rig.cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=1)
    rig.cerebro.addstrategy(Seen)

    seen = run(rig.cerebro)

    one = Interval.parse("1t")
    ticks = [
        Bar(
            symbol=each.symbol,
            interval=one,
            open_ns=each.time_ns,
            close_ns=each.time_ns,
            open=each.price,
            high=each.price,
            low=each.price,
            close=each.price,
            volume=each.quantity,
            is_closed=True,
        )
        for each in trades
    ]
    assert seen.rows == stock_rows(ticks, 1, timeframe=bt.TimeFrame.Ticks)[0]
    assert len(seen.rows) == 100


@pytest.mark.parametrize(("cut_off", "bars"), [(False, 3), (True, 2)])
def test_resampled_trades_end_with_the_last_bar_that_is_over(cut_off: bool, bars: int) -> None:
    trades = prints(100)
    todate = datetime.datetime.fromisoformat("1970-01-01T01:42:50" if cut_off else "1970-01-01T01:43")
    rig, data = ticks_of([each for each in trades if each.time_ns < 103 * NS_PER_MINUTE], todate=todate)
    rig.cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=1)
    rig.cerebro.addstrategy(Seen)

    seen = run(rig.cerebro)

    minutes = [sum(float(t.quantity) for t in trades if t.time_ns // NS_PER_MINUTE == m) for m in range(100, 103)]
    assert [row[-1] for row in seen.rows] == minutes[:bars]
    assert data.ts_ms[0] == (99 + bars) * 60_000


def test_trades_of_one_moment_are_all_seen_and_make_bars_of_so_many() -> None:
    trades = [attrs.evolve(each, time_ns=101 * NS_PER_MINUTE) for each in prints(7)]
    rig, data = ticks_of(trades)
    rig.cerebro.adddata(data, name="ticks")
    rig.cerebro.resampledata(data, name="threes", timeframe=bt.TimeFrame.Ticks, compression=3)
    prices: list[float] = []

    def step(strategy: Any) -> None:
        if len(strategy.data0) > len(prices):
            prices.append(strategy.data0.close[0])

    rig.cerebro.addstrategy(Seen, step=step)

    seen = run(rig.cerebro)

    assert prices == [float(each.price) for each in trades]
    assert [row[-1] for row in dict.fromkeys(seen.rows)] == [
        float(sum(each.quantity for each in trades[at : at + 3])) for at in (0, 3)
    ]


@pytest.mark.parametrize(
    ("part", "timeframe", "compression", "sentence"),
    [
        ("10t", bt.TimeFrame.Seconds, 5, "choose single trades"),
        ("10t", bt.TimeFrame.Ticks, 20, "choose single trades"),
        ("1m", bt.TimeFrame.Ticks, 20, "choose single trades"),
        ("7s", bt.TimeFrame.Minutes, 1, "choose a multiple of 7s"),
        ("1w", bt.TimeFrame.Months, 1, "choose a multiple of 1w"),
    ],
)
def test_bars_are_not_made_of_parts_that_do_not_fit(part: str, timeframe: int, compression: int, sentence: str) -> None:
    data = Rig().store.getdata("BTC/USDT", timeframe=part)

    with pytest.raises(ConfigError, match=sentence):
        data.resample(timeframe=timeframe, compression=compression)


def test_a_replayed_data_cannot_be_followed_or_made_longer() -> None:
    rig = Rig()
    data = rig.store.getdata(dataname="BTC/USDT", timeframe="1m")
    rig.cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=5)

    with pytest.raises(ConfigError, match="replayed cannot be followed"):
        rig.cerebro.resampledata(data, timeframe=bt.TimeFrame.Minutes, compression=15)
    with pytest.raises(ConfigError, match="make both of the data below it"):
        data.resample(timeframe=bt.TimeFrame.Minutes, compression=15)
