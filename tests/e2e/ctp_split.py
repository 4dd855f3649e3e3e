"""A process that trades CTP on a simulator that runs: ``ctp_split.py CONTROL RESULT STEPS``.

It buys three contracts, and sells five when it has them: two orders at the venue, one that closes and one that
opens.  With ``night`` behind the steps it buys two more after the day, and sells seven then: three orders.
What it is told it writes to RESULT, one JSON object per line; STEPS is how many live bars it stays.
"""

import json
import sys
from pathlib import Path
from typing import Any

import backtrader as bt

import btx

NIGHT = "night" in sys.argv


class Turns(bt.Strategy):
    """Buys three, sells five, and says what became of it."""

    def __init__(self) -> None:
        self.bars = 0
        self.step = 0

    @property
    def is_night(self) -> bool:
        """The last bar closed after 20:00 in Shanghai."""
        return 12 <= bt.num2date(self.data.datetime[0]).hour < 20

    def save_state(self) -> int:
        return self.step

    def load_state(self, step: int) -> None:
        self.step = step

    def write(self, what: str, **fields: Any) -> None:
        with Path(sys.argv[2]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, **fields}) + "\n")

    def notify_order(self, order: Any) -> None:
        legs = [
            (leg.leg.offset.value, int(leg.quantity), leg.status.value)
            for leg in store.session.orders()
            if leg.leg.owner_id == order.info.get("client_order_id")
        ]
        self.write(
            "told",
            status=order.getstatusname(),
            size=order.executed.size,
            legs=legs,
            seed=bool(order.info.get("seed")),
            recovered=len(order.info.get("recovered_fills") or ()),
        )

    def next(self) -> None:
        if not self.data.is_live:
            return
        self.bars += 1
        held = self.position.size
        if self.step == 0 and self.bars == 2:
            self.step = 1
            self.buy(size=3)
        elif self.step == 1 and held == 3 and (not NIGHT or self.is_night):
            self.step = 2
            self.buy(size=2) if NIGHT else self.sell(size=5)
        elif self.step == 2 and held == 5 and NIGHT:
            self.step = 3
            self.sell(size=7)
        if self.bars == int(sys.argv[3]):
            self.write("left", size=held, cash=self.broker.getcash())
            self.env.runstop()


if __name__ == "__main__":
    store = btx.load("ctp", scenario=btx.scenario(attach=sys.argv[1]), keep="split", limits=None)
    cerebro = bt.Cerebro()
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="SHFE.rb2601", timeframe=bt.TimeFrame.Minutes))
    cerebro.addstrategy(Turns)
    cerebro.run()
