"""Orders that make a position on margin smaller: which they are, and how far a leg goes."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import backtrader as bt

from btx.bt.books import Book
from btx.errors import ConfigError
from btx.model.order import OrderType, PositionSide, Side

__all__ = ("reduces",)


def reduces(book: Book, order: Any, *, side: Side, quantity: Decimal, info: Mapping[str, Any], is_child: bool) -> bool:
    """Say whether an order on margin may only make its position smaller.

    One at the market that closes all there is, and nothing else is closing yet, may: ``close()`` cannot turn
    a position over, whatever fills meanwhile. So may every exit of a bracket. What rests may open when its
    time comes, unless it is told otherwise.

    Raises:
        ConfigError: it would go beyond its leg, or there is nothing to reduce.
    """
    held = book.mirror.held
    closes, wanted = info.get("close_position"), info.get("reduce_only")
    for name, word in (("close_position", closes), ("reduce_only", wanted)):
        if word is not None and not isinstance(word, bool):
            raise ConfigError(f"{name}={word!r}: write True or False")
    session = book.account.session
    if not session.info.capabilities[session.market].margined:
        if wanted or closes:
            raise ConfigError("reduce_only= and close_position= are of positions on margin: leave them out on spot")
        return False
    is_exit = held != 0 and (held > 0) is (side is Side.SELL)
    if (wanted or closes) and not is_exit and not is_child:
        raise ConfigError(f"a {side.value.lower()} reduces nothing here: the position is {held.normalize():f}")
    if book.leg is not PositionSide.NET:
        if not is_child:
            _check_leg(book, side, quantity)
        return False  # the leg says it
    if wanted is not None:
        return bool(wanted)
    is_all = is_exit and order.exectype == bt.Order.Market and quantity == abs(held) - _closing(book)
    return is_child or bool(closes) or is_all


def _closing(book: Book) -> Decimal:
    """Return how much of a position orders at the market close already."""
    own = [each for each in book.account.tickets.values() if each.book is book and each.order.alive()]
    closing = [each for each in own if each.request.reduce_only and each.request.order_type is OrderType.MARKET]
    return sum((each.remaining for each in closing), Decimal(0))


def _check_leg(book: Book, side: Side, quantity: Decimal) -> None:
    """Refuse an order that would take a leg through zero.

    Raises:
        ConfigError: it would.
    """
    opens = Side.BUY if book.leg is PositionSide.LONG else Side.SELL
    if side is opens:
        return
    held, leg = abs(book.mirror.held), book.leg.value.lower()
    if quantity > held:
        other = "short" if book.leg is PositionSide.LONG else "long"
        raise ConfigError(
            f"a {side.value.lower()} of {quantity.normalize():f} would take the {leg} leg of "
            f"{book.instrument.symbol} through zero, it holds {held.normalize():f}: the {other} leg has a data of its "
            f"own, getdata(..., position_side={other!r})"
        )
