"""Orders of Bybit's unified account, in one of its markets.

A conditional order keeps its id when it triggers, so it is one order all along.
The answer to a request says that it was accepted; what came of it comes over the stream.
"""

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from btx.bridges.verdicts import Operation
from btx.errors import NotSupportedError, OrderNotFoundError, OrderRejectedError, VenueError
from btx.model.instrument import Instrument
from btx.model.order import VENUE_ID, VENUE_MADE, Fill, Leg, OrderList, OrderReport, OrderType, PositionSide, Receipt
from btx.model.time import to_ms, to_ms_up
from btx.ports import Context
from btx_bybit.api import api, ask, modes, of_symbols, pages, read, receipt
from btx_bybit.codec import last_price
from btx_bybit.config import INVERSE, LINEAR, SPOT, options, require_keys
from btx_bybit.errors import TRIGGERS_AT_ONCE
from btx_bybit.limits import EXECUTIONS_PAGE, ORDERS_PAGE, SPAN_MS, SPANS
from btx_bybit.orders import TPSL, amend_params, has_passed, is_conditional, order_filter, order_params
from btx_bybit.reports import FOREIGN, fill, is_fill, order_report, side_of_position
from btx_bybit.trade_socket import TradeSocket
from btx_bybit.trailing import set_trail, take_off

__all__ = ("BybitBroker",)

# Spot's kinds of orders, each cancelled apart: "orderFilter" of cancel-all, 2026.
_FILTERS = ("Order", TPSL, "StopOrder", "OcoOrder", "BidirectionalTpslOrder")
_PRODUCTS = {SPOT: "SPOT", LINEAR: "DERIVATIVES", INVERSE: "DERIVATIVES"}

Row = Mapping[str, Any]


class BybitBroker:
    """The orders of one market, sent by REST or, by ``options={"order_entry": "websocket"}``, over a socket."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._market = context.market
        self._api = api(context)
        self._modes = modes(context)
        self._socket = TradeSocket(context) if options(context).order_entry == "websocket" else None

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over; see :meth:`btx.ports.Broker.place`.

        Of spot the venue sees by its last price which way a trigger lies: a stop the
        market has passed would wait for it to come back.  So that is looked at before.
        """
        require_keys(self._context)
        if leg.request.order_type is OrderType.TRAILING_STOP:
            await set_trail(self._api, leg, market=self._market)
            return Receipt(venue_order_id=None)
        params = order_params(leg, market=self._market)
        if self._market == SPOT and is_conditional(leg.request.order_type):
            await self._check_trigger(leg)
        try:
            return receipt(await self._send("create", params), "orderId")
        except VenueError as error:
            if str(error.code) not in TRIGGERS_AT_ONCE:
                raise
            refusal = OrderRejectedError(f"Order would immediately trigger: {error}", code=error.code)
        raise refusal

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Refuse: the API has no order lists."""
        raise NotSupportedError(f"the API of Bybit has no order lists: {order_list.kind.value}")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- the port's
        """Refuse: an order of Bybit is amended, under the id it has, or cancelled."""
        raise NotSupportedError(f"Bybit cannot replace an order: cancel {leg.client_order_id} first")

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Amend a resting limit order; see :meth:`btx.ports.Broker.amend`."""
        require_keys(self._context)
        params = amend_params(leg, venue_order_id, new, market=self._market)
        return receipt(await self._send("amend", params), "orderId")

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Ask Bybit to cancel; see :meth:`btx.ports.Broker.cancel`.

        Spot wants to be told which kind of order it is, which one that has triggered is no more.
        """
        require_keys(self._context)
        if _is_trail(leg):
            await take_off(self._api, leg.request, market=self._market)
            return
        params = {"category": self._market, "symbol": leg.request.instrument.venue_symbol}
        params |= {"orderId": venue_order_id} if venue_order_id is not None else _named(leg)
        if self._market != SPOT or not is_conditional(leg.request.order_type):
            await self._send("cancel", params, Operation.CANCEL)
            return
        try:
            await self._send("cancel", {**params, "orderFilter": order_filter(leg.request)}, Operation.CANCEL)
        except OrderNotFoundError:
            await self._send("cancel", params, Operation.CANCEL)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask Bybit to cancel every open order of an instrument, of whatever kind."""
        require_keys(self._context)
        params = {"category": self._market, "symbol": instrument.venue_symbol}
        kinds = [{"orderFilter": each} for each in _FILTERS] if self._market == SPOT else [{}]
        found = False
        for kind in kinds:
            answer = await ask(self._api, "privatePostV5OrderCancelAll", params | kind, operation=Operation.CANCEL)
            found = found or bool(answer.get("list"))
        if not found:
            raise OrderNotFoundError(f"no order was open in {instrument.symbol}")

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:  # noqa: ARG002 -- of the account
        """Say how long Bybit waits for the account's stream to come back; see :meth:`btx.ports.Broker.dead_man`.

        "Set Disconnect Cancel All", 2026: of all contracts, or all of spot, if a connection had subscribed
        to ``dcp``; and Bybit must have enabled it for the account.  "Get DCP Info", 2026, says whether it has, to
        the key of a main account; those of sub accounts are always answered with nothing.

        Raises:
            NotSupportedError: it has not.
        """
        require_keys(self._context)
        if after_s is None:
            raise NotSupportedError("Bybit's switch is let go of by the stream, not by a request")
        product = _PRODUCTS[self._market]
        params = {"product": product, "timeWindow": round(after_s)}
        await ask(self._api, "privatePostV5OrderDisconnectedCancelAll", params, operation=Operation.CANCEL)
        told = (await ask(self._api, "privateGetV5AccountQueryDcpInfo", {})).get("dcpInfos") or ()
        if any(row.get("product") == product and row.get("dcpStatus") == "ON" for row in told):
            return
        if (await ask(self._api, "privateGetV5UserQueryApi", {})).get("isMaster"):
            raise NotSupportedError(
                f"Bybit has not enabled Disconnect Cancel All of {product} for this account: it does so for "
                "institutions, on request; leave dead_man out"
            )

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state; see :meth:`btx.ports.Broker.query`.

        What is not among the newest orders may be in the history; and what the exchange
        made (a delivery) may have executions and no order.  The fills are asked for
        after the state, so none that it names is missing.
        """
        require_keys(self._context)
        instrument = leg.request.instrument
        if _is_trail(leg):
            return await self._query_trail(leg)
        params = {"category": self._market, "symbol": instrument.venue_symbol, **_named(leg)}
        rows = await self._list("GetV5OrderRealtime", params) or await self._closed(params, leg.request.signal_ns)
        report = read(order_report, rows[0], symbol=instrument.symbol) if rows else None
        if report is not None and not report.filled:
            return (report,)
        made_ms = read(_made_ms, rows[0]) if rows else None
        fills = self._fills(await self._executions(_named(leg), made_ms), instrument, leg.request.position_side)
        if report is None and not fills:
            raise OrderNotFoundError(f"Bybit knows no order {leg.client_order_id}")
        return (*fills, *((report,) if report is not None else ()))

    async def _query_trail(self, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what becomes of a position's trailing stop: by the venue's name, or whichever the position has now."""
        number = (leg.wire or {}).get(VENUE_ID)
        if number is None:
            resting = await self.open_orders(instruments=(leg.request.instrument,))
            found = (each for each in resting if each.order_type is OrderType.TRAILING_STOP)
            mine = (each for each in found if each.position_side in {None, leg.request.position_side})
            report = next(mine, None)
            if report is None:
                raise OrderNotFoundError(f"Bybit has no trailing stop for order {leg.client_order_id}")
            return (attrs.evolve(report, client_order_id=leg.client_order_id),)
        request = attrs.evolve(leg.request, order_type=OrderType.STOP_MARKET)
        told = await self.query(leg=attrs.evolve(leg, client_order_id=f"{FOREIGN}{number}", request=request, wire=None))
        return tuple(attrs.evolve(each, client_order_id=leg.client_order_id) for each in told)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest or wait now in these instruments."""
        require_keys(self._context)
        symbols = {each.venue_symbol: each.symbol for each in instruments}
        rows: list[Row] = []
        for wanted in self._places(instruments):
            params = {"category": self._market, "openOnly": "0", "limit": str(ORDERS_PAGE), **wanted}
            rows += await pages(self._api, "privateGetV5OrderRealtime", params)
        return tuple(read(order_report, row, symbol=name) for name, row in of_symbols(rows, symbols))

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, of half a year, oldest first; seven days are told at a time."""
        require_keys(self._context)
        now_ms = to_ms(self._context.clock.market_ns())
        rows = await self._executions_from({"symbol": instrument.venue_symbol}, to_ms_up(start_ns), now_ms)
        return self._fills(rows, instrument)

    async def _closed(self, params: Row, signal_ns: int) -> list[Row]:
        """Return an order that is over; without a time the orders of seven days are told, and it may be older."""
        path, now_ms = "GetV5OrderHistory", to_ms(self._context.clock.market_ns())
        rows = await self._list(path, params)
        # Of an order of somebody else's, as `btx panic` asks about, there is no signal.
        first_ms = max(to_ms(signal_ns), now_ms - SPANS * SPAN_MS) if signal_ns else now_ms
        for span_ms in range(first_ms, now_ms - SPAN_MS, SPAN_MS):
            until = {"startTime": str(span_ms), "endTime": str(span_ms + SPAN_MS - 1)}
            rows = rows or await self._list(path, {**params, **until})
        return rows

    async def _executions(self, named: Row, made_ms: int | None) -> list[Row]:
        """Return the executions of one order, which was made at ``made_ms``: without a time seven days are told."""
        now_ms = to_ms(self._context.clock.market_ns())
        if made_ms is not None and now_ms - made_ms >= SPAN_MS:
            return await self._executions_from(named, made_ms, now_ms)
        params = {"category": self._market, "limit": str(EXECUTIONS_PAGE), **named}
        return await pages(self._api, "privateGetV5ExecutionList", params)

    async def _executions_from(self, named: Row, start_ms: int, now_ms: int) -> list[Row]:
        params = {"category": self._market, "limit": str(EXECUTIONS_PAGE), **named}
        rows: list[Row] = []
        for span_ms in range(max(start_ms, now_ms - SPANS * SPAN_MS, 0), now_ms + 1, SPAN_MS):
            until = {"startTime": str(span_ms), "endTime": str(span_ms + SPAN_MS - 1)}
            rows += await pages(self._api, "privateGetV5ExecutionList", params | until)
        return rows

    async def _check_trigger(self, leg: Leg) -> None:
        request = leg.request
        symbol = {"category": SPOT, "symbol": request.instrument.venue_symbol}
        last = read(last_price, await ask(self._api, "publicGetV5MarketTickers", symbol))
        if has_passed(request, last):
            raise OrderRejectedError(
                f"Order would immediately trigger: the last price is {last}, and its trigger {request.trigger_price}"
            )

    def _fills(self, rows: Collection[Row], instrument: Instrument, of: PositionSide | None = None) -> tuple[Fill, ...]:
        is_hedged = instrument.venue_symbol in self._modes.hedged
        found = (
            read(
                fill,
                row,
                symbol=instrument.symbol,
                position_side=of or read(side_of_position, row, is_hedged=is_hedged),
            )
            for row in rows
            if read(is_fill, row)
        )
        return tuple(sorted(found, key=lambda each: each.time_ns))

    def _places(self, instruments: Collection[Instrument]) -> list[dict[str, str]]:
        """Return where open orders are looked for: in one instrument, or in all of them at once."""
        if len(instruments) == 1:
            return [{"symbol": each.venue_symbol} for each in instruments]
        if self._market != LINEAR:
            return [{}] if instruments else []
        return [{"settleCoin": each} for each in sorted({each.settle for each in instruments})]

    async def _list(self, path: str, params: Row) -> list[Row]:
        return list((await ask(self._api, f"private{path}", params)).get("list") or ())

    async def _send(self, what: str, params: Row, operation: Operation = Operation.PLACE) -> Row:
        if self._socket is not None:
            return await self._socket.ask(f"order.{what}", params, operation=operation)
        return await ask(self._api, f"privatePostV5Order{what.capitalize()}", params, operation=operation)


def _made_ms(row: Row) -> int | None:
    return int(row.get("createdTime") or 0) or None


def _is_trail(leg: Leg) -> bool:
    """Say whether an order of ours is a position's trailing stop, which has no name of ours there."""
    return leg.request.order_type is OrderType.TRAILING_STOP and "orderLinkId" in _named(leg)


def _named(leg: Leg) -> dict[str, str]:
    """Return what an order is asked for by: our name of it; the venue's, where it made the order or a hand did."""
    name = leg.client_order_id
    for start in (f"{VENUE_MADE}{leg.request.instrument.symbol}-", FOREIGN):
        if name.startswith(start):
            return {"orderId": name.removeprefix(start)}
    return {"orderLinkId": name}
