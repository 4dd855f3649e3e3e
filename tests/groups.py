"""Groups and legs as the rules for them see them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.model.order import (
    CancelRequested,
    Group,
    GroupKind,
    Leg,
    ListKind,
    Member,
    Order,
    OrderRequest,
    OrderType,
    OutcomeUnknown,
    PlaceRefused,
    Side,
    Status,
)
from btx.model.venue import Capabilities
from btx.rules.groups import GroupFacts
from btx.rules.orders import apply, new_order
from tests.values import BTC, fill, report, request

COIN = attrs.evolve(BTC, step_size=Decimal(1), min_quantity=Decimal(1), min_notional=None)
ABLE = Capabilities(
    order_types=frozenset(OrderType),
    times_in_force=frozenset(),
    intervals=(),
    channels=frozenset(),
    trailing_bps=(10, 2000),
    order_lists=frozenset(ListKind),
)
NO_LISTS = attrs.evolve(ABLE, order_lists=frozenset())
ENTRY = Member(member_id="entry", request=request(instrument=COIN, quantity=Decimal(10)))


def asked(**changes: Any) -> OrderRequest:
    return request(**({"instrument": COIN, "side": Side.SELL, "quantity": Decimal(10)} | changes))


def limit(member_id: str = "limit", price: int = 110, **changes: Any) -> Member:
    return Member(member_id=member_id, request=asked(price=Decimal(price), **changes))


def stop(member_id: str = "stop", trigger: int = 90, **changes: Any) -> Member:
    whole = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": Decimal(trigger)}
    return Member(member_id=member_id, request=asked(**(whole | changes)))


def trail(member_id: str = "stop", **changes: Any) -> Member:
    whole = {"order_type": OrderType.TRAILING_STOP, "price": None, "trail_amount": Decimal(5)}
    return Member(member_id=member_id, request=asked(**(whole | changes)))


def bracket(*members: Member, **changes: Any) -> Group:
    whole = {"group_id": "g", "kind": GroupKind.BRACKET, "entry": ENTRY, "members": members or (limit(), stop())}
    return Group(**(whole | changes))


def oco(*members: Member, **changes: Any) -> Group:
    return Group(group_id="g", kind=GroupKind.OCO, members=members or (limit(), stop()), **changes)


def facts(
    price: int | None = None, *, able: Capabilities = ABLE, others: int = 0, is_crowded: bool = False
) -> GroupFacts:
    last_price = None if price is None else Decimal(price)
    return GroupFacts(capabilities=able, last_price=last_price, open_conditional=others, is_crowded=is_crowded)


def leg(
    member: Member | None,
    client_order_id: str,
    quantity: int = 10,
    *,
    filled: int = 0,
    told: int | None = None,
    status: Status | None = Status.NEW,
    list_id: str | None = None,
    reason: str = "",
    time_ns: int = 1,
) -> Order:
    """Return an order of a member (of none: one that unwinds), of which ``told`` is filled and ``filled`` known."""
    wanted = member.request if member is not None else asked(order_type=OrderType.MARKET, price=None, side=Side.BUY)
    made = Leg(
        client_order_id=client_order_id,
        request=attrs.evolve(wanted, quantity=Decimal(quantity)),
        quantity=Decimal(quantity),
        member_id=member.member_id if member is not None else None,
        group_id="g",
        list_id=list_id,
    )
    order = new_order(made)
    if filled:
        one = fill(f"f{client_order_id}", filled, side=wanted.side, time_ns=time_ns, client_order_id=client_order_id)
        order = apply(order, one)
    if status is Status.REJECTED:
        return apply(order, PlaceRefused(client_order_id=client_order_id, reason=reason, time_ns=time_ns))
    if status is not None:
        amount = Decimal(filled if told is None else told)
        order = apply(
            order, report(status, client_order_id=client_order_id, filled=amount, reason=reason, time_ns=time_ns)
        )
    return order


def pair(group: Group, name: str, quantity: int, **changes: Any) -> list[Order]:
    """Return the two exits of a bracket as one list of the venue."""
    return [leg(each, f"{name}{each.member_id}", quantity, list_id=name, **changes) for each in group.members]


def unknown(order: Order) -> Order:
    return apply(order, OutcomeUnknown(client_order_id=order.client_order_id, reason="", time_ns=1))


def cancelling(order: Order) -> Order:
    return apply(order, CancelRequested(client_order_id=order.client_order_id, time_ns=1))


def sent(commands: Sequence[object]) -> list[tuple[Any, ...]]:
    """Return commands as short tuples: what, and the quantity or the order."""
    told = []
    for each in commands:
        what = getattr(each, "quantity", None) or getattr(each, "client_order_id", None)
        member = getattr(each, "member", None)
        name = (member.member_id,) if member is not None else ()
        told.append((type(each).__name__, *name, what))
    return told
