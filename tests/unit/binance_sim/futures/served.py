"""A simulated futures market in the test's own loop, and a client that signs by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import attrs

from btx.model.venue import Scenario, SimAccount
from btx.sim.world import World
from btx_binance.sim.app import serving
from btx_binance.sim.futures.listings import listings, named
from btx_binance.sim.futures.market import DIALECTS
from tests.unit.binance_sim.served import Client, Clock

ALICE = SimAccount(
    api_key="alice", api_secret="wonder", balances={"USDT": Decimal(100_000), "BTC": Decimal(10), "BNB": Decimal(1)}
)
BOB = SimAccount(api_key="bob", api_secret="builder", balances={"USDT": Decimal(10)}, may_withdraw=True)
SYMBOLS = {"usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
QUANTITIES = {"usdm": "0.1", "coinm": "10"}


@attrs.define(kw_only=True)
class Futures(Client):
    """What a test says to a futures market."""

    market: str
    do: Any = None

    @property
    def root(self) -> str:
        return f"{DIALECTS[self.market].prefix}/v1"

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.market]

    @property
    def quantity(self) -> str:
        return QUANTITIES[self.market]

    async def server_time(self) -> Any:
        return self.clock.now_ns // 1_000_000

    async def call(self, method: str, path: str, account: SimAccount = ALICE, **params: Any) -> Any:
        """One signed call of version 1, or of another one where the path begins with a slash; only the body."""
        return (await self.answer(method, path, account, **params))[1]

    async def answer(self, method: str, path: str, account: SimAccount = ALICE, **params: Any) -> Any:
        full = path if path.startswith("/") else f"{self.root}/{path}"
        return await self.signed(method, full, account, **params)

    async def public(self, path: str, **params: Any) -> Any:
        full = path if path.startswith("/") else f"{self.root}/{path}"
        return (await self.get(full, **params))[1]

    async def send(self, account: SimAccount = ALICE, **params: Any) -> Any:
        """Place an order for the usual quantity of the usual symbol."""
        wanted = {"symbol": self.symbol, "side": "BUY", "type": "MARKET", "quantity": self.quantity, **params}
        return await self.call("POST", "order", account, **wanted)

    async def limit(self, factor: str, **params: Any) -> Any:
        """Place a limit order at so many times the mark price."""
        wanted = {"type": "LIMIT", "timeInForce": "GTC", "price": await self.level(factor), **params}
        return await self.send(**wanted)

    async def stop(self, **params: Any) -> Any:
        wanted = {
            "algoType": "CONDITIONAL",
            "symbol": self.symbol,
            "side": "SELL",
            "type": "STOP_MARKET",
            "quantity": self.quantity,
            **params,
        }
        return await self.call("POST", "algoOrder", **wanted)

    async def level(self, factor: str) -> Decimal:
        """Return a price on the grid, so many times the mark price."""
        return (await self.mark() * Decimal(factor) / 10).quantize(Decimal(1)) * 10

    async def mark(self) -> Decimal:
        row = await self.public("premiumIndex", symbol=self.symbol)
        return Decimal((row[0] if isinstance(row, list) else row)["markPrice"])

    async def advance(self, *, until_ns: int | None = None) -> Any:
        return await self.do("advance", api_key="alice", until_ns=until_ns)

    async def now_ns(self) -> int:
        return (await self.do("hello"))["market_ns"]


@contextlib.asynccontextmanager
async def served(market: str = "usdm", *, as_of: str = "", **scenario: Any) -> AsyncIterator[Futures]:
    """A lockstep market of BTC and ETH perpetuals, with Alice and Bob; wall time stands still."""
    dialect, clock = DIALECTS[market], Clock()
    wanted = named(Scenario(**{"accounts": (ALICE, BOB), "market": market, **scenario}), dialect)
    async with (
        World(wanted, listings(wanted, dialect), wall_ns=clock) as world,
        serving(world, as_of=as_of) as endpoints,
        aiohttp.ClientSession() as http,
    ):
        client = Futures(clock=clock, endpoints=endpoints, http=http, market=market)
        async with client.control() as do:
            client.do = do
            yield client


def play(scene: Callable[[Futures], Awaitable[Any]], market: str = "usdm", **scenario: Any) -> Any:
    """Run a scene against a served market, and return what it returns."""

    async def main() -> Any:
        async with served(market, **scenario) as client, asyncio.timeout(60):
            return await scene(client)

    return asyncio.run(main())
