"""Orders of USD-M and COIN-M as parameters, and those that the market does not have."""

from decimal import Decimal
from typing import Any

import pytest

from btx.errors import NotSupportedError
from btx.model.order import OrderType, PositionSide, Side, TimeInForce
from btx.model.time import NS_PER_S
from btx_binance.futures.orders import order_params
from tests.unit.binance.futures_rig import COINM, leg

_NOW = 1_750_000_000 * NS_PER_S
_BARE: dict[str, Any] = {"price": None}
_STOP: dict[str, Any] = {"trigger_price": Decimal("6E+4")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"type": "LIMIT", "timeInForce": "GTC", "price": "61837.6", "newClientOrderId": "run1-1"}),
        ({"order_type": OrderType.MARKET, **_BARE}, {"type": "MARKET"}),
        ({"post_only": True}, {"type": "LIMIT", "timeInForce": "GTX"}),
        ({"time_in_force": TimeInForce.FOK}, {"timeInForce": "FOK"}),
        (
            {"time_in_force": TimeInForce.GTD, "expires_ns": _NOW + 601 * NS_PER_S},
            {"timeInForce": "GTD", "goodTillDate": "1750000601000"},
        ),
        ({"reduce_only": True}, {"reduceOnly": "true"}),
        ({"position_side": PositionSide.LONG}, {"positionSide": "LONG"}),
        (
            {"order_type": OrderType.STOP_MARKET, **_BARE, **_STOP},
            {"type": "STOP_MARKET", "algoType": "CONDITIONAL", "triggerPrice": "60000", "clientAlgoId": "run1-1"},
        ),
        (
            {"order_type": OrderType.STOP_LIMIT, **_STOP, "post_only": True},
            {"type": "STOP", "triggerPrice": "60000", "price": "61837.6", "timeInForce": "GTX"},
        ),
        ({"order_type": OrderType.TAKE_PROFIT_LIMIT, **_STOP}, {"type": "TAKE_PROFIT", "price": "61837.6"}),
        (
            {"order_type": OrderType.TAKE_PROFIT_MARKET, **_BARE, **_STOP, "params": {"priceProtect": True}},
            {"type": "TAKE_PROFIT_MARKET", "priceProtect": "true"},
        ),
        (
            {"order_type": OrderType.TRAILING_STOP, **_BARE, "trail_bps": 125, "params": {"activatePrice": "59000"}},
            {"type": "TRAILING_STOP_MARKET", "callbackRate": "1.25", "activatePrice": "59000"},
        ),
        ({"params": {"priceMatch": "QUEUE"}, **_BARE}, {"type": "LIMIT", "priceMatch": "QUEUE"}),
    ],
)
def test_each_kind_of_order_has_its_documented_parameters(changes: dict[str, Any], expected: dict[str, str]) -> None:
    sent = order_params(leg(**changes), now_ns=_NOW)

    assert expected.items() <= sent.items()
    assert (sent["symbol"], sent["side"], sent["quantity"], sent["newOrderRespType"]) == (
        *("BTCUSDT", "BUY", "0.002"),
        "ACK",
    )
    assert ("algoType" in sent) is ("clientAlgoId" in sent) is ("newClientOrderId" not in sent)
    assert ("timeInForce" in sent) is (sent["type"] in {"LIMIT", "STOP", "TAKE_PROFIT"})


def test_a_market_order_carries_nothing_but_what_it_needs() -> None:
    sent = order_params(leg(COINM, order_type=OrderType.MARKET, price=None, quantity=Decimal(3)), now_ns=_NOW)

    assert sent == {
        "symbol": "BTCUSD_PERP",
        "side": "BUY",
        "type": "MARKET",
        "quantity": "3",
        "newClientOrderId": "run1-1",
        "newOrderRespType": "ACK",
    }


def test_closing_a_whole_position_takes_neither_quantity_nor_reduce_only() -> None:
    sent = order_params(
        leg(order_type=OrderType.STOP_MARKET, **_BARE, **_STOP, reduce_only=True, params={"closePosition": True}),
        now_ns=_NOW,
    )

    assert sent["closePosition"] == "true"
    assert {"quantity", "reduceOnly"} & set(sent) == set()


def test_in_hedge_mode_the_side_of_the_position_says_that_an_order_reduces() -> None:
    sent = order_params(leg(side=Side.SELL, position_side=PositionSide.LONG, reduce_only=True), now_ns=_NOW)

    assert sent["positionSide"] == "LONG"
    assert "reduceOnly" not in sent


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"position_side": PositionSide.LONG, "reduce_only": True}, "a BUY adds to a LONG position"),
        ({"order_type": OrderType.STOP_MARKET, **_BARE}, "STOP_MARKET needs a trigger price"),
        ({"order_type": OrderType.MARKET}, "a price is for limit orders"),
        ({"price": None}, "a price is for limit orders"),
        ({"display_quantity": Decimal("0.001")}, "no icebergs"),
        ({"order_type": OrderType.TRAILING_STOP, **_BARE, "trail_amount": Decimal(5)}, "a trail in money"),
        ({"order_type": OrderType.TRAILING_STOP, "trail_bps": 10}, "give it no price"),
        ({"post_only": True, "time_in_force": TimeInForce.IOC}, "a post-only order rests"),
        ({"time_in_force": TimeInForce.GTD, "expires_ns": _NOW + 600 * NS_PER_S}, "more than 600 s"),
        ({"time_in_force": TimeInForce.GTD}, "more than 600 s"),
        ({"time_in_force": TimeInForce.GTD, "order_type": OrderType.MARKET, **_BARE}, "only orders with a limit"),
    ],
)
def test_what_the_market_does_not_have_is_refused_before_it_leaves(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotSupportedError, match=why):
        order_params(leg(**changes), now_ns=_NOW)
