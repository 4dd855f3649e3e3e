"""One client of a margin exchange: wallet, positions, settings, and what all of it is worth."""

import functools
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.derivatives import LeverageTier, MarginMode, PositionMode
from btx.model.order import OrderType, PositionSide, Side
from btx.rules.contracts import notional
from btx.rules.fees import RollingVolume
from btx.rules.margin import (
    closing_rate,
    initial_margin,
    liquidation_price_cross,
    liquidation_price_isolated,
    maintenance_margin,
    order_margin,
    with_fee,
)
from btx.rules.money import EXACT
from btx.rules.positions import Position
from btx.sim.accounts import Client
from btx.sim.conditionals import SimConditional
from btx.sim.margin_events import Purse, SimBooking, WalletView
from btx.sim.orders import Listing, NewOrder, SimFill, SimOrder, SimPosition

__all__ = ("DEFAULT_LEVERAGE", "Group", "MarginClient", "Past", "Valuation", "opens", "total")

DEFAULT_LEVERAGE = 20
"""What an account trades a symbol with before it says otherwise; Binance's."""

_ZERO = Decimal(0)
_Key = tuple[str, PositionSide]


class Group(NamedTuple):
    """Positions that are liquidated together: the cross ones of a settle asset, or an isolated one by itself."""

    asset: str
    isolated: tuple[str, PositionSide] | None = None


@attrs.define(kw_only=True)
class MarginClient(Client):
    """A client: money by asset, positions by symbol and side (those there ever were), settings by symbol."""

    wallet: dict[str, Decimal]
    positions: dict[_Key, SimPosition] = attrs.field(factory=dict)
    position_mode: PositionMode = PositionMode.ONE_WAY
    position_modes: dict[str, PositionMode] = attrs.field(factory=dict)  # of symbols that have one of their own
    default_leverage: int = DEFAULT_LEVERAGE
    leverages: dict[str, int] = attrs.field(factory=dict)
    margin_modes: dict[str, MarginMode] = attrs.field(factory=dict)
    conditionals: dict[int, SimConditional] = attrs.field(factory=dict)
    waiting_ids: dict[int, None] = attrs.field(
        factory=dict
    )  # of the conditionals that wait; a set that keeps its order
    bookings: list[SimBooking] = attrs.field(factory=list)
    tier: str | None = None  # None: the schedule's own rates
    follows_volume: bool = False  # the tier moves with the volume of 30 days
    volume: RollingVolume = attrs.field(factory=RollingVolume)
    warned: set[Group] = attrs.field(factory=set)  # whose margin call was told
    countdowns: dict[str, int] = attrs.field(factory=dict)  # market time at which a symbol's orders are cancelled

    def leverage(self, venue_symbol: str) -> int:
        """Return what new positions of a symbol are levered with."""
        return self.leverages.get(venue_symbol, self.default_leverage)

    def mode(self, venue_symbol: str) -> PositionMode:
        """Return whether a symbol has one position or two."""
        return self.position_modes.get(venue_symbol, self.position_mode)

    def margin_mode(self, venue_symbol: str) -> MarginMode:
        """Return how positions of a symbol are margined."""
        return self.margin_modes.get(venue_symbol, MarginMode.CROSS)

    def position(self, listing: Listing, side: PositionSide) -> SimPosition:
        """Return a position, a flat one where there is none."""
        key = (listing.venue_symbol, side)
        known = self.positions.get(key)
        if known is not None:
            return known
        return SimPosition(
            venue_symbol=listing.venue_symbol,
            position_side=side,
            book=Position.of(listing.instrument),
            margin_mode=self.margin_mode(listing.venue_symbol),
            leverage=self.leverage(listing.venue_symbol),
            updated_ns=0,
        )

    def groups(self, settle: Callable[[str], str]) -> dict[Group, list[SimPosition]]:
        """Return the positions that are not flat by what they share their fate with; ``settle`` by symbol."""
        found: dict[Group, list[SimPosition]] = {}
        for position in self.held():
            is_isolated = position.margin_mode is MarginMode.ISOLATED
            group = Group(settle(position.venue_symbol), position.key if is_isolated else None)
            found.setdefault(group, []).append(position)
        return found

    def money_of(self, group: Group, settle: Callable[[str], str]) -> Decimal:
        """Return the money that stands behind a group, without what its positions would bring."""
        if group.isolated is not None:
            return self.positions[group.isolated].isolated_wallet
        aside = (each.isolated_wallet for each in self.held() if settle(each.venue_symbol) == group.asset)
        return EXACT.subtract(self.wallet.get(group.asset, _ZERO), total(aside))

    def held(self, venue_symbol: str | None = None) -> list[SimPosition]:
        """Return the positions that are not flat, of all symbols for None."""
        return [each for each in self.positions.values() if each.quantity and venue_symbol in {None, each.venue_symbol}]

    def waiting(self, venue_symbol: str | None = None) -> list[SimConditional]:
        """Return the conditional orders that wait, oldest first; of all symbols for None."""
        found = (self.conditionals[number] for number in self.waiting_ids)
        return [each for each in found if venue_symbol in {None, each.venue_symbol}]

    def exit(
        self, venue_symbol: str, side: PositionSide, order_type: OrderType, is_whole: bool, pair: str = ""
    ) -> SimConditional | None:
        """Return what waits to close a position in this way: all of it, or a part of it as one of a pair."""
        for each in self.waiting(venue_symbol):
            is_meant = each.is_exit and (each.position_side, each.order_type) == (side, order_type)
            if is_meant and each.close_position is is_whole and (is_whole or each.pair == pair):
                return each
        return None

    def keep_conditional(self, conditional: SimConditional) -> None:
        """Remember a conditional order as it is now."""
        self.conditionals[conditional.conditional_id] = conditional
        if conditional.is_open:
            self.waiting_ids[conditional.conditional_id] = None
        else:
            self.waiting_ids.pop(conditional.conditional_id, None)

    def book(self, booking: SimBooking) -> None:
        """Let money move."""
        self.bookings.append(booking)
        self.wallet[booking.asset] = EXACT.add(self.wallet.get(booking.asset, _ZERO), booking.amount)


@attrs.define(kw_only=True)
class Past:
    """What an account was when it was last heard of; the order of each mapping is the order things came in."""

    wallet: dict[str, Decimal]
    positions: dict[_Key, SimPosition] = attrs.field(factory=dict)
    orders: dict[int, SimOrder] = attrs.field(factory=dict)
    fills: list[SimFill] = attrs.field(factory=list)
    conditionals: dict[int, SimConditional] = attrs.field(factory=dict)
    bookings: list[SimBooking] = attrs.field(factory=list)
    leverages: dict[str, int] = attrs.field(factory=dict)
    margin_modes: dict[str, MarginMode] = attrs.field(factory=dict)
    position_mode: PositionMode = PositionMode.ONE_WAY
    sequence: int = 0
    time_ns: int = 0  # market time

    @property
    def venue_symbols(self) -> set[str]:
        """The symbols it hangs on: of its positions, its open orders and those that wait."""
        held = {each.venue_symbol for each in self.positions.values() if each.quantity}
        resting = {each.venue_symbol for each in self.orders.values() if each.is_open}
        return held | resting | {each.venue_symbol for each in self.conditionals.values() if each.is_open}


def opens(order: SimOrder | NewOrder | SimConditional) -> bool:
    """Tell whether an order may open a position: in two-sided accounts buys of the long and sells of the short do."""
    if order.position_side is PositionSide.NET:
        return not (order.reduce_only or order.close_position)
    return (order.position_side is PositionSide.LONG) == (order.side is Side.BUY)


class Valuation:
    """What accounts are worth at the mark prices of now: every figure there is of it comes from here."""

    def __init__(
        self, listings: Mapping[str, Listing], mark: Callable[[str], Decimal], *, charges_closing: bool = False
    ) -> None:
        self._listings = listings
        self._mark = mark
        self._charges_closing = charges_closing

    def mark(self, venue_symbol: str) -> Decimal:
        """Return a symbol's mark price."""
        return self._mark(venue_symbol)

    def settle(self, venue_symbol: str) -> str:
        """Return the asset a symbol's money is in."""
        return self._listings[venue_symbol].instrument.settle

    def notional(self, position: SimPosition) -> Decimal:
        """Return a position's size at the mark price, in the settle asset."""
        listing = self._listings[position.venue_symbol]
        return notional(listing.instrument, position.quantity, self._mark(position.venue_symbol))

    def unrealised(self, position: SimPosition) -> Decimal:
        """Return what closing a position at the mark price would bring."""
        return position.book.profit(self._mark(position.venue_symbol))

    def maintenance(self, position: SimPosition) -> Decimal:
        """Return what a position must keep."""
        return maintenance_margin(self.tiers(position), self.notional(position))

    def initial(self, position: SimPosition) -> Decimal:
        """Return the initial margin of a position at the mark price."""
        return initial_margin(self.notional(position), position.leverage, fee_rate=self.closing_rate(position))

    def closing_rate(self, position: SimPosition) -> Decimal:
        """Return what part of its notional a position keeps for the fee of being closed."""
        if not self._charges_closing:
            return _ZERO
        taker = self._listings[position.venue_symbol].fees.taker
        return closing_rate(position.book, position.leverage, taker=taker)

    def tiers(self, position: SimPosition) -> tuple[LeverageTier, ...]:
        """Return the tiers by which a position must keep its margin."""
        return with_fee(self._listings[position.venue_symbol].tiers, self.closing_rate(position))

    def order_margin(
        self,
        account: MarginClient,
        venue_symbol: str,
        *,
        extra: Iterable[SimOrder | NewOrder] = (),
        without: SimOrder | None = None,
    ) -> Decimal:
        """Return what a symbol's open orders reserve beyond the initial margin of its positions.

        ``extra`` are orders that count as open already, each with a price; ``without`` is one that does not count.
        """
        listing = self._listings[venue_symbol]
        resting = [each for each in account.open_orders(venue_symbol) if each is not without]
        orders = [each for each in (*resting, *extra) if opens(each)]
        sides = {each.position_side for each in orders}
        reserved = _ZERO
        for position_side in sides:
            mine = [each for each in orders if each.position_side is position_side]
            sums = {
                side: [(_left(each), each.price) for each in mine if each.side is side and each.price is not None]
                for side in Side
            }
            margin = order_margin(
                listing.instrument,
                leverage=account.leverage(venue_symbol),
                held=account.position(listing, position_side).quantity,
                mark_price=self._mark(venue_symbol),
                buys=sums[Side.BUY],
                sells=sums[Side.SELL],
                fee_rate=2 * listing.fees.taker if self._charges_closing else _ZERO,
            )
            reserved = EXACT.add(reserved, margin)
        return reserved

    def liquidation_price(self, account: MarginClient, position: SimPosition) -> Decimal | None:
        """Return the mark price that would liquidate a position if nothing else moved; None: there is none."""
        tiers = self.tiers(position)
        if position.margin_mode is MarginMode.ISOLATED:
            return liquidation_price_isolated(position.book, wallet=position.isolated_wallet, tiers=tiers)
        view = self.wallet(account, self.settle(position.venue_symbol))
        here = [
            each for each in account.held(position.venue_symbol) if each.margin_mode is MarginMode.CROSS
        ]  # in two-sided accounts the long and the short of a symbol share their fate
        free = EXACT.subtract(EXACT.add(view.cross_wallet, view.cross_unrealised), view.cross_maintenance)
        free = EXACT.add(free, total(map(self.maintenance, here)))
        free = EXACT.subtract(free, total(map(self.unrealised, here)))
        return liquidation_price_cross(
            [each.book for each in here], free=free, tiers=tiers, mark_price=self._mark(position.venue_symbol)
        )

    def purse(self, account: MarginClient, asset: str) -> Purse:
        """Return what an asset of an account is by its bookings alone."""
        wallet = account.wallet.get(asset, _ZERO)
        aside = (
            each.isolated_wallet
            for each in account.positions.values()
            if each.isolated_wallet and self.settle(each.venue_symbol) == asset
        )
        return Purse(asset=asset, wallet=wallet, cross_wallet=EXACT.subtract(wallet, total(aside)))

    def wallet(self, account: MarginClient, asset: str) -> WalletView:
        """Return one asset of an account."""
        held = [each for each in account.held() if self.settle(each.venue_symbol) == asset]
        crossed = [each for each in held if each.margin_mode is MarginMode.CROSS]
        ordered = dict.fromkeys(
            each.venue_symbol for each in account.open_orders() if self.settle(each.venue_symbol) == asset
        )
        wallet = account.wallet.get(asset, _ZERO)
        cross_wallet = EXACT.subtract(wallet, total(each.isolated_wallet for each in held))
        cross_unrealised = total(map(self.unrealised, crossed))
        order_sum = total(self.order_margin(account, symbol) for symbol in ordered)
        cross_margin = total(map(self.initial, crossed))
        backing = EXACT.add(cross_wallet, cross_unrealised)
        return WalletView(
            asset=asset,
            wallet=wallet,
            cross_wallet=cross_wallet,
            unrealised=total(map(self.unrealised, held)),
            cross_unrealised=cross_unrealised,
            position_margin=total(map(self.initial, held)),
            order_margin=order_sum,
            maintenance=total(map(self.maintenance, held)),
            cross_maintenance=total(map(self.maintenance, crossed)),
            available=max(EXACT.subtract(backing, EXACT.add(cross_margin, order_sum)), _ZERO),
        )


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum, exactly."""
    return functools.reduce(EXACT.add, amounts, _ZERO)


def _left(order: SimOrder | NewOrder) -> Decimal:
    return order.remaining if isinstance(order, SimOrder) else order.quantity or _ZERO
