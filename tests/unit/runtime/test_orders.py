"""The order desk: at most once out, always settled."""

import asyncio
import string
from decimal import Decimal
from typing import Any

import attrs
import pytest

from btx.errors import BtxError, JournalError, OutcomeUnknownError, PluginError, RateLimitedError, TransportError
from btx.model.journal import Event, Intent, Note, Record, Sent
from btx.model.order import (
    CancelRequested,
    CancelResult,
    Fill,
    Leg,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Status,
)
from btx.model.venue import Channel, Environment
from btx.runtime.orders import ClientIds, one_leg
from tests.toy_venue import INFO, Fault, ToyVenue
from tests.unit.runtime.rig import OrderRig, listening, run
from tests.values import leg, request

BINANCE_ALPHABET = set(string.ascii_letters + string.digits + ".:/_-")


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
        async with listening(rig):
            began = loop.time()
            rig.submit()
            await rig.quiet()

            assert loop.time() - began >= 0.05
            assert rig.toy.count("query") > 1
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

            rig.desk.settle_open()
            rig.desk.settle_open()  # two reconnections in a row
            await rig.desk.settled()
            rig.desk.settle_open()  # nothing is open any more

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

            rig.desk.settle_open()
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
            rig.desk.settle_open()
            rig.toy.gates["place"].set()
            await rig.quiet()

            assert rig.order().status is Status.NEW

    run(scene())


def test_an_open_order_the_venue_forgot_is_told_and_not_made_up() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue(), patience_s=0.0)
        async with listening(rig):
            rig.submit()
            await rig.log.until(lambda: rig.order().status is Status.NEW)
            rig.toy.orders.clear()

            rig.desk.settle_open()
            await rig.quiet()

            assert rig.order().status is Status.NEW
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


def test_withdraw_waits_until_orders_have_ended_with_their_fills() -> None:
    async def scene() -> None:
        rig = OrderRig(ToyVenue())
        async with listening(rig):
            rig.submit("a1")
            rig.submit("a2")
            await rig.quiet()
            rig.toy.execute("a1", 1)

            await rig.desk.withdraw(["a1", "a2", "nobody's"])

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
        assert OrderRig(ToyVenue(), patience_s=None).desk._patience_s == 6.0

    run(scene())


def test_client_order_ids_are_unique_short_and_legal_at_binance() -> None:
    runs = [ClientIds(INFO.client_id) for _ in range(3)]

    ids = [each.next() for each in runs for _ in range(2000)]

    assert len({*ids[:2000]}) == len({*ids[2000:4000]}) == 2000
    assert {len(each) for each in ids} == {12}
    assert {*"".join(ids)} <= BINANCE_ALPHABET
    assert ids[:2000] == sorted(ids[:2000])


def test_a_run_that_has_used_up_its_ids_says_so() -> None:
    ids = ClientIds(INFO.client_id)
    ids._counter = iter([32**4])  # type: ignore[assignment]

    with pytest.raises(BtxError, match="restart the strategy"):
        ids.next()


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


@pytest.mark.parametrize("changes", [{"max_len": 11}, {"alphabet": "0123456789"}])
def test_a_venue_whose_ids_ours_do_not_fit_is_refused_before_the_first_order(changes: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="ours have 12 of"):
        ClientIds(attrs.evolve(INFO.client_id, **changes))


def test_one_request_is_one_leg_by_default() -> None:
    asked = request(quantity=Decimal(2))

    (one,) = one_leg(asked, "a1")

    assert (one.client_order_id, one.request, one.quantity) == ("a1", asked, Decimal(2))


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
            await rig.desk._questions.drain(1.0)

            assert not rig.toy.count("query")

    run(scene())
