"""Where Binance is, the keys it wants, and the adapter's own options."""

import math
from collections.abc import Mapping
from typing import Any

import attrs

from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Endpoints, Environment
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
_DATA_OF = {Environment.PAPER: Environment.LIVE}  # whose data it is that orders are filled against
# "Diff. Depth Stream" of web-socket-streams, 2023-12-04, and "Diff. Book Depth Streams" of futures, 2026-05-28.
_SPOT_BOOKS = {0.1: "depth@100ms", 1.0: "depth"}
_FUTURES_BOOKS = {0.1: "depth@100ms", 0.25: "depth", 0.5: "depth@500ms"}
_SWITCH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_LONGEST_RECEIVE_WINDOW_MS = 60_000  # "Timing security" of the documentation's page on request security, 2026


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
    found = Options(**{name: _value(name, text) for name, text in context.settings.options.items()})
    speeds = _books(context)
    if found.book_update_s not in speeds:
        known = ", ".join(f"{speed:g}" for speed in speeds)
        raise ConfigError(
            f"options book_update_s={found.book_update_s:g}: Binance updates books of this market every {known} s"
        )
    return found


def _value(name: str, given: object) -> Any:
    text = str(given)
    if attrs.fields_dict(Options)[name].type is bool:
        if text.lower() not in _SWITCH:
            raise ConfigError(f"options {name}={text!r}: write 'yes' or 'no'")
        return _SWITCH[text.lower()]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"options {name}={text!r}: give a positive number of seconds, like '10'")
    return seconds


def _books(context: Context) -> Mapping[float, str]:
    return _SPOT_BOOKS if context.market == SPOT else _FUTURES_BOOKS


def book_stream(context: Context) -> str:
    """Return what the diff depth stream of the wanted speed is called, after the symbol."""
    return _books(context)[options(context).book_update_s]


def endpoints(context: Context) -> Endpoints | None:
    """Return the simulator's addresses, None where the venue's own are meant.

    Raises:
        ConfigError: a simulated environment without a simulator; it must not reach the venue.
    """
    if context.endpoints is None and _place(context) not in _STREAMS:
        raise ConfigError(f"env={context.environment.value!r} has no addresses: start a simulator for it")
    return context.endpoints


def stream_url(context: Context) -> str:
    """Return the base address of the streams, without a path."""
    simulator = endpoints(context)
    return simulator.stream.rstrip("/") if simulator is not None else _STREAMS[_place(context)]


def _place(context: Context) -> tuple[str, Environment]:
    return context.market, _DATA_OF.get(context.environment, context.environment)


def require_keys(context: Context) -> None:
    """Look at what signed requests need: key, secret and a receive window. Public data need none of them.

    Raises:
        MissingSecretError: key or secret is not there.
        ConfigError: the venue takes no receive window of this length.
    """
    if not (context.settings.api_key and context.settings.api_secret):
        raise MissingSecretError(
            f"Binance's {context.environment.value} account needs an API key and secret: "
            "pass api_key=... and api_secret=..., for example 'env:BTX_BINANCE_API_KEY'"
        )
    if context.settings.receive_window_ms > _LONGEST_RECEIVE_WINDOW_MS:
        raise ConfigError(
            f"Binance takes a receive window of at most {_LONGEST_RECEIVE_WINDOW_MS} ms: "
            f"give less than receive_window_ms={context.settings.receive_window_ms}"
        )
