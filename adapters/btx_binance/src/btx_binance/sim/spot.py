"""The skin of Binance spot."""

import datetime
from collections.abc import Mapping

from aiohttp import web

from btx.sim.exchange import ExecutionEvent
from btx.sim.market import MarketEvent
from btx.sim.skin.connections import Connections
from btx.sim.world import World, WorldEvent
from btx_binance.sim import archive, elsewhere, faults, market_data, rest, trading, ws, ws_api
from btx_binance.sim.faults import Mishaps, Trouble
from btx_binance.sim.futures.protocol import day_of
from btx_binance.sim.venue import Call, Venue

__all__ = ("AS_OF", "NOT_MODELLED", "SpotSkin")

AS_OF = "2026-03"
"""The state of the venue's documentation that is served."""

NOT_MODELLED: tuple[str, ...] = (
    "SOR, pegged orders, and order lists whose exits follow the fill (OPO, OPOCO)",
    "self-trade prevention: clients' orders never meet each other, only the market",
    "the effect of an order on the market: nobody else sees it, and no print comes of it",
    "strategyId and strategyType: checked, then forgotten",
    "the BNB discount, VIP tiers, special and tax commissions: every account pays 0.1 %",
    "the decrement of the order count when orders fill",
    "archiving of orders after 90 days; expiryReason",
    "public files but the monthly klines",
    "klines of 1s and of other time zones",
    "the streams !miniTicker@arr, !ticker@arr, <symbol>@ticker_<window> and <symbol>@avgPrice",
    "one aggregate trade of several prints: each print is an aggregate of its own",
    "RSA keys; FIX; SBE; the microsecond time unit",
    "deposits, withdrawals, margin and everything else under /sapi but what clients ask for at start",
    "how fast and how long the venue bans: 418 comes after ten 429 answers, for 2 minutes first",
    "the wrapping of serverShutdown on a combined stream: the manual does not say, a fault has a form for either",
    "the venue's own delays: requests are answered, and events pushed, at once",
)
"""What a client of the real venue would find and does not find here; the README says it too."""

_CALLS: tuple[Call[Venue], ...] = (*market_data.CALLS, *trading.CALLS, *elsewhere.calls("/api/v3"))
_USER_STREAM = "/api/v3/userDataStream"
_LISTEN_KEYS_GONE = datetime.date(2026, 2, 20)  # spot's CHANGELOG: from then on user data come by the WebSocket API


class SpotSkin:
    """Spot: REST, market streams, and the WebSocket API with its user data."""

    trading_path = "/ws-api/v3"
    habits = ws.HABITS

    def __init__(self, world: World, secrets: Mapping[str, str], as_of: str = "") -> None:
        self._day = day_of(as_of, _LISTEN_KEYS_GONE)
        self.venue = Venue(world, secrets)
        self.trouble = Trouble(meters=self.venue.meters, failures=faults.SPOT)
        self._streams: ws.Streams
        self._user_data: ws_api.UserData

    def add_routes(self, app: web.Application, mishaps: Mishaps, connections: Connections) -> None:
        """Serve everything the market has."""
        self._streams = ws.Streams(self.venue, mishaps)
        self._user_data = ws_api.UserData(self.venue, mishaps)
        ws.add_routes(app, connections, self._streams)
        ws_api.add_routes(app, self.venue, connections, self._user_data, _CALLS)
        archive.add_routes(app, self.venue, mishaps)
        app.router.add_route("*", _USER_STREAM, _gone)
        rest.add_routes(app, self.venue, mishaps, _CALLS)

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        if isinstance(event, ExecutionEvent):
            self._user_data.tell(event)
        elif isinstance(event, MarketEvent):
            self._streams.tell(event)

    def settle(self) -> None:
        """Hand over what was held back to be pushed together."""
        self._streams.settle()

    def close(self) -> None:
        """Nothing runs beside the requests."""

    def describe(self, address: str) -> Mapping[str, str]:
        """Return what clients need besides the bases; ``address`` is ``host:port``."""
        stream = f"ws://{address}"
        return {
            "raw_stream": f"{stream}/ws",
            "combined_stream": f"{stream}/stream",
            "ccxt_stream": f"{stream}/stream/ws",
            "archive": f"http://{address}",
            "as_of": AS_OF if self._day is None else self._day.isoformat(),
            "not_modelled": "\n".join(NOT_MODELLED),
        }


async def _gone(_: web.Request) -> web.Response:
    raise web.HTTPGone
