"""Orders over a socket: signed in, asked once, and never taken for refused when nobody answered."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from btx.errors import (
    AuthenticationError,
    ConfigError,
    InsufficientFundsError,
    OrderNotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
)
from btx.model.venue import Environment
from btx_bybit.api import api
from btx_bybit.broker import BybitBroker
from btx_bybit.config import public_url, stream_url, trade_url
from tests.unit.bybit.rig import KEY, SECRET, context, leg, served

SOCKET = {"order_entry": "websocket"}
Script = Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]]


class TradeDoor:
    """Serves ``/v5/trade``: lets clients in, and has a script answer what they ask."""

    def __init__(self, script: Script, *, auth: dict[str, Any] | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.dials = 0
        self._script = script
        self._auth = auth or {"retCode": 0, "retMsg": "OK"}

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        self.dials += 1
        async for message in connection:
            asked = json.loads(message.data)
            self.asked.append(asked)
            if asked["op"] == "auth":
                await connection.send_json({**self._auth, "op": "auth", "reqId": asked["reqId"]})
            elif asked["op"] != "ping":
                await self._script(connection, asked)
        return connection


def trade(door: TradeDoor, what: Callable[[BybitBroker], Awaitable[Any]], **changes: Any) -> Any:
    async def scene() -> Any:
        app = web.Application()
        app.router.add_get("/v5/trade", door.handle)
        async with served(app) as where, context(where, options=SOCKET, **changes) as given:
            return await what(BybitBroker(given))

    return asyncio.run(scene())


async def take(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
    header = {"X-Bapi-Limit": "10", "X-Bapi-Limit-Status": "9"}
    data = {"orderId": "uuid-1", "orderLinkId": "run1-1"}
    await connection.send_json(
        {"reqId": asked["reqId"], "retCode": 0, "op": asked["op"], "data": data, "header": header}
    )


def refuse(code: int, text: str, header: dict[str, str] | None = None) -> Script:
    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        said = {"reqId": asked["reqId"], "retCode": code, "retMsg": text, "op": asked["op"], "header": header or {}}
        await connection.send_json(said)

    return script


async def hang_up(connection: web.WebSocketResponse, _: dict[str, Any]) -> None:
    await connection.close()


def test_a_connection_is_signed_in_once_and_kept() -> None:
    told: list[tuple[str, int]] = []
    door = TradeDoor(take)

    async def what(broker: BybitBroker) -> None:
        receipt = await broker.place(leg=leg())
        assert receipt.venue_order_id == "uuid-1"
        await broker.cancel(leg=leg(), venue_order_id="uuid-1")

    trade(door, what, observe=lambda limit, units: told.append((limit, units)))

    signed_in, placed, cancelled = door.asked
    key, expires_ms, signature = signed_in["args"]
    expected = hmac.new(SECRET.encode(), f"GET/realtime{expires_ms}".encode(), hashlib.sha256).hexdigest()
    assert (key, signature) == (KEY, expected)
    assert (placed["op"], cancelled["op"]) == ("order.create", "order.cancel")
    assert placed["header"] == {"X-BAPI-TIMESTAMP": "1700000000123", "X-BAPI-RECV-WINDOW": "5000"}
    assert placed["args"][0]["orderLinkId"] == "run1-1"
    assert placed["reqId"] != cancelled["reqId"]
    assert max(len(placed["reqId"]), len(cancelled["reqId"])) <= 36
    assert door.dials == 1
    assert told == [("create", 1), ("cancel", 1)]


def test_a_refusal_on_the_socket_is_what_it_is_over_rest() -> None:
    with pytest.raises(InsufficientFundsError, match=r"ab not enough \[110007\]$"):
        trade(TradeDoor(refuse(110007, "ab not enough")), lambda broker: broker.place(leg=leg()))
    gone = TradeDoor(refuse(110001, "order not exists or too late to cancel"))
    with pytest.raises(OrderNotFoundError):
        trade(gone, lambda broker: broker.cancel(leg=leg(), venue_order_id="uuid-1"))


def test_a_limit_on_the_socket_is_as_long_as_it_is_by_the_clock_of_the_venue() -> None:
    header = {"Timenow": "1700000060123", "X-Bapi-Limit-Reset-Timestamp": "1700000062123"}  # ours is a minute behind
    with pytest.raises(RateLimitedError) as caught:
        trade(TradeDoor(refuse(10006, "Too many visits!", header)), lambda broker: broker.place(leg=leg()))
    assert caught.value.retry_after_s == 2.0


def test_what_left_and_was_not_answered_may_have_been_done() -> None:
    with pytest.raises(OutcomeUnknownError):
        trade(TradeDoor(hang_up), lambda broker: broker.place(leg=leg()))
    with pytest.raises(OutcomeUnknownError):
        trade(TradeDoor(refuse(10016, "Service is restarting")), lambda broker: broker.place(leg=leg()))


def test_an_answer_without_a_code_is_no_refusal() -> None:
    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        await connection.send_json({"reqId": asked["reqId"], "op": asked["op"]})

    with pytest.raises(OutcomeUnknownError, match=r"answer to order\.create says nothing"):
        trade(TradeDoor(script), lambda broker: broker.place(leg=leg()))


def test_the_next_order_dials_anew_after_a_loss() -> None:
    answers = [hang_up, take]

    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        await answers.pop(0)(connection, asked)

    async def what(broker: BybitBroker) -> str | None:
        with pytest.raises(OutcomeUnknownError):
            await broker.place(leg=leg())
        return (await broker.place(leg=leg())).venue_order_id

    door = TradeDoor(script)

    assert trade(door, what) == "uuid-1"
    numbers = [each["reqId"] for each in door.asked if each["op"] == "order.create"]
    assert len(set(numbers)) == 2  # "it can't be duplicated": perhaps not on another connection either


def test_a_connection_that_takes_nothing_new_still_answers_what_it_was_asked() -> None:
    waiting: list[tuple[web.WebSocketResponse, dict[str, Any]]] = []
    is_there = asyncio.Event()

    async def keep(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        waiting.append((connection, asked))
        is_there.set()

    answers = [keep, refuse(10019, "ws trade service is restarting"), take]

    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        await answers.pop(0)(connection, asked)

    async def what(broker: BybitBroker) -> Any:
        early = asyncio.ensure_future(broker.place(leg=leg()))
        await is_there.wait()
        with pytest.raises(OutcomeUnknownError, match="10019"):
            await broker.place(leg=leg())
        late = await broker.place(leg=leg())
        await take(*waiting[0])
        return (await early).venue_order_id, late.venue_order_id

    door = TradeDoor(script)

    assert trade(door, what) == ("uuid-1", "uuid-1")
    assert door.dials == 2
    assert door.dials == 2


def test_nothing_leaves_where_nobody_is_let_in() -> None:
    door = TradeDoor(take, auth={"retCode": 10003, "retMsg": "API key is invalid."})
    with pytest.raises(AuthenticationError, match=r"API key is invalid\. \[10003\]$"):
        trade(door, lambda broker: broker.place(leg=leg()))
    assert [each["op"] for each in door.asked] == ["auth"]

    async def nobody(broker: BybitBroker) -> None:
        await broker.place(leg=leg())

    async def scene() -> None:
        async with served(web.Application()) as where:
            pass  # the server is gone
        async with context(where, options=SOCKET) as given:
            await nobody(BybitBroker(given))

    with pytest.raises(TransportError) as caught:
        asyncio.run(scene())
    assert type(caught.value) is TransportError


@pytest.mark.parametrize("left", ["", "{no json", "[]"])
def test_an_answer_that_cannot_be_read_leaves_open_at_once_what_became_of_the_order(left: str) -> None:
    """Another does not come: the venue is to be asked, and not sooner for waiting."""

    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        await connection.send_str(left)

    door = TradeDoor(script)

    with pytest.raises(OutcomeUnknownError, match="answer on its trade socket cannot be read"):
        trade(door, lambda broker: broker.place(leg=leg()))
    assert [each["op"] for each in door.asked] == ["auth", "order.create"]  # and never again


def test_half_an_answer_is_only_whose_name_it_has() -> None:
    waiting: list[dict[str, Any]] = []

    async def script(connection: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        waiting.append(asked)
        if len(waiting) == 2:
            await connection.send_str(json.dumps({"reqId": waiting[0]["reqId"], "retCode": 0})[:-1])
            await connection.send_json({"op": "pong", "retCode": 0})
            await take(connection, waiting[1])

    async def what(broker: BybitBroker) -> list[Any]:
        return await asyncio.gather(*(broker.place(leg=leg()) for _ in range(2)), return_exceptions=True)

    spoilt, taken = trade(TradeDoor(script), what)

    assert type(spoilt) is OutcomeUnknownError
    assert taken.venue_order_id == "uuid-1"


def test_half_an_answer_to_the_login_means_that_nothing_left() -> None:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        asked = await connection.receive_json()
        await connection.send_str('{"reqId":"auth","retC')
        assert asked["op"] == "auth"
        await connection.receive()
        return connection

    door = TradeDoor(take)
    door.handle = handle  # type: ignore[method-assign]

    with pytest.raises(TransportError, match="answer on its trade socket cannot be read") as caught:
        trade(door, lambda broker: broker.place(leg=leg()))
    assert type(caught.value) is TransportError


@pytest.mark.parametrize(
    ("environment", "options", "addresses"),
    [
        (Environment.LIVE, {}, ("stream.bybit.com/v5/public/linear", "stream.bybit.com", "stream.bybit.com")),
        (Environment.PAPER, {}, ("stream.bybit.com/v5/public/linear", "stream.bybit.com", "stream.bybit.com")),
        (
            Environment.LIVE,
            {"host": "bybit.eu"},
            ("stream.bybit.eu/v5/public/linear", "stream.bybit.eu", "stream.bybit.eu"),
        ),
        (
            Environment.TESTNET,
            {},
            ("stream-testnet.bybit.com/v5/public/linear", "stream-testnet.bybit.com", "stream-testnet.bybit.com"),
        ),
        (
            Environment.TESTNET,
            {"test_system": "demo"},
            ("stream.bybit.com/v5/public/linear", "stream-demo.bybit.com", "stream-demo.bybit.com"),
        ),
    ],
)
def test_each_environment_has_its_addresses(
    environment: Environment, options: dict[str, str], addresses: tuple[str, str, str]
) -> None:
    async def scene() -> tuple[str, str, str]:
        async with context(None, environment=environment, options=options) as given:
            return public_url(given), stream_url(given), trade_url(given)

    public, private, orders = addresses
    assert asyncio.run(scene()) == (f"wss://{public}", f"wss://{private}/v5/private", f"wss://{orders}/v5/trade")


@pytest.mark.parametrize(
    ("environment", "options", "url"),
    [
        (Environment.LIVE, {}, "https://api.bybit.com/v5/market/time"),
        (Environment.LIVE, {"host": "bybit.kz"}, "https://api.bybit.kz/v5/market/time"),
        (Environment.TESTNET, {}, "https://api-testnet.bybit.com/v5/market/time"),
        (Environment.TESTNET, {"test_system": "demo"}, "https://api-demo.bybit.com/v5/market/time"),
    ],
)
def test_requests_go_to_the_site_the_account_is_registered_at(
    environment: Environment, options: dict[str, str], url: str
) -> None:
    async def scene() -> Any:
        async with context(None, environment=environment, options=options) as given:
            return api(given).client.exchange.sign("v5/market/time", ["public"])["url"]

    assert asyncio.run(scene()) == url


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"order_entry": "fix"}, "options order_entry='fix': write 'rest' or 'websocket'"),
        ({"test_system": "x"}, "options test_system='x': write 'testnet' or 'demo'"),
        ({"host": "example.org"}, "options host='example.org': write 'bybit.com' or 'bybit.eu' or"),
        ({"host": "bybit.eu"}, "the test systems are those of bybit.com: leave it out"),
        ({"test_system": "demo", "order_entry": "websocket"}, "the demo system takes no orders over sockets"),
    ],
)
def test_a_wish_nobody_grants_is_refused(options: dict[str, str], sentence: str) -> None:
    async def scene() -> None:
        async with context(None, environment=Environment.TESTNET, options=options) as given:
            BybitBroker(given)

    with pytest.raises(ConfigError, match=sentence):
        asyncio.run(scene())


def test_who_stops_waiting_for_the_socket_leaves_no_connection_behind() -> None:
    async def scene() -> None:
        dialled = asyncio.Event()

        async def silent(request: web.Request) -> web.WebSocketResponse:
            connection = web.WebSocketResponse()
            await connection.prepare(request)
            async for _message in connection:
                dialled.set()  # asked to let us in, and says nothing
            return connection

        app = web.Application()
        app.router.add_get("/v5/trade", silent)
        async with served(app) as where, context(where, options=SOCKET) as given:
            before = asyncio.all_tasks()
            placing = asyncio.ensure_future(BybitBroker(given).place(leg=leg()))
            async with asyncio.timeout(60):
                await dialled.wait()
            placing.cancel()
            await asyncio.gather(placing, return_exceptions=True)
            mine = {each for each in asyncio.all_tasks() - before if "_Connection" in repr(each.get_coro())}
            assert mine == set()

    asyncio.run(scene())
