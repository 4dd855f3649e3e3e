import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from btx.model.venue import Scenario
from btx_binance.sim.app import NOT_MODELLED, simulator


def test_a_simulator_says_where_it_listens_and_what_it_does_not_model() -> None:
    async def main() -> Any:
        async with simulator(Scenario()) as endpoints:
            return endpoints

    endpoints = asyncio.run(main())

    assert endpoints.rest.startswith("http://127.0.0.1:")
    assert endpoints.trading_stream == endpoints.stream + "/ws-api/v3"
    assert endpoints.extra["ccxt_stream"] == endpoints.stream + "/stream/ws"
    assert endpoints.extra["not_modelled"].splitlines() == list(NOT_MODELLED)
    assert endpoints.accounts


def test_the_readme_lists_exactly_what_is_not_modelled(root: Path) -> None:
    readme = (root / "adapters" / "btx_binance" / "README.md").read_text()

    section = readme.partition("### What the simulator does not model")[2].partition("\n\nWhat")[0]
    assert [line.removeprefix("- ") for line in section.strip().splitlines()] == list(NOT_MODELLED)


def test_a_simulator_that_ends_closes_its_sockets_and_its_port() -> None:
    async def main() -> Any:
        async with aiohttp.ClientSession() as http:
            async with simulator(Scenario()) as endpoints:
                socket = await http.ws_connect(f"{endpoints.stream}/ws")
                reading = asyncio.create_task(socket.receive(timeout=5))
            message = await reading
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(f"{endpoints.rest}/api/v3/ping")
            return message

    message = asyncio.run(main())

    assert (message.type.name, message.data) == ("CLOSE", 1001)


def test_two_simulators_of_one_seed_answer_alike() -> None:
    async def klines() -> Any:
        async with simulator(Scenario(seed=7, warmup_ns=3600 * 10**9)) as endpoints, aiohttp.ClientSession() as http:
            url = f"{endpoints.rest}/api/v3/klines?symbol=ETHUSDT&interval=1m&limit=60"
            async with http.get(url) as response:
                return await response.json()

    assert asyncio.run(klines()) == asyncio.run(klines())
