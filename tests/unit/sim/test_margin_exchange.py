"""The margin exchange: orders, positions and the wallet."""

from decimal import Decimal

import pytest

from btx.model.order import PositionSide, Side, Status
from btx.sim.orders import Refusal, Refused
from tests.unit.sim.margin_toys import COIN, MarginFloor, listing
from tests.unit.sim.toys import KEY, limit_order, market_order


def test_a_market_buy_opens_a_position_for_a_fee_and_no_money_changes_hands() -> None:
    floor = MarginFloor()

    order = floor.place(market_order(Side.BUY, 3))

    assert order.status is Status.FILLED
    assert order.average_price == (101 + 2 * 102) / Decimal(3)
    (position,) = floor.exchange.positions(api_key=KEY)
    assert (position.quantity, position.book.cost) == (3, 305)
    assert floor.wallet() == 1000 - Decimal(305) * Decimal("0.0005")
    assert floor.told == ["NEW", "ORDER", "TRADE", "ORDER", "TRADE"]
    assert floor.total() == 0


def test_what_is_closed_is_realised_and_a_fill_through_zero_opens_the_other_side() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, 1))

    floor.place(market_order(Side.SELL, 2))

    (position,) = floor.exchange.positions(api_key=KEY)
    assert (position.quantity, position.entry_price, position.realised) == (-1, 98, -2)
    assert [(each.kind.value, each.amount) for each in floor.exchange.bookings(api_key=KEY)] == [
        ("FEE", Decimal("-0.0505")),
        ("REALISED", Decimal(-2)),
        ("FEE", Decimal("-0.0495")),
        ("FEE", Decimal("-0.0490")),
    ]
    assert floor.total() == 0


def test_contracts_of_an_inverse_are_settled_in_their_coin() -> None:
    floor = MarginFloor(listings=(listing(COIN),))

    order = floor.place(market_order(Side.BUY, 1))

    assert (order.executed_quote, round(order.average_price, 8)) == (100, 101)
    floor.place(market_order(Side.SELL, 1))
    position = floor.exchange.position(api_key=KEY, venue_symbol=floor.symbol, position_side=PositionSide.NET)
    realised = Decimal(100) / 101 - Decimal(100) / 99
    assert abs(position.realised - realised) < Decimal("1e-8")
    assert floor.total("BTC") == 0


def test_an_order_is_refused_that_needs_more_margin_than_there_is() -> None:
    floor = MarginFloor()
    floor.place(limit_order(Side.BUY, 199, 99))

    with pytest.raises(Refused) as refused:
        floor.place(limit_order(Side.BUY, 10, 99))

    assert refused.value.reason is Refusal.INSUFFICIENT_MARGIN
    assert floor.exchange.wallet(api_key=KEY, asset="USDT").order_margin == 199 * Decimal(99) / 20
    floor.place(limit_order(Side.SELL, 100, 101))  # the other side needs nothing on top
