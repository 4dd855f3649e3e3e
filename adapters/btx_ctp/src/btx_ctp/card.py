"""CTP's visiting card: one market, and what works natively in it."""

import string

from btx.hookspecs import API
from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Capabilities, Channel, ClientIdSpec, Environment, VenueInfo
from btx_ctp.config import FUTURES, Options
from btx_ctp.limits import COSTS, LIMITS

__all__ = ("VENUE",)

_FUTURES = Capabilities(
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),  # at the market: a limit within the day's prices
    times_in_force=frozenset({TimeInForce.DAY, TimeInForce.IOC, TimeInForce.FOK}),
    intervals=(Interval.parse("1m"),),
    channels=frozenset({Channel.BAR, Channel.QUOTE, Channel.MARK, Channel.ACCOUNT}),
    streams_per_connection=500,
    sparse_bars=True,
    history=False,
    margined=True,
    funding=False,
    bookings=False,
    sets_leverage=False,
    account_updates=False,
    clock=False,
    position_modes=frozenset({PositionMode.ONE_WAY}),  # the net of what is long and short: lots are below it
    margin_modes=frozenset({MarginMode.CROSS}),
    offsets=True,
    prepares=True,
    currency="CNY",
)

VENUE = VenueInfo(
    name="ctp",
    title="CTP",
    api=API,
    markets=(FUTURES,),
    environments=frozenset({Environment.SIM, Environment.TESTNET, Environment.LIVE}),
    capabilities={FUTURES: _FUTURES},
    # OrderMemo, echoed untouched since 6.7.7; CTP itself does not look whether it repeats.
    client_id=ClientIdSpec(
        max_len=12, alphabet=f"{string.ascii_letters}{string.digits}_-", scope="day", queryable=True
    ),
    limits={FUTURES: LIMITS},
    costs={FUTURES: COSTS},
    settings=Options,
)
"""What the hook btx_venue answers."""
