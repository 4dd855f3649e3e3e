"""The Broker port in front of an account of ours on margin: plain orders and conditional ones are one kind of leg."""

from collections.abc import Callable, Collection
from typing import Protocol, TypeVar

from btx.errors import OrderNotFoundError, OrderRejectedError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, OrderList, OrderReport, Receipt
from btx.ports import Clock
from btx.sim.conditionals import CONDITIONAL_TYPES, SimConditional
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import Refused, SimFill, SimOrder
from btx.sim.paper_desk import PAPER_KEY
from btx.sim.paper_margin_words import conditional_report, new_margin_order
from btx.sim.paper_words import error_of, fill_of, report_of

__all__ = ("MarginPaperBroker", "MarginSeat")

T = TypeVar("T")


class MarginSeat(Protocol):
    """What the broker needs: an exchange with an account named ``PAPER_KEY``, and the time there."""

    @property
    def exchange(self) -> MarginExchange:
        """Where the account is."""

    @property
    def clock(self) -> Clock:
        """The time of what is asked."""

    async def ready(self, instrument: Instrument) -> None:
        """Have the market of an instrument as it is now."""


class MarginPaperBroker:
    """The venue's Broker port, in front of an account of ours on margin."""

    def __init__(self, desk: MarginSeat) -> None:
        self._desk = desk

    async def place(self, *, leg: Leg) -> Receipt:
        """Place one order against the market as it is now."""
        await self._desk.ready(leg.request.instrument)
        order = new_margin_order(leg)
        if order.order_type in CONDITIONAL_TYPES:
            waiting = self._do(
                lambda exchange, now_ns: exchange.place_conditional(api_key=PAPER_KEY, order=order, now_ns=now_ns)
            )
            return Receipt(venue_order_id=f"algo:{waiting.conditional_id}", time_ns=waiting.created_ns)
        placed = self._do(lambda exchange, now_ns: exchange.place(api_key=PAPER_KEY, order=order, now_ns=now_ns))
        return Receipt(venue_order_id=str(placed.order_id), time_ns=placed.created_ns)

    async def place_list(self, *, order_list: OrderList) -> Receipt:
        """Refuse: there are no order lists on margin, so nobody asks for one."""
        raise OrderRejectedError(f"paper: no {order_list.kind.value} lists on margin: place the orders one by one")

    async def replace(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:
        """Refuse: an order on margin is cancelled, and another placed."""
        raise OrderRejectedError(
            f"paper: {leg.client_order_id} ({venue_order_id}) is not replaced by {new.client_order_id} in one request"
        )

    async def amend(self, *, leg: Leg, venue_order_id: str | None, new: Leg) -> Receipt:  # noqa: ARG002 -- ours do
        """Give an order another price and quantity, as the exchange does it."""
        instrument, price = leg.request.instrument, new.request.price
        if price is None:
            raise OrderRejectedError("paper: only limit orders are amended")
        await self._desk.ready(instrument)
        order, amendment = self._do(
            lambda exchange, now_ns: exchange.modify(
                api_key=PAPER_KEY,
                venue_symbol=instrument.venue_symbol,
                client_order_id=leg.client_order_id,
                price=price,
                quantity=new.quantity,
                now_ns=now_ns,
            )
        )
        if amendment is None:
            raise OrderRejectedError("paper: the amendment ended the order: so much has filled, or it would have taken")
        return Receipt(venue_order_id=str(order.order_id), time_ns=amendment.time_ns)

    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None:  # noqa: ARG002 -- ours do
        """Cancel an order: while it waits for its price as such, and then the order it has made."""
        waiting = self._waiting(leg)
        if waiting is not None and waiting.is_open:
            self._do(
                lambda exchange, now_ns: exchange.cancel_conditional(
                    api_key=PAPER_KEY, conditional_id=waiting.conditional_id, now_ns=now_ns
                )
            )
            return
        self._do(
            lambda exchange, now_ns: exchange.cancel(
                api_key=PAPER_KEY,
                venue_symbol=leg.request.instrument.venue_symbol,
                client_order_id=leg.client_order_id,
                now_ns=now_ns,
            )
        )

    async def cancel_all(self, *, instrument: Instrument) -> None:
        """Cancel every open order of an instrument, those that wait for a price with them."""
        symbol = instrument.venue_symbol
        orders = self._do(
            lambda exchange, now_ns: (
                *exchange.cancel_all(api_key=PAPER_KEY, venue_symbol=symbol, now_ns=now_ns),
                *exchange.cancel_all_conditionals(api_key=PAPER_KEY, venue_symbol=symbol, now_ns=now_ns),
            )
        )
        if not orders:
            raise OrderNotFoundError(f"paper: no order is open in {instrument.symbol}")

    async def dead_man(self, *, instrument: Instrument, after_s: float | None) -> None:
        """Nothing: these orders end with this process, and wait for the next one."""

    async def query(self, *, leg: Leg) -> tuple[OrderReport | Fill, ...]:
        """Return what became of an order."""
        instrument = leg.request.instrument
        waiting = self._waiting(leg)
        if waiting is not None and (report := conditional_report(waiting, symbol=instrument.symbol)) is not None:
            return (report,)
        order = self._do(
            lambda exchange, _: exchange.order(
                api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol, client_order_id=leg.client_order_id
            )
        )
        return (_report(order, instrument), *(_fill(fill, instrument) for fill in order.fills))

    async def open_orders(self, *, instruments: Collection[Instrument]) -> tuple[OrderReport, ...]:
        """Return what rests in these instruments, and what waits for a price."""
        exchange, reports = self._desk.exchange, []
        for instrument in instruments:
            symbol = instrument.venue_symbol
            orders = exchange.open_orders(api_key=PAPER_KEY, venue_symbol=symbol)
            waiting = exchange.open_conditionals(api_key=PAPER_KEY, venue_symbol=symbol)
            reports += [_report(order, instrument) for order in orders]
            reports += [
                report for each in waiting if (report := conditional_report(each, symbol=instrument.symbol)) is not None
            ]
        return tuple(reports)

    async def fills(self, *, instrument: Instrument, start_ns: int) -> tuple[Fill, ...]:
        """Return every fill of an instrument from a time on."""
        fills = self._desk.exchange.fills(api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol)
        return tuple(_fill(fill, instrument) for fill in fills if fill.time_ns >= start_ns)

    def _waiting(self, leg: Leg) -> SimConditional | None:
        if leg.request.order_type not in CONDITIONAL_TYPES:
            return None
        return self._do(
            lambda exchange, _: exchange.conditional(api_key=PAPER_KEY, client_order_id=leg.client_order_id)
        )

    def _do(self, command: Callable[[MarginExchange, int], T]) -> T:
        try:
            return command(self._desk.exchange, self._desk.clock.market_ns())
        except Refused as refused:
            raise error_of(refused) from refused


def _report(order: SimOrder, instrument: Instrument) -> OrderReport:
    return report_of(order, symbol=instrument.symbol)


def _fill(fill: SimFill, instrument: Instrument) -> Fill:
    return fill_of(fill, symbol=instrument.symbol, is_margined=True)
