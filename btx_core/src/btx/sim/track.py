"""Tracks: one symbol of a market, its minutes and what happens inside them, at any time one asks about."""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple, TypeVar

import attrs

from btx.model.instrument import Instrument
from btx.model.market import Bar, BookLevel
from btx.model.order import Side
from btx.model.time import NS_PER_MINUTE, NS_PER_MS, Interval
from btx.sim.book import LatticeBook, Level
from btx.sim.dice import key_of, mix
from btx.sim.prints import MinuteBar, Shape, make_prints, shape_of
from btx.sim.tape import Row, Tape

__all__ = ("BookMark", "PublicTrade", "Track", "TradeFlow")

V = TypeVar("V")

_ZERO = Decimal(0)
_LEVEL_SHARE = 20  # a level of the book holds on average this part of a minute's volume
_TYPICAL_MINUTES = 60
_CACHED_MINUTES = 64
_NO_ID = -1
_SPANS = 32  # whole minutes whose sums are remembered


@attrs.frozen(kw_only=True)
class PublicTrade:
    """One print; the ids of a symbol have no gaps. It counts as one aggregate trade of the same id."""

    venue_symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    side: Side  # the aggressor's
    time_ns: int


@attrs.frozen(kw_only=True)
class TradeFlow:
    """The trades of a span of time; both ids are -1 when there were none.

    Ids count the prints that are played; ``trades`` and the rest are the
    file's own figures where it has them.
    """

    first_trade_id: int
    last_trade_id: int
    trades: int
    volume: Decimal
    quote_volume: Decimal
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal


@attrs.frozen(kw_only=True)
class BookMark:
    """A moment of the book; everything but its best levels follows from the time."""

    update_id: int
    time_ms: int
    bid: Level
    ask: Level


class _Sums(NamedTuple):
    """Volume, quote volume and the buyers' part of both."""

    volume: Decimal
    quote: Decimal
    buy: Decimal
    buy_quote: Decimal


class _Last(NamedTuple):
    """The latest print: its price, and its id (0 before the first)."""

    price: Decimal
    trade_id: int


class Track:
    """The minutes of one symbol from ``start_ns`` on, moved by ``shift_ns``; nothing after the asked time is told.

    Raises:
        ValueError: no minute of the tape opens at or after ``start_ns``.
    """

    def __init__(self, tape: Tape, *, seed: int, start_ns: int, origin_ns: int, shift_ns: int = 0) -> None:
        self.instrument: Instrument = tape.instrument
        self.venue_symbol = tape.instrument.venue_symbol
        rows = [row for row in tape.rows if row.open_ns >= start_ns]
        if not rows:
            raise ValueError("no minute at or after the start")
        self._rows: Sequence[Row] = (
            rows if not shift_ns else [row._replace(open_ns=row.open_ns + shift_ns) for row in rows]
        )
        self._opens = [row.open_ns for row in self._rows]
        self.start_ns = self._opens[0]
        self.end_ns = self._opens[-1] + NS_PER_MINUTE
        self._tick = _grid((price for row in rows for price in row[1:5]), tape.instrument.tick_size)
        self._step = _grid((row.volume for row in rows), tape.instrument.step_size)
        self._unit_notional = float(self._tick) * float(self._step)
        self._key = key_of(seed, tape.instrument.symbol)
        # Minutes are dealt by their own time, before any shift, so that neither warm-up nor rebase changes them.
        self._shift_minutes = shift_ns // NS_PER_MINUTE
        shapes = [self._shape(index)[1] for index in range(len(rows))]
        self._first_ids = list(itertools.accumulate((shape.count for shape in shapes), initial=1))
        self._tight = sum(shape.parts > 1 for shape in shapes)
        self._trades: dict[int, tuple[PublicTrade, ...]] = {}
        self._sums: dict[int, _Sums] = {}
        # What a day's statistics are made of is asked for with every trade, and changes once a minute.
        self._joins: dict[tuple[int, int], Row] = {}
        self._wholes: dict[tuple[int, int], tuple[_Sums, int]] = {}
        self._book = self._make_book(origin_ns + shift_ns)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the data cannot be traded as it stands, in sentences."""
        symbol = self.instrument.symbol
        idle = sum(not row.volume and row.high != row.low for row in self._rows)
        remarks = (
            (self._tick != self.instrument.tick_size, f"prices are on the data's own grid of {self._tick}"),
            (self._step != self.instrument.step_size, f"quantities are on the data's own grid of {self._step}"),
            (idle, f"{idle} minutes move without volume: no trade shows how"),
            (self._tight, f"{self._tight} minutes have too little volume for their range: prints below the grid"),
        )
        return tuple(f"{symbol}: {text}" for is_so, text in remarks if is_so)

    # --- trades ---------------------------------------------------------------------------------------------

    def last(self, now_ns: int) -> _Last:
        """Return the latest print; before the first, the price it will have."""
        index = bisect_left(self._opens, now_ns) - 1
        if index < 0:
            return _Last(self._rows[0].open, 0)
        if now_ns >= self._opens[index] + NS_PER_MINUTE:
            return _Last(self._rows[index].close, self._first_ids[index + 1] - 1)
        played = self._played(index, now_ns)
        if played:
            trade = self._minute(index)[played - 1]
            return _Last(trade.price, trade.trade_id)
        before = self._rows[index - 1].close if index else self._rows[0].open
        return _Last(before, self._first_ids[index] - 1)

    def reach(self, start_ns: int, end_ns: int) -> tuple[Decimal, Decimal]:
        """Return bounds of every last price there is in ``[start_ns, end_ns]``, by the minutes that touch it."""
        high = bisect_right(self._opens, end_ns)
        low = max(bisect_right(self._opens, start_ns) - 2, 0)  # the close before it counts until its first print
        rows = self._rows[low : max(high, low + 1)]
        return min(row.low for row in rows), max(row.high for row in rows)

    def between(self, after_ns: int, until_ns: int) -> list[PublicTrade]:
        """Return the prints of ``(after_ns, until_ns]``, oldest first."""
        low = max(bisect_right(self._opens, after_ns) - 1, 0)
        high = bisect_left(self._opens, until_ns)
        return [
            trade for index in range(low, high) for trade in self._minute(index) if after_ns < trade.time_ns <= until_ns
        ]

    def next_trade_ns(self, now_ns: int) -> int | None:
        """Return when the next print of the running minute happens; None when there is none left in it."""
        index = bisect_right(self._opens, now_ns) - 1
        if index < 0 or now_ns >= self._opens[index] + NS_PER_MINUTE:
            return None
        return next((trade.time_ns for trade in self._minute(index) if trade.time_ns > now_ns), None)

    def trades_from(self, trade_id: int, now_ns: int) -> Iterator[PublicTrade]:
        """Yield the prints from an id on, oldest first."""
        index = max(bisect_right(self._first_ids, trade_id) - 1, 0)
        for minute in range(index, bisect_left(self._opens, now_ns)):
            for trade in self._minute(minute):
                if trade.time_ns > now_ns:
                    return
                if trade.trade_id >= trade_id:
                    yield trade

    def first_id_since(self, time_ns: int) -> int:
        """Return the id of the first print at or after a time; of the one to come when there is none yet."""
        index = bisect_right(self._opens, time_ns) - 1
        if index < 0:
            return 1
        for trade in self._minute(index):
            if trade.time_ns >= time_ns:
                return trade.trade_id
        return self._first_ids[index + 1]

    # --- bars -----------------------------------------------------------------------------------------------

    def bar(self, interval: Interval, open_ns: int, close_ns: int, now_ns: int) -> Bar | None:
        """Return the bar of a span as it is now, folded from minutes; None when nothing happened in it yet."""
        low, high = bisect_left(self._opens, open_ns), bisect_left(self._opens, min(close_ns, now_ns))
        forming = None
        if high > low and self._opens[high - 1] + NS_PER_MINUTE > now_ns:
            high -= 1
            forming = self._forming(high, now_ns)
        rows = [*([self._joined(low, high)] if high > low else []), *([forming] if forming is not None else [])]
        if not rows:
            return None
        flow = self.flow(open_ns, min(close_ns, now_ns + 1))
        return Bar(
            symbol=self.instrument.symbol,
            interval=interval,
            open_ns=open_ns,
            close_ns=close_ns,
            open=rows[0].open,
            high=max(row.high for row in rows),
            low=min(row.low for row in rows),
            close=rows[-1].close,
            volume=flow.volume if high - low + (forming is not None) > 1 else rows[0].volume,
            is_closed=now_ns >= close_ns,
            quote_volume=flow.quote_volume,
            trades=flow.trades,
        )

    def bar_spans(self, interval: Interval, start_ns: int, end_ns: int) -> Iterator[tuple[int, int]]:
        """Yield (open, close) of the bars that hold minutes of ``[start_ns, end_ns)`` and open in it, oldest first."""
        index = bisect_left(self._opens, start_ns)
        while index < len(self._opens) and self._opens[index] < end_ns:
            open_ns = interval.open_of(self._opens[index])
            close_ns = interval.close_of(open_ns)
            if open_ns >= start_ns:
                yield open_ns, close_ns
            index = bisect_left(self._opens, close_ns, index)

    def bar_spans_back(self, interval: Interval, end_ns: int) -> Iterator[tuple[int, int]]:
        """Yield (open, close) of the bars that hold minutes before ``end_ns``, newest first."""
        index = bisect_left(self._opens, end_ns) - 1
        while index >= 0:
            open_ns = interval.open_of(self._opens[index])
            yield open_ns, interval.close_of(open_ns)
            index = bisect_left(self._opens, open_ns, 0, index + 1) - 1

    def count_minutes(self, after_ns: int, now_ns: int) -> tuple[int, int | None, int | None]:
        """Return how many minutes opened at or after a time and have closed, and the first and last such open."""
        low = bisect_left(self._opens, after_ns)
        high = bisect_right(self._opens, now_ns - NS_PER_MINUTE)
        if high <= low:
            return 0, None, None
        return high - low, self._opens[low], self._opens[high - 1]

    def flow(self, start_ns: int, end_ns: int) -> TradeFlow:
        """Return the sums over the trades of ``[start_ns, end_ns)``."""
        first = bisect_left(self._opens, start_ns)
        last = bisect_right(self._opens, end_ns - NS_PER_MINUTE)  # minutes [first, last) lie inside wholly
        parts, count = list[_Sums](), 0
        ids = (self._first_ids[first], self._first_ids[last]) if last > first else (0, 0)
        if last > first:
            whole, count = self._whole(first, last)
            parts.append(whole)
        edges = self._edges(first, last, start_ns, end_ns)
        for trades in edges:
            parts.append(self._sum_trades(trades))
            count += len(trades)
        known = [trade.trade_id for trades in edges for trade in trades]
        if ids[1] > ids[0]:
            known += [ids[0], ids[1] - 1]
        return TradeFlow(
            first_trade_id=min(known, default=_NO_ID),
            last_trade_id=max(known, default=_NO_ID),
            trades=count,
            volume=sum((part.volume for part in parts), _ZERO),
            quote_volume=sum((part.quote for part in parts), _ZERO),
            taker_buy_volume=sum((part.buy for part in parts), _ZERO),
            taker_buy_quote_volume=sum((part.buy_quote for part in parts), _ZERO),
        )

    # --- the book -------------------------------------------------------------------------------------------

    def update_id(self, now_ns: int) -> int:
        """Return the book's update id, which counts milliseconds: it needs no memory of who looked when."""
        return (now_ns - self.start_ns) // NS_PER_MS + 1

    def top(self, now_ns: int) -> tuple[BookLevel, BookLevel]:
        """Return the best bid and the best ask."""
        bid, ask = self._top(now_ns)
        return self._level(bid), self._level(ask)

    def levels(self, side: Side, now_ns: int) -> Iterator[BookLevel]:
        """Yield bids (BUY) or asks (SELL), best first."""
        top = self._top(now_ns)[0 if side is Side.BUY else 1]
        for level in self._book.levels(side, top, now_ns // NS_PER_MS):
            yield self._level(level)

    def quantity_at(self, side: Side, price: Decimal, now_ns: int) -> Decimal:
        """Return what stands at exactly ``price``; zero for no level."""
        if price % self._tick:
            return _ZERO
        top = self._top(now_ns)[0 if side is Side.BUY else 1]
        return self._step * self._book.quantity_at(side, int(price / self._tick), top, now_ns // NS_PER_MS)

    def look(self, now_ns: int) -> BookMark:
        """Return what it takes to tell, later, how the book has changed since now."""
        bid, ask = self._top(now_ns)
        return BookMark(update_id=self.update_id(now_ns), time_ms=now_ns // NS_PER_MS, bid=bid, ask=ask)

    def changes(self, before: BookMark, after: BookMark) -> tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]:
        """Return the bids and the asks that differ between two looks; zero removes a level."""
        sides = ((Side.BUY, before.bid, after.bid), (Side.SELL, before.ask, after.ask))
        bids, asks = (
            self._book.changes(side, before=(old, before.time_ms), after=(new, after.time_ms))
            for side, old, new in sides
        )
        return tuple(map(self._level, bids.items())), tuple(map(self._level, asks.items()))

    def _top(self, now_ns: int) -> tuple[Level, Level]:
        last = self.last(now_ns)
        return self._book.top(last_price=int(last.price / self._tick), trade_id=last.trade_id)

    def _level(self, level: Level) -> BookLevel:
        return level[0] * self._tick, level[1] * self._step

    def _make_book(self, origin_ns: int) -> LatticeBook:
        index = min(bisect_left(self._opens, origin_ns), len(self._opens) - 1)
        typical = [row.volume for row in self._rows[index : index + _TYPICAL_MINUTES]]
        return LatticeBook(
            key=mix(self._key),
            reference_price=int(self._rows[index].open / self._tick),
            mean_quantity=int(sum(typical, _ZERO) / len(typical) / self._step / _LEVEL_SHARE),
        )

    # --- inside a minute ------------------------------------------------------------------------------------

    def _shape(self, index: int) -> tuple[MinuteBar, Shape]:
        row = self._rows[index]
        minute = row.open_ns // NS_PER_MINUTE - self._shift_minutes
        bar = MinuteBar(
            key=mix(self._key ^ minute),
            open=int(row.open / self._tick),
            high=int(row.high / self._tick),
            low=int(row.low / self._tick),
            close=int(row.close / self._tick),
            volume=int(row.volume / self._step),
        )
        return bar, shape_of(bar, unit_notional=self._unit_notional)

    def _minute(self, index: int) -> tuple[PublicTrade, ...]:
        trades = self._trades.get(index)
        if trades is None:
            if len(self._trades) >= _CACHED_MINUTES:
                del self._trades[next(iter(self._trades))]
            bar, shape = self._shape(index)
            part = self._step / shape.parts
            open_ns, first_id = self._opens[index], self._first_ids[index]
            trades = self._trades[index] = tuple(
                PublicTrade(
                    venue_symbol=self.venue_symbol,
                    trade_id=first_id + number,
                    price=price * self._tick,
                    quantity=quantity * part,
                    side=Side.BUY if self._book.is_buy(first_id + number) else Side.SELL,
                    time_ns=open_ns + time_ms * NS_PER_MS,
                )
                for number, (time_ms, price, quantity) in enumerate(make_prints(bar, shape))
            )
        return trades

    def _played(self, index: int, now_ns: int) -> int:
        return sum(trade.time_ns <= now_ns for trade in self._minute(index))

    def _forming(self, index: int, now_ns: int) -> Row | None:
        trades = self._minute(index)[: self._played(index, now_ns)]
        if not trades:
            return None
        prices = [trade.price for trade in trades]
        volume = sum((trade.quantity for trade in trades), _ZERO)
        return Row(self._opens[index], prices[0], max(prices), min(prices), prices[-1], volume)

    def _edges(self, first: int, last: int, start_ns: int, end_ns: int) -> list[tuple[PublicTrade, ...]]:
        """Return the trades of the minutes that a span covers only in part, before and after the whole ones."""
        indexes = {first - 1, last} if last >= first else {last}
        return [
            trades
            for index in sorted(indexes)
            if 0 <= index < len(self._opens)
            and self._opens[index] < end_ns
            and self._opens[index] + NS_PER_MINUTE > start_ns
            and (trades := tuple(t for t in self._minute(index) if start_ns <= t.time_ns < end_ns))
        ]

    def _joined(self, low: int, high: int) -> Row:
        """Return whole minutes as one; of more than one without a volume. Whoever asks again asks for the same."""
        if high - low == 1:
            return self._rows[low]
        known = self._joins.get((low, high))
        if known is None:
            rows = self._rows[low:high]
            known = Row(
                rows[0].open_ns,
                rows[0].open,
                max(row.high for row in rows),
                min(row.low for row in rows),
                rows[-1].close,
                _ZERO,
            )
            _remember(self._joins, (low, high), known)
        return known

    def _whole(self, first: int, last: int) -> tuple[_Sums, int]:
        """Return the sums over whole minutes, and how many trades they have."""
        known = self._wholes.get((first, last))
        if known is None:
            parts = [self._minute_sums(index) for index in range(first, last)]
            count = sum(
                row.trades if row.trades is not None else self._first_ids[index + 1] - self._first_ids[index]
                for index, row in enumerate(self._rows[first:last], start=first)
            )
            known = _Sums(*(sum(each, _ZERO) for each in zip(*parts, strict=True))), count
            _remember(self._wholes, (first, last), known)
        return known

    def _minute_sums(self, index: int) -> _Sums:
        sums = self._sums.get(index)
        if sums is None:
            row = self._rows[index]
            if row.quote_volume is not None:
                buy, buy_quote = row.taker_buy_volume or _ZERO, row.taker_buy_quote_volume or _ZERO
                sums = _Sums(row.volume, row.quote_volume, buy, buy_quote)
            else:
                sums = self._sum_prints(index)._replace(volume=row.volume)
            self._sums[index] = sums
        return sums

    def _sum_prints(self, index: int) -> _Sums:
        """Sum a minute's prints in integers: thousands of minutes are summed for one daily bar."""
        bar, shape = self._shape(index)
        first_id = self._first_ids[index]
        quote = buy = buy_quote = 0
        for number, (_, price, quantity) in enumerate(make_prints(bar, shape)):
            notional = price * quantity
            quote += notional
            if self._book.is_buy(first_id + number):
                buy += quantity
                buy_quote += notional
        part = self._step / shape.parts
        return _Sums(_ZERO, quote * self._tick * part, buy * part, buy_quote * self._tick * part)

    def _sum_trades(self, trades: Iterable[PublicTrade]) -> _Sums:
        volume = quote = buy = buy_quote = _ZERO
        for trade in trades:
            notional = trade.price * trade.quantity
            volume += trade.quantity
            quote += notional
            if trade.side is Side.BUY:
                buy += trade.quantity
                buy_quote += notional
        return _Sums(volume, quote, buy, buy_quote)


def _remember(found: dict[tuple[int, int], V], span: tuple[int, int], value: V) -> None:
    if len(found) >= _SPANS:
        del found[next(iter(found))]
    found[span] = value


def _grid(values: Iterable[Decimal], listed: Decimal) -> Decimal:
    """Return the listed grid when all values are on it, else the decimal places that hold them all."""
    exponent = 0
    is_listed = True
    for value in values:
        if value % listed:
            is_listed = False
        exponent = min(exponent, _exponent(value))
    return listed if is_listed else Decimal(1).scaleb(min(exponent, _exponent(listed)))


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent
