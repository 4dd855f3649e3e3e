"""What the books and the order maker of the live façade ask of a session, answered for a backtest on bars."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import attrs

from btx.bt.books import Account, Book
from btx.bt.folds import close_ns_of
from btx.config import Settings
from btx.model.account import AccountSnapshot, Balance
from btx.model.calendar import Calendar
from btx.model.derivatives import FundingRate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, OrderType, Side
from btx.model.restrictions import Restrictions
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, Interval
from btx.model.venue import Environment, VenueInfo
from btx.rules.account import MarginAccount, Terms
from btx.rules.filters import MarketView
from btx.runtime.mailbox import Recovered

__all__ = ("BarSession", "Open", "VenueRules")

_ZERO = Decimal(0)
_WITHOUT_TRIGGER = frozenset({OrderType.MARKET, OrderType.LIMIT})
_MINUTE = Interval.parse("1m")


class VenueRules(Protocol):
    """A venue's rules without the venue. Optimisation sends them to other processes, so they can be pickled."""

    @property
    def info(self) -> VenueInfo:
        """The adapter's visiting card."""

    def terms(self, symbol: str) -> Terms:
        """Return an instrument and how it is traded.

        Raises:
            UnknownSymbolError: it is not known here; the message says what to do.
        """

    def fees(self, instrument: Instrument) -> FeeSchedule:
        """Return the rates of an account that has not traded yet, with the ladder it may climb."""

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when an instrument trades."""

    def restrictions(self, instrument: Instrument) -> Restrictions:
        """Return what the venue restricts beside its filters."""

    def rates(self, instrument: Instrument) -> Sequence[FundingRate] | None:
        """Return the funding rates of a perpetual, oldest first; None where they are not known."""

    def veto(self, request: OrderRequest, account: AccountSnapshot) -> str | None:
        """Return why an extension lets an order not pass."""


class _Clock:
    """Market time: the newest bar of any data."""

    def __init__(self) -> None:
        self.datas: list[Any] = []

    def market_ns(self) -> int:
        return max((close_ns_of(data.lines) for data in self.datas if len(data)), default=0)


@attrs.frozen
class Open:
    """An order that the venue would have, as far as its rules look at it."""

    request: OrderRequest
    remaining: Decimal


class BarSession:
    """A session of one run: no venue, no thread; ``open_orders`` is asked for what rests."""

    environment = Environment.BACKTEST

    def __init__(
        self,
        *,
        name: str,
        market: str,
        rules: VenueRules,
        currency: str,
        balances: Mapping[str, Decimal],
        open_orders: Callable[[], Iterable[Open]],
    ) -> None:
        self.name = name
        self.market = market
        self.rules = rules
        self.info = rules.info
        self.settings = Settings(currency=currency)
        self.clock = _Clock()
        self.account_now: Account | None = None
        self.flat_rates: dict[str | None, FeeSchedule] = {}  # what the user set, by the data's name
        self._balances = dict(balances)
        self._open_orders = open_orders
        self._terms: dict[str, Terms] = {}
        self._fees: dict[str, FeeSchedule] = {}

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when an instrument trades."""
        return self.rules.calendar(instrument)

    def account(self) -> AccountSnapshot:
        """Return what the run began with."""
        balances = {asset: Balance(free=total, locked=_ZERO) for asset, total in self._balances.items()}
        return AccountSnapshot(balances=balances, time_ns=0)

    def recovered(self) -> Recovered:
        """Return nothing: a backtest begins anew."""
        return Recovered()

    def terms(self, symbol: str) -> Terms:
        """Return how an instrument is traded.

        Raises:
            UnknownSymbolError: it is not known.
        """
        if symbol not in self._terms:
            self._terms[symbol] = self.rules.terms(symbol)
        return self._terms[symbol]

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument.

        Raises:
            UnknownSymbolError: it is not known.
        """
        return self.terms(symbol).instrument

    def margin(self) -> MarginAccount:
        """Return how everything is traded, in the shape that accounts on margin ask for."""
        return MarginAccount(terms=self._terms)

    def fee_schedule(self, instrument: Instrument) -> FeeSchedule:
        """Return the rates of the lowest tier, or what the user has set."""
        if instrument.symbol not in self._fees:
            flat = self.flat_rates.get(instrument.symbol, self.flat_rates.get(None))
            self._fees[instrument.symbol] = flat if flat is not None else self.rules.fees(instrument)
        return self._fees[instrument.symbol]

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the last close of an asset in another, by the books that have begun; None when there is none."""
        if asset == currency:
            return Decimal(1)
        for book in self._books():
            pair = (book.instrument.base, book.instrument.quote)
            if pair not in {(asset, currency), (currency, asset)}:
                continue
            if any(len(data) for data in book.datas) and (close := book.last_close()):
                return close if pair == (asset, currency) else 1 / close
        return None

    def _books(self) -> Iterable[Book]:
        return self.account_now.books.values() if self.account_now is not None else ()

    def market_view(self, instrument: Instrument) -> MarketView:
        """Return what the venue's rules look at beside an order."""
        book = next((each for each in self._books() if each.instrument.symbol == instrument.symbol), None)
        orders = [each for each in self._open_orders() if each.request.instrument.symbol == instrument.symbol]
        band = instrument.price_band
        position = None
        if not instrument.kind.is_margined and self.account_now is not None:
            position = self.account_now.total(instrument.base)
        return MarketView(
            reference_price=book.last_close() if book is not None else None,
            average_price=_average(book, band.minutes) if band is not None and book is not None else None,
            open_orders=len(orders),
            open_conditional_orders=sum(each.request.order_type not in _WITHOUT_TRIGGER for each in orders),
            open_iceberg_orders=sum(each.request.display_quantity is not None for each in orders),
            position=position,
            open_buys=sum((each.remaining for each in orders if each.request.side is Side.BUY), _ZERO),
        )

    def check_order(self, request: OrderRequest) -> str | None:
        """Ask the extensions."""
        account = self.account_now
        totals = account.totals() if account is not None else self._balances
        balances = {asset: Balance(free=total, locked=_ZERO) for asset, total in totals.items()}
        return self.rules.veto(request, AccountSnapshot(balances=balances, time_ns=self.clock.market_ns()))


def _average(book: Book, minutes: int) -> Decimal | None:
    """Return the volume-weighted price of the last minutes, None where they are not known."""
    for data in book.datas:
        spec = getattr(data.p, "btx", None)
        if minutes and spec is not None and spec.interval == _MINUTE and len(data) >= minutes:
            if round((data.ts_ms[0] - data.ts_ms[1 - minutes]) * NS_PER_MS) != (minutes - 1) * NS_PER_MINUTE:
                return None
            closes = [Decimal(repr(data.close[-ago])) for ago in range(minutes)]
            volumes = [Decimal(repr(data.volume[-ago])) for ago in range(minutes)]
            volume = sum(volumes, _ZERO)
            paid = sum((close * each for close, each in zip(closes, volumes, strict=True)), _ZERO)
            return paid / volume if volume else closes[0]
    return None
