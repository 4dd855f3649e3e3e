"""The adapter's hooks. Nothing heavy is imported before a hook needs it."""

from contextlib import AbstractAsyncContextManager

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot, Lots
from btx.model.calendar import Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, Part
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Store, Stream
from btx_ctp.card import VENUE

__all__ = (
    "btx_broker",
    "btx_calendar",
    "btx_commission",
    "btx_feed",
    "btx_plan",
    "btx_simulator",
    "btx_store",
    "btx_venue",
    "btx_websocket",
)


@hookimpl
def btx_venue() -> VenueInfo:
    """Return CTP's visiting card."""
    return VENUE


@hookimpl
def btx_store(context: Context) -> Store:
    """Return the port for contracts and the account."""
    from btx_ctp.store import CtpStore

    return CtpStore(context)


@hookimpl
def btx_broker(context: Context) -> Broker:
    """Return the port for orders."""
    from btx_ctp.broker import CtpBroker

    return CtpBroker(context)


@hookimpl
def btx_feed(context: Context) -> Feed:
    """Return the port for the last prices; there is no history."""
    from btx_ctp.feed import CtpFeed

    return CtpFeed(context)


@hookimpl
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes."""
    from btx_ctp.stream import CtpStream

    return CtpStream(context)


@hookimpl
def btx_plan(request: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
    """Split an order into what closes and what opens."""
    from btx_ctp.plan import plan

    return plan(request, lots)


@hookimpl
def btx_commission(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:  # noqa: ARG001
    """Return a round figure: an account's own rates are asked of its counter."""
    from btx_ctp.fees import USUAL

    return USUAL


@hookimpl
def btx_calendar(instrument: Instrument) -> Calendar:
    """Return the sessions of the contract's product."""
    from btx_ctp.hours import calendar_of

    return calendar_of(instrument.base)


@hookimpl
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return CTP's fronts in a box."""
    from btx_ctp.sim.app import simulator

    return simulator(scenario)
