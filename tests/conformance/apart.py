"""Cards in a process of their own: what is loaded there is patched for the whole process."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.measured import python

DEADLINE_S = 240.0

needs_ctp = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("openctp_ctp") is None,
    reason="CTP's binding, or what stands behind it here, is not there",
)


def none_fails(venue: str, *groups: str, folder: Path) -> None:
    """Play these groups of a venue's cards, of which none may fail."""
    named = [word for group in groups for word in ("--group", group)]
    done = subprocess.run(
        python("-m", "btx", "conformance", venue, "--json", str(folder / "card.json"), *named),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )

    (card,) = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert [each["number"] for each in card["cards"] if each["outcome"] == "failed"] == [], done.stdout[-4000:]
    assert card["totals"]["passed"] > 25
    assert done.returncode == 0, done.stderr
