"""What tests with clients nobody here wrote have in common."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

from btx.model.venue import Endpoints, Scenario

SECONDS = 90


@contextlib.contextmanager
def playing(simulator: Callable[[Scenario], AbstractAsyncContextManager[Endpoints]], world: Scenario) -> Iterator[Any]:
    """A simulator in a loop of its own, so that clients that block do not block it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="venue")
    thread.start()
    context = simulator(world)

    def do(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(SECONDS)

    try:
        yield do(context.__aenter__())
        do(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def run(coroutine: Any) -> Any:
    """What a coroutine returns, within a time."""

    async def bounded() -> Any:
        async with asyncio.timeout(SECONDS):
            return await coroutine

    return asyncio.run(bounded())


def moved(value: Any, venue: Endpoints) -> Any:
    """A client's addresses with the simulator's host in place of the venue's."""
    if isinstance(value, dict):
        return {key: moved(item, venue) for key, item in value.items()}
    if isinstance(value, str):
        host = venue.rest.removeprefix("http://")
        return re.sub(r"^(http|ws)s?://[^/]+", lambda match: f"{match[1]}://{host}", value)
    return value


def keys(name: str) -> dict[str, str]:
    """The keys of an account, as ccxt takes them."""
    return {"apiKey": name, "secret": f"{name}-secret"}
