"""Words and sums that brackets and OCO groups share: what to do next, and what the venue has of a group."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import attrs

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import (
    Fill,
    ListKind,
    Member,
    Order,
    OrderRequest,
    OrderType,
    PositionSide,
    Side,
    Status,
)
from btx.model.venue import Capabilities
from btx.rules import trailing
from btx.rules.backoff import Backoff, delay_s
from btx.rules.capabilities import resting_time
from btx.rules.contracts import quote_value
from btx.rules.filters import step_of
from btx.rules.positions import base_change, split_dust

__all__ = (
    "CONDITIONAL",
    "STOPS",
    "Cancel",
    "Command",
    "Cover",
    "Decision",
    "Ending",
    "GroupFacts",
    "PlaceEntry",
    "PlaceExit",
    "PlacePair",
    "Refusals",
    "Replace",
    "Unwind",
    "as_exit",
    "at_venue",
    "covers",
    "endings",
    "is_answered",
    "is_bounded",
    "is_expired",
    "is_reached",
    "least_quantity",
    "net",
    "next_expiry",
    "pair_of",
    "refusals",
    "same_terms",
    "side_by_side",
    "triggered",
    "unwind",
)

Ending = tuple[Status, str]  # final, and why

STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
CONDITIONAL = STOPS | {OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT}
_WITHOUT_PRICE = frozenset(
    {OrderType.MARKET, OrderType.STOP_MARKET, OrderType.TAKE_PROFIT_MARKET, OrderType.TRAILING_STOP}
)
_TERMS = (
    "side",
    "order_type",
    "price",
    "trigger_price",
    "time_in_force",
    "post_only",
    "display_quantity",
    "trail_amount",
    "trail_bps",
    "expires_ns",
)
_RETRY = Backoff(base_s=0.5, cap_s=60.0)
_NS_PER_S = 1_000_000_000
_ZERO = Decimal(0)
_ONE = Decimal(1)


@attrs.frozen(kw_only=True)
class GroupFacts:
    """What a decision needs to know beside the group and its legs."""

    capabilities: Capabilities
    last_price: Decimal | None = None  # None: not known, and nothing is concluded from it
    open_conditional: int = 0  # orders of others that wait for a trigger in the same instrument
    is_crowded: bool = False  # another group of the instrument has no room for a stop
    position: Decimal | None = None  # signed; of a margin account: what is really there to be closed


# --- what to do next ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PlaceEntry:
    """Place the entry (or what an amendment left of it); with ``exits`` as one list of the venue, limit before stop."""

    member: Member
    quantity: Decimal
    exits: tuple[Member, ...] = ()


@attrs.frozen(kw_only=True)
class PlacePair:
    """Place a stop and a limit as one OCO list of the venue; side by side where positions only can be closed once."""

    quantity: Decimal
    stop: Member
    limit: Member


@attrs.frozen(kw_only=True)
class PlaceExit:
    """Place one order."""

    member: Member
    quantity: Decimal


@attrs.frozen(kw_only=True)
class Replace:
    """Put an order in the place of an open one."""

    client_order_id: str
    member: Member
    quantity: Decimal


@attrs.frozen(kw_only=True)
class Cancel:
    """Cancel an order, and the whole list of the venue it belongs to."""

    client_order_id: str


@attrs.frozen(kw_only=True)
class Unwind:
    """Undo by a market order what was filled too much."""

    instrument: Instrument
    side: Side
    quantity: Decimal
    reason: str


Command = PlaceEntry | PlacePair | PlaceExit | Replace | Cancel | Unwind


@attrs.frozen(kw_only=True)
class Decision:
    """What a group needs now. A member request inside a command is as the venue is to get it."""

    commands: tuple[Command, ...] = ()
    naked: Decimal = _ZERO  # base units or contracts that were filled and no open exit protects
    excess: Decimal = _ZERO  # signed; what was filled too much and is below the venue's minimum, so it stays
    ended: Mapping[str, Ending] = attrs.field(factory=dict)  # by member id
    waits: bool = False  # for an answer of the venue, before anything else can be said
    is_crowded: bool = False  # the venue takes no more stops, and this group has none it could merge
    again_ns: int | None = None  # market time at which to decide again, if nothing happens before


# --- members ----------------------------------------------------------------------------------------


def at_venue(member: Member, facts: GroupFacts) -> Member | None:
    """Return a member as the venue is to get it; None when nothing can be sent yet.

    Times are kept here, also where the venue could: what is sent again late in
    its life may be too short-lived for it.  A trailing stop the venue does not
    know becomes a stop that is moved.
    """
    request, able = member.request, facts.capabilities
    if request.expires_ns is not None:
        request = attrs.evolve(request, expires_ns=None, time_in_force=resting_time(able))
    if trailing.is_emulated(request, trailing_bps=able.trailing_bps):
        if request.trigger_price is None:
            return None
        order_type = OrderType.STOP_MARKET if request.price is None else OrderType.STOP_LIMIT
        request = attrs.evolve(request, order_type=order_type, trail_amount=None, trail_bps=None)
    return attrs.evolve(member, request=request)


def as_exit(member: Member, entry: OrderRequest, facts: GroupFacts) -> Member:
    """Return a bracket's exit such that it can only close: in hedge mode by its position side, else as reduce-only.

    Where the position lies on the other side of the entry the exit would open, as it does in backtrader, so it is
    left as it is. On spot nothing can be closed that is not owned.
    """
    request, instrument = member.request, entry.instrument
    if not instrument.kind.is_margined:
        return member
    opposite = facts.position is not None and entry.side.sign * facts.position < 0
    closes = entry.position_side is PositionSide.NET and facts.capabilities.reduce_only and not opposite
    changed = attrs.evolve(request, position_side=entry.position_side, reduce_only=request.reduce_only or closes)
    return attrs.evolve(member, request=changed)


def triggered(member: Member) -> Member:
    """Return what a member becomes when the price has reached it: a limit or a market order."""
    request = member.request
    if request.order_type in {OrderType.MARKET, OrderType.LIMIT}:
        return member
    order_type = OrderType.MARKET if request.price is None else OrderType.LIMIT
    changed = attrs.evolve(request, order_type=order_type, trigger_price=None, trail_amount=None, trail_bps=None)
    return attrs.evolve(member, request=changed)


def is_reached(request: OrderRequest, price: Decimal | None) -> bool:
    """Say whether the market is where a request would trigger, or fill."""
    if request.order_type is OrderType.MARKET:
        return True
    level = request.price if request.order_type is OrderType.LIMIT else request.trigger_price
    if price is None or level is None:
        return False
    rises = (request.side is Side.SELL) != (request.order_type in STOPS)
    return price >= level if rises else price <= level


def same_terms(order: Order, member: Member | None) -> bool:
    """Say whether an order is what the venue is to have of a member, but for its quantity."""
    if member is None:
        return False
    have = _terms(order.leg.request)
    return have in {_terms(member.request), _terms(triggered(member).request)}


def _terms(request: OrderRequest) -> tuple[object, ...]:
    return tuple(getattr(request, name) for name in _TERMS)


def is_expired(member: Member, now_ns: int) -> bool:
    """Say whether a member's time is over."""
    return member.request.expires_ns is not None and member.request.expires_ns <= now_ns


def next_expiry(members: Iterable[Member], now_ns: int) -> int | None:
    """Return when the next of some members expires."""
    times = [each.request.expires_ns for each in members if each.request.expires_ns is not None]
    return min((time for time in times if time > now_ns), default=None)


def endings(members: Sequence[Member], withdrawn: Sequence[str], now_ns: int) -> dict[str, Ending]:
    """Return how members end that the strategy cancels, or whose time is over: one takes the others along."""
    told: dict[str, Ending] = {}
    for member in members:
        if member.member_id in withdrawn:
            told[member.member_id] = (Status.CANCELED, "cancelled by the strategy")
        elif is_expired(member, now_ns):
            told[member.member_id] = (Status.EXPIRED, "its time is over")
    cause = next(iter(told), None)
    if cause is None:
        return {}
    return {each.member_id: (Status.CANCELED, f"cancelled together with {cause}") for each in members} | told


def pair_of(members: Sequence[Member], facts: GroupFacts) -> tuple[Member, Member] | None:
    """Return stop and limit of members the venue can take as one OCO list; None when it cannot."""
    sent = [at_venue(each, facts) for each in members]
    stops = [each for each in sent if each is not None and each.request.order_type in STOPS]
    others = [each for each in sent if each is not None and each.request.order_type not in STOPS | {OrderType.MARKET}]
    able = facts.capabilities
    if ListKind.OCO not in able.order_lists or not (len(members) == 2 and len(stops) == len(others) == 1):
        return None
    types = {each.request.order_type for each in (*stops, *others)}
    moves = any(trailing.is_emulated(each.request, trailing_bps=able.trailing_bps) for each in members)
    return None if moves or not types <= able.order_types else (stops[0], others[0])


def side_by_side(members: Sequence[Member], facts: GroupFacts) -> tuple[Member, Member] | None:
    """Return stop and limit that may both rest though the venue does not tie them; None where they must not.

    They may where each can only close: what one has closed the other cannot.
    """
    sent = [at_venue(each, facts) for each in members]
    known = [each for each in sent if each is not None]
    stops = [each for each in known if each.request.order_type in STOPS]
    others = [each for each in known if each.request.order_type not in STOPS | {OrderType.MARKET}]
    if not (len(members) == 2 and len(stops) == len(others) == 1) or not all(
        is_bounded(each.request) for each in known
    ):
        return None
    types = {each.request.order_type for each in known}
    moves = any(trailing.is_emulated(each.request, trailing_bps=facts.capabilities.trailing_bps) for each in members)
    return None if moves or not types <= facts.capabilities.order_types else (stops[0], others[0])


def is_bounded(request: OrderRequest) -> bool:
    """Say whether the venue lets an order close a position and never more than that."""
    return request.instrument.kind.is_margined and (
        request.reduce_only or request.position_side is not PositionSide.NET
    )


# --- quantities -------------------------------------------------------------------------------------


def least_quantity(requests: Sequence[OrderRequest], price: Decimal | None) -> Decimal:
    """Return the smallest quantity on the grid that all requests may have; ``price`` values those without one."""
    instrument = requests[0].instrument
    step = max(step_of(instrument, order_type=each.order_type) for each in requests)
    low = max(instrument.min_quantity, step)
    for each in requests:
        has_price = each.order_type not in _WITHOUT_PRICE
        worth = each.price if has_price else each.trigger_price or price
        if not has_price:
            low = max(low, instrument.market_min_quantity or _ZERO)
        if instrument.min_notional is None or worth is None or each.reduce_only:
            continue
        if has_price or instrument.min_notional_for_market:
            low = max(low, instrument.min_notional / quote_value(instrument, _ONE, worth))
    on_grid, dust = split_dust(low, step_size=step)
    return on_grid + step if dust else on_grid


def net(orders: Iterable[Order], *, side: Side) -> Decimal:
    """Return what orders added to a position in the direction of ``side``; what was told without a fill counts.

    Of coins that were bought the fee is missing and cannot be sold; what was
    sold is bought back as it was, whatever the fee for that.
    """
    total = _ZERO
    for order in orders:
        instrument, sign = order.leg.request.instrument, order.leg.request.side.sign
        total += sum((_change(fill, instrument, side) for fill in order.fills), _ZERO) + sign * order.missing
    return side.sign * total


def _change(fill: Fill, instrument: Instrument, side: Side) -> Decimal:
    if instrument.kind is InstrumentKind.SPOT and side is Side.BUY:
        return base_change(fill, base=instrument.base)
    return fill.side.sign * fill.quantity


def unwind(
    excess: Decimal, request: OrderRequest, done: Sequence[Order], facts: GroupFacts, now_ns: int, *, reason: str
) -> Decision:
    """Return the market order that undoes a signed excess; nothing when it is below the venue's minimum."""
    instrument = request.instrument
    market = attrs.evolve(request, order_type=OrderType.MARKET, price=None, trigger_price=None)
    step = step_of(instrument, order_type=OrderType.MARKET)
    quantity, _ = split_dust(abs(excess), step_size=step)
    if not quantity or quantity < least_quantity([market], facts.last_price):
        return Decision(excess=split_dust(excess, step_size=instrument.step_size)[0])
    refused = refusals(done)
    if refused.retry_ns > now_ns:
        return Decision(again_ns=refused.retry_ns)
    side = Side.SELL if excess > 0 else Side.BUY
    return Decision(commands=(Unwind(instrument=instrument, side=side, quantity=quantity, reason=reason),))


# --- legs -------------------------------------------------------------------------------------------


def is_answered(order: Order) -> bool:
    """Say whether it is known what the venue has of an order, and nothing is on its way."""
    return (order.evidence is not None or bool(order.fills)) and order.pending is None


@attrs.frozen(kw_only=True)
class Cover:
    """Orders that share one quantity at the venue: one alone, or a list of which one can fill."""

    orders: tuple[Order, ...]  # the open ones
    is_owed: bool = False  # one of the list has filled, and the venue has not yet told the end of the other
    filled: Decimal = _ZERO  # of all of them, those that have ended too

    @property
    def is_tied(self) -> bool:
        """The venue ends all of it when it ends one."""
        return self.orders[0].leg.list_id is not None

    @property
    def cancels(self) -> tuple[Cancel, ...]:
        """What ends all of it."""
        ended = self.orders[:1] if self.is_tied else self.orders
        return tuple(Cancel(client_order_id=order.client_order_id) for order in ended)

    @property
    def quantity(self) -> Decimal:
        """What they can fill at most."""
        return max(order.remaining - order.missing for order in self.orders)

    @property
    def is_settled(self) -> bool:
        """Nothing of it is on its way, and all of it works: a dormant order waits for the one that triggers it."""
        return not self.is_owed and all(
            is_answered(order) and order.status is not Status.PENDING_NEW for order in self.orders
        )


def covers(orders: Iterable[Order]) -> tuple[Cover, ...]:
    """Return what is open, the smallest first."""
    found = []
    for each in _lists(orders, paired=True):
        working = tuple(order for order in each if not order.status.is_final)
        filled = sum((order.filled + order.missing for order in each), _ZERO)
        owed = filled > 0 and any(
            not (order.filled or order.missing) for order in working if order.leg.list_id is not None
        )
        if working:
            found.append(Cover(orders=working, is_owed=owed, filled=filled))
    return tuple(sorted(found, key=lambda cover: cover.quantity))


def _lists(orders: Iterable[Order], *, paired: bool = False) -> list[list[Order]]:
    by_list: dict[str, list[Order]] = {}
    for order in orders:
        pair_id = order.leg.pair_id if paired else None
        by_list.setdefault(order.leg.list_id or pair_id or order.client_order_id, []).append(order)
    return list(by_list.values())


@attrs.frozen(kw_only=True)
class Refusals:
    """The placements that failed in a row, up to the newest."""

    count: int
    last: Order | None = None  # the newest of them; None: the newest placement did not fail

    @property
    def was_list(self) -> bool:
        return self.last is not None and self.last.leg.list_id is not None

    @property
    def reason(self) -> str:
        return self.last.evidence.reason if self.last is not None and self.last.evidence is not None else ""

    @property
    def retry_ns(self) -> int:
        """Market time before which the same is not tried again."""
        if self.last is None or self.last.evidence is None:
            return 0
        return self.last.evidence.time_ns + int(delay_s(_RETRY, attempt=self.count, random=0.5) * _NS_PER_S)


def refusals(orders: Sequence[Order]) -> Refusals:
    """Return the failed placements at the end of orders, which stand as they were made."""
    failed = list(itertools.takewhile(_has_failed, reversed(_lists(orders))))
    return Refusals(count=len(failed), last=failed[0][-1] if failed else None)


def _has_failed(orders: list[Order]) -> bool:
    return all(order.status in {Status.REJECTED, Status.EXPIRED} and not order.filled for order in orders)
