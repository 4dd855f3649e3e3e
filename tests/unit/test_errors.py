import inspect

import pytest

from btx import errors


def classes() -> list[type[errors.BtxError]]:
    found = vars(errors).values()
    return [one for one in found if inspect.isclass(one) and issubclass(one, errors.BtxError)]


def test_every_error_is_public_and_drawn_in_the_tree() -> None:
    drawn = {line.split()[-1] for line in _tree()}

    assert {one.__name__ for one in classes()} == set(errors.__all__) == drawn


def test_the_drawing_is_the_tree() -> None:
    parents: list[str] = []
    for line in _tree():
        depth, name = (len(line) - len(line.split()[-1])) // 4, line.split()[-1]
        parents = [*parents[:depth], name]
        if depth:
            assert getattr(errors, name).__bases__[0].__name__ == parents[depth - 1]


def _tree() -> list[str]:
    """Return the lines of the drawing, each cut behind its class."""
    drawing = (errors.__doc__ or "").split("::", 1)[1].split("Three questions")[0]
    lines = [line.removeprefix("    ") for line in drawing.splitlines()]
    return [line[: line.index("Error") + len("Error")] for line in lines if "Error" in line]


def test_each_class_says_what_it_means() -> None:
    assert all((one.__doc__ or "").strip() for one in classes())


def test_a_lost_answer_is_no_plain_transport_error_to_retry() -> None:
    assert issubclass(errors.OutcomeUnknownError, errors.TransportError)
    assert not issubclass(errors.OutcomeUnknownError, errors.VenueError)


def test_a_venues_answer_keeps_its_code() -> None:
    assert errors.InsufficientFundsError("no money", code=-2010).code == -2010
    assert errors.VenueError("no").code is None


def test_a_rate_limit_says_when_to_come_back() -> None:
    error = errors.RateLimitedError("slow down", retry_after_s=3.5, code=-1003)

    assert (str(error), error.retry_after_s, error.code) == ("slow down", 3.5, -1003)


@pytest.mark.parametrize("error", classes())
def test_one_except_catches_them_all(error: type[errors.BtxError]) -> None:
    assert issubclass(error, errors.BtxError)
