"""Parity: two runs of one strategy side by side, and the cause of the first thing in which they differ.

Everything after a first difference may follow from it, so only that one is
explained.  Things are compared in the order in which they cause each other: at
one time bars come before the signals they lead to, those before what became of
the orders, then fills, then what is owned.
"""

import enum
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import zip_longest
from typing import Any

import attrs

from btx.model.time import NS_PER_S, iso
from btx.model.trace import BalanceStep, FillStep, OrderStep, SeenBar, Signal, Trace

__all__ = ("Cause", "Count", "Difference", "Parity", "compare")

_REFUSED = frozenset({"Rejected", "Margin"})
_TOLD = frozenset({"Accepted", "Canceled", "Expired", *_REFUSED})  # the others are told by fills, or before the venue
_ROUNDED = Decimal("0.000001")  # less than this, in units of the thing, is a matter of the last digits
_LAST_DIGIT = Decimal("0.00000001")
_USUAL = Decimal("0.0005")  # about what venues take of a notional
_ZERO = Decimal(0)


class Cause(enum.Enum):
    """Why two runs part."""

    BAR_BOUNDARY = "bar boundary"
    DATA = "other data"
    LATE_DATA = "late data"
    LOOK_AHEAD = "look-ahead"
    STRATEGY = "not deterministic"
    ROUNDING = "rounding"
    REJECTION = "rejection"
    LATENCY = "latency"
    FILL_MODEL = "fill model"
    FEE_TIER = "fee tier"
    ACCOUNT = "account"


@attrs.frozen(kw_only=True)
class Count:
    """How many of a kind each side had, and how many were equal."""

    kind: str
    left: int
    right: int
    equal: int


@attrs.frozen(kw_only=True)
class Difference:
    """The first thing that differs: what each side had, and why."""

    kind: str
    time_ns: int
    cause: Cause
    why: str
    left: str
    right: str


@attrs.frozen(kw_only=True)
class Parity:
    """Two runs compared; ``first`` is None when nothing differs."""

    counts: tuple[Count, ...]
    first: Difference | None


def compare(left: Trace, right: Trace, *, cut: Trace | None = None) -> Parity:
    """Lay two runs side by side.

    ``cut`` is the left run again, on data that end with the bars of the first
    difference: what it signalled otherwise up to there was decided by bars that
    had not come.
    """
    kinds = tuple(_KINDS.items())
    counts = tuple(_count(name, kind, left, right) for name, kind in kinds)
    firsts = [(*found, rank) for rank, (_, kind) in enumerate(kinds) if (found := _first(kind, left, right))]
    if left.error or right.error:
        time_ns = min((each[0] for each in firsts), default=0)
        return Parity(counts=counts, first=_broken(left, right, time_ns))
    if not firsts:
        return Parity(counts=counts, first=None)
    time_ns, ours, theirs, rank = min(firsts, key=lambda each: (each[0], each[3]))
    name, kind = kinds[rank]
    cause, why = kind.explain(ours, theirs, left, right)
    if name == "signal" and cut is not None and _signals(cut, time_ns) != _signals(left, time_ns):
        cause, why = Cause.LOOK_AHEAD, "without the bars that come later, the strategy decides otherwise"
    first = Difference(kind=name, time_ns=time_ns, cause=cause, why=why, left=kind.show(ours), right=kind.show(theirs))
    return Parity(counts=counts, first=first)


def _broken(left: Trace, right: Trace, time_ns: int) -> Difference:
    """Explain a run that broke off: what it lacks from there on is no difference of its own."""
    side = right if right.error else left
    return Difference(
        kind="run",
        time_ns=time_ns,
        cause=Cause.LOOK_AHEAD if side.read_ahead else Cause.STRATEGY,
        why=f"{side.name}: {'a bar was read that had not come' if side.read_ahead else 'the run broke off'}",
        left=left.error or "it goes on",
        right=right.error or "it goes on",
    )


def _signals(trace: Trace, until_ns: int) -> list[Any]:
    return [_wish(signal) for signal in trace.signals if signal.bar_ns <= until_ns]


# --- what is compared -------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Kind:
    """One kind of thing: where it is, what is lined up with what, what counts, when it was, and how it is told."""

    items: Callable[[Trace], Iterable[Any]]
    series: Callable[[Any], Any] = lambda _: None
    matter: Callable[[Any], Any] = lambda item: item
    time_ns: Callable[[Any], int]
    text: Callable[[Any], str]
    explain: Callable[[Any, Any, Trace, Trace], tuple[Cause, str]]

    def grouped(self, trace: Trace) -> Mapping[Any, list[Any]]:
        """Return the things of a run, by what is compared one by one."""
        groups: dict[Any, list[Any]] = defaultdict(list)
        for item in self.items(trace):
            groups[self.series(item)].append(item)
        return groups

    def show(self, item: Any) -> str:
        """Return a thing in words."""
        return "nothing" if item is None else self.text(item)

    def are_equal(self, ours: Any, theirs: Any) -> bool:
        """Say whether two things are there, and the same in what counts."""
        return ours is not None and theirs is not None and bool(self.matter(ours) == self.matter(theirs))


def _pairs(kind: _Kind, left: Trace, right: Trace) -> Iterable[tuple[Any, Any]]:
    ours, theirs = kind.grouped(left), kind.grouped(right)
    for series in dict.fromkeys([*ours, *theirs]):
        yield from zip_longest(ours.get(series, ()), theirs.get(series, ()))


def _count(name: str, kind: _Kind, left: Trace, right: Trace) -> Count:
    return Count(
        kind=name,
        left=sum(1 for _ in kind.items(left)),
        right=sum(1 for _ in kind.items(right)),
        equal=sum(kind.are_equal(*pair) for pair in _pairs(kind, left, right)),
    )


def _first(kind: _Kind, left: Trace, right: Trace) -> tuple[int, Any, Any] | None:
    differing = (pair for pair in _pairs(kind, left, right) if not kind.are_equal(*pair))
    found = ((min(kind.time_ns(each) for each in pair if each is not None), *pair) for pair in differing)
    return min(found, key=lambda each: each[0], default=None)


# --- why ------------------------------------------------------------------------------------------------


def _lacking(ours: object, left: Trace, right: Trace) -> str:
    """Return the name of the run that lacks what the other has."""
    return left.name if ours is None else right.name


def _later(seconds: float, left: Trace, right: Trace) -> str:
    """Return the name of the run that is later, with how much; ``seconds`` counts from left to right."""
    return f"{(right if seconds > 0 else left).name}: {abs(seconds):g} s later"


def _why_bar(ours: SeenBar | None, theirs: SeenBar | None, left: Trace, right: Trace) -> tuple[Cause, str]:
    if ours is None or theirs is None:
        return Cause.LATE_DATA, f"{_lacking(ours, left, right)}: the bar never came"
    if (ahead := _ahead(ours, theirs, left, right) or _ahead(theirs, ours, right, left)) is not None:
        return Cause.LOOK_AHEAD, ahead
    if (cut := _why_bounds(ours, theirs, left, right)) is not None:
        return cut
    if ours.values != theirs.values:
        return Cause.DATA, _moved(ours, theirs, _tick(ours.data, left, right))
    return Cause.LATE_DATA, _later((theirs.seen_ns - ours.seen_ns) / NS_PER_S, left, right)


def _why_bounds(ours: SeenBar, theirs: SeenBar, left: Trace, right: Trace) -> tuple[Cause, str] | None:
    if ours.open_ns != theirs.open_ns:
        late, run, other = (theirs, right, left) if theirs.open_ns > ours.open_ns else (ours, left, right)
        if any((each.data, each.open_ns) == (late.data, late.open_ns) for each in other.bars):
            return Cause.LATE_DATA, f"{run.name}: the bar before it is missing"
        return Cause.BAR_BOUNDARY, "the bars begin at other times"
    if ours.close_ns != theirs.close_ns:
        return Cause.BAR_BOUNDARY, "the bars end at other times, and hold other trades"
    return None


def _ahead(bar: SeenBar, other: SeenBar, run: Trace, other_run: Trace) -> str | None:
    """Say how a run shows a bar before it has closed, None when it does not."""
    if bar.values == other.values and bar.close_ns < other.close_ns:
        return f"{run.name}: the bar is stamped {(other.close_ns - bar.close_ns) / NS_PER_S:g} s before it closes"
    following = next((one for one in other_run.bars if one.data == bar.data and one.open_ns > bar.open_ns), None)
    if bar.open_ns == other.open_ns and following is not None and bar.values == following.values:
        return f"{run.name}: it shows the bar that comes next in {other_run.name}"
    return None


def _tick(data: str, left: Trace, right: Trace) -> Decimal | None:
    return left.ticks.get(data) or right.ticks.get(data)


def _moved(ours: SeenBar, theirs: SeenBar, tick: Decimal | None) -> str:
    named = ((name, getattr(theirs, name) - getattr(ours, name)) for name in ("open", "high", "low", "close", "volume"))
    changes = [
        f"the {name} is {_ticks(change, None if name == 'volume' else tick)}" for name, change in named if change
    ]
    return ", ".join(changes)


def _ticks(change: Decimal, tick: Decimal | None) -> str:
    way = "higher" if change > 0 else "lower"
    if not tick or change % tick:
        return f"{_plain(abs(change))} {way}"
    count = abs(change) / tick
    return f"{_plain(count)} {'tick' if count == 1 else 'ticks'} {way}"


def _why_signal(ours: Signal | None, theirs: Signal | None, _left: Trace, _right: Trace) -> tuple[Cause, str]:
    if ours is None or theirs is None or _asked(ours) != _asked(theirs):
        return Cause.STRATEGY, "the strategy decides otherwise on the same bars: chance, a clock, or what it kept"
    if all(_is_near(one, other) for one, other in zip(_numbers(ours), _numbers(theirs), strict=True)):
        return Cause.ROUNDING, "it differs in the last digits alone"
    return Cause.STRATEGY, "the strategy asks for another size or price on the same bars"


def _asked(signal: Signal) -> tuple[Any, ...]:
    return signal.data, signal.bar_ns, signal.side, signal.kind


def _numbers(signal: Signal) -> tuple[Decimal, ...]:
    return tuple(each or _ZERO for each in (signal.size, signal.price, signal.limit))


def _is_near(one: Decimal, other: Decimal) -> bool:
    if not (one.is_finite() and other.is_finite()):  # a strategy may ask for anything
        return str(one) == str(other)
    return abs(one - other) < _ROUNDED


def _wish(signal: Signal) -> tuple[Any, ...]:
    """Return what counts of a signal: a size that is no number is the same as another that is none."""
    numbers = (signal.size, signal.price, signal.limit)
    return signal.number, *_asked(signal), *("NaN" if each is not None and each.is_nan() else each for each in numbers)


def _why_step(ours: OrderStep | None, theirs: OrderStep | None, left: Trace, right: Trace) -> tuple[Cause, str]:
    refusing = [(step, run) for step, run in ((ours, left), (theirs, right)) if step and step.status in _REFUSED]
    if len(refusing) == 1:
        step, run = refusing[0]
        return Cause.REJECTION, f"{run.name}: {step.reason or step.status}"
    if ours is None or theirs is None or ours.status != theirs.status:
        return Cause.FILL_MODEL, "the order ends otherwise"
    if _terms(ours) != _terms(theirs):
        return Cause.ROUNDING, "the same wish is another order on the grid"
    return Cause.LATENCY, _later((theirs.told_ns - ours.told_ns) / NS_PER_S, left, right)


def _terms(step: OrderStep) -> tuple[Any, ...]:
    return step.quantity, step.price, step.trigger


def _why_fill(ours: FillStep | None, theirs: FillStep | None, left: Trace, right: Trace) -> tuple[Cause, str]:
    if ours is None or theirs is None:
        return Cause.FILL_MODEL, f"{_lacking(ours, left, right)}: it does not fill"
    if ours.time_ns != theirs.time_ns:
        return Cause.LATENCY, _later((theirs.time_ns - ours.time_ns) / NS_PER_S, left, right)
    if ours.price != theirs.price:
        return Cause.FILL_MODEL, f"the price is {_ticks(theirs.price - ours.price, _tick(ours.data, left, right))}"
    if (ours.quantity, ours.liquidity) != (theirs.quantity, theirs.liquidity):
        return Cause.FILL_MODEL, "another quantity is filled, or by another side of the book"
    if ours.fee_asset == theirs.fee_asset and abs((ours.fee or _ZERO) - (theirs.fee or _ZERO)) <= _LAST_DIGIT:
        return Cause.ROUNDING, "the fee differs in its last digit"
    return Cause.FEE_TIER, f"the fee is {_rate(ours)} against {_rate(theirs)}"


def _rate(fill: FillStep) -> str:
    """Return what a fee is of its fill, in per cent: of the quantity where that is what was paid with."""
    if not fill.fee:
        return "nothing"
    shares = (fill.fee / fill.quantity, fill.fee / (fill.quantity * fill.price))
    share = min(shares, key=lambda part: max(abs(part) / _USUAL, _USUAL / abs(part)))
    return f"{_plain((share * 100).quantize(Decimal('0.0001')))} % in {fill.fee_asset}"


def _why_balance(ours: BalanceStep | None, theirs: BalanceStep | None, left: Trace, right: Trace) -> tuple[Cause, str]:
    if ours is None or theirs is None:
        return Cause.LATE_DATA, f"{_lacking(ours, left, right)}: it ended earlier"
    if ours.bar_ns != theirs.bar_ns:
        return Cause.BAR_BOUNDARY, "the strategy was called at other times"
    changes = [theirs.cash - ours.cash]
    changes += [theirs.positions.get(data, _ZERO) - held for data, held in ours.positions.items()]
    if all(abs(change) < _ROUNDED for change in changes):
        return Cause.ROUNDING, "it differs in the last digits alone, with the same fills"
    return Cause.ACCOUNT, "money moved that no fill explains"


# --- in words -----------------------------------------------------------------------------------------------


def _plain(number: Decimal | None) -> str:
    return "-" if number is None else f"{number.normalize():f}"


def _show_bar(bar: SeenBar) -> str:
    late = f", seen at {iso(bar.seen_ns)}" if bar.seen_ns != bar.close_ns else ""
    return f"{bar.data} {iso(bar.open_ns)} to {iso(bar.close_ns)}: {' '.join(map(_plain, bar.values))}{late}"


def _show_signal(signal: Signal) -> str:
    limit = f" limit {_plain(signal.limit)}" if signal.limit not in {None, signal.price} else ""
    return (
        f"order {signal.number} at the bar of {iso(signal.bar_ns)}: {signal.side} {_plain(signal.size)} "
        f"{signal.data} {signal.kind} {_plain(signal.price)}{limit}"
    )


def _show_step(step: OrderStep) -> str:
    named: Sequence[tuple[str, Decimal | None]] = (
        ("quantity", step.quantity),
        ("price", step.price),
        ("trigger", step.trigger),
    )
    terms = "".join(f", {name} {_plain(value)}" for name, value in named if value is not None)
    return f"order {step.number} {step.status} at {iso(step.told_ns)}{terms}{f': {step.reason}' if step.reason else ''}"


def _show_fill(fill: FillStep) -> str:
    role = f" {fill.liquidity.value}" if fill.liquidity is not None else ""
    return (
        f"order {fill.number} at {iso(fill.time_ns)}: {_plain(fill.quantity)} at {_plain(fill.price)}{role}, "
        f"fee {_plain(fill.fee)} {fill.fee_asset}"
    )


def _show_balance(step: BalanceStep) -> str:
    held = "".join(f", {_plain(quantity)} {data}" for data, quantity in step.positions.items())
    return f"{iso(step.bar_ns)}: cash {_plain(step.cash)}{held}"


_KINDS = {
    "bar": _Kind(
        items=lambda run: run.bars,
        series=lambda bar: bar.data,
        time_ns=lambda bar: bar.close_ns,
        text=_show_bar,
        explain=_why_bar,
    ),
    "signal": _Kind(
        items=lambda run: run.signals,
        matter=_wish,
        time_ns=lambda each: each.bar_ns,
        text=_show_signal,
        explain=_why_signal,
    ),
    "order": _Kind(
        items=lambda run: (step for step in run.steps if step.status in _TOLD),
        series=lambda step: step.number,
        matter=lambda step: attrs.evolve(step, reason=""),
        time_ns=lambda step: step.told_ns,
        text=_show_step,
        explain=_why_step,
    ),
    "fill": _Kind(
        items=lambda run: run.fills,
        series=lambda fill: fill.number,
        time_ns=lambda fill: fill.time_ns,
        text=_show_fill,
        explain=_why_fill,
    ),
    "balance": _Kind(
        items=lambda run: run.balances, time_ns=lambda each: each.bar_ns, text=_show_balance, explain=_why_balance
    ),
}
