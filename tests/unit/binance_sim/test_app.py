import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from btx.errors import ConfigError
from btx.model.venue import Scenario
from btx_binance.sim.app import simulator
from btx_binance.sim.futures.calls import NOT_MODELLED as FUTURES_NOT_MODELLED
from btx_binance.sim.futures.protocol import AS_OF
from btx_binance.sim.spot import NOT_MODELLED


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
    spot, _, futures = section.partition("Of futures:")
    assert _listed(spot) == list(NOT_MODELLED)
    assert _listed(futures) == list(FUTURES_NOT_MODELLED)


def _listed(section: str) -> list[str]:
    return [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]


def test_a_simulator_that_ends_closes_its_sockets_and_its_port() -> None:
    async def main() -> Any:
        async with aiohttp.ClientSession() as http:
            async with simulator(Scenario()) as endpoints:
                socket = await http.ws_connect(f"{endpoints.stream}/ws")
                reading = asyncio.create_task(socket.receive(timeout=60))
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


def test_a_day_before_spot_had_its_present_user_stream_is_refused() -> None:
    async def main(as_of: str) -> Any:
        async with simulator(Scenario(as_of=as_of)) as endpoints:
            return endpoints.extra["as_of"]

    assert asyncio.run(main("2026-02-20")) == "2026-02-20"
    with pytest.raises(ConfigError, match="choose 2026-02-20"):
        asyncio.run(main("2026-02-19"))


@pytest.mark.parametrize(("market", "path"), [("usdm", "/fapi/v1"), ("coinm", "/dapi/v1")])
def test_the_simulator_serves_the_market_that_is_asked_for(market: str, path: str) -> None:
    async def main() -> Any:
        async with (
            simulator(Scenario(market=market)) as endpoints,
            aiohttp.ClientSession() as http,
            http.get(f"{endpoints.rest}{path}/exchangeInfo") as response,
        ):
            return endpoints, await response.json()

    endpoints, info = asyncio.run(main())

    assert len(info["symbols"]) == 2
    assert endpoints.extra["rest_v1"] == endpoints.rest + path
    assert endpoints.trading_stream == f"{endpoints.stream}/ws-{path.removeprefix('/')}"
    assert (endpoints.extra["market"], endpoints.extra["as_of"]) == (market, AS_OF.isoformat())
    assert endpoints.extra["not_modelled"].splitlines() == list(FUTURES_NOT_MODELLED)
