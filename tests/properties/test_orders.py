"""Order life: no order of arrival, and no repetition, changes what an order ends as."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from btx.model.order import (
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Fill,
    Liquidity,
    Order,
    OrderEvent,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Status,
)
from btx.rules.orders import apply, new_order
from tests.values import fill, leg, report

times = st.integers(0, 3)
quantities = {f"f{number}": Decimal(number) for number in range(1, 5)}  # one quantity for each fill id

fills = st.sampled_from(sorted(quantities)).flatmap(
    lambda fill_id: st.builds(
        fill,
        st.just(fill_id),
        st.just(quantities[fill_id]),
        fee=st.sampled_from([None, Decimal("0.1"), Decimal("-0.2")]),
        fee_asset=st.sampled_from([None, "BNB", "BTC"]),
        liquidity=st.sampled_from([None, *Liquidity]),
        venue_order_id=st.sampled_from([None, "algo:3", "9", "10"]),
        sequence=st.sampled_from([None, 0, 5]),
        time_ns=times,
    )
)
reports = st.builds(
    report,
    st.sampled_from([status for status in Status if status is not Status.UNKNOWN]),
    filled=st.integers(0, 6).map(Decimal),
    sequence=st.sampled_from([None, 0, 1, 2]),
    inferred=st.booleans(),
    reason=st.sampled_from(["", "too late"]),
    venue_order_id=st.sampled_from([None, "algo:3", "9", "10"]),
    time_ns=times,
)
refusals = st.builds(
    PlaceRefused,
    client_order_id=st.just("a1"),
    reason=st.sampled_from(["", "funds"]),
    insufficient_funds=st.booleans(),
    time_ns=times,
)
venue_events = st.lists(fills | reports | refusals, max_size=8)
own_events = st.lists(
    st.sampled_from(
        [
            CancelRequested(client_order_id="a1", time_ns=0),
            CancelResult(client_order_id="a1", outcome=CancelOutcome.TAKEN, time_ns=0),
            CancelResult(client_order_id="a1", outcome=CancelOutcome.REFUSED, time_ns=0),
            OutcomeUnknown(client_order_id="a1", reason="", time_ns=0),
            OutcomeUnknown(client_order_id="a1", reason="", pending=Pending.CANCEL, time_ns=0),
        ]
    ),
    max_size=4,
)


def folded(events: list[OrderEvent]) -> Order:
    order = new_order(leg())
    for event in events:
        order = apply(order, event)
    return order


@given(data=st.data(), events=venue_events)
def test_any_permutation_and_repetition_ends_in_the_same_order(data: st.DataObject, events: list[OrderEvent]) -> None:
    repeats = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = data.draw(st.permutations([*events, *repeats]))

    assert folded(shuffled) == folded(events)


@given(data=st.data(), told=venue_events, asked=own_events)
def test_our_own_events_may_come_anywhere_between(
    data: st.DataObject, told: list[OrderEvent], asked: list[OrderEvent]
) -> None:
    shuffled = data.draw(st.permutations(told))
    places = sorted(data.draw(st.lists(st.integers(0, len(told)), min_size=len(asked), max_size=len(asked))))
    for place, event in reversed(list(zip(places, asked, strict=True))):
        shuffled.insert(place, event)

    assert folded(shuffled) == folded([*told, *asked])


@given(events=venue_events)
def test_every_fill_is_counted_once(events: list[OrderEvent]) -> None:
    told = {event.fill_id for event in events if isinstance(event, Fill)}

    order = folded(events)

    assert {one.fill_id for one in order.fills} == told
    assert order.filled == sum(quantities[fill_id] for fill_id in told)
    assert order.filled - order.overfilled + order.remaining == order.quantity


@given(told=venue_events, asked=own_events)
def test_no_final_order_waits_for_anything(told: list[OrderEvent], asked: list[OrderEvent]) -> None:
    order = folded([*asked, *told])

    if order.status.is_final:
        assert order.pending is None
        assert not order.outcome_unknown
    assert order.status is not Status.UNKNOWN or not told
