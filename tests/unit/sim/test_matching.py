"""Matching: one order against levels, or against a trade."""

import pytest

from btx.model.order import OrderType, Side
from btx.sim.matching import Resting, Take, floor_to, is_triggered, match_trade, take_quantity, take_quote
from tests.values import d

ASKS = ((d(101), d(1)), (d(102), d(2)), (d(103), d(3)))


def test_a_market_order_walks_the_book() -> None:
    takes = take_quantity(ASKS, side=Side.BUY, quantity=d("2.5"), limit_price=None)

    assert takes == (Take(price=d(101), quantity=d(1)), Take(price=d(102), quantity=d("1.5")))


def test_a_limit_order_stops_at_its_price_and_at_the_end_of_the_book() -> None:
    assert take_quantity(ASKS, side=Side.BUY, quantity=d(9), limit_price=d("101.5")) == (
        Take(price=d(101), quantity=d(1)),
    )
    assert sum(take.quantity for take in take_quantity(ASKS, side=Side.BUY, quantity=d(9), limit_price=None)) == 6


def test_money_is_spent_on_whole_steps_and_never_more_than_there_is() -> None:
    takes, is_spent = take_quote(ASKS, quote_quantity=d(160), step_size=d("0.1"))

    assert takes == (Take(price=d(101), quantity=d(1)), Take(price=d(102), quantity=d("0.5")))
    assert is_spent
    assert take_quote((), quote_quantity=d(160), step_size=d("0.1")) == ((), False)
    assert take_quantity((), side=Side.BUY, quantity=d(1), limit_price=None) == ()
    assert take_quote(ASKS, quote_quantity=d(10_000), step_size=d("0.1"))[1] is False


def test_a_trade_at_the_price_feeds_the_queue_first() -> None:
    order = Resting(side=Side.BUY, price=d(100), remaining=d(3), queue_ahead=d(5))

    ((after, filled),) = match_trade([order], price=d(100), quantity=d(4))
    assert (after.queue_ahead, filled) == (1, 0)

    ((after, filled),) = match_trade([after], price=d(100), quantity=d(3))
    assert (after.queue_ahead, after.remaining, filled) == (0, 1, 2)


def test_a_trade_through_the_price_ends_the_queue() -> None:
    order = Resting(side=Side.SELL, price=d(100), remaining=d(3), queue_ahead=d(5))

    ((after, filled),) = match_trade([order], price=d("100.01"), quantity=d(2))

    assert (after.queue_ahead, after.remaining, filled) == (0, 1, 2)


def test_orders_share_a_trade_and_the_queue_they_both_wait_behind() -> None:
    first = Resting(side=Side.BUY, price=d(100), remaining=d(2), queue_ahead=d(3))
    second = Resting(side=Side.BUY, price=d(100), remaining=d(2), queue_ahead=d(4))

    (_, first_filled), (after, second_filled) = match_trade([first, second], price=d(100), quantity=d("6.5"))

    # 3 to the queue before both, 2 to the first, 1 to the queue between them, 0.5 to the second.
    assert (first_filled, second_filled, after.queue_ahead) == (2, d("0.5"), 0)


def test_an_order_out_of_reach_is_left_alone() -> None:
    order = Resting(side=Side.BUY, price=d(100), remaining=d(3), queue_ahead=d(5))

    assert match_trade([order], price=d("100.01"), quantity=d(9)) == ((order, d(0)),)


@pytest.mark.parametrize(
    ("order_type", "side", "is_woken_at"),
    [
        (OrderType.STOP_MARKET, Side.BUY, (100, 101)),
        (OrderType.STOP_LIMIT, Side.SELL, (99, 100)),
        (OrderType.TAKE_PROFIT_MARKET, Side.SELL, (100, 101)),
        (OrderType.TAKE_PROFIT_LIMIT, Side.BUY, (99, 100)),
    ],
)
def test_stops_wait_for_the_worse_price_and_take_profits_for_the_better(
    order_type: OrderType, side: Side, is_woken_at: tuple[int, int]
) -> None:
    woken = [
        price for price in (99, 100, 101) if is_triggered(order_type, side, trigger_price=d(100), last_price=d(price))
    ]

    assert woken == list(is_woken_at)


def test_floor_to_stays_on_the_grid() -> None:
    assert floor_to(d("1.239"), d("0.01")) == d("1.23")
    assert floor_to(d("1.23"), d("0.01")) == d("1.23")
