"""Orders out, states in: one intent makes one venue order, and a lost answer is asked for, never repeated."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from btx.model.account import AccountUpdate
from btx.model.journal import GroupState, Intent
from btx.model.order import (
    Fill,
    Leg,
    Order,
    OrderList,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    Part,
    Status,
    WireRef,
)
from btx.ports import Broker, Clock, Journal
from btx.rules.recovery import History, never_left, unfinished
from btx.runtime.changes import Changes
from btx.runtime.guard import Guard
from btx.runtime.mailbox import OrderUpdate
from btx.runtime.placing import NEVER, Placing, Resubmit
from btx.runtime.register import Register
from btx.runtime.requests import Requests
from btx.runtime.settling import Settling

__all__ = ("OrderDesk",)

_SETTLE_MARGIN_S = 1.0
_SETTLE_PAUSE_S = 2.0
_GRACE_S = 1.0
_NS_PER_S = 1_000_000_000
_NEWS_S = 5.0  # how long the account stream may be silent about an order the venue has taken


class OrderDesk:
    """All orders of a session, and those of earlier ones that are not settled. Lives on btx-io.

    ``patience_s`` is how long after an unanswered request the venue's "no such
    order" is not believed yet; default the receive window and a margin.
    ``plan`` splits an order into those the venue takes; ``prepare`` is that of a
    broker whose orders have a name on the wire.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        clock: Clock,
        guard: Guard,
        receive_window_s: float,
        one_at_a_time: bool,
        post: Callable[[OrderUpdate | AccountUpdate], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        patience_s: float | None = None,
        settle_pause_s: float = _SETTLE_PAUSE_S,
        grace_s: float = _GRACE_S,
        news_s: float = _NEWS_S,
        journal: Journal | None = None,
        intent: Callable[[Leg], Intent] | None = None,
        next_id: Callable[[], str] | None = None,
        can_replace: bool = False,
        can_amend: bool = False,
        can_cancel_all: bool = False,
        resubmit: Resubmit = NEVER,
        is_halted: Callable[[], bool] = lambda: False,
        overtaken: Callable[[Leg], str | None] = lambda _leg: None,
        plan: Callable[[OrderRequest, Iterable[Order]], tuple[Part, ...]] | None = None,
        prepare: Callable[..., Awaitable[WireRef]] | None = None,
    ) -> None:
        self._clock = clock
        self._grace_s = grace_s
        register = Register(clock=clock, journal=journal, intent=intent, post=post, note=note, progressed=progressed)
        requests = Requests(one_at_a_time=one_at_a_time, note=note, progressed=progressed)
        settling = Settling(
            register=register,
            requests=requests,
            broker=broker,
            clock=clock,
            guard=guard,
            note=note,
            never_arrived=self._send_again,
            patience_s=receive_window_s + _SETTLE_MARGIN_S if patience_s is None else patience_s,
            pause_s=settle_pause_s,
            news_s=news_s,
        )
        self._placing = Placing(
            register=register,
            settling=settling,
            requests=requests,
            broker=broker,
            clock=clock,
            guard=guard,
            note=note,
            next_id=next_id,
            resubmit=resubmit,
            is_halted=is_halted,
            overtaken=overtaken,
            plan=plan,
            prepare=prepare,
        )
        self._changes = Changes(
            register=register,
            settling=settling,
            requests=requests,
            placing=self._placing,
            broker=broker,
            clock=clock,
            guard=guard,
            can_replace=can_replace,
            can_amend=can_amend,
            can_cancel_all=can_cancel_all,
        )
        self._register, self._requests, self._settling = register, requests, settling

    # --- what is known -----------------------------------------------------------------------------------

    @property
    def orders(self) -> Mapping[str, Order]:
        """Every order of this session by client order id."""
        return self._register.orders

    @property
    def open_orders(self) -> Mapping[str, Order]:
        """The orders that are not settled, by client order id: what work for each order may look at."""
        return self._register.open_orders

    def is_strange(self, client_order_id: str) -> bool:
        """Say whether an order was told as one that nobody here placed."""
        return self._register.is_strange(client_order_id)

    @property
    def outstanding(self) -> int:
        """How many answers to requests and questions have not come."""
        return self._requests.outstanding

    @property
    def sent(self) -> int:
        """How many requests were ever sent."""
        return self._requests.sent

    @property
    def sequence(self) -> int:
        """The highest venue sequence heard; venues count from 1."""
        return self._register.sequence

    def legs(self, *names: str) -> list[Order]:
        """Return the orders of these owners and groups, oldest first."""
        return self._register.legs(*names)

    def listen(self, on_change: Callable[[Order | None, Order], None]) -> None:
        """Call ``on_change(before, after)`` at each step of each order; before its first one ``before`` is None."""
        self._register.listen(on_change)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that only changes with an order."""
        await self._register.until(condition)

    # --- out ---------------------------------------------------------------------------------------------

    def next_id(self) -> str:
        """Return a client order id nobody ever had.

        Raises:
            BtxError: this run has used up its ids, or the desk was given none.
        """
        return self._placing.next_id()

    def submit(self, leg: Leg) -> None:
        """Send an order: one leg, or the several that the venue wants of it, each with an id of its own.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        self._placing.submit(leg)

    def submit_list(self, order_list: OrderList) -> None:
        """Send the legs of a list in one request.

        Raises:
            BtxError: a leg of one of these ids was sent before.
        """
        self._placing.submit_list(order_list)

    async def write_group(self, state: GroupState) -> None:
        """Have a group on disk before anything of it is sent.

        Raises:
            JournalError: it is not.
        """
        await self._register.write_group(state)

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end, as :meth:`Changes.cancel` does."""
        self._changes.cancel(client_order_id)

    def cancel_many(self, client_order_ids: Iterable[str]) -> None:
        """Ask for the end of several orders, as :meth:`Changes.cancel_many` does."""
        self._changes.cancel_many(client_order_ids)

    def replace(self, client_order_id: str, new: Leg) -> None:
        """Put ``new`` in the place of an order, as :meth:`Changes.replace` does.

        Raises:
            BtxError: a leg of that id was sent before, or there is no such order.
        """
        self._changes.replace(client_order_id, new)

    def amends(self, client_order_id: str, request: OrderRequest) -> bool:
        """Say whether the venue can make ``request`` of an order and keep it."""
        return self._changes.amends(client_order_id, request)

    def amend(self, client_order_id: str, request: OrderRequest) -> None:
        """Have an order go on at the price of ``request``, as :meth:`Changes.amend` does.

        Raises:
            BtxError: there is no such order.
        """
        self._changes.amend(client_order_id, request)

    async def stop(self) -> None:
        """Let what is being sent be answered for a moment, then give up waiting for answers."""
        await self._settling.give_up()
        await self._requests.stop(self._grace_s)
        await self._settling.stop()

    def _send_again(self, leg: Leg) -> None:
        self._placing.send_again(leg)

    # --- in ----------------------------------------------------------------------------------------------

    def on_event(self, event: OrderReport | Fill) -> None:
        """Take what the venue says about an order."""
        self._register.on_event(event)

    def heard(self, sequence: int | None) -> None:
        """Take it that the venue has told up to this sequence, by news that was no order's."""
        if sequence is not None:
            self.catch_up(sequence)

    def catch_up(self, sequence: int) -> None:
        """Take it that everything up to a venue sequence is known: it was asked for, not pushed."""
        self._register.catch_up(sequence)

    def ask_about(self, client_order_ids: Iterable[str]) -> None:
        """Ask the venue about some orders."""
        for client_order_id in client_order_ids:
            self._settling.ask_about(self.orders[client_order_id].leg)

    async def settled(self) -> None:
        """Wait until every question to the venue is answered."""
        await self._settling.settled()

    # --- orders of others, and of earlier processes ------------------------------------------------------

    def recover(self, history: History) -> None:
        """Take over what earlier processes left open; the venue is not asked yet.

        What was intended and never sent is known to have ended. The strategy is
        told of nothing here: it finds the orders as they are when it starts.
        """
        self._register.is_recovering = True
        settling, patience_s = self._settling, self._settling.patience_s
        for client_order_id, order in unfinished(history).items():
            sent_ns = history.sent_ns.get(client_order_id)
            age_s = (self._clock.wire_ns() - sent_ns) / _NS_PER_S if sent_ns is not None else patience_s
            # The clock may have been set back.
            settling.be_patient(client_order_id, for_s=min(max(patience_s - age_s, 0.0), patience_s))
            self._register.take_back(order)
        for order in tuple(self.orders.values()):
            if order.status.is_final:
                settling.end_amendment(order.client_order_id)
            elif order.wanted is not None:
                settling.doubt_amendment(order.client_order_id, "the process ended while it was amended")
        for client_order_id in never_left(history):
            settling.conclude(self.orders[client_order_id].leg, "the process ended before it was sent: it never left")
        for order in tuple(self.open_orders.values()):
            if order.status is Status.PENDING_NEW and order.evidence is None:
                reason = "the process ended while it was sent"
                self._register.record(
                    OutcomeUnknown(
                        client_order_id=order.client_order_id, reason=reason, time_ns=self._clock.market_ns()
                    )
                )

    def recovered(self) -> None:
        """End the recovery: from here on the strategy is told of everything."""
        self._register.is_recovering = False

    def adopt(self, leg: Leg, report: OrderReport) -> None:
        """Take an order that somebody else placed as one of ours, and ask the venue for its fills."""
        if leg.client_order_id not in self.orders:
            self.take_over(leg)
            self._register.record(report)
            self._settling.ask_about(leg)

    def take_over(self, leg: Leg) -> None:
        """Take an order that somebody else placed as one of ours; what happens to it is told from here on.

        Raises:
            BtxError: it is one of ours.
        """
        self._register.take_over(leg)
        self._settling.be_patient(leg.client_order_id)
        if not self._register.is_recovering:
            self._register.tell(leg.client_order_id)

    def reopen(self, order: Order) -> None:
        """Take an order back that was settled in an earlier run: something was heard of it."""
        self._settling.be_patient(order.client_order_id)
        self._register.take_back(order)
