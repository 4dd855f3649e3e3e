"""A simulated venue in the test's own loop, and a client that signs by hand."""

import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import attrs
import yarl

from btx.model.venue import Scenario, SimAccount
from btx.sim.world import World
from btx_binance.sim.app import serving
from btx_binance.sim.exchange_info import listings

NOON_NS = 1_772_020_800 * 10**9  # a whole day, minute and ten seconds of wall time

ALICE = SimAccount(
    api_key="alice", api_secret="wonder", balances={"USDT": Decimal(100_000), "BTC": Decimal(1), "BNB": Decimal(0)}
)
BOB = SimAccount(api_key="bob", api_secret="builder", balances={"USDT": Decimal(10)})


@attrs.define(kw_only=True)
class Clock:
    """Wall time, as the test wants it."""

    now_ns: int = NOON_NS

    def __call__(self) -> Any:
        return self.now_ns

    def pass_s(self, seconds: int) -> None:
        self.now_ns += seconds * 10**9


@attrs.define(kw_only=True)
class Client:
    """What a test says to the venue."""

    clock: Clock
    endpoints: object
    http: aiohttp.ClientSession

    async def get(self, path: str, **params: Any) -> Any:
        return await self.ask("GET", path, params)

    async def ask(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: Any = None,
    ) -> Any:
        """One request as it stands; the answer is (status, JSON, headers)."""
        query = urlencode(params or {})
        url = yarl.URL(
            f"{self.endpoints.rest}{path}" + (f"?{query}" if query else ""), encoded=True
        )  # as it was signed
        async with self.http.request(method, url, headers=headers, data=body) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def server_time(self) -> Any:
        return (await self.get("/api/v3/time"))[1]["serverTime"]

    async def signed(self, method: str, path: str, account: SimAccount = ALICE, **params: Any) -> Any:
        """One signed request, its parameters in the query."""
        params.setdefault("timestamp", await self.server_time())
        params["signature"] = sign(account, urlencode(params))
        return await self.ask(method, path, params, headers={"X-MBX-APIKEY": account.api_key})

    async def order(self, account: SimAccount = ALICE, **params: Any) -> Any:
        return await self.signed("POST", "/api/v3/order", account, symbol="BTCUSDT", **params)

    @contextlib.asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Any]:
        async with self.http.ws_connect(f"{self.endpoints.stream}{path}") as socket:
            yield socket

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[Any]:
        async with self.http.ws_connect(self.endpoints.control) as socket:

            async def do(op: Any, **arguments: Any) -> Any:
                await socket.send_json({"id": 1, "op": op, **arguments})
                return await socket.receive_json(timeout=60)

            yield do

    async def price(self) -> Any:
        return Decimal((await self.get("/api/v3/ticker/price", symbol="BTCUSDT"))[1]["price"])


def sign(account: SimAccount, payload: str) -> Any:
    return hmac.new(account.api_secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


@contextlib.asynccontextmanager
async def served(**scenario: Any) -> AsyncIterator[Any]:
    """A lockstep market of BTC/USDT and ETH/USDT, with Alice and Bob; wall time stands still."""
    wanted = Scenario(**{"accounts": (ALICE, BOB), **scenario})
    clock = Clock()
    async with (
        World(wanted, listings(wanted), wall_ns=clock) as world,
        serving(world) as endpoints,
        aiohttp.ClientSession() as http,
    ):
        yield Client(clock=clock, endpoints=endpoints, http=http)
