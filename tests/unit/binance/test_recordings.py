"""A recorded session of Binance spot, frame by frame through the stream as it runs live."""

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from btx.errors import TransportError
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.time import NS_PER_MINUTE, Interval, to_ms
from btx.model.venue import Channel, StreamStatus, Subscription
from btx.ports import StreamEvent
from btx.rules import bars as bar_rules
from btx.rules import book as book_rules
from btx.runtime.wishes import Wishes
from btx_binance.spot.feed import SpotFeed
from btx_binance.spot.stream import SpotStream
from tests.unit.binance.loopback import answer, connected, instrument, serve, socket

_NAME = "binance_spot_btcusdt_2024-08-08T2354_0809T0005"
_CHANNELS = (Channel.TRADE, Channel.QUOTE, Channel.BOOK)


@attrs.define
class Played:
    """What came of the recording."""

    events: list[StreamEvent]
    snapshot: BookSnapshot


@pytest.fixture(scope="module")
def expected(btx_data: Path) -> dict[str, Any]:
    answers: dict[str, Any] = json.loads((btx_data / "wire" / f"{_NAME}.expected.json").read_text())
    return answers


@pytest.fixture(scope="module")
def played(btx_data: Path) -> Played:
    """Serve the frames as the venue sent them, and the recorded depth as its REST answer."""
    frames: list[str] = []
    depth: dict[str, Any] = {}
    with gzip.open(btx_data / "wire" / f"{_NAME}.jsonl.gz", "rt") as lines:
        for line in lines:
            message = json.loads(line)["msg"]
            if "stream" in message:
                frames.append(json.dumps(message))
            else:
                depth = message

    async def script(connection: web.WebSocketResponse) -> None:
        for frame in frames:
            await connection.send_str(frame)
        await connection.close()

    async def run() -> Played:
        events: list[StreamEvent] = []
        routes = {"GET /stream": socket(script), "GET /api/v3/depth": answer(depth)}
        subscriptions = [Subscription(channel=channel, instrument=instrument()) for channel in _CHANNELS]
        async with serve(routes) as where, connected(where) as context:
            with pytest.raises(TransportError, match="1000"):
                await SpotStream(context).run(wanted=Wishes(subscriptions), sink=events.append)
            snapshot = await SpotFeed(context).book(instrument=instrument(), depth=1000)
        return Played(events=events, snapshot=snapshot)

    return asyncio.run(run())


def _of(played: Played, kind: type[Any]) -> list[Any]:
    return [event for event in played.events if isinstance(event, kind)]


def test_every_recorded_frame_is_read_and_none_is_a_fault(played: Played, expected: dict[str, Any]) -> None:
    counts = {
        "trade": len(_of(played, Trade)),
        "bookTicker": len(_of(played, Quote)),
        "depth@100ms": len(_of(played, BookDelta)),
    }

    assert counts == {name: expected["messages"][name] for name in counts}
    assert len(_of(played, StreamStatus)) == 1  # SUBSCRIBED


def test_recorded_trades_are_the_venues_in_order_and_without_a_gap(played: Played, expected: dict[str, Any]) -> None:
    ids = [trade.trade_id for trade in _of(played, Trade)]

    assert len(ids) == expected["trades"]
    assert ids == list(range(expected["first_trade_id"], expected["last_trade_id"] + 1))


def test_recorded_trades_fold_to_the_minutes_of_the_answer_key(played: Played, expected: dict[str, Any]) -> None:
    trades = _of(played, Trade)
    state = bar_rules.TradeFold(symbol="BTC/USDT", interval=Interval.parse("1m"))
    bars: list[Bar] = []

    for trade in trades:
        state, closed = bar_rules.fold(state, trade)
        bars.extend(closed)
    _, closed = bar_rules.close_due(state, now_ns=trades[-1].time_ns + NS_PER_MINUTE)
    bars.extend(closed)

    assert [[to_ms(bar.open_ns), bar.open, bar.high, bar.low, bar.close, bar.volume, bar.trades] for bar in bars] == [
        [row[0], *(Decimal(text) for text in row[1:6]), row[6]] for row in expected["bars_1m_from_trades"]
    ]


def test_the_recorded_book_ends_at_the_answer_keys_top(played: Played, expected: dict[str, Any]) -> None:
    book = book_rules.start(played.snapshot)
    assert played.snapshot.sequence == expected["snapshot_lastUpdateId"]
    assert [len(played.snapshot.bids), len(played.snapshot.asks)] == expected["snapshot_levels"]

    for delta in _of(played, BookDelta):
        book = book_rules.apply(book, delta)  # raises at a gap

    tops = (book_rules.best_bid(book), book_rules.best_ask(book))
    assert [[str(number) for number in top] for top in tops if top is not None] == [
        expected["final_best_bid"],
        expected["final_best_ask"],
    ]


def test_the_last_recorded_quote_is_the_answer_keys(played: Played, expected: dict[str, Any]) -> None:
    last = _of(played, Quote)[-1]

    assert [
        str(number) for number in (last.bid_price, last.bid_quantity, last.ask_price, last.ask_quantity)
    ] == expected["final_bookTicker"]
