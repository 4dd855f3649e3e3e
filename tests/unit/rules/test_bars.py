import attrs
import pytest

from btx.model.time import NS_PER_MINUTE, Interval
from btx.rules.bars import (
    Arrival,
    BarFold,
    TradeFold,
    close_due,
    fold,
    fold_bar,
    gap_between,
    is_contiguous,
    judge,
)
from tests.values import MINUTE, bar, d, trade

FIVE = Interval.parse("5m")
EMPTY = TradeFold(symbol="BTC/USDT", interval=MINUTE)


def test_trades_of_a_minute_become_its_bar_when_the_next_begins() -> None:
    state = EMPTY
    for one in (trade(1, 0.1, 100, 2), trade(2, 0.5, 120, 1), trade(3, 0.6, 90, 1), trade(4, 0.9, 95, 3)):
        state, closed = fold(state, one)
        assert closed == ()

    state, closed = fold(state, trade(5, 1.0))

    (made,) = closed
    assert (made.open, made.high, made.low, made.close) == (100, 120, 90, 95)
    assert (made.volume, made.quote_volume, made.trades) == (7, 695, 4)
    assert (made.open_ns, made.close_ns, made.is_closed) == (0, NS_PER_MINUTE, True)
    assert state.forming is not None
    assert not state.forming.is_closed


def test_a_quiet_market_closes_its_bar_by_the_clock() -> None:
    state, _ = fold(EMPTY, trade(1, 0.5))

    early, none = close_due(state, now_ns=NS_PER_MINUTE - 1)
    after, closed = close_due(state, now_ns=NS_PER_MINUTE)

    assert (early, none) == (state, ())
    assert [one.close_ns for one in closed] == [NS_PER_MINUTE]
    assert close_due(after, now_ns=NS_PER_MINUTE) == (after, ())


def test_minutes_nobody_traded_in_have_no_bar() -> None:
    state, _ = fold(EMPTY, trade(1, 0.5))

    state, closed = fold(state, trade(2, 7.5))

    assert [one.open_ns for one in closed] == [0]
    assert state.forming is not None
    assert state.forming.open_ns == 7 * NS_PER_MINUTE


def test_a_repeated_trade_is_counted_once() -> None:
    state, _ = fold(EMPTY, trade(1, 0.5))

    assert fold(state, trade(1, 0.5)) == (state, ())


def test_trades_without_numbers_are_taken_as_they_come() -> None:
    state, _ = fold(EMPTY, trade("a", 0.5))
    state, _ = fold(state, trade("a", 0.5))

    assert state.forming is not None
    assert state.forming.trades == 2


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_trade_of_an_earlier_bar_is_left_out_and_counted(is_closed: bool) -> None:
    state, _ = fold(EMPTY, trade(1, 1.5))
    if is_closed:
        state, _ = close_due(state, now_ns=2 * NS_PER_MINUTE)

    after, closed = fold(state, trade(2, 0.9))

    assert closed == ()
    assert after.late == 1
    assert after.forming == state.forming


def test_a_trade_in_another_symbol_is_an_error() -> None:
    with pytest.raises(ValueError, match="trade in ETH/USDT"):
        fold(EMPTY, attrs.evolve(trade(1, 0), symbol="ETH/USDT"))


def test_five_minutes_become_one_bar() -> None:
    state = BarFold(interval=FIVE)
    parts = [
        bar(0, open=d(1)),
        bar(1, high=d(200)),
        bar(2, low=d(2)),
        bar(3),
        bar(4, close=d(77)),
    ]
    closed = []

    for part in parts:
        state, made = fold_bar(state, part)
        closed.extend(made)

    assert closed == [
        bar(
            0,
            interval=FIVE,
            open=d(1),
            high=d(200),
            low=d(2),
            close=d(77),
            volume=d(35),
            quote_volume=d(3500),
            trades=15,
        )
    ]
    assert state.forming is None


def test_a_bar_of_the_same_length_passes() -> None:
    assert fold_bar(BarFold(interval=MINUTE), bar(3))[1] == (bar(3),)


@pytest.mark.parametrize("minutes", [[1, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3]], ids=["late start", "hole", "not over"])
def test_an_incomplete_bar_is_not_closed(minutes: list[int]) -> None:
    state = BarFold(interval=FIVE)

    for minute in minutes:
        state, closed = fold_bar(state, bar(minute))

        assert closed == ()


def test_the_bar_after_a_hole_is_whole_again() -> None:
    state = BarFold(interval=FIVE)
    closed = []

    for minute in (3, 4, 5, 6, 7, 8, 9):
        state, made = fold_bar(state, bar(minute))
        closed.extend(made)

    assert [one.open_ns for one in closed] == [5 * NS_PER_MINUTE]


def test_repeated_and_forming_bars_change_nothing() -> None:
    state, _ = fold_bar(BarFold(interval=FIVE), bar(0))

    assert fold_bar(state, bar(0)) == (state, ())
    assert fold_bar(state, bar(1, is_closed=False)) == (state, ())


def test_what_one_part_does_not_tell_the_sum_does_not_tell() -> None:
    state, _ = fold_bar(BarFold(interval=FIVE), bar(0, quote_volume=None, trades=None))

    state, _ = fold_bar(state, bar(1))

    assert state.forming is not None
    assert (state.forming.quote_volume, state.forming.trades) == (None, None)


def test_weeks_do_not_make_months() -> None:
    week = Interval.parse("1w")
    over_new_month = bar(-3 * 24 * 60 + 60 * 24 * 28, interval=week)

    with pytest.raises(ValueError, match="1w bar does not fit into bars of 1M"):
        fold_bar(BarFold(interval=Interval.parse("1M")), over_new_month)


def test_days_make_a_month_of_their_own_length() -> None:
    day, month = Interval.parse("1d"), Interval.parse("1M")
    state, closed = BarFold(interval=month), []

    for number in range(31 + 28):
        state, made = fold_bar(state, bar(number * 24 * 60, interval=day))
        closed.extend(made)

    assert [one.volume for one in closed] == [7 * 31, 7 * 28]


@pytest.mark.parametrize(
    ("minute", "last", "arrival"),
    [
        (5, None, Arrival.ACCEPT),
        (5, 5, Arrival.ACCEPT),
        (4, 5, Arrival.SKIP),
        (6, 5, Arrival.GAP),
    ],
)
def test_a_bar_is_next_old_or_after_a_gap(minute: int, last: int | None, arrival: Arrival) -> None:
    last_close_ns = None if last is None else last * NS_PER_MINUTE

    assert judge(bar(minute), last_close_ns=last_close_ns) is arrival


def test_a_bar_that_still_forms_is_skipped() -> None:
    assert judge(bar(5, is_closed=False), last_close_ns=None) is Arrival.SKIP


def test_a_gap_is_named_by_its_two_ends() -> None:
    assert is_contiguous(bar(4), bar(5))
    assert not is_contiguous(bar(4), bar(6))
    assert gap_between(bar(4).close_ns, bar(5)) is None
    assert gap_between(bar(4).close_ns, bar(7)) == (5 * NS_PER_MINUTE, 7 * NS_PER_MINUTE)
