"""Where an account's files lie, and how one is written so that nobody reads half of it."""

import hashlib
import os
from pathlib import Path

from btx.errors import ConfigError
from btx.model.venue import Environment

__all__ = ("JOURNAL", "PAPER_ACCOUNT", "account_folder", "account_mark", "history_folder", "write_whole")

JOURNAL = "journal.sqlite"
PAPER_ACCOUNT = "paper.jsonl"
_REAL = "real"  # the world of an environment that has no other


def account_mark(api_key: str) -> str:
    """Return eight characters that tell accounts apart and no key."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:8]


def account_folder(
    home: Path, *, venue: str, environment: Environment, market: str, api_key: str, world: str | None = None
) -> Path:
    """Return the folder of an account's journal: home/venue/environment/market/account/world.

    ``world`` is the name a simulated world is kept under; a real venue has one world.
    """
    return home / venue / environment.value / market / account_mark(api_key) / (world or _REAL)


def history_folder(home: Path, *, venue: str, environment: Environment, market: str, world: str | None = None) -> Path:
    """Return the folder of a market's bars: home/history/venue/world/market.

    What trades on the venue's own prices shares them: backtest, paper and live are one world, the test net
    another, and each simulated world (``world`` is its mark) is one of its own.

    Raises:
        ConfigError: a simulated world has no mark.
    """
    if environment is Environment.SIM:
        if not world:
            raise ConfigError("a simulated world's history is kept under its mark, and this one has none")
        name = f"sim-{world}"
    else:
        name = "testnet" if environment is Environment.TESTNET else "live"
    return home / "history" / venue / name / market


def write_whole(path: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, for its owner's eyes; make its folder if need be.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, text.encode())
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
