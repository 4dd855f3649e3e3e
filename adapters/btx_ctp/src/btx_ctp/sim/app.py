"""CTP in a box: the fronts on loopback, and the control channel beside them."""

import contextlib
import functools
import secrets
from collections.abc import AsyncIterator
from decimal import Decimal

import attrs

from btx.model.venue import Endpoints, Scenario
from btx.sim.server import serve_control
from btx.sim.world import World, default_account
from btx_ctp.sim.door import AUTH_CODE
from btx_ctp.sim.front import Fronts
from btx_ctp.sim.tables import CURRENCY, listings

__all__ = ("NOT_MODELLED", "simulator")

_MONEY = Decimal(1_000_000)  # yuan of an account that nobody described

NOT_MODELLED = (
    "the vendor's own library, in whose place a drop-in of ours stands: its handshake, its reconnecting and its faults",
    "fees per contract, and rates that differ for closing what was opened today; what orders cost as such",
    "the margin of the larger side alone, by the settlement price, and liquidation by the broker",
    "settlement: a day's profit is not paid out, positions keep the price they were opened at, on average",
    "conditional orders, parked orders, combinations, options, quotes, banks",
    "call auctions; a contract's own calendar and last day: it trades as its product does, to the 15th of its month",
    "the front's limit of packages, which delays orders silently",
)


@contextlib.asynccontextmanager
async def simulator(scenario: Scenario) -> AsyncIterator[Endpoints]:
    """Serve two fronts on loopback, in the running loop, until the context ends.

    ``Endpoints.rest`` and ``trading_stream`` are the address of the trading front, ``Endpoints.stream`` that of
    the one for market data.  They speak the lines of :mod:`btx_ctp.sim.wire` to the drop-in of a client's process.
    ``Endpoints.extra`` has what logging in needs, ``world``, a mark no other world has, and ``not_modelled``.

    Raises:
        ConfigError: the scenario names what cannot be played.
        OSError: ``scenario.port`` is taken.
    """
    listed = listings(scenario)
    if not scenario.accounts:
        owner = attrs.evolve(default_account(scenario.seed, listed), balances={CURRENCY: _MONEY})
        scenario = attrs.evolve(scenario, accounts=(owner,))
    async with World(scenario, listed) as world, contextlib.AsyncExitStack() as stack:
        fronts = Fronts(world)
        world.listen(fronts.tell)
        world.on_flush(fronts.flush)
        stack.callback(world.forget, fronts.tell)
        trading, market = await fronts.open(scenario.port)
        stack.push_async_callback(fronts.close)
        described = functools.partial(_endpoints, world, trading, market, secrets.token_hex(4))
        control = await stack.enter_async_context(serve_control(world, described, fronts))
        yield described(control)


def _endpoints(world: World, trading: str, market: str, mark: str, control: str) -> Endpoints:
    return Endpoints(
        rest=trading,
        stream=market,
        trading_stream=trading,
        control=control,
        accounts=world.accounts,
        clock=world.clock,
        extra={
            "broker_id": "9999",
            "app_id": "simnow_client_test",
            "auth_code": AUTH_CODE,
            "world": mark,
            "not_modelled": "\n".join(NOT_MODELLED),
        },
    )
