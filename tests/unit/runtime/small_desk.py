"""A desk small enough to be read: the real rules of orders over a toy venue, and a journal that outlives it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import attrs

from btx.errors import BtxError, JournalError, OrderNotFoundError, OutcomeUnknownError
from btx.model.journal import Event, GroupState
from btx.model.order import (
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Fill,
    Group,
    Leg,
    Order,
    OrderEvent,
    OrderList,
    OrderReport,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Status,
)
from btx.model.venue import Channel, Subscription
from btx.rules.orders import apply, new_order
from btx.runtime.tasks import Tasks
from btx.runtime.wishes import Wishes
from tests.toy_venue import ToyVenue

OnChange = Callable[[Order | None, Order], None]


class SmallDesk:
    """Does what the keeper asks of a desk; ``journal`` is what a crash leaves."""

    def __init__(self, toy: ToyVenue, journal: list[Leg | Event | GroupState], *, replaces: bool = True) -> None:
        self.toy = toy
        self.journal = journal
        self.orders: dict[str, Order] = {}
        self.disk_is_full = False
        self.disk: asyncio.Event | None = None  # what a write waits for
        self.faults: list[str] = []
        self.forgets = False  # to place what was to take the place of another
        self._replaces = replaces
        self._listeners: list[OnChange] = []
        self._tasks = Tasks(lambda what, error: self.faults.append(f"{what}: {error!r}"))
        self._ids = itertools.count(len(journal))
        for record in journal:
            if isinstance(record, Leg):
                self.orders[record.client_order_id] = new_order(record)
            elif isinstance(record, Event):
                before = self.orders[record.client_order_id]
                self.orders[record.client_order_id] = apply(before, record.order_event)

    async def start(self) -> None:
        """Connect, and ask what became of everything that was open."""
        self._tasks.start(self._listen(), what="stream")
        await self.toy.until(lambda: bool(self.toy.of(Channel.ACCOUNT)))
        for order in list(self.orders.values()):
            if not order.is_settled:
                await self._ask(order.leg)

    async def stop(self) -> None:
        await self._tasks.stop()

    def groups(self) -> list[Group]:
        return list({each.group.group_id: each.group for each in self.journal if isinstance(each, GroupState)}.values())

    # --- what the keeper asks -------------------------------------------------------------------------------

    @property
    def open_orders(self) -> dict[str, Order]:
        return {name: order for name, order in self.orders.items() if not order.is_settled}

    def legs(self, *names: str) -> list[Order]:
        return [order for order in self.orders.values() if {order.leg.owner_id, order.leg.group_id} & {*names}]

    def next_id(self) -> str:
        return f"id{next(self._ids)}"

    def listen(self, on_change: OnChange) -> None:
        self._listeners.append(on_change)

    async def _write(self, state: GroupState) -> None:
        if self.disk is not None:
            await self.disk.wait()
        if self.disk_is_full:
            raise JournalError("the disk is full")
        self.journal.append(state)

    def write_group(self, state: GroupState) -> Awaitable[None]:
        return self._write(state)

    def submit(self, leg: Leg) -> None:
        self._begin(leg)
        self._tasks.start(self._request([leg], self.toy.place(leg=leg)), what="place")

    def submit_list(self, order_list: OrderList) -> None:
        for leg in order_list.legs:
            self._begin(leg)
        self._tasks.start(
            self._request(list(order_list.legs), self.toy.place_list(order_list=order_list)), what="place list"
        )

    def cancel(self, client_order_id: str) -> None:
        order = self.orders[client_order_id]
        if not order.status.is_final and order.pending is None:
            self._record(CancelRequested(client_order_id=client_order_id, time_ns=self.toy.now_ns))
            self._tasks.start(self._cancel(order.leg), what="cancel")

    def replace(self, client_order_id: str, new: Leg) -> None:
        old = self.orders[client_order_id].leg
        if self._replaces:
            self._begin(new)
            work = self.toy.replace(leg=old, venue_order_id=None, new=new)
            self._tasks.start(self._request([new], work), what="replace")
        else:
            self._tasks.start(self._exchange(old, new), what="exchange")

    # --- inside ------------------------------------------------------------------------------------------------

    def _begin(self, leg: Leg) -> None:
        assert leg.client_order_id not in self.orders, "an id was used twice"
        self.journal.append(leg)
        self.orders[leg.client_order_id] = new_order(leg)
        self._tell(None, self.orders[leg.client_order_id])

    async def _request(self, legs: list[Leg], work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        except OutcomeUnknownError as error:
            for leg in legs:
                self._record(
                    OutcomeUnknown(client_order_id=leg.client_order_id, reason=str(error), time_ns=self.toy.now_ns)
                )
            for leg in legs:
                await self._ask(leg)
        except BtxError as error:
            for leg in legs:
                self._record(
                    PlaceRefused(client_order_id=leg.client_order_id, reason=str(error), time_ns=self.toy.now_ns)
                )

    async def _cancel(self, leg: Leg) -> None:
        try:
            await self.toy.cancel(leg=leg, venue_order_id=None)
        except OutcomeUnknownError as error:
            self._record(
                OutcomeUnknown(
                    client_order_id=leg.client_order_id,
                    reason=str(error),
                    pending=Pending.CANCEL,
                    time_ns=self.toy.now_ns,
                )
            )
            await self._ask(leg)
        except BtxError as error:
            self._record(
                CancelResult(
                    client_order_id=leg.client_order_id,
                    outcome=CancelOutcome.REFUSED,
                    reason=str(error),
                    time_ns=self.toy.now_ns,
                )
            )

    async def _exchange(self, old: Leg, new: Leg) -> None:
        await self.toy.cancel(leg=old, venue_order_id=None)
        await self._ask(old)
        rest = self.orders[old.client_order_id].remaining
        if rest and not self.forgets:
            self.submit(attrs.evolve(new, quantity=rest))

    async def _ask(self, leg: Leg) -> None:
        try:
            for event in await self.toy.query(leg=leg):
                self.on_event(event)
        except OrderNotFoundError:
            self._record(
                OrderReport(
                    client_order_id=leg.client_order_id,
                    symbol=leg.request.instrument.symbol,
                    status=Status.REJECTED,
                    time_ns=self.toy.now_ns,
                    reason="it never arrived",
                    inferred=True,
                )
            )

    async def _listen(self) -> None:
        await self.toy.run(wanted=Wishes([Subscription(channel=Channel.ACCOUNT)]), sink=self.on_event)

    def on_event(self, event: object) -> None:
        if isinstance(event, OrderReport | Fill):
            self._record(event)

    def _record(self, event: OrderEvent) -> None:
        before = self.orders[event.client_order_id]
        after = self.orders[event.client_order_id] = apply(before, event)
        if after is not before:
            self.journal.append(Event(order_event=event))
            self._tell(before, after)

    def _tell(self, before: Order | None, after: Order) -> None:
        for each in self._listeners:
            each(before, after)
