"""The composition root behind ``btx.load``: settings → plugin → session → store.

The only module that knows all siblings.
"""

import asyncio
import contextlib
import difflib
import functools
import inspect
import os
import tempfile
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from btx.config import Secret, Settings, home, proxy_address, proxy_secrets, resolve_secret, webhook_address
from btx.errors import ConfigError, MissingSecretError, RateLimitedError, TransportError, UnknownSymbolError
from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.calendar import ALWAYS, Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import BarColumns
from btx.model.order import Leg, OrderRequest
from btx.model.restrictions import NO_RESTRICTIONS, Restrictions
from btx.model.time import Interval, iso
from btx.model.venue import Endpoints, Environment, Scenario, SimAccount
from btx.ops.alerts import Alarms, Webhook
from btx.played import PlayedRules
from btx.plugins import Venue, load_venue
from btx.ports import BarCache, Clock, Journal
from btx.rules.reconcile import Sharing
from btx.rules.risk import NO_LIMITS, Limits
from btx.runtime.facts import DEFAULT_TIMING, OpenJournal, OpenRecording, Timing
from btx.runtime.history import HistoryDesk
from btx.runtime.margining import Margining, margining_of
from btx.runtime.orders import Resubmit, one_leg
from btx.runtime.public import open_public_side
from btx.runtime.session import Session
from btx.storage.lines import LineFile, MemoryLines
from btx.storage.places import JOURNAL, PAPER_ACCOUNT, account_folder, history_folder
from btx.storage.presence import remove_presence, write_presence
from btx.storage.recording import Recorder, check_folder
from btx.storage.requests import RequestKind, take_requests
from btx.worlds import (
    BOXED,
    DEFAULT_SCENARIO,
    account_of,
    attached,
    check_world,
    in_market,
    scenario,
    simulated,
    the_venues_own,
    usual_total,
    world_words,
)

if TYPE_CHECKING:
    from btx.bt.backtest import BacktestStore, BarSource
    from btx.bt.store import LiveStore
    from btx.sim.paper_ledger import Ledger

__all__ = (
    "DEFAULT_LIMITS",
    "DEFAULT_SCENARIO",
    "Account",
    "check_words",
    "load",
    "load_backtest",
    "open_account",
    "open_venue",
    "replay_store",
    "scenario",
)

DEFAULT_LIMITS = Limits()
"""What guards an account unless ``btx.load(limits=...)`` says otherwise."""

_READY = (Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE)
_PAPER_KEY = "paper"  # names the account where a venue would want a key

_lock = threading.Lock()
_stores: "weakref.WeakValueDictionary[tuple[object, ...], LiveStore]" = weakref.WeakValueDictionary()
_loaded_with: "weakref.WeakKeyDictionary[LiveStore, tuple[Settings, Path | None, Margining]]" = (
    weakref.WeakKeyDictionary()
)


class _Defaults:
    """What the core answers when an adapter does not."""

    @hookimpl(trylast=True)
    def btx_plan(self, request: OrderRequest, client_order_id: str) -> tuple[Leg, ...]:
        return one_leg(request, client_order_id)

    @hookimpl(trylast=True)
    def btx_calendar(self, instrument: Instrument) -> Calendar:  # noqa: ARG002
        return ALWAYS

    @hookimpl(trylast=True)
    def btx_restrictions(self, instrument: Instrument) -> Restrictions:  # noqa: ARG002
        return NO_RESTRICTIONS

    @hookimpl(trylast=True)
    def btx_commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:  # noqa: ARG002
        return FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), source="btx default: flat 0.1 %, no venue's")


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
    fills: str = "bars",  # noqa: ARG001 -- one script runs everywhere
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

    The same account loaded twice is the same store; different accounts share nothing.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
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
    margining = margining_of(
        can, market=market, leverage=leverage, margin_mode=margin_mode, position_mode=position_mode
    )
    if limits is DEFAULT_LIMITS:
        settings = attrs.evolve(settings, limits=margining.widened(limits) if can.margined else limits)
    world = (scenario or DEFAULT_SCENARIO) if environment is Environment.SIM else scenario
    world = in_market(world, market, is_margined=can.margined) if world is not None else None
    _check_kept(environment, keep)
    folder = _record_folder(record)
    if balances is not None and environment is not Environment.PAPER:
        raise ConfigError("balances= are of env='paper'; those of env='sim' are in btx.scenario(balances=...)")
    paper = account_of(balances or {currency: usual_total(currency)}) if environment is Environment.PAPER else None
    key = (name, environment, market, settings.api_key, currency, repr(world), keep)
    with _lock:
        store = _stores.get(key)
        if store is None:
            policies = {
                "sharing": _sharing(sharing),
                "resubmit": _resubmit(resubmit),
                "timing": _patience(timing),
                "margining": margining,
            }
            if paper is not None:
                venue = _on_paper(venue, market, balances=paper.balances, scenario=world, keep=keep)
            store = _stores[key] = _store(
                venue, environment, market, settings=settings, scenario=world, keep=keep, record=folder, **policies
            )
            _loaded_with[store] = settings, folder, margining
        elif _loaded_with[store] != (settings, folder, margining):
            raise ConfigError(
                f"this account at {venue.info.title} is loaded already, with another secret, receive_window_ms, "
                "options, limits, webhook, proxy, leverage, mode or record: load it once, or the same way"
            )
        return store


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


def load_backtest(
    name: str,
    *,
    market: str | None = None,
    scenario: Scenario | None = None,
    currency: str | None = None,
    leverage: int | Mapping[str, int] | None = None,
    margin_mode: str | None = None,
    position_mode: str | None = None,
    balances: Mapping[str, str | int] | None = None,
    fills: str = "bars",
    **live: Any,  # noqa: ARG001 -- one script runs everywhere
) -> "BacktestStore":
    """Return a store of history: the same words as :func:`load`, and nothing ever connects to an account.

    Args:
        name: the venue, as its adapter is named: ``"binance"``.
        market: ``"spot"``, ...; the adapter's first market when not given.
        scenario: files of bars and the part of them to play, ``btx.scenario(data={...}, warmup=..., until=...)``;
            or a simulator whose history is fetched, ``btx.scenario(attach=...)``; the cache without.
        currency: what cash is counted in; as :func:`load` has it.
        leverage: of positions on margin; what is not given, of this and of the next two, is as the venue has
            it for a new account.
        margin_mode: ``"cross"`` or ``"isolated"``.
        position_mode: ``"one_way"`` or ``"hedge"``.
        balances: what the run begins with, ``{"USDT": "1000"}``; 100,000 of ``currency`` when not given.
        fills: ``"bars"``: orders meet bars under the venue's rules, fees and margin; ``"stock"``: backtrader's own
            broker; or ``"venue"``: orders go to the simulator's exchange in this process, so they are filled
            as in ``env="sim"`` in lockstep; of files only, and bar by bar.
        live: what else :func:`load` takes; keys, limits and the like say nothing here.

    Raises:
        ConfigError: a setting is wrong or missing; the message says what to write.
        PluginError: the adapter cannot be used.
    """
    from btx.bt.backtest import BacktestStore, Period, StartingAccount

    venue = open_venue(name)
    market = market or venue.info.markets[0]
    if market not in venue.info.markets:
        raise ConfigError(
            f"{venue.info.title} has no market {market!r} here: choose one of {', '.join(venue.info.markets)}"
        )
    _check_played(scenario)
    _check_fills(fills)
    can = venue.info.capabilities[market]
    margining = margining_of(
        can, market=market, leverage=leverage, margin_mode=margin_mode, position_mode=position_mode
    )
    currency = currency if currency is not None else can.currency
    if scenario is not None:
        scenario = in_market(scenario, market, is_margined=can.margined)
    if fills == "venue":
        if scenario is None or not scenario.data:
            raise ConfigError(
                'fills="venue" plays files: name them, scenario=btx.scenario(data={"BTC/USDT": "btc.csv"})'
            )
        world = attrs.evolve(
            scenario, market=market, accounts=(account_of(balances),) if balances is not None else scenario.accounts
        )
        return _venue_backtest(venue, market, world, currency=currency)
    if balances is not None:
        account: SimAccount | None = account_of(balances)
    else:
        account = scenario.accounts[0] if scenario is not None and scenario.accounts else None
    owned = dict(account.balances) if account is not None else {currency: Decimal(usual_total(currency))}
    cash = owned.pop(currency, Decimal(0))
    if any(owned.values()):
        raise ConfigError(
            f"a backtest begins with {currency} alone, not with {', '.join(sorted(owned))}: buy what it should hold"
        )
    return BacktestStore(
        name=f"{name}/backtest/{market}",
        title=venue.info.title,
        source=_bar_source(scenario, venue=name, market=market),
        intervals=venue.info.capabilities[market].intervals,
        period=Period(warmup_ns=scenario.warmup_ns, until_ns=scenario.until_ns) if scenario is not None else Period(),
        account=StartingAccount(
            cash=cash,
            currency=currency,
            commission=venue.commission(_nominal(name, "BTC", currency), None).taker,
        ),
        market=market,
        rules=PlayedRules(venue=name, market=market, scenario=scenario, margining=margining, open_venue=_opened)
        if fills == "bars"
        else None,
        position_mode=margining.position_mode,
    )


def _venue_backtest(venue: Venue, market: str, scenario: Scenario, *, currency: str) -> "BacktestStore":
    """Return a store whose orders the venue's own simulator fills, in this process."""
    from btx.bt.backtest import Period, StartingAccount
    from btx.bt.venue import VenueBacktestStore
    from btx.runtime.inline import InlineSession

    return VenueBacktestStore(
        session=InlineSession(
            venue=venue,
            market=market,
            settings=Settings(currency=currency, limits=NO_LIMITS),
            open_matcher=lambda: venue.matcher(scenario),
        ),
        title=venue.info.title,
        source=_bar_source(scenario, venue=venue.info.name, market=market),
        intervals=venue.info.capabilities[market].intervals,
        period=Period(warmup_ns=scenario.warmup_ns, until_ns=scenario.until_ns),
        account=StartingAccount(cash=Decimal(0), currency=currency, commission=Decimal(0)),  # the venue has them
    )


def _check_fills(fills: Any) -> None:
    """Refuse what ``fills=`` cannot be.

    Raises:
        ConfigError: it is unknown.
    """
    if fills not in {"bars", "stock", "venue"}:
        raise ConfigError(
            f"fills={fills!r}: write 'bars' (orders meet bars under the venue's rules), 'stock' (backtrader's own "
            "broker) or 'venue' (the simulator's exchange)"
        )


@functools.cache
def _opened(name: str) -> Venue:
    return open_venue(name)


def _check_played(scenario: Any) -> None:
    if scenario is None:
        return
    if not isinstance(scenario, Scenario):
        raise ConfigError(f"scenario={scenario!r} is none: write btx.scenario(data={{...}})")
    if not scenario.data and scenario.attach is None:
        raise ConfigError(
            "env='backtest' plays files or the cache: name files, btx.scenario(data={'BTC/USDT': 'btc.csv.gz'}), "
            "or leave scenario= out"
        )
    if scenario.faults or len(scenario.accounts) > 1:
        raise ConfigError(
            "faults and several accounts are of env='sim': a backtest has one account, and no wire to cut"
        )


def _bar_source(scenario: Scenario | None, *, venue: str, market: str) -> "BarSource":
    if scenario is not None and scenario.attach is None:
        from btx.storage.klines import FileBars

        return FileBars(files={symbol: Path(path) for symbol, path in scenario.data.items()})
    return _CachedBars(venue=venue, market=market, attach=scenario.attach if scenario is not None else None)


@attrs.frozen(kw_only=True)
class _CachedBars:
    """The history cache as a backtest reads it; what is missing is fetched. ``attach`` names a simulator to ask."""

    venue: str
    market: str
    attach: str | None

    @property
    def is_whole(self) -> bool:
        """It goes on and on: a period says which part is played."""
        return False

    @property
    def words(self) -> str:
        return "the history cache" + (f" of the simulator at {self.attach}" if self.attach is not None else "")

    def begins_ns(self) -> int:
        """Return the beginning of all time: it is not whole."""
        return 0

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:
        """Return the bars of a period that is over.

        Raises:
            ConfigError: a part of it is missing, and cannot be fetched; the message says the command that does.
        """
        assert start_ns is not None
        assert end_ns is not None
        end_ns = min(end_ns, interval.open_of(time.time_ns()))
        if start_ns >= end_ns:
            raise ConfigError(f"{symbol}: no {interval} bar has closed in that period yet")
        try:
            # A notebook has a loop running on this thread.
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="btx-history") as thread:
                return thread.submit(asyncio.run, self._columns(symbol, interval, start_ns, end_ns)).result()
        except (TransportError, RateLimitedError) as error:
            where = f" --env sim --attach {self.attach}" if self.attach is not None else ""
            raise ConfigError(
                f"{symbol} {interval} bars of {_day(start_ns)} to {_day(end_ns)} are not all in the cache, and cannot "
                f"be fetched now ({error}): btx history download {self.venue} {symbol} -i {interval} "
                f"--from {_day(start_ns)} --to {_day(end_ns)}{where}"
            ) from error

    async def _columns(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> BarColumns:
        from btx.storage.bars import BarStore
        from btx.storage.klines import fold_columns

        endpoints = await attached(self.attach) if self.attach is not None else None
        environment = Environment.BACKTEST if endpoints is None else Environment.SIM
        world = endpoints.extra.get("world") if endpoints is not None else None
        cache = BarStore(
            history_folder(home(), venue=self.venue, environment=environment, market=self.market, world=world)
        )
        if cache.missing(symbol, interval, start_ns, end_ns):
            if interval.nominal_ns > _MINUTE.nominal_ns and not cache.missing(symbol, _MINUTE, start_ns, end_ns):
                return fold_columns(cache.columns(symbol, _MINUTE, start_ns, end_ns), interval)
            await self._fetch(cache, endpoints, symbol, interval=interval, start_ns=start_ns, end_ns=end_ns)
        return cache.columns(symbol, interval, start_ns, end_ns)

    async def _fetch(
        self,
        cache: BarCache,
        endpoints: Endpoints | None,
        symbol: str,
        *,
        interval: Interval,
        start_ns: int,
        end_ns: int,
    ) -> None:
        venue = open_venue(self.venue)
        environment = Environment.LIVE if endpoints is None else Environment.SIM
        async with open_public_side(venue, environment=environment, market=self.market, endpoints=endpoints) as public:
            store = venue.store(public.context)
            found = await public.guard.read("instruments", lambda: store.instruments(symbols=[symbol]))
            if symbol not in found:
                raise UnknownSymbolError(f"{venue.info.title} lists no {symbol}: write it like BTC/USDT")
            desk = HistoryDesk(
                feed=venue.feed(public.context),
                guard=public.guard,
                cache=cache,
                clock=public.clock,
                archive=venue.info.capabilities[self.market].archive,
                tries=_FETCH_TRIES,
            )
            await desk.ensure(found[symbol], interval, start_ns, end_ns)


_MINUTE = Interval.parse("1m")
_FETCH_TRIES = 2  # somebody waits in front of it; `btx history download` is patient


def _day(time_ns: int) -> str:
    """Return ``2025-06-01``, with the minute where it is no midnight: as `btx history download` reads it."""
    return iso(time_ns)[:16].removesuffix("T00:00")


def _nominal(venue: str, base: str, quote: str) -> Instrument:
    """Return an instrument to ask fees of, where its grids are not known and not needed."""
    finest = Decimal("1e-8")
    return Instrument(
        venue=venue,
        symbol=f"{base}/{quote}",
        venue_symbol=f"{base}{quote}",
        kind=InstrumentKind.SPOT,
        base=base,
        quote=quote,
        settle=quote,
        tick_size=finest,
        step_size=finest,
        min_quantity=Decimal(0),
    )


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
        journal=_journal(venue.info.name, environment, market, keep, is_kept=scenario is None or keep is not None),
        outside=_Outside(
            settings,
            name=f"{venue.info.name}/{environment.value}/{market}",
            folder=None
            if scenario is not None and keep is None
            else functools.partial(
                account_folder, home(), venue=venue.info.name, environment=environment, market=market, world=keep
            ),
        ),
        recording=_recording(venue.info.name, environment, market, record) if record is not None else None,
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


def _journal(venue: str, environment: Environment, market: str, keep: str | None, *, is_kept: bool) -> OpenJournal:
    @contextlib.contextmanager
    def opened(api_key: str, on_fault: Callable[[str], None]) -> Iterator[Journal]:
        from btx.storage.journal import open_journal  # the database library is needed where orders are

        with contextlib.ExitStack() as resources:
            if not is_kept:
                place = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="btx-")))
            else:
                place = account_folder(
                    home(), venue=venue, environment=environment, market=market, api_key=api_key, world=keep
                )
            journal = open_journal(place / JOURNAL, on_fault=on_fault)
            resources.callback(journal.close)
            yield journal

    return opened


def _record_folder(record: str | Path | None) -> Path | None:
    text = record if record is not None else os.environ.get("BTX_RECORD", "")
    if not text:
        return None
    if not isinstance(text, str | Path):
        raise ConfigError(f"record={text!r}: write the path of a folder")
    folder = Path(text).expanduser()
    check_folder(folder, said=f"record={str(record)!r}" if record is not None else f"BTX_RECORD={text}")
    return folder


def _recording(venue: str, environment: Environment, market: str, folder: Path) -> OpenRecording:
    def opened(clock: Clock, settings: Settings, on_fault: Callable[[str], None]) -> Recorder:
        return Recorder(
            folder,
            about={
                "session": f"{venue}/{environment.value}/{market}",
                "venue": venue,
                "environment": environment.value,
                "market": market,
            },
            clock=clock,
            secrets=(
                *(each.reveal() for each in (settings.api_key, settings.api_secret, settings.webhook)),
                *proxy_secrets(settings.proxy),
            ),
            on_fault=on_fault,
        )

    return opened


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
    if not secret:
        where = f"{what}= is empty" if reference is not None else f"{variable} is not set"
        raise MissingSecretError(
            f"env={env!r} needs keys and {where}: "
            f"export {variable}=..., or btx.load({name!r}, env={env!r}, {what}='file:PATH')"
        )
    return secret
