"""History of Bybit's markets."""

from collections.abc import Sequence
from typing import Any

from btx.errors import NotSupportedError
from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import Interval, to_ms, to_ms_up
from btx.ports import Context
from btx_bybit import codec
from btx_bybit.api import api, ask, read
from btx_bybit.limits import BOOK_DEPTHS, FUNDING_PAGE, KLINES_PAGE, TRADES_PAGES
from btx_bybit.symbols import venue_symbol_of

__all__ = ("BybitFeed",)

_COARSE = (Interval.parse("1M"), Interval.parse("1d"))  # a page of either is more than there is of most contracts


class BybitFeed:
    """Bars, trades, books, mark prices and funding of one market."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = context.market
        self._api = api(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        Of a longer time than a page the venue tells the newest, so it is asked for a
        page's time; if there was no market then, for that of its first bar.
        """
        page_ns = KLINES_PAGE * interval.nominal_ns
        bars = await self._bars(instrument, interval, start_ns, min(end_ns, start_ns + page_ns))
        if not bars and start_ns + page_ns < end_ns:
            first_ns = await self._first(instrument, start_ns + page_ns, end_ns)
            bars = await self._bars(instrument, interval, first_ns, min(end_ns, first_ns + page_ns))
        return tuple(bar for bar in bars if bar.is_closed)

    async def archive(
        self,
        *,
        instrument: Instrument,  # noqa: ARG002 -- the port's
        interval: Interval,  # noqa: ARG002 -- likewise
        year: int,  # noqa: ARG002 -- likewise
        month: int,  # noqa: ARG002 -- likewise
    ) -> Sequence[Bar] | None:
        """Return nothing: Bybit's public files hold trades, not bars."""
        return None

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest public trade, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """
        rows = await self._trades(venue_symbol_of(symbol, market=self._market), limit=1)
        return read(codec.trade, rows[0], symbol=symbol) if rows else None

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Return the best ``depth`` levels of both sides with their update id.

        Raises:
            NotSupportedError: more levels than the venue gives.
        """
        most = BOOK_DEPTHS[self._market]
        if depth > most:
            raise NotSupportedError(f"a book of {depth} levels: ask for {most} at most")
        row = await self._ask("GetV5MarketOrderbook", symbol=instrument.venue_symbol, limit=str(depth))
        return read(codec.book_snapshot, row, symbol=instrument.symbol)

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return the newest public trades from a time on, oldest first; older ones the venue does not tell.

        Raises:
            NotSupportedError: they are asked for by a number, which they do not have.
        """
        if start_id is not None:
            raise NotSupportedError("Bybit's trades are not numbered: ask for them by time")
        rows = await self._trades(instrument.venue_symbol, limit=TRADES_PAGES[self._market])
        found = (read(codec.trade, row, symbol=instrument.symbol) for row in reversed(rows))
        return tuple(each for each in found if start_ns is None or each.time_ns >= start_ns)

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return mark price and funding as they stand now."""
        result = await self._ask("GetV5MarketTickers", symbol=instrument.venue_symbol)
        now_ns = self._context.clock.market_ns()
        return read(_first_mark_price, result, symbol=instrument.symbol, time_ns=now_ns)

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return one page of rates that were settled in ``[start_ns, end_ns)``, oldest first.

        The venue tells the newest first, and has no page after a time: what lies
        before a full page is asked for until there is no more.
        """
        start_ms, end_ms = to_ms_up(start_ns), to_ms(end_ns - 1)
        found: dict[int, FundingRate] = {}
        while start_ms <= end_ms:
            result = await self._ask(
                "GetV5MarketFundingHistory",
                symbol=instrument.venue_symbol,
                startTime=str(start_ms),
                endTime=str(end_ms),
                limit=str(FUNDING_PAGE),
            )
            page = [read(codec.funding_rate, row, symbol=instrument.symbol) for row in result.get("list") or ()]
            found.update({each.time_ns: each for each in page})
            if len(page) < FUNDING_PAGE:
                break
            end_ms = to_ms(min(each.time_ns for each in page)) - 1
        return tuple(found[time_ns] for time_ns in sorted(found))

    async def _bars(self, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> tuple[Bar, ...]:
        if end_ns <= start_ns:
            return ()
        result = await self._ask(
            "GetV5MarketKline",
            symbol=instrument.venue_symbol,
            interval=codec.INTERVALS[str(interval)],
            start=str(to_ms_up(start_ns)),
            end=str(to_ms(end_ns - 1)),
            limit=str(KLINES_PAGE),
        )
        now_ns = self._context.clock.market_ns()
        bars = (
            read(
                codec.kline,
                row,
                symbol=instrument.symbol,
                interval=interval,
                now_ns=now_ns,
                counts_quotes=instrument.kind is not InstrumentKind.INVERSE,
            )
            for row in reversed(result.get("list") or ())
        )
        return tuple(bar for bar in bars if start_ns <= bar.open_ns < end_ns)

    async def _first(self, instrument: Instrument, start_ns: int, end_ns: int) -> int:
        """Return when an instrument's first bar opens, in a time that begins before: to the month, then to the day."""
        for coarse in _COARSE:
            page_ns = KLINES_PAGE * coarse.nominal_ns
            until_ns = min(end_ns, start_ns + page_ns)
            bars = await self._bars(instrument, coarse, coarse.open_of(start_ns), until_ns)
            start_ns = max(start_ns, bars[0].open_ns) if bars else start_ns
        return start_ns

    async def _trades(self, venue_symbol: str, *, limit: int) -> list[Any]:
        return list((await self._ask("GetV5MarketRecentTrade", symbol=venue_symbol, limit=str(limit)))["list"])

    async def _ask(self, path: str, **params: str) -> Any:
        return await ask(self._api, f"public{path}", {"category": self._market, **params})


def _first_mark_price(result: Any, *, symbol: str, time_ns: int) -> MarkPrice:
    return codec.mark_price(result["list"][0], symbol=symbol, time_ns=time_ns)
