"""A strategy that uses everything, by dice of its own: what chaos is let loose on."""

import random
from typing import Any

import backtrader as bt


class Restless(bt.Strategy):
    """Brackets, OCO pairs, stops, limits, amendments and cancels, a few at a time; the same for a seed and a bar."""

    params = (("seed", 1), ("most", 6), ("groups", True))

    def __init__(self) -> None:
        self.working: dict[int, Any] = {}

    def notify_order(self, order: Any) -> None:
        if order.alive():
            self.working[order.ref] = order
        else:
            self.working.pop(order.ref, None)

    def next(self) -> None:
        if not self.data.is_live:
            return
        dice = random.Random(f"{self.p.seed}/{int(self.data.ts_ms[0])}")  # the same decision after a restart
        close = self.data.close[0]
        if dice.random() < 0.4 or len(self.working) >= self.p.most:
            self.tidy(dice, close)
            return
        action = dice.choice((*("bracket", "oco") * self.p.groups, "market", "limit", "stop", "close"))
        getattr(self, f"do_{action}")(dice, close)

    def do_bracket(self, dice: random.Random, close: float) -> None:
        price = close * (1 - dice.random() * 0.002)
        kind = dice.choice((bt.Order.Market, bt.Order.Limit))
        self.buy_bracket(
            size=dice.choice((0.02, 0.1, 0.5)),
            exectype=kind,
            price=price if kind == bt.Order.Limit else None,
            stopprice=price * 0.997,
            limitprice=price * 1.003,
        )

    def do_oco(self, dice: random.Random, close: float) -> None:
        first = self.buy(size=0.05, exectype=bt.Order.Limit, price=close * 0.999)
        self.buy(size=0.05, exectype=bt.Order.Stop, price=close * (1.001 + dice.random() * 0.001), oco=first)

    def do_market(self, dice: random.Random, close: float) -> None:
        self.buy(size=dice.choice((0.01, 0.2)))

    def do_limit(self, dice: random.Random, close: float) -> None:
        self.buy(size=0.3, exectype=bt.Order.Limit, price=close * (1 - dice.random() * 0.001))

    def do_stop(self, dice: random.Random, close: float) -> None:
        self.buy(size=0.03, exectype=bt.Order.Stop, price=close * (1 + dice.random() * 0.002))

    def do_close(self, dice: random.Random, close: float) -> None:
        # What brackets protect is theirs to sell; what is sold here was bought without one.
        size = min(0.01, self.position.size)
        if size >= 0.001 and not self.working:
            self.sell(size=size)

    def tidy(self, dice: random.Random, close: float) -> None:
        if not self.working:
            return
        order = dice.choice(sorted(self.working.values(), key=lambda each: each.ref))
        if dice.random() < 0.3 and order.exectype == bt.Order.Limit and order.isbuy():
            self.broker.amend(order, price=close * (1 - dice.random() * 0.0005))
        elif order.parent is None:
            self.cancel(order)
