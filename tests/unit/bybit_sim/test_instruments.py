"""What is listed, and by which rules."""

import itertools
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_trading import played


async def info(client: Client, **params: Any) -> Any:
    return (await client.get("/v5/market/instruments-info", **params))["result"]


def test_a_world_lists_one_category_and_of_the_others_nothing() -> None:
    async def scene(client: Client) -> Any:
        found = {}
        for category in ("spot", "linear", "inverse", "option"):
            found[category] = [row["symbol"] for row in (await info(client, category=category))["list"]]
        early = await info(client, category="linear", status="PreLaunch")
        wrong = await client.get("/v5/market/instruments-info", category="futures")
        return found, early["list"], wrong["retCode"]

    found, early, wrong = played(scene)

    assert found == {"spot": [], "linear": ["BTCUSDT", "ETHUSDT"], "inverse": [], "option": []}
    assert (early, wrong) == ([], 10001)


def test_listings_are_told_page_by_page() -> None:
    async def scene(client: Client) -> Any:
        first = await info(client, category="linear", limit=2)
        rest = await info(client, category="linear", limit=2, cursor=first["nextPageCursor"])
        chosen = await info(client, category="linear", baseCoin="ETH")
        return first, rest, chosen

    first, rest, chosen = played(scene, symbols=("BTCUSDT", "ETHUSDT", "SUIUSDT"))

    assert [row["symbol"] for row in first["list"]] == ["BTCUSDT", "ETHUSDT"]
    assert [row["symbol"] for row in rest["list"]] == ["SUIUSDT"]
    assert (bool(first["nextPageCursor"]), rest["nextPageCursor"]) == (True, "")
    assert [row["symbol"] for row in chosen["list"]] == ["ETHUSDT"]


@pytest.mark.parametrize("market", ["linear", "inverse"])
def test_risk_limits_join_where_they_meet(market: str) -> None:
    async def scene(client: Client) -> Any:
        answer = await client.get("/v5/market/risk-limit", category=market)
        other = await client.get("/v5/market/risk-limit", category="spot")
        return answer["result"]["list"], other["retCode"]

    rows, other = played(scene, market)

    assert other == 10001
    symbols = {row["symbol"] for row in rows}
    assert len(symbols) == 2
    for symbol in symbols:
        tiers = [row for row in rows if row["symbol"] == symbol]
        assert [row["isLowestRisk"] for row in tiers] == [1] + [0] * (len(tiers) - 1)
        for lower, upper in itertools.pairwise(tiers):
            edge = Decimal(lower["riskLimitValue"])
            kept = [
                edge * Decimal(tier["maintenanceMargin"]) - Decimal(tier["mmDeduction"] or "0")
                for tier in (lower, upper)
            ]
            assert kept[0] == kept[1]
            assert Decimal(upper["maxLeverage"]) < Decimal(lower["maxLeverage"])
