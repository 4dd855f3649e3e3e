"""A server that says again what a venue once said, at a recording's own pace of events.

It knows no venue: what was recorded of a path is what is served under it.  It is
a script with a pointer.  Time stands at the pointer's stamp; the pointer waits
for what the client did at that place in the recording (dial, send, ask), each
time for a moment at most, because a client that replays need not do all of it
again: orders are never sent.  So a run is repeated in its order of events,
however fast the machine is.

A request is answered with what was answered to its like: same method, path and
words; numbers (times, ids, limits) may differ, the nearest in the recording's
order counts.  Time stamps and signatures are no part of a request.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import attrs
from aiohttp import web

from btx.model.frames import Frame, FrameKind
from btx.model.venue import Endpoints, SimAccount, SimClock

__all__ = ("Moment", "Replay")

_HOST = "127.0.0.1"
_CONTROL = "/btx-replay"
_FIRST_S = 60.0  # for the client to come at all
_DIAL_S = 10.0  # for a connection the recording has
_HOLD_DIAL_S = 8.0  # for a connection the recording has not got to
_HEAR_S = 5.0  # for the client to read what was pushed
_ASK_S = 1.0  # for a request, or a frame, the recording has
_HOLD_ASK_S = 2.0  # for a request the recording has not got to
_MISSED_S = 0.02  # for what was waited for in vain before
_MISSES = 2
_GOOD = 200
_STALE = 30  # moments after which what was said of the account is of another time
_VOLATILE = frozenset({"timestamp", "signature", "recvwindow", "apikey", "nonce", "recv_window"})
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_IDS = ("id", "req_id")  # what venues call the number of a message
_LISTS = ("params", "args")  # and what they name in one
_HIDDEN = "***"  # what a recording says in place of a secret
_HOP_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding", "connection", "date"})

Key = tuple[str, str, frozenset[tuple[str, str]]]


@attrs.frozen(kw_only=True)
class Moment:
    """A frame and the market's time it came at; or a ``note``, which is passed on when its time has come."""

    market_ns: int
    frame: Frame | None
    note: Any = None


@attrs.define(kw_only=True, eq=False)
class _Exchange:
    """A request of the recording, and what was answered."""

    key: Key
    numbers: Mapping[str, str]
    at: int  # place in the recording
    market_ns: int
    answered_at: int | None = None
    answer: Frame | None = None
    is_private: bool  # signed: its answer is true at its moment only
    is_asked: bool = False
    asker: web.Request | None = None  # who waits for the answer
    held: list["asyncio.Future[None]"] = attrs.field(factory=list)

    @property
    def is_fresh(self) -> bool:
        """Nobody has asked for it, or who did hung up before it was answered."""
        return not self.is_asked or (self.asker is not None and self.asker.transport is None)


@attrs.define(eq=False)
class _Socket:
    """A connection of the client, dialled or standing."""

    path: tuple[str, frozenset[str]]
    accepted: "asyncio.Future[bool]"
    response: web.WebSocketResponse | None = None
    received: list[str] = attrs.field(factory=list)
    taken: set[int] = attrs.field(factory=set)  # which of them the recording has
    number: int | None = None  # the client's own
    is_over: bool = False


@attrs.define(eq=False)
class _Connection:
    """A connection of the recording."""

    socket: _Socket
    ids: dict[str, Any] = attrs.field(factory=dict)  # of requests over it: recorded -> sent now
    pushed: int = 0


class Replay:
    """Plays ``moments()``, which is read twice, to the one client that dials.

    ``set_clock`` is told the market's time before each moment.  ``speed`` is
    market seconds per second; None: as fast as the client takes it.  When it was
    recorded there were ``recorded_speed`` of them: what is late is measured with that.
    ``settled`` is awaited at the end, before the client is told.
    """

    def __init__(
        self,
        moments: Callable[[], Iterable[Moment]],
        *,
        set_clock: Callable[[int], None],
        on_note: Callable[[Any], None] = lambda _note: None,
        settled: Callable[[], Awaitable[None]],
        speed: float | None = None,
        recorded_speed: float = 1.0,
    ) -> None:
        self._moments = moments
        self._set_clock = set_clock
        self._on_note = on_note
        self._settled = settled
        self._speed = speed
        self._recorded_speed = recorded_speed
        self._exchanges: dict[int, _Exchange] = {}
        self._groups: dict[Key, list[_Exchange]] = defaultdict(list)
        self._origin_ns = 0
        self._index()
        self._at = self._pushed_at = -1
        self._now_ns = self._origin_ns
        self._awaited: _Exchange | None = None
        self._moved = asyncio.Event()
        self._dialled: list[_Socket] = []
        self._connections: dict[int, _Connection] = {}
        self._misses: Counter[Any] = Counter()
        self._has_begun = False
        self._ended = asyncio.Event()
        self._numbers = 0
        self._opened: list[int] = []
        self._heard: Counter[int] = Counter()
        self._gone: set[int] = set()
        self._answers = 0
        self.remarks: list[str] = []  # what the client did otherwise, in order
        self.played = 0
        self.total = 0

    def _index(self) -> None:
        first = True
        for at, moment in enumerate(self._moments()):
            if first:
                self._origin_ns, first = moment.market_ns, False
            frame = moment.frame
            if frame is None:
                continue
            if frame.kind is FrameKind.REQUEST:
                key, numbers = _asked(frame.method, frame.url, _text(frame))
                is_private = "signature=" in frame.url or "signature=" in _text(frame)
                made = _Exchange(key=key, numbers=numbers, at=at, market_ns=moment.market_ns, is_private=is_private)
                self._exchanges[frame.connection] = made
                self._groups[key].append(made)
            elif frame.kind is FrameKind.ANSWER and frame.connection in self._exchanges:
                exchange = self._exchanges[frame.connection]
                exchange.answered_at, exchange.answer = at, frame

    # --- what the client's bridges tell (ports.Tap) -----------------------------------------------------------

    def number(self) -> int:
        """Return a number for a new connection or request of the client."""
        self._numbers += 1
        return self._numbers

    def __call__(self, frame: Frame) -> None:
        """Hear what the client sent or received."""
        if frame.kind is FrameKind.OPENED:
            self._opened.append(frame.connection)
        elif frame.kind is FrameKind.RECEIVED:
            self._heard[frame.connection] += 1
        elif frame.kind is FrameKind.CLOSED:
            self._gone.add(frame.connection)
        elif frame.kind is FrameKind.ANSWER:
            self._answers += 1
        self._moved.set()

    # --- serving -----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Endpoints]:
        """Serve the recording in the running loop; it begins when the client comes."""
        app = web.Application()
        app.router.add_get(_CONTROL, self._control)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        playing: asyncio.Task[None] | None = None
        try:
            site = web.TCPSite(runner, _HOST, 0)
            await site.start()
            place = f"{_HOST}:{runner.addresses[0][1]}"
            playing = asyncio.get_running_loop().create_task(self._play(), name="replay")
            yield Endpoints(
                rest=f"http://{place}",
                stream=f"ws://{place}",
                trading_stream=f"ws://{place}",
                control=f"ws://{place}{_CONTROL}",
                accounts=(SimAccount(api_key="replay" + "0" * 58, api_secret="replay" + "1" * 58, balances={}),),
                clock=SimClock(
                    wire_origin_ns=time.time_ns(),
                    market_origin_ns=self._now_ns,
                    speed=self._recorded_speed,
                    stands=True,
                ),
            )
        finally:
            if playing is not None:
                playing.cancel()
                await asyncio.wait({playing})
            for socket in (*self._dialled, *(each.socket for each in self._connections.values())):
                if socket.response is not None and not socket.response.closed:
                    await socket.response.close()
                if not socket.accepted.done():
                    socket.accepted.set_result(False)
            await runner.cleanup()

    async def _control(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        farewell = asyncio.create_task(self._push_ended(socket), name="replay-ended")
        try:
            async for _ in socket:
                await socket.send_json({"error": "a recording answers no questions"})
        finally:
            farewell.cancel()
        return socket

    async def _push_ended(self, socket: web.WebSocketResponse) -> None:
        await self._ended.wait()
        with contextlib.suppress(ConnectionError):
            await socket.send_json({"event": "ended", "market_ns": self._now_ns})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._has_begun = True
        self._moved.set()
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._socket(request)
        return await self._answer(request)

    # --- requests ----------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        key, numbers = _asked(request.method, str(request.rel_url), await request.text())
        group = self._group(key)
        if not group:
            return self._stranger(request, key)
        exchange = self._choose(group, numbers)
        if exchange is None:
            empty = _empty_page(group) if _telling(group, numbers) else None
            return web.json_response(empty) if empty is not None else self._stranger(request, key)
        exchange.is_asked, exchange.asker = True, request
        self._moved.set()
        if exchange.answered_at is None or exchange.answered_at > self._at:
            released = asyncio.get_running_loop().create_future()
            exchange.held.append(released)
            await asyncio.wait({released}, timeout=_HOLD_ASK_S)
        if request.transport is not None and exchange.asker is request:
            exchange.asker = None
        answer = exchange.answer
        if answer is None or answer.code is None:  # nothing came then either
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=503)
        headers = {name: text for name, text in answer.headers.items() if name.lower() not in _HOP_HEADERS}
        return web.Response(status=answer.code, body=_text(answer).encode(), headers=headers)

    def _stranger(self, request: web.Request, key: Key) -> web.Response:
        words = ", ".join(f"{name}={text}" for name, text in sorted(key[2]))
        self.remarks.append(f"{request.method} {request.path} {words}: the recording has no such request")
        return web.json_response({"code": -1, "msg": "the recording has no such request"}, status=404)

    def _group(self, key: Key) -> list[_Exchange]:
        """Return the requests of the recording that ask for the same; or else the only ones of that path."""
        if key in self._groups:
            return self._groups[key]
        alike = [key_of for key_of in self._groups if key_of[:2] == key[:2] and key[0] == "GET"]
        return self._groups[alike[0]] if len(alike) == 1 else []

    def _choose(self, group: list[_Exchange], numbers: Mapping[str, str]) -> _Exchange | None:
        """Return the recording's request that is meant; None for what nobody asked then, or about then."""
        fresh = [each for each in group if each.is_fresh]
        telling = _telling(group, numbers)
        likeness = {each.at: sum(each.numbers.get(name) == numbers[name] for name in telling) for each in fresh}
        best = max(likeness.values(), default=0)
        awaited = self._awaited if self._awaited in fresh else None
        if best:
            alike = [each for each in fresh if likeness[each.at] == best]
            return awaited if awaited in alike else alike[0]
        if telling and _empty_page(group) is not None:
            return self._just_said(group, numbers, telling) or awaited
        return awaited or self._nearest(group, fresh)

    def _nearest(self, group: list[_Exchange], fresh: list[_Exchange]) -> _Exchange | None:
        passed = [each for each in fresh if each.at <= self._at and not self._is_stale(each)]
        coming = [each for each in fresh if each.at > self._at]
        if passed and coming:
            is_near = coming[0].market_ns - self._now_ns <= self._now_ns - passed[-1].market_ns
            return coming[0] if is_near else passed[-1]
        if passed or coming:
            return coming[0] if coming else passed[-1]
        rest = [each for each in group if not self._is_stale(each)]
        return max((each for each in rest if each.at <= self._at), key=lambda each: each.at, default=None)

    def _just_said(self, group: list[_Exchange], numbers: Mapping[str, str], telling: list[str]) -> _Exchange | None:
        """Return the page that was answered last, if it begins there and nothing was pushed since: it is still true."""
        recent = [each for each in group if each.answered_at is not None and self._pushed_at < each.answered_at]
        alike = [each for each in recent if any(each.numbers.get(name) == numbers[name] for name in telling)]
        return next((each for each in reversed(alike) if each.is_asked), None)

    def _is_stale(self, exchange: _Exchange) -> bool:
        """An account's answer of long ago would undo what was pushed since."""
        return exchange.is_private and self._at - exchange.at > _STALE

    # --- sockets -----------------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        socket = _Socket(_place(str(request.rel_url)), asyncio.get_running_loop().create_future())
        self._dialled.append(socket)
        self._moved.set()
        await asyncio.wait({socket.accepted}, timeout=_HOLD_DIAL_S)
        if not socket.accepted.done() or not socket.accepted.result():
            self._dialled.remove(socket)
            socket.is_over = True
            return web.Response(status=503)
        socket.response = response = web.WebSocketResponse(autoping=True, compress=False, max_msg_size=0)
        await response.prepare(request)
        self._moved.set()
        async for message in response:
            if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                text = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
                socket.received.append(text)
                self._moved.set()
        socket.is_over = True
        self._moved.set()
        return response

    # --- the pointer -------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        await self._until(lambda: self._has_begun, _FIRST_S)
        loop = asyncio.get_running_loop()
        began_at, origin_ns = loop.time(), self._origin_ns
        for at, moment in enumerate(self._moments()):
            if self._speed is not None:
                due_s = (moment.market_ns - origin_ns) / 1e9 / self._speed
                await asyncio.sleep(began_at + due_s - loop.time())
            self._at = at
            self._now_ns = max(self._now_ns, moment.market_ns)
            self._set_clock(self._now_ns)
            if moment.frame is not None:
                await self._step(moment.frame)
            elif moment.note is not None:
                self._on_note(moment.note)
                await asyncio.sleep(0)
            self.played += 1
        await self._settled()
        self._ended.set()

    async def _step(self, frame: Frame) -> None:
        if frame.kind is FrameKind.REQUEST:
            await self._await_request(frame)
        elif frame.kind is FrameKind.ANSWER:
            await self._release(frame)
        elif frame.kind is FrameKind.OPENED:
            await self._accept(frame)
        elif frame.connection in self._connections:
            connection = self._connections[frame.connection]
            if frame.kind is FrameKind.SENT:
                await self._await_sent(connection, _text(frame))
            elif frame.kind is FrameKind.RECEIVED:
                await self._push(connection, frame)
            else:
                await self._close(connection, frame)

    async def _await_request(self, frame: Frame) -> None:
        exchange = self._exchanges[frame.connection]
        if frame.method != "GET" or exchange.is_asked:
            return  # what changes something at the venue is not asked for again
        self._awaited = exchange
        await self._wait_for(lambda: exchange.is_asked, _ASK_S, about=exchange.key)
        self._awaited = None

    async def _release(self, frame: Frame) -> None:
        exchange = self._exchanges.get(frame.connection)
        if exchange is None or not exchange.held:
            return
        expected = self._answers + len(exchange.held)
        for held in exchange.held:
            if not held.done():
                held.set_result(None)
        exchange.held.clear()
        await self._until(lambda: self._answers >= expected, _ASK_S)
        await asyncio.sleep(0)

    async def _accept(self, frame: Frame) -> None:
        place = _place(frame.url)
        if not await self._wait_for(lambda: self._waiting(place) is not None, _DIAL_S, about=place):
            self.remarks.append(f"a connection to {place[0]} was not dialled: what came over it is left out")
            return
        socket = self._waiting(place)
        assert socket is not None
        self._dialled.remove(socket)
        known = len(self._opened)
        socket.accepted.set_result(True)
        if await self._until(lambda: len(self._opened) > known and socket.response is not None, _HEAR_S):
            socket.number = self._opened[known]
        self._connections[frame.connection] = _Connection(socket)

    def _waiting(self, place: tuple[str, frozenset[str]]) -> _Socket | None:
        """Return who dials a place: this one, or one on the same path that asks for something else."""
        alike = [each for each in self._dialled if each.path[0] == place[0] and not each.is_over]
        return next((each for each in alike if each.path == place), alike[0] if alike else None)

    async def _await_sent(self, connection: _Connection, text: str) -> None:
        wanted = _message(text)

        def find() -> tuple[_Connection, int] | None:
            for each in (connection, *self._connections.values()):
                if each.socket.path[0] == connection.socket.path[0] and not each.socket.is_over:
                    for number, said in enumerate(each.socket.received):
                        if number not in each.socket.taken and _is_same(wanted[0], _message(said)[0]):
                            return each, number
            return None

        if not await self._wait_for(lambda: find() is not None, _ASK_S, about=("sent", connection.socket.path[0])):
            return
        found = find()
        assert found is not None
        other, number = found
        if other is not connection:  # two that look alike, dialled the other way round
            other.socket, connection.socket = connection.socket, other.socket
        connection.socket.taken.add(number)
        sent_id = _message(connection.socket.received[number])[1]
        if wanted[1] is not None and sent_id is not None:
            connection.ids[json.dumps(wanted[1])] = sent_id

    async def _push(self, connection: _Connection, frame: Frame) -> None:
        self._pushed_at = self._at
        socket = connection.socket
        if socket.response is None or socket.is_over or socket.response.closed:
            return
        text = frame.text
        if connection.ids and isinstance(text, str):
            text = _with_id(text, connection.ids)
        number = socket.number
        expected = self._heard[number] + 1 if number is not None else 0
        with contextlib.suppress(ConnectionError):
            if isinstance(text, str):
                await socket.response.send_str(text)
            else:
                await socket.response.send_bytes(text)
        if number is not None and not await self._until(
            lambda: self._heard[number] >= expected or number in self._gone, _HEAR_S
        ):
            self.remarks.append(f"a frame of {socket.path[0]} was not read within {_HEAR_S:g} s")

    async def _close(self, connection: _Connection, frame: Frame) -> None:
        socket = connection.socket
        if socket.response is not None and not socket.is_over and not socket.response.closed:
            code = frame.code if frame.code is not None and _may_be_sent(frame.code) else None
            if code is None:
                transport = socket.response._req.transport if socket.response._req is not None else None  # noqa: SLF001
                if transport is not None:
                    transport.abort()
            else:
                await socket.response.close(code=code)
            number = socket.number
            await self._until(lambda: number in self._gone, _HEAR_S)
        socket.is_over = True

    # --- waiting -----------------------------------------------------------------------------------------------

    async def _wait_for(self, condition: Callable[[], bool], wait_s: float, *, about: Any) -> bool:
        """Wait; but not long for what was waited for in vain before."""
        if self._misses[about] >= _MISSES:
            wait_s = _MISSED_S
        came = await self._until(condition, wait_s)
        self._misses[about] = 0 if came else self._misses[about] + 1
        return came

    async def _until(self, condition: Callable[[], bool], wait_s: float) -> bool:
        if condition():
            return True
        deadline = asyncio.get_running_loop().time() + wait_s
        while not condition():
            self._moved.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._moved.wait()
            except TimeoutError:
                return condition()
        return True


def _telling(group: list[_Exchange], numbers: Mapping[str, str]) -> list[str]:
    """Return the numbers by which requests of a group differ."""
    return [name for name in numbers if len({each.numbers.get(name) for each in group}) > 1]


def _empty_page(group: list[_Exchange]) -> Any:
    """Return what a page of theirs says that has nothing on it; None: they are no pages of a list.

    A page that is not known is best empty: another one would say bars anew that were not over then.
    """
    texts = [_text(each.answer) for each in group if each.answer is not None and each.answer.code == _GOOD]
    pages = [_emptied(text) for text in texts]
    return pages[-1] if pages and None not in pages else None


def _emptied(text: str) -> Any:
    """Return an answer without what is in its one list, alone or in its envelope; None when it is no such answer."""
    try:
        said = json.loads(text)
    except ValueError:
        return None
    if isinstance(said, list):
        return []
    inner = said.get("result") if isinstance(said, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("list"), list):
        return None
    return {**said, "result": {**inner, "list": []}}


def _text(frame: Frame) -> str:
    return frame.text if isinstance(frame.text, str) else frame.text.decode(errors="replace")


def _asked(method: str, url: str, body: str) -> tuple[Key, dict[str, str]]:
    """Return what a request asks for, in words, and its numbers."""
    parts = urlsplit(url)
    pairs = [*parse_qsl(parts.query, keep_blank_values=True), *_body_pairs(body)]
    known = [(name, text) for name, text in pairs if name.lower() not in _VOLATILE]
    numbers = {name: text for name, text in known if _NUMBER.fullmatch(text)}
    words = frozenset((name, text) for name, text in known if name not in numbers)
    return (method.upper(), parts.path, words), numbers


def _body_pairs(body: str) -> list[tuple[str, str]]:
    if body.startswith("{"):
        with contextlib.suppress(ValueError):
            return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in _items(body)]
    return parse_qsl(body, keep_blank_values=True)


def _items(body: str) -> Iterator[tuple[str, Any]]:
    yield from json.loads(body).items()


def _place(url: str) -> tuple[str, frozenset[str]]:
    """Return an address without its host; of what it names in a list the order does not matter."""
    parts = urlsplit(url)
    return parts.path, frozenset(filter(None, re.split(r"[/&,=]", parts.query)))


def _message(text: str) -> tuple[Any, Any]:
    """Return what a message says, without what is never the same, and its id."""
    try:
        message = json.loads(text)
    except ValueError:
        return text, None
    if not isinstance(message, dict):
        return message, None
    number = next((message.pop(name) for name in _IDS if name in message), None)
    for name in _LISTS:
        words = message.get(name)
        if isinstance(words, dict):
            message[name] = {each: value for each, value in words.items() if each.lower() not in _VOLATILE}
        elif isinstance(words, list):
            message[name] = sorted(map(str, words))
    return message, number


def _is_same(recorded: Any, said: Any) -> bool:
    """Say whether a message is the recorded one, of which a list with secrets is not known."""
    if not isinstance(recorded, dict) or not isinstance(said, dict):
        return bool(recorded == said)
    hidden = {name for name in _LISTS if recorded.get(name) == [_HIDDEN]}
    return recorded.keys() == said.keys() and all(recorded[name] == said[name] for name in recorded.keys() - hidden)


def _with_id(text: str, ids: Mapping[str, Any]) -> str:
    name = next((name for name in _IDS if f'"{name}"' in text), None)
    if name is None:
        return text
    try:
        message = json.loads(text)
    except ValueError:
        return text
    if not isinstance(message, dict) or json.dumps(message.get(name)) not in ids:
        return text
    return json.dumps({**message, name: ids[json.dumps(message[name])]}, separators=(",", ":"))


def _may_be_sent(code: int) -> bool:
    """Say whether a closing code may be in a closing frame; the others say that there was none (RFC 6455, 7.4)."""
    return code in {1000, 1001, 1002, 1003} or 1007 <= code <= 1014 or 3000 <= code <= 4999
