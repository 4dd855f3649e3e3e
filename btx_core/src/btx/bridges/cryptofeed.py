"""cryptofeed's parsers and types, under a connection of our own.

cryptofeed reads the frames of many venues well and fast, but its connection
layer drops the socket for one bad frame, dials without pause after a clean
close, never notices a stream that stays silent, reads without back-pressure and
keeps every connection it ever made (cryptofeed 2.4).  So only its exchange
classes are used, as parsers, and a socket is ours: bounded, pinged, cut in time.

cryptofeed's types keep times as floats of seconds; exact ones are taken from the
raw message.  Its order book is not used: :class:`btx.model.market.BookDelta` goes
to :mod:`btx.rules.book` as it is.
"""

import atexit
import functools
import itertools
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import attrs
import websockets
from cryptofeed.defines import SELL
from cryptofeed.feed import Feed
from cryptofeed.symbols import Symbols
from websockets.asyncio.client import ClientConnection, connect

from btx.config import Secret, proxy_for
from btx.errors import TransportError
from btx.model.frames import Frame, FrameKind
from btx.model.market import Bar, Quote, Trade
from btx.model.order import Side
from btx.model.time import Interval
from btx.ports import Tap

__all__ = ("Parser", "SocketHandler", "SocketOptions", "bar", "quote", "run_socket", "trade")

Send = Callable[[str], Awaitable[None]]

_FAULT_LENGTH = 300
_serial = itertools.count()
_interval = functools.cache(Interval.parse)  # a dozen texts, in every frame of a bar


class Parser(Feed):
    """Mixed in before a cryptofeed exchange class: its parsers, without its symbols, REST or connections.

    ``symbols`` maps the venue's texts to ours; what is not in it cannot be
    parsed.  Nothing is fetched, and nothing stays in cryptofeed's tables.
    """

    def __init__(self, *, symbols: Mapping[str, str]) -> None:
        self.id = f"{type(self).__name__}-{next(_serial)}"  # cryptofeed shares symbols by this name
        Symbols.set(self.id, {symbol: venue_symbol for venue_symbol, symbol in symbols.items()}, {})
        try:
            super().__init__(config={"uvloop": False}, candle_closed_only=False)
        finally:
            Symbols.data.pop(self.id, None)
        atexit.unregister(self.http_conn.__del__)  # it would keep every parser until the process ends
        self._parsed: Any = None
        self.callbacks: dict[str, list[Any]] = {channel: [self._keep] for channel in self.callbacks}

    def learn(self, symbols: Mapping[str, str]) -> None:
        """Parse these symbols of the venue, too."""
        self.exchange_symbol_mapping.update(symbols)
        self.normalized_symbol_mapping.update({symbol: venue_symbol for venue_symbol, symbol in symbols.items()})

    async def _keep(self, parsed: Any, _receipt_s: float) -> None:
        self._parsed = parsed

    async def parse(self, method: Callable[[Any, float], Awaitable[None]], message: Any) -> Any:
        """Return what one of cryptofeed's parser methods makes of ``message``.

        Raises:
            Exception: whatever cryptofeed raises for a message it cannot read.
        """
        self._parsed = None
        await method(message, 0.0)
        return self._parsed


def trade(parsed: Any, *, trade_id: int | str, time_ns: int) -> Trade:
    """Return cryptofeed's Trade as ours; its side is the aggressor's too."""
    return Trade(
        symbol=parsed.symbol,
        trade_id=trade_id,
        price=parsed.price,
        quantity=parsed.amount,
        side=Side.SELL if parsed.side == SELL else Side.BUY,
        time_ns=time_ns,
    )


def quote(
    parsed: Any, *, bid_quantity: Decimal, ask_quantity: Decimal, sequence: int | None, time_ns: int | None
) -> Quote:
    """Return cryptofeed's Ticker as ours; it has no quantities of its own."""
    return Quote(
        symbol=parsed.symbol,
        bid_price=parsed.bid,
        bid_quantity=bid_quantity,
        ask_price=parsed.ask,
        ask_quantity=ask_quantity,
        sequence=sequence,
        time_ns=time_ns,
    )


def bar(parsed: Any, *, open_ns: int, close_ns: int, quote_volume: Decimal | None) -> Bar:
    """Return cryptofeed's Candle as ours; ``close_ns`` is exclusive."""
    return Bar(
        symbol=parsed.symbol,
        interval=_interval(parsed.interval),
        open_ns=open_ns,
        close_ns=close_ns,
        open=parsed.open,
        high=parsed.high,
        low=parsed.low,
        close=parsed.close,
        volume=parsed.volume,
        is_closed=parsed.closed,
        quote_volume=quote_volume,
        trades=parsed.trades,
    )


@attrs.frozen(kw_only=True)
class SocketOptions:
    """How a connection behaves: what it may hold, and how long it may be silent."""

    open_timeout_s: float = 10.0
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    close_timeout_s: float = 0.5
    max_queue: int = 256  # frames read ahead; then the venue's TCP window fills instead of our memory
    max_frame_bytes: int = 16 * 1024 * 1024


class SocketHandler(Protocol):
    """Who hears one connection."""

    async def opened(self, send: Send) -> None:
        """The connection stands; ``send`` sends a text frame on it."""

    async def frame(self, frame: str | bytes) -> None:
        """Read one frame. What it raises is a fault, but a TransportError ends the connection."""

    def fault(self, detail: str) -> None:
        """A frame could not be read."""


async def run_socket(
    *,
    url: str,
    handler: SocketHandler,
    options: SocketOptions | None = None,
    tap: Tap | None = None,
    proxy: Secret | None = None,
) -> NoReturn:
    """Be one connection until it is lost or cancelled; a frame that cannot be read does not end it.

    ``tap`` hears every frame before it is read; ``proxy`` as for :func:`btx.config.proxy_for`.

    Raises:
        TransportError: it could not be made, was closed, or fell silent.
    """
    options = options or SocketOptions()
    through = proxy_for(url, proxy)
    place = urlsplit(through or "")
    via = f" through the proxy {place.hostname}:{place.port}" if through else ""
    host = urlsplit(url).netloc
    try:
        async with connect(
            url,
            compression=None,  # it costs more time than the bytes it saves
            open_timeout=options.open_timeout_s,
            ping_interval=options.ping_interval_s,
            ping_timeout=options.ping_timeout_s,
            close_timeout=options.close_timeout_s,
            max_queue=options.max_queue,
            max_size=options.max_frame_bytes,
            proxy=through,
        ) as connection:
            if tap is not None:
                await _read_tapped(connection, handler, url, tap)
            else:
                await handler.opened(connection.send)
                async for frame in connection:
                    await _read(handler, frame)
            reason = f"closed by the venue ({connection.close_code} {connection.close_reason or ''})"
    except websockets.ConnectionClosed as error:
        reason = f"{error}"
    except (OSError, TimeoutError, websockets.WebSocketException) as error:
        reason = f"{type(error).__name__}: {error}"
    raise TransportError(f"{host}{via}: {reason}")


async def _read_tapped(connection: ClientConnection, handler: SocketHandler, url: str, tap: Tap) -> None:
    number = tap.number()
    tap(Frame(kind=FrameKind.OPENED, connection=number, url=url))

    async def send(text: str) -> None:
        await connection.send(text)
        tap(Frame(kind=FrameKind.SENT, connection=number, text=text))

    try:
        await handler.opened(send)
        async for frame in connection:
            tap(Frame(kind=FrameKind.RECEIVED, connection=number, text=frame))
            await _read(handler, frame)
    finally:
        tap(Frame(kind=FrameKind.CLOSED, connection=number, code=connection.close_code))


async def _read(handler: SocketHandler, frame: str | bytes) -> None:
    try:
        await handler.frame(frame)
    except TransportError:
        raise
    except Exception as error:  # noqa: BLE001 -- a frame can break a parser in any way, and must not cost the connection
        handler.fault(f"{type(error).__name__}: {error} in {frame!r}"[:_FAULT_LENGTH])
