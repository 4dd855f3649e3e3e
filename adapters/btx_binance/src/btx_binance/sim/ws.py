"""Market streams: raw (``/ws/<stream>``) and combined (``/stream?streams=``), subscribed by address or message.

``web-socket-streams.md`` (2026).  A frame is made once per stream, however many
sockets read it.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import web

from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, to_ms
from btx.sim.faults import CALM, Action, Kind, Where
from btx.sim.market import BarChange, BookChange, MarketEvent, PublicTrade, QuoteChange
from btx.sim.world import Want
from btx_binance.sim import wire
from btx_binance.sim.connections import Connections
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.market_data import INTERVALS, ticker
from btx_binance.sim.sockets import Connection
from btx_binance.sim.venue import Venue
from btx_binance.sim.wire import JSON, dumps

__all__ = ("Streams", "add_routes")

_MESSAGES_PER_S = 5
_STREAMS_MAX = 1024
_KLINE_NS = 2000 * NS_PER_MS  # how often a bar that is not closed is pushed
_TICKER_NS = 1000 * NS_PER_MS
_DEPTH_NS = {"@100ms": 100 * NS_PER_MS, "@1000ms": 1000 * NS_PER_MS, "": 1000 * NS_PER_MS}
_NAME = re.compile(
    r"(?P<symbol>[a-z0-9\-_.]{1,20})@"
    r"(?:(?P<kind>aggTrade|trade|bookTicker|miniTicker|ticker)"
    r"|kline_(?P<interval>" + "|".join(INTERVALS) + r")"
    r"|depth(?P<levels>5|10|20)?(?P<speed>@100ms|@1000ms)?)"
)


@attrs.define(kw_only=True, eq=False)
class _Stream:
    """One stream somebody reads."""

    name: str
    venue_symbol: str
    kind: str
    interval: Interval | None = None
    interval_text: str = ""
    levels: int = 0
    pause_ns: int = 0
    readers: dict["_Reader", None] = attrs.field(factory=dict)
    sent_ns: int = -1
    held: list[BookChange] = attrs.field(factory=list)


_WANTS = {
    "aggTrade": Want.TRADES,
    "trade": Want.TRADES,
    "miniTicker": Want.TRADES,
    "ticker": Want.TRADES,
    "bookTicker": Want.QUOTES,
    "depth": Want.BOOK,
    "partial": Want.BOOK,
    "kline": Want.BARS,
}


def _stream(name: str) -> _Stream | None:
    """Return the stream a name stands for, None for a name that never says anything."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    venue_symbol = match["symbol"].upper()
    if match["kind"] is not None:
        pause_ns = _TICKER_NS if "icker" in match["kind"] and match["kind"] != "bookTicker" else 0
        return _Stream(name=name, venue_symbol=venue_symbol, kind=match["kind"], pause_ns=pause_ns)
    if (text := match["interval"]) is not None:
        interval = Interval.parse(text)
        return _Stream(
            name=name,
            venue_symbol=venue_symbol,
            kind="kline",
            interval=interval,
            interval_text=text,
            pause_ns=_KLINE_NS,
        )
    levels = int(match["levels"] or 0)
    return _Stream(
        name=name,
        venue_symbol=venue_symbol,
        kind="partial" if levels else "depth",
        levels=levels,
        pause_ns=_DEPTH_NS[match["speed"] or ""],
    )


class Streams:
    """Who reads which stream, and the frames made of what happens."""

    def __init__(self, venue: Venue, mishaps: Mishaps) -> None:
        self.mishaps = mishaps
        self.wire_ms = venue.wire_ms
        self._venue = venue
        self._streams: dict[str, _Stream] = {}
        # By what wakes a stream: (want, symbol), for bars with the interval.
        self._woken: dict[tuple[Want, str, Interval | None], list[_Stream]] = {}

    def add(self, name: str, reader: "_Reader") -> None:
        """Let a reader have a stream; a name that is none, or not listed, is silent as at the venue."""
        stream = self._streams.get(name)
        if stream is None:
            stream = _stream(name)
            if stream is None or stream.venue_symbol not in self._venue.exchange.listings:
                return
            self._streams[name] = stream
            self._woken.setdefault(_key(stream), []).append(stream)
            self._venue.world.want(stream.venue_symbol, _WANTS[stream.kind], stream.interval)
        stream.readers[reader] = None

    def remove(self, name: str, reader: "_Reader") -> None:
        """Take a stream from a reader."""
        stream = self._streams.get(name)
        if stream is None or reader not in stream.readers:
            return
        del stream.readers[reader]
        if not stream.readers:
            del self._streams[name]
            self._woken[_key(stream)].remove(stream)
            self._venue.world.unwant(stream.venue_symbol, _WANTS[stream.kind], stream.interval)

    def tell(self, event: MarketEvent) -> None:
        """Push what an event means to every stream it wakes."""
        match event:
            case PublicTrade():
                self._each(Want.TRADES, event, self._on_trade)
            case QuoteChange():
                self._each(Want.QUOTES, event, self._on_quote)
            case BookChange():
                self._each(Want.BOOK, event, self._on_book)
            case BarChange():
                self._each(Want.BARS, event, self._on_bar, event.bar.interval)

    def settle(self) -> None:
        """Push the book changes that are held back for a stream's pace."""
        for stream in self._streams.values():
            if stream.held:
                self._push_held(stream)

    def _each(
        self,
        want: Want,
        event: Any,
        push: Callable[[_Stream, Any], None],
        interval: Interval | None = None,
    ) -> None:
        for stream in self._woken.get((want, event.venue_symbol, interval), ()):
            push(stream, event)

    def _on_trade(self, stream: _Stream, event: PublicTrade) -> None:
        if stream.kind == "trade":
            self._push(stream, _trade(event))
        elif stream.kind == "aggTrade":
            self._push(stream, _agg_trade(event))
        elif event.time_ns >= stream.sent_ns + stream.pause_ns:
            stream.sent_ns = event.time_ns
            self._push(stream, self._ticker(stream, event.time_ns))

    def _on_quote(self, stream: _Stream, event: QuoteChange) -> None:
        self._push(stream, _book_ticker(event))

    def _on_bar(self, stream: _Stream, event: BarChange) -> None:
        if event.bar.is_closed or event.time_ns >= stream.sent_ns + stream.pause_ns:
            stream.sent_ns = event.time_ns
            self._push(stream, _kline(event, stream.interval_text))

    def _on_book(self, stream: _Stream, event: BookChange) -> None:
        stream.held.append(event)
        if event.time_ns >= stream.sent_ns + stream.pause_ns:
            self._push_held(stream)

    def _push_held(self, stream: _Stream) -> None:
        held, stream.held = stream.held, []
        stream.sent_ns = held[-1].time_ns
        if stream.kind == "depth":
            self._push(stream, _depth_update(held))
            return
        book = self._venue.market.book(stream.venue_symbol, depth=stream.levels)
        self._push(
            stream,
            {
                "lastUpdateId": book.sequence,
                "bids": wire.depth_levels(book.bids),
                "asks": wire.depth_levels(book.asks),
            },
        )

    def _ticker(self, stream: _Stream, now_ns: int) -> JSON:
        listing = self._venue.listing(stream.venue_symbol)
        is_mini = stream.kind == "miniTicker"
        row = ticker(self._venue, listing, now_ns - NS_PER_DAY, now_ns, is_mini=is_mini, with_quote=True)
        letters = _MINI_TICKER if is_mini else _TICKER
        head = {"e": "24hrMiniTicker" if is_mini else "24hrTicker", "E": to_ms(now_ns)}
        return head | {letter: row[field] for letter, field in letters.items()}

    def _push(self, stream: _Stream, payload: JSON) -> None:
        raw = dumps(payload)
        combined = ""
        for reader in stream.readers:
            action = self.mishaps.on_push(Where.MARKET_STREAM, stream.name)
            if reader.is_combined:
                combined = combined or f'{{"stream":"{stream.name}","data":{raw}}}'
                reader.connection.push(combined, action, stream=stream.name)
            else:
                reader.connection.push(raw, action, stream=stream.name)


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


def _key(stream: _Stream) -> tuple[Want, str, Interval | None]:
    return _WANTS[stream.kind], stream.venue_symbol, stream.interval


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


# --- one socket ------------------------------------------------------------------------------------------

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _Refused(Exception):  # noqa: N818 - an answer of the venue, not a fault of the program
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Reader:
    """A client of market streams and the streams it reads."""

    def __init__(self, streams: Streams, connection: Connection, *, is_combined: bool) -> None:
        self.connection = connection
        self.is_combined = is_combined
        self._streams = streams
        self._names: dict[str, None] = {}
        connection.subscriptions = lambda: tuple(sorted(self._names))
        connection.shutdown_notice = self._shutdown_notice

    def subscribe(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._names:
                self._names[name] = None
                self._streams.add(name, self)

    def unsubscribe(self, names: Iterable[str]) -> None:
        for name in tuple(names):
            if name in self._names:
                del self._names[name]
                self._streams.remove(name, self)
                self.connection.hear(name)

    def end(self) -> None:
        self.unsubscribe(self._names)

    async def on_text(self, text: str) -> None:
        request_id: Any = None
        action = CALM
        try:
            request = _parse(text)
            request_id = request.get("id")
            if request["method"] == "SUBSCRIBE":
                action = self._streams.mishaps.on_subscribe(",".join(_names(request.get("params", []))))
            if self._is_swallowed(action):
                return
            if (fault := action.get(Kind.REFUSE)) is not None:
                self.connection.put(dumps(_refused(fault.form, request_id)))
                return
            result = self._do(request)
        except _Refused as refused:
            self.connection.put(dumps({"code": refused.code, "msg": str(refused), "id": request_id}))
            return
        await self._streams.mishaps.hold(action)
        self.connection.put(dumps({"result": result, "id": request_id}))
        if len(self._names) > _STREAMS_MAX:
            await self.connection.refuse(b"Too many streams")

    def _is_swallowed(self, action: Action) -> bool:
        if action.get(Kind.DROP) is not None:
            self.connection.abort()
        elif (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.connection.mute(fault)
        else:
            return False
        return True

    def _shutdown_notice(self, form: int) -> str:
        """Return the words before a shutdown; the manual does not say whether a combined stream wraps them."""
        raw = dumps({"e": "serverShutdown", "E": self._streams.wire_ms()})
        return f'{{"stream":"serverShutdown","data":{raw}}}' if self.is_combined and not form % 2 else raw

    def _do(self, request: JSON) -> Any:
        params = request.get("params", [])
        match request["method"]:
            case "SUBSCRIBE":
                self.subscribe(_names(params))
                return None
            case "UNSUBSCRIBE":
                self.unsubscribe(_names(params))
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(self._names)
            case "SET_PROPERTY":
                self.is_combined = _combined(params, count=2)
                return None
            case _:
                _combined([*params, True], count=2)
                return self.is_combined


def _refused(form: int, request_id: Any) -> JSON:
    """Return a refused subscription: as the manual writes errors, or under ``error``, as the WebSocket API does."""
    error = {"code": 2, "msg": "Invalid request: streams cannot be subscribed at the moment"}
    return {"error": error, "id": request_id} if form % 2 else {**error, "id": request_id}


def _parse(text: str) -> JSON:
    """Return a control message.

    Raises:
        _Refused: it is none, in the words of web-socket-streams.md, "Error Messages".
    """
    try:
        request = json.loads(text)
    except ValueError as error:
        column = getattr(error, "colno", 1)
        raise _Refused(3, f"Invalid JSON: expected value at line 1 column {column}") from error
    if not isinstance(request, dict) or "method" not in request:
        raise _Refused(2, f"Invalid request: missing field `method` at line 1 column {len(text)}")
    if request["method"] not in _METHODS:
        raise _Refused(
            2,
            f"Invalid request: unknown variant `{request['method']}`, expected one of "
            + ", ".join(f"`{method}`" for method in _METHODS),
        )
    request_id = request.get("id")
    is_number = isinstance(request_id, int) and not isinstance(request_id, bool)
    is_text = isinstance(request_id, str) and len(request_id) <= 36 and request_id.isascii()
    if not (request_id is None or is_number or is_text):
        del request["id"]
        raise _Refused(2, "Invalid request: request ID must be an unsigned integer")
    return request


def _names(params: Any) -> list[str]:
    if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
        raise _Refused(2, "Invalid request: invalid type: expected a sequence of strings")
    return params


def _combined(params: Any, *, count: int) -> bool:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if len(params) > count:
        raise _Refused(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise _Refused(0, "Unknown property")
    if len(params) < count or not isinstance(params[1], bool):
        raise _Refused(1, "Invalid value type: expected Boolean")
    return params[1]


def add_routes(app: web.Application, venue: Venue, connections: Connections, streams: Streams) -> None:
    """Serve the stream addresses: ``/ws``, ``/ws/a/b``, ``/stream``, ``/stream?streams=a/b``."""

    def serve(request: web.Request, names: list[str], *, is_combined: bool) -> Awaitable[web.StreamResponse]:
        if not venue.meters.connect(request.remote or "", venue.world.wire_ns()):
            raise web.HTTPTooManyRequests

        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            reader = _Reader(streams, connection, is_combined=is_combined)
            reader.subscribe(names[:_STREAMS_MAX])
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
