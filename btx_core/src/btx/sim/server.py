"""The simulator as a process: its control channel, how it is started, and how it serves.

The control channel is a WebSocket of its own, outside the venue's protocol.
JSON text frames, one answer per request with the ``id`` of the request:

==========================  =================================================================================
``hello``                   ``market_ns``, ``speed`` (null: lockstep), ``ended``
``sync`` (``api_key``)      ``sequence`` of the account's last execution event, after all frames were sent
``advance`` (``api_key``)   one step of a lockstep market: ``market_ns``, ``ended``, ``sequence``, ``closed``
                            (``[venue symbol, interval, open_ns]`` of the subscribed bars that closed),
                            ``told`` (``[channel, venue symbol, id]``: the last update of a quote or book that
                            was pushed in this step to those who subscribed, and the last trade, also to
                            those whose socket was cut); not beyond ``until_ns``, if given, and with
                            ``by_trade`` not beyond the next trade
``ledger`` (``api_key``)    ``balances``, all ``orders`` and all ``fills`` of the account; on margin also ``positions``,
                            ``wallets``, ``bookings``, ``conditionals`` and ``house``
``mark`` (``symbol``)       of a market on margin: ``mark_price``, ``index_price``, ``funding_rate``, ...
``transfer`` (``api_key``,  pays money in or out (negative) of a margin account: ``booking_id``
``asset``, ``amount``)
``tier`` (``api_key``,      sets the fee tier of a margin account (null: the schedule's own), or lets it follow the
``tier``, ``follows``)      volume
``bars`` (``symbol``)       ``played`` (minutes closed since the origin), ``first_open_ns``,
                            ``last_open_ns``, ``synthesised``
``requests``                ``requests``: how often each of the venue's operations was asked for, whatever was answered
``endpoints``               ``endpoints``: all addresses, the accounts with their secrets, and the clock
                            from now on, for a process that attaches itself to a world that is under way
``faults`` (``script``)     plays another script of :mod:`btx.sim.faults` from its beginning: ``faults``, how many
``fault_log``               ``log``: the faults that struck since the script began, in order, each with
                            ``fault``, ``where``, ``number`` (the n-th of its class, 0: it was commanded), ``what``;
                            ``script``
``truth`` (``symbol``,      ``bars``: the closed bars that open in the range, each ``[open_ns, open, high, low, close,
``interval``, ``start_ns``, volume]`` with its numbers as text; at most ``limit`` of them, or 1000
``end_ns``, ``limit``)
``sockets``                 ``sockets``: the open ones, each with ``number``, ``where``, ``subscriptions``, ``silent``,
                            ``is_mute``; ``counts``: ``dials``, ``opened``, ``open``
``strike`` (``fault``,      lets a fault strike now, on ``sockets`` (numbers; all when left out) and for a silence
``sockets``, ``stream``)    ``stream``: ``sockets``, those it struck
``block`` (``form``)        cuts every socket and refuses new ones, in a form of ``refuse``; ``unblock`` ends it
``terms`` (...)             changes how long sockets live and are pinged: :class:`btx.sim.wires.SocketTerms`
==========================  =================================================================================

What cannot be done is answered by ``{"id": ..., "error": text}``.  When a
free-running market ends, ``{"event": "ended", "market_ns": ...}`` is pushed.

The channel is no part of the venue: no fault touches it, and it goes on while
the venue is out.  A world in lockstep waits while nobody is attached.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal, InvalidOperation
from typing import Any

import aiohttp
import attrs
from aiohttp import web

from btx.errors import BtxError, ConfigError, TransportError
from btx.model.time import Interval
from btx.model.venue import Channel, Endpoints, Scenario
from btx.sim.faults import script_from_json, script_to_json
from btx.sim.ledgers import bar_json, ledger_json, mark_json
from btx.sim.margin_exchange import MarginExchange
from btx.sim.orders import Refused
from btx.sim.strikes import Strikes
from btx.sim.texts import endpoints_fields, endpoints_from_json, endpoints_to_json, scenario_to_json
from btx.sim.wires import Wires
from btx.sim.world import Want, World

__all__ = (
    "run_server",
    "serve_control",
    "spawn",
)

_HOST = "127.0.0.1"
_CONFIG_EXIT = 2  # how a child says that a human must change something
_STOP_S = 3.0
_TRUTH_BARS = 1000
_TAIL_LINES = 30
_NOT_MODELLED = "not_modelled"
_CHANNELS = {
    Want.TRADES: Channel.TRADE.value,
    Want.QUOTES: Channel.QUOTE.value,
    Want.BOOK: Channel.BOOK.value,
    Want.MARK: Channel.MARK.value,
}

Simulator = Callable[[Scenario], AbstractAsyncContextManager[Endpoints]]
_Message = dict[str, Any]


# --- the control channel ------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def serve_control(
    world: World, describe: Callable[[str], Endpoints] | None = None, wires: Wires | None = None
) -> AsyncIterator[str]:
    """Serve the control channel of a world in the running loop; the value is its ``ws://`` address.

    ``describe`` makes the simulator's endpoints of that address, for whoever
    attaches later; without it ``endpoints`` is refused.  ``wires`` are the
    skin's sockets; without them nothing can be struck, blocked or listed.
    """
    channel = _Channel(world, describe, wires)
    app = web.Application()
    app.router.add_get("/", channel.handle)
    app.on_shutdown.append(channel.close)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, _HOST, 0)
        await site.start()
        channel.address = f"ws://{_HOST}:{runner.addresses[0][1]}/"
        yield channel.address
    finally:
        await runner.cleanup()


class _Channel:
    """What the sockets of one control server share."""

    def __init__(self, world: World, describe: Callable[[str], Endpoints] | None, wires: Wires | None) -> None:
        self.address = ""
        self._world = world
        self._describe = describe
        self._sockets: set[web.WebSocketResponse] = set()
        self._ended = asyncio.Event()
        if world.speed is not None:
            world.on_ended(self._ended.set)
        self._operations: Mapping[str, Callable[[_Message], Awaitable[_Message]]] = {
            "hello": self._hello,
            "sync": self._sync,
            "advance": self._advance,
            "ledger": self._ledger,
            "bars": self._bars,
            "requests": self._requests,
            "endpoints": self._endpoints,
            "faults": self._faults,
            "fault_log": self._fault_log,
            "truth": self._truth,
            "mark": self._mark,
            "transfer": self._transfer,
            "tier": self._tier,
            **Strikes(wires).operations,
        }

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self._sockets.add(socket)
        farewell = asyncio.create_task(self._push_ended(socket), name="btx-sim-ended")
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    answer = await self._answer(message.data)
                    with contextlib.suppress(ConnectionError):  # who asked may have died meanwhile
                        await socket.send_json(answer)
        finally:
            farewell.cancel()
            self._sockets.discard(socket)
        return socket

    async def close(self, _app: web.Application) -> None:
        for socket in tuple(self._sockets):
            await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)

    async def _push_ended(self, socket: web.WebSocketResponse) -> None:
        await self._ended.wait()
        with contextlib.suppress(ConnectionError):
            await socket.send_json({"event": "ended", "market_ns": self._world.market_ns()})

    async def _answer(self, text: str) -> _Message:
        try:
            message = json.loads(text)
        except ValueError:
            return {"id": None, "error": "a request is a JSON object"}
        if not isinstance(message, dict):
            return {"id": None, "error": "a request is a JSON object"}
        request_id = message.get("id")
        operation = self._operations.get(str(message.get("op")))
        if operation is None:
            known = ", ".join(self._operations)
            return {"id": request_id, "error": f"unknown op {message.get('op')!r}: write one of {known}"}
        try:
            return {"id": request_id, **await operation(message)}
        except BtxError as error:
            return {"id": request_id, "error": str(error)}

    async def _hello(self, _message: _Message) -> _Message:
        world = self._world
        return {"market_ns": world.market_ns(), "speed": world.speed, "ended": world.ended}

    async def _sync(self, message: _Message) -> _Message:
        sequence = self._world.engine.sequence(api_key=self._api_key(message))
        await self._world.flush()
        return {"sequence": sequence}

    async def _advance(self, message: _Message) -> _Message:
        api_key = self._api_key(message)
        until_ns = message.get("until_ns")
        step = self._world.advance(
            until_ns=until_ns if isinstance(until_ns, int) else None, by_trade=message.get("by_trade") is True
        )
        sequence = self._world.engine.sequence(api_key=api_key)
        await self._world.flush()
        return {
            "market_ns": step.market_ns,
            "ended": step.is_ended,
            "sequence": sequence,
            "closed": [[symbol, str(interval), open_ns] for symbol, interval, open_ns in step.closed],
            "told": [[_CHANNELS[kind], symbol, number] for symbol, kind, number in step.told],
        }

    async def _ledger(self, message: _Message) -> _Message:
        api_key = self._api_key(message)
        return ledger_json(self._world, api_key)

    async def _mark(self, message: _Message) -> _Message:
        symbol = self._symbol(message)
        self._world.market_ns()
        return mark_json(self._margin.mark(symbol))

    async def _transfer(self, message: _Message) -> _Message:
        api_key = self._api_key(message)
        try:
            amount = Decimal(str(message.get("amount")))
            booking = self._margin.transfer(
                api_key=api_key, asset=str(message.get("asset")), amount=amount, now_ns=self._world.market_ns()
            )
        except (InvalidOperation, Refused) as error:
            raise ConfigError(f"no transfer of {message.get('amount')} {message.get('asset')}: {error}") from error
        await self._world.flush()
        return {"booking_id": booking.booking_id}

    async def _tier(self, message: _Message) -> _Message:
        api_key, tier = self._api_key(message), message.get("tier")
        self._margin.set_tier(
            api_key=api_key, tier=None if tier is None else str(tier), follows_volume=message.get("follows") is True
        )
        return {}

    @property
    def _margin(self) -> MarginExchange:
        if not self._world.is_margined:
            raise ConfigError("this market is not on margin: there are no marks, transfers and tiers")
        return self._world.margin

    async def _bars(self, message: _Message) -> _Message:
        symbol = self._symbol(message)
        self._world.market_ns()
        played, first_open_ns, last_open_ns = self._world.market.count_minutes(symbol)
        return {
            "played": played,
            "first_open_ns": first_open_ns,
            "last_open_ns": last_open_ns,
            "synthesised": list(self._world.market.synthesised),
        }

    async def _truth(self, message: _Message) -> _Message:
        symbol = self._symbol(message)
        try:
            interval = Interval.parse(str(message.get("interval")))
            start_ns, end_ns, limit = (int(message[name]) for name in ("start_ns", "end_ns", "limit"))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"truth is asked for by interval, start_ns, end_ns and limit: {error}") from error
        self._world.market_ns()
        bars = self._world.market.klines(
            symbol, interval, start_ns=start_ns, end_ns=end_ns, limit=min(limit, _TRUTH_BARS)
        )
        return {"bars": [bar_json(bar) for bar in bars if bar.is_closed]}

    async def _requests(self, _message: _Message) -> _Message:
        return {"requests": dict(self._world.requests)}

    async def _endpoints(self, _message: _Message) -> _Message:
        if self._describe is None:
            raise ConfigError("this simulator does not tell where it listens: nobody can attach to it")
        world = self._world
        endpoints = attrs.evolve(self._describe(self.address), clock=world.clock_now(), is_under_way=True)
        return {"endpoints": endpoints_fields(endpoints)}

    async def _faults(self, message: _Message) -> _Message:
        script = script_from_json(json.dumps(message.get("script")))
        self._world.faults.replace(script)
        return {"faults": len(script.faults)}

    async def _fault_log(self, _message: _Message) -> _Message:
        faults = self._world.faults
        return {
            "log": [struck.to_json() for struck in faults.log],
            "script": json.loads(script_to_json(faults.script)),
        }

    def _symbol(self, message: _Message) -> str:
        symbol = str(message.get("symbol"))
        if symbol not in self._world.listings:
            raise ConfigError(f"unknown symbol {symbol}: write one of {', '.join(self._world.listings)}")
        return symbol

    def _api_key(self, message: _Message) -> str:
        api_key = str(message.get("api_key"))
        if not self._world.engine.knows(api_key):
            raise ConfigError("api_key names no account of this simulator")
        self._world.market_ns()
        return api_key


# --- the child process, from outside -------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def spawn(
    venue: str,
    scenario: Scenario,
    *,
    start_timeout_s: float = 60.0,
    command: Sequence[str] = (sys.executable, "-m", "btx"),
) -> AsyncIterator[Endpoints]:
    """Run ``btx sim VENUE`` as a child process for as long as the context lasts; ``command`` is what btx is.

    The child has a session of its own, so that Ctrl-C reaches only its parent,
    and ends by itself when its parent dies.

    Raises:
        ConfigError: the scenario cannot be played; the child's own sentence.
        TransportError: the child died or did not get ready in time; with the end of its stderr.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        "sim",
        venue,
        "--json",
        "--scenario-json",
        scenario_to_json(scenario),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    readers = [asyncio.create_task(_keep_tail(process.stderr, tail), name="btx-sim-stderr")]
    try:
        endpoints = await _first_line(process, process.stdout, readers[0], tail, start_timeout_s)
        readers.append(asyncio.create_task(_keep_tail(process.stdout, deque(maxlen=1)), name="btx-sim-stdout"))
        yield endpoints
    finally:
        try:
            await _stop(process)
        finally:
            await asyncio.gather(*readers)


async def _first_line(
    process: asyncio.subprocess.Process,
    stdout: asyncio.StreamReader,
    stderr_reader: asyncio.Task[None],
    tail: deque[str],
    timeout_s: float,
) -> Endpoints:
    try:
        async with asyncio.timeout(timeout_s):
            line = await stdout.readline()
    except TimeoutError:
        text = " ".join(tail)
        raise TransportError(f"the simulator was not ready after {timeout_s:g} s: {text}") from None
    if line:
        return endpoints_from_json(line.decode())
    code = await process.wait()
    await stderr_reader
    text = "\n".join(line.removeprefix("btx: ") for line in tail) or "it said nothing"
    if code == _CONFIG_EXIT:
        raise ConfigError(text)
    raise TransportError(f"the simulator ended with code {code} before it was ready: {text}")


async def _keep_tail(stream: asyncio.StreamReader, tail: deque[str]) -> None:
    async for line in stream:
        tail.append(line.decode(errors="replace").rstrip())


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Close the child's stdin, which asks it to end; kill it when it does not, or when that is cut short."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


# --- the child process, from inside --------------------------------------------------------------------------


def run_server(simulator: Simulator, scenario: Scenario, *, json_line: bool, detach: bool) -> int:
    """Serve a scenario until SIGINT, SIGTERM or (unless ``detach``) the end of stdin; return the exit code.

    Prints the endpoints: as one line of JSON, or as a listing for humans with
    keys, secrets and what the skin names in ``extra["not_modelled"]``.  A
    terminal as stdin does not count: there Ctrl-C ends it.

    Raises:
        ConfigError: the scenario cannot be played, or its port is taken.
    """
    asyncio.run(_serve(simulator, scenario, json_line=json_line, detach=detach))
    return 0


async def _serve(simulator: Simulator, scenario: Scenario, *, json_line: bool, detach: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run instead
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            endpoints = await stack.enter_async_context(simulator(scenario))
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else error
            raise ConfigError(
                f"port {scenario.port} of {_HOST} cannot be served ({why}): choose another one, or 0 for any free one"
            ) from error
        sys.stdout.write(f"{endpoints_to_json(endpoints) if json_line else _listing(endpoints)}\n")
        sys.stdout.flush()
        if not detach and not sys.stdin.isatty():
            _on_end_of_stdin(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()


def _on_end_of_stdin(callback: Callable[[], object]) -> None:
    """Call ``callback`` from another thread when nothing can follow on stdin."""

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            callback()

    threading.Thread(target=read, name="btx-sim-stdin", daemon=True).start()


def _listing(endpoints: Endpoints) -> str:
    speed = endpoints.clock.speed
    extra = dict(endpoints.extra)
    not_modelled = extra.pop(_NOT_MODELLED, "").splitlines()
    pace = "in lockstep: it waits for `advance` on the control channel" if speed is None else f"at speed {speed:g}"
    lines = [
        f"simulator ready, market {pace}",
        f"  REST             {endpoints.rest}",
        f"  market streams   {endpoints.stream}",
        f"  trading streams  {endpoints.trading_stream}",
        f"  control channel  {endpoints.control}",
        *(f"  {name:<15}  {text}" for name, text in extra.items()),
        "accounts",
    ]
    for account in endpoints.accounts:
        owned = ", ".join(f"{quantity:f} {asset}" for asset, quantity in account.balances.items() if quantity)
        lines += [f"  key     {account.api_key}", f"  secret  {account.api_secret}", f"  owns    {owned or 'nothing'}"]
    if not_modelled:
        lines += ["not modelled", *(f"  - {text}" for text in not_modelled)]
    return "\n".join([*lines, "Ctrl-C ends it."])
