"""The Broker port in front of an exchange of ours: of a paper account, or of a venue in this process."""

import contextlib
from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from btx.errors import OrderNotFoundError, OrderRejectedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt, Status
from btx.ports import Clock
from btx.sim.exchange import Exchange
from btx.sim.orders import Refused, SimOrder
from btx.sim.paper_desk import PAPER_KEY
from btx.sim.paper_words import error_of, fill_of, new_list, new_order, report_of

__all__ = ("Desk", "PaperBroker")

T = TypeVar("T")


class Desk(Protocol):
    """What the broker needs: an exchange with an account named ``PAPER_KEY``, and the time there."""

    @property
    def exchange(self) -> Exchange:
        """Where the account is."""

    @property
    def clock(self) -> Clock:
        """The time of what is asked."""

    async def ready(self, instrument: Instrument) -> None:
        """Have the market of an instrument as it is now."""


class PaperBroker:
    """The venue's Broker port, in front of an account of ours."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def place(self, *, leg: Leg) -> Receipt:
        """Place one order against the market as it is now."""
        await self._desk.ready(leg.request.instrument)
        order = self._do(
            lambda exchange, now_ns: exchange.place(api_key=PAPER_KEY, order=new_order(leg), now_ns=now_ns)
        )
        return Receipt(venue_order_id=str(order.order_id), time_ns=order.created_ns)

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Place an order list, whole or not at all."""
        await self._desk.ready(order_list.legs[0].request.instrument)
        taken, _ = self._do(
            lambda exchange, now_ns: exchange.place_list(
                api_key=PAPER_KEY, order_list=new_list(order_list), now_ns=now_ns
            )
        )
        return Receipt(venue_order_id=str(taken.list_id), time_ns=taken.created_ns)

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- ours do
        """Cancel an order that has not filled, and place another in its stead."""
        await self._desk.ready(leg.request.instrument)
        came = self._do(
            lambda exchange, now_ns: exchange.replace(
                api_key=PAPER_KEY,
                order=new_order(new),
                client_order_id=leg.client_order_id,
                only=Status.NEW,
                stop_on_failure=True,
                now_ns=now_ns,
            )
        )
        if came.placed is None:
            refused = came.cancel_refused or came.place_refused
            raise OrderRejectedError(f"paper: the new order was not placed: {refused}")
        return Receipt(venue_order_id=str(came.placed.order_id), time_ns=came.placed.created_ns)

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Refuse: on spot an order is replaced."""
        raise OrderRejectedError(
            f"paper: {leg.client_order_id} ({venue_order_id}) is not amended to {new.quantity}: replace it"
        )

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:  # noqa: ARG002 -- ours do
        """Cancel an order, with the list it is in."""
        self._do(
            lambda exchange, now_ns: exchange.cancel(
                api_key=PAPER_KEY,
                venue_symbol=leg.request.instrument.venue_symbol,
                client_order_id=leg.client_order_id,
                now_ns=now_ns,
            )
        )

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Cancel every open order of an instrument."""
        orders = self._desk.exchange.open_orders(api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol)
        if not orders:
            raise OrderNotFoundError(f"paper: no order is open in {instrument.symbol}")
        for order in orders:
            with contextlib.suppress(OrderNotFoundError):  # its list went with another of its orders
                self._cancel(order)

    def _cancel(self, order: SimOrder) -> None:
        self._do(
            lambda exchange, now_ns: exchange.cancel(
                api_key=PAPER_KEY, venue_symbol=order.venue_symbol, order_id=order.order_id, now_ns=now_ns
            )
        )

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        """Nothing: these orders end with this process, and wait for the next one."""

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what became of an order."""
        instrument = leg.request.instrument
        order = self._do(
            lambda exchange, _: exchange.order(
                api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol, client_order_id=leg.client_order_id
            )
        )
        fills = (fill_of(fill, symbol=instrument.symbol) for fill in order.fills)
        return (report_of(order, symbol=instrument.symbol), *fills)

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return what rests in these instruments."""
        return tuple(
            report_of(order, symbol=instrument.symbol)
            for instrument in instruments
            for order in self._desk.exchange.open_orders(api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol)
        )

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill of an instrument from a time on."""
        fills = self._desk.exchange.fills(api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol)
        return tuple(fill_of(fill, symbol=instrument.symbol) for fill in fills if fill.time_ns >= start_ns)

    def _do(self, command: Callable[[Exchange, int], T]) -> T:
        try:
            return command(self._desk.exchange, self._desk.clock.market_ns())
        except Refused as refused:
            raise error_of(refused) from refused
