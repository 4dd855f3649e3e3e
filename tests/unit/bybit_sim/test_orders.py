"""Orders and executions as they are asked for: what is open, what is over, page by page."""

from typing import Any

from btx.model.time import NS_PER_HOUR
from btx_bybit.sim.orders import is_kept
from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_trading import at, create, last, played


async def listed(client: Client, path: str, **params: Any) -> Any:
    client.clock.pass_s(0.05)
    answer = await client.signed("GET", path, **{"category": "linear", **params})
    return answer["result"]


async def three_orders(client: Client) -> None:
    """One that rests, one that was cancelled, one that was filled."""
    price = at(await last(client), 0.995)
    await create(client, orderType="Limit", price=price, orderLinkId="rests")
    await create(client, orderType="Limit", price=price, orderLinkId="gone")
    where = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "gone"}
    await client.signed("POST", "/v5/order/cancel", **where)
    await create(client, orderLinkId="done")


def names(rows: Any) -> list[str]:
    return [row["orderLinkId"] for row in rows]


def test_open_orders_and_recent_ones_are_asked_for_apart() -> None:
    async def scene(client: Client) -> Any:
        await three_orders(client)
        path = "/v5/order/realtime"
        by_symbol = await listed(client, path, symbol="BTCUSDT")
        closed = await listed(client, path, settleCoin="USDT", openOnly=1)
        by_name = await listed(client, path, orderLinkId="done")
        by_id = await listed(client, path, orderId=by_name["list"][0]["orderId"])
        coins = [await listed(client, path, baseCoin=coin) for coin in ("BTC", "ETH")]
        elsewhere = await listed(client, path, category="spot")
        nothing = await client.signed("GET", path, category="linear")
        kinds = [await listed(client, path, symbol="BTCUSDT", orderFilter=kind) for kind in ("Order", "StopOrder")]
        lists = [each["list"] for each in (by_symbol, closed, by_name, by_id, *coins, elsewhere, *kinds)]
        return [names(each) for each in lists], nothing["retCode"]

    lists, nothing = played(scene)

    assert lists == [
        ["rests"],
        ["done", "gone"],
        ["done"],
        ["done"],
        ["rests"],
        [],
        [],
        ["rests"],
        [],
    ]
    assert nothing == 10001


def test_the_past_is_told_page_by_page_and_new_rows_move_no_page() -> None:
    async def scene(client: Client) -> Any:
        for number in range(5):
            await create(client, qty="0.001", orderLinkId=f"n{number}")
        first = await listed(client, "/v5/order/history", limit=2)
        await create(client, qty="0.001", orderLinkId="n5")
        second = await listed(client, "/v5/order/history", limit=2, cursor=first["nextPageCursor"])
        third = await listed(client, "/v5/order/history", limit=2, cursor=second["nextPageCursor"])
        return first, second, third

    first, second, third = played(scene)

    assert [names(page["list"]) for page in (first, second, third)] == [["n4", "n3"], ["n2", "n1"], ["n0"]]
    assert (bool(second["nextPageCursor"]), third["nextPageCursor"]) == (True, "")


def test_the_past_is_chosen_by_time_and_state() -> None:
    async def scene(client: Client) -> Any:
        await three_orders(client)
        now_ms = client.world.market.now_ns // 10**6
        day_ms = 86_400_000
        path = "/v5/order/history"
        states = [await listed(client, path, orderStatus=state) for state in ("Filled", "Cancelled", "Rejected")]
        times = [
            await listed(client, path, startTime=now_ms - day_ms),
            await listed(client, path, endTime=now_ms - day_ms),
            await listed(client, path, startTime=now_ms - 1, endTime=now_ms + 1),
        ]
        far = await client.signed("GET", path, category="linear", startTime=now_ms - 8 * day_ms, endTime=now_ms)
        return [names(each["list"]) for each in (*states, *times)], far["retCode"]

    found, far = played(scene)

    assert found == [["done"], ["gone"], [], ["done", "gone"], [], ["done", "gone"]]
    assert far == 10001


def test_what_ended_without_a_fill_is_in_the_past_for_a_day() -> None:
    async def scene(client: Client) -> Any:
        await three_orders(client)
        return {each.client_order_id: each for each in client.world.engine.all_orders(api_key="alice")}

    orders = played(scene)
    later_ns = orders["gone"].updated_ns + 24 * NS_PER_HOUR

    assert is_kept(orders["gone"], later_ns - 1)
    assert not is_kept(orders["gone"], later_ns)
    assert is_kept(orders["done"], later_ns)


def test_executions_are_chosen_by_order_symbol_and_kind() -> None:
    async def scene(client: Client) -> Any:
        await three_orders(client)
        path = "/v5/execution/list"
        chosen: tuple[dict[str, str], ...] = (
            {},
            {"symbol": "BTCUSDT"},
            {"symbol": "ETHUSDT"},
            {"orderLinkId": "done"},
            {"orderLinkId": "rests"},
            {"execType": "Funding"},
            {"category": "spot"},
        )
        return [(await listed(client, path, **params))["list"] for params in chosen]

    everything, by_symbol, *others = played(scene)

    assert everything == by_symbol == others[1]
    assert others[0] == others[2] == others[3] == others[4] == []
    assert {row["execType"] for row in everything} == {"Trade"}
    assert float(everything[0]["leavesQty"]) == 0
    assert {(row["isMaker"], row["feeRate"], row["feeCurrency"]) for row in everything} == {(False, "0.00055", "USDT")}
