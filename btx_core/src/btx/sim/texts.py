"""Scenarios and endpoints as one line of JSON: what a simulator is told, and what it says of itself."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from btx.errors import ConfigError, TransportError
from btx.model.venue import Endpoints, Scenario, SimAccount, SimClock

__all__ = (
    "endpoints_fields",
    "endpoints_from_fields",
    "endpoints_from_json",
    "endpoints_to_json",
    "scenario_from_json",
    "scenario_to_json",
)

_Message = dict[str, Any]


def scenario_to_json(scenario: Scenario) -> str:
    """Return a scenario as one line of JSON; paths become absolute."""
    return json.dumps(
        {
            "seed": scenario.seed,
            "market": scenario.market,
            "funding": {symbol: str(Path(path).absolute()) for symbol, path in scenario.funding.items()},
            "data": {symbol: str(Path(path).absolute()) for symbol, path in scenario.data.items()},
            "symbols": list(scenario.symbols),
            "speed": scenario.speed,
            "until_ns": scenario.until_ns,
            "warmup_ns": scenario.warmup_ns,
            "origin_ns": scenario.origin_ns,
            "rebase": scenario.rebase,
            "accounts": _accounts_json(scenario.accounts),
            "account_count": scenario.account_count,
            "port": scenario.port,
            "faults": scenario.faults,
            "as_of": scenario.as_of,
            "attach": scenario.attach,
            "account": scenario.account,
        }
    )


def scenario_from_json(text: str) -> Scenario:
    """Return the scenario :func:`scenario_to_json` wrote; what is left out has its default.

    Raises:
        ConfigError: the text is no scenario.
    """
    try:
        fields = json.loads(text)
        for name in {"data", "funding"} & fields.keys():
            fields[name] = {symbol: Path(path) for symbol, path in fields[name].items()}
        if "symbols" in fields:
            fields["symbols"] = tuple(fields["symbols"])
        if "accounts" in fields:
            fields["accounts"] = _accounts(fields["accounts"])
        return Scenario(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise ConfigError(f"no scenario in JSON: {error}") from error


def endpoints_to_json(endpoints: Endpoints) -> str:
    """Return endpoints as one line of JSON, keys and secrets of the simulated accounts included."""
    return json.dumps(endpoints_fields(endpoints))


def endpoints_fields(endpoints: Endpoints) -> _Message:
    """Return what :func:`endpoints_to_json` writes, as values JSON knows."""
    return {
        "rest": endpoints.rest,
        "stream": endpoints.stream,
        "trading_stream": endpoints.trading_stream,
        "control": endpoints.control,
        "accounts": _accounts_json(endpoints.accounts),
        "clock": {
            "wire_origin_ns": endpoints.clock.wire_origin_ns,
            "market_origin_ns": endpoints.clock.market_origin_ns,
            "speed": endpoints.clock.speed,
            "stands": endpoints.clock.stands,
        },
        "extra": dict(endpoints.extra),
        "is_under_way": endpoints.is_under_way,
    }


def endpoints_from_json(text: str) -> Endpoints:
    """Return the endpoints :func:`endpoints_to_json` wrote.

    Raises:
        TransportError: the text is something else.
    """
    try:
        fields = json.loads(text)
    except ValueError:
        fields = text.strip()
    return endpoints_from_fields(fields)


def endpoints_from_fields(fields: Mapping[str, Any]) -> Endpoints:
    """Return the endpoints of what :func:`endpoints_fields` gave.

    Raises:
        TransportError: it is something else.
    """
    try:
        accounts, clock = _accounts(fields["accounts"]), SimClock(**fields["clock"])
        return Endpoints(**{**fields, "accounts": accounts, "clock": clock})
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise TransportError(f"the simulator said something else than its addresses: {fields!r}") from error


def _accounts_json(accounts: Sequence[SimAccount]) -> list[_Message]:
    return [
        {
            "api_key": account.api_key,
            "api_secret": account.api_secret,
            "balances": {asset: f"{quantity:f}" for asset, quantity in account.balances.items()},
            "may_withdraw": account.may_withdraw,
        }
        for account in accounts
    ]


def _accounts(items: Sequence[_Message]) -> tuple[SimAccount, ...]:
    return tuple(
        SimAccount(
            api_key=item["api_key"],
            api_secret=item["api_secret"],
            balances={asset: Decimal(text) for asset, text in item["balances"].items()},
            may_withdraw=item.get("may_withdraw", False),
        )
        for item in items
    )
