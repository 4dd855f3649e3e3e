"""Simulators on a thread of their own: they share no loop with the adapter, as a venue does not."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future

from btx.model.venue import Endpoints, Scenario
from btx.plugins import Venue

__all__ = ("Simulators",)

_START_S = 60.0
_STOP_S = 20.0


class Simulators:
    """A running loop in which worlds are served; close it, and all of them end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="btx-conformance-simulator", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @contextlib.contextmanager
    def serve(self, venue: Venue, scenario: Scenario) -> Iterator[Endpoints]:
        """Serve a world for as long as the context lasts.

        Raises:
            BtxError: the adapter's simulator cannot play it.
        """
        ready: Future[Endpoints] = Future()
        stop = asyncio.Event()
        served = asyncio.run_coroutine_threadsafe(_serve(venue, scenario, ready, stop), self._loop)
        try:
            yield ready.result(_START_S)
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            served.result(_STOP_S)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_S)


async def _serve(venue: Venue, scenario: Scenario, ready: "Future[Endpoints]", stop: asyncio.Event) -> None:
    """Enter and leave the simulator in one task, as an async context wants it."""
    try:
        async with venue.simulator(scenario) as endpoints:
            ready.set_result(endpoints)
            await stop.wait()
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)
