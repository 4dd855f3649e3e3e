"""The trailing stop that a position of Bybit has: asked for with care, and followed under the venue's name."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import NotSupportedError, OrderNotFoundError, OrderRejectedError, OutcomeUnknownError
from btx.model.order import VENUE_ID, Leg, OrderReport, OrderType, Origin, PositionSide, Side, Status, TriggerBy
from btx_bybit.trailing import trail_params
from tests.unit.bybit.rig import leg, refusal, result, rows
from tests.unit.bybit.test_broker import EXECUTIONS, REALTIME, ask, execution, order

TRADING_STOP, POSITIONS, CANCEL = "/v5/position/trading-stop", "/v5/position/list", "/v5/order/cancel"
DONE = result()

# As a client met it in 2024: the trigger is where the stop stands now, and the order keeps its id as that moves.
TRAILS: dict[str, Any] = order(
    orderId="uuid-7",
    orderLinkId="",
    side="Sell",
    orderType="Market",
    price="0",
    orderStatus="Untriggered",
    stopOrderType="TrailingStop",
    createType="CreateByTrailingStop",
    triggerPrice="62591.7",
    triggerDirection=2,
    triggerBy="LastPrice",
    reduceOnly=True,
    closeOnTrigger=True,
    tpslMode="UNKNOWN",
)


def trail(**changes: Any) -> Leg:
    asked = {
        "side": Side.SELL,
        "order_type": OrderType.TRAILING_STOP,
        "price": None,
        "trail_amount": Decimal("335.90"),
        "reduce_only": True,
        "params": {"tpslMode": "Full"},
    }
    return leg(**(asked | changes))


def position(**changes: Any) -> dict[str, Any]:
    return {"positionIdx": 0, "symbol": "BTCUSDT", "side": "Buy", "size": "0.002", "trailingStop": "0"} | changes


def test_a_position_is_looked_at_and_then_asked_to_trail_once() -> None:
    asked = trail(params={"tpslMode": "Full", "activePrice": 63000.5})
    receipt, there = ask({POSITIONS: rows(position()), TRADING_STOP: DONE}, lambda broker: broker.place(leg=asked))

    assert receipt.venue_order_id is None  # the order the venue makes of it is told of
    assert [each.path for each in there.asked] == [POSITIONS, TRADING_STOP]
    assert there.of(TRADING_STOP) == [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "positionIdx": 0,
            "tpslMode": "Full",
            "trailingStop": "335.90",
            "activePrice": "63000.5",
        }
    ]


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        ([], "no position in BTC/USDT:USDT that it would close"),
        ([position(size="0", side="")], "no position in BTC/USDT:USDT that it would close"),
        ([position(side="Sell")], "no position in BTC/USDT:USDT that it would close"),
        ([position(positionIdx=1)], "no position in BTC/USDT:USDT that it would close"),
        ([position(size="0.003")], "closes all of it, and it has 0.003: not 0.002"),
        ([position(trailingStop="120.5")], "has a trailing stop already"),
    ],
)
def test_what_would_close_another_size_or_take_the_place_of_another_is_refused(held: list[Any], sentence: str) -> None:
    with pytest.raises(OrderRejectedError, match=sentence):
        ask({POSITIONS: rows(*held)}, lambda broker: broker.place(leg=trail()))


def test_an_answer_that_is_missing_leaves_open_whether_it_trails() -> None:
    replies = {POSITIONS: rows(position()), TRADING_STOP: {"status": 502, "body": "<html>bad gateway</html>"}}
    with pytest.raises(OutcomeUnknownError):
        ask(replies, lambda broker: broker.place(leg=trail()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"params": {}}, "a position's, not an order: btx keeps one"),
        ({"trail_amount": None, "trail_bps": 50}, "give trailamount="),
        ({"price": Decimal(60000)}, "no StopTrailLimit"),
        ({"trigger_by": TriggerBy.MARK}, "follows the last price"),
        ({"reduce_only": False}, "add reduce_only=True"),
        ({"reduce_only": False, "position_side": PositionSide.SHORT}, "add reduce_only=True"),
        ({"params": {"tpslMode": "Full", "takeProfit": 70000}}, "takes no takeProfit: leave it out"),
    ],
)
def test_what_a_position_s_trailing_stop_cannot_be_is_refused_before_it_leaves(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NotSupportedError, match=sentence):
        trail_params(trail(**changes), market="linear")


def test_a_side_of_a_hedge_closes_by_itself() -> None:
    asked = trail(reduce_only=False, position_side=PositionSide.LONG)

    assert trail_params(asked, market="linear")["positionIdx"] == 1


def test_it_is_cancelled_by_taking_the_distance_off() -> None:
    async def cancel(broker: Any) -> None:
        await broker.cancel(leg=trail(), venue_order_id="uuid-7")

    _, there = ask({TRADING_STOP: DONE}, cancel)

    (sent,) = there.of(TRADING_STOP)
    assert (sent["trailingStop"], sent["positionIdx"], sent["tpslMode"]) == ("0", 0, "Full")
    with pytest.raises(OrderNotFoundError):
        ask({TRADING_STOP: refusal(34040, "not modified")}, cancel)


def test_until_the_venue_has_named_it_it_is_the_one_that_the_position_has() -> None:
    replies = {REALTIME: rows(order(), {**TRAILS, "positionIdx": 1, "orderId": "uuid-8"}, TRAILS)}
    (report,), _ = ask(replies, lambda broker: broker.query(leg=trail()))

    assert isinstance(report, OrderReport)
    assert (report.client_order_id, report.venue_order_id, report.status) == ("run1-1", "uuid-7", Status.NEW)
    assert (report.order_type, report.origin) == (OrderType.TRAILING_STOP, Origin.ATTACHED)
    with pytest.raises(OrderNotFoundError, match="run1-1"):
        ask({REALTIME: rows(order())}, lambda broker: broker.query(leg=trail()))


def test_once_it_is_named_it_is_asked_for_by_that_name() -> None:
    replies = {
        REALTIME: rows({**TRAILS, "orderStatus": "Filled", "cumExecQty": "0.002"}),
        EXECUTIONS: rows(execution(orderId="uuid-7", orderLinkId="", side="Sell", createType="CreateByTrailingStop")),
    }
    asked = attrs.evolve(trail(), wire={VENUE_ID: "uuid-7"})
    (fill, report), there = ask(replies, lambda broker: broker.query(leg=asked))

    assert there.of(REALTIME)[0]["orderId"] == there.of(EXECUTIONS)[0]["orderId"] == "uuid-7"
    assert {each.client_order_id for each in (fill, report)} == {"run1-1"}
    assert (fill.origin, report.status) == (Origin.ATTACHED, Status.FILLED)


def test_an_adopted_one_is_asked_for_and_cancelled_by_its_id() -> None:
    theirs = attrs.evolve(trail(params={}), client_order_id="bybit-uuid-7")

    async def look_and_cancel(broker: Any) -> None:
        await broker.query(leg=theirs)
        await broker.cancel(leg=theirs, venue_order_id="uuid-7")

    _, there = ask({REALTIME: rows(TRAILS), CANCEL: result(orderId="uuid-7")}, look_and_cancel)

    assert [there.of(path)[0]["orderId"] for path in (REALTIME, CANCEL)] == ["uuid-7", "uuid-7"]
