"""Recovery: at whatever record a process dies, the journal knows what its memory knew."""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from btx.errors import OrderTransitionError
from btx.model.journal import Delivered, Event, Intent, Record, Sent, Snapshot
from btx.model.order import Fill, Leg, Order, OrderEvent, OrderType, Side
from btx.model.venue import Environment
from btx.rules.orders import apply, new_order
from btx.rules.positions import balance_changes
from btx.rules.recovery import expected_totals, replay, undelivered
from tests.properties.test_orders import own_events, venue_events
from tests.toy_venue import Fault, ToyVenue
from tests.unit.runtime.rig import OrderRig, listening
from tests.values import BTC, leg

IDS = ("a1", "b1")


def intended(one: Leg) -> Intent:
    return Intent(leg=one, environment=Environment.SIM, session="toy/sim/spot", run="a")


def renamed(event: OrderEvent, client_order_id: str) -> OrderEvent:
    return attrs.evolve(event, client_order_id=client_order_id)


# --- records ----------------------------------------------------------------------------------------------

told = st.lists(st.tuples(venue_events | own_events, st.sampled_from(IDS)), max_size=6).map(
    lambda groups: [renamed(event, client_order_id) for events, client_order_id in groups for event in events]
)
totals = st.dictionaries(st.sampled_from(["USDT", "BTC", "TOY"]), st.integers(0, 9).map(Decimal))


@st.composite
def journals(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = [Event(order_event=event) for event in draw(told)]
    for client_order_id in IDS:
        one = attrs.evolve(leg(), client_order_id=client_order_id)
        place = draw(st.integers(0, len(records)))
        records[place:place] = [intended(one), Sent(client_order_id=client_order_id, time_ns=1)]
    for balances in draw(st.lists(totals, max_size=2)):
        records.insert(draw(st.integers(0, len(records))), Snapshot(balances=balances, time_ns=1))
    return records


class Memory:
    """What a process knows that took the records one by one, kept the plain way."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.ledger: dict[str, Decimal] | None = None

    def take(self, record: Record) -> None:
        match record:
            case Intent(leg=one):
                self.orders[one.client_order_id] = new_order(one)
            case Snapshot(balances=balances):
                self.ledger = dict(balances)
            case Event(order_event=event) if event.client_order_id in self.orders:
                self._hear(event)

    def _hear(self, event: OrderEvent) -> None:
        before = self.orders[event.client_order_id]
        try:
            after = self.orders[event.client_order_id] = apply(before, event)
        except OrderTransitionError:
            return
        if self.ledger is not None:
            for sign, order in ((-1, before), (1, after)):
                self._book(order.fills, sign)

    def _book(self, fills: Sequence[Fill], sign: int) -> None:
        assert self.ledger is not None
        for fill in fills:
            for asset, change in balance_changes(fill, instrument=BTC).items():
                self.ledger[asset] = self.ledger.get(asset, Decimal(0)) + sign * change


def present(ledger: dict[str, Decimal] | None) -> dict[str, Decimal] | None:
    return None if ledger is None else {asset: total for asset, total in ledger.items() if total}


@given(records=journals())
def test_at_every_record_the_journal_adds_up_to_memory_and_the_ledger(records: list[Record]) -> None:
    memory = Memory()
    for count, record in enumerate(records, start=1):
        memory.take(record)

        history = replay(records[:count])

        assert history.orders == memory.orders
        assert present(expected_totals(history)) == present(memory.ledger)


@given(heard=told)
def test_what_is_read_twice_counts_once(heard: list[OrderEvent]) -> None:
    intents = [intended(attrs.evolve(leg(), client_order_id=client_order_id)) for client_order_id in IDS]
    fills = [Event(order_event=event) for event in heard if isinstance(event, Fill)]

    once = replay([*intents, *fills])
    twice = replay([*intents, *fills, *intents, *fills])

    assert twice.orders == once.orders


@given(records=journals(), data=st.data())
def test_a_fill_is_told_before_the_crash_or_after_it(records: list[Record], data: st.DataObject) -> None:
    fills = [(order.client_order_id, fill.fill_id) for order in replay(records).orders.values() for fill in order.fills]
    delivered = data.draw(st.sets(st.sampled_from(fills))) if fills else set()

    left = undelivered(
        replay([*records, *(Delivered(client_order_id=order, fill_id=fill) for order, fill in delivered)])
    )

    assert {(order, fill.fill_id) for order, untold in left.items() for fill in untold} == {*fills} - delivered


# --- a desk -----------------------------------------------------------------------------------------------


class Written:
    """A journal whose records a test can look at any time; the disk answers a little later."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def append(self, record: Record, *, durable: bool) -> None:
        self.records.append(record)
        await asyncio.sleep(0)

    def post(self, record: Record) -> None:
        self.records.append(record)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([OrderType.MARKET, OrderType.LIMIT]), st.sampled_from(Side)),
        st.tuples(st.just("cancel"), st.integers(0, 2)),
        st.tuples(st.just("replace"), st.integers(0, 2)),
        st.tuples(st.just("amend"), st.integers(0, 2), st.integers(1, 8)),
        st.tuples(st.just("execute"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(
            st.just("fault"),
            st.sampled_from(["place", "cancel", "replace", "amend"]),
            st.sampled_from([Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.NOT_SENT, Fault.REFUSED]),
        ),
        st.tuples(st.just("mute"), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 12)),
    ),
    max_size=15,
)


def act(rig: OrderRig, what: tuple[Any, ...]) -> None:
    toy, ids = rig.toy, list(rig.desk.orders)
    match what:
        case ("submit", order_type, side):
            price = None if order_type is OrderType.MARKET else Decimal(100)
            rig.submit(f"o{len(ids)}", order_type=order_type, side=side, price=price)
        case ("cancel", number) if number < len(ids):
            rig.desk.cancel(ids[number])
        case ("replace", number) if number < len(ids):
            rig.desk.replace(ids[number], attrs.evolve(leg(), client_order_id=f"o{len(ids)}"))
        case ("amend", number, quantity) if number < len(ids):
            asked = attrs.evolve(rig.order(ids[number]).leg.request, quantity=Decimal(quantity))
            if rig.desk.amends(ids[number], asked):
                rig.desk.amend(ids[number], asked)
        case ("execute", number, quantity) if number < len(ids):
            order = toy.orders.get(ids[number])
            if order is not None and not order.status.is_final and order.remaining >= quantity:
                toy.execute(ids[number], quantity)
        case ("fault", request, fault):
            toy.faults[request].append(fault)
        case ("mute", is_muted):
            toy.is_muted = is_muted


def remembered(rig: OrderRig) -> dict[str, Order]:
    """What the desk knows of orders whose intent is on disk."""
    return {name: order for name, order in rig.desk.orders.items() if name not in rig.desk._register._held}


@example(
    script=[("submit", OrderType.LIMIT, Side.BUY), ("replace", 0), ("mute", True), ("wait", 10)], can_replace=False
)
@given(script=actions, can_replace=st.booleans())
@settings(max_examples=200, deadline=None)
def test_whenever_a_desk_dies_its_journal_knows_what_it_knew(
    script: list[tuple[Any, ...]], *, can_replace: bool
) -> None:
    async def scene() -> None:
        journal = Written()
        toy = ToyVenue()
        rig = OrderRig(toy, journal=journal, intent=intended, patience_s=0.002, can_replace=can_replace, can_amend=True)
        journal.post(Snapshot(balances=dict(toy.balances), time_ns=1))
        async with listening(rig):
            for what in script:
                act(rig, what)
                for _ in range(what[1] if what[0] == "wait" else 0):
                    await asyncio.sleep(0)
                    known, written = remembered(rig), replay(journal.records).orders
                    # An intent may be on its way to the disk: nobody has heard of its order yet.
                    assert {name: order for name, order in written.items() if name in known} == known
            toy.is_muted = False
            for requests in toy.faults.values():
                requests.clear()
            await rig.quiet()
            rig.desk.ask_about(tuple(rig.desk.open_orders))
            await rig.quiet()

            history = replay(journal.records)
            assert history.orders == remembered(rig)
            assert present(expected_totals(history)) == present(dict(toy.balances))
            sent = [record.client_order_id for record in journal.records if isinstance(record, Sent)]
            assert len(sent) == len({*sent})  # no id leaves twice
            assert {*toy.orders} <= {*sent}  # and none without having been written down

    async def whole() -> None:
        async with asyncio.timeout(60):
            await scene()

    asyncio.run(whole())
