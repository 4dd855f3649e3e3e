"""Python in a process of its own, measured where the tests are: what patches a library must not do so in theirs."""

import sys
from pathlib import Path

import coverage

__all__ = ("python",)

_ROOT = Path(__file__).parents[2]


def python(*arguments: str) -> list[str]:
    """Return the command of a Python process; its coverage is combined with that of the tests."""
    if coverage.Coverage.current() is None:
        return [sys.executable, *arguments]
    places = (f"--rcfile={_ROOT / 'pyproject.toml'}", f"--data-file={_ROOT / '.coverage'}")
    return [sys.executable, "-m", "coverage", "run", "--parallel-mode", *places, *arguments]
