"""Pushes: market data through cryptofeed's parsers on a socket of ours, the account through ccxt.pro.

Source: https://developers.binance.com/docs/binance-spot-api-docs: web-socket-streams
(2023-12-04), user-data-stream, web-socket-api.
"""

import asyncio
import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from cryptofeed.exchanges import Binance
from websockets import ConnectionClosed

from btx.bridges.cryptofeed import Parser, Send, SocketOptions, bar, quote, run_socket, trade
from btx.errors import DataError, NotSupportedError, SubscriptionRefusedError, TransportError
from btx.model.market import Bar, Quote, Trade
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx_binance import codec
from btx_binance.config import book_stream, options, require_keys, stream_url
from btx_binance.limits import MESSAGE_PAUSE_S, STREAMS_PER_CONNECTION
from btx_binance.rest import Api, api, tell_socket_usage

__all__ = ("BinanceStream", "stream_names")

_BATCH = 200  # streams in the address, or in one SUBSCRIBE: keeps the address below 8 kB
_ANSWER_S = 5.0  # for a SUBSCRIBE or UNSUBSCRIBE to be answered
_SUFFIXES = {Channel.TRADE: "aggTrade", Channel.QUOTE: "bookTicker"}
_BOOK = "depth@100ms"


class BinanceStream:
    """Binance spot's market streams, and its user data stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled.

        Raises:
            TransportError: the connection is lost; the runtime dials again.
            SubscriptionRefusedError: so it does, and seeks out what is refused if that goes on.
            AuthenticationError: dialling again would not help.
            NotSupportedError: account and market together, or more streams than a connection may carry.
            MissingSecretError: an account stream without a key.
        """
        channels = {each.channel for each in wanted.now}
        if channels == {Channel.ACCOUNT}:
            await self._run_account(wanted.now, sink)
        await self._run_market(wanted, sink)

    async def _run_account(self, subscriptions: frozenset[Subscription], sink: Sink) -> None:
        require_keys(self._context)
        account = _AccountFrames(self._api, sink, self._context.observe, subscriptions)
        await self._api.client.listen(
            subscribe=lambda exchange: exchange.authenticate({"type": "spot"}),
            on_frame=account.frame,
            on_fault=lambda detail: sink(StreamStatus(state=StreamState.FAULT, detail=detail)),
        )

    async def _run_market(self, wanted: Wanted, sink: Sink) -> None:
        first = wanted.now
        book = book_stream(self._context)
        names = stream_names(first, book=book)[:_BATCH]
        frames = _MarketFrames(first, names, wanted, sink, pause_s=MESSAGE_PAUSE_S, book=book)
        url = f"{stream_url(self._context)}/stream?streams={'/'.join(names)}"
        mine = options(self._context)
        pinged = SocketOptions(ping_interval_s=mine.ping_interval_s, ping_timeout_s=mine.ping_timeout_s)
        reading = asyncio.ensure_future(
            run_socket(
                url=url,
                handler=frames,
                options=pinged,
                tap=self._context.tap,
                proxy=self._context.settings.proxy,
            )
        )
        following = asyncio.ensure_future(frames.follow())
        both = (reading, following)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            outcomes = await asyncio.gather(*both, return_exceptions=True)
        for error in outcomes:  # of the two the one that ended it; the other was cancelled
            if isinstance(error, Exception):
                raise error


def stream_names(subscriptions: Collection[Subscription], *, book: str = _BOOK) -> tuple[str, ...]:
    """Return Binance's stream names, each once, sorted; ``book`` is what the depth stream is called.

    Raises:
        NotSupportedError: more than one connection may carry, or one that is no market stream.
    """
    names = tuple(sorted({_stream_name(each, book) for each in subscriptions}))
    if len(names) > STREAMS_PER_CONNECTION:
        raise NotSupportedError(f"{len(names)} streams on one connection: Binance allows {STREAMS_PER_CONNECTION}")
    return names


def _stream_name(subscription: Subscription, book: str) -> str:
    if subscription.channel is Channel.ACCOUNT:
        raise NotSupportedError("account and market streams of Binance are separate connections")
    if subscription.instrument is None:
        raise NotSupportedError(f"a {subscription.channel.value} stream is of an instrument")
    suffix = {**_SUFFIXES, Channel.BOOK: book}.get(subscription.channel, f"kline_{subscription.interval}")
    return f"{subscription.instrument.venue_symbol.lower()}@{suffix}"


class _Reader(Parser, Binance):  # type: ignore[misc] # cryptofeed is untyped
    """cryptofeed's Binance, for one frame at a time, with exact times from the raw message."""

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
            quote_volume=Decimal(kline["q"]),
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
        first: frozenset[Subscription],
        names: Collection[str],
        wanted: Wanted,
        sink: Sink,
        *,
        pause_s: float,
        book: str,
    ) -> None:
        self._reader = _Reader(symbols=_symbols(first))
        self._wanted = wanted
        self._sink = sink
        self._pause_s = pause_s
        self._book = book
        self._first = first
        self._names = set(names)  # that are subscribed
        self._told: frozenset[Subscription] | None = None
        self._ids = itertools.count(1)
        self._opened: asyncio.Future[Send] = asyncio.get_running_loop().create_future()
        self._answers: dict[int, asyncio.Future[None]] = {}

    async def opened(self, send: Send) -> None:
        if self._names == set(stream_names(self._first, book=self._book)):
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
                names = set(stream_names(subscriptions, book=self._book))
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
                    await asyncio.gather(answer, asyncio.sleep(self._pause_s))
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


class _AccountFrames:
    """Reads the user data stream; every event on its own, before ccxt could fold two into one."""

    def __init__(
        self,
        shared: Api,
        sink: Sink,
        observe: Callable[[str, int], None],
        subscriptions: frozenset[Subscription],
    ) -> None:
        self._api = shared
        self._subscriptions = subscriptions
        self._sink = sink
        self._observe = observe

    def frame(self, message: Any) -> bool:
        """Return True for an event, which ccxt must not see, False for an answer, which it waits for."""
        event = message.get("event")
        if event is None:
            tell_socket_usage(self._observe, message)
            result = message.get("result")
            if message.get("status") == 200 and isinstance(result, dict) and "subscriptionId" in result:
                self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))
            return False
        self._event(event)
        return True

    def _event(self, event: Mapping[str, Any]) -> None:
        match event["e"]:
            case "executionReport":
                for each in codec.execution_report(event, symbol=self._api.symbol(event["s"])):
                    self._sink(each)
            case "outboundAccountPosition":
                self._sink(codec.balance_update(event))
            case "balanceUpdate" | "listStatus":
                # A difference, whose totals come with outboundAccountPosition; a list, whose orders report. A list's
                # REJECT answers a failed placement and a failed cancel alike (enums), so no order ends by it.
                pass
            case "externalLockUpdate":
                self._sink(StreamStatus(state=StreamState.LOST, detail=f"{event.get('a')}: locked from outside"))
            case "eventStreamTerminated" | "serverShutdown":
                raise TransportError(f"Binance ended the user data stream ({event['e']})")
            case kind:
                raise DataError(f"an account event of kind {kind!r} is not known")
