"""Bars: cut from trades, folded into longer ones, and joined without a gap or a double."""

import enum
from collections.abc import Iterator
from decimal import Decimal

import attrs

from btx.model.calendar import ALWAYS, Calendar
from btx.model.market import Bar, FillerBar, Trade
from btx.model.time import NS_PER_DAY, Interval, IntervalUnit
from btx.rules.calendar import next_bar

__all__ = (
    "Arrival",
    "BarFold",
    "Forming",
    "Growth",
    "TradeFold",
    "begin_after",
    "close_due",
    "fillers",
    "fits",
    "fold",
    "fold_bar",
    "formed",
    "gap_between",
    "grow",
    "is_contiguous",
    "judge",
)

_ZERO = Decimal(0)


# --- trades into bars -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TradeFold:
    """A bar in the making. Trades of a bar that is closed already are counted in ``late`` and left out.

    With ``fills`` an interval nobody traded in has a flat bar at the last price,
    as the klines of most venues do, unless it does not trade then by its
    ``calendar``; without, it has none.
    """

    symbol: str
    interval: Interval
    fills: bool = False
    forming: Bar | None = None
    last_id: int | None = None  # of the last trade taken, where the venue numbers them
    last_price: Decimal | None = None  # at which the last bar closed
    floor_ns: int = 0  # no bar that opens before it can still take a trade
    late: int = 0
    calendar: Calendar = ALWAYS


def fold(state: TradeFold, trade: Trade) -> tuple[TradeFold, tuple[Bar, ...]]:
    """Return the state after ``trade``, and the bars that it closed, if any.

    A trade number that is not above the last changes nothing: it is a repeat.
    A bar of so many trades is closed by its last one, any other by the first
    trade after it.

    Raises:
        ValueError: the trade is of another symbol.
    """
    if trade.symbol != state.symbol:
        raise ValueError(f"bars of {state.symbol}: trade in {trade.symbol}")
    if isinstance(trade.trade_id, int):
        if state.last_id is not None and trade.trade_id <= state.last_id:
            return state, ()
        state = attrs.evolve(state, last_id=trade.trade_id)
    if not state.interval.is_timed:
        return _counted(state, trade)
    state, closed = close_due(state, now_ns=trade.time_ns)
    open_ns = state.interval.open_of(trade.time_ns)
    if open_ns < state.floor_ns:
        return attrs.evolve(state, late=state.late + 1), closed
    first = _first(state, trade, open_ns, state.interval.close_of(open_ns))
    forming = first if state.forming is None else _joined(state.forming, first)
    return attrs.evolve(state, forming=forming, floor_ns=open_ns), closed


def close_due(state: TradeFold, *, now_ns: int) -> tuple[TradeFold, tuple[Bar, ...]]:
    """Return the state at ``now_ns`` (market time), and the bars whose time is over, if any; never one of trades.

    Call it with the time of a timer, so that a quiet market closes its bars too.
    """
    closed: tuple[Bar, ...] = ()
    if not state.interval.is_timed:
        return state, closed
    if state.forming is not None and now_ns >= state.forming.close_ns:
        closed = (attrs.evolve(state.forming, is_closed=True),)
        state = begin_after(state, closed[0])
    if state.fills and state.forming is None and state.last_price is not None:
        empty = _empty(state, state.last_price, now_ns)
        if empty:
            closed, state = (*closed, *empty), begin_after(state, empty[-1])
    return state, closed


def begin_after(state: TradeFold, bar: Bar) -> TradeFold:
    """Return the state when ``bar`` is the last one that is done, wherever it came from."""
    return attrs.evolve(state, forming=None, floor_ns=bar.close_ns, last_price=bar.close)


def _counted(state: TradeFold, trade: Trade) -> tuple[TradeFold, tuple[Bar, ...]]:
    """Take a trade into a bar of so many; it is stamped with its last one."""
    forming = _first(state, trade, trade.time_ns, trade.time_ns)
    if state.forming is not None:
        forming = attrs.evolve(_joined(state.forming, forming), close_ns=max(state.forming.close_ns, trade.time_ns))
    if forming.trades != state.interval.count:
        return attrs.evolve(state, forming=forming), ()
    return attrs.evolve(state, forming=None), (attrs.evolve(forming, is_closed=True),)


def _empty(state: TradeFold, price: Decimal, now_ns: int) -> list[Bar]:
    bars, open_ns = list[Bar](), next_bar(state.calendar, state.interval, state.floor_ns)
    while (close_ns := state.interval.close_of(open_ns)) <= now_ns:
        bars.append(
            Bar(
                symbol=state.symbol,
                interval=state.interval,
                open_ns=open_ns,
                close_ns=close_ns,
                open=price,
                high=price,
                low=price,
                close=price,
                volume=_ZERO,
                quote_volume=_ZERO,
                trades=0,
                is_closed=True,
            )
        )
        open_ns = next_bar(state.calendar, state.interval, close_ns)
    return bars


def _first(state: TradeFold, trade: Trade, open_ns: int, close_ns: int) -> Bar:
    return Bar(
        symbol=state.symbol,
        interval=state.interval,
        open_ns=open_ns,
        close_ns=close_ns,
        open=trade.price,
        high=trade.price,
        low=trade.price,
        close=trade.price,
        volume=trade.quantity,
        quote_volume=trade.price * trade.quantity,
        trades=1,
        is_closed=False,
    )


# --- bars into longer bars ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BarFold:
    """A longer bar in the making; ``forming`` is whole from its open up to ``upto_ns``, or None.

    By its ``calendar`` it need not have parts of times at which it does not trade.
    """

    interval: Interval
    forming: Bar | None = None
    upto_ns: int | None = None  # close of the last bar taken
    calendar: Calendar = ALWAYS


def fits(part: Interval, whole: Interval) -> bool:
    """Say whether closed bars of ``part`` end where those of ``whole`` do, so that they can be made of them.

    Of bars of several trades nothing is made: a longer bar would begin inside one.
    """
    if not part.is_timed:
        return part.count == 1
    if not whole.is_timed:
        return False
    if part.unit is IntervalUnit.MONTH:
        return whole.unit is IntervalUnit.MONTH and whole.count % part.count == 0
    if whole.unit is IntervalUnit.MONTH:
        return NS_PER_DAY % part.nominal_ns == 0
    open_ns = whole.open_of(0)
    return whole.nominal_ns % part.nominal_ns == 0 and part.open_of(open_ns) == open_ns


def fold_bar(state: BarFold, bar: Bar) -> tuple[BarFold, tuple[Bar, ...]]:
    """Return the state after a closed ``bar``, and the longer bar it completed, if any.

    Only a longer bar whose every part was seen is closed: one that began before
    the first part, or misses one, is dropped (fetch it from the venue). Bars
    that were taken before, and bars that still form, change nothing.

    Raises:
        ValueError: ``bar`` does not fit into one bar of the interval.
    """
    open_ns = state.interval.open_of(bar.open_ns)
    close_ns = state.interval.close_of(open_ns)
    if bar.close_ns > close_ns:
        raise ValueError(f"a {bar.interval} bar does not fit into bars of {state.interval}")
    if not bar.is_closed or (state.upto_ns is not None and bar.open_ns < state.upto_ns):
        return state, ()
    part = attrs.evolve(bar, interval=state.interval, open_ns=open_ns, close_ns=close_ns, is_closed=False)
    if bar.open_ns <= next_bar(state.calendar, bar.interval, open_ns):
        forming: Bar | None = part
    elif (
        state.forming is not None
        and state.upto_ns is not None
        and bar.open_ns <= next_bar(state.calendar, bar.interval, state.upto_ns)
    ):
        forming = _joined(state.forming, part)
    else:
        forming = None
    if forming is not None and next_bar(state.calendar, bar.interval, bar.close_ns) >= close_ns:
        closed = attrs.evolve(forming, is_closed=True)
        return attrs.evolve(state, forming=None, upto_ns=bar.close_ns), (closed,)
    return attrs.evolve(state, forming=forming, upto_ns=bar.close_ns), ()


@attrs.frozen(kw_only=True)
class Growth:
    """A longer bar as it grows with each of its parts, for a strategy that watches it; None before the first part."""

    interval: Interval
    forming: Bar | None = None
    parts: int = 0
    calendar: Calendar = ALWAYS


def grow(state: Growth, part: Bar) -> tuple[Growth, bool]:
    """Return the state after a closed ``part``, and whether a new bar began with it.

    Parts that are missing, before the first one too, are not waited for: the bar is
    what its parts are. Parts of trades grow it as well; of them the first at or
    after a bar's close begins the next.

    Raises:
        ValueError: ``part`` does not fit into one bar of the interval.
    """
    interval, forming = state.interval, state.forming
    if interval.is_timed:
        open_ns = interval.open_of(part.open_ns)
        close_ns = interval.close_of(open_ns)
        if part.close_ns > close_ns:
            raise ValueError(f"a {part.interval} bar does not fit into bars of {interval}")
        begins = forming is None or forming.open_ns != open_ns
    else:
        open_ns, close_ns = part.open_ns, part.close_ns
        begins = forming is None or forming.is_closed
    piece = attrs.evolve(part, interval=interval, open_ns=open_ns, close_ns=close_ns, is_closed=False)
    parts = 1 if begins else state.parts + 1
    grown = piece if begins or forming is None else _joined(forming, piece)
    is_last = not interval.is_timed or next_bar(state.calendar, part.interval, part.close_ns) >= close_ns
    is_closed = is_last if interval.is_timed else parts == interval.count
    grown = attrs.evolve(grown, close_ns=close_ns, is_closed=is_closed)
    return attrs.evolve(state, forming=grown, parts=parts), begins


def _joined(bar: Bar, part: Bar) -> Bar:
    """Return ``bar`` with what came after it; what one of them does not tell, the sum does not tell."""
    quote_volume, trades = None, None
    if bar.quote_volume is not None and part.quote_volume is not None:
        quote_volume = bar.quote_volume + part.quote_volume
    if bar.trades is not None and part.trades is not None:
        trades = bar.trades + part.trades
    return attrs.evolve(
        bar,
        high=max(bar.high, part.high),
        low=min(bar.low, part.low),
        close=part.close,
        volume=bar.volume + part.volume,
        quote_volume=quote_volume,
        trades=trades,
    )


# --- bars of which nobody says that they are closed -------------------------------------------------------


@attrs.frozen(kw_only=True)
class Forming:
    """The bar that is pushed as it grows, at venues that never say that one is closed; None between two."""

    bar: Bar | None = None
    upto_ns: int = 0  # close of the last one that is over: what is told of it later is told too late


def formed(state: Forming, bar: Bar | None, *, now_ns: int) -> tuple[Forming, tuple[Bar, ...]]:
    """Return the state after a push (None: there was none), and the bars that are closed by now.

    A bar is closed by the first push of a later one, or when ``now_ns`` (market time, less what a push may
    be late) has reached its close: the last bar of a session has no successor for hours.
    """
    closed: list[Bar] = []
    forming = state.bar
    if bar is not None and bar.open_ns >= state.upto_ns and (forming is None or bar.open_ns >= forming.open_ns):
        if forming is not None and bar.open_ns > forming.open_ns:
            closed.append(attrs.evolve(forming, is_closed=True))
        forming = bar
    if forming is not None and forming.close_ns <= now_ns:
        closed.append(attrs.evolve(forming, is_closed=True))
        forming = None
    upto_ns = closed[-1].close_ns if closed else state.upto_ns
    return Forming(bar=forming, upto_ns=upto_ns), tuple(closed)


# --- one bar after the other ----------------------------------------------------------------------------


class Arrival(enum.Enum):
    """What to do with a bar, given the close of the last one delivered."""

    ACCEPT = "ACCEPT"  # it is the next
    SKIP = "SKIP"  # it was delivered before, or still forms
    GAP = "GAP"  # bars are missing before it: fetch them first


def judge(bar: Bar, *, last_close_ns: int | None) -> Arrival:
    """Say what ``bar`` is to one who has everything up to ``last_close_ns`` (None: nothing yet).

    History and live bars may overlap; run both through this and each bar is taken once, in order.
    """
    if not bar.is_closed:
        return Arrival.SKIP
    if last_close_ns is None or bar.open_ns == last_close_ns:
        return Arrival.ACCEPT
    return Arrival.SKIP if bar.open_ns < last_close_ns else Arrival.GAP


def is_contiguous(before: Bar, after: Bar) -> bool:
    """Say whether ``after`` opens where ``before`` closes."""
    return before.close_ns == after.open_ns


def gap_between(last_close_ns: int, bar: Bar) -> tuple[int, int] | None:
    """Return the missing ``[start_ns, end_ns)`` before ``bar``, None when nothing is."""
    return (last_close_ns, bar.open_ns) if bar.open_ns > last_close_ns else None


def fillers(before: Bar, *, until_ns: int, calendar: Calendar = ALWAYS) -> Iterator[FillerBar]:
    """Yield a flat bar without volume for each bar of trading time between ``before`` and ``until_ns``."""
    open_ns = before.close_ns
    while (open_ns := next_bar(calendar, before.interval, open_ns)) < until_ns:
        close_ns = before.interval.close_of(open_ns)
        yield FillerBar(
            symbol=before.symbol,
            interval=before.interval,
            open_ns=open_ns,
            close_ns=close_ns,
            open=before.close,
            high=before.close,
            low=before.close,
            close=before.close,
            volume=Decimal(0),
            quote_volume=Decimal(0),
            trades=0,
            is_closed=True,
        )
        open_ns = close_ns
