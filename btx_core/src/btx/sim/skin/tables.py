"""Tables of trading rules as text: one name and its numbers a line, and leverage tiers that join by themselves."""

from collections.abc import Iterable
from decimal import Decimal

from btx.model.derivatives import LeverageTier

__all__ = ("rows", "tiers")


def rows(table: str) -> Iterable[tuple[str, list[Decimal]]]:
    """Yield the lines of a table: a name, and the numbers behind it."""
    for line in table.strip().splitlines():
        name, *columns = line.split()
        yield name, [Decimal(column) for column in columns]


def tiers(text: str) -> tuple[LeverageTier, ...]:
    """Return leverage tiers, lowest first, of ``cap:largest leverage:maintenance rate`` each.

    The maintenance amounts are what makes the tiers join.
    """
    found: list[LeverageTier] = []
    for item in text.split():
        cap, leverage, rate = map(Decimal, item.split(":"))
        before = found[-1] if found else None
        floor = Decimal(0) if before is None or before.cap is None else before.cap
        joined = Decimal(0)
        if before is not None:
            joined = before.maintenance_amount + floor * (rate - before.maintenance_rate)
        found.append(
            LeverageTier(
                floor=floor, cap=cap, max_leverage=int(leverage), maintenance_rate=rate, maintenance_amount=joined
            )
        )
    return tuple(found)
