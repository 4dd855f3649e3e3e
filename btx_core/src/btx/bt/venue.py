"""The store of ``env="backtest"`` with ``fills="venue"``: history as data, and orders on the venue's own simulator.

No wire and no thread: backtrader's loop moves the market bar by bar.  Before a
bar is shown, everything the last one led to is done, at the time it closed; so
an order never sees the bar that its strategy had not seen.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from btx.bt.backtest import BacktestStore
from btx.bt.broker import LiveBroker
from btx.bt.folds import close_ns_of
from btx.bt.history import HistoryFeed
from btx.bt.verdict import Verdict, judge, request_of
from btx.bt.words import symbol_of
from btx.errors import ConfigError
from btx.model.account import Balance
from btx.model.derivatives import MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import Order, OrderRequest
from btx.model.time import NS_PER_MS
from btx.runtime.inline import InlineSession
from btx.runtime.mailbox import Note

__all__ = ("VenueBacktestStore",)


class VenueBacktestStore(BacktestStore):
    """History of one venue's market, and an account at its simulator in this process."""

    session: InlineSession

    def __init__(self, *, session: InlineSession, **settings: Any) -> None:
        super().__init__(name=session.name, **settings)
        self.session = session
        self.broker: Any = None  # a LiveBroker: the one of the present run
        self._venue_broker: Any = None
        self._cerebro: Any = None
        self._feeds: list[HistoryFeed] = []
        self._lengths: dict[int, int] = {}

    # --- what users ask ---------------------------------------------------------------------------------------

    def getbroker(self, *, on_stop: str = "keep_protection") -> Any:
        """Return the broker of the account: the very one that trades live."""
        if self._venue_broker is None:
            make: Any = LiveBroker  # its stores are those of live sessions, which this one answers like
            self._venue_broker = make(self)
        self._venue_broker.on_stop = on_stop
        return self._venue_broker

    def balances(self) -> dict[str, Balance]:
        """Return the balances as they were at start.

        Raises:
            BtxError: the store is not started.
        """
        return dict(self.session.account().balances)

    def instruments(self) -> dict[str, Instrument]:
        """Return what is played, by symbol; empty before the start."""
        return dict(self.session.instruments())

    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument.

        Raises:
            UnknownSymbolError: it is not played.
        """
        return self.session.instrument(symbol)

    def mark(self, feed: HistoryFeed) -> MarkPrice | None:
        """Return the mark price of an instrument, None where there is none, and while history is shown."""
        return self.session.mark(feed.instrument.symbol) if feed.is_live else None

    def would_accept(self, request: OrderRequest | None = None, **words: Any) -> Verdict:
        """Say whether the venue's rules would let an order pass; see :meth:`LiveStore.would_accept`.

        Raises:
            ConfigError: a word of the order is unknown or missing.
        """
        if request is None:
            data = words.pop("data", None)
            symbol = symbol_of(words.pop("dataname", None) or getattr(data, "_dataname", None))
            if "side" not in words or "size" not in words:
                raise ConfigError(
                    'would_accept(side="buy", dataname="BTC/USDT", size=1): an order has a side and a size'
                )
            wanted: dict[str, Any] = dict.fromkeys(("price", "plimit", "exectype", "display_size")) | words
            request = request_of(self.session.instrument(symbol), **wanted)
        return judge(request, self.session.market_view(request.instrument))

    def orders(self) -> tuple[Order, ...]:
        """Return this run's orders as they are now, with their fills."""
        return self.session.orders()

    def open_orders(self, data: Any = None) -> list[Any]:
        """Return backtrader's orders that live; of ``data`` if given."""
        return self.broker.open_orders(data, store=self) if self.broker is not None else []

    # --- what backtrader asks -----------------------------------------------------------------------------------

    def join(self, cerebro: Any) -> None:
        """Belong to a cerebro: its broker or one of its datas is ours."""
        if self._cerebro is cerebro:
            return
        self._cerebro = cerebro
        cerebro.addstore(self)
        run = cerebro.runstrategies

        def runstrategies(*args: Any, **kwargs: Any) -> Any:
            try:
                return run(*args, **kwargs)
            finally:
                self.stop()  # backtrader itself stops nothing when a strategy raises

        cerebro.runstrategies = runstrategies
        cerebro.p.runonce = False  # an order may be filled between two bars
        cerebro.p.quicknotify = True

    def start(self, data: Any = None, broker: Any = None) -> None:
        """Open the venue, once per run.

        Raises:
            ConfigError: what it is to play cannot be played, or cerebro runs vectorised.
        """
        if self.session.is_running:
            return
        if getattr(self._cerebro, "_dorunonce", False):
            raise ConfigError('fills="venue" goes bar by bar: leave runonce=True out of cerebro.run()')
        super().start(data, broker)
        self._lengths.clear()
        self._feeds = [each for each in self._cerebro.datas if isinstance(each, HistoryFeed) and each.store is self]
        self.session.start()

    def stop(self) -> None:
        """Cancel what ``on_stop`` says, and close the venue. Idempotent."""
        if not self.session.is_running:
            return
        try:
            if self.broker is not None:
                self.broker.withdraw(self)
                self.broker.settle(self)
        finally:
            self.session.stop()

    @property
    def is_margined(self) -> bool:
        """Positions here are on margin, and not owned."""
        return self.session.info.capabilities[self.session.market].margined

    @property
    def has_news(self) -> bool:
        """Something waits to be told."""
        return bool(self._notifications or self.session.events)

    def get_notifications(self) -> list[Any]:
        """Return what is to be told; before the next bar is shown, everything is done that was asked at this one."""
        while self.broker is not None and (self.session.settle() or self.broker.has_news):
            self._cerebro._brokernotify()
        return super().get_notifications()

    def events(self) -> Iterator[Any]:
        """Let the market move to the bar that is shown, and take what happened; remarks go to ``notify_store``."""
        self._catch_up()
        while (item := self.session.events.take()) is not None:
            if isinstance(item, Note):
                self.put_notification(f"{item.kind}: {item.text}")
            else:
                yield item

    def _catch_up(self) -> None:
        shown = [feed for feed in self._feeds if len(feed) and self._lengths.get(id(feed)) != len(feed)]
        if shown:
            self._lengths.update({id(feed): len(feed) for feed in shown})
            bars = [(feed.instrument, _bar(feed)) for feed in shown]
            self.session.take_bars(bars, until_ns=max(bar.close_ns for _, bar in bars))


def _bar(feed: HistoryFeed) -> Bar:
    lines: Any = feed.lines
    names = ("open", "high", "low", "close", "volume")
    numbers: dict[str, Any] = {name: Decimal(repr(getattr(lines, name)[0])) for name in names}
    return Bar(
        symbol=feed.symbol,
        interval=feed.interval,
        open_ns=round(lines.ts_ms[0]) * NS_PER_MS,
        close_ns=close_ns_of(lines),
        is_closed=True,
        **numbers,
    )
