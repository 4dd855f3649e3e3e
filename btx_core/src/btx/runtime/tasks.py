"""Background tasks that cannot die unseen."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ("Tasks",)


class Tasks:
    """The running tasks of one owner; ``on_fault(what, error)`` hears of each that broke."""

    def __init__(self, on_fault: Callable[[str, Exception], None]) -> None:
        self._on_fault = on_fault
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, Any], *, what: str) -> "asyncio.Task[None]":
        """Run ``work`` on the current loop; ``what`` names it when it breaks."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    async def drain(self, timeout_s: float) -> None:
        """Wait until all are done, at most ``timeout_s``."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=timeout_s)

    async def stop(self) -> None:
        """Cancel all and wait for it."""
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self._on_fault(task.get_name(), error)
