"""Order lists, replacements and amendments on the wire: shapes, codes, counts and what the account hears."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.binance_sim.served import served
from tests.unit.binance_sim.test_ws_api import talk

OCO = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.5",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "150000",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "90000",
    "belowPrice": "89000",
    "belowTimeInForce": "GTC",
}
BUY = {
    **OCO,
    "side": "BUY",
    "aboveType": "STOP_LOSS",
    "abovePrice": None,
    "aboveStopPrice": "150000",
    "belowType": "LIMIT_MAKER",
    "belowStopPrice": None,
    "belowTimeInForce": None,
}
OLD_OCO = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.5",
    "price": "150000",
    "stopPrice": "90000",
    "stopLimitPrice": "89000",
    "stopLimitTimeInForce": "GTC",
}
OTO = {
    "symbol": "BTCUSDT",
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "90000",
    "workingQuantity": "0.1",
    "workingTimeInForce": "GTC",
    "pendingType": "MARKET",
    "pendingSide": "SELL",
    "pendingQuantity": "0.1",
}
OTOCO = {
    **{name: value for name, value in OTO.items() if name != "pendingType"},
    "pendingAboveType": "TAKE_PROFIT",
    "pendingAboveStopPrice": "150000",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "80000",
}
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "90000"}
REPLACE = {**LIMIT, "price": "91000", "cancelReplaceMode": "STOP_ON_FAILURE"}
LISTS, REPLACEMENTS = "/api/v3/orderList", "/api/v3/order/cancelReplace"
REFUSED = [
    (f"{LISTS}/oco", {**OCO, "belowType": "LIMIT"}, -1158, "Order type not supported in OCO."),
    (f"{LISTS}/oco", {**OCO, "quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent"),
    (f"{LISTS}/oco", {**OCO, "belowTimeInForce": None}, -1102, "Mandatory parameter 'belowTimeInForce' was not sent"),
    (f"{LISTS}/oco", {**OCO, "abovePrice": None}, -1102, "Mandatory parameter 'abovePrice' was not sent"),
    (f"{LISTS}/oco", {**OCO, "belowStopPrice": None}, -1102, "Param 'belowStopPrice' or 'belowTrailingDelta' must be"),
    (f"{LISTS}/oco", {**OCO, "aboveStopPrice": "1"}, -1106, "Parameter 'aboveStopPrice' sent when not required."),
    (f"{LISTS}/oco", {**OCO, "aboveTimeInForce": "GTC"}, -1114, "TimeInForce parameter sent when not required."),
    (
        f"{LISTS}/oco",
        {**OCO, "belowIcebergQty": "0.1", "belowTimeInForce": "IOC"},
        -1160,
        "Parameter 'belowIcebergQty' is not supported if 'belowTimeInForce' is not GTC.",
    ),
    (f"{LISTS}/oco", {**OCO, "side": "BUY"}, -1165, "A limit order in a buy OCO must be below."),
    (f"{LISTS}/oco", {**BUY, "side": "SELL"}, -1197, "A stop loss order in a sell OCO must be below."),
    (
        f"{LISTS}/oco",
        {**OCO, "belowType": "LIMIT_MAKER", "belowStopPrice": None, "belowTimeInForce": None},
        -1168,
        "At least one OCO order must be contingent.",
    ),
    (f"{LISTS}/oco", {**BUY, "belowType": "STOP_LOSS"}, -1196, "A stop loss order in a buy OCO must be above."),
    (f"{LISTS}/oco", {**BUY, "aboveType": "TAKE_PROFIT"}, -1198, "A take profit order in a buy OCO must be below."),
    (f"{LISTS}/oco", {**OCO, "belowType": "TAKE_PROFIT"}, -1199, "A take profit order in a sell OCO must be above."),
    (
        f"{LISTS}/oco",
        {**OCO, "aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"},
        -1166,
        "A limit order in a sell OCO must be above.",
    ),
    (f"{LISTS}/oco", {**OCO, "belowStopPrice": "140000"}, -2010, "The relationship of the prices"),
    (f"{LISTS}/oco", {**OCO, "quantity": "2"}, -2010, "Account has insufficient balance"),
    (f"{LISTS}/oco", {**OCO, "abovePrice": "150000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    (f"{LISTS}/oco", {**OCO, "abovePegPriceType": "PRIMARY_PEG"}, -1104, "Not all sent parameters were read"),
    ("/api/v3/order/oco", {**OLD_OCO, "stopLimitTimeInForce": None}, -1102, "'stopLimitTimeInForce' was not sent"),
    (f"{LISTS}/oto", {**OTO, "workingType": "MARKET"}, -1116, "Invalid orderType."),
    (f"{LISTS}/oto", {**OTO, "workingTimeInForce": None}, -1102, "'workingTimeInForce' was not sent"),
    (f"{LISTS}/oto", {**OTO, "pendingPrice": "1"}, -1106, "Parameter 'pendingPrice' sent when not required."),
    (f"{LISTS}/otoco", {**OTOCO, "pendingBelowStopPrice": None}, -1102, "'pendingBelowStopPrice' or"),
    (REPLACEMENTS, {**REPLACE, "cancelReplaceMode": "MAYBE"}, -1130, "Data sent for parameter 'cancelReplaceMode'"),
    (REPLACEMENTS, REPLACE, -1102, "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent"),
    (REPLACEMENTS, {**REPLACE, "cancelOrderId": 1, "price": "90000.001"}, -1013, "Filter failure: PRICE_FILTER"),
]


def sent(params: dict[str, Any]) -> Any:
    return {name: value for name, value in params.items() if value is not None}


def test_every_wrong_list_is_refused_with_the_documented_code_and_words() -> None:
    async def main() -> Any:
        async with served() as client:
            answers = [await client.signed("POST", path, **sent(params)) for path, params, _, _ in REFUSED]
            return answers, (await client.signed("GET", "/api/v3/openOrders"))[1]

    answers, left = asyncio.run(main())

    for (path, params, code, message), (status, body, _) in zip(REFUSED, answers, strict=True):
        assert (status, body.get("code")) == (400, code), (path, params, body)
        assert message in body["msg"], (path, params, body)
    assert left == []


def test_a_pair_is_placed_listed_queried_and_cancelled_as_documented() -> None:
    async def main() -> Any:
        async with served() as client:
            status, placed, headers = await client.signed("POST", f"{LISTS}/oco", **OCO, listClientOrderId="pair")
            again = (await client.signed("POST", f"{LISTS}/oco", **OCO, listClientOrderId="pair"))[1]
            listed = (await client.signed("GET", "/api/v3/openOrderList"))[1]
            found = (await client.signed("GET", LISTS, origClientOrderId="pair"))[1]
            orders = (await client.signed("GET", "/api/v3/openOrders", symbol="BTCUSDT"))[1]
            money = (await client.signed("GET", "/api/v3/account"))[1]["balances"]
            gone = (
                await client.signed(
                    "DELETE", LISTS, symbol="BTCUSDT", orderListId=placed["orderListId"], newClientOrderId="bye"
                )
            )[1]
            late = await client.signed("DELETE", LISTS, symbol="BTCUSDT", orderListId=placed["orderListId"])
            everything = (await client.signed("GET", "/api/v3/allOrderList"))[1]
            return status, placed, headers, again, listed, found, orders, money, gone, late, everything

    status, placed, headers, again, listed, found, orders, money, gone, late, everything = asyncio.run(main())

    stop, limit = placed["orderReports"]
    assert status == 200
    assert list(placed) == [
        "orderListId",
        "contingencyType",
        "listStatusType",
        "listOrderStatus",
        "listClientOrderId",
        "transactionTime",
        "symbol",
        "orders",
        "orderReports",
    ]
    assert [placed[name] for name in list(placed)[1:5]] == ["OCO", "EXEC_STARTED", "EXECUTING", "pair"]
    assert [(order["type"], order["workingTime"] > 0) for order in (stop, limit)] == [
        ("STOP_LOSS_LIMIT", False),
        ("LIMIT_MAKER", True),
    ]
    assert headers["X-MBX-ORDER-COUNT-10S"] == "2"
    assert again["code"] == -2010
    assert listed == [found] == [{name: placed[name] for name in list(placed)[:-1]}]
    assert {order["orderListId"] for order in orders} == {placed["orderListId"]}
    assert {"asset": "BTC", "free": "0.50000000", "locked": "0.50000000"} in money
    assert [gone["listStatusType"], gone["listOrderStatus"]] == ["ALL_DONE", "ALL_DONE"]
    assert [(one["status"], one["clientOrderId"]) for one in gone["orderReports"]] == [("CANCELED", "bye")] * 2
    assert gone["orderReports"][0]["origClientOrderId"] == stop["clientOrderId"]
    assert late[:2] == (400, {"code": -2011, "msg": "Unknown order sent."})
    assert [one["listStatusType"] for one in everything] == ["ALL_DONE"]


def test_a_buy_pair_and_the_deprecated_form_are_pairs_too() -> None:
    async def main() -> Any:
        async with served() as client:
            buy = (await client.signed("POST", f"{LISTS}/oco", **sent(BUY), newOrderRespType="ACK"))[1]
            old = (
                await client.signed("POST", "/api/v3/order/oco", **OLD_OCO, limitIcebergQty="0.1", trailingDelta=100)
            )[1]
            gone = (await client.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT"))[1]
            return buy, old, gone

    buy, old, gone = asyncio.run(main())

    assert "status" not in buy["orderReports"][0]
    stop, limit = old["orderReports"]
    assert (stop["type"], stop["trailingDelta"], stop["trailingTime"]) == ("STOP_LOSS_LIMIT", 100, -1)
    assert (limit["type"], limit["icebergQty"]) == ("LIMIT_MAKER", "0.10000000")
    assert [one["orderListId"] for one in gone] == [buy["orderListId"], old["orderListId"]]
    assert all(len(one["orderReports"]) == 2 for one in gone)


def test_cancelling_one_order_of_a_list_answers_with_the_list() -> None:
    async def main() -> Any:
        async with served() as client:
            placed = (await client.signed("POST", f"{LISTS}/otoco", **OTOCO))[1]
            single = (await client.signed("POST", "/api/v3/order", **LIMIT))[1]
            leg = placed["orders"][1]["orderId"]
            status, gone, _ = await client.signed("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=leg)
            rest = (await client.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT"))[1]
            return placed, status, gone, rest, single

    placed, status, gone, rest, single = asyncio.run(main())

    assert (placed["contingencyType"], status) == ("OTO", 200)
    assert [one["status"] for one in placed["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert [one["status"] for one in gone["orderReports"]] == ["CANCELED"] * 3
    assert [one["orderId"] for one in rest] == [single["orderId"]]


def test_lists_are_paged_by_id_or_by_time_but_not_by_both() -> None:
    async def main() -> Any:
        async with served() as client:
            for _ in range(3):
                await client.signed("POST", f"{LISTS}/oco", **{**OCO, "quantity": "0.1"})
            pages = ({"fromId": 2}, {"limit": 1}, {"startTime": 0, "limit": 1}, {"endTime": 1})
            shown = [(await client.signed("GET", "/api/v3/allOrderList", **page))[1] for page in pages]
            ids = [[one["orderListId"] for one in page] for page in shown]
            wrong = [
                (await client.signed("GET", path, **params))[1]["code"]
                for path, params in (
                    ("/api/v3/allOrderList", {"fromId": 1, "startTime": 1}),
                    ("/api/v3/allOrderList", {"startTime": 1, "endTime": 90_000_000}),
                    (LISTS, {}),
                    (LISTS, {"orderListId": 99}),
                )
            ]
            return ids, wrong

    ids, wrong = asyncio.run(main())

    assert ids == [[2, 3], [3], [1], []]
    assert wrong == [-1128, -1127, -1102, -2013]


# --- replacing and amending ------------------------------------------------------------------------------


def test_a_replacement_succeeds_fails_in_half_or_fails_as_documented() -> None:
    async def main() -> Any:
        async with served() as client:

            async def replace(**params: Any) -> Any:
                return (await client.signed("POST", REPLACEMENTS, **{**REPLACE, **params}))[:2]

            first = (await client.signed("POST", "/api/v3/order", **LIMIT, newClientOrderId="first"))[1]
            good = await replace(cancelOrigClientOrderId="first", cancelNewClientOrderId="bye")
            stopped = await replace(cancelOrderId=first["orderId"])
            allowed = await replace(cancelOrderId=first["orderId"], cancelReplaceMode="ALLOW_FAILURE")
            new_id = good[1]["newOrderResponse"]["orderId"]
            restricted = await replace(cancelOrderId=new_id, cancelRestrictions="ONLY_PARTIALLY_FILLED")
            taken = await replace(cancelOrderId=new_id, type="LIMIT", price="150000", quantity="5")
            both = await replace(cancelOrderId=new_id, quantity="5", cancelReplaceMode="ALLOW_FAILURE")
            return good, stopped, allowed, restricted, taken, both

    good, stopped, allowed, restricted, taken, both = asyncio.run(main())

    assert (good[0], good[1]["cancelResult"], good[1]["newOrderResult"]) == (200, "SUCCESS", "SUCCESS")
    assert good[1]["cancelResponse"]["clientOrderId"] == "bye"
    assert good[1]["newOrderResponse"]["fills"] == []
    assert stopped == (
        400,
        {
            "code": -2022,
            "msg": "Order cancel-replace failed.",
            "data": {
                "cancelResult": "FAILURE",
                "newOrderResult": "NOT_ATTEMPTED",
                "cancelResponse": {"code": -2011, "msg": "Unknown order sent."},
                "newOrderResponse": None,
            },
        },
    )
    assert (allowed[0], allowed[1]["code"], allowed[1]["data"]["newOrderResult"]) == (409, -2021, "SUCCESS")
    assert restricted[1]["data"]["cancelResponse"]["msg"] == "Order was not canceled due to cancel restrictions."
    assert (taken[0], taken[1]["code"], taken[1]["data"]["cancelResult"]) == (409, -2021, "SUCCESS")
    assert taken[1]["data"]["newOrderResponse"]["code"] == -2010
    assert (both[0], both[1]["data"]["newOrderResult"]) == (400, "FAILURE")


@pytest.mark.parametrize(("mode", "code"), [("DO_NOTHING", -1015), ("CANCEL_ONLY", -2021)])
def test_beyond_the_order_limit_a_replacement_does_nothing_or_only_cancels(mode: str, code: int) -> None:
    async def main() -> Any:
        async with served() as client:
            orders = [(await client.signed("POST", "/api/v3/order", **{**LIMIT, "quantity": "0.001"}))[1]]
            for _ in range(49):
                placed = await client.signed("POST", f"{LISTS}/oto", **{**OTO, "workingTimeInForce": "FOK"})
                assert placed[0] == 200
            orders.append((await client.signed("POST", "/api/v3/order", **{**LIMIT, "quantity": "0.001"}))[1])
            params = {**REPLACE, "orderRateLimitExceededMode": mode}
            first = await client.signed("POST", REPLACEMENTS, **params, cancelOrderId=orders[0]["orderId"])
            again = await client.signed("POST", REPLACEMENTS, **params, cancelOrderId=orders[0]["orderId"])
            return first, again, (await client.signed("GET", "/api/v3/openOrders"))[1]

    first, again, left = asyncio.run(main())

    assert (first[0], first[1]["code"]) == (429 if mode == "DO_NOTHING" else 409, code)
    assert again[1]["code"] == (-1015 if mode == "DO_NOTHING" else -2022)
    assert len(left) == (2 if mode == "DO_NOTHING" else 1)


def test_an_order_is_amended_in_place_and_its_amendments_are_listed() -> None:
    async def main() -> Any:
        async with served() as client:
            path = "/api/v3/order/amend/keepPriority"
            order = (await client.signed("POST", "/api/v3/order", **LIMIT, newClientOrderId="old"))[1]
            which = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
            good = await client.signed("PUT", path, **which, newQty="0.05", newClientOrderId="new")
            wrong = [
                (await client.signed("PUT", path, **which, newQty=quantity))[1]
                for quantity in ("0.06", "0.05", "0", "0.00001")
            ]
            unknown = (await client.signed("PUT", path, symbol="BTCUSDT", orderId=99, newQty="1"))[1]
            rows = (await client.signed("GET", "/api/v3/order/amendments", **which))[1]
            later = (await client.signed("GET", "/api/v3/order/amendments", **which, fromExecutionId=999))[1]
            return good, wrong, unknown, rows, later

    good, wrong, unknown, rows, later = asyncio.run(main())

    amended = good[1]["amendedOrder"]
    assert good[0] == 200
    assert [amended[name] for name in ("origClientOrderId", "clientOrderId", "qty")] == ["old", "new", "0.05000000"]
    assert "listStatus" not in good[1]
    assert [row["code"] for row in wrong] == [-2038, -2038, -1013, -1013]
    assert "quantity increase" in wrong[0]["msg"]
    assert unknown == {"code": -2038, "msg": "Unknown order sent."}
    assert [(row["executionId"], row["newQty"]) for row in rows] == [(good[1]["executionId"], "0.05000000")]
    assert later == []


# --- what the account hears ------------------------------------------------------------------------------


def test_the_account_hears_of_a_list_when_it_is_placed_and_when_it_is_done() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        placed = (await api.signed("orderList.place.oco", **OCO))["result"]
        leg = placed["orders"][0]["orderId"]
        await api.signed("order.cancel", symbol="BTCUSDT", orderId=leg, newClientOrderId="bye")
        await api.until(lambda event: event["event"].get("L") == "ALL_DONE")
        return placed, [event["event"] for event in api.events]

    placed, events = talk(main)

    told = [
        (event["e"], event.get("x") or event.get("l")) for event in events if event["e"] != "outboundAccountPosition"
    ]
    assert told == [
        ("executionReport", "NEW"),
        ("executionReport", "NEW"),
        ("listStatus", "EXEC_STARTED"),
        ("executionReport", "CANCELED"),
        ("executionReport", "CANCELED"),
        ("listStatus", "ALL_DONE"),
    ]
    reports = [event for event in events if event["e"] == "executionReport"]
    assert {report["g"] for report in reports} == {placed["orderListId"]}
    assert [report["c"] for report in reports[2:]] == ["bye", "bye"]
    assert [report["C"] for report in reports[2:]] == [one["clientOrderId"] for one in placed["orders"]]
    news = next(event for event in events if event["e"] == "listStatus")
    assert list(news) == ["e", "E", "s", "g", "c", "l", "L", "r", "C", "T", "O"]
    assert (news["c"], news["r"], news["C"]) == ("OCO", "NONE", placed["listClientOrderId"])
    assert news["O"] == [{"s": "BTCUSDT", "i": one["orderId"], "c": one["clientOrderId"]} for one in placed["orders"]]


async def play(api: Any, *, until_sequence: int) -> None:
    """Let the market run until so much has happened to the account."""
    async with api.client.control() as do:
        while (await do("sync", api_key="alice"))["sequence"] < until_sequence:
            await do("advance", api_key="alice")


def test_a_stop_leg_that_triggers_expires_the_other_and_ends_the_list() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        price = await api.client.price()
        near = {"belowType": "STOP_LOSS", "belowStopPrice": str(price - Decimal("0.01")), "abovePrice": "300000"}
        asked = {**OCO, "quantity": "0.01", **near}
        del asked["belowPrice"], asked["belowTimeInForce"]
        await api.signed("orderList.place.oco", **asked)
        await play(api, until_sequence=5)
        await api.until(lambda event: event["event"].get("L") == "ALL_DONE")
        return [event["event"] for event in api.events]

    events = [event for event in talk(main) if event["e"] != "outboundAccountPosition"][3:]

    assert [(event["e"], event.get("o"), event.get("x"), event.get("X")) for event in events[:3]] == [
        ("executionReport", "LIMIT_MAKER", "EXPIRED", "EXPIRED"),
        ("executionReport", "STOP_LOSS", "NEW", "NEW"),
        ("executionReport", "STOP_LOSS", "TRADE", events[2]["X"]),
    ]
    assert (events[-1]["e"], events[-1]["l"]) == ("listStatus", "ALL_DONE")


def test_pending_orders_are_told_as_pending_and_placed_when_the_working_one_is_filled() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        price = str(await api.client.price() + 1000)
        params = {**OTOCO, "workingPrice": price, "workingQuantity": "0.01", "pendingQuantity": "0.01"}
        placed = (await api.signed("orderList.place.otoco", **params))["result"]
        listed = (await api.signed("openOrderLists.status"))["result"]
        found = await api.signed("orderList.status", orderListId=placed["orderListId"])
        gone = await api.signed("orderList.cancel", symbol="BTCUSDT", orderListId=placed["orderListId"])
        every = await api.signed("allOrderLists")
        await api.until(lambda event: event["event"].get("L") == "ALL_DONE")
        return placed, listed, found, gone, every, [event["event"] for event in api.events]

    placed, listed, found, gone, every, events = talk(main)

    assert [one["status"] for one in placed["orderReports"]] == ["FILLED", "PENDING_NEW", "PENDING_NEW"]
    assert listed == [found["result"]]
    assert [one["status"] for one in gone["result"]["orderReports"]] == ["CANCELED", "CANCELED"]
    assert every["result"][0]["listOrderStatus"] == "ALL_DONE"
    states = [event["X"] for event in events if event["e"] == "executionReport"]
    assert states[:3] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert states[-5:] == ["FILLED", "NEW", "NEW", "CANCELED", "CANCELED"]
    assert [event["l"] for event in events if event["e"] == "listStatus"] == ["EXEC_STARTED"] * 2 + ["ALL_DONE"]


def test_a_rejected_replacement_and_an_amendment_are_told() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        first = (await api.signed("order.place", **LIMIT, newClientOrderId="a"))["result"]["orderId"]
        await api.signed(
            "order.amend.keepPriority", symbol="BTCUSDT", orderId=first, newQty="0.05", newClientOrderId="b"
        )
        answer = await api.signed("order.cancelReplace", **{**REPLACE, "quantity": "9"}, cancelOrderId=first)
        await api.until(lambda event: event["event"].get("x") == "REJECTED")
        return answer, [event["event"] for event in api.events if event["event"]["e"] == "executionReport"]

    answer, reports = talk(main)

    assert (answer["status"], answer["error"]["code"]) == (409, -2021)
    assert answer["error"]["data"]["newOrderResult"] == "FAILURE"
    assert [report["x"] for report in reports] == ["NEW", "REPLACED", "CANCELED", "REJECTED"]
    assert [reports[1][name] for name in ("c", "C", "q")] == ["b", "a", "0.05000000"]
    assert (reports[3]["X"], reports[3]["r"]) == ("REJECTED", "INSUFFICIENT_BALANCES")


def test_an_amended_order_of_a_pair_renames_itself_in_its_list_and_takes_the_other_along() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        placed = (await api.signed("orderList.place.oco", **OCO))["result"]
        leg = placed["orders"][1]["orderId"]
        amend = {"symbol": "BTCUSDT", "orderId": leg, "newQty": "0.4", "newClientOrderId": "renamed"}
        answer = await api.signed("order.amend.keepPriority", **amend)
        orders = await api.signed("openOrders.status", symbol="BTCUSDT")
        await api.until(lambda event: event["event"].get("l") == "UPDATED")
        news = next(event["event"] for event in api.events if event["event"].get("l") == "UPDATED")
        return placed, answer["result"], orders["result"], news

    placed, answer, orders, news = talk(main)

    assert answer["listStatus"]["orders"][1]["clientOrderId"] == "renamed"
    assert list(answer["listStatus"]) == [
        "orderListId",
        "contingencyType",
        "listOrderStatus",
        "listClientOrderId",
        "symbol",
        "orders",
    ]
    assert answer["amendedOrder"]["orderListId"] == placed["orderListId"]
    assert [order["origQty"] for order in orders] == ["0.40000000"] * 2
    assert (news["L"], [one["c"] for one in news["O"]][1]) == ("EXECUTING", "renamed")


def test_a_trailing_stop_tells_its_delta_and_since_when_it_follows() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        trailing = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS", "quantity": "0.01", "trailingDelta": 10}
        order = (await api.signed("order.place", **trailing, newOrderRespType="RESULT"))["result"]
        await play(api, until_sequence=3)
        await api.until(lambda event: event["event"].get("X") == "FILLED")
        found = await api.signed("order.status", symbol="BTCUSDT", orderId=order["orderId"])
        return order, found["result"], [event["event"] for event in api.events]

    order, found, events = talk(main)

    reports = [event for event in events if event["e"] == "executionReport"]
    assert (order["trailingDelta"], order["trailingTime"], order["stopPrice"]) == (10, -1, "0.00000000")
    assert found["trailingTime"] == reports[1]["D"] > 0
    assert [("d" in report, "D" in report) for report in reports[:2]] == [(True, False), (True, True)]
    assert found["status"] == "FILLED"


def test_an_iceberg_says_what_it_shows() -> None:
    async def main(api: Any) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        order = (await api.signed("order.place", **LIMIT, icebergQty="0.02"))["result"]
        await api.until(lambda event: event["event"].get("x") == "NEW")
        found = await api.signed("order.status", symbol="BTCUSDT", orderId=order["orderId"])
        return order, found["result"], api.events[0]["event"]

    order, found, report = talk(main)

    assert order["icebergQty"] == found["icebergQty"] == report["F"] == "0.02000000"
