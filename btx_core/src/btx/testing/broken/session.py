"""Broken in how they treat the account, errors, the loop, and what they leave behind."""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence

import attrs

from btx.errors import AuthenticationError, RateLimitedError, SubscriptionRefusedError
from btx.model.account import AccountSnapshot, AccountUpdate, Booking
from btx.model.order import Leg, Receipt
from btx.model.time import to_ms
from btx.model.venue import StreamState, StreamStatus
from btx.ports import Context, Sink, StreamEvent, Wanted
from btx.testing.broken import eager
from btx.testing.broken.variant import AlteredStream, Broken, Variant
from btx.testing.toy.broker import ToyBroker
from btx.testing.toy.config import LINEAR
from btx.testing.toy.margin import ToyMarginStore
from btx.testing.toy.store import ToyStore
from btx.testing.toy.stream import ToyStream

__all__ = ("BROKEN",)


# --- the account --------------------------------------------------------------------------------------------


class _StaleBalances(ToyStore):
    _known: AccountSnapshot | None = None

    async def account(self) -> AccountSnapshot:
        self._known = self._known or await super().account()
        return self._known


class _NoBalancePushes(AlteredStream):
    def heard(self, event: StreamEvent) -> Iterable[StreamEvent]:
        return () if isinstance(event, AccountUpdate) else (event,)


class _BookingsBackwards(ToyMarginStore):
    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        return [attrs.evolve(each, amount=-each.amount) for each in await super().bookings(start_ns=start_ns)]


class _LosesPositions(ToyMarginStore):
    async def account(self) -> AccountSnapshot:
        return attrs.evolve(await super().account(), positions=())


class _EverybodyIsWelcome(ToyStore):
    async def account(self) -> AccountSnapshot:
        try:
            return await super().account()
        except AuthenticationError:
            return AccountSnapshot(balances={}, time_ns=0)


# --- errors and limits --------------------------------------------------------------------------------------


class _NeverTooFast(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        try:
            return await super().place(leg=leg)
        except RateLimitedError as error:
            raise RateLimitedError(str(error), retry_after_s=0.0) from error


class _TellsSecrets(ToyStore):
    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._secret = context.settings.api_secret

    async def account(self) -> AccountSnapshot:
        logging.getLogger("btx.testing.broken").info("GET account, signed with %s", self._secret.reveal())
        return await super().account()


class _OwnClock:
    """The machine's clock, whatever the session's says."""

    def wire_ns(self) -> int:
        return time.time_ns()

    market_ns = wire_ns


def _by_the_machine(context: Context) -> Context:
    return attrs.evolve(context, clock=_OwnClock(), shared={})


class _TimeInMilliseconds(ToyStore):
    async def server_time_ns(self) -> int:
        return to_ms(await super().server_time_ns())


# --- the loop, and what is left -----------------------------------------------------------------------------


class _BlocksTheLoop(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        time.sleep(0.05)  # noqa: ASYNC251 -- this is what is wrong with it
        return await super().place(leg=leg)


class _WaitsByItself(ToyBroker):
    async def place(self, *, leg: Leg) -> Receipt:
        await asyncio.sleep(0.05)
        return await super().place(leg=leg)


class _LeavesATask(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        self._beat = asyncio.create_task(asyncio.Event().wait(), name="toy-heartbeat")
        await super().run(wanted=wanted, sink=sink)


class _LeavesASocket(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        self._run = asyncio.create_task(super().run(wanted=wanted, sink=sink))
        await asyncio.shield(self._run)


class _HearsNoRefusal(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        try:
            await super().run(wanted=wanted, sink=sink)
        except SubscriptionRefusedError:
            sink(StreamStatus(state=StreamState.SUBSCRIBED, subscriptions=wanted.now))
            await asyncio.Event().wait()


class _HoldsOn(ToyStream):
    async def run(self, *, wanted: Wanted, sink: Sink) -> None:
        try:
            await super().run(wanted=wanted, sink=sink)
        except asyncio.CancelledError:
            await asyncio.Event().wait()


BROKEN = (
    Broken(
        "stale-balances",
        "answers with the balances of the first time",
        Variant(store=_StaleBalances),
        "ACC-04",
    ),
    Broken("silent-balances", "pushes no balances", Variant(stream=_NoBalancePushes), "ACC-03"),
    Broken(
        "bookings-sign",
        "tells money with the wrong sign",
        Variant(store=_BookingsBackwards),
        "FUT-09 FUT-11 FUT-12",
        market=LINEAR,
    ),
    Broken(
        "no-positions",
        "leaves positions out of the account",
        Variant(store=_LosesPositions),
        "FUT-03 FUT-04 FUT-05 FUT-13",
        market=LINEAR,
    ),
    Broken(
        "any-key",
        "shows an empty account to a key that is refused",
        Variant(store=_EverybodyIsWelcome),
        "ERR-01 ERR-02",
    ),
    Broken("never-too-fast", "forgets how long a rate limit lasts", Variant(broker=_NeverTooFast), "LIM-01"),
    Broken("tells-secrets", "writes the secret into its log", Variant(store=_TellsSecrets), "ERR-06"),
    Broken(
        "own-clock",
        "stamps its requests with the clock of its machine",
        Variant(
            store=lambda context: ToyStore(_by_the_machine(context)),
            broker=lambda context: ToyBroker(_by_the_machine(context)),
        ),
        "CLK-04",
    ),
    Broken(
        "milliseconds",
        "tells the venue's clock in milliseconds",
        Variant(store=_TimeInMilliseconds),
        "CLK-01 CLK-02 CLK-04",
    ),
    Broken("eager", "imports an exchange library before anybody asks for it", eager, "LOAD-03"),
    Broken("blocks", "blocks the loop while it sends an order", Variant(broker=_BlocksTheLoop), "ORD-40"),
    Broken("waits", "waits before it sends an order", Variant(broker=_WaitsByItself), "ORD-40"),
    Broken("leaves-a-task", "leaves a task behind", Variant(stream=_LeavesATask), "END-01"),
    Broken("leaves-a-socket", "leaves its socket open when it is cancelled", Variant(stream=_LeavesASocket), "STR-12"),
    Broken(
        "hears-no-refusal",
        "says that a subscription stands which was refused",
        Variant(stream=_HearsNoRefusal),
        "FLT-18",
    ),
    Broken("holds-on", "does not end when it is cancelled", Variant(stream=_HoldsOn), "STR-12"),
)
