import asyncio
import json
from base64 import b64encode
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from btx.model.venue import SimAccount
from tests.unit.binance_sim.served import ALICE, BOB, Client, served, sign


class Api:
    """A client of the WebSocket API that signs by hand."""

    def __init__(self, client: Client, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.client, self.socket, self.events = client, socket, []

    async def ask(self, method: str, params: dict[str, Any] | None = None, request_id: Any = 1) -> Any:
        await self.socket.send_json({"id": request_id, "method": method, "params": params or {}})
        return await self.answer()

    async def signed(self, method: str, account: SimAccount = ALICE, **params: Any) -> Any:
        params = {"apiKey": account.api_key, "timestamp": self.client.clock.now_ns // 10**6, **params}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return await self.ask(method, params | {"signature": sign(account, payload)})

    async def answer(self) -> Any:
        while True:
            frame = await self.socket.receive_json(timeout=60)
            if "event" not in frame:
                return frame
            self.events.append(frame)

    async def until(self, is_last: Any) -> Any:
        while not any(is_last(event) for event in self.events):
            self.events.append(await self.socket.receive_json(timeout=60))
        return self.events


def talk(conversation: Any, path: str = "/ws-api/v3", **scenario: Any) -> Any:
    async def main() -> Any:
        async with served(**scenario) as client, client.socket(path) as socket:
            return await conversation(Api(client, socket))

    return asyncio.run(main())


LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "90000"}
MARKET = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}


def test_public_methods_answer_like_rest_with_the_state_of_the_meter() -> None:
    async def main(api: Api) -> Any:
        answers = {
            method: await api.ask(method, params)
            for method, params in (
                ("ping", {}),
                ("time", {}),
                ("exchangeInfo", {"symbols": ["BTCUSDT"]}),
                ("depth", {"symbol": "BTCUSDT", "limit": 5}),
                ("klines", {"symbol": "BTCUSDT", "interval": "1m"}),
                ("ticker.price", {"symbol": "BTCUSDT"}),
                ("v3/ticker.book", {"symbols": ["BTCUSDT", "ETHUSDT"]}),
            )
        }
        return answers, (await api.client.get("/api/v3/depth", symbol="BTCUSDT", limit=5))[1]

    answers, depth = talk(main)

    assert list(answers["ping"]) == ["id", "status", "result", "rateLimits"]
    assert answers["ping"]["rateLimits"] == [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 3}
    ]
    assert answers["depth"]["result"] == depth
    assert [row["symbol"] for row in answers["exchangeInfo"]["result"]["symbols"]] == ["BTCUSDT"]
    assert len(answers["v3/ticker.book"]["result"]) == 2
    assert all(answer["status"] == 200 for answer in answers.values())


def test_rate_limits_are_shown_unless_the_client_wants_none() -> None:
    async def main(api: Api) -> Any:
        return await api.ask("ping"), await api.ask("ping", {"returnRateLimits": True})

    silent, asked = talk(main, "/ws-api/v3?returnRateLimits=false")

    assert "rateLimits" not in silent
    assert "rateLimits" in asked


def test_an_order_is_placed_found_and_canceled_over_the_socket() -> None:
    async def main(api: Api) -> Any:
        placed = await api.signed("order.place", **LIMIT, newClientOrderId="mine")
        found = await api.signed("order.status", symbol="BTCUSDT", origClientOrderId="mine")
        listed = await api.signed("openOrders.status", symbol="BTCUSDT")
        gone = await api.signed("order.cancel", symbol="BTCUSDT", orderId=placed["result"]["orderId"])
        tested = await api.signed("order.test", **LIMIT)
        account = await api.signed("account.status")
        return placed, found, listed, gone, tested, account

    placed, found, listed, gone, tested, account = talk(main)

    assert placed["result"]["status"] == "NEW"
    assert [row["rateLimitType"] for row in placed["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    assert placed["rateLimits"][0]["count"] == 1
    assert listed["result"] == [found["result"]]
    assert gone["result"]["status"] == "CANCELED"
    assert tested["result"] == {}
    assert account["result"]["accountType"] == "SPOT"


@pytest.mark.parametrize(
    ("text", "status", "code", "request_id"),
    [
        ("{nonsense", 400, -1135, None),
        ("[]", 400, -1135, None),
        ('{"id": 5, "method": "ping", "params": []}', 400, -1135, None),
        ('{"id": 5, "method": "order.dance"}', 400, -1020, 5),
        ('{"id": "x", "method": "depth", "params": {"symbol": "NOPE"}}', 400, -1121, "x"),
        ('{"id": 5, "method": "depth"}', 400, -1102, 5),
        ('{"id": 5, "method": "account.status"}', 401, -2014, 5),
        ('{"id": 5, "method": "account.status", "params": {"apiKey": "mallory"}}', 401, -2015, 5),
        ('{"id": 5, "method": "account.status", "params": {"apiKey": "alice"}}', 400, -1102, 5),
        ('{"id": 5, "method": "userDataStream.subscribe"}', 400, -1002, 5),
        ('{"id": 5, "method": "userDataStream.unsubscribe", "params": {"subscriptionId": 3}}', 400, -2036, 5),
        ('{"id": 5, "method": "userDataStream.start", "params": {"apiKey": "alice"}}', 400, -1020, 5),
    ],
)
def test_a_wrong_request_is_answered_with_status_code_and_its_own_id(
    text: str, status: int, code: int, request_id: Any
) -> None:
    async def main(api: Api) -> Any:
        await api.socket.send_str(text)
        return await api.answer()

    answer = talk(main)

    assert (answer["id"], answer["status"], answer["error"]["code"]) == (request_id, status, code)


def test_decimals_keep_the_digits_they_were_signed_with() -> None:
    """A JSON number is read as text: 0.10 was signed, not 0.1."""

    async def main(api: Api) -> Any:
        stamp = api.client.clock.now_ns // 10**6
        payload = "apiKey=alice&price=90000.10&quantity=0.10&side=BUY&symbol=BTCUSDT"
        payload += f"&timeInForce=GTC&timestamp={stamp}&type=LIMIT"
        params = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "apiKey": "alice"}
        text = json.dumps(params)[:-1]
        text += f', "timestamp": {stamp}, "quantity": 0.10, "price": 90000.10, "signature": "{sign(ALICE, payload)}"}}'
        await api.socket.send_str(f'{{"id": 1, "method": "order.place", "params": {text}}}')
        return await api.answer()

    assert talk(main)["result"]["price"] == "90000.10000000"


# --- user data -------------------------------------------------------------------------------------------


def test_events_of_an_order_come_report_first_then_balances() -> None:
    async def main(api: Api) -> Any:
        acknowledged = await api.signed("userDataStream.subscribe.signature")
        order = (await api.signed("order.place", **MARKET))["result"]
        return acknowledged, order, await api.until(lambda frame: frame["event"]["e"] == "outboundAccountPosition")

    acknowledged, order, events = talk(main)

    assert acknowledged["result"] == {"subscriptionId": 0}
    assert {frame["subscriptionId"] for frame in events} == {0}
    kinds = [(frame["event"]["e"], frame["event"].get("x"), frame["event"].get("X")) for frame in events]
    assert kinds == [
        ("executionReport", "NEW", "NEW"),
        ("executionReport", "TRADE", "FILLED"),
        ("outboundAccountPosition", None, None),
    ]
    new, trade, position = (frame["event"] for frame in events)
    assert trade["I"] > new["I"]
    assert (trade["i"], trade["c"]) == (order["orderId"], order["clientOrderId"])
    assert trade["Z"] == order["cummulativeQuoteQty"]
    assert [row["a"] for row in position["B"]] == ["BTC", "USDT"]


def test_an_order_sized_in_money_ends_filled_and_spends_no_more_than_it_was_given() -> None:
    async def main(api: Api) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        await api.signed("order.place", symbol="BTCUSDT", side="BUY", type="MARKET", quoteOrderQty="20000")
        return await api.until(lambda frame: frame["event"].get("X") == "FILLED")

    events = talk(main)

    report = next(frame["event"] for frame in events if frame["event"].get("X") == "FILLED")
    assert report["Q"] == "20000.00000000"
    assert Decimal(19_998) < Decimal(report["Z"]) <= 20_000


def test_a_stop_says_new_twice_then_trades() -> None:
    """As recorded at the venue: first off the book and without working time, then on it."""

    async def main(api: Api) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        price = await api.client.price()
        stop, limit = price * Decimal("0.9995"), price * Decimal("0.99")
        await api.signed(
            "order.place",
            **{**MARKET, "side": "SELL", "type": "STOP_LOSS_LIMIT"},
            timeInForce="GTC",
            stopPrice=f"{stop:.2f}",
            price=f"{limit:.2f}",
        )
        async with api.client.control() as do:
            while (await do("sync", api_key="alice"))["sequence"] < 3:
                await do("advance", api_key="alice")
        events = await api.until(lambda frame: frame["event"].get("X") == "FILLED")
        return [frame["event"] for frame in events if frame["event"]["e"] == "executionReport"]

    waits, works, *trades = talk(main)

    assert [(report["x"], report["X"], report["w"]) for report in (waits, works)] == [
        ("NEW", "NEW", False),
        ("NEW", "NEW", True),
    ]
    assert "W" not in waits
    assert works["W"] == works["T"] > waits["T"] == works["O"]
    assert Decimal(trades[-1]["z"]) == Decimal("0.01")


def test_a_cancel_is_told_under_the_cancels_id() -> None:
    async def main(api: Api) -> Any:
        await api.signed("userDataStream.subscribe.signature")
        order = (await api.signed("order.place", **LIMIT, newClientOrderId="mine"))["result"]
        await api.client.signed(
            "DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=order["orderId"], newClientOrderId="bye"
        )
        events = await api.until(lambda frame: frame["event"].get("x") == "CANCELED")
        return events[-1]["event"]

    event = talk(main)

    assert (event["c"], event["C"], event["X"]) == ("bye", "mine", "CANCELED")


def test_an_account_hears_only_of_itself() -> None:
    async def main(api: Api) -> Any:
        await api.signed("userDataStream.subscribe.signature", BOB)
        await api.signed("userDataStream.subscribe.signature", ALICE)
        await api.client.signed("POST", "/api/v3/order", **MARKET)
        events = await api.until(lambda frame: frame["event"]["e"] == "outboundAccountPosition")
        return {frame["subscriptionId"] for frame in events}

    assert talk(main) == {1}


def test_an_account_is_subscribed_once_and_its_stream_says_when_it_ends() -> None:
    async def main(api: Api) -> Any:
        first = await api.signed("userDataStream.subscribe.signature")
        again = await api.signed("userDataStream.subscribe.signature")
        listed = await api.ask("session.subscriptions")
        ended = await api.ask("userDataStream.unsubscribe", {"subscriptionId": 0})
        farewell = list(api.events)
        await api.client.signed("POST", "/api/v3/order", **MARKET)
        anew = await api.signed("userDataStream.subscribe.signature")
        nothing = await api.ask("userDataStream.unsubscribe")
        return first, again, listed, ended, farewell, anew, nothing

    first, again, listed, ended, farewell, anew, nothing = talk(main)

    assert first["result"] == {"subscriptionId": 0}
    assert again["error"] == {"code": -2035, "msg": "User Data Stream subscription already active."}
    assert listed["result"] == [{"subscriptionId": 0}]
    assert ended["result"] == nothing["result"] == {}
    assert [frame["event"]["e"] for frame in farewell] == ["eventStreamTerminated"]
    assert anew["result"] == {"subscriptionId": 1}


def test_a_client_that_left_is_told_nothing() -> None:
    async def main(api: Api) -> Any:
        async with api.client.socket("/ws-api/v3") as socket:
            other = Api(api.client, socket)
            await other.signed("userDataStream.subscribe.signature")
        return await api.signed("order.place", **MARKET)

    assert talk(main)["result"]["status"] == "FILLED"


# --- sessions --------------------------------------------------------------------------------------------


def test_an_hmac_key_cannot_log_on() -> None:
    async def main(api: Api) -> Any:
        return await api.signed("session.logon"), await api.ask("session.status")

    refused, status = talk(main)

    assert refused["error"] == {"code": -4056, "msg": "HMAC_SHA256 API key is not supported."}
    assert (status["result"]["apiKey"], status["result"]["authorizedSince"]) == (None, None)


def test_an_ed25519_key_logs_on_and_then_needs_no_signature() -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    carol = SimAccount(api_key="carol", api_secret=pem, balances={"USDT": Decimal(10_000)})

    async def main(api: Api) -> Any:
        stamp = api.client.clock.now_ns // 10**6
        signature = b64encode(key.sign(f"apiKey=carol&timestamp={stamp}".encode())).decode()
        early = await api.ask("order.place", {**MARKET, "timestamp": stamp})
        logon = await api.ask("session.logon", {"apiKey": "carol", "timestamp": stamp, "signature": signature})
        subscribed = await api.ask("userDataStream.subscribe")
        placed = await api.ask("order.place", {**MARKET, "timestamp": stamp})
        unstamped = await api.ask("order.place", MARKET)
        logout = await api.ask("session.logout")
        late = await api.ask("order.place", {**MARKET, "timestamp": stamp})
        return early, logon, subscribed, placed, unstamped, logout, late

    early, logon, subscribed, placed, unstamped, logout, late = talk(main, accounts=(carol,))

    assert early["error"]["code"] == late["error"]["code"] == -2014
    assert logon["result"]["apiKey"] == "carol"
    assert set(logon["result"]) == {
        "apiKey",
        "authorizedSince",
        "connectedSince",
        "returnRateLimits",
        "serverTime",
        "userDataStream",
    }
    assert subscribed["result"] == {"subscriptionId": 0}
    assert placed["result"]["status"] == "FILLED"
    assert unstamped["error"]["code"] == -1102
    assert logout["result"]["apiKey"] is None


# --- limits ----------------------------------------------------------------------------------------------


def test_orders_beyond_the_limit_are_refused_until_the_window_is_over() -> None:
    async def main(api: Api) -> Any:
        order = {**LIMIT, "quantity": "0.0001"}
        for _ in range(100):
            await api.signed("order.place", **order)
        refused = await api.signed("order.place", **order)
        api.client.clock.pass_s(10)
        return refused, await api.signed("order.place", **order)

    refused, allowed = talk(main)

    assert (refused["status"], refused["error"]["code"]) == (429, -1015)
    assert allowed["status"] == 200


def test_a_banned_client_is_told_until_when_and_disconnected() -> None:
    async def main(api: Api) -> Any:
        refused = []
        while not refused or refused[-1]["status"] != 418:
            refused.append(await api.ask("depth", {"symbol": "BTCUSDT", "limit": 5000}))
        message = await api.socket.receive(timeout=60)
        return refused, message

    answers, message = talk(main)

    refused = [answer for answer in answers if answer["status"] != 200]
    assert [answer["status"] for answer in refused] == [429] * 10 + [418]
    data = refused[-1]["error"]["data"]
    assert data["retryAfter"] == data["serverTime"] + 120_000
    assert (message.type.name, message.data) == ("CLOSE", 1008)
