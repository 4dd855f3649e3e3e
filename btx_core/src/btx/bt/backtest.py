"""The store of ``env="backtest"``: the same ten lines on history, with backtrader's own simulated broker."""

import datetime
import logging
import sys
import time
from bisect import bisect_left, bisect_right
from collections import deque
from decimal import Decimal
from typing import Any, Protocol

import attrs
import backtrader as bt

from btx.bt.backbroker import BacktestBroker
from btx.bt.barbroker import BarBroker
from btx.bt.barsession import BarSession, VenueRules
from btx.bt.fastrun import install
from btx.bt.feed import SHORTEST_AGE_NS
from btx.bt.history import HistoryFeed, HistorySpec
from btx.bt.market import asked, check_flags
from btx.bt.timeframes import to_backtrader
from btx.bt.verdict import Verdict, verdict_of
from btx.bt.words import (
    Backfill,
    bar_length,
    check_fill,
    check_params,
    duration_ns,
    gap_policy,
    leg_of,
    period_ns,
    symbol_of,
)
from btx.errors import ConfigError, UnknownSymbolError
from btx.model.account import Balance
from btx.model.derivatives import MarkPrice, PositionMode
from btx.model.instrument import Instrument
from btx.model.market import BarColumns
from btx.model.order import Order, OrderRequest
from btx.model.time import NS_PER_MINUTE, Interval
from btx.rules.symbols import perpetual_of

__all__ = ("BacktestStore", "BarSource", "Period", "StartingAccount")

_log = logging.getLogger("btx")
_REMARKS = 10_000  # a vectorised run asks for none of them
_COLUMNS = ("open_ns", "close_ns", "open", "high", "low", "close", "volume")


class BarSource(Protocol):
    """Where bars come from: files, or the cache. Optimisation sends it to other processes, so it can be pickled."""

    @property
    def is_whole(self) -> bool:
        """Say whether it begins and ends by itself; otherwise one says from when to when."""

    @property
    def words(self) -> str:
        """Say what it is, for the line printed at the start of a run."""

    def begins_ns(self) -> int:
        """Say from when on a whole source has bars of all its symbols.

        Raises:
            ConfigError: it cannot be read.
        """

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:
        """Return closed bars, oldest first: all of ``[start_ns, end_ns)`` at least, both given where it is not whole.

        Raises:
            ConfigError: it has none of this symbol or interval; the message says what to do.
        """


@attrs.frozen(kw_only=True)
class Period:
    """Which part of a whole source is played: after ``warmup_ns`` of history, for ``until_ns`` or to the end.

    As in the simulator it begins where all symbols have bars; where neither is given every data is played whole.
    """

    warmup_ns: int = 0
    until_ns: int | None = None


@attrs.frozen(kw_only=True)
class StartingAccount:
    """What the run begins with, and what a fill costs: a fraction of its notional."""

    cash: Decimal
    currency: str
    commission: Decimal


class BacktestStore:
    """History of one venue's market, for a cerebro. Made by ``btx.load(..., env="backtest")``; it never connects."""

    def __init__(
        self,
        *,
        name: str,
        title: str,
        source: BarSource,
        intervals: tuple[Interval, ...],
        period: Period,
        account: StartingAccount,
        market: str = "",
        rules: VenueRules | None = None,
        is_margined: bool = False,
        position_mode: PositionMode | None = None,
    ) -> None:
        self.name = name
        self._title = title
        self._market = market
        self._rules = rules
        self._is_margined = is_margined
        self._position_mode = position_mode
        self._bars: BarSession | None = None  # of the present run
        self._source = source
        self._intervals = intervals
        self._period = period
        self._account = account
        self._begin_ns: int | None = None
        self._is_told = False
        self._own_broker: BacktestBroker | None = None
        self._notifications: deque[Any] = deque(maxlen=_REMARKS)

    def __repr__(self) -> str:
        return f"<btx store {self.name}>"

    def __getstate__(self) -> dict[str, Any]:
        """Return what optimisation sends to other processes: not the session of a run."""
        return {**vars(self), "_bars": None}

    # --- what users ask -------------------------------------------------------------------------------------

    def getbroker(self, *, on_stop: str = "keep_protection") -> BacktestBroker:  # noqa: ARG002 -- nothing rests after a backtest
        """Return the broker: one that keeps the venue's rules, or of ``fills="stock"`` backtrader's own.

        ``setcash``, ``set_coc``, slippage and the like work as with ``bt.brokers.BackBroker``.
        """
        if self._own_broker is None:
            broker: Any = BacktestBroker() if self._rules is None else BarBroker(self)
            if self._rules is None:
                broker.setcash(float(self._account.cash))
                broker.setcommission(commission=float(self._account.commission))
            else:
                broker.begin_with(self._account.cash)
            self._own_broker = broker
        return self._own_broker

    @property
    def is_margined(self) -> bool:
        """Say whether positions of the market are on margin; a plain symbol means the perpetual then."""
        return self._is_margined

    @property
    def currency(self) -> str:
        """What cash is counted in."""
        return self._account.currency

    def open_session(self, *, open_orders: Any, cash: Decimal) -> BarSession:
        """Return what a run's books ask of a session; the broker does it, once per run."""
        assert self._rules is not None, "backtrader's own broker has no books"
        session = self._bars = BarSession(
            name=self.name,
            market=self._market,
            rules=self._rules,
            currency=self._account.currency,
            balances={self._account.currency: cash},
            open_orders=open_orders,
        )
        return session

    def getdata(
        self,
        dataname: str,
        *,
        timeframe: Any = bt.TimeFrame.Minutes,
        compression: int = 1,
        interval: str | None = None,
        backfill: str | int | None = None,
        fromdate: datetime.date | None = None,
        todate: datetime.date | None = None,
        historical: bool = False,
        max_signal_age: str | None = None,
        quotes: bool = False,
        book: int | bool = False,
        trades: bool = False,
        on_gap: str = "halt",
        from_trades: bool = False,
        fill: str | None = None,
        position_side: str | None = None,
        name: str | None = None,
        **params: Any,
    ) -> HistoryFeed:
        """Return a data of closed bars; the words are those of :meth:`LiveStore.getdata`.

        Args:
            dataname: the symbol, like ``"BTC/USDT"``.
            timeframe: backtrader's, with ``compression``; or ``"1m"``, ``"4h"``, ``"1w"``.
            compression: how many of the timeframe make a bar.
            interval: another name for a ``timeframe`` in words.
            backfill: history before the period: ``"2d"``, or a number of bars.
            fromdate: the first bar opens then at the earliest (UTC if it names no zone).
            todate: the last bar closes then at the latest; a date without a time is its whole day.
            historical: everything is, so it says nothing.
            max_signal_age: of live data alone; it says nothing.
            quotes: as for live data, but history has none: ``data.market.quote`` is None.
            book: likewise.
            trades: likewise: ``data.market.trades()`` is empty.
            on_gap: of live data alone, as are ``from_trades`` and ``fill``; checked, and they say nothing.
            from_trades: see ``on_gap``.
            fill: see ``on_gap``.
            position_side: ``"long"`` or ``"short"`` of an account loaded with ``position_mode="hedge"``.
            name: the data's name in the strategy, the symbol when not given.
            params: what backtrader's own datas take: ``tz``, ``sessionstart``, ...

        Raises:
            ConfigError: there are no such bars, or the settings contradict each other.
        """
        check_params(params)
        check_flags(historical=historical, from_trades=from_trades)
        bar_interval = bar_length(interval, timeframe, compression)
        if bar_interval not in self._intervals:
            names = " ".join(map(str, self._intervals))
            made = (
                ""
                if bar_interval.is_timed and bar_interval.nominal_ns >= NS_PER_MINUTE
                else (", and those made of its trades come live only")
            )
            raise ConfigError(f"the history of {self._title} has no {bar_interval} bars{made}: choose one of {names}")
        history = Backfill.read(backfill, fromdate)
        begin_ns, finish_ns = period_ns(fromdate, todate)
        age_ns = max(bar_interval.nominal_ns, SHORTEST_AGE_NS)
        gap_policy(on_gap)
        check_fill(fill)
        symbol = symbol_of(dataname)
        leg = leg_of(position_side, self._position_mode, is_margined=self.is_margined)
        spec = HistorySpec(
            store=self,
            symbol=self._meant(symbol),
            position_side=leg,
            interval=bar_interval,
            history_ns=history.span_ns,
            history_bars=history.bars,
            start_ns=begin_ns,
            end_ns=finish_ns,
            max_signal_age_ns=duration_ns("max_signal_age", max_signal_age) if max_signal_age is not None else age_ns,
            beside=asked(None, quotes=quotes, book=book, trades=trades),
        )
        if not self._source.is_whole and not (spec.start_ns or spec.history_ns or spec.history_bars):
            raise ConfigError(
                "env='backtest' plays a period: say which, getdata(..., fromdate=..., todate=...), "
                "or name a file with btx.load(..., scenario=btx.scenario(data={...}))"
            )
        frame, factor = to_backtrader(bar_interval)
        make: Any = HistoryFeed  # its arguments are backtrader params, which no checker sees
        feed: HistoryFeed = make(
            dataname=dataname,
            name=name or (dataname if position_side is None else f"{dataname} {leg.value.lower()}"),
            timeframe=frame,
            compression=factor,
            btx=spec,
            **params,
        )
        return feed

    def _meant(self, symbol: str) -> str:
        return perpetual_of(symbol) if self.is_margined else symbol

    def is_connected(self) -> bool:
        """Say no: there is nothing to connect to."""
        return False

    def balances(self) -> dict[str, Balance]:
        """Return what the account has at the start."""
        return {self._account.currency: Balance(free=self._account.cash, locked=Decimal(0))}

    def instruments(self) -> dict[str, Instrument]:
        """Return what the broker has a book of, by symbol; nothing before the run, and of ``fills="stock"``."""
        if not isinstance(self._own_broker, BarBroker):
            return {}
        return {book.instrument.symbol: book.instrument for book in self._own_broker.books}

    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument, with the venue's rules as the adapter's tables have them.

        Raises:
            UnknownSymbolError: it is not known.
        """
        if self._rules is None:
            raise UnknownSymbolError(
                f'fills="stock" knows no venue, so the rules of {symbol} are not known: leave fills= out'
            )
        return self._rules.terms(self._meant(symbol)).instrument

    def mark(self, feed: HistoryFeed) -> MarkPrice | None:  # noqa: ARG002 -- of no instrument
        """Return None: nobody knows the mark prices of a past that is bars."""
        return None

    def would_accept(self, request: OrderRequest | None = None, **words: Any) -> Verdict:
        """Say whether the venue's rules would let an order pass; see :meth:`LiveStore.would_accept`.

        Raises:
            ConfigError: a word of the order is unknown or missing.
        """
        if self._rules is None:
            return Verdict(text="backtrader's own broker has no rules of a venue", nearest=request)
        session = self._bars or self.open_session(open_orders=tuple, cash=self._account.cash)
        if request is None:
            symbol = words.pop("dataname", None) or getattr(words.get("data"), "_dataname", None)
            words["dataname"] = self._meant(symbol_of(symbol))
        return verdict_of(session, request, words)

    def orders(self) -> tuple[Order, ...]:
        """Return nothing: orders of a backtest are backtrader's own, in its broker."""
        return ()

    def open_orders(self, data: Any = None) -> list[Any]:
        """Return backtrader's orders that live; of ``data`` if given."""
        if self._own_broker is None:
            return []
        return [order for order in self._own_broker.get_orders_open() if data is None or order.data is data]

    # --- what backtrader asks -------------------------------------------------------------------------------

    def join(self, cerebro: Any) -> None:
        """Belong to a cerebro: one of its datas is ours."""
        if self not in cerebro.stores:
            cerebro.addstore(self)
        install(cerebro)

    def start(self, data: Any = None, broker: Any = None) -> None:  # noqa: ARG002 -- backtrader's idiom
        """Say what is played, once: a search over parameters starts many runs."""
        if self._is_told:
            return
        self._is_told = True
        line = f"{self.name}, {self._source.words}"
        if _log.isEnabledFor(logging.INFO) and _log.hasHandlers():
            _log.info("%s", line)
        else:
            print(f"btx: {line}", file=sys.stderr)  # noqa: T201 -- a script without logging must know it as well

    def stop(self) -> None:
        """End the run: nothing is open."""

    def put_notification(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Tell the strategy something through ``notify_store``."""
        self._notifications.append((message, args, kwargs))

    def get_notifications(self) -> list[Any]:
        """Return what is to be told."""
        told = list(self._notifications)
        self._notifications.clear()
        return told

    def open_bars(self, feed: HistoryFeed) -> tuple[BarColumns, int]:
        """Return a data's bars, and the time from which on they are its period and no history.

        Raises:
            ConfigError: there are none; the message says what to do.
        """
        spec = feed.spec
        if not self._source.is_whole:
            end_ns = spec.end_ns if spec.end_ns is not None else time.time_ns()
            back_ns = spec.history_ns or (spec.history_bars or 0) * spec.interval.nominal_ns
            start_ns = spec.start_ns if spec.start_ns is not None else end_ns - back_ns
            columns = self._source.columns(spec.symbol, spec.interval, start_ns, end_ns)
            return _cut(columns, start_ns, end_ns), start_ns
        columns = self._source.columns(spec.symbol, spec.interval, None, None)
        origin_ns, until_ns = self._origin_and_end(columns)
        start_ns = origin_ns
        if spec.start_ns is not None:
            start_ns = spec.start_ns
        elif spec.history_ns is not None:
            start_ns = origin_ns - spec.history_ns
        elif spec.history_bars:
            first = bisect_left(columns.open_ns, origin_ns)
            start_ns = columns.open_ns[max(first - spec.history_bars, 0)] if first else origin_ns
        if spec.end_ns is not None:
            until_ns = spec.end_ns if until_ns is None else min(until_ns, spec.end_ns)
        cut = _cut(columns, start_ns, until_ns)
        if not len(cut):
            raise ConfigError(
                f"{spec.symbol}: no {spec.interval} bar lies in the period asked for in {self._source.words}"
            )
        return cut, max(origin_ns, start_ns)

    def _origin_and_end(self, columns: BarColumns) -> tuple[int, int | None]:
        """Return where the period begins, and where it ends if it is said."""
        warmup_ns, until_ns = self._period.warmup_ns, self._period.until_ns
        if not warmup_ns and until_ns is None:
            return (columns.open_ns[0] if len(columns) else 0), None
        if self._begin_ns is None:
            self._begin_ns = self._source.begins_ns()
        origin_ns = self._begin_ns + warmup_ns
        return origin_ns, origin_ns + until_ns if until_ns is not None else None


def _cut(columns: BarColumns, start_ns: int, end_ns: int | None) -> BarColumns:
    """Return the bars that open at ``start_ns`` or later and close at ``end_ns`` or before."""
    low = bisect_left(columns.open_ns, start_ns)
    high = len(columns) if end_ns is None else max(bisect_right(columns.close_ns, end_ns), low)
    if (low, high) == (0, len(columns)):
        return columns
    part: dict[str, Any] = {name: getattr(columns, name)[low:high] for name in _COLUMNS}
    return attrs.evolve(columns, **part)
