"""What is known of each order: every event is taken once, written down, and told."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import attrs

from btx.errors import BtxError, OrderTransitionError
from btx.model.account import AccountUpdate
from btx.model.journal import Event, GroupState, Intent, Sent
from btx.model.order import Fill, Leg, Order, OrderEvent, OrderReport, Origin
from btx.ports import Clock, Journal
from btx.rules.orders import apply, derived_fill, is_news, new_order
from btx.runtime.faultpoints import reach
from btx.runtime.mailbox import OrderUpdate

__all__ = ("Register", "is_heard_of")


def is_heard_of(order: Order) -> bool:
    """Say whether the venue has told anything of an order."""
    return order.evidence is not None or bool(order.fills)


class Register:
    """The orders of a session, and those of earlier ones that are not settled. Lives on btx-io."""

    def __init__(
        self,
        *,
        clock: Clock,
        journal: Journal | None,
        intent: Callable[[Leg], Intent] | None,
        post: Callable[[OrderUpdate | AccountUpdate], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._intent = intent
        self._post = post
        self._note = note
        self._progressed = progressed
        self._orders: dict[str, Order] = {}
        self._open: dict[str, Order] = {}  # those that are not settled
        self._legs: dict[str, list[tuple[int, str]]] = {}  # by owner and by group: how many orders are older, and id
        self._placing: dict[str, asyncio.Event] = {}  # until the placement was answered, or never will be
        self._held: dict[str, list[OrderEvent]] = {}  # of orders whose intent is not on disk, so nothing of them is
        self._foreign: set[str] = set()
        self._listeners: list[Callable[[Order | None, Order], None]] = []
        self.changed = asyncio.Event()
        self.is_recovering = False  # the strategy is told of nothing then
        self.sequence = 0  # highest venue sequence heard; venues count from 1

    @property
    def orders(self) -> Mapping[str, Order]:
        """Every order of this session by client order id."""
        return self._orders

    @property
    def open_orders(self) -> Mapping[str, Order]:
        """The orders that are not settled, by client order id: what work for each order may look at."""
        return self._open

    def legs(self, *names: str) -> list[Order]:
        """Return the orders of these owners and groups, oldest first."""
        found = {entry for name in names for entry in self._legs.get(name, ())}
        return [self._orders[client_order_id] for _, client_order_id in sorted(found)]

    def listen(self, on_change: Callable[[Order | None, Order], None]) -> None:
        """Call ``on_change(before, after)`` at each step of each order; before its first one ``before`` is None."""
        self._listeners.append(on_change)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that only changes with an order."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    # --- what is held ------------------------------------------------------------------------------------

    def add(self, leg: Leg) -> None:
        """Hold an order that is being placed.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        if leg.client_order_id in self._orders:
            raise BtxError(f"order {leg.client_order_id} was sent before: it is not sent again")
        order = new_order(leg)
        self._keep(order)
        self._placing[leg.client_order_id] = asyncio.Event()
        if self._journal is not None and self._intent is not None:
            self._held[leg.client_order_id] = []
        self._tell_listeners(None, order)

    def take_over(self, leg: Leg) -> None:
        """Hold an order that somebody else placed.

        Raises:
            BtxError: it is one of ours.
        """
        if self._journal is not None and self._intent is not None:
            self._journal.post(attrs.evolve(self._intent(leg), run="adopted"))
            self._journal.post(Sent(client_order_id=leg.client_order_id, time_ns=self._clock.wire_ns()))
        self.add(leg)
        self._journal_held(leg.client_order_id)
        self.end_placing(leg.client_order_id)
        self._foreign.discard(leg.client_order_id)

    def take_back(self, order: Order) -> None:
        """Hold an order of an earlier process as that left it."""
        self._keep(order)
        self._tell_listeners(None, order)

    def relabel(self, leg: Leg) -> None:
        """Change the leg of an order that was not sent yet."""
        before = self._orders[leg.client_order_id]
        after = attrs.evolve(before, leg=leg)
        self._keep(after)
        self._tell_listeners(before, after)

    def end_placing(self, client_order_id: str) -> None:
        """Take it that a placement was answered, or never will be."""
        if (placing := self._placing.pop(client_order_id, None)) is not None:
            placing.set()

    async def until_placed(self, client_order_id: str) -> None:
        """Wait until the placement of an order was answered, or never will be."""
        if (placing := self._placing.get(client_order_id)) is not None:
            await placing.wait()

    def _keep(self, order: Order) -> None:
        """Hold an order as it is now."""
        client_order_id = order.client_order_id
        is_new, older = client_order_id not in self._orders, len(self._orders)
        self._orders[client_order_id] = order
        if is_new:  # listed after it is held: the strategy's thread may look at its legs
            for name in {order.leg.owner_id, order.leg.group_id or order.leg.owner_id}:
                self._legs.setdefault(name, []).append((older, client_order_id))
        if order.is_settled:
            self._open.pop(client_order_id, None)
        else:
            self._open[client_order_id] = order

    def is_strange(self, client_order_id: str) -> bool:
        """Say whether an order was told as one that nobody here placed."""
        return client_order_id in self._foreign

    # --- what is heard -----------------------------------------------------------------------------------

    def on_event(self, event: OrderReport | Fill) -> None:
        """Take what the venue says about an order."""
        if event.sequence is not None:
            self.sequence = max(self.sequence, event.sequence)
        if (order := self._orders.get(event.client_order_id)) is not None:
            fill = derived_fill(order, event) if isinstance(event, OrderReport) else None
            if fill is not None:
                self.record(fill)
            self.record(event)
        elif event.client_order_id not in self._foreign:
            self._foreign.add(event.client_order_id)
            self._note("FOREIGN", f"{event.symbol}: order {event.client_order_id} was not placed by this run")
        self._progressed()

    def catch_up(self, sequence: int) -> None:
        """Take it that everything up to a venue sequence is known: it was asked for, not pushed."""
        self.sequence = max(self.sequence, sequence)
        self._progressed()

    def record(self, event: OrderEvent, *, is_written: bool = False) -> None:
        """Take an event: fold it into its order, write it down unless it is, and tell what is news."""
        reach("event.before")
        before = self._orders[event.client_order_id]
        try:
            after = apply(before, event)
        except OrderTransitionError as error:
            self._note("FAULT", f"order {event.client_order_id}: {error}")
            return
        if after is not before:
            self._keep(after)
            if not is_written:
                self._write_event(event)
        reach("event.after")
        self.changed.set()
        if after is not before:
            self._tell_listeners(before, after)
        if not is_news(before, after) or self.is_recovering:
            return
        self._post(OrderUpdate(event=event, order=after))
        if isinstance(event, Fill) and after.overfilled > before.overfilled and after.fills[-1].origin is Origin.CLIENT:
            self._note("FAULT", f"order {event.client_order_id} is overfilled by {after.overfilled}")

    async def record_durably(self, event: OrderEvent) -> None:
        """Take an event of our own, and have it on disk before anything follows from it.

        Raises:
            JournalError: it is not; it was taken all the same.
        """
        self.record(event, is_written=True)
        if self._journal is not None:
            await self._journal.append(Event(order_event=event), durable=True)

    def tell(self, client_order_id: str, event: OrderEvent | None = None) -> None:
        """Tell the strategy of an order as it is, after an event that changed nothing."""
        self._post(OrderUpdate(event=event, order=self._orders[client_order_id]))

    def _tell_listeners(self, before: Order | None, after: Order) -> None:
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception as error:  # noqa: BLE001 -- told; one that breaks takes nothing from the others
                self._note("FAULT", f"order {after.client_order_id}: {type(error).__name__}: {error}")

    # --- what is written down ----------------------------------------------------------------------------

    async def write_group(self, state: GroupState) -> None:
        """Have a group on disk before anything of it is sent.

        Raises:
            JournalError: it is not.
        """
        reach("group.before")
        if self._journal is not None:
            await self._journal.append(state, durable=True)
        reach("group.after")

    async def write_intents(self, legs: Sequence[Leg], *, is_written: bool = False) -> None:
        """Have orders on disk before anything else happens to them, unless they are, and tell that they are.

        Raises:
            JournalError: one of them is not; nothing was sent.
        """
        if is_written:
            return
        reach("intent.before")
        if self._journal is not None and self._intent is not None:
            journal, intent = self._journal, self._intent
            written = await asyncio.gather(
                *(journal.append(intent(leg), durable=True) for leg in legs), return_exceptions=True
            )
            for leg, error in zip(legs, written, strict=True):
                if error is None:
                    self._journal_held(leg.client_order_id)
            for error in written:
                if error is not None:
                    raise error
        reach("intent.after")
        for leg in legs:
            self.tell(leg.client_order_id)

    async def write_sent(self, legs: Sequence[Leg]) -> None:
        """Have it on disk that the orders may rest at the venue from here on.

        Raises:
            JournalError: it is not; nothing was sent.
        """
        reach("sent.before")
        if self._journal is not None:
            journal, now_ns = self._journal, self._clock.wire_ns()
            sent = [Sent(client_order_id=leg.client_order_id, time_ns=now_ns) for leg in legs]
            await asyncio.gather(*(journal.append(each, durable=True) for each in sent))
        reach("sent.after")

    def _write_event(self, event: OrderEvent) -> None:
        """Journal an event behind its order's intent; neither a cancel nor news ever waits for the disk."""
        if (held := self._held.get(event.client_order_id)) is not None:
            held.append(event)
        elif self._journal is not None:
            self._journal.post(Event(order_event=event))

    def _journal_held(self, client_order_id: str) -> None:
        for event in self._held.pop(client_order_id, ()):
            self._write_event(event)
