"""Which lots an order closes, and what it opens: CTP wants to be told. Pure.

What is closed is what stands on the other side, oldest first, and what is left opens.  Where an exchange (SHFE,
INE) tells closing today's lots from closing older ones they are orders of their own; elsewhere one order closes,
whichever lots the exchange takes.  ``params={"offset": "OPEN"}`` of an order, or any other offset, is taken at its
word.
"""

from decimal import Decimal

from btx.errors import ConfigError
from btx.model.account import Lots
from btx.model.order import Offset, OrderRequest, Part, Side

__all__ = ("plan", "says_day")

_ZERO = Decimal(0)
_WITH_DAYS = (  # products of SHFE and INE
    *("rb", "hc", "bu", "ru", "fu", "sp", "br", "wr", "cu", "al", "zn", "pb", "ni", "sn", "ss", "ao", "au", "ag", "ad"),
    *("sc", "nr", "lu", "bc", "ec"),
)


def says_day(product: str) -> bool:
    """Say whether an order that closes must say of which day."""
    return product in _WITH_DAYS


def plan(request: OrderRequest, lots: Lots | None) -> tuple[Part, ...]:
    """Return the orders of a request.

    Raises:
        ConfigError: the offset it names is none, or a reduction finds nothing to reduce.
    """
    quantity = request.quantity
    if (wished := request.params.get("offset")) is not None:
        return (Part(quantity=quantity, offset=_offset(wished)),)
    if lots is None:
        return (Part(quantity=quantity),)
    closes_long = request.side is Side.SELL
    today = lots.long_today if closes_long else lots.short_today
    before = lots.long_yesterday if closes_long else lots.short_yesterday
    parts = []
    if says_day(request.instrument.base):
        for there, offset in ((before, Offset.CLOSE_YESTERDAY), (today, Offset.CLOSE_TODAY)):
            taken = min(there, quantity)
            parts.append(Part(quantity=taken, offset=offset) if taken else None)
            quantity -= taken
    else:
        taken = min(today + before, quantity)
        parts.append(Part(quantity=taken, offset=Offset.CLOSE) if taken else None)
        quantity -= taken
    if quantity > _ZERO:
        if request.reduce_only:
            raise ConfigError(
                f"a {request.side.value.lower()} of {request.quantity.normalize():f} that only reduces: there is "
                f"less to close of {request.instrument.symbol}, or orders under way close it"
            )
        parts.append(Part(quantity=quantity))
    return tuple(part for part in parts if part is not None)


def _offset(wished: object) -> Offset:
    if isinstance(wished, Offset):
        return wished
    try:
        return Offset(str(wished).upper())
    except ValueError:
        known = ", ".join(each.value for each in Offset)
        raise ConfigError(f"params={{'offset': {wished!r}}}: write one of {known}") from None
