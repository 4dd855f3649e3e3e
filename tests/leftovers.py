"""What a test leaves behind: threads and processes that were not there before it."""

import contextlib
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

_DEADLINE_S = 60.0
_PYTHONS_OWN = "asyncio-waitpid"  # has seen a child end, told its loop, and is about to end itself


def threads_left(before: AbstractSet[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that were not there before. Python's own, which nobody can join, may take their time."""
    for each in threading.enumerate():
        if each.name.startswith(_PYTHONS_OWN) and each not in before:
            each.join(_DEADLINE_S)
    return set(threading.enumerate()) - before


def children_of(pid: int) -> set[int]:
    """Return the living child processes of ``pid``, from /proc."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        pytest.skip("this test reads /proc")
    found: set[int] = set()
    for task in tasks.iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended meanwhile
            found.update(map(int, (task / "children").read_text().split()))
    return {child for child in found if is_alive(child)}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
