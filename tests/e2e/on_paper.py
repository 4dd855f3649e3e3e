"""A process that trades on paper and says what it has: ``on_paper.py CONTROL killed|stopped``."""

import json
import sys
from typing import Any

import backtrader as bt

import btx
from tests.e2e.trading import run_on


def trade(strategy: Any) -> None:
    if strategy.broker.open_orders():
        return  # an earlier process did
    close = strategy.data.close[0]
    strategy.buy(size=0.2)
    strategy.buy(size=0.1, exectype=bt.Order.Limit, price=round(close * 0.9992, 2))
    strategy.buy(size=0.1, exectype=bt.Order.Limit, price=round(close * 0.5, 2))


def say(strategy: Any) -> None:
    store = strategy.data.store
    orders = [order for order in store.orders() if not order.status.is_final]
    said = {
        "size": strategy.position.size,
        "orders": [{"id": order.client_order_id, "status": order.status.value} for order in orders],
        "market_ns": store.session.clock.market_ns(),
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
    run_on(store, {1: trade, 2: say})
