"""Streams of one venue: who reads which, what wakes them, at what pace they speak, and to whom.

What a stream is called and what it says is the market's own: a subclass tells.
A frame is made once per stream, however many sockets read it.
"""

import abc
from typing import Any

import attrs

from btx.model.time import Interval
from btx.sim.faults import Where
from btx.sim.market import BarChange, BookChange, PublicTrade, QuoteChange
from btx.sim.world import Want
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.readers import Reader, combined
from btx_binance.sim.venue import Venue
from btx_binance.sim.wire import dumps

__all__ = ("Key", "Stream", "Streams")


@attrs.define(kw_only=True, eq=False)
class Stream:
    """One stream somebody reads."""

    name: str
    symbols: tuple[str, ...]  # the venue's symbols whose events wake it
    kind: str
    want: Want | None  # None: what no market event tells of
    interval: Interval | None = None
    interval_text: str = ""
    levels: int = 0
    pause_ns: int = 0  # between two frames, in market time
    readers: dict[Reader, None] = attrs.field(factory=dict)
    sent_ns: int = -1
    held: list[BookChange] = attrs.field(factory=list)


Key = tuple[Want | None, str, Interval | None]
"""What wakes a stream up: what one must want, the venue's symbol, and of bars the interval."""


class Streams(abc.ABC):
    """Who reads which stream, and the frames made of what happens."""

    announces_end = False

    def __init__(self, venue: Venue, mishaps: Mishaps) -> None:
        self.mishaps = mishaps
        self.wire_ms = venue.wire_ms
        self._venue = venue
        self._streams: dict[str, Stream] = {}
        self._woken: dict[Key, list[Stream]] = {}

    @abc.abstractmethod
    def parse(self, name: str) -> Stream | None:
        """Return the stream a name stands for, None for a name that never says anything."""

    @abc.abstractmethod
    def frame(self, stream: Stream, event: Any) -> Any:
        """Return what a stream says of an event that is no book change, None when it says nothing."""

    @abc.abstractmethod
    def book_frame(self, stream: Stream, changes: list[BookChange]) -> Any:
        """Return what a stream says of the book's changes since it spoke last."""

    def add(self, name: str, reader: Reader) -> None:
        """Let a reader have a stream; a name that is none, or not listed, is silent as at the venue."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self.parse(name)
            if stream is None or not stream.symbols or not self._venue.world.listings.keys() >= {*stream.symbols}:
                return
            self._streams[name] = stream
            for symbol in stream.symbols:
                self._woken.setdefault((stream.want, symbol, stream.interval), []).append(stream)
                if stream.want is not None:
                    self._venue.world.want(symbol, stream.want, stream.interval)
        stream.readers[reader] = None

    def remove(self, name: str, reader: Reader) -> None:
        """Take a stream from a reader."""
        stream = self._streams.get(name)
        if stream is None or reader not in stream.readers:
            return
        del stream.readers[reader]
        if not stream.readers:
            del self._streams[name]
            for symbol in stream.symbols:
                self._woken[stream.want, symbol, stream.interval].remove(stream)
                if stream.want is not None:
                    self._venue.world.unwant(symbol, stream.want, stream.interval)

    def tell(self, event: Any) -> None:
        """Push what an event means to every stream it wakes; what is not of the market wakes none."""
        key = self.key(event)
        for stream in self._woken.get(key, ()) if key is not None else ():
            if isinstance(event, BookChange):
                stream.held.append(event)
                if event.time_ns >= stream.sent_ns + stream.pause_ns:
                    self._push_held(stream)
            elif event.time_ns >= stream.sent_ns + stream.pause_ns or _is_last_word(event):
                self._say(stream, event)

    def settle(self) -> None:
        """Push the book changes that are held back for a stream's pace."""
        for stream in self._streams.values():
            if stream.held:
                self._push_held(stream)

    def key(self, event: Any) -> Key | None:
        """Return what an event wakes, None when it is not of the market."""
        match event:
            case PublicTrade():
                return Want.TRADES, event.venue_symbol, None
            case QuoteChange():
                return Want.QUOTES, event.venue_symbol, None
            case BookChange():
                return Want.BOOK, event.venue_symbol, None
            case BarChange():
                return Want.BARS, event.venue_symbol, event.bar.interval
            case _:
                return None

    def _say(self, stream: Stream, event: Any) -> None:
        payload = self.frame(stream, event)
        if payload is not None:
            stream.sent_ns = event.time_ns
            self._push(stream, payload)

    def _push_held(self, stream: Stream) -> None:
        held, stream.held = stream.held, []
        stream.sent_ns = held[-1].time_ns
        self._push(stream, self.book_frame(stream, held))

    def _push(self, stream: Stream, payload: Any) -> None:
        raw = dumps(payload)
        wrapped = ""
        for reader in stream.readers:
            action = self.mishaps.on_push(Where.MARKET_STREAM, stream.name)
            if reader.is_combined:
                wrapped = wrapped or combined(stream.name, raw)
                reader.connection.push(wrapped, action, stream=stream.name)
            else:
                reader.connection.push(raw, action, stream=stream.name)


def _is_last_word(event: Any) -> bool:
    """Whether an event is told whatever a stream's pace."""
    return isinstance(event, BarChange) and event.bar.is_closed
