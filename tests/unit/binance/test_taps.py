"""What a recording is made of: every frame and every request, as it was, in its order."""

import asyncio
import json
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.config import Secret
from btx.errors import BtxError, TransportError
from btx.model.frames import Frame, FrameKind
from btx.model.time import Interval
from btx.model.venue import Channel, StreamStatus, Subscription
from btx.ports import Context
from btx_binance.archive import Archive
from btx_binance.spot.store import SpotStore
from btx_binance.spot.stream import SpotStream
from tests.e2e.forward_proxy import forward_proxy
from tests.unit.binance.loopback import acknowledge, answer, connected, instrument, serve, socket


class _Tape:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.numbers = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def __call__(self, frame: Frame) -> None:
        self.frames.append(frame)

    @property
    def kinds(self) -> list[str]:
        return [frame.kind.value for frame in self.frames]


class _Fixed:
    def __init__(self, *subscriptions: Subscription) -> None:
        self.now = frozenset(subscriptions)

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        await asyncio.Event().wait()
        raise AssertionError


def _taped(context: Context, tape: _Tape) -> Context:
    return attrs.evolve(context, tap=tape)


def test_a_market_connection_is_told_from_its_dial_to_its_closing_code() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await connection.send_str("no json")
        await connection.send_bytes(b"\x00")
        await connection.close(code=1001)

    async def run() -> _Tape:
        tape = _Tape()
        async with serve({"GET /stream": socket(script)}) as where, connected(where) as context:
            wanted = _Fixed(Subscription(channel=Channel.TRADE, instrument=instrument()))
            with pytest.raises(TransportError):
                await SpotStream(_taped(context, tape)).run(wanted=wanted, sink=lambda _: None)
        return tape

    tape = asyncio.run(run())

    assert tape.kinds == ["opened", "received", "received", "closed"]
    opened, text, raw, closed = tape.frames
    assert opened.url.endswith("/stream?streams=btcusdt@aggTrade")
    assert (text.text, raw.text) == ("no json", b"\x00")
    assert closed.code == 1001
    assert {frame.connection for frame in tape.frames} == {1}


@pytest.mark.parametrize("ending", ["close", "cut"])
def test_an_account_connection_is_told_with_what_was_sent_over_it(ending: str) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        if ending == "close":
            await connection.close(code=1012)
        else:
            assert connection._req is not None
            assert connection._req.transport is not None
            connection._req.transport.abort()

    async def run() -> _Tape:
        tape = _Tape()
        async with serve({"GET /ws-api/v3": socket(script)}) as where, connected(where) as context:
            wanted = _Fixed(Subscription(channel=Channel.ACCOUNT))
            with pytest.raises(TransportError):
                await SpotStream(_taped(context, tape)).run(wanted=wanted, sink=lambda _: None)
        return tape

    tape = asyncio.run(run())

    assert tape.kinds == ["opened", "sent", "received", "closed"]
    assert json.loads(tape.frames[1].text)["method"] == "userDataStream.subscribe.signature"
    assert json.loads(tape.frames[2].text)["status"] == 200
    assert tape.frames[3].code == (1012 if ending == "close" else None)


def test_a_connection_that_is_hung_up_is_told_closed_once() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await acknowledge(connection)
        await connection.receive()

    async def run() -> _Tape:
        tape = _Tape()
        async with serve({"GET /ws-api/v3": socket(script)}) as where, connected(where) as context:
            up = asyncio.Event()
            wanted = _Fixed(Subscription(channel=Channel.ACCOUNT))

            def sink(event: Any) -> None:
                if isinstance(event, StreamStatus):
                    up.set()

            running = asyncio.ensure_future(SpotStream(_taped(context, tape)).run(wanted=wanted, sink=sink))
            await asyncio.wait_for(up.wait(), 60)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return tape

    assert asyncio.run(run()).kinds.count("closed") == 1


def test_requests_and_their_answers_carry_one_number_also_side_by_side() -> None:
    async def slow(_: web.Request) -> web.Response:
        await asyncio.sleep(0)
        return web.json_response({"serverTime": 5}, headers={"Retry-After": "3", "Set-Cookie": "a=b"})

    async def run() -> _Tape:
        tape = _Tape()
        async with serve({"GET /api/v3/time": slow}) as where, connected(where) as context:
            store = SpotStore(_taped(context, tape))
            await asyncio.gather(*(store.server_time_ns() for _ in range(3)))
        return tape

    tape = asyncio.run(run())

    requests = [each for each in tape.frames if each.kind is FrameKind.REQUEST]
    answers = [each for each in tape.frames if each.kind is FrameKind.ANSWER]
    assert len(requests) == 3
    assert {each.connection for each in requests} == {each.connection for each in answers}
    assert all((each.method, each.url.endswith("/api/v3/time")) == ("GET", True) for each in requests)
    assert all((each.code, each.text) == (200, '{"serverTime": 5}') for each in answers)
    assert all("Retry-After" in each.headers and "Set-Cookie" not in each.headers for each in answers)


def test_a_request_that_was_refused_and_one_nobody_answered_are_told_too() -> None:
    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def run() -> _Tape:
        tape = _Tape()
        handlers = {
            "GET /api/v3/time": cut,
            "GET /api/v3/exchangeInfo": answer({"code": -1003, "msg": "no"}, status=429),
        }
        async with serve(handlers) as where, connected(where) as context:
            store = SpotStore(_taped(context, tape))
            with pytest.raises(BtxError):
                await store.server_time_ns()
            with pytest.raises(BtxError):
                await store.instruments()
        return tape

    answers = [each for each in asyncio.run(run()).frames if each.kind is FrameKind.ANSWER]

    assert [each.code for each in answers] == [None, 429]
    assert answers[0].text == "ServerDisconnectedError"
    assert "-1003" in answers[1].text


def test_the_archive_goes_through_the_proxy_too_and_names_it_when_it_is_gone() -> None:
    async def missing(_: web.Request) -> web.Response:
        return web.Response(status=404)

    async def run(url: str) -> Any:
        async with serve({"GET /{path:.*}": missing}) as where, connected(where) as context:
            at = attrs.evolve(where, extra={"archive": where.rest})
            settings = attrs.evolve(context.settings, proxy=Secret(url))
            archive = Archive(attrs.evolve(context, endpoints=at, settings=settings))
            return await archive.bars(instrument(), Interval.parse("1m"), 2025, 5)

    with forward_proxy() as proxy:
        assert asyncio.run(run(proxy.url)) is None
        (line,) = proxy.log
        url = proxy.url

    assert line.endswith("/data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-05.zip.CHECKSUM")
    with pytest.raises(TransportError, match=f"127.0.0.1:{proxy.port}|{proxy.port}") as caught:
        asyncio.run(run(url))
    assert "p%40ss" not in str(caught.value)
    assert caught.value.__cause__ is None
