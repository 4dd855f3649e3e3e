"""The lines of a paper account: what cannot be read is named, never guessed."""

import pytest

from btx.errors import DataError
from btx.sim.paper_ledger import Opening, opening_line, read_lines
from tests.values import d

OPENING = opening_line(Opening(balances={"USDT": d(5)}, time_ns=7))


def test_an_account_without_lines_is_none() -> None:
    assert read_lines([]) is None


def test_an_account_begins_with_what_it_was_opened_with() -> None:
    books = read_lines([f"{OPENING}\n"])

    assert books is not None
    assert books.balances["USDT"].free == 5
    assert books.time_ns == 7


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        (['{"kind":"event"}\n'], 1),
        ([f"{OPENING}\n", "nonsense\n"], 2),
        ([f"{OPENING}\n", '{"kind":"of another age"}\n'], 2),
        ([f"{OPENING}\n", '{"kind":"event","order":{}}\n'], 2),
    ],
)
def test_a_line_that_cannot_be_read_is_named(lines: list[str], number: int) -> None:
    with pytest.raises(DataError, match=f"line {number} of the paper account"):
        read_lines(lines)
