"""The WebSocket API of Binance's futures: the calls of REST over one socket, and sessions.

``websocket-api-general-info`` of USD-M and COIN-M (2026-05-28).  Events of an account do not come over it.
"""

import functools
from collections.abc import Iterable

from aiohttp import web

from btx.sim.skin.connections import Connections
from btx_binance.sim import sessions
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.futures.venue import FuturesVenue
from btx_binance.sim.sessions import SESSION_METHODS, Session, method_of
from btx_binance.sim.venue import Call

__all__ = ("add_routes", "path")

_CONNECT_WEIGHT = 5


def path(venue: FuturesVenue) -> str:
    """Return where the market's WebSocket API is served."""
    return f"/ws-{venue.dialect.prefix.strip('/')}/v1"


def add_routes(
    app: web.Application,
    venue: FuturesVenue,
    mishaps: Mishaps,
    connections: Connections,
    calls: Iterable[Call[FuturesVenue]],
) -> None:
    """Serve every call that has a method."""
    of_calls = {call.method: method_of(call) for call in calls if call.method is not None}
    make = functools.partial(Session, mishaps=mishaps, methods=of_calls | SESSION_METHODS)

    async def serve(request: web.Request) -> web.StreamResponse:
        return await sessions.serve(request, venue=venue, connections=connections, weight=_CONNECT_WEIGHT, make=make)

    app.router.add_get(path(venue), serve)
