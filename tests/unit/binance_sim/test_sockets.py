import asyncio
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from btx.sim.faults import Where
from btx.sim.skin import connections, sockets
from btx_binance.sim.faults import SPOT, Mishaps, Trouble
from btx_binance.sim.meters import Meters
from btx_binance.sim.ws import HABITS
from tests.unit.binance_sim.served import NOON_NS, served
from tests.unit.sim.toys import world as toy_world


def test_the_server_pings_and_a_client_that_answers_stays() -> None:
    async def main() -> Any:
        async with served() as client, client.control() as do:
            await do("terms", ping_s=0.01)
            url = f"{client.endpoints.stream}/ws-api/v3"
            async with client.http.ws_connect(url, autoping=False) as socket:
                pings = []
                for _ in range(3):
                    message = await socket.receive(timeout=60)
                    pings.append(message.type)
                    await socket.pong(message.data)
                await socket.ping(b"mine")
                while (message := await socket.receive(timeout=60)).type is aiohttp.WSMsgType.PING:
                    pass
                return pings, message

    pings, answer = asyncio.run(main())

    assert pings == [aiohttp.WSMsgType.PING] * 3
    assert (answer.type, bytes(answer.data)) == (aiohttp.WSMsgType.PONG, b"mine")


@pytest.mark.parametrize("limit", ["pong_s", "life_s"])
def test_a_client_that_does_not_answer_or_is_too_old_is_disconnected(limit: str) -> None:
    async def main() -> Any:
        async with served() as client, client.control() as do:
            await do("terms", ping_s=0.01, **{limit: 0.02})
            url = f"{client.endpoints.stream}/ws"
            async with client.http.ws_connect(url, autoping=False) as socket:
                while (message := await socket.receive(timeout=60)).type is aiohttp.WSMsgType.PING:
                    pass
                return message.type

    assert asyncio.run(main()) in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


def test_a_client_that_reads_nothing_is_cut_off_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_FLUSH_S", 0.05)
    handshake = (
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    async def main() -> Any:
        world = toy_world()
        mishaps = Mishaps(world, Trouble(meters=Meters(), failures=SPOT))
        opening = connections.Connections(mishaps, HABITS, wire_ns=world.wire_ns)
        opened: asyncio.Future[sockets.Connection] = asyncio.get_running_loop().create_future()
        ended = asyncio.Event()

        def session(connection: sockets.Connection) -> Any:
            opened.set_result(connection)
            return None, ended.set

        async def serve(request: web.Request) -> web.StreamResponse:
            return await opening.serve(request, session, where=Where.MARKET_STREAM, messages_per_s=None)

        app = web.Application()
        app.router.add_get("/", serve)
        async with TestServer(app) as server:
            _, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
            writer.write(handshake.encode())
            connection = await opened
            for _ in range(3):
                connection.put("x" * 10_000_000)
            await opening.flush()
            await asyncio.wait_for(ended.wait(), 60)
            connection.put("too late")
            await opening.flush()
            writer.transport.abort()
            return True

    assert asyncio.run(main())


def test_a_client_with_too_many_frames_ahead_of_it_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "_OUTBOX_FRAMES", 3)

    async def main() -> Any:
        async with served() as client, client.control() as do, client.socket("/ws/btcusdt@trade") as socket:
            await do("advance", api_key="alice")
            messages = []
            while not messages or messages[-1] is aiohttp.WSMsgType.TEXT:
                messages.append((await socket.receive(timeout=60)).type)
            return messages

    messages = asyncio.run(main())

    assert messages[-1] is not aiohttp.WSMsgType.TEXT
    assert len(messages) <= 4


def test_an_address_opens_three_hundred_sockets_in_five_minutes_and_no_more() -> None:
    async def main() -> Any:
        world = toy_world()
        now_ns = NOON_NS
        mishaps = Mishaps(world, Trouble(meters=Meters(), failures=SPOT))
        opening = connections.Connections(mishaps, attrs.evolve(HABITS, dials=2), wire_ns=lambda: now_ns)

        def session(connection: sockets.Connection) -> Any:
            return None, connection.abort

        async def serve(request: web.Request) -> web.StreamResponse:
            return await opening.serve(request, session, where=Where.MARKET_STREAM, messages_per_s=None)

        async def opens() -> bool:
            try:
                async with http.ws_connect(server.make_url("/")):
                    return True
            except aiohttp.WSServerHandshakeError as error:
                return error.status != 429

        app = web.Application()
        app.router.add_get("/", serve)
        async with TestServer(app) as server, aiohttp.ClientSession() as http:
            opened = [await opens() for _ in range(3)]
            now_ns += HABITS.dials_s * 10**9
            return [*opened, await opens()]

    assert asyncio.run(main()) == [True, True, False, True]
    assert (HABITS.dials, HABITS.dials_s) == (300, 300)
