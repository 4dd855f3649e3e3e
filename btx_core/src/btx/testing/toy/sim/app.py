"""The simulated venue: a world of ``btx.sim`` behind the venue's own protocol."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from aiohttp import web

from btx.model.venue import Endpoints, Scenario
from btx.rules.account import Terms
from btx.sim.box import Box, box_of
from btx.sim.skin.connections import Connections, Habits
from btx.sim.skin.mishaps import Mishaps
from btx.sim.skin.serving import serving
from btx.sim.world import World, WorldEvent
from btx.testing.toy.sim.listings import listings
from btx.testing.toy.sim.margin import MARGIN_CALLS  # margin
from btx.testing.toy.sim.perpetuals import named  # margin
from btx.testing.toy.sim.rest import SPOT_CALLS, Desk
from btx.testing.toy.sim.sockets import AccountEvents, MarketStreams, add_routes
from btx.testing.toy.sim.wire import Trouble, WireError

__all__ = ("NOT_MODELLED", "ToySkin", "listed", "matcher", "simulator")

NOT_MODELLED: tuple[str, ...] = (
    "fee tiers: every account pays the same rates",
    "the venue's own delays: requests are answered, and events pushed, at once",
)
"""What a client of the real venue would find and does not find here; the README says it too."""


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve the venue's protocol on loopback, in the running loop, until the context ends.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    scenario = named(scenario)  # margin
    async with (
        World(scenario, listings(scenario)) as world,
        serving(world, ToySkin(world), port=scenario.port) as endpoints,
    ):
        yield endpoints


def matcher(scenario: Scenario) -> Box:
    """Return the world that :func:`simulator` serves, to be asked directly, in lockstep."""
    scenario = named(scenario)  # margin
    return box_of(scenario, listings(scenario))


def listed(scenario: Scenario) -> Sequence[Terms]:
    """Return the instruments a scenario plays."""
    return tuple(Terms(instrument=each.instrument, tiers=each.tiers) for each in listings(scenario))


class ToySkin:
    """The wire of the venue over a world; see :class:`btx.sim.skin.serving.Skin`."""

    trading_path = "/account"
    trouble = Trouble()
    habits = Habits(ping_s=20.0, silence_s=60.0, dials=300, dials_s=300)

    def __init__(self, world: World) -> None:
        self._world = world
        self._streams: MarketStreams
        self._events: AccountEvents

    def add_routes(self, app: web.Application, mishaps: Mishaps[WireError], connections: Connections) -> None:
        """Serve everything the venue has."""
        calls = SPOT_CALLS
        if self._world.is_margined:  # margin
            calls = MARGIN_CALLS
        desk = Desk(self._world, mishaps, calls)
        self._streams = MarketStreams(self._world, mishaps)
        self._events = AccountEvents(desk, mishaps)
        desk.add_routes(app)
        add_routes(app, connections, self._streams, self._events)

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        self._streams.tell(event)
        self._events.tell(event)

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""
        self._streams.settle()

    def close(self) -> None:
        """Nothing runs beside the requests."""

    def describe(self, address: str) -> Mapping[str, str]:  # noqa: ARG002 -- there is nothing besides the bases
        """Return what clients need besides the bases."""
        return {"not_modelled": "\n".join(NOT_MODELLED)}
