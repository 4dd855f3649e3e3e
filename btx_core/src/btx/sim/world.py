"""The world: a market, an exchange and two clocks, played for whoever listens.

The exchange is one for what is owned or one for positions on margin, by the kind of what is listed.

``wire`` time is the wall's, plus an offset one may inject: signatures, receive
windows, rate meters.  ``market`` time stamps bars, trades and orders.  It moves
in steps when the world is asked to advance (lockstep), or runs at ``speed``
from the moment the world is entered.

Everything that happens is published in order to synchronous listeners.  What
nobody wants and no order needs is not computed: trades inside a minute only
for open orders and wanted streams, books and quotes only for those who want
them.  It makes no difference to what happens.  Likewise mark prices: they are looked at every second of
market time only while a margin or a conditional order hangs on them and could be reached.  Who wants them is
told every second by a market that runs, of a fast one some times in a second of wall time; and in lockstep at each
minute's end, at each funding and where an advance ends.
"""

import asyncio
import contextlib
import enum
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Self

import attrs

from btx.errors import ConfigError
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from btx.model.venue import Scenario, SimAccount, SimClock
from btx.sim.conditionals import ConditionalEvent
from btx.sim.dice import key_of
from btx.sim.engine import Engine
from btx.sim.exchange import Exchange, ExecutionEvent, Listing
from btx.sim.faults import Faults, FaultScript, script_from_json
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_events import AccountEvent, ConfigEvent, MarginCallEvent, MarkChange
from btx.sim.margin_exchange import MarginExchange
from btx.sim.market import BarChange, Market, MarketEvent, PublicTrade, QuoteChange
from btx.sim.marks import PREMIUM, MarketMarks
from btx.sim.orders import SimFill
from btx.sim.rates import load_rates
from btx.sim.track import BookMark

__all__ = ("Listener", "Step", "Want", "World", "WorldEvent", "default_account")

MarginEvent = ConditionalEvent | AccountEvent | MarginCallEvent | ConfigEvent
WorldEvent = ExecutionEvent | MarginEvent | MarketEvent | MarkChange
Listener = Callable[[WorldEvent], None]

_MINUTE = Interval.parse("1m")
_FORMING_NS = 2 * NS_PER_S  # market time between two looks at a bar that is not closed
_FORMING_WALL_S = 0.5  # and wall time, so that a fast market does not flood its clients
_MARKS_WALL_S = 0.1  # likewise between two mark prices of a symbol
_OF_A_MINUTE_S = tuple(seconds for seconds in range(1, 61) if 60 % seconds == 0)
_INSURANCE = Decimal(1_000_000)  # units of each settle asset that the insurance fund begins with
_BATCH_S = 0.01  # what is due within it is played together


_ACCOUNT_EVENTS = (ExecutionEvent, ConditionalEvent, AccountEvent)


class Want(enum.Enum):
    """What a listener wants computed. Bars want an interval."""

    TRADES = "trades"
    QUOTES = "quotes"
    BOOK = "book"
    BARS = "bars"
    MARK = "mark"


_NEED_TRADES = frozenset({Want.TRADES, Want.QUOTES, Want.BOOK})


@attrs.frozen(kw_only=True)
class Step:
    """Where an advance led.

    ``closed`` are the wanted bars that closed on the way, by venue symbol,
    interval and open time; ``told`` the last update or trade id that was
    published on it, of each symbol and kind that somebody wants.
    """

    market_ns: int
    is_ended: bool
    closed: tuple[tuple[str, Interval, int], ...]
    told: tuple[tuple[str, Want, int], ...] = ()


class World:
    """A scenario being played for the listings it has data of.

    ``premium`` is how far index prices lie from the last ones at most, see :mod:`btx.sim.marks`; ``manners`` are the
    venue's.
    Use it in one asyncio loop.  ``async with world`` starts a free-running
    market and stops it; in lockstep nothing runs by itself.

    Raises:
        ConfigError: the scenario's data cannot be played, or its script of faults cannot be read.
    """

    def __init__(
        self,
        scenario: Scenario,
        listings: Sequence[Listing],
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        premium: Decimal = PREMIUM,
        manners: Manners = BINANCE,
    ) -> None:
        if scenario.speed is not None and scenario.speed <= 0:
            raise ConfigError(f"speed {scenario.speed} does not run: write a positive number, or None for lockstep")
        # A skin whose venue has other names for executions than their number says so.
        self.name_fill: Callable[[SimFill], str] = lambda fill: str(fill.trade_id)
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._wire_offset_ns = 0
        self.requests: Counter[str] = Counter()  # what a skin was asked, answered or not, by the venue's own name
        self.faults = Faults(script_from_json(scenario.faults) if scenario.faults else FaultScript())
        self.speed = scenario.speed
        wire_ns = self.wire_ns()
        # A market that was moved to now trades when it did, which is not when its calendar says.
        calendars = {} if scenario.rebase else {listing.venue_symbol: listing.calendar for listing in listings}
        instruments = [listing.instrument for listing in listings]
        self.market = Market.of(scenario, instruments, wire_ns=wire_ns, calendars=calendars)
        played = set(self.market.venue_symbols)
        self.listings = {one.venue_symbol: one for one in listings if one.venue_symbol in played}
        self.accounts = scenario.accounts or tuple(
            default_account(scenario.seed, listings, number=number) for number in range(1, scenario.account_count + 1)
        )
        self._spot: Exchange | None = None
        self._margin: MarginExchange | None = None
        if all(listing.instrument.kind.is_margined for listing in self.listings.values()):
            self._margin = self._margin_exchange(scenario, premium, manners)
        else:
            self._spot = Exchange(
                listings=self.listings.values(),
                accounts=self.accounts,
                market=self.market,
                listener=self._publish,
                manners=manners,
            )
        # A market that was moved to now and runs begins in the middle of a minute: where the wall clock is.
        self._begins_now = scenario.rebase and self.speed is not None
        self._start_clocks()
        self._wants: Counter[tuple[str, Want, Interval | None]] = Counter()
        self._books: dict[str, BookMark] = {}
        self._told: dict[tuple[str, Want], int] = {}  # the last id published in this step
        self._printed: set[str] = set()  # symbols whose trades somebody has listened to
        self._listeners: list[Listener] = []
        self._ended_callbacks: list[Callable[[], None]] = []
        self._flush_hooks: list[Callable[[], Awaitable[None]]] = []
        self._alarms: list[tuple[int, int, Callable[[], None]]] = []
        self._alarm_numbers = itertools.count()
        self._is_playing = False
        self._forming_ns = self.market.now_ns
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def _margin_exchange(self, scenario: Scenario, premium: Decimal, manners: Manners) -> MarginExchange:
        instruments = [listing.instrument for listing in self.listings.values()]
        by_name = {name: each for each in instruments for name in (each.symbol, each.venue_symbol)}
        unknown = [symbol for symbol in scenario.funding if symbol not in by_name]
        if unknown:
            known = ", ".join(each.symbol for each in instruments)
            raise ConfigError(f"funding rates of {unknown[0]}: only what is played has funding, write one of {known}")
        rates = {
            by_name[name].venue_symbol: load_rates(path, symbol=by_name[name].symbol, shift_ns=self.market.shift_ns)
            for name, path in scenario.funding.items()
        }
        self._marks = MarketMarks(
            self.market,
            self.listings.values(),
            seed=scenario.seed,
            rates=rates,
            premium=premium,
            on_tick=manners.marks_on_tick,
        )
        return MarginExchange(
            listings=self.listings.values(),
            accounts=self.accounts,
            market=self.market,
            marks=self._marks,
            listener=self._publish,
            insurance={each.settle: _INSURANCE for each in instruments},
            manners=manners,
        )

    @property
    def exchange(self) -> Exchange:
        """The exchange of a market where what is bought is owned."""
        assert self._spot is not None, "this market is on margin"
        return self._spot

    @property
    def margin(self) -> MarginExchange:
        """The exchange of a market on margin."""
        assert self._margin is not None, "this market is not on margin"
        return self._margin

    def mark_at(self, venue_symbol: str, time_ns: int) -> MarkChange:
        """Return mark and index price of a market on margin as they were at a market time that is over."""
        return self._marks.mark_at(venue_symbol, time_ns)

    @property
    def is_margined(self) -> bool:
        """Whether the market is on margin: :attr:`margin` is its exchange, else :attr:`exchange`."""
        return self._margin is not None

    @property
    def engine(self) -> Engine[Any]:
        """The exchange, of whichever kind."""
        return self._margin if self._margin is not None else self.exchange

    # --- listeners ------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with every event from now on; it must not block and not place orders."""
        self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Stop calling ``listener``."""
        self._listeners.remove(listener)

    def on_ended(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once when the world ends."""
        self._ended_callbacks.append(callback)

    def on_flush(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Let :meth:`flush` await ``hook``: a skin's sockets hand over what they have queued."""
        self._flush_hooks.append(hook)

    async def flush(self) -> None:
        """Wait until everything published so far has been handed to the sockets."""
        for hook in tuple(self._flush_hooks):
            await hook()

    def want(self, venue_symbol: str, kind: Want, interval: Interval | None = None) -> None:
        """Compute this from now on; wants are counted, and each needs its :meth:`unwant`."""
        self._wants[venue_symbol, kind, interval] += 1
        if kind is Want.TRADES:
            self._printed.add(venue_symbol)
        if kind is Want.BOOK and venue_symbol not in self._books:
            self._books[venue_symbol] = self.market.look(venue_symbol)
        self._changed.set()

    def unwant(self, venue_symbol: str, kind: Want, interval: Interval | None = None) -> None:
        """Take one :meth:`want` back."""
        key = (venue_symbol, kind, interval)
        self._wants[key] -= 1
        if not self._wants[key]:
            del self._wants[key]
            if kind is Want.BOOK:
                del self._books[venue_symbol]

    def wake_at(self, time_ns: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` once when market time comes to ``time_ns``; return what takes it back.

        It may place and cancel orders.
        """
        alarm = (time_ns, next(self._alarm_numbers), callback)
        heapq.heappush(self._alarms, alarm)
        self._changed.set()

        def take_back() -> None:
            if alarm in self._alarms:
                self._alarms.remove(alarm)
                heapq.heapify(self._alarms)

        return take_back

    # --- clocks ---------------------------------------------------------------------------------------------

    def wire_ns(self) -> int:
        """Return wall time plus the injected offset."""
        return self._wall_ns() + self._wire_offset_ns

    def shift_wire(self, offset_ns: int) -> None:
        """Make the wire clock run this far ahead of the wall's."""
        self._wire_offset_ns = offset_ns

    def market_ns(self) -> int:
        """Return market time; whatever is due until then is played first."""
        if self._task is not None and not self._is_playing:
            self._play(self._due_ns())
        return self.market.now_ns

    def clock_now(self) -> SimClock:
        """Return how market time goes on from now, for somebody who was not there at the start."""
        return SimClock(wire_origin_ns=self.wire_ns(), market_origin_ns=self.market_ns(), speed=self.speed)

    @property
    def ended(self) -> bool:
        """Whether market time has reached its end; orders are still answered, nothing moves any more."""
        return self.market.now_ns >= self.market.end_ns

    # --- playing --------------------------------------------------------------------------------------------

    def advance(self, *, until_ns: int | None = None, by_trade: bool = False) -> Step:
        """Play to the next close of a wanted bar (of a minute when none is wanted), over nights. Lockstep only.

        Not beyond ``until_ns`` (market time, after now), and with ``by_trade`` not beyond
        the next trade of a symbol whose trades are wanted.

        Raises:
            ConfigError: the market runs by itself.
        """
        if self.speed is not None:
            raise ConfigError("a market with a speed runs by itself: only a lockstep market is advanced")
        wanted = self._wanted_bars() or [(symbol, _MINUTE) for symbol in self.listings]
        now_ns = self.market.now_ns
        stops = [self.market.next_close_ns(symbol, interval) for symbol, interval in wanted]
        if until_ns is not None and until_ns > now_ns:
            stops.append(until_ns)
        if by_trade:
            stops += [at for symbol in sorted(self._printed) if (at := self.market.next_trade_ns(symbol)) is not None]
        self._told.clear()
        closed = tuple(self._play(min(*stops, self.market.end_ns)))
        told = tuple((symbol, kind, number) for (symbol, kind), number in self._told.items())
        return Step(market_ns=self.market.now_ns, is_ended=self.ended, closed=closed, told=told)

    async def __aenter__(self) -> Self:
        if self.speed is not None:
            self._start_clocks()
            self._task = asyncio.create_task(self._run(), name="btx-sim-market")
            self._task.add_done_callback(_report_crash)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _start_clocks(self) -> None:
        wire_ns = self.wire_ns()
        self._started_ns = self._monotonic_ns()
        if self._begins_now:
            self.market.seek(wire_ns)
        if self._margin is not None:
            self._margin.pass_time(self.market.now_ns)
        self.clock = SimClock(wire_origin_ns=wire_ns, market_origin_ns=self.market.now_ns, speed=self.speed)

    async def _run(self) -> None:
        while not self.ended:
            self._changed.clear()
            self.market_ns()
            # Not wait_for: before Python 3.12 it may lose a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._changed.wait()
            await asyncio.sleep(_BATCH_S)

    def _due_ns(self) -> int:
        assert self.speed is not None
        elapsed_ns = self._monotonic_ns() - self._started_ns
        return min(self.clock.market_origin_ns + int(elapsed_ns * self.speed), self.market.end_ns)

    def _pause_s(self) -> float:
        """Return how long nothing will happen, in wall seconds."""
        assert self.speed is not None
        now_ns = self.market.now_ns
        times = [now_ns - now_ns % NS_PER_MINUTE + NS_PER_MINUTE, self.market.end_ns]
        times += [at for symbol in self._busy_symbols() if (at := self.market.next_trade_ns(symbol)) is not None]
        if (due_ns := self._next_due_ns(now_ns, times[0])) is not None:
            times.append(due_ns)
        if self._wanted_bars():
            times.append(self._forming_ns + self._forming_period_ns())
        elapsed_ns = self._monotonic_ns() - self._started_ns
        wait_ns = (min(times) - self.clock.market_origin_ns) / self.speed
        return max((wait_ns - elapsed_ns) / NS_PER_S, 0.0)

    def _forming_period_ns(self) -> int:
        assert self.speed is not None
        return max(_FORMING_NS, int(_FORMING_WALL_S * NS_PER_S * self.speed))

    def _marks_period_ns(self) -> int:
        """Return the market time between two mark prices that are told: whole seconds, of which a minute has many."""
        assert self.speed is not None
        least_s = _MARKS_WALL_S * self.speed
        return next((each for each in _OF_A_MINUTE_S if each >= least_s), _OF_A_MINUTE_S[-1]) * NS_PER_S

    def _busy_symbols(self) -> list[str]:
        """Return the symbols whose single trades matter to somebody."""
        wanted = {symbol for symbol, kind, _ in self._wants if kind in _NEED_TRADES}
        if self.speed is None:
            wanted |= self._printed
        return [s for s in self.market.venue_symbols if s in wanted or self.engine.has_orders(s)]

    def _play(self, until_ns: int) -> list[tuple[str, Interval, int]]:
        """Let everything up to ``until_ns`` happen; return the wanted bars that closed."""
        closed: list[tuple[str, Interval, int]] = []
        if self.ended:
            return closed
        self._is_playing = True
        try:
            while self.market.now_ns < until_ns:
                now_ns = self.market.now_ns
                close_ns = now_ns - now_ns % NS_PER_MINUTE + NS_PER_MINUTE
                due_ns = self._next_due_ns(now_ns, close_ns)
                stop_ns = min(until_ns, close_ns, due_ns if due_ns is not None else close_ns)
                if not self._play_trades(now_ns, stop_ns):
                    continue  # a position came or went on the way: other moments matter now
                self.market.seek(stop_ns)
                self._on_time(stop_ns, is_end=stop_ns in {until_ns, close_ns})
                self._end_days(stop_ns)
                if stop_ns == close_ns:
                    closed += self._close_bars()
            self._tell_forming()
        finally:
            self._is_playing = False
        if self.ended:
            for callback in self._ended_callbacks:
                callback()
        return closed

    def _next_due_ns(self, now_ns: int, close_ns: int) -> int | None:
        """Return the next moment that may not be passed by; None: there is none."""
        alarm_ns = max(self._alarms[0][0], now_ns + 1) if self._alarms else None
        if self._margin is None:
            return alarm_ns
        tell_ns = None
        if self.speed is not None and any(kind is Want.MARK for _, kind, _ in self._wants):
            tell_ns = now_ns - now_ns % self._marks_period_ns() + self._marks_period_ns()
        is_marked = not self._margin.is_calm(lambda symbol: self._marks.bounds(symbol, now_ns, close_ns))
        due_ns = self._margin.next_due_ns(now_ns, with_marks=is_marked)
        return min((each for each in (alarm_ns, tell_ns, due_ns) if each is not None), default=None)

    def _on_time(self, now_ns: int, *, is_end: bool) -> None:
        """Let happen what is due, and tell the marks; the end of a minute or an advance is told anyhow."""
        while self._alarms and self._alarms[0][0] <= now_ns:
            heapq.heappop(self._alarms)[2]()
        if self._margin is None:
            return
        self._margin.on_time(now_ns)
        for symbol in sorted(symbol for symbol, kind, _ in self._wants if kind is Want.MARK):
            is_stamp = bool(self._marks.rates(symbol, now_ns - 1, now_ns))
            if (is_end or is_stamp) if self.speed is None else now_ns % self._marks_period_ns() == 0:
                self._told[symbol, Want.MARK] = now_ns // NS_PER_MS
                self._publish(self._margin.mark(symbol))

    def _end_days(self, now_ns: int) -> None:
        for symbol in self.listings:
            if self.engine.has_orders(symbol) and self.market.is_day_end(symbol):
                self.engine.end_day(venue_symbol=symbol, now_ns=now_ns)

    def _play_trades(self, after_ns: int, until_ns: int) -> bool:
        """Let prints happen; False: not all of them, a position has changed before the last."""
        symbols = self._busy_symbols()
        streams = [self.market.trades_between(symbol, after_ns, until_ns) for symbol in symbols]
        pulse = self._pulse
        for trade in heapq.merge(*streams, key=lambda trade: trade.time_ns):
            if self._pulse != pulse and trade.time_ns > self.market.now_ns:
                return False
            self.market.seek(trade.time_ns)
            self._play_trade(trade)
        return True

    @property
    def _pulse(self) -> int:
        return self._margin.pulse if self._margin is not None else 0

    def _play_trade(self, trade: PublicTrade) -> None:
        symbol = trade.venue_symbol
        if symbol in self._printed:  # also where its socket was cut just now: who has not noticed waits for the trade
            self._told[symbol, Want.TRADES] = trade.trade_id
        if (symbol, Want.TRADES, None) in self._wants:
            self._publish(trade)
        self.engine.on_trade(venue_symbol=symbol, price=trade.price, quantity=trade.quantity, now_ns=trade.time_ns)
        if (symbol, Want.QUOTES, None) in self._wants:
            quote = self.market.quote(symbol)
            update_id = self._told[symbol, Want.QUOTES] = self.market.update_id(symbol)
            self._publish(QuoteChange(venue_symbol=symbol, quote=quote, update_id=update_id, time_ns=trade.time_ns))
        if symbol in self._books:
            self._tell_book(symbol)

    def _close_bars(self) -> Iterator[tuple[str, Interval, int]]:
        now_ns = self.market.now_ns
        for symbol, interval in self._wanted_bars():
            open_ns = interval.open_of(now_ns - 1)
            if interval.close_of(open_ns) == now_ns and self._tell_bar(symbol, interval, open_ns):
                yield symbol, interval, open_ns

    def _tell_forming(self) -> None:
        """Publish bars that are not closed, from time to time, when the market runs by itself."""
        now_ns = self.market.now_ns
        if self.speed is None or now_ns < self._forming_ns + self._forming_period_ns():
            return
        self._forming_ns = now_ns
        for symbol, interval in self._wanted_bars():
            open_ns = interval.open_of(now_ns)
            self._tell_bar(symbol, interval, open_ns)

    def _wanted_bars(self) -> list[tuple[str, Interval]]:
        wanted = [(symbol, interval) for symbol, _, interval in self._wants if interval is not None]
        return sorted(wanted, key=lambda pair: (pair[1].nominal_ns, pair[0]))

    def _tell_bar(self, symbol: str, interval: Interval, open_ns: int) -> bool:
        bar = self.market.bar(symbol, interval, open_ns)
        if bar is None:
            return False
        flow = self.market.flow(symbol, open_ns, bar.close_ns)
        self._publish(BarChange(venue_symbol=symbol, bar=bar, flow=flow, time_ns=self.market.now_ns))
        return True

    def _tell_book(self, symbol: str) -> None:
        before, after = self._books[symbol], self.market.look(symbol)
        if after.update_id > before.update_id:
            self._books[symbol] = after
            self._told[symbol, Want.BOOK] = after.update_id
            self._publish(self.market.book_change(symbol, before, after))

    def _publish(self, event: WorldEvent) -> None:
        for listener in tuple(self._listeners):
            listener(event)
        if isinstance(event, _ACCOUNT_EVENTS):
            self._changed.set()  # an order came or went: other trades matter now


def _report_crash(task: asyncio.Task[None]) -> None:
    """Tell at once when the market has stopped by an error; leaving the world raises it."""
    if not task.cancelled() and task.exception() is not None:
        context = {"message": "the simulated market has crashed", "exception": task.exception(), "task": task}
        task.get_loop().call_exception_handler(context)


def default_account(seed: int, listings: Sequence[Listing], *, number: int = 1) -> SimAccount:
    """Return an account of a scenario that names none: 100000 of every quote asset, nothing else.

    On margin it is 100000 of what is settled in quote units, and 10 of a coin that contracts are settled in.
    """
    instruments = [listing.instrument for listing in listings]
    owned: dict[str, Decimal] = {}
    if all(each.kind.is_margined for each in instruments):
        owned = {each.settle: Decimal(100_000 if each.settle == each.quote else 10) for each in instruments}
    else:
        owned |= {each.base: Decimal(0) for each in instruments} | {
            each.quote: Decimal(100_000) for each in instruments
        }
    key, secret = ("key", "secret") if number == 1 else (f"key {number}", f"secret {number}")
    return SimAccount(api_key=_token(seed, key), api_secret=_token(seed, secret), balances=owned)


def _token(seed: int, purpose: str) -> str:
    """Return 64 letters and digits that no venue would hand out."""
    digits = "".join(f"{key_of(seed, purpose, part):016x}" for part in range(4))
    return f"btxsim{digits}"[:64]
