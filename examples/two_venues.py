"""Two venues in one cerebro: sell where a coin is dear, buy where it is cheap; each account keeps its own books."""

import backtrader as bt

import btx


class Spread(bt.Strategy):
    """Trade the ratio of two venues' prices when it is far from its own average, until it is back."""

    params = (("period", 60), ("wide", 2.0), ("size", 0.01))

    def __init__(self) -> None:
        self.ratio = self.data0.close / self.data1.close
        self.mean = bt.indicators.SMA(self.ratio, period=self.p.period)
        self.width = bt.indicators.StdDev(self.ratio, period=self.p.period)
        self.trips = 0

    def next(self) -> None:
        if not (self.data0.is_live and self.data1.is_live):
            return
        away = (self.ratio[0] - self.mean[0]) / self.width[0] if self.width[0] else 0.0
        held = self.getposition(self.data0).size > self.p.size / 2
        if away < -self.p.wide and not held:  # the first venue is cheap
            self.buy(data=self.data0, size=self.p.size)
            self.sell(data=self.data1, size=self.p.size)  # of the coins it began with
            self.trips += 1
        elif away > 0 and held:
            self.close(data=self.data0)
            self.buy(data=self.data1, size=self.p.size)


if __name__ == "__main__":
    here = btx.load("binance", scenario=btx.scenario(seed=1, until="12h", balances={"USDT": "10000"}))
    there = btx.load("bybit", scenario=btx.scenario(seed=2, until="12h", balances={"USDT": "10000", "BTC": "0.1"}))
    cerebro = bt.Cerebro()
    cerebro.setbroker(btx.broker(here, there))
    for store, name in ((here, "here"), (there, "there")):
        cerebro.adddata(store.getdata("BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="2h"), name=name)
    cerebro.addstrategy(Spread)
    (strategy,) = cerebro.run()
    for name, data in strategy.dnames.items():
        size, cash = strategy.getposition(data).size, cerebro.broker.getcash(data=data)
        print(f"{name:>5}: {cash:,.2f} USDT, {size:.5f} BTC")
    print(f"{strategy.trips} round trips; value at the end: {cerebro.broker.getvalue():,.2f}")
