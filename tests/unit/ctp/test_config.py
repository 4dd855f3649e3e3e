"""Who logs in where: said, or one sentence about what is missing."""

from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest

from btx.config import Secret, Settings
from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Endpoints, Environment, SimClock
from btx.ports import Context
from btx_ctp.binding import binding_for
from btx_ctp.config import login

FRONTS = {"broker_id": "1", "trading_front": "tcp://a:1", "market_front": "tcp://a:2"}


def context(environment: Environment = Environment.LIVE, user: str = "me", **options: str) -> Context:
    return Context(
        settings=Settings(api_key=Secret(user), api_secret=Secret("secret"), options=options),
        environment=environment,
        market="futures",
        endpoints=None,
        clock=None,  # type: ignore[arg-type] -- nobody asks what time it is
        resources=AsyncExitStack(),
    )


def simulated(**changes: Any) -> Context:
    endpoints = Endpoints(
        rest="tcp://127.0.0.1:1",
        stream="tcp://127.0.0.1:2",
        trading_stream="",
        control="",
        accounts=(),
        clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
        extra={"broker_id": "9999", "app_id": "app", "auth_code": "code"},
    )
    return attrs.evolve(context(Environment.SIM, "x" * 64), endpoints=endpoints, **changes)


def test_the_simulator_says_where_it_is_and_takes_the_beginning_of_its_long_keys() -> None:
    found = login(simulated())

    assert (found.user, found.trading_front, found.auth_code) == ("x" * 12, "tcp://127.0.0.1:1", "code")


def test_the_test_system_is_simnow_unless_somebody_says_otherwise() -> None:
    found = login(context(Environment.TESTNET, production="no"))

    assert (found.broker_id, found.app_id, found.is_production) == ("9999", "simnow_client_test", False)
    assert login(context(Environment.TESTNET, **FRONTS)).trading_front == "tcp://a:1"


@pytest.mark.parametrize(
    ("changed", "kind", "text"),
    [
        ({"user": ""}, MissingSecretError, "needs a user and a password"),
        ({"user": "x" * 13}, ConfigError, "at most 12 characters"),
        ({"market_front": ""}, ConfigError, "needs options market_front"),
        ({"production": "maybe"}, ConfigError, "write 'yes' or 'no'"),
        ({"answer_s": "soon"}, ConfigError, "a positive number of seconds"),
        ({"answer_s": "-1"}, ConfigError, "a positive number of seconds"),
    ],
)
def test_what_is_missing_is_one_sentence(changed: dict[str, str], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        login(context(**(FRONTS | changed)))  # type: ignore[arg-type]


def test_a_simulated_environment_without_a_simulator_loads_nothing() -> None:
    with pytest.raises(ConfigError, match="start a simulator"):
        binding_for(context(Environment.SIM))
