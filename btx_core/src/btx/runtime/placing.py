"""Orders out: one intent makes one venue order, or the several the venue wants of it, each sent once."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import attrs

from btx.errors import (
    BtxError,
    InsufficientFundsError,
    JournalError,
    OutcomeUnknownError,
    RiskVetoError,
    TransportError,
    VenueError,
)
from btx.model.instrument import Instrument
from btx.model.order import Leg, Order, OrderList, OrderRequest, Part, Pending, PlaceRefused, Prepared, WireRef
from btx.ports import Broker, Clock
from btx.runtime.faultpoints import reach
from btx.runtime.guard import Guard
from btx.runtime.register import Register
from btx.runtime.requests import Requests
from btx.runtime.settling import Settling

__all__ = ("NEVER", "Placing", "Resubmit")

_NS_PER_S = 1_000_000_000


@attrs.frozen(kw_only=True)
class Resubmit:
    """What follows on a placement that certainly never arrived: up to ``times`` new orders, each with a new id.

    Only while the signal is at most ``max_age_ns`` of market time old.
    """

    times: int = 0
    max_age_ns: int = 60 * _NS_PER_S


NEVER = Resubmit()


class Placing:
    """Writes orders down, sends each once, and takes what came of it.

    ``plan`` splits an order into those the venue takes; ``prepare`` is that of a
    broker whose orders have a name on the wire. ``overtaken`` says why an order must
    not leave any more, None while it may; asked of those that had to wait for their turn.
    """

    def __init__(
        self,
        *,
        register: Register,
        settling: Settling,
        requests: Requests,
        broker: Broker,
        clock: Clock,
        guard: Guard,
        note: Callable[[str, str], None],
        next_id: Callable[[], str] | None,
        resubmit: Resubmit,
        is_halted: Callable[[], bool],
        overtaken: Callable[[Leg], str | None],
        plan: Callable[[OrderRequest, Iterable[Order]], tuple[Part, ...]] | None,
        prepare: Callable[..., Awaitable[WireRef]] | None,
    ) -> None:
        self._register = register
        self._settling = settling
        self._requests = requests
        self._broker = broker
        self._clock = clock
        self._guard = guard
        self._note = note
        self._next_id = next_id
        self._resubmit = resubmit
        self._is_halted = is_halted
        self._overtaken = overtaken
        self._plan = plan
        self._prepare = prepare
        self._naming = asyncio.Lock() if prepare is not None else None
        self._attempts: dict[str, int] = {}  # by owner: how often it was sent again
        self._is_amendment: set[str] = set()  # placed in the stead of an order that may still rest
        self._is_heir: set[str] = set()  # placed in the stead of an order that has ended
        self._sweeps: dict[str, asyncio.Future[None]] = {}  # by symbol: every order there is being cancelled

    def next_id(self) -> str:
        """Return a client order id nobody ever had.

        Raises:
            BtxError: this run has used up its ids, or the desk was given none.
        """
        if self._next_id is None:
            raise BtxError("this desk was given no client order ids of its own")
        return self._next_id()

    # --- orders ------------------------------------------------------------------------------------------

    def submit(self, leg: Leg) -> None:
        """Send an order: one leg, or the several that the venue wants of it, each with an id of its own.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        legs = self._planned(leg)
        for each in legs:
            self._register.add(each)
        if legs:
            self._requests.start(self._place(legs), f"placing order {leg.client_order_id}")

    def submit_list(self, order_list: OrderList) -> None:
        """Send the legs of a list in one request.

        Raises:
            BtxError: a leg of one of these ids was sent before.
        """
        legs = tuple(each for leg in order_list.legs for each in self._planned(leg))
        for leg in legs:
            self._register.add(leg)
        if len(legs) < len(order_list.legs):
            for leg in legs:
                self.refuse_locally(leg, "an order of its list was refused")
            return
        order_list = attrs.evolve(order_list, legs=legs)
        send = functools.partial(self._broker.place_list, order_list=order_list)
        operation = f"place_{order_list.kind.value.lower()}"  # each counts its own number of orders
        self._requests.start(self._send(order_list.legs, operation, send), f"placing list {order_list.list_id}")

    async def place_in_stead(self, new: Leg) -> None:
        """Place what takes the place of an order that has ended; it was held for that."""
        if self._is_withdrawn((new,)):
            self._settling.end_placing(new.client_order_id)
            self._settling.withdraw(new)
            return
        try:
            legs, refusal = self._split(new), ""
        except Exception as error:  # noqa: BLE001 -- the adapter's: whatever broke, nothing was sent
            legs, refusal = (), self._why_unplanned(error)
        if len(legs) > 1:
            refusal = f"the venue wants {len(legs)} orders of what is left: send it anew"
        if refusal:
            self.refuse_locally(new, refusal)
            return
        self._register.relabel(legs[0])
        self._is_heir.add(legs[0].client_order_id)
        await self._place(legs)

    async def replace(self, order: Order, new: Leg) -> bool:
        """Have the venue put ``new``, which is held, in the place of an order; return whether it took that."""
        self._is_amendment.add(new.client_order_id)
        send = functools.partial(self._broker.replace, leg=order.leg, venue_order_id=order.venue_order_id, new=new)
        return await self._send((new,), "replace", send)

    def refuse_locally(self, leg: Leg, reason: str) -> None:
        """Refuse an order that is held and was not sent."""
        self._settling.end_placing(leg.client_order_id)
        self._refuse(leg, BtxError(reason))

    def send_again(self, leg: Leg) -> None:
        """Make a new order of one that certainly never arrived, if the policy says so and the signal is young."""
        if leg.client_order_id in self._is_amendment or self._register.is_recovering or self._is_halted():
            return  # the order it was to replace may rest; and what was asked of another process is not asked again
        owner, age_ns = leg.owner_id, self._clock.market_ns() - leg.request.signal_ns
        attempts = self._attempts.get(owner, 0)
        if attempts >= self._resubmit.times or age_ns > self._resubmit.max_age_ns or leg.list_id is not None:
            return
        self._attempts[owner] = attempts + 1
        again = attrs.evolve(leg, client_order_id=self.next_id(), member_id=owner, wire=None)
        self._note("RESUBMIT", f"order {leg.client_order_id} never arrived: sent again as {again.client_order_id}")
        self._register.add(again)
        self._requests.start(self._place((again,)), f"placing order {again.client_order_id}")

    # --- while everything in an instrument is being cancelled --------------------------------------------

    @contextlib.contextmanager
    def held_back(self, instrument: Instrument) -> Iterator[None]:
        """Send nothing new in an instrument while this is open: a cancel of all there is would take it along."""
        done = self._sweeps[instrument.symbol] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            del self._sweeps[instrument.symbol]
            done.set_result(None)

    def is_held_back(self, instrument: Instrument) -> bool:
        """Say whether nothing new is sent in an instrument."""
        return instrument.symbol in self._sweeps

    async def until_free(self, instrument: Instrument) -> None:
        """Wait while everything in an instrument is being cancelled."""
        while (sweep := self._sweeps.get(instrument.symbol)) is not None:
            await asyncio.wait({sweep})

    # --- what the venue wants of one ---------------------------------------------------------------------

    def _planned(self, leg: Leg) -> tuple[Leg, ...]:
        """Return the legs that the venue wants of one, nothing where it is refused: that is told then.

        Raises:
            BtxError: a leg of that id was sent before.
        """
        try:
            return self._split(leg)
        except Exception as error:  # noqa: BLE001 -- the adapter's: whatever broke, nothing was sent
            reason = self._why_unplanned(error)
            self._register.add(leg)
            self.refuse_locally(leg, reason)
            return ()

    def _why_unplanned(self, error: Exception) -> str:
        return str(error) if isinstance(error, BtxError) else self._requests.broken("btx_plan", error)

    def _split(self, leg: Leg) -> tuple[Leg, ...]:
        if self._plan is None or leg.parts > 1:  # a recording knows what it was
            return (leg,)
        parts = self._plan(attrs.evolve(leg.request, quantity=leg.quantity), self._register.open_orders.values())
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

    # --- one request -------------------------------------------------------------------------------------

    async def _place(self, legs: Sequence[Leg]) -> None:
        """Send the legs of one order, one after the other, when all of them are on disk."""
        if len(legs) > 1:
            try:
                await self._register.write_intents(legs)
            except JournalError as error:
                for leg in legs:
                    self.refuse_locally(leg, str(error))
                return
        for leg in legs:
            place = functools.partial(self._place_one, leg.client_order_id)
            operation = self._guard.on_order("place", leg.request.order_type)
            await self._send((leg,), operation, place, is_written=len(legs) > 1)

    async def _place_one(self, client_order_id: str) -> None:
        leg = self._register.orders[client_order_id].leg  # with its name on the wire, if it has one
        await self._broker.place(leg=leg)

    async def _send(
        self, legs: Sequence[Leg], operation: str, send: Callable[[], Awaitable[object]], *, is_written: bool = False
    ) -> bool:
        """Write down, send once, and take what came of it; return whether the venue took it."""
        try:
            await self._register.write_intents(legs, is_written=is_written)
            await self.until_free(legs[0].request.instrument)
            has_left = await self._leave_in_turn(legs, operation, send)
            reach("send.after")
        except OutcomeUnknownError as error:
            for leg in legs:
                self._settling.doubt(leg, str(error), None)
        except (VenueError, TransportError, JournalError, RiskVetoError) as error:
            for leg in legs:
                self._refuse(leg, error)
        except Exception as error:  # noqa: BLE001 -- an adapter's bug after the bytes left: nobody knows the outcome
            for leg in legs:
                self._settling.doubt(leg, self._requests.broken(operation, error), None)
        else:
            for leg in legs:
                self._settling.expect_news(leg)
            return has_left
        finally:
            for leg in legs:
                self._settling.end_placing(leg.client_order_id)
        return False

    def _is_withdrawn(self, legs: Sequence[Leg]) -> bool:
        """Say whether the end was asked for of orders that have not left; of a list all end with one."""
        return any(self._register.orders[leg.client_order_id].pending is Pending.CANCEL for leg in legs)

    async def _leave_in_turn(self, legs: Sequence[Leg], operation: str, send: Callable[[], Awaitable[object]]) -> bool:
        """Send, once, when the limits allow it; False: the end was asked for meanwhile, which may be a minute.

        Raises:
            RiskVetoError: it waited, and may not leave any more.
        """
        if await self._guard.acquire(operation):
            is_withdrawn = self._is_withdrawn(legs)
            reason = self._why_overtaken(legs)
            if is_withdrawn or reason is not None:
                self._guard.heard(operation, asyncio.CancelledError())  # it had its turn, and does not leave
            if is_withdrawn:
                for leg in legs:
                    self._settling.withdraw(leg)
                return False
            if reason is not None:
                raise RiskVetoError(f"while it waited for the limits of the venue: {reason}")
        await self._guard.once(operation, functools.partial(self._leave, legs, send))
        return True

    def _why_overtaken(self, legs: Sequence[Leg]) -> str | None:
        """Say why orders must not leave any more; what takes the place of another may: it may be what protects."""
        new = [leg for leg in legs if leg.client_order_id not in self._is_amendment | self._is_heir]
        return next((reason for leg in new if (reason := self._overtaken(leg)) is not None), None)

    async def _leave(self, legs: Sequence[Leg], send: Callable[[], Awaitable[object]]) -> None:
        async with self._naming or contextlib.nullcontext():  # names that count up must arrive as they were given
            await self._name(legs)
            await self._register.write_sent(legs)
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
            await self._register.record_durably(
                Prepared(client_order_id=leg.client_order_id, wire=wire, time_ns=self._clock.market_ns())
            )

    def _refuse(self, leg: Leg, error: BtxError) -> None:
        self._register.record(
            PlaceRefused(
                client_order_id=leg.client_order_id,
                reason=str(error),
                insufficient_funds=isinstance(error, InsufficientFundsError),
                time_ns=self._clock.market_ns(),
            )
        )
        if isinstance(error, TransportError):  # it never left
            self.send_again(leg)
