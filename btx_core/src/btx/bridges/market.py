"""Market streams over sockets of ours, for venues that are told by message what is wanted.

A venue says in a :class:`Dialect` how its streams are named, asked for and
answered, and reads its frames in a :class:`Reader`; the rest is here: what is
wanted now and what changes, batches, acknowledgements, pings, SUBSCRIBED.

    async def run(self, *, wanted, sink):
        await run_market(context=..., wanted=wanted, sink=sink, dialect=MyDialect(), reader=reading(my_events),
                         bases=(url,))
"""

import functools
import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from btx.bridges.requests import Requests
from btx.bridges.sockets import Send, SocketOptions, run_socket
from btx.bridges.split import BaseOf, Part, Together
from btx.bridges.tasks import either
from btx.errors import NotSupportedError, SubscriptionRefusedError
from btx.model.venue import StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted

__all__ = ("PING", "Answer", "Dialect", "Reader", "reading", "run_market", "stream_names")

PING = "ping"
"""The key of an answer to ``Dialect.ping``."""


@attrs.frozen
class Answer:
    """What the venue says to a request: the key of it, and why it is refused, if it is."""

    key: Hashable
    refusal: str = ""


class Dialect(Protocol):
    """How a venue's market streams are asked for."""

    @property
    def venue(self) -> str:
        """What the venue is called in errors."""

    @property
    def most(self) -> int:
        """How many streams a connection may carry."""

    @property
    def batch(self) -> int:
        """How many streams the address may hold, or one request."""

    @property
    def pause_s(self) -> float:
        """How long to wait between two requests."""

    @property
    def ping(self) -> tuple[str, float] | None:
        """The message that keeps a connection alive, and the seconds between two; None: the websocket's pings do.

        Its answer has the key PING.
        """

    def url(self, base: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:
        """Return the address of a connection for at most a batch of streams, and those that it subscribes itself."""

    def name(self, subscription: Subscription) -> str:
        """Return what a stream is called.

        Raises:
            NotSupportedError: it is no market stream.
        """

    def request(self, number: int, names: Sequence[str], *, is_wanted: bool) -> str:
        """Return the message that subscribes streams, or ends them."""

    def hear(self, message: Any) -> Answer | StreamStatus | None:
        """Return what a message says of the connection; None: it is for the reader.

        Raises:
            DataError: it is neither for the one nor for the other.
        """


class Reader(Protocol):
    """Reads the events of one connection."""

    def learn(self, symbols: Mapping[str, str]) -> None:
        """Read these symbols of the venue, too; the values are ours."""

    async def events(self, message: Any) -> Iterable[StreamEvent]:
        """Return what a message says of the market.

        Raises:
            DataError: something that nothing here subscribed.
        """


class _PlainReader:
    """Reads each frame by itself."""

    def __init__(
        self, events: Callable[[Any, Mapping[str, str]], Iterable[StreamEvent]], symbols: Mapping[str, str]
    ) -> None:
        self._events = events
        self._symbols = dict(symbols)

    def learn(self, symbols: Mapping[str, str]) -> None:
        self._symbols.update(symbols)

    async def events(self, message: Any) -> Iterable[StreamEvent]:
        return self._events(message, self._symbols)


def reading(events: Callable[[Any, Mapping[str, str]], Iterable[StreamEvent]]) -> Callable[..., Reader]:
    """Return what makes a :class:`Reader` of a function that needs no memory of earlier frames.

    ``events`` is given a message and our names of the venue's symbols.
    """
    return functools.partial(_PlainReader, events)


async def run_market(
    *,
    context: Context,
    wanted: Wanted,
    sink: Sink,
    dialect: Dialect,
    reader: Callable[..., Reader],
    bases: Collection[str],
    base_of: BaseOf | None = None,
    options: SocketOptions | None = None,
) -> None:
    """Be the sockets at ``bases`` that carry what is wanted, until cancelled or one is lost.

    ``reader`` is called for each with ``symbols=``, the venue's names and ours; where
    there are several, ``base_of`` says which carries a subscription.

    Raises:
        TransportError: one is lost.
        SubscriptionRefusedError: something is refused.
        NotSupportedError: more streams than a connection may carry, or one that is no market stream.
    """
    stream_names(wanted.now, dialect)  # what cannot be is told before a socket is opened
    place = base_of or (lambda _subscription: next(iter(bases)))
    together = Together(wanted, sink, place)

    async def run(base: str) -> None:
        part = Part(wanted, base, place)
        first = part.now or await part.changed(frozenset())
        url, names = dialect.url(base, stream_names(first, dialect)[: dialect.batch])
        frames = _MarketFrames(dialect, reader, first, names, part, together.sink_of(base))
        socket = run_socket(url=url, handler=frames, options=options, tap=context.tap, proxy=context.settings.proxy)
        await either(socket, frames.follow(), *frames.beats())

    await either(*(run(base) for base in bases))


def stream_names(subscriptions: Collection[Subscription], dialect: Dialect) -> tuple[str, ...]:
    """Return the venue's names of streams, each once, sorted.

    Raises:
        NotSupportedError: more than one connection may carry, or one that is no market stream.
    """
    names = tuple(sorted({dialect.name(each) for each in subscriptions}))
    if len(names) > dialect.most:
        raise NotSupportedError(f"{len(names)} streams on one connection: {dialect.venue} allows {dialect.most}")
    return names


class _MarketFrames:
    """Reads one connection, and keeps what it carries as it is wanted."""

    def __init__(  # noqa: PLR0917 -- for run_market
        self,
        dialect: Dialect,
        reader: Callable[..., Reader],
        first: frozenset[Subscription],
        names: Collection[str],
        wanted: Wanted,
        sink: Sink,
    ) -> None:
        self._dialect = dialect
        self._reader = reader(symbols=_symbols(first))
        self._wanted = wanted
        self._sink = sink
        self._first = first
        self._names = set(names)  # that are subscribed
        self._told: frozenset[Subscription] | None = None
        self._numbers = itertools.count(1)
        self._requests = Requests(dialect.venue, pause_s=dialect.pause_s)

    async def opened(self, send: Send) -> None:
        if self._names == set(stream_names(self._first, self._dialect)):
            self._tell(self._first)
        self._requests.opened(send)

    async def follow(self) -> None:
        """Subscribe what the address did not hold, and from then on what changes.

        Raises:
            TransportError: the venue did not answer.
            NotSupportedError: more streams than a connection may carry.
        """
        await self._requests.ready()
        subscriptions = self._first
        while True:
            if subscriptions != self._told:
                names = set(stream_names(subscriptions, self._dialect))
                self._reader.learn(_symbols(subscriptions))
                await self._ask(sorted(self._names - names), is_wanted=False)
                await self._ask(sorted(names - self._names), is_wanted=True)
                self._names = names
                self._tell(subscriptions)
            subscriptions = await self._wanted.changed(subscriptions)

    def beats(self) -> Iterable[Any]:
        """Return what keeps the connection alive, where that is ours."""
        return () if self._dialect.ping is None else (self._requests.beat(PING, *self._dialect.ping),)

    def _tell(self, subscriptions: frozenset[Subscription]) -> None:
        self._told = subscriptions
        self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=subscriptions))

    async def frame(self, frame: str | bytes) -> None:
        message, heard = self._requests.read(frame, self._dialect.hear)
        match heard:
            case None:
                for event in await self._reader.events(message):
                    self._sink(event)
            case StreamStatus() as status:
                self._sink(status)
            case Answer(key, ""):
                self._requests.answer(key)
            case Answer(_, refusal):
                raise SubscriptionRefusedError(f"{self._dialect.venue} refused a subscription: {refusal}")

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    async def _ask(self, names: Sequence[str], *, is_wanted: bool) -> None:
        """Send what is to change batch by batch, each after the last was accepted."""
        for start in range(0, len(names), self._dialect.batch):
            number = next(self._numbers)
            request = self._dialect.request(number, names[start : start + self._dialect.batch], is_wanted=is_wanted)
            await self._requests.ask(number, request, what="a SUBSCRIBE" if is_wanted else "an UNSUBSCRIBE")


def _symbols(subscriptions: Collection[Subscription]) -> dict[str, str]:
    return {
        each.instrument.venue_symbol: each.instrument.symbol for each in subscriptions if each.instrument is not None
    }
