"""The composition root behind ``btx.load``: settings → plugin → session → store.

The only module that knows all siblings.
"""

import contextlib
import hashlib
import os
import tempfile
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.config import Secret, Settings, home, resolve_secret
from btx.errors import ConfigError, MissingSecretError
from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Leg, OrderRequest
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, parse_duration
from btx.model.venue import Endpoints, Environment, Scenario, SimAccount
from btx.plugins import Venue, load_venue
from btx.ports import Journal
from btx.runtime.link import OpenJournal
from btx.runtime.orders import one_leg
from btx.runtime.session import Session

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("DEFAULT_SCENARIO", "load", "open_venue", "scenario")

DEFAULT_SCENARIO = Scenario(warmup_ns=3 * NS_PER_DAY, until_ns=12 * NS_PER_HOUR)
"""What plain ``env="sim"`` plays: half a day of a seeded synthetic market, with three days of history."""

_READY = (Environment.SIM, Environment.TESTNET, Environment.LIVE)
_NO_RECOVERY = (
    "orders in {env!r} wait until a restart recovers them from the journal: "
    "this version trades in env='sim' only; market data are real"
)

_lock = threading.Lock()
_stores: "weakref.WeakValueDictionary[tuple[object, ...], LiveStore]" = weakref.WeakValueDictionary()
_loaded_with: "weakref.WeakKeyDictionary[LiveStore, Settings]" = weakref.WeakKeyDictionary()


class _Defaults:
    """What the core answers when an adapter does not."""

    @hookimpl(trylast=True)
    def btx_plan(self, request: OrderRequest, client_order_id: str) -> tuple[Leg, ...]:
        return one_leg(request, client_order_id)

    @hookimpl(trylast=True)
    def btx_commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:  # noqa: ARG002
        return FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), source="btx default: flat 0.1 %, no venue's")


def scenario(
    *,
    seed: int = 1,
    data: Mapping[str, str | Path] | None = None,
    symbols: Sequence[str] = ("BTC/USDT", "ETH/USDT"),
    pace: float | str = "lockstep",
    until: str | None = None,
    warmup: str | None = None,
    balances: Mapping[str, str | int] | None = None,
) -> Scenario:
    """Return a world for ``env="sim"``, in words.

    Args:
        seed: of everything synthetic; the same seed plays the same world.
        data: files of 1m klines by symbol, ``{"BTC/USDT": "btc.csv.gz"}``; a synthetic market without.
        symbols: what the synthetic market trades.
        pace: ``"lockstep"`` (the market waits for the strategy) or market seconds per second.
        until: how much is played, like ``"12h"``; all the data, or half a day of the synthetic market, when not given.
        warmup: how much history lies before the start; three days of the synthetic market, none of a file.
        balances: what the account owns, like ``{"USDT": "1000", "BTC": "0.5"}``; 100,000 USDT when not given.

    Raises:
        ConfigError: one of them cannot be read; the message says which.
    """
    files = {symbol: Path(file).expanduser() for symbol, file in (data or {}).items()}
    for file in files.values():
        if not file.is_file():
            raise ConfigError(f"there is no file {file}: data= takes files of 1m klines by symbol")
    return Scenario(
        seed=seed,
        data=files,
        symbols=tuple(files) or tuple(symbols),
        speed=_speed(pace),
        until_ns=_span("until", until, None if files else DEFAULT_SCENARIO.until_ns),
        warmup_ns=_span("warmup", warmup, 0 if files else DEFAULT_SCENARIO.warmup_ns) or 0,
        accounts=(_account(balances),) if balances is not None else (),
    )


def open_venue(name: str) -> Venue:
    """Load an adapter by name, with the core's defaults behind it.

    Raises:
        UnknownVenueError: it is not installed.
        PluginError: it is broken, or written for another core.
    """
    return load_venue(name, defaults=_Defaults())


def load(
    name: str,
    *,
    env: str = "sim",
    market: str | None = None,
    scenario: Scenario | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    currency: str = "USDT",
    receive_window_ms: int = 5000,
    confirm: bool = False,
    keep: str | None = None,
    options: Mapping[str, str] | None = None,
) -> "LiveStore":
    """Return the store of one account at one venue. Nothing connects before ``cerebro.run()``.

    Args:
        name: the venue, as its adapter is named: ``"binance"``.
        env: ``"sim"`` (the venue in the box), ``"testnet"`` or ``"live"``.
        market: ``"spot"``, ...; the adapter's first market when not given.
        scenario: the world ``env="sim"`` plays.
        api_key: the key, or where it is: ``"env:NAME"``, ``"file:PATH"``. Default
            ``env:BTX_<VENUE>_API_KEY``; the simulator has its own.
        api_secret: likewise, default ``env:BTX_<VENUE>_API_SECRET``.
        currency: what cash is counted in.
        receive_window_ms: how many milliseconds late a signed request may arrive.
        confirm: say True, or set ``BTX_LIVE=1``, for ``env="live"``.
        keep: keep the journal of a simulated world under this name, for ``btx orders`` and
            ``btx explain``; without it the journal goes with the run.
        options: settings of the adapter's own, the fields of ``VenueInfo.settings``.

    The same account loaded twice is the same store; different accounts share nothing.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    environment = _environment(env)
    venue = open_venue(name)
    market = market or venue.info.markets[0]
    if market not in venue.info.markets:
        raise ConfigError(
            f"{venue.info.title} has no market {market!r} here: choose one of {', '.join(venue.info.markets)}"
        )
    if environment not in venue.info.environments:
        known = ", ".join(sorted(e.value for e in venue.info.environments))
        raise ConfigError(f"the adapter {name!r} does not offer env={env!r}: choose one of {known}")
    _check_world(environment, scenario, confirm=confirm)
    if receive_window_ms < 1:
        raise ConfigError(f"receive_window_ms={receive_window_ms} lets no request arrive: give 5000, or leave it out")
    _check_options(venue, options or {})
    settings = Settings(currency=currency, receive_window_ms=receive_window_ms, options=dict(options or {}))
    if environment is not Environment.SIM:
        settings = attrs.evolve(
            settings,
            api_key=_secret(venue, env, "api_key", api_key, settings),
            api_secret=_secret(venue, env, "api_secret", api_secret, settings),
        )
    elif api_key is not None or api_secret is not None:
        raise ConfigError(
            "env='sim' has accounts of its own: leave api_key and api_secret out, or name them in scenario"
        )
    world = (scenario or DEFAULT_SCENARIO) if environment is Environment.SIM else None
    if keep is not None and (world is None or not keep.isidentifier()):
        raise ConfigError(f"keep={keep!r}: give the world of env='sim' a name of letters, digits and _")
    key = (name, environment, market, settings.api_key, currency, repr(world), keep)
    with _lock:
        store = _stores.get(key)
        if store is None:
            store = _stores[key] = _store(venue, environment, market, settings=settings, scenario=world, keep=keep)
            _loaded_with[store] = settings
        elif _loaded_with[store] != settings:
            raise ConfigError(
                f"this account at {venue.info.title} is loaded already, with another secret, receive_window_ms or "
                "options: load it once, or the same way"
            )
        return store


def _store(
    venue: Venue,
    environment: Environment,
    market: str,
    *,
    settings: Settings,
    scenario: Scenario | None,
    keep: str | None,
) -> "LiveStore":
    from btx.bt.store import LiveStore  # backtrader is imported when a store is wanted, not with btx

    session = Session(
        venue=venue,
        environment=environment,
        market=market,
        settings=settings,
        endpoints=_simulated(venue.info.name, scenario) if scenario is not None else _the_venues_own,
        refusal=None if environment is Environment.SIM else _NO_RECOVERY.format(env=environment.value),
        # Where orders are refused there is nothing to write down.
        journal=_journal(f"{venue.info.name}/sim/{market}", keep) if scenario is not None else None,
    )
    return LiveStore(session, world=_world(environment, scenario))


def _world(environment: Environment, scenario: Scenario | None) -> str:
    """Say what the run trades on, for the line that is printed at its start."""
    if scenario is None:
        return {Environment.TESTNET: "the venue's test system"}.get(environment, "the real venue")
    pace = "lockstep" if scenario.speed is None else f"speed {scenario.speed:g}"
    files = ", ".join(path.name for path in map(Path, scenario.data.values()))
    return f"{files or 'synthetic market'}, seed {scenario.seed}, {pace}"


def _journal(folder: str, keep: str | None) -> OpenJournal:
    @contextlib.contextmanager
    def opened(api_key: str, on_fault: Callable[[str], None]) -> Iterator[Journal]:
        from btx.storage.journal import open_journal  # the database library is needed where orders are

        with contextlib.ExitStack() as resources:
            if keep is None:
                place = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="btx-")))
            else:
                account = hashlib.sha256(api_key.encode()).hexdigest()[:8]  # tells accounts apart and no key
                place = home() / folder / account / keep
            journal = open_journal(place / "journal.sqlite", on_fault=on_fault)
            resources.callback(journal.close)
            yield journal

    return opened


async def _the_venues_own(_resources: AsyncExitStack) -> Endpoints | None:
    return None


def _simulated(name: str, scenario: Scenario) -> Callable[[AsyncExitStack], Awaitable[Endpoints | None]]:
    async def enter(resources: AsyncExitStack) -> Endpoints | None:
        from btx.sim.server import spawn  # aiohttp's server is needed in env='sim' only

        return await resources.enter_async_context(spawn(name, scenario))

    return enter


def _speed(pace: float | str) -> float | None:
    if pace == "lockstep":
        return None
    if isinstance(pace, str) or not pace > 0:
        raise ConfigError(f"pace={pace!r}: write 'lockstep', or market seconds per second like 60")
    return float(pace)


def _span(name: str, text: str | None, otherwise: int | None) -> int | None:
    if text is None:
        return otherwise
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text!r}: {error}") from None


def _account(balances: Mapping[str, str | int]) -> SimAccount:
    try:
        totals = {asset: Decimal(str(total)) for asset, total in balances.items()}
    except ArithmeticError:
        raise ConfigError(f"balances={dict(balances)!r}: write numbers, like {{'USDT': '1000'}}") from None
    if any(not total.is_finite() or total < 0 for total in totals.values()):
        raise ConfigError(f"balances={dict(balances)!r}: nobody owns less than nothing")
    return SimAccount(api_key="btxsim" + "0" * 58, api_secret="btxsim" + "1" * 58, balances=totals)


def _environment(env: str) -> Environment:
    try:
        environment = Environment(env)
    except ValueError:
        known = ", ".join(repr(e.value) for e in _READY)
        raise ConfigError(f"env={env!r} is unknown: choose one of {known}") from None
    if environment not in _READY:
        raise ConfigError(f"env={env!r} is not in this version yet: env='sim' trades on the simulator, without keys")
    return environment


def _check_world(environment: Environment, scenario: Any, *, confirm: bool) -> None:
    if scenario is not None and not isinstance(scenario, Scenario):
        raise ConfigError(f"scenario={scenario!r} is none: write btx.scenario(seed=1, ...)")
    if scenario is not None and environment is not Environment.SIM:
        raise ConfigError(f"scenario= is a world for env='sim'; env={environment.value!r} has a real one: leave it out")
    if environment is Environment.LIVE and not (confirm or os.environ.get("BTX_LIVE") == "1"):
        raise ConfigError("env='live' is real money: say so with btx.load(..., confirm=True) or BTX_LIVE=1")


def _check_options(venue: Venue, options: Mapping[str, str]) -> None:
    """An option that nobody reads would be a wish that nobody grants."""
    known = [field.name for field in attrs.fields(venue.info.settings)] if venue.info.settings is not None else []
    if strange := sorted(options.keys() - set(known)):
        choice = f"choose of {', '.join(known)}" if known else "leave options= out"
        raise ConfigError(f"the adapter {venue.info.name!r} has no option {', '.join(strange)}: {choice}")


def _secret(venue: Venue, env: str, what: str, reference: str | None, settings: Settings) -> Secret:
    name = venue.info.name
    variable = f"BTX_{name.upper().replace('-', '_')}_{what.upper()}"
    asked = reference if reference is not None else f"env:{variable}"
    theirs = venue.secret(asked, settings)
    try:
        secret = Secret(theirs) if theirs is not None else resolve_secret(asked)
    except MissingSecretError:
        if reference is not None:
            raise
        secret = Secret("")
    if not secret:
        where = f"{what}= is empty" if reference is not None else f"{variable} is not set"
        raise MissingSecretError(
            f"env={env!r} needs keys and {where}: "
            f"export {variable}=..., or btx.load({name!r}, env={env!r}, {what}='file:PATH')"
        )
    return secret
