"""The composition root behind ``btx.load``: settings → plugin → session → store.

The only module that knows all siblings.
"""

import contextlib
import functools
import json
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.config import Secret, Settings, home, resolve_secret, webhook_address
from btx.errors import ConfigError, MissingSecretError
from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Leg, OrderRequest
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, parse_duration
from btx.model.venue import Endpoints, Environment, Scenario, SimAccount
from btx.ops.alerts import Alarms, Webhook
from btx.plugins import Venue, load_venue
from btx.ports import Journal
from btx.rules.reconcile import Sharing
from btx.rules.risk import NO_LIMITS, Limits
from btx.runtime.control import Control
from btx.runtime.link import DEFAULT_TIMING, OpenJournal, Timing
from btx.runtime.orders import Resubmit, one_leg
from btx.runtime.session import Session
from btx.storage.places import JOURNAL, account_folder
from btx.storage.presence import remove_presence, write_presence
from btx.storage.requests import RequestKind, take_requests

if TYPE_CHECKING:
    from btx.bt.store import LiveStore
    from btx.sim.faults import FaultScript

__all__ = ("DEFAULT_LIMITS", "DEFAULT_SCENARIO", "Account", "load", "open_account", "open_venue", "scenario")

DEFAULT_SCENARIO = Scenario(warmup_ns=3 * NS_PER_DAY, until_ns=12 * NS_PER_HOUR)
"""What plain ``env="sim"`` plays: half a day of a seeded synthetic market, with three days of history."""

DEFAULT_LIMITS = Limits()
"""What guards an account unless ``btx.load(limits=...)`` says otherwise."""

_READY = (Environment.SIM, Environment.TESTNET, Environment.LIVE)

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
    faults: "FaultScript | str | Sequence[Mapping[str, Any]] | None" = None,
    attach: str | None = None,
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
        faults: what goes wrong at the venue: a ``btx.sim.faults`` script, its JSON text, or its faults,
            like ``[{"kind": "lose", "where": "place", "at": 2}]`` (the second order is done, its answer lost).
        attach: go on in a world that runs already, ``"ws://127.0.0.1:PORT/"``, the control address that
            ``btx sim VENUE --detach --json`` prints. Accounts, orders and market are as they stand there,
            so it is given alone. The world is not ended with the run.

    Raises:
        ConfigError: one of them cannot be read; the message says which.
    """
    if attach is not None:
        if (seed, data, tuple(symbols), pace, until, warmup, balances, faults) != _WORDS_LEFT_OUT:
            raise ConfigError("attach= goes on in a world that is there already: leave everything else out")
        if not attach.startswith("ws://"):
            raise ConfigError(
                f"attach={attach!r}: write the control address of a simulator, like 'ws://127.0.0.1:4711/'"
            )
        return Scenario(attach=attach)
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
        faults=_faults(faults),
    )


_WORDS_LEFT_OUT = (1, None, ("BTC/USDT", "ETH/USDT"), "lockstep", None, None, None, None)


def open_venue(name: str) -> Venue:
    """Load an adapter by name, with the core's defaults behind it.

    Raises:
        UnknownVenueError: it is not installed.
        PluginError: it is broken, or written for another core.
    """
    return load_venue(name, defaults=_Defaults())


@attrs.frozen(kw_only=True)
class Account:
    """One account at one venue, as it was asked for; nothing is connected."""

    venue: Venue
    environment: Environment
    market: str
    settings: Settings


def open_account(
    name: str,
    *,
    env: str = "sim",
    market: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    currency: str = "USDT",
    receive_window_ms: int = 5000,
    options: Mapping[str, str] | None = None,
    limits: Limits | None = DEFAULT_LIMITS,
    webhook: str | None = None,
) -> Account:
    """Return the account that :func:`load` would trade on, with its keys; see there for the arguments.

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
    if receive_window_ms < 1:
        raise ConfigError(f"receive_window_ms={receive_window_ms} lets no request arrive: give 5000, or leave it out")
    _check_options(venue, options or {})
    if limits is not None and not isinstance(limits, Limits):
        raise ConfigError(f"limits={limits!r} are none: write btx.limits(order='25%', ...), or None for no limit")
    settings = Settings(
        currency=currency,
        receive_window_ms=receive_window_ms,
        options=dict(options or {}),
        limits=limits if limits is not None else NO_LIMITS,
        webhook=webhook_address(webhook),
    )
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
    return Account(venue=venue, environment=environment, market=market, settings=settings)


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
    limits: Limits | None = DEFAULT_LIMITS,
    webhook: str | None = None,
    sharing: str = "exclusive",
    resubmit: int = 0,
    timing: Timing = DEFAULT_TIMING,
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
        limits: what an order must keep before it leaves, see ``btx.limits``; None switches all of them off.
        webhook: where a halt, a naked position and an order without an answer are told: an
            address, or where it is: ``"env:NAME"``, ``"file:PATH"``. Default ``BTX_WEBHOOK``.

        sharing: whose position it is when a hand or another program trades on the account:
            ``"exclusive"`` (nobody else does: what our fills do not explain halts trading until
            ``btx resume``), ``"shared"`` (it is told and counted as held), ``"adopt"`` (as shared, and
            orders of others become this strategy's own).
        resubmit: how often a placement that certainly never arrived is sent again, as a new order;
            never one whose outcome is not known.
        timing: how patient the session is; for tests.

    The same account loaded twice is the same store; different accounts share nothing.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    _check_world(_environment(env), scenario, confirm=confirm)
    account = open_account(
        name,
        env=env,
        market=market,
        api_key=api_key,
        api_secret=api_secret,
        currency=currency,
        receive_window_ms=receive_window_ms,
        options=options,
        limits=limits,
        webhook=webhook,
    )
    venue, environment, settings = account.venue, account.environment, account.settings
    market = account.market
    world = (scenario or DEFAULT_SCENARIO) if environment is Environment.SIM else None
    if keep is not None and (world is None or not keep.isidentifier()):
        raise ConfigError(f"keep={keep!r}: give the world of env='sim' a name of letters, digits and _")
    key = (name, environment, market, settings.api_key, currency, repr(world), keep)
    with _lock:
        store = _stores.get(key)
        if store is None:
            policies = {"sharing": _sharing(sharing), "resubmit": Resubmit(times=resubmit), "timing": timing}
            store = _stores[key] = _store(
                venue, environment, market, settings=settings, scenario=world, keep=keep, **policies
            )
            _loaded_with[store] = settings
        elif _loaded_with[store] != settings:
            raise ConfigError(
                f"this account at {venue.info.title} is loaded already, with another secret, receive_window_ms, "
                "options, limits or webhook: load it once, or the same way"
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
    **policies: Any,
) -> "LiveStore":
    from btx.bt.store import LiveStore  # backtrader is imported when a store is wanted, not with btx

    session = Session(
        venue=venue,
        environment=environment,
        market=market,
        settings=settings,
        endpoints=_simulated(venue.info.name, scenario) if scenario is not None else _the_venues_own,
        journal=_journal(venue.info.name, environment, market, keep),
        outside=_Outside(
            settings,
            name=f"{venue.info.name}/{environment.value}/{market}",
            folder=None
            if scenario is not None and keep is None
            else functools.partial(
                account_folder, home(), venue=venue.info.name, environment=environment, market=market, world=keep
            ),
        ),
        **policies,
    )
    return LiveStore(session, world=_world(environment, scenario))


class _Outside:
    """What reaches a session from other processes, what it tells them, and whom it alarms."""

    def __init__(self, settings: Settings, *, name: str, folder: Callable[..., Path] | None) -> None:
        self._settings = settings
        self._name = name
        self._folder_of = folder
        self._folder: Path | None = None
        self._webhook: Webhook | None = None
        self._alarms: Alarms | None = None

    def enter(self, *, api_key: str, endpoints: Endpoints | None) -> None:
        """Say that this process trades on the account."""
        if self._settings.webhook:
            self._webhook = Webhook(self._settings.webhook, session=self._name)
            self._alarms = Alarms(self._webhook.tell)
        if self._folder_of is not None:
            self._folder = self._folder_of(api_key=api_key)
            where = None
            if endpoints is not None:
                from btx.sim.texts import endpoints_to_json

                where = endpoints_to_json(endpoints)
            write_presence(self._folder, pid=os.getpid(), endpoints_json=where)

    def look(
        self, *, halted: str | None, naked: Mapping[str, Decimal], unknown: Collection[str]
    ) -> tuple[tuple[str, str], ...]:
        """Tell what is so, and return what is asked: ``("halt", reason)`` or ``("resume", "")``."""
        if self._alarms is not None:
            self._alarms.look(now_ns=time.monotonic_ns(), halted=halted, naked=naked, unknown=unknown)
        if self._folder is None:
            return ()
        return tuple(
            ("halt" if each.kind is RequestKind.HALT else "resume", each.reason) for each in take_requests(self._folder)
        )

    def leave(self) -> None:
        """Say that it does no longer."""
        if self._webhook is not None:
            self._webhook.close()
        if self._folder is not None:
            remove_presence(self._folder)
        self._webhook = self._alarms = self._folder = None


def _world(environment: Environment, scenario: Scenario | None) -> str:
    """Say what the run trades on, for the line that is printed at its start."""
    if scenario is None:
        return {Environment.TESTNET: "the venue's test system"}.get(environment, "the real venue")
    if scenario.attach is not None:
        return f"the simulator at {scenario.attach}"
    pace = "lockstep" if scenario.speed is None else f"speed {scenario.speed:g}"
    files = ", ".join(path.name for path in map(Path, scenario.data.values()))
    faults = ", with faults" if scenario.faults else ""
    return f"{files or 'synthetic market'}, seed {scenario.seed}, {pace}{faults}"


def _journal(venue: str, environment: Environment, market: str, keep: str | None) -> OpenJournal:
    @contextlib.contextmanager
    def opened(api_key: str, on_fault: Callable[[str], None]) -> Iterator[Journal]:
        from btx.storage.journal import open_journal  # the database library is needed where orders are

        with contextlib.ExitStack() as resources:
            if keep is None and environment is Environment.SIM:
                place = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="btx-")))
            else:
                place = account_folder(
                    home(), venue=venue, environment=environment, market=market, api_key=api_key, world=keep
                )
            journal = open_journal(place / JOURNAL, on_fault=on_fault)
            resources.callback(journal.close)
            yield journal

    return opened


async def _the_venues_own(_resources: AsyncExitStack) -> Endpoints | None:
    return None


def _simulated(name: str, scenario: Scenario) -> Callable[[AsyncExitStack], Awaitable[Endpoints | None]]:
    async def enter(resources: AsyncExitStack) -> Endpoints | None:
        if scenario.attach is not None:
            return await _attached(scenario.attach)
        from btx.sim.server import spawn  # aiohttp's server is needed in env='sim' only

        return await resources.enter_async_context(spawn(name, scenario))

    return enter


async def _attached(control: str) -> Endpoints:
    """Ask a simulator that runs already where it listens, and how its clocks go on from now."""
    from btx.sim.texts import endpoints_from_fields

    channel = await Control.connect(control)
    try:
        return endpoints_from_fields((await channel.ask("endpoints"))["endpoints"])
    finally:
        await channel.close()


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


def _sharing(word: str) -> Sharing:
    try:
        return Sharing(word)
    except ValueError:
        known = ", ".join(repr(each.value) for each in Sharing)
        raise ConfigError(f"sharing={word!r} is unknown: choose one of {known}") from None


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
