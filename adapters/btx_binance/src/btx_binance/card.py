"""Binance's visiting card: its markets, and what works natively in each."""

import math
import string

from btx.hookspecs import API
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import ListKind, OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Capabilities, Channel, ClientIdSpec, DeadMan, Environment, VenueInfo
from btx_binance.config import SPOT, Options
from btx_binance.limits import CONNECTION_LIFE_S, COSTS, LIMITS

__all__ = ("VENUE",)

_INTERVALS = "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"
_TIMES_IN_FORCE = frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})

_SPOT = Capabilities(
    order_types=frozenset(OrderType),
    times_in_force=_TIMES_IN_FORCE,
    intervals=tuple(Interval.parse(text) for text in _INTERVALS.split()),
    channels=frozenset(Channel) - {Channel.MARK},
    post_only=True,
    iceberg=True,
    trailing_bps=(10, 2000),  # the filter TRAILING_DELTA of exchangeInfo, 2025-08-07
    replace=True,
    cancel_all=True,
    order_lists=frozenset(ListKind),
    archive=True,
    trade_ids_dense=True,  # aggTrade "a": without a hole in the recorded sessions of spot, 2024 and 2025
    connection_life_s=CONNECTION_LIFE_S,
)


def _futures(times_in_force: frozenset[TimeInForce], *, currency: str) -> Capabilities:
    return Capabilities(
        order_types=frozenset(OrderType),
        times_in_force=times_in_force,
        intervals=tuple(Interval.parse(text) for text in _INTERVALS.split()),
        channels=frozenset(Channel),
        post_only=True,  # GTX
        good_till_min_s=660.0,  # the same page: goodTillDate more than 600 s ahead, and a minute for what lies between
        trailing_bps=(10, 1000),  # "New Algo Order", 2026-05-28: callbackRate, min 0.1, max 10 where 1 for 1%
        amend=True,
        dead_man=DeadMan.COUNTDOWN,
        dead_man_s=(5.0, math.inf),  # any time is taken; a shorter one is not renewed in time
        cancel_all=True,
        archive=True,
        trade_ids_dense=True,  # likewise in cryptofeed's recorded session of USD-M
        connection_life_s=CONNECTION_LIFE_S,
        margined=True,
        reduce_only=True,
        position_modes=frozenset(PositionMode),
        margin_modes=frozenset(MarginMode),
        currency=currency,
    )


# The documentation's ^[\.A-Z\:/a-z0-9_-]{1,36}$; unique among open orders only, so ours are never used twice.
_CLIENT_ID = ClientIdSpec(
    max_len=36,
    alphabet=f"{string.ascii_letters}{string.digits}.:/_-",
    scope="open orders",
    queryable=True,
)

VENUE = VenueInfo(
    name="binance",
    title="Binance",
    api=API,
    markets=(SPOT, "usdm", "coinm"),
    environments=frozenset({Environment.SIM, Environment.PAPER, Environment.TESTNET, Environment.LIVE}),
    capabilities={
        SPOT: _SPOT,
        "usdm": _futures(_TIMES_IN_FORCE | {TimeInForce.GTD}, currency="USDT"),
        "coinm": _futures(_TIMES_IN_FORCE, currency="BTC"),  # "timeInForce" of its exchangeInfo, 2025-08-07
    },
    client_id=_CLIENT_ID,
    limits=LIMITS,
    costs=COSTS,
    settings=Options,
)
"""What the hook btx_venue answers."""
