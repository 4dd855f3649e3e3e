"""A paper account on disk: a line for each thing that happened, and the account those lines add up to.

Paper money deserves the same care as real money: an account that forgot its
position with every restart would behave like no venue.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol

import attrs
from cattrs import Converter

from btx.errors import DataError
from btx.model.account import Balance
from btx.sim.orders import ExecutionEvent, SimFill, SimOrder, SimOrderList

__all__ = ("Ledger", "Opening", "PaperBooks", "event_line", "opening_line", "read_lines")


class Ledger(Protocol):
    """Where a paper account is kept. Called on btx-io, so it is quick."""

    def read(self) -> Iterable[str]:
        """Return every line, with its end, oldest first.

        Raises:
            OSError: the disk does not read.
        """

    def write(self, line: str) -> None:
        """Add a line that outlives the process; its end is added there.

        Raises:
            OSError: the disk does not write.
        """

    def close(self) -> None:
        """Let go of it. Idempotent."""


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True)
    converter.register_unstructure_hook(Decimal, str)
    converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
    return converter


_CONVERTER = _converter()


@attrs.frozen(kw_only=True)
class Opening:
    """What an account began with."""

    balances: Mapping[str, Decimal]
    time_ns: int  # market time


@attrs.define(kw_only=True)
class PaperBooks:
    """An account as its lines tell it; the order of each mapping is the order things were first heard of."""

    opening: Opening
    balances: dict[str, Balance]
    orders: dict[int, SimOrder] = attrs.field(factory=dict)
    fills: list[SimFill] = attrs.field(factory=list)
    lists: dict[int, SimOrderList] = attrs.field(factory=dict)
    sequence: int = 0
    time_ns: int = 0  # market time of the last line


def opening_line(opening: Opening) -> str:
    """Return the first line of an account."""
    return _line("opening", _CONVERTER.unstructure(opening))


def event_line(event: ExecutionEvent, *, order_list: SimOrderList | None) -> str:
    """Return the line of something that happened; ``order_list`` is the order's list as it is afterwards.

    An order's fills are in lines of their own, so they are left out of it.
    """
    return _line(
        "event",
        {
            "sequence": event.sequence,
            "time_ns": event.time_ns,
            "order": _CONVERTER.unstructure(attrs.evolve(event.order, fills=())),
            "fill": _CONVERTER.unstructure(event.fill),
            "balances": _CONVERTER.unstructure(dict(event.balances)),
            "order_list": _CONVERTER.unstructure(order_list),
        },
    )


def _line(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> PaperBooks | None:
    """Return the account that lines add up to, None when there are none.

    A last line without its end is what a kill left: it is passed over, since
    nobody was told what it says before it was whole.

    Raises:
        DataError: a line cannot be read, or the first is no opening.
    """
    books: PaperBooks | None = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            fields = json.loads(line)
            kind = fields.pop("kind")
            if books is None:
                books = _opened(kind, fields)
            else:
                _APPLY[kind](books, fields)
        except Exception as error:
            raise DataError(f"line {number} of the paper account cannot be read: {error!r}") from error
    return books


def _opened(kind: str, fields: dict[str, Any]) -> PaperBooks:
    if kind != "opening":
        raise ValueError("an account begins with what it owns")
    opening = _CONVERTER.structure(fields, Opening)
    balances = {asset: Balance(free=total, locked=Decimal(0)) for asset, total in opening.balances.items()}
    return PaperBooks(opening=opening, balances=balances, time_ns=opening.time_ns)


def _event(books: PaperBooks, fields: dict[str, Any]) -> None:
    order = _CONVERTER.structure(fields["order"], SimOrder)
    known = books.orders.get(order.order_id)
    fills = known.fills if known is not None else ()
    if fields["fill"] is not None:
        fill = _CONVERTER.structure(fields["fill"], SimFill)
        books.fills.append(fill)
        fills = (*fills, fill)
    books.orders[order.order_id] = attrs.evolve(order, fills=fills)
    books.balances |= _CONVERTER.structure(fields["balances"], dict[str, Balance])
    if fields["order_list"] is not None:
        order_list = _CONVERTER.structure(fields["order_list"], SimOrderList)
        books.lists[order_list.list_id] = order_list
    books.sequence = max(books.sequence, fields["sequence"])
    books.time_ns = max(books.time_ns, fields["time_ns"])


_APPLY: Mapping[str, Callable[[PaperBooks, dict[str, Any]], None]] = {"event": _event}
