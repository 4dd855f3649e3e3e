"""A control server as a simulator has it, over a toy venue: a script says what each step of the market brings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import WSMsgType, web

from btx.model.time import NS_PER_MINUTE
from btx.model.venue import Endpoints, SimAccount, SimClock
from tests.toy_venue import DEADLINE_S, ToyVenue

ACCOUNT = SimAccount(api_key="toy-key", api_secret="toy-secret", balances={})


@attrs.define(kw_only=True)
class ControlPeer:
    """Answers ``hello sync advance ledger bars``; a step closes one minute and does what ``on_step`` says."""

    toy: ToyVenue
    first_minute: int = 100
    last_minute: int = 103
    symbols: tuple[str, ...] = ("BTC/USDT",)
    on_step: Callable[[int], None] = lambda _minute: None
    told: list[Any] = attrs.field(factory=list)  # what each step says was pushed beside the bars
    answers_first: bool = False  # the reply overtakes the frames of its step
    silent: set[str] = attrs.field(factory=set)  # operations that get no answer
    refused: set[str] = attrs.field(factory=set)
    speed: float | None = None
    asked: list[str] = attrs.field(factory=list)
    minute: int = attrs.field(init=False)
    sockets: list[web.WebSocketResponse] = attrs.field(factory=list)
    url: str = ""
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        self.minute = self.first_minute

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Endpoints]:
        app = web.Application()
        app.router.add_get("/", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"ws://{host}:{port}/"
        try:
            yield Endpoints(
                rest="",
                stream="",
                trading_stream="",
                control=self.url,
                accounts=(ACCOUNT,),
                clock=SimClock(
                    wire_origin_ns=self.toy.now_ns,
                    market_origin_ns=self.first_minute * NS_PER_MINUTE,
                    speed=self.speed,
                ),
            )
        finally:
            await self.hang_up()
            await runner.cleanup()

    async def until_asked(self, op: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while op not in self.asked:
                self.changed.clear()
                await self.changed.wait()

    async def hang_up(self) -> None:
        for socket in self.sockets:
            await socket.close()

    async def push(self, message: Any) -> None:
        for socket in self.sockets:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_json(message))

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            async for message in socket:
                assert message.type is WSMsgType.TEXT
                asked = message.json()
                self.asked.append(asked["op"])
                self.changed.set()
                if asked["op"] in self.silent:
                    continue
                if asked["op"] in self.refused:
                    await socket.send_json({"id": asked["id"], "error": "not today"})
                    continue
                await self._answer(socket, asked)
        finally:
            self.sockets.remove(socket)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        reply: dict[str, Any]
        match asked["op"]:
            case "sync":
                reply = {"sequence": self.toy.sequence}
            case "advance":
                minute, self.minute = self.minute, self.minute + 1
                if not self.answers_first:
                    self._play(minute)
                else:
                    asyncio.get_running_loop().call_later(0.01, self._play, minute)
                reply = {
                    "market_ns": (minute + 1) * NS_PER_MINUTE,
                    "ended": minute >= self.last_minute,
                    "sequence": self.toy.sequence,
                    "closed": [[symbol.replace("/", ""), "1m", minute * NS_PER_MINUTE] for symbol in self.symbols],
                    "told": self.told,
                }
            case "ledger":
                balances = {asset: {"free": str(total), "locked": "0"} for asset, total in self.toy.balances.items()}
                reply = {"balances": balances, "fills": [], "api_key": asked["api_key"]}
            case _:
                reply = {"played": self.minute - self.first_minute, "symbol": asked.get("symbol")}
        await socket.send_json({"id": asked["id"], **reply})

    def _play(self, minute: int) -> None:
        self.on_step(minute)
        for symbol in self.symbols:
            self.toy.close_bar(minute, symbol=symbol)
