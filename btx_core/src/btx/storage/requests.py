"""What another process asks of the one that trades: a file in the account's folder, taken exactly once."""

import contextlib
import enum
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from btx.storage.places import write_whole

__all__ = ("Request", "RequestKind", "take_requests", "waiting_requests", "write_request")

_log = logging.getLogger("btx.requests")


class RequestKind(enum.Enum):
    """The value is the name of the file."""

    HALT = "halt.request"
    RESUME = "resume.request"


@attrs.frozen(kw_only=True)
class Request:
    """Halt, or resume; a newer one of its kind takes the place of one that nobody has taken yet."""

    kind: RequestKind
    reason: str = ""
    time_ns: int  # wall time


def write_request(folder: Path, request: Request) -> None:
    """Leave a request for whoever trades on the account of this folder.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / request.kind.value, json.dumps({"reason": request.reason, "time_ns": request.time_ns}))


def take_requests(folder: Path) -> tuple[Request, ...]:
    """Return what is asked, oldest first, and take it away; touches the disk.

    A halt that cannot be read is a halt; a resume that cannot be read is none.
    """
    return _sorted(_take(folder, kind) for kind in RequestKind)


def waiting_requests(folder: Path) -> tuple[Request, ...]:
    """Return what is asked and was not taken yet, oldest first; it stays."""
    return _sorted(_read(folder / kind.value, kind) for kind in RequestKind)


def _sorted(requests: Iterable[Request | None]) -> tuple[Request, ...]:
    return tuple(sorted((each for each in requests if each is not None), key=lambda each: each.time_ns))


def _take(folder: Path, kind: RequestKind) -> Request | None:
    path = folder / kind.value
    mine = path.with_name(f".{path.name}.taken.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(mine)  # of two that take it at once one succeeds
    try:
        return _read(mine, kind)
    finally:
        mine.unlink(missing_ok=True)


def _read(path: Path, kind: RequestKind) -> Request | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Request(kind=kind, reason=str(fields["reason"]), time_ns=int(fields["time_ns"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s cannot be read: %r", path, error)
        if kind is RequestKind.HALT:
            return Request(kind=kind, reason=f"{kind.value} cannot be read: halted in doubt", time_ns=0)
        return None
