"""Orders out, states in: one intent makes one venue order, and a lost answer is asked for, never repeated."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import (
    BtxError,
    InsufficientFundsError,
    JournalError,
    OrderNotFoundError,
    OrderTransitionError,
    OutcomeUnknownError,
    TransportError,
    VenueError,
)
from btx.model.account import AccountUpdate
from btx.model.instrument import Instrument
from btx.model.journal import Event, GroupState, Intent, Sent
from btx.model.order import (
    AmendRequested,
    AmendResult,
    CancelOutcome,
    CancelRequested,
    CancelResult,
    Fill,
    Leg,
    Order,
    OrderEvent,
    OrderList,
    OrderReport,
    OrderRequest,
    OrderType,
    Origin,
    OutcomeUnknown,
    Part,
    Pending,
    PlaceRefused,
    Prepared,
    Status,
    Terms,
    WireRef,
)
from btx.ports import Broker, Clock, Journal
from btx.rules.orders import apply, derived_fill, is_news, new_fills, new_order
from btx.rules.recovery import History, never_left, unfinished
from btx.runtime.faultpoints import reach
from btx.runtime.guard import Guard
from btx.runtime.mailbox import OrderUpdate
from btx.runtime.tasks import Tasks

__all__ = ("NEVER", "OrderDesk", "Resubmit")

_SETTLE_MARGIN_S = 1.0
_SETTLE_PAUSE_S = 2.0
_GRACE_S = 1.0
_NS_PER_S = 1_000_000_000
_NEWS_S = 5.0  # how long the account stream may be silent about an order the venue has taken
_SWEEP_FROM = 3  # cancels of one instrument: from so many on, asking what rests there and one request are fewer
_LOOK_S = 1.0  # how long cancels may wait for the answer to that


@attrs.frozen(kw_only=True)
class Resubmit:
    """What follows on a placement that certainly never arrived: up to ``times`` new orders, each with a new id.

    Only while the signal is at most ``max_age_ns`` of market time old.
    """

    times: int = 0
    max_age_ns: int = 60 * _NS_PER_S


NEVER = Resubmit()


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
        plan: Callable[[OrderRequest, Iterable[Order]], tuple[Part, ...]] | None = None,
        prepare: Callable[..., Awaitable[WireRef]] | None = None,
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
        self._open: dict[str, Order] = {}  # those that are not settled
        self._legs: dict[str, list[tuple[int, str]]] = {}  # by owner and by group: how many orders are older, and id
        self._placing: dict[str, asyncio.Event] = {}  # until the placement was answered, or never will be
        self._believed_at: dict[str, float] = {}  # loop time from which "no such order" is believed
        self._held: dict[str, list[OrderEvent]] = {}  # of orders whose intent is not on disk, so nothing of them is
        self._is_amendment: set[str] = set()  # placed in the stead of an order that may still rest
        self._has_stopped = False
        self._foreign: set[str] = set()
        self._next_id = next_id
        self._can_replace = can_replace
        self._can_amend = can_amend
        self._amending: set[str] = set()  # amendments in place that are on their way
        self._can_cancel_all = can_cancel_all
        self._sweeps: dict[str, asyncio.Future[None]] = {}  # by symbol: every order there is being cancelled
        self._resubmit = resubmit
        self._is_halted = is_halted
        self._plan = plan
        self._prepare = prepare
        self._naming = asyncio.Lock() if prepare is not None else None
        self._attempts: dict[str, int] = {}  # by owner: how often it was sent again
        self._listeners: list[Callable[[Order | None, Order], None]] = []
        self._is_recovering = False
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

    @property
    def open_orders(self) -> Mapping[str, Order]:
        """The orders that are not settled, by client order id: what work for each order may look at."""
        return self._open

    def legs(self, *names: str) -> list[Order]:
        """Return the orders of these owners and groups, oldest first."""
        found = {entry for name in names for entry in self._legs.get(name, ())}
        return [self._orders[client_order_id] for _, client_order_id in sorted(found)]

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

    def listen(self, on_change: Callable[[Order | None, Order], None]) -> None:
        """Call ``on_change(before, after)`` at each step of each order; before its first one ``before`` is None."""
        self._listeners.append(on_change)

    def next_id(self) -> str:
        """Return a client order id nobody ever had.

        Raises:
            BtxError: this run has used up its ids, or the desk was given none.
        """
        if self._next_id is None:
            raise BtxError("this desk was given no client order ids of its own")
        return self._next_id()

    # --- out ---------------------------------------------------------------------------------------------

    def submit(self, leg: Leg) -> None:
        """Send an order: one leg, or the several that the venue wants of it, each with an id of its own.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        legs = self._planned(leg)
        for each in legs:
            self._add(each)
        if legs:
            self._request(self._place(legs), f"placing order {leg.client_order_id}")

    def _planned(self, leg: Leg) -> tuple[Leg, ...]:
        """Return the legs that the venue wants of one, nothing where it is refused: that is told then.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        try:
            return self._split(leg)
        except Exception as error:  # noqa: BLE001 -- the adapter's: whatever broke, nothing was sent
            reason = str(error) if isinstance(error, BtxError) else self._bug("btx_plan", error)
            self._add(leg)
            self._refuse_locally(leg, reason)
            return ()

    def _split(self, leg: Leg) -> tuple[Leg, ...]:
        if self._plan is None or leg.parts > 1:  # a recording knows what it was
            return (leg,)
        parts = self._plan(attrs.evolve(leg.request, quantity=leg.quantity), self._open.values())
        if len(parts) > 1 and (leg.group_id or leg.list_id or leg.pair_id):
            raise BtxError(
                f"the venue wants {len(parts)} orders of this one, and brackets and OCO groups are made of single "
                "ones: send it alone"
            )
        first, *others = parts
        return (
            attrs.evolve(leg, quantity=first.quantity, offset=first.offset, parts=len(parts)),
            *(
                attrs.evolve(
                    leg,
                    client_order_id=self.next_id(),
                    member_id=leg.owner_id,
                    quantity=part.quantity,
                    offset=part.offset,
                    parts=len(parts),
                )
                for part in others
            ),
        )

    def submit_list(self, order_list: OrderList) -> None:
        """Send the legs of a list in one request.

        Raises:
            BtxError: a leg of one of these ids was sent before.
        """
        legs = tuple(each for leg in order_list.legs for each in self._planned(leg))
        for leg in legs:
            self._add(leg)
        if len(legs) < len(order_list.legs):
            for leg in legs:
                self._refuse_locally(leg, "an order of its list was refused")
            return
        order_list = attrs.evolve(order_list, legs=legs)
        send = functools.partial(self._broker.place_list, order_list=order_list)
        operation = f"place_{order_list.kind.value.lower()}"  # each counts its own number of orders
        self._request(self._send(order_list.legs, operation, send), f"placing list {order_list.list_id}")

    def replace(self, client_order_id: str, new: Leg) -> None:
        """Put ``new`` in the place of an order; ``new.quantity`` is what should rest if nothing fills meanwhile.

        What fills before the old order has ended is taken off. Where nothing is
        left to rest, or the old order does not end, ``new`` is refused.

        Raises:
            BtxError: a leg of that id was sent before, or there is no such order.
        """
        if client_order_id not in self._orders:
            raise BtxError(f"there is no order {client_order_id} to replace")
        self._add(new)
        self._request(self._replace(self._orders[client_order_id], new), f"replacing order {client_order_id}")

    def amends(self, client_order_id: str, request: OrderRequest) -> bool:
        """Say whether the venue can make ``request`` of an order and keep it: of a lone limit order price and size."""
        order = self._orders.get(client_order_id)
        if not self._can_amend or order is None or order.leg.list_id or order.leg.group_id or order.leg.pair_id:
            return False
        asked, price, quantity = order.leg.request, request.price, request.quantity
        same = attrs.evolve(asked, price=price, quantity=quantity, signal_ns=request.signal_ns) == request
        return same and asked.order_type is OrderType.LIMIT

    def amend(self, client_order_id: str, request: OrderRequest) -> None:
        """Have an order go on at the price of ``request``, with its quantity in all; see :meth:`amends`.

        It keeps its ids.  What is refused leaves it as it is, which is told too.

        Raises:
            BtxError: there is no such order.
        """
        if client_order_id not in self._orders:
            raise BtxError(f"there is no order {client_order_id} to amend")
        self._request(self._amend(client_order_id, request), f"amending order {client_order_id}")

    async def write_group(self, state: GroupState) -> None:
        """Have a group on disk before anything of it is sent.

        Raises:
            JournalError: it is not.
        """
        reach("group.before")
        if self._journal is not None:
            await self._journal.append(state, durable=True)
        reach("group.after")

    def _add(self, leg: Leg) -> None:
        if leg.client_order_id in self._orders:
            raise BtxError(f"order {leg.client_order_id} was sent before: it is not sent again")
        order = new_order(leg)
        self._keep(order)
        self._placing[leg.client_order_id] = asyncio.Event()
        if self._journal is not None and self._intent is not None:
            self._held[leg.client_order_id] = []
        self._tell_listeners(None, order)

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end; of an order that is not open any more, or not of this session, nothing happens.

        A cancel that got no answer may be asked for again; one that is on its way is not.
        """
        order = self._orders.get(client_order_id)
        if order is None or order.status.is_final or (order.pending is Pending.CANCEL and not order.unanswered):
            return
        self._record(CancelRequested(client_order_id=client_order_id, time_ns=self._clock.market_ns()))
        self._request(self._cancel(order.leg), f"cancelling order {client_order_id}")

    def cancel_many(self, client_order_ids: Iterable[str]) -> None:
        """Ask for the end of several orders, each as :meth:`cancel` does.

        Where the venue can end everything that rests in an instrument by one
        request, and what rests there is exactly these orders, it is one request.
        Each order still has an outcome of its own.
        """
        by_instrument: dict[Instrument, list[str]] = {}
        for client_order_id in dict.fromkeys(client_order_ids):
            if (order := self._orders.get(client_order_id)) is not None and not order.status.is_final:
                by_instrument.setdefault(order.leg.request.instrument, []).append(client_order_id)
        for instrument, ids in by_instrument.items():
            # One that the venue may not have yet would hold up the others.
            resting = [each for each in ids if self._rests(self._orders[each])]
            if not self._can_cancel_all or len(resting) < max(_SWEEP_FROM, len(ids)):
                for client_order_id in ids:
                    self.cancel(client_order_id)
                continue
            for client_order_id in ids:
                self._record(CancelRequested(client_order_id=client_order_id, time_ns=self._clock.market_ns()))
            self._request(
                self._cancel_together(instrument, ids), f"cancelling {len(ids)} orders in {instrument.symbol}"
            )

    @staticmethod
    def _rests(order: Order) -> bool:
        """Say whether the venue has spoken of it, and nothing was asked of it since."""
        return order.pending is None and _is_heard_of(order)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that only changes with an order."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def stop(self) -> None:
        """Let what is being sent be answered for a moment, then give up waiting for answers."""
        await self._questions.stop()
        await self._requests.drain(self._grace_s)
        await self._requests.stop()
        self._has_stopped = True  # what the stream tells from here on is taken, and nothing is asked any more
        await self._questions.stop()

    def _request(self, work: Coroutine[Any, Any, object], what: str) -> None:
        self.sent += 1
        task = self._requests.start(self._in_turn(work), what=what)
        task.add_done_callback(lambda _task: work.close())  # it never began, if the end came before its turn
        self._count(task)

    async def _in_turn(self, work: Coroutine[Any, Any, object]) -> None:
        async with self._turn or contextlib.nullcontext():
            await work

    def _count(self, task: "asyncio.Task[None]") -> None:
        def answered(_task: "asyncio.Task[None]") -> None:
            self.outstanding -= 1
            self._progressed()

        self.outstanding += 1
        task.add_done_callback(answered)  # not a `finally` inside: a task may be cancelled before it begins

    async def _place(self, legs: Sequence[Leg]) -> None:
        """Send the legs of one order, one after the other, when all of them are on disk."""
        if len(legs) > 1:
            try:
                await self._write_intents(legs)
            except JournalError as error:
                for leg in legs:
                    self._refuse_locally(leg, str(error))
                return
        for leg in legs:
            place = functools.partial(self._place_one, leg.client_order_id)
            await self._send((leg,), "place", place, is_written=len(legs) > 1)

    async def _place_one(self, client_order_id: str) -> None:
        await self._broker.place(leg=self._orders[client_order_id].leg)  # with its name on the wire, if it has one

    async def _send(
        self, legs: Sequence[Leg], operation: str, send: Callable[[], Awaitable[object]], *, is_written: bool = False
    ) -> bool:
        """Write down, send once, and take what came of it; return whether the venue took it."""
        try:
            await self._write_intents(legs, is_written=is_written)
            await self._swept(legs[0].request.instrument)
            await self._guard.acquire(operation)
            await self._guard.once(operation, functools.partial(self._leave, legs, send))
            reach("send.after")
        except OutcomeUnknownError as error:
            for leg in legs:
                self._doubt(leg, str(error), None)
        except (VenueError, TransportError, JournalError) as error:
            for leg in legs:
                self._refuse(leg, error)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug after the bytes left: nobody knows the outcome
            for leg in legs:
                self._doubt(leg, self._bug(operation, error), None)
        else:
            for leg in legs:
                self._questions.start(self._expect_news(leg), what=f"awaiting order {leg.client_order_id}")
            return True
        finally:
            for leg in legs:
                self._believed_at.setdefault(leg.client_order_id, self._believe_from())
                self._end_placing(leg.client_order_id)
        return False

    async def _leave(self, legs: Sequence[Leg], send: Callable[[], Awaitable[object]]) -> None:
        async with self._naming or contextlib.nullcontext():  # names that count up must arrive as they were given
            await self._name(legs)
            await self._write_sent(legs)
            await send()

    async def _name(self, legs: Sequence[Leg]) -> None:
        """Have the names that orders will have on the wire on disk, where they have such names.

        Raises:
            BtxError: one cannot be named, or that is not on disk; nothing was sent.
        """
        if self._prepare is None:
            return
        for leg in legs:
            wire = await self._prepare(leg=leg)
            await self._record_durably(
                Prepared(client_order_id=leg.client_order_id, wire=wire, time_ns=self._clock.market_ns())
            )

    def _refuse(self, leg: Leg, error: BtxError) -> None:
        self._record(
            PlaceRefused(
                client_order_id=leg.client_order_id,
                reason=str(error),
                insufficient_funds=isinstance(error, InsufficientFundsError),
                time_ns=self._clock.market_ns(),
            )
        )
        if isinstance(error, TransportError):  # it never left
            self._send_again(leg)

    async def _write_intents(self, legs: Sequence[Leg], *, is_written: bool = False) -> None:
        """Have orders on disk before anything else happens to them, and tell that they are.

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
            self._post(OrderUpdate(event=None, order=self._orders[leg.client_order_id]))

    async def _write_sent(self, legs: Sequence[Leg]) -> None:
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

    async def _amend(self, client_order_id: str, request: OrderRequest) -> None:
        await self._settled_enough(client_order_id)
        order = self._orders[client_order_id]
        refusal = (
            "it has ended meanwhile"
            if order.status.is_final
            else "the last amendment has not been answered yet"
            if order.wanted is not None
            else f"{order.filled} of it has filled: it cannot become smaller than that"
            if request.quantity <= order.filled
            else ""
        )
        if refusal:
            refused = self._amend_result(client_order_id, CancelOutcome.REFUSED, refusal)
            self._post(OrderUpdate(event=refused, order=order))
            return
        self._amending.add(client_order_id)
        try:
            await self._amend_in_place(order, request)
        finally:
            self._amending.discard(client_order_id)
        if self._orders[client_order_id].wanted is not None:
            self._ask_about(order.leg)

    async def _amend_in_place(self, order: Order, request: OrderRequest) -> None:
        """Write down, send once, and take what came of it; without an answer it stays wanted."""
        client_order_id, price = order.client_order_id, request.price
        assert price is not None, "it is a limit order"
        new = attrs.evolve(order.leg, request=request, quantity=request.quantity)
        asked = AmendRequested(
            client_order_id=client_order_id, price=price, quantity=request.quantity, time_ns=self._clock.market_ns()
        )
        outcome, reason = CancelOutcome.TAKEN, ""
        try:
            await self._record_durably(asked)
            await self._swept(request.instrument)
            await self._guard.acquire("amend")
            reach("replace.before")
            amend = functools.partial(self._broker.amend, leg=order.leg, venue_order_id=order.venue_order_id, new=new)
            await self._guard.once("amend", amend)
            reach("replace.after")
        except OutcomeUnknownError as error:
            self._doubt_amendment(client_order_id, str(error))
            return
        except (VenueError, TransportError, JournalError) as error:
            outcome, reason = CancelOutcome.REFUSED, str(error)
            self._ask_about(order.leg)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug: nobody knows the outcome
            self._doubt_amendment(client_order_id, self._bug("amend", error))
            return
        self._record(self._amend_result(client_order_id, outcome, reason))

    def _doubt_amendment(self, client_order_id: str, reason: str) -> None:
        self._believed_at[client_order_id] = self._believe_from()
        self._record(
            OutcomeUnknown(
                client_order_id=client_order_id,
                reason=reason,
                pending=Pending.AMEND,
                time_ns=self._clock.market_ns(),
            )
        )

    def _amend_result(self, client_order_id: str, outcome: CancelOutcome, reason: str) -> AmendResult:
        return AmendResult(
            client_order_id=client_order_id, outcome=outcome, reason=reason, time_ns=self._clock.market_ns()
        )

    async def _replace(self, asked: Order, new: Leg) -> None:
        """Replace an order that was as ``asked`` when it was asked for."""
        old_id = asked.client_order_id
        if asked.status.is_final:
            self._refuse_locally(new, "the order it was to replace had ended before")
            return
        await self._settled_enough(old_id)
        order = self._orders[old_id]
        # It may be a replacement itself, which what filled meanwhile has made smaller, or superfluous.
        taken_off = asked.quantity - order.quantity
        if order.status.is_final:
            self._refuse_locally(new, "the order it was to replace has ended meanwhile")
        elif self._can_replace and not taken_off and not order.fills and order.leg.list_id is None:
            await self._replace_natively(order, new)
        else:
            await self._replace_in_two_steps(order, new, asked.filled - taken_off)

    async def _replace_natively(self, order: Order, new: Leg) -> None:
        reach("replace.before")
        self._is_amendment.add(new.client_order_id)
        send = functools.partial(self._broker.replace, leg=order.leg, venue_order_id=order.venue_order_id, new=new)
        if await self._send((new,), "replace", send):
            self._questions.start(self._expect_end(order.leg), what=f"awaiting the end of {order.client_order_id}")
        elif self._orders[new.client_order_id].status is Status.UNKNOWN:
            self._doubt(order.leg, "the amendment got no answer", Pending.AMEND)
        else:
            self._ask_about(order.leg)
        reach("replace.after")

    async def _replace_in_two_steps(self, order: Order, new: Leg, filled: Decimal) -> None:
        """Cancel, wait for the last fill, place the rest."""
        old_id = order.client_order_id
        self._record(CancelRequested(client_order_id=old_id, time_ns=self._clock.market_ns()))
        await self._cancel(order.leg)
        has_asked = False
        while not (order := self._orders[old_id]).is_settled:
            if order.status.is_final and not has_asked:
                has_asked = True
                self._ask_about(order.leg)  # its fills are still missing
            if order.requested is None and old_id not in self._settling:
                break
            self._changed.clear()
            try:
                async with asyncio.timeout(self._patience_s):
                    await self._changed.wait()
            except TimeoutError:
                # Its end should have been pushed by now. A question that is on its way is not asked anew.
                if not order.status.is_final and old_id not in self._settling:
                    self._ask_about(order.leg)
        rest = new.quantity - (order.filled - filled)
        if not order.is_settled:
            self._refuse_locally(new, "the order it was to replace does not end: nothing was changed")
        elif rest <= 0 or rest < new.request.instrument.min_quantity:
            self._refuse_locally(new, "the order it was to replace has filled meanwhile")
        else:
            await self._place_in_stead(attrs.evolve(new, quantity=rest))

    async def _place_in_stead(self, new: Leg) -> None:
        """Place what takes the place of an order that has ended; it was held for that."""
        try:
            legs, refusal = self._split(new), ""
        except Exception as error:  # noqa: BLE001 -- the adapter's: whatever broke, nothing was sent
            legs, refusal = (), str(error)
        if len(legs) > 1:
            refusal = f"the venue wants {len(legs)} orders of what is left: send it anew"
        if refusal:
            self._refuse_locally(new, refusal)
            return
        before = self._orders[new.client_order_id]
        after = attrs.evolve(before, leg=legs[0])
        self._keep(after)
        self._tell_listeners(before, after)
        await self._place(legs)

    def _refuse_locally(self, leg: Leg, reason: str) -> None:
        self._believed_at.setdefault(leg.client_order_id, self._believe_from())
        self._end_placing(leg.client_order_id)
        self._refuse(leg, BtxError(reason))

    def _send_again(self, leg: Leg) -> None:
        """Make a new order of one that certainly never arrived, if the policy says so and the signal is young."""
        if leg.client_order_id in self._is_amendment or self._is_recovering or self._is_halted():
            return  # the order it was to replace may rest; and what was asked of another process is not asked again
        owner, age_ns = leg.owner_id, self._clock.market_ns() - leg.request.signal_ns
        attempts = self._attempts.get(owner, 0)
        if attempts >= self._resubmit.times or age_ns > self._resubmit.max_age_ns or leg.list_id is not None:
            return
        self._attempts[owner] = attempts + 1
        again = attrs.evolve(leg, client_order_id=self.next_id(), member_id=owner, wire=None)
        self._note("RESUBMIT", f"order {leg.client_order_id} never arrived: sent again as {again.client_order_id}")
        self._add(again)
        self._request(self._place((again,)), f"placing order {again.client_order_id}")

    def _end_placing(self, client_order_id: str) -> None:
        if (placing := self._placing.pop(client_order_id, None)) is not None:
            placing.set()

    async def _until_placed(self, client_order_id: str) -> None:
        if (placing := self._placing.get(client_order_id)) is not None:
            await placing.wait()

    async def _settled_enough(self, client_order_id: str) -> None:
        """Wait until the venue can know an order, or it is known that it never will."""
        await self._until_placed(client_order_id)  # the venue cannot cancel what has not reached it
        while self._orders[client_order_id].status is Status.UNKNOWN and client_order_id in self._settling:
            await asyncio.wait({self._settling[client_order_id]})  # nor what may still be on its way

    async def _cancel(self, leg: Leg) -> None:
        client_order_id = leg.client_order_id
        await self._settled_enough(client_order_id)
        order = self._orders[client_order_id]
        if order.status.is_final:
            return
        cancel = functools.partial(self._broker.cancel, leg=order.leg, venue_order_id=order.venue_order_id)
        await self._end_by((order.leg,), "cancel", cancel, is_admitted=False)

    async def _end_by(
        self, legs: Sequence[Leg], operation: str, send: Callable[[], Awaitable[None]], *, is_admitted: bool
    ) -> None:
        """Send a cancel, once, and take what came of it for each of its orders."""
        try:
            if not is_admitted:
                await self._guard.acquire(operation)
            reach("cancel.before")
            await self._guard.once(operation, send)
            reach("cancel.after")
        except OutcomeUnknownError as error:
            for leg in legs:
                self._doubt(leg, str(error), Pending.CANCEL)
        except (VenueError, TransportError) as error:
            for leg in legs:
                self._record(self._cancel_result(leg.client_order_id, CancelOutcome.REFUSED, str(error)))
                self._ask_about(leg)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug: nobody knows the outcome
            reason = self._bug(operation, error)
            for leg in legs:
                self._doubt(leg, reason, Pending.CANCEL)
        else:
            for leg in legs:
                self._record(self._cancel_result(leg.client_order_id, CancelOutcome.TAKEN, ""))

    async def _cancel_together(self, instrument: Instrument, ids: Sequence[str]) -> None:
        if not await self._is_all_there_is(instrument, ids):
            await asyncio.gather(*(self._cancel(self._orders[each].leg) for each in ids))
            return
        legs = [self._orders[each].leg for each in ids if not self._orders[each].status.is_final]
        done = self._sweeps[instrument.symbol] = asyncio.get_running_loop().create_future()
        try:
            cancel = functools.partial(self._broker.cancel_all, instrument=instrument)
            await self._end_by(legs, "cancel_all", cancel, is_admitted=True)
        finally:
            del self._sweeps[instrument.symbol]
            done.set_result(None)

    async def _swept(self, instrument: Instrument) -> None:
        """Wait while everything in an instrument is being cancelled: what is sent now would be taken along."""
        while (sweep := self._sweeps.get(instrument.symbol)) is not None:
            await asyncio.wait({sweep})

    async def _is_all_there_is(self, instrument: Instrument, ids: Collection[str]) -> bool:
        """Ask whether nothing but these orders rests in an instrument; True: a cancel of all of it may leave now.

        An order of ours that is on its way there says no: it might arrive before.
        """
        look = functools.partial(self._broker.open_orders, instruments=(instrument,))
        try:
            async with asyncio.timeout(_LOOK_S):
                reports = await self._guard.send("open_orders_one", look)
            await self._guard.acquire("cancel_all")
        except (BtxError, TimeoutError):
            return False  # cancels do not wait for a venue that does not answer: they go one by one
        except Exception as error:  # noqa: BLE001 -- an adapter's bug is no reason either
            self._bug("open_orders", error)
            return False
        resting = {
            each.client_order_id
            for each in self._open.values()
            if each.leg.request.instrument.symbol == instrument.symbol and not each.status.is_final
        }
        is_all = bool(resting) and resting | {each.client_order_id for each in reports} <= set(ids)
        if not is_all or instrument.symbol in self._sweeps:
            self._guard.heard("cancel_all")  # its share of the limits is spent on nothing
            return False
        return True

    def _bug(self, operation: str, error: Exception) -> str:
        reason = f"the adapter broke in {operation}: {type(error).__name__}: {error}"
        self._note("FAULT", reason)
        return reason

    def _cancel_result(self, client_order_id: str, outcome: CancelOutcome, reason: str) -> CancelResult:
        return CancelResult(
            client_order_id=client_order_id, outcome=outcome, reason=reason, time_ns=self._clock.market_ns()
        )

    # --- after a restart ---------------------------------------------------------------------------------------

    def recover(self, history: History) -> None:
        """Take over what earlier processes left open; the venue is not asked yet.

        What was intended and never sent is known to have ended. The strategy is
        told of nothing here: it finds the orders as they are when it starts.
        """
        self._is_recovering = True
        now = asyncio.get_running_loop().time()
        for client_order_id, order in unfinished(history).items():
            self._keep(order)
            sent_ns = history.sent_ns.get(client_order_id)
            age_s = (self._clock.wire_ns() - sent_ns) / _NS_PER_S if sent_ns is not None else self._patience_s
            left_s = min(max(self._patience_s - age_s, 0.0), self._patience_s)  # a clock may have been set back
            self._believed_at[client_order_id] = now + left_s
            self._tell_listeners(None, order)
        for order in tuple(self._orders.values()):
            if order.wanted is not None and order.status.is_final:
                self._record(self._amend_result(order.client_order_id, CancelOutcome.REFUSED, "the order has ended"))
            elif order.wanted is not None:
                self._doubt_amendment(order.client_order_id, "the process ended while it was amended")
        for client_order_id in never_left(history):
            self._conclude(self._orders[client_order_id].leg, "the process ended before it was sent: it never left")
        for order in tuple(self._open.values()):
            if order.status is Status.PENDING_NEW and order.evidence is None:
                reason = "the process ended while it was sent"
                self._record(
                    OutcomeUnknown(
                        client_order_id=order.client_order_id, reason=reason, time_ns=self._clock.market_ns()
                    )
                )

    def recovered(self) -> None:
        """End the recovery: from here on the strategy is told of everything."""
        self._is_recovering = False

    def adopt(self, leg: Leg, report: OrderReport) -> None:
        """Take an order that somebody else placed as one of ours, and ask the venue for its fills."""
        if leg.client_order_id not in self._orders:
            self.take_over(leg)
            self._record(report)
            self._ask_about(leg)

    def take_over(self, leg: Leg) -> None:
        """Take an order that somebody else placed as one of ours; what happens to it is told from here on.

        Raises:
            BtxError: it is one of ours.
        """
        if self._journal is not None and self._intent is not None:
            self._journal.post(attrs.evolve(self._intent(leg), run="adopted"))
            self._journal.post(Sent(client_order_id=leg.client_order_id, time_ns=self._clock.wire_ns()))
        self._add(leg)
        self._journal_held(leg.client_order_id)
        self._end_placing(leg.client_order_id)
        self._believed_at[leg.client_order_id] = self._believe_from()
        self._foreign.discard(leg.client_order_id)
        if not self._is_recovering:
            self._post(OrderUpdate(event=None, order=self._orders[leg.client_order_id]))

    # --- settling what is not known ------------------------------------------------------------------------

    def ask_about(self, client_order_ids: Iterable[str]) -> None:
        """Ask the venue about some orders."""
        for client_order_id in client_order_ids:
            self._ask_about(self._orders[client_order_id].leg)

    def reopen(self, order: Order) -> None:
        """Take an order back that was settled in an earlier run: something was heard of it."""
        self._keep(order)
        self._believed_at[order.client_order_id] = self._believe_from()
        self._tell_listeners(None, order)

    async def settled(self) -> None:
        """Wait until every question to the venue is answered."""
        while self._settling:
            await asyncio.wait(tuple(self._settling.values()))

    def heard(self, sequence: int | None) -> None:
        """Take it that the venue has told up to this sequence, by news that was no order's."""
        if sequence is not None:
            self.catch_up(sequence)

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

    async def _expect_end(self, leg: Leg) -> None:
        """Ask about an order that was replaced, if nobody says that it has ended."""
        await asyncio.sleep(self._news_s)
        if not self._orders[leg.client_order_id].status.is_final and leg.client_order_id not in self._settling:
            self._ask_about(leg)

    def _ask_about(self, leg: Leg) -> None:
        if self._has_stopped:
            return
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
            self._changed.set()

    async def _settle(self, leg: Leg) -> None:
        """Ask until the venue has answered everything that is open about an order."""
        client_order_id = leg.client_order_id
        await self._until_placed(client_order_id)
        told = False
        while True:
            # Read before asking: an answer given before the patience ended is not believed after it.
            believed = asyncio.get_running_loop().time() >= self._believed_at[client_order_id]
            try:
                asked = self._orders[client_order_id].leg
                events = await self._guard.read("query", functools.partial(self._broker.query, leg=asked))
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
                if self._is_answered(client_order_id, events, believed=believed):
                    return
            await asyncio.sleep(self._settle_pause_s)

    def _is_answered(self, client_order_id: str, events: Collection[OrderReport | Fill], *, believed: bool) -> bool:
        order = self._orders[client_order_id]
        if order.missing or not _is_heard_of(order):
            return False
        if order.wanted is not None and client_order_id not in self._amending:
            if not self._settle_amendment(order, order.wanted, events, believed=believed):
                return False
            order = self._orders[client_order_id]
        if order.pending is None or not order.unanswered:
            return True
        if believed:
            reason = "the cancel got no answer and the order is still open: cancel it again"
            self._record(self._cancel_result(client_order_id, CancelOutcome.REFUSED, reason))
        return believed

    def _settle_amendment(
        self, order: Order, wanted: Terms, events: Collection[OrderReport | Fill], *, believed: bool
    ) -> bool:
        """Take what the venue says an order is for the answer to its amendment; say whether it is one."""
        reports = [each for each in events if isinstance(each, OrderReport)]
        if any(_shows(each, wanted, before=order.terms) for each in reports):
            self._record(self._amend_result(order.client_order_id, CancelOutcome.TAKEN, ""))
        elif believed or order.status.is_final:
            reason = "the amendment got no answer, and the order is as it was"
            self._record(self._amend_result(order.client_order_id, CancelOutcome.REFUSED, reason))
        else:
            return False
        return True

    def _conclude_not_found(self, leg: Leg) -> None:
        if _is_heard_of(self._orders[leg.client_order_id]):
            self._note("FAULT", f"order {leg.client_order_id}: the venue does not know it any more")
            return
        self._conclude(leg, "the placement got no answer, and the venue knows no such order: it never arrived")
        self._send_again(leg)

    def _conclude(self, leg: Leg, reason: str) -> None:
        self._record(
            OrderReport(
                client_order_id=leg.client_order_id,
                symbol=leg.request.instrument.symbol,
                status=Status.REJECTED,
                time_ns=self._clock.market_ns(),
                reason=reason,
                inferred=True,
            )
        )

    # --- in ----------------------------------------------------------------------------------------------

    def on_event(self, event: OrderReport | Fill) -> None:
        """Take what the venue says about an order."""
        if event.sequence is not None:
            self.sequence = max(self.sequence, event.sequence)
        if (order := self._orders.get(event.client_order_id)) is not None:
            fill = derived_fill(order, event) if isinstance(event, OrderReport) else None
            if fill is not None:
                self._record(fill)
            self._record(event)
        elif event.client_order_id not in self._foreign:
            self._foreign.add(event.client_order_id)
            self._note("FOREIGN", f"{event.symbol}: order {event.client_order_id} was not placed by this run")
        self._progressed()

    async def _record_durably(self, event: OrderEvent) -> None:
        """Take an event of our own, and have it on disk before anything follows from it.

        Raises:
            JournalError: it is not; it was taken all the same.
        """
        self._record(event, is_written=True)
        if self._journal is not None:
            await self._journal.append(Event(order_event=event), durable=True)

    def _record(self, event: OrderEvent, *, is_written: bool = False) -> None:
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
        self._changed.set()
        if after is not before:
            self._tell_listeners(before, after)
        self._ask_for_fees(before, after)
        if not is_news(before, after) or self._is_recovering:
            return
        self._post(OrderUpdate(event=event, order=after))
        if isinstance(event, Fill) and after.overfilled > before.overfilled and after.fills[-1].origin is Origin.CLIENT:
            self._note("FAULT", f"order {event.client_order_id} is overfilled by {after.overfilled}")

    def _ask_for_fees(self, before: Order, after: Order) -> None:
        """Ask once for the fee of a fill that was told without: of positions on margin it is in no other total."""
        if after.leg.request.instrument.kind.is_margined and any(f.fee is None for f in new_fills(before, after)):
            self._ask_about(after.leg)

    def _write_event(self, event: OrderEvent) -> None:
        """Journal an event behind its order's intent; neither a cancel nor news ever waits for the disk."""
        if (held := self._held.get(event.client_order_id)) is not None:
            held.append(event)
        elif self._journal is not None:
            self._journal.post(Event(order_event=event))

    def _journal_held(self, client_order_id: str) -> None:
        for event in self._held.pop(client_order_id, ()):
            self._write_event(event)

    def _tell_listeners(self, before: Order | None, after: Order) -> None:
        for listener in self._listeners:
            try:
                listener(before, after)
            except Exception as error:  # noqa: BLE001 -- told; one that breaks takes nothing from the others
                self._note("FAULT", f"order {after.client_order_id}: {type(error).__name__}: {error}")

    def _on_broken(self, what: str, error: Exception) -> None:
        self._note("FATAL", f"{what}: {type(error).__name__}: {error}")


def _is_heard_of(order: Order) -> bool:
    return order.evidence is not None or bool(order.fills)


def _shows(report: OrderReport, wanted: Terms, *, before: Terms) -> bool:
    """Say whether an order is as an amendment wanted it; where the price changed, a quantity that was cut is too."""
    if report.price not in {None, wanted.price}:
        return False
    return report.quantity == wanted.quantity or (report.price is not None and wanted.price != before.price)
