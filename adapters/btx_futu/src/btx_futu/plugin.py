"""The adapter's hooks. Nothing heavy is imported before a hook needs it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.calendar import Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Matcher, Store, Stream
from btx.rules.account import Terms
from btx_futu.card import VENUE
from btx_futu.fees import schedule
from btx_futu.hours import calendar_of

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
    """Return Futu's visiting card."""
    return VENUE


@hookimpl
def btx_store(context: Context) -> Store:
    """Return the port for instruments, account and server time."""
    from btx_futu.store import FutuStore

    return FutuStore(context)


@hookimpl
def btx_broker(context: Context) -> Broker:
    """Return the port for orders."""
    from btx_futu.broker import FutuBroker

    return FutuBroker(context)


@hookimpl
def btx_feed(context: Context) -> Feed:
    """Return the port for history."""
    from btx_futu.feed import FutuFeed

    return FutuFeed(context)


@hookimpl
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes: of OpenD, which has no websocket in it."""
    from btx_futu.stream import FutuStream

    return FutuStream(context)


@hookimpl
def btx_commission(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return what trading costs: nothing on paper."""
    return schedule(instrument, account)


@hookimpl
def btx_calendar(instrument: Instrument) -> Calendar:
    """Return the sessions of the instrument's exchange."""
    return calendar_of(instrument.symbol)


@hookimpl
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return OpenD in a box."""
    from btx_futu.sim.app import simulator

    return simulator(scenario)


@hookimpl
def btx_matcher(scenario: Scenario) -> Matcher:
    """Return the box without its wire."""
    from btx_futu.sim.app import matcher

    return matcher(scenario)


@hookimpl
def btx_listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what the box lists, read as the adapter reads OpenD's own list."""
    from btx_futu.listed import listed

    return listed(scenario)
