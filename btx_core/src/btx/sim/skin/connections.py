"""All sockets of a simulated venue: let in, kept alive, struck, flushed and closed together."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import attrs
from aiohttp import WSCloseCode, web

from btx.errors import ConfigError
from btx.model.time import NS_PER_S
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.skin.mishaps import Mishaps
from btx.sim.skin.sockets import Connection
from btx.sim.wires import SocketTerms, SocketView

__all__ = ("Connections", "Habits")

_CLOSE_S = 1.0
_LOOKS = 20  # so often in the shortest of the terms it is seen whether a socket keeps them

_STREAMS = (Where.MARKET_STREAM, Where.ACCOUNT_STREAM)
_OF_THE_VENUE = (Kind.OUTAGE, Kind.REFUSE, Kind.RATE_LIMIT, Kind.BAN)  # not of one socket


@attrs.frozen(kw_only=True)
class Habits:
    """What a venue does with its sockets. Wall seconds."""

    ping_s: float | None = None  # between two ping frames of the server; None: it sends none
    silence_s: float  # without a sign of life (after a ping, if it pings), until the client is cut off
    life_s: float = float("inf")  # a socket is ended when it is so old
    notice_s: float = 0.0  # and told so long before, in the socket's own words; 0: never told
    dials: int  # new sockets an address may open
    dials_s: int  # in each window of so many seconds, which start at whole multiples of their length
    too_many: int = 429  # the HTTP status of one socket more


class _Dials:
    """The new sockets of each address in the window that is now."""

    def __init__(self, limit: int, window_s: int) -> None:
        self.limit = limit
        self._window_ns = window_s * NS_PER_S
        self._window = 0
        self._counts: Counter[str] = Counter()

    def take(self, address: str, now_ns: int) -> bool:
        """Count one and say whether it may open."""
        if (window := now_ns // self._window_ns) != self._window:
            self._window = window
            self._counts.clear()
        self._counts[address] += 1
        return self._counts[address] <= self.limit


class Connections:
    """All sockets of a simulator; what the control channel may do to them is :class:`btx.sim.wires.Wires`."""

    def __init__(self, mishaps: Mishaps[Any], habits: Habits, *, wire_ns: Callable[[], int]) -> None:
        self.on_terms: Callable[[SocketTerms], None] = lambda _terms: None  # who else has terms that may be changed
        self._mishaps = mishaps
        self._habits = habits
        self._wire_ns = wire_ns
        self._dials = _Dials(habits.dials, habits.dials_s)
        self._open: dict[Connection, None] = {}
        self._numbers = itertools.count(1)
        self._counts: Counter[str] = Counter(dials=0, opened=0)
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
        if not self._dials.take(request.remote or "", self._wire_ns()):
            return web.Response(status=self._habits.too_many)
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
        """Ping for ever, if the venue does; end sockets without a sign of life, and those that are too old."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._look_s()):
                    await self._changed.wait()
            except TimeoutError:
                for connection in tuple(self._open):
                    if not connection.is_mute:
                        await self._look_after(connection)

    def _look_s(self) -> float:
        habits = self._habits
        if habits.ping_s is None:
            shortest_s = min(
                (each.silence_s for each in self._open if each.silence_s is not None), default=habits.life_s
            )
            return min(shortest_s, habits.silence_s, habits.life_s) / _LOOKS
        return min(habits.ping_s, habits.life_s / _LOOKS)

    async def _look_after(self, connection: Connection) -> None:
        habits, now_s = self._habits, asyncio.get_running_loop().time()
        age_s = now_s - connection.opened_s
        silence_s = habits.silence_s if connection.silence_s is None else min(connection.silence_s, habits.silence_s)
        if now_s - connection.last_sign_s > silence_s + (habits.ping_s or 0.0):
            connection.abort()
        elif age_s > habits.life_s:
            await connection.close(WSCloseCode.GOING_AWAY)
        else:
            if habits.notice_s and age_s > habits.life_s - habits.notice_s:
                connection.announce_end()
            if habits.ping_s is not None and now_s - connection.last_ping_s >= habits.ping_s:
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
        """Change the terms of all sockets, open ones too; a venue that sends no pings begins none."""
        habits = self._habits
        self._habits = attrs.evolve(
            habits,
            life_s=habits.life_s if terms.life_s is None else terms.life_s,
            notice_s=habits.notice_s if terms.notice_s is None else terms.notice_s,
            ping_s=habits.ping_s if terms.ping_s is None or habits.ping_s is None else terms.ping_s,
            silence_s=habits.silence_s if terms.pong_s is None else terms.pong_s,
        )
        if terms.dials is not None:
            self._dials.limit = terms.dials
        self.on_terms(terms)
        self._changed.set()

    def counts(self) -> Mapping[str, int]:
        """Return how many sockets were asked for, let in, and are open."""
        return {**self._counts, "open": len(self._open)}
