"""Bars the venue does not keep: five seconds and a hundred trades; and a minute that grows with every trade."""

import backtrader as bt

import btx
from btx.model.time import NS_PER_HOUR, NS_PER_MINUTE
from btx.model.venue import Scenario


class Watch(bt.Strategy):
    """Count what comes, and see the minute grow."""

    def __init__(self) -> None:
        self.looks: dict[int, int] = {}

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        minute = self.getdatabyname("minute")
        if len(minute):
            self.looks[len(minute)] = self.looks.get(len(minute), 0) + 1

    def stop(self) -> None:
        for name, data in self.dnames.items():
            print(f"{name:>8}: {len(data)} bars")
        print(f"the minutes at the end had {', '.join(map(str, list(self.looks.values())[-3:]))} looks")


scenario = Scenario(seed=7, until_ns=5 * NS_PER_MINUTE, warmup_ns=NS_PER_HOUR)
store = btx.load("binance", env="sim", scenario=scenario)
cerebro = bt.Cerebro(stdstats=False)
cerebro.setbroker(store.getbroker())

trades = store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Ticks)
cerebro.adddata(trades, name="trades")
cerebro.replaydata(trades, name="minute", timeframe=bt.TimeFrame.Minutes, compression=1)
cerebro.resampledata(trades, name="5s", timeframe=bt.TimeFrame.Seconds, compression=5)
cerebro.adddata(store.getdata("ETH/USDT", timeframe="5s", backfill="1m", fill="previous"), name="ETH 5s")
cerebro.adddata(store.getdata("ETH/USDT", timeframe=bt.TimeFrame.Ticks, compression=100, backfill=2), name="ETH 100t")
cerebro.adddata(store.getdata("ETH/USDT", timeframe="2m", backfill=10), name="ETH 2m")
cerebro.addstrategy(Watch)
cerebro.run()
