"""The sockets of Binance's futures: market streams where they are heard, and accounts behind their listen keys.

Connect, Live-Subscribing-Unsubscribing-to-streams and Important-WebSocket-Change-Notice of USD-M (2026-05-28), Connect
of COIN-M.  USD-M has three bases, ``/public``, ``/market`` and ``/private``, each with ``/ws`` and ``/stream``; a name
that is not heard on a base is acknowledged and stays silent.  So does the root for all that is not ``/public``, since
its retirement on 2026-04-23.  COIN-M has one base, the root.
"""

from collections.abc import Awaitable, Callable, Iterable

import attrs
from aiohttp import web

from btx.sim.faults import Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.sockets import Connection
from btx_binance.sim import ws
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.futures import ws_api
from btx_binance.sim.futures.listen_keys import ListenKeys
from btx_binance.sim.futures.protocol import Change
from btx_binance.sim.futures.streams import Route, Streams
from btx_binance.sim.futures.user_data import UserData
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.readers import STREAMS_MAX, Reader
from btx_binance.sim.venue import Call

__all__ = ("HABITS", "Sockets", "add_routes")

HABITS = attrs.evolve(ws.HABITS, ping_s=180.0, silence_s=600.0)
"""Connect: "The websocket server will send a ping frame every 3 minutes", and cuts off who has not answered in ten."""

_MESSAGES_PER_S = 10


@attrs.frozen(kw_only=True)
class Sockets:
    """Who is told of what happens in the world."""

    streams: Streams
    user_data: UserData

    def tell(self, event: object) -> None:
        """Push an event of the world to whoever reads of it."""
        self.user_data.tell(event)
        self.streams.tell(event)

    def settle(self) -> None:
        """Push what is held back for a stream's pace."""
        self.streams.settle()


@attrs.frozen(eq=False)
class _Base:
    """One base: what of a market is heard there."""

    routes: frozenset[Route]
    streams: Streams
    user_data: UserData
    mishaps: Mishaps
    wire_ms: Callable[[], int]
    announces_end: bool = False

    def add(self, name: str, reader: Reader) -> None:
        """Let a reader have a stream or an account, if it is heard here."""
        if _is_key(name):
            if Route.PRIVATE in self.routes:
                self.user_data.add(name, reader)
        elif self.streams.route(name) in self.routes:
            self.streams.add(name, reader)

    def remove(self, name: str, reader: Reader) -> None:
        """Take it from the reader."""
        if _is_key(name):
            self.user_data.remove(name, reader)
        else:
            self.streams.remove(name, reader)


def _is_key(name: str) -> bool:
    """Tell a listen key, alone or with an event, from a stream: these are written small, and are shorter."""
    return len(name.partition("@")[0]) == _KEY_LENGTH


_KEY_LENGTH = 64


def add_routes(
    app: web.Application,
    venue: FuturesVenue,
    mishaps: Mishaps,
    connections: Connections,
    *,
    keys: ListenKeys,
    calls: Iterable[Call[FuturesVenue]],
) -> Sockets:
    """Serve the stream addresses and the WebSocket API; return whom to tell what happens."""
    streams = Streams(venue, mishaps, venue.protocol)
    user_data = UserData(venue, mishaps, keys)
    connections.on_terms = keys.heed
    for route, heard in _bases(venue).items():
        base = _Base(routes=heard, streams=streams, user_data=user_data, mishaps=mishaps, wire_ms=venue.wire_ms)
        _add_base(app, connections, route.value, base)
    ws_api.add_routes(app, venue, mishaps, connections, calls)
    return Sockets(streams=streams, user_data=user_data)


def _bases(venue: FuturesVenue) -> dict[Route, frozenset[Route]]:
    """Return the bases there are on the protocol's day, and what is heard on each."""
    everything = frozenset(Route)
    routed: dict[Route, frozenset[Route]] = {}
    if venue.dialect.is_inverse or not venue.protocol.has(Change.ROUTED_STREAMS):
        return {Route.ROOT: everything}
    for route in (Route.PUBLIC, Route.MARKET, Route.PRIVATE):
        routed[route] = frozenset({route})
    is_retired = venue.protocol.has(Change.ROOT_RETIRED)
    return routed | {Route.ROOT: frozenset({Route.PUBLIC}) if is_retired else everything}


def _add_base(app: web.Application, connections: Connections, path: str, base: _Base) -> None:
    def serve(request: web.Request, names: list[str], *, is_combined: bool) -> Awaitable[web.StreamResponse]:
        names += _keys_asked_for(request)
        is_private = path == Route.PRIVATE.value or any(map(_is_key, names))

        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            reader = Reader(base, connection, is_combined=is_combined)
            reader.subscribe(names[:STREAMS_MAX])
            return reader.on_text, reader.end

        where = Where.ACCOUNT_STREAM if is_private else Where.MARKET_STREAM
        return connections.serve(request, session, where=where, messages_per_s=_MESSAGES_PER_S)

    async def raw(request: web.Request) -> web.StreamResponse:
        return await serve(request, _split(request.match_info.get("names", "")), is_combined=False)

    async def combined(request: web.Request) -> web.StreamResponse:
        return await serve(request, _split(request.query.get("streams", "")), is_combined=True)

    app.router.add_get(f"{path}/stream", combined)
    app.router.add_get(f"{path}/ws", raw)
    app.router.add_get(f"{path}/ws/{{names:.*}}", raw)


def _split(names: str) -> list[str]:
    return [name for name in names.split("/") if name]


def _keys_asked_for(request: web.Request) -> list[str]:
    """Return what ``?listenKey=K&events=A/B`` asks for; each ``events`` is of the key before it."""
    names: list[str] = []
    for word, value in request.query.items():
        if word == "listenKey":
            names.append(value)
        elif word == "events" and names:
            key = names.pop()
            names += [f"{key}@{event}" for event in _split(value)]
    return names
