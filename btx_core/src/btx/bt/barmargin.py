"""Positions on margin in a backtest on bars: funding, margin of orders, and liquidation within a bar."""

import bisect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from btx.bt.barorders import Ticket
from btx.bt.barsession import BarSession
from btx.bt.margin import MarginedAccount
from btx.bt.matching import Prices
from btx.model.account import Booking, BookingKind
from btx.model.derivatives import FundingRate
from btx.model.order import Liquidity, Origin, PositionSide, Side
from btx.model.time import NS_PER_DAY, NS_PER_HOUR, iso
from btx.rules.account import Key, MarginPosition
from btx.rules.contracts import is_inverse, notional
from btx.rules.funding import due
from btx.rules.margin import max_notional, order_cost, order_margin
from btx.rules.money import booked
from btx.rules.wallet import MarginAccount, apply_booking, apply_funding, apply_mark, liquidation_price

if TYPE_CHECKING:
    from btx.bt.baraccount import Fresh
    from btx.bt.books import Book

__all__ = ("USUAL_RATE", "MarginKeeper", "VenueActs")

_log = logging.getLogger("btx")
_ZERO, _ONE = Decimal(0), Decimal(1)
_EPOCH_DAYS = 719_163.0
USUAL_RATE = Decimal("0.0001")
"""Funding where nobody knows the rates: what is settled every eight hours while futures and spot cost the same."""

_USUAL_NS = 8 * NS_PER_HOUR
_HALVINGS = 60
_CAREFUL = 1.02  # how far from liquidation floats may still be trusted


class VenueActs(Protocol):
    """What the venue does by itself to a broker's orders and positions."""

    def close_by_venue(
        self, book: "Book", price: Decimal, time_ns: int, *, origin: Origin, liquidity: Liquidity
    ) -> None:
        """Close a position."""

    def cancel_resting(self, books: "Iterable[Book]", reason: str) -> None:
        """End all orders that rest in these books."""

    def remark(self, text: str) -> None:
        """Tell the strategy something."""


class _Held(NamedTuple):
    """A position in floats, for a quick look at each bar."""

    data: Any
    size: float  # base units, of an INVERSE quote units
    entry: float
    is_inverse: bool
    caps: Sequence[float]
    rates: Sequence[float]
    amounts: Sequence[float]
    aside: float | None  # of an isolated one its wallet

    def look(self) -> tuple[float, float]:
        """Return profit and maintenance margin at the worse end of the bar."""
        price = self.data.low[0] if self.size > 0 else self.data.high[0]
        if self.is_inverse:
            worth, profit = abs(self.size) / price, self.size * (1 / self.entry - 1 / price)
        else:
            worth, profit = abs(self.size) * price, self.size * (price - self.entry)
        tier = bisect.bisect_left(self.caps, worth)
        return profit, worth * self.rates[tier] - self.amounts[tier] if self.rates else 0.0


class MarginKeeper:
    """Looks after one account on margin: its mark price is a bar's open and close, its worst the bar's low or high."""

    def __init__(self, broker: VenueActs, account: MarginedAccount, session: BarSession) -> None:
        self._broker = broker
        self._account = account
        self._session = session
        self._rates: dict[str, Sequence[FundingRate] | None] = {}
        self._paid_ns: dict[str, int] = {}  # up to here funding is booked
        self._held: list[_Held] | None = None
        self._cross: dict[str, float] = {}
        self._due: float = 0.0  # backtrader's time of the next funding or delivery
        self._count = 0
        for book in account.books.values():
            symbol, instrument = book.instrument.symbol, book.instrument
            if symbol not in self._rates and instrument.delivery_ns is None:
                self._rates[symbol] = session.rules.rates(instrument)
                if self._rates[symbol] is None:
                    _log.warning(
                        "%s: the funding rates of %s are not known: %s every 8 h is assumed, "
                        "btx.scenario(..., funding={%r: FILE}) has them",
                        *(session.name, symbol, USUAL_RATE, symbol),
                    )

    @property
    def _state(self) -> MarginAccount:
        return self._account.state

    @_state.setter
    def _state(self, state: MarginAccount) -> None:
        self._account.state = state

    # --- a quick look -------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Look again: a position or a wallet has changed."""
        self._held = None

    def is_calm(self) -> bool:
        """Say that the newest bars neither bring a funding nor come near to a liquidation."""
        if not self._state.positions:
            return True
        held = self._held
        if held is None:
            held = self._look()
        crossed = dict(self._cross) if len(self._cross) > 1 else None
        left = next(iter(self._cross.values()), 0.0)
        kept = 0.0
        for each in held:
            if each.data.datetime[0] >= self._due:
                return False
            profit, maintenance = each.look()
            if each.aside is not None:
                if each.aside + profit <= maintenance * _CAREFUL:
                    return False
                continue
            left += profit
            kept += maintenance
        if crossed is not None:
            return False  # several coins are margin: exact sums say which is short of what
        return left > kept * _CAREFUL or not kept

    def _look(self) -> list[_Held]:
        state = self._state
        self._held = held = []
        for key, position in state.positions.items():
            book, instrument, tiers = self._account.books[key], position.terms.instrument, position.tiers
            held.append(
                _Held(
                    data=book.data,
                    size=float(position.quantity * instrument.multiplier),
                    entry=float(position.entry_price),
                    is_inverse=is_inverse(instrument),
                    caps=[float(tier.cap) for tier in tiers[:-1] if tier.cap is not None],
                    rates=[float(tier.maintenance_rate) for tier in tiers],
                    amounts=[float(tier.maintenance_amount) for tier in tiers],
                    aside=float(position.isolated_wallet) if position.is_isolated else None,
                )
            )
        assets = {position.terms.instrument.settle for position in state.positions.values()}
        self._cross = {asset: float(state.cross_wallet(asset)) for asset in assets}
        stamps = [stamp for key in state.positions if (stamp := self._next_ns(key.symbol)) is not None]
        self._due = _EPOCH_DAYS + min(stamps) / NS_PER_DAY if stamps else float("inf")
        return held

    def _next_ns(self, symbol: str) -> int | None:
        """Return when something is due by itself."""
        delivery_ns = self._state.terms[symbol].instrument.delivery_ns
        if delivery_ns is not None:
            return delivery_ns
        after_ns, rates = self._paid_ns.get(symbol, 0), self._rates[symbol]
        if rates is None:
            return after_ns - after_ns % _USUAL_NS + _USUAL_NS
        later = bisect.bisect_right(rates, after_ns, key=lambda rate: rate.time_ns)
        return rates[later].time_ns if later < len(rates) else None

    # --- funding and delivery -----------------------------------------------------------------------------------

    def fund(self, bars: Iterable["Fresh"], until: Callable[["Fresh"], int]) -> None:
        """Book the funding that is due until a moment of each bar, of what is held now."""
        for symbol, each in {each.book.instrument.symbol: each for each in bars}.items():
            until_ns = until(each)
            after_ns = self._paid_ns.get(symbol, until_ns)
            if until_ns < after_ns:
                continue
            self._paid_ns[symbol] = until_ns
            self._held = None
            if any(True for _ in self._state.of_symbol(symbol)):
                for rate in self._between(symbol, after_ns, until_ns):
                    self._pay(rate)
                self._deliver(symbol, each, until_ns)

    def _between(self, symbol: str, after_ns: int, until_ns: int) -> Iterator[FundingRate]:
        if symbol not in self._rates:
            return
        rates = self._rates[symbol]
        if rates is not None:
            yield from due(rates, after_ns, until_ns)
            return
        stamp_ns = after_ns - after_ns % _USUAL_NS + _USUAL_NS
        while stamp_ns <= until_ns:
            yield FundingRate(symbol=symbol, time_ns=stamp_ns, rate=USUAL_RATE)
            stamp_ns += _USUAL_NS

    def _pay(self, rate: FundingRate) -> None:
        funded = apply_funding(self._state, rate)
        self._state = funded.account
        asset = self._state.terms[rate.symbol].instrument.settle
        for key, amount in funded.payments.items():
            leg = f" ({key.position_side.value.lower()})" if key.position_side is not PositionSide.NET else ""
            self._broker.remark(f"FUNDING of {rate.symbol}{leg}: {amount:+f} {asset}, {iso(rate.time_ns)}")

    def _deliver(self, symbol: str, each: "Fresh", until_ns: int) -> None:
        """Close what is over, at the last price, for a taker's fee."""
        delivery_ns = self._state.terms[symbol].instrument.delivery_ns
        if delivery_ns is None or until_ns < delivery_ns:
            return
        books = self._books_of({symbol})
        self._broker.cancel_resting(books, "the contract is delivered")
        price = self._state.marks.get(symbol) or Decimal(repr(each.bar.open))
        for position in tuple(self._state.of_symbol(symbol)):
            self._broker.close_by_venue(
                self._account.books[position.key],
                price,
                delivery_ns,
                origin=Origin.DELIVERY,
                liquidity=Liquidity.TAKER,
            )

    # --- marks and liquidation ----------------------------------------------------------------------------------

    def mark(self, bars: Sequence["Fresh"], price: Callable[[Prices], float]) -> None:
        """Value positions at a price of their new bars."""
        for each in bars:
            self._state = apply_mark(self._state, each.book.instrument.symbol, Decimal(repr(price(each.bar))))

    def check(self, bars: Sequence["Fresh"]) -> None:
        """Close what the present mark prices liquidate, at these very prices: the market jumped there."""
        if not bars or not self._state.positions:
            return
        now_ns = bars[-1].close_ns
        for key, position in tuple(self._state.positions.items()):
            if position.is_isolated and position.margin_ratio >= 1:
                self._liquidate([key], {}, now_ns)
        for asset in {position.terms.instrument.settle for position in self._state.positions.values()}:
            if self._state.margin_ratio(asset) >= 1:
                self._liquidate(self._crossed(asset), {}, now_ns)

    def worst(self, bars: Sequence["Fresh"]) -> None:
        """Close what the worst prices of the bars liquidate, at the price that does it."""
        if not bars or not self._state.positions:
            return
        by_symbol = {each.book.instrument.symbol: each for each in bars}
        now_ns = max(each.close_ns for each in bars)
        for key, position in tuple(self._state.positions.items()):
            each = by_symbol.get(key.symbol)
            if each is None or not position.is_isolated or not position.terms.tiers:
                continue
            price = liquidation_price(self._state, key)
            if price is not None and (each.bar.low <= price if position.quantity > 0 else each.bar.high >= price):
                self._liquidate([key], {key.symbol: price}, now_ns)
        for asset in {position.terms.instrument.settle for position in self._state.positions.values()}:
            self._worst_of_cross(asset, by_symbol, now_ns)

    def _worst_of_cross(self, asset: str, by_symbol: dict[str, "Fresh"], now_ns: int) -> None:
        keys = self._crossed(asset)
        symbols = dict.fromkeys(key.symbol for key in keys if key.symbol in by_symbol)
        ends: dict[str, Decimal] = {}
        for symbol in symbols:
            net = sum((each.quantity for each in self._state.of_symbol(symbol) if not each.is_isolated), _ZERO)
            bar = by_symbol[symbol].bar
            ends[symbol] = Decimal(repr(bar.low if net > 0 else bar.high))
        if not ends or self._ratio(asset, ends) < 1:
            return
        if len(ends) == 1:
            ((symbol, end),) = ends.items()
            price = liquidation_price(self._state, next(key for key in keys if key.symbol == symbol))
            between = price is not None and min(end, self._state.marks[symbol]) <= price <= max(
                end, self._state.marks[symbol]
            )
            marks = {symbol: price if price is not None and between else end}
        else:
            marks = self._path(asset, ends)
        self._liquidate(keys, marks, now_ns)

    def _path(self, asset: str, ends: dict[str, Decimal]) -> dict[str, Decimal]:
        """Return where several prices are liquidated on their common way from where they are to where they end."""
        start = {symbol: self._state.marks[symbol] for symbol in ends}
        low, high = _ZERO, _ONE

        def at(share: Decimal) -> dict[str, Decimal]:
            return {symbol: start[symbol] + (end - start[symbol]) * share for symbol, end in ends.items()}

        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self._ratio(asset, at(middle)) >= 1:
                high = middle
            else:
                low = middle
        return at(high)

    def _ratio(self, asset: str, marks: dict[str, Decimal]) -> Decimal:
        state = self._state
        for symbol, price in marks.items():
            state = apply_mark(state, symbol, price)
        return state.margin_ratio(asset)

    def _crossed(self, asset: str) -> list[Key]:
        return [
            key
            for key, each in self._state.positions.items()
            if not each.is_isolated and each.terms.instrument.settle == asset
        ]

    def _liquidate(self, keys: list[Key], marks: dict[str, Decimal], now_ns: int) -> None:
        """Close positions at marks, for the liquidation fee as far as money is left; what is missing the fund pays."""
        for symbol, price in marks.items():
            self._state = apply_mark(self._state, symbol, price)
        positions = [self._state.positions[key] for key in keys]
        asset, is_isolated = positions[0].terms.instrument.settle, positions[0].is_isolated
        aside = positions[0].isolated_wallet if is_isolated else self._state.cross_wallet(asset)
        kept = self._state.wallet(asset) - aside
        self._broker.cancel_resting(self._books_of({key.symbol for key in keys}), "the position is liquidated")
        fee = _ZERO
        for position in positions:
            price = _on_tick(position)
            rate = position.terms.instrument.liquidation_fee or _ZERO
            fee += booked(notional(position.terms.instrument, position.quantity, price) * rate)
            self._broker.close_by_venue(
                self._account.books[position.key],
                price,
                now_ns,
                origin=Origin.LIQUIDATION,
                liquidity=Liquidity.TAKER,
            )
        left = self._state.wallet(asset) - kept
        amount = -left if left < 0 else -min(fee, left)
        self._count += 1
        booking = Booking(
            booking_id=f"liquidation-{self._count}",
            kind=BookingKind.LIQUIDATION_FEE,
            asset=asset,
            amount=amount,
            symbol=keys[0].symbol,
            time_ns=now_ns,
        )
        self._state = apply_booking(self._state, booking)
        self._held = None

    def _books_of(self, symbols: set[str]) -> "list[Book]":
        return [book for key, book in self._account.books.items() if key.symbol in symbols]

    # --- what orders ask for ------------------------------------------------------------------------------------

    def lacking(self, ticket: Ticket, resting: Iterable[Ticket], price: Decimal | None) -> str | None:
        """Return what the account lacks for an order that opens; ``price`` is what it fills at, None: it is placed.

        What waits for a trigger is asked for nothing before it is reached.
        """
        request, book, state = ticket.request, ticket.book, self._state
        instrument = request.instrument
        terms = state.terms[instrument.symbol]
        if (price is None and ticket.work.waits) or request.reduce_only:
            return None
        held = self._account.quantity(book.key)
        opened = ticket.remaining
        if held * request.side.sign < 0:
            opened = max(opened - abs(held), _ZERO)
        last = price or book.last_close()
        if not opened or last is None or (book.leg is not PositionSide.NET and _reduces(ticket)):
            return None
        at = price or request.price or last
        mark = state.marks.get(instrument.symbol) or last
        most = max_notional(terms.tiers, terms.leverage) if terms.tiers else None
        after = notional(instrument, held + request.side.sign * ticket.remaining, mark)
        if most is not None and after > most:
            return (
                f"{instrument.symbol}: a position of {after:f} {instrument.settle} is more than leverage "
                f"{terms.leverage} allows, the most is {most:f}"
            )
        cost = order_cost(
            instrument, request.side, opened, price=at, mark_price=mark, last_price=last, leverage=terms.leverage
        )
        fee = booked(notional(instrument, opened, at) * self._session.fee_schedule(instrument).taker)
        kept = booked(notional(instrument, opened, at) * terms.closing_fee)
        others = [each for each in resting if each is not ticket and each.rests and not each.work.waits]
        free = state.available(instrument.settle, self._reserved(others, instrument.settle))
        needed = cost + kept + (fee if price is not None or kept else _ZERO)
        if needed <= free:
            return None
        return f"{needed:f} {instrument.settle} needed as margin, {free:f} available"

    def _reserved(self, tickets: Sequence[Ticket], asset: str) -> Decimal:
        """Return what resting orders hold back."""
        total = _ZERO
        opening = [each for each in tickets if not each.request.reduce_only and each.request.price is not None]
        for book in {id(each.book): each.book for each in opening if each.book.instrument.settle == asset}.values():
            orders: dict[Side, list[tuple[Decimal, Decimal]]] = {Side.BUY: [], Side.SELL: []}
            for each in opening:
                if each.book is book and each.request.price is not None:
                    orders[each.request.side].append((each.remaining, each.request.price))
            mark = self._state.marks.get(book.instrument.symbol) or book.last_close()
            if mark is not None:
                total += order_margin(
                    book.instrument,
                    leverage=self._state.terms[book.instrument.symbol].leverage,
                    held=self._account.quantity(book.key),
                    mark_price=mark,
                    buys=orders[Side.BUY],
                    sells=orders[Side.SELL],
                    fee_rate=2 * self._state.terms[book.instrument.symbol].closing_fee,
                )
        return total


def _reduces(ticket: Ticket) -> bool:
    return (ticket.book.leg is PositionSide.LONG) is (ticket.request.side is Side.SELL)


def _on_tick(position: MarginPosition) -> Decimal:
    tick = position.terms.instrument.tick_size
    return (position.mark_price / tick).quantize(_ONE, rounding=ROUND_HALF_EVEN) * tick
