"""A world behind fronts, and clients of them that speak their lines without the binding."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs

from btx.model.venue import Scenario
from btx.sim.world import World
from btx_ctp.sim.door import AUTH_CODE
from btx_ctp.sim.front import Fronts
from btx_ctp.sim.tables import listings
from btx_ctp.sim.wire import call_line, parse

DEADLINE_S = 60.0
RB = "rb2601"
LIMIT = {
    "InstrumentID": RB,
    "Direction": "0",
    "CombOffsetFlag": "0",
    "OrderPriceType": "2",
    "LimitPrice": 3100.0,
    "VolumeTotalOriginal": 2,
    "TimeCondition": "3",
    "VolumeCondition": "1",
}


@attrs.define(kw_only=True, eq=False)
class Client:
    """One connection: what it was told, in its order."""

    world: World
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: list[tuple[str, list[Any]]] = attrs.field(factory=list)
    next_id: int = 0
    ref: int = 0

    def call(self, name: str, **fields: Any) -> int:
        self.next_id += 1
        self.writer.write(call_line(name, fields, self.next_id))
        return self.next_id

    async def hear(self, *names: str) -> list[Any]:
        """Return the arguments of the next callback of one of these names; all before it are kept in ``told``."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                line = await self.reader.readline()
                assert line, f"hung up; told {[name for name, _ in self.told]}"
                said = parse(line)
                if "front" in said:
                    continue
                self.told.append((said["on"], said["args"]))
                if said["on"] in names:
                    return list(said["args"])

    async def ask(self, name: str, answer: str, **fields: Any) -> tuple[list[dict[str, Any]], int]:
        """Return the rows of an answer, and its ErrorID."""
        request_id, rows = self.call(name, **fields), []
        while True:
            *what, told_id, is_last = await self.hear(answer, "OnRspError")
            row, info = what if len(what) == 2 else (None, what[0])
            assert told_id == request_id
            if row is not None:
                rows.append(row[1])
            if is_last:
                return rows, info[1]["ErrorID"] if info is not None and "ErrorID" in info[1] else 0

    async def insert(self, **changes: Any) -> int:
        """Insert an order; return the ErrorID it is refused with, zero when it is taken."""
        self.ref += 1
        fields = {**LIMIT, "OrderRef": str(self.ref), "OrderMemo": f"m{self.ref}", **changes}
        self.call("ReqOrderInsert", **fields)
        while True:
            args = await self.hear("OnErrRtnOrderInsert", "OnRtnOrder")
            if args[0][1]["OrderMemo"] == fields["OrderMemo"]:  # else it is of an order before
                return int(args[1][1]["ErrorID"]) if len(args) > 1 else 0

    async def log_in(self, *, confirm: bool = True, **changes: str) -> int:
        """Log in as the account; return the ErrorID of the login."""
        account = self.world.accounts[0]
        await self.ask("ReqAuthenticate", "OnRspAuthenticate", AuthCode=changes.pop("code", AUTH_CODE))
        who = {"UserID": account.api_key[:12], "Password": account.api_secret[:40], **changes}
        _, error = await self.ask("ReqUserLogin", "OnRspUserLogin", **who)
        if confirm and not error:
            await self.ask("ReqSettlementInfoConfirm", "OnRspSettlementInfoConfirm")
        return error

    async def until(self, name: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the struct of the next callback of this name of which something is so."""
        while True:
            ((_, fields), *_rest) = await self.hear(name)
            if condition(fields):
                return fields


@attrs.define(kw_only=True)
class Desk:
    """A world in lockstep, with its fronts."""

    world: World
    fronts: Fronts
    trading: str
    market: str

    @contextlib.asynccontextmanager
    async def client(self, *, market: bool = False) -> AsyncIterator[Client]:
        host, _, port = (self.market if market else self.trading).removeprefix("tcp://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            yield Client(world=self.world, reader=reader, writer=writer)
        finally:
            writer.close()


def play(scene: Callable[[Desk], Awaitable[None]], **changes: Any) -> None:
    """Serve a world for a scene."""

    async def run() -> None:
        scenario = Scenario(seed=3, symbols=("SHFE.rb2601", "DCE.m2601"), **changes)
        async with World(scenario, listings(scenario)) as world:
            fronts = Fronts(world)
            world.listen(fronts.tell)
            trading, market = await fronts.open(0)
            try:
                await scene(Desk(world=world, fronts=fronts, trading=trading, market=market))
            finally:
                await fronts.close()

    asyncio.run(run())
