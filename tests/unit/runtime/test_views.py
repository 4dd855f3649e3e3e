"""What the session knows, as the venue's rules want to be told."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot, Balance
from btx.model.instrument import InstrumentKind
from btx.model.order import Order, OrderType, Side, Status
from btx.rules.filters import MarketView
from btx.rules.orders import apply, new_order
from btx.runtime.views import market_view
from tests.values import BTC, d, fill, leg, report

ACCOUNT = AccountSnapshot(
    balances={"BTC": Balance(free=d(2), locked=d(1)), "USDT": Balance(free=d(9), locked=d(0))}, time_ns=0
)
STOP = {"order_type": OrderType.STOP_MARKET, "price": None, "trigger_price": d(90), "side": Side.SELL}


def orders(*events: Any, **changes: Any) -> Order:
    order = new_order(leg(**changes))
    for event in events:
        order = apply(order, event)
    return order


def view(known: Collection[Order], **changes: Any) -> MarketView:
    return market_view(BTC, **({"orders": known, "account": ACCOUNT, "last_price": d(100)} | changes))


def test_open_orders_of_the_instrument_are_counted_by_their_kind() -> None:
    elsewhere = attrs.evolve(BTC, symbol="ETH/USDT")
    known = (
        orders(),
        orders(fill(quantity=2)),
        orders(report(Status.CANCELED)),
        orders(instrument=elsewhere),
        orders(**STOP),
        orders(display_quantity=d(1), side=Side.SELL),
    )

    seen = view(known)

    assert (seen.open_orders, seen.open_conditional_orders, seen.open_iceberg_orders) == (4, 1, 1)
    assert seen.open_buys == 6 + 4
    assert seen.position == 3
    assert seen.reference_price == 100
    assert seen.average_price is None


def test_a_coin_the_account_does_not_name_is_not_held() -> None:
    assert view((), account=attrs.evolve(ACCOUNT, balances={})).position == Decimal(0)


def test_what_is_not_known_stays_so() -> None:
    perpetual = attrs.evolve(BTC, kind=InstrumentKind.LINEAR)

    assert view((), account=None).position is None
    assert market_view(perpetual, orders=(), account=ACCOUNT, last_price=None).position is None
