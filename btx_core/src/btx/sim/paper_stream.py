"""An account stream made of the venue's public ones: what a paper account hears, and how it misses nothing."""

import abc
import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping
from decimal import Decimal
from typing import Any

from btx.errors import ConfigError, TransportError
from btx.model.account import KeyRights
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Quote, Trade
from btx.model.time import iso
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Clock, Feed, Sink, Store, Stream, StreamEvent, Wanted
from btx.sim.engine import Engine
from btx.sim.paper_ledger import Ledger, Opening, opening_line
from btx.sim.paper_market import PublicMarket

__all__ = ("PAPER_KEY", "PaperStream")

PAPER_KEY = "paper"
"""The name of the account where a venue would want a key."""

_DEPTH = 100  # levels of the book an order is placed against
_HEARD_S = 5.0  # until the trades of an instrument are heard that was never ordered before
_MISSED_MOST = 200_000  # trades that are fetched after a cut
_ACCOUNT = Subscription(channel=Channel.ACCOUNT)


class _Wanted:
    """What the account's connection carries: what must be heard of whatever was ever ordered."""

    def __init__(self, channels: Collection[Channel] = (Channel.TRADE, Channel.QUOTE)) -> None:
        self.now: frozenset[Subscription] = frozenset()
        self._channels = channels
        self._change = asyncio.Condition()

    async def add(self, instrument: Instrument) -> None:
        """Want an instrument's trades, quotes, and whatever else the account hangs on."""
        wanted = {Subscription(channel=channel, instrument=instrument) for channel in self._channels}
        async with self._change:
            self.now |= wanted
            self._change.notify_all()

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        """Wait until what is wanted differs from ``known``, and return it."""
        async with self._change:
            await self._change.wait_for(lambda: self.now != known)
            return self.now


class PaperStream(abc.ABC):
    """One run of a paper account, whatever it trades: the venue's Store and Stream, and what the account hears of them.

    ``channels`` is what is heard of an instrument that is traded.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        feed: Feed,
        stream: Stream,
        fees: Callable[[Instrument], FeeSchedule],
        balances: Mapping[str, Decimal],
        ledger: Ledger,
        channels: Collection[Channel] = (Channel.TRADE, Channel.QUOTE),
    ) -> None:
        self.feed = feed
        self.clock = clock
        self._by_venue: dict[str, Instrument] = {}
        self._by_symbol: dict[str, Instrument] = {}
        self._store = store
        self._stream = stream
        self._fees = fees
        self._balances = balances
        self._ledger = ledger
        self._market = PublicMarket()
        self._door = asyncio.Lock()
        self._is_new = False  # and nothing is written of it yet
        self._wanted = _Wanted(channels)
        self._sink: Sink | None = None
        self._is_told = False
        self._joining: asyncio.Queue[Instrument] = asyncio.Queue()
        self._joined: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)  # trades of a symbol miss nothing
        self._subscribed: set[str] = set()
        self._early: dict[str, list[Trade]] = {}  # of instruments that are not joined yet
        self._last_ids: dict[str, int] = {}
        self._matched_ns = 0  # market time up to which trades were matched before this run

    # --- what the account is --------------------------------------------------------------------------------

    @property
    @abc.abstractmethod
    def engine(self) -> Engine[Any]:
        """The account's exchange, once the venue's instruments are known."""

    @abc.abstractmethod
    async def _open(self, instruments: Mapping[str, Instrument]) -> None:
        """Open the account at an exchange that lists these."""

    @abc.abstractmethod
    async def _restore(self) -> None:
        """Give the account its past back, with the books as they are now; want what it hangs on."""

    def _hear_more(self, event: StreamEvent) -> None:  # noqa: B027 -- what is owned hangs on no more than trades
        """Hear what is neither a trade nor a quote."""

    async def _catch_up_more(self, instrument: Instrument) -> None:  # noqa: B027 -- likewise
        """Fetch what else was missed of an instrument, before its trades are matched."""

    def _before_trade(self, trade: Trade) -> None:  # noqa: B027 -- likewise
        """Let happen what comes before a public trade."""

    # --- the Store port ---------------------------------------------------------------------------------

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return the venue's instruments; the account is opened with the first answer."""
        instruments = await self._store.instruments(symbols=symbols)
        async with self._door:  # who asks meanwhile finds the account open
            if not self._by_symbol:
                every = instruments if symbols is None else await self._store.instruments()
                await self._open(every)
                self._by_venue = {each.venue_symbol: each for each in every.values()}
                self._by_symbol = dict(every)
        return instruments

    async def server_time_ns(self) -> int:
        """Return the venue's clock."""
        return await self._store.server_time_ns()

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates the paper account trades at: those it was given, as the venue tells no account's own."""
        return {each.symbol: self._fees(each) for each in instruments}

    async def key_rights(self) -> KeyRights:
        """Return what the paper account may do: trade, and nothing that could leave it."""
        return KeyRights(may_read=True, may_trade=True, may_withdraw=False)

    # --- the Stream port --------------------------------------------------------------------------------

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be the venue's own connection for market data; for the account, one to what its orders meet."""
        if _ACCOUNT in wanted.now:
            await self._run_account(sink)
        else:
            await self._stream.run(wanted=wanted, sink=sink)

    async def _run_account(self, sink: Sink) -> None:
        self._sink, self._is_told = sink, False
        self._joining = asyncio.Queue()
        parts = {asyncio.ensure_future(part) for part in self._parts()}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
            raise TransportError("paper: the public stream ended")
        finally:
            self._sink = None
            self._joined.clear()
            self._subscribed.clear()
            self._early.clear()
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def _parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what goes on beside each other while the account is connected."""
        return self._listen(), self._join_all()

    async def _listen(self) -> None:
        await self._restore()
        if not self._wanted.now:  # nothing is ordered yet: there is nothing to hear
            self._tell_up()
            await self._wanted.changed(frozenset())
        await self._stream.run(wanted=self._wanted, sink=self._hear)

    def _write_opening(self) -> None:
        """Write a new account's first line: here, where no other process can trade on the account any more."""
        if self._is_new:
            self._is_new = False
            self._ledger.write(opening_line(Opening(balances=self._balances, time_ns=self.clock.market_ns())))

    async def _return_to(self, venue_symbols: Collection[str]) -> None:
        """See the instruments that a restored account hangs on.

        Raises:
            ConfigError: the venue lists one of them no more.
        """
        if gone := sorted(set(venue_symbols) - self._by_venue.keys()):
            raise ConfigError(f"paper: there are orders in {', '.join(gone)}, which the venue lists no more")
        for venue_symbol in venue_symbols:
            await self._see(self._by_venue[venue_symbol])

    async def _see(self, instrument: Instrument) -> None:
        """Fetch the book as it is now."""
        self._market.see(instrument)
        self._market.on_book(instrument.venue_symbol, await self.feed.book(instrument=instrument, depth=_DEPTH))

    def _tell_up(self) -> None:
        if not self._is_told and self._sink is not None:
            self._is_told = True
            self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=frozenset({_ACCOUNT})))

    def _hear(self, event: StreamEvent) -> None:
        match event:
            case Trade():
                if self._joined[event.symbol].is_set():
                    self._on_trade(event)
                else:
                    self._early.setdefault(event.symbol, []).append(event)
            case Quote():
                self._market.on_quote(self._by_symbol[event.symbol].venue_symbol, event)
            case StreamStatus(state=StreamState.SUBSCRIBED):
                for each in event.subscriptions:
                    instrument = each.instrument
                    if instrument is not None and instrument.symbol not in self._subscribed:
                        self._subscribed.add(instrument.symbol)
                        self._joining.put_nowait(instrument)
            case StreamStatus():
                if self._sink is not None:
                    self._sink(event)
            case _:
                self._hear_more(event)

    async def _join_all(self) -> None:
        """Match what traded while an instrument was not heard, one after the other."""
        while True:
            instrument = await self._joining.get()
            await self._see(instrument)
            await self._catch_up_more(instrument)
            await self._catch_up(instrument)
            for trade in self._early.pop(instrument.symbol, ()):
                self._on_trade(trade)
            self._joined[instrument.symbol].set()
            if self._joining.empty():
                self._tell_up()

    async def _catch_up(self, instrument: Instrument) -> None:
        last_id = self._last_ids.get(instrument.symbol)
        if last_id is None and not self.engine.has_orders(instrument.venue_symbol):
            latest = await self.feed.last_price(symbol=instrument.symbol)
            if latest is not None:
                self._on_trade(latest)
            return
        where: dict[str, int] = {"start_ns": self._matched_ns} if last_id is None else {"start_id": last_id + 1}
        missed = 0
        while page := await self.feed.trades(instrument=instrument, **where):
            for trade in page:
                self._on_trade(trade)
            missed += len(page)
            newest = page[-1]
            if missed >= _MISSED_MOST:
                self._last_ids.pop(instrument.symbol, None)  # the live ones go on from wherever they are
                self._tell_fault(
                    f"paper: more than {_MISSED_MOST} trades of {instrument.symbol} were missed: "
                    f"orders there met those up to {iso(newest.time_ns)}, and then the live ones"
                )
                return
            if isinstance(newest.trade_id, int):
                where = {"start_id": newest.trade_id + 1}
            elif len(page) > 1 and newest.time_ns > page[0].time_ns:
                where = {"start_ns": newest.time_ns + 1}
            else:
                return

    def _tell_fault(self, detail: str) -> None:
        if self._sink is not None:
            self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    def _on_trade(self, trade: Trade) -> None:
        if isinstance(trade.trade_id, int):
            if trade.trade_id <= self._last_ids.get(trade.symbol, -1):
                return
            self._last_ids[trade.symbol] = trade.trade_id
        venue_symbol = self._by_symbol[trade.symbol].venue_symbol
        self._before_trade(trade)
        self._market.on_trade(venue_symbol, trade)
        if self.engine.has_orders(venue_symbol):
            self.engine.on_trade(
                venue_symbol=venue_symbol, price=trade.price, quantity=trade.quantity, now_ns=trade.time_ns
            )

    # --- the account ------------------------------------------------------------------------------------

    async def ready(self, instrument: Instrument) -> None:
        """Make sure an order of this instrument meets its market: hear its trades, and fetch its book.

        Raises:
            TransportError: it is not heard; nothing was placed.
        """
        if self._sink is None:
            raise TransportError("paper: the public stream is down, so an order would meet nothing")
        self._market.see(instrument)  # first: quotes may come before its book
        await self._wanted.add(instrument)
        try:
            async with asyncio.timeout(_HEARD_S):
                await self._joined[instrument.symbol].wait()
        except TimeoutError:
            raise TransportError(f"paper: trades of {instrument.symbol} are not heard yet") from None
        await self._see(instrument)
