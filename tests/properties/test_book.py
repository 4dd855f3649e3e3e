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
from btx.rules.book import (
    SNAPSHOT_PAUSE_NS,
    Book,
    Fit,
    apply,
    best_ask,
    best_bid,
    is_crossed,
    snapshot_wait_ns,
    start,
    top,
)
from btx.runtime.ladder import Ladder

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


@given(deltas=streams(), data=st.data(), depth=st.integers(1, 30))
def test_the_book_of_the_live_path_is_the_rules_book(deltas: list[BookDelta], data: st.DataObject, depth: int) -> None:
    begun = BookSnapshot(symbol="BTC/USDT", bids=(), asks=(), sequence=0)
    book, ladder = start(begun), Ladder(begun, depth=1000)

    for number in range(len(deltas)):
        one = deltas[data.draw(st.integers(0, min(number + 1, len(deltas) - 1)))]  # old, next, or one too far
        try:
            book, told = apply(book, one), True
        except GapError:
            told = False
        assert (ladder.apply(one) is not Fit.GAP) is told
        bids, asks = top(book, depth)
        assert (ladder.top(depth).bids, ladder.top(depth).asks) == (bids, asks)
        assert ladder.sequence == book.sequence
        assert ladder.is_crossed == is_crossed(book)
        assert ladder.is_known(depth)


@given(prices=st.sets(st.integers(1, 200), min_size=40), shown=st.integers(1, 8))
def test_however_many_levels_deltas_tell_of_a_book_stays_small_and_knows_what_it_does_not_know(
    prices: set[int], shown: int
) -> None:
    first, *others = sorted(prices)
    begun = BookSnapshot(symbol="BTC/USDT", bids=((Decimal(first), Decimal(1)),), asks=(), sequence=0)
    ladder = Ladder(begun, depth=1)

    for number, price in enumerate(others, start=1):
        told = (Decimal(price), Decimal(1))
        ladder.apply(
            BookDelta(symbol="BTC/USDT", bids=(told,), asks=(told,), first_sequence=number, last_sequence=number)
        )

    best = tuple((Decimal(price), Decimal(1)) for price in sorted(prices, reverse=True)[:2])
    assert ladder.top(2).bids == best
    assert len(ladder.top(1000).bids) <= 5
    assert len(ladder.top(1000).asks) <= 5
    assert not ladder.is_known(6)


def test_a_book_is_known_as_far_as_its_snapshot_went() -> None:
    def levels(*prices: int) -> tuple[tuple[Decimal, Decimal], ...]:
        return tuple((Decimal(price), Decimal(1)) for price in prices)

    def gone(*prices: int) -> tuple[tuple[Decimal, Decimal], ...]:
        return tuple((Decimal(price), Decimal(0)) for price in prices)

    begun = BookSnapshot(symbol="BTC/USDT", bids=levels(10, 9, 8), asks=levels(11, 12), sequence=0)
    ladder = Ladder(begun, depth=3)
    assert ladder.is_known(3)
    assert not ladder.is_known(4)  # the snapshot may have been cut off below 8; above 12 there was nothing

    ladder.apply(BookDelta(symbol="BTC/USDT", bids=gone(10, 9), asks=(), first_sequence=1, last_sequence=1))
    ladder.apply(BookDelta(symbol="BTC/USDT", bids=levels(5), asks=(), first_sequence=2, last_sequence=2))

    assert ladder.is_known(1)
    assert not ladder.is_known(2)  # between 8 and 5 something may stand since before the snapshot
    assert ladder.top(2).bids == levels(8, 5)


@given(asked_ns=st.none() | st.integers(0, 10**12), now_ns=st.integers(0, 10**12))
def test_a_snapshot_never_waits_longer_than_the_pause_and_never_comes_sooner(asked_ns: int | None, now_ns: int) -> None:
    wait_ns = snapshot_wait_ns(asked_ns, now_ns=now_ns)

    assert 0 <= wait_ns <= SNAPSHOT_PAUSE_NS
    if asked_ns is not None and asked_ns <= now_ns:
        assert now_ns + wait_ns >= asked_ns + SNAPSHOT_PAUSE_NS
    else:
        assert wait_ns == (0 if asked_ns is None else SNAPSHOT_PAUSE_NS)


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
