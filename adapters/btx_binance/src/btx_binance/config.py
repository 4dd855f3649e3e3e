"""Where Binance is, the keys it wants, and the adapter's own options."""

from collections.abc import Mapping

import attrs

from btx.bridges.places import Places, parse_options
from btx.errors import ConfigError
from btx.model.venue import Environment
from btx.ports import Context

__all__ = ("SPOT", "Options", "book_stream", "endpoints", "options", "require_keys", "stream_url")

SPOT = "spot"
"""The market that is not on margin."""

# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and .../testnet;
# https://developers.binance.com/docs/derivatives, "Websocket Market Streams", 2026-05-28; ccxt has the same.
_STREAMS = {
    (SPOT, Environment.LIVE): "wss://stream.binance.com:9443",
    (SPOT, Environment.TESTNET): "wss://stream.testnet.binance.vision",
    ("usdm", Environment.LIVE): "wss://fstream.binance.com",
    ("usdm", Environment.TESTNET): "wss://fstream.binancefuture.com",
    ("coinm", Environment.LIVE): "wss://dstream.binance.com",
    ("coinm", Environment.TESTNET): "wss://dstream.binancefuture.com",
}
# "Diff. Depth Stream" of web-socket-streams, 2023-12-04, and "Diff. Book Depth Streams" of futures, 2026-05-28.
_SPOT_BOOKS = {0.1: "depth@100ms", 1.0: "depth"}
_FUTURES_BOOKS = {0.1: "depth@100ms", 0.25: "depth", 0.5: "depth@500ms"}

_PLACES = Places(
    title="Binance",
    streams=_STREAMS,
    longest_receive_window_ms=60_000,  # "Timing security" of the documentation's page on request security, 2026
)
endpoints = _PLACES.endpoints
stream_url = _PLACES.stream_url
require_keys = _PLACES.require_keys


@attrs.frozen(kw_only=True)
class Options:
    """What ``btx.load("binance", options={...})`` may say: seconds, but for the last."""

    ping_interval_s: float = 10.0  # between two pings on a stream
    ping_timeout_s: float = 10.0  # for the answer, then the connection is lost
    book_update_s: float = 0.1  # between two updates of a book: 0.1, or 1 (spot), 0.25, 0.5 (futures)
    listen_key_refresh_s: float = 1500.0  # between two extensions of a listen key, which lives for an hour (futures)
    split_streams: bool = True  # USD-M: /public, /market and /private, as it is since 2026-04-23, not one root


def options(context: Context) -> Options:
    """Return the adapter's options.

    Raises:
        ConfigError: one is no positive number (or, of a switch, not yes or no), or no speed that a stream has.
    """
    found = parse_options(context, Options)
    speeds = _books(context)
    if found.book_update_s not in speeds:
        known = ", ".join(f"{speed:g}" for speed in speeds)
        raise ConfigError(
            f"options book_update_s={found.book_update_s:g}: Binance updates books of this market every {known} s"
        )
    return found


def _books(context: Context) -> Mapping[float, str]:
    return _SPOT_BOOKS if context.market == SPOT else _FUTURES_BOOKS


def book_stream(context: Context) -> str:
    """Return what the diff depth stream of the wanted speed is called, after the symbol."""
    return _books(context)[options(context).book_update_s]
