"""Every kind of fault, done once to a client that speaks to the skin by hand."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import attrs
import pytest

from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from btx_binance.sim import market_data, trading
from btx_binance.sim.faults import operation_of
from tests.unit.binance_sim.served import Client, served
from tests.unit.binance_sim.test_ws_api import Api

MARKET = {"side": "BUY", "type": "MARKET", "quantity": "0.01"}
CUT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
DEADLINE_S = 60.0


@attrs.define(kw_only=True)
class Bench:
    """A client, and what the simulator itself says happened."""

    client: Client
    do: Any

    async def orders(self) -> int:
        return len((await self.do("ledger", api_key="alice"))["orders"])

    async def script(self, *faults: Fault) -> None:
        text = script_to_json(FaultScript(faults=faults))
        assert (await self.do("faults", script=json.loads(text)))["faults"] == len(faults)

    async def struck(self) -> list[str]:
        return [entry["fault"]["kind"] for entry in (await self.do("fault_log"))["log"]]

    async def cut(self, request: Awaitable[Any]) -> None:
        with pytest.raises(CUT):
            await request

    async def until_served(self) -> None:
        """Ask until the venue is well again."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with contextlib.suppress(*CUT):
                    if (await self.client.get("/api/v3/ping"))[0] == 200:
                        return

    @contextlib.asynccontextmanager
    async def account(self) -> AsyncIterator[Api]:
        """A socket that hears what happens to the account."""
        async with self.client.socket("/ws-api/v3") as socket:
            api = Api(self.client, socket)
            assert (await api.signed("userDataStream.subscribe.signature"))["status"] == 200
            yield api

    @contextlib.asynccontextmanager
    async def bars(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.client.socket("/ws/btcusdt@kline_1m") as socket:
            yield socket

    async def advance(self) -> None:
        assert "market_ns" in await self.do("advance", api_key="alice")


def bench(scene: Callable[[Bench], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with served() as client, client.control() as do, asyncio.timeout(60):
            return await scene(Bench(client=client, do=do))

    return asyncio.run(main())


async def names(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[str]:
    return [(await socket.receive_json(timeout=DEADLINE_S))["event"]["e"] for _ in range(count)]


async def closing(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read to the end of a socket and return the code of its good-bye, None when it was cut."""
    while (message := await socket.receive(timeout=DEADLINE_S)).type is aiohttp.WSMsgType.TEXT:
        pass
    return message.data if message.type is aiohttp.WSMsgType.CLOSE else None


# --- one scene per kind ----------------------------------------------------------------------------------


async def drop(at: Bench) -> None:
    await at.script(Fault(kind=Kind.DROP, where=Where.PLACE))
    await at.cut(at.client.order(**MARKET))
    assert await at.orders() == 0
    assert (await at.client.order(**MARKET))[0] == 200


async def lose(at: Bench) -> None:
    await at.script(Fault(kind=Kind.LOSE, where=Where.PLACE, at=2))
    assert (await at.client.order(**MARKET))[0] == 200
    await at.cut(at.client.order(**MARKET))
    assert await at.orders() == 2


async def error_before(at: Bench) -> None:
    await at.script(*(Fault(kind=Kind.ERROR_BEFORE, where=Where.PLACE, at=1 + form, form=form) for form in range(3)))
    answers = [await at.client.order(**MARKET) for _ in range(3)]
    assert [(status, body["code"]) for status, body, _ in answers] == [(503, -1008), (500, -1001), (503, -1016)]
    assert await at.orders() == 0


async def error_after(at: Bench) -> None:
    await at.script(*(Fault(kind=Kind.ERROR_AFTER, where=Where.PLACE, at=1 + form, form=form) for form in range(3)))
    answers = [await at.client.order(**MARKET) for _ in range(3)]
    assert [(status, body["code"]) for status, body, _ in answers] == [(503, -1007), (500, -1006), (503, -1000)]
    assert await at.orders() == 3


async def rate_limit(at: Bench) -> None:
    await _refused(at, Kind.RATE_LIMIT, 429)


async def ban(at: Bench) -> None:
    await _refused(at, Kind.BAN, 418)


async def _refused(at: Bench, kind: Kind, expected: int) -> None:
    await at.script(Fault(kind=kind, where=Where.PLACE, for_s=1.9))
    status, body, headers = await at.client.order(**MARKET)
    assert (status, body["code"], headers["Retry-After"]) == (expected, -1003, "2")
    assert (await at.client.get("/api/v3/ping"))[0] == expected  # all else, until it is over
    await at.until_served()
    assert (await at.client.order(**MARKET))[0] == 200
    assert await at.orders() == 1


async def key_expiry(at: Bench) -> None:
    await at.script(Fault(kind=Kind.KEY_EXPIRY, where=Where.ACCOUNT, count=2))
    answers = [await at.client.signed("GET", "/api/v3/account") for _ in range(3)]
    assert [status for status, _, _ in answers] == [401, 401, 200]
    assert answers[0][1]["code"] == -2015
    await at.script(Fault(kind=Kind.KEY_EXPIRY, where=Where.QUERY, for_s=60.0))
    assert (await at.client.signed("GET", "/api/v3/openOrders"))[0] == 401
    assert (await at.client.signed("GET", "/api/v3/account"))[0] == 401
    assert (await at.client.get("/api/v3/ping"))[0] == 200


async def ack_after_fill(at: Bench) -> None:
    await at.script(Fault(kind=Kind.ACK_AFTER_FILL, where=Where.PLACE, for_s=1.0))
    async with at.account() as api:
        placing = asyncio.create_task(at.client.order(**MARKET))
        assert await names(api.socket, 3) == ["executionReport", "executionReport", "outboundAccountPosition"]
        assert not placing.done()
        assert (await placing)[1]["status"] == "FILLED"


async def delay(at: Bench) -> None:
    await at.script(
        Fault(kind=Kind.DELAY, where=Where.PLACE, for_s=0.2), Fault(kind=Kind.DELAY, where=Where.ACCOUNT_STREAM)
    )
    loop = asyncio.get_running_loop()
    async with at.account() as api:
        placing = asyncio.create_task(at.client.order(**MARKET))
        began_s = loop.time()
        assert "sequence" in await at.do("sync", api_key="alice")  # what is late holds up nobody
        assert await names(api.socket, 3) == ["executionReport", "executionReport", "outboundAccountPosition"]
        assert (await placing)[0] == 200
        assert loop.time() - began_s >= 0.2


async def half_open(at: Bench) -> None:
    await at.script(
        Fault(kind=Kind.HALF_OPEN, where=Where.PLACE, for_s=0.1),
        Fault(kind=Kind.HALF_OPEN, where=Where.ACCOUNT_STREAM, at=2, for_s=0.1),
    )
    await at.cut(at.client.order(**MARKET))
    assert await at.orders() == 0
    async with at.account() as api:
        assert (await at.client.order(**MARKET))[0] == 200
        await at.do("sync", api_key="alice")
        await api.socket.send_str("anybody there?")
        assert await names(api.socket, 1) == ["executionReport"]
        assert await closing(api.socket) is None


async def truncate(at: Bench) -> None:
    await at.script(
        *(Fault(kind=Kind.TRUNCATE, where=Where.PLACE, at=1 + form, form=form) for form in range(3)),
        *(Fault(kind=Kind.TRUNCATE, where=Where.ACCOUNT_STREAM, at=1 + form, form=form) for form in range(2)),
    )
    async with at.account() as api:
        for error in (aiohttp.ClientPayloadError, json.JSONDecodeError, json.JSONDecodeError):
            with pytest.raises(error):
                await at.client.order(**MARKET)
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                await api.socket.receive_json(timeout=DEADLINE_S)
        assert await names(api.socket, 1) == ["outboundAccountPosition"]
    assert await at.orders() == 3


async def clock_jump(at: Bench) -> None:
    before_ms = await at.client.server_time()
    await at.script(Fault(kind=Kind.CLOCK_JUMP, where=Where.MARKET, offset_s=-2.5, for_s=0.5))
    assert await at.client.server_time() == before_ms - 2500
    async with asyncio.timeout(DEADLINE_S):
        while await at.client.server_time() != before_ms:
            pass


async def outage(at: Bench) -> None:
    async with at.account() as api, at.bars() as bars:
        assert (await at.client.order(**MARKET))[0] == 200
        await at.script(Fault(kind=Kind.OUTAGE, where=Where.PLACE, for_s=1.5))
        await at.cut(at.client.order(**MARKET))
        await closing(api.socket)
        await closing(bars)
        await at.cut(at.client.get("/api/v3/ping"))
        with pytest.raises(aiohttp.ClientError):
            await at.client.http.ws_connect(f"{at.client.endpoints.stream}/ws")
        await at.advance()  # the world is there all the time
    await at.until_served()
    assert await at.orders() == 1
    assert len((await at.client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT"))[1]) == 1


async def duplicate(at: Bench) -> None:
    await at.script(Fault(kind=Kind.DUPLICATE, where=Where.MARKET_STREAM))
    async with at.bars() as socket:
        await at.advance()
        await at.advance()
        first, again, second = [await socket.receive_json(timeout=DEADLINE_S) for _ in range(3)]
    assert first == again
    assert first["k"]["t"] < second["k"]["t"]


async def reorder(at: Bench) -> None:
    await at.script(Fault(kind=Kind.REORDER, where=Where.ACCOUNT_STREAM, at=2))
    async with at.account() as api:
        await at.client.order(**MARKET)
        assert await names(api.socket, 3) == ["executionReport", "outboundAccountPosition", "executionReport"]
        await at.script(Fault(kind=Kind.REORDER, where=Where.ACCOUNT_STREAM, at=3, for_s=60.0))
        await at.client.order(**MARKET)
        await at.do("sync", api_key="alice")  # nothing follows: it leaves when the step ends
        assert (await names(api.socket, 3))[2] == "outboundAccountPosition"


async def cut(at: Bench) -> None:
    for form, code in enumerate((None, 1001, None, 1000, 1008)):
        await at.script(Fault(kind=Kind.CUT, where=Where.MARKET_STREAM, at=2, form=form))
        async with at.bars() as socket:
            await at.advance()
            await at.advance()
            assert (await socket.receive_json(timeout=DEADLINE_S))["e"] == "kline"
            assert await closing(socket) == code


async def stream_end(at: Bench) -> None:
    await at.script(Fault(kind=Kind.STREAM_END, where=Where.ACCOUNT_STREAM, at=2))
    async with at.account() as api:
        await at.client.order(**MARKET)
        assert await names(api.socket, 2) == ["executionReport", "eventStreamTerminated"]
        assert (await api.ask("ping"))["status"] == 200  # the socket itself goes on
        assert (await api.signed("userDataStream.subscribe.signature"))["status"] == 200
    assert api.events == []
    await at.script(Fault(kind=Kind.STREAM_END, where=Where.ACCOUNT_STREAM, form=1))
    async with at.account() as api:
        await at.client.order(**MARKET)
        assert await closing(api.socket) == aiohttp.WSCloseCode.GOING_AWAY


async def refuse(at: Bench) -> None:
    await at.script(
        *(Fault(kind=Kind.REFUSE, where=Where.DIAL, at=1 + form, form=form) for form in range(3)),
        Fault(kind=Kind.REFUSE, where=Where.DIAL, at=4, count=2, form=3),  # aiohttp dials once more by itself
        *(Fault(kind=Kind.REFUSE, where=Where.SUBSCRIBE, at=1 + form, form=form) for form in range(2)),
    )
    for status in (503, 403, 429):
        with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
            await at.client.http.ws_connect(f"{at.client.endpoints.stream}/ws")
        assert raised.value.status == status
    await at.cut(at.client.http.ws_connect(f"{at.client.endpoints.stream}/ws"))
    async with at.client.socket("/ws") as socket:
        asked = {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 7}
        answers = []
        for _ in range(3):
            await socket.send_json(asked)
            answers.append(await socket.receive_json(timeout=DEADLINE_S))
        assert [answer["id"] for answer in answers] == [7, 7, 7]
        assert (answers[0]["code"], answers[1]["error"]["code"], answers[2]["result"]) == (2, 2, None)
        await at.advance()
        assert (await socket.receive_json(timeout=DEADLINE_S))["e"] == "kline"


async def silence(at: Bench) -> None:
    await at.script(Fault(kind=Kind.SILENCE, where=Where.MARKET_STREAM))
    async with at.client.socket("/ws/btcusdt@kline_1m") as socket:
        await at.advance()
        for method in ("LIST_SUBSCRIPTIONS", "UNSUBSCRIBE", "SUBSCRIBE"):  # the socket lives
            await at.advance()
            params = [] if method.startswith("LIST") else ["btcusdt@kline_1m"]
            await socket.send_json({"method": method, "params": params, "id": 1})
            answer = await socket.receive_json(timeout=DEADLINE_S)
            assert answer["result"] == (["btcusdt@kline_1m"] if method.startswith("LIST") else None)
        await at.advance()
        assert (await socket.receive_json(timeout=DEADLINE_S))["k"]["x"] is True


async def shutdown(at: Bench) -> None:
    await at.script(Fault(kind=Kind.SHUTDOWN, where=Where.MARKET_STREAM, for_s=0.1))
    async with at.bars() as socket:
        await at.advance()
        assert [(await socket.receive_json(timeout=DEADLINE_S))["e"] for _ in range(2)] == ["serverShutdown", "kline"]
        assert await closing(socket) == aiohttp.WSCloseCode.GOING_AWAY
    await at.script(Fault(kind=Kind.SHUTDOWN, where=Where.ACCOUNT_STREAM, for_s=0.1))
    async with at.account() as api:
        assert (await at.client.order(**MARKET))[0] == 200
        assert (await names(api.socket, 1)) == ["serverShutdown"]
        assert await closing(api.socket) == aiohttp.WSCloseCode.GOING_AWAY


SCENES = {
    Kind(scene.__name__): scene
    for scene in (
        drop,
        lose,
        error_before,
        error_after,
        rate_limit,
        ban,
        key_expiry,
        ack_after_fill,
        delay,
        half_open,
        truncate,
        clock_jump,
        outage,
        duplicate,
        reorder,
        cut,
        stream_end,
        refuse,
        silence,
        shutdown,
    )
}


@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.value)
def test_each_kind_of_fault_happens_to_a_raw_client_as_written(kind: Kind) -> None:
    async def scene(at: Bench) -> None:
        await SCENES[kind](at)
        assert set(await at.struck()) == {kind.value}

    bench(scene)


def test_every_kind_can_be_injected_and_the_list_is_this() -> None:
    print("faults the skin can inject:", ", ".join(kind.value for kind in SCENES))  # noqa: T201 - to be seen

    assert set(SCENES) == set(Kind) - {Kind.LAPSE}  # what Binance answers of an amendment is what came of it


# --- over the WebSocket API ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "orders"), [(Kind.DROP, 0), (Kind.HALF_OPEN, 0), (Kind.LOSE, 1), (Kind.OUTAGE, 0)], ids=str
)
def test_a_request_over_a_socket_disappears_before_or_after_it_was_done(kind: Kind, orders: int) -> None:
    async def scene(at: Bench) -> None:
        await at.script(Fault(kind=kind, where=Where.PLACE, for_s=0.1))
        async with at.client.socket("/ws-api/v3") as socket:
            with pytest.raises((TypeError, aiohttp.WSMessageTypeError)):
                await Api(at.client, socket).signed("order.place", symbol="BTCUSDT", **MARKET)
        assert await at.orders() == orders

    bench(scene)


@pytest.mark.parametrize(
    ("kind", "status", "orders"),
    [(Kind.ERROR_AFTER, 503, 1), (Kind.ERROR_BEFORE, 503, 0), (Kind.RATE_LIMIT, 429, 0), (Kind.KEY_EXPIRY, 401, 0)],
    ids=str,
)
def test_a_request_over_a_socket_is_answered_with_an_error_done_or_not(kind: Kind, status: int, orders: int) -> None:
    async def scene(at: Bench) -> None:
        await at.script(Fault(kind=kind, where=Where.PLACE))
        async with at.client.socket("/ws-api/v3") as socket:
            answer = await Api(at.client, socket).signed("order.place", symbol="BTCUSDT", **MARKET)
        assert answer["status"] == status
        assert "result" not in answer
        assert await at.orders() == orders

    bench(scene)


def test_a_ban_over_a_socket_ends_it_and_half_an_answer_is_no_json() -> None:
    async def scene(at: Bench) -> None:
        await at.script(
            Fault(kind=Kind.TRUNCATE, where=Where.PLACE), Fault(kind=Kind.BAN, where=Where.PLACE, at=2, for_s=0.0)
        )
        async with at.client.socket("/ws-api/v3") as socket:
            api = Api(at.client, socket)
            with pytest.raises(json.JSONDecodeError):
                await api.signed("order.place", symbol="BTCUSDT", **MARKET)
            assert (await api.signed("order.place", symbol="BTCUSDT", **MARKET))["status"] == 418
            assert await closing(socket) == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert await at.orders() == 1

    bench(scene)


# --- classes of operations -------------------------------------------------------------------------------


def test_every_route_has_the_class_its_name_says() -> None:
    classes: dict[Where, set[str]] = {}
    for call in (*market_data.CALLS, *trading.CALLS):
        name = " ".join(call.rest) if call.rest is not None else str(call.method)
        classes.setdefault(operation_of(call), set()).add(name)

    assert {"POST /api/v3/order", "POST /api/v3/order/cancelReplace"} <= classes[Where.PLACE]
    assert {"DELETE /api/v3/order", "DELETE /api/v3/openOrders"} <= classes[Where.CANCEL]
    assert {"GET /api/v3/order", "GET /api/v3/openOrders", "GET /api/v3/myTrades"} <= classes[Where.QUERY]
    assert {"GET /api/v3/account", "GET /api/v3/rateLimit/order"} <= classes[Where.ACCOUNT]
    assert {"GET /api/v3/klines", "GET /api/v3/time"} <= classes[Where.MARKET]
    assert all(name.startswith(("POST", "PUT")) for name in classes[Where.PLACE])
    assert all(name.startswith("DELETE") for name in classes[Where.CANCEL])


def test_the_same_script_leaves_the_same_log() -> None:
    async def scene(at: Bench) -> Any:
        await at.script(
            Fault(kind=Kind.DUPLICATE, where=Where.ACCOUNT_STREAM, at=2, count=2),
            Fault(kind=Kind.LOSE, where=Where.PLACE, at=2),
            Fault(kind=Kind.CUT, where=Where.MARKET_STREAM, at=3),
        )
        async with at.account(), at.bars():
            for _ in range(4):
                with contextlib.suppress(*CUT):
                    await at.client.order(**MARKET)
                await at.advance()
        return await at.do("fault_log")

    first = bench(scene)

    assert [(entry["fault"]["kind"], entry["number"], entry["what"]) for entry in first["log"]] == [
        ("duplicate", 2, "executionReport"),
        ("duplicate", 3, "outboundAccountPosition"),
        ("lose", 2, "POST /api/v3/order"),
        ("cut", 3, "btcusdt@kline_1m"),
    ]
    assert bench(scene) == first
