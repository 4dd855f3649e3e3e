"""The port of a simulated venue: open, or refusing connections as a machine does on which nothing listens."""

import asyncio
import socket
from collections.abc import Callable

__all__ = ("Door",)

_HOST = "127.0.0.1"
_BACKLOG = 128


class Door:
    """Lets connections in to whatever the factory makes of them. Lives in the loop that serves them."""

    def __init__(self, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None  # the port, while nothing listens on it
        self._port = 0
        self._reopening: asyncio.Task[None] | None = None

    async def open(self, port: int) -> str:
        """Listen, and return ``host:port``.

        Raises:
            OSError: the port is taken.
        """
        self._held = _bound(port)
        self._port = self._held.getsockname()[1]
        await self._listen()
        return f"{_HOST}:{self._port}"

    def refuse(self, for_s: float) -> None:
        """Refuse every new connection for so long; those that stand are left alone."""
        if self._server is not None:
            # The port stays ours: a socket that is bound and does not listen has the kernel refuse.
            self._server.close()
            self._server = None
            self._held = _bound(self._port)
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = self._loop.create_task(self._reopen(for_s))

    def close(self) -> None:
        """Give the port back."""
        if self._reopening is not None:
            self._reopening.cancel()
        if self._server is not None:
            self._server.close()
        if self._held is not None:
            self._held.close()

    async def _reopen(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._listen()

    async def _listen(self) -> None:
        held, self._held = self._held, None
        assert held is not None, "it is bound before"
        self._server = await self._loop.create_server(self._factory, sock=held, backlog=_BACKLOG)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((_HOST, port))
        bound.setblocking(False)
    except OSError:  # taken, or not allowed
        bound.close()
        raise
    return bound
