"""Futu's visiting card: its markets, and what works natively in each."""

import string

from btx.hookspecs import API
from btx.model.order import OrderType, TimeInForce
from btx.model.time import Interval
from btx.model.venue import Capabilities, Channel, ClientIdSpec, Environment, VenueInfo
from btx_futu.config import MARKETS, Options
from btx_futu.limits import COSTS, LIMITS, REMARK_BYTES
from btx_futu.symbols import PLACES

__all__ = ("VENUE",)


def _capabilities(market: str) -> Capabilities:
    return Capabilities(
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),  # all that paper accounts take
        times_in_force=frozenset({TimeInForce.DAY}),  # likewise
        intervals=(Interval.parse("1m"),),
        channels=frozenset({Channel.BAR, Channel.ACCOUNT}),
        amend=True,
        error_codes=False,
        executions=False,  # of paper accounts; those of real ones are told
        closes_bars=False,
        sparse_bars=True,
        streams_per_connection=100,  # the smallest quota of subscriptions an account has
        currency=PLACES[market].currency,
    )


VENUE = VenueInfo(
    name="futu",
    title="Futu",
    api=API,
    markets=MARKETS,
    environments=frozenset({Environment.SIM, Environment.TESTNET, Environment.LIVE}),
    capabilities={market: _capabilities(market) for market in MARKETS},
    client_id=ClientIdSpec(
        max_len=REMARK_BYTES,
        alphabet=f"{string.ascii_letters}{string.digits}-_.",
        scope="account",
        queryable=True,
    ),
    optional_keys=frozenset({"api_key", "api_secret"}),  # paper: the first account; real: named, and unlocked in OpenD
    limits=LIMITS,
    costs=COSTS,
    settings=Options,
)
"""What the hook btx_venue answers."""
