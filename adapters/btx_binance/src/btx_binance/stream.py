"""Pushes: market data through cryptofeed's parsers on a socket of ours, the account through ccxt.pro.

Source: https://developers.binance.com/docs/binance-spot-api-docs: web-socket-streams
(2023-12-04), user-data-stream, web-socket-api.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from cryptofeed.exchanges import Binance

from btx.bridges.cryptofeed import Parser, Send, bar, quote, run_socket, trade
from btx.errors import DataError, NotSupportedError, TransportError
from btx.model.market import Bar, Quote, Trade
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent
from btx_binance import codec
from btx_binance.config import require_keys, stream_url
from btx_binance.limits import STREAMS_PER_CONNECTION
from btx_binance.rest import Api, api, tell_socket_usage

__all__ = ("BinanceStream", "stream_names")

_BATCH = 200  # streams in the address, or in one SUBSCRIBE: keeps the address below 8 kB
_SUFFIXES = {Channel.TRADE: "aggTrade", Channel.QUOTE: "bookTicker", Channel.BOOK: "depth@100ms"}


class BinanceStream:
    """Binance spot's market streams, and its user data stream."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def run(self, *, subscriptions: Collection[Subscription], sink: Sink) -> None:
        """Be one connection: connect, subscribe, tell SUBSCRIBED, push until cancelled.

        Raises:
            TransportError: the connection is lost; the runtime dials again.
            AuthenticationError: dialling again would not help.
            NotSupportedError: account and market together, or more streams than a connection may carry.
            MissingSecretError: an account stream without a key.
        """
        channels = {each.channel for each in subscriptions}
        if channels == {Channel.ACCOUNT}:
            await self._run_account(sink)
        if Channel.ACCOUNT in channels:
            raise NotSupportedError("account and market streams of Binance are separate connections")
        await self._run_market(subscriptions, sink)

    async def _run_account(self, sink: Sink) -> None:
        require_keys(self._context)
        account = _AccountFrames(self._api, sink, self._context.observe)
        await self._api.client.listen(
            subscribe=lambda exchange: exchange.authenticate({"type": "spot"}),
            on_frame=account.frame,
            on_fault=lambda detail: sink(StreamStatus(state=StreamState.FAULT, detail=detail)),
        )

    async def _run_market(self, subscriptions: Collection[Subscription], sink: Sink) -> None:
        names = stream_names(subscriptions)
        symbols = {
            each.instrument.venue_symbol: each.instrument.symbol
            for each in subscriptions
            if each.instrument is not None
        }
        url = f"{stream_url(self._context)}/stream?streams={'/'.join(names[:_BATCH])}"
        await run_socket(url=url, handler=_MarketFrames(symbols, names[_BATCH:], sink))


def stream_names(subscriptions: Collection[Subscription]) -> tuple[str, ...]:
    """Return Binance's stream names, each once, in the order asked for.

    Raises:
        NotSupportedError: more than one connection may carry.
    """
    names = tuple(dict.fromkeys(map(_stream_name, subscriptions)))
    if len(names) > STREAMS_PER_CONNECTION:
        raise NotSupportedError(f"{len(names)} streams on one connection: Binance allows {STREAMS_PER_CONNECTION}")
    return names


def _stream_name(subscription: Subscription) -> str:
    if subscription.instrument is None:
        raise NotSupportedError(f"a {subscription.channel.value} stream is of an instrument")
    suffix = _SUFFIXES.get(subscription.channel, f"kline_{subscription.interval}")
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
            case None if "B" in event and "A" in event:
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
            time_ns=None,  # spot stamps no time on it
        )


class _MarketFrames:
    """Reads a combined stream; the streams that do not fit into the address are subscribed after it opens."""

    def __init__(self, symbols: Mapping[str, str], rest: Sequence[str], sink: Sink) -> None:
        self._reader = _Reader(symbols=symbols)
        self._rest = rest
        self._sink = sink
        self._sent = 0
        self._send: Send | None = None

    async def opened(self, send: Send) -> None:
        self._send = send
        await self._subscribe_more()

    async def frame(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        if "stream" in message:
            event = message["data"]
            if event.get("e") == "serverShutdown":
                raise TransportError("Binance closes this connection soon, and says so")
            self._sink(await self._reader.read(event))
        elif "result" in message and message["result"] is None:
            await self._subscribe_more()
        elif "error" in message or "code" in message:
            raise TransportError(f"Binance refused a subscription: {message.get('error', message)}")
        else:
            raise DataError("neither an event nor an answer")

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))

    async def _subscribe_more(self) -> None:
        """Send the next batch once the last was accepted; one at a time stays below 5 messages a second."""
        batch = self._rest[self._sent : self._sent + _BATCH]
        if not batch:
            self._sink(StreamStatus(state=StreamState.SUBSCRIBED))
            return
        self._sent += len(batch)
        assert self._send is not None
        request = {"method": "SUBSCRIBE", "params": list(batch), "id": self._sent}
        await self._send(json.dumps(request))


class _AccountFrames:
    """Reads the user data stream; every event on its own, before ccxt could fold two into one."""

    def __init__(self, shared: Api, sink: Sink, observe: Callable[[str, int], None]) -> None:
        self._api = shared
        self._sink = sink
        self._observe = observe

    def frame(self, message: Any) -> bool:
        """Return True for an event, which ccxt must not see, False for an answer, which it waits for."""
        event = message.get("event")
        if event is None:
            tell_socket_usage(self._observe, message)
            result = message.get("result")
            if message.get("status") == 200 and isinstance(result, dict) and "subscriptionId" in result:
                self._sink(StreamStatus(state=StreamState.SUBSCRIBED))
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
