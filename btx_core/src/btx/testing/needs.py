"""What cards need of a venue: each says why a market has no use for a card, or nothing."""

from btx.model.derivatives import PositionMode
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.venue import Capabilities, Channel, Environment, VenueInfo
from btx.testing.card import Need

__all__ = (
    "any_order_type",
    "channel",
    "flag",
    "margined",
    "mode",
    "order_list",
    "order_type",
    "simulated",
    "spot",
    "time_in_force",
)


def simulated(info: VenueInfo, can: Capabilities) -> str:  # noqa: ARG001
    """It has a simulator."""
    return "" if Environment.SIM in info.environments else "the adapter offers no env='sim'"


def margined(info: VenueInfo, can: Capabilities) -> str:  # noqa: ARG001
    """Positions are on margin."""
    return "" if can.margined else "positions of this market are not on margin"


def spot(info: VenueInfo, can: Capabilities) -> str:  # noqa: ARG001
    """What is bought is owned."""
    return "" if not can.margined else "positions of this market are on margin"


def channel(which: Channel) -> Need:
    """It pushes this kind."""
    return lambda _info, can: "" if which in can.channels else f"the market declares no channel {which.value}"


def order_type(which: OrderType) -> Need:
    """The venue has this order type itself."""
    return lambda _info, can: "" if which in can.order_types else f"the market declares no order type {which.value}"


def any_order_type(*types: OrderType) -> Need:
    """The venue has one of these order types itself."""
    names = " or ".join(each.value for each in types)
    return lambda _info, can: "" if can.order_types & set(types) else f"the market declares no order type {names}"


def time_in_force(which: TimeInForce) -> Need:
    """The venue has this time in force itself."""
    return lambda _info, can: (
        "" if which in can.times_in_force else f"the market declares no time in force {which.value}"
    )


def order_list(which: ListKind) -> Need:
    """The venue keeps lists of this kind."""
    return lambda _info, can: "" if which in can.order_lists else f"the market declares no order list {which.value}"


def mode(which: PositionMode) -> Need:
    """An account can be switched to this mode."""
    return lambda _info, can: (
        "" if which in can.position_modes else f"the market declares no position mode {which.value}"
    )


def flag(name: str) -> Need:
    """It declares a capability that is there or not."""
    return lambda _info, can: "" if getattr(can, name) else f"the market does not declare {name}"
