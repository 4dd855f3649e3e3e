"""A simulated venue in the test's own loop, and a client that signs by hand."""

import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import aiohttp
import attrs
import yarl

from btx.model.venue import Scenario, SimAccount
from btx.sim.world import World
from btx_bybit.sim.app import serving
from btx_bybit.sim.calls import MANNERS
from btx_bybit.sim.listings import listings, named

NOON_NS = 1_772_020_800 * 10**9  # a whole day, minute and ten seconds of wall time

_OWNED = {
    "spot": {"USDT": Decimal(100_000), "BTC": Decimal(1)},
    "linear": {"USDT": Decimal(100_000)},
    "inverse": {"BTC": Decimal(10)},
}


@attrs.define(kw_only=True)
class Clock:
    """Wall time, as the test wants it."""

    now_ns: int = NOON_NS

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)


def sign(secret: str, text: str) -> str:
    """The venue's signature of a text."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


@attrs.define(kw_only=True)
class Socket:
    """One socket of the venue: JSON in, JSON out."""

    wire: aiohttp.ClientWebSocketResponse

    async def say(self, **message: Any) -> None:
        await self.wire.send_str(json.dumps(message))

    async def hear(self) -> Any:
        return json.loads((await self.wire.receive(timeout=60)).data)

    async def ask(self, **message: Any) -> Any:
        """Say something and return the answer to it; what came before is kept in ``frames``."""
        await self.say(**message)
        return await self.hear()

    async def frames(self, count: int) -> list[Any]:
        return [await self.hear() for _ in range(count)]

    async def until(self, topic: str) -> Any:
        """Return the next frame of a topic."""
        while True:
            frame = await self.hear()
            if frame.get("topic") == topic:
                return frame


@attrs.define(kw_only=True)
class Client:
    """What a test says to the venue."""

    clock: Clock
    endpoints: Any
    http: aiohttp.ClientSession
    world: World

    async def get(self, path: str, **params: Any) -> Any:
        """One public request; the answer is the whole envelope."""
        async with self.http.get(
            yarl.URL(f"{self.endpoints.rest}{path}?{urlencode(params)}", encoded=True)
        ) as response:
            return await response.json(content_type=None)

    async def signed(self, method: str, path: str, account: str = "alice", **params: Any) -> Any:
        """One signed request; the answer is the whole envelope."""
        stamp = str(self.clock.now_ns // 10**6)
        query = urlencode(params) if method == "GET" else ""
        body = json.dumps(params) if method != "GET" else ""
        text = f"{stamp}{account}5000{query or body}"
        headers = {
            "X-BAPI-API-KEY": account,
            "X-BAPI-TIMESTAMP": stamp,
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": sign(f"{account}'s secret", text),
            "Content-Type": "application/json",
        }
        url = yarl.URL(f"{self.endpoints.rest}{path}" + (f"?{query}" if query else ""), encoded=True)
        async with self.http.request(method, url, headers=headers, data=body or None) as response:
            return await response.json(content_type=None)

    @contextlib.asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[Socket]:
        async with self.http.ws_connect(f"{self.endpoints.stream}{path}") as wire:
            yield Socket(wire=wire)

    @contextlib.asynccontextmanager
    async def account(self, *topics: str, name: str = "alice") -> AsyncIterator[Socket]:
        """A private socket that hears of an account."""
        async with self.socket("/v5/private") as socket:
            assert (await socket.ask(op="auth", args=self.proof(name)))["success"]
            if topics:
                assert (await socket.ask(op="subscribe", args=list(topics)))["success"]
            yield socket

    @contextlib.asynccontextmanager
    async def trade(self, name: str = "alice") -> AsyncIterator[Socket]:
        """A socket for order entry."""
        async with self.socket("/v5/trade") as socket:
            assert (await socket.ask(op="auth", args=self.proof(name)))["retCode"] == 0
            yield socket

    def proof(self, name: str = "alice", *, in_s: float = 10) -> list[Any]:
        """What a socket is authenticated with."""
        expires = self.clock.now_ns // 10**6 + int(in_s * 1000)
        return [name, expires, sign(f"{name}'s secret", f"GET/realtime{expires}")]

    def header(self) -> dict[str, str]:
        """What an order over a socket carries beside it."""
        return {"X-BAPI-TIMESTAMP": str(self.clock.now_ns // 10**6)}

    @contextlib.asynccontextmanager
    async def control(self) -> AsyncIterator[Any]:
        """The control channel: call it with an operation and its arguments."""
        async with self.http.ws_connect(self.endpoints.control) as socket:

            async def do(op: str, **arguments: Any) -> Any:
                await socket.send_json({"id": 1, "op": op, **arguments})
                while (answer := await socket.receive_json(timeout=60)).get("id") != 1:
                    pass
                assert "error" not in answer, answer
                return answer

            yield do


@contextlib.asynccontextmanager
async def served(market: str = "linear", **terms: Any) -> AsyncIterator[Client]:
    """Serve a synthetic market in lockstep to alice and bob; ``terms`` are the scenario's."""
    clock = Clock()
    names = ("alice", "bob")
    accounts = tuple(SimAccount(api_key=name, api_secret=f"{name}'s secret", balances=_OWNED[market]) for name in names)
    scenario = named(Scenario(market=market, **{"seed": 7, "speed": None, "accounts": accounts, **terms}))
    async with (
        World(scenario, listings(scenario), wall_ns=clock, manners=MANNERS) as world,
        serving(world) as endpoints,
        aiohttp.ClientSession() as http,
    ):
        yield Client(clock=clock, endpoints=endpoints, http=http, world=world)
