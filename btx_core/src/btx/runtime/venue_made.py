"""Orders nobody here sent, and yet with reason: liquidations, deliveries, and exits of orders and positions of ours.

A liquidation becomes an order of ours under a name made of its place.  An exit that the venue made of
an order (its take profit, its stop loss) becomes a child of that order, under the venue's name.  A
position's trailing stop is the order of ours that asked for it: its name is known once the venue tells.
"""

import functools
from collections.abc import Callable, Collection, Mapping

import attrs

from btx.errors import OrderNotFoundError
from btx.model.instrument import Instrument
from btx.model.order import Fill, Leg, Order, OrderReport, Origin
from btx.ports import Broker
from btx.rules.reconcile import adopted, attached_to, by_venue, named_by_place, trailing_with
from btx.runtime.guard import Guard
from btx.runtime.orders import OrderDesk

__all__ = ("VenueMade", "words_of_made")

_MADE = {Origin.LIQUIDATION: "LIQUIDATED", Origin.DELEVERAGING: "DELEVERAGED", Origin.DELIVERY: "DELIVERED"}
_OF_NOBODY = Origin.CLIENT, ""


def words_of_made(event: OrderReport | Fill, leg: Leg) -> tuple[str, str]:
    """Return the note about an order that the exchange made: its kind, and its text."""
    what = f"{leg.request.side.value} {leg.quantity}" + (f" at {event.price}" if event.price else "")
    return _MADE[event.origin], f"{event.symbol}: the exchange made an order: {what}"


class VenueMade:
    """Takes what the venue made as orders of ours. Lives on btx-io.

    ``orders`` are those of this run and of earlier ones, ``order`` finds one of them by its id.
    ``is_told`` says of an order of others that it was told.
    ``attaching`` are the params of orders of which the venue makes exits.
    """

    def __init__(
        self,
        *,
        desk: OrderDesk,
        broker: Broker,
        guard: Guard,
        instruments: Callable[[], Mapping[str, Instrument]],
        orders: Callable[[], Mapping[str, Order]],
        order: Callable[[str], Order | None],
        is_told: Callable[[str], bool],
        note: Callable[[str, str], None],
        attaching: Collection[str],
    ) -> None:
        self._desk = desk
        self._broker = broker
        self._guard = guard
        self._instruments = instruments
        self._orders = orders
        self._order = order
        self._is_told = is_told
        self._note = note
        self._attaching = attaching
        self._trails: dict[str, str] = {}  # by the venue's name: how a trailing stop of ours is named here
        self._early: set[str] = set()  # by the venue's name: filled before it was told, which says not whose it is
        self._known: dict[tuple[str, str], tuple[Origin, str]] = {}  # by place: who made what nobody here placed

    def take(self, event: OrderReport | Fill) -> OrderReport | Fill:
        """Take an order that the exchange made on the account as one of ours: it moved what we hold, with reason.

        Returns the event with the name such an order has here.
        """
        order = self._order(event.client_order_id)
        if order is not None and order.leg.parent_id is not None:
            return attrs.evolve(event, origin=Origin.ATTACHED)  # an execution does not say it everywhere
        if event.origin is Origin.ATTACHED and isinstance(event, OrderReport):
            return self.take_exit(event) or attrs.evolve(event, origin=Origin.CLIENT)  # a hand's
        if order is None and isinstance(event, Fill) and event.client_order_id:
            if (ours := self._of_trail(event)) is not None:
                return attrs.evolve(ours, origin=Origin.ATTACHED)
            if not self._is_strange(event.client_order_id):
                self._early.add(event.client_order_id)
        if event.origin is Origin.ATTACHED:
            # Of an order that is not known it is a hand's, for all we know.
            return event if order is not None else attrs.evolve(event, origin=Origin.CLIENT)
        event = named_by_place(event)
        instrument = self._instruments().get(event.symbol)
        if event.origin is Origin.CLIENT or instrument is None or self._order(event.client_order_id) is not None:
            return event
        leg = by_venue(event, instrument)
        if leg is not None:
            self._desk.take_over(leg)
            self._note(*words_of_made(event, leg))
        return event

    def take_exit(self, report: OrderReport) -> OrderReport | None:
        """Take an exit which the venue made of an order or a position of ours as ours too; None: it is none."""
        instrument = self._instruments().get(report.symbol)
        if report.origin is not Origin.ATTACHED or instrument is None:
            return None
        named = self.named(report)
        if self._order(named.client_order_id) is not None:
            return named
        strange = self._is_strange(report.client_order_id)
        parent = None if strange else attached_to(report, self._orders(), attaching=self._attaching)
        if parent is None:
            self._early.discard(report.client_order_id)  # a hand's, and stays one
            return None
        # It grows as its order fills; what closes a position, however large that is, may be told without a quantity.
        size = report.quantity if report.quantity and parent.status.is_final else parent.quantity
        leg = adopted(attrs.evolve(report, quantity=size), instrument)
        if leg is None:
            return None
        self._desk.take_over(attrs.evolve(leg, parent_id=parent.leg.owner_id))
        what = f"{leg.request.order_type.value} {leg.request.side.value} {leg.quantity}"
        where = f" at {report.trigger_price}" if report.trigger_price else ""
        whose = f"placed by the venue, for order {parent.client_order_id}"
        self._note("ATTACHED", f"{report.symbol}: {what}{where} was {whose}")
        return report

    def named(self, report: OrderReport) -> OrderReport:
        """Return a report of a position's trailing stop under the name it has here, any other as it is."""
        ours = self._of_trail(report) if report.origin is Origin.ATTACHED else None
        return ours if isinstance(ours, OrderReport) else report

    async def look_up(self, fill: Fill) -> Fill | None:
        """Return a fill of nobody here as one of an order the exchange made, None when a client made it.

        A list of fills does not say that, and the push that did may be lost: the order is asked for, until the venue
        has told of it, which may come after the fill.

        Raises:
            BtxError: the venue does not answer.
        """
        instrument, number = self._instruments()[fill.symbol], fill.venue_order_id
        if number is None or not (instrument.kind.is_margined or self._has_exits(fill.symbol)):
            return None
        if (fill.symbol, number) not in self._known:
            leg = by_venue(named_by_place(attrs.evolve(fill, origin=Origin.LIQUIDATION)), instrument)
            assert leg is not None  # a fill tells enough
            try:
                told = await self._guard.read("query", functools.partial(self._broker.query, leg=leg))
            except OrderNotFoundError:
                told = ()
            made = self._made_by(told)
            if made == _OF_NOBODY and not any(isinstance(each, OrderReport) for each in told):
                return None
            self._known[fill.symbol, number] = made
        origin, name = self._known[fill.symbol, number]
        return attrs.evolve(fill, origin=origin, client_order_id=name) if origin is not Origin.CLIENT else None

    def _made_by(self, told: Collection[OrderReport | Fill]) -> tuple[Origin, str]:
        """Return who made an order, by what is told of it, and its name here; a hand's exits are a client's."""
        for each in told:
            if each.origin is Origin.ATTACHED:
                ours = self.take_exit(each) if isinstance(each, OrderReport) else None
                if ours is not None:
                    return ours.origin, ours.client_order_id
            elif each.origin is not Origin.CLIENT:
                return each.origin, each.client_order_id
        return _OF_NOBODY

    def _has_exits(self, symbol: str) -> bool:
        """Say whether an order of ours had the venue make exits in an instrument."""
        requests = (order.leg.request for order in self._orders().values())
        return any(
            each.instrument.symbol == symbol and not each.params.keys().isdisjoint(self._attaching) for each in requests
        )

    def _of_trail(self, event: OrderReport | Fill) -> OrderReport | Fill | None:
        """Return an event of a trailing stop of ours that the venue keeps with a position; None: it is of none."""
        name = event.client_order_id
        if name not in self._trails:
            if self._order(name) is not None or self._is_strange(name):
                return None
            order = trailing_with(event, self._orders().values())
            if order is None:
                return None
            self._trails[name] = order.client_order_id  # as it moves, the venue tells of it again and again
        return attrs.evolve(event, client_order_id=self._trails[name])

    def _is_strange(self, client_order_id: str) -> bool:
        if client_order_id in self._early:
            return False
        return self._desk.is_strange(client_order_id) or self._is_told(client_order_id)
