"""The ports: what the core needs of a venue, as Protocols of a few async methods.

Duties of every implementation: raise :mod:`btx.errors` and never return None for
"failed"; never retry, never sleep, never log a secret.  Retry, throttling,
reconnection, backfill and deduplication are the core's, so every adapter gets
them.  All methods are called on the btx-io loop.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Protocol

import attrs

from btx.config import Settings
from btx.model.account import AccountSnapshot, BalanceUpdate
from btx.model.instrument import Instrument
from btx.model.journal import Record
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.order import Fill, Leg, Order, OrderList, OrderReport, Receipt
from btx.model.time import Interval
from btx.model.venue import Endpoints, Environment, StreamStatus, Subscription

__all__ = ("Broker", "Clock", "Context", "Feed", "Journal", "JournalReader", "Sink", "Store", "Stream", "StreamEvent")

StreamEvent = Bar | Trade | Quote | BookSnapshot | BookDelta | OrderReport | Fill | BalanceUpdate | StreamStatus
Sink = Callable[[StreamEvent], None]


class Clock(Protocol):
    """Two times: ``wire`` for the protocol, ``market`` for data and orders; live they are equal."""

    def wire_ns(self) -> int:
        """Return wall time, corrected by the measured offset to the venue's clock."""

    def market_ns(self) -> int:
        """Return the time bars and orders are stamped with."""


@attrs.frozen(kw_only=True)
class Context:
    """What a venue hook is given: settings, environment, where to connect, and a place for resources.

    ``resources`` lives as long as the session: enter the one SDK session all
    ports of a venue share there.  ``shared`` lets those ports find each other.
    ``observe(limit, units)`` is told what the venue itself counts of a rate
    limit (a name of ``VenueInfo.limits``), whenever an answer says so.
    """

    settings: Settings
    environment: Environment
    market: str
    endpoints: Endpoints | None  # the simulator's; None: the venue's own addresses
    clock: Clock
    resources: AsyncExitStack
    shared: dict[str, Any] = attrs.field(factory=dict)
    observe: Callable[[str, int], None] = lambda _limit, _units: None


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

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask the venue to cancel every open order of an instrument, whoever placed it; see ``Capabilities``.

        Raises: as :meth:`cancel`; OrderNotFoundError when there was none.
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


class Feed(Protocol):
    """History by request."""

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        An empty page means there are none; a page may be shorter than the
        range, then the caller asks again from the last close.
        """

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence."""

    def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> AsyncIterator[Trade]:
        """Yield public trades from an id or a time on, oldest first, to the newest there is."""


class Stream(Protocol):
    """Pushes."""

    async def run(self, *, subscriptions: Collection[Subscription], sink: Sink) -> None:
        """Be ONE connection: connect, subscribe, tell ``StreamState.SUBSCRIBED``, push until cancelled.

        ACCOUNT subscriptions and market subscriptions are run apart.

        Raises:
            TransportError: the connection is lost; the runtime dials again.
            AuthenticationError: dialling again would not help.
        """


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
