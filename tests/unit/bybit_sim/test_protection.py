from typing import Any

import pytest

from btx.model.time import NS_PER_S
from tests.unit.bybit_sim.served import Client
from tests.unit.bybit_sim.test_private import far_below, place, run


@pytest.mark.parametrize(
    ("topic", "comes_back", "rests_s", "is_open"),
    [
        ("dcp.future", False, 9, True),
        ("dcp.future", False, 11, False),
        ("dcp.future", True, 30, True),
        ("dcp.spot", False, 30, True),
        ("wallet", False, 30, True),
    ],
)
def test_orders_end_when_every_socket_that_protects_them_has_been_away_too_long(
    topic: str, comes_back: bool, rests_s: int, is_open: bool
) -> None:
    async def act(client: Client) -> Any:
        done = await client.signed("POST", "/v5/order/disconnected-cancel-all", product="DERIVATIVES", timeWindow=10)
        assert done["retCode"] == 0, done
        async with client.control() as do:
            async with client.account("order", topic):
                order = place(client, price=far_below(client))
            while (await do("sockets"))["sockets"]:
                pass
            async with client.account("order", topic) if comes_back else client.account("position"):
                await do("advance", api_key="alice", until_ns=client.world.market_ns() + rests_s * NS_PER_S)
            found = client.world.margin.order(api_key="alice", venue_symbol="BTCUSDT", order_id=order.order_id)
            return found.is_open

    assert run(act) is is_open
