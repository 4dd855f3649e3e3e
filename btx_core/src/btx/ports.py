"""The ports: what the core needs of a venue, as Protocols of a few async methods.

Duties of every implementation: raise :mod:`btx.errors` and never return None for
"failed"; never retry, never sleep, never log a secret.  Retry, throttling,
reconnection, backfill and deduplication are the core's, so every adapter gets
them.  All methods are called on the btx-io loop.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import attrs

from btx.config import Settings
from btx.model.account import AccountSnapshot, AccountUpdate, Booking, KeyRights, MarginCall
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.fees import FeeSchedule
from btx.model.frames import Frame
from btx.model.history import Damage, Span, Stock
from btx.model.instrument import Instrument
from btx.model.journal import Record
from btx.model.market import Bar, BarColumns, BookDelta, BookSnapshot, Quote, Trade
from btx.model.order import Fill, Leg, Order, OrderList, OrderReport, Receipt, WireRef
from btx.model.time import Interval
from btx.model.venue import Channel, Endpoints, Environment, StreamStatus, Subscription

__all__ = (
    "BarCache",
    "Broker",
    "Clock",
    "Context",
    "Feed",
    "Journal",
    "JournalReader",
    "MarginFeed",
    "MarginStore",
    "Matcher",
    "PreparingBroker",
    "Recording",
    "Sink",
    "Store",
    "Stream",
    "StreamEvent",
    "Tap",
    "Wanted",
)

StreamEvent = (
    Bar
    | Trade
    | Quote
    | BookSnapshot
    | BookDelta
    | MarkPrice
    | OrderReport
    | Fill
    | AccountUpdate
    | MarginCall
    | StreamStatus
)
Sink = Callable[[StreamEvent], None]


class Clock(Protocol):
    """Two times: ``wire`` for the protocol, ``market`` for data and orders; live they are equal."""

    def wire_ns(self) -> int:
        """Return wall time, corrected by the measured offset to the venue's clock."""

    def market_ns(self) -> int:
        """Return the time bars and orders are stamped with."""


class Tap(Protocol):
    """Hears every frame a bridge sends or receives, as it was; never raises, never waits."""

    def number(self) -> int:
        """Return a number for a new connection or request, unlike any before."""

    def __call__(self, frame: Frame) -> None:
        """Take a frame: one that was sent, after that; one that was received, before it is read."""


@attrs.frozen(kw_only=True)
class Context:
    """What a venue hook is given: settings, environment, where to connect, and a place for resources.

    ``resources`` lives as long as the session: enter the one SDK session all
    ports of a venue share there.  ``shared`` lets those ports find each other.
    ``observe(limit, units)`` is told what the venue itself counts of a rate
    limit (a name of ``VenueInfo.limits``), whenever an answer says so.
    ``tap`` is handed on to the bridges, which tell it every frame, and so is
    ``settings.proxy``: who dials by himself asks :func:`btx.config.proxy_for`.
    ``traded`` says what the strategy has datas of, as far as it is known: some
    venues tell of an instrument that is not held only when it is named.
    ``dead_man_s`` is what the user gave a dead man's switch, for a stream that
    has to say so when it connects; None: there is none.
    """

    settings: Settings
    environment: Environment
    market: str
    endpoints: Endpoints | None  # the simulator's; None: the venue's own addresses
    clock: Clock
    resources: AsyncExitStack
    shared: dict[str, Any] = attrs.field(factory=dict)
    observe: Callable[[str, int], None] = lambda _limit, _units: None
    tap: Tap | None = None
    traded: Callable[[], Collection[Instrument]] = tuple
    dead_man_s: float | None = None


class Store(Protocol):
    """The venue's facts: instruments, the account, the time."""

    async def instruments(self, *, symbols: Collection[str] | None = None) -> Mapping[str, Instrument]:
        """Return instruments by symbol; all of them when ``symbols`` is None.

        Raises:
            TransportError: the venue was not reached.
        """

    async def account(self) -> AccountSnapshot:
        """Return balances now.

        Raises:
            AuthenticationError: the key is not accepted.
        """

    async def server_time_ns(self) -> int:
        """Return the venue's wire clock."""

    async def fees(self, *, instruments: Collection[Instrument]) -> Mapping[str, FeeSchedule]:
        """Return the rates of the account's own by symbol; what the venue does not tell is left out.

        Raises:
            AuthenticationError: the key is not accepted.
        """

    async def key_rights(self) -> KeyRights:
        """Return what the key may do.

        Raises:
            AuthenticationError: the key is not accepted.
        """


class MarginStore(Store, Protocol):
    """The store of a market whose positions are on margin; see ``Capabilities.margined``."""

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return what the venue asks of positions by symbol, lowest tier first."""

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Set an instrument's leverage; it is so already: nothing happens.

        Raises:
            OrderRejectedError: the venue refuses, by its tiers or for want of margin.
        """

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        """Set how an instrument's position is margined; it is so already: nothing happens.

        Raises:
            OrderRejectedError: the venue refuses: there is a position, or an open order.
        """

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Set whether instruments have one position or two; it is so already: nothing happens.

        Raises:
            OrderRejectedError: the venue refuses: there is a position, or an open order.
        """

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        """Return every movement of money from ``start_ns`` on (market time), oldest first."""


class Broker(Protocol):
    """Orders out. States come back through the Stream, never from here."""

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over.

        Raises:
            OrderRejectedError: refused with certainty.
            RateLimitedError: refused with certainty, for now.
            OutcomeUnknownError: it may rest at the venue; settle it by ``query``.
            TransportError: it certainly never left.
        """

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Hand an order list over; called for kinds in ``Capabilities.order_lists`` only.

        Raises: as :meth:`place`; a refusal means that none of its legs was taken.
        """

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Cancel ``leg`` and place ``new`` in its stead, in one request; where ``Capabilities.replace`` says so.

        Nothing may happen if ``leg`` has filled in part or ended meanwhile.

        Raises:
            OrderRejectedError: ``new`` was certainly not placed; ask what became of ``leg``.
            OutcomeUnknownError: either may be so; both are settled by ``query``.
            TransportError: it certainly never left.
        """

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Give the resting LIMIT order ``leg`` the price and the whole quantity of ``new``; see ``Capabilities.amend``.

        The venue keeps the order and its ids, which ``new`` has too.

        Raises:
            OrderRejectedError: it was certainly not amended; ask what became of it: a venue may have ended it.
            OrderNotFoundError: likewise, as it is not open (any more).
            OutcomeUnknownError: it may be so; settle it by ``query``, which states price and quantity.
            TransportError: it certainly never left.
        """

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask the venue to cancel every open order of an instrument, whoever placed it; see ``Capabilities``.

        Raises: as :meth:`cancel`; OrderNotFoundError when there was none.
        """

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        """Have the venue cancel what rests ``after_s`` after it last heard of us, in its own time.

        Where it counts down (see ``Capabilities.dead_man``) each call begins an instrument's countdown anew, and
        None ends it.  Where the loss of the account's stream counts, one call is for all that the account has
        in this market, and None is never said: a Stream that ends because it is asked to lets go of the switch itself,
        if ``Context.dead_man_s`` says that there is one.

        Raises:
            OutcomeUnknownError: it may be so; saying it again is harmless.
            TransportError: it certainly never left.
        """

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask the venue to cancel; of an order list one leg takes the others with it.

        Raises:
            OrderNotFoundError: it is not open (any more).
            OutcomeUnknownError: no answer came.
        """

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what the venue knows about one order: its state and its fills.

        Raises:
            OrderNotFoundError: the venue knows no such order.
        """

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments, whoever placed them, described as far as known."""

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill of the account in an instrument from ``start_ns`` on (market time), oldest first."""


class PreparingBroker(Broker, Protocol):
    """The broker of a venue whose orders have a name on the wire beside their ids; see ``Capabilities.prepares``."""

    async def prepare(self, *, leg: Leg) -> WireRef:
        """Give an order the name it will have on the wire, and send nothing.

        It is on disk when :meth:`place` gets the leg with it, and every later call does.

        Raises:
            TransportError: there is no connection to name it on.
        """


class Matcher(Protocol):
    """A venue inside this process, without a wire: it answers at once, and its time stands until it is moved.

    For one thread. A backtest trades on it where it should fill as the venue's simulator does.
    """

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What is traded, by symbol."""

    @property
    def tiers(self) -> Mapping[str, tuple[LeverageTier, ...]]:
        """What is asked of positions by symbol, lowest tier first; empty where nothing is on margin."""

    @property
    def broker(self) -> Broker:
        """What takes orders; nothing in it waits."""

    def trade_with(self, symbol: str, *, leverage: int | None, margin_mode: MarginMode | None) -> None:
        """Set how positions of an instrument are margined; None leaves it. Of a market on margin alone.

        Raises:
            OrderRejectedError: the venue does not allow it.
        """

    def account(self) -> AccountSnapshot:
        """Return the account as it is."""

    def market_ns(self) -> int:
        """Return the time that it is there, in UTC nanoseconds."""

    def advance(self, until_ns: int) -> None:
        """Let the market move up to a time; a time that has passed changes nothing."""

    def take_events(self) -> tuple[OrderReport | Fill | AccountUpdate | Booking | MarkPrice, ...]:
        """Return what happened to the account since the last time, in its order, and the mark prices of its market.

        Bookings are those that no fill tells of.
        """


class Feed(Protocol):
    """History by request."""

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        An empty page means there are none; a page may be shorter than the
        range, then the caller asks again from the last close.
        """

    async def archive(
        self, *, instrument: Instrument, interval: Interval, year: int, month: int
    ) -> Sequence[Bar] | None:
        """Return a whole month of closed bars from the venue's public files, None when it has no such file.

        Called where ``Capabilities.archive`` says so, and only for months that are over.

        Raises:
            DataError: the file is not what its checksum says, or cannot be read.
            TransportError: it was not reached.
        """

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence, which is that of the pushed deltas.

        Of no more than five levels it counts as the operation ``book_top``.
        """

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of public trades from an id or a time on, oldest first; with neither, the newest.

        An empty page means there are none; after any other the caller asks again
        from the last one's id, or its time where ids are not dense numbers.
        """


class MarginFeed(Feed, Protocol):
    """History of a market whose positions are on margin; see ``Capabilities.margined``."""

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return mark price and funding as they stand now."""

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return one page of rates that were settled in ``[start_ns, end_ns)``, oldest first; empty: there are none.

        A page may be shorter than the range, then the caller asks again from
        the last one's time on.
        """


class Wanted(Protocol):
    """What one connection should carry; it may change while the connection stands."""

    @property
    def now(self) -> frozenset[Subscription]:
        """What is wanted at this moment."""

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        """Wait until what is wanted differs from ``known``, and return it."""


class Stream(Protocol):
    """Pushes."""

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be ONE connection that carries what is wanted, also when that changes.

        Connect, subscribe, tell ``StreamState.SUBSCRIBED`` with the subscriptions
        that stand, and push until cancelled; after each change tell SUBSCRIBED
        again.  What stays wanted is not touched by a change.  ACCOUNT
        subscriptions and market subscriptions are run apart, and those of the
        account do not change.  ``StreamState.CLOSING`` says that the venue will
        end the connection soon.

        Raises:
            TransportError: the connection is lost, or a subscription was refused; the runtime dials again.
            AuthenticationError: dialling again would not help.
        """


class Recording(Protocol):
    """A run that is written down: its frames, and what the live path made of them. Any thread; never raises."""

    @property
    def tap(self) -> Tap:
        """What hears the frames."""

    def data(
        self,
        *,
        symbol: str,
        interval: Interval,
        start_ns: int | None,
        counted: int | None,
        end_ns: int | None,
        live: bool,
        from_trades: bool,
        fills: bool,
    ) -> None:
        """A feed of bars was opened; made of trades perhaps, with a flat bar where there was none.

        Its history is from ``start_ns`` on, or ``counted`` bars long where only the trades say when that begins.
        """

    def market(self, *, symbol: str, channel: Channel, depth: int) -> None:
        """Quotes, trades or a book were asked for beside the bars."""

    def bar(self, bar: Bar) -> None:
        """A closed bar was delivered."""

    def left(self) -> None:
        """The strategy begins to go, or its feeds end: which bars are delivered from here on is chance. Idempotent."""

    def account(self, event: OrderReport | Fill) -> None:
        """The account stream told something of an order."""

    def broker(self, inner: Broker) -> Broker:
        """Return ``inner``, with what it is given and what it answers written down."""

    def order(self, before: Order | None, after: Order) -> None:
        """An order of ours took a step."""

    def mark(self, account: AccountSnapshot | None, *, ended: bool = False) -> None:
        """Write down what there is so far; ``ended`` for the last time."""

    def close(self) -> None:
        """Write what waits. Waits for the disk. Idempotent."""


class JournalReader(Protocol):
    """What was written down. Any thread; reading touches the disk, so not on btx-io."""

    def records(
        self, *, client_order_id: str | None = None, since: int | None = None
    ) -> Iterator[tuple[int, int, Record]]:
        """Yield ``(sequence, written_ns, record)`` in the order of writing; ``since`` is a sequence, left out itself.

        Raises:
            JournalError: the file is damaged, or the disk does not read.
        """

    def orders(self) -> dict[str, Order]:
        """Return every order that was intended, by client order id, after all that was heard of it.

        Raises:
            JournalError: as for ``records``.
        """

    def close(self) -> None:
        """Let go of the file. Idempotent."""


class Journal(JournalReader, Protocol):
    """Where orders are written down before they leave. One writer per journal; the core's, not a venue's."""

    @property
    def unwritten(self) -> int:
        """How many posted records the disk did not take so far; they are tried again, in their order."""

    async def append(self, record: Record, *, durable: bool) -> None:
        """Write a record and return when it is committed; records keep the order of the calls.

        ``durable`` outlives a loss of power, otherwise only the death of the
        process. A wait that is cancelled does not take the record back.

        Raises:
            JournalError: it is not on disk; a later record may be.
        """

    def post(self, record: Record) -> None:
        """Write a record and wait for nothing; it keeps its place among the others. Never raises."""

    def close(self) -> None:
        """Write what waits, and give the journal back. Waits for the disk. Idempotent."""


class BarCache(Protocol):
    """Closed bars of one market, kept on disk; the core's, not a venue's. Any thread; several processes may write.

    What is damaged is never used: it is set aside and becomes missing.  All of it raise ConfigError where
    a later version of btx wrote a file.
    """

    def missing(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> tuple[Span, ...]:
        """Return the pieces of ``[start_ns, end_ns)`` whose bars were not fetched so far, in order."""

    def columns(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> BarColumns:
        """Return what is there of the bars that open in ``[start_ns, end_ns)``, as floats, in bulk.

        Raises:
            DataError: a part of it is damaged; it is missing from now on.
        """

    def bars(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return what is there of the bars that open in ``[start_ns, end_ns)``, exactly as they were put.

        Raises:
            DataError: as for :meth:`columns`.
        """

    def put(
        self,
        symbol: str,
        interval: Interval,
        bars: Sequence[Bar],
        *,
        covered: Sequence[Span],
        source: str,
        remarks: Sequence[str] = (),
    ) -> None:
        """Add closed bars, and that nothing else is to be had in the ``covered`` pieces; returns when it is on disk.

        A bar that is there already is replaced.

        Raises:
            DataError: a bar is none of this series, still forms, or has a number that cannot be kept.
            OSError: it cannot be written.
        """

    def rm(self, symbol: str, interval: Interval, start_ns: int | None = None, end_ns: int | None = None) -> int:
        """Remove the bars that open in ``[start_ns, end_ns)``, all before or after where one is None; say how many.

        Raises:
            OSError: it cannot be removed.
        """

    def ls(self) -> tuple[Stock, ...]:
        """Return what is kept, month by month."""

    def verify(self) -> tuple[Damage, ...]:
        """Read everything and return what is damaged; nothing is changed."""
