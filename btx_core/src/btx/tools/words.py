"""Numbers as people read them."""

from collections.abc import Iterable
from decimal import Decimal

from btx.model.order import Fill
from btx.model.venue import Capabilities

__all__ = ("fees_of", "plain", "usual_symbol")


def fees_of(fills: Iterable[Fill]) -> str:
    """Return the fees of fills by asset, like ``0.001 BTC + 3.2 USDT``."""
    fees: dict[str, Decimal] = {}
    for fill in fills:
        if fill.fee is not None and fill.fee_asset is not None:
            fees[fill.fee_asset] = fees.get(fill.fee_asset, Decimal(0)) + fill.fee
    return " + ".join(f"{plain(fee)} {asset}" for asset, fee in sorted(fees.items())) or "none"


def usual_symbol(can: Capabilities) -> str:
    """Return the instrument that is meant where none is named: ``BTC/USDT``, of coin-margined contracts ``BTC/USD``."""
    return "BTC/USD" if can.currency == "BTC" else f"BTC/{can.currency}"


def plain(number: Decimal) -> str:
    """Return the digits of a number, without an exponent and without zeros at the end."""
    return f"{number.normalize():f}"
