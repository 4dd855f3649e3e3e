"""Ctrl-C for commands whose result is a comparison: half a run is none."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ("interrupting_at_once",)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def interrupting_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end what runs here by KeyboardInterrupt: a run would end in order, as if it were over.

    In another thread than the main one there are no signals, and nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
