"""Rate limits: how long to wait so that no window holds too much, and what the venue's own counts change.

Three values, all immutable, time an argument:

* :class:`Meter`, what we sent ourselves: exact, window by window.
* :class:`Tally`, what the venue says it counted: others may share the limit.
* :class:`Penalty`, what a refusal for too many requests costs: silence, then less.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

import attrs

__all__ = (
    "Meter",
    "Penalty",
    "Spent",
    "Tally",
    "guessed_ns",
    "next_step_ns",
    "observe",
    "punish",
    "reserve",
    "share",
    "spend",
    "take",
    "tally_wait_ns",
    "used",
    "wait_ns",
)

_NS_PER_S: Final = 1_000_000_000
_KEPT: Final = 64  # so many forgotten entries are carried along before a copy is worth it


class Spent:
    """An immutable sequence of ``(time_ns, units)`` in order of time that can be appended to, cut and summed.

    Values that come of one another share two lists, of which each sees its own
    stretch: appending and cutting are O(1) amortised, sums O(log n).  What is
    appended lies behind everybody else's end; where somebody has appended
    there already, the newcomer copies.
    """

    __slots__ = ("_start", "_stop", "_sums", "_times")

    def __init__(
        self, times: list[int] | None = None, sums: list[int] | None = None, start: int = 0, stop: int = 0
    ) -> None:
        self._times = [] if times is None else times
        self._sums = [] if sums is None else sums  # of the units up to and with each entry
        self._start = start
        self._stop = stop

    def append(self, time_ns: int, units: int) -> "Spent":
        """Return the sequence with one more entry, not older than the last."""
        times, sums, start = self._times, self._sums, self._start
        if self._stop < len(times) or start > max(_KEPT, self._stop // 2):
            before = self._sum(start)
            times, start = times[start : self._stop], 0
            sums = [each - before for each in sums[self._start : self._stop]]
        times.append(time_ns)
        sums.append(units + (sums[-1] if sums else 0))
        return Spent(times, sums, start, len(times))

    def since(self, time_ns: int) -> "Spent":
        """Return what is later than ``time_ns``."""
        start = bisect_right(self._times, time_ns, self._start, self._stop)
        return self if start == self._start else Spent(self._times, self._sums, start, self._stop)

    def total(self, until_ns: int | None = None) -> int:
        """Return the units of all entries, or of those not later than ``until_ns``."""
        stop = self._stop if until_ns is None else bisect_right(self._times, until_ns, self._start, self._stop)
        return self._sum(stop) - self._sum(self._start) if stop > self._start else 0

    def time_of(self, units: int) -> int:
        """Return when the first so many units were complete; there must be as many."""
        return self._times[bisect_left(self._sums, self._sum(self._start) + units, self._start, self._stop)]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for at in range(self._start, self._stop):
            yield self._times[at], self._sum(at + 1) - self._sum(at)

    def __len__(self) -> int:
        return self._stop - self._start

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spent) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Spent({list(self)})"

    def _sum(self, stop: int) -> int:
        return self._sums[stop - 1] if stop else 0


@attrs.frozen(kw_only=True)
class Meter:
    """At most ``limit`` units in every window of ``window_ns``, wherever the window begins.

    That is stricter than the venues' windows, which begin at full minutes: what
    keeps to it keeps to those, whatever the clocks say.
    """

    limit: int = attrs.field(validator=attrs.validators.gt(0))
    window_ns: int = attrs.field(validator=attrs.validators.gt(0))
    spent: Spent = attrs.field(factory=Spent)  # may lie ahead of now


def wait_ns(meter: Meter, *, units: int, now_ns: int, limit: int | None = None) -> int:
    """Return how long ``units`` have to wait behind all who came before, 0 for not at all; nothing is taken.

    ``limit`` is for now, where it is lower than the meter's own. O(log n).

    Raises:
        ValueError: no wait would do, ``units`` is above the limit; or it is negative.
    """
    most = meter.limit if limit is None else min(limit, meter.limit)
    if not 0 <= units <= most:
        raise ValueError(f"{units} units at once: the limit is {most}")
    # What is reserved ahead of now is held too, so that nobody overtakes: the oldest leaves the window first.
    held = meter.spent.since(now_ns - meter.window_ns)
    excess = held.total() + units - most
    return held.time_of(excess) + meter.window_ns - now_ns if excess > 0 else 0


def take(meter: Meter, *, units: int, now_ns: int, time_ns: int | None = None) -> Meter:
    """Return the meter after ``units`` were spent at ``time_ns``, now if None: before nothing that it holds."""
    spent = meter.spent.since(now_ns - meter.window_ns).append(now_ns if time_ns is None else time_ns, units)
    return Meter(limit=meter.limit, window_ns=meter.window_ns, spent=spent)


def reserve(meter: Meter, *, units: int, now_ns: int) -> tuple[Meter, float]:
    """Take ``units`` at the earliest moment the limit allows, behind all who came before.

    Returns:
        The meter afterwards, and the wait in seconds; 0.0 means go.

    Raises:
        ValueError: as for :func:`wait_ns`.
    """
    wait = wait_ns(meter, units=units, now_ns=now_ns)
    return take(meter, units=units, now_ns=now_ns, time_ns=now_ns + wait), wait / _NS_PER_S


def used(meter: Meter, *, now_ns: int) -> int:
    """Return the units of the window that ends now."""
    return meter.spent.since(now_ns - meter.window_ns).total(now_ns)


# --- the venue's own count ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Tally:
    """What the venue counted of one limit, carried on with what left since.

    ``units`` is never below the venue's count as far as it is ours.  ``others``
    is how much of the limit others use in one window, measured between answers.
    Our own requests are not counted twice: those that were under way when an
    answer said the count, and those that left since, are taken off.
    """

    limit: int = attrs.field(validator=attrs.validators.gt(0))
    window_ns: int = attrs.field(validator=attrs.validators.gt(0))
    guess: int = 0  # of others, from the first count until they are measured
    units: int = 0
    until_ns: int | None = None  # when the venue's window is over for certain, and the count with it
    others: int = 0
    measured: bool = False  # ``others`` is more than a guess
    foreign: int = 0  # of the count, what cannot be ours
    heard: int = 0  # the last answer's count
    heard_ns: int | None = None
    anew_ns: int | None = None  # not before the venue began one of its windows
    base_ns: int = 0  # where the measurement of the others began,
    base: int = 0  # with this count and what was under way,
    sent: int = 0  # and what we sent since


_MEASURED_AFTER: Final = 20  # parts of a window: below one what was under way weighs too much


def tally_wait_ns(tally: Tally, *, meter: Meter, units: int, limit: int, now_ns: int) -> int:
    """Return how long ``units`` have to wait so that the venue does not count more than ``limit``.

    Until the venue's window is over; or until so much of what ``meter`` holds,
    all we sent, is a window old that the rest and what others use leave room.
    """
    if tally.until_ns is None or now_ns >= tally.until_ns or tally.units + units <= limit:
        return 0
    over_ns, room = tally.until_ns - now_ns, limit - max(tally.foreign, tally.others)
    return over_ns if room < units else min(over_ns, wait_ns(meter, units=units, now_ns=now_ns, limit=room))


def spend(tally: Tally, *, units: int) -> Tally:
    """Return the tally after we sent ``units``."""
    return attrs.evolve(tally, units=tally.units + units, sent=tally.sent + units)


def observe(
    tally: Tally, *, meter: Meter, used_units: int, under_way: int, now_ns: int, left_ns: int | None = None
) -> Tally:
    """Adopt the venue's own count; ``meter`` is all we sent, ``under_way`` what may not be counted yet.

    A count that fell by half says that the venue's window began anew.  Where no answer came for a
    whole window, what others were measured to use is half forgotten: it may be what kept us from asking.
    ``left_ns`` is when the request left that this answers: if a window has begun since then, a count that did
    not fall may be the one before's, and tells nothing; what the tally holds of the new one, it keeps.
    """
    fell = tally.heard_ns is not None and 2 * used_units < tally.heard
    if not fell and left_ns is not None and tally.anew_ns is not None:
        since_ns = (now_ns - tally.anew_ns) % tally.window_ns
        if left_ns < now_ns - since_ns:
            return tally
    anew_ns = _began_ns(tally, now_ns) if fell else tally.anew_ns
    rest_ns = tally.window_ns if anew_ns is None else tally.window_ns - (now_ns - anew_ns) % tally.window_ns
    counted = used_units + under_way
    after = attrs.evolve(
        tally,
        units=counted,
        until_ns=now_ns + rest_ns,
        foreign=max(0, counted - used(meter, now_ns=now_ns)),
        heard=used_units,
        heard_ns=now_ns,
        anew_ns=anew_ns,
    )
    elapsed_ns = now_ns - tally.base_ns
    if tally.heard_ns is None:
        return attrs.evolve(after, base_ns=now_ns, base=counted, sent=0, others=tally.guess)
    if fell or elapsed_ns >= tally.window_ns:
        is_old = now_ns - tally.heard_ns >= tally.window_ns
        others = min(tally.others, max(after.foreign, tally.others // 2)) if is_old else tally.others
        return attrs.evolve(after, base_ns=now_ns, base=counted, sent=0, others=others)
    if elapsed_ns < tally.window_ns // _MEASURED_AFTER:
        return after
    others = max(0, used_units - tally.base - tally.sent)
    return attrs.evolve(after, others=min(tally.limit, -(-others * tally.window_ns // elapsed_ns)), measured=True)


def guessed_ns(tally: Tally, *, now_ns: int) -> int | None:
    """Return how long until one more answer tells what others use, where that is a guess still; 0 or less: now."""
    if tally.measured or tally.heard_ns is None:
        return None
    return tally.base_ns + tally.window_ns // _MEASURED_AFTER - now_ns


def _began_ns(tally: Tally, now_ns: int) -> int:
    """Return the latest moment at which the venue's window may have begun: windows follow one another."""
    if tally.anew_ns is not None and tally.heard_ns is not None:
        foreseen_ns = now_ns - (now_ns - tally.anew_ns) % tally.window_ns
        if foreseen_ns > tally.heard_ns:
            return foreseen_ns
    return now_ns


# --- after a refusal ---------------------------------------------------------------------------------------------

_HALF: Final = 0.5
_LEAST: Final = 0.125
_STEP: Final = 0.125
_STEP_NS: Final = 30 * _NS_PER_S


@attrs.frozen(kw_only=True)
class Penalty:
    """Silence until ``until_ns``, then a part of the limits that grows back in steps."""

    until_ns: int = 0
    cut: float = 1.0  # the share after the silence


def punish(penalty: Penalty, *, retry_after_ns: int, now_ns: int) -> Penalty:
    """Return the penalty after a refusal for too many requests.

    Refusals during the silence answer what had left before it: they may
    lengthen it, and cut nothing.
    """
    until_ns = max(penalty.until_ns, now_ns + retry_after_ns)
    if now_ns < penalty.until_ns:
        return attrs.evolve(penalty, until_ns=until_ns)
    return Penalty(until_ns=until_ns, cut=max(_LEAST, _HALF * share(penalty, now_ns=now_ns)))


def share(penalty: Penalty, *, now_ns: int) -> float:
    """Return the part of the limits that may be used: an eighth more every 30 s, up to all of it."""
    steps = max(0, now_ns - penalty.until_ns) // _STEP_NS
    return min(1.0, penalty.cut + steps * _STEP)


def next_step_ns(penalty: Penalty, *, now_ns: int) -> int | None:
    """Return how long until the share grows again; None when it is whole."""
    if share(penalty, now_ns=now_ns) >= 1.0:
        return None
    return penalty.until_ns - now_ns + _STEP_NS * (max(0, now_ns - penalty.until_ns) // _STEP_NS + 1)
