"""CTP through its real binding, which a drop-in of the simulator's stands behind: always in a process of its own."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from btx.model.venue import Endpoints, Scenario
from btx.sim.texts import endpoints_from_json, scenario_to_json
from tests.e2e.measured import python

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("openctp_ctp") is None,
    reason="CTP's binding, or what stands behind it here, is not there",
)

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60.0
BEFORE_THREE_NS = 1_748_933_700_000_000_000  # 2025-06-03T14:55 in Shanghai: five minutes to the end of the day
DAY_NS = 86_400 * 1_000_000_000


@pytest.fixture(params=[None], ids=["from-the-open"])
def simulator(request: pytest.FixtureRequest) -> Iterator[Endpoints]:
    """A simulator that runs; its parameter is when its market begins."""
    scenario = Scenario(seed=5, symbols=("SHFE.rb2601",), origin_ns=request.param, until_ns=DAY_NS)
    command = [sys.executable, "-m", "btx", "sim", "ctp", "--detach", "--json", "--scenario-json"]
    with subprocess.Popen(
        [*command, scenario_to_json(scenario)], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield endpoints_from_json(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGTERM)
            assert child.wait(DEADLINE_S) == 0


def trade(
    simulator: Endpoints, home: Path, name: str, *words: str, bars: int, kill_at: str = ""
) -> list[dict[str, Any]]:
    """Run a trading process until it ends, or is killed; return what it wrote."""
    result = home / f"{name}.jsonl"
    result.touch()
    done = subprocess.run(
        python("-m", "tests.e2e.ctp_split", simulator.control, str(result), str(bars), *words),
        cwd=ROOT,
        env={**os.environ, "BTX_HOME": str(home), **({"BTX_FAULT_POINT": kill_at} if kill_at else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr
    return [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]


def told(lines: list[dict[str, Any]]) -> list[tuple[str, float]]:
    return [(line["status"], line["size"]) for line in lines if line["what"] == "told" and not line["seed"]]


def test_a_sale_of_more_than_is_held_is_two_orders_and_one_for_the_strategy(
    simulator: Endpoints, tmp_path: Path
) -> None:
    lines = trade(simulator, tmp_path, "whole", bars=6)

    assert told(lines)[-1] == ("Completed", -5.0)
    assert [line for line in lines if line["what"] == "told"][-1]["legs"] == [
        ["CLOSE_TODAY", 3, "FILLED"],
        ["OPEN", 2, "FILLED"],
    ]
    assert lines[-1]["size"] == -2


def test_killed_between_two_legs_the_next_process_finds_what_was_done_and_sends_nothing_again(
    simulator: Endpoints, tmp_path: Path
) -> None:
    before = trade(simulator, tmp_path, "killed", bars=9, kill_at="send.after:2")
    after = trade(simulator, tmp_path, "next", bars=4)

    assert ("Completed", 3.0) in told(before)
    status, size = told(after)[-1]
    assert (status, size) == ("Canceled", -3.0)  # the leg that opens was written down, and never left
    assert after[-1]["size"] == 0
    assert sum(line.get("recovered", 0) for line in after) > 0


@pytest.mark.parametrize("simulator", [BEFORE_THREE_NS], indirect=True, ids=["before-three"])
def test_what_was_opened_in_the_day_is_yesterdays_at_night(simulator: Endpoints, tmp_path: Path) -> None:
    lines = trade(simulator, tmp_path, "night", "night", bars=10)

    assert told(lines)[-1] == ("Completed", -7.0)
    assert [line for line in lines if line["what"] == "told"][-1]["legs"] == [
        ["CLOSE_YESTERDAY", 3, "FILLED"],
        ["CLOSE_TODAY", 2, "FILLED"],
        ["OPEN", 2, "FILLED"],
    ]
    assert lines[-1]["size"] == -2
