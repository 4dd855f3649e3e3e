"""Market data of the simulated OpenD: static information, snapshots, minutes by request and by push."""

import datetime
import zoneinfo
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from btx.model.market import Bar
from btx.model.time import NS_PER_MINUTE, NS_PER_S, Interval
from btx.sim.faults import Where
from btx.sim.world import Want, World
from btx_futu.sim.answers import WireError
from btx_futu.sim.connections import Connection
from btx_futu.sim.messages import message_module
from btx_futu.sim.tables import Exchange, spread_at

__all__ = ("QUOTES", "Quotes")

_MINUTE = Interval.parse("1m")
_KL_1MIN, _SUB_1MIN = 1, 11  # Qot_Common.KLType, SubType
_STOCK = 3  # Qot_Common.SecurityType
_PAGE = 1000
_LONGEST = 100_000

PushBar = Callable[[Connection, str], None]


class Quotes:
    """What is asked about the market; every answer is as of the world's time."""

    def __init__(self, world: World, exchange: Exchange) -> None:
        self._world = world
        self._exchange = exchange
        self._zone = zoneinfo.ZoneInfo(exchange.zone)

    def leave(self, connection: Connection) -> None:
        """Let a connection that has ended hear nothing more."""
        for code in connection.subscriptions:
            self._world.unwant(code, Want.BARS, _MINUTE)
        connection.subscriptions.clear()

    # --- requests -------------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, asked: Any, _answer: Any, push: PushBar) -> Callable[[], None] | None:
        """Begin or end pushes of minutes; the present one is pushed at once, if that is wanted."""
        if asked.isUnsubAll:
            self.leave(connection)
            return None
        codes = [self._code(security) for security in asked.securityList]
        if any(kind != _SUB_1MIN for kind in asked.subTypeList):
            raise WireError("the simulated OpenD pushes bars of one minute alone")
        for code in codes:
            if asked.isSubOrUnSub and code not in connection.subscriptions:
                connection.subscriptions[code] = None
                self._world.want(code, Want.BARS, _MINUTE)
            elif not asked.isSubOrUnSub and code in connection.subscriptions:
                del connection.subscriptions[code]
                self._world.unwant(code, Want.BARS, _MINUTE)
        if not asked.isSubOrUnSub or not asked.isFirstPush:
            return None

        def first() -> None:
            for code in codes:
                push(connection, code)

        return first

    def static_info(self, _connection: Connection, asked: Any, answer: Any, _push: PushBar) -> None:
        """List shares: those that are named, or all of a market and kind."""
        if asked.securityList:
            codes = [self._code(security) for security in asked.securityList]
        else:
            is_here = asked.market == self._exchange.quote_market and asked.secType == _STOCK
            codes = list(self._world.listings) if is_here else []
        for code in codes:
            basic = answer.staticInfoList.add().basic
            self._write_security(basic.security, code)
            basic.id, basic.lotSize, basic.secType = 1, int(self._instrument(code).step_size), _STOCK
            basic.name, basic.listTime, basic.delisting = code, "2004-06-16", False

    def snapshot(self, _connection: Connection, asked: Any, answer: Any, _push: PushBar) -> None:
        """Tell the last prices of shares."""
        for security in asked.securityList:
            code = self._code(security)
            price = self._world.market.last_price(code)
            basic = answer.snapshotList.add().basic
            self._write_security(basic.security, code)
            basic.type, basic.isSuspend, basic.listTime = _STOCK, False, "2004-06-16"
            basic.lotSize = int(self._instrument(code).step_size)
            basic.priceSpread = float(spread_at(self._exchange.prefix.lower(), price))
            basic.updateTime = self._text(self._world.market.now_ns)
            for field in ("highPrice", "openPrice", "lowPrice", "lastClosePrice", "curPrice"):
                setattr(basic, field, float(price))
            basic.volume, basic.turnover, basic.turnoverRate = 0, 0.0, 0.0

    def history(self, _connection: Connection, asked: Any, answer: Any, _push: PushBar) -> None:
        """Return a page of minutes whose labels lie between two texts; a label is the minute's end."""
        if asked.klType != _KL_1MIN:
            raise WireError("the simulated OpenD has bars of one minute alone")
        code = self._code(asked.security)
        start_ns, end_ns = self._time_ns(asked.beginTime), self._time_ns(asked.endTime)
        if asked.HasField("nextReqKey"):
            start_ns = int(asked.nextReqKey)
        most = min(asked.maxAckKLNum or _LONGEST, _PAGE if asked.maxAckKLNum else _LONGEST)
        bars = self._world.market.klines(
            code, _MINUTE, start_ns=start_ns - NS_PER_MINUTE, end_ns=end_ns - NS_PER_MINUTE + 1, limit=most + 1
        )
        answer.security.CopyFrom(asked.security)
        for bar in bars[:most]:
            self._write_bar(answer.klList.add(), bar)
        if len(bars) > most:
            answer.nextReqKey = str(bars[most].close_ns).encode()

    def recent(self, _connection: Connection, asked: Any, answer: Any, _push: PushBar) -> None:
        """Return the newest minutes of a share that is subscribed."""
        code = self._code(asked.security)
        answer.security.CopyFrom(asked.security)
        for bar in self._world.market.klines(code, _MINUTE, limit=min(asked.reqNum, _PAGE)):
            self._write_bar(answer.klList.add(), bar)

    # --- pushes ---------------------------------------------------------------------------------------------

    def bar_message(self, code: str) -> bytes | None:
        """Return the push of the present minute, or of the last; None before the first."""
        bars = self._world.market.klines(code, _MINUTE, limit=1)
        if not bars:
            return None
        message = message_module("Qot_UpdateKL").Response()
        message.retType = 0
        message.s2c.rehabType, message.s2c.klType = 1, _KL_1MIN
        self._write_security(message.s2c.security, code)
        self._write_bar(message.s2c.klList.add(), bars[-1])
        body: bytes = message.SerializeToString()
        return body

    # --- words ----------------------------------------------------------------------------------------------

    def _code(self, security: Any) -> str:
        code = f"{self._exchange.prefix}.{security.code}"
        if security.market != self._exchange.quote_market or code not in self._world.listings:
            raise WireError(f"unknown stock {security.code}")
        return code

    def _instrument(self, code: str) -> Any:
        return self._world.listings[code].instrument

    def _write_security(self, security: Any, code: str) -> None:
        security.market, security.code = self._exchange.quote_market, code.partition(".")[2]

    def _write_bar(self, line: Any, bar: Bar) -> None:
        line.time, line.timestamp, line.isBlank = self._text(bar.close_ns), bar.close_ns / NS_PER_S, False
        line.openPrice, line.highPrice = float(bar.open), float(bar.high)
        line.lowPrice, line.closePrice = float(bar.low), float(bar.close)
        line.volume, line.turnover = int(bar.volume), float(bar.quote_volume or Decimal(0))

    def _text(self, time_ns: int) -> str:
        return datetime.datetime.fromtimestamp(time_ns // NS_PER_S, self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def _time_ns(self, text: str) -> int:
        try:
            moment = datetime.datetime.fromisoformat(text).replace(tzinfo=self._zone)
        except ValueError:
            raise WireError(f"{text!r} is no time: YYYY-MM-DD HH:MM:SS") from None
        return int(moment.timestamp()) * NS_PER_S


Handler = Callable[[Quotes, Connection, Any, Any, PushBar], Callable[[], None] | None]

QUOTES: Mapping[int, tuple[str, Where, Handler]] = {
    3001: ("Qot_Sub", Where.MARKET, Quotes.subscribe),
    3006: ("Qot_GetKL", Where.MARKET, Quotes.recent),
    3103: ("Qot_RequestHistoryKL", Where.MARKET, Quotes.history),
    3202: ("Qot_GetStaticInfo", Where.MARKET, Quotes.static_info),
    3203: ("Qot_GetSecuritySnapshot", Where.MARKET, Quotes.snapshot),
}
"""By protocol id: its name, the class of the operation, who answers."""
