"""A simulated futures market in the test's own loop, its accounts at hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import attrs

from btx.model.order import OrderType, Side
from btx.model.venue import Endpoints, Scenario, SimAccount
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import NewOrder
from btx.sim.world import World
from btx_binance.sim.app import serving
from btx_binance.sim.futures.listings import listings
from btx_binance.sim.futures.market import dialect_of
from tests.unit.binance_sim.served import Clock

ALICE = SimAccount(
    api_key="alice", api_secret="wonder", balances={"USDT": Decimal(100_000), "BTC": Decimal(10), "ETH": Decimal(100)}
)
BOB = SimAccount(api_key="bob", api_secret="builder", balances={"USDT": Decimal(1_000), "BTC": Decimal(1)})
DEADLINE_S = 60.0


@attrs.define(kw_only=True)
class Venue:
    """What a test does at the venue, and says to it."""

    world: World
    endpoints: Endpoints
    http: aiohttp.ClientSession
    prefix: str
    symbol: str

    @property
    def desk(self) -> MarginExchange:
        return self.world.margin

    async def ask(self, method: str, path: str, *, key: str = "alice", **params: Any) -> Any:
        """One request with a key and no signature; the answer is (status, JSON)."""
        url = f"{self.endpoints.rest}{self.prefix}/v1/{path}"
        async with self.http.request(method, url, params=params, headers={"X-MBX-APIKEY": key}) as response:
            return response.status, await response.json()

    async def key(self) -> Any:
        return (await self.ask("POST", "listenKey"))[1]["listenKey"]

    @contextlib.asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Any]:
        async with self.http.ws_connect(f"{self.endpoints.stream}{path}") as socket:
            yield socket

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[Any]:
        async with self.http.ws_connect(self.endpoints.control) as socket:

            async def do(op: Any, **arguments: Any) -> Any:
                await socket.send_json({"id": 1, "op": op, **arguments})
                return await socket.receive_json(timeout=DEADLINE_S)

            yield do

    async def advance(self, minutes: int = 1) -> None:
        """Play minutes, until every frame has left."""
        for _ in range(minutes):
            self.world.advance()
        await self.world.flush()

    def order(self, side: Side = Side.BUY, quantity: str | None = "0.01", **order: Any) -> NewOrder:
        return NewOrder(
            venue_symbol=self.symbol,
            side=side,
            quantity=None if quantity is None else Decimal(quantity),
            **{"order_type": OrderType.MARKET, "client_order_id": "mine", **order},
        )

    def place(self, side: Side = Side.BUY, quantity: str = "0.01", **order: Any) -> Any:
        wanted = self.order(side, quantity, **order)
        return self.desk.place(api_key="alice", order=wanted, now_ns=self.world.market_ns())

    def price(self, factor: str = "1") -> Any:
        """The last price times a factor, on the grid."""
        tick = self.world.listings[self.symbol].instrument.tick_size
        return (self.world.market.last_price(self.symbol) * Decimal(factor)).quantize(tick)


@contextlib.asynccontextmanager
async def served(market: str = "usdm", *, as_of: str = "", **scenario: Any) -> AsyncIterator[Any]:
    """A lockstep market of the usual two perpetuals, with Alice and Bob; wall time stands still."""
    dialect = dialect_of(market)
    wanted = Scenario(**{"market": market, "accounts": (ALICE, BOB), "symbols": dialect.usual, **scenario})
    async with (
        World(wanted, listings(wanted, dialect), wall_ns=Clock()) as world,
        serving(world, as_of=as_of) as endpoints,
        aiohttp.ClientSession() as http,
    ):
        yield Venue(
            world=world,
            endpoints=endpoints,
            http=http,
            prefix=dialect.prefix,
            symbol=world.market.venue_symbols[0],
        )


def run(scene: Any, market: str = "usdm", **scenario: Any) -> Any:
    """Let a scene happen at a venue of its own."""

    async def main() -> Any:
        async with asyncio.timeout(DEADLINE_S), served(market, **scenario) as venue:
            return await scene(venue)

    return asyncio.run(main())


async def events(socket: Any, until: Any) -> Any:
    """Frames of a socket up to the first that ``until`` accepts."""
    seen: list[Any] = []
    while not seen or not until(seen[-1]):
        seen.append(await socket.receive_json(timeout=DEADLINE_S))
    return seen
