from typing import Any

import pytest

from tests.unit.binance_sim.futures.served import Futures, play

BOTH = pytest.mark.parametrize("market", ["usdm", "coinm"])


@BOTH
def test_a_stop_waits_in_an_id_space_of_its_own_until_its_price_is_there(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        await venue.send()
        stop = await venue.stop(triggerPrice=await venue.level("0.9995"), reduceOnly="true", clientAlgoId="exit:1")
        waiting = await venue.call("GET", "openAlgoOrders", symbol=venue.symbol)
        plain = await venue.call("GET", "openOrders")
        for _ in range(600):
            await venue.advance()
            stop = await venue.call("GET", "algoOrder", clientAlgoId="exit:1")
            if stop["algoStatus"] == "FINISHED":
                break
        child = await venue.call("GET", "order", symbol=venue.symbol, origClientOrderId="exit:1")
        late = await venue.call("DELETE", "algoOrder", algoId=stop["algoId"])
        every = await venue.call("GET", "allAlgoOrders", symbol=venue.symbol)
        return waiting, plain, stop, child, late, every

    waiting, plain, stop, child, late, every = play(scene, market)

    assert ([row["algoStatus"] for row in waiting], plain) == (["NEW"], [])
    assert (stop["algoStatus"], stop["actualOrderId"]) == ("FINISHED", str(child["orderId"]))
    assert (child["clientOrderId"], child["type"], child["reduceOnly"]) == ("exit:1", "MARKET", True)
    assert (stop["actualQty"], child["status"], stop["triggerTime"] > 0) == (child["executedQty"], "FILLED", True)
    assert (late["code"], [row["algoId"] for row in every]) == (-2011, [stop["algoId"]])


def test_conditional_orders_are_cancelled_alone_and_all_of_a_symbol() -> None:
    async def scene(venue: Futures) -> Any:
        low, lower = await venue.level("0.9"), await venue.level("0.8")
        first, _ = await venue.stop(triggerPrice=low), await venue.stop(triggerPrice=lower)
        gone = await venue.call("DELETE", "algoOrder", algoId=first["algoId"])
        found = await venue.call("GET", "algoOrder", algoId=first["algoId"])
        await venue.call("DELETE", "allOpenOrders", symbol=venue.symbol)
        left = await venue.call("GET", "openAlgoOrders")
        await venue.call("DELETE", "algoOpenOrders", symbol=venue.symbol)
        unknown = await venue.call("GET", "algoOrder", algoId=99)
        unnamed = await venue.call("DELETE", "algoOrder")
        return gone, found, left, await venue.call("GET", "openAlgoOrders"), unknown, unnamed

    gone, found, left, end, unknown, unnamed = play(scene)

    assert (gone["code"], found["algoStatus"], len(left), end) == ("200", "CANCELED", 1, [])
    assert (unknown["code"], unnamed["code"]) == (-2013, -1102)


REFUSALS = [
    ({"triggerPrice": "150000"}, -2021),
    ({"type": "TAKE_PROFIT_MARKET", "triggerPrice": "50000"}, -2021),
    ({"type": "LIMIT", "triggerPrice": "90000"}, -1116),
    ({"algoType": "VP", "triggerPrice": "90000"}, -1130),
    ({}, -1102),
    ({"type": "STOP", "triggerPrice": "90000"}, -1102),
    ({"type": "STOP_MARKET", "triggerPrice": "90000", "price": "90000"}, -1106),
    ({"triggerPrice": "90000", "closePosition": "true"}, -4137),
    ({"type": "TRAILING_STOP_MARKET", "callbackRate": "11"}, -2007),
    ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1", "closePosition": "true"}, -4136),
    ({"triggerPrice": "90000", "priceProtect": "true"}, -1020),
    ({"triggerPrice": "90000", "workingType": "INDEX_PRICE"}, -4031),
    ({"triggerPrice": "90000.001"}, -1111),
    ({"triggerPrice": "90000.01"}, -4014),
    ({"triggerPrice": "90000", "reduceOnly": "true"}, -2022),
    ({"type": "STOP", "triggerPrice": "90000", "price": "80000"}, -4184),
]


def test_what_is_wrong_with_a_conditional_order_is_said_in_the_venues_codes() -> None:
    async def scene(venue: Futures) -> Any:
        answers = [await venue.stop(**params) for params, _ in REFUSALS]
        return answers, await venue.call("GET", "allAlgoOrders", symbol=venue.symbol)

    answers, orders = play(scene)

    assert [answer.get("code") for answer in answers] == [code for _, code in REFUSALS]
    assert orders == []


def test_each_kind_of_conditional_order_is_shown_as_it_was_asked_for() -> None:
    async def scene(venue: Futures) -> Any:
        await venue.send()
        low, high = await venue.level("0.9"), await venue.level("1.1")
        close = {"symbol": venue.symbol, "side": "SELL", "algoType": "CONDITIONAL", "closePosition": "true"}
        return [
            await venue.stop(type="STOP", triggerPrice=low, price=low, timeInForce="GTX", workingType="MARK_PRICE"),
            await venue.stop(type="TAKE_PROFIT", triggerPrice=high, price=high),
            await venue.stop(type="TRAILING_STOP_MARKET", callbackRate="1.5", activatePrice=high),
            await venue.call("POST", "algoOrder", **close, type="STOP_MARKET", triggerPrice=low),
            await venue.call("POST", "algoOrder", **close, type="STOP_MARKET", triggerPrice=low),
        ]

    limit, target, trail, closing, twice = play(scene)

    assert (limit["orderType"], limit["timeInForce"], limit["workingType"]) == ("STOP", "GTX", "MARK_PRICE")
    assert (target["orderType"], target["price"]) == ("TAKE_PROFIT", target["triggerPrice"])
    assert (trail["callbackRate"], trail["activatePrice"], trail["triggerPrice"]) == ("1.5", target["price"], "0")
    assert (closing["closePosition"], closing["quantity"], twice["code"]) == (True, "0", -4130)
