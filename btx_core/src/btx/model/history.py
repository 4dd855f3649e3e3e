"""Bars that are kept: which there are, and what is wrong with them."""

import enum

import attrs

from btx.model.time import Interval

__all__ = ("Damage", "Finding", "FindingKind", "Policy", "Span", "Stock")

Span = tuple[int, int]
"""``[start_ns, end_ns)``; of bars: those that open in it."""


@attrs.frozen(kw_only=True)
class Stock:
    """One month of one instrument at one interval, as it is kept."""

    symbol: str
    interval: Interval
    start_ns: int  # of the month
    end_ns: int
    covered: tuple[Span, ...]  # where the venue was asked: a bar that is missing here it does not have
    bars: int
    size_bytes: int
    sources: tuple[str, ...]  # "archive", "rest", ...
    remarks: tuple[str, ...]  # what was found when it was fetched, and kept
    place: str  # where it is, for people


@attrs.frozen(kw_only=True)
class Damage:
    """A piece of the cache that cannot be trusted, and why."""

    place: str
    reason: str


class FindingKind(enum.Enum):
    """What may be wrong with bars."""

    HOLE = "hole"  # bars are missing in between
    DUPLICATE = "duplicate"  # a second bar of the same open time
    DISORDER = "disorder"  # a bar that opens before the one it follows
    SHAPE = "shape"  # low <= open, close <= high does not hold, or it opens where no bar of its interval does
    NOT_POSITIVE = "not positive"  # a price of zero or below, a volume below zero
    SPIKE = "spike"  # far outside of what the bars before it did
    UNFINISHED = "unfinished"  # it was, or is, taken before its close
    DISAGREEMENT = "disagreement"  # two sources say different things of the same bar


class Policy(enum.Enum):
    """What to do about a finding."""

    RAISE = "raise"  # take nothing, and say so
    DROP = "drop"  # leave the bar out, and say so
    MARK = "mark"  # keep it, say so, and write it down with the bars
    FILL = "fill"  # put bars in a hole: the close before it, volume zero; say so and write it down
    KEEP = "keep"  # keep it and say nothing


@attrs.frozen(kw_only=True)
class Finding:
    """Something wrong with the bars that open in ``[start_ns, end_ns)``."""

    kind: FindingKind
    symbol: str
    interval: Interval
    start_ns: int
    end_ns: int
    detail: str

    def __str__(self) -> str:
        return f"{self.symbol} {self.interval} {self.kind.value}: {self.detail}"
