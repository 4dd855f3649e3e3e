"""What the trading tests share: worlds, a strategy that does what it is told, and a run of both."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import backtrader as bt

import btx
from btx.bt.store import LiveStore
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE
from btx.model.venue import Scenario, SimAccount

Step = Callable[[Any], Any]


def account(name: str = "a", **balances: str) -> SimAccount:
    return SimAccount(
        api_key=name * 64,
        api_secret=name.upper() * 64,
        balances={asset: Decimal(total) for asset, total in balances.items()},
    )


def world(*, minutes: int = 30, seed: int = 3, **settings: Any) -> Scenario:
    """A synthetic market in lockstep that ends by itself, with a day of history."""
    return Scenario(seed=seed, until_ns=minutes * NS_PER_MINUTE, warmup_ns=NS_PER_DAY, **settings)


class Scripted(bt.Strategy):
    """Does ``steps[n]`` at its n-th live bar, and writes down what it is told."""

    params = (("steps", {}), ("at_end", None))

    def __init__(self) -> None:
        self.live_bars = 0
        self.orders: list[Any] = []
        self.trades: list[Any] = []
        self.statuses: list[str] = []
        self.store_notes: list[str] = []
        self.seen: list[tuple[str, int]] = []

    def notify_order(self, order: Any) -> None:
        self.orders.append(order)

    def notify_trade(self, trade: Any) -> None:
        self.trades.append(trade)

    def notify_data(self, data: Any, status: int, *_: Any, **__: Any) -> None:
        self.statuses.append(f"{data._name} {data._getstatusname(status)} at {len(data)}")

    def notify_store(self, message: str, *_: Any, **__: Any) -> None:
        self.store_notes.append(message)

    def prenext(self) -> None:
        self.next()

    def next(self) -> None:
        self.seen.extend((d._name, int(d.ts_ms[0])) for d in self.datas if len(d))
        if self.data.is_live:
            self.live_bars += 1
            step = self.p.steps.get(self.live_bars)
            if step is not None:
                step(self)

    def stop(self) -> None:
        if self.p.at_end is not None:
            self.p.at_end(self)

    def told(self, order: Any) -> list[str]:
        """Return the statuses ``notify_order`` told of one order, in order."""
        return [each.getstatusname() for each in self.orders if each.ref == order.ref]


def run(
    scenario: Scenario,
    steps: Mapping[int, Step],
    *,
    datas: Iterable[Mapping[str, Any]] = ({"dataname": "BTC/USDT"},),
    at_end: Step | None = None,
) -> Any:
    """Run a scripted strategy to the end of the world; return it."""
    return run_on(btx.load("binance", env="sim", scenario=scenario), steps, datas=datas, at_end=at_end)


def run_on(
    store: LiveStore,
    steps: Mapping[int, Step],
    *,
    datas: Iterable[Mapping[str, Any]] = ({"dataname": "BTC/USDT"},),
    at_end: Step | None = None,
) -> Any:
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    for data in datas:
        # In a market that waits for nobody a busy machine is late: what is tried is not whether a signal is fresh.
        cerebro.adddata(store.getdata(**({"max_signal_age": "1d"} | dict(data))))
    cerebro.addstrategy(Scripted, steps=steps, at_end=at_end)
    cerebro.addanalyzer(bt.analyzers.TradeAnalyzer, _name="trades")
    cerebro.addanalyzer(bt.analyzers.Transactions, _name="transactions")
    (strategy,) = cerebro.run()
    return strategy


def books_agree(strategy: Any) -> None:
    """Assert that backtrader's cash, value and positions are the simulator's ledger within 1e-9."""
    broker = strategy.broker
    oracle = {}
    for store in broker._stores:
        for asset, balance in store.session.ledger()["balances"].items():
            oracle[asset] = oracle.get(asset, Decimal(0)) + Decimal(balance["free"]) + Decimal(balance["locked"])
    value = oracle["USDT"]
    assert abs(Decimal(broker.getcash()) - oracle["USDT"]) < Decimal("1e-9")
    for data in {data.instrument.symbol: data for data in strategy.datas}.values():
        held = oracle.get(data.instrument.base, Decimal(0))
        shown = Decimal(strategy.getposition(data).size)
        value += held * Decimal(repr(data.close[0]))
        tradable = held if held >= data.instrument.step_size else Decimal(0)
        assert abs(shown - tradable) < Decimal("1e-9")
    assert abs(Decimal(broker.getvalue()) - value) < Decimal("1e-6")
