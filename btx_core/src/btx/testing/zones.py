"""Another time zone for this process, for as long as a check lasts: what is told in local time then moves."""

import contextlib
import os
import time
from collections.abc import Iterator

__all__ = ("zone",)


@contextlib.contextmanager
def zone(name: str) -> Iterator[None]:
    """Live in a zone; where the machine cannot change it, nothing happens."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    _apply()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        _apply()


def _apply() -> None:
    if hasattr(time, "tzset"):
        time.tzset()
