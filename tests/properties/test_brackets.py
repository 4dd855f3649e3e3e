"""Brackets against a small honest venue: partial fills, races, refusals, lost answers, crashes.

The machine below is the shell at its barest: legs are written down before they
leave, answers and pushes come late, in any order and more than once, and after
a crash nothing is left but the journal and the venue.
"""

import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from btx.model.instrument import Instrument
from btx.model.order import (
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Fill,
    Group,
    GroupKind,
    Leg,
    ListKind,
    Member,
    Order,
    OrderEvent,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Side,
    Status,
)
from btx.model.venue import Capabilities
from btx.rules import brackets
from btx.rules.groups import (
    STOPS,
    Cancel,
    Decision,
    GroupFacts,
    PlaceEntry,
    PlaceExit,
    PlacePair,
    Replace,
    Unwind,
    is_answered,
    is_reached,
)
from btx.rules.orders import apply, new_order
from tests.values import BTC, request

COIN = attrs.evolve(
    BTC, step_size=Decimal(1), min_quantity=Decimal(1), min_notional=None, max_quantity=Decimal(100), max_notional=None
)
QUANTITY = Decimal(10)
SECOND = 1_000_000_000
LISTS = frozenset({ListKind.OCO, ListKind.OTO, ListKind.OTOCO})


@attrs.define(kw_only=True)
class VenueOrder:
    leg: Leg
    status: Status = Status.NEW
    fills: list[Fill] = attrs.field(factory=list)

    @property
    def filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills), Decimal(0))

    @property
    def remaining(self) -> Decimal:
        return Decimal(0) if self.status.is_final else self.leg.quantity - self.filled


class Market:
    """The venue: what rests there, what filled, and what it has pushed."""

    def __init__(self) -> None:
        self.orders: dict[str, VenueOrder] = {}
        self.pushed: list[OrderEvent] = []
        self.price = Decimal(100)
        self.now_ns = SECOND
        self._numbers = itertools.count(1)

    def place(self, legs: Sequence[Leg], kind: ListKind | None = None) -> str | None:
        """Take orders, or say why not."""
        dormant = legs[1:] if kind in {ListKind.OTO, ListKind.OTOCO} else ()
        for leg in legs:
            assert leg.client_order_id not in self.orders, "an order was sent twice"
            asked = leg.request
            if leg not in dormant and asked.order_type in STOPS and is_reached(asked, self.price):
                return "Order would trigger immediately."
        for leg in legs:
            order = VenueOrder(leg=leg, status=Status.PENDING_NEW if leg in dormant else Status.NEW)
            self.orders[leg.client_order_id] = order
            self._tell(order)
            if leg.request.order_type is OrderType.MARKET:
                self.fill(order, leg.quantity)
        return None

    def cancel(self, client_order_id: str) -> bool:
        order = self.orders.get(client_order_id)
        if order is None or order.status.is_final:
            return False
        for each in self.together(order):
            if not each.status.is_final:
                each.status = Status.CANCELED
                self._tell(each)
        return True

    def fill(self, order: VenueOrder, quantity: Decimal) -> None:
        self._execute(order, quantity)
        for each in self.together(order):
            if each is order or each.status.is_final:
                continue
            if order.leg.owner_id == "entry":
                each.status = Status.NEW if order.status is Status.FILLED else each.status
                self._tell(each)
            elif each.leg.owner_id != "entry":
                each.status = Status.EXPIRED
                self._tell(each)

    def race(self, one: VenueOrder, other: VenueOrder, quantity: Decimal) -> None:
        """Fill both of a list in the same moment."""
        self._execute(one, min(quantity, one.remaining))
        self.fill(other, min(quantity, other.remaining))

    def _execute(self, order: VenueOrder, quantity: Decimal) -> None:
        fill = Fill(
            fill_id=str(next(self._numbers)),
            client_order_id=order.leg.client_order_id,
            symbol=COIN.symbol,
            side=order.leg.request.side,
            price=self.price,
            quantity=quantity,
            time_ns=self.now_ns,
        )
        order.fills.append(fill)
        order.status = Status.FILLED if order.filled == order.leg.quantity else Status.PARTIALLY_FILLED
        self.pushed.append(fill)
        self._tell(order)

    def together(self, order: VenueOrder) -> list[VenueOrder]:
        of = order.leg.list_id
        return [each for each in self.orders.values() if each is order or (of and each.leg.list_id == of)]

    def report(self, order: VenueOrder) -> OrderReport:
        return OrderReport(
            client_order_id=order.leg.client_order_id,
            symbol=COIN.symbol,
            status=order.status,
            filled=order.filled,
            sequence=next(self._numbers),
            time_ns=self.now_ns,
        )

    def _tell(self, order: VenueOrder) -> None:
        self.pushed.append(self.report(order))


@attrs.frozen(kw_only=True)
class Request:
    """What is on its way to the venue: legs, or an order to cancel."""

    legs: tuple[Leg, ...] = ()
    kind: ListKind | None = None
    cancels: str | None = None


class BracketMachine(RuleBasedStateMachine):
    """One bracket, from its first leg to rest."""

    breaks: ClassVar[str] = ""

    @initialize(
        side=st.sampled_from(list(Side)),
        lists=st.sampled_from([LISTS, frozenset()]),
        shape=st.sampled_from(["stop and limit", "stop", "limit", "two limits"]),
        native_entry=st.booleans(),
        most=st.sampled_from([None, 1, 2]),
        least=st.sampled_from([1, 3]),
        filled=st.sampled_from([None, 0, 2, 5, 10]),
    )
    def begin(  # noqa: PLR0917 -- hypothesis names them all
        self,
        side: Side,
        lists: frozenset[ListKind],
        shape: str,
        native_entry: bool,
        most: int | None,
        least: int,
        filled: int | None,
    ) -> None:
        self.coin: Instrument = attrs.evolve(COIN, max_conditional_orders=most, min_quantity=Decimal(least))
        self.side = side
        self.able = Capabilities(
            order_types=frozenset(OrderType) - {OrderType.TRAILING_STOP},
            times_in_force=frozenset(),
            intervals=(),
            channels=frozenset(),
            order_lists=lists,
        )
        far, near = (Decimal(90), Decimal(110)) if side is Side.BUY else (Decimal(110), Decimal(90))
        exits = {
            "stop": self.member("stop", order_type=OrderType.STOP_MARKET, price=None, trigger_price=far),
            "limit": self.member("limit", price=near),
            "limits": self.member("farther", price=near + 5 if side is Side.BUY else near - 5),
        }
        chosen = {"stop and limit": ["stop", "limit"], "two limits": ["limit", "limits"]}.get(shape, [shape])
        entry = attrs.evolve(self.member("entry"), request=self.asked(side))
        members = tuple(exits[name] for name in chosen)
        self.group = Group(
            group_id="g", kind=GroupKind.BRACKET, entry=entry, members=members, native_entry=native_entry
        )
        self.market = Market()
        self.orders: dict[str, Order] = {}
        self.requests: list[Request] = []
        self.ids = itertools.count(1)
        self.ended: dict[str, Status] = {}
        self.raced = False
        self.waiting: dict[str, Request] = {}
        self.now_ns = SECOND
        if filled is not None:
            self.go_well()
        if filled:
            self.fill_entry(filled)

    def asked(self, side: Side, **changes: Any) -> Any:
        return request(instrument=self.coin, side=side, quantity=QUANTITY, **changes)

    def member(self, name: str, **changes: Any) -> Member:
        return Member(member_id=name, request=self.asked(Side.SELL if self.side is Side.BUY else Side.BUY, **changes))

    # --- the shell -----------------------------------------------------------------------------------

    def decide(self) -> Decision:
        facts = GroupFacts(capabilities=self.able, last_price=self.market.price)
        decision = brackets.decide(self.group, tuple(self.orders.values()), facts=facts, now_ns=self.now_ns)
        return self.broken(decision)

    def broken(self, decision: Decision) -> Decision:
        entries = self.legs_of("entry")
        if self.breaks == "ignored parent" and not entries and decision.commands:
            stop = next((each for each in self.group.members if each.request.order_type in STOPS), None)
            extra = PlaceExit(member=stop or self.group.members[0], quantity=QUANTITY)
            return attrs.evolve(decision, commands=(*decision.commands, extra))
        if self.breaks == "protection as requested":
            commands = [
                attrs.evolve(each, quantity=QUANTITY) if isinstance(each, PlaceExit | PlacePair) else each
                for each in decision.commands
            ]
            return attrs.evolve(decision, commands=tuple(commands))
        return decision

    def legs_of(self, *owners: str) -> list[Order]:
        return [order for order in self.orders.values() if order.leg.owner_id in owners]

    @property
    def exits(self) -> list[Order]:
        return self.legs_of(*(each.member_id for each in self.group.members))

    @rule()
    def act(self) -> None:
        self.pump()

    @rule()
    def go_well(self) -> None:
        """Decide, and have everything arrive and answered."""
        self.pump()
        while self.requests:
            self.do(self.requests.pop(0), "done")
        self.deliver_all()

    def pump(self) -> Decision:
        """Do what is decided: one round."""
        decision = self.decide()
        if any(isinstance(each, PlaceExit | PlacePair | Unwind) for each in decision.commands):
            assert all(is_answered(order) for order in self.exits if not order.status.is_final), "two rounds at once"
        self.ended.update({name: status for name, (status, _) in decision.ended.items()})
        for command in decision.commands:
            self.run(command)
        return decision

    def run(self, command: Any) -> None:
        match command:
            case PlaceEntry():
                kind = {0: None, 1: ListKind.OTO, 2: ListKind.OTOCO}[len(command.exits)]
                self.send((command.member, *command.exits), command.quantity, kind)
            case PlacePair():
                self.send((command.limit, command.stop), command.quantity, ListKind.OCO)
            case PlaceExit():
                self.send((command.member,), command.quantity)
            case Replace():
                # As a venue without it: cancel, and decide again. The rest is placed then.
                self.cancel(command.client_order_id)
            case Cancel():
                self.cancel(command.client_order_id)
            case Unwind():
                asked = self.asked(command.side, order_type=OrderType.MARKET, price=None)
                self.send((Member(member_id="", request=asked),), command.quantity)

    def send(self, members: tuple[Member, ...], quantity: Decimal, kind: ListKind | None = None) -> None:
        list_id = f"list{next(self.ids)}" if kind is not None else None
        legs = tuple(
            Leg(
                client_order_id=f"leg{next(self.ids)}",
                request=member.request,
                quantity=quantity,
                member_id=member.member_id or None,
                group_id="g",
                list_id=list_id,
            )
            for member in members
        )
        for leg in legs:
            assert quantity >= self.coin.min_quantity
            assert leg.client_order_id not in self.orders, "an id was used twice"
            self.orders[leg.client_order_id] = new_order(leg)
        self.requests.append(Request(legs=legs, kind=kind))

    def cancel(self, client_order_id: str) -> None:
        self.hear(CancelRequested(client_order_id=client_order_id, time_ns=self.now_ns))
        self.requests.append(Request(cancels=client_order_id))

    def hear(self, event: OrderEvent) -> None:
        order = self.orders[event.client_order_id]
        if self.breaks == "dropped late fill" and isinstance(event, Fill) and order.status.is_final:
            return
        self.orders[event.client_order_id] = apply(order, event)

    # --- the way to the venue and back ---------------------------------------------------------------------

    @precondition(lambda self: self.requests)
    @rule(fate=st.sampled_from(["done", "done", "done", "refused", "answer lost", "request lost"]))
    def arrive(self, fate: str) -> None:
        self.do(self.requests.pop(0), fate)

    def do(self, asked: Request, fate: str) -> None:
        ids = [leg.client_order_id for leg in asked.legs] or [asked.cancels or ""]
        if fate == "request lost" or (fate == "refused" and asked.cancels):
            self.doubt(asked, ids)
            return
        if asked.cancels:
            found = self.market.cancel(asked.cancels)
            if fate == "answer lost":
                self.doubt(asked, ids)
                return
            outcome = CancelOutcome.TAKEN if found else CancelOutcome.REFUSED
            self.hear(CancelResult(client_order_id=asked.cancels, outcome=outcome, time_ns=self.now_ns))
            if not found:
                self.ask(asked.cancels)
            return
        reason = "funds" if fate == "refused" else self.market.place(asked.legs, asked.kind)
        if fate == "answer lost":
            self.doubt(asked, ids)
        elif reason is not None:
            for each in ids:
                self.hear(PlaceRefused(client_order_id=each, reason=reason, time_ns=self.now_ns))

    def doubt(self, asked: Request, ids: list[str]) -> None:
        pending = Pending.CANCEL if asked.cancels else None
        for each in ids:
            self.hear(OutcomeUnknown(client_order_id=each, reason="", pending=pending, time_ns=self.now_ns))
            self.waiting[each] = asked

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def settle_one(self, data: st.DataObject) -> None:
        self.ask(data.draw(st.sampled_from(sorted(self.waiting))))

    def ask(self, client_order_id: str) -> None:
        """Ask the venue, as the desk does when it does not know."""
        found, order = self.market.orders.get(client_order_id), self.orders[client_order_id]
        self.waiting.pop(client_order_id, None)
        if found is None:
            if order.evidence is None and not order.fills:
                self.hear(
                    OrderReport(
                        client_order_id=client_order_id,
                        symbol=COIN.symbol,
                        status=Status.REJECTED,
                        time_ns=self.now_ns,
                        reason="it never arrived",
                        inferred=True,
                    )
                )
            return
        self.hear(attrs.evolve(self.market.report(found), sequence=None))
        for fill in found.fills:
            changed = f"poll {next(self.ids)}" if self.breaks == "fill counted per poll" else fill.fill_id
            self.hear(attrs.evolve(fill, fill_id=changed))
        if self.orders[client_order_id].unanswered:
            self.hear(CancelResult(client_order_id=client_order_id, outcome=CancelOutcome.REFUSED, time_ns=self.now_ns))

    @precondition(lambda self: self.market.pushed)
    @rule(data=st.data(), repeat=st.booleans())
    def deliver(self, data: st.DataObject, repeat: bool) -> None:
        place = data.draw(st.integers(0, min(2, len(self.market.pushed) - 1)))
        event = self.market.pushed[place] if repeat else self.market.pushed.pop(place)
        self.hear(event)

    @rule()
    def deliver_all(self) -> None:
        while self.market.pushed:
            self.hear(self.market.pushed.pop(0))

    # --- what happens ---------------------------------------------------------------------------------------

    def fillable(self) -> list[str]:
        return [name for name, order in self.market.orders.items() if order.remaining > 0 and is_working(order)]

    @precondition(lambda self: any(self.market.orders[name].leg.owner_id == "entry" for name in self.fillable()))
    @rule(part=st.integers(1, 6))
    def fill_entry(self, part: int) -> None:
        entry = next(each for each in self.market.orders.values() if each.leg.owner_id == "entry" and each.remaining)
        self.market.fill(entry, min(Decimal(part), entry.remaining))

    @precondition(lambda self: self.fillable())
    @rule(data=st.data(), part=st.integers(1, 10), race=st.booleans())
    def fill(self, data: st.DataObject, part: int, race: bool) -> None:
        order = self.market.orders[data.draw(st.sampled_from(self.fillable()))]
        quantity = min(Decimal(part), order.remaining)
        siblings = [each for each in self.market.together(order) if each is not order and each.remaining]
        if race and is_exit(order) and siblings and is_exit(siblings[0]):
            self.raced = True
            self.market.race(siblings[0], order, quantity)
        else:
            self.market.fill(order, quantity)

    @rule(price=st.sampled_from([85, 95, 100, 105, 112, 116]))
    def move(self, price: int) -> None:
        self.market.price = Decimal(price)

    @rule(seconds=st.integers(1, 40))
    def pass_time(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND
        self.market.now_ns = self.now_ns

    @precondition(lambda self: self.total("entry"))
    @rule()
    def withdraw_entry(self) -> None:
        self.group = attrs.evolve(self.group, withdrawn=(*self.group.withdrawn, "entry"))

    @precondition(lambda self: len(self.market.orders) > 3)
    @rule(now=st.booleans())
    def withdraw_exit(self, now: bool) -> None:
        if now:
            withdrawn = (*self.group.withdrawn, self.group.members[0].member_id)
            self.group = attrs.evolve(self.group, withdrawn=withdrawn)

    @rule(ticks=st.integers(1, 3))
    def amend_entry(self, ticks: int) -> None:
        entry = self.group.entry
        if entry is not None and "entry" not in self.ended:
            changed = attrs.evolve(entry.request, price=entry.request.price + ticks)  # type: ignore[operator]
            self.group = attrs.evolve(self.group, entry=attrs.evolve(entry, request=changed))

    @rule(ticks=st.integers(1, 3))
    def amend(self, ticks: int) -> None:
        first, *others = self.group.members
        asked = first.request
        name = "price" if asked.order_type is OrderType.LIMIT else "trigger_price"
        changed = attrs.evolve(asked, **{name: getattr(asked, name) + ticks})
        self.group = attrs.evolve(self.group, members=(attrs.evolve(first, request=changed), *others))

    @rule(sent=st.booleans())
    def crash(self, sent: bool) -> None:
        """Lose the connection and everything in flight; begin again from journal and venue."""
        for asked in self.requests:
            if sent and asked.cancels:
                self.market.cancel(asked.cancels)
            elif sent:
                self.market.place(asked.legs, asked.kind)
        self.requests, self.waiting = [], {}
        self.market.pushed.clear()
        for client_order_id, order in list(self.orders.items()):
            if not order.is_settled:
                if order.pending is not None:
                    self.hear(
                        OutcomeUnknown(
                            client_order_id=client_order_id, reason="", pending=Pending.CANCEL, time_ns=self.now_ns
                        )
                    )
                self.ask(client_order_id)

    # --- what must hold -------------------------------------------------------------------------------------

    def total(self, *owners: str | None) -> Decimal:
        return sum((each.filled for each in self.market.orders.values() if each.leg.member_id in owners), Decimal(0))

    @property
    def held(self) -> Decimal:
        """What the position is, at the venue, in the direction of the entry."""
        sign = self.side.sign
        return sum(
            (sign * each.leg.request.side.sign * each.filled for each in self.market.orders.values()), Decimal(0)
        )

    def resting(self, *, stops_only: bool = False) -> Decimal:
        by_list: dict[str, list[Decimal]] = {}
        for name, each in self.market.orders.items():
            of = self.group.member(each.leg.member_id or "")
            if each.leg.owner_id == "entry" or of is None or not is_working(each):
                continue
            if not stops_only or of.request.order_type in STOPS:
                by_list.setdefault(each.leg.list_id or name, []).append(each.remaining)
        return sum((max(each) for each in by_list.values()), Decimal(0))

    @invariant()
    def no_exit_can_fill_beyond_the_entry(self) -> None:
        if hasattr(self, "market") and not self.raced:
            assert self.resting() <= max(self.held, Decimal(0)), "the exits could fill more than the entry has"

    def teardown(self) -> None:
        if not hasattr(self, "market"):
            return
        decision = self.come_to_rest()
        for name, order in self.orders.items():
            there = self.market.orders.get(name)
            assert order.filled == (there.filled if there is not None else 0), "memory is not what happened"
        step = self.coin.min_quantity
        assert self.held >= 0 or decision.excess == self.side.sign * self.held, "it is told what is too much"
        assert self.held > -step, "the exits filled more than the entry, and nobody undid it"
        if any(each.member_id in self.group.withdrawn for each in self.group.members):
            assert self.resting() == 0
            return
        has_stop = any(each.request.order_type in STOPS for each in self.group.members)
        protected = self.resting(stops_only=has_stop)
        assert decision.naked == max(self.held - protected, Decimal(0)), "naked is not what it is"
        reached = any(is_reached(each.request, self.market.price) for each in self.group.members)
        if not reached and self.group.member("entry") and "entry" in self.ended:
            most = self.coin.max_quantity or self.held
            assert decision.naked == 0 or self.held < step or self.held > most, "it could be protected, and is not"

    def come_to_rest(self) -> Decision:
        """Let everything arrive, be answered and be done, until nothing changes any more."""
        for _ in range(200):
            while self.requests:
                self.do(self.requests.pop(0), "done")
            self.deliver_all()
            for each in sorted(self.waiting):
                self.ask(each)
            decision = self.pump()
            if decision.again_ns is not None and not decision.commands:
                self.now_ns = max(self.now_ns, decision.again_ns)
                self.market.now_ns = self.now_ns
                decision = self.pump()
            if not (decision.commands or self.requests or self.market.pushed or self.waiting):
                return decision
        raise AssertionError("it never comes to rest")


class OcoMachine(BracketMachine):
    """One OCO group, likewise; most of what happens to a bracket happens to it, too."""

    @initialize(
        side=st.sampled_from(list(Side)),
        lists=st.sampled_from([LISTS, frozenset()]),
        shape=st.sampled_from(["stop and limit", "three", "either way", "one"]),
        least=st.sampled_from([1, 3]),
    )
    def begin(self, side: Side, lists: frozenset[ListKind], shape: str, least: int) -> None:  # type: ignore[override]
        super().begin(side, lists, "stop and limit", False, None, least, None)
        stop, limit = self.group.members
        other = attrs.evolve(limit, member_id="other", request=attrs.evolve(limit.request, price=Decimal(107)))
        way = attrs.evolve(limit, member_id="way", request=attrs.evolve(limit.request, side=self.side))
        members = {"stop and limit": (stop, limit), "three": (stop, limit, other), "either way": (stop, way)}
        self.group = Group(group_id="g", kind=GroupKind.OCO, members=members.get(shape, (limit,)))
        self.go_well()

    @invariant()
    def no_exit_can_fill_beyond_the_entry(self) -> None:
        """There is no entry."""

    def teardown(self) -> None:
        if not hasattr(self, "market"):
            return
        decision = self.come_to_rest()
        for name, order in self.orders.items():
            there = self.market.orders.get(name)
            assert order.filled == (there.filled if there is not None else 0), "memory is not what happened"
        working = [each for each in self.market.orders.values() if each.remaining]
        owners = {each.leg.owner_id for each in working}
        filled = [each.member_id for each in self.group.members if self.total(each.member_id)]
        held, least = abs(self.held), self.coin.min_quantity
        assert held <= QUANTITY or (held - QUANTITY < least and abs(decision.excess) == held - QUANTITY)
        if filled:
            assert owners <= {filled[0]} or len(filled) > 1, "one has filled, and another is still alive"
            assert held + sum(each.remaining for each in working) <= QUANTITY + least, "more could fill than was wanted"
        if self.ended:
            assert not working, "it has ended, and something is alive"
            assert set(self.ended) == {each.member_id for each in self.group.members}
        elif not filled:
            assert owners == {each.member_id for each in self.group.members}, "not all of it rests"


def is_exit(order: VenueOrder) -> bool:
    return order.leg.owner_id != "entry"


def is_working(order: VenueOrder) -> bool:
    return order.status in {Status.NEW, Status.PARTIALLY_FILLED}


SETTINGS = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestBrackets = BracketMachine.TestCase
TestBrackets.settings = SETTINGS
TestOco = OcoMachine.TestCase
TestOco.settings = SETTINGS

HUNT = settings(
    max_examples=2000,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    ("breaks", "seen"),
    [
        ("ignored parent", "could fill more than the entry has"),
        ("dropped late fill", "memory is not what happened"),
        ("fill counted per poll", "memory is not what happened"),
        ("protection as requested", "could fill more than the entry has|never comes to rest"),
    ],
)
def test_a_broken_variant_is_caught(breaks: str, seen: str) -> None:
    machine = type("Broken", (BracketMachine,), {"breaks": breaks})

    with pytest.raises(AssertionError, match=seen):
        run_state_machine_as_test(machine, settings=HUNT)  # type: ignore[no-untyped-call]
