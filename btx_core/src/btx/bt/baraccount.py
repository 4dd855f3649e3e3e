"""The account of a backtest on bars: its books, its money, and what users may set."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import backtrader as bt

from btx.bt.backbroker import BacktestBroker
from btx.bt.bardays import Days
from btx.bt.barmargin import MarginKeeper
from btx.bt.barorders import Ticket
from btx.bt.barowned import OwnedKeeper
from btx.bt.barsession import BarSession, Open
from btx.bt.books import Account, Book
from btx.bt.feed import feed_of
from btx.bt.margin import MarginedAccount
from btx.bt.matching import Prices
from btx.errors import ConfigError
from btx.model.account import BookingKind
from btx.model.fees import FeeSchedule
from btx.model.restrictions import NO_RESTRICTIONS
from btx.rules.contracts import quote_value
from btx.rules.fees import RollingVolume
from btx.rules.wallet import Key

if TYPE_CHECKING:
    from btx.bt.backtest import BacktestStore

__all__ = ("BarAccount", "Fresh", "Meeting")

_ZERO = Decimal(0)
_OF_A_RUN = frozenset(
    {
        *("_by_data", "_tickets", "_held_back", "_working", "_seen", "_days", "_keeper", "_volume", "_levels"),
        *("_room", "_early", "_session", "_account", "positions", "orders", "pending", "submitted", "notifs"),
    }
)
_STOCK = 'load it with fills="stock", where backtrader\'s own broker is as it ever was'


class Fresh(NamedTuple):
    """A bar that has just come."""

    book: Book
    data: Any
    bar: Prices
    open_days: float  # backtrader's time
    open_ns: int
    close_ns: int


class Meeting(NamedTuple):
    """An order, the bar it meets, and as much of that as it may see."""

    ticket: Ticket
    fresh: Fresh
    bar: Prices


class _Desk(NamedTuple):
    """What the accounts of the live façade ask of a store."""

    session: BarSession
    put_notification: Callable[[str], None]


class BarAccount(BacktestBroker):
    """The broker as far as it holds an account; orders are :class:`btx.bt.barbroker.BarBroker`'s."""

    def __init__(self, store: "BacktestStore") -> None:
        self._store = store
        self._rated_by_user: set[str | None] = set()
        self._share: Decimal | None = None
        self._has_discount = False
        self._cash_given = _ZERO
        super().__init__()
        self._reset()

    def _reset(self) -> None:
        self._running = False
        self._by_data: dict[Any, Book] = {}
        self._tickets: dict[int, Ticket] = {}  # by order.ref, as long as they live
        self._held_back: dict[int, list[Ticket]] = {}  # by the head's order.ref: transmit=True has not come
        self._working: list[Ticket] = []
        self._seen: dict[Any, float] = {}
        self._days: dict[Key, Days] = {}
        self._keeper: MarginKeeper | OwnedKeeper  # of the present run
        self._volume = RollingVolume()
        self._levels: dict[str, tuple[int, FeeSchedule]] = {}  # by symbol: of a day
        self._fill_count = 0
        self._room: dict[int, Decimal | None] = {}
        self._early: list[Meeting] = []  # exits whose entry has filled in this very bar

    def __getstate__(self) -> dict[str, Any]:
        """Return what optimisation sends to other processes: not the books of a run that was before."""
        return {name: value for name, value in vars(self).items() if name not in _OF_A_RUN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the books of all datas.

        Raises:
            ConfigError: a commission object counts in a way of its own.
            UnknownSymbolError: an instrument is not known; the message says what to do.
        """
        super().start()
        self._reset()
        store = self._store
        session = store.open_session(open_orders=self._open, cash=self._cash_given)
        self._session = session
        for name in self._rated_by_user:
            session.flat_rates[name] = _flat(self.comminfo[name])
        desk: Any = _Desk(session, store.put_notification)
        self._account: Account = MarginedAccount(desk) if store.is_margined else Account(desk)
        self._account.open()
        session.account_now = self._account
        for data in self.cerebro.datas:
            feed = feed_of(data)
            if feed is not None and feed.store is store:
                self._register(data, feed)
        self._check_currencies()
        session.clock.datas = list(self._by_data)
        self._running = True
        self.startingcash = self.cash = self.getcash()
        self._value = self.getvalue()
        self._fundshares = self._value / self.p.fundstartval
        self._fundval = self.p.fundstartval

    def _register(self, data: Any, feed: Any) -> None:
        session, account, leg = self._session, self._account, feed.spec.position_side
        instrument = session.instrument(feed.symbol)
        key = Key(instrument.symbol, leg)
        book = account.books.get(key)
        if book is None:
            book = account.add_book(instrument, account.commission(instrument, self._currency), leg)
            book.has_begun = True
            restrictions = session.rules.restrictions(instrument)
            if restrictions != NO_RESTRICTIONS:
                self._days[key] = Days(instrument, session.rules.calendar(instrument), restrictions)
        elif book.data is not data:
            data.compensate(book.data)
        book.datas.append(data)
        self._by_data[data] = book
        self.positions[data] = book.shown

    def _check_currencies(self) -> None:
        for book in self._account.books.values():
            if not self._account.can_price(book.cash_asset, self._currency):
                raise ConfigError(
                    f"{book.instrument.symbol} is paid in {book.cash_asset}, and cash is counted in {self._currency}: "
                    f"add a data of {book.cash_asset}/{self._currency}, or load the store with "
                    f"currency={book.cash_asset!r}"
                )

    @property
    def _currency(self) -> str:
        return self._store.currency

    # --- what users set ---------------------------------------------------------------------------------------

    def set_cash(self, cash: float) -> None:
        """Begin with so much of the store's currency; in a run it is what the account has from now on."""
        if self._running:
            self._pay_in(Decimal(repr(float(cash))) - self._account.total(self._currency))
            return
        super().set_cash(cash)
        self._cash_given = Decimal(repr(float(cash)))

    setcash = set_cash

    def begin_with(self, cash: Decimal) -> None:
        """Begin with exactly so much."""
        super().set_cash(float(cash))
        self._cash_given = cash

    def add_cash(self, cash: float) -> None:
        """Pay in, or with a negative number take out."""
        if self._running:
            self._fundshares += cash / (self.get_fundvalue() or 1.0)
            self._pay_in(Decimal(repr(float(cash))))
        else:
            self.set_cash(self.cash + cash)

    def _pay_in(self, amount: Decimal) -> None:
        self._account._change(self._currency, amount)

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        """Pay a flat rate in place of the venue's, ``setcommission(commission=0.001)``."""
        super().setcommission(*args, **kwargs)
        self._rated_by_user.add(kwargs.get("name", args[11] if len(args) > 11 else None))

    def addcommissioninfo(self, comminfo: Any, name: str | None = None) -> None:
        """Pay a flat rate in place of the venue's; objects that count otherwise are for ``fills="stock"``."""
        super().addcommissioninfo(comminfo, name=name)
        self._rated_by_user.add(name)

    def set_volume_share(self, share: float | None) -> None:
        """Fill no more than this share of a bar's volume, 0.1 is a tenth, in all orders together; None: no limit.

        Raises:
            ConfigError: it is no share.
        """
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"set_volume_share({share!r}): write a share of the bar's volume, like 0.1, or None")
        self._share = Decimal(repr(float(share))) if share is not None else None

    def set_fee_discount(self, wanted: bool) -> None:
        """Pay fees in the venue's discount coin as long as the account has it; it is off unless it is wanted."""
        self._has_discount = bool(wanted)

    def add_order_history(self, orders: Any, notify: bool = True) -> None:  # noqa: ARG002 -- backtrader's signature
        """Refuse: what was traded elsewhere has no rules of this venue.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"add_order_history plays fills of its own: {_STOCK}")

    def set_fund_history(self, fund: Any) -> None:  # noqa: ARG002 -- backtrader's signature
        """Refuse, as :meth:`add_order_history`.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"set_fund_history plays values of its own: {_STOCK}")

    # --- the account ------------------------------------------------------------------------------------------

    def get_cash(self) -> float:
        """Return what can be spent, as the live broker counts it."""
        return float(self._account.cash(self._currency)) if self._running else self.cash

    getcash = get_cash

    def get_value(self, datas: Any = None, mkt: bool = False, lever: bool = False) -> float:
        """Return what the account is worth, or positions alone; as the live broker counts it."""
        if not self._running:
            return float(super().get_value(datas, mkt=mkt, lever=lever))
        if datas is None and not mkt:
            return float(self._account.worth(self._currency))
        wanted = self._by_data if datas is None else datas
        books = {id(book): book for data in wanted if (book := self._by_data.get(data)) is not None}
        return float(sum((book.worth(self._currency) for book in books.values()), _ZERO))

    getvalue = get_value

    def get_value_lever(self, datas: Any = None, mkt: bool = False) -> float:
        return self.get_value(datas=datas, mkt=mkt)

    def get_leverage(self) -> float:
        """Return what is held over what the account is worth."""
        if not self._running:
            return 1.0
        worth = self._account.worth(self._currency)
        held = _ZERO
        for book in self._account.books.values():
            price, rate = book.last_close(), self._account.rate(book.instrument.quote, self._currency)
            if price is not None and rate is not None:
                held += quote_value(book.instrument, book.mirror.held, price) * rate
        return float(held / worth) if worth else 0.0

    def get_fundvalue(self) -> float:
        """Return what one share of the fund is worth."""
        return self.get_value() / float(self._fundshares)

    fundvalue = property(get_fundvalue)

    def getposition(self, data: Any) -> Any:
        """Return what is held of a data's instrument, or of its leg."""
        return self.positions[data]

    def getcommissioninfo(self, data: Any) -> Any:
        book = self._by_data.get(data)
        return book.comminfo if book is not None else super().getcommissioninfo(data)

    def getdust(self, data: Any) -> Decimal:
        """Return what is held beside the position: less than a step, so it cannot be traded."""
        return self._book(data).dust

    def liquidation_price(self, data: Any) -> Decimal | None:
        """Return the mark price that liquidates a data's position; None where there is none."""
        return self._account.liquidation_price(self._book(data))

    def ledger(self) -> Mapping[str, Decimal]:
        """Return the exact totals by asset."""
        return self._account.totals()

    def booked(self) -> Mapping[tuple[BookingKind, str], Decimal]:
        """Return what was booked in this run by kind and asset; see ``btx.bt.analyzers.Costs``."""
        return self._account.booked()

    @property
    def books(self) -> tuple[Book, ...]:
        """The books of this run."""
        return tuple(self._account.books.values()) if self._running else ()

    @property
    def account(self) -> Account:
        """The exact account of this run."""
        return self._account

    def get_orders_open(self, safe: bool = False) -> list[Any]:
        """Return the orders that live."""
        return [each.order.clone() if safe else each.order for each in self._tickets.values()]

    def _open(self) -> Iterable[Open]:
        return [Open(each.request, each.remaining) for each in self._tickets.values() if each.is_active]

    def remark(self, text: str) -> None:
        """Tell the strategy something through ``notify_store``, where cerebro goes bar by bar."""
        self._store.put_notification(text)

    def _book(self, data: Any) -> Book:
        book = self._by_data.get(data)
        if book is None:
            name = getattr(data, "_name", data)
            raise ConfigError(f"the data {name!r} is of no venue: use store.getdata(...), or {_STOCK}")
        return book


def _flat(info: Any) -> FeeSchedule:
    """Return the flat rate of a commission object.

    Raises:
        ConfigError: it counts in a way of its own.
    """
    stock = type(info) in {bt.CommissionInfo, bt.CommInfoBase}
    params = info.p
    plain = info._stocklike and info._commtype == bt.CommInfoBase.COMM_PERC and params.leverage == 1.0
    if not stock or not plain or params.interest or params.automargin:
        raise ConfigError(
            "a commission object of its own kind (margin=, interest=, leverage=, a fixed sum) is not the venue's: "
            f"setcommission(commission=0.001) is a flat rate; for all else {_STOCK}"
        )
    rate = Decimal(repr(float(params.commission)))
    return FeeSchedule(maker=rate, taker=rate, tier="flat", source="setcommission")
