"""Ticks to bars: volume is that of the trading day so far, so that a bar has the differences. Pure.

The first tick after a subscription is the last one there was: what the differences are counted from, and no bar's.
A minute of which the beginning was not seen makes no bar, nor does one of which the end was not: of a cut that goes on
into another minute in which something traded, what formed is dropped and counting begins anew.  Within a minute the old
tick stays, so that what traded meanwhile is in its volume.
"""

from decimal import Decimal

import attrs

from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, Interval

__all__ = ("Tick", "Ticker", "close_due", "fold", "misses")

_MINUTE = Interval.parse("1m")
_ZERO = Decimal(0)


@attrs.frozen(kw_only=True)
class Tick:
    """A snapshot, as far as bars are made of it."""

    symbol: str
    price: Decimal
    volume: Decimal  # contracts since the trading day began
    turnover: Decimal  # yuan, likewise
    time_ns: int
    minute_ns: int  # open of the minute it belongs to


@attrs.frozen(kw_only=True)
class Ticker:
    """What is known of a contract: the last tick, and the bar that forms."""

    last: Tick | None = None
    seen_ns: int = 0  # from when on nothing was missed
    bar: Bar | None = None
    is_cut: bool = False  # the connection was lost since the last tick


def fold(state: Ticker, tick: Tick) -> tuple[Ticker, tuple[Bar, ...]]:
    """Return the state after a tick, and the bars that are closed by it; one that repeats says nothing."""
    if state.last is None:
        return Ticker(last=tick, seen_ns=tick.time_ns), ()
    if tick.time_ns < state.last.time_ns:
        return state, ()
    if misses(state, tick):
        return Ticker(last=tick, seen_ns=tick.time_ns), ()
    state = attrs.evolve(state, is_cut=False)
    state, closed = close_due(state, tick.minute_ns)
    assert state.last is not None
    traded, worth = tick.volume - state.last.volume, tick.turnover - state.last.turnover
    if traded < 0:  # another trading day
        traded, worth = tick.volume, tick.turnover
    bar = state.bar
    if traded > 0 and tick.minute_ns >= state.seen_ns:
        bar = _with(bar, tick, traded, worth)
    state = attrs.evolve(state, last=tick, bar=bar)
    if not traded:  # the last minute of a session has no tick after it that would belong to the next
        state, ended = close_due(state, tick.time_ns)
        closed += ended
    return state, closed


def misses(state: Ticker, tick: Tick) -> bool:
    """Say whether something traded, or may have, in a cut before this tick that no bar can have in its right minute."""
    last = state.last
    if not state.is_cut or last is None or tick.minute_ns == last.minute_ns:
        return False
    if tick.volume < last.volume:  # another trading day, which does not say what the last one still brought
        return state.bar is not None or tick.volume > 0
    return tick.volume != last.volume


def close_due(state: Ticker, now_ns: int) -> tuple[Ticker, tuple[Bar, ...]]:
    """Return the state when it is ``now_ns`` for sure, and the bar that has closed by then, if there is one."""
    bar = state.bar
    if bar is None or bar.close_ns > now_ns or state.is_cut:  # the next tick says whether it is whole
        return state, ()
    return attrs.evolve(state, bar=None), (attrs.evolve(bar, is_closed=True),)


def _with(bar: Bar | None, tick: Tick, traded: Decimal, worth: Decimal) -> Bar:
    if bar is None:
        return Bar(
            symbol=tick.symbol,
            interval=_MINUTE,
            open_ns=tick.minute_ns,
            close_ns=tick.minute_ns + NS_PER_MINUTE,
            open=tick.price,
            high=tick.price,
            low=tick.price,
            close=tick.price,
            volume=traded,
            quote_volume=worth,
            is_closed=False,
        )
    return attrs.evolve(
        bar,
        high=max(bar.high, tick.price),
        low=min(bar.low, tick.price),
        close=tick.price,
        volume=bar.volume + traded,
        quote_volume=(bar.quote_volume or _ZERO) + worth,
    )
