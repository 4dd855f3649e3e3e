"""OpenD in a box: what it is asked, who answers, and what it pushes."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from btx.model.time import NS_PER_S
from btx.sim.faults import Action, Kind, Where
from btx.sim.market import BarChange
from btx.sim.orders import ExecutionEvent, Refused
from btx.sim.skin.mishaps import Mishaps
from btx.sim.world import World, WorldEvent
from btx_futu.sim.answers import TROUBLE, WireError, refusal_text
from btx_futu.sim.connections import Connection, Connections
from btx_futu.sim.messages import message_module
from btx_futu.sim.meters import Meters
from btx_futu.sim.quotes import QUOTES, Quotes
from btx_futu.sim.tables import Exchange
from btx_futu.sim.trading import TRADES, Trading
from btx_futu.sim.wire import Frame, FrameError

__all__ = ("OpenDSkin",)

_INIT, _STATE, _KEEP_ALIVE = 1001, 1002, 1004
_UPDATE_ORDER, _UPDATE_KL = 2208, 3007
_VERSION, _BUILD = 1011, 7108
_KEEP_ALIVE_S = 10
_OPEN_MORNING, _CLOSED = 3, 6  # Qot_Common.QotMarketState

Handler = Callable[[Any, Connection, Any, Any], None]

_SYSTEM: Mapping[int, tuple[str, Where | None]] = {
    _INIT: ("InitConnect", None),
    _STATE: ("GetGlobalState", Where.MARKET),
    _KEEP_ALIVE: ("KeepAlive", None),
}


class OpenDSkin:
    """The wire of one market over a world."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self.world = world
        world.faults.leave_out(Kind.BAN)  # OpenD runs on one's own machine, and shuts nobody out
        self.mishaps: Mishaps[WireError] = Mishaps(world, TROUBLE)
        self.connections = Connections(self.mishaps)
        self.mishaps.cut_all = self.connections.close
        self.trading = Trading(world, exchange)
        self.quotes = Quotes(world, exchange)
        self._conn_ids = itertools.count(7001)
        self._meters = Meters()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- connections ----------------------------------------------------------------------------------------

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="opend-connection")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        if not first:  # it only looked whether somebody listens
            writer.close()
            return
        with self.connections.opened(reader, writer) as connection:
            now_s = asyncio.get_running_loop().time()
            action = self.world.faults.on_dial(now_s=now_s, what="InitConnect")
            if self.connections.is_refused(action):
                connection.abort()
                return
            if (fault := action.get(Kind.HALF_OPEN, Kind.DELAY)) is not None:
                await self.mishaps.pause(fault.for_s or None)
                if fault.kind is Kind.HALF_OPEN:
                    connection.abort()
                    return
            try:
                await connection.run(first, lambda frame: self._on_frame(connection, frame))
            except FrameError:
                connection.abort()
            finally:
                self.quotes.leave(connection)

    async def close(self) -> None:
        """Cut everybody off."""
        self.connections.close()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=1.0)

    # --- requests -------------------------------------------------------------------------------------------

    async def _on_frame(self, connection: Connection, frame: Frame) -> None:
        name, where = self._known(frame.proto_id)
        action = Action()
        if where is not None:
            action = self.mishaps.on_request(where, name)
            if where is Where.MARKET and name == "Qot_Sub":
                action = Action(faults=(*action.faults, *self.mishaps.on_subscribe(name).faults))
        if action.get(Kind.DROP, Kind.OUTAGE) is not None:
            connection.abort()
            return
        if (fault := action.get(Kind.HALF_OPEN)) is not None:
            connection.is_mute = True
            if fault.for_s:
                asyncio.get_running_loop().call_later(fault.for_s, connection.abort)
            return
        answer, afterwards = self._answer(connection, frame, name, action)
        await self._send(connection, answer, action)
        if afterwards is not None:
            afterwards()

    def _known(self, proto_id: int) -> tuple[str, Where | None]:
        if proto_id in _SYSTEM:
            return _SYSTEM[proto_id]
        known = TRADES.get(proto_id) or QUOTES.get(proto_id)
        return (known[0], known[1]) if known is not None else (f"protocol {proto_id}", None)

    def _answer(
        self, connection: Connection, frame: Frame, name: str, action: Action
    ) -> tuple[Frame, Callable[[], None] | None]:
        """Do what is asked; return the answer, and what follows it."""
        afterwards = None
        try:
            module = message_module(name)
        except ModuleNotFoundError:
            module = message_module("KeepAlive")  # any will do for a refusal
        response = module.Response()
        try:
            if (refused := self._refusal(action)) is not None:
                raise refused
            request = module.Request()
            request.ParseFromString(frame.body)
            self.world.market_ns()  # what is due has happened before anything is answered
            response.s2c.SetInParent()
            afterwards = self._handle(connection, frame.proto_id, name, request.c2s, response.s2c)
            response.retType = 0
            if (failed := self.mishaps.failure(action)) is not None:
                raise failed
        except (WireError, Refused) as error:
            response.ClearField("s2c")
            response.retType = error.ret_type if isinstance(error, WireError) else -1
            response.retMsg = refusal_text(error) if isinstance(error, Refused) else str(error)
        return Frame(frame.proto_id, frame.serial, response.SerializeToString()), afterwards

    def _refusal(self, action: Action) -> WireError | None:
        if action.get(Kind.REFUSE) is not None:
            return WireError("the subscription is refused: out of quota")
        return self.mishaps.refusal(action)

    def _handle(
        self, connection: Connection, proto_id: int, name: str, asked: Any, answer: Any
    ) -> Callable[[], None] | None:
        account = asked.header.accID if proto_id in TRADES and hasattr(asked, "header") else 0
        self._meters.take(name, account, self.world.wire_ns())
        if proto_id == _INIT:
            self._let_in(answer)
        elif proto_id == _STATE:
            self._state(answer)
        elif proto_id == _KEEP_ALIVE:
            answer.time = self.world.wire_ns() // NS_PER_S
        elif proto_id in TRADES:
            self._check_packet(connection, asked)
            TRADES[proto_id][2](self.trading, connection, asked, answer)
        elif proto_id in QUOTES:
            return QUOTES[proto_id][2](self.quotes, connection, asked, answer, self._push_bar)
        else:
            raise WireError(f"the simulated OpenD does not know {name}")
        return None

    def _let_in(self, answer: Any) -> None:
        answer.serverVer, answer.loginUserID, answer.connID = _VERSION, 10086, next(self._conn_ids)
        answer.connAESKey, answer.keepAliveInterval = "0" * 16, _KEEP_ALIVE_S

    def _state(self, answer: Any) -> None:
        is_open = any(self.world.market.is_trading(symbol) for symbol in self.world.listings)
        state = _OPEN_MORNING if is_open else _CLOSED
        for field in ("marketHK", "marketUS", "marketSH", "marketSZ", "marketHKFuture"):
            setattr(answer, field, state)
        answer.qotLogined = answer.trdLogined = True
        answer.serverVer, answer.serverBuildNo = _VERSION, _BUILD
        wire_ns = self.world.wire_ns()
        answer.time, answer.localTime = wire_ns // NS_PER_S, wire_ns / NS_PER_S

    @staticmethod
    def _check_packet(connection: Connection, asked: Any) -> None:
        """See that nothing is done twice: what does something is numbered."""
        if not any(field.name == "packetID" for field in asked.DESCRIPTOR.fields):
            return
        serial = asked.packetID.serialNo
        if serial in connection.packets:
            raise WireError("the packetID was used before")
        connection.packets.add(serial)

    async def _send(self, connection: Connection, answer: Frame, action: Action) -> None:
        await self.mishaps.hold(action)
        if action.get(Kind.LOSE) is not None:
            connection.abort()
        elif action.get(Kind.TRUNCATE) is not None:
            connection.put_half(answer)
        else:
            connection.put(answer)

    # --- pushes ---------------------------------------------------------------------------------------------

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        if isinstance(event, ExecutionEvent):
            self._push_order(event)
        elif isinstance(event, BarChange):
            for connection in self.connections:
                if event.venue_symbol in connection.subscriptions:
                    self._push_bar(connection, event.venue_symbol)

    def _push_order(self, event: ExecutionEvent) -> None:
        number = int(event.api_key)
        message = message_module("Trd_UpdateOrder").Response()
        message.retType = 0
        self.trading.write_header(message.s2c.header, number)
        self.trading.write_order(message.s2c.order, event.order)
        for connection in self.connections:
            if number in connection.accounts:
                # A push is numbered by what happened: the number of its event, which grows.
                frame = Frame(_UPDATE_ORDER, event.sequence, message.SerializeToString())
                connection.push(frame, self.mishaps.on_push(Where.ACCOUNT_STREAM, "Trd_UpdateOrder"))

    def _push_bar(self, connection: Connection, venue_symbol: str) -> None:
        body = self.quotes.bar_message(venue_symbol)
        if body is not None and venue_symbol not in connection.silent:
            frame = Frame(_UPDATE_KL, next(connection.pushed), body)
            connection.push(frame, self.mishaps.on_push(Where.MARKET_STREAM, venue_symbol))
