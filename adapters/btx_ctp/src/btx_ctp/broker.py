"""Orders out: inserted by a reference of the session's, cancelled by the same or by the exchange's number."""

from collections.abc import Collection
from decimal import Decimal

from btx.bridges.undeclared import UndeclaredBroker
from btx.errors import OrderNotFoundError, OrderRejectedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderReport, OrderType, Receipt, Side, WireRef
from btx.ports import Context
from btx_ctp import codec
from btx_ctp.api import api
from btx_ctp.spi import Row

__all__ = ("CtpBroker",)

_REF, _FRONT, _SESSION = "OrderRef", "FrontID", "SessionID"


class CtpBroker(UndeclaredBroker):
    """The orders of one account."""

    def __init__(self, context: Context) -> None:
        self._api = api(context)

    async def prepare(self, *, leg: Leg) -> WireRef:
        """Name an order: front, session and a reference higher than any before.

        Raises:
            TransportError: there is no session.
        """
        front = await self._api.front()
        if leg.request.order_type is OrderType.MARKET:
            await self._api.band(leg.request.instrument.venue_symbol)  # asked before anything is under way
        return {_REF: front.next_ref(), _FRONT: str(front.front_id), _SESSION: str(front.session_id)}

    async def place(self, *, leg: Leg) -> Receipt:
        """Insert an order; one at the market is a limit at the day's last price for it, which ends at once.

        Raises:
            OrderRejectedError: it is refused.
            OutcomeUnknownError: nobody said what became of it.
            TransportError: it never left.
        """
        front = await self._api.front()
        wire = leg.wire if leg.wire is not None else await self.prepare(leg=leg)
        triple = _triple(wire)
        if triple[:2] != (front.front_id, front.session_id):
            raise OrderRejectedError("the order was named in a session that is over: it was not sent")
        fields = codec.input_order(
            leg,
            await self._limit(leg),
            broker_id=self._api.login.broker_id,
            user=self._api.login.user,
            order_ref=wire[_REF],
        )
        request_id, answer = front.requests.send("ReqOrderInsert", "InputOrder", fields, what="an order")
        forget = self._api.expect("place", triple, request_id)
        try:
            await front.requests.settle(request_id, answer, what="an order")
        finally:
            forget()
        return Receipt(venue_order_id=None)

    async def _limit(self, leg: Leg) -> Decimal:
        """Return the price to send.

        Raises:
            OrderRejectedError: it is at the market, and nobody knows the prices of the day.
        """
        request = leg.request
        if request.order_type is not OrderType.MARKET:
            if request.price is None:
                raise OrderRejectedError(f"CTP has no {request.order_type.value} orders: give a price")
            return request.price
        band = await self._api.band(request.instrument.venue_symbol)
        if band is None:
            raise OrderRejectedError(
                f"no price limits of {request.instrument.symbol} are told: give a price, as it has no market orders"
            )
        low, high = band
        return high if request.side is Side.BUY else low

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:
        """Cancel an order, by its name in the session it was sent in, or by the exchange's number.

        Raises:
            OrderNotFoundError: it is not open (any more).
            OutcomeUnknownError: no answer came.
            TransportError: it never left.
        """
        front = await self._api.front()
        wire = leg.wire
        if wire is None and venue_order_id is None:
            raise OrderNotFoundError("the order has no name at CTP: it was never sent")
        instrument = leg.request.instrument
        row = self._api.contracts.get(instrument.symbol)
        fields = {
            "BrokerID": self._api.login.broker_id,
            "InvestorID": self._api.login.user,
            "UserID": self._api.login.user,
            "ActionFlag": "0",  # delete
            "InstrumentID": instrument.venue_symbol,
            "ExchangeID": row["ExchangeID"] if row is not None else "",
        }
        triple = _triple(wire) if wire is not None else (0, 0, "")
        if wire is not None:
            fields |= {_REF: triple[2], _FRONT: triple[0], _SESSION: triple[1]}
        else:
            fields["OrderSysID"] = f"{venue_order_id:>12}"
        request_id, answer = front.requests.send("ReqOrderAction", "InputOrderAction", fields, what="a cancel")
        forget = self._api.expect("cancel", triple, request_id)
        try:
            await front.requests.settle(request_id, answer, what="a cancel")
        finally:
            forget()

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what the counter knows of an order of today: its state and its trades.

        Raises:
            OrderNotFoundError: it has none of that memo today.
        """
        symbol = leg.request.instrument.venue_symbol
        found = [row for row in await self._orders(symbol) if codec.name_of(row) == leg.client_order_id]
        if not found:
            raise OrderNotFoundError(f"CTP has no order {leg.client_order_id} today")
        reports = tuple(each for row in found if (each := self._api.report(row)) is not None)
        if not any(each.filled for each in reports):
            return reports
        fills = (self._api.fill(row) for row in await self._trades(symbol))
        own = (each for each in fills if each is not None and each.client_order_id == leg.client_order_id)
        return (*reports, *own)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return all orders that rest now in these contracts, whoever placed them."""
        wanted = {each.symbol for each in instruments}
        reports = (self._api.report(row) for row in await self._orders(""))
        return tuple(
            each for each in reports if each is not None and each.symbol in wanted and not each.status.is_final
        )

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return the trades of today from a time on; CTP keeps none of other days."""
        await self._orders(instrument.venue_symbol)  # which tell whose they are
        found = (self._api.fill(row) for row in await self._trades(instrument.venue_symbol))
        return tuple(
            sorted(
                (each for each in found if each is not None and each.time_ns >= start_ns),
                key=lambda each: (each.time_ns, each.fill_id),
            )
        )

    async def _orders(self, symbol: str) -> list[Row]:
        front = await self._api.front()
        return await front.query("Order", what="the orders", InstrumentID=symbol)

    async def _trades(self, symbol: str) -> list[Row]:
        front = await self._api.front()
        return await front.query("Trade", what="the trades", InstrumentID=symbol)


def _triple(wire: WireRef) -> tuple[int, int, str]:
    return int(wire[_FRONT]), int(wire[_SESSION]), wire[_REF]
