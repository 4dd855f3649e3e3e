"""Where Binance is, and the keys it wants."""

from btx.errors import ConfigError, MissingSecretError
from btx.model.venue import Endpoints, Environment
from btx.ports import Context

__all__ = ("endpoints", "require_keys", "stream_url")

# https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams and .../testnet; ccxt has the same.
_STREAMS = {
    Environment.LIVE: "wss://stream.binance.com:9443",
    Environment.PAPER: "wss://stream.binance.com:9443",
    Environment.TESTNET: "wss://stream.testnet.binance.vision",
}
_LONGEST_RECEIVE_WINDOW_MS = 60_000  # "Timing security" of the documentation's page on request security, 2026


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
