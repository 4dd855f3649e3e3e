"""News of orders: what the sessions learned, folded into backtrader's orders and told to the strategy."""

import logging
from collections import deque
from decimal import Decimal
from typing import Any

import attrs
import backtrader as bt
from backtrader.order import BuyOrder, SellOrder

from btx.bt.books import Account, Book, Executed, Ticket
from btx.bt.margin import MarginedAccount
from btx.bt.orders import STATUSES, show_request
from btx.bt.restart import StateKeeper, attached
from btx.model.account import AccountUpdate
from btx.model.order import (
    AmendResult,
    CancelOutcome,
    CancelResult,
    Fill,
    Group,
    GroupKind,
    Leg,
    Order,
    OrderType,
    Origin,
    OutcomeUnknown,
    PlaceRefused,
    Status,
)
from btx.model.time import NS_PER_DAY
from btx.rules.wallet import Key
from btx.runtime.mailbox import BookingTold, GroupWritten, MemberEnded, MemberUnchanged, OrderUpdate
from btx.runtime.session import Session

__all__ = ("News",)

_log = logging.getLogger("btx")
_EPOCH_DAYS = 719_163.0
_Told = tuple[Session, str, str]  # whose session, client order id, fill id


class News:
    """Folds events into tickets, and keeps what is to be told until backtrader asks for it. Cerebro's thread.

    A fill counts as delivered when the strategy was told of it and did not raise.
    """

    def __init__(self, broker: Any, states: StateKeeper) -> None:
        self._broker = broker  # whom backtrader's orders name as theirs
        self._states = states
        self._waiting: deque[tuple[Any, tuple[_Told, ...]]] = deque()
        self._handed: tuple[Any, tuple[_Told, ...]] | None = None  # the strategy is being told of it
        self._fills: dict[int, list[_Told]] = {}  # by order.ref: what its next notification tells of

    def __len__(self) -> int:
        return len(self._waiting)

    # --- to the strategy ----------------------------------------------------------------------------------------

    def next_order(self) -> Any:
        """Return the next order for ``notify_order``, None when there is none."""
        if self._handed is not None:  # backtrader asks for the next one when the strategy was told of the last
            (owner, fills), self._handed = self._handed, None
            if fills:
                self._states.save(owner)
            for session, client_order_id, fill_id in fills:
                session.delivered(client_order_id, fill_id)
        if not self._waiting:
            return None
        order, fills = self._waiting.popleft()
        self._handed = order.owner, fills
        return order

    def tell(self, order: Any) -> None:
        """Let the strategy know of an order as it is now."""
        self._waiting.append((order.clone(), tuple(self._fills.pop(order.ref, ()))))

    def refuse(self, order: Any, reason: str, *, lacks_funds: bool = False) -> None:
        """End an order that was not sent."""
        order.addinfo(reason=reason)
        if lacks_funds:
            order.margin()
        else:
            order.reject(self._broker)
        self.tell(order)

    def refuse_amendment(self, ticket: Ticket, reason: str) -> None:
        """Say that an amendment came to nothing; the order stays."""
        ticket.order.addinfo(amend_refused=reason)
        text = f"order {ticket.order.ref}: the amendment was refused: {reason}"
        _log.warning("%s: %s", ticket.book.account.session.name, text)
        ticket.book.account.store.put_notification(text)

    # --- from the sessions --------------------------------------------------------------------------------------

    def take(self, account: Account, *, is_ending: bool = False) -> None:
        """Take over what an account's session learned; of bookings ``is_ending`` leaves the telling to the next run."""
        for item in account.store.events():
            match item:
                case AccountUpdate():
                    account.take_totals(item)
                case GroupWritten(group=group):
                    self._on_group(account, group)
                case MemberUnchanged():
                    self._on_unchanged(account, item)
                case BookingTold():
                    account.take_booking(item.booking, recovered=item.recovered)
                    if not is_ending:
                        account.session.booking_delivered(item.booking)
                case OrderUpdate() | MemberEnded():
                    self._hear(account, item)
        for difference in account.differences(account.session.clock.wire_ns()):
            account.store.put_notification(difference)

    def _hear(self, account: Account, item: OrderUpdate | MemberEnded) -> None:
        owner_id = item.order.leg.owner_id if isinstance(item, OrderUpdate) else item.member_id
        ticket = account.tickets.get(owner_id)
        if ticket is None and isinstance(item, OrderUpdate):
            ticket = self._attached(account, item.order.leg)
        if ticket is None:
            self._of_nobody(account, item)
        elif not len(ticket.order.data):
            account.early.append(item)  # of an earlier run's order: backtrader dates it with the first bar
        elif isinstance(item, OrderUpdate):
            self._on_update(account, ticket, item)
        else:
            ticket.ended = item.status, item.reason
            self._go_on(ticket)

    def _attached(self, account: Account, leg: Leg) -> Ticket | None:
        """Return the ticket of an exit that the venue made of an order of the strategy, None where it is none."""
        ticket = attached(account, leg)
        if ticket is not None:
            self._broker.keep(account, ticket)
        return ticket

    def _on_group(self, account: Account, group: Group) -> None:
        account.unwritten.pop(group.group_id, None)
        everyone = (*((group.entry,) if group.entry is not None else ()), *group.members)
        for member in everyone:
            ticket = account.tickets.get(member.member_id)
            if ticket is None:
                continue
            ticket.in_group = True
            if not ticket.order.alive():
                continue
            self._submitted(ticket)
            is_exit = group.kind is GroupKind.BRACKET and member is not group.entry
            trails = member.request.order_type is OrderType.TRAILING_STOP
            # Of what waits for a fill, or follows the market, nothing rests at the venue that could be accepted.
            if is_exit or trails:
                self._accepted(ticket)
            if ticket.amending == member.request and (trails or not _needs_new_leg(ticket, is_exit=is_exit)):
                self._amended(ticket)

    def _on_unchanged(self, account: Account, item: MemberUnchanged) -> None:
        ticket = account.tickets.get(item.member_id)
        if ticket is not None and ticket.amending is not None:
            ticket.amending = None
            self.refuse_amendment(ticket, item.reason)
            self._go_on(ticket)

    def _on_update(self, account: Account, ticket: Ticket, update: OrderUpdate) -> None:
        leg, order = update.order, ticket.order
        self._know(account, ticket, leg)
        for fill in update.recovered:
            if fill.fill_id not in ticket.fills:
                account.take_back(ticket.book, fill)
                self._on_fill(account, ticket, leg, fill, recovered=True)
        match update.event:
            case None:
                self._submitted(ticket)
            case Fill() as fill:
                self._on_fill(account, ticket, leg, fill)
                return
            case PlaceRefused(reason=reason):
                _log.warning("%s: %s was refused: %s", account.session.name, ticket, reason)
            case OutcomeUnknown(reason=reason):
                order.addinfo(reason=reason)
                account.store.put_notification(f"order {order.ref}: no answer yet: {reason}")
            case CancelResult(outcome=CancelOutcome.REFUSED, reason=reason):
                self._cancel_refused(account, ticket, leg, reason)
            case AmendResult(outcome=CancelOutcome.REFUSED, reason=reason):
                ticket.amending = None
                self.refuse_amendment(ticket, reason)
        self._go_on(ticket)

    def _know(self, account: Account, ticket: Ticket, leg: Order) -> None:
        """Keep what a leg has become."""
        ticket.legs[leg.client_order_id] = leg
        group_id, order = leg.leg.group_id, ticket.order
        if group_id is not None:
            ticket.in_group = True
            if (group := account.unwritten.get(group_id)) is not None:
                self._on_group(account, group)
        if len(ticket.legs) > 1:
            order.addinfo(legs=tuple(ticket.legs))
        if leg.venue_order_id is not None:
            order.addinfo(venue_order_id=leg.venue_order_id)
        trigger = leg.leg.request.trigger_price
        if ticket.request.order_type is OrderType.TRAILING_STOP and trigger is not None and not leg.status.is_final:
            order.created.price = float(trigger)  # where it stands now, as backtrader's own shows it
        order.activate()  # a child has begun

    def _cancel_refused(self, account: Account, ticket: Ticket, leg: Order, reason: str) -> None:
        if ticket.amending is not None and (leg.status.is_final or not ticket.is_cancelled):
            ticket.amending = None
            self.refuse_amendment(ticket, reason)
            return
        ticket.order.addinfo(cancel_refused=reason)
        account.store.put_notification(f"order {ticket.order.ref}: the cancel was refused: {reason}")

    def _submitted(self, ticket: Ticket) -> None:
        if ticket.order.status == bt.Order.Created:
            ticket.order.submit(self._broker)
            self.tell(ticket.order)

    def _accepted(self, ticket: Ticket) -> None:
        self._submitted(ticket)
        if ticket.order.status == bt.Order.Submitted:
            ticket.order.accept(self._broker)
            self.tell(ticket.order)

    def _go_on(self, ticket: Ticket) -> None:
        """Tell what follows from what was heard."""
        if not ticket.order.alive():
            return
        if any(STATUSES[leg.status] in {bt.Order.Accepted, bt.Order.Partial} for leg in ticket.legs.values()):
            self._accepted(ticket)
        self._follow_amendment(ticket)
        if (refused := ticket.refused) and ticket.order.info.get("part_refused") != refused:
            ticket.order.addinfo(part_refused=refused)
            ticket.book.account.store.put_notification(
                f"order {ticket.order.ref}: a part of it was refused, the rest goes on: {refused}"
            )
        if ticket.end is not None:
            self._finish(ticket, ticket.end)

    def _follow_amendment(self, ticket: Ticket) -> None:
        if ticket.amending is None:
            return
        new = ticket.new_legs
        if any(_is_taken(leg) for leg in new):
            self._amended(ticket)
        elif new and all(leg.status is Status.REJECTED for leg in new):
            evidence, ticket.amending = new[-1].evidence, None
            if any(not leg.status.is_final and leg.pending is None for leg in ticket.legs.values()):
                ticket.moot.update(leg.client_order_id for leg in new)
            self.refuse_amendment(ticket, evidence.reason if evidence is not None else "")

    def _amended(self, ticket: Ticket) -> None:
        assert ticket.amending is not None
        ticket.request, ticket.amending = ticket.amending, None
        show_request(ticket.order, ticket.request)
        ticket.order.addinfo(amended=True)
        if ticket.fills:
            ticket.order.partial()  # a part of it has filled, whatever it is now: no status goes back
        else:
            ticket.order.accept(self._broker)
        self.tell(ticket.order)

    def _finish(self, ticket: Ticket, end: tuple[Status, str]) -> None:
        order, (status, reason) = ticket.order, end
        reason = reason or ("cancelled by the strategy" if ticket.is_cancelled else "")
        if reason and status is not Status.FILLED:
            order.addinfo(reason=reason)
        if status is Status.FILLED:
            if ticket.amending is not None:  # what it asked for was filled before it was taken
                ticket.request, ticket.amending = ticket.amending, None
                show_request(order, ticket.request)
            order.executed.remsize = 0  # floats may leave a dust of their own: the venue's word counts
            order.completed()
        elif status is Status.CANCELED:
            order.cancel()
        elif status is Status.EXPIRED:
            # Order.expire() asks the clock of the data; the venue has decided already.
            order.status = bt.Order.Expired
            order.executed.dt = order.data.datetime[0]
        elif ticket.lacks_funds:
            order.margin()
        else:
            order.reject(self._broker)
        self.tell(ticket.order)

    def _on_fill(self, account: Account, ticket: Ticket, leg: Order, fill: Fill, *, recovered: bool = False) -> None:
        known = ticket.fills.get(fill.fill_id)
        ticket.fills[fill.fill_id] = fill
        order, book = ticket.order, ticket.book
        order.addinfo(fills=tuple(ticket.fills.values()))
        if known is not None:  # told again, with the fee it lacked
            account.book_late_fee(known, fill)
            return
        self._accepted(ticket)
        if any(leg.fills for leg in ticket.new_legs):
            self._follow_amendment(ticket)
        self._execute(order, fill, account.book_fill(book, fill), account.fee_of(book, fill))
        self._fills.setdefault(order.ref, []).append((account.session, leg.client_order_id, fill.fill_id))
        if recovered:
            order.addinfo(recovered=True, recovered_fills=(*order.info.get("recovered_fills", ()), fill))
        end = ticket.end
        if end is not None:
            self._finish(ticket, end)
        else:
            order.partial()
            self.tell(ticket.order)

    def _execute(self, order: Any, fill: Fill, executed: Executed, fee: float) -> None:
        order.execute(
            _EPOCH_DAYS + fill.time_ns / NS_PER_DAY,
            float(fill.side.sign * fill.quantity),
            float(fill.price),
            *executed.parts(order.comminfo, fee),
        )
        if executed.averaged_price is not None:
            order.executed.exbits[-1].price = executed.averaged_price  # Trade makes its average of these

    def _of_nobody(self, account: Account, item: OrderUpdate | MemberEnded) -> None:
        """Show what the exchange itself has filled, and on margin whatever else no order of the strategy explains.

        Of what was sent past this broker on spot the venue's totals will tell; a position is known by its fills.
        """
        if not isinstance(item, OrderUpdate):
            return
        fills = (*item.recovered, *((item.event,) if isinstance(item.event, Fill) else ()))
        for fill in fills:
            if fill.origin is not Origin.CLIENT or isinstance(account, MarginedAccount):
                self._on_venue_fill(account, item, fill)

    def _on_venue_fill(self, account: Account, item: OrderUpdate, fill: Fill) -> None:
        """Show a liquidation, or what undoes a double fill, as an order of its own, so that its trade closes."""
        if (fill.symbol, fill.fill_id) in account.strange:
            return
        book = account.books.get(Key(fill.symbol, fill.position_side))
        if book is not None and not book.has_begun:
            account.early.append(attrs.evolve(item, event=fill, recovered=()))
            return
        account.strange.add((fill.symbol, fill.fill_id))  # venues number the trades of each instrument apart
        whose = fill.origin.value if fill.origin is not Origin.CLIENT else "of no order of this strategy"
        why = f"{whose}: {fill.side.value} {fill.quantity.normalize():f} {fill.symbol} at {fill.price:f}"
        if book is None:
            if isinstance(account, MarginedAccount):
                account.count_strange(fill)
            return
        executed = account.book_fill(book, fill)
        order = self._past_order(book, fill.side.sign * fill.quantity, float(fill.price))
        order.addinfo(origin=fill.origin.value, reason=why, fills=(fill,))
        self._execute(order, fill, executed, account.fee_of(book, fill))
        told = account.session, item.order.client_order_id, fill.fill_id
        self._fills.setdefault(order.ref, []).append(told)  # so that no restart tells it again
        self._complete(order)

    def _past_order(self, book: Book, change: Decimal, price: float) -> Any:
        """Return an order without an owner, accepted: backtrader tells the first strategy of it."""
        kind: Any = BuyOrder if change > 0 else SellOrder
        order = kind(owner=None, data=book.data, size=float(abs(change)), price=price, exectype=bt.Order.Market)
        order.addcomminfo(book.comminfo)
        order.submit(self._broker)
        order.accept(self._broker)
        return order

    def _complete(self, order: Any) -> None:
        order.executed.remsize = 0
        order.completed()
        self.tell(order)

    def begin(self, account: Account, book: Book) -> None:
        """Show what was held at the start as an order and a trade, and tell what earlier runs could not tell."""
        mine = [ticket for ticket in account.tickets.values() if ticket.book is book]
        untold = [(fill, ticket) for ticket in mine for fill in ticket.untold]
        untold.sort(key=lambda pair: (pair[0].time_ns, pair[0].fill_id))
        for fill, _ in untold:
            account.take_back(book, fill)
        self._seed(account, book)
        for fill, ticket in untold:
            ticket.untold.remove(fill)
            leg = next(leg for leg in ticket.legs.values() if fill in leg.fills)
            self._on_fill(account, ticket, leg, fill, recovered=True)
        for ticket in mine:
            self._go_on(ticket)  # it may have ended while nobody was there
        early, account.early = account.early, []
        for item in early:
            self._hear(account, item)

    def _seed(self, account: Account, book: Book) -> None:
        held = book.begin()
        if not held:
            return
        data = book.data
        price = float(account.cost_of(book) or Decimal(repr(data.close[0])))
        executed = book.seed(held, Decimal(repr(price)))
        order = self._past_order(book, held, price)
        order.addinfo(seed=True)
        order.execute(data.datetime[0], float(held), price, *executed.parts(order.comminfo, 0.0))
        self._complete(order)


def _is_taken(leg: Order) -> bool:
    return bool(leg.fills) or (leg.evidence is not None and leg.status is not Status.REJECTED)


def _needs_new_leg(ticket: Ticket, *, is_exit: bool) -> bool:
    """Say whether an amendment shows in legs: those of an exit have its prices, and the quantity that was filled."""
    wanted = ticket.amending
    assert wanted is not None
    living = [leg.leg.request for leg in ticket.legs.values() if not leg.status.is_final]
    prices = (wanted.price, wanted.trigger_price)
    return bool(living) and not (is_exit and all((each.price, each.trigger_price) == prices for each in living))
