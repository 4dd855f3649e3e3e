"""``btx conformance`` and ``btx venues``, at the desk."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from btx.cli import cli
from btx.defaults import open_venue
from btx.model.order import Leg
from btx.plugins import offer
from btx.testing.broken.variant import Variant
from btx.testing.card import GROUPS, Outcome, Result, registered
from btx.testing.report import ConformanceCard, cards_to_json, read_cards
from btx.testing.toy.broker import ToyBroker
from btx.tools.conformance import cards_page, shipped_cards


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(arguments))
    return done.exit_code, done.output


def test_cards_are_played_at_one_market_and_written(tmp_path: Path) -> None:
    report = tmp_path / "cards.json"

    code, output = run("conformance", "binance", "--market", "usdm", "--group", "LOAD", "--json", str(report))

    assert code == 0, output
    assert "Binance usdm" in output
    assert "✓ LOAD-01  The adapter speaks this core's hook API number" in output
    (card,) = read_cards(report)
    assert (card.venue, card.market, card.failures) == ("binance", "usdm", ())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("binance", "--market", "nowhere"), "binance has no market 'nowhere' here"),
        (("binance", "--group", "NONE"), "there is no group NONE"),
        (("nowhere",), "no adapter for 'nowhere' is installed"),
    ],
)
def test_what_is_not_there_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = CliRunner().invoke(cli, ["conformance", *arguments])

    assert done.exit_code != 0
    assert words in done.output + str(done.exception)


def test_what_btx_warns_of_is_shown_with_a_card_that_failed_and_with_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    code, output = run("conformance", "binance", "--market", "spot", "--card", "END-05")
    assert (code, caplog.records, "warned" in output) == (0, [], False)

    with offer("toy", _Deaf()):
        code, output = run("conformance", "toy", "--market", "spot", "--card", "END-05")
    assert (code, caplog.records) == (1, [])
    assert "✗ END-05" in output
    assert "warned: toy/sim/spot: open at the end, cancelled: BUY " in output


class _Deaf(Variant):
    """The toy venue, whose cancels are said to be done and are not."""

    def __init__(self) -> None:
        super().__init__(broker=_DeafBroker)


class _DeafBroker(ToyBroker):
    async def cancel(self, *, leg: Leg, venue_order_id: str | None) -> None: ...


def test_without_a_name_every_card_is_listed_and_the_page_is_made_of_them() -> None:
    code, output = run("conformance")
    _, page = run("conformance", "--markdown")

    assert code == 0
    assert len(output.splitlines()) == len(registered())
    assert page == cards_page()


def test_the_page_in_the_documentation_is_the_kit_as_it_is(root: Path) -> None:
    # Out of date? `btx conformance --markdown > docs/reference/conformance.md`
    assert (root / "docs" / "reference" / "conformance.md").read_text(encoding="utf-8") == cards_page()


ADAPTERS = ("binance", "bybit", "ctp", "futu")


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_brings_a_card_of_each_market_that_says_what_the_kit_says_and_has_no_failure(name: str) -> None:
    # Out of date? `btx conformance NAME --json adapters/btx_NAME/src/btx_NAME/conformance.json`
    cards, titles = shipped_cards(name), {number: each.title for number, each in registered().items()}

    assert [card.market for card in cards] == list(open_venue(name).info.markets)
    for card in cards:
        told = {each.number: each.title for each in card.results}
        assert told == {number: titles.get(number) for number in told}
        assert set(card.groups) == set(GROUPS)
        assert card.failures == ()


def test_the_list_of_venues_shows_the_cards_and_imports_no_adapter() -> None:
    code, output = run("venues")

    assert code == 0
    assert "binance  btx-binance" in output
    assert "  usdm: conformance " in output


def install(folder: Path, name: str, card: str, *, recorded: bool) -> None:
    """Put a distribution there whose adapter breaks as soon as it is imported, and whose card can be read or not."""
    package, info = folder / f"btx_{name}", folder / f"btx_{name}-1.0.dist-info"
    for each in (package, info):
        each.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('it was imported')\n", encoding="utf-8")
    (package / "conformance.json").write_text(card, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: btx-{name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[btx.venues]\n{name} = btx_{name}.plugin\n", encoding="utf-8")
    if recorded:
        (info / "RECORD").write_text(f"btx_{name}/conformance.json,,\n", encoding="utf-8")


@pytest.mark.parametrize("recorded", [True, False], ids=["from a wheel", "in its folder"])
def test_a_card_is_read_without_the_adapter_and_one_that_cannot_be_read_harms_nobody(
    *, recorded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Result(number="ORD-01", title="It is taken", outcome=Outcome.PASSED)
    words = {"version": "1.0", "api": 0, "core": "0.1", "date": "2026-05-01", "results": (result,)}
    card = ConformanceCard(venue="shown", market="spot", **words)
    install(tmp_path, "shown", cards_to_json([card]), recorded=recorded)
    install(tmp_path, "garbled", "{", recorded=recorded)
    monkeypatch.syspath_prepend(tmp_path)

    code, output = run("venues")

    assert code == 0
    assert shipped_cards("shown") == (card,)
    told = output.splitlines()
    (place,) = [number for number, line in enumerate(told) if line == "shown  btx-shown 1.0"]
    assert told[place + 1] == "  spot: conformance 1 passed, 0 failed, 0 skipped (version 1.0, 2026-05-01)"
    assert "cannot be read as conformance cards" in output
    assert "binance  btx-binance" in output
