"""The broker of ``env="backtest"``: orders meet bars as the venue would let them, and money is the venue's."""

import logging
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder

from btx.bt.baraccount import Fresh, Meeting
from btx.bt.barfills import BarFills
from btx.bt.barmargin import MarginKeeper
from btx.bt.barorders import AT_ONCE, Ticket, together, working_of
from btx.bt.barowned import OwnedKeeper
from btx.bt.books import Book
from btx.bt.history import HistoryFeed
from btx.bt.margin import MarginedAccount
from btx.bt.matching import Match, Prices, at_open, follow, within
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
from btx.model.order import Fill, Liquidity, Side, TimeInForce
from btx.model.time import NS_PER_DAY, NS_PER_MS

__all__ = ("BarBroker",)

_log = logging.getLogger("btx")
_ZERO = Decimal(0)
_MS_PER_DAY = NS_PER_DAY // NS_PER_MS
_EPOCH_DAYS = 719_163.0
_MOMENT = 1e-6  # of a day, a tenth of a second: finer than bars, coarser than what floats lose


class BarBroker(BarFills):
    """Fills on bars that a strategy could have had, counted as the venue counts.

    What it is asked and told is as with ``bt.brokers.BackBroker``; orders, money
    and positions are those of the live broker: the same rules refuse and round,
    the same ledger is behind ``getcash``, ``getvalue`` and ``getposition``.
    """

    def start(self) -> None:
        super().start()
        account = self._account
        if isinstance(account, MarginedAccount):
            self._keeper = MarginKeeper(self, account, self._session)
        else:
            self._keeper = OwnedKeeper(account)

    # --- orders -------------------------------------------------------------------------------------------------

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
        if ticket.is_taken:
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
        """End the exits of what is over and has brought nothing."""
        if ticket.fills:
            return
        for child in ticket.children:
            if child.order.ref in self._tickets:
                self._drop(child)
                child.order.cancel()
                self.notify(child.order)

    def _drop(self, ticket: Ticket) -> None:
        del self._tickets[ticket.order.ref], self._account.tickets[str(ticket.order.ref)]
        for queue in (self.submitted, self._working, *self._held_back.values()):
            if ticket in queue:
                queue.remove(ticket)

    def _now(self) -> float:
        """Return the time of the newest bar, as backtrader counts it."""
        return max(float(data.datetime[0]) for data in self._by_data if len(data))

    # --- a round ------------------------------------------------------------------------------------------------

    def turn(self) -> bool:
        """Say that nothing is to be done: no order lives, and no position can be touched by its new bar."""
        return not self.notifs and self._is_idle()

    def _is_idle(self) -> bool:
        if self._tickets or self._days:
            return False
        return self._keeper.is_calm()

    def next(self) -> None:
        """Let new bars meet the orders: first their opens, then what hurts, then what helps, and last their closes."""
        if self._is_idle():
            return
        self._expire(is_over=False)
        fresh = self._fresh()
        keeper, shortest = self._keeper, _shortest(fresh)
        for each in shortest:
            if (days := self._days.get(each.book.key)) is not None:
                days.begin(each.open_ns, each.close_ns, each.bar)
        keeper.mark(shortest, lambda bar: bar.open)
        keeper.fund(shortest, lambda each: each.open_ns)
        keeper.check(shortest)
        self._accept()
        meetings = self._meetings(fresh)
        for meeting in meetings:
            self._meet(meeting, at_open(meeting.ticket.work, meeting.bar), meeting.fresh.open_ns, is_first=True)
        keeper.fund(shortest, lambda each: each.close_ns - 1)
        self._within(meetings, stops=True)
        keeper.worst(shortest)
        self._within(meetings, stops=False)
        keeper.worst(shortest)
        for meeting in meetings:
            self._at_close(meeting)
        keeper.mark(shortest, lambda bar: bar.close)
        keeper.fund(shortest, lambda each: each.close_ns)
        keeper.check(shortest)
        self._early.clear()
        self._expire(is_over=True)

    def _fresh(self) -> list[Fresh]:
        """Return the bars that have come since the last round."""
        found = []
        for data, book in self._by_data.items():
            if len(data) and self._seen.get(data) != (stamp := data.datetime[0]):
                self._seen[data] = stamp
                found.append(_fresh_of(book, data))
        return found

    def _meetings(self, fresh: list[Fresh]) -> list[Meeting]:
        """Return which order meets which bar; one that came while a bar was being made sees nothing but its close."""
        by_data = {id(each.data): each for each in fresh}
        self._room = {id(each.data): self._room_of(each) for each in fresh}
        found = []
        for ticket in self._working:
            each = by_data.get(id(ticket.order.data))
            if each is None or not ticket.is_active:
                continue
            stamp = each.data.datetime[0]
            if stamp > ticket.born + _MOMENT:
                close = each.bar.close
                is_whole = each.open_days >= ticket.born - _MOMENT
                bar = each.bar if is_whole else Prices(close, close, close, close)
            elif self.p.coo and stamp >= ticket.born - _MOMENT:
                bar = each.bar
            else:
                continue
            found.append(Meeting(ticket, each, bar))
        return found

    def _within(self, meetings: list[Meeting], *, stops: bool) -> None:
        for meeting in meetings:
            ticket = meeting.ticket
            if ticket.order.ref in self._tickets and ticket.work.is_stop is stops:
                self._meet(meeting, within(ticket.work, meeting.bar), meeting.fresh.close_ns)
        while self._early:
            meeting = self._early.pop(0)
            work = meeting.ticket.work
            if meeting.ticket.order.ref in self._tickets and meeting.ticket.is_taken:
                match = at_open(work, meeting.bar) or within(work, meeting.bar)
                self._meet(meeting, match, meeting.fresh.close_ns)

    def _meet(self, meeting: Meeting, match: Match | None, time_ns: int, *, is_first: bool = False) -> None:
        ticket = meeting.ticket
        if ticket.order.ref not in self._tickets:
            return
        is_short_lived = is_first and ticket.request.time_in_force in AT_ONCE and not ticket.work.waits
        if ticket.is_close:
            return
        if match is not None:
            ticket.order.triggered = ticket.order.triggered or ticket.work.is_triggered
            self._execute(meeting, match, time_ns)
        if is_short_lived and ticket.order.ref in self._tickets:
            self._expired(ticket, f"{ticket.request.time_in_force.value}: nothing more could be had at once")

    def _at_close(self, meeting: Meeting) -> None:
        ticket, data, close = meeting.ticket, meeting.fresh.data, meeting.bar.close
        order = ticket.order
        if order.ref not in self._tickets:
            return
        if ticket.is_close:
            stamp = data.datetime[0]
            if stamp >= order.dteos:
                before = ticket.annotated
                price = close if before is None or stamp == order.dteos else before
                self._execute(meeting, Match(price, takes=True), meeting.fresh.close_ns)
            ticket.annotated = close
            return
        work = ticket.work
        follow(work, close)
        if work.trail_amount is not None or work.trail_share is not None:
            order.created.price = work.trigger
            if work.limit is not None:
                order.created.pricelimit = work.limit

    def _accept(self) -> None:
        """Let the venue take what was sent: what it has no money for ends in Margin."""
        while self.submitted:
            ticket = self.submitted.popleft()
            lacking = (
                self._keeper.lacking(ticket, self._working, None) if self.p.checksubmit and ticket.is_active else None
            )
            if lacking is not None:
                self._drop(ticket)
                self._refuse(ticket.order, lacking, lacks_funds=True)
                self._end_others(ticket)
                continue
            ticket.order.accept(self)
            ticket.is_taken = True
            self._working.append(ticket)
            self.notify(ticket.order)
            if self.p.coc and _is_plain_market(ticket) and ticket.order.info.get("coc", True):
                each = _fresh_of(ticket.book, ticket.order.data)
                self._room = {}
                price = ticket.order.created.pclose
                bar = Prices(price, price, price, price)
                self._execute(Meeting(ticket, each, bar), Match(price, takes=True), each.open_ns)

    def _expire(self, *, is_over: bool) -> None:
        """End orders whose time ended within the new bar, which they do not see, or with it."""
        now_ns = self._session.clock.market_ns()
        for ticket in tuple(self._tickets.values()):
            expires_ns = ticket.request.expires_ns
            if expires_ns is not None and ticket.order.ref in self._tickets and now_ns >= expires_ns + (not is_over):
                self._expired(ticket, "its time is over")

    def _expired(self, ticket: Ticket, reason: str) -> None:
        order = ticket.order

        def end() -> None:
            order.status = bt.Order.Expired
            order.executed.dt = order.data.datetime[0]

        self._end(ticket, end, reason)

    def _execute(self, meeting: Meeting, match: Match, time_ns: int) -> None:
        ticket, each = meeting.ticket, meeting.fresh
        order, book, request = ticket.order, ticket.book, ticket.request
        if request.post_only and match.takes:
            self._drop(ticket)
            self._refuse(order, f"post-only, and it would take at {match.price!r}")
            self._end_others(ticket)
            return
        price = self._slipped(ticket, match, meeting.bar)
        if price is None:
            return
        quantity, is_capped = self._quantity(meeting, price)
        if not quantity:
            if request.reduce_only and not is_capped:
                self._end(ticket, order.cancel, "nothing is left to reduce")
            return
        if request.time_in_force is TimeInForce.FOK and quantity < ticket.remaining:
            self._expired(ticket, "FOK: not all of it could be had at once")
            return
        if ticket.work.limit is None and (lacking := self._keeper.lacking(ticket, self._working, price)) is not None:
            self._drop(ticket)
            self._refuse(order, lacking, lacks_funds=True)
            self._end_others(ticket)
            return
        liquidity = Liquidity.TAKER if match.takes else Liquidity.MAKER
        fill = self._fill(book, request.side, quantity, price, time_ns, liquidity=liquidity, ref=order.ref)
        if (room := self._room.get(id(each.data))) is not None:
            self._room[id(each.data)] = room - quantity
        ticket.fills.append(fill)
        order.addinfo(fills=tuple(ticket.fills))
        self._show(order, book, fill, each.data.datetime[0])
        self._follow_up(meeting, match, fill)

    def _follow_up(self, meeting: Meeting, match: Match, fill: Fill) -> None:
        """Do what a fill leads to: the end of the order and of its rivals, the beginning of its exits."""
        ticket = meeting.ticket
        order, parent = ticket.order, ticket.parent
        is_done = not ticket.remaining and (parent is None or not parent.order.alive())
        if is_done:
            self._drop(ticket)
            order.executed.remsize = 0  # floats may leave a dust of their own
            order.completed()
        else:
            order.partial()
        self.notify(order)
        if is_done or parent is None:
            self._end_others(ticket)
        for child in ticket.children:
            if child.order.ref not in self._tickets:
                continue
            if not child.is_active:
                child.is_active = True
                child.born = self._now()
                child.order.activate()
            # What the bar did after the entry is certain where that was at its open, or at a price that it fell to.
            is_certain = fill.time_ns == meeting.fresh.open_ns or not match.takes
            if is_certain and child.work.is_stop:
                bar = meeting.bar._replace(open=match.price)
                self._early.append(Meeting(child, meeting.fresh, bar))

    def cancel_resting(self, books: Iterable[Book], reason: str) -> None:
        """End all orders that rest in these books, as venues do before they liquidate."""
        ids = {id(book) for book in books}
        for ticket in tuple(self._tickets.values()):
            if id(ticket.book) in ids and ticket.order.ref in self._tickets and not ticket.work.waits:
                self._end(ticket, ticket.order.cancel, reason)

    def _open_sells(self, book: Book) -> Decimal:
        sells = [each for each in self._tickets.values() if each.book is book and each.request.side is Side.SELL]
        return sum((each.remaining for each in sells if each.is_active), _ZERO)


def _fresh_of(book: Book, data: Any) -> Fresh:
    ticks = [getattr(data, f"tick_{name}", None) for name in ("open", "high", "low", "close")]
    lines = (data.open[0], data.high[0], data.low[0], data.close[0])
    bar = Prices(*(line if tick is None else tick for tick, line in zip(ticks, lines, strict=True)))
    stamp = data.datetime[0]
    if isinstance(data, HistoryFeed) and not data.replaying and not data.resampling:
        open_days = _EPOCH_DAYS + data.ts_ms[0] / _MS_PER_DAY
    else:
        open_days = data.datetime[-1] if len(data) > 1 and not data.replaying else 0.0
    open_ns = round((open_days - _EPOCH_DAYS) * _MS_PER_DAY) * NS_PER_MS
    return Fresh(book, data, bar, open_days, open_ns, round((stamp - _EPOCH_DAYS) * _MS_PER_DAY) * NS_PER_MS)


def _shortest(fresh: list[Fresh]) -> list[Fresh]:
    """Return one bar of each book: of several that end together the shortest, which says most."""
    found: dict[int, Fresh] = {}
    for each in fresh:
        known = found.get(id(each.book))
        if known is None or each.open_ns > known.open_ns:
            found[id(each.book)] = each
    return list(found.values())


def _is_plain_market(ticket: Ticket) -> bool:
    return ticket.work.limit is None and not ticket.work.waits and not ticket.is_close
