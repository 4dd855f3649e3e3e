"""Where Bybit is, the keys it wants, and the adapter's own options."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from btx.bridges.places import Places, parse_options
from btx.errors import ConfigError
from btx.model.venue import Environment
from btx.ports import Context

__all__ = (
    "INVERSE",
    "LINEAR",
    "SPOT",
    "WHOLE_POSITION",
    "Options",
    "endpoints",
    "host",
    "is_demo",
    "options",
    "public_url",
    "require_keys",
    "stream_url",
    "trade_url",
)

SPOT = "spot"
"""The market that is not on margin. The names are those of the v5 API's categories."""

LINEAR = "linear"
"""Contracts settled in USDT or USDC."""

INVERSE = "inverse"
"""Contracts quoted in dollars and settled in the coin."""

WHOLE_POSITION = ("tpslMode", "Full")
"""The param of a trailing stop, and its value, that asks for the position's own."""

# https://bybit-exchange.github.io/docs/v5/guide, .../ws/connect and .../demo, 2026; ccxt has the same.
_HOST = "bybit.com"
_HOSTS = (
    _HOST,
    *("bybit.eu", "bybit.nl", "bybit.kz", "bybit.tr", "bybit-tr.com", "bybitgeorgia.ge", "bybit.ae", "bybit.id"),
)
_LIVE, _TEST, _DEMO = "wss://stream.bybit.com", "wss://stream-testnet.bybit.com", "wss://stream-demo.bybit.com"
_MARKETS = (SPOT, LINEAR, INVERSE)
_PLACES = Places(
    title="Bybit",
    streams={
        **{(market, Environment.LIVE): _LIVE for market in _MARKETS},
        **{(market, Environment.TESTNET): _TEST for market in _MARKETS},
    },
    longest_receive_window_ms=60_000,  # no limit is documented; more than a minute late is no order of this moment
)
endpoints = _PLACES.endpoints
require_keys = _PLACES.require_keys


@attrs.frozen(kw_only=True)
class Options:
    """What ``btx.load("bybit", options={...})`` may say: seconds, and words."""

    ping_interval_s: float = 20.0  # between two pings on a stream: "every 20 seconds" (ws/connect, 2026)
    ping_timeout_s: float = 10.0  # for the answer, then the connection is lost
    order_entry: str = "rest"  # or "websocket": orders go over /v5/trade
    test_system: str = "testnet"  # or "demo": which of Bybit's two env="testnet" is
    host: str = _HOST  # of the site the account is registered at; a key of one is unknown at the others


_WORDS: Mapping[str, tuple[str, ...]] = {
    "order_entry": ("rest", "websocket"),
    "test_system": ("testnet", "demo"),
    "host": _HOSTS,
}


def options(context: Context) -> Options:
    """Return the adapter's options.

    Raises:
        ConfigError: one is no positive number, or none of the words that are known.
    """
    found = parse_options(context, Options)
    for name, known in _WORDS.items():
        if getattr(found, name) not in known:
            raise ConfigError(f"options {name}={getattr(found, name)!r}: write {' or '.join(map(repr, known))}")
    if is_demo(context) and found.order_entry == "websocket":
        raise ConfigError("options order_entry='websocket': the demo system takes no orders over sockets: leave it out")
    if context.environment is Environment.TESTNET and found.host != _HOST:
        raise ConfigError(f"options host={found.host!r}: the test systems are those of {_HOST}: leave it out")
    return found


def host(context: Context) -> str:
    """Return the site's name: its API and its streams are under it. Raises: as :func:`options`."""
    return options(context).host


def is_demo(context: Context) -> bool:
    """Say whether the test system is the one that trades play money on the live market."""
    return context.environment is Environment.TESTNET and parse_options(context, Options).test_system == "demo"


def public_url(context: Context) -> str:
    """Return the address of the market's public streams."""
    return f"{_LIVE if is_demo(context) else _streams(context)}/v5/public/{context.market}"


def stream_url(context: Context) -> str:
    """Return the address of the account's stream."""
    simulator = endpoints(context)
    base = _trading(context) if simulator is None else urlsplit(simulator.trading_stream)._replace(path="").geturl()
    return f"{base}/v5/private"


def trade_url(context: Context) -> str:
    """Return the address that takes orders over a socket."""
    simulator = endpoints(context)
    return simulator.trading_stream if simulator is not None else f"{_trading(context)}/v5/trade"


def _trading(context: Context) -> str:
    return _DEMO if is_demo(context) else _streams(context)


def _streams(context: Context) -> str:
    url = _PLACES.stream_url(context)
    return url.replace(_HOST, host(context)) if url == _LIVE else url
