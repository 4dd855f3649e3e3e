"""Pieces of time, ``[start_ns, end_ns)``: joined, cut, and taken from each other."""

from collections.abc import Iterable, Iterator

from btx.model.history import Span
from btx.model.time import Interval

__all__ = ("clipped", "first_open", "joined", "months", "without")

_MONTH = Interval.parse("1M")


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return what the spans cover together, in order; those that touch become one, empty ones none."""
    found: list[Span] = []
    for start_ns, end_ns in sorted(spans):
        if end_ns <= start_ns:
            continue
        if found and start_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_ns))
        else:
            found.append((start_ns, end_ns))
    return tuple(found)


def clipped(spans: Iterable[Span], start_ns: int, end_ns: int) -> tuple[Span, ...]:
    """Return what of the spans lies in ``[start_ns, end_ns)``, in order."""
    return joined((max(start, start_ns), min(end, end_ns)) for start, end in spans)


def without(spans: Iterable[Span], others: Iterable[Span]) -> tuple[Span, ...]:
    """Return what of the spans none of the others covers, in order."""
    taken = joined(others)
    left: list[Span] = []
    for start, end in joined(spans):
        free_ns = start
        for from_ns, to_ns in clipped(taken, start, end):
            left.append((free_ns, from_ns))
            free_ns = to_ns
        left.append((free_ns, end))
    return joined(left)


def first_open(interval: Interval, time_ns: int) -> int:
    """Return when the first bar opens that opens at ``time_ns`` or later."""
    open_ns = interval.open_of(time_ns)
    return open_ns if open_ns == time_ns else interval.close_of(open_ns)


def months(start_ns: int, end_ns: int) -> Iterator[Span]:
    """Yield the calendar months (UTC) that ``[start_ns, end_ns)`` touches, each as a whole."""
    open_ns = _MONTH.open_of(start_ns) if start_ns < end_ns else end_ns
    while open_ns < end_ns:
        close_ns = _MONTH.close_of(open_ns)
        yield open_ns, close_ns
        open_ns = close_ns
