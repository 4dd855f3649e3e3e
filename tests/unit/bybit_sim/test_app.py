import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from btx.errors import ConfigError
from btx.model.venue import Endpoints, Scenario
from btx_bybit.sim.app import AS_OF, HABITS, NOT_MODELLED, matcher, simulator


async def endpoints_of(scenario: Scenario) -> Endpoints:
    async with simulator(scenario) as endpoints:
        return endpoints


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_a_simulator_says_where_it_listens_and_what_it_does_not_model(market: str) -> None:
    endpoints = asyncio.run(endpoints_of(Scenario(market=market)))

    assert endpoints.rest.startswith("http://127.0.0.1:")
    assert endpoints.trading_stream == f"{endpoints.stream}/v5/trade"
    assert endpoints.extra["public_stream"] == f"{endpoints.stream}/v5/public/{market}"
    assert endpoints.extra["private_stream"] == f"{endpoints.stream}/v5/private"
    assert (endpoints.extra["market"], endpoints.extra["as_of"]) == (market, AS_OF)
    assert endpoints.extra["not_modelled"].splitlines() == list(NOT_MODELLED)
    assert endpoints.accounts


def test_the_readme_lists_exactly_what_is_not_modelled(root: Path) -> None:
    readme = (root / "adapters" / "btx_bybit" / "README.md").read_text()

    section = readme.partition("### What is not modelled")[2].partition("\n\nWhat")[0]
    listed = [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]
    assert listed == list(NOT_MODELLED)


def test_an_unknown_market_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="'spot', 'linear', 'inverse'"):
        asyncio.run(endpoints_of(Scenario(market="option")))


def test_the_world_that_is_served_can_be_asked_without_a_wire() -> None:
    box = matcher(Scenario(market="linear"))

    assert set(box.instruments) == {"BTC/USDT:USDT", "ETH/USDT:USDT"}
    assert box.account().balances["USDT"].free > 0


def test_a_simulator_that_ends_closes_its_sockets_and_its_port() -> None:
    async def main() -> Any:
        async with aiohttp.ClientSession() as http:
            async with simulator(Scenario(market="linear")) as endpoints:
                socket = await http.ws_connect(endpoints.extra["private_stream"])
                reading = asyncio.create_task(socket.receive(timeout=60))
            message = await reading
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(f"{endpoints.rest}/v5/market/time")
            return message

    message = asyncio.run(main())

    assert (message.type.name, message.data) == ("CLOSE", 1001)


def test_one_socket_too_many_is_refused_as_the_venue_refuses_an_address() -> None:
    async def main() -> Any:
        async with simulator(Scenario(market="spot")) as endpoints, aiohttp.ClientSession() as http:
            async with http.ws_connect(endpoints.control) as control:
                await control.send_json({"id": 1, "op": "terms", "dials": 1})
                await control.receive_json(timeout=60)
            async with http.ws_connect(endpoints.extra["public_stream"]):
                pass
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(endpoints.extra["public_stream"])
            return refused.value.status

    assert asyncio.run(main()) == 403
    assert (HABITS.dials, HABITS.dials_s) == (500, 300)
