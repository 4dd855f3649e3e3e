"""The values tests are made of: one spot instrument, and orders, fills and bars of it."""

from decimal import Decimal
from typing import Any

import attrs

from btx.model.instrument import Instrument, InstrumentKind
from btx.model.market import Bar, Trade
from btx.model.order import Fill, Leg, OrderReport, OrderRequest, OrderType, Side, Status
from btx.model.time import NS_PER_MINUTE, Interval

BTC = Instrument(
    venue="toy",
    symbol="BTC/USDT",
    venue_symbol="BTCUSDT",
    kind=InstrumentKind.SPOT,
    base="BTC",
    quote="USDT",
    settle="USDT",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.00001"),
    min_quantity=Decimal("0.00001"),
    max_quantity=Decimal(9000),
    min_price=Decimal("0.01"),
    max_price=Decimal(1000000),
    min_notional=Decimal(5),
    max_notional=Decimal(9000000),
)
MINUTE = Interval.parse("1m")


def d(text: str | int) -> Decimal:
    return Decimal(text)


def request(**changes: Any) -> OrderRequest:
    whole = {
        "instrument": BTC,
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "quantity": Decimal(6),
        "price": Decimal(100),
        "signal_ns": 0,
    }
    return OrderRequest(**(whole | changes))


def leg(quantity: str | int = 6, **changes: Any) -> Leg:
    asked = request(quantity=Decimal(quantity), **changes)
    return Leg(client_order_id="a1", request=asked, quantity=asked.quantity)


def fill(fill_id: str = "f1", quantity: str | int = 2, **changes: Any) -> Fill:
    whole = {
        "fill_id": fill_id,
        "client_order_id": "a1",
        "symbol": "BTC/USDT",
        "side": Side.BUY,
        "price": Decimal(100),
        "quantity": Decimal(quantity),
        "time_ns": 1,
    }
    return Fill(**(whole | changes))


def report(status: Status, **changes: Any) -> OrderReport:
    whole = {"client_order_id": "a1", "symbol": "BTC/USDT", "status": status, "time_ns": 1}
    return OrderReport(**(whole | changes))


def trade(trade_id: int | str, minutes: float, price: str | int = 100, quantity: str | int = 1) -> Trade:
    return Trade(
        symbol="BTC/USDT",
        trade_id=trade_id,
        price=Decimal(price),
        quantity=Decimal(quantity),
        side=Side.BUY,
        time_ns=int(minutes * NS_PER_MINUTE),
    )


def bar(minute: int, *, interval: Interval = MINUTE, **changes: Any) -> Bar:
    """Return the closed bar that opens ``minute`` minutes after the epoch."""
    whole = Bar(
        symbol="BTC/USDT",
        interval=interval,
        open_ns=minute * NS_PER_MINUTE,
        close_ns=interval.close_of(minute * NS_PER_MINUTE),
        open=Decimal(100),
        high=Decimal(110),
        low=Decimal(90),
        close=Decimal(105),
        volume=Decimal(7),
        quote_volume=Decimal(700),
        trades=3,
        is_closed=True,
    )
    return attrs.evolve(whole, **changes)
