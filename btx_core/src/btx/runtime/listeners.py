"""Quotes and public trades of one instrument each, as the stream pushes them, into slots of the strategy's thread."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import attrs

from btx.errors import BtxError
from btx.model.instrument import Instrument
from btx.model.market import BookSnapshot, Quote, Trade
from btx.model.time import iso
from btx.model.venue import Channel, Subscription
from btx.ports import Clock, Feed, StreamEvent
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest, Prints, Unknown
from btx.runtime.tape import Tape, TapeReader
from btx.runtime.tasks import Tasks

__all__ = ("MarketListener", "Means", "QuoteListener", "TradeListener")

_TOP_DEPTH = 5


class MarketListener(Protocol):
    """What a desk asks of each listener, beside what the line asks of it."""

    subscription: Subscription

    def add(self, slot: Any, depth: int) -> None:
        """Fill a slot from now on."""

    def remove(self, slot: Any) -> bool:
        """Leave a slot alone; say whether none is left."""

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way that would change what is shown."""

    def has_heard(self, sequence: int) -> bool:
        """Say whether what is shown contains this sequence, or trade."""

    def catch_up(self) -> None:
        """Ask for what should have been pushed and was not."""

    def on_up(self) -> None:
        """Pushes come from now on."""

    def on_down(self, reason: str) -> None:
        """The stream does not tell any more."""

    def on_event(self, event: StreamEvent) -> None:
        """Take one push."""

    async def is_stale(self) -> str | None:
        """Return why the stream lags behind the venue, None when nothing happens there; raises what REST does."""

    def stop(self) -> None:
        """Ask for nothing more."""

    async def ended(self) -> None:
        """Wait until nothing of it runs."""


@attrs.frozen(kw_only=True, eq=False)
class Means:
    """What the listeners of one desk share."""

    feed: Feed
    clock: Clock
    guard: Guard
    tasks: Tasks
    note: Callable[[str, str], None]
    progressed: Callable[[], None]
    sleep: Callable[[float], Awaitable[None]]
    dense: bool  # the numbers of public trades have no holes
    kept: int | None = None  # so many public trades are all that history tells
    grace_s: float  # for a push that REST knows of already
    turns: asyncio.Semaphore  # so that many resynchronising books leave room for the bars' history

    async def top(self, instrument: Instrument) -> BookSnapshot:
        """Ask for the best levels alone, which costs little.

        Raises:
            BtxError: what the venue, or the guard, said.
        """
        request = functools.partial(self.feed.book, instrument=instrument, depth=_TOP_DEPTH)
        async with self.turns:
            return await self.guard.send("book_top", request)

    async def hears_in_time(self, news: asyncio.Event, is_heard: Callable[[], bool]) -> bool:
        """Say whether what REST told of is pushed in a moment."""
        try:
            async with asyncio.timeout(self.grace_s):
                while not is_heard():
                    news.clear()
                    await news.wait()
        except TimeoutError:
            return False
        return True


class QuoteListener:
    """Best bid and ask of one instrument: the newest wins.

    A stream that stands says nothing before something changes, so the first
    quote after a connection is asked for.
    """

    def __init__(self, instrument: Instrument, means: Means) -> None:
        self.subscription = Subscription(channel=Channel.QUOTE, instrument=instrument)
        self._instrument = instrument
        self._means = means
        self._slots: list[Latest[Quote]] = []
        self._quote: Quote | None = None
        self._trouble = "no quote has come so far"
        self._is_up = False
        self._asking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def __str__(self) -> str:
        return f"quotes of {self._instrument.symbol}"

    def add(self, slot: Latest[Quote], depth: int) -> None:  # noqa: ARG002 -- one level on each side
        """Fill a slot from now on."""
        self._slots.append(slot)
        if self._quote is None:
            slot.put(Unknown(f"{self}: {self._trouble}"), updates=0)
        else:
            slot.put(self._quote)

    def remove(self, slot: Latest[Quote]) -> bool:
        """Leave a slot alone; say whether none is left."""
        if slot in self._slots:
            self._slots.remove(slot)
        return not self._slots

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way that would change what is shown."""
        return self._is_up and self._asking is None

    def has_heard(self, sequence: int) -> bool:
        """Say whether the newest quote is of this sequence, or later."""
        return self._quote is not None and (self._quote.sequence is None or self._quote.sequence >= sequence)

    def catch_up(self) -> None:
        """Ask for the quote as it is now."""
        if self._is_up and self._asking is None:
            self._asking = self._means.tasks.start(self._ask(), what=f"{self}")

    def on_up(self) -> None:
        """Pushes come from now on."""
        self._is_up = True
        self.catch_up()

    def on_down(self, reason: str) -> None:
        """A quote that is not carried on is none."""
        self._is_up = False
        self.stop()
        self._quote, self._trouble = None, reason
        for slot in self._slots:
            slot.put(Unknown(f"{self}: {reason}"), updates=0)
        self._news.set()

    def on_event(self, event: StreamEvent) -> None:
        """Take a quote, unless it is older than what is known."""
        if not isinstance(event, Quote):
            return
        known = self._quote
        if known is not None and None not in (known.sequence, event.sequence) and not _is_newer(event, known):
            return
        self._quote = event
        for slot in self._slots:
            slot.put(event)
        self._news.set()
        self._means.progressed()

    async def is_stale(self) -> str | None:
        """Return why the stream lags behind the venue, None when nothing happens there; raises what REST does."""
        there = _quote_of(await self._means.top(self._instrument))
        if there is None or await self._means.hears_in_time(self._news, lambda: not self._differs(there)):
            return None
        return f"{self}: the venue is at update {there.sequence}, its stream stands still"

    def stop(self) -> None:
        """Ask for nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def ended(self) -> None:
        """Nothing: its requests are the desk's tasks."""

    def _differs(self, there: Quote) -> bool:
        """Say whether ``there`` is newer and says something else: behind a quiet top the sequence moves on."""
        here = self._quote
        if not self._is_up or (here is not None and not _is_newer(there, here)):
            return False
        return here is None or attrs.evolve(here, sequence=None, time_ns=None) != attrs.evolve(there, sequence=None)

    async def _ask(self) -> None:
        try:
            there = _quote_of(await self._means.top(self._instrument))
            if there is not None:
                self.on_event(there)
        except BtxError as error:
            self._means.note("FAULT", f"{self}: {error}")  # the stream will tell
        finally:
            if self._asking is asyncio.current_task():
                self._asking = None
        self._means.progressed()


class TradeListener(TapeReader):
    """Public trades of one instrument, in order and each once; what the stream misses is fetched."""

    def __init__(self, instrument: Instrument, means: Means) -> None:
        self.subscription = Subscription(channel=Channel.TRADE, instrument=instrument)
        self._instrument = instrument
        self._means = means
        self._slots: list[Prints] = []
        self._last: int | None = None
        self._is_broken = False
        self._tape = Tape(
            instrument=instrument,
            start_ns=means.clock.market_ns(),
            dense=means.dense,
            kept=means.kept,
            reader=self,
            feed=means.feed,
            clock=means.clock,
            guard=means.guard,
            note=means.note,
        )

    def add(self, slot: Prints, depth: int) -> None:  # noqa: ARG002 -- trades have none
        """Fill a slot from now on."""
        self._slots.append(slot)

    def remove(self, slot: Prints) -> bool:
        """Leave a slot alone; say whether none is left."""
        if slot in self._slots:
            self._slots.remove(slot)
        return not self._slots

    @property
    def is_settled(self) -> bool:
        """Nothing is on its way that would change what is shown."""
        return self._tape.is_synced or self._is_broken

    def has_heard(self, sequence: int) -> bool:
        """Say whether the trade of this number has come, or nobody has it."""
        return self._is_broken or (self._last is not None and self._last >= sequence)

    def catch_up(self) -> None:
        """See which trades were not pushed."""
        if self._tape.is_synced:
            self._tape.sync()

    def stop(self) -> None:
        """Ask for nothing more."""
        self._tape.end()

    async def ended(self) -> None:
        """Wait until nothing of it runs."""
        await self._tape.stop()

    # --- what the line tells: the tape's business -----------------------------------------------------------

    def on_up(self) -> None:
        """Pushes come from now on."""
        self._tape.on_up()

    def on_down(self, reason: str) -> None:
        """The stream does not tell any more: trades are asked for."""
        self._tape.on_down(reason)

    def on_event(self, event: StreamEvent) -> None:
        """Take one push."""
        self._tape.on_event(event)

    async def is_stale(self) -> str | None:
        """Return why the stream lags behind the venue, None when nothing happens there; raises what REST does."""
        return await self._tape.is_stale()

    # --- what the tape tells --------------------------------------------------------------------------------

    def on_trade(self, trade: Trade) -> None:
        missed = 0
        number = trade.trade_id if trade.sequence is None else trade.sequence
        if isinstance(number, int):
            missed = number - self._last - 1 if self._last is not None and self._means.dense else 0
            self._last = number
        for slot in self._slots:
            slot.missed += missed
            slot.put(trade)
        self._means.progressed()

    def on_synced(self) -> None:
        self._means.progressed()

    def on_gap(self, start_ns: int, end_ns: int, reason: str) -> None:
        text = f"trades are missing between {iso(start_ns)} and {iso(end_ns)}: {reason}"
        self._means.note("GAP", f"{self._instrument.symbol}: {text}")

    def on_broken(self, error: Exception) -> None:  # noqa: ARG002 -- the tape has told
        self._is_broken = True
        self._means.progressed()


def _is_newer(quote: Quote, than: Quote) -> bool:
    return (quote.sequence or 0) > (than.sequence or 0)


def _quote_of(book: BookSnapshot) -> Quote | None:
    if not (book.bids and book.asks):
        return None
    (bid_price, bid_quantity), (ask_price, ask_quantity) = book.bids[0], book.asks[0]
    return Quote(
        symbol=book.symbol,
        bid_price=bid_price,
        bid_quantity=bid_quantity,
        ask_price=ask_price,
        ask_quantity=ask_quantity,
        sequence=book.sequence,
        time_ns=book.time_ns,
    )
