"""What a journal adds up to: the one way from records to a state, for a restart as for a report.

Pure: records in, a :class:`History` out. Replaying a prefix of a journal gives the
state at that moment, replaying it twice the same state.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal

import attrs

from btx.errors import OrderTransitionError
from btx.model.account import AccountUpdate, Booking, BookingKind
from btx.model.instrument import Instrument
from btx.model.journal import (
    Booked,
    BookingDelivered,
    Delivered,
    Event,
    GroupState,
    Halted,
    Intent,
    Record,
    Resumed,
    RunEnded,
    RunStarted,
    Sent,
    Snapshot,
    StrategyState,
)
from btx.model.order import Fill, Order, Status
from btx.rules.holdings import Holding, adopted, after_order, counts, held, with_instrument
from btx.rules.orders import apply, new_fills, new_order
from btx.rules.positions import Position, apply_fill, balance_changes, base_change
from btx.rules.risk import DAY_START
from btx.rules.wallet import Key, MarginAccount, apply_booking, apply_update

__all__ = (
    "History",
    "balance_steps",
    "expected_totals",
    "never_left",
    "positions",
    "replay",
    "undelivered",
    "undelivered_bookings",
    "unfinished",
    "whole",
)

_BookingId = tuple[BookingKind, str]


@attrs.define(kw_only=True)
class History:
    """Everything that was written down, folded."""

    orders: dict[str, Order] = attrs.field(factory=dict)  # by client order id, oldest first
    sent_ns: dict[str, int] = attrs.field(factory=dict)  # wire time; without it an order never left
    groups: dict[str, GroupState] = attrs.field(factory=dict)  # by group id
    delivered: set[tuple[str, str]] = attrs.field(factory=set)  # (client order id, fill id)
    snapshot: Snapshot | None = None
    changes: dict[str, Decimal] = attrs.field(factory=dict)  # by asset: what the snapshot does not count yet
    fills_since: int = 0  # how many fills made them
    margin: MarginAccount = MarginAccount()  # noqa: RUF009 -- frozen; of a margin account, with everything counted
    bookings: dict[_BookingId, Booking] = attrs.field(factory=dict)  # oldest first
    told: set[_BookingId] = attrs.field(factory=set)  # bookings the strategy was told of
    began_ns: int | None = None  # market time of the first snapshot: what was booked before is in it
    halted: Halted | None = None
    states: dict[str, str] = attrs.field(factory=dict)
    run: str | None = None  # the last one that started
    is_running: bool = False  # and it has not ended of its own will
    crashed_before: bool = False  # when it started, the one before had not either


def replay(records: Iterable[Record]) -> History:
    """Return what ``records`` add up to.

    What memory refused is refused again: an event that contradicts its order
    changes nothing. Events of orders nobody here intended are passed over.
    """
    history = History()
    for record in records:
        _take(history, record)
    return history


def _take(history: History, record: Record) -> None:
    match record:
        case Intent(leg=leg):
            history.orders.setdefault(leg.client_order_id, new_order(leg))
            _take_instrument(history, leg.request.instrument)
        case Sent():
            history.sent_ns.setdefault(record.client_order_id, record.time_ns)
        case Event():
            _take_event(history, record)
        case GroupState(group=group):
            history.groups[group.group_id] = record
        case Delivered():
            history.delivered.add((record.client_order_id, record.fill_id))
        case _:
            _take_account(history, record)


def _take_account(history: History, record: Record) -> None:
    match record:
        case Snapshot():
            history.snapshot = record
            history.began_ns = record.time_ns if history.began_ns is None else history.began_ns
            history.changes.clear()
            history.fills_since = 0
            history.margin = adopted(history.margin, record.balances, record.positions, time_ns=record.time_ns)
        case Booked(booking=booking):
            _take_booking(history, booking)
        case BookingDelivered():
            history.told.add((record.kind, record.booking_id))
        case Halted():
            history.halted = record
        case Resumed():
            history.halted = None
            history.states.pop(DAY_START, None)  # the user has looked at what was lost
        case StrategyState():
            history.states[record.name] = record.text
        case RunStarted():
            history.crashed_before = history.is_running
            history.run, history.is_running = record.run, True
        case RunEnded():
            history.is_running = history.is_running and record.run != history.run
        case _:
            pass  # a remark, or a kind that only a newer btx can read


def _take_event(history: History, record: Event) -> None:
    before = history.orders.get(record.client_order_id)
    if before is None:
        return
    try:
        after = apply(before, record.order_event)
    except OrderTransitionError:
        return
    history.orders[record.client_order_id] = after
    history.fills_since += len(new_fills(before, after))
    if after.leg.request.instrument.kind.is_margined:
        history.margin = after_order(history.margin, before, after)
        return
    for asset, change in balance_steps(before, after).items():
        history.changes[asset] = history.changes.get(asset, Decimal(0)) + change


def _take_booking(history: History, booking: Booking) -> None:
    key = booking.kind, booking.booking_id
    if key not in history.bookings:
        history.bookings[key] = booking
        if counts(booking):
            history.margin = apply_booking(history.margin, booking)


def _take_instrument(history: History, instrument: Instrument) -> None:
    """Know an instrument from here on; what the last snapshot holds of it is counted from here on too."""
    if instrument.kind.is_margined and instrument.symbol not in history.margin.terms:
        history.margin = with_instrument(history.margin, instrument)
        reports = history.snapshot.positions if history.snapshot is not None else ()
        own = [each for each in reports if each.symbol == instrument.symbol]
        update = AccountUpdate(balances={}, positions=tuple(own), time_ns=0)
        history.margin = apply_update(history.margin, update)


def unfinished(history: History) -> dict[str, Order]:
    """Return the orders of which something is still to be heard, and all legs of groups that are not over."""
    kept = {
        owner_id
        for state in history.groups.values()
        if not state.is_over
        for owner_id in (state.group.group_id, *(member.member_id for member in state.group.everyone))
    }
    return {
        client_order_id: order
        for client_order_id, order in history.orders.items()
        if not order.is_settled or order.leg.owner_id in kept or order.leg.group_id in kept
    }


def whole(history: History, client_order_ids: Collection[str]) -> set[str]:
    """Return these orders, and the other legs of those that were split: an order is over when all of it is."""
    owners = {history.orders[each].leg.owner_id for each in client_order_ids if history.orders[each].leg.parts > 1}
    return {*client_order_ids, *(each for each, order in history.orders.items() if order.leg.owner_id in owners)}


def undelivered(history: History) -> dict[str, tuple[Fill, ...]]:
    """Return the fills the strategy was not told of, by client order id."""
    left = {
        client_order_id: tuple(fill for fill in order.fills if (client_order_id, fill.fill_id) not in history.delivered)
        for client_order_id, order in history.orders.items()
    }
    return {client_order_id: fills for client_order_id, fills in left.items() if fills}


def undelivered_bookings(history: History) -> tuple[Booking, ...]:
    """Return the bookings the strategy was not told of, oldest first."""
    return tuple(booking for key, booking in history.bookings.items() if key not in history.told and counts(booking))


def expected_totals(history: History, *, margined: bool = False) -> dict[Holding, Decimal] | None:
    """Return what the account must hold by what was written down, None before the first snapshot.

    Of a ``margined`` account these are wallets and positions.
    """
    snapshot = history.snapshot
    if snapshot is None:
        return None
    if margined:
        strange = [each for each in snapshot.positions if each.symbol not in history.margin.terms]
        return {
            **{Key(each.symbol, each.position_side): each.quantity for each in strange},
            **held(history.margin),
        }
    totals: dict[Holding, Decimal] = dict(snapshot.balances.items())
    for asset, change in history.changes.items():
        totals[asset] = totals.get(asset, Decimal(0)) + change
    return totals


def balance_steps(before: Order, after: Order) -> dict[str, Decimal]:
    """Return what a step of an order did to the account, by asset: its new fills, and fees that were told late."""
    instrument = after.leg.request.instrument
    known = {fill.fill_id: fill for fill in before.fills}
    steps: dict[str, Decimal] = {}
    for fill in after.fills:
        old = known.get(fill.fill_id)
        if old == fill:
            continue
        for asset, change in balance_changes(fill, instrument=instrument).items():
            steps[asset] = steps.get(asset, Decimal(0)) + change
        for asset, change in (balance_changes(old, instrument=instrument) if old is not None else {}).items():
            steps[asset] = steps.get(asset, Decimal(0)) - change
    return {asset: change for asset, change in steps.items() if change}


def positions(history: History) -> dict[Key, Position]:
    """Return the positions the delivered fills add up to; of spot with the fees in the base coin taken off."""
    fills = sorted(
        (
            (fill, order)
            for client_order_id, order in history.orders.items()
            for fill in order.fills
            if (client_order_id, fill.fill_id) in history.delivered
        ),
        key=lambda pair: (pair[0].time_ns, len(pair[0].fill_id), pair[0].fill_id),
    )
    found: dict[Key, Position] = {}
    for fill, order in fills:
        instrument, key = order.leg.request.instrument, Key(fill.symbol, fill.position_side)
        change = fill.side.sign * fill.quantity
        if not instrument.kind.is_margined:
            key, change = Key(fill.symbol), base_change(fill, base=instrument.base)
        before = found.get(key) or Position.of(instrument)
        found[key] = apply_fill(before, signed_quantity=change, price=fill.price).position
    return found


def never_left(history: History) -> tuple[str, ...]:
    """Return the orders that were intended and certainly never sent, so that nothing can rest of them."""
    return tuple(
        client_order_id
        for client_order_id, order in history.orders.items()
        if client_order_id not in history.sent_ns and order.status is Status.PENDING_NEW
    )
