"""Pushes: market data on one socket, the account's events on another."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from btx.bridges import verdicts
from btx.bridges.market import Answer, run_market
from btx.bridges.requests import Requests
from btx.bridges.sockets import Send, run_socket
from btx.bridges.tasks import either
from btx.bridges.verdicts import Operation, error_of
from btx.errors import AuthenticationError, DataError, NotSupportedError, TransportError
from btx.model.time import Interval, to_ms
from btx.model.venue import Channel, StreamState, StreamStatus, Subscription
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx.testing.toy import codec
from btx.testing.toy.api import signature
from btx.testing.toy.config import PLACES
from btx.testing.toy.errors import VERDICTS
from btx.testing.toy.limits import STREAMS_PER_CONNECTION

__all__ = ("ToyStream",)

_MARKET = frozenset(Channel) - {Channel.ACCOUNT}
_CLOSING = StreamStatus(state=StreamState.CLOSING, detail="Toy closes this connection soon")


class ToyStream:
    """One connection a run; only the runtime dials again. See :class:`btx.ports.Stream`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        """Be one connection that carries what is wanted, until cancelled or lost."""
        url = PLACES.stream_url(self._context)
        if {each.channel for each in wanted.now} == {Channel.ACCOUNT}:
            await _run_account(self._context, f"{url}/account", wanted.now, sink)
        else:
            await run_market(
                context=self._context,
                wanted=wanted,
                sink=sink,
                dialect=_Dialect(),
                reader=_Reader,
                bases=(url,),
                base_of=lambda _subscription: url,
            )


class _Dialect:
    """How market streams are asked for; see :class:`btx.bridges.market.Dialect`."""

    venue = "Toy"
    most = STREAMS_PER_CONNECTION
    batch = 50
    pause_s = 0.0
    ping = None  # the websocket's own pings do

    def url(self, base: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:  # noqa: ARG002 -- all are asked for
        return f"{base}/stream", ()

    def name(self, subscription: Subscription) -> str:
        if subscription.instrument is None or subscription.channel not in _MARKET:
            raise NotSupportedError(f"Toy has no market stream {subscription.channel.value}")
        parts = (subscription.channel.value, subscription.instrument.venue_symbol, subscription.interval)
        return ":".join(str(part) for part in parts if part is not None)

    def request(self, number: int, names: Sequence[str], *, is_wanted: bool) -> str:
        return json.dumps({"op": "subscribe" if is_wanted else "unsubscribe", "streams": list(names), "id": number})

    def hear(self, message: Any) -> Answer | StreamStatus | None:
        if "stream" in message:
            return None
        if message.get("event") == "closing":
            return _CLOSING
        return Answer(message["id"], message.get("text", message["error"]) if "error" in message else "")


class _Reader:
    """Reads market events; see :class:`btx.bridges.market.Reader`."""

    def __init__(self, *, symbols: Mapping[str, str]) -> None:
        self._symbols = dict(symbols)

    def learn(self, symbols: Mapping[str, str]) -> None:
        self._symbols.update(symbols)

    async def events(self, message: Any) -> Iterable[StreamEvent]:
        kind, venue_symbol, *rest = message["stream"].split(":")
        symbol, row = self._symbols[venue_symbol], message["data"]
        match kind:
            case "bar":
                return (codec.bar(row, symbol=symbol, interval=Interval.parse(rest[0])),)
            case "trade":
                return (codec.trade(row, symbol=symbol),)
            case "quote":
                return (codec.quote(row, symbol=symbol),)
            case "book":
                return (codec.book_delta(row, symbol=symbol),)
            case "mark":
                return (codec.mark_price(row, symbol=symbol),)
            case _:
                raise DataError(f"a stream {message['stream']} was not asked for")


async def _run_account(context: Context, url: str, subscriptions: frozenset[Subscription], sink: Sink) -> None:
    """Log in, and push what happens to the account.

    Raises:
        TransportError: the connection is lost.
        AuthenticationError: the key is not accepted.
    """
    PLACES.require_keys(context)
    frames = _AccountFrames(context, subscriptions, sink)
    socket = run_socket(url=url, handler=frames, tap=context.tap, proxy=context.settings.proxy)
    await either(socket, frames.log_in())


class _AccountFrames:
    """Reads the account's socket."""

    def __init__(self, context: Context, subscriptions: frozenset[Subscription], sink: Sink) -> None:
        self._context = context
        self._subscriptions = subscriptions
        self._sink = sink
        self._requests = Requests("Toy")

    async def log_in(self) -> None:
        """Prove whose account it is, and then wait until the connection ends."""
        now_ms, settings = to_ms(self._context.clock.wire_ns()), self._context.settings
        proof = {"key": settings.api_key.reveal(), "time": now_ms, "window": settings.receive_window_ms}
        login = {"op": "login", "id": 1, **proof, "sign": signature(self._context, f"{now_ms}login")}
        refusal = await self._requests.ask(1, json.dumps(login), what="login")
        if refusal is not None:
            failure = error_of(
                refusal,
                venue="Toy",
                operation=Operation.READ,
                verdicts=VERDICTS,
                now_ms=now_ms,
            )
            # Whatever else it is, a connection without a login is of no use: dial again, later.
            raise failure if isinstance(failure, AuthenticationError) else TransportError(str(failure))
        await asyncio.Event().wait()

    async def opened(self, send: Send) -> None:
        self._requests.opened(send)

    async def frame(self, frame: str | bytes) -> None:
        message = json.loads(frame)
        match message.get("event"):
            case None if "error" in message:
                told = verdicts.Answer(status=None, code=message["error"], message=message["text"])
                self._requests.answer(message["id"], told)
            case None:
                self._sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=self._subscriptions))
                self._requests.answer(message["id"])
            case "order":
                if message["fill"] is not None:
                    self._sink(codec.fill(message["fill"]))
                self._sink(codec.order_report(message["order"]))
            case "account":
                self._sink(codec.account_update(message))
            case "margin_call":
                self._sink(codec.margin_call(message))
            case "closing":
                self._sink(_CLOSING)
            case kind:
                raise DataError(f"an account event of kind {kind!r} is not known")

    def fault(self, detail: str) -> None:
        self._sink(StreamStatus(state=StreamState.FAULT, detail=detail))
