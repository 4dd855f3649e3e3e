"""Orders over REST: what is taken, what is refused and how, what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.bybit_sim.served import Client, served

SYMBOLS = {"spot": "BTCUSDT", "linear": "BTCUSDT", "inverse": "BTCUSD"}
SIZES = {"spot": "0.01", "linear": "0.01", "inverse": "100"}


def played(scene: Callable[[Client], Awaitable[Any]], market: str = "linear", **terms: Any) -> Any:
    """What a scene at a served market gives."""

    async def main() -> Any:
        async with served(market, **terms) as client:
            client.world.advance()
            return await scene(client)

    return asyncio.run(main())


def ticket(market: str = "linear", **changes: Any) -> dict[str, Any]:
    """A market order to buy; None leaves something out."""
    plain = {
        "category": market,
        "symbol": SYMBOLS[market],
        "side": "Buy",
        "orderType": "Market",
        "qty": SIZES[market],
        **({"marketUnit": "baseCoin"} if market == "spot" else {}),
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


async def create(client: Client, market: str = "linear", account: str = "alice", **changes: Any) -> Any:
    client.clock.pass_s(0.2)
    return await client.signed("POST", "/v5/order/create", account, **ticket(market, **changes))


async def one(client: Client, name: str, market: str = "linear") -> Any:
    """An order as the account sees it."""
    answer = await client.signed("GET", "/v5/order/realtime", category=market, orderLinkId=name)
    return answer["result"]["list"][0]


async def last(client: Client, market: str = "linear") -> float:
    answer = await client.get("/v5/market/tickers", category=market, symbol=SYMBOLS[market])
    return float(answer["result"]["list"][0]["lastPrice"])


async def beyond(client: Client, market: str = "linear") -> dict[str, str]:
    """A limit at the best offer, for a little more than there is."""
    [best, *_] = (await client.get("/v5/market/orderbook", category=market, symbol=SYMBOLS[market]))["result"]["a"]
    return {"orderType": "Limit", "price": best[0], "qty": f"{float(best[1]) + 0.002:.3f}"}


def at(price: float, factor: float) -> str:
    return f"{price * factor:.1f}"


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_a_market_order_is_acknowledged_and_filled(market: str) -> None:
    async def scene(client: Client) -> Any:
        answer = await create(client, market, orderLinkId="mine")
        return answer, await one(client, "mine", market)

    answer, order = played(scene, market)

    assert (answer["retCode"], answer["retMsg"], answer["result"]["orderLinkId"]) == (0, "OK", "mine")
    assert order["orderId"] == answer["result"]["orderId"]
    assert (order["orderStatus"], order["timeInForce"], order["orderType"]) == ("Filled", "IOC", "Market")
    assert float(order["cumExecQty"]) == float(SIZES[market])
    assert float(order["avgPrice"]) > 0
    [(coin, fee)] = order["cumFeeDetail"].items()
    assert coin == {"spot": "BTC", "linear": "USDT", "inverse": "BTC"}[market]  # spot: of what was received
    assert fee == order["cumExecFee"]


@pytest.mark.parametrize(
    ("market", "changes", "code"),
    [
        ("linear", {"category": "nothing"}, 10001),
        ("linear", {"category": "option"}, 10001),
        ("linear", {"symbol": "NOPEUSDT"}, 10001),
        ("linear", {"side": "buy"}, 10001),
        ("linear", {"qty": None}, 10001),
        ("linear", {"qty": "0"}, 10001),
        ("linear", {"qty": "much"}, 10001),
        ("linear", {"qty": 0.01}, 10001),
        ("linear", {"takeProfit": 110000}, 10001),
        ("linear", {"takeProfit": "110000", "tpslMode": "Partial", "tpOrderType": "Limit"}, 10001),
        (
            "linear",
            {"takeProfit": "110000", "tpslMode": "Partial", "tpOrderType": "Limit", "tpLimitPrice": "110000.05"},
            10001,
        ),
        ("linear", {"qty": "0.00001"}, 10001),
        ("linear", {"qty": "0.0101"}, 10001),
        ("linear", {"qty": "5000"}, 10001),
        ("linear", {"qty": "400"}, 110007),
        ("linear", {"orderType": "Limit"}, 10001),
        ("linear", {"orderType": "Limit", "price": "100000.05"}, 10001),
        ("linear", {"orderType": "Limit", "price": "0.01"}, 110003),
        ("linear", {"orderType": "Limit", "price": "150000"}, 110003),
        ("linear", {"orderType": "Limit", "price": "99000", "qty": "0.001", "orderLinkId": "not good"}, 10001),
        ("linear", {"positionIdx": 1}, 10001),
        ("linear", {"reduceOnly": True}, 110017),
        ("linear", {"reduceOnly": True, "takeProfit": "110000"}, 10001),
        ("linear", {"triggerPrice": "110000"}, 10001),
        ("linear", {"triggerPrice": "90000", "triggerDirection": 1}, 110092),
        ("linear", {"triggerPrice": "110000", "triggerDirection": 2}, 110093),
        ("linear", {"takeProfit": "90000"}, 10001),
        ("linear", {"stopLoss": "110000"}, 10001),
        ("linear", {"takeProfit": "110000.05"}, 10001),
        ("linear", {"takeProfit": "110000", "tpOrderType": "Limit", "tpLimitPrice": "110000"}, 10001),
        ("inverse", {"qty": "0.5"}, 10001),
        ("spot", {"symbol": "NOPEUSDT"}, 170121),
        ("spot", {"qty": "0"}, 170136),
        ("spot", {"qty": "0.0000015"}, 170137),
        ("spot", {"qty": "100.00000001", "marketUnit": "quoteCoin"}, 170137),
        ("spot", {"qty": "50"}, 170135),
        ("spot", {"qty": "0.00001"}, 170140),
        ("spot", {"qty": "30"}, 170131),
        ("spot", {"orderType": "Limit"}, 170133),
        ("spot", {"orderType": "Limit", "price": "99999.99"}, 170134),
        ("spot", {"orderType": "Limit", "price": "150000"}, 170193),
        ("spot", {"side": "Sell", "orderType": "Limit", "price": "50000"}, 170194),
        ("spot", {"isLeverage": 1}, 170036),
        ("spot", {"takeProfit": "110000", "tpOrderType": "Market"}, 170130),
        ("spot", {"orderType": "Limit", "price": "99500", "takeProfit": "99000", "tpOrderType": "Market"}, 10001),
        ("spot", {"orderType": "Limit", "price": "99500", "takeProfit": "110000"}, 170003),
        ("spot", {"orderType": "Limit", "price": "99500", "stopLoss": "99000", "tpOrderType": "Market"}, 170003),
        ("spot", {"triggerPrice": "110000"}, 170130),
        ("spot", {"orderFilter": "StopOrder"}, 170130),
    ],
)
def test_what_is_no_order_here_is_refused_with_the_venues_code(market: str, changes: dict[str, Any], code: int) -> None:
    answer = played(lambda client: create(client, market, **changes), market)

    assert (answer["retCode"], answer["result"]) == (code, {})


@pytest.mark.parametrize(("market", "code"), [("spot", 170141), ("linear", 110072)])
def test_a_client_order_id_is_used_once_for_ever(market: str, code: int) -> None:
    async def scene(client: Client) -> Any:
        await create(client, market, orderLinkId="mine")
        again = await create(client, market, orderLinkId="mine")
        return again, await create(client, market, account="bob", orderLinkId="mine")

    again, others = played(scene, market)

    assert (again["retCode"], others["retCode"]) == (code, 0)


@pytest.mark.parametrize(
    ("terms", "market", "status", "reason"),
    [
        ({"timeInForce": "PostOnly"}, "linear", "Cancelled", "EC_PostOnlyWillTakeLiquidity"),
        ({"timeInForce": "PostOnly"}, "spot", "Rejected", "EC_PostOnlyWillTakeLiquidity"),
        ({"timeInForce": "FOK", "qty": "100"}, "linear", "Cancelled", "EC_CancelForNoFullFill"),
    ],
)
def test_what_may_not_rest_or_take_is_acknowledged_and_cancelled(
    terms: dict[str, str], market: str, status: str, reason: str
) -> None:
    async def scene(client: Client) -> Any:
        price = at(await last(client, market), 1.003)
        wanted = {"qty": "0.01", **terms, "price": price, "orderType": "Limit", "orderLinkId": "mine"}
        if terms["timeInForce"] == "FOK":
            wanted["qty"] = "4"
            wanted["price"] = at(await last(client, market), 1.0)
        answer = await create(client, market, **wanted)
        return answer["retCode"], await one(client, "mine", market)

    code, order = played(scene, market)

    assert code == 0
    assert (order["orderStatus"], order["rejectReason"], order["cancelType"]) == (status, reason, "UNKNOWN")
    assert float(order["cumExecQty"]) == 0


@pytest.mark.parametrize(("market", "status"), [("spot", "Rejected"), ("linear", "Cancelled")])
def test_a_post_only_order_ends_when_it_is_amended_so_that_it_would_take(market: str, status: str) -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, market)
        rests = {"orderType": "Limit", "price": at(price, 0.99), "timeInForce": "PostOnly", "orderLinkId": "mine"}
        await create(client, market, **rests)
        where = {"category": market, "symbol": "BTCUSDT", "orderLinkId": "mine"}
        answer = await client.signed("POST", "/v5/order/amend", **where, price=at(price, 1.003))
        return answer["retCode"], await one(client, "mine", market)

    code, order = played(scene, market)

    assert (code, order["orderStatus"], order["rejectReason"]) == (0, status, "EC_PostOnlyWillTakeLiquidity")


def test_a_spot_order_that_was_filled_in_part_says_so_when_it_ends() -> None:
    async def scene(client: Client) -> Any:
        await create(client, "spot", **await beyond(client, "spot"), timeInForce="IOC", orderLinkId="mine")
        return await one(client, "mine", "spot")

    order = played(scene, "spot")

    assert order["orderStatus"] == "PartiallyFilledCanceled"
    assert 0 < float(order["cumExecQty"]) < float(order["qty"])
    assert order["rejectReason"] == "EC_NoImmediateQtyToFill"


def test_market_orders_on_spot_are_sized_in_either_coin() -> None:
    async def scene(client: Client) -> Any:
        await create(client, "spot", qty="1000", marketUnit=None, orderLinkId="by-value")
        await create(client, "spot", side="Sell", qty="500", marketUnit="quoteCoin", orderLinkId="sold-by-value")
        return await one(client, "by-value", "spot"), await one(client, "sold-by-value", "spot")

    bought, sold = played(scene, "spot")

    assert (bought["qty"], bought["marketUnit"], sold["qty"]) == ("1000", "quoteCoin", "500")
    assert 999 < float(bought["cumExecValue"]) <= 1000
    assert 499 < float(sold["cumExecValue"]) <= 501


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_an_order_keeps_its_id_when_it_is_amended_and_is_gone_after_its_cancel(market: str) -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, market)
        placed = await create(client, market, orderType="Limit", price=at(price, 0.995), orderLinkId="mine")
        where = {"category": market, "symbol": "BTCUSDT", "orderId": placed["result"]["orderId"]}
        changed = await client.signed("POST", "/v5/order/amend", **where, price=at(price, 0.994), qty="0.02")
        same = await client.signed("POST", "/v5/order/amend", **where, price=at(price, 0.994))
        amended = await one(client, "mine", market)
        gone = await client.signed("POST", "/v5/order/cancel", **where)
        late = [
            await client.signed("POST", "/v5/order/cancel", **where),
            await client.signed("POST", "/v5/order/amend", **where, qty="0.03"),
            await client.signed("POST", "/v5/order/cancel", **{**where, "orderId": "nonsense"}),
        ]
        nameless = await client.signed("POST", "/v5/order/cancel", category=market, symbol="BTCUSDT")
        codes = [each["retCode"] for each in (changed, same, gone, *late, nameless)]
        return placed, codes, amended, await one(client, "mine", market), at(price, 0.994)

    placed, codes, amended, ended, price = played(scene, market)

    missing = 170213 if market == "spot" else 110001
    assert codes == [0, 10001, 0, missing, missing, missing, 10001]
    assert (amended["orderId"], float(amended["price"])) == (placed["result"]["orderId"], float(price))
    assert (float(amended["qty"]), amended["orderStatus"]) == (0.02, "New")
    assert (ended["orderStatus"], ended["cancelType"], ended["rejectReason"]) == (
        "Cancelled",
        "CancelByUser",
        "EC_PerCancelRequest",
    )


def test_an_order_cannot_become_smaller_than_what_it_has_executed() -> None:
    async def scene(client: Client) -> Any:
        placed = await create(client, **await beyond(client), orderLinkId="mine")
        partly = await one(client, "mine")
        where = {"category": "linear", "symbol": "BTCUSDT", "orderId": placed["result"]["orderId"]}
        return partly, await client.signed("POST", "/v5/order/amend", **where, qty="0.001")

    partly, answer = played(scene)

    assert partly["orderStatus"] == "PartiallyFilled"
    assert answer["retCode"] == 110064


def test_a_conditional_order_keeps_its_id_through_its_trigger() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        trigger = {"triggerPrice": at(price, 1.0005), "triggerDirection": 1, "triggerBy": "LastPrice"}
        placed = await create(client, **trigger, orderLinkId="mine")
        waits = await one(client, "mine")
        amended = await client.signed(
            "POST",
            "/v5/order/amend",
            category="linear",
            symbol="BTCUSDT",
            orderLinkId="mine",
            triggerPrice=at(price, 1.0004),
            qty="0.02",
            triggerBy="MarkPrice",
        )
        changed = await one(client, "mine")
        for _ in range(600):
            if (await one(client, "mine"))["orderStatus"] == "Filled":
                break
            client.world.advance()
            client.clock.pass_s(1)
        fills = await client.signed("GET", "/v5/execution/list", category="linear", orderLinkId="mine")
        return placed, waits, amended["retCode"], changed, await one(client, "mine"), fills["result"]["list"]

    placed, waits, code, changed, filled, fills = played(scene)

    assert (waits["orderStatus"], waits["stopOrderType"], waits["triggerDirection"]) == ("Untriggered", "Stop", 1)
    assert (waits["createType"], waits["avgPrice"], float(waits["leavesQty"])) == ("CreateByStopOrder", "", 0.01)
    assert code == 0
    assert (changed["triggerBy"], float(changed["qty"])) == ("MarkPrice", 0.02)
    assert (filled["orderStatus"], filled["orderId"]) == ("Filled", placed["result"]["orderId"])
    assert {fill["orderId"] for fill in fills} == {placed["result"]["orderId"]}
    assert {fill["stopOrderType"] for fill in fills} == {"Stop"}


def test_a_conditional_order_that_is_cancelled_was_never_active() -> None:
    async def scene(client: Client) -> Any:
        await create(client, triggerPrice="90000", triggerDirection=2, orderLinkId="mine")
        await client.signed("POST", "/v5/order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="mine")
        return await one(client, "mine")

    order = played(scene)

    assert (order["orderStatus"], order["cancelType"]) == ("Deactivated", "CancelByUser")


def test_spot_stops_know_by_their_price_which_way_they_wait() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, "spot")
        for name, factor, kind in (("tp", 1.02, "tpslOrder"), ("sl", 0.98, "tpslOrder"), ("cond", 0.97, "StopOrder")):
            stop = {"triggerPrice": at(price, factor), "orderFilter": kind, "side": "Sell", "qty": "0.1"}
            await create(client, "spot", **stop, orderLinkId=name)
        await create(
            client,
            "spot",
            triggerPrice=at(price, 1.02),
            orderFilter="StopOrder",
            qty="1000",
            marketUnit="quoteCoin",
            orderLinkId="by-value",
        )
        orders = await client.signed("GET", "/v5/order/realtime", category="spot", orderFilter="tpslOrder")
        by_value = await one(client, "by-value", "spot")
        ended = await client.signed("POST", "/v5/order/cancel-all", category="spot", orderFilter="StopOrder")
        return orders["result"]["list"], by_value, ended["result"]["list"], await one(client, "cond", "spot")

    orders, by_value, ended, cond = played(scene, "spot")

    assert {(each["orderLinkId"], each["stopOrderType"], each["orderStatus"]) for each in orders} == {
        ("tp", "tpslOrder", "Untriggered"),
        ("sl", "tpslOrder", "Untriggered"),
    }
    assert 0.0097 < float(by_value["qty"]) < 0.0099
    assert {each["orderLinkId"] for each in ended} == {"cond", "by-value"}
    assert cond["orderStatus"] == "Deactivated"


def test_orders_of_spot_are_cancelled_under_their_own_kind() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, "spot")
        where = {"category": "spot", "symbol": "BTCUSDT"}
        await create(client, "spot", orderType="Limit", price=at(price, 0.995), orderLinkId="rests")
        stop = {"triggerPrice": at(price, 0.9), "side": "Sell", "qty": "0.1"}
        await create(client, "spot", **stop, orderFilter="tpslOrder", orderLinkId="tp")
        await create(client, "spot", **stop, orderFilter="StopOrder", orderLinkId="stop")
        codes = []
        for name, kind in (("tp", {}), ("tp", {"orderFilter": "StopOrder"}), ("tp", {"orderFilter": "tpslOrder"})):
            answer = await client.signed("POST", "/v5/order/cancel", **where, orderLinkId=name, **kind)
            codes.append(answer["retCode"])
        ended = await client.signed("POST", "/v5/order/cancel-all", **where)
        left = await client.signed("GET", "/v5/order/realtime", **where)
        return codes, ended["result"]["list"], left["result"]["list"]

    codes, ended, left = played(scene, "spot")

    assert codes == [170213, 170213, 0]
    assert ([each["orderLinkId"] for each in ended], [each["orderLinkId"] for each in left]) == (["rests"], ["stop"])


def test_a_batch_of_spot_has_ten_orders_at_most() -> None:
    async def scene(client: Client) -> Any:
        codes = []
        for count in (11, 10):
            gone = [{"symbol": "BTCUSDT", "orderLinkId": f"x{number}"} for number in range(count)]
            client.clock.pass_s(2)
            answer = await client.signed("POST", "/v5/order/cancel-batch", category="spot", request=gone)
            codes.append(answer["retCode"])
        return codes

    assert played(scene, "spot") == [10001, 0]


def test_batches_do_what_they_can_and_say_of_each_what_became_of_it() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        orders = [
            {**ticket(orderType="Limit", price=at(price, 0.995), orderLinkId=name, qty=qty), "category": None}
            for name, qty in (("a", "0.01"), ("b", "0.000001"), ("c", "0.01"))
        ]
        requests = [{name: value for name, value in order.items() if value is not None} for order in orders]
        placed = await client.signed("POST", "/v5/order/create-batch", category="linear", request=requests)
        changes = [{"symbol": "BTCUSDT", "orderLinkId": name, "qty": "0.02"} for name in ("a", "b")]
        amended = await client.signed("POST", "/v5/order/amend-batch", category="linear", request=changes)
        gone = [{"symbol": "BTCUSDT", "orderLinkId": name} for name in ("a", "c", "x")]
        ended = await client.signed("POST", "/v5/order/cancel-batch", category="linear", request=gone)
        wrong = [
            await client.signed("POST", "/v5/order/create-batch", category="linear", request=request)
            for request in ([], "none", ["no order"])
        ]
        return placed, amended, ended, [each["retCode"] for each in wrong]

    placed, amended, ended, wrong = played(scene)

    def codes(answer: Any) -> list[int]:
        return [each["code"] for each in answer["retExtInfo"]["list"]]

    assert (codes(placed), codes(amended), codes(ended)) == ([0, 10001, 0], [0, 110001], [0, 0, 110001])
    assert [bool(row["orderId"]) for row in placed["result"]["list"]] == [True, False, True]
    assert placed["result"]["list"][0]["createAt"]
    assert wrong == [10001] * 3


def test_everything_is_cancelled_by_symbol_or_coin() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        await create(client, orderType="Limit", price=at(price, 0.995))
        await create(client, triggerPrice="90000", triggerDirection=2)
        nothing = await client.signed("POST", "/v5/order/cancel-all", category="linear")
        other = await client.signed("POST", "/v5/order/cancel-all", category="linear", symbol="NOPEUSDT")
        inverse = await client.signed("POST", "/v5/order/cancel-all", category="inverse")
        elsewhere = await client.signed("POST", "/v5/order/cancel-all", category="inverse", settleCoin="BTC")
        both = await client.signed("POST", "/v5/order/cancel-all", category="linear", settleCoin="USDT")
        codes = [nothing["retCode"], other["retCode"], inverse["retCode"]]
        return codes, elsewhere["result"], both["result"]

    codes, elsewhere, both = played(scene)

    assert codes == [10001, 10001, 10001]
    assert elsewhere == {"list": [], "success": "1"}
    assert (len(both["list"]), both["success"]) == (2, "1")


def test_a_closing_order_of_no_size_closes_everything() -> None:
    async def scene(client: Client) -> Any:
        await create(client, qty="0.03")
        await create(client, side="Sell", qty="0", reduceOnly=True, closeOnTrigger=True, orderLinkId="mine")
        return await one(client, "mine")

    order = played(scene)

    assert (float(order["cumExecQty"]), order["reduceOnly"], order["closeOnTrigger"]) == (0.03, True, True)


def test_attached_exits_guard_what_was_opened_and_can_be_amended_before() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        guards = {"takeProfit": at(price, 1.05), "stopLoss": at(price, 0.95), "slTriggerBy": "MarkPrice"}
        await create(client, orderType="Limit", price=at(price, 0.995), orderLinkId="rests", **guards)
        rests = await one(client, "rests")
        where = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "rests"}
        await client.signed("POST", "/v5/order/amend", **where, takeProfit="0", stopLoss=at(price, 0.96))
        amended = await one(client, "rests")
        part = {"tpslMode": "Partial", "tpOrderType": "Limit", "tpLimitPrice": at(price, 1.04)}
        await create(client, **guards, **part)
        listed = await client.signed("GET", "/v5/order/realtime", category="linear", symbol="BTCUSDT")
        return rests, amended, listed["result"]["list"], at(price, 0.96)

    rests, amended, listed, lower = played(scene)

    assert (rests["tpslMode"], rests["tpTriggerBy"], rests["slTriggerBy"]) == ("Full", "LastPrice", "MarkPrice")
    assert (amended["takeProfit"], float(amended["stopLoss"])) == ("", float(lower))
    kinds = {each["stopOrderType"]: each for each in listed if each["stopOrderType"]}
    assert kinds.keys() == {"PartialTakeProfit", "PartialStopLoss"}
    profit = kinds["PartialTakeProfit"]
    assert (profit["orderType"], profit["side"], profit["createType"]) == ("Limit", "Sell", "CreateByPartialTakeProfit")
    assert (profit["orderLinkId"], float(profit["qty"])) == ("", 0.01)


@pytest.mark.parametrize(("kind", "is_limit"), [({}, False), ({"tpOrderType": "Limit"}, True)])
def test_a_limit_price_of_an_exit_is_looked_at_only_of_a_limit_order(kind: dict[str, str], is_limit: bool) -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        exits = {"tpslMode": "Partial", "takeProfit": at(price, 1.05), "tpLimitPrice": at(price, 1.04), **kind}
        await create(client, orderType="Limit", price=at(price, 0.995), orderLinkId="rests", **exits)
        where = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "rests"}
        await client.signed("POST", "/v5/order/amend", **where, takeProfit=at(price, 1.06))
        amended = await one(client, "rests")
        await create(client, **exits)
        listed = await client.signed("GET", "/v5/order/realtime", category="linear", symbol="BTCUSDT")
        [exit_] = [each for each in listed["result"]["list"] if each["stopOrderType"]]
        return amended, exit_["orderType"], at(price, 1.04)

    amended, order_type, limit = played(scene)

    assert order_type == ("Limit" if is_limit else "Market")
    assert amended["tpLimitPrice"] == (f"{float(limit):.2f}" if is_limit else "")


def test_a_dead_mans_switch_is_set_for_the_product_that_is_traded() -> None:
    async def scene(client: Client) -> Any:
        path = "/v5/order/disconnected-cancel-all"
        other = await client.signed("POST", path, timeWindow=40)
        off = await client.signed("GET", "/v5/account/info")
        wrong = await client.signed("POST", path, timeWindow=2, product="DERIVATIVES")
        done = await client.signed("POST", path, timeWindow=40, product="DERIVATIVES")
        return other, off["result"], wrong["retCode"], done, (await client.signed("GET", "/v5/account/info"))["result"]

    other, off, wrong, done, on = played(scene)

    assert (other["retMsg"], done["retMsg"], wrong) == ("success", "success", 10001)
    assert (off["dcpStatus"], on["dcpStatus"], on["timeWindow"]) == ("OFF", "ON", 40)


def test_a_spot_limit_order_brings_its_take_profit_and_its_stop_loss_once_it_is_filled() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, "spot")
        guards = {"takeProfit": at(price, 1.05), "stopLoss": at(price, 0.95), "slOrderType": "Limit"}
        guards["tpOrderType"] = "Market"
        limit = {"orderType": "Limit", "price": at(price, 1.001), "slLimitPrice": at(price, 0.94)}
        await create(client, "spot", **limit, **guards, orderLinkId="mine")
        listed = (await client.signed("GET", "/v5/order/realtime", category="spot"))["result"]["list"]
        everything = {"category": "spot", "symbol": "BTCUSDT"}
        await client.signed("POST", "/v5/order/cancel-all", **everything, orderFilter="BidirectionalTpslOrder")
        left = (await client.signed("GET", "/v5/order/realtime", category="spot"))["result"]["list"]
        past = await client.signed("GET", "/v5/order/history", category="spot", orderStatus="Deactivated")
        return await one(client, "mine", "spot"), listed, left, past["result"]["list"]

    order, listed, left, past = played(scene, "spot")

    assert (order["orderStatus"], order["takeProfit"] > "0") == ("Filled", True)
    assert not {"tpslMode", "createType"} & order.keys()
    assert {(each["stopOrderType"], each["orderType"], each["qty"], each["orderStatus"]) for each in listed} == {
        ("BidirectionalTpslOrder", "Market", "0.009990", "Untriggered"),
        ("BidirectionalTpslOrder", "Limit", "0.009990", "Untriggered"),
    }
    assert left == []
    assert [each["cancelType"] for each in past] == ["CancelByUser"] * 2


def test_a_spot_conditional_order_needs_its_money_only_when_it_wakes_up() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client, "spot")
        stop = {"triggerPrice": at(price, 1.0004), "side": "Sell", "qty": "5"}
        locking = await create(client, "spot", **stop, orderFilter="tpslOrder")
        await create(client, "spot", **stop, orderFilter="StopOrder", orderLinkId="mine")
        free = (await client.signed("GET", "/v5/account/wallet-balance", accountType="UNIFIED", coin="BTC"))["result"]
        for _ in range(300):
            if (await one(client, "mine", "spot"))["orderStatus"] != "Untriggered":
                break
            client.world.advance()
            client.clock.pass_s(1)
        return locking["retCode"], free["list"][0]["coin"][0]["locked"], await one(client, "mine", "spot")

    code, locked, order = played(scene, "spot")

    assert (code, locked) == (170131, "0")
    assert (order["orderStatus"], order["rejectReason"]) == ("Rejected", "EC_Others")
