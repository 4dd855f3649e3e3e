"""Bars by request: everything up to now, and what lies between what was pushed meanwhile."""

import asyncio
import functools
import random
from collections.abc import Callable, Sequence

from btx.errors import RateLimitedError, TransportError
from btx.model.market import Bar
from btx.ports import Clock, Feed
from btx.rules.backoff import Backoff, delay_s
from btx.runtime.channel import BarChannel
from btx.runtime.clock import Doubt
from btx.runtime.guard import Guard

__all__ = ("NONE_THERE", "BarHistory")

NONE_THERE = "the venue has none"
"""Why bars are passed over which the venue was asked for, and did not make."""

_LAG_TRIES = 20  # for history to come as far as the stream, until what is missing counts as lost
_LOOK_S = 0.2


class BarHistory:
    """Brings channels up to date; ``deliver`` takes each bar, ``skip`` hears of bars that cannot be had.

    ``skip(channel, until_ns, reason)`` moves the channel to ``until_ns``.
    ``give_up_s`` is how long history may be out of reach while the stream pushes
    what lies behind the hole; None: for ever.  ``settle_s`` is how old the newest
    bar of an answer must be: history is often a copy, which may lack the last
    trades of a bar that has just closed.  Where it ``is_there`` not at all, a feed begins with what is pushed.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        clock: Clock,
        guard: Guard,
        deliver: Callable[[BarChannel, Bar], None],
        skip: Callable[[BarChannel, int, str], None],
        note: Callable[[str, str], None],
        doubt: Callable[[], Doubt],
        backoff: Backoff,
        late_tries: int,
        late_pause_s: float,
        give_up_s: float | None,
        settle_s: float = 0.0,
        span_ns: Callable[[float], int] = lambda _wall_s: 0,
        is_there: bool = True,
    ) -> None:
        self._feed = feed
        self._clock = clock
        self._guard = guard
        self._deliver = deliver
        self._skip = skip
        self._note = note
        self._doubt = doubt
        self._backoff = backoff
        self._late_tries = late_tries
        self._late_pause_s = late_pause_s
        self._give_up_s = give_up_s
        self._settle_s = settle_s
        self._span_ns = span_ns
        self._is_there = is_there
        self._room: dict[int, asyncio.Event] = {}  # by the channel's index, while it waits for some

    def on_room(self, channel: BarChannel) -> None:
        """The strategy has taken most of what it had to take."""
        if (event := self._room.get(channel.index)) is not None:
            event.set()

    async def fetch(self, channel: BarChannel) -> None:
        """Deliver all there is, in order; a live feed outlasts a venue that is not reached.

        Raises:
            BtxError: it never will be there; of a feed that is not live, whatever it was.
        """
        if not self._is_there:
            self._deliver_pushed(channel)
            return
        loop = asyncio.get_running_loop()
        attempt, failing_since = 0, loop.time()
        while True:
            try:
                await self._fetch_missing(channel)
                await self._join_held(channel)
            except (TransportError, RateLimitedError) as error:
                if not channel.live:
                    raise
                attempt += 1
                self._note("FAULT", f"history of {channel} must wait: {error}")
                if self._give_up_s is not None and loop.time() - failing_since >= self._give_up_s:
                    self._give_up(channel, f"history was out of reach for {self._give_up_s:g} s: {error}")
                wait_s = delay_s(self._backoff, attempt=attempt, random=random.random())  # noqa: S311 -- jitter
                await asyncio.sleep(max(wait_s, getattr(error, "retry_after_s", 0.0)))
            else:
                return

    def _deliver_pushed(self, channel: BarChannel) -> None:
        """Deliver what was pushed, where nothing else can be had."""
        channel.first_open_ns(self._clock.market_ns())
        while not channel.is_ended and not channel.lacks_room and (held := channel.first_held()) is not None:
            self._deliver_behind_hole(channel, held)

    def _give_up(self, channel: BarChannel, reason: str) -> None:
        """Go on with what was pushed; what lies before it may never be known."""
        held = channel.first_held()
        if held is None:
            return  # nothing to go on with: there is no hole yet, only an end
        self._skip(channel, held.open_ns, reason)
        self._deliver_held(channel)

    def _deliver_held(self, channel: BarChannel) -> None:
        """Deliver what was pushed and is next: the stream knows a bar better than history, which may lag."""
        while not channel.is_ended and channel.holds_next:
            bar = channel.first_held()
            assert bar is not None
            self._deliver(channel, bar)

    async def _join_held(self, channel: BarChannel) -> None:
        """Deliver the bars that were pushed meanwhile, and what lies before and between them."""
        while (bar := channel.first_held()) is not None and not channel.is_ended:
            if not channel.is_next(bar):
                await self._fetch_missing(channel, until_ns=bar.open_ns)
                if channel.first_held() is bar and not channel.holds_next:
                    await self._wait_for_history(channel, bar)
                if channel.first_held() is not bar or channel.is_ended:
                    continue  # fetched with the rest, or an older one was pushed meanwhile
                if not channel.is_next(bar):
                    self._skip(channel, bar.open_ns, NONE_THERE)
            self._deliver(channel, bar)

    async def _wait_for_history(self, channel: BarChannel, bar: Bar) -> None:
        """Ask for what lies before ``bar`` until history, which may lag behind the stream, has come as far as that."""
        for _ in range(_LAG_TRIES):
            has_come = bool(await self._page(channel, bar.open_ns, bar.close_ns))
            await self._fetch_missing(channel, until_ns=bar.open_ns)
            if has_come or channel.is_ended or channel.first_held() is not bar or channel.holds_next:
                return
            await asyncio.sleep(self._late_pause_s)

    async def _fetch_missing(self, channel: BarChannel, until_ns: int | None = None) -> None:
        """Deliver the bars the venue has that closed by now, or by ``until_ns``; the newest may be late.

        History does not say whether its newest bar is closed, and our clock is
        not the venue's: within the doubt around a close it is waited for.
        """
        tries_left = self._late_tries if channel.live else 0
        begun_ns = self._clock.market_ns()
        while not channel.is_ended:
            await self._wait_for_room(channel)
            self._deliver_held(channel)
            doubt, now_ns = self._doubt(), self._clock.market_ns()
            start_ns = channel.first_open_ns(now_ns)
            end_ns = until_ns if until_ns is not None else now_ns - doubt.market_ns
            end_ns = end_ns if channel.end_ns is None else min(end_ns, channel.end_ns)
            if not channel.is_due(end_ns):
                if until_ns is not None or channel.is_complete or not channel.is_due(now_ns + doubt.market_ns):
                    return
                await asyncio.sleep(2 * doubt.wait_s)
                continue
            # Also what was pushed is asked for: a bar is known to be whole where a newer one comes with it.
            end_ns = end_ns if channel.end_ns is not None else max(end_ns, now_ns - doubt.market_ns)
            page = await self._page(channel, start_ns, end_ns)
            young = self._take_page(channel, page, end_ns, asked_ns=now_ns)
            if young is not None and (until_ns is None or young.open_ns < until_ns):
                if until_ns is None and young.close_ns > begun_ns:
                    return  # it closed meanwhile: it is pushed, or asked for next time
                await self._let_settle(channel, young)
            elif channel.next_open_ns == start_ns:
                if not tries_left or channel.holds_next:
                    return
                tries_left -= 1
                await asyncio.sleep(self._late_pause_s)

    async def _let_settle(self, channel: BarChannel, young: Bar) -> None:
        """Wait until a bar of history is old enough, or a newer one has closed, or it was pushed."""
        newer_ns = channel.interval.close_of(young.close_ns)
        while (
            not channel.is_ended
            and not channel.holds_next
            and (left_s := self._youth_s(young, self._clock.market_ns())) > 0.0
        ):
            until_newer_s = (newer_ns - self._clock.market_ns()) / self._span_ns(1.0)
            await asyncio.sleep(min(left_s, _LOOK_S, max(until_newer_s, self._late_pause_s)))
            if until_newer_s <= 0.0:
                return

    def _youth_s(self, bar: Bar, asked_ns: int) -> float:
        """Return how much later, in wall time, history's version of a bar can be believed; 0 or less: it can."""
        second_ns = self._span_ns(1.0)
        if not second_ns:
            return 0.0
        return self._settle_s - (asked_ns - self._doubt().market_ns - bar.close_ns) / second_ns

    async def _wait_for_room(self, channel: BarChannel) -> None:
        """Fetch nothing that the strategy cannot take yet: it stays at the venue, not in memory."""
        while channel.lacks_room:
            channel.be_full()
            event = self._room[channel.index] = asyncio.Event()
            try:
                if channel.lacks_room:  # not before there is something to be told by
                    await event.wait()
            finally:
                if self._room.get(channel.index) is event:  # else who goes on in its place waits already
                    del self._room[channel.index]
        channel.is_full = False

    async def _page(self, channel: BarChannel, start_ns: int, end_ns: int) -> Sequence[Bar]:
        return await self._guard.read(
            "bars",
            functools.partial(
                self._feed.bars,
                instrument=channel.instrument,
                interval=channel.interval,
                start_ns=start_ns,
                end_ns=end_ns,
            ),
        )

    def _take_page(self, channel: BarChannel, page: Sequence[Bar], end_ns: int, *, asked_ns: int) -> Bar | None:
        """Deliver one page; return its newest bar where that may still be without its last trades."""
        closed = [bar for bar in page if bar.is_closed and bar.close_ns <= end_ns]
        for bar in closed:
            self._deliver_held(channel)
            if channel.is_ended or channel.is_past(bar):
                continue
            if bar is closed[-1] and self._youth_s(bar, asked_ns) > 0.0:  # the answer may have been long under way
                return bar
            while channel.hears and (held := channel.first_held()) is not None and held.open_ns <= bar.open_ns:
                self._deliver_behind_hole(channel, held)
            self._deliver_behind_hole(channel, bar)
        return None

    def _deliver_behind_hole(self, channel: BarChannel, bar: Bar) -> None:
        """Deliver a bar that is not before the next; what is missing before it the venue does not have."""
        if channel.is_ended or channel.is_past(bar):
            return
        if channel.delivered and not channel.is_next(bar):
            self._skip(channel, bar.open_ns, NONE_THERE)
        self._deliver(channel, bar)
