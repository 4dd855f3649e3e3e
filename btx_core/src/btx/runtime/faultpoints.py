"""Named points of the order path at which a test, or ``btx chaos``, may kill the process.

``BTX_FAULT_POINT=send.before:3`` ends the process, as ``kill -9`` does, when it comes
to that point for the third time; ``BTX_FAULT_LOG`` names a file to which each point is
appended the first time it is reached.  Without these nothing happens here.
"""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from btx.errors import ConfigError

__all__ = ("POINTS", "arm", "reach")

POINTS: Mapping[str, str] = {
    "group.before": "before a bracket or OCO group is written down",
    "group.after": "after it is on disk, before its first order",
    "intent.before": "before an order's intent is written down",
    "intent.after": "after it is on disk",
    "sent.before": "before it is written down that the order leaves now",
    "sent.after": "after that is on disk, before the first byte leaves",
    "send.after": "after the venue answered the placement, before anything is made of it",
    "event.before": "before something the venue said of an order is taken",
    "event.after": "after it was taken and handed to the journal",
    "cancel.before": "before a cancel leaves",
    "cancel.after": "after the venue answered it",
    "replace.before": "before an amendment leaves",
    "replace.after": "after the venue answered it",
    "delivered.before": "before it is written down that the strategy was told of a fill",
    "delivered.after": "after it was handed to the journal",
    "recovery.before": "a restart, before the journal is read",
    "recovery.read": "a restart, after the journal is read, before the venue is asked",
    "recovery.settled": "a restart, after every open order is settled, before groups go on",
    "recovery.after": "a restart, when everything is recovered",
}


def _wish(text: str) -> tuple[str, int]:
    """Return the point at which this process is to end, and at which reach of it.

    Raises:
        ConfigError: there is no such point, or the count is no number from 1 on.
    """
    point, _, count = text.partition(":")
    if point and point not in POINTS:
        raise ConfigError(f"BTX_FAULT_POINT={text}: there is no point of this name; there are {', '.join(POINTS)}")
    if count and (not count.isdecimal() or not int(count)):
        raise ConfigError(f"BTX_FAULT_POINT={text}: after the colon comes how often it is reached, 1 or more")
    return point, int(count or 1)


_wanted, _left = _wish(os.environ.get("BTX_FAULT_POINT", ""))
_log = os.environ.get("BTX_FAULT_LOG")
_seen: set[str] = set()
_idle = not _wanted and not _log


def arm(point: str, at: int = 1) -> None:
    """Let this process die when it comes to ``point`` for the ``at``-th time."""
    global _wanted, _left, _idle
    _wanted, _left, _idle = point, at, False


def reach(point: str) -> None:
    """Say that a point is reached; it may be the last thing this process does."""
    if not _idle:
        _reached(point)


def _reached(point: str) -> None:
    global _left  # noqa: PLW0603 -- counts down once per process
    if _log is not None and point not in _seen:
        _seen.add(point)
        with Path(_log).open("a", encoding="utf-8") as file:
            file.write(f"{point}\n")
    if point == _wanted:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
