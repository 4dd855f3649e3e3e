"""One cancels the others: the first order of a group to fill, even in part, ends the rest."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from btx.model.order import Group, Member, Order, Side, Status
from btx.rules.groups import (
    Cancel,
    Command,
    Cover,
    Decision,
    Ending,
    GroupFacts,
    PlaceExit,
    PlacePair,
    Replace,
    at_venue,
    covers,
    endings,
    is_reached,
    least_quantity,
    net,
    next_expiry,
    pair_of,
    refusals,
    same_terms,
    triggered,
    unwind,
)

__all__ = ("decide",)

_ZERO = Decimal(0)


def decide(group: Group, legs: Sequence[Order], *, facts: GroupFacts, now_ns: int) -> Decision:
    """Return what an OCO group needs now; its arguments are those of :func:`btx.rules.brackets.decide`.

    As in backtrader whatever ends one order ends the others: a fill, a cancel,
    its time, a refusal.  A group of one is an order that needs watching: one
    that trails or expires where the venue cannot do that itself.
    """
    state = _read(group, legs, facts, now_ns)
    step = _step(state)
    ended = _endings(state, busy=bool(step.commands) or step.waits)
    lasting = [each for each in group.members if each.member_id not in ended]
    times = [step.again_ns, next_expiry(lasting, now_ns)]
    return attrs.evolve(step, ended=ended, again_ns=min((time for time in times if time is not None), default=None))


@attrs.frozen(kw_only=True)
class _Oco:
    """An OCO group and what the venue has of it."""

    group: Group
    facts: GroupFacts
    now_ns: int
    legs: Mapping[str, tuple[Order, ...]]  # by member
    unwinds: tuple[Order, ...]
    off: Mapping[str, Ending]
    covers: tuple[Cover, ...]

    def filled(self, member: Member) -> Decimal:
        return sum((order.filled + order.missing for order in self.legs[member.member_id]), _ZERO)

    def rest(self, member: Member) -> Decimal:
        return member.request.quantity - self.filled(member)

    @property
    def winner(self) -> Member | None:
        """The member that filled first."""
        first = [
            (min(fill.time_ns for fill in order.fills), place, member)
            for place, member in enumerate(self.group.members)
            for order in self.legs[member.member_id]
            if order.fills
        ]
        return min(first, key=lambda each: each[:2])[2] if first else None

    @property
    def allowed(self) -> Decimal:
        """What may still be filled: the largest order of the winner's side, less what its side has filled."""
        winner = self.winner
        assert winner is not None  # nobody asks before there is one
        same = [each for each in self.group.members if each.request.side is winner.request.side]
        return max(each.request.quantity for each in same) - sum((self.filled(each) for each in same), _ZERO)


def _read(group: Group, legs: Sequence[Order], facts: GroupFacts, now_ns: int) -> _Oco:
    ids = [member.member_id for member in group.members]
    ours = [order for order in legs if order.leg.owner_id in ids]
    return _Oco(
        group=group,
        facts=facts,
        now_ns=now_ns,
        legs={each: tuple(order for order in ours if order.leg.owner_id == each) for each in ids},
        unwinds=tuple(order for order in legs if order.leg.owner_id not in ids),
        off=endings(group.members, group.withdrawn, now_ns),
        covers=covers(ours),
    )


def _step(state: _Oco) -> Decision:
    working = any(not order.status.is_final for order in state.unwinds)
    if working or not all(cover.is_settled for cover in state.covers):
        return Decision(waits=True)
    winner = state.winner
    lone = winner is not None and not state.off and 0 < state.rest(winner) <= state.allowed
    keep = winner if lone else None
    is_over = winner is not None or bool(state.off) or any(_has_ended(state, each) for each in state.group.members)
    if not is_over:
        return _rest_all(state)
    doomed = [each for each in state.covers if keep is None or keep.member_id not in _owners(each)]
    if doomed:
        return Decision(commands=tuple(cancel for each in doomed for cancel in each.cancels))
    undone = _undo(state, winner) if winner is not None else Decision()
    if keep is None or undone.commands or _has_ended(state, keep):
        return undone
    return attrs.evolve(_rest_one(state, keep), excess=undone.excess, again_ns=undone.again_ns)


def _owners(cover: Cover) -> set[str]:
    return {order.leg.owner_id for order in cover.orders}


def _undo(state: _Oco, winner: Member) -> Decision:
    side = winner.request.side
    losers = [
        order
        for member in state.group.members
        if member.request.side is not side
        for order in state.legs[member.member_id]
    ]
    too_much = side.sign * max(-state.allowed, _ZERO)
    excess = too_much + net((*losers, *state.unwinds), side=Side.BUY)
    reason = "two orders filled of which one was to cancel the other"
    return unwind(excess, winner.request, state.unwinds, state.facts, state.now_ns, reason=reason)


# --- placing and amending ---------------------------------------------------------------------------------


def _rest_all(state: _Oco) -> Decision:
    """Return what makes every member rest as the strategy wants it now."""
    idle = [each for each in state.group.members if not _is_open(state, each)]
    pair = _pair(state)
    if pair is not None and len(idle) == 2:
        stop, limit = pair
        return Decision(commands=(PlacePair(quantity=limit.request.quantity, stop=stop, limit=limit),))
    if pair is not None and len(idle) == 1 and not state.legs[idle[0].member_id]:
        return Decision(commands=(Cancel(client_order_id=state.covers[0].orders[0].client_order_id),))
    steps = [_rest_one(state, each) for each in state.group.members]
    commands: list[Command] = []
    for command in (command for step in steps for command in step.commands):
        if command not in commands:  # of a list each order asks for the same end
            commands.append(command)
    return Decision(commands=tuple(commands))


def _pair(state: _Oco) -> tuple[Member, Member] | None:
    """Return stop and limit when they can rest as one list: one side and quantity, in their right places."""
    everything = [order for orders in state.legs.values() for order in orders]
    pair = pair_of(state.group.members, state.facts)
    if pair is None or refusals(everything).was_list:
        return None
    stop, limit = (each.request for each in pair)
    same = (stop.side, stop.quantity, stop.instrument) == (limit.side, limit.quantity, limit.instrument)
    target, trigger = limit.price or limit.trigger_price, stop.trigger_price
    if not same or target is None:
        return None
    apart = trigger is None or (target > trigger if stop.side is Side.SELL else target < trigger)
    return pair if apart else None


def _rest_one(state: _Oco, member: Member) -> Decision:
    sent = at_venue(member, state.facts)
    if sent is None:
        return Decision()
    if sent.request.order_type is not member.request.order_type and is_reached(sent.request, state.facts.last_price):
        sent = triggered(sent)  # a trailing stop that was moved here: the market has come back to it
    if not _is_open(state, member):
        return Decision(commands=(PlaceExit(member=sent, quantity=state.rest(member)),))
    newest = state.legs[member.member_id][-1]
    if newest.status.is_final or _is_current(state, member, newest) or _is_dust(state, member):
        return Decision()  # final: the amendment was refused
    command: Command = Replace(client_order_id=newest.client_order_id, member=sent, quantity=state.rest(member))
    if newest.leg.list_id is not None:
        doomed = next(each for each in state.covers if newest in each.orders)
        command = Cancel(client_order_id=doomed.orders[0].client_order_id)
    return Decision(commands=(command,))


def _is_open(state: _Oco, member: Member) -> bool:
    return any(not order.status.is_final for order in state.legs[member.member_id])


def _is_current(state: _Oco, member: Member, order: Order) -> bool:
    same = same_terms(order, at_venue(member, state.facts))
    return same and order.remaining - order.missing == state.rest(member)


# --- how members end ----------------------------------------------------------------------------------------


def _has_ended(state: _Oco, member: Member) -> bool:
    """Say whether nothing of a member is open, and nothing of it is to be placed."""
    orders = state.legs[member.member_id]
    if not orders or _is_open(state, member):
        return False
    newest = orders[-1]
    if state.rest(member) <= 0:
        return True
    is_of_list, joined = newest.leg.list_id is not None, _is_joined(state)
    if newest.status is Status.REJECTED if is_of_list else newest.status is Status.CANCELED and joined:
        return False  # the venue does not want the list: each goes alone; or it was cancelled to be of one
    if newest.status is not Status.CANCELED and newest.status is not Status.EXPIRED:
        return True
    if _is_dust(state, member):
        return True
    together = _sent_with(state, newest)
    return all(_is_current(state, owner, order) for owner, order in together)  # else it was cancelled to be amended


def _is_joined(state: _Oco) -> bool:
    """Say whether an order rests, or rested, alone that another joined: both rest as a list from then on.

    So the venue keeps them apart while no process runs, and what they sell is
    reserved once.
    """
    return _pair(state) is not None and not all(state.legs[each.member_id] for each in state.group.members)


def _is_dust(state: _Oco, member: Member) -> bool:
    """Say whether what is left of a member is too little to be placed anew."""
    return state.rest(member) < least_quantity([member.request], state.facts.last_price)


def _sent_with(state: _Oco, order: Order) -> list[tuple[Member, Order]]:
    return [
        (member, each)
        for member in state.group.members
        for each in state.legs[member.member_id]
        if each is order or (order.leg.list_id is not None and each.leg.list_id == order.leg.list_id)
    ]


def _endings(state: _Oco, *, busy: bool) -> dict[str, Ending]:
    """Return how the members ended; nothing before the last of them has."""
    orders = [*(order for each in state.legs.values() for order in each), *state.unwinds]
    over = state.off or any(_has_ended(state, each) for each in state.group.members)
    if busy or not over or not all(order.is_settled for order in orders):
        return {}
    return {each.member_id: _ending(state, each) for each in state.group.members}


def _ending(state: _Oco, member: Member) -> Ending:
    if state.rest(member) <= 0:
        return Status.FILLED, ""
    if state.off:
        return state.off[member.member_id]
    winner, orders = state.winner, state.legs[member.member_id]
    if (winner is None or winner is member) and orders and _has_ended(state, member):
        evidence = orders[-1].evidence
        return orders[-1].status, evidence.reason if evidence is not None else ""
    return Status.CANCELED, "another order of its group ended"
