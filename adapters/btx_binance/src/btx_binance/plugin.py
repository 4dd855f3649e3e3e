"""The adapter's hooks. Nothing heavy is imported before a hook needs it."""

import string
from contextlib import AbstractAsyncContextManager

from btx.hookspecs import API, hookimpl
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import (
    Capabilities,
    Channel,
    ClientIdSpec,
    Endpoints,
    Environment,
    Scenario,
    VenueInfo,
)
from btx.ports import Broker, Context, Feed, Store, Stream
from btx_binance.config import Options
from btx_binance.limits import CONNECTION_LIFE_S, COSTS, LIMITS

__all__ = (
    "btx_broker",
    "btx_commission",
    "btx_feed",
    "btx_simulator",
    "btx_store",
    "btx_venue",
    "btx_websocket",
)

_INTERVALS = "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"

_SPOT = Capabilities(
    order_types=frozenset(OrderType),
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}),
    intervals=tuple(Interval.parse(text) for text in _INTERVALS.split()),
    channels=frozenset(Channel),
    post_only=True,
    iceberg=True,
    trailing_bps=(10, 2000),  # the filter TRAILING_DELTA of exchangeInfo, 2025-08-07
    replace=True,
    cancel_all=True,
    order_lists=frozenset(ListKind),
    archive=True,
    trade_ids_dense=True,  # aggTrade "a": seen without a hole in the recorded sessions of 2024 and 2025
    connection_life_s=CONNECTION_LIFE_S,
)

# The documentation's ^[\.A-Z\:/a-z0-9_-]{1,36}$; unique among open orders only, so ours are never used twice.
_CLIENT_ID = ClientIdSpec(
    max_len=36,
    alphabet=f"{string.ascii_letters}{string.digits}.:/_-",
    scope="open orders",
    queryable=True,
)

_VENUE = VenueInfo(
    name="binance",
    title="Binance",
    api=API,
    markets=("spot",),
    environments=frozenset({Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE}),
    capabilities={"spot": _SPOT},
    client_id=_CLIENT_ID,
    limits=LIMITS,
    costs=COSTS,
    settings=Options,
)


@hookimpl
def btx_venue() -> VenueInfo:
    """Return Binance's visiting card."""
    return _VENUE


@hookimpl
def btx_store(context: Context) -> Store:
    """Return the port for instruments, account and server time."""
    from btx_binance.rest import BinanceStore

    return BinanceStore(context)


@hookimpl
def btx_broker(context: Context) -> Broker:
    """Return the port for orders."""
    from btx_binance.rest import BinanceBroker

    return BinanceBroker(context)


@hookimpl
def btx_feed(context: Context) -> Feed:
    """Return the port for history."""
    from btx_binance.rest import BinanceFeed

    return BinanceFeed(context)


@hookimpl
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes."""
    from btx_binance.stream import BinanceStream

    return BinanceStream(context)


@hookimpl
def btx_commission(
    instrument: Instrument,  # noqa: ARG001 -- one schedule for all
    account: AccountSnapshot | None,  # noqa: ARG001 -- its snapshot names no tier
) -> FeeSchedule:
    """Return the regular tier: Binance states an account's own rates with each fill."""
    from btx_binance.fees import REGULAR

    return REGULAR


@hookimpl
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return Binance in a box."""
    from btx_binance.sim.app import simulator

    return simulator(scenario)
