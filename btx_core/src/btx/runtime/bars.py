"""Bars to the strategy: history first, then live, each closed bar once and in order."""

import asyncio
import functools
import random
from collections.abc import Callable
from typing import Any

from btx.errors import RateLimitedError, TransportError
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.time import Interval, iso
from btx.model.venue import Channel, StreamStatus, Subscription
from btx.ports import Clock, Feed, Stream, StreamEvent
from btx.rules.backoff import Backoff, delay_s
from btx.runtime.clock import CERTAIN, Doubt
from btx.runtime.guard import Guard
from btx.runtime.mailbox import BarItem, FeedEnd, FeedLive, FeedLost, Mailbox
from btx.runtime.supervisor import REDIAL, StreamSupervisor
from btx.runtime.tasks import Tasks

__all__ = ("BarChannel", "BarDesk")

_BACKOFF = Backoff(base_s=1.0, cap_s=30.0)
_LATE_TRIES = 3
_LATE_PAUSE_S = 0.5  # venues answer for the newest bar a moment after they pushed it


class BarChannel:
    """One feed of one data: what it has delivered, and what it waits for."""

    def __init__(
        self,
        *,
        index: int,
        instrument: Instrument,
        interval: Interval,
        mailbox: Mailbox[BarItem],
        live: bool,
        history: Callable[[int], int],
        end_ns: int | None,
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.interval = interval
        self.mailbox = mailbox
        self.live = live
        self.end_ns = end_ns
        self.is_synced = False  # what the stream pushes next is what the strategy needs next
        self.is_told_live = False
        self.is_ended = False
        self.delivered = 0
        self.next_open_ns: int | None = None
        self.missed_ns: int | None = None  # open time of the last bar that was found missing in the stream
        self._history = history
        self._held: dict[int, Bar] = {}  # live bars by open time, until what lies before them is delivered

    def __str__(self) -> str:
        return f"{self.instrument.symbol} {self.interval}"

    @property
    def hears(self) -> bool:
        """It wants pushes."""
        return self.live and not self.is_ended

    def first_open_ns(self, now_ns: int) -> int:
        """Return where to begin: after the last delivered bar, or where the history that was asked for begins."""
        if self.next_open_ns is None:
            self.next_open_ns = self.interval.open_of(self._history(now_ns))
        return self.next_open_ns

    def is_due(self, now_ns: int) -> bool:
        """Say whether the next bar has closed by ``now_ns``."""
        return self.next_open_ns is not None and self.interval.close_of(self.next_open_ns) <= now_ns

    @property
    def is_complete(self) -> bool:
        """The next bar would close after the end that was asked for."""
        return self.end_ns is not None and self.next_open_ns is not None and not self.is_due(self.end_ns)

    def hold(self, bar: Bar) -> None:
        """Keep a live bar until what lies before it has been delivered."""
        if self.next_open_ns is None or bar.open_ns >= self.next_open_ns:
            self._held[bar.open_ns] = bar

    def first_held(self) -> Bar | None:
        """Return the oldest bar that is held and still wanted."""
        wanted_ns = self.next_open_ns or 0
        self._held = {open_ns: bar for open_ns, bar in self._held.items() if open_ns >= wanted_ns}
        return self._held[min(self._held)] if self._held else None


class BarDesk:
    """All bar feeds of a session over one market connection."""

    def __init__(
        self,
        *,
        feed: Feed,
        stream: Stream,
        clock: Clock,
        guard: Guard,
        post: Callable[[Mailbox[Any], Any, tuple[int, int]], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        on_close: Callable[[Bar, Instrument], None],
        doubt: Callable[[], Doubt] = lambda: CERTAIN,
        backoff: Backoff = _BACKOFF,
        late_tries: int = _LATE_TRIES,
        late_pause_s: float = _LATE_PAUSE_S,
        redial: Backoff = REDIAL,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._guard = guard
        self._post = post
        self._note = note
        self._progressed = progressed
        self._on_close = on_close
        self._doubt = doubt
        self._backoff = backoff
        self._late_tries = late_tries
        self._late_pause_s = late_pause_s
        self._channels: list[BarChannel] = []
        self._opened = 0
        self._dirty = False
        self._tasks = Tasks(self._on_broken)
        self._syncs: dict[int, asyncio.Task[None]] = {}
        self._restarting: asyncio.Task[None] | None = None
        self._supervisor = StreamSupervisor(
            stream=stream,
            sink=self._on_event,
            on_up=self._on_up,
            on_down=self._on_down,
            on_fatal=self._on_fatal,
            backoff=redial,
        )

    # --- opening and closing --------------------------------------------------------------------------

    def open(self, channel: BarChannel) -> None:
        """Take a channel in; it is connected at the strategy's next idle moment, with all others opened by then."""
        channel.index = self._opened
        self._opened += 1
        self._channels.append(channel)
        self._dirty = True

    def close(self, mailbox: Mailbox[BarItem]) -> None:
        """Stop delivering to a mailbox."""
        for channel in [c for c in self._channels if c.mailbox is mailbox]:
            channel.is_ended = True
            self._channels.remove(channel)
            if (task := self._syncs.pop(channel.index, None)) is not None:
                task.cancel()
        self._progressed()

    def connect(self) -> bool:
        """Dial with everything that was opened since the last time; say whether there was anything."""
        if not self._dirty:
            return False
        if self._restarting is None or self._restarting.done():
            self._restarting = self._tasks.start(self._restart(), what="dialling the market stream")
        return True

    @property
    def is_ready(self) -> bool:
        """Every channel has its history delivered and hears the live stream."""
        return not self._dirty and all(c.is_synced or c.is_ended for c in self._channels)

    def has_closed(self, venue_symbol: str, interval: str, open_ns: int) -> bool:
        """Say whether all channels of this kind have delivered the bar that opened at ``open_ns``."""
        return all(
            c.next_open_ns is not None and c.next_open_ns > open_ns
            for c in self._channels
            if c.hears and c.instrument.venue_symbol == venue_symbol and str(c.interval) == interval
        )

    def fetch_overdue(self, *, late_ns: int = 0) -> None:
        """Ask for the bars that have closed, ``late_ns`` ago or more, and were not pushed."""
        for channel in self._channels:
            if channel.hears and channel.is_synced and channel.is_due(self._clock.market_ns() - late_ns):
                self._sync(channel)

    def end(self, error: Exception | None = None) -> None:
        """Tell every feed that nothing follows."""
        for channel in self._channels:
            self._end_channel(channel, error)

    async def stop(self) -> None:
        """Hang up and stop fetching."""
        await self._tasks.stop()
        self._syncs.clear()
        await self._supervisor.stop()

    async def _restart(self) -> None:
        while self._dirty:
            self._dirty = False
            await self._supervisor.stop()
            for channel in self._channels:
                channel.is_synced = False
                if not channel.live and not channel.is_ended:
                    self._sync(channel)
            wanted = {
                (c.instrument.venue_symbol, str(c.interval)): Subscription(
                    channel=Channel.BAR, instrument=c.instrument, interval=c.interval
                )
                for c in self._channels
                if c.hears
            }
            if wanted:
                self._supervisor.start(tuple(wanted.values()))

    # --- what the stream tells --------------------------------------------------------------------------

    def _on_up(self) -> None:
        self._note("CONNECTED", "market stream")
        for channel in self._channels:
            if channel.hears:
                self._sync(channel)

    def _on_down(self, reason: str) -> None:
        self._note("DISCONNECTED", f"market stream: {reason}")
        for channel in self._channels:
            if channel.hears:
                channel.is_synced = False
                self._tell_lost(channel, reason)

    def _on_fatal(self, error: Exception) -> None:
        self._note("FATAL", f"market stream: {error}")
        self.end(error)

    def _on_broken(self, what: str, error: Exception) -> None:
        self._on_fatal(RuntimeError(f"{what}: {type(error).__name__}: {error}"))

    def _on_event(self, event: StreamEvent) -> None:
        if isinstance(event, StreamStatus):
            self._note("FAULT", f"market stream: {event.detail}")
        if not isinstance(event, Bar):
            return
        for channel in self._channels:
            if channel.hears and channel.instrument.symbol == event.symbol and channel.interval == event.interval:
                if event.is_closed:
                    self._take(channel, event)
                else:
                    self._look_back(channel, event)
        if event.is_closed:
            self._progressed()

    def _take(self, channel: BarChannel, bar: Bar) -> None:
        if channel.is_synced and bar.open_ns == channel.next_open_ns:
            self._deliver(channel, bar)
            return
        channel.hold(bar)
        if channel.is_synced and channel.first_held() is not None:
            self._tell_lost(channel, "a bar is missing in the stream")
            self._sync(channel)

    def _look_back(self, channel: BarChannel, forming: Bar) -> None:
        """A bar that forms tells that the one before has closed: look for that one if it was not pushed, once."""
        wanted_ns = channel.next_open_ns
        if channel.is_synced and wanted_ns is not None and forming.open_ns > wanted_ns != channel.missed_ns:
            channel.missed_ns = wanted_ns
            self._tell_lost(channel, "a bar is missing in the stream")
            self._sync(channel)

    # --- history, gaps, and the way back to live -----------------------------------------------------------

    def _sync(self, channel: BarChannel) -> None:
        channel.is_synced = False
        if (old := self._syncs.pop(channel.index, None)) is not None:
            old.cancel()
        self._syncs[channel.index] = self._tasks.start(self._catch_up(channel), what=f"history of {channel}")

    async def _catch_up(self, channel: BarChannel) -> None:
        try:
            await self._fetch_patiently(channel)
        except Exception as error:  # noqa: BLE001 -- whatever broke, the feed must not hang
            self._note("FATAL", f"history of {channel}: {error}")
            self._end_channel(channel, error)
            return
        if not channel.live or channel.is_complete:
            self._end_channel(channel, None)
        elif channel.hears and self._supervisor.is_up:  # else the next connection comes back here
            channel.is_synced = True
            if not channel.is_told_live:
                channel.is_told_live = True
                self._put(channel, FeedLive())
        self._progressed()

    async def _fetch_patiently(self, channel: BarChannel) -> None:
        """Fetch and merge all there is; a live feed outlasts a venue that is not reached."""
        attempt = 0
        while True:
            try:
                await self._fetch_missing(channel)
                await self._join_held(channel)
            except (TransportError, RateLimitedError) as error:
                if not channel.live:
                    raise
                attempt += 1
                self._note("FAULT", f"history of {channel} must wait: {error}")
                wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
                await asyncio.sleep(max(wait_s, getattr(error, "retry_after_s", 0.0)))
            else:
                return

    async def _join_held(self, channel: BarChannel) -> None:
        """Deliver the bars that were pushed meanwhile, and what lies before and between them."""
        while (bar := channel.first_held()) is not None and not channel.is_ended:
            if bar.open_ns != channel.next_open_ns:
                await self._fetch_missing(channel, until_ns=bar.open_ns)
                if channel.first_held() is not bar or channel.is_ended:
                    continue  # fetched with the rest, or an older one was pushed meanwhile
                if bar.open_ns != channel.next_open_ns:
                    self._tell_gap(channel)
            self._deliver(channel, bar)

    async def _fetch_missing(self, channel: BarChannel, until_ns: int | None = None) -> None:
        """Deliver the bars the venue has that closed by now, or by ``until_ns``; the newest may be late.

        History does not say whether its newest bar is closed, and our clock is
        not the venue's: within the doubt around a close it is waited for.
        """
        tries_left = self._late_tries if channel.live else 0
        while not channel.is_ended:
            doubt, now_ns = self._doubt(), self._clock.market_ns()
            start_ns = channel.first_open_ns(now_ns)
            end_ns = until_ns if until_ns is not None else now_ns - doubt.market_ns
            end_ns = end_ns if channel.end_ns is None else min(end_ns, channel.end_ns)
            if not channel.is_due(end_ns):
                held = channel.first_held()
                is_told = held is not None and held.open_ns == channel.next_open_ns
                if until_ns is not None or is_told or channel.is_complete:
                    return
                if not channel.is_due(now_ns + doubt.market_ns):
                    return
                await asyncio.sleep(2 * doubt.wait_s)
                continue
            if await self._fetch_page(channel, start_ns, end_ns):
                continue
            held = channel.first_held()
            if not tries_left or (held is not None and held.open_ns == channel.next_open_ns):
                return
            tries_left -= 1
            await asyncio.sleep(self._late_pause_s)

    async def _fetch_page(self, channel: BarChannel, start_ns: int, end_ns: int) -> bool:
        """Deliver one page; say whether there was anything in it."""
        page = await self._guard.read(
            "bars",
            functools.partial(
                self._feed.bars,
                instrument=channel.instrument,
                interval=channel.interval,
                start_ns=start_ns,
                end_ns=end_ns,
            ),
        )
        for bar in page:
            if channel.is_ended or not bar.is_closed or bar.close_ns > end_ns:
                break
            if bar.open_ns < channel.first_open_ns(start_ns):
                continue
            if channel.delivered and bar.open_ns != channel.next_open_ns:
                self._tell_gap(channel)
            self._deliver(channel, bar)
        return channel.next_open_ns != start_ns

    def _deliver(self, channel: BarChannel, bar: Bar) -> None:
        channel.next_open_ns = bar.close_ns
        if channel.end_ns is None or bar.close_ns <= channel.end_ns:
            channel.delivered += 1
            self._on_close(bar, channel.instrument)
            self._post(channel.mailbox, bar, (bar.close_ns, channel.index))
            self._progressed()
        if channel.live and channel.is_complete:
            self._end_channel(channel, None)

    def _tell_gap(self, channel: BarChannel) -> None:
        self._note("GAP", f"{channel}: the venue has no bar that opens at {iso(channel.next_open_ns or 0)}")

    def _tell_lost(self, channel: BarChannel, reason: str) -> None:
        if channel.is_told_live:
            channel.is_told_live = False
            self._put(channel, FeedLost(reason=reason))

    def _end_channel(self, channel: BarChannel, error: Exception | None) -> None:
        if not channel.is_ended:
            channel.is_ended = True
            self._put(channel, FeedEnd(error=error))
            self._progressed()

    def _put(self, channel: BarChannel, item: BarItem) -> None:
        self._post(channel.mailbox, item, (channel.next_open_ns or 0, channel.index))
