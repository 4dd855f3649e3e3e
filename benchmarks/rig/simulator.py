"""The venue in the box in a child process, with a stamp on what leaves and enters its sockets.

The stamp is ``time.perf_counter_ns``: one clock for all processes of a machine.
Noting costs one search in the text and one append, for every client alike.
The product is not changed: its session is given the addresses of this
simulator instead of starting one of its own.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from aiohttp import web, web_protocol

from btx.config import Settings
from btx.defaults import open_venue
from btx.model.venue import Endpoints, Environment, Scenario
from btx.runtime.session import Session
from btx.sim.texts import endpoints_from_json, endpoints_to_json
from btx.storage.journal import open_journal

if TYPE_CHECKING:
    from btx.bt.store import LiveStore

__all__ = ("Simulator", "simulator_addresses", "store_at", "store_on", "tapped_simulator")

VENUE = "binance"

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 5.0


@attrs.frozen(kw_only=True)
class Simulator:
    """A running simulator and its notes."""

    endpoints: Endpoints
    pipe: Connection

    def notes(self) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Return what left and what entered since the last call, each with its stamp."""
        self.pipe.send("notes")
        left, entered = self.pipe.recv()
        return left, entered


@contextlib.contextmanager
def tapped_simulator(scenario: Scenario, *, leaving: str = "", entering: str = "") -> Iterator[Simulator]:
    """Run a simulator that notes frames with the text ``leaving`` and requests with ``entering`` in them."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_run, args=(scenario, theirs, leaving, entering), daemon=True)
    process.start()
    theirs.close()  # so that each side hears the other's end
    try:
        if not pipe.poll(_START_TIMEOUT_S):
            raise TimeoutError("the simulator did not start")
        yield Simulator(endpoints=pipe.recv(), pipe=pipe)
    finally:
        pipe.close()
        process.join(_STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()
            process.join()


def store_on(simulator: Simulator, *, journal: Path | None = None, **settings: Any) -> "LiveStore":
    """Return what ``btx.load`` returns, on a simulator that runs already; without ``journal`` nothing is written."""
    return _store(simulator.endpoints, journal=journal, **settings)


def simulator_addresses(simulator: Simulator) -> str:
    """Return where a simulator is, as a text for another process."""
    return endpoints_to_json(simulator.endpoints)


def store_at(addresses: str) -> "LiveStore":
    """Return a store on a simulator that another process runs."""
    return _store(endpoints_from_json(addresses), journal=None)


def _store(
    endpoints: Endpoints, *, journal: Path | None, options: Mapping[str, str] | None = None, **settings: Any
) -> "LiveStore":
    from btx.bt.store import LiveStore  # not in the simulator's process

    async def addresses(_resources: AsyncExitStack) -> Endpoints:
        return endpoints

    venue = open_venue(VENUE)
    session = Session(
        venue=venue,
        environment=Environment.SIM,
        market=venue.info.markets[0],
        settings=Settings(options=dict(options or {})),
        endpoints=addresses,
        journal=None if journal is None else lambda _, on_fault: closing(open_journal(journal, on_fault=on_fault)),
        **settings,
    )
    return LiveStore(session)


def _run(scenario: Scenario, pipe: Connection, leaving: str, entering: str) -> None:
    asyncio.run(_serve(scenario, pipe, leaving, entering))


async def _serve(scenario: Scenario, pipe: Connection, leaving: str, entering: str) -> None:
    left = _note_leaving(leaving) if leaving else []
    entered = _note_entering(entering) if entering else []
    async with open_venue(VENUE).simulator(scenario) as endpoints:
        pipe.send(endpoints)
        with contextlib.suppress(EOFError):
            while await asyncio.to_thread(pipe.recv):
                pipe.send((left[:], entered[:]))
                left.clear()
                entered.clear()


def _note_leaving(mark: str) -> list[tuple[int, str]]:
    notes: list[tuple[int, str]] = []
    send = web.WebSocketResponse.send_str

    async def send_str(self: web.WebSocketResponse, data: str, compress: int | None = None) -> None:
        if mark in data:
            notes.append((time.perf_counter_ns(), data))
        await send(self, data, compress)

    web.WebSocketResponse.send_str = send_str  # type: ignore[method-assign]
    return notes


def _note_entering(mark: str) -> list[tuple[int, str]]:
    notes: list[tuple[int, str]] = []
    receive = web_protocol.RequestHandler.data_received
    needle = mark.encode()

    def data_received(self: web_protocol.RequestHandler, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        if needle in data:
            notes.append((now_ns, data.decode("latin-1")))
        receive(self, data)

    web_protocol.RequestHandler.data_received = data_received  # type: ignore[method-assign]
    return notes
