"""Market data: how Bybit's topics are named and asked for, and how their frames are read.

Sources: https://bybit-exchange.github.io/docs/v5, ws/connect and websocket/public, 2026.
cryptofeed's Bybit (2.4) reads the trades.  Of the rest it reads candles with times in
milliseconds and never closed, merges tickers into a table that all its instances share,
drops what is quoted in a coin it does not know, checks no book for holes and knows
no inverse contracts: that is read here.

What says in which order books and quotes were made is ``seq``, the number of the
matching engine: the same for every depth, for pushes and for answers.  ``u`` counts
the pushes of one topic, so it shows a hole.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs
from cryptofeed.exchanges import Bybit

from btx.bridges.cryptofeed import Parser, trade
from btx.bridges.decimals import levels, limit
from btx.bridges.market import PING, Answer
from btx.errors import DataError, NotSupportedError
from btx.model.derivatives import MarkPrice
from btx.model.market import Bar, BookDelta, BookSnapshot, Quote, Trade
from btx.model.time import Interval, from_ms
from btx.model.venue import Channel, Subscription
from btx.ports import StreamEvent
from btx_bybit.codec import INTERVALS
from btx_bybit.config import INVERSE, SPOT

__all__ = ("PING_TEXT", "BybitDialect", "BybitReader")

Json = Mapping[str, Any]

PING_TEXT = '{"op":"ping"}'

_INTERVALS = {text: Interval.parse(name) for name, text in INTERVALS.items()}
# Of a book 1000 levels are pushed every 200 ms; of one level each push is all of it.
_TOPICS = {
    Channel.TRADE: "publicTrade",
    Channel.QUOTE: "orderbook.1",
    Channel.BOOK: "orderbook.1000",
    Channel.MARK: "tickers",
}
_MARK_KEYS = frozenset({"markPrice", "indexPrice", "fundingRate", "nextFundingTime"})


@attrs.frozen(kw_only=True)
class BybitDialect:
    """How topics are asked for; see :class:`btx.bridges.market.Dialect`."""

    market: str
    ping_interval_s: float
    venue: str = "Bybit"
    most: int = 500  # "you cannot have length of args array over 21,000 characters", and the longest topic has 40
    pause_s: float = 0.0

    @property
    def batch(self) -> int:
        """Ten on spot, "for each subscription request"; of contracts nothing is said."""
        return 10 if self.market == SPOT else 100

    @property
    def ping(self) -> tuple[str, float]:
        """The message that keeps a connection alive, and the seconds between two."""
        return PING_TEXT, self.ping_interval_s

    def url(self, base: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:  # noqa: ARG002 -- the protocol's
        """Return the address, which subscribes nothing."""
        return base, ()

    def name(self, subscription: Subscription) -> str:
        """Return a topic.

        Raises:
            NotSupportedError: it is no market stream, or of an interval that Bybit does not have.
        """
        channel, instrument = subscription.channel, subscription.instrument
        if channel is Channel.ACCOUNT:
            raise NotSupportedError("account and market streams of Bybit are separate connections")
        if instrument is None:
            raise NotSupportedError(f"a {channel.value} stream is of an instrument")
        if channel is Channel.MARK and self.market == SPOT:
            raise NotSupportedError("spot has no mark price: it is of derivatives")
        if channel is not Channel.BAR:
            return f"{_TOPICS[channel]}.{instrument.venue_symbol}"
        interval = INTERVALS.get(str(subscription.interval))
        if interval is None:
            raise NotSupportedError(f"Bybit has no bars of {subscription.interval}: it has {' '.join(INTERVALS)}")
        return f"kline.{interval}.{instrument.venue_symbol}"

    def request(self, number: int, names: Sequence[str], *, is_wanted: bool) -> str:
        """Return a subscription, or the end of one."""
        return json.dumps({"req_id": str(number), "op": "subscribe" if is_wanted else "unsubscribe", "args": names})

    def hear(self, message: Json) -> Answer | None:
        """Return what a message says of the connection; a pong of spot and contracts still says ping."""
        if "topic" in message:
            return None
        match message.get("op"):
            case "ping" | "pong":
                return Answer(PING)
            case "subscribe" | "unsubscribe":
                number = int(message.get("req_id") or 0)
                return Answer(number, "" if message["success"] else str(message.get("ret_msg") or "no reason is given"))
        raise DataError("neither an event nor an answer")


class BybitReader(Parser, Bybit):  # type: ignore[misc] # cryptofeed is untyped
    """cryptofeed's Bybit, and what it lacks; of one connection, in one market."""

    def __init__(self, *, symbols: Mapping[str, str], market: str) -> None:
        super().__init__(symbols=symbols)
        self._market = market
        self._seen: dict[str, tuple[int, int]] = {}  # by topic: the last "u", and its "seq"
        self._tickers: dict[str, dict[str, Any]] = {}

    async def events(self, message: Json) -> Iterable[StreamEvent]:
        """Return what a frame says.

        Raises:
            DataError: a topic that nothing here subscribes, or a change of what is not known.
        """
        kind, *rest = message["topic"].split(".")
        match kind:
            case "publicTrade":
                return [await self._read_trade(row) for row in message["data"]]
            case "kline":
                return [
                    self._bar(row, interval=_INTERVALS[rest[0]], symbol=self._symbol(rest[1]))
                    for row in message["data"]
                ]
            case "orderbook" if rest[0] == "1":
                return self._quotes(message)
            case "orderbook":
                return (self._book_change(message),)
            case "tickers":
                return self._marks(message)
        raise DataError(f"a push of {message['topic']!r} was not asked for")

    def _symbol(self, venue_symbol: str) -> str:
        return str(self.exchange_symbol_to_std_symbol(venue_symbol))

    async def _read_trade(self, row: Json) -> Trade:
        parsed = await self.parse(self._parse_trade, {"data": [row]})
        return trade(
            parsed,
            trade_id=row["i"],
            time_ns=from_ms(int(row["T"])),
            sequence=int(row["seq"]) if row.get("seq") else None,
        )

    async def _parse_trade(self, message: Json, receipt_s: float) -> None:
        await self._trade(message, receipt_s, "")  # of "spot" it would guess the name anew, from a few quote coins

    def _bar(self, row: Json, *, interval: Interval, symbol: str) -> Bar:
        """Of an inverse contract the volume is in dollars, and the turnover in coins."""
        open_ns = from_ms(int(row["start"]))
        return Bar(
            symbol=symbol,
            interval=interval,
            open_ns=open_ns,
            close_ns=interval.close_of(open_ns),
            open=Decimal(row["open"]),
            high=Decimal(row["high"]),
            low=Decimal(row["low"]),
            close=Decimal(row["close"]),
            volume=Decimal(row["volume"]),
            is_closed=row["confirm"],
            quote_volume=Decimal(row["turnover"]) if self._market != INVERSE else None,
        )

    def _quotes(self, message: Json) -> Iterable[Quote]:
        """Return a quote, none where a side is empty; where nothing changes it is said again after three seconds."""
        data = message["data"]
        if message["type"] != "snapshot":
            raise DataError("a push of one level is all of it, and this one is a change")
        if not (data["b"] and data["a"]):
            return ()
        (bid,), (ask,) = levels(data["b"]), levels(data["a"])
        quote = Quote(
            symbol=self._symbol(data["s"]),
            bid_price=bid[0],
            bid_quantity=bid[1],
            ask_price=ask[0],
            ask_quantity=ask[1],
            sequence=int(data["seq"]),
            time_ns=_made_ns(message),
        )
        return (quote,)

    def _book_change(self, message: Json) -> BookSnapshot | BookDelta:
        """Return a whole book, which takes the place of what was known, or a change of it.

        A change whose ``u`` is not the next joins nothing: right before it something is missing.
        """
        topic, data, time_ns = message["topic"], message["data"], _made_ns(message)
        number, sequence = int(data["u"]), int(data["seq"])
        symbol, bids, asks = self._symbol(data["s"]), levels(data["b"]), levels(data["a"])
        last = self._seen.get(topic)
        if message["type"] == "snapshot":
            self._seen[topic] = number, sequence
            return BookSnapshot(symbol=symbol, bids=bids, asks=asks, sequence=sequence, time_ns=time_ns)
        if last is None:
            raise DataError("a change of a book that was not told")
        self._seen[topic] = number, sequence
        before = last[1] if number == last[0] + 1 else sequence - 1
        return BookDelta(
            symbol=symbol,
            bids=bids,
            asks=asks,
            first_sequence=before + 1,
            last_sequence=sequence,
            previous_sequence=before,
            time_ns=time_ns,
        )

    def _marks(self, message: Json) -> Iterable[MarkPrice]:
        """Return the mark price where a push changes it; what a push leaves out is as it was."""
        data = message["data"]
        venue_symbol = data["symbol"]
        if message["type"] == "snapshot":
            self._tickers[venue_symbol] = {}
        elif venue_symbol not in self._tickers:
            raise DataError("a change of a ticker that was not told")
        ticker = self._tickers[venue_symbol]
        ticker.update((key, data[key]) for key in _MARK_KEYS & data.keys())
        if not _MARK_KEYS & data.keys():
            return ()
        mark = MarkPrice(
            symbol=self._symbol(venue_symbol),
            mark_price=Decimal(ticker["markPrice"]),
            index_price=limit(ticker, "indexPrice"),
            funding_rate=Decimal(ticker["fundingRate"]) if ticker.get("fundingRate") else None,
            next_funding_ns=from_ms(int(ticker.get("nextFundingTime") or 0)) or None,
            time_ns=from_ms(int(message["ts"])),
        )
        return (mark,)


def _made_ns(message: Json) -> int:
    """Return when the matching engine made it, or when it was sent where that is not said."""
    return from_ms(int(message.get("cts") or message["ts"]))
