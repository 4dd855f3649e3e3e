"""The names Bybit gives orders and executions: UUIDs of contracts, long numbers of spot.

An order that waits for its price keeps its id when it wakes up (unified account, docs/v5/order/create-order.mdx), so a
contract's conditional order and the order it makes are one here.
"""

import re

from btx.sim.conditionals import SimConditional
from btx.sim.margin_events import SimBooking
from btx.sim.orders import SimFill, SimOrder

__all__ = ("OrderKey", "booking_id", "execution_id", "key_of", "order_id")

_UUID = re.compile(r"([0-9a-f]{8})-b7c0-4b1d-8(0|1)00-([0-9a-f]{12})")
_SPOT_FIRST = 1_666_800_494_330_000_000
_SPREAD = 0x9E3779B1  # ids are not to look like small numbers

OrderKey = tuple[bool, int]
"""Whether it is a conditional order, and its number at the exchange."""


def order_id(order: SimOrder | SimConditional, *, is_spot: bool) -> str:
    """Return the venue's id of an order."""
    if isinstance(order, SimConditional):
        return _uuid(order.conditional_id, is_conditional=True)
    if is_spot:
        return str(_SPOT_FIRST + order.order_id)
    if order.conditional_id is not None:
        return _uuid(order.conditional_id, is_conditional=True)
    return _uuid(order.order_id, is_conditional=False)


def key_of(text: str, *, is_spot: bool) -> OrderKey | None:
    """Return what an id names; None when it is none of this venue's."""
    if is_spot:
        return (False, int(text) - _SPOT_FIRST) if text.isdecimal() else None
    found = _UUID.fullmatch(text)
    return (found[2] == "1", int(found[3], 16)) if found is not None else None


def execution_id(fill: SimFill, *, is_spot: bool) -> str:
    """Return the venue's id of an execution."""
    if is_spot:
        return str(2_100_000_000_000_000_000 + fill.trade_id)
    return _made(fill.trade_id, "e")


def booking_id(booking: SimBooking) -> str:
    """Return the venue's id of a movement of money that is no execution."""
    return _made(booking.booking_id, "f")


def _uuid(number: int, *, is_conditional: bool) -> str:
    return f"{number * _SPREAD % 2**32:08x}-b7c0-4b1d-8{int(is_conditional)}00-{number:012x}"


def _made(number: int, kind: str) -> str:
    return f"{number * _SPREAD % 2**32:08x}-{kind}7c0-5b1d-8200-{number:012x}"
