"""Bybit's visiting card: its markets, and what works natively in each."""

import string

from btx.hookspecs import API
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Capabilities, Channel, ClientIdSpec, DeadMan, Environment, VenueInfo
from btx_bybit.config import INVERSE, LINEAR, SPOT, WHOLE_POSITION, Options
from btx_bybit.limits import COSTS, LIMITS, TRADES_PAGES

__all__ = ("VENUE",)

_INTERVALS = "1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1M"
_ATTACHING = frozenset({"takeProfit", "stopLoss"})  # of create-order, 2026
_ATTACHED_LIMITS = frozenset({"tpLimitPrice", "slLimitPrice"})
_DEAD_MAN_S = (3.0, 300.0)  # "timeWindow" of disconnected-cancel-all, 2026
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})
_ORDER_TYPES = frozenset(OrderType) - {OrderType.TRAILING_STOP}  # its trailing stops are of positions, not orders

_SPOT = Capabilities(
    order_types=_ORDER_TYPES,
    times_in_force=_TIMES_IN_FORCE,
    intervals=tuple(Interval.parse(text) for text in _INTERVALS.split()),
    channels=frozenset(Channel) - {Channel.MARK},
    post_only=True,
    attaching=_ATTACHING,
    attached_limits=_ATTACHED_LIMITS,
    amend=True,
    cancel_all=True,
    dead_man=DeadMan.STREAM,
    dead_man_s=_DEAD_MAN_S,
    trades_kept=TRADES_PAGES[SPOT],
)


def _contracts(position_modes: frozenset[PositionMode], *, currency: str) -> Capabilities:
    return Capabilities(
        order_types=_ORDER_TYPES,
        times_in_force=_TIMES_IN_FORCE,
        intervals=tuple(Interval.parse(text) for text in _INTERVALS.split()),
        channels=frozenset(Channel),
        post_only=True,
        attaching=_ATTACHING,
        attached_limits=_ATTACHED_LIMITS,
        amend=True,
        cancel_all=True,
        dead_man=DeadMan.STREAM,
        dead_man_s=_DEAD_MAN_S,
        trades_kept=TRADES_PAGES[LINEAR],
        margined=True,
        charges_closing=True,
        position_trail=WHOLE_POSITION,
        reduce_only=True,
        position_modes=position_modes,
        margin_modes=frozenset(MarginMode),
        currency=currency,
    )


# "orderLinkId" of create-order, 2026: letters, digits, dashes and underscores, at most 36, always unique.
_CLIENT_ID = ClientIdSpec(
    max_len=36,
    alphabet=f"{string.ascii_letters}{string.digits}-_",
    scope="account",
    queryable=True,
)

VENUE = VenueInfo(
    name="bybit",
    title="Bybit",
    api=API,
    markets=(SPOT, LINEAR, INVERSE),
    environments=frozenset({Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE}),
    capabilities={
        SPOT: _SPOT,
        # "Switch Position Mode", 2026: contracts in USDT alone have a hedge mode.
        LINEAR: _contracts(frozenset(PositionMode), currency="USDT"),
        INVERSE: _contracts(frozenset({PositionMode.ONE_WAY}), currency="BTC"),
    },
    client_id=_CLIENT_ID,
    limits=LIMITS,
    costs=COSTS,
    settings=Options,
)
"""What the hook btx_venue answers."""
