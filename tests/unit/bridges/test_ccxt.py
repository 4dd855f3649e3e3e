"""Judging what went wrong, and keeping secrets, apart from any venue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt
import ccxt.pro
import pytest
from aiohttp import web

from btx.bridges import ccxt as bridge
from btx.bridges.ccxt import Answer, Client, Operation, Verdict, Verdicts, translate
from btx.config import Secret
from btx.errors import (
    AuthenticationError,
    BtxError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    VenueError,
)
from btx.model.venue import Endpoints, SimClock

_VERDICTS = Verdicts(
    codes={"7": Verdict.LIMITED, "8": Verdict.NOT_FOUND, "9": Verdict.DUPLICATE},
    texts=(("7", "gone", Verdict.NOT_FOUND),),
)


def _translated(error: Exception, operation: Operation = Operation.READ, **kwargs: Any) -> BtxError:
    return translate(error, venue="Toy", operation=operation, verdicts=_VERDICTS, now_ms=1_000, **kwargs)


def _answered(**fields: Any) -> Exception:
    error = ccxt.ExchangeError("toy GET https://toy/?signature=abc")
    error.btx_answer = Answer(**{"status": 400, "code": None, "message": "no", **fields})
    return error


def test_an_error_of_ours_stays_what_it_is() -> None:
    error = TransportError("as it was")

    assert _translated(error) is error


@pytest.mark.parametrize(
    ("operation", "code", "message", "expected"),
    [
        (Operation.READ, "7", "slow", RateLimitedError),
        (Operation.READ, "7", "it is gone", OrderNotFoundError),
        (Operation.PLACE, "8", "which one", OrderRejectedError),
        (Operation.CANCEL, "9", "again", OrderRejectedError),
        (Operation.PLACE, "9", "again", OutcomeUnknownError),
        (Operation.READ, "404", "new code", VenueError),
    ],
)
def test_text_before_code_before_status(
    operation: Operation, code: str, message: str, expected: type[BtxError]
) -> None:
    assert type(_translated(_answered(code=code, message=message), operation)) is expected


def test_a_limit_on_a_socket_names_the_moment_it_ends() -> None:
    error = _translated(_answered(code="7", retry_at_ms=3_500))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 3


def test_a_limit_that_is_over_asks_for_no_wait() -> None:
    error = _translated(_answered(code="7", retry_at_ms=500))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 0


def test_the_answer_is_found_below_a_mistake_ccxt_made_while_handling_it() -> None:
    try:
        try:
            raise _answered(status=401, message="bad key")
        except ccxt.ExchangeError:
            raise KeyError("spot")  # noqa: B904 -- as ccxt does it
    except KeyError as error:
        judged = _translated(error)

    assert type(judged) is AuthenticationError
    assert "bad key" in str(judged)


def test_an_error_nobody_foresaw_leaves_an_order_unknown_and_a_question_unanswered() -> None:
    assert type(_translated(RuntimeError("?"), Operation.PLACE)) is OutcomeUnknownError
    assert type(_translated(RuntimeError("?"), Operation.READ)) is TransportError


def test_a_client_that_was_closed_sent_nothing() -> None:
    assert type(_translated(ccxt.ExchangeClosedByUser("closed"), Operation.PLACE)) is TransportError


def test_a_missing_key_found_by_ccxt_was_not_sent_either() -> None:
    assert type(_translated(ccxt.AuthenticationError('toy requires "apiKey"'), Operation.PLACE)) is AuthenticationError


@pytest.mark.parametrize(
    "text",
    [
        "GET https://toy/?a=1&signature=abc123&b=2",
        '{"apiKey": "s3cret", "signature": "abc123"}',
        "{'signature': 'abc123', 'x': 's3cret'}",
        "Signature=abc123",
    ],
)
def test_signatures_and_secrets_are_blotted_out(text: str) -> None:
    clean = bridge.scrub(text, ["s3cret", ""])

    assert "abc123" not in clean
    assert "s3cret" not in clean
    assert "***" in clean


async def _listen(subscribe: Callable[[Any], Awaitable[Any]]) -> None:
    client = Client(
        ccxt.pro.binance,
        venue="Toy",
        verdicts=_VERDICTS,
        wire_ms=lambda: 0,
        api_key=Secret(""),
        api_secret=Secret("s3cret"),
        options={},
    )
    try:
        await client.listen(subscribe=subscribe, on_frame=lambda _: False, on_fault=lambda _: None)
    finally:
        await client.close()


def test_a_subscription_that_is_never_answered_is_a_transport_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "_SUBSCRIBE_S", 0.01)

    with pytest.raises(TransportError, match="no answer to the subscription"):
        asyncio.run(_listen(lambda _: asyncio.Event().wait()))


def test_a_connection_lost_while_it_subscribes_says_why_without_a_secret() -> None:
    async def subscribe(exchange: Any) -> None:
        exchange.listener.lose("cut, s3cret and all")
        await asyncio.Event().wait()

    with pytest.raises(TransportError, match=r"Toy: cut, \*\*\* and all"):
        asyncio.run(_listen(subscribe))


def test_an_answer_to_the_subscription_that_nobody_can_read_ends_the_connection() -> None:
    """Another does not come: who waited for it would sit there until the time for an answer is over."""

    async def half(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str('{"id":1,"res')
        await socket.receive()
        return socket

    async def scene() -> None:
        app = web.Application()
        app.router.add_get("/", half)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        try:
            await _listen(lambda exchange: exchange.watch(f"{address}/", "a", {"op": "a"}, "a"))
        finally:
            await runner.cleanup()

    with pytest.raises(TransportError, match="what answers the subscription cannot be read"):
        asyncio.run(scene())


def test_an_amendment_whose_kept_connection_ends_is_not_sent_again() -> None:
    arrived: list[str] = []

    async def hang_up(request: web.Request) -> web.Response:
        arrived.append(f"{request.method} {request.path}")
        if request.method == "PUT":
            assert request.transport is not None
            request.transport.close()
        return web.json_response({"serverTime": 1})

    async def scene() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", hang_up)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        client = Client(
            ccxt.pro.binanceusdm,
            venue="Toy",
            verdicts=_VERDICTS,
            wire_ms=lambda: 1_000,
            api_key=Secret("key"),
            api_secret=Secret("secret"),
            options={},
            endpoints=Endpoints(
                rest=base,
                stream="",
                trading_stream="",
                control="",
                accounts=(),
                clock=SimClock(wire_origin_ns=0, market_origin_ns=0, speed=None),
            ),
        )
        try:
            await client.ask("fapiPublicGetTime", {})
            with pytest.raises(OutcomeUnknownError):
                await client.ask("fapiPrivatePutOrder", {"symbol": "BTCUSDT"}, operation=Operation.PLACE)
        finally:
            await client.close()
            await runner.cleanup()

    asyncio.run(scene())

    assert arrived == ["GET /fapi/v1/time", "PUT /fapi/v1/order"]
