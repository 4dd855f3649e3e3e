"""The store of one account: what ``btx.load`` returns and ``cerebro`` starts and stops."""

import datetime
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import backtrader as bt

from btx.bt.broker import LiveBroker
from btx.bt.feed import DataSpec, LiveFeed
from btx.bt.market import asked, check_flags
from btx.bt.run import Loop, loop_of, stock_broker_warning
from btx.bt.timeframes import to_backtrader
from btx.bt.verdict import Verdict, judge, request_of
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
from btx.config import Secret
from btx.errors import BtxError, ConfigError
from btx.model.account import Balance
from btx.model.instrument import Instrument
from btx.model.order import Order, OrderRequest
from btx.model.time import NS_PER_HOUR, Interval
from btx.model.venue import Channel, Connection, ConnectionState, Environment
from btx.rules.bars import fits
from btx.rules.symbols import perpetual_of
from btx.runtime.mailbox import BarItem, Mailbox, Note, SessionEvent
from btx.runtime.prints import LONGEST_HISTORY_NS, Making
from btx.runtime.session import Session

__all__ = ("LiveStore",)

_log = logging.getLogger("btx")
_STOP_S = 3.0  # with what the broker waits for its cancels, a run ends within five seconds
_ALARMS = (
    *("FAULT", "FATAL", "GAP", "DISCONNECTED", "STALE", "DEGRADED", "SLOW"),
    *("HALT", "NAKED", "DRIFT", "DEADMAN", "MARGIN", "LIQUIDATED", "DELEVERAGED", "UNWIND"),
)
_KEY_LENGTH = 24  # the shortest key that is shown in part

ConnectionCallback = Callable[[str, Connection], object]
"""Called with a connection's name and how it stands now."""


class LiveStore:
    """One account at one venue, for a cerebro. Made by :func:`btx.load`; nothing connects before ``cerebro.run()``."""

    def __init__(self, session: Session, *, world: str = "") -> None:
        self.session = session
        self._world = world  # what the run trades on, in words
        self.broker: LiveBroker | None = None  # the one that takes this account's events in the present run
        self._own_broker: LiveBroker | None = None
        self._loop: Loop | None = None
        self._notifications: deque[Any] = deque()
        self._on_disconnect: list[ConnectionCallback] = []
        self._on_reconnect: list[ConnectionCallback] = []
        self._lost: set[str] = set()  # connections that were told to be lost

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
        on_gap: str = "halt",
        quotes: bool = False,
        book: int | bool = False,
        trades: bool = False,
        from_trades: bool = False,
        fill: str | None = None,
        position_side: str | None = None,
        name: str | None = None,
        **params: Any,
    ) -> LiveFeed:
        """Return a live data of closed bars.

        What the venue does not keep is made: longer bars of its own shorter ones,
        those of seconds and of so many trades (``bt.TimeFrame.Ticks``) of its trades.

        Args:
            dataname: the symbol, like ``"BTC/USDT"``.
            timeframe: backtrader's, with ``compression``; or ``"5s"``, ``"1m"``, ``"4h"``, ``"1w"``, ``"100t"``.
            compression: how many of the timeframe make a bar.
            interval: another name for a ``timeframe`` in words.
            backfill: history that comes first: ``"2d"``, or a number of bars.
            fromdate: history from then on (UTC if it names no zone), in place of ``backfill``.
            todate: the last bar closes then at the latest; a date without a time is its whole day.
            historical: only history, nothing live; 100 bars unless said otherwise.
            on_gap: what is done about live bars that cannot be had, beside telling: ``"halt"`` sends nothing but
                reductions until you resume, ``"mark"`` puts flat bars without volume in their place
                (``data.is_filler``), ``"continue"`` goes on with the next bar. Where single trades are missing,
                ``"mark"`` tells it and goes on.
            quotes: best bid and ask in ``data.market.quote``.
            book: so many levels of the order book in ``data.market.book``; True for 20.
            trades: public trades in ``data.market.trades()``.
            max_signal_age: how old the last bar may be when an order leaves; one bar, and ten seconds at least.
            from_trades: make the live bars of trades though the venue has them.
            fill: ``"previous"`` gives an interval without a trade a flat bar at the last
                price; otherwise bars made of trades leave it out, as backtrader does.
            position_side: ``"long"`` (unless said otherwise) or ``"short"`` of an account loaded with
                ``position_mode="hedge"``: which of the instrument's two positions orders on this data are for.
            name: the data's name in the strategy; the symbol when not given, with the ``position_side`` that was.
            params: what backtrader's own datas take: ``tz``, ``sessionstart``, ...

        Raises:
            ConfigError: the venue has no such bars, or the settings contradict each other.
        """
        check_params(params)
        check_flags(historical=historical, from_trades=from_trades)
        bar_interval = bar_length(interval, timeframe, compression)
        source = self._source(bar_interval, from_trades=from_trades, fill=fill)
        history = Backfill.read(backfill, fromdate)
        begin_ns, finish_ns = period_ns(fromdate, todate)
        symbol = symbol_of(dataname)
        if self.is_margined:
            symbol = perpetual_of(symbol)
        leg = leg_of(position_side, self.session.margining.position_mode, is_margined=self.is_margined)
        if self.is_margined:
            self.session.require(symbol, leg)
        spec = DataSpec(
            store=self,
            symbol=symbol,
            position_side=leg,
            interval=source.interval,
            whole=bar_interval,
            making=source.making,
            history_ns=history.span_ns,
            history_bars=history.bars or None,
            start_ns=begin_ns,
            end_ns=finish_ns,
            historical=historical,
            max_signal_age_ns=duration_ns("max_signal_age", max_signal_age) if max_signal_age is not None else None,
            on_gap=gap_policy(on_gap),
            beside=asked(self.session, quotes=quotes, book=book, trades=trades, historical=historical),
        )
        if source.making is not None:
            _check_history(spec, source.making)
        frame, factor = to_backtrader(source.interval)
        make: Any = LiveFeed  # its arguments are backtrader params, which no checker sees
        feed: LiveFeed = make(
            dataname=dataname,
            name=name or (dataname if position_side is None else f"{dataname} {leg.value.lower()}"),
            timeframe=frame,
            compression=factor,
            btx=spec,
            **params,
        )
        if source.interval != bar_interval:
            feed.resample(timeframe=str(bar_interval))
        return feed

    def is_connected(self) -> bool:
        """Say whether the account stream stands."""
        return self.session.is_account_connected()

    def connections(self) -> dict[str, Connection]:
        """Return how each connection stands and since when: ``account``, ``market``, ``market 2``, ...

        Empty while the store is not started.
        """
        return dict(self.session.connections())

    def on_disconnect(self, callback: ConnectionCallback) -> None:
        """Call ``callback(name, connection)`` when a connection is lost, once per loss, on cerebro's thread.

        What it raises is told and harms nobody.
        """
        self._on_disconnect.append(callback)

    def on_reconnect(self, callback: ConnectionCallback) -> None:
        """Call ``callback(name, connection)`` when a lost connection stands again, as for :meth:`on_disconnect`."""
        self._on_reconnect.append(callback)

    def balances(self) -> dict[str, Balance]:
        """Return the balances as they were at start; what came since is in the broker.

        Raises:
            BtxError: the store is not started.
        """
        return dict(self.session.account().balances)

    def instruments(self) -> dict[str, Instrument]:
        """Return the market's instruments by symbol; empty before the start."""
        return dict(self.session.instruments())

    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument, with the venue's rules.

        Raises:
            UnknownSymbolError: the venue lists none of this name.
            BtxError: the store is not started, so its instruments are not known.
        """
        self._check_started()
        return self.session.instrument(symbol)

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
            symbol = symbol_of(dataname if dataname is not None else getattr(data, "_dataname", None))
            self._check_started()
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

    def _check_started(self) -> None:
        if not self.session.instruments():
            raise BtxError(f"{self.session.name} is not started: cerebro.run() does it, or store.start()")

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
        self._lost.clear()
        if self._loop is not None and (warning := stock_broker_warning(self._loop)) is not None:
            _log.warning("%s: %s", self.session.name, warning)
            self.put_notification(f"WARNING: {warning}")
        self.session.start()
        self._introduce()

    def _introduce(self) -> None:
        """Say where the orders of this run go: in the log, and on stderr where nobody reads it."""
        session = self.session
        refused = "orders are refused" if session.orders_refused() is not None else ""
        is_paper = session.environment is Environment.PAPER  # its world says so
        account = "" if is_paper else f"account {_shown(session.settings.api_key)}"
        words = (session.name, account, self._world, refused)
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
            whole=spec.whole,
            making=spec.making,
            on_gap=spec.on_gap,
        )

    @property
    def is_margined(self) -> bool:
        """Positions here are on margin, and not owned."""
        return self.session.info.capabilities[self.session.market].margined

    @property
    def has_news(self) -> bool:
        """Something waits to be told, or to be taken over by the broker."""
        return bool(self._notifications or self.session.events) or (self.broker is not None and self.broker.has_news)

    def events(self) -> Iterator[SessionEvent]:
        """Take what the session learned; its remarks go to ``notify_store`` and to the log."""
        while (item := self.session.events.take()) is not None:
            if isinstance(item, Note):
                level = logging.WARNING if item.kind in _ALARMS else logging.INFO
                _log.log(level, "%s: %s %s", self.session.name, item.kind, item.text)
                self.put_notification(f"{item.kind}: {item.text}")
                if item.status is not None:
                    self._call_back(item.connection, item.status)
            else:
                yield item

    def _call_back(self, name: str, connection: Connection) -> None:
        callbacks: list[ConnectionCallback] = []
        if connection.state is ConnectionState.RECONNECTING:
            self._lost.add(name)
            callbacks = self._on_disconnect
        elif connection.state is ConnectionState.CONNECTED and name in self._lost:
            self._lost.remove(name)
            callbacks = self._on_reconnect
        for callback in tuple(callbacks):
            try:
                callback(name, connection)
            except Exception as error:  # noqa: BLE001 -- the user's: it is told, and the run goes on
                _log.warning("%s: a callback of the %s connection raised", self.session.name, name, exc_info=error)
                self.put_notification(f"FAULT: a callback of the {name} connection raised {error!r}")

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

    def _source(self, interval: Interval, *, from_trades: bool, fill: str | None) -> "_Source":
        """Say what bars are made of: the venue's own, its shorter ones, or its trades.

        Raises:
            ConfigError: they are made of nothing the venue has.
        """
        check_fill(fill)
        can = self.session.info.capabilities[self.session.market]
        native = [each for each in can.intervals if fits(each, interval)]
        part = max(native, key=lambda each: each.nominal_ns, default=None)
        if part is not None and not from_trades:
            if fill is not None:
                raise ConfigError(f"fill= is for bars made of trades: the venue's own {part} bars leave nothing out")
            return _Source(interval=part)
        if Channel.TRADE not in can.channels:
            names = " ".join(map(str, can.intervals))
            raise ConfigError(f"{self.session.info.title} has no {interval} bars and no trades: choose one of {names}")
        if fill is not None and not interval.is_timed:
            raise ConfigError(f"fill= is for bars of a time: {interval} bars end with a trade")
        return _Source(interval=interval, making=Making(part=part, fills=fill is not None))


@attrs.frozen(kw_only=True)
class _Source:
    """What a data is made of: bars of ``interval`` as the session delivers them."""

    interval: Interval
    making: Making | None = None


def _check_history(spec: DataSpec, making: Making) -> None:
    """Trades are fetched a thousand at a time: what nobody waits for is refused."""
    if making.part is None and spec.history_ns is not None and spec.history_ns > LONGEST_HISTORY_NS:
        raise ConfigError(
            f"{spec.whole} bars are made of trades, whose history goes back "
            f"{LONGEST_HISTORY_NS // NS_PER_HOUR} hours at most: ask for less"
        )


def _shown(api_key: Secret) -> str:
    """As much of a key as tells accounts apart, and nothing of a text too short to be a venue's key."""
    text = api_key.reveal()
    return f"{text[:8]}…" if len(text) >= _KEY_LENGTH else "***"
