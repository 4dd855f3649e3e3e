"""A plain strategy to try things with; nothing in it knows btx."""

from collections.abc import Iterable, Mapping
from typing import Any

import backtrader as bt

from btx.bt.backtest import BacktestStore
from btx.bt.store import LiveStore

__all__ = ("SmaCross", "Watch", "sma_cross_cerebro", "watch_cerebro")


class SmaCross(bt.Strategy):
    """Buy when the fast average crosses above the slow one, close when it crosses back. Any number of datas."""

    params = (("fast", 30), ("slow", 120))

    def __init__(self) -> None:
        self.crosses = [
            bt.ind.CrossOver(bt.ind.SMA(data.close, period=self.p.fast), bt.ind.SMA(data.close, period=self.p.slow))
            for data in self.datas
        ]
        self.working: dict[Any, Any] = {}

    def notify_order(self, order: Any) -> None:
        """Forget an order when it is over."""
        if not order.alive():
            self.working.pop(order.data, None)

    def next(self) -> None:
        """Trade each data on its own cross."""
        for data, cross in zip(self.datas, self.crosses, strict=True):
            if data in self.working:
                continue
            position = self.getposition(data)
            if cross[0] > 0 and not position.size:
                self.working[data] = self.buy(data=data)
            elif cross[0] < 0 and position.size:
                self.working[data] = self.close(data=data)


def sma_cross_cerebro(store: LiveStore | BacktestStore, symbols: Iterable[str]) -> Any:
    """Return a cerebro with the strategy, a stock sizer and 1m bars of ``symbols``: the ten lines of the README."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for symbol in symbols:
        cerebro.adddata(store.getdata(dataname=symbol, timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(SmaCross)
    cerebro.addsizer(bt.sizers.PercentSizer, percents=30)
    return cerebro


class Watch(bt.Strategy):
    """Does nothing: its datas are what counts."""

    def next(self) -> None:
        """Let the bar pass."""


def watch_cerebro(store: LiveStore, feeds: Iterable[Mapping[str, Any]], strategy: type[Any] = Watch) -> Any:
    """Return a cerebro that feeds a strategy; ``feeds`` are the arguments of ``store.getdata``."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    for feed in feeds:
        cerebro.adddata(store.getdata(**feed))
    cerebro.addstrategy(strategy)
    return cerebro
