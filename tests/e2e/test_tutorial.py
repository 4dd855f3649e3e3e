"""The tutorial's commands do what its pages say."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BRACKET = Path(__file__).parents[2] / "examples" / "bracket.py"
DEADLINE_S = 60


@pytest.fixture
def control() -> Iterator[str]:
    """A simulator that runs by itself, as the page starts it; what it prints as its control channel."""
    command = [sys.executable, "-m", "btx", "sim", "binance", "--speed", "60", "--detach"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        for line in simulator.stdout:
            if (found := re.match(r"\s+control channel\s+(\S+)", line)) is not None:
                break
        else:
            pytest.fail("the simulator printed no control channel")
        try:
            yield found[1]
        finally:
            simulator.send_signal(signal.SIGTERM)
            simulator.communicate(timeout=DEADLINE_S)


def run(control: str, home: Path, *, until: str) -> tuple[list[str], int]:
    """Run the script to a line that contains ``until``, then kill it; return its lines and how it ended."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-u", str(BRACKET), control],
        env={**os.environ, "BTX_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as script:
        assert script.stdout is not None
        for line in script.stdout:
            lines.append(line)
            if until in line:
                script.kill()
        return lines, script.wait(DEADLINE_S)


def test_a_script_that_was_killed_finds_its_exits_again_or_hears_what_filled_meanwhile(
    control: str, tmp_path: Path
) -> None:
    first, ended = run(control, tmp_path, until="bought at")
    assert ended == -signal.SIGKILL, first

    again, _ = run(control, tmp_path, until="at ")

    assert any("found again: " in line or "(while this process was not there)" in line for line in again), again


def test_an_address_that_is_no_control_channel_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, str(BRACKET), "ws://127.0.0.1:1/"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "no simulator answers there" in sentence
