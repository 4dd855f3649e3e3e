"""The world's script of faults, carried out on a venue's wire.

What a fault looks like there is the venue's own: :class:`Trouble` says it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from btx.model.time import NS_PER_S
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.skin.sockets import Connection
from btx.sim.world import World

__all__ = ("Mishaps", "Trouble", "answered", "cut", "handled", "outage", "swallowed")

E = TypeVar("E", bound=Exception)
E_co = TypeVar("E_co", bound=Exception, covariant=True)

_PAGE = "<html><head><title>Please wait</title></head><body>One moment, please...</body></html>"


class Trouble(Protocol[E_co]):
    """How a venue says that something failed: each is the error its skin answers like any other of its errors.

    ``form`` is the fault's, as large as one likes: the remainder of what there is.
    """

    @property
    def refusals(self) -> Sequence[int | None]:
        """The HTTP statuses a socket is refused with, by form; None: the connection is cut before an answer."""

    @property
    def meter_headers(self) -> str:
        """How the headers begin that stay on an answer although its body was cut in two."""

    def limited(self, fault: Fault, until_ns: int) -> E_co:
        """Return the error of ``rate_limit`` or ``ban``; ``until_ns`` is wire time."""

    def key_expired(self) -> E_co:
        """Return the error of a key that is valid no more."""

    def not_done(self, form: int) -> E_co:
        """Return the error of a request that was not done."""

    def unknown(self, form: int) -> E_co:
        """Return the error of a request that may have been done."""


class Mishaps(Generic[E]):
    """What goes wrong at one simulated venue. Lives in the loop that serves it."""

    def __init__(self, world: World, trouble: Trouble[E]) -> None:
        self.cut_all: Callable[[], None] = lambda: None  # every connection, of HTTP and of sockets
        self.refuse_all: Callable[[float], None] = lambda _for_s: None  # the port itself, for so long
        self.blocked: int | None = None  # the form of refusal every new socket gets; None: none
        self.trouble = trouble
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()

    def on_request(self, operation: Where, what: str) -> Action:
        """Count a request; what concerns more than the request happens at once."""
        self._world.requests[what] += 1
        return self._begin(self._world.faults.on_request(operation, now_s=self._loop.time(), what=what))

    def on_push(self, channel: Where, what: str) -> Action:
        """Count an event that is to be pushed; what concerns more than its socket happens at once."""
        return self._begin(self._world.faults.on_push(channel, now_s=self._loop.time(), what=what))

    def command(self, fault: Fault, what: str) -> Action:
        """Let a fault strike now; what concerns more than a socket happens at once."""
        return self._begin(self._world.faults.command(fault, now_s=self._loop.time(), what=what))

    def on_subscribe(self, what: str) -> Action:
        """Count a wish for streams and say what is to go wrong with it."""
        return self._world.faults.on_subscribe(now_s=self._loop.time(), what=what)

    async def on_dial(self, request: web.Request) -> web.StreamResponse | None:
        """Count a socket that is being opened; return what it gets in place of an upgrade, None when it is let in."""
        action = self._world.faults.on_dial(now_s=self._loop.time(), what=request.path)
        if self.blocked is not None:
            return self._refused(request, self.blocked)
        if (fault := action.get(Kind.REFUSE)) is not None:
            return self._refused(request, fault.form)
        if action.get(Kind.DROP) is not None:
            return cut(request)
        if (fault := action.get(Kind.HALF_OPEN)) is not None:
            await self.pause(fault.for_s or None)
            return cut(request)
        if (fault := action.get(Kind.DELAY)) is not None:
            await self.pause(fault.for_s)
        return None

    def refusal(self, action: Action) -> E | None:
        """Return why a request is not done, None when it is."""
        if (fault := action.get(Kind.BAN, Kind.RATE_LIMIT)) is not None:
            return self.trouble.limited(fault, self._world.wire_ns() + int(fault.for_s * NS_PER_S))
        if action.get(Kind.KEY_EXPIRY) is not None:
            return self.trouble.key_expired()
        if (fault := action.get(Kind.ERROR_BEFORE)) is not None:
            return self.trouble.not_done(fault.form)
        return None

    def failure(self, action: Action) -> E | None:
        """Return the error that is told of a request although it was done, None when none is."""
        fault = action.get(Kind.ERROR_AFTER)
        return None if fault is None else self.trouble.unknown(fault.form)

    async def hold(self, action: Action) -> None:
        """Wait until the answer to a request that was done may leave."""
        if (fault := action.get(Kind.ACK_AFTER_FILL)) is not None:
            await self._world.flush()
            await self.pause(fault.for_s)
        if (fault := action.get(Kind.DELAY)) is not None:
            await self.pause(fault.for_s)

    async def answer_on(self, connection: Connection, text: str, action: Action) -> None:
        """Answer a request that came over a socket, or do to the answer what is to be done to it."""
        await self.hold(action)
        if action.get(Kind.LOSE) is not None:
            connection.abort()
        elif action.get(Kind.TRUNCATE) is not None:
            connection.put(text[: len(text) // 2])
        else:
            connection.put(text)

    async def pause(self, wait_s: float | None) -> None:
        """Wait, for ever when None; the end of the simulator ends it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._closing.wait()

    def is_out(self) -> bool:
        """Whether the venue is not to be reached now."""
        return self._world.faults.is_out(now_s=self._loop.time())

    async def close(self, _app: web.Application) -> None:
        """Let nothing wait any more."""
        self._closing.set()

    def _begin(self, action: Action) -> Action:
        if (fault := action.get(Kind.CLOCK_JUMP)) is not None:
            self._world.shift_wire(int(fault.offset_s * NS_PER_S))
            if fault.for_s:
                self._loop.call_later(fault.for_s, self._world.shift_wire, 0)
        if (fault := action.get(Kind.OUTAGE)) is not None:
            if fault.form % 2 and fault.for_s:
                self.refuse_all(fault.for_s)
            self.cut_all()
        return action

    def _refused(self, request: web.Request, form: int) -> web.StreamResponse:
        status = self.trouble.refusals[form % len(self.trouble.refusals)]
        return cut(request) if status is None else web.Response(status=status)


# --- HTTP ------------------------------------------------------------------------------------------------


def cut(request: web.Request) -> web.Response:
    """Cut the connection of a request; the answer is for the server's books, nobody gets it."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def handled(
    mishaps: Mishaps[E],
    operation: Where,
    request: web.Request,
    *,
    answer: Callable[[web.Request, E | None], Awaitable[web.Response]],
    tell: Callable[[web.Request, E], web.Response],
) -> web.StreamResponse:
    """Answer a request, and do to it what is to go wrong with it.

    ``answer`` does what is asked, or refuses it for the error it is given; ``tell`` answers an error although it was
    done.
    """
    action = mishaps.on_request(operation, f"{request.method} {request.path}")
    if not action:
        return await answer(request, None)
    if (nothing := await swallowed(mishaps, action, request)) is not None:
        return nothing
    response = await answer(request, mishaps.refusal(action))
    if (failure := mishaps.failure(action)) is not None:
        response = tell(request, failure)
    return await answered(mishaps, action, request, response)


async def swallowed(mishaps: Mishaps[E], action: Action, request: web.Request) -> web.Response | None:
    """Let a request disappear before it is done, if it is to; None when it is not."""
    if action.get(Kind.DROP, Kind.OUTAGE) is not None:
        return cut(request)
    if (fault := action.get(Kind.HALF_OPEN)) is not None:
        await mishaps.pause(fault.for_s or None)
        return cut(request)
    return None


async def answered(
    mishaps: Mishaps[E], action: Action, request: web.Request, response: web.Response
) -> web.StreamResponse:
    """Do to the answer of a request that was done what is to be done to it."""
    await mishaps.hold(action)
    if action.get(Kind.LOSE) is not None:
        return cut(request)
    if (fault := action.get(Kind.TRUNCATE)) is not None:
        return await _truncated(request, response, fault.form, mishaps.trouble.meter_headers)
    return response


async def _truncated(request: web.Request, response: web.Response, form: int, kept: str) -> web.StreamResponse:
    body = (response.text or "").encode()
    if form % 3 == 1:
        headers = {name: value for name, value in response.headers.items() if name.startswith(kept)}
        return web.Response(body=body[: len(body) // 2], content_type="application/json", headers=headers)
    if form % 3 == 2:
        return web.Response(text=_PAGE, content_type="text/html")
    half = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # what was written leaves first
    return half


def outage(mishaps: Mishaps[E]) -> Middleware:
    """Return what cuts every request off while the venue is not to be reached.

    The port is kept: one that is given back may be taken by somebody else, even by a client that redials.
    """

    @web.middleware
    async def cut_while_out(request: web.Request, handler: Handler) -> web.StreamResponse:
        return cut(request) if mishaps.is_out() else await handler(request)

    return cut_while_out
