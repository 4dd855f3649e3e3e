"""A venue of books, quotes and trades whose truth is known, and a time that passes only where somebody sleeps."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.model.instrument import Instrument
from btx.model.market import BookDelta, BookLevel, BookSnapshot, Quote, Trade
from btx.model.order import Side
from btx.model.time import NS_PER_S
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest, Unknown
from btx.runtime.listeners import Means
from btx.runtime.tasks import Tasks
from tests.toy_venue import INFO
from tests.values import BTC

_TURNS = 60  # of the loop, until what can happen without time has happened


class VirtualTime:
    """The clocks, and the sleep that moves them."""

    def __init__(self) -> None:
        self.ns = 1_000 * NS_PER_S
        self.sleeps: list[float] = []
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def wire_ns(self) -> int:
        return self.ns

    def market_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.ns + round(seconds * NS_PER_S), next(self._count), waking))
        await waking

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def pass_once(self) -> None:
        """Wake the first sleeper, if there is one."""
        await self.settle()
        self._sleepers = [each for each in self._sleepers if not each[2].done()]
        heapq.heapify(self._sleepers)
        if self._sleepers:
            at_ns, _, waking = heapq.heappop(self._sleepers)
            self.ns = max(self.ns, at_ns)
            waking.set_result(None)
            await self.settle()

    async def until(self, condition: Callable[[], bool], *, within_s: float = 600.0) -> None:
        """Let time pass, sleeper by sleeper, until ``condition``."""
        end_ns = self.ns + round(within_s * NS_PER_S)
        await self.settle()
        while not condition():
            assert any(not waking.done() for _, _, waking in self._sleepers), "nothing is waited for"
            await self.pass_once()
            assert self.ns <= end_ns, "in vain"


def levels(**rows: str) -> tuple[BookLevel, ...]:
    """Return levels written as p100="3"."""
    return tuple((Decimal(name[1:].replace("_", ".")), Decimal(quantity)) for name, quantity in rows.items())


def delta(first: int, last: int, *, bids: Any = (), asks: Any = (), symbol: str = "BTC/USDT", **more: Any) -> BookDelta:
    return BookDelta(symbol=symbol, bids=bids, asks=asks, first_sequence=first, last_sequence=last, **more)


def snapshot(sequence: int, *, bids: Any = (), asks: Any = (), symbol: str = "BTC/USDT") -> BookSnapshot:
    return BookSnapshot(symbol=symbol, bids=tuple(bids), asks=tuple(asks), sequence=sequence)


def quote(sequence: int | None = 1, bid: int = 99, ask: int = 101, symbol: str = "BTC/USDT") -> Quote:
    return Quote(
        symbol=symbol,
        bid_price=Decimal(bid),
        bid_quantity=Decimal(1),
        ask_price=Decimal(ask),
        ask_quantity=Decimal(1),
        sequence=sequence,
    )


def public(number: int | str, symbol: str = "BTC/USDT") -> Trade:
    return Trade(
        symbol=symbol,
        trade_id=number,
        price=Decimal(100),
        quantity=Decimal(1),
        side=Side.BUY,
        time_ns=number_ns(number),
    )


def number_ns(number: int | str) -> int:
    return (10_000 + int(number)) * NS_PER_S  # after every toy's beginning


class MarketFeed:
    """Answers for books and the last trade; ``answers`` are what it says next, an exception is raised."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self.answers: list[Any] = []
        self.then: Callable[[Instrument], Any] = lambda _instrument: snapshot(0)  # when there are none left
        self.made: list[Trade] = []  # the public trades of the venue
        self.gate: asyncio.Event | None = None
        self.asked: list[tuple[int, str, int]] = []  # when, symbol, depth

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        self.asked.append((self._time.ns, instrument.symbol, depth))
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else self.then(instrument)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, BookSnapshot)
        return answer

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        self.asked.append((self._time.ns, instrument.symbol, 0))
        if start_id is not None:
            return [trade for trade in self.made if int(trade.trade_id) >= start_id]
        return [trade for trade in self.made if trade.time_ns >= (start_ns or 0)]


class MarketRig:
    """What a listener needs, and what it says."""

    def __init__(self, **changes: Any) -> None:
        self.time = VirtualTime()
        self.feed = MarketFeed(self.time)
        self.notes: list[tuple[str, str]] = []
        self.faults: list[tuple[str, Exception]] = []
        self.tasks = Tasks(lambda what, error: self.faults.append((what, error)))
        self.guard = Guard(info=INFO, now_ns=lambda: self.time.ns, sleep=self.time.sleep)
        settings: dict[str, Any] = {
            "feed": self.feed,
            "clock": self.time,
            "guard": self.guard,
            "tasks": self.tasks,
            "note": lambda kind, text: self.notes.append((kind, text)),
            "progressed": lambda: None,
            "sleep": self.time.sleep,
            "dense": True,
            "grace_s": 60.0,  # for what a test will push
            "turns": asyncio.Semaphore(2),
        }
        self.means = Means(**(settings | changes))

    def told(self, kind: str) -> list[str]:
        return [text for each, text in self.notes if each == kind]

    async def stop(self) -> None:
        await self.tasks.stop()
        assert self.faults == []


def shown(slot: Latest[Any]) -> Any:
    """Return what a slot shows, None when it is not known."""
    value = slot.get()
    return None if isinstance(value, Unknown) else value


def bids(book: BookSnapshot | None) -> Sequence[tuple[str, str]] | None:
    return None if book is None else [(str(price), str(quantity)) for price, quantity in book.bids]


ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")
