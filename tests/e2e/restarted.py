"""A trading process that is killed half-way, and goes on in the next.

It writes what it found and what it was told to a file, one JSON object per line.
"""

import json
import os
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import backtrader as bt

import btx
from btx.rules.breaker import Breaker
from btx.runtime import faultpoints
from btx.runtime.facts import Timing

# The venue refuses what is under way for longer than the window: a machine that is busy for a moment is not meant.
WINDOW_MS = 2000
QUICK = Timing(patience_s=2.3, settle_pause_s=0.05, nudge_s=0.3, breaker=Breaker(open_ns=500_000_000))


class Restarted(bt.Strategy):
    """Enters with a bracket, rests an order and a pair; the next process finds them and says what it finds."""

    params = (("result", None), ("killer", None))

    def __init__(self) -> None:
        self.bars = 0
        self.loaded: Any = None
        self.begun = False
        self.entered = False

    def write(self, what: str, **fields: Any) -> None:
        with self.p.result.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **fields}) + "\n")

    def save_state(self) -> dict[str, Any]:
        return {"bars": self.bars, "entered": self.entered}

    def load_state(self, state: dict[str, Any]) -> None:
        self.loaded = state
        self.entered = state["entered"]

    def notify_order(self, order: Any) -> None:
        fills = [fill.fill_id for fill in order.info.get("fills") or ()]
        self.write(
            "told",
            id=order.info.get("client_order_id"),
            status=order.getstatusname(),
            size=order.executed.size,
            fills=fills,
            recovered=[fill.fill_id for fill in order.info.get("recovered_fills") or ()],
            seed=bool(order.info.get("seed")),
            price=order.executed.price,
        )

    def next(self) -> None:
        if not self.data.is_live:
            return
        self.bars += 1
        if not self.begun:
            self.begun = True
            self.write(
                "found",
                state=self.loaded,
                size=self.position.size,
                price=self.position.price,
                cash=self.broker.getcash(),
                orders=[self.shown(order) for order in self.broker.open_orders()],
            )
        if self.bars == 2 and not self.entered:
            self.entered = True
            close = self.data.close[0]
            self.buy_bracket(
                size=0.5, price=round(close * 1.001, 2), stopprice=round(close * 0.9), limitprice=round(close * 1.1)
            )
            self.buy(size=0.1, exectype=bt.Order.Limit, price=round(close * 0.8, 1))
        if self.bars == 6:
            self.write("ready", size=self.position.size, price=self.position.price, cash=self.broker.getcash())
            self.write("open", orders=[self.shown(order) for order in self.broker.open_orders()])
            if self.p.killer is not None:
                self.p.killer.send("ready")
                self.p.killer.recv()  # nothing ever comes
            self.env.runstop()

    def shown(self, order: Any) -> dict[str, Any]:
        return {
            "id": order.info.client_order_id,
            "status": order.getstatusname(),
            "size": order.created.size,
            "price": order.created.price,
            "exectype": order.getordername(),
            "filled": order.executed.size,
            "recovered": bool(order.info.get("recovered")),
            "parent": order.parent.info.client_order_id if order.parent is not None else None,
        }


def trade(
    *, venue: str, control: str, result: Path, home: Path, point: tuple[str, int] | None, killer: Connection | None
) -> None:
    """Be the process; it dies at a fault point, or waits for its ``killer``, or ends by itself."""
    os.environ["BTX_HOME"] = str(home)
    if point is not None:
        faultpoints.arm(*point)
    store = btx.load(
        venue,
        env="sim",
        scenario=btx.scenario(attach=control),
        keep="restarted",
        receive_window_ms=WINDOW_MS,
        timing=QUICK,
    )
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop="keep"))
    cerebro.adddata(store.getdata(dataname="BTC/USDT"))
    cerebro.addstrategy(Restarted, result=result, killer=killer)
    cerebro.run()
