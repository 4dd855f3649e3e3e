"""The simulated venue: one aiohttp application on one loopback port, and the control channel beside it."""

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator

from aiohttp import web

from btx.model.venue import Endpoints, Scenario
from btx.sim.exchange import ExecutionEvent
from btx.sim.server import serve_control
from btx.sim.world import World, WorldEvent
from btx_binance.sim import archive, market_data, rest, trading, ws, ws_api
from btx_binance.sim.connections import Connections
from btx_binance.sim.door import Door
from btx_binance.sim.exchange_info import listings
from btx_binance.sim.faults import Mishaps, outage
from btx_binance.sim.venue import Call, Venue

__all__ = ("AS_OF", "NOT_MODELLED", "serving", "simulator")

AS_OF = "2026-03"
"""The state of the venue's documentation that is served."""

NOT_MODELLED: tuple[str, ...] = (
    "SOR, pegged orders, and order lists whose exits follow the fill (OPO, OPOCO)",
    "self-trade prevention: clients' orders never meet each other, only the market",
    "the effect of an order on the market: nobody else sees it, and no print comes of it",
    "strategyId and strategyType: checked, then forgotten",
    "the BNB discount, VIP tiers, special and tax commissions: every account pays 0.1 %",
    "the decrement of the order count when orders fill",
    "archiving of orders after 90 days; expiryReason",
    "public files but the monthly klines",
    "klines of 1s and of other time zones",
    "the streams !miniTicker@arr, !ticker@arr, <symbol>@ticker_<window> and <symbol>@avgPrice",
    "one aggregate trade of several prints: each print is an aggregate of its own",
    "RSA keys; FIX; SBE; the microsecond time unit",
    "deposits, withdrawals, margin and everything else under /sapi but what clients ask for at start",
    "how fast and how long the venue bans: 418 comes after ten 429 answers, for 2 minutes first",
    "the wrapping of serverShutdown on a combined stream: the manual does not say, a fault has a form for either",
    "the venue's own delays: requests are answered, and events pushed, at once",
)
"""What a client of the real venue would find and does not find here; the README says it too."""

_CALLS: tuple[Call, ...] = (*market_data.CALLS, *trading.CALLS)
_SHUTDOWN_S = 2.0


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve Binance spot's wire protocol on loopback, in the running loop, until the context ends.

    ``Endpoints.rest`` is the base of ``/api/v3``; ``Endpoints.stream`` the base
    of ``/ws`` and ``/stream``; ``Endpoints.trading_stream`` the whole address of
    the WebSocket API.  ``Endpoints.extra`` has ``raw_stream`` and
    ``combined_stream`` spelled out, ``ccxt_stream`` for ccxt's
    ``urls["api"]["ws"]["spot"]``, ``archive`` for what the venue has at
    data.binance.vision, ``world``, a mark no other world has, ``as_of``, and ``not_modelled``, one thing per line.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    async with World(scenario, listings(scenario)) as world, serving(world, port=scenario.port) as endpoints:
        yield endpoints


@contextlib.asynccontextmanager
async def serving(world: World, *, port: int = 0) -> AsyncIterator[Endpoints]:
    """Serve a world that somebody else made; as :func:`simulator` otherwise.

    Raises:
        OSError: ``port`` is taken.
    """
    venue = Venue(world, {account.api_key: account.api_secret for account in world.accounts})
    mishaps = Mishaps(world)
    connections = Connections(mishaps, venue.meters)
    streams = ws.Streams(venue, mishaps)
    user_data = ws_api.UserData(venue, mishaps)
    app = web.Application(middlewares=[outage(mishaps)])
    app.on_shutdown.append(mishaps.close)
    ws.add_routes(app, venue, connections, streams)
    ws_api.add_routes(app, venue, connections, user_data, _CALLS)
    archive.add_routes(app, venue, mishaps)
    rest.add_routes(app, venue, mishaps, _CALLS)

    def tell(event: WorldEvent) -> None:
        if isinstance(event, ExecutionEvent):
            user_data.tell(event)
        else:
            streams.tell(event)

    async def flush() -> None:
        streams.settle()
        await connections.flush()

    world.listen(tell)
    world.on_flush(flush)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(world.forget, tell)
        address = await _serve(stack, app, mishaps, connections, port)
        describe = functools.partial(_endpoints, world, address, secrets.token_hex(4))
        control = await stack.enter_async_context(serve_control(world, describe, connections))
        yield describe(control)


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


def _endpoints(world: World, address: str, mark: str, control: str) -> Endpoints:
    stream = f"ws://{address}"
    return Endpoints(
        rest=f"http://{address}",
        stream=stream,
        trading_stream=f"{stream}/ws-api/v3",
        control=control,
        accounts=world.accounts,
        clock=world.clock,
        extra={
            "raw_stream": f"{stream}/ws",
            "combined_stream": f"{stream}/stream",
            "ccxt_stream": f"{stream}/stream/ws",
            "archive": f"http://{address}",
            "world": mark,
            "as_of": AS_OF,
            "not_modelled": "\n".join(NOT_MODELLED),
        },
    )
