"""A user's own file as a strategy: found, imported as Python does it, or told in one sentence why not."""

import signal
import sys
from pathlib import Path

import pytest

from btx.bt.witness import load_strategy
from btx.errors import ConfigError

MINE = """
import backtrader as bt


class Mine(bt.Strategy):
    pass
"""


@pytest.fixture(autouse=True)
def _modules_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})


def test_a_strategy_may_be_called_like_a_module_that_others_need(tmp_path: Path) -> None:
    (tmp_path / "signal.py").write_text(MINE)

    assert load_strategy(str(tmp_path / "signal.py")).__name__ == "Mine"
    assert sys.modules["signal"] is signal


def test_what_lies_beside_a_strategy_can_be_imported_and_hides_nothing_installed(tmp_path: Path) -> None:
    (tmp_path / "helpers_of_mine.py").write_text("PERIOD = 7\n")
    (tmp_path / "backtrader.py").write_text("raise SystemError('hidden')\n")
    (tmp_path / "mine.py").write_text(f"from helpers_of_mine import PERIOD\n{MINE}    period = PERIOD\n")

    assert load_strategy(f"{tmp_path / 'mine.py'}:Mine").period == 7


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("notes.md", "# Mine", r"notes\.md is no Python file: name the strategy like strategy\.py:MyStrategy$"),
        ("mine.py", "class Mine(", r"mine\.py cannot be imported: SyntaxError"),
        ("mine.py", "import sys\nsys.exit('no key')", r"mine\.py cannot be imported: it ends the process \(no key\)"),
        ("mine.py", "x = 1", r"mine\.py has no strategy: write a class in it that derives from bt\.Strategy$"),
    ],
)
def test_a_file_that_is_no_strategy_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=sentence):
        load_strategy(str(tmp_path / name))
