"""Liquidation: what becomes of positions whose margin is gone, and of who would have to pay for it.

It goes by the mark price, when maintenance margin / margin balance reaches 1 (``btx.rules.margin``).  Choices
where the venue does more, or says nothing:

- All positions of the group are closed at once, whole, at the mark price on the tick: the insurance fund takes
  them over, the book is not touched.  Binance closes cross positions step by step with orders in the book.
- Resting orders of the group's symbols are cancelled first; conditional orders stay.
- No trading fee, but the instrument's liquidation fee, as far as there is money left for it.
- What the account has lost beyond its money the insurance fund books to it.  If it has less than that, the
  largest loss is closed at the price where the money just lasts (the bankruptcy price) against the best
  earning positions of the other side, highest profit first; the market takes what they do not.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from btx.model.account import BookingKind
from btx.model.order import OrderType, Origin, PositionSide, Side, TimeInForce
from btx.rules.contracts import is_inverse
from btx.rules.fees import Charge
from btx.rules.margin import margin_ratio
from btx.rules.money import EXACT, booked
from btx.sim.margin_account import Group, MarginClient, total
from btx.sim.margin_desk import MarginDesk
from btx.sim.margin_events import MarginCallEvent
from btx.sim.matching import Take
from btx.sim.orders import ExecutionKind, Listing, NewOrder, SimPosition

__all__ = ("WARNED", "Liquidations")

_ZERO = Decimal(0)
_LIQUIDATED = Decimal(1)
WARNED = Decimal("0.8")
"""Margin ratio from which on an account is warned."""

_CALM = Decimal("0.7")  # and again only after the ratio was below this
_GRID = Decimal("0.00000001")
_NAMES = {
    Origin.LIQUIDATION: "autoclose-{}",
    Origin.DELEVERAGING: "adl_autoclose",
    Origin.DELIVERY: "settlement_autoclose-{}",
}
_INVERSE_DELIVERY = "delivery_autoclose-{}"  # Binance's word of coin-margined contracts


class Liquidations(MarginDesk):
    """Looks after the margin of all accounts, and closes positions without asking."""

    def _check_margins(self, now_ns: int) -> None:
        """Warn, and liquidate, at the mark prices of now."""
        for account in self._accounts.values():
            groups = account.groups(self._valuation.settle)
            account.warned &= groups.keys()
            for group, positions in groups.items():
                ratio = self._ratio(account, group, positions)
                if ratio >= _LIQUIDATED:
                    self._liquidate(account, group, positions, now_ns)
                elif ratio > WARNED and group not in account.warned:
                    account.warned.add(group)
                    self._warn(account, group, positions, now_ns)
                elif ratio < _CALM:
                    account.warned.discard(group)

    def _ratio(self, account: MarginClient, group: Group, positions: Sequence[SimPosition]) -> Decimal:
        money = account.money_of(group, self._valuation.settle)
        balance = EXACT.add(money, total(map(self._valuation.unrealised, positions)))
        return margin_ratio(total(map(self._valuation.maintenance, positions)), balance)

    def _warn(self, account: MarginClient, group: Group, positions: list[SimPosition], now_ns: int) -> None:
        account.sequence = next(self._sequences)
        self._listener(
            MarginCallEvent(
                api_key=account.api_key,
                sequence=account.sequence,
                asset=group.asset,
                cross_wallet=self._valuation.wallet(account, group.asset).cross_wallet,
                positions=tuple(positions),
                marks={each.venue_symbol: self._valuation.mark(each.venue_symbol) for each in positions},
                time_ns=now_ns,
            )
        )

    def _liquidate(self, account: MarginClient, group: Group, positions: list[SimPosition], now_ns: int) -> None:
        symbols = {position.venue_symbol for position in positions}
        for order in account.open_orders():
            is_crossed = group.isolated is None and self._valuation.settle(order.venue_symbol) == group.asset
            if is_crossed or order.venue_symbol in symbols:
                self._end(account, order, ExecutionKind.CANCELED, now_ns)
        account.warned.discard(group)
        money = account.money_of(group, self._valuation.settle)
        kept = account.wallet.get(group.asset, _ZERO) - money  # is not theirs to lose
        prices = {position.key: self._on_tick(position.venue_symbol) for position in positions}
        profits = {position.key: position.book.profit(prices[position.key]) for position in positions}
        missing = -(money + sum(profits.values(), _ZERO))
        worst = min(positions, key=lambda position: profits[position.key])
        is_deleveraged = missing > self._house.insurance[group.asset]
        if is_deleveraged:
            prices[worst.key] = _price_for(worst, profits[worst.key] + missing)
        for position in positions:
            self._close(account, position, prices[position.key], Origin.LIQUIDATION, now_ns)
        if is_deleveraged:
            self._deleverage(account, worst, prices[worst.key], now_ns)
        self._clear(account, group, kept, self._fee(positions, prices), now_ns)

    def _fee(self, positions: Iterable[SimPosition], prices: Mapping[tuple[str, PositionSide], Decimal]) -> Decimal:
        total = _ZERO
        for position in positions:
            rate = self.listings[position.venue_symbol].instrument.liquidation_fee or _ZERO
            total += booked(abs(position.book.worth(prices[position.key])) * rate)
        return total

    def _clear(self, account: MarginClient, group: Group, kept: Decimal, fee: Decimal, now_ns: int) -> None:
        """Let the account pay the liquidation fee of what is left, or the insurance fund what is missing."""
        left = account.wallet.get(group.asset, _ZERO) - kept
        amount = -left if left < 0 else -min(fee, left)
        symbol = group.isolated[0] if group.isolated is not None else None
        bookings = self._book(
            account,
            BookingKind.LIQUIDATION_FEE,
            group.asset,
            amount,
            now_ns,
            venue_symbol=symbol,
            reason="INSURANCE_CLEAR",
        )
        if bookings:
            self._tell_account(account, "INSURANCE_CLEAR", now_ns, bookings=bookings)

    def _deleverage(self, loser: MarginClient, position: SimPosition, price: Decimal, now_ns: int) -> None:
        """Close what a liquidation has opened for the market against those who earn most on the other side."""
        others = [
            (other, held)
            for other in self._accounts.values()
            if other is not loser
            for held in other.held(position.venue_symbol)
            if held.quantity * position.quantity < 0 and self._valuation.unrealised(held) > 0
        ]
        others.sort(key=lambda pair: self._valuation.unrealised(pair[1]), reverse=True)
        left = abs(position.quantity)
        for other, held in others:
            quantity = min(left, abs(held.quantity))
            if quantity:
                self._close(other, held, price, Origin.DELEVERAGING, now_ns, quantity=quantity)
                left -= quantity

    def _close(
        self,
        account: MarginClient,
        position: SimPosition,
        price: Decimal,
        origin: Origin,
        now_ns: int,
        *,
        quantity: Decimal | None = None,
        fee: Charge | None = None,
    ) -> None:
        """Close (a part of) a position with an order of the exchange's own, in no book."""
        listing: Listing = self.listings[position.venue_symbol]
        quantity = abs(position.quantity) if quantity is None else quantity
        name = _NAMES[origin]
        if origin is Origin.DELIVERY and is_inverse(listing.instrument):
            name = _INVERSE_DELIVERY
        new = NewOrder(
            venue_symbol=position.venue_symbol,
            side=Side.SELL if position.quantity > 0 else Side.BUY,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            quantity=quantity,
            price=price,
            client_order_id=name.format(now_ns // 1_000_000),
            position_side=position.position_side,
            reduce_only=True,
        )
        order = self._accept(account, new, now_ns, origin=origin)
        free = Charge(_ZERO, listing.instrument.settle)
        take = Take(price=price, quantity=quantity)
        self._execute_at(account, listing, order, take, fee or free, is_maker=False, now_ns=now_ns)

    def _on_tick(self, venue_symbol: str) -> Decimal:
        tick = self.listings[venue_symbol].instrument.tick_size
        return (self._valuation.mark(venue_symbol) / tick).quantize(Decimal(1), ROUND_HALF_EVEN) * tick


def _price_for(position: SimPosition, profit: Decimal) -> Decimal:
    """Return the price at which closing a position brings ``profit``."""
    book = position.book
    worth = book.cost - profit if book.inverse else book.cost + profit
    units = book.quantity * book.multiplier
    return (units / worth if book.inverse else worth / units).quantize(_GRID, rounding=ROUND_HALF_EVEN)
