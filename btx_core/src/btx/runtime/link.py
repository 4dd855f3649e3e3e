"""What exists while a session runs: ports, desks, streams. Lives on btx-io."""

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from decimal import Decimal
from typing import Any, Protocol

import attrs

from btx.config import Secret, Settings
from btx.errors import ConfigError, TransportError
from btx.model.account import AccountSnapshot, Balance, BalanceUpdate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.journal import Halted, Intent, Record, Resumed, RunEnded, RunStarted
from btx.model.market import Bar
from btx.model.order import Fill, Leg, OrderReport, Status
from btx.model.venue import Capabilities, Channel, Connection, Endpoints, Environment, StreamStatus, Subscription
from btx.plugins import Venue
from btx.ports import Broker, Clock, Context, Feed, Journal, Recording, Store, Stream, StreamEvent
from btx.rules.backoff import Backoff
from btx.rules.breaker import Breaker
from btx.rules.reconcile import Sharing
from btx.rules.recovery import History, positions, replay, undelivered, unfinished
from btx.rules.staleness import Patience
from btx.runtime.bars import BarDesk, BarTimes
from btx.runtime.books import BookDesk
from btx.runtime.clock import MarketClock
from btx.runtime.control import Control
from btx.runtime.faultpoints import reach
from btx.runtime.guard import Guard
from btx.runtime.keeper import Keeper
from btx.runtime.latest import Latest, Prints
from btx.runtime.lines import MarketLines
from btx.runtime.mailbox import (
    GroupWritten,
    Mailbox,
    MemberEnded,
    Note,
    OrderUpdate,
    Recovered,
    SessionItem,
    Wakeup,
)
from btx.runtime.orders import NEVER, OrderDesk, Resubmit
from btx.runtime.pace import Lockstep
from btx.runtime.prints import TradeDesk
from btx.runtime.reconciler import Reconciler
from btx.runtime.routes import Routes
from btx.runtime.supervisor import REDIAL, StreamSupervisor
from btx.runtime.tasks import Tasks
from btx.runtime.timekeeping import Timekeeper
from btx.runtime.views import RecentBars

__all__ = ("DEFAULT_TIMING", "Facts", "Link", "OpenJournal", "OpenRecording", "Outside", "Timing")

_log = logging.getLogger("btx.session")
_CLOCK_PERIOD_S = 60.0
_CLOCK_READINGS = 3
_CLOCK_GRAIN_NS = 2_000_000  # venues name whole milliseconds, and clocks drift until the next reading
_NOISY_TRIES = 4
_MANY_EVENTS = 1000
_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Timing:
    """How patient a link is."""

    clock_period_s: float = _CLOCK_PERIOD_S  # between two readings of the venue's clock
    redial: Backoff = REDIAL  # between two connections
    stall_s: float = 60.0  # how long lockstep may stand still
    nudge_s: float = 2.0  # of silence in lockstep, until bars that have closed are asked for
    settle_pause_s: float = 2.0  # between two questions about one order
    patience_s: float | None = None  # until "no such order" is believed; None: the receive window and a margin
    grace_s: float = 1.0  # for the answers to what is being sent, at the end
    bars: BarTimes = BarTimes()  # noqa: RUF009 -- frozen
    patience: Patience = Patience()  # noqa: RUF009 -- frozen; with silent streams
    most_bars: int = 10_000  # in the mailbox of a data; what is above it is fetched when the strategy has caught up
    part_s: float = 1.5  # for one part to end, before it is cancelled
    poll_s: float = 3.0  # between two questions about the orders while the account stream is down
    audit_s: float = 300.0  # between two audits of orders, fills and balances
    outside_s: float = 1.0  # between two looks at what other processes ask
    breaker: Breaker = Breaker()  # noqa: RUF009 -- frozen
    grace_drift_s: float = 1.0  # until a balance that nobody explained is looked into
    mark_s: float = 60.0  # between two marks in a recording


DEFAULT_TIMING = Timing()


OpenJournal = Callable[[str, Callable[[str], None]], AbstractContextManager[Journal]]
"""Opens the journal of the account with this key; what goes wrong with it later is told to the callback."""


OpenRecording = Callable[[Clock, Settings, Callable[[str], None]], Recording]
"""Begins a recording with these clocks and secrets; what goes wrong with it later is told to the callback."""


class Outside(Protocol):
    """What reaches a session from other processes, and what it tells them. Called on threads that may wait."""

    def enter(self, *, api_key: str, endpoints: Endpoints | None) -> None:
        """Say that this process trades on the account.

        Raises:
            OSError: it cannot be said.
        """

    def look(
        self, *, halted: str | None, naked: Mapping[str, Decimal], unknown: Collection[str]
    ) -> tuple[tuple[str, str], ...]:
        """Tell what is so, and return what is asked: ``("halt", reason)`` or ``("resume", "")``.

        Raises:
            OSError: the disk does not read.
        """

    def leave(self) -> None:
        """Say that it does no longer. Idempotent."""


@attrs.define(kw_only=True)
class Facts:
    """What is known of a venue and an account; written on btx-io, read by anybody, value by value."""

    settings: Settings
    clock: MarketClock = attrs.field(factory=MarketClock)
    endpoints: Endpoints | None = None
    account: AccountSnapshot | None = None  # as it was at start
    account_now: AccountSnapshot | None = None  # with every update since
    instruments: Mapping[str, Instrument] = attrs.field(factory=dict)
    fees: dict[str, FeeSchedule] = attrs.field(factory=dict)
    rates: dict[tuple[str, str], Decimal] = attrs.field(factory=dict)  # (asset, currency) -> price
    recent: RecentBars = attrs.field(factory=RecentBars)
    halted: str | None = None  # why only reductions may be sent
    recovered: Recovered = attrs.field(factory=Recovered)
    states: dict[str, str] = attrs.field(factory=dict)  # what strategies saved, by name

    @property
    def api_key(self) -> str:
        """The account's key: the user's, or the simulator's first."""
        return self.settings.api_key.reveal()


class Link:
    """One run of a session, from the first connection to the last."""

    def __init__(
        self,
        *,
        venue: Venue,
        environment: Environment,
        market: str,
        facts: Facts,
        wakeup: Wakeup,
        events: Mailbox[SessionItem],
        endpoints: Callable[[AsyncExitStack], Awaitable[Endpoints | None]],
        timing: Timing,
        session: str,
        journal: OpenJournal | None,
        run: str,
        next_id: Callable[[], str],
        sharing: Sharing = Sharing.EXCLUSIVE,
        resubmit: Resubmit = NEVER,
        outside: Outside | None = None,
        on_resume: Callable[[], None] = lambda: None,
        open_recording: OpenRecording | None = None,
    ) -> None:
        self.facts = facts
        self.recording: Recording | None = None
        self._open_recording = open_recording
        self.desk: OrderDesk | None = None
        self.bars: BarDesk | None = None
        self.books: BookDesk | None = None
        self.prints: TradeDesk | None = None
        self.lines: MarketLines | None = None
        self.account_stream: StreamSupervisor | None = None
        self._venue = venue
        self._environment = environment
        self._market = market
        self._wakeup = wakeup
        self._events = events
        self._open_endpoints = endpoints
        self._resources = AsyncExitStack()  # what the adapter and the simulator hold
        self._parts = AsyncExitStack()  # what uses it: ended before it
        self._tasks = Tasks(self.fault)
        self._ends_with_run(self._tasks.stop)
        self._lockstep: Lockstep | None = None
        self._account_up = asyncio.Event()
        self._account_events = 0
        self._assets: set[str] = set()
        self._resyncing: asyncio.Task[None] | None = None
        self._fatal: Exception | None = None
        self._alarm_at = _MANY_EVENTS  # events that wait for the strategy
        self._is_halted = False  # and it is written down; the strategy's thread may know a moment before
        self._down_reason = ""
        self._timing = timing
        self._session = session
        self._open_journal = journal
        self._run = run
        self._next_id = next_id
        self._sharing = sharing
        self._resubmit = resubmit
        self._outside = outside
        self._on_resume = on_resume
        self._journal: Journal | None = None
        self.reconciler: Reconciler | None = None
        self.keeper: Keeper | None = None
        self.routes: Routes | None = None
        self._polling: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._guard = Guard(info=venue.info, breaker=timing.breaker, on_clock_doubt=self._on_clock_doubt)
        self._timekeeper: Timekeeper | None = None

    async def open(self) -> None:
        """Connect; the facts are complete afterwards.

        Raises:
            BtxError: the venue was not reached, or does not accept the keys.
        """
        facts = self.facts
        facts.endpoints = endpoints = await self._open_endpoints(self._resources)
        if endpoints is not None:
            facts.clock.follow(endpoints.clock)
            facts.settings = _with_simulator_keys(facts.settings, endpoints)
        self.recording = await self._start_recording()
        context = Context(
            settings=facts.settings,
            environment=self._environment,
            market=self._market,
            endpoints=endpoints,
            clock=facts.clock,
            resources=self._resources,
            observe=self._guard.observe,
            tap=self.recording.tap if self.recording is not None else None,
        )
        store, feed = self._venue.store(context), self._venue.feed(context)
        await self._set_clock(store)
        facts.instruments = await self._guard.read("instruments", store.instruments)
        stream = self._venue.websocket(context)
        broker = self._recorded(self._venue.broker(context))
        self._journal = journal = await self._start_journal()
        history = await self._read_journal(journal)
        bars, prints = self._open_market(feed, stream)
        self.account_stream = self._account_supervisor(stream)
        self._ends_with_run(self.account_stream.stop)
        self.desk = desk = self._order_desk(broker, journal, in_lockstep=_is_lockstep(endpoints))
        self._ends_with_run(desk.stop)  # before the stream: the answers to its requests come over it
        self.keeper = self._new_keeper(desk)
        self.routes = Routes(
            desk=desk,
            keeper=self.keeper,
            capabilities=self._capabilities,
            next_id=self._next_id,
            post=self._post_event,
        )
        self._ends_with_run(self.keeper.stop)
        self._ends_with_run(self._tasks.stop)  # first to end: nothing may ask the desk for more
        self.reconciler = self._new_reconciler(desk, broker, store, journal)
        self._start(self._keep_time(store, feed), "keeping time")  # what follows may find that a clock was set
        desk.recover(history)
        self.reconciler.recover(history)
        self.account_stream.start((Subscription(channel=Channel.ACCOUNT),))
        await self._account_up.wait()
        if self._fatal is not None:
            raise self._fatal
        # After the stream stands, so that nothing between the two is missing.
        facts.account = facts.account_now = await self.reconciler.reconcile()
        reach("recovery.settled")
        self._finish_recovery(history, desk)
        await self._refresh_rates(feed)
        if endpoints is not None:
            await self._follow_simulator(endpoints, desk, bars)
        if self._lockstep is None:
            self._start(prints.keep_time(), "closing bars on time")
        self._start(self._audit(), "auditing the account")
        if self._outside is not None:
            outside = self._outside
            self._resources.push_async_callback(asyncio.to_thread, outside.leave)
            await asyncio.to_thread(outside.enter, api_key=facts.api_key, endpoints=endpoints)
            self._start(self._watch_outside(outside), "hearing other processes")

    def _open_market(self, feed: Feed, stream: Stream) -> tuple[BarDesk, TradeDesk]:
        """Make the desks of market data; none of them connects before a data is opened."""
        self.lines = lines = self._market_lines(stream)
        self.bars, self.books = bars, books = self._bar_desk(feed, lines), self._book_desk(feed, lines)
        self.prints = prints = self._trade_desk(feed, lines)
        for part in (lines, bars, books, prints):
            self._ends_with_run(part.stop)
        return bars, prints

    def _recorded(self, broker: Broker) -> Broker:
        return self.recording.broker(broker) if self.recording is not None else broker

    async def _start_recording(self) -> Recording | None:
        """Begin to write this run down; what is closed with the venue's connections is still in it."""
        if self._open_recording is None:
            return None
        loop = asyncio.get_running_loop()

        def on_fault(text: str) -> None:  # on the recording's own thread
            with contextlib.suppress(RuntimeError):  # the loop has ended: so has the run
                loop.call_soon_threadsafe(self._note, "FAULT", text)

        opening = functools.partial(self._open_recording, self.facts.clock, self.facts.settings, on_fault)
        try:
            recording = await asyncio.to_thread(opening)
        except OSError as error:
            raise ConfigError(f"record=: {error.filename or ''} cannot be written: {error.strerror}") from error

        async def end() -> None:
            recording.mark(self.facts.account_now, ended=True)
            await asyncio.to_thread(recording.close)

        async def mark() -> None:
            while True:
                await asyncio.sleep(self._timing.mark_s)
                recording.mark(self.facts.account_now)

        self._resources.push_async_callback(end)
        self._start(mark(), "marking the recording")
        return recording

    async def _start_journal(self) -> Journal | None:
        """Open the account's journal; it is closed after everything that writes to it."""
        if self._open_journal is None:
            return None
        loop = asyncio.get_running_loop()

        def on_fault(text: str) -> None:  # on the journal's own thread
            loop.call_soon_threadsafe(self._note, "FAULT", f"journal: {text}")

        opening = self._open_journal(self.facts.api_key, on_fault)
        entering = asyncio.ensure_future(asyncio.to_thread(opening.__enter__))
        self._resources.push_async_callback(_leave, opening, entering)
        journal = await asyncio.shield(entering)  # a start that is interrupted must still give it back
        started = RunStarted(
            run=self._run,
            session=self._session,
            environment=self._environment,
            version=importlib.metadata.version("btx-core"),
            time_ns=self.facts.clock.wire_ns(),
        )
        await journal.append(started, durable=False)
        self._ends_with_run(functools.partial(self._end_journal, journal))
        return journal

    async def _read_journal(self, journal: Journal | None) -> History:
        reach("recovery.before")
        if journal is None:
            return History()
        endpoints = self.facts.endpoints
        if endpoints is not None and not endpoints.is_under_way:
            history = History()  # a world that begins now: what was written down is of another one of that name
        else:
            history = await asyncio.to_thread(lambda: replay(record for _, _, record in journal.records()))
        reach("recovery.read")
        if history.halted is not None:
            self._is_halted = True
            self.facts.halted = history.halted.reason
            self._note("HALT", f"{history.halted.reason}: only reductions are sent until `btx resume`")
        self.facts.states.update(history.states)
        return history

    def _finish_recovery(self, history: History, desk: OrderDesk) -> None:
        history.orders.update(desk.orders)
        untold = undelivered(history)
        keep = unfinished(history).keys() | untold.keys()
        self.facts.recovered = Recovered(
            orders=tuple(order for order_id, order in history.orders.items() if order_id in keep),
            groups=tuple(state.group for state in history.groups.values() if not state.is_over),
            undelivered=untold,
            cost=positions(history),
            crashed=history.crashed_before,
        )
        desk.recovered()
        if self.keeper is not None:
            self.keeper.recover(self.facts.recovered.groups)
        reach("recovery.after")

    async def _end_journal(self, journal: Journal) -> None:
        if self.reconciler is not None:
            self.reconciler.write_snapshot()
        journal.post(RunEnded(run=self._run, time_ns=self.facts.clock.wire_ns()))

    def _intent(self, leg: Leg) -> Intent:
        return Intent(leg=leg, environment=self._environment, session=self._session, run=self._run)

    def _order_desk(self, broker: Broker, journal: Journal | None, *, in_lockstep: bool) -> OrderDesk:
        desk = OrderDesk(
            broker=broker,
            clock=self.facts.clock,
            guard=self._guard,
            receive_window_s=self.facts.settings.receive_window_ms / 1000,
            one_at_a_time=in_lockstep,
            post=self._post_event,
            note=self._note,
            progressed=self._progressed,
            patience_s=self._timing.patience_s,
            settle_pause_s=self._timing.settle_pause_s,
            grace_s=self._timing.grace_s,
            journal=journal,
            intent=self._intent,
            next_id=self._next_id,
            can_replace=self._capabilities.replace,
            can_cancel_all=self._capabilities.cancel_all,
            resubmit=self._resubmit,
            is_halted=lambda: self.facts.halted is not None,
        )
        if self.recording is not None:
            desk.listen(self.recording.order)
        return desk

    def _new_reconciler(self, desk: OrderDesk, broker: Broker, store: Store, journal: Journal | None) -> Reconciler:
        return Reconciler(
            desk=desk,
            broker=broker,
            guard=self._guard,
            clock=self.facts.clock,
            journal=journal,
            sharing=self._sharing,
            instruments=lambda: self.facts.instruments,
            read_account=functools.partial(self._read_account, store),
            note=self._note,
            on_drift=self.halt,
            grace_s=self._timing.grace_drift_s,
        )

    def _new_keeper(self, desk: OrderDesk) -> Keeper:
        return Keeper(
            desk=desk,
            capabilities=self._capabilities,
            clock=self.facts.clock,
            post=self._post_event,
            note=self._note,
            written=lambda group: self._post_event(GroupWritten(group=group)),
            on_naked=self._on_naked,
            progressed=self._progressed,
        )

    def _on_naked(self, group_id: str, quantity: Decimal, seconds: float) -> None:
        self._note("NAKED", f"group {group_id}: {quantity} is without protection for {seconds:.1f} s")

    @property
    def _capabilities(self) -> Capabilities:
        return self._venue.info.capabilities[self._market]

    async def halt(self, reason: str) -> None:
        """Send nothing but reductions from here on, also after a restart, until the user resumes.

        Raises:
            JournalError: it could not be written down; this process halts all the same.
        """
        if self._is_halted:
            return
        self._is_halted = True
        self.facts.halted = reason
        self._note("HALT", f"{reason}: only reductions are sent until `btx resume`")
        if self._journal is not None:
            await self._journal.append(Halted(reason=reason, time_ns=self.facts.clock.wire_ns()), durable=True)

    async def resume(self) -> None:
        """Trade again: the user has looked.

        Raises:
            JournalError: it could not be written down; this process trades all the same.
        """
        if not self._is_halted:
            return
        self._is_halted = False
        self.facts.halted = None
        self._on_resume()
        self._note("RESUME", "trading goes on")
        if self._journal is not None:
            await self._journal.append(Resumed(time_ns=self.facts.clock.wire_ns()), durable=True)

    def _market_lines(self, stream: Stream) -> MarketLines:
        return MarketLines(
            stream=stream,
            tell=self._tell,
            on_fatal=self._on_market_fatal,
            size=self._capabilities.streams_per_connection,
            life_s=self._capabilities.connection_life_s,
            redial=self._timing.redial,
            patience=None if _is_lockstep(self.facts.endpoints) else self._timing.patience,
        )

    def _on_market_fatal(self, error: Exception) -> None:
        self._note("FATAL", f"market stream: {error}")
        self._end_feeds(error)

    def _end_feeds(self, error: Exception | None = None) -> None:
        for desk in (self.bars, self.prints):
            if desk is not None:
                desk.end(error)

    def _trade_desk(self, feed: Feed, lines: MarketLines) -> TradeDesk:
        return TradeDesk(
            lines=lines,
            feed=feed,
            clock=self.facts.clock,
            guard=self._guard,
            dense=self._capabilities.trade_ids_dense,
            post=self._post,
            note=self._note,
            progressed=self._progressed,
            on_close=self._learn_rate,
            on_hole=self._on_hole,
            span_ns=self.facts.clock.span_ns,
            doubt=self.facts.clock.doubt,
        )

    def _bar_desk(self, feed: Feed, lines: MarketLines) -> BarDesk:
        return BarDesk(
            feed=feed,
            lines=lines,
            clock=self.facts.clock,
            guard=self._guard,
            post=self._post,
            note=self._note,
            progressed=self._progressed,
            on_close=self._learn_rate,
            on_hole=self._on_hole,
            doubt=self.facts.clock.doubt,
            span_ns=self.facts.clock.span_ns,
            is_timed=not _is_lockstep(self.facts.endpoints),
            times=self._timing.bars,
        )

    def _on_hole(self, reason: str) -> None:
        self.facts.halted = self.facts.halted or reason  # before the strategy has the bar behind the hole
        self.start(self.halt(reason), "halting")

    def _book_desk(self, feed: Feed, lines: MarketLines) -> BookDesk:
        return BookDesk(
            feed=feed,
            lines=lines,
            clock=self.facts.clock,
            guard=self._guard,
            dense=self._capabilities.trade_ids_dense,
            note=self._note,
            progressed=self._progressed,
        )

    def _account_supervisor(self, stream: Stream) -> StreamSupervisor:
        def on_up(_standing: frozenset[Subscription]) -> None:
            self._guard.reached()
            if self._account_up.is_set():  # a reconnection: events may have been missed
                self._resync()
            self._account_up.set()

        return StreamSupervisor(
            name="account",
            stream=stream,
            sink=self._on_account_event,
            on_up=on_up,
            on_down=self._on_account_down,
            on_fatal=self._on_account_fatal,
            tell=self._tell,
            on_clock_doubt=self._on_clock_doubt,
            backoff=self._timing.redial,
            overlaps=False,  # an account has one stream; what a cut hides is asked for
        )

    def connections(self) -> Mapping[str, Connection]:
        """Return how each connection stands, by name. Any thread."""
        account = {"account": self.account_stream.status} if self.account_stream is not None else {}
        return {**account, **(self.lines.states() if self.lines is not None else {})}

    async def _follow_simulator(self, endpoints: Endpoints, desk: OrderDesk, bars: BarDesk) -> None:
        control = await Control.connect(endpoints.control)
        self._resources.push_async_callback(control.close)
        if not _is_lockstep(endpoints):
            self._start(self._wait_for_end(control), "waiting for the simulator's end")
            return
        self._lockstep = Lockstep(
            control=control,
            api_key=self.facts.api_key,
            clock=self.facts.clock,
            wakeup=self._wakeup,
            desk=desk,
            bars=bars,
            prints=self.prints,
            beside=() if self.books is None else (self.books,),
            on_stall=self._on_stall,
            on_silence=self._on_silence,
            is_busy=self._is_busy,
            on_step=lambda: self.keeper.on_time() if self.keeper is not None else None,
            stall_s=self._timing.stall_s,
            nudge_s=self._timing.nudge_s,
        )
        self._ends_with_run(self._lockstep.stop)
        if endpoints.is_under_way:  # the account as it was read has its past in it
            desk.catch_up(await self._lockstep.account_sequence())

    async def _wait_for_end(self, control: Control) -> None:
        while (event := await control.next_event()) is not None:
            if event.get("event") == "ended":
                self._end_feeds()
                return
        self._end_feeds(TransportError("the simulator went away"))

    def _ends_with_run(self, stop: Callable[[], Awaitable[None]]) -> None:
        async def stop_in_time() -> None:
            async with asyncio.timeout(self._timing.part_s):
                await stop()

        self._parts.push_async_callback(stop_in_time)

    def open_market(self, instrument: Instrument, channel: Channel, slot: Latest[Any] | Prints, depth: int) -> None:
        """Fill a slot with what the market pushes beside the bars."""
        if self.books is not None:
            self.books.open(instrument, channel, slot, depth=depth)

    def close_market(self, slot: Latest[Any] | Prints) -> None:
        """Fill a slot no more."""
        if self.books is not None:
            self.books.close(slot)

    def write(self, record: Record) -> None:
        """Write down something that nothing waits for."""
        if self._journal is not None:
            self._journal.post(record)

    def start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Do something that ends with the run at the latest."""
        self._start(work, what)

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> "asyncio.Task[None]":
        return self._tasks.start(work, what=what)

    @property
    def trouble(self) -> str:
        """Why the account stream is down, empty when nothing was heard."""
        return self.redacted(self._down_reason)

    async def close(self) -> None:
        """Hang up; after this nothing of the run is left on the loop."""
        try:
            await self._parts.aclose()
        finally:
            await self._resources.aclose()

    # --- idle, posts, notes -------------------------------------------------------------------------------------

    def on_idle(self, posted: int) -> None:
        """The strategy has taken all that was posted, and waits."""
        if self.bars is not None and self.prints is not None:
            self.bars.connect()
            self.prints.connect()
        if self._lockstep is not None:
            self._lockstep.on_idle(posted)

    def _progressed(self) -> None:
        if self._lockstep is not None:
            self._lockstep.progressed()

    def _post(self, mailbox: Mailbox[Any], item: Any, order: tuple[int, int] | None) -> None:
        if self._lockstep is not None:
            self._lockstep.hold(mailbox, item, order)
        else:
            mailbox.put(item)

    def _post_event(self, item: OrderUpdate | GroupWritten | MemberEnded | BalanceUpdate) -> None:
        self._post(self._events, item, None)
        waiting = len(self._events)
        if waiting >= self._alarm_at:
            self._alarm_at *= 10
            text = f"{waiting} events of the account wait for the strategy; none is dropped"
            _log.warning("%s: %s", self._session, text)  # at once: the note comes after all that waits
            self._note("SLOW", text)
        elif waiting < _MANY_EVENTS:
            self._alarm_at = _MANY_EVENTS

    def fault(self, what: str, error: Exception) -> None:
        """Tell that something of ours, or of the adapter, broke."""
        self._note("FAULT", f"{what} failed: {type(error).__name__}: {error}")

    def redacted(self, text: str) -> str:
        """Return ``text`` without the account's key and secret, whoever put them in."""
        for secret in (self.facts.settings.api_secret.reveal(), self.facts.settings.api_key.reveal()):
            if secret:
                text = text.replace(secret, "***")
        return text

    def _note(self, kind: str, text: str) -> None:
        self._tell(Note(kind=kind, text=text))

    def _tell(self, note: Note) -> None:
        self._post(self._events, attrs.evolve(note, text=self.redacted(note.text)), None)

    def _on_stall(self, error: Exception) -> None:
        self._note("FATAL", str(error))
        self._end_feeds(error)

    # --- the account --------------------------------------------------------------------------------------------

    def _on_account_event(self, event: StreamEvent) -> None:
        desk = self.desk
        assert desk is not None, "the account stream starts after the desk"
        self._account_events += 1
        if isinstance(event, OrderReport | Fill):
            if self.recording is not None:
                self.recording.account(event)
            desk.on_event(event)
        elif isinstance(event, BalanceUpdate):
            self._on_balances(event)
        elif isinstance(event, StreamStatus):
            self._note("FAULT", f"account stream: {event.detail}")
            self._resync()  # an event that could not be read is one that was missed

    def _on_balances(self, update: BalanceUpdate) -> None:
        account = self.facts.account_now
        if account is None:
            return  # the snapshot that is being read is newer
        self._assets |= update.balances.keys()
        self.facts.account_now = attrs.evolve(
            account, balances={**account.balances, **update.balances}, time_ns=update.time_ns
        )
        self._post_event(update)
        if self.reconciler is not None and self._looking is None and self.reconciler.hear(update):
            self._looking = self._start(self._look_into(), "looking into a balance")

    async def _look_into(self) -> None:
        """See whether a balance that our fills do not explain is explained in a moment; reconcile if not."""
        try:
            await asyncio.sleep(self._timing.grace_drift_s)
            assert self.reconciler is not None
            account = self.facts.account_now
            assert account is not None, "balances are heard of after the account is known"
            if self.reconciler.hear(BalanceUpdate(balances=account.balances, time_ns=account.time_ns)):
                await self.reconciler.reconcile()
        finally:
            self._looking = None

    def watch(self, symbol: str) -> None:
        """A strategy has a data of this instrument: say what others have open there."""
        if self.reconciler is not None:
            self._start(self.reconciler.look_at(symbol), f"looking at the orders in {symbol}")

    def _on_account_down(self, reason: str) -> None:
        self._down_reason = reason
        if self._account_up.is_set() and self._polling is None:
            self._polling = self._start(self._poll(), "asking for the orders while the account stream is down")

    async def _poll(self) -> None:
        """Ask for what the account stream would tell, until it stands again."""
        assert self.reconciler is not None
        try:
            while True:
                await asyncio.sleep(self._timing.poll_s)
                if self.account_stream is None or self.account_stream.is_up:
                    return
                try:
                    await self.reconciler.poll()
                except Exception as error:  # noqa: BLE001 -- told, and tried again: somebody must ask
                    self.fault("asking for the orders", error)
        finally:
            self._polling = None

    async def _watch_outside(self, outside: Outside) -> None:
        """Do what other processes ask for: `btx panic` halts, `btx resume` ends it."""
        told = ""
        while True:
            await asyncio.sleep(self._timing.outside_s)
            try:
                await self._look_outside(outside)
            except Exception as error:  # noqa: BLE001 -- told, and tried again: nobody else would hear `btx panic`
                if told != (told := repr(error)):  # once, not every second
                    self.fault("hearing other processes", error)
            else:
                told = ""

    async def _look_outside(self, outside: Outside) -> None:
        desk, keeper = self.desk, self.keeper
        assert desk is not None
        assert keeper is not None
        unknown = [order_id for order_id, order in desk.open_orders.items() if order.status is Status.UNKNOWN]
        look = functools.partial(outside.look, halted=self.facts.halted, naked=keeper.naked, unknown=unknown)
        for what, reason in await asyncio.to_thread(look):
            await (self.halt(reason) if what == "halt" else self.resume())

    async def _audit(self) -> None:
        """Look now and then whether everything is as it should be, though nothing was told."""
        while True:
            await asyncio.sleep(self._timing.audit_s)
            if self._lockstep is None and self.account_stream is not None and self.account_stream.is_up:
                try:
                    await self._settle_account()
                except Exception as error:  # noqa: BLE001 -- told, and tried again: audits must go on
                    self.fault("the audit of the account", error)

    def _on_account_fatal(self, error: Exception) -> None:
        self._note("FATAL", f"account stream: {error}")
        if self._account_up.is_set():
            self._end_feeds(error)
        self._fatal = error
        self._account_up.set()

    def _resync(self) -> None:
        if self._resyncing is not None:
            self._resyncing.cancel()
        self._resyncing = self._start(self._settle_account(), "reading the account after a cut")

    def _is_busy(self) -> bool:
        """Say whether something is about to happen without news: a group's next step, or the end of a doubt."""
        keeps = self.keeper is not None and self.keeper.is_busy
        return keeps or (self._timekeeper is not None and self._timekeeper.is_doubted)

    def _on_silence(self) -> None:
        if self._resyncing is None or self._resyncing.done():
            self._resync()

    async def _settle_account(self) -> None:
        """Fetch what the account stream missed: orders and fills first, then the balances that include them."""
        desk, reconciler = self.desk, self.reconciler
        assert desk is not None, "the account stream starts after the desk"
        if reconciler is None or self.facts.account is None:
            return  # the start reads the account itself
        sequence = await self._lockstep.account_sequence() if self._lockstep is not None else 0
        snapshot = await reconciler.reconcile()
        desk.catch_up(sequence)
        gone = {asset: Balance(free=_ZERO, locked=_ZERO) for asset in self._assets - snapshot.balances.keys()}
        self._on_balances(BalanceUpdate(balances={**gone, **snapshot.balances}, time_ns=snapshot.time_ns))

    async def _read_account(self, store: Store) -> AccountSnapshot:
        """Return a snapshot nothing was pushed during, so that it cannot be older than what was pushed."""
        for _ in range(_NOISY_TRIES):
            heard = self._account_events
            snapshot = await self._guard.read("account", store.account)
            if heard == self._account_events:
                break
        else:  # never quiet: the updates that follow will put it right
            snapshot = await self._guard.read("account", store.account)
        self._assets |= snapshot.balances.keys()
        return snapshot

    # --- clock and rates -------------------------------------------------------------------------------------------

    async def _keep_time(self, store: Store, feed: Feed) -> None:
        async def read() -> None:
            try:
                await self._set_clock(store)
                await self._refresh_rates(feed)
            except Exception as error:  # noqa: BLE001 -- told, and tried again: the clock must go on
                self.fault("reading the venue's clock", error)

        self._timekeeper = Timekeeper(read=read, period_s=self._timing.clock_period_s, on_read=self._progressed)
        await self._timekeeper.run()

    def _on_clock_doubt(self) -> None:
        if self._timekeeper is not None:
            self._timekeeper.doubt()

    async def _set_clock(self, store: Store) -> None:
        """Read the venue's clock; of several answers the fastest says most, and the first one dials as well."""
        clock = self.facts.clock

        async def reading() -> tuple[int, int]:  # measured around the one request, not around its waits and retries
            before_ns = clock.wire_ns()
            venue_ns = await store.server_time_ns()
            after_ns = clock.wire_ns()
            return after_ns - before_ns, venue_ns - (before_ns + after_ns) // 2

        took_ns, error_ns = min([await self._guard.read("time", reading) for _ in range(_CLOCK_READINGS)])
        clock.offset_ns += error_ns
        clock.doubt_ns = took_ns // 2 + _CLOCK_GRAIN_NS

    async def _refresh_rates(self, feed: Feed) -> None:
        """Learn what fees paid in a discount coin are worth, if the account holds any."""
        facts = self.facts
        currency = facts.settings.currency
        samples = tuple(facts.instruments.values())[:1]  # a venue has one discount coin for all its instruments
        for asset in {self._venue.commission(each, facts.account).discount_asset for each in samples} - {currency}:
            held = facts.account.balances.get(asset) if facts.account is not None and asset is not None else None
            symbol = f"{asset}/{currency}"
            if asset is None or held is None or not held.total or symbol not in facts.instruments:
                continue
            trade = await self._guard.read("last_price", functools.partial(feed.last_price, symbol=symbol))
            if trade is not None:
                facts.rates[asset, currency] = trade.price

    def _learn_rate(self, bar: Bar, instrument: Instrument) -> None:
        self.facts.rates[instrument.base, instrument.quote] = bar.close
        self.facts.recent.take(bar)
        if self.recording is not None:
            self.recording.bar(bar)
        if self.keeper is not None:
            self.keeper.on_price(instrument.symbol, bar.high, bar.low, bar.close, time_ns=bar.close_ns)


async def _leave(opening: AbstractContextManager[Journal], entering: "asyncio.Future[Journal]") -> None:
    """Close what was opened, even if nobody waited for it to open."""
    await asyncio.wait({entering})
    if entering.exception() is None:
        await asyncio.to_thread(opening.__exit__, None, None, None)


def _is_lockstep(endpoints: Endpoints | None) -> bool:
    return endpoints is not None and endpoints.clock.speed is None


def _with_simulator_keys(settings: Settings, endpoints: Endpoints) -> Settings:
    if settings.api_key:
        return settings
    account = endpoints.accounts[0]
    return attrs.evolve(settings, api_key=Secret(account.api_key), api_secret=Secret(account.api_secret))
