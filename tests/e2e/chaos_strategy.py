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


class Amending(bt.Strategy):
    """One limit order that follows the market, bar by bar: alone, so that a venue may amend it in place."""

    def __init__(self) -> None:
        self.order: Any = None

    def notify_order(self, order: Any) -> None:
        self.order = order if order.alive() else None

    def next(self) -> None:
        price = self.data.close[0] * 0.9995
        if self.data.is_live and self.order is None:
            self.order = self.buy(size=0.1, exectype=bt.Order.Limit, price=price)
        elif self.data.is_live:
            self.broker.amend(self.order, price=price)


class RestlessOnMargin(bt.Strategy):
    """As the other, on positions on margin: long and short, in hedge mode each on a leg of its own."""

    params = (("seed", 1), ("most", 6), ("lot", 0.01))  # one of many a size is made of: base units, or contracts

    def __init__(self) -> None:
        self.working: dict[int, Any] = {}

    def notify_order(self, order: Any) -> None:
        if order.alive():
            self.working[order.ref] = order
        else:
            self.working.pop(order.ref, None)

    def next(self) -> None:
        if not all(data.is_live for data in self.datas):
            return
        dice = random.Random(f"{self.p.seed}/{int(self.data.ts_ms[0])}")  # the same decision after a restart
        if dice.random() < 0.4 or len(self.working) >= self.p.most:
            self.tidy(dice)
            return
        data = dice.choice(self.datas)
        is_short = data is not self.data if len(self.datas) > 1 else self.turn(dice) < 0
        actions = ("bracket", "bracket", "trailing", "market", "limit", "stop", "oco", "close")
        getattr(self, f"do_{dice.choice(actions)}")(dice, data, -1 if is_short else 1)

    def turn(self, dice: random.Random) -> int:
        """Return the side to trade on: that of the position, if there is one or something works."""
        if self.position.size:
            return 1 if self.position.size > 0 else -1
        return 1 if self.working else dice.choice((1, -1))

    def enter(self, side: int, **what: Any) -> Any:
        return (self.buy if side > 0 else self.sell)(**what)

    def do_bracket(self, dice: random.Random, data: Any, side: int) -> None:
        price = data.close[0] * (1 - side * dice.random() * 0.002)
        kind = dice.choice((bt.Order.Market, bt.Order.Limit))
        (self.buy_bracket if side > 0 else self.sell_bracket)(
            data=data,
            size=self.p.lot * dice.choice((2, 10, 30)),
            exectype=kind,
            price=price if kind == bt.Order.Limit else None,
            stopprice=price * (1 - side * 0.003),
            limitprice=price * (1 + side * 0.003),
        )

    def do_trailing(self, dice: random.Random, data: Any, side: int) -> None:
        (self.buy_bracket if side > 0 else self.sell_bracket)(
            data=data,
            size=10 * self.p.lot,
            exectype=bt.Order.Market,
            stopexec=bt.Order.StopTrail,
            stopargs={"trailpercent": dice.choice((0.002, 0.0005))},  # the latter is less than the venue takes
            limitprice=data.close[0] * (1 + side * 0.004),
        )

    def do_stop(self, dice: random.Random, data: Any, side: int) -> None:
        trigger = data.close[0] * (1 + side * dice.random() * 0.002)
        self.enter(side, data=data, size=3 * self.p.lot, exectype=bt.Order.Stop, price=trigger)

    def do_oco(self, dice: random.Random, data: Any, side: int) -> None:
        close = data.close[0]
        size = 5 * self.p.lot
        first = self.enter(side, data=data, size=size, exectype=bt.Order.Limit, price=close * (1 - side * 0.001))
        trigger = close * (1 + side * (0.001 + dice.random() * 0.001))
        self.enter(side, data=data, size=size, exectype=bt.Order.Stop, price=trigger, oco=first)

    def do_market(self, dice: random.Random, data: Any, side: int) -> None:
        self.enter(side, data=data, size=self.p.lot * dice.choice((1, 20)))

    def do_limit(self, dice: random.Random, data: Any, side: int) -> None:
        price = data.close[0] * (1 - side * dice.random() * 0.001)
        self.enter(side, data=data, size=30 * self.p.lot, exectype=bt.Order.Limit, price=price)

    def do_close(self, dice: random.Random, data: Any, side: int) -> None:
        # What brackets protect is theirs to close; what is closed here was entered without one.
        size = min(self.p.lot, abs(self.getposition(data).size))
        if size >= self.p.lot / 10 and not self.working:
            self.enter(-side, data=data, size=size)

    def tidy(self, dice: random.Random) -> None:
        if self.working:
            order = dice.choice(sorted(self.working.values(), key=lambda each: each.ref))
            if dice.random() < 0.3 and order.exectype == bt.Order.Limit:
                away = 0.0005 if order.isbuy() else -0.0005
                self.broker.amend(order, price=order.data.close[0] * (1 - dice.random() * away))
            elif order.parent is None:
                self.cancel(order)
