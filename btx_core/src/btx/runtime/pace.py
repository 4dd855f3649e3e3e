"""Lockstep: the market moves on only when the strategy has seen, and settled, everything there is.

The simulators of one cerebro move together: the one that is behind moves first,
and what a step of all of them brought is handed over at once.
"""

import asyncio
import functools
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Protocol

from btx.errors import TransportError
from btx.model.account import AccountUpdate
from btx.model.order import Fill, OrderReport
from btx.runtime.bars import BarDesk
from btx.runtime.clock import MarketClock
from btx.runtime.control import Control
from btx.runtime.mailbox import Mailbox, OrderUpdate, Wakeup
from btx.runtime.orders import OrderDesk
from btx.runtime.prints import TradeDesk
from btx.runtime.tasks import Tasks

__all__ = ("Decider", "Lockstep", "Paced", "rank")

_STALL_S = 60.0
_NUDGE_S = 2.0

Held = tuple[tuple[int, int, int, int, int], Mailbox[Any], Any]


class Paced(Protocol):
    """A desk that shows what the market pushes, and is waited for."""

    @property
    def is_ready(self) -> bool:
        """Nothing is on its way while the market stands."""

    def has_heard(self, channel: str, venue_symbol: str, sequence: int) -> bool:
        """Say whether what was pushed up to this sequence, or trade, is shown; True for what nobody asked for."""

    def catch_up(self) -> None:
        """Ask for what should have been pushed and was not."""


class Decider(Protocol):
    """What decides about orders by itself, and in lockstep only when all that has happened is known."""

    @property
    def is_due(self) -> bool:
        """There is something to decide."""

    def decide_due(self) -> None:
        """Decide; what follows from it is requested."""

    def end_steps(self) -> None:
        """Decide at once again: the steps are over."""

    def on_time(self) -> None:
        """Hear that the market's time has moved."""


class Lockstep:
    """Holds what arrives until a step is complete, then hands it over in one order, whatever came first.

    A step is: the strategy is idle; no request is unanswered; everything the
    simulator said about the account has arrived; only then the market plays to
    the next close.  So the same seed gives the same run.

    When the strategy waits and nothing has moved for ``stall_s``, or the control
    channel closes, ``on_stall`` is told once and nothing is held any more.
    After ``nudge_s`` of silence, bars that have closed are asked for, or
    ``on_silence`` is told that the account stream does not say what happened.
    What is pushed ``beside`` the bars is not held: the step only waits until it has come.
    ``is_busy`` tells that something is decided which will lead to requests;
    ``on_step`` is called when the market's time has moved, which no timer notices.
    """

    def __init__(
        self,
        *,
        control: Control,
        api_key: str,
        clock: MarketClock,
        wakeup: Wakeup,
        desk: OrderDesk,
        bars: BarDesk,
        prints: TradeDesk | None = None,
        on_stall: Callable[[Exception], None],
        on_silence: Callable[[], None] = lambda: None,
        beside: Collection[Paced] = (),
        is_busy: Callable[[], bool] = lambda: False,
        decider: Decider | None = None,
        stall_s: float = _STALL_S,
        nudge_s: float = _NUDGE_S,
    ) -> None:
        self._control = control
        self._api_key = api_key
        self._clock = clock
        self.wakeup = wakeup
        self._desk = desk
        self._bars = bars
        self._beside = beside
        self._prints = prints
        self._on_stall = on_stall
        self._on_silence = on_silence
        self._is_busy = is_busy
        self._decider = decider
        self._stall_s = stall_s
        self._nudge_s = nudge_s
        self._held: list[Held] = []
        self._arrivals = 0
        self._idle_at: int | None = None
        self._synced_at = 0  # value of desk.sent when the account was last known to be complete
        self._awaited = "the answer to a request, or history"
        self._progress = asyncio.Event()
        self._moved_at = asyncio.get_running_loop().time()
        self._has_ended = False
        self._is_over = False
        self._company = _company_of(wakeup)
        self._place = self._company.join(self)
        self._tasks = Tasks(lambda _what, error: self.fail(error))
        self._tasks.start(self._watch_control(), what="watching the control channel")
        self._tasks.start(self._watch_progress(), what="watching the pace")
        wakeup.be_patient(self)

    def hold(self, mailbox: Mailbox[Any], item: Any, order: tuple[int, int] | None) -> None:
        """Keep an item for the end of the step; when the steps are over, hand it on at once.

        What we decided comes first, then what the account stream told, in its
        own order, then bars by close time: whichever socket was faster.
        """
        if self._is_over:
            mailbox.put(item)
            return
        self._arrivals += 1
        place, close_ns, index = (2, *order) if order is not None else (rank(item), 0, 0)
        self._held.append(((place, close_ns, self._place, index, self._arrivals), mailbox, item))

    def on_idle(self, posted: int) -> None:
        """The strategy has taken all that was ``posted`` and waits."""
        if posted != self._idle_at:
            self._idle_at = posted
            self.progressed()

    def progressed(self) -> None:
        """Something arrived or was answered: see whether the step can go on."""
        self._moved_at = asyncio.get_running_loop().time()
        self._progress.set()
        self._company.turn()

    async def account_sequence(self) -> int:
        """Return the sequence of the last thing that happened to the account.

        Raises:
            TransportError: the simulator does not answer.
        """
        return int((await self._control.ask("sync", api_key=self._api_key))["sequence"])

    async def stop(self) -> None:
        """Stop pacing; what is held is handed over."""
        self._finish()
        await self._tasks.stop()

    def may_turn(self) -> bool:
        """Say whether the strategy waits, nothing is unanswered, and every feed and book has what came before."""
        is_ready = self._bars.is_ready and all(desk.is_ready for desk in self._beside)
        is_ready = is_ready and (self._prints is None or self._prints.is_ready)
        return self._is_calm() and is_ready and self._strategy_waits()

    def _strategy_waits(self) -> bool:
        return self._idle_at is not None and self._idle_at == self.wakeup.posted

    @property
    def market_ns(self) -> int:
        """The market's time here."""
        return self._clock.market_ns()

    @property
    def has_ended(self) -> bool:
        """The market has played its last step."""
        return self._has_ended

    @property
    def holds(self) -> bool:
        """Something waits to be handed over."""
        return bool(self._held)

    @property
    def must_settle(self) -> bool:
        """Requests were sent since the account was last known to be complete."""
        return self._synced_at != self._desk.sent or (self._decider is not None and self._decider.is_due)

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a step; what breaks it ends the pace of this simulator."""
        return self._tasks.start(work, what="a step of the market")

    async def settle(self) -> None:
        """Wait for everything the requests led to, and for what follows from that."""
        await self._settle_account()
        await self._decide()

    async def _settle_account(self) -> None:
        self._synced_at = self._desk.sent
        await self._hear_account(await self.account_sequence())

    async def _decide(self) -> None:
        """Have everything asked for that was announced, and all decided and done; nobody waits for the strategy."""
        await self._until(self._is_calm, lambda: None)
        while self._decider is not None and self._decider.is_due:
            self._decider.decide_due()
            await self._until(self._is_calm, lambda: None)
            await self._settle_account()

    def _is_calm(self) -> bool:
        return not self._desk.outstanding and not self._is_busy()

    def end(self) -> None:
        """Tell the feeds that nothing follows."""
        self._bars.end()
        if self._prints is not None:
            self._prints.end()
        self._finish()

    def take_held(self) -> list[Held]:
        """Return what is held, which is held no more."""
        self._awaited = "the answer to a request, or history"
        held, self._held = self._held, []
        if held:
            self._idle_at = None
        return held

    async def advance(self) -> None:
        """Play the market to its next close, and wait for everything that came of it."""
        self._awaited = "the market's next step"
        reply = await self._control.ask("advance", api_key=self._api_key, **self._next_stop())
        self._clock.step_to(reply["market_ns"])
        self._bars.close_due()
        if self._decider is not None:
            self._decider.on_time()
        for venue_symbol, interval, open_ns in reply["closed"]:
            self._awaited = f"the bar {venue_symbol} {interval} of {open_ns}"
            has_closed = functools.partial(self._bars.has_closed, venue_symbol, interval, open_ns)
            await self._until(has_closed, self._bars.fetch_overdue)
        for channel, venue_symbol, number in reply.get("told", ()):
            self._awaited = f"the {channel} of {venue_symbol} up to {number}"
            for desk in self._beside:
                await self._until(functools.partial(desk.has_heard, channel, venue_symbol, number), desk.catch_up)
        if self._prints is not None:
            trades = [(symbol, number) for channel, symbol, number in reply.get("told", ()) if channel == "trade"]
            await self._hear_trades(self._prints, trades)
        await self._hear_account(reply["sequence"])
        await self._decide()
        self._has_ended = reply["ended"]  # what the last bar leads to is settled before the feeds end

    def _next_stop(self) -> Mapping[str, int | bool]:
        """Return what ends the next step beside the close of a subscribed bar."""
        until_ns, by_trade = self._prints.next_stop(self.market_ns) if self._prints is not None else (None, False)
        ends = {} if until_ns is None else {"until_ns": until_ns}
        return {**ends, "by_trade": True} if by_trade else ends

    async def _hear_trades(self, prints: TradeDesk, traded: Iterable[tuple[str, int]]) -> None:
        for venue_symbol, trade_id in traded:
            self._awaited = f"the trade {venue_symbol} {trade_id}"
            has_traded = functools.partial(prints.has_traded, venue_symbol, trade_id)
            await self._until(has_traded, prints.fetch_overdue)
        prints.close_due()

    async def _hear_account(self, sequence: int) -> None:
        self._awaited = f"the account's event {sequence}"
        await self._until(lambda: self._desk.sequence >= sequence, self._on_silence)

    async def _until(self, condition: Callable[[], bool], nudge: Callable[[], object]) -> None:
        while not condition():
            self._progress.clear()
            try:
                async with asyncio.timeout(self._nudge_s):
                    await self._progress.wait()
            except TimeoutError:
                nudge()

    # --- when it is over -----------------------------------------------------------------------------------

    async def _watch_control(self) -> None:
        await self._control.wait_closed()
        raise TransportError("the simulator went away")

    async def _watch_progress(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._stall_s / 4)
            if self._strategy_waits() and loop.time() - self._moved_at >= self._stall_s:
                raise TransportError(f"lockstep stands still: {self._awaited} did not come within {self._stall_s:g} s")

    def fail(self, error: Exception) -> None:
        """Give up: hand over what is held, and tell why nothing follows."""
        if not self._is_over:
            self._finish()
            self._on_stall(error)

    def _finish(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._decider is not None:
            self._decider.end_steps()
        self._company.leave(self)
        _hand_over(self.wakeup, self.take_held())
        self.wakeup.forget_patience(self)


class _Company:
    """The simulators of one cerebro in lockstep."""

    def __init__(self) -> None:
        self._members: list[Lockstep] = []
        self._joined = 0
        self._step: asyncio.Task[None] | None = None

    def join(self, member: Lockstep) -> int:
        """Take a member in; return its place, by which equal things are ordered."""
        self._members.append(member)
        self._joined += 1
        return self._joined

    def leave(self, member: Lockstep) -> None:
        """Go on without a member."""
        if member in self._members:
            self._members.remove(member)
        if self._step is not None and not self._members and self._step is not asyncio.current_task():
            self._step.cancel()

    def turn(self) -> None:
        """Begin a step if everybody is ready for one."""
        if self._step is None and self._members and all(member.may_turn() for member in self._members):
            self._step = asyncio.get_running_loop().create_task(self._turn())
            self._step.add_done_callback(self._turned)

    def _turned(self, step: "asyncio.Task[None]") -> None:
        self._step = None
        if not step.cancelled() and isinstance(error := step.exception(), Exception):
            for member in tuple(self._members):
                member.fail(error)
        for member in self._members[:1]:
            member.progressed()

    async def _turn(self) -> None:
        members = tuple(self._members)
        if unsettled := [member for member in members if member.must_settle]:
            await self._each(unsettled, Lockstep.settle)
        elif not any(member.holds for member in members):
            if over := [member for member in members if member.has_ended]:
                for member in over:
                    member.end()
                return
            times_ns = [member.market_ns for member in members]
            behind = [m for m, time_ns in zip(members, times_ns, strict=True) if time_ns == min(times_ns)]
            await self._each(behind, Lockstep.advance)
        if self._members:
            _hand_over(self._members[0].wakeup, [held for member in self._members for held in member.take_held()])

    @staticmethod
    async def _each(members: Iterable[Lockstep], work: Callable[[Lockstep], Coroutine[Any, Any, None]]) -> None:
        """Let members do a part of the step side by side; one that breaks, or stops, leaves the company."""
        await asyncio.wait([member.start(work(member)) for member in members])


def _hand_over(wakeup: Wakeup, held: list[Held]) -> None:
    if held:
        wakeup.post([(mailbox, item) for _, mailbox, item in sorted(held, key=lambda entry: entry[0])])


_companies: "weakref.WeakKeyDictionary[Wakeup, _Company]" = weakref.WeakKeyDictionary()


def _company_of(wakeup: Wakeup) -> _Company:
    return _companies.setdefault(wakeup, _Company())


def rank(item: Any) -> int:
    """Return the place of an item in a batch: 0 for what we decided, 1 for what the account stream told."""
    told_by_stream = isinstance(item, AccountUpdate) or (
        isinstance(item, OrderUpdate) and isinstance(item.event, Fill | OrderReport)
    )
    return 1 if told_by_stream else 0
