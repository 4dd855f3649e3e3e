"""Order entry over a socket, ``/v5/trade``: the calls of REST that make, change and end orders.

docs/v5/websocket/trade/guideline.mdx (2025).  An answer says that a request was taken; what became of it is told by the
private socket.  A request before the authentication is refused with the code of docs/v5/error.mdx; the manual of this
socket names none.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from btx.sim.faults import CALM, Action, Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON, dumps
from btx_bybit.sim.clients import Refused, connection_id, parsed
from btx_bybit.sim.errors import Mishaps, operation_of
from btx_bybit.sim.private import authenticated, heed_active_time
from btx_bybit.sim.rest import check_time
from btx_bybit.sim.venue import Call, Venue, perform
from btx_bybit.sim.wire import WireError

__all__ = ("PATH", "add_routes")

PATH = "/v5/trade"
_OPERATIONS = ("create", "amend", "cancel", "create-batch", "amend-batch", "cancel-batch")
_ID_LETTERS = 36
_WINDOW_MS = 5000
_CODES = {10018: 10403, 429: 10429}  # of REST, and of this socket
_DUPLICATE_ID = WireError(20006, "reqId is duplicated")
_REPEATED = WireError(20001, "Repeat auth")
_NOT_AUTHENTICATED = WireError(10007, "User authentication failed.")
_NO_SUCH_OPERATION = WireError(10404, "op type is not found")
_NO_SUCH_CATEGORY = WireError(10404, "category is not correct or not supported")


class _Client:
    """One socket for order entry."""

    def __init__(self, venue: Venue, mishaps: Mishaps, calls: Mapping[str, Call], connection: Connection) -> None:
        self._venue = venue
        self._mishaps = mishaps
        self._calls = calls
        self._connection = connection
        self._api_key = ""
        self._ids: set[str] = set()

    async def on_text(self, text: str) -> None:
        """Do what a request asks for, and answer it."""
        try:
            request = parsed(text)
        except Refused as refused:
            self._connection.put(dumps(self._answer({}, code=10001, message=str(refused))))
            return
        match request.get("op"):
            case "ping":
                self._connection.lives()
                self._connection.put(dumps(self._pong()))
            case "auth":
                await self._authenticate(request)
            case _:
                await self._trade(request)

    async def _authenticate(self, request: JSON) -> None:
        action = self._mishaps.on_request(Where.ACCOUNT, "auth")
        if self._connection.swallow(action):
            return
        answer = self._answer(request)
        try:
            if (refusal := self._mishaps.refusal(action)) is not None:
                raise refusal
            if self._api_key:
                raise _REPEATED
            self._api_key = authenticated(self._venue, request)
        except WireError as error:
            answer = self._answer(request, code=error.code, message=error.message)
        await self._mishaps.answer_on(self._connection, dumps(answer), action)

    async def _trade(self, request: JSON) -> None:
        operation = str(request.get("op"))
        call = self._calls.get(operation)
        action = CALM
        if call is not None:
            action = self._mishaps.on_request(operation_of(*call.rest), operation)
            if self._connection.swallow(action):
                return
        more: JSON
        try:
            more = self._done(request, call, action)
            if (failure := self._mishaps.failure(action)) is not None:
                raise failure
        except WireError as error:
            code = _CODES.get(error.code, error.code)
            more = {"retCode": code, "retMsg": error.message, "data": {}, "retExtInfo": {}}
        answer = self._answer(request) | more
        answer |= {"header": self._header(call), "connId": answer.pop("connId")}
        await self._mishaps.answer_on(self._connection, dumps(answer), action)

    def _done(self, request: JSON, call: Call | None, action: Action) -> JSON:
        """Do a request and return what came of it.

        Raises:
            WireError: it was not done.
        """
        if not self._api_key:
            raise _NOT_AUTHENTICATED
        self._check_id(request)
        if call is None:
            raise _NO_SUCH_OPERATION
        if (refusal := self._mishaps.refusal(action)) is not None:
            raise refusal
        header = request.get("header")
        if not isinstance(header, dict) or "X-BAPI-TIMESTAMP" not in header:
            raise WireError(10001, "params error: header X-BAPI-TIMESTAMP is missing")
        stamp, window = header["X-BAPI-TIMESTAMP"], header.get("X-BAPI-RECV-WINDOW", _WINDOW_MS)
        check_time(str(stamp), str(window), self._venue.wire_ms())
        sent = request.get("args")
        if not isinstance(sent, list) or len(sent) != 1 or not isinstance(sent[0], dict):
            raise WireError(10001, "params error: args holds one item")
        if sent[0].get("category") != self._venue.category:
            raise _NO_SUCH_CATEGORY
        answer = perform(self._venue, call, self._api_key, sent[0])
        return {"retMsg": answer.message, "data": answer.result, "retExtInfo": dict(answer.ext)}

    def _check_id(self, request: JSON) -> None:
        if "reqId" not in request:
            return
        name = str(request["reqId"])
        if len(name) > _ID_LETTERS:
            raise WireError(10001, "params error: reqId is too long")
        if name in self._ids:
            raise _DUPLICATE_ID
        self._ids.add(name)

    def _answer(self, request: JSON, *, code: int = 0, message: str = "OK") -> JSON:
        answer: JSON = {"reqId": str(request["reqId"])} if "reqId" in request else {}
        answer |= {"retCode": code, "retMsg": message, "op": str(request.get("op", ""))}
        return answer | {"connId": connection_id(self._connection)}

    def _pong(self) -> JSON:
        now_ms = self._venue.wire_ms()
        head: JSON = {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(now_ms)]}
        return head | {"connId": connection_id(self._connection)}

    def _header(self, call: Call | None) -> dict[str, str]:
        venue, now_ns = self._venue, self._venue.world.wire_ns()
        limits: dict[str, str] = {}
        if call is not None:
            limit = call.limit_of(venue.category)
            limits = venue.meters.headers(self._api_key, call.rest[1], limit, now_ns)
        return {**limits, "Traceid": f"{now_ns:032x}", "Timenow": str(venue.wire_ms())}


def add_routes(
    app: web.Application, connections: Connections, venue: Venue, mishaps: Mishaps, calls: Iterable[Call]
) -> None:
    """Serve order entry; ``calls`` are those of REST, found by their addresses."""
    by_path: Mapping[Any, Call] = {call.rest[1]: call for call in calls}
    served = {f"order.{name}": by_path[f"/v5/order/{name}"] for name in _OPERATIONS if f"/v5/order/{name}" in by_path}

    async def serve(request: web.Request) -> web.StreamResponse:
        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            heed_active_time(request, connection)
            return _Client(venue, mishaps, served, connection).on_text, _nothing

        return await connections.serve(request, session, where=Where.ACCOUNT_STREAM, messages_per_s=None)

    app.router.add_get(PATH, serve)


def _nothing() -> None:
    """Nothing is left behind: who has gone has heard nothing of what happens."""
