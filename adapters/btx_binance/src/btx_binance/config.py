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
    """Look for the account's key and secret; public data need none.

    Raises:
        MissingSecretError: one of them is not there.
    """
    if not (context.settings.api_key and context.settings.api_secret):
        raise MissingSecretError(
            f"Binance's {context.environment.value} account needs an API key and secret: "
            "pass api_key=... and api_secret=..., for example 'env:BINANCE_API_KEY'"
        )
