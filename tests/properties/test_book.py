"""The book: whatever is missing is noticed, and what is complete is right."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.errors import GapError
from btx.model.market import BookDelta, BookSnapshot
from btx.rules.book import Book, apply, best_ask, best_bid, is_crossed, start, top

changes = st.lists(st.tuples(st.integers(1, 20).map(Decimal), st.integers(0, 3).map(Decimal)), max_size=6).map(tuple)


@st.composite
def streams(draw: st.DrawFn) -> list[BookDelta]:
    """Return deltas without a hole, in the manner of spot or of futures."""
    names_previous = draw(st.booleans())
    deltas, last = [], 0
    for _ in range(draw(st.integers(1, 8))):
        first = last + (draw(st.integers(1, 5)) if names_previous else 1)
        deltas.append(
            BookDelta(
                symbol="BTC/USDT",
                bids=draw(changes),
                asks=draw(changes),
                first_sequence=first,
                last_sequence=first + draw(st.integers(0, 3)),
                previous_sequence=last if names_previous else None,
            )
        )
        last = deltas[-1].last_sequence
    return deltas


def empty_book() -> Book:
    return start(BookSnapshot(symbol="BTC/USDT", bids=(), asks=(), sequence=0))


@given(deltas=streams(), data=st.data())
def test_repeats_change_nothing_and_the_last_word_on_a_level_stands(
    deltas: list[BookDelta], data: st.DataObject
) -> None:
    book, bids = empty_book(), {}

    for number, one in enumerate(deltas):
        book = apply(book, one)
        book = apply(book, data.draw(st.sampled_from(deltas[: number + 1])))
        bids.update(one.bids)

    assert dict(book.bids) == {price: quantity for price, quantity in bids.items() if quantity}
    assert list(book.bids) == sorted(book.bids)
    assert top(book, 3)[0] == tuple(sorted(book.bids, reverse=True)[:3])


@given(deltas=streams(), data=st.data())
def test_a_lost_delta_never_goes_unnoticed(deltas: list[BookDelta], data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(deltas) - 1))
    book = empty_book()
    for one in deltas[:lost]:
        book = apply(book, one)

    for one in deltas[lost + 1 : lost + 2]:
        with pytest.raises(GapError):
            apply(book, one)


@pytest.mark.parametrize(
    "session", ["binance_spot_btcusdt_2024-08-08T2354_0809T0005", "binance_usdm_btcusdt_2024-08-08T2354"]
)
def test_real_sessions_end_with_the_book_of_the_answer_key(btx_data: Path, session: str) -> None:
    answer = json.loads((btx_data / f"wire/{session}.expected.json").read_text(encoding="utf-8"))
    book: Book | None = None
    waiting: list[BookDelta] = []

    for frame in frames(btx_data / f"wire/{session}.jsonl.gz"):
        if "lastUpdateId" in frame:
            book = start(snapshot_of(frame))
            for one in waiting:
                book = apply(book, one)
        elif frame.get("e") == "depthUpdate" and book is None:
            waiting.append(delta_of(frame))
        elif frame.get("e") == "depthUpdate":
            book = apply(book, delta_of(frame))
            assert not is_crossed(book)

    assert book is not None
    assert best_bid(book) == levels([answer["final_best_bid"]])[0]
    assert best_ask(book) == levels([answer["final_best_ask"]])[0]


def frames(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)["msg"]
            yield message.get("data", message)


def snapshot_of(frame: dict[str, Any]) -> BookSnapshot:
    return BookSnapshot(
        symbol="BTC/USDT",
        bids=levels(frame["bids"]),
        asks=levels(frame["asks"]),
        sequence=frame["lastUpdateId"],
    )


def delta_of(frame: dict[str, Any]) -> BookDelta:
    return BookDelta(
        symbol="BTC/USDT",
        bids=levels(frame["b"]),
        asks=levels(frame["a"]),
        first_sequence=frame["U"],
        last_sequence=frame["u"],
        previous_sequence=frame.get("pu"),
    )


def levels(rows: list[list[str]]) -> tuple[tuple[Decimal, Decimal], ...]:
    return tuple((Decimal(price), Decimal(quantity)) for price, quantity in rows)
