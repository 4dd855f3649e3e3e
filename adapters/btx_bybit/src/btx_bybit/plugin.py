"""The adapter's hooks. Nothing heavy is imported before a hook needs it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.calendar import ALWAYS, Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Matcher, Store, Stream
from btx.rules.account import Terms
from btx_bybit.card import VENUE
from btx_bybit.fees import schedule

__all__ = (
    "btx_broker",
    "btx_calendar",
    "btx_commission",
    "btx_feed",
    "btx_listed",
    "btx_matcher",
    "btx_simulator",
    "btx_store",
    "btx_venue",
    "btx_websocket",
)


@hookimpl
def btx_venue() -> VenueInfo:
    """Return Bybit's visiting card."""
    return VENUE


@hookimpl
def btx_store(context: Context) -> Store:
    """Return the port for instruments, account and server time."""
    from btx_bybit.store import BybitStore

    return BybitStore(context)


@hookimpl
def btx_broker(context: Context) -> Broker:
    """Return the port for orders."""
    from btx_bybit.broker import BybitBroker

    return BybitBroker(context)


@hookimpl
def btx_feed(context: Context) -> Feed:
    """Return the port for history."""
    from btx_bybit.feed import BybitFeed

    return BybitFeed(context)


@hookimpl
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes."""
    from btx_bybit.stream import BybitStream

    return BybitStream(context)


@hookimpl
def btx_commission(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return the table of the instrument's market, or the account's level of it."""
    return schedule(instrument, account)


@hookimpl
def btx_calendar(instrument: Instrument) -> Calendar:  # noqa: ARG001 -- nothing here ever closes
    """Return 24x7: contracts on shares trade around the clock here, too."""
    return ALWAYS


@hookimpl
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return Bybit in a box."""
    from btx_bybit.sim.app import simulator

    return simulator(scenario)


@hookimpl
def btx_matcher(scenario: Scenario) -> Matcher:
    """Return the box without its wire."""
    from btx_bybit.sim.app import matcher

    return matcher(scenario)


@hookimpl
def btx_listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what the box lists, read as the adapter reads the venue's own list."""
    from btx_bybit.listed import listed

    return listed(scenario)
