"""Toy's visiting card: its markets, and what works natively in each.

REPLACE FIRST: what is declared here is what the conformance kit asks for. Take out what the venue has not, and the
core emulates or refuses it; put in what it has, and the kit proves that it works.
"""

import string

from btx.hookspecs import API
from btx.model.derivatives import MarginMode, PositionMode  # margin
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Capabilities, Channel, ClientIdSpec, Environment, VenueInfo
from btx.testing.toy.config import (
    LINEAR,  # margin
    SPOT,
)
from btx.testing.toy.limits import COSTS, LIMITS

__all__ = ("VENUE",)

_INTERVALS = tuple(Interval.parse(text) for text in ("1m", "5m", "15m", "1h", "4h", "1d"))
_ORDER_TYPES = frozenset(OrderType) - {OrderType.TRAILING_STOP}
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})

_SPOT = Capabilities(
    order_types=_ORDER_TYPES,
    times_in_force=_TIMES_IN_FORCE,
    intervals=_INTERVALS,
    channels=frozenset(Channel) - {Channel.MARK},
    post_only=True,
    cancel_all=True,
    order_lists=frozenset(ListKind),
    trade_ids_dense=True,
)

_LINEAR = Capabilities(  # margin
    order_types=_ORDER_TYPES,
    times_in_force=_TIMES_IN_FORCE,
    intervals=_INTERVALS,
    channels=frozenset(Channel),
    post_only=True,
    amend=True,
    cancel_all=True,
    trade_ids_dense=True,
    margined=True,
    reduce_only=True,
    position_modes=frozenset(PositionMode),
    margin_modes=frozenset(MarginMode),
)

_MARKETS = {
    SPOT: _SPOT,
    LINEAR: _LINEAR,  # margin
}

VENUE = VenueInfo(
    name="toy",
    title="Toy",
    api=API,
    markets=tuple(_MARKETS),
    # Add TESTNET and LIVE once config.py has their addresses, and PAPER with LIVE.
    environments=frozenset({Environment.SIM}),
    capabilities=_MARKETS,
    client_id=ClientIdSpec(
        max_len=32, alphabet=f"{string.ascii_letters}{string.digits}-_", scope="open orders", queryable=True
    ),
    limits=LIMITS,
    costs=COSTS,
)
"""What the hook btx_venue answers."""
