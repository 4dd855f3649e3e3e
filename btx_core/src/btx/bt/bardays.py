"""Trading days of a backtest: what T+1, price limits and the closing of today's positions need to know of them."""

import datetime
from decimal import Decimal
from typing import Any

from btx.bt.matching import Prices
from btx.model.calendar import Calendar
from btx.model.fees import FeeSchedule
from btx.model.instrument import Instrument
from btx.model.order import Liquidity, Offset, OrderRequest, Side
from btx.model.restrictions import Restrictions
from btx.rules.calendar import trading_day
from btx.rules.contracts import notional
from btx.rules.money import booked
from btx.rules.restrictions import PriceLimits, price_limits, sellable, split_close, within_limits

__all__ = ("Days",)

_ZERO = Decimal(0)
_NO_LIMIT = Decimal("Infinity")


class Days:
    """One instrument under restrictions: its present trading day, and what was bought and opened on it."""

    def __init__(self, instrument: Instrument, calendar: Calendar, restrictions: Restrictions) -> None:
        self._instrument = instrument
        self._calendar = calendar
        self._restrictions = restrictions
        self._day: datetime.date | None = None
        self._last_close: float | None = None
        self._bought = _ZERO
        self._opened = _ZERO  # today, without a sign
        self.limits = PriceLimits()

    def begin(self, open_ns: int, close_ns: int, bar: Prices) -> None:
        """Take a new bar; with the first of a trading day its limits are those of the last day's close."""
        day = trading_day(self._calendar, max(open_ns, close_ns - 1))
        if day != self._day:
            self._day, self._bought, self._opened = day, _ZERO, _ZERO
            share = self._restrictions.price_limit
            if share is not None and self._last_close is not None:
                reference = Decimal(repr(self._last_close))
                to_nearest = self._restrictions.limit_to_nearest
                self.limits = price_limits(
                    reference, share, tick_size=self._instrument.tick_size, to_nearest=to_nearest
                )
        self._last_close = bar.close

    def refusal(self, request: OrderRequest, held: Decimal, selling: Decimal, *, is_exit: bool) -> str | None:
        """Return why an order must not be sent today; ``selling`` is what open orders sell already.

        An exit waits for its entry, and then for the day on which it may sell.
        """
        symbol, limits = self._instrument.symbol, self.limits
        for price in (request.price, request.trigger_price):
            if price is not None and not within_limits(price, limits):
                return (
                    f"{symbol}: {price} lies outside today's price limits, {limits.low} to {limits.high} (price_limit)"
                )
        if self._restrictions.sells_next_day and request.side is Side.SELL and not is_exit:
            free = sellable(held, self._bought, locked=selling)
            if request.quantity > free:
                return (
                    f"{symbol}: {request.quantity.normalize():f} cannot be sold today, {free.normalize():f} can: what "
                    "was bought today is sold on the next trading day at the earliest (sells_next_day)"
                )
        return None

    def most(self, request: OrderRequest, held: Decimal, bar: Prices) -> Decimal:
        """Return how much of an order may fill in a bar: nothing while the price is locked at its limit."""
        is_buy, limits = request.side is Side.BUY, self.limits
        if is_buy and limits.high is not None and bar.low >= float(limits.high):
            return _ZERO
        if not is_buy and limits.low is not None and bar.high <= float(limits.low):
            return _ZERO
        return sellable(held, self._bought) if self._restrictions.sells_next_day and not is_buy else _NO_LIMIT

    def book(self, side: Side, quantity: Decimal, held: Decimal) -> None:
        """Remember a fill; ``held`` is what was held before it."""
        closed = self._closed(side, quantity, held)
        today = self._of_today(closed, held)
        self._opened += quantity - closed - today
        if side is Side.BUY:
            self._bought += quantity

    def surcharge(
        self,
        instrument: Instrument,
        schedule: FeeSchedule,
        *,
        side: Side,
        price: Decimal,
        quantity: Decimal,
        liquidity: Liquidity,
        held: Decimal,
    ) -> Decimal:
        """Return what closing today's positions costs beyond the usual rate; below zero where it is cheaper."""
        rate = self._restrictions.close_today_rate
        today = self._of_today(self._closed(side, quantity, held), held)
        if rate is None or not today:
            return _ZERO
        usual = schedule.maker if liquidity is Liquidity.MAKER else schedule.taker
        return booked(notional(instrument, today, price) * (rate - usual))

    def _closed(self, side: Side, quantity: Decimal, held: Decimal) -> Decimal:
        return min(quantity, abs(held)) if held * side.sign < 0 else _ZERO

    def _of_today(self, closed: Decimal, held: Decimal) -> Decimal:
        opened: Any = min(self._opened, abs(held))
        parts = split_close(
            closed,
            today=opened,
            yesterday=abs(held) - opened,
            today_first=self._restrictions.closes_today_first,
        )
        return sum((part.quantity for part in parts if part.offset is Offset.CLOSE_TODAY), _ZERO)
