"""History of USD-M and COIN-M."""

from collections.abc import Sequence
from typing import Any

from btx.errors import NotSupportedError
from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import NS_PER_MS, Interval, to_ms, to_ms_up
from btx.ports import Context
from btx_binance import codec as common
from btx_binance.api import api, read
from btx_binance.archive import Archive
from btx_binance.futures import codec
from btx_binance.futures.market import market_of
from btx_binance.limits import BOOK_DEPTH, FUTURES_BOOK_DEPTHS, PAGE
from btx_binance.symbols import venue_symbol_of

__all__ = ("FuturesFeed",)

# "Kline/Candlestick Data" of COIN-M, 2026-05-28: the longest span, of which the newest rows are returned.
_LONGEST_SPAN_NS = 200 * 86_400_000 * NS_PER_MS


class FuturesFeed:
    """Bars, trades, books, mark prices and funding rates."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._market = market_of(context)
        self._api = api(context)
        self._archive = Archive(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        The forming bar, which the venue returns too, is left out by the market clock.
        """
        if end_ns <= start_ns:
            return ()
        if self._market.kind is InstrumentKind.INVERSE:
            rows = await self._oldest_klines(instrument, interval, start_ns, end_ns)
        else:
            rows = await self._klines(instrument, interval, start_ns, end_ns)
        now_ns, kind = self._clock.market_ns(), self._market.kind
        named = {"symbol": instrument.symbol, "interval": interval, "now_ns": now_ns, "kind": kind}
        bars = (read(common.kline, row, **named) for row in rows)
        return tuple(bar for bar in bars if bar.is_closed)

    async def _oldest_klines(
        self, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int
    ) -> Sequence[Any]:
        """Return the oldest page of a span of which COIN-M returns the newest.

        No more is asked for than a page has.  Where that is empty the first bar
        is sought: in spans of the greatest length, and then by halves.
        """
        page_ns = min(_LONGEST_SPAN_NS, PAGE * interval.nominal_ns)
        while start_ns < end_ns:
            rows = await self._klines(instrument, interval, start_ns, min(end_ns, start_ns + page_ns))
            if rows:
                return rows
            start_ns, until_ns = start_ns + page_ns, end_ns
            while until_ns - start_ns > page_ns:
                middle_ns = start_ns + min(_LONGEST_SPAN_NS, (until_ns - start_ns) // 2)
                if await self._klines(instrument, interval, start_ns, middle_ns, limit=1):
                    until_ns = middle_ns
                else:
                    start_ns = middle_ns
        return ()

    async def _klines(
        self, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int, limit: int = PAGE
    ) -> Sequence[Any]:
        params = {
            "symbol": instrument.venue_symbol,
            "interval": str(interval),
            "startTime": to_ms_up(start_ns),  # up: the bar before must not slip in
            "endTime": to_ms(end_ns - 1),
            "limit": limit,
        }
        return list(await self._api.client.ask(self._market.public("GetKlines"), params))

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
        rows = await self._agg_trades(venue_symbol_of(symbol, market=self._market.name), limit=1)
        return read(common.agg_trade, rows[-1], symbol=symbol) if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their sequence.

        Raises:
            NotSupportedError: more levels than the venue gives.
        """
        if depth > BOOK_DEPTH:
            raise NotSupportedError(f"a book of {depth} levels: ask for {BOOK_DEPTH} at most")
        asked = next(each for each in FUTURES_BOOK_DEPTHS if each >= depth)
        params = {"symbol": instrument.venue_symbol, "limit": asked}
        row = await self._api.client.ask(self._market.public("GetDepth"), params)
        short = {**row, "bids": row["bids"][:depth], "asks": row["asks"][:depth]}
        return read(common.book_snapshot, short, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return one page of aggregate trades from an id or a time on, oldest first; with neither, the newest.

        Of USD-M the venue tells those of the last 24 hours ("Compressed/Aggregate Trades List", 2026-05-28).
        """
        params: dict[str, Any] = {"limit": PAGE}
        if start_id is not None:
            params["fromId"] = start_id
        elif start_ns is not None:
            params["startTime"] = to_ms_up(start_ns)
        rows = await self._agg_trades(instrument.venue_symbol, **params)
        return tuple(read(common.agg_trade, row, symbol=instrument.symbol) for row in rows)

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return mark price and funding as they stand now."""
        params = {"symbol": instrument.venue_symbol}
        answer = await self._api.client.ask(self._market.public("GetPremiumIndex"), params)
        rows = answer if isinstance(answer, list) else [answer]  # COIN-M lists even the one that was asked for
        return read(codec.mark_price, rows[0], symbol=instrument.symbol)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return one page of rates that were settled in ``[start_ns, end_ns)``, oldest first."""
        if end_ns <= start_ns:
            return ()
        params = {
            "symbol": instrument.venue_symbol,
            "startTime": to_ms_up(start_ns),
            "endTime": to_ms(end_ns - 1),
            "limit": PAGE,
        }
        rows = await self._api.client.ask(self._market.public("GetFundingRate"), params)
        return tuple(read(codec.funding_rate, row, symbol=instrument.symbol) for row in rows)

    async def _agg_trades(self, venue_symbol: str, **params: Any) -> list[Any]:
        return list(await self._api.client.ask(self._market.public("GetAggTrades"), {"symbol": venue_symbol, **params}))
