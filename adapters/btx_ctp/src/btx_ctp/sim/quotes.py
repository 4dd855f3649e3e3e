"""Ticks: one for each print, and one at each minute's turn, with volume and turnover of the trading day."""

from collections.abc import Callable, Collection
from typing import Any

from btx.model.time import Interval
from btx.rules.calendar import day_bounds, trading_day
from btx.sim.market import BarChange, PublicTrade
from btx.sim.world import Want
from btx_ctp.sim import rows
from btx_ctp.sim.counter import Counter
from btx_ctp.sim.rows import Row, Snapshot
from btx_ctp.sim.session import Session
from btx_ctp.sim.texts import OK, info

__all__ = ("Quotes",)

_MINUTE = Interval.parse("1m")
_UNKNOWN = 16


class Quotes:
    """Who wants which contract, and what has traded of it."""

    def __init__(
        self,
        counter: Counter,
        *,
        sessions: Callable[[], Collection[Session]],
        push: Callable[[Session, str, Row], None],
    ) -> None:
        self._counter = counter
        self._world = counter.world
        self._sessions = sessions
        self._push = push
        self._shown: dict[str, Snapshot] = {}

    def tell(self, event: PublicTrade | BarChange) -> None:
        """Tell a print, or that a minute is over: nothing may be told after it, as the market waits."""
        shown = self._shown.get(event.venue_symbol)
        if shown is None:
            return
        if isinstance(event, PublicTrade):
            self._at_day(shown)
            shown.take(event)
            self._tell_tick(shown, event.time_ns)
        elif event.bar.is_closed:
            self._tell_tick(shown, event.bar.close_ns)

    def snapshot(self, symbol: str) -> Snapshot:
        """Return what has traded of a contract in its trading day so far."""
        market = self._world.market
        day = trading_day(market.calendar(symbol), market.now_ns)
        bounds = day_bounds(market.calendar(symbol), day) if day is not None else None
        start_ns = bounds[0] if bounds is not None else market.now_ns
        bar, flow = market.statistics(symbol, start_ns, market.now_ns)
        return Snapshot(
            symbol=symbol,
            day=self._counter.day,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            last=bar.close,
            volume=flow.volume,
            turnover=flow.quote_volume,
            time_ns=market.now_ns,
        )

    def _at_day(self, shown: Snapshot) -> None:
        """Begin to count anew with the first print of a trading day."""
        if shown.day != self._counter.day:
            fresh = self.snapshot(shown.symbol)
            shown.day, shown.open, shown.high, shown.low = fresh.day, fresh.open, fresh.high, fresh.low
            shown.volume = shown.turnover = fresh.volume * 0

    def subscribe(self, session: Session, fields: dict[str, Any], request_id: int, *, is_refused: bool = False) -> None:
        """Answer for each contract; one that is not listed is taken as well, and never told of, as by a real front."""
        names = fields.get("InstrumentIDs", ())
        for number, symbol in enumerate(names, start=1):
            told = ("CThostFtdcSpecificInstrumentField", {"InstrumentID": symbol})
            answer = info(_UNKNOWN if is_refused else OK)
            session.send("OnRspSubMarketData", told, answer, request_id, number == len(names))
            if is_refused or symbol not in self._world.listings or symbol in session.symbols:
                continue
            session.symbols.add(symbol)
            self._world.want(symbol, Want.TRADES)
            self._world.want(symbol, Want.BARS, _MINUTE)
            shown = self._shown.setdefault(symbol, self.snapshot(symbol))
            session.send("OnRtnDepthMarketData", rows.tick(self._counter, shown, time_ns=self._world.market.now_ns))

    def unsubscribe(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        gone = set(fields.get("InstrumentIDs", ())) & session.symbols
        for symbol in sorted(gone):
            told = ("CThostFtdcSpecificInstrumentField", {"InstrumentID": symbol})
            session.send("OnRspUnSubMarketData", told, info(0), request_id, True)
        self.forget(session, gone)

    def forget(self, session: Session, symbols: Collection[str]) -> None:
        for symbol in tuple(symbols):
            session.symbols.discard(symbol)
            self._world.unwant(symbol, Want.TRADES)
            self._world.unwant(symbol, Want.BARS, _MINUTE)
            if not any(symbol in each.symbols for each in self._sessions()):
                self._shown.pop(symbol, None)  # it is not counted on

    def _tell_tick(self, shown: Snapshot, time_ns: int) -> None:
        row = rows.tick(self._counter, shown, time_ns=time_ns)
        for session in self._sessions():
            if shown.symbol in session.symbols:
                self._push(session, "OnRtnDepthMarketData", row)
