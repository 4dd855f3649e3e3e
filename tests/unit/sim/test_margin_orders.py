"""Orders on margin that only reduce, live for a time, are modified, or have a side of their own; and settings."""

from decimal import Decimal

import attrs
import pytest

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide, Side, Status, TimeInForce
from btx.model.time import NS_PER_DAY
from btx.sim.margin_events import ConfigEvent
from btx.sim.orders import Refusal, Refused
from tests.unit.sim.margin_toys import MarginFloor, listing, stop
from tests.unit.sim.toys import BNB, KEY, account, limit_order, market_order

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
HOUR_NS = 3600 * 1_000_000_000


def refusal(floor: MarginFloor, order: object) -> Refusal:
    with pytest.raises(Refused) as refused:
        floor.place(order)
    return refused.value.reason


def test_a_reduce_only_order_executes_no_more_than_there_is_and_ends_with_the_position() -> None:
    floor = MarginFloor()
    assert refusal(floor, market_order(Side.SELL, 1, reduce_only=True)) is Refusal.REDUCE_ONLY
    floor.place(market_order(Side.BUY, 2))
    second = floor.place(limit_order(Side.SELL, 2, 111, reduce_only=True))
    first = floor.place(limit_order(Side.SELL, 2, 110, reduce_only=True))
    behind = limit_order(Side.SELL, 1, 112, reduce_only=True)
    assert refusal(floor, behind) is Refusal.REDUCE_ONLY  # those before it leave nothing to it
    assert refusal(floor, market_order(Side.BUY, 1, reduce_only=True)) is Refusal.REDUCE_ONLY
    floor.place(market_order(Side.SELL, 1))
    floor.events.clear()

    floor.trade(111, 5)

    assert floor.position() == 0
    assert floor.told == ["ORDER", "TRADE", "EXPIRED", "EXPIRED"]
    orders = {order.order_id: order for order in floor.exchange.all_orders(api_key=KEY)}
    assert (orders[first.order_id].executed_quantity, orders[first.order_id].status) == (1, Status.EXPIRED)
    assert orders[second.order_id].executed_quantity == 0


def test_a_reduce_only_market_order_ends_what_it_cannot_reduce() -> None:
    floor = MarginFloor()
    floor.place(market_order(Side.BUY, 2))

    order = floor.place(market_order(Side.SELL, 5, reduce_only=True))

    assert (order.executed_quantity, order.status, floor.position()) == (2, Status.EXPIRED, 0)


def test_in_two_sided_accounts_a_long_and_a_short_live_side_by_side() -> None:
    floor = MarginFloor()
    floor.exchange.set_position_mode(api_key=KEY, mode=PositionMode.HEDGE, now_ns=floor.now_ns)
    floor.place(market_order(Side.BUY, 1, position_side=LONG))
    floor.place(market_order(Side.SELL, 1, position_side=SHORT))

    sides = {each.position_side: each.quantity for each in floor.exchange.positions(api_key=KEY)}
    assert sides == {LONG: 1, SHORT: -1}
    assert refusal(floor, market_order(Side.BUY, 1)) is Refusal.POSITION_SIDE
    reducing = market_order(Side.SELL, 1, position_side=LONG, reduce_only=True)
    assert refusal(floor, reducing) is Refusal.REDUCE_ONLY_IN_HEDGE
    resting = floor.place(limit_order(Side.SELL, 1, 150, position_side=LONG))
    floor.place(market_order(Side.SELL, 1, position_side=LONG))
    ended = floor.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=resting.order_id)
    assert ended.status is Status.EXPIRED
    assert refusal(floor, market_order(Side.SELL, 1, position_side=LONG)) is Refusal.REDUCE_ONLY
    assert floor.total() == 0


def test_an_order_good_till_a_time_ends_then() -> None:
    floor = MarginFloor()
    gtd = limit_order(Side.BUY, 1, 90, TimeInForce.GTD, good_till_ns=floor.now_ns + HOUR_NS)
    assert refusal(floor, attrs.evolve(gtd, good_till_ns=floor.now_ns + 1)) is Refusal.GOOD_TILL
    assert refusal(floor, attrs.evolve(gtd, good_till_ns=None)) is Refusal.NOT_SUPPORTED
    floor.place(gtd)
    assert floor.exchange.next_due_ns(floor.now_ns, with_marks=False) == floor.now_ns + HOUR_NS

    floor.mark(100, after_s=3600)

    assert floor.told == ["NEW", "EXPIRED"]


def test_an_order_for_the_day_needs_a_day_that_ends() -> None:
    assert refusal(MarginFloor(), limit_order(Side.BUY, 1, 90, TimeInForce.DAY)) is Refusal.NOT_SUPPORTED


def test_a_post_only_order_that_would_take_is_refused() -> None:
    floor = MarginFloor()

    assert refusal(floor, limit_order(Side.BUY, 1, 101, post_only=True)) is Refusal.WOULD_TAKE


def test_a_countdown_cancels_what_is_not_put_off() -> None:
    floor = MarginFloor()
    floor.place(limit_order(Side.BUY, 1, 90))
    deadline_ns = floor.now_ns + 5 * 1_000_000_000
    floor.exchange.set_countdown(api_key=KEY, venue_symbol="BTCUSDT", deadline_ns=deadline_ns)
    floor.exchange.set_countdown(api_key=KEY, venue_symbol="BTCUSDT", deadline_ns=None)
    floor.mark(100, after_s=10)
    assert floor.told == ["NEW"]

    floor.exchange.set_countdown(api_key=KEY, venue_symbol="BTCUSDT", deadline_ns=floor.now_ns + 5)
    floor.mark(100, after_s=10)

    assert floor.told == ["NEW", "CANCELED"]


def test_a_modified_order_queues_anew_and_takes_what_it_now_can() -> None:
    floor = MarginFloor()
    order = floor.place(limit_order(Side.BUY, 1, 90))

    def modify(price: int, quantity: int) -> object:
        return floor.exchange.modify(
            api_key=KEY,
            venue_symbol="BTCUSDT",
            order_id=order.order_id,
            price=Decimal(price),
            quantity=Decimal(quantity),
            now_ns=floor.now_ns,
        )

    with pytest.raises(Refused, match="changes nothing"):
        modify(90, 1)
    with pytest.raises(Refused, match="margin"):
        modify(90, 1000)
    after, amendment = modify(99, 4)
    assert (after.order_id, after.price, after.quantity, after.status) == (order.order_id, 99, 4, Status.NEW)
    assert (amendment.old_price, amendment.new_price, amendment.new_quantity) == (90, 99, 4)
    floor.trade(99, 2)  # the market's own bid of 1 was there first
    assert floor.position() == 1
    after, _ = modify(101, 4)
    assert (after.executed_quantity, floor.position()) == (2, 2)
    after, amendment = modify(102, 2)
    assert (after.status, amendment) == (Status.CANCELED, None)
    assert floor.told.count("REPLACED") == 2


def test_leverage_is_within_the_tiers_and_of_what_is_held() -> None:
    floor = MarginFloor(account(USDT=10_000))
    exchange = floor.exchange

    def set_leverage(leverage: int) -> Decimal | None:
        return exchange.set_leverage(api_key=KEY, venue_symbol="BTCUSDT", leverage=leverage, now_ns=floor.now_ns)

    assert set_leverage(100) == 50_000
    assert [event.leverage for event in floor.events if isinstance(event, ConfigEvent)] == [100]
    assert refusal(floor, limit_order(Side.BUY, 501, 100)) is Refusal.TIER_EXCEEDED
    with pytest.raises(Refused, match="leverage is not within"):
        set_leverage(126)
    assert set_leverage(5) is None
    floor.market.asks = [(Decimal(100), Decimal(1000))]
    floor.place(market_order(Side.BUY, 400))
    with pytest.raises(Refused, match="margin is insufficient"):
        set_leverage(2)
    assert exchange.leverage(api_key=KEY, venue_symbol="BTCUSDT") == 5


def test_modes_are_not_changed_with_orders_or_positions() -> None:
    floor = MarginFloor()
    exchange = floor.exchange

    def isolate() -> None:
        exchange.set_margin_mode(api_key=KEY, venue_symbol="BTCUSDT", mode=MarginMode.ISOLATED, now_ns=floor.now_ns)

    def hedge() -> None:
        exchange.set_position_mode(api_key=KEY, mode=PositionMode.HEDGE, now_ns=floor.now_ns)

    order = floor.place(limit_order(Side.BUY, 1, 90))
    for change in (isolate, hedge):
        with pytest.raises(Refused, match="open orders"):
            change()
    exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=floor.now_ns)
    floor.place(market_order(Side.BUY, 1))
    for change in (isolate, hedge):
        with pytest.raises(Refused, match="a position"):
            change()
    floor.place(market_order(Side.SELL, 1))
    before = exchange.sequence(api_key=KEY)
    hedge()
    assert exchange.sequence(api_key=KEY) == before  # no venue tells of it
    isolate()
    assert exchange.sequence(api_key=KEY) == before + 1
    with pytest.raises(Refused, match="already"):
        isolate()
    assert exchange.margin_mode(api_key=KEY, venue_symbol="BTCUSDT") is MarginMode.ISOLATED


def test_margin_of_an_isolated_position_is_moved_within_what_is_free_and_needed() -> None:
    floor = MarginFloor()
    floor.market.asks = [(Decimal(100), Decimal(1000))]
    floor.exchange.set_margin_mode(api_key=KEY, venue_symbol="BTCUSDT", mode=MarginMode.ISOLATED, now_ns=0)

    def move(amount: int) -> Decimal:
        after = floor.exchange.change_isolated_margin(
            api_key=KEY,
            venue_symbol="BTCUSDT",
            position_side=PositionSide.NET,
            amount=Decimal(amount),
            now_ns=floor.now_ns,
        )
        return after.isolated_wallet

    with pytest.raises(Refused, match="no position"):
        move(1)
    floor.place(market_order(Side.BUY, 2))
    assert move(90) == 100
    with pytest.raises(Refused, match="insufficient"):
        move(1000)
    with pytest.raises(Refused, match="insufficient"):
        move(-91)
    assert move(-90) == 10
    assert floor.told[-1] == "MARGIN_TRANSFER"
    with pytest.raises(Refused, match="reduced"):
        floor.exchange.set_leverage(api_key=KEY, venue_symbol="BTCUSDT", leverage=10, now_ns=0)
    floor.place(market_order(Side.SELL, 1))
    (position,) = floor.exchange.positions(api_key=KEY)
    assert position.isolated_wallet == 5


def test_fees_go_by_the_tier_and_a_tier_that_is_reached_is_for_the_next_day() -> None:
    floor = MarginFloor(account(USDT=100_000))
    floor.market.asks = [(Decimal(100), Decimal(1000))]
    exchange = floor.exchange

    def fee() -> Decimal:
        return floor.place(market_order(Side.BUY, 20)).fills[-1].fee

    assert fee() == Decimal(1)
    exchange.set_tier(api_key=KEY, tier="VIP 1")
    assert fee() == Decimal("0.8")
    exchange.set_tier(api_key=KEY, tier=None, follows_volume=True)
    assert fee() == Decimal(1)
    floor.now_ns += NS_PER_DAY
    assert fee() == Decimal("0.8")
    assert exchange.fees(api_key=KEY, venue_symbol="BTCUSDT", now_ns=floor.now_ns).tier == "VIP 1"


def test_fees_are_paid_in_the_discount_asset_where_there_is_enough_of_it() -> None:
    bnb = attrs.evolve(BNB, settle="USDT")
    floor = MarginFloor(account(USDT=1000, BNB="0.0006"), listings=(listing(), listing(bnb)))
    floor.exchange.set_discount(api_key=KEY, is_on=True)

    orders = [floor.place(market_order(Side.BUY, 1)) for _ in range(2)]

    fills = [(order.fills[0].fee_asset, order.fills[0].fee) for order in orders]
    assert fills == [("BNB", Decimal("0.00045450")), ("USDT", Decimal("0.0510"))]
    assert floor.exchange.pays_with_discount_asset(api_key=KEY)


def test_what_is_not_available_cannot_be_paid_out() -> None:
    floor = MarginFloor()
    floor.place(limit_order(Side.BUY, 100, 100))

    booking = floor.exchange.transfer(api_key=KEY, asset="USDT", amount=Decimal(-400), now_ns=floor.now_ns)
    assert (booking.amount, floor.told[-1]) == (-400, "WITHDRAW")
    with pytest.raises(Refused):
        floor.exchange.transfer(api_key=KEY, asset="USDT", amount=Decimal(-200), now_ns=floor.now_ns)
    assert floor.total() == 0


def test_a_conditional_order_in_a_two_sided_account_closes_its_side() -> None:
    floor = MarginFloor()
    floor.exchange.set_position_mode(api_key=KEY, mode=PositionMode.HEDGE, now_ns=floor.now_ns)
    floor.place(market_order(Side.SELL, 1, position_side=SHORT))
    floor.place(stop(Side.BUY, 105, None, position_side=SHORT, close_position=True))

    floor.trade(105, 1)

    assert floor.position() == 0
