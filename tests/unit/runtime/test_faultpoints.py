"""The points at which a process may be killed: each is reached where it says, and the kill is real."""

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

import btx
from btx.runtime.faultpoints import POINTS

SOURCES = Path(btx.__file__).parent
WHERE = {
    "group": "runtime/register.py",
    "intent": "runtime/register.py",
    "sent": "runtime/register.py",
    "send": "runtime/placing.py",
    "event": "runtime/register.py",
    "cancel": "runtime/changes.py",
    "replace": "runtime/changes.py",
    "delivered": "runtime/session.py",
    "recovery": "runtime/link.py",
}


def reached() -> Counter[tuple[str, str]]:
    """Count the calls of ``reach`` by point and file."""
    found: Counter[tuple[str, str]] = Counter()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reach":
                (point,) = node.args
                assert isinstance(point, ast.Constant), "a point is named where it is reached"
                found[point.value, str(path.relative_to(SOURCES))] += 1
    return found


def test_every_point_is_reached_in_its_places_and_every_place_is_a_point() -> None:
    kinds = {point: point.partition(".")[0] for point in POINTS}

    # An amendment leaves by two ways: in place, and as an order that replaces another.
    assert reached() == Counter({(point, WHERE[kind]): 1 + (kind == "replace") for point, kind in kinds.items()})


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = os.environ | {"PYTHONPATH": str(SOURCES.parent)} | variables
    command = [sys.executable, "-c", f"from btx.runtime.faultpoints import reach\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


REACHING = """
for point in ("send.after", "sent.after", "send.after", "send.after"):
    print(point, flush=True)
    reach(point)
print("end")
"""


@pytest.mark.parametrize(
    ("wanted", "lines"), [("send.after", 1), ("send.after:1", 1), ("send.after:2", 3), ("send.after:3", 4)]
)
def test_the_process_dies_the_nth_time_it_comes_to_the_point(wanted: str, lines: int) -> None:
    done = run(REACHING, BTX_FAULT_POINT=wanted)

    assert done.returncode == -signal.SIGKILL
    assert len(done.stdout.splitlines()) == lines


@pytest.mark.parametrize("variables", [{}, {"BTX_FAULT_POINT": "send.after:4"}, {"BTX_FAULT_POINT": "cancel.before"}])
def test_a_process_that_never_comes_there_lives(variables: dict[str, str]) -> None:
    done = run(REACHING, **variables)

    assert done.returncode == 0
    assert done.stdout.endswith("end\n")


def test_the_log_names_each_point_once_also_the_last(tmp_path: Path) -> None:
    log = tmp_path / "points"

    run(REACHING, BTX_FAULT_LOG=str(log), BTX_FAULT_POINT="send.after:2")
    assert log.read_text() == "send.after\nsent.after\n"

    run("reach('cancel.before')", BTX_FAULT_LOG=str(log))
    assert log.read_text() == "send.after\nsent.after\ncancel.before\n"


def test_a_point_that_is_none_is_an_error_that_lists_them() -> None:
    done = run("", BTX_FAULT_POINT="send.befor:2")

    assert done.returncode == 1
    assert "BTX_FAULT_POINT=send.befor:2: there is no point of this name" in done.stderr
    assert all(point in done.stderr for point in POINTS)


@pytest.mark.parametrize("count", ["0", "x", "-1", "1.5"])
def test_a_count_that_is_none_is_an_error(count: str) -> None:
    done = run("", BTX_FAULT_POINT=f"send.after:{count}")

    assert done.returncode == 1
    assert "after the colon comes how often it is reached" in done.stderr
