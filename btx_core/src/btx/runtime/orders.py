"""Orders out, states in: one intent makes one venue order, and a lost answer is asked for, never repeated."""

import asyncio
import contextlib
import functools
import itertools
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from btx.errors import (
    BtxError,
    InsufficientFundsError,
    JournalError,
    OrderNotFoundError,
    OrderTransitionError,
    OutcomeUnknownError,
    PluginError,
    TransportError,
    VenueError,
)
from btx.model.account import BalanceUpdate
from btx.model.journal import Event, Intent, Sent
from btx.model.order import (
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Fill,
    Leg,
    Order,
    OrderEvent,
    OrderReport,
    OrderRequest,
    OutcomeUnknown,
    Pending,
    PlaceRefused,
    Status,
)
from btx.model.venue import ClientIdSpec
from btx.ports import Broker, Clock, Journal
from btx.rules.orders import apply, is_news, new_order
from btx.runtime.guard import Guard
from btx.runtime.mailbox import OrderUpdate
from btx.runtime.tasks import Tasks

__all__ = ("ClientIds", "OrderDesk", "one_leg")

_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_ID_LENGTH = 12
_IDS_EPOCH_S = 1_735_689_600  # 2025-01-01, so that six digits last until 2059
_SETTLE_MARGIN_S = 1.0
_SETTLE_PAUSE_S = 2.0
_GRACE_S = 1.0
_NEWS_S = 5.0  # how long the account stream may be silent about an order the venue has taken


def _base32(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(_BASE32[digit])
    return "".join(reversed(digits))


class ClientIds:
    """Client order ids: 8 characters of the run, 4 of a counter; never two alike, also across restarts."""

    def __init__(self, spec: ClientIdSpec) -> None:
        """Begin a run.

        Raises:
            PluginError: the venue's ids are shorter than ours, or lack some of our characters.
        """
        if spec.max_len < _ID_LENGTH or not set(_BASE32) <= set(spec.alphabet):
            raise PluginError(
                f"the venue's client order ids have at most {spec.max_len} of the characters {spec.alphabet!r}; "
                f"ours have {_ID_LENGTH} of {_BASE32!r}"
            )
        seconds = int(time.time()) - _IDS_EPOCH_S
        self.run = _base32(seconds, 6) + _base32(secrets.randbits(10), 2)
        self._counter = itertools.count()

    def next(self) -> str:
        """Return the next id. Any thread.

        Raises:
            BtxError: a million orders in one run; start a new one.
        """
        number = next(self._counter)
        if number >= 32**4:
            raise BtxError("this run has used up its 1,048,576 client order ids: restart the strategy")
        return self.run + _base32(number, 4)


class OrderDesk:
    """All orders of a session. Lives on btx-io.

    ``patience_s`` is how long after an unanswered request the venue's "no such
    order" is not believed yet; default the receive window and a margin.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        clock: Clock,
        guard: Guard,
        receive_window_s: float,
        one_at_a_time: bool,
        post: Callable[[OrderUpdate | BalanceUpdate], None],
        note: Callable[[str, str], None],
        progressed: Callable[[], None],
        patience_s: float | None = None,
        settle_pause_s: float = _SETTLE_PAUSE_S,
        grace_s: float = _GRACE_S,
        news_s: float = _NEWS_S,
        journal: Journal | None = None,
        intent: Callable[[Leg], Intent] | None = None,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._guard = guard
        self._patience_s = receive_window_s + _SETTLE_MARGIN_S if patience_s is None else patience_s
        self._settle_pause_s = settle_pause_s
        self._grace_s = grace_s
        self._news_s = news_s
        self._journal = journal
        self._intent = intent
        self._post = post
        self._note = note
        self._progressed = progressed
        self._orders: dict[str, Order] = {}
        self._placed: dict[str, asyncio.Event] = {}  # set when the placement was answered, or never will be
        self._believed_at: dict[str, float] = {}  # loop time from which "no such order" is believed
        self._foreign: set[str] = set()
        self._changed = asyncio.Event()
        self._requests = Tasks(self._on_broken)
        self._questions = Tasks(self._on_broken)
        self._settling: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock() if one_at_a_time else None
        self.outstanding = 0  # requests and questions whose answer has not come
        self.sent = 0  # requests ever sent
        self.sequence = 0  # highest venue sequence heard; venues count from 1

    @property
    def orders(self) -> Mapping[str, Order]:
        """Every order of this session by client order id."""
        return self._orders

    # --- out ---------------------------------------------------------------------------------------------

    def submit(self, leg: Leg) -> None:
        """Send one leg.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        if leg.client_order_id in self._orders:
            raise BtxError(f"order {leg.client_order_id} was sent before: it is not sent again")
        self._orders[leg.client_order_id] = new_order(leg)
        self._placed[leg.client_order_id] = asyncio.Event()
        self._request(self._place(leg), f"placing order {leg.client_order_id}")

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end; of an order that is not open any more, or not of this session, nothing happens.

        A cancel that got no answer may be asked for again; one that is on its way is not.
        """
        order = self._orders.get(client_order_id)
        if order is None or order.status.is_final or (order.pending is not None and not order.unanswered):
            return
        self._record(CancelRequested(client_order_id=client_order_id, time_ns=self._clock.market_ns()))
        self._request(self._cancel(order.leg), f"cancelling order {client_order_id}")

    async def withdraw(self, client_order_ids: Collection[str]) -> None:
        """Cancel orders and wait until all of them have ended, with every fill."""
        for client_order_id in client_order_ids:
            self.cancel(client_order_id)
        known = self._orders.keys() & set(client_order_ids)
        while not all(self._orders[client_order_id].is_settled for client_order_id in known):
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Let what is being sent be answered for a moment, then give up waiting for answers."""
        await self._questions.stop()
        await self._requests.drain(self._grace_s)
        await self._requests.stop()
        await self._questions.stop()

    def _request(self, work: Coroutine[Any, Any, None], what: str) -> None:
        self.sent += 1
        self._count(self._requests.start(self._in_turn(work), what=what))

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._turn or contextlib.nullcontext():
            await work

    def _count(self, task: "asyncio.Task[None]") -> None:
        def answered(_task: "asyncio.Task[None]") -> None:
            self.outstanding -= 1
            self._progressed()

        self.outstanding += 1
        task.add_done_callback(answered)  # not a `finally` inside: a task may be cancelled before it begins

    async def _place(self, leg: Leg) -> None:
        client_order_id = leg.client_order_id
        try:
            await self._write_intent(leg)
            await self._guard.acquire("place")
            await self._write_sent(leg)
            await self._broker.place(leg=leg)
        except OutcomeUnknownError as error:
            self._doubt(leg, str(error), None)
        except (VenueError, TransportError, JournalError) as error:
            self._record(
                PlaceRefused(
                    client_order_id=client_order_id,
                    reason=str(error),
                    insufficient_funds=isinstance(error, InsufficientFundsError),
                    time_ns=self._clock.market_ns(),
                )
            )
        except Exception as error:  # noqa: BLE001 -- an adapter's bug after the bytes left: nobody knows the outcome
            self._doubt(leg, self._bug("place", error), None)
        else:
            self._questions.start(self._expect_news(leg), what=f"awaiting order {client_order_id}")
        finally:
            self._believed_at.setdefault(client_order_id, self._believe_from())
            self._placed[client_order_id].set()

    async def _write_intent(self, leg: Leg) -> None:
        """Have the order on disk before anything else happens to it.

        Raises:
            JournalError: it is not; nothing was sent.
        """
        if self._journal is not None and self._intent is not None:
            await self._journal.append(self._intent(leg), durable=True)

    async def _write_sent(self, leg: Leg) -> None:
        """Have it on disk that the order may rest at the venue from here on.

        Raises:
            JournalError: it is not; nothing was sent.
        """
        if self._journal is not None:
            sent = Sent(client_order_id=leg.client_order_id, time_ns=self._clock.wire_ns())
            await self._journal.append(sent, durable=True)

    async def _cancel(self, leg: Leg) -> None:
        client_order_id = leg.client_order_id
        await self._placed[client_order_id].wait()  # the venue cannot cancel what has not reached it
        while self._orders[client_order_id].status is Status.UNKNOWN and client_order_id in self._settling:
            await asyncio.wait({self._settling[client_order_id]})  # nor what may still be on its way
        order = self._orders[client_order_id]
        if order.status.is_final:
            return
        try:
            await self._guard.acquire("cancel")
            await self._broker.cancel(leg=leg, venue_order_id=order.venue_order_id)
        except OutcomeUnknownError as error:
            self._doubt(leg, str(error), Pending.CANCEL)
        except (VenueError, TransportError) as error:
            self._record(self._cancel_result(client_order_id, CancelOutcome.REFUSED, str(error)))
            self._ask_about(leg)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug: nobody knows the outcome
            self._doubt(leg, self._bug("cancel", error), Pending.CANCEL)
        else:
            self._record(self._cancel_result(client_order_id, CancelOutcome.TAKEN, ""))

    def _bug(self, operation: str, error: Exception) -> str:
        reason = f"the adapter broke in {operation}: {type(error).__name__}: {error}"
        self._note("FAULT", reason)
        return reason

    def _cancel_result(self, client_order_id: str, outcome: CancelOutcome, reason: str) -> CancelResult:
        return CancelResult(
            client_order_id=client_order_id, outcome=outcome, reason=reason, time_ns=self._clock.market_ns()
        )

    # --- settling what is not known ------------------------------------------------------------------------

    def settle_open(self) -> None:
        """Ask the venue about every order that is not settled: after the account stream was cut."""
        for order in self._orders.values():
            if not order.is_settled:
                self._ask_about(order.leg)

    async def settled(self) -> None:
        """Wait until every question to the venue is answered."""
        while self._settling:
            await asyncio.wait(tuple(self._settling.values()))

    def catch_up(self, sequence: int) -> None:
        """Take it that everything up to a venue sequence is known: it was asked for, not pushed."""
        self.sequence = max(self.sequence, sequence)
        self._progressed()

    def _doubt(self, leg: Leg, reason: str, pending: Pending | None) -> None:
        self._believed_at[leg.client_order_id] = self._believe_from()
        self._record(
            OutcomeUnknown(
                client_order_id=leg.client_order_id, reason=reason, pending=pending, time_ns=self._clock.market_ns()
            )
        )
        self._ask_about(leg)

    def _believe_from(self) -> float:
        return asyncio.get_running_loop().time() + self._patience_s

    async def _expect_news(self, leg: Leg) -> None:
        """Ask about an order that was taken and not told of: its stream may be dead and not know it yet."""
        await asyncio.sleep(self._news_s)
        order = self._orders[leg.client_order_id]
        if not _is_heard_of(order) and leg.client_order_id not in self._settling:
            self._ask_about(leg)

    def _ask_about(self, leg: Leg) -> None:
        client_order_id = leg.client_order_id
        if (old := self._settling.pop(client_order_id, None)) is not None:
            old.cancel()  # its answer may be older than what made us ask again
        task = self._questions.start(self._settle(leg), what=f"settling order {client_order_id}")
        self._settling[client_order_id] = task
        task.add_done_callback(lambda done: self._forget_question(client_order_id, done))
        self._count(task)

    def _forget_question(self, client_order_id: str, task: "asyncio.Task[None]") -> None:
        if self._settling.get(client_order_id) is task:
            del self._settling[client_order_id]

    async def _settle(self, leg: Leg) -> None:
        """Ask until the venue has answered everything that is open about an order."""
        client_order_id = leg.client_order_id
        await self._placed[client_order_id].wait()
        told = False
        while True:
            # Read before asking: an answer given before the patience ended is not believed after it.
            believed = asyncio.get_running_loop().time() >= self._believed_at[client_order_id]
            try:
                events = await self._guard.read("query", functools.partial(self._broker.query, leg=leg))
            except OrderNotFoundError:
                if believed:
                    self._conclude_not_found(leg)
                    return
            except BtxError as error:
                if not told:
                    self._note("FAULT", f"order {client_order_id} cannot be settled yet: {error}")
                told = True
            else:
                for event in events:
                    self.on_event(event)
                if self._is_answered(client_order_id, believed=believed):
                    return
            await asyncio.sleep(self._settle_pause_s)

    def _is_answered(self, client_order_id: str, *, believed: bool) -> bool:
        order = self._orders[client_order_id]
        if order.missing or not _is_heard_of(order):
            return False
        if order.pending is None or not order.unanswered:
            return True
        if believed:
            reason = "the cancel got no answer and the order is still open: cancel it again"
            self._record(self._cancel_result(client_order_id, CancelOutcome.REFUSED, reason))
        return believed

    def _conclude_not_found(self, leg: Leg) -> None:
        if _is_heard_of(self._orders[leg.client_order_id]):
            self._note("FAULT", f"order {leg.client_order_id}: the venue does not know it any more")
            return
        self._record(
            OrderReport(
                client_order_id=leg.client_order_id,
                symbol=leg.request.instrument.symbol,
                status=Status.REJECTED,
                time_ns=self._clock.market_ns(),
                reason="the placement got no answer, and the venue knows no such order: it never arrived",
                inferred=True,
            )
        )

    # --- in ----------------------------------------------------------------------------------------------

    def on_event(self, event: OrderReport | Fill) -> None:
        """Take what the venue says about an order."""
        if event.sequence is not None:
            self.sequence = max(self.sequence, event.sequence)
        if event.client_order_id in self._orders:
            self._record(event)
        elif event.client_order_id not in self._foreign:
            self._foreign.add(event.client_order_id)
            self._note("FOREIGN", f"{event.symbol}: order {event.client_order_id} was not placed by this run")
        self._progressed()

    def _record(self, event: OrderEvent) -> None:
        before = self._orders[event.client_order_id]
        try:
            after = apply(before, event)
        except OrderTransitionError as error:
            self._note("FAULT", f"order {event.client_order_id}: {error}")
            return
        self._orders[event.client_order_id] = after
        if after is not before and self._journal is not None:
            self._journal.post(Event(order_event=event))  # neither a cancel nor news ever waits for the disk
        self._changed.set()
        if not is_news(before, after):
            return
        self._post(OrderUpdate(event=event, order=after))
        if after.overfilled > before.overfilled:
            self._note("FAULT", f"order {event.client_order_id} is overfilled by {after.overfilled}")

    def _on_broken(self, what: str, error: Exception) -> None:
        self._note("FATAL", f"{what}: {type(error).__name__}: {error}")


def _is_heard_of(order: Order) -> bool:
    return order.evidence is not None or bool(order.fills)


def one_leg(request: OrderRequest, client_order_id: str) -> tuple[Leg, ...]:
    """Plan a request as one venue order: the default of the ``btx_plan`` hook."""
    return (Leg(client_order_id=client_order_id, request=request, quantity=request.quantity),)
