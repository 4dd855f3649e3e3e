"""The skin of the futures markets."""

from collections.abc import Mapping

from aiohttp import web

from btx.sim.skin.connections import Connections
from btx.sim.world import World, WorldEvent
from btx_binance.sim import rest
from btx_binance.sim.faults import Mishaps, Trouble
from btx_binance.sim.futures import listen_keys, ws, ws_api
from btx_binance.sim.futures.calls import NOT_MODELLED, calls
from btx_binance.sim.futures.listen_keys import ListenKeys
from btx_binance.sim.futures.market import FAILURES, Dialect
from btx_binance.sim.futures.protocol import Protocol
from btx_binance.sim.futures.venue import FuturesVenue

__all__ = ("FuturesSkin",)


class FuturesSkin:
    """USD-M or COIN-M: REST and, through its sockets, streams, user data and the WebSocket API."""

    habits = ws.HABITS

    def __init__(self, world: World, secrets: Mapping[str, str], dialect: Dialect, protocol: Protocol) -> None:
        self.venue = FuturesVenue(world, secrets, dialect, protocol)
        self.trouble = Trouble(meters=self.venue.meters, failures=FAILURES)
        self._keys = ListenKeys()

    @property
    def trading_path(self) -> str:
        """Where the WebSocket API is: wss://ws-fapi.binance.com/ws-fapi/v1 and wss://ws-dapi.binance.com/ws-dapi/v1."""
        return ws_api.path(self.venue)

    def add_routes(self, app: web.Application, mishaps: Mishaps, connections: Connections) -> None:
        """Serve everything the market has."""
        keys = listen_keys.calls(self._keys, f"{self.venue.dialect.prefix}/v1/listenKey")
        served = (*calls(self.venue.dialect, self.venue.protocol), *keys)
        self._sockets = ws.add_routes(app, self.venue, mishaps, connections, keys=self._keys, calls=served)
        rest.add_routes(app, self.venue, mishaps, served)

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        self._sockets.tell(event)

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""
        self._sockets.settle()

    def close(self) -> None:
        """Stop what runs beside the requests."""
        self._keys.stop()

    def describe(self, address: str) -> Mapping[str, str]:
        """Return what clients need besides the bases; ``address`` is ``host:port``.

        ``rest_v1`` is what ccxt calls ``urls["api"]["fapiPublic"]`` or ``dapiPublic``;
        other versions are beside it.  ``ccxt_stream`` is what it calls ``urls["api"]["ws"]["linear"]`` or
        ``inverse``.
        """
        return {
            "ccxt_stream": f"ws://{address}/ws",
            "rest_v1": f"http://{address}{self.venue.dialect.prefix}/v1",
            "market": self.venue.dialect.name,
            "as_of": self.venue.protocol.as_of.isoformat(),
            "not_modelled": "\n".join(NOT_MODELLED),
        }
