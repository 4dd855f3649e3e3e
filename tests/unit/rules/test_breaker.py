import functools

import attrs
import pytest

from btx.model.time import NS_PER_S
from btx.rules.breaker import Breaker, admit, admitted, heard, released

fail = functools.partial(heard, success=False)
succeed = functools.partial(heard, success=True)


def opened(*, at_ns: int = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        breaker = fail(breaker, now_ns=at_ns)
    return breaker


def half_open(*, trials: int = 0) -> Breaker:
    breaker = opened()
    for _ in range(trials):
        breaker = admitted(breaker, now_ns=60 * NS_PER_S)
    return breaker


def test_four_failures_and_a_success_are_no_reason_to_stop() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(4):
            breaker = fail(breaker, now_ns=0)
        breaker = succeed(breaker, now_ns=0)

    assert breaker == Breaker()
    assert succeed(breaker, now_ns=0) is breaker
    assert admitted(breaker, now_ns=0) is breaker
    assert admit(breaker, now_ns=0) == 0


def test_five_failures_in_a_row_open_it_for_a_minute() -> None:
    breaker = opened(at_ns=7)

    assert admit(breaker, now_ns=7) == 60 * NS_PER_S
    assert admit(breaker, now_ns=6 + 60 * NS_PER_S) == 1
    assert admit(breaker, now_ns=7 + 60 * NS_PER_S) == 0


def test_what_is_heard_late_of_requests_from_before_changes_nothing() -> None:
    breaker = opened()

    assert fail(breaker, now_ns=NS_PER_S) is breaker
    assert admitted(breaker, now_ns=NS_PER_S) is breaker  # a cancel that left all the same is no trial


def test_half_open_three_may_try_and_their_success_closes_it() -> None:
    breaker, now_ns = half_open(trials=3), 61 * NS_PER_S

    assert admit(breaker, now_ns=now_ns) == 59 * NS_PER_S
    for _ in range(3):
        assert breaker.opened_ns is not None
        breaker = succeed(breaker, now_ns=now_ns)

    assert breaker == attrs.evolve(Breaker(), trial_ns=breaker.trial_ns)


@pytest.mark.parametrize("successes", [0, 1, 2])
def test_half_open_one_failure_opens_it_again(successes: int) -> None:
    breaker, now_ns = half_open(trials=3), 62 * NS_PER_S
    for _ in range(successes):
        breaker = succeed(breaker, now_ns=now_ns)

    breaker = fail(breaker, now_ns=now_ns)

    assert admit(breaker, now_ns=now_ns) == 60 * NS_PER_S
    assert (breaker.trials, breaker.succeeded) == (0, 0)


def test_a_success_while_open_is_a_proof_and_makes_it_half_open_at_once() -> None:
    breaker = succeed(opened(), now_ns=3 * NS_PER_S)

    assert admit(breaker, now_ns=3 * NS_PER_S) == 0
    for _ in range(2):
        breaker = succeed(breaker, now_ns=3 * NS_PER_S)
    assert breaker.opened_ns is None


def test_a_trial_that_was_given_up_leaves_room_for_another() -> None:
    assert admit(released(half_open(trials=3)), now_ns=60 * NS_PER_S) == 0
    assert released(Breaker()) == Breaker()


def test_trials_that_are_never_heard_of_do_not_keep_it_half_open_for_ever() -> None:
    breaker = half_open(trials=3)

    assert admit(breaker, now_ns=120 * NS_PER_S) == 0
    assert admitted(breaker, now_ns=120 * NS_PER_S).trials == 1
