"""What is on its way to the venue: requests, and how many answers have not come."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from btx.runtime.tasks import Tasks

__all__ = ("Requests",)


class Requests:
    """The requests of an order desk; ``one_at_a_time`` has each wait for the answer of the one before."""

    def __init__(
        self, *, one_at_a_time: bool, note: Callable[[str, str], None], progressed: Callable[[], None]
    ) -> None:
        self._note = note
        self._progressed = progressed
        self._turn = asyncio.Lock() if one_at_a_time else None
        self._tasks = self.tasks()
        self.outstanding = 0  # requests and questions whose answer has not come
        self.sent = 0  # requests ever sent

    def tasks(self) -> Tasks:
        """Return a new group of tasks; one that breaks ends the run."""
        return Tasks(lambda what, error: self._note("FATAL", f"{what}: {type(error).__name__}: {error}"))

    def start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Send a request; ``what`` names it when it breaks."""
        self.sent += 1
        task = self._tasks.start(self._in_turn(work), what=what)
        task.add_done_callback(lambda _task: work.close())  # it never began, if the end came before its turn
        self.count(task)

    def count(self, task: "asyncio.Task[None]") -> None:
        """Count a task among the outstanding ones until it is done."""

        def answered(_task: "asyncio.Task[None]") -> None:
            self.outstanding -= 1
            self._progressed()

        self.outstanding += 1
        task.add_done_callback(answered)  # not a `finally` inside: a task may be cancelled before it begins

    def broken(self, operation: str, error: Exception) -> str:
        """Note that the adapter broke in an operation, and return how that is said."""
        reason = f"the adapter broke in {operation}: {type(error).__name__}: {error}"
        self._note("FAULT", reason)
        return reason

    async def stop(self, grace_s: float) -> None:
        """Let what is being sent be answered for a moment, then give up."""
        await self._tasks.drain(grace_s)
        await self._tasks.stop()

    async def _in_turn(self, work: Coroutine[Any, Any, object]) -> None:
        async with self._turn or contextlib.nullcontext():
            await work
