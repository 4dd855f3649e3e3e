import json
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.binance_sim.futures.served import BOB, Futures, play

BOTH = pytest.mark.parametrize("market", ["usdm", "coinm"])


@BOTH
def test_a_market_order_is_acknowledged_and_its_fills_are_asked_for(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        ack = await venue.send(newClientOrderId="a.b:c/d-1")
        order = await venue.call("GET", "order", symbol=venue.symbol, origClientOrderId="a.b:c/d-1")
        return ack, order, await venue.call("GET", "userTrades", symbol=venue.symbol)

    ack, order, fills = play(scene, market)

    assert (ack["status"], ack["executedQty"], ack["cumQty"]) == ("NEW", "0", "0")
    assert not {"avgPrice", "cumQuote", "cumBase"} & ack.keys()
    assert (order["status"], order["executedQty"]) == ("FILLED", order["origQty"])
    assert sum(Decimal(fill["qty"]) for fill in fills) == Decimal(order["executedQty"])
    total = "cumQuote" if market == "usdm" else "cumBase"
    part = "quoteQty" if market == "usdm" else "baseQty"
    assert sum(Decimal(fill[part]) for fill in fills) == Decimal(order[total])
    assert all("clientOrderId" not in fill and fill["orderId"] == ack["orderId"] for fill in fills)
    assert {fill["commissionAsset"] for fill in fills} == {"USDT" if market == "usdm" else "BTC"}


def test_before_the_markets_were_joined_an_acknowledgement_had_averages() -> None:
    async def scene(venue: Futures) -> Any:
        return await venue.send(newOrderRespType="RESULT")

    before = play(scene, as_of="2026-06-29")

    assert (before["status"], Decimal(before["avgPrice"]) > 0) == ("FILLED", True)
    assert Decimal(before["cumQuote"]) == Decimal(before["avgPrice"]) * Decimal("0.1")
    assert "avgPrice" not in play(scene, as_of="2026-06-30")


REFUSALS = [
    ({"symbol": "NOPE"}, -1121),
    ({"type": "STOP_MARKET", "stopPrice": "90000"}, -4120),
    ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1"}, -4120),
    ({"closePosition": "true"}, -4136),
    ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
    ({"price": "100000"}, -1106),
    ({"quantity": "0.0001"}, -1111),
    ({"quantity": "0"}, -4003),
    ({"quantity": "1001"}, -4005),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "100000.001"}, -1111),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "100000.01"}, -4014),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "5000000"}, -4002),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "0"}, -4001),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "150000"}, -4016),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "50000", "side": "SELL"}, -4024),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "500"}, -4013),
    ({"type": "LIMIT", "timeInForce": "GTX", "price": "101000"}, -5022),
    ({"type": "LIMIT", "timeInForce": "GTD", "price": "99000"}, -1102),
    ({"type": "LIMIT", "timeInForce": "GTD", "price": "99000", "goodTillDate": "1"}, -5040),
    ({"type": "LIMIT", "timeInForce": "GTD", "price": "99000", "goodTillDate": "253402300799000"}, -5040),
    ({"type": "LIMIT", "timeInForce": "RPI", "price": "99000"}, -1115),
    ({"type": "LIMIT", "timeInForce": "GTC", "price": "99000", "quantity": "0.001"}, -4164),
    ({"quantity": "30"}, -2019),
    ({"reduceOnly": "true"}, -2022),
    ({"positionSide": "LONG"}, -4061),
    ({"priceMatch": "QUEUE"}, -5037),
    ({"newOrderRespType": "FULL"}, -1136),
    ({"newClientOrderId": "with space"}, -1100),
    ({"stray": "1"}, -1104),
]


def test_what_is_wrong_with_an_order_is_said_in_the_venues_codes() -> None:
    async def scene(venue: Futures) -> Any:
        answers = [await venue.send(**params) for params, _ in REFUSALS]
        return answers, await venue.call("GET", "allOrders", symbol=venue.symbol)

    answers, orders = play(scene)

    assert [answer.get("code") for answer in answers] == [code for _, code in REFUSALS]
    assert orders == []


def test_a_position_beyond_the_leverages_tier_is_refused() -> None:
    async def scene(venue: Futures) -> Any:
        await venue.call("POST", "leverage", symbol="BTCUSDT", leverage=125)
        return await venue.send(quantity="1")

    assert play(scene)["code"] == -2027


def test_an_order_is_modified_in_place_and_its_history_is_kept() -> None:
    async def scene(venue: Futures) -> Any:
        order = await venue.limit("0.97")
        price = await venue.level("0.98")
        same = {"symbol": venue.symbol, "side": "BUY", "orderId": order["orderId"]}
        changed = await venue.call("PUT", "order", **same, price=price, quantity="0.2")
        again = await venue.call("PUT", "order", **same, price=price, quantity="0.2")
        half = await venue.call("PUT", "order", **same, price=price)
        history = await venue.call("GET", "orderAmendment", symbol=venue.symbol, orderId=order["orderId"])
        return order, changed, again, half, history

    order, changed, again, half, history = play(scene)

    assert (changed["orderId"], changed["origQty"], changed["pair"]) == (order["orderId"], "0.2", "BTCUSDT")
    assert (again["code"], half["code"]) == (-5027, -1102)
    (row,) = history
    assert row["amendment"]["origQty"] == {"before": "0.1", "after": "0.2"}
    assert row["amendment"]["price"] == {"before": order["price"], "after": changed["price"]}


def test_a_batch_answers_for_each_order_and_counts_as_the_manual_says() -> None:
    async def scene(venue: Futures) -> Any:
        price = str(await venue.level("0.97"))
        limit = {"symbol": venue.symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": price}
        orders = [limit | {"quantity": "0.1"}, limit | {"quantity": "5000"}, {"symbol": venue.symbol, "type": "STOP"}]
        _, placed, headers = await venue.answer("POST", "batchOrders", batchOrders=json.dumps(orders))
        too_many = await venue.call("POST", "batchOrders", batchOrders=json.dumps(orders * 2))
        order_id = placed[0]["orderId"]
        change = {"symbol": venue.symbol, "side": "BUY", "orderId": order_id, "price": price, "quantity": "0.3"}
        changed = await venue.call("PUT", "batchOrders", batchOrders=json.dumps([change, change | {"orderId": 99}]))
        # As ccxt writes the name; the venue does not mind.
        gone = await venue.call("DELETE", "batchOrders", symbol=venue.symbol, orderidlist=json.dumps([order_id, 99]))
        return placed, headers, too_many, changed, gone

    placed, headers, too_many, changed, gone = play(scene)

    assert [row.get("status", row.get("code")) for row in placed] == ["NEW", -4005, -1102]
    assert (headers["X-MBX-ORDER-COUNT-1M"], headers["X-MBX-ORDER-COUNT-10S"]) == ("1", "5")
    assert too_many["code"] == -4082
    assert [row.get("origQty", row.get("code")) for row in changed] == ["0.3", -2013]
    assert [row.get("status", row.get("code")) for row in gone] == ["CANCELED", -2011]


@BOTH
def test_what_only_reduces_never_turns_a_position(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        await venue.send()
        await venue.send(side="SELL", quantity=str(Decimal(venue.quantity) * 3), reduceOnly="true")
        return await venue.call("GET", f"/{'fapi/v3' if market == 'usdm' else 'dapi/v1'}/positionRisk")

    assert [row["positionAmt"] for row in play(scene, market) if row["symbol"].startswith("BTC")] in ([], ["0"])


def test_two_sided_accounts_have_a_long_and_a_short_position() -> None:
    async def scene(venue: Futures) -> Any:
        switched = await venue.call("POST", "positionSide/dual", dualSidePosition="true")
        plain = await venue.send()
        await venue.send(positionSide="LONG")
        await venue.send(positionSide="SHORT", side="SELL", quantity="0.3")
        reduces = await venue.send(positionSide="LONG", side="SELL", reduceOnly="true")
        return switched, plain, reduces, await venue.call("GET", "/fapi/v3/positionRisk")

    switched, plain, reduces, rows = play(scene)

    assert (switched, plain["code"], reduces["code"]) == ({"code": 200, "msg": "success"}, -4061, -1106)
    assert {row["positionSide"]: row["positionAmt"] for row in rows} == {"LONG": "0.1", "SHORT": "-0.3"}


def test_open_orders_are_found_and_cancelled_one_by_one_and_together() -> None:
    async def scene(venue: Futures) -> Any:
        first, second, third = [await venue.limit(factor) for factor in ("0.97", "0.98", "0.99")]
        found = await venue.call("GET", "openOrder", symbol=venue.symbol, orderId=second["orderId"])
        gone = await venue.call("DELETE", "order", symbol=venue.symbol, origClientOrderId=second["clientOrderId"])
        missed = await venue.call("DELETE", "order", symbol=venue.symbol, orderId=second["orderId"])
        closed = await venue.call("GET", "openOrder", symbol=venue.symbol, orderId=second["orderId"])
        others = await venue.call("GET", "openOrders", BOB, symbol=venue.symbol)
        left = await venue.call("GET", "openOrders")
        done = await venue.call("DELETE", "allOpenOrders", symbol=venue.symbol)
        ids = [order["orderId"] for order in (first, third)]
        return found, gone, missed, closed, others, ids, left, done, await venue.call("GET", "openOrders")

    found, gone, missed, closed, others, ids, left, done, end = play(scene)

    assert (found["status"], gone["status"], missed["code"], closed["code"]) == ("NEW", "CANCELED", -2011, -2013)
    assert (others, [row["orderId"] for row in left], done["code"], end) == ([], ids, 200, [])


def test_a_countdown_cancels_what_is_open_unless_it_is_put_off() -> None:
    async def scene(venue: Futures) -> Any:
        await venue.limit("0.96")
        said = await venue.call("POST", "countdownCancelAll", symbol=venue.symbol, countdownTime=90_000)
        begun_ns = await venue.now_ns()
        await venue.advance(until_ns=begun_ns + 60 * 10**9)
        before = await venue.call("GET", "openOrders")
        await venue.advance(until_ns=begun_ns + 120 * 10**9)
        return said, len(before), await venue.call("GET", "openOrders")

    assert play(scene) == ({"symbol": "BTCUSDT", "countdownTime": "90000"}, 1, [])


def test_history_is_told_for_seven_days_at_most() -> None:
    async def scene(venue: Futures) -> Any:
        wide = {"symbol": venue.symbol, "startTime": 1, "endTime": 8 * 86_400_000}
        both = await venue.call("GET", "userTrades", symbol=venue.symbol, fromId=1, startTime=1)
        return (await venue.call("GET", "allOrders", **wide))["code"], both["code"]

    assert play(scene) == (-4165, -1128)


def test_a_test_order_is_checked_and_not_placed() -> None:
    async def scene(venue: Futures) -> Any:
        usual = {"symbol": venue.symbol, "side": "BUY", "type": "MARKET"}
        good = await venue.call("POST", "order/test", **usual, quantity="0.1")
        bad = await venue.call("POST", "order/test", **usual, quantity="30")
        return good, bad["code"], await venue.call("GET", "allOrders", symbol=venue.symbol)

    assert play(scene) == ({}, -2019, [])


def test_coin_margined_orders_were_asked_for_and_modified_more_loosely_before_the_markets_were_joined() -> None:
    async def scene(venue: Futures) -> Any:
        order = await venue.limit("0.97")
        half = {"symbol": venue.symbol, "side": "BUY", "orderId": order["orderId"], "quantity": "20"}
        _, unknown, headers = await venue.answer("GET", "openOrders", symbol="NOPE")
        before = int(headers["X-MBX-USED-WEIGHT-1M"])
        _, _, headers = await venue.answer("GET", "allOrders", symbol=venue.symbol)
        changed = await venue.call("PUT", "order", **half)
        return changed.get("origQty", changed.get("code")), unknown, int(headers["X-MBX-USED-WEIGHT-1M"]) - before

    assert play(scene, "coinm", as_of="2026-06-29") == ("20", [], 20)
    changed, unknown, weight = play(scene, "coinm", as_of="2026-06-30")
    assert (changed, unknown["code"], weight) == (-1102, -1121, 5)


def test_a_modification_is_refused_as_the_manual_says_and_the_order_stays() -> None:
    async def scene(venue: Futures) -> Any:
        order = await venue.limit("0.97")
        of = {"symbol": venue.symbol, "side": "BUY", "orderId": order["orderId"], "price": order["price"]}
        tries = [
            of | {"price": await venue.level("1.2"), "quantity": "0.1"},
            of | {"quantity": "0.001"},
            of | {"quantity": "100"},
            of | {"quantity": "0.1", "side": "SELL"},
            of | {"quantity": "0.1", "orderId": 99},
            {"symbol": venue.symbol, "side": "BUY", "price": "99000", "quantity": "0.1"},
        ]
        codes = [(await venue.call("PUT", "order", **params))["code"] for params in tries]
        filled = await venue.send()
        gone = await venue.call("PUT", "order", **of | {"orderId": filled["orderId"], "quantity": "0.1"})
        return codes, gone["code"], await venue.call("GET", "openOrders"), order

    codes, gone, (left,), order = play(scene)

    assert (codes, gone) == ([-4016, -5029, -2019, -2013, -2013, -1102], -5025)
    assert (left["price"], left["origQty"]) == (order["price"], order["origQty"])


def test_an_order_that_is_good_till_a_date_ends_there() -> None:
    async def scene(venue: Futures) -> Any:
        begun_ns = await venue.now_ns()
        till_ms = begun_ns // 10**6 + 900_000
        order = await venue.limit("0.96", timeInForce="GTD", goodTillDate=till_ms + 999)
        while await venue.now_ns() <= begun_ns + 900 * 10**9:
            await venue.advance(until_ns=begun_ns + 901 * 10**9)
        return till_ms, order, await venue.call("GET", "order", symbol=venue.symbol, orderId=order["orderId"])

    till_ms, order, end = play(scene)

    assert (order["timeInForce"], order["goodTillDate"]) == ("GTD", till_ms)  # seconds, the rest is ignored
    assert (end["status"], end["updateTime"]) == ("EXPIRED", till_ms)


BATCHES = [
    ("POST", {"batchOrders": "{"}, -1130),
    ("POST", {"batchOrders": "5"}, -1130),
    ("POST", {"batchOrders": "[1]"}, -1130),
    ("POST", {"batchOrders": "[]"}, -4082),
    ("POST", {}, -1102),
    ("DELETE", {"symbol": "BTCUSDT"}, -1102),
    ("DELETE", {"symbol": "BTCUSDT", "orderIdList": "[x]"}, -1130),
    ("DELETE", {"symbol": "BTCUSDT", "orderIdList": "[1.5]"}, -1130),
    ("DELETE", {"symbol": "BTCUSDT", "orderIdList": json.dumps(list(range(11)))}, -4032),
]


def test_a_batch_that_cannot_be_read_is_refused_as_a_whole() -> None:
    async def scene(venue: Futures) -> Any:
        answers = [await venue.call(method, "batchOrders", **params) for method, params, _ in BATCHES]
        by_name = await venue.call("DELETE", "batchOrders", symbol="BTCUSDT", origClientOrderIdList='["a","b"]')
        return [answer["code"] for answer in answers], [answer["code"] for answer in by_name]

    assert play(scene) == ([code for _, _, code in BATCHES], [-2011, -2011])


def test_more_orders_than_the_filter_allows_do_not_rest() -> None:
    async def scene(venue: Futures) -> Any:
        price = str(await venue.level("0.96"))
        one = {"symbol": venue.symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": price}
        orders = json.dumps([one | {"quantity": "0.002"}] * 5)
        for number in range(40):
            venue.clock.pass_s(10 * (number % 10 == 0))
            await venue.call("POST", "batchOrders", batchOrders=orders)
        venue.clock.pass_s(60)
        return len(await venue.call("GET", "openOrders")), (await venue.limit("0.96"))["code"]

    assert play(scene) == (200, -2025)
