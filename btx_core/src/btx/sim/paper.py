"""Paper trading: the venue's public streams, and an account of our own that trades against them.

What rests is filled by the public trades, behind the queue that was there before
it; what takes, takes from the book as a request fetched it when the order was
placed, so an order is as late as it would be at the venue.  The account keeps the
venue's grids, fees and order types.  It is an account stream that is lost when the
public stream is, and what traded meanwhile is fetched and matched, also after a
restart.

What differs from real orders: nobody notices a paper order, so it moves no price
and two of them never meet; the rules that an instrument's description does not
carry are not checked; rate limits on orders are ours alone.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import TypeVar

import attrs

from btx.config import Secret
from btx.errors import OrderNotFoundError, OrderRejectedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt, Status
from btx.model.venue import VenueInfo
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, Store, Stream
from btx.sim.exchange import Exchange
from btx.sim.orders import Refused, SimOrder
from btx.sim.paper_desk import PAPER_KEY, PaperDesk
from btx.sim.paper_ledger import Ledger
from btx.sim.paper_words import error_of, fill_of, new_list, new_order, report_of

__all__ = ("PaperVenue",)

T = TypeVar("T")

_PLACING = ("place", "replace")


class PaperVenue(Venue):
    """A venue whose orders stay here. Everything else is the adapter's.

    ``balances`` is what a new account begins with; ``ledger`` opens where it is
    kept, with each run.
    """

    def __init__(self, venue: Venue, *, balances: Mapping[str, Decimal], ledger: Callable[[], Ledger]) -> None:
        super().__init__(venue.manager, _with_costs(venue.info))
        self._inner = venue
        self._balances = balances
        self._ledger = ledger

    def store(self, context: Context) -> Store:
        return self._desk(context)

    def broker(self, context: Context) -> Broker:
        return _PaperBroker(self._desk(context))

    def feed(self, context: Context) -> Feed:
        return self._desk(context).feed

    def websocket(self, context: Context) -> Stream:
        return self._desk(context)

    def _desk(self, context: Context) -> PaperDesk:
        known: PaperDesk | None = context.shared.get("paper")
        if known is None:
            # The adapter is given no key: the name of a paper account is none, and public data want none.
            settings = attrs.evolve(context.settings, api_key=Secret(""), api_secret=Secret(""))
            public = attrs.evolve(context, settings=settings)
            ledger = self._ledger()
            context.resources.callback(ledger.close)
            known = context.shared["paper"] = PaperDesk(
                clock=context.clock,
                store=self._inner.store(public),
                feed=self._inner.feed(public),
                stream=self._inner.websocket(public),
                fees=lambda instrument: self._inner.commission(instrument, None),
                balances=self._balances,
                ledger=ledger,
            )
        return known


class _PaperBroker:
    """The venue's Broker port, in front of a paper account."""

    def __init__(self, desk: PaperDesk) -> None:
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


def _with_costs(info: VenueInfo) -> VenueInfo:
    """Return a visiting card whose orders cost the book they are placed against, too."""
    book = info.costs.get("book", {})
    costs = {
        name: {limit: cost.get(limit, 0) + book.get(limit, 0) for limit in (*cost, *book)}
        if name.startswith(_PLACING)
        else cost
        for name, cost in info.costs.items()
    }
    return attrs.evolve(info, costs=costs)
