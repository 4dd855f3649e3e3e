"""The worlds that simulated and played environments are given: from a user's words to a simulator that runs."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.errors import ConfigError, TransportError
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, parse_duration
from btx.model.venue import Endpoints, Environment, Scenario, SimAccount
from btx.rules.symbols import perpetual_of
from btx.runtime.control import Control

if TYPE_CHECKING:
    from btx.sim.faults import FaultScript

__all__ = (
    "BOXED",
    "DEFAULT_SCENARIO",
    "account_of",
    "attached",
    "check_world",
    "in_market",
    "scenario",
    "simulated",
    "the_venues_own",
    "usual_total",
    "world_words",
)

DEFAULT_SCENARIO = Scenario(warmup_ns=3 * NS_PER_DAY, until_ns=12 * NS_PER_HOUR)
"""What plain ``env="sim"`` plays: half a day of a seeded synthetic market, with three days of history."""

BOXED = (Environment.SIM, Environment.PAPER)
"""Their accounts are not the venue's."""

_ATTACH_S = 10.0  # a control channel answers at once

_COINS = frozenset({"BTC", "ETH", "BNB"})

_PAPER_PACE = (
    "env='paper' hears a market that goes on by itself: give its simulated one a pace, btx.scenario(pace=60, ...)"
)


def scenario(
    *,
    seed: int = 1,
    data: Mapping[str, str | Path] | None = None,
    funding: Mapping[str, str | Path] | None = None,
    symbols: Sequence[str] = (),
    pace: float | str = "lockstep",
    until: str | None = None,
    warmup: str | None = None,
    balances: Mapping[str, str | int] | None = None,
    faults: "FaultScript | str | Sequence[Mapping[str, Any]] | None" = None,
    attach: str | None = None,
    account: int = 1,
) -> Scenario:
    """Return a world for ``env="sim"``, in words.

    Args:
        seed: of everything synthetic; the same seed plays the same world.
        data: files of 1m klines by symbol, ``{"BTC/USDT": "btc.csv.gz"}``; a synthetic market without.
        funding: files of funding rates by symbol, of markets on margin; made up without.
        symbols: what the synthetic market trades; the venue's usual two when not given.
        pace: ``"lockstep"`` (the market waits for the strategy) or market seconds per second.
        until: how much is played, like ``"12h"``; all the data, or half a day of the synthetic market, when not given.
        warmup: how much history lies before the start; three days of the synthetic market, none of a file.
        balances: what the account owns, like ``{"USDT": "1000", "BTC": "0.5"}``; 100,000 USDT when not given,
            10 of each coin that is the margin of a market.
        faults: what goes wrong at the venue: a ``btx.sim.faults`` script, its JSON text, or its faults,
            like ``[{"kind": "lose", "where": "place", "at": 2}]`` (the second order is done, its answer lost).
        attach: go on in a world that runs already, ``"ws://127.0.0.1:PORT/"``, the control address that
            ``btx sim VENUE --detach --json`` prints. Accounts, orders and market are as they stand there,
            so it is given alone. The world is not ended with the run.
        account: with ``attach``: which of its accounts is traded on, counted from 1.

    Raises:
        ConfigError: one of them cannot be read; the message says which.
    """
    if attach is not None:
        if (seed, data, funding, tuple(symbols), pace, until, warmup, balances, faults) != _WORDS_LEFT_OUT:
            raise ConfigError("attach= goes on in a world that is there already: leave everything else out")
        if not attach.startswith("ws://"):
            raise ConfigError(
                f"attach={attach!r}: write the control address of a simulator, like 'ws://127.0.0.1:4711/'"
            )
        _check_account(account)
        return Scenario(attach=attach, account=account)
    if account != 1:
        raise ConfigError("account= says which account of a simulator that runs already: give attach=, too")
    _check_types(seed, symbols)
    files = _files("data", "1m klines", data)
    return Scenario(
        seed=seed,
        data=files,
        funding=_files("funding", "funding rates", funding),
        symbols=tuple(files) or tuple(symbols),
        speed=_speed(pace),
        until_ns=_span("until", until, None if files else DEFAULT_SCENARIO.until_ns),
        warmup_ns=_span("warmup", warmup, 0 if files else DEFAULT_SCENARIO.warmup_ns) or 0,
        accounts=(account_of(balances),) if balances is not None else (),
        faults=_faults(faults),
    )


_WORDS_LEFT_OUT = (1, None, None, (), "lockstep", None, None, None, None)


def check_world(environment: Environment, scenario: Any) -> None:
    """Refuse a world that its environment does not play.

    Raises:
        ConfigError: it is none, or says what another environment says.
    """
    if scenario is not None and not isinstance(scenario, Scenario):
        raise ConfigError(f"scenario={scenario!r} is none: write btx.scenario(seed=1, ...)")
    if scenario is not None and environment not in BOXED:
        raise ConfigError(f"scenario= is a world for env='sim'; env={environment.value!r} has a real one: leave it out")
    if environment is Environment.PAPER and scenario is not None:
        if scenario.attach is None and scenario.speed is None:
            raise ConfigError(_PAPER_PACE)
        if scenario.accounts:
            raise ConfigError("the paper account is not the simulator's: btx.load(..., env='paper', balances=...)")


def in_market(scenario: Scenario, market: str, *, is_margined: bool) -> Scenario:
    """Return a world as one market plays it: a plain symbol means the perpetual in one on margin.

    Raises:
        ConfigError: it is a world of another market, or has what only a market on margin has.
    """
    if scenario.market not in {"", market}:
        raise ConfigError(f"the scenario is of market {scenario.market!r}: load it with market={scenario.market!r}")
    if not is_margined:
        if scenario.funding:
            raise ConfigError(f"funding= is of positions on margin, and those of market {market!r} are not")
        return attrs.evolve(scenario, market=market)
    return attrs.evolve(
        scenario,
        market=market,
        data={perpetual_of(symbol): file for symbol, file in scenario.data.items()},
        funding={perpetual_of(symbol): file for symbol, file in scenario.funding.items()},
        symbols=tuple(map(perpetual_of, scenario.symbols)),
    )


def world_words(environment: Environment, scenario: Scenario | None) -> str:
    """Say what the run trades on, for the line that is printed at its start."""
    if scenario is None:
        words = {Environment.TESTNET: "the venue's test system", Environment.PAPER: "the real market, orders on paper"}
        return words.get(environment, "the real venue")
    if scenario.attach is not None:
        return f"the simulator at {scenario.attach}"
    pace = "lockstep" if scenario.speed is None else f"speed {scenario.speed:g}"
    files = ", ".join(path.name for path in map(Path, scenario.data.values()))
    faults = ", with faults" if scenario.faults else ""
    return f"{files or 'synthetic market'}, seed {scenario.seed}, {pace}{faults}"


async def the_venues_own(_resources: AsyncExitStack) -> Endpoints | None:
    """Return nothing: the adapter knows where its venue is."""
    return None


def simulated(
    name: str, environment: Environment, scenario: Scenario
) -> Callable[[AsyncExitStack], Awaitable[Endpoints | None]]:
    """Return what starts the world, or finds the one that runs; it goes with the resources."""

    async def enter(resources: AsyncExitStack) -> Endpoints | None:
        if scenario.attach is not None:
            endpoints = await attached(scenario.attach)
            if scenario.account > len(endpoints.accounts):
                raise ConfigError(
                    f"account={scenario.account}: the simulator at {scenario.attach} has {len(endpoints.accounts)}: "
                    "`btx sim VENUE --accounts N` makes more"
                )
            endpoints = attrs.evolve(endpoints, accounts=(endpoints.accounts[scenario.account - 1],))
            if environment is Environment.PAPER and endpoints.clock.speed is None:
                raise ConfigError(_PAPER_PACE)
            return endpoints
        from btx.sim.server import spawn  # aiohttp's server is needed in env='sim' only

        return await resources.enter_async_context(spawn(name, scenario))

    return enter


async def attached(control: str) -> Endpoints:
    """Ask a simulator that runs already where it listens, and how its clocks go on from now.

    Raises:
        TransportError: no simulator answers there.
    """
    try:
        return await _asked(control)
    except TransportError as error:
        reason = str(error)
    # Outside the handler: what failed below would be printed before the sentence, frame by frame.
    raise TransportError(
        f"attach={control!r}: no simulator answers there ({reason}): write the address that `btx sim` prints as its "
        "control channel, and see that it still runs"
    )


async def _asked(control: str) -> Endpoints:
    from btx.sim.texts import endpoints_from_fields

    channel = await Control.connect(control, timeout_s=_ATTACH_S)
    try:
        return endpoints_from_fields((await channel.ask("endpoints"))["endpoints"])
    finally:
        await channel.close()


def _check_types(seed: Any, symbols: Any) -> None:
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"seed={seed!r}: write a whole number")
    if isinstance(symbols, str):
        raise ConfigError(f"symbols={symbols!r}: write a list, like [{symbols!r}]")


def _check_account(account: Any) -> None:
    if not isinstance(account, int) or isinstance(account, bool) or account < 1:
        raise ConfigError(f"account={account!r}: say which of the simulator's accounts, counted from 1")


def _files(name: str, of_what: str, files: Any) -> dict[str, Path]:
    if files is not None and not isinstance(files, Mapping):
        raise ConfigError(f"{name}={files!r}: say which symbol the file is of, like {{'BTC/USDT': 'btc-1m.csv.gz'}}")
    for symbol, file in (files or {}).items():
        if not isinstance(file, str | Path):
            raise ConfigError(f"{name}= of {symbol} is {file!r}: write the path of a file of {of_what}")
    found = {symbol: Path(file).expanduser() for symbol, file in (files or {}).items()}
    for file in found.values():
        if not file.is_file():
            raise ConfigError(f"there is no file {file}: {name}= takes files of {of_what} by symbol")
    return found


def _faults(script: "FaultScript | str | Sequence[Mapping[str, Any]] | None") -> str:
    """Return a script as the text a scenario carries; it is read here, so that what is wrong is told at once."""
    from btx.sim.faults import FaultScript, script_from_json, script_to_json

    if script is None:
        return ""
    if isinstance(script, FaultScript):
        return script_to_json(script)
    return script_to_json(script_from_json(script if isinstance(script, str) else json.dumps(list(script))))


def _speed(pace: float | str) -> float | None:
    if pace == "lockstep":
        return None
    if not isinstance(pace, int | float) or isinstance(pace, bool) or not pace > 0:
        raise ConfigError(f"pace={pace!r}: write 'lockstep', or market seconds per second like 60")
    return float(pace)


def _span(name: str, text: str | None, otherwise: int | None) -> int | None:
    if text is None:
        return otherwise
    if not isinstance(text, str):
        raise ConfigError(f"{name}={text!r}: write a duration like '12h' or '2d'")
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text!r}: {error}") from None


def usual_total(currency: str) -> int:
    """Return what an account begins with where nobody says: money, or about as much of a coin."""
    return 10 if currency in _COINS else 100_000


def account_of(balances: Mapping[str, str | int]) -> SimAccount:
    """Return an account that owns what ``balances=`` says, in units of each asset.

    Raises:
        ConfigError: they are no numbers, or below zero.
    """
    if not isinstance(balances, Mapping):
        raise ConfigError(f"balances={balances!r}: write totals by asset, like {{'USDT': '1000'}}")
    try:
        totals = {asset: Decimal(str(total)) for asset, total in balances.items()}
    except ArithmeticError:
        raise ConfigError(f"balances={dict(balances)!r}: write numbers, like {{'USDT': '1000'}}") from None
    if any(not total.is_finite() or total < 0 for total in totals.values()):
        raise ConfigError(f"balances={dict(balances)!r}: nobody owns less than nothing")
    return SimAccount(api_key="btxsim" + "0" * 58, api_secret="btxsim" + "1" * 58, balances=totals)
