"""The desk under pushes that come late, in any order and more than once: it ends where the venue did."""

import asyncio
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from btx.model.order import Fill, Leg, ListKind, OrderList, OrderReport, OrderType, Side
from btx.ports import StreamEvent
from btx.rules.orders import new_order
from tests.toy_venue import DEADLINE_S, Fault, ToyVenue
from tests.unit.runtime.rig import OrderRig
from tests.values import request

LIMIT = {"price": Decimal(100)}
STOP = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(120)}
MARKET = {"order_type": OrderType.MARKET, "price": None}


class Held(ToyVenue):
    """A venue whose pushes wait until a test delivers them."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[OrderReport | Fill] = []
        self.told: list[OrderReport | Fill] = []

    def tell(self, *events: StreamEvent) -> None:
        self.held.extend(event for event in events if isinstance(event, OrderReport | Fill))


def leg(name: str, **changes: Any) -> Leg:
    asked = request(**changes)
    return Leg(client_order_id=name, request=asked, quantity=asked.quantity)


def listed(kind: ListKind, number: int) -> OrderList:
    """A limit order and a stop that are one pair; or the first, and others that wait for it."""
    shapes: Sequence[dict[str, Any]] = {
        ListKind.OCO: (LIMIT, STOP),
        ListKind.OTO: (LIMIT, STOP),
        ListKind.OTOCO: (LIMIT, LIMIT, STOP),
    }[kind]
    name = f"l{number}"
    legs = tuple(attrs.evolve(leg(f"{name}{each}", **shape), list_id=name) for each, shape in enumerate(shapes))
    return OrderList(list_id=name, kind=kind, legs=legs)


index = st.integers(0, 5)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([LIMIT, STOP, MARKET]), st.sampled_from(Side)),
        st.tuples(st.just("list"), st.sampled_from(ListKind)),
        st.tuples(st.just("cancel"), index),
        st.tuples(st.just("replace"), index),
        st.tuples(st.just("amend"), index, st.sampled_from([100, 101]), st.integers(1, 8)),
        st.tuples(st.just("execute"), index, st.integers(1, 6)),
        st.tuples(st.just("trade"), st.sampled_from([90, 110, 130])),
        st.tuples(st.just("fault"), st.sampled_from([Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.REFUSED])),
        st.tuples(st.just("drop")),
        st.tuples(st.just("ask"), index),
        st.tuples(st.just("deliver"), index),
        st.tuples(st.just("repeat"), index),
    ),
    min_size=4,
    max_size=16,
)


def act(rig: OrderRig, toy: Held, what: tuple[Any, ...], number: int) -> None:
    names = list(rig.desk.orders)
    match what:
        case ("submit", shape, side):
            side = Side.BUY if shape is STOP else side  # above the market: it does not trigger at once
            rig.desk.submit(leg(f"o{number}", side=side, **shape))
        case ("list", kind):
            rig.desk.submit_list(listed(kind, number))
        case ("cancel", place) if names:
            rig.desk.cancel(names[place % len(names)])
        case ("replace", place) if names:
            rig.desk.replace(names[place % len(names)], leg(f"o{number}", quantity=Decimal(5)))
        case ("amend", place, price, quantity) if names:
            name = names[place % len(names)]
            asked = attrs.evolve(rig.order(name).leg.request, price=Decimal(price), quantity=Decimal(quantity))
            if rig.desk.amends(name, asked):
                rig.desk.amend(name, asked)
        case ("ask", place) if names:
            rig.desk.ask_about([names[place % len(names)]])
        case ("deliver", place) if toy.held:
            deliver(rig, toy, place % len(toy.held))
        case ("repeat", place) if toy.told:
            rig.desk.on_event(toy.told[place % len(toy.told)])
        case _:
            happen(toy, what)


def happen(toy: Held, what: tuple[Any, ...]) -> None:
    match what:
        case ("execute", place, quantity) if toy.orders:
            name, there = list(toy.orders.items())[place % len(toy.orders)]
            rests = not (there.status.is_final or there.is_pending or there.is_waiting)
            if rests and there.remaining >= quantity:
                toy.execute(name, quantity)
        case ("trade", price):
            toy.trade("BTC/USDT", price)
        case ("drop",):
            toy.faults["amend"].append(Fault.DROPPED)
        case ("fault", fault):
            for name in ("place", "amend"):
                toy.faults[name].append(fault)


def deliver(rig: OrderRig, toy: Held, place: int) -> None:
    event = toy.held.pop(place)
    toy.told.append(event)
    rig.desk.on_event(event)


@given(script=actions, can_replace=st.booleans(), luck=st.integers(0, 1_000_000))
@settings(max_examples=250, deadline=None)
def test_however_pushes_come_every_order_ends_as_it_did_at_the_venue(
    script: list[tuple[Any, ...]], luck: int, *, can_replace: bool
) -> None:
    # Of its own: how much is held when depends on time as well, and what is drawn must not.
    chance = random.Random(luck)

    async def scene() -> None:
        toy = Held()
        began = toy.balances["BTC"]
        rig = OrderRig(toy, patience_s=0.002, news_s=0.0, can_replace=can_replace, can_amend=True)
        desk = rig.desk
        for number, what in enumerate(script):
            act(rig, toy, what, number)
            for _ in range(3):
                await asyncio.sleep(0)
            assert desk.open_orders == {name: each for name, each in desk.orders.items() if not each.is_settled}
        for name in ("place", "amend"):
            toy.faults[name].clear()
        while toy.held or desk.outstanding:  # what is delivered may let the desk ask for more
            while toy.held:
                deliver(rig, toy, chance.randrange(len(toy.held)))
            await rig.log.until(lambda: bool(toy.held) or not desk.outstanding)
        chance.shuffle(toy.told)
        for event in toy.told:
            desk.on_event(event)
        await rig.quiet()

        assert {name for name, each in desk.orders.items() if each.status.name != "REJECTED"} == {*toy.orders}
        for name, there in toy.orders.items():
            here = desk.orders[name]
            assert {each.fill_id for each in here.fills} == {each.fill_id for each in there.fills}
            assert here.status is there.status
            assert (here.wanted, here.terms) == (None, new_order(there.leg).terms)
            assert here.quantity == there.leg.quantity
        counted = sum((each.leg.request.side.sign * each.filled for each in desk.orders.values()), Decimal(0))
        assert toy.balances["BTC"] - began == counted
        await desk.stop()

    async def whole() -> None:
        async with asyncio.timeout(2 * DEADLINE_S):
            await scene()

    asyncio.run(whole())
