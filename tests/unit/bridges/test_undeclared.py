"""What a card does not declare is refused in one sentence."""

import asyncio

import pytest

from btx.bridges.undeclared import UndeclaredBroker, UndeclaredFeed
from btx.errors import NotSupportedError
from btx.model.order import ListKind, OrderList
from btx.ports import Broker, Feed
from tests.values import BTC, MINUTE, leg

OPERATIONS = {
    "takes no lists": lambda: UndeclaredBroker().place_list(
        order_list=OrderList(list_id="l1", kind=ListKind.OCO, legs=(leg(), leg()))
    ),
    "at once": lambda: UndeclaredBroker().cancel_all(instrument=BTC),
    "replaces no orders": lambda: UndeclaredBroker().replace(leg=leg(), venue_order_id=None, new=leg()),
    "amends no orders": lambda: UndeclaredBroker().amend(leg=leg(), venue_order_id=None, new=leg()),
    "nothing by itself": lambda: UndeclaredBroker().dead_man(instrument=BTC, after_s=1.0),
    "no files": lambda: UndeclaredFeed().archive(instrument=BTC, interval=MINUTE, year=2026, month=1),
}


@pytest.mark.parametrize("why", OPERATIONS)
def test_what_no_card_declared_is_refused(why: str) -> None:
    with pytest.raises(NotSupportedError, match=why):
        asyncio.run(OPERATIONS[why]())


@pytest.mark.parametrize(("plain", "port"), [(UndeclaredBroker, Broker), (UndeclaredFeed, Feed)])
def test_every_operation_is_one_of_its_port_under_the_port_s_name(plain: type[object], port: type[object]) -> None:
    assert {name for name in vars(plain) if not name.startswith("_")} <= vars(port).keys()
