"""THE contract between btx and its plugins: pluggy hook specifications, and nothing else.

A venue adapter is a module with some of the venue hooks, found through the
entry-point group ``btx.venues``; an extension is a module with some of the
extension hooks, found through ``btx.extensions``.  Both mark their functions
with :data:`hookimpl`::

    from btx.hookspecs import hookimpl

    @hookimpl
    def btx_venue() -> VenueInfo: ...

Imports of heavy libraries stay inside the implementations: importing a plugin
module must stay cheap.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pluggy

from btx.config import Settings
from btx.model.account import AccountSnapshot, Lots
from btx.model.calendar import Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, Part, Veto
from btx.model.restrictions import Restrictions
from btx.model.venue import Endpoints, Scenario, VenueInfo
from btx.ports import Broker, Context, Feed, Matcher, Store, Stream
from btx.rules.account import Terms

__all__ = (
    "API",
    "btx_broker",
    "btx_calendar",
    "btx_check_order",
    "btx_commands",
    "btx_commission",
    "btx_feed",
    "btx_listed",
    "btx_matcher",
    "btx_plan",
    "btx_restrictions",
    "btx_secret",
    "btx_simulator",
    "btx_store",
    "btx_venue",
    "btx_websocket",
    "hookimpl",
    "hookspec",
)

API = 0
"""Number of this contract. 0 is provisional: it may change until venues of all kinds have passed the kit."""

hookspec = pluggy.HookspecMarker("btx")
hookimpl = pluggy.HookimplMarker("btx")


# --- venue hooks: asked of the one venue that was named --------------------------------------------------


@hookspec(firstresult=True)
def btx_venue() -> VenueInfo:
    """Return the adapter's visiting card. Called at load, before anything else; must be cheap."""


@hookspec(firstresult=True)
def btx_store(context: Context) -> Store:
    """Return the port for instruments, account and server time. Called once per session, on btx-io."""


@hookspec(firstresult=True)
def btx_broker(context: Context) -> Broker:
    """Return the port for orders. Called once per session, on btx-io."""


@hookspec(firstresult=True)
def btx_feed(context: Context) -> Feed:
    """Return the port for history. Called once per session, on btx-io."""


@hookspec(firstresult=True)
def btx_websocket(context: Context) -> Stream:
    """Return the port for pushes. Called once per session, on btx-io."""


@hookspec(firstresult=True)
def btx_plan(request: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
    """Split a request into venue orders, which together have its quantity. Pure; the core's default is one.

    ``lots`` is what the account has of the instrument, less what orders under way close already; None where
    ``Capabilities.offsets`` does not say that there is such a thing. Called on btx-io, as the order leaves; an
    exception refuses the order.
    """


@hookspec(firstresult=True)
def btx_commission(instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:
    """Return the maker and taker rates in force for ``account``; its regular tier when None."""


@hookspec(firstresult=True)
def btx_calendar(instrument: Instrument) -> Calendar:
    """Return when an instrument trades; the core's default is 24x7. Pure."""


@hookspec(firstresult=True)
def btx_restrictions(instrument: Instrument) -> Restrictions:
    """Return what the venue restricts beside its filters; the core's default is nothing. Pure."""


@hookspec(firstresult=True)
def btx_listed(scenario: Scenario) -> Sequence[Terms]:
    """Return the instruments a scenario plays, with their leverage tiers, from the adapter's own tables.

    For backtests, which ask no venue: what ``btx_simulator`` would list for the same scenario.
    """


@hookspec(firstresult=True)
def btx_simulator(scenario: Scenario) -> AbstractAsyncContextManager[Endpoints]:
    """Return a context in which the venue's wire protocol is served on loopback, in the running loop."""


@hookspec(firstresult=True)
def btx_matcher(scenario: Scenario) -> Matcher:
    """Return the venue that ``btx_simulator`` serves, in this process and without its wire: for backtests."""


# --- extension hooks: asked of every extension -------------------------------------------------------------


@hookspec
def btx_check_order(request: OrderRequest, account: AccountSnapshot) -> Veto | None:
    """Look at an order inside ``buy()``, on cerebro's thread, and return a Veto to stop it. Pure.

    An exception is a veto too.
    """


@hookspec(firstresult=True)
def btx_secret(reference: str, settings: Settings) -> str | None:
    """Return the secret a reference (``env:NAME``, ``file:PATH``) names, None when it is not yours."""


@hookspec
def btx_commands(cli: Any) -> None:
    """Add commands to the ``btx`` command line; ``cli`` is its click group."""
