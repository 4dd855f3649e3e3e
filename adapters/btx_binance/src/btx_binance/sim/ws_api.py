"""Spot's WebSocket API: the same calls as REST over one socket, sessions, and the user data stream.

``web-socket-api.md`` and ``user-data-stream.md`` (2026).
"""

import functools
from collections.abc import Iterable

import attrs
from aiohttp import web

from btx.sim.exchange import ExecutionEvent, ExecutionKind
from btx.sim.faults import Kind, Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.text import JSON, dumps
from btx_binance.sim import sessions, wire
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.params import long
from btx_binance.sim.sessions import SESSION_METHODS, Method, Session, method_of
from btx_binance.sim.venue import Ask, Call, Security, Venue
from btx_binance.sim.wire import WireError

__all__ = ("UserData", "add_routes")

_CONNECT_WEIGHT = 2
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
class _Session(Session):
    """One client, and the accounts whose events it hears."""

    user_data: UserData
    subscriptions: dict[int, str] = attrs.field(factory=dict)  # id -> key
    next_subscription: int = 0

    def __attrs_post_init__(self) -> None:
        self.connection.subscriptions = lambda: tuple(f"userData:{number}" for number in sorted(self.subscriptions))
        self.connection.shutdown_notice = self.shutdown_notice

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
        """Hear of no account any more: the socket is gone."""
        for subscription_id, api_key in self.subscriptions.items():
            self.user_data.remove(api_key, self, subscription_id)
        self.subscriptions.clear()

    def subscribe(self, api_key: str) -> JSON:
        """Hear of an account.

        Raises:
            WireError: -2035, it is heard of already.
        """
        if api_key in self.subscriptions.values():
            raise WireError(-2035, "User Data Stream subscription already active.")
        subscription_id = self.next_subscription
        self.next_subscription += 1
        self.subscriptions[subscription_id] = api_key
        self.user_data.add(api_key, self, subscription_id)
        return {"subscriptionId": subscription_id}

    def unsubscribe(self, wanted: int | None) -> JSON:
        """End one subscription, or all for None.

        Raises:
            WireError: -2036, there is none of this number.
        """
        ids = list(self.subscriptions) if wanted is None else [wanted]
        for subscription_id in ids:
            if subscription_id not in self.subscriptions:
                raise WireError(-2036, "User Data Stream subscription not active.")
            self._terminate(subscription_id)
        return {}

    def state(self) -> JSON:
        """Return what ``session.status`` tells."""
        return super().state() | {"userDataStream": bool(self.subscriptions)}

    def _method(self, name: str) -> Method:
        return super()._method(name.removeprefix("v3/"))


def _event(subscription_id: int, event: str) -> str:
    return f'{{"subscriptionId":{subscription_id},"event":{event}}}'


def _subscribe_session(session: _Session, _: Ask) -> JSON:
    if not session.api_key:
        raise WireError(*_NOT_LOGGED_ON)
    return session.subscribe(session.api_key)


_SUBSCRIPTION_METHODS = {
    "session.subscriptions": Method(
        run=lambda session, _: [{"subscriptionId": number} for number in session.subscriptions], weight=2
    ),
    "userDataStream.subscribe": Method(run=_subscribe_session, weight=2),
    "userDataStream.subscribe.signature": Method(
        run=lambda session, ask: session.subscribe(ask.api_key), weight=2, security=Security.SIGNED
    ),
    "userDataStream.unsubscribe": Method(
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
    calls: Iterable[Call[Venue]],
) -> None:
    """Serve the WebSocket API at ``/ws-api/v3``."""
    of_calls = {call.method: method_of(call) for call in calls if call.method is not None}
    make = functools.partial(
        _Session,
        mishaps=user_data.mishaps,
        user_data=user_data,
        methods=of_calls | SESSION_METHODS | _SUBSCRIPTION_METHODS,
    )

    async def serve(request: web.Request) -> web.StreamResponse:
        return await sessions.serve(request, venue=venue, connections=connections, weight=_CONNECT_WEIGHT, make=make)

    app.router.add_get("/ws-api/v3", serve)
