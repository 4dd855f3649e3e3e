from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.binance_sim.futures.served import ALICE, BOB, Futures, play

BOTH = pytest.mark.parametrize("market", ["usdm", "coinm"])
HOUR_NS = 3600 * 10**9
ASSETS = {"usdm": "USDT", "coinm": "BTC"}


@BOTH
def test_the_wallet_changes_by_exactly_what_the_income_tells(market: str) -> None:
    balance_path = "/fapi/v3/balance" if market == "usdm" else "/dapi/v1/balance"

    async def scene(venue: Futures) -> Any:
        async def wallet() -> Decimal:
            rows = await venue.call("GET", balance_path)
            return next(Decimal(row["balance"]) for row in rows if row["asset"] == ASSETS[market])

        before = await wallet()
        await venue.send()
        begun_ns = await venue.now_ns()
        while await venue.now_ns() < begun_ns + 8 * HOUR_NS:
            await venue.advance(until_ns=begun_ns + 8 * HOUR_NS)
        await venue.send(side="SELL")
        rows = [await venue.call("GET", "income", limit=2, page=page) for page in range(1, 20)]
        fees = await venue.call("GET", "income", incomeType="COMMISSION", symbol=venue.symbol, limit=1000)
        none = await venue.call("GET", "income", incomeType="TRANSFER")
        fills = await venue.call("GET", "userTrades", symbol=venue.symbol)
        return await wallet() - before, [row for page in rows for row in page], fees, none, fills

    change, rows, fees, none, fills = play(scene, market, as_of="2026-10-15")

    assert sum(Decimal(row["income"]) for row in rows) == change
    assert {row["incomeType"] for row in rows} == {"COMMISSION", "FUNDING_FEE", "REALIZED_PNL"}
    assert len({(row["incomeType"], row["tranId"]) for row in rows}) == len(rows)
    assert none == []
    assert -sum(Decimal(row["income"]) for row in fees) == sum(Decimal(fill["commission"]) for fill in fills)
    realised = sum(Decimal(row["income"]) for row in rows if row["incomeType"] == "REALIZED_PNL")
    assert realised == sum(Decimal(fill["realizedPnl"]) for fill in fills)


@BOTH
def test_income_has_no_pages_since_the_venue_took_them_away(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        return await venue.call("GET", "income", page=1), await venue.call("GET", "income", limit=1)

    refused, rows = play(scene, market)

    assert refused["code"] == -1104
    assert isinstance(rows, list)


def test_all_views_of_a_position_agree() -> None:
    async def scene(venue: Futures) -> Any:
        await venue.call("POST", "leverage", symbol=venue.symbol, leverage=10)
        await venue.send()
        await venue.limit("0.97")
        paths = ("v3/account", "v2/account", "v3/positionRisk", "v2/positionRisk", "v3/balance")
        return await venue.mark(), [await venue.call("GET", f"/fapi/{path}") for path in paths]

    mark, (account, old_account, (risk,), old_risk, balances) = play(scene)

    (position,) = account["positions"]
    assert {position["positionAmt"], risk["positionAmt"], old_risk[0]["positionAmt"]} == {"0.1"}
    profit = (mark - Decimal(risk["entryPrice"])) / 10
    assert {Decimal(row) for row in (risk["unRealizedProfit"], position["unrealizedProfit"])} == {
        profit.quantize(Decimal("1e-8"))
    }
    assert Decimal(risk["notional"]) == (mark / 10).quantize(Decimal("1e-8"))
    assert Decimal(risk["positionInitialMargin"]) == (mark / 100).quantize(Decimal("1e-8"))
    assert account["totalOpenOrderInitialMargin"] == risk["openOrderInitialMargin"] != "0.00000000"
    assert (old_risk[0]["leverage"], old_risk[0]["marginType"], len(old_risk)) == ("10", "cross", 2)
    assert (old_account["totalWalletBalance"], len(old_account["positions"])) == (account["totalWalletBalance"], 2)
    usdt = next(row for row in balances if row["asset"] == "USDT")
    assert usdt["availableBalance"] == account["availableBalance"]
    left = sum(Decimal(account[name]) for name in ("totalMarginBalance",)) - Decimal(account["totalInitialMargin"])
    assert abs(left - Decimal(account["availableBalance"])) <= Decimal("3e-8")


@BOTH
def test_leverage_and_modes_are_set_and_refused_as_the_manual_says(market: str) -> None:
    async def scene(venue: Futures) -> Any:
        of = {"symbol": venue.symbol}
        answers = [
            await venue.call("POST", "leverage", **of, leverage=25 if market == "usdm" else 20),
            await venue.call("POST", "leverage", **of, leverage=126),
            await venue.call("POST", "marginType", **of, marginType="CROSSED"),
            await venue.call("POST", "marginType", **of, marginType="ISOLATED"),
            await venue.call("POST", "positionSide/dual", dualSidePosition="false"),
        ]
        await venue.send()
        answers += [
            await venue.call("POST", "marginType", **of, marginType="CROSSED"),
            await venue.call("POST", "positionSide/dual", dualSidePosition="true"),
            await venue.call("POST", "leverage", **of, leverage=5),
        ]
        return answers, await venue.call("GET", "positionSide/dual")

    answers, mode = play(scene, market)

    assert answers[0]["maxNotionalValue" if market == "usdm" else "maxQty"] == (
        "70000000" if market == "usdm" else "50"
    )
    assert [answer.get("code") for answer in answers[1:]] == [-4028, -4046, 200, -4059, -4048, -4068, -4161]
    assert mode == {"dualSidePosition": False}


def test_margin_moves_to_and_from_an_isolated_position_only() -> None:
    async def scene(venue: Futures) -> Any:
        of = {"symbol": venue.symbol}
        flat = await venue.call("POST", "positionMargin", **of, amount="10", type="1")
        await venue.send(symbol="ETHUSDT")
        crossed = await venue.call("POST", "positionMargin", symbol="ETHUSDT", amount="10", type="1")
        await venue.call("POST", "marginType", **of, marginType="ISOLATED")
        await venue.send()
        more = await venue.call("POST", "positionMargin", **of, amount="100", type="1")
        less = await venue.call("POST", "positionMargin", **of, amount="30", type="2")
        refused = [
            await venue.call("POST", "positionMargin", **of, amount="1000000", type="1"),
            await venue.call("POST", "positionMargin", **of, amount="500", type="2"),
            await venue.call("POST", "positionMargin", **of, amount="0", type="2"),
        ]
        history = await venue.call("GET", "positionMargin/history", **of)
        rows = await venue.call("GET", "/fapi/v3/positionRisk", **of)
        return flat, crossed, more, less, refused, history, rows

    flat, crossed, more, less, refused, history, (risk,) = play(scene)

    assert [flat["code"], crossed["code"]] == [-4054, -4049]
    assert (more["code"], less["type"]) == (200, 2)
    assert [answer["code"] for answer in refused] == [-4050, -4051, -4055]
    assert [(row["type"], row["amount"]) for row in history] == [(1, "100"), (2, "30")]
    wallet, margin = Decimal(risk["isolatedWallet"]), Decimal(risk["isolatedMargin"])
    assert margin - wallet == Decimal(risk["unRealizedProfit"])
    assert Decimal(risk["liquidationPrice"]) > 0


@BOTH
def test_tiers_fees_and_limits_are_told(market: str) -> None:
    prefix = "/fapi/v1" if market == "usdm" else "/dapi/v2"

    async def scene(venue: Futures) -> Any:
        brackets = await venue.call("GET", f"{prefix}/leverageBracket", symbol=venue.symbol)
        every = await venue.call("GET", "leverageBracket")  # of COIN-M by pair
        return brackets, every, await venue.call("GET", "commissionRate", symbol=venue.symbol)

    brackets, every, fees = play(scene, market)

    assert [one.get("pair", one.get("symbol")) for one in every] == (
        ["BTCUSDT", "ETHUSDT"] if market == "usdm" else ["BTCUSD", "ETHUSD"]
    )
    row = brackets if market == "usdm" else brackets[0]
    cap, floor = ("notionalCap", "notionalFloor") if market == "usdm" else ("qtyCap", "qtylFloor")
    assert all(one[cap] == other[floor] for one, other in zip(row["brackets"], row["brackets"][1:], strict=False))
    for one, other in zip(row["brackets"], row["brackets"][1:], strict=False):  # the tiers join
        step = (other["maintMarginRatio"] - one["maintMarginRatio"]) * other[floor]
        assert other["cum"] - one["cum"] == pytest.approx(step)
    assert (fees["makerCommissionRate"], fees["takerCommissionRate"]) == ("0.000200", "0.000500")


def test_what_the_account_is_set_to_is_told() -> None:
    async def scene(venue: Futures) -> Any:
        names = ("accountConfig", "symbolConfig", "multiAssetsMargin", "feeBurn", "apiTradingStatus", "rateLimit/order")
        told = {name: await venue.call("GET", name) for name in names}
        refused = [
            (await venue.call("POST", "multiAssetsMargin", multiAssetsMargin=flag))["code"]
            for flag in ("true", "false")
        ]
        burning = await venue.call("POST", "feeBurn", feeBurn="true")
        return told, refused, burning, await venue.call("GET", "feeBurn"), await venue.call("GET", "forceOrders")

    told, refused, burning, after, forced = play(scene)

    assert (told["accountConfig"]["feeTier"], told["accountConfig"]["dualSidePosition"]) == (0, False)
    assert [row["marginType"] for row in told["symbolConfig"]] == ["CROSSED", "CROSSED"]
    assert (told["multiAssetsMargin"], told["feeBurn"]) == ({"multiAssetsMargin": False}, {"feeBurn": False})
    assert (told["apiTradingStatus"]["indicators"], len(told["rateLimit/order"])) == ({}, 2)
    assert (refused, burning["code"], after, forced) == ([-1020, -4171], 200, {"feeBurn": True}, [])


def test_a_key_says_what_it_may_do() -> None:
    async def scene(venue: Futures) -> Any:
        return [await venue.call("GET", "/sapi/v1/account/apiRestrictions", who) for who in (ALICE, BOB)]

    alice, bob = play(scene)

    assert [row["enableWithdrawals"] for row in (alice, bob)] == [False, True]
    assert [(row["enableFutures"], row["enableSpotAndMarginTrading"]) for row in (alice, bob)] == [(True, False)] * 2


def test_a_crash_liquidates_and_both_the_order_and_the_fund_are_told(tmp_path: Path) -> None:
    begin_ms, closes = 1_748_736_000_000, [100_000] * 2 + [80_000] * 4
    rows = [
        f"{begin_ms + number * 60_000},{close},{close + 50},{close - 50},{close},5000"
        for number, close in enumerate(closes)
    ]
    data = tmp_path / "crash.csv"
    data.write_text("\n".join(["open_time,open,high,low,close,volume", *rows]) + "\n")

    async def scene(venue: Futures) -> Any:
        await venue.send(quantity="15")
        for _ in range(2):
            await venue.advance()
        await venue.advance(until_ns=await venue.now_ns() + 10**9)
        far = await venue.send(quantity="0.01", side="SELL")
        for _ in range(2):
            await venue.advance()
        forced = [await venue.call("GET", "forceOrders", **params) for params in ({}, {"autoCloseType": "ADL"})]
        history = await venue.call("GET", "userTrades", symbol=venue.symbol)
        income = await venue.call("GET", "income")
        return far, forced, history, income, await venue.call("GET", "/fapi/v3/account")

    far, (forced, adl), history, income, account = play(scene, data={"BTC/USDT": data})

    assert (far["code"], adl) == (-4131, [])
    (order,) = forced
    assert order["clientOrderId"].startswith("autoclose-")
    assert (order["status"], order["executedQty"], order["side"]) == ("FILLED", "15", "SELL")
    assert {row["orderId"] for row in history if row["side"] == "SELL"} == {order["orderId"]}
    assert {row["incomeType"] for row in income} == {"COMMISSION", "REALIZED_PNL", "INSURANCE_CLEAR"}
    assert 100_000 + sum(Decimal(row["income"]) for row in income) == Decimal(account["totalWalletBalance"])
    assert account["positions"] == []


def test_a_delivery_ends_the_position_and_is_told_by_its_own_name() -> None:
    symbol = "BTCUSDT_250601"

    async def scene(venue: Futures) -> Any:
        await venue.send(symbol=symbol)
        begun_ns = await venue.now_ns()
        while await venue.now_ns() <= begun_ns + 8 * HOUR_NS:
            await venue.advance(until_ns=begun_ns + 9 * HOUR_NS)
        income = await venue.call("GET", "income")
        orders = await venue.call("GET", "allOrders", symbol=symbol)
        return income, orders, await venue.call("GET", "/fapi/v3/positionRisk"), await venue.send(symbol=symbol)

    income, orders, positions, late = play(scene, symbols=("BTC/USDT:USDT-250601",))

    assert {row["incomeType"] for row in income} == {"COMMISSION", "DELIVERED_SETTELMENT"}
    assert (orders[-1]["clientOrderId"].partition("-")[0], positions, late["code"]) == (
        "settlement_autoclose",
        [],
        -4141,
    )


def test_fees_are_paid_in_bnb_at_a_tenth_less_where_the_account_says_so() -> None:
    async def scene(venue: Futures) -> Any:
        await venue.send()
        await venue.call("POST", "feeBurn", feeBurn="true")
        await venue.send()
        bnb = Decimal((await venue.public("ticker/price", symbol="BNBUSDT"))["price"])
        return bnb, await venue.call("GET", "userTrades", symbol=venue.symbol)

    bnb, fills = play(scene, symbols=("BTC/USDT", "BNB/USDT"))

    paid = {fill["commissionAsset"]: fill for fill in fills}
    rates = {
        asset: Decimal(fill["commission"]) * (bnb if asset == "BNB" else 1) / Decimal(fill["quoteQty"])
        for asset, fill in paid.items()
    }
    assert {asset: round(rate, 8) for asset, rate in rates.items()} == {
        "USDT": Decimal("0.0005"),
        "BNB": Decimal("0.00045"),
    }
