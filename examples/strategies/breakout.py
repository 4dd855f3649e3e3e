"""Brackets: buy a new high by a stop order, with a stop below and a target above."""

from typing import Any

import backtrader as bt


class Breakout(bt.Strategy):
    params = (("period", 15), ("stop", 0.001), ("target", 0.001), ("patience", 10))

    def __init__(self) -> None:
        self.high = bt.ind.Highest(self.data.high, period=self.p.period)
        self.bracket = []
        self.sent_at = 0

    def notify_order(self, order: Any) -> None:
        self.bracket = [each for each in self.bracket if each.ref != order.ref or order.alive()]

    def next(self) -> None:
        is_flat = self.position.size * self.data.close[0] < 100  # what fees leave over is too little to be sold
        if not self.bracket and is_flat:
            price = self.high[0]
            size = 0.1 * self.broker.getcash() / price
            self.sent_at = len(self)
            self.bracket = self.buy_bracket(
                size=size,
                exectype=bt.Order.Stop,
                price=price,
                stopprice=price * (1 - self.p.stop),
                limitprice=price * (1 + self.p.target),
            )
        elif self.bracket and is_flat and len(self) - self.sent_at >= self.p.patience:
            self.cancel(self.bracket[0])
