"""A client of topics, on a public socket or the private one: what it says, and the answers that both have.

docs/v5/websocket/wss-authentication.mdx ("Connect", 2026).
"""

import abc
import json
from collections.abc import Iterable

from btx.sim.faults import CALM, Action, Kind
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON
from btx_bybit.sim.errors import Mishaps

__all__ = ("Client", "Refused", "connection_id", "parsed")

_NO_SUCH_OPERATION = "error:invalid op"
_NOT_NOW = ("Internal System Error.", "Server Timeout")


class Refused(Exception):  # noqa: N818 - an answer of the venue, not a fault of the program
    """A request is not done; its text is what the venue says."""


def connection_id(connection: Connection) -> str:
    """Return a socket's id as answers tell it."""
    return f"btxsim{connection.number:014x}-{connection.number:x}"


def parsed(text: str) -> JSON:
    """Return a request.

    Raises:
        Refused: it is none.
    """
    try:
        request = json.loads(text)
    except ValueError as error:
        raise Refused(f"Failed to decode incoming data:{error}") from error
    if not isinstance(request, dict):
        raise Refused("Failed to decode incoming data:expect {")
    return request


class Client(abc.ABC):
    """One socket with topics; ``topics`` are those it has."""

    def __init__(self, connection: Connection, mishaps: Mishaps) -> None:
        self.connection = connection
        self.topics: dict[str, None] = {}
        self._mishaps = mishaps
        connection.subscriptions = lambda: tuple(sorted(self.topics))

    @abc.abstractmethod
    def answer(self, request: JSON, *, success: bool = True, message: str = "") -> None:
        """Answer a request in the socket's own form."""

    @abc.abstractmethod
    def check(self, topics: list[str]) -> None:
        """Look at the topics of one request together.

        Raises:
            Refused: one of them cannot be had; then none is.
        """

    @abc.abstractmethod
    def pong(self, request: JSON) -> None:
        """Answer a ping."""

    @abc.abstractmethod
    def add(self, topics: Iterable[str], request: JSON) -> None:
        """Have topics, and say so."""

    @abc.abstractmethod
    def forget(self, topic: str) -> None:
        """Have a topic no more, if it is there."""

    async def authenticate(self, request: JSON) -> None:  # noqa: ARG002 -- only one kind of socket knows who it serves
        """Let the client prove who it is.

        Raises:
            Refused: it does not, or the socket asks nobody.
        """
        raise Refused(_NO_SUCH_OPERATION)

    async def on_text(self, text: str) -> None:
        """Do what a message asks for, and answer it."""
        request: JSON = {}
        try:
            request = parsed(text)
            await self._do(request)
        except Refused as refused:
            self.answer(request, success=False, message=str(refused))

    async def _do(self, request: JSON) -> None:
        match request.get("op"):
            case "ping":
                self.connection.lives()
                self.pong(request)
            case "subscribe":
                await self._subscribe(request)
            case "unsubscribe":
                for topic in _topics_of(request):
                    self.forget(topic)
                    self.connection.hear(topic)
                self.answer(request)
            case "auth":
                await self.authenticate(request)
            case _:
                raise Refused(_NO_SUCH_OPERATION)

    async def _subscribe(self, request: JSON) -> None:
        topics = _topics_of(request)
        action: Action = self._mishaps.on_subscribe(",".join(topics))
        if self.connection.swallow(action):
            return
        if (fault := action.get(Kind.REFUSE)) is not None:
            raise Refused(_NOT_NOW[fault.form % len(_NOT_NOW)])
        self.check(topics)
        for number, topic in enumerate(topics):
            if topic in self.topics or topic in topics[:number]:
                raise Refused(f"error:already subscribed,topic:{topic}")
        if action is not CALM:
            await self._mishaps.hold(action)
        self.add(topics, request)


def _topics_of(request: JSON) -> list[str]:
    topics = request.get("args")
    if not isinstance(topics, list) or not topics or not all(isinstance(topic, str) for topic in topics):
        raise Refused("Params Error")
    return topics
