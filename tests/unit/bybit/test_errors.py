"""What Bybit's refusals mean where the status of the answer, or the code's number, would say something else."""

import pytest

from btx.bridges.verdicts import Answer, Operation, error_of
from btx.errors import BtxError, ClockError, OutcomeUnknownError, RateLimitedError, TransportError
from btx_bybit.errors import VERDICTS


def _error(code: str | None, *, status: int = 200, operation: Operation = Operation.READ) -> BtxError:
    answer = Answer(status=status, code=code, message="no")
    return error_of(answer, venue="Bybit", operation=operation, verdicts=VERDICTS, now_ms=0)


@pytest.mark.parametrize("operation", tuple(Operation))
def test_a_venue_that_protects_itself_asks_for_another_try_and_for_no_silence(operation: Operation) -> None:
    assert type(_error("10429", operation=operation)) is TransportError


@pytest.mark.parametrize("status", [200, 429])
def test_a_venue_under_load_may_have_done_what_it_was_asked(status: int) -> None:
    assert type(_error("429", status=status, operation=Operation.PLACE)) is OutcomeUnknownError
    assert type(_error("429", status=status, operation=Operation.CANCEL)) is OutcomeUnknownError
    assert type(_error("429", status=status)) is TransportError


@pytest.mark.parametrize(("code", "status"), [(None, 429), ("20003", 200), ("10006", 200)])
def test_who_asks_too_often_waits_for_a_second(code: str | None, status: int) -> None:
    error = _error(code, status=status)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after_s == 1.0


@pytest.mark.parametrize("code", ["-1", "10002"])
def test_a_request_that_has_expired_puts_the_clock_in_doubt(code: str) -> None:
    assert isinstance(_error(code, operation=Operation.PLACE), ClockError)
