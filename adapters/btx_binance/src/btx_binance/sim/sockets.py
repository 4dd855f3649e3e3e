"""Server sockets: ordered frames with a bound, heartbeats, and the rate of incoming messages."""

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Awaitable, Callable

from aiohttp import ClientError, WSCloseCode, WSMsgType, web

from btx.sim.faults import Action, Fault, Kind

__all__ = ("Connection", "Connections")

_OUTBOX_FRAMES = 50_000  # a client that lets so many pile up is cut off
_FLUSH_S = 5.0  # one that takes none for so long holds up nobody any more
# web-socket-streams.md and web-socket-api.md (2026): a ping every 20 s, a pong within a minute, 24 hours.
_PING_S = 20.0
_PONG_S = 60.0
_LIFETIME_S = 24 * 3600.0
_CLOSE_S = 1.0
_WINDOW_S = 1.0


class _End(enum.Enum):
    """How a socket ends, after the frames before it."""

    CUT = enum.auto()
    GOODBYE = enum.auto()
    SILENCE = enum.auto()


class Connection:
    """One client's socket: frames leave in the order they were put."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, *, messages_per_s: int | None) -> None:
        self.address = request.remote or ""
        self._transport = request.transport
        self._socket = socket
        self._limit = messages_per_s
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[float, str | _End]] = deque()  # (when at the earliest, frame)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_open = True
        self._is_late = False  # the next frame waits for its time: nobody waits for it
        self.is_mute = False  # nothing is heard
        self._silence_s = 0.0
        self._end: _End | None = None  # nothing is queued after it
        self._held: list[str] = []  # to leave after the next event
        self._timers: list[asyncio.TimerHandle] = []
        self._received: deque[float] = deque()
        self.opened_s = self.last_pong_s = self._loop.time()

    def put(self, frame: str) -> None:
        """Queue a frame; a client that reads too slowly is cut off."""
        self._put(frame)

    def push(self, frame: str, action: Action) -> None:
        """Queue an event, or do to it and to the socket what is to go wrong."""
        if not action:
            self._put(frame)
            self._release()
            return
        if action.get(Kind.OUTAGE) is not None:
            self.abort()
        elif (fault := action.get(Kind.CUT, Kind.STREAM_END)) is not None:
            self._put_end(_End.GOODBYE if fault.form % 2 else _End.CUT)
        elif (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.mute(fault)
        else:
            self._push_spoilt(frame, action)

    def mute(self, fault: Fault) -> None:
        """Hear nothing and say nothing more, until the connection is cut."""
        self.is_mute = True
        self._silence_s = fault.for_s
        self._put_end(_End.SILENCE)

    async def run(self, on_text: Callable[[str], Awaitable[None]]) -> None:
        """Read until the client leaves or breaks a rule, and write what is put."""
        writer = asyncio.create_task(self._write())
        try:
            async for message in self._socket:
                if self.is_mute:
                    continue
                if not self._may_receive():
                    await self.refuse(b"Too many requests")
                    break
                if message.type is WSMsgType.TEXT:
                    await on_text(message.data)
                elif message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self.last_pong_s = self._loop.time()
        finally:
            self._stop()
            if self._end is not _End.GOODBYE:
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def flushed(self) -> None:
        """Return when all frames left, or the client is cut off because it does not read."""
        self._release()
        try:
            await asyncio.wait_for(self._idle.wait(), _FLUSH_S)
        except TimeoutError:
            self.abort()

    async def ping(self) -> None:
        with contextlib.suppress(ClientError, ConnectionError):
            await self._socket.ping()

    async def refuse(self, reason: bytes) -> None:
        """End the connection of a client that broke a rule, after what it had coming."""
        await self.flushed()
        await self.close(WSCloseCode.POLICY_VIOLATION, reason)

    async def close(self, code: int, message: bytes = b"") -> None:
        """Say goodbye and stop."""
        self._stop()
        await self._socket.close(code=code, message=message)

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._stop()
        if self._transport is not None:
            self._transport.abort()

    def _put_end(self, end: _End) -> None:
        self._put(end)
        self._end = self._end or end

    def _put(self, frame: str | _End, *, late_s: float = 0.0) -> None:
        if not self._is_open or self._end is not None:
            return
        if len(self._frames) >= _OUTBOX_FRAMES:
            self.abort()
            return
        self._frames.append((self._loop.time() + late_s if late_s else 0.0, frame))
        if not self._is_late:
            self._idle.clear()
        self._wake.set()

    def _push_spoilt(self, frame: str, action: Action) -> None:
        if (fault := action.get(Kind.TRUNCATE)) is not None:
            frame = frame[: len(frame) // 2] if fault.form % 2 == 0 else "\ufffd"
        if (fault := action.get(Kind.REORDER)) is not None:
            self._held.append(frame)
            self._timers.append(self._loop.call_later(fault.for_s, self._release))
            return
        late_s = fault.for_s if (fault := action.get(Kind.DELAY)) is not None else 0.0
        for _ in range(1 if action.get(Kind.DUPLICATE) is None else 2):
            self._put(frame, late_s=late_s)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for frame in held:
            self._put(frame)

    def _stop(self) -> None:
        self._is_open = False
        for timer in self._timers:
            timer.cancel()
        self._frames.clear()
        self._held.clear()
        self._idle.set()

    def _may_receive(self) -> bool:
        if self._limit is None:
            return True
        now_s = self._loop.time()
        while self._received and self._received[0] <= now_s - _WINDOW_S:
            self._received.popleft()
        self._received.append(now_s)
        return len(self._received) <= self._limit

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while self._frames:
                    await self._until(self._frames[0][0])
                    if not self._frames:  # the client has left
                        return
                    frame = self._frames.popleft()[1]
                    if isinstance(frame, str):
                        await self._socket.send_str(frame)
                    else:
                        await self._finish(frame)
                        return
            except (ClientError, ConnectionError):
                self._stop()
                return
            self._idle.set()

    async def _until(self, time_s: float) -> None:
        wait_s = time_s - self._loop.time()
        if wait_s > 0:
            self._is_late = True
            self._idle.set()
            await asyncio.sleep(wait_s)
            self._is_late = False

    async def _finish(self, end: _End) -> None:
        self._idle.set()
        if end is _End.CUT:
            self.abort()
        elif end is _End.GOODBYE:
            await self.close(WSCloseCode.GOING_AWAY)
        elif self._silence_s:
            self._timers.append(self._loop.call_later(self._silence_s, self.abort))


class Connections:
    """All sockets of a simulator: opened, kept alive, flushed and closed together."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    async def serve(
        self,
        request: web.Request,
        session: Callable[[Connection], tuple[Callable[[str], Awaitable[None]], Callable[[], None]]],
        *,
        messages_per_s: int | None,
    ) -> web.WebSocketResponse:
        """Upgrade a request and serve it; ``session`` gives a reader for its texts and what to do at its end."""
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=_CLOSE_S)
        await socket.prepare(request)
        connection = Connection(request, socket, messages_per_s=messages_per_s)
        self._open.add(connection)
        on_text, at_end = session(connection)
        try:
            await connection.run(on_text)
        finally:
            self._open.discard(connection)
            at_end()
        return socket

    async def flush(self) -> None:
        """Return when every frame that was put has left."""
        await asyncio.gather(*(connection.flushed() for connection in self._open))

    async def keep_alive(self) -> None:
        """Ping for ever; end sockets that do not answer, and those that are a day old."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PING_S)
            for connection in tuple(self._open):
                if connection.is_mute:
                    continue
                if loop.time() - connection.last_pong_s > _PONG_S + _PING_S:
                    connection.abort()
                elif loop.time() - connection.opened_s > _LIFETIME_S:
                    await connection.close(WSCloseCode.GOING_AWAY)
                else:
                    await connection.ping()

    async def close(self) -> None:
        """Close every socket: the venue goes down."""
        await asyncio.gather(*(connection.close(WSCloseCode.GOING_AWAY) for connection in tuple(self._open)))
