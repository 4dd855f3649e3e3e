"""A client of market streams: what it may say on its socket, and the streams it reads.

``web-socket-streams.md`` (spot) and ``websocket-market-streams/Live-Subscribing-Unsubscribing-to-streams``
(USD-M, COIN-M), 2026: the same messages and the same errors.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from btx.sim.faults import CALM, Action, Kind
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON, dumps
from btx_binance.sim.faults import Mishaps

__all__ = ("STREAMS_MAX", "Readable", "Reader", "combined")

STREAMS_MAX = 1024
"""So many streams one socket may read, spot and futures alike."""

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _Refused(Exception):  # noqa: N818 - an answer of the venue, not a fault of the program
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Readable(Protocol):
    """What a reader reads from."""

    @property
    def mishaps(self) -> Mishaps:
        """What goes wrong with its messages."""

    @property
    def wire_ms(self) -> Callable[[], int]:
        """The wire's clock, milliseconds."""

    @property
    def announces_end(self) -> bool:
        """Whether the venue says that a socket ends soon."""

    def add(self, name: str, reader: "Reader") -> None:
        """Let a reader have a stream; a name that is none is silent."""

    def remove(self, name: str, reader: "Reader") -> None:
        """Take a stream from a reader, if it has it."""


class Reader:
    """A client of streams and the streams it reads."""

    def __init__(self, streams: Readable, connection: Connection, *, is_combined: bool) -> None:
        self.connection = connection
        self.is_combined = is_combined
        self._streams = streams
        self._names: dict[str, None] = {}
        connection.subscriptions = lambda: tuple(sorted(self._names))
        if streams.announces_end:
            connection.shutdown_notice = self._shutdown_notice

    def subscribe(self, names: Iterable[str]) -> None:
        """Read these streams, too."""
        for name in names:
            if name not in self._names:
                self._names[name] = None
                self._streams.add(name, self)

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Read these streams no more."""
        for name in tuple(names):
            if name in self._names:
                del self._names[name]
                self._streams.remove(name, self)
                self.connection.hear(name)

    def hear(self, name: str, raw: str, action: Action) -> None:
        """Take the frame of a stream, or let happen to it what is to go wrong."""
        self.connection.push(combined(name, raw) if self.is_combined else raw, action, stream=name)

    def end(self) -> None:
        """Read nothing more: the socket is gone."""
        self.unsubscribe(self._names)

    async def on_text(self, text: str) -> None:
        """Do what a message asks for, and answer it."""
        request_id: Any = None
        action = CALM
        try:
            request = _parse(text)
            request_id = request.get("id")
            if request["method"] == "SUBSCRIBE":
                action = self._streams.mishaps.on_subscribe(",".join(_names(request.get("params", []))))
            if self.connection.swallow(action):
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
        if len(self._names) > STREAMS_MAX:
            await self.connection.refuse(b"Too many streams")

    def _shutdown_notice(self, form: int) -> str:
        """Return the words before a shutdown; the manual does not say whether a combined stream wraps them."""
        raw = dumps({"e": "serverShutdown", "E": self._streams.wire_ms()})
        return combined("serverShutdown", raw) if self.is_combined and not form % 2 else raw

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
                self.is_combined = _property(params, count=2)
                return None
            case _:
                _property([*params, True], count=2)
                return self.is_combined


def combined(name: str, raw: str) -> str:
    """Return a frame as a combined stream wraps it."""
    return f'{{"stream":"{name}","data":{raw}}}'


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


def _property(params: Any, *, count: int) -> bool:
    if not isinstance(params, list) or not params or not isinstance(params[0], str):
        raise _Refused(2, "Invalid request: property name must be a string")
    if len(params) > count:
        raise _Refused(2, "Invalid request: too many parameters")
    if params[0] != "combined":
        raise _Refused(0, "Unknown property")
    if len(params) < count or not isinstance(params[1], bool):
        raise _Refused(1, "Invalid value type: expected Boolean")
    return params[1]
