from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import attrs
import pytest

from btx.errors import OrderTransitionError
from btx.model.order import (
    AmendRequested,
    AmendResult,
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Liquidity,
    Offset,
    Order,
    OrderEvent,
    OrderReport,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    PositionSide,
    Prepared,
    Side,
    Status,
    Terms,
)
from btx.rules.orders import apply, derived_fill, is_news, new_fills, new_order, take
from tests.values import d, fill, leg, report

CANCEL = CancelRequested(client_order_id="a1", time_ns=1)
TAKEN = CancelResult(client_order_id="a1", outcome=CancelOutcome.TAKEN, time_ns=2)
REFUSED = CancelResult(client_order_id="a1", outcome=CancelOutcome.REFUSED, time_ns=2)
LOST_PLACE = OutcomeUnknown(client_order_id="a1", reason="no answer", time_ns=1)
LOST_CANCEL = OutcomeUnknown(client_order_id="a1", reason="no answer", pending=Pending.CANCEL, time_ns=1)
NEW = report(Status.NEW, sequence=1)


def folded(*events: OrderEvent) -> Order:
    order = new_order(leg())
    for event in events:
        order = apply(order, event)
    return order


def test_an_order_nobody_heard_of_is_pending_new() -> None:
    order = new_order(leg())

    assert order.status is Status.PENDING_NEW
    assert (order.filled, order.remaining) == (0, 6)
    assert not order.is_settled


def test_fills_make_an_order_partial_and_then_filled() -> None:
    first = folded(NEW, fill("f1", 2))
    second = apply(first, fill("f2", 4))

    assert first.status is Status.PARTIALLY_FILLED
    assert second.status is Status.FILLED
    assert second.is_settled


def test_a_fill_that_comes_before_any_report_shows_the_order_is_alive() -> None:
    assert folded(fill()).status is Status.PARTIALLY_FILLED


def test_a_repeated_event_returns_the_very_same_order() -> None:
    order = folded(NEW, fill())

    assert apply(order, NEW) is order
    assert apply(order, fill()) is order


def test_fills_are_kept_by_time_and_id() -> None:
    order = folded(fill("b", time_ns=2), fill("c", time_ns=1), fill("a", time_ns=2))

    assert [one.fill_id for one in order.fills] == ["c", "a", "b"]


def test_a_late_fill_beats_a_cancel() -> None:
    canceled = report(Status.CANCELED, filled=Decimal(6))

    order = folded(canceled, fill("f1", 6))

    assert folded(canceled).status is Status.CANCELED
    assert folded(canceled).missing == 6
    assert not folded(canceled).is_settled
    assert order.status is Status.FILLED
    assert order.is_settled


def test_a_fill_beyond_the_quantity_is_booked() -> None:
    order = folded(fill("f1", 5), fill("f2", 4))

    assert order.status is Status.FILLED
    assert (order.filled, order.overfilled, order.remaining) == (9, 3, 0)


@pytest.mark.parametrize(
    "strange",
    [
        fill(client_order_id="other"),
        fill(symbol="ETH/USDT"),
        fill(side=Side.SELL),
        fill("f1", 3),
        fill("f1", price=Decimal(101)),
        report(Status.NEW, side=Side.SELL),
        report(Status.UNKNOWN),
    ],
    ids=["other order", "other symbol", "other side", "quantity", "price", "report of other side", "no status"],
)
def test_what_cannot_belong_to_the_order_is_refused(strange: OrderEvent) -> None:
    order = folded(fill("f1", 2))

    with pytest.raises(OrderTransitionError, match="order a1"):
        apply(order, strange)


def test_a_fee_that_is_told_later_completes_the_fill() -> None:
    bare = fill()
    told = fill(
        fee=Decimal("0.1"),
        fee_asset="BNB",
        liquidity=Liquidity.MAKER,
        sequence=4,
        venue_order_id="7",
        time_ns=2,
    )

    order = folded(bare, told)

    assert order == folded(told, bare)
    (completed,) = order.fills
    assert (completed.fee, completed.fee_asset, completed.liquidity) == (Decimal("0.1"), "BNB", Liquidity.MAKER)
    assert (completed.sequence, completed.venue_order_id, completed.time_ns) == (4, "7", 1)


def test_of_two_venue_ids_the_later_one_stays() -> None:
    triggered = report(Status.NEW, venue_order_id="1000")

    assert folded(triggered, fill(venue_order_id="999")).venue_order_id == "1000"
    assert folded(fill(venue_order_id="999"), triggered).venue_order_id == "1000"
    assert folded(NEW, triggered).venue_order_id == "1000"


def test_the_order_a_conditional_one_became_names_it_from_then_on() -> None:
    waiting, child = report(Status.NEW, venue_order_id="algo:2000000547400625"), fill(venue_order_id="4904025190")

    assert folded(waiting).venue_order_id == "algo:2000000547400625"
    assert folded(waiting, child).venue_order_id == "4904025190"
    assert folded(child, waiting).venue_order_id == "4904025190"


def test_the_higher_sequence_wins_among_open_states() -> None:
    triggered = report(Status.NEW, sequence=3, reason="triggered")
    partial = report(Status.PARTIALLY_FILLED, sequence=2, filled=Decimal(2))

    assert folded(triggered, partial).evidence == folded(partial, triggered).evidence
    assert folded(triggered, partial).missing == 2


def test_nothing_leaves_a_final_state() -> None:
    order = folded(report(Status.EXPIRED, sequence=5), report(Status.NEW, sequence=9))

    assert order.status is Status.EXPIRED


def test_the_venue_overrules_an_inference() -> None:
    inferred = report(Status.REJECTED, inferred=True, filled=Decimal(3), time_ns=9)

    order = folded(inferred, NEW)

    assert folded(inferred).status is Status.REJECTED
    assert order == folded(NEW, inferred)
    assert order.status is Status.NEW
    assert order.missing == 0


def test_an_exit_the_venue_made_is_as_large_as_it_was_taken_for_whatever_is_told_as_it_grows() -> None:
    exit_ = new_order(attrs.evolve(leg(), parent_id="a0"))

    grown = apply(apply(exit_, report(Status.NEW, quantity=d(2))), fill(quantity=2))

    assert (grown.quantity, grown.status) == (6, Status.PARTIALLY_FILLED)
    assert apply(grown, report(Status.FILLED, filled=d(2), quantity=d(2))).status is Status.FILLED


def test_a_terse_answer_does_not_take_back_what_was_filled() -> None:
    order = folded(report(Status.PARTIALLY_FILLED, filled=Decimal(2)), report(Status.CANCELED))

    assert order.status is Status.CANCELED
    assert order.missing == 2


def test_a_refused_placement_is_rejected_with_its_reason() -> None:
    order = folded(PlaceRefused(client_order_id="a1", reason="too small", insufficient_funds=True, time_ns=1))

    assert order.status is Status.REJECTED
    assert order.evidence is not None
    assert order.evidence.insufficient_funds
    assert order.evidence.reason == "too small"


def test_a_placement_without_an_answer_is_unknown_until_something_is_heard() -> None:
    order = folded(LOST_PLACE)

    assert order.status is Status.UNKNOWN
    assert order.outcome_unknown
    assert apply(order, NEW) == folded(NEW)
    assert folded(NEW, LOST_PLACE) == folded(NEW)
    assert folded(fill(), LOST_PLACE) == folded(fill())


def test_a_cancel_of_an_unknown_placement_leaves_it_unknown() -> None:
    order = folded(LOST_PLACE, CANCEL)

    assert order.status is Status.UNKNOWN
    assert order.pending is Pending.CANCEL


def test_a_cancel_before_any_answer_leaves_the_order_pending_new() -> None:
    assert folded(CANCEL).status is Status.PENDING_NEW
    assert folded(CANCEL, LOST_CANCEL).status is Status.PENDING_NEW
    assert folded(CANCEL, LOST_CANCEL).outcome_unknown


def test_a_cancel_is_pending_until_the_stream_confirms_it() -> None:
    asked = folded(NEW, CANCEL)
    taken = apply(asked, TAKEN)
    over = apply(taken, report(Status.CANCELED, sequence=2))

    assert asked.status is taken.status is Status.PENDING_CANCEL
    assert (over.status, over.pending) == (Status.CANCELED, None)


def test_a_refused_cancel_leaves_the_order_as_it_was() -> None:
    order = folded(NEW, CANCEL, REFUSED)

    assert (order.status, order.pending) == (Status.NEW, None)


def test_a_cancel_without_an_answer_says_so_beside_the_status() -> None:
    order = folded(NEW, fill(), CANCEL, LOST_CANCEL)

    assert order.status is Status.PARTIALLY_FILLED
    assert order.pending is Pending.CANCEL
    assert order.outcome_unknown


def test_a_cancel_survives_an_inferred_end_that_the_venue_overrules() -> None:
    ended = folded(CANCEL, report(Status.CANCELED, inferred=True))

    assert (ended.status, ended.pending) == (Status.CANCELED, None)
    assert apply(ended, NEW).status is Status.PENDING_CANCEL


def test_statements_that_differ_only_in_their_words_are_told_apart_the_same_way() -> None:
    one, other = report(Status.EXPIRED, reason="a"), report(Status.EXPIRED, reason="b")

    assert folded(one, other) == folded(other, one)


def test_a_cancel_of_a_filled_order_is_over_even_beside_an_inference() -> None:
    filled = folded(report(Status.NEW, inferred=True), fill("f1", 6))

    assert apply(filled, CANCEL) is filled


def test_a_cancel_of_a_final_order_asks_for_nothing() -> None:
    order = folded(report(Status.CANCELED))

    assert apply(order, CANCEL) is order


def test_what_the_venue_states_is_kept_as_it_is() -> None:
    assert folded(report(Status.PENDING_NEW)).status is Status.PENDING_NEW
    assert folded(report(Status.PENDING_CANCEL)).status is Status.PENDING_CANCEL
    assert folded(report(Status.PARTIALLY_FILLED)).status is Status.PARTIALLY_FILLED


def test_new_fills_are_those_the_older_order_lacks() -> None:
    before = folded(fill("f1"))
    after = apply(before, fill("f2", time_ns=0))

    assert [one.fill_id for one in new_fills(before, after)] == ["f2"]
    assert new_fills(after, after) == ()


def test_a_later_stamp_alone_is_no_news() -> None:
    before = folded(report(Status.NEW))
    after = apply(before, report(Status.NEW, time_ns=5))

    assert after != before
    assert not is_news(before, after)
    assert is_news(new_order(leg()), before)


def test_an_exit_that_its_entry_has_woken_is_never_pending_again() -> None:
    dormant = apply(new_order(leg()), report(Status.PENDING_NEW, sequence=7))

    woken = apply(dormant, report(Status.NEW))  # an answer to a query, which has no sequence

    assert woken.status is Status.NEW
    assert apply(woken, report(Status.PENDING_NEW, sequence=8)).status is Status.NEW


# --- amendments in place ----------------------------------------------------------------------------

LARGER = AmendRequested(client_order_id="a1", price=Decimal(101), quantity=Decimal(8), time_ns=3)
BACK = AmendRequested(client_order_id="a1", price=Decimal(100), quantity=Decimal(6), time_ns=5)
AMENDED = AmendResult(client_order_id="a1", outcome=CancelOutcome.TAKEN, time_ns=4)
LEFT = AmendResult(client_order_id="a1", outcome=CancelOutcome.REFUSED, reason="no", time_ns=4)
LOST_AMENDMENT = OutcomeUnknown(client_order_id="a1", reason="no answer", pending=Pending.AMEND, time_ns=4)


def stated(price: int, quantity: int, **changes: Any) -> OrderReport:
    return report(
        **({"status": Status.NEW, "price": Decimal(price), "quantity": Decimal(quantity), "sequence": 2} | changes)
    )


def test_an_amendment_is_pending_until_it_is_answered_and_then_the_same_order_goes_on() -> None:
    asked = folded(NEW, LARGER)
    taken = apply(asked, AMENDED)

    assert (asked.status, asked.pending, asked.outcome_unknown) == (Status.NEW, Pending.AMEND, False)
    assert (asked.terms, asked.quantity) == (Terms(price=Decimal(100), quantity=Decimal(6)), 8)
    assert (taken.pending, taken.wanted, taken.quantity) == (None, None, 8)
    assert (taken.terms, taken.leg.request.quantity) == (Terms(price=Decimal(101), quantity=Decimal(8)), 8)
    assert is_news(asked, taken)
    assert apply(taken, AMENDED) is taken


def test_a_refused_amendment_leaves_the_order_as_it_was() -> None:
    assert folded(NEW, LARGER, LEFT) == folded(NEW)


@pytest.mark.parametrize("answer", [AMENDED, LOST_AMENDMENT, LEFT])
def test_a_statement_that_names_what_was_wanted_is_the_answer(answer: OrderEvent) -> None:
    order = folded(NEW, LARGER, stated(101, 8), answer)

    assert (order.terms.price, order.quantity, order.wanted) == (101, 8, None)


@pytest.mark.parametrize(
    "told",
    [
        stated(101, 7),
        stated(100, 8),
        attrs.evolve(stated(101, 8), price=None),
        stated(101, 8, inferred=True),
        stated(100, 6),
    ],
)
def test_no_other_statement_is(told: OrderReport) -> None:
    order = folded(NEW, LARGER, LOST_AMENDMENT, told)

    assert order.wanted is not None
    assert (order.terms.price, order.quantity, order.outcome_unknown) == (100, 8, True)


def test_another_price_alone_is_shown_of_an_order_that_the_venue_has_cut_as_well() -> None:
    dearer = attrs.evolve(LARGER, quantity=Decimal(6))

    order = folded(stated(100, 4), dearer, stated(101, 4))

    assert (order.wanted, order.terms.price, order.quantity) == (None, 101, 4)
    assert folded(stated(100, 4), dearer, stated(100, 4)).wanted is not None


def test_fills_of_what_was_wanted_do_not_end_the_order_before_the_answer() -> None:
    order = folded(stated(100, 6), LARGER, fill("f1", 7))

    assert order.status is Status.PARTIALLY_FILLED
    assert apply(order, AMENDED).remaining == 1
    assert apply(order, fill("f2", 1)).status is Status.FILLED
    assert apply(apply(order, fill("f2", 1)), AMENDED).overfilled == 0


def test_what_an_order_was_before_its_amendment_makes_it_no_smaller_however_late_it_is_told() -> None:
    late = stated(100, 6, filled=Decimal(1), status=Status.PARTIALLY_FILLED)

    order = folded(stated(100, 6), LARGER, AMENDED, late)

    assert (order.quantity, order.missing) == (8, 1)
    assert apply(order, stated(101, 7)).quantity == 7  # what the venue cuts off now, it does
    assert folded(stated(100, 5), LARGER, AMENDED, stated(100, 5)).quantity == 8


def test_a_way_back_is_shown_by_the_answer_alone_as_an_old_statement_says_the_same() -> None:
    asked = folded(NEW, LARGER, AMENDED, BACK)

    assert apply(asked, stated(100, 6)).terms.price == 101
    assert apply(asked, AMENDED).terms == Terms(price=Decimal(100), quantity=Decimal(6))
    assert apply(apply(asked, AMENDED), stated(101, 8, sequence=1)).quantity == 6


def test_a_cancel_goes_on_beside_an_amendment() -> None:
    order = folded(NEW, LARGER, CANCEL)

    assert apply(order, LOST_AMENDMENT) == order
    assert apply(order, LEFT).status is Status.PENDING_CANCEL
    assert folded(NEW, CANCEL, LARGER).pending is Pending.CANCEL


def test_a_fill_is_of_its_orders_position_whether_the_venue_says_so_or_not() -> None:
    order = apply(new_order(leg(position_side=PositionSide.LONG)), fill())

    assert [one.position_side for one in order.fills] == [PositionSide.LONG]
    assert apply(order, fill(position_side=PositionSide.LONG)) is order


def filled_to(total: str, average: str, **changes: Any) -> OrderReport:
    return report(Status.PARTIALLY_FILLED, filled=Decimal(total), average_price=Decimal(average), **changes)


def test_fills_are_made_of_what_an_order_says_is_filled_and_at_what_average() -> None:
    order = folded(NEW)
    first = derived_fill(order, filled_to("2", "430", venue_order_id="V7"))
    assert first is not None
    assert (first.quantity, first.price, first.fill_id, first.side) == (2, 430, "V7@2", order.leg.request.side)

    order = apply(order, first)
    second = derived_fill(order, filled_to("4", "429.5", venue_order_id="V7"))

    assert second is not None
    assert (second.quantity, second.price, second.fill_id) == (2, 429, "V7@4")
    assert apply(order, second).filled == 4


@pytest.mark.parametrize("rounding", [ROUND_HALF_EVEN, ROUND_HALF_UP])  # ccxt sets the latter on its thread
def test_the_price_of_a_made_fill_does_not_depend_on_whose_thread_it_is(rounding: str) -> None:
    with localcontext(rounding=rounding):
        fill = derived_fill(folded(NEW), filled_to("1", "430.000000005"))

    assert fill is not None
    assert fill.price == 430


def test_the_same_telling_makes_the_same_fill_and_an_older_one_none() -> None:
    told = filled_to("2", "430")
    fill = derived_fill(folded(NEW), told)
    assert fill is not None
    order = folded(NEW, fill)

    assert derived_fill(order, told) is None
    assert derived_fill(order, filled_to("1", "430")) is None
    assert derived_fill(folded(NEW), told) == fill


def test_without_an_average_nothing_is_made_and_an_impossible_price_is_the_average() -> None:
    assert derived_fill(folded(NEW), report(Status.PARTIALLY_FILLED, filled=Decimal(2))) is None
    dear = derived_fill(folded(NEW), filled_to("2", "430"))
    assert dear is not None

    cheap = derived_fill(folded(NEW, dear), filled_to("4", "200"))  # its change would have cost less than nothing

    assert cheap is not None
    assert cheap.price == 200


def test_a_name_on_the_wire_stays_with_the_order_and_is_nobodys_news() -> None:
    before = new_order(leg())

    after = apply(before, Prepared(client_order_id="a1", wire={"OrderRef": "7"}, time_ns=1))

    assert after.leg.wire == {"OrderRef": "7"}
    assert after.status is Status.PENDING_NEW
    assert not is_news(before, after)


def test_what_a_fill_did_to_the_position_is_kept_whichever_telling_said_it() -> None:
    told = apply(new_order(leg()), fill(offset=Offset.CLOSE))

    assert apply(told, fill()).fills[0].offset is Offset.CLOSE
    assert apply(apply(new_order(leg()), fill()), fill(offset=Offset.CLOSE)).fills == told.fills


def test_an_event_is_taken_with_the_fill_it_implies() -> None:
    order = take(folded(NEW), filled_to("2", "430", venue_order_id="V7"))

    assert (order.filled, order.status, order.missing) == (2, Status.PARTIALLY_FILLED, 0)
    assert take(order, fill("f9", 4)).status is Status.FILLED
