"""A trading process with a dead man's switch that waits to be killed: ``dead_man.py CONTROL VENUE MARKET``."""

import sys

import backtrader as bt

import btx


class Resting(bt.Strategy):
    """Rests an entry in the book and a stop beside it, and says so; its thread then stands still."""

    def __init__(self) -> None:
        self.accepted: set[int] = set()

    def notify_order(self, order: bt.Order) -> None:
        if order.status == bt.Order.Accepted:
            self.accepted.add(order.ref)
        if len(self.accepted) == 2:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            sys.stdin.read()

    def next(self) -> None:
        if self.data.is_live and not self.broker.open_orders():
            close = self.data.close[0]
            self.buy(size=0.1, exectype=bt.Order.Limit, price=close * 0.95)
            self.sell(size=0.1, exectype=bt.Order.Stop, price=close * 0.9)


control, venue, market = sys.argv[1:]
store = btx.load(venue, market=market, leverage=5, scenario=btx.scenario(attach=control), dead_man="60s")
cerebro = bt.Cerebro(stdstats=False)
cerebro.setbroker(store.getbroker(on_stop="keep"))
cerebro.adddata(store.getdata(dataname="BTC/USDT", max_signal_age="1d"))
cerebro.addstrategy(Resting)
cerebro.run()
