"""Bars: cut from trades, folded into longer ones, and joined without a gap or a double."""

import enum

import attrs

from btx.model.market import Bar, Trade
from btx.model.time import Interval

__all__ = (
    "Arrival",
    "BarFold",
    "TradeFold",
    "close_due",
    "fold",
    "fold_bar",
    "gap_between",
    "is_contiguous",
    "judge",
)


# --- trades into bars -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TradeFold:
    """A bar in the making. Trades of a bar that is closed already are counted in ``late`` and left out."""

    symbol: str
    interval: Interval
    forming: Bar | None = None
    last_id: int | None = None  # of the last trade taken, where the venue numbers them
    floor_ns: int = 0  # no bar that opens before it can still take a trade
    late: int = 0


def fold(state: TradeFold, trade: Trade) -> tuple[TradeFold, tuple[Bar, ...]]:
    """Return the state after ``trade``, and the bar that it closed, if any.

    A trade number that is not above the last changes nothing: it is a repeat.
    Intervals nobody traded in have no bar.

    Raises:
        ValueError: the trade is of another symbol.
    """
    if trade.symbol != state.symbol:
        raise ValueError(f"bars of {state.symbol}: trade in {trade.symbol}")
    if isinstance(trade.trade_id, int):
        if state.last_id is not None and trade.trade_id <= state.last_id:
            return state, ()
        state = attrs.evolve(state, last_id=trade.trade_id)
    state, closed = close_due(state, now_ns=trade.time_ns)
    open_ns = state.interval.open_of(trade.time_ns)
    if open_ns < state.floor_ns:
        return attrs.evolve(state, late=state.late + 1), closed
    first = _first(state, trade, open_ns)
    forming = first if state.forming is None else _joined(state.forming, first)
    return attrs.evolve(state, forming=forming, floor_ns=open_ns), closed


def close_due(state: TradeFold, *, now_ns: int) -> tuple[TradeFold, tuple[Bar, ...]]:
    """Return the state at ``now_ns`` (market time), and the bar whose time is over, if any.

    Call it with the time of a timer, so that a quiet market closes its bars too.
    """
    if state.forming is None or now_ns < state.forming.close_ns:
        return state, ()
    closed = attrs.evolve(state.forming, is_closed=True)
    return attrs.evolve(state, forming=None, floor_ns=closed.close_ns), (closed,)


def _first(state: TradeFold, trade: Trade, open_ns: int) -> Bar:
    return Bar(
        symbol=state.symbol,
        interval=state.interval,
        open_ns=open_ns,
        close_ns=state.interval.close_of(open_ns),
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
    """A longer bar in the making; ``forming`` is whole from its open up to ``upto_ns``, or None."""

    interval: Interval
    forming: Bar | None = None
    upto_ns: int | None = None  # close of the last bar taken


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
    if bar.open_ns == open_ns:
        forming: Bar | None = part
    elif state.forming is not None and bar.open_ns == state.upto_ns:
        forming = _joined(state.forming, part)
    else:
        forming = None
    if forming is not None and bar.close_ns == close_ns:
        closed = attrs.evolve(forming, is_closed=True)
        return attrs.evolve(state, forming=None, upto_ns=bar.close_ns), (closed,)
    return attrs.evolve(state, forming=forming, upto_ns=bar.close_ns), ()


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
