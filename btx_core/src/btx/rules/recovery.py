"""What a journal adds up to: the one way from records to a state, for a restart as for a report.

Pure: records in, a :class:`History` out. Replaying a prefix of a journal gives the
state at that moment, replaying it twice the same state.
"""

from collections.abc import Iterable
from decimal import Decimal

import attrs

from btx.errors import OrderTransitionError
from btx.model.journal import (
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
from btx.rules.orders import apply, new_fills, new_order
from btx.rules.positions import Position, apply_fill, balance_changes, base_change

__all__ = (
    "History",
    "balance_steps",
    "expected_totals",
    "never_left",
    "positions",
    "replay",
    "undelivered",
    "unfinished",
)


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
            history.changes.clear()
            history.fills_since = 0
        case Halted():
            history.halted = record
        case Resumed():
            history.halted = None
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
    for asset, change in balance_steps(before, after).items():
        history.changes[asset] = history.changes.get(asset, Decimal(0)) + change
    history.fills_since += len(new_fills(before, after))


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


def undelivered(history: History) -> dict[str, tuple[Fill, ...]]:
    """Return the fills the strategy was not told of, by client order id."""
    left = {
        client_order_id: tuple(fill for fill in order.fills if (client_order_id, fill.fill_id) not in history.delivered)
        for client_order_id, order in history.orders.items()
    }
    return {client_order_id: fills for client_order_id, fills in left.items() if fills}


def expected_totals(history: History) -> dict[str, Decimal] | None:
    """Return what the account must hold by what was written down, None before the first snapshot."""
    if history.snapshot is None:
        return None
    totals = dict(history.snapshot.balances)
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


def positions(history: History) -> dict[str, Position]:
    """Return the position the delivered fills add up to, by symbol, fees in the base coin taken off."""
    fills = sorted(
        (
            (fill, order)
            for client_order_id, order in history.orders.items()
            for fill in order.fills
            if (client_order_id, fill.fill_id) in history.delivered
        ),
        key=lambda pair: (pair[0].time_ns, len(pair[0].fill_id), pair[0].fill_id),
    )
    found: dict[str, Position] = {}
    for fill, order in fills:
        instrument = order.leg.request.instrument
        change = base_change(fill, base=instrument.base)
        before = found.get(instrument.symbol, Position())
        found[instrument.symbol] = apply_fill(before, signed_quantity=change, price=fill.price).position
    return found


def never_left(history: History) -> tuple[str, ...]:
    """Return the orders that were intended and certainly never sent, so that nothing can rest of them."""
    return tuple(
        client_order_id
        for client_order_id, order in history.orders.items()
        if client_order_id not in history.sent_ns and order.status is Status.PENDING_NEW
    )
