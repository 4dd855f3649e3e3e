"""The way in: signatures, receive windows, meters, and what is not there."""

import asyncio
import json
from typing import Any

import pytest

from btx.model.time import NS_PER_S
from btx.sim.faults import Where
from btx_bybit.sim.calls import CALLS
from btx_bybit.sim.errors import Trouble, operation_of
from btx_bybit.sim.limits import ADDRESS_REQUESTS, Meters
from btx_bybit.sim.rest import check_time
from btx_bybit.sim.wire import WireError
from tests.unit.bybit_sim.served import Client, served, sign

PATH = "/v5/account/info"


def headers(
    client: Client, *, key: str = "alice", secret: str = "alice's secret", age_ms: int = 0, window: str = "5000"
) -> dict[str, str]:
    stamp = str(client.clock.now_ns // 10**6 - age_ms)
    return {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": stamp,
        "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": sign(secret, f"{stamp}{key}{window}"),
    }


def asked(terms: dict[str, Any]) -> Any:
    async def main() -> Any:
        async with (
            served() as client,
            client.http.get(f"{client.endpoints.rest}{PATH}", headers=headers(client, **terms)) as response,
        ):
            return (await response.json())["retCode"]

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({}, 0),
        ({"age_ms": 5000}, 0),
        ({"age_ms": 5001}, 10002),
        ({"age_ms": -999}, 0),
        ({"age_ms": -1000}, 10002),
        ({"age_ms": 59_000, "window": "60000"}, 0),
        ({"window": "much"}, 10002),
        ({"key": "nobody"}, 10003),
        ({"secret": "another"}, 10004),
    ],
)
def test_a_request_is_signed_and_in_time(terms: dict[str, Any], code: int) -> None:
    assert asked(terms) == code


def test_without_a_window_it_is_five_seconds() -> None:
    check_time("10000", "5000", 15_000)
    with pytest.raises(WireError) as late:
        check_time("9999", "5000", 15_000)

    assert late.value.code == 10002


def test_a_signature_is_over_exactly_what_was_sent() -> None:
    async def main() -> Any:
        async with served() as client:
            body = json.dumps({"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "5", "sellLeverage": "5"})
            stamp = str(client.clock.now_ns // 10**6)
            found = []
            for signed, sent in ((body, body), (body, body.replace(" ", "")), ("", ""), ("{", "{"), ("[]", "[]")):
                signature = sign("alice's secret", f"{stamp}alice{signed}")
                head = {"X-BAPI-API-KEY": "alice", "X-BAPI-TIMESTAMP": stamp, "X-BAPI-SIGN": signature}
                url = f"{client.endpoints.rest}/v5/position/set-leverage"
                async with client.http.post(url, headers=head, data=sent) as response:
                    found.append((await response.json())["retCode"])
            return found

    assert asyncio.run(main()) == [0, 10004, 10001, 10001, 10001]


def test_what_is_not_served_is_said() -> None:
    async def main() -> Any:
        async with served() as client, client.http.get(f"{client.endpoints.rest}/v5/spread/instrument") as response:
            return response.status, (await response.json())["retCode"]

    assert asyncio.run(main()) == (404, 10017)


def test_an_account_may_ask_so_often_in_a_second_and_is_told_what_is_left() -> None:
    async def main() -> Any:
        async with served() as client:
            url = f"{client.endpoints.rest}/v5/user/query-api"

            async def ask() -> Any:
                async with client.http.get(url, headers=headers(client)) as response:
                    names = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")
                    return (await response.json())["retCode"], *(response.headers[name] for name in names)

            told = [await ask() for _ in range(11)]
            client.clock.pass_s(1)
            return told, await ask(), client.clock.now_ns // 10**6

    told, after, now_ms = asyncio.run(main())

    assert [each[0] for each in told] == [0] * 10 + [10006]
    assert [each[1:3] for each in (told[0], told[9], told[10])] == [("10", "9"), ("10", "0"), ("10", "0")]
    assert told[10][3] == str(now_ms)
    assert after == (0, "10", "9", str(now_ms))


def test_batches_count_each_of_their_orders() -> None:
    async def main() -> Any:
        async with served() as client:
            gone = [{"symbol": "BTCUSDT", "orderLinkId": "none"}] * 6
            path = "/v5/order/cancel-batch"
            return [(await client.signed("POST", path, category="linear", request=gone))["retCode"] for _ in range(2)]

    assert asyncio.run(main()) == [0, 10006]


def test_a_clock_that_is_set_back_keeps_nobody_from_asking_until_it_is_as_late_again() -> None:
    meters = Meters()
    for _ in range(10):
        meters.take("alice", "/v5/order/create", 10, 1, 40 * NS_PER_S)
    meters.address("here", 40 * NS_PER_S)

    meters.take("alice", "/v5/order/create", 10, 1, 0)
    for _ in range(ADDRESS_REQUESTS):
        meters.address("here", 0)

    with pytest.raises(WireError) as refused:
        meters.take("alice", "/v5/order/create", 10, 10, 0)
    assert refused.value.headers["X-Bapi-Limit-Reset-Timestamp"] == "1000"


def test_an_address_that_asks_too_often_is_shut_out_for_ten_minutes() -> None:
    meters = Meters()
    for _ in range(ADDRESS_REQUESTS):
        meters.address("here", 0)
    with pytest.raises(WireError) as first:
        meters.address("here", 1)
    with pytest.raises(WireError):
        meters.address("here", 599 * NS_PER_S)

    meters.address("elsewhere", 1)
    meters.address("here", 601 * NS_PER_S)

    assert first.value.status == 403


def test_an_address_that_is_shut_out_may_ask_again_when_the_clock_is_set_back() -> None:
    meters = Meters()
    for _ in range(ADDRESS_REQUESTS):
        meters.address("here", 3600 * NS_PER_S)
    with pytest.raises(WireError):
        meters.address("here", 3600 * NS_PER_S)

    for _ in range(ADDRESS_REQUESTS):
        meters.address("here", 0)

    with pytest.raises(WireError):
        meters.address("here", 0)


def test_an_address_that_is_shut_out_gets_a_status_and_no_code() -> None:
    async def main() -> Any:
        async with served() as client:
            for _ in range(ADDRESS_REQUESTS + 1):
                async with client.http.get(f"{client.endpoints.rest}/v5/market/time") as response:
                    text = await response.text()
            return response.status, text

    assert asyncio.run(main()) == (403, "access too frequent")


def test_failures_are_said_in_the_venues_words() -> None:
    trouble = Trouble(meters=Meters())

    assert trouble.key_expired().code == 33004
    assert {trouble.not_done(form).code for form in range(3)} == {10016, 10000, 429}
    assert {trouble.unknown(form).status for form in range(3)} == {200, 500}


def test_every_operation_has_its_class() -> None:
    classes = {call.rest[1]: operation_of(*call.rest) for call in CALLS}

    assert classes["/v5/market/kline"] is Where.MARKET
    assert classes["/v5/order/create-batch"] is Where.PLACE
    assert classes["/v5/order/cancel-all"] is Where.CANCEL
    assert classes["/v5/execution/list"] is Where.QUERY
    assert classes["/v5/position/trading-stop"] is Where.PLACE  # it makes orders
    assert classes["/v5/position/set-leverage"] is Where.ACCOUNT
    assert classes["/v5/order/disconnected-cancel-all"] is Where.ACCOUNT
