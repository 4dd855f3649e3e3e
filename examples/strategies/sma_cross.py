"""Market orders: long while the fast average is above the slow one."""

import backtrader as bt


class SmaCross(bt.Strategy):
    params = (("fast", 5), ("slow", 15))

    def __init__(self) -> None:
        fast, slow = (bt.ind.SMA(period=period) for period in (self.p.fast, self.p.slow))
        self.cross = bt.ind.CrossOver(fast, slow)

    def next(self) -> None:
        if self.cross > 0 and not self.position:
            self.buy()
        elif self.cross < 0 and self.position:
            self.close()
