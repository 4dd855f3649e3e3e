"""Positions over REST: what is held, leverage and modes, what guards it, what it has brought."""

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_trading import at, create, last, played

HERE = {"category": "linear", "symbol": "BTCUSDT"}


async def held(client: Client, **which: Any) -> list[Any]:
    answer = await client.signed("GET", "/v5/position/list", **{**HERE, **which})
    return answer["result"]["list"]


async def post(client: Client, path: str, **params: Any) -> int:
    """The code of a request about a position."""
    client.clock.pass_s(0.2)
    return (await client.signed("POST", f"/v5/position/{path}", **{**HERE, **params}))["retCode"]


async def waiting(client: Client) -> dict[str, Any]:
    """What guards a position, by its kind."""
    answer = await client.signed("GET", "/v5/order/realtime", **HERE)
    return {each["stopOrderType"]: each for each in answer["result"]["list"]}


def test_a_position_costs_its_margins_with_the_fee_of_closing_it() -> None:
    async def scene(client: Client) -> Any:
        await create(client, qty="0.1")
        wallet = await client.signed("GET", "/v5/account/wallet-balance", accountType="UNIFIED")
        return (await held(client))[0], wallet["result"]["list"][0]

    position, wallet = played(scene)

    mark, size = Decimal(position["markPrice"]), Decimal(position["size"])
    fee = size * mark * Decimal("0.9") * Decimal("0.00055")
    assert (position["side"], position["leverage"], position["positionIdx"], position["tradeMode"]) == (
        "Buy",
        "10",
        0,
        0,
    )
    assert abs(Decimal(position["positionIM"]) - (size * mark / 10 + fee)) < Decimal("0.01")
    assert abs(Decimal(position["positionMM"]) - (size * mark * Decimal("0.005") + fee)) < Decimal("0.01")
    assert Decimal(position["curRealisedPnl"]) == -size * Decimal(position["avgPrice"]) * Decimal("0.00055")
    [usdt] = wallet["coin"]
    assert (usdt["coin"], usdt["totalPositionIM"][:6]) == ("USDT", position["positionIM"][:6])
    assert abs(Decimal(wallet["totalInitialMargin"]) - Decimal(position["positionIM"])) < Decimal("0.001")
    free = Decimal(wallet["totalMarginBalance"]) - Decimal(wallet["totalInitialMargin"])
    assert abs(free - Decimal(wallet["totalAvailableBalance"])) < Decimal("0.0000001")


def test_flat_positions_are_told_of_a_symbol_and_not_of_a_coin() -> None:
    async def scene(client: Client) -> Any:
        flat = await held(client)
        by_coin = await held(client, symbol="", settleCoin="USDT")
        nothing = await client.signed("GET", "/v5/position/list", category="linear")
        elsewhere = await client.signed("GET", "/v5/position/list", category="inverse")
        await create(client)
        return (
            flat,
            by_coin,
            nothing["retCode"],
            elsewhere["result"]["list"],
            await held(client, symbol="", settleCoin="USDT"),
        )

    flat, by_coin, nothing, elsewhere, after = played(scene)

    assert [(each["side"], float(each["size"]), each["liqPrice"]) for each in flat] == [("", 0, "")]
    assert (by_coin, nothing, elsewhere) == ([], 10001, [])
    assert [each["symbol"] for each in after] == ["BTCUSDT"]


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_spot_has_no_positions_to_ask_for(market: str) -> None:
    async def scene(client: Client) -> Any:
        listed = await client.signed("GET", "/v5/position/list", category="spot", symbol="BTCUSDT")
        closed = await client.signed("GET", "/v5/position/closed-pnl", category="spot")
        funding = await client.get("/v5/market/funding/history", category="spot", symbol="BTCUSDT")
        return [each["retCode"] for each in (listed, closed, funding)]

    assert played(scene, market) == [10001, 10001, 10001]


def test_leverage_is_set_for_both_sides_at_once() -> None:
    async def scene(client: Client) -> Any:
        codes = [
            await post(client, "set-leverage", buyLeverage=buy, sellLeverage=sell)
            for buy, sell in (("5", "5"), ("5", "5"), ("5", "6"), ("2.5", "2.5"), ("101", "101"), ("100", "100"))
        ]
        await create(client, qty="9")
        return codes, await post(client, "set-leverage", buyLeverage="100", sellLeverage="100"), (await held(client))[0]

    codes, _, position = played(scene)

    assert codes == [0, 110043, 10001, 10001, 10001, 0]
    assert position["leverage"] == "100"


def test_a_larger_position_has_another_risk_limit_and_less_leverage() -> None:
    async def scene(client: Client) -> Any:
        limits = [await post(client, "set-risk-limit", riskId=number) for number in (1, 99)]
        await post(client, "set-leverage", buyLeverage="50", sellLeverage="50")
        for _ in range(4):
            await create(client, qty="8")
            client.world.advance()
        return (
            limits,
            (await held(client))[0],
            await post(client, "set-leverage", buyLeverage="100", sellLeverage="100"),
        )

    limits, position, code = played(scene)

    assert limits == [0, 110031]
    assert (position["riskId"], position["riskLimitValue"]) == (3, "3200000")
    assert code == 110013


def test_perpetuals_in_usdt_are_held_on_both_sides_when_the_symbol_is_switched() -> None:
    async def scene(client: Client) -> Any:
        codes = [await post(client, "switch-mode", mode=mode) for mode in (3, 3, 7)]
        await create(client, positionIdx=1)
        await create(client, side="Sell", positionIdx=2, qty="0.02")
        both = [(each["positionIdx"], each["side"], each["size"]) for each in await held(client)]
        codes.append(await post(client, "switch-mode", mode=0))
        wrong = await create(client)
        opening = await create(client, positionIdx=1, reduceOnly=True)
        await create(client, side="Sell", positionIdx=1, reduceOnly=True)
        await create(client, positionIdx=2, qty="0.02")
        codes += [await post(client, "switch-mode", symbol="", coin=coin, mode=0) for coin in ("USDT", "")]
        return codes, both, wrong["retCode"], opening["retCode"], await held(client)

    codes, both, wrong, opening, after = played(scene)

    assert codes == [0, 110025, 10001, 110024, 0, 10001]
    assert both == [(1, "Buy", "0.010"), (2, "Sell", "0.020")]
    assert (wrong, opening) == (10001, 110017)
    assert [each["positionIdx"] for each in after] == [0]


def test_inverse_perpetuals_have_one_side_and_the_account_one_margin_mode() -> None:
    async def scene(client: Client) -> Any:
        where = {"category": "inverse", "symbol": "BTCUSD"}
        hedge = await client.signed("POST", "/v5/position/switch-mode", **where, mode=3)
        isolated = await client.signed("POST", "/v5/position/switch-isolated", **where, tradeMode=1)
        return hedge["retCode"], isolated["retCode"]

    assert played(scene, "inverse") == (110029, 100028)


def test_an_isolated_position_has_money_of_its_own() -> None:
    async def scene(client: Client) -> Any:
        async def mode(name: str) -> Any:
            return await client.signed("POST", "/v5/account/set-margin-mode", setMarginMode=name)

        codes = [await post(client, "add-margin", margin="10")]
        await mode("ISOLATED_MARGIN")
        await create(client)
        before = (await held(client))[0]
        added = await client.signed("POST", "/v5/position/add-margin", **HERE, margin="10")
        after = (await held(client))[0]
        codes.append(await post(client, "add-margin", margin="1000000"))
        refused = await mode("REGULAR_MARGIN")
        await create(client, side="Sell", reduceOnly=True)
        done = await mode("REGULAR_MARGIN")
        portfolio = await mode("PORTFOLIO_MARGIN")
        info = await client.signed("GET", "/v5/account/info")
        modes = refused["retCode"], done["retCode"], portfolio["retCode"], info["result"]["marginMode"]
        return codes, before, added["result"], after, modes

    codes, before, added, after, modes = played(scene)

    assert codes == [110033, 110014]
    assert (before["tradeMode"], before["liqPrice"] > "0") == (1, True)
    assert Decimal(after["positionBalance"]) - Decimal(before["positionBalance"]) == 10
    assert added["liqPrice"] == after["liqPrice"] < before["liqPrice"]
    assert modes == (3400045, 0, 3400045, "REGULAR_MARGIN")


def test_a_stop_loss_a_take_profit_and_a_trail_guard_a_whole_position() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        codes = [await post(client, "trading-stop", stopLoss=at(price, 0.95), tpslMode="Full", positionIdx=0)]
        await create(client)
        guards = {"takeProfit": at(price, 1.05), "stopLoss": at(price, 0.95), "slTriggerBy": "IndexPrice"}
        codes += [await post(client, "trading-stop", **guards) for _ in range(2)]
        codes.append(await post(client, "trading-stop", stopLoss=at(price, 0.96)))
        codes.append(await post(client, "trading-stop", trailingStop="500", activePrice=at(price, 1.01)))
        codes.append(await post(client, "trading-stop", trailingStop="600", activePrice=at(price, 1.01)))
        guarded, listed = (await held(client))[0], await waiting(client)
        codes += [
            await post(client, "trading-stop", **{name: "0"}) for name in ("takeProfit", "takeProfit", "trailingStop")
        ]
        codes += [
            await post(client, "trading-stop", stopLoss=at(price, 1.05)),
            await post(client, "trading-stop", trailingStop="0.05"),
            await post(client, "trading-stop", stopLoss=at(price, 0.97), slOrderType="Market"),
            await post(client, "trading-stop", trailingStop="500", activePrice=at(price, 0.9)),
        ]
        left = await waiting(client)
        await create(client, side="Sell", reduceOnly=True)
        return codes, guarded, listed, left, await waiting(client), price

    codes, guarded, listed, left, after, price = played(scene)

    assert codes == [10001, 0, 34040, 0, 0, 0, 0, 34040, 0, 10001, 10001, 10001, 110092]
    assert listed.keys() == {"TakeProfit", "StopLoss", "TrailingStop"}
    assert (guarded["trailingStop"], float(guarded["stopLoss"])) == ("600.00", float(at(price, 0.96)))
    assert (listed["StopLoss"]["tpslMode"], listed["StopLoss"]["triggerBy"]) == ("Full", "LastPrice")
    assert float(listed["TrailingStop"]["triggerPrice"]) == float(at(price, 1.01))
    assert (left.keys(), after) == ({"StopLoss"}, {})


def test_parts_of_a_position_are_guarded_in_pairs() -> None:
    async def scene(client: Client) -> Any:
        price = await last(client)
        await create(client, qty="0.03")
        part = {"tpslMode": "Partial", "takeProfit": at(price, 1.0004), "stopLoss": at(price, 0.9)}
        codes = [await post(client, "trading-stop", **part, tpSize="0.01", slSize=size) for size in ("0.01", "0.02")]
        codes.append(await post(client, "trading-stop", **part, tpSize="1", slSize="1"))
        both = await waiting(client)
        for _ in range(300):
            if not await waiting(client):
                break
            client.world.advance()
            client.clock.pass_s(1)
        history = await client.signed("GET", "/v5/order/history", **HERE, orderStatus="Deactivated")
        return codes, both, (await held(client))[0]["size"], history["result"]["list"]

    codes, both, size, [ended] = played(scene)

    assert codes == [0, 10001, 110058]
    assert {name: float(each["qty"]) for name, each in both.items()} == {
        "PartialTakeProfit": 0.01,
        "PartialStopLoss": 0.01,
    }
    assert float(size) == 0.02
    assert (ended["stopOrderType"], ended["cancelType"]) == ("PartialStopLoss", "CancelByOCOSlCanceledByTpTriggered")


@pytest.mark.parametrize(("market", "quantity"), [("linear", "0.03"), ("inverse", "300")])
def test_what_was_closed_says_what_it_brought(market: str, quantity: str) -> None:
    async def scene(client: Client) -> Any:
        for _ in range(3):
            await create(client, market, qty=str(Decimal(quantity) / 3))
            client.world.advance()
        await create(client, market, side="Sell", qty=quantity, reduceOnly=True)
        rows = await client.signed("GET", "/v5/position/closed-pnl", category=market)
        fills = await client.signed("GET", "/v5/execution/list", category=market)
        return rows["result"]["list"], fills["result"]["list"]

    [row], fills = played(scene, market)

    closing = [fill for fill in fills if fill["side"] == "Sell"]
    realised = sum(Decimal(fill["execPnl"]) for fill in closing)
    fees = sum(Decimal(fill["execFee"]) for fill in closing)
    assert (row["side"], Decimal(row["closedSize"]), row["fillCount"]) == ("Sell", Decimal(quantity), str(len(closing)))
    assert abs(Decimal(row["closedPnl"]) - (realised - fees)) < Decimal("0.0000001")
    gain = Decimal(row["cumExitValue"]) - Decimal(row["cumEntryValue"])
    assert abs(realised - (-gain if market == "inverse" else gain)) < Decimal("0.0000001")
