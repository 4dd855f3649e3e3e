"""The broker of ``env="backtest"``: orders meet bars as the venue would let them, and money is the venue's."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import backtrader as bt

from btx.bt.baraccount import Fresh, Meeting
from btx.bt.barintake import BarIntake
from btx.bt.barmargin import MarginKeeper
from btx.bt.barorders import AT_ONCE, Ticket
from btx.bt.barowned import OwnedKeeper
from btx.bt.books import Book
from btx.bt.history import HistoryFeed
from btx.bt.margin import MarginedAccount
from btx.bt.matching import Match, Prices, at_open, follow, within
from btx.model.order import Fill, Liquidity, Side, TimeInForce
from btx.model.time import NS_PER_DAY, NS_PER_MS

__all__ = ("BarBroker",)

_ZERO = Decimal(0)
_MS_PER_DAY = NS_PER_DAY // NS_PER_MS
_EPOCH_DAYS = 719_163.0
_MOMENT = 1e-6  # of a day, a tenth of a second: finer than bars, coarser than what floats lose


class BarBroker(BarIntake):
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
        meetings, late = self._meetings(fresh)
        for meeting in meetings:
            self._meet(meeting, at_open(meeting.ticket.work, meeting.bar), meeting.fresh.open_ns, is_first=True)
        keeper.fund(shortest, lambda each: each.close_ns - 1)
        self._within(meetings, stops=True)
        keeper.worst(shortest)
        self._within(meetings, stops=False)
        keeper.worst(shortest)
        for meeting in late:
            self._meet(meeting, at_open(meeting.ticket.work, meeting.bar), meeting.fresh.close_ns, is_first=True)
        for meeting in (*meetings, *late):
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

    def _meetings(self, fresh: list[Fresh]) -> tuple[list[Meeting], list[Meeting]]:
        """Return which order meets which bar, and which came while its bar was being made and meets but its close."""
        by_data = {id(each.data): each for each in fresh}
        self._room = {id(each.data): self._room_of(each) for each in fresh}
        whole, late = [], []
        for ticket in self._working:
            each = by_data.get(id(ticket.order.data))
            if each is None or not ticket.is_active:
                continue
            stamp, close = each.data.datetime[0], each.bar.close
            is_after = stamp > ticket.born + _MOMENT
            if (is_after and each.open_days >= ticket.born - _MOMENT) or (
                self.p.coo and stamp >= ticket.born - _MOMENT
            ):
                whole.append(Meeting(ticket, each, each.bar))
            elif is_after:
                late.append(Meeting(ticket, each, Prices(close, close, close, close)))
        return whole, late

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
        if not ticket.remaining and (parent is None or not parent.order.alive()):
            self._complete(ticket)
        else:
            order.partial()
            self.notify(order)
            if parent is None:
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
    if data.replaying or len(data) == 1:
        open_days = stamp  # of a replayed bar only its newest part counts, and nothing was asked for before the first
    elif isinstance(data, HistoryFeed) and not data.resampling:
        open_days = _EPOCH_DAYS + data.ts_ms[0] / _MS_PER_DAY
    else:
        open_days = data.datetime[-1]
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
