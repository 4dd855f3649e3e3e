"""Binance's rate limits, and what each of our operations costs of them.

Source: the spot API documentation, "Limits" and the weight of each endpoint
(https://developers.binance.com/docs/binance-spot-api-docs/rest-api), and the
``rateLimits`` of a recorded ``exchangeInfo`` of 2025-08-07: 6000 weight a minute
per address; 100 orders in 10 s and 200000 a day per account.
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit

__all__ = (
    "BOOK_DEPTH",
    "CONNECTION_LIFE_S",
    "COSTS",
    "LIMITS",
    "MESSAGE_PAUSE_S",
    "OPEN_ORDERS_EACH",
    "PAGE",
    "STREAMS_PER_CONNECTION",
    "TRADES_SPAN_MS",
)

LIMITS = (
    RateLimit(name="weight", limit=6000, window_s=60.0, scope="ip"),
    RateLimit(name="orders_10s", limit=100, window_s=10.0, scope="account"),
    RateLimit(name="orders_day", limit=200_000, window_s=86_400.0, scope="account"),
)

PAGE = 1000
"""Rows of klines, aggTrades and myTrades a single request returns at most."""

TRADES_SPAN_MS = 86_400_000
"""myTrades, "Notes", 2025: the longest time between startTime and endTime."""

BOOK_DEPTH = 1000
"""The deepest book we ask for; 5000 levels would cost 250 instead of 50."""

OPEN_ORDERS_EACH = 13
"""Up to so many instruments openOrders is cheaper symbol by symbol (6 each) than all at once (80)."""

STREAMS_PER_CONNECTION = 1024
"""https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams, "Websocket Limits", 2023-12-04."""

MESSAGE_PAUSE_S = 0.25
"""Between two messages of ours on a stream: the venue takes 5 a second, pings among them (same place)."""

CONNECTION_LIFE_S = 86_400.0
"""The same page, "General information": a single connection is only valid for 24 hours."""

COSTS: Mapping[str, Mapping[str, int]] = {
    "time": {"weight": 1},
    "instruments": {"weight": 20},
    "account": {"weight": 20},
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
