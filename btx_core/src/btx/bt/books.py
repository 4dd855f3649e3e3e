"""The books behind the broker: of each account a ledger, of each instrument a position, of each order a ticket."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
from backtrader.position import Position as BtPosition

from btx.bt.commission import commission_of
from btx.model.account import AccountSnapshot, AccountUpdate, Booking, BookingKind
from btx.model.instrument import Instrument
from btx.model.order import Fill, Group, Order, OrderRequest, PositionSide, Side, Status, Terms
from btx.model.time import NS_PER_S
from btx.rules.positions import FloatMirror, Position, apply_fill, balance_changes, base_change
from btx.rules.wallet import Key
from btx.runtime.mailbox import MemberEnded, OrderUpdate
from btx.runtime.session import Session

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("Account", "Book", "Executed", "Ticket")

_ZERO = Decimal(0)
_LATE_NS = NS_PER_S  # how much later than a fill of the same stamp a balance that includes it may come


@attrs.frozen(kw_only=True)
class Executed:
    """What backtrader is told of one fill."""

    closed: float
    opened: float
    entry_price: float  # of the closed part
    price: float
    shown_size: float
    shown_price: float
    averaged_price: float | None = None  # what makes Trade's arithmetic mean the average entry, where that is another

    def parts(self, comminfo: Any, fee: float) -> tuple[float, ...]:
        """Return the arguments of ``Order.execute`` after dt, size and price; the fee in units of the book's cash."""
        moved = abs(self.closed) + abs(self.opened)
        closed_fee = fee * abs(self.closed) / moved if moved else 0.0
        pnl = comminfo.profitandloss(-self.closed, self.entry_price, self.price) if self.closed else 0.0
        return (
            self.closed,
            comminfo.getvaluesize(-self.closed, self.entry_price) if self.closed else 0.0,
            closed_fee,
            self.opened,
            comminfo.getvaluesize(self.opened, self.price) if self.opened else 0.0,
            fee - closed_fee,
            comminfo.margin,
            pnl,
            self.shown_size,
            self.shown_price,
        )


class Book:
    """One instrument of one account, or one leg of it: the exact position, and the one backtrader shows."""

    def __init__(
        self, account: "Account", instrument: Instrument, comminfo: Any, leg: PositionSide = PositionSide.NET
    ) -> None:
        self.account = account
        self.instrument = instrument
        self.comminfo = comminfo
        self.leg = leg
        self.datas: list[Any] = []  # trades land on the first
        self.shown = BtPosition()
        self.exact = Position.of(instrument)
        self.mirror = FloatMirror(step_size=instrument.step_size)
        self.has_begun = False  # with its first bar
        self.pending_seed = _ZERO

    @property
    def key(self) -> Key:
        """What it is found by."""
        return Key(self.instrument.symbol, self.leg)

    @property
    def cash_asset(self) -> str:
        """What profit, loss and fees are counted in."""
        return self.instrument.quote

    @property
    def data(self) -> Any:
        """The first data of the instrument."""
        return self.datas[0]

    @property
    def dust(self) -> Decimal:
        """What is held and cannot be traded, because it is less than a step; the position shows zero then."""
        return self.mirror.quantity - self.mirror.held

    def last_close(self) -> Decimal | None:
        """Return the newest close, the last known price before the first bar, None when there is neither."""
        begun = [data for data in self.datas if len(data)]
        if begun:
            return Decimal(repr(max(begun, key=lambda data: data.datetime[0]).close[0]))
        return self.account.session.rate(self.instrument.base, self.instrument.quote)

    def mark_price(self) -> Decimal | None:
        """Return the price it is valued at."""
        return self.last_close()

    def worth(self, currency: str) -> Decimal:
        """Return what is held, dust included, at the last close; nothing while no price is known."""
        held = self.mirror.quantity + self.pending_seed
        if not held:
            return _ZERO
        price, rate = self.last_close(), self.account.rate(self.instrument.quote, currency)
        return held * price * rate if price is not None and rate is not None else _ZERO

    def would_close(self, side: Side, quantity: Decimal) -> bool:
        """Say whether an order would only make the position smaller."""
        held = self.mirror.held
        return held != 0 and (held > 0) != (side is Side.BUY) and quantity <= abs(held)

    def show_seed(self, held: Decimal) -> None:
        """Show what was held at the start before the first bar can date it."""
        self.pending_seed = held
        price = self.last_close()
        self.shown.size = float(held) if held >= self.instrument.step_size else 0.0
        self.shown.price = float(price) if self.shown.size and price is not None else 0.0

    def begin(self) -> Decimal:
        """Have the first bar; return what was held at the start and is to be shown as an order: dust needs none."""
        self.has_begun = True
        held, self.pending_seed = self.pending_seed, _ZERO
        if held >= self.instrument.step_size:
            return held
        if held:
            self.adjust(held)
        return _ZERO

    def adjust(self, change: Decimal) -> None:
        """Follow a change from outside; it opens and closes no trade, so backtrader's sum stays."""
        if not self.has_begun:
            self.show_seed(self.pending_seed + change)
            return
        price = self.exact.price or self.last_close() or _ZERO
        self.mirror = attrs.evolve(self.mirror, quantity=self.mirror.quantity + change)
        self.exact = apply_fill(self.exact, signed_quantity=change, price=price).position
        self._show()

    def seed(self, held: Decimal, price: Decimal) -> Executed:
        """Open what was held at the start, as if it had been bought at ``price``."""
        return self.move(held, price)

    def move(self, change: Decimal, price: Decimal) -> Executed:
        """Open and close by ``change`` at ``price``."""
        self.exact = apply_fill(self.exact, signed_quantity=change, price=price).position
        return self._mirror(change, price)

    def _mirror(self, change: Decimal, price: Decimal) -> Executed:
        entry_price = self.shown.price
        moved = self.mirror.add(change)
        self.mirror = moved.mirror
        self._show()
        self.shown.upopened, self.shown.upclosed = moved.opened, moved.closed
        return Executed(
            closed=moved.closed,
            opened=moved.opened,
            entry_price=entry_price,
            price=float(price),
            shown_size=self.shown.size,
            shown_price=self.shown.price,
        )

    def _show(self) -> None:
        self.shown.price_orig = self.shown.price
        self.shown.size = self.mirror.size
        self.shown.price = float(self.exact.price) if self.mirror.size else 0.0


class Account:
    """One account: its ledger by asset, its books by symbol and leg."""

    def __init__(self, store: "LiveStore") -> None:
        self.store = store
        self.ledger: dict[str, Decimal] = {}
        self.books: dict[Key, Book] = {}
        self.tickets: dict[str, Ticket] = {}  # by owner id
        self.unwritten: dict[str, Group] = {}  # handed over; its first leg says that it is on disk
        self.early: list[OrderUpdate | MemberEnded] = []  # came before the first bar
        self._booked: dict[tuple[BookingKind, str], Decimal] = {}
        self.strange: set[tuple[str, str]] = set()  # fills of orders the exchange made, that were told: symbol and id
        self._costs: Mapping[Key, Position] = {}
        # The venue's totals that are not compared yet, with their market time, and the wire time they were heard at.
        self._told: dict[str, tuple[Decimal, int, int]] = {}
        self._moved_ns: dict[str, int] = {}  # when a fill last moved an asset
        self._compared_ns: dict[str, int] = {}  # when our total last was the venue's
        self._adopted_ns: dict[str, int] = {}  # the time of the last total that was adopted from the venue

    @property
    def session(self) -> Session:
        return self.store.session

    def open(self) -> None:
        """Begin with what the account holds."""
        self._begin_with(self.session.account())
        self.books.clear()
        self.tickets.clear()
        self.unwritten.clear()
        self.early.clear()
        self.strange.clear()
        self._booked.clear()
        self._costs = self.session.recovered().positions
        self._told.clear()
        self._moved_ns.clear()
        self._compared_ns.clear()
        self._adopted_ns.clear()

    def _begin_with(self, snapshot: AccountSnapshot) -> None:
        self.ledger = {asset: balance.total for asset, balance in snapshot.balances.items()}

    def total(self, asset: str) -> Decimal:
        """Return how much there is of an asset, reserved or not."""
        return self.ledger.get(asset, _ZERO)

    def totals(self) -> dict[str, Decimal]:
        """Return how much there is of each asset."""
        return dict(self.ledger)

    def booked(self) -> Mapping[tuple[BookingKind, str], Decimal]:
        """Return what was booked in this run by kind and asset, fees negative."""
        return dict(self._booked)

    def cash(self, currency: str) -> Decimal:
        """Return what can be spent, in ``currency``."""
        return self.total(currency)

    def commission(self, instrument: Instrument, currency: str) -> Any:
        """Return backtrader's commission object of an instrument."""
        return commission_of(
            instrument,
            self.session.fee_schedule(instrument),
            quote_rate=lambda: self.rate(instrument.quote, currency),
        )

    def add_book(self, instrument: Instrument, comminfo: Any, leg: PositionSide) -> Book:
        """Open an instrument's book; the first one of a base asset takes over what is held of it."""
        book = Book(self, instrument, comminfo, leg)
        if self._book_of(instrument.base) is None:
            book.show_seed(self.total(instrument.base))
        self.books[book.key] = book
        return book

    def beginning(self) -> list[Book]:
        """Return the books whose first bar has just come."""
        return [book for book in self.books.values() if not book.has_begun and len(book.data)]

    def liquidation_price(self, book: Book) -> Decimal | None:  # noqa: ARG002 -- of what is on margin
        """Return nothing: what is owned is not liquidated."""
        return None

    def cost_of(self, book: Book) -> Decimal | None:
        """Return the average price of what was held at the start, None when no journal knows it."""
        position = self._costs.get(book.key)
        return position.price if position is not None and position.quantity > 0 else None

    def take_back(self, book: Book, fill: Fill) -> None:
        """Take a fill out of the totals of the start, which have it in them: it is told, and counted, only now."""
        for asset, change in balance_changes(fill, instrument=book.instrument).items():
            self._adopt(asset, -change)

    def book_fill(self, book: Book, fill: Fill) -> Executed:
        """Take a fill over: into the ledger, its own book, and the books of what it was paid with."""
        base = book.instrument.base
        self._count_fee(fill.fee_asset, fill.fee)
        for asset, change in balance_changes(fill, instrument=book.instrument).items():
            if fill.time_ns <= self._adopted_ns.get(asset, -1):
                self._adopt(asset, -change)  # the total that was adopted has this fill in it, told only now
            self._add(asset, change, fill.time_ns)
            if asset != base and (other := self._book_of(asset)) is not None:
                other.adjust(change)
        return book.move(base_change(fill, base=base), fill.price)

    def book_late_fee(self, known: Fill, told: Fill) -> None:
        """Book a fee that a fill named only when it was told again, unless the venue's total brought it meanwhile."""
        asset, fee = told.fee_asset, told.fee
        if known.fee is not None or asset is None or fee is None:
            return
        self._count_fee(asset, fee)
        if self._compared_ns.get(asset, -1) < told.time_ns:
            self._add(asset, -fee, told.time_ns)
            self._follow(asset, -fee)

    def _count_fee(self, asset: str | None, fee: Decimal | None) -> None:
        if asset is not None and fee is not None:
            self._booked[BookingKind.FEE, asset] = self._booked.get((BookingKind.FEE, asset), _ZERO) - fee

    def take_totals(self, update: AccountUpdate) -> None:
        """Keep the venue's totals until every fill they include must have come."""
        for asset, balance in update.balances.items():
            self._told[asset] = (balance.total, update.time_ns, self.session.clock.wire_ns())

    def take_booking(self, booking: Booking, *, recovered: bool) -> None:
        """Book a movement of money that no fill tells of; a ``recovered`` one is in the total of the start."""
        if not recovered:
            self._add(booking.asset, booking.amount, booking.time_ns)

    def differences(self, wire_ns: int) -> Iterator[str]:
        """Adopt the venue's totals where they differ from ours, and say what something outside this run moved."""
        for asset, (total, time_ns, heard_ns) in tuple(self._told.items()):
            ours, moved_ns = self.total(asset), self._moved_ns.get(asset, -1)
            is_older = time_ns < moved_ns
            if total != ours and self._waits(asset, total, time_ns, heard_ns=heard_ns, wire_ns=wire_ns):
                continue
            del self._told[asset]
            if is_older:
                continue
            self._compared_ns[asset] = time_ns
            if total != ours:
                self._adopted_ns[asset] = time_ns
                self._adopt(asset, total - ours)
                yield (
                    f"{asset}: the venue has {total}, this run counted {ours}: adopted "
                    "(a transfer, or another program on this account?)"
                )

    def _waits(self, asset: str, total: Decimal, time_ns: int, *, heard_ns: int, wire_ns: int) -> bool:  # noqa: ARG002
        """Of two fills in one millisecond, the total after the second may be on its way.

        That is waited for in wire time: in lockstep the market may be minutes on by then.
        """
        return time_ns == self._moved_ns.get(asset, -1) and wire_ns - heard_ns < _LATE_NS

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the last known price of an asset, over what both have a price in if need be."""
        session = self.session
        direct = session.rate(asset, currency)
        if direct is not None:
            return direct
        for common in (session.settings.currency, *{book.instrument.quote for book in self.books.values()}):
            price, unit = session.rate(asset, common), session.rate(currency, common)
            if price is not None and unit:
                return price / unit
        return None

    def can_price(self, asset: str, currency: str) -> bool:
        """Say whether a price is known, or will be with the first bars of the books."""
        books = self.books.values()
        pairs = {(book.instrument.base, book.instrument.quote) for book in books}
        both = {quote for base, quote in pairs if base == asset} & {quote for base, quote in pairs if base == currency}
        return bool(both) or (asset, currency) in pairs or self.rate(asset, currency) is not None

    def worth(self, currency: str) -> Decimal:
        """Return what everything that is traded here is worth, and the cash in ``currency``."""
        books = self.books.values()
        bases = {book.instrument.base for book in books}
        others = {book.instrument.quote for book in books} - bases - {currency}
        worth = self.total(currency) + sum((book.worth(currency) for book in books), _ZERO)
        for asset in others:
            worth += self.total(asset) * (self.rate(asset, currency) or _ZERO)
        return worth

    def fee_of(self, book: Book, fill: Fill) -> float:
        """Return a fill's fee in units of the book's cash, at the fill's own price or the last known rate."""
        if fill.fee is None or fill.fee_asset is None:
            return 0.0
        unit = book.cash_asset
        if fill.fee_asset == book.instrument.base and unit == book.instrument.quote:
            return float(fill.fee * fill.price)
        rate = self.rate(fill.fee_asset, unit)
        if rate is None:
            self.store.put_notification(
                f"a fee of {fill.fee} {fill.fee_asset} has no known price in {unit}: "
                "backtrader shows none, the ledger has it"
            )
            return 0.0
        return float(fill.fee * rate)

    def _change(self, asset: str, change: Decimal) -> None:
        self.ledger[asset] = self.total(asset) + change

    def _add(self, asset: str, change: Decimal, time_ns: int) -> None:
        self._change(asset, change)
        self._moved_ns[asset] = max(time_ns, self._moved_ns.get(asset, time_ns))

    def _adopt(self, asset: str, change: Decimal) -> None:
        self._change(asset, change)
        self._follow(asset, change)

    def _follow(self, asset: str, change: Decimal) -> None:
        book = self._book_of(asset)
        if book is not None:
            book.adjust(change)

    def _book_of(self, base: str) -> Book | None:
        """Return the first book of a base asset: what is held of it beyond this run's fills is counted there."""
        return next((book for book in self.books.values() if book.instrument.base == base), None)


@attrs.define(kw_only=True, eq=False)
class Ticket:
    """backtrader's order beside ours: one of a strategy's, with the legs that work for it."""

    order: Any
    book: Book
    request: OrderRequest
    owner_id: str = ""  # empty until it is sent
    in_group: bool = False  # the session says when it is over
    legs: dict[str, Order] = attrs.field(factory=dict)  # by client order id
    fills: dict[str, Fill] = attrs.field(factory=dict)
    amending: OrderRequest | None = None  # what was asked for and not taken yet
    replaced: Mapping[str, Terms] = attrs.field(factory=dict)  # the legs there were when it was, and as what
    moot: set[str] = attrs.field(factory=set)  # legs that were refused beside one that lives: no end of the order
    is_cancelled: bool = False  # the strategy asked for its end
    ended: tuple[Status, str] | None = None  # how, and why, says the session of an order in a group
    untold: list[Fill] = attrs.field(factory=list)  # from before the start
    is_rebuilt: bool = False  # of an earlier run, with all the legs it will have but those of an amendment

    @property
    def filled(self) -> Decimal:
        """Sum of the fills of all legs."""
        return sum((fill.quantity for fill in self.fills.values()), _ZERO)

    @property
    def remaining(self) -> Decimal:
        """What is left to fill."""
        return max((self.amending or self.request).quantity - self.filled, _ZERO)

    @property
    def new_legs(self) -> list[Order]:
        """The legs that came, or became what they are, after an amendment was asked for."""
        return [leg for client_order_id, leg in self.legs.items() if self.replaced.get(client_order_id) != leg.terms]

    @property
    def is_settled(self) -> bool:
        """Every leg is over, and every fill the venue named has been told."""
        return all(leg.is_settled for leg in self.legs.values())

    @property
    def end(self) -> tuple[Status, str] | None:
        """How the order ended, and why; None while it lives, or has fills that were not told."""
        if not self.is_settled or self.untold:
            return None
        if self.ended is not None:
            return self.ended
        if not self.remaining:
            return Status.FILLED, ""
        if not self.legs or self.in_group or (self.amending is not None and not self.new_legs) or self._lacks_legs:
            return None
        return self._how_it_ended()

    @property
    def _lacks_legs(self) -> bool:
        """It was split into several, and not all of them are known here so far."""
        split = self._split
        return bool(split) and len(split) < split[0].leg.parts and not self.is_rebuilt

    @property
    def _split(self) -> list[Order]:
        return [leg for leg in self.legs.values() if leg.leg.parts > 1]

    def _how_it_ended(self) -> tuple[Status, str]:
        if self._split and len(self._split) == len(self.legs):
            return _end_of_all(self._split)
        newest = next(leg for name, leg in reversed(self.legs.items()) if name not in self.moot)
        return newest.status, newest.evidence.reason if newest.evidence is not None else ""

    @property
    def refused(self) -> str:
        """Why legs of several were refused while others live; empty: none was."""
        living = [leg for leg in self.legs.values() if not leg.status.is_final]
        refused = [leg for leg in self.legs.values() if leg.status is Status.REJECTED and leg.leg.parts > 1]
        if not living or not refused:
            return ""
        return "; ".join(
            f"{leg.leg.offset.value} {leg.quantity.normalize():f}"
            + (f": {leg.evidence.reason}" if leg.evidence is not None else "")
            for leg in refused
        )

    @property
    def lacks_funds(self) -> bool:
        """A leg was refused for want of funds."""
        return any(leg.evidence is not None and leg.evidence.insufficient_funds for leg in self.legs.values())

    def __str__(self) -> str:
        request = self.request
        price = f" at {request.price.normalize():f}" if request.price is not None else ""
        trigger = f" from {request.trigger_price.normalize():f}" if request.trigger_price is not None else ""
        quantity = self.remaining.normalize()
        return f"{request.side.value} {quantity:f} {request.instrument.symbol}{trigger}{price}"


def _end_of_all(legs: Sequence[Order]) -> tuple[Status, str]:
    """Return how an order ended that was several at the venue, and did not fill: what a part of it did is done.

    An order that has filled in part is not rejected, whatever became of the rest.
    """
    ended = [leg for leg in legs if leg.status is not Status.FILLED]
    reasons = dict.fromkeys(leg.evidence.reason for leg in ended if leg.evidence is not None)
    found = {leg.status for leg in ended}
    if found <= {Status.REJECTED} and any(leg.fills for leg in legs):
        found = {Status.CANCELED}
    status = next((each for each in (Status.CANCELED, Status.EXPIRED) if each in found), Status.REJECTED)
    return status, "; ".join(filter(None, reasons))
