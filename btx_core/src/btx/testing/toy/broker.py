"""Orders: each request is sent once, and a lost answer is said to be one."""

from collections.abc import Collection, Mapping
from typing import Any

from btx.bridges.decimals import plain
from btx.bridges.verdicts import Operation
from btx.errors import NotSupportedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt
from btx.model.time import to_ms
from btx.ports import Context
from btx.testing.toy import codec
from btx.testing.toy.api import ANSWERS, api
from btx.testing.toy.limits import PAGE

__all__ = ("ToyBroker",)


class ToyBroker:
    """Orders out; states come back through the stream. See :class:`btx.ports.Broker`."""

    def __init__(self, context: Context) -> None:
        self._http = api(context)

    async def place(self, *, leg: Leg) -> Receipt:
        """Hand one order over."""
        answer = await self._send("/v1/place", _order(leg), Operation.PLACE)
        return ANSWERS.receipt(answer, "id")

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Hand orders over that are tied together at the venue."""
        orders = [_order(leg) for leg in order_list.legs]
        body = {"client_id": order_list.list_id, "kind": order_list.kind.value, "orders": orders}
        return ANSWERS.receipt(await self._send("/v1/place_list", body, Operation.PLACE), "id")

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:  # noqa: ARG002 -- our own id will do
        """Ask the venue to cancel."""
        await self._send("/v1/cancel", _which(leg), Operation.CANCEL)

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Ask the venue to cancel every open order of an instrument."""
        await self._send("/v1/cancel_all", {"symbol": instrument.venue_symbol}, Operation.CANCEL)

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return the order's fills, oldest first, and then its state."""
        row = await self._http.ask("GET", "/v1/order", _which(leg), signed=True)
        report = ANSWERS.read(codec.order_report, row)
        return (*(ANSWERS.read(codec.fill, each) for each in row["fills"]), report)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these instruments."""
        rows = await self._http.ask("GET", "/v1/open_orders", signed=True)
        symbols = {each.symbol for each in instruments}
        reports = (ANSWERS.read(codec.order_report, row) for row in rows)
        return tuple(each for each in reports if each.symbol in symbols)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill from ``start_ns`` on, oldest first: page by page, each from the last id on."""
        found: list[Fill] = []
        params: dict[str, Any] = {"symbol": instrument.venue_symbol, "start": -to_ms(-start_ns), "limit": PAGE}
        while True:
            rows = await self._http.ask("GET", "/v1/fills", params, signed=True)
            found += [ANSWERS.read(codec.fill, row) for row in rows]
            if len(rows) < PAGE:
                return tuple(found)
            params["after"] = found[-1].fill_id

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002
        """Refuse: the core cancels and places instead, as the card does not declare it."""
        raise NotSupportedError(f"Toy replaces nothing: cancel {leg.client_order_id}")

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- ours will do
        """Give a resting limit order another price and whole quantity; it keeps its ids."""
        body = _order(new) | _which(leg)
        return ANSWERS.receipt(await self._send("/v1/amend", body, Operation.PLACE), "id")

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:  # noqa: ARG002
        """Refuse: the card does not declare it."""
        raise NotSupportedError(f"Toy cancels nothing by itself in {instrument.symbol}")

    async def _send(self, path: str, body: Mapping[str, Any], operation: Operation) -> Any:
        return await self._http.ask("POST", path, body=body, signed=True, operation=operation)


def _which(leg: Leg) -> dict[str, str]:
    return {"symbol": leg.request.instrument.venue_symbol, "client_id": leg.client_order_id}


def _order(leg: Leg) -> dict[str, Any]:
    """Return what an order is on the wire; what a user passed through to the venue goes first."""
    request = leg.request
    return {
        **request.params,
        **_which(leg),
        "side": request.side.value,
        "type": request.order_type.value,
        "quantity": plain(leg.quantity),
        "price": None if request.price is None else plain(request.price),
        "trigger_price": None if request.trigger_price is None else plain(request.trigger_price),
        "time_in_force": request.time_in_force.value,
        "post_only": request.post_only,
        "reduce_only": request.reduce_only,
        "position_side": request.position_side.value,
    }
