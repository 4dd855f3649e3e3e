"""The history cache as a backtest reads it: what is missing is fetched."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import attrs

from btx.config import home
from btx.errors import ConfigError, RateLimitedError, TransportError, UnknownSymbolError
from btx.model.market import BarColumns
from btx.model.time import Interval, iso
from btx.model.venue import Endpoints, Environment
from btx.plugins import Venue
from btx.ports import BarCache
from btx.runtime.history import HistoryDesk
from btx.runtime.public import open_public_side
from btx.storage.places import history_folder
from btx.worlds import attached

__all__ = ("CachedBars",)

_MINUTE = Interval.parse("1m")
_FETCH_TRIES = 2  # somebody waits in front of it; `btx history download` is patient


@attrs.frozen(kw_only=True)
class CachedBars:
    """The history cache as a backtest reads it; what is missing is fetched. ``attach`` names a simulator to ask."""

    open_venue: Callable[[str], Venue] = attrs.field(repr=False)
    venue: str
    market: str
    attach: str | None

    @property
    def is_whole(self) -> bool:
        """It goes on and on: a period says which part is played."""
        return False

    @property
    def words(self) -> str:
        return "the history cache" + (f" of the simulator at {self.attach}" if self.attach is not None else "")

    def begins_ns(self) -> int:
        """Return the beginning of all time: it is not whole."""
        return 0

    def columns(self, symbol: str, interval: Interval, start_ns: int | None, end_ns: int | None) -> BarColumns:
        """Return the bars of a period that is over.

        Raises:
            ConfigError: a part of it is missing, and cannot be fetched; the message says the command that does.
        """
        assert start_ns is not None
        assert end_ns is not None
        end_ns = min(end_ns, interval.open_of(time.time_ns()))
        if start_ns >= end_ns:
            raise ConfigError(f"{symbol}: no {interval} bar has closed in that period yet")
        try:
            # A notebook has a loop running on this thread.
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="btx-history") as thread:
                return thread.submit(asyncio.run, self._columns(symbol, interval, start_ns, end_ns)).result()
        except (TransportError, RateLimitedError) as error:
            where = f" --env sim --attach {self.attach}" if self.attach is not None else ""
            raise ConfigError(
                f"{symbol} {interval} bars of {_day(start_ns)} to {_day(end_ns)} are not all in the cache, and cannot "
                f"be fetched now ({error}): btx history download {self.venue} {symbol} -i {interval} "
                f"--from {_day(start_ns)} --to {_day(end_ns)}{where}"
            ) from error

    async def _columns(self, symbol: str, interval: Interval, start_ns: int, end_ns: int) -> BarColumns:
        from btx.storage.bars import BarStore
        from btx.storage.klines import fold_columns

        endpoints = await attached(self.attach) if self.attach is not None else None
        environment = Environment.BACKTEST if endpoints is None else Environment.SIM
        world = endpoints.extra.get("world") if endpoints is not None else None
        cache = BarStore(
            history_folder(home(), venue=self.venue, environment=environment, market=self.market, world=world)
        )
        if cache.missing(symbol, interval, start_ns, end_ns):
            if interval.nominal_ns > _MINUTE.nominal_ns and not cache.missing(symbol, _MINUTE, start_ns, end_ns):
                return fold_columns(cache.columns(symbol, _MINUTE, start_ns, end_ns), interval)
            await self._fetch(cache, endpoints, symbol, interval=interval, start_ns=start_ns, end_ns=end_ns)
        return cache.columns(symbol, interval, start_ns, end_ns)

    async def _fetch(
        self,
        cache: BarCache,
        endpoints: Endpoints | None,
        symbol: str,
        *,
        interval: Interval,
        start_ns: int,
        end_ns: int,
    ) -> None:
        venue = self.open_venue(self.venue)
        environment = Environment.LIVE if endpoints is None else Environment.SIM
        async with open_public_side(venue, environment=environment, market=self.market, endpoints=endpoints) as public:
            store = venue.store(public.context)
            found = await public.guard.read("instruments", lambda: store.instruments(symbols=[symbol]))
            if symbol not in found:
                raise UnknownSymbolError(f"{venue.info.title} lists no {symbol}: write it like BTC/USDT")
            desk = HistoryDesk(
                feed=venue.feed(public.context),
                guard=public.guard,
                cache=cache,
                clock=public.clock,
                archive=venue.info.capabilities[self.market].archive,
                tries=_FETCH_TRIES,
                calendar=venue.calendar,
            )
            await desk.ensure(found[symbol], interval, start_ns, end_ns)


def _day(time_ns: int) -> str:
    """Return ``2025-06-01``, with the minute where it is no midnight: as `btx history download` reads it."""
    return iso(time_ns)[:16].removesuffix("T00:00")
