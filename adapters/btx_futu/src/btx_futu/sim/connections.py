"""Connections to the simulated OpenD: frames in and out, and everything that may happen to them."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

from btx.errors import ConfigError
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.skin.mishaps import Mishaps
from btx.sim.wires import SocketTerms, SocketView
from btx_futu.sim.answers import WireError
from btx_futu.sim.wire import Frame, pack, take

__all__ = ("Connection", "Connections")

_STREAMS = (Where.MARKET_STREAM, Where.ACCOUNT_STREAM)
_OF_THE_VENUE = (Kind.OUTAGE, Kind.REFUSE, Kind.RATE_LIMIT, Kind.BAN)
_CHUNK = 65536


class Connection:
    """One client's connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.subscriptions: dict[str, None] = {}  # codes whose minutes are pushed
        self.accounts: set[int] = set()  # whose orders are pushed
        self.packets: set[int] = set()  # serial numbers of what was asked to be done: none is done twice
        self.pushed = itertools.count(1)
        self.is_mute = False
        self.silent: set[str] = set()
        self._reader = reader
        self._writer = writer
        self._late: tuple[Frame, ...] = ()
        self._held: asyncio.TimerHandle | None = None
        writer.transport.set_write_buffer_limits(high=0)

    @property
    def where(self) -> Where | None:
        """What it reads; None: it only asks."""
        if self.subscriptions:
            return Where.MARKET_STREAM
        return Where.ACCOUNT_STREAM if self.accounts else None

    async def run(self, first: bytes, on_frame: Callable[[Frame], Awaitable[None]]) -> None:
        """Read frames until the client hangs up; each is done before the next is looked at."""
        buffer = bytearray(first)
        with contextlib.suppress(ConnectionError):
            while chunk := await self._reader.read(_CHUNK):
                buffer += chunk
                while (frame := take(buffer)) is not None:
                    if not self.is_mute:
                        await on_frame(frame)

    def put(self, frame: Frame) -> None:
        """Send a frame."""
        if not self.is_mute and not self._writer.transport.is_closing():
            self._writer.write(pack(frame))

    def put_half(self, frame: Frame) -> None:
        """Send half a frame, and hang up."""
        data = pack(frame)
        self._writer.write(data[: len(data) // 2])
        self._writer.close()

    def push(self, frame: Frame, action: Action) -> None:
        """Send a push, or do to it what is to be done to it."""
        loop = asyncio.get_running_loop()
        if (fault := action.get(Kind.CUT, Kind.STREAM_END)) is not None:
            self.abort()
        elif (fault := action.get(Kind.TRUNCATE)) is not None:
            self.put_half(frame)
        elif (fault := action.get(Kind.DELAY)) is not None:
            loop.call_later(fault.for_s, self.put, frame)
        elif (fault := action.get(Kind.REORDER)) is not None:
            self._late = (*self._late, frame)
            self._held = loop.call_later(fault.for_s, self._release)
        else:
            self.put(frame)
            if action.get(Kind.DUPLICATE) is not None:
                self.put(frame)
            self._release()
        self.suffer(action)

    def _release(self) -> None:
        late, self._late = self._late, ()
        for frame in late:
            self.put(frame)

    def suffer(self, action: Action, *, stream: str = "") -> None:
        """Let happen to the connection itself what an action says."""
        loop = asyncio.get_running_loop()
        if action.get(Kind.CUT) is not None:
            self.abort()
        if (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.is_mute = True
            if fault.for_s:
                loop.call_later(fault.for_s, self.abort)
        if (fault := action.get(Kind.SHUTDOWN)) is not None:
            loop.call_later(fault.for_s, self.abort)
        if stream and (fault := action.get(Kind.SILENCE)) is not None:
            self.silent.add(stream)
            if fault.for_s:
                loop.call_later(fault.for_s, self.silent.discard, stream)

    async def flushed(self) -> None:
        """Return when everything that was sent has left."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def abort(self) -> None:
        """Cut it."""
        self._writer.transport.abort()


class Connections:
    """All connections; what the control channel may do to them is :class:`btx.sim.wires.Wires`."""

    def __init__(self, mishaps: Mishaps[WireError]) -> None:
        self._mishaps = mishaps
        self._open: dict[Connection, None] = {}
        self._numbers = itertools.count(1)
        self._counts: Counter[str] = Counter(dials=0, opened=0)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._open))

    @contextlib.contextmanager
    def opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Iterator[Connection]:
        """Keep a connection for as long as it lasts."""
        connection = Connection(next(self._numbers), reader, writer)
        self._counts["opened"] += 1
        self._open[connection] = None
        try:
            yield connection
        finally:
            del self._open[connection]
            writer.close()

    def is_refused(self, action: Action) -> bool:
        """Count one that is being opened, and say whether it is cut at once."""
        self._counts["dials"] += 1
        return (
            self._mishaps.blocked is not None
            or self._mishaps.is_out()
            or action.get(Kind.REFUSE, Kind.DROP) is not None
        )

    async def flush(self) -> None:
        """Return when everything that was sent has left."""
        for each in self:
            await each.flushed()

    def close(self) -> None:
        """Cut everything."""
        for each in self:
            each.abort()

    # --- what the control channel may do -----------------------------------------------------------------

    def sockets(self) -> tuple[SocketView, ...]:
        """Return the connections something is pushed on, oldest first."""
        return tuple(
            SocketView(
                number=each.number,
                where=each.where.value,
                subscriptions=tuple(sorted(each.subscriptions)),
                silent=tuple(sorted(each.silent)),
                is_mute=each.is_mute,
            )
            for each in self._open
            if each.where is not None
        )

    def strike(self, fault: Fault, *, sockets: Collection[int] | None, stream: str | None) -> tuple[int, ...]:
        """Let a fault strike now and return the connections it struck.

        Raises:
            ConfigError: a connection or stream is not there.
        """
        if fault.kind in _OF_THE_VENUE:
            self._mishaps.command(fault, "commanded")
            return ()
        wanted = _STREAMS if fault.where is Where.ANY else (fault.where,)
        chosen = [each for each in self if each.where in wanted and (sockets is None or each.number in sockets)]
        if sockets is not None and (missing := set(sockets) - {each.number for each in chosen}):
            raise ConfigError(f"there is no socket {', '.join(map(str, sorted(missing)))} of {fault.where.value} now")
        if fault.kind is Kind.SILENCE:
            chosen = [each for each in chosen if stream in each.subscriptions]
            if not chosen:
                raise ConfigError(f"no such socket reads {stream}")
        for each in chosen:
            action = self._mishaps.command(fault, stream or f"socket {each.number}")
            each.suffer(action, stream=stream or "")
        return tuple(each.number for each in chosen)

    def block(self, *, form: int | None) -> None:
        """Cut all connections and refuse new ones; None: let them in again."""
        self._mishaps.blocked = form
        if form is not None:
            self.close()

    def terms(self, terms: SocketTerms) -> None:
        """Refuse: nothing about connections to OpenD has a term that could be shortened.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"connections to OpenD have no such terms: {terms}")

    def counts(self) -> Mapping[str, int]:
        """Return how many connections were asked for, let in, and are open."""
        return {**self._counts, "open": len(self._open)}
