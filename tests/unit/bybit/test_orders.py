"""Orders of Bybit as parameters, and those it does not have."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import NotSupportedError
from btx.model.order import OrderType, PositionSide, Side, TimeInForce, TriggerBy
from btx_bybit.orders import amend_params, order_params
from tests.unit.bybit.rig import leg

BARE: dict[str, Any] = {"price": None}
STOP: dict[str, Any] = {"trigger_price": Decimal("6E+4")}
SELL: dict[str, Any] = {"side": Side.SELL}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"orderType": "Limit", "timeInForce": "GTC", "price": "61837.6", "positionIdx": 0}),
        ({"order_type": OrderType.MARKET, **BARE}, {"orderType": "Market"}),
        ({"post_only": True}, {"timeInForce": "PostOnly"}),
        ({"time_in_force": TimeInForce.FOK}, {"timeInForce": "FOK"}),
        ({"reduce_only": True}, {"reduceOnly": True}),
        ({"position_side": PositionSide.LONG}, {"positionIdx": 1}),
        ({"position_side": PositionSide.SHORT, "reduce_only": True}, {"positionIdx": 2, "reduceOnly": True}),
        (
            {"order_type": OrderType.STOP_MARKET, **BARE, **STOP},
            {"orderType": "Market", "triggerPrice": "60000", "triggerDirection": 1, "triggerBy": "LastPrice"},
        ),
        ({"order_type": OrderType.STOP_LIMIT, **STOP, **SELL}, {"orderType": "Limit", "triggerDirection": 2}),
        (
            {"order_type": OrderType.TAKE_PROFIT_LIMIT, **STOP, "trigger_by": TriggerBy.MARK},
            {"triggerDirection": 2, "triggerBy": "MarkPrice"},
        ),
        ({"order_type": OrderType.TAKE_PROFIT_MARKET, **BARE, **STOP, **SELL}, {"triggerDirection": 1}),
        (
            {
                "params": {
                    "takeProfit": 65000.5,
                    "stopLoss": Decimal("6E+4"),
                    "tpslMode": "Full",
                    "closeOnTrigger": True,
                }
            },
            {"takeProfit": "65000.5", "stopLoss": "60000", "tpslMode": "Full", "closeOnTrigger": True},
        ),
        ({"params": {"takeProfit": 65000, "positionIdx": 1}}, {"takeProfit": "65000", "positionIdx": 0}),
        (
            {"params": {"takeProfit": 65000, "tpLimitPrice": 64900}},
            {"tpslMode": "Partial", "tpOrderType": "Limit", "tpLimitPrice": "64900"},
        ),
    ],
)
def test_each_kind_of_order_of_a_contract_has_its_documented_parameters(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    sent = order_params(leg(**changes), market="linear")

    assert expected.items() <= sent.items()
    assert (sent["category"], sent["symbol"], sent["qty"], sent["orderLinkId"]) == (
        "linear",
        "BTCUSDT",
        "0.002",
        "run1-1",
    )
    assert ("triggerDirection" in sent) is ("triggerPrice" in sent)
    assert not {"marketUnit", "orderFilter"} & sent.keys()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"orderType": "Limit"}),
        ({"order_type": OrderType.MARKET, **BARE}, {"orderType": "Market", "marketUnit": "baseCoin"}),
        (
            {"order_type": OrderType.STOP_MARKET, **BARE, **STOP},
            {"orderFilter": "tpslOrder", "triggerPrice": "60000", "marketUnit": "baseCoin"},
        ),
        (
            {"order_type": OrderType.STOP_LIMIT, **STOP, "params": {"orderFilter": "StopOrder"}},
            {"orderFilter": "StopOrder", "price": "61837.6"},
        ),
        (
            {"params": {"takeProfit": 65000, "stopLoss": "60000", "slLimitPrice": "59900", "isLeverage": 1}},
            {"takeProfit": "65000", "tpOrderType": "Market", "slOrderType": "Limit", "isLeverage": 1},
        ),
    ],
)
def test_orders_of_spot_count_coins_and_set_them_aside(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = order_params(leg("spot", **changes), market="spot")

    assert expected.items() <= sent.items()
    assert not {"positionIdx", "triggerDirection", "triggerBy", "reduceOnly"} & sent.keys()


@pytest.mark.parametrize(
    ("market", "changes", "sentence"),
    [
        ("linear", {"display_quantity": Decimal(1)}, "takes no icebergs"),
        ("linear", {"price": None}, "a price is for limit orders, and they need one: not LIMIT"),
        ("linear", {"order_type": OrderType.MARKET}, "a price is for limit orders, and they need one: not MARKET"),
        ("linear", {"order_type": OrderType.STOP_MARKET, **BARE}, "needs a trigger price"),
        ("linear", {"time_in_force": TimeInForce.DAY}, "no time in force DAY"),
        ("linear", {"order_type": OrderType.MARKET, **BARE, "time_in_force": TimeInForce.FOK}, "FOK needs a limit"),
        ("linear", {"post_only": True, "time_in_force": TimeInForce.IOC}, "its time in force is GTC"),
        (
            "linear",
            {"position_side": PositionSide.LONG, "reduce_only": True},
            "a BUY adds to a LONG position: it cannot be reduce-only",
        ),
        ("spot", {"order_type": OrderType.STOP_LIMIT, **STOP, "trigger_by": TriggerBy.MARK}, "spot has no mark price"),
    ],
)
def test_what_the_venue_does_not_have_is_refused_before_it_leaves(
    market: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NotSupportedError, match=sentence):
        order_params(leg(market, **changes), market=market)


def test_what_the_user_passes_through_names_no_other_order() -> None:
    sent = order_params(
        leg(params={"symbol": "ETHUSDT", "orderLinkId": "theirs", "smpType": "CancelMaker"}), market="linear"
    )

    assert (sent["symbol"], sent["orderLinkId"], sent["smpType"]) == ("BTCUSDT", "run1-1", "CancelMaker")


def test_an_amendment_says_what_changes_and_by_which_name() -> None:
    old = leg()
    dearer = attrs.evolve(old, request=attrs.evolve(old.request, price=Decimal(61840)))
    larger = attrs.evolve(old, quantity=Decimal("0.003"))

    assert amend_params(old, "uuid-1", dearer, market="linear") == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderId": "uuid-1",
        "price": "61840",
    }
    assert amend_params(old, None, larger, market="linear") == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderLinkId": "run1-1",
        "qty": "0.003",
    }
    with pytest.raises(NotSupportedError, match="limit orders of Bybit only"):
        amend_params(leg(order_type=OrderType.MARKET, **BARE), None, dearer, market="linear")
