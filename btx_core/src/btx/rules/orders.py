"""The life of an order: one fold over events, the same whatever order they arrive in.

An order is what was said about it, joined so that order of arrival and
repetition cannot matter:

* **Fills** are a set by ``fill_id``. A repeat adds what the first telling left
  open (the fee, the liquidity) and nothing else.
* **Evidence** is the strongest statement so far. Strength is a total order:

  1. the venue before an inference of ours;
  2. final before open: nothing leaves a final state;
  3. anything before PENDING_NEW: an order that works (or an exit that its
     entry has woken) is never pending again;
  4. the venue's own sequence, where it gives one (an answer to a query does
     not, at most venues; it then ranks below every sequenced statement);
  5. the status that is further on in an order's life;
  6. time, and for an exact tie the text.

  The cumulative ``filled`` never falls, so it is joined apart, among
  statements of the same kind: a terse answer that names none takes nothing back.
* **Status** is derived from these (:attr:`btx.model.order.Order.status`).

Events of our own (a cancel handed over, its answer, a lost answer) happen on one
thread and arrive in their order; the venue's may come anywhere between them.
"""

from collections.abc import Iterable
from typing import assert_never

import attrs

from btx.errors import OrderTransitionError
from btx.model.order import (
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Evidence,
    Fill,
    Leg,
    Order,
    OrderEvent,
    OrderReport,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Status,
)

__all__ = ("apply", "is_news", "new_fills", "new_order")

# How far on in an order's life a status is; it decides only between statements that are otherwise equal.
_PRECEDENCE = {
    status: place
    for place, status in enumerate(
        (
            Status.PENDING_NEW,
            Status.NEW,
            Status.PARTIALLY_FILLED,
            Status.PENDING_CANCEL,
            Status.REJECTED,
            Status.EXPIRED,
            Status.CANCELED,
            Status.FILLED,
        )
    )
}


def new_order(leg: Leg) -> Order:
    """Return the order of a leg nothing was heard of: PENDING_NEW."""
    return Order(leg=leg)


def apply(order: Order, event: OrderEvent) -> Order:
    """Return ``order`` after ``event``; the very same object when the event says nothing new.

    A fill beyond the quantity is booked like any other (see ``Order.overfilled``),
    and a fill after a final state too: what was executed was executed.

    Raises:
        OrderTransitionError: the event belongs to another order, states no
            status, or contradicts a fill that was counted. ``order`` stays as it is.
    """
    _check_identity(order, event)
    match event:
        case Fill():
            after = attrs.evolve(
                order,
                fills=_with_fill(order.fills, event),
                venue_order_id=_later_id(order.venue_order_id, event.venue_order_id),
            )
        case OrderReport():
            after = attrs.evolve(
                order,
                evidence=_stronger(order.evidence, _evidence_of(event)),
                venue_order_id=_later_id(order.venue_order_id, event.venue_order_id),
            )
        case PlaceRefused():
            after = attrs.evolve(order, evidence=_stronger(order.evidence, _refusal_of(event)))
        case CancelRequested() | CancelResult(outcome=CancelOutcome.TAKEN):
            after = attrs.evolve(order, requested=Pending.CANCEL, unanswered=False)
        case CancelResult():
            after = attrs.evolve(order, requested=None, unanswered=False)
        case OutcomeUnknown(pending=None):
            after = attrs.evolve(order, placement_unknown=True)
        case OutcomeUnknown():
            after = attrs.evolve(order, requested=event.pending, unanswered=True)
        case _:
            assert_never(event)
    after = _without_answered_questions(after)
    return order if after == order else after


def new_fills(before: Order, after: Order) -> tuple[Fill, ...]:
    """Return the fills ``after`` counts and ``before`` did not, in their order."""
    known = {fill.fill_id for fill in before.fills}
    return tuple(fill for fill in after.fills if fill.fill_id not in known)


def is_news(before: Order, after: Order) -> bool:
    """Say whether anybody needs to hear of the step; a repeat with a later stamp is none."""
    return _visible(before) != _visible(after)


def _visible(order: Order) -> tuple[object, ...]:
    reason = order.evidence.reason if order.evidence is not None else ""
    return (
        order.status,
        order.fills,
        order.missing,
        order.venue_order_id,
        order.pending,
        order.outcome_unknown,
        reason,
    )


def _check_identity(order: Order, event: OrderEvent) -> None:
    if event.client_order_id != order.client_order_id:
        raise OrderTransitionError(f"order {order.client_order_id}: event of order {event.client_order_id}")
    if not isinstance(event, Fill | OrderReport):
        return
    request = order.leg.request
    if event.symbol != request.instrument.symbol:
        raise OrderTransitionError(
            f"order {order.client_order_id} is in {request.instrument.symbol}: event in {event.symbol}"
        )
    if event.side is not None and event.side is not request.side:
        raise OrderTransitionError(
            f"order {order.client_order_id} is a {request.side.value}: event of a {event.side.value}"
        )


# --- fills ------------------------------------------------------------------------------------------


def _with_fill(fills: Iterable[Fill], fill: Fill) -> tuple[Fill, ...]:
    by_id = {known.fill_id: known for known in fills}
    known = by_id.get(fill.fill_id)
    by_id[fill.fill_id] = fill if known is None else _joined(known, fill)
    return tuple(sorted(by_id.values(), key=lambda one: (one.time_ns, one.fill_id)))


def _joined(known: Fill, repeat: Fill) -> Fill:
    """Return what two tellings of one fill know together, whichever came first."""
    if (known.price, known.quantity) != (repeat.price, repeat.quantity):
        raise OrderTransitionError(
            f"order {known.client_order_id}: fill {known.fill_id} was {known.quantity} at {known.price}, "
            f"is told again as {repeat.quantity} at {repeat.price}"
        )
    fee_from = max(known, repeat, key=lambda one: (one.fee is not None, one.fee or 0, one.fee_asset or ""))
    liquidity_from = max(known, repeat, key=lambda one: one.liquidity.value if one.liquidity else "")
    sequence_from = max(known, repeat, key=lambda one: (one.sequence is not None, one.sequence or 0))
    return attrs.evolve(
        known,
        venue_order_id=_later_id(known.venue_order_id, repeat.venue_order_id),
        fee=fee_from.fee,
        fee_asset=fee_from.fee_asset,
        liquidity=liquidity_from.liquidity,
        time_ns=min(known.time_ns, repeat.time_ns),
        sequence=sequence_from.sequence,
    )


def _later_id(one: str | None, other: str | None) -> str | None:
    """Return the later of two venue ids; they differ where a triggered order is a new one to the venue."""
    return max(one, other, key=lambda text: (text is not None, len(text or ""), text or ""))


# --- evidence ---------------------------------------------------------------------------------------


def _evidence_of(report: OrderReport) -> Evidence:
    if report.status is Status.UNKNOWN:
        raise OrderTransitionError(
            f"order {report.client_order_id}: a report states a status; a lost answer is OutcomeUnknown"
        )
    return Evidence(
        status=report.status,
        sequence=report.sequence,
        time_ns=report.time_ns,
        filled=report.filled,
        reason=report.reason,
        inferred=report.inferred,
    )


def _refusal_of(event: PlaceRefused) -> Evidence:
    return Evidence(
        status=Status.REJECTED,
        sequence=None,
        time_ns=event.time_ns,
        reason=event.reason,
        insufficient_funds=event.insufficient_funds,
    )


def _strength(evidence: Evidence) -> tuple[bool, bool, bool, bool, int, int, int, str, bool]:
    return (
        not evidence.inferred,
        evidence.status.is_final,
        evidence.status is not Status.PENDING_NEW,
        evidence.sequence is not None,
        evidence.sequence or 0,
        _PRECEDENCE[evidence.status],
        evidence.time_ns,
        evidence.reason,
        evidence.insufficient_funds,
    )


def _stronger(one: Evidence | None, other: Evidence) -> Evidence:
    if one is None:
        return other
    stronger = max(one, other, key=_strength)
    if one.inferred is not other.inferred:
        return stronger
    return attrs.evolve(stronger, filled=max(one.filled, other.filled))


def _without_answered_questions(order: Order) -> Order:
    """Drop the questions that are answered for good.

    An inferred end answers none of them for good: the venue may overrule it,
    and then the cancel is still on its way.
    """
    heard = order.evidence is not None or bool(order.fills)
    final = order.status.is_final and not (
        order.filled < order.quantity and order.evidence is not None and order.evidence.inferred
    )
    return attrs.evolve(
        order,
        placement_unknown=order.placement_unknown and not heard,
        requested=None if final else order.requested,
        unanswered=order.unanswered and not final,
    )
