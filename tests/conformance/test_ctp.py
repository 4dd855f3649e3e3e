"""CTP's cards. The binding it loads is patched for the whole process, so that process is not the tests' own."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.measured import python

DEADLINE_S = 240.0


@pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("openctp_ctp") is None,
    reason="CTP's binding, or what stands behind it here, is not there",
)
@pytest.mark.parametrize(
    "groups", ["LOAD INS HIS STR ORD CPX ACC FUT CLK ERR END", "FLT RST LIM"], ids=["its-ports", "its-runs"]
)
def test_ctp_passes_every_card_that_is_about_what_it_declares(groups: str, root: Path, tmp_path: Path) -> None:
    named = [word for group in groups.split() for word in ("--group", group)]
    done = subprocess.run(
        python("-m", "btx", "conformance", "ctp", "--json", str(tmp_path / "card.json"), *named),
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )

    (card,) = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert [each["number"] for each in card["cards"] if each["outcome"] == "failed"] == [], done.stdout[-4000:]
    assert card["totals"]["passed"] > 25
    assert done.returncode == 0, done.stderr
