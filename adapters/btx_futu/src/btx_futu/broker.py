"""Orders of Futu: placed, cancelled, asked about by the remark they carry."""

import datetime
from collections.abc import Collection, Mapping
from typing import Any

from btx.bridges.undeclared import UndeclaredBroker
from btx.errors import NotSupportedError, OrderNotFoundError, OutcomeUnknownError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderReport, OrderType, Receipt, TimeInForce
from btx.ports import Context
from btx.rules.calendar import trading_day
from btx_futu import codec
from btx_futu.hours import calendar_of
from btx_futu.opend import opend, rows
from btx_futu.store import read
from btx_futu.symbols import place_of

__all__ = ("FutuBroker",)

_TYPES = {OrderType.LIMIT: "NORMAL", OrderType.MARKET: "MARKET"}
_TIMES = {TimeInForce.DAY: "DAY", TimeInForce.GTC: "GTC"}


class FutuBroker(UndeclaredBroker):
    """Orders out, over OpenD; states come back through the stream.

    Our client order id is the order's remark, which every report and list repeats:
    an answer that was lost is found by it.
    """

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._opend = opend(context)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over.

        Raises:
            OrderRejectedError: refused with certainty.
            OutcomeUnknownError: it may rest at the venue; settle it by ``query``.
            TransportError: it certainly never left.
        """
        request = leg.request
        times = {TimeInForce.DAY} if self._opend.is_paper else _TIMES.keys()
        if request.order_type not in _TYPES or request.time_in_force not in times:
            raise NotSupportedError(
                f"Futu takes market and limit orders for the day (of real accounts also GTC), not "
                f"{request.order_type.value} {request.time_in_force.value}"
            )
        table = await self._opend.trades(
            "place_order",
            acts=True,
            price=float(request.price or 0),
            qty=float(leg.quantity),
            code=request.instrument.venue_symbol,
            trd_side=request.side.value,
            order_type=_TYPES[request.order_type],
            time_in_force=_TIMES[request.time_in_force],
            remark=leg.client_order_id,
        )
        row = next(iter(rows(table)), {})
        order_id = row.get("order_id")
        if not isinstance(order_id, str) or not order_id:
            raise OutcomeUnknownError(f"OpenD's answer to an order cannot be read: {str(row)[:200]}")
        return Receipt(venue_order_id=order_id)

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask the venue to cancel.

        Raises:
            OrderNotFoundError: it is not open (any more).
            OutcomeUnknownError: no answer came.
        """
        await self._modify("CANCEL", leg, venue_order_id)

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Give a resting limit order another price and whole quantity; it keeps its number and its remark.

        Raises:
            OrderNotFoundError: it is not open (any more).
            OrderRejectedError: it was certainly not amended.
            OutcomeUnknownError: no answer came.
        """
        number = await self._modify(
            "NORMAL", leg, venue_order_id, qty=float(new.quantity), price=float(new.request.price or 0)
        )
        return Receipt(venue_order_id=number)

    async def _modify(
        self, operation: str, leg: Leg, venue_order_id: str | None, *, qty: float = 0.0, price: float = 0.0
    ) -> str:
        number = venue_order_id or str((await self._row_of(leg))["order_id"])
        await self._opend.trades(
            "modify_order", acts=True, modify_order_op=operation, order_id=number, qty=qty, price=price
        )
        return number

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what the venue knows about one order: its state and, of a real account, its fills.

        Raises:
            OrderNotFoundError: the venue knows no such order.
        """
        row = await self._row_of(leg)
        report = read(codec.order_report, row, is_paper=self._opend.is_paper)
        if report is None:
            raise OutcomeUnknownError(f"OpenD does not know what became of order {leg.client_order_id} yet")
        if self._opend.is_paper or not report.filled:
            return (report,)
        deals = await self._deals(report.symbol, leg.request.signal_ns)
        return (*(fill for fill in deals if fill.venue_order_id == report.venue_order_id), report)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments, whoever placed them."""
        wanted = {each.symbol for each in instruments}
        table = await self._opend.trades("order_list_query", status_filter_list=list(codec.OPEN_STATUSES))
        found = (read(codec.order_report, row, is_paper=self._opend.is_paper) for row in rows(table))
        return tuple(each for each in found if each is not None and each.symbol in wanted)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return a real account's executions of 90 days in an instrument; of a paper account nothing tells them."""
        if self._opend.is_paper:
            return ()
        deals = await self._deals(instrument.symbol, start_ns)
        return tuple(each for each in deals if each.symbol == instrument.symbol and each.time_ns >= start_ns)

    async def _deals(self, symbol: str, start_ns: int) -> tuple[Fill, ...]:
        """Return the account's executions, oldest first: of the day, and those of the days before if it began then."""
        methods = ("deal_list_query", "history_deal_list_query")[: len(self._days(symbol, start_ns))]
        tables = [await self._opend.trades(method) for method in methods]
        found = [read(codec.fill, row) for table in tables for row in rows(table)]
        return tuple(sorted({fill.fill_id: fill for fill in found}.values(), key=lambda fill: fill.time_ns))

    def _days(self, symbol: str, start_ns: int) -> set[datetime.date | None]:
        """Return the trading days of a moment and of now: one, or two."""
        calendar = calendar_of(symbol)
        return {trading_day(calendar, moment) for moment in (start_ns, self._clock.market_ns())}

    async def _row_of(self, leg: Leg) -> Mapping[str, Any]:
        """Return the row of an order: of the day's list, or of that of the days before, if it is so old.

        Raises:
            OrderNotFoundError: it is in neither.
        """
        days = self._days(leg.request.instrument.symbol, leg.request.signal_ns)
        methods = ("order_list_query", "history_order_list_query") if len(days) > 1 else ("order_list_query",)
        for method in methods:
            table = await self._opend.trades(method)
            for row in rows(table):
                if codec.name_of(row) == leg.client_order_id and place_of(row["code"]) == self._opend.place:
                    return row
        raise OrderNotFoundError(f"OpenD lists no order with the remark {leg.client_order_id}")
