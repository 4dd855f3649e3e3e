"""A venue by its name, with what the core answers where its adapter says nothing."""

from decimal import Decimal

from btx.hookspecs import hookimpl
from btx.model.account import AccountSnapshot
from btx.model.calendar import ALWAYS, Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import OrderRequest, Part
from btx.model.restrictions import NO_RESTRICTIONS, Restrictions
from btx.plugins import Venue, load_venue

__all__ = ("open_venue",)


class _Defaults:
    """What the core answers when an adapter does not."""

    @hookimpl(trylast=True)
    def btx_plan(self, request: OrderRequest) -> tuple[Part, ...]:
        return (Part(quantity=request.quantity),)

    @hookimpl(trylast=True)
    def btx_calendar(self, instrument: Instrument) -> Calendar:  # noqa: ARG002
        return ALWAYS

    @hookimpl(trylast=True)
    def btx_restrictions(self, instrument: Instrument) -> Restrictions:  # noqa: ARG002
        return NO_RESTRICTIONS

    @hookimpl(trylast=True)
    def btx_commission(self, instrument: Instrument, account: AccountSnapshot | None) -> FeeSchedule:  # noqa: ARG002
        return FeeSchedule(maker=Decimal("0.001"), taker=Decimal("0.001"), source="btx default: flat 0.1 %, no venue's")


def open_venue(name: str) -> Venue:
    """Load an adapter by name, with the core's defaults behind it.

    Raises:
        UnknownVenueError: it is not installed.
        PluginError: it is broken, or written for another core.
    """
    return load_venue(name, defaults=_Defaults())
