"""A simulator that runs by itself goes on when the process that trades on it is killed, and takes the next one in."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import btx
from btx.model.journal import RunEnded, RunStarted
from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Endpoints, Scenario
from btx.sim.texts import endpoints_from_json, scenario_to_json
from btx.storage.journal import read_journal
from tests.e2e.trading import account, run_on, world

DEADLINE_S = 60
MINUTES = 30
ROOT = Path(__file__).parents[2]


def detached(scenario: Scenario, venue: str = "binance") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "btx", "sim", venue, "--detach", "--json"),
            *("--scenario-json", scenario_to_json(scenario)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def simulator() -> Iterator[Endpoints]:
    scenario = world(minutes=MINUTES, accounts=(account(USDT="100000", BTC="0"),))
    with detached(scenario) as child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0


def trade_and_be_killed(simulator: Endpoints) -> int:
    """Run a trading process to its fourth live bar and kill it; return the market's time then."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.attached", simulator.control],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as trader:
        assert trader.stdout is not None
        for line in trader.stdout:
            if line.startswith("traded until "):
                break
        else:
            raise AssertionError("the trading process ended by itself")
        trader.kill()
        assert trader.wait(DEADLINE_S) == -signal.SIGKILL
    return int(line.removeprefix("traded until "))


def test_a_trading_process_that_is_killed_is_followed_by_another_in_the_same_world(
    simulator: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTX_HOME", str(tmp_path))
    killed_at_ns = trade_and_be_killed(simulator)
    seen: dict[str, Any] = {}

    def look(strategy: Any) -> None:
        session = strategy.data.store.session
        seen["ledger"], seen["balances"] = session.ledger(), session.account().balances
        seen["market_ns"] = session.clock.market_ns()

    def look_again(strategy: Any) -> None:
        seen["end_ns"] = strategy.data.store.session.clock.market_ns()

    store = btx.load("binance", env="sim", scenario=btx.scenario(attach=simulator.control), keep="attached")
    strategy = run_on(store, {1: look}, at_end=look_again)

    origin_ns = simulator.clock.market_origin_ns
    assert killed_at_ns == origin_ns + 4 * NS_PER_MINUTE
    assert seen["market_ns"] == killed_at_ns + NS_PER_MINUTE  # it waited for the next process
    assert seen["end_ns"] == origin_ns + MINUTES * NS_PER_MINUTE
    assert strategy.live_bars == MINUTES - 4
    bought, resting = seen["ledger"]["orders"]
    assert [fill["client_order_id"] for fill in seen["ledger"]["fills"]] == [bought["client_order_id"]]
    assert [(Decimal(order["filled"]), order["is_open"]) for order in (bought, resting)] == [
        (Decimal("0.02"), False),
        (Decimal(0), True),
    ]
    balances = {asset: Decimal(each["locked"]) for asset, each in seen["ledger"]["balances"].items()}
    assert balances["USDT"] == Decimal(resting["quantity"]) * Decimal(resting["price"])
    assert {asset: (balance.free, balance.locked) for asset, balance in seen["balances"].items()} == {
        asset: (Decimal(each["free"]), Decimal(each["locked"])) for asset, each in seen["ledger"]["balances"].items()
    }
    (journal,) = tmp_path.glob("binance/sim/spot/*/attached/journal.sqlite")
    reader = read_journal(journal)
    runs = [record for _, _, record in reader.records() if isinstance(record, RunStarted | RunEnded)]
    placed = set(reader.orders())
    reader.close()
    assert [type(record) for record in runs] == [RunStarted, RunStarted, RunEnded]  # one was killed
    assert placed == {bought["client_order_id"], resting["client_order_id"]}
