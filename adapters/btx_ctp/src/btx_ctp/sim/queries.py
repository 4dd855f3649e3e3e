"""What a front answers when it is asked."""

from collections.abc import Callable, Mapping
from typing import Any

from btx_ctp.sim import rows
from btx_ctp.sim.counter import Counter
from btx_ctp.sim.quotes import Quotes
from btx_ctp.sim.session import Session
from btx_ctp.sim.texts import info

__all__ = ("Queries",)

_NOT_LOGGED_IN = 6


class Queries:
    """Answers from the counter's books."""

    def __init__(self, counter: Counter, quotes: Quotes) -> None:
        self._counter = counter
        self._world = counter.world
        self._quotes = quotes
        self.calls: Mapping[str, Callable[[Session, dict[str, Any], int], None]] = {
            "ReqQryInstrument": self._instruments,
            "ReqQryInstrumentMarginRate": self._margin_rates,
            "ReqQryInstrumentCommissionRate": self._commissions,
            "ReqQryTradingAccount": self._account,
            "ReqQryInvestorPosition": self._positions,
            "ReqQryOrder": self._orders,
            "ReqQryTrade": self._trades,
            "ReqQryDepthMarketData": self._prices,
        }

    def _instruments(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        found = (
            rows.instrument(each) for each in self._world.listings.values() if _is_meant(fields, each.venue_symbol)
        )
        session.answer("OnRspQryInstrument", found, request_id)

    def _margin_rates(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        found = (rows.margin_rate(each, session.user) for each in self._world.listings if _is_meant(fields, each))
        session.answer("OnRspQryInstrumentMarginRate", found, request_id)

    def _commissions(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        listed = self._world.listings.values()
        found = (rows.commission(each, session.user) for each in listed if _is_meant(fields, each.venue_symbol))
        session.answer("OnRspQryInstrumentCommissionRate", found, request_id)

    def _account(self, session: Session, _fields: dict[str, Any], request_id: int) -> None:
        if session.account is None:
            session.send("OnRspError", info(_NOT_LOGGED_IN), request_id, True)
            return
        row = rows.account(self._counter, session.account, session.user)
        session.answer("OnRspQryTradingAccount", [row], request_id)

    def _positions(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        found = rows.positions(self._counter, session.account or "", session.user)
        meant = [row for row in found if _is_meant(fields, row[1]["InstrumentID"])]
        session.answer("OnRspQryInvestorPosition", meant, request_id)

    def _orders(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        found = self._counter.of(session.account or "", symbol=str(fields.get("InstrumentID", "")))
        meant = [rows.order(self._counter, each, session.user) for each in found]
        session.answer("OnRspQryOrder", meant, request_id)

    def _trades(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        mine = self._counter.of(session.account or "", symbol=str(fields.get("InstrumentID", "")))
        names = {each.name for each in mine}
        found = [(each, fill) for each, fill in self._counter.fills if each.name in names]
        session.answer("OnRspQryTrade", [rows.trade(each, fill, session.user) for each, fill in found], request_id)

    def _prices(self, session: Session, fields: dict[str, Any], request_id: int) -> None:
        meant = [each for each in self._world.listings if _is_meant(fields, each)]
        now_ns = self._world.market.now_ns
        found = [rows.tick(self._counter, self._quotes.snapshot(each), time_ns=now_ns) for each in meant]
        session.answer("OnRspQryDepthMarketData", found, request_id)


def _is_meant(fields: Mapping[str, Any], symbol: str) -> bool:
    """Say whether a query is about a contract; one that names none is about all."""
    wanted = fields.get("InstrumentID", "")
    return not wanted or symbol == wanted
