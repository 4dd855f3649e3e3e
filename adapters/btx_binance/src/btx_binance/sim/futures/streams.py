"""The market streams of Binance's futures: what they are called, where they are heard, and at what pace they speak.

``websocket-market-streams`` of USD-M and COIN-M (2026-05-28), Important-WebSocket-Change-Notice (2026-03-06).  The
notice does not name ``@trade``; it is heard where the root still speaks, so it belongs to ``/public`` (measured by
others in September 2026).
"""

import enum
import re
from collections.abc import Callable
from typing import Any

import attrs

from btx.model.time import NS_PER_DAY, NS_PER_MS, NS_PER_S, Interval
from btx.sim.exchange import ExecutionEvent
from btx.sim.margin_events import MarkChange
from btx.sim.market import BookChange
from btx.sim.skin import streams
from btx.sim.skin.streams import Key, Stream
from btx.sim.skin.text import JSON
from btx.sim.world import Want
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.futures.frames import Frames
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.market_data import INTERVALS
from btx_binance.sim.readers import Reader
from btx_binance.sim.venue import Venue

__all__ = ("Route", "Streams")

_INTERVALS = "|".join(INTERVALS)
_ONE = re.compile(
    r"(?P<symbol>[a-z0-9_]{1,30})@"
    r"(?:(?P<kind>aggTrade|trade|bookTicker|miniTicker|ticker|forceOrder|indexPrice)"
    r"|(?P<mark>markPrice)(?P<second>@1s)?"
    rf"|kline_(?P<interval>{_INTERVALS})"
    rf"|continuousKline_(?P<continuous>{_INTERVALS})"
    r"|depth(?P<levels>5|10|20)?(?P<speed>@100ms|@250ms|@500ms)?)"
)
_ALL = re.compile(
    r"!(?:(?P<kind>ticker|miniTicker|forceOrder)@arr|(?P<mark>markPrice)@arr(?P<second>@1s)?|(?P<quotes>bookTicker))"
)
_KLINE_NS = 250 * NS_PER_MS
_TICKER_NS = {"ticker": 2 * NS_PER_S, "miniTicker": 2 * NS_PER_S}
_ALL_NS = {"ticker": NS_PER_S, "miniTicker": NS_PER_S}
_FORCE_ORDER_NS = NS_PER_S
_DEPTH_NS = {"@100ms": 100 * NS_PER_MS, "@250ms": 250 * NS_PER_MS, "@500ms": 500 * NS_PER_MS, "": 250 * NS_PER_MS}
_MARK_NS = {"@1s": NS_PER_S, "": 3 * NS_PER_S}
_WANTS = {
    "aggTrade": Want.TRADES,
    "trade": Want.TRADES,
    "miniTicker": Want.TRADES,
    "ticker": Want.TRADES,
    "bookTicker": Want.QUOTES,
    "indexPrice": Want.MARK,
    "forceOrder": None,
}


class Route(enum.Enum):
    """A base of the venue's addresses: what is heard there and nowhere else."""

    PUBLIC = "/public"
    MARKET = "/market"
    PRIVATE = "/private"
    ROOT = ""


_PUBLIC_KINDS = frozenset({"trade", "bookTicker", "depth", "partial"})


@attrs.define(kw_only=True, eq=False)
class _Stream(Stream):
    """A stream of one contract, of a pair's, or of all."""

    is_array: bool = False  # one frame tells of all of them
    contract_type: str = ""


_MAKERS: dict[str, Callable[[Frames, _Stream, Any], JSON]] = {
    "trade": lambda frames, _, event: frames.trade(event),
    "aggTrade": lambda frames, _, event: frames.agg_trade(event),
    "bookTicker": lambda frames, _, event: frames.book_ticker(event),
    "indexPrice": lambda frames, _, event: frames.index_price(event),
    "forceOrder": lambda frames, _, event: frames.force_order(event.order, event.time_ns),
    "kline": lambda frames, stream, event: frames.kline(event, stream.interval_text),
    "continuousKline": lambda frames, stream, event: frames.continuous_kline(
        event, stream.interval_text, stream.contract_type
    ),
}


class Streams(streams.Streams[Reader]):
    """The streams of a futures market."""

    def __init__(self, venue: Venue, mishaps: Mishaps, protocol: Protocol) -> None:
        super().__init__(venue.world, mishaps)
        self._venue = venue
        self._frames = {
            symbol: Frames(instrument=listing.instrument, protocol=protocol)
            for symbol, listing in venue.world.listings.items()
        }
        self._marks: dict[str, MarkChange] = {}
        self._funding: dict[str, tuple[Any, int | None]] = {}  # rate and time as they were told last, by symbol

    def route(self, name: str) -> Route | None:
        """Return where a stream is heard, None for a name that is none."""
        stream = self.parse(name)
        if stream is None:
            return None
        return Route.PUBLIC if stream.kind in _PUBLIC_KINDS else Route.MARKET

    # --- names ----------------------------------------------------------------------------------------------

    def parse(self, name: str) -> _Stream | None:
        """Return the stream a name stands for, None for a name that never says anything."""
        if (match := _ALL.fullmatch(name)) is not None:
            return self._of_all(name, match)
        if (match := _ONE.fullmatch(name)) is None:
            return None
        symbols: tuple[str, ...] = (match["symbol"].upper(),)
        if (kind := match["kind"]) is not None:
            if kind == "indexPrice":
                symbols = self._of_pair(symbols[0])[:1]
            pause_ns = _FORCE_ORDER_NS if kind in {"forceOrder", "indexPrice"} else _TICKER_NS.get(kind, 0)
            return _Stream(name=name, symbols=symbols, kind=kind, want=_WANTS[kind], pause_ns=pause_ns)
        if match["mark"] is not None:
            return self._mark_stream(name, symbols, match["second"])
        if (text := match["interval"] or match["continuous"]) is not None:
            return self._bar_stream(name, symbols[0], text, is_continuous=match["interval"] is None)
        levels = int(match["levels"] or 0)
        return _Stream(
            name=name,
            symbols=symbols,
            kind="partial" if levels else "depth",
            want=Want.BOOK,
            levels=levels,
            pause_ns=_DEPTH_NS[match["speed"] or ""],
            holds=True,
        )

    def _of_all(self, name: str, match: re.Match[str]) -> _Stream:
        kind = match["kind"] or match["mark"] or match["quotes"]
        if match["mark"] is not None:
            stream = self._mark_stream(name, tuple(self._frames), match["second"])
            stream.is_array = True
            return stream
        return _Stream(
            name=name,
            symbols=tuple(self._frames),
            kind=kind,
            want=_WANTS[kind],
            pause_ns=_ALL_NS.get(kind, 0),
            is_array=kind in _TICKER_NS,
        )

    def _mark_stream(self, name: str, symbols: tuple[str, ...], speed: str | None) -> _Stream:
        is_pair = len(symbols) == 1 and symbols[0] not in self._frames
        return _Stream(
            name=name,
            symbols=self._of_pair(symbols[0]) if is_pair else symbols,
            kind="markPrice",
            want=Want.MARK,
            pause_ns=_MARK_NS[speed or ""],
            is_array=is_pair,
        )

    def _bar_stream(self, name: str, symbol: str, text: str, *, is_continuous: bool) -> _Stream:
        contract_type = ""
        if is_continuous:
            pair, _, contract_type = symbol.lower().partition("_")
            symbol = self._contracts(pair.upper()).get(contract_type, "")
        return _Stream(
            name=name,
            symbols=(symbol,) if symbol else (),
            kind="continuousKline" if is_continuous else "kline",
            want=Want.BARS,
            interval=Interval.parse(text),
            interval_text=text,
            pause_ns=_KLINE_NS,
            contract_type=contract_type.upper(),
        )

    def _of_pair(self, pair: str) -> tuple[str, ...]:
        """Return the contracts of a pair: what has no end first, then by their ends."""
        found = [symbol for symbol, frames in self._frames.items() if frames.pair == pair]
        return tuple(sorted(found, key=lambda symbol: self._frames[symbol].instrument.delivery_ns or 0))

    def _contracts(self, pair: str) -> dict[str, str]:
        """Return a pair's contracts by their type in the venue's words."""
        found = self._of_pair(pair)
        lasting = [symbol for symbol in found if self._frames[symbol].instrument.delivery_ns is None]
        ending = [symbol for symbol in found if symbol not in lasting]
        return {
            **dict(zip(("perpetual",), lasting, strict=False)),
            **dict(zip(("current_quarter", "next_quarter"), ending, strict=False)),
        }

    # --- frames ---------------------------------------------------------------------------------------------

    def key(self, event: Any) -> Key | None:
        """Return what an event wakes, None when it is not of the market; marks are remembered."""
        if isinstance(event, MarkChange):
            self._marks[event.venue_symbol] = event
        return super().key(event)

    def frame(self, stream: Stream, event: Any) -> Any:
        """Return what a stream says of anything but the book."""
        assert isinstance(stream, _Stream), "this market made it"
        if not stream.is_array:
            return self._frame(stream, _symbol(event), event)
        if isinstance(event, MarkChange) and event.venue_symbol != stream.symbols[-1]:
            return None  # the marks of one second come one after another: with the last all are known
        symbols = [symbol for symbol in stream.symbols if stream.want is not Want.MARK or symbol in self._marks]
        return [self._frame(stream, symbol, event) for symbol in symbols]

    def held_frame(self, stream: Stream, events: list[BookChange]) -> JSON:
        """Return the book's changes as one, or the best levels as they are now."""
        symbol = events[-1].venue_symbol
        if stream.kind == "depth":
            return self._frames[symbol].depth(events)
        book = self._venue.market.book(symbol, depth=stream.levels)
        return self._frames[symbol].levels(events, book.bids, book.asks)

    def _frame(self, stream: _Stream, symbol: str, event: Any) -> JSON:
        frames = self._frames[symbol]
        if (make := _MAKERS.get(stream.kind)) is not None:
            return make(frames, stream, event)
        if stream.kind == "markPrice":
            return self._mark(frames, self._marks[symbol])
        return self._ticker(frames, symbol, event.time_ns, is_mini=stream.kind == "miniTicker")

    def _mark(self, frames: Frames, event: MarkChange) -> JSON:
        """Return a mark; at the very time of a funding the old rate is still told, as the venue does."""
        told = self._funding.get(event.venue_symbol)
        if told is None or told[1] != event.time_ns:
            told = self._funding[event.venue_symbol] = (event.funding_rate, event.next_funding_ns)
        return frames.mark_price(event, *told)

    def _ticker(self, frames: Frames, symbol: str, now_ns: int, *, is_mini: bool) -> JSON:
        bar, flow = self._venue.market.statistics(symbol, now_ns - NS_PER_DAY, now_ns)
        if is_mini:
            return frames.mini_ticker(bar, flow, now_ns)
        last = self._venue.market.trades(symbol, limit=1)
        return frames.ticker(bar, flow, last[-1].quantity if last else None, now_ns)


def _symbol(event: Any) -> str:
    symbol: str = event.order.venue_symbol if isinstance(event, ExecutionEvent) else event.venue_symbol
    return symbol
