"""A process that trades on paper and says what it has: ``on_paper.py CONTROL killed|stopped``."""

import json
import sys
from typing import Any

import backtrader as bt

import btx
from btx.model.order import Order, Status
from btx.model.time import NS_PER_MS
from tests.e2e.trading import run_on


def trade(strategy: Any) -> None:
    """Hold coins, and rest an order near the market and one far from it; say so when it is so."""
    near, far = "near", "far"
    placed = strategy.placed = getattr(strategy, "placed", {})
    if not placed and strategy.broker.open_orders():  # an earlier process did
        say(strategy, resting(strategy))
        return
    close = strategy.data.close[0]
    if not placed:
        placed["coins"] = strategy.buy(size=0.2)
        placed[far] = strategy.buy(size=0.1, exectype=bt.Order.Limit, price=round(close * 0.5, 2))
    if near not in placed or placed[near].status == bt.Order.Completed:  # the market was faster than this process
        placed[near] = strategy.buy(size=0.1, exectype=bt.Order.Limit, price=round(close * 0.9995, 2))
        placed["since"] = int(strategy.data.ts_ms[0]) * NS_PER_MS
    elif not placed["coins"].alive() and placed[near].status == placed[far].status == bt.Order.Accepted:
        orders = resting(strategy)  # as they are now, which the strategy may not have been told yet
        if [order.status for order in orders] == [Status.NEW] * 2:
            say(strategy, orders, placed_ns=placed["since"])


def resting(strategy: Any) -> list[Order]:
    return [order for order in strategy.data.store.orders() if not order.status.is_final]


def say(strategy: Any, orders: list[Order], **more: Any) -> None:
    store = strategy.data.store
    said = {
        "size": strategy.position.size,
        "orders": [
            {"id": order.client_order_id, "status": order.status.value, "price": float(order.leg.request.price)}
            for order in orders
        ],
        "market_ns": store.session.clock.market_ns(),
        **more,
        "balances": {asset: float(balance.total) for asset, balance in store.balances().items()},
    }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    if sys.argv[2] == "killed":
        sys.stdin.read()
    strategy.env.runstop()


if __name__ == "__main__":
    store = btx.load(
        "binance", env="paper", scenario=btx.scenario(attach=sys.argv[1]), keep="paper", balances={"USDT": "100000"}
    )
    run_on(store, dict.fromkeys(range(1, 3000), trade))
