"""A meter of one rate limit: how long to wait so that no window ever holds too much."""

from bisect import bisect_right

import attrs

__all__ = ("Meter", "observe", "reserve", "used")

_NS_PER_S = 1_000_000_000


@attrs.frozen(kw_only=True)
class Meter:
    """At most ``limit`` units in every window of ``window_ns``, wherever the window begins.

    That is stricter than the venues' windows, which begin at full minutes: what
    keeps to it keeps to those, whatever the clocks say.
    """

    limit: int = attrs.field(validator=attrs.validators.gt(0))
    window_ns: int = attrs.field(validator=attrs.validators.gt(0))
    spent: tuple[tuple[int, int], ...] = ()  # (time_ns, units) by time; may lie ahead of now


def reserve(meter: Meter, *, units: int, now_ns: int) -> tuple[Meter, float]:
    """Take ``units`` at the earliest moment the limit allows, behind all who came before.

    Returns:
        The meter afterwards, and the wait in seconds; 0.0 means go.

    Raises:
        ValueError: no wait would do, ``units`` is above the limit; or it is negative.
    """
    if not 0 <= units <= meter.limit:
        raise ValueError(f"{units} units at once: the limit is {meter.limit}")
    spent = _since(meter, now_ns)
    time_ns, held = now_ns, sum(cost for _, cost in spent)
    # What is reserved ahead of now is held too, so that nobody overtakes: the oldest leaves the window first.
    for spent_ns, cost in spent:
        if held + units <= meter.limit:
            break
        time_ns = spent_ns + meter.window_ns
        held -= cost
    return attrs.evolve(meter, spent=_with(spent, time_ns, units)), (time_ns - now_ns) / _NS_PER_S


def used(meter: Meter, *, now_ns: int) -> int:
    """Return the units of the window that ends now."""
    return sum(cost for spent_ns, cost in meter.spent if now_ns - meter.window_ns < spent_ns <= now_ns)


def observe(meter: Meter, *, used_units: int, now_ns: int) -> Meter:
    """Adopt the venue's own count, where it is the higher: others may share the limit.

    A lower count is no news: the venue's window began anew, ours has not.
    """
    unknown = used_units - used(meter, now_ns=now_ns)
    if unknown <= 0:
        return meter
    return attrs.evolve(meter, spent=_with(_since(meter, now_ns), now_ns, unknown))


def _since(meter: Meter, now_ns: int) -> tuple[tuple[int, int], ...]:
    """Return what still counts in the window that ends now, and what is reserved after it."""
    first = bisect_right(meter.spent, now_ns - meter.window_ns, key=_time)
    return meter.spent[first:]


def _with(spent: tuple[tuple[int, int], ...], time_ns: int, units: int) -> tuple[tuple[int, int], ...]:
    place = bisect_right(spent, time_ns, key=_time)
    return (*spent[:place], (time_ns, units), *spent[place:])


def _time(entry: tuple[int, int]) -> int:
    return entry[0]
