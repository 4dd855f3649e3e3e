"""What a strategy can have at a venue: natively, through the core's own supervision, or not at all."""

import enum
from typing import NamedTuple

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import ListKind, OrderRequest, OrderType, TimeInForce
from btx.model.time import NS_PER_S
from btx.model.venue import Capabilities, DeadMan

__all__ = (
    "CapabilityRow",
    "Support",
    "capability_rows",
    "expires_natively",
    "resting_time",
    "support_of",
    "trails_natively",
)

_TYPE_NAMES = {
    OrderType.MARKET: "market order",
    OrderType.LIMIT: "limit order",
    OrderType.STOP_MARKET: "stop order",
    OrderType.STOP_LIMIT: "stop-limit order",
    OrderType.TAKE_PROFIT_MARKET: "take-profit order",
    OrderType.TAKE_PROFIT_LIMIT: "take-profit-limit order",
    OrderType.TRAILING_STOP: "trailing stop",
}
_TIME_NAMES = {
    TimeInForce.GTC: "time in force GTC",
    TimeInForce.IOC: "time in force IOC",
    TimeInForce.FOK: "time in force FOK",
    TimeInForce.GTD: "valid until a time (GTD)",
    TimeInForce.DAY: "valid for the day (DAY)",
}
_MODE_NAMES = {
    PositionMode.ONE_WAY: "one position of an instrument (one-way mode)",
    PositionMode.HEDGE: "a long and a short one at once (hedge mode)",
    MarginMode.CROSS: "one margin for all positions (cross)",
    MarginMode.ISOLATED: "a margin of each position's own (isolated)",
}
_DEAD_MAN = "dead man's switch (dead_man)"
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_WITH_LIMIT = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT})


class Support(enum.Enum):
    """Who does it; the value is what the user reads."""

    NATIVE = "native"  # the venue: it works while no process of ours is there
    EMULATED = "emulated"  # the core, with orders the venue has: it works while the process runs
    NO = "no"


class CapabilityRow(NamedTuple):
    """One line of a venue's table."""

    feature: str
    support: Support
    remark: str = ""


def support_of(order_type: OrderType, capabilities: Capabilities) -> Support:
    """Return who takes an order of a type; a trailing stop is emulated with stops that rest at the venue."""
    if order_type in capabilities.order_types:
        return Support.NATIVE
    if order_type is OrderType.TRAILING_STOP and capabilities.order_types & _STOPS:
        return Support.EMULATED
    return Support.NO


def trails_natively(trail_bps: int | None, capabilities: Capabilities) -> bool:
    """Say whether the venue itself follows the market at a distance, in basis points; None is one in quote units."""
    if OrderType.TRAILING_STOP not in capabilities.order_types or capabilities.trailing_bps is None:
        return False
    low, high = capabilities.trailing_bps
    return trail_bps is not None and low <= trail_bps <= high


def resting_time(capabilities: Capabilities) -> TimeInForce:
    """Return for how long an order rests when nobody says: GTC, or DAY where nothing rests for longer."""
    times = capabilities.times_in_force
    is_for_the_day = TimeInForce.DAY in times and TimeInForce.GTC not in times
    return TimeInForce.DAY if is_for_the_day else TimeInForce.GTC


def expires_natively(request: OrderRequest, capabilities: Capabilities) -> bool:
    """Say whether the venue itself ends an order at its time: one with a limit, whose life is long enough."""
    if request.expires_ns is None or TimeInForce.GTD not in capabilities.times_in_force:
        return False
    life_s = (request.expires_ns - request.signal_ns) / NS_PER_S
    return request.order_type in _WITH_LIMIT and life_s > capabilities.good_till_min_s


def capability_rows(capabilities: Capabilities) -> tuple[CapabilityRow, ...]:
    """Return everything a strategy may ask for, line by line, made of what the adapter says about its venue."""
    return (
        *(_type_row(order_type, capabilities) for order_type in OrderType),
        _row("post-only", native=capabilities.post_only),
        _row("iceberg (display_size)", native=capabilities.iceberg),
        *(_time_row(time_in_force, capabilities) for time_in_force in TimeInForce),
        _row("OCO", native=ListKind.OCO in capabilities.order_lists, emulated=True),
        _bracket_row(capabilities),
        _row("bracket as one list (native_bracket)", native=ListKind.OTOCO in capabilities.order_lists),
        *_attached_rows(capabilities),
        _amend_row(capabilities),
        _row("cancel", native=True),
        _row("cancel all", native=capabilities.cancel_all, emulated=True, remark="order by order"),
        _dead_man_row(capabilities.dead_man),
        *(_margin_rows(capabilities) if capabilities.margined else ()),
    )


def _dead_man_row(kind: DeadMan | None) -> CapabilityRow:
    if kind is None:
        return CapabilityRow(_DEAD_MAN, Support.NO)
    return CapabilityRow(
        _DEAD_MAN, Support.NATIVE, "when the account's stream is lost" if kind is DeadMan.STREAM else ""
    )


def _attached_rows(capabilities: Capabilities) -> tuple[CapabilityRow, ...]:
    if not capabilities.attaching:
        return ()
    words = ", ".join(sorted(capabilities.attaching))
    return (CapabilityRow("exits attached to an order", Support.NATIVE, f"params {words}: orders of the strategy"),)


def _amend_row(capabilities: Capabilities) -> CapabilityRow:
    if capabilities.amend:
        return CapabilityRow(
            "amend", Support.NATIVE, "in place: price and size of a limit order; others: cancel, place"
        )
    return _row("amend", native=capabilities.replace, emulated=True, remark="cancel, then place the rest")


def _margin_rows(capabilities: Capabilities) -> tuple[CapabilityRow, ...]:
    return (
        _row("reduce-only order", native=capabilities.reduce_only),
        *(_row(_MODE_NAMES[mode], native=mode in capabilities.position_modes) for mode in PositionMode),
        *(_row(_MODE_NAMES[mode], native=mode in capabilities.margin_modes) for mode in MarginMode),
    )


def _row(feature: str, *, native: bool, emulated: bool = False, remark: str = "") -> CapabilityRow:
    if native:
        return CapabilityRow(feature, Support.NATIVE)
    return CapabilityRow(feature, Support.EMULATED, remark) if emulated else CapabilityRow(feature, Support.NO)


def _type_row(order_type: OrderType, capabilities: Capabilities) -> CapabilityRow:
    support, remark = support_of(order_type, capabilities), ""
    if order_type is OrderType.TRAILING_STOP and support is Support.NATIVE and capabilities.trailing_bps is not None:
        low, high = capabilities.trailing_bps
        remark = f"{low} to {high} basis points; emulated beyond them, and for an amount"
    elif order_type is OrderType.TRAILING_STOP and capabilities.position_trail is not None:
        name, value = capabilities.position_trail
        remark = f"with params {name}={value} the venue's, kept with the position"
    return CapabilityRow(_TYPE_NAMES[order_type], support, remark)


def _time_row(time_in_force: TimeInForce, capabilities: Capabilities) -> CapabilityRow:
    native = time_in_force in capabilities.times_in_force or time_in_force is resting_time(capabilities)
    ends_later = time_in_force in {TimeInForce.GTD, TimeInForce.DAY}
    if native and time_in_force is TimeInForce.GTD:
        shortest = f" of more than {capabilities.good_till_min_s:g} s" if capabilities.good_till_min_s else ""
        remark = f"orders with a limit{shortest}; others are cancelled when it is time"
        return CapabilityRow(_TIME_NAMES[time_in_force], Support.NATIVE, remark)
    return _row(_TIME_NAMES[time_in_force], native=native, emulated=ends_later, remark="cancelled when it is time")


def _bracket_row(capabilities: Capabilities) -> CapabilityRow:
    if not capabilities.order_types & _STOPS:
        return CapabilityRow("bracket", Support.NO, "there are no stop orders for its exits")
    return CapabilityRow("bracket", Support.EMULATED, _exits(capabilities))


def _exits(capabilities: Capabilities) -> str:
    if ListKind.OCO in capabilities.order_lists:
        return "its exits rest at the venue as OCO lists, for what the entry has filled"
    if capabilities.margined and capabilities.reduce_only:
        return "its exits rest at the venue side by side and only close, for what the entry has filled"
    return "its exits are kept by the core, for what the entry has filled"
