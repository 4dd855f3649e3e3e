"""The market: what happens without us, as a function of seed, data and time.

It is replayed from kline files or dealt from a seed.  Bars are the data's own;
trades inside a minute, quotes and books are made up so that they agree with
the bars exactly, and :attr:`Market.synthesised` lists what was made up.  Client
orders leave no trace here.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Self

import attrs

from btx.errors import ConfigError, UnknownSymbolError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.instrument import Instrument
from btx.model.market import Bar, BookLevel, BookSnapshot, Quote
from btx.model.order import Side
from btx.model.time import NS_PER_DAY, NS_PER_MINUTE, Interval, iso
from btx.model.venue import Scenario
from btx.rules.calendar import bars_back, day_bounds, is_open, next_bar, next_open, trading_day
from btx.sim.book import DEPTH
from btx.sim.synthetic import SYNTHETIC_ORIGIN_NS, synthetic_tape
from btx.sim.tape import Tape, load_tape
from btx.sim.track import BookMark, PublicTrade, Track, TradeFlow

__all__ = (
    "BarChange",
    "BookChange",
    "Market",
    "MarketEvent",
    "PublicTrade",
    "QuoteChange",
    "TradeFlow",
    "base_volume",
)

_LOCKSTEP_DAYS = 1  # how long a synthetic market lasts when nobody says
_FREE_RUNNING_DAYS = 7
_PRICE_GRID = Decimal("0.00000001")
_MINUTE = Interval.parse("1m")
_NO_CALENDARS: Mapping[str, Calendar] = {}


@attrs.frozen(kw_only=True)
class QuoteChange:
    """New best bid and ask; ``update_id`` is the book's."""

    venue_symbol: str
    quote: Quote
    update_id: int
    time_ns: int


@attrs.frozen(kw_only=True)
class BookChange:
    """Levels that changed in the updates ``first_id``..``last_id``; absolute, zero removes a level.

    Applied to a snapshot inside that range (or just before it) it gives the
    book at ``last_id``; the next change begins at ``last_id + 1``.
    """

    venue_symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    first_id: int
    last_id: int
    time_ns: int


@attrs.frozen(kw_only=True)
class BarChange:
    """A bar as it is now, with its trades; ``bar.is_closed`` says whether it is the last word."""

    venue_symbol: str
    bar: Bar
    flow: TradeFlow
    time_ns: int


MarketEvent = PublicTrade | QuoteChange | BookChange | BarChange


class Market:
    """All symbols of a world; every answer is as of :attr:`now_ns`, which :meth:`seek` moves."""

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        origin_ns: int,
        end_ns: int,
        synthesised: Sequence[str],
        shift_ns: int = 0,
        calendars: Mapping[str, Calendar] = _NO_CALENDARS,
    ) -> None:
        self._calendars = calendars  # by venue symbol; who is not in it trades always
        self._tracks = {track.venue_symbol: track for track in tracks}
        self.shift_ns = shift_ns  # how far the data were moved
        self.origin_ns = origin_ns
        self.end_ns = end_ns
        self.now_ns = origin_ns
        self.synthesised = (*synthesised, *(remark for track in tracks for remark in track.remarks))

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        instruments: Sequence[Instrument],
        *,
        wire_ns: int = 0,
        calendars: Mapping[str, Calendar] = _NO_CALENDARS,
    ) -> Self:
        """Build the market a scenario describes; ``wire_ns`` is where a rebased one is moved to.

        A synthetic market without ``until_ns`` lasts a day in lockstep and a
        week when it runs freely.  What has hours in ``calendars``, by venue
        symbol, has minutes in them alone; a synthetic market begins with a session
        then, and its history, if it has one, holds a trading day at least.

        Raises:
            UnknownSymbolError: the venue does not list one of the symbols.
            ConfigError: a file is no kline file, or the files and times do not fit together.
        """
        if not scenario.data:
            scenario = _in_sessions(scenario, calendars.values())
        if scenario.data:
            tapes = _file_tapes(scenario, instruments)
        else:
            tapes = _synthetic_tapes(scenario, instruments, calendars)
        origin_ns, start_ns, end_ns = _span(scenario, tapes)
        shift_ns = wire_ns // NS_PER_MINUTE * NS_PER_MINUTE - origin_ns if scenario.rebase else 0
        tracks = [
            Track(tape, seed=scenario.seed, start_ns=start_ns, origin_ns=origin_ns, shift_ns=shift_ns) for tape in tapes
        ]
        return cls(
            tracks,
            origin_ns=origin_ns + shift_ns,
            end_ns=end_ns + shift_ns,
            synthesised=[text for tape in tapes for text in tape.synthesised],
            shift_ns=shift_ns,
            calendars=calendars,
        )

    @property
    def venue_symbols(self) -> tuple[str, ...]:
        return tuple(self._tracks)

    def seek(self, now_ns: int) -> None:
        """Make ``now_ns`` the time all answers are given for."""
        self.now_ns = now_ns

    # --- prices ---------------------------------------------------------------------------------------------

    def is_trading(self, venue_symbol: str) -> bool:
        """Tell whether the symbol has data now, from its first minute to the end of its own data, and a session."""
        track = self._tracks[venue_symbol]
        return track.start_ns <= self.now_ns <= track.end_ns and is_open(self.calendar(venue_symbol), self.now_ns)

    def calendar(self, venue_symbol: str) -> Calendar:
        """Return when a symbol trades."""
        return self._calendars.get(venue_symbol, ALWAYS)

    def next_close_ns(self, venue_symbol: str, interval: Interval) -> int:
        """Return when the bar closes that trades now, or else the next one that does."""
        open_ns = next_bar(self.calendar(venue_symbol), interval, interval.open_of(self.now_ns))
        return interval.close_of(open_ns)

    def is_day_end(self, venue_symbol: str) -> bool:
        """Tell whether the last session of a trading day has ended just now."""
        calendar = self.calendar(venue_symbol)
        day = trading_day(calendar, self.now_ns - 1) if calendar.hours else None
        bounds = day_bounds(calendar, day) if day is not None else None
        return bounds is not None and bounds[1] == self.now_ns

    def last_price(self, venue_symbol: str) -> Decimal:
        """Return the price of the latest print; before the first, the price it will have."""
        return self._tracks[venue_symbol].last(self.now_ns).price

    def price_at(self, venue_symbol: str, time_ns: int) -> Decimal:
        """Return the price of the latest print at a time, played or not; before the first, the price it will have."""
        return self._tracks[venue_symbol].last(time_ns).price

    def reach(self, venue_symbol: str, start_ns: int, end_ns: int) -> tuple[Decimal, Decimal]:
        """Return a price below and one above which no last price of ``[start_ns, end_ns]`` lies, played or not."""
        return self._tracks[venue_symbol].reach(start_ns, end_ns)

    def average_price(self, venue_symbol: str, minutes: int) -> Decimal:
        """Return the volume-weighted price of the last minutes, to eight decimals.

        It is the last price for 0 minutes, and where nothing was traded.
        """
        if not minutes:
            return self.last_price(venue_symbol)
        flow = self.flow(venue_symbol, self.now_ns - minutes * NS_PER_MINUTE, self.now_ns + 1)
        if not flow.volume:
            return self.last_price(venue_symbol)
        return (flow.quote_volume / flow.volume).quantize(_PRICE_GRID, rounding=ROUND_HALF_EVEN)

    # --- quotes and books -----------------------------------------------------------------------------------

    def levels(self, venue_symbol: str, side: Side) -> Iterator[BookLevel]:
        """Yield (price, quantity) of bids (BUY) or asks (SELL), best first, at most 1000."""
        return self._tracks[venue_symbol].levels(side, self.now_ns)

    def quantity_at(self, venue_symbol: str, side: Side, price: Decimal) -> Decimal:
        """Return what is offered at exactly this price on this side; zero where there is no level."""
        return self._tracks[venue_symbol].quantity_at(side, price, self.now_ns)

    def book(self, venue_symbol: str, *, depth: int = DEPTH) -> BookSnapshot:
        """Return the best levels of both sides; ``sequence`` is the last update they contain."""
        return BookSnapshot(
            symbol=self._tracks[venue_symbol].instrument.symbol,
            bids=tuple(itertools.islice(self.levels(venue_symbol, Side.BUY), depth)),
            asks=tuple(itertools.islice(self.levels(venue_symbol, Side.SELL), depth)),
            sequence=self.update_id(venue_symbol),
        )

    def quote(self, venue_symbol: str) -> Quote:
        """Return the best bid and ask."""
        track = self._tracks[venue_symbol]
        bid, ask = track.top(self.now_ns)
        return Quote(
            symbol=track.instrument.symbol,
            bid_price=bid[0],
            bid_quantity=bid[1],
            ask_price=ask[0],
            ask_quantity=ask[1],
            sequence=self.update_id(venue_symbol),
            time_ns=self.now_ns,
        )

    def update_id(self, venue_symbol: str) -> int:
        """Return the id of the book's last update."""
        return self._tracks[venue_symbol].update_id(self.now_ns)

    def look(self, venue_symbol: str) -> BookMark:
        """Return a mark of the book as it is now, for :meth:`book_change`."""
        return self._tracks[venue_symbol].look(self.now_ns)

    def book_change(self, venue_symbol: str, before: BookMark, after: BookMark) -> BookChange:
        """Return what happened to the book after ``before``, up to ``after``."""
        bids, asks = self._tracks[venue_symbol].changes(before, after)
        return BookChange(
            venue_symbol=venue_symbol,
            bids=bids,
            asks=asks,
            first_id=before.update_id + 1,
            last_id=after.update_id,
            time_ns=self.now_ns,
        )

    # --- bars -----------------------------------------------------------------------------------------------

    def klines(
        self,
        venue_symbol: str,
        interval: Interval,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 500,
    ) -> tuple[Bar, ...]:
        """Return bars that open in ``[start_ns, end_ns)``, oldest first.

        With ``start_ns`` the first ``limit`` of them, without it the newest.  The
        last one is still forming when its ``is_closed`` is False; the current
        bar is there as soon as it has a trade.  ``quote_volume`` and ``trades``
        are always set.
        """
        track = self._tracks[venue_symbol]
        end_ns = self.now_ns if end_ns is None else min(end_ns, self.now_ns)
        if start_ns is None:
            spans = track.bar_spans_back(interval, end_ns)
        else:
            spans = track.bar_spans(interval, start_ns, end_ns)
        told = (track.bar(interval, open_ns, close_ns, self.now_ns) for open_ns, close_ns in spans)
        # A minute that has opened without a trade takes no place on the page.
        bars = tuple(itertools.islice((bar for bar in told if bar is not None), limit))
        return bars[::-1] if start_ns is None else bars

    def bar(self, venue_symbol: str, interval: Interval, open_ns: int) -> Bar | None:
        """Return one bar as it is now; None when nothing has happened in it."""
        return self._tracks[venue_symbol].bar(interval, open_ns, interval.close_of(open_ns), self.now_ns)

    def window(self, venue_symbol: str, start_ns: int, end_ns: int) -> Bar | None:
        """Return the minutes that open in ``[start_ns, end_ns)`` as one bar (its interval says nothing)."""
        return self._tracks[venue_symbol].bar(_MINUTE, start_ns, end_ns, self.now_ns)

    def flow(self, venue_symbol: str, start_ns: int, end_ns: int) -> TradeFlow:
        """Return the sums over the trades of ``[start_ns, end_ns)`` up to now."""
        return self._tracks[venue_symbol].flow(start_ns, min(end_ns, self.now_ns + 1))

    def statistics(self, venue_symbol: str, start_ns: int, end_ns: int) -> tuple[Bar, TradeFlow]:
        """Return ``[start_ns, end_ns]`` as one bar, and its trades; where nothing traded, flat at the last price."""
        end_ns = min(end_ns, self.now_ns)
        flow = self.flow(venue_symbol, start_ns, end_ns + 1)  # with what traded in this very instant
        bar = self.window(venue_symbol, start_ns, end_ns)
        if bar is None:
            last, nothing = self.last_price(venue_symbol), Decimal(0)
            bar = Bar(
                symbol=venue_symbol,
                interval=_MINUTE,
                open_ns=start_ns,
                close_ns=end_ns,
                open=last,
                high=last,
                low=last,
                close=last,
                volume=nothing,
                is_closed=True,
                quote_volume=nothing,
                trades=0,
            )
        return bar, flow

    def count_minutes(self, venue_symbol: str) -> tuple[int, int | None, int | None]:
        """Return how many minutes have closed since the origin, and when the first and the last opened."""
        return self._tracks[venue_symbol].count_minutes(self.origin_ns, self.now_ns)

    # --- trades ---------------------------------------------------------------------------------------------

    def trades(
        self,
        venue_symbol: str,
        *,
        limit: int = 500,
        from_id: int | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> tuple[PublicTrade, ...]:
        """Return prints, oldest first: from an id, else from a time on, else the newest before ``end_ns``."""
        track = self._tracks[venue_symbol]
        now_ns = self.now_ns if end_ns is None else min(end_ns - 1, self.now_ns)
        if from_id is None and start_ns is not None:
            from_id = track.first_id_since(start_ns)
        if from_id is None:
            from_id = track.last(now_ns).trade_id - limit + 1
        return tuple(itertools.islice(track.trades_from(from_id, now_ns), limit))

    def trades_between(self, venue_symbol: str, after_ns: int, until_ns: int) -> list[PublicTrade]:
        """Return the prints of ``(after_ns, until_ns]``, oldest first, played or not."""
        return self._tracks[venue_symbol].between(after_ns, until_ns)

    def next_trade_ns(self, venue_symbol: str) -> int | None:
        """Return when the next print of this minute happens; None when there is none left in it."""
        return self._tracks[venue_symbol].next_trade_ns(self.now_ns)


def base_volume(instrument: Instrument, volume: Decimal, quote_volume: Decimal) -> Decimal:
    """Return what contracts were worth in the base coin; ``quote_volume`` is the sum of price times contracts.

    At their average price, so a little less than the sum over single trades would be.
    """
    return volume * instrument.multiplier * volume / quote_volume if quote_volume else Decimal(0)


def _file_tapes(scenario: Scenario, instruments: Sequence[Instrument]) -> list[Tape]:
    return [load_tape(path, _find(symbol, instruments)) for symbol, path in scenario.data.items()]


def _in_sessions(scenario: Scenario, calendars: Iterable[Calendar]) -> Scenario:
    """Return a synthetic market's scenario with an origin and a warm-up that lie where it trades."""
    for calendar in (each for each in calendars if each.hours):
        asked_ns = scenario.origin_ns if scenario.origin_ns is not None else SYNTHETIC_ORIGIN_NS
        origin_ns = asked_ns if scenario.origin_ns is not None else (next_open(calendar, asked_ns) or asked_ns)
        start_ns = origin_ns - scenario.warmup_ns
        day = trading_day(calendar, bars_back(calendar, _MINUTE, origin_ns, 1))
        bounds = day_bounds(calendar, day) if day is not None else None
        if scenario.warmup_ns and bounds is not None:
            start_ns = min(start_ns, bounds[0])
        scenario = attrs.evolve(scenario, origin_ns=origin_ns, warmup_ns=origin_ns - start_ns)
    return scenario


def _synthetic_tapes(
    scenario: Scenario, instruments: Sequence[Instrument], calendars: Mapping[str, Calendar]
) -> list[Tape]:
    origin_ns = scenario.origin_ns if scenario.origin_ns is not None else SYNTHETIC_ORIGIN_NS
    origin_ns -= origin_ns % NS_PER_MINUTE
    days = _LOCKSTEP_DAYS if scenario.speed is None else _FREE_RUNNING_DAYS
    until_ns = scenario.until_ns if scenario.until_ns is not None else days * NS_PER_DAY
    tapes = []
    for symbol in scenario.symbols or [one.symbol for one in instruments]:
        instrument = _find(symbol, instruments)
        tape = synthetic_tape(
            instrument,
            seed=scenario.seed,
            origin_ns=origin_ns,
            start_ns=origin_ns - scenario.warmup_ns,
            end_ns=origin_ns + max(until_ns, NS_PER_MINUTE),
        )
        calendar = calendars.get(instrument.venue_symbol, ALWAYS)
        if calendar.hours:
            tape = attrs.evolve(tape, rows=[row for row in tape.rows if is_open(calendar, row.open_ns)])
        tapes.append(tape)
    return tapes


def _find(symbol: str, instruments: Sequence[Instrument]) -> Instrument:
    by_name: Mapping[str, Instrument] = {
        **{instrument.venue_symbol: instrument for instrument in instruments},
        **{instrument.symbol: instrument for instrument in instruments},
    }
    if symbol not in by_name:
        known = ", ".join(instrument.symbol for instrument in instruments)
        raise UnknownSymbolError(f"the simulator does not list {symbol}: write one of {known}")
    return by_name[symbol]


def _span(scenario: Scenario, tapes: Sequence[Tape]) -> tuple[int, int, int]:
    """Return origin, start of the history before it, and end.

    Without an origin the world begins where every symbol has data, and the
    warm-up after that.
    """
    common_ns = max(tape.rows[0].open_ns for tape in tapes)
    if scenario.data and scenario.origin_ns is None:
        origin_ns = common_ns + scenario.warmup_ns
    elif scenario.origin_ns is None:
        origin_ns = SYNTHETIC_ORIGIN_NS
    else:
        origin_ns = scenario.origin_ns
    origin_ns -= origin_ns % NS_PER_MINUTE
    for tape in tapes:
        if not tape.rows[0].open_ns <= origin_ns < tape.end_ns:
            raise ConfigError(
                f"the market begins at {iso(origin_ns)}, but the data of {tape.instrument.symbol} are from "
                f"{iso(tape.rows[0].open_ns)} to {iso(tape.end_ns)}: choose another origin, warm-up or file"
            )
    end_ns = max(tape.end_ns for tape in tapes)
    if scenario.until_ns is not None:
        end_ns = min(end_ns, origin_ns + scenario.until_ns)
    return origin_ns, origin_ns - scenario.warmup_ns, end_ns
