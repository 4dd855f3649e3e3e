"""History of Binance spot."""

from collections.abc import Sequence
from typing import Any

from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import Interval, to_ms, to_ms_up
from btx.ports import Context
from btx_binance import codec
from btx_binance.api import api, read
from btx_binance.archive import Archive
from btx_binance.limits import BOOK_DEPTH, PAGE
from btx_binance.symbols import venue_symbol_of

__all__ = ("SpotFeed",)


class SpotFeed:
    """History of Binance spot."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._api = api(context)
        self._archive = Archive(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        The forming bar, which the venue returns too, is left out by the market clock.
        """
        if end_ns <= start_ns:
            return ()
        rows = await self._api.client.ask(
            "publicGetKlines",
            {
                "symbol": instrument.venue_symbol,
                "interval": str(interval),
                "startTime": to_ms_up(start_ns),  # up: the bar before must not slip in
                "endTime": to_ms(end_ns - 1),
                "limit": PAGE,
            },
        )
        now_ns = self._clock.market_ns()
        bars = (read(codec.kline, row, symbol=instrument.symbol, interval=interval, now_ns=now_ns) for row in rows)
        return tuple(bar for bar in bars if bar.is_closed)

    async def archive(
        self, *, instrument: Instrument, interval: Interval, year: int, month: int
    ) -> Sequence[Bar] | None:
        """Return a whole month from Binance's public files, None where it has none; no key and no weight are needed."""
        return await self._archive.bars(instrument, interval, year, month)

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """
        params = {"symbol": venue_symbol_of(symbol, market="spot"), "limit": 1}
        rows = await self._api.client.ask("publicGetAggTrades", params)
        return read(codec.agg_trade, rows[-1], symbol=symbol) if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence.

        Raises:
            NotSupportedError: more levels than a request may cost.
        """
        if depth > BOOK_DEPTH:
            raise NotSupportedError(f"a book of {depth} levels: ask for {BOOK_DEPTH} at most")
        row = await self._api.client.ask("publicGetDepth", {"symbol": instrument.venue_symbol, "limit": depth})
        return read(codec.book_snapshot, row, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of aggregate trades from an id or a time on, oldest first; with neither, the newest."""
        params: dict[str, Any] = {"symbol": instrument.venue_symbol, "limit": PAGE}
        if start_id is not None:
            params["fromId"] = start_id
        elif start_ns is not None:
            params["startTime"] = to_ms_up(start_ns)
        rows = await self._api.client.ask("publicGetAggTrades", params)
        return tuple(read(codec.agg_trade, row, symbol=instrument.symbol) for row in rows)
