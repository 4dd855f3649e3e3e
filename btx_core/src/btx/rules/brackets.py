"""Brackets and OCO groups: what to do next, from what the strategy tied together and the legs there are.

``decide`` is a function of state alone, so a restart is nothing special: the
group is read from the journal, the legs are the orders that carry its id, and
what was about to be done is decided again.

A bracket's exits protect what its entry *filled* (spot: less the fees taken in
the coin).  One cover protects one increment: an OCO list of the venue, or one
resting exit whose sibling is sent when the price reaches it.  What is below the
venue's minimum is pooled until it is not, and counted as naked like everything
else that no stop covers.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import attrs

from btx.model.order import Group, GroupKind, ListKind, Member, Order, Status
from btx.rules import oco
from btx.rules.groups import (
    CONDITIONAL,
    STOPS,
    Cancel,
    Command,
    Cover,
    Decision,
    Ending,
    GroupFacts,
    PlaceEntry,
    PlaceExit,
    PlacePair,
    Refusals,
    Replace,
    as_exit,
    at_venue,
    covers,
    endings,
    is_answered,
    is_bounded,
    is_expired,
    is_reached,
    least_quantity,
    net,
    next_expiry,
    pair_of,
    refusals,
    same_terms,
    side_by_side,
    triggered,
    unwind,
)
from btx.rules.positions import split_dust

__all__ = ("decide",)

_ZERO = Decimal(0)
_LOOK_AGAIN_NS = 1_000_000_000  # what others have open changes without a word to this group
_AT_ONCE = "immediately"  # what every venue known so far says of a stop that would trigger as it is placed


def decide(group: Group, legs: Sequence[Order], *, facts: GroupFacts, now_ns: int) -> Decision:
    """Return what a group needs now.

    ``legs`` are all orders of the group that were ever intended, oldest first,
    in whatever process; ``now_ns`` is market time.
    """
    if group.kind is GroupKind.OCO:
        return oco.decide(group, legs, facts=facts, now_ns=now_ns)
    bracket = _read(group, legs, facts, now_ns)
    entry, exits = _entry(bracket), _exits(bracket)
    ended = _exit_endings(bracket)
    if bracket.entry_end is not None:
        ended[bracket.entry.member_id] = bracket.entry_end
    lasting = [each for each in (bracket.entry, *group.members) if each.member_id not in ended]
    times = [entry.again_ns, exits.again_ns, next_expiry(lasting, now_ns)]
    return Decision(
        commands=entry.commands + exits.commands,
        naked=_naked(bracket),
        excess=exits.excess,
        ended=ended,
        waits=entry.waits or exits.waits,
        is_crowded=exits.is_crowded,
        again_ns=min((time for time in times if time is not None), default=None),
    )


@attrs.frozen(kw_only=True)
class _Bracket:
    """A bracket and what the venue has of it."""

    group: Group
    entry: Member
    facts: GroupFacts
    now_ns: int
    entries: tuple[Order, ...]
    exits: tuple[Order, ...]
    unwinds: tuple[Order, ...]
    off: Mapping[str, Ending]  # how the exits end, when the strategy or the time takes them away
    entry_end: Ending | None
    covers: tuple[Cover, ...]
    refused: Refusals
    held: Decimal  # what is to be protected, on the grid; below zero: the exits filled too much

    @property
    def covered(self) -> Decimal:
        return sum((cover.quantity for cover in self.covers), _ZERO)

    @property
    def rest(self) -> Decimal:
        """What the entry has yet to fill."""
        return self.entry.request.quantity - sum((order.filled + order.missing for order in self.entries), _ZERO)


def _read(group: Group, legs: Sequence[Order], facts: GroupFacts, now_ns: int) -> _Bracket:
    entry = group.entry
    assert entry is not None  # a bracket has one
    group = attrs.evolve(group, members=tuple(as_exit(each, entry.request, facts) for each in group.members))
    exit_ids = {member.member_id for member in group.members}
    entries = tuple(order for order in legs if order.leg.owner_id == entry.member_id)
    exits = tuple(order for order in legs if order.leg.owner_id in exit_ids)
    unwinds = tuple(order for order in legs if order.leg.owner_id not in {*exit_ids, entry.member_id})
    side, untold = entry.request.side, sum((order.missing for order in entries), _ZERO)
    held = net(legs, side=side) - untold  # fees may be taken from what no fill has told yet
    if facts.position is not None and held > 0:
        held = min(held, max(side.sign * facts.position, _ZERO))  # the exchange, or a hand, may have closed some of it
    bracket = _Bracket(
        group=group,
        entry=entry,
        facts=facts,
        now_ns=now_ns,
        entries=entries,
        exits=exits,
        unwinds=unwinds,
        off=endings(group.members, group.withdrawn, now_ns),
        entry_end=None,
        covers=covers(exits),
        refused=refusals([order for order in exits if _is_decisive(order)]),
        held=split_dust(held, step_size=entry.request.instrument.step_size)[0],
    )
    return attrs.evolve(bracket, entry_end=_entry_ending(bracket))


def _is_decisive(order: Order) -> bool:
    """Say whether a refusal of an exit changes the plan: of two side by side that of the stop does."""
    return order.leg.pair_id is None or order.leg.request.order_type in STOPS


# --- the entry ---------------------------------------------------------------------------------------


def _entry(bracket: _Bracket) -> Decision:
    if bracket.entry_end is not None:
        return Decision()
    working = [order for order in bracket.entries if not order.status.is_final]
    if not working:
        return _begin(bracket)
    if not all(is_answered(order) for order in working):
        return Decision(waits=True)
    if _entry_is_off(bracket) is not None or bracket.rest <= 0:
        return Decision(commands=tuple(Cancel(client_order_id=order.client_order_id) for order in working))
    return _amend(bracket, bracket.entries[-1])


def _begin(bracket: _Bracket) -> Decision:
    sent = at_venue(bracket.entry, bracket.facts)
    if sent is None or any(order.missing for order in bracket.entries):
        return Decision(waits=bool(bracket.entries))
    exits = () if bracket.entries else _native_exits(bracket)
    return Decision(commands=(PlaceEntry(member=sent, quantity=bracket.rest, exits=exits),))


def _amend(bracket: _Bracket, newest: Order) -> Decision:
    sent = at_venue(bracket.entry, bracket.facts)
    if sent is None or newest.status.is_final or _is_current(bracket, newest) or _is_dust(bracket):
        return Decision()  # final: the amendment was refused, and the old order stands
    if newest.leg.list_id is not None:
        return Decision(commands=(Cancel(client_order_id=newest.client_order_id),))
    return Decision(commands=(Replace(client_order_id=newest.client_order_id, member=sent, quantity=bracket.rest),))


def _native_exits(bracket: _Bracket) -> tuple[Member, ...]:
    if not bracket.group.native_entry:
        return ()
    lists, members = bracket.facts.capabilities.order_lists, bracket.group.members
    pair = pair_of(members, bracket.facts)
    if ListKind.OTOCO in lists and pair is not None:
        return (pair[1], pair[0])
    sent = [at_venue(each, bracket.facts) for each in members]
    if ListKind.OTO in lists and len(sent) == 1 and sent[0] is not None:
        return (sent[0],)
    return ()


def _is_current(bracket: _Bracket, order: Order) -> bool:
    """Say whether an order is (or was) the entry as the strategy wants it now."""
    return same_terms(order, at_venue(bracket.entry, bracket.facts)) and order.remaining - order.missing == bracket.rest


def _is_dust(bracket: _Bracket) -> bool:
    """Say whether what is left of the entry is too little to be placed anew."""
    return bracket.rest < least_quantity([bracket.entry.request], bracket.facts.last_price)


def _entry_is_off(bracket: _Bracket) -> Ending | None:
    entry = bracket.entry
    if entry.member_id in bracket.group.withdrawn:
        return Status.CANCELED, "cancelled by the strategy"
    if is_expired(entry, bracket.now_ns):
        return Status.EXPIRED, "its time is over"
    if bracket.off:
        return Status.CANCELED, "cancelled together with its exits"
    return None


def _entry_ending(bracket: _Bracket) -> Ending | None:
    """Return how the entry ended, None while it may still fill or is to be placed."""
    if not all(order.is_settled for order in bracket.entries):
        return None
    off = _entry_is_off(bracket)
    if bracket.entries and bracket.rest <= 0:
        return Status.FILLED, ""
    if off is not None or not bracket.entries:
        return off
    newest = bracket.entries[-1]
    if newest.status is Status.CANCELED and not _is_current(bracket, newest) and not _is_dust(bracket):
        return None  # it was cancelled to be amended
    alive = [order for order in bracket.entries if order.status is not Status.REJECTED]
    return _ending_of((alive or [newest])[-1])


def _ending_of(order: Order) -> Ending:
    return order.status, order.evidence.reason if order.evidence is not None else ""


# --- the exits ---------------------------------------------------------------------------------------


def _exits(bracket: _Bracket) -> Decision:
    working = [order for order in bracket.unwinds if not order.status.is_final]
    if working or not all(cover.is_settled for cover in bracket.covers):
        return Decision(waits=True)
    if bracket.off or bracket.held <= 0:
        return _cancel(*bracket.covers) if bracket.covers else _undo(bracket)
    excess = bracket.covered - bracket.held
    if excess > 0 and not _is_harmless(bracket):
        return _shrink(bracket, excess)
    plan = _plan(bracket)
    return _protect(bracket, plan) if plan else Decision()


def _is_harmless(bracket: _Bracket) -> bool:
    """Say whether exits that are too large close nothing else: there is nothing else, and they only close."""
    position, orders = bracket.facts.position, [order for cover in bracket.covers for order in cover.orders]
    alone = position is not None and abs(position) <= bracket.held
    return alone and len(bracket.covers) == 1 and all(is_bounded(order.leg.request) for order in orders)


def _shrink(bracket: _Bracket, excess: Decimal) -> Decision:
    """Return the next step towards exits that are not too large: of a pair, the one whose sibling has filled."""
    halved = next((each for each in bracket.covers if each.filled and not each.is_tied), None)
    cover = halved or next((each for each in bracket.covers if each.quantity >= excess), bracket.covers[-1])
    rest = cover.quantity - (min(excess, cover.filled) if halved is not None else excess)
    large = [order for order in cover.orders if order.remaining - order.missing > rest]
    member = _sent(bracket, large[0].leg.owner_id)
    if cover.is_tied or len(large) == len(cover.orders) or rest <= 0 or member is None:
        return _cancel(cover)
    return Decision(commands=(Replace(client_order_id=large[0].client_order_id, member=member, quantity=rest),))


def _undo(bracket: _Bracket) -> Decision:
    if bracket.held >= 0:
        return Decision()
    return unwind(
        bracket.entry.request.side.sign * bracket.held,
        bracket.entry.request,
        bracket.unwinds,
        bracket.facts,
        bracket.now_ns,
        reason="the exits filled more than the entry",
    )


def _protect(bracket: _Bracket, plan: tuple[Member, ...]) -> Decision:
    """Return the next step towards: every cover as planned, and nothing uncovered."""
    requests = [each.request for each in plan]
    least = least_quantity(requests, bracket.facts.last_price)
    useless = [cover for cover in bracket.covers if not _protects(cover, plan)]
    if useless and bracket.held >= least:
        return _cancel(*useless)
    free = bracket.held - bracket.covered
    if free >= least:
        return _place(bracket, plan, free)
    if free > 0 and bracket.entry_end is not None and (merge := _merge(bracket, plan, free)).commands:
        return merge  # nothing more comes that it could be pooled with
    stale = next((cover for cover in bracket.covers if not _is_current_cover(bracket, cover)), None)
    return _renew(bracket, stale, plan) if stale is not None else _make_room(bracket, plan)


def _plan(bracket: _Bracket) -> tuple[Member, ...]:
    """Return what the next cover is made of: stop and limit, or one of the exits; nothing when none can rest."""
    price, able = bracket.facts.last_price, bracket.facts.capabilities
    sent = [each for each in (at_venue(member, bracket.facts) for member in bracket.group.members) if each is not None]
    sent.sort(key=lambda each: each.request.order_type not in STOPS)
    resting = next((each for each in sent if each.request.order_type in able.order_types), None)
    reached = next((each for each in sent if each is not resting and is_reached(each.request, price)), None)
    if reached is not None:
        return (triggered(reached),)
    if resting is None:
        return ()
    if _is_through(bracket, resting):
        return (triggered(resting),)
    pair = pair_of(bracket.group.members, bracket.facts) or side_by_side(bracket.group.members, bracket.facts)
    return pair if pair is not None and not bracket.refused.was_list else (resting,)


def _is_through(bracket: _Bracket, stop: Member) -> bool:
    """Say whether the market is beyond a stop.

    A price alone may be older than the position, so the venue must have refused
    the stop first, unless it was moved here because of that very price.
    """
    if stop.request.order_type not in STOPS:
        return False
    original = bracket.group.member(stop.member_id)
    moved = original is not None and original.request.order_type is not stop.request.order_type
    last = bracket.refused.last
    refused = last is not None and last.leg.list_id is None
    reached = is_reached(stop.request, bracket.facts.last_price)
    return (moved and reached) or (refused and (reached or _AT_ONCE in bracket.refused.reason.lower()))


def _protects(cover: Cover, plan: tuple[Member, ...]) -> bool:
    """Say whether a cover does what is planned now: a pair always, one order if it is the first of the plan."""
    ids = {order.leg.owner_id for order in cover.orders}
    return len(ids) > 1 or plan[0].member_id in ids


def _is_current_cover(bracket: _Bracket, cover: Cover) -> bool:
    return all(same_terms(order, _sent(bracket, order.leg.owner_id)) for order in cover.orders)


def _sent(bracket: _Bracket, member_id: str) -> Member | None:
    member = bracket.group.member(member_id)
    return at_venue(member, bracket.facts) if member is not None else None


def _place(bracket: _Bracket, plan: tuple[Member, ...], free: Decimal) -> Decision:
    requests = [each.request for each in plan]
    most = requests[0].instrument.max_conditional_orders
    if most is not None and any(each.order_type in CONDITIONAL for each in requests):
        own = sum(_conditional(each) for each in bracket.covers)
        if bracket.facts.open_conditional + own >= most:
            return _without_room(bracket, plan, free)
    if _must_rest(bracket, plan):
        return Decision(again_ns=bracket.refused.retry_ns)
    quantity = _largest(bracket, plan, free)
    command: Command = PlaceExit(member=plan[0], quantity=quantity)
    if len(plan) == 2:
        command = PlacePair(quantity=quantity, stop=plan[0], limit=plan[1])
    return Decision(commands=(command,))


def _conditional(cover: Cover) -> int:
    """Return for how many a cover counts where the venue limits what waits for a trigger."""
    waiting = sum(order.leg.request.order_type in CONDITIONAL for order in cover.orders)
    return min(waiting, 1) if cover.is_tied else waiting


def _merge(bracket: _Bracket, plan: tuple[Member, ...], free: Decimal) -> Decision:
    """Return the end of the smallest cover, if a bigger one can take its place."""
    bigger = [each for each in bracket.covers[:1] if _largest(bracket, plan, each.quantity + free) > each.quantity]
    return _cancel(*bigger) if bigger else Decision(again_ns=bracket.now_ns + _LOOK_AGAIN_NS)


def _without_room(bracket: _Bracket, plan: tuple[Member, ...], free: Decimal) -> Decision:
    """Return what is done where the venue takes no more stops: merge, or watch the price here until there is room."""
    merge = _merge(bracket, plan, free)
    if merge.commands:
        return merge
    if not is_reached(plan[0].request, bracket.facts.last_price):
        return attrs.evolve(merge, is_crowded=True)
    sent = triggered(plan[0])
    return Decision(commands=(PlaceExit(member=sent, quantity=_largest(bracket, (sent,), free)),))


def _make_room(bracket: _Bracket, plan: tuple[Member, ...]) -> Decision:
    """Return the end of two covers that one can take the place of, where another group needs the room."""
    smallest = bracket.covers[:2]
    together = sum((each.quantity for each in smallest), _ZERO)
    if not bracket.facts.is_crowded or len(smallest) < 2 or _largest(bracket, plan, together) < together:
        return Decision()
    return _cancel(*smallest)


def _must_rest(bracket: _Bracket, plan: tuple[Member, ...]) -> bool:
    """Say whether the plan failed just now: then it is tried again later; another plan at once."""
    last = bracket.refused.last
    if last is None or bracket.refused.retry_ns <= bracket.now_ns:
        return False
    was_tried = last.leg.request.order_type is plan[0].request.order_type or len(plan) == 2
    return was_tried and not (bracket.refused.was_list and len(plan) == 1)


def _largest(bracket: _Bracket, plan: tuple[Member, ...], quantity: Decimal) -> Decimal:
    instrument = bracket.entry.request.instrument
    highs = [instrument.max_quantity]
    step = instrument.step_size
    if any(each.request.price is None for each in plan):
        highs.append(instrument.market_max_quantity)
        step = max(step, instrument.market_step_size or step)
    return split_dust(min([quantity, *(high for high in highs if high is not None)]), step_size=step)[0]


def _renew(bracket: _Bracket, cover: Cover, plan: tuple[Member, ...]) -> Decision:
    """Return how an amended cover is exchanged; one at a time, so that little is naked meanwhile."""
    if cover.is_tied or (len(plan) > 1 and not _rest_apart(cover, plan)):
        return _cancel(cover)
    if _must_rest(bracket, plan):
        return Decision(again_ns=bracket.refused.retry_ns)
    order = next(each for each in cover.orders if not same_terms(each, _sent(bracket, each.leg.owner_id)))
    member = next(each for each in plan if each.member_id == order.leg.owner_id)
    return Decision(commands=(Replace(client_order_id=order.client_order_id, member=member, quantity=cover.quantity),))


def _rest_apart(cover: Cover, plan: tuple[Member, ...]) -> bool:
    """Say whether the orders of a cover are those of the plan, side by side: one can be exchanged alone."""
    return {order.leg.owner_id for order in cover.orders} == {each.member_id for each in plan}


def _cancel(*doomed: Cover) -> Decision:
    return Decision(commands=tuple(cancel for each in doomed for cancel in each.cancels))


# --- what is naked, and how the exits end ----------------------------------------------------------------


def _naked(bracket: _Bracket) -> Decimal:
    if bracket.off:
        return _ZERO  # the strategy took its protection away
    stops = {each.member_id for each in bracket.group.members if each.request.order_type in STOPS}
    ids = stops or {each.member_id for each in bracket.group.members}
    able = [
        order
        for cover in bracket.covers
        for order in cover.orders
        if order.leg.owner_id in ids and order.evidence is not None and order.status is not Status.PENDING_NEW
    ]
    protected = sum((order.remaining - order.missing for order in able), _ZERO)
    untold = sum((order.missing for order in bracket.entries), _ZERO)
    return max(bracket.held + untold - protected, _ZERO)


def _exit_endings(bracket: _Bracket) -> dict[str, Ending]:
    orders = (*bracket.exits, *bracket.unwinds)
    if bracket.entry_end is None or not all(order.is_settled for order in orders):
        return {}
    filled = {each.member_id: _filled(bracket, each) for each in bracket.group.members}
    if bracket.off:
        told = dict(bracket.off)
    elif not any(order.filled for order in bracket.entries):
        status, reason = bracket.entry_end
        told = dict.fromkeys(filled, (Status.CANCELED, f"the entry ended {status.value}: {reason}"))
    elif bracket.held > 0 or not _is_idle(_exits(bracket)):
        return {}
    else:
        told = dict.fromkeys(filled, (Status.CANCELED, "the position was closed by another exit"))
        fills = [(fill.time_ns, order.leg.owner_id) for order in bracket.exits for fill in order.fills]
        if fills:
            told[max(fills)[1]] = (Status.FILLED, "")
    for member in bracket.group.members:
        if filled[member.member_id] >= member.request.quantity:
            told[member.member_id] = (Status.FILLED, "")
    return told


def _is_idle(step: Decision) -> bool:
    return not step.commands and not step.waits and step.again_ns is None


def _filled(bracket: _Bracket, member: Member) -> Decimal:
    return sum((order.filled for order in bracket.exits if order.leg.owner_id == member.member_id), _ZERO)
