import pytest

from btx.errors import GapError
from btx.model.market import BookDelta, BookLevel, BookSnapshot
from btx.rules.book import (
    SNAPSHOT_PAUSE_NS,
    Book,
    apply,
    best_ask,
    best_bid,
    is_crossed,
    snapshot_wait_ns,
    start,
    top,
)
from tests.values import d

Levels = tuple[BookLevel, ...]


def levels(**quantities: int) -> Levels:
    return tuple((d(price[1:]), d(quantity)) for price, quantity in quantities.items())


def delta(first: int, last: int, *, bids: Levels = (), asks: Levels = (), previous: int | None = None) -> BookDelta:
    return BookDelta(
        symbol="BTC/USDT",
        bids=bids,
        asks=asks,
        first_sequence=first,
        last_sequence=last,
        previous_sequence=previous,
    )


@pytest.fixture
def book() -> Book:
    return start(
        BookSnapshot(symbol="BTC/USDT", bids=levels(p99=1, p98=2, p97=3), asks=levels(p101=1, p102=2), sequence=10)
    )


def test_a_snapshot_starts_the_book(book: Book) -> None:
    assert best_bid(book) == (99, 1)
    assert best_ask(book) == (101, 1)
    assert top(book, 2) == (levels(p99=1, p98=2), levels(p101=1, p102=2))
    assert top(book, 9) == (levels(p99=1, p98=2, p97=3), levels(p101=1, p102=2))
    assert top(book, 0) == ((), ())


@pytest.mark.parametrize(
    ("asked_ns", "wait_ns"),
    [(None, 0), (70, SNAPSHOT_PAUSE_NS - 30), (100 - SNAPSHOT_PAUSE_NS, 0), (5_000, SNAPSHOT_PAUSE_NS)],
    ids=["never asked", "just now", "long ago", "by a clock that was set back"],
)
def test_a_snapshot_waits_for_the_rest_of_the_pause_since_the_last(asked_ns: int | None, wait_ns: int) -> None:
    assert snapshot_wait_ns(asked_ns, now_ns=100) == wait_ns


def test_a_delta_sets_adds_and_removes_levels(book: Book) -> None:
    after = apply(book, delta(11, 12, bids=levels(p99=0, p98=5, p95=1), asks=levels(p100=4, p500=0)))

    assert after.sequence == 12
    assert top(after, 9) == (levels(p98=5, p97=3, p95=1), levels(p100=4, p101=1, p102=2))


def test_the_book_before_a_delta_is_untouched(book: Book) -> None:
    apply(book, delta(11, 11, bids=levels(p99=0)))

    assert best_bid(book) == (99, 1)


@pytest.mark.parametrize("last", [9, 10])
def test_an_old_delta_changes_nothing(book: Book, last: int) -> None:
    assert apply(book, delta(5, last, bids=levels(p99=7))) is book


@pytest.mark.parametrize("first", [5, 11])
def test_the_first_delta_may_overlap_the_snapshot_but_not_leave_a_hole(book: Book, first: int) -> None:
    assert apply(book, delta(first, 15)).sequence == 15


def test_a_hole_is_an_error(book: Book) -> None:
    with pytest.raises(GapError, match="all up to 10, the next delta begins after 11"):
        apply(book, delta(12, 15))


def test_where_the_venue_names_the_previous_delta_that_decides(book: Book) -> None:
    after = apply(book, delta(20, 25, previous=10))

    assert after.sequence == 25
    with pytest.raises(GapError):
        apply(after, delta(26, 30, previous=27))


def test_a_delta_of_another_symbol_is_an_error(book: Book) -> None:
    other = BookDelta(symbol="ETH/USDT", bids=(), asks=(), first_sequence=11, last_sequence=11)

    with pytest.raises(ValueError, match="delta of ETH/USDT"):
        apply(book, other)


def test_an_empty_side_has_no_best_and_is_never_crossed(book: Book) -> None:
    bare = apply(book, delta(11, 11, bids=levels(p99=0, p98=0, p97=0)))
    empty = apply(bare, delta(12, 12, asks=levels(p101=0, p102=0)))

    assert best_bid(empty) is None
    assert best_ask(empty) is None
    assert not is_crossed(bare)


def test_a_bid_at_the_ask_is_crossed(book: Book) -> None:
    assert not is_crossed(book)
    assert is_crossed(apply(book, delta(11, 11, bids=levels(p101=1))))
