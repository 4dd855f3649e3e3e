"""One writer for each file, over all processes of a machine."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from btx.errors import ConfigError

__all__ = ("turn", "writer_lock", "writer_of")


@contextlib.contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Hold the right to write ``path``. The system takes it back when the process dies, however it does.

    The ``.lock`` file beside it stays: whoever removed it could lock it for a second time.

    Raises:
        ConfigError: another process, or another journal of this one, holds it.
        OSError: the file cannot be made.
    """
    file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{path} is being written by {_holder(file)}: one writer at a time, stop it first"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
            fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may hold a copy of the file
    finally:
        os.close(file)


def writer_of(path: Path) -> str | None:
    """Return who writes ``path`` now, None when nobody does."""
    try:
        file = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(file)
    else:
        return None
    finally:
        os.close(file)


def _holder(file: int) -> str:
    pid = os.pread(file, 32, 0).decode(errors="replace")
    if pid == str(os.getpid()):
        return f"this process (pid {pid})"
    return f"process {pid}" if pid.isdecimal() else "another process"  # which has not written its pid yet


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait until nobody else is in his turn at ``path``, in any process or thread, and have one.

    For writers that need the file for a moment only. The ``.lock`` file beside it stays, as for :func:`writer_lock`.

    Raises:
        OSError: the file cannot be made.
    """
    file = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a forked child may hold a copy of the file
    finally:
        os.close(file)
