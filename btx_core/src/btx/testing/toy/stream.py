"""Pushes: market data on one socket, the account's events on another.

REPLACE: how streams are named, asked for and answered, and which function of codec.py reads which.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from btx.bridges.account import Question, Reply
from btx.bridges.market import Answer
from btx.bridges.streams import SocketStream
from btx.config import Settings
from btx.errors import DataError, NotSupportedError
from btx.model.time import Interval
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, StreamEvent
from btx.testing.toy import codec
from btx.testing.toy.api import signature
from btx.testing.toy.config import PLACES
from btx.testing.toy.errors import VERDICTS
from btx.testing.toy.limits import STREAMS_PER_CONNECTION

__all__ = ("ToyAccount", "ToyMarket", "ToyStream", "market_events")

_CLOSING = StreamStatus(state=StreamState.CLOSING, detail="Toy closes this connection soon")


def market_events(message: Any, symbols: Mapping[str, str]) -> Iterable[StreamEvent]:
    """Return what a push says of the market; ``symbols`` are our names of the venue's."""
    kind, venue_symbol, *rest = message["stream"].split(":")
    symbol, row = symbols[venue_symbol], message["data"]
    match kind:
        case "bar":
            return (codec.bar(row, symbol=symbol, interval=Interval.parse(rest[0])),)
        case "trade":
            return (codec.trade(row, symbol=symbol),)
        case "quote":
            return (codec.quote(row, symbol=symbol),)
        case "book":
            return (codec.book_delta(row, symbol=symbol),)
    raise DataError(f"a stream {message['stream']} was not asked for")


class ToyMarket:
    """How market streams are asked for; see :class:`btx.bridges.market.Dialect`."""

    venue = "Toy"
    most = STREAMS_PER_CONNECTION
    batch = 50
    pause_s = 0.0
    ping = None  # the websocket's own pings do

    def url(self, base: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:  # noqa: ARG002 -- all are asked for
        """Return the address, which subscribes nothing."""
        return f"{base}/stream", ()

    def name(self, subscription: Subscription) -> str:
        """Return what a stream is called."""
        if subscription.instrument is None or subscription.channel is Channel.ACCOUNT:
            raise NotSupportedError(f"Toy has no market stream {subscription.channel.value}")
        parts = (subscription.channel.value, subscription.instrument.venue_symbol, subscription.interval)
        return ":".join(str(part) for part in parts if part is not None)

    def request(self, number: int, names: Sequence[str], *, is_wanted: bool) -> str:
        """Return the message that subscribes streams, or ends them."""
        return json.dumps({"op": "subscribe" if is_wanted else "unsubscribe", "streams": list(names), "id": number})

    def hear(self, message: Any) -> Answer | StreamStatus | None:
        """Return what a message says of the connection."""
        if "stream" in message:
            return None
        if message.get("event") == "closing":
            return _CLOSING
        return Answer(message["id"], message.get("text", message["error"]) if "error" in message else "")


class ToyAccount:
    """How the account's stream is asked for, and read; see :class:`btx.bridges.account.AccountDialect`."""

    verdicts = VERDICTS

    def url(self, base: str) -> str:
        """Return the address of the connection."""
        return f"{base}/account"

    def questions(self, settings: Settings, now_ms: int) -> Iterable[Question]:
        """Return the login, after which everything is told."""
        proof = {"key": settings.api_key.reveal(), "sign": signature(settings, f"{now_ms}login")}
        login = {"op": "login", "id": 1, "time": now_ms, "window": settings.receive_window_ms, **proof}
        return (Question(1, json.dumps(login), what="login"),)

    def hear(self, message: Any) -> Reply | None:
        """Return what a message answers."""
        if "event" in message:
            return None
        return Reply(message["id"], message.get("error"), message.get("text", ""))

    def events(self, message: Any) -> Iterable[StreamEvent]:
        """Return what a push says of the account, in its order."""
        match message["event"]:
            case "order":
                fills = () if message["fill"] is None else (codec.fill(message["fill"]),)
                return (*fills, codec.order_report(message["order"]))
            case "account":
                return (codec.account_update(message),)
            case "closing":
                return (_CLOSING,)
        raise DataError(f"an account event of kind {message['event']!r} is not known")


class ToyStream(SocketStream):
    """Market data on one socket, the account's events on another."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context,
            places=PLACES,
            market=ToyMarket(),
            events=market_events,
            account=ToyAccount(),
        )
