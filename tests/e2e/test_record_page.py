"""The commands of docs/how-to/record.md, as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "record.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL)
    commands = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert commands[0] == "BTX_RECORD=recordings python examples/ten_lines.py"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "mine.py").write_text(
        "import backtrader as bt\nclass Mine(bt.Strategy):\n    def next(self):\n        self.buy(size=1)\n",
        encoding="utf-8",
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, call in {"python": "", "btx": "-m btx "}.items():
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {call}"$@"\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "BTX_HOME": str(tmp_path / "home")}

    for command in commands:
        quick = command.replace("--speed 60", "--speed 1000000")  # half a day at a minute a second takes long
        done = subprocess.run(
            quick, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        if "--json" in command:
            assert json.loads(done.stdout)["equal"] is True
