"""OpenD's rate limits, and what each of our operations costs of them.

Source: Futu OpenAPI, "Frequency limits" of each interface (openapi.futunn.com/futu-api-doc), 2026: at most n in any
30 s, counted per account where an order or an account is concerned.  What OpenD answers of its own cache
counts nothing.
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit

__all__ = ("COSTS", "LIMITS", "PAGE", "REMARK_BYTES", "SNAPSHOT_CODES")

_WINDOW_S = 30.0

_EACH = (
    RateLimit(name="orders", limit=15, window_s=_WINDOW_S, scope="account"),
    RateLimit(name="changes", limit=20, window_s=_WINDOW_S, scope="account"),
    RateLimit(name="deals", limit=10, window_s=_WINDOW_S, scope="account"),
    RateLimit(name="history", limit=60, window_s=_WINDOW_S),
    RateLimit(name="snapshots", limit=60, window_s=_WINDOW_S),
    RateLimit(name="listings", limit=10, window_s=_WINDOW_S),
)
LIMITS: Mapping[str, tuple[RateLimit, ...]] = {"hk": _EACH, "us": _EACH}

_COST: Mapping[str, Mapping[str, int]] = {
    "time": {},
    "instruments": {"listings": 1},
    "account": {},
    "fees": {},
    "key_rights": {},
    "place": {"orders": 1},
    "cancel": {"changes": 1},
    "amend": {"changes": 1},
    "query": {},
    "open_orders": {},
    "open_orders_one": {},
    "fills": {"deals": 1},
    "bars": {"history": 1},
    "last_price": {"snapshots": 1},
}
COSTS: Mapping[str, Mapping[str, Mapping[str, int]]] = {"hk": _COST, "us": _COST}
"""By market and operation."""

PAGE = 1000
"""Bars a request for history returns at most."""

SNAPSHOT_CODES = 400
"""Codes one snapshot is asked for at most."""

REMARK_BYTES = 64
"""How long the text may be that an order carries and its reports repeat."""
