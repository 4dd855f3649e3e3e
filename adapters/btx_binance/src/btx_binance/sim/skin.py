"""What a market's skin is to the application that serves it."""

from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from btx.sim.world import WorldEvent
from btx_binance.sim.connections import Connections
from btx_binance.sim.faults import Failures, Mishaps
from btx_binance.sim.venue import Venue

__all__ = ("Skin",)


class Skin(Protocol):
    """The wire of one market over a world."""

    @property
    def venue(self) -> Venue:
        """The world behind the wire."""

    @property
    def failures(self) -> Failures:
        """How the market's system says that it failed."""

    @property
    def trading_path(self) -> str:
        """Where the WebSocket API is."""

    def connections(self, mishaps: Mishaps) -> Connections:
        """Return the keeper of this market's sockets, with its habits."""

    def add_routes(self, app: web.Application, mishaps: Mishaps, connections: Connections) -> None:
        """Serve everything the market has."""

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""

    def close(self) -> None:
        """Stop what runs beside the requests."""

    def describe(self, address: str) -> Mapping[str, str]:
        """Return what clients need besides the bases; ``address`` is ``host:port``."""
