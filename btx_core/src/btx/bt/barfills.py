"""Fills of a backtest on bars: how much, at which price, for which fee, and how backtrader sees them."""

from decimal import Decimal
from typing import Any

import backtrader as bt
from backtrader.order import BuyOrder, SellOrder

from btx.bt.baraccount import BarAccount, Fresh, Meeting
from btx.bt.barorders import Ticket
from btx.bt.barowned import plain
from btx.bt.books import Book, Executed
from btx.bt.matching import Match, Prices
from btx.model.fees import FeeSchedule
from btx.model.order import Fill, Liquidity, Origin, PositionSide, Side
from btx.model.time import NS_PER_DAY
from btx.rules.contracts import quote_value
from btx.rules.fees import at_level, fee_of
from btx.rules.filters import step_of, to_grid_price, to_grid_quantity

__all__ = ("BarFills",)

_ZERO, _ONE = Decimal(0), Decimal(1)
_DOLLARS = frozenset({"USD", "USDT", "BUSD", "USDC", "FDUSD", "TUSD", "DAI"})


class BarFills(BarAccount):
    """The broker as far as it executes."""

    def _slipped(self, ticket: Ticket, match: Match, bar: Prices) -> Decimal | None:
        """Return the price of a fill, with the slippage that was asked for: it is of what takes."""
        price: float | None = match.price
        if match.takes and (self.p.slip_perc or self.p.slip_fixed):
            limit = ticket.work.limit
            does = self.p.slip_open or ticket.work.is_triggered
            if ticket.work.is_buy:
                most = bar.high if limit is None else min(bar.high, limit)
                price = self._slip_up(most, match.price, doslip=does, lim=limit is not None)
            else:
                least = bar.low if limit is None else max(bar.low, limit)
                price = self._slip_down(least, match.price, doslip=does, lim=limit is not None)
            if price is None:
                return None
            worse = Side.SELL if ticket.work.is_buy else Side.BUY
            return to_grid_price(ticket.book.instrument, price, side=worse)
        return Decimal(repr(price))

    def _quantity(self, meeting: Meeting, price: Decimal) -> tuple[Decimal, bool]:
        """Return how much of an order fills now, and whether the bar limits it."""
        ticket, each = meeting.ticket, meeting.fresh
        book, request = ticket.book, ticket.request
        wanted = quantity = ticket.remaining
        held = book.mirror.held
        if request.reduce_only or (book.leg is not PositionSide.NET and _closes(book, request.side)):
            quantity = min(quantity, abs(held) if (held > 0) is (request.side is Side.SELL) else _ZERO)
        most: list[Decimal] = []
        if (days := self._days.get(book.key)) is not None:
            most.append(days.most(request, held, meeting.bar))
        if (room := self._room.get(id(each.data))) is not None:
            most.append(room)
        if self.p.filler is not None:
            most.append(Decimal(repr(float(self.p.filler(ticket.order, float(price), 0)))))
        if most and min(most) < quantity:
            step = step_of(book.instrument, order_type=request.order_type)
            return max(min(most), _ZERO) // step * step, True
        return quantity, quantity == wanted == _ZERO

    def _room_of(self, each: Fresh) -> Decimal | None:
        if self._share is None:
            return None
        volume = Decimal(repr(float(each.data.volume[0])))
        return to_grid_quantity(each.book.instrument, volume * self._share)

    def _fill(
        self,
        book: Book,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        time_ns: int,
        *,
        liquidity: Liquidity,
        ref: int,
        origin: Origin = Origin.CLIENT,
    ) -> Fill:
        """Return a fill with the fee of now, and count its volume."""
        instrument = book.instrument
        self._fill_count += 1
        fee, asset = _ZERO, instrument.settle
        words: dict[str, Any] = {"side": side, "price": price, "quantity": quantity, "liquidity": liquidity}
        if origin is Origin.DELIVERY:
            fee, asset = fee_of(instrument, self._rates(book, time_ns), **words)
        elif origin is Origin.CLIENT:
            schedule = self._rates(book, time_ns)
            fee, asset = fee_of(instrument, schedule, **words)
            days = self._days.get(book.key)
            if days is not None:
                fee += days.surcharge(instrument, schedule, **words, held=book.mirror.held)
                days.book(side, quantity, book.mirror.held)
            coin = schedule.discount_asset
            if self._has_discount and coin is not None and coin != asset and (worth := self._account.rate(coin, asset)):
                less = fee_of(instrument, schedule, **words, discount_price=worth)
                if less.amount <= self._account.total(coin):
                    fee, asset = less
            dollars = _ONE if instrument.quote in _DOLLARS else self._account.rate(instrument.quote, self._currency)
            self._volume = self._volume.add(quote_value(instrument, quantity, price) * (dollars or _ZERO), time_ns)
        return Fill(
            fill_id=str(self._fill_count),
            client_order_id=str(ref),
            symbol=instrument.symbol,
            side=side,
            price=price,
            quantity=quantity,
            fee=fee,
            fee_asset=asset,
            liquidity=liquidity,
            time_ns=time_ns,
            position_side=book.leg,
            origin=origin,
        )

    def _rates(self, book: Book, time_ns: int) -> FeeSchedule:
        """Return the rates of the tier the account is in; venues look once a day."""
        schedule, symbol, day = (
            self._session.fee_schedule(book.instrument),
            book.instrument.symbol,
            time_ns // NS_PER_DAY,
        )
        if not schedule.levels:
            return schedule
        known = self._levels.get(symbol)
        if known is None or known[0] != day:
            coin = schedule.discount_asset
            holding = self._account.total(coin) if coin is not None else _ZERO
            known = self._levels[symbol] = (day, at_level(schedule, self._volume.at(time_ns), holding))
        return known[1]

    def _show(self, order: Any, book: Book, fill: Fill, stamp: float) -> None:
        """Count a fill, and write it into backtrader's order."""
        executed: Executed = self._account.book_fill(book, fill)
        order.execute(
            stamp,
            float(fill.side.sign * fill.quantity),
            float(fill.price),
            *executed.parts(book.comminfo, self._account.fee_of(book, fill)),
        )
        if executed.averaged_price is not None:
            order.executed.exbits[-1].price = executed.averaged_price
        self._keeper.forget()

    def close_by_venue(self, book: Book, price: Decimal, time_ns: int, *, origin: Origin, liquidity: Liquidity) -> None:
        """Close a position by an order of the venue's own; backtrader tells the first strategy of it."""
        held = book.mirror.held
        side = Side.SELL if held > 0 else Side.BUY
        kind: Any = SellOrder if held > 0 else BuyOrder
        order = kind(owner=None, data=book.data, size=float(abs(held)), price=float(price), exectype=bt.Order.Market)
        order.addcomminfo(book.comminfo)
        order.submit(self)
        order.accept(self)
        fill = self._fill(book, side, abs(held), price, time_ns, liquidity=liquidity, ref=order.ref, origin=origin)
        why = f"{origin.value}: {side.value} {plain(fill.quantity)} {fill.symbol} at {plain(price)}"
        order.addinfo(origin=origin.value, reason=why, fills=(fill,))
        self._store.put_notification(why)
        self._show(order, book, fill, book.data.datetime[0])
        order.executed.remsize = 0
        order.completed()
        self.notify(order)


def _closes(book: Book, side: Side) -> bool:
    return (book.leg is PositionSide.LONG) is (side is Side.SELL)
