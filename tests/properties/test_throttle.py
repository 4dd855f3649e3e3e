"""The meter: no window, wherever it begins, holds more than the limit."""

from hypothesis import given
from hypothesis import strategies as st

from btx.model.time import NS_PER_S
from btx.rules.throttle import Meter, observe, reserve

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
def test_what_the_venue_counted_is_never_spent_again(calls: list[tuple[int, int, int]]) -> None:
    meter, now_ns = Meter(limit=LIMIT, window_ns=WINDOW_NS), 0

    for pause_ns, units, counted in calls:
        now_ns += pause_ns
        meter = observe(meter, used_units=counted, now_ns=now_ns)
        meter, wait_s = reserve(meter, units=units, now_ns=now_ns)

        if wait_s == 0.0:
            assert counted + units <= LIMIT
