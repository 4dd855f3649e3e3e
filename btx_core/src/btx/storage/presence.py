"""``running.json``: who trades on an account now, and in a simulated world, where that world is."""

import json
from pathlib import Path

import attrs

from btx.storage.places import write_whole

__all__ = ("Presence", "read_presence", "remove_presence", "write_presence")

_FILE = "running.json"


@attrs.frozen(kw_only=True)
class Presence:
    """What a process said of itself; whether it still runs, the lock of the journal tells.

    ``endpoints_json`` is as ``btx.sim.server.endpoints_to_json`` writes it, None for a real venue.
    """

    pid: int
    endpoints_json: str | None = attrs.field(default=None, repr=False)  # the keys of simulated accounts are in it


def write_presence(folder: Path, *, pid: int, endpoints_json: str | None = None) -> None:
    """Say that process ``pid`` trades on the account of this folder.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / _FILE, json.dumps({"pid": pid, "endpoints_json": endpoints_json}))


def read_presence(folder: Path) -> Presence | None:
    """Return what was said last, None when nothing was, or nothing that can be read."""
    try:
        fields = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return Presence(pid=int(fields["pid"]), endpoints_json=fields["endpoints_json"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_presence(folder: Path) -> None:
    """Take it back at the end. Idempotent."""
    (folder / _FILE).unlink(missing_ok=True)
