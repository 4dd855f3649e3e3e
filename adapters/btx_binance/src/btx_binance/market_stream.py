"""Market data: cryptofeed's parsers on sockets of ours, for any of Binance's markets.

Sources: https://developers.binance.com/docs/binance-spot-api-docs, web-socket-streams (2023-12-04),
and https://developers.binance.com/docs/derivatives, "Websocket Market Streams" (2026-05-28).
What one connection of the port carries may need several sockets: USD-M has its
streams at two addresses, and is silent about those that are subscribed at the other.
"""

import asyncio
import itertools
import json
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
from websockets import ConnectionClosed

from btx.bridges.cryptofeed import Parser, Send, SocketOptions, bar, quote, run_socket, trade
from btx.errors import DataError, NotSupportedError, SubscriptionRefusedError, TransportError
from btx.model.market import Bar, Quote, Trade
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx_binance import codec
from btx_binance.config import options
from btx_binance.limits import MESSAGE_PAUSE_S, STREAMS_PER_CONNECTION

__all__ = ("Reading", "either", "run_market", "stream_name", "stream_names")

NameOf = Callable[[Subscription], str]
BaseOf = Callable[[Subscription], str]

_BATCH = 200  # streams in the address, or in one SUBSCRIBE: keeps the address below 8 kB
_ANSWER_S = 5.0  # for a SUBSCRIBE or UNSUBSCRIBE to be answered
_SUFFIXES = {Channel.TRADE: "aggTrade", Channel.QUOTE: "bookTicker", Channel.MARK: "markPrice@1s"}


async def run_market(
    *,
    context: Context,
    wanted: Wanted,
    sink: Sink,
    reader: type["Reading"],
    bases: Collection[str],
    base_of: BaseOf,
    name_of: NameOf,
) -> None:
    """Be the sockets at ``bases`` that carry what is wanted, until cancelled or one is lost.

    Raises:
        TransportError: one is lost.
        SubscriptionRefusedError: something is refused.
        NotSupportedError: more streams than a connection may carry, or one that is no market stream.
    """
    stream_names(wanted.now, name_of=name_of)  # what cannot be is told before a socket is opened
    together = _Together(wanted, sink, base_of)
    mine = options(context)
    pinged = SocketOptions(ping_interval_s=mine.ping_interval_s, ping_timeout_s=mine.ping_timeout_s)

    async def run(base: str) -> None:
        part = _Part(wanted, base, base_of)
        first = part.now or await part.changed(frozenset())
        names = stream_names(first, name_of=name_of)[:_BATCH]
        frames = _MarketFrames(reader, first, names, part, together.sink_of(base), name_of=name_of)
        await either(
            run_socket(
                url=f"{base}/stream?streams={'/'.join(names)}",
                handler=frames,
                options=pinged,
                tap=context.tap,
                proxy=context.settings.proxy,
            ),
            frames.follow(),
        )

    await either(*(run(base) for base in bases))


async def either(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, and raise what it raised; the others are cancelled, and over."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in tasks:
            each.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for error in outcomes:
        if isinstance(error, Exception):
            raise error


class _Part:
    """What is wanted at one address."""

    def __init__(self, wanted: Wanted, base: str, base_of: BaseOf) -> None:
        self._wanted = wanted
        self._base = base
        self._base_of = base_of

    @property
    def now(self) -> frozenset[Subscription]:
        return self._of(self._wanted.now)

    async def changed(self, known: frozenset[Subscription]) -> frozenset[Subscription]:
        whole = self._wanted.now
        while self._of(whole) == known:
            whole = await self._wanted.changed(whole)
        return self._of(whole)

    def _of(self, whole: frozenset[Subscription]) -> frozenset[Subscription]:
        return frozenset(each for each in whole if self._base_of(each) == self._base)


class _Together:
    """Tells SUBSCRIBED of several sockets as of one: when each that is needed stands, and what stands on all."""

    def __init__(self, wanted: Wanted, sink: Sink, base_of: BaseOf) -> None:
        self._wanted = wanted
        self._sink = sink
        self._base_of = base_of
        self._standing: dict[str, frozenset[Subscription]] = {}

    def sink_of(self, base: str) -> Sink:
        def tell(event: StreamEvent) -> None:
            if not isinstance(event, StreamStatus) or event.state is not StreamState.SUBSCRIBED:
                self._sink(event)
                return
            self._standing[base] = event.subscriptions
            if {self._base_of(each) for each in self._wanted.now} <= self._standing.keys():
                self._sink(attrs.evolve(event, subscriptions=frozenset().union(*self._standing.values())))

        return tell


def stream_names(subscriptions: Collection[Subscription], *, name_of: NameOf) -> tuple[str, ...]:
    """Return Binance's stream names, each once, sorted.

    Raises:
        NotSupportedError: more than one connection may carry, or one that is no market stream.
    """
    names = tuple(sorted({name_of(each) for each in subscriptions}))
    if len(names) > STREAMS_PER_CONNECTION:
        raise NotSupportedError(f"{len(names)} streams on one connection: Binance allows {STREAMS_PER_CONNECTION}")
    return names


def stream_name(subscription: Subscription, book: str) -> str:
    """Return what a stream is called; ``book`` is what a depth stream is, after the symbol.

    Raises:
        NotSupportedError: it is no market stream.
    """
    if subscription.channel is Channel.ACCOUNT:
        raise NotSupportedError("account and market streams of Binance are separate connections")
    if subscription.instrument is None:
        raise NotSupportedError(f"a {subscription.channel.value} stream is of an instrument")
    suffix = {**_SUFFIXES, Channel.BOOK: book}.get(subscription.channel, f"kline_{subscription.interval}")
    return f"{subscription.instrument.venue_symbol.lower()}@{suffix}"


class Reading(Parser):
    """Mixed in before a cryptofeed exchange class: one frame at a time, with exact times from the raw message."""

    counts_quotes = True  # whether a bar's second volume is in quote units

    async def read(self, event: Mapping[str, Any]) -> StreamEvent:
        """Return the model's value of one market event.

        Raises:
            DataError: an event that nothing here subscribed.
        """
        match event.get("e"):
            case "aggTrade":
                return await self._read_trade(event, int(event["a"]))
            case "trade":  # cryptofeed knows aggTrade only; their one difference is the name of the id
                return await self._read_trade({**event, "a": event["t"]}, int(event["t"]))
            case "kline":
                return await self._read_bar(event)
            case "depthUpdate":
                return codec.book_delta(event, symbol=self.exchange_symbol_to_std_symbol(event["s"]))
            case "markPriceUpdate":
                return codec.mark_price_update(event, symbol=self.exchange_symbol_to_std_symbol(event["s"]))
            case None | "bookTicker" if "B" in event and "A" in event:
                return await self._read_quote(event)
            case kind:
                raise DataError(f"an event of kind {kind!r} was not asked for")

    async def _read_trade(self, event: Mapping[str, Any], trade_id: int) -> Trade:
        parsed = await self.parse(self._trade, event)
        return trade(parsed, trade_id=trade_id, time_ns=from_ms(int(event["T"])))

    async def _read_bar(self, event: Mapping[str, Any]) -> Bar:
        kline = event["k"]
        return bar(
            await self.parse(self._candle, event),
            open_ns=from_ms(int(kline["t"])),
            close_ns=from_ms(int(kline["T"]) + 1),
            quote_volume=Decimal(kline["q"]) if self.counts_quotes else None,
        )

    async def _read_quote(self, event: Mapping[str, Any]) -> Quote:
        return quote(
            await self.parse(self._ticker, event),
            bid_quantity=Decimal(event["B"]),
            ask_quantity=Decimal(event["A"]),
            sequence=int(event["u"]),
            time_ns=from_ms(int(event["T"])) if "T" in event else None,  # spot stamps no time on it
        )


class _MarketFrames:
    """Reads a combined stream, and keeps what it carries as it is wanted."""

    def __init__(
        self,
        reader: type[Reading],
        first: frozenset[Subscription],
        names: Collection[str],
        wanted: Wanted,
        sink: Sink,
        *,
        name_of: NameOf,
    ) -> None:
        self._reader = reader(symbols=_symbols(first))
        self._wanted = wanted
        self._sink = sink
        self._name_of = name_of
        self._first = first
        self._names = set(names)  # that are subscribed
        self._told: frozenset[Subscription] | None = None
        self._ids = itertools.count(1)
        self._opened: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[None]] = {}

    async def opened(self, send: Send) -> None:
        if self._names == set(stream_names(self._first, name_of=self._name_of)):
            self._tell(self._first)
        self._opened.set_result(send)

    async def follow(self) -> None:
        """Subscribe what the address did not hold, and from then on what changes.

        Raises:
            TransportError: the venue refused, or did not answer.
            NotSupportedError: more streams than a connection may carry.
        """
        send = await self._opened
        subscriptions = self._first
        while True:
            if subscriptions != self._told:
                names = set(stream_names(subscriptions, name_of=self._name_of))
                self._reader.learn(_symbols(subscriptions))
                await self._ask(send, "UNSUBSCRIBE", sorted(self._names - names))
                await self._ask(send, "SUBSCRIBE", sorted(names - self._names))
                self._names = names
                self._tell(subscriptions)
            subscriptions = await self._wanted.changed(subscriptions)

    def _tell(self, subscriptions: frozenset[Subscription]) -> None:
        self._told = subscriptions
        self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=subscriptions))

    async def frame(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        if "stream" in message:
            await self._event(message["data"])
        elif message.get("e") == "serverShutdown":
            self._closing()
        elif "error" in message or "code" in message:
            raise SubscriptionRefusedError(f"Binance refused a subscription: {message.get('error', message)}")
        elif "result" in message and message["result"] is None:
            answer = self._answers.get(message.get("id"))
            if answer is not None and not answer.done():
                answer.set_result(None)
        else:
            raise DataError("neither an event nor an answer")

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    async def _event(self, event: Mapping[str, Any]) -> None:
        if event.get("e") == "serverShutdown":
            self._closing()
        else:
            self._sink(await self._reader.read(event))

    def _closing(self) -> None:
        """Web-socket-streams, "General WSS information", 2026: sent before the server goes, so that one dials anew."""
        self._sink(StreamStatus(state=StreamState.CLOSING, detail="Binance closes this connection soon"))

    async def _ask(self, send: Send, method: str, names: Sequence[str]) -> None:
        """Send what is to change batch by batch, each after the last was accepted."""
        for start in range(0, len(names), _BATCH):
            number = next(self._ids)
            answer = self._answers[number] = asyncio.get_running_loop().create_future()
            request = {"method": method, "params": names[start : start + _BATCH], "id": number}
            try:
                await send(json.dumps(request))
                async with asyncio.timeout(_ANSWER_S):
                    # Both: at most five messages a second may leave, however fast the answers are.
                    await asyncio.gather(answer, asyncio.sleep(MESSAGE_PAUSE_S))
            except TimeoutError:
                raise TransportError(f"Binance did not answer a {method} within {_ANSWER_S:.0f} s") from None
            except ConnectionClosed as error:
                raise TransportError(f"Binance was not told what is wanted: {error}") from None
            finally:
                del self._answers[number]


def _symbols(subscriptions: Collection[Subscription]) -> dict[str, str]:
    return {
        each.instrument.venue_symbol: each.instrument.symbol for each in subscriptions if each.instrument is not None
    }
