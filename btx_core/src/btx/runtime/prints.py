"""Bars made of public trades, and trades themselves as bars: history first, then live, each once and in order."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from btx.errors import BtxError, ConfigError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.market import Bar, OnGap, Trade
from btx.model.time import NS_PER_DAY, Interval, iso
from btx.ports import Clock, Feed
from btx.rules.bars import BarFold, TradeFold, begin_after, close_due, fold, fold_bar
from btx.rules.calendar import next_bar
from btx.runtime.clock import CERTAIN, Doubt
from btx.runtime.guard import Guard
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import BarItem, FeedDelayed, FeedEnd, FeedGap, FeedLive, FeedLost, Mailbox
from btx.runtime.tape import Tape, TapeReader
from btx.runtime.tasks import Tasks

__all__ = ("LONGEST_HISTORY_NS", "Making", "TradeChannel", "TradeDesk")

_GRACE_S = 1.0  # after its close a quiet market's bar waits so long for trades that are under way
_SETTLE_S = 2.0  # after its close a bar of history is believed
_MOST = 100_000  # bars that may wait for the strategy
LONGEST_HISTORY_NS = NS_PER_DAY  # of trades: a day of a busy instrument is more than a thousand requests


@attrs.frozen(kw_only=True)
class Making:
    """How bars are made of trades.

    With ``part`` the bars that had closed before the start are the venue's own
    klines, or folded of them; only what forms then is made of trades.  With
    ``fills`` an interval nobody traded in has a flat bar.
    """

    part: Interval | None = None
    fills: bool = False


class TradeChannel:
    """One feed of bars made of trades: what it has delivered, and what it waits for.

    ``history(now_ns)`` says from when on; ``history_trades`` in its place counts
    trades back from the newest.
    """

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
        making: Making,
        history_trades: int = 0,
        on_gap: OnGap = OnGap.HALT,
        most: int = _MOST,
        calendar: Calendar = ALWAYS,
    ) -> None:
        self.index = index
        self.instrument = instrument
        self.interval = interval
        self.mailbox = mailbox
        self.live = live
        self.history = history
        self.end_ns = end_ns
        self.history_trades = history_trades
        self.part = making.part
        self.on_gap = on_gap
        self.most = most  # bars that may wait for the strategy
        self.was_live = False
        self.is_delayed = False  # told so, since the stream is down
        self.start_ns: int | None = None
        self.start_id: int | None = None
        self.is_told_live = False
        self.is_ended = False
        self.delivered = 0
        self.fold = TradeFold(symbol=instrument.symbol, interval=interval, fills=making.fills, calendar=calendar)

    def __str__(self) -> str:
        return f"{self.instrument.symbol} {self.interval}"

    @property
    def late(self) -> int:
        """How many trades came after their bar had closed, and are in none."""
        return self.fold.late

    @property
    def due_ns(self) -> int | None:
        """When the bar in the making is over; None when there is none, or it ends with a trade."""
        if not self.interval.is_timed:
            return None
        if self.fold.forming is not None:
            return self.fold.forming.close_ns
        if self.fold.fills and self.fold.last_price is not None:
            return self.interval.close_of(next_bar(self.fold.calendar, self.interval, self.fold.floor_ns))
        return None

    def wants(self, trade: Trade) -> bool:
        """Say whether a trade lies in what was asked for."""
        if self.is_ended or self.start_ns is None or trade.time_ns < self.start_ns:
            return False
        return self.start_id is None or not isinstance(trade.trade_id, int) or trade.trade_id >= self.start_id


class _Roll(TapeReader):
    """The channels that read one tape."""

    def __init__(self, desk: "TradeDesk", channels: Iterable[TradeChannel]) -> None:
        self.desk = desk
        self.channels = list(channels)
        self.tape: Tape

    def on_trade(self, trade: Trade) -> None:
        for channel in tuple(self.channels):
            if channel.wants(trade):
                self.desk.take(channel, trade)

    def on_synced(self) -> None:
        self.desk.synced(self)

    def on_lost(self, reason: str) -> None:
        for channel in self.channels:
            self.desk.lost(channel, reason)

    def on_polled(self, asked_ns: int) -> None:
        for channel in tuple(self.channels):
            self.desk.close_at(channel, asked_ns - self.desk.doubt().market_ns)
            self.desk.tell_delayed(channel)

    def on_gap(self, start_ns: int, end_ns: int, reason: str) -> None:
        for channel in self.channels:
            self.desk.tell_gap(channel, start_ns, end_ns, reason)

    def has_room(self) -> bool:
        """Say whether no feed is full.

        One that still has its first bar to come, or what a cut made it miss, would keep
        all others waiting: for its sake the full ones become fuller.
        """
        if all(len(channel.mailbox) < channel.most for channel in self.channels):
            return True
        return any(not channel.is_told_live and not channel.mailbox for channel in self.channels)

    def on_slow(self) -> None:
        for channel in self.channels:
            if len(channel.mailbox) >= channel.most:
                self.desk.tell_slow(channel)

    def on_broken(self, error: Exception) -> None:
        for channel in tuple(self.channels):
            self.desk.end_channel(channel, error)


class TradeDesk:
    """All feeds of a session that are made of trades; each instrument's trades are heard once for all of them.

    ``on_hole(reason)`` hears of trades that cannot be recovered, for a feed that should halt.
    """

    def __init__(
        self,
        *,
        lines: MarketLines,
        feed: Feed,
        clock: Clock,
        guard: Guard,
        dense: bool,
        kept: int | None = None,
        post: Callable[[Mailbox[Any], Any, tuple[int, int]], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        on_close: Callable[[Bar, Instrument], None],
        on_hole: Callable[[str], None] = lambda _reason: None,
        span_ns: Callable[[float], int],
        doubt: Callable[[], Doubt] = lambda: CERTAIN,
        grace_s: float = _GRACE_S,
        longest_history_ns: int = LONGEST_HISTORY_NS,
        **patience: Any,
    ) -> None:
        self.doubt = doubt  # where our clock is ahead of the venue's, a bar that is over here still takes trades there
        self._lines = lines
        self._feed = feed
        self._clock = clock
        self._guard = guard
        self._dense = dense
        self._kept = kept
        self._post = post
        self._note = note
        self._progressed = progressed
        self._on_close = on_close
        self._on_hole = on_hole
        self._span_ns = span_ns
        self._grace_s = grace_s
        self._longest_history_ns = longest_history_ns
        self._patience = patience  # of the tapes
        self._opened = 0
        self._new: list[TradeChannel] = []
        self._starting: list[TradeChannel] = []  # whose history is asked for
        self._rolls: list[_Roll] = []
        self._forms = asyncio.Event()  # something has begun that a time will end
        self._tasks = Tasks(lambda what, error: self.end(RuntimeError(f"{what}: {type(error).__name__}: {error}")))

    # --- opening and closing --------------------------------------------------------------------------

    def open(self, channel: TradeChannel) -> None:
        """Take a channel in; it begins at the strategy's next idle moment, with all others opened by then."""
        channel.index = self._opened
        self._opened += 1
        self._new.append(channel)

    def close(self, mailbox: Mailbox[BarItem]) -> None:
        """Stop delivering to a mailbox."""
        for channel in self._channels():
            if channel.mailbox is mailbox:
                channel.is_ended = True
                self._forget(channel)
        self._progressed()

    def connect(self) -> bool:
        """Begin what was opened since the last time; say whether there was anything."""
        new, self._new = self._new, []
        by_symbol: dict[str, list[TradeChannel]] = {}
        for channel in new:
            by_symbol.setdefault(channel.instrument.symbol, []).append(channel)
        self._starting += new
        for symbol, channels in by_symbol.items():
            self._tasks.start(self._begin(channels), what=f"history of {symbol}")
        return bool(new)

    @property
    def is_ready(self) -> bool:
        """Every channel has its history delivered and hears the live stream."""
        return not self._new and not self._starting and all(roll.tape.is_synced for roll in self._rolls)

    def has_traded(self, venue_symbol: str, trade_id: int) -> bool:
        """Say whether every channel of an instrument has taken the trade of this id, and knows that it is live."""
        return all(
            roll.tape.is_synced and roll.tape.has_reached(trade_id)
            for roll in self._rolls
            if roll.tape.instrument.venue_symbol == venue_symbol
        )

    def fetch_overdue(self) -> None:
        """Ask for trades that happened and were not pushed."""
        for roll in self._rolls:
            if roll.tape.is_synced:
                roll.tape.sync()

    def on_room(self, mailbox: Mailbox[BarItem]) -> None:
        """The strategy has caught up with what was kept for it."""
        for roll in self._rolls:
            if any(channel.mailbox is mailbox for channel in roll.channels):
                roll.tape.on_room()

    def next_stop(self, now_ns: int) -> tuple[int | None, bool]:
        """Return when the next bar closes after ``now_ns``, and whether each trade is waited for."""
        live = [channel for channel in self._channels() if channel.live and not channel.is_ended]
        timed = [channel.interval for channel in live if channel.interval.is_timed]
        stops = [interval.close_of(interval.open_of(now_ns)) for interval in timed]
        return min(stops, default=None), len(timed) < len(live)

    def end(self, error: Exception | None = None) -> None:
        """Tell every feed that nothing follows."""
        for channel in self._channels():
            if error is None and channel.start_ns is not None:
                self.close_at(channel, self._clock.market_ns())
            self.end_channel(channel, error)

    async def stop(self) -> None:
        """Stop fetching."""
        await self._tasks.stop()
        await asyncio.gather(*(roll.tape.stop() for roll in self._rolls))

    def _channels(self) -> list[TradeChannel]:
        return [*self._new, *self._starting, *(channel for roll in self._rolls for channel in roll.channels)]

    def _forget(self, channel: TradeChannel) -> None:
        """Hear nothing more for a channel; its tape ends with its last one."""
        for waiting in (self._new, self._starting):
            if channel in waiting:
                waiting.remove(channel)
        for roll in [roll for roll in self._rolls if channel in roll.channels]:
            roll.channels.remove(channel)
            if not roll.channels:
                self._rolls.remove(roll)
                self._lines.remove(roll.tape)
                roll.tape.end()

    # --- history -------------------------------------------------------------------------------------------

    async def _begin(self, channels: list[TradeChannel]) -> None:
        """Find where each channel begins, tell what closed before as klines, and listen from there."""
        try:
            for channel in channels:
                try:
                    await self._find_start(channel)
                except Exception as error:  # noqa: BLE001 -- whatever broke, the feed must not hang
                    self._note("FATAL", f"history of {channel}: {error}")
                    self.end_channel(channel, error)
            for channel in [each for each in channels if not each.live and not each.is_ended]:
                await self._tell_history(channel)
            live = [each for each in channels if each.live and not each.is_ended]
            if live:
                roll = self._roll(live)
                self._rolls.append(roll)
                self._lines.add(roll.tape)
        finally:
            self._starting = [each for each in self._starting if each not in channels]
            self._progressed()

    def _roll(self, channels: list[TradeChannel]) -> _Roll:
        roll = _Roll(self, channels)
        roll.tape = Tape(
            instrument=channels[0].instrument,
            start_ns=min(channel.start_ns or 0 for channel in channels),
            dense=self._dense,
            kept=self._kept,
            reader=roll,
            feed=self._feed,
            clock=self._clock,
            guard=self._guard,
            note=self._note,
            **self._patience,
        )
        return roll

    async def _tell_history(self, channel: TradeChannel) -> None:
        roll, now_ns = self._roll([channel]), self._clock.market_ns()
        end_ns = now_ns if channel.end_ns is None else min(now_ns, channel.end_ns)
        try:
            await roll.tape.fetch_all(end_ns=end_ns)
            self.close_at(channel, end_ns)
        except BtxError as error:
            self._note("FATAL", f"history of {channel}: {error}")
            self.end_channel(channel, error)
        self.end_channel(channel, None)

    async def _find_start(self, channel: TradeChannel) -> None:
        now_ns = self._clock.market_ns()
        start_ns = channel.history(now_ns)  # a recording notes it, whatever it says
        if channel.history_trades:
            await self._count_back(channel, channel.history_trades, now_ns)
            return
        if channel.interval.is_timed:
            start_ns = channel.interval.open_of(start_ns)
            if channel.part is not None and start_ns < channel.interval.open_of(now_ns):
                start_ns = await self._tell_klines(channel, channel.part, start_ns, now_ns)
        if now_ns - start_ns > max(self._longest_history_ns, channel.interval.nominal_ns):
            raise ConfigError(
                f"{channel}: history made of trades goes back {self._longest_history_ns / NS_PER_DAY:g} days at most: "
                "ask for less, or for bars the venue keeps itself"
            )
        channel.start_ns = start_ns

    async def _count_back(self, channel: TradeChannel, count: int, now_ns: int) -> None:
        """Begin so many trades before the newest."""
        if not self._dense:
            raise ConfigError(f"{channel}: the venue's trades are not numbered one by one: write backfill='10m'")
        symbol = channel.instrument.symbol
        newest = await self._guard.read("last_price", functools.partial(self._feed.last_price, symbol=symbol))
        channel.start_ns = now_ns
        if newest is not None:
            channel.start_id = max(int(newest.trade_id) - count + 1, 0)
            page = await self._guard.read(
                "trades",
                functools.partial(self._feed.trades, instrument=channel.instrument, start_id=channel.start_id),
            )
            channel.start_ns = min((trade.time_ns for trade in page), default=now_ns)

    async def _tell_klines(self, channel: TradeChannel, part: Interval, start_ns: int, now_ns: int) -> int:
        """Deliver the bars that have closed as the venue keeps them; return where trades take over.

        One that has only just closed is made of trades: the venue's may be without its last ones.
        """
        state, done_ns = BarFold(interval=channel.interval), start_ns
        end_ns = channel.interval.open_of(now_ns - self.doubt().market_ns - self._span_ns(_SETTLE_S))
        while start_ns < end_ns and not channel.is_ended:
            page: Sequence[Bar] = await self._guard.read(
                "bars",
                functools.partial(
                    self._feed.bars, instrument=channel.instrument, interval=part, start_ns=start_ns, end_ns=end_ns
                ),
            )
            if not page:
                break
            for each in page:
                state, closed = fold_bar(state, each)
                for bar in closed:
                    self._deliver(channel, bar)
                    channel.fold, done_ns = begin_after(channel.fold, bar), bar.close_ns
            start_ns = page[-1].close_ns
        return done_ns

    # --- what the tapes tell ---------------------------------------------------------------------------------

    def take(self, channel: TradeChannel, trade: Trade) -> None:
        """Take the next trade of a channel's instrument."""
        if channel.end_ns is not None and trade.time_ns >= channel.end_ns:
            self.close_at(channel, channel.end_ns)
            self.end_channel(channel, None)
            return
        late, was_forming = channel.late, channel.fold.forming is not None
        channel.fold, closed = fold(channel.fold, trade)
        for bar in closed:
            self._deliver(channel, bar)
        if not was_forming:
            self._forms.set()
        if channel.late > late and channel.late & (channel.late - 1) == 0:  # told at 1, 2, 4, 8, ...
            self._note("LATE", f"{channel}: {channel.late} trades came after their bar had closed and are in none")
        self._progressed()

    def close_at(self, channel: TradeChannel, now_ns: int) -> None:
        """Deliver the bars of a channel that are over at ``now_ns`` (market time)."""
        if channel.is_ended:
            return
        if channel.end_ns is not None:
            now_ns = min(now_ns, channel.end_ns)
        channel.fold, closed = close_due(channel.fold, now_ns=now_ns)
        for bar in closed:
            self._deliver(channel, bar)

    def close_due(self, *, grace_ns: int = 0) -> None:
        """Deliver the bars that are over, for a market that is quiet."""
        now_ns = self._clock.market_ns()
        for roll in tuple(self._rolls):
            for channel in tuple(roll.channels) if roll.tape.is_synced else ():
                self.close_at(channel, now_ns - grace_ns)
                if channel.end_ns is not None and now_ns - grace_ns >= channel.end_ns:
                    self.end_channel(channel, None)

    async def keep_time(self) -> None:
        """Close bars on time while the market's clock runs by itself; until cancelled."""
        while True:
            self._forms.clear()
            second_ns, doubt = self._span_ns(1.0), self.doubt()
            dues = [due for roll in self._rolls for channel in roll.channels if (due := self._due_ns(channel))]
            with contextlib.suppress(TimeoutError):
                wait_ns = min(dues) - self._clock.market_ns() if dues else None
                wait_s = None if wait_ns is None else max(wait_ns / second_ns, 0.0) + self._grace_s + doubt.wait_s
                async with asyncio.timeout(wait_s):
                    await self._forms.wait()
            self.close_due(grace_ns=int(self._grace_s * second_ns) + doubt.market_ns)

    def synced(self, roll: _Roll) -> None:
        """Tell that all history is told."""
        for channel in tuple(roll.channels):
            if not channel.is_told_live:
                channel.is_told_live = channel.was_live = True
                self._put(channel, FeedLive())
        self._forms.set()
        self._progressed()

    def lost(self, channel: TradeChannel, reason: str) -> None:
        """Tell that what follows is fetched."""
        if channel.is_told_live and not channel.is_ended:
            channel.is_told_live = channel.is_delayed = False
            self._put(channel, FeedLost(reason=reason))

    def tell_delayed(self, channel: TradeChannel) -> None:
        """Tell, once after each loss, that what comes is asked for."""
        if not channel.is_delayed and not channel.is_told_live and not channel.is_ended:
            channel.is_delayed = True
            self._note("DEGRADED", f"{channel}: the stream is down, its trades are asked for")
            self._put(channel, FeedDelayed())

    def tell_slow(self, channel: TradeChannel) -> None:
        """Tell that a strategy takes less than comes; nothing is lost by it."""
        text = f"{len(channel.mailbox)} bars wait, what follows is fetched when they are taken"
        self._note("SLOW", f"{channel}: {text}")

    def tell_gap(self, channel: TradeChannel, start_ns: int, end_ns: int, reason: str) -> None:
        """Tell that trades are missing for good, and do what the user wants done about it."""
        text = f"{channel}: trades are missing between {iso(start_ns)} and {iso(end_ns)}: {reason}"
        self._note("GAP", text)
        self._put(channel, FeedGap(start_ns=start_ns, end_ns=end_ns, reason=reason, is_filled=False))
        if channel.on_gap is OnGap.HALT and channel.was_live:  # a hole in old history was nobody's loss
            self._on_hole(text)

    def end_channel(self, channel: TradeChannel, error: Exception | None) -> None:
        """Tell a feed that nothing follows."""
        if not channel.is_ended:
            channel.is_ended = True
            self._put(channel, FeedEnd(error=error))
            self._forget(channel)
            self._progressed()

    def _due_ns(self, channel: TradeChannel) -> int | None:
        return min((at for at in (channel.due_ns, channel.end_ns) if at is not None), default=None)

    def _deliver(self, channel: TradeChannel, bar: Bar) -> None:
        channel.delivered += 1
        self._on_close(bar, channel.instrument)
        self._post(channel.mailbox, bar, (bar.close_ns, channel.index))
        self._progressed()

    def _put(self, channel: TradeChannel, item: BarItem) -> None:
        self._post(channel.mailbox, item, (self._clock.market_ns(), channel.index))
