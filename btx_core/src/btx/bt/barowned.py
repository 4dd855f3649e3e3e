"""Owned assets in a backtest on bars: what orders reserve of them. Nothing ever becomes of them by itself."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from btx.bt.barorders import Ticket, locked, needs, together
from btx.bt.books import Account, Book
from btx.model.order import Side

__all__ = ("OwnedKeeper", "plain")


class OwnedKeeper:
    """The keeper of an account whose positions are coins; see :class:`btx.bt.barmargin.MarginKeeper` for the words."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def forget(self) -> None:
        """There is nothing to look at."""

    def is_calm(self) -> bool:
        return True

    def mark(self, bars: Sequence[Any], price: Callable[[Any], float]) -> None:
        """Coins have no mark price."""

    def fund(self, bars: Iterable[Any], until: Callable[[Any], int]) -> None:
        """Coins have no funding."""

    def check(self, bars: Sequence[Any]) -> None:
        """Nobody liquidates coins."""

    def worst(self, bars: Sequence[Any]) -> None:
        """As :meth:`check`."""

    def lacking(self, ticket: Ticket, resting: Iterable[Ticket], price: Decimal | None) -> str | None:
        """Return what the account lacks for an order: all of what it costs, or sells.

        While it is placed, what rests has reserved its own; when it fills, at
        ``price``, there is what there is.
        """
        instrument = ticket.book.instrument
        asset = instrument.base if ticket.request.side is Side.SELL else instrument.quote
        free = self._account.total(asset)
        if price is None:
            own = {id(each) for each in (ticket, *together(ticket))}
            free -= locked([each for each in resting if id(each) not in own], asset, Book.last_close)
            needed = needs(ticket, asset, Book.last_close)
        else:
            needed = ticket.remaining * (price if asset == instrument.quote else 1)
        if needed <= free:
            return None
        return f"{plain(needed)} {asset} needed, {plain(free)} free"


def plain(value: Decimal) -> str:
    """Return a number as people write it."""
    return f"{value.normalize():f}"
