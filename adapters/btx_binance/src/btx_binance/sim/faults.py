"""The fault script of the world, carried out on this venue's wire.

Which class an operation belongs to is read off the table of routes, here and
nowhere else.  Texts and codes: ``errors.md`` and ``rest-api.md``, "HTTP Return
Codes" (2026).
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import Any

import attrs
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from btx.model.time import NS_PER_S
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.world import World
from btx_binance.sim.meters import Meters
from btx_binance.sim.venue import Call, Security
from btx_binance.sim.wire import WireError

__all__ = ("SPOT", "Failures", "Mishaps", "answered", "cut", "operation_of", "outage", "swallowed")

_REFUSALS = (503, 403, 429, None)
_PAGE = "<html><head><title>Please wait</title></head><body>One moment, please...</body></html>"
_ROOT = re.compile(r"/[a-z]+/v\d/")
_ORDERS = re.compile(
    "order|openOrders|allOrders|orderList|openOrderList|allOrderList|myTrades|order/.*"
    "|openOrder|userTrades|orderAmendment|forceOrders|algoOrder|openAlgoOrders|allAlgoOrders|batchOrders"
)
_SETTINGS = re.compile(
    "leverage|marginType|positionMargin|positionSide/dual|multiAssetsMargin|countdownCancelAll|feeBurn"
)
_LISTEN_KEY = "listenKey"


@attrs.frozen(kw_only=True)
class Failures:
    """How a system says that it failed: HTTP status, code and text; by the form of the fault."""

    not_done: tuple[tuple[int, int, str], ...]
    unknown: tuple[tuple[int, int, str], ...]  # the request may have been done


_LOST = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_STRANGE = "An unexpected response was received from the message bus. Execution status unknown."
_SORRY = "Unknown error, please check your request or try again later."

SPOT = Failures(
    not_done=(
        (503, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
        (500, -1001, "Internal error; unable to process your request. Please try again."),
        (503, -1016, "This service is no longer available."),
    ),
    unknown=((503, -1007, _LOST), (500, -1006, _STRANGE), (503, -1000, _SORRY)),
)


def operation_of(call: Call[Any]) -> Where:
    """Return the class of an operation: what it does to orders, or whose data it reads."""
    verb, path = call.rest or ("GET", (call.method or "").partition(".")[0])
    path = _ROOT.sub("", path)
    if path == _LISTEN_KEY:
        return Where.ACCOUNT
    if call.security is not Security.SIGNED:
        return Where.MARKET
    if verb == "DELETE":
        return Where.CANCEL
    if path.endswith("/test"):  # it makes no order
        return Where.QUERY
    if verb in ("POST", "PUT"):
        return Where.ACCOUNT if _SETTINGS.fullmatch(path) else Where.PLACE
    return Where.QUERY if _ORDERS.fullmatch(path) else Where.ACCOUNT


class Mishaps:
    """What goes wrong at one simulated venue. Lives in the loop that serves it."""

    def __init__(self, world: World, meters: Meters, failures: Failures = SPOT) -> None:
        self.cut_all: Callable[[], None] = lambda: None  # every connection, of HTTP and of sockets
        self.refuse_all: Callable[[float], None] = lambda _for_s: None  # the port itself, for so long
        self.blocked: int | None = None  # the form of refusal every new socket gets; None: none
        self._world = world
        self._meters = meters
        self._failures = failures
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
            return _refused(request, self.blocked)
        if (fault := action.get(Kind.REFUSE)) is not None:
            return _refused(request, fault.form)
        if action.get(Kind.DROP) is not None:
            return cut(request)
        if (fault := action.get(Kind.HALF_OPEN)) is not None:
            await self.pause(fault.for_s or None)
            return cut(request)
        if (fault := action.get(Kind.DELAY)) is not None:
            await self.pause(fault.for_s)
        return None

    def refusal(self, action: Action) -> WireError | None:
        """Return why a request is not done, None when it is."""
        if (fault := action.get(Kind.BAN, Kind.RATE_LIMIT)) is not None:
            return self._limited(fault)
        if action.get(Kind.KEY_EXPIRY) is not None:
            return WireError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        if (fault := action.get(Kind.ERROR_BEFORE)) is not None:
            status, code, text = self._failures.not_done[fault.form % len(self._failures.not_done)]
            return WireError(code, text, status=status)
        return None

    def failure(self, action: Action) -> WireError | None:
        """Return the error that is told of a request although it was done, None when none is."""
        if (fault := action.get(Kind.ERROR_AFTER)) is None:
            return None
        status, code, text = self._failures.unknown[fault.form % len(self._failures.unknown)]
        return WireError(code, text, status=status)

    async def hold(self, action: Action) -> None:
        """Wait until the answer to a request that was done may leave."""
        if (fault := action.get(Kind.ACK_AFTER_FILL)) is not None:
            await self._world.flush()
            await self.pause(fault.for_s)
        if (fault := action.get(Kind.DELAY)) is not None:
            await self.pause(fault.for_s)

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

    def _limited(self, fault: Fault) -> WireError:
        until_ns = self._world.wire_ns() + int(fault.for_s * NS_PER_S)
        if fault.kind is Kind.BAN:
            return self._meters.banned(until_ns)
        return self._meters.too_much(self._meters.limits.weight, until_ns)


# --- HTTP ------------------------------------------------------------------------------------------------


def cut(request: web.Request) -> web.Response:
    """Cut the connection of a request; the answer is for the server's books, nobody gets it."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refused(request: web.Request, form: int) -> web.StreamResponse:
    """Refuse a socket: overload, the firewall, too many of them, or cut before an answer (HTTP Return Codes, 2026)."""
    status = _REFUSALS[form % len(_REFUSALS)]
    return cut(request) if status is None else web.Response(status=status)


async def swallowed(mishaps: Mishaps, action: Action, request: web.Request) -> web.Response | None:
    """Let a request disappear before it is done, if it is to; None when it is not."""
    if action.get(Kind.DROP, Kind.OUTAGE) is not None:
        return cut(request)
    if (fault := action.get(Kind.HALF_OPEN)) is not None:
        await mishaps.pause(fault.for_s or None)
        return cut(request)
    return None


async def answered(
    mishaps: Mishaps, action: Action, request: web.Request, response: web.Response
) -> web.StreamResponse:
    """Do to the answer of a request that was done what is to be done to it."""
    await mishaps.hold(action)
    if action.get(Kind.LOSE) is not None:
        return cut(request)
    if (fault := action.get(Kind.TRUNCATE)) is not None:
        return await _truncated(request, response, fault.form)
    return response


async def _truncated(request: web.Request, response: web.Response, form: int) -> web.StreamResponse:
    body = (response.text or "").encode()
    if form % 3 == 1:
        return web.Response(body=body[: len(body) // 2], content_type="application/json", headers=_meters(response))
    if form % 3 == 2:
        return web.Response(text=_PAGE, content_type="text/html")
    half = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # what was written leaves first
    return half


def _meters(response: web.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("X-MBX")}


def outage(mishaps: Mishaps) -> Middleware:
    """Return what cuts every request off while the venue is not to be reached.

    The port is kept: one that is given back may be taken by somebody else, even by a client that redials.
    """

    @web.middleware
    async def cut_while_out(request: web.Request, handler: Handler) -> web.StreamResponse:
        return cut(request) if mishaps.is_out() else await handler(request)

    return cut_while_out
