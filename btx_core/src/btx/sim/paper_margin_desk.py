"""One run of a paper account on margin: it hears mark prices beside trades, and pays its funding.

A funding is known some seconds after its stamp.  What was held is remembered when the stamp passes, and paid at
the rate and mark price the venue publishes.  What was due while nobody listened is fetched before the trades
that were missed, and paid in the order of time; margins are held against the first mark price that is heard
again, since those in between are not to be had.
"""

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import BtxError, OrderRejectedError
from btx.model.account import AccountSnapshot, Booking, MarginCall, PositionReport
from btx.model.derivatives import FundingRate, LeverageTier, MarginMode, MarkPrice, PositionMode
from btx.model.instrument import Instrument
from btx.model.market import Trade
from btx.model.venue import Channel, SimAccount
from btx.ports import MarginFeed, MarginStore, StreamEvent
from btx.sim.conditionals import ConditionalEvent
from btx.sim.engine import Engine
from btx.sim.manners import BINANCE, Manners
from btx.sim.margin_events import AccountEvent, MarginCallEvent
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import ExecutionEvent, ExecutionKind, Refusal, Refused, SimPosition
from btx.sim.paper_desk import listing_of
from btx.sim.paper_margin_ledger import (
    MarginBooks,
    Scribe,
    Stamp,
    read_margin_lines,
    stamp_line,
)
from btx.sim.paper_margin_words import booking_of, conditional_report, position_report, update_of
from btx.sim.paper_marks import NEAR_NS, HeardMarks
from btx.sim.paper_stream import PAPER_KEY, PaperStream
from btx.sim.paper_words import error_of, fill_of, report_of

__all__ = ("MarginPaperDesk",)

_INSURANCE = Decimal(1_000_000)  # units of each settle asset that stand behind losses nobody can pay


class MarginPaperDesk(PaperStream):
    """The venue's MarginStore and Stream, with an account of ours behind them."""

    def __init__(self, *, store: MarginStore, feed: MarginFeed, manners: Manners = BINANCE, **parts: Any) -> None:
        channels = (Channel.TRADE, Channel.QUOTE, Channel.MARK)
        super().__init__(store=store, feed=feed, channels=channels, **parts)
        self._margin_store = store
        self._margin_feed = feed
        self._manners = manners
        self._marks = HeardMarks()
        self._exchange: MarginExchange | None = None
        self._past: MarginBooks | None = None  # until it is given back to the exchange
        self._filled: AccountEvent | None = None  # what the fill did that comes next
        self._scribe = Scribe(self._ledger)
        self._stamps: dict[tuple[str, Any, int], Stamp] = {}  # fundings that are due, and their rates not known
        self._settling: Stamp | None = None
        self._is_due = asyncio.Event()

    @property
    def exchange(self) -> MarginExchange:
        """The account's exchange, once the venue's instruments are known."""
        assert self._exchange is not None, "instruments are asked for before the account"
        return self._exchange

    @property
    def engine(self) -> Engine[Any]:
        """The account's exchange, once the venue's instruments are known."""
        return self.exchange

    # --- the MarginStore port ---------------------------------------------------------------------------

    async def account(self) -> AccountSnapshot:
        """Return the paper account."""
        exchange, now_ns = self.exchange, self.clock.market_ns()
        return AccountSnapshot(
            balances=exchange.balances(api_key=PAPER_KEY),
            time_ns=now_ns,
            positions=tuple(self._report(each, now_ns) for each in exchange.positions(api_key=PAPER_KEY)),
            position_mode=exchange.position_mode(api_key=PAPER_KEY),
        )

    async def leverage_tiers(self, *, instruments: Collection[Instrument]) -> Mapping[str, tuple[LeverageTier, ...]]:
        """Return what the venue asks of positions by symbol, lowest tier first."""
        listings = self.exchange.listings
        return {each.symbol: listings[each.venue_symbol].tiers for each in instruments}

    async def set_leverage(self, *, instrument: Instrument, leverage: int) -> None:
        """Set an instrument's leverage."""
        await self._see(instrument)
        try:
            self.exchange.set_leverage(
                api_key=PAPER_KEY,
                venue_symbol=instrument.venue_symbol,
                leverage=leverage,
                now_ns=self.clock.market_ns(),
            )
        except Refused as refused:
            raise error_of(refused) from refused

    async def set_margin_mode(self, *, instrument: Instrument, mode: MarginMode) -> None:
        """Set how an instrument's position is margined."""
        try:
            self.exchange.set_margin_mode(
                api_key=PAPER_KEY, venue_symbol=instrument.venue_symbol, mode=mode, now_ns=self.clock.market_ns()
            )
        except Refused as refused:
            _unless_so_already(refused)

    async def set_position_mode(self, *, mode: PositionMode) -> None:
        """Set whether instruments have one position or two."""
        try:
            self.exchange.set_position_mode(api_key=PAPER_KEY, mode=mode, now_ns=self.clock.market_ns())
        except Refused as refused:
            _unless_so_already(refused)

    async def bookings(self, *, start_ns: int) -> Sequence[Booking]:
        """Return every movement of money from ``start_ns`` on, oldest first."""
        return [
            booking_of(each, symbol=None if each.venue_symbol is None else self._by_venue[each.venue_symbol].symbol)
            for each in self.exchange.bookings(api_key=PAPER_KEY)
            if each.time_ns >= start_ns
        ]

    # --- the account ------------------------------------------------------------------------------------

    async def _open(self, instruments: Mapping[str, Instrument]) -> None:
        tiers = await self._margin_store.leverage_tiers(instruments=instruments.values())
        self._past = past = read_margin_lines(self._ledger.read())
        listed = [each for each in instruments.values() if each.kind.is_margined and each.symbol in tiers]
        schedules = {each.symbol: self._fees(each) for each in listed}
        self._exchange = MarginExchange(
            listings=[listing_of(each, schedules[each.symbol], tuple(tiers[each.symbol])) for each in listed],
            accounts=[SimAccount(api_key=PAPER_KEY, api_secret="", balances=self._opening(past))],
            market=self._market,
            marks=self._marks,
            listener=self._on_event,
            insurance={each.settle: _INSURANCE for each in listed},
            manners=self._manners,
        )
        if any(schedule.levels for schedule in schedules.values()):
            self._exchange.set_tier(api_key=PAPER_KEY, tier=None, follows_volume=True)
        self._is_new = past is None
        self._matched_ns = past.past.time_ns if past is not None else 0

    def _opening(self, past: MarginBooks | None) -> Mapping[str, Decimal]:
        return self._balances if past is None else past.opening.balances

    async def _restore(self) -> None:
        self._write_opening()
        if self._past is None:
            return
        past = self._past.past
        await self._return_to(past.venue_symbols)
        self.exchange.restore(api_key=PAPER_KEY, past=past)
        self._stamps = dict(self._past.stamps)
        self._past = None
        for venue_symbol in past.venue_symbols:
            await self._wanted.add(self._by_venue[venue_symbol])

    async def _see(self, instrument: Instrument) -> None:
        await super()._see(instrument)
        self._marks.hear(instrument.venue_symbol, await self._margin_feed.mark_price(instrument=instrument))

    def _on_event(self, event: object) -> None:
        settled, self._settling = self._settling, None
        self._scribe.write(event, settled=settled)
        match event:
            case AccountEvent(reason="ORDER"):
                self._filled = event  # told after the fill, which comes next
            case AccountEvent():
                self._tell_account(event)
            case ExecutionEvent():
                self._tell_order(event)
                if event.kind is ExecutionKind.TRADE and self._filled is not None:
                    self._tell_account(self._filled)
            case ConditionalEvent():
                self._tell_conditional(event)
            case MarginCallEvent() if self._sink is not None:
                reports = tuple(self._report(each, event.time_ns) for each in event.positions)
                self._sink(MarginCall(positions=reports, time_ns=event.time_ns))

    def _tell_order(self, event: ExecutionEvent) -> None:
        if self._sink is None:
            return  # whoever placed or cancelled it asks, once the stream stands again
        symbol = self._by_venue[event.order.venue_symbol].symbol
        if event.fill is not None:
            self._sink(fill_of(event.fill, symbol=symbol, sequence=event.sequence, is_margined=True))
        self._sink(report_of(event.order, symbol=symbol, sequence=event.sequence))

    def _tell_conditional(self, event: ConditionalEvent) -> None:
        symbol = self._by_venue[event.conditional.venue_symbol].symbol
        report = conditional_report(event.conditional, symbol=symbol, sequence=event.sequence)
        if self._sink is not None and report is not None:
            self._sink(report)

    def _tell_account(self, event: AccountEvent) -> None:
        if self._sink is not None:
            reports = tuple(self._report(each, event.time_ns) for each in event.positions)
            self._sink(update_of(event, reports))

    def _report(self, position: SimPosition, time_ns: int) -> PositionReport:
        symbol = self._by_venue[position.venue_symbol].symbol
        return position_report(self.exchange, position, api_key=PAPER_KEY, symbol=symbol, time_ns=time_ns)

    # --- marks and funding ------------------------------------------------------------------------------

    async def ready(self, instrument: Instrument) -> None:
        """Make sure an order of this instrument meets its market, and that what is due before it has happened."""
        await super().ready(instrument)
        self._pass(self.clock.market_ns())

    def _before_trade(self, trade: Trade) -> None:
        self._pass(trade.time_ns)

    def _hear_more(self, event: StreamEvent) -> None:
        if not isinstance(event, MarkPrice):
            return
        venue_symbol = self._by_symbol[event.symbol].venue_symbol
        self._pass(event.time_ns)
        self._marks.hear(venue_symbol, event)
        if self._joined[event.symbol].is_set():
            self.exchange.on_marks(event.time_ns)
        if self._stamps:
            self._is_due.set()

    def _pass(self, now_ns: int) -> None:
        """Remember what is held at the stamps that pass, and let happen what else is due."""
        for position in self.exchange.positions(api_key=PAPER_KEY):
            symbol = position.venue_symbol
            stamp_ns = self._marks.next_funding_ns(symbol, 0)
            is_heard = self._joined[self._by_venue[symbol].symbol].is_set()
            if stamp_ns is None or not is_heard or not stamp_ns < now_ns or self._marks.knows(symbol, stamp_ns):
                continue
            stamp = Stamp(
                venue_symbol=symbol,
                position_side=position.position_side,
                quantity=position.quantity,
                time_ns=stamp_ns,
            )
            if stamp.key not in self._stamps:
                self._stamps[stamp.key] = stamp
                self._ledger.write(stamp_line(stamp, is_settled=False))
        self.exchange.pass_time(now_ns)

    async def _catch_up_more(self, instrument: Instrument) -> None:
        """Fetch the rates that were settled while nobody listened."""
        symbol = instrument.venue_symbol
        if not self._matched_ns or not self.exchange.positions(api_key=PAPER_KEY):
            return
        start_ns, end_ns = self._matched_ns + 1, self.clock.market_ns()
        while page := await self._margin_feed.funding_rates(instrument=instrument, start_ns=start_ns, end_ns=end_ns):
            kept = [rate for rate in page if not self._is_remembered(symbol, rate)]
            self._marks.learn(symbol, kept)
            start_ns = page[-1].time_ns + 1

    def _is_remembered(self, venue_symbol: str, rate: FundingRate) -> bool:
        return any(
            stamp.venue_symbol == venue_symbol and abs(stamp.time_ns - rate.time_ns) < NEAR_NS
            for stamp in self._stamps.values()
        )

    def _parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return (*super()._parts(), self._settle_all())

    async def _settle_all(self) -> None:
        """Pay what is due, as soon as its rate is published; asked again with every mark price."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            for stamp in tuple(self._stamps.values()):
                instrument = self._by_venue[stamp.venue_symbol]
                try:
                    rates = await self._margin_feed.funding_rates(
                        instrument=instrument, start_ns=stamp.time_ns - NEAR_NS, end_ns=stamp.time_ns + NEAR_NS
                    )
                except BtxError as error:
                    self._tell_fault(f"paper: the funding of {instrument.symbol} is not known yet: {error}")
                    continue
                if rates:
                    self._settle(stamp, rates[-1])

    def _settle(self, stamp: Stamp, rate: FundingRate) -> None:
        del self._stamps[stamp.key]
        self._marks.learn(stamp.venue_symbol, [rate])
        self._settling = stamp
        mark = self._marks.mark(stamp.venue_symbol).mark_price
        self.exchange.settle(
            attrs.evolve(rate, mark_price=rate.mark_price or mark),
            api_key=PAPER_KEY,
            venue_symbol=stamp.venue_symbol,
            position_side=stamp.position_side,
            quantity=stamp.quantity,
        )
        if self._settling is not None:  # it cost nothing, so nothing was told
            self._settling = None
            self._ledger.write(stamp_line(stamp, is_settled=True))


def _unless_so_already(refused: Refused) -> None:
    if refused.reason is not Refusal.NO_CHANGE:
        raise OrderRejectedError(f"paper: {refused}") from refused
