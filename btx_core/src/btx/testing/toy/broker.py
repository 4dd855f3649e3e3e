"""Orders: each request is sent once, and a lost answer is said to be one.

REPLACE: the paths, and what an order is on the wire. Operations that the card does not declare are left out.
"""

from collections.abc import Collection
from typing import Any

from btx.bridges.decimals import plain
from btx.bridges.undeclared import UndeclaredBroker
from btx.bridges.verdicts import Operation
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt
from btx.model.time import to_ms_up
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import api
from btx.testing.toy.limits import PAGE

__all__ = ("ToyBroker", "order_row", "which")


class ToyBroker(UndeclaredBroker):
    """Orders out; states come back through the stream. See :class:`btx.ports.Broker`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over."""
        answer = await self._http.send("/v1/place", order_row(leg), Operation.PLACE)
        return self._http.answers.receipt(answer, "id")

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Hand orders over that are tied together at the venue."""
        orders = [order_row(leg) for leg in order_list.legs]
        body = {"client_id": order_list.list_id, "kind": order_list.kind.value, "orders": orders}
        answer = await self._http.send("/v1/place_list", body, Operation.PLACE)
        return self._http.answers.receipt(answer, "id")

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:  # noqa: ARG002 -- our own id will do
        """Ask the venue to cancel."""
        await self._http.send("/v1/cancel", which(leg), Operation.CANCEL)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask the venue to cancel every open order of an instrument."""
        await self._http.send("/v1/cancel_all", {"symbol": instrument.venue_symbol}, Operation.CANCEL)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state."""
        return await self._http.get("/v1/order", codec.order_with_fills, which(leg), signed=True)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments."""
        symbols = {each.symbol for each in instruments}
        reports = await self._http.rows("/v1/open_orders", codec.order_report, signed=True)
        return tuple(each for each in reports if each.symbol in symbols)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, oldest first: page by page, each from the last id on."""
        params = {"symbol": instrument.venue_symbol, "start": to_ms_up(start_ns), "limit": PAGE}
        return await self._http.pages(
            "/v1/fills", codec.fill, params, size=PAGE, after=lambda last: {"after": last.fill_id}
        )


def which(leg: Leg) -> dict[str, str]:
    """Return what names an order on the wire."""
    return {"symbol": leg.request.instrument.venue_symbol, "client_id": leg.client_order_id}


def order_row(leg: Leg) -> dict[str, Any]:
    """Return what an order is on the wire; what a user passed through to the venue goes first."""
    request = leg.request
    return {
        **request.params,
        **which(leg),
        "side": request.side.value,
        "type": request.order_type.value,
        "quantity": plain(leg.quantity),
        "price": None if request.price is None else plain(request.price),
        "trigger_price": None if request.trigger_price is None else plain(request.trigger_price),
        "time_in_force": request.time_in_force.value,
        "post_only": request.post_only,
        "reduce_only": request.reduce_only,  # margin
        "position_side": request.position_side.value,  # margin
    }
