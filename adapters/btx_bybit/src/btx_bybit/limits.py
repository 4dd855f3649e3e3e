"""Bybit's rate limits, and what each of our operations costs of them.

Source: https://bybit-exchange.github.io/docs/v5/rate-limit, table "UTA2.0 Pro", as of
2026-07-29: 600 requests in 5 s for an address, and for each endpoint (and of some for
each category) so many in a second for an account.  VIP levels have more of what makes,
amends and cancels orders (.../rate-limit/rules-for-vips: 20 to 60 of contracts, 25 to 40
of spot); an answer's header ``X-Bapi-Limit`` says how many, and those here are what
everybody has.  Orders over a socket count against the same limits as over REST.

Sockets: 500 new connections in 5 min for an address, 1000 at once for market data.
"""

from collections.abc import Mapping

from btx.model.venue import RateLimit
from btx_bybit.config import INVERSE, LINEAR, SPOT

__all__ = (
    "BOOK_DEPTHS",
    "COSTS",
    "ENDPOINTS",
    "EXECUTIONS_PAGE",
    "FUNDING_PAGE",
    "INSTRUMENTS_PAGE",
    "KLINES_PAGE",
    "LIMITS",
    "LOG_PAGE",
    "ORDERS_PAGE",
    "POSITIONS_PAGE",
    "SPANS",
    "SPAN_MS",
    "TRADES_PAGES",
)

INSTRUMENTS_PAGE = 1000
"""Rows of ``instruments-info`` a page has at most; spot comes whole."""

KLINES_PAGE = 1000
"""Bars of ``kline`` a page has at most."""

FUNDING_PAGE = 200
"""Rates of ``funding/history`` a page has at most."""

TRADES_PAGES: Mapping[str, int] = {SPOT: 60, LINEAR: 1000, INVERSE: 1000}
"""Public trades ``recent-trade`` tells at most; there is no asking for older ones."""

ORDERS_PAGE = 50
"""Orders of ``realtime`` and ``history`` a page has at most."""

EXECUTIONS_PAGE = 100
"""Executions a page of ``execution/list`` has at most."""

POSITIONS_PAGE = 200
"""Positions a page of ``position/list`` has at most."""

LOG_PAGE = 50
"""Rows of ``transaction-log`` a page has at most."""

SPAN_MS = 7 * 86_400_000
"""The longest time between startTime and endTime of ``transaction-log`` and ``execution/list``."""

SPANS = 26
"""How many of them are looked into: half a year. The venue keeps two, at a request a week of 25 in a second."""

BOOK_DEPTHS: Mapping[str, int] = {SPOT: 1000, LINEAR: 1000, INVERSE: 1000}
"""The most levels ``orderbook`` gives: market/orderbook, "limit", 2026."""

_ADDRESS = RateLimit(name="requests", limit=600, window_s=5.0, scope="ip")


def _account(name: str, each_s: int) -> RateLimit:
    return RateLimit(name=name, limit=each_s, window_s=1.0, scope="account")


_ASKED = (
    _account("realtime", 50),
    _account("history", 50),
    _account("executions", 50),
    _account("wallet", 50),
    _account("keys", 10),
)
_HELD = (
    _account("positions", 50),
    _account("leverage", 10),
    _account("trading_stop", 10),
    _account("log", 25),
)

LIMITS: Mapping[str, tuple[RateLimit, ...]] = {
    SPOT: (
        _ADDRESS,
        _account("create", 20),
        _account("amend", 10),
        _account("cancel", 20),
        _account("cancel_all", 20),
        _account("dcp", 5),
        *_ASKED,
        _account("fee_rate", 5),
    ),
    **dict.fromkeys(
        (LINEAR, INVERSE),
        (
            _ADDRESS,
            _account("create", 10),
            _account("amend", 10),
            _account("cancel", 10),
            _account("cancel_all", 10),
            _account("dcp", 5),
            *_ASKED,
            _account("fee_rate", 5),
            *_HELD,
        ),
    ),
}
"""By market."""

ENDPOINTS: Mapping[str, str] = {
    "/v5/order/create": "create",
    "/v5/order/amend": "amend",
    "/v5/order/cancel": "cancel",
    "/v5/order/cancel-all": "cancel_all",
    "/v5/order/disconnected-cancel-all": "dcp",
    "/v5/order/realtime": "realtime",
    "/v5/order/history": "history",
    "/v5/execution/list": "executions",
    "/v5/account/wallet-balance": "wallet",
    "/v5/account/fee-rate": "fee_rate",
    "/v5/account/transaction-log": "log",
    "/v5/user/query-api": "keys",
    "/v5/position/list": "positions",
    "/v5/position/set-leverage": "leverage",
    "/v5/position/trading-stop": "trading_stop",
}
"""What limits each endpoint, for what an answer's headers say of it."""

_PUBLIC = {
    "time": {"requests": 1},
    "instruments": {"requests": 1},  # a page
    "bars": {"requests": 1},
    "last_price": {"requests": 1},
    "trades": {"requests": 1},
    "book": {"requests": 1},
    "book_top": {"requests": 1},
}
_TRADING = {
    "key_rights": {"requests": 1, "keys": 1},
    "fees": {"requests": 1, "fee_rate": 1},  # an instrument
    "place": {"requests": 1, "create": 1},
    "amend": {"requests": 1, "amend": 1},
    "cancel": {"requests": 1, "cancel": 1},
    "cancel_all": {"requests": 1, "cancel_all": 1},
    "dead_man": {"requests": 3, "dcp": 1, "keys": 1},  # and whether it is enabled, and whose key it is
    "query": {"requests": 3, "realtime": 1, "history": 1, "executions": 1},
    "open_orders": {"requests": 1, "realtime": 1},  # a page
    "open_orders_one": {"requests": 1, "realtime": 1},
    "fills": {"requests": 1, "executions": 1},  # a page
}
_MARGIN = {
    **_PUBLIC,
    **_TRADING,
    "place_trailing_stop": {"requests": 2, "trading_stop": 1, "positions": 1},
    "cancel_trailing_stop": {"requests": 1, "trading_stop": 1},
    "account": {"requests": 5, "wallet": 1, "positions": 3},
    "leverage_tiers": {"requests": 1},  # an instrument
    "set_leverage": {"requests": 1, "leverage": 1},
    "set_margin_mode": {"requests": 1},
    "set_position_mode": {"requests": 3, "positions": 1},  # and one for each instrument that is traded
    "bookings": {"requests": 1, "log": 1},  # a page
    "mark_price": {"requests": 1},
    "funding_rates": {"requests": 1},
}

COSTS: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    SPOT: {
        **_PUBLIC,
        **_TRADING,
        "account": {"requests": 1, "wallet": 1},
        "place": {"requests": 2, "create": 1},  # of a conditional order the last price is asked for before
        "cancel_all": {"requests": 5, "cancel_all": 5},  # of each kind of order
    },
    LINEAR: _MARGIN,
    INVERSE: _MARGIN,
}
"""By market and operation."""
