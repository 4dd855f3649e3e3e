"""Before a request leaves: its share of the rate limits, the circuit breaker, and retries for what may be repeated."""

import asyncio
import enum
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import TypeVar

import attrs

from btx.errors import ClockError, PluginError, RateLimitedError, TransportError
from btx.model.order import OrderType
from btx.model.venue import RateLimit, VenueInfo
from btx.rules.backoff import Backoff, delay_s
from btx.rules.breaker import Breaker, admit, admitted, heard, released
from btx.rules.throttle import (
    Meter,
    Penalty,
    Tally,
    guessed_ns,
    next_step_ns,
    observe,
    punish,
    share,
    spend,
    take,
    tally_wait_ns,
    wait_ns,
)

__all__ = ("Guard", "Lane")

T = TypeVar("T")


class Lane(enum.IntEnum):
    """Who goes first. A lane may use what is left for it, and never what is kept for those above."""

    CANCEL = 0
    ORDER = 1
    QUERY = 2
    DATA = 3


_LANES = {
    "cancel": Lane.CANCEL,
    "cancel_all": Lane.CANCEL,
    "dead_man": Lane.CANCEL,  # late, it would cancel
    "cancel_trailing_stop": Lane.CANCEL,
    "place": Lane.ORDER,
    "place_trailing_stop": Lane.ORDER,
    "place_oco": Lane.ORDER,
    "place_oto": Lane.ORDER,
    "place_otoco": Lane.ORDER,
    "replace": Lane.ORDER,
    "amend": Lane.ORDER,
    "query": Lane.QUERY,
    "open_orders": Lane.QUERY,
    "open_orders_one": Lane.QUERY,  # of one instrument
    "fills": Lane.QUERY,
    "account": Lane.QUERY,
    "bookings": Lane.QUERY,
    "leverage_tiers": Lane.QUERY,
    "fees": Lane.QUERY,
    "set_leverage": Lane.QUERY,
    "set_margin_mode": Lane.QUERY,
    "set_position_mode": Lane.QUERY,
    "time": Lane.QUERY,
}
"""The lane of an operation; what is not named is data."""

# How much of a limit a lane and all below it may use together: a fifth is kept above data, some of it for cancels.
_SHARES = {Lane.CANCEL: 1.0, Lane.ORDER: 0.9, Lane.QUERY: 0.8, Lane.DATA: 0.75}
_READ_COUNT_SHARE = 0.95  # how far reads may drive the venue's own count, with all that others use

_READ_TRIES = 3
_READ_BACKOFF = Backoff(base_s=1.0, cap_s=60.0)
_LONGEST_WAIT_S = 60.0  # a venue that asks for a longer silence is told to the caller instead
_NS_PER_S = 1_000_000_000
_LONGEST_WAIT_NS = int(_LONGEST_WAIT_S * _NS_PER_S)
_TRAVEL_NS = _NS_PER_S  # one request may be under way so much longer than another: their windows at the venue differ
_LOST_NS = 60 * _NS_PER_S  # what left and was not heard of by then is not under way any more
_STARVED_NS = 60 * _NS_PER_S  # a lane that waits, and got nothing for so long, has one turn before the orders
_OTHERS_MARGIN = 8  # reads leave others an eighth more than they were seen to use, so that an error costs no order
# What others use of an address shows after some seconds only: until then data must not have used it all up.
_PACED_FROM = 100  # units; smaller limits are too coarse for it
_PACE_PARTS = 20
_PACE_SHARE = 0.06

_left_ns: ContextVar[int | None] = ContextVar("left_ns", default=None)  # when the request left that is sent here


@attrs.define(eq=False, kw_only=True)
class _Gauge:
    """A count of our own that requests of some lanes keep to."""

    meter: Meter
    share: float  # of the meter's limit
    least: int  # the largest single request: however small the share, it must fit
    is_free: bool  # neither what others use nor a penalty makes it smaller

    def bound(self, part: float, others: int) -> int:
        """Return the units it may hold now."""
        if self.is_free:
            return self.meter.limit
        return max(self.least, math.ceil((self.meter.limit * self.share - others) * part))


@attrs.define(eq=False, kw_only=True)
class _Limit:
    """One limit of the venue: nested gauges for the lanes, and the venue's own count."""

    info: RateLimit
    gauges: dict[Lane, _Gauge]  # a request counts against its lane's and those of all lanes above
    pace: _Gauge | None  # of data
    tally: Tally

    @property
    def whole(self) -> Meter:
        """All we sent: every request counts against the most urgent lane's."""
        return self.gauges[min(self.gauges)].meter

    def counted(self, lane: Lane) -> Iterator[_Gauge]:
        """Yield what a request of a lane counts against."""
        yield from (gauge for level, gauge in self.gauges.items() if level <= lane)
        if self.pace is not None and lane is Lane.DATA:
            yield self.pace

    def count_bound(self, lane: Lane, units: int) -> int:
        """Return how far the venue's count may go with a request of a lane."""
        if lane <= Lane.ORDER:
            return self.info.limit
        return max(units, int(self.info.limit * _READ_COUNT_SHARE))

    def bounds(self, lane: Lane, part: float, *, asks: bool) -> Iterator[tuple[_Gauge, int]]:
        """Yield it with the units it may hold now; ``part`` is what a penalty leaves.

        Who ``asks`` by its request what others use does not wait for what they are guessed to use.
        """
        others = 0 if asks else self.tally.others
        if lane > Lane.ORDER:
            others += others // _OTHERS_MARGIN
        return ((gauge, gauge.bound(part, others)) for gauge in self.counted(lane))


@attrs.define(eq=False)
class _Waiter:
    operation: str
    since_ns: int
    turn: "asyncio.Future[None]"


class Guard:
    """The limits of one account at one venue, from the adapter's own tables and the venue's own counts.

    Every request passes :meth:`read`, :meth:`send`, or :meth:`acquire` and then
    :meth:`heard`.  Cancels go before orders, orders before questions about them,
    those before data; only what a lane may have is taken, so that nothing that is
    queued stands in the way of something more urgent that comes later.

    ``market`` says whose tables count, by default the venue's first.  ``now_ns``
    is monotonic: windows are durations, and a wall clock that is set back would
    hold orders until it has caught up.  ``on_clock_doubt`` is called
    when the venue finds our time stamps wrong: its clock should be read, now.

    Raises:
        PluginError: the tables name a limit there is none of, or a cost above its limit.
    """

    def __init__(
        self,
        *,
        info: VenueInfo,
        market: str | None = None,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff = _READ_BACKOFF,
        breaker: Breaker = Breaker(),  # noqa: B008 -- frozen
        on_clock_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        market = market or info.markets[0]
        self._costs: Mapping[str, Mapping[str, int]] = info.costs.get(market, {})
        self._now_ns = now_ns
        self._sleep = sleep
        self._backoff = backoff
        self._on_clock_doubt = on_clock_doubt
        self._venue = info.title
        limits = {limit.name: limit for limit in info.limits.get(market, ())}
        for operation, costs in self._costs.items():
            for name, units in costs.items():
                if name not in limits or not 0 <= units <= limits[name].limit:
                    raise PluginError(
                        f"the adapter {info.name!r} says {operation!r} costs {units} of {name!r}: "
                        "it lists no limit of that name and size"
                    )
        self._limits = {name: _limit(limit, self._costs) for name, limit in limits.items()}
        self._breakers = dict.fromkeys((True, False), breaker)  # by whether it is the account's requests, or data
        self._penalties = {"ip": Penalty(), "account": Penalty()}
        self._under_way: dict[str, deque[int]] = {}  # operation -> when they left
        self._waiting: dict[Lane, deque[_Waiter]] = {lane: deque() for lane in Lane}
        self._served_ns: dict[Lane, int] = {}
        self._pump: asyncio.Task[None] | None = None
        self._news: asyncio.Future[None] | None = None

    # --- requests -----------------------------------------------------------------------------------------------

    async def read(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send an idempotent request; three tries where the venue was not reached or asked to wait a little.

        Raises:
            BtxError: what the last try raised.
        """
        attempt = 0
        while True:
            attempt += 1
            await self.acquire(operation)
            try:
                return await self.once(operation, request)
            except RateLimitedError as error:
                if attempt == _READ_TRIES or error.retry_after_s > _LONGEST_WAIT_S:
                    raise
                if not self._held_ns(operation, self._now_ns()):  # a limit it is not said to count against
                    await self._sleep(error.retry_after_s)
                # else the next try waits with all others until the venue listens again
            except (TransportError, ClockError):
                if attempt == _READ_TRIES:
                    raise
                await self._sleep(delay_s(self._backoff, attempt=attempt, random=random.random()))  # noqa: S311

    def on_order(self, operation: str, order_type: OrderType) -> str:
        """Return what ``operation`` is called of an order of this type: where the tables tell it apart, by both."""
        own = f"{operation}_{order_type.value.lower()}"
        return own if own in self._costs else operation

    async def send(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request that must not be repeated, once.

        Raises:
            BtxError: what it raised; or as for :meth:`acquire`.
        """
        await self.acquire(operation)
        return await self.once(operation, request)

    async def acquire(self, operation: str) -> bool:
        """Wait until ``operation`` may leave without passing any limit it counts against; return whether it had to.

        What it came to is told to :meth:`heard`.

        Raises:
            TransportError: the venue was not reached several times; not tried until later. Never for a cancel.
            RateLimitedError: the venue does not listen, for longer than a minute. Never for a cancel.
        """
        lane, now_ns = _lane(operation), self._now_ns()
        refusal = self._refusal(operation, lane, now_ns)
        if refusal is not None:
            raise refusal
        waiter = _Waiter(operation, now_ns, asyncio.get_running_loop().create_future())
        self._waiting[lane].append(waiter)
        self._admit()
        has_to_wait = not waiter.turn.done()
        if has_to_wait:
            await self._wait_for(waiter, lane)
        waiter.turn.result()
        return has_to_wait

    def heard(self, operation: str, error: BaseException | None = None) -> None:
        """Tell what became of a request that left: nothing went wrong, or what it raised."""
        departures = self._under_way.get(operation)
        if departures:
            departures.popleft()
        key = _is_trading(operation)
        breaker = self._breakers[key]
        if isinstance(error, asyncio.CancelledError):
            if _lane(operation) is not Lane.CANCEL:  # which is no trial
                self._breakers[key] = released(breaker)
            return
        success = not isinstance(error, TransportError)
        self._breakers[key] = heard(breaker, success=success, now_ns=self._now_ns())
        if self._breakers[key] is not breaker:
            self._wake()  # who waits is refused, or not any more
        if isinstance(error, RateLimitedError):
            self._limited(error)
        elif isinstance(error, ClockError):
            self._on_clock_doubt()

    async def once(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request that :meth:`acquire` let go, and hear what became of it.

        Raises:
            BtxError: what it raised.
        """
        token = _left_ns.set(self._now_ns())
        try:
            answer = await request()
        except BaseException as error:
            self.heard(operation, error)
            raise
        finally:
            _left_ns.reset(token)
        self.heard(operation)
        return answer

    # --- news of the venue ----------------------------------------------------------------------------------------

    def observe(self, name: str, units: int) -> None:
        """Take the venue's own count of a limit, as an answer says it; others may share the limit.

        Within :meth:`once` it is the answer to that request, which left when it began.
        """
        limit = self._limits.get(name)
        if limit is None or not limit.gauges:
            return  # nothing of ours counts against it
        now_ns = self._now_ns()
        limit.tally = observe(
            limit.tally,
            meter=limit.whole,
            used_units=units,
            under_way=self._units_under_way(name, now_ns),
            now_ns=now_ns,
            left_ns=_left_ns.get(),
        )
        self._wake()

    def reached(self) -> None:
        """The venue was reached on another way: what the breaker holds back may be tried."""
        now_ns = self._now_ns()
        for key, breaker in self._breakers.items():
            if admit(breaker, now_ns=now_ns):
                self._breakers[key] = attrs.evolve(breaker, opened_ns=now_ns - breaker.open_ns, trials=0)

    def _limited(self, error: RateLimitedError) -> None:
        """Hold every request of the scope until the venue listens again, and use less of its limits for a while."""
        scope = error.scope if error.scope in self._penalties else "ip"
        self._penalties[scope] = punish(
            self._penalties[scope], retry_after_ns=math.ceil(error.retry_after_s * _NS_PER_S), now_ns=self._now_ns()
        )
        self._wake()

    # --- admission ------------------------------------------------------------------------------------------------

    async def _wait_for(self, waiter: _Waiter, lane: Lane) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._admit_in_time(), name="btx-guard")
        self._wake()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled():
                if waiter in self._waiting[lane]:  # else the guard has passed it over before it was heard of here
                    self._waiting[lane].remove(waiter)
            elif waiter.turn.exception() is None:  # it had its turn, and does not leave
                self.heard(waiter.operation, asyncio.CancelledError())
            self._wake()
            raise

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _admit_in_time(self) -> None:
        """Let those who wait go, each when its time has come; ends when nobody waits."""
        try:
            while any(self._waiting.values()):
                self._news = asyncio.get_running_loop().create_future()
                soonest_ns = self._admit()
                if any(self._waiting.values()):
                    await self._nap(soonest_ns / _NS_PER_S, self._news)
        finally:
            self._pump = self._news = None

    async def _nap(self, wait_s: float, news: "asyncio.Future[None]") -> None:
        async def nap() -> None:
            await self._sleep(wait_s)

        napping = asyncio.create_task(nap())
        try:
            await asyncio.wait({napping, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            napping.cancel()
            await asyncio.wait({napping})

    def _admit(self) -> int:
        """Let everybody go who may; return how long until somebody else may."""
        now_ns = self._now_ns()
        soonest_ns = _LONGEST_WAIT_NS
        closed: set[int] = set()  # what somebody more urgent waits for
        for lane, most in self._turns(now_ns):
            queue, gone = self._waiting[lane], 0
            while queue and gone < most:
                waiter = queue[0]
                if waiter.turn.cancelled():  # who gave up has not run since
                    queue.popleft()
                    continue
                refusal = self._refusal(waiter.operation, lane, now_ns)
                wait = 0 if refusal is not None else self._blocked_ns(waiter.operation, lane, now_ns, closed)
                if wait:
                    soonest_ns = min(soonest_ns, wait)
                    break
                queue.popleft()
                gone += 1
                if refusal is not None:
                    waiter.turn.set_exception(refusal)
                else:
                    self._let_go(waiter.operation, lane, now_ns)
                    waiter.turn.set_result(None)
        return soonest_ns

    def _turns(self, now_ns: int) -> Iterator[tuple[Lane, float]]:
        """Yield the lanes in their order, and how many of each may go; the starved have one turn before orders."""
        yield Lane.CANCEL, math.inf
        orders_ns = self._served_ns.get(Lane.ORDER, 0)
        for lane in (Lane.QUERY, Lane.DATA):
            since_ns = self._waiting[lane][0].since_ns if self._waiting[lane] else now_ns
            # Orders went meanwhile, so it is they who leave it nothing.
            if orders_ns > since_ns and now_ns - max(since_ns, self._served_ns.get(lane, 0)) >= _STARVED_NS:
                yield lane, 1
        for lane in (Lane.ORDER, Lane.QUERY, Lane.DATA):
            yield lane, math.inf

    def _refusal(self, operation: str, lane: Lane, now_ns: int) -> TransportError | RateLimitedError | None:
        """Return why a request should rather fail now than leave, perhaps, much later."""
        if lane is Lane.CANCEL:
            return None
        pause_ns = admit(self._breakers[_is_trading(operation)], now_ns=now_ns)
        if pause_ns:
            return TransportError(
                f"{self._venue} was not reached several times in a row: nothing was sent, "
                f"it is tried again in {pause_ns / _NS_PER_S:.0f} s"
            )
        held_ns = self._held_ns(operation, now_ns)
        if held_ns > _LONGEST_WAIT_NS:
            held_s = held_ns / _NS_PER_S
            return RateLimitedError(
                f"{self._venue} does not listen for another {held_s:.0f} s: nothing was sent", retry_after_s=held_s
            )
        return None

    def _blocked_ns(self, operation: str, lane: Lane, now_ns: int, closed: set[int]) -> int:
        """Return how long a request has to wait at least, 0 for not at all; close what it waits for to those below."""
        wait = self._held_ns(operation, now_ns)
        if wait:
            return wait
        lacking = set()
        for name, units in self._costs.get(operation, {}).items():
            limit = self._limits[name]
            if not units:
                continue
            part = share(self._penalties[_scope(limit.info)], now_ns=now_ns)
            asks_ns = guessed_ns(limit.tally, now_ns=now_ns)
            # One at a time: those that wait for a guess ask nothing, so it would stay one for a whole window.
            asks = asks_ns is not None and asks_ns <= 0 and not self._units_under_way(name, now_ns)
            for gauge, most in limit.bounds(lane, part, asks=asks):
                if id(gauge) in closed:
                    wait = max(wait, _LONGEST_WAIT_NS)
                ns = wait_ns(gauge.meter, units=units, now_ns=now_ns, limit=most)
                if ns:
                    lacking.add(id(gauge))
                    step_ns = next_step_ns(self._penalties[_scope(limit.info)], now_ns=now_ns)
                    soon_ns = None if asks_ns is None else asks_ns if asks_ns > 0 else _NS_PER_S  # for its answer
                    wait = max(wait, min(each for each in (ns, step_ns, soon_ns) if each is not None))
            most = limit.count_bound(lane, units)
            ns = tally_wait_ns(limit.tally, meter=limit.whole, units=units, limit=most, now_ns=now_ns)
            if id(limit) in closed:
                wait = max(wait, _LONGEST_WAIT_NS)
            if ns:
                lacking.add(id(limit))
                wait = max(wait, ns)
        closed |= lacking
        return wait

    def _let_go(self, operation: str, lane: Lane, now_ns: int) -> None:
        for name, units in self._costs.get(operation, {}).items():
            limit = self._limits[name]
            limit.tally = spend(limit.tally, units=units)
            for gauge in limit.counted(lane):
                gauge.meter = take(gauge.meter, units=units, now_ns=now_ns)
        key = _is_trading(operation)
        if lane is not Lane.CANCEL:
            self._breakers[key] = admitted(self._breakers[key], now_ns=now_ns)
        self._under_way.setdefault(operation, deque()).append(now_ns)
        self._served_ns[lane] = now_ns

    def _held_ns(self, operation: str, now_ns: int) -> int:
        """Return how long the venue does not listen to such a request."""
        until_ns = self._penalties["ip"].until_ns
        costs = self._costs.get(operation, {})
        if any(units and _scope(self._limits[name].info) == "account" for name, units in costs.items()):
            until_ns = max(until_ns, self._penalties["account"].until_ns)
        return max(0, until_ns - now_ns)

    def _units_under_way(self, name: str, now_ns: int) -> int:
        """Return what left and has no answer: the venue may have counted it, or not."""
        units = 0
        for operation, departures in self._under_way.items():
            while departures and departures[0] <= now_ns - _LOST_NS:
                departures.popleft()
            units += len(departures) * self._costs.get(operation, {}).get(name, 0)
        return units


def _lane(operation: str) -> Lane:
    return _LANES.get(operation, Lane.DATA)


def _is_trading(operation: str) -> bool:
    return _lane(operation) is not Lane.DATA


def _scope(limit: RateLimit) -> str:
    return "account" if limit.scope == "account" else "ip"


def _limit(limit: RateLimit, costs: Mapping[str, Mapping[str, int]]) -> _Limit:
    """Return a limit with a gauge for each lane that has a request which counts against it."""
    window_ns = int(limit.window_s * _NS_PER_S)
    held_ns = window_ns + min(_TRAVEL_NS, window_ns // 10)
    largest: dict[Lane, int] = {}  # by lane, of its requests and those below
    for operation, units in costs.items():
        for lane in Lane:
            if lane <= _lane(operation) and units.get(limit.name):
                largest[lane] = max(largest.get(lane, 0), units[limit.name])
    own = {_lane(operation) for operation, units in costs.items() if units.get(limit.name)}
    gauges = {
        lane: _Gauge(
            meter=Meter(limit=limit.limit, window_ns=held_ns),
            share=1.0 if lane is min(own) else _SHARES[lane],
            least=largest[lane],
            is_free=lane is Lane.CANCEL,
        )
        for lane in sorted(own)
    }
    pace = None
    if limit.limit >= _PACED_FROM and _scope(limit) == "ip" and Lane.DATA in own:
        part = max(math.ceil(limit.limit * _PACE_SHARE), largest[Lane.DATA])
        meter = Meter(limit=part, window_ns=held_ns // _PACE_PARTS)
        pace = _Gauge(meter=meter, share=1.0, least=part, is_free=True)
    # An address is often shared, and by whom shows after a while only; an account hardly ever.
    guess = limit.limit // 2 if _scope(limit) == "ip" else 0
    tally = Tally(limit=limit.limit, window_ns=window_ns, guess=guess)
    return _Limit(info=limit, gauges=gauges, pace=pace, tally=tally)
