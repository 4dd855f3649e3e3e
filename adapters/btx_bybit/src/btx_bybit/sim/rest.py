"""The REST interface: HTTP in, a :class:`Call` out, an envelope and meters back.

docs/v5/guide.mdx (2025), "Authentication": the signature is over timestamp + key + receive window + query or body, and
``server_time - recv_window <= timestamp < server_time + 1000``.
"""

import json
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import parse_qsl

from aiohttp import web

from btx.sim.skin.mishaps import handled
from btx.sim.skin.text import JSON, dumps
from btx_bybit.sim.errors import Mishaps, operation_of
from btx_bybit.sim.limits import TOO_FREQUENT
from btx_bybit.sim.params import Raw
from btx_bybit.sim.venue import Call, Venue, perform
from btx_bybit.sim.wire import WireError, envelope, signature_fits, signed_text

__all__ = ("add_routes", "check_time")

_USUAL_WINDOW_MS = "5000"
_AHEAD_MS = 1000


def add_routes(app: web.Application, venue: Venue, mishaps: Mishaps, calls: Iterable[Call]) -> None:
    """Serve every call, and say clearly what is not served."""
    for call in calls:
        app.router.add_route(*call.rest, _handler(venue, mishaps, call))

    async def not_served(request: web.Request) -> web.Response:
        error = WireError(10017, f"Route not found: {request.method} {request.path}", status=404)
        return _respond(venue, error.body(venue.wire_ms()), error=error)

    app.router.add_route("*", "/{path:.*}", not_served)


def _handler(venue: Venue, mishaps: Mishaps, call: Call) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    operation = operation_of(*call.rest)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handled(mishaps, operation, request, answer=answer, tell=tell)

    def tell(_: web.Request, error: WireError) -> web.Response:
        return _respond(venue, error.body(venue.wire_ms()), error=error)

    async def answer(request: web.Request, refusal: WireError | None) -> web.Response:
        body = await request.text() if request.method != "GET" else ""
        api_key = ""
        try:
            if refusal is not None:
                raise refusal
            venue.meters.address(request.remote or "", venue.world.wire_ns())
            query = request.raw_path.partition("?")[2]
            if call.is_signed:
                api_key = _authorize(venue, request, body if request.method != "GET" else query)
            sent = _body(body) if request.method != "GET" else _pairs(query)
            done = perform(venue, call, api_key, sent)
        except WireError as error:
            return _respond(venue, error.body(venue.wire_ms()), call=call, api_key=api_key, error=error)
        value = envelope(done.result, venue.wire_ms(), message=done.message, ext=done.ext)
        return _respond(venue, value, call=call, api_key=api_key)

    return handle


def _pairs(query: str) -> dict[str, Raw]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _body(body: str) -> dict[str, Raw]:
    try:
        sent = json.loads(body) if body else {}
    except ValueError as error:
        raise WireError(10001, "Request parameter error: the body is not JSON") from error
    if not isinstance(sent, dict):
        raise WireError(10001, "Request parameter error: the body is not a JSON object")
    return sent


def _authorize(venue: Venue, request: web.Request, payload: str) -> str:
    """Return the key a request may act for.

    Raises:
        WireError: 10002, 10003 or 10004.
    """
    headers = request.headers
    api_key = headers.get("X-BAPI-API-KEY", "")
    if api_key not in venue.secrets:
        raise WireError(10003, "API key is invalid.")
    stamp, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", _USUAL_WINDOW_MS)
    check_time(stamp, window, venue.wire_ms())
    text = signed_text(stamp, api_key, headers.get("X-BAPI-RECV-WINDOW", ""), payload)
    if not signature_fits(text, headers.get("X-BAPI-SIGN", ""), venue.secrets[api_key]):
        raise WireError(10004, f"error sign! origin_string[{text}]")
    return api_key


def check_time(stamp: str, window: str, now_ms: int) -> None:
    """Check that a request was made within its receive window.

    Raises:
        WireError: 10002, it was not, or one of the two is no number.
    """
    if not (stamp.isdecimal() and window.isdecimal()):
        raise WireError(10002, "invalid request, please check your timestamp and recv_window param.")
    if not now_ms - int(window) <= int(stamp) < now_ms + _AHEAD_MS:
        raise WireError(
            10002,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]",
        )


def _respond(
    venue: Venue, value: JSON, *, call: Call | None = None, api_key: str = "", error: WireError | None = None
) -> web.Response:
    if error is not None and error.status == TOO_FREQUENT:
        return web.Response(text=error.message, status=error.status)
    headers = dict(error.headers) if error is not None else {}
    if call is not None and not headers:
        limit = call.limit_of(venue.category)
        headers = venue.meters.headers(api_key, call.rest[1], limit, venue.world.wire_ns())
    return web.Response(
        text=dumps(value),
        status=200 if error is None else error.status,
        content_type="application/json",
        headers=headers,
    )
