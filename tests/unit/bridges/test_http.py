"""Plain HTTP: each request once, and each failure the error that says what may be done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from btx.bridges.http import Http, Request, shared_http
from btx.bridges.places import Places
from btx.bridges.verdicts import Operation, Verdict, Verdicts
from btx.config import Secret, Settings
from btx.errors import (
    AuthenticationError,
    BtxError,
    DataError,
    InsufficientFundsError,
    MissingSecretError,
    OrderNotFoundError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
)
from btx.model.frames import Frame, FrameKind
from btx.model.venue import Environment
from btx.ports import Context

KEY, SECRET = "my-key", "my-secret"
VERDICTS = Verdicts(
    codes={
        "poor": Verdict.INSUFFICIENT_FUNDS,
        "gone": Verdict.NOT_FOUND,
        "who": Verdict.UNAUTHORISED,
        "lost": Verdict.UNKNOWN,
    }
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Clock:
    def wire_ns(self) -> int:
        return 1_700_000_000_123_000_000

    market_ns = wire_ns


class _Tap:
    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def number(self) -> int:
        return 7

    def __call__(self, frame: Frame) -> None:
        self.frames.append(frame)


def _sign(request: Request, settings: Settings, now_ms: int) -> Request:
    return request.with_headers({"X-Proof": f"{settings.api_key.reveal()} {now_ms} {request.query}"})


def _told(answer: Mapping[str, Any]) -> tuple[str, str] | None:
    return (answer["error"], answer["text"]) if "error" in answer else None


def talk(
    handler: Handler,
    use: Callable[[Http], Awaitable[Any]],
    *,
    tap: _Tap | None = None,
    proxy: str = "",
    observe: Callable[[str, int], None] = lambda _limit, _units: None,
    key: str = KEY,
) -> Any:
    """Let ``use`` speak to a server that answers by ``handler``."""

    async def run() -> Any:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with AsyncExitStack() as resources:
                context = Context(
                    settings=Settings(api_key=Secret(key), api_secret=Secret(SECRET), proxy=Secret(proxy)),
                    environment=Environment.SIM,
                    market="spot",
                    endpoints=None,
                    clock=_Clock(),
                    resources=resources,
                    tap=tap,
                    observe=observe,
                )
                here = ("spot", Environment.SIM)
                places = Places(
                    title="Nowhere",
                    rest={here: f"http://127.0.0.1:{runner.addresses[0][1]}/"},
                    streams={here: ""},
                    longest_receive_window_ms=60_000,
                )
                http = shared_http(
                    context, places=places, verdicts=VERDICTS, sign=_sign, error=_told, used={"X-Used": "requests"}
                )
                assert shared_http(context, places=places, verdicts=VERDICTS, sign=_sign, error=_told) is http
                return await asyncio.wait_for(use(http), 60)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def failure(handler: Handler, operation: Operation = Operation.READ) -> BtxError:
    """The error that a request ends in."""

    async def use(http: Http) -> None:
        await http.ask("POST", "/v1/place", {"key": KEY}, operation=operation)

    with pytest.raises(BtxError) as caught:
        talk(handler, use)
    return caught.value


async def _echo(request: web.Request) -> web.Response:
    return web.json_response(
        {
            "method": request.method,
            "path": request.path_qs,
            "proof": request.headers.get("X-Proof"),
            "body": await request.text(),
        },
        headers={"X-Used": "5"},
    )


def test_a_request_says_what_it_was_asked_to_and_is_signed_with_the_wire_clock() -> None:
    heard: list[tuple[str, int]] = []

    async def use(http: Http) -> Any:
        return (
            await http.ask("GET", "/v1/bars", {"symbol": "A/B", "limit": None}, signed=True),
            await http.ask("POST", "/v1/place", body={"quantity": str(Decimal("0.1"))}),
        )

    read, placed = talk(_echo, use, observe=lambda *used: heard.append(used))

    assert read == {
        "method": "GET",
        "path": "/v1/bars?symbol=A%2FB",
        "proof": f"{KEY} 1700000000123 symbol=A%2FB",
        "body": "",
    }
    assert placed["body"] == '{"quantity": "0.1"}'
    assert placed["proof"] is None
    assert heard == [("requests", 5), ("requests", 5)]


async def _list(request: web.Request) -> web.Response:
    """Rows 1 to 5, as many as are asked for, from behind one on; those that are asked for nothing are stuck."""
    first = int(request.query.get("after", "0")) + 1 if request.path == "/v1/list" else 1
    return web.json_response([str(row) for row in range(first, min(first + int(request.query["limit"]), 6))])


def test_a_list_is_read_row_by_row_and_page_by_page() -> None:
    async def use(http: Http) -> Any:
        follow = {"size": 2, "after": lambda last: {"after": last}}
        return (
            await http.get("/v1/list", len, {"limit": 9}),
            await http.rows("/v1/list", int, {"limit": 9}),
            await http.pages("/v1/list", int, {"limit": 2}, signed=False, **follow),
        )

    assert talk(_list, use) == (5, (1, 2, 3, 4, 5), (1, 2, 3, 4, 5))


def test_pages_that_never_end_are_an_error_and_so_are_rows_of_another_shape() -> None:
    async def stuck(http: Http) -> Any:
        await http.pages("/v1/stuck", int, {"limit": 2}, size=2, after=lambda last: {"after": last})

    async def misread(http: Http) -> Any:
        await http.rows("/v1/list", Decimal.from_float, {"limit": 9})

    with pytest.raises(DataError, match=r"the page of /v1/stuck after .* ends with it"):
        talk(_list, stuck)
    with pytest.raises(DataError, match="Nowhere's answer cannot be read: TypeError"):
        talk(_list, misread)


def test_what_is_to_be_signed_is_not_sent_without_a_key() -> None:
    async def use(http: Http) -> Any:
        await http.send("/v1/place", {}, Operation.PLACE)

    with pytest.raises(MissingSecretError, match="Nowhere's sim account needs an API key"):
        talk(_echo, use, key="")


@pytest.mark.parametrize(
    ("code", "kind"), [("poor", InsufficientFundsError), ("gone", OrderNotFoundError), ("who", AuthenticationError)]
)
def test_the_venue_s_codes_decide_which_error_it_is(code: str, kind: type[BtxError]) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": code, "text": f"no, {KEY}: signature=abc"}, status=400)

    error = failure(refuse, Operation.CANCEL)

    assert type(error) is kind
    assert str(error) == f"Nowhere: no, ***: signature=*** [{code}]"


def test_an_error_in_an_answer_that_says_ok_is_an_error_all_the_same() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": "poor", "text": "no"})

    assert isinstance(failure(refuse), InsufficientFundsError)


def test_a_rate_limit_says_for_how_long() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(text="slow down", status=429, headers={"Retry-After": "17"})

    error = failure(refuse)

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 17


@pytest.mark.parametrize("how", ["cut", "502", "no JSON", "half", "lost"])
def test_what_may_have_been_done_is_unknown_for_an_order_and_harmless_for_a_question(how: str) -> None:
    async def lose(request: web.Request) -> web.StreamResponse:
        if how == "cut":
            assert request.transport is not None
            request.transport.abort()
        if how == "half":
            response = web.StreamResponse(headers={"Content-Length": "100"})
            await response.prepare(request)
            await response.write(b'{"id":')
            assert request.transport is not None
            request.transport.close()
            return response
        if how == "lost":
            return web.json_response({"error": "lost", "text": "nobody knows"}, status=504)
        return web.Response(text="<html>", status=502 if how == "502" else 200)

    assert isinstance(failure(lose, Operation.PLACE), OutcomeUnknownError)
    question = failure(lose)
    assert isinstance(question, TransportError)
    assert not isinstance(question, OutcomeUnknownError)
    assert KEY not in str(question)


def test_a_venue_that_is_not_there_was_certainly_sent_nothing() -> None:
    async def use(http: Http) -> None:
        http._base_url = "http://127.0.0.1:1"
        await http.ask("POST", "/v1/place", operation=Operation.PLACE)

    with pytest.raises(TransportError, match="was not reached") as caught:
        talk(_echo, use)

    assert not isinstance(caught.value, OutcomeUnknownError)


def test_a_proxy_that_does_not_answer_is_named_without_its_password() -> None:
    async def use(http: Http) -> None:
        await http.ask("GET", "/v1/time")

    with pytest.raises(TransportError, match=r"its proxy 127\.0\.0\.1:1 does not answer") as caught:
        talk(_echo, use, proxy="http://me:hush@127.0.0.1:1")

    assert "hush" not in str(caught.value)


def test_a_recording_has_the_request_and_its_answer_and_that_none_came() -> None:
    tap = _Tap()

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/cut":
            assert request.transport is not None
            request.transport.abort()
        return await _echo(request)

    async def use(http: Http) -> None:
        await http.ask("POST", "/v1/place", {"symbol": "A"}, body={"a": 1})
        with pytest.raises(TransportError):
            await http.ask("POST", "/v1/cut")

    talk(handler, use, tap=tap)

    sent, answered, lost_request, lost = tap.frames
    assert (sent.kind, sent.method, sent.text) == (FrameKind.REQUEST, "POST", '{"a": 1}')
    assert sent.url.endswith("/v1/place?symbol=A")
    assert (answered.kind, answered.code, answered.headers["X-Used"]) == (FrameKind.ANSWER, 200, "5")
    assert lost_request.kind is FrameKind.REQUEST
    assert (lost.kind, lost.code, lost.text) == (FrameKind.ANSWER, None, "ServerDisconnectedError")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_kept_connection_that_ends_without_an_answer_is_no_reason_to_send_again(method: str) -> None:
    """A client may by itself repeat what it takes for harmless, of which PUT changes orders at some venues."""
    arrived: list[str] = []

    async def hang_up(request: web.Request) -> web.Response:
        arrived.append(request.path)
        if request.path == "/amend":
            assert request.transport is not None
            request.transport.close()
        return web.json_response({})

    async def use(http: Http) -> None:
        await http.ask("GET", "/first")  # so that there is a connection to be kept
        with pytest.raises(OutcomeUnknownError):
            await http.ask(method, "/amend", operation=Operation.PLACE)

    talk(hang_up, use)

    assert arrived == ["/first", "/amend"]
