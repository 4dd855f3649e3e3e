"""History by request.

REPLACE: the paths, and what a page is asked for by.
"""

from collections.abc import Sequence

from btx.bridges.undeclared import UndeclaredFeed
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import Interval, to_ms_up
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import api
from btx.testing.toy.limits import PAGE

__all__ = ("ToyFeed",)


class ToyFeed(UndeclaredFeed):
    """Bars, public trades and books of the past; see :class:`btx.ports.Feed`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first."""
        if end_ns <= start_ns:
            return ()
        span = {"start": to_ms_up(start_ns), "end": to_ms_up(end_ns), "limit": PAGE}
        params = {"symbol": instrument.venue_symbol, "interval": str(interval), **span}
        bars = await self._http.rows("/v1/bars", codec.bar, params, symbol=instrument.symbol, interval=interval)
        return tuple(bar for bar in bars if bar.is_closed)

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one."""
        params = {"symbol": codec.venue_symbol_of(symbol), "limit": 1}
        rows = await self._http.rows("/v1/trades", codec.trade, params, symbol=symbol)
        return rows[-1] if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence."""
        params = {"symbol": instrument.venue_symbol, "depth": depth}
        return await self._http.get("/v1/book", codec.book_snapshot, params, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of public trades from an id or a time on, oldest first; with neither, the newest."""
        start_ms = None if start_ns is None or start_id is not None else to_ms_up(start_ns)
        params = {"symbol": instrument.venue_symbol, "from": start_id, "start": start_ms, "limit": PAGE}
        return await self._http.rows("/v1/trades", codec.trade, params, symbol=instrument.symbol)
