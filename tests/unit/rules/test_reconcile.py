"""Local against venue: what differs, what was missed, and whose it is."""

from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.model.account import AccountSnapshot, Balance
from btx.model.order import Order, OrderType, Origin, PositionSide, Side, Status
from btx.rules.orders import apply, new_order
from btx.rules.reconcile import (
    Difference,
    Sharing,
    adopted,
    attached_to,
    differences,
    foreign_orders,
    lost_orders,
    match_fills,
    named_by_place,
    nearest,
    trailing_with,
)
from tests.values import BTC, d, fill, leg, report

ETH = attrs.evolve(BTC, symbol="ETH/USDT", venue_symbol="ETHUSDT", base="ETH")


def account(**totals: str | int) -> AccountSnapshot:
    balances = {asset: Balance(free=d(total), locked=Decimal(1)) for asset, total in totals.items()}
    return AccountSnapshot(balances=balances, time_ns=1)


def ours(client_order_id: str = "a1", *, venue_order_id: str | None = None, **changes: object) -> dict[str, Order]:
    order = new_order(attrs.evolve(leg(**changes), client_order_id=client_order_id))
    if venue_order_id is not None:
        symbol = order.leg.request.instrument.symbol
        told = report(Status.NEW, client_order_id=client_order_id, venue_order_id=venue_order_id, symbol=symbol)
        order = apply(order, told)
    return {client_order_id: order}


@pytest.mark.parametrize("word", ["exclusive", "shared", "adopt"])
def test_sharing_is_one_word(word: str) -> None:
    assert Sharing(word).value == word


# --- balances -------------------------------------------------------------------------------------------


def test_a_difference_names_the_asset_and_both_sides_locked_parts_included() -> None:
    (one,) = differences({"USDT": [d(100)]}, account(USDT=89), holdings={"USDT"})

    assert one == Difference(holding="USDT", ours=d(100), theirs=d(90))
    assert one.field == "balance USDT"
    assert str(one) == "balance USDT: the venue has 90, the journal 100 (-10)"


def test_assets_are_compared_by_name_and_what_is_missing_is_zero() -> None:
    counted = {"USDT": [d(6)], "BTC": [d(1)], "ETH": [d(3)]}

    found = differences(counted, account(USDT=5, TOY=2), holdings={"USDT", "BTC", "TOY", "XYZ"})

    assert [str(each) for each in found] == [
        "balance BTC: the venue has 0, the journal 1 (-1)",
        "balance TOY: the venue has 3, the journal 0 (+3)",
    ]


def test_a_total_we_went_through_while_the_venue_was_asked_is_no_difference() -> None:
    counted = {"USDT": [d(100), d(90), d(80)]}

    assert differences(counted, account(USDT=89), holdings={"USDT"}) == ()
    (one,) = differences(counted, account(USDT=93), holdings={"USDT"})
    assert (one.ours, one.theirs) == (90, 94)


def test_what_a_venue_rounds_away_is_no_difference() -> None:
    counted = {"USDT": [d("100.000000009")]}

    assert differences(counted, account(USDT=99), holdings={"USDT"}, tolerance=d("1e-8")) == ()
    assert differences(counted, account(USDT=99), holdings={"USDT"}) != ()


def test_the_nearest_total_of_none_is_zero() -> None:
    assert nearest((), d(7)) == 0
    assert nearest((d(1), d(9)), d(6)) == 9


# --- fills ----------------------------------------------------------------------------------------------


def test_fills_are_matched_by_our_id_or_the_venues_and_counted_ones_are_left_out() -> None:
    orders = ours(venue_order_id="7")
    orders["a1"] = apply(orders["a1"], fill("f1"))
    told = [
        fill("f1", client_order_id="", venue_order_id="7"),
        fill("f2", client_order_id="", venue_order_id="7"),
        fill("f3"),
        fill("f4", client_order_id="", venue_order_id="8"),
        fill("f5", client_order_id="", venue_order_id=None),
    ]

    matched = match_fills(orders, told)

    assert [(each.fill_id, each.client_order_id) for each in matched.missed] == [("f2", "a1"), ("f3", "a1")]
    assert [each.fill_id for each in matched.foreign] == ["f4", "f5"]


def test_an_order_without_the_venues_id_matches_no_fill_without_one() -> None:
    assert match_fills(ours(), [fill(client_order_id="")]).missed == ()


def test_two_instruments_may_number_their_orders_alike() -> None:
    orders = ours("a1", venue_order_id="7") | ours("b1", venue_order_id="7", instrument=ETH)

    matched = match_fills(
        orders,
        [
            fill("f1", client_order_id="", venue_order_id="7"),
            fill("f2", client_order_id="", venue_order_id="7", symbol="ETH/USDT"),
        ],
    )

    assert [each.client_order_id for each in matched.missed] == ["a1", "b1"]
    assert matched.foreign == ()


def test_a_fill_in_another_instrument_than_its_order_is_not_ours() -> None:
    assert match_fills(ours(), [fill(symbol="ETH/USDT")]).missed == ()


# --- orders ---------------------------------------------------------------------------------------------


def test_foreign_is_what_has_neither_an_id_of_ours_nor_one_the_venue_gave_us() -> None:
    orders = ours(venue_order_id="7")
    reports = (
        report(Status.NEW, venue_order_id="7"),
        report(Status.NEW, client_order_id="renamed", venue_order_id="7"),
        report(Status.NEW, client_order_id="theirs", venue_order_id="8"),
        report(Status.NEW, client_order_id="theirs too", venue_order_id="7", symbol="ETH/USDT"),
        report(Status.NEW, client_order_id="nameless"),
    )

    assert foreign_orders(orders, reports) == reports[2:]
    assert foreign_orders(ours(), reports[-1:]) == reports[-1:]


def test_what_the_exchange_made_is_named_by_its_place_since_its_own_names_repeat() -> None:
    made = {"client_order_id": "adl_autoclose", "origin": Origin.DELEVERAGING}
    seven = fill("f1", venue_order_id="7", **made)
    nameless = report(Status.NEW, **made)

    assert named_by_place(seven).client_order_id == "venue-BTC/USDT-7"
    assert named_by_place(report(Status.NEW, venue_order_id="8", **made)).client_order_id == "venue-BTC/USDT-8"
    assert named_by_place(nameless) is nameless
    assert named_by_place(mine := fill(venue_order_id="7")) is mine


def exits(client_order_id: str, **params: object) -> dict[str, Order]:
    return ours(client_order_id, params=params)


@pytest.mark.parametrize(
    ("changes", "whose"),
    [
        ({"trigger_price": d(110)}, "a1"),
        ({"trigger_price": d(95)}, "a2"),  # the latest that asked for it
        ({"trigger_price": d(120)}, None),
        ({"trigger_price": None}, None),
        ({"trigger_price": d(110), "side": Side.BUY}, None),
        ({"trigger_price": d(110), "side": None}, None),
        ({"trigger_price": d(110), "symbol": "ETH/USDT"}, None),
        ({"trigger_price": d(110), "position_side": PositionSide.NET}, "a1"),
        ({"trigger_price": d(110), "position_side": PositionSide.SHORT}, None),
        ({"trigger_price": d(110), "parent": "a2"}, "a2"),
        ({"trigger_price": d(110), "parent": "theirs"}, None),
    ],
)
def test_an_exit_the_venue_made_is_ours_where_one_of_our_orders_asked_for_it(
    changes: dict[str, Any], whose: str | None
) -> None:
    asked = exits("a1", takeProfit="110.0", stopLoss=95) | exits("a2", stopLoss=95.0, takeProfit="none of it")
    told = report(Status.NEW, **{"client_order_id": "x", "side": Side.SELL, "quantity": d(6), **changes})

    found = attached_to(told, asked | ours("a3"), attaching={"takeProfit", "stopLoss"})

    assert (found.client_order_id if found is not None else None) == whose


def trails(client_order_id: str, **changes: object) -> dict[str, Order]:
    whole = {"order_type": OrderType.TRAILING_STOP, "side": Side.SELL, "trail_amount": d(5), **changes}
    return ours(client_order_id, **whole)  # type: ignore[arg-type]


def ended(orders: dict[str, Order], *, inferred: bool) -> dict[str, Order]:
    return {
        name: apply(each, report(Status.REJECTED, client_order_id=name, inferred=inferred))
        for name, each in orders.items()
    }


@pytest.mark.parametrize(
    ("orders", "changes", "whose"),
    [
        (trails("a1") | trails("a2"), {}, "a2"),  # the latest
        (trails("a1", venue_order_id="8") | trails("a2", venue_order_id="9"), {"venue_order_id": "8"}, "a1"),
        (trails("a1", venue_order_id="8"), {}, None),
        (trails("a1", side=Side.BUY), {}, None),
        (trails("a1", position_side=PositionSide.LONG), {"position_side": PositionSide.SHORT}, None),
        (trails("a1", position_side=PositionSide.LONG), {}, "a1"),
        (trails("a1", instrument=ETH), {}, None),
        (trails("a1"), {"order_type": OrderType.STOP_MARKET}, None),
        (ended(trails("a1"), inferred=True), {}, "a1"),  # that it never arrived was a guess of ours
        (ended(trails("a1"), inferred=False), {}, None),
        (ours("a1", side=Side.SELL), {}, None),
    ],
)
def test_a_trailing_stop_with_a_name_of_the_venue_s_is_the_one_that_waits_for_its_name(
    orders: dict[str, Order], changes: dict[str, Any], whose: str | None
) -> None:
    whole = {"client_order_id": "x", "venue_order_id": "7", "side": Side.SELL, "order_type": OrderType.TRAILING_STOP}

    found = trailing_with(report(Status.NEW, **(whole | changes)), orders.values())

    assert (found.client_order_id if found is not None else None) == whose


def test_a_fill_is_of_a_trailing_stop_that_the_venue_has_named() -> None:
    orders = trails("a1", venue_order_id="7") | trails("a2")

    found = trailing_with(fill(client_order_id="x", venue_order_id="7"), orders.values())

    assert found is orders["a1"]
    for nobodys in ("8", None):
        assert trailing_with(fill(client_order_id="x", venue_order_id=nobodys), orders.values()) is None


@pytest.mark.parametrize(
    ("status", "is_lost"),
    [
        (Status.NEW, True),
        (Status.PARTIALLY_FILLED, True),
        (Status.PENDING_NEW, True),  # dormant in a list: the venue has it
        (Status.CANCELED, False),
        (Status.REJECTED, False),
    ],
)
def test_lost_is_what_should_rest_and_is_not_listed(status: Status, *, is_lost: bool) -> None:
    orders = {"a1": apply(ours()["a1"], report(status))} | ours("b1")

    assert lost_orders(orders, ()) == (("a1",) if is_lost else ())
    assert lost_orders(orders, (report(Status.NEW),)) == ()


def test_an_order_of_somebody_else_becomes_a_leg_as_the_venue_describes_it() -> None:
    told = report(
        Status.NEW,
        client_order_id="theirs",
        side=Side.SELL,
        order_type=OrderType.STOP_LIMIT,
        quantity=d(3),
        price=d(90),
        trigger_price=d(91),
        time_ns=8,
    )

    one = adopted(told, BTC)

    assert one is not None
    assert (one.client_order_id, one.quantity, one.owner_id) == ("theirs", 3, "theirs")
    asked = one.request
    assert (asked.side, asked.order_type, asked.price, asked.trigger_price) == (
        Side.SELL,
        OrderType.STOP_LIMIT,
        90,
        91,
    )
    assert asked.signal_ns == 8


def test_an_order_that_is_hardly_described_is_taken_for_a_limit_order() -> None:
    one = adopted(report(Status.NEW, side=Side.BUY, quantity=d(3), price=d(0)), BTC)

    assert one is not None
    assert (one.request.order_type, one.request.price) == (OrderType.LIMIT, None)


@pytest.mark.parametrize(
    "changes", [{"side": None}, {"quantity": None}, {"quantity": Decimal(0)}, {"client_order_id": ""}]
)
def test_an_order_that_is_not_described_is_not_adopted(changes: dict[str, object]) -> None:
    whole = {"side": Side.BUY, "quantity": Decimal(3)}

    assert adopted(report(Status.NEW, **(whole | changes)), BTC) is None
