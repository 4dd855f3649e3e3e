import attrs
import pytest

from btx.model.time import NS_PER_S
from btx.rules.throttle import (
    Meter,
    Penalty,
    Spent,
    Tally,
    guessed_ns,
    next_step_ns,
    observe,
    punish,
    reserve,
    share,
    spend,
    take,
    tally_wait_ns,
    used,
    wait_ns,
)

TWO_A_MINUTE = Meter(limit=2, window_ns=60 * NS_PER_S)


def test_what_fits_goes_at_once() -> None:
    meter, first_s = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, second_s = reserve(meter, units=1, now_ns=0)

    assert (first_s, second_s) == (0.0, 0.0)
    assert used(meter, now_ns=0) == 2


def test_the_third_of_two_a_minute_waits_until_the_first_is_a_minute_old() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, _ = reserve(meter, units=1, now_ns=3 * NS_PER_S)

    meter, third_s = reserve(meter, units=1, now_ns=5 * NS_PER_S)
    _, fourth_s = reserve(meter, units=1, now_ns=5 * NS_PER_S)

    assert (third_s, fourth_s) == (55.0, 58.0)


def test_a_big_one_waits_for_all_that_is_in_its_way() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, _ = reserve(meter, units=1, now_ns=0)

    _, wait_s = reserve(meter, units=2, now_ns=0)

    assert wait_s == 60.0


def test_nobody_overtakes() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=1, now_ns=0)
    meter, big_s = reserve(meter, units=2, now_ns=0)

    _, free_s = reserve(meter, units=0, now_ns=0)

    assert big_s == free_s == 60.0


def test_what_is_a_window_old_is_forgotten() -> None:
    meter, _ = reserve(TWO_A_MINUTE, units=2, now_ns=0)

    after, wait_s = reserve(meter, units=1, now_ns=60 * NS_PER_S)

    assert wait_s == 0.0
    assert tuple(after.spent) == ((60 * NS_PER_S, 1),)


@pytest.mark.parametrize("units", [3, -1])
def test_what_no_wait_can_cure_is_an_error(units: int) -> None:
    with pytest.raises(ValueError, match="the limit is 2"):
        reserve(TWO_A_MINUTE, units=units, now_ns=0)


def test_a_lower_limit_may_hold_for_now() -> None:
    meter = take(TWO_A_MINUTE, units=1, now_ns=0)

    assert wait_ns(meter, units=1, now_ns=1) == 0
    assert wait_ns(meter, units=1, now_ns=1, limit=1) == 60 * NS_PER_S - 1
    with pytest.raises(ValueError, match="the limit is 1"):
        wait_ns(meter, units=2, now_ns=1, limit=1)


# --- the sequence below the meter ------------------------------------------------------------------------


def spent(*entries: tuple[int, int]) -> Spent:
    whole = Spent()
    for time_ns, units in entries:
        whole = whole.append(time_ns, units)
    return whole


def test_a_sequence_is_a_value() -> None:
    whole = spent((1, 5), (2, 6))

    assert whole == spent((1, 5), (2, 6)) != spent((1, 5), (2, 7))
    assert whole != "something else"
    assert hash(whole) == hash(spent((1, 5), (2, 6)))
    assert repr(whole) == "Spent([(1, 5), (2, 6)])"
    assert len(whole) == 2


def test_who_appends_changes_nobody_elses_sequence() -> None:
    whole = spent((1, 5), (2, 6))

    one, other = whole.append(3, 7), whole.append(4, 8)

    assert tuple(whole) == ((1, 5), (2, 6))
    assert tuple(one) == ((1, 5), (2, 6), (3, 7))
    assert tuple(other) == ((1, 5), (2, 6), (4, 8))


def test_what_is_forgotten_is_not_carried_along_for_ever() -> None:
    whole = Spent()
    for now_ns in range(1000):
        whole = whole.since(now_ns - 10).append(now_ns, 1)

    assert tuple(whole) == tuple((time_ns, 1) for time_ns in range(990, 1000))
    assert whole.total() == 10
    assert whole.total(994) == 5
    assert whole.total(1) == 0


# --- the venue's own count ---------------------------------------------------------------------------------

HUNDRED = Meter(limit=100, window_ns=60 * NS_PER_S)
TALLY = Tally(limit=100, window_ns=60 * NS_PER_S)


def hear(
    tally: Tally,
    used_units: int,
    *,
    at_s: float,
    meter: Meter = HUNDRED,
    under_way: int = 0,
    left_s: float | None = None,
) -> Tally:
    return observe(
        tally,
        meter=meter,
        used_units=used_units,
        under_way=under_way,
        now_ns=round(at_s * NS_PER_S),
        left_ns=None if left_s is None else round(left_s * NS_PER_S),
    )


def wait_s(tally: Tally, units: int, *, at_s: float, meter: Meter = HUNDRED) -> float:
    ns = tally_wait_ns(tally, meter=meter, units=units, limit=100, now_ns=round(at_s * NS_PER_S))
    return ns / NS_PER_S


def test_before_the_venue_says_a_count_nothing_waits_for_it() -> None:
    assert wait_s(TALLY, 100, at_s=0) == 0.0
    assert TALLY.others == 0


def test_what_others_used_is_waited_for_until_the_venues_window_is_over() -> None:
    tally = hear(TALLY, 95, at_s=5)

    assert wait_s(tally, 5, at_s=5) == 0.0
    assert wait_s(tally, 6, at_s=5) == 60.0
    assert wait_s(tally, 6, at_s=65) == 0.0
    assert wait_s(hear(tally, 3, at_s=20), 6, at_s=20) == 0.0


def test_what_left_since_and_what_was_under_way_counts_too() -> None:
    meter = take(HUNDRED, units=30, now_ns=0)
    tally = spend(hear(TALLY, 60, at_s=1, meter=meter, under_way=10), units=25)

    assert tally.units == 95
    assert tally.foreign == 40


def test_of_our_own_count_no_more_is_waited_for_than_our_own_window() -> None:
    meter = take(HUNDRED, units=98, now_ns=0)
    tally = hear(TALLY, 98, at_s=50, meter=meter)
    measured = hear(spend(tally, units=0), 98, at_s=55, meter=meter)

    assert measured.others == 0
    assert wait_s(measured, 5, at_s=55, meter=meter) == 5.0  # not 60: what we sent at 0 is gone then
    assert wait_s(measured, 5, at_s=60, meter=meter) == 0.0


def test_a_count_that_falls_tells_when_the_venues_windows_begin() -> None:
    tally = hear(hear(TALLY, 90, at_s=50), 4, at_s=63)
    full = hear(tally, 100, at_s=100)

    assert wait_s(full, 1, at_s=100) == 23.0

    sooner = hear(hear(full, 2, at_s=121), 100, at_s=150)
    as_foreseen = hear(hear(sooner, 2, at_s=185), 100, at_s=200)

    assert wait_s(sooner, 1, at_s=150) == 31.0  # it began before 121, not at 123
    assert wait_s(as_foreseen, 1, at_s=200) == 41.0  # and at 181, though it was heard of at 185 only


def test_until_others_are_measured_they_are_left_what_was_guessed() -> None:
    guessed = attrs.evolve(TALLY, guess=50)

    assert guessed.others == 0
    assert hear(guessed, 1, at_s=0).others == 50
    assert hear(hear(guessed, 1, at_s=0), 2, at_s=2.9).others == 50
    assert hear(hear(guessed, 1, at_s=0), 2, at_s=3).others == 20


def test_it_is_known_when_one_more_answer_would_replace_the_guess() -> None:
    heard = hear(attrs.evolve(TALLY, guess=50), 1, at_s=1)

    assert guessed_ns(TALLY, now_ns=0) is None  # it is no use before the first answer
    assert guessed_ns(heard, now_ns=2 * NS_PER_S) == 2 * NS_PER_S
    assert guessed_ns(heard, now_ns=9 * NS_PER_S) == -5 * NS_PER_S
    assert guessed_ns(hear(heard, 1, at_s=5), now_ns=9 * NS_PER_S) is None


def test_who_seldom_asks_forgets_by_halves_what_others_once_used() -> None:
    measured = hear(hear(TALLY, 0, at_s=0), 50, at_s=30)
    assert measured.others == 100  # nothing would be left to us, and what we do not ask, nobody measures

    seldom = hear(measured, 1, at_s=95)
    assert seldom.others == 50
    assert hear(seldom, 1, at_s=160).others == 25
    assert hear(seldom, 40, at_s=160).others == 40  # so much of the count cannot be ours


def test_others_are_measured_without_what_we_sent() -> None:
    tally = hear(TALLY, 10, at_s=0, under_way=2)
    tally = hear(spend(tally, units=20), 47, at_s=30)

    assert tally.others == 30  # 15 in half a window
    assert hear(tally, 47, at_s=59).others < 30
    assert hear(tally, 9, at_s=61).others == 30  # the window began anew: measured anew, kept until then
    assert hear(tally, 60, at_s=90).others == 30


def test_a_late_answer_that_may_count_the_window_before_tells_nothing_of_the_new_one() -> None:
    known = hear(hear(TALLY, 90, at_s=50), 2, at_s=60.2, left_s=59.9)  # a window began before 60.2

    late = hear(known, 96, at_s=64, left_s=59.8)

    assert late.others == 0  # and not the 94 that nobody sent in 4 seconds
    assert wait_s(late, 5, at_s=64) == 0.0
    assert spend(late, units=94).units == 96  # what we sent since the window began still counts
    assert hear(late, 40, at_s=80, left_s=79).units == 40


def test_the_first_answer_after_a_window_is_foreseen_to_begin_tells_only_if_it_left_since_or_fell() -> None:
    known = hear(hear(TALLY, 90, at_s=50), 40, at_s=61)
    full = hear(known, 96, at_s=118, left_s=117)

    assert wait_s(full, 5, at_s=118) > 0.0  # it is this window's
    assert hear(full, 97, at_s=125, left_s=119) == full  # until 121, or since
    assert wait_s(full, 5, at_s=125) == 0.0
    assert hear(full, 97, at_s=125, left_s=121).units == 97  # the new one's
    assert hear(full, 3, at_s=125, left_s=119).units == 3


# --- after a refusal ------------------------------------------------------------------------------------------


def test_after_a_refusal_there_is_silence_and_then_half_and_every_half_minute_more() -> None:
    penalty = punish(Penalty(), retry_after_ns=10 * NS_PER_S, now_ns=0)

    assert penalty.until_ns == 10 * NS_PER_S
    assert [share(penalty, now_ns=at_s * NS_PER_S) for at_s in (10, 39, 40, 70, 100, 130, 10**6)] == [
        0.5,
        0.5,
        0.625,
        0.75,
        0.875,
        1.0,
        1.0,
    ]


def test_refusals_of_what_had_left_before_cut_nothing_more() -> None:
    penalty = punish(Penalty(), retry_after_ns=10 * NS_PER_S, now_ns=0)

    again = punish(penalty, retry_after_ns=12 * NS_PER_S, now_ns=NS_PER_S)

    assert again == Penalty(until_ns=13 * NS_PER_S, cut=0.5)
    assert punish(again, retry_after_ns=0, now_ns=2 * NS_PER_S) == again


def test_a_refusal_after_the_silence_halves_again_and_something_is_always_left() -> None:
    penalty, shares = Penalty(), []
    for at_s in range(1, 6):
        penalty = punish(penalty, retry_after_ns=0, now_ns=at_s * NS_PER_S)
        shares.append(penalty.cut)

    assert shares == [0.5, 0.25, 0.125, 0.125, 0.125]


def test_the_next_step_is_known() -> None:
    penalty = punish(Penalty(), retry_after_ns=10 * NS_PER_S, now_ns=0)

    assert next_step_ns(Penalty(), now_ns=0) is None
    assert next_step_ns(penalty, now_ns=0) == 40 * NS_PER_S
    assert next_step_ns(penalty, now_ns=15 * NS_PER_S) == 25 * NS_PER_S
    assert next_step_ns(penalty, now_ns=40 * NS_PER_S) == 30 * NS_PER_S
    assert next_step_ns(penalty, now_ns=130 * NS_PER_S) is None
