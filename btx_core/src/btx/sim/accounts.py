"""One client of the exchange: what it owns, what its orders hold, and what it did."""

from decimal import Decimal

import attrs

from btx.model.account import Balance
from btx.model.instrument import Instrument
from btx.model.order import Side
from btx.sim.lists import ListBook
from btx.sim.orders import Amendment, SimFill, SimOrder

__all__ = ("Account", "Client", "held")

_ZERO = Decimal(0)


@attrs.define(kw_only=True)
class Client:
    """A client of any exchange: orders by id (all, and those that are open), and what came of them."""

    api_key: str
    pays_with_discount_asset: bool = False
    orders: dict[int, SimOrder] = attrs.field(factory=dict)
    open_ids: dict[int, None] = attrs.field(factory=dict)  # a set that keeps its order
    fills: list[SimFill] = attrs.field(factory=list)
    amendments: list[Amendment] = attrs.field(factory=list)
    sequence: int = 0

    def open_orders(self, venue_symbol: str | None = None) -> list[SimOrder]:
        """Return open orders, oldest first; of all symbols for None."""
        orders = (self.orders[order_id] for order_id in self.open_ids)
        return [order for order in orders if venue_symbol in (None, order.venue_symbol)]

    def keep(self, order: SimOrder) -> None:
        """Remember an order as it is now."""
        self.orders[order.order_id] = order
        if order.is_open:
            self.open_ids[order.order_id] = None
        else:
            self.open_ids.pop(order.order_id, None)


@attrs.define(kw_only=True)
class Account(Client):
    """A client that owns what it trades: balances, and what its open orders lock of them."""

    free: dict[str, Decimal]
    locked: dict[str, Decimal] = attrs.field(factory=dict)
    lists: ListBook = attrs.field(factory=ListBook)

    def balance(self, asset: str) -> Balance:
        """Return what is owned of an asset."""
        return Balance(free=self.free.get(asset, _ZERO), locked=self.locked.get(asset, _ZERO))

    def add(self, asset: str, difference: Decimal) -> None:
        """Change what is free."""
        self.free[asset] = self.free.get(asset, _ZERO) + difference

    def partners(self, order: SimOrder) -> list[SimOrder]:
        """Return the open orders that cannot live beside this one once it trades or triggers."""
        if order.list_id is None:
            return []
        ids = self.lists[order.list_id].partners(order.order_id)
        return [self.orders[order_id] for order_id in ids if order_id in self.open_ids]

    def held(self, order: SimOrder, instrument: Instrument) -> Decimal:
        """Return what is locked for an order and its partners: as only one can execute, the most any of them needs."""
        known = self.orders.get(order.order_id)
        orders = [*self.partners(order), *([known] if known is not None else [])]
        return max((held(one, instrument)[1] for one in orders), default=_ZERO)

    def put(self, order: SimOrder, instrument: Instrument) -> tuple[str, ...]:
        """Keep an order as it is now and lock what that takes; return the assets whose lock changed."""
        before = self.held(order, instrument)
        self.keep(order)
        difference = self.held(order, instrument) - before
        if not difference:
            return ()
        asset = held(order, instrument)[0]
        self.add(asset, -difference)
        self.locked[asset] = self.locked.get(asset, _ZERO) + difference
        return (asset,)


def held(order: SimOrder, instrument: Instrument) -> tuple[str, Decimal]:
    """Return what an order by itself keeps locked: the one definition all bookkeeping follows.

    An order that executes at once (MARKET, or a triggered stop without a limit)
    holds nothing, nor does one that waits for another to be filled, or that locks late.
    """
    asset = instrument.quote if order.side is Side.BUY else instrument.base
    price = order.price if order.price is not None or order.working_ns is not None else order.reserve_price
    waits_free = order.locks_late and order.working_ns is None
    if price is None or not order.is_open or order.is_pending or waits_free:
        return asset, _ZERO
    return asset, order.remaining * price if order.side is Side.BUY else order.remaining
