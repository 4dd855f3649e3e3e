"""The books after a run: what the strategy was told, and what the simulator's ledger has."""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from btx.bt.scripted import Scripted
from btx.model.instrument import Instrument
from btx.testing.card import CardFailedError

__all__ = ("check_books", "position_in")

_EDGE = Decimal("1e-9")  # what backtrader's floats may differ from the ledger
_ZERO = Decimal(0)


def position_in(ledger: Mapping[str, Any], instrument: Instrument) -> Decimal:
    """Return how much of an instrument the ledger has, as a position that can be traded; short is negative."""
    if instrument.kind.is_margined:
        rows = (each for each in ledger["positions"] if each["symbol"] == instrument.venue_symbol)
        return sum((Decimal(each["quantity"]) for each in rows), _ZERO)
    row = ledger["balances"].get(instrument.base, {"free": "0", "locked": "0"})
    held = Decimal(row["free"]) + Decimal(row["locked"])
    return held if held >= instrument.step_size else _ZERO


def check_books(ledger: Mapping[str, Any], *strategies: Scripted) -> None:
    """Compare the ledger with what strategies were told, the last of which ended just now.

    Raises:
        CardFailedError: they differ; it names the first difference.
    """
    for difference in _differences(ledger, strategies):
        raise CardFailedError(difference)


def _differences(ledger: Mapping[str, Any], strategies: tuple[Scripted, ...]) -> Iterator[str]:
    for client_order_id, count in Counter(row["client_order_id"] for row in ledger["orders"]).items():
        if client_order_id and count > 1:
            yield f"expected order {client_order_id} once at the venue, and it is there {count} times"
    told = [fill for strategy in strategies for fill in strategy.fills]
    counted = Counter((fill.symbol, fill.fill_id) for fill in told)
    if len(counted) != len(ledger["fills"]):
        yield f"expected the strategy to be told of {len(ledger['fills'])} fills, and it was of {len(counted)}"
    total = sum((fill.quantity for fill in {(each.symbol, each.fill_id): each for each in told}.values()), _ZERO)
    there = sum((Decimal(row["quantity"]) for row in ledger["fills"]), _ZERO)
    if total != there:
        yield f"expected fills of {there} altogether, and the strategy was told of {total}"
    last = strategies[-1]
    for name, size in last.kept["positions"].items():
        data = last.getdatabyname(name)
        held = position_in(ledger, data.instrument)
        if abs(Decimal(repr(size)) - held) > _EDGE:
            yield f"expected a position of {held} {name} as in the ledger, and backtrader shows {size}"
    yield from _cash(ledger, last)


def _cash(ledger: Mapping[str, Any], last: Scripted) -> Iterator[str]:
    instrument = last.data.instrument
    row = ledger["balances"].get(instrument.quote)
    if instrument.kind.is_margined or row is None:
        return
    there = Decimal(row["free"]) + Decimal(row["locked"])
    if abs(Decimal(repr(last.kept["cash"])) - there) > Decimal("1e-6"):
        yield f"expected cash of {there} {instrument.quote} as in the ledger, and backtrader shows {last.kept['cash']}"
