"""Where Toy is, and the keys it wants."""

from collections.abc import Mapping

from btx.bridges.places import Places
from btx.model.venue import Environment
from btx.ports import Context

__all__ = ("LINEAR", "PLACES", "SPOT", "rest_url")

SPOT = "spot"
"""The market of what is bought and owned."""

LINEAR = "linear"
"""The market of perpetuals, on margin. A venue that has none: take it out wherever its name stands."""

# REPLACE: the venue's own addresses, with the page and the date they were read at, such as
#   (SPOT, Environment.LIVE): "wss://stream.toy.example"
_STREAMS: Mapping[tuple[str, Environment], str] = {}
_REST: Mapping[tuple[str, Environment], str] = {}

PLACES = Places(title="Toy", streams=_STREAMS, longest_receive_window_ms=60_000)
"""The addresses, and what signed requests need."""


def rest_url(context: Context) -> str:
    """Return the base address of HTTP requests.

    Raises:
        ConfigError: the environment has none.
    """
    simulator = PLACES.endpoints(context)
    if simulator is not None:
        return simulator.rest
    # On paper orders are filled against the venue's own market.
    environment = Environment.LIVE if context.environment is Environment.PAPER else context.environment
    return _REST[context.market, environment]
