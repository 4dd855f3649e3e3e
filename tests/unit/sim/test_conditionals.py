"""Conditional orders on margin: an id space of their own, and a child that is an order like any other."""

from decimal import Decimal

import attrs
import pytest

from btx.model.order import OrderType, Side, Status, TimeInForce
from btx.sim.conditionals import ConditionalState
from btx.sim.orders import PriceKind, Refusal, Refused
from tests.unit.sim.margin_toys import MarginFloor, stop
from tests.unit.sim.toys import KEY, account, limit_order, market_order


def test_a_stop_makes_an_order_of_its_own_under_the_same_client_order_id() -> None:
    floor = MarginFloor()
    waiting = floor.place(stop(Side.BUY, 105, 1, client_order_id="mine"))
    assert floor.exchange.open_orders(api_key=KEY) == ()

    floor.trade(104, 1)
    floor.trade(105, 1)

    assert floor.told == [
        "algo NEW",
        "algo TRIGGERING",
        "NEW",
        "algo TRIGGERED",
        "ORDER",
        "TRADE",
        "algo FINISHED",
    ]
    done = floor.exchange.conditional(api_key=KEY, conditional_id=waiting.conditional_id)
    (child,) = floor.exchange.all_orders(api_key=KEY)
    assert (done.order_id, child.order_id, child.client_order_id, child.conditional_id) == (1, 1, "mine", 1)
    assert child.status is Status.FILLED


def test_a_triggered_stop_with_a_limit_may_rest_and_is_then_cancelled_as_an_order() -> None:
    floor = MarginFloor()
    order = stop(Side.BUY, 105, 1, order_type=OrderType.STOP_LIMIT, price=Decimal(100), client_order_id="mine")
    floor.place(order)
    floor.trade(105, 1)
    floor.events.clear()

    with pytest.raises(Refused) as refused:
        floor.exchange.cancel_conditional(api_key=KEY, client_order_id="mine", now_ns=floor.now_ns)
    floor.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", client_order_id="mine", now_ns=floor.now_ns)

    assert refused.value.reason is Refusal.UNKNOWN_ORDER
    assert floor.told == ["CANCELED", "algo FINISHED"]


def test_a_conditional_order_holds_no_margin_and_is_rejected_when_there_is_none_at_its_trigger() -> None:
    floor = MarginFloor()
    waiting = floor.place(stop(Side.BUY, 105, 500))
    assert floor.exchange.wallet(api_key=KEY, asset="USDT").available == 1000

    floor.trade(105, 1)

    rejected = floor.exchange.conditional(api_key=KEY, conditional_id=waiting.conditional_id)
    assert (rejected.state, rejected.reject_reason) == (ConditionalState.REJECTED, Refusal.INSUFFICIENT_MARGIN)
    assert floor.exchange.all_orders(api_key=KEY) == ()


def test_a_stop_on_the_mark_price_is_not_woken_by_trades() -> None:
    floor = MarginFloor()
    waiting = floor.place(stop(Side.BUY, 105, 1, trigger_by=PriceKind.MARK))

    floor.trade(110, 1)
    assert floor.exchange.open_conditionals(api_key=KEY) == (waiting,)
    floor.mark(105)

    assert floor.position() == 1


def test_what_closes_the_position_closes_all_of_it_and_goes_with_it() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, 3))
    closing = attrs.evolve(stop(Side.SELL, 95, None), close_position=True)
    profit = attrs.evolve(closing, order_type=OrderType.TAKE_PROFIT_MARKET, trigger_price=Decimal(120))
    floor.place(closing)
    other = floor.place(profit)
    with pytest.raises(Refused) as refused:
        floor.place(closing)
    assert refused.value.reason is Refusal.CLOSE_EXISTS

    floor.trade(95, 1)

    assert floor.position() == 0
    gone = floor.exchange.conditional(api_key=KEY, conditional_id=other.conditional_id)
    assert gone.state is ConditionalState.EXPIRED


def test_a_trailing_stop_follows_from_its_activation_on() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, 1))
    trailing = attrs.evolve(
        stop(Side.SELL, 110, 1), order_type=OrderType.TRAILING_STOP, trail_bps=100, reduce_only=True
    )
    floor.place(trailing)

    for price in ("105", "110", "120", "118.81"):
        floor.trade(price, 1)
    assert floor.position() == 1
    floor.trade("118.80", 1)

    assert floor.position() == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trigger_price": Decimal(99)}, Refusal.STOP_WOULD_TRIGGER),
        ({"trigger_price": None}, Refusal.NOT_SUPPORTED),
        ({"quantity": None}, Refusal.NOT_SUPPORTED),
        ({"reduce_only": True}, Refusal.REDUCE_ONLY),
        ({"price": Decimal(99)}, Refusal.NOT_SUPPORTED),
        ({"time_in_force": TimeInForce.GTD}, Refusal.NOT_SUPPORTED),
    ],
)
def test_a_conditional_order_is_refused_that_makes_no_sense(changes: dict[str, object], reason: Refusal) -> None:
    floor = MarginFloor()

    with pytest.raises(Refused) as refused:
        floor.place(attrs.evolve(stop(Side.BUY, 105, 1), **changes))

    assert refused.value.reason is reason


def test_all_of_one_symbol_are_cancelled_and_a_name_is_in_use_in_both_id_spaces() -> None:
    floor = MarginFloor(account(USDT=1000))
    floor.place(stop(Side.BUY, 105, 1, client_order_id="mine"))
    floor.place(limit_order(Side.BUY, 1, 90))
    with pytest.raises(Refused) as refused:
        floor.place(limit_order(Side.BUY, 1, 90, client_order_id="mine"))
    assert refused.value.reason is Refusal.DUPLICATE_CLIENT_ID

    exchange, now_ns = floor.exchange, floor.now_ns
    (gone,) = exchange.cancel_all_conditionals(api_key=KEY, venue_symbol="BTCUSDT", now_ns=now_ns)
    assert gone.state is ConditionalState.CANCELED
    assert len(exchange.open_orders(api_key=KEY)) == 1
    assert len(exchange.cancel_all(api_key=KEY, venue_symbol="BTCUSDT", now_ns=now_ns)) == 1
    assert len(exchange.all_conditionals(api_key=KEY)) == 1
