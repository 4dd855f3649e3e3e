import asyncio
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.unit.binance_sim.served import ALICE, BOB, served, sign

# path, parameters, code, message: each is refused with HTTP 400 before anything happens.
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "90000"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
STOP = {**LIMIT, "type": "STOP_LOSS_LIMIT", "side": "SELL", "stopPrice": "91000"}
REFUSED_ORDERS = [
    ({**LIMIT, "symbol": "NOPE"}, -1121, "Invalid symbol."),
    ({**LIMIT, "side": "buy"}, -1117, "Invalid side."),
    ({**LIMIT, "type": "LIMITED"}, -1116, "Invalid orderType."),
    ({**LIMIT, "timeInForce": "DAY"}, -1115, "Invalid timeInForce."),
    ({**LIMIT, "price": None}, -1102, "Mandatory parameter 'price' was not sent"),
    ({**LIMIT, "price": ""}, -1105, "Parameter 'price' was empty."),
    ({**LIMIT, "timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent"),
    ({**LIMIT, "stopPrice": "1"}, -1106, "Parameter 'stopPrice' sent when not required."),
    ({**LIMIT, "quoteOrderQty": "1"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
    ({**LIMIT, "quantity": "0.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
    ({**LIMIT, "quantity": "1e5"}, -1100, "Illegal characters found in parameter 'quantity'"),
    ({**LIMIT, "quantity": "0"}, -1013, "Invalid quantity."),
    ({**LIMIT, "price": "0"}, -1013, "Invalid price."),
    ({**LIMIT, "icebergQty": "1.5"}, -2010, "IcebergQty exceeds QTY."),
    ({**LIMIT, "icebergQty": "0.05"}, -1013, "Filter failure: ICEBERG_PARTS"),
    ({**LIMIT, "icebergQty": "0.5", "timeInForce": "IOC"}, -2010, "Unsupported order combination"),
    ({**MARKET, "icebergQty": "0.001"}, -1106, "Parameter 'icebergQty' sent when not required."),
    ({**LIMIT, "trailingDelta": "100"}, -1106, "Parameter 'trailingDelta' sent when not required."),
    ({**LIMIT, "strategyType": "5"}, -1134, "strategyType was less than 1000000."),
    ({**LIMIT, "newOrderRespType": "SHORT"}, -1130, "Data sent for parameter 'newOrderRespType' is not valid."),
    (
        {**LIMIT, "clientOrderId": "a"},
        -1104,
        "Not all sent parameters were read; read '8' parameter(s) but was sent '9'.",
    ),
    ({**LIMIT, "type": "LIMIT_MAKER"}, -1114, "TimeInForce parameter sent when not required."),
    ({**MARKET, "timeInForce": "GTC"}, -1114, "TimeInForce parameter sent when not required."),
    ({**MARKET, "price": "1"}, -1106, "Parameter 'price' sent when not required."),
    ({**MARKET, "quoteOrderQty": "100"}, -1106, "Parameter 'quoteOrderQty' sent when not required."),
    (
        {**MARKET, "quantity": None},
        -1102,
        "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!",
    ),
    ({**STOP, "stopPrice": None}, -1102, "Param 'stopPrice' or 'trailingDelta' must be sent"),
    ({**STOP, "stopPrice": None, "trailingDelta": "9"}, -1013, "Filter failure: TRAILING_DELTA"),
    ({**STOP, "trailingDelta": "2001"}, -1013, "Filter failure: TRAILING_DELTA"),
    ({**STOP, "stopPrice": "150000"}, -2010, "Stop price would trigger immediately."),
    ({**LIMIT, "price": "90000.001"}, -1013, "Filter failure: PRICE_FILTER"),
    ({**LIMIT, "price": "1000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    ({**LIMIT, "quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
    ({**LIMIT, "quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
    ({**MARKET, "quantity": "98"}, -1013, "Filter failure: MARKET_LOT_SIZE"),
    ({**LIMIT, "quantity": "10"}, -2010, "Account has insufficient balance for requested action."),
    (
        {**LIMIT, "type": "LIMIT_MAKER", "timeInForce": None, "price": "120000", "quantity": "0.01"},
        -2010,
        "Order would immediately match and take.",
    ),
]
REFUSED_CALLS = [
    ("GET", "/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120, "Invalid interval."),
    ("GET", "/api/v3/klines", {"symbol": "BTCUSDT"}, -1102, "Mandatory parameter 'interval' was not sent"),
    ("GET", "/api/v3/depth", {"symbol": "NOPE"}, -1121, "Invalid symbol."),
    ("GET", "/api/v3/depth", {}, -1102, "Mandatory parameter 'symbol' was not sent"),
    ("GET", "/api/v3/ticker/24hr", {"symbol": "BTCUSDT", "type": "BIG"}, -1139, "Invalid ticker type."),
    ("GET", "/api/v3/ticker/24hr", {"symbol": "BTCUSDT", "symbols": '["ETHUSDT"]'}, -1128, "Combination of optional"),
    ("GET", "/api/v3/ticker", {}, -1102, "Param 'symbol' or 'symbols' must be sent"),
    ("GET", "/api/v3/exchangeInfo", {"symbols": '["BTCUSDT","NOPE"]'}, -1121, "Invalid symbol."),
    ("GET", "/api/v3/exchangeInfo", {"symbol": "BTCUSDT", "permissions": "SPOT"}, -1128, "Combination of optional"),
    ("GET", "/api/v3/aggTrades", {"symbol": "BTCUSDT", "fromId": 1, "startTime": 1}, -1128, "Combination of optional"),
]
REFUSED_QUESTIONS = [
    ("GET", "/api/v3/order", {}, -1102, "Param 'origClientOrderId' or 'orderId' must be sent"),
    ("GET", "/api/v3/order", {"orderId": 99}, -2013, "Order does not exist."),
    ("DELETE", "/api/v3/order", {"orderId": 99}, -2011, "Unknown order sent."),
    ("DELETE", "/api/v3/order", {"orderId": 9, "cancelRestrictions": "NEVER"}, -1145, "Invalid cancelRestrictions"),
    ("DELETE", "/api/v3/openOrders", {}, -2011, "Unknown order sent."),
    ("GET", "/api/v3/myTrades", {"fromId": 1, "startTime": 1}, -1128, "Combination of optional parameters invalid."),
    ("GET", "/api/v3/allOrders", {"startTime": 1, "endTime": 90_000_000}, -1127, "More than 24 hours"),
]


def sent(params: dict[str, Any] | None) -> Any:
    return {name: value for name, value in params.items() if value is not None}


def test_every_wrong_order_is_refused_with_the_documented_code_and_words() -> None:
    async def main() -> Any:
        async with served() as client:
            stamp = await client.server_time()
            return [
                await client.signed("POST", "/api/v3/order", timestamp=stamp, **sent(params))
                for params, _, _ in REFUSED_ORDERS
            ], (await client.signed("GET", "/api/v3/openOrders"))[1]

    answers, left = asyncio.run(main())

    for (params, code, message), (status, body, _) in zip(REFUSED_ORDERS, answers, strict=True):
        assert (status, body["code"]) == (400, code), (params, body)
        assert message in body["msg"], (params, body)
    assert left == []


def test_every_wrong_question_is_refused_with_the_documented_code_and_words() -> None:
    async def main() -> Any:
        async with served() as client:
            public = [await client.ask(method, path, params) for method, path, params, _, _ in REFUSED_CALLS]
            private = [
                await client.signed(method, path, symbol="BTCUSDT", **params)
                for method, path, params, _, _ in REFUSED_QUESTIONS
            ]
            return public + private

    answers = asyncio.run(main())

    for row, (status, body, _) in zip(REFUSED_CALLS + REFUSED_QUESTIONS, answers, strict=True):
        assert (status, body["code"]) == (400, row[3]), (row, body)
        assert row[4] in body["msg"], (row, body)


def test_a_test_order_is_checked_and_does_nothing() -> None:
    async def main() -> Any:
        async with served() as client:
            good = await client.signed("POST", "/api/v3/order/test", **LIMIT)
            bad = await client.signed("POST", "/api/v3/order/test", **{**LIMIT, "quantity": "10"})
            rates = await client.signed("POST", "/api/v3/order/test", **LIMIT, computeCommissionRates="true")
            return good, bad, rates, (await client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT"))[1]

    good, bad, rates, orders = asyncio.run(main())

    assert good[:2] == (200, {})
    assert bad[1]["code"] == -2010
    assert rates[1]["standardCommissionForOrder"] == {"maker": "0.00100000", "taker": "0.00100000"}
    assert orders == []


def test_an_order_is_placed_found_listed_and_canceled() -> None:
    async def main() -> Any:
        async with served() as client:
            placed = (await client.signed("POST", "/api/v3/order", **LIMIT, newClientOrderId="mine"))[1]
            again = (await client.signed("POST", "/api/v3/order", **LIMIT, newClientOrderId="mine"))[1]
            found = (await client.signed("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="mine"))[1]
            listed = (await client.signed("GET", "/api/v3/openOrders"))[1]
            locked = (await client.signed("GET", "/api/v3/account", omitZeroBalances="true"))[1]["balances"]
            gone = (
                await client.signed(
                    "DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=placed["orderId"], newClientOrderId="bye"
                )
            )[1]
            everything = (await client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT"))[1]
            return placed, again, found, listed, locked, gone, everything

    placed, again, found, listed, locked, gone, everything = asyncio.run(main())

    assert (placed["status"], placed["fills"], placed["clientOrderId"]) == ("NEW", [], "mine")
    assert again == {"code": -2010, "msg": "Duplicate order sent."}
    assert found["orderId"] == placed["orderId"]
    assert listed == [found]
    assert locked == [
        {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"},
        {"asset": "USDT", "free": "10000.00000000", "locked": "90000.00000000"},
    ]
    assert (gone["status"], gone["origClientOrderId"], gone["clientOrderId"]) == ("CANCELED", "mine", "bye")
    assert [(order["status"], order["clientOrderId"]) for order in everything] == [("CANCELED", "mine")]


def test_a_cancel_may_be_restricted_to_orders_that_have_not_traded() -> None:
    async def main() -> Any:
        async with served() as client:
            order = (await client.signed("POST", "/api/v3/order", **LIMIT))[1]
            which = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
            wrong = await client.signed("DELETE", "/api/v3/order", **which, cancelRestrictions="ONLY_PARTIALLY_FILLED")
            right = await client.signed("DELETE", "/api/v3/order", **which, cancelRestrictions="ONLY_NEW")
            return wrong[1], right[1]

    wrong, right = asyncio.run(main())

    assert wrong == {"code": -2011, "msg": "Order was not canceled due to cancel restrictions."}
    assert right["status"] == "CANCELED"


def test_all_open_orders_of_a_symbol_are_canceled_at_once() -> None:
    async def main() -> Any:
        async with served() as client:
            for _ in range(3):
                await client.signed("POST", "/api/v3/order", **{**LIMIT, "quantity": "0.01"})
            gone = (await client.signed("DELETE", "/api/v3/openOrders", symbol="BTCUSDT"))[1]
            return gone, (await client.signed("GET", "/api/v3/openOrders", symbol="BTCUSDT"))[1]

    gone, left = asyncio.run(main())

    assert [order["status"] for order in gone] == ["CANCELED"] * 3
    assert left == []


def test_a_market_order_fills_at_once_and_its_money_adds_up() -> None:
    async def main() -> Any:
        async with served() as client:
            order = (await client.signed("POST", "/api/v3/order", **MARKET))[1]
            trades = (await client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT"))[1]
            balances = (await client.signed("GET", "/api/v3/account"))[1]["balances"]
            return order, trades, {row["asset"]: Decimal(row["free"]) for row in balances}

    order, trades, free = asyncio.run(main())

    assert (order["status"], order["executedQty"]) == ("FILLED", "0.01000000")
    assert [trade["id"] for trade in trades] == [fill["tradeId"] for fill in order["fills"]]
    assert free["USDT"] == Decimal(100_000) - Decimal(order["cummulativeQuoteQty"])
    fees = sum(Decimal(fill["commission"]) for fill in order["fills"])
    assert fees == Decimal("0.00001")
    assert free["BTC"] == Decimal("1.01") - fees


def test_responses_are_as_long_as_asked_for_and_as_documented_when_nobody_asks() -> None:
    async def main() -> Any:
        async with served() as client:
            kinds = {}
            for kind in ("ACK", "RESULT", "FULL"):
                params = {**MARKET, "newOrderRespType": kind}
                kinds[kind] = (await client.signed("POST", "/api/v3/order", **params))[1]
            default_market = (await client.signed("POST", "/api/v3/order", **MARKET))[1]
            default_stop = (await client.signed("POST", "/api/v3/order", **{**STOP, "quantity": "0.01"}))[1]
            return kinds, default_market, default_stop

    kinds, default_market, default_stop = asyncio.run(main())

    assert "status" not in kinds["ACK"]
    assert kinds["RESULT"]["status"] == "FILLED"
    assert "fills" not in kinds["RESULT"]
    assert "fills" in kinds["FULL"]
    assert "fills" in default_market
    assert "status" not in default_stop


def test_only_a_fresh_stamp_and_the_right_signature_open_the_account() -> None:
    async def main() -> Any:
        async with served() as client:
            now = await client.server_time()
            key = {"X-MBX-APIKEY": ALICE.api_key}

            async def account(
                params: dict[str, Any] | None, secret: Any = ALICE, headers: dict[str, str] | None = key
            ) -> Any:
                query = urlencode(params)
                signed = params | {"signature": sign(secret, query)}
                return await client.ask("GET", "/api/v3/account", signed, headers=headers)

            return [
                await client.ask("GET", "/api/v3/account", {"timestamp": now}),
                await client.ask("GET", "/api/v3/account", {"timestamp": now}, headers={"X-MBX-APIKEY": "a b"}),
                await account({"timestamp": now}, headers={"X-MBX-APIKEY": "mallory"}),
                await client.ask("GET", "/api/v3/account", {"timestamp": now}, headers=key),
                await account({}),
                await account({"timestamp": now}, secret=BOB),
                await account({"timestamp": now - 6000}),
                await account({"timestamp": now + 5000}),
                await account({"timestamp": now, "recvWindow": 60001}),
                await account({"timestamp": now - 6000, "recvWindow": 20000}),
                await account({"timestamp": now * 1000}),
            ]

    answers = asyncio.run(main())

    assert [(status, body.get("code")) for status, body, _ in answers] == [
        (401, -2014),
        (401, -2014),
        (401, -2015),
        (400, -1102),
        (400, -1102),
        (400, -1022),
        (400, -1021),
        (400, -1021),
        (400, -1131),
        (200, None),
        (200, None),
    ]


def test_parameters_may_be_in_the_body_in_the_query_or_in_both() -> None:
    """rest-api.md, example 3: the signature of a mixed request has no & between query and body."""

    async def main() -> Any:
        async with served() as client:
            headers = {"X-MBX-APIKEY": ALICE.api_key, "Content-Type": "application/x-www-form-urlencoded"}
            stamp = await client.server_time()
            query = urlencode({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"})
            body = urlencode({"quantity": "0.01", "timestamp": stamp})
            url = f"/api/v3/order?{query}"
            mixed = await client.ask("POST", url, headers=headers, body=f"{body}&signature={sign(ALICE, query + body)}")
            joined = await client.ask(
                "POST", url, headers=headers, body=f"{body}&signature={sign(ALICE, f'{query}&{body}')}"
            )
            whole = f"{query}&{body}"
            in_body = await client.ask(
                "POST", "/api/v3/order", headers=headers, body=f"{whole}&signature={sign(ALICE, whole)}"
            )
            twice = await client.ask("GET", "/api/v3/depth?symbol=BTCUSDT&symbol=ETHUSDT")
            return mixed, joined, in_body, twice

    mixed, joined, in_body, twice = asyncio.run(main())

    assert mixed[1]["status"] == "FILLED"
    assert joined[1]["code"] == -1022
    assert in_body[1]["status"] == "FILLED"
    assert twice[1]["code"] == -1101


def test_accounts_are_kept_apart() -> None:
    async def main() -> Any:
        async with served() as client:
            order = (await client.signed("POST", "/api/v3/order", **LIMIT))[1]
            which = {"symbol": "BTCUSDT", "orderId": order["orderId"]}
            seen = await client.signed("GET", "/api/v3/order", BOB, **which)
            canceled = await client.signed("DELETE", "/api/v3/order", BOB, **which)
            balances = (await client.signed("GET", "/api/v3/account", BOB))[1]["balances"]
            return seen[1], canceled[1], balances

    seen, canceled, balances = asyncio.run(main())

    assert seen["code"] == -2013
    assert canceled["code"] == -2011
    assert balances == [{"asset": "USDT", "free": "10.00000000", "locked": "0.00000000"}]


def test_answers_say_how_much_weight_and_how_many_orders_were_used() -> None:
    async def main() -> Any:
        async with served() as client:
            first = (await client.get("/api/v3/ping"))[2]
            depth = (await client.get("/api/v3/depth", symbol="BTCUSDT", limit=5000))[2]
            order = (await client.signed("POST", "/api/v3/order", **MARKET))[2]
            counts = (await client.signed("GET", "/api/v3/rateLimit/order"))[1]
            return first, depth, order, counts

    first, depth, order, counts = asyncio.run(main())

    assert first["X-MBX-USED-WEIGHT-1M"] == "1"
    assert depth["X-MBX-USED-WEIGHT"] == "251"
    assert (order["X-MBX-ORDER-COUNT-10S"], order["X-MBX-ORDER-COUNT-1D"]) == ("1", "1")
    assert [(row["interval"], row["limit"], row["count"]) for row in counts] == [
        ("SECOND", 100, 1),
        ("DAY", 200_000, 1),
    ]


@pytest.mark.parametrize("carries_on", [1, 12])
def test_who_asks_too_much_is_told_to_wait_and_who_carries_on_is_banned(carries_on: Any) -> None:
    async def main() -> Any:
        async with served() as client:
            for _ in range(24):
                await client.get("/api/v3/depth", symbol="BTCUSDT", limit=5000)
            return [await client.get("/api/v3/ping") for _ in range(carries_on)]

    answers = asyncio.run(main())

    status, body, headers = answers[-1]
    assert status == (429 if carries_on == 1 else 418)
    assert body["code"] == -1003
    assert 0 < int(headers["Retry-After"]) <= (60 if carries_on == 1 else 120)


def test_market_data_agree_with_each_other() -> None:
    async def main() -> Any:
        async with served(warmup_ns=3 * 3600 * 10**9) as client:
            pair = {"symbol": "BTCUSDT"}
            return {
                path: (await client.get(f"/api/v3/{path}", **pair, **more))[1]
                for path, more in (
                    ("depth", {"limit": 1000}),
                    ("trades", {"limit": 5}),
                    ("historicalTrades", {"fromId": 7, "limit": 2}),
                    ("aggTrades", {"limit": 5}),
                    ("klines", {"interval": "1h", "limit": 2}),
                    ("uiKlines", {"interval": "1h", "limit": 2}),
                    ("avgPrice", {}),
                    ("ticker/price", {}),
                    ("ticker/bookTicker", {}),
                    ("ticker/24hr", {}),
                    ("ticker/tradingDay", {"type": "MINI"}),
                    ("ticker", {"windowSize": "2h"}),
                )
            }

    seen = asyncio.run(main())

    price = seen["ticker/price"]["price"]
    assert len(seen["depth"]["bids"]) == len(seen["depth"]["asks"]) == 1000
    assert [seen["ticker/bookTicker"][key] for key in ("bidPrice", "bidQty")] == seen["depth"]["bids"][0]
    assert seen["trades"][-1]["price"] == price == seen["aggTrades"][-1]["p"]
    assert [trade["id"] for trade in seen["historicalTrades"]] == [7, 8]
    assert seen["klines"][-1][4] == price
    assert seen["klines"] == seen["uiKlines"]
    assert [type(cell) for cell in seen["klines"][0]] == [int, *[str] * 5, int, str, int, *[str] * 3]
    assert seen["klines"][0][6] - seen["klines"][0][0] == 3_600_000 - 1
    assert seen["avgPrice"]["mins"] == 5
    assert seen["ticker/24hr"]["lastPrice"] == price
    assert seen["ticker/24hr"]["count"] == seen["ticker/24hr"]["lastId"] - seen["ticker/24hr"]["firstId"] + 1
    assert set(seen["ticker"]) == set(seen["ticker/24hr"]) - {
        "prevClosePrice",
        "lastQty",
        "bidPrice",
        "bidQty",
        "askPrice",
        "askQty",
    }
    assert "priceChange" not in seen["ticker/tradingDay"]
    assert seen["ticker"]["closeTime"] - seen["ticker"]["openTime"] >= 2 * 3_600_000


def test_klines_are_paged_by_inclusive_times() -> None:
    async def main() -> Any:
        async with served(warmup_ns=3600 * 10**9) as client:
            pair = {"symbol": "BTCUSDT", "interval": "1m"}
            newest = (await client.get("/api/v3/klines", **pair, limit=10))[1]
            first, last = newest[2][0], newest[5][0]
            span = (await client.get("/api/v3/klines", **pair, startTime=first, endTime=last))[1]
            onward = (await client.get("/api/v3/klines", **pair, startTime=first, limit=2))[1]
            none = (await client.get("/api/v3/klines", **pair, limit=0))[1]
            return newest, span, onward, none

    newest, span, onward, none = asyncio.run(main())

    assert len(newest) == 10
    assert span == newest[2:6]
    assert onward == newest[2:4]
    assert none == []


def test_what_clients_ask_before_they_trade_is_answered_truthfully() -> None:
    async def main() -> Any:
        async with served() as client:
            public = ("/fapi/v1/exchangeInfo", "/dapi/v1/exchangeInfo", "/sapi/v1/system/status")
            signed = (
                "/sapi/v1/capital/config/getall",
                "/sapi/v1/margin/allPairs",
                "/sapi/v1/margin/isolated/allPairs",
                "/sapi/v1/asset/tradeFee",
                "/sapi/v1/account/apiRestrictions",
                "/api/v3/openOrderList",
                "/api/v3/allOrderList",
            )
            answers = {path: (await client.get(path))[1] for path in public}
            answers |= {path: (await client.signed("GET", path))[1] for path in signed}
            answers["commission"] = (await client.signed("GET", "/api/v3/account/commission", symbol="BTCUSDT"))[1]
            return answers

    answers = asyncio.run(main())

    assert answers["/fapi/v1/exchangeInfo"]["symbols"] == answers["/dapi/v1/exchangeInfo"]["symbols"] == []
    assert [coin["coin"] for coin in answers["/sapi/v1/capital/config/getall"]] == ["BNB", "BTC", "ETH", "USDT"]
    assert answers["/sapi/v1/margin/allPairs"] == answers["/api/v3/openOrderList"] == []
    assert answers["/sapi/v1/asset/tradeFee"][0]["takerCommission"] == "0.00100000"
    rights = answers["/sapi/v1/account/apiRestrictions"]
    assert (rights["enableSpotAndMarginTrading"], rights["enableFutures"], rights["enableWithdrawals"]) == (
        True,
        False,
        False,
    )
    assert answers["commission"]["standardCommission"]["maker"] == "0.00100000"


def test_listen_keys_are_gone_and_unknown_paths_say_that_they_are_not_served() -> None:
    async def main() -> Any:
        async with served() as client, client.http.post(f"{client.endpoints.rest}/api/v3/userDataStream") as gone:
            return gone.status, await client.get("/api/v3/nothing")

    gone, (status, body, _) = asyncio.run(main())

    assert gone == 410
    assert status == 404
    assert body["msg"] == "The simulator does not serve GET /api/v3/nothing"
