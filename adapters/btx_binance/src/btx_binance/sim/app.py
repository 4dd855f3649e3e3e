"""The simulated venue: one aiohttp application on one loopback port, and the control channel beside it.

One world is one market: spot, USD-M or COIN-M futures.  Which skin it gets is decided here.
"""

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from btx.model.instrument import InstrumentKind
from btx.model.venue import Endpoints, Scenario
from btx.sim.box import Box, box_of
from btx.sim.exchange import Listing
from btx.sim.server import serve_control
from btx.sim.world import World
from btx_binance.sim import exchange_info
from btx_binance.sim.connections import Connections
from btx_binance.sim.door import Door
from btx_binance.sim.faults import Mishaps, outage
from btx_binance.sim.futures.app import FuturesSkin
from btx_binance.sim.futures.listings import listings as contracts
from btx_binance.sim.futures.listings import named
from btx_binance.sim.futures.market import COINM, USDM, dialect_of
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.skin import Skin
from btx_binance.sim.spot import SpotSkin

__all__ = ("matcher", "serving", "simulator")

_SPOT = "spot"
_SHUTDOWN_S = 2.0
_DIALECTS = {InstrumentKind.LINEAR: USDM, InstrumentKind.INVERSE: COINM}


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve the wire protocol of one of Binance's markets on loopback, in the running loop, until the context ends.

    ``Endpoints.rest`` is the base of ``/api/v3``, ``/fapi/v1`` or ``/dapi/v1``;
    ``Endpoints.stream`` the base of the market streams; ``Endpoints.trading_stream``
    the whole address of the WebSocket API.  ``Endpoints.extra`` has what clients
    need besides: ``world``, a mark no other world has, ``as_of``,
    ``not_modelled``, one thing per line; of spot ``raw_stream`` and
    ``combined_stream`` spelled out, ``ccxt_stream`` for ccxt's
    ``urls["api"]["ws"]["spot"]``, ``archive`` for what the venue has at
    data.binance.vision; of futures what :meth:`FuturesSkin.describe` says.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    scenario, listed = _prepared(scenario)
    async with (
        World(scenario, listed) as world,
        serving(world, port=scenario.port, as_of=scenario.as_of) as endpoints,
    ):
        yield endpoints


def matcher(scenario: Scenario) -> Box:
    """Return the world that :func:`simulator` serves, to be asked directly, in lockstep.

    Raises:
        ConfigError: the scenario names what cannot be played.
    """
    return box_of(*_prepared(scenario))


def _prepared(scenario: Scenario) -> tuple[Scenario, Sequence[Listing]]:
    """Return the scenario with its symbols in full, and what is listed for it."""
    if scenario.market in ("", _SPOT):
        return scenario, exchange_info.listings(scenario)
    dialect = dialect_of(scenario.market)
    scenario = named(scenario, dialect)
    return scenario, contracts(scenario, dialect)


@contextlib.asynccontextmanager
async def serving(world: World, *, port: int = 0, as_of: str = "") -> AsyncIterator[Endpoints]:
    """Serve a world that somebody else made; as :func:`simulator` otherwise.

    Raises:
        ConfigError: there is no protocol of ``as_of``.
        OSError: ``port`` is taken.
    """
    skin = _skin(world, as_of)
    mishaps = Mishaps(world, skin.venue.meters, skin.failures)
    connections = skin.connections(mishaps)
    app = web.Application(middlewares=[outage(mishaps)])
    app.on_shutdown.append(mishaps.close)
    skin.add_routes(app, mishaps, connections)

    async def flush() -> None:
        skin.settle()
        await connections.flush()

    world.listen(skin.tell)
    world.on_flush(flush)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(world.forget, skin.tell)
        stack.callback(skin.close)
        address = await _serve(stack, app, mishaps, connections, port)
        describe = functools.partial(_endpoints, world, skin, address, secrets.token_hex(4))
        control = await stack.enter_async_context(serve_control(world, describe, connections))
        yield describe(control)


def _skin(world: World, as_of: str) -> Skin:
    known = {account.api_key: account.api_secret for account in world.accounts}
    kind = next(iter(world.listings.values())).instrument.kind
    if kind is InstrumentKind.SPOT:
        return SpotSkin(world, known, as_of)
    return FuturesSkin(world, known, _DIALECTS[kind], Protocol.of(as_of))


async def _serve(
    stack: contextlib.AsyncExitStack, app: web.Application, mishaps: Mishaps, connections: Connections, port: int
) -> str:
    """Start the application and return ``host:port``."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None, "it was set up"
    door = Door(runner.server)
    stack.callback(door.close)
    address = await door.open(port)
    mishaps.cut_all = functools.partial(_cut_all, runner.server)
    mishaps.refuse_all = door.refuse
    keeper = asyncio.create_task(connections.keep_alive())
    stack.callback(keeper.cancel)
    stack.push_async_callback(connections.close)
    return address


def _cut_all(server: web.Server) -> None:
    for handler in server.connections:
        if handler.transport is not None:
            handler.transport.abort()


def _endpoints(world: World, skin: Skin, address: str, mark: str, control: str) -> Endpoints:
    stream = f"ws://{address}"
    return Endpoints(
        rest=f"http://{address}",
        stream=stream,
        trading_stream=f"{stream}{skin.trading_path}",
        control=control,
        accounts=world.accounts,
        clock=world.clock,
        extra={**skin.describe(address), "world": mark},
    )
