"""The adapter's hooks. Nothing heavy is imported before a hook needs it."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Matcher, Store, Stream
from btx.rules.account import Terms
from btx.testing.toy.card import VENUE
from btx.testing.toy.config import LINEAR  # margin
from btx.testing.toy.fees import schedule

__all__ = (
    "btx_broker",
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
    """Return Toy's visiting card."""
    return VENUE


@hookimpl
def btx_store(context: Context) -> Store:
    """Return the port for instruments, account and server time."""
    if context.market == LINEAR:  # margin
        from btx.testing.toy.margin import ToyMarginStore

        return ToyMarginStore(context)
    from btx.testing.toy.store import ToyStore

    return ToyStore(context)


@hookimpl
def btx_broker(context: Context) -> Broker:
    """Return the port for orders."""
    if context.market == LINEAR:  # margin
        from btx.testing.toy.margin import ToyMarginBroker

        return ToyMarginBroker(context)
    from btx.testing.toy.broker import ToyBroker

    return ToyBroker(context)


@hookimpl
def btx_feed(context: Context) -> Feed:
    """Return the port for history."""
    if context.market == LINEAR:  # margin
        from btx.testing.toy.margin import ToyMarginFeed

        return ToyMarginFeed(context)
    from btx.testing.toy.feed import ToyFeed

    return ToyFeed(context)


@hookimpl
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes."""
    if context.market == LINEAR:  # margin
        from btx.testing.toy.margin import margin_stream

        return margin_stream(context)
    from btx.testing.toy.stream import ToyStream

    return ToyStream(context)


@hookimpl
def btx_commission(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return the rates of the venue's table."""
    return schedule(instrument, account)


@hookimpl
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return Toy in a box."""
    from btx.testing.toy.sim.app import simulator

    return simulator(scenario)


@hookimpl
def btx_matcher(scenario: Scenario) -> Matcher:
    """Return the box without its wire: for backtests that fill as the simulator does."""
    from btx.testing.toy.sim.app import matcher

    return matcher(scenario)


@hookimpl
def btx_listed(scenario: Scenario) -> Sequence[Terms]:
    """Return what the box lists: for backtests, which ask no venue."""
    from btx.testing.toy.sim.app import listed

    return listed(scenario)
