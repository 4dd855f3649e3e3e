"""A bench is opened: the ports of one session, as a session opens them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

from btx.config import Secret, Settings
from btx.model.venue import (
    Channel,
    Endpoints,
    Environment,
)
from btx.plugins import Venue
from btx.ports import Broker, Context, Feed, Store
from btx.runtime.control import Control
from btx.testing import sizes
from btx.testing.bench import Bench
from btx.testing.hearing import Heard, Time
from btx.testing.pace import Pace, Paced

__all__ = ("bench_of",)


@asynccontextmanager
async def bench_of(
    venue: Venue,
    market: str,
    endpoints: Endpoints,
    *,
    deadline_s: float,
    symbols: tuple[str, ...] = (),
    api_key: str | None = None,
    api_secret: str | None = None,
    listens: bool = True,
) -> AsyncIterator[Bench]:
    """Open the ports of one session on a simulator, as a session opens them; ``symbols`` is what is traded there.

    Raises:
        BtxError: the adapter could not connect.
    """
    account, clock = endpoints.accounts[0], Time(endpoints)
    observed: list[tuple[str, int]] = []
    async with AsyncExitStack() as resources:
        control = await Control.connect(endpoints.control)
        resources.push_async_callback(control.close)
        ports = await resources.enter_async_context(AsyncExitStack())
        context = Context(
            settings=Settings(
                api_key=Secret(api_key if api_key is not None else account.api_key),
                api_secret=Secret(api_secret if api_secret is not None else account.api_secret),
                currency=venue.info.capabilities[market].currency,
            ),
            environment=Environment.SIM,
            market=market,
            endpoints=endpoints,
            clock=clock,
            resources=ports,
            observe=lambda limit, units: observed.append((limit, units)),
            traded=lambda: [bench.instrument] if bench.symbol else [],
        )
        pace = Pace(venue.info, market)
        store, feed = Paced(venue.store(context), pace), Paced(venue.feed(context), pace)
        bench = Bench(
            venue=venue,
            market=market,
            context=context,
            time=clock,
            control=control,
            endpoints=endpoints,
            deadline_s=deadline_s,
            pace=pace,
            store=cast("Store", store),
            feed=cast("Feed", feed),
            broker=cast("Broker", Paced(venue.broker(context), pace)),
            stream=venue.websocket(context),
            account=Heard(deadline_s),
            observed=observed,
        )
        try:
            bench.instruments = await store.instruments()
            bench.symbol, bench.other = sizes.two_of(bench.instruments, symbols)
            if listens:
                bench.account = await bench.listen(bench.subscription(Channel.ACCOUNT))
            yield bench
        finally:
            await bench.hang_up_all()
