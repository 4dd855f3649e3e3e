"""Liquidation, funding and delivery: what a margin exchange does by itself."""

from decimal import Decimal

import attrs
import pytest

from btx.model.derivatives import FundingRate, MarginMode
from btx.model.order import Origin, Side, Status
from btx.sim.margin_events import MarginCallEvent
from btx.sim.orders import Refusal, Refused
from tests.unit.sim.margin_toys import PERP, MarginFloor, listing, stop
from tests.unit.sim.toys import KEY, OTHER_KEY, START_NS, account, limit_order, market_order

S = 1_000_000_000


def long_floor(quantity: int = 5, money: int = 60, **options: object) -> MarginFloor:
    """Return a floor with a long of 5 that cost 100 each."""
    floor = MarginFloor(account(USDT=money), account(OTHER_KEY, USDT=100_000), **options)
    floor.market.asks = [(Decimal(100), Decimal(1000))]
    floor.place(market_order(Side.BUY, quantity))
    floor.events.clear()
    return floor


def test_a_position_goes_exactly_when_its_margin_ratio_reaches_one() -> None:
    floor = long_floor()
    (position,) = floor.exchange.positions(api_key=KEY)
    price = floor.exchange.liquidation_price(api_key=KEY, position=position)
    # 60 - 0.25 fee + 5 (P - 100) = 0.004 x 5 P
    assert price is not None
    assert round(price, 8) == round(Decimal("440.25") / Decimal("4.98"), 8)

    floor.mark(price + Decimal("0.00000001"))
    assert floor.position() == 5
    floor.mark(price)

    assert floor.position() == 0
    assert floor.told == ["MarginCallEvent", "NEW", "ORDER", "TRADE", "INSURANCE_CLEAR"]
    fill = floor.exchange.fills(api_key=KEY)[-1]
    assert (fill.origin, fill.price, fill.fee) == (Origin.LIQUIDATION, Decimal("88.40"), 0)
    assert fill.client_order_id.startswith("autoclose-")
    assert floor.wallet() == 0  # 1.75 were left, the fee of 5.525 is what there is
    assert floor.exchange.house().insurance["USDT"] == 1_000_000 + Decimal("1.75")
    assert floor.total() == 0


def test_the_insurance_fund_pays_what_an_account_has_lost_beyond_its_money() -> None:
    floor = long_floor()

    floor.mark(80)

    assert floor.wallet() == 0
    assert floor.exchange.house().insurance["USDT"] == 1_000_000 - Decimal("40.25")
    assert floor.exchange.bookings(api_key=KEY)[-1].amount == Decimal("40.25")
    assert floor.total() == 0


def test_without_insurance_those_who_earn_on_the_other_side_are_closed_against_the_loser() -> None:
    floor = long_floor(insurance=0)
    floor.market.bids = [(Decimal(100), Decimal(1000))]
    floor.place(market_order(Side.SELL, 3), OTHER_KEY)

    floor.mark(80)

    assert (floor.position(), floor.position(OTHER_KEY)) == (0, 0)
    fill = floor.exchange.fills(api_key=OTHER_KEY)[-1]
    assert (fill.origin, fill.client_order_id, fill.price) == (
        Origin.DELEVERAGING,
        "adl_autoclose",
        Decimal("88.05"),
    )
    assert floor.wallet() == 0
    assert floor.total() == 0


def test_a_margin_call_comes_once_and_again_only_after_a_recovery() -> None:
    floor = long_floor()

    for price in ("88.45", "88.45", "88.6", "100", "88.45"):
        floor.mark(price)

    calls = [event for event in floor.events if isinstance(event, MarginCallEvent)]
    assert [call.time_ns - START_NS for call in calls] == [1 * S, 5 * S]


def test_open_orders_are_cancelled_before_a_position_is_liquidated() -> None:
    floor = long_floor()
    floor.place(limit_order(Side.BUY, 1, 50))
    floor.place(limit_order(Side.SELL, 1, 150))

    floor.mark(80)

    assert floor.told == ["NEW", "NEW", "CANCELED", "CANCELED", "NEW", "ORDER", "TRADE", "INSURANCE_CLEAR"]


def test_an_isolated_position_takes_nothing_but_what_was_put_aside_for_it() -> None:
    floor = MarginFloor(account(USDT=1000))
    floor.market.asks = [(Decimal(100), Decimal(1000))]
    floor.exchange.set_margin_mode(api_key=KEY, venue_symbol="BTCUSDT", mode=MarginMode.ISOLATED, now_ns=floor.now_ns)
    floor.place(market_order(Side.BUY, 5))
    (position,) = floor.exchange.positions(api_key=KEY)
    assert position.isolated_wallet == 25
    assert floor.exchange.wallet(api_key=KEY, asset="USDT").cross_wallet == 1000 - 25 - Decimal("0.25")

    floor.mark(80)

    assert floor.wallet() == 1000 - 25 - Decimal("0.25")
    assert floor.total() == 0


def test_funding_is_for_those_who_hold_at_the_stamp() -> None:
    floor = long_floor(money=1000)
    rate = FundingRate(symbol=PERP.symbol, time_ns=START_NS + 2 * S, rate=Decimal("0.0001"), mark_price=Decimal(110))
    floor.marks.coming = [rate]

    floor.mark(100)
    assert floor.told == []
    floor.mark(100)
    floor.mark(100)

    assert floor.told == ["FUNDING_FEE"]
    assert floor.exchange.bookings(api_key=KEY)[-1].amount == Decimal("-0.055")
    assert floor.total() == 0


def test_a_contract_is_delivered_at_its_time_and_nothing_is_taken_any_more() -> None:
    future = attrs.evolve(PERP, delivery_ns=START_NS + S)
    floor = long_floor(money=1000, listings=(listing(future),))
    resting = floor.place(limit_order(Side.BUY, 1, 50))
    waiting = floor.place(stop(Side.SELL, 50, 1))

    floor.mark(120)

    assert floor.position() == 0
    fill = floor.exchange.fills(api_key=KEY)[-1]
    assert (fill.origin, fill.price, fill.realised, fill.fee) == (Origin.DELIVERY, 120, 100, Decimal("0.3"))
    assert floor.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=resting.order_id).status is Status.EXPIRED
    assert not floor.exchange.conditional(api_key=KEY, conditional_id=waiting.conditional_id).is_open
    with pytest.raises(Refused) as refused:
        floor.place(market_order(Side.BUY, 1))
    assert refused.value.reason is Refusal.MARKET_HALTED
