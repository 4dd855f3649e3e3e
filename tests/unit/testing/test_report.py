from pathlib import Path

import pytest

from btx.errors import ConfigError
from btx.testing.card import Outcome, Result
from btx.testing.report import ConformanceCard, card_from_json, cards_to_json, gathered, read_cards

PASSED = Result(number="ORD-01", title="An order is taken", outcome=Outcome.PASSED, seconds=0.25)
SKIPPED = Result(number="FUT-01", title="It is on margin", outcome=Outcome.SKIPPED, reason="it is not")
FAILED = Result(number="LOAD-01", title="It loads", outcome=Outcome.FAILED, reason="it did not", seconds=1.5)


def card(*results: Result, market: str = "spot") -> ConformanceCard:
    return ConformanceCard(venue="kraken", market=market, version="1.2", api=0, core="0.1", results=results)


def test_a_card_counts_its_outcomes_and_names_failures_and_skips() -> None:
    one = card(PASSED, SKIPPED, FAILED)

    assert one.totals == {"passed": 1, "failed": 1, "skipped": 1}
    assert one.failures == (FAILED,)
    assert one.skips == (SKIPPED,)
    assert one.groups == ("LOAD", "ORD", "FUT")
    assert one.of("ORD") == (PASSED,)


def test_cards_come_back_from_a_file_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "conformance.json"
    cards = (card(PASSED, SKIPPED), card(FAILED, market="linear"))

    path.write_text(cards_to_json(cards), encoding="utf-8")

    assert read_cards(path) == cards
    assert '"date"' not in path.read_text(encoding="utf-8")


def test_results_that_were_played_one_by_one_are_one_card_per_market_in_order() -> None:
    played = [card(PASSED).to_json(), card(PASSED, market="linear").to_json(), card(FAILED).to_json()]

    linear, spot = gathered(played, date="2026-05-01")

    assert (linear.market, spot.market, spot.date) == ("linear", "spot", "2026-05-01")
    assert spot.results == (FAILED, PASSED)


@pytest.mark.parametrize("text", ["{}", "[{}]", "no JSON", '[{"venue": 1}]'])
def test_a_file_that_is_none_is_refused_with_a_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "conformance.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match="conformance card"):
        read_cards(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_cards(tmp_path / "missing.json")


def test_an_unknown_outcome_is_refused() -> None:
    read = card(PASSED).to_json()
    read["cards"][0]["outcome"] = "won"

    with pytest.raises(ConfigError, match="'won' is not a valid Outcome"):
        card_from_json(read)
