"""Where a venue is: the simulator's addresses, the environment's own, or none."""

from contextlib import AsyncExitStack

import pytest

from btx.bridges.places import Places
from btx.config import Settings
from btx.errors import ConfigError
from btx.model.venue import Environment
from btx.ports import Context

LIVE = ("spot", Environment.LIVE)
PLACES = Places(
    title="Nowhere",
    rest={LIVE: "https://api.nowhere.example/"},
    streams={LIVE: "wss://stream.nowhere.example/v1"},
    longest_receive_window_ms=60_000,
)


class _Clock:
    def wire_ns(self) -> int:
        return 0

    market_ns = wire_ns


def context(environment: Environment) -> Context:
    return Context(
        settings=Settings(),
        environment=environment,
        market="spot",
        endpoints=None,
        clock=_Clock(),
        resources=AsyncExitStack(),
    )


@pytest.mark.parametrize("environment", [Environment.LIVE, Environment.PAPER])
def test_on_paper_it_is_the_venue_s_own_market_that_is_asked(environment: Environment) -> None:
    assert PLACES.rest_url(context(environment)) == "https://api.nowhere.example"
    assert PLACES.stream_url(context(environment)) == "wss://stream.nowhere.example/v1"


@pytest.mark.parametrize("environment", [Environment.SIM, Environment.TESTNET])
def test_where_there_is_no_address_none_is_made_up(environment: Environment) -> None:
    with pytest.raises(ConfigError, match="has no addresses"):
        PLACES.rest_url(context(environment))
