"""What each of Binance's refusals, and each silence, means to the caller."""

import asyncio
import logging
import traceback

import pytest
from aiohttp import web

from btx.bridges.ccxt import Operation
from btx.errors import (
    AuthenticationError,
    BtxError,
    ClockError,
    FilterError,
    InsufficientFundsError,
    MissingSecretError,
    NotSupportedError,
    OrderNotFoundError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    UnknownSymbolError,
    VenueError,
)
from btx_binance.api import api
from btx_binance.spot.broker import SpotBroker
from btx_binance.spot.store import SpotStore
from tests.unit.binance.loopback import KEY, SECRET, ManualClock, answer, connected, endpoints, leg, serve

_ENDPOINTS = {
    Operation.READ: "privateGetOrder",
    Operation.PLACE: "privatePostOrder",
    Operation.CANCEL: "privateDeleteOrder",
}
READ, PLACE, CANCEL = Operation.READ, Operation.PLACE, Operation.CANCEL


async def _failure(handler: object, operation: Operation, clock: ManualClock | None = None) -> BtxError:
    routes = {f"{method} /api/v3/order": handler for method in ("GET", "POST", "DELETE")}
    async with serve(routes) as where, connected(where, clock=clock) as context:  # type: ignore[arg-type]
        with pytest.raises(BtxError) as caught:
            await api(context).client.ask(
                _ENDPOINTS[operation], {"symbol": "BTCUSDT", "orderId": "1"}, operation=operation
            )
    return caught.value


@pytest.mark.parametrize(
    ("operation", "status", "code", "message", "expected"),
    [
        (PLACE, 400, -2010, "Account has insufficient balance for requested action.", InsufficientFundsError),
        (PLACE, 400, -2010, "Duplicate order sent.", OutcomeUnknownError),
        (PLACE, 400, -2010, "Order would immediately match and take.", OrderRejectedError),
        (PLACE, 400, -2010, "Market is closed.", OrderRejectedError),
        (PLACE, 400, -1013, "Filter failure: LOT_SIZE", FilterError),
        (PLACE, 400, -1013, "Filter failure: PRICE_FILTER", FilterError),
        (PLACE, 400, -1013, "Invalid quantity.", FilterError),
        (PLACE, 400, -1111, "Parameter 'quantity' has too much precision.", FilterError),
        (PLACE, 400, -1121, "Invalid symbol.", OrderRejectedError),
        (READ, 400, -1121, "Invalid symbol.", UnknownSymbolError),
        (
            PLACE,
            400,
            -1102,
            "Mandatory parameter 'price' was not sent, was empty/null, or malformed.",
            OrderRejectedError,
        ),
        (READ, 400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.", VenueError),
        (PLACE, 500, -1006, "An unexpected response was received from the message bus.", OutcomeUnknownError),
        (PLACE, 400, -1007, "Timeout waiting for response from backend server.", OutcomeUnknownError),
        (CANCEL, 400, -1007, "Timeout waiting for response from backend server.", OutcomeUnknownError),
        (READ, 400, -1007, "Timeout waiting for response from backend server.", TransportError),
        (PLACE, 400, -1001, "Internal error; unable to process your request. Please try again.", OutcomeUnknownError),
        (PLACE, 503, -1008, "Server is currently overloaded with other requests.", TransportError),
        (PLACE, 429, -1003, "Too much request weight used.", RateLimitedError),
        (PLACE, 429, -1015, "Too many new orders; current limit is 100 orders per 10 SECOND.", RateLimitedError),
        (PLACE, 400, -1016, "This service is no longer available.", TransportError),
        (PLACE, 400, -1020, "This operation is not supported.", NotSupportedError),
        (PLACE, 400, -1010, "Account has insufficient balance for requested action.", InsufficientFundsError),
        (CANCEL, 400, -2011, "Unknown order sent.", OrderNotFoundError),
        (CANCEL, 400, -2011, "Order was not canceled due to cancel restrictions.", OrderRejectedError),
        (READ, 400, -2013, "Order does not exist.", OrderNotFoundError),
        (READ, 400, -1021, "Timestamp for this request is outside of the recvWindow.", ClockError),
        (PLACE, 400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.", ClockError),
        (READ, 400, -1022, "Signature for this request is not valid.", AuthenticationError),
        (READ, 401, -2014, "API-key format invalid.", AuthenticationError),
        (PLACE, 401, -2015, "Invalid API-key, IP, or permissions for action.", AuthenticationError),
    ],
)
def test_a_code_says_whether_to_retry_reconcile_or_call_a_human(
    operation: Operation, status: int, code: int, message: str, expected: type[BtxError]
) -> None:
    error = asyncio.run(_failure(answer({"code": code, "msg": message}, status=status), operation))

    assert type(error) is expected
    assert message in str(error)
    assert str(code) in str(error)


_DONE = {"symbol": "BTCUSDT", "origClientOrderId": "run1-1", "orderId": 9, "status": "CANCELED"}
_GONE = {"code": -2011, "msg": "Unknown order sent."}


@pytest.mark.parametrize(
    ("status", "code", "old", "new", "expected"),
    [
        (409, -2021, _DONE, {"code": -2010, "msg": "Order would immediately match and take."}, OrderRejectedError),
        (
            409,
            -2021,
            _DONE,
            {"code": -2010, "msg": "Account has insufficient balance for requested action."},
            InsufficientFundsError,
        ),
        (409, -2021, _DONE, {"code": -1013, "msg": "Filter failure: NOTIONAL"}, FilterError),
        (409, -2021, _DONE, {"code": -2010, "msg": "Duplicate order sent."}, OutcomeUnknownError),
        (
            409,
            -2021,
            _DONE,
            {"code": -1007, "msg": "Timeout waiting for response from backend server. Send status unknown; "},
            OutcomeUnknownError,
        ),
        (400, -2022, _GONE, None, OrderRejectedError),
        (
            400,
            -2022,
            {"code": -2011, "msg": "Order was not canceled due to cancel restrictions."},
            None,
            OrderRejectedError,
        ),
        (
            400,
            -2022,
            {"code": -1006, "msg": "An unexpected response was received. Execution status unknown."},
            None,
            OutcomeUnknownError,
        ),
    ],
)
def test_a_replacement_that_failed_is_judged_by_its_parts(
    status: int, code: int, old: object, new: object, expected: type[BtxError]
) -> None:
    outcome = "SUCCESS" if old is _DONE else "FAILURE"
    body = {
        "code": code,
        "msg": "Order cancel-replace failed.",
        "data": {
            "cancelResult": outcome,
            "newOrderResult": "FAILURE" if new else "NOT_ATTEMPTED",
            "cancelResponse": old,
            "newOrderResponse": new,
        },
    }

    async def replace() -> BtxError:
        routes = {"POST /api/v3/order/cancelReplace": answer(body, status=status)}
        async with serve(routes) as where, connected(where) as context:
            with pytest.raises(BtxError) as caught:
                await SpotBroker(context).replace(leg=leg(), venue_order_id=None, new=leg())
        return caught.value

    error = asyncio.run(replace())

    assert type(error) is expected
    failed = new or old
    assert isinstance(failed, dict)
    assert failed["msg"] in str(error)


@pytest.mark.parametrize(
    "body", [{}, [], {"orderListId": -1}, {"newOrderResponse": None}, {"newOrderResponse": [1]}, ["taken"]]
)
def test_an_answer_that_does_not_say_what_was_taken_leaves_an_order_unknown(body: object) -> None:
    async def place() -> list[BtxError]:
        errors = []
        async with serve({"* /{path:.*}": answer(body)}) as where, connected(where) as context:
            broker = SpotBroker(context)
            with pytest.raises(NotSupportedError, match="no other price"):
                await broker.amend(leg=leg(), venue_order_id=None, new=leg())
            with pytest.raises(NotSupportedError, match="cancels nothing by itself"):
                await broker.dead_man(instrument=leg().request.instrument, after_s=60.0)
            for request in (broker.place(leg=leg()), broker.replace(leg=leg(), venue_order_id="9", new=leg())):
                with pytest.raises(BtxError) as caught:
                    await request
                errors.append(caught.value)
        return errors

    assert [type(error) for error in asyncio.run(place())] == [OutcomeUnknownError] * 2


@pytest.mark.parametrize(
    ("operation", "status", "expected"),
    [
        (PLACE, 502, OutcomeUnknownError),
        (PLACE, 504, OutcomeUnknownError),
        (PLACE, 408, OutcomeUnknownError),
        (READ, 503, TransportError),
        (PLACE, 418, RateLimitedError),
        (READ, 403, RateLimitedError),
        (READ, 451, AuthenticationError),
        (PLACE, 404, OrderRejectedError),
    ],
)
def test_a_status_without_a_code_is_judged_by_itself(
    operation: Operation, status: int, expected: type[BtxError]
) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>a gateway speaks</html>")

    assert type(asyncio.run(_failure(page, operation))) is expected


@pytest.mark.parametrize(
    ("headers", "message", "expected"),
    [
        ({"Retry-After": "7"}, "Too much request weight used.", 7.0),
        ({}, "Way too much request weight used; IP banned until 1700000030123. Please use", 30.0),
        ({}, "Too much request weight used.", 60.0),
    ],
)
def test_a_limit_says_for_how_long(headers: dict[str, str], message: str, expected: float) -> None:
    handler = answer({"code": -1003, "msg": message}, status=429, headers=headers)

    error = asyncio.run(_failure(handler, PLACE, ManualClock(wire=1_700_000_000_123_000_000)))

    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == expected


@pytest.mark.parametrize(("operation", "expected"), [(PLACE, OutcomeUnknownError), (READ, TransportError)])
def test_a_connection_cut_after_sending_leaves_an_order_unknown(operation: Operation, expected: type[BtxError]) -> None:
    async def cut(request: web.Request) -> web.Response:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    assert type(asyncio.run(_failure(cut, operation))) is expected


def test_an_answer_cut_in_the_middle_leaves_an_order_unknown() -> None:
    async def truncate(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b'{"orderId":')
        assert request.transport is not None
        request.transport.abort()
        return response

    assert type(asyncio.run(_failure(truncate, PLACE))) is OutcomeUnknownError


def test_an_answer_that_is_no_json_leaves_an_order_unknown() -> None:
    async def garble(_: web.Request) -> web.Response:
        return web.Response(text='{"orderId": 1', content_type="application/json")

    assert type(asyncio.run(_failure(garble, PLACE))) is OutcomeUnknownError


def test_an_order_that_never_left_may_be_sent_again() -> None:
    async def refused() -> BtxError:
        async with serve({}) as where:
            gone = where
        async with connected(gone) as context:
            with pytest.raises(TransportError) as caught:
                await SpotBroker(context).place(leg=leg())
        return caught.value

    assert type(asyncio.run(refused())) is TransportError


def test_a_missing_key_is_one_sentence_before_anything_is_sent() -> None:
    async def ask() -> str:
        async with connected(endpoints(9), key="", secret="") as context:
            with pytest.raises(MissingSecretError) as caught:
                await SpotStore(context).account()
        return str(caught.value)

    assert "needs an API key and secret" in asyncio.run(ask())


def test_no_secret_and_no_signature_is_in_an_error_its_traceback_or_a_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[str] = []

    async def repeat(request: web.Request) -> web.Response:
        text = request.query_string or await request.text()
        seen.append(text)
        return web.json_response({"code": -1102, "msg": f"malformed: {text} {KEY} {SECRET}"}, status=400)

    async def cut(request: web.Request) -> web.Response:
        seen.append(request.query_string or await request.text())
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    caplog.set_level(logging.DEBUG)
    for handler in (repeat, cut):
        for operation in Operation:
            error = asyncio.run(_failure(handler, operation))
            text = "".join(traceback.format_exception(error)) + repr(error) + str(error) + caplog.text
            assert error.__context__ is None
            assert SECRET not in text
            assert KEY not in text
            assert "signature=" in seen[-1]
            assert seen[-1].split("signature=")[1] not in text
