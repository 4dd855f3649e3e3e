"""Between the ports' words and the exchange's."""

from decimal import Decimal
from typing import Any

import pytest

from btx.errors import FilterError, InsufficientFundsError, OrderNotFoundError, OrderRejectedError
from btx.model.order import Leg, ListKind, OrderList, OrderType, Side
from btx.sim.orders import Refusal, Refused
from btx.sim.paper_words import error_of, fill_of, new_list, new_order, report_of
from tests.unit.sim.toys import Desk, limit_order, market_order
from tests.values import BTC, d, request


def leg(**changes: Any) -> Leg:
    asked = request(**changes)
    return Leg(client_order_id=f"id {asked.order_type.value}", request=asked, quantity=asked.quantity)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Refusal.FILTER, FilterError),
        (Refusal.INSUFFICIENT_BALANCE, InsufficientFundsError),
        (Refusal.UNKNOWN_ORDER, OrderNotFoundError),
        (Refusal.WOULD_TAKE, OrderRejectedError),
    ],
)
def test_a_refusal_becomes_the_error_that_says_what_to_do(reason: Refusal, error: type[Exception]) -> None:
    made = error_of(Refused(reason, detail="why"))

    assert type(made) is error
    assert "why" in str(made)


def test_a_trailing_stop_follows_from_where_the_market_is() -> None:
    order = new_order(leg(order_type=OrderType.TRAILING_STOP, price=None, trail_bps=50, trigger_price=d(90)))

    assert (order.order_type, order.trail_bps, order.trigger_price) == (OrderType.STOP_MARKET, 50, None)


def test_a_trailing_stop_with_a_limit_stays_a_limit() -> None:
    order = new_order(leg(order_type=OrderType.TRAILING_STOP, price=d(89), trail_bps=50))

    assert (order.order_type, order.price) == (OrderType.STOP_LIMIT, 89)


@pytest.mark.parametrize(("kind", "post_only"), [(ListKind.OCO, [True, False]), (ListKind.OTO, [False, False])])
def test_the_limit_of_a_pair_may_only_make(kind: ListKind, post_only: list[bool]) -> None:
    legs = (leg(), leg(order_type=OrderType.STOP_MARKET, price=None, trigger_price=d(90)))

    made = new_list(OrderList(list_id="list", kind=kind, legs=legs))

    assert [order.post_only for order in made.orders] == post_only
    assert made.client_list_id == "list"


def test_of_an_entry_with_a_pair_only_the_pairs_limit_may_not_take() -> None:
    legs = (
        leg(),
        leg(side=Side.SELL),
        leg(side=Side.SELL, order_type=OrderType.STOP_MARKET, price=None, trigger_price=d(90)),
    )

    made = new_list(OrderList(list_id="list", kind=ListKind.OTOCO, legs=legs))

    assert [order.post_only for order in made.orders] == [False, True, False]


def test_a_report_says_what_the_exchange_knows() -> None:
    desk = Desk()
    order = desk.exchange.place(api_key="key", order=market_order(Side.BUY, 1), now_ns=desk.now_ns)

    report = report_of(order, symbol=BTC.symbol, sequence=3)
    fill = fill_of(order.fills[0], symbol=BTC.symbol)

    assert (report.status.value, report.filled, report.sequence) == ("FILLED", 1, 3)
    assert (fill.price, fill.quantity, fill.fee, fill.fee_asset) == (101, 1, Decimal("0.002"), "BTC")
    assert fill.liquidity is not None
    assert fill.liquidity.value == "TAKER"
    assert fill.client_order_id == report.client_order_id


def test_a_trailing_order_is_reported_as_one() -> None:
    desk = Desk()
    asked = market_order(Side.SELL, 1, order_type=OrderType.STOP_MARKET, trail_bps=100)

    order = desk.exchange.place(api_key="key", order=asked, now_ns=desk.now_ns)

    assert report_of(order, symbol=BTC.symbol).order_type is OrderType.TRAILING_STOP


def test_a_trade_from_before_an_order_does_not_fill_it() -> None:
    desk = Desk()
    order = desk.exchange.place(api_key="key", order=limit_order(Side.BUY, 1, 100), now_ns=desk.now_ns)

    desk.now_ns -= 1
    desk.trade(99, 5)
    before = desk.exchange.order(api_key="key", venue_symbol="BTCUSDT", order_id=order.order_id).status
    desk.now_ns += 1
    desk.trade(99, 5)

    assert before.value == "NEW"
    assert desk.exchange.order(api_key="key", venue_symbol="BTCUSDT", order_id=order.order_id).status.value == "FILLED"
