"""How long a stream may be silent before it is doubted, judged by how silent it has been."""

import attrs

__all__ = ("Gaps", "Patience", "observe", "patience_s")

_FADE = 0.98  # of the longest pause, with each look: a market that has become busy is watched more closely again
_TIMES = 4.0  # the longest pause lately
_FEW = 3  # looks that say nothing yet


@attrs.frozen(kw_only=True)
class Patience:
    """The least and the most a stream is waited for, in seconds of wall time."""

    floor_s: float = attrs.field(default=5.0, validator=attrs.validators.gt(0.0))
    ceiling_s: float = attrs.field(default=120.0, validator=attrs.validators.gt(0.0))


@attrs.frozen(kw_only=True)
class Gaps:
    """What is remembered of a stream's pauses: the longest one lately, and how often it was looked at."""

    longest_s: float = 0.0
    looks: int = 0


def observe(gaps: Gaps, *, longest_s: float) -> Gaps:
    """Return what is remembered after a look that found ``longest_s`` to be the longest pause since the one before."""
    return Gaps(longest_s=max(longest_s, gaps.longest_s * _FADE), looks=gaps.looks + 1)


def patience_s(gaps: Gaps, patience: Patience) -> float:
    """Return how long the stream may be silent: the ceiling while little is known of it."""
    if gaps.looks < _FEW:
        return patience.ceiling_s
    return min(max(_TIMES * gaps.longest_s, patience.floor_s), patience.ceiling_s)
