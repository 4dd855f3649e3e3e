"""Requests that go wrong on purpose, in the venue's own words."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.unit.bybit_sim.served import Client, served
from tests.unit.bybit_sim.test_trading import at, create, last, one, ticket


def struck(*faults: dict[str, Any]) -> tuple[Any, int]:
    """What a client gets of an order while something goes wrong, and how many orders there are afterwards."""

    async def place(client: Client) -> Any:
        try:
            answer = await client.signed("POST", "/v5/order/create", **ticket())
        except (aiohttp.ClientError, json.JSONDecodeError) as error:
            return type(error).__name__
        return answer["retCode"]

    async def main() -> Any:
        script = [{"where": "place", "at": 1, **fault} for fault in faults]
        async with served(faults=json.dumps(script)) as client:
            client.world.advance()
            return await place(client), len(client.world.engine.all_orders(api_key="alice"))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("fault", "told", "orders"),
    [
        ({"kind": "error_before"}, 10016, 0),
        ({"kind": "error_after"}, 10000, 1),
        ({"kind": "rate_limit", "for_s": 1.0}, 10006, 0),
        ({"kind": "ban", "for_s": 1.0}, 10018, 0),
        ({"kind": "key_expiry"}, 33004, 0),
        ({"kind": "drop"}, "ServerDisconnectedError", 0),
        ({"kind": "lose"}, "ServerDisconnectedError", 1),
        ({"kind": "truncate", "form": 2}, "JSONDecodeError", 1),
    ],
)
def test_what_goes_wrong_looks_like_the_venues(fault: dict[str, Any], told: Any, orders: int) -> None:
    assert struck(fault) == (told, orders)


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_an_amendment_that_lapses_is_acknowledged_and_the_order_stays_as_it_was(market: str) -> None:
    async def main() -> Any:
        async with served(market, faults=json.dumps([{"kind": "lapse", "where": "amendment"}])) as client:
            client.world.advance()
            price = await last(client, market)
            await create(client, market, orderType="Limit", price=at(price, 0.99), orderLinkId="mine")
            where = {"category": market, "symbol": "BTCUSDT", "orderLinkId": "mine", "price": at(price, 0.98)}
            before = await one(client, "mine", market)
            first = await client.signed("POST", "/v5/order/amend", **where)
            lapsed = await one(client, "mine", market)
            second = await client.signed("POST", "/v5/order/amend", **where)
            return first, second, before, lapsed, await one(client, "mine", market), at(price, 0.98)

    first, second, before, lapsed, amended, price = asyncio.run(main())

    assert (first["retCode"], first["result"]) == (0, second["result"])
    assert lapsed == before
    assert float(amended["price"]) == float(price)
