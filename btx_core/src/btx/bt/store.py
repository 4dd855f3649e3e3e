"""The store of one account: what ``btx.load`` returns and ``cerebro`` starts and stops."""

import datetime
import difflib
import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import backtrader as bt

from btx.bt.broker import LiveBroker
from btx.bt.feed import DataSpec, LiveFeed
from btx.bt.run import Loop, loop_of, stock_broker_warning
from btx.bt.timeframes import interval_of, to_backtrader
from btx.bt.verdict import Verdict, judge, request_of
from btx.config import Secret
from btx.errors import BtxError, ConfigError
from btx.model.account import Balance, BalanceUpdate
from btx.model.instrument import Instrument
from btx.model.order import Order, OrderRequest
from btx.model.time import NS_PER_DAY, NS_PER_MS, Interval, parse_duration
from btx.runtime.mailbox import BarItem, GroupWritten, Mailbox, MemberEnded, Note, OrderUpdate
from btx.runtime.session import Session

__all__ = ("LiveStore",)

_log = logging.getLogger("btx")
_STOP_S = 3.0  # with what the broker waits for its cancels, a run ends within five seconds
_ALARMS = ("FAULT", "FATAL", "GAP", "DISCONNECTED")
_KEY_LENGTH = 24  # the shortest key that is shown in part
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class LiveStore:
    """One account at one venue, for a cerebro. Made by :func:`btx.load`; nothing connects before ``cerebro.run()``."""

    def __init__(self, session: Session, *, world: str = "") -> None:
        self.session = session
        self._world = world  # what the run trades on, in words
        self.broker: LiveBroker | None = None  # the one that takes this account's events in the present run
        self._own_broker: LiveBroker | None = None
        self._loop: Loop | None = None
        self._notifications: deque[Any] = deque()

    def __repr__(self) -> str:
        return f"<btx store {self.session.name}>"

    # --- what users ask -------------------------------------------------------------------------------------

    def getbroker(self, *, on_stop: str = "keep_protection") -> LiveBroker:
        """Return the broker of this account.

        Args:
            on_stop: what happens to resting orders at the end: ``"keep_protection"``
                cancels those that open or add to a position and keeps those that
                close one, ``"cancel"`` cancels all, ``"keep"`` none.

        Raises:
            ConfigError: ``on_stop`` is none of these.
        """
        if self._own_broker is None:
            self._own_broker = LiveBroker(self)
        self._own_broker.on_stop = on_stop
        return self._own_broker

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
        name: str | None = None,
        **params: Any,
    ) -> LiveFeed:
        """Return a live data of closed bars.

        Args:
            dataname: the symbol, like ``"BTC/USDT"``.
            timeframe: backtrader's, with ``compression``; or ``"1m"``, ``"4h"``, ``"1w"``.
            compression: how many of the timeframe make a bar.
            interval: another name for a ``timeframe`` in words.
            backfill: history that comes first: ``"2d"``, or a number of bars.
            fromdate: history from then on (UTC if it names no zone), in place of ``backfill``.
            todate: the last bar closes then at the latest; a date without a time is its whole day.
            historical: only history, nothing live; 100 bars unless said otherwise.
            max_signal_age: how old the last bar may be when an order leaves; one bar.
            name: the data's name in the strategy, the symbol when not given.
            params: what backtrader's own datas take: ``tz``, ``sessionstart``, ...

        Raises:
            ConfigError: the venue has no such bars, or the settings contradict each other.
        """
        _check_params(params)
        bar_interval = self._interval(interval if interval is not None else timeframe, compression)
        if backfill is not None and fromdate is not None:
            raise ConfigError("backfill= and fromdate= both say where history begins: give one of them")
        if backfill is not None and not isinstance(backfill, str | int):
            raise ConfigError(f"backfill={backfill!r}: write a duration like '2d', or a whole number of bars")
        if isinstance(backfill, int) and backfill < 0:
            raise ConfigError(f"backfill={backfill}: a number of bars is not negative")
        spec = DataSpec(
            store=self,
            symbol=_symbol(dataname),
            interval=bar_interval,
            history_ns=_duration("backfill", backfill) if isinstance(backfill, str) else None,
            history_bars=(backfill or None) if isinstance(backfill, int) else None,
            start_ns=_to_ns("fromdate", fromdate),
            end_ns=_end_ns(todate),
            historical=historical,
            max_signal_age_ns=_duration("max_signal_age", max_signal_age) if max_signal_age is not None else None,
        )
        frame, factor = to_backtrader(bar_interval)
        make: Any = LiveFeed  # its arguments are backtrader params, which no checker sees
        feed: LiveFeed = make(
            dataname=dataname,
            name=name or dataname,
            timeframe=frame,
            compression=factor,
            btx=spec,
            **params,
        )
        return feed

    def is_connected(self) -> bool:
        """Say whether the account stream stands."""
        return self.session.is_account_connected()

    def balances(self) -> dict[str, Balance]:
        """Return the balances as they were at start; what came since is in the broker.

        Raises:
            BtxError: the store is not started.
        """
        return dict(self.session.account().balances)

    def instruments(self) -> dict[str, Instrument]:
        """Return the market's instruments by symbol; empty before the start."""
        return dict(self.session.instruments())

    def would_accept(
        self,
        request: OrderRequest | None = None,
        *,
        side: str | None = None,
        dataname: str | None = None,
        data: Any = None,
        size: Any = None,
        price: Any = None,
        plimit: Any = None,
        exectype: Any = None,
        display_size: Any = None,
    ) -> Verdict:
        """Say whether the venue's rules would let an order pass, and which order near it they would::

            verdict = store.would_accept(side="buy", dataname="BTC/USDT", size=0.00001, price=20_000)
            verdict or print(verdict.rule, verdict.text, verdict.nearest)

        The order is an ``OrderRequest``, or words: ``side``, ``size``, ``price``,
        ``plimit``, ``exectype``, ``display_size``, and the symbol as ``dataname=`` or
        by its ``data=``.  It is judged as it stands, where ``buy()`` and ``sell()``
        round first.  What is not known here (see ``Session.market_view``) the venue
        judges itself; nothing is asked of it, and what the account can pay is no rule.

        Raises:
            ConfigError: a word of the order is unknown or missing.
            UnknownSymbolError: the venue lists no such instrument.
            BtxError: the store is not started, so its instruments are not known.
        """
        if request is None:
            if side is None or size is None:
                raise ConfigError(
                    'would_accept(side="buy", dataname="BTC/USDT", size=1): an order has a side and a size'
                )
            symbol = _symbol(dataname if dataname is not None else getattr(data, "_dataname", None))
            if not self.session.instruments():
                raise BtxError(f"{self.session.name} is not started: cerebro.run() does it, or store.start()")
            request = request_of(
                self.session.instrument(symbol),
                side=side,
                size=size,
                price=price,
                plimit=plimit,
                exectype=exectype,
                display_size=display_size,
            )
        return judge(request, self.session.market_view(request.instrument))

    def orders(self) -> tuple[Order, ...]:
        """Return this run's orders as they are now, with their fills."""
        return self.session.orders()

    def open_orders(self, data: Any = None) -> list[Any]:
        """Return backtrader's orders that live: this run's, and those that earlier runs left; of ``data`` if given.

        See :meth:`LiveBroker.open_orders`; empty before ``cerebro.run()``.

        Raises:
            ConfigError: the data is of no account of this store's broker.
        """
        return self.broker.open_orders(data, store=self) if self.broker is not None else []

    # --- what backtrader asks ----------------------------------------------------------------------------------

    def join(self, cerebro: Any) -> Loop:
        """Belong to a cerebro: its broker or one of its datas is ours."""
        loop = loop_of(cerebro)
        if self._loop is not loop:
            self.session.attach(loop.wakeup)
            self._loop = loop
            if loop.join(self):
                cerebro.addstore(self)
        return loop

    def board(self, loop: Loop) -> None:
        """Belong to the run that begins; another cerebro may have had the store since the last one.

        Raises:
            BtxError: the other one runs still.
        """
        self.session.attach(loop.wakeup)
        self._loop = loop
        self.broker = None
        broker = loop.cerebro.broker
        if isinstance(broker, LiveBroker) and broker.serves(self):
            broker.cerebro = loop.cerebro

    def start(self, data: Any = None, broker: Any = None) -> None:  # noqa: ARG002 -- backtrader's idiom
        """Connect, once per run.

        Raises:
            BtxError: the venue was not reached, or does not accept the keys.
        """
        if self.session.is_running:
            return
        _log.info("%s: starting", self.session.name)
        self._notifications.clear()
        if self._loop is not None and (warning := stock_broker_warning(self._loop)) is not None:
            _log.warning("%s: %s", self.session.name, warning)
            self.put_notification(f"WARNING: {warning}")
        self.session.start()
        self._introduce()

    def _introduce(self) -> None:
        """Say where the orders of this run go: in the log, and on stderr where nobody reads it."""
        session = self.session
        refused = "orders are refused" if session.orders_refused() is not None else ""
        words = (session.name, f"account {_shown(session.settings.api_key)}", self._world, refused)
        line = ", ".join(filter(None, words))
        if _log.isEnabledFor(logging.INFO) and _log.hasHandlers():
            _log.info("%s", line)
        else:
            print(f"btx: {line}", file=sys.stderr)  # noqa: T201 -- a script without logging must know it as well

    def stop(self) -> None:
        """Hang up. Idempotent."""
        self.shut()

    def shut(self) -> None:
        """Hang up, whatever state the run ended in; orders that only open are cancelled first."""
        if not self.session.is_running:
            return
        try:
            if self.broker is not None:
                self.broker.withdraw(self)
        finally:
            self.session.stop(timeout_s=_STOP_S)
            if self.broker is not None:
                self.broker.settle(self)

    def open_bars(self, feed: LiveFeed) -> Mailbox[BarItem]:
        """Open the session's side of a feed.

        Raises:
            UnknownSymbolError: the venue lists no such instrument.
        """
        spec = feed.spec
        return self.session.open_bars(
            instrument=self.session.instrument(spec.symbol),
            interval=spec.interval,
            history_ns=spec.history_ns,
            history_bars=spec.history_bars,
            start_ns=spec.start_ns,
            end_ns=spec.end_ns,
            live=not spec.historical,
        )

    @property
    def has_news(self) -> bool:
        """Something waits to be told, or to be taken over by the broker."""
        return bool(self._notifications or self.session.events) or (self.broker is not None and self.broker.has_news)

    def events(self) -> Iterator[OrderUpdate | GroupWritten | MemberEnded | BalanceUpdate]:
        """Take what the session learned; its remarks go to ``notify_store`` and to the log."""
        while (item := self.session.events.take()) is not None:
            if isinstance(item, Note):
                level = logging.WARNING if item.kind in _ALARMS else logging.INFO
                _log.log(level, "%s: %s %s", self.session.name, item.kind, item.text)
                self.put_notification(f"{item.kind}: {item.text}")
            else:
                yield item

    def put_notification(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Tell the strategy something through ``notify_store``."""
        self._notifications.append((message, args, kwargs))

    def get_notifications(self) -> list[Any]:
        """Return what is to be told; the one place where the live loop waits."""
        if self._loop is not None:
            if self.broker is not None:
                self.broker.turn_ends()
            self._loop.pause(self)
        if self.broker is None:
            for _ in self.events():
                pass  # nobody counts this account's orders and balances; its remarks are told all the same
        told = list(self._notifications)
        self._notifications.clear()
        return told

    # --- settings ---------------------------------------------------------------------------------------------

    def _interval(self, timeframe: Any, compression: int) -> Interval:
        known = self.session.info.capabilities[self.session.market].intervals
        interval = interval_of(timeframe, compression)
        if interval not in known:
            names = " ".join(map(str, known))
            raise ConfigError(f"{self.session.info.title} has no {interval} bars: choose one of {names}")
        return interval


_GETDATA = (
    *("dataname", "timeframe", "compression", "interval", "backfill", "fromdate", "todate"),
    *("historical", "max_signal_age", "name"),
)


def _check_params(params: Mapping[str, Any]) -> None:
    """Backtrader itself would name its metaclass, and not the word that was meant."""
    declared: Any = LiveFeed.params  # backtrader makes an object of it
    theirs = set(declared._getkeys()) - {"btx"}
    for name in params:
        if name not in theirs:
            near = difflib.get_close_matches(name, (*_GETDATA, *theirs), n=1)
            hint = f"did you mean {near[0]}=?" if near else f"choose of {', '.join(_GETDATA)}"
            raise ConfigError(f"getdata has no option {name}=: {hint}")


def _shown(api_key: Secret) -> str:
    """As much of a key as tells accounts apart, and nothing of a text too short to be a venue's key."""
    text = api_key.reveal()
    return f"{text[:8]}…" if len(text) >= _KEY_LENGTH else "***"


def _symbol(dataname: Any) -> str:
    if not isinstance(dataname, str) or "/" not in dataname:
        raise ConfigError(f"dataname={dataname!r}: write the symbol with a slash, like 'BTC/USDT'")
    return dataname


def _duration(name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text!r}: {error}") from None


def _to_ns(name: str, moment: datetime.date | None) -> int | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime.date):
        raise ConfigError(f"{name}={moment!r}: give a datetime.date or datetime.datetime")
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time(0, 0))
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    return (aware - _EPOCH) // datetime.timedelta(milliseconds=1) * NS_PER_MS


def _end_ns(moment: datetime.date | None) -> int | None:
    end_ns = _to_ns("todate", moment)
    is_day = end_ns is not None and not isinstance(moment, datetime.datetime)
    return end_ns + NS_PER_DAY if end_ns is not None and is_day else end_ns
