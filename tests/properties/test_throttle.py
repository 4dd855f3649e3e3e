"""The meter: no window, wherever it begins, holds more than the limit."""

from hypothesis import given
from hypothesis import strategies as st

from btx.model.time import NS_PER_S
from btx.rules.throttle import Meter, Tally, observe, reserve, spend, take, tally_wait_ns, used, wait_ns

LIMIT, WINDOW_NS = 5, 10 * NS_PER_S
calls = st.lists(st.tuples(st.integers(0, 8 * NS_PER_S), st.integers(0, LIMIT), st.integers(0, LIMIT)), max_size=30)


def busiest(spent: list[tuple[int, int]]) -> int:
    return max(
        (sum(units for time_ns, units in spent if start_ns <= time_ns < start_ns + WINDOW_NS) for start_ns, _ in spent),
        default=0,
    )


@given(calls=calls)
def test_no_window_ever_holds_more_than_the_limit(calls: list[tuple[int, int, int]]) -> None:
    meter, now_ns, spent = Meter(limit=LIMIT, window_ns=WINDOW_NS), 0, []

    for pause_ns, units, _ in calls:
        now_ns += pause_ns
        meter, wait_s = reserve(meter, units=units, now_ns=now_ns)
        spent.append((now_ns + round(wait_s * NS_PER_S), units))

    assert busiest(spent) <= LIMIT
    assert spent == sorted(spent, key=lambda entry: entry[0])


@given(calls=calls)
def test_no_wait_is_longer_than_it_must_be(calls: list[tuple[int, int, int]]) -> None:
    meter, now_ns, spent = Meter(limit=LIMIT, window_ns=WINDOW_NS), 0, []

    for pause_ns, units, _ in calls:
        now_ns += pause_ns
        meter, wait_s = reserve(meter, units=units, now_ns=now_ns)
        time_ns = now_ns + round(wait_s * NS_PER_S)
        if wait_s and time_ns > max((before for before, _ in spent), default=0):
            assert busiest([*spent, (time_ns - 1, units)]) > LIMIT
        spent.append((time_ns, units))


@given(calls=calls)
def test_the_wait_is_that_of_adding_up_the_whole_window(calls: list[tuple[int, int, int]]) -> None:
    """The sums that are carried along say the same, to the nanosecond, as adding up everything again."""
    meter, now_ns = Meter(limit=LIMIT, window_ns=WINDOW_NS), 0

    for pause_ns, units, _ in calls:
        now_ns += pause_ns
        spent = [entry for entry in meter.spent if entry[0] > now_ns - WINDOW_NS]
        expected_ns, held = now_ns, sum(cost for _, cost in spent)
        for spent_ns, cost in spent:
            if held + units <= LIMIT:
                break
            expected_ns, held = spent_ns + WINDOW_NS, held - cost

        assert wait_ns(meter, units=units, now_ns=now_ns) == expected_ns - now_ns
        assert used(meter, now_ns=now_ns) == sum(cost for spent_ns, cost in spent if spent_ns <= now_ns)
        meter, _ = reserve(meter, units=units, now_ns=now_ns)


@given(calls=calls)
def test_an_older_meter_stays_what_it_was(calls: list[tuple[int, int, int]]) -> None:
    meters, now_ns = [Meter(limit=LIMIT, window_ns=WINDOW_NS)], 0
    seen = [tuple(meters[0].spent)]

    for pause_ns, units, back in calls:
        now_ns += pause_ns
        before = meters[-1 - back] if back < len(meters) else meters[0]
        meters.append(reserve(before, units=units, now_ns=now_ns)[0])
        seen.append(tuple(meters[-1].spent))

    assert [tuple(meter.spent) for meter in meters] == seen


@given(calls=calls)
def test_what_the_venue_counted_is_never_spent_again(calls: list[tuple[int, int, int]]) -> None:
    meter, now_ns = Meter(limit=LIMIT, window_ns=WINDOW_NS), 0
    tally = Tally(limit=LIMIT, window_ns=WINDOW_NS)

    for pause_ns, units, counted in calls:
        now_ns += pause_ns
        tally = observe(tally, meter=meter, used_units=counted, under_way=0, now_ns=now_ns)
        own_ns = wait_ns(meter, units=units, now_ns=now_ns)
        told_ns = tally_wait_ns(tally, meter=meter, units=units, limit=LIMIT, now_ns=now_ns)

        if own_ns == told_ns == 0:
            assert counted + units <= LIMIT
            meter, tally = take(meter, units=units, now_ns=now_ns), spend(tally, units=units)
