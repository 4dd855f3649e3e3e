"""Bars as a source gives them: what is wrong with them, and what is made of it.

A spike is told by the bars before it: where a bar reaches further from the close before it than
``SPIKE_RANGES`` times the median range (high - low) of the last ``SPIKE_BARS`` bars, and further than
``SPIKE_SHARE`` of that close.  Real crashes are spikes too: so it is told, and nothing is removed
unless that is asked for.  After a hole the bar's own open stands for the close before it.
"""

import bisect
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import attrs

from btx.errors import DataError, GapError
from btx.model.calendar import ALWAYS, Calendar
from btx.model.history import Finding, FindingKind, Policy, Span
from btx.model.market import Bar
from btx.model.time import Interval, iso
from btx.rules.calendar import next_bar
from btx.rules.spans import first_open

__all__ = ("SPIKE_BARS", "SPIKE_RANGES", "SPIKE_SHARE", "Policies", "disagreements", "examined", "filled", "resolved")

SPIKE_BARS = 60
SPIKE_RANGES = 50  # on the real minutes of BTC, ETH and LINK at hand nothing is called a spike, and a wrong digit is
SPIKE_SHARE = Decimal("0.01")
_ENOUGH = 20  # bars before which nothing is called a spike
_ZERO = Decimal(0)


def _among(*choice: Policy) -> Callable[[object, "attrs.Attribute[Policy]", Policy], None]:
    def check(_: object, field: "attrs.Attribute[Policy]", value: Policy) -> None:
        if value not in choice:
            known = ", ".join(repr(each.value) for each in choice)
            raise ValueError(f"{field.name} cannot be {value.value!r}: choose one of {known}")

    return check


_ANY = _among(Policy.RAISE, Policy.DROP, Policy.MARK, Policy.KEEP)
_NEVER_KEPT = _among(Policy.RAISE, Policy.DROP)


@attrs.frozen(kw_only=True)
class Policies:
    """What to do about each kind of finding; the defaults trust nothing that cannot be true, and keep what may be.

    A disagreement that is dropped leaves the bar that was there, otherwise the newer one is taken.

    Raises:
        ValueError: the policy makes no sense for the finding.
    """

    hole: Policy = attrs.field(
        default=Policy.MARK, validator=_among(Policy.RAISE, Policy.MARK, Policy.FILL, Policy.KEEP)
    )
    duplicate: Policy = attrs.field(default=Policy.DROP, validator=_NEVER_KEPT)
    disorder: Policy = attrs.field(default=Policy.RAISE, validator=_NEVER_KEPT)
    shape: Policy = attrs.field(default=Policy.RAISE, validator=_ANY)
    not_positive: Policy = attrs.field(default=Policy.RAISE, validator=_ANY)
    spike: Policy = attrs.field(default=Policy.MARK, validator=_ANY)
    unfinished: Policy = attrs.field(default=Policy.DROP, validator=_NEVER_KEPT)
    disagreement: Policy = attrs.field(default=Policy.MARK, validator=_ANY)

    def of(self, kind: FindingKind) -> Policy:
        """Return the policy for a kind of finding."""
        policy: Policy = getattr(self, kind.name.lower())
        return policy


def examined(
    bars: Iterable[Bar],
    *,
    symbol: str,
    interval: Interval,
    span: Span,
    settled_ns: int,
    policies: Policies = Policies(),
    before: Bar | None = None,
    calendar: Calendar = ALWAYS,
) -> tuple[tuple[Bar, ...], tuple[Finding, ...]]:
    """Return the bars that are taken, and what there is to tell.

    ``bars`` should be all that open in ``span``; ``before`` is the bar that was there before them.
    A time at which it does not trade, by its ``calendar``, is no hole.
    A bar that closes after ``settled_ns`` (market time) is unfinished, whatever it says itself.

    Raises:
        DataError: something was found whose policy is to raise.
    """
    bench = _Bench(symbol, interval, policies, calendar)
    kept = bench.without_spikes(bench.sound(bars, settled_ns), before)
    holes = bench.holes(kept, span, before)
    if policies.hole is Policy.FILL:
        return filled(kept, holes, before=before, calendar=calendar), tuple(bench.told)
    return tuple(kept), tuple(bench.told)


def filled(
    bars: Sequence[Bar], holes: Iterable[Span], *, before: Bar | None = None, calendar: Calendar = ALWAYS
) -> tuple[Bar, ...]:
    """Return the bars with others in the holes: the close before it, nothing traded.

    Where no bar lies before a hole, it stays.
    """
    whole = list(bars)
    for start_ns, end_ns in holes:
        index = bisect.bisect_left(whole, start_ns, key=lambda bar: bar.open_ns)
        last = whole[index - 1] if index else before
        if last is not None:
            whole[index:index] = _flat(last, start_ns, end_ns, calendar)
    return tuple(whole)


def disagreements(stored: Iterable[Bar], fetched: Iterable[Bar], *, source: str) -> tuple[Finding, ...]:
    """Return a finding for each bar that was kept and is told differently by ``source`` now.

    A field that one of the two does not tell is no difference. A last bar that was taken too early
    shows as less volume than the second time.
    """
    known = {bar.open_ns: bar for bar in stored}
    return tuple(
        Finding(
            kind=FindingKind.DISAGREEMENT,
            symbol=bar.symbol,
            interval=bar.interval,
            start_ns=bar.open_ns,
            end_ns=bar.open_ns + 1,
            detail=f"the bar of {iso(bar.open_ns)} was kept with {_text(differences, 1)}, "
            f"{source} has {_text(differences, 2)}",
        )
        for bar in fetched
        if bar.open_ns in known and (differences := _differences(known[bar.open_ns], bar))
    )


def resolved(
    bars: Sequence[Bar], findings: Sequence[Finding], policies: Policies
) -> tuple[tuple[Bar, ...], tuple[Finding, ...]]:
    """Return the fetched bars that are taken where they disagree with what was kept, and what there is to tell.

    Raises:
        DataError: the policy is to raise.
    """
    policy = policies.disagreement
    if not findings or policy is Policy.KEEP:
        return tuple(bars), ()
    if policy is Policy.RAISE:
        raise DataError(_refusal(findings[0]))
    if policy is Policy.DROP:
        left_out = {finding.start_ns for finding in findings}
        bars = [bar for bar in bars if bar.open_ns not in left_out]
    return tuple(bars), tuple(findings)


class _Bench:
    """One series under examination, and what is told of it so far."""

    def __init__(self, symbol: str, interval: Interval, policies: Policies, calendar: Calendar) -> None:
        self._calendar = calendar
        self._symbol = symbol
        self._interval = interval
        self._policies = policies
        self.told: list[Finding] = []

    def sound(self, bars: Iterable[Bar], settled_ns: int) -> list[Bar]:
        kept: list[Bar] = []
        for bar in bars:
            if all(self._judge(kind, bar, detail) for kind, detail in _faults(bar, kept, settled_ns)):
                kept.append(bar)
        return kept

    def without_spikes(self, bars: Sequence[Bar], before: Bar | None) -> list[Bar]:
        return [
            bar for bar, detail in _spikes(bars, before) if not detail or self._judge(FindingKind.SPIKE, bar, detail)
        ]

    def holes(self, bars: Sequence[Bar], span: Span, before: Bar | None) -> list[Span]:
        found = []
        for start_ns, end_ns in _holes(bars, self._interval, span, self._calendar):
            count = max(1, (end_ns - start_ns) // self._interval.nominal_ns)
            last = "" if before is not None or (bars and bars[0].open_ns < start_ns) else ", and none lies before them"
            detail = f"{count} bars from {iso(start_ns)} to {iso(end_ns)} are missing{last}"
            self._tell(FindingKind.HOLE, (start_ns, end_ns), detail)
            found.append((start_ns, end_ns))
        return found

    def _judge(self, kind: FindingKind, bar: Bar, detail: str) -> bool:
        """Tell of a bar, and say whether it is kept."""
        return self._tell(kind, (bar.open_ns, bar.open_ns + 1), f"the bar of {iso(bar.open_ns)} {detail}")

    def _tell(self, kind: FindingKind, span: Span, detail: str) -> bool:
        policy = self._policies.of(kind)
        finding = Finding(
            kind=kind, symbol=self._symbol, interval=self._interval, start_ns=span[0], end_ns=span[1], detail=detail
        )
        if policy is Policy.RAISE:
            raise (GapError if kind is FindingKind.HOLE else DataError)(_refusal(finding))
        if policy is not Policy.KEEP:
            self.told.append(finding)
        return policy is not Policy.DROP


def _refusal(finding: Finding) -> str:
    return f"{finding}. Nothing is taken: the policy for {finding.kind.value!r} is 'raise'"


def _faults(bar: Bar, kept: Sequence[Bar], settled_ns: int) -> Iterator[tuple[FindingKind, str]]:
    """Yield what cannot be right with a bar, seen by itself and by the one before it."""
    interval = bar.interval
    if kept and bar.open_ns == kept[-1].open_ns:
        yield FindingKind.DUPLICATE, "comes twice" if bar == kept[-1] else "comes twice, and not the same"
    elif kept and bar.open_ns < kept[-1].open_ns:
        yield FindingKind.DISORDER, f"comes after that of {iso(kept[-1].open_ns)}"
    if not bar.is_closed or bar.close_ns > settled_ns:
        yield FindingKind.UNFINISHED, f"ends at {iso(bar.close_ns)}, and that was not certainly over"
    if interval.open_of(bar.open_ns) != bar.open_ns or interval.close_of(bar.open_ns) != bar.close_ns:
        yield FindingKind.SHAPE, f"is none of {interval}: it ends at {iso(bar.close_ns)}"
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        yield FindingKind.SHAPE, f"has open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}"
    if min(bar.open, bar.high, bar.low, bar.close) <= 0 or bar.volume < 0:
        yield (
            FindingKind.NOT_POSITIVE,
            f"has open {bar.open}, high {bar.high}, low {bar.low}, close {bar.close}, volume {bar.volume}",
        )


def _spikes(bars: Iterable[Bar], before: Bar | None) -> Iterator[tuple[Bar, str]]:
    """Yield each bar with what makes it a spike, or nothing."""
    recent: deque[Decimal] = deque()
    ranges: list[Decimal] = []  # the same, sorted
    last = before
    for bar in bars:
        start = last.close if last is not None and last.close_ns == bar.open_ns else bar.open
        reach = max(bar.high - start, start - bar.low)
        median = ranges[len(ranges) // 2] if len(ranges) >= _ENOUGH else None
        if median is not None and reach > median * SPIKE_RANGES and reach > start * SPIKE_SHARE:
            yield bar, f"reaches {reach} away from {start}; the median range before it was {median}"
        else:
            yield bar, ""
        recent.append(bar.high - bar.low)
        bisect.insort(ranges, recent[-1])
        if len(recent) > SPIKE_BARS:
            del ranges[bisect.bisect_left(ranges, recent.popleft())]
        last = bar


def _holes(bars: Sequence[Bar], interval: Interval, span: Span, calendar: Calendar) -> Iterator[Span]:
    next_ns = next_bar(calendar, interval, first_open(interval, span[0]))
    for bar in bars:
        if bar.open_ns > next_ns:
            yield next_ns, bar.open_ns
        next_ns = next_bar(calendar, interval, max(next_ns, bar.close_ns))
    end_ns = first_open(interval, span[1])
    if end_ns > next_ns:
        yield next_ns, end_ns


def _flat(last: Bar, start_ns: int, end_ns: int, calendar: Calendar) -> Iterator[Bar]:
    price, open_ns = last.close, start_ns
    while (open_ns := next_bar(calendar, last.interval, open_ns)) < end_ns:
        close_ns = last.interval.close_of(open_ns)
        yield attrs.evolve(
            last,
            open_ns=open_ns,
            close_ns=close_ns,
            open=price,
            high=price,
            low=price,
            close=price,
            volume=_ZERO,
            quote_volume=_ZERO,
            trades=0,
        )
        open_ns = close_ns


def _differences(was: Bar, now: Bar) -> list[tuple[str, Any, Any]]:
    names = ("open", "high", "low", "close", "volume", "quote_volume", "trades")
    pairs = [(name, getattr(was, name), getattr(now, name)) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new and old is not None and new is not None]


def _text(differences: Iterable[tuple[str, Any, Any]], column: int) -> str:
    return ", ".join(f"{each[0]} {each[column]}" for each in differences)
