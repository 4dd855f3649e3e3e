"""What the desk and the keeper are for: each of the classic mistakes, made on purpose, is seen by the same checks.

The real desk and the real keeper trade over the toy venue, which loses answers, repeats
and withholds pushes, and fills while it is asked to cancel.  Of each variant one method
is replaced by what is found in the wild.  The checks know nothing of the variants.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import OutcomeUnknownError
from btx.model.order import (
    Fill,
    Group,
    GroupKind,
    Leg,
    Member,
    Order,
    OrderEvent,
    OrderReport,
    OrderType,
    Receipt,
    Side,
)
from btx.runtime.keeper import Keeper
from btx.runtime.register import Register
from tests.toy_venue import DEADLINE_S, INFO, Fault, ToyOrder, ToyVenue
from tests.unit.runtime.rig import OrderRig, ToyClock, listening, run
from tests.values import request

SEEDS = range(40)
BROKEN_S = 2.0  # how long an end is waited for that may never come
FAULTS = (Fault.LOST_ANSWER, Fault.LOST_REQUEST, Fault.NOT_SENT, Fault.REFUSED)
ZERO = Decimal(0)


# --- the mistakes -----------------------------------------------------------------------------------------


def fill_counted_per_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each telling of a fill is another one, as where a poll's total is booked again and again."""
    tellings = itertools.count()
    honest = Register.on_event

    def on_event(self: Register, event: OrderReport | Fill) -> None:
        if isinstance(event, Fill):
            event = attrs.evolve(event, fill_id=f"{event.fill_id}.{next(tellings)}")
        honest(self, event)

    monkeypatch.setattr(Register, "on_event", on_event)


def retried_create(monkeypatch: pytest.MonkeyPatch) -> None:
    """A placement without an answer is sent again, as a new order, as a decorator for retries does."""
    again = itertools.count()
    honest = ToyVenue.place

    async def place(self: ToyVenue, *, leg: Leg) -> Receipt:
        try:
            return await honest(self, leg=leg)
        except OutcomeUnknownError:
            return await honest(self, leg=attrs.evolve(leg, client_order_id=f"again{next(again)}"))

    monkeypatch.setattr(ToyVenue, "place", place)


def ignored_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The legs of a bracket go out as three orders that know nothing of each other."""

    def decide(self: Keeper, kept: Any) -> None:
        if not kept.legs:
            for member in kept.everyone:
                self._send(kept, (self._leg(kept, member, member.request.quantity, first=True),))

    monkeypatch.setattr(Keeper, "_decide", decide)


def dropped_late_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of an order after its end is not listened to."""
    honest = Register.record

    def record(self: Register, event: OrderEvent, *, is_written: bool = False) -> None:
        if not (isinstance(event, Fill) and self.orders[event.client_order_id].status.is_final):
            honest(self, event, is_written=is_written)

    monkeypatch.setattr(Register, "record", record)


# --- the checks -------------------------------------------------------------------------------------------


class Checks:
    """What must be so: some of it always, the rest when all is settled."""

    def __init__(self, rig: OrderRig, entries: dict[str, Group]) -> None:
        self.rig = rig
        self.groups = entries
        self.began = dict(rig.toy.balances)
        self.broken: set[str] = set()

    def always(self) -> None:
        """No exit rests or fills beyond what the entry has filled."""
        for group in self.groups.values():
            for member in group.members:
                exits = self._at_venue(member.member_id)
                covered = sum((each.filled if each.status.is_final else each.leg.quantity for each in exits), ZERO)
                self._hold(covered <= self._filled(group), "an exit without its entry")

    def settled(self) -> None:
        toy, orders = self.rig.toy, self.rig.desk.orders
        self.always()
        self._hold(toy.orders.keys() <= orders.keys(), "an order nobody knows")
        for name, there in toy.orders.items():
            here = orders.get(name)
            self._hold(here is None or here.filled == there.filled, "a fill lost or doubled")
        counted = sum((self._change(order) for order in orders.values()), ZERO)
        self._hold(toy.balances["BTC"] - self.began["BTC"] == counted, "a position that is not there")
        self._hold(all(order.is_settled for order in orders.values() if not self._rests(order)), "an unknown end")
        for group in self.groups.values():
            exits = [self._at_venue(member.member_id) for member in group.members]
            left = self._filled(group) - sum((each.filled for legs in exits for each in legs), ZERO)
            resting = [sum((each.remaining for each in legs if not each.status.is_final), ZERO) for legs in exits]
            self._hold(all(each == left for each in resting), "protection is not what was filled")

    def _hold(self, condition: bool, name: str) -> None:
        if not condition:
            self.broken.add(name)

    def _at_venue(self, member_id: str) -> list[ToyOrder]:
        return [each for each in self.rig.toy.orders.values() if each.leg.owner_id == member_id]

    def _filled(self, group: Group) -> Decimal:
        assert group.entry is not None
        return sum((each.filled for each in self._at_venue(group.entry.member_id)), ZERO)

    def _rests(self, order: Order) -> bool:
        there = self.rig.toy.orders.get(order.client_order_id)
        return there is not None and not there.status.is_final

    @staticmethod
    def _change(order: Order) -> Decimal:
        return order.leg.request.side.sign * order.filled


# --- a day at the venue -----------------------------------------------------------------------------------


def bracket(number: int) -> Group:
    stop = request(side=Side.SELL, order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(90))
    return Group(
        group_id=f"g{number}",
        kind=GroupKind.BRACKET,
        entry=Member(member_id=f"entry{number}", request=request()),
        members=(
            Member(member_id=f"stop{number}", request=stop),
            Member(member_id=f"limit{number}", request=request(side=Side.SELL, price=Decimal(120))),
        ),
    )


async def day(seed: int, *, patience_s: float) -> set[str]:
    """Trade through faults, and return what was broken by the end."""
    chance = random.Random(seed)
    toy = ToyVenue()
    ids = itertools.count()
    rig = OrderRig(toy, patience_s=0.01, next_id=lambda: f"id{next(ids)}", can_replace=True)
    groups: dict[str, Group] = {}
    checks = Checks(rig, groups)
    async with listening(rig):
        keeper = Keeper(
            desk=rig.desk,
            capabilities=INFO.capabilities["spot"],
            clock=ToyClock(toy),
            post=rig.log.add,
            note=lambda kind, text: rig.notes.append((kind, text)),
            progressed=rig.log.touch,
        )
        rig.desk.listen(lambda _before, _after: checks.always())
        for number in range(12):
            toy.repeats = chance.choice([1, 1, 2])
            toy.faults["place"].extend(chance.choices([None, *FAULTS], [4, 2, 1, 1, 1], k=1))
            if chance.random() < 0.4:
                groups[f"g{number}"] = bracket(number)
                keeper.take(groups[f"g{number}"])
                name = f"entry{number}"
            else:
                name = f"a{number}"
                rig.submit(name, side=chance.choice([*Side]))
            await _turns(chance.randint(1, 20))
            await _meanwhile(chance, rig, name, may_cancel=name.startswith("a"))
        toy.is_muted = False
        toy.faults["place"].clear()
        rig.desk.ask_about(tuple(rig.desk.open_orders))
        try:
            async with asyncio.timeout(patience_s):
                await rig.log.until(lambda: not rig.desk.outstanding and not keeper.is_busy)
        except TimeoutError:
            checks.broken.add("an unknown end")
        checks.settled()
        await keeper.stop()
    return checks.broken


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _meanwhile(chance: random.Random, rig: OrderRig, name: str, *, may_cancel: bool) -> None:
    """Let an order fill, whole or in part, perhaps while it is cancelled, perhaps without a word of it."""
    toy = rig.toy
    there = toy.orders.get(name)
    toy.is_muted = chance.random() < 0.3
    if there is not None and not there.status.is_final and chance.random() < 0.8:
        toy.execute(name, chance.randint(1, int(there.remaining)))
    await _turns(chance.randint(0, 3))
    toy.is_muted = False
    if may_cancel and chance.random() < 0.5:
        rig.desk.cancel(name)
    await _turns(chance.randint(0, 10))


def broken_in(seeds: Sequence[int], *, until: str | None = None) -> set[str]:
    """Return what was broken in all days, or up to the one in which ``until`` was."""
    found: set[str] = set()

    async def days() -> None:
        for seed in seeds:
            if until not in found:
                found.update(await day(seed, patience_s=DEADLINE_S if until is None else BROKEN_S))

    run(days())
    return found


def test_the_honest_desk_and_keeper_break_nothing() -> None:
    assert broken_in(SEEDS) == set()


@pytest.mark.parametrize(
    ("variant", "seen"),
    [
        (fill_counted_per_poll, "a fill lost or doubled"),
        (retried_create, "an order nobody knows"),
        (ignored_parent, "an exit without its entry"),
        (dropped_late_fill, "a fill lost or doubled"),
    ],
)
def test_a_broken_variant_is_seen(
    monkeypatch: pytest.MonkeyPatch, variant: Callable[[pytest.MonkeyPatch], None], seen: str
) -> None:
    variant(monkeypatch)

    assert seen in broken_in(SEEDS, until=seen)
