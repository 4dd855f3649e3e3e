"""Scenarios and endpoints as text."""

from pathlib import Path

import pytest

from btx.errors import ConfigError, TransportError
from btx.model.venue import Endpoints, Scenario, SimClock
from btx.sim.texts import endpoints_from_json, endpoints_to_json, scenario_from_json, scenario_to_json
from tests.unit.sim.toys import account


def test_scenarios_and_endpoints_survive_their_text(tmp_path: Path) -> None:
    scenario = Scenario(
        seed=3,
        data={"BTC/USDT": tmp_path / "a.csv"},
        symbols=("BTC/USDT",),
        speed=2.5,
        until_ns=7,
        warmup_ns=8,
        origin_ns=9,
        rebase=True,
        accounts=(account(USDT="0.10"),),
        port=12,
        faults='[{"kind": "drop"}]',
        attach="ws://e",
    )
    endpoints = Endpoints(
        rest="http://a",
        stream="ws://b",
        trading_stream="ws://c",
        control="ws://d",
        accounts=scenario.accounts,
        clock=SimClock(wire_origin_ns=1, market_origin_ns=2, speed=None),
        extra={"as_of": "2026-03"},
    )

    assert scenario_from_json(scenario_to_json(scenario)) == scenario
    assert scenario_from_json("{}") == Scenario()
    assert endpoints_from_json(endpoints_to_json(endpoints)) == endpoints


@pytest.mark.parametrize("text", ["", "[]", '{"sed": 1}', '{"accounts": [{}]}', '{"data": 3}'])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no scenario in JSON"):
        scenario_from_json(text)


@pytest.mark.parametrize("text", ["hello", "{}", "3"])
def test_what_are_no_endpoints_is_refused(text: str) -> None:
    with pytest.raises(TransportError, match="said something else than its addresses"):
        endpoints_from_json(text)
