"""Binance's rate limits by market, and what each of our operations costs of them.

Sources: the spot API documentation, "Limits" and the weight of each endpoint
(https://developers.binance.com/docs/binance-spot-api-docs/rest-api), and the
``rateLimits`` of recorded ``exchangeInfo`` of 2025-08-07; the weights of
https://developers.binance.com/docs/derivatives, 2026-05-28; USD-M and COIN-M have one
pool since 2026-06-30 (.../coin-margined-futures/Important-CM-UM-Integration-Notice).
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit

__all__ = (
    "BOOK_DEPTH",
    "CONNECTION_LIFE_S",
    "COSTS",
    "FUTURES_BOOK_DEPTHS",
    "FUTURES_OPEN_ORDERS_EACH",
    "FUTURES_TRADES_SPAN_MS",
    "LIMITS",
    "MESSAGE_PAUSE_S",
    "OPEN_ORDERS_EACH",
    "PAGE",
    "STREAMS_PER_CONNECTION",
    "TRADES_SPAN_MS",
)

_FUTURES_LIMITS = (
    RateLimit(name="weight", limit=2400, window_s=60.0, scope="ip"),
    RateLimit(name="orders_10s", limit=300, window_s=10.0, scope="account"),
    RateLimit(name="orders_1m", limit=1200, window_s=60.0, scope="account"),
)

LIMITS: Mapping[str, tuple[RateLimit, ...]] = {
    "spot": (
        RateLimit(name="weight", limit=6000, window_s=60.0, scope="ip"),
        RateLimit(name="orders_10s", limit=100, window_s=10.0, scope="account"),
        RateLimit(name="orders_day", limit=200_000, window_s=86_400.0, scope="account"),
    ),
    # "Get Funding Rate History": 500 in 5 min, together with fundingInfo.
    "usdm": (*_FUTURES_LIMITS, RateLimit(name="funding", limit=500, window_s=300.0, scope="ip")),
    "coinm": _FUTURES_LIMITS,
}
"""Of USD-M and COIN-M each counts for itself here; what the venue says of their one pool is heard by both."""

PAGE = 1000
"""Rows of klines, aggTrades, trades of the account and income a single request returns at most."""

TRADES_SPAN_MS = 86_400_000
"""myTrades, "Notes", 2025: the longest time between startTime and endTime."""

FUTURES_TRADES_SPAN_MS = 7 * 86_400_000
"""userTrades, 2026-05-28: the same; and what is older than 6 months is not told."""

BOOK_DEPTH = 1000
"""The deepest book we ask for; of spot 5000 levels would cost 250 instead of 50."""

FUTURES_BOOK_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)
"""The numbers of levels a book of futures may be asked for with."""

OPEN_ORDERS_EACH = 13
"""Up to so many instruments openOrders is cheaper symbol by symbol (6 each) than all at once (80)."""

FUTURES_OPEN_ORDERS_EACH = 40
"""The same of both id spaces: 1 and 1 each, 40 and 40 at once."""

STREAMS_PER_CONNECTION = 1024
"""Web-socket-streams, "Websocket Limits", 2023-12-04; "Websocket Market Streams" of futures, 2026-05-28."""

MESSAGE_PAUSE_S = 0.25
"""Between two messages of ours on a stream: spot takes 5 a second, pings among them, futures 10 (same places)."""

CONNECTION_LIFE_S = 86_400.0
"""The same pages: a single connection is only valid for 24 hours."""

_SPOT: Mapping[str, Mapping[str, int]] = {
    "time": {"weight": 1},
    "instruments": {"weight": 20},
    "account": {"weight": 20},
    "fees": {"weight": 20},  # an instrument
    "key_rights": {},  # sapi counts apart
    "place": {"weight": 1, "orders_10s": 1, "orders_day": 1},
    "place_oco": {"weight": 1, "orders_10s": 2, "orders_day": 2},
    "place_oto": {"weight": 1, "orders_10s": 2, "orders_day": 2},
    "place_otoco": {"weight": 1, "orders_10s": 3, "orders_day": 3},
    "replace": {"weight": 1, "orders_10s": 1, "orders_day": 1},
    "cancel": {"weight": 1},
    "cancel_all": {"weight": 1},
    "fills": {"weight": 20},
    "query": {"weight": 9},  # the order 4, its fills 5
    "open_orders": {"weight": 80},
    "open_orders_one": {"weight": 6},
    "bars": {"weight": 2},
    "archive": {},  # files on another host, which counts nothing
    "last_price": {"weight": 4},
    "trades": {"weight": 4},  # a page
    "book": {"weight": 50},
    "book_top": {"weight": 5},  # at most 100 levels
}

_FUTURES: Mapping[str, Mapping[str, int]] = {
    "time": {"weight": 1},
    "instruments": {"weight": 1},
    "key_rights": {},  # sapi counts apart
    "set_leverage": {"weight": 1},
    "set_margin_mode": {"weight": 1},
    "set_position_mode": {"weight": 1},
    "place": {"orders_10s": 1, "orders_1m": 1},
    "amend": {"orders_10s": 1, "orders_1m": 1},
    "cancel": {"weight": 2},  # an order of which it is not known where it is: in the one id space, then the other
    "cancel_all": {"weight": 2},
    "dead_man": {"weight": 10},
    "fills": {"weight": 5},  # a page
    "query": {"weight": 8},  # both id spaces, the child of a conditional order, its fills 5
    "open_orders": {"weight": 80},
    "open_orders_one": {"weight": 2},
    "bars": {"weight": 5},
    "archive": {},  # files on another host, which counts nothing
    "last_price": {"weight": 20},
    "trades": {"weight": 20},  # a page
    "book": {"weight": 20},
    "book_top": {"weight": 5},  # at most 100 levels
}

COSTS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "spot": _SPOT,
    "usdm": {
        **_FUTURES,
        "account": {"weight": 20},  # four answers of 5
        "fees": {"weight": 50},  # an instrument 20, and whether BNB is burnt 30
        "leverage_tiers": {"weight": 1},
        "bookings": {"weight": 30},  # a page
        "mark_price": {"weight": 1},
        "funding_rates": {"funding": 1},
    },
    "coinm": {
        **_FUTURES,
        "account": {"weight": 36},  # account 5, positions 1, mode 30
        "fees": {"weight": 20},  # an instrument
        "leverage_tiers": {"weight": 2},
        "bookings": {"weight": 20},
        "mark_price": {"weight": 10},
        "funding_rates": {"weight": 1},
    },
}
"""By market and operation."""
