"""The simulated venue: one aiohttp application on one loopback port, and the control channel beside it.

One world is one market: spot, USD-M or COIN-M futures.  Which skin it gets is decided here.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

from btx.model.instrument import InstrumentKind
from btx.model.venue import Endpoints, Scenario
from btx.sim.box import Box, box_of
from btx.sim.exchange import Listing
from btx.sim.skin import serving as skins
from btx.sim.skin.serving import Skin
from btx.sim.world import World
from btx_binance.sim import exchange_info
from btx_binance.sim.futures.app import FuturesSkin
from btx_binance.sim.futures.listings import listings as contracts
from btx_binance.sim.futures.listings import named
from btx_binance.sim.futures.market import COINM, USDM, dialect_of
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.spot import SpotSkin

__all__ = ("matcher", "serving", "simulator")

_SPOT = "spot"
_DIALECTS = {InstrumentKind.LINEAR: USDM, InstrumentKind.INVERSE: COINM}


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve the wire protocol of one of Binance's markets on loopback, in the running loop, until the context ends.

    ``Endpoints.rest`` is the base of ``/api/v3``, ``/fapi/v1`` or ``/dapi/v1``;
    ``Endpoints.stream`` the base of the market streams; ``Endpoints.trading_stream``
    the whole address of the WebSocket API.  ``Endpoints.extra`` has what clients
    need besides: ``world``, a mark no other world has, ``as_of``,
    ``not_modelled``, one thing per line; of spot ``raw_stream`` and
    ``combined_stream`` spelled out, ``ccxt_stream`` for ccxt's
    ``urls["api"]["ws"]["spot"]``, ``archive`` for what the venue has at
    data.binance.vision; of futures what :meth:`FuturesSkin.describe` says.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    scenario, listed = _prepared(scenario)
    async with (
        World(scenario, listed) as world,
        serving(world, port=scenario.port, as_of=scenario.as_of) as endpoints,
    ):
        yield endpoints


def matcher(scenario: Scenario) -> Box:
    """Return the world that :func:`simulator` serves, to be asked directly, in lockstep.

    Raises:
        ConfigError: the scenario names what cannot be played.
    """
    return box_of(*_prepared(scenario))


def _prepared(scenario: Scenario) -> tuple[Scenario, Sequence[Listing]]:
    """Return the scenario with its symbols in full, and what is listed for it."""
    if scenario.market in ("", _SPOT):
        return scenario, exchange_info.listings(scenario)
    dialect = dialect_of(scenario.market)
    scenario = named(scenario, dialect)
    return scenario, contracts(scenario, dialect)


def serving(world: World, *, port: int = 0, as_of: str = "") -> contextlib.AbstractAsyncContextManager[Endpoints]:
    """Serve a world that somebody else made; as :func:`simulator` otherwise.

    Raises:
        ConfigError: there is no protocol of ``as_of``.
        OSError: ``port`` is taken.
    """
    return skins.serving(world, _skin(world, as_of), port=port)


def _skin(world: World, as_of: str) -> Skin:
    known = {account.api_key: account.api_secret for account in world.accounts}
    kind = next(iter(world.listings.values())).instrument.kind
    if kind is InstrumentKind.SPOT:
        return SpotSkin(world, known, as_of)
    return FuturesSkin(world, known, _DIALECTS[kind], Protocol.of(as_of))
