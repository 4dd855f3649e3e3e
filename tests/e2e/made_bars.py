"""What the simulator's market is, bar by bar, by the market's own word; and a strategy that notes what it sees."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import backtrader as bt

import btx
from btx.bt.store import LiveStore
from btx.model.time import NS_PER_MINUTE, Interval, from_ms, to_ms
from btx.model.venue import Scenario
from btx.sim.market import PublicTrade
from tests.e2e.venues import BINANCE_SPOT, Place

Row = tuple[int, int, float, float, float, float, float]  # open, stamp, open, high, low, close, volume
MINUTE = Interval.parse("1m")


class Truth:
    """The market of a scenario, played to its end."""

    def __init__(self, scenario: Scenario, place: Place = BINANCE_SPOT) -> None:
        world = place.world(scenario)
        self._instruments = {each.instrument.symbol: each.instrument for each in world.listings.values()}
        self._market = world.market
        self.end_ns = self._market.end_ns
        self._market.seek(self.end_ns)

    def trades(self, symbol: str, start_ns: int) -> list[PublicTrade]:
        return self._market.trades_between(self._instruments[symbol].venue_symbol, start_ns - 1, self.end_ns)

    def bars(self, symbol: str, interval: Interval, start_ns: int) -> list[Row]:
        """Return the bars from ``start_ns`` on that are over at the end; where nothing traded there is none."""
        if not interval.is_timed:
            trades = self.trades(symbol, start_ns)
            whole = range(0, len(trades) - interval.count + 1, interval.count)
            return [_row(trades[at : at + interval.count]) for at in whole]
        if interval.nominal_ns >= NS_PER_MINUTE and interval.nominal_ns % NS_PER_MINUTE == 0:
            venue_symbol = self._instruments[symbol].venue_symbol
            bars = self._market.klines(venue_symbol, interval, start_ns=interval.open_of(start_ns), limit=100_000)
            return [
                (to_ms(b.open_ns), to_ms(b.close_ns), *map(float, (b.open, b.high, b.low, b.close, b.volume)))
                for b in bars
                if b.is_closed
            ]
        by_open: dict[int, list[PublicTrade]] = {}
        for trade in self.trades(symbol, interval.open_of(start_ns)):
            by_open.setdefault(interval.open_of(trade.time_ns), []).append(trade)
        return [
            _row(trades, open_ns, interval.close_of(open_ns))
            for open_ns, trades in by_open.items()
            if interval.close_of(open_ns) <= self.end_ns
        ]


def _row(trades: list[PublicTrade], open_ns: int | None = None, close_ns: int | None = None) -> Row:
    prices = [trade.price for trade in trades]
    return (
        to_ms(trades[0].time_ns if open_ns is None else open_ns),
        to_ms(trades[-1].time_ns if close_ns is None else close_ns),
        *map(float, (prices[0], max(prices), min(prices), prices[-1])),
        float(sum((trade.quantity for trade in trades), Decimal(0))),
    )


class Seen(bt.Strategy):
    """Writes down each bar of each data when it is new, and every look at datas that are replayed."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {data._name: [] for data in self.datas}
        self.looks: dict[str, list[tuple[int, Row]]] = {data._name: [] for data in self.datas if data.replaying}
        self.stamps: list[float] = []
        self.statuses: list[str] = []
        self.notes: list[str] = []
        self._lengths = [0] * len(self.datas)

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.stamps.append(max(data.datetime[0] for data in self.datas if len(data)))
        for number, data in enumerate(self.datas):
            if data.replaying:
                if len(data):
                    self.looks[data._name].append((len(data), row_of(data)))
            elif len(data) > self._lengths[number]:
                assert len(data) == self._lengths[number] + 1, "one bar at a time"
                self._lengths[number] += 1
                self.rows[data._name].append(row_of(data))

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.statuses.append(f"{data._name} {data._getstatusname(status)}")

    def notify_store(self, message: str, *_: Any, **__: Any) -> None:
        self.notes.append(message)


def row_of(data: Any) -> Row:
    stamp_ms = round((data.datetime[0] - 719_163) * 86_400_000)
    prices = (data.open[0], data.high[0], data.low[0], data.close[0], data.volume[0])
    return (int(data.ts_ms[0]), stamp_ms, *prices)


def play(scenario: Scenario, feeds: Iterable[Mapping[str, Any]], *more: Any, place: Place = BINANCE_SPOT) -> Seen:
    """Run a cerebro with these datas, and what ``more`` adds to it, to the market's end."""
    store: LiveStore = btx.load(place.venue, market=place.market, scenario=place.scenario(scenario))
    cerebro = bt.Cerebro(stdstats=False)
    for feed in feeds:
        data = store.getdata(**feed)
        cerebro.adddata(data, name=name_of(feed))
    for add in more:
        add(cerebro, store)
    cerebro.addstrategy(Seen)
    (seen,) = cerebro.run()
    return seen  # type: ignore[no-any-return]


def name_of(feed: Mapping[str, Any]) -> str:
    return f"{feed['dataname']} {feed['timeframe']}{' made' if feed.get('from_trades') else ''}"


def start_of(rows: list[Row]) -> int:
    return from_ms(rows[0][0])
