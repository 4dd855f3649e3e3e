"""The simulated venue: one aiohttp application on one loopback port, and the control channel beside it.

One world is one of the venue's categories: spot, linear or inverse.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from btx.model.venue import Endpoints, Scenario
from btx.sim.box import Box, box_of
from btx.sim.skin import serving as skins
from btx.sim.skin.connections import Connections, Habits
from btx.sim.world import World, WorldEvent
from btx_bybit.sim import calls, private, public, rest, trade
from btx_bybit.sim.calls import CALLS, MANNERS
from btx_bybit.sim.errors import Mishaps, Trouble
from btx_bybit.sim.ids import execution_id
from btx_bybit.sim.listings import category_of, listings, named
from btx_bybit.sim.private import Accounts
from btx_bybit.sim.private_frames import Told
from btx_bybit.sim.streams import Streams
from btx_bybit.sim.venue import Venue

__all__ = ("AS_OF", "HABITS", "NOT_MODELLED", "matcher", "serving", "simulator")

AS_OF = "2026-09"
"""The state of the venue's documentation that is served."""

NOT_MODELLED: tuple[str, ...] = (
    *calls.NOT_MODELLED,
    "one cross sequence: `seq` counts the updates of a symbol's book, of a trade it is the trade's own number",
    "several prints in one publicTrade message, block trades and RPI orders; orderbook.rpi",
    "the topics kline_lt, tickers_lt, insurance, priceLimit, adlAlert, liquidation, greeks and system.status",
    "the dollar index of spot tickers; breakEvenPrice of inverse positions, which is the entry price",
    "the compression of messages; sockets of options and spreads",
    "disconnection protection per product: the window that is set last is the account's, and it runs on market time",
    "the texts of refusals on sockets where no client has shown them in public: repeated and missing authentication",
)
"""What a client of the real venue would find and does not find here; the README says it too."""

HABITS = Habits(silence_s=600.0, dials=500, dials_s=300, too_many=403)
"""docs/v5/websocket/wss-authentication.mdx, 2026: ten minutes without ping or data, 500 connections in five minutes."""


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve the wire protocol of one of Bybit's categories on loopback, in the running loop, until the context ends.

    ``Endpoints.rest`` is the base of ``/v5``; ``Endpoints.stream`` that of ``/v5/public/...`` and ``/v5/private``;
    ``Endpoints.trading_stream`` the whole address of ``/v5/trade``.  ``Endpoints.extra`` has what clients need
    besides: ``public_stream`` and ``private_stream`` in full, ``market``, ``as_of``, ``not_modelled`` (one thing per
    line), and ``world``, a mark no other world has.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    scenario = named(scenario)
    async with (
        World(scenario, listings(scenario), manners=MANNERS) as world,
        serving(world, port=scenario.port) as endpoints,
    ):
        yield endpoints


def matcher(scenario: Scenario) -> Box:
    """Return the world that :func:`simulator` serves, to be asked directly, in lockstep.

    Raises:
        ConfigError: the scenario names what cannot be played.
    """
    scenario = named(scenario)
    return box_of(scenario, listings(scenario), MANNERS)


def serving(world: World, *, port: int = 0) -> contextlib.AbstractAsyncContextManager[Endpoints]:
    """Serve a world that somebody else made; as :func:`simulator` otherwise.

    Raises:
        OSError: ``port`` is taken.
    """
    kind = next(iter(world.listings.values())).instrument.kind
    return skins.serving(world, _Skin(world, category_of(kind.value)), port=port)


class _Skin:
    """REST, public topics, an account's own, and order entry."""

    habits = HABITS
    trading_path = trade.PATH

    def __init__(self, world: World, category: str) -> None:
        known = {account.api_key: account.api_secret for account in world.accounts}
        self.venue = Venue(world, known, category)
        world.name_fill = functools.partial(execution_id, is_spot=self.venue.is_spot)
        self.trouble = Trouble(meters=self.venue.meters)
        self._streams: Streams
        self._accounts: Accounts

    def add_routes(self, app: web.Application, mishaps: Mishaps, connections: Connections) -> None:
        """Serve everything the category has."""
        self._streams = Streams(self.venue.world, mishaps, self.venue.category)
        self._accounts = Accounts(self.venue, mishaps)
        public.add_routes(app, connections, self._streams)
        private.add_routes(app, connections, self._accounts)
        trade.add_routes(app, connections, self.venue, mishaps, CALLS)
        rest.add_routes(app, self.venue, mishaps, CALLS)

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        if isinstance(event, Told):
            self._accounts.tell(event)
        self._streams.tell(event)

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""
        self._streams.settle()

    def close(self) -> None:
        """Nothing runs beside the requests."""

    def describe(self, address: str) -> Mapping[str, str]:
        """Return what clients need besides the bases; ``address`` is ``host:port``."""
        stream = f"ws://{address}"
        return {
            "public_stream": f"{stream}/v5/public/{self.venue.category}",
            "private_stream": f"{stream}/v5/private",
            "market": self.venue.category,
            "as_of": AS_OF,
            "not_modelled": "\n".join(NOT_MODELLED),
        }
