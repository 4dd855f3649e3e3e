"""Market streams against a small server that speaks documented and recorded frames."""

import asyncio
import gzip
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.errors import DataError, NotSupportedError, SubscriptionRefusedError, TransportError
from btx.model.derivatives import MarkPrice
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.order import Side
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, Subscription
from btx.ports import StreamEvent
from btx.rules import book as book_rules
from btx.runtime.wishes import Wishes
from btx_bybit.market_stream import BybitDialect, BybitReader
from tests.unit.binance.loopback import hold
from tests.unit.bybit.stream_rig import INSTRUMENTS, answer, bar, everything, lost, of, push

MARKETS = ("spot", "linear", "inverse")
_TS = 1672304486868


def reader(market: str = "linear") -> BybitReader:
    each = INSTRUMENTS[market]
    return BybitReader(symbols={each.venue_symbol: each.symbol}, market=market)


def read(*frames: Any, market: str = "linear") -> list[StreamEvent]:
    async def run() -> list[StreamEvent]:
        mine = reader(market)
        return [event for frame in frames for event in await mine.events(frame)]

    return asyncio.run(run())


def kline(venue_symbol: str, *, confirm: bool) -> dict[str, Any]:
    row = {
        "start": 1672324800000, "end": 1672324859999, "interval": "1", "open": "16649.5", "close": "16677",
        "high": "16678", "low": "16608", "volume": "2.081", "turnover": "34666.4005", "confirm": confirm,
        "timestamp": 1672324848882,
    }  # fmt: skip
    return {"topic": f"kline.1.{venue_symbol}", "data": [row], "ts": 1672324848882, "type": "snapshot"}


def trades(venue_symbol: str) -> dict[str, Any]:
    common = {"T": 1672304486865, "s": venue_symbol, "L": "PlusTick", "BT": False, "seq": 1783284617}
    first = {**common, "S": "Buy", "v": "0.001", "p": "16578.50", "i": "20f43950-d8dd-5b31-9112-a178eb6023af"}
    second = {**common, "S": "Sell", "v": "2", "p": "16578.5", "i": "2290000000061666327"}
    return {"topic": f"publicTrade.{venue_symbol}", "type": "snapshot", "ts": _TS, "data": [first, second]}


def book(venue_symbol: str, depth: int, kind: str, *, u: int, seq: int, **sides: Any) -> dict[str, Any]:
    data = {"s": venue_symbol, "b": sides.get("b", []), "a": sides.get("a", []), "u": u, "seq": seq}
    return {"topic": f"orderbook.{depth}.{venue_symbol}", "type": kind, "ts": _TS, "data": data, "cts": _TS - 3}


def ticker(venue_symbol: str, kind: str = "snapshot", **fields: str) -> dict[str, Any]:
    return {"topic": f"tickers.{venue_symbol}", "type": kind, "data": {"symbol": venue_symbol, **fields}, "ts": _TS}


def frames(market: str) -> list[dict[str, Any]]:
    name = INSTRUMENTS[market].venue_symbol
    mark = {"markPrice": "17217.33", "indexPrice": "17227.36", "fundingRate": "-0.000212", "lastPrice": "17216"}
    all_of_them = [
        kline(name, confirm=False),
        kline(name, confirm=True),
        trades(name),
        book(name, 1, "snapshot", u=7, seq=9, b=[["16493.50", "0.006"]], a=[["16611.00", "0.029"]]),
        book(name, 1000, "snapshot", u=8, seq=9, b=[["16493.5", "0.006"]], a=[["16611", "0.029"]]),
        book(name, 1000, "delta", u=9, seq=12, b=[["16493.5", "0"]], a=[["16610", "1"]]),
    ]
    if market != "spot":
        all_of_them.append(ticker(name, **mark, nextFundingTime="1673280000000"))
    return all_of_them


@pytest.mark.parametrize("market", MARKETS)
def test_every_topic_is_subscribed_by_message_and_read_exactly(market: str) -> None:
    requests: list[dict[str, Any]] = []
    instrument, wanted = INSTRUMENTS[market], everything(market)

    async def script(connection: web.WebSocketResponse) -> None:
        requests.append(await connection.receive_json())
        await push(connection, frames(market)[:1])  # the acknowledgement may come after the first of them
        told = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": requests[0]["req_id"], "op": "subscribe"}
        await push(connection, [told, *frames(market)[1:]])
        await connection.close()

    error, heard = lost(script, wanted, market)

    name = instrument.venue_symbol
    topics = {f"kline.1.{name}", f"publicTrade.{name}", f"orderbook.1.{name}", f"orderbook.1000.{name}"}
    assert {*requests[0]["args"]} == topics | ({f"tickers.{name}"} if market != "spot" else set())
    assert requests[0]["op"] == "subscribe"
    assert heard.states == [StreamState.SUBSCRIBED]
    forming, closed, bought, sold, quote, snapshot, delta, *marks = heard.news
    assert isinstance(forming, Bar)
    assert isinstance(closed, Bar)
    assert (forming.is_closed, closed.is_closed) == (False, True)
    assert (closed.open_ns, closed.close_ns) == (from_ms(1672324800000), from_ms(1672324860000))
    assert (closed.open, closed.high, closed.low, closed.close) == tuple(
        map(Decimal, ("16649.5", "16678", "16608", "16677"))
    )
    assert closed.quote_volume == (None if market == "inverse" else Decimal("34666.4005"))
    assert closed.trades is None
    assert isinstance(bought, Trade)
    assert isinstance(sold, Trade)
    assert (bought.side, sold.side, bought.quantity) == (Side.BUY, Side.SELL, Decimal("0.001"))
    assert (bought.trade_id, bought.sequence) == ("20f43950-d8dd-5b31-9112-a178eb6023af", 1783284617)
    assert bought.time_ns == from_ms(1672304486865)
    assert quote == Quote(
        symbol=instrument.symbol,
        bid_price=Decimal("16493.50"),
        bid_quantity=Decimal("0.006"),
        ask_price=Decimal(16611),
        ask_quantity=Decimal("0.029"),
        sequence=9,
        time_ns=from_ms(_TS - 3),
    )
    assert isinstance(snapshot, BookSnapshot)
    assert isinstance(delta, BookDelta)
    assert (snapshot.sequence, delta.previous_sequence, delta.last_sequence) == (9, 9, 12)
    for mark in marks:
        assert isinstance(mark, MarkPrice)
        assert (mark.mark_price, mark.funding_rate) == (Decimal("17217.33"), Decimal("-0.000212"))
        assert mark.next_funding_ns == from_ms(1673280000000)
    assert {event.symbol for event in heard.news} == {instrument.symbol}  # type: ignore[union-attr]
    assert type(error) is TransportError


def test_spot_subscribes_ten_topics_a_request_and_contracts_a_hundred() -> None:
    def asked(market: str) -> list[int]:
        instruments = [
            attrs.evolve(INSTRUMENTS[market], symbol=f"C{n}/USDT", venue_symbol=f"C{n}USDT") for n in range(25)
        ]
        wanted = [Subscription(channel=Channel.TRADE, instrument=each) for each in instruments]
        counts: list[int] = []

        async def script(connection: web.WebSocketResponse) -> None:
            while sum(counts) < len(wanted):
                counts.append(len((await answer(connection, ret_msg="subscribe"))["args"]))
            await hold(connection)

        lost(script, wanted, market, ready=lambda heard: bool(heard.states))
        return counts

    assert asked("spot") == [10, 10, 5]
    assert asked("linear") == [25]


def test_what_is_wanted_later_is_subscribed_and_what_is_not_is_ended() -> None:
    requests: list[tuple[str, list[str]]] = []
    wishes = Wishes([bar("linear")])

    async def script(connection: web.WebSocketResponse) -> None:
        while len(requests) < 3:
            request = await answer(connection)
            requests.append((request["op"], request["args"]))
            if len(requests) == 1:
                wishes.set([of(Channel.TRADE, "linear")])
        await hold(connection)

    _, heard = lost(script, wishes, ready=lambda heard: len(heard.states) == 2)

    assert requests == [
        ("subscribe", ["kline.1.BTCUSDT"]),
        ("unsubscribe", ["kline.1.BTCUSDT"]),
        ("subscribe", ["publicTrade.BTCUSDT"]),
    ]
    assert heard.events[-1].subscriptions == {of(Channel.TRADE, "linear")}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "pong",
    [
        {"success": True, "ret_msg": "pong", "conn_id": "0970e817", "op": "ping"},  # of spot
        {"success": True, "ret_msg": "pong", "conn_id": "465772b1", "req_id": "", "op": "ping"},  # of contracts
    ],
)
def test_the_connection_is_kept_alive_by_messages_and_each_is_answered(pong: dict[str, Any]) -> None:
    pings: list[Any] = []

    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        for _ in range(3):
            pings.append(await connection.receive_json())
            await connection.send_json(pong)
        await connection.close()

    _, heard = lost(script, everything("linear"), options={"ping_interval_s": "0.01"})

    assert pings == [{"op": "ping"}] * 3
    assert heard.states == [StreamState.SUBSCRIBED]


def test_a_venue_that_answers_no_ping_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        monkeypatch.setattr("btx.bridges.requests._ANSWER_S", 0.05)  # not for the subscription, which is answered
        await hold(connection)

    error, _ = lost(script, everything("linear"), options={"ping_interval_s": "0.05"})

    assert "did not answer a ping" in str(error)


def test_half_an_answer_to_a_subscription_ends_the_connection_at_once() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await connection.receive()
        await push(connection, ['{"success":true,"op":"subsc'])
        await hold(connection)

    error, heard = lost(script, everything("linear"))

    assert type(error) is TransportError
    assert "a frame that may have answered a SUBSCRIBE cannot be read" in str(error)
    assert heard.states == [StreamState.FAULT]


def test_a_refused_topic_ends_the_connection() -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection, success=False, ret_msg="error:handler not found,topic:kline.7.BTCUSDT")
        await hold(connection)

    error, _ = lost(script, everything("linear"))

    assert type(error) is SubscriptionRefusedError
    assert "handler not found" in str(error)


@pytest.mark.parametrize(
    "poison",
    [
        "plain text",
        '{"topic":"kline.1.BTCUSDT","data":[{"start":1}]}',
        '{"topic":"liquidation.BTCUSDT","data":{}}',
        '{"hello":1}',
        json.dumps(book("BTCUSDT", 1, "delta", u=1, seq=1, b=[["1", "1"]], a=[["2", "1"]])),
        json.dumps(book("BTCUSDT", 1000, "delta", u=1, seq=1)),
        json.dumps(ticker("BTCUSDT", "delta", markPrice="1")),
        json.dumps(trades("ETHUSDT")),
    ],
)
def test_a_frame_that_cannot_be_read_is_a_fault_and_the_connection_goes_on(poison: str) -> None:
    async def script(connection: web.WebSocketResponse) -> None:
        await answer(connection)
        await push(connection, [poison, kline("BTCUSDT", confirm=True)])
        await connection.close()

    _, heard = lost(script, everything("linear"))

    assert {*heard.states} == {StreamState.SUBSCRIBED, StreamState.FAULT}
    assert [type(event) for event in heard.news] == [Bar]


# --- sequences --------------------------------------------------------------------------------------------


def test_a_push_that_is_missing_shows_however_far_the_matching_engine_counts() -> None:
    side = {"b": [["100", "1"]], "a": [["101", "1"]]}
    whole, first, third = read(
        book("BTCUSDT", 1000, "snapshot", u=20, seq=5000, **side),
        book("BTCUSDT", 1000, "delta", u=21, seq=5280),
        book("BTCUSDT", 1000, "delta", u=23, seq=5900),  # 22 was not pushed
    )
    assert isinstance(whole, BookSnapshot)
    assert isinstance(first, BookDelta)
    assert isinstance(third, BookDelta)

    assert book_rules.fit(whole.sequence, first) is book_rules.Fit.NEXT
    assert book_rules.fit(first.last_sequence, third) is book_rules.Fit.GAP
    assert book_rules.fit(5600, first) is book_rules.Fit.OLD  # of an answer that is newer


def test_a_service_that_restarts_counts_from_one_and_sends_the_whole_book() -> None:
    side = {"b": [["100", "1"]], "a": [["101", "1"]]}

    *_, whole, after = read(
        book("BTCUSDT", 1000, "snapshot", u=20, seq=5000, **side),
        book("BTCUSDT", 1000, "snapshot", u=1, seq=6000, **side),
        book("BTCUSDT", 1000, "delta", u=2, seq=6100),
    )

    assert isinstance(whole, BookSnapshot)
    assert isinstance(after, BookDelta)
    assert book_rules.fit(whole.sequence, after) is book_rules.Fit.NEXT


def test_a_side_without_orders_makes_no_quote() -> None:
    assert read(book("BTCUSDT", 1, "snapshot", u=1, seq=1, b=[["1", "1"]])) == []


def test_a_ticker_that_changes_nothing_of_the_mark_price_says_nothing_and_a_delivery_has_no_funding() -> None:
    first, second = read(
        ticker("BTCUSDT", markPrice="17217.33", indexPrice="17227.36", fundingRate="", nextFundingTime=""),
        ticker("BTCUSDT", "delta", bid1Price="17215.50"),
        ticker("BTCUSDT", "delta", indexPrice="17228"),
    )

    assert isinstance(first, MarkPrice)
    assert isinstance(second, MarkPrice)
    assert (first.funding_rate, first.next_funding_ns) == (None, None)
    assert (second.mark_price, second.index_price) == (Decimal("17217.33"), Decimal(17228))


# --- recordings ---------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_recorded_book_is_carried_on_without_a_hole(btx_data: Path) -> None:
    lines = _lines(btx_data / "wire" / "bybit_v5_linear_XRPUSDT_ob500_2024-12-01.jsonl.gz")
    mine = BybitReader(symbols={"XRPUSDT": "XRP/USDT:USDT"}, market="linear")

    async def run() -> list[StreamEvent]:
        return [event for line in lines for event in await mine.events(line)]

    first, *deltas = asyncio.run(run())
    assert isinstance(first, BookSnapshot)
    held = book_rules.start(first)
    for delta in deltas:
        assert isinstance(delta, BookDelta)
        assert book_rules.fit(held.sequence, delta) is book_rules.Fit.NEXT
        held = book_rules.apply(held, delta)
        assert not book_rules.is_crossed(held)

    assert held.sequence == lines[-1]["data"]["seq"]
    assert first.time_ns == from_ms(lines[0]["cts"])


def test_recorded_tickers_are_merged_though_their_acknowledgement_comes_after_them(btx_data: Path) -> None:
    lines = _lines(btx_data / "wire" / "bybit_v5_linear_BTCUSDT_tickers_2026-09-30_excerpt.jsonl")
    messages = [line["msg"] for line in lines]
    merged: dict[str, Any] = {}
    expected = []
    for message in messages:
        if "topic" in message:
            merged |= message["data"]
            if {"markPrice", "indexPrice", "fundingRate", "nextFundingTime"} & message["data"].keys():
                expected.append((Decimal(merged["markPrice"]), Decimal(merged["indexPrice"]), from_ms(message["ts"])))

    async def script(connection: web.WebSocketResponse) -> None:
        request = await connection.receive_json()
        await push(connection, [{**m, "req_id": request["req_id"]} if "op" in m else m for m in messages])
        await connection.close()

    _, heard = lost(script, [of(Channel.MARK, "linear")])

    marks = [event for event in heard.news if isinstance(event, MarkPrice)]
    assert [(mark.mark_price, mark.index_price, mark.time_ns) for mark in marks] == expected
    assert all(mark.funding_rate and mark.next_funding_ns for mark in marks)
    assert heard.states == [StreamState.SUBSCRIBED]


def test_a_recorded_spot_book_is_read_and_a_pong_of_the_private_kind_is_an_answer(btx_data: Path) -> None:
    whole, change, pong = _lines(btx_data / "wire" / "bybit_v5_spot_BTCUSDT_ob50_2024-11-08.jsonl")

    first, second = read(whole, change, market="spot")

    assert isinstance(first, BookSnapshot)
    assert isinstance(second, BookDelta)
    assert book_rules.fit(first.sequence, second) is book_rules.Fit.NEXT
    assert second.bids[1] == (Decimal("75837.13"), 0)
    assert BybitDialect(market="spot", ping_interval_s=20.0).hear(pong) is not None


# --- what cannot be -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "market", "message"),
    [
        ([of(Channel.MARK, "spot")], "spot", "spot has no mark price"),
        ([Subscription(channel=Channel.TRADE)], "spot", "is of an instrument"),
        ([bar("linear", "8h")], "linear", "no bars of 8h"),
        ([Subscription(channel=Channel.ACCOUNT), bar("linear")], "linear", "separate connections"),
    ],
)
def test_what_cannot_be_subscribed_is_refused_before_dialling(
    wanted: list[Subscription], market: str, message: str
) -> None:
    error, heard = lost(hold, wanted, market)

    assert type(error) is NotSupportedError
    assert message in str(error)
    assert heard.events == []


def test_a_word_that_is_no_answer_is_told_as_one() -> None:
    with pytest.raises(DataError, match="neither an event nor an answer"):
        BybitDialect(market="spot", ping_interval_s=20.0).hear({"op": "hello"})
