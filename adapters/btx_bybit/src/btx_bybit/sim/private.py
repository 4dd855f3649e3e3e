"""The private socket ``/v5/private``: authentication, topics, heartbeat, and disconnection protection.

docs/v5/websocket/wss-authentication.mdx and private/*.mdx (2025, 2026).  The text of a refused authentication is the
venue's as clients have met it (pybit issues 152 and 300 on GitHub, 2023 and 2025); that of an unknown key or a wrong
signature is the one REST gives.
"""

import re
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from btx.model.time import NS_PER_S, to_ms
from btx.sim.faults import Where
from btx.sim.skin.connections import Connections
from btx.sim.skin.sockets import Connection
from btx.sim.skin.text import JSON, dumps
from btx_bybit.sim.clients import Client, Refused, connection_id
from btx_bybit.sim.errors import Mishaps
from btx_bybit.sim.private_frames import Told, told_of, wallet
from btx_bybit.sim.venue import Venue
from btx_bybit.sim.wire import WireError, signature_fits

__all__ = ("UNREADABLE", "Accounts", "add_routes", "authenticated", "heed_active_time")

_TOPIC = re.compile(
    r"(?:order|execution|position)(?:\.(?:spot|linear|inverse|option))?"
    r"|execution\.fast(?:\.(?:spot|linear|inverse))?|wallet|greeks|dcp\.(?:spot|future|option)"
)
_ALIVE = re.compile(r"(?:(?P<seconds>\d{1,3})s|(?P<minutes>\d{1,2})m)")
_LEAST_S, _MOST_S = 30, 600
UNREADABLE = 10001
"""The code of what cannot be read."""

_NUMBER = "btx"  # ours, in no frame of the venue, and only in lockstep: how many things have happened to the account


class Accounts:
    """Who listens to which account, and which of them protect it by being there."""

    def __init__(self, venue: Venue, mishaps: Mishaps) -> None:
        self.venue = venue
        self.mishaps = mishaps
        self._clients: dict[str, dict[_Client, None]] = {}
        self._alarms: dict[str, Callable[[], None]] = {}

    # --- who listens ----------------------------------------------------------------------------------------

    def add(self, client: "_Client") -> None:
        """Let a client that has said who it is hear of its account."""
        self._clients.setdefault(client.api_key, {})[client] = None

    def remove(self, client: "_Client") -> None:
        """Let a client hear nothing more; the last that protected its account leaves a countdown behind."""
        clients = self._clients.get(client.api_key, {})
        clients.pop(client, None)
        if client.protects and not any(each.protects for each in clients):
            self._count_down(client.api_key)

    def protect(self, api_key: str) -> None:
        """Stop the countdown of an account: somebody is there again."""
        take_back = self._alarms.pop(api_key, None)
        if take_back is not None:
            take_back()

    def _count_down(self, api_key: str) -> None:
        window_s = self.venue.dcp_window_s.get(api_key)
        if window_s is None:
            return
        world = self.venue.world

        def cancel() -> None:
            del self._alarms[api_key]
            self.venue.cancel_everything(api_key, world.market.now_ns)

        self.protect(api_key)
        self._alarms[api_key] = world.wake_at(world.market_ns() + window_s * NS_PER_S, cancel)

    # --- what they hear -------------------------------------------------------------------------------------

    def tell(self, event: Told) -> None:
        """Push what happened to everybody who listens to the account."""
        clients = self._clients.get(event.api_key)
        if not clients:
            return
        is_lockstep = self.venue.world.speed is None
        frames = told_of(self.venue, event)
        if not frames and is_lockstep:
            frames = [wallet(self.venue, event.api_key)]  # who walks in step with the market must know that it was
        for client in tuple(clients):
            heard = [(name, topic, rows) for topic, rows in frames if (name := client.name_of(topic)) is not None]
            for place, (name, topic, rows) in enumerate(heard, start=1):
                frame: JSON = {} if topic == "execution.fast" else {"id": self._frame_id(event, place)}
                frame |= {"topic": name} | {"creationTime": to_ms(event.time_ns), "data": rows}
                if is_lockstep and place == len(heard):
                    frame[_NUMBER] = event.sequence
                client.connection.lives()
                client.connection.push(dumps(frame), self.mishaps.on_push(Where.ACCOUNT_STREAM, topic), stream=name)

    def _frame_id(self, event: Told, place: int) -> str:
        return f"{self.venue.uids[event.api_key]}_{event.sequence}_{place}"


class _Client(Client):
    """One private socket."""

    def __init__(self, accounts: Accounts, connection: Connection) -> None:
        super().__init__(connection, accounts.mishaps)
        self.api_key = ""
        self._accounts = accounts

    @property
    def protects(self) -> bool:
        """Whether the account's orders live only as long as this socket, or another like it."""
        return ("dcp.spot" if self._accounts.venue.is_spot else "dcp.future") in self.topics

    def name_of(self, topic: str) -> str | None:
        """Return under which name the client hears of a topic; None when it does not."""
        own = f"{topic}.{self._accounts.venue.category}"
        return next((name for name in (topic, own) if name in self.topics), None)

    def end(self) -> None:
        """Hear nothing more: the socket is gone."""
        if self.api_key:
            self._accounts.remove(self)

    async def authenticate(self, request: JSON) -> None:
        """Let the client prove whose account it listens to.

        Raises:
            Refused: it does not.
        """
        action = self._mishaps.on_request(Where.ACCOUNT, "auth")
        if self.connection.swallow(action):
            return
        if self.api_key:
            raise Refused("Repeat auth")
        try:
            if (refusal := self._mishaps.refusal(action)) is not None:
                raise refusal
            self.api_key = authenticated(self._accounts.venue, request)
        except WireError as error:
            raise Refused("Params Error" if error.code == UNREADABLE else error.message) from error
        self._accounts.add(self)
        await self._mishaps.hold(action)
        self.answer(request)

    def add(self, topics: Iterable[str], request: JSON) -> None:
        """Hear of topics, and say so."""
        self.topics |= dict.fromkeys(topics)
        if self.protects:
            self._accounts.protect(self.api_key)
        self.answer(request)

    def forget(self, topic: str) -> None:
        """Hear of a topic no more."""
        self.topics.pop(topic, None)

    def check(self, topics: list[str]) -> None:
        """Look whether there are such topics, and whether they may be had together.

        Raises:
            Refused: there are not, they may not, or nobody knows whose they would be.
        """
        if not self.api_key:
            raise Refused("Request not authorized")
        for topic in topics:
            if _TOPIC.fullmatch(topic) is None:
                raise Refused(f"error:handler not found,topic:{topic}")
            # "All-In-One topic and Categorised topic cannot be in the same subscription request"
            if any(other.startswith(f"{topic}.") and other != "execution.fast" for other in topics):
                raise Refused(f"error:topic {topic} cannot be subscribed with its categories")

    def pong(self, request: JSON) -> None:
        """Answer a ping with the time."""
        now_ms = self._accounts.venue.wire_ms()
        self._say(request, {"op": "pong", "args": [str(now_ms)]})

    def answer(self, request: JSON, *, success: bool = True, message: str = "") -> None:
        """Answer a request, with its ``req_id`` where it has one."""
        self._say(request, {"success": success, "ret_msg": message, "op": str(request.get("op", ""))})

    def _say(self, request: JSON, told: JSON) -> None:
        name: JSON = {"req_id": str(request["req_id"])} if "req_id" in request else {}
        self.connection.put(dumps({**name, **told, "conn_id": connection_id(self.connection)}))


def authenticated(venue: Venue, request: JSON) -> str:
    """Return the key that a request to authenticate may act for.

    Raises:
        WireError: 10001, it cannot be read or has expired; 10003, the key is none; 10004, the signature is wrong.
    """
    sent = request.get("args")
    if not isinstance(sent, list) or len(sent) != len(("key", "expires", "signature")):
        raise WireError(UNREADABLE, "params error")
    api_key, expires, signature = (str(each) for each in sent)
    if not expires.isdecimal() or int(expires) <= venue.wire_ms():
        raise WireError(UNREADABLE, "params error")
    if api_key not in venue.secrets:
        raise WireError(10003, "API key is invalid.")
    if not signature_fits(f"GET/realtime{expires}", signature, venue.secrets[api_key]):
        raise WireError(10004, "Error sign, please check your signature generation algorithm.")
    return api_key


def heed_active_time(request: web.Request, connection: Connection) -> None:
    """Let a socket live without a sign of life as long as its address says, within the venue's bounds."""
    match = _ALIVE.fullmatch(request.query.get("max_active_time", ""))
    if match is not None:
        seconds = int(match["seconds"] or 0) + 60 * int(match["minutes"] or 0)
        connection.silence_s = float(min(max(seconds, _LEAST_S), _MOST_S))


def add_routes(app: web.Application, connections: Connections, accounts: Accounts) -> None:
    """Serve the private socket."""

    async def serve(request: web.Request) -> web.StreamResponse:
        def session(connection: Connection) -> tuple[Callable[[str], Awaitable[None]], Callable[[], None]]:
            heed_active_time(request, connection)
            client = _Client(accounts, connection)
            return client.on_text, client.end

        return await connections.serve(request, session, where=Where.ACCOUNT_STREAM, messages_per_s=None)

    app.router.add_get("/v5/private", serve)
