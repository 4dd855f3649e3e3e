"""Local against venue: what differs, what was missed, and whose it is. Pure.

Whose position is it, when a hand or another program trades on the same account?
The policy is :class:`Sharing`, one word at ``btx.load``, and its default is the
careful one: an account is this strategy's alone, so what nobody here did halts
trading until the user has looked.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

import attrs

from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.order import (
    VENUE_MADE,
    Fill,
    Leg,
    Order,
    OrderReport,
    OrderRequest,
    OrderType,
    Origin,
    PositionSide,
    Status,
)
from btx.rules.holdings import Holding, stated

__all__ = (
    "ROUNDING",
    "Difference",
    "Matched",
    "Sharing",
    "adopted",
    "attached_to",
    "by_venue",
    "differences",
    "foreign_orders",
    "lost_orders",
    "match_fills",
    "named_by_place",
    "nearest",
    "place_of",
    "trailing_with",
)

_ZERO = Decimal(0)
ROUNDING = Decimal(
    "1e-8"
)  # what a venue may round away of one fill: balances have 8 decimals, price times quantity more


class Sharing(enum.Enum):
    """Who else may trade on the account; the value is what the user writes."""

    EXCLUSIVE = "exclusive"  # nobody: what is not explained by our fills halts trading
    SHARED = "shared"  # anybody: it is told, counted as held, and trading goes on
    ADOPT = "adopt"  # as SHARED, and open orders of others become this strategy's: it is told and may cancel them


@attrs.frozen(kw_only=True)
class Difference:
    """A holding of which the venue and we disagree."""

    holding: Holding
    ours: Decimal
    theirs: Decimal

    @property
    def field(self) -> str:
        """The holding in words: ``balance USDT``, ``position BTC/USDT:USDT``."""
        if isinstance(self.holding, str):
            return f"balance {self.holding}"
        symbol, position_side = self.holding
        return f"position {symbol}" if position_side is PositionSide.NET else f"position {symbol} {position_side.value}"

    def __str__(self) -> str:
        return f"{self.field}: the venue has {self.theirs}, the journal {self.ours} ({self.theirs - self.ours:+f})"


class Matched(NamedTuple):
    """The venue's fills, sorted: ours that were missed (with our id put in), told in full, and those of nobody here."""

    missed: tuple[Fill, ...]
    completed: tuple[Fill, ...]  # ours, with a fee that was not told before
    foreign: tuple[Fill, ...]


def nearest(counted: Collection[Decimal], total: Decimal) -> Decimal:
    """Return which of the totals we counted is next to the venue's; zero where we counted nothing."""
    return min(counted, key=lambda ours: abs(total - ours), default=_ZERO)


def differences(
    counted: Mapping[Holding, Collection[Decimal]],
    snapshot: AccountSnapshot,
    *,
    holdings: Collection[Holding],
    tolerance: Decimal = _ZERO,
) -> tuple[Difference, ...]:
    """Return the holdings of which the venue has something else than we can explain, by name.

    ``counted`` is what each holding went through while the venue was asked:
    which of our fills its answer includes is not known to us. ``tolerance`` is
    what it may have rounded away, in units of an asset; positions are never rounded.
    """
    found, there = [], stated(snapshot)
    for holding in sorted(holdings, key=str):
        theirs = there.get(holding, _ZERO)
        ours = nearest(counted.get(holding, ()), theirs)
        if abs(theirs - ours) > (tolerance if isinstance(holding, str) else _ZERO):
            found.append(Difference(holding=holding, ours=ours, theirs=theirs))
    return tuple(found)


def match_fills(orders: Mapping[str, Order], fills: Iterable[Fill]) -> Matched:
    """Say which of the venue's fills are ours and were not counted, and which are of orders nobody here knows."""
    fills = tuple(fills)
    named = {fill.venue_order_id for fill in fills} - {None}
    by_venue_id = {place_of(order): order for order in orders.values() if order.venue_order_id in named}
    missed, completed, foreign = [], [], []
    for fill in fills:
        order = orders.get(fill.client_order_id) or by_venue_id.get((fill.symbol, fill.venue_order_id))
        if order is None or order.leg.request.instrument.symbol != fill.symbol:
            foreign.append(fill)
            continue
        ours = attrs.evolve(fill, client_order_id=order.client_order_id)
        known = next((each for each in order.fills if each.fill_id == fill.fill_id), None)
        if known is None:
            missed.append(ours)
        elif known.fee is None and fill.fee is not None:
            completed.append(ours)
    return Matched(tuple(missed), tuple(completed), tuple(foreign))


def foreign_orders(orders: Mapping[str, Order], reports: Iterable[OrderReport]) -> tuple[OrderReport, ...]:
    """Return the venue's open orders that nobody here placed."""
    strange = tuple(each for each in reports if each.client_order_id not in orders)
    named = {each.venue_order_id for each in strange} - {None}
    ours = {place_of(order) for order in orders.values() if order.venue_order_id in named} if named else ()
    return tuple(each for each in strange if (each.symbol, each.venue_order_id) not in ours)


def place_of(order: Order) -> tuple[str, str | None]:
    """Return where the venue has an order: venues number each instrument's apart."""
    return order.leg.request.instrument.symbol, order.venue_order_id


def named_by_place(event: OrderReport | Fill) -> OrderReport | Fill:
    """Return an event of an order the exchange made with a name that no other order has; a client's as it is.

    A venue gives such orders names that repeat: those of one millisecond share one, or all of one kind that ever were.
    """
    if event.origin is Origin.CLIENT or event.venue_order_id is None:
        return event
    return attrs.evolve(event, client_order_id=f"{VENUE_MADE}{event.symbol}-{event.venue_order_id}")


def attached_to(report: OrderReport, orders: Mapping[str, Order], *, attaching: Collection[str]) -> Order | None:
    """Return the order of ours that had the venue make this exit, None when none of ours did.

    ``attaching`` are the params of an order whose values are triggers of such exits.  Where the
    venue does not name the order, it is the latest in the same position whose exit would
    stand just there.
    """
    if report.parent:
        return orders.get(report.parent)
    asked = (each for each in reversed(tuple(orders.values())) if _closes(report, each.leg.request))
    return next((each for each in asked if _asks_for(each.leg.request, attaching, report.trigger_price)), None)


def trailing_with(event: OrderReport | Fill, orders: Iterable[Order]) -> Order | None:
    """Return the trailing stop of ours that the venue keeps with a position, under a name of its own.

    Until the venue has said which name, it is the latest that was sent and not heard of; that
    it never arrived may have been a guess of ours.
    """
    here = [order for order in orders if _is_trail(order) and order.leg.request.instrument.symbol == event.symbol]
    named = [order for order in here if order.venue_order_id is not None]
    known = next((order for order in named if order.venue_order_id == event.venue_order_id), None)
    if known is not None or isinstance(event, Fill) or event.order_type is not OrderType.TRAILING_STOP:
        return known
    waiting = [order for order in here if order.venue_order_id is None and _may_rest(order)]
    return next((each for each in reversed(waiting) if _is_alike(event, each.leg.request)), None)


def _is_trail(order: Order) -> bool:
    return order.leg.request.order_type is OrderType.TRAILING_STOP and order.leg.parent_id is None


def _may_rest(order: Order) -> bool:
    return not order.status.is_final or (order.evidence is not None and order.evidence.inferred)


def _is_alike(report: OrderReport, request: OrderRequest) -> bool:
    return report.side is request.side and report.position_side in {None, request.position_side}


def _closes(report: OrderReport, request: OrderRequest) -> bool:
    is_there = report.symbol == request.instrument.symbol and report.side not in {None, request.side}
    return is_there and report.position_side in {None, request.position_side}


def _asks_for(request: OrderRequest, attaching: Collection[str], trigger_price: Decimal | None) -> bool:
    return trigger_price is not None and any(
        _number(request.params[name]) == trigger_price for name in attaching if name in request.params
    )


def _number(value: object) -> Decimal | None:
    try:
        return Decimal(str(value))
    except InvalidOperation:  # the venue refuses such an order
        return None


def lost_orders(orders: Mapping[str, Order], reports: Iterable[OrderReport]) -> tuple[str, ...]:
    """Return our orders that should rest and are not among the venue's open ones: ask what became of them."""
    listed = {each.client_order_id for each in reports}
    resting = (Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL)
    return tuple(
        client_order_id
        for client_order_id, order in orders.items()
        if (order.status in resting or _is_dormant(order)) and client_order_id not in listed
    )


def _is_dormant(order: Order) -> bool:
    """Say whether the venue has it, in a list, and does not let it work yet."""
    return order.status is Status.PENDING_NEW and order.evidence is not None


def adopted(report: OrderReport, instrument: Instrument) -> Leg | None:
    """Return the leg of somebody else's order, None where the venue does not describe it well enough."""
    if report.side is None or not report.quantity or not report.client_order_id:
        return None
    request = OrderRequest(
        instrument=instrument,
        side=report.side,
        order_type=report.order_type or OrderType.LIMIT,
        quantity=report.quantity,
        price=report.price or None,
        trigger_price=report.trigger_price or None,
        reduce_only=bool(report.reduce_only),
        position_side=report.position_side or PositionSide.NET,
        signal_ns=report.time_ns,
    )
    return Leg(client_order_id=report.client_order_id, request=request, quantity=report.quantity)


def by_venue(event: OrderReport | Fill, instrument: Instrument) -> Leg | None:
    """Return the leg of an order the exchange itself made, None when a client made it or too little is told of it.

    A fill alone tells enough: more of them make the order larger than the leg, which nobody minds.
    """
    if event.origin is Origin.CLIENT or event.side is None or not event.quantity or not event.client_order_id:
        return None
    request = OrderRequest(
        instrument=instrument,
        side=event.side,
        order_type=OrderType.MARKET,
        quantity=event.quantity,
        reduce_only=True,
        position_side=event.position_side or PositionSide.NET,
        signal_ns=event.time_ns,
    )
    return Leg(client_order_id=event.client_order_id, request=request, quantity=event.quantity)
