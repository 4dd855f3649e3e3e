"""An entry with a stop and a target, which are still there when this process is not.

Alone it plays four hours of a market of its own. With the control address of a simulator that runs by itself
(``btx sim binance --speed 60 --detach``) it trades there; kill it, and start it again.
"""

import sys

import backtrader as bt

import btx
from btx.errors import TransportError


class OneBracket(bt.Strategy):
    """Buy with a stop 0.2 % below and a target 0.4 % above; again when either has filled."""

    def start(self) -> None:
        for order in self.broker.open_orders():  # what an earlier run of this account left at the venue
            print(f"found again: {order.getordername()} {order.created.size:+g} at {order.created.price:,.2f}")

    def next(self) -> None:
        if self.data.is_live and not self.position and not self.broker.open_orders(self.data):
            close = self.data.close[0]
            self.buy_bracket(size=0.01, exectype=bt.Order.Market, stopprice=close * 0.998, limitprice=close * 1.004)

    def notify_order(self, order: bt.Order) -> None:
        if order.status == order.Completed and "seed" not in order.info:
            side, executed = ("bought" if order.isbuy() else "sold"), order.executed
            recovered = "  (while this process was not there)" if order.info.get("recovered") else ""
            print(f"{self.now()}  {side} at {executed.price:,.2f}{recovered}", flush=True)
        elif order.status == order.Accepted and order.parent is not None:
            print(f"{self.now()}  protected: {order.getordername()} at {order.created.price:,.2f}", flush=True)

    def now(self) -> str:
        return f"{self.data.datetime.datetime():%H:%M}"


if __name__ == "__main__":
    attach = sys.argv[1] if len(sys.argv) > 1 else None
    scenario = btx.scenario(until="4h") if attach is None else btx.scenario(attach=attach)
    store = btx.load("binance", env="sim", scenario=scenario, keep="tutorial" if attach is not None else None)
    cerebro = bt.Cerebro()
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="10m"))
    cerebro.addstrategy(OneBracket)
    try:
        cerebro.run()
    except TransportError as error:  # no simulator runs at that address
        sys.exit(str(error))
    print(f"value at the end: {cerebro.broker.getvalue():,.2f}")
