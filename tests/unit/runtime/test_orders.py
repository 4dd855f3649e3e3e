"""The order desk: at most once out, always settled."""

import asyncio
import contextlib
import functools
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, JournalError, OrderNotFoundError, OutcomeUnknownError, RateLimitedError, TransportError
from btx.model.journal import Event, GroupState, Intent, Note, Record, Sent
from btx.model.order import (
    AmendRequested,
    AmendResult,
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
    OrderList,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Side,
    Status,
    Terms,
)
from btx.model.venue import Channel, Environment, RateLimit
from btx.ports import Journal
from btx.rules.orders import apply, new_order
from btx.rules.recovery import History, replay
from btx.runtime.guard import Guard
from btx.runtime.mailbox import OrderUpdate
from btx.runtime.placing import Resubmit
from btx.runtime.settling import FORGOTTEN
from btx.storage.journal import open_journal
from tests.toy_venue import DEADLINE_S, INFO, Fault, ToyVenue
from tests.unit.runtime.rig import OrderRig, listening, run
from tests.values import fill, leg, report, request


def test_a_market_order_is_placed_once_and_its_fill_is_told() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit(order_type=OrderType.MARKET, price=None)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)

            assert rig.toy.count("place") == 1
            assert [type(update.event) for update in rig.log.items[:2]] == [OrderReport, Fill]
            assert rig.log.items[-1].order.status is Status.FILLED
            assert rig.order().is_settled
            assert rig.desk.sequence == rig.toy.sequence

    run(scene())


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_every_fill_is_counted_once_however_often_it_is_pushed(repeats: int) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.repeats = repeats
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            rig.toy.execute("a1", 2)
            rig.toy.execute("a1", 4)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)

            assert rig.order().filled == 6
            assert len([update for update in rig.log.items if isinstance(update.event, Fill)]) == 2

    run(scene())


def test_pushes_that_overtake_the_answer_to_the_placement_are_not_lost() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            placed = rig.submit()
            rig.toy.gates["place"] = asyncio.Event()  # the venue works on it, and says so before it answers
            await rig.toy.until(lambda: rig.toy.count("place") == 1)
            rig.toy.place_foreign("a1", placed)
            rig.toy.execute("a1", 6)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)
            assert rig.desk.outstanding == 1

    run(scene())


@pytest.mark.parametrize(
    ("fault", "reason", "for_money"),
    [
        (Fault.REFUSED, "refused", False),
        (Fault.POOR, "too expensive", True),
        (Fault.NOT_SENT, "not reached", False),
        (RateLimitedError("slow down", retry_after_s=1.0), "slow down", False),
    ],
)
def test_what_was_refused_with_certainty_is_rejected_and_never_sent_again(
    fault: Any, reason: str, *, for_money: bool
) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["place"].append(fault)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            (update,) = rig.log.items
            assert isinstance(update.event, PlaceRefused)
            assert (update.event.reason, update.event.insufficient_funds) == (reason, for_money)
            assert update.order.status is Status.REJECTED
            assert [name for name, _ in rig.toy.calls if name != "dial"] == ["place"]

    run(scene())


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.BROKEN_AFTER])
def test_an_order_whose_answer_was_lost_is_found_by_asking(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.is_muted = True  # not even the account stream tells
        rig.toy.faults["place"].append(fault)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert [type(update.event) for update in rig.log.items] == [OutcomeUnknown, OrderReport]
            assert rig.log.items[0].order.status is Status.UNKNOWN
            assert rig.order().status is Status.NEW
            assert rig.toy.count("place") == 1

    run(scene())


def test_an_order_that_never_arrived_is_rejected_only_after_the_patience() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.05)
        rig.toy.faults["place"].append(Fault.LOST_REQUEST)
        loop = asyncio.get_running_loop()
        asked: list[float] = []
        rig.toy.faults["query"].append(lambda: asked.append(loop.time()))
        async with listening(rig):
            began = loop.time()
            rig.submit()
            await rig.quiet()

            assert loop.time() - began >= 0.05
            assert rig.toy.count("query") > 1 or asked[0] - began >= 0.05
            assert rig.order().status is Status.REJECTED
            assert rig.log.items[-1].event.inferred
            assert rig.toy.count("place") == 1

    run(scene())


def test_an_order_that_arrives_late_is_found_within_the_patience() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.is_muted = True
        rig.toy.faults["place"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            placed = rig.submit()
            await rig.toy.until(lambda: rig.toy.count("query") == 3)
            assert rig.order().status is Status.UNKNOWN

            rig.toy.place_foreign("a1", placed)
            await rig.quiet()

            assert rig.order().status is Status.NEW
            assert rig.toy.count("place") == 1

    run(scene())


def test_settling_goes_on_when_the_venue_is_not_reached_and_says_so_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.is_muted = True
        rig.toy.faults["place"].append(Fault.LOST_ANSWER)
        rig.toy.faults["query"].extend([TransportError("down")] * 7)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert rig.order().status is Status.NEW
            assert rig.notes == [("FAULT", "order a1 cannot be settled yet: down")]

    run(scene())


def test_a_bug_of_the_adapter_in_place_is_an_unknown_outcome_and_is_told() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["place"].append(Fault.BROKEN)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert rig.order().status is Status.REJECTED  # asked for, and never heard of
            assert rig.notes == [("FAULT", "the adapter broke in place: KeyError: 'field'")]

    run(scene())


def test_a_bug_of_the_adapter_in_query_is_told() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["place"].append(Fault.LOST_ANSWER)
        rig.toy.faults["query"].append(KeyError("field"))
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert rig.notes == [("FATAL", "settling order a1: KeyError: 'field'")]

    run(scene())


def test_the_same_id_is_never_sent_twice() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            with pytest.raises(BtxError, match="sent before"):
                rig.submit()
            await rig.quiet()

            assert rig.toy.count("place") == 1

    run(scene())


def test_a_cancel_before_the_placement_was_answered_waits_for_the_answer() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.gates["place"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            rig.desk.cancel("a1")
            rig.desk.cancel("a1")  # one is on its way
            await rig.toy.until(lambda: rig.toy.count("place") == 1)
            assert rig.toy.count("cancel") == 0

            rig.toy.gates["place"].set()
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)
            await rig.quiet()

            assert [name for name, _ in rig.toy.calls[1:]] == ["place", "cancel"]
            rig.desk.cancel("a1")  # of what has ended nothing happens
            rig.desk.cancel("nobody's")
            assert rig.desk.outstanding == 0

    run(scene())


def test_trailing_stops_count_against_limits_of_their_own_where_the_tables_say_so() -> None:
    """Of each limit there is room for one: nothing waits for another's."""
    names = ("place", "cancel", "place_trailing_stop", "cancel_trailing_stop")
    info = attrs.evolve(
        INFO,
        limits={"spot": tuple(RateLimit(name=name, limit=1, window_s=60.0, scope="account") for name in names)},
        costs={"spot": {name: {name: 1} for name in names}},
    )
    now_ns, slept = [0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now_ns[0] += int(seconds * 1e9)

    async def scene() -> None:
        rig = OrderRig(ToyVenue(), guard=Guard(info=info, now_ns=lambda: now_ns[0], sleep=sleep))
        trail = {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_bps": 100}
        async with listening(rig):
            for name, changes in (("a1", {}), ("a2", trail)):
                rig.submit(name, **changes)
                await rig.log.until(lambda name=name: rig.order(name).status is Status.NEW)
                rig.desk.cancel(name)
                await rig.log.until(lambda name=name: rig.order(name).status is Status.CANCELED)

    run(scene())
    assert slept == []


class OnePerTenSeconds:
    """A guard that lets one order go in ten seconds, which are over when the test says so."""

    def __init__(self) -> None:
        self.holds, self.ends = asyncio.Event(), asyncio.Event()
        self._now_ns = 0
        info = attrs.evolve(
            INFO,
            limits={"spot": (RateLimit(name="orders", limit=1, window_s=10.0, scope="account"),)},
            costs={"spot": {"place": {"orders": 1}}},
        )
        self.guard = Guard(info=info, now_ns=lambda: self._now_ns, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.holds.set()
        await self.ends.wait()
        self._now_ns += int(seconds * 1e9)


def test_an_order_that_is_cancelled_while_it_waits_for_its_share_of_the_limits_does_not_leave() -> None:
    async def scene() -> None:
        limit = OnePerTenSeconds()
        rig = OrderRig(ToyVenue(), guard=limit.guard)
        async with listening(rig):
            rig.submit()
            rig.submit("a2")
            await limit.holds.wait()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.cancel("a2")
            limit.ends.set()
            await rig.quiet()

            assert rig.order("a2").status is Status.CANCELED
            assert rig.order("a2").evidence.reason == "it was cancelled before it left"
            assert (rig.toy.count("place"), rig.toy.count("cancel")) == (1, 0)

            rig.submit("a3")  # the next one is not held up by it
            await rig.log.until(lambda: rig.order("a3").status is Status.NEW)

    run(scene())


@pytest.mark.parametrize("amends", [False, True], ids=["a new order", "what takes the place of another"])
def test_an_order_that_may_not_leave_any_more_when_its_turn_has_come_is_refused(amends: bool) -> None:
    overtaken: list[str] = []

    async def scene() -> None:
        limit = OnePerTenSeconds()
        rig = OrderRig(
            ToyVenue(),
            guard=limit.guard,
            overtaken=lambda _leg: next(iter(overtaken), None),
        )
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            if amends:
                rig.desk.replace("a1", amended())
            else:
                rig.submit("a2")
            await limit.holds.wait()
            overtaken.append("trading is halted")
            limit.ends.set()
            await rig.quiet()

            if amends:
                assert rig.order("a2").status is Status.NEW
                return
            assert rig.order("a2").status is Status.REJECTED
            assert rig.order("a2").evidence.reason == "while it waited for the limits of the venue: trading is halted"
            assert rig.toy.count("place") == 1
            overtaken.clear()
            rig.submit("a3")  # the next one is not held up by it
            await rig.log.until(lambda: rig.order("a3").status is Status.NEW)

    run(scene())


def test_an_order_that_is_cancelled_while_its_replacement_is_under_way_is_not_placed_anew() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.gates["cancel"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended())
            await rig.toy.until(lambda: rig.toy.count("cancel") == 1)
            for each in ("a1", "a2"):
                rig.desk.cancel(each)
            rig.toy.gates["cancel"].set()
            await rig.quiet()

            assert statuses(rig) == [Status.CANCELED, Status.CANCELED]
            assert requests(rig) == ["place", "cancel"]

    run(scene())


def test_a_cancel_of_an_order_that_was_refused_meanwhile_is_not_sent() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["place"].append(Fault.REFUSED)
        async with listening(rig):
            rig.submit()
            rig.desk.cancel("a1")
            await rig.quiet()

            assert rig.order().status is Status.REJECTED
            assert rig.toy.count("cancel") == 0

    run(scene())


def test_a_cancel_while_the_placement_is_in_doubt_waits_until_the_order_is_found() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.faults["place"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            placed = rig.submit()
            rig.desk.cancel("a1")
            await rig.toy.until(lambda: rig.toy.count("query") == 2)
            assert rig.toy.count("cancel") == 0
            assert rig.order().status is Status.UNKNOWN

            rig.toy.place_foreign("a1", placed)
            await rig.quiet()
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)

    run(scene())


def test_a_cancel_that_finds_nothing_because_it_filled_learns_of_the_fill_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.execute("a1", 6)

            rig.desk.cancel("a1")
            await rig.quiet()
            rig.toy.tell(*rig.toy.orders["a1"].fills)  # the push comes after all
            await rig.toy.until(rig.toy.connections[0].frames.empty)

            assert rig.order().status is Status.FILLED
            assert rig.order().filled == 6
            told = [type(update.event) for update in rig.log.items[1:]]
            assert told[:2] == [CancelRequested, CancelResult]

    run(scene())


def test_a_cancel_whose_answer_was_lost_is_settled_by_asking() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["cancel"].append(Fault.LOST_ANSWER)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True

            rig.desk.cancel("a1")
            await rig.quiet()

            assert rig.order().status is Status.CANCELED

    run(scene())


@pytest.mark.parametrize("fault", [Fault.LOST_REQUEST, Fault.BROKEN])
def test_a_cancel_that_never_arrived_leaves_the_order_open_and_may_be_repeated(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["cancel"].append(fault)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().outcome_unknown)
            assert rig.order().pending is Pending.CANCEL
            await rig.quiet()

            assert (rig.order().status, rig.order().pending) == (Status.NEW, None)
            assert "cancel it again" in rig.log.items[-1].event.reason
            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)

    run(scene())


def test_a_cancel_in_doubt_may_be_repeated_at_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.faults["cancel"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().outcome_unknown)

            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)
            await rig.quiet()

            assert rig.toy.count("cancel") == 2

    run(scene())


def test_fills_missed_in_a_cut_are_recovered_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.execute("a1", 2)
            rig.toy.execute("a1", 4)

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            rig.desk.ask_about(tuple(rig.desk.open_orders))  # two reconnections in a row
            await rig.desk.settled()
            rig.desk.ask_about(tuple(rig.desk.open_orders))  # nothing is open any more

            assert rig.order().status is Status.FILLED
            assert len([update for update in rig.log.items if isinstance(update.event, Fill)]) == 2
            assert rig.desk.outstanding == 0

    run(scene())


def test_a_fill_the_venue_names_and_does_not_list_yet_is_asked_for_again() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.execute("a1", 6)
            late = rig.toy.orders["a1"].fills.copy()
            rig.toy.tell(rig.toy.report(rig.toy.orders["a1"]))
            await rig.log.until(lambda: rig.order().missing == 6)
            rig.toy.orders["a1"].fills.clear()
            rig.toy.faults["query"].extend([None, lambda: rig.toy.orders["a1"].fills.extend(late)])

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            await rig.quiet()

            assert rig.order().status is Status.FILLED
            assert rig.order().is_settled
            assert rig.toy.count("query") == 2

    run(scene())


def test_settling_does_not_judge_an_order_whose_placement_still_waits_for_its_answer() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        rig.toy.gates["place"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.toy.until(lambda: rig.toy.count("place") == 1)
            rig.desk.ask_about(tuple(rig.desk.open_orders))
            rig.toy.gates["place"].set()
            await rig.quiet()

            assert rig.order().status is Status.NEW

    run(scene())


def test_an_open_order_the_venue_neither_knows_nor_lists_is_over() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.02)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.orders.clear()

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            await rig.quiet()

            assert rig.order().status is Status.CANCELED
            assert rig.notes == [("FAULT", f"order a1 is over: {FORGOTTEN}")]
            assert rig.toy.count("query") > 1  # once may be a moment's lag
            assert rig.toy.count("open_orders") == rig.toy.count("query")

    run(scene())


def test_an_order_that_is_listed_is_open_whatever_a_question_about_it_says() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.faults["query"].append(OrderNotFoundError("no such order", code=-2013))

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            await rig.quiet()

            assert rig.order().status is Status.NEW
            assert (rig.toy.count("query"), rig.toy.count("open_orders")) == (1, 1)
            assert rig.notes == []

    run(scene())


def test_an_order_that_is_gone_is_over_however_often_it_is_asked_for_anew() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.05)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.orders.clear()

            while not rig.order().status.is_final:  # as when its cancel is refused again and again
                asked = rig.toy.count("open_orders")
                rig.desk.ask_about(tuple(rig.desk.open_orders))
                await rig.toy.until(lambda asked=asked: rig.toy.count("open_orders") > asked)
                await asyncio.sleep(0)

            assert rig.order().status is Status.CANCELED

    run(scene())


def test_an_order_that_is_told_of_while_the_venue_says_that_it_knows_none_such_is_not_over() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        rig.toy.is_muted = True
        rig.toy.faults["place"].append(Fault.LOST_ANSWER)

        def tell_at_last() -> None:
            rig.desk.on_event(rig.toy.report(rig.toy.orders["a1"]))
            raise OrderNotFoundError("no such order", code=-2013)

        rig.toy.faults["query"].append(tell_at_last)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            await rig.quiet()

            assert rig.order().status is Status.NEW
            assert rig.notes == []

    run(scene())


def test_what_is_executed_and_not_told_is_never_made_up_of_an_order_the_venue_forgot() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            half = attrs.evolve(
                rig.toy.report(rig.toy.orders["a1"]), filled=Decimal("0.5"), status=Status.PARTIALLY_FILLED
            )
            rig.desk.on_event(half)
            rig.toy.orders.clear()

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            await rig.quiet()

            assert rig.order().status is Status.PARTIALLY_FILLED
            assert rig.notes == [("FAULT", "order a1: the venue does not know it any more")]

    run(scene())


def test_an_order_of_somebody_else_is_noted_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.toy.place_foreign("theirs", leg())
            rig.toy.execute("theirs", 6)
            await rig.toy.until(rig.toy.connections[0].frames.empty)

            assert rig.notes == [("FOREIGN", "BTC/USDT: order theirs was not placed by this run")]
            assert rig.log.items == []
            assert rig.desk.sequence == rig.toy.sequence

    run(scene())


def test_an_event_that_cannot_be_true_is_told_and_changes_nothing() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            rig.desk.on_event(OrderReport(client_order_id="a1", symbol="ETH/USDT", status=Status.CANCELED, time_ns=9))

            assert rig.order().status is Status.NEW
            assert rig.notes[0][0] == "FAULT"

    run(scene())


def test_an_overfill_is_booked_and_told_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.repeats = 2
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            rig.toy.execute("a1", 7)
            await rig.log.until(lambda: rig.order().filled == 7)
            await rig.toy.until(rig.toy.connections[0].frames.empty)

            assert rig.notes == [("FAULT", "order a1 is overfilled by 1")]

    run(scene())


def test_one_at_a_time_sends_requests_in_the_order_they_were_made() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), one_at_a_time=True)
        rig.toy.gates["place"] = asyncio.Event()
        async with listening(rig):
            rig.submit("a1")
            rig.submit("a2")
            await rig.toy.until(lambda: rig.toy.count("place") == 1)
            assert rig.desk.outstanding == 2
            rig.toy.gates["place"].set()
            await rig.quiet()

            assert [what for name, what in rig.toy.calls if name == "place"] == ["a1", "a2"]

    run(scene())


def test_one_can_wait_until_orders_have_ended_with_their_fills() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit("a1")
            rig.submit("a2")
            await rig.quiet()
            rig.toy.execute("a1", 1)

            rig.desk.cancel("a1")
            rig.desk.cancel("a2")
            await rig.desk.until(lambda: all(order.is_settled for order in rig.desk.orders.values()))

            assert [order.status for order in rig.desk.orders.values()] == [Status.CANCELED] * 2
            assert rig.order("a1").filled == 1

    run(scene())


def test_stopping_lets_what_was_just_asked_for_leave_and_gives_up_the_rest() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit("a1")
            await rig.quiet()
            rig.toy.faults["place"].append(Fault.SILENT)
            rig.submit("a2")
            rig.desk.cancel("a1")

            await rig.desk.stop()

            assert rig.toy.orders["a1"].status is Status.CANCELED
            assert rig.desk.outstanding == 0

    run(scene())


def test_stopping_gives_up_questions_that_are_not_answered() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.faults["place"].append(Fault.LOST_REQUEST)
        rig.toy.faults["query"].append(Fault.SILENT)
        async with listening(rig):
            rig.submit()
            rig.desk.cancel("a1")
            await rig.toy.until(lambda: rig.toy.count("query") == 1)

            await rig.desk.stop()

            assert rig.desk.outstanding == 0

    run(scene())


def test_catching_up_never_goes_back() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())

        rig.desk.catch_up(5)
        rig.desk.catch_up(3)

        assert rig.desk.sequence == 5

    run(scene())


def test_the_default_patience_is_the_receive_window_and_a_margin() -> None:
    async def scene() -> None:
        assert OrderRig(ToyVenue(), patience_s=None).desk._settling.patience_s == 6.0

    run(scene())


class FullDisk:
    """A journal that takes records until one of kind ``refused``, and from then on none."""

    def __init__(self, refused: type[Record]) -> None:
        self.refused = refused
        self.taken: list[Record] = []
        self.posted: list[Record] = []

    async def append(self, record: Record, *, durable: bool) -> None:
        assert durable
        if isinstance(record, self.refused):
            raise JournalError("the disk is full: nothing was sent")
        self.taken.append(record)

    def post(self, record: Record) -> None:
        self.posted.append(record)


@pytest.mark.parametrize(("refused", "taken"), [(Intent, []), (Sent, [Intent])])
def test_what_is_not_on_disk_is_not_sent_and_is_told(refused: type[Record], taken: list[type[Record]]) -> None:
    async def scene() -> None:
        journal = FullDisk(refused)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.REJECTED)

            assert rig.toy.count("place") == 0
            assert [type(record) for record in journal.taken] == taken
            assert "the disk is full" in rig.log.items[-1].event.reason

    run(scene())


def test_a_cancel_and_its_news_never_wait_for_the_disk() -> None:
    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            journal.refused = Sent

            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)

            assert [type(record) for record in journal.taken] == [Intent, Sent]
            assert {type(record) for record in journal.posted} == {Event}

    run(scene())


def intended(one: Leg) -> Intent:
    return Intent(leg=one, environment=Environment.SIM, session="toy/sim/spot", run="1rrxyf53")


def test_an_unknown_outcome_is_never_taken_for_a_refusal() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.faults["place"].append(OutcomeUnknownError("half-open"))
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: bool(rig.log.items))

            assert rig.order().status is Status.UNKNOWN
            assert not rig.log.items[-1].order.status.is_final
            assert rig.toy.of(Channel.ACCOUNT)

    run(scene())


def test_an_order_that_was_taken_and_never_told_of_is_asked_about() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), news_s=0.01)
        rig.toy.is_muted = True  # the stream is dead and does not know it
        async with listening(rig):
            rig.submit(order_type=OrderType.MARKET, price=None)
            await rig.log.until(lambda: rig.order().is_settled)

            assert rig.order().status is Status.FILLED
            assert rig.toy.count("place") == 1

    run(scene())


def test_an_order_that_was_told_of_is_not_asked_about() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), news_s=0.0)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            await rig.desk._settling._questions.drain(1.0)

            assert not rig.toy.count("query")

    run(scene())


# --- many orders and cancels --------------------------------------------------------------------------------


def test_orders_of_one_moment_leave_side_by_side_and_each_has_its_own_outcome() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        gate = rig.toy.gates["place"] = asyncio.Event()
        async with listening(rig):
            for name in ("a1", "a2", "a3", "a4"):
                rig.submit(name)
            await rig.toy.until(lambda: rig.toy.count("place") == 4)  # none waits for another's answer
            rig.toy.faults["place"].extend([Fault.REFUSED, Fault.LOST_ANSWER, Fault.POOR])
            gate.set()
            await rig.log.until(lambda: all(order.evidence is not None for order in rig.desk.orders.values()))

            assert statuses(rig) == [Status.REJECTED, Status.NEW, Status.REJECTED, Status.NEW]
            assert rig.toy.count("place") == 4

    run(scene())


def sweeper(toy: ToyVenue, **changes: Any) -> OrderRig:
    return OrderRig(toy, can_cancel_all=True, **changes)


async def three(rig: OrderRig, names: Sequence[str] = ("a1", "a2", "a3")) -> None:
    for name in names:
        rig.submit(name)
    await rig.log.until(lambda: all(rig.order(name).status is Status.NEW for name in names))


def test_cancels_of_all_that_rests_in_an_instrument_are_one_request_with_an_outcome_each() -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue())
        async with listening(rig):
            await three(rig)

            rig.desk.cancel_many(["a1", "a2", "a3", "a1", "nobody's"])

            assert {order.status for order in rig.desk.orders.values()} == {Status.PENDING_CANCEL}
            await rig.log.until(lambda: all(order.is_settled for order in rig.desk.orders.values()))
            assert statuses(rig) == [Status.CANCELED] * 3
            assert (rig.toy.count("cancel_all"), rig.toy.count("cancel")) == (1, 0)

            rig.desk.cancel_many(["a1", "a2", "a3"])  # all are over
            await rig.quiet()
            assert rig.toy.count("cancel_all") == 1

    run(scene())


@pytest.mark.parametrize(
    "why", ["foreign", "ours stays", "few", "no such request", "one is on its way", "cannot ask", "bug"]
)
def test_cancels_go_one_by_one_where_something_else_would_end_or_it_is_not_known(why: str) -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = OrderRig(toy, can_cancel_all=why != "no such request")
        async with listening(rig):
            await three(rig)
            doomed = ["a1", "a2", "a3"]
            if why == "foreign":
                await toy.place(leg=attrs.evolve(leg(), client_order_id="somebody's"))
            elif why == "ours stays":
                await three(rig, ["a4"])
            elif why == "few":
                doomed.pop()
            elif why == "one is on its way":
                rig.desk.cancel("a1")
            elif why == "cannot ask":
                toy.faults["open_orders"].append(Fault.NOT_SENT)
            elif why == "bug":
                toy.faults["open_orders"].append(Fault.BROKEN)

            rig.desk.cancel_many(doomed)
            await rig.log.until(lambda: all(rig.order(name).is_settled for name in doomed))
            await rig.quiet()

            assert (toy.count("cancel_all"), toy.count("cancel")) == (0, len(doomed))
            left = {name for name, order in toy.orders.items() if not order.status.is_final}
            assert left == {"foreign": {"somebody's"}, "ours stays": {"a4"}, "few": {"a3"}}.get(why, set())

    run(scene())


def test_an_order_sent_while_all_others_are_cancelled_waits_and_is_not_taken_along() -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue())
        async with listening(rig):
            await three(rig)
            gate = rig.toy.gates["cancel_all"] = asyncio.Event()
            rig.desk.cancel_many(["a1", "a2", "a3"])
            await rig.toy.until(lambda: rig.toy.count("cancel_all") == 1)

            rig.submit("b1")
            for _ in range(10):
                await asyncio.sleep(0)
            assert (rig.submitted[-1], rig.toy.count("place")) == ("b1", 3)
            gate.set()
            await rig.log.until(lambda: rig.order("b1").status is Status.NEW)

            assert rig.toy.orders["b1"].status is Status.NEW
            assert statuses(rig)[:3] == [Status.CANCELED] * 3

    run(scene())


def test_an_order_sent_right_behind_the_cancels_makes_them_go_one_by_one() -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue())
        async with listening(rig):
            await three(rig)

            rig.desk.cancel_many(["a1", "a2", "a3"])
            rig.submit("b1")  # perhaps it is at the venue before a cancel of everything
            await rig.log.until(lambda: all(rig.order(name).is_settled for name in ("a1", "a2", "a3")))
            await rig.log.until(lambda: rig.order("b1").status is Status.NEW)

            assert (rig.toy.count("cancel_all"), rig.toy.count("cancel")) == (0, 3)

    run(scene())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.LOST_ANSWER, Status.CANCELED),
        (Fault.LOST_REQUEST, Status.NEW),
        (Fault.REFUSED, Status.NEW),
        (Fault.NOT_SENT, Status.NEW),
        (Fault.BROKEN_AFTER, Status.CANCELED),
    ],
)
def test_what_became_of_a_cancel_of_everything_is_asked_of_each_order(fault: Fault, expected: Status) -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue())
        async with listening(rig):
            await three(rig)
            rig.toy.faults["cancel_all"].append(fault)

            rig.desk.cancel_many(["a1", "a2", "a3"])
            await rig.log.until(
                lambda: all(each.status is expected and each.pending is None for each in rig.desk.orders.values())
            )

            assert rig.toy.count("cancel_all") == 1  # it is not sent again by itself

    run(scene())


@pytest.mark.parametrize("more", [1, 3])
def test_an_order_in_doubt_holds_up_no_cancel_but_its_own(more: int) -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue(), patience_s=60.0)
        async with listening(rig):
            names = [f"a{number}" for number in range(1, 3 + more)]
            await three(rig, names)
            rig.toy.faults["place"].append(Fault.LOST_REQUEST)
            rig.submit("lost")
            await rig.log.until(lambda: rig.order("lost").status is Status.UNKNOWN)

            rig.desk.cancel_many([*names, "lost"])
            await rig.log.until(lambda: all(rig.order(name).is_settled for name in names))

            assert (rig.toy.count("cancel_all"), rig.toy.count("cancel")) == (0, len(names))
            assert rig.order("lost").status is Status.UNKNOWN

    run(scene())


def test_an_order_whose_placement_has_no_answer_yet_holds_up_no_cancel_but_its_own() -> None:
    async def scene() -> None:
        rig = sweeper(ToyVenue())
        async with listening(rig):
            await three(rig)
            rig.toy.faults["place"].append(Fault.SILENT)
            rig.submit("slow")
            await rig.toy.until(lambda: rig.toy.count("place") == 4)

            rig.desk.cancel_many(["a1", "a2", "a3", "slow"])
            await rig.log.until(lambda: all(rig.order(name).is_settled for name in ("a1", "a2", "a3")))

            assert rig.order("slow").pending is Pending.CANCEL

    run(scene())


# --- order lists ------------------------------------------------------------------------------------------


def pair(*, price: int = 110, trigger_price: int = 90) -> OrderList:
    """An exit above and an exit below."""
    target = leg(side=Side.SELL, price=Decimal(price))
    stop = leg(side=Side.SELL, order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(trigger_price))
    legs = (attrs.evolve(one, client_order_id=name, list_id="l1") for one, name in ((target, "up"), (stop, "down")))
    return OrderList(list_id="l1", kind=ListKind.OCO, legs=tuple(legs))


def statuses(rig: OrderRig) -> list[Status]:
    return [order.status for order in rig.desk.orders.values()]


def test_a_list_is_sent_in_one_request_and_each_leg_has_its_own_order() -> None:
    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.desk.submit_list(pair())
            await rig.log.until(lambda: statuses(rig) == [Status.NEW, Status.NEW])
            await rig.quiet()
            assert [type(record) for record in journal.taken] == [Intent, Intent, Sent, Sent]
            assert rig.submitted == ["up", "down"]

            rig.toy.trade("BTC/USDT", 110)
            await rig.log.until(lambda: statuses(rig) == [Status.FILLED, Status.EXPIRED])

            assert [name for name, _ in rig.toy.calls[1:]] == ["place_list"]
            with pytest.raises(BtxError, match="sent before"):
                rig.desk.submit_list(pair())

    run(scene())


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.NOT_SENT, Fault.POOR])
def test_a_list_that_is_refused_is_refused_in_all_its_legs(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), resubmit=Resubmit(times=1), next_id=numbered())
        rig.toy.faults["place_list"].append(fault)
        async with listening(rig):
            rig.desk.submit_list(pair())
            await rig.quiet()

            assert statuses(rig) == [Status.REJECTED, Status.REJECTED]
            assert rig.toy.count("place_list") == 1  # half a list is not sent again either
            assert rig.toy.count("place") == 0

    run(scene())


@pytest.mark.parametrize(
    ("fault", "ends_as"),
    [(Fault.LOST_ANSWER, [Status.NEW, Status.NEW]), (Fault.LOST_REQUEST, [Status.REJECTED, Status.REJECTED])],
)
def test_a_list_without_an_answer_is_settled_leg_by_leg(fault: Fault, ends_as: list[Status]) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.is_muted = True
        rig.toy.faults["place_list"].append(fault)
        async with listening(rig):
            rig.desk.submit_list(pair())
            await rig.log.until(lambda: statuses(rig) == [Status.UNKNOWN, Status.UNKNOWN])
            await rig.quiet()

            assert statuses(rig) == ends_as
            assert rig.toy.count("place_list") == 1

    run(scene())


def test_of_a_list_without_an_answer_the_leg_that_was_heard_of_is_not_in_doubt() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=60.0)
        rig.toy.gates["place_list"] = asyncio.Event()
        rig.toy.faults["place_list"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            rig.desk.submit_list(pair())
            await rig.toy.until(lambda: rig.toy.count("place_list") == 1)
            rig.toy.place_foreign("up", pair().legs[0])
            await rig.log.until(lambda: rig.order("up").status is Status.NEW)
            rig.toy.gates["place_list"].set()
            await rig.log.until(lambda: statuses(rig) == [Status.NEW, Status.UNKNOWN])

            rig.toy.place_foreign("down", pair().legs[1])
            await rig.quiet()

            assert statuses(rig) == [Status.NEW, Status.NEW]

    run(scene())


# --- amendments -------------------------------------------------------------------------------------------


def amended(quantity: int | str = 6, client_order_id: str = "a2") -> Leg:
    return attrs.evolve(leg(quantity, price=Decimal(99)), client_order_id=client_order_id, member_id="a1")


def requests(rig: OrderRig) -> list[str]:
    return [name for name, _ in rig.toy.calls if name not in {"dial", "query"}]


@pytest.mark.parametrize("is_muted", [False, True])
def test_a_venue_that_can_replaces_in_one_request(*, is_muted: bool) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_replace=True, news_s=0.01)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = is_muted
            rig.desk.replace("a1", amended())
            await rig.log.until(lambda: statuses(rig) == [Status.CANCELED, Status.NEW])
            await rig.quiet()

            assert requests(rig) == ["place", "replace"]
            assert rig.toy.orders["a2"].leg == amended()

    run(scene())


def test_a_replacement_that_is_refused_leaves_the_order_as_it_is() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_replace=True)
        rig.toy.faults["replace"].append(Fault.REFUSED)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert statuses(rig) == [Status.NEW, Status.REJECTED]

    run(scene())


def test_a_replacement_that_took_the_order_away_and_was_refused_is_found_out() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_replace=True)
        rig.toy.faults["replace"].append(Fault.HALF_DONE)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert statuses(rig) == [Status.CANCELED, Status.REJECTED]

    run(scene())


@pytest.mark.parametrize(
    ("fault", "ends_as"),
    [(Fault.LOST_ANSWER, [Status.CANCELED, Status.NEW]), (Fault.LOST_REQUEST, [Status.NEW, Status.REJECTED])],
)
def test_a_replacement_without_an_answer_is_settled_on_both_sides(fault: Fault, ends_as: list[Status]) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_replace=True)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.faults["replace"].append(fault)
            rig.desk.replace("a1", amended())
            await rig.log.until(lambda: rig.order().pending is Pending.AMEND)
            await rig.quiet()

            assert statuses(rig) == ends_as
            assert not any(order.outcome_unknown for order in rig.desk.orders.values())
            assert requests(rig) == ["place", "replace"]

    run(scene())


@pytest.mark.parametrize("fault", [Fault.NOT_SENT, Fault.LOST_REQUEST])
def test_a_replacement_that_never_arrived_is_not_sent_again_beside_the_order_that_rests(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(now_minute=0), can_replace=True, resubmit=Resubmit(times=3), next_id=numbered())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.faults["replace"].append(fault)
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert statuses(rig) == [Status.NEW, Status.REJECTED]
            assert [*rig.toy.orders] == ["a1"]

    run(scene())


def test_an_order_that_fills_while_it_is_replaced_is_not_replaced() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_replace=True)
        rig.toy.gates["replace"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended())
            await rig.toy.until(lambda: rig.toy.count("replace") == 1)
            rig.toy.execute("a1", 6)
            rig.toy.gates["replace"].set()
            await rig.quiet()

            assert statuses(rig) == [Status.FILLED, Status.REJECTED]

    run(scene())


def test_what_fills_during_the_cancel_is_taken_off_what_is_placed_instead() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        steps: list[tuple[str, Decimal]] = []
        rig.desk.listen(lambda _before, after: steps.append((after.client_order_id, after.quantity)))
        rig.toy.gates["cancel"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.execute("a1", 1)
            await rig.log.until(lambda: rig.order().filled == 1)
            rig.desk.replace("a1", amended(4))  # 5 in all
            await rig.toy.until(lambda: rig.toy.count("cancel") == 1)
            rig.toy.execute("a1", 2)
            rig.toy.gates["cancel"].set()
            await rig.log.until(lambda: statuses(rig) == [Status.CANCELED, Status.NEW])
            await rig.quiet()

            assert requests(rig) == ["place", "cancel", "place"]
            assert rig.toy.orders["a2"].leg.quantity == rig.order("a2").quantity == 2
            assert steps[-1] == ("a2", 2)

    run(scene())


@pytest.mark.parametrize(
    ("filled", "wanted"), [("6", "6"), ("5.999995", "6"), ("2", "1")], ids=["whole", "below minimum", "less is wanted"]
)
def test_an_order_that_filled_meanwhile_is_not_placed_again(filled: str, wanted: str) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.gates["cancel"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended(wanted))
            await rig.toy.until(lambda: rig.toy.count("cancel") == 1)
            rig.toy.execute("a1", filled)
            rig.toy.gates["cancel"].set()
            await rig.quiet()

            assert rig.order("a2").status is Status.REJECTED
            assert rig.order("a2").evidence.reason == "the order it was to replace has filled meanwhile"
            assert rig.toy.count("place") == 1

    run(scene())


@pytest.mark.parametrize(("filled", "rests"), [(2, 5), (6, 0)])
def test_two_amendments_in_a_row_never_ask_for_more_than_the_second_says(filled: int, rests: int) -> None:
    """The first is taken off what fills while its order is cancelled; the second was made not knowing of it."""

    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.gates["cancel"] = asyncio.Event()
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended(5))
            rig.desk.replace("a2", amended(7, "a3"))
            await rig.toy.until(lambda: rig.toy.count("cancel") == 1)
            rig.toy.execute("a1", filled)
            rig.toy.gates["cancel"].set()
            await rig.quiet()

            resting = [order.remaining for order in rig.toy.orders.values() if not order.status.is_final]
            assert sum(resting) == rests

    run(scene())


def test_an_order_that_filled_unheard_is_asked_about_before_anything_takes_its_place() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.execute("a1", 6)
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert statuses(rig) == [Status.FILLED, Status.REJECTED]
            assert rig.order("a2").evidence.reason == "the order it was to replace has filled meanwhile"

    run(scene())


def test_an_order_that_does_not_end_is_not_replaced() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["cancel"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert statuses(rig) == [Status.NEW, Status.REJECTED]
            assert "does not end" in rig.order("a2").evidence.reason

    run(scene())


def test_fills_the_venue_names_with_the_end_and_tells_later_are_waited_for() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.is_muted = True
            rig.toy.execute("a1", 2)
            late = rig.toy.orders["a1"].fills.copy()
            rig.toy.orders["a1"].fills.clear()

            def tell_the_end() -> None:
                rig.toy.orders["a1"].status = Status.CANCELED
                ended = attrs.evolve(rig.toy.report(rig.toy.orders["a1"]), filled=Decimal(2))
                rig.toy.tell(ended)

            rig.toy.faults["cancel"].append(tell_the_end)
            rig.toy.faults["query"].extend([None, lambda: rig.toy.orders["a1"].fills.extend(late)])
            rig.toy.is_muted = False
            rig.desk.replace("a1", amended())
            await rig.log.until(lambda: rig.order("a2").status is Status.NEW)
            await rig.quiet()

            assert rig.order("a2").quantity == 4

    run(scene())


def test_a_final_order_whose_missing_fills_nobody_can_tell_is_not_replaced() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            ended = attrs.evolve(rig.toy.report(rig.toy.orders["a1"]), filled=Decimal(2), status=Status.CANCELED)
            rig.toy.orders.clear()
            rig.toy.faults["cancel"].append(lambda: rig.toy.tell(ended))
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert rig.order().missing == 2
            assert "does not end" in rig.order("a2").evidence.reason

    run(scene())


def test_nothing_replaces_an_order_nobody_knows() -> None:
    async def scene() -> None:
        with pytest.raises(BtxError, match="there is no order a1 to replace"):
            OrderRig(ToyVenue()).desk.replace("a1", amended())

    run(scene())


# --- after a restart --------------------------------------------------------------------------------------


def numbered() -> Any:
    counter = itertools.count(1)
    return lambda: f"n{next(counter)}"


def heard(*events: Any) -> list[Record]:
    return [Event(order_event=event) for event in events]


def restarted(rig: OrderRig, *records: Record) -> History:
    history = replay(records)
    rig.desk.recover(history)
    return history


def test_an_order_that_was_intended_and_never_sent_is_known_to_have_ended_and_written_down_once() -> None:
    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            restarted(rig, intended(leg()))
            assert rig.order().status is Status.REJECTED
            assert "it never left" in rig.order().evidence.reason
            assert [record.order_event.inferred for record in journal.posted] == [True]
            assert rig.desk.outstanding == 0

            again = OrderRig(rig.toy, journal=journal, intent=intended)
            again.desk.recover(replay([intended(leg()), *journal.posted]))

            assert len(journal.posted) == 1
            assert again.desk.orders == {}
            assert rig.log.items == []
            assert rig.toy.count("query") == 0

    run(scene())


@pytest.mark.parametrize("rests", [True, False])
def test_an_order_that_was_sent_and_never_heard_of_is_in_doubt_and_asked_for(*, rests: bool) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), resubmit=Resubmit(times=1), next_id=numbered())
        if rests:
            rig.toy.place_foreign("a1", leg())
        async with listening(rig):
            restarted(rig, intended(leg()), Sent(client_order_id="a1", time_ns=rig.toy.now_ns))
            assert rig.order().status is Status.UNKNOWN

            rig.desk.ask_about(["a1"])
            await rig.desk.settled()
            rig.desk.recovered()

            assert rig.order().status is (Status.NEW if rests else Status.REJECTED)
            assert rig.log.items == []  # the strategy finds its orders as they are
            assert rig.toy.count("place") == 0  # and no other process's order is sent again

    run(scene())


@pytest.mark.parametrize(("sent_s_ago", "left_s"), [(0.0, 10.0), (4.0, 6.0), (60.0, 0.0), (-3600.0, 10.0)], ids=str)
def test_patience_counts_from_when_an_order_was_sent(sent_s_ago: float, left_s: float) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=10.0)
        sent_ns = rig.toy.now_ns - int(sent_s_ago * 1_000_000_000)

        restarted(rig, intended(leg()), Sent(client_order_id="a1", time_ns=sent_ns))

        left = rig.desk._settling._believed_at["a1"] - asyncio.get_running_loop().time()
        assert left == pytest.approx(left_s, abs=0.5)

    run(scene())


def test_listeners_hear_of_recovered_orders_and_may_act_at_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.desk.listen(
            lambda before, after: rig.submit("b1") if before is None and after.client_order_id == "a1" else None
        )
        async with listening(rig):
            rig.toy.place_foreign("a1", leg())
            restarted(rig, intended(leg()), Sent(client_order_id="a1", time_ns=0))
            rig.desk.recovered()
            await rig.quiet()

            assert rig.order("b1").status is Status.NEW

    run(scene())


def test_an_order_that_settled_in_an_earlier_run_is_taken_back_when_something_is_heard_of_it() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        history = replay(
            [
                intended(leg()),
                *heard(OrderReport(client_order_id="a1", symbol="BTC/USDT", status=Status.CANCELED, time_ns=1)),
            ]
        )
        async with listening(rig):
            rig.desk.reopen(history.orders["a1"])
            rig.toy.place_foreign("a1", leg())
            rig.toy.execute("a1", 2)
            await rig.log.until(lambda: rig.order().filled == 2)

            assert rig.order().status is Status.CANCELED

    run(scene())


@pytest.mark.parametrize("is_recovering", [False, True])
def test_an_order_of_somebody_else_is_adopted_with_its_fills(*, is_recovering: bool) -> None:
    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            if is_recovering:
                restarted(rig)
            rig.toy.place_foreign("theirs", leg())
            rig.toy.execute("theirs", 2)
            theirs = rig.toy.orders["theirs"]
            for _ in range(2):
                rig.desk.adopt(theirs.leg, rig.toy.report(theirs))
            await rig.desk.settled()
            rig.desk.recovered()

            assert rig.order("theirs").filled == 2
            assert rig.submitted == ([] if is_recovering else ["theirs"])
            assert bool(rig.log.items) is not is_recovering
            assert [type(record) for record in journal.posted[:2]] == [Intent, Sent]
            assert replay(journal.posted).orders == {"theirs": rig.order("theirs")}
            rig.desk.cancel("theirs")
            await rig.log.until(lambda: rig.order("theirs").status is Status.CANCELED)

    run(scene())


# --- sent again -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.NOT_SENT, Fault.LOST_REQUEST])
@pytest.mark.parametrize(
    ("policy", "halted", "placed"),
    [
        ({}, False, ["a1"]),
        ({"times": 1}, False, ["a1", "n1"]),
        ({"times": 1}, True, ["a1"]),
        ({"times": 1, "max_age_ns": 99 * 60 * 1_000_000_000}, False, ["a1"]),
        ({"times": 1, "max_age_ns": 100 * 60 * 1_000_000_000}, False, ["a1", "n1"]),
    ],
    ids=["by default never", "once", "not while halted", "an old signal", "a young signal"],
)
def test_what_certainly_never_arrived_is_sent_again_only_as_the_policy_says(
    fault: Fault, policy: dict[str, int], placed: list[str], *, halted: bool
) -> None:
    async def scene() -> None:
        toy = ToyVenue(now_minute=100 if "max_age_ns" in policy else 0)
        rig = OrderRig(toy, resubmit=Resubmit(**policy), next_id=numbered(), is_halted=lambda: halted)
        rig.toy.faults["place"].extend([fault, fault, fault])
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert [what for name, what in rig.toy.calls if name == "place"] == placed
            assert {order.leg.owner_id for order in rig.desk.orders.values()} == {"a1"}
            assert set(statuses(rig)) == {Status.REJECTED}
            assert [kind for kind, _ in rig.notes] == ["RESUBMIT"] * (len(placed) - 1)

    run(scene())


def test_a_placement_that_is_still_in_doubt_is_not_sent_again() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(now_minute=0), patience_s=60.0, resubmit=Resubmit(times=9), next_id=numbered())
        rig.toy.faults["place"].append(Fault.LOST_REQUEST)
        async with listening(rig):
            rig.submit()
            await rig.toy.until(lambda: rig.toy.count("query") == 3)

            assert [*rig.desk.orders] == ["a1"]
            assert rig.toy.count("place") == 1

    run(scene())


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.POOR])
def test_what_the_venue_refused_is_not_sent_again(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(now_minute=0), resubmit=Resubmit(times=9), next_id=numbered())
        rig.toy.faults["place"].append(fault)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert rig.toy.count("place") == 1

    run(scene())


def test_a_desk_without_ids_says_so() -> None:
    async def scene() -> None:
        with pytest.raises(BtxError, match="no client order ids"):
            OrderRig(ToyVenue()).desk.next_id()
        assert OrderRig(ToyVenue(), next_id=numbered()).desk.next_id() == "n1"

    run(scene())


# --- listeners, groups, the disk --------------------------------------------------------------------------


def test_a_listener_that_breaks_takes_nothing_from_the_others() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        steps: list[tuple[Order | None, Order]] = []

        def broken(_before: Order | None, _after: Order) -> None:
            raise KeyError("field")

        rig.desk.listen(broken)
        rig.desk.listen(lambda before, after: steps.append((before, after)))
        async with listening(rig):
            rig.submit(order_type=OrderType.MARKET, price=None)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)
            await rig.quiet()

            assert steps[0][0] is None
            assert [before for before, _ in steps[1:]] == [after for _, after in steps[:-1]]
            assert steps[-1][1] == rig.order()
            assert rig.notes[0] == ("FAULT", "order a1: KeyError: 'field'")
            assert rig.log.items[-1].order.status is Status.FILLED

    run(scene())


def test_a_group_is_on_disk_before_its_writer_goes_on() -> None:
    async def scene() -> None:
        group = Group(group_id="g1", kind=GroupKind.OCO, members=(Member(member_id="m1", request=request()),))
        state = GroupState(group=group, time_ns=1)
        journal = FullDisk(Note)
        await OrderRig(ToyVenue(), journal=journal, intent=intended).desk.write_group(state)
        assert journal.taken == [state]

        with pytest.raises(JournalError, match="disk is full"):
            await OrderRig(ToyVenue(), journal=FullDisk(GroupState)).desk.write_group(state)
        await OrderRig(ToyVenue()).desk.write_group(state)  # without a journal there is nothing to wait for

    run(scene())


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_journal(tmp_path / "journal.sqlite", busy_timeout_s=30.0)
    yield journal
    journal.close()


@pytest.fixture
def disk(tmp_path: Path, journal: Journal) -> Iterator[sqlite3.Connection]:
    """Another program that has locked the disk, and lets go of it when it is told to."""
    disk = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    disk.execute("BEGIN IMMEDIATE")
    yield disk
    disk.close()


def test_an_order_is_submitted_when_its_intent_is_on_disk_and_not_before(
    journal: Journal, disk: sqlite3.Connection
) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit()
            for _ in range(1000):
                await asyncio.sleep(0)
            assert rig.submitted == []
            assert rig.toy.count("place") == 0

            disk.execute("ROLLBACK")
            await rig.log.until(lambda: rig.order().status is Status.NEW)

            assert rig.submitted == ["a1"]
            assert "a1" in journal.orders()

    run(scene())


def test_a_cancel_that_comes_before_its_intent_is_on_disk_is_written_behind_it(
    journal: Journal, disk: sqlite3.Connection
) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit()
            rig.desk.cancel("a1")
            disk.execute("ROLLBACK")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)
            await rig.quiet()

            await journal.append(Note(kind="END", text="", time_ns=0), durable=True)  # what was posted is written
            kinds = [type(record) for _, _, record in journal.records()]
            assert kinds[0] is Intent
            asked = [record.order_event for _, _, record in journal.records() if isinstance(record, Event)]
            assert type(asked[0]) is CancelRequested
            assert journal.orders()["a1"] == rig.order()

    run(scene())


@pytest.mark.parametrize("refused", [Intent, Sent])
def test_nothing_is_written_of_an_order_whose_intent_is_not(refused: type[Record]) -> None:
    async def scene() -> None:
        journal = FullDisk(refused)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit()
            await rig.quiet()

            assert rig.order().status is Status.REJECTED
            assert len(journal.posted) == (refused is Sent)

    run(scene())


def test_a_local_refusal_of_an_amendment_is_not_written_without_an_intent() -> None:
    async def scene() -> None:
        journal = FullDisk(Note)
        rig = OrderRig(ToyVenue(), journal=journal, intent=intended)
        async with listening(rig):
            rig.submit(order_type=OrderType.MARKET, price=None)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)
            rig.desk.replace("a1", amended())
            await rig.quiet()

            assert {record.client_order_id for record in journal.posted} == {"a1"}
            update = rig.log.items[-1]
            assert isinstance(update, OrderUpdate)
            assert update.order.client_order_id == "a2"
            assert "had ended before" in update.order.evidence.reason
            assert rig.toy.count("place") == 1

    run(scene())


def test_a_desk_that_has_stopped_asks_nothing_any_more() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            await rig.desk.stop()

            rig.desk.ask_about(tuple(rig.desk.open_orders))
            rig.toy.execute("a1", 6)
            await rig.log.until(lambda: rig.order().status is Status.FILLED)

            assert rig.toy.count("query") == 0
            assert rig.desk.outstanding == 0

    run(scene())


def test_a_cancel_that_was_refused_is_answered() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        rig.toy.faults["cancel"].append(Fault.REFUSED)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.desk.cancel("a1")
            await rig.quiet()

            answers = [update.event for update in rig.log.items if isinstance(update.event, CancelResult)]
            assert [answer.outcome for answer in answers] == [CancelOutcome.REFUSED]
            assert rig.order().status is Status.NEW

    run(scene())


# --- amendments that keep the order -----------------------------------------------------------------------

AMENDING = AmendRequested(client_order_id="a1", price=Decimal(101), quantity=Decimal(8), time_ns=1)
BETTER = Terms(price=Decimal(101), quantity=Decimal(8))
NOT_MADE = "the venue has the order as it was: the amendment was not made"


def better(**changes: Any) -> Any:
    return request(**({"price": BETTER.price, "quantity": BETTER.quantity} | changes))


def results(rig: OrderRig) -> list[tuple[CancelOutcome, str]]:
    told = [update.event for update in rig.log.items]
    return [(each.outcome, each.reason) for each in told if isinstance(each, AmendResult)]


async def resting(rig: OrderRig) -> None:
    rig.submit()
    await rig.log.until(lambda: rig.order().status is Status.NEW)


@pytest.mark.parametrize("is_muted", [False, True])
def test_an_amended_order_goes_on_under_its_id_and_a_journal_tells_the_same(tmp_path: Path, *, is_muted: bool) -> None:
    async def scene() -> None:
        journal = open_journal(tmp_path / "orders.db")
        rig = OrderRig(ToyVenue(), can_amend=True, news_s=0.0, journal=journal, intent=intended)
        async with listening(rig):
            await resting(rig)
            rig.toy.is_muted = is_muted
            assert rig.desk.amends("a1", better())
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: rig.order().terms == BETTER)
            rig.toy.is_muted = False
            rig.toy.execute("a1", 7)
            await rig.log.until(lambda: rig.order().filled == 7)
            await rig.quiet()

            assert (rig.order().status, rig.order().remaining) == (Status.PARTIALLY_FILLED, 1)
            assert [name for name in requests(rig) if name != "query"] == ["place", "amend"]
        journal.close()
        with contextlib.closing(open_journal(tmp_path / "orders.db")) as again:
            assert replay(record for _, _, record in again.records()).orders == {"a1": rig.order()}

    run(scene())


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.NOT_SENT])
def test_an_amendment_that_is_refused_is_told_and_leaves_the_order(fault: Fault) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        rig.toy.faults["amend"].append(fault)
        async with listening(rig):
            await resting(rig)
            rig.desk.amend("a1", better())
            await rig.quiet()

            assert results(rig) == [(CancelOutcome.REFUSED, "refused" if fault is Fault.REFUSED else "not reached")]
            assert (rig.order().status, rig.order().quantity, rig.order().pending) == (Status.NEW, 6, None)

    run(scene())


@pytest.mark.parametrize(
    ("fault", "outcome", "quantity"),
    [
        (Fault.LOST_ANSWER, CancelOutcome.TAKEN, 8),
        (Fault.BROKEN_AFTER, CancelOutcome.TAKEN, 8),
        (Fault.LOST_REQUEST, CancelOutcome.REFUSED, 6),
    ],
)
@pytest.mark.parametrize("is_way_back", [False, True])
def test_an_amendment_without_an_answer_is_settled_by_what_the_venue_says_of_price_and_quantity(
    fault: Fault, outcome: CancelOutcome, quantity: int, *, is_way_back: bool
) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        async with listening(rig):
            await resting(rig)
            if is_way_back:  # what it is to be, it was before: an old statement would say the same
                for terms in (better(), request()):
                    rig.desk.amend("a1", terms)
                    await rig.quiet()
            rig.toy.is_muted = True
            rig.toy.faults["amend"].append(fault)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: rig.order().outcome_unknown)
            assert rig.order().pending is Pending.AMEND
            await rig.quiet()

            assert (rig.order().quantity, rig.order().wanted, rig.order().pending) == (quantity, None, None)
            assert rig.toy.count("amend") == (3 if is_way_back else 1)
            if outcome is CancelOutcome.REFUSED:
                assert results(rig)[-1] == (outcome, NOT_MADE)

    run(scene())


@pytest.mark.parametrize("is_way_back", [False, True])
def test_an_amendment_the_venue_took_and_dropped_is_told_as_refused_and_the_order_is_as_it_was(
    *, is_way_back: bool
) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True, news_s=0.0)
        async with listening(rig):
            await resting(rig)
            before = rig.order().terms
            if is_way_back:
                for number, terms in enumerate((better(), request()), start=1):
                    rig.desk.amend("a1", terms)
                    await rig.toy.until(lambda number=number: rig.toy.count("amend") == number)
                    await rig.log.until(lambda: rig.order().wanted is None)
            rig.toy.faults["amend"].append(Fault.DROPPED)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: bool(results(rig)) and results(rig)[-1] == (CancelOutcome.REFUSED, NOT_MADE))

            assert (rig.order().terms, rig.order().quantity, rig.order().pending) == (before, 6, None)
            rig.desk.amend("a1", better())  # nothing stands in the way of the next one
            await rig.log.until(lambda: rig.order().terms == BETTER)

    run(scene())


def test_an_amendment_that_was_taken_is_not_asked_about_where_a_push_shows_it() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        async with listening(rig):
            await resting(rig)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: rig.order().terms == BETTER)
            await rig.quiet()

            assert requests(rig) == ["place", "amend"]
            assert results(rig) == []

    run(scene())


def test_an_answer_about_an_order_from_before_its_amendment_does_not_refuse_it() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True, patience_s=0.0, news_s=0.0)
        async with listening(rig):
            await resting(rig)
            older = rig.toy.gates["query"] = asyncio.Event()
            rig.desk.ask_about(["a1"])
            await rig.toy.until(lambda: rig.toy.count("query") == 1)
            rig.toy.faults["amend"].append(Fault.DROPPED)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: rig.toy.count("amend") == 1 and rig.desk.outstanding == 1)
            rig.toy.gates["query"] = asyncio.Event()
            older.set()
            await rig.toy.until(lambda: rig.toy.count("query") == 2)  # it does not tell: asked again
            rig.desk.on_event(report(Status.NEW, price=BETTER.price, quantity=BETTER.quantity))
            rig.toy.gates.pop("query").set()
            await rig.quiet()

            assert (results(rig), rig.order().terms) == ([], BETTER)

    run(scene())


def test_the_desk_is_not_done_with_an_amendment_before_a_statement_shows_it() -> None:
    async def scene() -> None:
        seen: list[tuple[bool, bool]] = []
        rig = OrderRig(
            ToyVenue(),
            can_amend=True,
            news_s=DEADLINE_S,
            progressed=lambda: (seen.append((rig.desk.outstanding > 0, rig.order().wanted is None)), rig.log.touch()),
        )
        async with listening(rig):
            await resting(rig)
            await rig.quiet()
            seen.clear()
            rig.toy.faults["amend"].append(Fault.DROPPED)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: bool(seen))  # it was answered: a lockstep must not go on by itself now
            rig.desk.on_event(report(Status.NEW, price=BETTER.price, quantity=BETTER.quantity))
            await rig.quiet()

            assert rig.order().terms == BETTER
            assert (False, False) not in seen

    run(scene())


def test_an_order_that_ends_as_it_was_before_its_amendment_shows_says_so_at_once() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True, patience_s=DEADLINE_S, news_s=DEADLINE_S)
        async with listening(rig):
            await resting(rig)
            rig.toy.faults["amend"].append(Fault.DROPPED)
            rig.desk.amend("a1", better())
            await rig.toy.until(lambda: rig.toy.count("amend") == 1)
            rig.toy.execute("a1", 6)
            await rig.log.until(lambda: bool(results(rig)))

            assert results(rig) == [(CancelOutcome.REFUSED, NOT_MADE)]
            assert (rig.order().status, rig.order().wanted, rig.order().quantity) == (Status.FILLED, None, 6)

    run(scene())


@pytest.mark.parametrize(("filled", "quantity"), [(6, 6), (7, 8)])
def test_an_amendment_of_an_order_that_is_over_and_forgotten_is_over_too(
    tmp_path: Path, filled: int, quantity: int
) -> None:
    async def scene() -> None:
        journal = open_journal(tmp_path / "orders.db")
        rig = OrderRig(ToyVenue(), can_amend=True, patience_s=0.0, journal=journal, intent=intended)
        async with listening(rig):
            await resting(rig)
            rig.toy.faults["amend"].append(Fault.LOST_REQUEST)
            rig.toy.gates["query"] = asyncio.Event()
            rig.desk.amend("a1", better())
            await rig.toy.until(lambda: rig.toy.count("query") == 1)
            for each in (fill("f1", filled), report(Status.CANCELED, filled=Decimal(filled))):
                rig.desk.on_event(each)
            assert rig.order().wanted == BETTER
            rig.toy.orders.clear()
            rig.toy.gates["query"].set()
            await rig.quiet()

            assert (rig.order().wanted, rig.order().quantity) == (None, quantity)
            assert [outcome for outcome, _ in results(rig)] == [
                CancelOutcome.REFUSED if quantity == 6 else CancelOutcome.TAKEN
            ]
        journal.close()
        with contextlib.closing(open_journal(tmp_path / "orders.db")) as again:
            assert replay(record for _, _, record in again.records()).orders == {"a1": rig.order()}

    run(scene())


def test_an_order_that_fills_while_it_is_amended_ends_filled_and_the_amendment_is_refused() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        rig.toy.gates["amend"] = asyncio.Event()
        async with listening(rig):
            await resting(rig)
            rig.desk.amend("a1", better())
            await rig.toy.until(lambda: rig.toy.count("amend") == 1)
            rig.toy.execute("a1", 6)
            await rig.log.until(lambda: rig.order().filled == 6)
            rig.toy.gates["amend"].set()
            await rig.quiet()

            assert (rig.order().status, rig.order().is_settled) == (Status.FILLED, True)
            assert results(rig) == [(CancelOutcome.REFUSED, "unknown order")]

    run(scene())


def test_a_cancel_does_not_wait_for_an_amendment() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        rig.toy.gates["amend"] = asyncio.Event()
        async with listening(rig):
            await resting(rig)
            rig.desk.amend("a1", better())
            await rig.toy.until(lambda: rig.toy.count("amend") == 1)
            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)
            rig.toy.gates["amend"].set()
            await rig.quiet()

            assert results(rig) == [(CancelOutcome.REFUSED, "unknown order")]
            assert rig.order().wanted is None

    run(scene())


def test_what_cannot_be_amended_is_told_before_anything_is_sent() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        rig.toy.gates["amend"] = asyncio.Event()
        async with listening(rig):
            await resting(rig)
            rig.toy.execute("a1", 2)
            await rig.log.until(lambda: rig.order().filled == 2)
            rig.desk.amend("a1", better(quantity=Decimal(2)))
            rig.desk.amend("a1", better())
            rig.desk.amend("a1", better(quantity=Decimal(9)))
            await rig.log.until(lambda: len(results(rig)) == 2)
            rig.desk.cancel("a1")
            await rig.log.until(lambda: rig.order().status is Status.CANCELED)
            rig.desk.amend("a1", better())
            await rig.log.until(lambda: len(results(rig)) == 3)
            rig.toy.gates["amend"].set()
            await rig.quiet()

            assert [reason for _, reason in results(rig)] == [
                "2 of it has filled: it cannot become smaller than that",
                "the last amendment has not been answered yet",
                "it has ended meanwhile",
                "unknown order",
            ]
            assert rig.toy.count("amend") == 1
        with pytest.raises(BtxError, match="there is no order b1 to amend"):
            rig.desk.amend("b1", better())

    run(scene())


@pytest.mark.parametrize(
    "changes", [{"post_only": True}, {"order_type": OrderType.STOP_LIMIT, "trigger_price": Decimal(110)}]
)
def test_nothing_but_price_and_quantity_of_a_limit_order_is_amended_in_place(changes: dict[str, Any]) -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), can_amend=True)
        async with listening(rig):
            await resting(rig)

            assert not rig.desk.amends("a1", better(**changes))
            assert not rig.desk.amends("b1", better())
            assert not OrderRig(rig.toy).desk.amends("a1", better())

    run(scene())


@pytest.mark.parametrize(("has_arrived", "quantity"), [(True, 8), (False, 6)])
def test_an_amendment_that_was_on_its_way_when_the_process_died_is_found_out(
    *, has_arrived: bool, quantity: int
) -> None:
    async def scene() -> None:
        toy = ToyVenue()
        first = OrderRig(toy, can_amend=True)
        async with listening(first):
            await resting(first)
        history = History(orders={"a1": apply(first.order(), AMENDING)}, sent_ns={"a1": toy.now_ns})
        if has_arrived:
            await toy.amend(leg=first.order().leg, venue_order_id=None, new=leg(8, price=Decimal(101)))
        second = OrderRig(toy, can_amend=True)
        async with listening(second):
            second.desk.recover(history)
            assert second.order().outcome_unknown
            second.desk.ask_about(["a1"])
            await second.quiet()

            assert (second.order().quantity, second.order().pending) == (quantity, None)

    run(scene())


def test_an_amendment_of_an_order_that_ended_before_the_process_died_is_over() -> None:
    async def scene() -> None:
        ended = [report(Status.CANCELED, filled=Decimal(1)), AMENDING]
        history = History(orders={"a1": functools.reduce(apply, ended, new_order(leg()))})
        rig = OrderRig(ToyVenue(), can_amend=True)
        rig.desk.recover(history)

        assert (rig.order().wanted, rig.order().quantity) == (None, 6)

    run(scene())


def test_of_a_replaced_order_whose_end_nobody_pushes_a_question_on_its_way_is_not_asked_anew() -> None:
    async def scene() -> None:
        toy = ToyVenue()
        rig = OrderRig(toy, patience_s=0.01, can_replace=False)
        async with listening(rig):
            old = rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            toy.is_muted = True
            toy.gates["query"] = asyncio.Event()  # never opened
            rig.desk.replace("a1", attrs.evolve(old, client_order_id="a2"))
            await toy.until(lambda: toy.count("query") > 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):  # twenty times the patience
                    await asyncio.Event().wait()

            assert toy.count("query") == 1

    run(scene())
