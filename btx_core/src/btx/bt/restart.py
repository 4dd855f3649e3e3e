"""What a strategy finds again after a restart: its orders, rebuilt, and its own state."""

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder

from btx.bt.books import Account, Ticket
from btx.bt.orders import EXECTYPES, STATUSES, number_of
from btx.model.order import Fill, GroupKind, Leg, Order, OrderRequest, OrderType, Origin, PositionSide, Side, Status
from btx.model.time import NS_PER_DAY, NS_PER_S
from btx.rules.wallet import Key
from btx.runtime.mailbox import Recovered
from btx.runtime.session import Session

__all__ = ("StateKeeper", "attached", "rebuild")

_log = logging.getLogger("btx")
_EPOCH_DAYS = 719_163.0  # 1970-01-01 as backtrader counts days
_EVERY_NS = 60 * NS_PER_S  # market time between two savings that no fill asks for


def rebuild(account: Account) -> list[Ticket]:
    """Return tickets for the orders that earlier runs left; those of an instrument without a data are told and left.

    They have no owner: backtrader tells the first strategy of them. An exit the
    venue made says which order it is attached to where that was left too; of one
    that was over and told, this process has no order. Of their
    fills those that were delivered are in ``executed``; the others wait in
    ``untold`` for the first bar.
    """
    recovered = account.session.recovered()
    legs: dict[str, list[Order]] = {}
    for leg in recovered.orders:
        legs.setdefault(leg.leg.owner_id, []).append(leg)
    tickets: list[Ticket] = []
    for group in recovered.groups:
        first: Any = None
        for member in (*((group.entry,) if group.entry is not None else ()), *group.members):
            own = legs.pop(member.member_id, [])
            tie = {"parent" if group.kind is GroupKind.BRACKET else "oco": first}
            ticket = _ticket(account, member.member_id, member.request, own, recovered=recovered, tie=tie)
            if ticket is None:
                break
            ticket.in_group = True
            if member is not group.entry and not own:
                ticket.order.status = bt.Order.Accepted
            first = first if first is not None else ticket.order
            tickets.append(ticket)
    for owner_id, own in legs.items():
        ticket = _ticket(account, owner_id, own[-1].leg.request, own, recovered=recovered, tie={})
        if ticket is not None:
            tickets.append(ticket)
    refs = {ticket.owner_id: ticket.order.ref for ticket in tickets}
    for ticket in tickets:
        if (parent_id := ticket.order.info.get("attached_to_id")) in refs:
            ticket.order.addinfo(attached_to=refs[parent_id])
    return tickets


def _ticket(
    account: Account,
    owner_id: str,
    request: OrderRequest,
    legs: Iterable[Order],
    *,
    recovered: Recovered,
    tie: Mapping[str, Any],
) -> Ticket | None:
    book = account.books.get(Key(request.instrument.symbol, request.position_side))
    if book is None:
        side = f" ({request.position_side.value.lower()})" if request.position_side is not PositionSide.NET else ""
        account.store.put_notification(
            f"order {owner_id} of an earlier run is in {request.instrument.symbol}{side}, which has no data here: "
            "it is left as it is"
        )
        return None
    order = _order(request, book.data, tie)
    order.addcomminfo(book.comminfo)
    order.addinfo(recovered=True, client_order_id=owner_id)
    ticket = Ticket(order=order, book=book, request=request, owner_id=owner_id, is_rebuilt=True)
    for leg in legs:
        order.addinfo(**_said_of(account, leg.leg))
        ticket.legs[leg.client_order_id] = leg
        untold = {fill.fill_id for fill in recovered.undelivered.get(leg.client_order_id, ())}
        for fill in leg.fills:
            if fill.fill_id in untold:
                ticket.untold.append(fill)
            else:
                ticket.fills[fill.fill_id] = fill
                _count(account, ticket, fill)
        if leg.venue_order_id is not None:
            order.addinfo(venue_order_id=leg.venue_order_id)
    ticket.untold.sort(key=lambda fill: (fill.time_ns, fill.fill_id))
    order.executed.markpending()  # what is counted so far was told in another life
    order.broker = account.store.broker
    order.status = bt.Order.Submitted
    if ticket.fills:
        order.addinfo(fills=tuple(ticket.fills.values()))
        order.status = bt.Order.Partial
    elif any(STATUSES[leg.status] != bt.Order.Submitted for leg in ticket.legs.values()):
        order.status = bt.Order.Accepted
    if not ticket.remaining:
        ticket.ended = Status.FILLED, ""
        _close(ticket)
    return ticket


def attached(account: Account, leg: Leg) -> Ticket | None:
    """Return a ticket for an exit that the venue made of an order; None where no data is in its position.

    It is of the strategy that sent the order.
    """
    request = leg.request
    book = account.books.get(Key(request.instrument.symbol, request.position_side))
    if book is None or leg.parent_id is None:
        return None
    parent = account.tickets.get(leg.parent_id)
    order = _order(request, book.data, {})
    order.p.owner = parent.order.owner if parent is not None else None
    order.addcomminfo(book.comminfo)
    order.addinfo(client_order_id=leg.owner_id, **_said_of(account, leg))
    return Ticket(order=order, book=book, request=request, owner_id=leg.owner_id)


def _said_of(account: Account, leg: Leg) -> dict[str, Any]:
    """Return what tells a strategy that an order is an exit the venue made, of which order, and of what kind.

    The kind is the word that ``order_type=`` takes: backtrader calls a take-profit a stop.
    """
    if leg.parent_id is None:
        return {}
    parent = account.tickets.get(leg.parent_id)
    return {
        "origin": Origin.ATTACHED.value,
        "order_type": leg.request.order_type.value,
        "attached_to": parent.order.ref if parent is not None else None,
        "attached_to_id": leg.parent_id,
    }


def _close(ticket: Ticket) -> None:
    """End an order whose end was told in another life, unless it has fills to tell in this one."""
    if ticket.ended is not None and not ticket.untold:
        ticket.order.status = STATUSES[ticket.ended[0]]


def _order(request: OrderRequest, data: Any, tie: Mapping[str, Any]) -> Any:
    """Return backtrader's order of a request; ``data`` may have no bar yet."""
    trigger, limit = number_of(request.trigger_price), number_of(request.price)
    exectype = EXECTYPES[request.order_type]
    if request.order_type is OrderType.TRAILING_STOP and limit is not None:
        exectype = bt.Order.StopTrailLimit
    price = trigger if trigger is not None else limit
    order = (BuyOrder if request.side is Side.BUY else SellOrder)(
        owner=None,
        data=data,
        size=float(request.quantity),
        price=price if price is not None else 0.0,
        pricelimit=limit,
        exectype=exectype,
        simulated=True,  # so that backtrader asks for no bar
        **tie,
    )
    order.p.simulated = False
    order.created.dt = _EPOCH_DAYS + request.signal_ns / NS_PER_DAY
    if trigger is not None:  # a trailing stop stands where it stood
        order.created.price = trigger
    order.created.trailamount = order.trailamount = number_of(request.trail_amount)
    order.created.trailpercent = order.trailpercent = request.trail_bps / 10_000 if request.trail_bps else None
    if request.expires_ns is not None:
        order.valid = _EPOCH_DAYS + request.expires_ns / NS_PER_DAY
    return order


def _count(account: Account, ticket: Ticket, fill: Fill) -> None:
    """Put a fill that was told into ``executed``; it makes no trade any more."""
    ticket.order.executed.add(
        _EPOCH_DAYS + fill.time_ns / NS_PER_DAY,
        float(fill.side.sign * fill.quantity),
        float(fill.price),
        openedcomm=account.fee_of(ticket.book, fill),
    )


class StateKeeper:
    """Saves and loads the state of strategies that have ``save_state`` and ``load_state``.

    ``save_state()`` returns what ``json`` can write: a dict, a text, ...;
    ``load_state(state)`` is given the same again, before the first ``next()``
    and before any order is told. Neither can end the run: what they raise is told.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._names: dict[int, str] = {}  # by id of the strategy
        self._strategies: list[Any] = []
        self._saved_ns: int | None = None

    @property
    def are_kept(self) -> bool:
        """A strategy of this run has a state to save."""
        return any(hasattr(strategy, "save_state") for strategy in self._strategies)

    def begin(self, strategies: Iterable[Any]) -> None:
        """Take over the strategies of a run, and load what was saved of each; once per run."""
        if self._strategies:
            return
        counts: dict[str, int] = {}
        for strategy in strategies:
            name = type(strategy).__name__
            counts[name] = counts.get(name, 0) + 1
            self._strategies.append(strategy)
            self._names[id(strategy)] = name if counts[name] == 1 else f"{name}-{counts[name]}"
            self._load(strategy)

    def _load(self, strategy: Any) -> None:
        load, name = getattr(strategy, "load_state", None), self._names[id(strategy)]
        if load is None or (text := self._session.load_state(name)) is None:
            return
        try:
            load(json.loads(text))
        except Exception:  # noqa: BLE001 -- the user's code may raise anything; told, and it begins without its state
            _log.exception("%s: the state of %s could not be loaded", self._session.name, name)

    def save(self, strategy: Any = None) -> None:
        """Save the state of one strategy, of the first when it is None: backtrader tells it what has no owner."""
        strategy = strategy if strategy is not None else next(iter(self._strategies), None)
        save, name = getattr(strategy, "save_state", None), self._names.get(id(strategy))
        if save is None or name is None:
            return
        try:
            text = json.dumps(save())
        except Exception:  # noqa: BLE001 -- likewise; what was saved before stays
            _log.exception("%s: the state of %s could not be saved", self._session.name, name)
            return
        self._session.save_state(name, text)

    def save_all(self) -> None:
        """Save the state of every strategy."""
        for strategy in self._strategies:
            self.save(strategy)

    def pass_time(self, now_ns: int) -> None:
        """Save the state of every strategy when a minute of market time has passed since the last time."""
        if self._saved_ns is None or now_ns < self._saved_ns:
            self._saved_ns = now_ns
        elif now_ns - self._saved_ns >= _EVERY_NS:
            self._saved_ns = now_ns
            self.save_all()
