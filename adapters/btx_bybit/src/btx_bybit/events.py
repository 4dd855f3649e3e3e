"""What Bybit pushes of an account, into the model.

Source: https://bybit-exchange.github.io/docs/v5/websocket/private, 2026.  Orders,
executions, positions and wallets are written as in answers.

Bybit numbers the states of an order nowhere.  ``updatedTime`` is a clock's, in
milliseconds, of which several states may share one; ``seq`` of an execution counts what
happens in its instrument, whoever does it.  So neither is a sequence here: what is
further on in an order's life is later, and an execution is told apart by ``execId``.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from btx.errors import DataError
from btx.model.account import AccountUpdate, MarginCall
from btx.model.order import Fill, OrderReport
from btx.model.time import from_ms
from btx_bybit import codec, reports
from btx_bybit.config import SPOT

__all__ = ("Reader",)

Json = Mapping[str, Any]

_SETTLEMENT = "SETTLEMENT"  # "type" of the transaction log
_BEING_LIQUIDATED = "Liq"  # enum "positionStatus"


class Reader:
    """Reads the private frames of one connection, for one market: of the others' rows there are none here."""

    def __init__(self, market: str, symbol_of: Callable[[str], str], hedged: set[str]) -> None:
        """``hedged`` are the venue's symbols that have two positions; what is pushed adds to them."""
        self._market = market
        self._symbol_of = symbol_of
        self._hedged = hedged
        self._trailing: dict[str, str] = {}  # by order id: of a trailing stop that waits, its size
        self._is_settled = False  # funding was paid, and no wallet was told since

    def events(self, message: Json) -> Iterable[OrderReport | Fill | AccountUpdate | MarginCall]:
        """Return what a frame says, in its order.

        Raises:
            DataError: a topic that nothing here subscribes.
        """
        time_ns = from_ms(int(message["creationTime"]))
        match message["topic"]:
            case "order":
                rows = [row for row in self._mine(message) if not self._is_move(row)]
                return [reports.order_report(row, symbol=self._symbol(row)) for row in rows]
            case "execution":
                self._is_settled = any(reports.is_funding(row) for row in message["data"]) or self._is_settled
                return [self._fill(row) for row in self._mine(message) if reports.is_fill(row)]
            case "wallet":
                return [self._wallet(row, time_ns) for row in message["data"]]
            case "position":
                return self._positions(self._mine(message), time_ns)
        raise DataError(f"a push of {message['topic']!r} was not asked for")

    def _symbol(self, row: Json) -> str:
        return self._symbol_of(row["symbol"])

    def _mine(self, message: Json) -> list[Json]:
        mine = [row for row in message["data"] if row["category"] == self._market]
        self._hedged.update(row["symbol"] for row in mine if row.get("positionIdx"))
        return mine

    def _is_move(self, row: Json) -> bool:
        """Say whether an order is told again because its stop has followed the market, which is at every new high."""
        if row.get("stopOrderType") != "TrailingStop" or row["orderStatus"] != "Untriggered":
            return False
        before, self._trailing[row["orderId"]] = self._trailing.get(row["orderId"]), row["qty"]
        return bool(before == row["qty"])

    def _fill(self, row: Json) -> Fill:
        side = reports.side_of_position(row, is_hedged=row["symbol"] in self._hedged)
        return reports.fill(row, symbol=self._symbol(row), position_side=side)

    def _wallet(self, row: Json, time_ns: int) -> AccountUpdate:
        """Return a wallet, which does not say why it changed: funding is an execution that was told before."""
        reason, self._is_settled = _SETTLEMENT if self._is_settled else "", False
        balances = codec.wallet(row, is_margined=self._market != SPOT)
        return AccountUpdate(balances=balances, time_ns=time_ns, reason=reason)

    def _positions(self, mine: list[Json], time_ns: int) -> Iterable[AccountUpdate | MarginCall]:
        """Bybit warns of no liquidation: it says of a position that it is being liquidated."""
        stated = [(row, codec.position(row, symbol=self._symbol(row), mode=None)) for row in mine]
        if stated:
            yield AccountUpdate(balances={}, time_ns=time_ns, positions=tuple(report for _, report in stated))
        called = tuple(report for row, report in stated if row["positionStatus"] == _BEING_LIQUIDATED)
        if called:
            yield MarginCall(positions=called, time_ns=time_ns)
