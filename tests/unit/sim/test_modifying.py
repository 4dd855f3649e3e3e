"""Open spot orders that are given other terms and keep their ids."""

from decimal import Decimal
from typing import Any

import pytest

from btx.model.order import OrderType, Side, Status
from btx.sim.orders import NewOrder, Refusal, Refused, SimOrder
from tests.unit.sim.toys import KEY, Desk, account, limit_order, market_order


def placed(desk: Desk, order: NewOrder) -> SimOrder:
    return desk.exchange.place(api_key=KEY, order=order, now_ns=desk.now_ns)


def modified(desk: Desk, order: SimOrder, **changes: Any) -> SimOrder:
    terms = {"price": order.price, "quantity": order.quantity, "trigger_price": order.trigger_price, **changes}
    return desk.exchange.modify(
        api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=desk.now_ns, **terms
    )


def test_an_order_gets_another_price_and_quantity_and_its_money_is_locked_anew() -> None:
    desk = Desk(account(USDT=1000))
    order = placed(desk, limit_order(Side.BUY, "2", "90"))

    after = modified(desk, order, price=Decimal(80), quantity=Decimal(5))

    assert (after.order_id, after.price, after.quantity, after.status) == (order.order_id, 80, 5, Status.NEW)
    balance = desk.exchange.balances(api_key=KEY)["USDT"]
    assert (balance.free, balance.locked) == (600, 400)


def test_one_that_is_amended_into_the_book_executes() -> None:
    desk = Desk(account(USDT=1000))

    after = modified(desk, placed(desk, limit_order(Side.BUY, "1", "90")), price=Decimal(200))

    assert after.status is Status.FILLED


def test_a_stop_waits_for_another_price() -> None:
    desk = Desk(account(BTC=1))
    stop = NewOrder(
        venue_symbol="BTCUSDT",
        side=Side.SELL,
        order_type=OrderType.STOP_MARKET,
        quantity=Decimal(1),
        trigger_price=Decimal(90),
    )
    order = placed(desk, stop)

    modified(desk, order, trigger_price=Decimal(80))
    desk.trade("85", "1")
    assert desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id).is_open
    desk.trade("80", "1")

    assert not desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id).is_open


def test_what_is_too_much_too_small_the_same_or_gone_is_refused() -> None:
    desk = Desk(account(USDT=1000))
    order = placed(desk, limit_order(Side.BUY, "2", "90"))
    reasons = []
    for changes in ({"quantity": Decimal(12)}, {"quantity": Decimal("0.0000001")}, {}):
        with pytest.raises(Refused) as refused:
            modified(desk, order, **changes)
        reasons.append(refused.value.reason)
    desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id, now_ns=desk.now_ns)
    with pytest.raises(Refused) as late:
        modified(desk, order, quantity=Decimal(1))

    assert reasons == [Refusal.INSUFFICIENT_BALANCE, Refusal.FILTER, Refusal.AMEND_NO_CHANGE]
    assert late.value.reason is Refusal.UNKNOWN_ORDER


def test_an_order_that_is_done_at_once_has_nothing_to_amend() -> None:
    desk = Desk(account(USDT=1000))
    done = placed(desk, market_order(Side.BUY, "1"))

    with pytest.raises(Refused):
        modified(desk, done, quantity=Decimal(2))
