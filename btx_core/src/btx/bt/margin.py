"""Accounts on margin: a book per instrument or leg, over one model of wallets and positions."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from btx.bt.books import Account, Book, Executed
from btx.bt.commission import margin_commission_of
from btx.bt.feed import feed_of
from btx.model.account import AccountSnapshot, AccountUpdate, Booking, BookingKind, PositionReport
from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.order import Fill, PositionSide
from btx.model.time import NS_PER_S
from btx.rules.contracts import is_inverse, notional
from btx.rules.margin import initial_margin
from btx.rules.wallet import (
    Key,
    MarginAccount,
    MarginPosition,
    Terms,
    apply_booking,
    apply_fill,
    apply_mark,
    apply_update,
    liquidation_price,
    with_terms,
)

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("MarginBook", "MarginedAccount")

_ZERO = Decimal(0)
_HEARD_NS = 5 * NS_PER_S  # how long what the session has counted may be on its way here, in wire time


class MarginBook(Book):
    """One position on margin; what is exact of it is in its account."""

    account: "MarginedAccount"
    _mark: MarkPrice | None = None  # the last that was heard

    @property
    def cash_asset(self) -> str:
        return self.instrument.settle

    @property
    def position(self) -> MarginPosition | None:
        """The exact position, None when there is none."""
        return self.account.state.positions.get(self.key)

    @property
    def dust(self) -> Decimal:
        """None: all of a position can be closed."""
        return _ZERO

    def mark_price(self) -> Decimal | None:
        """Return the price it is valued at: the venue's mark price, the last close until one is known.

        A mark price stays after its data has ended, or while it is late, until a whole bar was newer.
        """
        feed = feed_of(self.data)
        if feed is None:
            return self.last_close()
        if (mark := feed.market.mark()) is not None:
            self._mark = mark
        elif self._mark is None or (len(feed) and feed.last_close_ns - feed.interval.nominal_ns >= self._mark.time_ns):
            return self.last_close()
        return self._mark.mark_price

    def worth(self, currency: str) -> Decimal:
        """Return the margin it takes at the last close, less than nothing of a short one."""
        position, price = self.position, self.last_close()
        rate = self.account.rate(self.cash_asset, currency)
        if position is None or price is None or rate is None:
            return _ZERO
        taken = initial_margin(notional(self.instrument, position.quantity, price), position.leverage)
        return (taken if position.quantity > 0 else -taken) * rate

    def show_seed(self, held: Decimal) -> None:
        self.pending_seed = held
        self.shown.size = float(held)
        self.shown.price = float(self.entry_price) if held else 0.0

    def begin(self) -> Decimal:
        self.has_begun = True
        held, self.pending_seed = self.pending_seed, _ZERO
        return held

    @property
    def entry_price(self) -> Decimal:
        """Average entry price, zero when flat."""
        position = self.position
        return position.entry_price if position is not None else _ZERO

    def adjust(self, change: Decimal) -> None:
        if not self.has_begun:
            self.show_seed(self.pending_seed + change)
            return
        self.mirror = attrs.evolve(self.mirror, quantity=self.mirror.quantity + change)
        self._show()

    def seed(self, held: Decimal, price: Decimal) -> Executed:
        return self._mirror(held, price)  # the account has it already

    def take(self, change: Decimal, price: Decimal) -> Executed:
        """Show what a fill has changed, once the account has counted it."""
        size, entry_price = self.mirror.total, self.shown.price
        executed = self._mirror(change, price)
        if is_inverse(self.instrument) and size and executed.opened and not executed.closed:
            averaged = (self.shown.price * self.mirror.total - entry_price * size) / executed.opened
            return attrs.evolve(executed, averaged_price=averaged)
        return executed

    def _show(self) -> None:
        self.shown.price_orig = self.shown.price
        self.shown.size = self.mirror.size
        self.shown.price = float(self.entry_price) if self.mirror.size else 0.0


class MarginedAccount(Account):
    """An account whose instruments are held on margin."""

    books: dict[Key, Book]

    def __init__(self, store: "LiveStore") -> None:
        super().__init__(store)
        self.state = MarginAccount()
        self._reported: dict[Key, PositionReport] = {}  # positions as the venue has them, not compared yet
        self._traded_ns: dict[Key, int] = {}  # when a fill last moved a position
        self._settled_ns: dict[str | Key, int] = {}  # since when the session has counted to what the venue says
        self._begun: dict[str, Decimal] = {}  # what the session had counted at the start, by asset
        self._heard: dict[str, Decimal] = {}  # and what was told since
        self._taken_ns: dict[Key, int] = {}  # the time of the last position that was taken over from the venue

    def _begin_with(self, snapshot: AccountSnapshot) -> None:
        self._reported.clear()
        self._traded_ns.clear()
        self._taken_ns.clear()
        self._settled_ns.clear()
        self._heard.clear()
        self._begun = {asset: _sum_of(self.session.margin(), asset) for asset in snapshot.balances}
        self.state = MarginAccount(wallets={asset: balance.total for asset, balance in snapshot.balances.items()})
        for report in snapshot.positions:
            self._deal_in(self.session.instrument(report.symbol))
        self._put(*snapshot.positions)

    def total(self, asset: str) -> Decimal:
        """Return the wallet: what was paid in, earned and paid, without what open positions would bring."""
        return self.state.wallet(asset)

    def totals(self) -> dict[str, Decimal]:
        return dict(self.state.wallets)

    def booked(self) -> Mapping[tuple[BookingKind, str], Decimal]:
        return dict(self.state.bookings)

    def cash(self, currency: str) -> Decimal:
        """Return what new positions can be opened with."""
        self._mark()
        return self._sum(self.state.available, currency)

    def worth(self, currency: str) -> Decimal:
        """Return the wallets and what closing everything at the mark prices would bring."""
        self._mark()
        return self._sum(self.state.equity, currency)

    def leverage(self, symbol: str) -> int:
        """Return the leverage an instrument is traded with."""
        return self.state.terms[symbol].leverage

    def commission(self, instrument: Instrument, currency: str) -> Any:
        self._deal_in(instrument)
        return margin_commission_of(
            instrument,
            self.session.fee_schedule(instrument),
            leverage=lambda: self.leverage(instrument.symbol),
            settle_rate=lambda: self.rate(instrument.settle, currency),
        )

    def add_book(self, instrument: Instrument, comminfo: Any, leg: PositionSide) -> Book:
        """Open the book of an instrument or a leg, with the position that is there."""
        book = MarginBook(self, instrument, comminfo, leg)
        self.books[book.key] = book
        book.show_seed(self.quantity(book.key))
        return book

    def quantity(self, key: Key) -> Decimal:
        """Return a position's signed quantity."""
        position = self.state.positions.get(key)
        return position.quantity if position is not None else _ZERO

    def liquidation_price(self, book: Book) -> Decimal | None:
        self._mark()
        return liquidation_price(self.state, book.key) if book.key in self.state.positions else None

    def cost_of(self, book: Book) -> Decimal | None:
        """Return the average entry price of what was held at the start."""
        position = self.state.positions.get(book.key)
        return position.entry_price if position is not None else None

    def take_back(self, book: Book, fill: Fill) -> None:
        """Take a fill out of the account of the start, which has it in it: it is told, and counted, only now."""
        fee = fill.fee if fill.fee is not None else _ZERO
        if fill.fee_asset is not None:
            self._change(fill.fee_asset, fee)
        self._change(book.instrument.settle, -(fill.realised or _ZERO))
        self._move_out(book, fill)

    def book_fill(self, book: Book, fill: Fill) -> Executed:
        """Take a fill over: into the wallet, and its own book."""
        fill = attrs.evolve(fill, position_side=book.leg)
        if fill.time_ns <= self._taken_ns.get(book.key, -1):
            self._move_out(book, fill)  # the position that was taken over has this fill in it, told only now
        self._count(fill)
        assert isinstance(book, MarginBook)
        return book.take(fill.side.sign * fill.quantity, fill.price)

    def _count_fee(self, asset: str | None, fee: Decimal | None) -> None:
        if asset is not None and fee is not None:  # told late: the wallet is moved by whoever asks
            key = BookingKind.FEE, asset
            self.state = attrs.evolve(self.state, bookings={**self.state.bookings, key: self.state.booked(*key) - fee})

    def count_strange(self, fill: Fill) -> None:
        """Count a fill in what has no data here."""
        self._deal_in(self.session.instrument(fill.symbol))
        self._count(fill)

    def take_totals(self, update: AccountUpdate) -> None:
        super().take_totals(update)
        for report in update.positions:
            self._reported[Key(report.symbol, report.position_side)] = report

    def take_booking(self, booking: Booking, *, recovered: bool) -> None:
        if recovered or booking.time_ns <= self._adopted_ns.get(booking.asset, -1):
            self._change(booking.asset, -booking.amount)  # the total that was taken over has it in it
        if not recovered:
            self._hear(booking.asset, booking.amount)
        self.state = apply_booking(self.state, booking)
        self._moved(booking.asset, booking.time_ns)
        of = f" of {booking.symbol}" if booking.symbol is not None else ""
        self.store.put_notification(f"{booking.kind.value}{of}: {booking.amount:+f} {booking.asset}")

    def differences(self, wire_ns: int) -> Iterator[str]:
        yield from super().differences(wire_ns)
        for key, report in tuple(self._reported.items()):
            ours = self.quantity(key)
            is_older = report.time_ns < self._traded_ns.get(key, -1)
            if not is_older and report.quantity != ours and self._is_open(key, report.quantity, wire_ns):
                continue
            del self._reported[key]
            self._settled_ns.pop(key, None)
            if is_older or report.quantity == ours:
                continue
            self._taken_ns[key] = report.time_ns
            self._deal_in(self.session.instrument(report.symbol))
            self._put(report)
            if (book := self.books.get(key)) is not None:
                book.adjust(report.quantity - ours)
            leg = f" ({report.position_side.value.lower()})" if report.position_side is not PositionSide.NET else ""
            yield (
                f"{report.symbol}{leg}: the venue has a position of {report.quantity}, this run counted {ours}: "
                "taken over (another program on this account?)"
            )

    def _waits(self, asset: str, total: Decimal, time_ns: int, *, heard_ns: int, wire_ns: int) -> bool:  # noqa: ARG002
        return self._is_open(asset, total, wire_ns)

    def _is_open(self, what: str | Key, told: Decimal, wire_ns: int) -> bool:
        """Say whether what explains a total may still come: a fill, or a booking that is asked for.

        That is so until the session itself has counted to what the venue says, and all it told then was heard.
        """
        counted = self.session.margin()
        if isinstance(what, Key):
            position = counted.positions.get(what) if counted is not None else None
            theirs = position.quantity if position is not None else _ZERO
        else:
            theirs = counted.wallet(what) if counted is not None else _ZERO
        if theirs != told:
            self._settled_ns.pop(what, None)
            return True
        if self._has_heard(self.session.instrument(what.symbol).settle if isinstance(what, Key) else what):
            return False
        return wire_ns - self._settled_ns.setdefault(what, wire_ns) < _HEARD_NS

    def _has_heard(self, asset: str) -> bool:
        """Say whether everything the session has counted in an asset since the start was told here."""
        return _sum_of(self.session.margin(), asset) - self._begun.get(asset, _ZERO) == self._heard.get(asset, _ZERO)

    def _follow(self, asset: str, change: Decimal) -> None:
        """Nothing: no position is made of what the wallet holds."""

    def _change(self, asset: str, change: Decimal) -> None:
        self.state = attrs.evolve(self.state, wallets={**self.state.wallets, asset: self.state.wallet(asset) + change})

    def _hear(self, asset: str, change: Decimal) -> None:
        self._heard[asset] = self._heard.get(asset, _ZERO) + change

    def _moved(self, asset: str, time_ns: int) -> None:
        self._moved_ns[asset] = max(time_ns, self._moved_ns.get(asset, time_ns))

    def _count(self, fill: Fill) -> None:
        before = self.state
        self.state = apply_fill(before, fill).account
        settle = before.terms[fill.symbol].instrument.settle
        for asset in {settle, fill.fee_asset or settle}:
            change = self.state.wallet(asset) - before.wallet(asset)
            self._hear(asset, change)
            if fill.time_ns <= self._adopted_ns.get(asset, -1):
                self._change(asset, -change)  # the total that was adopted has this fill in it
            self._moved(asset, fill.time_ns)
        key = Key(fill.symbol, fill.position_side)
        self._traded_ns[key] = max(fill.time_ns, self._traded_ns.get(key, fill.time_ns))

    def _move_out(self, book: Book, fill: Fill) -> None:
        """Undo what a fill has done to a position."""
        change = fill.side.sign * fill.quantity
        known = self._costs.get(book.key)
        quantity = self.quantity(book.key) - change
        price = known.price if known is not None and known.quantity == quantity else None
        entry_price = price or self.cost_of(book) or fill.price
        report = PositionReport(
            symbol=book.instrument.symbol,
            position_side=book.leg,
            quantity=quantity,
            entry_price=entry_price,
            time_ns=fill.time_ns,
        )
        self._put(report)
        book.adjust(-change)

    def _deal_in(self, instrument: Instrument) -> None:
        """Know how an instrument is traded, as far as the session knows it now."""
        counted = self.session.margin()
        terms = counted.terms.get(instrument.symbol) if counted is not None else None
        known = self.state.terms.get(instrument.symbol)
        if terms is None and known is None:
            terms = Terms(instrument=instrument)
        if terms is not None and terms != known and (known is None or terms.margin_mode is known.margin_mode):
            self.state = with_terms(self.state, terms)

    def _put(self, *reports: PositionReport) -> None:
        """Take positions over as they are stated."""
        if reports:
            update = AccountUpdate(balances={}, positions=reports, time_ns=reports[0].time_ns)
            self.state = apply_update(self.state, update)

    def _mark(self) -> None:
        for book in self.books.values():
            assert isinstance(book, MarginBook)
            self._deal_in(book.instrument)
            price = book.mark_price()
            if price is not None:
                self.state = apply_mark(self.state, book.instrument.symbol, price)

    def _sum(self, of: Any, currency: str) -> Decimal:
        """Return what is had of every asset that is margin here, in one currency."""
        assets = {book.cash_asset for book in self.books.values()} | {currency}
        return sum((of(asset) * (self.rate(asset, currency) or _ZERO) for asset in assets), _ZERO)


def _sum_of(account: MarginAccount | None, asset: str) -> Decimal:
    """Return everything that was booked in an asset."""
    booked = account.bookings if account is not None else {}
    return sum((amount for (_, of), amount in booked.items() if of == asset), _ZERO)
