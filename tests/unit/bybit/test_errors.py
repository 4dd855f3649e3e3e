"""What Bybit's refusals mean where the status of the answer, or the code's number, would say something else."""

import pytest

from btx.bridges.verdicts import Answer, Operation, error_of
from btx.errors import (
    AuthenticationError,
    BtxError,
    ClockError,
    FilterError,
    InsufficientFundsError,
    OrderRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    TransportError,
    VenueError,
)
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


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("110066", OrderRejectedError),  # no trading now; in the manual of 2022: no unified account
        ("110067", AuthenticationError),
        ("110068", OrderRejectedError),
        ("170201", OrderRejectedError),  # orderFilter; in the manual of 2023: a restricted account
        ("170206", OrderRejectedError),
        ("170224", OrderRejectedError),  # of one coin, not of the key
        ("170034", InsufficientFundsError),
        *((code, FilterError) for code in ("110120", "110121", "170341", "170381", "170382", "170810", "3400139")),
        *((code, OutcomeUnknownError) for code in ("170032", "170035", "170234", "3400214", "110072", "170141")),
    ],
)
def test_a_code_says_the_same_of_an_order_in_every_edition_of_the_manual(code: str, error: type[BtxError]) -> None:
    assert type(_error(code, operation=Operation.PLACE)) is error


@pytest.mark.parametrize("code", ["170144", "170191", "110019"])
def test_a_cancel_that_was_not_taken_says_nothing_of_the_order(code: str) -> None:
    assert type(_error(code, operation=Operation.CANCEL)) is OrderRejectedError
    assert type(_error(code)) is VenueError
