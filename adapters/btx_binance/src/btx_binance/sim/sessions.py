"""The WebSocket API of any market: one request, one answer, over one socket, and the key that is logged on.

``web-socket-api.md`` (spot) and ``websocket-api-general-info`` (USD-M, COIN-M), 2026.  What a market's sessions
can do besides its calls is its own: a subclass, and more methods.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from aiohttp import web

from btx.sim.faults import CALM, Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON, dumps
from btx_binance.sim import wire
from btx_binance.sim.faults import Mishaps, operation_of
from btx_binance.sim.params import Raw
from btx_binance.sim.venue import Ask, Call, Security, Terms, Venue, authorize
from btx_binance.sim.wire import WireError

__all__ = ("SESSION_METHODS", "Method", "Session", "method_of", "serve")

_BANNED = 418


@attrs.define(kw_only=True, eq=False)
class Session:
    """One client of the WebSocket API."""

    venue: Venue
    mishaps: Mishaps
    connection: Connection
    methods: Mapping[str, "Method"]
    shows_limits: bool
    connected_ms: int
    api_key: str = ""  # the key that is logged on, "" for none
    authorized_ms: int | None = None

    async def on_text(self, text: str) -> None:
        """Do what a request asks for, and answer it."""
        frame: JSON = {"id": None, "status": 200}
        shows_limits, account = self.shows_limits, ""
        action = CALM
        try:
            frame["id"], name, sent = _parse(text)
            payload = _payload(sent)
            shows_limits = sent.pop("returnRateLimits", shows_limits) is True
            method = self._method(name)
            action = self.mishaps.on_request(method.operation, name)
            if self.connection.swallow(action):
                return
            if (refusal := self.mishaps.refusal(action)) is not None:
                raise refusal
            api_key = self._admit(method, sent, payload)
            account = api_key if method.counts_orders else ""
            ask = Ask(values=method.read(sent), api_key=api_key, market_ns=self.venue.market_ns())
            frame["result"] = method.run(self, ask)
            if (failure := self.mishaps.failure(action)) is not None:
                raise failure
        except WireError as error:
            frame.pop("result", None)
            frame |= {"status": error.status, "error": self._error(error)}
        if shows_limits:
            frame["rateLimits"] = self._limits(account)
        await self.mishaps.answer_on(self.connection, dumps(frame), action)
        if frame["status"] == _BANNED:
            await self.connection.refuse(b"IP banned")

    def end(self) -> None:
        """Leave nothing behind: the socket is gone."""

    def state(self) -> JSON:
        """Return what ``session.status`` tells."""
        return {
            "apiKey": self.api_key or None,
            "authorizedSince": self.authorized_ms,
            "connectedSince": self.connected_ms,
            "returnRateLimits": self.shows_limits,
            "serverTime": self.venue.wire_ms(),
        }

    def _method(self, name: str) -> "Method":
        try:
            return self.methods[name]
        except KeyError as error:
            raise WireError(-1020, f"This operation is not supported: '{name}'.") from error

    def _admit(self, method: "Method", sent: dict[str, Raw], payload: str) -> str:
        """Count a request and return the key it acts for."""
        self.venue.meters.request(self.connection.address, method.weigh(sent), self.venue.world.wire_ns())
        own_key = sent.get("apiKey")
        trusted = bool(self.api_key) and own_key in (None, self.api_key) and "signature" not in sent
        return authorize(
            self.venue,
            method,
            sent,
            api_key=self.api_key if trusted else own_key if isinstance(own_key, str) else None,
            payload=payload,
            trusted=trusted,
        )

    def _limits(self, account: str) -> list[JSON]:
        meters, now_ns = self.venue.meters, self.venue.world.wire_ns()
        weight = meters.weight_count(self.connection.address, now_ns)
        return [*(meters.order_counts(account, now_ns) if account else ()), weight]

    def _error(self, error: WireError) -> JSON:
        body = error.body()
        if error.retry_at_ms is not None:
            body["data"] = {"serverTime": self.venue.wire_ms(), "retryAfter": error.retry_at_ms}
        return body


@attrs.frozen(kw_only=True)
class Method(Terms):
    """A method of the WebSocket API, run for a session."""

    run: Callable[[Any, Ask], Any]
    operation: Where = Where.ACCOUNT  # sessions and subscriptions


def method_of(call: Call[Any]) -> Method:
    """Return the method that does what a call does."""
    return Method(
        run=lambda session, ask: call.run(session.venue, ask),
        params=call.params,
        weight=call.weight,
        security=call.security,
        counts_orders=call.counts_orders,
        operation=operation_of(call),
    )


def _parse(text: str) -> tuple[Any, str, dict[str, Raw]]:
    """Return a request's id, method and parameters; decimals keep the digits they were sent with.

    Raises:
        WireError: it is no request.
    """
    try:
        request = json.loads(text, parse_float=str)
    except ValueError as error:
        raise WireError(-1135, "Invalid JSON Request") from error
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise WireError(-1135, "Invalid JSON Request")
    params = request.get("params", {})
    if not isinstance(params, dict):
        raise WireError(-1135, "JSON sent for parameter 'params' is not valid")
    return request.get("id"), request["method"], params


def _payload(sent: Mapping[str, Raw]) -> str:
    """Return what a signature is made over: the parameters by name, joined like a query."""
    return "&".join(f"{name}={_as_text(sent[name])}" for name in sorted(sent) if name != "signature")


def _as_text(value: Raw) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return dumps(value) if isinstance(value, list) else str(value)


def _logon(session: Session, ask: Ask) -> JSON:
    if not wire.signed_by_ed25519(session.venue.secrets[ask.api_key]):
        raise WireError(-4056, "HMAC_SHA256 API key is not supported.")
    session.api_key = ask.api_key
    session.authorized_ms = session.venue.wire_ms()
    return session.state()


def _logout(session: Session, _: Ask) -> JSON:
    session.api_key, session.authorized_ms = "", None
    return session.state()


_SIGNED = Security.SIGNED

SESSION_METHODS = {
    "session.logon": Method(run=_logon, weight=2, security=_SIGNED),
    "session.status": Method(run=lambda session, _: session.state(), weight=2),
    "session.logout": Method(run=_logout, weight=2),
}
"""What every WebSocket API can do with the session itself."""


async def serve(
    request: web.Request, *, venue: Venue, connections: Connections, weight: int, make: Callable[..., Session]
) -> web.StreamResponse:
    """Open a session; the handshake costs ``weight``. ``make`` gives one for a connection and its settings."""
    try:
        venue.meters.request(request.remote or "", weight, venue.world.wire_ns())
    except WireError as error:
        return web.Response(text=dumps(error.body()), status=error.status, content_type="application/json")

    def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
        client = make(
            venue=venue,
            connection=connection,
            shows_limits=request.query.get("returnRateLimits") != "false",
            connected_ms=venue.wire_ms(),
        )
        return client.on_text, client.end

    return await connections.serve(request, session, where=Where.ACCOUNT_STREAM, messages_per_s=None)
