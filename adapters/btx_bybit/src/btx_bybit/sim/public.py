"""The public sockets ``/v5/public/{spot,linear,inverse}``: ping, subscribe and unsubscribe.

docs/v5/websocket/wss-authentication.mdx ("Connect", 2026) has the messages and their limits.  The texts of refusals are
the venue's as clients have met them (bybit-api issue 561 and rust-bybit issue 24 on GitHub, 2023 and 2026): one bad
topic and nothing of the request is subscribed.  On linear and inverse the first frames of a topic come before the
acknowledgement, as recorded at the venue on 2026-09-30.
"""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from btx.sim.faults import Action, Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON, dumps
from btx_bybit.sim.clients import Client, Refused, connection_id
from btx_bybit.sim.streams import Streams

__all__ = ("add_routes",)

_CATEGORIES = ("spot", "linear", "inverse")
_SPOT_TOPICS = 10  # of one request
_LETTERS = 21_000  # of all topics of one request
_NO_SUCH = {True: "Invalid symbol :[{topic}]", False: "error:handler not found,topic:{topic}"}  # on spot, and elsewhere


class _Client(Client):
    """One socket of one category; it reads streams."""

    def __init__(self, streams: Streams, connection: Connection, category: str) -> None:
        super().__init__(connection, streams.mishaps)
        self._streams = streams
        self._category = category
        self._is_spot = category == "spot"

    def hear(self, name: str, raw: str, action: Action) -> None:
        """Take the frame of a topic, or let happen to it what is to go wrong."""
        self.connection.lives()
        self.connection.push(raw, action, stream=name)

    def pong(self, request: JSON) -> None:
        """Answer a ping."""
        self.answer(request, message="pong")

    def add(self, topics: Iterable[str], request: JSON) -> None:
        """Read topics, and say so: on spot before their first frames, elsewhere after them."""
        if self._is_spot:
            self.answer(request, message="subscribe")
        for topic in topics:
            self.topics[topic] = None
            self._streams.add(topic, self)
        if not self._is_spot:
            self.answer(request)

    def check(self, topics: list[str]) -> None:
        """Look whether there are such topics, and not too many.

        Raises:
            Refused: there are not.
        """
        if self._is_spot and len(topics) > _SPOT_TOPICS:
            raise Refused(f"args size >{_SPOT_TOPICS}")
        if sum(map(len, topics)) > _LETTERS:
            raise Refused(f"args length >{_LETTERS}")
        for topic in topics:
            if self._category != self._streams.category or not self._streams.knows(topic):
                raise Refused(_NO_SUCH[self._is_spot].format(topic=topic))

    def forget(self, topic: str) -> None:
        """Read a topic no more, if it is read."""
        if topic in self.topics:
            del self.topics[topic]
            self._streams.remove(topic, self)

    def end(self) -> None:
        """Read nothing more: the socket is gone."""
        for topic in tuple(self.topics):
            self.forget(topic)

    def answer(self, request: JSON, *, success: bool = True, message: str = "") -> None:
        """Answer a request; on linear and inverse always with a ``req_id``."""
        told: JSON = {"success": success, "ret_msg": message, "conn_id": connection_id(self.connection)}
        if not self._is_spot or "req_id" in request:
            told["req_id"] = str(request.get("req_id", ""))
        self.connection.put(dumps(told | {"op": str(request.get("op", ""))}))


def add_routes(app: web.Application, connections: Connections, streams: Streams) -> None:
    """Serve the public sockets of all categories; the topics are those of the world's."""

    def handler(category: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            client = _Client(streams, connection, category)
            return client.on_text, client.end

        async def serve(request: web.Request) -> web.StreamResponse:
            return await connections.serve(request, session, where=Where.MARKET_STREAM, messages_per_s=None)

        return serve

    for category in _CATEGORIES:
        app.router.add_get(f"/v5/public/{category}", handler(category))
