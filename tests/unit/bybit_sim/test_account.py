"""The account over REST: its wallet, fees and rights, and every movement of its money."""

from decimal import Decimal
from typing import Any

import pytest

from btx.model.time import NS_PER_HOUR
from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_trading import create, played


async def wallet(client: Client, **params: Any) -> Any:
    answer = await client.signed("GET", "/v5/account/wallet-balance", **{"accountType": "UNIFIED", **params})
    return answer["result"]["list"][0]


async def movements(client: Client, **params: Any) -> list[Any]:
    """Every movement of money, oldest first."""
    answer = await client.signed("GET", "/v5/account/transaction-log", **params)
    return answer["result"]["list"][::-1]


def test_coins_are_chosen_and_those_there_are_none_of_are_left_out() -> None:
    async def scene(client: Client) -> Any:
        everything = await wallet(client)
        chosen = await wallet(client, coin="BTC, ETH")
        classic = await client.signed("GET", "/v5/account/wallet-balance", accountType="CONTRACT")
        return everything, chosen, classic["retCode"]

    everything, chosen, classic = played(scene, "spot")

    assert [coin["coin"] for coin in everything["coin"]] == ["BTC", "USDT"]
    assert [coin["coin"] for coin in chosen["coin"]] == ["BTC"]
    assert Decimal(everything["totalEquity"]) > 190_000
    assert classic == 10001


def test_what_spot_orders_lock_is_told() -> None:
    async def scene(client: Client) -> Any:
        await create(client, "spot", orderType="Limit", price="99900", qty="0.5", side="Sell")
        return await wallet(client, coin="BTC")

    [coin] = played(scene, "spot")["coin"]

    assert (coin["walletBalance"], Decimal(coin["locked"]) <= Decimal("0.5")) == (coin["equity"], True)


@pytest.mark.parametrize("market", ["spot", "linear", "inverse"])
def test_each_movement_leads_from_one_balance_to_the_next(market: str) -> None:
    async def scene(client: Client) -> Any:
        before = await wallet(client)
        await create(client, market)
        client.world.advance()
        await create(client, market, side="Sell")
        return before, await movements(client), await wallet(client)

    before, rows, after = played(scene, market)

    def balances(row: Any) -> dict[str, Decimal]:
        return {coin["coin"]: Decimal(coin["walletBalance"]) for coin in row["coin"]}

    held = balances(before)
    for row in rows:
        change = Decimal(row["change"])
        assert change == Decimal(row["cashFlow"]) - Decimal(row["fee"])
        held[row["currency"]] += change
        assert Decimal(row["cashBalance"]) == held[row["currency"]]
    assert held == balances(after)
    assert {row["type"] for row in rows} == {"TRADE"}
    assert len({row["id"] for row in rows}) == len(rows)


def test_funding_is_a_settlement_and_an_execution() -> None:
    async def scene(client: Client) -> Any:
        await create(client)
        client.world.advance(until_ns=client.world.market.now_ns + 9 * NS_PER_HOUR)
        while not (paid := await movements(client, type="SETTLEMENT", currency="USDT")):
            client.world.advance(until_ns=client.world.market.now_ns + NS_PER_HOUR)
            client.clock.pass_s(1)
        listed = await client.signed("GET", "/v5/execution/list", category="linear", execType="Funding")
        rates = await client.get("/v5/market/funding/history", category="linear", symbol="BTCUSDT", limit=1)
        return paid, listed["result"]["list"], rates["result"]["list"]

    [paid], [execution], [rate] = played(scene)

    assert (paid["funding"], paid["cashFlow"], paid["fee"]) == (paid["change"], "0", "0")
    assert Decimal(execution["execFee"]) == -Decimal(paid["change"])
    assert (execution["feeRate"], execution["execType"], execution["side"]) == (rate["fundingRate"], "Funding", "Buy")
    assert Decimal(execution["execQty"]) == Decimal("0.01")
    assert execution["execTime"] == rate["fundingRateTimestamp"]


def test_money_that_is_paid_in_is_a_transfer() -> None:
    async def scene(client: Client) -> Any:
        for amount in (500, -200):
            client.world.margin.transfer(
                api_key="alice", asset="USDT", amount=Decimal(amount), now_ns=client.world.market.now_ns
            )
        return await movements(client)

    assert [(row["type"], row["change"]) for row in played(scene)] == [
        ("TRANSFER_IN", "500"),
        ("TRANSFER_OUT", "-200"),
    ]


def test_movements_without_both_ends_of_a_span_are_of_a_day() -> None:
    async def scene(client: Client) -> Any:
        client.world.margin.transfer(
            api_key="alice", asset="USDT", amount=Decimal(500), now_ns=client.world.market.now_ns
        )
        paid_ms = client.world.market.now_ns // 10**6
        day_ms = 25 * 3_600_000
        before, after = {"startTime": paid_ms - day_ms}, {"endTime": paid_ms + day_ms}
        spans: list[dict[str, int]] = [{}, before, after, {**before, **after}]
        counts = [len(await movements(client, **span)) for span in spans]
        wrong = await client.signed("GET", "/v5/account/transaction-log", category="nothing")
        return counts, wrong["retCode"]

    assert played(scene) == ([1, 0, 0, 1], 10001)


@pytest.mark.parametrize(("market", "taker"), [("spot", "0.001"), ("linear", "0.00055")])
def test_fees_rights_coins_and_collateral_are_told(market: str, taker: str) -> None:
    async def scene(client: Client) -> Any:
        rates = await client.signed("GET", "/v5/account/fee-rate", category=market)
        one = await client.signed("GET", "/v5/account/fee-rate", category=market, symbol="ETHUSDT")
        none = await client.signed("GET", "/v5/account/fee-rate", category=market, symbol="NOPE")
        other = await client.signed("GET", "/v5/account/fee-rate", category="inverse")
        unsaid = await client.signed("GET", "/v5/account/fee-rate")
        key = await client.signed("GET", "/v5/user/query-api")
        coins = await client.signed("GET", "/v5/asset/coin/query-info")
        collateral = await client.signed("GET", "/v5/account/collateral-info", currency="USDT")
        rows = (rates["result"]["list"], one["result"]["list"], other["result"]["list"])
        codes = (none["retCode"], unsaid["retCode"])
        return rows, codes, key["result"], coins["result"]["rows"], collateral["result"]["list"]

    (rates, one, other), (none, unsaid), key, coins, collateral = played(scene, market)

    assert {row["takerFeeRate"] for row in rates} == {taker}
    assert [row["symbol"] for row in one] == ["ETHUSDT"]
    assert (other, none != 0, unsaid) == ([], True, 10001)
    assert (key["readOnly"], key["uta"], "Withdraw" in key["permissions"]["Wallet"]) == (0, 1, False)
    assert {"BTC", "ETH", "USDT"} <= {row["coin"] for row in coins}
    assert [row["currency"] for row in collateral] == ["USDT"]


def test_the_dead_mans_switch_can_be_asked_for() -> None:
    async def scene(client: Client) -> Any:
        off = await client.signed("GET", "/v5/account/query-dcp-info")
        await client.signed("POST", "/v5/order/disconnected-cancel-all", timeWindow=10, product="SPOT")
        return off["result"], (await client.signed("GET", "/v5/account/query-dcp-info"))["result"]

    off, on = played(scene, "spot")

    assert off == {"dcpInfos": []}
    assert on == {"dcpInfos": [{"product": "SPOT", "dcpStatus": "ON", "timeWindow": "10"}]}
