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

  The cumulative ``filled`` never falls, and the ``quantity`` never rises (a venue
  cuts an order that only reduces), so they are joined apart, among statements of
  the same kind: a terse answer that names none takes nothing back.
* **Terms** (price and quantity) change by an amendment of ours that the venue has
  taken: it says so in its answer, or any statement names what was wanted. What
  the order was before says nothing about its quantity any more, however late it is told.
* **Status** is derived from these (:attr:`btx.model.order.Order.status`).

Events of our own (a cancel handed over, its answer, a lost answer) happen on one
thread and arrive in their order; the venue's may come anywhere between them.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal
from typing import assert_never

import attrs

from btx.errors import OrderTransitionError
from btx.model.order import (
    AmendRequested,
    AmendResult,
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Evidence,
    Fill,
    Leg,
    Order,
    OrderEvent,
    OrderReport,
    Origin,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Prepared,
    Status,
    Terms,
)

__all__ = ("apply", "derived_fill", "is_news", "new_fills", "new_order", "take")

_FINEST = Decimal("1e-8")  # of a price that is computed

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
                fills=_with_fill(order.fills, _of_position(order, event)),
                venue_order_id=_later_id(order.venue_order_id, event.venue_order_id),
            )
        case OrderReport():
            after = _with_report(_amended(order) if _confirms(order, event) else order, event)
        case Prepared():
            after = attrs.evolve(order, leg=attrs.evolve(order.leg, wire=event.wire))
        case PlaceRefused():
            after = attrs.evolve(order, evidence=_stronger(order.evidence, _refusal_of(event)))
        case CancelRequested() | CancelResult(outcome=CancelOutcome.TAKEN):
            after = attrs.evolve(order, requested=Pending.CANCEL, unanswered=False)
        case CancelResult():
            after = attrs.evolve(order, requested=None, unanswered=False)
        case OutcomeUnknown(pending=None):
            after = attrs.evolve(order, placement_unknown=True)
        case AmendRequested() | AmendResult():
            after = _with_wish(order, event)
        case OutcomeUnknown():
            after = _in_doubt(order, event)
        case _:
            assert_never(event)
    after = _without_answered_questions(after)
    return order if after == order else after


def derived_fill(order: Order, report: OrderReport) -> Fill | None:
    """Return the execution that ``report`` implies beyond the fills that were counted; None where it implies none.

    For venues that tell how much of an order is filled, and at what average, and nothing of single executions.
    What was executed in several pieces since the last telling is one fill, at their average.  Its id follows
    from the total, so that the same telling makes the same fill.
    """
    average, total = report.average_price, report.filled
    quantity = total - order.filled
    if average is None or quantity <= 0:
        return None
    paid = sum((fill.price * fill.quantity for fill in order.fills), Decimal(0))
    price = ((average * total - paid) / quantity).quantize(_FINEST, rounding=ROUND_HALF_EVEN)
    request = order.leg.request
    return Fill(
        fill_id=f"{report.venue_order_id or order.client_order_id}@{total.normalize():f}",
        client_order_id=order.client_order_id,
        venue_order_id=report.venue_order_id,
        symbol=report.symbol,
        side=request.side,
        price=price if price > 0 else average,  # a venue rounds its averages: of little they say anything
        quantity=quantity,
        time_ns=report.time_ns,
        sequence=report.sequence,
        position_side=request.position_side,
        origin=report.origin,
    )


def take(order: Order, event: OrderEvent) -> Order:
    """Return ``order`` after ``event`` and, before it, the fill that it implies; see :func:`derived_fill`.

    Raises:
        OrderTransitionError: as :func:`apply`.
    """
    fill = derived_fill(order, event) if isinstance(event, OrderReport) else None
    return apply(apply(order, fill) if fill is not None else order, event)


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
        order.quantity,
        order.fills,
        order.missing,
        order.wanted,
        order.past,
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


def _of_position(order: Order, fill: Fill) -> Fill:
    """Return a fill as one of its order's position: some venues do not say whose it is."""
    side = order.leg.request.position_side
    return fill if fill.position_side is side else attrs.evolve(fill, position_side=side)


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
    realised_from = max(known, repeat, key=lambda one: (one.realised is not None, one.realised or 0))
    origin_from = max(known, repeat, key=lambda one: (one.origin is not Origin.CLIENT, one.origin.value))
    offset_from = max(known, repeat, key=lambda one: one.offset.value if one.offset is not None else "")
    return attrs.evolve(
        known,
        venue_order_id=_later_id(known.venue_order_id, repeat.venue_order_id),
        fee=fee_from.fee,
        fee_asset=fee_from.fee_asset,
        liquidity=liquidity_from.liquidity,
        time_ns=min(known.time_ns, repeat.time_ns),
        sequence=sequence_from.sequence,
        realised=realised_from.realised,
        origin=origin_from.origin,
        offset=offset_from.offset,
    )


def _later_id(one: str | None, other: str | None) -> str | None:
    """Return the later of two venue ids; they differ where a triggered order is a new one to the venue.

    An id with a space of its own before it (``algo:17``) is of an order that has not triggered: any other is later.
    """
    return max(one, other, key=_age)


def _age(venue_order_id: str | None) -> tuple[bool, bool, int, str]:
    text = venue_order_id or ""
    return venue_order_id is not None, ":" not in text, len(text), text


# --- evidence ---------------------------------------------------------------------------------------


def _evidence_of(order: Order, report: OrderReport) -> Evidence:
    """Return what a report says; what it says of the size of an exit the venue made is of that moment alone."""
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
        quantity=None
        if order.leg.parent_id is not None or any(_states(report, past) for past in order.past)
        else report.quantity,
    )


# --- amendments -------------------------------------------------------------------------------------


def _states(report: OrderReport, terms: Terms) -> bool:
    """Say whether a statement is of an order as ``terms`` have it; one without a price is of any price."""
    return report.quantity == terms.quantity and report.price in {None, terms.price}


def _confirms(order: Order, report: OrderReport) -> bool:
    """Say whether a statement shows that an amendment was taken.

    Not where the order was so before: then it may be an old one, and the answer, or a question, tells.
    Of a price it never had, the price alone tells, where nothing else is to change: the venue may have cut the order.
    """
    wanted = order.wanted
    if wanted is None or report.price is None or report.inferred:
        return False
    known = order.terms, *order.past
    if wanted.quantity == order.leg.quantity and all(each.price != wanted.price for each in known):
        return report.price == wanted.price
    return _states(report, wanted) and wanted not in known


def _with_wish(order: Order, event: AmendRequested | AmendResult) -> Order:
    if isinstance(event, AmendRequested):
        wanted = Terms(price=event.price, quantity=event.quantity)
        return attrs.evolve(order, requested=order.requested or Pending.AMEND, wanted=wanted)
    if order.wanted is None:
        return order  # a statement about the order was faster
    return _amended(order) if event.outcome is CancelOutcome.TAKEN else _without_wish(order)


def _in_doubt(order: Order, event: OutcomeUnknown) -> Order:
    """Keep that a request got no answer; an amendment is asked about for as long as it is wanted, a cancel goes on."""
    if event.pending is Pending.AMEND and order.wanted is not None and order.requested is Pending.CANCEL:
        return order
    return attrs.evolve(order, requested=event.pending, unanswered=True)


def _amended(order: Order) -> Order:
    """Return an order as the open amendment has it."""
    wanted, evidence = order.wanted, order.evidence
    assert wanted is not None, "there is an amendment to be taken"
    cut = evidence.quantity if evidence is not None else None
    before = (order.terms, *((attrs.evolve(order.terms, quantity=cut),) if cut else ()))
    leg, request = order.leg, order.leg.request
    return attrs.evolve(
        _without_wish(order),
        leg=attrs.evolve(
            leg,
            quantity=wanted.quantity,
            request=attrs.evolve(request, price=wanted.price, quantity=wanted.quantity),
        ),
        evidence=attrs.evolve(evidence, quantity=None) if evidence is not None else None,
        past=tuple(terms for terms in dict.fromkeys((*order.past, *before)) if terms != wanted),
    )


def _without_wish(order: Order) -> Order:
    """Return an order whose amendment is settled."""
    is_amending = order.requested is Pending.AMEND
    return attrs.evolve(
        order,
        wanted=None,
        requested=None if is_amending else order.requested,
        unanswered=order.unanswered and not is_amending,
    )


def _with_report(order: Order, report: OrderReport) -> Order:
    return attrs.evolve(
        order,
        evidence=_stronger(order.evidence, _evidence_of(order, report)),
        venue_order_id=_later_id(order.venue_order_id, report.venue_order_id),
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
    stated = [each.quantity for each in (one, other) if each.quantity]
    return attrs.evolve(stronger, filled=max(one.filled, other.filled), quantity=min(stated, default=None))


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
