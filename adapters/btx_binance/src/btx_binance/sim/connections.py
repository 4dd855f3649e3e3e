"""All sockets of a simulated venue: let in, kept alive, struck, flushed and closed together."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from aiohttp import WSCloseCode, web

from btx.errors import ConfigError
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.wires import SocketTerms, SocketView
from btx_binance.sim.faults import Mishaps
from btx_binance.sim.meters import Meters
from btx_binance.sim.sockets import Connection

__all__ = ("Connections",)

# web-socket-streams.md and web-socket-api.md (2026): a ping every 20 s, a pong within a minute, 24 hours.
_PING_S = 20.0
_PONG_S = 60.0
_LIFETIME_S = 24 * 3600.0
_NOTICE_S = 0.0  # "expect to be disconnected at the 24 hour mark": nothing is said before
_CLOSE_S = 1.0
_LOOKS_IN_A_LIFE = 20

_STREAMS = (Where.MARKET_STREAM, Where.ACCOUNT_STREAM)
_OF_THE_VENUE = (Kind.OUTAGE, Kind.REFUSE, Kind.RATE_LIMIT, Kind.BAN)  # not of one socket


class Connections:
    """All sockets of a simulator; what the control channel may do to them is :class:`btx.sim.wires.Wires`.

    The server pings each ``ping_s`` and cuts off who has not answered for ``pong_s``; spot's terms when not said.
    """

    def __init__(
        self, mishaps: Mishaps, meters: Meters, *, ping_s: float | None = None, pong_s: float | None = None
    ) -> None:
        self.on_terms: Callable[[SocketTerms], None] = lambda _terms: None  # who else has terms that may be changed
        self._mishaps = mishaps
        self._meters = meters
        self._open: dict[Connection, None] = {}
        self._numbers = itertools.count(1)
        self._counts: Counter[str] = Counter(dials=0, opened=0)
        self._ping_s = _PING_S if ping_s is None else ping_s
        self._pong_s = _PONG_S if pong_s is None else pong_s
        self._life_s, self._notice_s = _LIFETIME_S, _NOTICE_S
        self._changed = asyncio.Event()

    async def serve(
        self,
        request: web.Request,
        session: Callable[[Connection], tuple[Callable[[str], Awaitable[None]], Callable[[], None]]],
        *,
        where: Where,
        messages_per_s: int | None,
    ) -> web.StreamResponse:
        """Upgrade a request and serve it; ``session`` gives a reader for its texts and what to do at its end."""
        self._counts["dials"] += 1
        if (refused := await self._mishaps.on_dial(request)) is not None:
            return refused
        # Not closed by itself: a socket that is half open does not even answer a good-bye.
        socket = web.WebSocketResponse(autoping=False, autoclose=False, compress=False, timeout=_CLOSE_S)
        await socket.prepare(request)
        self._counts["opened"] += 1
        connection = Connection(request, socket, number=next(self._numbers), where=where, messages_per_s=messages_per_s)
        self._open[connection] = None
        on_text, at_end = session(connection)
        try:
            await connection.run(on_text)
        finally:
            del self._open[connection]
            at_end()
        return socket

    async def flush(self) -> None:
        """Return when every frame that was put has left."""
        await asyncio.gather(*(connection.flushed() for connection in self._open))

    async def keep_alive(self) -> None:
        """Ping for ever; end sockets that do not answer, and those that are too old."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(self._ping_s, self._life_s / _LOOKS_IN_A_LIFE)):
                    await self._changed.wait()
            except TimeoutError:
                for connection in tuple(self._open):
                    if not connection.is_mute:
                        await self._look_after(connection)

    async def _look_after(self, connection: Connection) -> None:
        now_s = asyncio.get_running_loop().time()
        age_s = now_s - connection.opened_s
        if now_s - connection.last_pong_s > self._pong_s + self._ping_s:
            connection.abort()
        elif age_s > self._life_s:
            await connection.close(WSCloseCode.GOING_AWAY)
        else:
            if self._notice_s and age_s > self._life_s - self._notice_s:
                connection.announce_end()
            if now_s - connection.last_ping_s >= self._ping_s:
                await connection.ping()

    async def close(self) -> None:
        """Close every socket: the venue goes down."""
        await asyncio.gather(*(connection.close(WSCloseCode.GOING_AWAY) for connection in tuple(self._open)))

    # --- what the control channel may do -----------------------------------------------------------------

    def sockets(self) -> tuple[SocketView, ...]:
        """Return the open sockets, oldest first."""
        return tuple(
            SocketView(
                number=each.number,
                where=each.where.value,
                subscriptions=each.subscriptions(),
                silent=each.silent,
                is_mute=each.is_mute,
            )
            for each in self._open
        )

    def strike(self, fault: Fault, *, sockets: Collection[int] | None, stream: str | None) -> tuple[int, ...]:
        """Let a fault strike now and return the sockets it struck.

        Raises:
            ConfigError: a socket or stream is not there.
        """
        if fault.kind in _OF_THE_VENUE:
            self._mishaps.command(fault, "commanded")
            return ()
        wanted = _STREAMS if fault.where is Where.ANY else (fault.where,)
        chosen = [each for each in self._open if each.where in wanted and (sockets is None or each.number in sockets)]
        if sockets is not None and (missing := set(sockets) - {each.number for each in chosen}):
            raise ConfigError(f"there is no socket {', '.join(map(str, sorted(missing)))} of {fault.where.value} now")
        if fault.kind is Kind.SILENCE:
            chosen = [each for each in chosen if stream in each.subscriptions()]
            if not chosen:
                raise ConfigError(f"no such socket reads {stream}")
        for each in chosen:
            action: Action = self._mishaps.command(fault, stream or f"socket {each.number}")
            each.suffer(action, stream=stream or "")
        return tuple(each.number for each in chosen)

    def block(self, *, form: int | None) -> None:
        """Cut all sockets and refuse new ones in this form of ``refuse``; None: let them in again."""
        self._mishaps.blocked = form
        if form is not None:
            for each in tuple(self._open):
                each.abort()

    def terms(self, terms: SocketTerms) -> None:
        """Change the terms of all sockets, open ones too."""
        self._life_s = self._life_s if terms.life_s is None else terms.life_s
        self._notice_s = self._notice_s if terms.notice_s is None else terms.notice_s
        self._ping_s = self._ping_s if terms.ping_s is None else terms.ping_s
        self._pong_s = self._pong_s if terms.pong_s is None else terms.pong_s
        if terms.dials is not None:
            self._meters.dials = terms.dials
        self.on_terms(terms)
        self._changed.set()

    def counts(self) -> Mapping[str, int]:
        """Return how many sockets were asked for, let in, and are open."""
        return {**self._counts, "open": len(self._open)}
