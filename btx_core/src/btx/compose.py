"""The composition root behind ``btx.load``: settings → plugin → session → store.

The only module that knows all siblings.
"""

import difflib
import functools
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.backtests import check_fills
from btx.config import Secret, Settings, home, proxy_address, resolve_secret, webhook_address
from btx.defaults import open_venue
from btx.errors import ConfigError, MissingSecretError
from btx.model.time import NS_PER_S, parse_duration
from btx.model.venue import Capabilities, Endpoints, Environment, Scenario
from btx.outside import Outside, journal_of, record_folder, recording_of
from btx.plugins import Venue
from btx.rules.reconcile import Sharing
from btx.rules.risk import NO_LIMITS, Limits
from btx.runtime.facts import DEFAULT_TIMING, OpenRecording, Timing
from btx.runtime.margining import Margining, margining_of
from btx.runtime.placing import Resubmit
from btx.runtime.session import Session
from btx.storage.lines import LineFile, MemoryLines
from btx.storage.places import PAPER_ACCOUNT, account_folder
from btx.worlds import (
    BOXED,
    DEFAULT_SCENARIO,
    account_of,
    check_world,
    in_market,
    scenario,
    simulated,
    the_venues_own,
    usual_total,
    world_words,
)

if TYPE_CHECKING:
    from btx.bt.store import LiveStore
    from btx.sim.paper_ledger import Ledger

__all__ = (
    "DEFAULT_LIMITS",
    "DEFAULT_SCENARIO",
    "Account",
    "check_words",
    "load",
    "open_account",
    "replay_store",
    "scenario",
)

DEFAULT_LIMITS = Limits()
"""What guards an account unless ``btx.load(limits=...)`` says otherwise."""

_READY = (Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE)
_PAPER_KEY = "paper"  # names the account where a venue would want a key

_lock = threading.Lock()
_stores: "weakref.WeakValueDictionary[tuple[object, ...], LiveStore]" = weakref.WeakValueDictionary()
_loaded_with: "weakref.WeakKeyDictionary[LiveStore, tuple[Settings, Path | None, Margining, float | None]]" = (
    weakref.WeakKeyDictionary()
)


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
    currency: str | None = None,
    receive_window_ms: int = 5000,
    options: Mapping[str, str] | None = None,
    limits: Limits | None = DEFAULT_LIMITS,
    webhook: str | None = None,
    proxy: str | None = None,
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
        currency=currency if currency is not None else venue.info.capabilities[market].currency,
        receive_window_ms=receive_window_ms,
        options=dict(options or {}),
        limits=limits if limits is not None else NO_LIMITS,
        webhook=webhook_address(webhook),
        proxy=proxy_address(proxy, is_simulated=environment is Environment.SIM),
    )
    if environment not in BOXED:
        settings = attrs.evolve(
            settings,
            api_key=_secret(venue, env, "api_key", api_key, settings),
            api_secret=_secret(venue, env, "api_secret", api_secret, settings),
        )
    elif api_key is not None or api_secret is not None:
        raise ConfigError(
            f"env={env!r} has accounts of its own: leave api_key and api_secret out, or name them in scenario"
        )
    elif environment is Environment.PAPER:
        settings = attrs.evolve(settings, api_key=Secret(_PAPER_KEY))
    return Account(venue=venue, environment=environment, market=market, settings=settings)


def load(
    name: str,
    *,
    env: str = "sim",
    market: str | None = None,
    scenario: Scenario | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    currency: str | None = None,
    leverage: int | Mapping[str, int] | None = None,
    margin_mode: str | None = None,
    position_mode: str | None = None,
    receive_window_ms: int = 5000,
    confirm: bool = False,
    keep: str | None = None,
    balances: Mapping[str, str | int] | None = None,
    options: Mapping[str, str] | None = None,
    limits: Limits | None = DEFAULT_LIMITS,
    webhook: str | None = None,
    sharing: str = "exclusive",
    resubmit: int = 0,
    timing: Timing = DEFAULT_TIMING,
    record: str | Path | None = None,
    proxy: str | None = None,
    fills: str = "bars",
    dead_man: str | None = None,
) -> "LiveStore":
    """Return the store of one account at one venue. Nothing connects before ``cerebro.run()``.

    Args:
        name: the venue, as its adapter is named: ``"binance"``.
        env: ``"sim"`` (the venue in the box), ``"paper"`` (the venue's real market, orders that stay
            here), ``"testnet"`` or ``"live"``; ``"backtest"`` is of ``btx.load`` alone, see :func:`load_backtest`.
        market: ``"spot"``, ...; the adapter's first market when not given.
        scenario: the world ``env="sim"`` plays; for ``env="paper"`` a simulated market in place of the real one.
        api_key: the key, or where it is: ``"env:NAME"``, ``"file:PATH"``. Default
            ``env:BTX_<VENUE>_API_KEY``; the simulator has its own.
        api_secret: likewise, default ``env:BTX_<VENUE>_API_SECRET``.
        currency: what cash is counted in; USDT when not given, of a market whose margin is coins the first of them.
        leverage: of positions on margin: ``5``, or by symbol ``{"BTC/USDT": 5}``. What is not given, of this
            and of the next two, is as the account has it.
        margin_mode: ``"cross"`` (all positions share one margin) or ``"isolated"``.
        position_mode: ``"one_way"`` or ``"hedge"`` (a long and a short position of each instrument, each with
            a data of its own, ``store.getdata(..., position_side="short")``).
        receive_window_ms: how many milliseconds late a signed request may arrive.
        confirm: say True, or set ``BTX_LIVE=1``, for ``env="live"``.
        keep: keep the journal of a simulated world under this name, for ``btx orders`` and
            ``btx explain``; without it the journal goes with the run.
        balances: what a new account of ``env="paper"`` begins with, like ``{"USDT": "1000"}``; 100,000
            of ``currency`` when not given. The account outlives the run; ``keep`` names another one.
        options: settings of the adapter's own, the fields of ``VenueInfo.settings``.
        limits: what an order must keep before it leaves, see ``btx.limits``; None switches all of them off. Those
            on by default allow, with ``leverage=5``, a position of five times the equity, and to turn it over.
        webhook: where a halt, a naked position and an order without an answer are told: an
            address, or where it is: ``"env:NAME"``, ``"file:PATH"``. Default ``BTX_WEBHOOK``.

        sharing: whose position it is when a hand or another program trades on the account:
            ``"exclusive"`` (nobody else does: what our fills do not explain halts trading until
            ``btx resume``), ``"shared"`` (it is told and counted as held), ``"adopt"`` (as shared, and
            orders of others become this strategy's own).
        resubmit: how often a placement that certainly never arrived is sent again, as a new order;
            never one whose outcome is not known.
        timing: how patient the session is; for tests.
        record: a folder: everything that is sent and received is written down there, without secrets,
            for ``btx replay``. Default ``BTX_RECORD``; nothing is written when neither is given.
        proxy: what everything of the venue goes through, ``"http://user:password@host:port"``, or where that
            is: ``"env:NAME"``, ``"file:PATH"``. Default what the system says: ``HTTPS_PROXY``, ``NO_PROXY``.
        fills: what fills the orders of ``env="backtest"``, see :func:`load_backtest`; it says nothing elsewhere.
        dead_man: ``"60s"``: the venue cancels what rests when it has heard nothing of this process for so long,
            where it can do that; whether stops go too is the venue's own way. On paper it says nothing.

    The same account loaded twice is the same store; different accounts share nothing.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    check_fills(fills)  # it says nothing here, but one script runs everywhere
    check_world(_environment(env), scenario)
    if _environment(env) is Environment.LIVE and not (confirm or os.environ.get("BTX_LIVE") == "1"):
        raise ConfigError("env='live' is real money: say so with btx.load(..., confirm=True) or BTX_LIVE=1")
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
        proxy=proxy,
    )
    venue, environment, settings = account.venue, account.environment, account.settings
    market, currency = account.market, settings.currency
    can = venue.info.capabilities[market]
    dead_man_s = _dead_man(dead_man, f"{venue.info.title} {market}", can)
    margining = margining_of(
        can, market=market, leverage=leverage, margin_mode=margin_mode, position_mode=position_mode
    )
    if limits is DEFAULT_LIMITS:
        settings = attrs.evolve(settings, limits=margining.widened(limits) if can.margined else limits)
    world = (scenario or DEFAULT_SCENARIO) if environment is Environment.SIM else scenario
    world = in_market(world, market, is_margined=can.margined) if world is not None else None
    _check_kept(environment, keep)
    folder = record_folder(record)
    if balances is not None and environment is not Environment.PAPER:
        raise ConfigError("balances= are of env='paper'; those of env='sim' are in btx.scenario(balances=...)")
    paper = account_of(balances or {currency: usual_total(currency)}) if environment is Environment.PAPER else None
    key = (name, environment, market, settings.api_key, currency, repr(world), keep)
    with _lock:
        store = _stores.get(key)
        wished = settings, folder, margining, dead_man_s
        if store is not None and _loaded_with[store] != wished and _is_own_world(store, world, keep):
            store = None
        if store is None:
            policies = {
                "sharing": _sharing(sharing),
                "resubmit": _resubmit(resubmit),
                "timing": attrs.evolve(_patience(timing), dead_man_s=dead_man_s),
                "margining": margining,
            }
            if paper is not None:
                venue = _on_paper(venue, market, balances=paper.balances, scenario=world, keep=keep)
            store = _stores[key] = _store(
                venue, environment, market, settings=settings, scenario=world, keep=keep, record=folder, **policies
            )
            _loaded_with[store] = wished
        elif _loaded_with[store] != wished:
            raise ConfigError(
                f"this account at {venue.info.title} is loaded already, with another secret, receive_window_ms, "
                "options, limits, webhook, proxy, leverage, mode, dead_man or record: load it once, or the same way"
            )
        return store


def _is_own_world(store: "LiveStore", world: Scenario | None, keep: str | None) -> bool:
    """Say whether a store that rests has an account nobody shares: its world is made anew by each run."""
    is_made_anew = store.session.environment is Environment.SIM and keep is None
    return is_made_anew and world is not None and world.attach is None and not store.session.is_running


def check_words(function: Callable[..., object], words: Collection[str]) -> None:
    """Refuse a word that a function of ours does not know, and name the nearest one.

    Raises:
        ConfigError: one is unknown.
    """
    known = inspect.signature(function).parameters
    for word in words:
        if word not in known:
            near = difflib.get_close_matches(word, known, n=1)
            hint = f"did you mean {near[0]}=?" if near else "leave it out"
            raise ConfigError(f"{function.__name__} has no option {word}=: {hint}")


def _store(
    venue: Venue,
    environment: Environment,
    market: str,
    *,
    settings: Settings,
    scenario: Scenario | None,
    keep: str | None,
    record: Path | None = None,
    **policies: Any,
) -> "LiveStore":
    from btx.bt.store import LiveStore  # backtrader is imported when a store is wanted, not with btx

    session = Session(
        venue=venue,
        environment=environment,
        market=market,
        settings=settings,
        endpoints=simulated(venue.info.name, environment, scenario) if scenario is not None else the_venues_own,
        journal=journal_of(venue.info.name, environment, market, keep, is_kept=scenario is None or keep is not None),
        outside=Outside(
            settings,
            name=f"{venue.info.name}/{environment.value}/{market}",
            folder=None
            if scenario is not None and keep is None
            else functools.partial(
                account_folder, home(), venue=venue.info.name, environment=environment, market=market, world=keep
            ),
        ),
        recording=recording_of(venue.info.name, environment, market, record) if record is not None else None,
        **policies,
    )
    return LiveStore(session, world=world_words(environment, scenario))


def replay_store(
    name: str,
    market: str,
    *,
    endpoints: Callable[[AsyncExitStack], Awaitable[Endpoints | None]],
    recording: OpenRecording,
    timing: Timing,
    world: str,
    paper: bool = False,
) -> "LiveStore":
    """Return a store whose venue is a recording: ``endpoints`` says where it is served. It sends no orders.

    ``paper`` says that the recorded account was never at the venue: here it is an empty one.

    Raises:
        PluginError: the adapter cannot be used.
    """
    from btx.bt.store import LiveStore

    venue = open_venue(name)
    if paper:
        venue = _on_paper(venue, market, balances={}, scenario=Scenario(), keep=None)
    session = Session(
        venue=venue,
        environment=Environment.SIM,
        market=market,
        settings=Settings(),
        endpoints=endpoints,
        refusal="a replay sends no orders",
        sharing=Sharing.SHARED,
        recording=recording,
        timing=timing,
    )
    return LiveStore(session, world=world)


def _on_paper(
    venue: Venue, market: str, *, balances: Mapping[str, Decimal], scenario: Scenario | None, keep: str | None
) -> Venue:
    """Return a venue whose orders stay here; the account is kept where the market goes on without us."""
    from btx.sim.paper import PaperVenue  # with it comes an exchange, which nobody else needs

    goes_on = scenario is None or scenario.attach is not None

    def ledger() -> "Ledger":
        if not goes_on or (scenario is not None and keep is None):
            return MemoryLines()
        folder = account_folder(
            home(), venue=venue.info.name, environment=Environment.PAPER, market=market, api_key=_PAPER_KEY, world=keep
        )
        return LineFile(folder / PAPER_ACCOUNT)

    return PaperVenue(venue, balances=balances, ledger=ledger)


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
        known = ", ".join(repr(e.value) for e in (Environment.BACKTEST, *_READY))
        raise ConfigError(f"env={env!r} is unknown: choose one of {known}") from None
    if environment is Environment.BACKTEST:
        raise ConfigError(
            "env='backtest' plays history and has no account: btx.load(..., env='backtest') alone does it"
        )
    if environment not in _READY:
        raise ConfigError(f"env={env!r} is not in this version yet: env='sim' trades on the simulator, without keys")
    return environment


def _check_kept(environment: Environment, keep: Any) -> None:
    if keep is not None and environment not in BOXED:
        raise ConfigError(
            f"keep= names a simulated world's journal; env={environment.value!r} keeps its own anyway: leave it out"
        )
    if keep is not None and not (isinstance(keep, str) and keep.isidentifier()):
        raise ConfigError(f"keep={keep!r}: give the world a name of letters, digits and _")


def _resubmit(times: Any) -> Resubmit:
    if not isinstance(times, int) or times < 0:
        raise ConfigError(f"resubmit={times!r}: write how often, 0 for never")
    return Resubmit(times=times)


def _dead_man(text: Any, where: str, can: Capabilities) -> float | None:
    if text is None:
        return None
    if not can.dead_man:
        raise ConfigError(f"dead_man={text!r}: {where} cancels nothing by itself: leave it out")
    try:
        seconds = parse_duration(text) / NS_PER_S
    except (TypeError, ValueError) as error:
        raise ConfigError(f"dead_man={text!r} is no duration: write '60s'") from error
    shortest_s, longest_s = can.dead_man_s
    if seconds < shortest_s:
        raise ConfigError(f"dead_man={text!r} is too short to be kept in time: write '60s'")
    if seconds > longest_s:
        raise ConfigError(f"dead_man={text!r}: {where} waits for {longest_s:g} s at most: write '60s'")
    return seconds


def _patience(timing: Any) -> Timing:
    if not isinstance(timing, Timing):
        raise ConfigError(f"timing={timing!r} is none: leave it out, or give a btx.runtime.link.Timing(...)")
    return timing


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
    if not secret and what not in venue.info.optional_keys:
        where = f"{what}= is empty" if reference is not None else f"{variable} is not set"
        raise MissingSecretError(
            f"env={env!r} needs keys and {where}: "
            f"export {variable}=..., or btx.load({name!r}, env={env!r}, {what}='file:PATH')"
        )
    text = secret.reveal()
    is_pem = "-----BEGIN " in text  # a private key, which has lines
    if not is_pem and (text != text.strip() or not text.isprintable()):  # as copying leaves it: no venue knows that
        where = f"{what}=" if reference is not None else variable
        raise ConfigError(f"{where} begins or ends with a blank, or has a line break in it: copy it once more")
    return secret
