"""Limit orders that only make: buy below the band, sell at its middle, and begin anew when the market walks away."""

from typing import Any

import backtrader as bt


class MeanReversion(bt.Strategy):
    params = (("period", 20), ("width", 1.0), ("patience", 5))

    def __init__(self) -> None:
        self.band = bt.ind.BollingerBands(period=self.p.period, devfactor=self.p.width)
        self.order = None
        self.sent_at = 0

    def notify_order(self, order: Any) -> None:
        if self.order is not None and order.ref == self.order.ref and not order.alive():
            self.order = None

    def next(self) -> None:
        if self.order is not None:
            if len(self) - self.sent_at >= self.p.patience:
                self.cancel(self.order)
            return
        self.sent_at = len(self)
        if self.position:
            price = max(self.band.mid[0], self.data.close[0])
            self.order = self.close(exectype=bt.Order.Limit, price=price, post_only=True)
        else:
            price = min(self.band.bot[0], self.data.close[0])
            self.order = self.buy(exectype=bt.Order.Limit, price=price, post_only=True)
