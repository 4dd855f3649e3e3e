# ruff: noqa: ARG002 -- the signatures are the port's, and what it asks for is not there
"""History: CTP has none. What it tells on request is the last tick."""

from collections.abc import Sequence

from btx.bridges.undeclared import UndeclaredFeed
from btx.errors import NotSupportedError, UnknownSymbolError
from btx.model.derivatives import FundingRate, MarkPrice
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.order import Side
from btx.model.time import Interval
from btx.ports import Context
from btx_ctp import codec
from btx_ctp.api import api
from btx_ctp.hours import calendar_of
from btx_ctp.moments import moment_of
from btx_ctp.spi import Row

__all__ = ("CtpFeed",)


class CtpFeed(UndeclaredFeed):
    """The last prices of an account's front."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return nothing: bars are made of ticks as they come, and kept by whoever records them."""
        return ()

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the last trade, of which only price and time are known; None before the first of a contract's life.

        Raises:
            UnknownSymbolError: the front lists no such contract.
        """
        instrument = self._api.instruments.get(symbol.rpartition(".")[2])
        if instrument is None or instrument.symbol != symbol:
            raise UnknownSymbolError(f"CTP lists no {symbol!r}: write exchange and contract, like 'SHFE.rb2601'")
        row = await self._api.snapshot(instrument.venue_symbol)
        price = codec.price(row["LastPrice"]) if row is not None else None
        if row is None or price is None:
            return None
        return Trade(
            symbol=symbol,
            trade_id=f"{row['TradingDay']}-{row['Volume']}",
            price=price,
            quantity=codec.number(float(row["Volume"])),
            side=Side.BUY,
            time_ns=self._moment(instrument, row),
        )

    async def mark_price(self, *, instrument: Instrument) -> MarkPrice:
        """Return the last price: positions are valued at it within the day.

        Raises:
            NotSupportedError: there is none yet.
        """
        row = await self._api.snapshot(instrument.venue_symbol)
        price = codec.price(row["LastPrice"]) if row is not None else None
        if row is None or price is None:
            raise NotSupportedError(f"CTP has no price of {instrument.symbol} yet")
        return MarkPrice(symbol=instrument.symbol, mark_price=price, time_ns=self._moment(instrument, row))

    async def funding_rates(self, *, instrument: Instrument, start_ns: int, end_ns: int) -> Sequence[FundingRate]:
        """Return nothing: futures have no funding."""
        return ()

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Refuse.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError("CTP tells the best prices with each tick, and no book on request")

    async def trades(
        self, *, instrument: Instrument, start_id: int | None = None, start_ns: int | None = None
    ) -> Sequence[Trade]:
        """Return nothing: single trades are not told."""
        return ()

    def _moment(self, instrument: Instrument, row: Row) -> int:
        now_ns = self._context.clock.market_ns()
        found = moment_of(
            calendar_of(instrument.base),
            row["TradingDay"],
            row["UpdateTime"],
            millis=int(row["UpdateMillisec"]),
            near_ns=now_ns,
        )
        return found if found is not None else now_ns
