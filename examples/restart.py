"""A strategy that can be killed and started again: it finds its orders, its position and its own state."""

import datetime
from typing import Any

import backtrader as bt

import btx


class Careful(bt.Strategy):
    """Enter with a bracket once an hour at most; know after a restart what was told before it."""

    def __init__(self) -> None:
        self.entered_at = ""  # close of the bar of the last entry
        self.seen: set[str] = set()  # fills this strategy has counted
        self.bought = 0.0

    def start(self) -> None:
        # Connected: what earlier runs left is known. There is no bar yet, so nothing can be ordered.
        for order in self.broker.open_orders():
            child = f", exit of {order.parent.ref}" if order.parent else ""
            print(f"found again: order {order.ref}, {order.created.size:+g} at {order.created.price:g}{child}")

    def load_state(self, state: dict[str, Any]) -> None:
        # Before the first next(), and before any order is told: what save_state() returned last.
        self.entered_at, self.seen, self.bought = state["entered_at"], set(state["seen"]), state["bought"]

    def save_state(self) -> dict[str, Any]:
        # After each fill that was told, about once a minute of market time, and at the end.
        return {"entered_at": self.entered_at, "seen": sorted(self.seen), "bought": self.bought}

    def notify_order(self, order: bt.Order) -> None:
        for fill in order.info.get("fills", ()):
            # After a crash a fill may be told again (in info.recovered_fills): its id says that it was counted.
            if fill.fill_id not in self.seen:
                self.seen.add(fill.fill_id)
                self.bought += float(fill.quantity) if order.isbuy() else 0.0

    def next(self) -> None:
        now = self.data.datetime.datetime()
        waited = not self.entered_at or now - datetime.datetime.fromisoformat(self.entered_at) >= HOUR
        if self.data.is_live and waited and not self.position and not self.broker.open_orders(self.data):
            close = self.data.close[0]
            self.buy_bracket(size=0.01, exectype=bt.Order.Market, stopprice=close * 0.99, limitprice=close * 1.01)
            self.entered_at = now.isoformat()

    def stop(self) -> None:
        print(f"bought {self.bought:g} in all runs, {len(self.seen)} fills; at the end {self.position.size:g} are held")


HOUR = datetime.timedelta(hours=1)

# A simulated world ends with its run and takes its orders with it; a venue keeps them.
store = btx.load("binance", env="sim", scenario=btx.scenario(until="6h"))
cerebro = bt.Cerebro()
cerebro.setbroker(store.getbroker())
cerebro.adddata(store.getdata(dataname="BTC/USDT", timeframe=bt.TimeFrame.Minutes, backfill="10m"))
cerebro.addstrategy(Careful)
cerebro.run()
