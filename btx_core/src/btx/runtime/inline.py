"""A session without a thread, a wire and a disk: the same desk and keeper, in front of a venue of this process.

What a strategy asks is done when :meth:`InlineSession.settle` is called, in the
order it was asked; time stands until :meth:`InlineSession.advance`.  A batch of
news has the order that lockstep gives it: what was decided here, then what the
venue told.
"""

import asyncio
import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import Any

import attrs

from btx.config import Settings
from btx.errors import BtxError, ConfigError, OrderRejectedError, UnknownSymbolError
from btx.model.account import AccountSnapshot, AccountUpdate, Booking, Lots, SymbolTerms
from btx.model.calendar import Calendar
from btx.model.derivatives import LeverageTier, MarginMode, MarkPrice
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import Fill, Group, GroupKind, Leg, Member, Order, OrderReport, OrderRequest, Origin, Part
from btx.model.venue import Environment, SimClock
from btx.plugins import Venue
from btx.ports import Matcher
from btx.rules.calendar import open_ns_between
from btx.rules.filters import MarketView
from btx.rules.reconcile import by_venue, named_by_place
from btx.rules.symbols import perpetual_of
from btx.rules.wallet import Key, MarginAccount, Terms
from btx.runtime.clock import MarketClock
from btx.runtime.guard import Guard
from btx.runtime.ids import ClientIds
from btx.runtime.keeper import Keeper
from btx.runtime.ledger import Ledger
from btx.runtime.mailbox import BookingTold, GroupWritten, Mailbox, Note, Recovered, SessionItem, Wakeup
from btx.runtime.margining import AS_IT_IS, Margining
from btx.runtime.orders import OrderDesk
from btx.runtime.pace import rank
from btx.runtime.planning import Planner
from btx.runtime.routes import Routes
from btx.runtime.venue_made import words_of_made
from btx.runtime.views import RecentBars, market_view

__all__ = ("InlineSession",)

_NEVER_S = 1e9


class InlineSession:
    """What a broker asks of a session, answered at once. Not thread safe.

    ``open_matcher`` gives the venue, anew for each run; ``margining`` says how positions are margined there.
    """

    def __init__(
        self,
        *,
        venue: Venue,
        market: str,
        settings: Settings,
        open_matcher: Callable[[], Matcher],
        margining: Margining = AS_IT_IS,
    ) -> None:
        self.info = venue.info
        self.environment = Environment.BACKTEST
        self.market = market
        self.name = f"{venue.info.name}/backtest/{market}"
        self.settings = settings
        self.clock = MarketClock()
        self.events: Mailbox[SessionItem] = Mailbox(Wakeup())
        self._venue = venue
        self._margining = margining
        self._open_matcher = open_matcher
        self._matcher: Matcher | None = None
        self._run: _Run | None = None
        self._account: AccountSnapshot | None = None
        self._account_now: AccountSnapshot | None = None
        self._fees: dict[str, FeeSchedule] = {}
        self._rates: dict[tuple[str, str], Decimal] = {}
        self._recent = RecentBars()
        self._states: dict[str, str] = {}
        self._marks: dict[str, MarkPrice] = {}
        self._margin: MarginAccount | None = None
        self._ids = ClientIds(venue.info.client_id)

    # --- life -------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Started and not stopped."""
        return self._run is not None

    def start(self) -> None:
        """Open the venue; idempotent.

        Raises:
            ConfigError: what it is to play cannot be played.
        """
        if self._run is not None:
            return
        matcher = self._open_matcher()
        self._settle_margin(matcher)
        self._matcher = matcher
        self._account = self._account_now = matcher.account()
        self._rates.clear()
        self._marks.clear()
        self._recent = RecentBars()
        self.clock = MarketClock()
        self.clock.follow(SimClock(wire_origin_ns=0, market_origin_ns=matcher.market_ns(), speed=None))
        self._run = _Run(self, matcher, next_id=self._ids.next)

    def _settle_margin(self, matcher: Matcher) -> None:
        for symbol in matcher.instruments:
            leverage = self._margining.leverage_of(symbol, symbol.partition(":")[0])
            mode = self._margining.margin_mode
            if leverage is None and mode is None:
                continue
            try:
                matcher.trade_with(symbol, leverage=leverage, margin_mode=mode)
            except OrderRejectedError as error:
                raise ConfigError(
                    f"{self.info.title} does not set the leverage of {symbol} to {leverage}: {error}"
                ) from error

    def calendar(self, instrument: Instrument) -> Calendar:
        """Return when an instrument trades."""
        return self._venue.calendar(instrument)

    def signal_age_ns(self, instrument: Instrument, close_ns: int) -> int:
        """Return how old a bar that closed at ``close_ns`` is now: only time in which it trades counts."""
        return open_ns_between(self.calendar(instrument), close_ns, self.clock.market_ns())

    def stop(self) -> None:
        """End the run; what rests is forgotten with the venue. Idempotent."""
        run, self._run = self._run, None
        if run is not None:
            run.close()

    # --- what is known ----------------------------------------------------------------------------------------

    def account(self) -> AccountSnapshot:
        """Return the account as it was at start.

        Raises:
            BtxError: the session was not started.
        """
        if self._account is None:
            raise BtxError(f"{self.name} is not started: cerebro.run() does it")
        return self._account

    def instruments(self) -> Mapping[str, Instrument]:
        """Return what is played, by symbol; empty before the start."""
        return self._matcher.instruments if self._matcher is not None else {}

    def instrument(self, symbol: str) -> Instrument:
        """Return one instrument.

        Raises:
            UnknownSymbolError: it is not played.
        """
        known = self.instruments()
        if perpetual_of(symbol) in known:
            return known[perpetual_of(symbol)]
        if symbol not in known:
            near = difflib.get_close_matches(symbol.upper(), known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there is {', '.join(known) or 'none'}"
            raise UnknownSymbolError(f"this backtest plays no {symbol!r}: {hint}")
        return known[symbol]

    def fee_schedule(self, instrument: Instrument) -> FeeSchedule:
        """Return the regular rates of an instrument, for estimates; what a fill costs the venue says."""
        if instrument.symbol not in self._fees:
            self._fees[instrument.symbol] = self._venue.commission(instrument, self._account)
        return self._fees[instrument.symbol]

    def margin(self) -> MarginAccount | None:
        """Return the account on margin as it is by our own count; None on spot."""
        return self._margin

    def mark(self, symbol: str) -> MarkPrice | None:
        """Return the newest mark price, None where there are none."""
        return self._marks.get(symbol)

    def tiers(self, symbol: str) -> tuple[LeverageTier, ...]:
        """Return what the venue asks of positions, lowest tier first."""
        return self._matcher.tiers.get(symbol, ()) if self._matcher is not None else ()

    def rate(self, asset: str, currency: str) -> Decimal | None:
        """Return the last known price of ``asset`` in ``currency``, None when none is known."""
        if asset == currency:
            return Decimal(1)
        price, inverse = self._rates.get((asset, currency)), self._rates.get((currency, asset))
        return 1 / inverse if price is None and inverse else price

    def market_view(self, instrument: Instrument) -> MarketView:
        """Return what the venue's rules look at beside an order, as a live session would know it."""
        band, mark = instrument.price_band, self._marks.get(instrument.symbol)
        return market_view(
            instrument,
            orders=self.open_orders(),
            account=self._account_now,
            last_price=mark.mark_price if mark is not None else self._rates.get((instrument.base, instrument.quote)),
            average_price=self._recent.average_price(instrument.symbol, band.minutes) if band else None,
        )

    def orders_refused(self) -> str | None:
        """Return None: every order may leave."""
        return None

    def orders(self) -> tuple[Order, ...]:
        """Return the orders of this run as they are now."""
        return tuple(self._run.desk.orders.values()) if self._run is not None else ()

    def open_orders(self) -> tuple[Order, ...]:
        """Return those that are not settled."""
        return tuple(self._run.desk.open_orders.values()) if self._run is not None else ()

    def recovered(self) -> Recovered:
        """Return nothing: a backtest begins anew."""
        return Recovered()

    def delivered(self, client_order_id: str, fill_id: str) -> None:
        """Nothing: no restart will ask."""

    def booking_delivered(self, booking: Booking) -> None:
        """Nothing, likewise."""

    def look(self) -> None:
        """Nothing: a backtest has no limits."""

    def save_state(self, name: str, text: str) -> None:
        """Keep a text until the run ends."""
        self._states[name] = text

    def load_state(self, _name: str) -> str | None:
        """Return nothing: a backtest begins anew."""
        return None

    def plan(self, request: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
        """Ask the adapter which venue orders a request becomes."""
        return self._venue.plan(request, lots)

    # --- what the strategy does ---------------------------------------------------------------------------------

    def check_order(self, request: OrderRequest) -> str | None:
        """Ask every extension about an order; return the first veto's reason."""
        return self._venue.check_order(request, self._account_now or self.account())

    def submit(
        self,
        request: OrderRequest,
        *,
        oco_with: str | None = None,
        parent: str | None = None,
        max_age_ns: int | None = None,  # noqa: ARG002 -- nothing waits for the limits of a venue here
    ) -> str:
        """Take an order in; return its client order id."""
        client_order_id = self._ids.next()
        leg = Leg(client_order_id=client_order_id, request=request, quantity=request.quantity)
        if oco_with is None and parent is None:
            self._do(lambda routes: routes.submit(leg))
        else:
            member, group_id = Member(member_id=client_order_id, request=request), self._ids.next()
            self._do(lambda routes: routes.join(member, group_id=group_id, oco_with=oco_with, parent=parent))
        return client_order_id

    def submit_group(
        self,
        kind: GroupKind,
        *,
        entry: OrderRequest | None,
        members: Sequence[OrderRequest],
        native_entry: bool = False,
        max_age_ns: int | None = None,  # noqa: ARG002 -- as for ``submit``
    ) -> Group:
        """Take a bracket or an OCO group in; return it with the ids of its members."""
        group = Group(
            group_id=self._ids.next(),
            kind=kind,
            entry=Member(member_id=self._ids.next(), request=entry) if entry is not None else None,
            members=tuple(Member(member_id=self._ids.next(), request=request) for request in members),
            native_entry=native_entry,
        )
        self._do(lambda routes: routes.take_group(group))
        return group

    def amend(self, owner_id: str, request: OrderRequest) -> None:
        """Change an order, or a member of a group: ``request`` is what it should be now, in all."""
        self._do(lambda routes: routes.amend(owner_id, request))

    def cancel(self, owner_id: str) -> None:
        """Cancel an order, whatever legs it has."""
        self._do(lambda routes: routes.cancel(owner_id))

    def cancel_all(self, owner_ids: Collection[str]) -> None:
        """Cancel several orders."""
        self._do(lambda routes: routes.cancel_many(tuple(owner_ids)))

    def withdraw(self, owner_ids: Collection[str], *, timeout_s: float) -> None:  # noqa: ARG002 -- the session's
        """Cancel orders at the end of a run."""
        self.cancel_all(owner_ids)
        self.settle()

    def _do(self, action: "Callable[[Routes], object]") -> None:
        if self._run is None:
            raise BtxError(f"{self.name} is not running: orders are sent during cerebro.run()")
        self._run.todo.append(action)

    # --- time -------------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Do what was asked, and all that follows from it, at the time it is; say whether anything is to be told."""
        if self._run is None or not self._run.has_work:
            return bool(self.events)
        self._run.work()
        return True

    def take_bars(self, bars: Sequence[tuple[Instrument, Bar]], *, until_ns: int) -> None:
        """Let the market move to the close of these bars, and everything happen that happens on the way."""
        if self._run is None:
            return
        shown = tuple(bar for _, bar in bars)
        for instrument, bar in bars:
            self._rates[instrument.base, instrument.quote] = bar.close
            self._recent.take(bar)
        self._run.advance(until_ns, shown)

    def hear_mark(self, mark: MarkPrice) -> None:
        """Take a mark price."""
        self._marks[mark.symbol] = mark

    def show_margin(self, account: MarginAccount) -> None:
        """Show the account on margin after a change of it."""
        self._margin = account

    def hear(self, update: AccountUpdate) -> None:
        """Take the venue's totals."""
        assert self._account_now is not None, "it is read at the start"
        balances = {**self._account_now.balances, **update.balances}
        self._account_now = attrs.evolve(self._account_now, balances=balances, time_ns=update.time_ns)


class _Run:
    """One run: the desk and the keeper on a loop that turns only while there is work."""

    def __init__(self, session: InlineSession, matcher: Matcher, *, next_id: Callable[[], str]) -> None:
        self.todo: list[Callable[[Routes], object]] = []
        self._session = session
        self._matcher = matcher
        self._next_id = next_id
        self._posted: list[tuple[int, SessionItem]] = []
        self._loop = asyncio.new_event_loop()
        self._thread: ThreadPoolExecutor | None = None
        self._resources = AsyncExitStack()
        self._turn(self._open())

    async def _open(self) -> None:
        session = self._session
        info = attrs.evolve(session.info, limits={}, costs={})  # nobody counts requests that are none
        capabilities = info.capabilities[session.market]
        planner = Planner(session.plan, offsets=capabilities.offsets)
        planner.take(session.account())
        self.desk = OrderDesk(
            broker=self._matcher.broker,
            clock=session.clock,
            guard=Guard(info=info, market=session.market),
            receive_window_s=0.0,
            patience_s=0.0,
            settle_pause_s=0.0,
            grace_s=0.0,
            news_s=_NEVER_S,
            one_at_a_time=True,
            post=self._post,
            note=self._note,
            progressed=lambda: None,
            next_id=self._next_id,
            can_replace=capabilities.replace,
            can_amend=capabilities.amend and capabilities.margined,  # an exchange of ours replaces on spot
            can_cancel_all=capabilities.cancel_all,
            plan=planner,
        )
        self.desk.listen(planner.on_order)
        self._ledger = Ledger(
            margined=capabilities.margined, instruments=lambda: self._matcher.instruments, show=session.show_margin
        )
        self._ledger.take(session.account(), compared=())
        for symbol, instrument in self._matcher.instruments.items() if capabilities.margined else ():
            told = session.account().terms.get(symbol, SymbolTerms())
            self._ledger.trade_on(
                Terms(
                    instrument=instrument,
                    tiers=session.tiers(symbol),
                    leverage=told.leverage or 1,
                    margin_mode=told.margin_mode or MarginMode.CROSS,
                    closing_fee=session.fee_schedule(instrument).taker if capabilities.charges_closing else Decimal(0),
                )
            )
        self.desk.listen(self._count)
        self.keeper = Keeper(
            desk=self.desk,
            capabilities=capabilities,
            clock=session.clock,
            post=self._post,
            note=self._note,
            written=lambda group: self._post(GroupWritten(group=group)),
            alarm_s=_NEVER_S,
            patience_s=0.0,
            position=self._position,
        )
        self.keeper.wait_for_steps()
        self._routes = Routes(
            desk=self.desk,
            keeper=self.keeper,
            capabilities=capabilities,
            next_id=self._next_id,
            post=self._post,
        )
        self._resources.push_async_callback(self.desk.stop)
        self._resources.push_async_callback(self.keeper.stop)

    @property
    def has_work(self) -> bool:
        """Something was asked, or decided, and is not done."""
        return bool(self.todo) or bool(self.desk.outstanding) or self.keeper.is_due

    def work(self) -> None:
        """Do what was asked, and what follows from it; hand over what is to be told then."""
        self._turn(self._work())
        self._hand_over()

    def advance(self, until_ns: int, bars: Collection[Bar]) -> None:
        """Let the market move, and hear what happened on the way, then which bars have closed."""
        if until_ns > self._matcher.market_ns():
            self._matcher.advance(until_ns)
            self._session.clock.step_to(until_ns)
        self._turn(self._stepped(bars))
        self._hand_over()

    def _hand_over(self) -> None:
        for _, item in sorted(self._posted, key=lambda entry: entry[0]):
            self._session.events.put(item)
        self._posted.clear()

    def close(self) -> None:
        """End it."""
        try:
            self._turn(self._resources.aclose())
        finally:
            self._loop.close()
            if self._thread is not None:
                self._thread.shutdown()

    async def _work(self) -> None:
        actions, self.todo = self.todo, []
        for action in actions:
            action(self._routes)
        await self._follow()

    async def _stepped(self, bars: Collection[Bar]) -> None:
        self._hear()
        self.keeper.on_time()
        for bar in bars:
            self.keeper.on_price(bar.symbol, bar.high, bar.low, bar.close, time_ns=bar.close_ns)
        await self._follow()

    async def _follow(self) -> None:
        """Decide, and do, until nothing follows any more."""
        await self._calm()
        while self.keeper.is_due:
            self.keeper.decide_due()
            await self._calm()

    async def _calm(self) -> None:
        while self._hear() or self.desk.outstanding or self.keeper.is_busy:  # noqa: ASYNC110 -- what is ready goes on
            await asyncio.sleep(0)

    def _hear(self) -> bool:
        events = self._matcher.take_events()
        for event in events:
            match event:
                case OrderReport() | Fill():
                    self.desk.on_event(self._as_known(event))
                case MarkPrice():
                    self._session.hear_mark(event)
                    self._ledger.on_mark(event.symbol, event.mark_price)
                case Booking():
                    self._ledger.on_booking(event)
                    self._post(BookingTold(booking=event))
                case AccountUpdate():
                    self._session.hear(event)
                    self._post(event)
        return bool(events)

    def _as_known(self, event: OrderReport | Fill) -> OrderReport | Fill:
        """Take an order that the exchange made, like a liquidation, as one of ours: it moved what is held."""
        event = named_by_place(event)
        if event.origin is not Origin.CLIENT and event.client_order_id not in self.desk.orders:
            leg = by_venue(event, self._matcher.instruments[event.symbol])
            if leg is not None:
                self.desk.take_over(leg)
                self._note(*words_of_made(event, leg))
        return event

    def _count(self, before: Order | None, after: Order) -> None:
        if before is not None:
            self._ledger.on_order(before, after)

    def _position(self, key: Key) -> Decimal | None:
        """Return what is held by our own count; None on spot."""
        account = self._ledger.margin
        if account is None:
            return None
        held = account.positions.get(key)
        return held.quantity if held is not None else Decimal(0)

    def _post(self, item: SessionItem) -> None:
        self._posted.append((rank(item), item))

    def _note(self, kind: str, text: str) -> None:
        self._post(Note(kind=kind, text=text))

    def _turn(self, work: Any) -> None:
        """Run a piece of work to its end; a notebook has a loop of its own running on this thread."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._loop.run_until_complete(work)
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="btx-inline")
        self._thread.submit(self._loop.run_until_complete, work).result()
