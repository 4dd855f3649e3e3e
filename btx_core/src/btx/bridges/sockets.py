"""One websocket connection: bounded, pinged, cut in time; a frame that cannot be read does not end it."""

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol
from urllib.parse import urlsplit

import attrs
import websockets
from websockets.asyncio.client import ClientConnection, connect

from btx.config import Secret, proxy_for
from btx.errors import TransportError
from btx.model.frames import Frame, FrameKind
from btx.ports import Tap

__all__ = ("Send", "SocketHandler", "SocketOptions", "run_socket")

Send = Callable[[str], Awaitable[None]]
"""Sends a text frame; raises ``websockets.ConnectionClosed`` on a connection that is over."""

_FAULT_LENGTH = 300

# The library says every frame at DEBUG, so also the one that logs in, with key and signature: not here, whatever the
# level of the loggers above is.
_quiet = logging.getLogger(f"{__name__}.quiet")
_quiet.setLevel(logging.INFO)


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
            logger=_quiet,
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
