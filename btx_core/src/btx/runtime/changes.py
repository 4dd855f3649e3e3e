"""What is asked of orders that are out: to end, to become another, to go on at another price."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from decimal import Decimal

import attrs

from btx.errors import BtxError, JournalError, OutcomeUnknownError, TransportError, VenueError
from btx.model.instrument import Instrument
from btx.model.order import (
    AmendRequested,
    CancelOutcome,
    CancelRequested,
    Leg,
    Order,
    OrderRequest,
    OrderType,
    Pending,
    Status,
)
from btx.ports import Broker, Clock
from btx.runtime.faultpoints import reach
from btx.runtime.guard import Guard
from btx.runtime.placing import Placing
from btx.runtime.register import Register, is_heard_of
from btx.runtime.requests import Requests
from btx.runtime.settling import Settling

__all__ = ("Changes",)

_SWEEP_FROM = 3  # cancels of one instrument: from so many on, asking what rests there and one request are fewer
_LOOK_S = 1.0  # how long cancels may wait for the answer to that


class Changes:
    """Cancels, amends and replaces orders, each request sent once; ``can_...`` says what the venue does itself."""

    def __init__(
        self,
        *,
        register: Register,
        settling: Settling,
        requests: Requests,
        placing: Placing,
        broker: Broker,
        clock: Clock,
        guard: Guard,
        can_replace: bool,
        can_amend: bool,
        can_cancel_all: bool,
    ) -> None:
        self._register = register
        self._settling = settling
        self._requests = requests
        self._placing = placing
        self._broker = broker
        self._clock = clock
        self._guard = guard
        self._can_replace = can_replace
        self._can_amend = can_amend
        self._can_cancel_all = can_cancel_all

    # --- cancels -----------------------------------------------------------------------------------------

    def cancel(self, client_order_id: str) -> None:
        """Ask for an order's end; of an order that is not open any more, or not of this session, nothing happens.

        A cancel that got no answer may be asked for again; one that is on its way is not.
        """
        order = self._register.orders.get(client_order_id)
        if order is None or order.status.is_final or (order.pending is Pending.CANCEL and not order.unanswered):
            return
        self._record_cancel(client_order_id)
        self._requests.start(self._cancel(order.leg), f"cancelling order {client_order_id}")

    def cancel_many(self, client_order_ids: Iterable[str]) -> None:
        """Ask for the end of several orders, each as :meth:`cancel` does.

        Where the venue can end everything that rests in an instrument by one
        request, and what rests there is exactly these orders, it is one request.
        Each order still has an outcome of its own.
        """
        orders = self._register.orders
        by_instrument: dict[Instrument, list[str]] = {}
        for client_order_id in dict.fromkeys(client_order_ids):
            if (order := orders.get(client_order_id)) is not None and not order.status.is_final:
                by_instrument.setdefault(order.leg.request.instrument, []).append(client_order_id)
        for instrument, ids in by_instrument.items():
            # One that the venue may not have yet would hold up the others.
            resting = [each for each in ids if _rests(orders[each])]
            if not self._can_cancel_all or len(resting) < max(_SWEEP_FROM, len(ids)):
                for client_order_id in ids:
                    self.cancel(client_order_id)
                continue
            for client_order_id in ids:
                self._record_cancel(client_order_id)
            self._requests.start(
                self._cancel_together(instrument, ids), f"cancelling {len(ids)} orders in {instrument.symbol}"
            )

    def _record_cancel(self, client_order_id: str) -> None:
        self._register.record(CancelRequested(client_order_id=client_order_id, time_ns=self._clock.market_ns()))

    async def _cancel(self, leg: Leg) -> None:
        client_order_id = leg.client_order_id
        await self._settling.settled_enough(client_order_id)
        order = self._register.orders[client_order_id]
        if order.status.is_final:
            return
        cancel = functools.partial(self._broker.cancel, leg=order.leg, venue_order_id=order.venue_order_id)
        operation = self._guard.on_order("cancel", order.leg.request.order_type)
        await self._end_by((order.leg,), operation, cancel, is_admitted=False)

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
                self._settling.doubt(leg, str(error), Pending.CANCEL)
        except (VenueError, TransportError) as error:
            for leg in legs:
                self._end_cancel(leg, CancelOutcome.REFUSED, str(error))
                self._settling.ask_about(leg)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug: nobody knows the outcome
            reason = self._requests.broken(operation, error)
            for leg in legs:
                self._settling.doubt(leg, reason, Pending.CANCEL)
        else:
            for leg in legs:
                self._end_cancel(leg, CancelOutcome.TAKEN, "")

    def _end_cancel(self, leg: Leg, outcome: CancelOutcome, reason: str) -> None:
        self._register.record(self._settling.cancel_result(leg.client_order_id, outcome, reason))

    async def _cancel_together(self, instrument: Instrument, ids: Sequence[str]) -> None:
        orders = self._register.orders
        if not await self._is_all_there_is(instrument, ids):
            await asyncio.gather(*(self._cancel(orders[each].leg) for each in ids))
            return
        legs = [orders[each].leg for each in ids if not orders[each].status.is_final]
        with self._placing.held_back(instrument):
            cancel = functools.partial(self._broker.cancel_all, instrument=instrument)
            await self._end_by(legs, "cancel_all", cancel, is_admitted=True)

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
            self._requests.broken("open_orders", error)
            return False
        resting = {
            each.client_order_id
            for each in self._register.open_orders.values()
            if each.leg.request.instrument.symbol == instrument.symbol and not each.status.is_final
        }
        is_all = bool(resting) and resting | {each.client_order_id for each in reports} <= set(ids)
        if not is_all or self._placing.is_held_back(instrument):
            self._guard.heard("cancel_all")  # its share of the limits is spent on nothing
            return False
        return True

    # --- amendments in place -----------------------------------------------------------------------------

    def amends(self, client_order_id: str, request: OrderRequest) -> bool:
        """Say whether the venue can make ``request`` of an order and keep it: of a lone limit order price and size."""
        order = self._register.orders.get(client_order_id)
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
        if client_order_id not in self._register.orders:
            raise BtxError(f"there is no order {client_order_id} to amend")
        self._requests.start(self._amend(client_order_id, request), f"amending order {client_order_id}")

    async def _amend(self, client_order_id: str, request: OrderRequest) -> None:
        await self._settling.settled_enough(client_order_id)
        order = self._register.orders[client_order_id]
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
            refused = self._settling.amend_result(client_order_id, CancelOutcome.REFUSED, refusal)
            self._register.tell(client_order_id, refused)
            return
        self._settling.amending.add(client_order_id)
        try:
            await self._amend_in_place(order, request)
        finally:
            self._settling.amending.discard(client_order_id)
        self._settling.expect_amendment(order.leg)

    async def _amend_in_place(self, order: Order, request: OrderRequest) -> None:
        """Write down, send once, and take a refusal; otherwise it stays wanted until the venue shows the order."""
        client_order_id, price = order.client_order_id, request.price
        assert price is not None, "it is a limit order"
        new = attrs.evolve(order.leg, request=request, quantity=request.quantity)
        asked = AmendRequested(
            client_order_id=client_order_id, price=price, quantity=request.quantity, time_ns=self._clock.market_ns()
        )
        try:
            await self._register.record_durably(asked)
            await self._placing.until_free(request.instrument)
            await self._guard.acquire("amend")
            reach("replace.before")
            amend = functools.partial(self._broker.amend, leg=order.leg, venue_order_id=order.venue_order_id, new=new)
            await self._guard.once("amend", amend)
            reach("replace.after")
        except OutcomeUnknownError as error:
            self._settling.doubt_amendment(client_order_id, str(error))
        except (VenueError, TransportError, JournalError) as error:
            self._settling.ask_about(order.leg)
            refused = self._settling.amend_result(client_order_id, CancelOutcome.REFUSED, str(error))
            self._register.record(refused)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug: nobody knows the outcome
            self._settling.doubt_amendment(client_order_id, self._requests.broken("amend", error))
        else:
            self._settling.be_patient(client_order_id)

    # --- another in its place ----------------------------------------------------------------------------

    def replace(self, client_order_id: str, new: Leg) -> None:
        """Put ``new`` in the place of an order; ``new.quantity`` is what should rest if nothing fills meanwhile.

        What fills before the old order has ended is taken off. Where nothing is
        left to rest, or the old order does not end, ``new`` is refused.

        Raises:
            BtxError: a leg of that id was sent before, or there is no such order.
        """
        order = self._register.orders.get(client_order_id)
        if order is None:
            raise BtxError(f"there is no order {client_order_id} to replace")
        self._register.add(new)
        self._requests.start(self._replace(order, new), f"replacing order {client_order_id}")

    async def _replace(self, asked: Order, new: Leg) -> None:
        """Replace an order that was as ``asked`` when it was asked for."""
        old_id = asked.client_order_id
        if asked.status.is_final:
            self._placing.refuse_locally(new, "the order it was to replace had ended before")
            return
        await self._settling.settled_enough(old_id)
        order = self._register.orders[old_id]
        # It may be a replacement itself, which what filled meanwhile has made smaller, or superfluous.
        taken_off = asked.quantity - order.quantity
        if order.status.is_final:
            self._placing.refuse_locally(new, "the order it was to replace has ended meanwhile")
        elif self._can_replace and not taken_off and not order.fills and order.leg.list_id is None:
            await self._replace_natively(order, new)
        else:
            await self._replace_in_two_steps(order, new, asked.filled - taken_off)

    async def _replace_natively(self, order: Order, new: Leg) -> None:
        reach("replace.before")
        if await self._placing.replace(order, new):
            self._settling.expect_end(order.leg)
        elif self._register.orders[new.client_order_id].status is Status.UNKNOWN:
            self._settling.doubt(order.leg, "the amendment got no answer", Pending.AMEND)
        else:
            self._settling.ask_about(order.leg)
        reach("replace.after")

    async def _replace_in_two_steps(self, order: Order, new: Leg, filled: Decimal) -> None:
        """Cancel, wait for the last fill, place the rest."""
        old_id = order.client_order_id
        self._record_cancel(old_id)
        await self._cancel(order.leg)
        has_asked = False
        while not (order := self._register.orders[old_id]).is_settled:
            if order.status.is_final and not has_asked:
                has_asked = True
                self._settling.ask_about(order.leg)  # its fills are still missing
            if order.requested is None and not self._settling.is_asking(old_id):
                break
            self._register.changed.clear()
            try:
                async with asyncio.timeout(self._settling.patience_s):
                    await self._register.changed.wait()
            except TimeoutError:
                # Its end should have been pushed by now. A question that is on its way is not asked anew.
                if not order.status.is_final and not self._settling.is_asking(old_id):
                    self._settling.ask_about(order.leg)
        rest = new.quantity - (order.filled - filled)
        if not order.is_settled:
            self._placing.refuse_locally(new, "the order it was to replace does not end: nothing was changed")
        elif rest <= 0 or rest < new.request.instrument.min_quantity:
            self._placing.refuse_locally(new, "the order it was to replace has filled meanwhile")
        else:
            await self._placing.place_in_stead(attrs.evolve(new, quantity=rest))


def _rests(order: Order) -> bool:
    """Say whether the venue has spoken of it, and nothing was asked of it since."""
    return order.pending is None and is_heard_of(order)
