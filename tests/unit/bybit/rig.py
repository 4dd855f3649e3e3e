"""A small server on loopback that answers as Bybit does, and what a session would give the adapter to reach it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import web

from btx.config import Secret, Settings
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Leg, OrderRequest, OrderType, Side
from btx.model.time import from_ms
from btx.model.venue import Endpoints, Environment, SimClock
from btx.ports import Context

KEY = "k3y-of-the-account"
SECRET = "s3cret-of-the-account"
NOW_MS = 1_750_000_000_000

SPOT = Instrument(
    venue="bybit",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.1"),
    step_size=Decimal("0.000001"),
    min_quantity=Decimal("0.000011"),
)
LINEAR = attrs.evolve(SPOT, symbol="BTC/USDT:USDT", kind=InstrumentKind.LINEAR, step_size=Decimal("0.001"))
INVERSE = attrs.evolve(
    SPOT, symbol="BTC/USD:BTC", venue_symbol="BTCUSD", kind=InstrumentKind.INVERSE, quote="USD", settle="BTC"
)
OF = {"spot": SPOT, "linear": LINEAR, "inverse": INVERSE}


@attrs.define
class ManualClock:
    """Two clocks that stand where they are put."""

    wire: int = 1_700_000_000_123_000_000
    market: int = from_ms(NOW_MS)

    def wire_ns(self) -> int:
        return self.wire

    def market_ns(self) -> int:
        return self.market


@attrs.define
class Asked:
    """One request as the venue got it."""

    path: str
    params: dict[str, Any]
    headers: Mapping[str, str]


Reply = Mapping[str, Any] | list[Any]


class Venue:
    """Answers each path with its replies, one after the other, the last one again and again."""

    def __init__(self, replies: Mapping[str, Reply], **headers: str) -> None:
        self.asked: list[Asked] = []
        self.sockets: list[Any] = []
        self._headers = headers
        self._replies = {path: list(each) if isinstance(each, list) else [each] for path, each in replies.items()}

    def of(self, path: str) -> list[dict[str, Any]]:
        """Return the parameters of every request to a path."""
        return [each.params for each in self.asked if each.path == path]

    async def handle(self, request: web.Request) -> web.Response:
        params = dict(request.query) if request.method == "GET" else await request.json()
        self.asked.append(Asked(request.path, params, request.headers))
        left = self._replies[request.path]
        reply = left.pop(0) if len(left) > 1 else left[0]
        status = reply.get("status", 200)
        body = reply.get("body")
        text = body if body is not None else json.dumps({"retCode": 0, "retMsg": "OK", "result": {}, **reply})
        return web.Response(text=text, status=status, content_type="application/json", headers=self._headers)


def result(**fields: Any) -> dict[str, Any]:
    return {"result": fields}


def rows(*found: Mapping[str, Any], cursor: str = "") -> dict[str, Any]:
    return result(list=list(found), nextPageCursor=cursor)


def refusal(code: int, text: str) -> dict[str, Any]:
    return {"retCode": code, "retMsg": text}


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[Endpoints]:
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield Endpoints(
            rest=f"http://127.0.0.1:{port}",
            stream=f"ws://127.0.0.1:{port}",
            trading_stream=f"ws://127.0.0.1:{port}/v5/trade",
            control="",
            accounts=(),
            clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
        )
    finally:
        await runner.cleanup()


@asynccontextmanager
async def context(where: Endpoints | None, market: str = "linear", **changes: Any) -> AsyncIterator[Context]:
    """Give a context as a session would, and close its resources."""
    key, options = changes.pop("key", KEY), changes.pop("options", {})
    async with AsyncExitStack() as resources:
        facts: dict[str, Any] = {
            "settings": Settings(api_key=Secret(key), api_secret=Secret(SECRET), options=options),
            "environment": Environment.SIM,
            "market": market,
            "endpoints": where,
            "clock": ManualClock(),
            "resources": resources,
        }
        yield Context(**(facts | changes))


@asynccontextmanager
async def venue(
    replies: Mapping[str, Reply], market: str = "linear", headers: Mapping[str, str] | None = None, **changes: Any
) -> AsyncIterator[tuple[Venue, Context]]:
    """Serve replies by path, and give a context that reaches them."""
    there = Venue(replies, **(headers or {}))
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", there.handle)
    async with served(app) as where, context(where, market, **changes) as given:
        yield there, given


def leg(market: str = "linear", **changes: Any) -> Leg:
    request: dict[str, Any] = {
        "instrument": OF[market],
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal("0.002"),
        "price": Decimal("61837.6"),
        "signal_ns": 0,
    }
    request |= changes
    return Leg(client_order_id="run1-1", request=OrderRequest(**request), quantity=request["quantity"])
