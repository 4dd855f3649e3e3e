"""Bars to the strategy: history first, then live, each closed bar once and in order."""

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

from btx.model.instrument import Instrument
from btx.model.market import Bar, FillerBar, OnGap
from btx.model.time import NS_PER_S, iso
from btx.model.venue import Channel, Subscription
from btx.ports import Clock, Feed, StreamEvent
from btx.rules.backoff import Backoff
from btx.rules.bars import fillers
from btx.runtime.backfill import NONE_THERE, BarHistory
from btx.runtime.channel import BarChannel
from btx.runtime.clock import CERTAIN, Doubt
from btx.runtime.guard import Guard
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import BarItem, FeedDelayed, FeedEnd, FeedGap, FeedLive, FeedLost, Mailbox
from btx.runtime.tasks import Tasks

__all__ = ("BarDesk", "BarTimes")

_BACKOFF = Backoff(base_s=1.0, cap_s=30.0)
_LATE_TRIES = 3
_AGAIN_S = 60.0  # until a bar that the venue did not make either is asked for again
_SLOW_BARS = 2
_LOOK_S = 1.0


class _Ear:
    """What a channel hears of the stream: a ``lines.Listener``."""

    def __init__(self, desk: "BarDesk", channel: BarChannel) -> None:
        self.subscription = Subscription(channel=Channel.BAR, instrument=channel.instrument, interval=channel.interval)
        self._desk = desk
        self._channel = channel

    def on_event(self, event: StreamEvent) -> None:
        assert isinstance(event, Bar)
        self._desk.hear(self._channel, event)

    def on_up(self) -> None:
        self._desk.on_up(self._channel)

    def on_down(self, reason: str) -> None:
        self._desk.on_down(self._channel, reason)

    async def is_stale(self) -> str | None:
        return None  # bars have their hour: the desk sees for itself when one is overdue


@attrs.frozen(kw_only=True)
class BarTimes:
    """How long the bar desk waits for what, in seconds of wall time."""

    late_pause_s: float = 0.5  # until a bar that is late in the venue's history is asked for again
    silent_s: float = 2.0  # after its close, until a bar of which nobody says that it is closed is so
    overdue_s: float = 5.0  # after its close a bar that was not pushed is asked for
    grace_s: float = 2.0  # after a loss, until bars are asked for as they close
    poll_s: float = 1.0  # between two such questions at least
    give_up_s: float = 300.0  # of history out of reach, until the bars that are pushed go without those before them
    settle_s: float = 2.0  # after its close, until the newest bar of an answer is believed: no trade is missing in it
    slow_s: float = 5.0  # that a strategy may be behind before it is told
    slow_pause_s: float = 30.0  # between two such remarks


class BarDesk:
    """All bar feeds of a session.

    ``is_timed=False`` is lockstep: what comes is fetched and merged, and no time
    passes that could be too long.  ``closes_bars``, ``is_sparse`` and ``has_history``
    are what the venue's capabilities say of its bars.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        lines: MarketLines,
        clock: Clock,
        guard: Guard,
        post: Callable[[Mailbox[Any], Any, tuple[int, int]], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        on_close: Callable[[Bar, Instrument], None],
        on_hole: Callable[[str], None] = lambda _reason: None,
        doubt: Callable[[], Doubt] = lambda: CERTAIN,
        span_ns: Callable[[float], int] = lambda wall_s: int(wall_s * NS_PER_S),
        is_timed: bool = True,
        closes_bars: bool = True,
        is_sparse: bool = False,
        has_history: bool = True,
        times: BarTimes = BarTimes(),
        backoff: Backoff = _BACKOFF,
        late_tries: int = _LATE_TRIES,
    ) -> None:
        self._lines = lines
        self._clock = clock
        self._post = post
        self._note = note
        self._progressed = progressed
        self._on_close = on_close
        self._on_hole = on_hole
        self._span_ns = span_ns
        self._is_timed = is_timed
        self._closes_bars = closes_bars
        self._is_sparse = is_sparse
        self._times = times
        self._history = BarHistory(
            feed=feed,
            clock=clock,
            guard=guard,
            deliver=self._deliver,
            skip=self._skip,
            note=note,
            doubt=doubt,
            backoff=backoff,
            late_tries=late_tries,
            late_pause_s=times.late_pause_s,
            give_up_s=times.give_up_s if is_timed else None,
            settle_s=times.settle_s if is_timed else 0.0,
            span_ns=span_ns,
            is_there=has_history,
        )
        self._channels: list[BarChannel] = []
        self._opened = 0
        self._waiting: list[BarChannel] = []  # opened, and not subscribed yet
        self._ears: dict[int, _Ear] = {}
        self._tasks = Tasks(self._on_broken)
        self._syncs: dict[int, asyncio.Task[None]] = {}  # by the channel's index
        self._polls: dict[int, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None
        self._slow_at = 0.0  # loop time before which the strategy is not told that it is slow, or told again

    # --- opening and closing --------------------------------------------------------------------------

    def open(self, channel: BarChannel) -> None:
        """Take a channel in; it is connected at the strategy's next idle moment, with all others opened by then."""
        channel.index = self._opened
        self._opened += 1
        self._channels.append(channel)
        self._waiting.append(channel)

    def close(self, mailbox: Mailbox[BarItem]) -> None:
        """Stop delivering to a mailbox; no other channel notices."""
        for channel in [c for c in self._channels if c.mailbox is mailbox]:
            channel.is_ended = True
            self._channels.remove(channel)
            self._silence(channel)
        self._progressed()

    def connect(self) -> bool:
        """Subscribe everything that was opened since the last time; say whether there was anything."""
        opened, self._waiting = [c for c in self._waiting if not c.is_ended], []
        for channel in opened:
            try:
                self._begin(channel)
            except Exception as error:  # noqa: BLE001 -- its own feed ends by it, and no other
                self._break(channel, "subscribing bars", error)
        return bool(opened)

    def _begin(self, channel: BarChannel) -> None:
        if not channel.live:
            self._sync(channel)
            return
        ear = _Ear(self, channel)
        self._lines.add(ear)
        self._ears[channel.index] = ear
        if self._is_timed:
            self._start_poll(channel)
            if self._watching is None:
                self._watching = self._tasks.start(self._watch(), what="watching for overdue bars")

    @property
    def is_ready(self) -> bool:
        """Every channel has its history delivered and hears the live stream."""
        return not self._waiting and all(c.is_synced or c.is_ended for c in self._channels)

    def has_closed(self, venue_symbol: str, interval: str, open_ns: int) -> bool:
        """Say whether all channels of this kind have delivered the bar that opened at ``open_ns``."""
        return all(
            c.next_open_ns is not None and c.next_open_ns > open_ns
            for c in self._channels
            if c.hears and c.instrument.venue_symbol == venue_symbol and str(c.interval) == interval
        )

    def fetch_overdue(self) -> None:
        """Ask for the bars that have closed and were not pushed."""
        for channel in self._channels:
            if channel.hears and channel.is_synced and channel.is_due(self._clock.market_ns()):
                self._sync(channel)

    def on_room(self, mailbox: Mailbox[BarItem]) -> None:
        """The strategy has caught up with what was kept for it."""
        for channel in self._channels:
            if channel.mailbox is mailbox:
                self._history.on_room(channel)

    def end(self, error: Exception | None = None) -> None:
        """Tell every feed that nothing follows."""
        for channel in self._channels:
            self.end_channel(channel, error)

    async def stop(self) -> None:
        """Stop fetching."""
        await self._tasks.stop()
        self._syncs.clear()
        self._polls.clear()

    # --- what the stream tells --------------------------------------------------------------------------

    def on_up(self, channel: BarChannel) -> None:
        """Fetch what lies before the pushes that come now."""
        channel.is_heard = True
        _cancel(self._polls, channel)
        self._sync(channel)

    def on_down(self, channel: BarChannel, reason: str) -> None:
        """What is pushed now is missed."""
        channel.is_heard = channel.is_synced = False
        channel.drop_forming()
        self._tell_lost(channel, reason)
        if self._is_timed and channel.hears:
            self._start_poll(channel)

    def hear(self, channel: BarChannel, bar: Bar) -> None:
        """Take a push."""
        if not channel.hears:
            return
        if bar.is_closed:
            self._take_closed(channel, bar)
        elif self._closes_bars:
            self._look_back(channel, bar)
        else:
            self._close(channel, bar)

    def close_due(self) -> None:
        """Close the bars whose time is over, where the venue does not say that they are."""
        for channel in tuple(self._channels):
            if channel.hears and not self._closes_bars:
                self._close(channel, None)

    def _close(self, channel: BarChannel, pushed: Bar | None) -> None:
        late_ns = self._span_ns(self._times.silent_s) if self._is_timed else 0
        for bar in channel.grow(pushed, self._clock.market_ns() - late_ns):
            self._take_closed(channel, bar)

    def _take_closed(self, channel: BarChannel, bar: Bar) -> None:
        channel.pushed_ns = max(channel.pushed_ns, bar.open_ns)
        self._take(channel, bar)
        self._progressed()

    def _take(self, channel: BarChannel, bar: Bar) -> None:
        if channel.is_synced and channel.is_next(bar) and not channel.lacks_room:
            self._deliver(channel, bar)
            return
        channel.hold(bar)
        if channel.is_synced and channel.first_held() is not None:
            waiting = len(channel.mailbox)
            is_slow = channel.lacks_room
            if is_slow or not self._is_sparse:
                self._tell_lost(channel, "the strategy is too slow" if is_slow else "a bar is missing in the stream")
            if is_slow:
                self._note("SLOW", f"{channel}: {waiting} bars wait, what follows is fetched when they are taken")
            self._sync(channel)

    def _look_back(self, channel: BarChannel, forming: Bar) -> None:
        """A bar that forms tells that the one before has closed: look for that one if it was not pushed, once."""
        wanted_ns = channel.next_open_ns
        if self._is_sparse:
            return  # it may not exist
        if channel.is_synced and wanted_ns is not None and forming.open_ns > wanted_ns != channel.missed_ns:
            channel.missed_ns = wanted_ns
            self._tell_lost(channel, "a bar is missing in the stream")
            self._sync(channel)

    def _silence(self, channel: BarChannel) -> None:
        if (ear := self._ears.pop(channel.index, None)) is not None:
            self._lines.remove(ear)
        _cancel(self._syncs, channel)
        _cancel(self._polls, channel)

    # --- the way back to live -------------------------------------------------------------------------------

    def _sync(self, channel: BarChannel) -> None:
        channel.is_synced = False
        _cancel(self._syncs, channel)
        self._syncs[channel.index] = self._tasks.start(self._catch_up(channel), what=f"history of {channel}")

    async def _catch_up(self, channel: BarChannel) -> None:
        if not await self._fetch(channel):
            return
        if channel.hears and channel.is_heard:  # else the next connection comes back here
            channel.is_synced = True
            if not channel.is_told_live:
                channel.is_told_live = channel.was_live = True
                self._slow_at = asyncio.get_running_loop().time() + self._times.slow_s
                self._put(channel, FeedLive())
        self._progressed()

    async def _fetch(self, channel: BarChannel) -> bool:
        """Fetch and deliver all there is; say whether more will follow."""
        try:
            await self._history.fetch(channel)
        except Exception as error:  # noqa: BLE001 -- whatever broke, the feed must not hang
            self._break(channel, f"history of {channel}", error)
            return False
        if not channel.live or channel.is_complete:
            self.end_channel(channel, None)
        return not channel.is_ended

    def _start_poll(self, channel: BarChannel) -> None:
        if not channel.is_heard:
            _cancel(self._polls, channel)
            self._polls[channel.index] = self._tasks.start(self._poll(channel), what=f"asking for {channel}")

    async def _poll(self, channel: BarChannel) -> None:
        """Ask for each bar as it closes, until the stream stands: late, but there."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._times.grace_s)
        _cancel(self._syncs, channel)  # what it was at is gone on with here: two would wait for one room
        self._note("DEGRADED", f"{channel}: the stream is down, its bars are asked for as they close")
        is_told = False
        while True:
            asked_at = loop.time()
            if not await self._fetch(channel):
                return
            if not is_told:
                is_told = True
                self._put(channel, FeedDelayed())
            wait_s = self._wait_s(channel.next_open_ns, channel)
            # Not in one piece: our clock may be set meanwhile. What is not due is not asked for.
            await asyncio.sleep(max(min(wait_s, _LOOK_S), self._times.poll_s - (loop.time() - asked_at)))

    def _wait_s(self, open_ns: int | None, channel: BarChannel) -> float:
        """Return the wall time until the bar that opens at ``open_ns`` has closed."""
        market_ns = self._clock.market_ns()
        close_ns = channel.interval.close_of(open_ns if open_ns is not None else market_ns)
        return (close_ns - market_ns) / max(self._span_ns(1.0), 1)

    async def _watch(self) -> None:
        """Ask for bars that are overdue. One that was traded in, and not pushed, says that the stream is stale."""
        loop, overdue_s = asyncio.get_running_loop(), self._times.overdue_s
        while True:
            await asyncio.sleep(min(overdue_s / 4, 1.0))
            self.close_due()
            now_ns = self._clock.market_ns() - self._span_ns(overdue_s)
            for channel in tuple(self._channels):
                is_late = channel.hears and channel.is_synced and channel.is_due(now_ns)
                if is_late and loop.time() >= channel.ask_at:
                    channel.is_synced = False
                    _cancel(self._syncs, channel)
                    work = self._make_good(channel)
                    self._syncs[channel.index] = self._tasks.start(work, what=f"an overdue bar of {channel}")

    async def _make_good(self, channel: BarChannel) -> None:
        wanted_ns, before = channel.next_open_ns or 0, channel.last
        await self._catch_up(channel)
        if not channel.hears or not channel.is_heard or channel.pushed_ns >= wanted_ns:
            return  # it was on its way
        if channel.last is before:  # the venue made none: it may not have been traded in
            channel.ask_at = asyncio.get_running_loop().time() + _AGAIN_S
        elif channel.last is not None and channel.last.volume:
            ear = self._ears[channel.index]
            self._lines.renew(ear.subscription, f"the bar that opened at {iso(wanted_ns)} was not pushed")

    # --- to the strategy ---------------------------------------------------------------------------------------

    def _deliver(self, channel: BarChannel, bar: Bar) -> None:
        channel.move_to(bar.close_ns)
        if channel.end_ns is None or bar.close_ns <= channel.end_ns:
            channel.delivered += 1
            channel.last = bar
            if not isinstance(bar, FillerBar):
                self._on_close(bar, channel.instrument)
            self._post(channel.mailbox, bar, (bar.close_ns, channel.index))
            self._progressed()
            if channel.is_told_live:
                self._look_after(channel)
        if channel.live and channel.is_complete:
            self.end_channel(channel, None)

    def _look_after(self, channel: BarChannel) -> None:
        """Tell a slow strategy how far behind it is, from time to time; one that waits for history is not slow."""
        loop = asyncio.get_running_loop()
        waiting, oldest = len(channel.mailbox), channel.mailbox.peek()
        if waiting < _SLOW_BARS or not isinstance(oldest, Bar) or loop.time() < self._slow_at:
            return
        behind_s = (self._clock.market_ns() - oldest.close_ns) / max(self._span_ns(1.0), 1)
        if behind_s < self._times.slow_s or any(each.hears and not each.was_live for each in self._channels):
            return
        self._slow_at = loop.time() + self._times.slow_pause_s
        others = sum(each is not channel and len(each.mailbox) >= _SLOW_BARS for each in self._channels)
        more = f"; bars of {others} more datas wait" if others else ""
        self._note("SLOW", f"{channel}: the strategy is {waiting} bars and {behind_s:.0f} s behind{more}")

    def _skip(self, channel: BarChannel, until_ns: int, reason: str) -> None:
        """Bars up to ``until_ns`` cannot be had: tell it, and do what the user wants done about it."""
        start_ns = channel.next_open_ns if channel.next_open_ns is not None else until_ns
        if self._is_sparse and reason == NONE_THERE:
            channel.move_to(until_ns)
            return
        is_filled = channel.on_gap is OnGap.MARK and channel.last is not None
        text = f"{channel}: no bars from {iso(start_ns)} to {iso(until_ns)}: {reason}"
        self._note("GAP", text)
        self._put(channel, FeedGap(start_ns=start_ns, end_ns=until_ns, reason=reason, is_filled=is_filled))
        if channel.on_gap is OnGap.HALT and channel.was_live:  # a hole in old history was nobody's loss
            self._on_hole(text)
        if is_filled and channel.last is not None:
            for filler in fillers(channel.last, until_ns=until_ns, calendar=channel.calendar):
                self._deliver(channel, filler)
        channel.move_to(until_ns)

    def _tell_lost(self, channel: BarChannel, reason: str) -> None:
        if channel.is_told_live:
            channel.is_told_live = False
            self._put(channel, FeedLost(reason=reason))

    def _break(self, channel: BarChannel, what: str, error: Exception) -> None:
        self._note("FATAL", f"{what}: {error}")
        self.end_channel(channel, error)

    def end_channel(self, channel: BarChannel, error: Exception | None) -> None:
        """Tell a feed that nothing follows."""
        if not channel.is_ended:
            channel.is_ended = True
            self._silence(channel)
            self._put(channel, FeedEnd(error=error))
            self._progressed()

    def _put(self, channel: BarChannel, item: BarItem) -> None:
        self._post(channel.mailbox, item, (channel.next_open_ns or 0, channel.index))

    def _on_broken(self, what: str, error: Exception) -> None:
        self._note("FATAL", f"{what}: {type(error).__name__}: {error}")
        self.end(error)


def _cancel(tasks: "dict[int, asyncio.Task[None]]", channel: BarChannel) -> None:
    task = tasks.pop(channel.index, None)
    if task is not None and task is not asyncio.current_task():  # one that comes to its end by itself may finish
        task.cancel()
