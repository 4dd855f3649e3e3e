"""btx-io: one asyncio loop on one thread does all I/O for all sessions of the process."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ("IoThread", "acquire_io")

T = TypeVar("T")

_log = logging.getLogger("btx.io")
_GRACE_S = 1.0


class IoThread:
    """A running loop. It lives while somebody holds it, see :func:`acquire_io`.

    At its end tasks that are left are cancelled, those that are letting go of
    what they hold after half of ``grace_s``. So long are those that do not obey,
    and calls that block in worker threads, waited for.
    """

    def __init__(self, *, grace_s: float = _GRACE_S) -> None:
        self._grace_s = grace_s
        self.loop = asyncio.new_event_loop()
        # Of our own, because asyncio's way to shut its down waits for ever (a name look-up without a network).
        self._executor = ThreadPoolExecutor(thread_name_prefix="btx-io-worker")
        self.loop.set_default_executor(self._executor)
        self._thread = threading.Thread(target=self._run, name="btx-io", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(self._wind_up())
        workers = threading.Thread(
            target=self._executor.shutdown, kwargs={"cancel_futures": True}, name="btx-io-end", daemon=True
        )
        workers.start()
        workers.join(self._grace_s)
        self.loop.close()

    async def _wind_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for again in (False, True):
            for task in left:
                if again or not task.cancelling():  # else it cleans up, after a child process perhaps
                    task.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=self._grace_s / 2)
        for task in left:
            _log.warning("the task %s does not end when cancelled: it is left behind", task.get_name())
        await self.loop.shutdown_asyncgens()

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call a function on the loop, in the order of the calls. Any thread.

        Raises:
            RuntimeError: the loop has ended.
        """
        self.loop.call_soon_threadsafe(function, *args)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a coroutine on the loop and return its future. Any other thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine: Coroutine[Any, Any, T], *, timeout_s: float) -> T:
        """Run a coroutine on the loop and wait for its result; when the wait ends early it is cancelled.

        Any other thread.

        Raises:
            TimeoutError: there is no result after ``timeout_s``.
        """
        future = self.start(coroutine)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()  # does nothing to one that is done

    def release(self) -> None:
        """Let go of the loop; the last to do so ends the thread."""
        with _lock:
            global _holders, _current  # noqa: PLW0603 -- one loop per process is the design
            _holders -= 1
            if _holders:
                return
            _current = None
        self.end()

    def end(self) -> None:
        """End the thread and wait for it, though not for code that blocks the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        if threading.current_thread() is self._thread:
            return
        self._thread.join(3 * self._grace_s)
        if self._thread.is_alive():
            _log.warning("the thread btx-io is blocked by something that runs on it: it is left behind")


_lock = threading.Lock()
_current: IoThread | None = None
_holders = 0


def acquire_io() -> IoThread:
    """Return the process's I/O thread, started if need be; ``release`` it when done."""
    global _holders, _current  # noqa: PLW0603 -- one loop per process is the design
    with _lock:
        if _current is None:
            _current = IoThread()
        _holders += 1
        return _current
