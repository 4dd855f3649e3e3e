"""A small server on loopback that says what a test tells it to, and a context to reach it with."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import web

from btx.config import Secret, Settings
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Leg, OrderRequest, OrderType, Side
from btx.model.venue import Endpoints, Environment, SimClock
from btx.ports import Context

KEY = "k3y-of-the-account"
SECRET = "s3cret-of-the-account"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Script = Callable[[web.WebSocketResponse], Awaitable[None]]


@attrs.define
class ManualClock:
    """Two clocks that stand where they are put."""

    wire: int = 1_700_000_000_123_000_000
    market: int = 1_750_000_000_000_000_000

    def wire_ns(self) -> int:
        return self.wire

    def market_ns(self) -> int:
        return self.market


def answer(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Handler:
    """Return a handler that always says ``body``."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return handle


def socket(script: Script) -> Handler:
    """Return a handler that plays ``script`` on every connection."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(autoping=True)
        await connection.prepare(request)
        await script(connection)
        return connection

    return handle


async def hold(connection: web.WebSocketResponse) -> None:
    """Read until the client goes."""
    async for _ in connection:
        pass


async def acknowledge(connection: web.WebSocketResponse) -> dict[str, Any]:
    """Take the user data stream's subscription and accept it, as the documentation shows it."""
    request: dict[str, Any] = await connection.receive_json()
    await connection.send_json({"id": request["id"], "status": 200, "result": {"subscriptionId": 0}})
    return request


@asynccontextmanager
async def serve(handlers: Mapping[str, Handler]) -> AsyncIterator[Endpoints]:
    """Serve ``{"GET /api/v3/time": handler}`` on a free port."""
    app = web.Application()
    for route, handler in handlers.items():
        method, path = route.split()
        app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield endpoints(port)
    finally:
        await runner.cleanup()


def endpoints(port: int) -> Endpoints:
    return Endpoints(
        rest=f"http://127.0.0.1:{port}",
        stream=f"ws://127.0.0.1:{port}",
        trading_stream=f"ws://127.0.0.1:{port}",
        control="",
        accounts=(),
        clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
    )


@asynccontextmanager
async def connected(
    where: Endpoints | None,
    *,
    key: str = KEY,
    secret: str = SECRET,
    environment: Environment = Environment.SIM,
    clock: ManualClock | None = None,
    shared: dict[str, Any] | None = None,
) -> AsyncIterator[Context]:
    """Give a context as a session would, and close its resources."""
    async with AsyncExitStack() as resources:
        yield Context(
            settings=Settings(api_key=Secret(key), api_secret=Secret(secret)),
            environment=environment,
            market="spot",
            endpoints=where,
            clock=clock or ManualClock(),
            resources=resources,
            shared=shared if shared is not None else {},
        )


def instrument(base: str = "BTC", quote: str = "USDT") -> Instrument:
    return Instrument(
        venue="binance",
        symbol=f"{base}/{quote}",
        venue_symbol=f"{base}{quote}",
        kind=InstrumentKind.SPOT,
        base=base,
        quote=quote,
        settle=quote,
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
    )


def leg(**changes: Any) -> Leg:
    quantity = changes.pop("quantity", Decimal("0.00012000"))
    request: dict[str, Any] = {
        "instrument": instrument(),
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": quantity,
        "price": Decimal("61837.64"),
        "signal_ns": 0,
        **changes,
    }
    return Leg(client_order_id="run1-1", request=OrderRequest(**request), quantity=quantity)


def form(text: str) -> dict[str, str]:
    """Return the fields of a form body or query."""
    return dict(part.split("=", 1) for part in text.split("&"))


def dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


async def others() -> set["asyncio.Task[Any]"]:
    """Return the client's tasks that are left beside the test's own, after a few turns of the loop to end."""
    for _ in range(5):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
    return {task for task in left if "RequestHandler" not in repr(task)}
