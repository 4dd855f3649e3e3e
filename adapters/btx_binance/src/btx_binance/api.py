"""The session's one ccxt instance, and what every port of it needs: answers read, receipts, the venue's own counts.

ccxt signs and sends; the answers are read raw by the codecs, because what ccxt
makes of them are floats.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs
import ccxt.pro

from btx.bridges.ccxt import Client, Throttle
from btx.errors import DataError, OutcomeUnknownError
from btx.model.order import Receipt
from btx.model.time import to_ms
from btx.model.venue import Environment
from btx.ports import Context
from btx_binance import symbols
from btx_binance.config import SPOT, endpoints
from btx_binance.errors import FUTURES_VERDICTS, SPOT_VERDICTS

__all__ = ("Api", "api", "of_symbols", "read", "receipt", "tell_socket_usage")

T = TypeVar("T")

_SHARED = "btx_binance.api"


@attrs.define(kw_only=True)
class Api:
    """What the ports of one session share: the ccxt instance, and how the venue's symbols are called here."""

    client: Client
    market: str
    symbols: dict[str, str] = attrs.field(factory=dict)  # BTCUSDT -> BTC/USDT

    def symbol(self, venue_symbol: str) -> str:
        """Return our name of a symbol.

        Raises:
            DataError: it is neither in the catalogue nor ends in a known quote asset.
        """
        return self.symbols.get(venue_symbol) or symbols.symbol_of(venue_symbol, market=self.market)


def api(context: Context) -> Api:
    """Return the session's shared connection; the first call makes it, ``context.resources`` closes it.

    A throttle under ``context.shared["throttle"]`` is awaited before each request.
    """
    known: Api | None = context.shared.get(_SHARED)
    if known is not None:
        return known
    throttle: Throttle | None = context.shared.get("throttle")
    simulator = endpoints(context)
    is_spot, is_test = context.market == SPOT, context.environment is Environment.TESTNET
    client = Client(
        ccxt.pro.binance,
        venue="Binance",
        verdicts=SPOT_VERDICTS if is_spot else FUTURES_VERDICTS,
        wire_ms=lambda: to_ms(context.clock.wire_ns()),
        api_key=context.settings.api_key,
        api_secret=context.settings.api_secret,
        options={
            "defaultType": "spot",
            "recvWindow": context.settings.receive_window_ms,
            # Were ccxt to load its markets, it should ask for the spot ones and nothing else.
            "fetchMarkets": {"types": ["spot"]},
            "fetchCurrencies": False,
            "fetchMargins": False,
            "adjustForTimeDifference": False,
        },
        sandbox=is_test and is_spot,
        endpoints=simulator,
        throttle=throttle,
        on_headers=functools.partial(_tell_usage, context.observe),
        tap=context.tap,
        proxy=context.settings.proxy,
    )
    if is_test and not is_spot:
        client.exchange.enable_demo_trading(True)  # ccxt's name of what the futures' test network is now
    context.resources.push_async_callback(client.close)
    made = Api(client=client, market=context.market)
    context.shared[_SHARED] = made
    return made


def read(decode: Callable[..., T], raw: Any, **context: Any) -> T:
    """Return what ``decode`` makes of an answer.

    Raises:
        DataError: the answer has another shape than the documentation's.
    """
    try:
        return decode(raw, **context)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"Binance's answer cannot be read: {error!r} in {str(raw)[:200]}") from error


def of_symbols(rows: Iterable[Any], symbols: Mapping[str, str]) -> list[tuple[str, Any]]:
    """Return the rows of those symbols of the venue, each with our name of its symbol.

    Raises:
        DataError: a row does not say which it is of.
    """
    named = ((read(_symbol, row), row) for row in rows)
    return [(symbols[name], row) for name, row in named if name in symbols]


def _symbol(row: Mapping[str, Any]) -> str:
    return str(row["symbol"])


def receipt(answer: Any, *path: str) -> Receipt:
    """Return what an order was taken with.

    Raises:
        OutcomeUnknownError: the answer is none to an order, so nobody knows what became of it.
    """
    found = answer
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is None:
        raise OutcomeUnknownError(f"Binance's answer to an order cannot be read: {str(answer)[:200]}")
    return Receipt(venue_order_id=str(found))


# "X-MBX-USED-WEIGHT-(intervalNum)(intervalLetter)" and "X-MBX-ORDER-COUNT-...": rest-api.md, "IP Limits", 2025.
_USAGE = {
    "x-mbx-used-weight-1m": "weight",
    "x-mbx-order-count-10s": "orders_10s",
    "x-mbx-order-count-1m": "orders_1m",
    "x-mbx-order-count-1d": "orders_day",
}


def _tell_usage(observe: Callable[[str, int], None], headers: Mapping[str, str]) -> None:
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
