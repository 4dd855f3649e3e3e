"""Order lists: one cancels the other, one places the other, and what both do to balances."""

from typing import Any

import attrs
import pytest

from btx.model.account import Balance
from btx.model.order import ListKind, OrderType, Side, Status, TimeInForce
from btx.sim.exchange import NewOrder, NewOrderList, Refusal, Refused, SimOrder, SimOrderList
from tests.unit.sim.toys import KEY, LISTINGS, Desk, account, limit_order, listing, market_order
from tests.values import BTC, d


def profit(side: Side, price: int, quantity: int = 1, **changes: object) -> NewOrder:
    return limit_order(side, quantity, price, post_only=True, **changes)


def take(side: Side, trigger: int, quantity: int = 1, **changes: object) -> NewOrder:
    return market_order(side, quantity, order_type=OrderType.TAKE_PROFIT_MARKET, trigger_price=d(trigger), **changes)


def stop(side: Side, trigger: int, quantity: int = 1, **changes: object) -> NewOrder:
    return market_order(side, quantity, order_type=OrderType.STOP_MARKET, trigger_price=d(trigger), **changes)


def oco(*orders: NewOrder, **changes: Any) -> NewOrderList:
    return NewOrderList(kind=ListKind.OCO, orders=orders, **changes)


def oto(*orders: NewOrder) -> NewOrderList:
    return NewOrderList(kind=ListKind.OTO, orders=orders)


def otoco(*orders: NewOrder) -> NewOrderList:
    return NewOrderList(kind=ListKind.OTOCO, orders=orders)


SELL_PAIR = (stop(Side.SELL, 90), profit(Side.SELL, 110))
BUY_PAIR = (stop(Side.BUY, 110), profit(Side.BUY, 90))


def place(desk: Desk, order_list: NewOrderList) -> tuple[SimOrderList, tuple[SimOrder, ...]]:
    return desk.exchange.place_list(api_key=KEY, order_list=order_list, now_ns=desk.now_ns)


def refusal(desk: Desk, order_list: NewOrderList) -> tuple[Refusal, str]:
    with pytest.raises(Refused) as caught:
        place(desk, order_list)
    return caught.value.reason, caught.value.detail


def owned(desk: Desk, asset: str) -> Balance:
    return desk.exchange.balances(api_key=KEY)[asset]


def statuses(desk: Desk) -> list[Status]:
    return [order.status for order in desk.exchange.all_orders(api_key=KEY)]


def told(desk: Desk) -> list[tuple[Any, ...]]:
    """Every event: what, of which order, and whether it is news of the list (done or not)."""
    return [
        (event.kind.value, event.order.order_id, event.order_list and event.order_list.is_done) for event in desk.events
    ]


# --- one cancels the other -------------------------------------------------------------------------------------


def test_a_pair_is_told_once_and_locks_what_the_dearer_leg_needs() -> None:
    desk = Desk()

    order_list, orders = place(desk, oco(*BUY_PAIR))

    assert [order.status for order in orders] == [Status.NEW, Status.NEW]
    assert [order.list_id for order in orders] == [order_list.list_id] * 2
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 110), locked=d(110))
    assert told(desk) == [("NEW", 1, None), ("NEW", 2, False)]
    assert desk.exchange.order_lists(api_key=KEY, is_open=True) == (order_list,)


def test_a_sell_pair_needs_the_coins_of_one_leg_only() -> None:
    desk = Desk(account(KEY, BTC=1, USDT=0))

    place(desk, oco(*SELL_PAIR))

    assert owned(desk, "BTC") == Balance(free=d(0), locked=d(1))


def test_a_partial_fill_of_the_limit_leg_expires_the_stop() -> None:
    desk = Desk()
    place(desk, oco(*BUY_PAIR))

    desk.trade(90, "0.25")

    assert statuses(desk) == [Status.EXPIRED, Status.PARTIALLY_FILLED]
    assert owned(desk, "USDT").locked == d("67.5")
    assert told(desk)[2:] == [("EXPIRED", 1, None), ("TRADE", 2, None)]
    assert not desk.exchange.order_list(api_key=KEY, list_id=1).is_done

    desk.trade(90, 10)

    assert told(desk)[4:] == [("TRADE", 2, True)]
    assert desk.exchange.order_list(api_key=KEY, list_id=1).is_done
    assert owned(desk, "USDT") == Balance(free=d(100_000 - 90), locked=d(0))


def test_a_stop_that_triggers_expires_the_limit_leg_first() -> None:
    desk = Desk()
    place(desk, oco(*SELL_PAIR))

    desk.trade(90, 1)

    assert statuses(desk) == [Status.FILLED, Status.EXPIRED]
    assert told(desk)[2:] == [("EXPIRED", 2, None), ("TRIGGERED", 1, None), ("TRADE", 1, True)]
    assert owned(desk, "BTC") == Balance(free=d(9), locked=d(0))


def test_of_two_legs_with_triggers_the_first_to_wake_ends_the_other() -> None:
    desk = Desk()
    place(desk, oco(stop(Side.SELL, 90), take(Side.SELL, 110)))

    desk.trade(110, 1)

    assert statuses(desk) == [Status.EXPIRED, Status.FILLED]


@pytest.mark.parametrize("leg", [0, 1])
def test_cancelling_one_leg_cancels_the_list(leg: int) -> None:
    desk = Desk()
    _, orders = place(desk, oco(*BUY_PAIR))

    gone = desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=orders[leg].order_id, now_ns=desk.now_ns)

    assert gone.order_id == orders[leg].order_id
    assert statuses(desk) == [Status.CANCELED, Status.CANCELED]
    assert owned(desk, "USDT") == Balance(free=d(100_000), locked=d(0))
    assert told(desk)[2:] == [("CANCELED", 1, None), ("CANCELED", 2, True)]


def test_a_list_is_cancelled_by_either_of_its_ids_and_only_once() -> None:
    desk = Desk()
    place(desk, oco(*BUY_PAIR, client_list_id="mine"))

    def cancel(**which: Any) -> SimOrderList:
        return desk.exchange.cancel_list(api_key=KEY, **{"venue_symbol": "BTCUSDT", **which}, now_ns=desk.now_ns)

    with pytest.raises(Refused, match="unknown order list"):
        cancel(list_id=1, venue_symbol="ETHUSDT")
    with pytest.raises(Refused, match="unknown order list"):
        cancel(list_id=1, client_list_id="yours")
    assert cancel(client_list_id="mine").is_done
    with pytest.raises(Refused, match="not open there"):
        cancel(list_id=1)
    assert statuses(desk) == [Status.CANCELED, Status.CANCELED]


@pytest.mark.parametrize(
    ("order_list", "reason", "detail"),
    [
        (oco(*SELL_PAIR[:1]), Refusal.NOT_SUPPORTED, "number of orders"),
        (oco(SELL_PAIR[0], BUY_PAIR[1]), Refusal.NOT_SUPPORTED, "a pair has one side and one quantity"),
        (oco(SELL_PAIR[0], profit(Side.SELL, 110, 2)), Refusal.NOT_SUPPORTED, "a pair has one side and one quantity"),
        (oco(SELL_PAIR[0], stop(Side.SELL, 80)), Refusal.NOT_SUPPORTED, "a pair is a profit and a stop"),
        (oco(SELL_PAIR[0], limit_order(Side.SELL, 1, 110)), Refusal.NOT_SUPPORTED, "a pair is a profit and a stop"),
        (oto(market_order(Side.BUY, 1), SELL_PAIR[0]), Refusal.NOT_SUPPORTED, "the working order is a limit"),
        (oco(SELL_PAIR[0], attrs.evolve(SELL_PAIR[1], venue_symbol="ETHUSDT")), Refusal.NOT_SUPPORTED, "one symbol"),
        (oco(SELL_PAIR[0], attrs.evolve(SELL_PAIR[1], time_in_force=TimeInForce.IOC)), Refusal.NOT_SUPPORTED, None),
        (oco(stop(Side.SELL, 101), SELL_PAIR[1]), Refusal.LIST_PRICES, ""),
        (oco(SELL_PAIR[0], profit(Side.SELL, 100)), Refusal.LIST_PRICES, ""),
        (oco(stop(Side.BUY, 99), BUY_PAIR[1]), Refusal.LIST_PRICES, ""),
        (
            oco(stop(Side.BUY, 110, 1000), profit(Side.BUY, 90, 1000)),
            Refusal.INSUFFICIENT_BALANCE,
            "110000 USDT needed",
        ),
        (oco(SELL_PAIR[0], profit(Side.SELL, 110, client_order_id="taken")), Refusal.DUPLICATE_CLIENT_ID, "taken"),
        (
            oco(stop(Side.SELL, 90, client_order_id="same"), profit(Side.SELL, 110, client_order_id="same")),
            Refusal.DUPLICATE_CLIENT_ID,
            "same",
        ),
        (oco(*SELL_PAIR, client_list_id="list"), Refusal.DUPLICATE_LIST_ID, "list"),
        (oco(stop(Side.SELL, 90), profit(Side.SELL, 2_000_000)), Refusal.FILTER, "price"),
    ],
)
def test_a_refused_list_leaves_no_trace(order_list: NewOrderList, reason: Refusal, detail: str | None) -> None:
    desk = Desk()
    desk.exchange.place(api_key=KEY, order=limit_order(Side.BUY, 1, 90, client_order_id="taken"), now_ns=desk.now_ns)
    place(desk, oco(*BUY_PAIR, client_list_id="list"))
    before = owned(desk, "USDT"), owned(desk, "BTC"), len(desk.events)

    why = refusal(desk, order_list)

    assert why[0] is reason
    assert detail in {None, why[1]}
    assert (owned(desk, "USDT"), owned(desk, "BTC"), len(desk.events)) == before


def test_a_limit_leg_inside_the_spread_of_an_old_print_may_not_take() -> None:
    desk = Desk()
    desk.market.last = d(98)

    assert refusal(desk, oco(stop(Side.SELL, 90), profit(Side.SELL, 99))) == (Refusal.WOULD_TAKE, "")


# --- one triggers the other ------------------------------------------------------------------------------------


def test_what_waits_for_a_working_order_holds_nothing_and_meets_no_trade() -> None:
    desk = Desk(account(KEY, USDT=1000))

    order_list, orders = place(desk, oto(limit_order(Side.BUY, 1, 95), limit_order(Side.SELL, 1, 97)))
    desk.trade(98, 100)

    assert [order.status for order in orders] == [Status.NEW, Status.PENDING_NEW]
    assert (order_list.working_id, order_list.triggered_ids) == (1, (2,))
    assert desk.exchange.balances(api_key=KEY)["USDT"].locked == 95
    assert told(desk) == [("NEW", 1, None), ("NEW", 2, False)]


def test_a_partial_fill_of_the_working_order_places_nothing_a_complete_one_does() -> None:
    desk = Desk()
    place(desk, oto(limit_order(Side.BUY, 1, 95), limit_order(Side.SELL, 1, 105)))

    desk.trade(95, "0.5")
    assert statuses(desk) == [Status.PARTIALLY_FILLED, Status.PENDING_NEW]
    assert owned(desk, "BTC").locked == 0

    desk.trade(95, "0.5")
    assert statuses(desk) == [Status.FILLED, Status.NEW]
    assert owned(desk, "BTC").locked == 1
    assert told(desk)[2:] == [("TRADE", 1, None), ("TRADE", 1, None), ("NEW", 2, False)]

    desk.trade(106, 5)
    assert told(desk)[5:] == [("TRADE", 2, True)]


def test_a_working_order_filled_at_once_is_returned_with_the_others_still_waiting() -> None:
    desk = Desk()

    _, orders = place(desk, oto(limit_order(Side.BUY, 1, 101), market_order(Side.SELL, 1)))

    assert [order.status for order in orders] == [Status.FILLED, Status.PENDING_NEW]
    assert statuses(desk) == [Status.FILLED, Status.FILLED]
    assert desk.exchange.order_list(api_key=KEY, list_id=1).is_done


def test_three_orders_become_an_entry_and_then_a_pair() -> None:
    desk = Desk()
    place(desk, otoco(limit_order(Side.BUY, 1, 95), *SELL_PAIR))
    desk.trade(94, 5)

    assert statuses(desk) == [Status.FILLED, Status.NEW, Status.NEW]
    assert owned(desk, "BTC").locked == 1

    desk.trade(110, 5)
    assert statuses(desk) == [Status.FILLED, Status.EXPIRED, Status.FILLED]
    assert desk.exchange.order_lists(api_key=KEY, is_open=True) == ()


def test_cancelling_the_working_order_cancels_what_waits_even_after_a_partial_fill() -> None:
    desk = Desk()
    place(desk, otoco(limit_order(Side.BUY, 1, 95), *SELL_PAIR))
    desk.trade(95, "0.5")

    desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=1, now_ns=desk.now_ns)

    assert statuses(desk) == [Status.CANCELED] * 3
    assert told(desk)[-1] == ("CANCELED", 3, True)


def test_cancelling_what_waits_cancels_the_working_order() -> None:
    desk = Desk()
    place(desk, oto(limit_order(Side.BUY, 1, 95), SELL_PAIR[0]))

    desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=2, now_ns=desk.now_ns)

    assert statuses(desk) == [Status.CANCELED] * 2
    assert not desk.exchange.has_orders("BTCUSDT")


def test_a_working_order_that_may_not_rest_takes_what_waits_with_it() -> None:
    desk = Desk()

    order_list, orders = place(desk, oto(limit_order(Side.BUY, 3, 101, TimeInForce.IOC), SELL_PAIR[0]))

    assert [order.status for order in orders] == [Status.EXPIRED, Status.EXPIRED]
    assert order_list.is_done


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ((limit_order(Side.SELL, 11, 105),), Refusal.INSUFFICIENT_BALANCE),
        ((profit(Side.SELL, 97),), Refusal.WOULD_TAKE),
        ((stop(Side.SELL, 99),), Refusal.STOP_WOULD_TRIGGER),
        ((stop(Side.SELL, 96), profit(Side.SELL, 110)), Refusal.LIST_PRICES),
    ],
)
def test_what_cannot_be_placed_when_its_turn_comes_is_rejected_together(
    waiting: tuple[NewOrder, ...], reason: Refusal
) -> None:
    desk = Desk(account(KEY, USDT=1000, BTC=1))
    kind = otoco if len(waiting) == 2 else oto
    place(desk, kind(limit_order(Side.BUY, 1, 95), *waiting))

    desk.trade(95, 1)

    rejected = desk.exchange.all_orders(api_key=KEY)[1:]
    assert {order.status for order in rejected} == {Status.REJECTED}
    assert {order.reject_reason for order in rejected} == {reason}
    assert told(desk)[-1] == ("REJECTED", rejected[-1].order_id, True)
    assert owned(desk, "BTC").locked == 0


# --- counting --------------------------------------------------------------------------------------------------


def test_the_orders_of_a_list_count_one_by_one_and_lists_count_too() -> None:
    filters = attrs.evolve(LISTINGS[0].filters, max_num_orders=5, max_num_algo_orders=2, max_num_order_lists=2)
    desk = Desk(listings=(attrs.evolve(listing(BTC), filters=filters),))
    entry = limit_order(Side.BUY, 1, 95)
    place(desk, oco(*SELL_PAIR))

    assert refusal(desk, oco(stop(Side.SELL, 90), take(Side.SELL, 110))) == (Refusal.FILTER, "max_num_algo_orders")
    place(desk, otoco(entry, *SELL_PAIR))
    assert refusal(desk, oto(entry, entry)) == (Refusal.FILTER, "max_num_orders")
    desk.exchange.cancel(api_key=KEY, venue_symbol="BTCUSDT", order_id=3, now_ns=desk.now_ns)
    place(desk, oto(entry, entry))
    desk.exchange.cancel_list(api_key=KEY, venue_symbol="BTCUSDT", list_id=1, now_ns=desk.now_ns)
    place(desk, oto(entry, entry))
    roomy = attrs.evolve(filters, max_num_orders=9)
    desk.exchange.listings["BTCUSDT"] = attrs.evolve(listing(BTC), filters=roomy)
    assert refusal(desk, oto(entry, entry)) == (Refusal.FILTER, "max_num_order_lists")
