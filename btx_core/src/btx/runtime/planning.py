"""What venue orders a request becomes, asked of the adapter with what the account has. Lives on btx-io."""

import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal

from btx.errors import BtxError
from btx.model.account import AccountSnapshot, Lots
from btx.model.order import Order, OrderRequest, Part
from btx.rules.lots import after_order, free, rolled

__all__ = ("Planner",)


class Planner:
    """Asks ``plan``, and knows what positions are made of where (``offsets``) an order says which part it closes.

    ``day`` says which trading day it is for a symbol.
    """

    def __init__(
        self,
        plan: Callable[[OrderRequest, Lots | None], tuple[Part, ...]],
        *,
        offsets: bool,
        day: Callable[[str], datetime.date | None] = lambda _symbol: None,
    ) -> None:
        self._plan = plan
        self._offsets = offsets
        self._day = day
        self._lots: dict[str, tuple[Lots, datetime.date | None]] = {}  # by symbol, with the day they are of

    def lots(self, symbol: str) -> Lots:
        """Return what there is of an instrument, orders under way or not."""
        day = self._day(symbol)
        lots, of_day = self._lots.get(symbol, (Lots(symbol=symbol), day))
        return lots if of_day == day else rolled(lots)

    def take(self, snapshot: AccountSnapshot) -> None:
        """Take the venue's word; nothing of what it tells may have been pushed since."""
        self._lots = {each.symbol: (each, self._day(each.symbol)) for each in snapshot.lots}

    def on_order(self, before: Order | None, after: Order) -> None:
        """Count what a step of an order did."""
        if self._offsets and before is not None:
            symbol = after.leg.request.instrument.symbol
            self._lots[symbol] = (after_order(self.lots(symbol), before, after), self._day(symbol))

    def __call__(self, request: OrderRequest, orders: Iterable[Order]) -> tuple[Part, ...]:
        """Return the venue orders of a request; what the living ``orders`` close is not there to be closed again.

        Raises:
            BtxError: the adapter refuses it, or its answer is none.
        """
        symbol = request.instrument.symbol
        parts = self._plan(request, free(self.lots(symbol), orders) if self._offsets else None)
        planned = sum((part.quantity for part in parts), Decimal(0))
        if planned != request.quantity:
            raise BtxError(f"the adapter's btx_plan makes {planned} of {request.quantity} {symbol}: nothing was sent")
        return parts
