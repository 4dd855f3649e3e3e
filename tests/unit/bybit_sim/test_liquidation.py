"""A position that is gone: what the venue says of it."""

from typing import Any

from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_positions import HERE, held, post
from tests.unit.bybit_sim.test_trading import at, create, last, played


def test_an_isolated_position_that_is_liquidated_takes_its_guards_with_it() -> None:
    async def scene(client: Client) -> Any:
        await client.signed("POST", "/v5/account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")
        await post(client, "set-leverage", buyLeverage="100", sellLeverage="100")
        price = await last(client)
        await create(client, qty="1", takeProfit=at(price, 1.5))
        await create(client, orderType="Limit", price=at(price, 0.985), qty="0.01", orderLinkId="rests")
        for _ in range(1440):
            if not float((await held(client))[0]["size"]):
                break
            client.world.advance()
            client.clock.pass_s(1)
        orders = (await client.signed("GET", "/v5/order/history", **HERE))["result"]["list"]
        fills = (await client.signed("GET", "/v5/execution/list", **HERE, execType="BustTrade"))["result"]["list"]
        return orders, fills

    orders, [bust] = played(scene)

    assert (bust["side"], bust["execFee"], bust["orderLinkId"]) == ("Sell", "0", "")
    by_type = {each["createType"]: each for each in orders}
    assert by_type["CreateByLiq"]["orderStatus"] == "Filled"
    assert by_type["CreateByTakeProfit"]["cancelType"] == "CancelByTpSlTsClear"
    resting = next(each for each in orders if each["orderLinkId"] == "rests")
    assert (resting["orderStatus"], resting["cancelType"]) == ("Cancelled", "CancelAllBeforeLiq")
