"""Where Binance is, the keys it wants, and the adapter's own options."""

import math

import attrs

from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Endpoints, Environment
from btx.ports import Context

__all__ = ("Options", "book_stream", "endpoints", "options", "require_keys", "stream_url")

# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and .../testnet; ccxt has the same.
_STREAMS = {
    Environment.LIVE: "wss://stream.binance.com:9443",
    Environment.PAPER: "wss://stream.binance.com:9443",
    Environment.TESTNET: "wss://stream.testnet.binance.vision",
}
# web-socket-streams, "Diff. Depth Stream", 2023-12-04.
_BOOK_STREAMS = {0.1: "depth@100ms", 1.0: "depth"}
_LONGEST_RECEIVE_WINDOW_MS = 60_000  # "Timing security" of the documentation's page on request security, 2026


@attrs.frozen(kw_only=True)
class Options:
    """What ``btx.load("binance", options={...})`` may say: seconds."""

    ping_interval_s: float = 10.0  # between two pings on a market stream
    ping_timeout_s: float = 10.0  # for the answer, then the connection is lost
    book_update_s: float = 0.1  # between two updates of a book: 0.1 or 1


def options(context: Context) -> Options:
    """Return the adapter's options.

    Raises:
        ConfigError: one is no positive number, or no speed that a stream has.
    """
    seconds = {}
    for name, text in context.settings.options.items():
        try:
            seconds[name] = float(text)
        except ValueError:
            seconds[name] = math.nan
        if not 0 < seconds[name] < math.inf:
            raise ConfigError(f"options {name}={text!r}: give a positive number of seconds, like '10'")
    found = Options(**seconds)
    if found.book_update_s not in _BOOK_STREAMS:
        raise ConfigError(
            f"options book_update_s={found.book_update_s:g}: Binance updates books every 0.1 s, or every 1 s"
        )
    return found


def book_stream(context: Context) -> str:
    """Return what the diff depth stream of the wanted speed is called, after the symbol."""
    return _BOOK_STREAMS[options(context).book_update_s]


def endpoints(context: Context) -> Endpoints | None:
    """Return the simulator's addresses, None where the venue's own are meant.

    Raises:
        ConfigError: a simulated environment without a simulator; it must not reach the venue.
    """
    if context.endpoints is None and context.environment not in _STREAMS:
        raise ConfigError(f"env={context.environment.value!r} has no addresses: start a simulator for it")
    return context.endpoints


def stream_url(context: Context) -> str:
    """Return the base address of the market streams, without a path."""
    simulator = endpoints(context)
    return simulator.stream.rstrip("/") if simulator is not None else _STREAMS[context.environment]


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
