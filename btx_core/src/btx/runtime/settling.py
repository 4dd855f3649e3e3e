"""What is not known of an order is asked for, until the venue has answered; a request is never repeated."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Collection

import attrs

from btx.errors import BtxError, OrderNotFoundError
from btx.model.order import (
    VENUE_ID,
    AmendResult,
    CancelOutcome,
    CancelResult,
    Fill,
    Leg,
    Order,
    OrderReport,
    OrderType,
    OutcomeUnknown,
    Pending,
    Status,
    Terms,
)
from btx.ports import Broker, Clock
from btx.rules.orders import new_fills
from btx.runtime.guard import Guard
from btx.runtime.register import Register, is_heard_of
from btx.runtime.requests import Requests

__all__ = ("FORGOTTEN", "Settling")

FORGOTTEN = "the venue does not know it any more, and has it not among the open orders"
"""Why an order is over that the venue has lost."""

_LONG = 3  # so many times as patient before an order that was there is taken for lost


class Settling:
    """The questions about orders. ``never_arrived`` hears of each placement that certainly never did.

    ``patience_s`` is how long after an unanswered request the venue's "no such
    order" is not believed yet; ``news_s`` how long the account stream may be
    silent about an order the venue has taken.
    """

    def __init__(
        self,
        *,
        register: Register,
        requests: Requests,
        broker: Broker,
        clock: Clock,
        guard: Guard,
        note: Callable[[str, str], None],
        never_arrived: Callable[[Leg], None],
        patience_s: float,
        pause_s: float,
        news_s: float,
    ) -> None:
        self._register = register
        self._requests = requests
        self._broker = broker
        self._clock = clock
        self._guard = guard
        self._note = note
        self._never_arrived = never_arrived
        self.patience_s = patience_s
        self._pause_s = pause_s
        self._news_s = news_s
        self._believed_at: dict[str, float] = {}  # loop time from which "no such order" is believed
        # Loop time since which the venue has no longer had an order; what is asked anew meanwhile does not begin anew.
        self._gone_since: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._questions = requests.tasks()
        self._has_stopped = False
        self.amending: set[str] = set()  # amendments in place that are on their way
        register.listen(self._ask_for_fees)

    # --- asking ------------------------------------------------------------------------------------------

    def ask_about(self, leg: Leg) -> None:
        """Ask the venue about an order, anew if that is being asked."""
        if self._has_stopped:
            return
        client_order_id = leg.client_order_id
        if (old := self._asking.pop(client_order_id, None)) is not None:
            old.cancel()  # its answer may be older than what made us ask again
        task = self._questions.start(self._settle(leg), what=f"settling order {client_order_id}")
        self._asking[client_order_id] = task
        task.add_done_callback(lambda done: self._forget_question(client_order_id, done))
        self._requests.count(task)

    def is_asking(self, client_order_id: str) -> bool:
        """Say whether a question about an order is on its way."""
        return client_order_id in self._asking

    def expect_news(self, leg: Leg) -> None:
        """Ask about an order that was taken, if it is not told of: its stream may be dead and not know it yet."""
        self._questions.start(self._expect_news(leg), what=f"awaiting order {leg.client_order_id}")

    def expect_end(self, leg: Leg) -> None:
        """Ask about an order that was replaced, if nobody says that it has ended."""
        self._questions.start(self._expect_end(leg), what=f"awaiting the end of {leg.client_order_id}")

    def expect_amendment(self, leg: Leg) -> None:
        """Ask about an amendment that is not settled: now, where nothing else shows it, or else if no statement does.

        A venue that took the request may still drop it (Bybit's answer says no more than that it came in): an order
        is as the venue states it, and what it was before is believed after the patience of a lost request only.
        """
        order = self._register.orders[leg.client_order_id]
        if order.wanted is None:
            return
        if order.unanswered or order.status.is_final or order.wanted in {order.terms, *order.past}:
            self.ask_about(leg)
        else:
            what = f"awaiting order {leg.client_order_id} as amended"
            # It is outstanding: a lockstep, which no sequence tells of what was dropped, does not go on meanwhile.
            self._requests.count(self._questions.start(self._expect_amendment(leg), what=what))

    async def settled(self) -> None:
        """Wait until every question to the venue is answered."""
        while self._asking:
            await asyncio.wait(tuple(self._asking.values()))

    async def settled_enough(self, client_order_id: str) -> None:
        """Wait until the venue can know an order, or it is known that it never will."""
        await self._register.until_placed(client_order_id)  # the venue cannot cancel what has not reached it
        while self._register.orders[client_order_id].status is Status.UNKNOWN and client_order_id in self._asking:
            await asyncio.wait({self._asking[client_order_id]})  # nor what may still be on its way

    async def give_up(self) -> None:
        """Give up waiting for the answers to what was asked so far."""
        await self._questions.stop()

    async def stop(self) -> None:
        """Ask nothing any more: what the stream tells from here on is taken, and that is all."""
        self._has_stopped = True
        await self._questions.stop()

    # --- what is doubted ---------------------------------------------------------------------------------

    def be_patient(self, client_order_id: str, *, for_s: float | None = None) -> None:
        """Believe "no such order" only after a while from here on, by default ``patience_s``."""
        left_s = self.patience_s if for_s is None else for_s
        self._believed_at[client_order_id] = asyncio.get_running_loop().time() + left_s

    def end_placing(self, client_order_id: str) -> None:
        """Take it that a placement was answered, or never will be; patience counts from here, unless it does."""
        if client_order_id not in self._believed_at:
            self.be_patient(client_order_id)
        self._register.end_placing(client_order_id)

    def doubt(self, leg: Leg, reason: str, pending: Pending | None) -> None:
        """Take it that a request got no answer, and ask."""
        self._doubt(leg.client_order_id, reason, pending)
        self.ask_about(leg)

    def doubt_amendment(self, client_order_id: str, reason: str) -> None:
        """Take it that an amendment in place got no answer; who asked for it asks when it is over."""
        self._doubt(client_order_id, reason, Pending.AMEND)

    def _doubt(self, client_order_id: str, reason: str, pending: Pending | None) -> None:
        self.be_patient(client_order_id)
        self._register.record(
            OutcomeUnknown(
                client_order_id=client_order_id, reason=reason, pending=pending, time_ns=self._clock.market_ns()
            )
        )

    def conclude(self, leg: Leg, reason: str) -> None:
        """Take it that an order never arrived."""
        self._end(leg, Status.REJECTED, reason, inferred=True)

    def withdraw(self, leg: Leg) -> None:
        """Take it that an order was cancelled before it left."""
        self._end(leg, Status.CANCELED, "it was cancelled before it left", inferred=False)

    def amend_result(self, client_order_id: str, outcome: CancelOutcome, reason: str) -> AmendResult:
        """Return what became of an amendment, as of now."""
        return AmendResult(
            client_order_id=client_order_id, outcome=outcome, reason=reason, time_ns=self._clock.market_ns()
        )

    def cancel_result(self, client_order_id: str, outcome: CancelOutcome, reason: str) -> CancelResult:
        """Return what became of a cancel, as of now."""
        return CancelResult(
            client_order_id=client_order_id, outcome=outcome, reason=reason, time_ns=self._clock.market_ns()
        )

    def end_amendment(self, client_order_id: str) -> None:
        """Take it that the open amendment of an order that is over was not made, unless more filled than without it."""
        order = self._register.orders[client_order_id]
        if order.wanted is None or not order.status.is_final or client_order_id in self.amending:
            return
        is_made = order.filled + order.missing > order.leg.quantity
        outcome, reason = (CancelOutcome.TAKEN, "") if is_made else (CancelOutcome.REFUSED, "the order has ended")
        self._register.record(self.amend_result(client_order_id, outcome, reason))

    # --- the answers -------------------------------------------------------------------------------------

    async def _expect_news(self, leg: Leg) -> None:
        await asyncio.sleep(self._news_s)
        order = self._register.orders[leg.client_order_id]
        if not is_heard_of(order) and leg.client_order_id not in self._asking:
            self.ask_about(leg)

    async def _expect_end(self, leg: Leg) -> None:
        await asyncio.sleep(self._news_s)
        order = self._register.orders[leg.client_order_id]
        if not order.status.is_final and leg.client_order_id not in self._asking:
            self.ask_about(leg)

    async def _expect_amendment(self, leg: Leg) -> None:
        client_order_id, orders = leg.client_order_id, self._register.orders

        def is_shown() -> bool:
            order = orders[client_order_id]
            return order.wanted is None or (order.evidence is not None and order.evidence.status.is_final)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._news_s):
                await self._register.until(is_shown)
        if orders[client_order_id].wanted is not None and client_order_id not in self._asking:
            self.ask_about(leg)

    def _forget_question(self, client_order_id: str, task: "asyncio.Task[None]") -> None:
        if self._asking.get(client_order_id) is task:
            del self._asking[client_order_id]
            self._register.changed.set()

    async def _settle(self, leg: Leg) -> None:
        """Ask until the venue has answered everything that is open about an order."""
        client_order_id = leg.client_order_id
        await self._register.until_placed(client_order_id)
        told = False
        while True:
            asked_s = asyncio.get_running_loop().time()
            order = self._register.orders[client_order_id]
            try:
                events = await self._ask(order)
            except BtxError as error:
                if not told:
                    self._note("FAULT", f"order {client_order_id} cannot be settled yet: {error}")
                told = True
            else:
                # Asked before the patience ended, or before what began it anew: an answer of then is not believed.
                believed = asked_s >= self._believed_at[client_order_id]
                if events is None and not is_heard_of(order):
                    is_answered = believed and self._conclude_not_arrived(leg)
                elif events is None:
                    gone_s = asked_s - self._gone_since.setdefault(client_order_id, asked_s)
                    is_answered = believed and self._conclude_gone(leg, gone_s=gone_s)
                else:
                    self._gone_since.pop(client_order_id, None)
                    for event in events:
                        self._register.on_event(event)
                    is_answered = self._is_answered(client_order_id, events, believed=believed)
                if is_answered:
                    self._gone_since.pop(client_order_id, None)
                    self.end_amendment(client_order_id)
                    return
            await asyncio.sleep(self._pause_s)

    async def _ask(self, order: Order) -> Collection[OrderReport | Fill] | None:
        """Return what the venue tells of an order; None where it knows none, nor lists it among the open ones.

        Venues forget orders that ended without a fill (Bybit after a day, Binance's futures after three), but none
        that rests: the list is asked too, since whoever believes that a stop is gone puts another beside it.
        """
        name = order.client_order_id
        try:
            told = await self._guard.read("query", functools.partial(self._broker.query, leg=_as_asked(order)))
        except OrderNotFoundError:
            if not is_heard_of(order):
                return None
        else:  # the venue may call it otherwise: what an exchange made has its name here by its place
            return [attrs.evolve(each, client_order_id=name) for each in told]
        ask = functools.partial(self._broker.open_orders, instruments=(order.leg.request.instrument,))
        listed = await self._guard.read("open_orders_one", ask)
        return [attrs.evolve(each, client_order_id=name) for each in listed if _is_of(each, order)] or None

    def _is_answered(self, client_order_id: str, events: Collection[OrderReport | Fill], *, believed: bool) -> bool:
        order = self._register.orders[client_order_id]
        if order.missing or not is_heard_of(order):
            return False
        if order.wanted is not None and client_order_id not in self.amending:
            if not self._settle_amendment(order, order.wanted, events, believed=believed):
                return False
            order = self._register.orders[client_order_id]
        if order.pending is None or not order.unanswered:
            return True
        if believed:
            reason = "the cancel got no answer and the order is still open: cancel it again"
            self._register.record(self.cancel_result(client_order_id, CancelOutcome.REFUSED, reason))
        return believed

    def _settle_amendment(
        self, order: Order, wanted: Terms, events: Collection[OrderReport | Fill], *, believed: bool
    ) -> bool:
        """Take what the venue says an order is for the answer to its amendment; say whether it is one."""
        reports = [each for each in events if isinstance(each, OrderReport)]
        if any(_shows(each, wanted, before=order.terms) for each in reports):
            self._register.record(self.amend_result(order.client_order_id, CancelOutcome.TAKEN, ""))
        elif believed or order.status.is_final:
            reason = "the venue has the order as it was: the amendment was not made"
            self._register.record(self.amend_result(order.client_order_id, CancelOutcome.REFUSED, reason))
        else:
            return False
        return True

    def _conclude_not_arrived(self, leg: Leg) -> bool:
        """Take it that an order never arrived, unless it was told of while the venue was asked; say whether so."""
        if is_heard_of(self._register.orders[leg.client_order_id]):
            return False
        self.conclude(leg, "the placement got no answer, and the venue knows no such order: it never arrived")
        self._never_arrived(leg)
        return True

    def _conclude_gone(self, leg: Leg, *, gone_s: float) -> bool:
        """Take an order for what it is when the venue has lost it, for ``gone_s`` now; say whether that ends it."""
        order = self._register.orders[leg.client_order_id]
        if order.missing or order.status.is_final:
            self._note("FAULT", f"order {leg.client_order_id}: the venue does not know it any more")
        elif gone_s < _LONG * self.patience_s:
            return False
        else:
            self._conclude_forgotten(leg)
        return True

    def _conclude_forgotten(self, leg: Leg) -> None:
        self._note("FAULT", f"order {leg.client_order_id} is over: {FORGOTTEN}")
        # The venue says so in two answers; what is inferred would not outweigh that it was open once.
        self._end(leg, Status.CANCELED, FORGOTTEN, inferred=False)

    def _end(self, leg: Leg, status: Status, reason: str, *, inferred: bool) -> None:
        self._register.record(
            OrderReport(
                client_order_id=leg.client_order_id,
                symbol=leg.request.instrument.symbol,
                status=status,
                time_ns=self._clock.market_ns(),
                reason=reason,
                inferred=inferred,
            )
        )

    def _ask_for_fees(self, before: Order | None, after: Order) -> None:
        """Ask once for the fee of a fill that was told without: of positions on margin it is in no other total."""
        if before is None or not after.leg.request.instrument.kind.is_margined:
            return
        if any(fill.fee is None for fill in new_fills(before, after)):
            self.ask_about(after.leg)


def _is_of(report: OrderReport, order: Order) -> bool:
    """Say whether an open order is this one, by our name of it or by the venue's."""
    if report.client_order_id == order.client_order_id:
        return True
    return report.venue_order_id is not None and report.venue_order_id == order.venue_order_id


def _shows(report: OrderReport, wanted: Terms, *, before: Terms) -> bool:
    """Say whether an order is as an amendment wanted it; where the price changed, a quantity that was cut is too."""
    if report.price not in {None, wanted.price}:
        return False
    return report.quantity == wanted.quantity or (report.price is not None and wanted.price != before.price)


def _as_asked(order: Order) -> Leg:
    """Return an order's leg as the venue is asked for it: a trailing stop may have no name of ours there."""
    leg, venue_order_id = order.leg, order.venue_order_id
    if leg.request.order_type is not OrderType.TRAILING_STOP or venue_order_id is None or leg.wire is not None:
        return leg
    return attrs.evolve(leg, wire={VENUE_ID: venue_order_id})
