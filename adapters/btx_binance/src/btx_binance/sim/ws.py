"""Market streams: raw (``/ws/<stream>``) and combined (``/stream?streams=``), subscribed by address or message.

``web-socket-streams.md`` (2026).  A frame is made once per stream, however many
sockets read it.
"""

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, to_ms
from btx.sim.faults import Where
from btx.sim.market import BarChange, BookChange, PublicTrade, QuoteChange
from btx.sim.skin import streams
from btx.sim.skin.connections import Connections, Habits
from btx.sim.skin.sockets import Connection
from btx.sim.skin.streams import Stream
from btx.sim.skin.text import JSON
from btx.sim.world import Want
from btx_binance.sim import wire
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.market_data import INTERVALS, ticker
from btx_binance.sim.readers import STREAMS_MAX, Reader
from btx_binance.sim.venue import Venue

__all__ = ("HABITS", "Streams", "add_routes")

HABITS = Habits(ping_s=20.0, silence_s=60.0, life_s=24 * 3600.0, dials=300, dials_s=300)
"""web-socket-streams.md and web-socket-api.md (2026): a ping every 20 s, a pong within a minute, 24 hours of which the
end is not told, "300 connections per attempt every 5 minutes"."""

_MESSAGES_PER_S = 5
_KLINE_NS = 2000 * NS_PER_MS  # how often a bar that is not closed is pushed
_TICKER_NS = 1000 * NS_PER_MS
_DEPTH_NS = {"@100ms": 100 * NS_PER_MS, "@1000ms": 1000 * NS_PER_MS, "": 1000 * NS_PER_MS}
_NAME = re.compile(
    r"(?P<symbol>[a-z0-9\-_.]{1,20})@"
    r"(?:(?P<kind>aggTrade|trade|bookTicker|miniTicker|ticker)"
    r"|kline_(?P<interval>" + "|".join(INTERVALS) + r")"
    r"|depth(?P<levels>5|10|20)?(?P<speed>@100ms|@1000ms)?)"
)


_WANTS = {
    "aggTrade": Want.TRADES,
    "trade": Want.TRADES,
    "miniTicker": Want.TRADES,
    "ticker": Want.TRADES,
    "bookTicker": Want.QUOTES,
}


def _stream(name: str) -> Stream | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    symbols = (match["symbol"].upper(),)
    if (kind := match["kind"]) is not None:
        pause_ns = _TICKER_NS if "icker" in kind and kind != "bookTicker" else 0
        return Stream(name=name, symbols=symbols, kind=kind, want=_WANTS[kind], pause_ns=pause_ns)
    if (text := match["interval"]) is not None:
        return Stream(
            name=name,
            symbols=symbols,
            kind="kline",
            want=Want.BARS,
            interval=Interval.parse(text),
            interval_text=text,
            pause_ns=_KLINE_NS,
        )
    levels = int(match["levels"] or 0)
    pause_ns = _DEPTH_NS[match["speed"] or ""]
    kind = "partial" if levels else "depth"
    return Stream(name=name, symbols=symbols, kind=kind, want=Want.BOOK, levels=levels, pause_ns=pause_ns, holds=True)


class Streams(streams.Streams[Reader]):
    """The streams of spot."""

    announces_end = True

    def __init__(self, venue: Venue, mishaps: Mishaps) -> None:
        super().__init__(venue.world, mishaps)
        self.wire_ms = venue.wire_ms
        self._venue = venue

    def parse(self, name: str) -> Stream | None:
        """Return the stream a name stands for, None for a name that never says anything."""
        return _stream(name)

    def frame(self, stream: Stream, event: Any) -> JSON:
        """Return what a stream says of a print, a quote or a bar."""
        match stream.kind:
            case "trade":
                return _trade(event)
            case "aggTrade":
                return _agg_trade(event)
            case "bookTicker":
                return _book_ticker(event)
            case "kline":
                return _kline(event, stream.interval_text)
            case _:
                return self._ticker(stream, event.time_ns)

    def held_frame(self, stream: Stream, events: list[BookChange]) -> JSON:
        """Return the book's changes as one, or the best levels as they are now."""
        if stream.kind == "depth":
            return _depth_update(events)
        book = self._venue.market.book(events[-1].venue_symbol, depth=stream.levels)
        return {
            "lastUpdateId": book.sequence,
            "bids": wire.depth_levels(book.bids),
            "asks": wire.depth_levels(book.asks),
        }

    def _ticker(self, stream: Stream, now_ns: int) -> JSON:
        [symbol] = stream.symbols
        is_mini = stream.kind == "miniTicker"
        listing = self._venue.listing(symbol)
        row = ticker(self._venue, listing, now_ns - NS_PER_DAY, now_ns, is_mini=is_mini, with_quote=True)
        letters = _MINI_TICKER if is_mini else _TICKER
        head = {"e": "24hrMiniTicker" if is_mini else "24hrTicker", "E": to_ms(now_ns)}
        return head | {letter: row[field] for letter, field in letters.items()}


_MINI_TICKER = {
    "s": "symbol",
    "c": "lastPrice",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
}
_TICKER = {
    "s": "symbol",
    "p": "priceChange",
    "P": "priceChangePercent",
    "w": "weightedAvgPrice",
    "x": "prevClosePrice",
    "c": "lastPrice",
    "Q": "lastQty",
    "b": "bidPrice",
    "B": "bidQty",
    "a": "askPrice",
    "A": "askQty",
    "o": "openPrice",
    "h": "highPrice",
    "l": "lowPrice",
    "v": "volume",
    "q": "quoteVolume",
    "O": "openTime",
    "C": "closeTime",
    "F": "firstId",
    "L": "lastId",
    "n": "count",
}


# --- payloads --------------------------------------------------------------------------------------------


def _trade(event: PublicTrade) -> JSON:
    time_ms = to_ms(event.time_ns)
    return {
        "e": "trade",
        "E": time_ms,
        "s": event.venue_symbol,
        "t": event.trade_id,
        "p": wire.number(event.price),
        "q": wire.number(event.quantity),
        "T": time_ms,
        "m": event.side is Side.SELL,
        "M": True,
    }


def _agg_trade(event: PublicTrade) -> JSON:
    time_ms = to_ms(event.time_ns)
    return {
        "e": "aggTrade",
        "E": time_ms,
        "s": event.venue_symbol,
        "a": event.trade_id,
        "p": wire.number(event.price),
        "q": wire.number(event.quantity),
        "f": event.trade_id,
        "l": event.trade_id,
        "T": time_ms,
        "m": event.side is Side.SELL,
        "M": True,
    }


def _book_ticker(event: QuoteChange) -> JSON:
    quote = event.quote
    return {
        "u": event.update_id,
        "s": event.venue_symbol,
        "b": wire.number(quote.bid_price),
        "B": wire.number(quote.bid_quantity),
        "a": wire.number(quote.ask_price),
        "A": wire.number(quote.ask_quantity),
    }


def _depth_update(changes: list[BookChange]) -> JSON:
    """Return one update of several changes: the last word on each level."""
    bids: dict[Decimal, Decimal] = {}
    asks: dict[Decimal, Decimal] = {}
    for change in changes:
        bids.update(change.bids)
        asks.update(change.asks)
    return {
        "e": "depthUpdate",
        "E": to_ms(changes[-1].time_ns),
        "s": changes[-1].venue_symbol,
        "U": changes[0].first_id,
        "u": changes[-1].last_id,
        "b": wire.depth_levels(sorted(bids.items(), reverse=True)),
        "a": wire.depth_levels(sorted(asks.items())),
    }


def _kline(event: BarChange, interval_text: str) -> JSON:
    bar, flow = event.bar, event.flow
    return {
        "e": "kline",
        "E": to_ms(event.time_ns),
        "s": event.venue_symbol,
        "k": {
            "t": to_ms(bar.open_ns),
            "T": to_ms(bar.close_ns) - 1,
            "s": event.venue_symbol,
            "i": interval_text,
            "f": flow.first_trade_id,
            "L": flow.last_trade_id,
            "o": wire.number(bar.open),
            "c": wire.number(bar.close),
            "h": wire.number(bar.high),
            "l": wire.number(bar.low),
            "v": wire.number(bar.volume),
            "n": flow.trades,
            "x": bar.is_closed,
            "q": wire.number(bar.quote_volume),
            "V": wire.number(flow.taker_buy_volume),
            "Q": wire.number(flow.taker_buy_quote_volume),
            "B": "0",
        },
    }


def add_routes(app: web.Application, connections: Connections, table: Streams) -> None:
    """Serve the stream addresses: ``/ws``, ``/ws/a/b``, ``/stream``, ``/stream?streams=a/b``."""

    def serve(request: web.Request, names: list[str], *, is_combined: bool) -> Awaitable[web.StreamResponse]:
        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            reader = Reader(table, connection, is_combined=is_combined)
            reader.subscribe(names[:STREAMS_MAX])
            return reader.on_text, reader.end

        return connections.serve(request, session, where=Where.MARKET_STREAM, messages_per_s=_MESSAGES_PER_S)

    async def raw(request: web.Request) -> web.StreamResponse:
        names = [name for name in request.match_info.get("names", "").split("/") if name]
        return await serve(request, names, is_combined=False)

    async def combined(request: web.Request) -> web.StreamResponse:
        names = [name for name in request.query.get("streams", "").split("/") if name]
        return await serve(request, names, is_combined=True)

    app.router.add_get("/stream", combined)
    # Below /stream too: some clients tell spot from futures by this word in the address.
    for base in ("/ws", "/stream/ws"):
        app.router.add_get(base, raw)
        app.router.add_get(base + "/{names:.*}", raw)
