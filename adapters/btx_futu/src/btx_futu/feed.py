"""History of Futu."""

from collections.abc import Sequence

from btx.bridges.undeclared import UndeclaredFeed
from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookSnapshot, Trade
from btx.model.time import Interval
from btx.ports import Context
from btx_futu import codec
from btx_futu.config import options
from btx_futu.limits import PAGE
from btx_futu.opend import opend, rows
from btx_futu.store import read
from btx_futu.symbols import market_of, place_of

__all__ = ("FutuFeed",)

_KINDS = {"1m": "K_1M"}
_REHABS = {"none": None, "qfq": "qfq", "hfq": "hfq"}  # as futu-api spells them


class FutuFeed(UndeclaredFeed):
    """History of Futu."""

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._opend = opend(context)
        self._rehab = _REHABS[options(context).rehab]

    async def bars(self, *, instrument: Instrument, interval: Interval, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """Return one page of closed bars that open in ``[start_ns, end_ns)``, oldest first.

        A bar is labelled with its end, and asked for by it.
        """
        if end_ns <= start_ns:
            return ()
        symbol, zone, width_ns = instrument.symbol, place_of(instrument.symbol).zone, interval.nominal_ns
        first_ns = (
            interval.open_of(start_ns - 1) + 2 * width_ns
        )  # the label of the first that opens at the start or later
        last_ns = interval.open_of(end_ns - 1) + width_ns
        table, _key = await self._opend.quotes(
            "request_history_kline",
            symbol,
            start=codec.text_of(first_ns, zone),
            end=codec.text_of(last_ns, zone),
            ktype=_KINDS[str(interval)],
            autype=self._rehab or "None",
            max_count=PAGE,
        )
        now_ns = self._clock.market_ns()
        bars = (read(codec.bar, row, symbol=symbol, interval=interval, now_ns=now_ns) for row in rows(table))
        return tuple(bar for bar in bars if bar.is_closed and start_ns <= bar.open_ns < end_ns)

    async def last_price(self, *, symbol: str) -> Trade | None:
        """Return the latest price as a trade of one lot, None when there never was one.

        Raises:
            UnknownSymbolError: the venue lists no such symbol.
        """
        market_of(symbol)
        table = await self._opend.quotes("get_market_snapshot", [symbol])
        return next((read(codec.last_price, row) for row in rows(table)), None)

    async def book(self, *, instrument: Instrument, depth: int) -> BookSnapshot:
        """Refuse: books are not read here.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(f"{instrument.symbol}: order books of Futu are not read, not {depth} levels either")

    async def trades(
        self,
        *,
        instrument: Instrument,
        start_id: int | None = None,  # noqa: ARG002
        start_ns: int | None = None,  # noqa: ARG002
    ) -> Sequence[Trade]:
        """Refuse: public trades are not read here.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(f"{instrument.symbol}: public trades of Futu are not read")
