"""A trading process that attaches to a simulator, trades, says so, and waits to be killed: ``attached.py CONTROL``."""

import sys
from typing import Any

import btx
from tests.e2e.trading import run_on


def buy_now(strategy: Any) -> None:
    strategy.buy(size=0.02)


def buy_low(strategy: Any) -> None:
    import backtrader as bt

    strategy.buy(size=0.01, exectype=bt.Order.Limit, price=round(strategy.data.close[0] * 0.8, 2))


def wait_for_death(strategy: Any) -> None:
    session = strategy.data.store.session
    sys.stdout.write(f"traded until {session.clock.market_ns()}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    store = btx.load("binance", env="sim", scenario=btx.scenario(attach=sys.argv[1]), keep="attached")
    run_on(store, {1: buy_now, 2: buy_low, 4: wait_for_death})
