"""Orders of USD-M and COIN-M: those of the matching engine, and the conditional ones that wait elsewhere.

A conditional order has an id of the algo service until it triggers; then it makes
an order of the matching engine under the same client order id.  To us it is one
order all along: ``algo:<id>`` is its venue order id as long as it waits.
"""

from collections.abc import Collection, Mapping
from typing import Any

from btx.bridges.ccxt import Operation
from btx.errors import NotSupportedError, OrderNotFoundError, OrderRejectedError
from btx.model.instrument import Instrument
from btx.model.order import VENUE_MADE, Fill, Leg, OrderList, OrderReport, Receipt
from btx.model.time import to_ms, to_ms_up
from btx.ports import Context
from btx_binance.api import api, of_symbols, read, receipt
from btx_binance.config import require_keys
from btx_binance.futures import codec
from btx_binance.futures.market import market_of
from btx_binance.futures.orders import amend_params, is_conditional, order_params
from btx_binance.limits import FUTURES_OPEN_ORDERS_EACH, FUTURES_TRADES_SPAN_MS
from btx_binance.trade_pages import TradePages

__all__ = ("FuturesBroker",)

_SPANS = 26  # of seven days: what is older than six months is not told
_ALGO = "algo:"

Row = Mapping[str, Any]


class FuturesBroker:
    """The orders of one of the futures markets."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = market_of(context)
        self._api = api(context)
        endpoint = self._market.private("GetUserTrades")
        self._trades = TradePages(self._api, endpoint, span_ms=FUTURES_TRADES_SPAN_MS, spans=_SPANS)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over; see :meth:`btx.ports.Broker.place`."""
        require_keys(self._context)
        params = order_params(leg, now_ns=self._context.clock.market_ns())
        if is_conditional(leg.request.order_type):
            answer = await self._ask("PostAlgoOrder", Operation.PLACE, params)
            return Receipt(venue_order_id=codec.algo_id(str(receipt(answer, "algoId").venue_order_id)))
        return receipt(await self._ask("PostOrder", Operation.PLACE, params), "orderId")

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Refuse: these markets have no order lists."""
        raise NotSupportedError(f"the futures of Binance have no order lists: {order_list.kind.value}")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- the port's
        """Refuse: an order of these markets is modified, under the id it has, or cancelled."""
        raise NotSupportedError(f"the futures of Binance cannot replace an order: cancel {leg.client_order_id} first")

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Modify a resting limit order; see :meth:`btx.ports.Broker.amend`.

        Binance cancels it instead where so much has filled already, and a post-only
        order that would now take ("Modify Order", 2026-05-28): that is a refusal.
        """
        require_keys(self._context)
        answer = await self._ask("PutOrder", Operation.PLACE, amend_params(leg, venue_order_id, new))
        if answer.get("status") == "CANCELED":
            raise OrderRejectedError("Binance cancelled the order: so much of it had filled, or it would have taken")
        return receipt(answer, "orderId")

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask Binance to cancel; see :meth:`btx.ports.Broker.cancel`.

        One that waits may have triggered meanwhile: what is not in the one id
        space is looked for in the other.
        """
        require_keys(self._context)
        if venue_order_id is not None and not venue_order_id.startswith(_ALGO):
            await self._cancel_working(leg, orderId=venue_order_id)
        elif venue_order_id is None and not is_conditional(leg.request.order_type):
            await self._cancel_working(leg, origClientOrderId=leg.client_order_id)
        else:
            known = {"algoId": venue_order_id.removeprefix(_ALGO)} if venue_order_id is not None else None
            try:
                await self._ask("DeleteAlgoOrder", Operation.CANCEL, known or {"clientAlgoId": leg.client_order_id})
            except OrderNotFoundError:
                await self._cancel_working(leg, origClientOrderId=leg.client_order_id)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask Binance to cancel every open order of an instrument, in both id spaces, also when one refuses."""
        require_keys(self._context)
        params = {"symbol": instrument.venue_symbol}
        try:
            await self._ask("DeleteAlgoOpenOrders", Operation.CANCEL, params)
        finally:
            await self._ask("DeleteAllOpenOrders", Operation.CANCEL, params)

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        """Set or stop the countdown to the cancel of what rests; see :meth:`btx.ports.Broker.dead_man`.

        "Auto-Cancel All Open Orders", 2026-05-28: 0 stops it. Conditional orders wait
        in the algo service, which has a cancel-all of its own and no countdown.
        """
        require_keys(self._context)
        params = {"symbol": instrument.venue_symbol, "countdownTime": str(round((after_s or 0) * 1000))}
        await self._ask("PostCountdownCancelAll", Operation.CANCEL, params)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state; see :meth:`btx.ports.Broker.query`.

        A conditional order that has triggered is what its child is; and one that
        the algo service does not know (any more) may still have one.  The fills are
        asked for after the state, so none that it names is missing.
        """
        require_keys(self._context)
        if leg.client_order_id.startswith(VENUE_MADE):  # the exchange's own: Binance's names of them repeat
            return await self._working(leg, orderId=leg.client_order_id.rpartition("-")[2])
        if not is_conditional(leg.request.order_type):
            try:
                return await self._working(leg, origClientOrderId=leg.client_order_id)
            except OrderNotFoundError:
                return await self._waiting(leg)
        try:
            return await self._waiting(leg)
        except OrderNotFoundError:
            return await self._working(leg, origClientOrderId=leg.client_order_id)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest or wait now in these instruments; of a triggered one its child."""
        require_keys(self._context)
        symbols = {each.venue_symbol: each.symbol for each in instruments}
        # Those that wait first: one that triggers in between is in both answers then, and not in none.
        waiting = await self._open("GetOpenAlgoOrders", symbols)
        working = await self._open("GetOpenOrders", symbols)
        orders = [read(codec.order_report, row, symbol=name) for name, row in of_symbols(working, symbols)]
        triggered = {(each.symbol, each.client_order_id) for each in orders}
        reports = [read(codec.algo_report, row, symbol=name) for name, row in of_symbols(waiting, symbols)]
        return (*(each for each in reports if (each.symbol, each.client_order_id) not in triggered), *orders)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, oldest first; the rows do not name the client order id."""
        require_keys(self._context)
        rows = await self._trades.within(instrument.venue_symbol, max(to_ms_up(start_ns), 0), self._now_ms())
        return tuple(read(codec.fill, each, symbol=instrument.symbol, client_order_id="") for each in rows)

    def _now_ms(self) -> int:
        return to_ms(self._context.clock.market_ns())

    async def _cancel_working(self, leg: Leg, **names: str) -> None:
        params = {"symbol": leg.request.instrument.venue_symbol, **names}
        await self._ask("DeleteOrder", Operation.CANCEL, params)

    async def _waiting(self, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        row = await self._ask("GetAlgoOrder", Operation.READ, {"clientAlgoId": leg.client_order_id})
        child = str(row.get("actualOrderId") or "")
        if child:
            return await self._working(leg, orderId=child)
        symbol = leg.request.instrument.symbol
        return (read(codec.algo_report, row, symbol=symbol, client_order_id=leg.client_order_id),)

    async def _working(self, leg: Leg, **names: str) -> tuple[OrderReport | Fill, ...]:
        instrument = leg.request.instrument
        ours = {"symbol": instrument.symbol, "client_order_id": leg.client_order_id}
        row = await self._ask("GetOrder", Operation.READ, {"symbol": instrument.venue_symbol, **names})
        report = read(codec.order_report, row, **ours)
        if not report.filled:
            return (report,)
        rows = await self._trades_of(instrument.venue_symbol, row)
        return (*(read(codec.fill, each, **ours, origin=report.origin) for each in rows), report)

    async def _trades_of(self, venue_symbol: str, order: Row) -> list[Row]:
        """Return the trades of one order; by its id alone only those of the last days are told."""
        order_id, since_ms = str(order["orderId"]), read(_time_ms, order)
        rows = await self._trades.within(venue_symbol, since_ms, self._now_ms())
        return [row for row in rows if str(row.get("orderId")) == order_id]

    async def _open(self, path: str, symbols: Mapping[str, str]) -> list[Row]:
        if len(symbols) > FUTURES_OPEN_ORDERS_EACH:
            return list(await self._ask(path, Operation.READ, {}))
        return [row for each in symbols for row in await self._ask(path, Operation.READ, {"symbol": each})]

    async def _ask(self, path: str, operation: Operation, params: Mapping[str, Any]) -> Any:
        return await self._api.client.ask(self._market.private(path), params, operation=operation)


def _time_ms(row: Row) -> int:
    return int(row.get("time") or row["updateTime"])
