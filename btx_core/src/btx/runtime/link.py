"""What exists while a session runs: ports, desks, streams. Lives on btx-io."""

import asyncio
import contextlib
import datetime
import functools
import importlib.metadata
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from decimal import Decimal
from typing import Any, cast

import attrs

from btx.config import Secret, Settings
from btx.errors import ConfigError, TransportError
from btx.model.account import Booking
from btx.model.instrument import Instrument
from btx.model.journal import Halted, Intent, Record, Resumed, RunEnded, RunStarted
from btx.model.market import Bar
from btx.model.order import Leg, Status, WireRef
from btx.model.venue import Capabilities, Connection, Endpoints, Environment
from btx.model.venue import DeadMan as DeadManKind
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, Journal, MarginFeed, MarginStore, PreparingBroker, Recording, Store, Stream
from btx.rules.calendar import trading_day
from btx.rules.reconcile import Sharing
from btx.rules.recovery import History, positions, replay, undelivered, unfinished, whole
from btx.rules.symbols import perpetual_of
from btx.rules.wallet import Key, MarginAccount
from btx.runtime.account import AccountSide
from btx.runtime.bookings import BookingDesk
from btx.runtime.control import Control
from btx.runtime.dead_man import DeadMan
from btx.runtime.facts import Facts, OpenJournal, OpenRecording, Outside, Timing
from btx.runtime.faultpoints import reach
from btx.runtime.guard import Guard
from btx.runtime.keeper import Keeper
from btx.runtime.ledger import Ledger
from btx.runtime.mailbox import (
    GroupWritten,
    Mailbox,
    Note,
    Recovered,
    SessionEvent,
    SessionItem,
    Wakeup,
)
from btx.runtime.margin import MarginSide
from btx.runtime.margining import AS_IT_IS, Margining
from btx.runtime.market import MarketSide
from btx.runtime.orders import OrderDesk
from btx.runtime.pace import Lockstep
from btx.runtime.placing import NEVER, Resubmit
from btx.runtime.planning import Planner
from btx.runtime.reconciler import Reconciler
from btx.runtime.routes import Routes
from btx.runtime.statements import Statements
from btx.runtime.tasks import Tasks
from btx.runtime.upkeep import Upkeep

__all__ = ("Link",)

_log = logging.getLogger("btx.session")
_MANY_EVENTS = 1000


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
        overtaken: Callable[[Leg], str | None] = lambda _leg: None,
        open_recording: OpenRecording | None = None,
        margining: Margining = AS_IT_IS,
        wanted: Callable[[], Collection[Key]] = frozenset,
    ) -> None:
        self.facts = facts
        self.recording: Recording | None = None
        self._open_recording = open_recording
        self.desk: OrderDesk | None = None
        self._planner: Planner | None = None
        self.market_side: MarketSide | None = None
        self.account_side: AccountSide | None = None
        self.margin_side: MarginSide | None = None
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
        self._alarm_at = _MANY_EVENTS  # events that wait for the strategy
        self._is_halted = False  # and it is written down; the strategy's thread may know a moment before
        self._timing = timing
        self._session = session
        self._open_journal = journal
        self._run = run
        self._next_id = next_id
        self._sharing = sharing
        self._resubmit = resubmit
        self._outside = outside
        self._on_resume = on_resume
        self._overtaken = overtaken
        self._margining = margining
        self._wanted = wanted
        self._journal: Journal | None = None
        self._statements: Statements | None = None
        self.reconciler: Reconciler | None = None
        self.keeper: Keeper | None = None
        self.routes: Routes | None = None
        self._guard = Guard(info=venue.info, market=market, breaker=timing.breaker, on_clock_doubt=self._on_clock_doubt)
        self._upkeep: Upkeep | None = None

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
            traded=lambda: [facts.instruments[each] for each in self._traded()],
            dead_man_s=self._dead_man_s(endpoints),
        )
        store, feed = self._venue.store(context), self._venue.feed(context)
        self._upkeep = upkeep = Upkeep(
            venue=self._venue,
            store=store,
            feed=feed,
            facts=facts,
            guard=self._guard,
            period_s=self._timing.clock_period_s,
            note=self._note,
            fault=self.fault,
            progressed=self._progressed,
        )
        await upkeep.set_clock()
        facts.instruments = await self._guard.read("instruments", store.instruments)
        stream = self._venue.websocket(context)
        broker = self._venue.broker(context)
        prepare = cast("PreparingBroker", broker).prepare if self._capabilities.prepares else None
        broker = self._recorded(broker)
        self._journal = journal = await self._start_journal()
        history = await self._read_journal(journal)
        self.market_side = market = self._new_market_side(feed, stream)
        for stop in market.stops:
            self._ends_with_run(stop)
        ledger = Ledger(
            margined=self._capabilities.margined, instruments=lambda: facts.instruments, show=self._show_margin
        )
        self._statements = Statements(journal=journal, facts=facts, ledger=ledger, now_ns=facts.clock.market_ns)
        self.desk = desk = self._order_desk(broker, prepare, journal)
        if self._capabilities.margined:
            self.margin_side = self._new_margin_side(store, feed, ledger, market, journal)
            self._ends_with_run(self.margin_side.bookings.stop)
        self.account_side = account = self._new_account_side(stream, store, desk, ledger)
        self.reconciler = account.reconciler = self._new_reconciler(desk, broker, account, ledger, journal)
        self._ends_with_run(account.stream.stop)
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
        dead_man = self._new_dead_man(broker, account)
        self._ends_with_run(dead_man.release)
        self._ends_with_run(self._tasks.stop)  # first to end: nothing may ask the desk for more
        self._start(upkeep.run(), "keeping time")  # what follows may find that a clock was set
        await self._recover(history, desk, account)
        await upkeep.refresh_rates()
        await upkeep.learn_fees([facts.instruments[each] for each in self._traded()])
        await self._begin(endpoints, desk, market, account)
        self._start(dead_man.run(), "keeping the dead man's switch off")

    async def _recover(self, history: History, desk: OrderDesk, account: AccountSide) -> None:
        """Take over what earlier runs left, and settle it with the venue."""
        if self.margin_side is not None:
            await self.margin_side.settle_modes()
            self.margin_side.bookings.recover(history)
        desk.recover(history)
        assert account.reconciler is not None
        account.reconciler.recover(history)
        await account.connect()
        await account.begin()
        reach("recovery.settled")
        self._finish_recovery(history, desk)

    async def _begin(
        self, endpoints: Endpoints | None, desk: OrderDesk, market: MarketSide, account: AccountSide
    ) -> None:
        """Begin what goes on until the run ends."""
        facts = self.facts
        if self.margin_side is not None and facts.account is not None:
            self.margin_side.begin(facts.account)
        if self._statements is not None:
            self._statements.write("START")
        if endpoints is not None:
            await self._follow_simulator(endpoints, desk, market)
        if self._lockstep is None:
            self._start(market.prints.keep_time(), "closing bars on time")
        self._start(account.audit(), "auditing the account")
        if self._outside is not None:
            outside = self._outside
            self._resources.push_async_callback(asyncio.to_thread, outside.leave)
            await asyncio.to_thread(outside.enter, api_key=facts.api_key, endpoints=endpoints)
            self._start(self._watch_outside(outside), "hearing other processes")

    def _new_dead_man(self, broker: Broker, account: AccountSide) -> DeadMan:
        """Return what has the venue cancel what rests when we are gone; idle where its market waits, or is in here."""
        endpoints, instruments = self.facts.endpoints, self.facts.instruments
        return DeadMan(
            after_s=self._dead_man_s(endpoints),
            kind=self._capabilities.dead_man or DeadManKind.COUNTDOWN,
            speed=(endpoints.clock.speed if endpoints is not None else None) or 1.0,
            broker=broker,
            guard=self._guard,
            instruments=lambda: [instruments[each] for each in self._traded()],
            is_healthy=lambda: account.stream.is_up,
            note=self._note,
        )

    def _dead_man_s(self, endpoints: Endpoints | None) -> float | None:
        is_idle = _is_lockstep(endpoints) or self._environment is Environment.PAPER
        return None if is_idle else self._timing.dead_man_s

    def _traded(self) -> list[str]:
        """Return the listed symbols the strategy has datas of, as far as it has said."""
        instruments = self.facts.instruments
        names = {each for key in self._wanted() for each in (key.symbol, perpetual_of(key.symbol))}
        return sorted(names & instruments.keys())

    def _new_market_side(self, feed: Feed, stream: Stream) -> MarketSide:
        return MarketSide(
            feed=feed,
            stream=stream,
            facts=self.facts,
            guard=self._guard,
            capabilities=self._capabilities,
            timing=self._timing,
            in_lockstep=_is_lockstep(self.facts.endpoints),
            post=self._post,
            tell=self._tell,
            note=self._note,
            progressed=self._progressed,
            on_bar=self._on_bar,
            on_hole=self._on_hole,
            on_fatal=self._on_market_fatal,
            calendar=self._venue.calendar,
        )

    def _new_margin_side(
        self, store: Store, feed: Feed, ledger: Ledger, market: MarketSide, journal: Journal | None
    ) -> MarginSide:
        statements = self._statements
        assert statements is not None  # it is made before
        margin_store = cast("MarginStore", store)  # as the capabilities promise

        def count(booking: Booking) -> None:
            ledger.on_booking(booking)
            statements.on_booking(booking)

        bookings = BookingDesk(
            store=margin_store,
            guard=self._guard,
            clock=self.facts.clock,
            journal=journal,
            count=count,
            post=self._post_event,
            note=self._note,
            progressed=self._progressed,
            **({"pauses_s": ()} if _is_lockstep(self.facts.endpoints) else {}),
        )
        return MarginSide(
            title=self._venue.info.title,
            store=margin_store,
            feed=cast("MarginFeed", feed),
            facts=self.facts,
            guard=self._guard,
            ledger=ledger,
            bookings=bookings,
            margining=self._margining,
            capabilities=self._capabilities,
            wanted=self._wanted,
            open_slot=market.books.open,
            start=self._start,
            note=self._note,
            fees=lambda instrument: self._venue.commission(instrument, self.facts.account),
        )

    def _new_account_side(self, stream: Stream, store: Store, desk: OrderDesk, ledger: Ledger) -> AccountSide:
        async def sequence() -> int:
            return await self._lockstep.account_sequence() if self._lockstep is not None else 0

        return AccountSide(
            stream=stream,
            store=store,
            facts=self.facts,
            guard=self._guard,
            timing=self._timing,
            desk=desk,
            ledger=ledger,
            margin=self.margin_side,
            recording=self.recording,
            in_lockstep=lambda: self._lockstep is not None,
            sequence=sequence,
            on_read=self._planner.take if self._planner is not None else lambda _snapshot: None,
            start=self._start,
            post=self._post_event,
            tell=self._tell,
            fault=self.fault,
            on_clock_doubt=self._on_clock_doubt,
            on_fatal=self._end_feeds,
        )

    def _new_reconciler(
        self, desk: OrderDesk, broker: Broker, account: AccountSide, ledger: Ledger, journal: Journal | None
    ) -> Reconciler:
        bookings = self.margin_side.bookings if self.margin_side is not None else None
        return Reconciler(
            desk=desk,
            broker=broker,
            guard=self._guard,
            clock=self.facts.clock,
            journal=journal,
            sharing=self._sharing,
            instruments=lambda: self.facts.instruments,
            read_account=account.read,
            note=self._note,
            on_drift=self.halt,
            ledger=ledger,
            fetch_bookings=bookings.fetch if bookings is not None else None,
            grace_s=self._timing.grace_drift_s,
            booked_s=self._timing.booked_s,
            attaching=self._capabilities.attaching,
        )

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
        keep = whole(history, unfinished(history).keys() | untold.keys())
        self.facts.recovered = Recovered(
            orders=tuple(order for order_id, order in history.orders.items() if order_id in keep),
            groups=tuple(state.group for state in history.groups.values() if not state.is_over),
            undelivered=untold,
            positions=positions(history),
            crashed=history.crashed_before,
        )
        desk.recovered()
        if self.margin_side is not None:
            self.margin_side.bookings.recovered()
        if self.keeper is not None:
            self.keeper.recover(self.facts.recovered.groups)
        reach("recovery.after")

    async def _end_journal(self, journal: Journal) -> None:
        if self._statements is not None:
            self._statements.write("END")
        if self.reconciler is not None:
            self.reconciler.write_snapshot()
        journal.post(RunEnded(run=self._run, time_ns=self.facts.clock.wire_ns()))

    def _intent(self, leg: Leg) -> Intent:
        return Intent(leg=leg, environment=self._environment, session=self._session, run=self._run)

    def _order_desk(
        self, broker: Broker, prepare: Callable[..., Awaitable[WireRef]] | None, journal: Journal | None
    ) -> OrderDesk:
        planner = self._planner = Planner(self._venue.plan, offsets=self._capabilities.offsets, day=self._trading_day)
        desk = OrderDesk(
            broker=broker,
            clock=self.facts.clock,
            guard=self._guard,
            receive_window_s=self.facts.settings.receive_window_ms / 1000,
            one_at_a_time=_is_lockstep(self.facts.endpoints),
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
            can_amend=self._capabilities.amend,
            can_cancel_all=self._capabilities.cancel_all,
            resubmit=self._resubmit,
            is_halted=lambda: self.facts.halted is not None,
            overtaken=self._overtaken,
            plan=planner,
            prepare=prepare,
        )
        desk.listen(planner.on_order)
        if self.recording is not None:
            desk.listen(self.recording.order)
        return desk

    def _trading_day(self, symbol: str) -> datetime.date | None:
        """Return the trading day that it is for an instrument, None where that is not known."""
        instrument = self.facts.instruments.get(symbol)
        if instrument is None:
            return None
        return trading_day(self._venue.calendar(instrument), self.facts.clock.market_ns())

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
            position=self._position,
        )

    def _position(self, key: Key) -> Decimal | None:
        """Return what is held by our own count; None on spot, and before anything is known."""
        account = self.facts.margin if self.facts.account is not None else None
        if account is None:
            return None
        held = account.positions.get(key)
        return held.quantity if held is not None else Decimal(0)

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

    def _on_market_fatal(self, error: Exception) -> None:
        self._note("FATAL", f"market stream: {error}")
        self._end_feeds(error)

    def _end_feeds(self, error: Exception | None = None) -> None:
        if self.recording is not None:  # what is on its way to a feed that has ended is not delivered
            self.recording.left()
        if self.market_side is not None:
            self.market_side.end_feeds(error)

    def _on_hole(self, reason: str) -> None:
        self.facts.halted = self.facts.halted or reason  # before the strategy has the bar behind the hole
        self.start(self.halt(reason), "halting")

    def connections(self) -> Mapping[str, Connection]:
        """Return how each connection stands, by name. Any thread."""
        account = {"account": self.account_side.stream.status} if self.account_side is not None else {}
        return {**account, **(self.market_side.lines.states() if self.market_side is not None else {})}

    async def _follow_simulator(self, endpoints: Endpoints, desk: OrderDesk, market: MarketSide) -> None:
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
            bars=market.bars,
            prints=market.prints,
            beside=(market.books,),
            on_stall=self._on_stall,
            on_silence=self._on_silence,
            is_busy=self._is_busy,
            decider=self.keeper,
            stall_s=self._timing.stall_s,
            nudge_s=self._timing.nudge_s,
        )
        if self.keeper is not None:
            self.keeper.wait_for_steps()
        self._ends_with_run(self._lockstep.stop)
        # The account as it was read has its past in it: of another process, or that its leverage was set.
        if endpoints.is_under_way or self.margin_side is not None:
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
        return self.redacted(self.account_side.trouble if self.account_side is not None else "")

    async def close(self) -> None:
        """Hang up; after this nothing of the run is left on the loop."""
        try:
            await self._parts.aclose()
        finally:
            await self._resources.aclose()

    # --- idle, posts, notes -------------------------------------------------------------------------------------

    def on_idle(self, posted: int) -> None:
        """The strategy has taken all that was posted, and waits."""
        if self.market_side is not None:
            self.market_side.connect()
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

    def _post_event(self, item: SessionEvent) -> None:
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

    # --- other processes ----------------------------------------------------------------------------------------

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

    def _is_busy(self) -> bool:
        """Say whether something is about to happen without news: a group's next step, or the end of a doubt."""
        keeps = self.keeper is not None and self.keeper.is_busy
        books = self.margin_side is not None and self.margin_side.bookings.is_busy
        return keeps or books or (self._upkeep is not None and self._upkeep.is_doubted)

    def _on_silence(self) -> None:
        if self.account_side is not None:
            self.account_side.on_silence()

    # --- facts ------------------------------------------------------------------------------------------------------

    def _on_clock_doubt(self) -> None:
        if self._upkeep is not None:
            self._upkeep.doubt()

    def watch(self, symbol: str) -> None:
        """A strategy has a data of this instrument."""
        if self.account_side is not None:
            self.account_side.watch(symbol)
        if self.margin_side is not None:
            self.margin_side.watch(symbol)
        instrument = self.facts.instruments.get(symbol)
        if instrument is not None and self._upkeep is not None and self._upkeep.lacks_fees(symbol):
            self._start(self._upkeep.learn_fees([instrument]), f"reading the fees of {symbol}")

    def _show_margin(self, account: MarginAccount) -> None:
        self.facts.margin = account

    def _on_bar(self, bar: Bar, instrument: Instrument) -> None:
        self.facts.rates[instrument.base, instrument.quote] = bar.close
        self.facts.prices[instrument.symbol] = bar.close
        if self._statements is not None:
            self._statements.on_time(bar.close_ns)
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
