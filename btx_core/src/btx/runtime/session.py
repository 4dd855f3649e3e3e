"""A session: one account at one venue, from the first connection to the last.

The strategy's thread calls it; everything it starts runs on btx-io.
"""

import asyncio
import contextlib
import difflib
import logging
import threading
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

from btx.config import Settings
from btx.errors import BtxError, TransportError, UnknownSymbolError
from btx.model.account import AccountSnapshot, Booking, BookingKind
from btx.model.calendar import Calendar
from btx.model.derivatives import LeverageTier, MarkPrice
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.journal import BookingDelivered, Delivered, StrategyState
from btx.model.market import OnGap
from btx.model.order import Group, GroupKind, Leg, Member, Order, OrderRequest, PositionSide
from btx.model.time import Interval
from btx.model.venue import Channel, Connection, Endpoints, Environment, VenueInfo
from btx.plugins import Venue
from btx.rules.calendar import bars_back, open_ns_between
from btx.rules.filters import MarketView
from btx.rules.reconcile import Sharing
from btx.rules.symbols import perpetual_of
from btx.rules.wallet import Key, MarginAccount
from btx.runtime.channel import BarChannel
from btx.runtime.clock import MarketClock
from btx.runtime.control import Control
from btx.runtime.facts import DEFAULT_TIMING, Facts, OpenJournal, OpenRecording, Outside, Timing
from btx.runtime.faultpoints import reach
from btx.runtime.ids import ClientIds
from btx.runtime.io_thread import IoThread, acquire_io
from btx.runtime.latest import Latest, Prints
from btx.runtime.link import Link
from btx.runtime.mailbox import BarItem, Mailbox, Recovered, SessionItem, Wakeup
from btx.runtime.margining import AS_IT_IS, Margining
from btx.runtime.placing import NEVER, Resubmit
from btx.runtime.prints import Making, TradeChannel
from btx.runtime.routes import Routes
from btx.runtime.vetting import Vetting
from btx.runtime.views import market_view

__all__ = ("Session",)

_log = logging.getLogger("btx.session")
_START_TIMEOUT_S = 60.0
_CLEAN_UP_TIMEOUT_S = 10.0
_CLOSE_SHARE = 0.6  # of the time to stop; the rest is for the loop to cancel what did not end
_DEFAULT_HISTORY_BARS = 100
_ZERO = Decimal(0)


class Session:
    """Everything between the façade and the ports of one account.

    ``endpoints`` is entered at start: it gives the simulator's addresses, or
    None for the venue's own.  ``refusal`` is why no order may leave, None when
    orders may.
    """

    def __init__(
        self,
        *,
        venue: Venue,
        environment: Environment,
        market: str,
        settings: Settings,
        endpoints: Callable[[AsyncExitStack], Awaitable[Endpoints | None]],
        refusal: str | None = None,
        start_timeout_s: float = _START_TIMEOUT_S,
        timing: Timing = DEFAULT_TIMING,
        journal: OpenJournal | None = None,
        sharing: Sharing = Sharing.EXCLUSIVE,
        resubmit: Resubmit = NEVER,
        outside: Outside | None = None,
        recording: OpenRecording | None = None,
        margining: Margining = AS_IT_IS,
    ) -> None:
        self.margining = margining
        self.info: VenueInfo = venue.info
        self.environment = environment
        self.market = market
        self.name = f"{venue.info.name}/{environment.value}/{market}"
        self._venue = venue
        self._endpoints = endpoints
        self._refusal = refusal
        self._start_timeout_s = start_timeout_s
        self._timing = timing
        self._journal = journal
        self._sharing = sharing
        self._resubmit = resubmit
        self._outside = outside
        self._recording = recording
        # Re-entrant: a signal handler may stop the session while its thread starts or stops it.
        self._lock = threading.RLock()
        self._io: IoThread | None = None
        self._link: Link | None = None
        self._opening: asyncio.Task[Any] | None = None
        self._wakeup = Wakeup()
        self._ids = ClientIds(venue.info.client_id)
        self._naked = {"total_s": 0.0, "longest_s": 0.0}  # of the last run
        self._legs: set[Key] = set()  # what the strategy's datas are of
        self._settings = settings
        self._facts: Facts
        self._vetting: Vetting
        self._forget()
        self.events: Mailbox[SessionItem] = Mailbox(self._wakeup)

    # --- life ---------------------------------------------------------------------------------------------

    def attach(self, wakeup: Wakeup) -> None:
        """Share a cerebro's wakeup; before ``start``.

        Raises:
            BtxError: the session runs for another cerebro.
        """
        if self._io is None:
            if wakeup is not self._wakeup:
                self._wakeup = wakeup
                self.events = Mailbox(wakeup)
        elif wakeup is not self._wakeup:
            raise BtxError(f"{self.name} runs for another cerebro: stop that one first, or load a store of its own")

    @property
    def is_running(self) -> bool:
        """Started and not stopped."""
        return self._io is not None

    def start(self) -> None:
        """Connect; instruments, fees and the account are known afterwards. Idempotent.

        Raises:
            BtxError: the venue was not reached, or does not accept the keys.
        """
        with self._lock:
            if self._io is not None:
                return
            io = acquire_io()
            try:
                self._forget()
                io.run(self._open(), timeout_s=self._start_timeout_s)
                self._vetting.begin()
            except BaseException as error:
                trouble = self._link.trouble if self._link is not None else ""
                self._hang_up(io, timeout_s=_CLEAN_UP_TIMEOUT_S)
                self._forget()
                if isinstance(error, TimeoutError):
                    because = f": {trouble}" if trouble else ""
                    raise TransportError(
                        f"{self.name} did not answer within {self._start_timeout_s:g} s{because}"
                    ) from error
                raise
            self._io = io
            self._wakeup.on_idle(self._on_idle)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Hang up, within ``timeout_s``: what does not end by then is cancelled. Idempotent.

        Nothing is cancelled at the venue by this.
        """
        with self._lock:
            io, self._io = self._io, None
            if io is None:
                return
            self._wakeup.forget_idle(self._on_idle)
            self._hang_up(io, timeout_s=timeout_s)

    def _hang_up(self, io: IoThread, *, timeout_s: float) -> None:
        try:
            io.run(self._close(), timeout_s=timeout_s * _CLOSE_SHARE)
        except TimeoutError:
            _log.warning("%s did not hang up within %g s: it is cut off", self.name, timeout_s)
        except Exception:  # noqa: BLE001 -- told; the thread must be let go all the same
            _log.exception("%s did not hang up cleanly", self.name)
        finally:
            io.release()

    async def _open(self) -> None:
        self._opening = asyncio.current_task()
        self._link = Link(
            venue=self._venue,
            environment=self.environment,
            market=self.market,
            facts=self._facts,
            wakeup=self._wakeup,
            events=self.events,
            endpoints=self._endpoints,
            timing=self._timing,
            session=self.name,
            journal=self._journal,
            run=self._ids.run,
            next_id=self._ids.next,
            sharing=self._sharing,
            resubmit=self._resubmit,
            outside=self._outside,
            on_resume=self._vetting.resumed,
            overtaken=self._vetting.overtaken,
            open_recording=self._recording,
            margining=self.margining,
            wanted=lambda: tuple(self._legs),
        )
        await self._link.open()

    def _forget(self) -> None:
        """Begin with nothing known."""
        self._facts = facts = Facts(settings=self._settings)
        self._vetting = Vetting(
            facts,
            is_margined=self.info.capabilities[self.market].margined,
            orders=self.open_orders,
            is_known=self._is_known,
            account=lambda: facts.account_now or self.account(),
            fees=self.fee_schedule,
            halt=self.halt,
            save=self.save_state,
            age_ns=self.signal_age_ns,
        )

    async def _close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:  # interrupted half-way, it lets go of what it holds, a child process perhaps
            await asyncio.wait({opening})
        self._naked = self.naked()
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    # --- facts -----------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings in force; in a simulator its keys are filled in at start."""
        return self._facts.settings

    @property
    def clock(self) -> MarketClock:
        """The session's two times."""
        return self._facts.clock

    def account(self) -> AccountSnapshot:
        """Return the account as it was at start.

        Raises:
            BtxError: the session was not started.
        """
        if self._facts.account is None:
            raise BtxError(f"{self.name} is not started: cerebro.run() does it, or store.start()")
        return self._facts.account

    def account_now(self) -> AccountSnapshot | None:
        """Return the account as it is, as far as was told; None before it was read."""
        return self._facts.account_now

    def instruments(self) -> Mapping[str, Instrument]:
        """Return all instruments of the market by symbol; empty before start."""
        return self._facts.instruments

    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument; in a market on margin a plain ``BTC/USDT`` means the perpetual.

        Raises:
            UnknownSymbolError: the venue lists none of this name; near ones are in the message.
        """
        listed = self._facts.instruments
        try:
            return listed[symbol] if symbol in listed else listed[perpetual_of(symbol)]
        except KeyError:
            near = difflib.get_close_matches(symbol.upper(), self._facts.instruments, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else _how_symbols_look(listed)
            raise UnknownSymbolError(f"{self.info.title} {self.market} has no instrument {symbol!r}: {hint}") from None

    def fee_schedule(self, instrument: Instrument) -> FeeSchedule:
        """Return the account's rates for an instrument."""
        if instrument.symbol not in self._facts.fees:
            self._facts.fees[instrument.symbol] = self._venue.commission(instrument, self._facts.account)
        return self._facts.fees[instrument.symbol]

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when an instrument trades. Any thread."""
        return self._venue.calendar(instrument)

    def signal_age_ns(self, instrument: Instrument, close_ns: int) -> int:
        """Return how old a bar that closed at ``close_ns`` is now: only time in which it trades counts."""
        return open_ns_between(self.calendar(instrument), close_ns, self._facts.clock.market_ns())

    def require(self, symbol: str, position_side: PositionSide = PositionSide.NET) -> None:
        """A data of the strategy is of this instrument and position; before ``start``, which sees whether that fits."""
        self._legs.add(Key(symbol, position_side))

    def margin(self) -> MarginAccount | None:
        """Return the account on margin as it is by our own count, to the last decimal; None on spot. Any thread."""
        return self._facts.margin

    def sums(self) -> Mapping[tuple[BookingKind, str], Decimal]:
        """Return what was booked by kind and asset since the journal began, fees negative; empty on spot."""
        account = self._facts.margin
        return account.bookings if account is not None else {}

    def mark(self, symbol: str) -> MarkPrice | None:
        """Return the newest mark price, with what is known of the next funding; None before one has come."""
        return self._facts.marks.get(symbol)

    def tiers(self, symbol: str) -> tuple[LeverageTier, ...]:
        """Return what the venue asks of positions, lowest tier first; empty where that is not known (yet)."""
        return self._facts.tiers.get(symbol, ())

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the last known price of ``asset`` in ``currency``, None when none is known. Never asks the network."""
        return self._facts.rate(asset, currency)

    def market_view(self, instrument: Instrument) -> MarketView:
        """Return what the venue's rules look at beside an order, as far as it is known. Never asks the network.

        The average price of the band's minutes is known when 1m bars of the instrument are; orders of others
        on the same account are not.
        """
        band = instrument.price_band
        return market_view(
            instrument,
            orders=self.open_orders(),
            account=self._facts.account_now,
            last_price=self._facts.reference_price(instrument),
            average_price=self._facts.recent.average_price(instrument.symbol, band.minutes) if band else None,
        )

    def is_account_connected(self) -> bool:
        """Say whether the account stream stands."""
        side = self._link.account_side if self._link is not None else None
        return side is not None and side.stream.is_up

    def connections(self) -> Mapping[str, Connection]:
        """Return how each connection stands, by name: ``account``, ``market``, ... Empty when not started."""
        return self._link.connections() if self._link is not None else {}

    def orders_refused(self) -> str | None:
        """Return why no order may leave in this environment, None when orders may."""
        if self._refusal is not None:
            return self._refusal
        if self._facts.account is not None and not self._facts.account.can_trade:
            return f"{self.info.title} says this account or key may not trade: check the key's permissions"
        return None

    # --- what the strategy does --------------------------------------------------------------------------------

    def check_order(self, request: OrderRequest) -> str | None:
        """Ask every extension about an order; return the first veto's reason."""
        return self._venue.check_order(request, self._facts.account_now or self.account())

    def submit(
        self,
        request: OrderRequest,
        *,
        oco_with: str | None = None,
        parent: str | None = None,
        max_age_ns: int | None = None,
    ) -> str:
        """Send an order; return its client order id at once. Everything else arrives in ``events``.

        ``oco_with`` names an order that is at the venue already: the first of both
        to fill cancels the other. ``parent`` names one whose exit this is. One of its own that has
        to wait for the limits of the venue is refused when its bar is older than ``max_age_ns`` then.

        Raises:
            BtxError: the session is not running, or orders are refused in this environment.
            RiskVetoError: trading is halted, and this is no reduction; or it breaks one of the limits.
        """
        self._check(request)
        client_order_id = self._ids.next()
        leg = Leg(client_order_id=client_order_id, request=request, quantity=request.quantity)
        if oco_with is not None or parent is not None:
            member = Member(member_id=client_order_id, request=request)
            group_id = self._ids.next()
            self._route(lambda routes: routes.join(member, group_id=group_id, oco_with=oco_with, parent=parent))
        else:
            self._vetting.hands_over(client_order_id, request, max_age_ns)
            self._route(lambda routes: routes.submit(leg))
        self._vetting.sent(client_order_id, request)
        return client_order_id

    def submit_group(
        self,
        kind: GroupKind,
        *,
        entry: OrderRequest | None,
        members: Sequence[OrderRequest],
        native_entry: bool = False,
        max_age_ns: int | None = None,
    ) -> Group:
        """Send a bracket or an OCO group; return it at once, with the ids of its members.

        ``max_age_ns`` is of the entry, as for ``submit``.

        Raises:
            BtxError: as for ``submit``.
        """
        for request in (entry,) if entry is not None else members:
            self._check(request)
        group = Group(
            group_id=self._ids.next(),
            kind=kind,
            entry=Member(member_id=self._ids.next(), request=entry) if entry is not None else None,
            members=tuple(Member(member_id=self._ids.next(), request=request) for request in members),
            native_entry=native_entry,
        )
        if group.entry is not None:
            self._vetting.hands_over(group.entry.member_id, group.entry.request, max_age_ns)
        self._route(lambda routes: routes.take_group(group))
        for member in (group.entry,) if group.entry is not None else group.members:
            self._vetting.sent(member.member_id, member.request)
        return group

    def know(self, leg: Leg) -> None:
        """Hand an order over, or its amendment, that a recording says was; for replays, whose broker sends nothing."""

        def hand_over(link: Link) -> None:
            if link.desk is not None and leg.client_order_id in link.desk.orders:
                link.desk.amend(leg.client_order_id, leg.request)
            elif link.desk is not None:
                link.desk.submit(leg)

        self._call_link(hand_over)

    def amend(self, owner_id: str, request: OrderRequest) -> None:
        """Change an order, or a member of a group: ``request`` is what it should be now, in all.

        Raises:
            BtxError: the session is not running.
            RiskVetoError: trading is halted, and this is no reduction; or it would grow beyond a limit.
        """
        self._vetting.check_halt(request)
        link = self._link
        if link is not None and link.desk is not None and link.keeper is not None and not link.keeper.is_exit(owner_id):
            self._vetting.check_amendment(owner_id, request, link.desk.legs(owner_id))
        self._route(lambda routes: routes.amend(owner_id, request))

    def cancel(self, owner_id: str) -> None:
        """Ask the venue to cancel an order of the strategy, whatever legs it has."""
        self._route(lambda routes: routes.cancel(owner_id))

    def cancel_all(self, owner_ids: Collection[str]) -> None:
        """Ask the venue to cancel several orders of the strategy, by one request where it can; each has its outcome."""
        self._route(lambda routes: routes.cancel_many(tuple(owner_ids)))

    def _check(self, request: OrderRequest) -> None:
        if (refused := self.orders_refused()) is not None:
            raise BtxError(refused)
        self._vetting.check(request)

    def look(self) -> None:
        """See what time has brought: a new day, from whose beginning its loss is measured. Ask every now and then."""
        if self._io is not None:
            self._vetting.look()

    # --- halts, restarts -----------------------------------------------------------------------------------------

    def halted(self) -> str | None:
        """Return why nothing but reductions is sent, None when trading goes on."""
        return self._facts.halted

    def halt(self, reason: str) -> None:
        """Send nothing but reductions from here on, also after a restart, until the user resumes."""
        self._call_link(lambda link: link.start(link.halt(reason), "halting"))
        self._facts.halted = self._facts.halted or reason  # for this thread at once

    def recovered(self) -> Recovered:
        """Return what an earlier process left, as it was when this one had started."""
        return self._facts.recovered

    def delivered(self, client_order_id: str, fill_id: str) -> None:
        """Write down that the strategy was told of a fill, so that a restart does not tell it again."""
        reach("delivered.before")
        self._call_link(lambda link: link.write(Delivered(client_order_id=client_order_id, fill_id=fill_id)))
        reach("delivered.after")

    def booking_delivered(self, booking: Booking) -> None:
        """Write down that the strategy was told of a booking, so that a restart does not tell it again."""
        record = BookingDelivered(kind=booking.kind, booking_id=booking.booking_id)
        self._call_link(lambda link: link.write(record))

    def save_state(self, name: str, text: str) -> None:
        """Keep a text of a strategy's own for the next process; the last one counts."""
        self._facts.states[name] = text
        now_ns = self._facts.clock.wire_ns()
        self._call_link(lambda link: link.write(StrategyState(name=name, text=text, time_ns=now_ns)))

    def load_state(self, name: str) -> str | None:
        """Return what was saved last under this name, by whatever process; None when nothing was."""
        return self._facts.states.get(name)

    def withdraw(self, owner_ids: Collection[str], *, timeout_s: float) -> None:
        """Cancel orders and wait until they have ended, at most ``timeout_s``: the end of a run."""
        io, link = self._io, self._link
        if io is not None and link is not None and link.routes is not None:
            with contextlib.suppress(TimeoutError):
                io.run(link.routes.withdraw(owner_ids), timeout_s=timeout_s)

    def naked(self) -> dict[str, float]:
        """Return how long brackets were without protection, in this run or the last: in all, and at the longest."""
        keeper = self._link.keeper if self._link is not None else None
        if keeper is None:
            return self._naked
        return {"total_s": keeper.naked_seconds_total, "longest_s": keeper.longest_naked_s}

    def orders(self) -> tuple[Order, ...]:
        """Return the orders of this session as they are now."""
        desk = self._link.desk if self._link is not None else None
        return tuple(desk.orders.values()) if desk is not None else ()

    def open_orders(self) -> tuple[Order, ...]:
        """Return those of this session's orders of which something is still to be heard, as they are now."""
        desk = self._link.desk if self._link is not None else None
        return tuple(desk.open_orders.values()) if desk is not None else ()

    def _is_known(self, client_order_id: str) -> bool:
        desk = self._link.desk if self._link is not None else None
        return desk is not None and client_order_id in desk.orders

    def open_bars(
        self,
        *,
        instrument: Instrument,
        interval: Interval,
        history_ns: int | None = None,
        history_bars: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        live: bool = True,
        whole: Interval | None = None,
        making: Making | None = None,
        on_gap: OnGap = OnGap.HALT,
    ) -> Mailbox[BarItem]:
        """Open a feed of closed bars: history first, then FeedLive, then live ones; FeedEnd when nothing follows.

        History begins at ``start_ns``, or ``history_ns`` or ``history_bars``
        before now; with none of them and ``live``, at the current bar. ``whole`` is
        what is made of the bars: history is counted in it, and begins with one.
        With ``making`` they are made of public trades.
        """
        counted = whole if whole is not None else interval
        by_count = making is not None and not counted.is_timed and start_ns is None and history_ns is None
        bars = history_bars if history_bars is not None else (0 if live else _DEFAULT_HISTORY_BARS)
        most = self._timing.most_bars
        mailbox: Mailbox[BarItem] = Mailbox(self._wakeup, low=most // 2, on_low=lambda: self._on_room(mailbox))

        def history(now_ns: int) -> int:
            if start_ns is not None:
                begin_ns = start_ns
            elif history_ns is not None:
                begin_ns = now_ns - history_ns
            elif counted.is_timed:
                begin_ns = bars_back(self.calendar(instrument), counted, now_ns, bars)
            else:
                begin_ns = now_ns
            return counted.open_of(begin_ns) if counted.is_timed else begin_ns

        def told(now_ns: int) -> int:
            begin_ns = history(now_ns)
            recording = self._link.recording if self._link is not None else None
            if recording is not None:
                recording.data(
                    symbol=instrument.symbol,
                    interval=interval,
                    start_ns=None if by_count else begin_ns,
                    counted=bars if by_count else None,
                    end_ns=end_ns,
                    live=live,
                    from_trades=making is not None,
                    fills=making is not None and making.fills,
                )
            return begin_ns

        settings: dict[str, Any] = {
            "index": 0,
            "instrument": instrument,
            "interval": interval,
            "mailbox": mailbox,
            "live": live,
            "history": told,
            "end_ns": end_ns,
            "calendar": self.calendar(instrument),
        }
        if making is not None:
            made = TradeChannel(
                making=making,
                history_trades=bars * counted.count if by_count else 0,
                on_gap=on_gap,
                most=most,
                **settings,
            )
            self._call_link(lambda link: link.market_side.open_prints(made) if link.market_side is not None else None)
        else:
            channel = BarChannel(on_gap=on_gap, most=most, **settings)
            self._call_link(lambda link: link.market_side.open_bars(channel) if link.market_side is not None else None)
        self._call_link(lambda link: link.watch(instrument.symbol))
        return mailbox

    def _on_room(self, mailbox: Mailbox[BarItem]) -> None:
        def on_room(link: Link) -> None:
            if link.market_side is not None:
                link.market_side.on_room(mailbox)

        if self._io is not None:  # else it is what was left of a run that is over
            self._call_link(on_room)

    def close_bars(self, mailbox: Mailbox[BarItem]) -> None:
        """Stop a feed; what is left in its mailbox is dropped."""
        mailbox.close()

        def close(link: Link) -> None:
            if link.recording is not None:
                link.recording.left()
            if link.market_side is not None:
                link.market_side.close_bars(mailbox)

        if self._io is not None:
            self._call_link(close)

    def open_market(
        self, instrument: Instrument, channel: Channel, slot: Latest[Any] | Prints, *, depth: int = 0
    ) -> None:
        """Fill a slot with quotes, trades, or the best ``depth`` levels of the book, from now on."""
        if self._link is not None and self._link.recording is not None:
            self._link.recording.market(symbol=instrument.symbol, channel=channel, depth=depth)

        def open_slot(link: Link) -> None:
            if link.market_side is not None:
                link.market_side.open(instrument, channel, slot, depth)

        self._call_link(open_slot)

    def close_market(self, slot: Latest[Any] | Prints) -> None:
        """Fill a slot no more."""
        if self._io is not None:
            self._call_link(lambda link: link.market_side.close(slot) if link.market_side is not None else None)

    def ledger(self) -> Mapping[str, Any]:
        """Return the simulator's own ledger of this account: balances and fills, the oracle of a run.

        Raises:
            BtxError: there is no simulator behind this session.
            TransportError: it does not answer.
        """
        return self._ask_simulator("ledger", api_key=self._facts.api_key)

    def market_facts(self, symbol: str) -> Mapping[str, Any]:
        """Return what the simulator played of an instrument: count of 1m bars, first, last, what was synthesised.

        Raises:
            BtxError: there is no simulator behind this session.
        """
        return self._ask_simulator("bars", symbol=self.instrument(symbol).venue_symbol)

    def _ask_simulator(self, op: str, **arguments: object) -> Mapping[str, Any]:
        io, endpoints = self._io, self._facts.endpoints
        if io is None or endpoints is None:
            raise BtxError(f"{self.name} has no simulator to ask: env='sim' has, while it runs")

        async def ask() -> Mapping[str, Any]:
            control = await Control.connect(endpoints.control)
            try:
                return await control.ask(op, **arguments)
            finally:
                await control.close()

        return io.run(ask(), timeout_s=_START_TIMEOUT_S)

    def _route(self, action: Callable[[Routes], object]) -> None:
        def run(link: Link) -> None:
            if link.routes is not None:
                action(link.routes)

        self._call_link(run)

    def _call_link(self, action: Callable[[Link], object]) -> None:
        io = self._io
        if io is None:
            raise BtxError(f"{self.name} is not started: cerebro.run() does it, or store.start()")

        def run() -> None:
            link = self._link
            if link is None:
                return  # stopped meanwhile
            try:
                action(link)
            except Exception as error:  # noqa: BLE001 -- on the loop nobody else would hear of it
                link.fault("a call of the strategy", error)

        io.call(run)

    def _on_idle(self, posted: int) -> None:
        io = self._io
        if io is not None:
            with contextlib.suppress(RuntimeError):  # another thread has just stopped the session: the loop has ended
                io.call(self._idle, posted)

    def _idle(self, posted: int) -> None:
        if self._link is not None:
            self._link.on_idle(posted)


def _how_symbols_look(listed: Mapping[str, Instrument]) -> str:
    """Say what to write, by what the market lists: not every venue's symbols have a slash."""
    known = [each for each in ("BTC/USDT", "BTC/USDT:USDT") if each in listed] or list(listed)[:2]
    return f"symbols here are written like {' or '.join(known)}" if known else "the market lists none"
