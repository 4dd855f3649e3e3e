"""The account's own trades, all of them, from an interface that gives a page at a time.

``myTrades`` of spot and ``userTrades`` of futures share their rules: an id and a
time do not go together, the longest span of time is limited, and only from an id
on the oldest come first: "otherwise most recent trades are returned" (2025).
"""

from collections.abc import Mapping
from typing import Any

from btx.bridges.api import Api
from btx.errors import DataError
from btx_binance.api import read
from btx_binance.limits import PAGE

__all__ = ("TradePages",)

Row = Mapping[str, Any]


class TradePages:
    """Looks for trades span by span where there are at most ``spans`` of ``span_ms``, else from the first one on."""

    def __init__(self, shared: Api, endpoint: str, *, span_ms: int, spans: int) -> None:
        self._api = shared
        self._endpoint = endpoint
        self._span_ms = span_ms
        self._spans = spans

    async def since(self, venue_symbol: str, start_ms: int) -> list[Row]:
        """Return every trade in a symbol from a time on, oldest first.

        The newest page is asked for first: mostly it is all there is to know.

        Raises:
            DataError: there are more, and the venue does not say which.
        """
        params = {"symbol": venue_symbol, "limit": PAGE}
        rows = list(await self._api.client.ask(self._endpoint, params))
        if len(rows) == PAGE and read(_time_ms, rows[0]) >= start_ms:
            first_id = await self._first(params, start_ms, known_ms=read(_time_ms, rows[0]))
            rows = await self._from(params, first_id)
        return [row for row in rows if read(_time_ms, row) >= start_ms]

    async def within(self, venue_symbol: str, start_ms: int, end_ms: int) -> list[Row]:
        """Return the same span by span: where without a time only the newest span is told, a short page is not all."""
        params, rows = {"symbol": venue_symbol, "limit": PAGE}, list[Row]()
        first_ms = max(start_ms, end_ms - self._spans * self._span_ms)
        for span_ms in range(first_ms, end_ms + 1, self._span_ms):
            page = await self._between(params, span_ms, span_ms + self._span_ms - 1)
            if len(page) == PAGE:
                return rows + await self._from(params, await self._first_of(params, span_ms, page))
            rows.extend(page)
        return rows

    async def of_order(self, venue_symbol: str, order_id: str) -> list[Row]:
        """Return every trade of one order, oldest first."""
        return await self._from({"symbol": venue_symbol, "orderId": order_id, "limit": PAGE}, 0)

    async def _from(self, params: Row, trade_id: int) -> list[Row]:
        """Return every trade from an id on, page after page."""
        rows: list[Row] = []
        while True:
            page = await self._api.client.ask(self._endpoint, {**params, "fromId": trade_id})
            rows.extend(page)
            if len(page) < PAGE:
                return rows
            trade_id = int(page[-1]["id"]) + 1

    async def _first(self, params: Row, start_ms: int, *, known_ms: int) -> int:
        """Return the id of a symbol's first trade from a time on; there is one at ``known_ms``.

        Raises:
            DataError: the venue does not list it.
        """
        if known_ms - start_ms > self._spans * self._span_ms:
            return 0
        for span_ms in range(start_ms, known_ms + 1, self._span_ms):
            page = await self._between(params, span_ms, span_ms + self._span_ms - 1)
            if page:
                return await self._first_of(params, span_ms, page)
        raise DataError(f"Binance lists no trade in {params['symbol']} from {start_ms} ms on, and there is one")

    async def _first_of(self, params: Row, span_ms: int, page: list[Row]) -> int:
        """Of a page that is full the older end may be what is left out: ask for what lies before its first trade."""
        while len(page) == PAGE:
            earlier = await self._between(params, span_ms, read(_time_ms, page[0]))
            if not earlier or earlier[0]["id"] == page[0]["id"]:
                if len(earlier) == PAGE:
                    return 0  # more in one millisecond than a page has
                break
            page = earlier
        return int(page[0]["id"])

    async def _between(self, params: Row, start_ms: int, end_ms: int) -> list[Row]:
        asked = {**params, "startTime": start_ms, "endTime": end_ms}
        return list(await self._api.client.ask(self._endpoint, asked))


def _time_ms(row: Row) -> int:
    return int(row["time"])
