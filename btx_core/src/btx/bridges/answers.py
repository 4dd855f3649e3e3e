"""A venue's answers, read with care: what has another shape than the documentation's says so in one sentence."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from btx.errors import DataError, OutcomeUnknownError
from btx.model.instrument import Instrument
from btx.model.order import Receipt

__all__ = ("Answers", "by_symbol")

T = TypeVar("T")


@attrs.frozen
class Answers:
    """Reads what one venue answers; ``venue`` is what it is called in errors."""

    venue: str

    def read(self, decode: Callable[..., T], raw: Any, **context: Any) -> T:
        """Return what ``decode`` makes of an answer.

        Raises:
            DataError: the answer has another shape than the documentation's.
        """
        try:
            return decode(raw, **context)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DataError(f"{self.venue}'s answer cannot be read: {error!r} in {str(raw)[:200]}") from error

    def of_symbols(self, rows: Iterable[Any], symbols: Mapping[str, str]) -> list[tuple[str, Any]]:
        """Return the rows of those symbols of the venue, each with our name of its symbol.

        Raises:
            DataError: a row does not say which it is of.
        """
        named = ((self.read(_symbol, row), row) for row in rows)
        return [(symbols[name], row) for name, row in named if name in symbols]

    def receipt(self, answer: Any, *path: str) -> Receipt:
        """Return what an order was taken with; ``path`` leads to the venue's id of it.

        Raises:
            OutcomeUnknownError: the answer is none to an order, so nobody knows what became of it.
        """
        found = answer
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        if found is None:
            raise OutcomeUnknownError(f"{self.venue}'s answer to an order cannot be read: {str(answer)[:200]}")
        return Receipt(venue_order_id=str(found))


def by_symbol(instruments: Iterable[Instrument], symbols: Collection[str] | None) -> dict[str, Instrument]:
    """Return instruments by symbol: those that are asked for, all where ``symbols`` is None."""
    found = {each.symbol: each for each in instruments}
    return found if symbols is None else {symbol: found[symbol] for symbol in symbols if symbol in found}


def _symbol(row: Mapping[str, Any]) -> str:
    return str(row["symbol"])
