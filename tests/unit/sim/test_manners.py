"""What venues do differently with the same orders."""

from decimal import Decimal

import attrs
import pytest

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide, Side, Status
from btx.model.venue import SimAccount
from btx.sim.exchange import Exchange
from btx.sim.manners import Manners
from btx.sim.orders import Refusal, Refused
from tests.unit.sim.margin_toys import PERP, MarginFloor, listing
from tests.unit.sim.toys import KEY, LISTINGS, START_NS, FixedMarket, limit_order, market_order

ENDS = Manners(ends_post_only=True)
CHARGES = Manners(charges_closing=True, default_leverage=10)


def test_a_post_only_order_that_would_take_may_be_taken_and_ended_at_once() -> None:
    floor = MarginFloor(manners=ENDS)

    order = floor.place(limit_order(Side.BUY, "1", "101", post_only=True))

    assert (order.status, order.reject_reason, order.fills) == (Status.EXPIRED, Refusal.WOULD_TAKE, ())
    assert floor.told == ["NEW", "EXPIRED"]


def test_so_may_one_of_spot_and_one_that_is_amended_into_the_book() -> None:
    market = FixedMarket()
    account = SimAccount(api_key=KEY, api_secret="", balances={"USDT": Decimal(1000)})
    exchange = Exchange(listings=LISTINGS, accounts=(account,), market=market, listener=lambda _: None, manners=ENDS)
    ended = exchange.place(api_key=KEY, order=limit_order(Side.BUY, "1", "101", post_only=True), now_ns=START_NS)
    resting = exchange.place(api_key=KEY, order=limit_order(Side.BUY, "1", "90", post_only=True), now_ns=START_NS)

    amended = exchange.modify(
        api_key=KEY,
        venue_symbol="BTCUSDT",
        order_id=resting.order_id,
        price=Decimal(101),
        quantity=Decimal(1),
        trigger_price=None,
        now_ns=START_NS,
    )

    assert [each.reject_reason for each in (ended, amended)] == [Refusal.WOULD_TAKE] * 2
    assert exchange.balances(api_key=KEY)["USDT"].free == 1000


def test_reduce_only_may_be_said_of_two_sided_positions() -> None:
    floor = MarginFloor(manners=Manners(reduces_in_hedge=True))
    floor.exchange.set_position_mode(api_key=KEY, mode=PositionMode.HEDGE, now_ns=floor.now_ns)
    floor.place(market_order(Side.BUY, "1", position_side=PositionSide.LONG))

    with pytest.raises(Refused) as refused:
        floor.place(market_order(Side.BUY, "1", position_side=PositionSide.LONG, reduce_only=True))
    floor.place(market_order(Side.SELL, "1", position_side=PositionSide.LONG, reduce_only=True))

    assert refused.value.reason is Refusal.REDUCE_ONLY
    assert floor.position() == 0


def test_a_symbol_may_have_two_positions_while_the_others_have_one() -> None:
    other = listing(attrs.evolve(PERP, symbol="ETH/USDT:USDT", venue_symbol="ETHUSDT"))
    floor = MarginFloor(listings=(listing(), other))
    hedge = {"api_key": KEY, "mode": PositionMode.HEDGE, "venue_symbol": "BTCUSDT", "now_ns": floor.now_ns}

    floor.exchange.set_position_mode(**hedge)

    modes = {each: floor.exchange.symbol_mode(api_key=KEY, venue_symbol=each) for each in ("BTCUSDT", "ETHUSDT")}
    assert modes == {"BTCUSDT": PositionMode.HEDGE, "ETHUSDT": PositionMode.ONE_WAY}
    with pytest.raises(Refused):
        floor.exchange.set_position_mode(**hedge)
    with pytest.raises(Refused) as refused:
        floor.place(market_order(Side.BUY, "1"))
    assert refused.value.reason is Refusal.POSITION_SIDE


def test_margins_may_include_the_fees() -> None:
    floor = MarginFloor(manners=CHARGES)
    assert floor.exchange.leverage(api_key=KEY, venue_symbol="BTCUSDT") == 10
    rests = floor.place(limit_order(Side.BUY, "1", "90"))
    reserved = floor.exchange.order_margin(api_key=KEY, venue_symbol="BTCUSDT")
    floor.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=rests.order_id, now_ns=floor.now_ns)

    floor.place(market_order(Side.BUY, "1"))

    position = floor.exchange.position(api_key=KEY, venue_symbol="BTCUSDT", position_side=PositionSide.NET)
    rate = Decimal("0.0005") * Decimal("0.9")
    assert reserved == 9 + 90 * Decimal("0.001")
    assert floor.exchange.initial(position) == 10 + 100 * rate
    assert floor.exchange.maintenance(position) == 100 * (Decimal("0.004") + rate)


def test_an_isolated_position_sets_the_fee_aside() -> None:
    floor = MarginFloor(manners=CHARGES)
    floor.exchange.set_margin_mode(api_key=KEY, venue_symbol="BTCUSDT", mode=MarginMode.ISOLATED, now_ns=floor.now_ns)
    floor.place(market_order(Side.BUY, "1"))
    opened = floor.exchange.position(api_key=KEY, venue_symbol="BTCUSDT", position_side=PositionSide.NET)

    floor.place(market_order(Side.SELL, "0.5"))

    left = floor.exchange.position(api_key=KEY, venue_symbol="BTCUSDT", position_side=PositionSide.NET)
    assert opened.isolated_wallet == opened.entry_price * (Decimal("0.1") + Decimal("0.00045"))
    assert left.isolated_wallet * 2 == opened.isolated_wallet
