"""What the session knows of a market and an account, as the rules want to be told."""

from collections.abc import Collection
from decimal import Decimal

from btx.model.account import AccountSnapshot
from btx.model.instrument import Instrument
from btx.model.market import Bar
from btx.model.order import Order, OrderType, Side
from btx.model.time import NS_PER_MINUTE
from btx.rules.filters import MarketView

__all__ = ("RecentBars", "market_view")

_MINUTES = 15  # more than any venue's band looks at
_WITHOUT_TRIGGER = frozenset({OrderType.MARKET, OrderType.LIMIT})


class RecentBars:
    """The last minutes of each instrument, from closed 1m bars, for the average price of a venue's price band.

    The venue's own average goes on with every trade; ours is as old as the last
    bar, and stays away from a band of dozens of per cent by far less than a tick of it.
    Strategy's thread or btx-io: what is kept is replaced, not changed.
    """

    def __init__(self) -> None:
        self._bars: dict[str, tuple[Bar, ...]] = {}

    def take(self, bar: Bar) -> None:
        """Remember a closed bar; of longer ones nothing can be said about minutes."""
        if bar.interval.nominal_ns == NS_PER_MINUTE:
            known = [each for each in self._bars.get(bar.symbol, ()) if each.open_ns != bar.open_ns]
            self._bars[bar.symbol] = tuple(sorted((*known, bar), key=lambda each: each.open_ns)[-_MINUTES:])

    def average_price(self, symbol: str, minutes: int) -> Decimal | None:
        """Return the volume-weighted price of the last closed minutes, None where one of them is not known."""
        bars = self._bars.get(symbol, ())[-minutes:] if minutes else ()
        if len(bars) < max(minutes, 1) or bars[-1].open_ns - bars[0].open_ns != (minutes - 1) * NS_PER_MINUTE:
            return None
        volume = sum((bar.volume for bar in bars), Decimal(0))
        if not volume:
            return bars[-1].close
        return sum((bar.quote_volume or bar.close * bar.volume for bar in bars), Decimal(0)) / volume


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
    if account is not None and not instrument.kind.is_margined:
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
