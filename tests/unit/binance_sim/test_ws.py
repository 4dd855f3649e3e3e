import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.unit.binance_sim.served import Client, served

ALL = "btcusdt@trade/btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@depth/btcusdt@kline_1m"


async def step(client: Client) -> Any:
    """Play one minute and say when every frame of it has left."""
    async with client.control() as do:
        return await do("advance", api_key="alice")


async def frames(socket: aiohttp.ClientWebSocketResponse, until: Any) -> Any:
    """Frames of a socket up to the first that ``until`` accepts."""
    seen = []
    while not seen or not until(seen[-1]):
        seen.append(await socket.receive_json(timeout=60))
    return seen


def is_closed_bar(frame: Any) -> Any:
    data = frame.get("data", frame)
    return data.get("e") == "kline" and data["k"]["x"]


def by_stream(seen: Any) -> Any:
    streams = {}
    for frame in seen:
        streams.setdefault(frame["stream"], []).append(frame["data"])
    return streams


def a_minute_of(path: str) -> Any:
    async def main() -> Any:
        async with served() as client, client.socket(path) as socket:
            before = (await client.get("/api/v3/depth", symbol="BTCUSDT"))[1]
            await step(client)
            seen = await frames(socket, is_closed_bar)
            after = (await client.get("/api/v3/depth", symbol="BTCUSDT", limit=20))[1]
            bars = (await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m"))[1]
            return before, seen, after, bars

    return asyncio.run(main())


def test_frames_have_exactly_the_fields_of_frames_recorded_at_the_venue(btx_data: Path) -> None:
    import gzip

    path = btx_data / "wire" / "binance_spot_btcusdt_2024-08-08T2354_0809T0005.jsonl.gz"
    recorded = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            frame = json.loads(line)["msg"]
            if "stream" in frame:
                recorded.setdefault(frame["stream"], frame["data"])
            if len(recorded) == 3:
                break

    _, seen, _, _ = a_minute_of(f"/stream?streams={ALL}")

    ours = by_stream(seen)
    for name, real in recorded.items():
        assert {key: type(value) for key, value in ours[name][0].items()} == {
            key: type(value) for key, value in real.items()
        }
    assert set(recorded) == {"btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms"}


def test_trades_of_a_minute_add_up_to_its_bar() -> None:
    _, seen, _, [row] = a_minute_of(f"/stream?streams={ALL}")

    ours = by_stream(seen)
    [bar] = [data["k"] for data in ours["btcusdt@kline_1m"] if data["k"]["x"]]
    prices = [trade["p"] for trade in ours["btcusdt@trade"]]
    assert (bar["o"], bar["c"]) == (prices[0], prices[-1])
    assert (bar["f"], bar["L"], bar["n"]) == (1, len(prices), len(prices))
    assert [bar[key] for key in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")] == row[:11]
    assert [trade["a"] for trade in ours["btcusdt@aggTrade"]] == [trade["t"] for trade in ours["btcusdt@trade"]]


@pytest.mark.parametrize("name", ["btcusdt@depth@100ms", "btcusdt@depth"])
def test_a_book_kept_from_snapshot_and_updates_is_the_venues_book(name: str) -> None:
    before, seen, after, _ = a_minute_of(f"/stream?streams={ALL}")

    updates = by_stream(seen)[name]
    book = {"b": dict(before["bids"]), "a": dict(before["asks"])}
    last_id = before["lastUpdateId"]
    for update in updates:
        assert update["U"] == last_id + 1
        last_id = update["u"]
        for side in "ba":
            book[side].update(update[side])
    bids = sorted(((p, q) for p, q in book["b"].items() if float(q)), key=lambda row: -float(row[0]))
    asks = sorted(((p, q) for p, q in book["a"].items() if float(q)), key=lambda row: float(row[0]))
    assert [list(row) for row in bids[:5]] == after["bids"][:5]
    assert [list(row) for row in asks[:5]] == after["asks"][:5]
    assert last_id <= after["lastUpdateId"]  # nothing changed in between


def test_slow_updates_say_the_same_in_fewer_frames() -> None:
    _, seen, _, _ = a_minute_of(f"/stream?streams={ALL}")

    ours = by_stream(seen)
    assert len(ours["btcusdt@depth"]) <= len(ours["btcusdt@depth@100ms"])
    assert ours["btcusdt@depth"][-1]["u"] == ours["btcusdt@depth@100ms"][-1]["u"]


def test_tickers_and_partial_books_are_pushed() -> None:
    names = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@depth5", "btcusdt@depth20@100ms", "btcusdt@kline_1m")

    _, seen, after, _ = a_minute_of("/stream?streams=" + "/".join(names))

    ours = by_stream(seen)
    assert set(ours) == set(names)
    assert ours["btcusdt@ticker"][-1]["e"] == "24hrTicker"
    assert set(ours["btcusdt@ticker"][-1]) == set("eEspPwxcQbBaAohlvqOCFLn")
    assert set(ours["btcusdt@miniTicker"][-1]) == set("eEscohlvq")
    assert len(ours["btcusdt@depth5"][-1]["bids"]) == 5
    assert ours["btcusdt@depth20@100ms"][-1]["bids"] == after["bids"]


@pytest.mark.parametrize(
    "path", ["/ws/btcusdt@kline_1m", "/ws/ethusdt@trade/btcusdt@kline_1m", "/stream/ws/btcusdt@kline_1m"]
)
def test_raw_streams_have_no_wrapper(path: str) -> None:
    _, seen, _, _ = a_minute_of(path)

    assert seen[-1]["e"] == "kline"


def conversation(path: str, *requests: Any) -> Any:
    """What the venue answers to control messages, one after the other."""

    async def main() -> Any:
        async with served() as client, client.socket(path) as socket:
            answers = []
            for request in requests:
                await socket.send_str(request if isinstance(request, str) else json.dumps(request))
                answers.append(await socket.receive_json(timeout=60))
            return answers

    return asyncio.run(main())


def test_streams_are_subscribed_listed_and_left_by_message() -> None:
    name = "btcusdt@trade"

    answers = conversation(
        "/ws",
        {"method": "SUBSCRIBE", "params": [name, "ethusdt@kline_1h", "nothing@trade"], "id": 1},
        {"method": "LIST_SUBSCRIPTIONS", "id": 2},
        {"method": "UNSUBSCRIBE", "params": [name, "never@trade"], "id": "three"},
        {"method": "LIST_SUBSCRIPTIONS", "id": None},
    )

    assert answers == [
        {"result": None, "id": 1},
        {"result": [name, "ethusdt@kline_1h", "nothing@trade"], "id": 2},
        {"result": None, "id": "three"},
        {"result": ["ethusdt@kline_1h", "nothing@trade"], "id": None},
    ]


def test_a_socket_may_change_between_raw_and_combined_frames() -> None:
    answers = conversation(
        "/stream",
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 1},
        {"method": "SET_PROPERTY", "params": ["combined", False], "id": 2},
        {"method": "GET_PROPERTY", "params": ["combined"], "id": 3},
    )

    assert [answer["result"] for answer in answers] == [True, None, False]


@pytest.mark.parametrize(
    ("request_text", "code", "message"),
    [
        ("{nonsense", 3, "Invalid JSON: expected value at line 1 column"),
        ('{"params": []}', 2, "Invalid request: missing field `method`"),
        ('{"method": "SUBSCRIBEE", "id": 1}', 2, "Invalid request: unknown variant `SUBSCRIBEE`, expected one of"),
        ('{"method": "SUBSCRIBE", "params": "x", "id": 1}', 2, "Invalid request: invalid type"),
        ('{"method": "LIST_SUBSCRIPTIONS", "id": 1.5}', 2, "request ID must be an unsigned integer"),
        ('{"method": "SET_PROPERTY", "params": ["colour", true], "id": 1}', 0, "Unknown property"),
        ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}', 1, "expected Boolean"),
        ('{"method": "SET_PROPERTY", "params": [5, true], "id": 1}', 2, "property name must be a string"),
        ('{"method": "GET_PROPERTY", "params": [], "id": 1}', 2, "property name must be a string"),
        ('{"method": "GET_PROPERTY", "params": ["combined", true], "id": 1}', 2, "too many parameters"),
    ],
)
def test_a_control_message_that_is_wrong_is_answered_in_the_documented_words(
    request_text: Any, code: int, message: str
) -> None:
    [answer] = conversation("/ws", request_text)

    assert answer["code"] == code
    assert message in answer["msg"]


def test_more_than_five_messages_a_second_end_the_connection() -> None:
    async def main() -> Any:
        async with served() as client, client.socket("/ws") as socket:
            for number in range(6):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            answers = [await socket.receive(timeout=60) for _ in range(6)]
            return [answer.data for answer in answers[:5]], answers[5], socket.close_code

    texts, last, code = asyncio.run(main())

    assert [json.loads(text)["id"] for text in texts] == [0, 1, 2, 3, 4]
    assert last.data == code == 1008


def test_more_than_1024_streams_end_the_connection() -> None:
    async def main() -> Any:
        async with served() as client, client.socket("/ws") as socket:
            names = [f"s{number}@trade" for number in range(1025)]
            await socket.send_json({"method": "SUBSCRIBE", "params": names, "id": 1})
            while (message := await socket.receive(timeout=60)).type.name == "TEXT":
                pass
            return message.data

    assert asyncio.run(main()) == 1008


def test_an_address_may_open_three_hundred_sockets_in_five_minutes() -> None:
    async def main() -> Any:
        async with served() as client:
            for _ in range(300):
                async with client.socket("/ws"):
                    pass
            with contextlib.suppress(Exception):
                async with client.socket("/ws"):
                    return None
            client.clock.pass_s(300)
            async with client.socket("/ws") as socket:
                return socket.closed

    assert asyncio.run(main()) is False


def test_a_stream_nobody_reads_any_more_costs_nothing() -> None:
    async def main() -> Any:
        async with served() as client:
            async with client.socket("/ws/btcusdt@kline_5m"):
                first = (await step(client))["closed"]
            second = await step(client)
            while second["closed"] and second["closed"][0][1] == "5m":
                second = await step(client)
            return first, second["closed"]

    first, second = asyncio.run(main())

    assert [row[:2] for row in first] == [["BTCUSDT", "5m"]]
    assert {row[1] for row in second} <= {"1m"}


def test_every_socket_of_a_step_has_its_frames_before_the_step_is_answered() -> None:
    async def main() -> Any:
        async with served() as client, contextlib.AsyncExitStack() as stack:
            sockets = [await stack.enter_async_context(client.socket("/ws/btcusdt@kline_1m")) for _ in range(5)]
            counts = []
            for _ in range(20):
                await step(client)
                bars = [await asyncio.wait_for(socket.receive_json(), 60) for socket in sockets]
                counts.append(len({bar["k"]["t"] for bar in bars}))
            return counts

    assert asyncio.run(main()) == [1] * 20
