"""Market data: how Binance's streams are named and asked for, and cryptofeed's parsers for what they carry.

Sources: https://developers.binance.com/docs/binance-spot-api-docs, web-socket-streams (2023-12-04),
and https://developers.binance.com/docs/derivatives, "Websocket Market Streams" (2026-05-28).
What one connection of the port carries may need several sockets: USD-M has its
streams at two addresses, and is silent about those that are subscribed at the other.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.bridges.cryptofeed import Parser, bar, quote, trade
from btx.bridges.market import Answer
from btx.bridges.sockets import SocketOptions
from btx.errors import DataError, NotSupportedError
from btx.model.market import Bar, Quote, Trade
from btx.model.time import from_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, StreamEvent
from btx_binance import codec
from btx_binance.config import options
from btx_binance.limits import MESSAGE_PAUSE_S, STREAMS_PER_CONNECTION

__all__ = ("BinanceDialect", "Reading", "socket_options")

_SUFFIXES = {Channel.TRADE: "aggTrade", Channel.QUOTE: "bookTicker", Channel.MARK: "markPrice@1s"}
_METHODS = {True: "SUBSCRIBE", False: "UNSUBSCRIBE"}


def socket_options(context: Context) -> SocketOptions:
    """Return how sockets of Binance are pinged."""
    mine = options(context)
    return SocketOptions(ping_interval_s=mine.ping_interval_s, ping_timeout_s=mine.ping_timeout_s)


@attrs.frozen(kw_only=True)
class BinanceDialect:
    """How streams are asked for; see :class:`btx.bridges.market.Dialect`."""

    book: str  # what a depth stream is called, after the symbol
    has_mark_price: bool = True
    venue: str = "Binance"
    most: int = STREAMS_PER_CONNECTION
    batch: int = 200  # keeps the address below 8 kB
    pause_s: float = MESSAGE_PAUSE_S
    ping: None = None

    def url(self, base: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:
        """Return the address of a combined stream, which holds the first ones."""
        return f"{base}/stream?streams={'/'.join(names)}", names

    def name(self, subscription: Subscription) -> str:
        """Return what a stream is called.

        Raises:
            NotSupportedError: it is no market stream.
        """
        if subscription.channel is Channel.ACCOUNT:
            raise NotSupportedError("account and market streams of Binance are separate connections")
        if subscription.instrument is None:
            raise NotSupportedError(f"a {subscription.channel.value} stream is of an instrument")
        if subscription.channel is Channel.MARK and not self.has_mark_price:
            raise NotSupportedError("spot has no mark price: it is of derivatives")
        suffix = {**_SUFFIXES, Channel.BOOK: self.book}.get(subscription.channel, f"kline_{subscription.interval}")
        return f"{subscription.instrument.venue_symbol.lower()}@{suffix}"

    def request(self, number: int, names: Sequence[str], *, is_wanted: bool) -> str:
        """Return SUBSCRIBE or UNSUBSCRIBE."""
        return json.dumps({"method": _METHODS[is_wanted], "params": names, "id": number})

    def hear(self, message: Mapping[str, Any]) -> Answer | StreamStatus | None:
        """Return what a message says of the connection.

        "General WSS information", 2026: ``serverShutdown`` is sent before the server goes, so that one dials anew.
        """
        if message.get("data", message).get("e") == "serverShutdown":
            return StreamStatus(state=StreamState.CLOSING, detail="Binance closes this connection soon")
        if "stream" in message:
            return None
        if "error" in message or "code" in message:
            return Answer(message.get("id"), str(message.get("error", message)))
        if "result" in message and message["result"] is None:
            return Answer(message.get("id"))
        raise DataError("neither an event nor an answer")


class Reading(Parser):
    """Mixed in before a cryptofeed exchange class: one frame at a time, with exact times from the raw message."""

    counts_quotes = True  # whether a bar's second volume is in quote units

    async def events(self, message: Mapping[str, Any]) -> Iterable[StreamEvent]:
        """Return what a frame of a combined stream says."""
        return (await self.read(message["data"]),)

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
