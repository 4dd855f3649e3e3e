"""The session's one ccxt instance for Binance, its answers, and the venue's own counts of its limits."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import ccxt.pro

from btx.bridges.answers import Answers
from btx.bridges.api import Api, shared_api
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance import symbols
from btx_binance.config import SPOT, endpoints
from btx_binance.errors import FUTURES_VERDICTS, SPOT_VERDICTS

__all__ = ("api", "of_symbols", "read", "receipt", "tell_socket_usage")

_ANSWERS = Answers("Binance")
read = _ANSWERS.read
of_symbols = _ANSWERS.of_symbols
receipt = _ANSWERS.receipt


def api(context: Context) -> Api:
    """Return the session's shared connection; see :func:`btx.bridges.api.shared_api`."""
    is_spot, is_test = context.market == SPOT, context.environment is Environment.TESTNET
    return shared_api(
        context,
        ccxt.pro.binance,
        venue="Binance",
        verdicts=SPOT_VERDICTS if is_spot else FUTURES_VERDICTS,
        options={
            "defaultType": "spot",
            "recvWindow": context.settings.receive_window_ms,
            # Were ccxt to load its markets, it should ask for the spot ones and nothing else.
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "adjustForTimeDifference": False,
        },
        endpoints=endpoints(context),
        name_of=functools.partial(symbols.symbol_of, market=context.market),
        sandbox=is_test and is_spot,
        demo=is_test and not is_spot,  # what the futures' test network is now
        on_headers=functools.partial(_tell_usage, context.observe),
    )


# "X-MBX-USED-WEIGHT-(intervalNum)(intervalLetter)" and "X-MBX-ORDER-COUNT-...": rest-api.md, "IP Limits", 2025.
_USAGE = {
    "x-mbx-used-weight-1m": "weight",
    "x-mbx-order-count-10s": "orders_10s",
    "x-mbx-order-count-1m": "orders_1m",
    "x-mbx-order-count-1d": "orders_day",
}


def _tell_usage(observe: Callable[[str, int], None], _url: str, headers: Mapping[str, str]) -> None:
    """Tell what an answer's headers say of the rate limits."""
    for name, text in headers.items():
        limit = _USAGE.get(name.lower())
        if limit is not None and text.isdigit():
            observe(limit, int(text))


# The same in the "rateLimits" of an answer on a socket: web-socket-api.md, "Rate limits", 2025.
_SOCKET_USAGE = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "weight",
    ("ORDERS", "SECOND", 10): "orders_10s",
    ("ORDERS", "MINUTE", 1): "orders_1m",
    ("ORDERS", "DAY", 1): "orders_day",
}


def tell_socket_usage(observe: Callable[[str, int], None], message: Mapping[str, Any]) -> None:
    """Tell what an answer on a socket says of the rate limits."""
    for row in message.get("rateLimits") or ():
        limit = _SOCKET_USAGE.get((row.get("rateLimitType"), row.get("interval"), row.get("intervalNum")))
        if limit is not None and isinstance(row.get("count"), int):
            observe(limit, row["count"])
