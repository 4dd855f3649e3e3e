"""Orders of Binance spot."""

from collections.abc import Collection

from btx.bridges.ccxt import Operation
from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt
from btx.model.time import to_ms_up
from btx.ports import Context
from btx_binance.api import api, of_symbols, read, receipt
from btx_binance.config import require_keys
from btx_binance.limits import OPEN_ORDERS_EACH, TRADES_SPAN_MS
from btx_binance.spot import codec
from btx_binance.spot.orders import extras, list_params, order_params
from btx_binance.trade_pages import TradePages

__all__ = ("SpotBroker",)

_DAYS_EACH = 30  # up to so many days trades are looked for day by day; beyond, from the account's first one on


class SpotBroker:
    """Orders of Binance spot: all its types, order lists, and cancel-replace.

    Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/trading-endpoints, 2025.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = api(context)
        self._trades = TradePages(self._api, "privateGetMyTrades", span_ms=TRADES_SPAN_MS, spans=_DAYS_EACH)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over; see :meth:`btx.ports.Broker.place`."""
        require_keys(self._context)
        params = {**extras(leg), **order_params(leg), "newOrderRespType": "ACK"}
        answer = await self._api.client.ask("privatePostOrder", params, operation=Operation.PLACE)
        return receipt(answer, "orderId")

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Hand an order list over; see :meth:`btx.ports.Broker.place_list`."""
        require_keys(self._context)
        endpoint, params = list_params(order_list)
        answer = await self._api.client.ask(endpoint, params, operation=Operation.PLACE)
        return receipt(answer, "orderListId")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Cancel ``leg`` and place ``new``; see :meth:`btx.ports.Broker.replace`.

        An order that has filled in part stays as it is (``cancelRestrictions``),
        and then nothing is placed (``STOP_ON_FAILURE``).
        """
        require_keys(self._context)
        params = {
            **extras(new),
            **order_params(new),
            "newOrderRespType": "ACK",
            "cancelReplaceMode": "STOP_ON_FAILURE",
            "cancelRestrictions": "ONLY_NEW",
        }
        if venue_order_id is not None:
            params["cancelOrderId"] = venue_order_id
        else:
            params["cancelOrigClientOrderId"] = leg.client_order_id
        answer = await self._api.client.ask("privatePostOrderCancelReplace", params, operation=Operation.PLACE)
        return receipt(answer, "newOrderResponse", "orderId")

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask Binance to cancel every open order of an instrument; see :meth:`btx.ports.Broker.cancel_all`."""
        require_keys(self._context)
        params = {"symbol": instrument.venue_symbol}
        await self._api.client.ask("privateDeleteOpenOrders", params, operation=Operation.CANCEL)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, oldest first; the rows do not name the client order id.

        The newest page is asked for first: mostly it is all there is to know.

        Raises:
            DataError: there are more, and the venue does not say which.
        """
        require_keys(self._context)
        rows = await self._trades.since(instrument.venue_symbol, max(to_ms_up(start_ns), 0))
        return tuple(read(codec.my_trade, each, symbol=instrument.symbol, client_order_id="") for each in rows)

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- the port's
        """Refuse: an order of spot is replaced; in place it could only become smaller."""
        raise NotSupportedError(f"Binance spot gives an order no other price: replace {leg.client_order_id}")

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask Binance to cancel; see :meth:`btx.ports.Broker.cancel`."""
        require_keys(self._context)
        params = {"symbol": leg.request.instrument.venue_symbol}
        if venue_order_id is not None:
            params["orderId"] = venue_order_id
        else:
            params["origClientOrderId"] = leg.client_order_id
        await self._api.client.ask("privateDeleteOrder", params, operation=Operation.CANCEL)

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:  # noqa: ARG002 -- the port's
        """Refuse: spot has no countdown."""
        raise NotSupportedError(f"Binance spot cancels nothing by itself in {instrument.symbol}")

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state; see :meth:`btx.ports.Broker.query`.

        The fills are asked for after the state, so none that it names is missing.
        """
        require_keys(self._context)
        instrument = leg.request.instrument
        row = await self._api.client.ask(
            "privateGetOrder",
            {"symbol": instrument.venue_symbol, "origClientOrderId": leg.client_order_id},
        )
        report = read(codec.order_report, row, symbol=instrument.symbol, client_order_id=leg.client_order_id)
        if not report.filled:
            return (report,)
        rows = await self._trades.of_order(instrument.venue_symbol, str(row["orderId"]))
        ours = {"symbol": instrument.symbol, "client_order_id": leg.client_order_id}
        return (*(read(codec.my_trade, each, **ours) for each in rows), report)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments."""
        require_keys(self._context)
        symbols = {each.venue_symbol: each.symbol for each in instruments}
        if len(symbols) > OPEN_ORDERS_EACH:
            rows = await self._api.client.ask("privateGetOpenOrders", {})
        else:
            rows = [
                row
                for venue_symbol in symbols
                for row in await self._api.client.ask("privateGetOpenOrders", {"symbol": venue_symbol})
            ]
        return tuple(read(codec.order_report, row, symbol=name) for name, row in of_symbols(rows, symbols))
