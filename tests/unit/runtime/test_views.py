"""What the session knows, as the venue's rules want to be told."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

import attrs

from btx.model.account import AccountSnapshot, Balance
from btx.model.instrument import InstrumentKind
from btx.model.order import Order, OrderType, Side, Status
from btx.model.time import Interval
from btx.rules.filters import MarketView
from btx.rules.orders import apply, new_order
from btx.runtime.views import RecentBars, market_view
from tests.values import BTC, bar, d, fill, leg, report

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


# --- the average price of a band's minutes ----------------------------------------------------------------


def test_the_average_is_of_the_last_minutes_by_volume() -> None:
    recent = RecentBars()
    for minute, close, volume in ((1, 90, 5), (2, 100, 1), (3, 110, 3)):
        recent.take(bar(minute, close=d(close), volume=d(volume), quote_volume=d(close * volume)))

    assert recent.average_price("BTC/USDT", 2) == d("107.5")
    assert recent.average_price("BTC/USDT", 3) == d(880) / 9
    assert recent.average_price("BTC/USDT", 4) is None  # a minute is not known
    assert recent.average_price("BTC/USDT", 0) is None  # the last price is meant, which is known elsewhere
    assert recent.average_price("ETH/USDT", 1) is None


def test_a_hole_says_nothing_a_repeat_counts_once_and_a_minute_without_trades_has_its_close() -> None:
    recent = RecentBars()
    for minute in (1, 3, 3):
        recent.take(bar(minute, close=d(100), volume=d(0), quote_volume=d(0)))
    recent.take(bar(4, interval=Interval.parse("5m"), close=d(500), volume=d(9)))

    assert recent.average_price("BTC/USDT", 2) is None
    assert recent.average_price("BTC/USDT", 1) == d(100)
