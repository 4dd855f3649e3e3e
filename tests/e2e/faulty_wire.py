"""A wire that breaks: TCP proxies between a session and its simulator, which cut connections and swallow answers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import attrs

from btx.bt.store import LiveStore
from btx.compose import open_venue
from btx.config import Settings
from btx.model.venue import Endpoints, Environment, Scenario
from btx.rules.backoff import Backoff
from btx.runtime.link import Timing
from btx.runtime.session import Session
from btx.sim.server import spawn

_CHUNK = 65_536
_TIMING = Timing(redial=Backoff(base_s=0.01, cap_s=0.05), settle_pause_s=0.1)


class Proxy:
    """One address of the simulator. Lives on btx-io."""

    def __init__(self, target: str) -> None:
        self.url = urlsplit(target)
        self.cuts = 0
        self.requests: Counter[str] = Counter()
        self.swallows: Callable[[bytes], bool] = lambda _request: False  # its answer never comes
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, resources: AsyncExitStack) -> str:
        """Return the address to use in place of the target's."""
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        resources.callback(self.cut)
        resources.callback(self._server.close)
        port = self._server.sockets[0].getsockname()[1]
        return self.url._replace(netloc=f"127.0.0.1:{port}").geturl()

    def cut(self) -> None:
        """Break every connection, without a good-bye."""
        self.cuts += 1
        for pair in tuple(self._pairs):
            for writer in pair:
                writer.transport.abort()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_swallowed = False

        async def ask() -> None:
            nonlocal is_swallowed
            while data := await reader.read(_CHUNK):
                self.requests[data.partition(b"?")[0].decode("latin-1")] += 1
                is_swallowed = is_swallowed or self.swallows(data)
                beyond.write(data)
                await beyond.drain()

        async def answer() -> None:
            while (data := await back.read(_CHUNK)) and not is_swallowed:
                writer.write(data)
                await writer.drain()

        with contextlib.suppress(OSError, asyncio.CancelledError):
            back, beyond = await asyncio.open_connection(self.url.hostname, self.url.port)
            pair = (writer, beyond)
            self._pairs.add(pair)
            ways = [asyncio.ensure_future(way()) for way in (ask, answer)]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
                self._pairs.discard(pair)
                beyond.transport.abort()
        writer.transport.abort()


@attrs.define(kw_only=True)
class Wire:
    """What stands between a store and its simulator; filled in at start."""

    scenario: Scenario
    swallows: Callable[[bytes], bool] = lambda _request: False
    rest: Proxy | None = None
    market: Proxy | None = None
    account: Proxy | None = None
    loop: asyncio.AbstractEventLoop | None = None

    def store(self) -> LiveStore:
        session = Session(
            venue=open_venue("binance"),
            environment=Environment.SIM,
            market="spot",
            settings=Settings(),
            endpoints=self._open,
            timing=_TIMING,
        )
        return LiveStore(session)

    def cut(self, proxy: Proxy | None) -> None:
        """Cut from the strategy's thread."""
        assert self.loop is not None
        assert proxy is not None
        self.loop.call_soon_threadsafe(proxy.cut)

    async def _open(self, resources: AsyncExitStack) -> Endpoints:
        real = await resources.enter_async_context(spawn("binance", self.scenario))
        self.loop = asyncio.get_running_loop()
        self.rest, self.market, self.account = map(Proxy, (real.rest, real.stream, real.trading_stream))
        self.rest.swallows = self.swallows
        return attrs.evolve(
            real,
            rest=await self.rest.serve(resources),
            stream=await self.market.serve(resources),
            trading_stream=await self.account.serve(resources),
        )
