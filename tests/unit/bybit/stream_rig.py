"""What tests of Bybit's streams share: instruments, a venue on loopback that follows a script, and what was heard."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.errors import BtxError
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.time import Interval
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import StreamEvent, Wanted
from btx.runtime.wishes import Wishes
from btx_bybit.stream import BybitStream
from tests.unit.binance.loopback import connected, others, serve, socket

LINEAR = Instrument(
    venue="bybit",
    symbol="BTC/USDT:USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.LINEAR,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.1"),
    step_size=Decimal("0.001"),
    min_quantity=Decimal("0.001"),
)
SPOT = attrs.evolve(LINEAR, symbol="BTC/USDT", kind=InstrumentKind.SPOT)
INVERSE = attrs.evolve(LINEAR, symbol="BTC/USD:BTC", venue_symbol="BTCUSD", kind=InstrumentKind.INVERSE, settle="BTC")
INSTRUMENTS = {"spot": SPOT, "linear": LINEAR, "inverse": INVERSE}
ACCOUNT = frozenset({Subscription(channel=Channel.ACCOUNT)})

Script = Callable[[web.WebSocketResponse], Awaitable[None]]


def bar(market: str, interval: str = "1m") -> Subscription:
    return Subscription(channel=Channel.BAR, instrument=INSTRUMENTS[market], interval=Interval.parse(interval))


def of(channel: Channel, market: str) -> Subscription:
    return Subscription(channel=channel, instrument=INSTRUMENTS[market])


def everything(market: str) -> frozenset[Subscription]:
    channels = [Channel.TRADE, Channel.QUOTE, Channel.BOOK, *([Channel.MARK] if market != "spot" else [])]
    return frozenset({bar(market), *(of(channel, market) for channel in channels)})


class Heard:
    """A sink that can be waited on."""

    def __init__(self) -> None:
        self.events: list[StreamEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: StreamEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, condition: Callable[["Heard"], bool]) -> None:
        while not condition(self):
            self._news.clear()
            await self._news.wait()

    @property
    def states(self) -> list[StreamState]:
        return [event.state for event in self.events if isinstance(event, StreamStatus)]

    @property
    def news(self) -> list[StreamEvent]:
        return [event for event in self.events if not isinstance(event, StreamStatus)]


async def answer(connection: web.WebSocketResponse, **changes: Any) -> dict[str, Any]:
    """Take one request and accept it, as the public sockets of contracts do."""
    request: dict[str, Any] = await connection.receive_json()
    told = {"success": True, "ret_msg": "", "conn_id": "c1", "req_id": request.get("req_id", ""), "op": request["op"]}
    await connection.send_json({**told, **changes})
    return request


async def push(connection: web.WebSocketResponse, frames: Iterable[Any]) -> None:
    for frame in frames:
        await connection.send_str(frame if isinstance(frame, str) else json.dumps(frame))


def lost(
    script: Script,
    wanted: Iterable[Subscription] | Wanted,
    market: str = "linear",
    *,
    ready: Callable[[Heard], bool] | None = None,
    options: dict[str, str] | None = None,
    dead_man_s: float | None = None,
    let_in: Callable[[], None] = lambda: None,
    **kwargs: Any,
) -> tuple[BtxError | None, Heard]:
    """Run a stream until it ends by itself, or until ``ready``; nothing of it is left behind.

    ``let_in`` is called as each connection is about to stand.
    """

    async def play(request: web.Request) -> web.StreamResponse:
        let_in()
        return await socket(script)(request)

    async def run() -> tuple[BtxError | None, Heard, list[Any]]:
        unseen: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        heard, error = Heard(), None
        routes = dict.fromkeys((f"GET /v5/public/{market}", "GET /v5/private"), play)
        async with serve(routes) as where, connected(where, **kwargs) as context:
            settings = attrs.evolve(context.settings, options=options or {})
            mine = attrs.evolve(context, market=market, settings=settings, dead_man_s=dead_man_s)
            wishes = Wishes(wanted) if isinstance(wanted, frozenset | set | tuple | list) else wanted
            running = asyncio.ensure_future(BybitStream(mine).run(wanted=wishes, sink=heard))  # type: ignore[arg-type]
            async with asyncio.timeout(60):
                if ready is not None:
                    await heard.until(ready)
                    running.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await running
                else:
                    with pytest.raises(BtxError) as caught:
                        await running
                    error = caught.value
        assert not await others()
        gc.collect()  # an exception nobody looked at is told when its future goes
        await asyncio.sleep(0)
        return error, heard, unseen

    error, heard, unseen = asyncio.run(run())
    assert unseen == []
    return error, heard
