"""A circuit breaker: after failures in a row nothing is tried for a while, then a little, then everything again."""

from typing import Final

import attrs

__all__ = ("Breaker", "admit", "admitted", "heard", "released")

_NS_PER_S: Final = 1_000_000_000


@attrs.frozen(kw_only=True)
class Breaker:
    """Closed while ``opened_ns`` is None; open for ``open_ns`` from it; then half open.

    Half open lets ``successes`` trials leave, and closes when as many succeeded.
    """

    failures: int = 5  # in a row, that open it
    open_ns: int = 60 * _NS_PER_S
    successes: int = 3  # while half open, that close it
    failed: int = 0
    opened_ns: int | None = None
    trials: int = 0  # under way or answered since it is half open
    trial_ns: int = 0  # when the last of them left
    succeeded: int = 0


def admit(breaker: Breaker, *, now_ns: int) -> int:
    """Return how long until the next request may be tried, 0 for now; nothing is taken."""
    if breaker.opened_ns is None:
        return 0
    if now_ns < breaker.opened_ns + breaker.open_ns:
        return breaker.opened_ns + breaker.open_ns - now_ns
    # A trial that is never heard of must not keep it half open for ever.
    if breaker.trials < breaker.successes or now_ns >= breaker.trial_ns + breaker.open_ns:
        return 0
    return breaker.trial_ns + breaker.open_ns - now_ns


def admitted(breaker: Breaker, *, now_ns: int) -> Breaker:
    """Return the breaker after a request left: while half open it is one of the trials."""
    if breaker.opened_ns is None or now_ns < breaker.opened_ns + breaker.open_ns:
        return breaker
    stale = breaker.trials >= breaker.successes
    return attrs.evolve(breaker, trials=1 if stale else breaker.trials + 1, trial_ns=now_ns)


def heard(breaker: Breaker, *, success: bool, now_ns: int) -> Breaker:
    """Return the breaker after an answer, or after it was given up.

    A success while open (of a request that is never held back) proves the venue
    is there: half open at once.  A failure while half open opens it again.
    """
    if breaker.opened_ns is None:
        if success:
            return breaker if not breaker.failed else attrs.evolve(breaker, failed=0)
        failed = breaker.failed + 1
        if failed < breaker.failures:
            return attrs.evolve(breaker, failed=failed)
        return _opened(breaker, now_ns)
    is_open = now_ns < breaker.opened_ns + breaker.open_ns
    if not success:
        return breaker if is_open else _opened(breaker, now_ns)
    if breaker.succeeded + 1 >= breaker.successes:
        return attrs.evolve(breaker, failed=0, opened_ns=None, trials=0, succeeded=0)
    opened_ns = now_ns - breaker.open_ns if is_open else breaker.opened_ns
    return attrs.evolve(breaker, opened_ns=opened_ns, succeeded=breaker.succeeded + 1)


def released(breaker: Breaker) -> Breaker:
    """Return the breaker after a trial was given up without an outcome: another may be made."""
    return attrs.evolve(breaker, trials=max(0, breaker.trials - 1))


def _opened(breaker: Breaker, now_ns: int) -> Breaker:
    return attrs.evolve(breaker, failed=breaker.failures, opened_ns=now_ns, trials=0, succeeded=0)
