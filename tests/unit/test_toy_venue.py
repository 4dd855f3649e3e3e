"""The toy venue keeps the ports' promises: what other tests stand on."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, OrderNotFoundError, OrderRejectedError, OutcomeUnknownError, TransportError
from btx.model.order import Leg, ListKind, OrderList, OrderType, Side, Status
from tests.toy_venue import REQUESTS, Fault, ToyVenue
from tests.values import BTC, request


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def leg(client_order_id: str, order_type: OrderType = OrderType.LIMIT, **changes: Any) -> Leg:
    whole = {"side": Side.SELL, "price": None, "quantity": Decimal(2)} | changes
    asked = request(order_type=order_type, **whole)
    return Leg(client_order_id=client_order_id, request=asked, quantity=asked.quantity)


def pair() -> tuple[Leg, Leg]:
    return leg("tp", price=Decimal(110)), leg("sl", OrderType.STOP_MARKET, trigger_price=Decimal(90))


def entry() -> Leg:
    return leg("in", side=Side.BUY, price=Decimal(99))


def listed(kind: ListKind, *legs: Leg) -> OrderList:
    return OrderList(list_id="l1", kind=kind, legs=legs)


def states(toy: ToyVenue) -> dict[str, Status]:
    return {name: order.status for name, order in toy.orders.items()}


@pytest.mark.parametrize(
    ("placed", "quiet", "hit", "price"),
    [
        (leg("a", OrderType.STOP_MARKET, trigger_price=Decimal(90)), 91, 89, 89),
        (leg("a", OrderType.STOP_LIMIT, trigger_price=Decimal(90), price=Decimal(88)), 91, 90, 88),
        (leg("a", OrderType.TAKE_PROFIT_MARKET, trigger_price=Decimal(110)), 109, 111, 111),
        (leg("a", OrderType.TAKE_PROFIT_LIMIT, trigger_price=Decimal(110), price=Decimal(109)), 109, 110, 109),
        (leg("a", OrderType.STOP_MARKET, side=Side.BUY, trigger_price=Decimal(110)), 109, 110, 110),
        (leg("a", OrderType.TAKE_PROFIT_MARKET, side=Side.BUY, trigger_price=Decimal(90)), 91, 90, 90),
        (leg("a", OrderType.TRAILING_STOP, trail_bps=1000), 91, 90, 90),
        (leg("a", OrderType.TRAILING_STOP, side=Side.BUY, trail_amount=Decimal(5)), 104, 105, 105),
        (leg("a", price=Decimal(110)), 109, 110, 110),
    ],
)
def test_an_order_waits_for_its_price_and_is_filled_there(placed: Leg, quiet: int, hit: int, price: int) -> None:
    toy = ToyVenue()
    run(toy.place(leg=placed))

    toy.trade("ETH/USDT", hit)
    toy.trade(BTC.symbol, quiet)
    assert states(toy) == {"a": Status.NEW}
    toy.trade(BTC.symbol, hit)

    assert states(toy) == {"a": Status.FILLED}
    (fill,) = run(toy.fills(instrument=BTC, start_ns=0))
    assert (fill.price, fill.quantity, fill.client_order_id, fill.venue_order_id) == (price, 2, "", "1")
    assert run(toy.fills(instrument=BTC, start_ns=toy.now_ns + 1)) == ()


def test_a_trailing_stop_follows_the_best_price() -> None:
    toy = ToyVenue()
    run(toy.place(leg=leg("a", OrderType.TRAILING_STOP, trail_bps=1000)))

    toy.trade(BTC.symbol, 200)
    (resting,) = run(toy.open_orders(instruments=[BTC]))
    toy.trade(BTC.symbol, 180)

    assert (resting.trigger_price, resting.order_type, resting.side) == (180, OrderType.TRAILING_STOP, Side.SELL)
    assert states(toy) == {"a": Status.FILLED}


def test_an_order_that_would_trigger_at_once_is_refused() -> None:
    toy = ToyVenue()

    with pytest.raises(OrderRejectedError, match="trigger at once"):
        run(toy.place(leg=leg("a", OrderType.STOP_MARKET, trigger_price=Decimal(101))))

    assert not toy.orders


@pytest.mark.parametrize(("price", "filled", "ended"), [(110, "tp", "sl"), (90, "sl", "tp")])
def test_one_of_a_pair_ends_the_other(price: int, filled: str, ended: str) -> None:
    toy = ToyVenue()
    run(toy.place_list(order_list=listed(ListKind.OCO, *pair())))

    toy.trade(BTC.symbol, price)

    assert states(toy) == {filled: Status.FILLED, ended: Status.EXPIRED}


def test_a_part_of_one_ends_the_other_too() -> None:
    toy = ToyVenue()
    run(toy.place_list(order_list=listed(ListKind.OCO, *pair())))

    toy.execute("tp", 1)

    assert states(toy) == {"tp": Status.PARTIALLY_FILLED, "sl": Status.EXPIRED}


def test_pending_legs_begin_when_the_working_leg_has_filled_whole() -> None:
    toy = ToyVenue()
    run(toy.place_list(order_list=listed(ListKind.OTOCO, entry(), *pair())))

    toy.trade(BTC.symbol, 112)
    toy.execute("in", 1)
    assert toy.orders["sl"].is_pending
    toy.execute("in", 1)
    toy.trade(BTC.symbol, 85)

    assert states(toy) == {"in": Status.FILLED, "tp": Status.EXPIRED, "sl": Status.FILLED}


def test_a_pending_market_order_is_filled_when_it_begins() -> None:
    toy = ToyVenue()
    run(toy.place_list(order_list=listed(ListKind.OTO, entry(), leg("out", OrderType.MARKET))))

    toy.trade(BTC.symbol, 99)

    assert states(toy) == {"in": Status.FILLED, "out": Status.FILLED}


def test_a_list_is_taken_whole_or_not_at_all() -> None:
    toy = ToyVenue()
    above, _ = pair()
    below = leg("sl", OrderType.STOP_MARKET, trigger_price=Decimal(100))

    with pytest.raises(OrderRejectedError):
        run(toy.place_list(order_list=listed(ListKind.OCO, above, below)))

    assert not toy.orders
    assert not toy.lists


def test_cancelling_a_leg_cancels_its_list() -> None:
    toy = ToyVenue()
    legs = [attrs.evolve(each, list_id="l1") for each in pair()]
    run(toy.place_list(order_list=listed(ListKind.OCO, *legs)))

    run(toy.cancel(leg=legs[0], venue_order_id=None))

    assert states(toy) == {"tp": Status.CANCELED, "sl": Status.CANCELED}
    with pytest.raises(OrderNotFoundError):
        run(toy.cancel(leg=legs[1], venue_order_id=None))


def test_a_replacement_stands_in_for_an_untouched_order_only() -> None:
    toy = ToyVenue()
    old, new = leg("a", price=Decimal(110)), leg("b", price=Decimal(111))
    run(toy.place(leg=old))

    assert run(toy.replace(leg=old, venue_order_id=None, new=new)).venue_order_id == "2"
    toy.execute("b", 1)
    with pytest.raises(OrderRejectedError, match="nothing was done"):
        run(toy.replace(leg=new, venue_order_id=None, new=leg("c", price=Decimal(112))))

    assert states(toy) == {"a": Status.CANCELED, "b": Status.PARTIALLY_FILLED}


def test_half_a_replacement_leaves_nothing_resting() -> None:
    toy = ToyVenue()
    old = leg("a", price=Decimal(110))
    run(toy.place(leg=old))
    toy.faults["replace"].append(Fault.HALF_DONE)

    with pytest.raises(OrderRejectedError, match="old order is cancelled"):
        run(toy.replace(leg=old, venue_order_id=None, new=leg("b", price=Decimal(111))))

    assert states(toy) == {"a": Status.CANCELED}


def test_cancel_all_ends_every_order_of_the_instrument() -> None:
    toy = ToyVenue()
    toy.place_foreign("x", leg("x", price=Decimal(120)))
    run(toy.place_list(order_list=listed(ListKind.OCO, *pair())))

    run(toy.cancel_all(instrument=BTC))

    assert set(states(toy).values()) == {Status.CANCELED}
    assert run(toy.open_orders(instruments=[BTC])) == ()
    with pytest.raises(OrderNotFoundError):
        run(toy.cancel_all(instrument=BTC))


@pytest.mark.parametrize("name", ["place", "place_list", "replace", "cancel", "cancel_all"])
@pytest.mark.parametrize(
    ("fault", "kind", "is_done"),
    [
        (Fault.LOST_ANSWER, OutcomeUnknownError, True),
        (Fault.LOST_REQUEST, OutcomeUnknownError, False),
        (Fault.NOT_SENT, TransportError, False),
        (Fault.REFUSED, OrderRejectedError, False),
    ],
)
def test_a_fault_says_as_much_as_is_known(name: str, fault: Fault, kind: type[BtxError], is_done: bool) -> None:
    toy = ToyVenue()
    old, new = leg("a", price=Decimal(110)), leg("b", price=Decimal(111))
    run(toy.place(leg=old))
    toy.faults[name].append(fault)
    before = states(toy)
    asked = {
        "place": lambda: toy.place(leg=new),
        "place_list": lambda: toy.place_list(order_list=listed(ListKind.OCO, *pair())),
        "replace": lambda: toy.replace(leg=old, venue_order_id=None, new=new),
        "cancel": lambda: toy.cancel(leg=old, venue_order_id=None),
        "cancel_all": lambda: toy.cancel_all(instrument=BTC),
    }

    with pytest.raises(kind):
        run(asked[name]())

    assert name in REQUESTS
    assert (states(toy) != before) is is_done
