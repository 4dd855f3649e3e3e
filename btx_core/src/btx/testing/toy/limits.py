"""Toy's rate limits, and what each operation of a port costs of them: the core keeps within them.

REPLACE: the venue's own numbers, with the page and the date they were read at.
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit
from btx.testing.toy.config import (
    LINEAR,  # margin
    SPOT,
)

__all__ = ("COSTS", "LIMITS", "PAGE", "STREAMS_PER_CONNECTION")

PAGE = 500
"""Rows a single request returns at most."""

STREAMS_PER_CONNECTION = 100
"""Streams one socket may carry."""

_LIMITS = (RateLimit(name="requests", limit=1200, window_s=60.0, scope="ip"),)

LIMITS: Mapping[str, tuple[RateLimit, ...]] = {
    SPOT: _LIMITS,
    LINEAR: _LIMITS,  # margin
}

_FACTS = ("time", "instruments", "account", "fees", "key_rights")
_LISTS = ("place_oco", "place_oto", "place_otoco")
_ORDERS = ("place", *_LISTS, "cancel", "cancel_all", "query", "open_orders", "open_orders_one", "fills")
_HISTORY = ("bars", "trades", "last_price", "book", "book_top")
_SETTINGS = ("set_leverage", "set_margin_mode", "set_position_mode")  # margin
_MARGIN = (*_SETTINGS, "amend", "leverage_tiers", "bookings", "mark_price", "funding_rates")  # margin
_EACH: Mapping[str, int] = {"requests": 1}

COSTS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    SPOT: dict.fromkeys((*_FACTS, *_ORDERS, *_HISTORY), _EACH),
    LINEAR: dict.fromkeys((*_FACTS, *_ORDERS, *_HISTORY, *_MARGIN), _EACH),  # margin
}
"""By market and operation."""
