"""Paper: the venue's public streams with orders that stay here; the simulator is the public side, and sees no order."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import backtrader as bt
import pytest

import btx
from btx.errors import ConfigError
from btx.model.order import Order
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Endpoints
from btx.runtime.control import Control
from btx.sim.paper_ledger import read_lines
from btx.sim.texts import endpoints_from_json
from btx.storage.lines import LineFile
from tests.e2e.test_attach import DEADLINE_S, ROOT, detached
from tests.e2e.trading import Scripted, run_on, world

PACE = 120  # a minute in half a second
FALLING = 26  # a seed: in its first seven hours the market is 0.1 % lower within each next three


def buy(size: float, **order: Any) -> Any:
    return lambda strategy: strategy.buy(size=size, **order)


def limit(factor: float, size: float = 0.1) -> Any:
    def place(strategy: Any) -> None:
        strategy.buy(size=size, exectype=bt.Order.Limit, price=round(strategy.data.close[0] * factor, 2))

    return place


def bracket(strategy: Any) -> None:
    close = strategy.data.close[0]
    strategy.buy_bracket(
        size=0.5,
        exectype=bt.Order.Market,
        stopprice=round(close * 0.9995, 2),
        limitprice=round(close * 1.0005, 2),
    )


def leave(strategy: Any) -> None:
    """Close what is held, then end."""
    ended = [order for order in strategy.orders if order.status == order.Completed]
    if len(ended) == 2:
        strategy.env.runstop()
    elif len(ended) == 1 and strategy.orders[-1].ref == ended[0].ref:
        strategy.close()


def wind_up(strategy: Any) -> None:
    """When both entries have filled, take back what rests, close what is held, and end: nothing is under way then."""
    if sum(order.status == order.Completed and order.isbuy() for order in strategy.orders) < 2:
        return
    if resting := strategy.broker.open_orders():
        for order in resting:
            strategy.cancel(order)
    elif strategy.position.size:
        strategy.close()
    else:
        strategy.env.runstop()


def test_orders_on_paper_fill_against_the_public_market_and_the_venue_sees_none() -> None:
    store = btx.load(
        "binance", env="paper", scenario=world(minutes=600, speed=PACE), balances={"USDT": "200000"}, limits=None
    )
    seen: dict[str, Any] = {}

    def look(strategy: Any) -> None:
        session = strategy.data.store.session
        (account,) = session._facts.endpoints.accounts
        seen["ledger"] = session._ask_simulator("ledger", api_key=account.api_key)
        seen["orders"] = store.orders()

    steps = {1: buy(0.2), 2: limit(0.5), 3: bracket, **dict.fromkeys(range(16, 500), wind_up)}
    strategy = run_on(store, steps, at_end=look)

    assert seen["ledger"]["orders"] == []
    own = {order.leg.client_order_id: order for order in seen["orders"]}
    assert {order.status.value for order in own.values()} <= {"FILLED", "CANCELED", "EXPIRED", "REJECTED"}
    refused = [order.info.reason for order in strategy.orders if order.status == bt.Order.Rejected]
    assert all("do not lie around the last price" in reason for reason in refused)  # the market was there before them
    fills = [fill for order in own.values() for fill in order.fills]
    assert len(fills) >= 3
    spent = sum((fill.price * fill.quantity * fill.side.sign for fill in fills), Decimal(0))
    fees = sum((fill.fee or Decimal(0) for fill in fills if fill.fee_asset == "USDT"), Decimal(0))
    assert Decimal(repr(strategy.broker.getcash())) == pytest.approx(
        Decimal(200_000) - spent - fees, abs=Decimal("1e-6")
    )
    entered = [order for order in strategy.orders if order.status == bt.Order.Completed]
    assert len(entered) >= 3


def test_a_limit_order_is_filled_by_a_trade_at_its_price_and_pays_the_makers_fee() -> None:
    store = btx.load("binance", env="paper", scenario=world(minutes=600, speed=PACE, seed=5), limits=None)

    orders: list[Order] = []

    def rest(strategy: Any) -> None:
        """Place one that rests; the market may come to it before this process does, then another one."""
        orders[:] = store.orders()
        if orders and not orders[-1].status.is_final:
            return
        if orders and {fill.liquidity.value for fill in orders[-1].fills if fill.liquidity} == {"MAKER"}:
            strategy.env.runstop()
        else:
            limit(0.9999, 0.01)(strategy)

    strategy = run_on(store, dict.fromkeys(range(2, 600), rest))

    *_, order = orders
    assert order.status.value == "FILLED"
    assert {fill.price for fill in order.fills} == {order.leg.request.price}
    assert {fill.liquidity.value for fill in order.fills if fill.liquidity} == {"MAKER"}
    assert strategy.position.size == pytest.approx(0.01 * len(orders), abs=1e-4 * len(orders))


@pytest.fixture
def market() -> Iterator[Endpoints]:
    with detached(world(minutes=3000, speed=600, seed=FALLING)) as child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0


def trade(market: Endpoints, home: Path, *, until: str) -> dict[str, Any]:
    """Run a process on the paper account until it says what it found; end it as asked."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.on_paper", market.control, until],
        cwd=ROOT,
        env={**os.environ, "BTX_HOME": str(home)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the process ended without a word"
        if until == "killed":
            process.kill()
        process.wait(DEADLINE_S)
    said: dict[str, Any] = json.loads(line)
    return said


async def below(market: Endpoints, price: float, since_ns: int) -> int:
    """Wait until the market has traded below a price, and enough to fill what rests there; return where it is."""
    control = await Control.connect(market.control)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                now_ns: int = (await control.ask("hello"))["market_ns"]
                span = {"start_ns": since_ns + NS_PER_MINUTE, "end_ns": now_ns, "limit": 1000}
                bars = (await control.ask("truth", symbol="BTCUSDT", interval="1m", **span))["bars"]
                if any(float(high) < price and float(volume) >= 0.1 for _, _, high, _, _, volume in bars):
                    return now_ns
                await asyncio.sleep(0.05)
    finally:
        await control.close()


def test_a_paper_account_is_found_again_after_a_kill_with_what_filled_meanwhile(
    market: Endpoints, tmp_path: Path
) -> None:
    first = trade(market, tmp_path, until="killed")
    assert [order["status"] for order in first["orders"]] == ["NEW", "NEW"]
    price, near = max((order["price"], order["id"]) for order in first["orders"])
    _, far = min((order["price"], order["id"]) for order in first["orders"])
    back_ns = asyncio.run(below(market, price, first["market_ns"]))
    second = trade(market, tmp_path, until="stopped")

    assert first["size"] > 0.19
    assert [order["id"] for order in second["orders"]] == [far]
    assert second["size"] == pytest.approx(first["size"] + 0.1, abs=1e-3)
    assert second["balances"]["BTC"] == pytest.approx(second["size"], abs=1e-3)
    (path,) = tmp_path.glob("binance/paper/spot/*/paper/paper.jsonl")
    books = read_lines(LineFile(path).read())
    assert books is not None
    meanwhile = [fill for fill in books.fills if fill.client_order_id == near]
    assert sum(fill.quantity for fill in meanwhile) == Decimal("0.1")
    began_ns = min(fill.time_ns for fill in meanwhile)
    assert first["placed_ns"] <= began_ns <= back_ns  # when it happened, not when heard


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scenario": btx.scenario()}, "pace=60"),
        ({"scenario": btx.scenario(pace=60, balances={"USDT": 1})}, "balances="),
        ({"api_key": "k"}, "env='paper' has accounts of its own"),
        ({"balances": {"USDT": "-1"}}, "less than nothing"),
        ({"keep": "no name"}, "keep='no name'"),
    ],
)
def test_what_makes_no_sense_on_paper_is_said_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        btx.load("binance", env="paper", **settings)


def test_balances_are_for_paper_alone() -> None:
    with pytest.raises(ConfigError, match="env='paper'"):
        btx.load("binance", env="sim", balances={"USDT": 1})


def test_a_strategy_cannot_tell_paper_from_the_simulator_by_what_it_is_told() -> None:
    """The same steps, the same words: Submitted, Accepted, Completed."""
    told = {}
    for env in ("sim", "paper"):
        store = btx.load("binance", env=env, scenario=world(minutes=120, speed=PACE, seed=9), limits=None)
        strategy: Scripted = run_on(store, {2: buy(0.1)} | dict.fromkeys(range(3, 120), leave))
        names = [each.getstatusname() for each in strategy.orders]
        told[env] = [name for name in names if name != "Partial"]  # the book differs from moment to moment

    assert told["paper"] == told["sim"] == ["Submitted", "Accepted", "Completed"] * 2
