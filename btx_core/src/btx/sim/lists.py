"""Order lists: which orders may be tied together, how their prices must lie, and the lists of an account."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import attrs

from btx.model.order import ListKind, OrderType, Side
from btx.sim.orders import NewOrder, Refusal, Refused, SimOrder, SimOrderList

__all__ = ("ListBook", "NewOrderList", "list_problem", "pair_prices_fit")

_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_PROFITS = frozenset({OrderType.TAKE_PROFIT_MARKET, OrderType.TAKE_PROFIT_LIMIT})
_PROFIT, _STOP, _NEITHER = range(3)
_SIZES = {ListKind.OCO: 2, ListKind.OTO: 2, ListKind.OTOCO: 3}


@attrs.frozen(kw_only=True)
class NewOrderList:
    """What a client asks for: the legs of an OCO, or a working order and then what its fill places.

    Both legs of a pair have one side and one quantity.  One is a post-only
    limit or a take profit, the other a stop.
    """

    kind: ListKind
    orders: tuple[NewOrder, ...]
    client_list_id: str | None = None  # None: the exchange makes one

    @property
    def venue_symbol(self) -> str:
        return self.orders[0].venue_symbol

    @property
    def pair(self) -> tuple[NewOrder, ...]:
        """The two of which one will cancel the other; empty for an OTO."""
        return {ListKind.OCO: self.orders, ListKind.OTO: (), ListKind.OTOCO: self.orders[1:]}[self.kind]

    @property
    def placed_first(self) -> tuple[NewOrder, ...]:
        """The orders that need their money at once."""
        return self.orders if self.kind is ListKind.OCO else self.orders[:1]


def list_problem(new: NewOrderList) -> str:
    """Return what makes a list impossible; an empty text when it can be read."""
    working, pair = new.orders[0], new.pair
    problems = (
        (len(new.orders) != _SIZES[new.kind], "number of orders"),
        (any(order.venue_symbol != new.venue_symbol for order in new.orders), "one symbol"),
        (any(order.quantity is None for order in new.orders), "orders of a list are sized in base units"),
        (new.kind is not ListKind.OCO and working.order_type is not OrderType.LIMIT, "the working order is a limit"),
        (len({(order.side, order.quantity) for order in pair}) > 1, "a pair has one side and one quantity"),
        (bool(pair) and sorted(map(_part, pair)) != [_PROFIT, _STOP], "a pair is a profit and a stop"),
    )
    return next((text for is_broken, text in problems if is_broken), "")


def _part(order: NewOrder | SimOrder) -> int:
    if order.order_type in _STOPS:
        return _STOP
    if order.order_type in _PROFITS or (order.order_type is OrderType.LIMIT and order.post_only):
        return _PROFIT
    return _NEITHER


def pair_prices_fit(pair: Iterable[NewOrder | SimOrder], last_price: Decimal) -> bool:
    """Tell whether a pair lies around the last price: a sell's profit above it and its stop below, a buy's contrarily.

    A trailing leg without a trigger price has no price of its own yet and fits anywhere.
    """
    for order in pair:
        price = order.price if order.order_type is OrderType.LIMIT else order.trigger_price
        if price is None:
            continue
        is_above = (_part(order) == _PROFIT) == (order.side is Side.SELL)
        if not (price > last_price if is_above else price < last_price):
            return False
    return True


class ListBook:
    """The order lists of one account, newest state by id."""

    def __init__(self) -> None:
        self._lists: dict[int, SimOrderList] = {}

    def __iter__(self) -> Iterator[SimOrderList]:
        """Iterate over every list there ever was, oldest first."""
        return iter(self._lists.values())

    def __getitem__(self, list_id: int) -> SimOrderList:
        return self._lists[list_id]

    def put(self, order_list: SimOrderList) -> None:
        """Remember a list as it is now."""
        self._lists[order_list.list_id] = order_list

    def open(self, venue_symbol: str | None = None) -> tuple[SimOrderList, ...]:
        """Return the lists that are not done, oldest first; of all symbols for None."""
        return tuple(one for one in self if not one.is_done and venue_symbol in (None, one.venue_symbol))

    def find(self, *, list_id: int | None = None, client_list_id: str | None = None) -> SimOrderList:
        """Return a list, open or not; of a reused client list id the latest.

        Raises:
            Refused: UNKNOWN_LIST.
        """
        found = None
        if list_id is not None:
            found = self._lists.get(list_id)
        elif client_list_id is not None:
            found = next((one for one in reversed(self._lists.values()) if one.client_list_id == client_list_id), None)
        if found is None or (client_list_id is not None and found.client_list_id != client_list_id):
            raise Refused(Refusal.UNKNOWN_LIST)
        return found
