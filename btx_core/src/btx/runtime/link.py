"""What exists while a session runs: ports, desks, streams. Lives on btx-io."""

import asyncio
import functools
import importlib.metadata
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs

from btx.config import Secret, Settings
from btx.errors import TransportError
from btx.model.account import AccountSnapshot, Balance, BalanceUpdate
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.journal import Intent, RunEnded, RunStarted
from btx.model.market import Bar
from btx.model.order import Fill, Leg, OrderReport
from btx.model.venue import Channel, Endpoints, Environment, StreamState, StreamStatus, Subscription
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, Journal, Store, Stream, StreamEvent
from btx.rules.backoff import Backoff
from btx.runtime.bars import BarDesk
from btx.runtime.clock import MarketClock
from btx.runtime.control import Control
from btx.runtime.guard import Guard
from btx.runtime.mailbox import Mailbox, Note, OrderUpdate, SessionItem, Wakeup
from btx.runtime.orders import OrderDesk
from btx.runtime.pace import Lockstep
from btx.runtime.supervisor import REDIAL, StreamSupervisor
from btx.runtime.tasks import Tasks

__all__ = ("DEFAULT_TIMING", "Facts", "Link", "OpenJournal", "Timing")

_CLOCK_PERIOD_S = 60.0
_CLOCK_READINGS = 3
_CLOCK_GRAIN_NS = 2_000_000  # venues name whole milliseconds, and clocks drift until the next reading
_NOISY_TRIES = 4
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
    late_pause_s: float = 0.5  # until a bar that is late in the venue's history is asked for again
    overdue_s: float = 5.0  # after its close a bar that was not pushed is asked for, when the clock is read
    part_s: float = 1.5  # for one part to end, before it is cancelled


DEFAULT_TIMING = Timing()


OpenJournal = Callable[[str, Callable[[str], None]], AbstractContextManager[Journal]]
"""Opens the journal of the account with this key; what goes wrong with it later is told to the callback."""


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
    ) -> None:
        self.facts = facts
        self.desk: OrderDesk | None = None
        self.bars: BarDesk | None = None
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
        self._down_reason = ""
        self._timing = timing
        self._session = session
        self._open_journal = journal
        self._run = run
        self._guard = Guard(info=venue.info)

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
        context = Context(
            settings=facts.settings,
            environment=self._environment,
            market=self._market,
            endpoints=endpoints,
            clock=facts.clock,
            resources=self._resources,
        )
        store, feed = self._venue.store(context), self._venue.feed(context)
        await self._set_clock(store)
        facts.instruments = await self._guard.read("instruments", store.instruments)
        stream = self._venue.websocket(context)
        broker = self._venue.broker(context)
        journal = await self._start_journal()
        self.bars = bars = self._bar_desk(feed, stream)
        self._ends_with_run(bars.stop)
        self.account_stream = self._account_supervisor(stream, store)
        self._ends_with_run(self.account_stream.stop)
        self.desk = desk = self._order_desk(broker, journal, in_lockstep=_is_lockstep(endpoints))
        self._ends_with_run(desk.stop)  # first to end: the answers to its requests come over the stream
        self.account_stream.start((Subscription(channel=Channel.ACCOUNT),))
        await self._account_up.wait()
        if self._fatal is not None:
            raise self._fatal
        # After the stream stands, so that nothing between the two is missing.
        facts.account = facts.account_now = await self._read_account(store)
        await self._refresh_rates(feed)
        if endpoints is not None:
            await self._follow_simulator(endpoints, desk, bars)
        self._start(self._keep_time(store, feed), "keeping time")

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

    async def _end_journal(self, journal: Journal) -> None:
        journal.post(RunEnded(run=self._run, time_ns=self.facts.clock.wire_ns()))

    def _intent(self, leg: Leg) -> Intent:
        return Intent(leg=leg, environment=self._environment, session=self._session, run=self._run)

    def _order_desk(self, broker: Broker, journal: Journal | None, *, in_lockstep: bool) -> OrderDesk:
        return OrderDesk(
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
        )

    def _bar_desk(self, feed: Feed, stream: Stream) -> BarDesk:
        return BarDesk(
            feed=feed,
            stream=stream,
            clock=self.facts.clock,
            guard=self._guard,
            post=self._post,
            note=self._note,
            progressed=self._progressed,
            on_close=self._learn_rate,
            doubt=self.facts.clock.doubt,
            redial=self._timing.redial,
            late_pause_s=self._timing.late_pause_s,
        )

    def _account_supervisor(self, stream: Stream, store: Store) -> StreamSupervisor:
        def on_up() -> None:
            self._note("CONNECTED", "account stream")
            if self._account_up.is_set():  # a reconnection: events may have been missed
                self._resync(store)
            self._account_up.set()

        return StreamSupervisor(
            stream=stream,
            sink=functools.partial(self._on_account_event, store),
            on_up=on_up,
            on_down=self._on_account_down,
            on_fatal=self._on_account_fatal,
            backoff=self._timing.redial,
        )

    async def _follow_simulator(self, endpoints: Endpoints, desk: OrderDesk, bars: BarDesk) -> None:
        control = await Control.connect(endpoints.control)
        self._resources.push_async_callback(control.close)
        if not _is_lockstep(endpoints):
            self._start(self._wait_for_end(control, bars), "waiting for the simulator's end")
            return
        self._lockstep = Lockstep(
            control=control,
            api_key=self.facts.api_key,
            clock=self.facts.clock,
            wakeup=self._wakeup,
            desk=desk,
            bars=bars,
            on_stall=self._on_stall,
            stall_s=self._timing.stall_s,
            nudge_s=self._timing.nudge_s,
        )
        self._ends_with_run(self._lockstep.stop)

    async def _wait_for_end(self, control: Control, bars: BarDesk) -> None:
        while (event := await control.next_event()) is not None:
            if event.get("event") == "ended":
                bars.end()
                return
        bars.end(TransportError("the simulator went away"))

    def _ends_with_run(self, stop: Callable[[], Awaitable[None]]) -> None:
        async def stop_in_time() -> None:
            async with asyncio.timeout(self._timing.part_s):
                await stop()

        self._parts.push_async_callback(stop_in_time)

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
        if self.bars is not None:
            self.bars.connect()
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

    def _post_event(self, item: OrderUpdate | BalanceUpdate) -> None:
        self._post(self._events, item, None)

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
        self._post(self._events, Note(kind=kind, text=self.redacted(text)), None)

    def _on_stall(self, error: Exception) -> None:
        self._note("FATAL", str(error))
        if self.bars is not None:
            self.bars.end(error)

    # --- the account --------------------------------------------------------------------------------------------

    def _on_account_event(self, store: Store, event: StreamEvent) -> None:
        desk = self.desk
        assert desk is not None, "the account stream starts after the desk"
        self._account_events += 1
        if isinstance(event, OrderReport | Fill):
            desk.on_event(event)
        elif isinstance(event, BalanceUpdate):
            self._on_balances(event)
        elif isinstance(event, StreamStatus):
            self._note("FAULT", f"account stream: {event.detail}")
            if event.state is StreamState.LOST:
                self._resync(store)

    def _on_balances(self, update: BalanceUpdate) -> None:
        account = self.facts.account_now
        if account is None:
            return  # the snapshot that is being read is newer
        self._assets |= update.balances.keys()
        self.facts.account_now = attrs.evolve(
            account, balances={**account.balances, **update.balances}, time_ns=update.time_ns
        )
        self._post_event(update)

    def _on_account_down(self, reason: str) -> None:
        self._down_reason = reason
        self._note("DISCONNECTED", f"account stream: {reason}")

    def _on_account_fatal(self, error: Exception) -> None:
        self._note("FATAL", f"account stream: {error}")
        if self._account_up.is_set() and self.bars is not None:
            self.bars.end(error)
        self._fatal = error
        self._account_up.set()

    def _resync(self, store: Store) -> None:
        if self._resyncing is not None:
            self._resyncing.cancel()
        self._resyncing = self._start(self._settle_account(store), "reading the account after a cut")

    async def _settle_account(self, store: Store) -> None:
        """Fetch what the account stream missed: fills first, then the balances that include them."""
        desk = self.desk
        assert desk is not None, "the account stream starts after the desk"
        sequence = await self._lockstep.account_sequence() if self._lockstep is not None else 0
        desk.settle_open()
        await desk.settled()
        desk.catch_up(sequence)
        snapshot = await self._read_account(store)
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
        while True:
            await asyncio.sleep(self._timing.clock_period_s)
            try:
                await self._set_clock(store)
                await self._refresh_rates(feed)
            except Exception as error:  # noqa: BLE001 -- told, and tried again: the clock must go on
                self.fault("reading the venue's clock", error)
            if self.bars is not None and self._lockstep is None:  # in lockstep it is the pace that asks
                self.bars.fetch_overdue(late_ns=self.facts.clock.span_ns(self._timing.overdue_s))

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
