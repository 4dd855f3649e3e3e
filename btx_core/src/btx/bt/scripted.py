"""A strategy that does what a table says, and writes down what it is told."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import backtrader as bt

__all__ = ("Scripted", "scripted_cerebro")


class Scripted(bt.Strategy):
    """Does ``steps[n]`` at its n-th live bar; ends its run at the live bar ``last``."""

    Limit = bt.Order.Limit  # for steps, which know nothing of backtrader
    Market = bt.Order.Market
    params: Any = (("steps", {}), ("last", None))

    def __init__(self) -> None:
        self.live_bars = 0
        self.told: list[tuple[int, str]] = []  # every status of every order: (ref, name)
        self.orders: dict[int, Any] = {}  # the newest copy of each, by ref
        self.fills: list[Any] = []  # each that was told
        self.recovered: set[str] = set()  # ids of those that were told as recovered
        self.trades: list[Any] = []
        self.statuses: list[str] = []  # of datas
        self.notes: list[str] = []  # of the store
        self.seen: list[tuple[str, int]] = []  # (data, open of the bar in ms)
        self.kept: dict[str, Any] = {}  # what steps write down

    def notify_order(self, order: Any) -> None:
        self.told.append((order.ref, order.getstatusname()))
        self.orders[order.ref] = order
        known = {each.fill_id for each in self.fills}
        self.fills.extend(each for each in order.info.get("fills") or () if each.fill_id not in known)
        self.recovered.update(each.fill_id for each in order.info.get("recovered_fills") or ())

    def notify_trade(self, trade: Any) -> None:
        self.trades.append(trade)

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.statuses.append(f"{data._name} {data._getstatusname(status)}")

    def notify_store(self, message: Any, *_: Any, **__: Any) -> None:
        self.notes.append(str(message))

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.seen.extend((data._name, int(data.ts_ms[0])) for data in self.datas if len(data))
        if self.data.is_live:
            self.live_bars += 1
            if (step := self.p.steps.get(self.live_bars)) is not None:
                step(self)
            if self.live_bars == self.p.last:
                self.env.runstop()

    def stop(self) -> None:
        broker = self.broker
        self.kept["cash"] = broker.getcash()
        self.kept["positions"] = {data._name: self.getposition(data).size for data in self.datas if len(data)}

    def statuses_of(self, order: Any) -> list[str]:
        """Return what was told of one order, in order."""
        return [name for ref, name in self.told if ref == order.ref]


def scripted_cerebro(
    store: Any,
    datas: Iterable[Mapping[str, Any]],
    *,
    steps: Mapping[int, Callable[[Any], Any]],
    on_stop: str = "keep_protection",
    last: int | None = None,
) -> Any:
    """Return a cerebro with a scripted strategy on one store."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker(on_stop=on_stop))
    for data in datas:
        cerebro.adddata(store.getdata(**data))
    cerebro.addstrategy(Scripted, steps=steps, last=last)
    return cerebro
