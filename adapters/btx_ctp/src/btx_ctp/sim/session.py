"""One connection of a client to a front: who is logged in on it, and what it is told."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from btx.sim.faults import Where
from btx.sim.wires import SocketView
from btx_ctp.sim.rows import Row
from btx_ctp.sim.texts import info
from btx_ctp.sim.wire import callback_line, hello_line

__all__ = ("Session",)

_QUERIES_A_SECOND, _PACKAGES_A_SECOND = 500, 500


class Session:
    """One connection of a client: who is logged in on it, and what it wants."""

    def __init__(self, number: int, where: Where, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.where = where
        self.account: str | None = None  # the key, once it is logged in
        self.user = ""
        self.session_id = -1000 - number
        self.is_authenticated = False
        self.is_confirmed = False
        self.last_ref = 0
        self.symbols: set[str] = set()
        self.is_mute = False
        self._writer = writer

    def send(self, name: str, *args: Any) -> None:
        """Call a callback of the client's."""
        if not self.is_mute and not self._writer.is_closing():
            self._writer.write(callback_line(name, *args))

    def send_half(self, name: str) -> None:
        """Send a line that nobody can read."""
        line = callback_line(name, info(0), 0, True)
        self._writer.write(line[: len(line) // 2] + b"\n")

    def greet(self) -> None:
        """Say what the front takes."""
        self._writer.write(hello_line(query_frequency=_QUERIES_A_SECOND, package_frequency=_PACKAGES_A_SECOND))

    def answer(self, name: str, found: Iterable[Row], request_id: int) -> None:
        """Answer a query, row by row; without any there is one answer with nothing in it."""
        listed = list(found)
        for row in listed:
            self.send(name, row, None, request_id, row is listed[-1])
        if not listed:
            self.send(name, None, info(0), request_id, True)

    async def drain(self) -> None:
        """Wait until what was written has left."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """End the connection, after what was written."""
        self._writer.close()

    def abort(self) -> None:
        """Cut it now."""
        self._writer.transport.abort()

    def view(self) -> SocketView:
        """Return it as the control channel shows it."""
        return SocketView(
            number=self.number,
            where=self.where.value,
            subscriptions=tuple(sorted(self.symbols)),
            silent=(),
            is_mute=self.is_mute,
        )
