"""What the control channel can do to the sockets of a venue that runs."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from tests.unit.binance_sim.served import served
from tests.unit.binance_sim.test_faults import CUT, DEADLINE_S, Bench, bench, closing

KLINE = "btcusdt@kline_1m"


def sockets(scene: Callable[[Bench], Awaitable[Any]]) -> Any:
    return bench(scene)


async def listed(at: Bench) -> list[dict[str, Any]]:
    return (await at.do("sockets"))["sockets"]  # type: ignore[no-any-return]


async def strike(at: Bench, kind: str, *, sockets: Any = None, stream: str | None = None, **fault: Any) -> Any:
    fault = {"kind": kind, "where": "market_stream", **fault}
    return await at.do("strike", fault=fault, sockets=sockets, stream=stream)


def test_the_open_sockets_are_told_with_what_they_subscribe() -> None:
    async def scene(at: Bench) -> None:
        async with at.bars() as one, at.client.socket("/stream?streams=ethusdt@trade/btcusdt@depth") as two:
            await at.do("strike", fault={"kind": "silence", "where": "market_stream"}, stream=KLINE)
            first, second = await listed(at)
            counts = (await at.do("sockets"))["counts"]
            await two.send_json({"method": "UNSUBSCRIBE", "params": ["ethusdt@trade"], "id": 1})
            await two.receive_json(timeout=DEADLINE_S)
            after = (await listed(at))[1]
            assert not one.closed
        assert first == {
            "number": 1,
            "where": "market_stream",
            "subscriptions": [KLINE],
            "silent": [KLINE],
            "is_mute": False,
        }
        assert second["subscriptions"] == ["btcusdt@depth", "ethusdt@trade"]
        assert after["subscriptions"] == ["btcusdt@depth"]
        assert counts == {"dials": 2, "opened": 2, "open": 2}

    sockets(scene)


@pytest.mark.parametrize(("form", "code"), list(enumerate((None, 1001, None, 1000, 1008))))
def test_a_commanded_cut_ends_the_sockets_that_are_named_and_no_others(form: int, code: int | None) -> None:
    async def scene(at: Bench) -> None:
        async with at.bars() as one, at.bars() as two:
            assert (await strike(at, "cut", sockets=[1], form=form))["sockets"] == [1]
            assert await closing(one) == code
            await at.advance()
            assert (await two.receive_json(timeout=DEADLINE_S))["e"] == "kline"
        assert await at.struck() == ["cut"]

    sockets(scene)


def test_a_half_open_socket_answers_neither_pings_nor_a_good_bye() -> None:
    async def scene(at: Bench) -> None:
        url = f"{at.client.endpoints.stream}/ws/{KLINE}"
        socket = await at.client.http.ws_connect(url, autoping=False, timeout=aiohttp.ClientWSTimeout(ws_close=0.2))
        await strike(at, "half_open", for_s=0)
        await at.advance()
        await socket.ping()
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.2)
        assert (await listed(at))[0]["is_mute"]
        await socket.close()
        assert socket.close_code == aiohttp.WSCloseCode.ABNORMAL_CLOSURE  # no good-bye came back
        async with asyncio.timeout(DEADLINE_S):
            while await listed(at):
                pass

    sockets(scene)


def test_blocked_sockets_are_cut_and_refused_until_they_are_let_in_and_requests_go_on() -> None:
    async def scene(at: Bench) -> None:
        async with at.bars() as socket:
            await at.do("block", form=1)
            await closing(socket)
            for path in ("/ws", "/stream", "/ws-api/v3"):
                with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                    await at.client.http.ws_connect(f"{at.client.endpoints.stream}{path}")
            assert (await at.client.get("/api/v3/ping"))[0] == 200
        await at.do("unblock")
        async with at.bars() as socket:
            await at.advance()
            assert (await socket.receive_json(timeout=DEADLINE_S))["e"] == "kline"

    sockets(scene)


def test_a_port_that_refuses_is_refused_by_the_kernel_and_comes_back() -> None:
    async def scene(at: Bench) -> None:
        async with at.bars() as socket:
            await strike(at, "outage", where="any", form=1, for_s=1.0)
            await closing(socket)
            with pytest.raises(aiohttp.ClientConnectorError):
                await at.client.get("/api/v3/ping")
            await strike(at, "outage", where="any", form=1, for_s=0.3)  # again, before it is over
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError, *CUT):
                    assert (await at.client.get("/api/v3/ping"))[0] == 200
                    break

    sockets(scene)


def test_a_ban_can_be_commanded() -> None:
    async def scene(at: Bench) -> None:
        await strike(at, "ban", where="market", for_s=60.0)
        assert (await at.client.get("/api/v3/ping"))[0] == 418

    sockets(scene)


def test_sockets_live_as_long_as_the_terms_say_and_are_told_before() -> None:
    async def scene(at: Bench) -> None:
        await at.do("terms", life_s=0.2, notice_s=0.15, ping_s=10, pong_s=5)
        async with at.client.socket(f"/stream?streams={KLINE}") as socket:
            notice = await socket.receive_json(timeout=DEADLINE_S)
            assert (notice["stream"], notice["data"]["e"]) == ("serverShutdown", "serverShutdown")
            assert await closing(socket) == aiohttp.WSCloseCode.GOING_AWAY

    sockets(scene)


def test_the_number_of_dials_can_be_limited_further() -> None:
    async def scene(at: Bench) -> None:
        await at.do("terms", dials=1)
        async with at.bars():
            with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
                await at.client.http.ws_connect(f"{at.client.endpoints.stream}/ws")

    sockets(scene)


def test_the_truth_is_the_closed_bars() -> None:
    async def scene(at: Bench) -> None:
        for _ in range(3):
            await at.advance()
        now_ns = (await at.do("hello"))["market_ns"]
        asked = {"symbol": "BTCUSDT", "interval": "1m", "start_ns": 0, "end_ns": now_ns}
        bars = (await at.do("truth", **asked, limit=10))["bars"]
        _, klines, _ = await at.client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m", limit=3)
        assert [[bar[0] // 10**6, *map(float, bar[1:])] for bar in bars] == [
            [kline[0], *map(float, kline[1:6])] for kline in klines
        ]
        assert len((await at.do("truth", **asked, limit=2))["bars"]) == 2
        assert "interval, start_ns" in (await at.do("truth", symbol="BTCUSDT"))["error"]

    sockets(scene)


@pytest.mark.parametrize(
    ("op", "arguments", "why"),
    [
        ("strike", {"fault": {"kind": "meteor"}}, "no fault: 'meteor'"),
        ("strike", {"fault": {"kind": "lose", "where": "place"}}, "lose waits for its occurrence"),
        ("strike", {"fault": {"kind": "cut", "where": "market_stream"}, "sockets": "all"}, "a list of numbers"),
        ("strike", {"fault": {"kind": "cut", "where": "market_stream"}, "sockets": [9]}, "no socket 9"),
        ("strike", {"fault": {"kind": "silence"}, "stream": KLINE}, "no such socket reads"),
        ("terms", {"life": 3}, "unknown terms life: write"),
        ("terms", {"life_s": "long"}, "life_s='long': write a number"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(op: str, arguments: dict[str, Any], why: str) -> None:
    async def main() -> Any:
        async with served() as client, client.control() as do:
            return await do(op, **arguments)

    assert why in asyncio.run(main())["error"]
