"""An account on margin by its journal: whatever is told, in pieces, again or late, money and positions add up."""

from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.account import Booking, BookingKind
from btx.model.journal import Booked, Event, Intent, Record, Sent, Snapshot
from btx.model.order import Fill, Leg, PositionSide, Side
from btx.model.venue import Environment
from btx.rules.money import MONEY_GRID
from btx.rules.recovery import History, expected_totals, replay
from btx.rules.wallet import Key
from tests.perpetuals import LINEAR
from tests.values import fill, request

START = Decimal(1_000)
amounts = st.integers(-(10**9), 10**9).map(lambda units: units * MONEY_GRID)
sides = st.sampled_from([PositionSide.NET, PositionSide.LONG, PositionSide.SHORT])
KINDS = [BookingKind.FUNDING, BookingKind.TRANSFER, BookingKind.LIQUIDATION_FEE, BookingKind.OTHER]


def intent(client_order_id: str, side: Side, position_side: PositionSide) -> list[Record]:
    asked = request(instrument=LINEAR, side=side, quantity=Decimal(1_000), position_side=position_side)
    leg = Leg(client_order_id=client_order_id, request=asked, quantity=asked.quantity)
    return [
        Intent(leg=leg, environment=Environment.SIM, session="toy/sim/usdm", run="a"),
        Sent(client_order_id=client_order_id, time_ns=1),
    ]


@st.composite
def told(draw: st.DrawFn) -> list[Record]:
    """What is written down of some orders and bookings: some of it twice, some fees late."""
    written: list[Record] = [Snapshot(balances={"USDT": START}, time_ns=0)]
    for number in range(draw(st.integers(1, 3))):
        name, side, leg = f"o{number}", draw(st.sampled_from(Side)), draw(sides)
        written += intent(name, side, leg)
        for part in range(draw(st.integers(0, 3))):
            whole = fill(
                f"{name}-{part}",
                draw(st.integers(1, 20)),
                client_order_id=name,
                symbol=LINEAR.symbol,
                side=side,
                position_side=leg,
                price=Decimal(draw(st.integers(50, 150))),
                fee=abs(draw(amounts)),
                fee_asset="USDT",
                realised=draw(amounts),
                time_ns=part,
            )
            if draw(st.booleans()):
                written.append(Event(order_event=attrs.evolve(whole, fee=None, fee_asset=None)))
            written += [Event(order_event=whole)] * draw(st.integers(1, 2))
    for number in range(draw(st.integers(0, 3))):
        kind, amount = draw(st.sampled_from(KINDS)), draw(amounts)
        booking = Booking(booking_id=str(number), kind=kind, asset="USDT", amount=amount, time_ns=number)
        written += [Booked(booking=booking)] * draw(st.integers(1, 2))
    return written


def fills_of(history: History) -> list[Fill]:
    return [each for order in history.orders.values() for each in order.fills]


def positions(fills: list[Fill]) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = {}
    for each in fills:
        key = Key(each.symbol, each.position_side)
        found[key] = found.get(key, Decimal(0)) + each.side.sign * each.quantity
    return {key: quantity for key, quantity in found.items() if quantity}


@given(records=told())
@settings(max_examples=60, deadline=None)
def test_each_movement_is_counted_once_and_their_sum_is_the_change_of_the_wallet(records: list[Record]) -> None:
    history = replay(records)

    fills, booked = fills_of(history), sum((each.amount for each in history.bookings.values()), Decimal(0))
    fees = sum((each.fee or Decimal(0) for each in fills), Decimal(0))
    wallet = history.margin.wallet("USDT")
    assert wallet == START + sum(history.margin.bookings.values())
    assert history.margin.booked(BookingKind.FEE, "USDT") == -fees
    assert wallet == START - fees + history.margin.booked(BookingKind.REALISED, "USDT") + booked
    assert {key: each.quantity for key, each in history.margin.positions.items()} == positions(fills)


@given(records=told(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_process_that_stops_anywhere_is_taken_up_from_its_own_snapshot(
    records: list[Record], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(records)))
    before = replay(records[:cut])
    own = Snapshot(
        balances=dict(before.margin.wallets),
        positions=tuple(each.report(time_ns=9) for each in before.margin.positions.values()),
        time_ns=9,
    )

    whole, again = replay(records), replay([*records[:cut], own, *records[cut:]])

    totals, expected = expected_totals(again, margined=True), expected_totals(whole, margined=True)
    assert totals is not None
    assert expected is not None
    assert {key: each for key, each in totals.items() if each} == {key: each for key, each in expected.items() if each}
    assert again.margin.bookings == whole.margin.bookings
    for key, position in whole.margin.positions.items():
        assert abs(again.margin.positions[key].entry_price - position.entry_price) < Decimal("1e-15")
