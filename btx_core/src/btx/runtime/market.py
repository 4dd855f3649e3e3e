"""The market's side of a session: its connections, and the desks of bars, trades, quotes, books and marks.

Lives on btx-io; none of the desks connects before a data is opened.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.venue import Capabilities, Channel
from btx.ports import Feed, Stream
from btx.rules.calendar import is_open
from btx.runtime.bars import BarDesk
from btx.runtime.books import BookDesk
from btx.runtime.channel import BarChannel
from btx.runtime.facts import Facts, Timing
from btx.runtime.guard import Guard
from btx.runtime.latest import Latest, Prints
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import FeedEnd, Mailbox, Note
from btx.runtime.prints import TradeChannel, TradeDesk

__all__ = ("MarketSide",)


class MarketSide:
    """Everything that brings prices.

    ``on_bar`` hears of every closed bar, ``on_hole`` why one cannot be had, ``on_fatal`` that dialling again
    would not help.  ``calendar`` says when an instrument trades.
    """

    def __init__(
        self,
        *,
        feed: Feed,
        stream: Stream,
        facts: Facts,
        guard: Guard,
        capabilities: Capabilities,
        timing: Timing,
        in_lockstep: bool,
        post: Callable[[Mailbox[Any], Any, tuple[int, int] | None], None],
        tell: Callable[[Note], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        on_bar: Callable[[Bar, Instrument], None],
        on_hole: Callable[[str], None],
        on_fatal: Callable[[Exception], None],
        calendar: Callable[[Instrument], Calendar] = lambda _instrument: ALWAYS,
    ) -> None:
        clock = facts.clock
        self._end: FeedEnd | None = None
        self.lines = MarketLines(
            stream=stream,
            tell=tell,
            on_fatal=on_fatal,
            size=capabilities.streams_per_connection,
            life_s=capabilities.connection_life_s,
            redial=timing.redial,
            patience=None if in_lockstep else timing.patience,
            is_open=lambda instrument: is_open(calendar(instrument), clock.market_ns()),
            on_fault=self._on_fault,
        )
        self._dense = capabilities.trade_ids_dense
        self.bars = BarDesk(
            feed=feed,
            lines=self.lines,
            clock=clock,
            guard=guard,
            post=post,
            note=note,
            progressed=progressed,
            on_close=on_bar,
            on_hole=on_hole,
            doubt=clock.doubt,
            span_ns=clock.span_ns,
            is_timed=not in_lockstep,
            closes_bars=capabilities.closes_bars,
            is_sparse=capabilities.sparse_bars,
            has_history=capabilities.history,
            times=timing.bars,
        )
        self.books = BookDesk(
            feed=feed,
            lines=self.lines,
            clock=clock,
            guard=guard,
            dense=capabilities.trade_ids_dense,
            kept=capabilities.trades_kept,
            note=note,
            progressed=progressed,
        )
        self.prints = TradeDesk(
            lines=self.lines,
            feed=feed,
            clock=clock,
            guard=guard,
            dense=capabilities.trade_ids_dense,
            kept=capabilities.trades_kept,
            post=post,
            note=note,
            progressed=progressed,
            on_close=on_bar,
            on_hole=on_hole,
            span_ns=clock.span_ns,
            doubt=clock.doubt,
        )

    def _on_fault(self) -> None:
        """Ask for the trades that may have been in a frame nobody could read: where ids are not dense no hole shows."""
        if not self._dense:
            self.books.doubt_trades()
            self.prints.fetch_overdue()

    @property
    def stops(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What ends it, the last first."""
        return self.lines.stop, self.bars.stop, self.books.stop, self.prints.stop

    def open_bars(self, channel: BarChannel) -> None:
        """Open a feed of bars; it ends at once when it is to be live and the market is over already."""
        self.bars.open(channel)
        if channel.live and self._end is not None:
            self.bars.end_channel(channel, self._end.error)

    def open_prints(self, channel: TradeChannel) -> None:
        """Open a feed of bars made of trades, likewise."""
        self.prints.open(channel)
        if channel.live and self._end is not None:
            self.prints.end_channel(channel, self._end.error)

    def end_feeds(self, error: Exception | None = None) -> None:
        """Tell every feed, those that are opened later too, that no bar will follow; with an error, because of it."""
        self._end = FeedEnd(error=error)
        for desk in (self.bars, self.prints):
            desk.end(error)

    def connect(self) -> None:
        """Connect what was opened."""
        self.bars.connect()
        self.prints.connect()
        self.books.connect()

    def open(self, instrument: Instrument, channel: Channel, slot: Latest[Any] | Prints, depth: int) -> None:
        """Fill a slot with what the market pushes beside the bars."""
        self.books.open(instrument, channel, slot, depth=depth)

    def close(self, slot: Latest[Any] | Prints) -> None:
        """Fill a slot no more."""
        self.books.close(slot)

    def on_room(self, mailbox: Mailbox[Any]) -> None:
        """A feed's mailbox has room again."""
        for desk in (self.bars, self.prints):
            desk.on_room(mailbox)

    def close_bars(self, mailbox: Mailbox[Any]) -> None:
        """Stop a feed."""
        for desk in (self.bars, self.prints):
            desk.close(mailbox)
