"""What was counted within a window that rolls: a rate meter's times, oldest first. Pure: time is an argument."""

from collections import deque

__all__ = ("forget",)


def forget(times_ns: deque[int], *, window_ns: int, now_ns: int) -> None:
    """Drop what left the window; where the clock was set back, what was counted by the old one goes too."""
    if times_ns and times_ns[-1] > now_ns:
        times_ns.clear()
    while times_ns and times_ns[0] <= now_ns - window_ns:
        times_ns.popleft()
