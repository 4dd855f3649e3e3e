"""A paper account on margin on disk: its lines, and the account they add up to; see :mod:`btx.sim.paper_ledger`."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from btx.model.derivatives import MarginMode, PositionMode
from btx.model.order import PositionSide
from btx.sim.conditionals import ConditionalEvent, SimConditional
from btx.sim.margin_account import Past
from btx.sim.margin_events import AccountEvent, ConfigEvent, SimBooking
from btx.sim.orders import ExecutionEvent, ExecutionKind, SimFill, SimOrder, SimPosition
from btx.sim.paper_ledger import CONVERTER, Ledger, Opening, line_of, read_with

__all__ = (
    "MarginBooks",
    "Scribe",
    "Stamp",
    "read_margin_lines",
    "stamp_line",
)


@attrs.frozen(kw_only=True)
class Stamp:
    """A funding that was due before its rate was known, for what was held then."""

    venue_symbol: str
    position_side: PositionSide
    quantity: Decimal
    time_ns: int

    @property
    def key(self) -> tuple[str, PositionSide, int]:
        """What it is known by."""
        return self.venue_symbol, self.position_side, self.time_ns


@attrs.define(kw_only=True)
class MarginBooks:
    """An account on margin as its lines tell it; ``stamps`` are the fundings that are still to be paid."""

    opening: Opening
    past: Past
    stamps: dict[tuple[str, PositionSide, int], Stamp] = attrs.field(factory=dict)


class Scribe:
    """Writes down what an exchange tells of its one account."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._filled: AccountEvent | None = None

    def write(self, event: object, *, settled: Stamp | None = None) -> None:
        """Write an event; ``settled`` is the stamp a funding was paid for.

        What a fill did to the account comes before it, and is written with it as one line: a kill leaves
        both or neither.
        """
        match event:
            case AccountEvent(reason="ORDER"):
                self._filled = event
            case AccountEvent():
                fields = {**_account_fields(event), "settled": CONVERTER.unstructure(settled)}
                self._ledger.write(line_of("account", fields))
            case ExecutionEvent():
                filled = self._filled if event.kind is ExecutionKind.TRADE else None
                self._ledger.write(line_of("execution", _execution_fields(event, filled)))
                if filled is not None:
                    self._filled = None
            case ConditionalEvent():
                conditional = CONVERTER.unstructure(event.conditional)
                fields = {"sequence": event.sequence, "time_ns": event.time_ns, "conditional": conditional}
                self._ledger.write(line_of("conditional", fields))
            case ConfigEvent():
                fields = CONVERTER.unstructure(event)
                del fields["api_key"]
                self._ledger.write(line_of("config", fields))


def _execution_fields(event: ExecutionEvent, account: AccountEvent | None) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time_ns": event.time_ns,
        "order": CONVERTER.unstructure(attrs.evolve(event.order, fills=())),
        "fill": CONVERTER.unstructure(event.fill),
        "account": None if account is None else _account_fields(account),
    }


def stamp_line(stamp: Stamp, *, is_settled: bool) -> str:
    """Return the line of a funding that is due, or that cost nothing."""
    return line_of("stamp", {"stamp": CONVERTER.unstructure(stamp), "is_settled": is_settled})


def _account_fields(event: AccountEvent) -> dict[str, Any]:
    return {
        "sequence": event.sequence,
        "time_ns": event.time_ns,
        "wallet": {asset: str(purse.wallet) for asset, purse in event.wallets.items()},
        "positions": CONVERTER.unstructure(event.positions),
        "bookings": CONVERTER.unstructure(event.bookings),
    }


def read_margin_lines(lines: Iterable[str]) -> MarginBooks | None:
    """Return the account that lines add up to, None when there are none.

    Raises:
        DataError: a line cannot be read, or the first is no opening.
    """
    return read_with(lines, opened=_opened, apply=_APPLY)


def _opened(opening: Opening) -> MarginBooks:
    return MarginBooks(opening=opening, past=Past(wallet=dict(opening.balances), time_ns=opening.time_ns))


def _reached(books: MarginBooks, fields: Mapping[str, Any]) -> Past:
    past = books.past
    past.sequence = max(past.sequence, fields["sequence"])
    past.time_ns = max(past.time_ns, fields["time_ns"])
    return past


def _execution(books: MarginBooks, fields: dict[str, Any]) -> None:
    past = _reached(books, fields)
    order = CONVERTER.structure(fields["order"], SimOrder)
    known = past.orders.get(order.order_id)
    fills = known.fills if known is not None else ()
    if fields["fill"] is not None:
        fill = CONVERTER.structure(fields["fill"], SimFill)
        past.fills.append(fill)
        fills = (*fills, fill)
    past.orders[order.order_id] = attrs.evolve(order, fills=fills)
    if fields["account"] is not None:
        _account(books, {**fields["account"], "settled": None})


def _account(books: MarginBooks, fields: dict[str, Any]) -> None:
    past = _reached(books, fields)
    past.wallet |= CONVERTER.structure(fields["wallet"], dict[str, Decimal])
    for position in CONVERTER.structure(fields["positions"], list[SimPosition]):
        past.positions[position.key] = position
    past.bookings += CONVERTER.structure(fields["bookings"], list[SimBooking])
    if fields["settled"] is not None:
        books.stamps.pop(CONVERTER.structure(fields["settled"], Stamp).key, None)


def _conditional(books: MarginBooks, fields: dict[str, Any]) -> None:
    past = _reached(books, fields)
    conditional = CONVERTER.structure(fields["conditional"], SimConditional)
    past.conditionals[conditional.conditional_id] = conditional


def _config(books: MarginBooks, fields: dict[str, Any]) -> None:
    past = _reached(books, fields)
    symbol = fields["venue_symbol"]
    if fields["leverage"] is not None:
        past.leverages[symbol] = fields["leverage"]
    if fields["margin_mode"] is not None:
        past.margin_modes[symbol] = MarginMode(fields["margin_mode"])
    if fields["position_mode"] is not None:
        past.position_mode = PositionMode(fields["position_mode"])


def _stamp(books: MarginBooks, fields: dict[str, Any]) -> None:
    stamp = CONVERTER.structure(fields["stamp"], Stamp)
    books.past.time_ns = max(books.past.time_ns, stamp.time_ns)
    if fields["is_settled"]:
        books.stamps.pop(stamp.key, None)
    else:
        books.stamps[stamp.key] = stamp


_APPLY: Mapping[str, Callable[[MarginBooks, dict[str, Any]], None]] = {
    "execution": _execution,
    "account": _account,
    "conditional": _conditional,
    "config": _config,
    "stamp": _stamp,
}
