"""What an account on margin holds by our own count, and how a journal adds up to it."""

from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot, Balance, Booking, BookingKind, PositionReport
from btx.model.journal import Booked, BookingDelivered, Event, Intent, Record, Sent, Snapshot
from btx.model.order import Fill, Leg, OrderReport, OrderType, Origin, PositionSide, Side, Status
from btx.model.venue import Environment
from btx.rules.holdings import after_order, counts, held, moved, stated, with_instrument
from btx.rules.orders import apply, new_order
from btx.rules.reconcile import by_venue, differences, match_fills
from btx.rules.recovery import expected_totals, positions, replay, undelivered_bookings
from btx.rules.wallet import Key, MarginAccount
from tests.perpetuals import LINEAR
from tests.values import d, fill, report, request

SYMBOL = LINEAR.symbol
NET, LONG, SHORT = Key(SYMBOL), Key(SYMBOL, PositionSide.LONG), Key(SYMBOL, PositionSide.SHORT)


def leg(client_order_id: str = "a1", **changes: Any) -> Leg:
    asked = request(**({"instrument": LINEAR} | changes))
    return Leg(client_order_id=client_order_id, request=asked, quantity=asked.quantity)


def filled(fill_id: str, quantity: int, **changes: Any) -> Fill:
    return fill(fill_id, quantity, **({"symbol": SYMBOL, "fee": d("0.1"), "fee_asset": "USDT"} | changes))


def booking(amount: str, kind: BookingKind = BookingKind.FUNDING, booking_id: str = "b1") -> Booking:
    return Booking(booking_id=booking_id, kind=kind, asset="USDT", amount=d(amount), symbol=SYMBOL, time_ns=1)


def at(quantity: int, entry: int | None = 100, **changes: Any) -> PositionReport:
    price = d(entry) if entry is not None else None
    return PositionReport(**({"symbol": SYMBOL, "quantity": d(quantity), "entry_price": price, "time_ns": 1} | changes))


def snapshot(total: str = "1000", *reports: PositionReport) -> Snapshot:
    return Snapshot(balances={"USDT": d(total)}, positions=reports, time_ns=5)


def intent(one: Leg) -> list[Record]:
    written = Intent(leg=one, environment=Environment.SIM, session="toy/sim/usdm", run="a")
    return [written, Sent(client_order_id=one.client_order_id, time_ns=1)]


# --- counting ----------------------------------------------------------------------------------------------


def test_a_step_of_an_order_moves_its_position_and_the_wallet_by_profit_and_fee() -> None:
    before = new_order(leg())
    opened = after_order(MarginAccount(), before, bought := apply(before, filled("f1", 2)))
    sold = leg("b1", side=Side.SELL)
    told = filled("f2", 1, client_order_id="b1", side=Side.SELL, price=d(130), realised=d(30))
    closed = after_order(opened, new_order(sold), apply(new_order(sold), told))

    assert moved(MarginAccount(), opened) == {NET: 2, "USDT": d("-0.1")}
    assert moved(opened, closed) == {NET: -1, "USDT": d("29.9")}
    assert after_order(opened, bought, bought) == opened


def test_a_fee_that_is_told_late_is_taken_off_once() -> None:
    before = apply(new_order(leg()), filled("f1", 2, fee=None, fee_asset=None))
    account = with_instrument(MarginAccount(), LINEAR)

    after = apply(before, filled("f1", 2, fee=d("0.4")))

    assert moved(account, after_order(account, before, after)) == {"USDT": d("-0.4")}
    assert after_order(account, before, after).booked(BookingKind.FEE, "USDT") == d("-0.4")


def test_what_the_venue_states_is_compared_by_asset_and_by_position() -> None:
    there = AccountSnapshot(
        balances={"USDT": Balance(free=d(990), locked=d(0))},
        positions=(at(3, position_side=PositionSide.LONG), at(-1, position_side=PositionSide.SHORT)),
        time_ns=1,
    )
    counted = {"USDT": [d("990.00000001")], LONG: [d(3)], SHORT: [d("-1.00000001")]}

    found = differences(counted, there, holdings={"USDT", LONG, SHORT, NET}, tolerance=d("1e-8"))

    assert stated(there) == {"USDT": 990, LONG: 3, SHORT: -1}
    assert [str(each) for each in found] == [
        f"position {SYMBOL} SHORT: the venue has -1, the journal -1.00000001 (+0.00000001)"
    ]  # of a wallet the last decimal may be rounded, of a position nothing is
    assert differences({NET: [d(1)]}, there, holdings={NET})[0].field == f"position {SYMBOL}"


def test_fees_and_profits_are_counted_by_their_fills_alone() -> None:
    assert [kind for kind in BookingKind if not counts(booking("1", kind))] == [BookingKind.FEE, BookingKind.REALISED]


# --- a journal ---------------------------------------------------------------------------------------------


def test_a_journal_adds_up_to_wallet_positions_and_sums() -> None:
    history = replay(
        [
            snapshot("1000", at(2)),
            *intent(leg()),
            Event(order_event=filled("f1", 2, price=d(110))),
            Booked(booking=booking("-0.5")),
            Booked(booking=booking("-0.5")),
            Booked(booking=booking("9", BookingKind.REALISED, "b2")),
            Booked(booking=booking("-2", booking_id="b3")),
            BookingDelivered(kind=BookingKind.FUNDING, booking_id="b1"),
        ]
    )

    assert expected_totals(history, margined=True) == {"USDT": d("997.4"), NET: 4}
    assert history.margin.positions[NET].entry_price == 105
    assert history.margin.booked(BookingKind.FUNDING, "USDT") == d("-2.5")
    assert [each.booking_id for each in undelivered_bookings(history)] == ["b3"]
    assert history.began_ns == 5


def test_a_later_snapshot_is_the_account_as_it_stands_and_keeps_the_sums() -> None:
    history = replay(
        [
            snapshot(),
            *intent(leg()),
            Event(order_event=filled("f1", 2)),
            attrs.evolve(snapshot("900", at(1)), time_ns=9),
        ]
    )

    assert expected_totals(history, margined=True) == {"USDT": 900, NET: 1}
    assert history.margin.booked(BookingKind.FEE, "USDT") == d("-0.1")
    assert history.began_ns == 5


def test_a_position_of_an_instrument_never_traded_here_is_held_too() -> None:
    history = replay([snapshot("1000", at(7))])

    assert expected_totals(history, margined=True) == {"USDT": 1000, NET: 7}
    assert expected_totals(replay([]), margined=True) is None


def test_positions_of_both_sides_are_what_the_delivered_fills_add_up_to() -> None:
    orders = {}
    for client_order_id, side, position_side in (("a1", Side.BUY, LONG), ("b1", Side.SELL, SHORT)):
        one = leg(client_order_id, side=side, position_side=position_side.position_side)
        told = filled(client_order_id, 2, client_order_id=client_order_id, side=side, position_side=position_side[1])
        orders[client_order_id] = apply(new_order(one), told)
    history = replay([])
    history.orders.update(orders)
    history.delivered.update({("a1", "a1"), ("b1", "b1")})

    assert {key: each.quantity for key, each in positions(history).items()} == {LONG: 2, SHORT: -2}


# --- whose it is ---------------------------------------------------------------------------------------------


def test_an_order_the_exchange_made_becomes_one_that_only_reduces() -> None:
    told = filled("f1", 3, client_order_id="autoclose-1", side=Side.SELL, origin=Origin.LIQUIDATION)
    said = OrderReport(
        client_order_id="autoclose-1",
        symbol=SYMBOL,
        status=Status.NEW,
        side=Side.SELL,
        quantity=d(3),
        position_side=PositionSide.LONG,
        origin=Origin.LIQUIDATION,
        time_ns=1,
    )

    of_fill, of_report = by_venue(told, LINEAR), by_venue(said, LINEAR)

    assert of_fill is not None
    assert of_report is not None
    assert (of_fill.quantity, of_fill.request.side, of_fill.request.reduce_only) == (3, Side.SELL, True)
    assert (of_report.request.position_side, of_report.request.order_type) == (PositionSide.LONG, OrderType.MARKET)
    assert by_venue(attrs.evolve(told, origin=Origin.CLIENT), LINEAR) is None
    assert by_venue(attrs.evolve(said, quantity=None), LINEAR) is None


def test_a_fill_the_list_has_with_its_fee_completes_the_one_that_was_told_without() -> None:
    known = apply(new_order(leg()), filled("f1", 2, fee=None, fee_asset=None))

    matched = match_fills({"a1": known}, [filled("f1", 2)])

    assert [each.fee for each in matched.completed] == [Decimal("0.1")]
    assert matched.missed == matched.foreign == ()
    assert match_fills({"a1": apply(known, matched.completed[0])}, [filled("f1", 2)]).completed == ()


def test_held_is_everything_by_name() -> None:
    account = after_order(MarginAccount(), new_order(leg()), apply(new_order(leg()), filled("f1", 2)))

    assert held(account) == {NET: 2, "USDT": d("-0.1")}


# --- orders of derivatives ------------------------------------------------------------------------------------


def test_a_child_that_a_trigger_made_is_the_same_order_with_the_venues_new_id() -> None:
    order = new_order(leg(order_type=OrderType.STOP_MARKET, price=None, trigger_price=d(90)))
    heard = [
        report(Status.NEW, symbol=SYMBOL, venue_order_id="algo:99"),
        report(Status.NEW, symbol=SYMBOL, venue_order_id="12", time_ns=2),
        report(Status.FILLED, symbol=SYMBOL, venue_order_id="12", filled=d(6), time_ns=3),
        filled("f1", 6, venue_order_id="12", time_ns=3),
        report(Status.NEW, symbol=SYMBOL, venue_order_id="algo:99", time_ns=4),  # told late
    ]
    for event in heard:
        order = apply(order, event)

    assert order.venue_order_id == "12"
    assert order.status is Status.FILLED


def test_an_order_that_only_reduces_becomes_smaller_with_its_position_whatever_comes_first() -> None:
    cut = report(Status.NEW, symbol=SYMBOL, quantity=d(2), time_ns=2)
    whole = report(Status.NEW, symbol=SYMBOL, quantity=d(6), time_ns=1)
    done = filled("f1", 2, realised=d(3))

    for events in ([whole, cut, done], [cut, whole, done], [done, cut, whole], [done, whole, cut]):
        order = new_order(leg(reduce_only=True))
        for event in events:
            order = apply(order, event)

        assert (order.quantity, order.status, order.overfilled) == (2, Status.FILLED, 0)


def test_what_was_realised_and_who_made_it_is_joined_from_two_tellings_of_a_fill() -> None:
    first = filled("f1", 2)
    second = filled("f1", 2, realised=d(3), origin=Origin.DELEVERAGING)

    for one, other in ((first, second), (second, first)):
        (joined,) = apply(apply(new_order(leg()), one), other).fills

        assert (joined.realised, joined.origin) == (3, Origin.DELEVERAGING)
