"""The REST interface: HTTP in, a :class:`Call` out, JSON and meters back."""

import re
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import parse_qsl

from aiohttp import web

from btx.sim.skin.mishaps import handled
from btx.sim.skin.text import dumps
from btx_binance.sim.faults import Mishaps, operation_of
from btx_binance.sim.params import Raw
from btx_binance.sim.venue import Ask, Call, V, Venue, authorize
from btx_binance.sim.wire import WireError

__all__ = ("add_routes",)

_SIGNATURE = re.compile(r"(?:^|&)signature=[^&]*")


def add_routes(app: web.Application, venue: V, mishaps: Mishaps, calls: Iterable[Call[V]]) -> None:
    """Serve every call that has a REST address, and say clearly what is not served."""
    for call in calls:
        if call.rest is not None:
            app.router.add_route(*call.rest, _handler(venue, mishaps, call))
    app.router.add_route("*", "/{path:.*}", _not_served)


def _handler(venue: V, mishaps: Mishaps, call: Call[V]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    operation = operation_of(call)

    async def handle(request: web.Request) -> web.StreamResponse:
        return await handled(mishaps, operation, request, answer=answer, tell=tell)

    def tell(request: web.Request, error: WireError) -> web.Response:
        return _answer(venue, error.body(), address=request.remote or "", error=error)

    async def answer(request: web.Request, refusal: WireError | None) -> web.Response:
        body = await request.text() if request.method != "GET" else ""
        address = request.remote or ""
        api_key: str | None = None
        try:
            if refusal is not None:
                raise refusal
            query = request.raw_path.partition("?")[2]
            sent = _pairs(body) | _pairs(query)  # the query string wins
            venue.meters.request(address, call.weigh(sent), venue.world.wire_ns())
            payload = _unsigned(query) + _unsigned(body)
            api_key = authorize(
                venue,
                call,
                sent,
                api_key=request.headers.get("X-MBX-APIKEY"),
                payload=payload,
                trusted=False,
            )
            result = call.run(venue, Ask(values=call.read(sent), api_key=api_key, market_ns=venue.market_ns()))
        except WireError as error:
            return _answer(venue, error.body(), address=address, error=error)
        return _answer(venue, result, address=address, account=api_key if call.counts_orders else None)

    return handle


def _pairs(text: str) -> dict[str, Raw]:
    pairs = parse_qsl(text, keep_blank_values=True)
    values: dict[str, Raw] = dict(pairs)
    if len(values) != len(pairs):
        raise WireError(-1101, "Duplicate values for a parameter detected.")
    return values


def _unsigned(text: str) -> str:
    """Return the text a signature is made over: exactly what was sent, without the signature."""
    return _SIGNATURE.sub("", text).removeprefix("&")


def _answer(
    venue: Venue,
    value: object,
    *,
    address: str,
    account: str | None = None,
    error: WireError | None = None,
) -> web.Response:
    now_ns = venue.world.wire_ns()
    headers = venue.meters.headers(address, account, now_ns)
    if error is not None and error.retry_at_ms is not None:
        wait_ms = max(error.retry_at_ms - venue.wire_ms(), 0)
        headers["Retry-After"] = str(-(-wait_ms // 1000))
    return web.Response(
        text=dumps(value),
        status=200 if error is None else error.status,
        content_type="application/json",
        headers=headers,
    )


async def _not_served(request: web.Request) -> web.Response:
    text = f"The simulator does not serve {request.method} {request.path}"
    return web.Response(text=dumps({"code": -1000, "msg": text}), status=404, content_type="application/json")
