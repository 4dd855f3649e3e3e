"""Values of a margin account: positions valued at mark prices, and the sums over them.

What changes them is in ``btx.rules.wallet``, which also names them for import.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from btx.model.account import BookingKind, PositionReport
from btx.model.derivatives import LeverageTier, MarginMode
from btx.model.instrument import Instrument
from btx.model.order import PositionSide
from btx.rules import margin
from btx.rules.money import EXACT, ZERO
from btx.rules.positions import Position

__all__ = ("NO_SUMS", "Key", "MarginAccount", "MarginPosition", "Sums", "Terms")


class Key(NamedTuple):
    """What a position is found by."""

    symbol: str
    position_side: PositionSide = PositionSide.NET


@attrs.frozen(kw_only=True)
class Terms:
    """How an account trades one instrument. Without tiers nothing is asked for, and nothing liquidated."""

    instrument: Instrument
    tiers: tuple[LeverageTier, ...] = ()
    leverage: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    margin_mode: MarginMode = MarginMode.CROSS
    closing_fee: Decimal = ZERO  # a taker's rate that margins keep to close what is held; orders reserve it twice


@attrs.frozen(kw_only=True)
class MarginPosition:
    """A position on margin, valued at ``mark_price``; money is in the settle asset."""

    terms: Terms
    position_side: PositionSide = PositionSide.NET
    book: Position
    mark_price: Decimal
    isolated_wallet: Decimal = ZERO  # of an isolated position: what was put aside for it
    residue: Decimal = ZERO  # realised, and less than can be booked
    unrealised: Decimal = attrs.field(init=False)
    maintenance: Decimal = attrs.field(init=False)
    initial: Decimal = attrs.field(init=False)

    @unrealised.default
    def _unrealised(self) -> Decimal:
        return self.book.profit(self.mark_price)

    @maintenance.default
    def _maintenance(self) -> Decimal:
        return margin.maintenance_margin(self.tiers, self.notional) if self.terms.tiers else ZERO

    @initial.default
    def _initial(self) -> Decimal:
        return margin.initial_margin(self.notional, self.terms.leverage, fee_rate=self.closing_rate)

    @property
    def closing_rate(self) -> Decimal:
        """What part of its notional it keeps for the fee of being closed."""
        if not self.terms.closing_fee:
            return ZERO
        return margin.closing_rate(self.book, self.terms.leverage, taker=self.terms.closing_fee)

    @property
    def tiers(self) -> tuple[LeverageTier, ...]:
        """The tiers by which it must keep its margin."""
        return margin.with_fee(self.terms.tiers, self.closing_rate) if self.terms.closing_fee else self.terms.tiers

    @property
    def symbol(self) -> str:
        return self.terms.instrument.symbol

    @property
    def key(self) -> Key:
        return Key(self.symbol, self.position_side)

    @property
    def quantity(self) -> Decimal:
        """Base units or contracts, negative when short."""
        return self.book.quantity

    @property
    def entry_price(self) -> Decimal:
        return self.book.price

    @property
    def leverage(self) -> int:
        return self.terms.leverage

    @property
    def margin_mode(self) -> MarginMode:
        return self.terms.margin_mode

    @property
    def is_isolated(self) -> bool:
        return self.terms.margin_mode is MarginMode.ISOLATED

    @property
    def notional(self) -> Decimal:
        """Size at the mark price; never negative."""
        return self.book.worth(self.mark_price).copy_abs()

    @property
    def margin_ratio(self) -> Decimal:
        """Of an isolated position: at 1 it is liquidated."""
        return margin.margin_ratio(self.maintenance, EXACT.add(self.isolated_wallet, self.unrealised))

    def report(self, *, time_ns: int, liquidation_price: Decimal | None = None) -> PositionReport:
        """Return it as a venue would state it."""
        return PositionReport(
            symbol=self.symbol,
            position_side=self.position_side,
            quantity=self.quantity,
            entry_price=self.entry_price,
            mark_price=self.mark_price,
            unrealised=self.unrealised,
            liquidation_price=liquidation_price,
            leverage=self.leverage,
            margin_mode=self.margin_mode,
            isolated_margin=self.isolated_wallet if self.is_isolated else None,
            time_ns=time_ns,
        )


class Sums(NamedTuple):
    """Sums over the positions of one settle asset: the cross ones, and the isolated ones."""

    unrealised: Decimal = ZERO
    maintenance: Decimal = ZERO
    initial: Decimal = ZERO
    isolated_unrealised: Decimal = ZERO
    isolated_initial: Decimal = ZERO
    isolated_wallet: Decimal = ZERO


NO_SUMS = Sums()


@attrs.frozen(kw_only=True)
class MarginAccount:
    """Wallets by asset, positions by ``Key``, and how each symbol is traded."""

    wallets: Mapping[str, Decimal] = attrs.field(factory=dict)
    terms: Mapping[str, Terms] = attrs.field(factory=dict)  # by symbol
    positions: Mapping[Key, MarginPosition] = attrs.field(factory=dict)  # those that are open
    marks: Mapping[str, Decimal] = attrs.field(factory=dict)  # by symbol
    bookings: Mapping[tuple[BookingKind, str], Decimal] = attrs.field(factory=dict)  # sums by kind and asset
    sums: Mapping[str, Sums] = attrs.field(factory=dict, repr=False)  # by settle asset; kept by the functions below

    def wallet(self, asset: str) -> Decimal:
        """What was paid in, earned and paid, without what open positions would bring."""
        return self.wallets.get(asset, ZERO)

    def cross_wallet(self, asset: str) -> Decimal:
        """The wallet without what isolated positions have put aside."""
        return EXACT.subtract(self.wallet(asset), self._sums(asset).isolated_wallet)

    def unrealised(self, asset: str) -> Decimal:
        """What closing all positions at their mark prices would bring, before fees."""
        sums = self._sums(asset)
        return EXACT.add(sums.unrealised, sums.isolated_unrealised)

    def equity(self, asset: str) -> Decimal:
        """Wallet and unrealised profit together."""
        return EXACT.add(self.wallet(asset), self.unrealised(asset))

    def initial(self, asset: str) -> Decimal:
        """Initial margin of all positions at their mark prices."""
        sums = self._sums(asset)
        return EXACT.add(sums.initial, sums.isolated_initial)

    def maintenance(self, asset: str) -> Decimal:
        """Maintenance margin of the cross positions."""
        return self._sums(asset).maintenance

    def margin_balance(self, asset: str) -> Decimal:
        """What stands behind the cross positions: the cross wallet and their unrealised profit."""
        return EXACT.add(self.cross_wallet(asset), self._sums(asset).unrealised)

    def margin_ratio(self, asset: str) -> Decimal:
        """Of the cross positions: at 1 they are liquidated."""
        return margin.margin_ratio(self.maintenance(asset), self.margin_balance(asset))

    def available(self, asset: str, reserved: Decimal = ZERO) -> Decimal:
        """What new positions can be opened with; ``reserved`` is held by open orders. Never negative."""
        left = EXACT.subtract(self.margin_balance(asset), self._sums(asset).initial)
        return max(EXACT.subtract(left, reserved), ZERO)

    def position(self, symbol: str, position_side: PositionSide = PositionSide.NET) -> MarginPosition | None:
        """Return a position that is open, else None."""
        return self.positions.get(Key(symbol, position_side))

    def of_symbol(self, symbol: str) -> Iterator[MarginPosition]:
        """Yield the positions of an instrument that are open: one, or a long and a short."""
        for position_side in PositionSide:
            found = self.positions.get(Key(symbol, position_side))
            if found is not None:
                yield found

    def booked(self, kind: BookingKind, asset: str) -> Decimal:
        """Return what was booked in all; positive: the account got it."""
        return self.bookings.get((kind, asset), ZERO)

    def _sums(self, asset: str) -> Sums:
        return self.sums.get(asset, NO_SUMS)
