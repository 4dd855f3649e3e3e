"""The public side of a venue, without keys and without a session: for history, when nothing else is wanted of it."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import attrs

from btx.config import Settings
from btx.model.venue import Endpoints, Environment
from btx.plugins import Venue
from btx.ports import Context
from btx.runtime.clock import MarketClock
from btx.runtime.guard import Guard

__all__ = ("PublicSide", "open_public_side")


@attrs.frozen(kw_only=True)
class PublicSide:
    """What reads need: a context for ports, the venue's time, and its limits."""

    context: Context
    clock: MarketClock
    guard: Guard


@contextlib.asynccontextmanager
async def open_public_side(
    venue: Venue, *, environment: Environment, market: str, endpoints: Endpoints | None
) -> AsyncIterator[PublicSide]:
    """Open it, on the running loop; its clock is read once. ``endpoints`` are a simulator's.

    Raises:
        TransportError: the venue was not reached.
    """
    clock = MarketClock()
    if endpoints is not None:
        clock.follow(endpoints.clock)
    async with AsyncExitStack() as resources:
        context = Context(
            settings=Settings(),
            environment=environment,
            market=market,
            endpoints=endpoints,
            clock=clock,
            resources=resources,
        )
        guard = Guard(info=venue.info, market=market)
        before_ns = clock.wire_ns()
        venue_ns = await guard.read("time", venue.store(context).server_time_ns)
        clock.offset_ns += venue_ns - (before_ns + clock.wire_ns()) // 2
        yield PublicSide(context=context, clock=clock, guard=guard)
