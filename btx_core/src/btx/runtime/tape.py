"""The public trades of one instrument, in order and each once, whatever the stream does."""

import asyncio
import functools
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from btx.errors import RateLimitedError, TransportError
from btx.model.instrument import Instrument
from btx.model.market import Trade
from btx.model.time import NS_PER_S
from btx.model.venue import Channel, Subscription
from btx.ports import Clock, Feed, StreamEvent
from btx.rules.backoff import Backoff, delay_s
from btx.runtime.guard import Guard
from btx.runtime.tasks import Tasks

__all__ = ("Tape", "TapeReader")

_BACKOFF = Backoff(base_s=1.0, cap_s=30.0)
_POLL_S = 3.0
_MOST_HELD = 50_000  # pushes kept while older trades are fetched; what is dropped is fetched as well
_LAG_TRIES = 20  # for history to come as far as the stream, until what is missing counts as lost
_LAG_PAUSE_S = 0.5
_REMEMBERED = 20_000  # ids, where a hole in them says nothing


class TapeReader:
    """What a tape tells whoever it was made for; a subclass overrides what it wants to hear."""

    def on_trade(self, trade: Trade) -> None:
        """Take the next trade."""

    def on_synced(self) -> None:
        """All there is was told; what follows is as fresh as the venue sends it."""

    def on_lost(self, reason: str) -> None:
        """The stream is cut, or misses a trade: what follows is fetched."""

    def on_polled(self, asked_ns: int) -> None:
        """The stream is down; every trade up to ``asked_ns`` (market time) was told by request."""

    def on_gap(self, start_ns: int, end_ns: int, reason: str) -> None:
        """Trades between two times are missing that the venue does not have."""

    def has_room(self) -> bool:
        """Say whether more trades may be told now; later :meth:`Tape.on_room` tells that they may."""
        return True

    def on_slow(self) -> None:
        """There was no room for a push: what follows is fetched when there is."""

    def on_broken(self, error: Exception) -> None:
        """Nothing will follow."""


class Tape:
    """Trades from ``start_ns`` on: a Listener of the market's lines, healed by requests.

    Where ids are dense (``Capabilities.trade_ids_dense``) each id must follow the
    one before it: a hole is fetched before what comes after it is told.  Where they
    are not, the connection is believed while it stands, and after a cut everything
    from the time of the last trade on is fetched; repeats are known by their ids.
    A venue that tells only the newest (``kept``) may not have it all: that is told.
    """

    def __init__(
        self,
        *,
        instrument: Instrument,
        start_ns: int,
        dense: bool,
        kept: int | None = None,
        reader: TapeReader,
        feed: Feed,
        clock: Clock,
        guard: Guard,
        note: Callable[[str, str], None],
        backoff: Backoff = _BACKOFF,
        poll_s: float = _POLL_S,
        most_held: int = _MOST_HELD,
        lag_pause_s: float = _LAG_PAUSE_S,
    ) -> None:
        self.instrument = instrument
        self.is_synced = False
        self.next_id: int | None = None  # where ids are dense
        self._start_ns = start_ns
        self._dense = dense
        self._kept = kept
        self._reader = reader
        self._feed = feed
        self._clock = clock
        self._guard = guard
        self._note = note
        self._backoff = backoff
        self._poll_s = poll_s
        self._most_held = most_held
        self._lag_pause_s = lag_pause_s
        self._held: deque[Trade] = deque()
        self._overflowed = False
        self._room = asyncio.Event()
        self._last_ns: int | None = None
        self._last_sequence: int | None = None
        self._seen: dict[int | str, None] = {}
        self._work: asyncio.Task[None] | None = None
        self._tasks = Tasks(lambda what, error: reader.on_broken(RuntimeError(f"{what}: {error!r}")))

    def __str__(self) -> str:
        return f"trades of {self.instrument.symbol}"

    def has_reached(self, number: int) -> bool:
        """Say whether the trade of this id, or of this sequence where ids are not dense, has been told."""
        if self._dense:
            return self.next_id is not None and self.next_id > number
        return self._last_sequence is not None and self._last_sequence >= number

    @property
    def subscription(self) -> Subscription:
        """What it listens to."""
        return Subscription(channel=Channel.TRADE, instrument=self.instrument)

    # --- what the lines tell -----------------------------------------------------------------------------

    def on_up(self) -> None:
        """Nothing that happens from here on is missed: fetch what happened before."""
        self.sync()

    def on_down(self, reason: str) -> None:
        """Go on by request."""
        self._lose(reason)
        self._held.clear()  # what comes after the cut does not follow on them
        self._begin(self._poll(), f"asking for the {self}")

    def on_event(self, event: StreamEvent) -> None:
        """Take a trade that was pushed, or keep it until those before it are there."""
        if not isinstance(event, Trade):
            return
        if not self.is_synced:
            self._hold(event)
        elif self._is_missing_before(event):
            self._lose("a trade is missing in the stream")
            self._hold(event)
            self.sync()
        elif not self._reader.has_room():
            self._reader.on_slow()
            self._hold(event)
            self.sync()
        elif self._dense and self.next_id is None:  # the first trade ever: was it the first that happened?
            self._hold(event)
            self.sync()
        else:
            self._take(event)

    def on_room(self) -> None:
        """Go on: trades may be told again."""
        self._room.set()

    async def is_stale(self) -> str | None:
        """Say whether the venue has trades that were not pushed."""
        asked_ns, known = self._clock.market_ns(), self.next_id
        for trade in await self._page():
            is_old = trade.time_ns < asked_ns - self._patience_ns
            if is_old and self.next_id == known and self._is_new(trade):
                return f"the venue has {self} that it did not push"
        return None

    # --- what was missed -----------------------------------------------------------------------------------

    def sync(self) -> None:
        """Fetch what is missing, and join the pushes to it."""
        self.is_synced = False
        self._begin(self._catch_up(), str(self))

    async def fetch_all(self, *, end_ns: int | None) -> None:
        """Tell every trade there is now, or up to ``end_ns``, for readers that want nothing live.

        Raises:
            BtxError: the venue did not answer.
        """
        await self._fetch(end_ns=end_ns)

    async def stop(self) -> None:
        """Ask for nothing more."""
        await self._tasks.stop()

    def end(self) -> None:
        """Ask for nothing more; what runs ends soon."""
        if self._work is not None:
            self._work.cancel()

    @property
    def _patience_ns(self) -> int:
        return int(self._poll_s * NS_PER_S)

    def _begin(self, work: Coroutine[Any, Any, None], what: str) -> None:
        self.end()
        self._work = self._tasks.start(work, what=what)

    def _lose(self, reason: str) -> None:
        self.is_synced = False
        self._reader.on_lost(reason)

    async def _catch_up(self) -> None:
        await self._patiently(self._join)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            asked_ns = self._clock.market_ns()
            await self._patiently(self._fetch)
            self._reader.on_polled(asked_ns - self._patience_ns)

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it until the venue is reached; what it refuses for good ends the tape."""
        attempt = 0
        while True:
            try:
                await work()
            except (TransportError, RateLimitedError) as error:
                attempt += 1
                self._note("FAULT", f"{self} must wait: {error}")
                wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
                await asyncio.sleep(max(wait_s, getattr(error, "retry_after_s", 0.0)))
            except Exception as error:  # noqa: BLE001 -- whatever broke, its feeds must not hang
                self._note("FATAL", f"{self}: {error}")
                self._reader.on_broken(error)
                return
            else:
                return

    async def _join(self) -> None:
        while True:
            await self._fetch()
            while self._held and not self._overflowed:
                await self._until_room()
                first = self._held[0]
                if self._is_missing_before(first):
                    await self._wait_for_history(first)
                    if self._held[0] is first and self._is_missing_before(first):
                        self._skip_to(first)
                elif not self._overflowed:
                    self._take(self._held.popleft())
            if not self._overflowed:
                break
            self._overflowed = False  # what was dropped is fetched before what is held
        self.is_synced = True
        self._reader.on_synced()

    async def _wait_for_history(self, first: Trade) -> None:
        """Ask for what lies before a push until history, which may lag behind the stream, has come as far as that."""
        for _ in range(_LAG_TRIES):
            await self._fetch()  # a hole in what it tells is known for one at once
            if self._held[0] is not first or not self._is_missing_before(first):
                return
            await asyncio.sleep(self._lag_pause_s)

    async def _fetch(self, *, end_ns: int | None = None) -> None:
        """Tell what the venue has, to the newest or to the first that was pushed meanwhile."""
        while True:
            await self._until_room()
            page = await self._page()
            self._look_for_hole(page)
            is_new = [self._take(trade) for trade in page if end_ns is None or trade.time_ns < end_ns]
            held = self._held[0] if self._held else None
            if not page and self._dense and self.next_id is None:
                await self._find_place()
            if not any(is_new) or len(is_new) < len(page):
                return
            if self._dense and held is not None and not self._is_missing_before(held):
                return

    def _look_for_hole(self, page: Sequence[Trade]) -> None:
        """Tell it where a page with all the trades that the venue keeps begins later than it was asked to."""
        if self._kept is None or len(page) < self._kept:
            return
        start_ns = self._start_ns if self._last_ns is None else self._last_ns
        if page[0].time_ns > start_ns and not any(trade.trade_id in self._seen for trade in page):
            self._reader.on_gap(start_ns, page[0].time_ns, f"the venue tells of its newest {self._kept} trades only")

    async def _until_room(self) -> None:
        while not self._reader.has_room():
            self._room.clear()
            await self._room.wait()

    async def _find_place(self) -> None:
        """Learn which id comes next where nothing has traded since the start, so that the first hole shows."""
        newest = await self._ask()
        before = [trade for trade in newest if trade.time_ns < self._start_ns]
        if before and self.next_id is None:
            self.next_id = int(before[-1].trade_id) + 1
        for trade in newest:
            self._take(trade)

    async def _page(self) -> Sequence[Trade]:
        if self.next_id is not None:
            return await self._ask(start_id=self.next_id)
        return await self._ask(start_ns=self._start_ns if self._last_ns is None else self._last_ns)

    async def _ask(self, **start: int) -> Sequence[Trade]:
        return await self._guard.read(
            "trades", functools.partial(self._feed.trades, instrument=self.instrument, **start)
        )

    # --- one after the other ---------------------------------------------------------------------------------

    def _hold(self, trade: Trade) -> None:
        if len(self._held) >= self._most_held:
            self._held.clear()
            self._overflowed = True
        self._held.append(trade)

    def _is_missing_before(self, trade: Trade) -> bool:
        return self.next_id is not None and int(trade.trade_id) > self.next_id

    def _is_new(self, trade: Trade) -> bool:
        if self._dense:
            return self.next_id is None or int(trade.trade_id) >= self.next_id
        return trade.trade_id not in self._seen

    def _skip_to(self, trade: Trade) -> None:
        """Go on after trades that nobody has any more."""
        last_id = int(trade.trade_id) - 1
        start_ns = self._start_ns if self._last_ns is None else self._last_ns
        self._reader.on_gap(start_ns, trade.time_ns, f"the venue has no trades {self.next_id} to {last_id}")
        self.next_id = int(trade.trade_id)

    def _take(self, trade: Trade) -> bool:
        """Tell a trade if it is new; say whether it was."""
        is_first = self.next_id is None and self._last_ns is None
        if not self._is_new(trade) or (is_first and trade.time_ns < self._start_ns):
            return False
        if self._dense:
            if self._is_missing_before(trade):
                self._skip_to(trade)
            self.next_id = int(trade.trade_id) + 1
        else:
            self._seen[trade.trade_id] = None
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._last_sequence = trade.sequence
        self._last_ns = trade.time_ns if self._last_ns is None else max(self._last_ns, trade.time_ns)
        self._reader.on_trade(trade)
        return True
