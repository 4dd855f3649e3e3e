"""A small HTTP proxy on 127.0.0.1, on a thread of its own, that writes down what goes through it."""

import asyncio
import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import attrs

USER, PASSWORD = "ada", "p@ss/w0rd:9"  # with all that must be escaped in an address
_LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@attrs.define
class ForwardProxy:
    """``log`` has a line ``METHOD host:port path`` per connection asked for; ``refused`` counts wrong logins."""

    port: int = 0
    log: list[str] = attrs.field(factory=list)
    refused: int = 0

    @property
    def url(self) -> str:
        """Its address with the login, as a user writes it."""
        return f"http://{USER}:p%40ss%2Fw0rd%3A9@127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if f"Basic {_LOGIN}" in head:
                await self._forward(reader, writer, head)
            else:
                self.refused += 1
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        line, *headers = head.split("\r\n")
        method, target, version = line.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            self.log.append(f"CONNECT {target} ")
            first = b""
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
            self.log.append(f"{method} {host}:{port} {parts.path}")
            path = target.partition("://")[2].partition("/")[2]
            kept = [each for each in headers if not each.lower().startswith("proxy-")]
            if "upgrade:" not in "\n".join(kept).lower():  # one request per connection keeps this small
                kept = [each for each in kept if not each.lower().startswith("connection:")]
                kept.insert(0, "Connection: close")
            first = f"{method} /{path} {version}\r\n".encode() + "\r\n".join(kept).encode("latin-1")
        there, back = await asyncio.open_connection(host, int(port))
        if first:
            back.write(first)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        pipes = {asyncio.create_task(_pipe(reader, back)), asyncio.create_task(_pipe(there, writer))}
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pipe in pipes:
                pipe.cancel()
            back.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while raw := await reader.read(65536):
            writer.write(raw)
            await writer.drain()


@contextlib.contextmanager
def forward_proxy() -> Iterator[ForwardProxy]:
    """Run the proxy until the block ends."""
    proxy, is_up = ForwardProxy(), threading.Event()
    stops: list[Callable[[], object]] = []

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        is_up.set()
        async with server:
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="forward-proxy", daemon=True)
    thread.start()
    assert is_up.wait(60)
    try:
        yield proxy
    finally:
        stops[0]()
        thread.join(60)
