"""Ticks to bars: volume is neither lost nor made, and no bar has the volume of a day."""

from decimal import Decimal

import attrs
from hypothesis import given
from hypothesis import strategies as st

from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S
from btx_ctp.ticks import Tick, Ticker, close_due, fold, misses


def tick(at_s: float, price: int, volume: int, *, minute: int | None = None) -> Tick:
    time_ns = int(at_s * NS_PER_S)
    open_ns = time_ns - time_ns % NS_PER_MINUTE if minute is None else minute * NS_PER_MINUTE
    return Tick(
        symbol="SHFE.rb2601",
        price=Decimal(price),
        volume=Decimal(volume),
        turnover=Decimal(volume * 10 * price),
        time_ns=time_ns,
        minute_ns=open_ns,
    )


def played(*ticks: Tick) -> tuple[Ticker, list[Bar]]:
    state, bars = Ticker(), list[Bar]()
    for each in ticks:
        state, closed = fold(state, each)
        bars += closed
    return state, bars


def test_the_first_tick_is_what_is_counted_from_and_no_bars() -> None:
    state, bars = played(tick(0, 100, 5000), tick(1, 101, 5003), tick(59, 99, 5010), tick(60, 98, 5010))

    (bar,) = bars
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (101, 101, 99, 99, 10)
    assert bar.is_closed
    assert state.bar is None


def test_a_minute_of_which_the_beginning_was_not_seen_makes_no_bar() -> None:
    _, bars = played(tick(30, 100, 5000), tick(31, 101, 5003), tick(61, 102, 5004), tick(120, 103, 5004))

    assert [bar.open_ns for bar in bars] == [NS_PER_MINUTE]


def test_another_trading_day_counts_from_nothing() -> None:
    _, bars = played(tick(0, 100, 5000), tick(70, 101, 4), tick(120, 101, 4))

    assert [bar.volume for bar in bars] == [4]


def test_a_tick_that_comes_late_or_again_says_nothing() -> None:
    state, _ = played(tick(0, 100, 10), tick(5, 101, 12))

    assert fold(state, tick(4, 90, 11)) == (state, ())
    again, closed = fold(state, tick(5, 101, 12))
    assert (again.bar, closed) == (state.bar, ())


def test_the_last_minute_of_a_session_closes_with_a_tick_that_brings_nothing_or_by_the_clock() -> None:
    state, bars = played(tick(0, 100, 10), tick(59, 101, 12), tick(60.5, 102, 15, minute=0))
    assert not bars

    _, by_tick = fold(state, tick(61, 102, 15, minute=0))
    _, by_clock = close_due(state, 2 * NS_PER_MINUTE)

    assert by_tick == by_clock
    assert by_tick[0].volume == 5


def cut_after(*ticks: Tick) -> Ticker:
    state, _ = played(*ticks)
    return attrs.evolve(state, is_cut=True)


def test_a_minute_of_which_a_cut_hid_the_end_makes_no_bar_and_what_was_missed_is_in_no_other() -> None:
    state = cut_after(tick(0, 100, 10), tick(5, 101, 12))
    assert close_due(state, 9 * NS_PER_MINUTE) == (state, ())  # nor by the clock

    back = tick(190, 105, 90)
    assert misses(state, back)
    state, closed = fold(state, back)
    assert closed == ()
    for at_s, volume in ((191, 95), (241, 99), (300, 99)):
        state, told = fold(state, tick(at_s, 106, volume))
        closed += told

    assert [(bar.open_ns // NS_PER_MINUTE, bar.volume) for bar in closed] == [(4, 4)]


def test_a_cut_in_which_nothing_traded_or_within_a_minute_breaks_no_bar() -> None:
    state = cut_after(tick(0, 100, 10), tick(5, 101, 12))

    quiet, by_quiet = fold(state, tick(190, 101, 12))
    within, by_within = fold(state, tick(30, 99, 15))

    assert [(bar.volume, bar.is_closed) for bar in by_quiet] == [(2, True)]
    assert by_within == ()
    assert within.bar is not None
    assert (within.bar.low, within.bar.volume) == (99, 5)
    assert (quiet.is_cut, within.is_cut) == (False, False)


def test_a_cut_into_another_trading_day_drops_the_bar_of_which_nobody_saw_the_end_and_nothing_else() -> None:
    forming = cut_after(tick(0, 100, 10), tick(5, 101, 12))
    over = cut_after(tick(0, 100, 10), tick(5, 101, 12), tick(60, 101, 12))
    before_the_first_trade = tick(50_000, 101, 0)

    state, closed = fold(forming, before_the_first_trade)

    assert misses(forming, before_the_first_trade)  # the rest of its minute may have been traded in, and of its day
    assert (state.bar, closed) == (None, ())
    assert not misses(over, before_the_first_trade)
    assert misses(over, tick(50_000, 101, 3))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(90, 110), st.integers(0, 9)), min_size=1, max_size=40))
def test_the_bars_have_all_the_volume_there_was(steps: list[tuple[int, int, int]]) -> None:
    at_s, volume, ticks = 0, 1000, [tick(0, 100, 1000)]
    for pause_s, price, traded in steps:
        at_s, volume = at_s + pause_s, volume + traded
        ticks.append(tick(at_s, price, volume))
    state, bars = played(*ticks)
    _, last = close_due(state, (at_s + 60) * NS_PER_S)
    bars += last

    assert sum(bar.volume for bar in bars) == volume - 1000
    assert [bar.open_ns for bar in bars] == sorted({bar.open_ns for bar in bars})
    assert all(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high for bar in bars)
