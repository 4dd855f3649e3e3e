"""How long to wait before the next try."""

import attrs

__all__ = ("Backoff", "delay_s")

_positive = attrs.validators.gt(0.0)
_MOST_DOUBLINGS = 64  # beyond any cap, and far below what a float can hold


@attrs.frozen(kw_only=True)
class Backoff:
    """Waits that double from ``base_s`` up to ``cap_s`` seconds, spread by ``jitter`` to either side.

    The spread keeps many clients that lost one venue from dialling it again in step.
    """

    base_s: float = attrs.field(default=1.0, validator=_positive)
    cap_s: float = attrs.field(default=60.0, validator=_positive)
    jitter: float = attrs.field(default=0.5, validator=[attrs.validators.ge(0.0), attrs.validators.lt(1.0)])


def delay_s(backoff: Backoff, *, attempt: int, random: float) -> float:
    """Return the seconds to wait after ``attempt`` failed tries in a row; never above the cap.

    0 stands for a connection that was good for long and waits like 1.
    ``random`` is a number in [0, 1). The middle of the spread is lowered where
    the cap would cut it, so that long waits are spread like short ones.
    """
    doublings = min(max(attempt - 1, 0), _MOST_DOUBLINGS)
    middle_s = min(backoff.base_s * 2.0**doublings, backoff.cap_s / (1.0 + backoff.jitter))
    return middle_s * (1.0 + backoff.jitter * (2.0 * random - 1.0))
