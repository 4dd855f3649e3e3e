"""A wire that breaks: TCP proxies between a session and its simulator, which cut connections and swallow answers."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import attrs

from btx.bt.store import LiveStore
from btx.config import Settings
from btx.defaults import open_venue
from btx.model.venue import Endpoints, Environment, Scenario
from btx.rules.backoff import Backoff
from btx.runtime.facts import Timing
from btx.runtime.session import Session
from btx.sim.server import spawn
from tests.e2e.venues import BINANCE_SPOT, Place

_CHUNK = 65_536
TIMING = Timing(redial=Backoff(base_s=0.01, cap_s=0.05), settle_pause_s=0.1)


class Proxy:
    """One address of the simulator. Lives on btx-io."""

    def __init__(self, target: str) -> None:
        self.url = urlsplit(target)
        self.cuts = 0
        self.requests: Counter[str] = Counter()
        self.swallows: Callable[[bytes], bool] = lambda _request: False  # its answer never comes
        self.accepted = 0  # connections
        self.is_blocked = False  # none is let through any more
        self._muted: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._server: asyncio.Server | None = None

    @property
    def standing(self) -> int:
        """How many connections there are now."""
        return len(self._pairs)

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

    def block(self) -> None:
        """Break every connection and refuse new ones."""
        self.is_blocked = True
        self.cut()

    def unblock(self) -> None:
        """Let connections through again."""
        self.is_blocked = False

    def mute(self) -> None:
        """Let nothing through those that stand now, and leave them standing: half-open, as after a router's death."""
        self._muted |= self._pairs

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_blocked:
            writer.transport.abort()
            return
        self.accepted += 1
        is_swallowed = False

        async def ask() -> None:
            nonlocal is_swallowed
            while data := await reader.read(_CHUNK):
                self.requests[data.partition(b"?")[0].decode("latin-1")] += 1
                is_swallowed = is_swallowed or self.swallows(data)
                if pair not in self._muted:
                    beyond.write(data)
                    await beyond.drain()

        async def answer() -> None:
            while (data := await back.read(_CHUNK)) and not is_swallowed:
                if pair not in self._muted:
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
                self._muted.discard(pair)
                beyond.transport.abort()
        writer.transport.abort()


@attrs.define(kw_only=True)
class Wire:
    """What stands between a store and its simulator; filled in at start."""

    scenario: Scenario
    place: Place = BINANCE_SPOT
    swallows: Callable[[bytes], bool] = lambda _request: False
    rest: Proxy | None = None
    market: Proxy | None = None
    account: Proxy | None = None
    loop: asyncio.AbstractEventLoop | None = None
    timing: Timing = TIMING
    options: Mapping[str, str] = attrs.field(factory=dict)
    life_s: float | None = None  # of a market connection, in place of the venue's day

    def store(self) -> LiveStore:
        venue, market = open_venue(self.place.venue), self.place.market
        if self.life_s is not None:
            capabilities = attrs.evolve(venue.info.capabilities[market], connection_life_s=self.life_s)
            venue.info = attrs.evolve(venue.info, capabilities={market: capabilities})
        session = Session(
            venue=venue,
            environment=Environment.SIM,
            market=market,
            settings=Settings(options=self.options, currency=self.place.currency),
            endpoints=self._open,
            timing=self.timing,
        )
        return LiveStore(session)

    def cut(self, proxy: Proxy | None) -> None:
        """Cut from the strategy's thread."""
        assert proxy is not None
        self.soon(proxy.cut)

    def soon(self, act: Callable[[], object]) -> None:
        """Do something to a proxy from the strategy's thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(act)

    async def _open(self, resources: AsyncExitStack) -> Endpoints:
        real = await resources.enter_async_context(spawn(self.place.venue, self.place.scenario(self.scenario)))
        self.loop = asyncio.get_running_loop()
        self.rest, self.market, self.account = map(Proxy, (real.rest, real.stream, real.trading_stream))
        self.rest.swallows = self.swallows
        return attrs.evolve(
            real,
            rest=await self.rest.serve(resources),
            stream=await self.market.serve(resources),
            trading_stream=await self.account.serve(resources),
        )
