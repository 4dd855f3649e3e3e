"""One server socket: ordered frames with a bound, the rate of incoming messages, and all the ways it may end."""

import asyncio
import contextlib
import enum
import socket as sockets
import struct
from collections import deque
from collections.abc import Awaitable, Callable

from aiohttp import ClientError, WSCloseCode, WSMsgType, web

from btx.sim.faults import Action, Fault, Kind, Where

__all__ = ("Connection",)

_OUTBOX_FRAMES = 50_000  # a client that lets so many pile up is cut off
_FLUSH_S = 5.0  # one that takes none for so long holds up nobody any more
_WINDOW_S = 1.0
_LOOK_S = 0.05  # how soon it is seen that the client of a half-open socket has gone
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: what is unsent is thrown away, and a reset is sent


class _End(enum.Enum):
    """How a socket ends, after the frames before it. RFC 6455, 7.1.5: without a close frame a client calls it 1006."""

    RESET = None
    AWAY = WSCloseCode.GOING_AWAY
    FIN = 0
    OK = WSCloseCode.OK
    POLICY = WSCloseCode.POLICY_VIOLATION
    SILENCE = -1

    @property
    def says_goodbye(self) -> bool:
        return self.value is not None and self.value > 0


# The forms of a cut, in their order.
_CUTS = (_End.RESET, _End.AWAY, _End.FIN, _End.OK, _End.POLICY)


class Connection:
    """One client's socket: frames leave in the order they were put."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        *,
        number: int,
        where: Where,
        messages_per_s: int | None,
    ) -> None:
        self.number = number
        self.where = where
        self.shutdown_notice: Callable[[int], str | None] = lambda _form: None  # the venue's words, by form
        self.subscriptions: Callable[[], tuple[str, ...]] = lambda: ()  # the venue's names
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
        self._gone = asyncio.Event()
        self._is_late = False  # the next frame waits for its time: nobody waits for it
        self.is_mute = False  # nothing is heard
        self._silence_s = 0.0
        self._end: _End | None = None  # nothing is queued after it
        self._held: list[str] = []  # to leave after the next event
        self._timers: list[asyncio.TimerHandle] = []
        self._received: deque[float] = deque()
        self._silent: dict[str, float] = {}  # streams that say nothing more, and until when
        self.opened_s = self.last_sign_s = self.last_ping_s = self._loop.time()
        self.is_noticed = False  # it was told that it ends
        self.silence_s: float | None = None  # without a sign of life, until it is cut off; None: as everybody

    def put(self, frame: str) -> None:
        """Queue a frame; a client that reads too slowly is cut off."""
        self._put(frame)

    def push(self, frame: str, action: Action, *, stream: str = "") -> None:
        """Queue an event, or do to it, its stream and the socket what is to go wrong."""
        if stream in self._silent and self._is_silent(stream):
            return
        if not action:
            self._put(frame)
            self._release()
            return
        self.suffer(action, stream=stream)
        if self._end is None and stream not in self._silent:
            self._push_spoilt(frame, action)

    def suffer(self, action: Action, *, stream: str = "") -> None:
        """Do to the socket and the stream what is to go wrong with more than one frame."""
        if action.get(Kind.OUTAGE) is not None:
            self.abort()
        elif (fault := action.get(Kind.CUT)) is not None:
            self._put_end(_CUTS[fault.form % len(_CUTS)])
        elif (fault := action.get(Kind.STREAM_END)) is not None:
            self._put_end(_End.AWAY if fault.form % 2 else _End.RESET)
        elif (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.mute(fault)
        elif (fault := action.get(Kind.SHUTDOWN)) is not None:
            self.announce_end(form=fault.form)
            self._timers.append(self._loop.call_later(fault.for_s, self._put_end, _End.AWAY))
        elif (fault := action.get(Kind.SILENCE)) is not None:
            self.silence(stream, fault.for_s)

    def silence(self, stream: str, for_s: float) -> None:
        """Let one stream of the socket say nothing more, until it is subscribed anew or the time is over (0: never)."""
        self._silent[stream] = self._loop.time() + for_s if for_s else float("inf")

    def hear(self, stream: str) -> None:
        """Let a stream speak again: it was subscribed anew."""
        self._silent.pop(stream, None)

    @property
    def silent(self) -> tuple[str, ...]:
        """The streams that say nothing more."""
        return tuple(sorted(stream for stream in tuple(self._silent) if self._is_silent(stream)))

    def announce_end(self, *, form: int = 0) -> None:
        """Say in the venue's words that the socket ends soon, once."""
        if not self.is_noticed and (notice := self.shutdown_notice(form)) is not None:
            self.is_noticed = True
            self._put(notice)

    def mute(self, fault: Fault) -> None:
        """Hear nothing and say nothing more, until the connection is cut."""
        self.is_mute = True
        self._silence_s = fault.for_s
        self._put_end(_End.SILENCE)

    def _is_silent(self, stream: str) -> bool:
        if self._loop.time() < self._silent[stream]:
            return True
        del self._silent[stream]
        return False

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
                    self.lives()
            await self._hold_open()
        finally:
            self._stop()
            if self._end is None or not self._end.says_goodbye:
                writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _hold_open(self) -> None:
        """Answer not even a good-bye while the socket is half open: wait until one side has cut it."""
        while self.is_mute and self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), _LOOK_S)

    async def flushed(self) -> None:
        """Return when all frames left, or the client is cut off because it does not read."""
        self._release()
        try:
            await asyncio.wait_for(self._idle.wait(), _FLUSH_S)
        except TimeoutError:
            self.abort()

    def lives(self) -> None:
        """Note a sign of life: a pong, or what the venue takes for one."""
        self.last_sign_s = self._loop.time()

    def swallow(self, action: Action) -> bool:
        """Let a message that came over the socket disappear before it is done, if it is to."""
        if action.get(Kind.DROP, Kind.OUTAGE) is not None:
            self.abort()
        elif (fault := action.get(Kind.HALF_OPEN)) is not None:
            self.mute(fault)
        else:
            return False
        return True

    async def ping(self) -> None:
        """Ask whether the client is there."""
        self.last_ping_s = self._loop.time()
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
        """Reset the connection without a word."""
        self._stop()
        if self._transport is None:
            return
        peer = self._transport.get_extra_info("socket")
        if peer is not None and not self._transport.is_closing():
            peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _AT_ONCE)
        self._transport.abort()

    def _fin(self) -> None:
        """End the connection as a process that goes away does: with a FIN, and without a close frame."""
        self._stop()
        if self._transport is not None:
            self._transport.close()

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
        self._gone.set()
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
        if end is _End.RESET:
            self.abort()
        elif end is _End.FIN:
            self._fin()
        elif end.says_goodbye:
            await self.close(WSCloseCode(end.value))
        elif self._silence_s:
            self._timers.append(self._loop.call_later(self._silence_s, self.abort))
