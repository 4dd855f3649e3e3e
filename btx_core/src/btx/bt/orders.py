"""backtrader's words for an order and ours: one table each way, and what this version sends."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any, Final

import backtrader as bt

from btx.errors import ConfigError
from btx.model.order import OrderType, Status, TimeInForce
from btx.model.venue import Capabilities

__all__ = ("ORDER_TYPES", "STATUSES", "misspelt", "not_sent_yet", "order_type_of", "time_in_force_of")

STATUSES: Final = {
    Status.PENDING_NEW: bt.Order.Submitted,
    Status.UNKNOWN: bt.Order.Submitted,
    Status.NEW: bt.Order.Accepted,
    Status.PENDING_CANCEL: bt.Order.Accepted,
    Status.PARTIALLY_FILLED: bt.Order.Partial,
    Status.FILLED: bt.Order.Completed,
    Status.CANCELED: bt.Order.Canceled,
    Status.EXPIRED: bt.Order.Expired,
    Status.REJECTED: bt.Order.Rejected,
}

ORDER_TYPES: Final = {
    bt.Order.Market: OrderType.MARKET,
    bt.Order.Limit: OrderType.LIMIT,
}


def order_type_of(order: Any, capabilities: Capabilities) -> OrderType:
    """Return our word for a backtrader order's type.

    Raises:
        ConfigError: this version, or the venue, does not take it; the message lists what is taken.
    """
    order_type = ORDER_TYPES.get(order.exectype)
    if order_type is None or order_type not in capabilities.order_types:
        known = [name for name in ORDER_TYPES if ORDER_TYPES[name] in capabilities.order_types]
        choice = " or ".join(f"bt.Order.{order.ExecTypes[name]}" for name in known)
        raise ConfigError(f"exectype {order.ExecTypes[order.exectype]} is not taken in this version: use {choice}")
    return order_type


def time_in_force_of(value: Any, capabilities: Capabilities) -> TimeInForce:
    """Return what ``time_in_force=`` says, GTC when it says nothing; every venue knows GTC.

    Raises:
        ConfigError: it is no time in force, or not one of the venue's.
    """
    if value is None:
        return TimeInForce.GTC
    text = value.value if isinstance(value, TimeInForce) else str(value).upper()
    known = {each.value: each for each in capabilities.times_in_force | {TimeInForce.GTC}}
    if text not in known:
        raise ConfigError(f"time_in_force={value!r} is not taken here: use {' or '.join(sorted(known))}")
    return known[text]


def not_sent_yet(*, valid: Any, is_grouped: bool) -> str | None:
    """Return why an order of this kind is not sent in this version, None when it is."""
    if is_grouped:
        return "brackets and OCO (oco=, parent=, transmit=False) are not in this version yet: send single orders"
    if valid is not None:
        return "valid= is not in this version yet: orders rest until cancelled; time_in_force='IOC' ends one at once"
    return None


def misspelt(info: Iterable[str], own: Collection[str]) -> str | None:
    """Return which of an order's remarks looks like an argument written wrong, None when none does.

    backtrader keeps any word an order is given. A ``postonly=True`` kept as a
    remark would be an order that takes where it was meant to rest.
    """
    known = {word.replace("_", ""): word for word in (*own, "exectype")}
    for name in info:
        near = difflib.get_close_matches(name.replace("_", "").lower(), known, n=1, cutoff=0.85)
        if near and name != known[near[0]]:
            return f"{name}= is no argument of an order: write {known[near[0]]}="
    return None
