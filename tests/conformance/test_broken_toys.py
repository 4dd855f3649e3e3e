"""The kit is tested, too: venues that each do one thing wrong, and the cards that must say so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from btx.testing import GROUPS, Outcome, conformance
from btx.testing.broken import BROKEN, Broken

TABLE = "docs/reference/conformance-toys.md"
DEADLINE_S = 2.0  # on loopback, and for what never comes


@pytest.mark.parametrize("broken", BROKEN, ids=[each.name for each in BROKEN])
def test_a_venue_that_does_one_thing_wrong_is_caught_by_the_cards_that_its_row_names(broken: Broken) -> None:
    card = conformance(
        "toy",
        plugin=broken.plugin,
        market=broken.market,
        numbers=broken.caught_by,
        deadline_s=DEADLINE_S,
    )

    assert broken.caught_by, "no card catches it"
    assert {result.number: result.outcome for result in card.results} == dict.fromkeys(broken.caught_by, Outcome.FAILED)


def test_every_group_of_cards_catches_one() -> None:
    caught = {number.partition("-")[0] for each in BROKEN for number in each.caught_by}

    assert caught == set(GROUPS)


def test_there_are_many_of_them_and_no_two_have_one_name() -> None:
    assert len({each.name for each in BROKEN}) == len(BROKEN) >= 20


def test_the_documentation_has_a_row_of_every_one(root: Path) -> None:
    text = (root / TABLE).read_text(encoding="utf-8")

    assert list(rows()) == [line for line in text.splitlines() if line.startswith("| `")], f"rows of {TABLE}"


def rows() -> Iterator[str]:
    """The rows of the table, as they must stand in the documentation."""
    for each in BROKEN:
        yield f"| `{each.name}` | {each.what} | {each.market} | {', '.join(each.caught_by)} |"
