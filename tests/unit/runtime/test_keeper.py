"""The keeper: groups are looked after from their first leg to their last fill, across crashes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError
from btx.model.order import Group, GroupKind, ListKind, Member, Order, OrderType, Side, Status, TimeInForce
from btx.model.venue import Capabilities
from btx.runtime.keeper import Keeper, alone, needs_keeper
from btx.runtime.mailbox import MemberEnded, MemberUnchanged
from tests.toy_venue import INFO, Fault, ToyVenue
from tests.unit.runtime.rig import Log, ToyClock, run
from tests.unit.runtime.small_desk import SmallDesk
from tests.values import BTC, request

TOY = attrs.evolve(INFO.capabilities["spot"])
ALL_LISTS = attrs.evolve(TOY, order_lists=frozenset(ListKind))
SECOND = 1_000_000_000


class Time:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class KeeperRig:
    """A keeper, its desk, its venue, and what came out."""

    def __init__(self, toy: ToyVenue, journal: list[Any], capabilities: Capabilities, **changes: Any) -> None:
        self.toy = toy
        self.desk = SmallDesk(toy, journal, replaces=changes.pop("replaces", True))
        self.log = Log()
        self.time = Time()
        self.notes: list[tuple[str, str]] = []
        self.written: list[Group] = []
        self.alarms: list[tuple[str, Decimal, float]] = []
        self.capabilities = capabilities
        self.changes = changes

    async def start(self) -> None:
        await self.desk.start()
        self.keeper = Keeper(
            desk=self.desk,
            capabilities=self.capabilities,
            clock=ToyClock(self.toy),
            post=self.log.add,
            note=self._note,
            written=self.written.append,
            on_naked=self._alarm,
            progressed=self.log.touch,
            monotonic=self.time,
            **self.changes,
        )
        self.desk.listen(lambda _before, _after: self.log.touch())

    async def crash(self) -> "KeeperRig":
        """Lose everything but the journal and the venue, and begin again."""
        await self.stop()
        again = KeeperRig(self.toy, self.desk.journal, self.capabilities, **self.changes)
        await again.start()
        again.keeper.recover(again.desk.groups())
        return again

    async def stop(self) -> None:
        await self.keeper.stop()
        await self.desk.stop()
        assert not self.desk.faults

    def _note(self, kind: str, text: str) -> None:
        self.notes.append((kind, text))
        self.log.touch()

    def _alarm(self, group_id: str, quantity: Decimal, seconds: float) -> None:
        self.alarms.append((group_id, quantity, seconds))
        self.log.touch()

    def legs(self, member_id: str) -> list[Order]:
        return [order for order in self.desk.orders.values() if order.leg.owner_id == member_id]

    def open(self, member_id: str) -> list[Order]:
        working = {Status.NEW, Status.PARTIALLY_FILLED}
        return [order for order in self.legs(member_id) if order.status in working and order.pending is None]

    def resting(self, member_id: str) -> Decimal:
        return sum((order.remaining for order in self.open(member_id)), Decimal(0))

    def ended(self) -> dict[str, Status]:
        return {each.member_id: each.status for each in self.log.of(MemberEnded)}

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.log.until(lambda: condition() and not self.keeper.is_busy)


@asynccontextmanager
async def rigged(capabilities: Capabilities = TOY, **changes: Any) -> AsyncIterator[KeeperRig]:
    rig = KeeperRig(ToyVenue(), [], capabilities, **changes)
    await rig.start()
    yield rig
    await rig.stop()


def bracket(**changes: Any) -> Group:
    whole = {
        "group_id": "g",
        "kind": GroupKind.BRACKET,
        "entry": Member(member_id="entry", request=request()),
        "members": (
            Member(member_id="stop", request=stop_request()),
            Member(member_id="limit", request=request(side=Side.SELL, price=Decimal(120))),
        ),
    }
    return Group(**(whole | changes))


def stop_request(**changes: Any) -> Any:
    whole = {"side": Side.SELL, "order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(90)}
    return request(**(whole | changes))


def trailing_request(**changes: Any) -> Any:
    whole = {"order_type": OrderType.TRAILING_STOP, "trigger_price": None, "trail_amount": Decimal(5)}
    return stop_request(**(whole | changes))


def test_every_partial_fill_of_the_entry_is_protected_by_a_pair_of_its_own() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            assert rig.written == [bracket()]
            assert rig.legs("entry")[0].client_order_id == "entry"

            rig.toy.execute("entry", 2)
            await rig.until(lambda: rig.resting("stop") == 2)
            rig.toy.execute("entry", 4)
            await rig.until(lambda: rig.resting("stop") == rig.resting("limit") == 6)
            rig.toy.trade("BTC/USDT", 120)
            await rig.until(lambda: len(rig.ended()) == 3)

            assert rig.ended() == {"entry": Status.FILLED, "limit": Status.FILLED, "stop": Status.CANCELED}
            assert rig.toy.balances["BTC"] == 0
            assert not rig.keeper.naked
            assert len(rig.log.of(MemberEnded)) == 3

    run(whole())


def test_in_lockstep_nothing_is_decided_before_the_step_is_complete_and_then_the_parts_are_one() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.wait_for_steps()
            rig.keeper.take(bracket())
            await rig.until(lambda: rig.keeper.is_due)
            assert not rig.legs("entry")

            rig.keeper.decide_due()
            await rig.until(lambda: bool(rig.open("entry")))
            rig.keeper.decide_due()
            rig.toy.execute("entry", 2)
            rig.toy.execute("entry", 4)
            await rig.until(lambda: rig.legs("entry")[0].filled == 6)
            assert not rig.legs("stop")

            rig.keeper.decide_due()
            await rig.until(lambda: rig.resting("stop") == 6)
            assert len(rig.legs("stop")) == 1
            assert rig.keeper.is_due  # of the exits that rest now
            rig.keeper.end_steps()
            assert not rig.keeper.is_due

    run(whole())


def test_entry_and_exits_may_go_as_one_list_of_the_venue() -> None:
    async def whole() -> None:
        async with rigged(ALL_LISTS) as rig:
            rig.keeper.take(bracket(native_entry=True))
            await rig.until(lambda: bool(rig.open("entry")))
            assert rig.toy.count("place_list") == 1

            rig.toy.execute("entry", 6)
            await rig.until(lambda: rig.resting("stop") == 6)

            assert rig.toy.count("place_list") == 1

    run(whole())


def test_after_a_crash_what_was_filled_meanwhile_is_protected() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.is_muted = True
            rig.toy.execute("entry", 3)
            rig.toy.is_muted = False

            again = await rig.crash()
            await again.until(lambda: again.resting("stop") == 3)
            again.toy.execute("entry", 3)
            await again.until(lambda: again.resting("stop") == 6)
            third = await again.crash()
            await third.until(lambda: third.resting("stop") == 6)

            assert third.toy.count("place_list") == 2
            await third.stop()

    run(whole())


STALE = "it was not at the venue when this process began, and is not sent on an old signal"


@pytest.mark.parametrize("is_bracket", [True, False])
def test_after_a_crash_a_group_of_which_nothing_was_sent_is_not_sent(*, is_bracket: bool) -> None:
    async def whole() -> None:
        async with rigged() as rig:
            group = bracket() if is_bracket else bracket(kind=GroupKind.OCO, entry=None)
            rig.desk.submit = lambda _leg: None  # type: ignore[method-assign]  # the process ends before
            rig.desk.submit_list = lambda _list: None  # type: ignore[method-assign]
            rig.keeper.take(group)
            await rig.until(lambda: bool(rig.written))

            again = await rig.crash()
            await again.until(lambda: len(again.ended()) == len(group.everyone))

            assert {*again.ended().values()} == {Status.CANCELED}
            stale = ["entry"] if is_bracket else ["stop", "limit"]
            assert [each.reason for each in again.log.of(MemberEnded) if each.member_id in stale] == [STALE] * len(
                stale
            )
            assert again.notes == [("STALE", f"group g: order {each}: {STALE}") for each in stale]
            assert again.toy.calls.count(("place", "entry")) + again.toy.count("place_list") == 0
            third = await again.crash()
            assert third.notes == []
            assert third.toy.orders == {}
            await third.stop()
            await again.stop()

    run(whole())


def test_after_a_crash_half_way_through_an_amendment_the_entry_stays_away_and_its_fill_keeps_its_exits() -> None:
    async def whole() -> None:
        async with rigged(replaces=False) as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.execute("entry", 2)
            await rig.until(lambda: rig.resting("stop") == 2)
            rig.desk.forgets = True  # the process ends between the cancel and what was to follow
            rig.keeper.amend("entry", request(price=Decimal(101)))
            await rig.until(lambda: rig.desk.orders["entry"].status is Status.CANCELED)

            again = await rig.crash()
            await again.until(lambda: again.ended() == {"entry": Status.CANCELED})

            assert [kind for kind, _ in again.notes] == ["STALE"]
            assert (again.resting("stop"), again.resting("limit")) == (2, 2)
            assert len(again.legs("entry")) == 1
            third = await again.crash()
            await third.until(lambda: third.resting("stop") == 2)
            assert third.notes == []  # it is told once
            assert len(third.legs("entry")) == 1
            await third.stop()

    run(whole())


@pytest.mark.parametrize("how", ["rests", "filled", "cancelled by the strategy", "ended at the venue"])
def test_after_a_crash_an_entry_that_rests_or_is_over_is_not_called_stale(how: str) -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.execute("entry", 6 if how == "filled" else 2)
            await rig.until(lambda: rig.resting("stop") == (6 if how == "filled" else 2))
            if how == "cancelled by the strategy":
                rig.keeper.cancel("entry")
            elif how == "ended at the venue":
                await rig.toy.cancel(leg=rig.desk.orders["entry"].leg, venue_order_id=None)
            if how != "rests":
                await rig.until(lambda: "entry" in rig.ended())
            written = len(rig.desk.journal)

            again = await rig.crash()
            await again.until(lambda: again.resting("stop") == (6 if how == "filled" else 2))

            assert again.notes == []
            assert len(again.desk.journal) == written
            assert bool(again.open("entry")) is (how == "rests")
            await again.stop()

    run(whole())


def test_a_group_that_the_rules_break_on_does_not_end_the_recovery_of_the_others() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.recover([bracket(group_id="broken", entry=None), bracket()])
            await rig.until(lambda: "entry" in rig.ended())

            assert {kind for kind, _ in rig.notes} == {"FATAL", "STALE"}

    run(whole())


def test_a_pair_whose_answer_was_lost_is_asked_for_and_not_sent_again() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.toy.faults["place_list"].append(Fault.LOST_ANSWER)
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))

            rig.toy.execute("entry", 6)
            await rig.until(lambda: rig.resting("stop") == 6)

            assert rig.toy.count("place_list") == 1

    run(whole())


def test_naked_time_is_measured_and_told() -> None:
    async def whole() -> None:
        async with rigged(alarm_s=0.0) as rig:
            rig.toy.gates["place_list"] = asyncio.Event()
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))

            rig.toy.execute("entry", 6)
            await rig.until(lambda: bool(rig.alarms))
            assert rig.keeper.naked == {"g": Decimal(6)}
            rig.time.now_s = 2.5
            assert rig.keeper.naked_seconds_total == rig.keeper.longest_naked_s == 2.5
            rig.toy.gates["place_list"].set()
            await rig.until(lambda: not rig.keeper.naked)
            rig.time.now_s = 9.0

            assert rig.keeper.naked_seconds_total == rig.keeper.longest_naked_s == 2.5
            assert rig.alarms == [("g", Decimal(6), 0.0)]

    run(whole())


def test_cancelling_an_exit_takes_the_whole_protection_away() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.execute("entry", 2)
            await rig.until(lambda: rig.resting("stop") == 2)

            rig.keeper.cancel("limit")
            rig.keeper.cancel("limit")
            await rig.until(lambda: len(rig.ended()) == 3)

            assert set(rig.ended().values()) == {Status.CANCELED}
            assert not rig.keeper.naked
            assert rig.desk.groups()[0].withdrawn == ("limit",)
            rig.keeper.cancel("limit")
            rig.keeper.cancel("nobody")
            rig.keeper.amend("limit", request())

    run(whole())


def test_an_amended_stop_is_exchanged() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.execute("entry", 6)
            await rig.until(lambda: rig.resting("stop") == 6)

            rig.keeper.amend("stop", stop_request(trigger_price=Decimal(95)))
            await rig.until(lambda: [each.leg.request.trigger_price for each in rig.open("stop")] == [Decimal(95)])

            assert rig.resting("limit") == 6

    run(whole())


@pytest.mark.parametrize("replaces", [True, False])
def test_an_amended_entry_keeps_what_it_filled(replaces: bool) -> None:
    async def whole() -> None:
        async with rigged(replaces=replaces) as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))

            rig.keeper.amend("entry", request(price=Decimal(101)))
            await rig.until(lambda: [each.leg.request.price for each in rig.open("entry")] == [Decimal(101)])

            assert rig.resting("entry") == 6

    run(whole())


def test_an_exchange_that_stops_half_way_is_finished_by_the_keeper() -> None:
    async def whole() -> None:
        async with rigged(replaces=False, patience_s=0.0) as rig:
            rig.desk.forgets = True
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))

            rig.keeper.amend("entry", request(price=Decimal(101)))
            await rig.until(lambda: [each.leg.request.price for each in rig.open("entry")] == [Decimal(101)])

            assert [kind for kind, _ in rig.notes] == ["FAULT"]

    run(whole())


def test_an_order_that_fills_while_it_is_exchanged_is_not_placed_again() -> None:
    async def whole() -> None:
        async with rigged(replaces=False) as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.toy.gates["cancel"] = asyncio.Event()
            rig.keeper.amend("entry", request(price=Decimal(101)))
            await rig.log.until(lambda: rig.toy.count("cancel") == 1)

            rig.toy.execute("entry", 6)
            await rig.until(lambda: rig.legs("entry")[0].status is Status.FILLED and not rig.keeper.naked)
            assert rig.resting("stop") == 6

            assert len(rig.legs("entry")) == 1

    run(whole())


def test_an_amendment_that_is_not_on_disk_changes_nothing() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.desk.disk_is_full = True

            rig.keeper.amend("entry", request(price=Decimal(101)))
            await rig.until(lambda: bool(rig.notes))

            assert rig.notes[0][0] == "FAULT"
            assert [each.leg.request.price for each in rig.legs("entry")] == [Decimal(100)]

    run(whole())


def test_an_amendment_that_is_not_on_disk_is_told_as_refused_and_is_in_no_later_write() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.desk.disk_is_full = True
            rig.keeper.amend("stop", stop_request(trigger_price=Decimal(95)))
            await rig.until(lambda: bool(rig.log.of(MemberUnchanged)))
            rig.desk.disk_is_full = False

            rig.keeper.cancel("limit")
            await rig.until(lambda: rig.desk.groups()[0].withdrawn == ("limit",))

            told = MemberUnchanged(group_id="g", member_id="stop", reason="the disk is full")
            assert rig.log.of(MemberUnchanged) == [told]
            assert rig.desk.groups()[0].members[0].request.trigger_price == Decimal(90)

    run(whole())


def test_a_cancel_that_is_not_on_disk_is_in_the_next_write() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket())
            await rig.until(lambda: bool(rig.open("entry")))
            rig.desk.disk_is_full = True
            rig.keeper.cancel("limit")
            await rig.until(lambda: bool(rig.notes))
            rig.desk.disk_is_full = False

            rig.keeper.amend("stop", stop_request(trigger_price=Decimal(95)))
            await rig.until(lambda: rig.desk.groups()[0].members[0].request.trigger_price == Decimal(95))

            assert rig.desk.groups()[0].withdrawn == ("limit",)

    run(whole())


def test_an_order_that_is_not_in_its_group_on_disk_ends_rejected() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(alone("a", request()))
            await rig.until(lambda: bool(rig.open("a")))
            rig.desk.disk_is_full = True

            rig.keeper.add(Member(member_id="b", request=request(price=Decimal(90))), to="a")
            await rig.until(lambda: bool(rig.ended()))

            assert rig.ended() == {"b": Status.REJECTED}
            assert not rig.keeper.knows("b")
            assert rig.open("a")
            assert not rig.legs("b")

    run(whole())


def test_a_group_that_is_over_before_its_new_order_is_on_disk_ends_that_order_too() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(alone("a", request()))
            await rig.until(lambda: bool(rig.open("a")))
            rig.desk.disk = disk = asyncio.Event()
            rig.keeper.add(Member(member_id="b", request=request(price=Decimal(90))), to="a")
            rig.toy.execute("a", 6)
            await rig.log.until(lambda: "a" in rig.ended())

            disk.set()
            await rig.until(lambda: "b" in rig.ended())

            assert rig.ended() == {"a": Status.FILLED, "b": Status.CANCELED}
            assert not rig.notes
            assert not rig.legs("b")

    run(whole())


def test_a_group_that_is_not_on_disk_sends_nothing_and_ends_rejected() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.desk.disk_is_full = True

            rig.keeper.take(bracket())
            await rig.until(lambda: len(rig.ended()) == 3)

            assert set(rig.ended().values()) == {Status.REJECTED}
            assert not rig.desk.orders
            with pytest.raises(BtxError):
                rig.keeper.take(bracket())

    run(whole())


def test_the_first_of_an_oco_group_to_fill_ends_the_others() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            members = tuple(
                Member(member_id=f"m{price}", request=request(price=Decimal(price))) for price in (80, 90, 95)
            )
            rig.keeper.take(Group(group_id="o", kind=GroupKind.OCO, members=members))
            await rig.until(lambda: all(rig.open(each.member_id) for each in members))

            rig.toy.execute("m90", 1)
            await rig.until(lambda: not rig.open("m80") and not rig.open("m95"))
            rig.toy.execute("m90", 5)
            await rig.until(lambda: len(rig.ended()) == 3)

            assert rig.ended() == {"m80": Status.CANCELED, "m90": Status.FILLED, "m95": Status.CANCELED}

    run(whole())


def test_two_that_filled_at_once_are_undone_by_market() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            members = tuple(
                Member(member_id=f"m{price}", request=request(price=Decimal(price))) for price in (80, 90, 95)
            )
            rig.keeper.take(Group(group_id="o", kind=GroupKind.OCO, members=members))
            await rig.until(lambda: all(rig.open(each.member_id) for each in members))

            rig.toy.execute("m90", 6)
            rig.toy.execute("m80", 6)
            await rig.until(lambda: len(rig.ended()) == 3)

            assert rig.toy.balances["BTC"] == 6
            assert [kind for kind, _ in rig.notes] == ["UNWIND"]

    run(whole())


def test_what_was_filled_too_much_and_is_too_little_to_undo_is_told() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            small = request(quantity=Decimal("0.06"))
            other = request(quantity=Decimal("0.06"), price=Decimal(90))
            third = request(quantity=Decimal("0.06"), price=Decimal(80))
            members = tuple(
                Member(member_id=name, request=asked) for name, asked in (("a", small), ("b", other), ("c", third))
            )
            rig.keeper.take(Group(group_id="o", kind=GroupKind.OCO, members=members))
            await rig.until(lambda: all(rig.open(each.member_id) for each in members))

            rig.toy.execute("a", "0.06")
            rig.toy.execute("b", "0.02")
            await rig.until(lambda: len(rig.ended()) == 3)

            assert [kind for kind, _ in rig.notes] == ["EXCESS"]

    run(whole())


def test_an_order_ends_expired_at_its_time_where_the_venue_keeps_no_times() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            until = rig.toy.now_ns + 3600 * SECOND
            asked = request(time_in_force=TimeInForce.GTD, expires_ns=until)
            assert needs_keeper(asked, TOY)
            rig.keeper.take(alone("a", asked))
            await rig.until(lambda: bool(rig.open("a")))
            assert rig.legs("a")[0].leg.request.time_in_force is TimeInForce.GTC

            rig.toy.now_ns = until
            rig.keeper.on_price("BTC/USDT", Decimal(101), Decimal(99), Decimal(100))
            await rig.until(lambda: bool(rig.ended()))

            assert rig.ended() == {"a": Status.EXPIRED}

    run(whole())


def test_a_time_that_comes_without_a_bar_or_a_timer_is_noticed() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            until = rig.toy.now_ns + 3600 * SECOND
            rig.keeper.take(alone("a", request(time_in_force=TimeInForce.GTD, expires_ns=until)))
            rig.keeper.take(
                alone("b", request(order_type=OrderType.TRAILING_STOP, price=None, trail_amount=Decimal(5)))
            )
            await rig.until(lambda: bool(rig.open("a")))

            rig.toy.now_ns = until
            rig.keeper.on_time()
            await rig.until(lambda: bool(rig.ended()))

            assert rig.ended() == {"a": Status.EXPIRED}

    run(whole())


def test_a_time_that_passed_while_nobody_was_there_is_kept_at_once() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            until = rig.toy.now_ns + 3600 * SECOND
            rig.keeper.take(alone("a", request(time_in_force=TimeInForce.GTD, expires_ns=until)))
            await rig.until(lambda: bool(rig.open("a")))
            rig.toy.now_ns = until

            again = await rig.crash()
            await again.until(lambda: bool(again.ended()))

            assert again.ended() == {"a": Status.EXPIRED}
            await again.stop()

    run(whole())


def test_a_timer_keeps_the_time_when_nothing_else_happens() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            until = rig.toy.now_ns + 1
            rig.keeper.take(alone("a", request(time_in_force=TimeInForce.GTD, expires_ns=until)))
            await rig.until(lambda: bool(rig.open("a")))

            rig.toy.now_ns = until
            await rig.until(lambda: bool(rig.ended()))

            assert rig.ended() == {"a": Status.EXPIRED}

    run(whole())


def test_a_trailing_stop_follows_the_market_and_never_goes_back() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            asked = trailing_request()
            assert needs_keeper(asked, TOY)
            assert not needs_keeper(request(), TOY)
            rig.keeper.take(alone("t", asked))
            await rig.until(lambda: bool(rig.written))
            rig.keeper.on_price("ETH/USDT", Decimal(10), Decimal(10), Decimal(10))
            rig.keeper.on_price("BTC/USDT", Decimal(100), Decimal(100), Decimal(100))
            triggers = lambda: [each.leg.request.trigger_price for each in rig.open("t")]
            await rig.until(lambda: triggers() == [Decimal(95)])

            rig.keeper.on_price("BTC/USDT", Decimal(104), Decimal(99), Decimal(103))
            await rig.until(lambda: triggers() == [Decimal(99)])
            rig.keeper.on_price("BTC/USDT", Decimal(102), Decimal(100), Decimal(101))
            await rig.until(lambda: triggers() == [Decimal(99)])
            rig.toy.trade("BTC/USDT", 99)
            await rig.until(lambda: bool(rig.ended()))

            assert rig.ended() == {"t": Status.FILLED}
            assert rig.toy.count("replace") == 1

    run(whole())


def test_a_trailing_exit_begins_with_the_first_fill_of_its_entry() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            members = (Member(member_id="stop", request=trailing_request()), bracket().members[1])
            rig.keeper.take(bracket(members=members))
            await rig.until(lambda: bool(rig.open("entry")))
            rig.keeper.on_price("BTC/USDT", Decimal(130), Decimal(99), Decimal(101))

            rig.toy.execute("entry", 6)
            await rig.until(lambda: rig.resting("stop") == 6)

            assert rig.open("stop")[0].leg.request.trigger_price == 95

    run(whole())


@pytest.mark.parametrize("side", list(Side))
def test_after_a_crash_a_trail_goes_on_from_where_its_stop_rests(side: Side) -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(alone("t", trailing_request(side=side, trigger_price=Decimal(100) - side.sign * -5)))
            await rig.until(lambda: bool(rig.open("t")))
            start = rig.open("t")[0].leg.request.trigger_price
            rig.desk.disk = asyncio.Event()  # the move itself does not reach the disk
            price = Decimal(100) - side.sign * 10
            rig.toy.price = price
            rig.keeper.on_price("BTC/USDT", price, price, price)
            await rig.log.until(lambda: rig.toy.count("replace") == 1 and bool(rig.open("t")))
            moved = rig.open("t")[0].leg.request.trigger_price
            assert moved != start

            again = await rig.crash()
            await again.until(lambda: bool(again.open("t")))

            assert again.open("t")[0].leg.request.trigger_price == moved
            assert again.toy.count("replace") == 1
            await again.stop()

    run(whole())


def test_a_refused_cancel_is_not_repeated_at_once() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(alone("a", request()))
            await rig.until(lambda: bool(rig.open("a")))
            rig.toy.faults["cancel"].append(Fault.REFUSED)

            rig.keeper.cancel("a")
            await rig.until(lambda: rig.toy.count("cancel") == 1 and rig.legs("a")[0].pending is None)
            assert rig.open("a")
            rig.keeper.on_price("BTC/USDT", Decimal(101), Decimal(99), Decimal(100))
            await rig.until(lambda: bool(rig.ended()))

            assert rig.toy.count("cancel") == 2

    run(whole())


def test_a_fault_of_the_rules_is_told_as_fatal() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            rig.keeper.take(bracket(entry=None))
            await rig.until(lambda: bool(rig.notes))

            assert rig.notes[0][0] == "FATAL"

    run(whole())


def test_orders_of_others_that_wait_for_a_trigger_leave_less_room() -> None:
    async def whole() -> None:
        async with rigged() as rig:
            cramped = attrs.evolve(BTC, max_conditional_orders=2)
            asked = stop_request(instrument=cramped)
            rig.keeper.take(alone("a", attrs.evolve(asked, time_in_force=TimeInForce.GTD, expires_ns=10**19)))
            entry = Member(member_id="entry", request=request(instrument=cramped))
            rig.keeper.take(bracket(entry=entry, members=(Member(member_id="stop", request=asked),)))
            await rig.until(lambda: bool(rig.open("a")) and bool(rig.open("entry")))

            rig.toy.execute("entry", 2)
            await rig.until(lambda: rig.resting("stop") == 2)
            rig.toy.execute("entry", 4)
            await rig.until(lambda: [each.remaining for each in rig.open("stop")] == [6])

            again = await rig.crash()
            await again.until(lambda: again.resting("stop") == 6)
            await again.stop()

    run(whole())
