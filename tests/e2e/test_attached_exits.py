"""Exits that Bybit makes of an order or keeps with a position: they are the strategy's, though it gave them no name."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import backtrader as bt
import pytest

import btx
from btx.model.venue import Endpoints
from btx.storage.recorded import parts
from btx.tools.replay import run_replay
from tests.e2e.restarted import QUICK
from tests.e2e.test_attach import ROOT
from tests.e2e.test_futures import agree, simulator, trade
from tests.e2e.test_liquidation import let_pass
from tests.e2e.trading import account, run_on, world

ALARMS = ("FOREIGN", "DRIFT", "HALT", "FAULT")


def scenario(market: str, *, minutes: int = 18) -> Any:
    return world(minutes=minutes, market=market, accounts=(account(USDT="100000"),))


def load(market: str, endpoints: Endpoints, **settings: Any) -> Any:
    place = {"market": market, "scenario": btx.scenario(attach=endpoints.control), "keep": "exits", "limits": None}
    return btx.load("bybit", **(place | settings))


def enter(*, profit: str = "1.0015", loss: str = "0.9998", **arguments: Any) -> Any:
    """Return a step that buys, with a take profit and a stop loss that the venue makes of it."""

    def step(strategy: Any) -> None:
        close = strategy.data.close[0]
        exits = {"takeProfit": round(close * float(profit), 1), "stopLoss": str(round(close * float(loss), 1))}
        if not strategy.data.instrument.kind.is_margined:  # spot attaches exits to limit orders alone
            arguments.update(exectype=bt.Order.Limit, price=close * 1.001)
        strategy.entry = strategy.buy(size=0.02, params=exits, **arguments)

    return step


def alarms(strategy: Any) -> list[str]:
    return [text for text in strategy.store_notes if text.startswith(ALARMS)]


def exits_of(strategy: Any) -> dict[str, list[str]]:
    """Return what the strategy was told of exits the venue made, by their ids."""
    told: dict[str, list[str]] = {}
    for order in strategy.orders:
        if order.info.get("origin") == "ATTACHED":
            told.setdefault(order.info.client_order_id, []).append(order.getstatusname())
    return told


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_exits_the_venue_makes_of_an_order_are_orders_of_the_strategy(market: str, tmp_path: Path) -> None:
    record = tmp_path if market == "linear" else None
    store = btx.load("bybit", env="sim", market=market, limits=None, scenario=scenario(market), record=record)
    strategy, ledger = trade(store, {2: enter()}, datas=({"dataname": "BTC/USDT"},))

    one, other = exits_of(strategy).values()
    assert one == ["Submitted", "Accepted", "Canceled"]
    assert (other[:2], other[-1]) == (["Submitted", "Accepted"], "Completed")
    (filled,) = [
        order for order in strategy.orders if order.info.get("attached_to") and order.status == order.Completed
    ]
    assert filled.info.attached_to == strategy.entry.ref
    kinds = {order.info.order_type for order in strategy.orders if order.info.get("origin") == "ATTACHED"}
    assert kinds == {"TAKE_PROFIT_MARKET", "STOP_MARKET"}
    assert filled.owner is strategy
    assert strategy.position.size == 0
    assert strategy.trades[-1].isclosed
    assert alarms(strategy) == []
    assert len([text for text in strategy.store_notes if text.startswith("ATTACHED: ")]) == 2
    if market == "linear":
        agree(strategy, ledger)
        (file,) = parts(tmp_path)
        assert run_replay(file, speed=None, strategy=None, as_json=True) == 0
    else:
        assert strategy.broker.getcash() == pytest.approx(float(ledger["balances"]["USDT"]["free"]))


def test_a_strategy_may_cancel_an_exit_the_venue_made() -> None:
    def cancel(strategy: Any) -> None:
        below = [each for each in strategy.broker.open_orders() if each.created.price < strategy.data.close[0]]
        strategy.cancel(*below)

    store = btx.load("bybit", env="sim", market="linear", limits=None, scenario=scenario("linear"))
    strategy, _ = trade(store, {2: enter(profit="1.5", loss="0.99"), 4: cancel}, datas=({"dataname": "BTC/USDT"},))

    (stop, profit) = sorted(exits_of(strategy).values(), key=len, reverse=True)
    assert (stop[-1], profit) == ("Canceled", ["Submitted", "Accepted"])
    assert alarms(strategy) == []


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_an_exit_that_fills_while_nobody_is_there_is_told_by_the_next_run(
    market: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    data = ({"dataname": "BTC/USDT"},)
    with simulator(scenario(market, minutes=40), "bybit") as endpoints:
        first = run_on(load(market, endpoints), {2: enter(), 3: lambda each: each.env.runstop()})  # which keeps exits
        asyncio.run(let_pass(endpoints, minutes=20))
        second, ledger = trade(load(market, endpoints), {3: lambda each: each.env.runstop()}, datas=data)

    assert [told[-1] for told in exits_of(first).values()] == ["Accepted", "Accepted"]
    assert [told[-1] for told in exits_of(second).values()] == ["Completed"]
    assert second.position.size == 0
    assert alarms(second) == []
    if market == "linear":
        agree(second, ledger)


# --- a position's trailing stop -------------------------------------------------------------------------------

DATA = ({"dataname": "BTC/USDT"},)
RESTING = "trails"


def buy(strategy: Any) -> None:
    strategy.buy(size=0.02)


def trail(strategy: Any, *, size: float = 0.02, amount: float = 60.0, **params: Any) -> Any:
    order = strategy.sell(
        size=size,
        exectype=bt.Order.StopTrail,
        trailamount=amount,
        reduce_only=True,
        params={"tpslMode": "Full", **params},
    )
    strategy.__dict__.setdefault("trails", []).append(order)
    return order


def test_the_trailing_stop_of_a_position_is_the_venue_s_and_closes_all_of_it() -> None:
    def change(strategy: Any) -> None:
        strategy.cancel(strategy.trails[1])

    store = btx.load("bybit", env="sim", market="linear", limits=None, scenario=scenario("linear"))
    steps = {
        2: buy,
        3: lambda each: trail(each, size=0.01),
        4: lambda each: trail(each, amount=3000.0),
        5: trail,
        6: change,
        7: trail,
    }
    strategy, ledger = trade(store, steps, datas=DATA)

    too_small, wide, one_more, last = strategy.trails
    assert strategy.told(too_small) == ["Submitted", "Rejected"]
    assert "closes all of it, and it has 0.02: not 0.01" in too_small.info.reason
    assert strategy.told(one_more) == ["Submitted", "Rejected"]
    assert one_more.info.reason == "the position has a trailing stop already: cancel that first"
    assert strategy.told(wide) == ["Submitted", "Accepted", "Canceled"]
    assert strategy.told(last)[-1] == "Completed"
    assert strategy.trades[-1].isclosed
    assert alarms(strategy) == []
    agree(strategy, ledger)


@pytest.mark.parametrize("kind", ["lose", "drop"])
def test_a_trailing_stop_of_which_nobody_knows_whether_it_was_set_is_looked_for(kind: str) -> None:
    fault = {"kind": kind, "where": "place", "at": 2}
    broken = attrs.evolve(scenario("linear"), faults=json.dumps([fault]))
    store = btx.load("bybit", env="sim", market="linear", limits=None, scenario=broken, timing=QUICK)
    strategy, ledger = trade(store, {2: buy, 4: trail}, datas=DATA)

    (order,) = strategy.trails
    is_set = kind == "lose"
    assert strategy.told(order)[-1] == ("Completed" if is_set else "Rejected")
    assert strategy.position.size == (0 if is_set else 0.02)
    assert alarms(strategy) == []
    agree(strategy, ledger)


def look(strategy: Any) -> None:
    strategy.found = strategy.broker.open_orders()
    strategy.env.runstop()


def test_a_position_s_trailing_stop_outlives_the_process_and_is_found_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT}
    with simulator(scenario("linear", minutes=60), "bybit") as endpoints:
        with subprocess.Popen([sys.executable, "-m", __name__, endpoints.control], **pipes) as first:
            assert first.stdout is not None
            assert first.stdout.readline().strip() == RESTING.encode()
            first.kill()
        second, _ = trade(load("linear", endpoints), {2: look}, datas=DATA)
        asyncio.run(let_pass(endpoints, minutes=40))
        third, ledger = trade(load("linear", endpoints), {2: look}, datas=DATA)

    (found,) = second.found
    assert (found.getordername(), found.info.recovered) == ("StopTrail", True)
    assert second.told(found) == []
    (filled,) = [each for each in third.orders if not each.info.get("seed")]
    assert (filled.getstatusname(), filled.info.client_order_id) == ("Completed", found.info.client_order_id)
    assert third.found == []
    assert third.position.size == 0
    assert alarms(second) == alarms(third) == []
    agree(third, ledger)


if __name__ == "__main__":

    def wait_for_death(_strategy: Any) -> None:
        sys.stdout.write(f"{RESTING}\n")
        sys.stdout.flush()
        sys.stdin.read()

    dying = btx.load("bybit", market="linear", scenario=btx.scenario(attach=sys.argv[1]), keep="exits", limits=None)
    trade(dying, {2: buy, 3: lambda each: trail(each, amount=200.0), 4: wait_for_death}, datas=DATA)
