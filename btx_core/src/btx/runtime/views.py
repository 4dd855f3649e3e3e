"""What the session knows of a market and an account, as the rules want to be told."""

from collections.abc import Collection
from decimal import Decimal

from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument, InstrumentKind
from btx.model.order import Order, OrderType, Side
from btx.rules.filters import MarketView

__all__ = ("market_view",)

_WITHOUT_TRIGGER = frozenset({OrderType.MARKET, OrderType.LIMIT})


def market_view(
    instrument: Instrument,
    *,
    orders: Collection[Order],
    account: AccountSnapshot | None,
    last_price: Decimal | None,
    average_price: Decimal | None = None,
) -> MarketView:
    """Return what the venue's rules look at beside an order.

    ``orders`` are all that are known: those that are over, or of another
    instrument, are left out here. A conditional order counts until it ends,
    whether it was triggered or not: what we hear of an order does not tell.
    ``last_price`` is of the last closed bar, or of a trade.
    """
    open_orders = [
        order
        for order in orders
        if order.leg.request.instrument.symbol == instrument.symbol and not order.status.is_final
    ]
    requests = [order.leg.request for order in open_orders]
    position = None
    if account is not None and instrument.kind is InstrumentKind.SPOT:
        held = account.balances.get(instrument.base)
        position = held.total if held is not None else Decimal(0)
    return MarketView(
        reference_price=last_price,
        average_price=average_price,
        open_orders=len(requests),
        open_conditional_orders=sum(request.order_type not in _WITHOUT_TRIGGER for request in requests),
        open_iceberg_orders=sum(request.display_quantity is not None for request in requests),
        position=position,
        open_buys=sum((order.remaining for order in open_orders if order.leg.request.side is Side.BUY), Decimal(0)),
    )
