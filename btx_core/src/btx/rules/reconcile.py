"""Local against venue: what differs, what was missed, and whose it is. Pure.

Whose position is it, when a hand or another program trades on the same account?
The policy is :class:`Sharing`, one word at ``btx.load``, and its default is the
careful one: an account is this strategy's alone, so what nobody here did halts
trading until the user has looked.
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, Order, OrderReport, OrderRequest, OrderType, Status

__all__ = (
    "ROUNDING",
    "Difference",
    "Matched",
    "Sharing",
    "adopted",
    "differences",
    "foreign_orders",
    "lost_orders",
    "match_fills",
    "nearest",
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
    """A field in which the venue and we disagree."""

    field: str  # balance USDT
    ours: Decimal
    theirs: Decimal

    def __str__(self) -> str:
        return f"{self.field}: the venue has {self.theirs}, the journal {self.ours} ({self.theirs - self.ours:+f})"


class Matched(NamedTuple):
    """The venue's fills, sorted: ours that were missed (with our id put in), and those of nobody here."""

    missed: tuple[Fill, ...]
    foreign: tuple[Fill, ...]


def nearest(counted: Collection[Decimal], total: Decimal) -> Decimal:
    """Return which of the totals we counted is next to the venue's; zero where we counted nothing."""
    return min(counted, key=lambda ours: abs(total - ours), default=_ZERO)


def differences(
    counted: Mapping[str, Collection[Decimal]],
    snapshot: AccountSnapshot,
    *,
    assets: Collection[str],
    tolerance: Decimal = _ZERO,
) -> tuple[Difference, ...]:
    """Return the assets of which the venue holds something else than our fills explain, by name.

    ``counted`` are the totals each asset went through while the venue was asked:
    which of our fills its answer includes is not known to us. ``tolerance`` is
    what it may have rounded away, in units of the asset.
    """
    found = []
    for asset in sorted(assets):
        balance = snapshot.balances.get(asset)
        theirs = balance.total if balance is not None else _ZERO
        ours = nearest(counted.get(asset, ()), theirs)
        if abs(theirs - ours) > tolerance:
            found.append(Difference(field=f"balance {asset}", ours=ours, theirs=theirs))
    return tuple(found)


def match_fills(orders: Mapping[str, Order], fills: Iterable[Fill]) -> Matched:
    """Say which of the venue's fills are ours and were not counted, and which are of orders nobody here knows."""
    fills = tuple(fills)
    named = {fill.venue_order_id for fill in fills} - {None}
    by_venue_id = {_place(order): order for order in orders.values() if order.venue_order_id in named}
    missed, foreign = [], []
    for fill in fills:
        order = orders.get(fill.client_order_id) or by_venue_id.get((fill.symbol, fill.venue_order_id))
        if order is None or order.leg.request.instrument.symbol != fill.symbol:
            foreign.append(fill)
        elif all(known.fill_id != fill.fill_id for known in order.fills):
            missed.append(attrs.evolve(fill, client_order_id=order.client_order_id))
    return Matched(tuple(missed), tuple(foreign))


def foreign_orders(orders: Mapping[str, Order], reports: Iterable[OrderReport]) -> tuple[OrderReport, ...]:
    """Return the venue's open orders that nobody here placed."""
    strange = tuple(each for each in reports if each.client_order_id not in orders)
    named = {each.venue_order_id for each in strange} - {None}
    ours = {_place(order) for order in orders.values() if order.venue_order_id in named} if named else ()
    return tuple(each for each in strange if (each.symbol, each.venue_order_id) not in ours)


def _place(order: Order) -> tuple[str, str | None]:
    return order.leg.request.instrument.symbol, order.venue_order_id  # venues number each instrument's orders apart


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
        signal_ns=report.time_ns,
    )
    return Leg(client_order_id=report.client_order_id, request=request, quantity=report.quantity)
