"""Groups kept: brackets and OCO orders are looked after from their first leg to their last fill.

The keeper decides nothing: after each change of a group's legs it asks
:mod:`btx.rules.brackets` what the group needs now, and has the desk do it.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import attrs

from btx.errors import BtxError
from btx.model.journal import GroupState
from btx.model.order import (
    Group,
    GroupKind,
    Leg,
    ListKind,
    Member,
    Order,
    OrderList,
    OrderRequest,
    OrderType,
    Pending,
    Side,
    Status,
)
from btx.model.venue import Capabilities
from btx.ports import Clock
from btx.rules import trailing
from btx.rules.brackets import decide
from btx.rules.capabilities import expires_natively
from btx.rules.groups import (
    CONDITIONAL,
    Cancel,
    Command,
    Decision,
    GroupFacts,
    PlaceEntry,
    PlaceExit,
    PlacePair,
    Replace,
    Unwind,
)
from btx.rules.orders import new_fills
from btx.rules.wallet import Key
from btx.runtime.mailbox import MemberEnded, MemberUnchanged
from btx.runtime.naked import NakedWatch
from btx.runtime.tasks import Tasks

__all__ = ("Desk", "Keeper", "alone", "needs_keeper")

_ZERO = Decimal(0)
_NS_PER_S = 1_000_000_000
_SHORTEST_S = 0.01  # between two looks at a market time that may stand still
_REFUSED_S = 1.0  # after a refused cancel, until the venue has said what became of the order
_STALE = "it was not at the venue when this process began, and is not sent on an old signal"
_ENTRY_LISTS = {0: None, 1: ListKind.OTO, 2: ListKind.OTOCO}


class Desk(Protocol):
    """What the keeper needs of the desk. Everything returns at once, on btx-io."""

    @property
    def orders(self) -> Mapping[str, Order]:
        """Every order by client order id, oldest first; a leg is in it from the moment it is submitted."""

    @property
    def open_orders(self) -> Mapping[str, Order]:
        """Those of which something is still to be heard."""

    def legs(self, *names: str) -> Sequence[Order]:
        """Return the orders of these owners and groups, oldest first."""

    def next_id(self) -> str:
        """Return a fresh client order id."""

    def submit(self, leg: Leg) -> None:
        """Write a leg down and send it."""

    def submit_list(self, order_list: OrderList) -> None:
        """Write legs down and send them in one request."""

    def cancel(self, client_order_id: str) -> None:
        """Ask for the end of an order, and of the list it belongs to. Idempotent."""

    def replace(self, client_order_id: str, new: Leg) -> None:
        """Put a leg in the place of an open order."""

    def listen(self, on_change: Callable[[Order | None, Order], None]) -> None:
        """Tell of each step of each order: before and after."""

    def write_group(self, state: GroupState) -> Awaitable[None]:
        """Have a group on disk.

        Raises:
            JournalError: it is not.
        """


def needs_keeper(request: OrderRequest, capabilities: Capabilities) -> bool:
    """Say whether a single order trails or expires where the venue cannot do that itself."""
    expires = request.expires_ns is not None and not expires_natively(request, capabilities)
    trails = trailing.is_emulated(request, trailing_bps=capabilities.trailing_bps)
    return expires or (trails and not trailing.is_of_position(request, position_trail=capabilities.position_trail))


def alone(member_id: str, request: OrderRequest) -> Group:
    """Return the group of one that makes the keeper look after a single order."""
    member = Member(member_id=member_id, request=request)
    return Group(group_id=member_id, kind=GroupKind.OCO, members=(member,))


@attrs.define(kw_only=True)
class _Exchange:
    """An order that is being replaced."""

    old: str
    until_s: float | None = None  # loop time at which nobody believes in the new one any more


@attrs.define(kw_only=True)
class _Kept:
    """A group, what is known of it, and what is to happen."""

    group: Group
    written: Group  # as it stands on disk, and what is in force whether it came there or not
    disk: asyncio.Lock = attrs.field(factory=asyncio.Lock)  # one write at a time: what fails is in no later one
    legs: dict[str, None] = attrs.field(factory=dict)  # client order ids, oldest first
    is_ready: bool = False  # on disk, so its legs may be sent
    stale: set[str] = attrs.field(factory=set)  # members that were not at the venue when the process began
    told: dict[str, MemberEnded] = attrs.field(factory=dict)
    exchanges: dict[str, _Exchange] = attrs.field(factory=dict)  # by the new leg, which the desk has yet to show
    turn: asyncio.Handle | None = None
    again: asyncio.TimerHandle | None = None
    again_ns: int | None = None
    excess: Decimal = _ZERO

    @property
    def everyone(self) -> tuple[Member, ...]:
        return self.group.everyone

    @property
    def symbol(self) -> str:
        return self.everyone[0].request.instrument.symbol

    @property
    def is_over(self) -> bool:
        return len(self.told) == len(self.everyone)


class Keeper:
    """Looks after all groups of a session. Lives on btx-io.

    ``post`` gets the end of each member, once, and what could not be amended;
    ``written`` each group when it is on disk; ``on_naked(group_id, quantity, seconds)`` is told once of each
    stretch in which a group is naked for longer than ``alarm_s``; ``progressed``
    is called after everything that may have changed ``is_busy``.  An order that
    was cancelled to be replaced is waited for ``patience_s``, then decided upon
    like any other that ended.  ``position`` says what is there to be closed, None where that is not known.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        capabilities: Capabilities,
        clock: Clock,
        post: Callable[[MemberEnded | MemberUnchanged], None],
        note: Callable[[str, str], None],
        written: Callable[[Group], None] = lambda _group: None,
        on_naked: Callable[[str, Decimal, float], None] = lambda _group_id, _quantity, _seconds: None,
        progressed: Callable[[], None] = lambda: None,
        alarm_s: float = 5.0,
        patience_s: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
        position: Callable[[Key], Decimal | None] = lambda _key: None,
    ) -> None:
        self._position = position
        self._desk = desk
        self._capabilities = capabilities
        self._clock = clock
        self._post = post
        self._note = note
        self._written = written
        self._progressed = progressed
        self._patience_s = patience_s
        self._kept: dict[str, _Kept] = {}
        self._living: dict[str, _Kept] = {}  # those that are not over
        self._naked = NakedWatch(on_naked=on_naked, alarm_s=alarm_s, monotonic=monotonic)
        self._due: set[str] = set()  # groups that are about to be decided upon
        self._waits = False  # for a step to be complete
        self._group_of: dict[str, str] = {}  # by member
        self._prices: dict[str, tuple[int, Decimal]] = {}  # by symbol: market time and price, the newest
        self._crowded: dict[str, _Kept] = {}  # groups without room for a stop
        self._conditional: dict[str, Order] = {}  # open orders that wait for a trigger
        self._writing = 0
        self._tasks = Tasks(lambda what, error: note("FATAL", f"{what}: {type(error).__name__}: {error}"))
        for order in desk.open_orders.values():
            self._count_conditional(order)
        desk.listen(self._on_change)

    # --- what is known ---------------------------------------------------------------------------------

    @property
    def naked(self) -> Mapping[str, Decimal]:
        """What is filled and not protected now, by group id."""
        return self._naked.quantities

    @property
    def naked_seconds_total(self) -> float:
        """For how long groups were naked, summed over all of them, in this process."""
        return self._naked.seconds_total

    @property
    def longest_naked_s(self) -> float:
        """The longest single stretch in which a group was naked, in this process."""
        return self._naked.longest_s

    @property
    def is_busy(self) -> bool:
        """A decision or a write is about to happen, without anything from outside."""
        return self._writing > 0 or (bool(self._due) and not self._waits)

    @property
    def is_due(self) -> bool:
        """Groups wait for :meth:`decide_due`."""
        return self._waits and bool(self._due)

    def wait_for_steps(self) -> None:
        """Decide from here on when told: in lockstep, where which of two sockets was faster must not matter."""
        self._waits = True

    def decide_due(self) -> None:
        """Decide upon every group that something has happened to, the oldest first."""
        for group_id, kept in tuple(self._kept.items()):
            if group_id in self._due and kept.turn is None:
                self._round(kept)

    def end_steps(self) -> None:
        """Decide at once again."""
        self._waits = False
        self.decide_due()

    # --- what the strategy does --------------------------------------------------------------------------

    def knows(self, member_id: str) -> bool:
        """Say whether an order is looked after here, and not over."""
        return self._of_member(member_id) is not None

    def take(self, group: Group) -> None:
        """Look after a new group: it is written down, then its first legs are sent.

        Members that are at the venue already, as single orders, keep their legs.

        Raises:
            BtxError: a group of that id was taken before.
        """
        kept = self._keep(group)
        kept.legs.update(dict.fromkeys(self._legs_of(group)))
        self._start(self._take(kept), f"writing group {group.group_id} down")

    def recover(self, groups: Iterable[Group]) -> None:
        """Go on with groups of an earlier process, whose legs are among the desk's orders.

        To be called when the venue has answered what became of the orders that
        were open: what rests is not taken from the journal's word. A group with
        a leg whose outcome is unknown even then does nothing until it is known.

        An entry that does not work at the venue is not sent any more: the bar it
        was decided on may be hours old. What it has filled keeps its exits.
        """
        for group in groups:
            kept = self._keep(group)
            orders = self._legs_of(group)
            kept.legs.update(dict.fromkeys(orders))
            self._withdraw_stale(kept)
            for member in kept.everyone:
                self._catch_up_trail(kept, member, orders.values())
            kept.is_ready = True
            self._schedule(kept)

    def _withdraw_stale(self, kept: _Kept) -> None:
        group, orders = kept.group, self._orders(kept)
        try:
            ended = decide(group, orders, facts=self._facts(kept, None), now_ns=self._clock.market_ns()).ended
        except Exception as error:  # noqa: BLE001 -- one group must not end the start: its round tells of it
            self._on_broken(kept, error)
            return
        for member_id in _stale(group, orders):
            if member_id not in ended:
                kept.stale.add(member_id)
                self._note("STALE", f"group {group.group_id}: order {member_id}: {_STALE}")
                self.cancel(member_id)

    def add(self, member: Member, *, to: str) -> None:
        """Tie one more order to the group of the member ``to``, when that is on disk.

        Raises:
            BtxError: there is no such group.
        """
        kept = self._of_member(to)
        if kept is None:
            raise BtxError(f"there is no group of order {to} that order {member.member_id} could belong to")
        self._group_of[member.member_id] = kept.group.group_id
        self._start(self._add(kept, member), f"writing {member.member_id} into its group")

    def _legs_of(self, group: Group) -> dict[str, Order]:
        legs = self._desk.legs(group.group_id, *(member.member_id for member in group.everyone))
        return {order.client_order_id: order for order in legs}

    def is_exit(self, member_id: str) -> bool:
        """Say whether an order leaves what its bracket's entry has filled, so that it opens nothing. Any thread."""
        kept = self._of_member(member_id)
        entry = kept.group.entry if kept is not None else None
        return entry is not None and entry.member_id != member_id

    def cancel(self, member_id: str) -> None:
        """Take an order of a group back, and what is tied to it. It does not wait for the disk."""
        kept = self._of_member(member_id)
        if kept is not None and member_id not in kept.group.withdrawn:
            change = functools.partial(_without, member_id=member_id)
            kept.group = change(kept.group)
            self._start(self._write_in_force(kept, change), f"writing the cancel of {member_id} down")
            self._schedule(kept)

    def amend(self, member_id: str, request: OrderRequest) -> None:
        """Have an order of a group as ``request`` says from now on, when that is on disk."""
        kept = self._of_member(member_id)
        if kept is not None:
            self._start(self._amend(kept, member_id, request), f"writing the amendment of {member_id} down")

    def on_price(self, symbol: str, high: Decimal, low: Decimal, close: Decimal, *, time_ns: int | None = None) -> None:
        """Hear where the market was (a closed bar) and is; for a single price all three are the same.

        ``time_ns`` is the market time of ``close``, now if it is not said.
        """
        self._learn_price(symbol, close, self._clock.market_ns() if time_ns is None else time_ns)
        for kept in tuple(self._living.values()):
            if kept.symbol != symbol:
                continue
            for member in kept.everyone:
                self._trail(kept, member, high, low, close)
            self._schedule(kept)

    def on_time(self) -> None:
        """Hear that the market's time has moved by itself, as it does in lockstep: something may be due."""
        for kept in self._kept.values():
            if kept.again is not None and not kept.is_over:
                self._schedule(kept)

    async def stop(self) -> None:
        """Decide nothing any more; what is being written is written."""
        for kept in self._kept.values():
            for handle in (kept.turn, kept.again):
                if handle is not None:
                    handle.cancel()
            kept.is_ready = False
            kept.turn = None
        self._due.clear()
        self._naked.stop()
        await self._tasks.drain(1.0)
        await self._tasks.stop()

    # --- on disk -----------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        def done(_task: "asyncio.Task[None]") -> None:
            self._writing -= 1
            self._progressed()

        async def whole() -> None:
            await work

        self._writing += 1
        self._tasks.start(whole(), what=what).add_done_callback(done)

    async def _take(self, kept: _Kept) -> None:
        try:
            await self._desk.write_group(self._state(kept.group))
        except BtxError as error:
            for member in kept.everyone:
                self._end(kept, member.member_id, Status.REJECTED, str(error))
            return
        kept.is_ready = True
        self._written(kept.group)
        self._schedule(kept)

    async def _add(self, kept: _Kept, member: Member) -> None:
        reason = await self._change(kept, functools.partial(_with_member, member=member))
        if reason is not None:
            group_id = self._group_of.pop(member.member_id)
            self._post(
                MemberEnded(group_id=group_id, member_id=member.member_id, status=Status.REJECTED, reason=reason)
            )

    async def _amend(self, kept: _Kept, member_id: str, request: OrderRequest) -> None:
        reason = await self._change(kept, functools.partial(_with_request, member_id=member_id, request=request))
        if reason is not None:
            self._post(MemberUnchanged(group_id=kept.group.group_id, member_id=member_id, reason=reason))

    async def _change(self, kept: _Kept, change: Callable[[Group], Group]) -> str | None:
        """Change a group when that is on disk; return why it is not, None when it is."""
        async with kept.disk:
            changed = change(kept.written)
            reason = await self._write(kept, changed)
            if reason is None:
                kept.written, kept.group = changed, change(kept.group)
        if reason is None:
            if not kept.is_over:
                self._living[kept.group.group_id] = kept  # it may have been, when it was without the new member
            self._written(kept.group)
            self._schedule(kept)
        return reason

    async def _write_in_force(self, kept: _Kept, change: Callable[[Group], Group]) -> None:
        """Write down what has happened already; where the disk does not take it, it is in the next write."""
        async with kept.disk:
            kept.written = change(kept.written)
            await self._write(kept, kept.written)

    async def _write(self, kept: _Kept, group: Group) -> str | None:
        try:
            await self._desk.write_group(self._state(group, is_over=kept.is_over))
        except BtxError as error:
            self._note("FAULT", f"group {group.group_id}: a change is not on disk: {error}")
            return str(error)
        return None

    def _state(self, group: Group, *, is_over: bool = False) -> GroupState:
        return GroupState(group=group, is_over=is_over, time_ns=self._clock.wire_ns())

    def _keep(self, group: Group) -> _Kept:
        if group.group_id in self._kept:
            raise BtxError(f"group {group.group_id} was taken before")
        kept = self._kept[group.group_id] = self._living[group.group_id] = _Kept(group=group, written=group)
        self._group_of.update({member.member_id: group.group_id for member in kept.everyone})
        return kept

    def _of_member(self, member_id: str) -> _Kept | None:
        kept = self._kept.get(self._group_of.get(member_id, ""))
        return kept if kept is not None and member_id not in kept.told else None

    # --- trailing stops the venue does not know -----------------------------------------------------------

    def _trails(self, kept: _Kept, member: Member) -> bool:
        """Say whether a member trails here, and its time has come: an exit trails from the first fill on."""
        if not trailing.is_emulated(member.request, trailing_bps=self._capabilities.trailing_bps):
            return False
        entry = kept.group.entry
        if entry is None or entry is member:
            return True
        return any(order.fills for order in self._orders(kept) if order.leg.owner_id == entry.member_id)

    def _trail(self, kept: _Kept, member: Member, high: Decimal, low: Decimal, close: Decimal) -> None:
        if self._trails(kept, member):
            current = member.request.trigger_price
            trigger = trailing.next_trigger(member.request, current, high=high, low=low, close=close)
            if trigger is not None:
                self._move(kept, member, trigger)

    def _catch_up_trail(self, kept: _Kept, member: Member, orders: Collection[Order]) -> None:
        """Find where a stop was moved to that is open, if that was not written down any more."""
        for order in orders:
            resting, current = order.leg.request.trigger_price, member.request.trigger_price
            if order.leg.owner_id != member.member_id or order.status.is_final or resting is None:
                continue
            gained = (
                resting - (current or resting) if member.request.side is Side.SELL else (current or resting) - resting
            )
            if self._trails(kept, member) and (current is None or gained > 0):
                self._move(kept, member, resting)

    def _move(self, kept: _Kept, member: Member, trigger: Decimal) -> None:
        request = trailing.moved(member.request, trigger)
        change = functools.partial(_with_request, member_id=member.member_id, request=request)
        kept.group = change(kept.group)
        self._start(self._write_in_force(kept, change), f"writing the trail of {member.member_id} down")

    # --- rounds ------------------------------------------------------------------------------------------

    def _on_change(self, before: Order | None, after: Order) -> None:
        fresh = after.fills if before is None else new_fills(before, after)
        if fresh:
            self._learn_price(fresh[-1].symbol, fresh[-1].price, fresh[-1].time_ns)
            if after.leg.request.instrument.kind.is_margined:
                self._on_position(after.leg.request.instrument.symbol)
        self._count_conditional(after)
        kept = self._kept.get(after.leg.group_id or self._group_of.get(after.leg.owner_id, ""))
        if kept is None:
            return
        kept.legs.setdefault(after.client_order_id)
        was_refused = before is not None and before.pending is Pending.CANCEL and after.pending is None
        if was_refused and not after.status.is_final:
            self._look_again(kept, _REFUSED_S)
        else:
            self._schedule(kept)

    def _on_position(self, symbol: str) -> None:
        """Decide anew about every group of an instrument: a fill of any order changes what is there to be closed."""
        for kept in self._living.values():
            if kept.symbol == symbol:
                self._schedule(kept)

    def _learn_price(self, symbol: str, price: Decimal, time_ns: int) -> None:
        """Keep a price, unless a newer one is known: a fill may be told after the bar that closed after it."""
        known = self._prices.get(symbol)
        if known is None or time_ns >= known[0]:
            self._prices[symbol] = (time_ns, price)

    def _count_conditional(self, order: Order) -> None:
        if order.status.is_final:
            if self._conditional.pop(order.client_order_id, None) is not None:
                for kept in self._crowded.values():
                    self._schedule(kept)
        elif order.leg.request.order_type in CONDITIONAL:
            self._conditional[order.client_order_id] = order

    def _schedule(self, kept: _Kept) -> None:
        if kept.turn is not None or not kept.is_ready:
            return
        self._due.add(kept.group.group_id)
        if self._waits:
            self._progressed()
        else:
            kept.turn = asyncio.get_running_loop().call_soon(self._round, kept)

    def _look_again(self, kept: _Kept, seconds: float) -> None:
        if kept.again is not None:
            kept.again.cancel()
        kept.again = asyncio.get_running_loop().call_later(seconds, self._schedule, kept)

    def _round(self, kept: _Kept) -> None:
        kept.turn = None
        self._due.discard(kept.group.group_id)
        try:
            self._decide(kept)
        except Exception as error:  # noqa: BLE001 -- a position may be without protection: that must not pass unseen
            self._on_broken(kept, error)
        self._progressed()

    def _on_broken(self, kept: _Kept, error: Exception) -> None:
        self._note("FATAL", f"group {kept.group.group_id}: {type(error).__name__}: {error}")

    def _decide(self, kept: _Kept) -> None:
        _, price = self._prices.get(kept.symbol, (0, None))
        for member in kept.everyone:
            if price is not None and member.request.trigger_price is None:
                self._trail(kept, member, price, price, price)
        orders = self._orders(kept)
        now_ns = self._clock.market_ns()
        decision = decide(kept.group, orders, facts=self._facts(kept, price), now_ns=now_ns)
        self._measure(kept, decision)
        self._crowd(kept, is_crowded=decision.is_crowded)
        for member_id, (status, reason) in decision.ended.items():
            self._end(kept, member_id, status, reason)
        if self._replacing(kept):
            return
        for command in decision.commands:
            self._do(kept, command)
        if decision.again_ns is not None:
            self._look_again(kept, max((decision.again_ns - now_ns) / _NS_PER_S, _SHORTEST_S))

    def _crowd(self, kept: _Kept, *, is_crowded: bool) -> None:
        """Have the other groups of the instrument make room, when one has none for its stop."""
        group_id = kept.group.group_id
        if not is_crowded:
            self._crowded.pop(group_id, None)
        elif group_id not in self._crowded:
            self._crowded[group_id] = kept
            for other_id in {order.leg.group_id for order in self._conditional.values()}:
                other = self._kept.get(other_id or "")
                if other is not None and other is not kept and other.symbol == kept.symbol:
                    self._schedule(other)

    def _orders(self, kept: _Kept) -> tuple[Order, ...]:
        orders = self._desk.orders
        return tuple(orders[each] for each in kept.legs if each in orders)

    def _facts(self, kept: _Kept, price: Decimal | None) -> GroupFacts:
        others = [
            order
            for order in self._conditional.values()
            if order.leg.group_id != kept.group.group_id and order.leg.request.instrument.symbol == kept.symbol
        ]
        return GroupFacts(
            capabilities=self._capabilities,
            last_price=price,
            open_conditional=len(others),
            is_crowded=any(other is not kept and other.symbol == kept.symbol for other in self._crowded.values()),
            position=self._position(Key(kept.symbol, kept.everyone[0].request.position_side)),
        )

    def _replacing(self, kept: _Kept) -> bool:
        """Say whether the desk is still about to place a leg in the stead of another."""
        orders, now_s = self._desk.orders, asyncio.get_running_loop().time()
        for new, exchange in list(kept.exchanges.items()):
            old = orders[exchange.old]
            if new in orders or old.status is Status.FILLED:
                del kept.exchanges[new]
            elif old.is_settled and exchange.until_s is None:
                exchange.until_s = now_s + self._patience_s
                self._look_again(kept, self._patience_s)
            elif exchange.until_s is not None and now_s >= exchange.until_s:
                del kept.exchanges[new]
                self._note("FAULT", f"group {kept.group.group_id}: nothing took the place of order {exchange.old}")
        return bool(kept.exchanges)

    def _end(self, kept: _Kept, member_id: str, status: Status, reason: str) -> None:
        if member_id not in kept.told:
            if member_id in kept.stale and status is Status.CANCELED:
                reason = _STALE
            kept.told[member_id] = MemberEnded(
                group_id=kept.group.group_id, member_id=member_id, status=status, reason=reason
            )
            self._post(kept.told[member_id])
            if kept.is_over:
                del self._living[kept.group.group_id]
                self._start(self._write_in_force(kept, _as_it_is), f"writing the end of {kept.group.group_id} down")

    # --- commands ----------------------------------------------------------------------------------------

    def _do(self, kept: _Kept, command: Command) -> None:
        match command:
            case PlaceEntry():
                entry = self._leg(kept, command.member, command.quantity, first=True)
                kind = _ENTRY_LISTS[len(command.exits)]
                exits = [self._leg(kept, each, command.quantity) for each in command.exits]
                self._send(kept, (entry, *exits), kind)
            case PlacePair():
                pair = (command.limit, command.stop)
                legs = tuple(self._leg(kept, each, command.quantity) for each in pair)
                if ListKind.OCO in self._capabilities.order_lists:
                    self._send(kept, legs, ListKind.OCO)
                else:
                    pair_id = self._desk.next_id()
                    for leg in reversed(legs):  # the stop first: it is what protects
                        self._send(kept, (attrs.evolve(leg, pair_id=pair_id),))
            case PlaceExit():
                first = kept.group.kind is GroupKind.OCO
                self._send(kept, (self._leg(kept, command.member, command.quantity, first=first),))
            case Replace():
                paired = self._desk.orders[command.client_order_id].leg.pair_id
                new = attrs.evolve(self._leg(kept, command.member, command.quantity), pair_id=paired)
                kept.legs.setdefault(new.client_order_id)
                kept.exchanges[new.client_order_id] = _Exchange(old=command.client_order_id)
                self._desk.replace(command.client_order_id, new)
            case Cancel():
                self._desk.cancel(command.client_order_id)
            case Unwind():
                self._note("UNWIND", f"group {kept.group.group_id}: {command.reason}: {command.quantity} at market")
                self._send(kept, (self._unwinding(kept, command),))

    def _send(self, kept: _Kept, legs: tuple[Leg, ...], kind: ListKind | None = None) -> None:
        kept.legs.update(dict.fromkeys(leg.client_order_id for leg in legs))
        if kind is None:
            self._desk.submit(legs[0])
            return
        list_id = self._desk.next_id()
        together = tuple(attrs.evolve(leg, list_id=list_id) for leg in legs)
        self._desk.submit_list(OrderList(list_id=list_id, kind=kind, legs=together))

    def _leg(self, kept: _Kept, member: Member, quantity: Decimal, *, first: bool = False) -> Leg:
        is_free = first and member.member_id not in self._desk.orders
        return Leg(
            client_order_id=member.member_id if is_free else self._desk.next_id(),
            request=attrs.evolve(member.request, quantity=quantity),
            quantity=quantity,
            member_id=member.member_id,
            group_id=kept.group.group_id,
        )

    def _unwinding(self, kept: _Kept, command: Unwind) -> Leg:
        request = OrderRequest(
            instrument=command.instrument,
            side=command.side,
            order_type=OrderType.MARKET,
            quantity=command.quantity,
            position_side=kept.everyone[0].request.position_side,
            signal_ns=self._clock.market_ns(),
        )
        group_id = kept.group.group_id
        return Leg(client_order_id=self._desk.next_id(), request=request, quantity=command.quantity, group_id=group_id)

    def _measure(self, kept: _Kept, decision: Decision) -> None:
        group_id = kept.group.group_id
        self._naked.measure(group_id, decision.naked)
        if decision.excess and decision.excess != kept.excess:
            text = f"{decision.excess} too much is below the venue's minimum and stays in the position"
            self._note("EXCESS", f"group {group_id}: {text}")
        kept.excess = decision.excess


def _stale(group: Group, legs: Collection[Order]) -> tuple[str, ...]:
    """Return the members that a new process must not send: an entry not working, all where none ever was."""
    if not legs:
        return tuple(member.member_id for member in ((group.entry,) if group.entry is not None else group.members))
    if group.entry is None:
        return ()
    own = [order for order in legs if order.leg.owner_id == group.entry.member_id]
    filled = sum((order.filled + order.missing for order in own), _ZERO)
    works = any(not order.status.is_final for order in own)
    return () if works or filled >= group.entry.request.quantity else (group.entry.member_id,)


def _without(group: Group, *, member_id: str) -> Group:
    return attrs.evolve(group, withdrawn=(*group.withdrawn, member_id))


def _as_it_is(group: Group) -> Group:
    return group


def _with_member(group: Group, *, member: Member) -> Group:
    return attrs.evolve(group, members=(*group.members, member))


def _with_request(group: Group, *, member_id: str, request: OrderRequest) -> Group:
    def changed(member: Member) -> Member:
        return attrs.evolve(member, request=request) if member.member_id == member_id else member

    entry = changed(group.entry) if group.entry is not None else None
    return attrs.evolve(group, entry=entry, members=tuple(changed(each) for each in group.members))
