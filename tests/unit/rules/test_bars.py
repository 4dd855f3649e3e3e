from typing import Any

import attrs
import pytest

from btx.model.calendar import Calendar, TradingHours
from btx.model.market import Bar, FillerBar
from btx.model.time import NS_PER_MINUTE, Interval
from btx.rules.bars import (
    Arrival,
    BarFold,
    Forming,
    Growth,
    TradeFold,
    begin_after,
    close_due,
    fillers,
    fits,
    fold,
    fold_bar,
    formed,
    gap_between,
    grow,
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


def test_a_bar_of_trades_is_closed_by_its_last_one_and_carries_its_time() -> None:
    state, made = TradeFold(symbol="BTC/USDT", interval=Interval.parse("3t")), []

    for number, price in enumerate((100, 120, 90, 95, 96), start=1):
        state, closed = fold(state, trade(number, number / 10, price, 2))
        made.extend(closed)

    (three,) = made
    assert (three.open, three.high, three.low, three.close) == (100, 120, 90, 90)
    assert (three.volume, three.trades, three.is_closed) == (6, 3, True)
    assert (three.open_ns, three.close_ns) == (trade(1, 0.1).time_ns, trade(3, 0.3).time_ns)
    assert state.forming is not None
    assert state.forming.trades == 2
    assert close_due(state, now_ns=10**18) == (state, ())


def test_each_trade_may_be_a_bar_and_equal_stamps_keep_their_order() -> None:
    state, made = TradeFold(symbol="BTC/USDT", interval=Interval.parse("1t")), []

    for number, price in enumerate((100, 101, 100), start=1):
        state, closed = fold(state, trade(number, 0.5, price))
        made.extend(closed)

    assert [(one.close, one.open_ns, one.close_ns) for one in made] == [
        (price, trade(0, 0.5).time_ns, trade(0, 0.5).time_ns) for price in (100, 101, 100)
    ]


def test_minutes_nobody_traded_in_may_be_filled_with_the_last_price() -> None:
    state = attrs.evolve(EMPTY, fills=True)
    state, none = close_due(state, now_ns=5 * NS_PER_MINUTE)  # before the first trade there is no price
    state, _ = fold(state, trade(1, 5.5, 111))

    state, closed = fold(state, trade(2, 8.5))
    _, more = close_due(state, now_ns=11 * NS_PER_MINUTE)

    assert none == ()
    assert [(one.open_ns // NS_PER_MINUTE, one.close, one.volume, one.trades) for one in (*closed, *more)] == [
        (5, 111, 1, 1),
        (6, 111, 0, 0),
        (7, 111, 0, 0),
        (8, 100, 1, 1),
        (9, 100, 0, 0),
        (10, 100, 0, 0),
    ]
    assert all(one.is_closed for one in (*closed, *more))


def test_bars_from_elsewhere_may_come_before_those_of_trades() -> None:
    state = begin_after(attrs.evolve(EMPTY, fills=True), bar(3))

    state, closed = fold(state, trade(1, 3.5))
    _, flat = close_due(state, now_ns=5 * NS_PER_MINUTE)

    assert closed == ()
    assert state.late == 1
    assert [(one.open_ns, one.open, one.close) for one in flat] == [(4 * NS_PER_MINUTE, 105, 105)]


def test_a_longer_bar_grows_with_each_part_and_the_part_after_it_begins_the_next() -> None:
    state, seen = Growth(interval=FIVE), []

    for minute in (3, 4, 5, 7, 9, 10):
        state, begins = grow(state, bar(minute, high=d(110 + minute)))
        assert state.forming is not None
        seen.append((begins, state.forming.high, state.forming.volume, state.forming.is_closed))

    assert seen == [
        (True, 113, 7, False),
        (False, 114, 14, True),
        (True, 115, 7, False),
        (False, 117, 14, False),
        (False, 119, 21, True),
        (True, 120, 7, False),
    ]


def test_a_longer_bar_grows_with_trades_and_ends_before_the_one_at_its_close() -> None:
    one = Interval.parse("1t")
    state, seen = Growth(interval=MINUTE), []

    for minute in (0.2, 0.9, 1.0, 1.0):
        at_ns = int(minute * NS_PER_MINUTE)
        state, begins = grow(state, Bar(**_tick(at_ns, one)))
        assert state.forming is not None
        seen.append((begins, state.forming.volume, state.forming.is_closed))

    assert seen == [(True, 1, False), (False, 2, False), (True, 1, False), (False, 2, False)]


def test_a_bar_of_three_trades_grows_by_the_count() -> None:
    state, seen = Growth(interval=Interval.parse("3t")), []

    for number in range(4):
        state, begins = grow(state, Bar(**_tick(number, Interval.parse("1t"))))
        assert state.forming is not None
        seen.append((begins, state.forming.volume, state.forming.is_closed, state.forming.close_ns))

    assert seen == [(True, 1, False, 0), (False, 2, False, 1), (False, 3, True, 2), (True, 1, False, 3)]


def test_a_part_longer_than_the_bar_does_not_grow_it() -> None:
    with pytest.raises(ValueError, match="a 5m bar does not fit into bars of 1m"):
        grow(Growth(interval=MINUTE), bar(0, interval=FIVE))


def _tick(at_ns: int, interval: Interval) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close"), d(100))
    return {
        "symbol": "BTC/USDT",
        "interval": interval,
        "open_ns": at_ns,
        "close_ns": at_ns,
        "volume": d(1),
        "is_closed": True,
        **prices,
    }


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


@pytest.mark.parametrize(
    ("part", "whole", "is_so"),
    [
        ("1m", "5m", True),
        ("5m", "5m", True),
        ("5m", "1m", False),
        ("3m", "5m", False),
        ("1d", "1w", True),
        ("1w", "2w", True),
        ("3d", "1w", False),
        ("2d", "1w", False),
        ("8h", "1d", True),
        ("1h", "1M", True),
        ("1w", "1M", False),
        ("1M", "3M", True),
        ("2M", "3M", False),
        ("1M", "1w", False),
        ("1d", "2d", True),
        ("1w", "3d", False),
        ("2d", "4d", True),
        ("1t", "5s", True),
        ("1t", "7t", True),
        ("2t", "4t", False),
        ("1m", "4t", False),
        ("7d", "1w", False),
    ],
)
def test_longer_bars_are_made_of_parts_that_end_where_they_do(part: str, whole: str, is_so: bool) -> None:
    assert fits(Interval.parse(part), Interval.parse(whole)) is is_so


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


def test_fillers_stand_flat_at_the_last_close_for_each_interval_of_a_gap() -> None:
    before = bar(99)

    standing = list(fillers(before, until_ns=102 * NS_PER_MINUTE))

    assert [each.open_ns // NS_PER_MINUTE for each in standing] == [100, 101]
    for each in standing:
        assert each.open == each.high == each.low == each.close == before.close
        assert (each.volume, each.trades, each.is_closed, each.interval) == (0, 0, True, before.interval)
        assert isinstance(each, FillerBar)
    assert list(fillers(before, until_ns=before.close_ns)) == []


# --- bars of which nobody says that they are closed, and bars of sessions ------------------------------------

SHORT_DAY = Calendar(
    name="two hours",
    hours=(TradingHours(open_s=1800, close_s=5400), TradingHours(open_s=7200, close_s=10_800)),
    weekend=frozenset(),
)


def test_a_bar_is_closed_by_the_first_push_of_a_later_one() -> None:
    state, closed = formed(Forming(), bar(0, is_closed=False), now_ns=0)
    assert closed == ()
    state, closed = formed(state, bar(0, close=120, is_closed=False), now_ns=0)
    assert closed == ()

    state, closed = formed(state, bar(1, is_closed=False), now_ns=0)

    assert closed == (bar(0, close=120),)
    assert state.bar == bar(1, is_closed=False)


def test_the_last_bar_of_a_session_is_closed_by_its_time_and_not_told_again() -> None:
    state, _ = formed(Forming(), bar(0, is_closed=False), now_ns=0)

    state, closed = formed(state, None, now_ns=NS_PER_MINUTE)
    assert closed == (bar(0),)

    assert formed(state, bar(0, is_closed=False), now_ns=NS_PER_MINUTE) == (state, ())
    assert formed(state, None, now_ns=NS_PER_MINUTE) == (state, ())


def test_a_push_of_a_bar_before_the_one_that_forms_changes_nothing() -> None:
    state, _ = formed(Forming(), bar(3, is_closed=False), now_ns=0)

    assert formed(state, bar(2, is_closed=False), now_ns=0) == (state, ())


def test_a_push_may_close_the_one_before_and_itself() -> None:
    state, _ = formed(Forming(), bar(0, is_closed=False), now_ns=0)

    state, closed = formed(state, bar(1, is_closed=False), now_ns=2 * NS_PER_MINUTE)

    assert closed == (bar(0), bar(1))
    assert state == Forming(bar=None, upto_ns=2 * NS_PER_MINUTE)


def test_flat_bars_are_made_of_trading_time_alone() -> None:
    made = fillers(bar(89), until_ns=122 * NS_PER_MINUTE, calendar=SHORT_DAY)

    assert [each.open_ns // NS_PER_MINUTE for each in made] == [120, 121]


def test_a_longer_bar_is_whole_with_the_parts_it_can_have() -> None:
    state = BarFold(interval=Interval.parse("1h"), calendar=SHORT_DAY)
    closed: list[Bar] = []
    for minute in (*range(30, 90), *range(120, 180)):
        state, more = fold_bar(state, bar(minute, close=minute + 100, high=minute + 100))
        closed += more

    assert [(each.open_ns // NS_PER_MINUTE, each.close) for each in closed] == [(0, 159), (60, 189), (120, 279)]


def test_a_longer_bar_grows_to_its_end_where_trading_does() -> None:
    state = Growth(interval=Interval.parse("1h"), calendar=SHORT_DAY)
    ends = []
    for minute in range(60, 90):
        state, _ = grow(state, bar(minute))
        assert state.forming is not None
        ends.append(state.forming.is_closed)

    assert ends == [False] * 29 + [True]


def test_nobody_trading_makes_flat_bars_only_while_it_could_be_traded() -> None:
    state = TradeFold(symbol="BTC/USDT", interval=MINUTE, fills=True, calendar=SHORT_DAY)
    state, _ = fold(state, trade(1, 88.5))

    _, closed = close_due(state, now_ns=122 * NS_PER_MINUTE)

    assert [each.open_ns // NS_PER_MINUTE for each in closed] == [88, 89, 120, 121]
