"""Orders of a backtest on bars as strategies send them: checked, kept, cancelled, changed, and ended together."""

import logging
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder

from btx.bt.barfills import BarFills
from btx.bt.barorders import Ticket, together, working_of
from btx.bt.books import Book
from btx.bt.folds import close_ns_of
from btx.bt.orders import (
    OWN_ARGUMENTS,
    Asked,
    amended,
    exectype_of,
    make_request,
    misspelt,
    refusal_of,
    show_request,
)
from btx.errors import BtxError, ConfigError
from btx.model.order import Side
from btx.model.time import iso

__all__ = ("BarIntake",)

_log = logging.getLogger("btx")


class BarIntake(BarFills):
    """The broker as far as it takes orders; what bars do to them is :class:`btx.bt.barbroker.BarBroker`'s."""

    def buy(self, owner: Any, data: Any, size: float, **arguments: Any) -> Any:
        """Take a buy order; its arguments are those of the live broker."""
        return self._order(BuyOrder, Side.BUY, owner, data, size, **arguments)

    def sell(self, owner: Any, data: Any, size: float, **arguments: Any) -> Any:
        """Take a sell order; its arguments are those of the live broker."""
        return self._order(SellOrder, Side.SELL, owner, data, size, **arguments)

    def _order(  # noqa: PLR0917 -- backtrader's signature
        self,
        kind: Any,
        side: Side,
        owner: Any,
        data: Any,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        exectype: Any = None,
        valid: Any = None,
        tradeid: int = 0,
        oco: Any = None,
        trailamount: float | None = None,
        trailpercent: float | None = None,
        parent: Any = None,
        transmit: bool = True,
        **info: Any,
    ) -> Any:
        book = self._book(data)
        if not len(data):
            raise BtxError(f"{data._name}: no order before its first bar, backtrader needs its price: wait for next()")
        info = {key: value for key, value in info.items() if key not in {"histnotify", "_checksubmit"}}
        order = kind(
            owner=owner,
            data=data,
            size=size,
            price=price,
            pricelimit=plimit,
            exectype=exectype_of(exectype, info.get("order_type")),
            tradeid=tradeid,
            oco=oco,
            trailamount=trailamount,
            trailpercent=trailpercent,
            parent=parent,
            transmit=transmit,
        )
        order.addinfo(**{key: value for key, value in info.items() if key not in OWN_ARGUMENTS})
        order.addcomminfo(book.comminfo)
        asked = Asked(
            side=side,
            size=size,
            price=price,
            plimit=plimit,
            valid=valid,
            trailamount=trailamount,
            trailpercent=trailpercent,
            info=info,
            is_child=parent is not None,
        )
        refusal = misspelt(info, OWN_ARGUMENTS) or self._take(order, book, asked)
        if refusal is not None:
            _log.info("%s: an order in %s is not taken: %s", self._session.name, book.instrument.symbol, refusal)
            self._refuse(order, refusal)
            self._break_up(parent or oco, refusal)
        return order

    def _take(self, order: Any, book: Book, asked: Asked) -> str | None:
        """Check an order and keep it; return the reason when it is not taken."""
        is_close = order.exectype == bt.Order.Close
        try:
            if is_close:  # the live order maker has no word for it: it is a market order that waits for the end
                order.exectype = bt.Order.Market
            request = make_request(order, asked, book)
            parent, oco = self._known(order.parent), self._known(order.oco)
        except (BtxError, ValueError) as error:
            return str(error)
        finally:
            if is_close:
                order.exectype = bt.Order.Close
        if (refused := refusal_of(book, request, is_one_more=not asked.is_child)) is not None:
            return refused
        ends_ns = book.instrument.delivery_ns
        if ends_ns is not None and close_ns_of(book.data.lines) >= ends_ns:
            return f"{book.instrument.symbol} was delivered at {iso(ends_ns)}: trade a later contract"
        days, selling = self._days.get(book.key), self._open_sells(book)
        if days is not None and (refused := days.refusal(request, book.mirror.held, selling, is_exit=asked.is_child)):
            return refused
        ticket = Ticket(
            order=order,
            book=book,
            request=request,
            work=working_of(request),
            born=self._now(),
            parent=parent,
            is_active=parent is None or bool(parent.fills),
            is_close=is_close,
        )
        if parent is not None:
            parent.children.append(ticket)
        ticket.group = oco.group if oco is not None else []
        ticket.group.append(ticket)
        self._tickets[order.ref] = ticket
        alike: Any = ticket  # as far as the order maker looks at it
        self._account.tickets[str(order.ref)] = alike
        self._hold_or_send(ticket)
        return None

    def _hold_or_send(self, ticket: Ticket) -> None:
        head = ticket.parent.order.ref if ticket.parent is not None else ticket.order.ref
        self._held_back.setdefault(head, []).append(ticket)
        if not ticket.order.transmit:
            return
        for each in self._held_back.pop(head):
            each.order.submit(self)
            self.submitted.append(each)
            self.notify(each.order)

    def _known(self, order: Any) -> Ticket | None:
        if order is None:
            return None
        ticket = self._tickets.get(order.ref)
        if ticket is None:
            reason = order.info.get("reason")
            because = f": {reason}" if reason else ""
            raise ConfigError(f"order {order.ref}, which it is tied to, is {order.getstatusname()}{because}")
        return ticket

    def _break_up(self, order: Any, reason: str) -> None:
        """Refuse what would have left together with an order that is refused: no entry leaves without its exits."""
        if order is None or order.ref not in self._held_back:
            return
        for each in self._held_back.pop(order.ref):
            self._drop(each)
            self._refuse(each.order, f"an order it is tied to was refused: {reason}")

    def _refuse(self, order: Any, reason: str, *, lacks_funds: bool = False) -> None:
        order.addinfo(reason=reason)
        if lacks_funds:
            order.margin()
        else:
            order.reject(self)
        self.notify(order)

    def cancel(self, order: Any, bracket: bool = False) -> bool:  # noqa: ARG002 -- backtrader's signature
        """End an order, also one of the same bar; with a parent that has not filled its children end."""
        ticket = self._tickets.get(order.ref)
        if ticket is None:
            return False
        self._end(ticket, ticket.order.cancel)
        return True

    def cancel_all(self, data: Any = None) -> int:
        """End every living order, or those in a data's instrument; return how many."""
        book = self._book(data) if data is not None else None
        living = [each for each in self._tickets.values() if book in {None, each.book}]
        for ticket in living:
            self.cancel(ticket.order)
        return len(living)

    def amend(
        self,
        order: Any,
        price: float | None = None,
        size: float | None = None,
        plimit: float | None = None,
        trailamount: float | None = None,
    ) -> bool:
        """Change a living order, as the live broker does; what is None stays. Say whether it was taken.

        An amended order has to wait for the next bar, as a new one has.
        """
        ticket = self._tickets.get(order.ref)
        if ticket is None:
            return False
        changes = {"price": price, "size": size, "plimit": plimit, "trailamount": trailamount}
        try:
            request = amended(ticket.book, ticket.request, filled=ticket.filled, **changes)
            if (refused := refusal_of(ticket.book, request, is_one_more=False)) is not None:
                raise ConfigError(refused)
        except (BtxError, ValueError) as error:
            ticket.order.addinfo(amend_refused=str(error))
            self.remark(f"order {order.ref}: the amendment was refused: {error}")
            return False
        ticket.request, ticket.work, ticket.born = request, working_of(request), self._now()
        show_request(ticket.order, request)
        ticket.order.addinfo(amended=True)
        if ticket.filled:
            ticket.order.partial()
        elif ticket.is_taken:
            ticket.order.accept(self)
        self.notify(ticket.order)
        return True

    def _end(self, ticket: Ticket, end: Any, reason: str | None = None) -> None:
        """End an order, and what ends with it."""
        order = ticket.order
        self._drop(ticket)
        if reason is not None:
            order.addinfo(reason=reason)
        end()
        self.notify(order)
        self._end_others(ticket)

    def _end_others(self, ticket: Ticket) -> None:
        for other in together(ticket):
            if other.order.ref in self._tickets:
                self._drop(other)
                other.order.cancel()
                self.notify(other.order)
                self._end_exits(other)
        self._end_exits(ticket)

    def _end_exits(self, ticket: Ticket) -> None:
        """End the exits of what is over: those of nothing, and those that have sold all it brought."""
        for child in ticket.children:
            if child.order.ref not in self._tickets:
                continue
            if not ticket.fills:
                self._drop(child)
                child.order.cancel()
                self.notify(child.order)
            elif child.fills and not child.remaining:
                self._complete(child)

    def _complete(self, ticket: Ticket) -> None:
        self._drop(ticket)
        ticket.order.executed.remsize = 0  # floats may leave a dust of their own
        ticket.order.completed()
        self.notify(ticket.order)
        self._end_others(ticket)

    def _drop(self, ticket: Ticket) -> None:
        del self._tickets[ticket.order.ref], self._account.tickets[str(ticket.order.ref)]
        for queue in (self.submitted, self._working, *self._held_back.values()):
            if ticket in queue:
                queue.remove(ticket)

    def _now(self) -> float:
        """Return the time of the newest bar, as backtrader counts it."""
        return max(float(data.datetime[0]) for data in self._by_data if len(data))
