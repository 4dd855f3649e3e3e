"""The simulated fronts: one for trading, one for market data, on loopback, over one counter."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from btx.errors import ConfigError
from btx.sim.exchange import ExecutionEvent
from btx.sim.faults import Action, Fault, Kind, Where
from btx.sim.margin_events import AccountEvent, ConfigEvent
from btx.sim.market import BarChange, PublicTrade
from btx.sim.wires import SocketTerms, SocketView
from btx.sim.world import World, WorldEvent
from btx_ctp.sim import rows
from btx_ctp.sim.counter import Booked, Counter, CtpError
from btx_ctp.sim.door import Door
from btx_ctp.sim.queries import Queries
from btx_ctp.sim.quotes import Quotes
from btx_ctp.sim.session import Session
from btx_ctp.sim.texts import info
from btx_ctp.sim.wire import parse

__all__ = ("Fronts",)

_HOST = "127.0.0.1"
_NOT_LOGGED_IN, _NOT_CONFIRMED = 6, 42
_REF, _NOT_READY, _BUSY, _TOO_MANY = 22, 7, 90, 116
_RESTART = 0
_NOT_HERE = (  # no front has them
    *(Kind.ERROR_AFTER, Kind.BAN, Kind.KEY_EXPIRY, Kind.CLOCK_JUMP, Kind.ACK_AFTER_FILL, Kind.DELAY, Kind.REORDER),
)
_MUTE = frozenset({Kind.HALF_OPEN, Kind.SILENCE})


class Fronts:
    """Serves a world, and tells its clients what happens."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._counter = Counter(world)
        world.faults.leave_out(*_NOT_HERE)
        self._door = Door(self._counter)
        self._sessions: dict[int, Session] = {}
        self._numbers = itertools.count(1)
        self._quotes = Quotes(self._counter, sessions=lambda: tuple(self._sessions.values()), push=self._push)
        self._is_blocked = False
        self._counts = {"dials": 0, "opened": 0}
        self._servers: list[asyncio.Server] = []
        self._readers: set[asyncio.Task[None]] = set()
        self._calls: Mapping[str, Callable[[Session, dict[str, Any], int], None]] = {
            "ReqAuthenticate": self._door.authenticate,
            "ReqUserLogin": self._log_in,
            "ReqSettlementInfoConfirm": self._confirm,
            "ReqOrderInsert": self._insert,
            "ReqOrderAction": self._act,
            "SubscribeMarketData": self._subscribe,
            "UnSubscribeMarketData": self._quotes.unsubscribe,
            **Queries(self._counter, self._quotes).calls,
        }

    # --- life -------------------------------------------------------------------------------------------------

    async def open(self, port: int) -> tuple[str, str]:
        """Listen; return the addresses of the trading and of the market data front.

        Raises:
            OSError: the port is taken.
        """
        found = []
        for where, wanted in ((Where.ACCOUNT_STREAM, port), (Where.MARKET_STREAM, 0)):
            server = await asyncio.start_server(self._serve(where), _HOST, wanted)
            self._servers.append(server)
            found.append(f"tcp://{_HOST}:{server.sockets[0].getsockname()[1]}")
        trading, market = found
        return trading, market

    async def close(self) -> None:
        """End all connections and listen no more."""
        for server in self._servers:
            server.close()
        for session in tuple(self._sessions.values()):
            session.abort()
        for server in self._servers:
            await server.wait_closed()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def flush(self) -> None:
        """Wait until everything that was told has left."""
        for session in tuple(self._sessions.values()):
            await session.drain()

    def _serve(self, where: Where) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._counts["dials"] += 1
            action = self._world.faults.on_dial(now_s=asyncio.get_running_loop().time(), what=where.value)
            is_out = self._world.faults.is_out(now_s=asyncio.get_running_loop().time())
            if self._is_blocked or is_out or action.get(Kind.REFUSE, Kind.DROP, Kind.HALF_OPEN) is not None:
                writer.transport.abort()
                return
            self._counts["opened"] += 1
            task = asyncio.current_task()
            assert task is not None
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)
            session = Session(next(self._numbers), where, writer)
            self._sessions[session.number] = session
            session.greet()
            try:
                async for line in reader:
                    self._take(session, line)
            except ConnectionError:
                pass  # it was cut
            finally:
                del self._sessions[session.number]
                self._quotes.forget(session, session.symbols)
                writer.close()

        return serve

    def _take(self, session: Session, line: bytes) -> None:
        said = parse(line)
        name, fields, request_id = said["call"], said["request"], said["id"]
        self._world.market_ns()  # what is due by now happens before it is heard
        self._look_at_day()
        operation = _operation_of(name)
        action = self._on_request(operation, name)
        if action.get(Kind.DROP, Kind.OUTAGE) is not None:
            session.abort()
            return
        if session.is_mute:
            return
        if (refusal := self._limited(action, operation)) is not None:
            self._refuse(session, name, fields, request_id, refusal)
            return
        lost = action.get(Kind.LOSE, Kind.TRUNCATE) is not None
        if action.get(Kind.TRUNCATE) is not None:
            session.send_half("OnRspError")
        session.is_mute = lost  # what comes of it is not told
        call = self._calls.get(name)
        if call is None:
            self._refuse(session, name, fields, request_id, _BUSY)
        else:
            call(session, fields, request_id)
        if lost:
            session.abort()

    def _on_request(self, operation: Where, name: str) -> Action:
        self._world.requests[name] += 1
        return self._world.faults.on_request(operation, now_s=asyncio.get_running_loop().time(), what=name)

    @staticmethod
    def _limited(action: Action, operation: Where) -> int | None:
        if action.get(Kind.ERROR_BEFORE) is not None:
            return _NOT_READY
        if action.get(Kind.RATE_LIMIT) is None:
            return None
        return _TOO_MANY if operation in {Where.PLACE, Where.CANCEL} else _BUSY

    @staticmethod
    def _refuse(session: Session, name: str, fields: dict[str, Any], request_id: int, error_id: int) -> None:
        if name == "ReqOrderInsert":
            told = ("CThostFtdcInputOrderField", fields)
            session.send("OnRspOrderInsert", told, info(error_id), request_id, True)
            session.send("OnErrRtnOrderInsert", told, info(error_id))
        elif name == "ReqOrderAction":
            session.send(
                "OnRspOrderAction", ("CThostFtdcInputOrderActionField", fields), info(error_id), request_id, True
            )
        else:
            session.send("OnRspError", info(error_id), request_id, True)

    # --- who it is ----------------------------------------------------------------------------------------------

    def _log_in(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        self._door.log_in(session, fields, request_id)
        is_told_again = session.where is Where.ACCOUNT_STREAM and fields.get("ResumeType", _RESTART) == _RESTART
        if session.account is not None and is_told_again:
            self._replay(session)

    def _replay(self, session: Session) -> None:
        """Tell the day's orders and trades again, as RESTART asks for."""
        assert session.account is not None
        for booked in self._counter.of(session.account):
            session.send("OnRtnOrder", rows.order(self._counter, booked, session.user))
        for booked, fill in self._counter.fills:
            if booked.account == session.account and booked.day == self._counter.day:
                session.send("OnRtnTrade", rows.trade(booked, fill, session.user))
        self._tell_number(session)

    def _tell_number(self, session: Session) -> None:
        """Say which event of the account was the last; of this simulator alone, lockstep waits for it."""
        assert session.account is not None
        number = self._world.engine.sequence(api_key=session.account)
        session.send(
            "OnRtnTradingNotice", ("CThostFtdcTradingNoticeInfoField", {"FieldContent": "btx", "SequenceNo": number})
        )

    @staticmethod
    def _confirm(session: Session, _fields: dict[str, Any], request_id: int) -> None:
        session.is_confirmed = True
        session.send(
            "OnRspSettlementInfoConfirm",
            ("CThostFtdcSettlementInfoConfirmField", {"InvestorID": session.user, "BrokerID": rows.BROKER}),
            info(0),
            request_id,
            True,
        )

    def _subscribe(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        what = ",".join(fields.get("InstrumentIDs", ()))
        action = self._world.faults.on_subscribe(now_s=asyncio.get_running_loop().time(), what=what)
        if action.get(Kind.DROP) is not None:
            session.abort()
        elif action.get(Kind.HALF_OPEN) is not None:
            session.is_mute = True
        else:
            is_refused = action.get(Kind.REFUSE) is not None
            self._quotes.subscribe(session, fields, request_id, is_refused=is_refused)

    # --- orders -------------------------------------------------------------------------------------------------

    def _insert(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        try:
            booked = self._booked(session, fields)
        except CtpError as error:
            self._refuse(session, "ReqOrderInsert", fields, request_id, error.error_id)
            return
        self._tell_order(booked)
        self._counter.send(booked)
        if booked.reason:
            self._tell_order(booked)

    def _booked(self, session: Session, fields: dict[str, Any]) -> Booked:
        if session.account is None:
            raise CtpError(_NOT_LOGGED_IN)
        if not session.is_confirmed:
            raise CtpError(_NOT_CONFIRMED)
        ref = str(fields.get("OrderRef", "")).strip()
        if not ref.isdecimal() or int(ref) <= session.last_ref:
            raise CtpError(_REF)
        session.last_ref = int(ref)
        return self._counter.book(session.account, fields, front_id=1, session_id=session.session_id)

    def _act(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        try:
            self._counter.cancel(self._counter.find(session.account or "", fields))
        except CtpError as error:
            self._refuse(session, "ReqOrderAction", fields, request_id, error.error_id)

    def tell(self, event: WorldEvent) -> None:
        """Push an event to whoever hears of it."""
        if isinstance(event, ExecutionEvent):
            booked = self._counter.take(event)
            if booked is not None:
                self._tell_execution(booked, event)
        elif isinstance(event, PublicTrade | BarChange):
            self._quotes.tell(event)
        if isinstance(event, ExecutionEvent | AccountEvent | ConfigEvent):
            for session in self._of(event.api_key):
                self._tell_number(session)
        self._look_at_day()

    def _of(self, account: str) -> list[Session]:
        return [
            each for each in self._sessions.values() if each.account == account and each.where is Where.ACCOUNT_STREAM
        ]

    def _tell_order(self, booked: Booked) -> None:
        for session in self._of(booked.account):
            self._push(session, "OnRtnOrder", rows.order(self._counter, booked, session.user))

    def _tell_execution(self, booked: Booked, event: ExecutionEvent) -> None:
        """Tell an order's new state first, then what was traded, as CTP does."""
        self._tell_order(booked)
        if event.fill is not None:
            for session in self._of(booked.account):
                self._push(session, "OnRtnTrade", rows.trade(booked, event.fill, session.user))

    def _push(self, session: Session, name: str, row: rows.Row) -> None:
        action = self._world.faults.on_push(session.where, now_s=asyncio.get_running_loop().time(), what=name)
        if action.get(Kind.TRUNCATE) is not None:
            session.send_half(name)
        elif action.get(Kind.CUT, Kind.STREAM_END, Kind.SHUTDOWN) is not None:
            session.abort()
        elif action.get(Kind.DROP) is None:
            for _ in range(2 if action.get(Kind.DUPLICATE) is not None else 1):
                session.send(name, row)
        if action.get(*_MUTE) is not None:
            session.is_mute = True

    # --- days -----------------------------------------------------------------------------------------------

    def _look_at_day(self) -> None:
        """A trading day begins: everybody has to log in again."""
        if self._counter.roll():
            for session in tuple(self._sessions.values()):
                if session.where is Where.ACCOUNT_STREAM:
                    session.close()

    # --- for the control channel -----------------------------------------------------------------------------

    def sockets(self) -> tuple[SocketView, ...]:
        """Return the open connections, oldest first."""
        return tuple(each.view() for each in self._sessions.values())

    def strike(self, fault: Fault, *, sockets: Collection[int] | None, stream: str | None) -> tuple[int, ...]:
        """Let a fault strike now and return the connections it struck; ``stream`` says nothing here.

        Raises:
            ConfigError: a connection is not there, or the fault is none that a front has.
        """
        if sockets is not None and (gone := set(sockets) - self._sessions.keys()):
            raise ConfigError(f"there is no socket {min(gone)}")
        struck = [
            each
            for each in self._sessions.values()
            if (each.number in sockets if sockets is not None else fault.where in {each.where, Where.ANY})
        ]
        self._world.faults.command(fault, now_s=asyncio.get_running_loop().time(), what=stream or "")
        for each in struck:
            if fault.kind in _MUTE:
                each.is_mute = True
            elif fault.kind in {Kind.CUT, Kind.SHUTDOWN, Kind.OUTAGE}:
                each.abort()
        return tuple(each.number for each in struck)

    def block(self, *, form: int | None) -> None:
        """Cut all connections and take no new ones; None: take them again."""
        self._is_blocked = form is not None
        if self._is_blocked:
            for session in tuple(self._sessions.values()):
                session.abort()

    def terms(self, terms: SocketTerms) -> None:
        """A front has no terms that a test could shorten.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"a front of CTP's has no such terms: {terms}")

    def counts(self) -> Mapping[str, int]:
        """Return how many connections were asked for, let in and are open."""
        return {**self._counts, "open": len(self._sessions)}


def _operation_of(name: str) -> Where:
    if name == "ReqOrderInsert":
        return Where.PLACE
    if name == "ReqOrderAction":
        return Where.CANCEL
    if name in {"ReqQryOrder", "ReqQryTrade"}:
        return Where.QUERY
    return Where.MARKET if name in {"ReqQryInstrument", "ReqQryDepthMarketData"} else Where.ACCOUNT
