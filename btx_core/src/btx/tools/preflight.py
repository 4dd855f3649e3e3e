"""``btx preflight``: is everything as it should be, before the first order?"""

import asyncio
import contextlib
import difflib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import attrs
from rich.console import Console

from btx.compose import Account, open_account
from btx.config import Secret, home
from btx.errors import BtxError, ConfigError, NotSupportedError
from btx.model.instrument import Instrument
from btx.model.order import OrderReport
from btx.model.time import NS_PER_HOUR
from btx.model.venue import Environment, Scenario
from btx.ports import Broker, Context, Feed, Store
from btx.rules.preflight import Facts, Level, Verdict, Wishes, judge
from btx.rules.reconcile import foreign_orders
from btx.rules.symbols import perpetual_of
from btx.runtime.clock import MarketClock
from btx.runtime.guard import Guard
from btx.runtime.margining import margining_of
from btx.storage.journal import open_journal, read_journal
from btx.storage.lock import writer_of
from btx.storage.places import JOURNAL, account_folder
from btx.tools.words import usual_symbol
from btx.worlds import simulated

__all__ = ("run_preflight",)

T = TypeVar("T")
_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


@attrs.frozen(kw_only=True)
class _Side:
    """The ports of the account, and how its clock was found."""

    store: Store
    broker: Broker
    feed: Feed
    clock: MarketClock
    guard: Guard
    doubt_ns: int
    traded: list[Instrument]  # known after the instruments are


def run_preflight(
    name: str,
    *,
    env: str,
    market: str | None,
    symbols: Sequence[str],
    leverage: int | None,
    margin_mode: str | None,
    position_mode: str | None,
    allow_withdraw: bool,
    as_json: bool,
) -> int:
    """Look at everything, say what is wrong, and return the exit code: 0 nothing fails, 1 something does.

    Raises:
        ConfigError: a setting is wrong or missing.
        BtxError: the venue was not reached, or does not accept the keys.
    """
    account = open_account(name, env=env, market=market)
    if account.environment is Environment.PAPER:
        raise ConfigError("env='paper' has no key and no account at the venue: look at live, testnet or sim")
    capabilities = account.venue.info.capabilities[account.market]
    margining = margining_of(
        capabilities,
        market=account.market,
        leverage=leverage,
        margin_mode=margin_mode,
        position_mode=position_mode,
    )
    symbols = symbols or (usual_symbol(capabilities),)
    wishes = Wishes(
        may_withdraw=allow_withdraw,
        leverage=margining.leverage,
        margin_mode=margining.margin_mode,
        position_mode=margining.position_mode,
    )
    verdicts = judge(asyncio.run(_facts(account, symbols)), wishes)
    if as_json:
        print(json.dumps(_as_json(account, verdicts)))  # noqa: T201 -- for programs: not to be wrapped
    else:
        _show(account, verdicts)
    return 1 if any(verdict.level is Level.FAIL for verdict in verdicts) else 0


async def _facts(account: Account, symbols: Sequence[str]) -> Facts:
    async with _connected(account) as side:
        read, store = side.guard.read, side.store
        known = await read("instruments", store.instruments)
        found = {symbol: each for symbol in symbols if (each := _find(known, symbol)) is not None}
        instruments = list(found.values())
        side.traded.extend(instruments)
        capabilities = account.venue.info.capabilities[account.market]
        snapshot = await read("account", store.account)
        own_fees = await _if_told(read("fees", lambda: store.fees(instruments=instruments)))
        folder = _folder(account)
        prices = {each.symbol: await _price(side, each) for each in instruments}
        resting = tuple(await read("open_orders", lambda: side.broker.open_orders(instruments=tuple(known.values()))))
        return Facts(
            market_ns=side.clock.market_ns(),
            clock_offset_ns=side.clock.offset_ns,
            clock_doubt_ns=side.doubt_ns,
            receive_window_ns=account.settings.receive_window_ms * 1_000_000,
            account=snapshot,
            rights=await _if_told(read("key_rights", store.key_rights)),
            wanted=tuple(symbols),
            instruments=found,
            nearest={symbol: near for symbol in symbols if (near := _nearest(known, symbol)) is not None},
            prices={symbol: price for symbol, price in prices.items() if price is not None},
            fees=own_fees or {},
            table={each.symbol: account.venue.commission(each, None) for each in instruments},
            marks=await _marks(side, instruments) if capabilities.margined else {},
            tiers=await _tiers(side, instruments) if capabilities.margined else {},
            open_orders=resting,
            known_orders=_known_orders(folder, resting),
            disk_free=shutil.disk_usage(_existing(folder or home())).free,
            journal_trouble=_journal_trouble(folder),
            trader=_trader(folder),
            is_margined=capabilities.margined,
        )


def _find(known: Mapping[str, Instrument], symbol: str) -> Instrument | None:
    """Return what a symbol means: in a market on margin the plain BTC/USDT is the perpetual."""
    return known.get(symbol) or known.get(perpetual_of(symbol))


def _nearest(known: Mapping[str, Instrument], symbol: str) -> str | None:
    found = difflib.get_close_matches(symbol.upper(), known, n=1, cutoff=0.0)
    return found[0] if found else None


async def _if_told(answer: Awaitable[T]) -> T | None:
    """Return an answer, None where the venue gives none; a key that is not accepted was found before."""
    try:
        return await answer
    except (NotSupportedError, NotImplementedError):
        return None


async def _price(side: _Side, instrument: Instrument) -> Decimal | None:
    trade = await side.guard.read("last_price", lambda: side.feed.last_price(symbol=instrument.symbol))
    return trade.price if trade is not None else None


async def _marks(side: _Side, instruments: Iterable[Instrument]) -> dict[str, Any]:
    feed: Any = side.feed  # of a market on margin it is a MarginFeed
    return {
        each.symbol: await side.guard.read("mark_price", lambda one=each: feed.mark_price(instrument=one))  # type: ignore[misc]
        for each in instruments
    }


async def _tiers(side: _Side, instruments: Sequence[Instrument]) -> dict[str, int]:
    store: Any = side.store  # likewise a MarginStore
    tiers = await side.guard.read("leverage_tiers", lambda: store.leverage_tiers(instruments=instruments))
    return {symbol: max(each.max_leverage for each in found) for symbol, found in tiers.items() if found}


@asynccontextmanager
async def _connected(account: Account) -> AsyncIterator[_Side]:
    """Open the account's ports; of ``env="sim"`` those of a simulator that is started for it."""
    venue, clock = account.venue, MarketClock()
    async with AsyncExitStack() as resources:
        endpoints, settings = None, account.settings
        if account.environment is Environment.SIM:
            scenario = Scenario(market=account.market, warmup_ns=NS_PER_HOUR)  # so that it has traded
            endpoints = await simulated(venue.info.name, account.environment, scenario)(resources)
            assert endpoints is not None, "a simulator has addresses"
            clock.follow(endpoints.clock)
            keys = endpoints.accounts[0]
            settings = attrs.evolve(settings, api_key=Secret(keys.api_key), api_secret=Secret(keys.api_secret))
        traded: list[Instrument] = []
        context = Context(
            settings=settings,
            environment=account.environment,
            market=account.market,
            endpoints=endpoints,
            clock=clock,
            resources=resources,
            traded=lambda: traded,
        )
        guard = Guard(info=venue.info, market=account.market)
        store, broker, feed = venue.store(context), venue.broker(context), venue.feed(context)
        await guard.read("time", store.server_time_ns)  # the first answer opens the connection, and takes longer
        before_ns = clock.wire_ns()
        venue_ns = await guard.read("time", store.server_time_ns)
        after_ns = clock.wire_ns()
        clock.offset_ns += venue_ns - (before_ns + after_ns) // 2
        yield _Side(
            store=store,
            broker=broker,
            feed=feed,
            clock=clock,
            guard=guard,
            doubt_ns=(after_ns - before_ns) // 2,
            traded=traded,
        )


# --- this machine -----------------------------------------------------------------------------------------------


def _folder(account: Account) -> Path | None:
    """Return where the account's journal is; a simulated world has none before it is kept."""
    if account.environment is Environment.SIM:
        return None
    return account_folder(
        home(),
        venue=account.venue.info.name,
        environment=account.environment,
        market=account.market,
        api_key=account.settings.api_key.reveal(),
        world=None,
    )


def _existing(path: Path) -> Path:
    """Return the nearest folder above that is there."""
    return next(each for each in (path, *path.parents) if each.is_dir())


def _known_orders(folder: Path | None, resting: Collection[OrderReport]) -> frozenset[str]:
    """Return which of the open orders are in the journal, some of them under another name."""
    if folder is None or not (folder / JOURNAL).is_file():
        return frozenset()
    reader = read_journal(folder / JOURNAL)
    try:
        strange = foreign_orders(reader.orders(), resting)
        return frozenset(each.client_order_id for each in resting if each not in strange)
    finally:
        reader.close()


def _trader(folder: Path | None) -> str | None:
    """Return the process that trades on the account now; where nothing can be read, the journal's own check tells."""
    with contextlib.suppress(OSError):
        return writer_of(folder / JOURNAL) if folder is not None else None
    return None


def _journal_trouble(folder: Path | None) -> str | None:
    """Return why the journal cannot be written; that another process writes it is told apart."""
    if folder is None:
        return None
    try:
        if writer_of(folder / JOURNAL) is None:
            open_journal(folder / JOURNAL).close()
    except (BtxError, OSError) as error:
        return str(error)
    return None


# --- what is seen -----------------------------------------------------------------------------------------------


def _show(account: Account, verdicts: Sequence[Verdict]) -> None:
    console = Console(highlight=False)
    info = account.venue.info
    console.print(f"btx preflight: {info.name}/{account.environment.value}/{account.market}", soft_wrap=True)
    width = max(len(verdict.check) for verdict in verdicts)
    for verdict in verdicts:
        console.print(f"  {verdict.level.value:<4}", style=_STYLES[verdict.level], end=" ")
        console.print(f"{verdict.check:<{width}}  {verdict.text}", soft_wrap=True, markup=False)
        if verdict.cure:
            console.print(f"       {'':<{width}}  → {verdict.cure}", soft_wrap=True, markup=False)
    fails = sum(verdict.level is Level.FAIL for verdict in verdicts)
    warns = sum(verdict.level is Level.WARN for verdict in verdicts)
    console.print(f"{len(verdicts)} checks, {fails} fail, {warns} warn", style="bold red" if fails else "bold green")


def _as_json(account: Account, verdicts: Sequence[Verdict]) -> Mapping[str, Any]:
    return {
        "account": f"{account.venue.info.name}/{account.environment.value}/{account.market}",
        "ok": all(verdict.level is not Level.FAIL for verdict in verdicts),
        "checks": [
            {"check": each.check, "level": each.level.value, "text": each.text, "cure": each.cure} for each in verdicts
        ],
    }
