"""Whatever happens to its stream, a book is the venue's at that update, or none; and it always comes back."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from btx.model.market import BookDelta, BookSnapshot
from btx.runtime.latest import Latest
from btx.runtime.resync import BookListener
from tests.unit.runtime.market_rig import MarketRig, shown
from tests.unit.runtime.rig import run
from tests.values import BTC

BIDS, ASKS = range(80, 100), range(101, 121)  # so that a true book never crosses


class Truth:
    """The book of the venue after each update, and the delta that led there."""

    def __init__(self, changes: Sequence[tuple[int, int]], *, names_previous: bool) -> None:
        book: dict[int, int] = {99: 1, 101: 1}
        self.books: dict[int, dict[int, int]] = {0: dict(book)}
        self.deltas: list[BookDelta] = []
        step, last = (3 if names_previous else 1), 0
        for price, quantity in changes:
            book[price] = quantity
            level = (Decimal(price), Decimal(quantity))
            now = last + step
            self.deltas.append(
                BookDelta(
                    symbol="BTC/USDT",
                    bids=(level,) if price in BIDS else (),
                    asks=(level,) if price in ASKS else (),
                    first_sequence=last + step,
                    last_sequence=now,
                    previous_sequence=last if names_previous else None,
                )
            )
            self.books[now] = dict(book)
            last = now

    def snapshot(self, sequence: int) -> BookSnapshot:
        book = self.books[sequence]
        return BookSnapshot(
            symbol="BTC/USDT",
            bids=tuple((Decimal(price), Decimal(book[price])) for price in reversed(BIDS) if book.get(price)),
            asks=tuple((Decimal(price), Decimal(book[price])) for price in ASKS if book.get(price)),
            sequence=sequence,
        )


class Storm:
    """What may happen to a book; each method is one thing."""

    def __init__(self, truth: Truth, *, lag: int) -> None:
        self.rig = MarketRig()
        self.truth = truth
        self.happened = 0  # deltas at the venue
        self.heard = 0  # the last one that was pushed on this connection
        self.is_up = True
        self.lag = lag  # of the venue's REST behind its own stream
        self.rig.feed.then = self._answer
        self.listener, self.slot = BookListener(BTC, self.rig.means), Latest[BookSnapshot]()
        self.listener.add(self.slot, 100)
        self.listener.on_up()

    async def push(self) -> None:
        self._happen(1)
        self._tell(self.happened - 1)

    async def lose(self) -> None:
        self._happen(1)

    async def repeat(self) -> None:
        self._tell(max(self.happened - 3, 0))

    async def overtake(self) -> None:
        self._happen(2)
        self._tell(self.happened - 1)
        self._tell(self.happened - 2)

    async def cut(self) -> None:
        self.is_up, self.heard = False, 0
        self.listener.on_down("cut")
        assert shown(self.slot) is None

    async def up(self) -> None:
        if not self.is_up:
            self.is_up = True
            self.listener.on_up()

    async def nudge(self) -> None:
        self.listener.catch_up()

    async def turn(self) -> None:
        await asyncio.sleep(0)

    async def wait(self) -> None:
        await self.rig.time.pass_once()

    async def check(self) -> None:
        await asyncio.sleep(0)
        book = shown(self.slot)
        if book is not None:
            assert book.sequence >= self.heard
            true = self.truth.snapshot(book.sequence)
            assert (book.bids, book.asks) == (true.bids, true.asks)

    @property
    def sequence(self) -> int:
        return self.truth.deltas[self.happened - 1].last_sequence if self.happened else 0

    def _tell(self, number: int) -> None:
        if self.is_up:
            self.heard = max(self.heard, self.truth.deltas[number].last_sequence)
            self.listener.on_event(self.truth.deltas[number])

    def _happen(self, count: int) -> None:
        self.happened = min(self.happened + count, len(self.truth.deltas) - 4)

    def _answer(self, _: Any) -> BookSnapshot:
        at = max(self.happened - self.lag, 0)
        return self.truth.snapshot(self.truth.deltas[at - 1].last_sequence if at else 0)


STEPS = (
    *("push", "push", "push", "push", "lose", "repeat", "overtake", "cut", "up", "nudge"),
    *("wait", "wait", "turn", "turn", "turn"),
)
changes = st.lists(st.tuples(st.sampled_from([*BIDS, *ASKS]), st.integers(0, 3)), min_size=50, max_size=50)


@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=60),
    changes=changes,
    names_previous=st.booleans(),
    lag=st.integers(0, 3),
)
def test_a_book_is_true_or_none_and_comes_back(
    steps: list[str], changes: list[tuple[int, int]], *, names_previous: bool, lag: int
) -> None:
    async def scene() -> None:
        storm = Storm(Truth(changes, names_previous=names_previous), lag=lag)
        for step in steps:
            await getattr(storm, step)()
            await storm.check()

        storm.lag = 0
        await storm.up()
        for _ in range(4):  # the stream goes on, whole
            storm.happened += 1
            storm._tell(storm.happened - 1)
        await storm.rig.time.until(lambda: storm.listener.is_settled and storm.listener.has_heard(storm.sequence))
        await storm.check()
        assert shown(storm.slot).sequence == storm.sequence
        storm.listener.stop()
        await storm.rig.stop()

    run(scene())
