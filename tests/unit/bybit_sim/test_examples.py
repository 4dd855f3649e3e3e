"""What the simulator answers has the keys of the venue's documented answers."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bybit_sim.served import Client, served

RETIRED = {
    "/v5/position/list": {"mmrSysUpdateTime"},  # a misprint of mmrSysUpdatedTime
}
"""Keys of the examples that the venue's present documentation does not have any more."""

PRIVATE = {
    "/v5/account/wallet-balance": {"accountType": "UNIFIED"},
    "/v5/account/fee-rate": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/account/info": {},
    "/v5/account/transaction-log": {},
    "/v5/order/history": {"category": "linear"},
    "/v5/order/realtime": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/position/list": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/position/closed-pnl": {"category": "linear"},
    "/v5/execution/list": {"category": "linear"},
}
PUBLIC = {
    "/v5/market/funding/history": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/market/insurance": {},
    "/v5/market/kline": {"category": "linear", "symbol": "BTCUSDT", "interval": "1"},
    "/v5/market/mark-price-kline": {"category": "linear", "symbol": "BTCUSDT", "interval": "1"},
    "/v5/market/index-price-kline": {"category": "linear", "symbol": "BTCUSDT", "interval": "1"},
    "/v5/market/open-interest": {"category": "linear", "symbol": "BTCUSDT", "intervalTime": "1h"},
    "/v5/market/orderbook": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/market/recent-trade": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/market/risk-limit": {"category": "linear", "symbol": "BTCUSDT"},
    "/v5/market/price-limit": {"symbol": "BTCUSDT"},
}


@pytest.fixture(scope="module")
def documented(btx_data: Path) -> dict[str, Any]:
    """The venue's documented answers by name."""
    with gzip.open(btx_data / "docs_examples/bybit_v5_rest_ws_examples.jsonl.gz", "rt") as lines:
        return {row["name"]: row for row in map(json.loads, lines) if row["kind"] == "rest"}


def missing(told: Any, example: Any, where: str = "") -> set[str]:
    """Return the keys of an example that an answer has not; of lists the first item is looked at."""
    if isinstance(example, dict):
        if not isinstance(told, dict):
            return {f"{where} is no object"}
        found = {f"{where}.{key}" for key in example.keys() - told.keys()}
        return found.union(
            *(missing(told[key], example[key], f"{where}.{key}") for key in example.keys() & told.keys())
        )
    if isinstance(example, list) and example:
        return missing(told[0], example[0], f"{where}[]") if isinstance(told, list) and told else {f"{where} is empty"}
    return set()


async def traded(client: Client) -> None:
    """Leave orders, executions and a closed position behind."""
    order = {"category": "linear", "symbol": "BTCUSDT", "orderType": "Market", "qty": "0.01"}
    await client.signed("POST", "/v5/order/create", **order, side="Buy")
    await client.signed("POST", "/v5/order/create", **order, side="Sell", reduceOnly=True)
    resting = {**order, "orderType": "Limit", "side": "Buy", "price": "99000", "orderLinkId": "rests"}
    await client.signed("POST", "/v5/order/create", **resting)


def test_answers_have_the_keys_of_the_documented_ones(documented: dict[str, Any]) -> None:
    async def main() -> dict[str, Any]:
        async with served("linear") as client:
            client.world.advance()
            await traded(client)
            told = {path: await client.signed("GET", path, **params) for path, params in PRIVATE.items()}
            return told | {path: await client.get(path, **params) for path, params in PUBLIC.items()}

    told = asyncio.run(main())
    examples = {row["path"]: row["response"] for row in documented.values() if row["path"] in told}

    assert examples.keys() == told.keys()
    gaps = {
        path: {key for key in missing(told[path], example) if key.rpartition(".")[2] not in RETIRED.get(path, ())}
        for path, example in examples.items()
    }
    assert {path: keys for path, keys in gaps.items() if keys} == {}


@pytest.mark.parametrize(
    ("market", "path", "name", "params"),
    [
        ("spot", "/v5/market/instruments-info", "V5Api/ExchangeData/GetSpotSymbols", {"category": "spot"}),
        ("spot", "/v5/market/tickers", "V5Api/ExchangeData/GetSpotTickers", {"category": "spot"}),
        ("linear", "/v5/market/instruments-info", "V5Api/ExchangeData/GetLinearInverseSymbols", {"category": "linear"}),
        ("inverse", "/v5/market/tickers", "V5Api/ExchangeData/GetLinearInverseTickers", {"category": "inverse"}),
    ],
)
def test_what_is_listed_has_the_keys_of_the_documented(
    documented: dict[str, Any], market: str, path: str, name: str, params: dict[str, str]
) -> None:
    async def main() -> Any:
        async with served(market) as client:
            client.world.advance()
            return await client.get(path, **params)

    assert missing(asyncio.run(main()), documented[name]["response"]) == set()
