import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from btx.sim.faults import Fault, FaultScript, Kind, Where, script_to_json
from tests.unit.bybit_sim.served import Client, served
from tests.unit.bybit_sim.test_private import far_below


def run(act: Callable[[Client], Awaitable[Any]], market: str = "linear", **terms: Any) -> Any:
    async def main() -> Any:
        async with served(market, **terms) as client:
            return await act(client)

    return asyncio.run(main())


def asked(client: Client, operation: str = "order.create", **changes: Any) -> dict[str, Any]:
    """A request for a limit order far below the market, or what ``changes`` make of it."""
    order = {
        "category": "linear",
        "symbol": "BTCUSDT",
        "side": "Buy",
        "orderType": "Limit",
        "qty": "0.01",
        "price": str(far_below(client)),
    }
    sent = {"op": operation, "header": client.header(), "args": [order]}
    return {**sent, **changes}


def test_an_order_is_made_changed_and_ended_over_the_socket() -> None:
    async def act(client: Client) -> Any:
        async with client.trade() as socket, client.account("order") as account:
            made = await socket.ask(**asked(client, reqId="one"))
            named = {"category": "linear", "symbol": "BTCUSDT", "orderId": made["data"]["orderId"]}
            changed = await socket.ask(**asked(client, "order.amend", args=[{**named, "qty": "0.02"}]))
            ended = await socket.ask(**asked(client, "order.cancel", args=[named]))
            told = [(await account.hear())["data"][0] for _ in range(3)]
            return made, changed, ended, told

    made, changed, ended, told = run(act)

    assert [made.pop("reqId"), "reqId" in changed] == ["one", False]
    assert list(made) == ["retCode", "retMsg", "op", "data", "retExtInfo", "header", "connId"]
    assert made["header"].keys() == {
        "X-Bapi-Limit",
        "X-Bapi-Limit-Status",
        "X-Bapi-Limit-Reset-Timestamp",
        "Traceid",
        "Timenow",
    }
    assert int(made["header"]["X-Bapi-Limit-Status"]) == int(made["header"]["X-Bapi-Limit"]) - 1
    assert [(each["retCode"], each["retMsg"], each["op"]) for each in (made, changed, ended)] == [
        (0, "OK", "order.create"),
        (0, "OK", "order.amend"),
        (0, "OK", "order.cancel"),
    ]
    assert {row["orderId"] for row in told} == {made["data"]["orderId"]}
    assert [(row["orderStatus"], row["qty"]) for row in told] == [
        ("New", "0.010"),
        ("New", "0.020"),
        ("Cancelled", "0.020"),
    ]


def test_several_orders_come_in_one_request_each_with_its_own_answer() -> None:
    async def act(client: Client) -> Any:
        [order] = asked(client)["args"]
        del order["category"]
        args = [{"category": "linear", "request": [order, {**order, "qty": "0"}]}]
        async with client.trade() as socket:
            return await socket.ask(**asked(client, "order.create-batch", args=args))

    answer = run(act)

    assert answer["retCode"] == 0
    assert [bool(each["orderId"]) for each in answer["data"]["list"]] == [True, False]
    first, second = answer["retExtInfo"]["list"]
    assert first == {"code": 0, "msg": "OK"}
    assert second["code"] != 0


def test_a_ping_is_answered_in_the_socket_s_own_form() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/trade?max_active_time=30s") as socket:
            return await socket.ask(op="ping"), client.clock.now_ns

    pong, now_ns = run(act)

    assert pong.pop("connId").startswith("btxsim")
    assert pong == {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(now_ns // 10**6)]}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"op": "order.make"}, 10404),
        ({"args": [{"category": "option"}]}, 10404),
        ({"args": []}, 10001),
        ({"header": {}}, 10001),
        ({"header": {"X-BAPI-TIMESTAMP": "1"}}, 10002),
        ({"reqId": "x" * 37}, 10001),
        ({"args": [{"category": "linear", "symbol": "BTCUSDT"}]}, 10001),
    ],
    ids=["operation", "category", "nothing", "no-time", "late", "long-id", "half"],
)
def test_a_request_that_cannot_be_done_is_answered_with_its_code(changes: dict[str, Any], code: int) -> None:
    async def act(client: Client) -> Any:
        async with client.trade() as socket:
            return await socket.ask(**{**asked(client), **changes}), client.world.margin.all_orders(api_key="alice")

    answer, orders = run(act)

    assert (answer["retCode"], answer["data"], len(orders)) == (code, {}, 0)


def test_who_has_not_said_who_he_is_makes_no_orders_and_says_so_once() -> None:
    async def act(client: Client) -> Any:
        async with client.socket("/v5/trade") as socket:
            early = await socket.ask(**asked(client))
            wrong = await socket.ask(op="auth", args=["alice", client.proof()[1], "00"])
            right = await socket.ask(op="auth", args=client.proof(), reqId="me")
            again = await socket.ask(op="auth", args=client.proof())
            one = await socket.ask(**asked(client, reqId="same"))
            two = await socket.ask(**asked(client, reqId="same"))
            await socket.wire.send_str("{")
            return early, wrong, right, again, one, two, await socket.hear()

    answers = run(act)

    assert [answer["retCode"] for answer in answers] == [10007, 10004, 0, 20001, 0, 20006, 10001]
    assert json.loads(json.dumps(answers[2])) == {
        "reqId": "me",
        "retCode": 0,
        "retMsg": "OK",
        "op": "auth",
        "connId": answers[2]["connId"],
    }


@pytest.mark.parametrize(
    ("kind", "code", "is_made"),
    [(Kind.ERROR_BEFORE, 10016, False), (Kind.ERROR_AFTER, 10000, True), (Kind.BAN, 10403, False)],
    ids=lambda value: getattr(value, "value", None),
)
def test_what_fails_at_the_venue_is_told_in_the_socket_s_own_codes(kind: Kind, code: int, is_made: bool) -> None:
    faults = script_to_json(FaultScript(faults=(Fault(kind=kind, where=Where.PLACE),)))

    async def act(client: Client) -> Any:
        async with client.trade() as socket:
            return await socket.ask(**asked(client)), client.world.margin.all_orders(api_key="alice")

    answer, orders = run(act, faults=faults)

    assert (answer["retCode"], bool(orders)) == (code, is_made)


@pytest.mark.parametrize("kind", [Kind.DROP, Kind.LOSE], ids=lambda kind: kind.value)
def test_an_answer_may_be_lost_with_its_socket(kind: Kind) -> None:
    faults = script_to_json(FaultScript(faults=(Fault(kind=kind, where=Where.PLACE),)))

    async def act(client: Client) -> Any:
        async with client.trade() as socket:
            await socket.say(**asked(client))
            end = (await socket.wire.receive(timeout=60)).type
            return end, client.world.margin.all_orders(api_key="alice")

    end, orders = run(act, faults=faults)

    assert end in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert len(orders) == (kind is Kind.LOSE)
