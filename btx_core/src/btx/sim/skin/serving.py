"""The server of a simulated venue: one aiohttp application on one loopback port, and the control channel beside it."""

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from aiohttp import web

from btx.model.venue import Endpoints
from btx.sim.server import serve_control
from btx.sim.skin.connections import Connections, Habits
from btx.sim.skin.door import Door
from btx.sim.skin.mishaps import Mishaps, Trouble, outage
from btx.sim.world import World, WorldEvent

__all__ = ("Skin", "serving")

_SHUTDOWN_S = 2.0


class Skin(Protocol):
    """The wire of one market over a world."""

    @property
    def trouble(self) -> Trouble[Any]:
        """How the market's system says that it failed."""

    @property
    def habits(self) -> Habits:
        """What it does with its sockets."""

    @property
    def trading_path(self) -> str:
        """Where orders are sent over a socket: ``Endpoints.trading_stream``."""

    def add_routes(self, app: web.Application, mishaps: Mishaps[Any], connections: Connections) -> None:
        """Serve everything the market has. Called once, in the loop that serves."""

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""

    def close(self) -> None:
        """Stop what runs beside the requests."""

    def describe(self, address: str) -> Mapping[str, str]:
        """Return what clients need besides the bases, ``Endpoints.extra``; ``address`` is ``host:port``."""


@contextlib.asynccontextmanager
async def serving(world: World, skin: Skin, *, port: int = 0) -> AsyncIterator[Endpoints]:
    """Serve a world on loopback in the running loop, until the context ends.

    ``Endpoints.extra`` is what the skin describes, and ``world``: a mark no other world has.

    Raises:
        OSError: ``port`` is taken.
    """
    mishaps: Mishaps[Any] = Mishaps(world, skin.trouble)
    connections = Connections(mishaps, skin.habits, wire_ns=world.wire_ns)
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


async def _serve(
    stack: contextlib.AsyncExitStack, app: web.Application, mishaps: Mishaps[Any], connections: Connections, port: int
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
