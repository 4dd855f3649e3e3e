"""The WebSocket API of the simulated futures markets."""

from base64 import b64encode
from typing import Any

import attrs
import pytest

from btx.model.venue import SimAccount
from tests.unit.binance_sim.served import NOON_NS, sign
from tests.unit.binance_sim.served_futures import ALICE, DEADLINE_S, Venue, run

PATHS = {"usdm": "/ws-fapi/v1", "coinm": "/ws-dapi/v1"}
QUANTITIES = {"usdm": "0.01", "coinm": "5"}


@attrs.define
class Api:
    """A client that signs by hand."""

    venue: Venue
    socket: Any

    async def ask(self, method: str, **params: Any) -> Any:
        await self.socket.send_json({"id": 1, "method": method, "params": params})
        return await self.socket.receive_json(timeout=DEADLINE_S)

    async def signed(self, method: str, **params: Any) -> Any:
        params = {"apiKey": ALICE.api_key, "timestamp": NOON_NS // 10**6, **params}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return await self.ask(method, **params, signature=sign(ALICE, payload))

    async def result(self, method: str, **params: Any) -> Any:
        answer = await self.signed(method, **params)
        assert answer["status"] == 200, answer
        return answer["result"]


def talk(conversation: Any, market: str = "usdm", query: str = "", **scenario: Any) -> Any:
    async def scene(venue: Venue) -> Any:
        async with venue.socket(PATHS[market] + query) as socket:
            return await conversation(Api(venue, socket))

    return run(scene, market=market, **scenario)


@pytest.mark.parametrize("market", PATHS)
def test_an_order_is_placed_found_modified_and_cancelled_and_the_account_told(market: str) -> None:
    async def conversation(api: Api) -> Any:
        symbol, quantity = api.venue.symbol, QUANTITIES[market]
        order = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity}
        placed = await api.result("order.place", **order, price=str(api.venue.price("0.9")))
        named = {"symbol": symbol, "orderId": placed["orderId"]}
        found = await api.result("order.status", **named)
        price = str(api.venue.price("0.8"))
        modified = await api.result("order.modify", **named, side="BUY", quantity=quantity, price=price)
        gone = await api.result("order.cancel", **named)
        await api.result("order.place", symbol=symbol, side="BUY", type="MARKET", quantity=quantity)
        versions = ("", "v2/") if market == "usdm" else ("",)
        account = {
            f"{version}{method}": await api.result(f"{version}{method}")
            for version in versions
            for method in ("account.status", "account.balance", "account.position")
        }
        return found, modified, price, gone, account

    found, modified, price, gone, account = talk(conversation, market)

    assert (found["status"], gone["status"]) == ("NEW", "CANCELED")
    assert float(modified["price"]) == float(price)
    assert len(account) == (6 if market == "usdm" else 3)
    held = next(row for row in account["account.position"] if float(row["positionAmt"]))
    assert float(held["positionAmt"]) == float(QUANTITIES[market])
    assert account["account.status"]["canTrade"] is True
    assert {row["asset"] for row in account["account.balance"]} >= {"USDT" if market == "usdm" else "BTC"}


def test_conditional_orders_are_placed_and_cancelled_there_on_usd_m_only() -> None:
    stop = {"algoType": "CONDITIONAL", "side": "SELL", "type": "STOP_MARKET"}

    async def conversation(api: Api) -> Any:
        order = {**stop, "symbol": api.venue.symbol, "quantity": "1", "triggerPrice": str(api.venue.price("0.9"))}
        placed = await api.signed("algoOrder.place", **order)
        if placed["status"] != 200:
            return placed, None
        return placed["result"], await api.result("algoOrder.cancel", algoId=placed["result"]["algoId"])

    placed, gone = talk(conversation)
    refused, _ = talk(conversation, "coinm")

    assert placed["algoStatus"] == "NEW"
    assert gone["algoId"] == placed["algoId"]
    assert refused["error"]["code"] == -1020


def test_listen_keys_are_made_kept_and_ended_with_the_bare_key() -> None:
    async def conversation(api: Api) -> Any:
        unknown = await api.ask("userDataStream.ping", apiKey="alice")
        started = await api.ask("userDataStream.start", apiKey="alice")
        kept = await api.ask("userDataStream.ping", apiKey="alice")
        stopped = await api.ask("userDataStream.stop", apiKey="alice")
        return unknown, started, kept, stopped, await api.ask("userDataStream.ping", apiKey="alice")

    unknown, started, kept, stopped, over = talk(conversation)

    assert unknown["error"] == over["error"] == {"code": -1125, "msg": "This listenKey does not exist."}
    assert started["result"] == kept["result"]
    assert (len(started["result"]["listenKey"]), stopped["result"]) == (64, {})


def test_the_handshake_has_a_weight_and_the_limits_are_told_unless_they_are_not_wanted() -> None:
    async def first(api: Api) -> Any:
        return await api.ask("session.status")

    told, untold = talk(first), talk(first, query="?returnRateLimits=false")

    assert told["rateLimits"] == [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400, "count": 7}
    ]
    assert "rateLimits" not in untold
    assert told["result"].keys() == {
        "apiKey",
        "authorizedSince",
        "connectedSince",
        "returnRateLimits",
        "serverTime",
    }


def test_only_an_ed25519_key_logs_on_and_then_needs_no_signature() -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = SimAccount(api_key="eddie", api_secret=pem, balances=ALICE.balances)

    async def conversation(api: Api) -> Any:
        refused = await api.signed("session.logon")
        params = {"apiKey": "eddie", "timestamp": NOON_NS // 10**6}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        logged_on = await api.ask("session.logon", **params, signature=b64encode(key.sign(payload.encode())).decode())
        balance = await api.ask("v2/account.balance", timestamp=NOON_NS // 10**6)
        return refused, logged_on, balance

    refused, logged_on, balance = talk(conversation, accounts=(ALICE, account))

    assert refused["error"]["code"] == -4056
    assert logged_on["result"]["apiKey"] == "eddie"
    assert balance["status"] == 200
