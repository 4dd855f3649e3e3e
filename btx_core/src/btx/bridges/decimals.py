"""Numbers as venues write them in JSON, exactly."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from btx.model.market import BookLevel

__all__ = ("count", "exact", "levels", "limit", "plain")


def plain(value: Decimal) -> str:
    """Return the digits of ``value`` without an exponent, as venues read them."""
    return format(value, "f")


def exact(number: Any) -> Decimal:
    """Return a JSON number, which the parser made a float, as it was written; a text is read as it is."""
    return Decimal(str(number))


def limit(row: Mapping[str, Any], key: str) -> Decimal | None:
    """Return a number that the venue leaves out, or sets to zero or to an empty text, when there is none."""
    given = row.get(key)
    return None if given is None or given == "" else exact(given) or None


def count(row: Mapping[str, Any], key: str) -> int | None:
    """Return a count that the venue leaves out, or sets to zero or to an empty text, when there is none."""
    return int(row.get(key) or 0) or None


def levels(rows: Iterable[Sequence[str]]) -> tuple[BookLevel, ...]:
    """Return one side of a book: pairs of price and quantity."""
    return tuple((Decimal(row[0]), Decimal(row[1])) for row in rows)
