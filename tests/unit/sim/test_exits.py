"""What closes a position that an order opens: made as the order executes, and gone with the position."""

from decimal import Decimal
from typing import Any

import pytest

from btx.model.order import OrderType, Side
from btx.sim.conditionals import ConditionalState
from btx.sim.orders import Exit, NewOrder, PriceKind, Refusal, Refused
from tests.unit.sim.margin_toys import MarginFloor, stop
from tests.unit.sim.toys import KEY, limit_order, market_order

PROFIT = Exit(is_profit=True, trigger_price=Decimal(110), memo={"name": "profit"})
LOSS = Exit(is_profit=False, trigger_price=Decimal(90), trigger_by=PriceKind.MARK)


def waiting(floor: MarginFloor) -> list[Any]:
    return list(floor.exchange.open_conditionals(api_key=KEY))


def part(exit_: Exit, **changes: Any) -> Exit:
    return Exit(
        is_profit=exit_.is_profit,
        trigger_price=exit_.trigger_price,
        is_whole=False,
        **changes,
    )


def test_exits_wait_once_something_is_opened_and_the_first_to_close_ends_the_other() -> None:
    floor = MarginFloor()
    floor.place(limit_order(Side.BUY, "2", "99", exits=(PROFIT, LOSS)))
    assert waiting(floor) == []

    floor.trade("98", "2")

    assert [(each.order_type, each.side, each.close_position) for each in waiting(floor)] == [
        (OrderType.TAKE_PROFIT_MARKET, Side.SELL, True),
        (OrderType.STOP_MARKET, Side.SELL, True),
    ]
    assert waiting(floor)[0].memo == {"name": "profit"}
    floor.trade("110", "1")
    assert (floor.position(), waiting(floor)) == (0, [])


def test_the_exits_of_the_next_order_take_the_place_of_those_there_are() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, "1", exits=(PROFIT, LOSS)))
    first = [each.conditional_id for each in waiting(floor)]

    floor.place(market_order(Side.BUY, "1", exits=(Exit(is_profit=True, trigger_price=Decimal(120)), LOSS)))

    assert [each.conditional_id for each in waiting(floor)] == first
    assert [each.trigger_price for each in waiting(floor)] == [120, 90]


def test_parts_grow_with_what_their_order_executes_and_end_as_a_pair() -> None:
    floor = MarginFloor()
    floor.place(limit_order(Side.BUY, "2", "99", exits=(part(PROFIT, price=Decimal(109)), part(LOSS))))
    floor.trade("98", "1")
    assert [each.quantity for each in waiting(floor)] == [1, 1]
    floor.trade("98", "1")
    assert [(each.order_type, each.quantity) for each in waiting(floor)] == [
        (OrderType.TAKE_PROFIT_LIMIT, 2),
        (OrderType.STOP_MARKET, 2),
    ]

    floor.trade("90", "1")

    states = [each.state for each in floor.exchange.all_conditionals(api_key=KEY)]
    assert states == [ConditionalState.CANCELED, ConditionalState.FINISHED]
    assert floor.position() == 0


def test_parts_end_with_the_position() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, "2", exits=(part(PROFIT),)))

    floor.place(market_order(Side.SELL, "2"))

    assert waiting(floor) == []


def test_an_order_that_only_closes_sets_no_exits() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, "2"))

    floor.place(market_order(Side.SELL, "1", exits=(PROFIT,)))

    assert waiting(floor) == []


def test_exits_do_not_count_among_conditional_orders() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, "1", exits=(PROFIT, LOSS)))

    for trigger in (80, 81, 82, 83, 84):
        floor.place(stop(Side.SELL, trigger, "1"))
    with pytest.raises(Refused) as refused:
        floor.place(stop(Side.SELL, 85, "1"))

    assert refused.value.detail == "max_num_algo_orders"


def test_an_amended_order_has_other_exits() -> None:
    floor = MarginFloor()
    order = floor.place(limit_order(Side.BUY, "2", "99", exits=(PROFIT,)))
    terms = {"api_key": KEY, "venue_symbol": "BTCUSDT", "order_id": order.order_id, "now_ns": floor.now_ns}

    floor.exchange.modify(**terms, price=Decimal(99), quantity=Decimal(2), exits=(LOSS,))
    with pytest.raises(Refused) as refused:
        floor.exchange.modify(**terms, price=Decimal(99), quantity=Decimal(2), exits=(LOSS,))
    floor.trade("98", "2")

    assert refused.value.reason is Refusal.AMEND_NO_CHANGE
    assert [each.trigger_by for each in waiting(floor)] == [PriceKind.MARK]


def test_a_conditional_order_brings_its_exits_with_it() -> None:
    floor = MarginFloor()
    floor.place(stop(Side.BUY, 105, "1", exits=(PROFIT,)))

    floor.trade("105", "1")

    assert [each.close_position for each in waiting(floor)] == [True]


def test_a_trail_may_be_a_distance_from_the_best_price() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, "1"))
    trailing = NewOrder(
        venue_symbol="BTCUSDT",
        side=Side.SELL,
        order_type=OrderType.TRAILING_STOP,
        trail_distance=Decimal(5),
        trigger_price=Decimal(103),
        close_position=True,
        is_exit=True,
    )
    floor.place(trailing)
    for price in ("98", "102"):  # it follows from 103 on
        floor.trade(price, "1")
    floor.trade("104", "1")
    floor.trade("110", "1")
    floor.trade("105.1", "1")
    assert floor.position() == 1

    floor.trade("105", "1")

    assert floor.position() == 0


def test_a_short_trails_above_the_best_price() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.SELL, "1"))
    trailing = NewOrder(
        venue_symbol="BTCUSDT",
        side=Side.BUY,
        order_type=OrderType.TRAILING_STOP,
        trail_distance=Decimal(5),
        close_position=True,
        is_exit=True,
    )
    floor.place(trailing)

    floor.trade("96", "1")
    floor.trade("100.9", "1")
    assert floor.position() == -1
    floor.trade("101", "1")

    assert floor.position() == 0


def test_an_order_may_wait_for_the_index() -> None:
    floor = MarginFloor()
    floor.place(stop(Side.BUY, 105, "1", trigger_by=PriceKind.INDEX))
    floor.mark(106)
    floor.marks.index = Decimal(104)
    floor.mark(106)

    floor.marks.index = Decimal(105)
    floor.mark(106)

    assert floor.position() == 1


def test_a_conditional_order_is_amended_where_it_waits() -> None:
    floor = MarginFloor()
    order = floor.place(stop(Side.BUY, 105, "1"))
    terms = {"api_key": KEY, "conditional_id": order.conditional_id, "now_ns": floor.now_ns}

    floor.exchange.modify_conditional(**terms, trigger_price=Decimal(107), quantity=Decimal(2))
    reasons = []
    for changes in ({"quantity": Decimal(2)}, {"trigger_price": Decimal(99)}, {"quantity": Decimal("0.0001")}):
        with pytest.raises(Refused) as refused:
            floor.exchange.modify_conditional(**terms, **changes)
        reasons.append(refused.value.reason)
    floor.trade("106", "1")
    assert floor.position() == 0
    floor.trade("107", "1")
    with pytest.raises(Refused) as late:
        floor.exchange.modify_conditional(**terms, quantity=Decimal(1))

    assert floor.position() == 2
    assert reasons == [Refusal.AMEND_NO_CHANGE, Refusal.STOP_WOULD_TRIGGER, Refusal.FILTER]
    assert late.value.reason is Refusal.UNKNOWN_ORDER
