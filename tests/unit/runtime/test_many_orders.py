"""A session that has traded for long: what is done for an order does not grow with the orders that are over."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import attrs

from btx.model.order import GroupKind, Order, OrderType, Side, Status
from btx.rules.orders import apply, new_order
from btx.runtime.orders import OrderDesk
from tests.toy_venue import ToyVenue
from tests.unit.runtime.strategy import Outside, Strategy, session_with
from tests.values import BTC, fill, leg, request

OVER = 20_000


class Counted(dict[str, Order]):
    """Orders by id; somebody who goes through all of them is noted."""

    rounds = 0

    def _noted(self) -> None:
        self.rounds += 1

    def __iter__(self) -> Iterator[str]:
        self._noted()
        return super().__iter__()

    def values(self) -> Any:
        self._noted()
        return super().values()

    def items(self) -> Any:
        self._noted()
        return super().items()

    def keys(self) -> Any:
        self._noted()
        return super().keys()


def over(number: int) -> Order:
    name = f"old{number}"
    return apply(new_order(attrs.evolve(leg(), client_order_id=name)), fill("1", 6, client_order_id=name))


def grown_old(desk: OrderDesk) -> Counted:
    """Let a desk have many orders that are over, and return what counts the looks at all of them."""
    for number in range(OVER):
        desk._register._keep(over(number))
    desk._register._orders = counted = Counted(desk._register._orders)
    return counted


def test_no_step_of_an_order_looks_at_all_orders(outside: Outside) -> None:
    toy = ToyVenue()
    strategy = Strategy(session_with(toy))
    session = strategy.session
    session.start()
    try:
        assert session._link is not None
        desk = session._link.desk
        assert desk is not None
        counted = outside.do(grown_old, desk)

        one = session.submit(request())
        strategy.until(lambda: strategy.statuses(one)[-1:] == ["NEW"])
        assert session.market_view(BTC).open_orders == 1
        outside.do(toy.execute, one, 2)
        strategy.until(lambda: strategy.statuses(one)[-1] == "PARTIALLY_FILLED")
        session.amend(one, request(price=Decimal(99)))
        strategy.until(lambda: strategy.statuses(one)[-1] == "CANCELED")
        session.cancel(one)
        stop = request(side=Side.SELL, order_type=OrderType.STOP_MARKET, price=None, trigger_price=Decimal(90))
        limit = request(side=Side.SELL, price=Decimal(120))
        group = session.submit_group(GroupKind.BRACKET, entry=request(), members=(stop, limit))
        assert group.entry is not None
        entry = group.entry.member_id
        strategy.until(lambda: strategy.statuses(entry)[-1:] == ["NEW"])
        outside.do(toy.execute, entry, 6)
        outside.wait(toy.until(lambda: len([each for each in toy.orders.values() if each.leg.group_id]) == 3))
        outside.do(toy.trade, "BTC/USDT", 120)
        strategy.until(lambda: toy.orders[entry].status is Status.FILLED and not session.open_orders())

        assert counted.rounds == 0
        assert len(session.orders()) > OVER
        assert counted.rounds == 1
        first, second = desk.legs(one)  # the amended one took its place
        assert first.client_order_id == one
        assert second.leg.owner_id == one
    finally:
        session.stop()
