"""Streams of one venue: who reads which, what wakes them, at what pace they speak, and to whom.

What a stream is called and what it says is the market's own: a subclass tells.
A frame is made once per stream, however many sockets read it.
"""

import abc
from typing import Any, Generic, Protocol, TypeVar

import attrs

from btx.model.order import Origin
from btx.model.time import Interval
from btx.sim.faults import Action, Where
from btx.sim.margin_events import MarkChange
from btx.sim.market import BarChange, BookChange, PublicTrade, QuoteChange
from btx.sim.orders import ExecutionEvent, ExecutionKind
from btx.sim.skin.mishaps import Mishaps
from btx.sim.skin.text import dumps
from btx.sim.world import Want, World

__all__ = ("Hearer", "Key", "Stream", "Streams")


class Hearer(Protocol):
    """Who reads streams: a socket, and how a frame looks on it."""

    def hear(self, name: str, raw: str, action: Action) -> None:
        """Take the frame of a stream, or let happen to it what is to go wrong."""


H = TypeVar("H", bound=Hearer)


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
    also: tuple[Want, ...] = ()  # what else wakes it
    holds: bool = False  # what comes in a pause is told after it, all together; else it is forgotten
    readers: dict[Any, None] = attrs.field(factory=dict)
    sent_ns: int = -1
    held: list[Any] = attrs.field(factory=list)

    @property
    def keys(self) -> "tuple[Key, ...]":
        """What wakes it up."""
        return tuple((want, symbol, self.interval) for symbol in self.symbols for want in (self.want, *self.also))


Key = tuple[Want | None, str, Interval | None]
"""What wakes a stream up: what one must want, the venue's symbol, and of bars the interval."""


_WAKES = {PublicTrade: Want.TRADES, QuoteChange: Want.QUOTES, BookChange: Want.BOOK, MarkChange: Want.MARK}


class Streams(abc.ABC, Generic[H]):
    """Who reads which stream, and the frames made of what happens."""

    def __init__(self, world: World, mishaps: Mishaps[Any]) -> None:
        self.mishaps = mishaps
        self._world = world
        self._streams: dict[str, Stream] = {}
        self._woken: dict[Key, list[Stream]] = {}

    @abc.abstractmethod
    def parse(self, name: str) -> Stream | None:
        """Return the stream a name stands for, None for a name that never says anything."""

    @abc.abstractmethod
    def frame(self, stream: Stream, event: Any) -> Any:
        """Return what a stream that holds nothing says of an event, None when it says nothing."""

    @abc.abstractmethod
    def held_frame(self, stream: Stream, events: list[Any]) -> Any:
        """Return what a stream that holds says of all that has happened since it spoke last, None for nothing."""

    def greet(self, stream: Stream, reader: H) -> None:
        """Tell somebody who begins to read a stream what there is to know before; nothing, unless a market does."""

    def add(self, name: str, reader: H) -> None:
        """Let a reader have a stream; a name that is none, or not listed, is silent."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self.parse(name)
            if stream is None or not stream.symbols or not self._world.listings.keys() >= {*stream.symbols}:
                return
            self._streams[name] = stream
            for want, symbol, interval in stream.keys:
                self._woken.setdefault((want, symbol, interval), []).append(stream)
                if want is not None:
                    self._world.want(symbol, want, interval)
        stream.readers[reader] = None
        self.greet(stream, reader)

    def remove(self, name: str, reader: H) -> None:
        """Take a stream from a reader."""
        stream = self._streams.get(name)
        if stream is None or reader not in stream.readers:
            return
        del stream.readers[reader]
        if not stream.readers:
            del self._streams[name]
            for want, symbol, interval in stream.keys:
                self._woken[want, symbol, interval].remove(stream)
                if want is not None:
                    self._world.unwant(symbol, want, interval)

    def tell(self, event: Any) -> None:
        """Push what an event means to every stream it wakes; what is not of the market wakes none."""
        key = self.key(event)
        for stream in self._woken.get(key, ()) if key is not None else ():
            may_speak = event.time_ns >= stream.sent_ns + stream.pause_ns or self.is_last_word(event)
            if stream.holds:
                stream.held.append(event)
                if may_speak:
                    self._push_held(stream)
            elif may_speak:
                self._say(stream, event)

    def is_last_word(self, event: Any) -> bool:
        """Whether an event is told whatever a stream's pace: a bar that has closed."""
        return isinstance(event, BarChange) and event.bar.is_closed

    def settle(self) -> None:
        """Push what is held back for a stream's pace."""
        for stream in self._streams.values():
            if stream.held:
                self._push_held(stream)

    def key(self, event: Any) -> Key | None:
        """Return what an event wakes, None when it is not of the market; a liquidation that is over is."""
        if isinstance(event, ExecutionEvent):
            return (None, event.order.venue_symbol, None) if _ends_liquidation(event) else None
        if isinstance(event, BarChange):
            return Want.BARS, event.venue_symbol, event.bar.interval
        want = _WAKES.get(type(event))
        return None if want is None else (want, event.venue_symbol, None)

    def _say(self, stream: Stream, event: Any) -> None:
        payload = self.frame(stream, event)
        if payload is not None:
            stream.sent_ns = event.time_ns
            self._push(stream, payload)

    def _push_held(self, stream: Stream) -> None:
        held, stream.held = stream.held, []
        stream.sent_ns = held[-1].time_ns
        payload = self.held_frame(stream, held)
        if payload is not None:
            self._push(stream, payload)

    def _push(self, stream: Stream, payload: Any) -> None:
        raw = dumps(payload)
        for reader in tuple(stream.readers):
            self.hand(stream, reader, raw)

    def hand(self, stream: Stream, reader: H, raw: str) -> None:
        """Hand one frame to one reader, or let happen to it what is to go wrong."""
        reader.hear(stream.name, raw, self.mishaps.on_push(Where.MARKET_STREAM, stream.name))


def _ends_liquidation(event: ExecutionEvent) -> bool:
    order = event.order
    return event.kind is ExecutionKind.TRADE and not order.is_open and order.origin is Origin.LIQUIDATION
