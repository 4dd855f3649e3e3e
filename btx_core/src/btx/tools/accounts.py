"""An account from another process than the one that trades on it: its folder, and its own ports."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import attrs

from btx.compose import Account, open_account
from btx.config import Secret, home
from btx.errors import ConfigError
from btx.model.venue import Endpoints, Environment
from btx.ports import Broker, Context, Journal, Store
from btx.runtime.clock import MarketClock
from btx.runtime.guard import Guard
from btx.sim.texts import endpoints_from_json
from btx.storage.journal import open_journal
from btx.storage.lock import writer_of
from btx.storage.places import JOURNAL, account_folder, account_mark
from btx.storage.presence import Presence, read_presence

__all__ = ("Ports", "Target", "connected", "journal_if_free", "target")


@attrs.frozen(kw_only=True)
class Target:
    """An account, where its files are, and the simulator it trades on if it is none of a real venue."""

    account: Account
    folder: Path
    endpoints: Endpoints | None
    presence: Presence | None

    @property
    def session(self) -> str:
        """As in every log line: binance/live/spot."""
        return f"{self.account.venue.info.name}/{self.account.environment.value}/{self.account.market}"

    @property
    def journal(self) -> Path:
        """The file of its journal, there or not."""
        return self.folder / JOURNAL

    @property
    def trader(self) -> str | None:
        """The process that trades on it now, None when none does."""
        return writer_of(self.journal)


@attrs.frozen(kw_only=True)
class Ports:
    """What a tool needs of a venue."""

    store: Store
    broker: Broker
    clock: MarketClock
    guard: Guard


def target(name: str, *, env: str, market: str | None = None, world: str | None = None) -> Target:
    """Return an account as ``btx.load`` would find it; in ``env="sim"`` that of a kept world.

    Raises:
        ConfigError: a setting is wrong or missing, or there is no such world, or more than one.
        PluginError: the adapter cannot be used.
    """
    account = open_account(name, env=env, market=market)
    info = account.venue.info
    if account.environment is not Environment.SIM:
        if world is not None and account.environment is not Environment.PAPER:
            raise ConfigError(f"--world={world} is of env='sim': leave it out of env={env!r}")
        key = account.settings.api_key.reveal()
        folder = account_folder(
            home(), venue=info.name, environment=account.environment, market=account.market, api_key=key, world=world
        )
        return Target(account=account, folder=folder, endpoints=None, presence=read_presence(folder))
    folder = _kept_world(home() / info.name / account.environment.value / account.market, world)
    presence = read_presence(folder)
    if presence is None or presence.endpoints_json is None:
        return Target(account=account, folder=folder, endpoints=None, presence=presence)
    endpoints = endpoints_from_json(presence.endpoints_json)
    mark = folder.parent.name
    keys = next((each for each in endpoints.accounts if account_mark(each.api_key) == mark), None)
    if keys is None:
        raise ConfigError(
            f"{folder} is of another account than those of the simulator that runs: stop it, and try again"
        )
    settings = attrs.evolve(account.settings, api_key=Secret(keys.api_key), api_secret=Secret(keys.api_secret))
    return Target(
        account=attrs.evolve(account, settings=settings), folder=folder, endpoints=endpoints, presence=presence
    )


def _kept_world(market: Path, world: str | None) -> Path:
    found = sorted(path for path in market.glob(f"*/{world or '*'}") if path.is_dir())
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{path.name} (account {path.parent.name})" for path in found)
        raise ConfigError(f"there are several worlds under {market} ({names}): name one with --world")
    wanted = f" named {world!r}" if world is not None else ""
    raise ConfigError(f"no world{wanted} is kept under {market}: btx.load(..., keep='NAME') keeps one")


@contextlib.asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Ports]:
    """Open the account's own ports for as long as the context lasts; the venue's clock is read once.

    Raises:
        BtxError: the venue was not reached, or does not accept the keys.
    """
    account, clock = target.account, MarketClock()
    if target.endpoints is not None:
        clock.follow(target.endpoints.clock)
    async with AsyncExitStack() as resources:
        context = Context(
            settings=account.settings,
            environment=account.environment,
            market=account.market,
            endpoints=target.endpoints,
            clock=clock,
            resources=resources,
        )
        store, broker = account.venue.store(context), account.venue.broker(context)
        guard = Guard(info=account.venue.info, market=account.market)
        before_ns = clock.wire_ns()
        venue_ns = await guard.read("time", store.server_time_ns)
        clock.offset_ns += venue_ns - (before_ns + clock.wire_ns()) // 2
        yield Ports(store=store, broker=broker, clock=clock, guard=guard)


@contextlib.contextmanager
def journal_if_free(target: Target) -> Iterator[Journal | None]:
    """Open the account's journal to write; None where the process that trades has it.

    Raises:
        ConfigError: it cannot be written for another reason.
    """
    try:
        journal = open_journal(target.journal)
    except ConfigError:
        if target.trader is None:
            raise
        yield None
        return
    try:
        yield journal
    finally:
        journal.close()
