"""History by request."""

from collections.abc import Sequence

from btx.errors import NotSupportedError
from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import Interval, to_ms
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import ANSWERS, api
from btx.testing.toy.limits import PAGE

__all__ = ("ToyFeed", "ToyMarginFeed")


class ToyFeed:
    """Bars, public trades and books of the past; see :class:`btx.ports.Feed`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first."""
        if end_ns <= start_ns:
            return ()
        rows = await self._http.ask(
            "GET",
            "/v1/bars",
            {
                "symbol": instrument.venue_symbol,
                "interval": str(interval),
                "start": -to_ms(-start_ns),  # up: the bar before must not slip in
                "end": -to_ms(-end_ns),
                "limit": PAGE,
            },
        )
        bars = (ANSWERS.read(codec.bar, row, symbol=instrument.symbol, interval=interval) for row in rows)
        return tuple(bar for bar in bars if bar.is_closed)

    async def archive(
        self, *, instrument: Instrument, interval: Interval, year: int, month: int
    ) -> Sequence[Bar] | None:
        """Refuse: the card does not declare it."""
        raise NotSupportedError(f"Toy has no files of {instrument.symbol} {interval} in {year}-{month:02d}")

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one."""
        rows = await self._http.ask("GET", "/v1/trades", {"symbol": codec.venue_symbol_of(symbol), "limit": 1})
        return ANSWERS.read(codec.trade, rows[-1], symbol=symbol) if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence."""
        row = await self._http.ask("GET", "/v1/book", {"symbol": instrument.venue_symbol, "depth": depth})
        return ANSWERS.read(codec.book_snapshot, row, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of public trades from an id or a time on, oldest first; with neither, the newest."""
        start_ms = None if start_ns is None or start_id is not None else -to_ms(-start_ns)
        params = {"symbol": instrument.venue_symbol, "from": start_id, "start": start_ms, "limit": PAGE}
        rows = await self._http.ask("GET", "/v1/trades", params)
        return tuple(ANSWERS.read(codec.trade, row, symbol=instrument.symbol) for row in rows)


class ToyMarginFeed(ToyFeed):
    """History of the market on margin; see :class:`btx.ports.MarginFeed`."""

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return mark price and funding as they stand now."""
        row = await self._http.ask("GET", "/v1/mark", {"symbol": instrument.venue_symbol})
        return ANSWERS.read(codec.mark_price, row, symbol=instrument.symbol)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return one page of rates that were settled in ``[start_ns, end_ns)``, oldest first."""
        span = {"start": -to_ms(-start_ns), "end": -to_ms(-end_ns), "limit": PAGE}
        rows = await self._http.ask("GET", "/v1/funding", {"symbol": instrument.venue_symbol, **span})
        return tuple(ANSWERS.read(codec.funding_rate, row, symbol=instrument.symbol) for row in rows)
