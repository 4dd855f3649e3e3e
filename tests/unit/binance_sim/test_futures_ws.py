"""The sockets of the simulated futures markets: where a stream is heard, and what it says."""

import gzip
import itertools
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.unit.binance_sim.served_futures import DEADLINE_S, Venue, events, run

BEFORE_THE_SPLIT, BOTH = "2026-03-05", "2026-04-22"
QUOTE, BAR = "btcusdt@bookTicker", "btcusdt@kline_1m"


def is_closed_bar(frame: Any) -> Any:
    return isinstance(frame, dict) and frame["e"] == "kline" and frame["k"]["x"]


async def heard(venue: Venue, path: str) -> Any:
    """What a socket hears in two minutes: the kinds of events."""
    async with venue.socket(path) as socket:
        await venue.advance(2)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        seen = await events(socket, lambda frame: "result" in frame)
    return {frame.get("data", frame)["e"] for frame in seen[:-1]}


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("", {"/public": {"bookTicker"}, "/market": {"kline"}, "/private": set(), "": {"bookTicker"}}),
        (
            BOTH,
            {"/public": {"bookTicker"}, "/market": {"kline"}, "/private": set(), "": {"bookTicker", "kline"}},
        ),
        (BEFORE_THE_SPLIT, {"": {"bookTicker", "kline"}}),
    ],
)
def test_each_base_speaks_of_what_belongs_there_and_the_root_less_and_less(
    as_of: str, expected: Mapping[str, set[str]]
) -> None:
    async def scene(venue: Venue) -> Any:
        return {base: await heard(venue, f"{base}/ws/{QUOTE}/{BAR}") for base in expected}

    assert run(scene, as_of=as_of) == expected


def test_before_the_split_there_are_no_routed_addresses() -> None:
    async def scene(venue: Venue) -> None:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with venue.socket("/public/ws"):
                pass
        assert refused.value.status == 404

    run(scene, as_of=BEFORE_THE_SPLIT)


def test_a_subscription_on_the_wrong_base_is_acknowledged_and_listed_and_silent() -> None:
    async def scene(venue: Venue) -> Any:
        async with venue.socket("/public/stream") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": [BAR, QUOTE], "id": 1})
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 2})
            answers = [await socket.receive_json(timeout=DEADLINE_S) for _ in range(2)]
            await venue.advance()
            frame = await socket.receive_json(timeout=DEADLINE_S)
            return answers, frame

    answers, frame = run(scene)

    assert answers == [{"result": None, "id": 1}, {"result": [BAR, QUOTE], "id": 2}]
    assert frame["stream"] == QUOTE


def test_coin_margined_contracts_have_one_base_and_say_their_pair_and_type() -> None:
    names = "btcusd_perp@aggTrade/btcusd_perp@bookTicker/btcusd_perp@kline_1m/btcusd_perp@depth/btcusd@indexPrice"

    async def scene(venue: Venue) -> Any:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with venue.socket("/public/ws"):
                pass
        async with venue.socket(f"/ws/{names}/btcusd@markPrice") as socket:
            await venue.advance()
            return await events(socket, is_closed_bar)

    seen = run(scene, market="coinm")

    first = {}
    for frame in seen:
        first.setdefault(frame[0]["e"] if isinstance(frame, list) else frame["e"], frame)
    assert first["aggTrade"]["st"] == 2
    assert (first["bookTicker"]["ps"], first["bookTicker"]["st"]) == ("BTCUSD", 2)
    assert first["depthUpdate"]["ps"] == "BTCUSD"
    assert first["indexPriceUpdate"]["s"] == "BTCUSD"
    assert [row["s"] for row in first["markPriceUpdate"]] == ["BTCUSD_PERP"]
    bar = first["kline"]["k"]
    worth = Decimal(100) * Decimal(bar["v"])
    assert worth / Decimal(bar["h"]) <= Decimal(bar["q"]) <= worth / Decimal(bar["l"])


def test_each_depth_update_says_where_the_one_before_it_ended() -> None:
    async def scene(venue: Venue) -> Any:
        async with venue.socket("/public/ws/btcusdt@depth@100ms") as socket:
            await venue.advance(2)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            return await events(socket, lambda frame: "result" in frame)

    updates = run(scene)[:-1]

    assert len(updates) > 2
    assert all(after["pu"] == before["u"] for before, after in itertools.pairwise(updates))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"method": "SET_PROPERTY", "params": ["x", true], "id": 1}', {"code": 0, "msg": "Unknown property", "id": 1}),
        ("{", {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 2", "id": None}),
    ],
)
def test_control_messages_are_refused_in_the_words_of_the_manual(text: str, answer: Any) -> None:
    async def scene(venue: Venue) -> Any:
        async with venue.socket("/market/ws") as socket:
            await socket.send_str(text)
            return await socket.receive_json(timeout=DEADLINE_S)

    assert run(scene) == answer


def test_the_eleventh_message_of_a_second_ends_the_connection() -> None:
    async def scene(venue: Venue) -> Any:
        async with venue.socket("/market/ws") as socket:
            for number in range(11):
                await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            seen = [await socket.receive(timeout=DEADLINE_S) for _ in range(11)]
            return [message.type for message in seen], socket.close_code

    types, code = run(scene)

    assert types == [aiohttp.WSMsgType.TEXT] * 10 + [aiohttp.WSMsgType.CLOSE]
    assert code == 1008


def test_the_rate_told_at_the_very_time_of_a_funding_is_the_one_that_is_settled() -> None:
    async def scene(venue: Venue) -> Any:
        first = venue.desk.mark(venue.symbol)
        minutes = (first.next_funding_ns - venue.world.market.now_ns) // (60 * 10**9)
        async with venue.socket("/market/ws/btcusdt@markPrice@1s") as socket:
            await venue.advance(minutes + 1)
            return first, await events(socket, lambda frame: frame["T"] > first.next_funding_ns // 10**6)

    first, seen = run(scene)

    stamp = [frame for frame in seen if frame["E"] == first.next_funding_ns // 10**6]
    assert {(frame["T"], Decimal(frame["r"])) for frame in stamp} == {
        (first.next_funding_ns // 10**6, first.funding_rate)
    }
    assert seen[-1]["E"] > first.next_funding_ns // 10**6


@pytest.mark.parametrize(
    ("market", "name", "streams"),
    [
        ("usdm", "binance_usdm_btcusdt_2024-08-08T2354.jsonl.gz", "/public/ws/btcusdt@{}"),
        ("coinm", "binance_coinm_btcusd_perp_2024-08-08T2354.jsonl.gz", "/ws/btcusd_perp@{}"),
    ],
)
def test_frames_have_the_fields_of_frames_recorded_at_the_venue(
    market: str, name: str, streams: str, btx_data: Path
) -> None:
    recorded: dict[str, Any] = {}
    with gzip.open(btx_data / "wire" / name, "rt") as file:
        for line in file:
            frame = json.loads(line)["msg"]
            if "data" in frame:
                recorded.setdefault(frame["data"]["e"], frame["data"])
            if len(recorded) == 3:
                break

    async def scene(venue: Venue) -> Any:
        found = {}
        for kind in ("depth", "bookTicker", "trade"):
            async with venue.socket(streams.format(kind)) as socket:
                await venue.advance()
                frame = await socket.receive_json(timeout=DEADLINE_S)
                found[frame["e"]] = frame
        return found

    # The recording is of 2024: the frames of its day had no symbol type yet.
    ours = run(scene, market=market, as_of=BEFORE_THE_SPLIT) if market == "coinm" else run(scene, as_of=BOTH)

    assert ours.keys() == recorded.keys() == {"depthUpdate", "bookTicker", "trade"}
    for kind, real in recorded.items():
        assert {key: type(value) for key, value in ours[kind].items()} == {
            key: type(value) for key, value in real.items()
        }


def test_mark_prices_have_the_fields_of_frames_recorded_at_the_venue(btx_data: Path) -> None:
    path = btx_data / "wire" / "binance_usdm_markPrice_funding_rollover_2026-09-30.jsonl"
    real = json.loads(path.read_text().splitlines()[0])["data"]

    async def scene(venue: Venue) -> Any:
        async with venue.socket("/market/ws/btcusdt@markPrice@1s") as socket:
            await venue.advance()
            return await socket.receive_json(timeout=DEADLINE_S)

    ours = run(scene)

    assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in real.items()}


def test_arrays_tell_of_all_contracts_and_a_pair_of_its_own() -> None:
    async def scene(venue: Venue) -> Any:
        names = "!ticker@arr/!miniTicker@arr/!markPrice@arr/btcusdt@markPrice/ethusdt_perpetual@continuousKline_1m"
        async with venue.socket(f"/market/stream?streams={names}") as socket:
            await venue.advance(2)
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            return await events(socket, lambda frame: "result" in frame)

    latest = {frame["stream"]: frame["data"] for frame in run(scene)[:-1]}

    both = ["BTCUSDT", "ETHUSDT"]
    assert [row["s"] for row in latest["!ticker@arr"]] == both
    assert [row["s"] for row in latest["!miniTicker@arr"]] == both
    assert [row["s"] for row in latest["!markPrice@arr"]] == both
    assert latest["btcusdt@markPrice"]["s"] == "BTCUSDT"
    bar = latest["ethusdt_perpetual@continuousKline_1m"]
    assert (bar["ps"], bar["ct"], bar["k"]["x"]) == ("ETHUSDT", "PERPETUAL", True)


def test_names_that_are_none_are_silent_and_leave_nothing_behind() -> None:
    async def scene(venue: Venue) -> Any:
        names = "nosuch@kline_1m/btcusdt@nosuch/!nosuch/btcusdt_current_quarter@continuousKline_1m/xxx@indexPrice"
        return await heard(venue, f"/market/ws/{names}")

    assert run(scene) == set()


def test_a_stream_falls_silent_a_subscription_is_refused_and_a_socket_ends_on_command() -> None:
    async def scene(venue: Venue) -> Any:
        async with venue.control() as do, venue.socket(f"/public/ws/{QUOTE}/ethusdt@bookTicker") as socket:
            silence = {"kind": "silence", "where": "market_stream"}
            await do("strike", fault=silence, sockets=None, stream=QUOTE)
            await venue.advance()
            heard = {(await socket.receive_json(timeout=DEADLINE_S))["s"] for _ in range(3)}
            shutdown = {"kind": "shutdown", "where": "market_stream", "for_s": 0.01}
            await do("strike", fault=shutdown, sockets=[1], stream=None)
            while (await socket.receive(timeout=DEADLINE_S)).type is aiohttp.WSMsgType.TEXT:
                pass
            await do("block", form=0)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with venue.socket("/market/ws"):
                    pass
            return heard, socket.close_code, refused.value.status

    heard, code, status = run(scene)

    assert heard == {"ETHUSDT"}
    assert (code, status) == (1001, 503)
