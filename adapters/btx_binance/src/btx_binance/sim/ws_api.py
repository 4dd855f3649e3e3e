"""The WebSocket API: the same calls as REST over one socket, sessions, and the user data stream.

``web-socket-api.md`` and ``user-data-stream.md`` (2026).
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import attrs
from aiohttp import web

from btx.sim.exchange import ExecutionEvent, ExecutionKind
from btx.sim.faults import CALM, Action, Kind, Where
from btx_binance.sim import wire
from btx_binance.sim.connections import Connections
from btx_binance.sim.faults import Mishaps, operation_of
from btx_binance.sim.params import Raw, long
from btx_binance.sim.sockets import Connection
from btx_binance.sim.venue import Ask, Call, Security, Terms, Venue, authorize
from btx_binance.sim.wire import JSON, WireError, dumps

__all__ = ("UserData", "add_routes")

_CONNECT_WEIGHT = 2
_BANNED = 418
_NOT_LOGGED_ON = (-1002, "You are not authorized to execute this request.")


class UserData:
    """Who listens to which account, and the frames made of what happens to it."""

    def __init__(self, venue: Venue, mishaps: Mishaps) -> None:
        self.mishaps = mishaps
        self._venue = venue
        self._listeners: dict[str, dict[tuple[_Session, int], None]] = {}

    def add(self, api_key: str, session: "_Session", subscription_id: int) -> None:
        """Let a session have the events of an account."""
        self._listeners.setdefault(api_key, {})[session, subscription_id] = None

    def remove(self, api_key: str, session: "_Session", subscription_id: int) -> None:
        """Take an account's events from a session."""
        del self._listeners[api_key][session, subscription_id]

    def tell(self, event: ExecutionEvent) -> None:
        """Push an execution to the listeners of its own account: the report, its list's news, then the balances."""
        listeners = self._listeners.get(event.api_key)
        if not listeners:
            return
        cancel_id = None
        if event.kind is ExecutionKind.CANCELED:
            cancel_id = self._venue.cancel_ids.get((event.api_key, event.order.order_id))
        frames = [dumps(wire.execution_report(event, cancel_id))]
        if event.order_list is not None:
            frames.append(dumps(wire.list_status(event.order_list, event.time_ns)))
        if event.balances:
            frames.append(dumps(wire.account_position(event)))
        for session, subscription_id in tuple(listeners):
            for frame in frames:
                session.put_event(subscription_id, frame)


@attrs.define(kw_only=True, eq=False)
class _Session:
    """One client of the WebSocket API."""

    venue: Venue
    mishaps: Mishaps
    user_data: UserData
    connection: Connection
    methods: Mapping[str, "_Method"]
    shows_limits: bool
    connected_ms: int
    api_key: str = ""  # the key that is logged on, "" for none
    authorized_ms: int | None = None
    subscriptions: dict[int, str] = attrs.field(factory=dict)  # id -> key
    next_subscription: int = 0

    async def on_text(self, text: str) -> None:
        frame: JSON = {"id": None, "status": 200}
        shows_limits, account = self.shows_limits, ""
        action = CALM
        try:
            frame["id"], name, sent = _parse(text)
            payload = _payload(sent)
            shows_limits = sent.pop("returnRateLimits", shows_limits) is True
            method = self._method(name)
            action = self.mishaps.on_request(method.operation, name)
            if self._is_swallowed(action):
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
        await self._answer(dumps(frame), action)
        if frame["status"] == _BANNED:
            await self.connection.refuse(b"IP banned")

    def _is_swallowed(self, action: Action) -> bool:
        """Let a request disappear before it is done, if it is to."""
        if action.get(Kind.DROP, Kind.OUTAGE) is not None:
            self.connection.abort()
        elif (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.connection.mute(fault)
        else:
            return False
        return True

    async def _answer(self, text: str, action: Action) -> None:
        await self.mishaps.hold(action)
        if action.get(Kind.LOSE) is not None:
            self.connection.abort()
        elif action.get(Kind.TRUNCATE) is not None:
            self.connection.put(text[: len(text) // 2])
        else:
            self.connection.put(text)

    def put_event(self, subscription_id: int, event: str) -> None:
        """Push an event, unless the subscription has ended since or ends with it."""
        if subscription_id not in self.subscriptions:
            return
        action = self.mishaps.on_push(Where.ACCOUNT_STREAM, event.split('"', 4)[3])
        end = action.get(Kind.STREAM_END)
        if end is not None and not end.form % 2:
            self._terminate(subscription_id)
        else:
            self.connection.push(_event(subscription_id, event), action)

    def _terminate(self, subscription_id: int) -> None:
        self.user_data.remove(self.subscriptions.pop(subscription_id), self, subscription_id)
        ended = {"e": "eventStreamTerminated", "E": self.venue.wire_ms()}
        self.connection.put(_event(subscription_id, dumps(ended)))

    def shutdown_notice(self, _form: int) -> str:
        """Return the words before a shutdown (websocket-api/connection-events, 2026-06-09)."""
        return dumps({"event": {"e": "serverShutdown", "E": self.venue.wire_ms()}})

    def end(self) -> None:
        for subscription_id, api_key in self.subscriptions.items():
            self.user_data.remove(api_key, self, subscription_id)
        self.subscriptions.clear()

    def subscribe(self, api_key: str) -> JSON:
        if api_key in self.subscriptions.values():
            raise WireError(-2035, "User Data Stream subscription already active.")
        subscription_id = self.next_subscription
        self.next_subscription += 1
        self.subscriptions[subscription_id] = api_key
        self.user_data.add(api_key, self, subscription_id)
        return {"subscriptionId": subscription_id}

    def unsubscribe(self, wanted: int | None) -> JSON:
        ids = list(self.subscriptions) if wanted is None else [wanted]
        for subscription_id in ids:
            if subscription_id not in self.subscriptions:
                raise WireError(-2036, "User Data Stream subscription not active.")
            self._terminate(subscription_id)
        return {}

    def state(self) -> JSON:
        return {
            "apiKey": self.api_key or None,
            "authorizedSince": self.authorized_ms,
            "connectedSince": self.connected_ms,
            "returnRateLimits": self.shows_limits,
            "serverTime": self.venue.wire_ms(),
            "userDataStream": bool(self.subscriptions),
        }

    def _method(self, name: str) -> "_Method":
        try:
            return self.methods[name.removeprefix("v3/")]
        except KeyError as error:
            raise WireError(-1020, f"This operation is not supported: '{name}'.") from error

    def _admit(self, method: "_Method", sent: dict[str, Raw], payload: str) -> str:
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
class _Method(Terms):
    """A method of the WebSocket API, run for a session."""

    run: Callable[[_Session, Ask], Any]
    operation: Where = Where.ACCOUNT  # sessions and subscriptions


def _event(subscription_id: int, event: str) -> str:
    return f'{{"subscriptionId":{subscription_id},"event":{event}}}'


def _method(call: Call) -> _Method:
    return _Method(
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


# --- sessions and the user data stream -------------------------------------------------------------------


def _logon(session: _Session, ask: Ask) -> JSON:
    if not wire.signed_by_ed25519(session.venue.secrets[ask.api_key]):
        raise WireError(-4056, "HMAC_SHA256 API key is not supported.")
    session.api_key = ask.api_key
    session.authorized_ms = session.venue.wire_ms()
    return session.state()


def _logout(session: _Session, _: Ask) -> JSON:
    session.api_key, session.authorized_ms = "", None
    return session.state()


def _subscribe_session(session: _Session, _: Ask) -> JSON:
    if not session.api_key:
        raise WireError(*_NOT_LOGGED_ON)
    return session.subscribe(session.api_key)


_SIGNED = Security.SIGNED
_SESSION_METHODS = {
    "session.logon": _Method(run=_logon, weight=2, security=_SIGNED),
    "session.status": _Method(run=lambda session, _: session.state(), weight=2),
    "session.logout": _Method(run=_logout, weight=2),
    "session.subscriptions": _Method(
        run=lambda session, _: [{"subscriptionId": number} for number in session.subscriptions], weight=2
    ),
    "userDataStream.subscribe": _Method(run=_subscribe_session, weight=2),
    "userDataStream.subscribe.signature": _Method(
        run=lambda session, ask: session.subscribe(ask.api_key), weight=2, security=_SIGNED
    ),
    "userDataStream.unsubscribe": _Method(
        run=lambda session, ask: session.unsubscribe(ask.get("subscriptionId")),
        params=(long("subscriptionId"),),
        weight=2,
    ),
}


def add_routes(
    app: web.Application,
    venue: Venue,
    connections: Connections,
    user_data: UserData,
    calls: Iterable[Call],
) -> None:
    """Serve the WebSocket API at ``/ws-api/v3``."""
    methods = {call.method: _method(call) for call in calls if call.method is not None} | _SESSION_METHODS

    async def serve(request: web.Request) -> web.StreamResponse:
        address, now_ns = request.remote or "", venue.world.wire_ns()
        if not venue.meters.connect(address, now_ns):
            raise web.HTTPTooManyRequests
        try:
            venue.meters.request(address, _CONNECT_WEIGHT, now_ns)
        except WireError as error:
            return web.Response(text=dumps(error.body()), status=error.status, content_type="application/json")

        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            client = _Session(
                venue=venue,
                mishaps=user_data.mishaps,
                user_data=user_data,
                connection=connection,
                methods=methods,
                shows_limits=request.query.get("returnRateLimits") != "false",
                connected_ms=venue.wire_ms(),
            )
            connection.subscriptions = lambda: tuple(f"userData:{number}" for number in sorted(client.subscriptions))
            connection.shutdown_notice = client.shutdown_notice
            return client.on_text, client.end

        return await connections.serve(request, session, where=Where.ACCOUNT_STREAM, messages_per_s=None)

    app.router.add_get("/ws-api/v3", serve)
