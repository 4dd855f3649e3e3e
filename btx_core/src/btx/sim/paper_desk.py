"""One run of a paper account: an account stream made of the venue's public ones, and the exchange behind it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from btx.errors import ConfigError, TransportError
from btx.model.account import AccountSnapshot, BalanceUpdate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Quote, Trade
from btx.model.time import iso
from btx.model.venue import Channel, SimAccount, StreamState, StreamStatus, Subscription
from btx.ports import Clock, Feed, Sink, Store, Stream, StreamEvent, Wanted
from btx.sim.exchange import Exchange
from btx.sim.filters import FilterSet, LotRange, NotionalRange, PercentPriceBySide, PriceRange
from btx.sim.orders import ExecutionEvent, Listing
from btx.sim.paper_ledger import Ledger, Opening, PaperBooks, event_line, opening_line, read_lines
from btx.sim.paper_market import PublicMarket
from btx.sim.paper_words import fill_of, report_of

__all__ = ("PAPER_KEY", "PaperDesk", "listing_of")

PAPER_KEY = "paper"
"""The name of the account where a venue would want a key."""

_ZERO = Decimal(0)
_DEPTH = 100  # levels of the book an order is placed against
_HEARD_S = 5.0  # until the trades of an instrument are heard that was never ordered before
_MISSED_MOST = 200_000  # trades that are fetched after a cut
_ACCOUNT = Subscription(channel=Channel.ACCOUNT)


class _Wanted:
    """What the account's connection carries: the trades and quotes of what was ever ordered."""

    def __init__(self) -> None:
        self.now: frozenset[Subscription] = frozenset()
        self._change = asyncio.Condition()

    async def add(self, instrument: Instrument) -> None:
        """Want an instrument's trades and quotes."""
        wanted = {Subscription(channel=channel, instrument=instrument) for channel in (Channel.TRADE, Channel.QUOTE)}
        async with self._change:
            self.now |= wanted
            self._change.notify_all()

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        """Wait until what is wanted differs from ``known``, and return it."""
        async with self._change:
            await self._change.wait_for(lambda: self.now != known)
            return self.now


class PaperDesk:
    """One run of a paper account: the venue's Store and Stream, with an account of ours behind them."""

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
        self._exchange: Exchange | None = None
        self._past: PaperBooks | None = None  # until it is given back to the exchange
        self._is_new = False  # and nothing is written of it yet
        self._wanted = _Wanted()
        self._sink: Sink | None = None
        self._is_told = False
        self._joining: asyncio.Queue[Instrument] = asyncio.Queue()
        self._joined: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)  # trades of a symbol miss nothing
        self._subscribed: set[str] = set()
        self._early: dict[str, list[Trade]] = {}  # of instruments that are not joined yet
        self._last_ids: dict[str, int] = {}
        self._matched_ns = 0  # market time up to which trades were matched before this run

    # --- the Store port ---------------------------------------------------------------------------------

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return the venue's instruments; the account is opened with the first answer."""
        instruments = await self._store.instruments(symbols=symbols)
        if self._exchange is None:
            self._open(instruments if symbols is None else await self._store.instruments())
        return instruments

    async def account(self) -> AccountSnapshot:
        """Return the paper account."""
        return AccountSnapshot(
            balances=self.exchange.balances(api_key=PAPER_KEY), time_ns=self.clock.market_ns(), can_trade=True
        )

    async def server_time_ns(self) -> int:
        """Return the venue's clock."""
        return await self._store.server_time_ns()

    @property
    def exchange(self) -> Exchange:
        """The account's exchange, once the venue's instruments are known."""
        assert self._exchange is not None, "instruments are asked for before the account"
        return self._exchange

    def _open(self, instruments: Mapping[str, Instrument]) -> None:
        self._past = past = read_lines(self._ledger.read())
        self._by_venue = {each.venue_symbol: each for each in instruments.values()}
        self._by_symbol = dict(instruments)
        self._exchange = Exchange(
            listings=[listing_of(each, self._fees(each)) for each in instruments.values()],
            accounts=[SimAccount(api_key=PAPER_KEY, api_secret="", balances=self._balances)],
            market=self._market,
            listener=self._on_execution,
        )
        self._is_new = past is None
        self._matched_ns = past.time_ns if past is not None else 0

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
        parts = {asyncio.ensure_future(part) for part in (self._listen(), self._join_all())}
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

    async def _listen(self) -> None:
        await self._restore()
        if not self._wanted.now:  # nothing is ordered yet: there is nothing to hear
            self._tell_up()
            await self._wanted.changed(frozenset())
        await self._stream.run(wanted=self._wanted, sink=self._hear)

    async def _restore(self) -> None:
        """Give the account its past back, its open orders behind the books as they are now."""
        if self._is_new:  # written here, where no other process can trade on the account any more
            self._is_new = False
            self._ledger.write(opening_line(Opening(balances=self._balances, time_ns=self.clock.market_ns())))
        past = self._past
        if past is None:
            return
        resting = {order.venue_symbol for order in past.orders.values() if order.is_open}
        if gone := sorted(resting - self._by_venue.keys()):
            raise ConfigError(f"paper: there are orders in {', '.join(gone)}, which the venue lists no more")
        for venue_symbol in resting:
            await self._see(self._by_venue[venue_symbol])
        self.exchange.restore(
            api_key=PAPER_KEY,
            balances=past.balances,
            orders=past.orders.values(),
            fills=past.fills,
            lists=past.lists.values(),
            sequence=past.sequence,
        )
        self._past = None
        for venue_symbol in resting:
            await self._wanted.add(self._by_venue[venue_symbol])

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
            case StreamStatus() if self._sink is not None:
                self._sink(event)

    async def _join_all(self) -> None:
        """Match what traded while an instrument was not heard, one after the other."""
        while True:
            instrument = await self._joining.get()
            await self._see(instrument)
            await self._catch_up(instrument)
            for trade in self._early.pop(instrument.symbol, ()):
                self._on_trade(trade)
            self._joined[instrument.symbol].set()
            if self._joining.empty():
                self._tell_up()

    async def _catch_up(self, instrument: Instrument) -> None:
        last_id = self._last_ids.get(instrument.symbol)
        if last_id is None and not self.exchange.has_orders(instrument.venue_symbol):
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
        self._market.on_trade(venue_symbol, trade)
        if self.exchange.has_orders(venue_symbol):
            self.exchange.on_trade(
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

    def _on_execution(self, event: ExecutionEvent) -> None:
        order = event.order
        order_list = None
        if order.list_id is not None:
            order_list = self.exchange.order_list(api_key=PAPER_KEY, list_id=order.list_id)
        self._ledger.write(event_line(event, order_list=order_list))
        if self._sink is None:
            return  # whoever placed or cancelled it asks, once the stream stands again
        symbol = self._by_venue[order.venue_symbol].symbol
        if event.fill is not None:
            self._sink(fill_of(event.fill, symbol=symbol, sequence=event.sequence))
        self._sink(report_of(order, symbol=symbol, sequence=event.sequence))
        if event.balances:
            self._sink(BalanceUpdate(balances=event.balances, time_ns=event.time_ns))


def listing_of(instrument: Instrument, fees: FeeSchedule) -> Listing:
    """Return the rules of an exchange that lists an instrument as it describes itself."""
    band = instrument.price_band
    return Listing(
        instrument=instrument,
        fees=fees,
        filters=FilterSet(
            price=PriceRange(
                min=instrument.min_price or _ZERO, max=instrument.max_price or _ZERO, tick=instrument.tick_size
            ),
            lot=LotRange(min=instrument.min_quantity, max=instrument.max_quantity or _ZERO, step=instrument.step_size),
            market_lot=LotRange(
                min=instrument.market_min_quantity or _ZERO,
                max=instrument.market_max_quantity or _ZERO,
                step=instrument.market_step_size or _ZERO,
            ),
            notional=NotionalRange(
                min=instrument.min_notional or _ZERO,
                max=instrument.max_notional or _ZERO,
                apply_min_to_market=instrument.min_notional_for_market,
            ),
            percent_price_by_side=PercentPriceBySide(
                bid_up=band.bid_up,
                bid_down=band.bid_down,
                ask_up=band.ask_up,
                ask_down=band.ask_down,
                avg_price_mins=band.minutes,
            )
            if band is not None
            else None,
            max_position=instrument.max_position,
            max_num_orders=instrument.max_orders,
            max_num_algo_orders=instrument.max_conditional_orders,
            max_num_iceberg_orders=instrument.max_iceberg_orders,
            iceberg_parts=instrument.max_iceberg_parts,
        ),
    )
