"""What is wrong with bars is found, told, and handled as was asked."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btx.errors import DataError, GapError
from btx.model.calendar import ALWAYS, Calendar, TradingHours
from btx.model.history import Finding, FindingKind, Policy
from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, Interval
from btx.rules.history import Policies, disagreements, examined, filled, resolved
from tests.values import MINUTE, bar

HOLE = FindingKind.HOLE


def look(
    bars: Sequence[Bar],
    count: int = 10,
    *,
    before: Bar | None = None,
    calendar: Calendar = ALWAYS,
    **policies: Policy,
) -> Any:
    """Examine the first ``count`` minutes of time."""
    return examined(
        bars,
        calendar=calendar,
        symbol="BTC/USDT",
        interval=MINUTE,
        span=(0, count * NS_PER_MINUTE),
        settled_ns=count * NS_PER_MINUTE,
        policies=Policies(**policies),
        before=before,
    )


def kinds(findings: Sequence[Finding]) -> list[FindingKind]:
    return [finding.kind for finding in findings]


def minutes(count: int = 10, **changed: Any) -> list[Bar]:
    return [bar(minute, **changed) for minute in range(count)]


def test_sound_bars_are_taken_without_a_word() -> None:
    assert look(minutes()) == (tuple(minutes()), ())


@given(st.sets(st.integers(0, 9)))
def test_every_missing_minute_is_in_one_hole(lacks: set[int]) -> None:
    taken, found = look([one for minute, one in enumerate(minutes()) if minute not in lacks])

    told = [range(each.start_ns // NS_PER_MINUTE, each.end_ns // NS_PER_MINUTE) for each in found]
    assert sorted(minute for span in told for minute in span) == sorted(lacks)
    assert len(taken) == 10 - len(lacks)
    assert set(kinds(found)) <= {HOLE}


def test_a_hole_says_how_large_it_is_and_whether_anything_lies_before_it() -> None:
    _, (first, later) = look([bar(3), bar(4), *(bar(minute) for minute in range(7, 10))])

    assert str(first) == (
        "BTC/USDT 1m hole: 3 bars from 1970-01-01T00:00:00.000Z to 1970-01-01T00:03:00.000Z are missing, "
        "and none lies before them"
    )
    assert later.detail == "2 bars from 1970-01-01T00:05:00.000Z to 1970-01-01T00:07:00.000Z are missing"


def test_a_hole_is_filled_with_the_close_before_it() -> None:
    taken, found = look([bar(0), bar(3), *(bar(minute) for minute in range(4, 10))], hole=Policy.FILL)

    flat = attrs.evolve(
        bar(1),
        open=Decimal(105),
        high=Decimal(105),
        low=Decimal(105),
        volume=Decimal(0),
        quote_volume=Decimal(0),
        trades=0,
    )
    assert taken[1] == flat
    assert taken[2] == attrs.evolve(flat, open_ns=2 * NS_PER_MINUTE, close_ns=3 * NS_PER_MINUTE)
    assert len(taken) == 10
    assert kinds(found) == [HOLE]


def test_a_hole_with_nothing_before_it_stays_and_with_the_bar_before_it_does_not() -> None:
    late = [bar(minute) for minute in range(1, 10)]

    assert look(late, hole=Policy.FILL)[0] == tuple(late)
    taken, _ = look(late, before=bar(-1), hole=Policy.FILL)
    assert [one.open_ns // NS_PER_MINUTE for one in taken] == list(range(10))
    assert filled([], [(0, NS_PER_MINUTE)]) == ()


def test_a_hole_can_be_refused_or_passed_over() -> None:
    with pytest.raises(GapError, match=r"1 bars from .* Nothing is taken: the policy for 'hole' is 'raise'"):
        look(minutes(9), hole=Policy.RAISE)
    assert look(minutes(9), hole=Policy.KEEP) == (tuple(minutes(9)), ())


@pytest.mark.parametrize(
    ("wrong", "kind", "text"),
    [
        ({"low": Decimal(101)}, FindingKind.SHAPE, "has open 100, high 110, low 101, close 105"),
        ({"high": Decimal(104)}, FindingKind.SHAPE, "has open 100, high 104, low 90, close 105"),
        ({"close_ns": 7 * NS_PER_MINUTE}, FindingKind.SHAPE, "is none of 1m: it ends at 1970-01-01T00:07:00.000Z"),
        ({"open": Decimal(0), "low": Decimal(0)}, FindingKind.NOT_POSITIVE, "has open 0, high 110, low 0"),
        ({"volume": Decimal(-1)}, FindingKind.NOT_POSITIVE, "volume -1"),
    ],
)
def test_a_bar_that_cannot_be_true_is_refused_and_may_be_dropped_marked_or_kept(
    wrong: dict[str, Any], kind: FindingKind, text: str
) -> None:
    bars = minutes()
    bars[5] = attrs.evolve(bars[5], **wrong)
    name = kind.name.lower()
    rest = [*bars[:5], *bars[6:]]

    with pytest.raises(DataError, match=text):
        look(bars)
    taken, found = look(bars, hole=Policy.KEEP, **{name: Policy.DROP})
    assert (list(taken), kinds(found)) == (rest, [kind])
    taken, found = look(bars, hole=Policy.KEEP, **{name: Policy.MARK})
    assert (list(taken), kinds(found)) == (bars, [kind])
    assert look(bars, hole=Policy.KEEP, **{name: Policy.KEEP}) == (tuple(bars), ())


def test_a_bar_that_comes_twice_is_taken_once() -> None:
    bars = minutes()

    taken, found = look([*bars[:4], bars[3], attrs.evolve(bars[3], volume=Decimal(8)), *bars[4:]])

    assert taken == tuple(bars)
    assert [finding.detail.partition("Z ")[2] for finding in found] == ["comes twice", "comes twice, and not the same"]
    with pytest.raises(DataError, match="comes twice"):
        look([bars[0], *bars], duplicate=Policy.RAISE)


def test_bars_out_of_order_are_refused_or_left_out() -> None:
    bars = minutes()
    mixed = [*bars[:3], bars[4], bars[3], *bars[5:]]

    with pytest.raises(DataError, match=r"00:03:00.000Z comes after that of 1970-01-01T00:04:00.000Z"):
        look(mixed)
    taken, found = look(mixed, disorder=Policy.DROP)
    assert taken == (*bars[:3], *bars[4:])
    assert kinds(found) == [FindingKind.DISORDER, HOLE]


def test_a_bar_that_was_not_over_is_left_out_whatever_it_says() -> None:
    bars = [*minutes(9), attrs.evolve(bar(9), is_closed=False)]
    late = examined(
        minutes(), symbol="BTC/USDT", interval=MINUTE, span=(0, 9 * NS_PER_MINUTE), settled_ns=9 * NS_PER_MINUTE
    )

    taken, found = look(bars, hole=Policy.KEEP)

    assert taken == late[0] == tuple(minutes(9))
    assert kinds(found) == kinds(late[1]) == [FindingKind.UNFINISHED]
    with pytest.raises(DataError, match="that was not certainly over"):
        look(bars, unfinished=Policy.RAISE)


def quiet(count: int) -> list[Bar]:
    return minutes(count, open=Decimal(100), high=Decimal("100.01"), low=Decimal("99.99"), close=Decimal(100))


def test_a_spike_is_told_and_only_after_enough_bars_have_said_what_is_usual() -> None:
    bars = quiet(100)
    for minute in (10, 80):
        bars[minute] = attrs.evolve(bars[minute], low=Decimal("98.9"))
    bars[90] = attrs.evolve(bars[90], high=Decimal("100.9"))  # far, and less than a hundredth

    taken, (spike,) = look(bars, 100)

    assert taken == tuple(bars)
    assert spike.start_ns == 80 * NS_PER_MINUTE
    assert spike.detail.endswith("reaches 1.1 away from 100; the median range before it was 0.02")
    assert len(look(bars, 100, spike=Policy.DROP, hole=Policy.KEEP)[0]) == 99


def test_after_a_hole_the_bars_own_open_is_what_it_is_measured_from() -> None:
    bars = quiet(100)
    jumped = [
        attrs.evolve(one, open=Decimal(120), high=Decimal(120), low=Decimal(120), close=Decimal(120))
        for one in bars[60:]
    ]

    assert kinds(look([*bars[:50], *jumped], 100)[1]) == [HOLE]
    assert kinds(look([*bars[:60], *jumped], 100)[1]) == [FindingKind.SPIKE]


def test_two_tellings_of_a_bar_are_compared_in_what_both_tell() -> None:
    kept = [bar(0), attrs.evolve(bar(1), quote_volume=None), attrs.evolve(bar(2), volume=Decimal(2), trades=1)]

    (finding,) = disagreements(kept, [*minutes(4)], source="archive")

    assert finding.kind is FindingKind.DISAGREEMENT
    assert finding.detail == (
        "the bar of 1970-01-01T00:02:00.000Z was kept with volume 2, trades 1, archive has volume 7, trades 3"
    )
    fresh = minutes(4)
    assert resolved(fresh, (), Policies()) == (tuple(fresh), ())
    assert resolved(fresh, (finding,), Policies()) == (tuple(fresh), (finding,))
    assert resolved(fresh, (finding,), Policies(disagreement=Policy.KEEP)) == (tuple(fresh), ())
    assert resolved(fresh, (finding,), Policies(disagreement=Policy.DROP)) == ((*fresh[:2], fresh[3]), (finding,))
    with pytest.raises(DataError, match="was kept with volume 2"):
        resolved(fresh, (finding,), Policies(disagreement=Policy.RAISE))


@pytest.mark.parametrize(
    ("name", "policy"),
    [("hole", Policy.DROP), ("duplicate", Policy.KEEP), ("unfinished", Policy.MARK), ("spike", Policy.FILL)],
)
def test_a_policy_that_makes_no_sense_is_refused(name: str, policy: Policy) -> None:
    with pytest.raises(ValueError, match=f"{name} cannot be '{policy.value}': choose one of 'raise', "):
        Policies(**{name: policy})


def test_bars_of_months_have_holes_of_months() -> None:
    month = Interval.parse("1M")
    jan, mar = bar(0, interval=month), bar(59 * 24 * 60, interval=month)

    _, (hole,) = examined([jan, mar], symbol="BTC/USDT", interval=month, span=(0, mar.close_ns), settled_ns=2**62)

    assert (hole.start_ns, hole.end_ns) == (jan.close_ns, mar.open_ns)
    assert hole.detail.startswith("1 bars from 1970-02-01")


def test_a_time_at_which_it_does_not_trade_is_no_hole_and_gets_no_bars() -> None:
    hours = (TradingHours(open_s=120, close_s=300), TradingHours(open_s=420, close_s=540))
    calendar = Calendar(name="short", hours=hours, weekend=frozenset())
    bars = [bar(2), bar(3), bar(4), bar(8)]

    taken, told = look(bars, calendar=calendar, hole=Policy.FILL)

    assert [each.open_ns // NS_PER_MINUTE for each in taken] == [2, 3, 4, 7, 8]
    assert [(each.start_ns // NS_PER_MINUTE, each.end_ns // NS_PER_MINUTE) for each in told] == [(7, 8)]
