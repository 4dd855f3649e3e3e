"""The door for pytest, as another process sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
from btx.testing import VenueConformance
from btx.testing.toy import plugin


class TestToy(VenueConformance):
    venue = "toy"
    plugin = plugin
    markets = ("spot",)
    groups = ("LOAD",)
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "btx_pytest", "-p", "no:cacheprovider", *arguments, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "test_toy.py").write_text(SUITE, encoding="utf-8")
    return folder


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_cards_are_written_and_skips_are_told_with_their_reasons(suite: Path, workers: tuple[str, ...]) -> None:
    report = suite / "cards.json"

    done = run_pytest(suite, "--conformance-json", str(report), "--conformance-date", "2026-05-01", *workers)

    assert done.returncode == 0, done.stdout + done.stderr
    (card,) = json.loads(report.read_text(encoding="utf-8"))
    assert (card["venue"], card["market"], card["date"]) == ("toy", "spot", "2026-05-01")
    assert card["totals"]["failed"] == 0
    assert [each["number"] for each in card["cards"]][:2] == ["LOAD-01", "LOAD-02"]
    assert f"toy spot: {card['totals']['passed']} passed" in done.stdout
    assert "LOAD-13 left out: the adapter is not installed" in done.stdout


def test_the_door_imports_nothing_of_btx_before_a_card_was_played(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\n\ndef test_plain():\n    assert 'btx' not in sys.modules\n",
        encoding="utf-8",
    )

    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout
    assert "conformance" not in done.stdout
