"""The sockets: one for market streams, one for the account's events."""

import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from btx.model.time import NS_PER_MS, Interval, to_ms
from btx.sim.exchange import ExecutionEvent
from btx.sim.faults import Action, Kind, Where
from btx.sim.margin_events import MarkChange  # margin
from btx.sim.market import BarChange, PublicTrade, QuoteChange
from btx.sim.skin.connections import Connections
from btx.sim.skin.mishaps import Mishaps
from btx.sim.skin.sockets import Connection
from btx.sim.skin.streams import (
    Key,  # margin
    Stream,
    Streams,
)
from btx.sim.skin.text import JSON, dumps
from btx.sim.world import Want
from btx.testing.toy.sim import wire
from btx.testing.toy.sim.margin import frames_of, mark_row  # margin
from btx.testing.toy.sim.rest import Desk
from btx.testing.toy.sim.wire import WireError

__all__ = ("AccountEvents", "MarketStreams", "add_routes")

_WANTS = {
    "bar": Want.BARS,
    "trade": Want.TRADES,
    "quote": Want.QUOTES,
    "book": Want.BOOK,
    "mark": Want.MARK,  # margin
}
_BOOK_PAUSE_NS = 100 * NS_PER_MS


class MarketStreams(Streams["_MarketSocket"]):
    """What market streams are called and say: ``bar:BTC-USDT:1m``, ``trade:BTC-USDT``, ..."""

    def parse(self, name: str) -> Stream | None:
        kind, *rest = name.split(":")
        if kind not in _WANTS or len(rest) != (2 if kind == "bar" else 1):
            return None
        if rest[0] not in self._world.listings:
            return None
        interval = Interval.parse(rest[1]) if kind == "bar" else None
        pace: JSON = {"holds": True, "pause_ns": _BOOK_PAUSE_NS} if kind == "book" else {}
        return Stream(name=name, symbols=(rest[0],), kind=kind, want=_WANTS[kind], interval=interval, **pace)

    def key(self, event: Any) -> Key | None:  # margin
        """Return what an event wakes: marks, too."""
        return (Want.MARK, event.venue_symbol, None) if isinstance(event, MarkChange) else super().key(event)

    def frame(self, stream: Stream, event: Any) -> Any:  # noqa: ARG002 -- the event says it all
        match event:
            case BarChange():
                return wire.bar_row(event.bar)
            case PublicTrade():
                return wire.trade_row(event)
            case QuoteChange():
                return wire.quote_row(event)
            case MarkChange():  # margin
                return mark_row(event)

    def held_frame(self, stream: Stream, events: list[Any]) -> Any:  # noqa: ARG002 -- likewise
        return wire.change_row(events)


class _MarketSocket:
    """One client of market streams."""

    def __init__(self, streams: MarketStreams, connection: Connection) -> None:
        self._streams = streams
        self._connection = connection
        self._names: dict[str, None] = {}
        connection.subscriptions = lambda: tuple(sorted(self._names))
        connection.shutdown_notice = _closing

    def hear(self, name: str, raw: str, action: Action) -> None:
        """Push the frame of a stream."""
        self._connection.push(f'{{"stream":"{name}","data":{raw}}}', action, stream=name)

    async def on_text(self, text: str) -> None:
        """Do what a message asks for, and answer it."""
        message = json.loads(text)
        names, mishaps = message.get("streams", []), self._streams.mishaps
        action = mishaps.on_subscribe(",".join(names)) if message["op"] == "subscribe" else Action()
        if self._connection.swallow(action):
            return
        answer: JSON = {"id": message["id"]}
        unknown = [name for name in names if self._streams.parse(name) is None]
        if action.get(Kind.REFUSE) is not None:
            answer |= {"error": "busy", "text": "streams cannot be subscribed at the moment"}
        elif unknown:
            answer |= {"error": "bad_request", "text": f"there is no stream {unknown[0]}"}
        else:
            self._change(names, is_wanted=message["op"] == "subscribe")
        await mishaps.hold(action)
        self._connection.put(dumps(answer))

    def end(self) -> None:
        """Read nothing more: the socket is gone."""
        self._change(list(self._names), is_wanted=False)

    def _change(self, names: list[str], *, is_wanted: bool) -> None:
        for name in names:
            if is_wanted and name not in self._names:
                self._names[name] = None
                self._streams.add(name, self)
            elif not is_wanted and name in self._names:
                del self._names[name]
                self._streams.remove(name, self)
                self._connection.hear(name)


class AccountEvents:
    """Who hears of which account."""

    def __init__(self, desk: Desk, mishaps: Mishaps[WireError]) -> None:
        self.desk = desk
        self._mishaps = mishaps
        self.hearers: dict[Connection, str] = {}  # key by socket

    def tell(self, event: Any) -> None:
        """Push what happened to an account."""
        if isinstance(event, ExecutionEvent):
            sequence = {"sequence": event.sequence}
            fill = None if event.fill is None else wire.fill_row(event.fill) | sequence
            self._push(event.api_key, {"event": "order", "order": wire.order_row(event.order) | sequence, "fill": fill})
            if event.balances:
                changed = {"reason": "ORDER", "balances": wire.balances(event.balances), "time": to_ms(event.time_ns)}
                self._push(event.api_key, {"event": "account", **changed})
        elif self.desk.world.is_margined:  # margin
            for api_key, frame in frames_of(self.desk.world.margin, event):
                self._push(api_key, frame)

    def _push(self, api_key: str, frame: JSON) -> None:
        for connection, key in tuple(self.hearers.items()):
            if key == api_key:
                action = self._mishaps.on_push(Where.ACCOUNT_STREAM, frame["event"])
                connection.push(dumps(frame), action, stream="account")

    def session(self, connection: Connection) -> tuple[Callable[[str], Any], Callable[[], None]]:
        """Serve one socket: the first message logs in."""
        connection.shutdown_notice = _closing
        connection.subscriptions = lambda: ("account",) if connection in self.hearers else ()

        async def on_text(text: str) -> None:
            message = json.loads(text)
            answer: JSON = {"id": message["id"]}
            action = self._mishaps.on_request(Where.ACCOUNT, "login")
            if connection.swallow(action):
                return
            try:
                if (refusal := self._mishaps.refusal(action)) is not None:
                    raise refusal
                time_ms, window_ms = str(message["time"]), str(message["window"])
                self.desk.prove(
                    message["key"], f"{time_ms}login", message["sign"], time_ms=time_ms, window_ms=window_ms
                )
                self.hearers[connection] = message["key"]
            except WireError as error:
                answer |= error.body()
            await self._mishaps.answer_on(connection, dumps(answer), action)

        def at_end() -> None:
            self.hearers.pop(connection, None)

        return on_text, at_end


def add_routes(app: web.Application, connections: Connections, streams: MarketStreams, events: AccountEvents) -> None:
    """Serve both sockets."""

    def market_session(connection: Connection) -> tuple[Callable[[str], Any], Callable[[], None]]:
        socket = _MarketSocket(streams, connection)
        return socket.on_text, socket.end

    async def market(request: web.Request) -> web.StreamResponse:
        return await connections.serve(request, market_session, where=Where.MARKET_STREAM, messages_per_s=None)

    async def account(request: web.Request) -> web.StreamResponse:
        return await connections.serve(request, events.session, where=Where.ACCOUNT_STREAM, messages_per_s=None)

    app.router.add_get("/stream", market)
    app.router.add_get("/account", account)


def _closing(_form: int) -> str:
    return dumps({"event": "closing"})
