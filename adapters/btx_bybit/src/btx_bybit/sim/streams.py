"""Topics of the public sockets: their names, who reads them, and what they say when.

docs/v5/websocket/public (2025, 2026).  A topic's update ids rise by one from frame to frame.  Levels that leave a
topic's window are told as gone.  Level 1 comes as snapshots only; one that says nothing new comes after three seconds.
In lockstep what changed nothing is told, too: who walks in step with the market waits for its sequence; and a ticker is
told at the end of a step, and with each mark price, not in between.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from btx.model.market import BookLevel
from btx.model.time import NS_PER_DAY, NS_PER_MS, NS_PER_S
from btx.sim.margin_events import MarkChange
from btx.sim.market import BarChange, PublicTrade, QuoteChange
from btx.sim.skin import streams
from btx.sim.skin.mishaps import Mishaps
from btx.sim.skin.streams import Hearer, Stream
from btx.sim.skin.text import JSON, dumps
from btx.sim.world import Want, World
from btx_bybit.sim.frames import Frames
from btx_bybit.sim.market_data import INTERVALS
from btx_bybit.sim.tickers import contract_ticker, spot_ticker

__all__ = ("Streams",)

_TOPIC = re.compile(
    r"(?P<kind>orderbook|publicTrade|kline|tickers|allLiquidation)\.(?:(?P<detail>[0-9A-Z]+)\.)?(?P<symbol>[A-Z0-9-]+)"
)
_DEPTHS_MS = {
    "spot": {"1": 10, "50": 20, "200": 200, "1000": 200},
    "linear": {"1": 10, "50": 20, "200": 100, "1000": 200},
}
_TICKER_NS = 100 * NS_PER_MS
_KLINE_NS = NS_PER_S
_LIQUIDATION_NS = 500 * NS_PER_MS
_REPEAT_NS = 3 * NS_PER_S

Sides = tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]


@attrs.define(kw_only=True, eq=False)
class _Topic(Stream):
    """One topic somebody reads, and what it said last."""

    update_id: int = 0
    sides: Sides = ((), ())
    row: JSON = attrs.field(factory=dict)
    said_ns: int = 0


class Streams(streams.Streams[Hearer]):
    """The public topics of the world's category."""

    def __init__(self, world: World, mishaps: Mishaps[Any], category: str) -> None:
        super().__init__(world, mishaps)
        self.category = category
        self._frames = {
            symbol: Frames(category=category, instrument=listing.instrument)
            for symbol, listing in world.listings.items()
        }
        self._update_ids: dict[str, int] = {}  # of topics, also of those that nobody reads now

    # --- names ----------------------------------------------------------------------------------------------

    def knows(self, topic: str) -> bool:
        """Tell whether there is such a topic."""
        return self.parse(topic) is not None

    def parse(self, name: str) -> _Topic | None:
        """Return the topic of a name, None when there is none or its symbol is not listed."""
        match = _TOPIC.fullmatch(name)
        if match is None or match["symbol"] not in self._frames:
            return None
        terms = self._terms(match["kind"], match["detail"])
        return None if terms is None else _Topic(name=name, symbols=(match["symbol"],), kind=match["kind"], **terms)

    def _terms(self, kind: str, detail: str | None) -> Mapping[str, Any] | None:
        """Return what wakes topics of a kind, and at what pace they speak; None when there is no such kind."""
        is_spot = self.category == "spot"
        if detail is None:
            also = () if is_spot else (Want.QUOTES, Want.MARK)
            kinds: dict[str, Mapping[str, Any]] = {
                "publicTrade": {"want": Want.TRADES},
                "tickers": {"want": Want.TRADES, "also": also, "pause_ns": self._ticker_ns, "holds": True},
            }
            if not is_spot:
                kinds["allLiquidation"] = {"want": None, "pause_ns": _LIQUIDATION_NS, "holds": True}
            return kinds.get(kind)
        if kind == "kline" and detail in INTERVALS:
            interval = INTERVALS[detail]
            return {"want": Want.BARS, "interval": interval, "interval_text": detail, "pause_ns": _KLINE_NS}
        pause_ms = _DEPTHS_MS["spot" if is_spot else "linear"].get(detail)
        if kind != "orderbook" or pause_ms is None:
            return None
        want = Want.QUOTES if detail == "1" else Want.BOOK
        return {"want": want, "levels": int(detail), "pause_ns": pause_ms * NS_PER_MS, "holds": True}

    # --- frames ---------------------------------------------------------------------------------------------

    def is_last_word(self, event: Any) -> bool:
        """Whether an event is told whatever a topic's pace: a bar that has closed, or a mark price."""
        return isinstance(event, MarkChange) or super().is_last_word(event)

    def greet(self, stream: Stream, reader: Hearer) -> None:
        """Tell who begins to read a book or a ticker how it stands."""
        assert isinstance(stream, _Topic), "this venue made it"
        if stream.kind not in {"orderbook", "tickers"}:
            return
        if len(stream.readers) == 1:
            self._begin(stream)
        if stream.kind == "orderbook":
            frame = self._book(stream, "snapshot", stream.sides)
        else:
            frame = self._ticker(stream, "snapshot", stream.row)
        self.hand(stream, reader, dumps(frame))

    def frame(self, stream: Stream, event: Any) -> JSON | None:
        """Return what a topic says of a print or a bar."""
        frames = self._frames[event.venue_symbol]
        if isinstance(event, PublicTrade):
            return frames.trade(event, self._world.market)
        assert isinstance(event, BarChange), "nothing else wakes it"
        last = self._world.market.trades(event.venue_symbol, limit=1, end_ns=min(event.bar.close_ns, event.time_ns + 1))
        return frames.kline(event, stream.interval_text, last[-1].time_ns if last else event.bar.open_ns)

    def held_frame(self, stream: Stream, events: list[Any]) -> JSON | None:
        """Return what a book, a ticker or the liquidations say of what has happened."""
        assert isinstance(stream, _Topic), "this venue made it"
        [symbol] = stream.symbols
        if stream.kind == "allLiquidation":
            orders = [(event.order, event.time_ns) for event in events]
            return self._frames[symbol].liquidations(orders, events[-1].time_ns)
        before_ns, stream.said_ns = stream.said_ns, events[-1].time_ns
        if stream.kind == "tickers":
            frame = self._next_ticker(stream)
        elif stream.levels == 1:
            frame = self._next_top(stream, events[-1], is_due=events[-1].time_ns >= before_ns + _REPEAT_NS)
        else:
            frame = self._next_book(stream)
        if frame is None:
            stream.said_ns = before_ns
        return frame

    @property
    def _ticker_ns(self) -> int:
        """The pause between two tickers: in lockstep until the end of the step, which nobody is kept waiting for."""
        return NS_PER_DAY if self._is_lockstep else _TICKER_NS

    @property
    def _is_lockstep(self) -> bool:
        return self._world.speed is None

    def _begin(self, stream: _Topic) -> None:
        """Let a topic that nobody has read stand where the market is."""
        [symbol] = stream.symbols
        stream.said_ns = self._world.market.now_ns
        if stream.kind == "tickers":
            stream.row = self._row(symbol)
            return
        stream.update_id = self._update_ids.get(stream.name, self._world.market.update_id(symbol)) + 1
        self._update_ids[stream.name] = stream.update_id
        stream.sides = self._sides(stream)

    def _sides(self, stream: _Topic) -> Sides:
        book = self._world.market.book(stream.symbols[0], depth=stream.levels)
        return book.bids, book.asks

    def _row(self, symbol: str) -> JSON:
        return spot_ticker(self._world, symbol) if self.category == "spot" else contract_ticker(self._world, symbol)

    def _ticker(self, stream: _Topic, kind: str, row: JSON) -> JSON:
        [symbol] = stream.symbols
        sequence = self._world.market.update_id(symbol)
        return self._frames[symbol].ticker(kind, row, sequence=sequence, time_ns=stream.said_ns)

    def _next_ticker(self, stream: _Topic) -> JSON | None:
        [symbol] = stream.symbols
        before, stream.row = stream.row, self._row(symbol)
        if self.category == "spot":
            return self._ticker(stream, "snapshot", stream.row)
        changed = {name: value for name, value in stream.row.items() if value != before[name]}
        if not changed and not self._is_lockstep:
            return None
        return self._ticker(stream, "delta", {"symbol": symbol, **changed})

    def _next_top(self, stream: _Topic, event: QuoteChange, *, is_due: bool) -> JSON | None:
        quote = event.quote
        sides: Sides = (
            ((quote.bid_price, quote.bid_quantity),),
            ((quote.ask_price, quote.ask_quantity),),
        )
        if sides != stream.sides:
            self._move(stream, sides)
        elif not is_due and not self._is_lockstep:
            return None
        return self._book(stream, "snapshot", sides, sequence=event.update_id)

    def _next_book(self, stream: _Topic) -> JSON | None:
        before, after = stream.sides, self._sides(stream)
        bids, asks = (_changes(old, new) for old, new in zip(before, after, strict=True))
        if not bids and not asks and not self._is_lockstep:
            return None
        self._move(stream, after)
        changes = (tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items())))
        return self._book(stream, "delta", changes)

    def _move(self, stream: _Topic, sides: Sides) -> None:
        stream.sides = sides
        stream.update_id += 1
        self._update_ids[stream.name] = stream.update_id

    def _book(self, stream: _Topic, kind: str, sides: Sides, *, sequence: int | None = None) -> JSON:
        [symbol] = stream.symbols
        return self._frames[symbol].book(
            stream.name,
            kind,
            sides,
            update_id=stream.update_id,
            sequence=self._world.market.update_id(symbol) if sequence is None else sequence,
            time_ns=stream.said_ns,
        )


def _changes(before: tuple[BookLevel, ...], after: tuple[BookLevel, ...]) -> dict[Any, Any]:
    """Return the levels that are other than before; what is gone has no quantity."""
    old, new = dict(before), dict(after)
    changed = {price: quantity for price, quantity in new.items() if old.get(price) != quantity}
    return changed | {price: price * 0 for price in old if price not in new}
