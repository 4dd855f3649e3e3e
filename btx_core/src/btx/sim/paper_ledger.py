"""A paper account on disk: a line for each thing that happened, and the account those lines add up to.

Paper money deserves the same care as real money: an account that forgot its
position with every restart would behave like no venue.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import attrs
from cattrs import Converter

from btx.errors import DataError
from btx.model.account import Balance
from btx.sim.orders import ExecutionEvent, SimFill, SimOrder, SimOrderList

__all__ = (
    "CONVERTER",
    "Ledger",
    "Opening",
    "PaperBooks",
    "event_line",
    "line_of",
    "opening_line",
    "read_lines",
    "read_with",
)

B = TypeVar("B")


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


CONVERTER = _converter()
"""Values as JSON and back, every digit kept."""


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
    return line_of("opening", CONVERTER.unstructure(opening))


def event_line(event: ExecutionEvent, *, order_list: SimOrderList | None) -> str:
    """Return the line of something that happened; ``order_list`` is the order's list as it is afterwards.

    An order's fills are in lines of their own, so they are left out of it.
    """
    return line_of(
        "event",
        {
            "sequence": event.sequence,
            "time_ns": event.time_ns,
            "order": CONVERTER.unstructure(attrs.evolve(event.order, fills=())),
            "fill": CONVERTER.unstructure(event.fill),
            "balances": CONVERTER.unstructure(dict(event.balances)),
            "order_list": CONVERTER.unstructure(order_list),
        },
    )


def line_of(kind: str, fields: Mapping[str, Any]) -> str:
    """Return one line of an account."""
    return json.dumps({"kind": kind, **fields}, separators=(",", ":"))


def read_lines(lines: Iterable[str]) -> PaperBooks | None:
    """Return the account that lines add up to, None when there are none; see :func:`read_with`.

    Raises:
        DataError: a line cannot be read, or the first is no opening.
    """
    return read_with(lines, opened=_opened, apply=_APPLY)


def read_with(
    lines: Iterable[str],
    *,
    opened: Callable[[Opening], B],
    apply: Mapping[str, Callable[[B, dict[str, Any]], None]],
) -> B | None:
    """Return the account that lines add up to by what ``apply`` says of each kind, None when there are no lines.

    A last line without its end is what a kill left: it is passed over, since
    nobody was told what it says before it was whole.

    Raises:
        DataError: a line cannot be read, or the first is no opening.
    """
    books: B | None = None
    for number, line in enumerate(lines, start=1):
        if not line.endswith("\n"):
            break
        try:
            fields = json.loads(line)
            kind = fields.pop("kind")
            if books is None:
                books = opened(_opening(kind, fields))
            else:
                apply[kind](books, fields)
        except Exception as error:
            raise DataError(f"line {number} of the paper account cannot be read: {error!r}") from error
    return books


def _opening(kind: str, fields: dict[str, Any]) -> Opening:
    if kind != "opening":
        raise ValueError("an account begins with what it owns")
    return CONVERTER.structure(fields, Opening)


def _opened(opening: Opening) -> PaperBooks:
    balances = {asset: Balance(free=total, locked=Decimal(0)) for asset, total in opening.balances.items()}
    return PaperBooks(opening=opening, balances=balances, time_ns=opening.time_ns)


def _event(books: PaperBooks, fields: dict[str, Any]) -> None:
    order = CONVERTER.structure(fields["order"], SimOrder)
    known = books.orders.get(order.order_id)
    fills = known.fills if known is not None else ()
    if fields["fill"] is not None:
        fill = CONVERTER.structure(fields["fill"], SimFill)
        books.fills.append(fill)
        fills = (*fills, fill)
    books.orders[order.order_id] = attrs.evolve(order, fills=fills)
    books.balances |= CONVERTER.structure(fields["balances"], dict[str, Balance])
    if fields["order_list"] is not None:
        order_list = CONVERTER.structure(fields["order_list"], SimOrderList)
        books.lists[order_list.list_id] = order_list
    books.sequence = max(books.sequence, fields["sequence"])
    books.time_ns = max(books.time_ns, fields["time_ns"])


_APPLY: Mapping[str, Callable[[PaperBooks, dict[str, Any]], None]] = {"event": _event}
