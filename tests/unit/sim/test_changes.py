"""Orders that follow the market, hide, are replaced, or are amended."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.account import Balance
from btx.model.order import ListKind, OrderType, Side, Status
from btx.sim.exchange import Amendment, NewOrder, NewOrderList, Refusal, Refused, Replacement, SimOrder
from btx.sim.filters import TrailRange
from tests.unit.sim.toys import KEY, LISTINGS, Desk, account, limit_order, listing, market_order
from tests.values import BTC, d


def place(desk: Desk, order: NewOrder) -> SimOrder:
    return desk.exchange.place(api_key=KEY, order=order, now_ns=desk.now_ns)


def found(desk: Desk, order: SimOrder) -> SimOrder:
    return desk.exchange.order(api_key=KEY, venue_symbol="BTCUSDT", order_id=order.order_id)


def owned(desk: Desk, asset: str) -> Balance:
    return desk.exchange.balances(api_key=KEY)[asset]


def refusal(desk: Desk, order: NewOrder) -> tuple[Refusal, str]:
    with pytest.raises(Refused) as caught:
        place(desk, order)
    return caught.value.reason, caught.value.detail


# --- trailing: the scenarios of the venue's FAQ, prices divided by a thousand ----------------------------------


def trailing_limit(side: Side, order_type: OrderType, price: str, bps: int, trigger: str | None = None) -> NewOrder:
    order = limit_order(side, 1, price, order_type=order_type, trail_bps=bps)
    return attrs.evolve(order, trigger_price=None if trigger is None else d(trigger))


@pytest.mark.parametrize(
    ("asked", "quiet", "wakes"),
    [
        (trailing_limit(Side.BUY, OrderType.STOP_LIMIT, "45", 500, "44"), ["37", "44", "46", "42", "44.09"], "44.10"),
        (
            trailing_limit(Side.SELL, OrderType.STOP_LIMIT, "38", 1000, "39"),
            ["41.5", "39", "37", "41", "36.91"],
            "36.9",
        ),
        (
            trailing_limit(Side.BUY, OrderType.TAKE_PROFIT_LIMIT, "38.5", 850, "38"),
            ["42", "38", "37", "39", "38", "40.14"],
            "40.15",
        ),
        (
            trailing_limit(Side.SELL, OrderType.TAKE_PROFIT_LIMIT, "41", 750, "42"),
            ["39", "42", "45", "44", "46.5", "43.02"],
            "43.01",
        ),
        (trailing_limit(Side.SELL, OrderType.STOP_LIMIT, "39", 700), ["40", "42", "39.5", "45.5", "42.32"], "42.31"),
    ],
)
def test_a_trailing_order_follows_the_market_from_its_trigger_price_on(
    asked: NewOrder, quiet: list[str], wakes: str
) -> None:
    desk = Desk()
    desk.market.last = d(40)
    desk.market.bids, desk.market.asks = [(d(10), d(1))], [(d(90), d(1))]
    order = place(desk, asked)
    assert (order.trail_ns, order.trail_price) == (None, None)

    for price in quiet:
        desk.trade(price, 1)
        assert desk.told == ["NEW"], price
    assert found(desk, order).trail_ns is not None
    desk.trade(wakes, 1)

    assert desk.told == ["NEW", "TRIGGERED"]
    assert found(desk, order).working_ns is not None


def test_a_trailing_buy_without_any_price_locks_at_where_it_would_trigger_now() -> None:
    desk = Desk()
    order = place(desk, market_order(Side.BUY, 1, order_type=OrderType.STOP_MARKET, trail_bps=100))
    assert owned(desk, "USDT").locked == 101

    desk.trade(90, 1)
    desk.trade("90.9", 1)

    assert found(desk, order).status is Status.FILLED
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 101), locked=d(0))


def test_how_far_an_order_may_trail_depends_on_which_side_of_the_market_it_waits() -> None:
    rule = TrailRange(min_above_bps=10, max_above_bps=100, min_below_bps=20, max_below_bps=200)
    filters = attrs.evolve(LISTINGS[0].filters, trailing_delta=rule)
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))

    def trailing(side: Side, order_type: OrderType, bps: int) -> NewOrder:
        return market_order(side, 1, order_type=order_type, trail_bps=bps)

    broken = (Refusal.FILTER, "trailing_delta")
    for order_type, above in ((OrderType.STOP_MARKET, Side.BUY), (OrderType.TAKE_PROFIT_MARKET, Side.SELL)):
        below = Side.SELL if above is Side.BUY else Side.BUY
        assert refusal(desk, trailing(above, order_type, 9)) == broken
        assert refusal(desk, trailing(above, order_type, 101)) == broken
        assert refusal(desk, trailing(below, order_type, 19)) == broken
        assert refusal(desk, trailing(below, order_type, 201)) == broken
        place(desk, trailing(above, order_type, 100))
        place(desk, trailing(below, order_type, 200))


def test_a_trailing_stop_in_a_pair_expires_the_limit_leg() -> None:
    desk = Desk()
    stop = market_order(Side.SELL, 1, order_type=OrderType.STOP_MARKET, trail_bps=500)
    pair = NewOrderList(kind=ListKind.OCO, orders=(stop, limit_order(Side.SELL, 1, 120, post_only=True)))
    desk.exchange.place_list(api_key=KEY, order_list=pair, now_ns=desk.now_ns)

    for price in (100, 110, "104.5"):
        desk.trade(price, 1)

    assert [order.status for order in desk.exchange.all_orders(api_key=KEY)] == [Status.FILLED, Status.EXPIRED]


# --- icebergs --------------------------------------------------------------------------------------------------


def iceberg(quantity: str, shown: str, price: int = 95) -> NewOrder:
    return limit_order(Side.BUY, quantity, price, display_quantity=d(shown))


def test_only_the_visible_part_of_an_iceberg_meets_a_trade_at_its_price() -> None:
    desk = Desk()
    order = place(desk, iceberg("5", "2"))
    assert owned(desk, "USDT").locked == 5 * 95

    desk.trade(95, 10)
    assert found(desk, order).executed_quantity == 2
    desk.trade(95, 10)
    desk.trade(95, 10)

    assert [fill.quantity for fill in found(desk, order).fills] == [2, 2, 1]
    assert owned(desk, "USDT").locked == 0


def test_the_next_part_of_an_iceberg_stands_behind_everybody_at_its_price() -> None:
    desk = Desk()
    hidden = place(desk, iceberg("2", "1"))
    plain = place(desk, limit_order(Side.BUY, 1, 95))
    desk.market.bids = [(d(95), d(3))]

    desk.trade(95, 1)  # the part that is seen
    desk.trade(95, 1)  # now the other order comes first
    assert (found(desk, hidden).executed_quantity, found(desk, plain).status) == (1, Status.FILLED)
    desk.trade(95, 3)  # and what the market had there
    assert found(desk, hidden).executed_quantity == 1
    desk.trade(95, 1)

    assert found(desk, hidden).status is Status.FILLED


def test_a_trade_through_the_price_reaches_what_an_iceberg_hides() -> None:
    desk = Desk()
    order = place(desk, iceberg("5", "2"))

    desk.trade(94, 3)
    assert found(desk, order).executed_quantity == 3
    desk.trade(95, 10)

    assert [fill.quantity for fill in found(desk, order).fills] == [3, 2]


def test_icebergs_are_counted_and_their_parts_are_lots() -> None:
    filters = attrs.evolve(LISTINGS[0].filters, max_num_iceberg_orders=1, iceberg_parts=10)
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))

    assert refusal(desk, iceberg("5", "0.1")) == (Refusal.FILTER, "iceberg_parts")
    assert refusal(desk, iceberg("5", "1.000001")) == (Refusal.FILTER, "lot")
    place(desk, iceberg("5", "1"))
    assert refusal(desk, iceberg("5", "1")) == (Refusal.FILTER, "max_num_iceberg_orders")


def test_a_position_is_what_is_owned_and_what_open_buys_may_add() -> None:
    filters = attrs.evolve(LISTINGS[0].filters, max_position=Decimal(12))
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))
    place(desk, limit_order(Side.BUY, 1, 90))

    assert refusal(desk, limit_order(Side.BUY, "1.1", 90)) == (Refusal.FILTER, "max_position")
    place(desk, limit_order(Side.SELL, 5, 110))
    place(desk, limit_order(Side.BUY, 1, 90))


# --- cancel-replace --------------------------------------------------------------------------------------------


def replace(desk: Desk, order: NewOrder, order_id: int = 1, **changes: Any) -> Replacement:
    how: dict[str, Any] = {"stop_on_failure": True, **changes}
    return desk.exchange.replace(api_key=KEY, order=order, order_id=order_id, now_ns=desk.now_ns, **how)


def test_a_replacement_frees_the_money_and_the_name_of_the_old_order_first() -> None:
    desk = Desk(account(KEY, USDT=100))
    place(desk, limit_order(Side.BUY, 1, 95, client_order_id="mine"))

    came = replace(desk, limit_order(Side.BUY, 1, 96, client_order_id="mine"))

    assert came.canceled is not None
    assert came.canceled.status is Status.CANCELED
    assert came.placed is not None
    assert (came.placed.price, came.placed.client_order_id) == (96, "mine")
    assert desk.told == ["NEW", "CANCELED", "NEW"]


def test_without_a_cancel_a_new_order_is_placed_only_where_failure_is_allowed() -> None:
    desk = Desk()

    stopped = replace(desk, limit_order(Side.BUY, 1, 96), order_id=9)
    went_on = replace(desk, limit_order(Side.BUY, 1, 96), order_id=9, stop_on_failure=False)

    assert stopped.cancel_refused is not None
    assert stopped.cancel_refused.reason is Refusal.UNKNOWN_ORDER
    assert (stopped.placed, stopped.place_refused) == (None, None)
    assert went_on.cancel_refused is not None
    assert went_on.placed is not None


def test_a_replacement_that_is_refused_is_told_as_rejected_and_the_cancel_stands() -> None:
    desk = Desk()
    order = place(desk, limit_order(Side.BUY, 1, 95))

    came = replace(desk, limit_order(Side.BUY, 1, 101, post_only=True))

    assert came.place_refused is not None
    assert came.place_refused.reason is Refusal.WOULD_TAKE
    assert found(desk, order).status is Status.CANCELED
    assert desk.told == ["NEW", "CANCELED", "REJECTED"]
    assert desk.events[-1].order.reject_reason is Refusal.WOULD_TAKE
    assert len(desk.exchange.all_orders(api_key=KEY)) == 1


def test_both_halves_may_fail_and_then_nothing_is_told() -> None:
    desk = Desk()

    came = replace(desk, limit_order(Side.BUY, 1, 101, post_only=True), stop_on_failure=False)

    assert came.cancel_refused is not None
    assert came.place_refused is not None
    assert not desk.events


def test_filters_are_looked_at_before_anything_is_cancelled() -> None:
    filters = attrs.evolve(LISTINGS[0].filters, max_num_orders=1)
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))
    order = place(desk, limit_order(Side.BUY, 1, 95))

    with pytest.raises(Refused, match="max_num_orders"):
        replace(desk, limit_order(Side.BUY, 1, 96))
    assert found(desk, order).is_open


@pytest.mark.parametrize(("only", "is_canceled"), [(Status.NEW, False), (Status.PARTIALLY_FILLED, True)])
def test_a_cancel_may_ask_for_a_state(only: Status, is_canceled: bool) -> None:
    desk = Desk()
    order = place(desk, limit_order(Side.BUY, 2, 95))
    desk.trade(95, 1)

    came = replace(desk, limit_order(Side.BUY, 1, 96), only=only)

    assert (found(desk, order).status is Status.CANCELED) is is_canceled
    assert came.cancel_refused is None or came.cancel_refused.reason is Refusal.CANCEL_RESTRICTED


# --- amendments ------------------------------------------------------------------------------------------------


def amend(desk: Desk, quantity: str, order_id: int = 1, **changes: Any) -> tuple[SimOrder, Amendment]:
    return desk.exchange.amend(
        api_key=KEY,
        venue_symbol="BTCUSDT",
        order_id=order_id,
        quantity=d(quantity),
        now_ns=desk.now_ns,
        **changes,
    )


def test_an_amended_order_keeps_its_place_in_the_queue_and_frees_its_money() -> None:
    desk = Desk()
    place(desk, limit_order(Side.BUY, 3, 95, client_order_id="first"))
    later = place(desk, limit_order(Side.BUY, 1, 95))

    order, change = amend(desk, "2", new_client_order_id="second")
    desk.trade(95, 2)

    assert (order.client_order_id, order.quantity, order.remaining) == ("second", 2, 2)
    assert (change.old_quantity, change.new_quantity, change.old_client_order_id) == (3, 2, "first")
    assert change.execution_id == desk.events[2].sequence
    assert (desk.told[2], desk.events[2].previous_client_order_id) == ("REPLACED", "first")
    assert found(desk, order).status is Status.FILLED
    assert found(desk, later).status is Status.NEW
    assert owned(desk, "USDT").locked == 95
    assert desk.exchange.amendments(api_key=KEY, order_id=1) == (change,)


def test_what_an_iceberg_shows_changes_only_where_it_must() -> None:
    desk = Desk()
    order = place(desk, iceberg("5", "2"))

    assert amend(desk, "3")[0].display_quantity == 2
    assert amend(desk, "1")[0].display_quantity == 1
    desk.trade(95, 9)

    assert found(desk, order).status is Status.FILLED


def test_the_orders_of_a_pair_keep_one_quantity_and_the_list_learns_the_new_name() -> None:
    desk = Desk()
    stop = market_order(Side.SELL, 3, order_type=OrderType.STOP_MARKET, trigger_price=d(90))
    pair = NewOrderList(kind=ListKind.OCO, orders=(stop, limit_order(Side.SELL, 3, 120, post_only=True)))
    desk.exchange.place_list(api_key=KEY, order_list=pair, now_ns=desk.now_ns)

    amend(desk, "2", new_client_order_id="renamed")

    assert [order.quantity for order in desk.exchange.open_orders(api_key=KEY)] == [2, 2]
    assert owned(desk, "BTC").locked == 2
    news = desk.events[-1].order_list
    assert news is not None
    assert (news.is_renamed, news.client_order_ids[0]) == (True, "renamed")
    assert desk.events[-2].order_list is None


@pytest.mark.parametrize(
    ("quantity", "reason", "detail"),
    [
        ("4", Refusal.AMEND_INCREASE, ""),
        ("3", Refusal.AMEND_NO_CHANGE, ""),
        ("1", Refusal.AMEND_NO_CHANGE, ""),
        ("2.000001", Refusal.FILTER, "lot"),
    ],
)
def test_an_amendment_only_reduces_what_is_not_filled(quantity: str, reason: Refusal, detail: str) -> None:
    desk = Desk()
    place(desk, limit_order(Side.BUY, 3, 95))
    desk.trade(95, 1)

    with pytest.raises(Refused) as caught:
        amend(desk, quantity)

    assert (caught.value.reason, caught.value.detail) == (reason, detail)


def test_amendments_are_counted_and_their_names_are_unique_among_open_orders() -> None:
    filters = attrs.evolve(LISTINGS[0].filters, max_num_order_amends=2)
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))
    place(desk, limit_order(Side.BUY, 5, 95, client_order_id="mine"))
    place(desk, limit_order(Side.BUY, 1, 95, client_order_id="other"))

    with pytest.raises(Refused, match="other"):
        amend(desk, "4", new_client_order_id="other")
    amend(desk, "4", new_client_order_id="mine")
    amend(desk, "3")
    with pytest.raises(Refused, match="max_num_order_amends"):
        amend(desk, "2")
    desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=1, now_ns=desk.now_ns)
    with pytest.raises(Refused, match="not open any more"):
        amend(desk, "1")
