"""Cancels that race fills on a market that waits for nobody: each order ends as the venue says, each fill counts once.

``BTX_RACES=1000`` runs a thousand; without it a slice of them is run.
"""

import os
import random
from decimal import Decimal
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.model.time import NS_PER_DAY
from btx.model.venue import Scenario
from tests.e2e.trading import account

ORDERS = 98  # a run; the venue takes a hundred in ten seconds
RUNS = -(-int(os.environ.get("BTX_RACES", "196")) // ORDERS)
PER_BAR = 14


class Racer(bt.Strategy):
    """Buys passively where the market is, and takes each order back at once, when it rests, or at its first fill."""

    params = (("seed", 0),)

    def __init__(self) -> None:
        self.dice = random.Random(self.p.seed)
        self.when: dict[int, str] = {}
        self.placed: list[Any] = []
        self.told: dict[int, list[str]] = {}
        self.ledger: dict[str, Any] = {}
        self.ours: dict[str, Any] = {}

    def notify_order(self, order: Any) -> None:
        self.told.setdefault(order.ref, []).append(order.getstatusname())
        if self.when.get(order.ref) == order.getstatusname():
            self.cancel(order)

    def next(self) -> None:
        if not self.data.is_live:
            return
        if len(self.placed) < ORDERS:
            self.race()
        elif any(order.alive() for order in self.placed):
            for order in self.placed:
                self.cancel(order)
        else:
            self.ledger = self.data.store.session.ledger()
            self.ours = {order.client_order_id: order for order in self.data.store.orders()}
            self.env.runstop()

    def race(self) -> None:
        for _ in range(PER_BAR):
            price = self.data.close[0] * (1 + self.dice.uniform(-3e-4, 1e-4))
            order = self.buy(size=self.dice.choice((0.02, 0.4, 3.0)), exectype=bt.Order.Limit, price=price)
            self.placed.append(order)
            self.when[order.ref] = self.dice.choice(("now", "Accepted", "Partial"))
            if self.when[order.ref] == "now":
                self.cancel(order)


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize("seed", range(RUNS))
def test_cancels_that_race_fills_end_as_the_venue_says(seed: int, venue: str) -> None:
    world = Scenario(
        seed=seed,
        warmup_ns=NS_PER_DAY,
        speed=240.0 if venue == "binance" else 60.0,  # Bybit takes ten orders a second
        accounts=(account(USDT="1000000000"),),
    )
    store = btx.load(venue, env="sim", scenario=world, limits=None)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.setbroker(store.getbroker())
    cerebro.adddata(store.getdata(dataname="BTC/USDT", max_signal_age="1d"))  # a busy machine takes its time
    cerebro.addstrategy(Racer, seed=seed)
    (strategy,) = cerebro.run()

    ledger, ours = strategy.ledger, strategy.ours
    rows = {row["client_order_id"]: row for row in ledger["orders"]}
    late = {each.info.client_order_id: each.info.reason for each in strategy.placed if each.status == each.Rejected}
    assert len(late) < ORDERS / 2
    assert all("Too many visits" in reason for reason in late.values())  # held up, they came with those after them
    assert len(strategy.placed) == ORDERS == len(ours)
    unsent = {name for name, mine in ours.items() if mine.evidence.reason == "it was cancelled before it left"}
    assert len(unsent) < ORDERS / 2  # of those that waited for the venue's limits
    assert rows.keys() == ours.keys() - late.keys() - unsent
    fills: dict[str, dict[str, Decimal]] = {}
    for fill in ledger["fills"]:
        fills.setdefault(fill["client_order_id"], {})[fill["fill_id"]] = Decimal(fill["quantity"])
    for order in strategy.placed:
        name = order.info.client_order_id
        if name in late:
            continue
        if name in unsent:
            assert (order.status, order.executed.size, ours[name].fills) == (order.Canceled, 0, ())
            continue
        row, mine = rows[name], ours[name]
        assert row["status"] in {"FILLED", "CANCELED"}
        assert mine.status.value == row["status"]
        assert {fill.fill_id: fill.quantity for fill in mine.fills} == fills.get(name, {})
        assert len(mine.fills) == len(fills.get(name, {}))
        assert order.getstatusname() == {"FILLED": "Completed", "CANCELED": "Canceled"}[row["status"]]
        assert order.executed.size == pytest.approx(float(row["filled"]))
        assert strategy.told[order.ref].count("Completed") + strategy.told[order.ref].count("Canceled") <= 1
    held = Decimal(ledger["balances"]["BTC"]["free"]) + Decimal(ledger["balances"]["BTC"]["locked"])
    assert abs(Decimal(repr(strategy.position.size)) - held) < Decimal("0.00001")
    outcomes = [(row["status"], Decimal(row["filled"]) > 0) for row in rows.values()]
    assert {("FILLED", True), ("CANCELED", False)} <= set(outcomes)
