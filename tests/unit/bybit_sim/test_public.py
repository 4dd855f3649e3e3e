import asyncio
import itertools
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from tests.unit.bybit_sim.served import Client, served


def run(act: Callable[[Client], Awaitable[Any]], market: str = "linear", **terms: Any) -> Any:
    async def main() -> Any:
        async with served(market, **terms) as client:
            return await act(client)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("market", "answer"),
    [
        ("spot", {"success": True, "ret_msg": "pong", "op": "ping"}),
        ("linear", {"success": True, "ret_msg": "pong", "op": "ping", "req_id": ""}),
    ],
)
def test_a_public_socket_answers_a_ping_in_its_own_form(market: str, answer: Any) -> None:
    async def act(client: Client) -> Any:
        async with client.socket(f"/v5/public/{market}") as socket:
            return await socket.ask(op="ping")

    heard = run(act, market)

    assert heard.pop("conn_id").startswith("btxsim")
    assert heard == answer


@pytest.mark.parametrize(
    ("market", "args", "text"),
    [
        ("spot", ["tickers.NOPEUSDT"], "Invalid symbol :[tickers.NOPEUSDT]"),
        ("spot", [f"kline.{n}.BTCUSDT" for n in range(11)], "args size >10"),
        ("linear", ["orderbook.30.BTCUSDT"], "error:handler not found,topic:orderbook.30.BTCUSDT"),
        ("linear", ["orderbook.50.btcusdt"], "error:handler not found,topic:orderbook.50.btcusdt"),
        ("linear", ["order"], "error:handler not found,topic:order"),
        (
            "linear",
            ["publicTrade.BTCUSDT", "publicTrade.BTCUSDT"],
            "error:already subscribed,topic:publicTrade.BTCUSDT",
        ),
        ("linear", ["x" * 21_001], "args length >21000"),
        ("linear", "publicTrade.BTCUSDT", "Params Error"),
    ],
)
def test_a_bad_topic_is_refused_and_nothing_of_its_request_is_subscribed(market: str, args: Any, text: str) -> None:
    async def act(client: Client) -> Any:
        async with client.socket(f"/v5/public/{market}") as socket, client.control() as do:
            answer = await socket.ask(op="subscribe", args=args, req_id="mine")
            [view] = (await do("sockets"))["sockets"]
            return answer, view["subscriptions"]

    answer, topics = run(act, market)

    assert (answer["success"], answer["ret_msg"], answer["req_id"], topics) == (False, text, "mine", [])


@pytest.mark.parametrize("said", ["hello", "[1]", '{"op": "nope"}'])
def test_what_is_no_request_is_refused_and_the_socket_stays_open(said: str) -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/linear") as socket:
            await socket.wire.send_str(said)
            return await socket.hear(), await socket.ask(op="ping")

    refused, pong = run(act)

    assert refused["success"] is False
    assert refused["ret_msg"].startswith("error:invalid op" if "op" in said else "Failed to decode incoming data:")
    assert pong["success"]


def test_a_socket_of_another_category_is_there_and_has_no_topics() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/spot") as socket:
            return await socket.ask(op="subscribe", args=["tickers.BTCUSDT"])

    assert run(act)["ret_msg"] == "Invalid symbol :[tickers.BTCUSDT]"


def test_a_book_is_a_snapshot_and_then_changes_that_keep_its_window() -> None:
    async def act(client: Client) -> Any:
        topic, url = "orderbook.50.BTCUSDT", "/v5/public/linear"
        async with client.socket(url) as socket, client.socket(url) as later, client.control() as do:
            await socket.say(op="subscribe", args=[topic])
            snapshot, ack = await socket.frames(2)
            deltas: list[Any] = []
            for _ in range(2):
                [[_, _, number]] = (await do("advance", api_key="alice"))["told"]
                while not deltas or deltas[-1]["data"]["seq"] < number:
                    deltas.append(await socket.hear())
            await later.say(op="subscribe", args=[topic])
            await socket.say(op="unsubscribe", args=[topic])
            await socket.say(op="subscribe", args=[topic])
            return snapshot, ack, deltas, await later.until(topic), (await socket.frames(3))[1]

    snapshot, ack, deltas, shown, again = run(act)

    assert ack["success"]
    assert (snapshot["type"], len(snapshot["data"]["b"]), len(snapshot["data"]["a"])) == ("snapshot", 50, 50)
    assert {delta["type"] for delta in deltas} == {"delta"}
    book = {side: dict(snapshot["data"][side]) for side in "ba"}
    last = snapshot["data"]["u"]
    for delta in deltas:
        assert delta["data"]["u"] == last + 1
        last = delta["data"]["u"]
        for side in "ba":
            book[side].update(delta["data"][side])
            book[side] = {price: quantity for price, quantity in book[side].items() if quantity != "0"}
            assert len(book[side]) == 50
    # Who comes later begins where the others are.
    assert (shown["type"], shown["data"]["u"]) == (again["type"], again["data"]["u"]) == ("snapshot", last)
    assert {side: dict(shown["data"][side]) for side in "ba"} == book
    assert [Decimal(price) for price, _ in shown["data"]["b"]] == sorted(map(Decimal, book["b"]), reverse=True)
    assert [Decimal(price) for price, _ in shown["data"]["a"]] == sorted(map(Decimal, book["a"]))


def test_the_best_level_comes_as_snapshots_alone_and_is_told_up_to_the_end_of_a_step() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/spot") as socket, client.control() as do:
            ack = await socket.ask(op="subscribe", args=["orderbook.1.BTCUSDT"], req_id="1")
            told = (await do("advance", api_key="alice"))["told"]
            frames = []
            while not frames or frames[-1]["data"]["seq"] < told[-1][2]:
                frames.append(await socket.hear())
            return ack, told, frames

    ack, told, frames = run(act, "spot")

    assert (ack["ret_msg"], ack["req_id"]) == ("subscribe", "1")
    assert told[-1][:2] == ["quote", "BTCUSDT"]
    assert {frame["type"] for frame in frames} == {"snapshot"}
    assert all(len(frame["data"]["b"]) == len(frame["data"]["a"]) == 1 for frame in frames)
    tops = [(frame["data"]["u"], frame["data"]["b"], frame["data"]["a"]) for frame in frames]
    assert all((one[0] == two[0]) is (one[1:] == two[1:]) for one, two in itertools.pairwise(tops))


def test_prints_are_told_with_their_number_and_how_the_price_has_moved() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/linear") as socket, client.control() as do:
            await socket.ask(op="subscribe", args=["publicTrade.BTCUSDT"])
            told = (await do("advance", api_key="alice"))["told"]
            rows = []
            while not rows or rows[-1]["seq"] < told[0][2]:
                rows += (await socket.until("publicTrade.BTCUSDT"))["data"]
            return rows, client.world.market.trades("BTCUSDT", from_id=rows[0]["seq"], limit=len(rows))

    rows, truth = run(act)

    assert [(row["seq"], Decimal(row["p"]), Decimal(row["v"])) for row in rows] == [
        (each.trade_id, each.price, each.quantity) for each in truth
    ]
    assert len({row["i"] for row in rows}) == len(rows)
    for before, row in itertools.pairwise(rows):
        moved = Decimal(row["p"]) - Decimal(before["p"])
        assert row["L"] == (
            "PlusTick" if moved > 0 else "MinusTick" if moved < 0 else f"Zero{before['L'].removeprefix('Zero')}"
        )


def test_a_bar_is_told_as_confirmed_when_it_has_closed() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/inverse") as socket, client.control() as do:
            await socket.ask(op="subscribe", args=["kline.1.BTCUSD"])
            step = await do("advance", api_key="alice")
            return await socket.until("kline.1.BTCUSD"), step

    frame, step = run(act, "inverse")

    [row] = frame["data"]
    assert (row["confirm"], row["interval"], row["end"] + 1) == (True, "1", step["market_ns"] // 10**6)
    assert row["start"] < row["timestamp"] <= row["end"]
    average = Decimal(row["volume"]) / Decimal(row["turnover"])  # dollars a coin
    assert Decimal(row["low"]) <= average <= Decimal(row["high"])


def test_a_ticker_is_a_snapshot_and_then_what_has_changed_of_it() -> None:
    async def act(client: Client) -> Any:
        topic = "tickers.BTCUSDT"
        async with client.socket("/v5/public/linear") as socket, client.control() as do:
            await socket.say(op="subscribe", args=[topic])
            snapshot, _ack = await socket.frames(2)
            step = await do("advance", api_key="alice")
            frames = []
            while not frames or frames[-1]["ts"] < step["market_ns"] // 10**6:
                frames.append(await socket.until(topic))
            return snapshot, frames, client.world.margin.mark("BTCUSDT"), client.world.market.quote("BTCUSDT")

    snapshot, frames, mark, quote = run(act)

    row = dict(snapshot["data"])
    assert snapshot["type"] == "snapshot"
    for frame in frames:
        assert frame["type"] == "delta"
        assert frame["data"].keys() <= row.keys()
        assert all(row[name] != value for name, value in frame["data"].items() if name != "symbol")
        row |= frame["data"]
    # What is told is what positions are valued at, to the last digit.
    assert (Decimal(row["markPrice"]), Decimal(row["indexPrice"])) == (mark.mark_price, mark.index_price)
    assert Decimal(row["bid1Price"]) == quote.bid_price


def test_a_ticker_of_spot_is_always_whole() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/spot") as socket, client.control() as do:
            await socket.ask(op="subscribe", args=["tickers.BTCUSDT"])
            first = await socket.hear()
            await do("advance", api_key="alice")
            return first, await socket.hear()

    first, second = run(act, "spot")

    assert first["type"] == second["type"] == "snapshot"
    assert first["data"].keys() == second["data"].keys()


def test_a_refused_subscription_may_be_tried_again() -> None:
    faults = script_to_json(FaultScript(faults=(Fault(kind=Kind.REFUSE, where=Where.SUBSCRIBE),)))

    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/spot") as socket:
            return [await socket.ask(op="subscribe", args=["publicTrade.BTCUSDT"]) for _ in range(2)]

    refused, taken = run(act, "spot", faults=faults)

    assert (refused["success"], refused["ret_msg"]) == (False, "Internal System Error.")
    assert taken["success"]


def test_a_public_socket_without_a_sign_of_life_is_cut_off() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/public/linear") as socket, client.control() as do:
            await do("terms", pong_s=0.05)
            return (await socket.wire.receive(timeout=60)).type

    assert run(act) in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}
