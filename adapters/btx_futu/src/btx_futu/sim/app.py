"""The simulated OpenD: a port that speaks its protocol, and the control channel beside it."""

import asyncio
import contextlib
import functools
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import attrs

from btx.model.venue import Endpoints, Scenario, SimAccount
from btx.sim.box import Box, box_of
from btx.sim.exchange import Listing
from btx.sim.server import serve_control
from btx.sim.skin.door import Door
from btx.sim.world import World
from btx_futu.sim.opend import OpenDSkin
from btx_futu.sim.tables import MARKETS, Exchange, listings

__all__ = ("NOT_MODELLED", "matcher", "serving", "simulator")

NOT_MODELLED = (
    "encryption (RSA on InitConnect, AES afterwards), JSON as the format of bodies",
    "real accounts, their deals and fees, unlocking; several markets of one account",
    "stop, trailing and auction orders; good-till-cancelled orders",
    "orders outside the sessions: they are refused, where the venue keeps some for the morning",
    "auctions, half days, trading before and after the session; short sales; T+1",
    "books, tickers, brokers' queues; bars of any length but one minute; adjusted prices",
    "quotas of subscriptions and of codes with history; the minute before a subscription may end",
)


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve OpenD's protocol for one market on loopback, in the running loop, until the context ends.

    Every address but that of the control channel is ``tcp://host:port`` of the one port it has.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    scenario, listed, exchange = _prepared(scenario)
    async with World(scenario, listed) as world, serving(world, exchange, port=scenario.port) as endpoints:
        yield endpoints


def matcher(scenario: Scenario) -> Box:
    """Return the world that :func:`simulator` serves, to be asked directly, in lockstep.

    Raises:
        ConfigError: the scenario names what cannot be played.
    """
    scenario, listed, _ = _prepared(scenario)
    return box_of(scenario, listed)


def _prepared(scenario: Scenario) -> tuple[Scenario, Sequence[Listing], Exchange]:
    """Return the scenario with accounts that have numbers, what is listed, and where."""
    listed = listings(scenario)
    exchange = MARKETS[scenario.market or "hk"]
    shares = {each.instrument.base: Decimal(0) for each in listed}
    usual = SimAccount(
        api_key=f"seed {scenario.seed}",
        api_secret="",
        balances={exchange.currency: Decimal(exchange.paper_cash)},
    )
    accounts = tuple(
        attrs.evolve(
            each,
            api_key=_number(each.api_key),
            balances={**shares, exchange.currency: Decimal(0), **each.balances},
        )
        for each in scenario.accounts or (usual,)
    )
    return attrs.evolve(scenario, accounts=accounts), listed, exchange


def _number(key: str) -> str:
    """Return the number an account is known by: its own, or one made of its key."""
    if key.isdecimal():
        return key
    return str(10**8 + int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % (9 * 10**8))


@contextlib.asynccontextmanager
async def serving(world: World, exchange: Exchange, *, port: int = 0) -> AsyncIterator[Endpoints]:
    """Serve a world that somebody else made; as :func:`simulator` otherwise.

    Raises:
        OSError: ``port`` is taken.
    """
    skin = OpenDSkin(world, exchange)

    def protocol() -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader()
        return asyncio.StreamReaderProtocol(reader, skin.accept)

    world.listen(skin.tell)
    world.on_flush(skin.connections.flush)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(world.forget, skin.tell)
        door = Door(protocol)
        skin.mishaps.refuse_all = door.refuse
        stack.push_async_callback(skin.close)
        stack.callback(door.close)
        address = await door.open(port)
        describe = functools.partial(_endpoints, world, address, secrets.token_hex(4))
        control = await stack.enter_async_context(serve_control(world, describe, skin.connections))
        yield describe(control)


def _endpoints(world: World, address: str, mark: str, control: str) -> Endpoints:
    place = f"tcp://{address}"
    return Endpoints(
        rest=place,
        stream=place,
        trading_stream=place,
        control=control,
        accounts=world.accounts,
        clock=world.clock,
        extra={"world": mark, "not_modelled": "\n".join(NOT_MODELLED)},
    )
